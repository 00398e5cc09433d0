#include "server/flow/breaker.h"

#include <string.h>

#include "proto/messages.h"

/* What the end of a call says about the API. */
enum verdict { NOTHING, GOOD, BAD };

static enum verdict judge(const struct call_report *r)
{
	if (!r)
		return NOTHING;
	if (r->succeeded)
		return GOOD;
	return r->kind == FAIL_TIMEOUT || r->kind == FAIL_UNAVAILABLE || r->kind == FAIL_INVALID ? BAD : NOTHING;
}

/* ---- the window ---- */

static void forget(struct breaker_state *s)
{
	memset(s->slots, 0, sizeof(s->slots));
	s->slot_number = 0;
}

/* The slot of now, after those that the window has left behind were emptied. While the clock is back by less than a
 * window the newest slot goes on; by more, and it begins anew: else what is in it would count until the clock is there
 * again. */
static struct breaker_slot *newest(struct breaker_state *s, const struct breaker_settings *set, int64_t now_ms)
{
	int64_t number = (now_ms > 0 ? now_ms : 0) / (set->window_ms / BREAKER_SLOTS);
	int64_t ahead = number - s->slot_number;

	if (ahead >= BREAKER_SLOTS || ahead <= -BREAKER_SLOTS) {
		forget(s);
		s->slot_number = number;
	}
	while (s->slot_number < number)
		s->slots[++s->slot_number % BREAKER_SLOTS] = (struct breaker_slot){ 0 };
	return &s->slots[s->slot_number % BREAKER_SLOTS];
}

static bool too_many(const struct breaker_state *s, const struct breaker_settings *set)
{
	int64_t calls = 0, failures = 0;

	for (int i = 0; i < BREAKER_SLOTS; i++) {
		calls += s->slots[i].calls;
		failures += s->slots[i].failures;
	}
	/* Divided, not multiplied: then 3 of 10 are 0.3 exactly as whoever set it wrote it. */
	return failures > 0 && calls >= set->min_calls && (double)failures / (double)calls >= set->failure_ratio;
}

/* ---- phases ---- */

static void open_up(struct breaker_state *s, const struct breaker_settings *set, int64_t now_ms)
{
	s->phase = BREAKER_OPEN;
	s->open_until_ms = now_ms + set->open_ms;
	s->has_probe = false;
}

enum breaker_phase breaker_phase(const struct breaker_state *s, int64_t now_ms)
{
	return s->phase == BREAKER_OPEN && now_ms >= s->open_until_ms ? BREAKER_HALF_OPEN : s->phase;
}

int64_t breaker_room(const struct breaker_state *s, int64_t now_ms, int64_t *ret_again_ms)
{
	*ret_again_ms = INT64_MAX;
	switch (breaker_phase(s, now_ms)) {
	case BREAKER_OPEN:
		*ret_again_ms = s->open_until_ms;
		return 0;
	case BREAKER_HALF_OPEN:
		return s->has_probe ? 0 : 1;
	default:
		return INT64_MAX;
	}
}

void breaker_started(struct breaker_state *s, const struct uuid *job, int64_t now_ms)
{
	if (breaker_phase(s, now_ms) != BREAKER_HALF_OPEN)
		return;
	s->phase = BREAKER_HALF_OPEN;
	s->has_probe = true;
	s->probe = *job;
}

static void probe_ended(struct breaker_state *s, const struct breaker_settings *set, enum verdict verdict,
			int64_t now_ms)
{
	s->has_probe = false;
	if (verdict == GOOD)
		breaker_reset(s, now_ms);
	else if (verdict == BAD)
		open_up(s, set, now_ms);
}

void breaker_ended(struct breaker_state *s, const struct breaker_settings *set, const struct uuid *job,
		   const struct call_report *r, int64_t now_ms)
{
	enum verdict verdict = judge(r);
	struct breaker_slot *slot;

	if (s->phase == BREAKER_HALF_OPEN && s->has_probe && uuid_equal(&s->probe, job))
		probe_ended(s, set, verdict, now_ms);
	else if (s->phase == BREAKER_CLOSED && verdict != NOTHING && r->started_at_ms >= s->since_ms) {
		slot = newest(s, set, now_ms);
		slot->calls++;
		slot->failures += verdict == BAD;
		if (too_many(s, set)) {
			open_up(s, set, now_ms);
			s->opened_total++;
		}
	}
}

bool breaker_forget(struct breaker_state *s, const struct uuid *job)
{
	if (!s->has_probe || (job && !uuid_equal(&s->probe, job)))
		return false;
	s->has_probe = false;
	return true;
}

void breaker_reset(struct breaker_state *s, int64_t now_ms)
{
	int64_t opened_total = s->opened_total;

	memset(s, 0, sizeof(*s));
	s->phase = BREAKER_CLOSED;
	s->since_ms = now_ms > 0 ? now_ms : 0;
	s->opened_total = opened_total;
}

void breaker_bound(struct breaker_state *s, const struct breaker_settings *was, const struct breaker_settings *set,
		   int64_t now_ms)
{
	if (was->window_ms != set->window_ms)
		forget(s);
	breaker_clock(s, set, now_ms);
}

bool breaker_clock(struct breaker_state *s, const struct breaker_settings *set, int64_t now_ms)
{
	int64_t since_ms = now_ms > 0 ? now_ms : 0;
	bool changed = false;

	if (s->phase == BREAKER_OPEN && s->open_until_ms > now_ms + set->open_ms) {
		s->open_until_ms = now_ms + set->open_ms;
		changed = true;
	}
	if (s->since_ms > since_ms) {
		s->since_ms = since_ms;
		changed = true;
	}
	return changed;
}
