/* The return-later link over HTTP, from the put to the end: page, status, media with ranges and conditions, and that
 * whatever is no live link looks like nothing at all. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/base/clean.h"
#include "tests/harness/stack.h"

static struct stack stack;
static struct raincheck *rc;
static char link_url[512], id[RAINCHECK_ID_SIZE], lease[RAINCHECK_TOKEN_SIZE];
static struct http_answer answer;

/* A file that begins like a real MP4, larger than what the broker keeps inline. */
static char video[200000];

static int setup(void **state)
{
	(void)state;
	memset(&stack, 0, sizeof(stack));
	tempdir_make(&stack.dir);
	stack_start_broker(&stack);
	rc = stack_connect(&stack);
	for (size_t i = 0; i < sizeof(video); i++)
		video[i] = (char)(i * 7 + i / 251);
	memcpy(video,
	       "\0\0\0\x20"
	       "ftypisom\0\0\2\0isomiso2avc1mp41",
	       32);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	http_answer_done(&answer);
	raincheck_close(rc, NULL, NULL);
	stack_stop(&stack);
	return 0;
}

static void put(const char *title, const struct raincheck_media *preview)
{
	struct raincheck_put params = { .queue = "q", .payload = { "x", 1 }, .title = title, .max_attempts = 1 };
	struct raincheck_put_result *result;

	if (preview)
		params.preview = *preview;
	assert_int_equal(raincheck_put(rc, &params, &result), 0);
	snprintf(link_url, sizeof(link_url), "%s", result->link);
	memcpy(id, result->id, sizeof(id));
	raincheck_free(result);
}

static void lease_one(void)
{
	static const char *const queues[] = { "q" };
	struct raincheck_lease params = { .queues = queues, .queue_count = 1 };
	struct raincheck_lease_result *result;

	assert_int_equal(raincheck_lease(rc, &params, &result), 0);
	assert_int_equal(result->job_count, 1);
	memcpy(id, result->jobs[0].id, sizeof(id));
	memcpy(lease, result->jobs[0].lease, sizeof(lease));
	raincheck_free(result);
}

/* By the broker's clock: what took no time at all tells nothing about the next. */
static void let_time_pass(void)
{
	struct raincheck_ping_result *pong;
	int64_t from_ms = 0, now_ms;

	do {
		assert_int_equal(raincheck_ping(rc, &pong), 0);
		now_ms = pong->now_ms;
		from_ms = from_ms > 0 ? from_ms : now_ms;
		raincheck_free(pong);
	} while (now_ms < from_ms + 2);
}

static void complete(const char *type, const void *data, size_t size)
{
	struct raincheck_complete params = { .id = id, .lease = lease, .result = { type, { data, size } } };
	struct raincheck_complete_result *result;

	assert_int_equal(raincheck_complete(rc, &params, &result), 0);
	raincheck_free(result);
}

static const char *url(const char *path)
{
	static char whole[1024];

	snprintf(whole, sizeof(whole), "%s%s", link_url, path);
	return whole;
}

static void get(const char *path, const char *header)
{
	http_answer_done(&answer);
	http_request(NULL, url(path), header, &answer);
}

static void request(const char *method, const char *path)
{
	http_answer_done(&answer);
	http_request(method, url(path), NULL, &answer);
}

static void expect(long status, const char *words)
{
	if (answer.status != status)
		fail_msg("status %ld instead of %ld:\n%s%s", answer.status, status, answer.headers, answer.body);
	if (words && !strstr(answer.body, words))
		fail_msg("\"%s\" is not in:\n%s", words, answer.body);
}

/* ---- the page and the status ---- */

static void the_page_tells_the_whole_life(void **state)
{
	static const char png[] = "\x89PNG\r\n\x1a\n0000";
	struct raincheck_media still = { "image/png", { png, sizeof(png) - 1 } };

	(void)state;
	put("first in line", NULL);
	put("A greeting for <Ada> & \"Grace\"", &still);
	get("", NULL);
	expect(200, "A greeting for &lt;Ada&gt;");
	assert_null(strstr(answer.body, "<Ada>"));
	assert_non_null(strstr(answer.body, "og:title"));
	assert_non_null(strstr(answer.body, "/preview"));
	assert_non_null(strstr(http_header(&answer, "Content-Type"), "text/html"));
	assert_non_null(strstr(http_header(&answer, "Content-Security-Policy"), "default-src 'none'"));
	assert_string_equal(http_header(&answer, "X-Content-Type-Options"), "nosniff");
	assert_string_equal(http_header(&answer, "Referrer-Policy"), "no-referrer");
	assert_string_equal(http_header(&answer, "X-Robots-Tag"), "noindex");
	get("/status", NULL);
	expect(202, "\"position\":2");
	assert_non_null(strstr(answer.body, "\"eta_ms\":null"));
	assert_true(strlen(http_header(&answer, "Retry-After")) > 0);
	get("/preview", NULL);
	expect(200, NULL);
	assert_memory_equal(answer.body, png, sizeof(png) - 1);
	get("/result", NULL);
	expect(404, NULL);

	lease_one();
	let_time_pass();
	complete(NULL, NULL, 0);
	/* What happens to others is shown within a moment. */
	do
		get("/status", NULL);
	while (answer.status == 202 && strstr(answer.body, "\"position\":2"));
	expect(202, "\"position\":1");
	assert_non_null(strstr(answer.body, "\"eta_ms\":{\"low\":0,\"high\":"));
	lease_one();
	get("/status", NULL);
	expect(202, "\"state\":\"running\"");
	complete("video/mp4", video, sizeof(video));
	get("/status", NULL);
	expect(200, "\"state\":\"succeeded\"");
	assert_non_null(strstr(answer.body, "\"eta_ms\":null"));
	get("", NULL);
	expect(200, "<video");
	assert_non_null(strstr(answer.body, "/result"));
}

static void a_failure_is_told_with_its_reason(void **state)
{
	struct raincheck_fail fail = { .kind = RAINCHECK_FAIL_REJECTED, .message = "no face in the <picture>" };
	struct raincheck_fail_result *result;

	(void)state;
	put(NULL, NULL);
	lease_one();
	fail.id = id;
	fail.lease = lease;
	assert_int_equal(raincheck_fail(rc, &fail, &result), 0);
	raincheck_free(result);
	get("/status", NULL);
	expect(200, "\"state\":\"dead\"");
	get("", NULL);
	expect(200, NULL);
	assert_null(strstr(answer.body, "<picture>"));
	get("/result", NULL);
	expect(404, NULL);
}

static void what_holds_the_job_is_told(void **state)
{
	struct raincheck_limit_set limit = { .limit = "api", .concurrency = 5 };
	struct raincheck_queue_set queue = { .queue = "q", .limit = "api" };
	struct raincheck_fail fail = { .kind = RAINCHECK_FAIL_THROTTLED, .message = "slow down" };
	struct raincheck_fail_result *failed;
	struct raincheck_limit *l;
	struct raincheck_queue *q;

	(void)state;
	put("x", NULL);
	assert_int_equal(raincheck_limit_set(rc, &limit, &l), 0);
	raincheck_free(l);
	assert_int_equal(raincheck_queue_set(rc, &queue, &q), 0);
	raincheck_free(q);
	get("/status", NULL);
	expect(202, "\"waiting_for\":null");
	lease_one();
	fail.id = id;
	fail.lease = lease;
	fail.retry_after_ms = 300000;
	assert_int_equal(raincheck_fail(rc, &fail, &failed), 0);
	raincheck_free(failed);
	get("/status", NULL);
	expect(202, "\"waiting_for\":{\"reason\":\"held\",\"until_at_ms\":1");
	assert_non_null(strstr(answer.body, "You keep your place"));
	get("", NULL);
	expect(200, "We have to take a short break. You keep your place.");
}

static void an_unchanged_status_is_304(void **state)
{
	char header[256];

	(void)state;
	put("x", NULL);
	get("/status", NULL);
	snprintf(header, sizeof(header), "If-None-Match: %s", http_header(&answer, "ETag"));
	assert_true(strlen(header) > strlen("If-None-Match: "));
	get("/status", header);
	expect(304, NULL);
	lease_one();
	get("/status", header);
	expect(202, NULL);
}

/* ---- media ---- */

static void expect_bytes(size_t from, size_t size)
{
	assert_int_equal(answer.size, size);
	assert_memory_equal(answer.body, video + from, size);
}

static void expect_header(const char *name, const char *value)
{
	assert_string_equal(http_header(&answer, name), value);
}

static void results_come_whole_and_in_ranges(void **state)
{
	char etag[128], header[256];

	(void)state;
	put("x", NULL);
	lease_one();
	complete("video/mp4", video, sizeof(video));
	get("/result", NULL);
	expect(200, NULL);
	expect_bytes(0, sizeof(video));
	expect_header("Content-Type", "video/mp4");
	expect_header("Accept-Ranges", "bytes");
	assert_non_null(strstr(http_header(&answer, "Cache-Control"), "immutable"));
	assert_non_null(strstr(http_header(&answer, "Content-Security-Policy"), "sandbox"));
	snprintf(etag, sizeof(etag), "%s", http_header(&answer, "ETag"));
	assert_int_equal(strlen(etag), 66);

	get("/result", "Range: bytes=100-199");
	expect(206, NULL);
	expect_bytes(100, 100);
	expect_header("Content-Range", "bytes 100-199/200000");
	get("/result", "Range: bytes=199990-");
	expect(206, NULL);
	expect_bytes(199990, 10);
	get("/result", "Range: bytes=-5");
	expect(206, NULL);
	expect_bytes(199995, 5);
	get("/result", "Range: bytes=199999-300000");
	expect(206, NULL);
	expect_bytes(199999, 1);
	get("/result", "Range: bytes=200000-");
	expect(416, NULL);
	expect_header("Content-Range", "bytes */200000");
	get("/result", "Range: bytes=0-1,5-6");
	expect(200, NULL);
	get("/result", "Range: nonsense");
	expect(200, NULL);

	snprintf(header, sizeof(header), "If-None-Match: %s", etag);
	get("/result", header);
	expect(304, NULL);
	get("/result", "If-None-Match: \"other\"");
	expect(200, NULL);
	request("HEAD", "/result");
	expect(200, NULL);
	assert_int_equal(answer.size, 0);
	expect_header("Content-Length", "200000");
	get("/result?download", NULL);
	assert_non_null(strstr(http_header(&answer, "Content-Disposition"), "attachment"));
}

static void what_is_not_the_medium_it_claims_is_a_download(void **state)
{
	static const char script[] = "<html><script>alert(1)</script></html>";

	(void)state;
	put("x", NULL);
	lease_one();
	complete("video/mp4", script, strlen(script));
	get("/result", NULL);
	expect(200, NULL);
	expect_header("Content-Type", "application/octet-stream");
	assert_non_null(strstr(http_header(&answer, "Content-Disposition"), "attachment"));
	put("y", NULL);
	lease_one();
	complete("text/html", script, strlen(script));
	get("/result", NULL);
	expect_header("Content-Type", "application/octet-stream");
}

/* It takes the still's place, and not its size; one that is none leaves both to the still. */
static void the_size_of_the_picture_that_is_shared_is_its_own(void **state)
{
#define PNG "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\2\x80\0\0\1\x68"
	static const struct raincheck_media still = { "image/png", { PNG, sizeof(PNG) - 1 } };
	static const struct {
		const char *type, *data;
		size_t size;
		const char *width; /* NULL: not known */
	} rows[] = {
		{ "image/gif", "GIF89a\x64\0\x32\0", 10, "100" },
		{ "image/jpeg", "\xff\xd8\xff\xd9", 4, NULL },
		{ "image/jpeg", "<html>", 6, "640" },
	};
	char width[96];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		put("x", &still);
		lease_one();
		complete(rows[i].type, rows[i].data, rows[i].size);
		get("", NULL);
		snprintf(width, sizeof(width), "og:image:width\" content=\"%s\"", rows[i].width ? rows[i].width : "");
		expect(200, rows[i].width ? width : "og:image");
		if (!rows[i].width && strstr(answer.body, "og:image:width"))
			fail_msg("%zu: it has the size of another:\n%s", i, answer.body);
	}
}

/* ---- what is no link ---- */

/* Status, headers but for the date, and body: all that a stranger can see. */
static void note_looks(char *ret, size_t size)
{
	size_t used = 0;

	for (const char *line = answer.headers; *line;) {
		size_t length = strcspn(line, "\n") + 1;

		if (strncasecmp(line, "Date:", 5) != 0)
			used += (size_t)snprintf(ret + used, size - used, "%.*s", (int)length, line);
		line += length;
	}
	snprintf(ret + used, size - used, "%s", answer.body);
}

static void whatever_is_no_live_link_looks_alike(void **state)
{
	static const char *const tokens[] = { "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "x", "%00",
					      "..%2f..%2fetc",
					      "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" };
	static const char *const places[] = { "", "/status", "/preview", "/result", "/a/result" };
	char known[4096], one_off[512];

	(void)state;
	put("x", NULL);
	snprintf(one_off, sizeof(one_off), "%s", strrchr(link_url, '/') + 1);
	one_off[20] = one_off[20] == 'A' ? 'B' : 'A';
	for (size_t p = 0; p < sizeof(places) / sizeof(places[0]); p++) {
		snprintf(link_url, sizeof(link_url), "%s/r/%.64s", stack.http, one_off);
		get(places[p], NULL);
		expect(404, NULL);
		note_looks(known, sizeof(known));
		for (size_t i = 0; i < sizeof(tokens) / sizeof(tokens[0]); i++) {
			char looks[4096];

			snprintf(link_url, sizeof(link_url), "%s/r/%s", stack.http, tokens[i]);
			get(places[p], NULL);
			expect(404, NULL);
			note_looks(looks, sizeof(looks));
			assert_string_equal(looks, known);
		}
	}
}

static void only_reading_is_allowed(void **state)
{
	static const char *const methods[] = { "POST", "PUT", "DELETE", "PATCH", "TRACE" };

	(void)state;
	put("x", NULL);
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		request(methods[i], "");
		expect(405, NULL);
		assert_non_null(strstr(http_header(&answer, "Allow"), "GET"));
	}
	request("OPTIONS", "");
	assert_true(answer.status == 200 || answer.status == 204);
	request("HEAD", "");
	expect(200, NULL);
	assert_int_equal(answer.size, 0);
}

static void health_and_nothing_else(void **state)
{
	(void)state;
	snprintf(link_url, sizeof(link_url), "%s", stack.http);
	get("/healthz", NULL);
	expect(200, NULL);
	get("/readyz", NULL);
	expect(200, NULL);
	get("/", NULL);
	expect(404, NULL);
	get("/../../etc/passwd", NULL);
	expect(404, NULL);
}

static void an_expired_link_is_gone(void **state)
{
	struct raincheck_put params = {
		.queue = "q",
		.payload = { "x", 1 },
		.has_result_ttl_ms = true,
		.result_ttl_ms = 1,
	};
	struct raincheck_put_result *result;

	(void)state;
	assert_int_equal(raincheck_put(rc, &params, &result), 0);
	snprintf(link_url, sizeof(link_url), "%s", result->link);
	raincheck_free(result);
	lease_one();
	complete("video/mp4", video, sizeof(video));
	do
		get("/status", NULL);
	while (answer.status == 200);
	expect(410, NULL);
	get("/result", NULL);
	expect(410, NULL);
	get("", NULL);
	expect(410, NULL);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(the_page_tells_the_whole_life),
		T(a_failure_is_told_with_its_reason),
		T(what_holds_the_job_is_told),
		T(an_unchanged_status_is_304),
		T(results_come_whole_and_in_ranges),
		T(what_is_not_the_medium_it_claims_is_a_download),
		T(the_size_of_the_picture_that_is_shared_is_its_own),
		T(whatever_is_no_live_link_looks_alike),
		T(only_reading_is_allowed),
		T(health_and_nothing_else),
		T(an_expired_link_is_gone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
