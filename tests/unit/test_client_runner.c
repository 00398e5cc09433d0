/* Runners that cannot be made, or have no broker; tests/integration/test_runner.c has those that work. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/raincheck.h"

static int nothing(struct raincheck_work *w, void *user)
{
	(void)w;
	(void)user;
	return 0;
}

static struct raincheck_runner_options good_options(void)
{
	static const char *const queues[] = { "q" };

	return (struct raincheck_runner_options){
		.name = "own", .queues = queues, .queue_count = 1, .handler = nothing
	};
}

static void once_without_a_broker_says_so(void **state)
{
	struct raincheck_runner_options options = good_options();
	struct raincheck_runner *runner;
	struct raincheck_error error = { 0 };

	(void)state;
	options.once = true;
	options.server = "unix:/nonexistent/rpc.sock";
	assert_int_equal(raincheck_runner_new(&options, &runner, NULL), 0);
	assert_int_equal(raincheck_runner_run(runner, &error), RAINCHECK_ENO_CONNECTION);
	assert_string_not_equal(error.message, "");
	assert_int_equal(raincheck_runner_run(runner, &error), RAINCHECK_EINVALID_STATE);
	raincheck_runner_free(runner);
}

static void options_are_checked(void **state)
{
	struct raincheck_runner_options good = good_options(), bad[5] = { good, good, good, good, good };
	static const char *const fields[] = { "name", "queues", "handler", "threads", "server" };
	struct raincheck_runner *runner = NULL;
	struct raincheck_error error;

	(void)state;
	bad[0].name = "";
	bad[1].queue_count = 0;
	bad[2].handler = NULL;
	bad[3].threads = RAINCHECK_MAX_THREADS + 1;
	bad[4].server = "host:port";
	for (size_t i = 0; i < 5; i++) {
		assert_int_equal(raincheck_runner_new(&bad[i], &runner, &error), RAINCHECK_EBAD_REQUEST);
		assert_string_equal(error.field, fields[i]);
	}
	assert_int_equal(raincheck_runner_new(&good, &runner, NULL), 0);
	raincheck_runner_free(runner);
	raincheck_runner_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(once_without_a_broker_says_so),
		cmocka_unit_test(options_are_checked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
