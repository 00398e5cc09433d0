/* A data directory of format 2 (tests/unit/data/README.md) opens: the queues' records are all that is written anew.
 * What they said is kept, who is in line stays there, and whoever comes stands behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/harness/old_store.h"

#define FIXTURE "tests/unit/data/format2.tar.gz"

static int setup(void **state)
{
	(void)state;
	old_setup(FIXTURE);
	old_migrate();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	old_teardown();
	return 0;
}

static void expect_next(const char *queue, const char *payload)
{
	struct msg_leased_job job;

	assert_true(rig_lease(&old.rig, queue, &job));
	assert_true(slice_is(job.payload, payload));
}

static void all_comes_over(void **state)
{
	struct check_result found = old_check();
	struct msg_queue q;

	(void)state;
	assert_non_null(strstr(old.said, "from format 2 to format 4: 4 queues\n"));
	assert_int_equal(found.jobs, 12);
	assert_int_equal(found.artifacts, 3);
	assert_int_equal(found.breaches, 0);
	q = rig_queue(&old.rig, "films");
	assert_true(slice_is(q.title, "The films"));
	assert_int_equal(q.max_jobs, 1000);
	assert_int_equal(q.weight, 1);
	assert_int_equal(q.admit, ADMIT_ALWAYS);
	assert_false(q.has_limit);
	assert_int_equal(q.counts.running, 1);
	assert_int_equal(q.counts.ready, 3);
	q = rig_queue(&old.rig, "greetings");
	assert_int_equal(q.counts.succeeded, 2);
	assert_int_equal(q.put_total, 6);
}

static void whoever_comes_stands_behind(void **state)
{
	const struct msg_job_put first = { .has_queue = true,
					   .queue = slice_str("films"),
					   .has_payload = true,
					   .payload = slice_str("new of a group"),
					   .has_priority = true,
					   .priority = 0,
					   .has_group = true,
					   .group = slice_str("g") };
	struct msg_job_put second = first;

	(void)state;
	second.has_group = false;
	second.group = slice_of(NULL, 0);
	second.payload = slice_str("new");
	rig_put_params(&old.rig, &second);
	expect_next("films", "marked");
	expect_next("films", "ready first");
	rig_put_params(&old.rig, &first);
	/* The jobs without a group are one among others: those of a group wait for one of them at most. */
	expect_next("films", "new of a group");
	expect_next("films", "new");
	expect_next("films", "ready last");
}

static void it_opens_again_as_it_is(void **state)
{
	(void)state;
	rig_restart(&old.rig);
	expect_next("mark-of-a-queue", "in the marked queue");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(all_comes_over),
		T(whoever_comes_stands_behind),
		T(it_opens_again_as_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
