/* Forms: what every client sends is taken apart as it was meant, and nothing that could be read in two ways is taken.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "proto/base/clean.h"
#include "proto/error.h"
#include "server/http/form.h"

static struct form form;
static struct error_info info;

static int parse(struct slice body)
{
	memset(&info, 0, sizeof(info));
	return form_parse(body, slice_str("B"), &form, &info);
}

static void expect_slice(struct slice s, const char *text)
{
	if (!slice_is(s, text))
		fail_msg("\"%.*s\" instead of \"%s\"", SLICE_FMT(s), text);
}

#define PART(name) "Content-Disposition: form-data; name=\"" name "\"\r\n"

static void test_parts_are_what_stands_between_the_boundaries(void **state)
{
	(void)state;
	assert_int_equal(
		parse(slice_str("--B\r\n" PART(
			"payload") "Content-Type: application/json\r\n\r\n{\"a\":1}\r\n"
				   "--B\r\n" PART("empty") "\r\n\r\n--B\r\n"
							   "content-disposition:form-data;filename=\"a\\\" b.jpg\" ; "
							   "name=still;\r\n"
							   "X-Other: 1\r\n\r\n\r\n--\r\n--C\r\n\r\n--B--\r\n")),
		0);
	assert_int_equal(form.count, 3);
	expect_slice(form.parts[0].name, "payload");
	expect_slice(form.parts[0].content_type, "application/json");
	expect_slice(form.parts[0].data, "{\"a\":1}");
	expect_slice(form.parts[1].name, "empty");
	expect_slice(form.parts[1].content_type, "");
	expect_slice(form.parts[1].data, "");
	expect_slice(form.parts[2].name, "still");
	expect_slice(form.parts[2].data, "\r\n--\r\n--C\r\n");
}

static void test_bytes_are_bytes(void **state)
{
	static const char body[] = "before\r\n--B \r\n" PART("p") "\r\n\0\xff\r\0\n--B\r\n--B--behind\r\n--B\r\n";

	(void)state;
	assert_int_equal(parse(slice_of(body, sizeof(body) - 1)), 0);
	assert_int_equal(form.count, 1);
	assert_int_equal(form.parts[0].data.size, 8);
	assert_memory_equal(form.parts[0].data.data, "\0\xff\r\0\n--B", 8);
	assert_int_equal(parse(slice_str("--B--")), 0);
	assert_int_equal(form.count, 0);
}

static const struct {
	const char *body, *field, *words;
} broken[] = {
	{ "", "", "cut off" },
	{ "x", "", "cut off" },
	{ "--B", "", "behind a boundary" },
	{ "--Bx\r\n", "", "behind a boundary" },
	{ "--B\r\n", "", "without end" },
	{ "--B\r\n" PART("p"), "p", "without end" },
	{ "--B\r\n" PART("p") "\r\nx", "", "cut off" },
	{ "--B\r\n" PART("p") "\r\nx\r\n--", "", "cut off" },
	{ "--B\r\n" PART("p") "\r\nx\n--B--", "", "cut off" },
	{ "--B\r\n" PART("p") "\r\nx\r\n--Bq", "", "behind a boundary" },
	{ "--B\r\n" PART("p") "\r\nx\r\n--B-", "", "behind a boundary" },
	{ "--B\r\n\r\nx\r\n--B--", "", "no Content-Disposition" },
	{ "--B\r\nContent-Type: x\r\n\r\nx\r\n--B--", "", "no Content-Disposition" },
	{ "--B\r\n" PART("p") PART("p") "\r\nx\r\n--B--", "p", "two Content-Dispositions" },
	{ "--B\r\n" PART("p") "Content-Type: a/b\r\ncontent-type: a/c\r\n\r\nx\r\n--B--", "p", "two Content-Types" },
	{ "--B\r\n" PART("p") "Content-Type:\r\nContent-Type: a/c\r\n\r\nx\r\n--B--", "p", "two Content-Types" },
	{ "--B\r\nContent-Disposition: form-data\r\n\r\nx\r\n--B--", "", "no name" },
	{ "--B\r\nContent-Disposition: attachment; name=\"a\"\r\n\r\nx\r\n--B--", "", "no name" },
	{ "--B\r\nContent-Disposition: form-data; name=\"\"\r\n\r\nx\r\n--B--", "", "no name" },
	{ "--B\r\nContent-Disposition: form-data; name=\"a\r\n\r\nx\r\n--B--", "", "no name" },
	{ "--B\r\nContent-Disposition: form-data; name=a; name=b\r\n\r\nx\r\n--B--", "", "no name" },
	{ "--B\r\nContent-Disposition: form-data; name=a b\r\n\r\nx\r\n--B--", "", "no name" },
	{ "--B\r\nContent-Disposition: form-data; name=\"a\\\"b\"\r\n\r\nx\r\n--B--", "", "name that there is not" },
	{ "--B\r\nContent-Disposition : form-data; name=a\r\n\r\nx\r\n--B--", "", "head that is none" },
	{ "--B\r\n" PART("p") " folded\r\n\r\nx\r\n--B--", "p", "head that is none" },
	{ "--B\r\n" PART("p") "nothing\r\n\r\nx\r\n--B--", "p", "head that is none" },
	{ "--B\r\n" PART("p") "Content-Transfer-Encoding: base64\r\n\r\neA==\r\n--B--", "p", "as it is" },
};

static void test_what_is_no_form_is_refused_and_says_why(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
		if (parse(slice_str(broken[i].body)) != ERR_BAD_REQUEST || info.code != ERR_BAD_REQUEST)
			fail_msg("%zu was taken: %s", i, broken[i].body);
		if (strcmp(info.field, broken[i].field) != 0 || !strstr(info.message, broken[i].words))
			fail_msg("%zu: %s: %s", i, info.field, info.message);
	}
}

/* Read to the byte and no further: what is behind the end is a boundary that would make a form of it. */
static void test_nothing_behind_the_end_is_read(void **state)
{
	static const char whole[] = "--B\r\n" PART("p") "Content-Type: text/plain\r\n\r\nx\r\n--B--";

	(void)state;
	for (size_t n = 0; n + 1 < sizeof(whole); n++)
		if (parse(slice_of(whole, n)) != ERR_BAD_REQUEST)
			fail_msg("the first %zu bytes were taken for a form", n);
	assert_int_equal(parse(slice_of(whole, sizeof(whole) - 1)), 0);
}

static void test_there_is_a_bound_of_parts_and_heads(void **state)
{
	static const char part[] = "--B\r\n" PART("p") "\r\nx\r\n";
	static char body[(FORM_PARTS + 1) * sizeof(part) + FORM_HEAD_BYTES + 8];
	size_t size = 0;

	(void)state;
	for (size_t i = 0; i < FORM_PARTS; i++, size += sizeof(part) - 1)
		memcpy(body + size, part, sizeof(part) - 1);
	memcpy(body + size, "--B--", 5);
	assert_int_equal(parse(slice_of(body, size + 5)), 0);
	assert_int_equal(form.count, FORM_PARTS);
	memcpy(body + size, part, sizeof(part) - 1);
	memcpy(body + size + sizeof(part) - 1, "--B--", 5);
	assert_int_equal(parse(slice_of(body, size + sizeof(part) + 4)), ERR_TOO_LARGE);

	memcpy(body, "--B\r\n" PART("p") "X: ", sizeof("--B\r\n" PART("p") "X: ") - 1);
	size = sizeof("--B\r\n" PART("p") "X: ") - 1;
	memset(body + size, 'x', FORM_HEAD_BYTES);
	memcpy(body + size + FORM_HEAD_BYTES, "\r\n\r\n\r\n--B--", 11);
	assert_int_equal(parse(slice_of(body, size + FORM_HEAD_BYTES + 11)), ERR_BAD_REQUEST);
	assert_non_null(strstr(info.message, "too long"));
}

static const struct {
	const char *type, *boundary; /* NULL: it is refused; "": it is no form */
} types[] = {
	{ NULL, "" },
	{ "", "" },
	{ "application/json", "" },
	{ "multipart/mixed; boundary=x", "" },
	{ "multipart/form-data-not; boundary=x", "" },
	{ "multipart/form-data", NULL },
	{ "multipart/form-data; boundary=", NULL },
	{ "multipart/form-data; boundary=\"\"", NULL },
	{ "multipart/form-data; boundary=\"x", NULL },
	{ "multipart/form-data; boundary=x; boundary=y", NULL },
	{ "multipart/form-data; boundary=\"x \"", NULL },
	{ "multipart/form-data; boundary=\"x\\\"y\"", NULL },
	{ "multipart/form-data; boundary=x{y", NULL },
	{ "multipart/form-data; boundary=0123456789012345678901234567890123456789012345678901234567890123456789x",
	  NULL },
	{ "multipart/form-data; boundary=0123456789012345678901234567890123456789012345678901234567890123456789",
	  "0123456789012345678901234567890123456789012345678901234567890123456789" },
	{ "Multipart/Form-Data;charset=utf-8 ; BOUNDARY=\"a b\"", "a b" },
	{ "multipart/form-data; boundary=----WebKitFormBoundaryAbC;", "----WebKitFormBoundaryAbC" },
};

static void test_the_boundary_is_read_from_the_type(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		const char *boundary = types[i].boundary;
		struct slice found;
		int rc = form_boundary(types[i].type, &found, &info);

		assert_int_equal(rc, !boundary ? ERR_BAD_REQUEST : boundary[0] ? 0 : ERR_NOT_FOUND);
		assert_int_equal(form_is_announced(types[i].type), !boundary || boundary[0]);
		if (rc == 0)
			expect_slice(found, boundary);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parts_are_what_stands_between_the_boundaries),
		cmocka_unit_test(test_bytes_are_bytes),
		cmocka_unit_test(test_what_is_no_form_is_refused_and_says_why),
		cmocka_unit_test(test_nothing_behind_the_end_is_read),
		cmocka_unit_test(test_there_is_a_bound_of_parts_and_heads),
		cmocka_unit_test(test_the_boundary_is_read_from_the_type),
	};

	return cmocka_run_group_tests_name("http/form", tests, NULL, NULL);
}
