/* Templates: what placeholders become, and that no value can become more than a value. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proto/base/buf.h"
#include "proto/base/clean.h"
#include "proto/error.h"
#include "proto/messages.h"
#include "worker/config/secrets.h"
#include "worker/config/template.h"

struct rig {
	struct secrets *secrets;
	json_t *input;
	json_t *answer;
	struct pair metadata[2];
	struct template_values values;
};

static void rig_init(struct rig *r, const char *payload)
{
	setenv("TEMPLATE_KEY", "s3cr3t\"},{", 1);
	assert_int_equal(secrets_new(&r->secrets), 0);
	assert_int_equal(secrets_load(r->secrets, slice_str("env.TEMPLATE_KEY"), true), 0);
	r->input = json_loads(payload, JSON_DECODE_ANY, NULL);
	r->answer = json_loads("{\"files\":{\"9\":[{\"name\":\"a b.mp4\",\"folder\":\"\"}]}}", 0, NULL);
	r->metadata[0] = (struct pair){ slice_str("campaign"), slice_str("summer") };
	r->metadata[1] = (struct pair){ slice_str("evil"), slice_str("a\r\nX-Injected: 1") };
	r->values = (struct template_values){
		.input = r->input,
		.payload = slice_str(payload),
		.job_id = "0192f0c1-0000-7000-8000-000000000001",
		.queue = "greetings",
		.attempt = 2,
		.key = "the-key",
		.answer = r->answer,
		.metadata = r->metadata,
		.metadata_count = 2,
		.secrets = r->secrets,
	};
}

static void rig_done(struct rig *r)
{
	json_decref(r->input);
	json_decref(r->answer);
	secrets_free(r->secrets);
}

/* expected NULL: it must fail with code. */
static void assert_body(const char *payload, const char *body, int code, const char *expected)
{
	struct error_info info = { .code = 0 };
	json_t *tree = json_loads(body, JSON_DECODE_ANY, NULL);
	json_t *filled = NULL;
	struct rig r;
	char *text;

	rig_init(&r, payload);
	assert_non_null(tree);
	assert_int_equal(template_fill_json(tree, &r.values, &filled, &info), code);
	if (expected) {
		text = json_dumps(filled, JSON_ENCODE_ANY | JSON_COMPACT | JSON_PRESERVE_ORDER);
		assert_string_equal(text, expected);
		free(text);
		json_decref(filled);
	} else {
		assert_int_equal(info.code, code);
		assert_true(info.field[0] == '{');
	}
	json_decref(tree);
	rig_done(&r);
}

static void assert_text(const char *payload, const char *template, enum template_use use, int code,
			const char *expected)
{
	struct error_info info = { .code = 0 };
	struct buf out;
	struct rig r;

	rig_init(&r, payload);
	r.values.id = "models/a b/../x";
	buf_init(&out, 65536);
	assert_int_equal(template_fill(slice_str(template), &r.values, use, &out, &info), code);
	if (expected) {
		assert_int_equal(out.size, strlen(expected));
		assert_memory_equal(out.data, expected, out.size);
	}
	buf_done(&out);
	rig_done(&r);
}

static void test_whole_values_keep_their_type(void **state)
{
	(void)state;
	assert_body(
		"{\"n\":3,\"s\":\"x\",\"o\":{\"a\":[1]},\"z\":null,\"b\":true}",
		"{\"a\":\"{input/n}\",\"b\":\"{input/s}\",\"c\":\"{input/o}\",\"d\":\"{input/z}\",\"e\":\"{input/b}\"}",
		0, "{\"a\":3,\"b\":\"x\",\"c\":{\"a\":[1]},\"d\":null,\"e\":true}");
	assert_body("{\"n\":3}", "\"{input}\"", 0, "{\"n\":3}");
	assert_body("{}", "[\"{job.id}\",\"{job.queue}\",\"{job.attempt}\",\"{meta.campaign}\",5,null]", 0,
		    "[\"0192f0c1-0000-7000-8000-000000000001\",\"greetings\",2,\"summer\",5,null]");
}

static void test_embedded_values_become_text(void **state)
{
	(void)state;
	assert_body("{\"n\":3,\"s\":\"Ada\",\"f\":1.5,\"b\":false}",
		    "\"Hi {input/s}, {input/n}, {input/f}, {input/b}!\"", 0, "\"Hi Ada, 3, 1.5, false!\"");
	assert_body("{\"o\":{}}", "\"x {input/o}\"", ERR_BAD_REQUEST, NULL);
	assert_body("{\"a\":[1]}", "\"{input/a}{input/a}\"", ERR_BAD_REQUEST, NULL);
	assert_body("{\"z\":null}", "\"x {input/z}\"", ERR_NOT_FOUND, NULL);
}

static void test_nothing_can_be_injected_into_a_body(void **state)
{
	(void)state;
	assert_body("{\"s\":\"\\\",\\\"admin\\\":true,\\\"x\\\":\\\"\"}", "{\"name\":\"{input/s}\"}", 0,
		    "{\"name\":\"\\\",\\\"admin\\\":true,\\\"x\\\":\\\"\"}");
	assert_body("{\"s\":\"{env.TEMPLATE_KEY}\"}", "{\"name\":\"{input/s}\",\"t\":\"x{input/s}\"}", 0,
		    "{\"name\":\"{env.TEMPLATE_KEY}\",\"t\":\"x{env.TEMPLATE_KEY}\"}");
	assert_body("{}", "{\"k\":\"{env.TEMPLATE_KEY}\"}", 0, "{\"k\":\"s3cr3t\\\"},{\"}");
}

static void test_missing_values_are_named(void **state)
{
	struct error_info info = { .code = 0 };
	json_t *tree = json_string("{input/who/name}");
	json_t *filled;
	struct rig r;

	(void)state;
	rig_init(&r, "{}");
	assert_int_equal(template_fill_json(tree, &r.values, &filled, &info), ERR_NOT_FOUND);
	assert_string_equal(info.field, "{input/who/name}");
	assert_non_null(strstr(info.message, "{input/who/name}"));
	json_decref(tree);
	rig_done(&r);
	assert_body("{}", "\"{meta.none}\"", ERR_NOT_FOUND, NULL);
	assert_body("{}", "\"{id}\"", ERR_NOT_FOUND, NULL);
	assert_body("{}", "\"{hook_url}\"", ERR_NOT_FOUND, NULL);
}

static void test_payload_that_is_not_json(void **state)
{
	(void)state;
	assert_body("just text", "{\"t\":\"{input}\"}", 0, "{\"t\":\"just text\"}");
	assert_body("just text", "{\"t\":\"{input/t}\"}", ERR_NOT_FOUND, NULL);
	assert_body("\xff\xfe", "{\"t\":\"{input}\"}", ERR_BAD_REQUEST, NULL);
}

static void test_braces(void **state)
{
	(void)state;
	assert_body("{\"s\":\"v\"}", "\"{{not} {{{input/s}}\"", 0, "\"{not} {v}\"");
	assert_body("{\"s\":\"v\"}", "{\"{input/s}\":1}", 0, "{\"{input/s}\":1}");
}

static void test_paths_are_encoded(void **state)
{
	(void)state;
	assert_text("{\"s\":\"a b/c?d#e%&=+\"}", "/v1/{input/s}/x", TEMPLATE_PATH, 0,
		    "/v1/a%20b%2Fc%3Fd%23e%25%26%3D%2B/x");
	assert_text("{\"s\":\"..\"}", "/v1/{input/s}/x", TEMPLATE_PATH, 0, "/v1/%2E%2E/x");
	assert_text("{\"s\":\".\"}", "/v1/{input/s}", TEMPLATE_PATH, 0, "/v1/%2E");
	assert_text("{\"s\":\"a.b\"}", "/v1/{input/s}", TEMPLATE_PATH, 0, "/v1/a.b");
	assert_text("{\"s\":\"\\u00e9\"}", "/{input/s}", TEMPLATE_PATH, 0, "/%C3%A9");
	assert_text("{\"s\":7}", "/{input/s}?q={meta.campaign}", TEMPLATE_PATH, 0, "/7?q=summer");
}

static void test_an_empty_path_part_is_refused(void **state)
{
	(void)state;
	assert_text("{\"s\":\"\"}", "/v1/tasks/{input/s}", TEMPLATE_PATH, ERR_NOT_FOUND, NULL);
}

static void test_slashes_may_be_kept(void **state)
{
	(void)state;
	assert_text("{}", "/v1/{id}", TEMPLATE_PATH, 0, "/v1/models%2Fa%20b%2F..%2Fx");
	assert_text("{}", "/v1/{+id}", TEMPLATE_PATH, 0, "/v1/models/a%20b/%2E%2E/x");
	assert_text("{\"p\":\"?a=b#c&d\"}", "/{+input/p}", TEMPLATE_PATH, 0, "/%3Fa%3Db%23c%26d");
}

static void test_the_answer_and_the_key_can_be_named(void **state)
{
	(void)state;
	assert_text("{}", "/v?f={answer/files/*/0/name}&d={answer/files/*/0/folder}&k={key}", TEMPLATE_PATH, 0,
		    "/v?f=a%20b.mp4&d=&k=the-key");
	assert_text("{}", "/v/{answer/files/*/0/folder}", TEMPLATE_PATH, ERR_NOT_FOUND, NULL);
	assert_text("{}", "/v/{answer/nothing}", TEMPLATE_PATH, ERR_NOT_FOUND, NULL);
	assert_text("{\"p\":\"a\\r\\nb\"}", "x {input/p}", TEMPLATE_TEXT, 0, "x a\r\nb");
}

static void test_headers_hold_no_lines(void **state)
{
	(void)state;
	assert_text("{}", "{meta.campaign} {job.attempt}", TEMPLATE_HEADER, 0, "summer 2");
	assert_text("{}", "{meta.evil}", TEMPLATE_HEADER, ERR_BAD_REQUEST, NULL);
}

static void test_secrets_can_be_masked(void **state)
{
	struct buf out;
	struct rig r;

	(void)state;
	rig_init(&r, "{}");
	r.values.mask_secrets = true;
	buf_init(&out, 1000);
	assert_int_equal(template_fill(slice_str("Bearer {env.TEMPLATE_KEY}"), &r.values, TEMPLATE_HEADER, &out, NULL),
			 0);
	assert_int_equal(out.size, 10);
	assert_memory_equal(out.data, "Bearer ***", 10);
	buf_done(&out);
	rig_done(&r);
}

static void assert_check(const char *text, unsigned known, int code, const char *why)
{
	char said[200] = "";
	struct rig r;

	rig_init(&r, "{}");
	assert_int_equal(template_check(slice_str(text), r.secrets, known, said, sizeof(said)), code);
	if (why)
		assert_non_null(strstr(said, why));
	rig_done(&r);
}

static void test_checking(void **state)
{
	(void)state;
	unsetenv("TEMPLATE_NONE");
	assert_check("/v1/{input/a~1b}/{job.id}{{", 0, 0, NULL);
	assert_check("/v1/{id}", TEMPLATE_KNOWS_ID, 0, NULL);
	assert_check("/v1/{id}", 0, ERR_CONFIG, "{id}");
	assert_check("{inptu/x}", 0, ERR_CONFIG, "{inptu/x}");
	assert_check("{input/x", 0, ERR_CONFIG, "{input/x}");
	assert_check("{input/~7}", 0, ERR_CONFIG, "JSON Pointer");
	assert_check("{}", 0, ERR_CONFIG, "placeholder");
	assert_check("/v1/{+id}", TEMPLATE_KNOWS_ID | TEMPLATE_IS_PATH, 0, NULL);
	assert_check("{+id}", TEMPLATE_KNOWS_ID, ERR_CONFIG, "belongs into a path");
	assert_check("{answer/x}", TEMPLATE_KNOWS_ID, ERR_CONFIG, "result.path");
	assert_check("{answer/x}{key}", TEMPLATE_KNOWS_ANSWER, 0, NULL);
	assert_check("{answer/~7}", TEMPLATE_KNOWS_ANSWER, ERR_CONFIG, "JSON Pointer");
	assert_check("{env.TEMPLATE_NONE:-else}", 0, 0, NULL);
	assert_check("{env.TEMPLATE_NONE}", 0, ERR_NOT_FOUND, "{env.TEMPLATE_NONE} is not there");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole_values_keep_their_type),
		cmocka_unit_test(test_embedded_values_become_text),
		cmocka_unit_test(test_nothing_can_be_injected_into_a_body),
		cmocka_unit_test(test_missing_values_are_named),
		cmocka_unit_test(test_payload_that_is_not_json),
		cmocka_unit_test(test_braces),
		cmocka_unit_test(test_paths_are_encoded),
		cmocka_unit_test(test_an_empty_path_part_is_refused),
		cmocka_unit_test(test_slashes_may_be_kept),
		cmocka_unit_test(test_the_answer_and_the_key_can_be_named),
		cmocka_unit_test(test_headers_hold_no_lines),
		cmocka_unit_test(test_secrets_can_be_masked),
		cmocka_unit_test(test_checking),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
