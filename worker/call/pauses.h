/* pauses.h: how long to wait between polls. Pure: the draw is handed in. Any thread. */
#ifndef RAINCHECK_WORKER_CALL_PAUSES_H
#define RAINCHECK_WORKER_CALL_PAUSES_H

#include <stdint.h>

struct upstream_poll;

/* The pause before poll number n, from 0 on: first, then interval, growing by factor up to max. draw, from 0 to 1,
 * moves it within the jitter: 0.5 leaves it as it is. Never negative. */
int64_t pause_before_poll(const struct upstream_poll *p, unsigned n, double draw);

#endif
