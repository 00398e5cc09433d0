/* broker_secret.h: the secret that every return-later link is made with.
 *
 * It is a file of its own in the data directory, link.key, so that a copy of the database alone opens no link. The
 * database keeps a fingerprint of it: with another secret all links that are out would be dead, so a broker refuses to
 * start with one. For the main thread, before the writer starts.
 */
#ifndef RAINCHECK_SERVER_BROKER_SECRET_H
#define RAINCHECK_SERVER_BROKER_SECRET_H

#include <stdint.h>

#include "proto/error.h"

struct store;

/* Reads the secret, or makes one where neither a file nor a fingerprint is there yet. ERR_CONFIG where the file is
 * missing, another or no secret at all; ERR_IO, and the store's errors. info says which file and what to do. */
int broker_secret_load(struct store *s, uint8_t ret_secret[32], struct error_info *info);

#endif
