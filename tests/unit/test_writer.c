/* The writer thread: many fronts at once, answers only after the commit, a failed commit told to every command of its
 * batch, parked leases, and an end that leaves nobody waiting. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/base/clean.h"
#include "server/store/keys.h"
#include "server/store/store_path.h"
#include "server/writer/writer.h"
#include "tests/harness/damage.h"
#include "tests/harness/tempdir.h"

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

static void open_all(int64_t max_bytes)
{
	struct store_options options = { .dir = fixture.dir.path, .max_bytes = max_bytes };
	struct error_info info = { 0 };

	fixture.settings.public_url = "http://example.test";
	fixture.settings.result_ttl_ms = fixture.settings.record_ttl_ms = 1000000;
	assert_int_equal(store_open(&options, &fixture.store, &info), 0);
	assert_int_equal(blob_store_open(fixture.dir.path, &fixture.blobs, &info), 0);
	assert_int_equal(writer_new(&fixture.settings, fixture.store, fixture.blobs, &fixture.writer), 0);
}

static int setup(void **state)
{
	(void)state;
	clock_shift_s = 0;
	tempdir_make(&fixture.dir);
	fixture.settings.reserve_bytes = 0;
	open_all(1 << 28);
	return 0;
}

static void teardown_writer(void)
{
	writer_stop(fixture.writer);
	writer_free(fixture.writer);
	blob_store_close(fixture.blobs);
	store_close(fixture.store);
}

static int teardown(void **state)
{
	(void)state;
	teardown_writer();
	tempdir_remove(&fixture.dir);
	return 0;
}

static void answer_cb(struct command *cmd, const struct message *m, const void *result)
{
	struct call *c = CONTAINER_OF(cmd, struct call, cmd);

	c->answers++;
	if (m == &MSG_job_put_result)
		c->id = ((const struct msg_job_put_result *)result)->id;
	if (m == &MSG_job_lease_result)
		c->leased = ((const struct msg_job_lease_result *)result)->jobs_count;
}

static void refuse_cb(struct command *cmd, const struct error_info *info)
{
	struct call *c = CONTAINER_OF(cmd, struct call, cmd);

	(void)info;
	c->refusals++;
}

/* Whether a job is in the store, read as any other thread would. */
static bool on_disk(const struct uuid *id)
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

static void release_cb(struct command *cmd, int rc)
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

static void prepare(struct call *c, enum command_kind kind)
{
	memset(c, 0, sizeof(*c));
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->done, NULL);
	c->cmd.kind = kind;
	c->cmd.answer = answer_cb;
	c->cmd.refuse = refuse_cb;
	c->cmd.release = release_cb;
}

static void submit_put(struct call *c, const char *payload)
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
static void submit_delayed(struct call *c)
{
	prepare(c, COMMAND_PUT);
	c->item.put = (struct msg_job_put){ .has_queue = true,
					    .queue = slice_str("q"),
					    .has_payload = true,
					    .payload = slice_str("later"),
					    .has_delay_ms = true,
					    .delay_ms = 3600000 };
	c->put = (struct command_put){ .items = &c->item, .count = 1 };
	c->cmd.params = &c->put;
	writer_submit(fixture.writer, &c->cmd);
}

static void submit_change(struct call *c, enum change_action action, const struct uuid *id)
{
	prepare(c, COMMAND_CHANGE);
	c->change = (struct command_change){ .action = action, .has_id = true, .id = *id };
	c->cmd.params = &c->change;
	writer_submit(fixture.writer, &c->cmd);
}

static void submit_erase(struct call *c, const struct uuid *id)
{
	submit_change(c, CHANGE_ERASE, id);
}

static void submit_lease_of(struct call *c, const char *queue, int64_t wait_ms, uint64_t session)
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

static void submit_lease(struct call *c, int64_t wait_ms, uint64_t session)
{
	submit_lease_of(c, "q", wait_ms, session);
}

static void await(struct call *c)
{
	pthread_mutex_lock(&c->lock);
	while (c->releases == 0)
		pthread_cond_wait(&c->done, &c->lock);
	pthread_mutex_unlock(&c->lock);
	assert_int_equal(c->releases, 1);
}

#define THREADS 4
#define CALLS	300

static void *front_main(void *arg)
{
	struct call *calls = arg;

	for (int i = 0; i < CALLS; i++)
		submit_put(&calls[i], "x");
	for (int i = 0; i < CALLS; i++)
		await(&calls[i]);
	return NULL;
}

static void many_fronts_put_at_once(void **state)
{
	_cleanup_free_ struct call *calls = calloc(THREADS * CALLS, sizeof(*calls));
	pthread_t threads[THREADS];
	struct writer_stats stats;

	(void)state;
	assert_non_null(calls);
	assert_int_equal(writer_start(fixture.writer), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, front_main, calls + i * CALLS), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < THREADS * CALLS; i++) {
		assert_int_equal(calls[i].rc, 0);
		assert_int_equal(calls[i].answers, 1);
	}
	writer_stats(fixture.writer, &stats);
	assert_int_equal(stats.commands, THREADS * CALLS);
	assert_true(stats.commits <= stats.commands);
}

static void what_waits_is_committed_together(void **state)
{
	struct call calls[10];
	struct writer_stats stats;

	(void)state;
	for (int i = 0; i < 10; i++)
		submit_put(&calls[i], "x");
	assert_int_equal(writer_start(fixture.writer), 0);
	for (int i = 0; i < 10; i++)
		await(&calls[i]);
	writer_stats(fixture.writer, &stats);
	assert_int_equal(stats.largest_batch, 10);
}

static void a_failed_batch_is_told_to_each(void **state)
{
	_cleanup_free_ struct call *calls = calloc(4000, sizeof(*calls));
	struct call later;
	struct writer_stats stats;

	(void)state;
	assert_non_null(calls);
	teardown(NULL);
	tempdir_make(&fixture.dir);
	open_all(1 << 19); /* too small for them all, and nothing keeps them from being tried */
	fixture.settings.reserve_bytes = -(1LL << 32);
	for (int i = 0; i < 4000; i++)
		submit_put(&calls[i], "0123456789012345678901234567890123456789");
	assert_int_equal(writer_start(fixture.writer), 0);
	for (int i = 0; i < 4000; i++) {
		await(&calls[i]);
		assert_int_equal(calls[i].rc, ERR_STORE_FULL);
	}
	writer_stats(fixture.writer, &stats);
	assert_int_equal(stats.failed_commits, 1);
	submit_put(&later, "small");
	await(&later);
	assert_int_equal(later.rc, 0);
}

/* Whoever is gone is forgotten also where the batch fails that says so: or it would be given the next job. */
static void a_failed_batch_forgets_who_is_gone(void **state)
{
	_cleanup_free_ struct call *calls = calloc(4000, sizeof(*calls));
	struct call lease, forget, later;

	(void)state;
	assert_non_null(calls);
	teardown(NULL);
	tempdir_make(&fixture.dir);
	open_all(1 << 19);
	fixture.settings.reserve_bytes = -(1LL << 32);
	submit_lease(&lease, 60000, 7);
	for (int i = 0; i < 4000; i++)
		submit_put(&calls[i], "0123456789012345678901234567890123456789");
	prepare(&forget, COMMAND_FORGET);
	forget.cmd.session = 7;
	writer_submit(fixture.writer, &forget.cmd);
	assert_int_equal(writer_start(fixture.writer), 0);
	await(&forget);
	assert_true(forget.rc < 0);
	await(&lease);
	assert_int_equal(lease.leased, 0);
	submit_put(&later, "small");
	await(&later);
	assert_int_equal(later.rc, 0);
}

#define NEEDLE "the page to damage is the one that holds this"

static void put_needle(void)
{
	struct store_txn *t;

	assert_int_equal(store_begin_write(fixture.store, &t), 0);
	assert_int_equal(store_put(t, TABLE_CHECKPOINTS, slice_str("0123456789012345"), slice_str(NEEDLE)), 0);
	assert_int_equal(store_commit(t), 0);
}

/* An erasure is to remove the job's checkpoint and meets the page; a put of the same batch does not. */
static void whoever_needs_a_damaged_page_fails_alone(void **state)
{
	struct call first, erase, second;

	(void)state;
	assert_int_equal(writer_start(fixture.writer), 0);
	submit_put(&first, "first");
	await(&first);
	put_needle();
	teardown_writer();
	damage_pages(&fixture.dir, NEEDLE);
	open_all(1 << 28);
	submit_erase(&erase, &first.cmd.first_id);
	submit_put(&second, "second");
	assert_int_equal(writer_start(fixture.writer), 0);
	await(&erase);
	assert_int_equal(erase.rc, ERR_DAMAGED);
	await(&second);
	assert_int_equal(second.rc, 0);
}

/* So does a lease that was answered in the batch that met the page. */
static void who_was_answered_is_told_of_the_damaged_page(void **state)
{
	struct call first, lease, cancel, erase;

	(void)state;
	assert_int_equal(writer_start(fixture.writer), 0);
	submit_put(&first, "first");
	await(&first);
	put_needle();
	teardown_writer();
	damage_pages(&fixture.dir, NEEDLE);
	open_all(1 << 28);
	submit_lease_of(&lease, "none", 60000, 7);
	prepare(&cancel, COMMAND_LEASE_CANCEL);
	cancel.cmd.session = 7;
	writer_submit(fixture.writer, &cancel.cmd);
	submit_erase(&erase, &first.cmd.first_id);
	assert_int_equal(writer_start(fixture.writer), 0);
	await(&erase);
	await(&lease);
	assert_int_equal(lease.rc, ERR_DAMAGED);
	await(&cancel);
	assert_int_equal(cancel.rc, 0);
}

static void wait_for_a_batch(void)
{
	struct call lease;

	submit_lease(&lease, 0, 1);
	await(&lease);
}

#define FORGOTTEN 5

/* Jobs whose time is over, each of which is to lose its checkpoint on the damaged page: whoever puts meanwhile, and
 * needs nothing there, is not refused for any of them. */
static void nobody_fails_for_what_is_forgotten(void **state)
{
	struct call jobs[FORGOTTEN], cancel, put;
	struct writer_stats stats;

	(void)state;
	fixture.settings.record_ttl_ms = 2000000;
	assert_int_equal(writer_start(fixture.writer), 0);
	for (int i = 0; i < FORGOTTEN; i++) {
		submit_put(&jobs[i], "forgotten");
		await(&jobs[i]);
		submit_change(&cancel, CHANGE_CANCEL, &jobs[i].cmd.first_id);
		await(&cancel);
		assert_int_equal(cancel.rc, 0);
	}
	put_needle();
	clock_shift_s = 1001;
	wait_for_a_batch();
	teardown_writer();
	damage_pages(&fixture.dir, NEEDLE);
	clock_shift_s = 2002;
	open_all(1 << 28);
	submit_put(&put, "sound");
	assert_int_equal(writer_start(fixture.writer), 0);
	await(&put);
	assert_int_equal(put.rc, 0);
	writer_stats(fixture.writer, &stats);
	assert_int_equal(stats.failed_commits, 0);
}

/* What is due next is asked with each batch. */
static void what_everybody_needs_and_is_damaged_is_told(void **state)
{
	struct writer_stats stats;
	struct call put;

	(void)state;
	assert_int_equal(writer_start(fixture.writer), 0);
	submit_delayed(&put);
	await(&put);
	writer_stats(fixture.writer, &stats);
	assert_string_equal(stats.failure, "");
	teardown_writer();
	damage_root(&fixture.dir, "due", 0, 1);
	open_all(1 << 28);
	assert_int_equal(writer_start(fixture.writer), 0);
	submit_put(&put, "later");
	await(&put);
	assert_int_equal(put.rc, ERR_DAMAGED);
	writer_stats(fixture.writer, &stats);
	assert_true(strlen(stats.failure) > 0);
}

/* Before any command is looked at; the batch before met nothing. */
static void a_damaged_list_of_free_pages_is_told(void **state)
{
	struct writer_stats stats;
	struct call put;

	(void)state;
	assert_int_equal(writer_start(fixture.writer), 0);
	for (int i = 0; i < 3; i++) {
		submit_put(&put, "sound");
		await(&put);
		assert_int_equal(put.rc, 0);
	}
	damage_root(&fixture.dir, NULL, 12, 0x40);
	store__forget_proofs(fixture.store);
	submit_put(&put, "later");
	await(&put);
	assert_int_equal(put.rc, ERR_DAMAGED);
	writer_stats(fixture.writer, &stats);
	assert_true(strlen(stats.failure) > 0);
}

static void puts_that_do_not_fit_are_refused_alone(void **state)
{
	_cleanup_free_ struct call *calls = calloc(400, sizeof(*calls));
	struct writer_stats stats;
	struct call lease;
	int refused = 0;

	(void)state;
	assert_non_null(calls);
	teardown(NULL);
	tempdir_make(&fixture.dir);
	fixture.settings.reserve_bytes = 1 << 19;
	open_all(1 << 20);
	for (int i = 0; i < 400; i++)
		submit_put(&calls[i], "x");
	assert_int_equal(writer_start(fixture.writer), 0);
	for (int i = 0; i < 400; i++) {
		await(&calls[i]);
		assert_int_equal(calls[i].rc, 0);
		refused += calls[i].refusals;
	}
	assert_in_range(refused, 300, 399);
	submit_lease(&lease, 0, 1);
	await(&lease);
	assert_int_equal(lease.leased, 1);
	writer_stats(fixture.writer, &stats);
	assert_int_equal(stats.failed_commits, 0);
}

static void a_parked_lease_is_served_forgotten_or_ended(void **state)
{
	struct call served, forgotten, ended, forget, put;

	(void)state;
	assert_int_equal(writer_start(fixture.writer), 0);
	submit_lease(&served, 60000, 1);
	submit_put(&put, "x");
	await(&served);
	assert_int_equal(served.leased, 1);
	submit_lease(&forgotten, 60000, 2);
	submit_lease(&ended, 60000, 3);
	prepare(&forget, COMMAND_FORGET);
	forget.cmd.session = 2;
	writer_submit(fixture.writer, &forget.cmd);
	await(&forgotten);
	assert_int_equal(forgotten.leased, 0);
	await(&forget);
	await(&put);
	writer_stop(fixture.writer);
	await(&ended);
	assert_int_equal(ended.rc, ERR_SHUTTING_DOWN);
}

static void a_wait_ends_by_itself(void **state)
{
	struct call lease;

	(void)state;
	assert_int_equal(writer_start(fixture.writer), 0);
	submit_lease(&lease, 20, 1);
	await(&lease);
	assert_int_equal(lease.rc, 0);
	assert_int_equal(lease.leased, 0);
}

static void a_wait_ends_though_the_clock_is_set_back(void **state)
{
	struct call lease, forget;

	(void)state;
	assert_int_equal(writer_start(fixture.writer), 0);
	submit_lease(&lease, 50, 1);
	prepare(&forget, COMMAND_FORGET);
	forget.cmd.session = 2;
	writer_submit(fixture.writer, &forget.cmd);
	await(&forget);
	clock_shift_s = -3600;
	await(&lease);
	clock_shift_s = 0;
	assert_int_equal(lease.rc, 0);
	assert_int_equal(lease.leased, 0);
}

static void after_the_stop_commands_are_refused(void **state)
{
	struct call before, after;

	(void)state;
	submit_put(&before, "x");
	assert_int_equal(writer_start(fixture.writer), 0);
	writer_stop(fixture.writer);
	await(&before);
	assert_int_equal(before.rc, 0);
	submit_put(&after, "x");
	await(&after);
	assert_int_equal(after.rc, ERR_SHUTTING_DOWN);
	assert_int_equal(after.refusals, 1);
}

static pthread_mutex_t events_lock = PTHREAD_MUTEX_INITIALIZER;
static size_t final_events;

static void event_cb(void *user, const struct job_event *events, size_t count)
{
	(void)user;
	pthread_mutex_lock(&events_lock);
	for (size_t i = 0; i < count; i++)
		final_events += events[i].final;
	pthread_mutex_unlock(&events_lock);
}

static void deadlines_pass_without_a_command(void **state)
{
	struct call put, wake;

	(void)state;
	writer_subscribe(fixture.writer, event_cb, NULL);
	assert_int_equal(writer_start(fixture.writer), 0);
	prepare(&put, COMMAND_PUT);
	put.item.put.has_queue = put.item.put.has_payload = put.item.put.has_deadline_ms = true;
	put.item.put.queue = slice_str("q");
	put.item.put.payload = slice_str("x");
	put.item.put.deadline_ms = 10;
	put.put = (struct command_put){ .items = &put.item, .count = 1 };
	put.cmd.params = &put.put;
	writer_submit(fixture.writer, &put.cmd);
	await(&put);
	/* A wait that is over later than the deadline: by then the writer has woken for both. */
	submit_lease(&wake, 1, 1);
	await(&wake);
	for (bool seen = false; !seen;) {
		submit_lease(&wake, 5, 1);
		await(&wake);
		pthread_mutex_lock(&events_lock);
		seen = final_events == 1;
		pthread_mutex_unlock(&events_lock);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(many_fronts_put_at_once),
		T(what_waits_is_committed_together),
		T(a_failed_batch_is_told_to_each),
		T(a_failed_batch_forgets_who_is_gone),
		T(whoever_needs_a_damaged_page_fails_alone),
		T(who_was_answered_is_told_of_the_damaged_page),
		T(nobody_fails_for_what_is_forgotten),
		T(what_everybody_needs_and_is_damaged_is_told),
		T(a_damaged_list_of_free_pages_is_told),
		T(puts_that_do_not_fit_are_refused_alone),
		T(a_parked_lease_is_served_forgotten_or_ended),
		T(a_wait_ends_by_itself),
		T(a_wait_ends_though_the_clock_is_set_back),
		T(after_the_stop_commands_are_refused),
		T(deadlines_pass_without_a_command),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
