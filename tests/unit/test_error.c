/* The table of codes and what goes with a refusal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "proto/base/clean.h"
#include "proto/base/text.h"
#include "proto/error.h"

#define ROW(symbol, number, name, text) { ERR_##symbol, number, name, text },
static const struct {
	int code, number;
	const char *name, *text;
} rows[] = { ERROR_TABLE(ROW) };

/* What peers of every version rely on. */
static const char *const wire_names[] = {
	"bad_request", "unknown_method", "unsupported_version", "unauthenticated", "denied",	 "not_found",
	"gone",	       "conflict",	 "lease_lost",		"invalid_state",   "queue_full", "too_large",
	"throttled",   "store_full",	 "store_error",		"shutting_down",   "internal",
};

static void test_rows_are_distinct_and_readable(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		size_t length = strlen(rows[i].text);

		assert_int_equal(rows[i].code, rows[i].number);
		assert_true(rows[i].code < 0);
		assert_true(length > 0 && rows[i].text[length - 1] != '.');
		assert_string_equal(error_name(rows[i].code), rows[i].name);
		assert_string_equal(error_text(rows[i].code), rows[i].text);
		for (size_t j = 0; j < i; j++) {
			assert_int_not_equal(rows[i].code, rows[j].code);
			assert_string_not_equal(rows[i].name, rows[j].name);
		}
	}
}

static void test_wire_codes_go_there_and_back(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wire_names); i++) {
		int code = error_from_name(slice_str(wire_names[i]));

		assert_int_equal(code, -1 - (int)i);
		assert_string_equal(error_name(code), wire_names[i]);
		assert_int_equal(error_on_wire(code), code);
	}
}

static void test_local_codes_have_no_place_on_the_wire(void **state)
{
	(void)state;
	assert_int_equal(error_on_wire(ERR_CORRUPT), ERR_STORE_ERROR);
	assert_int_equal(error_on_wire(ERR_IO), ERR_STORE_ERROR);
	for (size_t i = ARRAY_SIZE(wire_names); i < ARRAY_SIZE(rows); i++) {
		int code = error_on_wire(rows[i].code);

		assert_true(code == ERR_INTERNAL || code == ERR_STORE_ERROR);
		assert_int_equal(error_from_name(slice_str(rows[i].name)), ERR_INTERNAL);
	}
}

static void test_unknown_codes_and_names(void **state)
{
	(void)state;
	assert_int_equal(error_from_name(slice_str("made_up")), ERR_INTERNAL);
	assert_int_equal(error_from_name(slice_str("")), ERR_INTERNAL);
	assert_int_equal(error_from_name(slice_str("gone ")), ERR_INTERNAL);
	assert_int_equal(error_from_name(slice_of("gone", 3)), ERR_INTERNAL);
	assert_int_equal(error_on_wire(-20), ERR_INTERNAL);
	assert_int_equal(error_on_wire(-1000), ERR_INTERNAL);
	assert_non_null(error_name(-1000));
	assert_non_null(error_text(-1000));
}

static void test_set_fills_all_of_it(void **state)
{
	struct error_info info;

	(void)state;
	memset(&info, 0x5a, sizeof(info));
	assert_int_equal(error_set(&info, ERR_CONFLICT, "queue", "%d of %s", 3, "them"), ERR_CONFLICT);
	assert_int_equal(info.code, ERR_CONFLICT);
	assert_string_equal(info.field, "queue");
	assert_string_equal(info.message, "3 of them");
	assert_int_equal(info.retry_after_ms, 0);
	assert_int_equal(error_set(&info, ERR_GONE, NULL, "no more"), ERR_GONE);
	assert_string_equal(info.field, "");
	assert_int_equal(error_set(NULL, ERR_GONE, "a", "nobody listens"), ERR_GONE);
	error_prefix(NULL, "a");
}

/* Peers refuse a str that is not UTF-8, and the bytes may be a third party's. */
static void test_what_is_set_is_utf8_that_fits(void **state)
{
	char text[400];

	(void)state;
	/* a character of four bytes cut at each of its bytes */
	for (size_t lead = 0; lead < 4; lead++) {
		struct error_info info;

		memset(text, 'x', lead);
		for (size_t at = lead; at + 5 < sizeof(text); at += 4)
			memcpy(text + at, "\xf0\x9f\x8e\xac", 5);
		error_set(&info, ERR_GONE, text, "%s", text);
		assert_true(utf8_valid(slice_str(info.field)));
		assert_true(utf8_valid(slice_str(info.message)));
		assert_in_range(strlen(info.field), sizeof(info.field) - 4, sizeof(info.field) - 1);
		assert_in_range(strlen(info.message), sizeof(info.message) - 4, sizeof(info.message) - 1);
		error_prefix(&info, "jobs[3]");
		assert_true(utf8_valid(slice_str(info.field)));
		assert_memory_equal(info.field, "jobs[3].", 8);
	}
	for (unsigned c = 1; c < 256; c++) {
		struct error_info info;

		error_set(&info, ERR_GONE, NULL, "there is no \"%c\" here", (int)c);
		assert_true(utf8_valid(slice_str(info.message)));
		assert_non_null(strstr(info.message, "\" here"));
	}
}

static void test_prefixes_lead_to_the_place(void **state)
{
	struct error_info info;

	(void)state;
	error_set(&info, ERR_BAD_REQUEST, "base_ms", "x");
	error_prefix(&info, "backoff");
	assert_string_equal(info.field, "backoff.base_ms");
	error_prefix(&info, "jobs[999]");
	assert_string_equal(info.field, "jobs[999].backoff.base_ms");
	error_set(&info, ERR_BAD_REQUEST, NULL, "x");
	error_prefix(&info, "jobs[1]");
	assert_string_equal(info.field, "jobs[1]");
	error_set(&info, ERR_BAD_REQUEST, "[1]", "x");
	error_prefix(&info, "jobs");
	assert_string_equal(info.field, "jobs[1]");
	assert_string_equal(info.message, "x");
	assert_int_equal(info.code, ERR_BAD_REQUEST);
}

static void test_long_paths_keep_their_outer_names(void **state)
{
	struct error_info info;

	(void)state;
	error_set(&info, ERR_BAD_REQUEST, "innermost", "x");
	for (int i = 0; i < 10; i++)
		error_prefix(&info, "attempt_deadline_at_ms[100]");
	assert_int_equal(strlen(info.field), sizeof(info.field) - 1);
	assert_memory_equal(info.field, "attempt_deadline_at_ms[100].attempt_deadline_at_ms[100].attempt", 63);
	/* what fits is not cut */
	error_set(&info, ERR_BAD_REQUEST, "a_key_of_a_peer_that_is_as_long_as_one_can_be_told_here_63_bytes", "x");
	error_prefix(&info, "preview");
	error_prefix(&info, "jobs[12]");
	assert_string_equal(info.field,
			    "jobs[12].preview.a_key_of_a_peer_that_is_as_long_as_one_can_be_told_here_63_bytes");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows_are_distinct_and_readable),
		cmocka_unit_test(test_wire_codes_go_there_and_back),
		cmocka_unit_test(test_local_codes_have_no_place_on_the_wire),
		cmocka_unit_test(test_unknown_codes_and_names),
		cmocka_unit_test(test_set_fills_all_of_it),
		cmocka_unit_test(test_what_is_set_is_utf8_that_fits),
		cmocka_unit_test(test_prefixes_lead_to_the_place),
		cmocka_unit_test(test_long_paths_keep_their_outer_names),
	};

	return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}
