/* secret.h: the links' secret of a data directory, for whoever looks at or copies one. The broker makes and keeps it,
 * and the records know its fingerprint (layout.h).
 *
 * Any thread; no state.
 */
#ifndef RAINCHECK_UPKEEP_SECRET_H
#define RAINCHECK_UPKEEP_SECRET_H

#include <stdint.h>

#include "proto/error.h"
#include "server/store/layout.h"

struct fingerprint {
	char text[LINK_FINGERPRINT_CHARS + 1];
};

/* ERR_NOT_FOUND where there is no file, ERR_IO, ERR_CORRUPT where it is no secret; info says so in each case. */
int secret_read(const char *dir, uint8_t ret[LINK_SECRET_BYTES], struct error_info *info);

struct fingerprint secret_fingerprint(const uint8_t secret[LINK_SECRET_BYTES]);

#endif
