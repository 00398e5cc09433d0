/* Changes of many jobs by filter that go on at the same time: they take turns, a batch each, so that none waits for the
 * end of another (what one does by itself: test_engine_sweeps.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/harness/engine_rig.h"

static struct rig rig;
static struct command first, second; /* the rig releases what a failed test left of them */

static int setup(void **state)
{
	(void)state;
	rig_open(&rig);
	first = second = (struct command){ 0 };
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rig_close(&rig);
	return 0;
}

static void put_many(const char *queue, int count)
{
	for (int i = 0; i < count; i++)
		rig_put(&rig, queue, "x");
}

static struct command_change cancel_of(const char *queue)
{
	struct command_change c = { .action = CHANGE_CANCEL };

	c.filter.has_queue = true;
	c.filter.queue = slice_str(queue);
	return c;
}

static int64_t canceled(const char *queue)
{
	return rig_queue(&rig, queue).counts.canceled;
}

/* Until no change is under way. */
static void finish(void)
{
	while (engine_next_ms(rig.engine) == 0)
		rig_pass(&rig, 0);
}

static void both_advance(void **state)
{
	struct command_change a = cancel_of("a"), b = cancel_of("b");

	(void)state;
	rig.unchecked = true;
	put_many("a", 1600);
	put_many("b", 1600);
	rig_submit(&rig, &first, COMMAND_CHANGE, &a);
	assert_true(rig.parked);
	rig_submit(&rig, &second, COMMAND_CHANGE, &b);
	assert_true(rig.parked);
	for (int i = 0; i < 3; i++)
		rig_pass(&rig, 0);
	/* Five batches of 500 so far. */
	assert_int_equal(canceled("a") + canceled("b"), 2500);
	assert_true(canceled("a") >= 1000 && canceled("b") >= 1000);
	finish();
	assert_int_equal(canceled("a"), 1600);
	assert_int_equal(canceled("b"), 1600);
	rig_check(&rig);
}

static void a_long_one_holds_up_no_short_one(void **state)
{
	struct command_change all = cancel_of("long"), few = cancel_of("short");

	(void)state;
	rig.unchecked = true;
	put_many("short", 3);
	put_many("long", 2100);
	rig_submit(&rig, &first, COMMAND_CHANGE, &all);
	rig_submit(&rig, &second, COMMAND_CHANGE, &few);
	while (rig.answered_by != &second) {
		assert_ptr_not_equal(rig.answered_by, &first);
		rig_pass(&rig, 0);
	}
	assert_int_equal(rig.answer.change.count, 3);
	assert_true(canceled("long") < 2100);
	finish();
	assert_ptr_equal(rig.answered_by, &first);
	assert_int_equal(rig.answer.change.count, 2100);
}

static void a_failed_batch_ends_only_the_one_whose_turn_it_was(void **state)
{
	struct command_change a = cancel_of("a"), b = cancel_of("b");

	(void)state;
	rig.unchecked = true;
	put_many("a", 2100);
	put_many("b", 1200);
	rig_submit(&rig, &first, COMMAND_CHANGE, &a);
	rig_submit(&rig, &second, COMMAND_CHANGE, &b);
	while (canceled("b") == 0)
		rig_pass(&rig, 0);
	/* b has had a turn, and now it is a's. */
	rig.take_back = true;
	rig_pass(&rig, 0);
	assert_int_equal(rig.code, ERR_STORE_ERROR);
	finish();
	assert_ptr_equal(rig.answered_by, &second);
	assert_int_equal(rig.answer.change.count, 1200);
	assert_int_equal(canceled("a"), 1000);
	rig_check(&rig);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(both_advance),
		T(a_long_one_holds_up_no_short_one),
		T(a_failed_batch_ends_only_the_one_whose_turn_it_was),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
