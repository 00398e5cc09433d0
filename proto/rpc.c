#include "rpc.h"

#include <msgpack.h>
#include <stdio.h>
#include <string.h>

#include "base/clean.h"

static bool as_id(const msgpack_object *o, uint64_t *ret)
{
	if (o->type != MSGPACK_OBJECT_POSITIVE_INTEGER)
		return false;
	*ret = o->via.u64;
	return true;
}

static bool as_method(const msgpack_object *o, struct slice *ret)
{
	if (o->type == MSGPACK_OBJECT_STR)
		*ret = slice_of(o->via.str.ptr, o->via.str.size);
	else if (o->type == MSGPACK_OBJECT_BIN)
		*ret = slice_of(o->via.bin.ptr, o->via.bin.size);
	else
		return false;
	return true;
}

/* params is an array that holds one map or nothing. */
static int read_params(const msgpack_object *o, struct rpc_envelope *ret, struct error_info *info)
{
	ret->params = NULL;
	if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size > 1 ||
	    (o->via.array.size == 1 && o->via.array.ptr[0].type != MSGPACK_OBJECT_MAP))
		return error_set(info, ERR_BAD_REQUEST, NULL, "params must be an array with one map, or an empty one");
	if (o->via.array.size == 1)
		ret->params = &o->via.array.ptr[0];
	return 0;
}

static int read_response(const msgpack_object *items, uint32_t count, struct rpc_envelope *ret)
{
	if (count != 4 || !as_id(&items[1], &ret->id))
		return ERR_PROTOCOL;
	ret->type = RPC_RESPONSE;
	ret->error = items[2].type == MSGPACK_OBJECT_NIL ? NULL : &items[2];
	ret->result = &items[3];
	return 0;
}

static int read_envelope(const msgpack_object *items, uint32_t count, struct rpc_envelope *ret, struct error_info *info)
{
	if (items[0].type != MSGPACK_OBJECT_POSITIVE_INTEGER)
		return ERR_PROTOCOL;
	switch (items[0].via.u64) {
	case RPC_REQUEST:
		ret->type = RPC_REQUEST;
		if (count != 4 || !as_id(&items[1], &ret->id) || !as_method(&items[2], &ret->method))
			return ERR_PROTOCOL;
		return read_params(&items[3], ret, info);
	case RPC_RESPONSE:
		return read_response(items, count, ret);
	case RPC_NOTIFICATION:
		ret->type = RPC_NOTIFICATION;
		if (count != 3 || !as_method(&items[1], &ret->method))
			return ERR_PROTOCOL;
		return read_params(&items[2], ret, info);
	default:
		return ERR_PROTOCOL;
	}
}

int rpc_unpack(const void *data, size_t size, struct msgpack_zone *arena, struct rpc_envelope *ret,
	       struct error_info *info)
{
	msgpack_object object;
	size_t used = 0;
	int rc = ERR_PROTOCOL;

	memset(ret, 0, sizeof(*ret));
	switch (msgpack_unpack(data, size, &used, arena, &object)) {
	case MSGPACK_UNPACK_SUCCESS:
		if (object.type == MSGPACK_OBJECT_ARRAY && object.via.array.size >= 3)
			rc = read_envelope(object.via.array.ptr, object.via.array.size, ret, info);
		break;
	case MSGPACK_UNPACK_NOMEM_ERROR:
		rc = ERR_NO_MEMORY;
		break;
	default:
		break;
	}
	if (rc < 0 && rc != ERR_BAD_REQUEST)
		error_set(info, rc, NULL, "%s",
			  rc == ERR_PROTOCOL ? "this is not a MessagePack-RPC message" : error_text(rc));
	return rc;
}

/* Takes a whole number that is not negative from the front of s, in any of its forms; false where there is none. */
static bool take_number(struct slice *s, uint64_t *ret)
{
	const uint8_t *p = s->data;
	unsigned bytes;

	if (s->size == 0)
		return false;
	if (p[0] >= 0xcc && p[0] <= 0xd3)
		bytes = 1u << ((p[0] - 0xcc) & 3);
	else if (p[0] < 0x80)
		bytes = 0;
	else
		return false;
	if (s->size < 1 + bytes || (p[0] >= 0xd0 && p[1] >= 0x80))
		return false;
	*ret = bytes ? 0 : p[0];
	for (unsigned i = 1; i <= bytes; i++)
		*ret = *ret << 8 | p[i];
	*s = slice_of(p + 1 + bytes, s->size - 1 - bytes);
	return true;
}

int rpc_peek_id(const void *data, size_t size, uint64_t *ret_id)
{
	static const char *const heads[] = { "\1\x94", "\3\xdc\0\4", "\5\xdd\0\0\0\4" };

	for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
		size_t head = (size_t)heads[i][0];
		uint64_t type, id;
		struct slice rest;

		if (size < head || memcmp(data, heads[i] + 1, head) != 0)
			continue;
		rest = slice_of((const uint8_t *)data + head, size - head);
		if (!take_number(&rest, &type) || type != RPC_REQUEST || !take_number(&rest, &id))
			return ERR_PROTOCOL;
		*ret_id = id;
		return 0;
	}
	return ERR_PROTOCOL;
}

static int write_cb(void *data, const char *bytes, size_t size)
{
	return buf_append(data, bytes, size) < 0 ? -1 : 0;
}

/* Takes a message that did not fit back out, so that out never holds half of one. */
static int finish(struct buf *out, size_t before)
{
	int rc = buf_error(out);

	if (rc < 0)
		buf_truncate(out, before);
	return rc;
}

static void pack_method(msgpack_packer *pk, const char *method)
{
	msgpack_pack_str(pk, strlen(method));
	msgpack_pack_str_body(pk, method, strlen(method));
}

int rpc_write_request(struct buf *out, uint64_t id, const char *method, const struct message *m, const void *params)
{
	size_t before = out->size;
	msgpack_packer pk;

	msgpack_packer_init(&pk, out, write_cb);
	msgpack_pack_array(&pk, 4);
	msgpack_pack_int(&pk, RPC_REQUEST);
	msgpack_pack_uint64(&pk, id);
	pack_method(&pk, method);
	msgpack_pack_array(&pk, 1);
	message_encode(m, params, out);
	return finish(out, before);
}

int rpc_write_response(struct buf *out, uint64_t id, const struct message *m, const void *result)
{
	size_t before = out->size;
	msgpack_packer pk;

	msgpack_packer_init(&pk, out, write_cb);
	msgpack_pack_array(&pk, 4);
	msgpack_pack_int(&pk, RPC_RESPONSE);
	msgpack_pack_uint64(&pk, id);
	msgpack_pack_nil(&pk);
	message_encode(m, result, out);
	return finish(out, before);
}

int rpc_write_error(struct buf *out, uint64_t id, const struct error_info *info)
{
	struct msg_error e = error_message(info);
	size_t before = out->size;
	msgpack_packer pk;

	msgpack_packer_init(&pk, out, write_cb);
	msgpack_pack_array(&pk, 4);
	msgpack_pack_int(&pk, RPC_RESPONSE);
	msgpack_pack_uint64(&pk, id);
	message_encode(&MSG_error, &e, out);
	msgpack_pack_nil(&pk);
	return finish(out, before);
}

int rpc_write_notification(struct buf *out, const char *method, const struct message *m, const void *params)
{
	size_t before = out->size;
	msgpack_packer pk;

	msgpack_packer_init(&pk, out, write_cb);
	msgpack_pack_array(&pk, 3);
	msgpack_pack_int(&pk, RPC_NOTIFICATION);
	pack_method(&pk, method);
	msgpack_pack_array(&pk, 1);
	message_encode(m, params, out);
	return finish(out, before);
}

void rpc_read_error(const struct msgpack_object *error, struct msgpack_zone *arena, struct error_info *info)
{
	struct msg_error e;

	if (message_decode(&MSG_error, error, arena, &e, NULL) < 0) {
		error_set(info, ERR_PROTOCOL, NULL, "the peer sent an error of unknown shape");
		return;
	}
	error_set(info, error_from_name(e.code), NULL, "%.*s", SLICE_FMT(e.message));
	if (e.has_field)
		snprintf(info->field, sizeof(info->field), "%.*s", SLICE_FMT(e.field));
	if (e.has_retry_after_ms)
		info->retry_after_ms = e.retry_after_ms;
}
