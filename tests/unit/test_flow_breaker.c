/* It opens on the failure ratio, lets one probe through at a time, closes on success; and a long random life of it
 * beside a plain model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proto/messages.h"
#include "server/flow/breaker.h"
#include "tests/unit/test_flow_draw.h"

#define T0    INT64_C(1700000000000)
#define NEVER INT64_MAX

static const struct breaker_settings settings = {
	.window_ms = 10000, .min_calls = 10, .failure_ratio = 0.5, .open_ms = 5000
};

static struct uuid job_of(int n)
{
	struct uuid job = { { 1 } };

	memcpy(job.bytes + 4, &n, sizeof(n));
	return job;
}

/* How a call ended: an enum failure_kind, or: */
#define SUCCEEDED FAIL_KINDS
#define UNKNOWN	  (FAIL_KINDS + 1)

static void end(struct breaker_state *s, int n, int how, int64_t started_ms, int64_t now_ms)
{
	struct call_report r = {
		.succeeded = how == SUCCEEDED, .kind = how, .started_at_ms = started_ms, .now_ms = now_ms
	};
	struct uuid job = job_of(n);

	breaker_ended(s, &settings, &job, how == UNKNOWN ? NULL : &r, now_ms);
}

static void begin(struct breaker_state *s, int n, int64_t now_ms)
{
	struct uuid job = job_of(n);

	breaker_started(s, &job, now_ms);
}

static void expect_room(const struct breaker_state *s, int64_t now_ms, int64_t room, int64_t again_ms)
{
	int64_t again;

	assert_int_equal(breaker_room(s, now_ms, &again), room);
	if (room == 0)
		assert_int_equal(again, again_ms);
}

/* Ten calls that all fail, at T0. */
static struct breaker_state opened(void)
{
	struct breaker_state s = { 0 };

	for (int i = 0; i < 10; i++) {
		assert_int_equal(breaker_phase(&s, T0), BREAKER_CLOSED);
		end(&s, i, FAIL_TIMEOUT, T0 - 100, T0);
	}
	assert_int_equal(breaker_phase(&s, T0), BREAKER_OPEN);
	assert_int_equal(s.opened_total, 1);
	return s;
}

static void it_opens_for_a_while_then_lets_one_probe_through(void **state)
{
	struct breaker_state s = opened();

	(void)state;
	expect_room(&s, T0, 0, T0 + 5000);
	expect_room(&s, T0 + 4999, 0, T0 + 5000);
	expect_room(&s, T0 + 5000, 1, 0);
	assert_int_equal(breaker_phase(&s, T0 + 5000), BREAKER_HALF_OPEN);
	begin(&s, 100, T0 + 6000);
	expect_room(&s, T0 + 6000, 0, NEVER);
	end(&s, 100, SUCCEEDED, T0 + 6000, T0 + 7000);
	expect_room(&s, T0 + 7000, INT64_MAX, 0);
	assert_int_equal(s.opened_total, 1);
}

static void a_probe_that_fails_opens_it_again(void **state)
{
	static const int kinds[] = { FAIL_TIMEOUT, FAIL_UNAVAILABLE, FAIL_INVALID };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct breaker_state s = opened();

		begin(&s, 100, T0 + 6000);
		end(&s, 100, kinds[i], T0 + 6000, T0 + 7000);
		expect_room(&s, T0 + 7000, 0, T0 + 12000);
		expect_room(&s, T0 + 12000, 1, 0);
		/* One that failed is no outage more. */
		assert_int_equal(s.opened_total, 1);
	}
}

static void a_probe_that_says_nothing_lets_another_through(void **state)
{
	static const int kinds[] = { FAIL_THROTTLED, FAIL_INTERNAL, FAIL_REJECTED, UNKNOWN };

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct breaker_state s = opened();

		begin(&s, 100, T0 + 6000);
		end(&s, 100, kinds[i], T0 + 6000, T0 + 7000);
		expect_room(&s, T0 + 7000, 1, 0);
		begin(&s, 101, T0 + 7000);
		expect_room(&s, T0 + 7000, 0, NEVER);
	}
}

/* Fifty were under way when it opened; they time out one after the other, long after. */
static void calls_from_before_it_opened_change_nothing(void **state)
{
	struct breaker_state s = opened(), before;

	(void)state;
	before = s;
	for (int i = 20; i < 40; i++)
		end(&s, i, i % 2 ? FAIL_TIMEOUT : SUCCEEDED, T0 - 1000, T0 + 1000);
	assert_memory_equal(&s, &before, sizeof(s));
	begin(&s, 100, T0 + 6000);
	before = s;
	for (int i = 40; i < 60; i++)
		end(&s, i, i % 2 ? FAIL_TIMEOUT : SUCCEEDED, T0 - 1000, T0 + 6500);
	assert_memory_equal(&s, &before, sizeof(s));
	end(&s, 100, SUCCEEDED, T0 + 6000, T0 + 7000);
	for (int i = 60; i < 100; i++)
		end(&s, i, FAIL_TIMEOUT, T0 - 1000, T0 + 8000);
	assert_int_equal(breaker_phase(&s, T0 + 8000), BREAKER_CLOSED);
	/* Those that began since count. */
	for (int i = 0; i < 10; i++)
		end(&s, i, FAIL_TIMEOUT, T0 + 7000, T0 + 9000);
	assert_int_equal(breaker_phase(&s, T0 + 9000), BREAKER_OPEN);
	assert_int_equal(s.opened_total, 2);
}

static void the_ratio_is_of_the_window(void **state)
{
	struct breaker_state s = { 0 };

	(void)state;
	for (int i = 0; i < 100; i++)
		end(&s, i, SUCCEEDED, T0, T0);
	for (int i = 0; i < 99; i++)
		end(&s, i, FAIL_INVALID, T0, T0);
	assert_int_equal(s.phase, BREAKER_CLOSED);
	/* When the window has passed nine are too few, whatever was before. */
	for (int i = 0; i < 9; i++)
		end(&s, i, FAIL_INVALID, T0, T0 + 10000);
	assert_int_equal(s.phase, BREAKER_CLOSED);
	end(&s, 9, SUCCEEDED, T0, T0 + 10000);
	assert_int_equal(s.phase, BREAKER_OPEN);
}

static void what_was_not_the_api_counts_for_neither(void **state)
{
	static const int kinds[] = { FAIL_THROTTLED, FAIL_INTERNAL, FAIL_REJECTED, UNKNOWN };
	struct breaker_state s = { 0 };

	(void)state;
	for (int i = 0; i < 400; i++)
		end(&s, i, kinds[i % 4], T0, T0);
	for (int i = 0; i < 9; i++)
		end(&s, i, FAIL_TIMEOUT, T0, T0);
	assert_int_equal(s.phase, BREAKER_CLOSED);
	end(&s, 9, FAIL_TIMEOUT, T0, T0);
	assert_int_equal(s.phase, BREAKER_OPEN);
}

/* 3 of 10 are 0.3 in every binary rounding that is done to them. */
static void the_ratio_that_was_set_is_reached_exactly(void **state)
{
	(void)state;
	for (int of = 1; of <= 200; of++) {
		for (int failed = 1; failed <= of; failed++) {
			struct breaker_settings set = { 1000, of, (double)failed / of, 1000 };
			struct call_report bad = { .kind = FAIL_TIMEOUT }, good = { .succeeded = true };
			struct uuid job = job_of(1);
			struct breaker_state s = { 0 };

			for (int i = 0; i < of; i++) {
				assert_int_equal(s.phase, BREAKER_CLOSED);
				breaker_ended(&s, &set, &job, i < failed ? &bad : &good, T0);
			}
			assert_int_equal(s.phase, BREAKER_OPEN);
		}
	}
}

static void a_clock_that_went_back_keeps_it_open_for_open_ms_only(void **state)
{
	struct breaker_state s = opened();

	(void)state;
	assert_false(breaker_clock(&s, &settings, T0));
	assert_true(breaker_clock(&s, &settings, T0 - 86400000));
	expect_room(&s, T0 - 86400000, 0, T0 - 86400000 + 5000);
	begin(&s, 100, T0 - 86390000);
	end(&s, 100, SUCCEEDED, T0 - 86390000, T0);
	/* It closed at T0; calls of a day before are not for ever from before it. */
	assert_true(breaker_clock(&s, &settings, T0 - 86400000));
	for (int i = 0; i < 10; i++)
		end(&s, i, FAIL_TIMEOUT, T0 - 86400000, T0 - 86399000);
	assert_int_equal(s.phase, BREAKER_OPEN);
}

static void other_settings_keep_the_phase(void **state)
{
	struct breaker_settings shorter = settings, narrower = settings;
	struct breaker_state s = opened();

	(void)state;
	shorter.open_ms = 1000;
	breaker_bound(&s, &settings, &shorter, T0);
	expect_room(&s, T0, 0, T0 + 1000);
	breaker_reset(&s, T0);
	expect_room(&s, T0, INT64_MAX, 0);
	assert_int_equal(s.opened_total, 1);

	for (int i = 0; i < 9; i++)
		end(&s, i, FAIL_TIMEOUT, T0, T0);
	breaker_bound(&s, &settings, &shorter, T0);
	end(&s, 9, FAIL_TIMEOUT, T0, T0);
	assert_int_equal(s.phase, BREAKER_OPEN);
	/* A window of another length has other slots. */
	breaker_reset(&s, T0);
	for (int i = 0; i < 9; i++)
		end(&s, i, FAIL_TIMEOUT, T0, T0);
	narrower.window_ms = 2000;
	breaker_bound(&s, &settings, &narrower, T0);
	end(&s, 9, FAIL_TIMEOUT, T0, T0);
	assert_int_equal(s.phase, BREAKER_CLOSED);
}

/* ---- a random life beside a model that keeps everything and counts anew each time ---- */

#define CALLS 40
#define ENDED 4000

struct model {
	enum breaker_phase phase;
	int64_t open_until_ms;
	int64_t closed_ms; /* when it closed last */
	int probe;	   /* −1: none */
	int64_t opened_total;
	struct {
		int64_t slot;
		bool failed;
	} ended[ENDED];
	int ended_count;
	int64_t slot;
};

struct life {
	struct breaker_state s;
	struct model m;
	int64_t now_ms;
	int64_t started_ms[CALLS]; /* 0: not under way */
};

static void model_open(struct model *m, int64_t now_ms)
{
	m->phase = BREAKER_OPEN;
	m->open_until_ms = now_ms + settings.open_ms;
	m->probe = -1;
	m->ended_count = 0;
}

static void model_count(struct model *m, bool failed, int64_t now_ms)
{
	int64_t slot = now_ms / (settings.window_ms / BREAKER_SLOTS);
	int calls = 0, failures = 0;

	if (slot <= m->slot - BREAKER_SLOTS) {
		m->ended_count = 0;
		m->slot = slot;
	}
	if (slot > m->slot)
		m->slot = slot;
	assert_true(m->ended_count < ENDED);
	m->ended[m->ended_count].slot = m->slot;
	m->ended[m->ended_count++].failed = failed;
	for (int i = 0; i < m->ended_count; i++) {
		calls += m->ended[i].slot > m->slot - BREAKER_SLOTS;
		failures += m->ended[i].slot > m->slot - BREAKER_SLOTS && m->ended[i].failed;
	}
	if (calls >= settings.min_calls && 2 * failures >= calls) {
		model_open(m, now_ms);
		m->opened_total++;
	}
}

static void model_ended(struct model *m, int n, int how, int64_t started_ms, int64_t now_ms)
{
	bool failed = how == FAIL_TIMEOUT || how == FAIL_UNAVAILABLE || how == FAIL_INVALID;

	if (m->phase == BREAKER_CLOSED) {
		if ((failed || how == SUCCEEDED) && started_ms >= m->closed_ms)
			model_count(m, failed, now_ms);
	} else if (m->phase == BREAKER_HALF_OPEN && m->probe == n) {
		m->probe = -1;
		if (failed)
			model_open(m, now_ms);
		if (how == SUCCEEDED) {
			m->phase = BREAKER_CLOSED;
			m->closed_ms = now_ms;
			m->slot = 0;
			m->ended_count = 0;
		}
	}
}

static void model_clock(struct model *m, int64_t now_ms)
{
	if (m->phase == BREAKER_OPEN && m->open_until_ms - now_ms > settings.open_ms)
		m->open_until_ms = now_ms + settings.open_ms;
	if (m->closed_ms > now_ms)
		m->closed_ms = now_ms;
}

static void pass_time(struct life *l)
{
	l->now_ms += draw_once_in(50) ? -draw_size(200000) : draw_size(draw_once_in(100) ? 1000000 : 300);
	breaker_clock(&l->s, &settings, l->now_ms);
	model_clock(&l->m, l->now_ms);
}

/* Half open is one whose time is over, until the clock goes back; after a probe began, for good. */
static enum breaker_phase model_phase(const struct model *m, int64_t now_ms)
{
	return m->phase == BREAKER_OPEN && now_ms >= m->open_until_ms ? BREAKER_HALF_OPEN : m->phase;
}

static void compare(const struct life *l)
{
	const struct model *m = &l->m;
	enum breaker_phase phase = model_phase(m, l->now_ms);

	assert_int_equal(breaker_phase(&l->s, l->now_ms), phase);
	assert_int_equal(l->s.opened_total, m->opened_total);
	if (phase == BREAKER_CLOSED)
		expect_room(&l->s, l->now_ms, INT64_MAX, 0);
	else if (phase == BREAKER_OPEN)
		expect_room(&l->s, l->now_ms, 0, m->open_until_ms);
	else
		expect_room(&l->s, l->now_ms, m->probe < 0, NEVER);
}

/* A call begins where there is room, or one under way ends. good: the share of successes, of 10. */
static void act(struct life *l, int good)
{
	int n = (int)draw(0, CALLS - 1);
	int64_t again_ms;
	int how;

	if (l->started_ms[n] != 0) {
		how = draw(1, 10) <= good ? SUCCEEDED : (int)draw(FAIL_TIMEOUT, UNKNOWN);
		end(&l->s, n, how, l->started_ms[n], l->now_ms);
		model_ended(&l->m, n, how, l->started_ms[n], l->now_ms);
		l->started_ms[n] = 0;
	} else if (breaker_room(&l->s, l->now_ms, &again_ms) > 0) {
		begin(&l->s, n, l->now_ms);
		l->started_ms[n] = l->now_ms;
		if (model_phase(&l->m, l->now_ms) == BREAKER_HALF_OPEN) {
			l->m.phase = BREAKER_HALF_OPEN;
			l->m.probe = n;
		}
	}
}

static void a_random_life_is_as_the_model_says(void **state)
{
	int64_t opened_total = 0;

	(void)state;
	draw_begin();
	for (int n = 0; n < 100; n++) {
		static struct life l;
		int good = 0;

		l = (struct life){ .now_ms = T0, .m = { .probe = -1 } };
		for (int i = 0; i < 3000; i++) {
			if (i % 300 == 0)
				good = (int)draw(0, 10);
			pass_time(&l);
			act(&l, good);
			compare(&l);
		}
		opened_total += l.m.opened_total;
	}
	assert_true(opened_total > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_opens_for_a_while_then_lets_one_probe_through),
		cmocka_unit_test(a_probe_that_fails_opens_it_again),
		cmocka_unit_test(a_probe_that_says_nothing_lets_another_through),
		cmocka_unit_test(calls_from_before_it_opened_change_nothing),
		cmocka_unit_test(the_ratio_is_of_the_window),
		cmocka_unit_test(what_was_not_the_api_counts_for_neither),
		cmocka_unit_test(the_ratio_that_was_set_is_reached_exactly),
		cmocka_unit_test(a_clock_that_went_back_keeps_it_open_for_open_ms_only),
		cmocka_unit_test(other_settings_keep_the_phase),
		cmocka_unit_test(a_random_life_is_as_the_model_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
