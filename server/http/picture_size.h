/* picture_size.h: how large a picture is, from its first bytes: so that a page has its place ready before it comes. Any
 * thread; no state. */
#ifndef RAINCHECK_HTTP_PICTURE_SIZE_H
#define RAINCHECK_HTTP_PICTURE_SIZE_H

#include <stdbool.h>

#include "proto/base/slice.h"

#define PICTURE_HEAD_BYTES 4096	 /* of the content: enough for most … */
#define PICTURE_MOST_BYTES 65536 /* … and for those that a camera wrote much into */

/* As it is shown: a photograph that says to be turned is turned. */
struct picture_size {
	int width, height; /* pixels, 1 to 65,535; both 0: not known */
};

/* first: the beginning of a JPEG, PNG, GIF, WebP or AVIF, or all of it. False where it does not say, or not in these
 * bytes. */
bool picture_size_read(struct slice first, struct picture_size *ret);

#endif
