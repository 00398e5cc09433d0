/* migrate.h: which format a store has, and how an older one is brought into that of this program.
 *
 * All of it happens in the transaction that opens the store, so a crash at any moment leaves the old format or the new
 * one, whole. Nothing is lost on the way: a job whose record is damaged is set aside as the engine does it, a queue
 * whose record is damaged keeps its jobs and is paused; both are named. Queues' counts and both indexes are made anew
 * from the jobs' records. For the thread that opens the store, before anybody else has it.
 */
#ifndef RAINCHECK_STORE_MIGRATE_H
#define RAINCHECK_STORE_MIGRATE_H

#include <stdbool.h>
#include <stdint.h>

#include "server/store/store.h"

#define STORE_FORMAT 4

/* The format of what is stored, from TABLE_META; 0 for a store in which nothing stands yet, not even another table:
 * one that lost its format is ERR_CORRUPT. Where it is read only, one of another format is refused:
 * ERR_UNSUPPORTED_VERSION, as a newer one always is. ERR_CORRUPT, the store's errors. */
int migrate_look(struct store_txn *t, bool read_only, uint32_t *ret_format, struct error_info *info);
/* Brings every table from that format to this program's and writes the format down. options->notice is told what an
 * operator should know, and how far it is. ERR_STORE_FULL, ERR_NO_MEMORY, the store's errors. */
int migrate_run(struct store_txn *t, uint32_t format, const struct store_options *options, struct error_info *info);

#endif
