#include "await.h"

#include "client/raincheck.h"
#include "interrupt.h"
#include "proto/base/clock.h"

#define SLICE_MS    100	 /* how often it looks whether it was interrupted */
#define PATIENCE_MS 3000 /* after that */

bool await_some(struct cli *c, struct await *a)
{
	int64_t now = clock_mono_ms();

	if (a->give_up_at_ms == 0 && interrupt_came())
		a->give_up_at_ms = now + PATIENCE_MS;
	if (a->give_up_at_ms > 0 && now >= a->give_up_at_ms)
		return false;
	raincheck_run(c->rc, SLICE_MS);
	return true;
}
