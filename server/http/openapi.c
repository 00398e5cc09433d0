/* The paths are written down in openapi_paths.c; parameters and schemas are made from the table and put into them. */
#include "openapi.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/buf.h"
#include "proto/messages_fields.h"
#include "server/http/api_settings.h"
#include "server/http/openapi_paths.h"
#include "server/http/response.h"
#include "server/http/site.h"

#define NAME_PATTERN  "^[A-Za-z0-9._:-]{1,128}$"
#define DOCUMENT_MAX  (1 << 20)
#define REF_OF(whole) json_pack("{s:s}", "$ref", whole)

/* ---- schemas of fields ---- */

static json_t *reference(const struct message *m)
{
	char whole[128];

	snprintf(whole, sizeof(whole), "#/components/schemas/%s", message_name(m));
	return REF_OF(whole);
}

static void bound(json_t *schema, const char *low_name, const char *high_name, const struct field_info *f)
{
	if (f->low != INT64_MIN && !(f->low == 0 && strcmp(low_name, "minLength") == 0))
		json_object_set_new(schema, low_name, json_integer(f->low));
	if (f->high != INT64_MAX)
		json_object_set_new(schema, high_name, json_integer(f->high));
}

static json_t *typed(const char *type, bool nullable)
{
	return nullable ? json_pack("{s:[s,s]}", "type", type, "null") : json_pack("{s:s}", "type", type);
}

static json_t *schema_of_word(const struct field_info *f)
{
	json_t *schema = typed("string", f->nullable), *words = json_array();

	for (size_t i = 0; f->words[i]; i++)
		json_array_append_new(words, json_string(f->words[i]));
	if (f->nullable)
		json_array_append_new(words, json_null());
	json_object_set_new(schema, "enum", words);
	return schema;
}

static json_t *schema_of_text(const struct field_info *f)
{
	json_t *schema = typed("string", f->nullable);

	if (f->kind == FIELD_NAME)
		json_object_set_new(schema, "pattern", json_string(NAME_PATTERN));
	else if (f->kind == FIELD_UUID)
		json_object_set_new(schema, "format", json_string("uuid"));
	else if (f->kind == FIELD_TEXT)
		bound(schema, "minLength", "maxLength", f);
	return schema;
}

static json_t *schema_of_number(const struct field_info *f)
{
	json_t *schema = typed(f->kind == FIELD_INT ? "integer" : "number", f->nullable);

	bound(schema, "minimum", "maximum", f);
	return schema;
}

static json_t *schema_of_list(const struct field_info *f)
{
	json_t *items = f->kind == FIELD_MESSAGES ? reference(f->sub)
						  : json_pack("{s:s, s:s}", "type", "string", "pattern", NAME_PATTERN);

	return json_pack("{s:s, s:o}", "type", "array", "items", items);
}

static json_t *schema_of_map(const struct field_info *f)
{
	const char *values = f->kind == FIELD_PAIRS ? "string" : "integer";

	return json_pack("{s:s, s:{s:s}}", "type", "object", "additionalProperties", "type", values);
}

static json_t *schema_of(const struct field_info *f)
{
	switch (f->kind) {
	case FIELD_INT:
	case FIELD_FLOAT:
		return schema_of_number(f);
	case FIELD_BOOL:
		return typed("boolean", f->nullable);
	case FIELD_WORD:
		return schema_of_word(f);
	case FIELD_MESSAGE:
		return f->nullable ? json_pack("{s:[o,o]}", "anyOf", reference(f->sub), typed("null", false))
				   : reference(f->sub);
	case FIELD_MESSAGES:
	case FIELD_NAMES:
		return schema_of_list(f);
	case FIELD_PAIRS:
	case FIELD_WEIGHTS:
		return schema_of_map(f);
	default:
		return schema_of_text(f);
	}
}

/* Adds the message's schema under its name, and those of all that it holds. */
static void add_schema(json_t *schemas, const struct message *m)
{
	json_t *properties = json_object(), *required = json_array();
	struct field_info f;

	if (json_object_get(schemas, message_name(m))) {
		json_decref(properties);
		json_decref(required);
		return;
	}
	json_object_set_new(
		schemas, message_name(m),
		json_pack("{s:s, s:o, s:o}", "type", "object", "properties", properties, "required", required));
	for (size_t i = 0; message_field(m, i, &f); i++) {
		json_object_set_new(properties, f.name, schema_of(&f));
		if (f.required || f.nullable)
			json_array_append_new(required, json_string(f.name));
		if (f.sub)
			add_schema(schemas, f.sub);
	}
}

/* ---- the settings of a put ---- */

static void add_parameter(json_t *list, const char *name, const char *in, json_t *schema, const char *words)
{
	json_t *parameter = json_pack("{s:s, s:s, s:o}", "name", name, "in", in, "schema", schema);

	if (words)
		json_object_set_new(parameter, "description", json_string(words));
	json_array_append_new(list, parameter);
}

/* "backoff.base_ms" as "Raincheck-Backoff-Base-Ms". */
static void header_name(const char *path, char *ret, size_t size)
{
	bool begins = true;

	snprintf(ret, size, "Raincheck-%s", path);
	for (char *p = ret + strlen("Raincheck-"); *p; p++) {
		if (*p == '_' || *p == '.')
			*p = '-';
		if (begins)
			*p = (char)toupper((unsigned char)*p);
		begins = *p == '-';
	}
}

static void add_setting(json_t *list, const char *path, const struct field_info *f)
{
	char header[96];

	header_name(path, header, sizeof(header));
	add_parameter(list, path, "query", schema_of(f), NULL);
	add_parameter(list, header, "header", schema_of(f), NULL);
}

/* The members are parameters of their own: "metadata.KEY". */
static void add_pairs(json_t *list, const struct field_info *f)
{
	char pattern[64];
	json_t *parameter;

	snprintf(pattern, sizeof(pattern), "^%s\\..+$", f->name);
	parameter = json_pack("{s:s, s:s, s:s, s:b, s:s, s:{s:s, s:{s:{s:s}}, s:b, s:I}}", "name", f->name, "in",
			      "query", "style", "form", "explode", 1, "description",
			      "Each entry is a parameter metadata.KEY, or a header Raincheck-Metadata-KEY with the key "
			      "in lower case.",
			      "schema", "type", "object", "patternProperties", pattern, "type", "string",
			      "additionalProperties", 0, "maxProperties", (json_int_t)f->high);
	json_array_append_new(list, parameter);
}

static void add_settings(json_t *list)
{
	struct field_info f, inner;
	char path[128];

	for (size_t i = 0; message_field(&MSG_job_put, i, &f); i++) {
		if (api_settings_elsewhere(f.name))
			continue;
		if (f.kind == FIELD_PAIRS)
			add_pairs(list, &f);
		else if (f.kind != FIELD_MESSAGE)
			add_setting(list, f.name, &f);
		for (size_t j = 0; f.kind == FIELD_MESSAGE && message_field(f.sub, j, &inner); j++) {
			snprintf(path, sizeof(path), "%s.%s", f.name, inner.name);
			add_setting(list, path, &inner);
		}
	}
}

/* Those that have a header of HTTP's own, by the table too. */
static void bound_headers(json_t *list)
{
	static const char *const fields[][2] = { { "idempotency_key", "Idempotency-Key" },
						 { "traceparent", "traceparent" } };
	struct field_info f;

	for (size_t i = 0; message_field(&MSG_job_put, i, &f); i++)
		for (size_t j = 0; j < sizeof(fields) / sizeof(fields[0]); j++)
			if (strcmp(f.name, fields[j][0]) == 0)
				add_parameter(list, fields[j][1], "header", schema_of(&f), NULL);
}

/* ---- the document ---- */

static void fill(json_t *document)
{
	json_t *schemas = json_object_get(json_object_get(document, "components"), "schemas");
	json_t *put =
		json_object_get(json_object_get(json_object_get(document, "paths"), "/v1/queues/{queue}/jobs"), "post");
	json_t *list = json_object_get(put, "parameters");

	json_object_set_new(json_object_get(document, "info"), "version", json_string(RAINCHECK_VERSION));
	add_schema(schemas, &MSG_job);
	add_schema(schemas, &MSG_job_put_result);
	add_schema(schemas, &MSG_queue);
	add_schema(schemas, &MSG_queue_list_result);
	bound_headers(list);
	add_settings(list);
}

static json_t *read_paths(void)
{
	char *json = strdup(openapi_paths);
	json_t *document;

	for (char *p = json; p && *p; p++)
		*p = *p == '\'' ? '"' : *p;
	document = json ? json_loads(json, 0, NULL) : NULL;
	free(json);
	return document;
}

char *openapi_make(void)
{
	json_t *document = read_paths();
	char *text = NULL;

	if (document) {
		fill(document);
		text = json_dumps(document, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
	}
	json_decref(document);
	return text;
}

int openapi_prepare(struct site *site)
{
	char *text = openapi_make();
	struct buf body;

	if (!text)
		return ERR_NO_MEMORY;
	buf_init(&body, DOCUMENT_MAX);
	buf_append_str(&body, text);
	free(text);
	site->openapi = response_new(&body, "application/json");
	buf_done(&body);
	return site->openapi ? 0 : ERR_NO_MEMORY;
}

void openapi_release(struct site *site)
{
	if (site->openapi)
		MHD_destroy_response(site->openapi);
	site->openapi = NULL;
}

enum MHD_Result openapi_serve(const struct request *r)
{
	return MHD_queue_response(r->connection, MHD_HTTP_OK, r->site->openapi);
}
