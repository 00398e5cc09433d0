/* Hooks in the engine: which are kept, for whom, until when; their tokens; and what becomes of damaged ones. After
 * every batch the checker proves the invariants (engine_rig.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/clean.h"
#include "server/engine/link.h"
#include "server/engine/view_hooks.h"
#include "server/store/keys.h"
#include "tests/harness/engine_rig.h"

#define SESSION 77

static struct rig rig;
static struct msg_leased_job leased;
static struct uuid id;

static bool lease_as(uint64_t session)
{
	struct slice name = slice_str("q");
	struct msg_job_lease lease = { .has_queues = true, .queues_count = 1, .queues = &name };
	struct command cmd = { .session = session };

	rig_submit(&rig, &cmd, COMMAND_LEASE, &lease);
	if (rig.answer.lease.jobs_count == 0)
		return false;
	leased = rig.answer.lease.jobs[0];
	return true;
}

static int setup(void **state)
{
	(void)state;
	rig_open(&rig);
	id = rig_put(&rig, "q", "x");
	assert_true(lease_as(SESSION));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rig_close(&rig);
	return 0;
}

/* n is what it is known by. */
static void report_expecting(int n, size_t size, int code)
{
	static char bytes[HOOK_BODY_BYTES];
	struct pair header = { slice_str("webhook-id"), slice_str("m") };
	struct command_hook hook = {
		.id = id,
		.attempt = 1,
		.content_type = slice_str("application/json"),
		.headers = &header,
		.headers_count = 1,
		.body = slice_of(bytes, size),
	};

	memset(bytes, 'a' + n % 26, size);
	hook.digest[0] = (uint8_t)n;
	rig_run(&rig, COMMAND_HOOK, &hook);
	assert_int_equal(rig.code, code);
}

static void report(int n, size_t size)
{
	report_expecting(n, size, 0);
}

static void done_with(int64_t number, int code)
{
	struct msg_job_woken woken = { .has_id = true, .id = id, .has_lease = true, .lease = leased.lease };

	woken.has_hook = true;
	woken.hook = number;
	rig_run(&rig, COMMAND_WOKEN, &woken);
	assert_int_equal(rig.code, code);
}

static void extend_as(uint64_t session)
{
	struct msg_extend_item item = { .has_id = true, .id = id, .has_lease = true, .lease = leased.lease };
	struct msg_job_extend extend = { .has_leases = true, .leases = &item, .leases_count = 1 };
	struct command cmd = { .session = session };

	rig_submit(&rig, &cmd, COMMAND_EXTEND, &extend);
	assert_int_equal(rig.answer.extend.leases[0].status, EXTEND_OK);
}

/* Who was told in the last batch, 0 for nobody. */
static void expect_woken(uint64_t session)
{
	size_t count, found = 0;
	const struct job_event *events = engine_events(rig.engine, &count);

	for (size_t i = 0; i < count; i++) {
		if (events[i].wakes == 0)
			continue;
		found++;
		assert_memory_equal(&events[i].id, &id, sizeof(id));
		assert_memory_equal(&events[i].lease, &leased.lease, sizeof(leased.lease));
		assert_int_equal(events[i].wakes, session);
	}
	assert_int_equal(found, session != 0);
}

static void expect_hooks(int64_t count, int64_t waiting)
{
	const struct msg_job *job = rig_job(&rig, &id);

	assert_int_equal(job->has_hooks, count > 0);
	assert_int_equal(job->hooks.count, count);
	assert_int_equal(job->hooks.waiting, waiting);
}

/* The numbers that are given to whoever holds the lease. */
static size_t given(uint64_t *ret, size_t cap)
{
	_cleanup_(store_abortp) struct store_txn *t = NULL;
	struct pair headers[HOOK_HEADERS];
	struct msg_job_wake wake = { .hook = 0 };
	size_t count = 0;

	assert_int_equal(store_begin_read(rig.store, &t), 0);
	while (count < cap && view_next_hook(t, &id, &leased.lease, (uint64_t)wake.hook, headers, &wake) == 0) {
		assert_int_equal(wake.headers_count, 1);
		assert_true(slice_is(wake.headers[0].key, "webhook-id"));
		ret[count++] = (uint64_t)wake.hook;
	}
	return count;
}

/* ---- who is told, and when ---- */

static void a_hook_is_told_to_the_holder(void **state)
{
	(void)state;
	report(1, 10);
	expect_woken(SESSION);
	report(2, 10);
	expect_woken(SESSION);
	expect_hooks(2, 2);
	assert_int_equal(rig_job(&rig, &id)->hooks.last_at_ms, rig.now_ms);
}

static void the_same_again_changes_nothing(void **state)
{
	(void)state;
	report(1, 10);
	rig_pass(&rig, 1000);
	report(1, 10);
	expect_woken(0);
	expect_hooks(1, 1);
	done_with(1, 0);
	report(1, 10);
	expect_woken(0);
	expect_hooks(1, 0);
}

static void each_extension_tells_again(void **state)
{
	(void)state;
	extend_as(SESSION);
	expect_woken(0);
	report(1, 10);
	report(2, 10);
	extend_as(SESSION);
	expect_woken(SESSION);
	/* And whoever takes the lease over. */
	extend_as(SESSION + 1);
	expect_woken(SESSION + 1);
	report(3, 10);
	expect_woken(SESSION + 1);
	done_with(3, 0);
	extend_as(SESSION + 1);
	expect_woken(0);
}

static void the_next_attempt_is_given_what_waits(void **state)
{
	uint64_t numbers[4];

	(void)state;
	report(1, 10);
	report(2, 10);
	done_with(1, 0);
	rig_fail(&rig, &id, &leased.lease, FAIL_TIMEOUT, 0);
	report(3, 10);
	expect_woken(0);
	rig_pass(&rig, 60000);
	assert_true(lease_as(SESSION + 5));
	expect_woken(SESSION + 5);
	assert_true(leased.has_hooks);
	assert_int_equal(leased.hooks, 2);
	assert_int_equal(given(numbers, 4), 2);
	assert_int_equal(numbers[0], 2);
	assert_int_equal(numbers[1], 3);
}

static void another_lease_is_given_nothing(void **state)
{
	uint64_t numbers[4];

	(void)state;
	report(1, 10);
	leased.lease.bytes[0] ^= 1;
	assert_int_equal(given(numbers, 4), 0);
	done_with(1, ERR_LEASE_LOST);
	expect_hooks(1, 1);
}

static void a_restart_keeps_all(void **state)
{
	uint64_t numbers[4];

	(void)state;
	report(1, 10);
	report(2, 5000);
	done_with(1, 0);
	rig_restart(&rig);
	expect_hooks(2, 1);
	assert_int_equal(given(numbers, 4), 1);
	report(1, 10);
	expect_hooks(2, 1);
	report(3, 10);
	assert_int_equal(given(numbers, 4), 2);
	assert_int_equal(numbers[1], 3);
}

static void a_failed_commit_takes_it_back(void **state)
{
	(void)state;
	rig.take_back = true;
	report_expecting(1, 10, ERR_STORE_ERROR);
	expect_hooks(0, 0);
	report(1, 10);
	expect_hooks(1, 1);
}

/* ---- bounds ---- */

static void the_newest_sixteen_are_kept(void **state)
{
	uint64_t numbers[HOOKS_OF_JOB + 1];

	(void)state;
	for (int n = 1; n <= HOOKS_OF_JOB + 4; n++)
		report(n, 10);
	expect_hooks(HOOKS_OF_JOB + 4, HOOKS_OF_JOB);
	assert_int_equal(given(numbers, HOOKS_OF_JOB + 1), HOOKS_OF_JOB);
	assert_int_equal(numbers[0], 5);
	/* What is forgotten counts as new. */
	report(1, 10);
	expect_hooks(HOOKS_OF_JOB + 5, HOOKS_OF_JOB);
}

static void the_newest_two_mebibytes_wait(void **state)
{
	uint64_t numbers[4];

	(void)state;
	report(1, HOOK_BODY_BYTES);
	report(2, HOOK_BODY_BYTES - 1000);
	expect_hooks(2, 2);
	report(3, 2000);
	expect_hooks(3, 2);
	assert_int_equal(given(numbers, 4), 2);
	assert_int_equal(numbers[0], 2);
	/* The first is remembered all the same. */
	report(1, HOOK_BODY_BYTES);
	expect_hooks(3, 2);
}

/* ---- ends ---- */

static void nothing_waits_for_a_job_that_is_over(void **state)
{
	(void)state;
	report(1, 10);
	rig_complete(&rig, &id, &leased.lease, "r");
	expect_hooks(1, 0);
	report(2, 10);
	expect_woken(0);
	expect_hooks(2, 0);
}

static void a_dead_job_may_be_retried(void **state)
{
	(void)state;
	report(1, 10);
	rig_fail(&rig, &id, &leased.lease, FAIL_REJECTED, 0);
	expect_hooks(1, 1);
	report(2, 10);
	expect_hooks(2, 2);
	rig_retry(&rig, &id);
	assert_true(lease_as(SESSION));
	assert_int_equal(leased.hooks, 2);
}

static int64_t entries(enum store_table table)
{
	_cleanup_(store_abortp) struct store_txn *t = NULL;
	int64_t count;

	assert_int_equal(store_begin_read(rig.store, &t), 0);
	assert_int_equal(store_count(t, table, &count), 0);
	return count;
}

static void an_erased_job_leaves_none(void **state)
{
	(void)state;
	report(1, 10);
	report(2, 10);
	rig_erase(&rig, &id);
	assert_int_equal(entries(TABLE_HOOKS), 0);
	assert_int_equal(entries(TABLE_HOOK_BODIES), 0);
	report(3, 10);
	assert_int_equal(entries(TABLE_HOOKS), 0);
}

static void of_an_unknown_job_nothing_is_kept(void **state)
{
	(void)state;
	id.bytes[0] ^= 1;
	report(1, 10);
	assert_int_equal(entries(TABLE_HOOKS), 0);
}

static void retention_takes_what_a_dead_one_left(void **state)
{
	(void)state;
	report(1, 10);
	rig_fail(&rig, &id, &leased.lease, FAIL_REJECTED, 0);
	rig_pass(&rig, rig.settings.result_ttl_ms + 1);
	expect_hooks(1, 0);
	rig_pass(&rig, rig.settings.record_ttl_ms + 1);
	assert_int_equal(entries(TABLE_HOOKS), 0);
}

/* ---- damage ---- */

static void damage(enum store_table table, struct key key)
{
	struct store_txn *t;
	struct slice value;
	uint8_t bytes[4096];

	rig.unchecked = true;
	assert_int_equal(store_begin_write(rig.store, &t), 0);
	assert_int_equal(store_get(t, table, key_slice(&key), &value), 0);
	memcpy(bytes, value.data, value.size);
	bytes[value.size - 1] ^= 4;
	assert_int_equal(store_put(t, table, key_slice(&key), slice_of(bytes, value.size)), 0);
	assert_int_equal(store_commit(t), 0);
}

static void a_damaged_list_begins_anew(void **state)
{
	uint64_t numbers[4];

	(void)state;
	report(1, 10);
	damage(TABLE_HOOKS, key_job(&id));
	report(2, 10);
	expect_hooks(1, 1);
	assert_int_equal(given(numbers, 4), 1);
	/* Whoever passes over what it has seen must not pass over this. */
	assert_true(numbers[0] > 1);
	rig_check(&rig);
}

static void a_damaged_body_is_given_to_nobody(void **state)
{
	uint64_t numbers[4];

	(void)state;
	report(1, 10);
	report(2, 10);
	damage(TABLE_HOOK_BODIES, key_hook(&id, 1));
	assert_int_equal(given(numbers, 4), 1);
	assert_int_equal(numbers[0], 2);
	done_with(2, 0);
	rig_check(&rig);
}

/* ---- tokens ---- */

static void a_token_is_of_one_attempt_of_one_job(void **state)
{
	char text[HOOK_TOKEN_SIZE + 2];
	struct slice url = leased.hook_url;
	uint32_t attempt;
	struct uuid job;

	(void)state;
	memcpy(text, (const char *)url.data + url.size - HOOK_TOKEN_SIZE, HOOK_TOKEN_SIZE);
	assert_int_equal(hook_read(rig.settings.link_secret, slice_of(text, HOOK_TOKEN_SIZE), &job, &attempt), 0);
	assert_memory_equal(&job, &id, sizeof(id));
	assert_int_equal(attempt, 1);
	/* No character of it can be another. */
	for (size_t i = 0; i < HOOK_TOKEN_SIZE; i++) {
		char was = text[i];

		text[i] = was == 'A' ? 'B' : 'A';
		assert_int_equal(hook_read(rig.settings.link_secret, slice_of(text, HOOK_TOKEN_SIZE), &job, &attempt),
				 ERR_NOT_FOUND);
		text[i] = was;
	}
	for (size_t size = 0; size < HOOK_TOKEN_SIZE; size++)
		assert_int_equal(hook_read(rig.settings.link_secret, slice_of(text, size), &job, &attempt),
				 ERR_NOT_FOUND);
	text[HOOK_TOKEN_SIZE] = 'A';
	assert_int_equal(hook_read(rig.settings.link_secret, slice_of(text, sizeof(text) - 1), &job, &attempt),
			 ERR_NOT_FOUND);
	rig.settings.link_secret[31] ^= 1;
	assert_int_equal(hook_read(rig.settings.link_secret, slice_of(text, HOOK_TOKEN_SIZE), &job, &attempt),
			 ERR_NOT_FOUND);
	rig.settings.link_secret[31] ^= 1;
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_hook_is_told_to_the_holder),
		T(the_same_again_changes_nothing),
		T(each_extension_tells_again),
		T(the_next_attempt_is_given_what_waits),
		T(another_lease_is_given_nothing),
		T(a_restart_keeps_all),
		T(a_failed_commit_takes_it_back),
		T(the_newest_sixteen_are_kept),
		T(the_newest_two_mebibytes_wait),
		T(nothing_waits_for_a_job_that_is_over),
		T(a_dead_job_may_be_retried),
		T(an_erased_job_leaves_none),
		T(of_an_unknown_job_nothing_is_kept),
		T(retention_takes_what_a_dead_one_left),
		T(a_damaged_list_begins_anew),
		T(a_damaged_body_is_given_to_nobody),
		T(a_token_is_of_one_attempt_of_one_job),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
