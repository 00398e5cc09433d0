/* What an answer, or none, means for the job. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proto/base/clean.h"
#include "worker/call/classify.h"
#include "worker/config/secrets.h"
#include "worker/config/upstream.h"
#include "worker/transport/exchange.h"

#define NOW 1700000000000LL /* Tue, 14 Nov 2023 22:13:20 GMT */

static const struct upstream_error usual = { .cap_ms = 120000 };

static int64_t after(const struct upstream_error *e, const char *retry_after, const char *ms, const char *reset)
{
	struct retry_headers h = { .retry_after = retry_after, .retry_after_ms = ms, .reset = reset };

	return classify_retry_after(e, &h, NOW);
}

static void test_retry_after(void **state)
{
	(void)state;
	assert_int_equal(after(&usual, "7", NULL, NULL), 7000);
	assert_int_equal(after(&usual, " 7 ", NULL, NULL), 7000);
	assert_int_equal(after(&usual, "1.5", NULL, NULL), 1500);
	assert_int_equal(after(&usual, "0", NULL, NULL), 0);
	assert_int_equal(after(&usual, "Tue, 14 Nov 2023 22:14:00 GMT", NULL, NULL), 40000);
	assert_int_equal(after(&usual, "Tuesday, 14-Nov-23 22:14:00 GMT", NULL, NULL), 40000);
	assert_int_equal(after(&usual, "Tue, 14 Nov 2023 22:00:00 GMT", NULL, NULL), 0);
	assert_int_equal(after(&usual, NULL, "250", NULL), 250);
	assert_int_equal(after(&usual, NULL, NULL, NULL), 0);
}

static void test_retry_after_nonsense(void **state)
{
	static const char *const nonsense[] = { "", "soon", "-5", "7x", "nan", "inf", "0x10", "1e9", "..", "1.2.3" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(nonsense); i++)
		assert_int_equal(after(&usual, nonsense[i], NULL, NULL), 0);
}

static void test_retry_after_is_capped(void **state)
{
	(void)state;
	assert_int_equal(after(&usual, "99999", NULL, NULL), 120000);
	assert_int_equal(after(&usual, "100000000000000000000000000", NULL, NULL), 120000);
	assert_int_equal(after(&usual, "Fri, 31 Dec 2099 23:59:59 GMT", NULL, NULL), 120000);
	assert_int_equal(after(&usual, NULL, "999999999", NULL), 120000);
}

static void test_reset_headers(void **state)
{
	(void)state;
	assert_int_equal(after(&usual, NULL, NULL, "30"), 30000);
	assert_int_equal(after(&usual, NULL, NULL, "1700000045"), 45000);
	assert_int_equal(after(&usual, NULL, NULL, "1700000045500"), 45500);
	assert_int_equal(after(&usual, NULL, NULL, "1600000000"), 0);
	assert_int_equal(after(&usual, NULL, NULL, "0.25"), 250);
	assert_int_equal(after(&usual, NULL, NULL, "1700000045.5"), 45500);
	assert_int_equal(after(&usual, NULL, NULL, "1600000000000"), 0);
	assert_int_equal(after(&usual, NULL, NULL, "99999999999999999999999"), 120000);
	assert_int_equal(after(&usual, NULL, NULL, "-30"), 0);
	/* The more exact one is believed, and nonsense does not hide it. */
	assert_int_equal(after(&usual, "7", NULL, "30"), 7000);
	assert_int_equal(after(&usual, "soon", NULL, "30"), 30000);
	assert_int_equal(after(&usual, "-1", NULL, "30"), 30000);
}

static void test_retry_after_in_other_units(void **state)
{
	static const struct upstream_error ms = { .cap_ms = 120000, .retry_after = RETRY_AFTER_MS };
	static const struct upstream_error none = { .cap_ms = 120000, .retry_after = RETRY_AFTER_NONE };

	(void)state;
	assert_int_equal(after(&ms, "700", NULL, NULL), 700);
	assert_int_equal(after(&none, "7", NULL, NULL), 0);
}

static struct verdict status(const struct upstream_error *e, long code, const char *retry_after, const char *body)
{
	struct retry_headers h = { .retry_after = retry_after };
	json_t *root = body ? json_loads(body, 0, NULL) : NULL;
	struct verdict v;

	classify_status(e, code, &h, root, NOW, "the submit", &v);
	json_decref(root);
	return v;
}

static void test_statuses(void **state)
{
	static const struct {
		long status;
		enum raincheck_failure kind;
	} known[] = {
		{ 400, RAINCHECK_FAIL_REJECTED },    { 401, RAINCHECK_FAIL_REJECTED },
		{ 402, RAINCHECK_FAIL_REJECTED },    { 403, RAINCHECK_FAIL_REJECTED },
		{ 404, RAINCHECK_FAIL_REJECTED },    { 422, RAINCHECK_FAIL_REJECTED },
		{ 302, RAINCHECK_FAIL_REJECTED },    { 408, RAINCHECK_FAIL_TIMEOUT },
		{ 504, RAINCHECK_FAIL_TIMEOUT },     { 425, RAINCHECK_FAIL_THROTTLED },
		{ 429, RAINCHECK_FAIL_THROTTLED },   { 500, RAINCHECK_FAIL_UNAVAILABLE },
		{ 502, RAINCHECK_FAIL_UNAVAILABLE }, { 503, RAINCHECK_FAIL_UNAVAILABLE },
		{ 520, RAINCHECK_FAIL_UNAVAILABLE }, { 524, RAINCHECK_FAIL_UNAVAILABLE },
		{ 599, RAINCHECK_FAIL_UNAVAILABLE }, { 600, RAINCHECK_FAIL_REJECTED },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		struct verdict v = status(&usual, known[i].status, "3", NULL);

		assert_int_equal(v.kind, known[i].kind);
		assert_int_equal(v.retry_after_ms, v.kind == RAINCHECK_FAIL_REJECTED ? 0 : 3000);
		assert_int_equal(v.unknown, known[i].status == 502 || known[i].status == 504 ||
						    known[i].status == 520 || known[i].status == 524);
	}
}

/* A gateway's word is the API's where the file says so, or the API has a word of its own. */
static void test_answers_that_a_gateway_lost(void **state)
{
	static const char *const codes[] = { "BUSY" };
	static const unsigned list[] = { 502 };
	struct upstream_error e = { .cap_ms = 1000, .code = slice_str("/code") };

	(void)state;
	assert_true(status(&e, 502, NULL, "{\"code\":\"BUSY\"}").unknown);
	e.retry_codes = (struct words){ codes, 1 };
	assert_false(status(&e, 502, NULL, "{\"code\":\"BUSY\"}").unknown);
	assert_true(status(&e, 502, NULL, "{\"code\":\"OTHER\"}").unknown);
	e.retry_http = list;
	e.retry_http_count = 1;
	assert_false(status(&e, 502, NULL, NULL).unknown);
	assert_true(status(&e, 504, NULL, NULL).unknown);
}

static void test_a_list_of_statuses_replaces_the_usual_ones(void **state)
{
	static const unsigned list[] = { 409, 503 };
	struct upstream_error e = { .cap_ms = 1000, .retry_http = list, .retry_http_count = 2 };

	(void)state;
	assert_int_equal(status(&e, 409, NULL, NULL).kind, RAINCHECK_FAIL_UNAVAILABLE);
	assert_int_equal(status(&e, 503, NULL, NULL).kind, RAINCHECK_FAIL_UNAVAILABLE);
	assert_int_equal(status(&e, 500, NULL, NULL).kind, RAINCHECK_FAIL_REJECTED);
	assert_int_equal(status(&e, 429, NULL, NULL).kind, RAINCHECK_FAIL_REJECTED);
}

static void test_codes_in_the_body(void **state)
{
	static const char *const retry[] = { "1303", "BUSY" };
	static const char *const fatal[] = { "NSFW" };
	struct upstream_error e = {
		.cap_ms = 1000,
		.message = slice_str("/msg"),
		.code = slice_str("/code"),
		.retry_codes = { retry, 2 },
		.fatal_codes = { fatal, 1 },
	};
	struct verdict v;

	(void)state;
	v = status(&e, 400, NULL, "{\"code\":1303,\"msg\":\"parallel task over limit\"}");
	assert_int_equal(v.kind, RAINCHECK_FAIL_UNAVAILABLE);
	assert_true(v.code_listed);
	assert_string_equal(v.message, "the submit was answered with HTTP 400: parallel task over limit (1303)");
	assert_int_equal(status(&e, 429, NULL, "{\"code\":\"BUSY\"}").kind, RAINCHECK_FAIL_THROTTLED);
	assert_int_equal(status(&e, 503, NULL, "{\"code\":\"NSFW\"}").kind, RAINCHECK_FAIL_REJECTED);
	assert_int_equal(status(&e, 400, NULL, "{\"code\":\"OTHER\"}").kind, RAINCHECK_FAIL_REJECTED);
}

static void test_what_else_is_throttling(void **state)
{
	static const unsigned full[] = { 409 };
	static const char *const codes[] = { "1303" };
	struct upstream_error e = {
		.cap_ms = 1000,
		.code = slice_str("/code"),
		.throttle_http = full,
		.throttle_http_count = 1,
		.throttle_codes = { codes, 1 },
	};

	(void)state;
	assert_int_equal(status(&e, 409, NULL, NULL).kind, RAINCHECK_FAIL_THROTTLED);
	assert_int_equal(status(&e, 429, NULL, NULL).kind, RAINCHECK_FAIL_REJECTED);
	assert_int_equal(status(&e, 400, "1", "{\"code\":1303}").kind, RAINCHECK_FAIL_THROTTLED);
	assert_int_equal(status(&e, 400, "1", "{\"code\":1303}").retry_after_ms, 1000);
}

static void test_a_code_in_a_header(void **state)
{
	static const char *const fatal[] = { "bad_face" };
	struct upstream_error e = { .cap_ms = 1000, .code_header = "X-Error", .fatal_codes = { fatal, 1 } };
	struct retry_headers h = { .code = "bad_face" };
	struct verdict v;

	(void)state;
	classify_status(&e, 503, &h, NULL, NOW, "the poll", &v);
	assert_int_equal(v.kind, RAINCHECK_FAIL_REJECTED);
	assert_true(v.final);
	assert_string_equal(v.message, "the poll was answered with HTTP 503 (bad_face)");
	assert_true(classify_has_listed_code(&e, NULL, "bad_face"));
	assert_false(classify_has_listed_code(&e, NULL, "other"));
}

/* The half of a secret would tell as much as the whole. */
static void test_secrets_are_masked_before_words_are_cut(void **state)
{
	static const char secret[] = "open-sesame-0123456789-open-sesame-0123456789";
	struct upstream_error e = { .cap_ms = 1000 };
	_cleanup_(secrets_freep) struct secrets *s = NULL;
	char body[1000];

	(void)state;
	assert_int_equal(secrets_new(&s), 0);
	assert_int_equal(secrets_add_literal(s, secret), 0);
	e.secrets = s;
	for (int pad = 250; pad < 330; pad++) {
		snprintf(body, sizeof(body), "{\"message\":\"%0*d%s\"}", pad, 0, secret);
		if (strstr(status(&e, 400, NULL, body).message, "open-ses"))
			fail_msg("a part of the secret is told with %d characters before it", pad);
	}
}

static void test_what_says_something(void **state)
{
	static const char *const nothing[] = { "null", "false", "0", "\"\"", "[]", "{}" };
	static const char *const something[] = { "true", "3", "\"x\"", "[0]", "{\"a\":null}", "0.5" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(nothing); i++) {
		json_t *no = json_loads(nothing[i], JSON_DECODE_ANY, NULL);
		json_t *yes = json_loads(something[i], JSON_DECODE_ANY, NULL);

		assert_false(json_says_something(no));
		assert_true(json_says_something(yes));
		json_decref(no);
		json_decref(yes);
	}
	assert_false(json_says_something(NULL));
}

static struct verdict report(const struct upstream_error *e, const char *body)
{
	json_t *root = json_loads(body, 0, NULL);
	struct verdict v;

	classify_report(e, root, NULL, "it failed", &v);
	json_decref(root);
	return v;
}

static void test_reported_failures(void **state)
{
	static const char *const retry[] = { "OVERLOADED" };
	struct upstream_error e = {
		.message = slice_str("/failure"),
		.code = slice_str("/failureCode"),
		.retry_codes = { retry, 1 },
	};

	(void)state;
	assert_int_equal(report(&e, "{\"failure\":\"no\",\"failureCode\":\"X\"}").kind, RAINCHECK_FAIL_REJECTED);
	assert_int_equal(report(&e, "{\"failureCode\":\"OVERLOADED\"}").kind, RAINCHECK_FAIL_UNAVAILABLE);
	assert_string_equal(report(&e, "{\"failure\":\"no\"}").message, "it failed: no");
	assert_string_equal(report(&e, "{\"error\":{\"message\":\"usual place\"}}").message, "it failed: usual place");
	assert_string_equal(report(&e, "{\"detail\":\"replicate\"}").message, "it failed: replicate");
	assert_string_equal(report(&e, "{}").message, "it failed");
}

static void test_whether_there_is_an_error(void **state)
{
	struct upstream_error e = { .message = slice_str("/msg"), .code = slice_str("/code") };
	static const struct {
		const char *body;
		bool error;
	} known[] = {
		{ "{\"code\":0,\"id\":\"x\"}", false },
		{ "{\"code\":0,\"msg\":\"SUCCEED\"}", false },
		{ "{\"code\":1101}", true },
		{ "{\"code\":\"BAD\"}", true },
		{ "{\"msg\":\"oh\"}", true },
		{ "{}", false },
		{ "{\"code\":null}", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		json_t *root = json_loads(known[i].body, 0, NULL);

		assert_int_equal(classify_has_error(&e, root), known[i].error);
		json_decref(root);
	}
}

static void test_no_answer(void **state)
{
	static const struct {
		enum exchange_end end;
		bool sent, body_began;
		enum raincheck_failure kind;
		bool unknown;
	} known[] = {
		{ EXCHANGE_NOT_CONNECTED, false, false, RAINCHECK_FAIL_UNAVAILABLE, false },
		{ EXCHANGE_FORBIDDEN, false, false, RAINCHECK_FAIL_REJECTED, false },
		{ EXCHANGE_SILENT, true, false, RAINCHECK_FAIL_TIMEOUT, true },
		{ EXCHANGE_BROKEN, true, false, RAINCHECK_FAIL_UNAVAILABLE, true },
		{ EXCHANGE_BROKEN, true, true, RAINCHECK_FAIL_INVALID, true },
		{ EXCHANGE_TOO_LARGE, true, true, RAINCHECK_FAIL_INVALID, true },
		{ EXCHANGE_FAILED, false, false, RAINCHECK_FAIL_INTERNAL, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		struct answer a = {
			.end = known[i].end, .sent = known[i].sent, .body_began = known[i].body_began, .detail = "why"
		};
		struct verdict v;

		classify_transport(&a, "the submit", &v);
		assert_int_equal(v.kind, known[i].kind);
		assert_int_equal(v.unknown, known[i].unknown);
	}
}

static void test_long_words_are_cut(void **state)
{
	char body[4000];
	struct verdict v;

	(void)state;
	snprintf(body, sizeof(body), "{\"message\":\"%0*d\"}", 3000, 0);
	v = status(&usual, 500, NULL, body);
	assert_true(strlen(v.message) < sizeof(v.message));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_retry_after),
		cmocka_unit_test(test_retry_after_nonsense),
		cmocka_unit_test(test_retry_after_is_capped),
		cmocka_unit_test(test_reset_headers),
		cmocka_unit_test(test_retry_after_in_other_units),
		cmocka_unit_test(test_statuses),
		cmocka_unit_test(test_answers_that_a_gateway_lost),
		cmocka_unit_test(test_a_list_of_statuses_replaces_the_usual_ones),
		cmocka_unit_test(test_codes_in_the_body),
		cmocka_unit_test(test_what_else_is_throttling),
		cmocka_unit_test(test_a_code_in_a_header),
		cmocka_unit_test(test_secrets_are_masked_before_words_are_cut),
		cmocka_unit_test(test_what_says_something),
		cmocka_unit_test(test_reported_failures),
		cmocka_unit_test(test_whether_there_is_an_error),
		cmocka_unit_test(test_no_answer),
		cmocka_unit_test(test_long_words_are_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
