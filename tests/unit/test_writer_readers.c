/* Producers, workers, an operator and readers, each on threads of their own, around one writer: every reader sees a
 * whole picture, nobody sees less than was answered, and the store is sound at the end. Meant for TSan; STEPS makes it
 * longer.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/clean.h"
#include "server/upkeep/check.h"
#include "server/engine/view.h"
#include "server/writer/writer.h"
#include "tests/harness/tempdir.h"

#define PRODUCERS 3
#define WORKERS	  2
#define READERS	  3
#define QUEUE	  slice_str("q")

static struct {
	struct tempdir dir;
	struct settings settings;
	struct store *store;
	struct blob_store *blobs;
	struct writer *writer;
	int steps;
	atomic_long answered; /* puts */
	atomic_bool over;     /* the producers are done */
} all;

/* A command and the thread that waits for it. */
struct call {
	struct command cmd;
	pthread_mutex_t lock;
	pthread_cond_t done;
	bool released;
	int rc;
	struct msg_leased_job job; /* the first of a lease's answer */
	bool leased;
};

static void answer_cb(struct command *cmd, const struct message *m, const void *result)
{
	struct call *c = CONTAINER_OF(cmd, struct call, cmd);
	const struct msg_job_lease_result *lease = result;

	if (m != &MSG_job_lease_result || lease->jobs_count == 0)
		return;
	c->leased = true;
	c->job.id = lease->jobs[0].id;
	c->job.lease = lease->jobs[0].lease;
}

static void refuse_cb(struct command *cmd, const struct error_info *info)
{
	(void)cmd;
	(void)info;
}

static void release_cb(struct command *cmd, int rc)
{
	struct call *c = CONTAINER_OF(cmd, struct call, cmd);

	pthread_mutex_lock(&c->lock);
	c->rc = rc;
	c->released = true;
	pthread_cond_signal(&c->done);
	pthread_mutex_unlock(&c->lock);
}

static int call(struct call *c, enum command_kind kind, const void *params)
{
	*c = (struct call){ .cmd = { .kind = kind,
				     .params = params,
				     .answer = answer_cb,
				     .refuse = refuse_cb,
				     .release = release_cb } };
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->done, NULL);
	writer_submit(all.writer, &c->cmd);
	pthread_mutex_lock(&c->lock);
	while (!c->released)
		pthread_cond_wait(&c->done, &c->lock);
	pthread_mutex_unlock(&c->lock);
	pthread_mutex_destroy(&c->lock);
	pthread_cond_destroy(&c->done);
	return c->rc;
}

/* ---- who takes part ---- */

static void *producer_main(void *arg)
{
	(void)arg;
	for (int i = 0; i < all.steps; i++) {
		struct put_item item = { .put = { .has_queue = true, .queue = QUEUE, .payload = slice_str("work") } };
		struct command_put put = { .items = &item, .count = 1 };
		struct call c;

		if (call(&c, COMMAND_PUT, &put) == 0)
			atomic_fetch_add(&all.answered, 1);
	}
	return NULL;
}

static void *worker_main(void *arg)
{
	struct slice queue = QUEUE;
	struct msg_job_lease lease = {
		.queues = &queue, .queues_count = 1, .has_wait_ms = true, .wait_ms = 1, .has_max = true, .max = 1
	};

	(void)arg;
	for (;;) {
		bool over = atomic_load(&all.over);
		struct complete_item item = { 0 };
		struct command_complete complete = { .items = &item, .count = 1 };
		struct call c;

		if (call(&c, COMMAND_LEASE, &lease) < 0 || (!c.leased && over))
			return NULL;
		if (!c.leased)
			continue;
		item.id = c.job.id;
		item.lease = c.job.lease;
		call(&c, COMMAND_COMPLETE, &complete);
	}
}

static void *operator_main(void *arg)
{
	(void)arg;
	while (!atomic_load(&all.over)) {
		struct command_queue pause = { .action = QUEUE_PAUSE, .set = { .queue = QUEUE } };
		struct command_queue resume = { .action = QUEUE_RESUME, .set = { .queue = QUEUE } };
		struct command_change erase = { .action = CHANGE_ERASE,
						.filter = { .has_state = true, .state = JOB_SUCCEEDED } };
		struct call c;

		call(&c, COMMAND_QUEUE, &pause);
		call(&c, COMMAND_QUEUE, &resume);
		call(&c, COMMAND_CHANGE, &erase);
	}
	return NULL;
}

/* One read transaction is one moment: what the queue counts and what was ever put belong together. */
static void look(int64_t *last_total)
{
	long answered = atomic_load(&all.answered);
	_cleanup_(store_abortp) struct store_txn *t = NULL;
	struct msg_counts counts;
	int64_t queues, total, sum, ready;
	struct store_info info;

	if (store_begin_read(all.store, &t) < 0 || view_totals(t, &counts, &queues, &total) < 0)
		abort();
	sum = counts.ready + counts.running + counts.succeeded;
	if (total < answered || total < *last_total || sum > total || store_info(all.store, &info) < 0)
		abort();
	*last_total = total;
	if (store_count(t, TABLE_READY, &ready) < 0 || ready != counts.ready)
		abort();
}

static void *reader_main(void *arg)
{
	int64_t last_total = 0;

	(void)arg;
	while (!atomic_load(&all.over))
		look(&last_total);
	return NULL;
}

/* ---- the test ---- */

static void report_cb(void *user, const char *line)
{
	(void)user;
	print_error("check: %s\n", line);
}

static void open_all(void)
{
	struct store_options options = { .dir = all.dir.path, .max_bytes = 1 << 28 };
	const char *steps = getenv("STEPS");
	struct error_info info = { 0 };

	all.steps = steps && *steps ? atoi(steps) : 300;
	all.settings.public_url = "http://example.test";
	all.settings.result_ttl_ms = all.settings.record_ttl_ms = 3600000;
	assert_int_equal(store_open(&options, &all.store, &info), 0);
	assert_int_equal(blob_store_open(all.dir.path, &all.blobs, &info), 0);
	assert_int_equal(writer_new(&all.settings, all.store, all.blobs, &all.writer), 0);
	assert_int_equal(writer_start(all.writer), 0);
}

static void start(pthread_t *threads, int count, void *(*body)(void *arg))
{
	for (int i = 0; i < count; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, body, NULL), 0);
}

static void join(pthread_t *threads, int count)
{
	for (int i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
}

static void all_at_once(void **state)
{
	pthread_t producers[PRODUCERS], workers[WORKERS], readers[READERS], operator[1];
	int64_t breaches = -1;

	(void)state;
	tempdir_make(&all.dir);
	open_all();
	start(readers, READERS, reader_main);
	start(operator, 1, operator_main);
	start(workers, WORKERS, worker_main);
	start(producers, PRODUCERS, producer_main);
	join(producers, PRODUCERS);
	atomic_store(&all.over, true);
	join(operator, 1);
	join(workers, WORKERS);
	join(readers, READERS);
	assert_int_equal(all.answered, (long)PRODUCERS * all.steps);
	assert_int_equal(check_run(all.store, all.blobs, report_cb, NULL, &breaches), 0);
	assert_int_equal(breaches, 0);
	writer_stop(all.writer);
	writer_free(all.writer);
	blob_store_close(all.blobs);
	store_close(all.store);
	tempdir_remove(&all.dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
