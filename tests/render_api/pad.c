/* A box is its size in four bytes, its type in four, and its content. */
#include "pad.h"

#include <stdint.h>

#define HEAD_BYTES 8

static unsigned char pad_byte(size_t size, size_t at)
{
	const unsigned char head[HEAD_BYTES] = {
		(unsigned char)(size >> 24),
		(unsigned char)(size >> 16),
		(unsigned char)(size >> 8),
		(unsigned char)size,
		'f',
		'r',
		'e',
		'e',
	};
	size_t i = at - HEAD_BYTES;

	return at < HEAD_BYTES ? head[at] : (unsigned char)(i + i / 251 + i / 65521);
}

void pad_fill(size_t size, size_t from, unsigned char *to, size_t count)
{
	for (size_t i = 0; i < count; i++)
		to[i] = pad_byte(size, from + i);
}
