/* A broker whose files may not grow beyond a size (ulimit -f, LimitFSIZE=): what it can not write is refused as on a
 * disk that fails, and it goes on. Left alone, the system would end the process with SIGXFSZ at the first such write.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "tests/harness/stack.h"

#define LIMIT_BYTES 8192 /* less than any file of a store has */

static struct stack stack;
static struct raincheck *rc;

static int setup(void **state)
{
	(void)state;
	memset(&stack, 0, sizeof(stack));
	/* A child inherits what its parent ignores. */
	signal(SIGXFSZ, SIG_DFL);
	tempdir_make(&stack.dir);
	stack_start_broker(&stack);
	rc = stack_connect(&stack);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	raincheck_close(rc, NULL, NULL);
	stack_stop(&stack);
	return 0;
}

/* Of the broker as it runs, so that what it has written before stays as it is. Returns what it was. */
static rlim_t limit_files(rlim_t bytes)
{
	struct rlimit limit, before;

	assert_int_equal(prlimit(stack.broker.pid, RLIMIT_FSIZE, NULL, &before), 0);
	limit = before;
	limit.rlim_cur = bytes;
	assert_int_equal(prlimit(stack.broker.pid, RLIMIT_FSIZE, &limit, NULL), 0);
	return before.rlim_cur;
}

static int put(const char *payload, const struct raincheck_media *preview, struct raincheck_put_result **ret)
{
	struct raincheck_put params = { .queue = "q", .payload = { payload, strlen(payload) } };

	if (preview)
		params.preview = *preview;
	return raincheck_put(rc, &params, ret);
}

/* It answers reads, and has not a job more than before. */
static void expect_alive(int64_t puts)
{
	struct raincheck_stats *stats;

	assert_int_equal(raincheck_stats(rc, &stats), 0);
	assert_int_equal(stats->put_total, puts);
	raincheck_free(stats);
}

static void a_commit_beyond_the_limit_is_refused(void **state)
{
	struct raincheck_put_result *first, *later;
	struct raincheck_payload *payload;
	rlim_t before;

	(void)state;
	assert_int_equal(put("before", NULL, &first), 0);
	before = limit_files(LIMIT_BYTES);
	assert_int_equal(put("meanwhile", NULL, NULL), RAINCHECK_ESTORE_FULL);
	assert_int_equal(put("meanwhile", NULL, NULL), RAINCHECK_ESTORE_FULL);
	expect_alive(1);
	limit_files(before);
	assert_int_equal(put("after", NULL, &later), 0);
	assert_int_equal(raincheck_payload(rc, first->id, &payload), 0);
	assert_memory_equal(payload->data.data, "before", 6);
	raincheck_free(payload);
	raincheck_free(later);
	raincheck_free(first);
	expect_alive(2);
}

static void an_artifact_beyond_the_limit_is_refused(void **state)
{
	static const char still[100000];
	const struct raincheck_media preview = { "image/png", { still, sizeof(still) } };
	struct raincheck_put_result *result;
	rlim_t before = limit_files(LIMIT_BYTES);

	(void)state;
	assert_int_equal(put("x", &preview, NULL), RAINCHECK_ESTORE_FULL);
	expect_alive(0);
	limit_files(before);
	assert_int_equal(put("x", &preview, &result), 0);
	raincheck_free(result);
	expect_alive(1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_commit_beyond_the_limit_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(an_artifact_beyond_the_limit_is_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
