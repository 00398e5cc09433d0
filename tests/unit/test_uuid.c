/* Ids: their order is the order of making, whatever the clock does; their text is one form. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "proto/base/clean.h"
#include "proto/base/uuid.h"
#include "proto/error.h"

#define NOW_MS INT64_C(1750000000123)

static const uint8_t no_random[UUID_RANDOM_SIZE];
static const uint8_t all_random[UUID_RANDOM_SIZE] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static void draw(uint64_t *seed, uint8_t ret[UUID_RANDOM_SIZE])
{
	for (int i = 0; i < UUID_RANDOM_SIZE; i++)
		ret[i] = (uint8_t)(next_random(seed) >> 32);
}

static void assert_is_v7(const struct uuid *u)
{
	assert_int_equal(u->bytes[6] >> 4, 7);
	assert_int_equal(u->bytes[8] >> 6, 2);
}

static void assert_after(const struct uuid *u, const struct uuid *before)
{
	assert_is_v7(u);
	assert_true(uuid_compare(u, before) > 0);
	assert_true(uuid_compare(before, u) < 0);
	assert_false(uuid_equal(u, before));
}

static void test_the_moment_stands_in_front(void **state)
{
	struct uuid_gen gen = { 0 };
	struct uuid u;

	(void)state;
	uuid_v7(&gen, NOW_MS, all_random, &u);
	assert_is_v7(&u);
	assert_int_equal(uuid_ms(&u), NOW_MS);
	assert_int_equal(u.bytes[0], NOW_MS >> 40 & 0xff);
	assert_int_equal(u.bytes[5], NOW_MS & 0xff);
	uuid_v7(&gen, NOW_MS + 1, no_random, &u);
	assert_int_equal(uuid_ms(&u), NOW_MS + 1);
}

static void test_random_bytes_are_used(void **state)
{
	struct uuid_gen a = { 0 }, b = { 0 };
	struct uuid u, v;

	(void)state;
	uuid_v7(&a, NOW_MS, no_random, &u);
	for (int i = 0; i < UUID_RANDOM_SIZE; i++) {
		uint8_t random[UUID_RANDOM_SIZE] = { 0 };

		b = (struct uuid_gen){ 0 };
		random[i] = 0x01;
		uuid_v7(&b, NOW_MS, random, &v);
		assert_false(uuid_equal(&u, &v));
	}
}

/* Counting up from any draw, also the highest, must not reach into the next millisecond soon. */
static void test_order_within_a_stuck_clock(void **state)
{
	const uint8_t *const draws[] = { no_random, all_random };

	(void)state;
	for (size_t d = 0; d < ARRAY_SIZE(draws); d++) {
		struct uuid_gen gen = { 0 };
		struct uuid last, u;

		uuid_v7(&gen, NOW_MS, draws[d], &last);
		for (int i = 0; i < 100000; i++) {
			uuid_v7(&gen, NOW_MS, draws[d], &u);
			assert_after(&u, &last);
			assert_int_equal(uuid_ms(&u), NOW_MS);
			last = u;
		}
	}
}

static void test_order_under_a_clock_that_runs_backwards(void **state)
{
	struct uuid_gen gen = { 0 };
	struct uuid last = { { 0 } }, u;
	uint64_t seed = 7;
	uint8_t random[UUID_RANDOM_SIZE];

	(void)state;
	for (int64_t back = 0; back < 50000; back++) {
		draw(&seed, random);
		uuid_v7(&gen, NOW_MS - back, random, &u);
		assert_after(&u, &last);
		assert_int_equal(uuid_ms(&u), NOW_MS);
		last = u;
	}
	/* the clock is past the last id again: its moment counts again */
	uuid_v7(&gen, NOW_MS + 5, no_random, &u);
	assert_after(&u, &last);
	assert_int_equal(uuid_ms(&u), NOW_MS + 5);
}

static void test_order_under_any_clock(void **state)
{
	struct uuid_gen gen = { 0 };
	struct uuid last = { { 0 } }, u;
	uint64_t seed = 99;
	uint8_t random[UUID_RANDOM_SIZE];

	(void)state;
	for (int i = 0; i < 200000; i++) {
		int64_t jump = (int64_t)(next_random(&seed) % 2001) - 1000;

		draw(&seed, random);
		uuid_v7(&gen, NOW_MS + jump, random, &u);
		assert_after(&u, &last);
		last = u;
	}
}

/* A clock that was never set, or set to before 1970, must not make ids that no later one exceeds. */
static void test_a_clock_before_the_epoch(void **state)
{
	struct uuid_gen gen = { 0 };
	struct uuid last = { { 0 } }, u;

	(void)state;
	for (int64_t now = -3; now < 3; now++) {
		uuid_v7(&gen, now, no_random, &u);
		assert_after(&u, &last);
		last = u;
	}
	uuid_v7(&gen, INT64_MIN, no_random, &u);
	assert_after(&u, &last);
	uuid_v7(&gen, NOW_MS, no_random, &u);
	assert_int_equal(uuid_ms(&u), NOW_MS);
}

static void test_counting_carries_over_version_and_variant(void **state)
{
	static const char *const steps[][2] = {
		{ "01977420-a4ab-7000-8000-000000000000", "01977420-a4ab-7000-8000-000000000001" },
		{ "01977420-a4ab-7000-8000-0000000000ff", "01977420-a4ab-7000-8000-000000000100" },
		{ "01977420-a4ab-7000-80ff-ffffffffffff", "01977420-a4ab-7000-8100-000000000000" },
		{ "01977420-a4ab-7000-bfff-ffffffffffff", "01977420-a4ab-7001-8000-000000000000" },
		{ "01977420-a4ab-70ff-bfff-ffffffffffff", "01977420-a4ab-7100-8000-000000000000" },
		{ "01977420-a4ab-7fff-bfff-ffffffffffff", "01977420-a4ac-7000-8000-000000000000" },
		{ "01977420-ffff-7fff-bfff-ffffffffffff", "01977421-0000-7000-8000-000000000000" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		struct uuid u, next;

		assert_int_equal(uuid_parse(slice_str(steps[i][0]), &u), 0);
		uuid_next(&u, &next);
		assert_string_equal(uuid_format(&next).text, steps[i][1]);
		/* in place as well */
		uuid_next(&u, &u);
		assert_true(uuid_equal(&u, &next));
	}
}

/* A run of ids as of one batch, and the generator told of them after. */
static void test_a_run_and_its_advance(void **state)
{
	struct uuid_gen gen = { 0 };
	struct uuid u, first, early;

	(void)state;
	uuid_v7(&gen, NOW_MS, all_random, &first);
	u = first;
	for (int i = 1; i < 1000; i++)
		uuid_next(&u, &u);
	uuid_gen_advance(&gen, &u);
	uuid_v7(&gen, NOW_MS, no_random, &early);
	assert_after(&early, &u);
	/* an earlier one changes nothing */
	u = early;
	uuid_gen_advance(&gen, &first);
	uuid_v7(&gen, NOW_MS, no_random, &early);
	assert_after(&early, &u);
}

static void test_text_round_trip(void **state)
{
	struct uuid u = { { 0x01, 0x97, 0x74, 0x20, 0xa4, 0xab, 0x7c, 0xde, 0x8f, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab,
			    0xff } };
	struct uuid back;

	(void)state;
	assert_string_equal(uuid_format(&u).text, "01977420-a4ab-7cde-8f01-23456789abff");
	assert_int_equal(uuid_parse(slice_str("01977420-a4ab-7cde-8f01-23456789abff"), &back), 0);
	assert_true(uuid_equal(&u, &back));
	assert_int_equal(uuid_parse(slice_str("01977420-A4AB-7CDE-8F01-23456789ABFF"), &back), 0);
	assert_int_equal(uuid_compare(&u, &back), 0);
}

static void test_text_of_any_other_shape_is_refused(void **state)
{
	static const char good[] = "01977420-a4ab-7cde-8f01-23456789abff";
	struct uuid u, before;

	(void)state;
	memset(&u, 0x11, sizeof(u));
	before = u;
	for (size_t size = 0; size < UUID_TEXT_SIZE; size++)
		assert_int_equal(uuid_parse(slice_of(good, size), &u), ERR_BAD_REQUEST);
	assert_int_equal(uuid_parse(slice_of(good, sizeof(good)), &u), ERR_BAD_REQUEST);
	assert_int_equal(uuid_parse(slice_str("{1977420-a4ab-7cde-8f01-23456789abf}"), &u), ERR_BAD_REQUEST);
	assert_int_equal(uuid_parse(slice_str("01977420a4ab7cde8f0123456789abff0000"), &u), ERR_BAD_REQUEST);
	for (size_t i = 0; i < UUID_TEXT_SIZE; i++) {
		for (unsigned c = 0; c < 256; c++) {
			char text[UUID_TEXT_SIZE];
			bool hex = c != 0 && strchr("0123456789abcdefABCDEF", (int)c);
			bool dash = i == 8 || i == 13 || i == 18 || i == 23;

			memcpy(text, good, UUID_TEXT_SIZE);
			text[i] = (char)c;
			if (dash ? c == '-' : hex)
				continue;
			assert_int_equal(uuid_parse(slice_of(text, UUID_TEXT_SIZE), &u), ERR_BAD_REQUEST);
		}
	}
	assert_true(uuid_equal(&u, &before));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_moment_stands_in_front),
		cmocka_unit_test(test_random_bytes_are_used),
		cmocka_unit_test(test_order_within_a_stuck_clock),
		cmocka_unit_test(test_order_under_a_clock_that_runs_backwards),
		cmocka_unit_test(test_order_under_any_clock),
		cmocka_unit_test(test_a_clock_before_the_epoch),
		cmocka_unit_test(test_counting_carries_over_version_and_variant),
		cmocka_unit_test(test_a_run_and_its_advance),
		cmocka_unit_test(test_text_round_trip),
		cmocka_unit_test(test_text_of_any_other_shape_is_refused),
	};

	return cmocka_run_group_tests_name("uuid", tests, NULL, NULL);
}
