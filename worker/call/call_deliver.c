/* A call that delivers a webhook: one request, whose answer is the end of the attempt. All else, the lease, the end
 * told to the broker, release and log line, is as with every call.
 *
 *   NEW ──▶ SUBMITTING ──2xx──▶ COMPLETING
 *                └── whatever else, or its time is over ──▶ FAILING
 */
#include "worker/call/call_priv.h"

#include "proto/base/clock.h"
#include "proto/error.h"
#include "worker/call/leased.h"
#include "worker/call/webhook.h"
#include "worker/config/upstream.h"
#include "worker/transport/exchange.h"
#include "worker/transport/http_request.h"

#define ANSWER_MAX 16384 /* of which nothing is kept */

static void fail(struct call *c, const struct answer *a, const struct retry_headers *headers)
{
	const struct webhook_attempt attempt = {
		.number = c->job->attempt,
		.draw = call__draw(),
		.now_ms = clock_wall_ms(),
	};
	struct verdict v;

	webhook_judge(a, headers, &attempt, &v);
	call__fail(c, &v);
}

static void answered_cb(struct exchange *x, const struct answer *a, void *user)
{
	struct retry_headers headers = { .code = NULL };
	struct call *c = user;

	(void)x;
	c->exchange = NULL;
	c->status = a->status;
	if (webhook_is_taken(a)) {
		call__complete(c);
		return;
	}
	if (a->end == EXCHANGE_ANSWERED)
		classify_headers(&c->upstream->error, a, &headers);
	fail(c, a, &headers);
}

void call__deliver_timed_out(struct call *c)
{
	const struct retry_headers none = { .code = NULL };
	const struct answer silence = { .end = EXCHANGE_SILENT };

	fail(c, &silence, &none);
}

static int start(struct call *c, struct error_info *info)
{
	const struct upstream *u = c->upstream;
	const struct exchange_spec spec = {
		.loop = c->spec.means->curl,
		.uv = c->spec.means->uv,
		.connect_ms = u->timeouts.connect_ms,
		.first_byte_ms = u->timeouts.attempt_ms,
		.stall_ms = u->timeouts.stall_ms,
		.body_cap = ANSWER_MAX,
		.public_only = !u->allow_private,
		.trust = u->trust,
		.traffic = &c->traffic,
		.done_cb = answered_cb,
		.user = c,
	};
	_cleanup_(http_request_freep) struct http_request *r = NULL;
	int rc = webhook_request(u->deliver, c->job, clock_wall_ms(), &r, info);

	if (rc < 0)
		return rc;
	r->proxy = u->proxy;
	r->interface = u->interface;
	rc = exchange_start(&spec, r, &c->exchange);
	if (rc == 0)
		TAKE_PTR(r);
	return rc;
}

void call__deliver(struct call *c)
{
	struct error_info info = { .code = 0 };
	struct verdict v;
	int rc;

	call__move(c, CALL_SUBMITTING);
	rc = start(c, &info);
	if (rc == 0)
		return;
	if (rc != ERR_BAD_REQUEST) {
		call__fail_code(c, rc, "the webhook cannot be made");
		return;
	}
	verdict_set(&v, RAINCHECK_FAIL_REJECTED, "%s", info.message);
	call__fail(c, &v);
}
