/* Which caps hold at which moment, what is ahead, and what is refused, with its name. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "server/flow/schedule.h"
#include "tests/unit/test_flow_draw.h"

#define NOW   INT64_C(1700000000000)
#define NEVER INT64_MAX

static struct limit_spell spell(int64_t from, int64_t until, int32_t concurrency, double rate, double burst)
{
	return (struct limit_spell){ NOW + from, NOW + until, { concurrency, rate, burst } };
}

static struct limit_settings settings(int32_t concurrency, double rate, double burst)
{
	return (struct limit_settings){ .caps = { concurrency, rate, burst } };
}

static void add(struct limit_settings *set, struct limit_spell s)
{
	set->schedule[set->schedule_count++] = s;
}

static void expect_caps(const struct limit_settings *set, int64_t at, int32_t concurrency, double rate, double burst,
			int64_t until)
{
	int64_t until_ms;
	struct limit_caps caps = schedule_caps(set, NOW + at, &until_ms);

	assert_int_equal(caps.concurrency, concurrency);
	assert_true(caps.rate == rate && caps.burst == burst);
	assert_int_equal(until_ms, until == NEVER ? NEVER : NOW + until);
}

static void a_spell_holds_from_its_first_moment_up_to_its_last(void **state)
{
	struct limit_settings set = settings(50, 10, 20);

	(void)state;
	expect_caps(&set, 0, 50, 10, 20, NEVER);
	add(&set, spell(100, 200, 500, -1, -1));
	add(&set, spell(200, 300, -1, 100, 40));
	add(&set, spell(400, 500, -1, -1, 7));
	expect_caps(&set, 99, 50, 10, 20, 100);
	expect_caps(&set, 100, 500, 10, 20, 200);
	expect_caps(&set, 199, 500, 10, 20, 200);
	expect_caps(&set, 200, 50, 100, 40, 300);
	expect_caps(&set, 300, 50, 10, 20, 400);
	expect_caps(&set, 400, 50, 10, 7, 500);
	expect_caps(&set, 500, 50, 10, 20, NEVER);
	assert_null(schedule_spell(&set, NOW + 99));
	assert_ptr_equal(schedule_spell(&set, NOW + 100), &set.schedule[0]);
	assert_ptr_equal(schedule_spell(&set, NOW + 299), &set.schedule[1]);
	assert_null(schedule_spell(&set, NOW + 300));
	assert_null(schedule_spell(&set, NOW + 500));
}

static void a_rate_without_a_burst_has_a_seconds_worth(void **state)
{
	struct limit_settings set = settings(-1, -1, -1);

	(void)state;
	add(&set, spell(0, 100, -1, 30, -1));
	add(&set, spell(100, 200, -1, 0.1, -1));
	expect_caps(&set, 0, -1, 30, 30, 100);
	expect_caps(&set, 100, -1, 0.1, 1, 200);
	expect_caps(&set, 200, -1, -1, -1, NEVER);
	set.caps.rate = 5;
	expect_caps(&set, 0, -1, 30, 30, 100);
	expect_caps(&set, 200, -1, 5, 5, NEVER);
	/* The limit's own burst is one that was set. */
	set.caps.burst = 2;
	expect_caps(&set, 0, -1, 30, 2, 100);
}

static void spells_are_put_in_order_and_those_over_forgotten(void **state)
{
	(void)state;
	draw_begin();
	for (int n = 0; n < 200; n++) {
		struct limit_settings set = settings(1, -1, -1);
		size_t count = (size_t)draw(0, LIMIT_SCHEDULE_MAX), left = 0;
		int64_t now = draw(-100, 6500);
		bool used[LIMIT_SCHEDULE_MAX] = { false };

		while (set.schedule_count < count) {
			int64_t at = draw(0, LIMIT_SCHEDULE_MAX - 1);

			if (used[at])
				continue;
			used[at] = true;
			add(&set, spell(at * 100, at * 100 + 50, (int32_t)at + 1, -1, -1));
			left += at * 100 + 50 > now;
		}
		assert_int_equal(schedule_check(&set, NOW - 1000, NULL), 0);
		schedule_sort(&set);
		assert_int_equal(set.schedule_count, count);
		for (size_t i = 1; i < count; i++)
			assert_true(set.schedule[i - 1].from_at_ms < set.schedule[i].from_at_ms);
		schedule_forget(&set, NOW + now);
		assert_int_equal(set.schedule_count, left);
		for (size_t i = 0; i < left; i++)
			assert_true(set.schedule[i].until_at_ms > NOW + now);
		for (int64_t at = 0; at < LIMIT_SCHEDULE_MAX; at++) {
			int64_t until_ms;
			int32_t there = schedule_caps(&set, NOW + at * 100, &until_ms).concurrency;

			if (at * 100 + 50 > now)
				assert_int_equal(there, used[at] ? at + 1 : 1);
		}
	}
}

/* ---- what is refused ---- */

static void expect_refused(const struct limit_settings *set, const char *field, const char *why)
{
	struct error_info info = { 0 };

	assert_int_equal(schedule_check(set, NOW, &info), ERR_BAD_REQUEST);
	assert_string_equal(info.field, field);
	if (!strstr(info.message, why))
		fail_msg("\"%s\" does not say \"%s\"", info.message, why);
}

static void expect_taken(const struct limit_settings *set)
{
	struct error_info info = { 0 };

	if (schedule_check(set, NOW, &info) < 0)
		fail_msg("%s: %s", info.field, info.message);
}

static void caps_outside_their_bounds_are_refused(void **state)
{
	static const int32_t bad_concurrency[] = { 0, -2, 1000001, INT32_MAX, INT32_MIN };
	static const double bad_rate[] = { 0, -0.5, -2, 1e-7, 1000001, INFINITY, -INFINITY, NAN };
	static const double bad_burst[] = { 0, 0.99, -2, 1000001, INFINITY, -INFINITY, NAN };
	struct limit_settings set;

	(void)state;
	for (size_t i = 0; i < 5; i++) {
		set = settings(bad_concurrency[i], -1, -1);
		expect_refused(&set, "concurrency", "from 1 to 1000000");
	}
	for (size_t i = 0; i < 8; i++) {
		set = settings(-1, bad_rate[i], -1);
		expect_refused(&set, "rate", "from 0.000001 to 1000000");
	}
	for (size_t i = 0; i < 7; i++) {
		set = settings(-1, 1, bad_burst[i]);
		expect_refused(&set, "burst", "from 1 to 1000000");
	}
	set = settings(10, -1, 5);
	expect_refused(&set, "burst", "without a rate");
	set = settings(1, LIMIT_RATE_MIN, 1);
	expect_taken(&set);
	set = settings(LIMIT_CONCURRENCY_MAX, LIMIT_RATE_MAX, LIMIT_BURST_MAX);
	expect_taken(&set);
	set = settings(-1, -1, -1);
	expect_taken(&set);
}

static void a_spell_that_makes_no_sense_is_refused_by_its_number(void **state)
{
	static const struct {
		struct limit_spell spell;
		const char *field, *why;
	} bad[] = {
		{ { NOW + 100, NOW + 100, { 1, -1, -1 } }, "schedule[1].until_at_ms", "after" },
		{ { NOW + 100, NOW + 99, { 1, -1, -1 } }, "schedule[1].until_at_ms", "after" },
		{ { NOW - 100, NOW, { 1, -1, -1 } }, "schedule[1].until_at_ms", "over already" },
		{ { 0, NOW + 100, { 1, -1, -1 } }, "schedule[1].from_at_ms", "moment" },
		{ { INT64_MIN, NOW + 100, { 1, -1, -1 } }, "schedule[1].from_at_ms", "moment" },
		{ { NOW + 100, NOW + 200, { -1, -1, -1 } }, "schedule[1]", "neither" },
		{ { NOW + 100, NOW + 200, { 0, -1, -1 } }, "schedule[1].concurrency", "from 1" },
		{ { NOW + 100, NOW + 200, { 1, 0, -1 } }, "schedule[1].rate", "from 0.000001" },
		{ { NOW + 100, NOW + 200, { 1, 1, NAN } }, "schedule[1].burst", "from 1" },
		{ { NOW + 100, NOW + 200, { 1, -1, 5 } }, "schedule[1].burst", "without a rate" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct limit_settings set = settings(50, -1, -1);

		add(&set, spell(1000, 2000, 5, -1, -1));
		add(&set, bad[i].spell);
		expect_refused(&set, bad[i].field, bad[i].why);
	}
}

static void spells_that_overlap_are_refused_with_both_their_names(void **state)
{
	static const int64_t bad[][2] = { { 150, 250 }, { 50, 101 }, { 199, 300 },
					  { 120, 130 }, { 50, 300 }, { 100, 200 } };
	static const int64_t good[][2] = { { 50, 100 }, { 200, 300 } };

	(void)state;
	for (size_t i = 0; i < 6; i++) {
		struct limit_settings set = settings(50, -1, -1);

		add(&set, spell(1000, 2000, 5, -1, -1));
		add(&set, spell(100, 200, 5, -1, -1));
		add(&set, spell(500, 600, 5, -1, -1));
		add(&set, spell(bad[i][0], bad[i][1], 5, -1, -1));
		expect_refused(&set, "schedule[3]", "overlaps schedule[1]");
		set.schedule[3] = spell(good[i % 2][0], good[i % 2][1], 5, -1, -1);
		expect_taken(&set);
	}
}

static void so_many_spells_and_no_more(void **state)
{
	struct limit_settings set = settings(50, -1, -1);

	(void)state;
	for (int i = LIMIT_SCHEDULE_MAX; i > 0; i--)
		add(&set, spell(i * 10, i * 10 + 10, 5, -1, -1));
	expect_taken(&set);
	set.schedule_count++;
	expect_refused(&set, "schedule", "more than 64");
}

static void one_that_began_already_is_fine(void **state)
{
	struct limit_settings set = settings(50, -1, -1);

	(void)state;
	add(&set, spell(-1000, 1, 5, -1, -1));
	add(&set, (struct limit_spell){ NOW + 1, INT64_MAX, { -1, 3, 3 } });
	expect_taken(&set);
	expect_caps(&set, 1, 50, 3, 3, INT64_MAX - NOW);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_spell_holds_from_its_first_moment_up_to_its_last),
		cmocka_unit_test(a_rate_without_a_burst_has_a_seconds_worth),
		cmocka_unit_test(spells_are_put_in_order_and_those_over_forgotten),
		cmocka_unit_test(caps_outside_their_bounds_are_refused),
		cmocka_unit_test(a_spell_that_makes_no_sense_is_refused_by_its_number),
		cmocka_unit_test(spells_that_overlap_are_refused_with_both_their_names),
		cmocka_unit_test(so_many_spells_and_no_more),
		cmocka_unit_test(one_that_began_already_is_fine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
