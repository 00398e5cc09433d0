/* buf.h: a growable byte buffer with a cap given at init.
 *
 * Any thread, one at a time. Appending beyond the cap or out of memory marks the buffer failed: it keeps what it held,
 * refuses every later append, and buf_error() says why. So a writer of many small pieces checks once at the end.
 */
#ifndef RAINCHECK_BASE_BUF_H
#define RAINCHECK_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "slice.h"

struct buf {
	uint8_t *data;
	size_t size;	 /* bytes held */
	size_t capacity; /* bytes allocated */
	size_t cap;	 /* never more than this */
	int error;	 /* 0, ERR_TOO_LARGE or ERR_NO_MEMORY */
};

/* Allocates nothing yet. */
void buf_init(struct buf *b, size_t cap);
/* Frees the content; the buffer may be used again with the same cap. NULL is taken. */
void buf_done(struct buf *b);
/* Empties without freeing and forgets an error. */
void buf_reset(struct buf *b);

int buf_append_growing(struct buf *b, const void *data, size_t size);
/* 0, ERR_TOO_LARGE or ERR_NO_MEMORY. Inline, because records and messages are written in pieces of a few bytes. */
static inline int buf_append(struct buf *b, const void *data, size_t size)
{
	if (b->error || size == 0 || size > b->capacity - b->size)
		return buf_append_growing(b, data, size);
	memcpy(b->data + b->size, data, size);
	b->size += size;
	return 0;
}
int buf_append_str(struct buf *b, const char *s);
/* Needs room for a NUL besides, which is not held. */
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Room for size more bytes after the held ones, to be written by the caller and claimed with buf_commit(). */
int buf_reserve(struct buf *b, size_t size, uint8_t **ret_room);
void buf_commit(struct buf *b, size_t size);
/* Drops the first size bytes; the rest moves to the front. */
void buf_consume(struct buf *b, size_t size);
/* Cuts back to size bytes held, forgetting an error that came after: for undoing a piece half written. */
void buf_truncate(struct buf *b, size_t size);

static inline int buf_error(const struct buf *b)
{
	return b->error;
}

static inline struct slice buf_slice(const struct buf *b)
{
	return slice_of(b->data, b->size);
}

#endif
