/* copy_twice.h: two job records, or two inputs, that stand under one id, for a bit of one's key has flipped: which is
 * whose, as far as the rest tells. For copy.c alone, which keeps the one that it met first in the copy, and the other
 * here until all tables are copied.
 *
 * The order of the file proves it: the one that flipped still stands where its own id belongs. That id is the only one
 * beside, by one bit, of which there is the one half and not the other, and both payloads have the sizes that the jobs
 * count for. Where that cannot be told of two inputs, the one stays whose size is right; where that says nothing either
 * both are left out, so that no job is done with another's input. Two job records of which nothing can be told are
 * ERR_CORRUPT.
 */
#ifndef RAINCHECK_STORE_COPY_TWICE_H
#define RAINCHECK_STORE_COPY_TWICE_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/base/buf.h"
#include "proto/base/uuid.h"
#include "server/store/store.h"

#define COPY_TWICE_MAX 1000

struct copy_twice_row {
	enum store_table table;
	struct uuid id;
	struct buf value; /* of the second */
};

struct copy_twice {
	struct copy_twice_row *rows;
	size_t count;
};

bool copy_twice_knows(enum store_table table);
/* ERR_CORRUPT where there are COPY_TWICE_MAX already or the key is no id, ERR_NO_MEMORY. */
int copy_twice_add(struct copy_twice *all, enum store_table table, struct slice key, struct slice value);
/* t: of the copy. *ret_what: what was done, or why it cannot be told with ERR_CORRUPT; one line without a newline. The
 * store's errors. */
int copy_twice_settle(const struct copy_twice_row *row, struct store_txn *t, const char **ret_what);
void copy_twice_done(struct copy_twice *all);

#endif
