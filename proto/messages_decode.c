/* From an unpacked map into a message's struct: one decoder walks the descriptors of messages.c. It never trusts a
 * count beyond what the unpacked object holds, and that was bounded by the skimmer before.
 */
#include <math.h>
#include <msgpack.h>
#include <stdio.h>
#include <string.h>

#include "base/clean.h"
#include "base/text.h"
#include "messages_priv.h"

/* A map may hold keys that this version does not know, but not so many that finding doubles becomes work. */
#define MAX_KEYS 64
/* Of a str → str map, in bytes. */
#define MAX_PAIR_KEY   128
#define MAX_PAIR_VALUE 4096

struct decoder {
	struct msgpack_zone *arena;
	struct error_info *info;
};

static int decode_map(struct decoder *d, const struct message *m, const msgpack_object *object, void *ret);

static int wrong_type(struct decoder *d, const struct field *f, const char *wanted)
{
	return error_set(d->info, ERR_BAD_REQUEST, f->name, "must be %s", wanted);
}

static bool as_bytes(const msgpack_object *o, struct slice *ret)
{
	if (o->type == MSGPACK_OBJECT_STR)
		*ret = slice_of(o->via.str.ptr, o->via.str.size);
	else if (o->type == MSGPACK_OBJECT_BIN)
		*ret = slice_of(o->via.bin.ptr, o->via.bin.size);
	else
		return false;
	return true;
}

static bool as_str(const msgpack_object *o, struct slice *ret)
{
	return o->type == MSGPACK_OBJECT_STR && as_bytes(o, ret);
}

static bool is_printable_ascii(struct slice s)
{
	const uint8_t *p = s.data;

	for (size_t i = 0; i < s.size; i++)
		if (p[i] < 0x20 || p[i] > 0x7e)
			return false;
	return true;
}

static int decode_text(struct decoder *d, const struct field *f, const msgpack_object *o, struct slice *ret)
{
	struct slice s;

	if (!(f->type == TYPE_BYTES ? as_bytes(o, &s) : as_str(o, &s)))
		return wrong_type(d, f, f->type == TYPE_BYTES ? "bin or str" : "a str");
	if (f->type == TYPE_NAME && !name_valid(s))
		return error_set(d->info, ERR_BAD_REQUEST, f->name,
				 "must be 1 to 128 characters of A-Z a-z 0-9 . _ : -, and not only dots");
	if (f->type == TYPE_STR && !utf8_valid(s))
		return error_set(d->info, ERR_BAD_REQUEST, f->name, "is not UTF-8");
	if (f->type == TYPE_ASCII && !is_printable_ascii(s))
		return error_set(d->info, ERR_BAD_REQUEST, f->name, "has other characters than printable ASCII");
	if (s.size < (uint64_t)f->low)
		return error_set(d->info, ERR_BAD_REQUEST, f->name, "is shorter than %lld bytes", (long long)f->low);
	if (s.size > (uint64_t)f->high)
		return error_set(d->info, ERR_TOO_LARGE, f->name, "is longer than %lld bytes", (long long)f->high);
	*ret = s;
	return 0;
}

static int decode_int(struct decoder *d, const struct field *f, const msgpack_object *o, int64_t *ret)
{
	int64_t value;

	if (o->type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
		value = o->via.i64;
	else if (o->type != MSGPACK_OBJECT_POSITIVE_INTEGER)
		return wrong_type(d, f, "an integer");
	else
		value = (int64_t)o->via.u64;
	/* What no int64_t holds came out negative above, and is out of every range. */
	if (value < f->low || value > f->high || (value < 0) != (o->type == MSGPACK_OBJECT_NEGATIVE_INTEGER))
		return error_set(d->info, ERR_BAD_REQUEST, f->name, "must be from %lld to %lld", (long long)f->low,
				 (long long)f->high);
	*ret = value;
	return 0;
}

static int decode_float(struct decoder *d, const struct field *f, const msgpack_object *o, double *ret)
{
	double value;

	if (o->type == MSGPACK_OBJECT_FLOAT32 || o->type == MSGPACK_OBJECT_FLOAT64)
		value = o->via.f64;
	else if (o->type == MSGPACK_OBJECT_POSITIVE_INTEGER)
		value = (double)o->via.u64;
	else if (o->type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
		value = (double)o->via.i64;
	else
		return wrong_type(d, f, "a number");
	if (!isfinite(value) || value < (double)f->low || value > (double)f->high)
		return error_set(d->info, ERR_BAD_REQUEST, f->name, "must be from %lld to %lld", (long long)f->low,
				 (long long)f->high);
	*ret = value;
	return 0;
}

static int decode_enum(struct decoder *d, const struct field *f, const msgpack_object *o, int *ret)
{
	struct slice s;

	if (!as_str(o, &s))
		return wrong_type(d, f, "a str");
	for (int i = 0; f->words[i]; i++) {
		if (slice_is(s, f->words[i])) {
			*ret = i;
			return 0;
		}
	}
	return error_set(d->info, ERR_BAD_REQUEST, f->name, "is none of the words known here");
}

/* Ids and tokens: text of one exact shape. */
static int decode_id(struct decoder *d, const struct field *f, const msgpack_object *o, void *ret)
{
	struct slice s;

	if (!as_str(o, &s))
		return wrong_type(d, f, "a str");
	if (f->type == TYPE_UUID && uuid_parse(s, ret) < 0)
		return error_set(d->info, ERR_BAD_REQUEST, f->name, "is not a UUID");
	if (f->type == TYPE_TOKEN && hex_decode(s, ((struct token *)ret)->bytes, sizeof(struct token)) < 0)
		return error_set(d->info, ERR_BAD_REQUEST, f->name, "must be 32 hexadecimal digits");
	return 0;
}

static int check_count(struct decoder *d, const struct field *f, uint32_t count)
{
	if (count < (uint64_t)f->low)
		return error_set(d->info, ERR_BAD_REQUEST, f->name, "must not be empty");
	if (count > (uint64_t)f->high)
		return error_set(d->info, ERR_TOO_LARGE, f->name, "has %u entries, %lld are allowed", count,
				 (long long)f->high);
	return 0;
}

/* Zeroed memory for count items of size bytes from the arena; count is bounded by check_count(). */
static void *take(struct decoder *d, uint32_t count, size_t size)
{
	void *p = msgpack_zone_malloc(d->arena, count * size + 1);

	if (p)
		memset(p, 0, count * size + 1);
	return p;
}

static int decode_list(struct decoder *d, const struct field *f, const msgpack_object *o, void **ret, size_t *ret_count)
{
	char *items;
	int rc;

	if (o->type != MSGPACK_OBJECT_ARRAY)
		return wrong_type(d, f, "an array");
	rc = check_count(d, f, o->via.array.size);
	if (rc < 0)
		return rc;
	items = take(d, o->via.array.size, f->sub->size);
	if (!items)
		return ERR_NO_MEMORY;
	for (uint32_t i = 0; i < o->via.array.size; i++) {
		rc = decode_map(d, f->sub, &o->via.array.ptr[i], items + i * f->sub->size);
		if (rc < 0) {
			char place[160];

			snprintf(place, sizeof(place), "%s[%u]", f->name, i);
			error_prefix(d->info, place);
			return rc;
		}
	}
	*ret = items;
	*ret_count = o->via.array.size;
	return 0;
}

static int decode_names(struct decoder *d, const struct field *f, const msgpack_object *o, void **ret,
			size_t *ret_count)
{
	struct slice *items;
	int rc;

	if (o->type != MSGPACK_OBJECT_ARRAY)
		return wrong_type(d, f, "an array of names");
	rc = check_count(d, f, o->via.array.size);
	if (rc < 0)
		return rc;
	items = take(d, o->via.array.size, sizeof(*items));
	if (!items)
		return ERR_NO_MEMORY;
	for (uint32_t i = 0; i < o->via.array.size; i++) {
		if (!as_str(&o->via.array.ptr[i], &items[i]) || !name_valid(items[i]))
			return error_set(d->info, ERR_BAD_REQUEST, f->name, "entry %u is not a name", i);
	}
	*ret = items;
	*ret_count = o->via.array.size;
	return 0;
}

static int decode_pairs(struct decoder *d, const struct field *f, const msgpack_object *o, void **ret,
			size_t *ret_count)
{
	struct pair *items;
	int rc;

	if (o->type != MSGPACK_OBJECT_MAP)
		return wrong_type(d, f, "a map of str to str");
	rc = check_count(d, f, o->via.map.size);
	if (rc < 0)
		return rc;
	items = take(d, o->via.map.size, sizeof(*items));
	if (!items)
		return ERR_NO_MEMORY;
	for (uint32_t i = 0; i < o->via.map.size; i++) {
		const msgpack_object_kv *kv = &o->via.map.ptr[i];
		struct pair *p = &items[i];

		if (!as_str(&kv->key, &p->key) || !as_str(&kv->val, &p->value) || !utf8_valid(p->key) ||
		    !utf8_valid(p->value))
			return wrong_type(d, f, "a map of str to str, in UTF-8");
		if (p->key.size == 0)
			return error_set(d->info, ERR_BAD_REQUEST, f->name, "has an empty key");
		if (p->key.size > MAX_PAIR_KEY || p->value.size > MAX_PAIR_VALUE)
			return error_set(d->info, ERR_TOO_LARGE, f->name, "a key may have %d bytes, a value %d",
					 MAX_PAIR_KEY, MAX_PAIR_VALUE);
		for (uint32_t j = 0; j < i; j++)
			if (slice_equal(items[j].key, p->key))
				return error_set(d->info, ERR_BAD_REQUEST, f->name, "has a key twice");
	}
	*ret = items;
	*ret_count = o->via.map.size;
	return 0;
}

static int decode_weights(struct decoder *d, const struct field *f, const msgpack_object *o, void **ret,
			  size_t *ret_count)
{
	struct group_weight *items;
	int rc;

	if (o->type != MSGPACK_OBJECT_MAP)
		return wrong_type(d, f, "a map of names to weights");
	rc = check_count(d, f, o->via.map.size);
	if (rc < 0)
		return rc;
	items = take(d, o->via.map.size, sizeof(*items));
	if (!items)
		return ERR_NO_MEMORY;
	for (uint32_t i = 0; i < o->via.map.size; i++) {
		const msgpack_object_kv *kv = &o->via.map.ptr[i];

		if (!as_str(&kv->key, &items[i].group) || !name_valid(items[i].group))
			return error_set(d->info, ERR_BAD_REQUEST, f->name, "key %u is not a name", i);
		if (kv->val.type != MSGPACK_OBJECT_POSITIVE_INTEGER || kv->val.via.u64 < 1 ||
		    kv->val.via.u64 > MAX_WEIGHT)
			return error_set(d->info, ERR_BAD_REQUEST, f->name, "the weight of %.*s must be 1 to %d",
					 SLICE_FMT(items[i].group), MAX_WEIGHT);
		items[i].weight = (uint32_t)kv->val.via.u64;
		for (uint32_t j = 0; j < i; j++)
			if (slice_equal(items[j].group, items[i].group))
				return error_set(d->info, ERR_BAD_REQUEST, f->name, "has a key twice");
	}
	*ret = items;
	*ret_count = o->via.map.size;
	return 0;
}

/* Lists of every kind: a pointer and a count, kept where the descriptor says. */
static int decode_counted(struct decoder *d, const struct field *f, const msgpack_object *o, char *out)
{
	void *items = NULL;
	size_t count = 0;
	int rc;

	if (f->type == TYPE_LIST)
		rc = decode_list(d, f, o, &items, &count);
	else if (f->type == TYPE_NAMES)
		rc = decode_names(d, f, o, &items, &count);
	else if (f->type == TYPE_PAIRS)
		rc = decode_pairs(d, f, o, &items, &count);
	else
		rc = decode_weights(d, f, o, &items, &count);
	if (rc < 0)
		return rc;
	memcpy(out + f->offset, &items, sizeof(items));
	memcpy(out + f->count_offset, &count, sizeof(count));
	return 0;
}

static int decode_field(struct decoder *d, const struct field *f, const msgpack_object *o, char *out)
{
	void *value = out + f->offset;
	int rc;

	switch (f->type) {
	case TYPE_STR:
	case TYPE_ASCII:
	case TYPE_NAME:
	case TYPE_BYTES:
		return decode_text(d, f, o, value);
	case TYPE_INT:
		return decode_int(d, f, o, value);
	case TYPE_FLOAT:
		return decode_float(d, f, o, value);
	case TYPE_BOOL:
		if (o->type != MSGPACK_OBJECT_BOOLEAN)
			return wrong_type(d, f, "a boolean");
		*(bool *)value = o->via.boolean;
		return 0;
	case TYPE_UUID:
	case TYPE_TOKEN:
		return decode_id(d, f, o, value);
	case TYPE_RAW:
		*(const msgpack_object **)value = o;
		return 0;
	case TYPE_ENUM:
		return decode_enum(d, f, o, value);
	case TYPE_STRUCT:
		rc = decode_map(d, f->sub, o, value);
		if (rc < 0)
			error_prefix(d->info, f->name);
		return rc;
	case TYPE_LIST:
	case TYPE_NAMES:
	case TYPE_PAIRS:
	case TYPE_WEIGHTS:
		return decode_counted(d, f, o, out);
	}
	return ERR_INTERNAL;
}

static const struct field *find_field(const struct field *fields, size_t count, struct slice name)
{
	for (size_t i = 0; i < count; i++)
		if (fields[i].name_size == name.size && memcmp(fields[i].name, name.data, name.size) == 0)
			return &fields[i];
	return NULL;
}

static int decode_entries(struct decoder *d, const struct field *fields, size_t count, const msgpack_object_map *map,
			  char *out)
{
	struct slice keys[MAX_KEYS];

	for (uint32_t i = 0; i < map->size; i++) {
		const msgpack_object_kv *kv = &map->ptr[i];
		const struct field *f;
		int rc;

		if (!as_bytes(&kv->key, &keys[i]))
			return error_set(d->info, ERR_BAD_REQUEST, NULL, "a key is not a str");
		for (uint32_t j = 0; j < i; j++) {
			if (slice_equal(keys[j], keys[i])) {
				char name[64];

				snprintf(name, sizeof(name), "%.*s", SLICE_FMT(keys[i]));
				return error_set(d->info, ERR_BAD_REQUEST, utf8_valid(keys[i]) ? name : NULL,
						 "a key is there twice");
			}
		}
		f = find_field(fields, count, keys[i]);
		if (!f)
			continue;
		if (kv->val.type == MSGPACK_OBJECT_NIL) {
			*(uint64_t *)(void *)out |= nil_bit(f - fields);
			continue;
		}
		rc = decode_field(d, f, &kv->val, out);
		if (rc < 0)
			return rc;
		*(bool *)(out + f->has_offset) = true;
	}
	return 0;
}

static int decode_map(struct decoder *d, const struct message *m, const msgpack_object *object, void *ret)
{
	const struct field *fields;
	size_t count = m->fields(&fields);
	char *out = ret;
	int rc;

	memset(out, 0, m->size);
	if (object && object->type != MSGPACK_OBJECT_NIL) {
		if (object->type != MSGPACK_OBJECT_MAP)
			return error_set(d->info, ERR_BAD_REQUEST, NULL, "must be a map");
		if (object->via.map.size > MAX_KEYS)
			return error_set(d->info, ERR_TOO_LARGE, NULL, "a map has more than %d keys", MAX_KEYS);
		rc = decode_entries(d, fields, count, &object->via.map, out);
		if (rc < 0)
			return rc;
	}
	for (size_t i = 0; i < count; i++)
		if (fields[i].presence == REQUIRED && !*(bool *)(out + fields[i].has_offset))
			return error_set(d->info, ERR_BAD_REQUEST, fields[i].name, "is missing");
	return 0;
}

int message_decode(const struct message *m, const struct msgpack_object *object, struct msgpack_zone *arena, void *ret,
		   struct error_info *info)
{
	struct decoder d = { arena, info };
	int rc = decode_map(&d, m, object, ret);

	if (rc == ERR_NO_MEMORY)
		error_set(info, rc, NULL, "%s", error_text(rc));
	return rc;
}
