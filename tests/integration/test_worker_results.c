/* Bringing results home: every way an API hands a result over, in every size, large ones with little memory, and what
 * is larger than may be kept or finds no room.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "tests/harness/calls.h"

#define LARGE_KIB     20480
#define GROWTH_MAX_KB 12288

/* Sanitizers keep freed memory and shadow what is used: how much a process has says nothing then. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { MEMORY_TELLS = 0 };
#else
enum { MEMORY_TELLS = 1 };
#endif

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

/* ---- every way a result is handed over, in every size ---- */

static const struct calls_shape by_get = { .result = "from: get, path: \"/v1/results/{id}\"" };
static const struct calls_shape by_given_get = {
	.submit = ", urls: { status: /urls/get, result: /urls/result }",
	.poll = ", ok: [SUCCEEDED]",
	.result = "from: get",
};
static const struct calls_shape by_get_url = {
	.result = "from: get, path: \"/v1/outputs/{id}\", media: /output/0, preview: /poster",
};

/* Handed over with the completion, in one message, just one piece and a little more, several. */
static const size_t pads_kib[] = { 0, 100, 256, 3000 };

static void expect_all_sizes(const struct calls_shape *shape, const char *behave)
{
	char name[32], switches[256];

	calls_start_worker(&calls, shape);
	for (size_t i = 0; i < sizeof(pads_kib) / sizeof(pads_kib[0]); i++) {
		snprintf(name, sizeof(name), "n%zu", i);
		snprintf(switches, sizeof(switches), "\"delay_ms\":30,\"pad_kib\":%zu%s", pads_kib[i], behave);
		calls_expect_video(&calls, calls_put(&calls, 1, name, switches), name, pads_kib[i]);
	}
	calls_expect_counts(&calls, sizeof(pads_kib) / sizeof(pads_kib[0]), sizeof(pads_kib) / sizeof(pads_kib[0]));
}

static void a_body_comes_home(void **state)
{
	(void)state;
	expect_all_sizes(&calls_by_sync, "");
}

static void a_url_in_the_answer_is_fetched(void **state)
{
	(void)state;
	expect_all_sizes(&calls_by_sync_url, "");
	assert_non_null(calls_artifact(&calls, "preview"));
}

static void a_polled_url_is_fetched(void **state)
{
	(void)state;
	expect_all_sizes(&calls_by_poll, "");
}

static void the_http_status_may_be_the_state(void **state)
{
	(void)state;
	expect_all_sizes(&calls_by_http_state, "");
	calls_expect_failure(&calls, calls_put(&calls, 1, "f", "\"fail\":{\"http\":422,\"message\":\"two faces\"}"),
			     RAINCHECK_FAIL_REJECTED, "two faces");
}

static void the_result_may_be_at_a_path_of_its_own(void **state)
{
	(void)state;
	expect_all_sizes(&by_get, "");
}

static void the_result_may_be_where_the_submit_said(void **state)
{
	(void)state;
	expect_all_sizes(&by_given_get, "");
}

static void a_path_of_its_own_may_name_the_url(void **state)
{
	(void)state;
	expect_all_sizes(&by_get_url, "");
	assert_non_null(calls_artifact(&calls, "preview"));
}

static void a_data_url_is_the_result_itself(void **state)
{
	(void)state;
	expect_all_sizes(&calls_by_poll, ",\"data_url\":true");
	assert_int_equal(calls_counted(&calls, "fetches"), 0);
}

/* The last piece is full: what follows it is the end and no bytes. */
static void a_body_may_end_with_a_piece(void **state)
{
	const size_t whole = KIB, head = 24 + 8;
	char name[KIB], switches[64];
	size_t rest;

	(void)state;
	calls_start_worker(&calls, &calls_by_sync);
	for (size_t pad = 255; pad <= 1023; pad += 768) {
		snprintf(switches, sizeof(switches), "\"pad_kib\":%zu", pad);
		rest = head + strlen("{\"name\":\"\",\"behave\":{}}") + strlen(switches);
		memset(name, 'a', whole - rest);
		name[whole - rest] = '\0';
		calls_expect_video(&calls, calls_put(&calls, 1, name, switches), name, pad);
		assert_int_equal(calls_artifact(&calls, "result")->size, (int64_t)((pad + 1) * KIB));
	}
}

/* ---- large results ---- */

static long memory_kb(const char *key)
{
	char path[64], line[256];
	long kb = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%ld/status", (long)calls.stack.worker.pid);
	f = fopen(path, "r");
	assert_non_null(f);
	while (kb < 0 && fgets(line, sizeof(line), f))
		if (strncmp(line, key, strlen(key)) == 0)
			kb = strtol(line + strlen(key), NULL, 10);
	fclose(f);
	assert_true(kb > 0);
	return kb;
}

static void expect_large(const struct calls_shape *shape)
{
	char switches[64];
	long before, growth;

	calls_start_worker(&calls, shape);
	/* One of four pieces first: what every call needs is there then. */
	calls_expect_video(&calls, calls_put(&calls, 1, "small", "\"pad_kib\":1024"), "small", 1024);
	before = memory_kb("VmRSS:");
	snprintf(switches, sizeof(switches), "\"pad_kib\":%d", LARGE_KIB);
	calls_expect_video(&calls, calls_put(&calls, 1, "large", switches), "large", LARGE_KIB);
	growth = memory_kb("VmHWM:") - before;
	if (!MEMORY_TELLS)
		print_message("# built with a sanitizer: the memory used (%ld KiB more) is not judged\n", growth);
	else if (growth > GROWTH_MAX_KB)
		fail_msg("the worker grew by %ld KiB for a result of %d KiB", growth, LARGE_KIB);
	calls_expect_counts(&calls, 2, 2);
}

static void a_large_body_takes_little_memory(void **state)
{
	(void)state;
	expect_large(&calls_by_sync);
}

static void a_large_file_takes_little_memory(void **state)
{
	(void)state;
	expect_large(&calls_by_poll);
}

static void a_body_that_trickles_comes_home(void **state)
{
	(void)state;
	calls_start_worker(&calls, &calls_by_poll);
	calls_expect_video(&calls, calls_put(&calls, 1, "a", "\"pad_kib\":600,\"slow_body_ms\":20"), "a", 600);
}

static const char max_512k[] = "from: body, max_bytes: 512KiB";

static void what_is_larger_than_allowed_is_invalid(void **state)
{
	struct calls_shape sync = { .mode = "sync", .submit = ", on_unknown: retry", .result = max_512k };

	(void)state;
	calls_start_worker(&calls, &sync);
	calls_expect_failure(&calls, calls_put(&calls, 1, "a", "\"pad_kib\":600"), RAINCHECK_FAIL_INVALID, "max_bytes");
	assert_null(calls_artifact(&calls, "result"));
	calls_expect_video(&calls, calls_put(&calls, 1, "b", "\"pad_kib\":500"), "b", 500);
}

/* The same answer would be paid for again. */
static void a_useless_answer_is_not_bought_again_unasked(void **state)
{
	struct calls_shape sync = { .mode = "sync", .result = max_512k };

	(void)state;
	calls_start_worker(&calls, &sync);
	calls_expect_failure(&calls, calls_put(&calls, 3, "a", "\"pad_kib\":600"), RAINCHECK_FAIL_REJECTED,
			     "it was paid for, and no other call is made");
	calls_expect_failure(&calls, calls_put(&calls, 3, "b", "\"truncate\":true"), RAINCHECK_FAIL_REJECTED,
			     "not sent again");
	calls_expect_counts(&calls, 2, 2);
}

static void a_data_url_larger_than_allowed_is_invalid(void **state)
{
	struct calls_shape poll = { .result = "media: /output/0, max_bytes: 512KiB" };

	(void)state;
	calls_start_worker(&calls, &poll);
	calls_expect_failure(&calls, calls_put(&calls, 1, "a", "\"data_url\":true,\"pad_kib\":600"),
			     RAINCHECK_FAIL_INVALID, "max_bytes");
}

/* ---- what cannot be kept ---- */

static void without_room_for_the_body_the_attempt_fails(void **state)
{
	struct rlimit limit, small;

	(void)state;
	/* Writing beyond it is an error, and not a signal, for the worker too. */
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	small = (struct rlimit){ .rlim_cur = MIB, .rlim_max = limit.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	calls_start_worker(&calls, &calls_by_sync);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	signal(SIGXFSZ, SIG_DFL);
	calls_expect_failure(&calls, calls_put(&calls, 1, "a", "\"pad_kib\":2048"), RAINCHECK_FAIL_INTERNAL,
			     "in a temporary file");
	calls_expect_video(&calls, calls_put(&calls, 1, "b", "\"pad_kib\":700"), "b", 700);
}

static void without_a_folder_for_the_body_the_attempt_fails(void **state)
{
	(void)state;
	setenv("TMPDIR", "/nowhere", 1);
	calls_start_worker(&calls, &calls_by_sync);
	unsetenv("TMPDIR");
	calls_expect_failure(&calls, calls_put(&calls, 1, "a", "\"pad_kib\":600"), RAINCHECK_FAIL_INTERNAL,
			     "temporary file");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_body_comes_home),
		T(a_url_in_the_answer_is_fetched),
		T(a_polled_url_is_fetched),
		T(the_http_status_may_be_the_state),
		T(the_result_may_be_at_a_path_of_its_own),
		T(the_result_may_be_where_the_submit_said),
		T(a_path_of_its_own_may_name_the_url),
		T(a_data_url_is_the_result_itself),
		T(a_body_may_end_with_a_piece),
		T(a_large_body_takes_little_memory),
		T(a_large_file_takes_little_memory),
		T(a_body_that_trickles_comes_home),
		T(what_is_larger_than_allowed_is_invalid),
		T(a_useless_answer_is_not_bought_again_unasked),
		T(a_data_url_larger_than_allowed_is_invalid),
		T(without_room_for_the_body_the_attempt_fails),
		T(without_a_folder_for_the_body_the_attempt_fails),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
