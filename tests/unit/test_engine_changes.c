/* What an operator does to jobs and queues: cancel, retry, erase, purge, settings, links. After every batch the checker
 * proves the invariants (engine_rig.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/clean.h"
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

static const struct job_event *event_with_lease(void)
{
	size_t count;
	const struct job_event *events = engine_events(rig.engine, &count);

	for (size_t i = 0; i < count; i++)
		if (events[i].called_back)
			return &events[i];
	return NULL;
}

static void lease_as(uint64_t session, struct msg_leased_job *ret)
{
	struct slice name = slice_str("q");
	struct msg_job_lease lease = { .has_queues = true, .queues_count = 1, .queues = &name };
	struct command cmd = { .session = session };

	rig_submit(&rig, &cmd, COMMAND_LEASE, &lease);
	assert_int_equal(rig.answer.lease.jobs_count, 1);
	*ret = rig.answer.lease.jobs[0];
}

static void die(const struct uuid *id)
{
	struct msg_leased_job job;

	assert_true(rig_lease(&rig, "q", &job));
	rig_fail(&rig, id, &job.lease, FAIL_REJECTED, 0);
	assert_int_equal(rig_state(&rig, id), JOB_DEAD);
}

/* ---- one job ---- */

static void a_waiting_job_is_canceled(void **state)
{
	struct msg_job_put later = {
		.has_queue = true, .queue = slice_str("q"), .has_payload = true, .has_delay_ms = true, .delay_ms = 5000
	};
	struct uuid ready = rig_put(&rig, "q", "x");
	struct uuid scheduled = rig_put_params(&rig, &later);
	struct msg_leased_job job;

	(void)state;
	rig_cancel(&rig, &ready);
	assert_int_equal(rig.answer.change.count, 1);
	rig_cancel(&rig, &scheduled);
	assert_int_equal(rig.answer.change.count, 1);
	assert_int_equal(rig_state(&rig, &ready), JOB_CANCELED);
	assert_int_equal(rig_state(&rig, &scheduled), JOB_CANCELED);
	rig_pass(&rig, 10000);
	assert_false(rig_lease(&rig, "q", &job));
	rig_cancel(&rig, &ready);
	assert_int_equal(rig.code, 0);
	assert_int_equal(rig.answer.change.count, 0);
	assert_null(event_with_lease());
}

static int extend_status(const struct uuid *id, const struct token *lease)
{
	struct msg_extend_item item = { .has_id = true, .id = *id, .has_lease = true, .lease = *lease };
	struct msg_job_extend extend = { .has_leases = true, .leases = &item, .leases_count = 1 };

	rig_run(&rig, COMMAND_EXTEND, &extend);
	return rig.answer.extend.leases[0].status;
}

static void who_runs_a_canceled_job_learns_it(void **state)
{
	struct uuid id = rig_put(&rig, "q", "x");
	const struct job_event *event;
	struct msg_leased_job stale, job;

	(void)state;
	lease_as(76, &stale);
	rig_pass(&rig, 30000);
	lease_as(77, &job);
	rig_cancel(&rig, &id);
	event = event_with_lease();
	assert_non_null(event);
	assert_int_equal(event->from_holder, 77);
	assert_memory_equal(&event->lease, &job.lease, sizeof(job.lease));
	assert_true(event->final);
	assert_int_equal(extend_status(&id, &job.lease), EXTEND_CANCEL);
	assert_int_equal(extend_status(&id, &stale.lease), EXTEND_LOST);
	rig_complete(&rig, &id, &job.lease, "too late");
	assert_int_equal(rig.code, ERR_LEASE_LOST);
	assert_int_equal(rig_state(&rig, &id), JOB_CANCELED);
}

/* A lease that was over before the cancel is a lost one, and no lease at all is none. */
static void a_cancel_tells_only_whose_lease_it_took(void **state)
{
	struct uuid id = rig_put(&rig, "q", "x"), never = rig_put(&rig, "other", "x");
	struct token none = { 0 };
	struct msg_leased_job job;

	(void)state;
	lease_as(76, &job);
	rig_pass(&rig, 30000);
	rig_cancel(&rig, &id);
	rig_cancel(&rig, &never);
	assert_null(event_with_lease());
	assert_int_equal(extend_status(&id, &job.lease), EXTEND_LOST);
	assert_int_equal(extend_status(&never, &none), EXTEND_LOST);
}

/* What one item was told is not told to the next, of which there is nothing left. */
static void an_erased_job_says_nothing_of_another(void **state)
{
	struct uuid canceled = rig_put(&rig, "q", "x"), erased = rig_put(&rig, "q", "y");
	struct msg_extend_item items[2] = { { .has_id = true, .id = canceled, .has_lease = true },
					    { .has_id = true, .id = erased, .has_lease = true } };
	struct msg_job_extend extend = { .has_leases = true, .leases = items, .leases_count = 2 };
	struct msg_leased_job job;

	(void)state;
	lease_as(77, &job);
	items[0].lease = items[1].lease = job.lease;
	rig_cancel(&rig, &canceled);
	rig_erase(&rig, &erased);
	rig_run(&rig, COMMAND_EXTEND, &extend);
	assert_int_equal(rig.answer.extend.leases[0].status, EXTEND_CANCEL);
	assert_int_equal(rig.answer.extend.leases[1].status, EXTEND_LOST);
}

/* What the events of the last batch say of who has how many more jobs in hand. */
static int gained(uint64_t session)
{
	size_t count;
	const struct job_event *events = engine_events(rig.engine, &count);
	int by = 0;

	for (size_t i = 0; i < count; i++)
		by += (events[i].to_holder == session) - (events[i].from_holder == session);
	return by;
}

static void extend_as(uint64_t session, const struct msg_leased_job *job)
{
	struct msg_extend_item item = { .has_id = true, .id = job->id, .has_lease = true, .lease = job->lease };
	struct msg_job_extend extend = { .has_leases = true, .leases = &item, .leases_count = 1 };
	struct command cmd = { .session = session };

	rig_submit(&rig, &cmd, COMMAND_EXTEND, &extend);
}

enum way { COMPLETES, FAILS, DIES, IS_RELEASED, IS_LOST, IS_CANCELED, IS_ERASED, EXPIRES, WAYS };

static void end_job(enum way way, const struct msg_leased_job *job)
{
	struct msg_job_release release = { .has_id = true, .id = job->id, .has_lease = true, .lease = job->lease };

	switch (way) {
	case COMPLETES:
		rig_complete(&rig, &job->id, &job->lease, "y");
		break;
	case FAILS:
	case DIES:
		rig_fail(&rig, &job->id, &job->lease, way == DIES ? FAIL_REJECTED : FAIL_TIMEOUT, 0);
		break;
	case IS_RELEASED:
		rig_run(&rig, COMMAND_RELEASE, &release);
		break;
	case IS_CANCELED:
		rig_cancel(&rig, &job->id);
		break;
	case IS_ERASED:
		rig_erase(&rig, &job->id);
		break;
	default:
		rig_pass(&rig, 60000);
	}
}

/* Whatever ends a lease takes the job out of the hand that it was in, and nothing else does. */
static void who_has_a_job_in_hand_follows_from_the_events(void **state)
{
	(void)state;
	for (int way = 0; way < WAYS; way++) {
		struct msg_job_put put = { .has_queue = true,
					   .queue = slice_str("q"),
					   .has_payload = true,
					   .has_deadline_ms = true,
					   .deadline_ms = way == EXPIRES ? 1000 : 1000000 };
		struct uuid id = rig_put_params(&rig, &put);
		struct msg_leased_job job;

		assert_int_equal(gained(77), 0);
		lease_as(77, &job);
		assert_int_equal(gained(77), 1);
		extend_as(77, &job);
		assert_int_equal(gained(77), 0);
		extend_as(78, &job);
		assert_int_equal(gained(77), -1);
		assert_int_equal(gained(78), 1);
		end_job((enum way)way, &job);
		assert_int_equal(gained(78), -1);
		assert_int_equal(gained(77), 0);
		if (way == IS_ERASED)
			continue;
		rig_erase(&rig, &id);
		assert_int_equal(gained(78), 0);
	}
}

/* A worker that has connected anew goes on with its leases: it is told where it is now. */
static void who_extends_a_lease_holds_it(void **state)
{
	struct uuid id = rig_put(&rig, "q", "x");
	struct msg_leased_job job;
	struct msg_extend_item item = { .has_id = true, .id = id, .has_lease = true };
	struct msg_job_extend extend = { .has_leases = true, .leases = &item, .leases_count = 1 };
	struct command again = { .session = 78 };

	(void)state;
	lease_as(77, &job);
	item.lease = job.lease;
	rig_submit(&rig, &again, COMMAND_EXTEND, &extend);
	rig_cancel(&rig, &id);
	assert_int_equal(event_with_lease()->from_holder, 78);
}

/* A file of a batch that never reached the disk is its maker's again, to be removed. */
static void what_an_aborted_batch_adopted_is_given_back(void **state)
{
	struct command_attach attach = { .id = rig_put(&rig, "q", "x"),
					 .name = slice_str("video"),
					 .staged = { .content_type = slice_str("video/mp4"), .has_blob = true } };

	(void)state;
	rig.take_back = true;
	rig_run(&rig, COMMAND_ATTACH, &attach);
	assert_int_equal(rig.code, ERR_STORE_ERROR);
	assert_false(attach.staged.adopted);
}

/* A batch that fails before it has begun has adopted nothing, and the commands before it are no more. */
static void what_a_commit_has_adopted_stays_adopted(void **state)
{
	struct command_attach attach = { .id = rig_put(&rig, "q", "x"),
					 .name = slice_str("video"),
					 .staged = { .content_type = slice_str("video/mp4"), .has_blob = true } };
	struct command *answered;
	size_t count;

	(void)state;
	rig.unchecked = true;
	rig_run(&rig, COMMAND_ATTACH, &attach);
	assert_int_equal(rig.code, 0);
	assert_true(attach.staged.adopted);
	engine_aborted(rig.engine, false, &answered);
	assert_true(attach.staged.adopted);
	engine_aborted(rig.engine, true, &answered);
	(void)engine_garbage(rig.engine, &count);
	assert_int_equal(count, 0);
}

static void what_is_finished_cannot_be_canceled(void **state)
{
	struct uuid id = rig_put(&rig, "q", "x");
	struct msg_leased_job job;

	(void)state;
	assert_true(rig_lease(&rig, "q", &job));
	rig_complete(&rig, &id, &job.lease, NULL);
	rig_cancel(&rig, &id);
	assert_int_equal(rig.code, ERR_INVALID_STATE);
	assert_non_null(strstr(rig.info.message, "succeeded"));
	rig_retry(&rig, &id);
	assert_int_equal(rig.code, ERR_INVALID_STATE);
	id.bytes[15] ^= 1;
	rig_cancel(&rig, &id);
	assert_int_equal(rig.code, ERR_NOT_FOUND);
}

static void a_dead_job_begins_anew_at_the_end(void **state)
{
	struct uuid id = rig_put(&rig, "q", "dead");
	struct msg_leased_job job;

	(void)state;
	die(&id);
	rig_put(&rig, "q", "other");
	rig_retry(&rig, &id);
	assert_int_equal(rig.answer.change.count, 1);
	assert_int_equal(rig_state(&rig, &id), JOB_READY);
	assert_int_equal(rig.view.job.attempt, 0);
	assert_true(rig.view.job.has_error);
	assert_false(rig.view.job.has_finished_at_ms);
	assert_true(rig_lease(&rig, "q", &job));
	assert_true(slice_is(job.payload, "other"));
	assert_true(rig_lease(&rig, "q", &job));
	assert_true(slice_is(job.payload, "dead"));
	assert_int_equal(job.attempt, 1);
	rig_retry(&rig, &id);
	assert_int_equal(rig.code, ERR_INVALID_STATE);
}

static void whose_deadline_has_passed_is_not_retried(void **state)
{
	struct msg_job_put put = { .has_queue = true,
				   .queue = slice_str("q"),
				   .has_payload = true,
				   .has_deadline_ms = true,
				   .deadline_ms = 60000 };
	struct uuid id = rig_put_params(&rig, &put);

	(void)state;
	die(&id);
	rig_pass(&rig, 60000);
	rig_retry(&rig, &id);
	assert_int_equal(rig.code, ERR_INVALID_STATE);
	assert_non_null(strstr(rig.info.message, "deadline"));
	assert_int_equal(rig_state(&rig, &id), JOB_DEAD);
}

static void erase_leaves_a_tombstone_and_nothing_else(void **state)
{
	struct msg_job_put put = { .has_queue = true,
				   .queue = slice_str("q"),
				   .has_payload = true,
				   .payload = slice_str("secret"),
				   .has_idempotency_key = true,
				   .idempotency_key = slice_str("key"),
				   .has_preview = true };
	struct msg_leased_job job;
	struct uuid id, again;
	int64_t count;

	(void)state;
	put.preview.content_type = slice_str("text/plain");
	put.preview.data = slice_str("still");
	id = rig_put_params(&rig, &put);
	lease_as(5, &job);
	rig_erase(&rig, &id);
	assert_int_equal(rig.answer.change.count, 1);
	assert_non_null(event_with_lease());
	assert_int_equal(rig_state(&rig, &id), ERR_GONE);
	for (int table = TABLE_JOBS; table <= TABLE_BLOBS; table++) {
		assert_int_equal(store_count(rig.view_txn, table, &count), 0);
		assert_int_equal(count, table == TABLE_DUE); /* the tombstone's own */
	}
	rig_erase(&rig, &id);
	assert_int_equal(rig.code, ERR_GONE);
	assert_int_equal(extend_status(&id, &job.lease), EXTEND_LOST);
	again = rig_put_params(&rig, &put);
	assert_true(rig.answer.put.created);
	assert_false(uuid_equal(&again, &id));
	rig_pass(&rig, rig.settings.tombstone_ttl_ms);
	assert_int_equal(rig_state(&rig, &id), ERR_NOT_FOUND);
}

/* ---- queues ---- */

static void a_paused_queue_takes_puts_and_gives_nothing(void **state)
{
	struct command_queue pause = { .action = QUEUE_PAUSE }, resume = { .action = QUEUE_RESUME };
	struct msg_leased_job job;

	(void)state;
	pause.set.queue = resume.set.queue = slice_str("q");
	rig_run(&rig, COMMAND_QUEUE, &pause);
	assert_int_equal(rig.code, ERR_NOT_FOUND);
	rig_put(&rig, "q", "x");
	rig_run(&rig, COMMAND_QUEUE, &pause);
	assert_true(rig.answer.queue.paused);
	rig_put(&rig, "q", "y");
	assert_int_equal(rig.code, 0);
	assert_false(rig_lease(&rig, "q", &job));
	rig_run(&rig, COMMAND_QUEUE, &resume);
	assert_false(rig.answer.queue.paused);
	assert_true(rig_lease(&rig, "q", &job));
}

static void resuming_serves_who_waits(void **state)
{
	struct command_queue resume = { .action = QUEUE_RESUME };
	struct slice name = slice_str("q");
	struct msg_job_lease lease = {
		.has_queues = true, .queues_count = 1, .queues = &name, .has_wait_ms = true, .wait_ms = 1000
	};
	struct command cmd = { 0 };

	(void)state;
	rig_queue_set(&rig, "q", (struct msg_queue_set){ .has_paused = true, .paused = true });
	rig_put(&rig, "q", "x");
	rig_submit(&rig, &cmd, COMMAND_LEASE, &lease);
	assert_true(rig.parked);
	resume.set.queue = name;
	rig_run(&rig, COMMAND_QUEUE, &resume);
	assert_ptr_equal(rig.answered_by, &cmd);
}

static void a_full_queue_says_when_to_come_back(void **state)
{
	struct msg_leased_job job;
	struct uuid first;

	(void)state;
	rig_queue_set(&rig, "q", (struct msg_queue_set){ .has_max_jobs = true, .max_jobs = 2 });
	assert_int_equal(rig.answer.queue.max_jobs, 2);
	first = rig_put(&rig, "q", "x");
	rig_put(&rig, "q", "x");
	rig_put(&rig, "q", "x");
	assert_int_equal(rig.code, ERR_QUEUE_FULL);
	assert_in_range(rig.info.retry_after_ms, 1000, 60000);
	/* What runs is still the queue's to finish. */
	assert_true(rig_lease(&rig, "q", &job));
	rig_put(&rig, "q", "x");
	assert_int_equal(rig.code, ERR_QUEUE_FULL);
	rig_complete(&rig, &first, &job.lease, NULL);
	rig_put(&rig, "q", "x");
	assert_int_equal(rig.code, 0);
}

static void bytes_are_bounded_too(void **state)
{
	struct uuid id;

	(void)state;
	rig_queue_set(&rig, "q", (struct msg_queue_set){ .has_max_bytes = true, .max_bytes = 10 });
	id = rig_put(&rig, "q", "123456");
	assert_int_equal(rig_queue(&rig, "q").bytes, 6);
	rig_put(&rig, "q", "12345");
	assert_int_equal(rig.code, ERR_QUEUE_FULL);
	rig_put(&rig, "q", "1234");
	assert_int_equal(rig.code, 0);
	rig_cancel(&rig, &id);
	assert_int_equal(rig_queue(&rig, "q").bytes, 4);
	rig_put(&rig, "q", "123456");
	assert_int_equal(rig.code, 0);
}

static void a_known_key_is_known_in_a_full_queue(void **state)
{
	struct msg_job_put put = { .has_queue = true,
				   .queue = slice_str("q"),
				   .has_payload = true,
				   .has_idempotency_key = true,
				   .idempotency_key = slice_str("k") };

	(void)state;
	rig_put_params(&rig, &put);
	rig_queue_set(&rig, "q", (struct msg_queue_set){ .has_max_jobs = true, .max_jobs = 0 });
	rig_put_params(&rig, &put);
	assert_int_equal(rig.code, 0);
	assert_false(rig.answer.put.created);
}

static void settings_reach_jobs_that_wait(void **state)
{
	struct uuid id = rig_put(&rig, "q", "x");
	struct msg_queue_set set = { .has_max_attempts = true,
				     .max_attempts = 2,
				     .has_attempt_timeout_ms = true,
				     .attempt_timeout_ms = 7000,
				     .has_result_ttl_ms = true,
				     .result_ttl_ms = 5000,
				     .has_backoff = true,
				     .backoff = {
					     .has_base_ms = true, .base_ms = 400, .has_jitter = true, .jitter = 0 } };
	struct msg_leased_job job;

	(void)state;
	rig_queue_set(&rig, "q", set);
	assert_int_equal(rig.answer.queue.backoff.max_ms, 300000);
	assert_true(rig_lease(&rig, "q", &job));
	assert_int_equal(job.attempt_deadline_at_ms, rig.now_ms + 7000);
	rig_fail(&rig, &id, &job.lease, FAIL_UNAVAILABLE, 0);
	assert_int_equal(rig.answer.fail.next_attempt_at_ms, rig.now_ms + 400);
	rig_pass(&rig, 400);
	assert_true(rig_lease(&rig, "q", &job));
	rig_fail(&rig, &id, &job.lease, FAIL_UNAVAILABLE, 0);
	assert_int_equal(rig.answer.fail.state, JOB_DEAD);
	rig_pass(&rig, 5000);
	rig_job(&rig, &id);
	assert_true(rig.view.record.artifacts_gone);
}

static void a_nil_takes_a_setting_back(void **state)
{
	struct msg_queue_set set = { .has_max_jobs = true, .max_jobs = 1, .has_title = true };

	(void)state;
	set.title = slice_str("Renders");
	rig_queue_set(&rig, "q", set);
	assert_true(slice_is(rig.answer.queue.title, "Renders"));
	set = (struct msg_queue_set){ 0 };
	MESSAGE_SET_NIL(queue_set, &set, max_jobs);
	rig_queue_set(&rig, "q", set);
	assert_false(rig.answer.queue.has_max_jobs);
	assert_true(slice_is(rig.answer.queue.title, "Renders"));
	rig_restart(&rig);
	assert_true(slice_is(rig_queue(&rig, "q").title, "Renders"));
}

/* ---- links ---- */

static struct slice token_of(struct slice link)
{
	return slice_of((const char *)link.data + link.size - LINK_TOKEN_SIZE, LINK_TOKEN_SIZE);
}

static int follow(const char *token)
{
	struct job_view view;
	struct uuid id;

	store_abort(rig.view_txn);
	assert_int_equal(store_begin_read(rig.store, &rig.view_txn), 0);
	return view_link(rig.view_txn, &rig.settings, rig.now_ms, slice_str(token), &id, &view);
}

static void a_new_link_ends_the_old_one(void **state)
{
	struct command_link command = { .id = rig_put(&rig, "q", "x") };
	char old[LINK_TOKEN_SIZE + 1], new[LINK_TOKEN_SIZE + 1];

	(void)state;
	snprintf(old, sizeof(old), "%.*s", SLICE_FMT(token_of(rig.answer.put.link)));
	assert_int_equal(follow(old), 0);
	rig_run(&rig, COMMAND_LINK, &command);
	snprintf(new, sizeof(new), "%.*s", SLICE_FMT(token_of(rig.answer.link.link)));
	assert_int_equal(follow(old), ERR_NOT_FOUND);
	assert_int_equal(follow(new), 0);
	command.revoke = true;
	rig_run(&rig, COMMAND_LINK, &command);
	assert_int_equal(rig.code, 0);
	assert_int_equal(follow(new), ERR_NOT_FOUND);
	assert_false(rig_job(&rig, &command.id)->has_link);
	command.revoke = false;
	rig_run(&rig, COMMAND_LINK, &command);
	assert_int_equal(rig.code, 0);
	assert_int_equal(follow(new), ERR_NOT_FOUND);
	snprintf(new, sizeof(new), "%.*s", SLICE_FMT(token_of(rig.answer.link.link)));
	rig_erase(&rig, &command.id);
	assert_int_equal(follow(new), ERR_GONE);
	assert_int_equal(follow(old), ERR_NOT_FOUND);
	rig_run(&rig, COMMAND_LINK, &command);
	assert_int_equal(rig.code, ERR_GONE);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_waiting_job_is_canceled),
		T(who_runs_a_canceled_job_learns_it),
		T(a_cancel_tells_only_whose_lease_it_took),
		T(an_erased_job_says_nothing_of_another),
		T(who_extends_a_lease_holds_it),
		T(who_has_a_job_in_hand_follows_from_the_events),
		T(what_an_aborted_batch_adopted_is_given_back),
		T(what_a_commit_has_adopted_stays_adopted),
		T(what_is_finished_cannot_be_canceled),
		T(a_dead_job_begins_anew_at_the_end),
		T(whose_deadline_has_passed_is_not_retried),
		T(erase_leaves_a_tombstone_and_nothing_else),
		T(a_paused_queue_takes_puts_and_gives_nothing),
		T(resuming_serves_who_waits),
		T(a_full_queue_says_when_to_come_back),
		T(bytes_are_bounded_too),
		T(a_known_key_is_known_in_a_full_queue),
		T(settings_reach_jobs_that_wait),
		T(a_nil_takes_a_setting_back),
		T(a_new_link_ends_the_old_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
