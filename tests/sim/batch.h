/* batch.h: one batch of a run, in the engine and in the model: what is asked, what must be answered, what becomes of
 * it.
 */
#ifndef RAINCHECK_SIM_BATCH_H
#define RAINCHECK_SIM_BATCH_H

struct sim;

/* The batch of number s->batch, all of it drawn. Whatever is not as the model says ends in sim_fail(). */
void batch_run(struct sim *s);

#endif
