#include "server/writer/meter.h"

const struct histogram_scale meter_batch_scale = {
	.count = 13,
	.bounds = { 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096 },
};
const struct histogram_scale meter_commit_scale = {
	.count = 16,
	.bounds = { 50, 100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000,
		    10000000 },
};

void meter_init(struct meter *m)
{
	*m = (struct meter){ .totals = { .batches = { .sum = 0 } } };
	pthread_mutex_init(&m->lock, NULL);
}

void meter_done(struct meter *m)
{
	pthread_mutex_destroy(&m->lock);
}

void meter_add(struct meter *m, size_t commands, int64_t commit_us, const struct engine_tally *jobs)
{
	pthread_mutex_lock(&m->lock);
	histogram_add(&m->totals.batches, &meter_batch_scale, (int64_t)commands);
	histogram_add(&m->totals.commits, &meter_commit_scale, commit_us);
	tally_join(&m->totals.jobs, jobs);
	pthread_mutex_unlock(&m->lock);
}

void meter_read(struct meter *m, struct writer_totals *ret)
{
	pthread_mutex_lock(&m->lock);
	*ret = m->totals;
	pthread_mutex_unlock(&m->lock);
}
