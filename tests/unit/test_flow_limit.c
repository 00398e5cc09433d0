/* The limit as a whole: the least of its parts holds and the state says which. The parts have tests of their own; of
 * what adaptive concurrency learns nothing is asked here but what it is told. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proto/messages.h"
#include "server/flow/adapt.h"
#include "server/flow/breaker.h"
#include "server/flow/limit.h"

#define T0    INT64_C(1700000000000)
#define NEVER INT64_MAX

static const struct breaker_settings breaker = {
	.window_ms = 10000, .min_calls = 10, .failure_ratio = 0.5, .open_ms = 5000
};

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

static void expect(const struct limit_record *l, int64_t in_flight, int64_t now_ms, enum limit_state is, int64_t room,
		   int64_t again_ms)
{
	int64_t again;

	assert_int_equal(limit_room(l, in_flight, now_ms, &again), room);
	assert_int_equal(limit_look(l, in_flight, now_ms).state, is);
	if (room == 0)
		assert_int_equal(again, again_ms);
}

/* ---- each part by itself ---- */

static void without_bounds_all_may_begin(void **state)
{
	struct limit_settings set = settings(-1, -1, -1);
	struct limit_record l = limit(&set);
	struct limit_view v = limit_look(&l, 1000000, T0);

	(void)state;
	expect(&l, 1000000, T0, LIMIT_FREE, INT64_MAX, 0);
	assert_int_equal(v.concurrency, -1);
	assert_true(v.rate == -1);
	assert_int_equal(v.held_until_ms, 0);
	assert_int_equal(v.again_ms, T0);
}

static void the_least_holds_and_the_first_is_told(void **state)
{
	struct limit_settings set = settings(5, 10, 8);
	struct limit_record l;

	(void)state;
	set.has_breaker = true;
	set.breaker = breaker;
	l = limit(&set);
	expect(&l, 0, T0, LIMIT_FREE, 5, 0);
	for (int i = 0; i < 4; i++)
		start(&l, i, T0);
	expect(&l, 4, T0, LIMIT_FREE, 1, 0);
	expect(&l, 5, T0, LIMIT_FULL, 0, NEVER);
	expect(&l, 9, T0, LIMIT_FULL, 0, NEVER);
	for (int i = 4; i < 8; i++)
		start(&l, i, T0);
	expect(&l, 3, T0, LIMIT_PACED, 0, T0 + 100);
	expect(&l, 5, T0, LIMIT_FULL, 0, NEVER);
	expect(&l, 3, T0 + 100, LIMIT_FREE, 1, 0);
	for (int i = 0; i < 10; i++)
		end(&l, i, FAIL_TIMEOUT, T0, T0 + 200);
	expect(&l, 0, T0 + 200, LIMIT_BROKEN, 0, T0 + 5200);
	expect(&l, 5, T0 + 200, LIMIT_BROKEN, 0, NEVER);
	assert_int_equal(limit_look(&l, 0, T0 + 200).held_until_ms, T0 + 5200);
	limit_hold(&l, 60000, T0 + 200);
	expect(&l, 0, T0 + 200, LIMIT_HELD, 0, T0 + 60200);
	assert_int_equal(limit_look(&l, 0, T0 + 200).held_until_ms, T0 + 60200);
	/* Half open, but the old calls are still more than may be: no probe either. */
	expect(&l, 5, T0 + 60200, LIMIT_FULL, 0, NEVER);
	expect(&l, 4, T0 + 60200, LIMIT_PROBING, 1, 0);
	assert_int_equal(limit_look(&l, 4, T0 + 60200).breaker, BREAKER_HALF_OPEN);
	start(&l, 50, T0 + 60200);
	expect(&l, 4, T0 + 60200, LIMIT_PROBING, 0, NEVER);
	end(&l, 50, SUCCEEDED, T0 + 60200, T0 + 61000);
	expect(&l, 4, T0 + 61000, LIMIT_FREE, 1, 0);
}

static void a_hold_is_never_shortened_nor_endless(void **state)
{
	static const int64_t nothing[] = { 0, -1, INT64_MIN };
	struct limit_settings set = settings(5, -1, -1);
	struct limit_record l = limit(&set);

	(void)state;
	for (int i = 0; i < 3; i++) {
		limit_hold(&l, nothing[i], T0);
		expect(&l, 0, T0, LIMIT_FREE, 5, 0);
	}
	limit_hold(&l, 5000, T0);
	limit_hold(&l, 1000, T0);
	limit_hold(&l, -1000, T0 + 1);
	expect(&l, 0, T0 + 4999, LIMIT_HELD, 0, T0 + 5000);
	expect(&l, 0, T0 + 5000, LIMIT_FREE, 5, 0);
	limit_hold(&l, INT64_MAX, T0);
	expect(&l, 0, T0, LIMIT_HELD, 0, T0 + LIMIT_HOLD_MAX_MS);
	/* The clock goes back by a day. */
	assert_true(limit_clock(&l, T0 - 86400000));
	assert_false(limit_clock(&l, T0 - 86400000));
	expect(&l, 0, T0 - 86400000, LIMIT_HELD, 0, T0 - 86400000 + LIMIT_HOLD_MAX_MS);
}

/* Its queue went to another limit, so nobody told this one how it ended. */
static void a_probe_that_was_never_told_of_blocks_nobody(void **state)
{
	struct limit_settings set = settings(5, -1, -1);
	struct limit_record l;

	(void)state;
	set.has_breaker = true;
	set.breaker = breaker;
	l = limit(&set);
	for (int i = 0; i < 10; i++)
		end(&l, i, FAIL_TIMEOUT, T0, T0);
	start(&l, 50, T0 + 5000);
	expect(&l, 1, T0 + 5000, LIMIT_PROBING, 0, NEVER);
	expect(&l, 0, T0 + 5000, LIMIT_PROBING, 1, 0);
	start(&l, 51, T0 + 5000);
	end(&l, 50, SUCCEEDED, T0 + 5000, T0 + 6000);
	expect(&l, 1, T0 + 6000, LIMIT_PROBING, 0, NEVER);
	end(&l, 51, SUCCEEDED, T0 + 5000, T0 + 6000);
	expect(&l, 1, T0 + 6000, LIMIT_FREE, 4, 0);
}

static void calls_are_counted_by_how_they_ended(void **state)
{
	struct limit_settings set = settings(5, -1, -1);
	struct limit_record l = limit(&set);

	(void)state;
	for (int how = 0; how <= UNKNOWN; how++) {
		start(&l, how, T0);
		end(&l, how, how, T0, T0 + 1);
	}
	assert_int_equal(l.started_total, UNKNOWN + 1);
	assert_int_equal(l.succeeded_total, 1);
	assert_int_equal(l.throttled_total, 1);
	assert_int_equal(l.failed_total, 5);
}

/* ---- the schedule ---- */

static void a_spell_changes_the_caps_at_its_moment(void **state)
{
	struct limit_settings set = settings(5, 1, 100);
	struct limit_record l;

	(void)state;
	set.schedule[0] = (struct limit_spell){ T0 + 20000, T0 + 30000, { 2, -1, -1 } };
	set.schedule[1] = (struct limit_spell){ T0 + 10000, T0 + 20000, { 50, 1000, -1 } };
	set.schedule_count = 2;
	l = limit(&set);
	expect(&l, 5, T0, LIMIT_FULL, 0, T0 + 10000);
	for (int i = 0; i < 100; i++)
		start(&l, i, T0);
	expect(&l, 0, T0, LIMIT_PACED, 0, T0 + 1000);
	/* What came in before is the old rate's. */
	expect(&l, 0, T0 + 10000, LIMIT_FREE, 10, 0);
	assert_true(limit_look(&l, 0, T0 + 10000).rate == 1000);
	for (int i = 0; i < 10; i++)
		start(&l, i, T0 + 10000);
	expect(&l, 0, T0 + 10000, LIMIT_PACED, 0, T0 + 10001);
	expect(&l, 0, T0 + 10020, LIMIT_FREE, 20, 0);
	expect(&l, 2, T0 + 20000, LIMIT_FULL, 0, T0 + 30000);
	expect(&l, 2, T0 + 30000, LIMIT_FREE, 3, 0);
}

/* A call that is paced at one an hour does not wait for the hour when a spell begins before. */
static void whoever_is_paced_looks_again_when_the_rate_changes(void **state)
{
	struct limit_settings set = settings(-1, 1.0 / 3600, -1);
	struct limit_record l;

	(void)state;
	set.schedule[0] = (struct limit_spell){ T0 + 10000, T0 + 20000, { -1, 1000, -1 } };
	set.schedule_count = 1;
	l = limit(&set);
	start(&l, 1, T0);
	expect(&l, 0, T0, LIMIT_PACED, 0, T0 + 10000);
	expect(&l, 0, T0 + 10000, LIMIT_PACED, 0, T0 + 10001);
	expect(&l, 0, T0 + 10001, LIMIT_FREE, 1, 0);
}

static struct limit_settings adaptive(void)
{
	struct limit_settings set = settings(50, -1, -1);

	set.has_adaptive = true;
	set.adaptive = (struct adaptive_settings){ .min = 2, .max = 300 };
	set.schedule[0] = (struct limit_spell){ T0 + 10000, T0 + 20000, { 200, -1, -1 } };
	set.schedule[1] = (struct limit_spell){ T0 + 30000, T0 + 40000, { 1000, -1, -1 } };
	set.schedule[2] = (struct limit_spell){ T0 + 50000, T0 + 60000, { 3, -1, -1 } };
	set.schedule_count = 3;
	return set;
}

static int32_t concurrency(const struct limit_record *l, int64_t now_ms)
{
	return limit_look(l, 0, now_ms).concurrency;
}

/* What was learned, moved by hand. */
static void forget_it(struct limit_record *l, int32_t to, int64_t now_ms)
{
	adapt_hint(&l->adapt, &l->settings.adaptive, to, now_ms);
	assert_int_equal(adapt_value(&l->adapt, &l->settings.adaptive), to);
}

static void a_spell_is_told_to_what_learns_once(void **state)
{
	struct limit_settings set = adaptive();
	struct limit_record l = limit(&set), before;

	(void)state;
	assert_in_range(concurrency(&l, T0), 2, 50);
	before = l;
	assert_int_equal(concurrency(&l, T0 + 10000), 200);
	expect(&l, 199, T0 + 10000, LIMIT_FREE, 1, 0);
	assert_memory_equal(&l, &before, sizeof(l));
	start(&l, 1, T0 + 10000);
	assert_int_equal(concurrency(&l, T0 + 10000), 200);
	assert_int_equal(l.adapt.value, 200);
	/* It learns that it is not so: nobody tells it the same again. */
	forget_it(&l, 10, T0 + 11000);
	assert_int_equal(concurrency(&l, T0 + 12000), 10);
	start(&l, 2, T0 + 12000);
	end(&l, 2, UNKNOWN, T0 + 12000, T0 + 12000);
	assert_int_equal(concurrency(&l, T0 + 12000), 10);
	/* Also not when the clock goes back before its beginning. */
	start(&l, 3, T0 + 9000);
	start(&l, 4, T0 + 10000);
	assert_int_equal(concurrency(&l, T0 + 10000), 10);
	/* After it as learned, but for the cap; the next is another, and may not go beyond the most. */
	assert_int_equal(concurrency(&l, T0 + 20000), 10);
	assert_int_equal(concurrency(&l, T0 + 30000), 300);
	end(&l, 1, UNKNOWN, T0, T0 + 30000);
	assert_int_equal(l.adapt.value, 300);
	assert_int_equal(concurrency(&l, T0 + 40000), 50);
	/* One that says less holds as a cap, and takes nothing from what was learned. */
	start(&l, 5, T0 + 50000);
	assert_int_equal(concurrency(&l, T0 + 50000), 3);
	assert_int_equal(concurrency(&l, T0 + 60000), 50);
}

static void a_spell_of_now_that_is_set_anew_is_news(void **state)
{
	struct limit_settings set = adaptive();
	struct limit_record l = limit(&set);

	(void)state;
	start(&l, 1, T0 + 10000);
	forget_it(&l, 10, T0 + 11000);
	limit_configure(&l, &set, T0 + 11000);
	assert_int_equal(concurrency(&l, T0 + 11000), 10);
	set.schedule[0].caps.concurrency = 150;
	limit_configure(&l, &set, T0 + 11000);
	assert_int_equal(concurrency(&l, T0 + 11000), 150);
	assert_int_equal(l.adapt.value, 150);
}

/* ---- what learns, and the breaker ---- */

static void break_it(struct limit_record *l, int64_t now_ms)
{
	for (int i = 0; l->breaker.phase == BREAKER_CLOSED; i++) {
		assert_true(i < 1000);
		end(l, i, FAIL_UNAVAILABLE, now_ms, now_ms);
	}
}

static void after_an_outage_it_goes_on_from_half(void **state)
{
	struct limit_settings set = adaptive();
	struct limit_record l;
	int32_t was;

	(void)state;
	set.schedule_count = 0;
	set.has_breaker = true;
	set.breaker = breaker;
	l = limit(&set);
	forget_it(&l, 40, T0);
	/* So that the tenth failure opens it: the ninth has taught it what it will. */
	break_it(&l, T0);
	was = l.adapt_opened;
	assert_in_range(was, 2, 40);
	/* Stragglers of before take it down, the probe brings it back. */
	for (int i = 100; i < 150; i++)
		end(&l, i, FAIL_TIMEOUT, T0 - 1000, T0 + 1000);
	start(&l, 200, T0 + 5000);
	end(&l, 200, SUCCEEDED, T0 + 5000, T0 + 6000);
	assert_int_equal(l.breaker.phase, BREAKER_CLOSED);
	assert_int_equal(l.adapt.value, was / 2 > 2 ? was / 2 : 2);
	assert_int_equal(l.adapt_opened, 0);
}

static bool learned_nothing(const struct adapt_state *a, const struct adapt_state *b)
{
	bool same = a->value == b->value;

	for (int i = 0; i < ADAPT_NUMBERS; i++)
		same = same && a->numbers[i] == b->numbers[i];
	return same;
}

static void only_what_says_something_about_the_api_is_learned_from(void **state)
{
	static const int nothing[] = { FAIL_INTERNAL, UNKNOWN };
	struct limit_settings set = adaptive();
	struct limit_record l = limit(&set);
	struct adapt_state before = l.adapt;

	(void)state;
	for (int i = 0; i < 100; i++)
		end(&l, i, nothing[i % 2], T0, T0 + 100);
	assert_true(learned_nothing(&l.adapt, &before));
	end(&l, 1, SUCCEEDED, T0, T0 + 100);
	assert_false(learned_nothing(&l.adapt, &before));
}

/* ---- new settings ---- */

static void new_settings_keep_what_was_learned(void **state)
{
	struct limit_settings set = adaptive();
	struct limit_record l = limit(&set);

	(void)state;
	forget_it(&l, 40, T0);
	set.adaptive.max = 30;
	set.adaptive.latency_target_ms = 500;
	limit_configure(&l, &set, T0);
	assert_int_equal(concurrency(&l, T0), 30);
	assert_int_equal(l.adapt.value, 30);
	set.caps.concurrency = 20;
	limit_configure(&l, &set, T0);
	assert_int_equal(concurrency(&l, T0), 20);
	set.caps.concurrency = -1;
	limit_configure(&l, &set, T0);
	assert_int_equal(concurrency(&l, T0), 30);
	/* Taken away and given again it begins anew, as one that is new. */
	set.has_adaptive = false;
	limit_configure(&l, &set, T0);
	assert_int_equal(concurrency(&l, T0), -1);
	set.has_adaptive = true;
	limit_configure(&l, &set, T0);
	assert_int_equal(concurrency(&l, T0),
			 concurrency(&(struct limit_record){ .settings = set, .adapt = l.adapt }, T0));
	assert_true(concurrency(&l, T0) < 30);
}

static void new_settings_give_no_new_burst(void **state)
{
	struct limit_settings set = settings(-1, 1, 10);
	struct limit_record l = limit(&set);

	(void)state;
	for (int i = 0; i < 10; i++)
		start(&l, i, T0);
	set.caps = (struct limit_caps){ -1, 100, 50 };
	limit_configure(&l, &set, T0 + 3000);
	expect(&l, 0, T0 + 3000, LIMIT_FREE, 3, 0);
	expect(&l, 0, T0 + 4000, LIMIT_FREE, 50, 0);
	start(&l, 1, T0 + 4000);
	set.caps = (struct limit_caps){ -1, 100, 5 };
	limit_configure(&l, &set, T0 + 4000);
	expect(&l, 0, T0 + 4000, LIMIT_FREE, 5, 0);
	/* Without a rate for a while: full. */
	set.caps = (struct limit_caps){ -1, -1, -1 };
	limit_configure(&l, &set, T0 + 4000);
	for (int i = 0; i < 100; i++)
		start(&l, i, T0 + 4000);
	set.caps = (struct limit_caps){ -1, 1, 7 };
	limit_configure(&l, &set, T0 + 4000);
	expect(&l, 0, T0 + 4000, LIMIT_FREE, 7, 0);
}

static void new_settings_keep_an_open_breaker_open(void **state)
{
	struct limit_settings set = settings(5, -1, -1);
	struct limit_record l;

	(void)state;
	set.has_breaker = true;
	set.breaker = breaker;
	l = limit(&set);
	break_it(&l, T0);
	set.caps.concurrency = 6;
	limit_configure(&l, &set, T0 + 1000);
	expect(&l, 0, T0 + 1000, LIMIT_BROKEN, 0, T0 + 5000);
	set.breaker.open_ms = 500;
	limit_configure(&l, &set, T0 + 1000);
	expect(&l, 0, T0 + 1000, LIMIT_BROKEN, 0, T0 + 1500);
	set.has_breaker = false;
	limit_configure(&l, &set, T0 + 1000);
	expect(&l, 0, T0 + 1000, LIMIT_FREE, 6, 0);
	set.has_breaker = true;
	limit_configure(&l, &set, T0 + 1000);
	expect(&l, 0, T0 + 1000, LIMIT_FREE, 6, 0);
}

static void calls_from_before_a_breaker_was_set_say_nothing_to_it(void **state)
{
	struct limit_settings set = settings(5, -1, -1);
	struct limit_record l = limit(&set);

	(void)state;
	set.has_breaker = true;
	set.breaker = breaker;
	limit_configure(&l, &set, T0 + 1000);
	for (int i = 0; i < 20; i++)
		end(&l, i, FAIL_TIMEOUT, T0 + 999, T0 + 2000);
	expect(&l, 0, T0 + 2000, LIMIT_FREE, 5, 0);
	for (int i = 0; i < 10; i++)
		end(&l, i, FAIL_TIMEOUT, T0 + 1000, T0 + 2000);
	expect(&l, 0, T0 + 2000, LIMIT_BROKEN, 0, T0 + 7000);
}

static void spells_that_are_over_are_not_kept(void **state)
{
	struct limit_settings set = adaptive();
	struct limit_record l = limit(&set);

	(void)state;
	assert_int_equal(l.settings.schedule_count, 3);
	limit_configure(&l, &set, T0 + 20000);
	assert_int_equal(l.settings.schedule_count, 2);
	assert_int_equal(l.settings.schedule[0].from_at_ms, T0 + 30000);
}

/* ---- what is refused ---- */

static struct limit_settings that_make_sense(void)
{
	struct limit_settings set = adaptive();

	set.has_breaker = true;
	set.breaker = breaker;
	assert_int_equal(limit_settings_check(&set, T0, NULL), 0);
	return set;
}

static void expect_refused(const struct limit_settings *set, const char *field)
{
	struct error_info info = { 0 };

	assert_int_equal(limit_settings_check(set, T0, &info), ERR_BAD_REQUEST);
	assert_string_equal(info.field, field);
	assert_true(info.message[0] != '\0');
	assert_int_equal(limit_settings_check(set, T0, NULL), ERR_BAD_REQUEST);
}

#define EXPECT_REFUSED(field, change) (set = that_make_sense(), (change), expect_refused(&set, field))

static void settings_that_make_no_sense_are_refused_by_name(void **state)
{
	struct limit_settings set;

	(void)state;
	EXPECT_REFUSED("concurrency", set.caps.concurrency = 0);
	EXPECT_REFUSED("rate", set.caps.rate = NAN);
	EXPECT_REFUSED("burst", set.caps.burst = 3);
	EXPECT_REFUSED("adaptive.min", set.adaptive.min = 0);
	EXPECT_REFUSED("adaptive.min", (set.caps.concurrency = -1, set.adaptive.min = 301));
	EXPECT_REFUSED("adaptive.min", set.adaptive.min = 51);
	EXPECT_REFUSED("adaptive.min", set.adaptive.min = LIMIT_CONCURRENCY_MAX + 1);
	EXPECT_REFUSED("adaptive.max", set.adaptive.max = LIMIT_CONCURRENCY_MAX + 1);
	EXPECT_REFUSED("adaptive.max", set.adaptive.max = -1);
	EXPECT_REFUSED("adaptive.latency_target_ms", set.adaptive.latency_target_ms = -1);
	EXPECT_REFUSED("adaptive.latency_target_ms", set.adaptive.latency_target_ms = INT64_MAX);
	EXPECT_REFUSED("breaker.window_ms", set.breaker.window_ms = 999);
	EXPECT_REFUSED("breaker.window_ms", set.breaker.window_ms = 3600001);
	EXPECT_REFUSED("breaker.min_calls", set.breaker.min_calls = 0);
	EXPECT_REFUSED("breaker.min_calls", set.breaker.min_calls = 100001);
	EXPECT_REFUSED("breaker.failure_ratio", set.breaker.failure_ratio = 0);
	EXPECT_REFUSED("breaker.failure_ratio", set.breaker.failure_ratio = 1.01);
	EXPECT_REFUSED("breaker.failure_ratio", set.breaker.failure_ratio = NAN);
	EXPECT_REFUSED("breaker.open_ms", set.breaker.open_ms = 99);
	EXPECT_REFUSED("breaker.open_ms", set.breaker.open_ms = 3600001);
	EXPECT_REFUSED("schedule[2].until_at_ms", set.schedule[2].until_at_ms = 1);
	EXPECT_REFUSED("schedule[1]", set.schedule[1].from_at_ms = T0 + 15000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_bounds_all_may_begin),
		cmocka_unit_test(the_least_holds_and_the_first_is_told),
		cmocka_unit_test(a_hold_is_never_shortened_nor_endless),
		cmocka_unit_test(a_probe_that_was_never_told_of_blocks_nobody),
		cmocka_unit_test(calls_are_counted_by_how_they_ended),
		cmocka_unit_test(a_spell_changes_the_caps_at_its_moment),
		cmocka_unit_test(whoever_is_paced_looks_again_when_the_rate_changes),
		cmocka_unit_test(a_spell_is_told_to_what_learns_once),
		cmocka_unit_test(a_spell_of_now_that_is_set_anew_is_news),
		cmocka_unit_test(after_an_outage_it_goes_on_from_half),
		cmocka_unit_test(only_what_says_something_about_the_api_is_learned_from),
		cmocka_unit_test(new_settings_keep_what_was_learned),
		cmocka_unit_test(new_settings_give_no_new_burst),
		cmocka_unit_test(new_settings_keep_an_open_breaker_open),
		cmocka_unit_test(calls_from_before_a_breaker_was_set_say_nothing_to_it),
		cmocka_unit_test(spells_that_are_over_are_not_kept),
		cmocka_unit_test(settings_that_make_no_sense_are_refused_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
