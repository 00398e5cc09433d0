/* media.h: what kind of media bytes are, by what is said of them and by how they begin. Any thread; no state. */
#ifndef RAINCHECK_WORKER_CALL_MEDIA_H
#define RAINCHECK_WORKER_CALL_MEDIA_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/base/slice.h"

#define MEDIA_TYPE_SIZE	 128 /* of a type as text, with the NUL */
#define MEDIA_HEAD_BYTES 64  /* as many first bytes as are looked at, where there are so many */

/* The type that the first bytes show ("video/mp4"); NULL for one that is not known here. Static. */
const char *media_sniff(struct slice head);

/* True where type ("video/mp4") fits pattern: itself, the same kind with a star for the rest, or a lone star. */
bool media_matches(const char *type, const char *pattern);

/* Judges a body, which why calls name ("result", "preview", an output's). declared is its Content-Type as received
 * (NULL for none), types the patterns that are wanted (none: all are). Sets ret_type to the type to store it under: the
 * declared one without parameters, or what the bytes show where nothing useful was declared. ERR_BAD_REQUEST, with a
 * sentence in why, when the declared type is not wanted, or the bytes are not what is declared, or there are none. */
int media_judge(const char *name, const char *declared, struct slice head, const char *const *types, size_t type_count,
		char ret_type[static MEDIA_TYPE_SIZE], char *why, size_t size);

#endif
