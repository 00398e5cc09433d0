/* cancel, retry and erase of jobs by filter, against a broker that plays a script: pieces, asking, Ctrl-C. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/harness/cli_run.h"

static void test_usage(void **state)
{
	(void)state;
	wrong(RUN("cancel", "--yes", "--all", "--filter", "queue=q"), "leave it out");
	wrong(RUN("cancel", "--yes", "--filter", "qeue=q"), "did you mean queue?");
	wrong(RUN("cancel", "--yes", "--filter", "colour=red"), "queue, state, group and before");
	wrong(RUN("cancel", "--yes", "--filter", "q"), "takes KEY=VALUE");
	wrong(RUN("cancel", "--yes", "--filter", "queue="), "needs a name");
	wrong(RUN("cancel", "--yes", "--filter", "queue=a,queue=b"), "given twice");
	wrong(RUN("cancel", "--yes", "--filter", "state=ready", "--filter", "state=ready"), "given twice");
	wrong(RUN("cancel", "--yes", "--filter", "state=redy"), "did you mean ready?");
	wrong(RUN("cancel", "--yes", "--filter", "before=soon"), "before=");
	wrong(RUN("cancel", "--yes", "--filter", "state=dead"),
	      "only scheduled, ready and running jobs can be canceled");
	wrong(RUN("retry", "--yes", "--filter", "state=ready"), "only dead jobs can be retried, not ready ones");
}

/* ---- in pieces ---- */

/* Before a change of the jobs of queue q: whether it is there, and how many there are. */
static bool greet_for_queue(struct fake_broker *b)
{
	struct msg_queue queue = fake_queue("q");
	struct fake_request r;

	return fake_greet_and_ping(b, 1000) && fake_next(b, METHOD_queue_get, &r) && fake_reply(b, &r, &queue);
}

/* The next piece of a change of the queue's dead jobs, behind a cursor. */
static bool piece(struct fake_broker *b, enum method_id method, const char *cursor, struct fake_request *ret)
{
	const struct msg_job_filter *f;

	if (!fake_next(b, method, ret))
		return false;
	f = &ret->change->filter;
	if (ret->change->has_id || !slice_is(f->queue, "q") || f->state != JOB_DEAD || f->has_all || f->has_group ||
	    ret->change->limit != 10000)
		return fake_wrong(b, "the filter did not arrive");
	if (ret->change->has_cursor != (cursor != NULL) || (cursor && !slice_is(ret->change->cursor, cursor)))
		return fake_wrong(b, "the cursor did not arrive");
	return true;
}

static bool count_piece(struct fake_broker *b, const struct fake_request *r, int64_t count, const char *cursor)
{
	struct msg_job_change_result result = { .has_count = true, .count = count, .has_cursor = cursor != NULL };

	result.cursor = slice_str(cursor);
	return fake_reply(b, r, &result);
}

static void pieces_script(struct fake_broker *b, void *arg)
{
	struct fake_request r;

	(void)arg;
	if (greet_for_queue(b) && piece(b, METHOD_job_retry, NULL, &r) && count_piece(b, &r, 10000, "first") &&
	    piece(b, METHOD_job_retry, "first", &r) && count_piece(b, &r, 0, "second") &&
	    piece(b, METHOD_job_retry, "second", &r) && count_piece(b, &r, 77, NULL))
		fake_until_gone(b);
}

static void test_a_filter_is_gone_through_in_pieces(void **state)
{
	(void)state;
	right(run_with(pieces_script, NULL, "", WORDS("retry", "--filter", "queue=q,state=dead", "--yes")),
	      "10077 retried\n");
	right(run_with(pieces_script, NULL, "", WORDS("retry", "-f", "queue=q", "-fstate=dead", "-y", "--json")),
	      "{\"count\": 10077, \"complete\": true}\n");
}

static void every_key_script(struct fake_broker *b, void *arg)
{
	const struct msg_job_filter *f;
	struct fake_request r;

	(void)arg;
	if (!fake_greet_and_ping(b, 1000) || !fake_next(b, METHOD_job_erase, &r))
		return;
	f = &r.change->filter;
	if (f->has_queue || f->has_state || f->has_all || !slice_is(f->group, "g") || f->before_at_ms != 1717763400000)
		fake_wrong(b, "the filter did not arrive");
	else
		count_piece(b, &r, 3, NULL);
}

static void all_script(struct fake_broker *b, void *arg)
{
	const struct msg_job_filter *f;
	struct fake_request r;

	(void)arg;
	if (!fake_greet_and_ping(b, 1000) || !fake_next(b, METHOD_job_cancel, &r))
		return;
	f = &r.change->filter;
	if (f->has_queue || f->has_state || f->has_group || f->has_before_at_ms || !f->has_all || !f->all)
		fake_wrong(b, "the filter is not all");
	else
		count_piece(b, &r, 3, NULL);
}

static void test_filters_arrive(void **state)
{
	(void)state;
	right(run_with(every_key_script, NULL, "",
		       WORDS("erase", "--yes", "--filter", "group=g,before=2024-06-07T12:30:00Z")),
	      "3 erased\n");
	right(run_with(all_script, NULL, "", WORDS("cancel", "--yes", "--all")), "3 canceled\n");
}

/* Refuses after *arg jobs. */
static void refusing_script(struct fake_broker *b, void *arg)
{
	int done = *(int *)arg;
	struct fake_request r;

	if (!greet_for_queue(b) || !piece(b, METHOD_job_retry, NULL, &r))
		return;
	if (done > 0 && (!count_piece(b, &r, done, "first") || !piece(b, METHOD_job_retry, "first", &r)))
		return;
	fake_refuse(b, &r, ERR_DENIED, "filter", "admins only");
}

static void test_a_filter_that_is_refused(void **state)
{
	int done = 0;
	struct ran r = run_with(refusing_script, &done, "", WORDS("retry", "--filter", "queue=q,state=dead", "--yes"));

	(void)state;
	assert_int_equal(r.exit, CLI_NOT_ALLOWED);
	assert_string_equal(r.out, "");
	assert_string_equal(r.err, "raincheck: filter: admins only (denied)\n");
	ran_done(&r);
	done = 5;
	r = run_with(refusing_script, &done, "", WORDS("retry", "--filter", "queue=q,state=dead", "-y", "--json"));
	assert_int_equal(r.exit, CLI_NOT_ALLOWED);
	assert_string_equal(r.out, "{\"count\": 5, \"complete\": false}\n");
	ran_done(&r);
}

static void unknown_queue_script(struct fake_broker *b, void *arg)
{
	struct fake_request r;

	(void)arg;
	if (fake_greet_and_ping(b, 1000) && fake_next(b, METHOD_queue_get, &r))
		fake_refuse(b, &r, ERR_NOT_FOUND, "queue", "there is no such queue");
}

static void test_a_queue_that_is_not_there(void **state)
{
	struct ran r = run_with(unknown_queue_script, NULL, "", WORDS("cancel", "--filter", "queue=q", "--yes"));

	(void)state;
	assert_int_equal(r.exit, CLI_NOT_FOUND);
	assert_string_equal(r.err, "raincheck: queue: there is no such queue (not_found)\n");
	ran_done(&r);
	r = run_on_terminal(unknown_queue_script, NULL, "y\n", WORDS("cancel", "--filter", "queue=q"));
	assert_int_equal(r.exit, CLI_NOT_FOUND);
	assert_null(strstr(r.err, "Go on?"));
	ran_done(&r);
}

/* Interrupts with the first piece under way. */
static void interrupted_script(struct fake_broker *b, void *arg)
{
	struct fake_request r;

	(void)arg;
	if (!greet_for_queue(b) || !piece(b, METHOD_job_retry, NULL, &r))
		return;
	kill(getpid(), SIGINT);
	if (count_piece(b, &r, 10000, "first"))
		fake_until_gone(b);
}

static void test_interrupt_between_pieces(void **state)
{
	struct ran r =
		run_with(interrupted_script, NULL, "", WORDS("retry", "--filter", "queue=q,state=dead", "--yes"));

	(void)state;
	assert_int_equal(r.exit, CLI_INTERRUPTED);
	assert_string_equal(r.out, "");
	assert_string_equal(r.err, "raincheck: interrupted: 10000 retried\n");
	ran_done(&r);
	r = run_with(interrupted_script, NULL, "", WORDS("retry", "-fqueue=q,state=dead", "--yes", "--json"));
	assert_int_equal(r.exit, CLI_INTERRUPTED);
	assert_string_equal(r.out, "{\"count\": 10000, \"complete\": false}\n");
	ran_done(&r);
}

/* Takes a piece, interrupts, and never answers. */
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
	struct ran r = run_with(silent_script, NULL, "", WORDS("cancel", "--all", "--yes"));

	(void)state;
	assert_int_equal(r.exit, CLI_INTERRUPTED);
	assert_string_equal(r.out, "");
	assert_string_equal(r.err, "raincheck: interrupted: 0 canceled, and some more may have been\n");
	ran_done(&r);
}

/* ---- asking ---- */

/* Tells how many there are, then does it. */
static void asked_script(struct fake_broker *b, void *arg)
{
	struct fake_request r;

	(void)arg;
	if (greet_for_queue(b) && fake_any(b, &r) && count_piece(b, &r, 5, NULL))
		fake_until_gone(b);
}

/* Tells how many there are; nothing more may come. */
static void declined_script(struct fake_broker *b, void *arg)
{
	struct fake_request r;

	(void)arg;
	if (greet_for_queue(b) && fake_any(b, &r))
		fake_wrong(b, "it was done all the same");
}

static void all_asked_script(struct fake_broker *b, void *arg)
{
	struct msg_server_stats_result stats = fake_stats();
	struct fake_request r;

	(void)arg;
	if (!fake_greet_and_ping(b, 1000) || !fake_next(b, METHOD_server_stats, &r) || !fake_reply(b, &r, &stats))
		return;
	if (fake_any(b, &r) && count_piece(b, &r, 5, NULL))
		fake_until_gone(b);
}

/* Nothing is there. */
static void none_script(struct fake_broker *b, void *arg)
{
	struct msg_queue queue = fake_queue("q");
	struct fake_request r;

	(void)arg;
	queue.counts.dead = 0;
	if (fake_greet_and_ping(b, 1000) && fake_next(b, METHOD_queue_get, &r) && fake_reply(b, &r, &queue))
		fake_until_gone(b);
}

static void test_asks_on_a_terminal(void **state)
{
	struct ran r = run_on_terminal(asked_script, NULL, "y\n", WORDS("cancel", "--filter", "queue=q"));

	(void)state;
	assert_int_equal(r.exit, CLI_DONE);
	assert_string_equal(r.out, "5 canceled\n");
	says(r.err, "About 6 jobs will be canceled: queue q.\nGo on? [y/N] ");
	ran_done(&r);
	r = run_on_terminal(asked_script, NULL, "YES\n", WORDS("retry", "--filter", "queue=q,group=g"));
	assert_int_equal(r.exit, CLI_DONE);
	says(r.err, "At most 5 jobs will be retried: queue q, group g.\nGo on? [y/N] ");
	ran_done(&r);
	r = run_on_terminal(asked_script, NULL, "y\n", WORDS("erase", "--filter", "queue=q,state=scheduled"));
	assert_int_equal(r.exit, CLI_DONE);
	says(r.err, "About 1 job will be erased: queue q, state scheduled.\nTheir payloads");
	ran_done(&r);
	r = run_on_terminal(all_asked_script, NULL, "y\n", WORDS("erase", "--all"));
	assert_int_equal(r.exit, CLI_DONE);
	says(r.err, "About 28 jobs will be erased: every job there is.\n");
	ran_done(&r);
	r = run_on_terminal(none_script, NULL, "n\n", WORDS("retry", "--filter", "queue=q"));
	assert_int_equal(r.exit, CLI_FAILED);
	says(r.err, "No job, as things stand, will be retried: queue q.\n");
	ran_done(&r);
}

static void test_only_a_yes_is_a_yes(void **state)
{
	static const char *const answers[] = { "n\n", "\n", "nyes\n", "yesterday\n", "\004" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		struct ran r =
			run_on_terminal(declined_script, NULL, answers[i], WORDS("cancel", "--filter", "queue=q"));

		assert_int_equal(r.exit, CLI_FAILED);
		assert_string_equal(r.out, "");
		says(r.err, "nothing was done");
		ran_done(&r);
	}
}

static void progress_script(struct fake_broker *b, void *arg)
{
	struct fake_request r;

	(void)arg;
	if (greet_for_queue(b) && piece(b, METHOD_job_retry, NULL, &r) && count_piece(b, &r, 2, "first") &&
	    piece(b, METHOD_job_retry, "first", &r) && count_piece(b, &r, 3, NULL))
		fake_until_gone(b);
}

static void test_progress_is_shown_on_a_terminal(void **state)
{
	struct ran r =
		run_on_terminal(progress_script, NULL, "", WORDS("retry", "--yes", "--filter", "queue=q,state=dead"));

	(void)state;
	assert_int_equal(r.exit, CLI_DONE);
	assert_string_equal(r.out, "5 retried\n");
	says(r.err, "[############..................]  40 %  2 retried");
	/* And taken away before the end. */
	assert_string_equal(r.err + strlen(r.err) - 4, "\r\033[K");
	ran_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_usage),
		cmocka_unit_test(test_a_filter_is_gone_through_in_pieces),
		cmocka_unit_test(test_filters_arrive),
		cmocka_unit_test(test_a_filter_that_is_refused),
		cmocka_unit_test(test_a_queue_that_is_not_there),
		cmocka_unit_test(test_interrupt_between_pieces),
		cmocka_unit_test(test_interrupt_does_not_wait_for_ever),
		cmocka_unit_test(test_asks_on_a_terminal),
		cmocka_unit_test(test_only_a_yes_is_a_yes),
		cmocka_unit_test(test_progress_is_shown_on_a_terminal),
	};

	cli_run_clean_environment();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
