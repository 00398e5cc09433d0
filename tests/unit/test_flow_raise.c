/* When a schedule lets more calls be under way than before, and how many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "server/flow/adapt.h"
#include "server/flow/raise.h"

#define NOW INT64_C(1700000000000)

static struct limit_record plain(int32_t concurrency)
{
	return (struct limit_record){ .settings.caps = { .concurrency = concurrency, .rate = -1, .burst = -1 } };
}

/* From so long after NOW until then. */
static void add_spell(struct limit_record *l, int64_t from_ms, int64_t until_ms, int32_t concurrency, double rate)
{
	l->settings.schedule[l->settings.schedule_count++] = (struct limit_spell){
		.from_at_ms = NOW + from_ms,
		.until_at_ms = NOW + until_ms,
		.caps = { .concurrency = concurrency, .rate = rate, .burst = -1 },
	};
}

static void expect(const struct limit_record *l, int64_t run_ms, int64_t now_ms, int64_t at_ms, int64_t from,
		   int64_t to)
{
	struct raise r;

	assert_true(raise_next(l, run_ms, NOW + now_ms, &r));
	assert_int_equal(r.at_ms - NOW, at_ms);
	assert_int_equal(r.from, from);
	assert_int_equal(r.to, to);
}

static void expect_none(const struct limit_record *l, int64_t now_ms)
{
	struct raise r;

	assert_false(raise_next(l, 0, NOW + now_ms, &r));
}

static void test_a_spell_that_allows_more_is_one(void **state)
{
	struct limit_record l = plain(10);

	(void)state;
	expect_none(&l, 0);
	add_spell(&l, 1000, 2000, 50, -1);
	expect(&l, 0, 0, 1000, 10, 50);
	expect(&l, 0, 999, 1000, 10, 50);
	/* Once it has come it is none any more, and its end lets fewer through. */
	expect_none(&l, 1000);
	expect_none(&l, 5000);
}

static void test_the_end_of_a_spell_that_allowed_less_is_one(void **state)
{
	struct limit_record l = plain(10);

	(void)state;
	add_spell(&l, 1000, 2000, 3, -1);
	expect(&l, 0, 0, 2000, 3, 10);
	expect(&l, 0, 1999, 2000, 3, 10);
	expect_none(&l, 2000);
}

static void test_the_first_of_several_is_told(void **state)
{
	struct limit_record l = plain(10);

	(void)state;
	add_spell(&l, 1000, 2000, 5, -1);
	add_spell(&l, 2000, 3000, 20, -1);
	add_spell(&l, 3000, 4000, 30, -1);
	expect(&l, 0, 0, 2000, 5, 20);
	expect(&l, 0, 2000, 3000, 20, 30);
	expect_none(&l, 3000);
}

static void test_no_bound_is_the_most_there_is(void **state)
{
	struct limit_record l = plain(-1);

	(void)state;
	add_spell(&l, 1000, 2000, 5, -1);
	expect(&l, 0, 0, 2000, 5, LIMIT_CONCURRENCY_MAX);
}

/* Ten a second of three seconds each keep thirty slots busy; of which nothing is known, as many as begin at once. */
static void test_a_rate_counts_as_the_calls_that_it_keeps_busy(void **state)
{
	struct limit_record l = plain(100);
	struct raise r;

	(void)state;
	l.settings.caps.rate = 2;
	add_spell(&l, 1000, 2000, -1, 10);
	expect(&l, 3000, 0, 1000, 6, 30);
	expect(&l, 0, 0, 1000, 2, 10);
	/* The concurrency bounds it, before as well as after. */
	expect(&l, 40000, 0, 1000, 80, 100);
	l.settings.caps.concurrency = 50;
	assert_false(raise_next(&l, 40000, NOW, &r));
}

static void test_what_was_learned_bounds_it_as_far_as_the_spell_does_not_know_better(void **state)
{
	struct limit_record l = plain(-1);

	(void)state;
	l.settings.has_adaptive = true;
	l.settings.adaptive = (struct adaptive_settings){ .min = 2, .max = 40 };
	adapt_begin(&l.adapt, &l.settings.adaptive, NOW);
	adapt_hint(&l.adapt, &l.settings.adaptive, 8, NOW);
	add_spell(&l, 1000, 2000, 5, -1);
	expect(&l, 0, 0, 2000, 5, 8);
	/* It says that the API bears more: that is believed, up to the most that may be learned. */
	l.settings.schedule[0].caps.concurrency = 100;
	expect(&l, 0, 0, 1000, 8, 40);
}

/* A hold or a breaker is of now. */
static void test_what_holds_it_up_does_not_matter(void **state)
{
	struct limit_record l = plain(10);

	(void)state;
	l.held_until_ms = NOW + 500000;
	add_spell(&l, 1000, 2000, 50, -1);
	expect(&l, 0, 0, 1000, 10, 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_spell_that_allows_more_is_one),
		cmocka_unit_test(test_the_end_of_a_spell_that_allowed_less_is_one),
		cmocka_unit_test(test_the_first_of_several_is_told),
		cmocka_unit_test(test_no_bound_is_the_most_there_is),
		cmocka_unit_test(test_a_rate_counts_as_the_calls_that_it_keeps_busy),
		cmocka_unit_test(test_what_was_learned_bounds_it_as_far_as_the_spell_does_not_know_better),
		cmocka_unit_test(test_what_holds_it_up_does_not_matter),
	};

	return cmocka_run_group_tests_name("flow raise", tests, NULL, NULL);
}
