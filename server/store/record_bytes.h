/* record_bytes.h: how a record's bytes begin, and one writer and one reader of primitive values, for the files of this
 * folder that write records. Each record is a list of calls of these, the same list in the same order on both sides.
 *
 * A record begins with a checksum (XXH3, 64 bits) over the rest; numbers are little-endian. A reader that runs past the
 * end goes on giving zeros and is found out once, at the end. Inline, because a put or a lease writes and reads some
 * fifty of these. Any thread; no state.
 */
#ifndef RAINCHECK_STORE_RECORD_BYTES_H
#define RAINCHECK_STORE_RECORD_BYTES_H

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <assert.h>
#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "proto/base/buf.h"
#include "proto/base/slice.h"
#include "proto/error.h"

#define CHECKSUM_SIZE 8
#define NUMBERS_SIZE  256

static inline void put_number(struct buf *out, uint64_t n, unsigned bytes)
{
	uint64_t little = htole64(n);

	buf_append(out, &little, bytes);
}

static inline void put_i64(struct buf *out, int64_t n)
{
	put_number(out, (uint64_t)n, 8);
}

static inline void put_double(struct buf *out, double d)
{
	uint64_t n;

	memcpy(&n, &d, sizeof(n));
	put_number(out, n, 8);
}

static inline void put_bytes(struct buf *out, struct slice s)
{
	put_number(out, s.size, 4);
	if (s.size > 0)
		buf_append(out, s.data, s.size);
}

/* Numbers one after the other, to be appended at once: a job's record has thirty. */
struct numbers {
	uint8_t bytes[NUMBERS_SIZE];
	size_t size;
};

static inline void add_number(struct numbers *to, uint64_t n, unsigned bytes)
{
	uint64_t little = htole64(n);

	assert(bytes <= sizeof(to->bytes) - to->size);
	memcpy(to->bytes + to->size, &little, bytes);
	to->size += bytes;
}

static inline void add_i64(struct numbers *to, int64_t n)
{
	add_number(to, (uint64_t)n, 8);
}

static inline void put_numbers(struct buf *out, const struct numbers *numbers)
{
	buf_append(out, numbers->bytes, numbers->size);
}

static inline void begin_record(struct buf *out)
{
	put_number(out, 0, CHECKSUM_SIZE);
}

static inline int end_record(struct buf *out, size_t start)
{
	uint64_t sum;

	if (buf_error(out))
		return buf_error(out);
	sum = XXH3_64bits(out->data + start + CHECKSUM_SIZE, out->size - start - CHECKSUM_SIZE);
	sum = htole64(sum);
	memcpy(out->data + start, &sum, sizeof(sum));
	return 0;
}

struct reader {
	const uint8_t *at;
	size_t left;
	bool short_of; /* it ended too early */
};

static inline uint64_t get_number(struct reader *r, unsigned bytes)
{
	uint64_t little = 0;

	if (r->left < bytes) {
		r->short_of = true;
		return 0;
	}
	memcpy(&little, r->at, bytes);
	r->at += bytes;
	r->left -= bytes;
	return le64toh(little);
}

/* Of a fixed size. */
static inline void get_array(struct reader *r, uint8_t *ret, size_t size)
{
	if (r->left < size) {
		r->short_of = true;
		memset(ret, 0, size);
		return;
	}
	memcpy(ret, r->at, size);
	r->at += size;
	r->left -= size;
}

static inline int64_t get_i64(struct reader *r)
{
	return (int64_t)get_number(r, 8);
}

static inline double get_double(struct reader *r)
{
	uint64_t n = get_number(r, 8);
	double d;

	memcpy(&d, &n, sizeof(d));
	return d;
}

static inline struct slice get_bytes(struct reader *r)
{
	size_t size = get_number(r, 4);
	struct slice s;

	if (size > r->left) {
		r->short_of = true;
		return slice_of(NULL, 0);
	}
	s = slice_of(r->at, size);
	r->at += size;
	r->left -= size;
	return s;
}

static inline int begin_read(struct slice bytes, struct reader *ret)
{
	struct reader sum = { bytes.data, bytes.size, false };
	uint64_t stored = get_number(&sum, CHECKSUM_SIZE);

	if (sum.short_of || stored != XXH3_64bits(sum.at, sum.left))
		return ERR_CORRUPT;
	*ret = sum;
	return 0;
}

static inline int end_read(const struct reader *r)
{
	return r->short_of || r->left > 0 ? ERR_CORRUPT : 0;
}

#endif
