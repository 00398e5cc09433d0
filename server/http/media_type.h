/* media_type.h: which artifacts a browser may show, and which it must save.
 *
 * What an artifact says of itself came from a stranger. It is believed only where the type is one of a few that hold
 * no script, and where the first bytes are of that type. Any thread; no state.
 */
#ifndef RAINCHECK_HTTP_MEDIA_TYPE_H
#define RAINCHECK_HTTP_MEDIA_TYPE_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/base/slice.h"

#define MEDIA_SNIFF_BYTES 16 /* of the content, to tell its type */

enum media_class { MEDIA_OTHER, MEDIA_IMAGE, MEDIA_VIDEO, MEDIA_AUDIO };

struct media_type {
	const char *name; /* "video/mp4" */
	const char *extension;
	enum media_class class;
	bool (*looks_like)(const unsigned char *bytes, size_t size);
};

/* The type that content_type names, its parameters and case ignored; NULL where it is none that may be shown. */
const struct media_type *media_type_find(struct slice content_type);
/* The type of a picture by its first bytes alone; NULL where they are of none that may be shown. */
const struct media_type *media_type_of_picture(struct slice first);
/* True where the first bytes, MEDIA_SNIFF_BYTES or more or all there are, are of the type. */
bool media_type_agrees(const struct media_type *type, struct slice first);
/* MEDIA_OTHER for what must not be shown. */
enum media_class media_class_of(struct slice content_type);

#endif
