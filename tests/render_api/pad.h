/* The pad: a `free` box behind the video, for results too large to be kept in memory by anybody.
 *
 * Its bytes follow from their place, so that they need not be kept, and a test can tell a piece that is missing,
 * doubled or in the wrong place. Byte i of the box's content is the low byte of i + i / 251 + i / 65521.
 *
 * Any thread; no state. */
#ifndef RENDER_API_PAD_H
#define RENDER_API_PAD_H

#include <stddef.h>

#define PAD_KIB_MAX 262144

/* Writes `count` bytes of a box of `size` bytes, from its byte `from` on. size is 0 or from 8 to 4 GiB. */
void pad_fill(size_t size, size_t from, unsigned char *to, size_t count);

#endif
