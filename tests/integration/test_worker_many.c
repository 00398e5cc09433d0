/* Many calls at once in one worker: the connections they share, and a broker that goes away under them all. The API
 * holds every call until it is told to go on.
 */
#include <jansson.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/harness/stack.h"

#define SLOTS 300
#define SHARD 100 /* transfers of one multi handle: worker/transport/curl_shard.h */

static struct stack stack;
static struct raincheck *rc;
static int64_t asked; /* connections of our own */

static int setup(void **state)
{
	(void)state;
	memset(&stack, 0, sizeof(stack));
	asked = 0;
	tempdir_make(&stack.dir);
	stack_start_broker(&stack);
	rc = stack_connect(&stack);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	raincheck_close(rc, NULL, NULL);
	process_end(&stack.api, SIGTERM);
	stack_stop(&stack);
	return 0;
}

static void start_api(const char *how)
{
	char program[512];
	const char *argv[] = { program, how, NULL };

	snprintf(program, sizeof(program), "%s", process_program("slow-api"));
	process_start(&stack.api, argv);
	assert_true(process_wait_line(&stack.api, "ready "));
	snprintf(stack.api_url, sizeof(stack.api_url), "http://");
	process_line_word(&stack.api, "http=", stack.api_url + strlen("http://"),
			  sizeof(stack.api_url) - strlen("http://"));
}

static void start_worker(void)
{
	FILE *f;

	snprintf(stack.worker_config, sizeof(stack.worker_config), "%s", tempdir_file(&stack.dir, "worker.yaml"));
	f = fopen(stack.worker_config, "w");
	assert_non_null(f);
	fprintf(f,
		"server: %s\nslots: %d\nlease: 10m\nqueues: { a: api, b: api }\nupstreams:\n  api:\n    base_url: %s\n"
		"    mode: sync\n    allow_private: true\n"
		"    submit: { path: /render, idempotency: \"header:Idempotency-Key\" }\n"
		"    result: { from: body, types: [video/mp4] }\n",
		stack.server, SLOTS, stack.api_url);
	fclose(f);
	stack_start_worker(&stack);
}

static void put(const char *queue, size_t count)
{
	struct raincheck_put *puts = calloc(count, sizeof(*puts));

	assert_non_null(puts);
	for (size_t i = 0; i < count; i++)
		puts[i] = (struct raincheck_put){ .queue = queue, .payload = { "{}", 2 } };
	if (raincheck_put_many(rc, puts, count, NULL) < 0)
		fail_msg("%s", raincheck_last_error(rc)->message);
	free(puts);
}

static int64_t counted(const char *what)
{
	struct http_answer answer;
	char url[256];
	json_t *books;
	int64_t n;

	snprintf(url, sizeof(url), "%s/stats", stack.api_url);
	http_request(NULL, url, NULL, &answer);
	asked++;
	books = json_loadb(answer.body, answer.size, 0, NULL);
	n = json_integer_value(json_object_get(books, what));
	json_decref(books);
	http_answer_done(&answer);
	return n;
}

static void await_count(const char *what, int64_t n)
{
	while (counted(what) < n)
		;
}

static void let_go(void)
{
	struct http_answer answer;
	char url[256];

	snprintf(url, sizeof(url), "%s/release", stack.api_url);
	http_request("POST", url, NULL, &answer);
	asked++;
	http_answer_done(&answer);
}

struct tally {
	int64_t waiting, running, succeeded;
};

static struct tally tally(const char *queue)
{
	struct raincheck_queue *q;
	struct tally t;

	if (raincheck_queue_get(rc, queue, &q) < 0)
		fail_msg("%s", raincheck_last_error(rc)->message);
	t = (struct tally){ q->counts.ready, q->counts.running, q->counts.succeeded };
	raincheck_free(q);
	return t;
}

static void await_successes(const char *queue, int64_t n)
{
	while (tally(queue).succeeded < n)
		;
}

/* Each connection serves one call after the other, however many there are: no transfer opens one while its shard has
 * one to spare, and no transfer's end closes one. */
static void connections_are_used_again(void **state)
{
	(void)state;
	start_api("hold");
	put("a", SLOTS);
	start_worker();
	await_count("in_flight", SLOTS);
	put("a", 900);
	let_go();
	await_successes("a", SLOTS + 900);
	assert_int_equal(counted("answered"), SLOTS + 900);
	assert_int_equal(counted("most"), SLOTS);
	/* As many as there is room for in the shards that so many need; not one a call. */
	assert_in_range(counted("connections") - asked, SLOTS, (SLOTS + SHARD - 1) / SHARD * SHARD);
}

/* A queue with very many jobs leaves the other its turns. */
static void queues_take_turns(void **state)
{
	struct tally a, b;

	(void)state;
	start_api("hold");
	put("a", 1000);
	put("b", SLOTS);
	start_worker();
	await_count("in_flight", SLOTS);
	a = tally("a");
	b = tally("b");
	assert_int_equal(a.running + b.running, SLOTS);
	assert_in_range(b.running, SLOTS / 3, SLOTS * 2 / 3);
	let_go();
	await_successes("a", 1000);
	await_successes("b", SLOTS);
}

/* The calls go on and end, what they brought is kept, and nothing is called twice. */
static void a_broker_that_goes_away_disturbs_no_call(void **state)
{
	(void)state;
	start_api("hold");
	put("a", SLOTS + 50);
	start_worker();
	await_count("in_flight", SLOTS);
	process_end(&stack.broker, SIGKILL);
	let_go();
	await_count("answered", SLOTS);
	stack_start_broker(&stack);
	await_successes("a", SLOTS + 50);
	assert_int_equal(counted("answered"), SLOTS + 50);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(connections_are_used_again),
		T(queues_take_turns),
		T(a_broker_that_goes_away_disturbs_no_call),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
