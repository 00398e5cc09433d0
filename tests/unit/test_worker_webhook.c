/* A webhook's request, what its answers mean, and when it is tried again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "proto/base/clean.h"
#include "proto/error.h"
#include "worker/call/classify.h"
#include "worker/call/leased.h"
#include "worker/call/webhook.h"
#include "worker/config/webhook_config.h"
#include "worker/transport/exchange.h"
#include "worker/transport/http_request.h"

#define SECOND INT64_C(1000)
#define HOUR   (3600 * SECOND)
#define DAY    (24 * HOUR)
#define ID     "01977420-a4ab-7cde-8f01-23456789abff"
#define NOW_MS INT64_C(1614265330999)
/* By openssl: printf ID.1614265330.BODY | openssl dgst -sha256 -hmac one -binary | base64, and the same with two. */
#define SIGNATURES                                         \
	"v1,k+znUW+rm5yVfE4HGdrjEAqHmHXxMxI3sv4aMasIzlY= " \
	"v1,dV9QY2X9F/Tnuh8X6VMOtbMt2UgracIOxBxTrJEjoQQ="

/* ---- when ---- */

static int64_t pause_of(int64_t number, double draw)
{
	return webhook_pause(&(struct webhook_attempt){ .number = number, .draw = draw });
}

static void test_schedule(void **state)
{
	static const int64_t seconds[] = { 5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400, 86400, 86400 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(seconds); i++) {
		int64_t most = seconds[i] * SECOND * 11 / 10;

		assert_int_equal(pause_of((int64_t)i + 1, 0), seconds[i] * SECOND);
		assert_int_equal(pause_of((int64_t)i + 1, 1), most < DAY ? most : DAY);
	}
	assert_int_equal(pause_of(0, 0), 5 * SECOND);
	assert_int_equal(pause_of(INT64_MAX, 1), DAY);
}

/* ---- the answer ---- */

static void test_what_is_taken(void **state)
{
	static const struct {
		struct answer answer;
		bool taken;
	} rows[] = {
		{ { .end = EXCHANGE_ANSWERED, .status = 200 }, true },
		{ { .end = EXCHANGE_ANSWERED, .status = 299 }, true },
		{ { .end = EXCHANGE_TOO_LARGE, .status = 200 }, true },
		{ { .end = EXCHANGE_ANSWERED, .status = 199 }, false },
		{ { .end = EXCHANGE_ANSWERED, .status = 300 }, false },
		{ { .end = EXCHANGE_ANSWERED, .status = 410 }, false },
		{ { .end = EXCHANGE_BROKEN, .status = 200 }, false },
		{ { .end = EXCHANGE_TOO_LARGE, .status = 500 }, false },
		{ { .end = EXCHANGE_SILENT }, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(webhook_is_taken(&rows[i].answer), rows[i].taken);
}

static void test_verdicts(void **state)
{
	static const struct {
		struct answer answer;
		const char *retry_after;
		enum raincheck_failure kind;
		int64_t pause_ms; /* after the first attempt */
		const char *words;
	} rows[] = {
		{ { .status = 410 }, "60", RAINCHECK_FAIL_REJECTED, 0, "the receiver is gone (410)" },
		{ { .end = EXCHANGE_FORBIDDEN }, NULL, RAINCHECK_FAIL_REJECTED, 0, "webhooks.allow_private" },
		{ { .status = 500 }, NULL, RAINCHECK_FAIL_UNAVAILABLE, 5 * SECOND, "HTTP 500" },
		{ { .status = 404 }, NULL, RAINCHECK_FAIL_UNAVAILABLE, 5 * SECOND, "HTTP 404" },
		{ { .status = 429 }, "3", RAINCHECK_FAIL_UNAVAILABLE, 5 * SECOND, "HTTP 429" },
		{ { .status = 429 }, "7", RAINCHECK_FAIL_UNAVAILABLE, 7 * SECOND, "HTTP 429" },
		{ { .status = 503 }, "99999999", RAINCHECK_FAIL_UNAVAILABLE, DAY, "HTTP 503" },
		{ { .status = 503 }, "-7", RAINCHECK_FAIL_UNAVAILABLE, 5 * SECOND, "HTTP 503" },
		{ { .status = 302 }, NULL, RAINCHECK_FAIL_UNAVAILABLE, 5 * SECOND, "redirects are not followed" },
		{ { .status = 504 }, NULL, RAINCHECK_FAIL_TIMEOUT, 5 * SECOND, "HTTP 504" },
		{ { .status = 408 }, NULL, RAINCHECK_FAIL_TIMEOUT, 5 * SECOND, "HTTP 408" },
		{ { .end = EXCHANGE_SILENT }, NULL, RAINCHECK_FAIL_TIMEOUT, 5 * SECOND, "not answered in time" },
		{ { .end = EXCHANGE_NOT_CONNECTED, .detail = "no such host" },
		  NULL,
		  RAINCHECK_FAIL_UNAVAILABLE,
		  5 * SECOND,
		  "no such host" },
		{ { .end = EXCHANGE_BROKEN, .detail = "reset" },
		  NULL,
		  RAINCHECK_FAIL_UNAVAILABLE,
		  5 * SECOND,
		  "reset" },
		{ { .end = EXCHANGE_FAILED }, NULL, RAINCHECK_FAIL_UNAVAILABLE, 5 * SECOND, "no answer" },
	};
	const struct webhook_attempt attempt = { .number = 1, .now_ms = NOW_MS };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct retry_headers headers = { .retry_after = rows[i].retry_after };
		struct verdict v;

		webhook_judge(&rows[i].answer, &headers, &attempt, &v);
		if (v.kind != rows[i].kind || v.retry_after_ms != rows[i].pause_ms || !strstr(v.message, rows[i].words))
			fail_msg("row %zu: kind %d, pause %lld, \"%s\"", i, v.kind, (long long)v.retry_after_ms,
				 v.message);
	}
}

/* ---- the request ---- */

static int request_of(const char *url, const char *traceparent, struct http_request **ret)
{
	static char payload[] = "{\"test\": 2432232314}", queue[] = WEBHOOK_QUEUE, type[] = "application/json";
	struct pair metadata = { slice_str("url"), slice_str(url) };
	struct leased job = {
		.id = ID,
		.queue = queue,
		.payload = payload,
		.payload_size = strlen(payload),
		.content_type = type,
		.metadata = &metadata,
		.metadata_count = url[0] ? 1 : 0,
		.traceparent = (char *)(uintptr_t)traceparent,
	};
	struct signature_key keys[2];
	const struct webhooks w = { .keys = keys, .key_count = 2 };
	struct error_info info = { .code = 0 };
	int rc;

	assert_int_equal(signature_key_plain("one", &keys[0]), 0);
	assert_int_equal(signature_key_plain("two", &keys[1]), 0);
	rc = webhook_request(&w, &job, NOW_MS, ret, &info);
	signature_key_done(&keys[0]);
	signature_key_done(&keys[1]);
	assert_int_equal(info.code, rc);
	return rc;
}

static const char *header_of(const struct http_request *r, const char *name)
{
	for (size_t i = 0; i < r->header_count; i++)
		if (strcmp(r->headers[i].name, name) == 0)
			return r->headers[i].value;
	return NULL;
}

static void test_request(void **state)
{
	_cleanup_(http_request_freep) struct http_request *r = NULL;

	(void)state;
	assert_int_equal(request_of("https://example.test/done?a=b", "00-trace", &r), 0);
	assert_string_equal(r->method, "POST");
	assert_string_equal(r->url, "https://example.test/done?a=b");
	assert_int_equal(r->body_size, 20);
	assert_null(r->user);
	assert_null(r->proxy);
	assert_int_equal(r->header_count, 5);
	assert_string_equal(header_of(r, "content-type"), "application/json");
	assert_string_equal(header_of(r, "webhook-id"), ID);
	assert_string_equal(header_of(r, "webhook-timestamp"), "1614265330");
	assert_string_equal(header_of(r, "traceparent"), "00-trace");
	assert_string_equal(header_of(r, "webhook-signature"), SIGNATURES);
}

static void test_nothing_goes_where_no_url_leads(void **state)
{
	static const char *const urls[] = { "", "done", "ftp://example.test/", "https://ada:secret@example.test/",
					    "https://" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
		struct http_request *r = NULL;

		assert_int_equal(request_of(urls[i], NULL, &r), ERR_BAD_REQUEST);
		assert_null(r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_schedule),
		cmocka_unit_test(test_what_is_taken),
		cmocka_unit_test(test_verdicts),
		cmocka_unit_test(test_request),
		cmocka_unit_test(test_nothing_goes_where_no_url_leads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
