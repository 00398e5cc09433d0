#include "histogram.h"

void histogram_add(struct histogram *h, const struct histogram_scale *scale, int64_t value)
{
	size_t i = 0;

	if (value < 0)
		value = 0;
	while (i < scale->count && value > scale->bounds[i])
		i++;
	h->counts[i]++;
	h->sum += value;
}

void histogram_join(struct histogram *h, const struct histogram *from)
{
	for (size_t i = 0; i <= HISTOGRAM_STEPS; i++)
		h->counts[i] += from->counts[i];
	h->sum += from->sum;
}
