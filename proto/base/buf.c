#include "buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../error.h"

#define FIRST_CAPACITY 256

void buf_init(struct buf *b, size_t cap)
{
	*b = (struct buf){ .cap = cap };
}

void buf_done(struct buf *b)
{
	if (!b)
		return;
	free(b->data);
	*b = (struct buf){ .cap = b->cap };
}

void buf_reset(struct buf *b)
{
	b->size = 0;
	b->error = 0;
}

static int grow(struct buf *b, size_t need)
{
	size_t capacity = b->capacity ? b->capacity : FIRST_CAPACITY;
	uint8_t *data;

	/* need is at most the cap, so this ends before capacity could run over. */
	while (capacity < need)
		capacity = capacity > b->cap / 2 ? b->cap : capacity * 2;
	if (capacity > b->cap)
		capacity = b->cap;
	data = realloc(b->data, capacity);
	if (!data)
		return b->error = ERR_NO_MEMORY;
	b->data = data;
	b->capacity = capacity;
	return 0;
}

int buf_reserve(struct buf *b, size_t size, uint8_t **ret_room)
{
	int rc;

	if (b->error)
		return b->error;
	if (size > b->cap - b->size)
		return b->error = ERR_TOO_LARGE;
	if (size > b->capacity - b->size) {
		rc = grow(b, b->size + size);
		if (rc < 0)
			return rc;
	}
	*ret_room = b->data + b->size;
	return 0;
}

void buf_commit(struct buf *b, size_t size)
{
	assert(size <= b->capacity - b->size);
	b->size += size;
}

int buf_append_growing(struct buf *b, const void *data, size_t size)
{
	uint8_t *room;

	if (size == 0)
		return b->error;
	if (buf_reserve(b, size, &room) != 0)
		return b->error;
	memcpy(room, data, size);
	b->size += size;
	return 0;
}

int buf_append_str(struct buf *b, const char *s)
{
	return buf_append(b, s, strlen(s));
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list args, again;
	uint8_t *room;
	int n;

	va_start(args, fmt);
	va_copy(again, args);
	n = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	/* More text than an int can count. */
	if (n < 0 && !b->error)
		b->error = ERR_TOO_LARGE;
	/* vsnprintf wants room for the NUL that is then not counted. */
	if (n >= 0 && buf_reserve(b, (size_t)n + 1, &room) == 0) {
		vsnprintf((char *)room, (size_t)n + 1, fmt, again);
		b->size += (size_t)n;
	}
	va_end(again);
	return b->error;
}

void buf_consume(struct buf *b, size_t size)
{
	assert(size <= b->size);
	b->size -= size;
	if (b->size > 0 && size > 0)
		memmove(b->data, b->data + size, b->size);
}

void buf_truncate(struct buf *b, size_t size)
{
	assert(size <= b->size);
	b->size = size;
	b->error = 0;
}
