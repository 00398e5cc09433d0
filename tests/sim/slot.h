/* slot.h: one command under way, from its drawing to its release. */
#ifndef RAINCHECK_SIM_SLOT_H
#define RAINCHECK_SIM_SLOT_H

#include "tests/sim/sim.h"

/* An empty one. There are always enough. */
struct slot *slot_take(struct sim *s);
/* The engine's command and parameters become those that were drawn. */
void slot_copy_params(struct slot *slot);
/* With the outcome of its batch. Files that the engine has not adopted are removed. */
void slot_release(struct sim *s, struct slot *slot, int rc);
/* The same without a word to anybody: the process has ended. */
void slot_done(struct sim *s, struct slot *slot);
struct slot *slot_of(struct asked *asked);
/* The n-th of its parameters that may be a file; NULL when there is no more. */
struct staged *slot_staged(struct slot *slot, size_t n);

/* Makes reply.result from what the engine answered, if it did. */
void slot_decode(struct sim *s, struct slot *slot);
/* Fails the run unless the engine answered so. */
void slot_compare(struct sim *s, struct slot *slot, const struct expectation *e);

#endif
