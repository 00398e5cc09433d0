/* A queue that wants it so refuses what cannot be done by its deadline, and says when it could; everything else is let
 * in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/harness/engine_rig.h"

#define RUN_MS 1000

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

static void admit(enum admission admission)
{
	rig_queue_set(&rig, "q", (struct msg_queue_set){ .has_admit = true, .admit = (int)admission });
}

/* One job a second for a while, then so many that wait. */
static void work_for_a_while(int waiting)
{
	struct msg_leased_job job;

	rig.unchecked = true;
	for (int i = 0; i < 100; i++) {
		rig_put(&rig, "q", "x");
		assert_true(rig_lease(&rig, "q", &job));
		rig_pass(&rig, RUN_MS);
		rig_complete(&rig, &job.id, &job.lease, NULL);
	}
	rig_put_many(&rig, "q", NULL, (size_t)waiting);
	rig.unchecked = false;
}

static int put_by(int64_t deadline_ms)
{
	struct msg_job_put put = rig_put_of("q", "x");
	struct put_item item = { .put = put };
	struct command_put params = { .items = &item, .count = 1 };

	item.put.has_deadline_ms = deadline_ms > 0;
	item.put.deadline_ms = deadline_ms;
	rig_run(&rig, COMMAND_PUT, &params);
	return rig.code;
}

static void what_cannot_be_done_in_time_is_refused(void **state)
{
	(void)state;
	work_for_a_while(500);
	admit(ADMIT_DEADLINE);
	assert_int_equal(put_by(10000), ERR_QUEUE_FULL);
	assert_string_equal(rig.info.field, "deadline_ms");
	assert_non_null(strstr(rig.info.message, "it would be done in "));
	assert_int_equal(rig.info.retry_after_ms, 60000);
	assert_int_equal(rig_queue(&rig, "q").counts.ready, 500);
}

static void what_can_be_done_is_let_in(void **state)
{
	(void)state;
	work_for_a_while(500);
	admit(ADMIT_DEADLINE);
	assert_int_equal(put_by(3600000), 0);
	assert_int_equal(put_by(0), 0);
}

static void it_is_refused_only_where_the_queue_wants_that(void **state)
{
	(void)state;
	work_for_a_while(500);
	assert_int_equal(put_by(10000), 0);
	admit(ADMIT_DEADLINE);
	assert_int_equal(put_by(10000), ERR_QUEUE_FULL);
	admit(ADMIT_ALWAYS);
	assert_int_equal(put_by(10000), 0);
}

static void where_nothing_is_known_it_is_let_in(void **state)
{
	(void)state;
	admit(ADMIT_DEADLINE);
	assert_int_equal(put_by(1), 0);
}

static void a_delay_counts(void **state)
{
	struct put_item item = { .put = rig_put_of("q", "x") };
	struct command_put params = { .items = &item, .count = 1 };

	(void)state;
	work_for_a_while(0);
	admit(ADMIT_DEADLINE);
	assert_int_equal(put_by(20000), 0);
	item.put.has_deadline_ms = item.put.has_delay_ms = true;
	item.put.deadline_ms = 20000;
	item.put.delay_ms = 30000;
	rig_run(&rig, COMMAND_PUT, &params);
	assert_int_equal(rig.code, ERR_QUEUE_FULL);
	assert_in_range(rig.info.retry_after_ms, 9000, 12000);
}

static void a_limit_that_is_held_counts(void **state)
{
	struct msg_leased_job job;

	(void)state;
	work_for_a_while(0);
	rig_limit_set(&rig, "api", (struct msg_limit_set){ .has_concurrency = true, .concurrency = 5 });
	rig_queue_limit(&rig, "q", "api");
	admit(ADMIT_DEADLINE);
	rig_put(&rig, "q", "x");
	assert_true(rig_lease(&rig, "q", &job));
	assert_int_equal(put_by(60000), 0);
	rig_fail(&rig, &job.id, &job.lease, FAIL_THROTTLED, 300000);
	assert_int_equal(put_by(60000), ERR_QUEUE_FULL);
	rig_pass(&rig, 300000);
	assert_int_equal(put_by(60000), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(what_cannot_be_done_in_time_is_refused),
		T(what_can_be_done_is_let_in),
		T(it_is_refused_only_where_the_queue_wants_that),
		T(where_nothing_is_known_it_is_let_in),
		T(a_delay_counts),
		T(a_limit_that_is_held_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
