/* What bounds a worker: the time that an attempt may take in each of its parts, the calls that it may make at once, and
 * what its command line takes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "tests/harness/calls.h"

static struct calls calls;

static int setup(void **state)
{
	(void)state;
	calls_open(&calls);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	calls_close(&calls);
	return 0;
}

/* ---- deadlines ---- */

static void an_attempt_that_takes_too_long_is_a_timeout(void **state)
{
	struct calls_shape s = { .lines = "    timeouts: { attempt: 200ms }\n" };

	(void)state;
	calls_start_worker(&calls, &s);
	calls_expect_failure(&calls, calls_put(&calls, 1, "a", "\"delay_ms\":3600000"), RAINCHECK_FAIL_TIMEOUT,
			     "took too long");
}

static void a_call_that_does_not_begin_is_a_timeout(void **state)
{
	struct calls_shape s = {
		.lines = "    timeouts: { start: 200ms }\n",
		.poll = ", path: \"/v1/renders/{id}\", pending: [PENDING, RUNNING, RENDERING], ok: [SUCCEEDED]",
	};

	(void)state;
	calls_start_worker(&calls, &s);
	calls_expect_failure(&calls, calls_put(&calls, 1, "a", "\"delay_ms\":3600000"), RAINCHECK_FAIL_TIMEOUT,
			     "did not begin");
}

/* From when the provider works, the attempt's time counts and not the start's. */
static void a_call_that_has_begun_has_the_attempts_time(void **state)
{
	struct calls_shape s = {
		.lines = "    timeouts: { start: 60s, attempt: 200ms }\n",
		.poll = ", path: \"/v1/renders/{id}\", pending: [PENDING, RUNNING], ok: [SUCCEEDED]",
	};

	(void)state;
	calls_start_worker(&calls, &s);
	calls_expect_failure(&calls, calls_put(&calls, 1, "a", "\"delay_ms\":3600000"), RAINCHECK_FAIL_TIMEOUT,
			     "took too long");
}

static void a_file_that_stalls_is_a_timeout(void **state)
{
	struct calls_shape s = { .lines = "    timeouts: { stall: 500ms }\n" };

	(void)state;
	calls_start_worker(&calls, &s);
	calls_expect_failure(&calls, calls_put(&calls, 1, "a", "\"pad_kib\":600,\"hang_body\":true"),
			     RAINCHECK_FAIL_TIMEOUT, "silent");
	calls_expect_counts(&calls, 1, 1);
}

static void a_sync_call_has_the_starts_time_to_answer(void **state)
{
	struct calls_shape s = {
		.mode = "sync",
		.submit = ", on_unknown: retry",
		.lines = "    timeouts: { connect: 1s, start: 200ms }\n",
	};

	(void)state;
	calls_start_worker(&calls, &s);
	calls_expect_failure(&calls, calls_put(&calls, 1, "a", "\"delay_ms\":3600000"), RAINCHECK_FAIL_TIMEOUT,
			     "silent");
}

/* ---- slots ---- */

static void queues_share_the_slots(void **state)
{
	char ids[9][RAINCHECK_ID_SIZE], queue[8];
	int64_t most;

	(void)state;
	for (int i = 0; i < 9; i++) {
		snprintf(queue, sizeof(queue), "q%d", i % 3);
		snprintf(ids[i], sizeof(ids[i]), "%s", calls_put_into(&calls, queue, 1, "a", "\"delay_ms\":30"));
	}
	calls_start_worker(&calls, &(struct calls_shape){ .top = "slots: 2\nlease: 60s\n",
							  .queues = "q0: api, q1: api, q2: api" });
	for (int i = 0; i < 9; i++)
		calls_expect_end(&calls, ids[i], RAINCHECK_JOB_SUCCEEDED);
	most = calls_counted(&calls, "max_in_flight");
	assert_true(most >= 1 && most <= 2);
	calls_expect_counts(&calls, 9, 9);
}

/* ---- the command line ---- */

static void expect_usage(int status, const char *flag, const char *value, const char *words)
{
	const char *argv[] = { process_program("raincheck-worker"), flag, value, NULL };
	char output[8192];
	int wait_status = process_run(argv, output, sizeof(output));

	assert_true(WIFEXITED(wait_status));
	if (WEXITSTATUS(wait_status) != status || !strstr(output, words))
		fail_msg("%s %s: status %d, not %d; it says \"%s\", not \"%s\"", flag, value ? value : "",
			 WEXITSTATUS(wait_status), status, output, words);
}

static void the_command_line_is_checked(void **state)
{
	(void)state;
	expect_usage(0, "--help", NULL, "--dry-run");
	expect_usage(0, "--version", NULL, "raincheck-worker 0");
	expect_usage(2, "--slots", "0", "from 1 to 100000");
	expect_usage(2, "--slots", "100001", "from 1 to 100000");
	expect_usage(2, "--slots", "4x", "from 1 to 100000");
	expect_usage(2, "--log-level", "loud", "error, warning, info or debug");
	expect_usage(2, "--log-format", "xml", "text or json");
	expect_usage(2, "--no-such", "thing", "--no-such");
	expect_usage(2, "stray", NULL, "stray");
	expect_usage(2, "--slots", "4", "--config");
	expect_usage(1, "--config", "/nowhere/worker.yaml", "/nowhere/worker.yaml");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(an_attempt_that_takes_too_long_is_a_timeout),
		T(a_call_that_does_not_begin_is_a_timeout),
		T(a_call_that_has_begun_has_the_attempts_time),
		T(a_file_that_stalls_is_a_timeout),
		T(a_sync_call_has_the_starts_time_to_answer),
		T(queues_share_the_slots),
		T(the_command_line_is_checked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
