/* The life of a render:
 *
 *   PENDING ──still made──▶ RUNNING ──worked, video made──▶ SUCCEEDED
 *      │                       ├──told to fail, overloaded, ffmpeg failed──▶ FAILED
 *      └───────cancel──────────┴──▶ CANCELLED
 *
 * Happy path: the task makes the still, moves the render to RUNNING and adds itself again after the work time; then it
 * makes the video and moves it to SUCCEEDED. A thread is held only while something is rendered, so thousands may work
 * (wait) at a time.
 *
 * Failure: a render cancelled while ffmpeg runs is final at once; its child is killed, and what the task brings back is
 * dropped because nothing moves a final render. */
#include "renders_priv.h"

#include <assert.h>
#include <stdio.h>

#include "clip.h"
#include "hook.h"
#include "output.h"
#include "stats.h"
#include "util.h"

#define VIDEO_GUESS_MS 700 /* for the progress shown only */

#define BIT(n) (1U << (n))

static const unsigned may_become[RENDER_STATES] = {
	[RENDER_PENDING] = BIT(RENDER_RUNNING) | BIT(RENDER_FAILED) | BIT(RENDER_CANCELLED),
	[RENDER_RUNNING] = BIT(RENDER_SUCCEEDED) | BIT(RENDER_FAILED) | BIT(RENDER_CANCELLED),
};

static const char *const state_names[RENDER_STATES] = {
	[RENDER_PENDING] = "PENDING", [RENDER_RUNNING] = "RUNNING",	[RENDER_SUCCEEDED] = "SUCCEEDED",
	[RENDER_FAILED] = "FAILED",   [RENDER_CANCELLED] = "CANCELLED",
};

bool renders__is_final(const struct render *r)
{
	return may_become[r->state] == 0;
}

/* --- the status as JSON ------------------------------------------------------------------------------------------- */

static double progress(const struct render *r)
{
	int64_t until = renders__is_final(r) ? r->final_at_ms : now_ms();
	double done;

	if (r->state == RENDER_SUCCEEDED)
		return 1;
	if (r->running_at_ms == 0)
		return 0;
	done = (double)(until - r->running_at_ms) / (double)(r->work_ms + VIDEO_GUESS_MS);
	return done > 0.95 ? 0.95 : done;
}

/* How many of those that are not done came before it. */
static json_int_t position(const struct render *r)
{
	json_int_t n = 0;

	for (const struct render *one = TAILQ_FIRST(&r->owner->live); one != r; one = TAILQ_NEXT(one, link))
		n++;
	return n;
}

json_t *renders__status(const struct render *r)
{
	const struct renders_config *config = &r->owner->config;
	json_t *status = json_object();

	json_object_set_new(status, "id", json_string(r->id));
	json_object_set_new(status, "status", json_string(state_names[r->state]));
	json_object_set_new(status, "progress", json_real(progress(r)));
	if (r->state == RENDER_SUCCEEDED)
		json_object_set_new(status, "output",
				    json_pack("[o]", output_of(config->clips, config->base_url, r->id, r->in)));
	if (r->has_still)
		json_object_set_new(status, "poster", json_sprintf("%s/files/%s.jpg", config->base_url, r->id));
	if (!renders__is_final(r))
		json_object_set_new(status, "position", json_integer(position(r)));
	if (r->state == RENDER_FAILED) {
		json_object_set_new(status, "failure", json_string(r->failure.message));
		json_object_set_new(status, "failureCode", json_string(r->failure.code));
	}
	return status;
}

/* --- the one mover ------------------------------------------------------------------------------------------------ */

static void tell_hook(struct render *r)
{
	_cleanup_(json_freep) json_t *status = NULL;

	if (r->in->webhook == NULL)
		return;
	status = renders__status(r);
	hooks_add(r->owner->config.hooks, r->in->webhook, r->id, json_dumps(status, JSON_COMPACT));
}

static void count_end(const struct render *r)
{
	struct stats *stats = r->owner->config.stats;

	if (r->state == RENDER_SUCCEEDED)
		stats_add(stats, STAT_RENDERS);
	else if (r->state == RENDER_CANCELLED)
		stats_add(stats, STAT_CANCELLED);
	else
		stats_add(stats, STAT_FAILED);
	if (r->state == RENDER_FAILED && r->overloaded)
		stats_add(stats, STAT_WASTED);
}

static void render_end(struct render *r)
{
	struct renders *rs = r->owner;
	struct render_waiter *w;

	r->final_at_ms = now_ms();
	TAILQ_REMOVE(&rs->live, r, link);
	TAILQ_INSERT_TAIL(&rs->final, r, link);
	rs->in_flight--;
	rs->final_count++;
	count_end(r);
	tell_hook(r);
	while ((w = LIST_FIRST(&r->waiters)) != NULL) {
		LIST_REMOVE(w, link);
		w->render = NULL;
		w->woken_cb(w);
	}
	/* Only now: this may forget r itself when none are kept; the caller's reference keeps it alive. */
	while (rs->final_count > rs->config.keep)
		renders__forget_oldest(rs);
}

void renders__move(struct render *r, enum render_state to)
{
	assert(may_become[r->state] & BIT(to));
	r->state = to;
	if (to == RENDER_RUNNING)
		r->running_at_ms = now_ms();
	if (renders__is_final(r))
		render_end(r);
}

static void render_fail(struct render *r, int http, const char *code, const char *message)
{
	r->failure = (struct behave_fail){ .on = true, .http = http };
	snprintf(r->failure.code, sizeof(r->failure.code), "%s", code);
	snprintf(r->failure.message, sizeof(r->failure.message), "%s", message);
	renders__move(r, RENDER_FAILED);
}

/* --- the work ----------------------------------------------------------------------------------------------------- */

void renders__go_on(struct render *r)
{
	r->held = false;
	r->refs++;
	r->owner->task_count++;
	pool_add(r->owner->pool, &r->task, r->work_ms, false);
}

static void after_still(struct render *r, int rc)
{
	if (rc < 0) {
		render_fail(r, 500, "STILL_FAILED", "the still could not be rendered");
		return;
	}
	r->has_still = true;
	renders__move(r, RENDER_RUNNING);
	r->held = r->in->behave.hold;
	if (!r->held)
		renders__go_on(r);
}

static void after_video(struct render *r, int rc)
{
	if (rc < 0)
		render_fail(r, 500, "VIDEO_FAILED", "the video could not be rendered");
	else
		renders__move(r, RENDER_SUCCEEDED);
}

/* Ends a render that was to fail. */
static bool fails_instead(struct render *r)
{
	const struct behave_fail *fail = &r->in->behave.fail;

	if (r->overloaded)
		render_fail(r, 503, "OVERLOADED", "too many calls at a time; the work was done for nothing");
	else if (fail->on)
		render_fail(r, fail->http, fail->code, fail->message);
	return renders__is_final(r);
}

void renders__run_cb(struct task *task)
{
	struct render *r = (struct render *)task;
	struct renders *rs = r->owner;
	enum clip_kind kind;
	int rc;

	renders__lock(rs);
	if (renders__is_final(r) || rs->stopping || (r->state == RENDER_RUNNING && fails_instead(r)))
		goto done;
	kind = r->state == RENDER_PENDING ? CLIP_STILL : CLIP_VIDEO;
	renders__unlock(rs);

	rc = clip_make(rs->config.clips, r->id, r->in, kind, &r->child);

	renders__lock(rs);
	if (renders__is_final(r) || rs->stopping)
		goto done;
	if (kind == CLIP_STILL)
		after_still(r, rc);
	else
		after_video(r, rc);
done:
	rs->task_count--;
	renders__unref(r);
	renders__unlock(rs);
}
