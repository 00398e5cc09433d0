#include "server/store/keys.h"

#include <assert.h>
#include <endian.h>
#include <string.h>

#include "proto/error.h"

/* Inline, and so without a loop, where bytes is known: a put or a lease makes some ten keys. */
static inline void add_number(struct key *k, uint64_t n, unsigned bytes)
{
	uint64_t big = htobe64(n << (8 * (sizeof(n) - bytes)));

	memcpy(k->bytes + k->size, &big, bytes);
	k->size += bytes;
}

static void add_bytes(struct key *k, const void *data, size_t size)
{
	assert(size <= KEY_MAX - k->size);
	if (size > 0)
		memcpy(k->bytes + k->size, data, size);
	k->size += size;
}

static inline void add_uuid(struct key *k, const struct uuid *id)
{
	add_bytes(k, id->bytes, sizeof(id->bytes));
}

struct key key_queue(uint32_t queue)
{
	struct key k;

	k.size = 0;
	add_number(&k, queue, 4);
	return k;
}

struct key key_job(const struct uuid *id)
{
	struct key k;

	k.size = 0;
	add_uuid(&k, id);
	return k;
}

struct key key_ready_from(uint32_t queue, uint8_t priority)
{
	struct key k;

	k.size = 0;
	add_number(&k, queue, 4);
	add_number(&k, priority, 1);
	return k;
}

struct key key_ready(uint32_t queue, uint8_t priority, uint64_t tag, const struct uuid *id)
{
	struct key k = key_ready_from(queue, priority);

	add_number(&k, tag, 8);
	add_uuid(&k, id);
	return k;
}

struct key key_due(int64_t at_ms, const struct uuid *id)
{
	struct key k;

	k.size = 0;
	add_number(&k, (uint64_t)at_ms, 8);
	add_uuid(&k, id);
	return k;
}

struct key key_idempotency(uint32_t queue, struct slice word)
{
	struct key k = key_queue(queue);

	add_bytes(&k, word.data, word.size);
	return k;
}

struct key key_group(uint32_t queue, uint8_t priority, struct slice group)
{
	struct key k = key_ready_from(queue, priority);

	add_bytes(&k, group.data, group.size);
	return k;
}

struct key key_artifact(const struct uuid *job, struct slice name)
{
	struct key k = key_job(job);

	add_bytes(&k, name.data, name.size);
	return k;
}

struct key key_hook(const struct uuid *job, uint64_t number)
{
	struct key k = key_job(job);

	add_number(&k, number, 8);
	return k;
}

struct key key_word(const char *word)
{
	struct key k;

	k.size = 0;
	add_bytes(&k, word, strlen(word));
	return k;
}

struct key key_name(struct slice name)
{
	struct key k;

	k.size = 0;
	add_bytes(&k, name.data, name.size);
	return k;
}

struct key key_after(const struct key *k)
{
	struct key after = *k;

	assert(k->size < KEY_MAX);
	after.bytes[after.size++] = 0;
	return after;
}

struct key key_copy(struct slice bytes)
{
	struct key k;

	k.size = 0;
	add_bytes(&k, bytes.data, bytes.size < KEY_MAX ? bytes.size : KEY_MAX);
	return k;
}

struct key key_above(struct slice key)
{
	struct key k = key_copy(key);

	if (k.size < KEY_MAX)
		k.bytes[k.size++] = 0;
	return k;
}

/* ---- reading ---- */

static inline uint64_t take_number(const uint8_t **p, unsigned bytes)
{
	uint64_t big = 0;

	memcpy(&big, *p, bytes);
	*p += bytes;
	return be64toh(big) >> (8 * (sizeof(big) - bytes));
}

static void take_uuid(const uint8_t **p, struct uuid *ret)
{
	memcpy(ret->bytes, *p, sizeof(ret->bytes));
	*p += sizeof(ret->bytes);
}

int key_read_queue(struct slice key, uint32_t *ret)
{
	const uint8_t *p = key.data;

	if (key.size != 4)
		return ERR_CORRUPT;
	*ret = (uint32_t)take_number(&p, 4);
	return 0;
}

int key_read_job(struct slice key, struct uuid *ret)
{
	const uint8_t *p = key.data;

	if (key.size != sizeof(ret->bytes))
		return ERR_CORRUPT;
	take_uuid(&p, ret);
	return 0;
}

int key_read_ready(struct slice key, uint32_t *ret_queue, uint8_t *ret_priority, uint64_t *ret_tag, struct uuid *ret_id)
{
	const uint8_t *p = key.data;

	if (key.size != 4 + 1 + 8 + 16)
		return ERR_CORRUPT;
	*ret_queue = (uint32_t)take_number(&p, 4);
	*ret_priority = (uint8_t)take_number(&p, 1);
	*ret_tag = take_number(&p, 8);
	take_uuid(&p, ret_id);
	return 0;
}

int key_read_group(struct slice key, uint32_t *ret_queue, uint8_t *ret_priority, struct slice *ret_group)
{
	const uint8_t *p = key.data;

	if (key.size <= 4 + 1)
		return ERR_CORRUPT;
	*ret_queue = (uint32_t)take_number(&p, 4);
	*ret_priority = (uint8_t)take_number(&p, 1);
	*ret_group = slice_of(p, key.size - 5);
	return 0;
}

int key_read_due(struct slice key, int64_t *ret_at_ms, struct uuid *ret_id)
{
	const uint8_t *p = key.data;

	if (key.size != 8 + 16)
		return ERR_CORRUPT;
	*ret_at_ms = (int64_t)take_number(&p, 8);
	take_uuid(&p, ret_id);
	return 0;
}

int key_read_hook(struct slice key, struct uuid *ret_job, uint64_t *ret_number)
{
	const uint8_t *p = key.data;

	if (key.size != 16 + 8)
		return ERR_CORRUPT;
	take_uuid(&p, ret_job);
	*ret_number = take_number(&p, 8);
	return 0;
}

int key_read_artifact(struct slice key, struct uuid *ret_job, struct slice *ret_name)
{
	const uint8_t *p = key.data;

	if (key.size <= 16)
		return ERR_CORRUPT;
	take_uuid(&p, ret_job);
	*ret_name = slice_of(p, key.size - 16);
	return 0;
}
