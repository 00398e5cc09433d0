/* The life of a job in the real engine on a real store, the test saying what time it is. After every command the
 * checker proves the invariants (engine_rig.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

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

static void jobs_are_leased_by_priority_then_age(void **state)
{
	struct msg_job_put urgent = rig_put_of("q", "urgent");
	struct msg_leased_job job;

	(void)state;
	rig_put(&rig, "q", "first");
	rig_put(&rig, "q", "second");
	urgent.has_priority = true;
	urgent.priority = 0;
	rig_put_params(&rig, &urgent);
	assert_int_equal(rig.answer.put.position, 1);
	assert_true(rig_lease(&rig, "q", &job));
	assert_slice(job.payload, "urgent");
	assert_true(rig_lease(&rig, "q", &job));
	assert_slice(job.payload, "first");
	assert_int_equal(job.attempt, 1);
	assert_true(rig_lease(&rig, "q", &job));
	assert_slice(job.payload, "second");
	assert_false(rig_lease(&rig, "q", &job));
}

static void complete_publishes_once(void **state)
{
	struct uuid id = rig_put(&rig, "q", "x");
	struct msg_leased_job job;
	struct artifact a;

	(void)state;
	assert_true(rig_lease(&rig, "q", &job));
	rig_complete(&rig, &id, &job.lease, "done");
	assert_int_equal(rig.code, 0);
	assert_int_equal(rig_job(&rig, &id)->state, JOB_SUCCEEDED);
	assert_int_equal(rig.view.job.artifacts_count, 1);
	assert_int_equal(view_artifact(rig.view_txn, &id, slice_str("result"), &a), 0);
	assert_slice(a.data, "done");
	rig_complete(&rig, &id, &job.lease, "again");
	assert_int_equal(rig.code, ERR_LEASE_LOST);
	rig_job(&rig, &id);
	assert_int_equal(view_artifact(rig.view_txn, &id, slice_str("result"), &a), 0);
	assert_slice(a.data, "done");
}

static void a_stale_lease_changes_nothing(void **state)
{
	struct msg_leased_job stale, fresh;
	struct msg_job_checkpoint checkpoint = { .has_id = true, .has_lease = true, .has_data = true };
	struct msg_job_release release = { .has_id = true, .has_lease = true };
	struct uuid id = rig_put(&rig, "q", "x");

	(void)state;
	assert_true(rig_lease(&rig, "q", &stale));
	rig_pass(&rig, 30000);
	assert_int_equal(rig_job(&rig, &id)->state, JOB_READY);
	assert_true(rig_lease(&rig, "q", &fresh));
	assert_int_equal(fresh.attempt, 2);
	assert_memory_not_equal(&stale.lease, &fresh.lease, sizeof(fresh.lease));

	rig_complete(&rig, &id, &stale.lease, "stolen");
	assert_int_equal(rig.code, ERR_LEASE_LOST);
	rig_fail(&rig, &id, &stale.lease, FAIL_REJECTED, 0);
	assert_int_equal(rig.code, ERR_LEASE_LOST);
	checkpoint.id = release.id = id;
	checkpoint.lease = release.lease = stale.lease;
	checkpoint.data = slice_str("provider-id");
	rig_run(&rig, COMMAND_CHECKPOINT, &checkpoint);
	assert_int_equal(rig.code, ERR_LEASE_LOST);
	rig_run(&rig, COMMAND_RELEASE, &release);
	assert_int_equal(rig.code, ERR_LEASE_LOST);
	assert_int_equal(rig_job(&rig, &id)->state, JOB_RUNNING);
	rig_complete(&rig, &id, &fresh.lease, "mine");
	assert_int_equal(rig.code, 0);
}

static void extend_keeps_a_lease_and_tells_a_lost_one(void **state)
{
	struct msg_leased_job job;
	struct uuid id = rig_put(&rig, "q", "x");
	struct msg_extend_item item = { .has_id = true, .id = id, .has_lease = true };
	struct msg_job_extend extend = { .has_leases = true, .leases = &item, .leases_count = 1 };

	(void)state;
	assert_true(rig_lease(&rig, "q", &job));
	item.lease = job.lease;
	item.has_progress = item.has_note = true;
	item.progress = 0.5;
	item.note = slice_str("half way");
	rig_pass(&rig, 20000);
	rig_run(&rig, COMMAND_EXTEND, &extend);
	assert_int_equal(rig.answer.extend.leases[0].status, EXTEND_OK);
	rig_pass(&rig, 29999);
	assert_int_equal(rig_job(&rig, &id)->state, JOB_RUNNING);
	assert_true(rig.view.job.progress == 0.5);
	assert_slice(rig.view.job.note, "half way");
	rig_pass(&rig, 1);
	assert_int_equal(rig_job(&rig, &id)->state, JOB_READY);
	rig_run(&rig, COMMAND_EXTEND, &extend);
	assert_int_equal(rig.answer.extend.leases[0].status, EXTEND_LOST);
}

static void failures_back_off_then_end_dead(void **state)
{
	struct msg_job_put put = rig_put_of("q", "x");
	struct msg_leased_job job;
	struct uuid id;

	(void)state;
	put.has_max_attempts = put.has_backoff = put.backoff.has_base_ms = put.backoff.has_jitter = true;
	put.max_attempts = 3;
	put.backoff.base_ms = 1000;
	put.backoff.jitter = 0;
	id = rig_put_params(&rig, &put);
	for (int attempt = 1; attempt <= 2; attempt++) {
		assert_true(rig_lease(&rig, "q", &job));
		assert_int_equal(job.attempt, attempt);
		rig_fail(&rig, &id, &job.lease, FAIL_UNAVAILABLE, 0);
		assert_int_equal(rig.answer.fail.state, JOB_SCHEDULED);
		assert_int_equal(rig.answer.fail.next_attempt_at_ms, rig.now_ms + attempt * 1000);
		rig_pass(&rig, attempt * 1000 - 1);
		assert_false(rig_lease(&rig, "q", &job));
		rig_pass(&rig, 1);
	}
	assert_true(rig_lease(&rig, "q", &job));
	rig_fail(&rig, &id, &job.lease, FAIL_UNAVAILABLE, 0);
	assert_int_equal(rig.answer.fail.state, JOB_DEAD);
	assert_int_equal(rig_job(&rig, &id)->error.kind, FAIL_UNAVAILABLE);
	assert_slice(rig.view.job.error.message, "it broke");
}

static void jitter_stays_within_its_share(void **state)
{
	struct msg_job_put put = rig_put_of("q", "x");
	int64_t least = INT64_MAX, most = 0;

	(void)state;
	put.has_backoff = put.backoff.has_base_ms = put.backoff.has_jitter = true;
	put.backoff.base_ms = 1000;
	put.backoff.jitter = 0.5;
	for (int i = 0; i < 40; i++) {
		struct msg_leased_job job;
		struct uuid id = rig_put_params(&rig, &put);
		int64_t delay;

		assert_true(rig_lease(&rig, "q", &job));
		rig_fail(&rig, &id, &job.lease, FAIL_TIMEOUT, 0);
		delay = rig.answer.fail.next_attempt_at_ms - rig.now_ms;
		least = delay < least ? delay : least;
		most = delay > most ? delay : most;
	}
	assert_in_range(least, 500, 700);
	assert_in_range(most, 800, 1000);
}

static void rejected_is_final_and_throttled_costs_no_attempt(void **state)
{
	struct msg_job_put put = rig_put_of("q", "x");
	struct msg_leased_job job;
	struct uuid id;

	(void)state;
	put.has_max_attempts = true;
	put.max_attempts = 1;
	id = rig_put_params(&rig, &put);
	assert_true(rig_lease(&rig, "q", &job));
	rig_fail(&rig, &id, &job.lease, FAIL_THROTTLED, 7000);
	assert_int_equal(rig.answer.fail.state, JOB_SCHEDULED);
	assert_int_equal(rig.answer.fail.next_attempt_at_ms, rig.now_ms + 7000);
	rig_pass(&rig, 7000);
	assert_true(rig_lease(&rig, "q", &job));
	assert_int_equal(job.attempt, 1);
	rig_fail(&rig, &id, &job.lease, FAIL_REJECTED, 0);
	assert_int_equal(rig.answer.fail.state, JOB_DEAD);
}

static void a_lost_lease_counts_until_the_job_is_dead(void **state)
{
	struct msg_job_put put = rig_put_of("q", "x");
	struct msg_leased_job job;
	struct uuid id;

	(void)state;
	put.has_max_attempts = true;
	put.max_attempts = 2;
	id = rig_put_params(&rig, &put);
	assert_true(rig_lease(&rig, "q", &job));
	rig_pass(&rig, 30000);
	assert_int_equal(rig_job(&rig, &id)->state, JOB_READY);
	assert_true(rig_lease(&rig, "q", &job));
	rig_pass(&rig, 30000);
	assert_int_equal(rig_job(&rig, &id)->state, JOB_DEAD);
	assert_int_equal(rig.view.job.error.kind, FAIL_TIMEOUT);
}

static void release_gives_the_attempt_and_the_place_back(void **state)
{
	struct msg_job_release release = { .has_id = true, .has_lease = true };
	struct uuid first = rig_put(&rig, "q", "first");
	struct msg_leased_job job;

	(void)state;
	rig_put(&rig, "q", "second");
	assert_true(rig_lease(&rig, "q", &job));
	release.id = first;
	release.lease = job.lease;
	rig_run(&rig, COMMAND_RELEASE, &release);
	assert_int_equal(rig.answer.release.state, JOB_READY);
	assert_true(rig_lease(&rig, "q", &job));
	assert_slice(job.payload, "first");
	assert_int_equal(job.attempt, 1);
	release.lease = job.lease;
	release.has_delay_ms = true;
	release.delay_ms = 5000;
	rig_run(&rig, COMMAND_RELEASE, &release);
	assert_int_equal(rig.answer.release.state, JOB_SCHEDULED);
}

static void a_checkpoint_reaches_the_next_attempt(void **state)
{
	struct msg_job_checkpoint checkpoint = { .has_id = true, .has_lease = true, .has_data = true };
	struct uuid id = rig_put(&rig, "q", "x");
	struct msg_leased_job job;

	(void)state;
	assert_true(rig_lease(&rig, "q", &job));
	assert_false(job.has_checkpoint);
	checkpoint.id = id;
	checkpoint.lease = job.lease;
	checkpoint.data = slice_str("provider-id-1");
	rig_run(&rig, COMMAND_CHECKPOINT, &checkpoint);
	assert_int_equal(rig.code, 0);
	rig_restart(&rig);
	rig_pass(&rig, 30000);
	assert_true(rig_lease(&rig, "q", &job));
	assert_true(job.has_checkpoint);
	assert_slice(job.checkpoint, "provider-id-1");
}

static void a_parked_lease_gets_the_next_job(void **state)
{
	struct slice name = slice_str("q");
	struct msg_job_lease lease = {
		.has_queues = true,
		.queues_count = 1,
		.queues = &name,
		.has_wait_ms = true,
		.wait_ms = 10000,
	};
	struct command first = { .session = 1 }, second = { .session = 2 };

	(void)state;
	rig_submit(&rig, &first, COMMAND_LEASE, &lease);
	assert_true(rig.parked);
	rig_submit(&rig, &second, COMMAND_LEASE, &lease);
	assert_int_equal(engine_parked(rig.engine), 2);
	assert_int_equal(engine_next_ms(rig.engine), rig.now_ms + 10000);
	rig_put(&rig, "q", "x");
	assert_int_equal(engine_parked(rig.engine), 1);
	assert_int_equal(rig.answer.lease.jobs_count, 1);
	assert_slice(rig.answer.lease.jobs[0].payload, "x");
	rig_pass(&rig, 10000);
	assert_int_equal(engine_parked(rig.engine), 0);
	assert_int_equal(rig.answer.lease.jobs_count, 0);
}

static void a_session_that_is_gone_waits_no_more(void **state)
{
	struct slice name = slice_str("q");
	struct msg_job_lease lease = {
		.has_queues = true,
		.queues_count = 1,
		.queues = &name,
		.has_wait_ms = true,
		.wait_ms = 10000,
	};
	struct command parked = { .session = 7 }, forget = { .session = 7 };
	struct msg_leased_job job;

	(void)state;
	rig_submit(&rig, &parked, COMMAND_LEASE, &lease);
	rig_submit(&rig, &forget, COMMAND_FORGET, NULL);
	assert_int_equal(engine_parked(rig.engine), 0);
	assert_int_equal(rig.released, 2);
	rig_put(&rig, "q", "x");
	assert_true(rig_lease(&rig, "q", &job));
}

static void several_queues_take_turns(void **state)
{
	struct slice names[2] = { slice_str("a"), slice_str("b") };
	struct msg_job_lease lease = {
		.has_queues = true, .queues_count = 2, .queues = names, .has_max = true, .max = 4
	};
	int from_b = 0;

	(void)state;
	for (int i = 0; i < 6; i++)
		rig_put(&rig, "a", "a");
	for (int i = 0; i < 2; i++)
		rig_put(&rig, "b", "b");
	rig_run(&rig, COMMAND_LEASE, &lease);
	assert_int_equal(rig.answer.lease.jobs_count, 4);
	for (int i = 0; i < 4; i++)
		from_b += slice_is(rig.answer.lease.jobs[i].queue, "b");
	assert_int_equal(from_b, 2);
}

static void retention_takes_artifacts_then_the_record_then_the_tombstone(void **state)
{
	struct msg_job_put put = rig_put_of("q", "x");
	struct msg_leased_job job;
	struct uuid id, found;
	char token[LINK_TOKEN_SIZE + 1] = "";

	(void)state;
	put.has_result_ttl_ms = put.has_idempotency_key = true;
	put.result_ttl_ms = 1000;
	put.idempotency_key = slice_str("key");
	id = rig_put_params(&rig, &put);
	memcpy(token, (const char *)rig.answer.put.link.data + rig.answer.put.link.size - LINK_TOKEN_SIZE,
	       LINK_TOKEN_SIZE);
	assert_true(rig_lease(&rig, "q", &job));
	rig_complete(&rig, &id, &job.lease, "done");
	rig_job(&rig, &id);
	assert_int_equal(view_link(rig.view_txn, &rig.settings, rig.now_ms, slice_str(token), &found, &rig.view), 0);
	rig_pass(&rig, 1000);
	assert_int_equal(rig_job(&rig, &id)->artifacts_count, 0);
	assert_int_equal(rig.code, 0);
	assert_int_equal(view_link(rig.view_txn, &rig.settings, rig.now_ms, slice_str(token), &found, &rig.view),
			 ERR_GONE);
	rig_pass(&rig, rig.settings.record_ttl_ms);
	rig_job(&rig, &id);
	assert_int_equal(rig.code, ERR_GONE);
	assert_int_equal(view_link(rig.view_txn, &rig.settings, rig.now_ms, slice_str(token), &found, &rig.view),
			 ERR_GONE);
	rig_put_params(&rig, &put);
	assert_true(rig.answer.put.created);
	rig_pass(&rig, rig.settings.tombstone_ttl_ms);
	rig_job(&rig, &id);
	assert_int_equal(rig.code, ERR_NOT_FOUND);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(jobs_are_leased_by_priority_then_age),
		T(complete_publishes_once),
		T(a_stale_lease_changes_nothing),
		T(extend_keeps_a_lease_and_tells_a_lost_one),
		T(failures_back_off_then_end_dead),
		T(jitter_stays_within_its_share),
		T(rejected_is_final_and_throttled_costs_no_attempt),
		T(a_lost_lease_counts_until_the_job_is_dead),
		T(release_gives_the_attempt_and_the_place_back),
		T(a_checkpoint_reaches_the_next_attempt),
		T(a_parked_lease_gets_the_next_job),
		T(a_session_that_is_gone_waits_no_more),
		T(several_queues_take_turns),
		T(retention_takes_artifacts_then_the_record_then_the_tombstone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
