/* The engine at the ends of what it may be given: the largest payload, the bounds of a queue, the longest durations,
 * the steepest backoff, a peer that takes only small messages, and a clock that is set back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/clean.h"
#include "server/store/blob.h"
#include "tests/harness/engine_rig.h"

static struct rig rig;

static int setup(void **state)
{
	(void)state;
	rig_open(&rig);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rig_close(&rig);
	return 0;
}

static void a_payload_may_be_as_large_as_allowed(void **state)
{
	_cleanup_free_ char *payload = calloc(1, 20 << 20);
	struct msg_job_put put = rig_put_of("q", "");
	struct msg_leased_job job;

	(void)state;
	assert_non_null(payload);
	rig.settings.payload_bytes = 20 << 20;
	rig_restart(&rig);
	put.payload = slice_of(payload, 20 << 20);
	rig_put_params(&rig, &put);
	assert_int_equal(rig.code, 0);
	assert_true(rig_lease(&rig, "q", &job));
	assert_int_equal(job.payload.size, 20 << 20);
}

/* Coming back would not help: so it is told apart from a queue that is full for now. */
static void a_payload_larger_than_its_queue_may_hold_is_too_large(void **state)
{
	(void)state;
	rig_queue_set(&rig, "q", (struct msg_queue_set){ .has_max_bytes = true, .max_bytes = 10 });
	rig_put(&rig, "q", "1234567890");
	assert_int_equal(rig.code, 0);
	rig_put(&rig, "q", "1234567890");
	assert_int_equal(rig.code, ERR_QUEUE_FULL);
	assert_string_equal(rig.info.field, "queue");
	rig_put(&rig, "q", "12345678901");
	assert_int_equal(rig.code, ERR_TOO_LARGE);
	assert_string_equal(rig.info.field, "payload");
	assert_int_equal(rig.info.retry_after_ms, 0);
}

/* It was taken in before, and nobody could put it again under its id. */
static void a_retry_is_not_bound_by_what_its_queue_may_hold(void **state)
{
	struct uuid id = rig_put(&rig, "q", "123456");
	struct msg_leased_job job;

	(void)state;
	assert_true(rig_lease(&rig, "q", &job));
	rig_fail(&rig, &id, &job.lease, FAIL_REJECTED, 0);
	rig_queue_set(
		&rig, "q",
		(struct msg_queue_set){ .has_max_jobs = true, .max_jobs = 0, .has_max_bytes = true, .max_bytes = 0 });
	rig_retry(&rig, &id);
	assert_int_equal(rig.code, 0);
	assert_int_equal(rig_state(&rig, &id), JOB_READY);
	assert_int_equal(rig_queue(&rig, "q").bytes, 6);
}

static void an_answer_fits_into_a_message(void **state)
{
	_cleanup_free_ char *payload = calloc(1, 2000);
	struct slice name = slice_str("q");
	struct msg_job_lease lease = {
		.has_queues = true, .queues_count = 1, .queues = &name, .has_max = true, .max = 1000
	};
	struct msg_job_put put = rig_put_of("q", "");

	(void)state;
	assert_non_null(payload);
	rig.settings.answer_bytes = 16384;
	for (int i = 0; i < 150; i++) {
		put.payload = slice_of(payload, i < 20 ? 2000 : 0);
		rig_put_params(&rig, &put);
	}
	for (size_t leased = 0; leased < 150; leased += rig.answer.lease.jobs_count) {
		rig_run(&rig, COMMAND_LEASE, &lease);
		assert_true(rig.answer.lease.jobs_count > 0);
		assert_true(rig.bytes.size <= 16384);
	}
}

static void what_is_kept_for_ever_stays(void **state)
{
	struct uuid id = rig_put(&rig, "q", "x");
	struct msg_leased_job job;

	(void)state;
	rig.settings.result_ttl_ms = rig.settings.record_ttl_ms = rig.settings.tombstone_ttl_ms = INT64_MAX;
	assert_true(rig_lease(&rig, "q", &job));
	rig_complete(&rig, &id, &job.lease, "done");
	rig_pass(&rig, 1000LL * 365 * 86400000);
	assert_int_equal(rig_job(&rig, &id)->artifacts_count, 1);
	/* Even ever ends: with the year 9999. */
	rig_pass(&rig, 10000LL * 365 * 86400000);
	rig_pass(&rig, 0);
	rig_job(&rig, &id);
	assert_true(rig.code == ERR_GONE || rig.code == ERR_NOT_FOUND);
}

static void a_backoff_from_nothing_stays_nothing(void **state)
{
	struct msg_job_put put = rig_put_of("q", "x");
	struct msg_leased_job job;
	struct uuid id;

	(void)state;
	put.has_max_attempts = put.has_backoff = put.backoff.has_base_ms = put.backoff.has_factor = true;
	put.max_attempts = 1000;
	put.backoff.base_ms = 0;
	put.backoff.factor = 100;
	id = rig_put_params(&rig, &put);
	/* 100 to the 155th is more than a double holds. */
	for (int attempt = 1; attempt <= 160; attempt++) {
		assert_true(rig_lease(&rig, "q", &job));
		rig_fail(&rig, &id, &job.lease, FAIL_INTERNAL, 0);
		assert_int_equal(rig.answer.fail.state, JOB_READY);
		assert_int_equal(rig.answer.fail.next_attempt_at_ms, rig.now_ms);
	}
}

static void the_steepest_backoff_ends_at_its_most(void **state)
{
	struct msg_job_put put = rig_put_of("q", "x");
	struct msg_leased_job job;
	struct uuid id;

	(void)state;
	put.has_max_attempts = put.has_backoff = true;
	put.max_attempts = 1000;
	put.backoff = (struct msg_backoff){ .has_base_ms = true,
					    .base_ms = 86400000,
					    .has_factor = true,
					    .factor = 100,
					    .has_max_ms = true,
					    .max_ms = 3153600000000,
					    .has_jitter = true };
	id = rig_put_params(&rig, &put);
	for (int attempt = 1; attempt <= 20; attempt++) {
		assert_true(rig_lease(&rig, "q", &job));
		rig_fail(&rig, &id, &job.lease, FAIL_INTERNAL, 0);
		assert_in_range(rig.answer.fail.next_attempt_at_ms - rig.now_ms, 86400000, 3153600000000);
		rig_pass(&rig, rig.answer.fail.next_attempt_at_ms - rig.now_ms);
	}
}

static void a_clock_set_back_lengthens_no_wait(void **state)
{
	struct slice name = slice_str("q");
	struct msg_job_lease lease = {
		.has_queues = true,
		.queues_count = 1,
		.queues = &name,
		.has_wait_ms = true,
		.wait_ms = 10000,
	};
	struct command waiting = { .session = 1 };

	(void)state;
	rig_submit(&rig, &waiting, COMMAND_LEASE, &lease);
	rig_pass(&rig, -3600000);
	assert_int_equal(engine_parked(rig.engine), 1);
	assert_int_equal(engine_next_ms(rig.engine), rig.now_ms + 10000);
	rig_pass(&rig, 10000);
	assert_int_equal(engine_parked(rig.engine), 0);
	assert_int_equal(rig.answer.lease.jobs_count, 0);
}

static void a_clock_set_back_keeps_every_job_whole(void **state)
{
	struct uuid id = rig_put(&rig, "q", "x");
	struct msg_leased_job job;

	(void)state;
	rig_pass(&rig, -3600000);
	assert_true(rig_lease(&rig, "q", &job));
	rig_pass(&rig, -3600000);
	rig_complete(&rig, &id, &job.lease, "done");
	assert_int_equal(rig_job(&rig, &id)->state, JOB_SUCCEEDED);
	rig_put(&rig, "q", "later");
	assert_true(rig.answer.put.created);
	assert_true(uuid_compare(&rig.answer.put.id, &id) > 0);
}

/* A batch of two writes and what the first of them loaded: in a checked build the store takes values back as soon as
 * it may. */
static void a_note_outlives_what_is_written_beside_it(void **state)
{
	struct uuid id = rig_put(&rig, "q", "x");
	struct msg_extend_item item = { .has_id = true, .id = id, .has_lease = true, .has_note = true };
	struct msg_job_extend extend = { .has_leases = true, .leases = &item, .leases_count = 1 };
	struct command_attach attach = { .id = id, .has_lease = true, .name = slice_str("preview") };
	struct msg_leased_job job;

	(void)state;
	attach.staged.content_type = slice_str("text/plain");
	attach.staged.data = slice_str("still");
	attach.staged.size = 5;
	blob_sha256(attach.staged.data, attach.staged.sha256);
	assert_true(rig_lease(&rig, "q", &job));
	rig_fail(&rig, &id, &job.lease, FAIL_THROTTLED, 1);
	rig_pass(&rig, 1);
	assert_true(rig_lease(&rig, "q", &job));
	item.lease = attach.lease = job.lease;
	item.note = slice_str("half way");
	rig_run(&rig, COMMAND_EXTEND, &extend);
	rig_run(&rig, COMMAND_ATTACH, &attach);
	assert_true(slice_is(rig_job(&rig, &id)->note, "half way"));
	assert_true(slice_is(rig.view.job.error.message, "it broke"));
	rig_complete(&rig, &id, &job.lease, "done");
	assert_true(slice_is(rig_job(&rig, &id)->note, "half way"));
	assert_true(slice_is(rig.view.job.error.message, "it broke"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_payload_may_be_as_large_as_allowed),
		T(a_payload_larger_than_its_queue_may_hold_is_too_large),
		T(a_retry_is_not_bound_by_what_its_queue_may_hold),
		T(an_answer_fits_into_a_message),
		T(what_is_kept_for_ever_stays),
		T(a_backoff_from_nothing_stays_nothing),
		T(the_steepest_backoff_ends_at_its_most),
		T(a_clock_set_back_lengthens_no_wait),
		T(a_clock_set_back_keeps_every_job_whole),
		T(a_note_outlives_what_is_written_beside_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
