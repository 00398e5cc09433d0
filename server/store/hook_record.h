/* hook_record.h: the hooks that came for a job, as structs, and their bytes.
 *
 * What came is remembered in one small record a job, so that a delivery that is repeated is known as such; what an
 * attempt has yet to take stands beside it, a record each. Both say whose they are, so that one that came under
 * another's key is found out. Checksums and numbers as in records.h. Any thread; no state.
 */
#ifndef RAINCHECK_STORE_HOOK_RECORD_H
#define RAINCHECK_STORE_HOOK_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/slice.h"
#include "proto/base/uuid.h"

struct buf;
struct pair;

#define HOOKS_OF_JOB	    16	      /* that are remembered: the newest */
#define HOOKS_WAITING_BYTES (2 << 20) /* of a job's hooks that wait, their headers included: the newest */
#define HOOK_BODY_BYTES	    (1 << 20) /* of one */
#define HOOK_HEADERS	    16	      /* of one */
#define HOOK_HEADERS_BYTES  8192      /* of one, names and values together */
#define HOOK_DIGEST	    16

/* One that came. */
struct hook_entry {
	uint64_t number;
	int64_t received_at_ms;
	uint8_t digest[HOOK_DIGEST]; /* of all by which a repetition is known */
	uint32_t bytes;		     /* of its body and headers */
	bool waits;		     /* there is a row of it in TABLE_HOOK_BODIES */
};

/* Of one job. Numbers only rise. */
struct hooks_record {
	struct uuid job;
	int64_t count; /* that ever came, repetitions not counted */
	int64_t last_at_ms;
	uint64_t last; /* the number that was given last */
	struct hook_entry entries[HOOKS_OF_JOB];
	size_t entries_count; /* in the order of their numbers */
};

/* One that waits. */
struct hook_record {
	struct uuid job;
	uint64_t number;
	int64_t received_at_ms;
	uint32_t attempt; /* whose URL it came to */
	struct slice content_type;
	const struct pair *headers; /* when encoding */
	size_t headers_count;
	struct slice headers_bytes; /* when decoded: read with hook_headers() */
	struct slice body;
};

/* Each appends the record to out (reset by the caller); the error of out. */
int record_write_hooks(struct buf *out, const struct hooks_record *hooks);
int record_write_hook(struct buf *out, const struct hook_record *hook);

/* Each ERR_CORRUPT where the checksum or the shape is wrong. */
int record_read_hooks(struct slice bytes, struct hooks_record *ret);
int record_read_hook(struct slice bytes, struct hook_record *ret);

/* Up to cap headers of a decoded one; how many there are. */
size_t hook_headers(const struct hook_record *hook, struct pair *ret, size_t cap);

/* How many of them wait. */
size_t hooks_waiting(const struct hooks_record *hooks);

#endif
