/* Polling. One poll that fails says nothing of the call: only many in a row do. What an answer says of the call is a
 * word, from the body or the HTTP status, looked up in three lists; a word in none of them is one that the API has
 * added since the file was written, and taken for "not yet", because a call given up too early is paid for nothing.
 */
#include "worker/call/call_priv.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/error.h"
#include "worker/call/call_request.h"
#include "worker/call/leased.h"
#include "worker/call/pauses.h"
#include "worker/config/pointer.h"
#include "worker/config/upstream.h"
#include "worker/transport/exchange.h"
#include "worker/transport/http_request.h"

#define ANSWER_MAX	 (16 << 20)
#define FAILED_POLLS_MAX 10
#define GONE_POLLS_MAX	 5 /* an API that has not heard of its own id yet hears of it soon */
#define RESUME_SPREAD_MS 1000
#define STATE_SIZE	 128

static const char what[] = "the poll";

/* From 0 to 1. */
double call__draw(void)
{
	uint32_t bits = 0;

	gnutls_rnd(GNUTLS_RND_NONCE, &bits, sizeof(bits));
	return (double)bits / (double)UINT32_MAX;
}

void call__wait(struct call *c, int64_t pause_ms)
{
	/* Where only hooks tell, nothing but the end of its time ends the wait. */
	int64_t wake_at_ms = upstream_polls(c->upstream) ? clock_mono_ms() + pause_ms : INT64_MAX;

	c->wake_at_ms = call__hooks_wake_at(c, wake_at_ms);
	call__move(c, CALL_WAITING);
}

int64_t call__first_pause(struct call *c)
{
	return pause_before_poll(&c->upstream->poll, 0, call__draw());
}

int64_t call__resume_pause(struct call *c)
{
	int64_t spread = c->upstream->poll.interval_ms;

	/* Soon, but not all calls of a worker that starts in the same moment. */
	return (int64_t)(call__draw() * (double)(spread < RESUME_SPREAD_MS ? spread : RESUME_SPREAD_MS));
}

static void wait_for_next(struct call *c, int64_t least_ms)
{
	int64_t pause = pause_before_poll(&c->upstream->poll, ++c->polls, call__draw());

	call__wait(c, pause > least_ms ? pause : least_ms);
}

/* ---- polls that were of no use ---- */

/* The API does not know the call any more. Whether to buy another is the question on_unknown answers. */
static void forgotten(struct call *c)
{
	struct verdict v;

	if (c->upstream->submit.on_unknown == ON_UNKNOWN_RETRY)
		verdict_set(&v, RAINCHECK_FAIL_UNAVAILABLE, "the API does not know the call %.200s any more",
			    c->checkpoint.id);
	else
		verdict_set(&v, RAINCHECK_FAIL_REJECTED,
			    "the API does not know the call %.200s any more, and no other is made (on_unknown: fail)",
			    c->checkpoint.id);
	checkpoint_give_up(&c->checkpoint);
	call__fail(c, &v);
}

void call__poll_failed(struct call *c, const struct verdict *v, bool gone)
{
	/* Being told to slow down is an answer. */
	if (v->kind == RAINCHECK_FAIL_THROTTLED) {
		wait_for_next(c, v->retry_after_ms);
		return;
	}
	c->failed_polls++;
	c->gone_polls = gone ? c->gone_polls + 1 : 0;
	log_debug("job %s: %s (%u in a row)", c->job->id, v->message, c->failed_polls);
	if (c->gone_polls >= GONE_POLLS_MAX) {
		forgotten(c);
	} else if (c->failed_polls >= FAILED_POLLS_MAX) {
		struct verdict final = *v;

		/* The call may be well: another attempt polls it again. */
		if (final.kind == RAINCHECK_FAIL_REJECTED)
			final.kind = RAINCHECK_FAIL_UNAVAILABLE;
		call__fail(c, &final);
	} else {
		wait_for_next(c, v->retry_after_ms);
	}
}

/* ---- what a poll says ---- */

static double number_of(json_t *value)
{
	if (json_is_number(value))
		return json_number_value(value);
	return json_is_string(value) ? strtod(json_string_value(value), NULL) : -1;
}

static void take_progress(struct call *c, json_t *body)
{
	struct slice pointer = c->upstream->poll.progress;
	double progress;

	if (pointer.size == 0)
		return;
	progress = number_of(pointer_find(body, pointer));
	if (progress > 1) /* a percentage */
		progress /= 100;
	if (!(progress >= 0))
		return;
	if (progress > 1)
		progress = 1;
	c->has_news |= !c->has_progress || progress != c->progress;
	c->has_progress = true;
	c->progress = progress;
}

/* The place in the API's own line, while there is one. */
static void take_position(struct call *c, json_t *body)
{
	struct slice pointer = c->upstream->poll.position;
	char note[sizeof(c->note)] = "";
	json_t *place = pointer.size > 0 ? pointer_find(body, pointer) : NULL;

	if (pointer.size == 0)
		return;
	if (json_is_integer(place) && json_integer_value(place) >= 0)
		snprintf(note, sizeof(note), "number %lld in the API's line", (long long)json_integer_value(place));
	if (strcmp(note, c->note) == 0)
		return;
	snprintf(c->note, sizeof(c->note), "%s", note);
	c->has_note = c->has_news = true;
}

/* From here on the attempt's time counts, if it did not from the beginning. */
static void note_started(struct call *c, const char *state)
{
	const struct words *pending = &c->upstream->poll.pending;
	bool last = pending->count > 0 && strcmp(state, pending->items[pending->count - 1]) == 0;

	if (c->started || c->upstream->timeouts.start_ms == 0 || !(last || (c->has_progress && c->progress > 0)))
		return;
	c->started = true;
	c->deadline_at_ms = clock_mono_ms() + c->upstream->timeouts.attempt_ms;
}

void call__reported(struct call *c, json_t *body, const struct verdict *by_status)
{
	struct verdict v;

	if (by_status)
		v = *by_status;
	else
		classify_report(&c->upstream->error, body, c->header_code, "the API reports that the call failed", &v);
	checkpoint_give_up(&c->checkpoint);
	call__fail(c, &v);
}

static void pending(struct call *c, const char *state)
{
	c->failed_polls = c->gone_polls = 0;
	if (!c->warned_state && c->upstream->poll.pending.count > 0 && !words_have(&c->upstream->poll.pending, state)) {
		c->warned_state = true;
		log_warning("upstream %s: the state \"%s\" is in none of the lists; taken for pending",
			    c->upstream->name, state);
	}
	wait_for_next(c, 0);
}

static void take_state(struct call *c, const char *state, json_t *body)
{
	const struct upstream_poll *p = &c->upstream->poll;
	bool ok = words_have(&p->ok, state);

	if (body) {
		take_progress(c, body);
		take_position(c, body);
		/* What was named too early has a last chance at the end. */
		if (ok && c->preview_tries == PREVIEW_TRIES_MAX)
			c->preview_tries--;
		call__preview(c, body);
	}
	note_started(c, state);
	call__hooks_polled(c);
	if (words_have(&p->failed, state) ||
	    (body && p->error.size > 0 && json_says_something(pointer_find(body, p->error))))
		call__reported(c, body, NULL);
	else if (ok)
		call__locate(c, body);
	else
		pending(c, state);
}

static void take_status(struct call *c, long status, json_t *body, const struct verdict *v)
{
	const struct upstream_poll *p = &c->upstream->poll;
	char state[STATE_SIZE];
	bool listed;

	snprintf(state, sizeof(state), "%ld", status);
	listed = words_have(&p->ok, state) || words_have(&p->pending, state);
	if (listed || (status >= 200 && status <= 299))
		take_state(c, state, body);
	else if (words_have(&p->failed, state) || (p->failed.count == 0 && v->kind == RAINCHECK_FAIL_REJECTED))
		call__reported(c, NULL, v);
	else
		call__poll_failed(c, v, status == 404 || status == 410);
}

static void take_body(struct call *c, long status, json_t *body, const struct verdict *v)
{
	char state[STATE_SIZE];
	struct verdict senseless;

	if (status < 200 || status > 299) {
		if (v->final)
			call__reported(c, NULL, v);
		else
			call__poll_failed(c, v, status == 404 || status == 410);
		return;
	}
	if (!body) {
		verdict_set(&senseless, RAINCHECK_FAIL_INVALID, "%s was answered with something that is not JSON",
			    what);
		call__poll_failed(c, &senseless, false);
		return;
	}
	/* "" where there is none: an API may say nothing until it is done, and the lists may name that. */
	scalar_text(pointer_find(body, c->upstream->poll.state), state, sizeof(state));
	if (!state[0] && classify_has_listed_code(&c->upstream->error, body, c->header_code)) {
		classify_report(&c->upstream->error, body, c->header_code, "the poll was answered with an error",
				&senseless);
		if (senseless.final)
			call__reported(c, NULL, &senseless);
		else
			call__poll_failed(c, &senseless, false);
		return;
	}
	take_state(c, state, body);
}

static void answered(struct call *c, const struct answer *a, json_t *body)
{
	struct verdict v;

	if (a->end != EXCHANGE_ANSWERED) {
		classify_transport(a, what, &v);
		call__poll_failed(c, &v, false);
		return;
	}
	call__classify(c, a, body, what, &v);
	if (c->upstream->poll.state_by_http)
		take_status(c, a->status, body, &v);
	else
		take_body(c, a->status, body, &v);
}

bool call__poll_report(struct call *c, json_t *body)
{
	call__move(c, CALL_POLLING);
	take_body(c, 200, body, NULL);
	return call__is(c, CALL_WAITING);
}

/* ---- polls whose answer is the result, once it is there ---- */

static bool is_result(const struct upstream *u, long status)
{
	char state[STATE_SIZE];

	snprintf(state, sizeof(state), "%ld", status);
	return words_have(&u->poll.ok, state);
}

static void result_cb(struct fetch *f, const struct fetch_end *end, void *user)
{
	struct call *c = user;

	c->status = end->status;
	if (end->code == 0 || end->code == ERR_LEASE_LOST || is_result(c->upstream, end->status)) {
		call__fetched(c, f, end);
		return;
	}
	c->result = NULL;
	if (end->status > 0)
		take_status(c, end->status, NULL, &end->verdict);
	else
		call__poll_failed(c, &end->verdict, false);
}

void call__poll(struct call *c)
{
	_cleanup_(http_request_freep) struct http_request *r = NULL;
	struct error_info info = { .code = 0 };
	struct verdict v;
	int rc;

	if (call__hooks_take_report(c))
		return;
	if (!upstream_polls(c->upstream)) {
		call__wake(c, INT64_MAX);
		return;
	}
	call__hooks_polling(c);
	call__move(c, CALL_POLLING);
	rc = call_request_get(c->upstream, &c->values, c->upstream->poll.path, c->checkpoint.status_url, &r, &info);
	if (rc == 0 && c->upstream->result.from == RESULT_BODY)
		rc = call__fetch_request(c, r, what, false, 0, is_result, result_cb);
	else if (rc == 0)
		rc = call__exchange(c, r, c->upstream->timeouts.stall_ms, ANSWER_MAX, false, answered);
	if (rc == 0) {
		TAKE_PTR(r);
		return;
	}
	verdict_set(&v, rc == ERR_NOT_FOUND ? RAINCHECK_FAIL_INVALID : RAINCHECK_FAIL_INTERNAL, "%s cannot be made: %s",
		    what, info.code ? info.message : error_text(rc));
	call__fail(c, &v);
}
