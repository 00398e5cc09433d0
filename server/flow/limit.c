/* Each part is a gate: so many calls may begin, and where none may, when that may be otherwise. The least of them is
 * the room, the first that is shut is the state; both are read from the same gates, so they cannot contradict each
 * other.
 *
 * Nothing ticks. A spell of the schedule changes the caps at its moment by itself; that the adaptive part is to be told
 * of it, once, is done by the next call that begins or ends. Until then whoever looks sees it as if it were done.
 */
#include "server/flow/limit.h"

#include <string.h>

#include "proto/messages.h"
#include "server/flow/adapt.h"
#include "server/flow/breaker.h"
#include "server/flow/bucket.h"
#include "server/flow/schedule.h"

/* ---- the schedule and what was learned ---- */

/* A spell that says that the API bears more than was learned is believed. One that says less needs no telling: its cap
 * holds while it lasts, and what was learned is good again after it. */
static void tell_of_spell(const struct limit_settings *set, const struct limit_spell *spell, struct adapt_state *s,
			  int64_t now_ms)
{
	int32_t to = spell->caps.concurrency < set->adaptive.max ? spell->caps.concurrency : set->adaptive.max;

	if (to > adapt_value(s, &set->adaptive))
		adapt_hint(s, &set->adaptive, to, now_ms);
}

/* The spell that the adaptive part has yet to be told of; NULL: there is none. */
static const struct limit_spell *untold(const struct limit_record *l, int64_t now_ms)
{
	const struct limit_spell *spell = l->settings.has_adaptive ? schedule_spell(&l->settings, now_ms) : NULL;

	return spell && spell->from_at_ms != l->spell_at_ms ? spell : NULL;
}

static int32_t learned(const struct limit_record *l, int64_t now_ms)
{
	const struct limit_spell *spell = untold(l, now_ms);
	struct adapt_state s;

	if (!spell)
		return adapt_value(&l->adapt, &l->settings.adaptive);
	s = l->adapt;
	tell_of_spell(&l->settings, spell, &s, now_ms);
	return adapt_value(&s, &l->settings.adaptive);
}

static int32_t concurrency_of(const struct limit_record *l, const struct limit_caps *caps, int64_t now_ms)
{
	int32_t bears;

	if (!l->settings.has_adaptive)
		return caps->concurrency;
	bears = learned(l, now_ms);
	return caps->concurrency < 0 || bears < caps->concurrency ? bears : caps->concurrency;
}

/* The bucket after what came in while other caps held; what came in under the present ones is bucket_room()'s. */
static struct bucket_state bucket_now(const struct limit_record *l, int64_t now_ms)
{
	struct bucket_state b = l->bucket;
	struct limit_caps caps;
	int64_t until_ms;

	if (b.at_ms == 0)
		return b;
	bucket_clock(&b, now_ms);
	if (l->settings.schedule_count == 0)
		return b;
	caps = schedule_caps(&l->settings, b.at_ms, &until_ms);
	while (until_ms <= now_ms) {
		bucket_refill(&b, &caps, until_ms);
		caps = schedule_caps(&l->settings, until_ms, &until_ms);
	}
	return b;
}

/* ---- gates ---- */

enum gate { GATE_HOLD, GATE_BREAKER, GATE_CONCURRENCY, GATE_RATE, GATES };

struct gates {
	int64_t room[GATES];
	int64_t again_ms[GATES]; /* where there is no room */
	enum breaker_phase phase;
	int32_t concurrency;
	double rate;
};

static void look_at_breaker(struct gates *g, const struct limit_record *l, int64_t in_flight, int64_t now_ms)
{
	struct breaker_state b = l->breaker;

	/* A probe whose end was never told, for its queue went to another limit: nothing under way, so no probe. */
	if (in_flight <= 0)
		b.has_probe = false;
	g->phase = breaker_phase(&b, now_ms);
	g->room[GATE_BREAKER] = breaker_room(&b, now_ms, &g->again_ms[GATE_BREAKER]);
}

static struct gates gates_of(const struct limit_record *l, int64_t in_flight, int64_t now_ms)
{
	struct gates g = { .phase = BREAKER_CLOSED };
	struct bucket_state bucket;
	struct limit_caps caps;
	int64_t until_ms;

	for (int i = 0; i < GATES; i++)
		g.room[i] = INT64_MAX;
	caps = schedule_caps(&l->settings, now_ms, &until_ms);
	g.concurrency = concurrency_of(l, &caps, now_ms);
	g.rate = caps.rate;
	if (l->held_until_ms > now_ms)
		g.room[GATE_HOLD] = 0;
	g.again_ms[GATE_HOLD] = l->held_until_ms;
	if (l->settings.has_breaker)
		look_at_breaker(&g, l, in_flight, now_ms);
	if (g.concurrency >= 0)
		g.room[GATE_CONCURRENCY] = in_flight < g.concurrency ? g.concurrency - in_flight : 0;
	g.again_ms[GATE_CONCURRENCY] = until_ms;
	if (caps.rate > 0) {
		bucket = bucket_now(l, now_ms);
		g.room[GATE_RATE] = bucket_room(&bucket, &caps, now_ms, &g.again_ms[GATE_RATE]);
		/* The next caps may fill it sooner. */
		if (g.again_ms[GATE_RATE] > until_ms)
			g.again_ms[GATE_RATE] = until_ms;
	}
	return g;
}

static int64_t room_of(const struct gates *g, int64_t now_ms, int64_t *ret_again_ms)
{
	int64_t room = INT64_MAX;

	*ret_again_ms = now_ms;
	for (int i = 0; i < GATES; i++) {
		if (g->room[i] < room)
			room = g->room[i];
		if (g->room[i] == 0 && g->again_ms[i] > *ret_again_ms)
			*ret_again_ms = g->again_ms[i];
	}
	return room;
}

int64_t limit_room(const struct limit_record *l, int64_t in_flight, int64_t now_ms, int64_t *ret_again_ms)
{
	struct gates g = gates_of(l, in_flight, now_ms);

	return room_of(&g, now_ms, ret_again_ms);
}

static enum limit_state state_of(const struct gates *g)
{
	if (g->room[GATE_HOLD] == 0)
		return LIMIT_HELD;
	if (g->room[GATE_BREAKER] == 0)
		return g->phase == BREAKER_OPEN ? LIMIT_BROKEN : LIMIT_PROBING;
	if (g->room[GATE_CONCURRENCY] == 0)
		return LIMIT_FULL;
	if (g->room[GATE_RATE] == 0)
		return LIMIT_PACED;
	return g->phase == BREAKER_HALF_OPEN ? LIMIT_PROBING : LIMIT_FREE;
}

struct limit_view limit_look(const struct limit_record *l, int64_t in_flight, int64_t now_ms)
{
	struct gates g = gates_of(l, in_flight, now_ms);
	struct limit_view v = {
		.state = state_of(&g), .concurrency = g.concurrency, .rate = g.rate, .breaker = g.phase
	};

	room_of(&g, now_ms, &v.again_ms);
	v.held_until_ms = limit_held_until(l, now_ms);
	return v;
}

int64_t limit_held_until(const struct limit_record *l, int64_t now_ms)
{
	if (l->held_until_ms > now_ms)
		return l->held_until_ms;
	if (l->settings.has_breaker && breaker_phase(&l->breaker, now_ms) == BREAKER_OPEN)
		return l->breaker.open_until_ms;
	return 0;
}

int32_t limit_concurrency(const struct limit_record *l, int64_t now_ms)
{
	int64_t until_ms;
	struct limit_caps caps = schedule_caps(&l->settings, now_ms, &until_ms);

	return concurrency_of(l, &caps, now_ms);
}

/* ---- what happens ---- */

bool limit_clock(struct limit_record *l, int64_t now_ms)
{
	bool changed = bucket_clock(&l->bucket, now_ms);

	if (l->held_until_ms > now_ms + LIMIT_HOLD_MAX_MS) {
		l->held_until_ms = now_ms + LIMIT_HOLD_MAX_MS;
		changed = true;
	}
	if (l->settings.has_breaker && breaker_clock(&l->breaker, &l->settings.breaker, now_ms))
		changed = true;
	return changed;
}

static void catch_up(struct limit_record *l, int64_t now_ms)
{
	const struct limit_spell *spell;

	limit_clock(l, now_ms);
	spell = untold(l, now_ms);
	if (!spell)
		return;
	tell_of_spell(&l->settings, spell, &l->adapt, now_ms);
	l->spell_at_ms = spell->from_at_ms;
}

void limit_started(struct limit_record *l, const struct uuid *job, int64_t now_ms)
{
	struct limit_caps caps;
	int64_t until_ms;

	catch_up(l, now_ms);
	caps = schedule_caps(&l->settings, now_ms, &until_ms);
	if (caps.rate > 0) {
		l->bucket = bucket_now(l, now_ms);
		bucket_take(&l->bucket, &caps, now_ms);
	}
	if (l->settings.has_breaker)
		breaker_started(&l->breaker, job, now_ms);
	l->started_total++;
}

static void count(struct limit_record *l, const struct call_report *r)
{
	if (r->succeeded)
		l->succeeded_total++;
	else if (r->kind == FAIL_THROTTLED)
		l->throttled_total++;
	else
		l->failed_total++;
}

/* An API that has just come back is not to be met by all that it bore before it went. */
static void come_back(struct limit_record *l, int64_t now_ms)
{
	const struct adaptive_settings *set = &l->settings.adaptive;
	int32_t was = l->adapt_opened > 0 ? l->adapt_opened : adapt_value(&l->adapt, set);

	adapt_hint(&l->adapt, set, was / 2 > set->min ? was / 2 : set->min, now_ms);
	l->adapt_opened = 0;
}

void limit_ended(struct limit_record *l, const struct uuid *job, const struct call_report *r, int64_t now_ms)
{
	bool adaptive = l->settings.has_adaptive;
	uint8_t phase = l->breaker.phase;
	int32_t bore;

	catch_up(l, now_ms);
	bore = adaptive ? adapt_value(&l->adapt, &l->settings.adaptive) : 0;
	if (r)
		count(l, r);
	if (adaptive && r && (r->succeeded || r->kind != FAIL_INTERNAL))
		adapt_report(&l->adapt, &l->settings.adaptive, r);
	if (!l->settings.has_breaker)
		return;
	breaker_ended(&l->breaker, &l->settings.breaker, job, r, now_ms);
	if (phase == BREAKER_CLOSED && l->breaker.phase == BREAKER_OPEN)
		l->adapt_opened = bore;
	if (adaptive && phase == BREAKER_HALF_OPEN && l->breaker.phase == BREAKER_CLOSED)
		come_back(l, now_ms);
}

void limit_hold(struct limit_record *l, int64_t retry_after_ms, int64_t now_ms)
{
	int64_t hold_ms = retry_after_ms < LIMIT_HOLD_MAX_MS ? retry_after_ms : LIMIT_HOLD_MAX_MS;

	limit_clock(l, now_ms);
	if (hold_ms > 0 && now_ms + hold_ms > l->held_until_ms)
		l->held_until_ms = now_ms + hold_ms;
}

/* ---- settings ---- */

/* Brings the bucket up to now under the settings that held until now. */
static void close_bucket(struct limit_record *l, int64_t now_ms)
{
	struct limit_caps caps;
	int64_t until_ms;

	if (l->bucket.at_ms == 0)
		return;
	l->bucket = bucket_now(l, now_ms);
	caps = schedule_caps(&l->settings, now_ms, &until_ms);
	bucket_refill(&l->bucket, &caps, now_ms);
}

static void configure_adaptive(struct limit_record *l, const struct limit_settings *was, int64_t now_ms)
{
	const struct limit_spell *before = schedule_spell(was, now_ms);
	const struct limit_spell *now = schedule_spell(&l->settings, now_ms);

	/* The spell of now, but with another number: that is news. */
	if (before && now && before->caps.concurrency != now->caps.concurrency)
		l->spell_at_ms = 0;
	if (l->settings.has_adaptive && was->has_adaptive) {
		adapt_bound(&l->adapt, &l->settings.adaptive);
		return;
	}
	memset(&l->adapt, 0, sizeof(l->adapt));
	l->adapt_opened = 0;
	l->spell_at_ms = 0;
	if (l->settings.has_adaptive)
		adapt_begin(&l->adapt, &l->settings.adaptive, now_ms);
}

void limit_configure(struct limit_record *l, const struct limit_settings *set, int64_t now_ms)
{
	struct limit_settings was = l->settings;

	limit_clock(l, now_ms);
	close_bucket(l, now_ms);
	l->settings = *set;
	schedule_sort(&l->settings);
	schedule_forget(&l->settings, now_ms);
	configure_adaptive(l, &was, now_ms);
	if (l->settings.has_breaker && was.has_breaker)
		breaker_bound(&l->breaker, &was.breaker, &l->settings.breaker, now_ms);
	else
		breaker_reset(&l->breaker, now_ms);
	catch_up(l, now_ms);
}

static int check_adaptive(const struct limit_settings *set, struct error_info *info)
{
	const struct adaptive_settings *a = &set->adaptive;

	if (a->min < 1 || a->min > LIMIT_CONCURRENCY_MAX)
		return error_set(info, ERR_BAD_REQUEST, "adaptive.min", "must be a number of calls from 1 to %d",
				 LIMIT_CONCURRENCY_MAX);
	if (a->max < 1 || a->max > LIMIT_CONCURRENCY_MAX)
		return error_set(info, ERR_BAD_REQUEST, "adaptive.max", "must be a number of calls from 1 to %d",
				 LIMIT_CONCURRENCY_MAX);
	if (a->min > a->max)
		return error_set(info, ERR_BAD_REQUEST, "adaptive.min", "is more than adaptive.max");
	if (set->caps.concurrency != -1 && a->min > set->caps.concurrency)
		return error_set(info, ERR_BAD_REQUEST, "adaptive.min", "is more than concurrency");
	if (a->latency_target_ms < 0 || a->latency_target_ms > LIMIT_LATENCY_TARGET_MAX_MS)
		return error_set(info, ERR_BAD_REQUEST, "adaptive.latency_target_ms",
				 "must be milliseconds from 1 to %d", LIMIT_LATENCY_TARGET_MAX_MS);
	return 0;
}

static int check_breaker(const struct breaker_settings *b, struct error_info *info)
{
	if (b->window_ms < BREAKER_WINDOW_MIN_MS || b->window_ms > BREAKER_WINDOW_MAX_MS)
		return error_set(info, ERR_BAD_REQUEST, "breaker.window_ms", "must be milliseconds from %d to %d",
				 BREAKER_WINDOW_MIN_MS, BREAKER_WINDOW_MAX_MS);
	if (b->min_calls < 1 || b->min_calls > BREAKER_CALLS_MAX)
		return error_set(info, ERR_BAD_REQUEST, "breaker.min_calls", "must be a number of calls from 1 to %d",
				 BREAKER_CALLS_MAX);
	if (!(b->failure_ratio > 0 && b->failure_ratio <= 1))
		return error_set(info, ERR_BAD_REQUEST, "breaker.failure_ratio", "must be above 0 and at most 1");
	if (b->open_ms < BREAKER_OPEN_MIN_MS || b->open_ms > BREAKER_OPEN_MAX_MS)
		return error_set(info, ERR_BAD_REQUEST, "breaker.open_ms", "must be milliseconds from %d to %d",
				 BREAKER_OPEN_MIN_MS, BREAKER_OPEN_MAX_MS);
	return 0;
}

int limit_settings_check(const struct limit_settings *set, int64_t now_ms, struct error_info *info)
{
	int rc = schedule_check(set, now_ms, info);

	if (rc == 0 && set->has_adaptive)
		rc = check_adaptive(set, info);
	if (rc == 0 && set->has_breaker)
		rc = check_breaker(&set->breaker, info);
	return rc;
}
