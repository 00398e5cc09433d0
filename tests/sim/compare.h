/* compare.h: what the engine leaves behind, held against the model. Each fails the run at the first difference. */
#ifndef RAINCHECK_SIM_COMPARE_H
#define RAINCHECK_SIM_COMPARE_H

#include "tests/sim/sim.h"

/* After a commit: what the fronts are told, in its order; and the files that may go, in any. */
void compare_events(struct sim *s, const struct job_event *events, size_t count);
void compare_garbage(struct sim *s, const struct uuid *ids, size_t count);

/* Everything in the store: compare.c reads the tables, compare_views.c what the fronts see of them. */
void compare_state(struct sim *s);
void compare_views(struct sim *s, struct store_txn *t);

#endif
