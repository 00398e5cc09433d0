/* What bytes are, by their first ones and by what is said of them; and what a data: URL holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proto/base/clean.h"
#include "proto/error.h"
#include "worker/call/data_url.h"
#include "worker/call/media.h"

#define HEAD(s) slice_of(s, sizeof(s) - 1)
#define INIT(s)                  \
	{                        \
		s, sizeof(s) - 1 \
	}

#define MP4          \
	"\0\0\0\x18" \
	"ftypmp42\0\0\0\0"
#define JPEG "\xff\xd8\xff\xe0\0\x10JFIF"
#define HTML "<!doctype html><html>"

static void test_sniffing(void **state)
{
	static const struct {
		struct slice head;
		const char *type;
	} known[] = {
		{ INIT(MP4), "video/mp4" },
		{ INIT("\0\0\0\x14"
		       "ftypqt  "),
		  "video/quicktime" },
		{ INIT("\0\0\0\x14"
		       "ftypavif"),
		  "image/avif" },
		{ INIT("\0\0\0\x14"
		       "ftypM4A "),
		  "audio/mp4" },
		{ INIT(JPEG), "image/jpeg" },
		{ INIT("\x89PNG\r\n\x1a\n\0\0"), "image/png" },
		{ INIT("GIF89a\1\0"), "image/gif" },
		{ INIT("RIFF\1\2\3\4WEBPVP8 "), "image/webp" },
		{ INIT("RIFF\1\2\3\4WAVEfmt "), "audio/wav" },
		{ INIT("\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x84webm"), "video/webm" },
		{ INIT("\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x88matroska"), "video/x-matroska" },
		{ INIT("ID3\4\0"), "audio/mpeg" },
		{ INIT("\xff\xfb\x90\x64"), "audio/mpeg" },
		{ INIT("\xff\xf1\x50\x80"), "audio/aac" },
		{ INIT("OggS\0\2"), "audio/ogg" },
		{ INIT("fLaC\0\0"), "audio/flac" },
		{ INIT(HTML), NULL },
		{ INIT("{\"error\":1}"), NULL },
		{ INIT("\xff"), NULL },
		{ INIT("ftyp"), NULL },
		{ INIT(""), NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		const char *type = media_sniff(known[i].head);

		if (known[i].type)
			assert_string_equal(type, known[i].type);
		else
			assert_null(type);
	}
}

static void test_patterns(void **state)
{
	(void)state;
	assert_true(media_matches("video/mp4", "video/mp4"));
	assert_true(media_matches("video/mp4", "Video/MP4"));
	assert_true(media_matches("video/mp4", "video/*"));
	assert_true(media_matches("video/mp4", "*/*"));
	assert_true(media_matches("video/mp4", "*"));
	assert_false(media_matches("video/mp4", "image/*"));
	assert_false(media_matches("videox/mp4", "video/*"));
	assert_false(media_matches("video/mp4", "video/webm"));
}

static void assert_judged(const char *declared, struct slice head, const char *wanted, const char *expected)
{
	char type[MEDIA_TYPE_SIZE] = "", why[200] = "";
	int rc = media_judge("mask", declared, head, &wanted, wanted ? 1 : 0, type, why, sizeof(why));

	if (expected) {
		assert_int_equal(rc, 0);
		assert_string_equal(type, expected);
	} else {
		assert_int_equal(rc, ERR_BAD_REQUEST);
		assert_true(why[0] != '\0');
	}
}

static void test_judging(void **state)
{
	(void)state;
	assert_judged("video/mp4", HEAD(MP4), "video/mp4", "video/mp4");
	assert_judged("Video/MP4; codecs=x", HEAD(MP4), "video/*", "video/mp4");
	/* Stores that do not say what they hold. */
	assert_judged(NULL, HEAD(MP4), "video/mp4", "video/mp4");
	assert_judged("application/octet-stream", HEAD(MP4), "video/mp4", "video/mp4");
	assert_judged("binary/octet-stream", HEAD(JPEG), NULL, "image/jpeg");
	/* Pages of errors, called what they are or not. */
	assert_judged("text/html", HEAD(HTML), "video/mp4", NULL);
	assert_judged("video/mp4", HEAD(HTML), "video/mp4", NULL);
	assert_judged("video/mp4", HEAD(HTML), NULL, NULL);
	assert_judged("application/octet-stream", HEAD(HTML), "video/*", NULL);
	assert_judged("video/mp4", HEAD(JPEG), "*/*", NULL);
	/* Nothing at all is no result, whatever it is called. */
	assert_judged("video/mp4", HEAD(""), "video/mp4", NULL);
	assert_judged("text/plain", HEAD(""), NULL, NULL);
	/* One family, several names. */
	assert_judged("video/quicktime", HEAD(MP4), "video/*", "video/quicktime");
	assert_judged("audio/mp3", HEAD("ID3\4\0"), "audio/*", "audio/mp3");
	/* What is not known here is taken at its word. */
	assert_judged("model/gltf-binary", HEAD("glTF"), "model/*", "model/gltf-binary");
	assert_judged("text/html", HEAD(HTML), NULL, "text/html");
}

/* A call may bring several files: which of them it is about. */
static void test_a_refusal_names_the_file(void **state)
{
	static const char *const video = "video/*";
	static const struct {
		const char *declared;
		struct slice head;
		const char *why;
	} refused[] = {
		{ "image/png", INIT(""), "the mask is empty" },
		{ "text/html", INIT(HTML), "the mask is text/html, which is not one of the types wanted" },
		{ "video/mp4", INIT(JPEG), "the mask is called video/mp4 but begins like image/jpeg" },
		{ "video/mp4", INIT(HTML), "the mask is called video/mp4 but begins like something else" },
	};
	char type[MEDIA_TYPE_SIZE], why[200];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		assert_int_equal(
			media_judge("mask", refused[i].declared, refused[i].head, &video, 1, type, why, sizeof(why)),
			ERR_BAD_REQUEST);
		assert_string_equal(why, refused[i].why);
	}
}

static void assert_data(const char *url, const char *type, const char *bytes, size_t size)
{
	struct data_url *d = NULL;
	struct slice piece;

	assert_int_equal(data_url_parse(url, &d), 0);
	assert_string_equal(data_url_type(d), type);
	assert_int_equal(data_url_size(d), size);
	if (size > 0) {
		assert_true(data_url_next(d, &piece));
		assert_int_equal(piece.size, size);
		assert_memory_equal(piece.data, bytes, size);
		data_url_take(d, size);
	}
	assert_false(data_url_next(d, &piece));
	data_url_free(d);
}

static void test_data_urls(void **state)
{
	(void)state;
	assert_data("data:image/png;base64,AAEC", "image/png", "\0\1\2", 3);
	assert_data("data:image/png;base64,AAE=", "image/png", "\0\1", 2);
	assert_data("data:image/png;base64,AA%3D%3D", "image/png", "\0", 1);
	assert_data("DATA:image/png;charset=x;BASE64,AAE", "image/png;charset=x", "\0\1", 2);
	assert_data("data:,a%20b", "text/plain", "a b", 3);
	assert_data("data:;base64,", "text/plain", "", 0);
}

static void test_bad_data_urls(void **state)
{
	static const char *const bad[] = {
		"data:image/png;base64",
		"data:image/png;base64,A",
		"data:image/png;base64,A*==",
		"data:,%4",
		"data:,%zz",
		"data:,%+1",
		"http://x/,y",
	};
	struct data_url *d = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(data_url_parse(bad[i], &d), ERR_BAD_REQUEST);
}

static void test_data_comes_in_pieces(void **state)
{
	size_t total = 0, size = 300000;
	char *url = malloc(size + 32);
	struct data_url *d = NULL;
	struct slice piece;

	(void)state;
	strcpy(url, "data:video/mp4;base64,");
	memset(url + 22, 'A', size);
	url[22 + size] = '\0';
	assert_int_equal(data_url_parse(url, &d), 0);
	while (data_url_next(d, &piece)) {
		assert_true(piece.size <= 65536);
		total += piece.size;
		data_url_take(d, piece.size);
	}
	assert_int_equal(total, size / 4 * 3);
	data_url_free(d);
	free(url);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sniffing),
		cmocka_unit_test(test_patterns),
		cmocka_unit_test(test_judging),
		cmocka_unit_test(test_a_refusal_names_the_file),
		cmocka_unit_test(test_data_urls),
		cmocka_unit_test(test_bad_data_urls),
		cmocka_unit_test(test_data_comes_in_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
