/* How many durable job lifecycles (put, lease, complete; 256 bytes; on disk before every answer) a second, beside the
 * bare LMDB writes of the same lifecycle in batches of 1,000 without a network. Alternates both several times and
 * prints each figure's median and their ratio, as JSON on the last line. See README.md beside this file.
 *
 * lifecycle [JOBS [ROUNDS]]     20,000 jobs and 3 rounds unless told; DIR of the data: $TMPDIR, else the RAM disk
 */
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "client/raincheck.h"
#include "proto/base/clock.h"
#include "tests/harness/process.h"
#include "tests/harness/tempdir.h"

#define CONNECTIONS  32
#define DEPTH	     16
#define PAYLOAD	     256
#define BATCH	     1000
#define ROUNDS_MAX   31
#define RECORD_BYTES 190 /* a job's record */
#define EXTRA_BYTES  110 /* beside the payload in its input record */

static void need(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "lifecycle: %s\n", what);
	exit(1);
}

/* ---- through the broker ---- */

static struct {
	long wanted, put, completed;
	char payload[PAYLOAD];
} run;

static void next_put(struct raincheck *rc);

static void completed_cb(struct raincheck *rc, const struct raincheck_reply *reply, void *user)
{
	(void)user;
	need(reply->code == 0, "complete failed");
	run.completed++;
	next_put(rc);
}

static void leased_cb(struct raincheck *rc, const struct raincheck_reply *reply, void *user)
{
	struct raincheck_complete complete;

	(void)user;
	need(reply->code == 0 && reply->lease->job_count == 1, "lease failed");
	complete = (struct raincheck_complete){ .id = reply->lease->jobs[0].id, .lease = reply->lease->jobs[0].lease };
	need(raincheck_complete_async(rc, &complete, completed_cb, NULL) == 0, "complete failed");
}

static void put_cb(struct raincheck *rc, const struct raincheck_reply *reply, void *user)
{
	static const char *const queues[] = { "bench" };
	const struct raincheck_lease lease = { .queues = queues, .queue_count = 1, .wait_ms = 10000 };

	(void)user;
	need(reply->code == 0, "put failed");
	need(raincheck_lease_async(rc, &lease, leased_cb, NULL) == 0, "lease failed");
}

static void next_put(struct raincheck *rc)
{
	const struct raincheck_put put = { .queue = "bench", .payload = { run.payload, PAYLOAD } };

	if (run.put == run.wanted)
		return;
	run.put++;
	need(raincheck_put_async(rc, &put, put_cb, NULL) == 0, "put failed");
}

/* Lifecycles a second. */
static double through_broker(long jobs)
{
	struct raincheck *handles[CONNECTIONS];
	struct raincheck_options options = { 0 };
	struct process broker;
	struct tempdir dir;
	char server[64], data[256];
	uv_loop_t loop;
	int64_t began, took;

	tempdir_make(&dir);
	snprintf(data, sizeof(data), "%s", tempdir_file(&dir, "data"));
	process_start(&broker,
		      (const char *const[]){ process_program("raincheckd"), "--data", data, "--listen", "127.0.0.1:0",
					     "--http", "127.0.0.1:0", "--log-level", "warning", NULL });
	need(process_wait_line(&broker, "ready "), "raincheckd did not start");
	process_line_word(&broker, "rpc=", server, sizeof(server));
	need(uv_loop_init(&loop) == 0, "no loop");
	options.server = server;
	options.loop = &loop;
	memset(&run, 'x', sizeof(run));
	run.wanted = jobs;
	run.put = run.completed = 0;
	for (int i = 0; i < CONNECTIONS; i++)
		need(raincheck_new(&options, &handles[i], NULL) == 0, "no handle");
	began = clock_mono_ns();
	for (int i = 0; i < CONNECTIONS; i++)
		for (int j = 0; j < DEPTH; j++)
			next_put(handles[i]);
	while (run.completed < jobs)
		uv_run(&loop, UV_RUN_ONCE);
	took = clock_mono_ns() - began;
	for (int i = 0; i < CONNECTIONS; i++)
		raincheck_close(handles[i], NULL, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	uv_loop_close(&loop);
	process_stop(&broker);
	tempdir_remove(&dir);
	return (double)jobs * 1e9 / (double)took;
}

/* ---- the bare writes ---- */

enum { JOBS, INPUTS, READY, DUE, TABLES };

static void put(MDB_txn *t, MDB_dbi table, uint64_t id, size_t value_bytes)
{
	static char bytes[1024];
	uint64_t key = __builtin_bswap64(id);
	MDB_val k = { sizeof(key), &key }, v = { value_bytes, bytes };

	need(mdb_put(t, table, &k, &v, 0) == 0, "mdb_put failed");
}

static void drop(MDB_txn *t, MDB_dbi table, uint64_t id)
{
	uint64_t key = __builtin_bswap64(id);
	MDB_val k = { sizeof(key), &key };

	need(mdb_del(t, table, &k, NULL) == 0, "mdb_del failed");
}

/* The three steps of one job as the broker does them; each step of a batch is one transaction. */
static void step(MDB_txn *t, const MDB_dbi *tables, int which, uint64_t id)
{
	put(t, tables[JOBS], id, RECORD_BYTES);
	if (which == 0) {
		put(t, tables[INPUTS], id, PAYLOAD + EXTRA_BYTES);
		put(t, tables[READY], id, 0);
	} else if (which == 1) {
		drop(t, tables[READY], id);
		put(t, tables[DUE], id, 0);
	} else {
		drop(t, tables[DUE], id);
		put(t, tables[DUE], id + (1ull << 40), 0);
	}
}

static double bare(long jobs)
{
	static const char *const names[TABLES] = { "jobs", "inputs", "ready", "due" };
	MDB_dbi tables[TABLES];
	struct tempdir dir;
	MDB_env *env;
	MDB_txn *t;
	int64_t began, took;

	tempdir_make(&dir);
	need(mdb_env_create(&env) == 0 && mdb_env_set_maxdbs(env, TABLES) == 0 &&
		     mdb_env_set_mapsize(env, 1ull << 34) == 0 && mdb_env_open(env, dir.path, 0, 0600) == 0,
	     "LMDB cannot be opened");
	need(mdb_txn_begin(env, NULL, 0, &t) == 0, "no transaction");
	for (int i = 0; i < TABLES; i++)
		need(mdb_dbi_open(t, names[i], MDB_CREATE, &tables[i]) == 0, "no table");
	need(mdb_txn_commit(t) == 0, "commit failed");
	began = clock_mono_ns();
	for (long from = 0; from < jobs; from += BATCH) {
		for (int which = 0; which < 3; which++) {
			need(mdb_txn_begin(env, NULL, 0, &t) == 0, "no transaction");
			for (long id = from; id < from + BATCH && id < jobs; id++)
				step(t, tables, which, (uint64_t)id);
			need(mdb_txn_commit(t) == 0, "commit failed");
		}
	}
	took = clock_mono_ns() - began;
	mdb_env_close(env);
	tempdir_remove(&dir);
	return (double)jobs * 1e9 / (double)took;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, int count)
{
	qsort(values, (size_t)count, sizeof(*values), compare);
	return values[count / 2];
}

int main(int argc, char **argv)
{
	long jobs = argc > 1 ? strtol(argv[1], NULL, 10) : 20000;
	int rounds = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 3;
	double broker[ROUNDS_MAX] = { 0 }, lmdb[ROUNDS_MAX] = { 0 };

	need(jobs > 0 && rounds > 0 && rounds <= ROUNDS_MAX, "usage: lifecycle [JOBS [ROUNDS]]");
	for (int i = 0; i < rounds; i++) {
		lmdb[i] = bare(jobs);
		broker[i] = through_broker(jobs);
		printf("round %d: broker %.0f/s, bare LMDB %.0f/s\n", i + 1, broker[i], lmdb[i]);
	}
	printf("{\"question\": \"lifecycles a second\", \"jobs\": %ld, \"rounds\": %d, \"broker\": %.0f, "
	       "\"bare_lmdb\": %.0f, \"ratio\": %.3f, \"target\": 0.4}\n",
	       jobs, rounds, median(broker, rounds), median(lmdb, rounds),
	       median(broker, rounds) / median(lmdb, rounds));
	return 0;
}
