/* Each allocation of the real broker fails in turn, while it starts and while a life goes on, once or from then on.
 *
 * No signal ends it. A start goes well, or ends with a status that says it did not. A request is refused or its
 * connection ends, and then it is as if it had never been asked, or nobody knows; what was acknowledged is there. When
 * there is memory again the same process works as before.
 *
 * libuv calls abort() where it cannot have what it needs to start its loop and its threads: a start may end so, and
 * only there.
 *
 * ALLOCATIONS: how many points of a life, and of a start, are tried (150), or "all".
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "proto/base/clean.h"
#include "tests/harness/fault_run.h"

#define KIND FAULT_BIT(FAULT_ALLOCATE)

static struct fault_run run = { .kinds = KIND, .setting = "ALLOCATIONS", .points = 150 };

struct tally {
	unsigned points;
	unsigned refused;
	unsigned lost; /* lives that ended with their connection */
	unsigned not_started;
	unsigned by_design; /* ended by a library that says it does so */
};

static struct fault_plan plan_of(int64_t point, bool lasting)
{
	return (struct fault_plan){
		.kinds = KIND, .action = FAULT_FAIL, .at = point, .error = ENOMEM, .lasting = lasting
	};
}

static bool survive_life(int64_t point, bool lasting, struct tally *tally)
{
	const struct fault_plan plan = plan_of(point, lasting);
	struct life life;

	if (!fault_run_live(&run, &plan, "no memory", &life))
		return false;
	tally->points++;
	tally->refused += life.refused;
	tally->lost += life.lost;
	fault_run_recover(&run, &life);
	return true;
}

static void survive(bool lasting)
{
	int64_t stride = fault_run_stride(&run, fault_run_count(&run, false));
	struct tally tally = { 0 };

	for (int64_t point = 1; survive_life(point, lasting, &tally); point += stride)
		;
	print_message("# ALLOCATIONS: %u points of a life, every %lld-th; %u refusals, %u connections lost\n",
		      tally.points, (long long)stride, tally.refused, tally.lost);
	assert_true(tally.refused + tally.lost > 0);
}

static void each_allocation_of_a_life_may_fail(void **state)
{
	(void)state;
	survive(false);
}

static void all_allocations_of_a_life_may_fail_from_one_on(void **state)
{
	(void)state;
	survive(true);
}

/* Calls of libuv that abort for want of memory, from where the broker makes them. */
static const char *const aborting[] = { "libuv.so.1:uv_loop_init", "libuv.so.1:uv_listen", "libuv.so.1:uv_queue_work" };

static bool ends_by_design(void)
{
	const char *by = run.fault.control->aborter;

	if (!WIFSIGNALED(run.fault.status) || WTERMSIG(run.fault.status) != SIGABRT ||
	    strncmp(by, "libuv.so.1", 10) != 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(aborting); i++)
		if (strstr(by, aborting[i]))
			return true;
	return false;
}

/* Whether it was ready although an allocation failed. Where it was not, it has ended with a status that says so. */
static bool start_without(int64_t point, struct tally *tally)
{
	const struct fault_plan plan = plan_of(point, false);

	fault_run_arm(&run, &plan, "no memory in a start");
	tally->points++;
	if (fault_start(&run.fault, NULL, false))
		return true;
	tally->not_started++;
	if (ends_by_design())
		tally->by_design++;
	else if (!WIFEXITED(run.fault.status) || WEXITSTATUS(run.fault.status) == 0)
		fault_run_failed(&run, "the start ended with %s", fault_status_text(run.fault.status));
	return false;
}

static void each_allocation_of_a_start_may_fail(void **state)
{
	int64_t calls = fault_run_count(&run, true), stride = fault_run_stride(&run, calls);
	struct tally tally = { 0 };

	(void)state;
	for (int64_t point = 1; point <= calls; point += stride) {
		struct life life;

		fault_new_disk(&run.fault);
		life_init(&life, &run.fault, run.lives++);
		if (!start_without(point, &tally)) {
			fault_disarm(&run.fault);
			if (!fault_start(&run.fault, NULL, false))
				fault_run_failed(&run, "no start when there is memory: %s",
						 fault_status_text(run.fault.status));
		}
		fault_run_recover(&run, &life);
	}
	print_message("# ALLOCATIONS: %u points of a start, every %lld-th; %u starts ended, %u of them by libuv\n",
		      tally.points, (long long)stride, tally.not_started, tally.by_design);
	assert_true(tally.not_started > 0);
}

static int setup(void **state)
{
	(void)state;
	fault_open(&run.fault);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fault_close(&run.fault);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_allocation_of_a_life_may_fail, setup, teardown),
		cmocka_unit_test_setup_teardown(all_allocations_of_a_life_may_fail_from_one_on, setup, teardown),
		cmocka_unit_test_setup_teardown(each_allocation_of_a_start_may_fail, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
