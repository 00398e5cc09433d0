/* cancel, retry and erase of jobs by id, against a broker that plays a script: order, refusals, Ctrl-C. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/harness/cli_run.h"

#define ID    CLI_RUN_ID
#define OTHER "0190a5c4-7d3e-7abc-8def-0123456789ac"
#define THIRD "0190a5c4-7d3e-7abc-8def-0123456789ad"

/* ---- what is said wrongly ---- */

static void test_usage(void **state)
{
	(void)state;
	wrong(RUN("cancel"), "which jobs?");
	wrong(RUN("cancel", "--yes"), "which jobs?");
	wrong(RUN("cancel", ID, "--all"), "not both");
	wrong(RUN("cancel", ID, "--filter", "queue=q"), "not both");
	wrong(RUN("cancel", ID, "nonsense"), "\"nonsense\" is not a job's id");
	wrong(RUN("cancel", ID, "-"), "\"-\" is not a job's id");
}

static void test_without_a_terminal_yes_must_be_said(void **state)
{
	(void)state;
	wrong(RUN("cancel", "--all"), "no terminal to ask on; say --yes");
	wrong(RUN("retry", "--filter", "queue=q"), "say --yes");
	wrong(RUN("erase", "--json", "--filter", "queue=q"), "say --yes");
	wrong(RUN("erase", ID), "say --yes");
	wrong(RUN("erase", "-"), "say --yes");
}

/* ---- by id ---- */

struct answer {
	const char *id;
	int code; /* 0: count is the answer */
	int64_t count;
};

static bool answer_one(struct fake_broker *b, const struct fake_request *r, const struct answer *a)
{
	struct msg_job_change_result result = { .has_count = true, .count = a->count };
	struct uuid_text id = uuid_format(&r->change->id);

	if (strcmp(id.text, a->id) != 0)
		return fake_wrong(b, "%s came, not %s", id.text, a->id);
	return a->code < 0 ? fake_refuse(b, r, a->code, NULL, "the broker says no") : fake_reply(b, r, &result);
}

/* Cancels as *arg says, up to one without id. */
static void cancel_script(struct fake_broker *b, void *arg)
{
	struct fake_request r;

	if (!fake_greet_and_ping(b, 1000))
		return;
	for (const struct answer *a = arg; a->id; a++)
		if (!fake_next(b, METHOD_job_cancel, &r) || !answer_one(b, &r, a))
			return;
	fake_until_gone(b);
}

static void test_ids(void **state)
{
	struct answer answers[] = { { ID, 0, 1 }, { OTHER, 0, 0 }, { NULL, 0, 0 } };

	(void)state;
	right(run_with(cancel_script, answers, "", WORDS("cancel", ID, OTHER)),
	      ID "  canceled\n" OTHER "  canceled already\n");
	right(run_with(cancel_script, answers, "", WORDS("cancel", ID, OTHER, "--json", "--yes")),
	      "{\"id\": \"" ID "\", \"count\": 1}\n{\"id\": \"" OTHER "\", \"count\": 0}\n");
}

static void test_ids_from_standard_input(void **state)
{
	struct answer answers[] = { { ID, 0, 1 }, { OTHER, 0, 1 }, { THIRD, 0, 1 }, { NULL, 0, 0 } };
	struct ran r = run_with(cancel_script, answers, ID "\r\n\n  " OTHER " \nno id, \033this\n" THIRD,
				WORDS("cancel", "-"));

	(void)state;
	assert_int_equal(r.exit, CLI_FAILED);
	assert_string_equal(r.out, ID "  canceled\n" OTHER "  canceled\n" THIRD "  canceled\n");
	assert_string_equal(r.err, "raincheck: line 4: \"no id, \ufffdthis\" is not a job's id\n");
	ran_done(&r);
}

static void ends(struct answer *answers, int exit, const char *err)
{
	struct ran r = run_with(cancel_script, answers, "", WORDS("cancel", ID, OTHER));

	assert_int_equal(r.exit, exit);
	assert_string_equal(r.err, err);
	ran_done(&r);
}

static void test_ids_that_are_refused(void **state)
{
	(void)state;
	ends((struct answer[]){ { ID, ERR_NOT_FOUND, 0 }, { OTHER, 0, 1 }, { NULL, 0, 0 } }, CLI_NOT_FOUND,
	     "raincheck: " ID ": the broker says no (not_found)\n");
	ends((struct answer[]){ { ID, ERR_GONE, 0 }, { OTHER, ERR_NOT_FOUND, 1 }, { NULL, 0, 0 } }, CLI_NOT_FOUND,
	     "raincheck: " ID ": the broker says no (gone)\nraincheck: " OTHER ": the broker says no (not_found)\n");
	ends((struct answer[]){ { ID, ERR_NOT_FOUND, 0 }, { OTHER, ERR_INVALID_STATE, 1 }, { NULL, 0, 0 } }, CLI_FAILED,
	     "raincheck: " ID ": the broker says no (not_found)\nraincheck: " OTHER
	     ": the broker says no (invalid_state)\n");
	ends((struct answer[]){ { ID, ERR_INVALID_STATE, 0 }, { OTHER, ERR_NOT_FOUND, 1 }, { NULL, 0, 0 } }, CLI_FAILED,
	     "raincheck: " ID ": the broker says no (invalid_state)\nraincheck: " OTHER
	     ": the broker says no (not_found)\n");
	ends((struct answer[]){ { ID, ERR_DENIED, 0 }, { OTHER, ERR_DENIED, 1 }, { NULL, 0, 0 } }, CLI_NOT_ALLOWED,
	     "raincheck: " ID ": the broker says no (denied)\nraincheck: " OTHER ": the broker says no (denied)\n");
}

static void test_refused_ids_as_json(void **state)
{
	struct answer answers[] = { { ID, ERR_INVALID_STATE, 0 }, { NULL, 0, 0 } };
	struct ran r = run_with(cancel_script, answers, "", WORDS("--json", "cancel", ID));

	(void)state;
	assert_int_equal(r.exit, CLI_FAILED);
	assert_string_equal(r.out, "");
	assert_string_equal(r.err, "{\"error\": {\"code\": \"invalid_state\", \"message\": \"the broker says no\"}, "
				   "\"id\": \"" ID "\"}\n");
	ran_done(&r);
}

#define MANY 1000

/* Takes as many as come before it must answer, and answers them backwards: a window is full, or all have come. */
static void backwards_script(struct fake_broker *b, void *arg)
{
	struct msg_job_change_result result = { .has_count = true, .count = 1 };
	static struct fake_request held[MANY];
	size_t came = 0;

	(void)arg;
	if (!fake_greet_and_ping(b, 1000))
		return;
	while (came < MANY) {
		size_t from = came;
		size_t to = came + 250 < MANY ? came + 250 : MANY;

		while (came < to)
			if (!fake_next(b, METHOD_job_retry, &held[came++]))
				return;
		for (size_t i = to; i > from; i--)
			if (!fake_reply(b, &held[i - 1], &result))
				return;
	}
	fake_until_gone(b);
}

static void test_many_ids_are_told_in_their_order(void **state)
{
	_cleanup_free_ char *input = malloc(MANY * 40), *expected = malloc(MANY * 60);
	size_t in = 0, out = 0;
	struct ran r;

	(void)state;
	for (int i = 0; i < MANY; i++) {
		in += (size_t)sprintf(input + in, "0190a5c4-7d3e-7abc-8def-%012d\n", i);
		out += (size_t)sprintf(expected + out, "0190a5c4-7d3e-7abc-8def-%012d  retried\n", i);
	}
	r = run_with(backwards_script, NULL, input, WORDS("retry", "-"));
	assert_int_equal(r.exit, CLI_DONE);
	assert_string_equal(r.out, expected);
	assert_string_equal(r.err, "");
	ran_done(&r);
}

/* Answers the first, and is gone with the second. */
static void dying_script(struct fake_broker *b, void *arg)
{
	struct answer first = { ID, 0, 1 };
	struct fake_request r;

	(void)arg;
	if (fake_greet_and_ping(b, 1000) && fake_next(b, METHOD_job_cancel, &r) && answer_one(b, &r, &first))
		fake_next(b, METHOD_job_cancel, &r);
}

static void test_ids_when_the_broker_dies(void **state)
{
	struct ran r = run_with(dying_script, NULL, "", WORDS("cancel", ID, OTHER));

	(void)state;
	assert_int_equal(r.exit, CLI_NO_CONNECTION);
	assert_string_equal(r.out, ID "  canceled\n");
	says(r.err, "raincheck: " OTHER ": ");
	says(r.err, "it may have been done all the same");
	ran_done(&r);
}

static void test_nobody_is_there(void **state)
{
	struct ran r = RUN("--server", "unix:/nonexistent/rpc.sock", "cancel", ID);

	(void)state;
	assert_int_equal(r.exit, CLI_NO_CONNECTION);
	ran_done(&r);
	r = RUN("--server", "unix:/nonexistent/rpc.sock", "cancel", "--all", "--yes");
	assert_int_equal(r.exit, CLI_NO_CONNECTION);
	ran_done(&r);
}

/* Interrupts once the first id was canceled, and answered, while the command waits for more of them. */
static void interrupting_script(struct fake_broker *b, void *arg)
{
	struct answer first = { ID, 0, 1 };
	struct fake_request r;

	(void)arg;
	if (!fake_greet_and_ping(b, 1000) || !fake_next(b, METHOD_job_cancel, &r))
		return;
	kill(getpid(), SIGINT);
	if (answer_one(b, &r, &first))
		fake_until_gone(b);
}

static void test_interrupt_while_ids_are_awaited(void **state)
{
	static const char line[] = ID "\nno whole li";
	struct ran r;
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write(fds[1], line, sizeof(line) - 1), sizeof(line) - 1);
	r = run_with_fd(interrupting_script, NULL, fds[0], WORDS("cancel", "-"));
	close(fds[0]);
	close(fds[1]);
	assert_int_equal(r.exit, CLI_INTERRUPTED);
	assert_string_equal(r.out, ID "  canceled\n");
	assert_string_equal(r.err, "raincheck: interrupted: 1 canceled\n");
	ran_done(&r);
}

/* Takes an id, interrupts, and never answers. */
static void silent_script(struct fake_broker *b, void *arg)
{
	struct fake_request r;

	(void)arg;
	if (!fake_greet_and_ping(b, 1000) || !fake_next(b, METHOD_job_cancel, &r))
		return;
	kill(getpid(), SIGTERM);
	fake_until_gone(b);
}

static void test_interrupt_does_not_wait_for_ever(void **state)
{
	struct ran r = run_with(silent_script, NULL, "", WORDS("cancel", ID));

	(void)state;
	assert_int_equal(r.exit, CLI_INTERRUPTED);
	assert_string_equal(r.out, "");
	says(r.err, "it may have been done all the same");
	says(r.err, "interrupted: 0 canceled, 1 not known\n");
	ran_done(&r);
}

static void yes_on_terminal_script(struct fake_broker *b, void *arg)
{
	struct answer one = { ID, 0, 1 };
	struct fake_request r;

	(void)arg;
	if (fake_greet_and_ping(b, 1000) && fake_next(b, METHOD_job_erase, &r) && answer_one(b, &r, &one))
		fake_until_gone(b);
}

static void unasked_script(struct fake_broker *b, void *arg)
{
	(void)arg;
	(void)b;
}

static void test_erase_asks_for_named_jobs_too(void **state)
{
	struct ran r = run_on_terminal(yes_on_terminal_script, NULL, "y\n", WORDS("erase", ID));

	(void)state;
	assert_int_equal(r.exit, CLI_DONE);
	assert_string_equal(r.out, ID "  erased\n");
	says(r.err, "Job " ID " will be erased. Their payloads");
	ran_done(&r);
	r = run_on_terminal(unasked_script, NULL, "n\n", WORDS("erase", ID, OTHER));
	assert_int_equal(r.exit, CLI_FAILED);
	says(r.err, "2 jobs will be erased.");
	ran_done(&r);
	r = run_on_terminal(yes_on_terminal_script, NULL, "", WORDS("erase", ID, "--yes"));
	assert_int_equal(r.exit, CLI_DONE);
	assert_string_equal(r.err, "");
	ran_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_usage),
		cmocka_unit_test(test_without_a_terminal_yes_must_be_said),
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_ids_from_standard_input),
		cmocka_unit_test(test_ids_that_are_refused),
		cmocka_unit_test(test_refused_ids_as_json),
		cmocka_unit_test(test_many_ids_are_told_in_their_order),
		cmocka_unit_test(test_ids_when_the_broker_dies),
		cmocka_unit_test(test_nobody_is_there),
		cmocka_unit_test(test_interrupt_while_ids_are_awaited),
		cmocka_unit_test(test_interrupt_does_not_wait_for_ever),
		cmocka_unit_test(test_erase_asks_for_named_jobs_too),
	};

	cli_run_clean_environment();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
