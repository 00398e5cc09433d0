#include "server/flow/raise.h"

#include <math.h>

#include "server/flow/limit.h"
#include "server/flow/schedule.h"

/* What the schedule says of that moment, and what was learned so far. */
static int64_t calls_at(const struct limit_record *l, int64_t run_ms, int64_t at_ms)
{
	int64_t until_ms, calls = LIMIT_CONCURRENCY_MAX;
	struct limit_caps caps = schedule_caps(&l->settings, at_ms, &until_ms);
	int32_t concurrency = limit_look(l, 0, at_ms).concurrency;
	double busy;

	if (concurrency >= 0)
		calls = concurrency;
	if (caps.rate <= 0)
		return calls;
	busy = fmax(ceil(caps.rate * (double)run_ms / 1000), floor(caps.burst));
	return busy < (double)calls ? (int64_t)busy : calls;
}

bool raise_next(const struct limit_record *l, int64_t run_ms, int64_t now_ms, struct raise *ret)
{
	int64_t at_ms;

	schedule_caps(&l->settings, now_ms, &at_ms);
	while (at_ms != INT64_MAX) {
		int64_t from = calls_at(l, run_ms, at_ms - 1), to = calls_at(l, run_ms, at_ms);

		if (to > from) {
			*ret = (struct raise){ .at_ms = at_ms, .from = from, .to = to };
			return true;
		}
		schedule_caps(&l->settings, at_ms, &at_ms);
	}
	return false;
}
