/* The texts become the map that a peer would have sent, and message_decode() judges that: so a range stands in one
 * place. A text that is not of its field's type goes there as a str, which is refused as the wrong type. */
#include "messages_text.h"

#include <errno.h>
#include <msgpack.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "messages_priv.h"

#define NUMBER_MAX 40 /* characters; a longer one is none */

struct builder {
	struct msgpack_zone *arena;
	struct error_info *info;
};

static int refuse(struct builder *b, struct slice name, const char *what)
{
	char field[96];

	if (!utf8_valid(name))
		return error_set(b->info, ERR_BAD_REQUEST, NULL, "a name is not UTF-8");
	snprintf(field, sizeof(field), "%.*s", SLICE_FMT(name));
	return error_set(b->info, ERR_BAD_REQUEST, field, "%s", what);
}

/* ---- one value ---- */

static msgpack_object as_str(struct slice text)
{
	msgpack_object o = { .type = MSGPACK_OBJECT_STR };

	o.via.str.ptr = text.data;
	o.via.str.size = (uint32_t)text.size;
	return o;
}

/* With a NUL, for strto…(); false for one with other characters than these. */
static bool copy_number(struct slice text, const char *characters, char ret[NUMBER_MAX + 1])
{
	if (text.size == 0 || text.size > NUMBER_MAX || memchr(text.data, '\0', text.size))
		return false;
	memcpy(ret, text.data, text.size);
	ret[text.size] = '\0';
	return ret[strspn(ret, characters)] == '\0';
}

/* What no integer holds is told to be out of the range, not to be none. */
static msgpack_object as_int(struct slice text)
{
	msgpack_object o = { .type = MSGPACK_OBJECT_POSITIVE_INTEGER };
	char number[NUMBER_MAX + 1], *end;
	long long value;

	if (!copy_number(text, "-0123456789", number))
		return as_str(text);
	errno = 0;
	value = strtoll(number, &end, 10);
	if (*end != '\0' || end == number)
		return as_str(text);
	if (value < 0) {
		o.type = MSGPACK_OBJECT_NEGATIVE_INTEGER;
		o.via.i64 = value;
	} else {
		o.via.u64 = errno == ERANGE ? UINT64_MAX : (uint64_t)value;
	}
	return o;
}

static msgpack_object as_float(struct slice text)
{
	msgpack_object o = { .type = MSGPACK_OBJECT_FLOAT64 };
	char number[NUMBER_MAX + 1], *end;

	if (!copy_number(text, "+-.0123456789eE", number))
		return as_str(text);
	o.via.f64 = strtod(number, &end);
	return *end != '\0' || end == number ? as_str(text) : o;
}

static msgpack_object as_bool(struct slice text)
{
	msgpack_object o = { .type = MSGPACK_OBJECT_BOOLEAN };

	o.via.boolean = slice_is(text, "true");
	return o.via.boolean || slice_is(text, "false") ? o : as_str(text);
}

static msgpack_object as_bin(struct slice text)
{
	msgpack_object o = { .type = MSGPACK_OBJECT_BIN };

	o.via.bin.ptr = text.data;
	o.via.bin.size = (uint32_t)text.size;
	return o;
}

static msgpack_object scalar(enum field_type type, struct slice text)
{
	switch (type) {
	case TYPE_INT:
		return as_int(text);
	case TYPE_FLOAT:
		return as_float(text);
	case TYPE_BOOL:
		return as_bool(text);
	case TYPE_BYTES:
		return as_bin(text);
	default:
		return as_str(text);
	}
}

/* ---- maps ---- */

static msgpack_object_kv *new_map(struct builder *b, size_t count, msgpack_object *ret)
{
	msgpack_object_kv *entries = msgpack_zone_malloc(b->arena, (count + 1) * sizeof(*entries));

	*ret = (msgpack_object){ .type = MSGPACK_OBJECT_MAP };
	ret->via.map.ptr = entries;
	ret->via.map.size = 0;
	return entries;
}

static void add(msgpack_object *map, struct slice key, msgpack_object value)
{
	msgpack_object_kv *kv = &map->via.map.ptr[map->via.map.size++];

	kv->key = as_str(key);
	kv->val = value;
}

/* "backoff" of "backoff.base_ms"; *ret_rest is what follows the dot, and its data NULL where there is none. */
static struct slice first_name(struct slice path, struct slice *ret_rest)
{
	const char *dot = path.size > 0 ? memchr(path.data, '.', path.size) : NULL;
	size_t size = dot ? (size_t)(dot - (const char *)path.data) : path.size;

	*ret_rest = dot ? slice_of(dot + 1, path.size - size - 1) : slice_of(NULL, 0);
	return slice_of(path.data, size);
}

static const struct field *find(const struct message *m, struct slice name)
{
	const struct field *fields;
	size_t count = m->fields(&fields);

	for (size_t i = 0; i < count; i++)
		if (slice_equal(name, slice_of(fields[i].name, fields[i].name_size)))
			return &fields[i];
	return NULL;
}

/* The texts of one field with names of their own, under what follows the dot in theirs; the first of them stands at
 * begin. */
static size_t gather(const struct field_text *texts, size_t begin, size_t count, struct field_text *ret)
{
	struct slice rest, name = first_name(texts[begin].path, &rest);
	size_t n = 0;

	for (size_t i = begin; i < count; i++) {
		struct slice own = first_name(texts[i].path, &rest);

		if (slice_equal(own, name))
			ret[n++] = (struct field_text){ .path = rest, .value = texts[i].value };
	}
	return n;
}

static bool stands_before(const struct field_text *texts, size_t n, struct slice name)
{
	struct slice rest;

	for (size_t i = 0; i < n; i++)
		if (slice_equal(first_name(texts[i].path, &rest), name))
			return true;
	return false;
}

static int build_pairs(struct builder *b, const struct field_text *texts, size_t count, msgpack_object *ret)
{
	if (!new_map(b, count, ret))
		return ERR_NO_MEMORY;
	for (size_t i = 0; i < count; i++)
		add(ret, texts[i].path, as_str(texts[i].value));
	return 0;
}

static int build(struct builder *b, const struct message *m, const struct field_text *texts, size_t count,
		 msgpack_object *ret);

/* The field that has names of its own; all its texts at once. */
static int build_nested(struct builder *b, const struct field *f, const struct field_text *texts, size_t begin,
			size_t count, msgpack_object *ret)
{
	struct field_text own[MESSAGE_TEXTS_MAX];
	size_t n = gather(texts, begin, count, own);
	int rc;

	if (f->type == TYPE_PAIRS)
		return build_pairs(b, own, n, ret);
	rc = build(b, f->sub, own, n, ret);
	if (rc < 0)
		error_prefix(b->info, f->name);
	return rc;
}

static int check(struct builder *b, const struct field *f, struct slice path, bool dotted)
{
	bool nested = f && (f->type == TYPE_STRUCT || f->type == TYPE_PAIRS);

	if (!f || (dotted && !nested))
		return refuse(b, path, "there is no such field");
	if (f->type == TYPE_LIST || f->type == TYPE_NAMES || f->type == TYPE_WEIGHTS || f->type == TYPE_RAW)
		return refuse(b, path, "cannot be given as text");
	if (nested && !dotted)
		return refuse(b, path, "has names of its own, to follow it behind a dot");
	return 0;
}

static int build(struct builder *b, const struct message *m, const struct field_text *texts, size_t count,
		 msgpack_object *ret)
{
	if (!new_map(b, count, ret))
		return ERR_NO_MEMORY;
	for (size_t i = 0; i < count; i++) {
		struct slice rest, name = first_name(texts[i].path, &rest);
		const struct field *f = find(m, name);
		msgpack_object value;
		int rc = check(b, f, texts[i].path, rest.data != NULL);

		if (rc < 0)
			return rc;
		if (!rest.data) {
			add(ret, name, scalar(f->type, texts[i].value));
			continue;
		}
		if (stands_before(texts, i, name))
			continue;
		rc = build_nested(b, f, texts, i, count, &value);
		if (rc < 0)
			return rc;
		add(ret, name, value);
	}
	return 0;
}

int message_decode_texts(const struct message *m, const struct field_text *texts, size_t count,
			 struct msgpack_zone *arena, void *ret, struct error_info *info)
{
	struct builder b = { arena, info };
	msgpack_object map;
	int rc;

	if (count > MESSAGE_TEXTS_MAX)
		return error_set(info, ERR_TOO_LARGE, NULL, "%zu fields, %d are allowed", count, MESSAGE_TEXTS_MAX);
	rc = build(&b, m, texts, count, &map);
	if (rc == ERR_NO_MEMORY)
		return error_set(info, rc, NULL, "%s", error_text(rc));
	return rc < 0 ? rc : message_decode(m, &map, arena, ret, info);
}
