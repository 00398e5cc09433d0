#include "worker/call/call_priv.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/buf.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/error.h"
#include "worker/call/leased.h"
#include "worker/config/secrets.h"
#include "worker/config/upstream.h"
#include "worker/config/worker_config.h"
#include "worker/transport/exchange.h"
#include "worker/transport/http_request.h"

/* The broker's clock may be ahead of what we take it for by as long as its greeting was on the way. */
#define CLOCK_DOUBT_MS 1000

#define BIT(s) (1u << (s))
#define END    (BIT(CALL_FORGETTING) | BIT(CALL_FAILING) | BIT(CALL_RELEASING) | BIT(CALL_CANCELING) | BIT(CALL_OVER))

static const unsigned may_become[CALL_STATES] = {
	[CALL_NEW] = BIT(CALL_INTENT) | BIT(CALL_SUBMITTING) | BIT(CALL_SETTLING) | BIT(CALL_WAITING) |
		     BIT(CALL_FETCHING) | END,
	[CALL_INTENT] = BIT(CALL_SUBMITTING) | END,
	[CALL_SUBMITTING] = BIT(CALL_SAVING) | BIT(CALL_FETCHING) | BIT(CALL_COMPLETING) | BIT(CALL_SETTLING) | END,
	[CALL_SETTLING] = BIT(CALL_ASKING) | END,
	[CALL_ASKING] = BIT(CALL_SETTLING) | BIT(CALL_SAVING) | BIT(CALL_SUBMITTING) | END,
	[CALL_SAVING] = BIT(CALL_WAITING) | BIT(CALL_FETCHING) | END,
	[CALL_WAITING] = BIT(CALL_POLLING) | END,
	[CALL_POLLING] = BIT(CALL_WAITING) | BIT(CALL_LOCATING) | BIT(CALL_FETCHING) | BIT(CALL_COMPLETING) | END,
	[CALL_LOCATING] = BIT(CALL_WAITING) | BIT(CALL_FETCHING) | BIT(CALL_COMPLETING) | END,
	[CALL_FETCHING] = BIT(CALL_WAITING) | BIT(CALL_COMPLETING) | END,
	[CALL_COMPLETING] = BIT(CALL_OVER),
	[CALL_FORGETTING] = BIT(CALL_FAILING) | BIT(CALL_CANCELING) | BIT(CALL_OVER),
	[CALL_FAILING] = BIT(CALL_CANCELING) | BIT(CALL_OVER),
	[CALL_RELEASING] = BIT(CALL_CANCELING) | BIT(CALL_OVER),
	[CALL_CANCELING] = BIT(CALL_OVER),
};

const char *const call_outcome_names[CALL_OUTCOMES] = {
	[CALL_SUCCEEDED] = "succeeded", [CALL_FAILED] = "failed",     [CALL_RELEASED] = "released",
	[CALL_LOST] = "lost",		[CALL_CANCELED] = "canceled", [CALL_UNTOLD] = "untold",
};

/* ---- moving ---- */

static void timer_cb(uv_timer_t *timer);

/* States that the deadline ends; in the others something is being written, which has an end of its own. */
static bool has_deadline(enum call_state state)
{
	return state == CALL_SUBMITTING || state == CALL_WAITING || state == CALL_POLLING || state == CALL_LOCATING ||
	       state == CALL_FETCHING || state == CALL_SETTLING || state == CALL_ASKING || state == CALL_CANCELING;
}

void call__set_timer(struct call *c)
{
	int64_t due = c->deadline_at_ms, now = clock_mono_ms();

	uv_timer_stop(&c->timer);
	if (!has_deadline(c->state))
		return;
	if ((c->state == CALL_WAITING || c->state == CALL_SETTLING) && c->wake_at_ms < due)
		due = c->wake_at_ms;
	uv_timer_start(&c->timer, timer_cb, due > now ? (uint64_t)(due - now) : 0, 0);
}

void call__move(struct call *c, enum call_state state)
{
	assert(may_become[c->state] & BIT(state));
	c->state = state;
	call__set_timer(c);
}

void call__wake(struct call *c, int64_t at_ms)
{
	c->wake_at_ms = at_ms;
	call__set_timer(c);
}

bool call__is(const struct call *c, enum call_state state)
{
	return c->state == state;
}

/* Ends what goes on with the API. */
void call__stop(struct call *c)
{
	exchange_cancel(TAKE_PTR(c->exchange));
	fetch_cancel(TAKE_PTR(c->result));
	fetch_cancel(TAKE_PTR(c->preview));
	c->inline_type = NULL;
	c->inline_data = slice_of(NULL, 0);
}

/* ---- the end ---- */

static void closed_cb(uv_handle_t *handle)
{
	struct call *c = CONTAINER_OF((uv_timer_t *)handle, struct call, timer);

	checkpoint_done(&c->checkpoint);
	free(c->stored);
	free(c->writing);
	call__hooks_end(c);
	json_decref(c->outputs);
	free(c->media);
	http_request_free(c->request);
	leased_free(c->job);
	worker_config_free(c->spec.config);
	free(c);
}

void call__over(struct call *c, enum call_outcome outcome)
{
	call__stop(c);
	call__hooks_end(c);
	broker_op_cancel(&c->op);
	call__move(c, CALL_OVER);
	call__log_end(c, outcome);
	c->spec.done_cb(c, outcome, c->spec.user);
	uv_close((uv_handle_t *)&c->timer, closed_cb);
}

/* No other attempt will take the call up. That the deadline has passed the broker knows by its own clock, which we know
 * but roughly: in the doubt it has, because nobody could do much with the call in the time that would be left. */
static bool is_for_good(const struct call *c, enum call_outcome outcome)
{
	int64_t deadline = c->job->deadline_at_ms;

	return outcome == CALL_CANCELED || (outcome == CALL_LOST && deadline > 0 &&
					    broker_link_wall_ms(c->spec.means->link) + CLOCK_DOUBT_MS >= deadline);
}

void call_abort(struct call *c, enum call_outcome outcome)
{
	if (c->state == CALL_OVER)
		return;
	if (outcome == CALL_UNTOLD) {
		call__over(c, outcome);
		return;
	}
	/* It is being ended for that already. */
	if (c->state == CALL_CANCELING || c->doomed)
		return;
	if (is_for_good(c, outcome))
		call__cancel(c, outcome);
	else
		call__over(c, outcome);
}

static void start_op(struct call *c, int (*send)(struct broker_op *, struct raincheck *, raincheck_cb, void *),
		     void (*done)(struct broker_op *, const struct raincheck_reply *))
{
	c->op = (struct broker_op){
		.send = send,
		.done_cb = done,
		.give_up_at_ms = clock_mono_ms() + TELL_FOR_MS,
	};
	broker_op_start(c->spec.means->link, &c->op);
}

/* ---- a lease that has ended ---- */

static int send_question(struct broker_op *op, struct raincheck *rc, raincheck_cb cb, void *user)
{
	struct call *c = CONTAINER_OF(op, struct call, op);
	struct raincheck_extend_item lease = { .id = c->job->id, .lease = c->job->lease };
	struct raincheck_extend extend = { .leases = &lease, .lease_count = 1, .lease_ms = c->spec.config->lease_ms };

	return raincheck_extend_async(rc, &extend, cb, user);
}

static void question_cb(struct broker_op *op, const struct raincheck_reply *reply)
{
	struct call *c = CONTAINER_OF(op, struct call, op);
	bool canceled = reply->code == 0 && reply->extend->lease_count == 1 &&
			reply->extend->leases[0].status == RAINCHECK_EXTEND_CANCEL;

	call_abort(c, canceled ? CALL_CANCELED : CALL_LOST);
}

/* A write may learn of the end before the word comes that it was a cancel, and then the API has to be told. */
static void lease_ended(struct call *c)
{
	if (!c->upstream->cancel.given || c->result_stored || call__is(c, CALL_COMPLETING))
		call_abort(c, CALL_LOST);
	else
		start_op(c, send_question, question_cb);
}

/* A write for this lease was answered, other than by success. */
static void write_refused(struct call *c, const struct raincheck_reply *reply, const char *what)
{
	if (reply->code == RAINCHECK_ELEASE_LOST || reply->code == RAINCHECK_ENOT_FOUND) {
		lease_ended(c);
		return;
	}
	log_warning("job %s: %s was refused: %s", c->job->id, what, reply->error->message);
	call__over(c, CALL_UNTOLD);
}

/* ---- checkpoints ---- */

static int send_checkpoint(struct broker_op *op, struct raincheck *rc, raincheck_cb cb, void *user)
{
	struct call *c = CONTAINER_OF(op, struct call, op);
	struct raincheck_checkpoint checkpoint = { .id = c->job->id, .lease = c->job->lease };

	/* For want of memory it waits, as for a broker that is away: it may hold the id of a call that is paid for. */
	if (!c->writing)
		(void)checkpoint_write(&c->checkpoint, &c->writing);
	if (!c->writing)
		return RAINCHECK_ENO_MEMORY;
	checkpoint.data = (struct raincheck_bytes){ c->writing, strlen(c->writing) };
	return raincheck_checkpoint_async(rc, &checkpoint, cb, user);
}

static void saved_cb(struct broker_op *op, const struct raincheck_reply *reply)
{
	struct call *c = CONTAINER_OF(op, struct call, op);

	if (reply->code < 0) {
		write_refused(c, reply, "a checkpoint");
		return;
	}
	free(c->stored);
	c->stored = TAKE_PTR(c->writing);
	c->saved(c);
}

void call__save(struct call *c, void (*done)(struct call *c))
{
	c->saved = done;
	free(TAKE_PTR(c->writing));
	start_op(c, send_checkpoint, saved_cb);
}

/* True when the checkpoint that the broker holds, or that it holds none, would mislead the next attempt. */
static bool checkpoint_is_void(const struct call *c)
{
	_cleanup_free_ char *text = NULL;

	/* Without one, the next attempt would begin with the first idempotency key again. */
	if (!c->stored)
		return c->checkpoint.n > 0 && c->upstream->submit.idempotency != IDEMPOTENCY_NONE;
	/* What cannot be compared is written anew. */
	return checkpoint_write(&c->checkpoint, &text) < 0 || strcmp(text, c->stored) != 0;
}

/* ---- failing ---- */

static int send_fail(struct broker_op *op, struct raincheck *rc, raincheck_cb cb, void *user)
{
	struct call *c = CONTAINER_OF(op, struct call, op);
	struct raincheck_fail fail = {
		.id = c->job->id,
		.lease = c->job->lease,
		.kind = c->verdict.kind,
		.message = c->verdict.message,
		.retry_after_ms = c->verdict.retry_after_ms,
		.call_ms = clock_mono_ms() - c->began_at_ms,
	};

	return raincheck_fail_async(rc, &fail, cb, user);
}

/* Dead is not for good: an operator may have the job tried again, and then the call is taken up. */
static void told(struct call *c, enum raincheck_job_state state, enum call_outcome outcome)
{
	if (state == RAINCHECK_JOB_CANCELED || state == RAINCHECK_JOB_EXPIRED)
		call__cancel(c, outcome);
	else
		call__over(c, outcome);
}

static void failed_cb(struct broker_op *op, const struct raincheck_reply *reply)
{
	struct call *c = CONTAINER_OF(op, struct call, op);

	if (reply->code < 0)
		write_refused(c, reply, "the failure");
	else
		told(c, reply->fail->state, CALL_FAILED);
}

static void tell_failure(struct call *c)
{
	call__move(c, CALL_FAILING);
	start_op(c, send_fail, failed_cb);
}

/* The API may repeat in its answer what it was sent. */
static void mask_message(struct call *c)
{
	_cleanup_(buf_done) struct buf b;

	buf_init(&b, sizeof(c->verdict.message) * 4);
	if (secrets_mask(c->upstream->secrets, slice_str(c->verdict.message), &b) < 0) {
		snprintf(c->verdict.message, sizeof(c->verdict.message),
			 "the words for it may hold a secret, and cannot be masked: %s", error_text(buf_error(&b)));
		return;
	}
	snprintf(c->verdict.message, sizeof(c->verdict.message), "%.*s", SLICE_FMT(buf_slice(&b)));
}

void call__fail(struct call *c, const struct verdict *v)
{
	call__stop(c);
	if (c->doomed) {
		call__over(c, c->end);
		return;
	}
	c->verdict = *v;
	mask_message(c);
	c->checkpoint.submitting = c->unsettled;
	if (!checkpoint_is_void(c)) {
		tell_failure(c);
		return;
	}
	call__move(c, CALL_FORGETTING);
	call__save(c, tell_failure);
}

void call__fail_code(struct call *c, int code, const char *what)
{
	struct verdict v;

	verdict_set(&v, RAINCHECK_FAIL_INTERNAL, "%s: %s", what, error_text(code));
	call__fail(c, &v);
}

/* Nothing is missing but that the broker takes it. */
static bool result_is_whole(const struct call *c)
{
	return c->result && !c->output_at && fetch_is_whole(c->result);
}

/* Only the preview is missing, and that is not worth the job. */
static void complete_at_once(struct call *c)
{
	fetch_cancel(TAKE_PTR(c->preview));
	call__complete(c);
}

static void timed_out(struct call *c)
{
	struct verdict v;

	if (c->state == CALL_CANCELING || c->doomed) {
		log_warning("job %s: the API was not told in time to end the call", c->job->id);
		call__over(c, c->end);
		return;
	}
	if (c->result_stored) {
		complete_at_once(c);
		return;
	}
	if (result_is_whole(c)) {
		call__store_on(c);
		return;
	}
	if (c->state == CALL_SUBMITTING) {
		if (c->upstream->deliver)
			call__deliver_timed_out(c);
		else
			call__submit_timed_out(c);
		return;
	}
	verdict_set(&v, RAINCHECK_FAIL_TIMEOUT,
		    c->started || c->upstream->timeouts.start_ms == 0 ? "the call took too long"
								      : "the API did not begin with it in time");
	call__fail(c, &v);
}

static void timer_cb(uv_timer_t *timer)
{
	struct call *c = CONTAINER_OF(timer, struct call, timer);

	if (clock_mono_ms() >= c->deadline_at_ms)
		timed_out(c);
	else if (c->state == CALL_WAITING)
		call__poll(c);
	else if (c->state == CALL_SETTLING)
		call__ask(c);
	else
		call__set_timer(c);
}

/* ---- completing and releasing ---- */

static int send_release(struct broker_op *op, struct raincheck *rc, raincheck_cb cb, void *user)
{
	struct call *c = CONTAINER_OF(op, struct call, op);
	struct raincheck_release release = { .id = c->job->id, .lease = c->job->lease };

	return raincheck_release_async(rc, &release, cb, user);
}

static void released_cb(struct broker_op *op, const struct raincheck_reply *reply)
{
	struct call *c = CONTAINER_OF(op, struct call, op);

	if (reply->code < 0)
		write_refused(c, reply, "the release");
	else
		told(c, reply->release->state, CALL_RELEASED);
}

static int send_complete(struct broker_op *op, struct raincheck *rc, raincheck_cb cb, void *user)
{
	struct call *c = CONTAINER_OF(op, struct call, op);
	int64_t submitted = c->checkpoint.submitted_at_ms;
	struct raincheck_complete complete = {
		.id = c->job->id,
		.lease = c->job->lease,
		.result = { .content_type = c->inline_type, .data = { c->inline_data.data, c->inline_data.size } },
		.call_ms = c->ended_at_ms - c->began_at_ms,
	};

	/* A call that was taken up began in an earlier attempt. */
	if (submitted > 0 && clock_wall_ms() - submitted > complete.call_ms)
		complete.call_ms = clock_wall_ms() - submitted;
	return raincheck_complete_async(rc, &complete, cb, user);
}

static void completed_cb(struct broker_op *op, const struct raincheck_reply *reply)
{
	struct call *c = CONTAINER_OF(op, struct call, op);

	if (reply->code < 0)
		write_refused(c, reply, "the completion");
	else
		call__over(c, CALL_SUCCEEDED);
}

void call__complete(struct call *c)
{
	if (c->preview)
		return;
	call__move(c, CALL_COMPLETING);
	c->ended_at_ms = clock_mono_ms();
	start_op(c, send_complete, completed_cb);
}

static void tell_release(struct call *c)
{
	start_op(c, send_release, released_cb);
}

static void give_back(struct call *c)
{
	bool only_meant_to = c->state == CALL_INTENT;

	call__stop(c);
	broker_op_cancel(&c->op);
	call__move(c, CALL_RELEASING);
	if (!only_meant_to) {
		tell_release(c);
		return;
	}
	/* The intent may be on its way, and nothing was sent. */
	c->checkpoint.submitting = false;
	call__save(c, tell_release);
}

bool call_release(struct call *c)
{
	if (call__is(c, CALL_COMPLETING))
		return true;
	if (c->doomed || !(may_become[c->state] & BIT(CALL_RELEASING)))
		return false;
	if (c->result_stored) {
		complete_at_once(c);
		return true;
	}
	if (result_is_whole(c)) {
		fetch_cancel(TAKE_PTR(c->preview));
		return true;
	}
	give_back(c);
	return false;
}

/* ---- beginning ---- */

/* A checkpoint may belong to another upstream than the queue's present one: the call is where it was made. */
static int find_upstream(struct call *c)
{
	const struct upstream *u;

	if (!c->checkpoint.upstream) {
		c->checkpoint.upstream = strdup(c->upstream->name);
		return c->checkpoint.upstream ? 0 : ERR_NO_MEMORY;
	}
	if (!checkpoint_resumes(&c->checkpoint) || strcmp(c->checkpoint.upstream, c->upstream->name) == 0)
		return 0;
	u = worker_config_upstream(c->spec.config, c->checkpoint.upstream);
	if (!u)
		return ERR_NOT_FOUND;
	c->upstream = u;
	return 0;
}

static int take_up(struct call *c)
{
	struct slice text = c->job->checkpoint;
	int rc = checkpoint_read(text, &c->checkpoint);

	if (rc == 0 && text.size > 0) {
		c->stored = strndup(text.data, text.size);
		rc = c->stored ? 0 : ERR_NO_MEMORY;
	}
	if (rc == 0)
		rc = find_upstream(c);
	c->values = leased_values(c->job);
	c->values.secrets = c->upstream->secrets;
	c->values.id = c->checkpoint.id;
	/* A call that was given up must not be answered with itself. */
	if (c->checkpoint.n > 0)
		snprintf(c->key, sizeof(c->key), "%s-%lld", c->job->id, (long long)c->checkpoint.n);
	else
		snprintf(c->key, sizeof(c->key), "%s", c->job->id);
	c->values.key = c->key;
	return rc;
}

static void set_deadline(struct call *c)
{
	const struct upstream_timeouts *t = &c->upstream->timeouts;
	bool queued = c->upstream->mode == UPSTREAM_POLL && t->start_ms > 0;
	int64_t left;

	c->deadline_at_ms = c->began_at_ms + (queued ? t->start_ms : t->attempt_ms);
	if (c->job->attempt_deadline_at_ms == 0)
		return;
	left = c->job->attempt_deadline_at_ms - broker_link_wall_ms(c->spec.means->link);
	if (c->began_at_ms + left < c->deadline_at_ms)
		c->deadline_at_ms = c->began_at_ms + left;
}

static void not_taken_up(struct call *c, int rc)
{
	struct verdict v;

	if (rc == ERR_NOT_FOUND) {
		verdict_set(&v, RAINCHECK_FAIL_INTERNAL,
			    "the call of an earlier attempt cannot be taken up: the file has no upstream %.128s",
			    c->checkpoint.upstream);
		call__fail(c, &v);
	} else {
		call__fail_code(c, rc, "the checkpoint of an earlier attempt cannot be taken up");
	}
}

static void begin_cb(uv_timer_t *timer)
{
	struct call *c = CONTAINER_OF(timer, struct call, timer);
	int rc = take_up(c);

	set_deadline(c);
	if (rc < 0) {
		not_taken_up(c, rc);
		return;
	}
	call__hooks_settle(c);
	if (c->checkpoint.id) {
		call__wait(c, call__resume_pause(c));
	} else if (c->checkpoint.media_url) {
		call__fetch_all(c, c->checkpoint.media_url, c->checkpoint.outputs);
	} else if (c->upstream->deliver) {
		call__deliver(c);
	} else {
		call__submit(c);
	}
}

int call_start(const struct call_spec *spec, struct leased *job, struct call **ret_call)
{
	struct call *c = calloc(1, sizeof(*c));

	if (!c)
		return ERR_NO_MEMORY;
	c->spec = *spec;
	worker_config_ref(c->spec.config);
	c->upstream = spec->upstream;
	c->job = job;
	c->place.call = c;
	call__hooks_begin(c);
	c->began_at_ms = clock_mono_ms();
	c->place.extended_at_ms = c->began_at_ms;
	uv_timer_init(spec->means->uv, &c->timer);
	uv_timer_start(&c->timer, begin_cb, 0, 0);
	*ret_call = c;
	return 0;
}
