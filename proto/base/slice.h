/* slice.h: bytes that somebody else owns. Not NUL-terminated; valid as long as their owner says. Any thread. */
#ifndef RAINCHECK_BASE_SLICE_H
#define RAINCHECK_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct slice {
	const void *data;
	size_t size;
};

/* For "%.*s". */
#define SLICE_FMT(s) (int)(s).size, (const char *)((s).data ? (s).data : "")

static inline struct slice slice_of(const void *data, size_t size)
{
	return (struct slice){ .data = data, .size = size };
}

static inline struct slice slice_str(const char *s)
{
	return slice_of(s, s ? strlen(s) : 0);
}

static inline bool slice_equal(struct slice a, struct slice b)
{
	return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* As memcmp(), and what begins another is before it. */
static inline int slice_compare(struct slice a, struct slice b)
{
	size_t least = a.size < b.size ? a.size : b.size;
	int order = least > 0 ? memcmp(a.data, b.data, least) : 0;

	return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static inline bool slice_is(struct slice a, const char *s)
{
	return slice_equal(a, slice_str(s));
}

#endif
