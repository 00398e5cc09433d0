/* view_raises.h: the next raise of every limit that has one in its schedule, and which queues it is for. Any thread,
 * within a transaction of its own; unlike other views it is a copy, and outlives that. */
#ifndef RAINCHECK_ENGINE_VIEW_RAISES_H
#define RAINCHECK_ENGINE_VIEW_RAISES_H

#include <stddef.h>
#include <stdint.h>

#include "proto/base/slice.h"
#include "server/flow/raise.h"
#include "server/store/store.h"

struct limit_raise {
	struct raise raise;
	struct slice limit;
	struct slice *queues; /* that use it, by name; those that are paused are not among them */
	size_t queues_count;  /* at least 1 */
};

/* Begins zeroed. Each is one allocation, its texts included. */
struct raises {
	struct limit_raise **items; /* in the order of the limits' names */
	size_t count;
};

/* ERR_NO_MEMORY, the store's. */
int view_raises(struct store_txn *t, int64_t now_ms, struct raises *ret);
void raises_done(struct raises *r);

#endif
