/* How the link's page looks, whatever it says: its shape, its direction, its colour, its icon, and how large it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proto/base/clean.h"
#include "server/http/page_load.h"
#include "server/http/page_source.h"
#include "tests/harness/page_made.h"

static const struct page_settings plain = { .name = "Acme", .accent = "#3366ff" };
static const struct msg_artifact still = { .content_type = { "image/jpeg", 10 } };

/* As the operator set it, with a still of that size. */
static char *page_with(const struct page_settings *settings, struct msg_job *job, struct picture_size size)
{
	return page_made((struct page_content){ .page = settings, .preview = &still, .size = size }, job);
}

/* So that nothing moves when the picture comes, whichever shape it has. */
static void test_the_box_has_the_shape_of_the_picture(void **state)
{
	static const struct {
		const char *aspect;
		struct picture_size size;
		const char *expected;
		bool told;
	} boxes[] = {
		{ NULL, { 0, 0 }, "16/9", false },
		{ "9/16", { 0, 0 }, "9/16", false },
		{ "9/16", { 640, 360 }, "640/360", true },
		{ NULL, { 720, 1280 }, "720/1280", true },
		{ "1/1", { 300, 100 }, "300/100", true },
		{ "1/1", { 301, 100 }, "1/1", true }, /* nobody could see anything of it */
		{ "1/1", { 100, 301 }, "1/1", true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(boxes); i++) {
		struct page_settings settings = plain;
		struct msg_job job = { .state = JOB_RUNNING };
		char style[64], data[64];

		settings.aspect = boxes[i].aspect;
		_cleanup_free_ char *page = page_with(&settings, &job, boxes[i].size);
		snprintf(style, sizeof(style), ":root{--aspect:%s}", boxes[i].expected);
		snprintf(data, sizeof(data), " data-aspect=\"%s\"", boxes[i].expected);
		page_has(page, style);
		page_has(page, data);
		snprintf(data, sizeof(data), "\"og:image:width\" content=\"%d\"", boxes[i].size.width);
		assert_int_equal(strstr(page, data) != NULL, boxes[i].told);
	}
}

static void test_a_page_is_written_in_its_languages_direction(void **state)
{
	static const struct {
		const char *language, *begins;
	} pages[] = {
		{ NULL, "<!doctype html><html lang=\"en\" dir=\"ltr\">" },
		{ "ar", "<!doctype html><html lang=\"ar\" dir=\"rtl\">" },
		{ "he-IL", "<!doctype html><html lang=\"he-IL\" dir=\"rtl\">" },
		{ "arn", "<!doctype html><html lang=\"arn\" dir=\"ltr\">" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
		struct page_settings settings = plain;
		struct msg_job job = { .state = JOB_READY };

		settings.texts[PAGE_TEXT_language] = pages[i].language;
		_cleanup_free_ char *page = page_with(&settings, &job, (struct picture_size){ 0 });
		assert_memory_equal(page, pages[i].begins, strlen(pages[i].begins));
	}
}

static void test_there_is_an_icon(void **state)
{
	struct page_settings settings = plain;
	struct msg_job job = { .state = JOB_READY };
	_cleanup_free_ char *page = page_with(&settings, &job, (struct picture_size){ 0 });

	(void)state;
	page_has(page, "<link rel=\"icon\" href=\"../logo\">");
	settings.logo = "../logo?v=1";
	_cleanup_free_ char *own = page_with(&settings, &job, (struct picture_size){ 0 });
	page_has(own, "<link rel=\"icon\" href=\"../logo?v=1\">");
}

static void test_the_whole_page_is_small(void **state)
{
	struct msg_job job = {
		.state = JOB_READY,
		.has_position = true,
		.position = 12345,
		.has_eta_ms = true,
		.eta_ms = { .has_low = true, .low = 120000, .has_high = true, .high = 300000 },
	};
	_cleanup_free_ char *page = page_with(&plain, &job, (struct picture_size){ 0 });

	(void)state;
	/* With a logo of the largest size, and the headers of all. */
	assert_in_range(strlen(page) + strlen(page_script) + PAGE_LOGO_MAX + 3072, 0, 30 * 1024);
	/* Nothing else is fetched: every address is of this link, or the script's. */
	for (const char *at = page; (at = strstr(at, "src=\"")); at++)
		if (strncmp(at, "src=\"../page.js\"", 16) != 0)
			assert_memory_equal(at, "src=\"TOKEN/", 11);
	page_lacks(page, "@import");
	page_lacks(page, "url(");
}

static void test_the_accent_carries_legible_text(void **state)
{
	static const struct {
		const char *accent, *expected;
	} rows[] = {
		{ "#3366ff", "--on-accent:#fff" }, { "#000000", "--on-accent:#fff" }, { "#ffffff", "--on-accent:#000" },
		{ "#ffe100", "--on-accent:#000" }, { "#c00000", "--on-accent:#fff" }, { "#00c853", "--on-accent:#000" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct page_settings page = { .name = "x", .accent = rows[i].accent };
		_cleanup_(buf_done) struct buf out;

		buf_init(&out, PAGE_MAX_BYTES);
		assert_int_equal(page_html_style(&out, &page), 0);
		assert_int_equal(buf_append(&out, "", 1), 0);
		page_has((const char *)out.data, rows[i].accent);
		page_has((const char *)out.data, rows[i].expected);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_box_has_the_shape_of_the_picture),
		cmocka_unit_test(test_a_page_is_written_in_its_languages_direction),
		cmocka_unit_test(test_there_is_an_icon),
		cmocka_unit_test(test_the_whole_page_is_small),
		cmocka_unit_test(test_the_accent_carries_legible_text),
	};

	return cmocka_run_group_tests_name("http/page_shape", tests, NULL, NULL);
}
