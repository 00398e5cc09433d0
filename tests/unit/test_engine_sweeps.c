/* Changes of many jobs by filter, in pieces over several batches: what they take, where they stop, what ends them.
 * After every batch the checker proves the invariants (engine_rig.h). */
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

static struct command_change by_filter(enum change_action action, const char *queue)
{
	struct command_change c = { .action = action };

	c.filter.has_queue = queue != NULL;
	if (queue)
		c.filter.queue = slice_str(queue);
	else
		c.filter.has_all = c.filter.all = true;
	return c;
}

static void a_filter_takes_its_own_and_no_others(void **state)
{
	struct command_change c = by_filter(CHANGE_CANCEL, "q");
	struct uuid other = rig_put(&rig, "other", "x");
	struct uuid done = rig_put(&rig, "q", "x"), waits;
	struct msg_leased_job job;

	(void)state;
	assert_true(rig_lease(&rig, "q", &job));
	rig_complete(&rig, &done, &job.lease, NULL);
	waits = rig_put(&rig, "q", "x");
	rig_put(&rig, "q", "x");
	rig_change(&rig, &c);
	assert_int_equal(rig.answer.change.count, 2);
	assert_false(rig.answer.change.has_cursor);
	assert_int_equal(rig_state(&rig, &other), JOB_READY);
	assert_int_equal(rig_state(&rig, &done), JOB_SUCCEEDED);
	assert_int_equal(rig_state(&rig, &waits), JOB_CANCELED);
	c = by_filter(CHANGE_CANCEL, "nobody");
	rig_change(&rig, &c);
	assert_int_equal(rig.answer.change.count, 0);
}

static void each_word_of_a_filter_binds(void **state)
{
	struct msg_job_put put = { .has_queue = true,
				   .queue = slice_str("q"),
				   .has_payload = true,
				   .has_group = true,
				   .group = slice_str("mine") };
	struct uuid old = rig_put_params(&rig, &put), young, foreign;
	struct command_change c = by_filter(CHANGE_ERASE, NULL);

	(void)state;
	rig_pass(&rig, 1000);
	young = rig_put_params(&rig, &put);
	put.group = slice_str("theirs");
	foreign = rig_put_params(&rig, &put);
	c.filter.has_group = c.filter.has_before_at_ms = c.filter.has_state = true;
	c.filter.group = slice_str("mine");
	c.filter.before_at_ms = rig.now_ms;
	c.filter.state = JOB_READY;
	rig_change(&rig, &c);
	assert_int_equal(rig.answer.change.count, 1);
	assert_int_equal(rig_state(&rig, &old), ERR_GONE);
	assert_int_equal(rig_state(&rig, &young), JOB_READY);
	c = (struct command_change){ .action = CHANGE_ERASE, .filter = c.filter };
	c.filter.has_before_at_ms = false;
	rig_change(&rig, &c);
	assert_int_equal(rig_state(&rig, &young), ERR_GONE);
	assert_int_equal(rig_state(&rig, &foreign), JOB_READY);
}

static void put_many(const char *queue, int count)
{
	for (int i = 0; i < count; i++)
		rig_put(&rig, queue, "x");
}

static void many_are_changed_over_several_batches(void **state)
{
	struct command_change c = by_filter(CHANGE_CANCEL, NULL);

	(void)state;
	rig.unchecked = true;
	put_many("q", 1203);
	rig_change(&rig, &c);
	assert_int_equal(rig.answer.change.count, 1203);
	assert_in_range(rig.batches, 3, 4);
	assert_int_equal(rig_queue(&rig, "q").counts.canceled, 1203);
	rig_check(&rig);
}

static void what_is_put_meanwhile_is_spared(void **state)
{
	struct command_change c = by_filter(CHANGE_CANCEL, NULL);
	struct command cmd = { 0 };
	struct uuid late;

	(void)state;
	rig.unchecked = true;
	put_many("q", 1200);
	rig_submit(&rig, &cmd, COMMAND_CHANGE, &c);
	assert_true(rig.parked);
	assert_int_equal(engine_next_ms(rig.engine), 0);
	late = rig_put(&rig, "q", "late");
	while (rig.answered_by != &cmd)
		rig_pass(&rig, 0);
	assert_int_equal(rig_state(&rig, &late), JOB_READY);
	assert_int_equal(rig_queue(&rig, "q").counts.canceled, 1200);
	assert_true(engine_next_ms(rig.engine) > 0);
}

/* The queue came to be in the same batch: nothing but the engine knows it yet. */
static void a_queue_made_in_the_same_batch_is_purged(void **state)
{
	struct command_change c = by_filter(CHANGE_PURGE, "fresh");
	struct put_item item = { .put = { .has_queue = true, .queue = slice_str("fresh") } };
	struct command_put put = { .items = &item, .count = 1 };
	struct command first = { 0 }, second = { 0 };

	(void)state;
	rig_submit_two(&rig, &first, COMMAND_PUT, &put, &second, COMMAND_CHANGE, &c);
	assert_ptr_equal(rig.answered_by, &second);
	assert_int_equal(rig.answer.purge.count, 1);
}

static void a_limit_stops_it_and_the_cursor_leads_on(void **state)
{
	struct command_change c = by_filter(CHANGE_CANCEL, "q");
	struct error_info info;
	int64_t total = 0;
	int calls = 0;

	(void)state;
	put_many("q", 7);
	c.limit = 3;
	for (bool more = true; more; calls++) {
		struct command_change next = by_filter(CHANGE_CANCEL, "q");

		rig_change(&rig, &c);
		total += rig.answer.change.count;
		more = rig.answer.change.has_cursor;
		next.limit = 3;
		next.has_after = more;
		if (more)
			assert_int_equal(cursor_read(rig.settings.link_secret, "job.cancel", &c.filter,
						     rig.answer.change.cursor, &next.after, &info),
					 0);
		c = next;
	}
	assert_int_equal(total, 7);
	assert_int_equal(calls, 3);
}

static void a_failed_batch_ends_it_with_the_error(void **state)
{
	struct command_change c = by_filter(CHANGE_CANCEL, NULL);
	struct command cmd = { 0 };

	(void)state;
	rig.unchecked = true;
	put_many("q", 1200);
	rig_submit(&rig, &cmd, COMMAND_CHANGE, &c);
	assert_true(rig.parked);
	rig.take_back = true;
	rig_pass(&rig, 0);
	assert_int_equal(rig.code, ERR_STORE_ERROR);
	assert_int_equal(rig_queue(&rig, "q").counts.canceled, 500);
	rig_pass(&rig, 0);
	assert_true(engine_next_ms(rig.engine) > 0);
	assert_int_equal(rig_queue(&rig, "q").counts.canceled, 500);
	rig_check(&rig);
}

static void it_ends_with_its_session(void **state)
{
	struct command_change c = by_filter(CHANGE_CANCEL, NULL);
	struct command cmd = { .session = 9 }, forget = { .session = 9 };
	struct msg_empty nothing = { 0 };

	(void)state;
	rig.unchecked = true;
	put_many("q", 600);
	rig_submit(&rig, &cmd, COMMAND_CHANGE, &c);
	rig_submit(&rig, &forget, COMMAND_FORGET, &nothing);
	assert_true(engine_next_ms(rig.engine) > 0);
	assert_int_equal(rig_queue(&rig, "q").counts.canceled, 500);
}

static void purge_cancels_what_waits(void **state)
{
	struct uuid runs = rig_put(&rig, "q", "x");
	struct command_change c = by_filter(CHANGE_PURGE, "q");
	struct msg_leased_job job;

	(void)state;
	assert_true(rig_lease(&rig, "q", &job));
	put_many("q", 3);
	rig_change(&rig, &c);
	assert_int_equal(rig.answer.purge.count, 3);
	assert_int_equal(rig.answer.purge.counts.canceled, 3);
	assert_int_equal(rig.answer.purge.counts.running, 1);
	assert_true(slice_is(rig.answer.purge.queue, "q"));
	assert_int_equal(rig_state(&rig, &runs), JOB_RUNNING);
	c = by_filter(CHANGE_PURGE, "nobody");
	rig_change(&rig, &c);
	assert_int_equal(rig.code, ERR_NOT_FOUND);
}

static void erasing_all_takes_damaged_ones_too(void **state)
{
	struct uuid id = rig_put(&rig, "q", "x");
	struct key key = key_job(&id);
	struct command_change c = by_filter(CHANGE_ERASE, NULL);
	struct store_txn *t;

	(void)state;
	rig_put(&rig, "q", "y");
	store_abort(TAKE_PTR(rig.view_txn));
	assert_int_equal(store_begin_write(rig.store, &t), 0);
	assert_int_equal(store_put(t, TABLE_JOBS, key_slice(&key), slice_str("rubbish")), 0);
	assert_int_equal(store_commit(t), 0);
	rig_change(&rig, &c);
	assert_int_equal(rig.answer.change.count, 2);
	assert_int_equal(rig_state(&rig, &id), ERR_GONE);
	assert_int_equal(rig_queue(&rig, "q").counts.ready, 0);
	assert_int_equal(rig_queue(&rig, "q").bytes, 0);
}

/* The queue goes with the batch that made it; the change that came for it stays, behind another. */
static void a_purge_of_a_queue_that_never_was_is_refused(void **state)
{
	struct command_change all = by_filter(CHANGE_CANCEL, NULL), purge = by_filter(CHANGE_PURGE, "fresh");
	struct put_item item = { .put = { .has_queue = true, .queue = slice_str("fresh") } };
	struct command_put put = { .items = &item, .count = 1 };
	struct command first = { 0 }, second = { 0 }, third = { 0 };

	(void)state;
	rig.unchecked = true;
	put_many("q", 1200);
	rig_submit(&rig, &first, COMMAND_CHANGE, &all);
	rig.take_back = true;
	rig_submit_two(&rig, &second, COMMAND_PUT, &put, &third, COMMAND_CHANGE, &purge);
	for (int i = 0; i < 4; i++)
		rig_pass(&rig, 0);
	assert_int_equal(rig.code, ERR_NOT_FOUND);
	assert_true(engine_next_ms(rig.engine) > 0);
}

static void a_purge_that_is_stopped_says_so(void **state)
{
	struct command_change purge = by_filter(CHANGE_PURGE, "q");
	struct command cmd = { .session = 9 }, forget = { .session = 9 };

	(void)state;
	rig.unchecked = true;
	put_many("q", 1200);
	rig_submit(&rig, &cmd, COMMAND_CHANGE, &purge);
	rig_submit(&rig, &forget, COMMAND_FORGET, NULL);
	assert_non_null(strstr(rig.info.message, "after 500 jobs"));
	assert_int_equal(rig.info.code, ERR_SHUTTING_DOWN);
	assert_int_equal(rig_queue(&rig, "q").counts.ready, 700);
}

static void a_purge_of_an_empty_queue_looks_at_nothing(void **state)
{
	struct command_change purge = by_filter(CHANGE_PURGE, "empty");

	(void)state;
	rig.unchecked = true;
	put_many("q", 6000);
	rig_queue_set(&rig, "empty", (struct msg_queue_set){ .has_paused = true });
	rig_change(&rig, &purge);
	assert_int_equal(rig.code, 0);
	assert_int_equal(rig.batches, 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_filter_takes_its_own_and_no_others),
		T(each_word_of_a_filter_binds),
		T(many_are_changed_over_several_batches),
		T(what_is_put_meanwhile_is_spared),
		T(a_queue_made_in_the_same_batch_is_purged),
		T(a_limit_stops_it_and_the_cursor_leads_on),
		T(a_failed_batch_ends_it_with_the_error),
		T(it_ends_with_its_session),
		T(purge_cancels_what_waits),
		T(erasing_all_takes_damaged_ones_too),
		T(a_purge_of_a_queue_that_never_was_is_refused),
		T(a_purge_that_is_stopped_says_so),
		T(a_purge_of_an_empty_queue_looks_at_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
