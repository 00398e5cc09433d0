#include "words.h"

#include <stdio.h>
#include <string.h>

#define SECOND_MS 1000LL
#define MINUTE_MS (60 * SECOND_MS)
#define HOUR_MS	  (60 * MINUTE_MS)
#define DAY_MS	  (24 * HOUR_MS)

/* Any nearer than this, a number would only be wrong. */
#define SOON_MS (10 * SECOND_MS)

/* Appends a text of the operator with value in the place of its {name}. */
static void fill(struct buf *out, const char *text, const char *name, const char *value)
{
	const char *at = strstr(text, name);

	if (!at) {
		buf_append_str(out, text);
		return;
	}
	buf_append(out, text, (size_t)(at - text));
	buf_append_str(out, value);
	buf_append_str(out, at + strlen(name));
}

static int64_t divide_up(int64_t n, int64_t by)
{
	return (n + by - 1) / by;
}

int64_t words_round_eta(int64_t eta_ms)
{
	int64_t grain = eta_ms < MINUTE_MS	  ? 5 * SECOND_MS
			: eta_ms < 10 * MINUTE_MS ? 30 * SECOND_MS
			: eta_ms < HOUR_MS	  ? 5 * MINUTE_MS
						  : 30 * MINUTE_MS;

	return divide_up(eta_ms, grain) * grain;
}

static void count(struct buf *out, const struct page_settings *page, enum page_text one, enum page_text many, int64_t n)
{
	char number[24];

	snprintf(number, sizeof(number), "%lld", (long long)n);
	fill(out, page_text(page, n == 1 ? one : many), "{n}", number);
}

static void time_words(struct buf *out, const struct page_settings *page, int64_t ms)
{
	ms = words_round_eta(ms);
	if (ms <= 40 * SECOND_MS)
		buf_append_str(out, page_text(page, PAGE_TEXT_seconds));
	else if (ms < 90 * MINUTE_MS)
		count(out, page, PAGE_TEXT_minute, PAGE_TEXT_minutes, divide_up(ms, MINUTE_MS));
	else if (ms < 2 * DAY_MS)
		count(out, page, PAGE_TEXT_hour, PAGE_TEXT_hours, divide_up(ms, HOUR_MS));
	else
		count(out, page, PAGE_TEXT_day, PAGE_TEXT_days, divide_up(ms, DAY_MS));
}

static void fill_time(struct buf *out, const struct page_settings *page, enum page_text which, int64_t ms)
{
	char text[256] = "";
	struct buf words;

	buf_init(&words, sizeof(text) - 1);
	time_words(&words, page, ms);
	if (words.size > 0)
		memcpy(text, words.data, words.size);
	text[words.size] = '\0';
	buf_done(&words);
	fill(out, page_text(page, which), "{time}", text);
}

static void place_words(struct buf *out, const struct page_settings *page, const struct msg_job *job)
{
	char number[24];

	if (!job->has_position || job->position < 1) {
		buf_append_str(out, page_text(page, PAGE_TEXT_queued));
	} else if (job->position == 1) {
		buf_append_str(out, page_text(page, PAGE_TEXT_next));
	} else {
		snprintf(number, sizeof(number), "%lld", (long long)job->position);
		fill(out, page_text(page, PAGE_TEXT_waiting), "{position}", number);
	}
}

void words_headline(struct buf *out, const struct page_settings *page, const struct msg_job *job, int64_t now_ms)
{
	static const enum page_text plain[JOB_STATES] = {
		[JOB_RUNNING] = PAGE_TEXT_running,   [JOB_SUCCEEDED] = PAGE_TEXT_succeeded, [JOB_DEAD] = PAGE_TEXT_dead,
		[JOB_CANCELED] = PAGE_TEXT_canceled, [JOB_EXPIRED] = PAGE_TEXT_expired,
	};

	if (job->state == JOB_READY) {
		place_words(out, page, job);
	} else if (job->state != JOB_SCHEDULED) {
		buf_append_str(out, page_text(page, plain[job->state]));
	} else if (job->has_run_at_ms && job->run_at_ms - now_ms > SOON_MS) {
		fill_time(out, page, PAGE_TEXT_scheduled, job->run_at_ms - now_ms);
	} else {
		buf_append_str(out, page_text(page, PAGE_TEXT_starting));
	}
}

void words_detail(struct buf *out, const struct page_settings *page, const struct msg_job *job)
{
	static const enum page_text reasons[FAIL_KINDS] = {
		[FAIL_TIMEOUT] = PAGE_TEXT_failed_timeout,	   [FAIL_THROTTLED] = PAGE_TEXT_failed_throttled,
		[FAIL_UNAVAILABLE] = PAGE_TEXT_failed_unavailable, [FAIL_INVALID] = PAGE_TEXT_failed_invalid,
		[FAIL_INTERNAL] = PAGE_TEXT_failed_internal,	   [FAIL_REJECTED] = PAGE_TEXT_failed_rejected,
	};

	switch (job->state) {
	case JOB_SUCCEEDED:
		return;
	case JOB_DEAD:
		buf_append_str(out,
			       page_text(page, job->has_error ? reasons[job->error.kind] : PAGE_TEXT_failed_internal));
		return;
	case JOB_CANCELED:
		buf_append_str(out, page_text(page, PAGE_TEXT_failed_canceled));
		return;
	case JOB_EXPIRED:
		buf_append_str(out, page_text(page, PAGE_TEXT_failed_expired));
		return;
	default:
		if (!job->has_eta_ms && job->state == JOB_SCHEDULED)
			return; /* the headline has said it */
		if (!job->has_eta_ms)
			buf_append_str(out, page_text(page, PAGE_TEXT_estimate_none));
		else if (job->eta_ms <= SOON_MS)
			buf_append_str(out, page_text(page, PAGE_TEXT_estimate_soon));
		else
			fill_time(out, page, PAGE_TEXT_estimate, job->eta_ms);
	}
}

int words_retry_after(const struct msg_job *job)
{
	int64_t seconds = job->has_eta_ms ? job->eta_ms / (20 * SECOND_MS) : 5;

	if (job->state == JOB_RUNNING || seconds < 2)
		return 2;
	return seconds > 30 ? 30 : (int)seconds;
}
