/* Raincheck: job.put, job.lease, job.complete, over MessagePack-RPC. */
#include "bench/peer.h"

#include "bench/raincheck_bytes.h"

#define WAIT_MS 10000 /* there is always a job: each lease follows an answered put */

static size_t greet(uint8_t *out)
{
	return rc_hello(out, 0);
}

static size_t scan_greeting(const uint8_t *in, size_t size)
{
	struct rc_response response;

	return rc_scan(in, size, &response);
}

/* job: the result of a lease. */
static size_t request(uint8_t *out, enum step step, unsigned slot, struct slice job)
{
	struct slice leased;

	switch (step) {
	case STEP_PUT:
		return rc_put(out, slot);
	case STEP_LEASE:
		return rc_lease(out, slot, WAIT_MS);
	default:
		leased = rc_first(rc_find(job, "jobs"));
		return rc_complete(out, slot, rc_find(leased, "id"), rc_find(leased, "lease"));
	}
}

/* The same with nine groups; the queue's limit and weights are set by bench/run. */
static size_t request_with_flow(uint8_t *out, enum step step, unsigned slot, struct slice job)
{
	static unsigned puts;

	return step == STEP_PUT ? rc_put_of_group(out, slot, puts++ % 9) : request(out, step, slot, job);
}

static size_t scan(const uint8_t *in, size_t size, enum step step, struct reply *ret)
{
	struct rc_response response;
	size_t taken = rc_scan(in, size, &response);

	(void)step; /* answers come in another order than their requests */
	if (taken > 0)
		*ret = (struct reply){ .slot = response.id, .job = response.result };
	return taken;
}

const struct peer peer_raincheck = {
	.name = "raincheck",
	.greet = greet,
	.scan_greeting = scan_greeting,
	.request = request,
	.scan = scan,
};

const struct peer peer_raincheck_flow = {
	.name = "raincheck-flow",
	.greet = greet,
	.scan_greeting = scan_greeting,
	.request = request_with_flow,
	.scan = scan,
};
