#include "server/engine/tally.h"

const struct histogram_scale tally_scale = {
	.count = 15,
	.bounds = { 100, 500, 1000, 2500, 5000, 10000, 30000, 60000, 120000, 300000, 600000, 1800000, 3600000, 14400000,
		    86400000 },
};

static void join_work(struct work_tally *t, const struct work_tally *from)
{
	t->puts += from->puts;
	t->leases += from->leases;
	for (int i = 0; i < FAIL_KINDS; i++)
		t->failed[i] += from->failed[i];
	for (int i = 0; i < JOB_STATES; i++)
		t->ended[i] += from->ended[i];
	histogram_join(&t->waits, &from->waits);
	histogram_join(&t->runs, &from->runs);
}

void tally_join(struct engine_tally *t, const struct engine_tally *from)
{
	t->repeated += from->repeated;
	for (int i = 0; i < TALLY_CODES; i++)
		t->refused[i] += from->refused[i];
	for (int i = 0; i < TALLY_WORKS; i++)
		join_work(&t->work[i], &from->work[i]);
}
