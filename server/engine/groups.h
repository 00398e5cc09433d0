/* groups.h: the places in line of each group's jobs, by server/flow/fair.h; where a group's finish tag matters it
 * stands in TABLE_GROUPS. The writer thread only.
 *
 * What a batch reads and changes of the table is kept in a cache of a fixed size and written once, at its end. A group
 * whose tag has been passed needs no entry; each new entry pays for looking at two others, so what is left of groups
 * that are gone is never much more than the groups there are.
 */
#ifndef RAINCHECK_ENGINE_GROUPS_H
#define RAINCHECK_ENGINE_GROUPS_H

#include <stdint.h>

#include "server/engine/queues.h"

struct groups;

/* ERR_NO_MEMORY. */
int groups_new(struct queues *qs, struct groups **ret);
/* NULL is taken. */
void groups_free(struct groups *g);

/* A job enters the queue's line of that priority: its tag. group: empty for none. The store's errors. */
int groups_enter(struct groups *g, struct store_txn *t, struct queue *q, uint8_t priority, struct slice group,
		 uint64_t *ret_tag);
/* One leaves it without having been served. */
int groups_leave(struct groups *g, struct store_txn *t, struct queue *q, uint8_t priority, struct slice group);

/* A job of the group is removed: the group's name is not kept for longer than its place in line matters. */
int groups_forget(struct groups *g, struct store_txn *t, const struct queue *q, uint8_t priority, struct slice group);

/* Writes what changed. */
int groups_save(struct groups *g, struct store_txn *t, struct buf *scratch);
/* The transaction was taken back: nothing is known any more. */
void groups_reset(struct groups *g);

#endif
