/* The producers' API over HTTP, against the real broker: what a backend in any language does with an HTTP client. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>
#include <pthread.h>

#include "proto/base/clean.h"
#include "tests/harness/stack.h"

static struct stack stack;
static struct raincheck *rc;
static struct http_answer answer;
static json_t *body; /* of the answer, where it is JSON */
static char id[RAINCHECK_ID_SIZE];

static int setup(void **state)
{
	(void)state;
	memset(&stack, 0, sizeof(stack));
	tempdir_make(&stack.dir);
	stack_start_broker(&stack);
	rc = stack_connect(&stack);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	http_answer_done(&answer);
	json_decref(body);
	body = NULL;
	raincheck_close(rc, NULL, NULL);
	stack_stop(&stack);
	return 0;
}

static const char *url(const char *path)
{
	static _Thread_local char whole[1024];

	snprintf(whole, sizeof(whole), "%s%s", stack.http, path);
	return whole;
}

static void note_body(void)
{
	json_decref(body);
	body = json_loads(answer.body, 0, NULL);
}

static void request(const char *method, const char *path, const char *header)
{
	http_answer_done(&answer);
	http_request(method, url(path), header, &answer);
	note_body();
}

/* headers: as many as there are, up to the first NULL. */
static void put(const char *path, const char *payload, const char *const *headers)
{
	struct http_sent sent = { .url = url(path), .body = payload, .size = strlen(payload), .headers = headers };

	http_answer_done(&answer);
	http_send(&sent, &answer);
	note_body();
}

#define HEADERS(...) ((const char *const[]){ __VA_ARGS__, NULL })

static const char *text(const char *key)
{
	const char *value = json_string_value(json_object_get(body, key));

	return value ? value : "";
}

static json_int_t number(const char *key)
{
	const json_t *value = json_object_get(body, key);

	assert_true(json_is_integer(value));
	return json_integer_value(value);
}

static void expect(long status)
{
	if (answer.status != status)
		fail_msg("status %ld instead of %ld:\n%s%s", answer.status, status, answer.headers, answer.body);
}

static void expect_problem(long status, const char *code, const char *field)
{
	expect(status);
	assert_string_equal(http_header(&answer, "Content-Type"), "application/problem+json");
	assert_string_equal(text("code"), code);
	assert_string_equal(text("field"), field);
	assert_int_equal(number("status"), status);
	assert_true(strlen(text("title")) > 0 && strlen(text("detail")) > 0);
}

static void expect_state(const char *state)
{
	assert_string_equal(text("state"), state);
}

static void note_id(void)
{
	snprintf(id, sizeof(id), "%s", text("id"));
	assert_int_equal(strlen(id), 36);
}

static const char *job_path(const char *rest)
{
	static char path[256];

	snprintf(path, sizeof(path), "/v1/jobs/%s%s", id, rest);
	return path;
}

static void put_one(void)
{
	put("/v1/queues/q/jobs", "x", NULL);
	expect(202);
	note_id();
}

/* ---- a worker's side ---- */

static struct raincheck_lease_result *lease(const char *queue)
{
	const char *const queues[] = { queue };
	struct raincheck_lease params = { .queues = queues, .queue_count = 1, .wait_ms = 30000 };
	struct raincheck_lease_result *result;

	assert_int_equal(raincheck_lease(rc, &params, &result), 0);
	assert_int_equal(result->job_count, 1);
	return result;
}

static void complete(const struct raincheck_leased_job *job, const char *type, const char *data)
{
	struct raincheck_complete params = { .id = job->id, .lease = job->lease };
	struct raincheck_complete_result *result;

	params.result = (struct raincheck_media){ type, { data, data ? strlen(data) : 0 } };
	assert_int_equal(raincheck_complete(rc, &params, &result), 0);
	raincheck_free(result);
}

static void finish_one(const char *type, const char *data)
{
	struct raincheck_lease_result *leased = lease("q");

	complete(&leased->jobs[0], type, data);
	raincheck_free(leased);
}

static void fail_one(void)
{
	struct raincheck_lease_result *leased = lease("q");
	struct raincheck_fail params = { .id = leased->jobs[0].id,
					 .lease = leased->jobs[0].lease,
					 .kind = RAINCHECK_FAIL_REJECTED,
					 .message = "no" };
	struct raincheck_fail_result *result;

	assert_int_equal(raincheck_fail(rc, &params, &result), 0);
	raincheck_free(result);
	raincheck_free(leased);
}

/* ---- puts ---- */

static void a_put_answers_with_its_job(void **state)
{
	char location[128];

	(void)state;
	put("/v1/queues/films/jobs", "{\"name\": \"Ada\"}", HEADERS("Content-Type: application/json"));
	expect(202);
	expect_state("ready");
	assert_true(json_is_true(json_object_get(body, "created")));
	assert_int_equal(number("position"), 1);
	assert_int_equal(strncmp(text("link"), stack.http, strlen(stack.http)), 0);
	assert_true(atoi(http_header(&answer, "Retry-After")) > 0);
	note_id();
	snprintf(location, sizeof(location), "%s", http_header(&answer, "Location"));
	assert_string_equal(location, job_path(""));
	request(NULL, location, NULL);
	expect(200);
	assert_string_equal(text("id"), id);
	assert_string_equal(text("queue"), "films");
	assert_string_equal(text("content_type"), "application/json");
	assert_int_equal(number("payload_size"), 15);
	assert_true(json_is_null(json_object_get(body, "title")));
}

static void the_input_is_the_body_byte_for_byte(void **state)
{
	static const char bytes[] = "\0\r\n\xff+%41&x=1";
	struct http_sent sent = { .url = url("/v1/queues/q/jobs"), .body = bytes, .size = sizeof(bytes) - 1 };
	struct raincheck_lease_result *leased;
	static char large[1 << 20];

	(void)state;
	http_send(&sent, &answer);
	expect(202);
	leased = lease("q");
	assert_int_equal(leased->jobs[0].payload.size, sizeof(bytes) - 1);
	assert_memory_equal(leased->jobs[0].payload.data, bytes, sizeof(bytes) - 1);
	raincheck_free(leased);
	/* As much as is allowed, in chunks whose number nobody knows before. */
	memset(large, 'x', sizeof(large));
	sent = (struct http_sent){ .url = url("/v1/queues/q/jobs"),
				   .body = large,
				   .size = sizeof(large),
				   .headers = HEADERS("Transfer-Encoding: chunked") };
	http_answer_done(&answer);
	http_send(&sent, &answer);
	expect(202);
	leased = lease("q");
	assert_int_equal(leased->jobs[0].payload.size, sizeof(large));
	raincheck_free(leased);
}

static void expect_settings(void)
{
	json_t *metadata;

	expect(202);
	expect_state("scheduled");
	note_id();
	request(NULL, job_path(""), NULL);
	assert_int_equal(number("priority"), 2);
	assert_int_equal(number("max_attempts"), 3);
	assert_string_equal(text("group"), "vip");
	assert_string_equal(text("title"), "Gr\xc3\xbcn & mehr");
	assert_true(number("run_at_ms") >= number("created_at_ms") + 60000);
	metadata = json_object_get(body, "metadata");
	assert_string_equal(json_string_value(json_object_get(metadata, "order-no")), "17");
	assert_int_equal(json_object_size(metadata), 1);
}

static void settings_come_as_headers_or_in_the_query(void **state)
{
	(void)state;
	put("/v1/queues/q/jobs", "x",
	    HEADERS("Raincheck-Priority: 2", "raincheck-max-attempts: 3", "Raincheck-Group: vip",
		    "Raincheck-Title: Gr\xc3\xbcn & mehr", "Raincheck-Delay-Ms: 60000",
		    "Raincheck-Metadata-Order-No: 17", "Raincheck-Backoff-Base-Ms: 5"));
	expect_settings();
	put("/v1/queues/q/jobs?priority=2&max_attempts=3&group=vip&title=Gr%C3%bcn+%26+mehr&delay_ms=60000"
	    "&metadata.order-no=17&backoff.base_ms=5",
	    "x", NULL);
	expect_settings();
	/* Some here, some there. */
	put("/v1/queues/q/jobs?priority=2&max_attempts=3&group=vip&title=Gr%C3%BCn%20%26%20mehr", "x",
	    HEADERS("Raincheck-Delay-Ms: 60000", "Raincheck-Metadata-Order-No: 17"));
	expect_settings();
}

/* A query, a header or both, and what is said of it. */
static const struct {
	const char *query, *header, *field;
} refused[] = {
	{ "priority=10", NULL, "priority" },
	{ "", "Raincheck-Priority: ten", "priority" },
	{ "priority=1&priority=1", NULL, "priority" },
	{ "priority=1", "Raincheck-Priority: 1", "priority" },
	{ "priority", NULL, "priority" },
	{ "priorty=1", NULL, "priorty" },
	{ "", "Raincheck-Priorty: 1", "Raincheck-Priorty" },
	{ "", "Raincheck-Backoff-None: 1", "Raincheck-Backoff-None" },
	{ "", "Raincheck-: 1", "Raincheck-" },
	{ "title=%zz", NULL, "title" },
	{ "title=%f", NULL, "title" },
	{ "title=%ff", NULL, "title" },
	{ "%zz=1", NULL, "" },
	{ "%00=1", NULL, "" },
	{ "=1", NULL, "" },
	{ "backoff.factor=0.5", NULL, "backoff.factor" },
	{ "backoff=1", NULL, "backoff" },
	{ "metadata.a=1&metadata.a=2", NULL, "metadata" },
	{ "delay_ms=1&run_at_ms=1", NULL, "run_at_ms" },
	{ "callback_url=ftp://x", NULL, "callback_url" },
	{ "callback_url=http://x%20y", NULL, "callback_url" },
	{ "queue=other", NULL, "queue" },
	{ "payload=x", NULL, "payload" },
	{ "preview.content_type=image/png&preview.data=x", NULL, "preview.content_type" },
	{ "", "Raincheck-Preview-Data: x", "Raincheck-Preview-Data" },
	{ "content_type=x", NULL, "content_type" },
	{ "idempotency_key=x", NULL, "idempotency_key" },
	{ "", "Raincheck-Queue: other", "Raincheck-Queue" },
	{ "", "Idempotency-Key:;", "idempotency_key" }, /* curl: with nothing in it */
};

static void a_setting_that_cannot_be_is_named(void **state)
{
	char path[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		char header[128] = "";

		snprintf(header, sizeof(header), "%s", refused[i].header ? refused[i].header : "X: y");
		if (strchr(header, ';'))
			snprintf(header, sizeof(header), "Idempotency-Key;");
		snprintf(path, sizeof(path), "/v1/queues/q/jobs?%s", refused[i].query);
		put(path, "x", HEADERS(header));
		if (answer.status != 400 || strcmp(text("field"), refused[i].field) != 0)
			fail_msg("%s %s: %ld %s", refused[i].query, header, answer.status, answer.body);
	}
	put("/v1/queues/_own/jobs", "x", NULL);
	expect_problem(400, "bad_request", "queue");
	put("/v1/queues/a%20b/jobs", "x", NULL);
	expect_problem(400, "bad_request", "queue");
	put("/v1/queues/q/jobs", "x", HEADERS("Content-Encoding: gzip"));
	expect_problem(415, "bad_request", "Content-Encoding");
	request(NULL, "/v1/queues", NULL);
	assert_int_equal(json_array_size(json_object_get(body, "queues")), 0);
}

static void a_key_makes_puts_one(void **state)
{
	char first[RAINCHECK_ID_SIZE];

	(void)state;
	put("/v1/queues/q/jobs", "x", HEADERS("Idempotency-Key: order-17"));
	expect(202);
	note_id();
	memcpy(first, id, sizeof(id));
	/* As the draft of the header has it, a string; and again bare. */
	put("/v1/queues/q/jobs", "x", HEADERS("Idempotency-Key: \"order-17\""));
	expect(202);
	assert_string_equal(text("id"), first);
	assert_true(json_is_false(json_object_get(body, "created")));
	put("/v1/queues/q/jobs", "another", HEADERS("Idempotency-Key: order-17"));
	expect_problem(422, "conflict", "idempotency_key");
	put("/v1/queues/q/jobs", "x", HEADERS("Idempotency-Key: a", "Idempotency-Key: b"));
	expect_problem(400, "bad_request", "idempotency_key");
	finish_one("text/plain", "done");
	put("/v1/queues/q/jobs", "x", HEADERS("Idempotency-Key: order-17"));
	expect(200);
	assert_string_equal(text("id"), first);
	expect_state("succeeded");
	request(NULL, "/v1/queues/q", NULL);
	assert_int_equal(number("put_total"), 1);
}

static void what_is_full_says_when_to_come_back(void **state)
{
	struct raincheck_queue_set set = { .queue = "q", .has_max_jobs = true, .max_jobs = 1 };
	struct raincheck_queue *queue;

	(void)state;
	assert_int_equal(raincheck_queue_set(rc, &set, &queue), 0);
	raincheck_free(queue);
	put_one();
	put("/v1/queues/q/jobs", "x", NULL);
	expect_problem(429, "queue_full", "queue");
	assert_true(atoi(http_header(&answer, "Retry-After")) > 0);
	assert_true(number("retry_after_ms") > 0);
}

static void a_payload_that_is_too_large_is_refused(void **state)
{
	static char large[(1 << 20) + 1];
	static char huge[4 << 20];
	struct http_sent sent = { .url = url("/v1/queues/q/jobs"), .body = large, .size = sizeof(large) };

	(void)state;
	memset(large, 'x', sizeof(large));
	/* Told before it is sent, after it was sent, and where nobody knew before. */
	for (int i = 0; i < 3; i++) {
		sent.headers = i == 0	? HEADERS("Expect: 100-continue")
			       : i == 1 ? HEADERS("Expect:")
					: HEADERS("Expect:", "Transfer-Encoding: chunked");
		http_answer_done(&answer);
		http_send(&sent, &answer);
		note_body();
		expect_problem(413, "too_large", "payload");
	}
	sent = (struct http_sent){ .url = url("/v1/queues/q/jobs"),
				   .body = huge,
				   .size = sizeof(huge),
				   .headers = HEADERS("Expect: 100-continue") };
	http_answer_done(&answer);
	http_send(&sent, &answer);
	expect(413);
	request(NULL, "/v1/queues", NULL);
	assert_int_equal(json_array_size(json_object_get(body, "queues")), 0);
}

/* ---- waiting ---- */

/* The test's own thread only speaks HTTP meanwhile. */
static void *finish_thread(void *user)
{
	(void)user;
	finish_one("text/plain", "done");
	return NULL;
}

static void a_put_waits_for_its_end(void **state)
{
	pthread_t worker;

	(void)state;
	assert_int_equal(pthread_create(&worker, NULL, finish_thread, NULL), 0);
	put("/v1/queues/q/jobs", "x", HEADERS("Prefer: respond-async, wait=60"));
	pthread_join(worker, NULL);
	expect(200);
	expect_state("succeeded");
	assert_string_equal(http_header(&answer, "Preference-Applied"), "wait=60");
	assert_int_equal(strncmp(http_header(&answer, "Location"), "/v1/jobs/", 9), 0);
	note_id();
	request(NULL, job_path("/result"), NULL);
	expect(200);
	assert_string_equal(answer.body, "done");
}

static void a_wait_ends_when_its_time_is_over(void **state)
{
	(void)state;
	put("/v1/queues/q/jobs", "x", HEADERS("Prefer: wait=1"));
	expect(202);
	expect_state("ready");
	assert_true(atoi(http_header(&answer, "Retry-After")) > 0);
	note_id();
	request(NULL, job_path(""), "Prefer: wait=1");
	expect(200);
	expect_state("ready");
	request(NULL, job_path(""), "Prefer: wait=0");
	expect(200);
	assert_string_equal(http_header(&answer, "Preference-Applied"), "");
	request("DELETE", job_path(""), NULL);
	request(NULL, job_path(""), "Prefer: wait=60; x=y");
	expect(200);
	expect_state("canceled");
	assert_string_equal(http_header(&answer, "Preference-Applied"), "wait=60");
}

static void *stop_thread(void *user)
{
	(void)user;
	/* It is there when it waits, and no earlier. */
	stack_wait_for_metric(&stack, "raincheck_http_suspended_requests{for=\"job\"} 1");
	kill(stack.broker.pid, SIGTERM);
	return NULL;
}

static void who_waits_is_answered_when_the_broker_stops(void **state)
{
	pthread_t stopper;

	(void)state;
	assert_int_equal(pthread_create(&stopper, NULL, stop_thread, NULL), 0);
	put("/v1/queues/q/jobs", "x", HEADERS("Prefer: wait=60"));
	pthread_join(stopper, NULL);
	expect(202);
	expect_state("ready");
	assert_int_equal(process_finish(&stack.broker, NULL, 0), 0);
}

/* ---- what becomes of a job ---- */

static void a_job_is_canceled_once(void **state)
{
	(void)state;
	put_one();
	for (int i = 0; i < 2; i++) {
		request("DELETE", job_path(""), NULL);
		expect(202);
		expect_state("canceled");
	}
	put_one();
	finish_one("text/plain", "x");
	request("DELETE", job_path(""), NULL);
	expect_problem(409, "invalid_state", "");
}

static void a_dead_job_is_retried(void **state)
{
	(void)state;
	put_one();
	request("POST", job_path("/retry"), NULL);
	expect_problem(409, "invalid_state", "");
	fail_one();
	request(NULL, job_path(""), NULL);
	expect_state("dead");
	request("POST", job_path("/retry"), NULL);
	expect(202);
	expect_state("ready");
}

static void results_are_bytes_with_ranges_and_conditions(void **state)
{
	char tag[128], header[160];

	(void)state;
	put_one();
	request(NULL, job_path("/result"), NULL);
	expect_problem(404, "not_found", "");
	finish_one("application/json", "{\"answer\": 42}");
	request(NULL, job_path("/result"), NULL);
	expect(200);
	assert_string_equal(answer.body, "{\"answer\": 42}");
	assert_string_equal(http_header(&answer, "Content-Type"), "application/json");
	assert_string_equal(http_header(&answer, "Accept-Ranges"), "bytes");
	assert_non_null(strstr(http_header(&answer, "Content-Disposition"), "attachment"));
	assert_non_null(strstr(http_header(&answer, "Content-Security-Policy"), "sandbox"));
	snprintf(tag, sizeof(tag), "%s", http_header(&answer, "ETag"));
	request("HEAD", job_path("/result"), NULL);
	expect(200);
	assert_string_equal(http_header(&answer, "Content-Length"), "14");
	assert_int_equal(answer.size, 0);
	request(NULL, job_path("/result"), "Range: bytes=2-7");
	expect(206);
	assert_string_equal(answer.body, "answer");
	request(NULL, job_path("/artifacts/result"), "Range: bytes=-3");
	expect(206);
	assert_string_equal(answer.body, "42}");
	request(NULL, job_path("/result"), "Range: bytes=14-");
	expect(416);
	snprintf(header, sizeof(header), "If-None-Match: %s", tag);
	request(NULL, job_path("/result"), header);
	expect(304);
	request(NULL, job_path("/result"), "If-Match: \"other\"");
	expect(412);
	request(NULL, job_path("/artifacts/other"), NULL);
	expect_problem(404, "not_found", "");
}

static void what_is_erased_is_gone(void **state)
{
	struct raincheck_change_result *erased;

	(void)state;
	put_one();
	finish_one("text/plain", "x");
	assert_int_equal(raincheck_erase(rc, id, &erased), 0);
	raincheck_free(erased);
	request(NULL, job_path(""), NULL);
	expect_problem(410, "gone", "");
	request(NULL, job_path("/result"), NULL);
	expect_problem(410, "gone", "");
	request("DELETE", job_path(""), NULL);
	expect_problem(410, "gone", "");
}

/* Its record stays for longer. */
static void a_result_whose_time_is_over_is_gone(void **state)
{
	(void)state;
	put("/v1/queues/q/jobs?result_ttl_ms=1", "x", NULL);
	expect(202);
	note_id();
	finish_one("text/plain", "x");
	do
		request(NULL, job_path("/result"), NULL);
	while (answer.status == 200);
	expect_problem(410, "gone", "");
	request(NULL, job_path(""), NULL);
	expect(200);
	expect_state("succeeded");
}

static void queues_are_told(void **state)
{
	(void)state;
	request(NULL, "/v1/queues/q", NULL);
	expect_problem(404, "not_found", "");
	put_one();
	request(NULL, "/v1/queues/%71", NULL);
	expect(200);
	assert_string_equal(text("queue"), "q");
	assert_int_equal(json_integer_value(json_object_get(json_object_get(body, "counts"), "ready")), 1);
	request(NULL, "/v1/queues", NULL);
	expect(200);
	assert_int_equal(json_array_size(json_object_get(body, "queues")), 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_put_answers_with_its_job),
		TEST(the_input_is_the_body_byte_for_byte),
		TEST(settings_come_as_headers_or_in_the_query),
		TEST(a_setting_that_cannot_be_is_named),
		TEST(a_key_makes_puts_one),
		TEST(what_is_full_says_when_to_come_back),
		TEST(a_payload_that_is_too_large_is_refused),
		TEST(a_put_waits_for_its_end),
		TEST(a_wait_ends_when_its_time_is_over),
		TEST(who_waits_is_answered_when_the_broker_stops),
		TEST(a_job_is_canceled_once),
		TEST(a_dead_job_is_retried),
		TEST(results_are_bytes_with_ranges_and_conditions),
		TEST(what_is_erased_is_gone),
		TEST(a_result_whose_time_is_over_is_gone),
		TEST(queues_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
