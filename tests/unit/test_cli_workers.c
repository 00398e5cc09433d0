/* The worker commands, against a broker that plays a script. */
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
	wrong(RUN("worker"), "worker needs one of: ls quiet stop");
	wrong(RUN("worker", "ls", "x"), "does not take \"x\"");
	wrong(RUN("worker", "quiet"), "worker quiet needs NAME");
	wrong(RUN("worker", "stop", "a", "b"), "does not take \"b\"");
	wrong(RUN("worker", "stop", "a"), "say --yes");
}

/* ---- ls ---- */

static void list_script(struct fake_broker *b, void *arg)
{
	struct msg_worker_session workers[2] = { fake_worker("render-1"), fake_worker("old") };
	struct msg_worker_list_result list = { .has_workers = true, .workers = workers, .workers_count = 2 };
	struct fake_request r;

	(void)arg;
	workers[0].has_client = workers[0].has_version = true;
	workers[0].client = slice_str("raincheck-worker");
	workers[0].version = slice_str("1.2.3");
	workers[1].state = WORKER_STOPPING;
	workers[1].has_slots = false;
	workers[1].queues_count = 0;
	if (fake_greet(b, 10) && fake_next(b, METHOD_worker_list, &r))
		fake_reply(b, &r, &list);
}

static void test_ls(void **state)
{
	struct ran r = run_with(list_script, NULL, "", WORDS("worker", "ls"));

	(void)state;
	assert_int_equal(r.exit, CLI_DONE);
	says(r.out, "WORKER    STATE     SLOTS  IN HAND  WAITING");
	says(r.out, "render-1  active        5        3        1");
	says(r.out, "192.0.2.7:41312  raincheck-worker  1.2.3    q r\n");
	says(r.out, "old       stopping      -        3        1");
	ran_done(&r);
}

static void test_ls_as_json(void **state)
{
	struct ran r = run_with(list_script, NULL, "", WORDS("worker", "ls", "--json"));
	json_t *array = json_loads(r.out, 0, NULL), *w = json_array_get(array, 0);

	(void)state;
	assert_int_equal(json_array_size(array), 2);
	assert_string_equal(json_string_value(json_object_get(w, "name")), "render-1");
	assert_string_equal(json_string_value(json_object_get(w, "state")), "active");
	assert_string_equal(json_string_value(json_object_get(w, "address")), "192.0.2.7:41312");
	assert_int_equal(json_integer_value(json_object_get(w, "slots")), 5);
	assert_int_equal(json_integer_value(json_object_get(w, "in_hand")), 3);
	assert_int_equal(json_integer_value(json_object_get(w, "waiting")), 1);
	assert_int_equal(json_array_size(json_object_get(w, "queues")), 2);
	assert_true(json_is_null(json_object_get(json_array_get(array, 1), "slots")));
	assert_true(json_is_null(json_object_get(json_array_get(array, 1), "client")));
	json_decref(array);
	ran_done(&r);
}

/* ---- orders ---- */

/* Answers as many connections as arg says. */
static void order_script(struct fake_broker *b, void *arg, enum method_id method)
{
	struct msg_worker_told told = { .has_count = true, .count = *(int64_t *)arg };
	struct fake_request r;

	if (!fake_next(b, method, &r))
		return;
	if (!slice_is(r.worker_name->name, "w"))
		fake_wrong(b, "the worker is %.*s", SLICE_FMT(r.worker_name->name));
	else if (told.count == 0)
		fake_refuse(b, &r, ERR_NOT_FOUND, "name", "no worker of this name is connected");
	else
		fake_reply(b, &r, &told);
}

static void quiet_script(struct fake_broker *b, void *arg)
{
	if (fake_greet(b, 10))
		order_script(b, arg, METHOD_worker_quiet);
}

static void stop_script(struct fake_broker *b, void *arg)
{
	if (fake_greet(b, 10))
		order_script(b, arg, METHOD_worker_stop);
}

static void test_quiet(void **state)
{
	int64_t count = 1;
	struct ran r;

	(void)state;
	right(run_with(quiet_script, &count, "", WORDS("worker", "quiet", "w")),
	      "w is told to lease no more and finish what it has\n");
	count = 2;
	right(run_with(quiet_script, &count, "", WORDS("worker", "quiet", "w")), ", on 2 connections\n");
	right(run_with(quiet_script, &count, "", WORDS("worker", "quiet", "w", "--json")), "\"count\": 2");
	count = 0;
	r = run_with(quiet_script, &count, "", WORDS("worker", "quiet", "w"));
	assert_int_equal(r.exit, CLI_NOT_FOUND);
	says(r.err, "no worker of this name is connected");
	ran_done(&r);
}

/* Somebody is asked first: they are told how much is at stake. */
static void asked_script(struct fake_broker *b, void *arg)
{
	struct msg_worker_session workers[3] = { fake_worker("w"), fake_worker("w"), fake_worker("x") };
	struct msg_worker_list_result list = { .has_workers = true, .workers = workers, .workers_count = 3 };
	struct fake_request r;

	if (fake_greet(b, 10) && fake_next(b, METHOD_worker_list, &r) && fake_reply(b, &r, &list) && arg)
		order_script(b, arg, METHOD_worker_stop);
}

static void test_stop(void **state)
{
	int64_t count = 2;
	struct ran r;

	(void)state;
	right(run_with(stop_script, &count, "", WORDS("worker", "stop", "w", "--yes")), "w is told to stop");
	r = run_on_terminal(asked_script, &count, "y\n", WORDS("worker", "stop", "w"));
	assert_int_equal(r.exit, CLI_DONE);
	says(r.err, "Worker w, on 2 connections, will end: it may finish the 6 jobs it has");
	says(r.out, "w is told to stop, on 2 connections\n");
	ran_done(&r);
	r = run_on_terminal(asked_script, NULL, "n\n", WORDS("worker", "stop", "w"));
	assert_int_equal(r.exit, CLI_FAILED);
	says(r.err, "nothing was done");
	assert_string_equal(r.out, "");
	ran_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_usage), cmocka_unit_test(test_ls),   cmocka_unit_test(test_ls_as_json),
		cmocka_unit_test(test_quiet), cmocka_unit_test(test_stop),
	};

	cli_run_clean_environment();
	return cmocka_run_group_tests_name("cli workers", tests, NULL, NULL);
}
