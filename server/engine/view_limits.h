/* view_limits.h: limits as everybody outside sees them: settings, what is under way and waits in their queues, and what
 * holds them. Any thread, within a transaction of its own; what a view holds points into the map, as in view.h. */
#ifndef RAINCHECK_ENGINE_VIEW_LIMITS_H
#define RAINCHECK_ENGINE_VIEW_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/messages.h"
#include "server/store/limit_record.h"
#include "server/store/records.h"
#include "server/store/store.h"

/* A queue that a limit's jobs are in. */
struct limit_use {
	struct slice limit;
	struct slice queue;
	int64_t running;
	int64_t ready;
	bool paused;
	struct pace pace;
};

/* Begins zeroed. */
struct limit_uses {
	struct limit_use *items;
	struct slice *names; /* the items' queues, after limit_uses_sort() */
	size_t count, capacity;
};

/* A queue without a limit is passed over. ERR_NO_MEMORY. */
int limit_uses_add(struct limit_uses *u, const struct queue_record *q);
/* By limit, then by queue. */
void limit_uses_sort(struct limit_uses *u);
/* All that there are in the store, sorted. ERR_NO_MEMORY, the store's. */
int limit_uses_gather(struct store_txn *t, struct limit_uses *u);
/* Those of the limit, of sorted ones; how many. */
size_t limit_uses_of(const struct limit_uses *u, struct slice limit, const struct limit_use **ret);
void limit_uses_done(struct limit_uses *u);

/* uses: those of this limit. The caller points ret->queues to their names. spells: room for LIMIT_SCHEDULE_MAX. */
void view_limit(const struct limit_record *l, const struct limit_use *uses, size_t count, int64_t now_ms,
		struct msg_limit_spell *spells, struct msg_limit *ret);

/* All limits, by name, or one. */
struct limits_view {
	struct msg_limit *items;
	size_t count;
	struct limit_uses uses;
	struct msg_limit_spell *spells;
};

/* name: of one, or NULL for all. ERR_NOT_FOUND where it is not there, ERR_CORRUPT where it is damaged, ERR_NO_MEMORY,
 * the store's. */
int view_limits(struct store_txn *t, int64_t now_ms, const struct slice *name, struct limits_view *ret);
void limits_view_done(struct limits_view *v);

#endif
