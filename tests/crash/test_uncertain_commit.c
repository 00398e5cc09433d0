/* A commit whose last write fails may be on the disk or not. The broker says that it is not ready, finds out by itself
 * when the disk is well again, though nobody sends it anything, and then removes the file of the commit's artifact,
 * which no record came to name: without a restart.
 */
#include <errno.h>
#include <ftw.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "client/raincheck.h"
#include "tests/harness/fault.h"
#include "tests/harness/stack.h"

#define STILL_BYTES 20000 /* above what stands in the map: a file */

static struct fault fault;
static struct raincheck *rc;
static char ready_url[256];

static int setup(void **state)
{
	char address[128];

	(void)state;
	fault_open(&fault);
	fault_new_disk(&fault);
	assert_true(fault_start(&fault, NULL, false));
	process_line_word(&fault.broker, "http=", address, sizeof(address));
	snprintf(ready_url, sizeof(ready_url), "http://%s/readyz", address);
	rc = fault_connect(&fault);
	return 0;
}

static int teardown(void **state)
{
	char output[2000];

	(void)state;
	raincheck_close(rc, NULL, NULL);
	assert_int_equal(fault_end(&fault, SIGTERM), 0);
	assert_int_equal(fault_check(&fault, fault.data, output, sizeof(output)), 0);
	fault_close(&fault);
	return 0;
}

static int put(const char *key)
{
	static char still[STILL_BYTES];
	const struct raincheck_put params = { .queue = "q",
					      .payload = { "x", 1 },
					      .idempotency_key = key,
					      .preview = { "image/png", { still, sizeof(still) } } };
	struct raincheck_put_result *result;
	int code = raincheck_put(rc, &params, &result);

	if (code == 0)
		raincheck_free(result);
	return code;
}

/* The file of the records is opened once more for the pages that name a commit, each written and synced at once. */
static void put_uncertainly(enum fault_action action)
{
	const struct fault_plan plan = {
		.kinds = FAULT_BIT(FAULT_WRITE_SYNC), .action = action, .at = 1, .error = EIO, .lasting = true
	};

	assert_int_equal(put("first"), 0);
	fault_arm(&fault, &plan);
	assert_true(put("second") < 0);
}

static int files;

static int count_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)path;
	(void)ftw;
	files += type == FTW_F && st->st_size == STILL_BYTES;
	return 0;
}

static int count_files(void)
{
	char path[256];

	files = 0;
	snprintf(path, sizeof(path), "%s/blobs", fault.data);
	assert_int_equal(nftw(path, count_file, 16, FTW_PHYS), 0);
	return files;
}

static long ask_ready(const char *words)
{
	struct http_answer answer = { 0 };
	long status;

	http_request("GET", ready_url, NULL, &answer);
	status = answer.status;
	if (words && !strstr(answer.body, words))
		fail_msg("\"%s\" is not in: %s", words, answer.body);
	http_answer_done(&answer);
	return status;
}

static void await_ready(void)
{
	while (ask_ready(NULL) != 200)
		sched_yield();
}

/* The removal comes right behind the commit. */
static void await_files(int count)
{
	while (count_files() != count)
		sched_yield();
}

/* The writer's own attempts meet the fault as well: none of them is taken for a disk that is well. */
static void expect_not_ready_while_it_lasts(void)
{
	unsigned met = fault_met(&fault);

	assert_int_equal(ask_ready("commits fail: "), 503);
	while (fault_met(&fault) < met + 2)
		sched_yield();
	assert_int_equal(ask_ready("commits fail: "), 503);
}

static void a_file_of_no_record_goes_when_the_disk_is_well(void **state)
{
	const enum fault_action *action = *state;

	assert_int_equal(ask_ready("ready"), 200);
	put_uncertainly(*action);
	assert_int_equal(count_files(), 2);
	expect_not_ready_while_it_lasts();
	assert_int_equal(count_files(), 2);
	fault_disarm(&fault);
	await_ready();
	await_files(1);
	assert_int_equal(put("second"), 0);
	assert_int_equal(count_files(), 2);
}

int main(void)
{
	/* Of the second kind the disk has the write, until LMDB puts the old page back. */
	static enum fault_action fails = FAULT_FAIL, fails_late = FAULT_FAIL_LATE;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_prestate_setup_teardown(a_file_of_no_record_goes_when_the_disk_is_well, setup,
							 teardown, &fails),
		cmocka_unit_test_prestate_setup_teardown(a_file_of_no_record_goes_when_the_disk_is_well, setup,
							 teardown, &fails_late),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
