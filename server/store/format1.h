/* format1.h: how the first format of the store wrote its records. Frozen: nothing writes it any more, migrate.c alone
 * reads it. What later formats know besides is filled with "not said". A decoded record's slices point into the bytes
 * it was read from. Any thread; no state.
 */
#ifndef RAINCHECK_STORE_FORMAT1_H
#define RAINCHECK_STORE_FORMAT1_H

#include <stdint.h>

#include "server/store/records.h"

#define FORMAT1_METADATA_MAX 64

/* Each ERR_CORRUPT where the checksum or the shape is wrong. The first format had no settings of queues, so a job that
 * says what was the server's default then is taken to have said nothing. */
int format1_read_job(struct slice bytes, struct job *ret);
/* The job's time to keep results stood here then: −1 for none. */
int format1_read_input(struct slice bytes, struct job_input *ret, int64_t *ret_result_ttl_ms);
/* *ret_last_tag: of the places in line that were given, counted up over all priorities. */
int format1_read_queue(struct slice bytes, struct queue_record *ret, uint64_t *ret_last_tag);
int format1_read_tombstone(struct slice bytes, int64_t *ret_at_ms);
/* The name in a queue's record whose checksum is wrong; it may be wrong too. Empty where none can be made out. */
struct slice format1_guess_name(struct slice bytes);

#endif
