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
#include "tests/harness/fault_life.h"

#define OUTPUT_BYTES 2000
#define TEXT_BYTES   3000
#define PATIENCE_MS  10000
#define KIND	     FAULT_BIT(FAULT_ALLOCATE)

static struct fault fault;
static unsigned lives;

struct tally {
	unsigned points;
	unsigned refused;
	unsigned lost; /* lives that ended with their connection */
	unsigned not_started;
	unsigned by_design; /* ended by a library that says it does so */
};

static int64_t stride_of(int64_t calls)
{
	const char *wanted = getenv("ALLOCATIONS");
	int64_t points = (int64_t)fault_setting("ALLOCATIONS", 150);

	return (wanted && strcmp(wanted, "all") == 0) || points >= calls ? 1 : (calls + points - 1) / points;
}

/* Ends the test, with all that may help. */
static void failed(int64_t point, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void failed(int64_t point, const char *fmt, ...)
{
	char text[TEXT_BYTES];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	fail_msg("allocation %lld: %s\n# of %s\n# aborted by %s\n%s", (long long)point, text, fault.control->caller,
		 fault.control->aborter, fault_words(&fault));
}

static void arm(int64_t point, bool lasting)
{
	const struct fault_plan plan = {
		.kinds = KIND, .action = FAULT_FAIL, .at = point, .error = ENOMEM, .lasting = lasting
	};

	fault_arm(&fault, &plan);
}

static void check_data(int64_t point)
{
	char output[OUTPUT_BYTES];
	int status = fault_check(&fault, fault.data, output, sizeof(output));

	if (status != 0)
		failed(point, "check: %s\n%s", fault_status_text(status), output);
}

/* There is memory again. */
static void recover(struct life *life, int64_t point)
{
	fault_disarm(&fault);
	if (!life_try(&fault, lives++)) {
		if (fault_has_ended(&fault, PATIENCE_MS))
			failed(point, "the broker ended: %s", fault_status_text(fault.status));
		failed(point, "the broker does not recover");
	}
	life_verify(life, LIFE_NOW);
	if (life->wrong[0])
		failed(point, "%s", life->wrong);
	if (fault_end(&fault, SIGTERM) != 0)
		failed(point, "after SIGTERM: %s", fault_status_text(fault.status));
	check_data(point);
}

static bool survive_life(int64_t point, bool lasting, struct tally *tally)
{
	struct life life;

	fault_new_disk(&fault);
	life_init(&life, &fault, lives++);
	assert_true(fault_start(&fault, NULL, false));
	arm(point, lasting);
	life_run(&life);
	if (life.wrong[0])
		failed(point, "%s", life.wrong);
	if (fault_met(&fault) == 0) {
		process_stop(&fault.broker);
		return false;
	}
	tally->points++;
	tally->refused += life.refused;
	tally->lost += life.lost;
	recover(&life, point);
	return true;
}

/* Allocations of an undisturbed life, or start. */
static int64_t count_calls(bool of_start)
{
	struct life life;
	uint64_t before;

	fault_new_disk(&fault);
	life_init(&life, &fault, lives++);
	assert_true(fault_start(&fault, NULL, false));
	before = fault_calls(&fault, KIND);
	if (!of_start)
		life_run(&life);
	process_stop(&fault.broker);
	return (int64_t)(of_start ? before : fault_calls(&fault, KIND) - before);
}

static void survive(bool lasting)
{
	int64_t calls = count_calls(false), stride = stride_of(calls);
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
	const char *by = fault.control->aborter;

	if (!WIFSIGNALED(fault.status) || WTERMSIG(fault.status) != SIGABRT || strncmp(by, "libuv.so.1", 10) != 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(aborting); i++)
		if (strstr(by, aborting[i]))
			return true;
	return false;
}

static void each_allocation_of_a_start_may_fail(void **state)
{
	int64_t calls = count_calls(true), stride = stride_of(calls);
	struct tally tally = { 0 };

	(void)state;
	for (int64_t point = 1; point <= calls; point += stride) {
		struct life life;

		fault_new_disk(&fault);
		life_init(&life, &fault, lives++);
		arm(point, false);
		tally.points++;
		if (fault_start(&fault, NULL, false)) {
			recover(&life, point);
			continue;
		}
		tally.not_started++;
		if (ends_by_design())
			tally.by_design++;
		else if (!WIFEXITED(fault.status) || WEXITSTATUS(fault.status) == 0)
			failed(point, "the start ended with %s", fault_status_text(fault.status));
		fault_disarm(&fault);
		if (!fault_start(&fault, NULL, false))
			failed(point, "no start when there is memory: %s", fault_status_text(fault.status));
		recover(&life, point);
	}
	print_message("# ALLOCATIONS: %u points of a start, every %lld-th; %u starts ended, %u of them by libuv\n",
		      tally.points, (long long)stride, tally.not_started, tally.by_design);
	assert_true(tally.not_started > 0);
}

static int setup(void **state)
{
	(void)state;
	fault_open(&fault);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fault_close(&fault);
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
