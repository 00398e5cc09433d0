/* keys.h: the keys of the tables. Numbers are big-endian, so that byte order is the order wanted.
 * Any thread; no state. */
#ifndef RAINCHECK_STORE_KEYS_H
#define RAINCHECK_STORE_KEYS_H

#include <stdint.h>

#include "proto/base/slice.h"
#include "proto/base/uuid.h"

#define KEY_MAX 300 /* bytes; an idempotency key is the longest */

struct key {
	uint8_t bytes[KEY_MAX];
	size_t size;
};

static inline struct slice key_slice(const struct key *k)
{
	return slice_of(k->bytes, k->size);
}

struct key key_queue(uint32_t queue);
struct key key_job(const struct uuid *id);
/* tag: what orders jobs of one priority: the queue's count of its jobs so far. */
struct key key_ready(uint32_t queue, uint8_t priority, uint64_t tag, const struct uuid *id);
/* The least key of a queue's ready jobs from a priority on. */
struct key key_ready_from(uint32_t queue, uint8_t priority);
struct key key_due(int64_t at_ms, const struct uuid *id);
struct key key_idempotency(uint32_t queue, struct slice word);
/* A group's jobs in a line, or (priority 0) its weight in a queue. group: at most 128 bytes. */
struct key key_group(uint32_t queue, uint8_t priority, struct slice group);
struct key key_artifact(const struct uuid *job, struct slice name);
/* The n-th hook of a job. */
struct key key_hook(const struct uuid *job, uint64_t number);
struct key key_word(const char *word);
struct key key_name(struct slice name);
/* The least above one of fewer than KEY_MAX bytes. */
struct key key_after(const struct key *k);
/* A key that a table gave, at most KEY_MAX bytes of it: the table's own goes with the next write. */
struct key key_copy(struct slice bytes);
/* The least key above one: where to go on when writing has taken the place of the cursor away. */
struct key key_above(struct slice key);

/* Each ERR_CORRUPT unless the key has the table's shape. */
int key_read_queue(struct slice key, uint32_t *ret);
int key_read_job(struct slice key, struct uuid *ret);
int key_read_ready(struct slice key, uint32_t *ret_queue, uint8_t *ret_priority, uint64_t *ret_tag,
		   struct uuid *ret_id);
/* group points into key. */
int key_read_group(struct slice key, uint32_t *ret_queue, uint8_t *ret_priority, struct slice *ret_group);
int key_read_due(struct slice key, int64_t *ret_at_ms, struct uuid *ret_id);
int key_read_hook(struct slice key, struct uuid *ret_job, uint64_t *ret_number);
/* name points into key. */
int key_read_artifact(struct slice key, struct uuid *ret_job, struct slice *ret_name);

#endif
