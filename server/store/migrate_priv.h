/* migrate_priv.h: what migrate.c has from migrate_keys.c. Included by them alone; as in migrate.h. */
#ifndef RAINCHECK_STORE_MIGRATE_PRIV_H
#define RAINCHECK_STORE_MIGRATE_PRIV_H

#include <stdint.h>

#include "server/store/store.h"

/* Writes anew, with its key in it, every record of the first three formats that holds its key since the fourth. What is
 * damaged stays as it is, and is damaged as before. A key is believed: of one that had flipped before nobody knows.
 * ERR_STORE_FULL, ERR_NO_MEMORY, the store's errors. */
int migrate__keys(struct store_txn *t, uint32_t format, const struct store_options *options);

#endif
