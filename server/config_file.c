/* The operator's file: YAML, by a schema. Every value is read as text and set through config_set(), so that a flag and
 * a key are checked alike; the schema tells which keys there are and where values, lists and mappings stand. */
#include <cyaml/cyaml.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "config_lines.h"
#include "proto/base/buf.h"
#include "proto/error.h"

#define FILE_MAX_BYTES (1 << 20)
#define PATH_BYTES     128

/* The file's shape. NULL for what it does not say. */
struct raw {
	char *data, *http, *public_url, *insecure;
	char **listen;
	unsigned listen_count;
	struct {
		char **hosts;
		unsigned hosts_count;
	} api;
	struct {
		char *level, *format;
	} log;
	struct {
		char *max_bytes, *reserve, *inline_bytes;
	} store;
	struct {
		char *message, *payload, *artifact, *connections, *visitors, *depth, *elements;
	} limits;
	struct {
		char *result, *record, *tombstone;
	} retention;
	struct {
		char *name, *accent, *aspect, *lang, *logo, *templates;
		struct {
			char *text[PAGE_TEXTS];
		} texts;
	} page;
};

#define OPTIONAL CYAML_FLAG_OPTIONAL
#define SUB(sub) __typeof__(((struct raw *)NULL)->sub)
#define VALUE(sub, name, member)                                                                    \
	{                                                                                           \
		.key = name, .data_offset = offsetof(SUB(sub), member), .value = {                  \
			CYAML_VALUE_STRING(OPTIONAL | CYAML_FLAG_POINTER, char, 0, CYAML_UNLIMITED) \
		}                                                                                   \
	}
#define TOP(member)                                                                                 \
	{                                                                                           \
		.key = #member, .data_offset = offsetof(struct raw, member), .value = {             \
			CYAML_VALUE_STRING(OPTIONAL | CYAML_FLAG_POINTER, char, 0, CYAML_UNLIMITED) \
		}                                                                                   \
	}
#define MAPPING(parent, member, fields)                                                 \
	{                                                                               \
		.key = #member, .data_offset = offsetof(parent, member), .value = {     \
			CYAML_VALUE_MAPPING(OPTIONAL, ((parent *)NULL)->member, fields) \
		}                                                                       \
	}
#define TEXT_FIELD(key, english, german) VALUE(page.texts, #key, text[PAGE_TEXT_##key]),

static const cyaml_schema_value_t text_value = { CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 0, CYAML_UNLIMITED) };
static const cyaml_schema_field_t api_fields[] = {
	CYAML_FIELD_SEQUENCE("hosts", OPTIONAL | CYAML_FLAG_POINTER, SUB(api), hosts, &text_value, 0, CONFIG_HOSTS_MAX),
	CYAML_FIELD_END
};
static const cyaml_schema_field_t log_fields[] = { VALUE(log, "level", level), VALUE(log, "format", format),
						   CYAML_FIELD_END };
static const cyaml_schema_field_t store_fields[] = { VALUE(store, "max_bytes", max_bytes),
						     VALUE(store, "reserve", reserve),
						     VALUE(store, "inline_bytes", inline_bytes), CYAML_FIELD_END };
static const cyaml_schema_field_t limits_fields[] = {
	VALUE(limits, "message", message),   VALUE(limits, "payload", payload),
	VALUE(limits, "artifact", artifact), VALUE(limits, "connections", connections),
	VALUE(limits, "visitors", visitors), VALUE(limits, "depth", depth),
	VALUE(limits, "elements", elements), CYAML_FIELD_END
};
static const cyaml_schema_field_t retention_fields[] = { VALUE(retention, "result", result),
							 VALUE(retention, "record", record),
							 VALUE(retention, "tombstone", tombstone), CYAML_FIELD_END };
/* clang-format off */
static const cyaml_schema_field_t texts_fields[] = { PAGE_TEXT_TABLE(TEXT_FIELD) CYAML_FIELD_END };
/* clang-format on */
static const cyaml_schema_field_t page_fields[] = { VALUE(page, "name", name),
						    VALUE(page, "accent", accent),
						    VALUE(page, "aspect", aspect),
						    VALUE(page, "lang", lang),
						    VALUE(page, "logo", logo),
						    VALUE(page, "templates", templates),
						    MAPPING(SUB(page), texts, texts_fields),
						    CYAML_FIELD_END };
static const cyaml_schema_field_t top_fields[] = { TOP(data),
						   CYAML_FIELD_SEQUENCE("listen", OPTIONAL | CYAML_FLAG_POINTER,
									struct raw, listen, &text_value, 1,
									CONFIG_LISTEN_MAX),
						   TOP(http),
						   TOP(public_url),
						   TOP(insecure),
						   MAPPING(struct raw, api, api_fields),
						   MAPPING(struct raw, log, log_fields),
						   MAPPING(struct raw, store, store_fields),
						   MAPPING(struct raw, limits, limits_fields),
						   MAPPING(struct raw, retention, retention_fields),
						   MAPPING(struct raw, page, page_fields),
						   CYAML_FIELD_END };
static const cyaml_schema_value_t schema = { CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct raw, top_fields) };

/* ---- what cyaml says when it refuses ---- */

/* The first error, then its backtrace from the inside out, from which the path is put together. */
struct complaint {
	char message[256];
	char path[PATH_BYTES];
	char unknown[64];
};

static void prepend(struct complaint *c, const char *name)
{
	char rest[PATH_BYTES];

	memcpy(rest, c->path, sizeof(rest));
	snprintf(c->path, sizeof(c->path), "%.60s%s%.60s", name, rest[0] ? "." : "", rest);
}

static void complain_cb(cyaml_log_t level, void *user, const char *fmt, va_list args)
{
	struct complaint *c = user;
	char line[256], name[64];

	if (level != CYAML_LOG_ERROR)
		return;
	vsnprintf(line, sizeof(line), fmt, args);
	line[strcspn(line, "\n")] = '\0';
	if (sscanf(line, " in mapping field '%63[^']'", name) == 1 ||
	    sscanf(line, " in sequence entry '%63[^']'", name) == 1)
		prepend(c, name);
	else if (sscanf(line, "Load: Unexpected key: %63[^\n]", name) == 1)
		snprintf(c->unknown, sizeof(c->unknown), "%s", name);
	else if (c->message[0] == '\0' && strncmp(line, "Load: ", 6) == 0 && strcmp(line, "Load: Backtrace:") != 0)
		snprintf(c->message, sizeof(c->message), "%s", line + 6);
}

/* The library speaks of its events; the operator wrote values, lists and mappings. */
static const char *plain_words(const char *message)
{
	if (strncmp(message, "Expecting MAPPING", 17) == 0)
		return "needs keys with values, not a single value or a list";
	if (strncmp(message, "Expecting SEQUENCE", 18) == 0)
		return "needs a list, such as [a, b]";
	if (strncmp(message, "Expecting STRING", 16) == 0)
		return "needs a single value";
	if (strncmp(message, "Insufficient entries", 20) == 0)
		return "has too few entries";
	if (strncmp(message, "Excessive entries", 17) == 0)
		return "has too many entries";
	return message[0] ? message : "is not valid";
}

/* " (there are: a, b, c)" for the mapping at path. */
static void list_siblings(const char *path, struct buf *out)
{
	const cyaml_schema_field_t *f = top_fields;
	const char *separator = " (there are: ";

	while (*path) {
		size_t length = strcspn(path, ".");

		while (f->key && (strlen(f->key) != length || strncmp(f->key, path, length) != 0))
			f++;
		if (!f->key || f->value.type != CYAML_MAPPING)
			return;
		f = f->value.mapping.fields;
		path += length + (path[length] == '.');
	}
	for (; f->key; f++, separator = ", ")
		buf_printf(out, "%s%s", separator, f->key);
	buf_append_str(out, ")");
}

static int say(struct config_error *error, const char *name, size_t line, const char *key, const char *what)
{
	char place[256];

	if (line > 0)
		snprintf(place, sizeof(place), "%.200s:%zu", name, line);
	else
		snprintf(place, sizeof(place), "%.200s", name);
	snprintf(error->text, sizeof(error->text), "%s: %.128s%s%s", place, key, key[0] ? ": " : "", what);
	return ERR_CONFIG;
}

static int explain_unknown(const char *name, const struct config_lines *lines, const struct complaint *c,
			   struct config_error *error)
{
	_cleanup_(buf_done) struct buf text;
	char key[PATH_BYTES];

	buf_init(&text, 640);
	buf_append_str(&text, "there is no such key");
	list_siblings(c->path, &text);
	buf_append(&text, "", 1);
	snprintf(key, sizeof(key), "%.60s%s%.60s", c->path, c->path[0] ? "." : "", c->unknown);
	return say(error, name, config_lines_find(lines, key), key,
		   buf_error(&text) ? "there is no such key" : (const char *)text.data);
}

static int explain(const char *name, const struct config_lines *lines, struct complaint *c, struct config_error *error)
{
	char *dot;

	if (c->unknown[0])
		return explain_unknown(name, lines, c, error);
	/* The library also speaks of entries that a list should have and has not. */
	while (config_lines_find(lines, c->path) == 0 && (dot = strrchr(c->path, '.')))
		*dot = '\0';
	return say(error, name, config_lines_find(lines, c->path), c->path, plain_words(c->message));
}

/* ---- values ---- */

struct target {
	struct config *config;
	const char *name;
	const struct config_lines *lines;
	struct config_error *error;
};

/* Walks schema and data side by side and sets every single value. */
static int set_values(const struct target *t, const cyaml_schema_field_t *fields, const char *data, const char *prefix)
{
	char key[PATH_BYTES];
	int rc = 0;

	for (const cyaml_schema_field_t *f = fields; f->key && rc == 0; f++) {
		const char *at = data + f->data_offset;
		struct config_error why;

		snprintf(key, sizeof(key), "%s%s%s", prefix, prefix[0] ? "." : "", f->key);
		if (f->value.type == CYAML_MAPPING)
			rc = set_values(t, f->value.mapping.fields, at, key);
		if (f->value.type != CYAML_STRING || !*(char *const *)(const void *)at)
			continue;
		rc = config_set(t->config, key, *(char *const *)(const void *)at, &why);
		if (rc == ERR_CONFIG)
			say(t->error, t->name, config_lines_find(t->lines, key), key, why.text);
	}
	return rc;
}

/* A list of texts, each by add; it takes the place of what was set before. */
struct list {
	const char *key;
	char **items;
	unsigned count;
	void (*clear)(struct config *c);
	int (*add)(struct config *c, const char *text, struct config_error *error);
};

static int set_list(const struct target *t, const struct list *list)
{
	struct config_error why;
	char key[32];
	int rc;

	if (!list->items)
		return 0;
	list->clear(t->config);
	for (unsigned i = 0; i < list->count; i++) {
		rc = list->add(t->config, list->items[i], &why);
		snprintf(key, sizeof(key), "%s.%u", list->key, i);
		if (rc == ERR_CONFIG)
			return say(t->error, t->name, config_lines_find(t->lines, key), key, why.text);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int set_lists(const struct target *t, const struct raw *raw)
{
	const struct list listen = { "listen", raw->listen, raw->listen_count, config_clear_listen, config_add_listen };
	const struct list hosts = { "api.hosts", raw->api.hosts, raw->api.hosts_count, config_clear_hosts,
				    config_add_host };
	int rc = set_list(t, &listen);

	return rc < 0 ? rc : set_list(t, &hosts);
}

int config_read_text(struct config *c, const char *name, const char *text, size_t size, struct config_error *error)
{
	_cleanup_(config_lines_freep) struct config_lines *lines = NULL;
	struct config_lines_error place = { .line = 0 };
	struct complaint complaint = { .path = "" };
	struct target target = { .config = c, .name = name, .error = error };
	const cyaml_config_t how = { .log_fn = complain_cb,
				     .log_ctx = &complaint,
				     .mem_fn = cyaml_mem,
				     .log_level = CYAML_LOG_ERROR,
				     .flags = CYAML_CFG_NO_ALIAS };
	struct raw *raw = NULL;
	int rc;

	rc = config_lines_new(text, size, &lines, &place);
	if (rc == ERR_CONFIG)
		return say(error, name, place.line, place.key, place.message);
	if (rc < 0)
		return rc;
	if (config_lines_empty(lines))
		return 0;
	target.lines = lines;
	if (cyaml_load_data((const uint8_t *)text, size, &how, &schema, (cyaml_data_t **)&raw, NULL) != CYAML_OK)
		return explain(name, lines, &complaint, error);
	if (!raw)
		return 0; /* a mapping with nothing in it */
	rc = set_values(&target, top_fields, (const char *)raw, "");
	if (rc == 0)
		rc = set_lists(&target, raw);
	cyaml_free(&how, &schema, raw, 0);
	return rc;
}

int config_read_file(struct config *c, const char *path, struct config_error *error)
{
	_cleanup_free_ char *text = NULL;
	FILE *f = fopen(path, "re");
	size_t size;
	int rc;

	if (!f)
		return say(error, path, 0, "", strerror(errno));
	text = malloc(FILE_MAX_BYTES);
	if (!text) {
		fclose(f);
		return ERR_NO_MEMORY;
	}
	size = fread(text, 1, FILE_MAX_BYTES, f);
	rc = ferror(f) ? say(error, path, 0, "", strerror(errno)) : 0;
	fclose(f);
	if (rc < 0)
		return rc;
	if (size == FILE_MAX_BYTES)
		return say(error, path, 0, "", "is too large for a configuration");
	return config_read_text(c, path, text, size, error);
}
