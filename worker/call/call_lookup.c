/* Looking a call up whose submit was not answered: the API is asked, by the key that the call was sent with, whether it
 * has it. If so, its id is what the submit would have given; if not, and after asking often enough for an API that
 * needs a while to find its own calls, the submit goes out once more. As long as that is not settled the checkpoint
 * says "submitting", so that another attempt goes on here.
 */
#include "worker/call/call_priv.h"

#include <string.h>

#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/error.h"
#include "worker/call/call_request.h"
#include "worker/call/leased.h"
#include "worker/config/pointer.h"
#include "worker/config/upstream.h"
#include "worker/transport/exchange.h"
#include "worker/transport/http_request.h"

#define ANSWER_MAX (4 << 20)
#define ID_SIZE	   1024
#define FAILS_MAX  10

static const char what[] = "the lookup";

static void wait_and_ask(struct call *c, int64_t least_ms)
{
	int64_t pause = c->upstream->submit.lookup.interval_ms;

	c->wake_at_ms = clock_mono_ms() + (pause > least_ms ? pause : least_ms);
	call__move(c, CALL_SETTLING);
}

void call__look_up(struct call *c, int64_t first_ms)
{
	c->unsettled = true;
	c->absences = c->lookup_fails = 0;
	c->wake_at_ms = clock_mono_ms() + first_ms;
	call__move(c, CALL_SETTLING);
}

/* Nothing was learnt. */
static void lookup_failed(struct call *c, const struct verdict *v)
{
	struct verdict final = *v;

	if (v->kind == RAINCHECK_FAIL_THROTTLED || ++c->lookup_fails < FAILS_MAX) {
		wait_and_ask(c, v->retry_after_ms);
		return;
	}
	/* Not rejected: what is not known must be asked again, not thrown away. */
	verdict_set(&final, RAINCHECK_FAIL_UNAVAILABLE, "whether the API took the call is not known yet: %.400s",
		    v->message);
	call__fail(c, &final);
}

static void absent(struct call *c)
{
	struct verdict v;

	c->lookup_fails = 0;
	if (++c->absences < c->upstream->submit.lookup.tries) {
		wait_and_ask(c, 0);
		return;
	}
	c->unsettled = false;
	if (!c->resubmitted) {
		c->resubmitted = true;
		log_info("job %s: the API does not have the call, which is sent again", c->job->id);
		call__submit_again(c);
		return;
	}
	verdict_set(&v, RAINCHECK_FAIL_UNAVAILABLE, "the submit got lost twice, and the API does not have the call");
	call__fail(c, &v);
}

static bool says_absent(const struct upstream_lookup *l, long status)
{
	for (size_t i = 0; i < l->absent_count; i++)
		if (l->absent[i] == (unsigned long)status)
			return true;
	return false;
}

static void found_or_not(struct call *c, json_t *body)
{
	struct verdict v;
	char id[ID_SIZE];

	scalar_text(pointer_find(body, c->upstream->submit.lookup.id), id, sizeof(id));
	if (!body || strlen(id) == sizeof(id) - 1) {
		verdict_set(&v, RAINCHECK_FAIL_INVALID, "%s was answered with %s", what,
			    body ? "an id longer than any API's" : "something that is not JSON");
		lookup_failed(c, &v);
	} else if (id[0]) {
		c->unsettled = false;
		log_info("job %s: the API has the call as %s", c->job->id, id);
		call__take_id(c, body, id);
	} else {
		absent(c);
	}
}

static void answered(struct call *c, const struct answer *a, json_t *body)
{
	struct verdict v;

	if (a->end != EXCHANGE_ANSWERED) {
		classify_transport(a, what, &v);
		lookup_failed(c, &v);
		return;
	}
	if (says_absent(&c->upstream->submit.lookup, a->status)) {
		absent(c);
	} else if (a->status >= 200 && a->status <= 299) {
		found_or_not(c, body);
	} else {
		call__classify(c, a, body, what, &v);
		lookup_failed(c, &v);
	}
}

void call__ask(struct call *c)
{
	_cleanup_(http_request_freep) struct http_request *r = NULL;
	struct error_info info = { .code = 0 };
	struct verdict v;
	int rc;

	call__move(c, CALL_ASKING);
	rc = call_request_step(c->upstream, &c->values, &c->upstream->submit.lookup.step, NULL, &r, &info);
	if (rc == 0)
		rc = call__exchange(c, r, c->upstream->timeouts.stall_ms, ANSWER_MAX, false, answered);
	if (rc == 0) {
		TAKE_PTR(r);
		return;
	}
	verdict_set(&v, RAINCHECK_FAIL_INTERNAL, "%s cannot be made: %s", what,
		    info.code ? info.message : error_text(rc));
	call__fail(c, &v);
}
