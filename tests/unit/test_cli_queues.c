/* The queue commands, against a broker that plays a script. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "tests/harness/cli_run.h"

static void test_usage(void **state)
{
	(void)state;
	wrong(RUN("queue"), "queue needs one of: ls show set pause resume purge");
	wrong(RUN("queue", "pasue", "q"), "did you mean \"queue pause\"?");
	wrong(RUN("queue", "show"), "queue show needs QUEUE");
	wrong(RUN("queue", "set", "q"), "queue set needs QUEUE KEY=VALUE");
	wrong(RUN("queue", "set", "q", "max_job=1"), "did you mean max_jobs?");
	wrong(RUN("queue", "set", "q", "max_jobs"), "is not KEY=VALUE");
	wrong(RUN("queue", "set", "q", "weight=0"), "weight must be more than 0");
	wrong(RUN("queue", "set", "q", "weights=vip"), "GROUP:WEIGHT");
	wrong(RUN("queue", "set", "q", "admit=never"), "always or deadline");
	wrong(RUN("queue", "pause", "q", "p"), "does not take \"p\"");
	wrong(RUN("queue", "purge", "q"), "no terminal to ask on; say --yes");
}

/* ---- looking ---- */

static void list_script(struct fake_broker *b, void *arg)
{
	struct msg_queue queues[] = { fake_queue("open"), fake_queue("full"), fake_queue("heavy"), fake_queue("held") };
	struct msg_queue_list_result list = { .has_queues = true, .queues = queues, .queues_count = 4 };
	struct fake_request r;

	(void)arg;
	queues[0].has_max_jobs = true;
	queues[0].max_jobs = 7;
	queues[1].has_max_jobs = true;
	queues[1].max_jobs = 6;
	queues[2].has_max_bytes = true;
	queues[2].max_bytes = 2048;
	queues[3].paused = true;
	queues[3].has_title = true;
	queues[3].title = slice_str("A \033title");
	queues[3].has_limit = true;
	queues[3].limit = slice_str("api");
	if (fake_greet(b, 10) && fake_next(b, METHOD_queue_list, &r))
		fake_reply(b, &r, &list);
}

static void test_list(void **state)
{
	struct ran r = run_with(list_script, NULL, "", WORDS("queue", "ls"));

	(void)state;
	assert_int_equal(r.exit, CLI_DONE);
	assert_string_equal(r.out,
			    "QUEUE  STATE   SCHED  READY  RUNNING  DONE  DEAD  DROPPED  WAITS  LIMIT  TITLE\n"
			    "open   open        1      2        3     4     5       13      -  -      -\n"
			    "full   full        1      2        3     4     5       13      -  -      -\n"
			    "heavy  full        1      2        3     4     5       13      -  -      -\n"
			    "held   paused      1      2        3     4     5       13      -  api    A \ufffdtitle\n");
	ran_done(&r);
}

static struct group_weight some_weights[] = { { { "a:free", 6 }, 1 }, { { "vip", 3 }, 5 } };

static void show_script(struct fake_broker *b, void *arg)
{
	struct msg_queue queue = fake_queue("q");
	bool bounded = arg != NULL;
	struct fake_request r;

	if (bounded) {
		queue.has_max_jobs = queue.has_max_bytes = queue.has_title = true;
		queue.has_attempt_timeout_ms = queue.has_result_ttl_ms = true;
		queue.max_jobs = 100;
		queue.max_bytes = 1 << 20;
		queue.title = slice_str("Renders");
		queue.attempt_timeout_ms = 90000;
		queue.result_ttl_ms = 86400000;
		queue.has_limit = true;
		queue.limit = slice_str("api");
		queue.weight = 3;
		queue.weights = some_weights;
		queue.weights_count = 2;
		queue.admit = ADMIT_DEADLINE;
	}
	if (fake_greet(b, 10) && fake_next(b, METHOD_queue_get, &r) &&
	    (slice_is(r.queue_name->queue, "q") || fake_wrong(b, "another queue")))
		fake_reply(b, &r, &queue);
}

static void test_show(void **state)
{
	struct ran r = run_with(show_script, NULL, "", WORDS("queue", "show", "q"));
	bool bounded;

	(void)state;
	assert_int_equal(r.exit, CLI_DONE);
	says(r.out, "state:          open\n");
	says(r.out, "unfinished:     6, no bound\n");
	says(r.out, "their bytes:    2.0 KiB, no bound\n");
	says(r.out, "backoff:        1 s, times 2 each time, at most 1 min 0 s, jitter 25 %\n");
	says(r.out, "attempt takes:  no limit\n");
	says(r.out, "expired:        7\n");
	says(r.out, "limit:          none\nweight:         1\nadmits:         always\n");
	says(r.out, "leased in all:  17\n");
	assert_null(strstr(r.out, "title"));
	ran_done(&r);
	r = run_with(show_script, &bounded, "", WORDS("queue", "show", "q"));
	says(r.out, "title:          Renders\n");
	says(r.out, "unfinished:     6 of 100\n");
	says(r.out, "their bytes:    2.0 KiB of 1.0 MiB\n");
	says(r.out, "attempt takes:  1 min 30 s\n");
	says(r.out, "result is kept: 1 d 0 h\n");
	says(r.out, "limit:          api\nweight:         3\ngroup weights:  a:free 1, vip 5\n"
		    "admits:         only what can be done by its deadline\n");
	ran_done(&r);
}

static void test_show_as_json(void **state)
{
	bool bounded;
	struct ran r = run_with(show_script, NULL, "", WORDS("queue", "show", "q", "--json"));
	json_t *o = json_loads(r.out, 0, NULL);

	(void)state;
	assert_true(json_is_null(json_object_get(o, "max_jobs")) && json_is_null(json_object_get(o, "max_bytes")));
	assert_true(json_is_null(json_object_get(o, "title")) && json_is_null(json_object_get(o, "result_ttl_ms")));
	assert_int_equal(json_integer_value(json_object_get(json_object_get(o, "backoff"), "max_ms")), 60000);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(o, "counts"), "dead")), 5);
	assert_int_equal(json_integer_value(json_object_get(o, "bytes")), 2048);
	assert_true(json_is_null(json_object_get(o, "limit")));
	assert_int_equal(json_object_size(json_object_get(o, "weights")), 0);
	assert_string_equal(json_string_value(json_object_get(o, "admit")), "always");
	assert_int_equal(json_integer_value(json_object_get(o, "lease_total")), 17);
	json_decref(o);
	ran_done(&r);
	r = run_with(show_script, &bounded, "", WORDS("--json", "queue", "show", "q"));
	o = json_loads(r.out, 0, NULL);
	assert_int_equal(json_integer_value(json_object_get(o, "max_jobs")), 100);
	assert_int_equal(json_integer_value(json_object_get(o, "attempt_timeout_ms")), 90000);
	assert_string_equal(json_string_value(json_object_get(o, "limit")), "api");
	assert_int_equal(json_integer_value(json_object_get(o, "weight")), 3);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(o, "weights"), "vip")), 5);
	json_decref(o);
	ran_done(&r);
}

static void unknown_script(struct fake_broker *b, void *arg)
{
	struct fake_request r;

	(void)arg;
	if (fake_greet(b, 10) && fake_any(b, &r))
		fake_refuse(b, &r, ERR_NOT_FOUND, "queue", "there is no such queue");
}

static void test_a_queue_that_is_not_there(void **state)
{
	static const char *const commands[] = { "show", "pause", "resume" };
	struct ran r;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		r = run_with(unknown_script, NULL, "", WORDS("queue", (char *)commands[i], "q"));
		assert_int_equal(r.exit, CLI_NOT_FOUND);
		assert_string_equal(r.err, "raincheck: queue: there is no such queue (not_found)\n");
		ran_done(&r);
	}
	r = run_with(unknown_script, NULL, "", WORDS("queue", "purge", "q", "--yes"));
	assert_int_equal(r.exit, CLI_NOT_FOUND);
	ran_done(&r);
	r = run_on_terminal(unknown_script, NULL, "y\n", WORDS("queue", "purge", "q"));
	assert_int_equal(r.exit, CLI_NOT_FOUND);
	assert_null(strstr(r.err, "Go on?"));
	ran_done(&r);
}

/* ---- changing ---- */

static void set_script(struct fake_broker *b, void *arg)
{
	struct msg_queue queue = fake_queue("renders");
	struct fake_request r;
	const struct msg_queue_set *s;

	(void)arg;
	if (!fake_greet(b, 10) || !fake_next(b, METHOD_queue_set, &r))
		return;
	s = r.queue_set;
	if (!slice_is(s->queue, "renders") || s->max_jobs != 1000 || s->max_bytes != 64 << 20 || s->has_max_attempts ||
	    !s->has_paused || !s->paused || !MESSAGE_WAS_NIL(queue_set, s, result_ttl_ms) ||
	    !MESSAGE_WAS_NIL(backoff, &s->backoff, jitter) || s->backoff.base_ms != 2000 ||
	    !slice_is(s->limit, "api") || s->weight != 3 || s->weights_count != 2 ||
	    !slice_is(s->weights[1].group, "free") || s->weights[1].weight != 1 || s->admit != ADMIT_DEADLINE)
		fake_wrong(b, "the settings did not arrive");
	else
		fake_reply(b, &r, &queue);
}

static void test_set(void **state)
{
	(void)state;
	right(run_with(set_script, NULL, "",
		       WORDS("queue", "set", "renders", "max_jobs=1000", "max_bytes=64MiB", "backoff.base=2s",
			     "backoff.jitter=default", "paused=true", "result_ttl=default", "limit=api", "weight=3",
			     "weights=vip:5,free:1", "admit=deadline")),
	      "queue:          renders\n");
}

static void pause_script(struct fake_broker *b, void *arg)
{
	struct msg_queue queue = fake_queue("q");
	struct fake_request r;
	bool pause = arg != NULL;

	queue.paused = pause;
	if (fake_greet(b, 10) && fake_next(b, pause ? METHOD_queue_pause : METHOD_queue_resume, &r))
		fake_reply(b, &r, &queue);
}

static void test_pause_and_resume(void **state)
{
	bool pause;

	(void)state;
	right(run_with(pause_script, &pause, "", WORDS("queue", "pause", "q")), "q is paused; 3 wait\n");
	right(run_with(pause_script, NULL, "", WORDS("queue", "resume", "q")), "q is open; 3 wait\n");
	right(run_with(pause_script, &pause, "", WORDS("queue", "pause", "q", "--json")), "\"paused\": true");
}

static void purge_script(struct fake_broker *b, void *arg)
{
	struct msg_queue queue = fake_queue("q");
	struct msg_queue_purge_result purged = fake_purged("q");
	struct fake_request r;
	bool asked = arg != NULL;

	if (fake_greet(b, 10) && (!asked || (fake_next(b, METHOD_queue_get, &r) && fake_reply(b, &r, &queue))) &&
	    fake_next(b, METHOD_queue_purge, &r))
		fake_reply(b, &r, &purged);
}

static void declined_script(struct fake_broker *b, void *arg)
{
	struct msg_queue queue = fake_queue("q");
	struct fake_request r;

	(void)arg;
	if (!fake_greet(b, 10) || !fake_next(b, METHOD_queue_get, &r) || !fake_reply(b, &r, &queue))
		return;
	if (fake_any(b, &r))
		fake_wrong(b, "it was done all the same");
}

static void test_purge(void **state)
{
	bool asked;
	struct ran r = run_on_terminal(purge_script, &asked, "y\n", WORDS("queue", "purge", "q"));

	(void)state;
	assert_int_equal(r.exit, CLI_DONE);
	assert_string_equal(r.out, "3 canceled\n");
	assert_string_equal(
		r.err, "About 3 jobs will be canceled: all of queue q that wait. What runs goes on.\nGo on? [y/N] ");
	ran_done(&r);
	r = run_on_terminal(declined_script, NULL, "n\n", WORDS("queue", "purge", "q"));
	assert_int_equal(r.exit, CLI_FAILED);
	assert_string_equal(r.out, "");
	ran_done(&r);
	right(run_with(purge_script, NULL, "", WORDS("queue", "purge", "q", "--yes")), "3 canceled\n");
	right(run_with(purge_script, NULL, "", WORDS("queue", "purge", "q", "--yes", "--json")), "\"count\": 3");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_usage),
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_show),
		cmocka_unit_test(test_show_as_json),
		cmocka_unit_test(test_a_queue_that_is_not_there),
		cmocka_unit_test(test_set),
		cmocka_unit_test(test_pause_and_resume),
		cmocka_unit_test(test_purge),
	};

	cli_run_clean_environment();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
