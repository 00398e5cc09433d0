/* The link's page without a server: what it says in each state, and that nothing a stranger wrote gets out of its
 * place in the HTML. How it looks: test_http_page_shape.c. */
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
#include "server/http/html.h"
#include "server/http/page_html.h"
#include "server/http/words.h"
#include "tests/harness/page_made.h"

#define SECOND 1000LL
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)
#define NOW    PAGE_MADE_NOW
#define LINK   PAGE_MADE_LINK

static const struct page_settings plain = { .name = "Acme", .accent = "#3366ff" };

/* ---- text into HTML ---- */

static void assert_html(struct slice in, const char *expected)
{
	_cleanup_(buf_done) struct buf out;

	buf_init(&out, 4096);
	assert_int_equal(html_text(&out, in), 0);
	assert_int_equal(out.size, strlen(expected));
	if (out.size > 0)
		assert_memory_equal(out.data, expected, out.size);
}

static void test_text_stays_text(void **state)
{
	(void)state;
	assert_html(slice_str("plain Grüße ✓"), "plain Grüße ✓");
	assert_html(slice_str(""), "");
	assert_html(slice_str("<script>"), "&lt;script&gt;");
	assert_html(slice_str("\" onload='x' &amp;"), "&quot; onload=&#39;x&#39; &amp;amp;");
	assert_html(slice_of("a\0b\nc\x7f", 6), "a b c ");
	assert_html(slice_str("</title><&>"), "&lt;/title&gt;&lt;&amp;&gt;");
}

static void test_what_is_not_utf8_is_replaced(void **state)
{
	(void)state;
	assert_html(slice_str("a\xff<b>"), "\xef\xbf\xbd");
	assert_html(slice_str("\xc0\xbcscript"), "\xef\xbf\xbd"); /* an overlong "<" */
}

/* ---- words ---- */

static void assert_words(struct buf *out, const char *expected)
{
	assert_int_equal(buf_append(out, "", 1), 0);
	assert_string_equal(out->data, expected);
	buf_reset(out);
}

static void assert_says(const struct page_settings *page, const struct msg_job *job, const char *headline,
			const char *detail)
{
	_cleanup_(buf_done) struct buf out;

	buf_init(&out, WORDS_MAX);
	words_headline(&out, page, job, NOW);
	assert_words(&out, headline);
	words_detail(&out, page, job);
	assert_words(&out, detail);
}

static struct msg_job job_in(enum job_state state)
{
	return (struct msg_job){ .state = state };
}

/* low_ms −1: nothing to guess from. */
static struct msg_job waiting_between(int64_t position, int64_t low_ms, int64_t high_ms)
{
	return (struct msg_job){ .state = JOB_READY,
				 .has_position = true,
				 .position = position,
				 .has_eta_ms = low_ms >= 0,
				 .eta_ms = { .has_low = true, .low = low_ms, .has_high = true, .high = high_ms } };
}

static struct msg_job waiting(int64_t position, int64_t eta_ms)
{
	return waiting_between(position, eta_ms, eta_ms);
}

static void test_the_place_in_line_is_said(void **state)
{
	struct msg_job job = waiting(1, -1);

	(void)state;
	assert_says(&plain, &job, "You are next in line", "We cannot say yet how long it will take");
	job = waiting(12345, -1);
	assert_says(&plain, &job, "Number 12345 in line", "We cannot say yet how long it will take");
	job = job_in(JOB_READY);
	assert_says(&plain, &job, "In line", "We cannot say yet how long it will take");
}

static void test_an_estimate_is_rounded_up_and_never_to_the_second(void **state)
{
	static const struct {
		int64_t ms;
		const char *words;
	} rows[] = {
		{ 0, "Ready any moment now" },
		{ 10 * SECOND, "Ready any moment now" },
		{ 11 * SECOND, "About half a minute to go" },
		{ 41 * SECOND, "About a minute to go" },
		{ 60 * SECOND, "About a minute to go" },
		{ 61 * SECOND, "About 2 minutes to go" },
		{ 4 * MINUTE + 1, "About 5 minutes to go" },
		{ 11 * MINUTE, "About 15 minutes to go" },
		{ 61 * MINUTE, "About 2 hours to go" },
		{ 3 * HOUR, "About 3 hours to go" },
		{ 47 * HOUR, "About 47 hours to go" },
		{ 3 * DAY, "About 3 days to go" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct msg_job job = waiting(2, rows[i].ms);

		assert_says(&plain, &job, "Number 2 in line", rows[i].words);
	}
}

static void test_a_range_is_told_in_one_unit_where_it_has_one(void **state)
{
	static const struct {
		int64_t low_ms, high_ms;
		const char *words;
	} rows[] = {
		{ 0, 9 * SECOND, "Ready any moment now" },
		{ 0, 25 * SECOND, "About half a minute to go" },
		{ 9 * SECOND, 3 * MINUTE, "At most 3 minutes to go" },
		{ 20 * SECOND, 3 * MINUTE, "About half a minute to 3 minutes to go" },
		{ 50 * SECOND, 3 * MINUTE, "About 1 to 3 minutes to go" },
		{ 2 * MINUTE, 4 * MINUTE, "About 2 to 4 minutes to go" },
		{ 2 * MINUTE + 31 * SECOND, 2 * MINUTE + 50 * SECOND, "About 3 minutes to go" },
		{ 2 * MINUTE + 29 * SECOND, 2 * MINUTE + 50 * SECOND, "About 2 to 3 minutes to go" },
		{ 41 * MINUTE, 3 * HOUR, "About 40 minutes to 3 hours to go" },
		{ 2 * HOUR, 5 * HOUR + 1, "About 2 to 6 hours to go" },
		{ 20 * HOUR, 3 * DAY, "About 20 hours to 3 days to go" },
		{ 2 * DAY, 3 * DAY, "About 2 to 3 days to go" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct msg_job job = waiting_between(2, rows[i].low_ms, rows[i].high_ms);

		assert_says(&plain, &job, "Number 2 in line", rows[i].words);
	}
}

static void test_a_rounded_estimate_never_promises_more(void **state)
{
	(void)state;
	for (int64_t ms = 0; ms < 10 * HOUR; ms = ms * 11 / 10 + 777) {
		assert_in_range(words_round_high(ms), ms, ms + 30 * MINUTE);
		assert_int_equal(words_round_high(words_round_high(ms)), words_round_high(ms));
		assert_in_range(words_round_low(ms) + 30 * MINUTE, ms, ms + 30 * MINUTE);
		assert_int_equal(words_round_low(words_round_low(ms)), words_round_low(ms));
	}
}

/* What is shown changes only with the rounded ends: so the status keeps its tag. */
static void test_an_estimate_stays_the_same_for_a_while(void **state)
{
	(void)state;
	for (int64_t ms = 2 * MINUTE; ms < 2 * MINUTE + 30 * SECOND; ms += 777) {
		struct msg_job job = waiting_between(2, ms, 6 * MINUTE + ms - 30 * SECOND + 1);

		assert_int_equal(words_round_low(job.eta_ms.low), 2 * MINUTE);
		assert_int_equal(words_round_high(job.eta_ms.high), 8 * MINUTE);
		assert_says(&plain, &job, "Number 2 in line", "About 2 to 8 minutes to go");
	}
}

static void test_what_holds_a_job_is_said_before_when_it_ends(void **state)
{
	struct msg_job job = waiting_between(2, 4 * MINUTE, 6 * MINUTE);

	(void)state;
	job.has_waiting_for = true;
	job.waiting_for.reason = WAIT_HELD;
	assert_says(&plain, &job, "Number 2 in line",
		    "We have to take a short break. You keep your place. About 4 to 6 minutes to go");
	job.waiting_for.reason = WAIT_BREAKER;
	assert_says(&plain, &job, "Number 2 in line",
		    "The service that makes it has trouble right now. You keep your place. About 4 to 6 minutes to go");
	/* No word of not knowing where the reason was given. */
	job.has_eta_ms = false;
	job.waiting_for.reason = WAIT_PAUSED;
	assert_says(&plain, &job, "Number 2 in line", "It is on hold for the moment. You keep your place.");
	job.state = JOB_SCHEDULED;
	assert_says(&plain, &job, "Starts any moment now", "It is on hold for the moment. You keep your place.");
	job.has_waiting_for = false;
	assert_says(&plain, &job, "Starts any moment now", "");
}

static void test_a_scheduled_job_says_when_it_starts(void **state)
{
	struct msg_job job = job_in(JOB_SCHEDULED);

	(void)state;
	assert_says(&plain, &job, "Starts any moment now", "");
	job.has_run_at_ms = true;
	job.run_at_ms = NOW + 2 * HOUR;
	assert_says(&plain, &job, "Starts in 2 hours", "");
	job.run_at_ms = NOW - 5;
	assert_says(&plain, &job, "Starts any moment now", "");
}

static void test_a_failure_has_a_kind_reason_and_no_secrets(void **state)
{
	struct msg_job job = job_in(JOB_DEAD);

	(void)state;
	job.has_error = true;
	job.error.message = slice_str("POST https://api.example/?key=sk-123 said 500");
	for (int kind = 0; kind < FAIL_KINDS; kind++) {
		_cleanup_(buf_done) struct buf out;

		buf_init(&out, WORDS_MAX);
		job.error.kind = kind;
		words_detail(&out, &plain, &job);
		assert_true(out.size > 10);
		assert_null(memmem(out.data, out.size, "sk-123", 6));
	}
	job.error.kind = FAIL_TIMEOUT;
	assert_says(&plain, &job, "Sorry, it could not be made", "It took too long, every time we tried.");
	job = job_in(JOB_CANCELED);
	assert_says(&plain, &job, "It was canceled", "Whoever ordered it has called it off.");
	job = job_in(JOB_EXPIRED);
	assert_says(&plain, &job, "Sorry, it ran out of time", "We did not get to it before its deadline.");
}

static void test_the_operators_words_win_and_are_no_formats(void **state)
{
	struct page_settings german = plain;
	struct msg_job job = waiting(7, 5 * MINUTE);

	(void)state;
	german.texts[PAGE_TEXT_waiting] = "Platz {position} %s%n";
	german.texts[PAGE_TEXT_estimate] = "noch etwa {time}";
	german.texts[PAGE_TEXT_minutes] = "{n} Minuten {x}";
	assert_says(&german, &job, "Platz 7 %s%n", "noch etwa 5 Minuten {x}");
	german.texts[PAGE_TEXT_waiting] = "Bitte warten";
	assert_says(&german, &job, "Bitte warten", "noch etwa 5 Minuten {x}");
	job = waiting_between(7, 3 * MINUTE, 5 * MINUTE);
	german.texts[PAGE_TEXT_estimate_range] = "noch {low} bis {time} %s";
	assert_says(&german, &job, "Bitte warten", "noch 3 bis 5 Minuten {x} %s");
	job = waiting_between(7, 0, 5 * MINUTE);
	german.texts[PAGE_TEXT_estimate_within] = "höchstens noch {time}";
	assert_says(&german, &job, "Bitte warten", "höchstens noch 5 Minuten {x}");
}

/* As long as the configuration takes them. */
static void test_texts_of_any_length_end_as_text(void **state)
{
	struct page_settings wordy = plain;
	struct msg_job job = waiting_between(7, 50 * MINUTE, 5 * HOUR);
	_cleanup_(buf_done) struct buf out;
	char text[513];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	memcpy(text, "{low}{time}", 11);
	for (int i = 0; i < PAGE_TEXTS; i++)
		wordy.texts[i] = text;
	buf_init(&out, 16384);
	words_detail(&out, &wordy, &job);
	assert_true(buf_error(&out) == 0 && out.size >= 512);
	assert_int_equal(strnlen((const char *)out.data, out.size), out.size);
}

static void test_asking_again_is_told_by_the_estimate(void **state)
{
	struct msg_job job = waiting(9, 60 * MINUTE);

	(void)state;
	assert_int_equal(words_retry_after(&job), 30);
	job = waiting_between(9, 100 * SECOND, 60 * MINUTE);
	assert_int_equal(words_retry_after(&job), 5);
	job = waiting_between(9, 0, 60 * MINUTE);
	assert_int_equal(words_retry_after(&job), 2);
	job = waiting(9, 0);
	assert_int_equal(words_retry_after(&job), 2);
	job = waiting(9, -1);
	assert_int_equal(words_retry_after(&job), 5);
	job = job_in(JOB_RUNNING);
	assert_int_equal(words_retry_after(&job), 2);
}

/* ---- the page ---- */

static const struct msg_artifact still = { .content_type = { "image/jpeg", 10 } };
static const struct msg_artifact video = { .content_type = { "video/mp4", 9 } };
static const struct msg_artifact svg = { .content_type = { "image/svg+xml", 13 } };

static char *page_of(struct msg_job *job, const struct msg_artifact *preview, const struct msg_artifact *result)
{
	return page_made((struct page_content){ .page = &plain, .preview = preview, .result = result }, job);
}

static void test_a_waiting_page_shows_the_still_and_looks_again(void **state)
{
	struct msg_job job = waiting_between(3, 2 * MINUTE, 5 * MINUTE);
	_cleanup_free_ char *page = page_of(&job, &still, NULL);

	(void)state;
	page_has(page, "<img src=\"TOKEN/preview\"");
	page_has(page, "property=\"og:image\" content=\"" LINK "/preview\"");
	page_has(page, "name=\"twitter:card\" content=\"summary_large_image\"");
	page_has(page, "property=\"og:title\" content=\"Your video\"");
	page_has(page, "Number 3 in line");
	page_has(page, "About 2 to 5 minutes to go");
	page_has(page, "<noscript><meta http-equiv=\"refresh\"");
	page_has(page, "<script src=\"../page.js\" nonce=\"NONCE\" defer></script>");
	/* Where that cannot be had. */
	page_has(page, "<script nonce=\"NONCE\">addEventListener('error',");
	assert_true(strstr(page, "addEventListener('error',") < strstr(page, "<script src="));
	page_has(page, "<style nonce=\"NONCE\">");
	page_has(page, "aria-live=\"polite\"");
	page_lacks(page, "og:video");
	page_lacks(page, "<video");
}

static void test_a_page_without_a_still_keeps_its_place(void **state)
{
	struct msg_job job = job_in(JOB_RUNNING);
	_cleanup_free_ char *page = page_of(&job, NULL, NULL);

	(void)state;
	page_has(page, "<div id=\"media\"><div class=\"blank\">");
	page_has(page, "<progress id=\"bar\" max=\"1\" aria-label=\"Progress\"></progress>");
	page_lacks(page, "og:image");
	page_lacks(page, "<img");
}

static void test_progress_is_shown_while_it_runs(void **state)
{
	struct msg_job job = job_in(JOB_RUNNING);

	(void)state;
	job.has_progress = job.has_note = true;
	job.progress = 0.25;
	job.note = slice_str("frame <5>");
	_cleanup_free_ char *page = page_of(&job, NULL, NULL);
	page_has(page, "aria-label=\"Progress\" value=\"0.25\"></progress>");
	page_has(page, "frame &lt;5&gt;");
	job.state = JOB_SUCCEEDED;
	_cleanup_free_ char *done = page_of(&job, NULL, NULL);
	page_lacks(done, "frame &lt;5");
	page_has(done, "value=\"0.25\" hidden>");
}

static void test_a_finished_page_plays_the_video_and_rests(void **state)
{
	struct msg_job job = job_in(JOB_SUCCEEDED);
	_cleanup_free_ char *page = page_of(&job, &still, &video);

	(void)state;
	page_has(page,
		 "<video controls playsinline preload=\"metadata\" src=\"TOKEN/result\" aria-label=\"Your video\" "
		 "poster=\"TOKEN/preview\">");
	page_has(page, "property=\"og:video\" content=\"" LINK "/result\"");
	page_has(page, "property=\"og:type\" content=\"video.other\"");
	page_has(page, "href=\"TOKEN/result?download\"");
	page_has(page, "<main class=\"rest\"");
	page_has(page, "<button id=\"share\"");
	page_has(page, "<script src=");
	page_lacks(page, "http-equiv=\"refresh\"");
	page_lacks(page, "'error'"); /* it would interrupt the video */
}

/* A sound is played below the still; a picture stands in its place, here and where the link is shared. */
static void test_a_result_may_be_a_sound_or_a_picture(void **state)
{
	static const struct msg_artifact song = { .content_type = { "audio/mpeg", 10 } };
	struct msg_job job = job_in(JOB_SUCCEEDED);
	_cleanup_free_ char *sound = page_of(&job, &still, &song);
	_cleanup_free_ char *alone = page_of(&job, NULL, &song);
	_cleanup_free_ char *picture = page_of(&job, NULL, &still);

	(void)state;
	page_has(sound, "<img src=\"TOKEN/preview\"");
	page_has(sound, "<audio controls playsinline preload=\"metadata\" src=\"TOKEN/result\"");
	page_has(sound, "property=\"og:type\" content=\"website\"");
	page_lacks(sound, "<video");
	page_lacks(sound, "poster=");
	page_has(alone, "<div class=\"blank\"></div><audio controls");
	page_has(alone, "name=\"twitter:card\" content=\"summary\"");
	page_has(picture, "<img src=\"TOKEN/result\"");
	page_has(picture, "property=\"og:image\" content=\"" LINK "/result\"");
	page_has(picture, "name=\"twitter:card\" content=\"summary_large_image\"");
}

static void test_media_have_an_address_that_changes_with_their_bytes(void **state)
{
	struct msg_artifact one = still, other = video;
	struct msg_job job = job_in(JOB_SUCCEEDED);

	(void)state;
	one.sha256 = slice_str("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
	other.sha256 = slice_str("fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210");
	_cleanup_free_ char *page = page_of(&job, &one, &other);
	page_has(page, "property=\"og:image\" content=\"" LINK "/preview?v=0123456789ab\"");
	page_has(page, "name=\"twitter:image\" content=\"" LINK "/preview?v=0123456789ab\"");
	page_has(page, "property=\"og:video\" content=\"" LINK "/result?v=fedcba987654\"");
	page_has(page, "src=\"TOKEN/result?v=fedcba987654\"");
	page_has(page, "poster=\"TOKEN/preview?v=0123456789ab\"");
}

/* Whoever shows a link keeps the words for as long as the link is shown. */
static void test_what_is_shared_does_not_age(void **state)
{
	struct msg_job job = waiting_between(3, 2 * MINUTE, 5 * MINUTE);
	_cleanup_free_ char *page = page_of(&job, &still, NULL);

	(void)state;
	page_has(page, "property=\"og:description\" content=\"Open it here: it plays as soon as it is ready.\"");
	page_has(page, "name=\"twitter:description\" content=\"Open it here: it plays as soon as it is ready.\"");
	job = job_in(JOB_SUCCEEDED);
	_cleanup_free_ char *done = page_of(&job, &still, &video);
	page_has(done, "property=\"og:description\" content=\"It is ready\"");
}

static void test_until_the_end_the_link_is_what_one_has_to_give(void **state)
{
	struct msg_job job = job_in(JOB_RUNNING);
	_cleanup_free_ char *page = page_of(&job, &still, NULL);

	(void)state;
	page_has(page, "<div id=\"actions\"><button id=\"share\" class=\"button\"");
	job = job_in(JOB_SUCCEEDED);
	_cleanup_free_ char *done = page_of(&job, &still, &video);
	page_has(done, "<div id=\"actions\"><a class=\"button\" href=\"TOKEN/result?download\"");
	page_has(done, "<button id=\"share\" class=\"button quiet\"");
}

static void test_german_is_spoken_throughout(void **state)
{
	struct page_settings german = plain;
	struct msg_job job = waiting_between(3, 2 * MINUTE, 5 * MINUTE);
	enum page_language language;

	(void)state;
	assert_true(page_language_find("de", &german.language));
	assert_false(page_language_find("fr", &language));
	assert_says(&german, &job, "Platz 3 in der Schlange", "Noch etwa 2 bis 5 Minuten");
	assert_string_equal(page_text(&german, PAGE_TEXT_language), "de");
	german.texts[PAGE_TEXT_waiting] = "Nr. {position}";
	assert_says(&german, &job, "Nr. 3", "Noch etwa 2 bis 5 Minuten");
	/* The same slots in both. */
	for (int i = 0; i < PAGE_TEXTS; i++) {
		static const char *const slots[] = { "{time}", "{low}", "{position}", "{n}" };

		german.texts[i] = NULL;
		for (size_t k = 0; k < ARRAY_SIZE(slots); k++)
			assert_int_equal(strstr(page_text(&plain, i), slots[k]) != NULL,
					 strstr(page_text(&german, i), slots[k]) != NULL);
	}
}

static void test_what_must_not_be_shown_is_offered_as_a_download(void **state)
{
	struct msg_job job = job_in(JOB_SUCCEEDED);
	_cleanup_free_ char *page = page_of(&job, &svg, &svg);

	(void)state;
	page_has(page, "href=\"TOKEN/result?download\"");
	page_lacks(page, "<img");
	page_lacks(page, "og:image");
	page_lacks(page, "id=\"media\"");
}

static void test_what_is_none_of_its_type_is_not_shown(void **state)
{
	struct msg_job job = job_in(JOB_RUNNING);

	(void)state;
	_cleanup_free_ char *waiting_page =
		page_made((struct page_content){ .page = &plain, .preview = &still, .preview_lies = true }, &job);
	page_has(waiting_page, "<div class=\"blank\">");
	page_lacks(waiting_page, "<img");
	page_lacks(waiting_page, "og:image");
	page_lacks(waiting_page, "Save the picture");
	/* The script looks for what the status tells, and that is there all the same. */
	page_has(waiting_page, "data-shows=\"running|" LINK "/preview|\"");
	job = job_in(JOB_SUCCEEDED);
	_cleanup_free_ char *done = page_made(
		(struct page_content){ .page = &plain, .preview = &still, .result = &video, .result_lies = true },
		&job);
	page_lacks(done, "<video");
	page_lacks(done, "og:video");
	page_has(done, "<img src=\"TOKEN/preview");
	page_has(done, "href=\"TOKEN/result?download\"");
}

static void test_a_hostile_title_and_note_stay_text(void **state)
{
	static const char evil[] = "</title><script>alert(1)</script>\" onerror=\"x' <img src=x>";
	struct msg_job job = job_in(JOB_RUNNING);

	(void)state;
	job.has_title = job.has_note = true;
	job.title = job.note = slice_str(evil);
	_cleanup_free_ char *page = page_of(&job, &still, NULL);
	page_lacks(page, "<script>alert");
	page_lacks(page, "<img src=x>");
	page_lacks(page, "\" onerror=\"");
	page_has(page, "&lt;script&gt;alert(1)");
}

static void test_a_notice_says_it_and_runs_nothing(void **state)
{
	const struct page_settings page = { .name = "A & B", .accent = "#3366ff" };
	_cleanup_(buf_done) struct buf out;

	(void)state;
	buf_init(&out, PAGE_MAX_BYTES);
	assert_int_equal(page_html_notice(&out, &page, "NONCE", PAGE_TEXT_gone, PAGE_TEXT_gone_detail), 0);
	assert_int_equal(buf_append(&out, "", 1), 0);
	page_has((const char *)out.data, "This link has expired");
	page_has((const char *)out.data, "A &amp; B");
	page_lacks((const char *)out.data, "<script");
	page_lacks((const char *)out.data, "<noscript");
}

static void test_a_page_that_does_not_fit_is_an_error(void **state)
{
	struct msg_job job = job_in(JOB_RUNNING);
	const struct page_content content = { .page = &plain, .job = &job, .token = "T", .nonce = "N" };
	_cleanup_(buf_done) struct buf out;

	(void)state;
	buf_init(&out, 1000);
	assert_int_equal(page_html_job(&out, &content), ERR_TOO_LARGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text_stays_text),
		cmocka_unit_test(test_what_is_not_utf8_is_replaced),
		cmocka_unit_test(test_the_place_in_line_is_said),
		cmocka_unit_test(test_an_estimate_is_rounded_up_and_never_to_the_second),
		cmocka_unit_test(test_a_range_is_told_in_one_unit_where_it_has_one),
		cmocka_unit_test(test_a_rounded_estimate_never_promises_more),
		cmocka_unit_test(test_an_estimate_stays_the_same_for_a_while),
		cmocka_unit_test(test_what_holds_a_job_is_said_before_when_it_ends),
		cmocka_unit_test(test_a_scheduled_job_says_when_it_starts),
		cmocka_unit_test(test_a_failure_has_a_kind_reason_and_no_secrets),
		cmocka_unit_test(test_the_operators_words_win_and_are_no_formats),
		cmocka_unit_test(test_texts_of_any_length_end_as_text),
		cmocka_unit_test(test_asking_again_is_told_by_the_estimate),
		cmocka_unit_test(test_a_waiting_page_shows_the_still_and_looks_again),
		cmocka_unit_test(test_a_page_without_a_still_keeps_its_place),
		cmocka_unit_test(test_progress_is_shown_while_it_runs),
		cmocka_unit_test(test_a_finished_page_plays_the_video_and_rests),
		cmocka_unit_test(test_a_result_may_be_a_sound_or_a_picture),
		cmocka_unit_test(test_media_have_an_address_that_changes_with_their_bytes),
		cmocka_unit_test(test_what_is_shared_does_not_age),
		cmocka_unit_test(test_until_the_end_the_link_is_what_one_has_to_give),
		cmocka_unit_test(test_german_is_spoken_throughout),
		cmocka_unit_test(test_what_must_not_be_shown_is_offered_as_a_download),
		cmocka_unit_test(test_what_is_none_of_its_type_is_not_shown),
		cmocka_unit_test(test_a_hostile_title_and_note_stay_text),
		cmocka_unit_test(test_a_notice_says_it_and_runs_nothing),
		cmocka_unit_test(test_a_page_that_does_not_fit_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
