/* Ending a call at the API when its job is canceled or its time is over: what runs on there costs money, or a place
 * among the few that may run at once. Best effort: one request with a short time of its own, whose answer is logged. A
 * call that another attempt may take up is never ended: a job that is tried again, given back, or dead.
 */
#include "worker/call/call_priv.h"

#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/error.h"
#include "worker/call/call_request.h"
#include "worker/call/leased.h"
#include "worker/config/upstream.h"
#include "worker/transport/exchange.h"
#include "worker/transport/http_request.h"

#define ANSWER_MAX 65536

/* Whether the API has something that can be ended. A sync call is known by its key alone. */
static bool runs(const struct call *c)
{
	if (c->upstream->cancel.by_id)
		return c->checkpoint.id;
	return c->state == CALL_SUBMITTING || c->checkpoint.submitting;
}

static void answered(struct call *c, const struct answer *a, json_t *body)
{
	const char *id = c->checkpoint.id ? c->checkpoint.id : c->key;

	(void)body;
	if (a->end == EXCHANGE_ANSWERED)
		log_info("job %s: the API was told to end the call %s: HTTP %ld", c->job->id, id, a->status);
	else
		log_warning("job %s: the API could not be told to end the call %s: %s", c->job->id, id, a->detail);
	c->status = a->status;
	call__over(c, c->end);
}

static int send_request(struct call *c)
{
	const struct upstream_cancel *cancel = &c->upstream->cancel;
	_cleanup_(http_request_freep) struct http_request *r = NULL;
	struct error_info info = { .code = 0 };
	int rc;

	c->values.id = c->checkpoint.id;
	rc = call_request_step(c->upstream, &c->values, &cancel->step, c->checkpoint.cancel_url, &r, &info);
	if (rc == 0)
		rc = call__exchange(c, r, cancel->timeout_ms, ANSWER_MAX, false, answered);
	if (rc == 0)
		TAKE_PTR(r);
	else
		log_warning("job %s: the API cannot be told to end the call: %s", c->job->id,
			    info.code ? info.message : error_text(rc));
	return rc;
}

void call__cancel(struct call *c, enum call_outcome outcome)
{
	const struct upstream_cancel *cancel = &c->upstream->cancel;
	int64_t until = clock_mono_ms() + cancel->timeout_ms;
	bool had = runs(c);

	c->end = outcome;
	if (!cancel->given || c->result_stored || call__is(c, CALL_COMPLETING)) {
		call__over(c, outcome);
		return;
	}
	if (call__is(c, CALL_SUBMITTING) && cancel->by_id) {
		/* The id is in the answer, which is on its way. */
		c->doomed = true;
		if (until < c->deadline_at_ms)
			c->deadline_at_ms = until;
		call__set_timer(c);
		return;
	}
	if (!had) {
		call__over(c, outcome);
		return;
	}
	call__stop(c);
	broker_op_cancel(&c->op);
	c->deadline_at_ms = until;
	call__move(c, CALL_CANCELING);
	if (send_request(c) < 0)
		call__over(c, outcome);
}
