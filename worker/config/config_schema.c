/* The fixed part of the schema is in the tables below. The mappings whose keys the user makes up (queues, upstreams,
 * and the headers and further outputs of each upstream) get a table made for this file, from the names in its index: a
 * member per name, all of one shape. So libcyaml checks the whole document, and says of every key that is wrong where
 * it stands.
 *
 * Keys of features that this version does not have are refused by name before libcyaml would call them unknown.
 */
#include "worker/config/config_schema.h"

#include <cyaml/cyaml.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/error.h"
#include "worker/config/issue.h"
#include "worker/config/yaml_index.h"

#define OPTIONAL CYAML_FLAG_OPTIONAL
#define POINTER	 (CYAML_FLAG_OPTIONAL | CYAML_FLAG_POINTER)
#define STRICT	 (CYAML_FLAG_OPTIONAL | CYAML_FLAG_STRICT)

#define WORD(type, key)		  CYAML_FIELD_STRING_PTR(#key, POINTER, struct type, key, 0, CYAML_UNLIMITED)
#define CHOICE(type, key, words)  CYAML_FIELD_ENUM(#key, STRICT, struct type, key, words, ARRAY_SIZE(words))
#define LIST(type, key, entry)	  CYAML_FIELD_SEQUENCE(#key, POINTER, struct type, key, &(entry), 0, 256)
#define NUMBER(type, key)	  CYAML_FIELD_FLOAT_PTR(#key, POINTER | CYAML_FLAG_STRICT, struct type, key)
#define NESTED(type, key, fields) CYAML_FIELD_MAPPING(#key, OPTIONAL, struct type, key, fields)

static const cyaml_schema_value_t string_entry = { CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 0, CYAML_UNLIMITED) };
static const cyaml_schema_value_t number_entry = { CYAML_VALUE_UINT(CYAML_FLAG_DEFAULT, unsigned) };

static const cyaml_strval_t bool_words[] = { { "false", RAW_FALSE }, { "true", RAW_TRUE } };
static const cyaml_strval_t mode_words[] = {
	{ "sync", RAW_MODE_SYNC },
	{ "poll", RAW_MODE_POLL },
	{ "webhook", RAW_MODE_WEBHOOK },
};
static const cyaml_strval_t auth_words[] = {
	{ "none", RAW_AUTH_NONE },
	{ "header", RAW_AUTH_HEADER },
	{ "basic", RAW_AUTH_BASIC },
	{ "jwt_hs256", RAW_AUTH_JWT },
};
static const cyaml_strval_t unknown_words[] = {
	{ "fail", RAW_UNKNOWN_FAIL },
	{ "retry", RAW_UNKNOWN_RETRY },
	{ "lookup", RAW_UNKNOWN_LOOKUP },
};
static const cyaml_strval_t from_words[] = {
	{ "body", RAW_FROM_BODY },
	{ "pointer", RAW_FROM_POINTER },
	{ "get", RAW_FROM_GET },
};
static const cyaml_strval_t result_auth_words[] = {
	{ "none", RAW_RESULT_AUTH_NONE },
	{ "upstream", RAW_RESULT_AUTH_UPSTREAM },
};

static const cyaml_strval_t verify_words[] = {
	{ "none", RAW_VERIFY_NONE },
	{ "standard", RAW_VERIFY_STANDARD },
	{ "fal_ed25519", RAW_VERIFY_FAL },
	{ "hmac_t_v1", RAW_VERIFY_T_V1 },
};
static const cyaml_strval_t confirm_words[] = {
	{ "poll", RAW_CONFIRM_POLL },
	{ "none", RAW_CONFIRM_NONE },
};

static const cyaml_schema_field_t auth_fields[] = {
	CHOICE(raw_auth, kind, auth_words),
	WORD(raw_auth, name),
	WORD(raw_auth, value),
	WORD(raw_auth, user),
	WORD(raw_auth, password),
	WORD(raw_auth, access_key),
	WORD(raw_auth, secret_key),
	WORD(raw_auth, ttl),
	CYAML_FIELD_END,
};
static const cyaml_schema_field_t timeouts_fields[] = {
	WORD(raw_timeouts, connect),
	WORD(raw_timeouts, attempt),
	WORD(raw_timeouts, start),
	WORD(raw_timeouts, stall),
	CYAML_FIELD_END,
};
static const cyaml_schema_field_t urls_fields[] = {
	WORD(raw_urls, status),
	WORD(raw_urls, result),
	WORD(raw_urls, cancel),
	CYAML_FIELD_END,
};
static const cyaml_schema_field_t part_fields[] = {
	WORD(raw_part, name),	  WORD(raw_part, value), WORD(raw_part, file),
	WORD(raw_part, filename), WORD(raw_part, type),	 CHOICE(raw_part, optional, bool_words),
	CYAML_FIELD_END,
};
static const cyaml_schema_value_t part_entry = { CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_part,
								     part_fields) };
static const cyaml_schema_field_t lookup_fields[] = {
	WORD(raw_lookup, method),
	WORD(raw_lookup, path),
	WORD(raw_lookup, body),
	WORD(raw_lookup, id),
	LIST(raw_lookup, absent, number_entry),
	CYAML_FIELD_UINT_PTR("tries", POINTER, struct raw_lookup, tries),
	WORD(raw_lookup, interval),
	CYAML_FIELD_END,
};
static const cyaml_schema_field_t cancel_fields[] = {
	WORD(raw_cancel, method),  WORD(raw_cancel, path), WORD(raw_cancel, body),
	WORD(raw_cancel, timeout), CYAML_FIELD_END,
};
static const cyaml_schema_field_t submit_fields[] = {
	WORD(raw_submit, method),
	WORD(raw_submit, path),
	WORD(raw_submit, body),
	LIST(raw_submit, multipart, part_entry),
	LIST(raw_submit, ok, number_entry),
	WORD(raw_submit, id),
	NESTED(raw_submit, urls, urls_fields),
	WORD(raw_submit, idempotency),
	CHOICE(raw_submit, on_unknown, unknown_words),
	NESTED(raw_submit, lookup, lookup_fields),
	CYAML_FIELD_END,
};
static const cyaml_schema_field_t poll_fields[] = {
	WORD(raw_poll, path),
	WORD(raw_poll, first),
	WORD(raw_poll, interval),
	NUMBER(raw_poll, factor),
	WORD(raw_poll, max),
	NUMBER(raw_poll, jitter),
	WORD(raw_poll, state),
	LIST(raw_poll, pending, string_entry),
	LIST(raw_poll, ok, string_entry),
	LIST(raw_poll, failed, string_entry),
	WORD(raw_poll, error),
	WORD(raw_poll, progress),
	WORD(raw_poll, position),
	CYAML_FIELD_END,
};

/* The table of the outputs is put in where OUTPUTS_FIELD is, for each upstream. */
#define OUTPUTS_FIELD 0
static const cyaml_schema_field_t result_fields[] = {
	CYAML_FIELD_IGNORE("outputs", OPTIONAL),
	CHOICE(raw_result, from, from_words),
	WORD(raw_result, path),
	WORD(raw_result, media),
	WORD(raw_result, preview),
	CHOICE(raw_result, auth, result_auth_words),
	LIST(raw_result, types, string_entry),
	WORD(raw_result, max_bytes),
	CYAML_FIELD_END,
};
static const cyaml_schema_field_t error_fields[] = {
	WORD(raw_error, message),
	WORD(raw_error, code),
	LIST(raw_error, retry_http, number_entry),
	LIST(raw_error, throttle_http, number_entry),
	LIST(raw_error, retry_codes, string_entry),
	LIST(raw_error, throttle_codes, string_entry),
	LIST(raw_error, fatal_codes, string_entry),
	WORD(raw_error, retry_after),
	WORD(raw_error, cap),
	CYAML_FIELD_END,
};
static const cyaml_schema_field_t hook_fields[] = {
	WORD(raw_hook, inject),
	CHOICE(raw_hook, verify, verify_words),
	WORD(raw_hook, secret),
	LIST(raw_hook, secrets, string_entry),
	WORD(raw_hook, header),
	WORD(raw_hook, keys_url),
	CHOICE(raw_hook, confirm, confirm_words),
	WORD(raw_hook, id),
	CYAML_FIELD_END,
};
static const cyaml_schema_field_t warm_fields[] = {
	WORD(raw_warm, method),
	WORD(raw_warm, path),
	WORD(raw_warm, ahead),
	CYAML_FIELD_END,
};
static const cyaml_schema_field_t webhooks_fields[] = {
	CHOICE(raw_webhooks, serve, bool_words),
	LIST(raw_webhooks, secrets, string_entry),
	CHOICE(raw_webhooks, allow_private, bool_words),
	WORD(raw_webhooks, timeout),
	WORD(raw_webhooks, proxy),
	WORD(raw_webhooks, interface),
	WORD(raw_webhooks, ca_file),
	CYAML_FIELD_END,
};
static const cyaml_schema_field_t log_fields[] = {
	WORD(raw_log, level),
	WORD(raw_log, format),
	CYAML_FIELD_END,
};

/* The tables of the headers and of the result are put in where HEADERS_FIELD and RESULT_FIELD are, for each upstream;
 * and warm_word where WARM_FIELD is, in one whose warm is a word. */
#define HEADERS_FIELD 0
#define RESULT_FIELD  1
#define WARM_FIELD    2
static const cyaml_schema_field_t warm_word_field =
	CYAML_FIELD_STRING_PTR("warm", POINTER, struct raw_upstream, warm_word, 0, CYAML_UNLIMITED);
static const cyaml_schema_field_t upstream_fields[] = {
	CYAML_FIELD_IGNORE("headers", OPTIONAL),
	NESTED(raw_upstream, result, result_fields),
	NESTED(raw_upstream, warm, warm_fields),
	WORD(raw_upstream, base_url),
	CHOICE(raw_upstream, mode, mode_words),
	NESTED(raw_upstream, auth, auth_fields),
	LIST(raw_upstream, allow_hosts, string_entry),
	CHOICE(raw_upstream, allow_private, bool_words),
	NESTED(raw_upstream, timeouts, timeouts_fields),
	NESTED(raw_upstream, submit, submit_fields),
	NESTED(raw_upstream, poll, poll_fields),
	NESTED(raw_upstream, error, error_fields),
	NESTED(raw_upstream, cancel, cancel_fields),
	NESTED(raw_upstream, webhook_in, hook_fields),
	WORD(raw_upstream, proxy),
	WORD(raw_upstream, interface),
	WORD(raw_upstream, ca_file),
	CYAML_FIELD_END,
};

/* Likewise for queues and upstreams. */
#define QUEUES_FIELD	0
#define UPSTREAMS_FIELD 1
static const cyaml_schema_field_t config_fields[] = {
	CYAML_FIELD_IGNORE("queues", OPTIONAL),
	CYAML_FIELD_IGNORE("upstreams", OPTIONAL),
	WORD(raw_config, server),
	WORD(raw_config, token),
	WORD(raw_config, name),
	CYAML_FIELD_UINT_PTR("slots", POINTER, struct raw_config, slots),
	WORD(raw_config, lease),
	WORD(raw_config, grace),
	WORD(raw_config, ca_file),
	NESTED(raw_config, log, log_fields),
	NESTED(raw_config, webhooks, webhooks_fields),
	CYAML_FIELD_END,
};

#define UPSTREAM_FIELDS ARRAY_SIZE(upstream_fields)
#define RESULT_FIELDS	ARRAY_SIZE(result_fields)
#define CONFIG_FIELDS	ARRAY_SIZE(config_fields)

/* The tables of one upstream. */
struct upstream_tables {
	cyaml_schema_field_t fields[UPSTREAM_FIELDS];
	cyaml_schema_field_t result[RESULT_FIELDS];
	cyaml_schema_field_t *headers;
	cyaml_schema_field_t *outputs;
};

struct raw_file {
	const struct yaml_index *index;
	struct raw_config *config;
	cyaml_schema_value_t top;
	cyaml_schema_field_t fields[CONFIG_FIELDS];
	cyaml_schema_field_t *queues;
	cyaml_schema_field_t *upstreams;
	struct upstream_tables *tables;
	size_t upstream_count;
};

/* ---- the schema of this file ---- */

static size_t count_children(const struct yaml_index *index, const char *path)
{
	size_t n = 0;

	while (yaml_index_child(index, path, n))
		n++;
	return n;
}

/* A table with a member for each key under path, an array of pointers to it. Member i has the shape of shape(arg, i).
 */
static int make_table(const struct yaml_index *index, const char *path, size_t *ret_count,
		      cyaml_schema_field_t **ret_table)
{
	size_t n = count_children(index, path);
	cyaml_schema_field_t *table = calloc(n + 1, sizeof(*table));

	if (!table)
		return ERR_NO_MEMORY;
	for (size_t i = 0; i < n; i++) {
		table[i].key = yaml_index_child(index, path, i);
		table[i].data_offset = (uint32_t)(i * sizeof(void *));
		table[i].value = string_entry;
	}
	*ret_count = n;
	*ret_table = table;
	return 0;
}

/* The field key: a pointer to an array of n pointers, described by table. */
static cyaml_schema_field_t table_field(const char *key, size_t offset, size_t n, const cyaml_schema_field_t *table)
{
	return (cyaml_schema_field_t){
		.key = key,
		.data_offset = (uint32_t)offset,
		.value = {
			.type = CYAML_MAPPING,
			.flags = (enum cyaml_flag)POINTER,
			.data_size = (uint32_t)((n > 0 ? n : 1) * sizeof(void *)),
			.mapping = { .fields = table },
		},
	};
}

static int make_upstream(struct raw_file *f, size_t i)
{
	struct upstream_tables *t = &f->tables[i];
	char path[256], warm[256];
	size_t headers, outputs;
	int rc;

	snprintf(path, sizeof(path), "upstreams.%s.headers", f->upstreams[i].key);
	rc = make_table(f->index, path, &headers, &t->headers);
	if (rc < 0)
		return rc;
	snprintf(path, sizeof(path), "upstreams.%s.result.outputs", f->upstreams[i].key);
	rc = make_table(f->index, path, &outputs, &t->outputs);
	if (rc < 0)
		return rc;
	memcpy(t->fields, upstream_fields, sizeof(upstream_fields));
	memcpy(t->result, result_fields, sizeof(result_fields));
	t->fields[HEADERS_FIELD] = table_field("headers", offsetof(struct raw_upstream, headers), headers, t->headers);
	t->fields[RESULT_FIELD].value.mapping.fields = t->result;
	t->result[OUTPUTS_FIELD] = table_field("outputs", offsetof(struct raw_result, outputs), outputs, t->outputs);
	snprintf(warm, sizeof(warm), "upstreams.%s.warm", f->upstreams[i].key);
	if (yaml_index_has(f->index, warm) && !yaml_index_child(f->index, warm, 0))
		t->fields[WARM_FIELD] = warm_word_field;
	f->upstreams[i].value = (cyaml_schema_value_t){
		CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct raw_upstream, t->fields),
	};
	return 0;
}

static int make_schema(struct raw_file *f)
{
	size_t queues;
	int rc;

	rc = make_table(f->index, "queues", &queues, &f->queues);
	if (rc == 0)
		rc = make_table(f->index, "upstreams", &f->upstream_count, &f->upstreams);
	if (rc < 0)
		return rc;
	f->tables = calloc(f->upstream_count + 1, sizeof(*f->tables));
	if (!f->tables)
		return ERR_NO_MEMORY;
	for (size_t i = 0; i < f->upstream_count; i++) {
		rc = make_upstream(f, i);
		if (rc < 0)
			return rc;
	}
	memcpy(f->fields, config_fields, sizeof(config_fields));
	f->fields[QUEUES_FIELD] = table_field("queues", offsetof(struct raw_config, queues), queues, f->queues);
	f->fields[UPSTREAMS_FIELD] =
		table_field("upstreams", offsetof(struct raw_config, upstreams), f->upstream_count, f->upstreams);
	f->top = (cyaml_schema_value_t){ CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct raw_config, f->fields) };
	return 0;
}

/* ---- what libcyaml says is wrong ---- */

/* It tells in lines of a log: what is wrong, then where, from the inside out. */
struct complaint {
	char message[200];
	char path[160];
	int line;
};

/* Puts name and a dot before path; a path too long to show keeps its end. */
static void prepend(char path[static 160], const char *name, size_t length)
{
	size_t n = strlen(path), dot = n > 0;

	if (n + dot + length >= 160)
		return;
	memmove(path + length + dot, path, n + 1);
	memcpy(path, name, length);
	if (dot)
		path[length] = '.';
}

static void take_where(struct complaint *c, const char *text)
{
	const char *name = strchr(text, '\'');
	const char *end = name ? strrchr(text, '\'') : NULL;
	const char *line = strstr(text, "(line: ");

	if (line && c->line == 0)
		c->line = (int)strtol(line + 7, NULL, 10);
	if (end && strncmp(text, "  in mapping field ", 19) == 0)
		prepend(c->path, name + 1, (size_t)(end - name - 1));
}

static void complain_cb(cyaml_log_t level, void *ctx, const char *fmt, va_list args)
	__attribute__((format(printf, 3, 0)));

static void complain_cb(cyaml_log_t level, void *ctx, const char *fmt, va_list args)
{
	struct complaint *c = ctx;
	char line[400];
	char *text = line;

	if (level != CYAML_LOG_ERROR)
		return;
	vsnprintf(line, sizeof(line), fmt, args);
	line[strcspn(line, "\n")] = '\0';
	if (strncmp(text, "Load: ", 6) == 0)
		text += 6;
	if (strncmp(text, "  in ", 5) == 0)
		take_where(c, text);
	else if (c->message[0] == '\0' && strncmp(text, "Backtrace", 9) != 0)
		snprintf(c->message, sizeof(c->message), "%.199s", text);
}

/* ---- libcyaml's words in ours ---- */

/* The words that a key takes, after one another; nothing for a key that takes no words of its own. */
static void list_choices(const char *path, char *ret, size_t size)
{
	static const cyaml_schema_field_t *const tables[] = { auth_fields,    part_fields, submit_fields,
							      result_fields,  hook_fields, upstream_fields,
							      webhooks_fields };
	const char *dot = strrchr(path, '.'), *key = dot ? dot + 1 : path;
	size_t used = 0;

	ret[0] = '\0';
	for (size_t t = 0; t < ARRAY_SIZE(tables); t++) {
		for (const cyaml_schema_field_t *f = tables[t]; f->key; f++) {
			if (f->value.type != CYAML_ENUM || strcmp(f->key, key) != 0)
				continue;
			for (uint32_t i = 0; i < f->value.enumeration.count && used < size; i++)
				used += (size_t)snprintf(ret + used, size - used, "%s%s", i > 0 ? ", " : "",
							 f->value.enumeration.strings[i].str);
			return;
		}
	}
}

static bool begins(const char *text, const char *with, const char **ret_rest)
{
	size_t n = strlen(with);

	if (strncmp(text, with, n) != 0)
		return false;
	*ret_rest = text + n;
	return true;
}

static bool kind_in_words(const char *text, char *ret, size_t size)
{
	static const struct {
		const char *kind, *words;
	} kinds[] = {
		{ "MAPPING,", "a mapping of keys" },
		{ "SEQUENCE,", "a list, such as [a, b]" },
		{ "UINT,", "a whole number" },
		{ "FLOAT,", "a number" },
		{ "STRING,", "a text" },
		{ "ENUM,", "a word" },
	};
	const char *rest;

	for (size_t i = 0; begins(text, "Expecting ", &rest) && i < ARRAY_SIZE(kinds); i++) {
		if (!begins(rest, kinds[i].kind, &rest))
			continue;
		snprintf(ret, size, "it is not %s", kinds[i].words);
		return true;
	}
	return false;
}

/* What is not known here stays as it is. */
static void in_words(const char *path, const char *text, char *ret, size_t size)
{
	char choices[200];
	const char *rest;

	if (kind_in_words(text, ret, size))
		return;
	if (begins(text, "Invalid ENUM value: ", &rest)) {
		list_choices(path, choices, sizeof(choices));
		snprintf(ret, size, "\"%s\" is none of: %s", rest, choices);
	} else if (begins(text, "Invalid uint64_t value: '", &rest) || begins(text, "Invalid UINT value: '", &rest)) {
		snprintf(ret, size, "\"%.*s\" is not a whole number, or too large a one", (int)strcspn(rest, "'"),
			 rest);
	} else if (begins(text, "Invalid FLOAT value: ", &rest)) {
		snprintf(ret, size, "\"%s\" is not a number", rest);
	} else {
		snprintf(ret, size, "%s", text);
	}
}

static int report(const struct complaint *c, cyaml_err_t err, const struct yaml_index *index, struct issue *issue)
{
	static const char unexpected[] = "Unexpected key: ";
	const char *what = c->message[0] ? c->message : cyaml_strerror(err);
	char key[320], words[460];
	int line = c->line;

	if (strncmp(what, unexpected, strlen(unexpected)) != 0) {
		in_words(c->path, what, words, sizeof(words));
		return issue_set(issue, line, c->path, "%s", words);
	}
	snprintf(key, sizeof(key), "%s%s%s", c->path, c->path[0] ? "." : "", what + strlen(unexpected));
	if (yaml_index_has(index, key))
		line = yaml_index_line(index, key);
	return issue_set(issue, line, key, "there is no such key");
}

/* ---- reading ---- */

static cyaml_config_t reader(struct complaint *c)
{
	return (cyaml_config_t){
		.log_fn = complain_cb,
		.log_ctx = c,
		.mem_fn = cyaml_mem,
		.log_level = CYAML_LOG_ERROR,
		.flags = CYAML_CFG_NO_ALIAS,
	};
}

int raw_file_new(struct slice text, const struct yaml_index *index, struct raw_file **ret_file, struct issue *issue)
{
	_cleanup_(raw_file_freep) struct raw_file *f = calloc(1, sizeof(*f));
	struct complaint complaint = { .line = 0 };
	cyaml_config_t config = reader(&complaint);
	cyaml_data_t *data = NULL;
	cyaml_err_t err;
	int rc;

	if (!f)
		return ERR_NO_MEMORY;
	f->index = index;
	rc = make_schema(f);
	if (rc < 0)
		return rc;
	err = cyaml_load_data(text.data, text.size, &config, &f->top, &data, NULL);
	/* It is YAML, as the index says: what libyaml cannot read now it has no memory for. */
	if (err == CYAML_ERR_OOM || err == CYAML_ERR_LIBYAML_PARSER || err == CYAML_ERR_LIBYAML_PARSER_INIT)
		return ERR_NO_MEMORY;
	if (err != CYAML_OK)
		return report(&complaint, err, index, issue);
	if (!data)
		return issue_set(issue, 0, NULL, "it is empty");
	f->config = data;
	*ret_file = TAKE_PTR(f);
	return 0;
}

void raw_file_free(struct raw_file *f)
{
	struct complaint ignored;
	cyaml_config_t config = reader(&ignored);

	if (!f)
		return;
	if (f->config)
		cyaml_free(&config, &f->top, f->config, 0);
	for (size_t i = 0; f->tables && i < f->upstream_count; i++) {
		free(f->tables[i].headers);
		free(f->tables[i].outputs);
	}
	free(f->tables);
	free(f->upstreams);
	free(f->queues);
	free(f);
}

const struct raw_config *raw_file_config(const struct raw_file *f)
{
	return f->config;
}
