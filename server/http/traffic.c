#include "traffic.h"

const struct histogram_scale traffic_scale = {
	.count = 13,
	.bounds = { 100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 1000000, 5000000 },
};

static void add(atomic_int_fast64_t *counter, int64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

void traffic_count(struct traffic *t, enum route route, unsigned status, int64_t took_us)
{
	size_t step = 0;

	if (status < 100 || status >= 100 * (TRAFFIC_CLASSES + 1))
		return;
	add(&t->requests[route][status / 100 - 1], 1);
	if (took_us < 0)
		return;
	while (step < traffic_scale.count && took_us > traffic_scale.bounds[step])
		step++;
	add(&t->durations[route][step], 1);
	add(&t->duration_sum_us[route], took_us);
}
