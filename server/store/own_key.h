/* own_key.h: which key a record was written under, as the record itself says.
 *
 * A row of which a bit of the key flipped stands in another's place, or in nobody's, and is not found where it belongs.
 * Records of artifacts, checkpoints, groups' places and weights hold their key (records.h), a limit's its name, which
 * is its key: so of these it is known where they belong. Of the other tables the jobs' and queues' records say what
 * must stand in them. Any thread; no state.
 */
#ifndef RAINCHECK_STORE_OWN_KEY_H
#define RAINCHECK_STORE_OWN_KEY_H

#include <stdbool.h>

#include "proto/base/slice.h"
#include "server/store/store.h"

/* Whether the row is whole and was written under another key; *ret points into value. False of a damaged one, and of a
 * table whose records hold no key. */
bool own_key_differs(enum store_table table, struct slice key, struct slice value, struct slice *ret);

#endif
