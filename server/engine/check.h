/* check.h: proves the invariants from the files alone.
 *
 * Reads everything in one read transaction and changes nothing; no broker may be running on the directory, or it must
 * be a copy. What is proved: every record and every blob by its checksum; the invariants at the head of job.c; that
 * every job has its input and nothing stands without its job; that every blob is there, whole, and named once; that
 * every idempotency key leads to the job it was used for.
 */
#ifndef RAINCHECK_ENGINE_CHECK_H
#define RAINCHECK_ENGINE_CHECK_H

#include <stdint.h>

#include "server/store/blob.h"
#include "server/store/store.h"

/* report is called with one line a breach, without a newline. *ret_breaches is how many there are; 0 is clean.
 * Negative only where the check itself could not go on: the store's errors, ERR_NO_MEMORY. */
int check_run(struct store *s, struct blob_store *bs, void (*report)(void *user, const char *line), void *user,
	      int64_t *ret_breaches);

#endif
