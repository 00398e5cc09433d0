/* What an error of ours is in HTTP. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "proto/base/clean.h"
#include "proto/error.h"
#include "server/http/problem.h"

static const struct {
	int code;
	const char *field;
	unsigned status;
} rows[] = {
	{ ERR_BAD_REQUEST, "priority", 400 },
	{ ERR_UNAUTHENTICATED, NULL, 401 },
	{ ERR_DENIED, NULL, 403 },
	{ ERR_NOT_FOUND, NULL, 404 },
	{ ERR_CONFLICT, "name", 409 },
	{ ERR_INVALID_STATE, NULL, 409 },
	{ ERR_GONE, NULL, 410 },
	{ ERR_TOO_LARGE, "payload", 413 },
	{ ERR_TOO_LARGE, "title", 400 },
	{ ERR_CONFLICT, "idempotency_key", 422 },
	{ ERR_QUEUE_FULL, "queue", 429 },
	{ ERR_THROTTLED, "deadline_ms", 429 },
	{ ERR_STORE_FULL, NULL, 503 },
	{ ERR_STORE_ERROR, NULL, 503 },
	{ ERR_SHUTTING_DOWN, NULL, 503 },
	{ ERR_NO_MEMORY, NULL, 503 },
	{ ERR_CORRUPT, NULL, 500 },
	{ ERR_INTERNAL, NULL, 500 },
};

static void each_error_has_its_status(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct error_info info;

		error_set(&info, rows[i].code, rows[i].field, "x");
		if (problem_status(&info) != rows[i].status)
			fail_msg("%s of %s: %u", error_name(rows[i].code), info.field, problem_status(&info));
	}
}

static void expect_retry(int code, int64_t retry_after_ms, const char *seconds)
{
	struct error_info info;
	struct MHD_Response *r;
	const char *header;

	error_set(&info, code, NULL, "x");
	info.retry_after_ms = retry_after_ms;
	r = problem_new(problem_status(&info), &info);
	assert_non_null(r);
	header = MHD_get_response_header(r, "Retry-After");
	if (seconds)
		assert_string_equal(header, seconds);
	else
		assert_null(header);
	MHD_destroy_response(r);
}

static void who_is_to_come_back_is_told_when(void **state)
{
	(void)state;
	expect_retry(ERR_QUEUE_FULL, 1, "1");
	expect_retry(ERR_QUEUE_FULL, 1000, "1");
	expect_retry(ERR_QUEUE_FULL, 1001, "2");
	expect_retry(ERR_THROTTLED, 0, "5");
	expect_retry(ERR_STORE_FULL, 0, "5");
	expect_retry(ERR_SHUTTING_DOWN, 0, "5");
	expect_retry(ERR_BAD_REQUEST, 0, NULL);
	expect_retry(ERR_NOT_FOUND, 0, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_error_has_its_status),
		cmocka_unit_test(who_is_to_come_back_is_told_when),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
