#include "settings.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/clean.h"
#include "suggest.h"
#include "value.h"

enum kind { TEXT, WHOLE, DURATION, NUMBER, PREVIEW };

/* has is the offset of has_…, or 0 where there is none: no such member begins a put. Without one a put takes 0 for "not
 * given"; positive is set where that would mean something else than the 0 that was asked for. */
struct key {
	const char *name;
	enum kind kind;
	size_t offset;
	size_t has;
	bool positive;
};

#define AT(member) offsetof(struct raincheck_put, member)

static const struct key keys[] = {
	{ "queue", TEXT, AT(queue), 0, false },
	{ "content_type", TEXT, AT(content_type), 0, false },
	{ "priority", WHOLE, AT(priority), AT(has_priority), false },
	{ "delay_ms", DURATION, AT(delay_ms), 0, false },
	{ "run_at_ms", WHOLE, AT(run_at_ms), 0, false },
	{ "start_deadline_ms", DURATION, AT(start_deadline_ms), 0, true },
	{ "deadline_ms", DURATION, AT(deadline_ms), 0, true },
	{ "attempt_timeout_ms", DURATION, AT(attempt_timeout_ms), 0, true },
	{ "max_attempts", WHOLE, AT(max_attempts), 0, true },
	{ "backoff.base_ms", DURATION, AT(backoff.base_ms), AT(backoff.has_base_ms), false },
	{ "backoff.factor", NUMBER, AT(backoff.factor), 0, true },
	{ "backoff.max_ms", DURATION, AT(backoff.max_ms), 0, true },
	{ "backoff.jitter", NUMBER, AT(backoff.jitter), AT(backoff.has_jitter), false },
	{ "idempotency_key", TEXT, AT(idempotency_key), 0, false },
	{ "group", TEXT, AT(group), 0, false },
	{ "title", TEXT, AT(title), 0, false },
	{ "preview", PREVIEW, AT(preview), 0, false },
	{ "callback_url", TEXT, AT(callback_url), 0, false },
	{ "result_ttl_ms", DURATION, AT(result_ttl_ms), AT(has_result_ttl_ms), false },
	{ "traceparent", TEXT, AT(traceparent), 0, false },
};

int settings_refuse(struct settings_error *error, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(error->message, sizeof(error->message), fmt, args);
	va_end(args);
	return RAINCHECK_EBAD_REQUEST;
}

static int no_memory(struct settings_error *error)
{
	settings_refuse(error, "out of memory");
	return RAINCHECK_ENO_MEMORY;
}

/* ---- what a draft owns ---- */

void draft_done(struct draft *d)
{
	for (size_t i = 0; i < d->block_count; i++)
		free(d->blocks[i]);
	free(d->blocks);
	*d = (struct draft){ 0 };
}

/* d owns block from now on; it is freed at once where d cannot take it. False then, and for NULL. */
static bool own(struct draft *d, void *block)
{
	void **blocks = block ? realloc(d->blocks, (d->block_count + 1) * sizeof(*blocks)) : NULL;

	if (!blocks) {
		free(block);
		return false;
	}
	d->blocks = blocks;
	d->blocks[d->block_count++] = block;
	return true;
}

static const char *copy(struct draft *d, const char *text, size_t size)
{
	char *block = malloc(size + 1);

	if (block) {
		memcpy(block, text, size);
		block[size] = '\0';
	}
	return own(d, block) ? block : NULL;
}

/* ---- files ---- */

int settings_read_all(struct draft *d, FILE *f, struct raincheck_bytes *ret, struct settings_error *error)
{
	size_t size = 0, capacity = 65536;
	_cleanup_free_ char *data = malloc(capacity);

	while (data) {
		size_t n = fread(data + size, 1, capacity - size, f);

		size += n;
		if (n == 0)
			break;
		if (size > SETTINGS_MAX_FILE)
			return settings_refuse(error, "is larger than %u MiB", SETTINGS_MAX_FILE >> 20);
		if (size == capacity) {
			char *larger = realloc(data, capacity * 2);

			if (!larger)
				return no_memory(error);
			data = larger;
			capacity *= 2;
		}
	}
	if (ferror(f))
		return settings_refuse(error, "%s", strerror(errno));
	ret->data = data;
	ret->size = size;
	return own(d, TAKE_PTR(data)) ? 0 : no_memory(error);
}

int settings_read_file(struct draft *d, const char *path, FILE *in, struct raincheck_bytes *ret,
		       struct settings_error *error)
{
	struct settings_error why = { "" };
	FILE *f = strcmp(path, "-") == 0 ? in : fopen(path, "re");
	int rc;

	if (!f)
		return settings_refuse(error, "cannot read %s: %s", path, strerror(errno));
	rc = settings_read_all(d, f, ret, &why);
	if (f != in)
		fclose(f);
	if (rc < 0)
		settings_refuse(error, "cannot read %s: %.100s", path, why.message);
	return rc;
}

int settings_set_payload(struct draft *d, const char *data, size_t size, struct settings_error *error)
{
	d->put.payload.data = copy(d, data, size);
	d->put.payload.size = size;
	return d->put.payload.data ? 0 : no_memory(error);
}

static const char *media_type_of(const char *path)
{
	static const char *const types[][2] = {
		{ ".jpg", "image/jpeg" },  { ".jpeg", "image/jpeg" }, { ".png", "image/png" },
		{ ".webp", "image/webp" }, { ".gif", "image/gif" },   { ".avif", "image/avif" },
	};
	const char *end = strrchr(path, '.');

	for (size_t i = 0; end && i < ARRAY_SIZE(types); i++)
		if (strcasecmp(end, types[i][0]) == 0)
			return types[i][1];
	return NULL;
}

static int set_preview(struct draft *d, const char *value, struct settings_error *error)
{
	struct settings_error why;
	const char *type;

	if (value[0] != '@')
		return settings_refuse(error, "preview must be @FILE, an image");
	type = media_type_of(value + 1);
	if (!type)
		return settings_refuse(error, "preview: %s is not named as an image (.jpg .png .webp .gif .avif)",
				       value + 1);
	if (settings_read_file(d, value + 1, NULL, &d->put.preview.data, &why) < 0)
		return settings_refuse(error, "preview: %.200s", why.message);
	d->put.preview.content_type = type;
	return 0;
}

/* ---- single values ---- */

static void store(struct draft *d, const struct key *k, const void *value, size_t size)
{
	char *put = (char *)&d->put;

	memcpy(put + k->offset, value, size);
	if (k->has)
		*(bool *)(put + k->has) = true;
}

static int set_text(struct draft *d, const struct key *k, const char *value, struct settings_error *error)
{
	const char *text = copy(d, value, strlen(value));

	if (!text)
		return no_memory(error);
	store(d, k, &text, sizeof(text));
	return 0;
}

static int set_whole(struct draft *d, const struct key *k, const char *value, struct settings_error *error)
{
	int64_t number;

	if (k->kind == WHOLE && value_whole(value, &number) < 0)
		return settings_refuse(error, "%s must be a whole number, not \"%.60s\"", k->name, value);
	if (k->kind == DURATION && value_duration(value, &number) < 0)
		return settings_refuse(error, "%s must be milliseconds or a duration such as 90s, not \"%.60s\"",
				       k->name, value);
	if (k->positive && number == 0)
		return settings_refuse(error, "%s must be more than 0", k->name);
	store(d, k, &number, sizeof(number));
	return 0;
}

static int set_number(struct draft *d, const struct key *k, const char *value, struct settings_error *error)
{
	double number;

	if (value_number(value, &number) < 0)
		return settings_refuse(error, "%s must be a number, not \"%.60s\"", k->name, value);
	if (k->positive && number <= 0)
		return settings_refuse(error, "%s must be more than 0", k->name);
	store(d, k, &number, sizeof(number));
	return 0;
}

static int set_value(struct draft *d, const struct key *k, const char *value, struct settings_error *error)
{
	switch (k->kind) {
	case TEXT:
		return set_text(d, k, value, error);
	case WHOLE:
	case DURATION:
		return set_whole(d, k, value, error);
	case NUMBER:
		return set_number(d, k, value, error);
	default:
		return set_preview(d, value, error);
	}
}

static int set_metadata(struct draft *d, const char *key, const char *value, struct settings_error *error)
{
	size_t at = 0;

	while (at < d->put.metadata_count && strcmp(d->metadata[at].key, key) != 0)
		at++;
	if (*key == '\0')
		return settings_refuse(error, "metadata needs a key: metadata.KEY");
	if (at == SETTINGS_MAX_METADATA)
		return settings_refuse(error, "metadata: more than %d keys", SETTINGS_MAX_METADATA);
	d->metadata[at].key = copy(d, key, strlen(key));
	d->metadata[at].value = copy(d, value, strlen(value));
	if (!d->metadata[at].key || !d->metadata[at].value)
		return no_memory(error);
	if (at == d->put.metadata_count)
		d->put.metadata_count++;
	d->put.metadata = d->metadata;
	return 0;
}

static const struct key *find_key(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (strcmp(keys[i].name, name) == 0)
			return &keys[i];
	return NULL;
}

static int unknown_key(const char *name, struct settings_error *error)
{
	struct suggest s = { .word = name };

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		suggest_offer(&s, keys[i].name);
	suggest_offer(&s, "metadata.KEY");
	suggest_offer(&s, "payload");
	if (s.best)
		return settings_refuse(error, "unknown setting \"%.60s\"; did you mean %s?", name, s.best);
	return settings_refuse(error, "unknown setting \"%.60s\"", name);
}

int settings_assign(struct draft *d, const char *assignment, struct settings_error *error)
{
	const char *equals = strchr(assignment, '=');
	const struct key *k;
	char name[160];

	if (!equals || equals == assignment || (size_t)(equals - assignment) >= sizeof(name))
		return settings_refuse(error, "\"%.60s\" is not KEY=VALUE", assignment);
	memcpy(name, assignment, (size_t)(equals - assignment));
	name[equals - assignment] = '\0';
	if (strncmp(name, "metadata.", 9) == 0)
		return set_metadata(d, name + 9, equals + 1, error);
	k = find_key(name);
	return k ? set_value(d, k, equals + 1, error) : unknown_key(name, error);
}

/* ---- JSON ---- */

static int payload_from_json(struct draft *d, const json_t *value, struct settings_error *error)
{
	_cleanup_free_ char *text = NULL;

	if (json_is_string(value))
		return settings_set_payload(d, json_string_value(value), json_string_length(value), error);
	text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
	if (!text)
		return no_memory(error);
	if (!d->put.content_type)
		d->put.content_type = "application/json";
	return settings_set_payload(d, text, strlen(text), error);
}

/* A zero byte may be in a payload only: in all else it would cut the text short unseen. */
static bool is_text(const json_t *value)
{
	return json_is_string(value) && strlen(json_string_value(value)) == json_string_length(value);
}

/* As its text, which the same key would be given on the command line. */
static int value_from_json(struct draft *d, const char *name, const json_t *value, struct settings_error *error)
{
	const struct key *k = find_key(name);
	char number[40];

	if (!k)
		return unknown_key(name, error);
	if (json_is_null(value))
		return 0;
	if (is_text(value) && k->kind != WHOLE && k->kind != NUMBER)
		return set_value(d, k, json_string_value(value), error);
	if (k->kind == TEXT || k->kind == PREVIEW)
		return settings_refuse(error, "%s must be a string", k->name);
	if (json_is_integer(value))
		snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(value));
	else if (json_is_real(value) && k->kind == NUMBER)
		snprintf(number, sizeof(number), "%.17g", json_real_value(value));
	else
		return settings_refuse(error, "%s must be a %s", k->name,
				       k->kind == NUMBER ? "number" : "whole number");
	return set_value(d, k, number, error);
}

static int object_from_json(struct draft *d, const char *name, const json_t *object, struct settings_error *error)
{
	bool metadata = strcmp(name, "metadata") == 0;
	const char *key;
	json_t *value;
	char full[160];
	int rc = 0;

	if (!json_is_object(object))
		return settings_refuse(error, "%s must be an object", name);
	json_object_foreach((json_t *)object, key, value)
	{
		snprintf(full, sizeof(full), "%s.%s", name, key);
		if (metadata && !is_text(value))
			rc = settings_refuse(error, "%.100s must be a string", full);
		else if (metadata)
			rc = set_metadata(d, key, json_string_value(value), error);
		else
			rc = value_from_json(d, full, value, error);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int settings_from_json(struct draft *d, const json_t *object, struct settings_error *error)
{
	const char *key;
	json_t *value;
	int rc = 0;

	if (!json_is_object(object))
		return settings_refuse(error, "is not a JSON object");
	json_object_foreach((json_t *)object, key, value)
	{
		if (strcmp(key, "payload") == 0)
			continue;
		if (strcmp(key, "backoff") == 0 || strcmp(key, "metadata") == 0)
			rc = object_from_json(d, key, value, error);
		else
			rc = value_from_json(d, key, value, error);
		if (rc < 0)
			return rc;
	}
	/* After content_type, which it must not override. */
	value = json_object_get(object, "payload");
	return value ? payload_from_json(d, value, error) : 0;
}
