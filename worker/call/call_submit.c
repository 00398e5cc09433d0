/* The submit: the one request that costs money. It goes out on a connection of its own unless the API knows idempotency
 * keys, because libcurl would send it again by itself where a connection kept alive turns out to be dead. Where a
 * second submit is not wanted (on_unknown: fail, lookup), the intent is made durable first, so that an attempt after a
 * crash knows that a submit may have gone out.
 */
#include "worker/call/call_priv.h"

#include <stdio.h>
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
#include "worker/transport/url.h"

#define ANSWER_MAX (16 << 20) /* a data: URL may be in it */
#define ID_SIZE	   1024
#define URL_SIZE   4096

static const char what[] = "the submit";

static bool status_is_ok(const struct upstream *u, long status)
{
	for (size_t i = 0; i < u->submit.ok_count; i++)
		if (u->submit.ok[i] == (unsigned long)status)
			return true;
	return u->submit.ok_count == 0 && status >= 200 && status <= 299;
}

/* Whether the API took the call is not known. */
static void unknown(struct call *c, const struct verdict *v)
{
	struct verdict final;

	if (c->upstream->submit.on_unknown == ON_UNKNOWN_LOOKUP && !c->doomed) {
		log_info("job %s: %s; the call is looked up", c->job->id, v->message);
		call__look_up(c, c->upstream->submit.lookup.interval_ms);
		return;
	}
	if (c->upstream->submit.on_unknown == ON_UNKNOWN_RETRY) {
		call__fail(c, v);
		return;
	}
	verdict_set(&final, RAINCHECK_FAIL_REJECTED,
		    "%.300s; whether the API took the call is not known, so it is not sent again (on_unknown: fail)",
		    v->message);
	call__fail(c, &final);
}

void call__submit_timed_out(struct call *c)
{
	struct verdict v;

	verdict_set(&v, RAINCHECK_FAIL_TIMEOUT, "%s: the call took too long", what);
	unknown(c, &v);
}

/* ---- the answer ---- */

/* The URL at pointer, if it is on the API's own origin: credentials go nowhere else. NULL otherwise. */
static int take_url(struct call *c, json_t *body, struct slice pointer, char **ret_url)
{
	_cleanup_free_ char *url = NULL;
	char text[URL_SIZE];
	struct origin origin;
	int rc;

	if (pointer.size == 0)
		return 0;
	scalar_text(pointer_find(body, pointer), text, sizeof(text));
	if (!text[0])
		return 0;
	rc = url_resolve(c->upstream->base_url, text, &url);
	if (rc == 0)
		rc = url_origin(url, &origin);
	if (rc == ERR_NO_MEMORY)
		return rc;
	if (rc == 0 && origin_equal(&origin, &c->upstream->origin))
		*ret_url = TAKE_PTR(url);
	return 0;
}

static void saved(struct call *c)
{
	c->values.id = c->checkpoint.id;
	call__wait(c, call__first_pause(c));
}

void call__take_id(struct call *c, json_t *body, const char *id)
{
	struct verdict v;
	int rc;

	c->checkpoint.submitting = false;
	c->checkpoint.submitted_at_ms = clock_wall_ms();
	c->checkpoint.id = strdup(id);
	rc = c->checkpoint.id ? 0 : ERR_NO_MEMORY;
	if (rc == 0)
		rc = take_url(c, body, c->upstream->submit.status_url, &c->checkpoint.status_url);
	if (rc == 0)
		rc = take_url(c, body, c->upstream->submit.result_url, &c->checkpoint.result_url);
	if (rc == 0)
		rc = take_url(c, body, c->upstream->submit.cancel_url, &c->checkpoint.cancel_url);
	/* Out of memory for a URL: the id is worth more than the URL, and the next attempt may read it. */
	if (!c->checkpoint.id) {
		verdict_set(&v, RAINCHECK_FAIL_INTERNAL, "the id of the call cannot be kept: %s", error_text(rc));
		unknown(c, &v);
		return;
	}
	if (c->doomed) {
		/* It was waited for to be ended. */
		c->doomed = false;
		call__move(c, CALL_SAVING);
		call__cancel(c, c->end);
		return;
	}
	call__move(c, CALL_SAVING);
	call__save(c, saved);
}

/* The API said no. An API that knows the idempotency key says the same again when asked with it, so where it tried and
 * failed, as opposed to not trying (429, 503), the next attempt is another call. */
static void refused(struct call *c, const struct verdict *v)
{
	bool tried = c->status == 500 || v->code_listed;

	if (v->kind != RAINCHECK_FAIL_REJECTED && tried)
		checkpoint_give_up(&c->checkpoint);
	call__fail(c, v);
}

/* A success that does not say what it must. */
static void senseless(struct call *c, json_t *body, const char *missing)
{
	struct verdict v;

	if (body && classify_has_error(&c->upstream->error, body)) {
		classify_report(&c->upstream->error, body, c->header_code, "the submit was refused", &v);
		refused(c, &v);
		return;
	}
	verdict_set(&v, RAINCHECK_FAIL_INVALID, "%s was answered with HTTP %ld and %s", what, c->status, missing);
	unknown(c, &v);
}

static void take_answer(struct call *c, json_t *body)
{
	char id[ID_SIZE]; /* or the beginning of a URL */

	if (!body) {
		senseless(c, NULL, "something that is not JSON");
		return;
	}
	if (c->upstream->mode == UPSTREAM_SYNC) {
		if (call__media_url(c, body))
			call__locate(c, body);
		else
			senseless(c, body, "no result");
		return;
	}
	if (classify_has_listed_code(&c->upstream->error, body, c->header_code)) {
		senseless(c, body, "an error");
		return;
	}
	scalar_text(pointer_find(body, c->upstream->submit.id), id, sizeof(id));
	/* One that filled the room was cut, and half an id is somebody else's. */
	if (strlen(id) == sizeof(id) - 1)
		senseless(c, body, "an id longer than any API's");
	else if (id[0])
		call__take_id(c, body, id);
	else
		senseless(c, body, "no id");
}

static void answered(struct call *c, const struct answer *a, json_t *body)
{
	struct verdict v;

	if (a->end != EXCHANGE_ANSWERED) {
		classify_transport(a, what, &v);
		if (v.unknown)
			unknown(c, &v);
		else
			call__fail(c, &v);
		return;
	}
	if (status_is_ok(c->upstream, a->status)) {
		take_answer(c, body);
	} else {
		call__classify(c, a, body, what, &v);
		if (v.unknown)
			unknown(c, &v);
		else
			refused(c, &v);
	}
}

/* The answer was to be the result itself. */
static void result_cb(struct fetch *f, const struct fetch_end *end, void *user)
{
	struct call *c = user;

	c->status = end->status;
	if (end->code == 0 || end->code == ERR_LEASE_LOST) {
		call__fetched(c, f, end);
		return;
	}
	c->result = NULL;
	c->bytes = end->bytes;
	if (end->verdict.unknown)
		unknown(c, &end->verdict);
	else if (status_is_ok(c->upstream, end->status))
		call__wasted(c, &end->verdict);
	else
		refused(c, &end->verdict);
}

/* ---- sending ---- */

static void send_submit(struct call *c)
{
	const struct upstream *u = c->upstream;
	int64_t patience = u->timeouts.stall_ms;
	int rc;

	call__move(c, CALL_SUBMITTING);
	/* A sync API works while it does not answer. */
	if (u->mode == UPSTREAM_SYNC)
		patience = u->timeouts.start_ms > 0 ? u->timeouts.start_ms : u->timeouts.attempt_ms;
	if (u->mode == UPSTREAM_SYNC && u->result.from == RESULT_BODY)
		rc = call__fetch_request(c, c->request, what, true, patience, status_is_ok, result_cb);
	else
		rc = call__exchange(c, c->request, patience, ANSWER_MAX, upstream_submits_once(u), answered);
	if (rc < 0)
		call__fail_code(c, rc, what);
	else
		c->request = NULL;
}

static int make_request(struct call *c, struct error_info *info)
{
	return call_request_submit(c->upstream, &c->values, leased_content_type(c->job), &c->request, info);
}

/* False where the request cannot be made, and the attempt has failed of it. */
static bool prepare(struct call *c)
{
	struct error_info info = { .code = 0 };
	struct verdict v;
	int rc;

	rc = make_request(c, &info);
	if (rc == 0)
		return true;
	verdict_set(&v, rc == ERR_NO_MEMORY ? RAINCHECK_FAIL_INTERNAL : RAINCHECK_FAIL_REJECTED,
		    "the request cannot be made: %s", info.code ? info.message : error_text(rc));
	call__fail(c, &v);
	return false;
}

void call__submit_again(struct call *c)
{
	if (prepare(c))
		send_submit(c);
}

/* An attempt that comes after one that ended in the middle of the submit. */
static void settle(struct call *c)
{
	struct verdict v;

	if (c->upstream->submit.on_unknown == ON_UNKNOWN_LOOKUP) {
		call__look_up(c, 0);
		return;
	}
	verdict_set(&v, RAINCHECK_FAIL_INTERNAL, "an earlier attempt ended in the middle of the submit");
	unknown(c, &v);
}

void call__submit(struct call *c)
{
	if (c->checkpoint.submitting && c->upstream->submit.on_unknown != ON_UNKNOWN_RETRY) {
		settle(c);
		return;
	}
	if (!prepare(c))
		return;
	if (c->upstream->submit.on_unknown == ON_UNKNOWN_RETRY) {
		send_submit(c);
		return;
	}
	c->checkpoint.submitting = true;
	call__move(c, CALL_INTENT);
	call__save(c, send_submit);
}
