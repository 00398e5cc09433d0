/* The rules that adaptive concurrency keeps whatever is reported; how well it does is test_flow_adapt.c's.
 *
 * Where chance is used it is seeded: ADAPT_SEED=… takes another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/messages.h"
#include "server/flow/adapt.h"
#include "tests/harness/api_model.h"

#define LAUNCH_MS INT64_C(1700000000000)

static const struct adaptive_settings wide = { .min = 1, .max = 200 };

static uint64_t seed_base(void)
{
	const char *text = getenv("ADAPT_SEED");

	return text ? strtoull(text, NULL, 10) : 1;
}

static void assert_sound(const struct adapt_state *s, const struct adaptive_settings *set)
{
	int32_t value = adapt_value(s, set);

	assert_in_range(value, set->min, set->max);
	assert_true(isfinite(s->value));
	for (size_t i = 0; i < ADAPT_NUMBERS; i++)
		assert_true(isfinite(s->numbers[i]));
}

static struct call_report ended_ok(int64_t now_ms, int64_t in_flight)
{
	return (struct call_report){ .succeeded = true,
				     .started_at_ms = now_ms - 1000,
				     .took_ms = 1000,
				     .in_flight = in_flight,
				     .held_back = true,
				     .now_ms = now_ms };
}

static void test_begins_low(void **state)
{
	struct adaptive_settings set = { .min = 1, .max = 1000 };
	struct adapt_state s;

	(void)state;
	adapt_begin(&s, &set, LAUNCH_MS);
	assert_in_range(adapt_value(&s, &set), 1, 8);
	set = (struct adaptive_settings){ .min = 20, .max = 30 };
	adapt_begin(&s, &set, LAUNCH_MS);
	assert_int_equal(adapt_value(&s, &set), 20);
	set = (struct adaptive_settings){ .min = 1, .max = 2 };
	adapt_begin(&s, &set, LAUNCH_MS);
	assert_int_equal(adapt_value(&s, &set), 2);
}

/* Where more calls than the least only make one another slow, it stays there, but tries now and then: when the API
 * bears more, that is found. */
static void test_the_least_value_is_no_trap(void **state)
{
	struct adaptive_settings set = { .min = 4, .max = 100 };
	int64_t now_ms = LAUNCH_MS;
	struct adapt_state s;

	(void)state;
	adapt_begin(&s, &set, LAUNCH_MS);
	for (int i = 0; i < 20000; i++) {
		struct call_report r = ended_ok(now_ms, adapt_value(&s, &set));

		r.took_ms = i < 10000 && adapt_value(&s, &set) > set.min ? 60000 : 1000;
		r.started_at_ms = now_ms - r.took_ms;
		adapt_report(&s, &set, &r);
		now_ms += 1000;
		if (i == 9999)
			assert_in_range(adapt_value(&s, &set), 4, 8);
	}
	assert_true(adapt_value(&s, &set) > 50);
}

/* Held back, but with far fewer under way than the value: it was another bound that held them. */
static void test_never_raised_by_another_bound(void **state)
{
	struct adapt_state s;
	struct adaptive_settings set = wide;

	(void)state;
	adapt_begin(&s, &set, LAUNCH_MS);
	adapt_hint(&s, &set, 40, LAUNCH_MS);
	for (int i = 1; i < 5000; i++) {
		struct call_report r = ended_ok(LAUNCH_MS + i * 1000, 10);

		adapt_report(&s, &set, &r);
		assert_true(adapt_value(&s, &set) <= 40);
	}
}

/* However many calls of one cohort fail, it is one decrease: by a tenth, to about a half where most fail. */
static void test_one_decrease_a_cohort(void **state)
{
	struct adapt_state s;
	struct adaptive_settings set = wide;
	int32_t value;

	(void)state;
	adapt_begin(&s, &set, LAUNCH_MS);
	adapt_hint(&s, &set, 100, LAUNCH_MS);
	for (int i = 0; i < 100; i++) {
		struct call_report r = { .kind = FAIL_TIMEOUT,
					 .started_at_ms = LAUNCH_MS,
					 .took_ms = 60000,
					 .in_flight = 100,
					 .held_back = true,
					 .now_ms = LAUNCH_MS + 60000 + i };

		adapt_report(&s, &set, &r);
		value = adapt_value(&s, &set);
		assert_true(value == 100 || (value >= 45 && value <= 90));
		if (i >= 30 && i < 60)
			assert_int_equal(value, 90);
	}
	assert_in_range(adapt_value(&s, &set), 45, 55);
}

/* A job that was itself at fault, or a mistake of ours, says nothing about the API. */
static void test_what_says_nothing(void **state)
{
	struct adapt_state s, before;
	struct adaptive_settings set = wide;

	(void)state;
	adapt_begin(&s, &set, LAUNCH_MS);
	adapt_hint(&s, &set, 50, LAUNCH_MS);
	before = s;
	for (int i = 0; i < 1000; i++) {
		struct call_report r = ended_ok(LAUNCH_MS + i, 50);

		r.succeeded = false;
		r.kind = i % 2 ? FAIL_REJECTED : FAIL_INTERNAL;
		adapt_report(&s, &set, &r);
	}
	assert_memory_equal(&s, &before, sizeof(s));
}

static void test_bounds_and_hints(void **state)
{
	struct adapt_state s;
	struct adaptive_settings set = wide;

	(void)state;
	adapt_begin(&s, &set, LAUNCH_MS);
	adapt_hint(&s, &set, 60, LAUNCH_MS);
	assert_int_equal(adapt_value(&s, &set), 60);
	set.max = 80;
	adapt_bound(&s, &set);
	assert_int_equal(adapt_value(&s, &set), 60);
	set.max = 40;
	assert_int_equal(adapt_value(&s, &set), 40);
	adapt_bound(&s, &set);
	set.max = 200;
	assert_int_equal(adapt_value(&s, &set), 40);
	set.min = 45;
	adapt_bound(&s, &set);
	assert_int_equal(adapt_value(&s, &set), 45);
	adapt_hint(&s, &set, 1000, LAUNCH_MS);
	assert_int_equal(adapt_value(&s, &set), 200);
	adapt_hint(&s, &set, -5, LAUNCH_MS);
	assert_int_equal(adapt_value(&s, &set), 45);
}

/* ---- anything at all ---- */

static int64_t draw_number(uint64_t *seed)
{
	static const int64_t odd[8] = { 0, 1, -1, INT64_MIN, INT64_MAX, LAUNCH_MS, 60000, 4 };

	if (api_model_draw(seed) < 0.3)
		return odd[(size_t)(api_model_draw(seed) * 8)];
	return (int64_t)(api_model_draw(seed) * 100000);
}

static struct call_report draw_report(uint64_t *seed, int64_t now_ms)
{
	bool wild = api_model_draw(seed) < 0.05;
	struct call_report r = {
		.succeeded = api_model_draw(seed) < 0.8,
		.kind = (int)(api_model_draw(seed) * FAIL_KINDS),
		.took_ms = draw_number(seed),
		.in_flight = draw_number(seed) % 300,
		.held_back = api_model_draw(seed) < 0.9,
		.now_ms = wild ? draw_number(seed) : now_ms,
	};

	r.started_at_ms = wild ? draw_number(seed) : now_ms - (int64_t)(api_model_draw(seed) * 30000);
	return r;
}

static void draw_change(struct adapt_state *s, struct adaptive_settings *set, uint64_t *seed, int64_t now_ms)
{
	double which = api_model_draw(seed);

	if (which < 0.4) {
		set->min = 1 + (int32_t)(api_model_draw(seed) * 50);
		set->max = set->min + (int32_t)(api_model_draw(seed) * 200);
		set->latency_target_ms = api_model_draw(seed) < 0.5 ? 0 : 1 + (int64_t)(api_model_draw(seed) * 50000);
		adapt_bound(s, set);
	} else if (which < 0.7) {
		adapt_hint(s, set, (int32_t)(api_model_draw(seed) * 1000) - 100, now_ms);
	} else if (which < 0.85) {
		adapt_begin(s, set, now_ms);
	} else {
		/* A damaged state: the next report makes it a sound one. */
		s->numbers[(size_t)(api_model_draw(seed) * ADAPT_NUMBERS)] = which < 0.93 ? NAN : INFINITY;
	}
}

static void test_anything(void **state)
{
	uint64_t seed = seed_base();
	struct adaptive_settings set = wide;
	struct adapt_state s = { 0 };
	int64_t now_ms = LAUNCH_MS;

	(void)state;
	/* Never begun. */
	assert_int_equal(adapt_value(&s, &set), set.min);
	for (int i = 0; i < 300000; i++) {
		struct call_report r = draw_report(&seed, now_ms);

		if (api_model_draw(&seed) < 0.001)
			draw_change(&s, &set, &seed, now_ms);
		/* One that is a sample, so that a damaged state is looked at. */
		if (!r.succeeded && (r.kind == FAIL_REJECTED || r.kind == FAIL_INTERNAL))
			r.succeeded = true;
		adapt_report(&s, &set, &r);
		assert_sound(&s, &set);
		now_ms += (int64_t)(api_model_draw(&seed) * 2000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_begins_low),
		cmocka_unit_test(test_the_least_value_is_no_trap),
		cmocka_unit_test(test_never_raised_by_another_bound),
		cmocka_unit_test(test_one_decrease_a_cohort),
		cmocka_unit_test(test_what_says_nothing),
		cmocka_unit_test(test_bounds_and_hints),
		cmocka_unit_test(test_anything),
	};

	fprintf(stderr, "ADAPT_SEED=%llu\n", (unsigned long long)seed_base());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
