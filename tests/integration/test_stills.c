/* Stills that come with a put over HTTP: there from the moment that the link is, on the disk with the job, and nothing
 * left of them where there is no job. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "proto/base/buf.h"
#include "proto/base/clean.h"
#include "tests/harness/stack.h"

#define PNG	 "\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
#define LARGE	 (100 << 10) /* more than what the store keeps in the map */
#define BOUNDARY "----boundary"

static struct stack stack;
static struct http_answer answer;
static json_t *body; /* of the answer, where it is JSON */
static char link_url[256], id[64];
static struct buf form;
static uint8_t large[LARGE];

static int setup(void **state)
{
	(void)state;
	memset(&stack, 0, sizeof(stack));
	tempdir_make(&stack.dir);
	stack_start_broker(&stack);
	buf_init(&form, 8 << 20);
	for (size_t i = 0; i < sizeof(large); i++)
		large[i] = (uint8_t)(i * 31 + (i >> 8));
	memcpy(large, PNG, sizeof(PNG) - 1);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	http_answer_done(&answer);
	json_decref(body);
	body = NULL;
	buf_done(&form);
	stack_stop(&stack);
	return 0;
}

/* ---- requests ---- */

/* type NULL: the part says none. */
static void add_part(const char *name, const char *type, const void *data, size_t size)
{
	buf_printf(&form, "--" BOUNDARY "\r\nContent-Disposition: form-data; name=\"%s\"\r\n", name);
	if (type)
		buf_printf(&form, "Content-Type: %s\r\n", type);
	buf_append_str(&form, "\r\n");
	buf_append(&form, data, size);
	buf_append_str(&form, "\r\n");
}

static void add_text(const char *name, const char *text)
{
	add_part(name, NULL, text, strlen(text));
}

static void note_answer(void)
{
	json_decref(body);
	body = json_loads(answer.body, 0, NULL);
}

static void get(const char *url)
{
	http_answer_done(&answer);
	http_request(NULL, url, NULL, &answer);
	note_answer();
}

static const char *text(const char *key)
{
	const char *value = json_string_value(json_object_get(body, key));

	return value ? value : "";
}

/* Sends the parts that were added. header may be NULL. */
static void put_form(const char *path, const char *header)
{
	const char *const headers[] = { "Content-Type: multipart/form-data; boundary=" BOUNDARY, header, NULL };
	char url[256];
	struct http_sent sent = { .url = url, .headers = headers };

	snprintf(url, sizeof(url), "%s%s", stack.http, path);
	buf_append_str(&form, "--" BOUNDARY "--\r\n");
	assert_int_equal(buf_error(&form), 0);
	sent.body = form.data;
	sent.size = form.size;
	http_answer_done(&answer);
	http_send(&sent, &answer);
	buf_reset(&form);
	note_answer();
	snprintf(link_url, sizeof(link_url), "%s", text("link"));
	snprintf(id, sizeof(id), "%s", text("id"));
}

static void expect(long status)
{
	if (answer.status != status)
		fail_msg("status %ld instead of %ld:\n%s%s", answer.status, status, answer.headers, answer.body);
}

static void expect_problem(long status, const char *code, const char *field)
{
	expect(status);
	assert_string_equal(text("code"), code);
	assert_string_equal(text("field"), field);
}

static const char *below_link(const char *rest)
{
	static char whole[300];

	snprintf(whole, sizeof(whole), "%s%s", link_url, rest);
	return whole;
}

static void expect_still(const void *data, size_t size, const char *type)
{
	get(below_link("/preview"));
	expect(200);
	assert_string_equal(http_header(&answer, "Content-Type"), type);
	assert_int_equal(answer.size, size);
	assert_memory_equal(answer.body, data, size);
}

/* Files of stills in the broker's directory. */
static int files(void)
{
	char folder[512], marks[64];

	snprintf(folder, sizeof(folder), "%s", tempdir_file(&stack.dir, "data/blobs"));
	assert_int_equal(
		process_run((const char *const[]){ "/usr/bin/find", folder, "-type", "f", "-printf", "x", NULL }, marks,
			    sizeof(marks)),
		0);
	return (int)strlen(marks);
}

/* ---- what is told ---- */

static void a_still_is_on_the_page_from_the_first_answer(void **state)
{
	char image[400];

	(void)state;
	add_part("payload", "application/json", "{\"name\": \"Ada\"}", 15);
	add_part("preview", "image/png", large, sizeof(large));
	add_text("title", "Gr\xc3\xbc\xc3\x9f"
			  "e an Ada");
	add_text("metadata.order", "17");
	add_text("priority", "3");
	put_form("/v1/queues/q/jobs?group=vip", "Raincheck-Max-Attempts: 2");
	expect(202);
	assert_int_equal(files(), 1);
	get(link_url);
	expect(200);
	assert_non_null(strstr(answer.body, "Gr\xc3\xbc\xc3\x9f"
					    "e an Ada"));
	snprintf(image, sizeof(image), "property=\"og:image\" content=\"%s/preview?v=", link_url);
	if (!strstr(answer.body, image))
		fail_msg("there is no %s in\n%s", image, answer.body);
	expect_still(large, sizeof(large), "image/png");
}

/* In a file, and in the map. */
static void a_page_has_the_shape_of_its_still(void **state)
{
	static const size_t sizes[] = { LARGE, 24 };

	(void)state;
	memcpy(large + sizeof(PNG) - 1, "\0\0\2\xd0\0\0\5", 8);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		add_text("payload", "x");
		add_part("preview", "image/png", large, sizes[i]);
		put_form("/v1/queues/q/jobs", NULL);
		expect(202);
		get(link_url);
		assert_non_null(strstr(answer.body, "data-aspect=\"720/1280\""));
	}
	assert_int_equal(files(), 1);
}

/* Of a put over RPC, or of a worker, nobody has looked at it before. */
static void a_still_that_is_none_is_not_shown(void **state)
{
	const struct raincheck_put params = { .queue = "q",
					      .payload = { "x", 1 },
					      .preview = { .content_type = "image/png", .data = { "<svg/>", 6 } } };
	struct raincheck_put_result *result;
	struct raincheck *rc = stack_connect(&stack);

	(void)state;
	assert_int_equal(raincheck_put(rc, &params, &result), 0);
	get(result->link);
	expect(200);
	assert_null(strstr(answer.body, "<img"));
	assert_null(strstr(answer.body, "og:image"));
	raincheck_free(result);
	raincheck_close(rc, NULL, NULL);
}

static void the_parts_say_what_headers_and_the_query_could(void **state)
{
	char url[256];

	(void)state;
	add_part("payload", "application/json; charset=utf-8", "{}", 2);
	add_text("priority", "2");
	add_text("backoff.base_ms", "5");
	add_text("metadata.order-no", "17");
	put_form("/v1/queues/q/jobs?group=vip", "Raincheck-Max-Attempts: 3");
	expect(202);
	snprintf(url, sizeof(url), "%s/v1/jobs/%s", stack.http, id);
	get(url);
	assert_int_equal(json_integer_value(json_object_get(body, "priority")), 2);
	assert_int_equal(json_integer_value(json_object_get(body, "max_attempts")), 3);
	assert_string_equal(text("group"), "vip");
	assert_string_equal(json_string_value(json_object_get(json_object_get(body, "metadata"), "order-no")), "17");
}

static void the_payload_is_its_part_byte_for_byte(void **state)
{
	static const char *const queues[] = { "q" };
	const struct raincheck_lease lease = { .queues = queues, .queue_count = 1 };
	struct raincheck_lease_result *leased;
	struct raincheck *rc;

	(void)state;
	add_part("payload", "text/x-own", "a\0\r\n--b", 8);
	add_part("preview", "image/png", PNG, sizeof(PNG) - 1);
	put_form("/v1/queues/q/jobs", NULL);
	expect(202);
	rc = stack_connect(&stack);
	assert_int_equal(raincheck_lease(rc, &lease, &leased), 0);
	assert_int_equal(leased->job_count, 1);
	assert_int_equal(leased->jobs[0].payload.size, 8);
	assert_memory_equal(leased->jobs[0].payload.data, "a\0\r\n--b", 8);
	assert_string_equal(leased->jobs[0].content_type, "text/x-own");
	raincheck_free(leased);
	raincheck_close(rc, NULL, NULL);
}

static void a_still_without_a_type_is_known_by_its_bytes(void **state)
{
	static const struct {
		const char *type;
		const char *bytes;
		size_t size;
		const char *known;
	} stills[] = {
		{ NULL, PNG, sizeof(PNG) - 1, "image/png" },
		{ "application/octet-stream", "\xff\xd8\xff\xe0\0\x10JFIF", 10, "image/jpeg" },
		{ NULL, "RIFF\0\0\0\0WEBPVP8 ", 16, "image/webp" },
		{ "IMAGE/GIF; x=y", "GIF89a\1\0\1\0", 10, "image/gif" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(stills); i++) {
		add_text("payload", "x");
		add_part("preview", stills[i].type, stills[i].bytes, stills[i].size);
		put_form("/v1/queues/q/jobs", NULL);
		expect(202);
		expect_still(stills[i].bytes, stills[i].size, stills[i].known);
	}
}

/* ---- what is refused ---- */

static const struct {
	const char *name, *type, *data, *field;
} refused[] = {
	{ "preview", "image/png", "<html>", "preview" },
	{ "preview", "image/svg+xml", "<svg xmlns=\"http://www.w3.org/2000/svg\"/>", "preview" },
	{ "preview", "text/html", "<html>", "preview" },
	{ "preview", NULL, "<html>", "preview" },
	{ "preview", "video/webm", "\x1a\x45\xdf\xa3", "preview" },
	{ "preview", NULL, "", "preview" },
	{ "preview", "image/jpeg", "\x89PNG\r\n\x1a\n", "preview" },
	{ "payload", NULL, "again", "payload" },
	{ "priority", NULL, "10", "priority" },
	{ "title", NULL, "\xff", "title" },
	{ "file", "image/png", "x", "file" },
	{ "queue", NULL, "other", "queue" },
	{ "content_type", NULL, "x/y", "content_type" },
	{ "preview.data", NULL, "x", "preview.data" },
	{ "idempotency_key", NULL, "k", "idempotency_key" },
	{ "delay_ms", NULL, "1", "run_at_ms" },
};

static void a_part_that_cannot_be_is_named(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		add_text("payload", "x");
		add_part(refused[i].name, refused[i].type, refused[i].data, strlen(refused[i].data));
		put_form("/v1/queues/q/jobs?run_at_ms=1", NULL);
		expect_problem(400, "bad_request", refused[i].field);
	}
	add_part("preview", "image/png", PNG, sizeof(PNG) - 1);
	put_form("/v1/queues/q/jobs", NULL);
	expect_problem(400, "bad_request", "payload");
	put_form("/v1/queues/q/jobs", NULL);
	expect_problem(400, "bad_request", "payload");
	add_text("payload", "x");
	for (int i = 0; i < 2; i++)
		add_part("preview", "image/png", PNG, sizeof(PNG) - 1);
	put_form("/v1/queues/q/jobs", NULL);
	expect_problem(400, "bad_request", "preview");
	add_text("payload", "x");
	put_form("/v1/queues/q/jobs", "Content-Type: text/plain");
	expect_problem(400, "bad_request", "Content-Type");
	add_text("payload", "x");
	put_form("/v1/queues/q/jobs?title=a", "Raincheck-Title: b");
	expect_problem(400, "bad_request", "title");
	assert_int_equal(files(), 0);
}

static void what_is_too_large_is_413(void **state)
{
	static uint8_t much[(4 << 20) + 1]; /* limits.message, and more than limits.payload */

	(void)state;
	add_part("payload", NULL, much, (1 << 20) + 1);
	put_form("/v1/queues/q/jobs", NULL);
	expect_problem(413, "too_large", "payload");
	/* A payload as large as may be, and a still that is larger than one may be. */
	memcpy(much, PNG, sizeof(PNG) - 1);
	add_part("payload", NULL, much, 1 << 20);
	add_part("preview", NULL, much, 2 << 20);
	put_form("/v1/queues/q/jobs", NULL);
	expect(202);
	add_text("payload", "x");
	add_part("preview", NULL, much, sizeof(much));
	put_form("/v1/queues/q/jobs", NULL);
	expect_problem(413, "too_large", "");
}

/* ---- what becomes of the file ---- */

static void put_large(const char *payload, const char *key)
{
	add_text("payload", payload);
	add_part("preview", "image/png", large, sizeof(large));
	put_form("/v1/queues/q/jobs", key);
}

static void a_put_that_makes_no_job_leaves_no_file(void **state)
{
	struct raincheck_queue_set set = { .queue = "q", .has_max_jobs = true, .max_jobs = 1 };
	struct raincheck_queue *queue;
	struct raincheck *rc;

	(void)state;
	put_large("x", "Idempotency-Key: k");
	expect(202);
	put_large("x", "Idempotency-Key: k");
	expect(202);
	assert_false(json_is_true(json_object_get(body, "created")));
	put_large("y", "Idempotency-Key: k");
	expect_problem(422, "conflict", "idempotency_key");
	rc = stack_connect(&stack);
	assert_int_equal(raincheck_queue_set(rc, &set, &queue), 0);
	raincheck_free(queue);
	raincheck_close(rc, NULL, NULL);
	put_large("x", NULL);
	expect_problem(429, "queue_full", "queue");
	assert_int_equal(files(), 1);
}

static void a_still_survives_kill_9(void **state)
{
	(void)state;
	put_large("x", NULL);
	expect(202);
	process_end(&stack.broker, SIGKILL);
	stack_start_broker(&stack);
	/* At the same port: the stack asks for the one it had. */
	snprintf(link_url, sizeof(link_url), "%s%s", stack.http, strstr(text("link"), "/r/"));
	expect_still(large, sizeof(large), "image/png");
	assert_int_equal(files(), 1);
}

static void a_disk_that_takes_no_still_is_503_and_no_job(void **state)
{
	char folder[512], aside[512];

	(void)state;
	snprintf(folder, sizeof(folder), "%s", tempdir_file(&stack.dir, "data/blobs/tmp"));
	snprintf(aside, sizeof(aside), "%s", tempdir_file(&stack.dir, "aside"));
	assert_int_equal(rename(folder, aside), 0);
	put_large("x", NULL);
	expect_problem(503, "store_error", "");
	assert_true(atoi(http_header(&answer, "Retry-After")) > 0);
	assert_int_equal(rename(aside, folder), 0);
	put_large("x", NULL);
	expect(202);
	assert_int_equal(json_integer_value(json_object_get(body, "position")), 1);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_still_is_on_the_page_from_the_first_answer),
		T(a_page_has_the_shape_of_its_still),
		T(a_still_that_is_none_is_not_shown),
		T(the_parts_say_what_headers_and_the_query_could),
		T(the_payload_is_its_part_byte_for_byte),
		T(a_still_without_a_type_is_known_by_its_bytes),
		T(a_part_that_cannot_be_is_named),
		T(what_is_too_large_is_413),
		T(a_put_that_makes_no_job_leaves_no_file),
		T(a_disk_that_takes_no_still_is_503_and_no_job),
		T(a_still_survives_kill_9),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
