/* copy.h: a logical copy of a store: every entry of every table, in order, into a new store.
 *
 * Only what some key leads to is copied, so the copy has no free pages and nothing of what was erased. Values that have
 * a checksum are verified on the way; a damaged one is copied as it is and counted, for it is not the copy's to lose.
 *
 * Any thread. The copy is written in many transactions and is whole only at the end: it must stand in a directory that
 * nobody uses until then.
 */
#ifndef RAINCHECK_STORE_COPY_H
#define RAINCHECK_STORE_COPY_H

#include <stdbool.h>
#include <stdint.h>

#include "server/store/store.h"

struct copy_options {
	/* Each may be NULL; asked and told every few thousand entries. */
	bool (*canceled)(void *user);
	void (*progress)(void *user, const char *what, int64_t done, int64_t total);
	void *user;
};

struct copy_result {
	int64_t entries;
	int64_t bytes;	 /* of their keys and values */
	int64_t damaged; /* values whose checksum was wrong */
};

/* from: a read transaction; to: an empty store of this format. ret is set as far as it came, also on an error:
 * ERR_CANCELED, ERR_STORE_FULL, the store's errors. */
int store_copy(struct store_txn *from, struct store *to, const struct copy_options *options, struct copy_result *ret);

#endif
