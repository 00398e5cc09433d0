/* format2.h: how the second format of the store wrote what the third writes otherwise: the records of queues. Frozen:
 * nothing writes it any more, migrate.c alone reads it. Any thread; no state.
 */
#ifndef RAINCHECK_STORE_FORMAT2_H
#define RAINCHECK_STORE_FORMAT2_H

#include <stdint.h>

#include "server/store/records.h"

/* ERR_CORRUPT where the checksum or the shape is wrong. The second format had no limits and no weights, and its places
 * in line were counted up over all priorities; *ret_last_tag is the last that was given. The slices point into bytes.
 */
int format2_read_queue(struct slice bytes, struct queue_record *ret, uint64_t *ret_last_tag);

#endif
