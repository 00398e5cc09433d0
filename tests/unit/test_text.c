/* Hexadecimal, base64url, UTF-8 and names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "proto/base/clean.h"
#include "proto/base/text.h"
#include "proto/error.h"

static void test_hex_round_trip(void **state)
{
	uint8_t all[256], back[256];
	char text[512];

	(void)state;
	for (int i = 0; i < 256; i++)
		all[i] = (uint8_t)i;
	hex_encode(all, sizeof(all), text);
	assert_memory_equal(text, "000102030405060708090a0b0c0d0e0f10", 34);
	assert_memory_equal(text + 508, "feff", 4);
	assert_int_equal(hex_decode(slice_of(text, sizeof(text)), back, sizeof(back)), 0);
	assert_memory_equal(back, all, sizeof(all));
}

/* Four bytes are written at once: of no size is more written than belongs to it. */
static void test_hex_of_any_size(void **state)
{
	static const uint8_t bytes[] = { 0x09, 0x9a, 0xa0, 0xf9, 0x10, 0x2b, 0xc3, 0x4d, 0xe5 };
	static const char whole[] = "099aa0f9102bc34de5";

	(void)state;
	for (size_t size = 0; size <= sizeof(bytes); size++) {
		char text[sizeof(whole)];

		memset(text, '#', sizeof(text));
		hex_encode(bytes, size, text);
		assert_memory_equal(text, whole, 2 * size);
		assert_int_equal(text[2 * size], '#');
	}
}

static void test_hex_takes_either_case_and_nothing_else(void **state)
{
	static const char *const bad[] = {
		"", "a", "abc", "abcde", "ag", "0x", " 1", "1 ", "-1", "+1", "::", "//", "@A"
	};
	uint8_t two[2];

	(void)state;
	assert_int_equal(hex_decode(slice_str("aBFf"), two, 2), 0);
	assert_int_equal(two[0], 0xab);
	assert_int_equal(two[1], 0xff);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(hex_decode(slice_str(bad[i]), two, strlen(bad[i]) == 2 ? 1 : 2), ERR_BAD_REQUEST);
	assert_int_equal(hex_decode(slice_str("abcd"), two, 1), ERR_BAD_REQUEST);
	assert_int_equal(hex_decode(slice_of("a\0", 2), two, 1), ERR_BAD_REQUEST);
	assert_int_equal(hex_decode(slice_of(NULL, 0), two, 0), 0);
}

/* The test vectors of RFC 4648 section 10, without their padding, and the two characters that differ from base64. */
static void test_base64url_of_known_texts(void **state)
{
	static const struct {
		const char *plain, *text;
	} known[] = {
		{ "", "" },
		{ "f", "Zg" },
		{ "fo", "Zm8" },
		{ "foo", "Zm9v" },
		{ "foob", "Zm9vYg" },
		{ "fooba", "Zm9vYmE" },
		{ "foobar", "Zm9vYmFy" },
		{ "\xfb\xff\xbf", "-_-_" },
		{ "\xff\xff", "__8" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		size_t size = strlen(known[i].plain);
		char text[16];
		uint8_t back[16];

		assert_int_equal(BASE64URL_SIZE(size), strlen(known[i].text));
		base64url_encode((const uint8_t *)known[i].plain, size, text);
		assert_memory_equal(text, known[i].text, strlen(known[i].text));
		assert_int_equal(base64url_decode(slice_str(known[i].text), back, size), 0);
		assert_memory_equal(back, known[i].plain, size);
	}
}

static void test_base64url_round_trip_of_every_length(void **state)
{
	uint8_t data[100], back[100];
	char text[140];

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 151 + 7);
	for (size_t size = 0; size <= sizeof(data); size++) {
		struct slice whole = slice_of(text, BASE64URL_SIZE(size));

		base64url_encode(data, size, text);
		assert_int_equal(base64url_decode(whole, back, size), 0);
		assert_memory_equal(back, data, size);
		assert_int_equal(base64url_decode(whole, back, size + 1), ERR_BAD_REQUEST);
		if (size > 0)
			assert_int_equal(base64url_decode(whole, back, size - 1), ERR_BAD_REQUEST);
	}
	assert_int_equal(BASE64URL_SIZE(32), 43);
}

/* Of all texts with the right length, exactly one names given bytes. */
static void test_base64url_has_one_form(void **state)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	unsigned taken = 0;
	uint8_t one;

	(void)state;
	for (size_t i = 0; i < 64; i++) {
		for (size_t j = 0; j < 64; j++) {
			char text[2] = { alphabet[i], alphabet[j] }, again[2];

			if (base64url_decode(slice_of(text, 2), &one, 1) < 0)
				continue;
			base64url_encode(&one, 1, again);
			assert_memory_equal(again, text, 2);
			taken++;
		}
	}
	assert_int_equal(taken, 256);
	/* one bit too many in the last character of two bytes */
	assert_int_equal(base64url_decode(slice_str("__9"), (uint8_t[2]){ 0 }, 2), ERR_BAD_REQUEST);
	for (unsigned c = 0; c < 256; c++) {
		char text[2] = { (char)c, 'A' };

		if (c != 0 && strchr(alphabet, (int)c))
			continue;
		assert_int_equal(base64url_decode(slice_of(text, 2), &one, 1), ERR_BAD_REQUEST);
	}
}

static void test_utf8_well_formed(void **state)
{
	static const char *const good[] = {
		"",
		"plain",
		"\x7f",
		"\xc2\x80",
		"\xdf\xbf",
		"\xe0\xa0\x80",
		"\xed\x9f\xbf",
		"\xee\x80\x80",
		"\xef\xbf\xbf",
		"\xf0\x90\x80\x80",
		"\xf4\x8f\xbf\xbf",
		"Gr\xc3\xbc\xc3\x9f\x65 \xe2\x82\xac \xf0\x9f\x8e\xac",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(utf8_valid(slice_str(good[i])));
	assert_true(utf8_valid(slice_of("a\0b", 3)));
	assert_true(utf8_valid(slice_of(NULL, 0)));
}

static void test_utf8_malformed(void **state)
{
	static const char *const bad[] = {
		"\x80",
		"\xbf",
		"\xc0\x80",
		"\xc1\xbf",
		"\xc2",
		"\xc2\x41",
		"\xc2\xc2",
		"\xe0\x9f\xbf",
		"\xe0\x80\x80",
		"\xe2\x82",
		"\xe2\x82\x41",
		"\xed\xa0\x80",
		"\xed\xbf\xbf",
		"\xf0\x8f\xbf\xbf",
		"\xf0\x9f\x8e",
		"\xf0\x9f\x41\x80",
		"\xf0\x9f\x8e\x41",
		"\xf4\x90\x80\x80",
		"\xf5\x80\x80\x80",
		"\xfe",
		"\xff",
		"good\xff",
		"\xe2\x82\xac\xac",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(utf8_valid(slice_str(bad[i])));
	/* the slice ends where it says, whatever stands behind */
	assert_false(utf8_valid(slice_of("\xe2\x82\xac", 2)));
}

/* Every code point from 0 to 0x10ffff but the surrogates has one form, and every other sequence of that length none. */
static void test_utf8_takes_every_code_point(void **state)
{
	(void)state;
	for (uint32_t c = 0x80; c <= 0x10ffff; c++) {
		char text[4];
		size_t n = 0;

		if (c >= 0x10000) {
			text[n++] = (char)(0xf0 | c >> 18);
			text[n++] = (char)(0x80 | (c >> 12 & 63));
		} else if (c >= 0x800) {
			text[n++] = (char)(0xe0 | c >> 12);
		}
		text[n] = (char)(n ? 0x80 | (c >> 6 & 63) : 0xc0 | c >> 6);
		text[n + 1] = (char)(0x80 | (c & 63));
		if (utf8_valid(slice_of(text, n + 2)) != (c < 0xd800 || c > 0xdfff))
			fail_msg("U+%04X", c);
	}
}

static void test_names(void **state)
{
	char long_name[129];

	(void)state;
	memset(long_name, 'n', sizeof(long_name));
	assert_true(name_valid(slice_str("a")));
	assert_true(name_valid(slice_str("_webhooks")));
	assert_true(name_valid(slice_str("Team-7.videos:hd_v2")));
	assert_true(name_valid(slice_of(long_name, 128)));
	assert_false(name_valid(slice_of(long_name, 129)));
	assert_false(name_valid(slice_str("")));
	assert_false(name_valid(slice_of(NULL, 0)));
	assert_false(name_valid(slice_of("a\0b", 3)));
	/* what a browser would fold away */
	assert_false(name_valid(slice_str(".")));
	assert_false(name_valid(slice_str("..")));
	assert_false(name_valid(slice_str("...")));
	assert_true(name_valid(slice_str("..a")));
	assert_true(name_valid(slice_str(".:.")));
	for (unsigned c = 0; c < 256; c++) {
		char text[3] = { 'a', (char)c, 'b' };
		bool allowed =
			c != 0 && strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-", (int)c);

		assert_int_equal(name_valid(slice_of(text, 3)), allowed);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hex_round_trip),
		cmocka_unit_test(test_hex_of_any_size),
		cmocka_unit_test(test_hex_takes_either_case_and_nothing_else),
		cmocka_unit_test(test_base64url_of_known_texts),
		cmocka_unit_test(test_base64url_round_trip_of_every_length),
		cmocka_unit_test(test_base64url_has_one_form),
		cmocka_unit_test(test_utf8_well_formed),
		cmocka_unit_test(test_utf8_malformed),
		cmocka_unit_test(test_utf8_takes_every_code_point),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
