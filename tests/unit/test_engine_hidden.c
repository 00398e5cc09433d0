/* Inputs on a damaged leaf that is made anew once nobody reads: until then they are no damage. What needs one of them
 * is refused with nothing done, or left for later, and is done in full once it can be: no job dies of it, nobody waits
 * in vain to be told of an end, and nothing is set aside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "server/engine/outbox.h"
#include "server/store/keys.h"
#include "tests/harness/damage.h"
#include "tests/harness/engine_rig.h"

#define JOBS	  120 /* several leaves of inputs */
#define MIDST	  60
#define LEASE_MS  30000
#define TRIED_MS  1000 /* what was left is tried again within that time */
#define CALLBACKS "_webhooks"

static struct rig rig;
static struct uuid ids[JOBS];
static struct token leases[JOBS];
static struct store_txn *reader;

static struct msg_job_put put_of_ada(void)
{
	struct msg_job_put put = rig_put_of("q", "payload");

	put.has_group = put.has_callback_url = true;
	put.group = slice_str("ada");
	put.callback_url = slice_str("https://shop.test/told");
	return put;
}

static int setup(void **state)
{
	struct msg_job_put put = put_of_ada();

	(void)state;
	rig_open(&rig);
	rig.unchecked = rig.damaged = true;
	for (int i = 0; i < JOBS; i++) {
		ids[i] = rig_put_params(&rig, &put);
		assert_int_equal(rig.code, 0);
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	store_abort(reader);
	reader = NULL;
	rig_close(&rig);
	return 0;
}

static void lease_all(void)
{
	struct msg_leased_job job;

	for (int i = 0; i < JOBS; i++) {
		assert_true(rig_lease(&rig, "q", &job));
		assert_true(uuid_equal(&job.id, &ids[i]));
		leases[i] = job.lease;
	}
}

/* What the table has of some jobs around that one, and whoever reads keeps it so. */
static void hide_of(const char *table, int at)
{
	rig_pause(&rig);
	damage_leaf(&rig.dir, table, &ids[at], 12, 0x40);
	rig_resume(&rig);
	assert_int_equal(store_begin_read(rig.store, &reader), 0);
}

static void hide(int at)
{
	hide_of("inputs", at);
}

static void nobody_reads(void)
{
	store_abort(reader);
	reader = NULL;
}

static int64_t entries(enum store_table table)
{
	struct store_txn *t;
	int64_t count;

	assert_int_equal(store_begin_read(rig.store, &t), 0);
	assert_int_equal(store_count(t, table, &count), 0);
	store_abort(t);
	return count;
}

static int state_of(int i)
{
	struct key key = key_job(&ids[i]);
	struct store_txn *t;
	struct slice bytes;
	struct job job;

	assert_int_equal(store_begin_read(rig.store, &t), 0);
	assert_int_equal(store_get(t, TABLE_JOBS, key_slice(&key), &bytes), 0);
	assert_int_equal(record_read_job(bytes, &job), 0);
	store_abort(t);
	return job.state;
}

static void expect_all(int state)
{
	for (int i = 0; i < JOBS; i++)
		assert_int_equal(state_of(i), state);
	assert_int_equal(entries(TABLE_SET_ASIDE), 0);
}

/* Each end is told of by a job of its own. */
static void expect_told(int64_t ends)
{
	assert_int_equal(entries(TABLE_JOBS), JOBS + ends);
	if (ends > 0)
		assert_int_equal(rig_queue(&rig, CALLBACKS).counts.ready, ends);
}

static void a_success_is_refused_until_it_can_be_told_of(void **state)
{
	int i = MIDST;

	(void)state;
	lease_all();
	hide(i);
	rig_complete(&rig, &ids[i], &leases[i], "result");
	assert_int_equal(rig.code, ERR_DAMAGED);
	assert_int_equal(state_of(i), JOB_RUNNING);
	assert_int_equal(entries(TABLE_ARTIFACTS), 0);
	nobody_reads();
	rig_complete(&rig, &ids[i], &leases[i], "result");
	assert_int_equal(rig.code, 0);
	assert_int_equal(state_of(i), JOB_SUCCEEDED);
	expect_told(1);
	rig_check(&rig);
}

static void a_failure_is_refused_and_kills_no_job(void **state)
{
	int i = MIDST;

	(void)state;
	lease_all();
	hide(i);
	rig_fail(&rig, &ids[i], &leases[i], FAIL_UNAVAILABLE, 0);
	assert_int_equal(rig.code, ERR_DAMAGED);
	assert_int_equal(state_of(i), JOB_RUNNING);
	nobody_reads();
	rig_fail(&rig, &ids[i], &leases[i], FAIL_UNAVAILABLE, 0);
	assert_int_equal(rig.code, 0);
	assert_int_equal(state_of(i), JOB_SCHEDULED);
	rig_check(&rig);
}

/* Nothing of it is done, also of what could be. */
static void a_cancel_is_refused_until_it_can_be_told_of(void **state)
{
	int i = MIDST;

	(void)state;
	hide(i);
	rig_cancel(&rig, &ids[i]);
	assert_int_equal(rig.code, ERR_STORE_ERROR);
	assert_true(store_error_is_damage());
	expect_all(JOB_READY);
	nobody_reads();
	rig_cancel(&rig, &ids[i]);
	assert_int_equal(rig.code, 0);
	expect_told(1);
	rig_check(&rig);
}

/* Attempts that take too long: they are over when it can be known how long the next one waits. */
static void time_that_is_over_kills_no_job(void **state)
{
	struct msg_queue_set set = { .has_attempt_timeout_ms = true, .attempt_timeout_ms = 1000 };

	(void)state;
	rig_queue_set(&rig, "q", set);
	lease_all();
	hide(MIDST);
	rig_pass(&rig, LEASE_MS);
	assert_int_equal(state_of(0), JOB_SCHEDULED);
	assert_int_equal(state_of(MIDST), JOB_RUNNING);
	assert_in_range(engine_next_ms(rig.engine), rig.now_ms + 1, rig.now_ms + TRIED_MS);
	nobody_reads();
	rig_pass(&rig, TRIED_MS);
	for (int i = 0; i < JOBS; i++)
		assert_in_range(state_of(i), JOB_SCHEDULED, JOB_READY);
	rig_check(&rig);
}

/* The last attempt is lost: each job is dead then, and each death is told of. */
static void every_end_by_time_is_told_of(void **state)
{
	struct msg_queue_set set = { .has_max_attempts = true, .max_attempts = 1 };

	(void)state;
	rig_queue_set(&rig, "q", set);
	lease_all();
	hide(MIDST);
	rig_pass(&rig, LEASE_MS);
	assert_int_equal(state_of(0), JOB_DEAD);
	assert_int_equal(state_of(MIDST), JOB_RUNNING);
	nobody_reads();
	rig_pass(&rig, TRIED_MS);
	expect_all(JOB_DEAD);
	expect_told(JOBS);
	rig_check(&rig);
}

/* Their time is over, one after the other; on the pages beside, too, which are drawn together with the damaged one. */
static void what_is_forgotten_is_not_set_aside(void **state)
{
	(void)state;
	for (int i = 0; i < JOBS; i++)
		rig_cancel(&rig, &ids[i]);
	rig_pass(&rig, rig.settings.result_ttl_ms);
	hide(MIDST);
	/* A batch that meets the page is taken back, and the next goes on without the job. */
	rig_pass(&rig, rig.settings.record_ttl_ms);
	for (int i = 0; i < JOBS; i++)
		rig_pass(&rig, TRIED_MS);
	assert_int_equal(entries(TABLE_SET_ASIDE), 0);
	assert_int_equal(state_of(MIDST), JOB_CANCELED);
	assert_int_equal(rig_state(&rig, &ids[0]), ERR_GONE);
	nobody_reads();
	rig_pass(&rig, TRIED_MS);
	assert_int_equal(entries(TABLE_SET_ASIDE), 0);
	for (int i = 0; i < JOBS; i++)
		assert_int_equal(rig_state(&rig, &ids[i]), ERR_GONE);
	rig_check(&rig);
}

/* Whoever asks for work again and again, and meets what is hidden each time, holds up nothing that has its moment
 * meanwhile; nor is there a batch after each of theirs to look at it again. */
static void asking_for_work_holds_up_no_moment(void **state)
{
	struct msg_job_put delayed = rig_put_of("later", "payload");
	struct msg_leased_job job;
	int asked = 0, at_once = 0;

	(void)state;
	delayed.has_delay_ms = true;
	delayed.delay_ms = TRIED_MS;
	rig_put_params(&rig, &delayed);
	hide_of("jobs", 0);
	while (rig_queue(&rig, "later").counts.ready == 0 && asked < 2 * TRIED_MS) {
		(void)rig_lease(&rig, "q", &job);
		at_once += engine_next_ms(rig.engine) <= rig.now_ms;
		rig.now_ms++;
		asked++;
	}
	assert_in_range(asked, TRIED_MS, TRIED_MS + TRIED_MS / 2);
	assert_int_equal(at_once, 0);
}

/* Whoever waits for a job that is hidden has it soon after; also where the clock was set back meanwhile. */
static void who_waits_for_it_is_served_when_it_can_be_read(void **state)
{
	static struct slice name;
	static struct msg_job_lease lease;
	static struct command cmd;

	(void)state;
	rig_put(&rig, "one", "payload");
	hide_of("jobs", JOBS - 1);
	name = slice_str("one");
	lease = (struct msg_job_lease){
		.has_queues = true, .queues_count = 1, .queues = &name, .has_wait_ms = true, .wait_ms = LEASE_MS
	};
	cmd = (struct command){ .params = &lease };
	rig_submit(&rig, &cmd, COMMAND_LEASE, &lease);
	assert_true(rig.parked);
	rig.now_ms -= LEASE_MS;
	rig_pass(&rig, 0);
	assert_int_equal(engine_parked(rig.engine), 1);
	assert_in_range(engine_next_ms(rig.engine), rig.now_ms + 1, rig.now_ms + TRIED_MS);
	nobody_reads();
	rig_pass(&rig, TRIED_MS);
	assert_int_equal(engine_parked(rig.engine), 0);
	assert_int_equal(rig_queue(&rig, "one").counts.running, 1);
}

#define CROWD 1300 /* more than what is due may do in a batch */

/* Also where there are many of them, and all are before whoever else is due. */
static void many_that_are_hidden_hold_up_no_moment(void **state)
{
	struct msg_job_put delayed = rig_put_of("crowd", "payload");
	static struct uuid crowd[CROWD];

	(void)state;
	delayed.has_delay_ms = true;
	delayed.delay_ms = TRIED_MS;
	for (int i = 0; i < CROWD; i++)
		crowd[i] = rig_put_params(&rig, &delayed);
	/* On leaves of their own. */
	for (int i = 0; i < JOBS; i++)
		rig_put(&rig, "q", "payload");
	delayed.queue = slice_str("later");
	delayed.delay_ms = 2 * TRIED_MS;
	rig_put_params(&rig, &delayed);
	for (int i = 0; i < CROWD; i++) {
		struct key key = key_job(&crowd[i]);
		struct store_txn *t;
		struct slice bytes;
		int rc;

		assert_int_equal(store_begin_read(rig.store, &t), 0);
		rc = store_get(t, TABLE_JOBS, key_slice(&key), &bytes);
		store_abort(t);
		if (rc == ERR_CORRUPT)
			continue;
		rig_pause(&rig);
		damage_leaf(&rig.dir, "jobs", &crowd[i], 12, 0x40);
		rig_resume(&rig);
	}
	assert_int_equal(store_begin_read(rig.store, &reader), 0);
	rig_pass(&rig, 2 * TRIED_MS);
	rig_pass(&rig, 2 * TRIED_MS);
	assert_int_equal(rig_queue(&rig, "crowd").counts.scheduled, CROWD);
	assert_int_equal(rig_queue(&rig, "later").counts.ready, 1);
}

static int extend(int i)
{
	struct msg_extend_item item = { .id = ids[i], .lease = leases[i] };
	struct msg_job_extend extend = { .leases = &item, .leases_count = 1 };

	rig_run(&rig, COMMAND_EXTEND, &extend);
	assert_int_equal(rig.code, 0);
	return rig.answer.extend.leases[0].status;
}

/* It is the record that is hidden here: a worker does not give up its call for that. */
static void a_lease_that_cannot_be_read_is_not_lost(void **state)
{
	int i = MIDST;

	(void)state;
	lease_all();
	hide_of("jobs", i);
	assert_int_equal(extend(i), EXTEND_OK);
	nobody_reads();
	rig_pass(&rig, LEASE_MS - 1);
	assert_int_equal(extend(i), EXTEND_OK);
	rig_pass(&rig, LEASE_MS - 1);
	assert_int_equal(state_of(i), JOB_RUNNING);
	assert_int_equal(state_of(0), JOB_READY);
	rig_check(&rig);
}

/* What an API reports is not taken and thrown away: it reports once more. */
static void a_hook_is_refused_until_it_can_be_kept(void **state)
{
	struct command_hook hook = { .id = ids[MIDST], .attempt = 1, .body = slice_str("done") };
	int64_t kept = entries(TABLE_HOOKS);

	(void)state;
	lease_all();
	hide_of("jobs", MIDST);
	rig_run(&rig, COMMAND_HOOK, &hook);
	assert_int_equal(rig.code, ERR_DAMAGED);
	nobody_reads();
	rig_run(&rig, COMMAND_HOOK, &hook);
	assert_int_equal(rig.code, 0);
	assert_true(entries(TABLE_HOOKS) > kept);
	rig_check(&rig);
}

/* It is not said that the job is damaged, which nobody can mend. */
static void what_is_hidden_is_not_called_damaged(void **state)
{
	struct msg_leased_job job;

	(void)state;
	lease_all();
	hide_of("jobs", MIDST);
	rig_complete(&rig, &ids[MIDST], &leases[MIDST], "result");
	assert_int_equal(rig.code, ERR_DAMAGED);
	rig_cancel(&rig, &ids[MIDST]);
	assert_int_equal(rig.code, ERR_DAMAGED);
	rig_erase(&rig, &ids[MIDST]);
	assert_int_equal(rig.code, ERR_DAMAGED);
	assert_false(rig_lease(&rig, "q", &job));
	nobody_reads();
	rig_complete(&rig, &ids[MIDST], &leases[MIDST], "result");
	assert_int_equal(rig.code, 0);
	assert_int_equal(state_of(MIDST), JOB_SUCCEEDED);
	rig_check(&rig);
}

/* It is what the job's end is told by that is hidden: the retry is not done by half. */
static void a_retry_is_refused_until_nobody_is_told_of_the_death(void **state)
{
	struct command_change change = { .action = CHANGE_RETRY, .has_id = true, .id = ids[MIDST] };
	int64_t died_at_ms = rig.now_ms;
	struct uuid delivery;

	(void)state;
	lease_all();
	rig_fail(&rig, &ids[MIDST], &leases[MIDST], FAIL_REJECTED, 0);
	assert_int_equal(rig.code, 0);
	delivery = outbox_id(&ids[MIDST], died_at_ms);
	rig_pause(&rig);
	damage_leaf(&rig.dir, "jobs", &delivery, 12, 0x40);
	rig_resume(&rig);
	assert_int_equal(store_begin_read(rig.store, &reader), 0);
	rig_change(&rig, &change);
	assert_int_equal(rig.code, ERR_STORE_ERROR);
	assert_int_equal(state_of(MIDST), JOB_DEAD);
	nobody_reads();
	rig_change(&rig, &change);
	assert_int_equal(rig.code, 0);
	assert_int_equal(state_of(MIDST), JOB_READY);
	expect_told(0);
	rig_check(&rig);
}

/* What is asked for by group leaves none of them out in silence. */
static void a_change_by_group_says_that_it_is_not_complete(void **state)
{
	struct command_change change = { .action = CHANGE_RETRY,
					 .filter = { .has_group = true, .group = slice_str("ada") } };

	(void)state;
	hide(MIDST);
	rig_change(&rig, &change);
	assert_int_equal(rig.code, ERR_STORE_ERROR);
	nobody_reads();
	change = (struct command_change){ .action = CHANGE_CANCEL, .filter = change.filter };
	rig_change(&rig, &change);
	assert_int_equal(rig.code, 0);
	assert_int_equal(rig.answer.change.count, JOBS);
	rig_check(&rig);
}

/* Whoever goes through the jobs to change them makes the leaf anew as well. */
static void a_change_of_all_makes_a_leaf_of_jobs_anew(void **state)
{
	struct command_change change = { .action = CHANGE_CANCEL, .filter = { .has_all = true, .all = true } };

	(void)state;
	rig_pause(&rig);
	damage_leaf(&rig.dir, "jobs", &ids[MIDST], 12, 0x40);
	rig_resume(&rig);
	rig_change(&rig, &change);
	assert_int_equal(rig.code, 0);
	assert_int_equal(rig.answer.change.count, JOBS);
	expect_all(JOB_CANCELED);
	rig_check(&rig);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_success_is_refused_until_it_can_be_told_of),
		T(a_failure_is_refused_and_kills_no_job),
		T(a_cancel_is_refused_until_it_can_be_told_of),
		T(time_that_is_over_kills_no_job),
		T(every_end_by_time_is_told_of),
		T(what_is_forgotten_is_not_set_aside),
		T(asking_for_work_holds_up_no_moment),
		T(who_waits_for_it_is_served_when_it_can_be_read),
		T(many_that_are_hidden_hold_up_no_moment),
		T(a_lease_that_cannot_be_read_is_not_lost),
		T(a_hook_is_refused_until_it_can_be_kept),
		T(what_is_hidden_is_not_called_damaged),
		T(a_retry_is_refused_until_nobody_is_told_of_the_death),
		T(a_change_by_group_says_that_it_is_not_complete),
		T(a_change_of_all_makes_a_leaf_of_jobs_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
