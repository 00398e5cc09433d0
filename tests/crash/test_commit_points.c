/* The broker is killed at every point where it changes the disk: before each write, sync, rename, unlink, truncation
 * and folder made, in the middle of each write, and after each. Started again it has all that it had acknowledged, with
 * the right bytes, goes on with it, and the checker finds nothing.
 *
 * POINT is the first point that is tried (1), STRIDE how far it is to the next one (1: every point). Of the 256 folders
 * that a first start makes, some are tried.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "tests/harness/fault_life.h"

#define OUTPUT_BYTES   2000
#define FOLDERS	       FAULT_BIT(FAULT_MKDIR) /* 256 of them, made by the same line */
#define FOLDERS_STRIDE 50
#define CHANGES	       (FAULT_CHANGES & ~FOLDERS)

static struct fault fault;
static unsigned lives;

struct tally {
	unsigned points;
	unsigned at_start; /* of them, before the broker was ready */
	unsigned acknowledged;
};

static void check_data(const char *when, int64_t point)
{
	char output[OUTPUT_BYTES];
	int status = fault_check(&fault, fault.data, output, sizeof(output));

	if (status != 0)
		fail_msg("point %lld, %s: check: %s\n%s", (long long)point, when, fault_status_text(status), output);
}

/* One life that ends at the point-th change of the disk. False where it had fewer. */
static bool live_and_die(uint32_t kinds, enum fault_action action, int64_t point, struct tally *tally)
{
	const struct fault_plan plan = { .kinds = kinds, .action = action, .at = point };
	struct life life;
	bool ready;

	fault_new_disk(&fault);
	fault_arm(&fault, &plan);
	life_init(&life, &fault, lives++);
	ready = fault_start(&fault, NULL, false);
	if (ready) {
		life_run(&life);
		if (life.wrong[0])
			fail_msg("point %lld: %s\n%s", (long long)point, life.wrong, fault_words(&fault));
		/* What it does at its end are changes too. */
		fault_end(&fault, life.lost ? 0 : SIGTERM);
	}
	if (ready && fault_met(&fault) == 0) {
		assert_int_equal(fault.status, 0);
		return false;
	}
	if (!WIFSIGNALED(fault.status) || WTERMSIG(fault.status) != SIGKILL)
		fail_msg("point %lld: the broker ended by itself: %s\n%s", (long long)point,
			 fault_status_text(fault.status), fault_words(&fault));
	tally->points++;
	tally->at_start += !ready;
	tally->acknowledged += life.acknowledged;

	if (!fault_start_plain(&fault, NULL))
		fail_msg("point %lld: the broker does not start again: %s\n%s", (long long)point,
			 fault_status_text(fault.status), fault_words(&fault));
	life_verify(&life, LIFE_NOW);
	if (life.wrong[0])
		fail_msg("point %lld: %s\n%s", (long long)point, life.wrong, fault_words(&fault));
	process_stop(&fault.broker);
	check_data("after the restart", point);
	return true;
}

static void survive(uint32_t kinds, enum fault_action action, int64_t stride)
{
	struct tally tally = { 0 };

	for (int64_t point = (int64_t)fault_setting("POINT", 1); live_and_die(kinds, action, point, &tally);
	     point += stride)
		;
	print_message("# STRIDE=%lld: %u points, %u of them while starting; %u acknowledgements\n", (long long)stride,
		      tally.points, tally.at_start, tally.acknowledged);
	assert_true(tally.points > 0);
}

static int64_t stride(void)
{
	return (int64_t)fault_setting("STRIDE", 1);
}

static void killed_before_each_change(void **state)
{
	(void)state;
	survive(CHANGES, FAULT_KILL_BEFORE, stride());
}

static void killed_in_the_middle_of_each_write(void **state)
{
	(void)state;
	survive(FAULT_BIT(FAULT_WRITE) | FAULT_BIT(FAULT_WRITE_SYNC), FAULT_KILL_HALFWAY, stride());
}

static void killed_after_each_change(void **state)
{
	(void)state;
	survive(CHANGES, FAULT_KILL_AFTER, stride());
}

static void killed_while_it_makes_folders(void **state)
{
	(void)state;
	survive(FOLDERS, FAULT_KILL_AFTER, FOLDERS_STRIDE);
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
		cmocka_unit_test_setup_teardown(killed_before_each_change, setup, teardown),
		cmocka_unit_test_setup_teardown(killed_in_the_middle_of_each_write, setup, teardown),
		cmocka_unit_test_setup_teardown(killed_after_each_change, setup, teardown),
		cmocka_unit_test_setup_teardown(killed_while_it_makes_folders, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
