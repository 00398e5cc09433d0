#include "worker/config/template.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/buf.h"
#include "proto/base/clean.h"
#include "proto/base/text.h"
#include "proto/error.h"
#include "proto/messages.h"
#include "worker/config/json_text.h"
#include "worker/config/pointer.h"
#include "worker/config/secrets.h"

#define STRING_MAX (4 * 1024 * 1024)
#define DEPTH_MAX  64

enum part_kind {
	PART_LITERAL,
	PART_INPUT,
	PART_JOB_ID,
	PART_JOB_QUEUE,
	PART_JOB_ATTEMPT,
	PART_META,
	PART_KEY,
	PART_ID,
	PART_ANSWER,
	PART_HOOK_URL,
	PART_SECRET,
	PART_UNKNOWN
};

/* A piece of a text: a literal, or a placeholder with its argument. */
struct part {
	enum part_kind kind;
	struct slice text; /* the literal, or what stands between the braces */
	struct slice arg;  /* a pointer, a key */
	bool spread;	   /* in a path, slashes stay */
};

static const struct {
	const char *name;
	enum part_kind kind;
	bool prefix; /* the rest of the name is the argument */
} placeholders[] = {
	{ "input", PART_INPUT, false },
	{ "input/", PART_INPUT, true },
	{ "job.id", PART_JOB_ID, false },
	{ "job.queue", PART_JOB_QUEUE, false },
	{ "job.attempt", PART_JOB_ATTEMPT, false },
	{ "meta.", PART_META, true },
	{ "key", PART_KEY, false },
	{ "id", PART_ID, false },
	{ "answer/", PART_ANSWER, true },
	{ "hook_url", PART_HOOK_URL, false },
};

static struct part placeholder(struct slice name)
{
	struct part p = { .kind = PART_UNKNOWN };

	p.spread = name.size > 1 && *(const char *)name.data == '+';
	if (p.spread)
		name = slice_of((const char *)name.data + 1, name.size - 1);
	p.text = name;
	if (secrets_names(name)) {
		p.kind = PART_SECRET;
		return p;
	}
	for (size_t i = 0; i < ARRAY_SIZE(placeholders); i++) {
		size_t n = strlen(placeholders[i].name);
		bool match = placeholders[i].prefix ? name.size >= n && memcmp(name.data, placeholders[i].name, n) == 0
						    : slice_is(name, placeholders[i].name);

		if (!match)
			continue;
		p.kind = placeholders[i].kind;
		p.arg = slice_of((const char *)name.data + n, name.size - n);
		/* The slash is part of the pointer. */
		if ((p.kind == PART_INPUT || p.kind == PART_ANSWER) && placeholders[i].prefix)
			p.arg = slice_of((const char *)p.arg.data - 1, p.arg.size + 1);
	}
	return p;
}

/* Takes the next part off text. A brace that is never closed gives PART_UNKNOWN. */
static bool take_part(struct slice *text, struct part *ret)
{
	const char *p = text->data;
	const char *open, *close;
	size_t taken;

	if (text->size == 0)
		return false;
	open = memchr(p, '{', text->size);
	if (open != p) {
		taken = open ? (size_t)(open - p) : text->size;
		*ret = (struct part){ .kind = PART_LITERAL, .text = slice_of(p, taken) };
	} else if (text->size > 1 && p[1] == '{') {
		taken = 2;
		*ret = (struct part){ .kind = PART_LITERAL, .text = slice_of(p, 1) };
	} else {
		close = memchr(p, '}', text->size);
		taken = close ? (size_t)(close - p) + 1 : text->size;
		*ret = placeholder(slice_of(p + 1, taken - (close ? 2 : 1)));
		if (!close)
			ret->kind = PART_UNKNOWN;
	}
	*text = slice_of(p + taken, text->size - taken);
	return true;
}

/* ---- at start ---- */

/* A sentence's end about the placeholder; NULL where it may stand there. */
static const char *misplaced(const struct part *p, unsigned known)
{
	if (p->kind == PART_UNKNOWN)
		return "is not a placeholder (a brace itself is written {{)";
	if (p->kind == PART_ID && !(known & TEMPLATE_KNOWS_ID))
		return "is not known yet when this is sent";
	if (p->kind == PART_ANSWER && !(known & TEMPLATE_KNOWS_ANSWER))
		return "is known only to result.path, after a poll";
	if ((p->kind == PART_INPUT || p->kind == PART_ANSWER) && pointer_check(p->arg) < 0)
		return "does not hold a JSON Pointer";
	if (p->spread && !(known & TEMPLATE_IS_PATH))
		return "with a + belongs into a path";
	return NULL;
}

int template_check(struct slice text, struct secrets *secrets, unsigned known, char *why, size_t size)
{
	const char *wrong;
	struct part p;
	int rc;

	while (take_part(&text, &p)) {
		wrong = misplaced(&p, known);
		if (wrong) {
			snprintf(why, size, "{%.*s} %s", SLICE_FMT(p.text), wrong);
			return ERR_CONFIG;
		}
		rc = p.kind == PART_SECRET ? secrets_load(secrets, p.text, true) : 0;
		if (rc < 0) {
			snprintf(why, size, "{%.*s} %s", SLICE_FMT(p.text), secrets_problem(rc));
			return rc;
		}
	}
	return 0;
}

bool template_names_id(struct slice text)
{
	struct part p;

	while (take_part(&text, &p))
		if (p.kind == PART_ID)
			return true;
	return false;
}

static int check_json(json_t *value, struct secrets *secrets, unsigned known, int depth, char *why, size_t size)
{
	const char *key;
	json_t *child;
	size_t i;
	int rc = 0;

	if (depth > DEPTH_MAX) {
		snprintf(why, size, "it is nested too deeply");
		return ERR_CONFIG;
	}
	if (json_is_string(value))
		return template_check(slice_of(json_string_value(value), json_string_length(value)), secrets, known,
				      why, size);
	json_object_foreach(value, key, child)
	{
		rc = check_json(child, secrets, known, depth + 1, why, size);
		if (rc < 0)
			return rc;
	}
	json_array_foreach(value, i, child)
	{
		rc = check_json(child, secrets, known, depth + 1, why, size);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int template_check_json(json_t *body, struct secrets *secrets, unsigned known, char *why, size_t size)
{
	return check_json(body, secrets, known, 0, why, size);
}

/* ---- values ---- */

static int missing(struct error_info *info, const struct part *p, const char *why)
{
	char name[96];

	snprintf(name, sizeof(name), "{%.*s}", SLICE_FMT(p->text));
	return error_set(info, ERR_NOT_FOUND, name, "%s has no value: %s", name, why);
}

static int string_value(struct slice s, const struct part *p, json_t **ret, struct error_info *info)
{
	char name[96];

	/* json_stringn() refuses what is not UTF-8; Jansson's and the wire's own strings always are. */
	*ret = json_stringn(s.data ? s.data : "", s.size);
	if (*ret)
		return 0;
	snprintf(name, sizeof(name), "{%.*s}", SLICE_FMT(p->text));
	return error_set(info, utf8_valid(s) ? ERR_NO_MEMORY : ERR_BAD_REQUEST, name, "%s is not UTF-8 text", name);
}

static int input_value(const struct part *p, const struct template_values *v, json_t **ret, struct error_info *info)
{
	json_t *found;

	if (!v->input && p->arg.size == 0)
		return string_value(v->payload, p, ret, info);
	if (!v->input)
		return missing(info, p, "the payload is not JSON");
	found = pointer_find(v->input, p->arg);
	if (!found)
		return missing(info, p, "the payload has nothing there");
	*ret = json_incref(found);
	return 0;
}

static int answer_value(const struct part *p, const struct template_values *v, json_t **ret, struct error_info *info)
{
	json_t *found = v->answer ? pointer_find(v->answer, p->arg) : NULL;

	if (!found)
		return missing(info, p, "the API's answer has nothing there");
	*ret = json_incref(found);
	return 0;
}

static int meta_value(const struct part *p, const struct template_values *v, json_t **ret, struct error_info *info)
{
	for (size_t i = 0; i < v->metadata_count; i++)
		if (slice_equal(v->metadata[i].key, p->arg))
			return string_value(v->metadata[i].value, p, ret, info);
	return missing(info, p, "the job's metadata has no such key");
}

static int secret_value(const struct part *p, const struct template_values *v, json_t **ret, struct error_info *info)
{
	const char *value = v->mask_secrets ? SECRET_MASK : secrets_get(v->secrets, p->text);

	return value ? string_value(slice_str(value), p, ret, info) : missing(info, p, "it was not read at start");
}

/* The value of a placeholder, as JSON. */
static int value_of(const struct part *p, const struct template_values *v, json_t **ret, struct error_info *info)
{
	switch (p->kind) {
	case PART_INPUT:
		return input_value(p, v, ret, info);
	case PART_JOB_ID:
		return string_value(slice_str(v->job_id), p, ret, info);
	case PART_JOB_QUEUE:
		return string_value(slice_str(v->queue), p, ret, info);
	case PART_JOB_ATTEMPT:
		*ret = json_integer(v->attempt);
		return *ret ? 0 : ERR_NO_MEMORY;
	case PART_META:
		return meta_value(p, v, ret, info);
	case PART_KEY:
		return v->key ? string_value(slice_str(v->key), p, ret, info)
			      : missing(info, p, "it is not known here");
	case PART_ANSWER:
		return answer_value(p, v, ret, info);
	case PART_ID:
		return v->id ? string_value(slice_str(v->id), p, ret, info) : missing(info, p, "it is not known yet");
	case PART_HOOK_URL:
		return v->hook_url ? string_value(slice_str(v->hook_url), p, ret, info)
				   : missing(info, p, "the broker gave none");
	case PART_SECRET:
		return secret_value(p, v, ret, info);
	default:
		return missing(info, p, "it is not a placeholder");
	}
}

/* Appends a scalar as text. */
static int append_scalar(const struct part *p, json_t *value, struct buf *out, struct error_info *info)
{
	_cleanup_free_ char *dumped = NULL;
	char name[96];
	int rc;

	if (json_is_string(value))
		return buf_append(out, json_string_value(value), json_string_length(value));
	if (json_is_null(value))
		return missing(info, p, "it is null");
	if (json_is_object(value) || json_is_array(value)) {
		snprintf(name, sizeof(name), "{%.*s}", SLICE_FMT(p->text));
		return error_set(info, ERR_BAD_REQUEST, name, "%s is an object or an array and cannot stand in a text",
				 name);
	}
	rc = json_text_write(value, JSON_ENCODE_ANY, &dumped);
	return rc < 0 ? rc : buf_append_str(out, dumped);
}

/* Appends a part as text: a literal, or a scalar. */
static int append_part(const struct part *p, const struct template_values *v, struct buf *out, struct error_info *info)
{
	json_t *value = NULL;
	int rc;

	if (p->kind == PART_LITERAL)
		return buf_append(out, p->text.data, p->text.size);
	rc = value_of(p, v, &value, info);
	if (rc < 0)
		return rc;
	rc = append_scalar(p, value, out, info);
	json_decref(value);
	return rc;
}

/* ---- texts ---- */

static bool unreserved(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
	       c == '~' || c == '.';
}

static void percent_encode(struct slice s, struct buf *out)
{
	const char *p = s.data;
	bool dots = true;

	for (size_t i = 0; i < s.size; i++)
		dots &= p[i] == '.';

	for (size_t i = 0; i < s.size; i++) {
		if (unreserved(p[i]) && !dots)
			buf_append(out, p + i, 1);
		else
			buf_printf(out, "%%%02X", (unsigned char)p[i]);
	}
}

/* The same piece by piece, the slashes between them as they are. */
static void percent_encode_spread(struct slice s, struct buf *out)
{
	const char *p = s.data, *end = p + s.size, *slash;

	for (; (slash = memchr(p, '/', (size_t)(end - p))); p = slash + 1) {
		percent_encode(slice_of(p, (size_t)(slash - p)), out);
		buf_append(out, "/", 1);
	}
	percent_encode(slice_of(p, (size_t)(end - p)), out);
}

static bool has_control(struct slice s)
{
	const unsigned char *p = s.data;

	for (size_t i = 0; i < s.size; i++)
		if (p[i] < 0x20 || p[i] == 0x7f)
			return true;
	return false;
}

static bool in_query(const struct buf *path)
{
	return path->size > 0 && memchr(path->data, '?', path->size);
}

/* A placeholder's text as the use demands it. */
static int append_for(enum template_use use, const struct part *p, struct slice s, struct buf *out,
		      struct error_info *info)
{
	char name[96];

	snprintf(name, sizeof(name), "{%.*s}", SLICE_FMT(p->text));
	if (use == TEMPLATE_PATH) {
		/* An empty one would name the collection in place of the thing. */
		if (s.size == 0 && !in_query(out))
			return missing(info, p, "it is empty");
		if (p->spread)
			percent_encode_spread(s, out);
		else
			percent_encode(s, out);
		return buf_error(out);
	}
	if (use == TEMPLATE_HEADER && has_control(s))
		return error_set(info, ERR_BAD_REQUEST, name,
				 "%s holds control characters and cannot stand in a header", name);
	return buf_append(out, s.data, s.size);
}

int template_fill(struct slice text, const struct template_values *values, enum template_use use, struct buf *out,
		  struct error_info *info)
{
	_cleanup_(buf_done) struct buf one;
	struct part p;
	int rc = 0;

	buf_init(&one, STRING_MAX);
	while (rc == 0 && take_part(&text, &p)) {
		buf_reset(&one);
		if (p.kind == PART_LITERAL) {
			rc = buf_append(out, p.text.data, p.text.size);
			continue;
		}
		rc = append_part(&p, values, &one, info);
		if (rc == 0)
			rc = buf_append(&one, "", 1);
		if (rc == 0)
			rc = append_for(use, &p, slice_of(one.data, one.size - 1), out, info);
	}
	return rc;
}

/* ---- bodies ---- */

static int fill_string(json_t *text, const struct template_values *v, json_t **ret, struct error_info *info)
{
	struct slice rest = slice_of(json_string_value(text), json_string_length(text));
	_cleanup_(buf_done) struct buf out;
	struct part p;
	int rc;

	buf_init(&out, STRING_MAX);
	if (!take_part(&rest, &p)) {
		*ret = json_incref(text);
		return 0;
	}
	if (p.kind != PART_LITERAL && rest.size == 0)
		return value_of(&p, v, ret, info);
	do {
		rc = append_part(&p, v, &out, info);
		if (rc < 0)
			return rc;
	} while (take_part(&rest, &p));
	*ret = json_stringn(out.data ? (const char *)out.data : "", out.size);
	return *ret ? 0 : ERR_NO_MEMORY;
}

static int fill_object(json_t *body, const struct template_values *v, json_t *out, struct error_info *info)
{
	const char *key;
	json_t *child, *filled;

	json_object_foreach(body, key, child)
	{
		int rc = template_fill_json(child, v, &filled, info);

		if (rc < 0)
			return rc;
		if (json_object_set_new(out, key, filled) < 0)
			return ERR_NO_MEMORY;
	}
	return 0;
}

static int fill_array(json_t *body, const struct template_values *v, json_t *out, struct error_info *info)
{
	json_t *child, *filled;
	size_t i;

	json_array_foreach(body, i, child)
	{
		int rc = template_fill_json(child, v, &filled, info);

		if (rc < 0)
			return rc;
		if (json_array_append_new(out, filled) < 0)
			return ERR_NO_MEMORY;
	}
	return 0;
}

int template_fill_json(json_t *body, const struct template_values *values, json_t **ret_body, struct error_info *info)
{
	json_t *out;
	int rc;

	if (json_is_string(body))
		return fill_string(body, values, ret_body, info);
	if (!json_is_object(body) && !json_is_array(body)) {
		*ret_body = json_incref(body);
		return 0;
	}
	out = json_is_object(body) ? json_object() : json_array();
	if (!out)
		return ERR_NO_MEMORY;
	rc = json_is_object(body) ? fill_object(body, values, out, info) : fill_array(body, values, out, info);
	if (rc < 0) {
		json_decref(out);
		return rc;
	}
	*ret_body = out;
	return 0;
}
