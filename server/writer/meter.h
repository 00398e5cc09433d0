/* meter.h: what the writer's batches came to since the start: added up by the writer once a batch, read by anybody.
 */
#ifndef RAINCHECK_WRITER_METER_H
#define RAINCHECK_WRITER_METER_H

#include <pthread.h>
#include <stdint.h>

#include "server/engine/tally.h"

struct writer_totals {
	struct histogram batches; /* commands of a batch, of meter_batch_scale; one of due work alone counts too */
	struct histogram commits; /* what the store took to commit, in microseconds, of meter_commit_scale */
	struct engine_tally jobs;
};

extern const struct histogram_scale meter_batch_scale, meter_commit_scale;

struct meter {
	pthread_mutex_t lock; /* guards the rest */
	struct writer_totals totals;
};

void meter_init(struct meter *m);
void meter_done(struct meter *m);
/* A batch is on the disk. The writer's thread. */
void meter_add(struct meter *m, size_t commands, int64_t commit_us, const struct engine_tally *jobs);
/* Any thread. */
void meter_read(struct meter *m, struct writer_totals *ret);

#endif
