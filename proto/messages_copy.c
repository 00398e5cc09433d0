/* From a message's struct to another that stands by itself. It walks the descriptors of messages.c, as the encoder
 * does, but stops only where something is pointed to.
 */
#include <msgpack/zone.h>
#include <string.h>

#include "messages_priv.h"

static int copy_slice(struct slice *s, struct msgpack_zone *arena)
{
	void *bytes;

	if (s->size == 0) {
		*s = slice_of("", 0);
		return 0;
	}
	bytes = msgpack_zone_malloc_no_align(arena, s->size);
	if (!bytes)
		return ERR_NO_MEMORY;
	memcpy(bytes, s->data, s->size);
	s->data = bytes;
	return 0;
}

static int copy_fields(const struct message *m, char *out, struct msgpack_zone *arena);

static int copy_item(const struct field *f, void *item, struct msgpack_zone *arena)
{
	struct pair *pair = item;
	int rc;

	switch (f->type) {
	case TYPE_LIST:
		return copy_fields(f->sub, item, arena);
	case TYPE_NAMES:
		return copy_slice(item, arena);
	case TYPE_WEIGHTS:
		return copy_slice(&((struct group_weight *)item)->group, arena);
	default: /* PAIRS */
		rc = copy_slice(&pair->key, arena);
		return rc == 0 ? copy_slice(&pair->value, arena) : rc;
	}
}

static size_t item_size(const struct field *f)
{
	switch (f->type) {
	case TYPE_LIST:
		return f->sub->size;
	case TYPE_NAMES:
		return sizeof(struct slice);
	case TYPE_WEIGHTS:
		return sizeof(struct group_weight);
	default: /* PAIRS */
		return sizeof(struct pair);
	}
}

static int copy_items(const struct field *f, char *out, struct msgpack_zone *arena)
{
	size_t size = item_size(f), count;
	const void *from;
	char *to;
	int rc = 0;

	memcpy(&from, out + f->offset, sizeof(from));
	memcpy(&count, out + f->count_offset, sizeof(count));
	if (count == 0)
		return 0;
	to = msgpack_zone_malloc(arena, count * size);
	if (!to)
		return ERR_NO_MEMORY;
	memcpy(to, from, count * size);
	memcpy(out + f->offset, &to, sizeof(to));
	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = copy_item(f, to + i * size, arena);
	return rc;
}

static int copy_field(const struct field *f, char *out, struct msgpack_zone *arena)
{
	switch (f->type) {
	case TYPE_STR:
	case TYPE_ASCII:
	case TYPE_NAME:
	case TYPE_BYTES:
		return copy_slice((struct slice *)(void *)(out + f->offset), arena);
	case TYPE_STRUCT:
		return copy_fields(f->sub, out + f->offset, arena);
	case TYPE_LIST:
	case TYPE_NAMES:
	case TYPE_PAIRS:
	case TYPE_WEIGHTS:
		return copy_items(f, out, arena);
	default:
		return 0;
	}
}

/* out is a plain copy, whose pointers lead to where the original's do. */
static int copy_fields(const struct message *m, char *out, struct msgpack_zone *arena)
{
	const struct field *fields;
	size_t count = m->fields(&fields);

	for (size_t i = 0; i < count; i++) {
		int rc = *(const bool *)(out + fields[i].has_offset) ? copy_field(&fields[i], out, arena) : 0;

		if (rc < 0)
			return rc;
	}
	return 0;
}

int message_copy(const struct message *m, const void *in, struct msgpack_zone *arena, void **ret)
{
	void *out = msgpack_zone_malloc(arena, m->size);
	int rc;

	if (!out)
		return ERR_NO_MEMORY;
	memcpy(out, in, m->size);
	rc = copy_fields(m, out, arena);
	if (rc == 0)
		*ret = out;
	return rc;
}
