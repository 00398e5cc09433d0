/* test_writer_rig.h: one writer on a real store, commands that remember what became of them, and a wall clock that the
 * test sets. Included by one file of a program. */
#ifndef RAINCHECK_TEST_WRITER_RIG_H
#define RAINCHECK_TEST_WRITER_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/clean.h"
#include "server/store/keys.h"
#include "server/writer/writer.h"
#include "tests/harness/tempdir.h"

#define DELAYED_MS 3600000

static struct {
	struct tempdir dir;
	struct settings settings;
	struct store *store;
	struct blob_store *blobs;
	struct writer *writer;
} fixture;

static _Atomic int64_t clock_shift_s;

/* In the C library's place, so that the wall clock can be set. */
int clock_gettime(clockid_t id, struct timespec *ret)
{
	int rc = (int)syscall(SYS_clock_gettime, id, ret);

	if (id == CLOCK_REALTIME)
		ret->tv_sec += clock_shift_s;
	return rc;
}

/* A command that remembers what became of it. */
struct call {
	struct command cmd;
	struct put_item item;
	struct command_put put;
	struct slice name;
	struct msg_job_lease lease;
	struct command_change change;
	char payload[64];

	pthread_mutex_t lock;
	pthread_cond_t done;
	int answers, refusals, releases;
	int rc;
	struct uuid id;
	size_t leased;
};

static inline void open_all(int64_t max_bytes)
{
	struct store_options options = { .dir = fixture.dir.path, .max_bytes = max_bytes };
	struct error_info info = { 0 };

	fixture.settings.public_url = "http://example.test";
	fixture.settings.result_ttl_ms = fixture.settings.record_ttl_ms = 1000000;
	assert_int_equal(store_open(&options, &fixture.store, &info), 0);
	assert_int_equal(blob_store_open(fixture.dir.path, &fixture.blobs, &info), 0);
	assert_int_equal(writer_new(&fixture.settings, fixture.store, fixture.blobs, &fixture.writer), 0);
}

static inline int setup(void **state)
{
	(void)state;
	clock_shift_s = 0;
	tempdir_make(&fixture.dir);
	fixture.settings.reserve_bytes = 0;
	open_all(1 << 28);
	return 0;
}

static inline void teardown_writer(void)
{
	writer_stop(fixture.writer);
	writer_free(fixture.writer);
	blob_store_close(fixture.blobs);
	store_close(fixture.store);
}

static inline int teardown(void **state)
{
	(void)state;
	teardown_writer();
	tempdir_remove(&fixture.dir);
	return 0;
}

static inline void answer_cb(struct command *cmd, const struct message *m, const void *result)
{
	struct call *c = CONTAINER_OF(cmd, struct call, cmd);

	c->answers++;
	if (m == &MSG_job_put_result)
		c->id = ((const struct msg_job_put_result *)result)->id;
	if (m == &MSG_job_lease_result)
		c->leased = ((const struct msg_job_lease_result *)result)->jobs_count;
}

static inline void refuse_cb(struct command *cmd, const struct error_info *info)
{
	struct call *c = CONTAINER_OF(cmd, struct call, cmd);

	(void)info;
	c->refusals++;
}

/* Whether a job is in the store, read as any other thread would. */
static inline bool on_disk(const struct uuid *id)
{
	struct key key = key_job(id);
	struct store_txn *t;
	struct slice value;
	bool found;

	if (store_begin_read(fixture.store, &t) < 0)
		return false;
	found = store_get(t, TABLE_JOBS, key_slice(&key), &value) == 0;
	store_abort(t);
	return found;
}

static inline void release_cb(struct command *cmd, int rc)
{
	struct call *c = CONTAINER_OF(cmd, struct call, cmd);

	/* The promise itself: when a put is released as done, another transaction sees it. */
	if (rc == 0 && cmd->kind == COMMAND_PUT && c->refusals == 0 && !on_disk(&c->id))
		abort();
	pthread_mutex_lock(&c->lock);
	c->rc = rc;
	c->releases++;
	pthread_cond_signal(&c->done);
	pthread_mutex_unlock(&c->lock);
}

static inline void prepare(struct call *c, enum command_kind kind)
{
	memset(c, 0, sizeof(*c));
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->done, NULL);
	c->cmd.kind = kind;
	c->cmd.answer = answer_cb;
	c->cmd.refuse = refuse_cb;
	c->cmd.release = release_cb;
}

static inline void submit_put(struct call *c, const char *payload)
{
	prepare(c, COMMAND_PUT);
	snprintf(c->payload, sizeof(c->payload), "%s", payload);
	c->item.put.has_queue = c->item.put.has_payload = true;
	c->item.put.queue = slice_str("q");
	c->item.put.payload = slice_str(c->payload);
	c->put = (struct command_put){ .items = &c->item, .count = 1 };
	c->cmd.params = &c->put;
	writer_submit(fixture.writer, &c->cmd);
}

/* It is in the index of what is due. */
static inline void submit_delayed(struct call *c)
{
	prepare(c, COMMAND_PUT);
	c->item.put = (struct msg_job_put){ .has_queue = true,
					    .queue = slice_str("q"),
					    .has_payload = true,
					    .payload = slice_str("later"),
					    .has_delay_ms = true,
					    .delay_ms = DELAYED_MS };
	c->put = (struct command_put){ .items = &c->item, .count = 1 };
	c->cmd.params = &c->put;
	writer_submit(fixture.writer, &c->cmd);
}

static inline void submit_change(struct call *c, enum change_action action, const struct uuid *id)
{
	prepare(c, COMMAND_CHANGE);
	c->change = (struct command_change){ .action = action, .has_id = true, .id = *id };
	c->cmd.params = &c->change;
	writer_submit(fixture.writer, &c->cmd);
}

static inline void submit_erase(struct call *c, const struct uuid *id)
{
	submit_change(c, CHANGE_ERASE, id);
}

static inline void submit_lease_of(struct call *c, const char *queue, int64_t wait_ms, uint64_t session)
{
	prepare(c, COMMAND_LEASE);
	c->name = slice_str(queue);
	c->lease = (struct msg_job_lease){
		.has_queues = true,
		.queues = &c->name,
		.queues_count = 1,
		.has_wait_ms = true,
		.wait_ms = wait_ms,
	};
	c->cmd.params = &c->lease;
	c->cmd.session = session;
	writer_submit(fixture.writer, &c->cmd);
}

static inline void submit_lease(struct call *c, int64_t wait_ms, uint64_t session)
{
	submit_lease_of(c, "q", wait_ms, session);
}

static inline void await(struct call *c)
{
	pthread_mutex_lock(&c->lock);
	while (c->releases == 0)
		pthread_cond_wait(&c->done, &c->lock);
	pthread_mutex_unlock(&c->lock);
	assert_int_equal(c->releases, 1);
}

#endif
