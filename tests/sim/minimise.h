/* minimise.h: makes a run that fails shorter, by leaving out batches and commands as long as it fails in some way. */
#ifndef RAINCHECK_SIM_MINIMISE_H
#define RAINCHECK_SIM_MINIMISE_H

#include "tests/sim/sim.h"

/* Runs s again and again, each in a process of its own, and tells the shortest that was found on stdout. s is as it was
 * given to sim_run(), and failed in batch. */
void minimise(const struct sim *s, uint64_t batch);
/* For a process that is to end by what it does wrong: the test library's handlers would go on with the tests. */
void minimise_signals(void);

#endif
