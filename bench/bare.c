#include "bench/bare.h"

#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/base.h"
#include "proto/base/buf.h"
#include "proto/base/clock.h"
#include "server/store/keys.h"
#include "server/store/records.h"

#define MAP_BYTES    (1ULL << 36)
#define RECORD_MAX   4096
#define LEASE_MS     30000
#define RETENTION_MS 604800000
#define PRIORITY     5
#define QUEUE	     0

enum { JOBS, INPUTS, READY, DUE, QUEUES, TABLES };

struct bare {
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi tables[TABLES];
	struct buf job, input, queue, due; /* the records: their content matters to nobody, their size does */
	int64_t lease_ends_ms;		   /* of the jobs leased last */
	int64_t now_ms;
};

static void check(int rc, const char *what)
{
	if (rc != 0)
		die("%s: %s", what, mdb_strerror(rc));
}

static void make_records(struct bare *b)
{
	struct job job = { .queue = QUEUE, .priority = PRIORITY };
	struct job_input input = {
		.content_type = slice_str("application/octet-stream"),
		.payload = slice_of(payload(), PAYLOAD_BYTES),
	};
	struct queue_record queue = { .name = slice_str(BENCH_QUEUE) };
	struct due_value due = due_value_make(&job);

	buf_init(&b->job, RECORD_MAX);
	buf_init(&b->input, RECORD_MAX);
	buf_init(&b->queue, RECORD_MAX);
	buf_init(&b->due, RECORD_MAX);
	need(record_write_job(&b->job, &job) == 0 && record_write_input(&b->input, &input) == 0 &&
		     record_write_queue(&b->queue, &queue) == 0 &&
		     buf_append(&b->due, due.bytes, sizeof(due.bytes)) == 0,
	     "the records cannot be made");
}

struct bare *bare_open(const char *dir)
{
	static const char *const names[TABLES] = { "jobs", "inputs", "ready", "due", "queues" };
	struct bare *b = calloc(1, sizeof(*b));
	char path[4096];

	need(b, "out of memory");
	make_records(b);
	snprintf(path, sizeof(path), "%s/bare.mdb", dir);
	check(mdb_env_create(&b->env), "LMDB");
	check(mdb_env_set_maxdbs(b->env, TABLES), "LMDB");
	check(mdb_env_set_mapsize(b->env, MAP_BYTES), "LMDB");
	check(mdb_env_open(b->env, path, MDB_NOSUBDIR | MDB_NOTLS | MDB_NORDAHEAD, 0600), path);
	check(mdb_txn_begin(b->env, NULL, 0, &b->txn), "begin");
	for (int i = 0; i < TABLES; i++)
		check(mdb_dbi_open(b->txn, names[i], MDB_CREATE, &b->tables[i]), "open a table");
	check(mdb_txn_commit(b->txn), "commit");
	return b;
}

void bare_close(struct bare *b)
{
	mdb_env_close(b->env);
	buf_done(&b->job);
	buf_done(&b->input);
	buf_done(&b->queue);
	buf_done(&b->due);
	free(b);
}

/* ---- one write ---- */

static void put(struct bare *b, int table, const struct key *key, struct slice value)
{
	MDB_val k = { key->size, (void *)(uintptr_t)key->bytes };
	MDB_val v = { value.size, (void *)(uintptr_t)value.data };

	check(mdb_put(b->txn, b->tables[table], &k, &v, 0), "put");
}

static void drop(struct bare *b, int table, const struct key *key)
{
	MDB_val k = { key->size, (void *)(uintptr_t)key->bytes };

	check(mdb_del(b->txn, b->tables[table], &k, NULL), "delete");
}

/* Ascending, as ids that hold the time of the put are. */
static struct uuid id_of(uint64_t number)
{
	struct uuid id = { { 0 } };

	for (unsigned i = 0; i < 8; i++)
		id.bytes[i] = (uint8_t)(number >> (8 * (7 - i)));
	return id;
}

/* ---- one job's writes ---- */

static void put_job(struct bare *b, uint64_t number)
{
	struct uuid id = id_of(number);
	struct key job = key_job(&id);
	struct key ready = key_ready(QUEUE, PRIORITY, number + 1, &id);

	put(b, INPUTS, &job, buf_slice(&b->input));
	put(b, READY, &ready, slice_of(NULL, 0));
	put(b, JOBS, &job, buf_slice(&b->job));
}

static void lease_job(struct bare *b, uint64_t number)
{
	struct uuid id = id_of(number);
	struct key job = key_job(&id);
	struct key ready = key_ready(QUEUE, PRIORITY, number + 1, &id);
	struct key due = key_due(b->lease_ends_ms, &id);

	drop(b, READY, &ready);
	put(b, DUE, &due, buf_slice(&b->due));
	put(b, JOBS, &job, buf_slice(&b->job));
}

static void complete_job(struct bare *b, uint64_t number)
{
	struct uuid id = id_of(number);
	struct key job = key_job(&id);
	struct key due = key_due(b->lease_ends_ms, &id);
	struct key retention = key_due(b->now_ms + RETENTION_MS, &id);

	drop(b, DUE, &due);
	put(b, DUE, &retention, buf_slice(&b->due));
	put(b, JOBS, &job, buf_slice(&b->job));
}

/* ---- a batch ---- */

static void batch(struct bare *b, void (*write)(struct bare *b, uint64_t number), uint64_t first, uint64_t count)
{
	struct key queue = key_queue(QUEUE);

	b->now_ms = clock_wall_ms();
	if (write == lease_job)
		b->lease_ends_ms = b->now_ms + LEASE_MS;
	check(mdb_txn_begin(b->env, NULL, 0, &b->txn), "begin");
	for (uint64_t i = 0; i < count; i++)
		write(b, first + i);
	put(b, QUEUES, &queue, buf_slice(&b->queue));
	check(mdb_txn_commit(b->txn), "commit");
}

void bare_put(struct bare *b, uint64_t first, uint64_t count)
{
	batch(b, put_job, first, count);
}

void bare_lease(struct bare *b, uint64_t first, uint64_t count)
{
	batch(b, lease_job, first, count);
}

void bare_complete(struct bare *b, uint64_t first, uint64_t count)
{
	batch(b, complete_job, first, count);
}
