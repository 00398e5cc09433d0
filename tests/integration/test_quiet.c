/* A worker that is told to be quiet takes back at once the lease request that waits, the program as well as a runner of
 * the library: else the broker would give it the next job. The broker is a scripted one, which sees the requests. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "client/raincheck.h"
#include "tests/harness/fake_broker.h"
#include "tests/harness/stack.h"

static struct stack stack;
static struct raincheck_runner *runner;

/* Quiet comes while a lease waits; what comes next is its cancel. Then the worker is told to end, and does. */
static void quiet_script(struct fake_broker *b, void *arg)
{
	struct msg_job_lease_result none = { .has_jobs = true };
	struct fake_request lease, cancel;
	struct msg_empty nothing = { 0 };

	if (fake_greet(b, 100) && fake_next(b, METHOD_job_lease, &lease) &&
	    fake_notify(b, "worker.quiet", &MSG_empty, &nothing) && fake_next(b, METHOD_job_lease_cancel, &cancel) &&
	    fake_reply(b, &lease, &none) && fake_reply(b, &cancel, &nothing) &&
	    fake_notify(b, "worker.stop", &MSG_empty, &nothing))
		fake_until_gone(b);
	else if (arg)
		raincheck_runner_stop(runner); /* else it would look for a broker for ever */
}

static int no_work(struct raincheck_work *w, void *user)
{
	(void)w;
	(void)user;
	return 0;
}

static void a_quiet_runner_takes_its_waiting_lease_back(void **state)
{
	static const char *const queues[] = { "q" };
	struct fake_broker *broker = fake_broker_start(NULL, quiet_script, &runner);
	struct raincheck_runner_options options = {
		.name = "own", .queues = queues, .queue_count = 1, .handler = no_work
	};
	struct raincheck_error error = { 0 };

	(void)state;
	assert_non_null(broker);
	options.server = fake_broker_address(broker);
	assert_int_equal(raincheck_runner_new(&options, &runner, &error), 0);
	assert_int_equal(raincheck_runner_run(runner, &error), 0);
	raincheck_runner_free(runner);
	assert_string_equal(fake_broker_stop(broker), "");
}

static void a_quiet_worker_takes_its_waiting_lease_back(void **state)
{
	struct fake_broker *broker = fake_broker_start(NULL, quiet_script, NULL);
	int status;

	(void)state;
	assert_non_null(broker);
	tempdir_make(&stack.dir);
	snprintf(stack.server, sizeof(stack.server), "%s", fake_broker_address(broker));
	snprintf(stack.api_url, sizeof(stack.api_url), "http://127.0.0.1:9");
	stack_configure_worker(&stack, "");
	stack_start_worker(&stack);
	assert_string_equal(fake_broker_stop(broker), "");
	status = process_finish(&stack.worker, NULL, 0);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	tempdir_remove(&stack.dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_quiet_runner_takes_its_waiting_lease_back),
		cmocka_unit_test(a_quiet_worker_takes_its_waiting_lease_back),
	};

	return cmocka_run_group_tests_name("quiet", tests, NULL, NULL);
}
