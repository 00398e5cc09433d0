#include "worker/call/pauses.h"

#include "worker/config/upstream.h"

int64_t pause_before_poll(const struct upstream_poll *p, unsigned n, double draw)
{
	double pause = n == 0 ? (double)p->first_ms : (double)p->interval_ms;

	for (unsigned i = 1; i < n && pause < (double)p->max_ms; i++)
		pause *= p->factor;
	if (n > 0 && pause > (double)p->max_ms)
		pause = (double)p->max_ms;
	pause *= 1 + p->jitter * (2 * draw - 1);
	return (int64_t)(pause + 0.5);
}
