/* row_words.h: what a row is called in front of an operator, by its key: for the lines of the check and the mender.
 * Any thread; no state. */
#ifndef RAINCHECK_UPKEEP_ROW_WORDS_H
#define RAINCHECK_UPKEEP_ROW_WORDS_H

#include "proto/base/slice.h"
#include "server/store/store.h"

struct row_words {
	char text[224];
};

/* "artifact NAME of job ID", "limit NAME" and so on; of any other table, and of a key of no shape, the table's name and
 * the key in hexadecimal digits. Bytes of a name that are no visible ASCII are written as \xHH: a name whose bit
 * flipped may hold any. What is too long is cut. */
struct row_words row_words(enum store_table table, struct slice key);

#endif
