/* /v1/openapi.json: a validator of the OpenAPI project's schemas finds nothing, and every field of the table of
 * messages that a producer can give or gets stands in it, with its type and its range. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <ctype.h>
#include <jansson.h>

#include "proto/base/clean.h"
#include "tests/harness/stack.h"
#include "tests/unit/message_rows.h"

static struct stack stack;
static struct http_answer answer;
static json_t *document;

static int setup(void **state)
{
	char url[256];

	(void)state;
	memset(&stack, 0, sizeof(stack));
	tempdir_make(&stack.dir);
	stack_start_broker(&stack);
	snprintf(url, sizeof(url), "%s/v1/openapi.json", stack.http);
	http_request(NULL, url, NULL, &answer);
	document = json_loads(answer.body, 0, NULL);
	return document ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	json_decref(document);
	http_answer_done(&answer);
	stack_stop(&stack);
	return 0;
}

static json_t *at(json_t *from, const char *a, const char *b)
{
	return json_object_get(json_object_get(from, a), b);
}

static void a_validator_finds_nothing(void **state)
{
	char path[256], said[8192];
	const char *argv[] = { "/usr/bin/env", "node", "build/npm/openapi/validate.js", path, NULL };
	FILE *f;

	(void)state;
	snprintf(path, sizeof(path), "%s", tempdir_file(&stack.dir, "openapi.json"));
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(answer.body, 1, answer.size, f), answer.size);
	fclose(f);
	if (process_run(argv, said, sizeof(said)) != 0 || said[0])
		fail_msg("%s", said);
	assert_string_equal(json_string_value(json_object_get(document, "openapi")), "3.1.0");
}

/* ---- the settings of a put ---- */

static json_t *put_operation(void)
{
	return json_object_get(at(document, "paths", "/v1/queues/{queue}/jobs"), "post");
}

static json_t *find_parameter(const char *name, const char *in)
{
	json_t *list = json_object_get(put_operation(), "parameters"), *p;
	size_t i;

	json_array_foreach(list, i, p)
	{
		const char *own = json_string_value(json_object_get(p, "name"));

		if (own && strcmp(own, name) == 0 && strcmp(json_string_value(json_object_get(p, "in")), in) == 0)
			return json_object_get(p, "schema");
	}
	fail_msg("%s is no parameter in %s", name, in);
	return NULL;
}

static bool is_type(const json_t *schema, const char *type)
{
	const json_t *own = json_object_get(schema, "type");

	return strcmp(json_is_array(own) ? json_string_value(json_array_get(own, 0)) : json_string_value(own), type) ==
	       0;
}

static void expect_bound(const json_t *schema, const char *name, int64_t value, int64_t none)
{
	const json_t *bound = json_object_get(schema, name);

	if (value == none && !bound)
		return;
	if (!bound || json_integer_value(bound) != value)
		fail_msg("%s is not %lld: %s", name, (long long)value, json_dumps(schema, 0));
}

static void expect_words(const json_t *schema, const char *const *words)
{
	const json_t *list = json_object_get(schema, "enum");

	for (size_t i = 0; words[i]; i++)
		assert_string_equal(json_string_value(json_array_get(list, i)), words[i]);
}

static void expect_schema(const json_t *schema, const struct row *row)
{
	switch (row->kind) {
	case KIND_INT:
	case KIND_FLOAT:
		assert_true(is_type(schema, row->kind == KIND_INT ? "integer" : "number"));
		expect_bound(schema, "minimum", row->low, INT64_MIN);
		expect_bound(schema, "maximum", row->high, INT64_MAX);
		break;
	case KIND_BOOL:
		assert_true(is_type(schema, "boolean"));
		break;
	case KIND_STR:
	case KIND_ASCII:
		assert_true(is_type(schema, "string"));
		expect_bound(schema, "minLength", row->low, 0);
		expect_bound(schema, "maxLength", row->high, INT64_MAX);
		break;
	case KIND_ENUM:
		expect_words(schema, row->words);
		break;
	case KIND_LIST:
	case KIND_NAMES:
		assert_true(is_type(schema, "array"));
		break;
	case KIND_PAIRS:
	case KIND_WEIGHTS:
		assert_true(is_type(schema, "object"));
		break;
	case KIND_STRUCT:
		assert_true(json_object_get(schema, "$ref") || json_object_get(schema, "anyOf"));
		break;
	default:
		assert_true(is_type(schema, "string"));
	}
}

static void expect_setting(const char *path, const struct row *row)
{
	char header[128] = "Raincheck-";
	bool begins = true;
	size_t n = strlen(header);

	for (const char *p = path; *p && n + 1 < sizeof(header); p++, n++) {
		header[n] = *p == '_' || *p == '.' ? '-' : begins ? (char)toupper((unsigned char)*p) : *p;
		begins = header[n] == '-';
	}
	header[n] = '\0';
	expect_schema(find_parameter(path, "query"), row);
	expect_schema(find_parameter(header, "header"), row);
}

/* Where HTTP has another place for it. */
static bool stands_elsewhere(const struct row *row)
{
	static const char *const none[] = { "queue", "payload", "content_type", "preview" };

	for (size_t i = 0; i < ARRAY_SIZE(none); i++)
		if (strcmp(none[i], row->name) == 0)
			return true;
	return false;
}

static void every_setting_of_a_put_stands_there(void **state)
{
	int seen = 0;

	(void)state;
	for (size_t i = 0; i < rows_job_put.count; i++) {
		const struct row *row = &rows_job_put.row[i];
		char path[128];

		seen++;
		if (stands_elsewhere(row)) {
			continue;
		} else if (strcmp(row->name, "idempotency_key") == 0) {
			expect_schema(find_parameter("Idempotency-Key", "header"), row);
		} else if (strcmp(row->name, "traceparent") == 0) {
			expect_schema(find_parameter("traceparent", "header"), row);
		} else if (row->kind == KIND_PAIRS) {
			expect_schema(find_parameter(row->name, "query"), row);
		} else if (row->kind != KIND_STRUCT) {
			expect_setting(row->name, row);
		}
		for (size_t j = 0; row->kind == KIND_STRUCT && j < row->sub->count; j++) {
			snprintf(path, sizeof(path), "%s.%s", row->name, row->sub->row[j].name);
			expect_setting(path, &row->sub->row[j]);
		}
	}
	assert_true(seen >= 19);
}

static void a_put_takes_any_body_or_a_form_with_a_still(void **state)
{
	json_t *content = at(put_operation(), "requestBody", "content"), *form, *parts;

	(void)state;
	assert_non_null(json_object_get(content, "*/*"));
	form = at(content, "multipart/form-data", "schema");
	parts = json_object_get(form, "properties");
	assert_non_null(json_object_get(parts, "payload"));
	assert_non_null(json_object_get(parts, "preview"));
	assert_string_equal(json_string_value(json_array_get(json_object_get(form, "required"), 0)), "payload");
}

/* And nothing that is no setting. */
static void every_parameter_is_a_setting(void **state)
{
	json_t *list = json_object_get(put_operation(), "parameters"), *p;
	size_t i;

	(void)state;
	json_array_foreach(list, i, p)
	{
		const char *name = json_string_value(json_object_get(p, "name"));
		bool found = false;

		if (!name || strcmp(json_string_value(json_object_get(p, "in")), "query") != 0)
			continue;
		for (size_t r = 0; r < rows_job_put.count; r++)
			found |= strncmp(name, rows_job_put.row[r].name, strcspn(name, ".")) == 0;
		if (!found)
			fail_msg("%s is no setting", name);
	}
}

/* ---- records ---- */

static void expect_record(const struct rows *rows)
{
	json_t *schema = json_object_get(at(document, "components", "schemas"), rows->name);

	if (!schema)
		fail_msg("there is no schema %s", rows->name);
	for (size_t i = 0; i < rows->count; i++) {
		json_t *own = at(schema, "properties", rows->row[i].name);

		if (!own)
			fail_msg("%s has no %s", rows->name, rows->row[i].name);
		expect_schema(own, &rows->row[i]);
		if (rows->row[i].sub)
			expect_record(rows->row[i].sub);
	}
	assert_int_equal(json_object_size(json_object_get(schema, "properties")), rows->count);
}

static void every_record_that_is_answered_stands_there(void **state)
{
	(void)state;
	expect_record(&rows_job);
	expect_record(&rows_job_put_result);
	expect_record(&rows_queue);
}

/* ---- the broker keeps to it ---- */

static void every_path_is_one_that_the_broker_knows(void **state)
{
	const char *path;
	json_t *operations;

	(void)state;
	json_object_foreach(json_object_get(document, "paths"), path, operations)
	{
		struct http_answer options;
		char url[256], *p;

		snprintf(url, sizeof(url), "%s%s", stack.http, path);
		/* "{id}" and the like cannot stand in a URL; any word can be one to OPTIONS. */
		for (p = url; *p; p++)
			*p = *p == '{' || *p == '}' ? 'x' : *p;
		http_request("OPTIONS", url, NULL, &options);
		assert_int_equal(options.status, 204);
		for (void *o = json_object_iter(operations); o; o = json_object_iter_next(operations, o)) {
			char method[16] = "";

			for (size_t i = 0; i < sizeof(method) - 1 && json_object_iter_key(o)[i]; i++)
				method[i] = (char)toupper((unsigned char)json_object_iter_key(o)[i]);
			assert_non_null(strstr(http_header(&options, "Allow"), method));
		}
		http_answer_done(&options);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_validator_finds_nothing),
		cmocka_unit_test(every_setting_of_a_put_stands_there),
		cmocka_unit_test(a_put_takes_any_body_or_a_form_with_a_still),
		cmocka_unit_test(every_parameter_is_a_setting),
		cmocka_unit_test(every_record_that_is_answered_stands_there),
		cmocka_unit_test(every_path_is_one_that_the_broker_knows),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
