/* What may be shown in a browser and under which name it is saved: nothing that a stranger says is believed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "proto/base/clean.h"
#include "server/http/file_name.h"
#include "server/http/media_type.h"

#define BYTES(s) slice_of(s, sizeof(s) - 1)

static const struct {
	const char *type;
	enum media_class class;
	struct slice first;
} samples[] = {
	{ "video/mp4",
	  MEDIA_VIDEO,
	  { "\0\0\0\x20"
	    "ftypisom\0\0\2\0",
	    16 } },
	{ "video/webm", MEDIA_VIDEO, { "\x1a\x45\xdf\xa3\x9f\x42\x86\x81\1\x42\xf7\x81\1\x42\xf2\x81", 16 } },
	{ "video/quicktime",
	  MEDIA_VIDEO,
	  { "\0\0\0\x14"
	    "ftypqt  \0\0\0\0",
	    16 } },
	{ "video/ogg", MEDIA_VIDEO, { "OggS\0\2\0\0\0\0\0\0\0\0\0\0", 16 } },
	{ "image/jpeg", MEDIA_IMAGE, { "\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1", 16 } },
	{ "image/png", MEDIA_IMAGE, { "\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16 } },
	{ "image/webp", MEDIA_IMAGE, { "RIFF\x24\0\0\0WEBPVP8 ", 16 } },
	{ "image/gif", MEDIA_IMAGE, { "GIF89a\1\0\1\0\0\0\0\0\0\0", 16 } },
	{ "image/avif",
	  MEDIA_IMAGE,
	  { "\0\0\0\x1c"
	    "ftypavif\0\0\0\0",
	    16 } },
	{ "audio/mpeg", MEDIA_AUDIO, { "ID3\4\0\0\0\0\0\0\0\0\0\0\0\0", 16 } },
	{ "audio/mp4",
	  MEDIA_AUDIO,
	  { "\0\0\0\x20"
	    "ftypM4A \0\0\2\0",
	    16 } },
	{ "audio/wav", MEDIA_AUDIO, { "RIFF\x24\0\0\0WAVEfmt ", 16 } },
};

static void test_genuine_media_is_recognised(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		const struct media_type *type = media_type_find(slice_str(samples[i].type));

		assert_non_null(type);
		assert_string_equal(type->name, samples[i].type);
		assert_int_equal(type->class, samples[i].class);
		assert_true(media_type_agrees(type, samples[i].first));
		assert_ptr_equal(media_type_of_picture(samples[i].first), type->class == MEDIA_IMAGE ? type : NULL);
	}
}

static void test_media_cut_short_agrees_with_nothing(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		const struct media_type *type = media_type_find(slice_str(samples[i].type));

		assert_false(media_type_agrees(type, slice_of(samples[i].first.data, 1)));
		assert_false(media_type_agrees(type, slice_of(NULL, 0)));
		assert_null(media_type_of_picture(slice_of(NULL, 0)));
	}
}

static void test_a_document_in_disguise_is_found_out(void **state)
{
	static const char *const documents[] = { "<!doctype html><script>alert(1)</script>",
						 "<svg xmlns=\"http://www.w3.org/", "%PDF-1.7 and the rest of it",
						 "    GIF89a leading blanks" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++)
		for (size_t j = 0; j < ARRAY_SIZE(documents); j++)
			assert_false(media_type_agrees(media_type_find(slice_str(samples[i].type)),
						       slice_of(documents[j], MEDIA_SNIFF_BYTES)));
}

static void test_a_frame_of_mp3_is_told_from_other_bytes(void **state)
{
	const struct media_type *mp3 = media_type_find(slice_str("audio/mpeg"));

	(void)state;
	assert_true(media_type_agrees(mp3, BYTES("\xff\xfb\x90\x64")));
	assert_true(media_type_agrees(mp3, BYTES("\xff\xf3\x90\x64")));
	assert_false(media_type_agrees(mp3, BYTES("\xff\xd8\xff\xe0"))); /* JPEG */
	assert_false(media_type_agrees(mp3, BYTES("\xff\xfe<\0")));	 /* UTF-16 */
}

static void test_parameters_and_case_do_not_matter(void **state)
{
	(void)state;
	assert_string_equal(media_type_find(slice_str("Video/MP4; codecs=\"avc1\""))->name, "video/mp4");
	assert_string_equal(media_type_find(slice_str("image/png;charset=x"))->name, "image/png");
	assert_string_equal(media_type_find(slice_str("image/png ;x"))->name, "image/png");
}

static void test_other_types_are_never_shown(void **state)
{
	static const char *const types[] = { "",
					     ";",
					     "text/html",
					     "image/svg+xml",
					     "text/plain",
					     "application/pdf",
					     "application/json",
					     "video/mp4x",
					     "video",
					     "video/",
					     "image/pngx",
					     " image/png",
					     "application/xhtml+xml",
					     "text/xml",
					     "multipart/mixed",
					     "application/octet-stream" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		assert_null(media_type_find(slice_str(types[i])));
		assert_int_equal(media_class_of(slice_str(types[i])), MEDIA_OTHER);
	}
}

static void assert_disposition(const char *title, const char *expected)
{
	struct file_name name;

	file_name_make(title, "result", "mp4", &name);
	assert_string_equal(name.disposition, expected);
}

static void test_a_download_is_named_after_its_title(void **state)
{
	/* U+202E turns what follows, U+2069 ends that, U+200F and U+0085 are not seen either. */
	static const char turned[] = { 'a',    '\xe2', '\x80', '\xae', 'g',    'p',    'j',    '.',    'e', 'x', 'e',
				       '\xe2', '\x81', '\xa9', '\xe2', '\x80', '\x8f', '\xc2', '\x85', 'b', 0 };

	(void)state;
	assert_disposition("Your birthday clip", "attachment; filename=\"Your birthday clip.mp4\"");
	assert_disposition("Grüße", "attachment; filename=\"Gr__e.mp4\"; filename*=UTF-8''Gr%C3%BC%C3%9Fe.mp4");
	/* Turned around, this one would be seen to end in .exe; nothing of ours is hidden in another. */
	assert_disposition(turned, "attachment; filename=\"a_gpj.exe___b.mp4\"");
	assert_disposition("a\u00a0\u2027b",
			   "attachment; filename=\"a__b.mp4\"; filename*=UTF-8''a%C2%A0%E2%80%A7b.mp4");
	/* The Arabic letter mark, and the ends of a line and of a paragraph. */
	assert_disposition("a\u061cb\u2028c\u2029d", "attachment; filename=\"a_b_c_d.mp4\"");
	assert_disposition("生日", "attachment; filename=\"__.mp4\"; filename*=UTF-8''%E7%94%9F%E6%97%A5.mp4");
}

static void test_a_hostile_title_steers_nothing(void **state)
{
	(void)state;
	assert_disposition("../../etc/passwd", "attachment; filename=\"_.._etc_passwd.mp4\"");
	assert_disposition("a\"; filename=\"evil.exe", "attachment; filename=\"a__ filename=_evil.exe.mp4\"");
	assert_disposition("a\r\nSet-Cookie: x", "attachment; filename=\"a__Set-Cookie_ x.mp4\"");
	assert_disposition("C:\\x|y<z>?*", "attachment; filename=\"C__x_y_z___.mp4\"");
	assert_disposition("%41", "attachment; filename=\"_41.mp4\"");
}

static void test_a_title_with_nothing_in_it_falls_back(void **state)
{
	(void)state;
	assert_disposition("", "attachment; filename=\"result.mp4\"");
	assert_disposition(" . .. ", "attachment; filename=\"result.mp4\"");
	assert_disposition("\xff\xfe", "attachment; filename=\"result.mp4\"");
}

static void test_a_long_title_is_cut_between_characters(void **state)
{
	static const char start[] = "attachment; filename=\"";
	char title[600];
	struct file_name name;

	(void)state;
	/* Every place where the cut may fall into a character of three bytes. */
	for (size_t shift = 0; shift < 3; shift++) {
		memset(title, 'x', shift);
		for (size_t i = shift; i + 3 < sizeof(title); i += 3)
			memcpy(title + i, "€", 4);
		file_name_make(title, "result", "mp4", &name);
		assert_memory_equal(name.disposition, start, sizeof(start) - 1);
		assert_null(strstr(name.disposition, "result"));
		assert_non_null(strstr(name.disposition, "%E2%82%AC.mp4"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_genuine_media_is_recognised),
		cmocka_unit_test(test_media_cut_short_agrees_with_nothing),
		cmocka_unit_test(test_a_document_in_disguise_is_found_out),
		cmocka_unit_test(test_a_frame_of_mp3_is_told_from_other_bytes),
		cmocka_unit_test(test_parameters_and_case_do_not_matter),
		cmocka_unit_test(test_other_types_are_never_shown),
		cmocka_unit_test(test_a_download_is_named_after_its_title),
		cmocka_unit_test(test_a_hostile_title_steers_nothing),
		cmocka_unit_test(test_a_title_with_nothing_in_it_falls_back),
		cmocka_unit_test(test_a_long_title_is_cut_between_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
