/* Random lives of limits with drawn settings, calls and clocks. After every step: the room and the state agree and
 * looking changes nothing, nothing may begin before the moment that was told, what is in effect lies within its bounds,
 * and no more begin than the rates gave. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proto/messages.h"
#include "server/flow/limit.h"
#include "server/flow/schedule.h"
#include "tests/unit/test_flow_draw.h"

#define T0    INT64_C(1700000000000)
#define NEVER INT64_MAX

static struct uuid job_of(int n)
{
	struct uuid job = { { 1 } };

	memcpy(job.bytes + 4, &n, sizeof(n));
	return job;
}

static struct limit_settings settings(int32_t concurrency, double rate, double burst)
{
	return (struct limit_settings){ .caps = { concurrency, rate, burst } };
}

static struct limit_record limit(const struct limit_settings *set)
{
	struct limit_record l = { .name = slice_str("api") };
	struct error_info info = { 0 };

	if (limit_settings_check(set, T0, &info) < 0)
		fail_msg("%s: %s", info.field, info.message);
	limit_configure(&l, set, T0);
	return l;
}

static void start(struct limit_record *l, int n, int64_t now_ms)
{
	struct uuid job = job_of(n);

	limit_started(l, &job, now_ms);
}

/* How a call ended: an enum failure_kind, or: */
#define SUCCEEDED FAIL_KINDS
#define UNKNOWN	  (FAIL_KINDS + 1)

static void end(struct limit_record *l, int n, int how, int64_t started_ms, int64_t now_ms)
{
	struct call_report r = { .succeeded = how == SUCCEEDED,
				 .kind = how,
				 .started_at_ms = started_ms,
				 .took_ms = now_ms > started_ms ? now_ms - started_ms : 0,
				 .in_flight = 5,
				 .held_back = true,
				 .now_ms = now_ms };
	struct uuid job = job_of(n);

	limit_ended(l, &job, how == UNKNOWN ? NULL : &r, now_ms);
}

#define LIVES 100
#define CALLS 60

struct life {
	struct limit_record l;
	int64_t now_ms;
	int64_t in_flight;
	int64_t started_ms[CALLS]; /* 0: not under way */
	int64_t tallest;
	/* What the rates let begin, counted with every step of the clock; no bound: INFINITY. So it is before the first
	 * paced call; and after a step back, for the limit may not have seen the smaller burst that the clock came
	 * through. What a step back gives is asked in the bucket's own test. */
	double tokens;
};

static struct limit_settings draw_settings(int64_t now_ms)
{
	struct limit_settings set = settings(draw_once_in(3) ? -1 : (int32_t)draw(1, 50),
					     draw_once_in(2) ? -1 : (double)draw(1, 1000) / 100, -1);
	int64_t at_ms = now_ms + draw(-2000, 2000);

	if (set.caps.rate > 0 && draw_once_in(2))
		set.caps.burst = (double)draw(10, 200) / 10;
	set.has_adaptive = draw_once_in(2);
	set.adaptive.min = (int32_t)draw(1, set.caps.concurrency < 0 ? 10 : set.caps.concurrency);
	set.adaptive.max = (int32_t)draw(set.adaptive.min, 60);
	set.has_breaker = draw_once_in(2);
	set.breaker = (struct breaker_settings){ draw(1000, 20000), (int32_t)draw(1, 20), (double)draw(1, 100) / 100,
						 draw(100, 5000) };
	for (int64_t n = draw(0, 6); n > 0; n--) {
		struct limit_spell *s = &set.schedule[set.schedule_count];

		s->from_at_ms = at_ms + (draw_once_in(2) ? 0 : draw(1, 5000));
		s->until_at_ms = s->from_at_ms + draw(1, 5000);
		s->caps = (struct limit_caps){ draw_once_in(2) ? -1 : (int32_t)draw(1, 60), (double)draw(1, 1000) / 50,
					       -1 };
		at_ms = s->until_at_ms;
		set.schedule_count += at_ms > now_ms;
	}
	return set;
}

/* All that look at a limit are of one mind, and none changes anything. */
static int64_t look(const struct life *l)
{
	struct limit_record before = l->l;
	struct limit_view v = limit_look(&l->l, l->in_flight, l->now_ms);
	int64_t again_ms, room = limit_room(&l->l, l->in_flight, l->now_ms, &again_ms);
	bool probe = l->l.breaker.has_probe && l->in_flight > 0;

	assert_memory_equal(&l->l, &before, sizeof(before));
	assert_true(room >= 0);
	assert_int_equal(room == 0, v.state == LIMIT_HELD || v.state == LIMIT_BROKEN || v.state == LIMIT_FULL ||
					    v.state == LIMIT_PACED || (v.state == LIMIT_PROBING && probe));
	if (v.state == LIMIT_PROBING)
		assert_int_equal(room, !probe);
	assert_int_equal(v.again_ms, room == 0 ? again_ms : l->now_ms);
	assert_true(again_ms > l->now_ms || room > 0);
	if (v.concurrency >= 0 && room > 0)
		assert_true(room <= v.concurrency - l->in_flight);
	if (v.state == LIMIT_HELD || v.state == LIMIT_BROKEN)
		assert_true(v.held_until_ms > l->now_ms);
	else
		assert_int_equal(v.held_until_ms, 0);
	assert_int_equal(limit_held_until(&l->l, l->now_ms), v.held_until_ms);
	assert_int_equal(limit_concurrency(&l->l, l->now_ms), v.concurrency);
	assert_int_equal(v.state == LIMIT_BROKEN || v.breaker != BREAKER_OPEN || v.state == LIMIT_HELD, true);
	return room;
}

static void expect_paced(const struct life *l, int64_t room)
{
	int64_t until_ms;
	struct limit_caps caps = schedule_caps(&l->l.settings, l->now_ms, &until_ms);

	if (caps.rate > 0)
		assert_true((double)room <= fmin(l->tokens, caps.burst) + 0.001);
}

/* Where no rate holds, be it for less than a millisecond, any number may begin, and the bucket is full after it. */
static void configure(struct life *l, const struct limit_settings *set)
{
	int64_t until_ms;

	assert_int_equal(limit_settings_check(set, l->now_ms, NULL), 0);
	limit_configure(&l->l, set, l->now_ms);
	if (schedule_caps(set, l->now_ms, &until_ms).rate < 0)
		l->tokens = INFINITY;
}

static void gain_tokens(struct life *l, int64_t from_ms)
{
	struct limit_caps caps;
	int64_t until_ms;

	for (; from_ms < l->now_ms; from_ms = until_ms) {
		caps = schedule_caps(&l->l.settings, from_ms, &until_ms);
		if (until_ms > l->now_ms)
			until_ms = l->now_ms;
		l->tokens = caps.rate < 0
				    ? INFINITY
				    : fmin(l->tokens + caps.rate * (double)(until_ms - from_ms) / 1000, caps.burst);
	}
}

/* Nothing may begin before the moment that was told; and whoever looks again each time gets there. */
static void look_ahead(const struct life *l)
{
	int64_t at_ms, later_ms, again_ms;
	int looks = 0;

	if (limit_room(&l->l, l->in_flight, l->now_ms, &again_ms) > 0)
		return;
	for (; again_ms != NEVER && looks < 200; looks++) {
		for (int i = 0; i < 5; i++) {
			at_ms = again_ms - draw(1, again_ms - l->now_ms);
			assert_int_equal(limit_room(&l->l, l->in_flight, at_ms, &later_ms), 0);
		}
		if (limit_room(&l->l, l->in_flight, again_ms, &later_ms) > 0)
			return;
		assert_true(later_ms > again_ms);
		again_ms = later_ms;
	}
	assert_true(looks < 200);
}

static void within_bounds(struct life *l)
{
	const struct limit_settings *set = &l->l.settings;
	int64_t until_ms;
	int32_t cap = schedule_caps(set, l->now_ms, &until_ms).concurrency;
	int32_t in_effect = limit_look(&l->l, l->in_flight, l->now_ms).concurrency;

	assert_true(cap < 0 || (in_effect >= 0 && in_effect <= cap));
	if (!set->has_adaptive) {
		assert_int_equal(in_effect, cap);
		return;
	}
	assert_in_range(in_effect, cap >= 0 && cap < set->adaptive.min ? cap : set->adaptive.min, set->adaptive.max);
	assert_true(isfinite(l->l.adapt.value));
}

static void act(struct life *l, int good)
{
	int n = (int)draw(0, CALLS - 1);
	int64_t room = look(l);
	int how;

	expect_paced(l, room);
	if (l->started_ms[n] == 0 && room > 0) {
		start(&l->l, n, l->now_ms);
		l->started_ms[n] = l->now_ms;
		l->in_flight++;
		l->tokens--;
	} else if (l->started_ms[n] != 0) {
		how = draw(1, 10) <= good ? SUCCEEDED : (int)draw(FAIL_TIMEOUT, UNKNOWN);
		end(&l->l, n, how, l->started_ms[n], l->now_ms);
		if (how == FAIL_THROTTLED)
			limit_hold(&l->l, draw_size(1000000) - 10, l->now_ms);
		l->started_ms[n] = 0;
		l->in_flight--;
	}
	if (l->in_flight > l->tallest)
		l->tallest = l->in_flight;
}

static void pass_time(struct life *l)
{
	int64_t before_ms = l->now_ms;

	l->now_ms += draw_once_in(50) ? -draw_size(100000) : draw_size(draw_once_in(100) ? 1000000 : 300);
	gain_tokens(l, before_ms);
	if (l->now_ms < before_ms || l->l.bucket.at_ms == 0)
		l->tokens = INFINITY;
	limit_clock(&l->l, l->now_ms);
	assert_false(limit_clock(&l->l, l->now_ms));
}

static void whatever_happens_room_and_state_agree(void **state)
{
	int64_t tallest = 0;
	static struct life l;

	(void)state;
	draw_begin();
	for (int n = 0; n < LIVES; n++) {
		struct limit_settings set = draw_settings(T0);
		int good = 0;

		l = (struct life){ .l = limit(&set), .now_ms = T0, .tokens = INFINITY };
		for (int i = 0; i < 1000; i++) {
			if (i % 100 == 0)
				good = (int)draw(0, 10);
			if (draw_once_in(500)) {
				set = draw_settings(l.now_ms);
				configure(&l, &set);
			}
			pass_time(&l);
			act(&l, good);
			look(&l);
			look_ahead(&l);
			within_bounds(&l);
		}
		tallest += l.tallest;
	}
	assert_true(tallest > LIVES * 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whatever_happens_room_and_state_agree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
