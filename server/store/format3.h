/* format3.h: how the third format of the store, and the two before it, wrote what the fourth writes otherwise: records
 * that did not hold their key. Frozen: nothing writes it any more, migrate_keys.c alone reads it. A decoded record's
 * slices point into the bytes it was read from. Any thread; no state.
 */
#ifndef RAINCHECK_STORE_FORMAT3_H
#define RAINCHECK_STORE_FORMAT3_H

#include <stdint.h>

#include "server/store/records.h"

/* Each ERR_CORRUPT where the checksum or the shape is wrong. */
int format3_read_artifact(struct slice bytes, struct artifact *ret);
int format3_read_checkpoint(struct slice bytes, struct slice *ret);
int format3_read_finish(struct slice bytes, uint64_t *ret);
int format3_read_weight(struct slice bytes, uint32_t *ret);

#endif
