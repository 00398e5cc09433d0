/* From a message's struct to its bytes: one encoder walks the descriptors of messages.c. The struct is the program's
 * own and is trusted; only the room for the bytes may run out, and the buffer remembers that.
 */
#include <msgpack.h>
#include <string.h>

#include "base/text.h"
#include "messages_priv.h"

/* Heads of short strings, as the specification of MessagePack has them. */
#define STR_FIX	      0xa0u
#define STR_FIX_BELOW 32
#define STR_8	      0xd9u
#define STR_8_BELOW   256

static int write_cb(void *data, const char *bytes, size_t size)
{
	return buf_append(data, bytes, size) < 0 ? -1 : 0;
}

static void encode_map(msgpack_packer *pk, const struct message *m, const char *in);

/* Most are words of a few bytes, the names of fields above all: head and body are written at once then, where msgpack-c
 * would call back for each. */
static void pack_slice(msgpack_packer *pk, struct slice s)
{
	struct buf *out = pk->data;
	uint8_t *at;

	if (s.size == 0 || s.size >= STR_8_BELOW || out->error || out->capacity - out->size < s.size + 2) {
		msgpack_pack_str(pk, s.size);
		msgpack_pack_str_body(pk, s.data, s.size);
		return;
	}
	at = out->data + out->size;
	if (s.size < STR_FIX_BELOW) {
		*at++ = (uint8_t)(STR_FIX | s.size);
	} else {
		*at++ = STR_8;
		*at++ = (uint8_t)s.size;
	}
	memcpy(at, s.data, s.size);
	out->size = (size_t)(at - out->data) + s.size;
}

static void encode_items(msgpack_packer *pk, const struct field *f, const char *in)
{
	const void *items;
	size_t count;

	memcpy(&items, in + f->offset, sizeof(items));
	memcpy(&count, in + f->count_offset, sizeof(count));
	if (f->type == TYPE_PAIRS || f->type == TYPE_WEIGHTS)
		msgpack_pack_map(pk, count);
	else
		msgpack_pack_array(pk, count);
	for (size_t i = 0; i < count; i++) {
		if (f->type == TYPE_LIST) {
			encode_map(pk, f->sub, (const char *)items + i * f->sub->size);
		} else if (f->type == TYPE_NAMES) {
			pack_slice(pk, ((const struct slice *)items)[i]);
		} else if (f->type == TYPE_WEIGHTS) {
			pack_slice(pk, ((const struct group_weight *)items)[i].group);
			msgpack_pack_int64(pk, ((const struct group_weight *)items)[i].weight);
		} else {
			pack_slice(pk, ((const struct pair *)items)[i].key);
			pack_slice(pk, ((const struct pair *)items)[i].value);
		}
	}
}

static void encode_scalar(msgpack_packer *pk, const struct field *f, const void *value)
{
	char hex[2 * sizeof(struct token)];
	struct uuid_text text;

	switch (f->type) {
	case TYPE_BYTES:
		msgpack_pack_bin(pk, ((const struct slice *)value)->size);
		msgpack_pack_bin_body(pk, ((const struct slice *)value)->data, ((const struct slice *)value)->size);
		break;
	case TYPE_INT:
		msgpack_pack_int64(pk, *(const int64_t *)value);
		break;
	case TYPE_FLOAT:
		msgpack_pack_double(pk, *(const double *)value);
		break;
	case TYPE_BOOL:
		*(const bool *)value ? msgpack_pack_true(pk) : msgpack_pack_false(pk);
		break;
	case TYPE_UUID:
		text = uuid_format(value);
		pack_slice(pk, slice_of(text.text, UUID_TEXT_SIZE));
		break;
	case TYPE_TOKEN:
		hex_encode(((const struct token *)value)->bytes, sizeof(struct token), hex);
		pack_slice(pk, slice_of(hex, sizeof(hex)));
		break;
	case TYPE_ENUM:
		pack_slice(pk, slice_str(f->words[*(const int *)value]));
		break;
	case TYPE_RAW:
		msgpack_pack_object(pk, **(const msgpack_object *const *)value);
		break;
	default: /* STR, ASCII and NAME */
		pack_slice(pk, *(const struct slice *)value);
	}
}

static void encode_map(msgpack_packer *pk, const struct message *m, const char *in)
{
	const struct field *fields;
	size_t count = m->fields(&fields);
	uint64_t nils = *(const uint64_t *)(const void *)in;
	size_t present = 0;

	for (size_t i = 0; i < count; i++)
		present += fields[i].presence == NULLABLE || *(const bool *)(in + fields[i].has_offset) ||
			   (nils & nil_bit((ptrdiff_t)i)) != 0;
	msgpack_pack_map(pk, present);
	for (size_t i = 0; i < count; i++) {
		const struct field *f = &fields[i];
		bool has = *(const bool *)(in + f->has_offset);

		if (!has && f->presence != NULLABLE && !(nils & nil_bit((ptrdiff_t)i)))
			continue;
		pack_slice(pk, slice_of(f->name, f->name_size));
		if (!has)
			msgpack_pack_nil(pk);
		else if (f->type == TYPE_STRUCT)
			encode_map(pk, f->sub, in + f->offset);
		else if (f->count_offset)
			encode_items(pk, f, in);
		else
			encode_scalar(pk, f, in + f->offset);
	}
}

int message_encode(const struct message *m, const void *in, struct buf *out)
{
	msgpack_packer pk;

	msgpack_packer_init(&pk, out, write_cb);
	encode_map(&pk, m, in);
	return buf_error(out);
}
