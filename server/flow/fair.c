#include "server/flow/fair.h"

#include <assert.h>

static uint64_t cost(uint32_t weight)
{
	assert(weight >= 1 && weight <= FAIR_WEIGHT_MAX);
	return FAIR_COST / weight;
}

uint64_t fair_tag(struct fair_line *line, uint64_t *finish, uint32_t weight)
{
	uint64_t start = *finish > line->now ? *finish : line->now;

	if (start == 0)
		start = 1;
	*finish = start + cost(weight);
	if (line->last < *finish)
		line->last = *finish;
	return start;
}

void fair_served(struct fair_line *line, uint64_t tag)
{
	if (line->now < tag)
		line->now = tag;
}

void fair_refund(const struct fair_line *line, uint64_t *finish, uint32_t weight)
{
	if (fair_matters(line, *finish))
		*finish = *finish > cost(weight) ? *finish - cost(weight) : 0;
}

void fair_emptied(struct fair_line *line)
{
	fair_served(line, line->last);
	line->grouped = false;
}

bool fair_matters(const struct fair_line *line, uint64_t finish)
{
	return finish > line->now;
}

void fair_recover(struct fair_line *line, uint64_t tag)
{
	/* With one tag for all that come, they go by their age from then on, behind those who are there. */
	if (line->finish < tag + FAIR_COST)
		line->finish = tag + FAIR_COST;
	if (line->last < line->finish)
		line->last = line->finish;
	line->grouped = true;
}
