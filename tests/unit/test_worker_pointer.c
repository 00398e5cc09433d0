/* JSON Pointers: RFC 6901 with its own examples, the wildcard, and setting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proto/base/clean.h"
#include "proto/error.h"
#include "worker/config/pointer.h"

static json_t *parse(const char *text)
{
	json_t *root = json_loads(text, JSON_DECODE_ANY, NULL);

	assert_non_null(root);
	return root;
}

static void assert_found(const char *document, const char *pointer, const char *expected)
{
	json_t *root = parse(document);
	json_t *found;
	char *text;

	assert_int_equal(pointer_check(slice_str(pointer)), 0);
	found = pointer_find(root, slice_str(pointer));
	if (!expected) {
		assert_null(found);
	} else {
		assert_non_null(found);
		text = json_dumps(found, JSON_ENCODE_ANY | JSON_COMPACT);
		assert_string_equal(text, expected);
		free(text);
	}
	json_decref(root);
}

/* RFC 6901, section 5. */
static const char rfc[] = "{\"foo\":[\"bar\",\"baz\"],\"\":0,\"a/b\":1,\"c%d\":2,\"e^f\":3,\"g|h\":4,\"i\\\\j\":5,"
			  "\"k\\\"l\":6,\" \":7,\"m~n\":8}";

static void test_rfc_examples(void **state)
{
	(void)state;
	assert_found(rfc, "/foo", "[\"bar\",\"baz\"]");
	assert_found(rfc, "/foo/0", "\"bar\"");
	assert_found(rfc, "/", "0");
	assert_found(rfc, "/a~1b", "1");
	assert_found(rfc, "/c%d", "2");
	assert_found(rfc, "/e^f", "3");
	assert_found(rfc, "/g|h", "4");
	assert_found(rfc, "/i\\j", "5");
	assert_found(rfc, "/k\"l", "6");
	assert_found(rfc, "/ ", "7");
	assert_found(rfc, "/m~0n", "8");
	assert_found("[1]", "", "[1]");
}

static void test_what_is_not_there(void **state)
{
	(void)state;
	assert_found(rfc, "/foo/2", NULL);
	assert_found(rfc, "/foo/-", NULL);
	assert_found(rfc, "/foo/00", NULL);
	assert_found(rfc, "/foo/01", NULL);
	assert_found(rfc, "/foo/bar", NULL);
	assert_found(rfc, "/foo/0/x", NULL);
	assert_found(rfc, "/nowhere/at/all", NULL);
	assert_found("3", "/x", NULL);
	assert_found("[1,2]", "/99999999999999999999", NULL);
}

static void test_bad_pointers(void **state)
{
	static const char *const bad[] = { "foo", "/a~", "/a~2", "~1", " /a", "/\xff" };
	char deep[100], wide[400];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(pointer_check(slice_str(bad[i])), ERR_BAD_REQUEST);
	memset(deep, '/', sizeof(deep));
	assert_int_equal(pointer_check(slice_of(deep, 32)), 0);
	assert_int_equal(pointer_check(slice_of(deep, 33)), ERR_BAD_REQUEST);
	memset(wide, 'w', sizeof(wide));
	wide[0] = '/';
	assert_int_equal(pointer_check(slice_of(wide, sizeof(wide))), ERR_BAD_REQUEST);
	assert_int_equal(pointer_check(slice_of("/a\0b", 4)), ERR_BAD_REQUEST);
}

static void test_wildcard_takes_the_first_that_leads_on(void **state)
{
	(void)state;
	assert_found("{\"a\":[{\"x\":1},{\"y\":2},{\"y\":3}]}", "/a/*/y", "2");
	assert_found("{\"o\":{\"9\":{\"images\":[]},\"12\":{\"images\":[\"p\"]}}}", "/o/*/images/*", "\"p\"");
	assert_found("{\"a\":[]}", "/a/*", NULL);
	assert_found("{\"a\":3}", "/a/*", NULL);
	assert_found("{\"*\":1,\"b\":2}", "/*", "1");
	assert_found("{\"b\":2}", "/*", "2");
}

static void assert_set(const char *document, const char *pointer, int code, const char *expected)
{
	json_t *root = parse(document);
	char *text;

	assert_int_equal(pointer_set(root, slice_str(pointer), json_integer(7)), code);
	text = json_dumps(root, JSON_ENCODE_ANY | JSON_COMPACT);
	assert_string_equal(text, expected);
	free(text);
	json_decref(root);
}

static void test_setting(void **state)
{
	(void)state;
	assert_set("{}", "/a", 0, "{\"a\":7}");
	assert_set("{\"a\":1}", "/a", 0, "{\"a\":7}");
	assert_set("{}", "/a/b~1c", 0, "{\"a\":{\"b/c\":7}}");
	assert_set("{\"a\":[1,2]}", "/a/1", 0, "{\"a\":[1,7]}");
	assert_set("{\"a\":[1,2]}", "/a/2", ERR_BAD_REQUEST, "{\"a\":[1,2]}");
	assert_set("{\"a\":3}", "/a/b", ERR_BAD_REQUEST, "{\"a\":3}");
	assert_set("{}", "", ERR_BAD_REQUEST, "{}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc_examples), cmocka_unit_test(test_what_is_not_there),
		cmocka_unit_test(test_bad_pointers), cmocka_unit_test(test_wildcard_takes_the_first_that_leads_on),
		cmocka_unit_test(test_setting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
