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

static struct msg_job_put put_of(const char *queue, const char *payload)
{
	return (struct msg_job_put){
		.has_queue = true,
		.queue = slice_str(queue),
		.has_payload = true,
		.payload = slice_str(payload),
	};
}

#define assert_slice(s, text) assert_true(slice_is(s, text))

static void put_answers_with_place_and_link(void **state)
{
	struct uuid first = rig_put(&rig, "q", "one");

	(void)state;
	assert_int_equal(rig.code, 0);
	assert_true(rig.answer.put.created);
	assert_int_equal(rig.answer.put.state, JOB_READY);
	assert_int_equal(rig.answer.put.position, 1);
	assert_int_equal(rig.answer.put.link.size, strlen("http://example.test/r/") + LINK_TOKEN_SIZE);
	rig_put(&rig, "q", "two");
	assert_int_equal(rig.answer.put.position, 2);
	assert_int_equal(rig_job(&rig, &first)->position, 1);
}

static void jobs_are_leased_by_priority_then_age(void **state)
{
	struct msg_job_put urgent = put_of("q", "urgent");
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
	struct msg_job_put put = put_of("q", "x");
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
	struct msg_job_put put = put_of("q", "x");
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
	struct msg_job_put put = put_of("q", "x");
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
	struct msg_job_put put = put_of("q", "x");
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

static void delays_and_deadlines_pass(void **state)
{
	struct msg_job_put delayed = put_of("q", "delayed"), start = put_of("q", "start"), total = put_of("q", "total");
	struct msg_job_put attempt = put_of("slow", "attempt");
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

static void idempotency_keys_find_the_first_job(void **state)
{
	struct msg_job_put put = put_of("q", "same");
	struct uuid first, second;

	(void)state;
	put.has_idempotency_key = true;
	put.idempotency_key = slice_str("visitor-1");
	first = rig_put_params(&rig, &put);
	second = rig_put_params(&rig, &put);
	assert_int_equal(rig.code, 0);
	assert_false(rig.answer.put.created);
	assert_true(uuid_equal(&first, &second));
	put.payload = slice_str("other");
	rig_put_params(&rig, &put);
	assert_int_equal(rig.code, ERR_CONFLICT);
	assert_string_equal(rig.info.field, "idempotency_key");
	put.queue = slice_str("another-queue");
	rig_put_params(&rig, &put);
	assert_true(rig.answer.put.created);
}

static void put_many_judges_each_on_its_own(void **state)
{
	struct put_item items[3] = { { .put = put_of("q", "a") },
				     { .put = put_of("_own", "b") },
				     { .put = put_of("q", "c") } };
	struct command_put put = { .items = items, .count = 3, .many = true };
	struct msg_leased_job job;

	(void)state;
	rig_run(&rig, COMMAND_PUT, &put);
	assert_int_equal(rig.answer.put_many.jobs_count, 3);
	assert_true(rig.answer.put_many.jobs[0].has_id);
	assert_true(rig.answer.put_many.jobs[1].has_error);
	assert_slice(rig.answer.put_many.jobs[1].error.code, "bad_request");
	assert_int_equal(rig.answer.put_many.jobs[2].position, 2);
	assert_true(rig_lease(&rig, "q", &job));
	assert_true(rig_lease(&rig, "q", &job));
	assert_false(rig_lease(&rig, "q", &job));
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
	struct msg_job_put put = put_of("q", "x");
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

static void links_that_are_none_are_unknown(void **state)
{
	char token[LINK_TOKEN_SIZE + 1] = "";
	struct uuid id = rig_put(&rig, "q", "x"), found;

	(void)state;
	memcpy(token, (const char *)rig.answer.put.link.data + rig.answer.put.link.size - LINK_TOKEN_SIZE,
	       LINK_TOKEN_SIZE);
	rig_job(&rig, &id);
	assert_int_equal(view_link(rig.view_txn, &rig.settings, rig.now_ms, slice_str(token), &found, &rig.view), 0);
	assert_true(uuid_equal(&found, &id));
	for (size_t i = 0; i < LINK_TOKEN_SIZE; i++) {
		char other[LINK_TOKEN_SIZE + 1];

		memcpy(other, token, sizeof(other));
		other[i] = other[i] == 'A' ? 'B' : 'A';
		assert_int_equal(
			view_link(rig.view_txn, &rig.settings, rig.now_ms, slice_str(other), &found, &rig.view),
			ERR_NOT_FOUND);
	}
	assert_int_equal(view_link(rig.view_txn, &rig.settings, rig.now_ms, slice_str(""), &found, &rig.view),
			 ERR_NOT_FOUND);
	assert_int_equal(view_link(rig.view_txn, &rig.settings, rig.now_ms, slice_of(token, 42), &found, &rig.view),
			 ERR_NOT_FOUND);
}

static void a_put_keeps_all_it_was_given(void **state)
{
	struct pair metadata[2] = { { slice_str("k1"), slice_str("v1") }, { slice_str("k2"), slice_str("") } };
	struct msg_job_put put = put_of("q", "payload");
	const struct msg_job *job;
	struct uuid id;

	(void)state;
	put.has_title = put.has_group = put.has_metadata = put.has_preview = put.has_content_type = true;
	put.title = slice_str("Für Ada");
	put.group = slice_str("campaign:1");
	put.metadata = metadata;
	put.metadata_count = 2;
	put.content_type = slice_str("application/json");
	put.preview = (struct msg_media){ .content_type = slice_str("image/png"), .data = slice_str("\x89PNG") };
	id = rig_put_params(&rig, &put);
	rig_restart(&rig);
	job = rig_job(&rig, &id);
	assert_slice(job->title, "Für Ada");
	assert_slice(job->group, "campaign:1");
	assert_slice(job->content_type, "application/json");
	assert_int_equal(job->metadata_count, 2);
	assert_slice(job->metadata[1].key, "k2");
	assert_int_equal(job->payload_size, 7);
	assert_int_equal(job->artifacts_count, 1);
	assert_slice(job->artifacts[0].name, "preview");
	assert_int_equal(job->artifacts[0].size, 4);
}

static void the_list_pages_from_the_newest(void **state)
{
	struct msg_job_list params = { 0 };
	struct job_view views[3];
	struct list_place place;
	size_t count;
	bool more;

	(void)state;
	for (int i = 0; i < 5; i++)
		rig_put(&rig, i % 2 ? "odd" : "even", "x");
	rig_job(&rig, &rig.answer.put.id);
	assert_int_equal(view_list_begin(&rig.settings, &params, &place, NULL), 0);
	assert_int_equal(view_list(rig.view_txn, &rig.settings, rig.now_ms, &place, views, 3, &count, &more), 0);
	assert_int_equal(count, 3);
	assert_true(more);
	assert_true(uuid_compare(&views[0].job.id, &views[1].job.id) > 0);
	assert_int_equal(view_list(rig.view_txn, &rig.settings, rig.now_ms, &place, views, 3, &count, &more), 0);
	assert_int_equal(count, 2);
	assert_false(more);
	params.has_queue = true;
	params.queue = slice_str("odd");
	view_list_begin(&rig.settings, &params, &place, NULL);
	assert_int_equal(view_list(rig.view_txn, &rig.settings, rig.now_ms, &place, views, 3, &count, &more), 0);
	assert_int_equal(count, 2);
}

static void an_aborted_batch_never_happened(void **state)
{
	struct put_item item = { .put = put_of("fresh", "x") };
	struct command_put put = { .items = &item, .count = 1 };
	struct command cmd = { 0 };
	struct command *answered;
	struct store_txn *t;
	uint8_t random[32] = { 0 };
	bool parked;

	(void)state;
	rig_put(&rig, "q", "kept");
	rig_submit(&rig, &cmd, COMMAND_PUT, &put); /* fills in the callbacks */
	assert_int_equal(store_begin_write(rig.store, &t), 0);
	assert_int_equal(engine_begin(rig.engine, t, rig.now_ms, random), 0);
	uuid_next(&cmd.first_id, &cmd.first_id);
	item.put.queue = slice_str("never");
	assert_int_equal(engine_apply(rig.engine, &cmd, &parked), 0);
	assert_int_equal(engine_finish(rig.engine), 0);
	store_abort(t);
	engine_aborted(rig.engine, false, &answered);
	rig_check(&rig);
	rig_job(&rig, &cmd.first_id);
	assert_int_equal(rig.code, ERR_NOT_FOUND);
	rig_put(&rig, "never", "now");
	assert_int_equal(rig.answer.put.position, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(put_answers_with_place_and_link),
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
		T(delays_and_deadlines_pass),
		T(idempotency_keys_find_the_first_job),
		T(put_many_judges_each_on_its_own),
		T(a_parked_lease_gets_the_next_job),
		T(a_session_that_is_gone_waits_no_more),
		T(several_queues_take_turns),
		T(retention_takes_artifacts_then_the_record_then_the_tombstone),
		T(links_that_are_none_are_unknown),
		T(a_put_keeps_all_it_was_given),
		T(the_list_pages_from_the_newest),
		T(an_aborted_batch_never_happened),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
