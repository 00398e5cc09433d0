/* The requests that a call makes beside the fetches: sent one at a time, with the limits that its upstream sets, the
 * answer read whole.
 */
#include "worker/call/call_priv.h"

#include <stdio.h>

#include "proto/base/clock.h"
#include "proto/error.h"
#include "worker/config/json_text.h"
#include "worker/config/upstream.h"
#include "worker/transport/exchange.h"

/* Beside a body that reports a failure the code may be here. */
static void take_header_code(struct call *c, const struct answer *a)
{
	struct retry_headers headers = { .code = NULL };

	if (a->end == EXCHANGE_ANSWERED)
		classify_headers(&c->upstream->error, a, &headers);
	snprintf(c->header_code, sizeof(c->header_code), "%s", headers.code ? headers.code : "");
}

static void answered_cb(struct exchange *x, const struct answer *a, void *user)
{
	struct call *c = user;
	struct answer read = *a;
	json_t *body = NULL;

	(void)x;
	if (a->end == EXCHANGE_ANSWERED && json_text_read(a->body, JSON_DECODE_ANY, &body) == ERR_NO_MEMORY) {
		read.end = EXCHANGE_FAILED;
		read.detail = error_text(ERR_NO_MEMORY);
	}
	c->exchange = NULL;
	c->status = a->status;
	take_header_code(c, a);
	c->answered(c, &read, body);
	json_decref(body);
}

int call__exchange(struct call *c, struct http_request *request, int64_t first_byte_ms, size_t cap, bool fresh,
		   void (*done)(struct call *c, const struct answer *a, json_t *body))
{
	struct exchange_spec spec = {
		.loop = c->spec.means->curl,
		.uv = c->spec.means->uv,
		.connect_ms = c->upstream->timeouts.connect_ms,
		.first_byte_ms = first_byte_ms,
		.stall_ms = c->upstream->timeouts.stall_ms,
		.body_cap = cap,
		.fresh = fresh,
		.trust = c->upstream->trust,
		.traffic = &c->traffic,
		.done_cb = answered_cb,
		.user = c,
	};

	c->answered = done;
	return exchange_start(&spec, request, &c->exchange);
}

void call__classify(struct call *c, const struct answer *a, json_t *body, const char *what, struct verdict *ret)
{
	struct retry_headers headers;

	classify_headers(&c->upstream->error, a, &headers);
	classify_status(&c->upstream->error, a->status, &headers, body, clock_wall_ms(), what, ret);
}
