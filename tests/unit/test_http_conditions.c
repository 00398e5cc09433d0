/* What a client's conditions and ranges ask for, and what of a path names something: tables of headers and paths. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "proto/base/clean.h"
#include "server/http/conditions.h"
#include "server/http/path.h"

#define SIZE 1000

static void test_a_range_is_clipped_to_what_there_is(void **state)
{
	static const struct {
		const char *header;
		int64_t first, last;
	} rows[] = {
		{ "bytes=0-0", 0, 0 },	     { "bytes=0-999", 0, 999 },
		{ "bytes=0-1000", 0, 999 },  { "bytes=10-", 10, 999 },
		{ "bytes=999-", 999, 999 },  { "bytes=999-999", 999, 999 },
		{ "bytes=-1", 999, 999 },    { "bytes=-1000", 0, 999 },
		{ "bytes=-1001", 0, 999 },   { "BYTES=5-6", 5, 6 },
		{ "bytes= 5-6", 5, 6 },	     { "bytes=5-6 ", 5, 6 },
		{ "bytes=000005-06", 5, 6 }, { "bytes=1-999999999999999999", 1, 999 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct byte_range got = { -1, -1 };

		assert_int_equal(range_parse(rows[i].header, SIZE, &got), RANGE_PART);
		assert_int_equal(got.first, rows[i].first);
		assert_int_equal(got.last, rows[i].last);
	}
}

static void test_a_range_past_the_end_cannot_be_satisfied(void **state)
{
	static const char *const headers[] = { "bytes=1000-", "bytes=1000-2000", "bytes=-0", "bytes=99999-" };
	struct byte_range got;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(headers); i++)
		assert_int_equal(range_parse(headers[i], SIZE, &got), RANGE_UNSATISFIABLE);
	assert_int_equal(range_parse("bytes=0-", 0, &got), RANGE_UNSATISFIABLE);
	assert_int_equal(range_parse("bytes=-5", 0, &got), RANGE_UNSATISFIABLE);
}

static void test_what_is_no_single_range_means_the_whole(void **state)
{
	static const char *const headers[] = {
		NULL,
		"",
		"bytes",
		"bytes=",
		"bytes=-",
		"bytes=a-b",
		"bytes=5",
		"bytes=5-4",
		"bytes=1-2,5-6",
		"bytes=-1,-2",
		"items=0-1",
		"bytes=--1",
		"bytes=1--2",
		"bytes=+1-2",
		"bytes=0x1-2",
		"bytes=1-2x",
		"bytes=-1x",
		"bytes=1 -2",
		"bytes=9999999999999999999-",
		"bytes=0-99999999999999999999",
	};
	struct byte_range got;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(headers); i++)
		assert_int_equal(range_parse(headers[i], SIZE, &got), RANGE_WHOLE);
}

static void test_tags_are_found_in_lists(void **state)
{
	(void)state;
	assert_true(etag_match_weak("\"a\"", "\"a\""));
	assert_true(etag_match_weak("*", "\"a\""));
	assert_true(etag_match_weak(" * ", "\"a\"") == false);
	assert_true(etag_match_weak("  *", "\"a\""));
	assert_true(etag_match_weak("\"x\", \"a\"", "\"a\""));
	assert_true(etag_match_weak("\"x\",W/\"a\" , \"y\"", "\"a\""));
	assert_true(etag_match_weak("W/\"a\"", "W/\"a\""));
	assert_true(etag_match_weak("\"a\"", "W/\"a\""));
	assert_true(etag_match_weak("\"a,b\", \"c\"", "\"a,b\""));
	assert_true(etag_match_strong("\"x\", \"a\"", "\"a\""));
}

static void test_other_tags_and_nonsense_match_nothing(void **state)
{
	static const char *const headers[] = { NULL,	 "",	    "a",	"\"",	  "\"a", "\"b\"", "\"A\"",
					       "\"ab\"", "w/\"a\"", "b, \"a\"", "\"a,\"", ",",	 "W/",	  "W/a" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
		assert_false(etag_match_weak(headers[i], "\"a\""));
		assert_false(etag_match_strong(headers[i], "\"a\""));
	}
}

static void test_a_weak_tag_never_matches_strongly(void **state)
{
	(void)state;
	assert_false(etag_match_strong("W/\"a\"", "\"a\""));
	assert_false(etag_match_strong("\"a\"", "W/\"a\""));
	assert_false(etag_match_strong("W/\"a\"", "W/\"a\""));
}

static void assert_path(const char *text, enum route route, const char *token, const char *name)
{
	struct path p;

	path_parse(text, &p);
	assert_int_equal(p.route, route);
	assert_string_equal(p.token, token);
	assert_string_equal(p.name, name);
}

static void test_paths_lead_where_they_say(void **state)
{
	(void)state;
	assert_path("/r/tok-en_1", ROUTE_PAGE, "tok-en_1", "");
	assert_path("/r/t/", ROUTE_SLASH, "t", "");
	assert_path("/r/t/status", ROUTE_STATUS, "t", "");
	assert_path("/r/t/preview", ROUTE_ARTIFACT, "t", "preview");
	assert_path("/r/t/result", ROUTE_ARTIFACT, "t", "result");
	assert_path("/r/t/a/thumb:1.jpg", ROUTE_ARTIFACT, "t", "thumb:1.jpg");
	assert_path("/healthz", ROUTE_HEALTHZ, "", "");
	assert_path("/readyz", ROUTE_READYZ, "", "");
	assert_path("http://example.org/r/t", ROUTE_PAGE, "t", "");
}

static void test_escapes_are_undone_once_and_separate_nothing(void **state)
{
	(void)state;
	assert_path("/r/%74/%73tatus", ROUTE_STATUS, "t", "");
	assert_path("/r/t/a/x%3ay", ROUTE_ARTIFACT, "t", "x:y");
	assert_path("/r/a%2Fb", ROUTE_PAGE, "a/b", "");
	assert_path("/r/t%2fstatus", ROUTE_PAGE, "t/status", "");
	assert_path("/r/%2541", ROUTE_PAGE, "%41", "");
}

static void test_a_garbled_token_is_a_link_that_nobody_knows(void **state)
{
	char longer[400] = "/r/";

	(void)state;
	memset(longer + 3, 'x', sizeof(longer) - 4);
	assert_path(longer, ROUTE_PAGE, "", "");
	assert_path("/r/%", ROUTE_PAGE, "", "");
	assert_path("/r/%4", ROUTE_PAGE, "", "");
	assert_path("/r/%zz", ROUTE_PAGE, "", "");
	assert_path("/r/a%00", ROUTE_PAGE, "", "");
	assert_path("/r/", ROUTE_PAGE, "", "");
}

static void test_other_paths_lead_nowhere(void **state)
{
	static const char *const paths[] = { "",	   "/",		 "*",	       "r/t",
					     "/x",	   "/r",	 "/r/t/x",     "/r/t/a",
					     "/r/t/a/",	   "/r/t/a/x/y", "/R/t",       "/r/t/a/..%2f..",
					     "/r/t/a/%zz", "/healthz/",	 "/healthz/x", "//healthz",
					     "/r/t/a/x y" };
	struct path p;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		path_parse(paths[i], &p);
		assert_int_equal(p.route, ROUTE_NONE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_range_is_clipped_to_what_there_is),
		cmocka_unit_test(test_a_range_past_the_end_cannot_be_satisfied),
		cmocka_unit_test(test_what_is_no_single_range_means_the_whole),
		cmocka_unit_test(test_tags_are_found_in_lists),
		cmocka_unit_test(test_other_tags_and_nonsense_match_nothing),
		cmocka_unit_test(test_a_weak_tag_never_matches_strongly),
		cmocka_unit_test(test_paths_lead_where_they_say),
		cmocka_unit_test(test_escapes_are_undone_once_and_separate_nothing),
		cmocka_unit_test(test_a_garbled_token_is_a_link_that_nobody_knows),
		cmocka_unit_test(test_other_paths_lead_nowhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
