/* raise.h: when a limit's schedule is to let more calls be under way at once than just before, and how many: so that
 * whoever makes the calls can open connections ahead of it. Pure; any thread.
 */
#ifndef RAINCHECK_FLOW_RAISE_H
#define RAINCHECK_FLOW_RAISE_H

#include <stdbool.h>
#include <stdint.h>

#include "server/store/limit_record.h"

struct raise {
	int64_t at_ms;
	int64_t from; /* calls at once just before, */
	int64_t to;   /* and then: more. LIMIT_CONCURRENCY_MAX where there is no bound */
};

/* The first after now. run_ms: what an attempt takes, from which it follows how many calls a rate keeps under way
 * (J. Little, A Proof for the Queuing Formula L = λW, 1961); 0: not known, and then they are as many as its burst. What
 * is learned until then, or holds the limit up, nobody knows: it counts as it is now. False where there is none. */
bool raise_next(const struct limit_record *l, int64_t run_ms, int64_t now_ms, struct raise *ret);

#endif
