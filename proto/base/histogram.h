/* histogram.h: how often a quantity was how large: counts in fixed steps, and the sum. Whoever owns one guards it. */
#ifndef RAINCHECK_BASE_HISTOGRAM_H
#define RAINCHECK_BASE_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#define HISTOGRAM_STEPS 20 /* at most */

/* Upper bounds, rising, each within its step. Constant. */
struct histogram_scale {
	size_t count;
	int64_t bounds[HISTOGRAM_STEPS];
};

/* Zeroed: nothing yet. */
struct histogram {
	int64_t counts[HISTOGRAM_STEPS + 1]; /* the last: above all bounds */
	int64_t sum;
};

/* Always with the same scale. What is negative counts as 0. */
void histogram_add(struct histogram *h, const struct histogram_scale *scale, int64_t value);
/* Adds all that from has. */
void histogram_join(struct histogram *h, const struct histogram *from);

#endif
