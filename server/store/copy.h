/* copy.h: a logical copy of a store: every entry of every table, in order, into a new store.
 *
 * Only what some key leads to is copied, so the copy has no free pages and nothing of what was erased. Values that have
 * a checksum are verified on the way; a damaged one is copied as it is and counted, for it is not the copy's to lose.
 *
 * Keys have no checksum. One of which a bit flipped on the disk stands out of order, and lookups near it miss what is
 * there: a copy of that is refused, unless the caller asks that such an entry is put where its key belongs. Of two rows
 * of different content under one key one may say that it belongs elsewhere (own_key.h), and is put there; else they are
 * refused in any case where neither could be made anew: one would be taken for the other's.
 *
 * A table of which fewer or more rows are found than it counts is refused: pages are damaged. Where they are, LMDB may
 * also end the process, so the pages of a source that may be damaged are proved first (pages.h).
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
	/* Told each entry that stands out of order, which is then put where its key belongs, and each that is left out
	 * because another stands under its key already: "TABLE, key HEX: …". NULL: the copy ends there. */
	void (*misplaced)(void *user, const char *line);
	void *user;
	uint32_t leave_out; /* tables, a bit for each by enum store_table: they are damaged, and made anew afterwards */
};

struct copy_result {
	int64_t entries;
	int64_t bytes;	 /* of their keys and values */
	int64_t damaged; /* values whose checksum was wrong */
	char where[160]; /* with ERR_CORRUPT: the table, the key if it is about one, and what is wrong with it */
};

/* What the table is called in front of an operator. */
const char *copy_table_name(enum store_table table);

/* Whether all that stands in the table can be made anew from the jobs', queues' and artifacts' records (mend.h). */
bool copy_is_derived(enum store_table table);

struct error_info;

/* from: a read transaction; to: an empty store of this format. ret is set as far as it came, also on an error:
 * ERR_CANCELED, ERR_STORE_FULL, ERR_CORRUPT, the store's errors. */
int store_copy(struct store_txn *from, struct store *to, const struct copy_options *options, struct copy_result *ret);
/* Says in info why it came to no end, and returns rc. On the same thread, right after it. */
int store_copy_explain(int rc, const struct copy_result *copied, struct error_info *info);

#endif
