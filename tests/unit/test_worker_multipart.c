/* Forms: what each part looks like, byte by byte, and what cannot be made into one. */
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
#include "worker/call/multipart.h"
#include "worker/config/template.h"
#include "worker/config/upstream.h"

struct made {
	int rc;
	char type[MULTIPART_TYPE_SIZE];
	char *body;
	size_t size;
	struct error_info info;
};

static struct made make(const char *payload, const struct upstream_part *parts, size_t count, bool masked)
{
	struct upstream_submit s = { .parts = (struct upstream_part *)(uintptr_t)parts, .part_count = count };
	json_t *input = json_loads(payload, JSON_DECODE_ANY, NULL);
	struct template_values values = { .input = input, .payload = slice_str(payload), .mask_secrets = masked };
	struct made m = { .body = NULL };

	m.rc = multipart_make(&s, &values, "text/plain", m.type, &m.body, &m.size, &m.info);
	json_decref(input);
	return m;
}

/* With "B" in place of the boundary. */
static void assert_form(struct made m, const char *expected)
{
	const char *boundary = m.type + strlen("multipart/form-data; boundary=");
	_cleanup_free_ char *text = calloc(1, m.size + 1);
	size_t n = 0, size = strlen(boundary);

	assert_int_equal(m.rc, 0);
	assert_int_equal(size, 32);
	for (size_t i = 0; i < m.size; i++) {
		if (m.size - i >= size && memcmp(m.body + i, boundary, size) == 0) {
			text[n++] = 'B';
			i += size - 1;
		} else {
			text[n++] = m.body[i];
		}
	}
	assert_string_equal(text, expected);
	free(m.body);
}

static const struct upstream_part value = { .name = "seed", .value = "{input/seed}" };
static const struct upstream_part maybe = { .name = "seed", .value = "{input/seed}", .optional = true };
static const struct upstream_part image = { .name = "image", .file = "{input/image}", .filename = "a \"b\".png" };

static void test_values_and_files(void **state)
{
	const struct upstream_part parts[] = { value, image };

	(void)state;
	assert_form(make("{\"seed\":7,\"image\":\"aGVs\\nbG8=\"}", parts, 2, false),
		    "--B\r\nContent-Disposition: form-data; name=\"seed\"\r\n\r\n7\r\n"
		    "--B\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a %22b%22.png\"\r\n"
		    "Content-Type: application/octet-stream\r\n\r\nhello\r\n--B--\r\n");
	assert_form(make("{\"image\":\"data:image/png;base64,aGVsbG8=\"}", &image, 1, false),
		    "--B\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a %22b%22.png\"\r\n"
		    "Content-Type: image/png\r\n\r\nhello\r\n--B--\r\n");
}

static void test_the_payload_itself(void **state)
{
	const struct upstream_part plain = { .name = "p", .file = "{payload}" };
	const struct upstream_part typed = { .name = "p", .file = "{payload}", .type = "image/jpeg" };

	(void)state;
	assert_form(make("any bytes", &plain, 1, false),
		    "--B\r\nContent-Disposition: form-data; name=\"p\"; filename=\"p\"\r\n"
		    "Content-Type: text/plain\r\n\r\nany bytes\r\n--B--\r\n");
	assert_form(make("any bytes", &typed, 1, true),
		    "--B\r\nContent-Disposition: form-data; name=\"p\"; filename=\"p\"\r\n"
		    "Content-Type: image/jpeg\r\n\r\n(9 bytes)\r\n--B--\r\n");
}

static void test_what_is_not_there(void **state)
{
	struct made m;

	(void)state;
	assert_form(make("{}", &maybe, 1, false), "--B--\r\n");
	m = make("{}", &value, 1, false);
	assert_int_equal(m.rc, ERR_NOT_FOUND);
	assert_non_null(strstr(m.info.message, "{input/seed}"));
}

static void assert_refused(const char *payload, const char *words)
{
	struct made m = make(payload, &image, 1, false);

	assert_int_equal(m.rc, ERR_BAD_REQUEST);
	assert_null(m.body);
	if (!strstr(m.info.message, words))
		fail_msg("\"%s\" is not in \"%s\"", words, m.info.message);
}

static void test_what_is_no_file(void **state)
{
	(void)state;
	assert_refused("{\"image\":\"https://example.com/a.png\"}", "neither base64 nor a data: URL");
	assert_refused("{\"image\":\"\"}", "neither base64");
	assert_refused("{\"image\":\"data:nothing\"}", "neither base64");
	/* A line of its own in the head of a part. */
	assert_refused("{\"image\":\"data:image/png\\r\\nX-Evil: 1;base64,aGVsbG8=\"}", "control characters");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values_and_files),
		cmocka_unit_test(test_the_payload_itself),
		cmocka_unit_test(test_what_is_not_there),
		cmocka_unit_test(test_what_is_no_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
