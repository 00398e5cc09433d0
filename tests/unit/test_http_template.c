/* The operator's own pages: what a template gives, what is wrong with one and where, and the files they come from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/clean.h"
#include "server/http/html.h"
#include "server/http/page_html.h"
#include "server/http/page_load.h"
#include "server/http/page_template.h"
#include "tests/harness/tempdir.h"

static void fill_cb(struct buf *out, enum page_slot slot, const void *user)
{
	(void)user;
	if (slot == PAGE_SLOT_title)
		html_text(out, slice_str("A & B"));
	if (slot == PAGE_SLOT_pending)
		buf_append_str(out, "1");
}

static void assert_gives(const char *template, const char *expected)
{
	_cleanup_(buf_done) struct buf out;
	struct page_template *t;
	struct error_info info;

	if (page_template_parse("t.html", slice_str(template), PAGE_OF_JOB, &t, &info) < 0)
		fail_msg("%s", info.message);
	buf_init(&out, 4096);
	assert_int_equal(page_template_write(t, &out, fill_cb, NULL), 0);
	assert_int_equal(buf_append(&out, "", 1), 0);
	assert_string_equal((const char *)out.data, expected);
	page_template_free(t);
}

static void test_slots_are_filled(void **state)
{
	(void)state;
	assert_gives("", "");
	assert_gives("plain { } }} text", "plain { } }} text");
	assert_gives("<b>{{title}}</b>{{ title }}", "<b>A &amp; B</b>A &amp; B");
	assert_gives("[{{note}}]", "[]");
	assert_gives("a{{! {{ whatever }}b", "ab");
}

static void test_sections_are_shown_where_there_is_something(void **state)
{
	(void)state;
	assert_gives("{{#pending}}yes{{/pending}}{{^pending}}no{{/pending}}.", "yes.");
	assert_gives("{{#failed}}yes{{/failed}}{{^failed}}no{{/failed}}.", "no.");
	assert_gives("{{#failed}}{{#pending}}x{{/pending}}{{/failed}}{{^failed}}{{#title}}y{{/title}}{{/failed}}", "y");
	assert_gives("{{#failed}}{{/failed}}{{#pending}}{{/pending}}z", "z");
}

static void test_what_is_wrong_is_told_with_file_and_line(void **state)
{
	static const struct {
		const char *template, *error;
	} rows[] = {
		{ "\n\n{{titel}}", "t.html:3: there is no {{titel}}" },
		{ "\n{{title", "t.html:2: {{ without }}" },
		{ "{{}}", "t.html:1: between {{ and }} stands no name" },
		{ "{{/title}}", "t.html:1: {{/title}} ends nothing" },
		{ "\n{{#title}}\n", "t.html:2: the section {{#title}} is never ended" },
		{ "{{#title}}\n{{#note}}\n{{/title}}",
		  "t.html:3: {{/title}} stands where {{/note}} should, for line 2" },
		{ "a\n\xff", "t.html:1: the file is not UTF-8" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct page_template *t;
		struct error_info info;

		assert_int_equal(page_template_parse("t.html", slice_str(rows[i].template), PAGE_OF_JOB, &t, &info),
				 ERR_CONFIG);
		assert_string_equal(info.message, rows[i].error);
	}
}

static void test_a_notice_has_no_job(void **state)
{
	struct page_template *t;
	struct error_info info;

	(void)state;
	assert_int_equal(page_template_parse("n.html", slice_str("{{media}}"), PAGE_OF_NOTICE, &t, &info), ERR_CONFIG);
	assert_string_equal(info.message, "n.html:1: {{media}} is none of this page's");
}

/* All that the broker's own page has, put together by hand, is that page. */
static void test_the_parts_make_the_whole(void **state)
{
	static const char parts[] = "<!doctype html><html lang=\"{{lang}}\" "
				    "dir=\"{{dir}}\"><head>{{head}}</head><body><header>{{logo}}</header>"
				    "<main {{attributes}}>{{media}}<div "
				    "class=\"text\">{{heading}}{{words}}{{progress}}{{remark}}{{actions}}"
				    "{{hint}}</div></main>{{script}}</body></html>\n";
	struct page_settings page = { .name = "A & B", .accent = "#3366ff" };
	struct msg_job job = { .state = JOB_RUNNING, .has_note = true, .note = slice_str("<i>") };
	struct page_content content = { .page = &page, .job = &job, .token = "T", .nonce = "N" };
	_cleanup_(buf_done) struct buf own, put_together;
	struct page_template *t;
	struct error_info info;

	(void)state;
	buf_init(&own, PAGE_MAX_BYTES);
	buf_init(&put_together, PAGE_MAX_BYTES);
	assert_int_equal(page_html_job(&own, &content), 0);
	assert_int_equal(page_template_parse("p", slice_str(parts), PAGE_OF_JOB, &t, &info), 0);
	page.job = t;
	assert_int_equal(page_html_job(&put_together, &content), 0);
	assert_int_equal(own.size, put_together.size);
	assert_memory_equal(own.data, put_together.data, own.size);
	page_template_free(t);
}

static char *made_with(const char *template, enum page_kind kind, struct page_settings *page,
		       const struct page_content *content)
{
	struct page_template *t;
	struct error_info info;
	struct buf out;

	if (page_template_parse("p", slice_str(template), kind, &t, &info) < 0)
		fail_msg("%s", info.message);
	buf_init(&out, PAGE_MAX_BYTES);
	*(kind == PAGE_OF_JOB ? &page->job : &page->notice) = t;
	if (kind == PAGE_OF_JOB)
		assert_int_equal(page_html_job(&out, content), 0);
	else
		assert_int_equal(page_html_notice(&out, page, "N", PAGE_TEXT_gone, PAGE_TEXT_gone_detail), 0);
	assert_int_equal(buf_append(&out, "", 1), 0);
	page_template_free(t);
	return (char *)out.data;
}

/* Which of three sections an operator's page shows, and what its texts are. */
static void test_the_texts_of_a_job(void **state)
{
	static const char template[] =
		"{{state}} {{#pending}}soon{{/pending}}{{#succeeded}}here{{/succeeded}}"
		"{{#failed}}never{{/failed}}|{{title}}|{{note}}|{{link}}|{{nonce}} {{lang}} {{dir}} "
		"{{name}}|{{^detail}}no {{/detail}}detail|{{#headline}}headline{{/headline}}";
	static const struct {
		enum job_state state;
		const char *expected;
	} rows[] = {
		{ JOB_SCHEDULED, "scheduled soon|A &lt;b&gt;|frame &lt;5|http://x/r/T|N en ltr A &amp; B|" },
		{ JOB_READY, "ready soon|A &lt;b&gt;|frame &lt;5|http://x/r/T|N en ltr A &amp; B|" },
		{ JOB_RUNNING, "running soon|A &lt;b&gt;|frame &lt;5|http://x/r/T|N en ltr A &amp; B|" },
		{ JOB_SUCCEEDED, "succeeded here|A &lt;b&gt;||http://x/r/T|N en ltr A &amp; B|" },
		{ JOB_DEAD, "dead never|A &lt;b&gt;||http://x/r/T|N en ltr A &amp; B|" },
		{ JOB_CANCELED, "canceled never|A &lt;b&gt;||http://x/r/T|N en ltr A &amp; B|" },
		{ JOB_EXPIRED, "expired never|A &lt;b&gt;||http://x/r/T|N en ltr A &amp; B|" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct page_settings page = { .name = "A & B", .accent = "#3366ff" };
		struct msg_job job = { .state = (int)rows[i].state,
				       .has_title = true,
				       .title = slice_str("A <b>"),
				       .has_note = true,
				       .note = slice_str("frame <5"),
				       .has_link = true,
				       .link = slice_str("http://x/r/T") };
		struct page_content content = { .page = &page, .job = &job, .token = "T", .nonce = "N" };
		_cleanup_free_ char *made = made_with(template, PAGE_OF_JOB, &page, &content);

		if (strncmp(made, rows[i].expected, strlen(rows[i].expected)) != 0)
			fail_msg("%s", made);
		assert_non_null(strstr(made, "|headline"));
	}
}

/* A job without a link of its own, and without a title. */
static void test_texts_that_are_not_there(void **state)
{
	struct page_settings page = { .name = "A", .accent = "#3366ff" };
	struct msg_job job = { .state = JOB_READY };
	struct page_content content = { .page = &page, .job = &job, .token = "T", .nonce = "N" };
	_cleanup_free_ char *made =
		made_with("[{{link}}]{{^link}}none{{/link}}[{{note}}]<{{title}}>", PAGE_OF_JOB, &page, &content);

	(void)state;
	assert_string_equal(made, "[]none[]<Your video>");
}

static void test_the_texts_of_a_notice(void **state)
{
	struct page_settings page = { .name = "A & B", .accent = "#3366ff" };
	_cleanup_free_ char *made = made_with("{{lang}} {{dir}} {{name}} {{nonce}}|{{title}}|{{headline}}|{{detail}}",
					      PAGE_OF_NOTICE, &page, NULL);
	char expected[512];

	(void)state;
	snprintf(expected, sizeof(expected), "en ltr A &amp; B N|%s|%s|%s", page_text(&page, PAGE_TEXT_gone),
		 page_text(&page, PAGE_TEXT_gone), page_text(&page, PAGE_TEXT_gone_detail));
	assert_string_equal(made, expected);
}

/* ---- files ---- */

static struct tempdir dir;

static int setup(void **state)
{
	(void)state;
	tempdir_make(&dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	tempdir_remove(&dir);
	return 0;
}

static const char *write_file(const char *name, const char *text, size_t size)
{
	const char *path = tempdir_file(&dir, name);
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, size, f), size);
	fclose(f);
	return path;
}

static void assert_refused(const char *logo, const char *templates, const char *why)
{
	struct error_info info = { .code = 0 };
	struct page_files files;

	assert_int_equal(page_files_load(logo, templates, &files, &info), ERR_CONFIG);
	if (!strstr(info.message, why))
		fail_msg("\"%s\" is not in: %s", why, info.message);
}

static void test_files_are_read_or_told_of(void **state)
{
	static char large[PAGE_LOGO_MAX + 1];
	struct page_files files;
	struct error_info info;
	char logo[512];

	(void)state;
	assert_int_equal(page_files_load(NULL, NULL, &files, &info), 0);
	assert_string_equal(files.logo_path, "");
	page_files_done(&files);
	assert_refused(NULL, dir.path, "has neither page.html nor notice.html in it");
	write_file("notice.html", "<p>{{title}}\n{{nix}}", 20);
	assert_refused(NULL, dir.path, "notice.html:2: there is no {{nix}}");
	write_file("notice.html", "<p>{{title}}", 12);
	snprintf(logo, sizeof(logo), "%s", write_file("logo.svg", "<svg/>", 6));
	assert_int_equal(page_files_load(logo, dir.path, &files, &info), 0);
	assert_non_null(files.notice);
	assert_null(files.job);
	assert_string_equal(files.logo_type, "image/svg+xml");
	assert_memory_equal(files.logo_path, "../logo?v=", 10);
	page_files_done(&files);
	assert_refused(tempdir_file(&dir, "none.png"), NULL, "none.png: No such file");
	assert_refused(tempdir_file(&dir, "notice.html"), NULL, "must end in .svg");
	assert_refused(write_file("large.png", large, sizeof(large)), NULL, "larger than 12 KiB");
	assert_refused(write_file("empty.png", "", 0), NULL, "the logo is empty");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_slots_are_filled),
		cmocka_unit_test(test_sections_are_shown_where_there_is_something),
		cmocka_unit_test(test_what_is_wrong_is_told_with_file_and_line),
		cmocka_unit_test(test_a_notice_has_no_job),
		cmocka_unit_test(test_the_parts_make_the_whole),
		cmocka_unit_test(test_the_texts_of_a_job),
		cmocka_unit_test(test_texts_that_are_not_there),
		cmocka_unit_test(test_the_texts_of_a_notice),
		cmocka_unit_test_setup_teardown(test_files_are_read_or_told_of, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
