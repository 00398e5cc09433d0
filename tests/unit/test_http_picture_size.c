/* How large a picture is, by its first bytes: right for each format, and nothing at all for what is cut short or lies.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proto/base/clean.h"
#include "server/http/picture_size.h"

#define JFIF "\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
/* A frame of 720 × 1280, and what follows. */
#define FRAME(marker) "\xff" marker "\0\x11\x08\x05\0\x02\xd0\x03"
/* Exif with one entry, the orientation, in either order of bytes. */
#define EXIF_LITTLE(o)   \
	"\xff\xe1\0\x22" \
	"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0" o "\0\0\0\0\0\0\0"
#define EXIF_BIG(o)      \
	"\xff\xe1\0\x22" \
	"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0" o "\0\0\0\0\0\0"
/* A directory at its 12th byte, behind the four of the next segment's head. */
#define EXIF_HEAD "Exif\0\0II*\0\x0c\0\0\0"
#define ROW(bytes, width, height)                           \
	{                                                   \
		{ bytes, sizeof(bytes) - 1 }, width, height \
	}

static const struct {
	struct slice bytes;
	int width, height; /* 0: not known */
} rows[] = {
	ROW("\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\2\x80\0\0\1\x68", 640, 360),
	ROW("GIF89a\x80\2\x68\1", 640, 360),
	ROW("RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\1\x2a\x80\x42\x68\x81", 640, 360),
	ROW("RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f\x7f\xc2\x59\0", 640, 360),
	ROW("RIFF\0\0\0\0WEBPVP8X\0\0\0\0\0\0\0\0\x7f\2\0\x67\1\0", 640, 360),
	ROW("\0\0\0\x1c"
	    "ftypavif\0\0\0\0 \0\0\0\x14ispe\0\0\0\0\0\0\2\x80\0\0\1\x68",
	    640, 360),
	ROW("\xff\xd8" JFIF FRAME("\xc0"), 720, 1280),
	ROW("\xff\xd8" JFIF "\xff\xff" FRAME("\xc2"), 720, 1280),
	ROW("\xff\xd8" JFIF "\xff\xc4\0\4xx" FRAME("\xc1"), 720, 1280),
	ROW("\xff\xd8" EXIF_LITTLE("\1") FRAME("\xc0"), 720, 1280),
	ROW("\xff\xd8" EXIF_LITTLE("\6") FRAME("\xc0"), 1280, 720),
	ROW("\xff\xd8" EXIF_BIG("\x8") FRAME("\xc0"), 1280, 720),
	ROW("\xff\xd8" EXIF_BIG("\x3") FRAME("\xc0"), 720, 1280),
	/* Only the first Exif counts, and only what lies in its own segment: this one ends before its directory. */
	ROW("\xff\xd8" EXIF_LITTLE("\1") EXIF_LITTLE("\6") FRAME("\xc0"), 720, 1280),
	ROW("\xff\xd8\xff\xe1\0\x10" EXIF_HEAD "\xff\xe0\0\x14\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0" FRAME("\xc0"),
	    720, 1280),
	/* Lies and other things. */
	ROW("\xff\xd8\xff\xe0\0\1\xff\xc0", 0, 0),
	ROW("\xff\xd8\xff\xe0\xff\xff", 0, 0),
	ROW("\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\0\0\0\1\x68", 0, 0),
	ROW("\x89PNG\r\n\x1a\n\0\0\0\rIHDR\xff\xff\xff\xff\0\0\1\x68", 0, 0),
	ROW("\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\1\0\0\0\0\1\x68", 0, 0),
	ROW("<svg width=\"5\" height=\"5\"/>", 0, 0),
	ROW("", 0, 0),
};

static void test_each_format_says_it(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct picture_size size = { 0 };

		assert_int_equal(picture_size_read(rows[i].bytes, &size), rows[i].width > 0);
		if (size.width != rows[i].width || size.height != rows[i].height)
			fail_msg("%zu: %d x %d", i, size.width, size.height);
	}
}

/* In memory of exactly that size, where reading on would be found. */
static void test_what_is_cut_short_says_nothing(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		for (size_t n = 0; rows[i].width > 0 && n < rows[i].bytes.size; n++) {
			struct picture_size size = { 0 };
			uint8_t *cut = malloc(n > 0 ? n : 1);

			assert_non_null(cut);
			memcpy(cut, rows[i].bytes.data, n);
			/* The last byte of a frame's head is none of its size. */
			if (picture_size_read(slice_of(cut, n), &size) && n + 1 < rows[i].bytes.size)
				fail_msg("%zu: %d x %d from %zu bytes", i, size.width, size.height, n);
			free(cut);
		}
}

static void test_bytes_of_any_kind_do_no_harm(void **state)
{
	unsigned seed = 1;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		struct slice from = rows[(size_t)round % ARRAY_SIZE(rows)].bytes;
		uint8_t *bytes = malloc(from.size > 0 ? from.size : 1);
		struct picture_size size;

		assert_non_null(bytes);
		memcpy(bytes, from.size > 0 ? from.data : "", from.size);
		for (int i = 0; i < 3 && from.size > 0; i++) {
			seed = seed * 1103515245u + 12345u;
			bytes[(seed >> 8) % from.size] = (uint8_t)(seed >> 16);
		}
		if (picture_size_read(slice_of(bytes, from.size), &size))
			assert_true(size.width > 0 && size.width <= 65535 && size.height > 0 && size.height <= 65535);
		free(bytes);
	}
}

/* A directory of as many entries as can be claimed, in which one says that the picture stands on its side. */
static bool is_turned_by_entry(size_t which)
{
	static const char head[] = "\xff\xd8\xff\xe1\xff\xff"
				   "Exif\0\0II*\0\x08\0\0\0\xff\xff";
	static uint8_t bytes[2 + 2 + 65535 + 9];
	uint8_t *entry = bytes + sizeof(head) - 1 + which * 12;
	struct picture_size size = { 0 };

	memset(bytes, 0, sizeof(bytes));
	memcpy(bytes, head, sizeof(head) - 1);
	memcpy(entry, "\x12\1\3\0\1\0\0\0\6\0\0", 12);
	memcpy(bytes + 2 + 2 + 65535, FRAME("\xc0"), 9);
	assert_true(picture_size_read(slice_of(bytes, sizeof(bytes)), &size));
	return size.width == 1280;
}

/* How many entries are looked at is shown by what is found in them: one directory, and 256 of it, whatever it claims.
 */
static void test_a_crafted_directory_costs_a_bounded_number_of_steps(void **state)
{
	(void)state;
	assert_true(is_turned_by_entry(0));
	assert_true(is_turned_by_entry(255));
	assert_false(is_turned_by_entry(256));
	assert_false(is_turned_by_entry(5000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_format_says_it),
		cmocka_unit_test(test_what_is_cut_short_says_nothing),
		cmocka_unit_test(test_bytes_of_any_kind_do_no_harm),
		cmocka_unit_test(test_a_crafted_directory_costs_a_bounded_number_of_steps),
	};

	return cmocka_run_group_tests_name("http/picture_size", tests, NULL, NULL);
}
