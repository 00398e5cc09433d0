/* What passes with time in the real engine, the test saying what time it is: delays, deadlines and timeouts, which of
 * them counts where several have passed, and until when a dead job can be retried. After every command the checker
 * proves the invariants (engine_rig.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "server/store/keys.h"
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

#define assert_slice(s, text) assert_true(slice_is(s, text))

static void delays_and_deadlines_pass(void **state)
{
	struct msg_job_put delayed = rig_put_of("q", "delayed"), start = rig_put_of("q", "start"),
			   total = rig_put_of("q", "total");
	struct msg_job_put attempt = rig_put_of("slow", "attempt");
	struct uuid delayed_id, start_id, total_id, attempt_id;
	struct msg_leased_job job;

	(void)state;
	delayed.has_delay_ms = true;
	delayed.delay_ms = 60000;
	delayed_id = rig_put_params(&rig, &delayed);
	assert_int_equal(rig.answer.put.state, JOB_SCHEDULED);
	start.has_start_deadline_ms = true;
	start.start_deadline_ms = 10000;
	start_id = rig_put_params(&rig, &start);
	total.has_deadline_ms = true;
	total.deadline_ms = 20000;
	total_id = rig_put_params(&rig, &total);
	attempt.has_attempt_timeout_ms = true;
	attempt.attempt_timeout_ms = 5000;
	attempt_id = rig_put_params(&rig, &attempt);
	assert_true(rig_lease(&rig, "slow", &job));
	assert_int_equal(job.attempt_deadline_at_ms, rig.now_ms + 5000);

	rig_pass(&rig, 5000);
	assert_int_equal(rig_job(&rig, &attempt_id)->state, JOB_SCHEDULED);
	assert_int_equal(rig.view.job.error.kind, FAIL_TIMEOUT);
	rig_pass(&rig, 5000);
	assert_int_equal(rig_job(&rig, &start_id)->state, JOB_EXPIRED);
	assert_true(rig_lease(&rig, "q", &job));
	assert_slice(job.payload, "total");
	rig_pass(&rig, 10000);
	assert_int_equal(rig_job(&rig, &total_id)->state, JOB_EXPIRED);
	rig_complete(&rig, &total_id, &job.lease, "too late");
	assert_int_equal(rig.code, ERR_LEASE_LOST);
	rig_pass(&rig, 40000);
	assert_int_equal(rig_job(&rig, &delayed_id)->state, JOB_READY);
}

/* All three pass between two batches: what ends the job for good says why it ended. */
static void a_deadline_counts_before_the_timeout_and_the_lease(void **state)
{
	struct msg_job_put put = rig_put_of("q", "x");
	struct msg_leased_job job;
	struct uuid id;

	(void)state;
	put.has_deadline_ms = put.has_attempt_timeout_ms = true;
	put.deadline_ms = 60000;
	put.attempt_timeout_ms = 40000;
	id = rig_put_params(&rig, &put);
	assert_true(rig_lease(&rig, "q", &job));
	rig_pass(&rig, 3600000);
	assert_int_equal(rig_state(&rig, &id), JOB_EXPIRED);
	assert_slice(rig.view.job.error.message, "the deadline passed while the job ran");
}

/* The backoff is what tells the two apart: after a lease that ran out there is none. */
static void the_timeout_counts_before_the_lease(void **state)
{
	struct msg_job_put put = rig_put_of("q", "x");
	struct msg_leased_job job;
	struct uuid id;

	(void)state;
	put.has_attempt_timeout_ms = put.has_backoff = put.backoff.has_base_ms = put.backoff.has_jitter = true;
	put.attempt_timeout_ms = 40000;
	put.backoff.base_ms = 1000;
	put.backoff.jitter = 0;
	id = rig_put_params(&rig, &put);
	assert_true(rig_lease(&rig, "q", &job));
	rig_pass(&rig, 3600000);
	assert_int_equal(rig_state(&rig, &id), JOB_SCHEDULED);
	assert_slice(rig.view.job.error.message, "the attempt took longer than it may");
}

static struct uuid put_to_start_within(int64_t ms)
{
	struct msg_job_put put = rig_put_of("q", "x");

	put.has_start_deadline_ms = true;
	put.start_deadline_ms = ms;
	return rig_put_params(&rig, &put);
}

static void a_start_deadline_binds_until_the_first_attempt(void **state)
{
	struct uuid id = put_to_start_within(10000);
	struct msg_leased_job job;

	(void)state;
	assert_true(rig_lease(&rig, "q", &job));
	rig_fail(&rig, &id, &job.lease, FAIL_REJECTED, 0);
	rig_pass(&rig, 20000);
	rig_retry(&rig, &id);
	assert_int_equal(rig.code, 0);
	assert_int_equal(rig_state(&rig, &id), JOB_READY);
}

/* Dead without an attempt is a job whose input is damaged: found so when it would have been leased. */
static void who_was_not_started_in_time_is_not_retried(void **state)
{
	struct uuid id = put_to_start_within(10000);
	struct key key = key_job(&id);
	struct msg_leased_job job;
	struct store_txn *t;

	(void)state;
	assert_int_equal(store_begin_write(rig.store, &t), 0);
	assert_int_equal(store_put(t, TABLE_INPUTS, key_slice(&key), slice_str("rubbish")), 0);
	assert_int_equal(store_commit(t), 0);
	rig.unchecked = true;
	assert_false(rig_lease(&rig, "q", &job));
	assert_int_equal(rig_queue(&rig, "q").counts.dead, 1);
	rig_pass(&rig, 9999);
	rig_retry(&rig, &id);
	assert_int_equal(rig.code, 0);
	assert_false(rig_lease(&rig, "q", &job));
	rig_pass(&rig, 1);
	rig_retry(&rig, &id);
	assert_int_equal(rig.code, ERR_INVALID_STATE);
	assert_non_null(strstr(rig.info.message, "deadline"));
	assert_int_equal(rig_queue(&rig, "q").counts.dead, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(delays_and_deadlines_pass),
		T(a_deadline_counts_before_the_timeout_and_the_lease),
		T(the_timeout_counts_before_the_lease),
		T(a_start_deadline_binds_until_the_first_attempt),
		T(who_was_not_started_in_time_is_not_retried),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
