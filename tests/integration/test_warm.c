/* Connections are open before a scheduled crowd begins: what the stand-in API counts before, and that the calls open
 * none besides. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <poll.h>

#include <cmocka.h>

#include "proto/base/clock.h"
#include "tests/harness/raw_server.h"
#include "tests/harness/stack.h"

#define PATIENCE_MS 60000
#define CROWD	    6
#define NOBODY	    "    base_url: http://127.0.0.1:1\n"

static struct stack stack;
static struct raincheck *rc;

static int setup(void **state)
{
	(void)state;
	memset(&stack, 0, sizeof(stack));
	tempdir_make(&stack.dir);
	stack_start_api(&stack, NULL);
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

/* The queue "crowd" goes to the API, "dead" to where nobody answers it: lines of its upstream. */
static void start_worker_beside(const char *dead, const char *warm, const char *queues)
{
	static const char shape[] =
		"    mode: sync\n"
		"    allow_private: true\n"
		"    submit: { method: POST, path: /sync/render, idempotency: header:Idempotency-Key }\n"
		"    result: { from: body, types: [video/mp4] }\n";
	char program[512];
	const char *argv[] = { program, "--config", stack.worker_config, NULL };
	FILE *f;

	snprintf(stack.worker_config, sizeof(stack.worker_config), "%s", tempdir_file(&stack.dir, "warm.yaml"));
	f = fopen(stack.worker_config, "w");
	assert_non_null(f);
	/* Its calls hang, and are given back at once when it is told to end. */
	fprintf(f, "server: %s\nslots: 20\ngrace: 0s\nqueues: { %s }\nupstreams:\n", stack.server, queues);
	fprintf(f, "  api:\n    base_url: %s\n%s    %s\n", stack.api_url, shape, warm);
	fprintf(f, "  dead:\n%s%s    %s\n", dead, shape, warm);
	fclose(f);
	snprintf(program, sizeof(program), "%s", process_program("raincheck-worker"));
	process_start_heard(&stack.worker, argv);
}

static void start_worker(const char *warm, const char *queues)
{
	start_worker_beside(NOBODY, warm, queues);
}

/* One call at once, so many in twenty seconds; from now on where soon is not set. */
static void set_limit(int64_t concurrency, bool soon)
{
	int64_t now_ms = clock_wall_ms();
	struct raincheck_limit_spell spell = { .from_at_ms = now_ms + 20000,
					       .until_at_ms = now_ms + 3600000,
					       .concurrency = concurrency };
	struct raincheck_limit_set set = { .limit = "api", .concurrency = 1, .schedule = &spell, .schedule_count = 1 };
	struct raincheck_limit *limit;

	if (!soon)
		set = (struct raincheck_limit_set){ .limit = "api", .concurrency = concurrency };
	if (raincheck_limit_set(rc, &set, &limit) < 0)
		fail_msg("%s", raincheck_last_error(rc)->message);
	raincheck_free(limit);
}

static void use_limit(const char *queue)
{
	struct raincheck_queue_set set = { .queue = queue, .limit = "api" };
	struct raincheck_queue *q;

	assert_int_equal(raincheck_queue_set(rc, &set, &q), 0);
	raincheck_free(q);
}

static long counted(const char *what)
{
	struct http_answer answer;
	char url[256], key[64];
	const char *at;
	long n;

	snprintf(url, sizeof(url), "%s/stats?names=0", stack.api_url);
	http_request(NULL, url, NULL, &answer);
	snprintf(key, sizeof(key), "\"%s\":", what);
	at = strstr(answer.body, key);
	assert_non_null(at);
	n = strtol(at + strlen(key), NULL, 10);
	http_answer_done(&answer);
	return n;
}

static void await_count(const char *what, long wanted)
{
	stack_wait_for_api(&stack, NULL, what, wanted);
	assert_int_equal(counted(what), wanted);
}

static void put(const char *queue, const char *name, const char *behave)
{
	struct raincheck_put params = { .queue = queue, .content_type = "application/json", .max_attempts = 1 };
	struct raincheck_put_result *result;
	char payload[256];

	snprintf(payload, sizeof(payload), "{\"name\": \"%s\", \"behave\": {%s}}", name, behave);
	params.payload = (struct raincheck_bytes){ payload, strlen(payload) };
	assert_int_equal(raincheck_put(rc, &params, &result), 0);
	raincheck_free(result);
}

/* So many calls at once, none of which is ever answered. */
static void call_at_once(int count)
{
	set_limit(count, false);
	for (int i = 0; i < count; i++)
		put("crowd", "x", "\"hang\": true");
	await_count("submits", count);
}

static void await_worker(void)
{
	int64_t until = clock_mono_ms() + PATIENCE_MS;
	struct raincheck_worker_list *list;
	size_t count;

	do {
		assert_true(clock_mono_ms() < until);
		assert_int_equal(raincheck_worker_list(rc, &list), 0);
		count = list->worker_count;
		raincheck_free(list);
	} while (count == 0);
}

static void a_crowd_finds_its_connections_open(void **state)
{
	(void)state;
	set_limit(1, false);
	use_limit("crowd");
	start_worker("warm: { ahead: 30s }", "crowd: api");
	await_worker();
	set_limit(CROWD, true);
	await_count("connections", CROWD);
	assert_int_equal(counted("submits"), 0);
	assert_true(process_wait_words(&stack.worker, "6 connections to api opened ahead, as limit api is"));
	call_at_once(CROWD);
	assert_int_equal(counted("connections"), CROWD);
}

static void who_comes_late_opens_them_too(void **state)
{
	(void)state;
	set_limit(CROWD, true);
	use_limit("crowd");
	start_worker("warm: { method: OPTIONS, path: /nowhere, ahead: 30s }", "crowd: api");
	await_count("connections", CROWD);
	call_at_once(CROWD);
	assert_int_equal(counted("connections"), CROWD);
}

/* Six of the limit's queues' calls, of which each upstream gets a half; one of them is not there. */
static void where_nobody_listens_is_no_harm(void **state)
{
	(void)state;
	set_limit(CROWD, true);
	use_limit("crowd");
	use_limit("dead");
	start_worker("warm: { ahead: 30s }", "crowd: api, dead: dead");
	assert_true(process_wait_words(&stack.worker, "connections to dead cannot be opened ahead: "));
	await_count("connections", CROWD / 2);
	call_at_once(CROWD / 2);
	assert_int_equal(counted("connections"), CROWD / 2);
}

/* Another header now and then, and never the last. */
static void trickle(const struct raw_request *r)
{
	struct pollfd peer = { .fd = r->fd, .events = POLLIN };

	raw_send(r->fd, "HTTP/1.1 200 OK\r\n");
	do
		raw_send(r->fd, "X-More: yes\r\n");
	while (poll(&peer, 1, 20) == 0);
}

static void an_answer_that_trickles_is_not_waited_for(void **state)
{
	struct raw_server *server = raw_server_start(trickle, NULL, RAW_HEAD);
	char upstream[160];

	(void)state;
	snprintf(upstream, sizeof(upstream),
		 "    base_url: http://127.0.0.1:%u\n    timeouts: { connect: 500ms, stall: 500ms }\n",
		 raw_server_port(server));
	set_limit(CROWD, true);
	use_limit("dead");
	start_worker_beside(upstream, "warm: { ahead: 30s }", "dead: dead");
	assert_true(process_wait_words(&stack.worker, "connections to dead cannot be opened ahead: "));
	raw_server_stop(server);
}

/* What was told once is not done again, after the broker came back; but what is more, is. */
static void a_broker_that_comes_back_says_nothing_new(void **state)
{
	(void)state;
	set_limit(CROWD, true);
	use_limit("crowd");
	start_worker("warm: { ahead: 30s }", "crowd: api");
	await_count("connections", CROWD);
	raincheck_close(rc, NULL, NULL);
	process_stop(&stack.broker);
	stack_start_broker(&stack);
	rc = stack_connect(&stack);
	await_worker();
	call_at_once(CROWD);
	assert_int_equal(counted("connections"), CROWD);
}

/* Then each call opens its own, when it begins: what the others are compared with. */
static void without_it_each_call_opens_its_own(void **state)
{
	(void)state;
	set_limit(CROWD, true);
	use_limit("crowd");
	start_worker("warm: none", "crowd: api");
	await_worker();
	assert_int_equal(counted("connections"), 0);
	call_at_once(CROWD);
	assert_int_equal(counted("connections"), CROWD);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_crowd_finds_its_connections_open), T(who_comes_late_opens_them_too),
		T(where_nobody_listens_is_no_harm),    T(a_broker_that_comes_back_says_nothing_new),
		T(without_it_each_call_opens_its_own), T(an_answer_that_trickles_is_not_waited_for),
	};

	return cmocka_run_group_tests_name("warm", tests, NULL, NULL);
}
