/* test_flow_draw.h: numbers drawn for the tests of server/flow, the same from the same seed. SEED=… in the environment
 * plays a run again. */
#ifndef RAINCHECK_TEST_FLOW_DRAW_H
#define RAINCHECK_TEST_FLOW_DRAW_H

#include <stdint.h>
#include <stdlib.h>
#include <time.h>

static uint64_t draw_state;

/* Begins with SEED or with the clock, and says which. Runs of one test follow one another. */
static inline void draw_begin(void)
{
	const char *given = getenv("SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);

	print_message("SEED=%llu\n", (unsigned long long)seed);
	/* splitmix64's increment: neighbouring seeds begin far apart, and 0 is none. */
	draw_state = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15) | 1;
	for (int i = 0; i < 16; i++)
		draw_state ^= draw_state << 13, draw_state ^= draw_state >> 7, draw_state ^= draw_state << 17;
}

/* low to high, both included. */
static inline int64_t draw(int64_t low, int64_t high)
{
	draw_state ^= draw_state << 13;
	draw_state ^= draw_state >> 7;
	draw_state ^= draw_state << 17;
	return low + (int64_t)((draw_state >> 11) % (uint64_t)(high - low + 1));
}

/* True once in n. */
static inline bool draw_once_in(int64_t n)
{
	return draw(1, n) == 1;
}

/* Many orders of size: a bound is met as often as what lies far above it. */
static inline int64_t draw_size(int64_t high)
{
	int64_t most = 1;

	while (most < high && !draw_once_in(4))
		most *= 4;
	return draw(0, most < high ? most : high);
}

#endif
