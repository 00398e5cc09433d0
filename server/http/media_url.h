/* media_url.h: where an artifact is fetched: under an address that changes when its bytes do, so that caches and those
 * who show a link's picture notice. Any thread; no state. */
#ifndef RAINCHECK_HTTP_MEDIA_URL_H
#define RAINCHECK_HTTP_MEDIA_URL_H

#include "proto/base/slice.h"
#include "proto/messages.h"

#define MEDIA_VERSION_BYTES 12 /* digits of the SHA-256 in it */

struct media_url {
	char text[600];
};

/* "BASE/NAME?v=VERSION". base: a link, or its token for an address relative to its page. */
struct media_url media_url_make(struct slice base, const char *name, const struct msg_artifact *a);

#endif
