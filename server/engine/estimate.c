#include "server/engine/estimate.h"

#include <math.h>

#define TIME_CONSTANT_MS 60000.0
#define RUN_WEIGHT	 0.1  /* of the newest attempt in the smoothed time */
#define TOO_SLOW	 1e-9 /* leases a millisecond: nobody works, so nothing can be promised */

/* What is left of the rate after the time since it was brought up to date. */
static double decayed(const struct queue_record *q, int64_t now_ms)
{
	double passed = (double)(now_ms - q->rate_at_ms);

	return passed > 0 ? q->lease_rate * exp(-passed / TIME_CONSTANT_MS) : q->lease_rate;
}

void estimate_leased(struct queue_record *q, int64_t now_ms)
{
	double rate = decayed(q, now_ms);

	if (rate < TOO_SLOW)
		q->rate_since_ms = now_ms;
	q->lease_rate = rate + 1 / TIME_CONSTANT_MS;
	q->rate_at_ms = now_ms;
}

void estimate_succeeded(struct queue_record *q, int64_t run_ms)
{
	double took = run_ms > 0 ? (double)run_ms : 0;

	q->run_ms = q->run_ms > 0 ? q->run_ms + RUN_WEIGHT * (took - q->run_ms) : took;
}

bool estimate_done(const struct queue_record *q, int64_t now_ms, int64_t position, int64_t started_at_ms,
		   int64_t *ret_ms)
{
	double age = (double)(now_ms - q->rate_since_ms);
	double rate = decayed(q, now_ms);
	double ms = q->run_ms;

	if (q->run_ms <= 0)
		return false;
	if (position == 0) {
		ms -= (double)(now_ms - started_at_ms);
	} else {
		if (rate < TOO_SLOW)
			return false;
		/* An average that began from nothing is too low by this factor until it has run a while. */
		rate /= 1 - exp(-(age > 1000 ? age : 1000) / TIME_CONSTANT_MS);
		ms += (double)position / rate;
	}
	*ret_ms = ms > 0 ? (int64_t)ms : 0;
	return true;
}

int64_t estimate_gap_ms(const struct queue_record *q, int64_t now_ms)
{
	double rate = decayed(q, now_ms);

	return rate < TOO_SLOW ? 0 : (int64_t)(1 / rate) + 1;
}
