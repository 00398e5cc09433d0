/* Durations and sizes as people write them, in both directions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "proto/base/clean.h"
#include "proto/base/units.h"
#include "proto/error.h"

struct known {
	const char *text;
	int64_t value;
};

static void test_durations(void **state)
{
	static const struct known known[] = {
		{ "0", 0 },	   { "0s", 0 },		{ "250ms", 250 },   { "1s", 1000 },
		{ "30s", 30000 },  { "5m", 300000 },	{ "5min", 300000 }, { "1.5h", 5400000 },
		{ "2h", 7200000 }, { "7d", 604800000 }, { "0.001s", 1 },    { "36500d", 3153600000000 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		int64_t ms = -1;

		assert_int_equal(units_parse_duration(slice_str(known[i].text), &ms), 0);
		assert_int_equal(ms, known[i].value);
	}
}

static void test_sizes(void **state)
{
	static const struct known known[] = {
		{ "0", 0 },
		{ "512", 512 },
		{ "512B", 512 },
		{ "1KiB", 1024 },
		{ "64KiB", 65536 },
		{ "4MiB", 4194304 },
		{ "1.5MiB", 1572864 },
		{ "64GiB", 68719476736 },
		{ "2TiB", 2199023255552 },
		{ "1kB", 1000 },
		{ "3MB", 3000000 },
		{ "1GB", 1000000000 },
		{ "1TB", 1000000000000 },
		{ "4611686018427387904", INT64_C(1) << 62 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		int64_t bytes = -1;

		assert_int_equal(units_parse_size(slice_str(known[i].text), &bytes), 0);
		assert_int_equal(bytes, known[i].value);
	}
}

/* Refused as either; what was there before is not touched. */
static void test_what_is_neither(void **state)
{
	static const char *const bad[] = {
		"",	  " ",
		"s",	  "ms",
		"-1",	  "-1s",
		"+1s",	  "+1",
		" 1s",	  " 1",
		"1s ",	  "1x",
		"1 x",	  "1ss",
		"1S",	  "1H",
		"1.2.3s", "1.2.3",
		"..1",	  ".5s",
		".5",	  "inf",
		"infs",	  "nan",
		"nans",	  "0x10",
		"0x10s",  "0X1p3s",
		"1e3",	  "1e3s",
		"1E3kB",  "1,5h",
		"1h30m",  "1kib",
		"1KIB",	  "1Kib",
		"1mb",	  "1 KiB x",
		"KiB",	  "9e999s",
		"1e999",  "99999999999999999999999999",
		"1d1",	  "999999999999999999999999999999999999999s",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		int64_t value = 77;

		if (units_parse_duration(slice_str(bad[i]), &value) != ERR_BAD_REQUEST)
			fail_msg("\"%s\" passed for a duration", bad[i]);
		if (units_parse_size(slice_str(bad[i]), &value) != ERR_BAD_REQUEST)
			fail_msg("\"%s\" passed for a size", bad[i]);
		assert_int_equal(value, 77);
	}
}

static void test_a_duration_needs_its_unit(void **state)
{
	int64_t ms;

	(void)state;
	assert_int_equal(units_parse_duration(slice_str("30"), &ms), ERR_BAD_REQUEST);
	assert_int_equal(units_parse_duration(slice_str("1.5"), &ms), ERR_BAD_REQUEST);
	assert_int_equal(units_parse_duration(slice_str("30B"), &ms), ERR_BAD_REQUEST);
	assert_int_equal(units_parse_size(slice_str("30s"), &ms), ERR_BAD_REQUEST);
}

static void test_the_upper_ends(void **state)
{
	int64_t value;

	(void)state;
	assert_int_equal(units_parse_duration(slice_str("36500.1d"), &value), ERR_BAD_REQUEST);
	assert_int_equal(units_parse_duration(slice_str("3153600000001ms"), &value), ERR_BAD_REQUEST);
	assert_int_equal(units_parse_duration(slice_str("3153600000000ms"), &value), 0);
	assert_int_equal(units_parse_size(slice_str("4611686018427389952"), &value), ERR_BAD_REQUEST);
	assert_int_equal(units_parse_size(slice_str("4194304TiB"), &value), 0);
	assert_int_equal(value, INT64_C(1) << 62);
	assert_int_equal(units_parse_size(slice_str("4194305TiB"), &value), ERR_BAD_REQUEST);
}

/* A slice is as long as it says: no NUL ends it early, and none is needed behind it. */
static void test_slices_are_read_to_their_end(void **state)
{
	int64_t value;

	(void)state;
	assert_int_equal(units_parse_size(slice_of("5\0garbage", 9), &value), ERR_BAD_REQUEST);
	assert_int_equal(units_parse_duration(slice_of("5s\0", 3), &value), ERR_BAD_REQUEST);
	assert_int_equal(units_parse_duration(slice_of("5sx", 2), &value), 0);
	assert_int_equal(value, 5000);
	assert_int_equal(units_parse_size(slice_of(NULL, 0), &value), ERR_BAD_REQUEST);
}

static void test_format_durations(void **state)
{
	static const struct known known[] = {
		{ "0 ms", 0 },
		{ "0 ms", -5 },
		{ "850 ms", 850 },
		{ "999 ms", 999 },
		{ "1 s", 1000 },
		{ "12 s", 12345 },
		{ "59 s", 59499 },
		{ "1 min 0 s", 59500 },
		{ "3 min 20 s", 200000 },
		{ "1 h 0 min", 3600000 },
		{ "2 h 5 min", 7500000 },
		{ "1 d 0 h", 86400000 },
		{ "4 d 3 h", 356400000 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		assert_string_equal(units_format_duration(known[i].value).text, known[i].text);
	assert_string_equal(units_format_duration(INT64_MAX).text, "106751991167 d 7 h");
	assert_string_equal(units_format_duration(INT64_MIN).text, "0 ms");
}

static void test_format_sizes(void **state)
{
	static const struct known known[] = {
		{ "0 B", 0 },
		{ "512 B", 512 },
		{ "1023 B", 1023 },
		{ "1.0 KiB", 1024 },
		{ "1.5 KiB", 1536 },
		{ "20.0 MiB", 20971520 },
		{ "1.0 MiB", 1048576 },
		{ "1.0 MiB", 1048575 },
		{ "1.0 GiB", 1073741823 },
		{ "64.0 GiB", 68719476736 },
		{ "2048.0 TiB", 2251799813685248 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		assert_string_equal(units_format_size(known[i].value).text, known[i].text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_durations),	 cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_what_is_neither),	 cmocka_unit_test(test_a_duration_needs_its_unit),
		cmocka_unit_test(test_the_upper_ends),	 cmocka_unit_test(test_slices_are_read_to_their_end),
		cmocka_unit_test(test_format_durations), cmocka_unit_test(test_format_sizes),
	};

	return cmocka_run_group_tests_name("units", tests, NULL, NULL);
}
