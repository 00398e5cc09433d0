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

static int64_t grain_of(int64_t ms)
{
	return ms < MINUTE_MS	     ? 5 * SECOND_MS
	       : ms < 10 * MINUTE_MS ? 30 * SECOND_MS
	       : ms < HOUR_MS	     ? 5 * MINUTE_MS
				     : 30 * MINUTE_MS;
}

int64_t words_round_low(int64_t low_ms)
{
	return low_ms / grain_of(low_ms) * grain_of(low_ms);
}

int64_t words_round_high(int64_t high_ms)
{
	return divide_up(high_ms, grain_of(high_ms)) * grain_of(high_ms);
}

static void count(struct buf *out, const struct page_settings *page, enum page_text one, enum page_text many, int64_t n)
{
	char number[24];

	snprintf(number, sizeof(number), "%lld", (long long)n);
	fill(out, page_text(page, n == 1 ? one : many), "{n}", number);
}

/* The unit that so long a time is told in; 0: too short for a number. */
static int64_t unit_of(int64_t ms)
{
	return ms <= 40 * SECOND_MS ? 0 : ms < 90 * MINUTE_MS ? MINUTE_MS : ms < 2 * DAY_MS ? HOUR_MS : DAY_MS;
}

static void time_words(struct buf *out, const struct page_settings *page, int64_t unit, int64_t n)
{
	if (unit == 0)
		buf_append_str(out, page_text(page, PAGE_TEXT_seconds));
	else if (unit == MINUTE_MS)
		count(out, page, PAGE_TEXT_minute, PAGE_TEXT_minutes, n);
	else if (unit == HOUR_MS)
		count(out, page, PAGE_TEXT_hour, PAGE_TEXT_hours, n);
	else
		count(out, page, PAGE_TEXT_day, PAGE_TEXT_days, n);
}

/* As a string, cut where it is longer than any page needs. */
static void string_of(const struct buf *words, char *ret, size_t size)
{
	snprintf(ret, size, "%.*s", (int)words->size, words->size > 0 ? (const char *)words->data : "");
}

static void fill_time(struct buf *out, const struct page_settings *page, const char *text, int64_t ms)
{
	int64_t rounded = words_round_high(ms);
	int64_t unit = unit_of(rounded);
	char time[WORDS_MAX];
	struct buf words;

	buf_init(&words, WORDS_MAX);
	time_words(&words, page, unit, unit > 0 ? divide_up(rounded, unit) : 0);
	string_of(&words, time, sizeof(time));
	buf_done(&words);
	fill(out, text, "{time}", time);
}

/* n of unit to high_ms; the number alone where the high end has the same unit. */
static void fill_range(struct buf *out, const struct page_settings *page, int64_t unit, int64_t n, int64_t high_ms)
{
	char low[WORDS_MAX], text[WORDS_MAX];
	struct buf words;

	buf_init(&words, WORDS_MAX);
	if (unit == unit_of(high_ms))
		buf_printf(&words, "%lld", (long long)n);
	else
		time_words(&words, page, unit, n);
	string_of(&words, low, sizeof(low));
	buf_reset(&words);
	fill(&words, page_text(page, PAGE_TEXT_estimate_range), "{low}", low);
	string_of(&words, text, sizeof(text));
	buf_done(&words);
	fill_time(out, page, text, high_ms);
}

static void estimate_words(struct buf *out, const struct page_settings *page, const struct msg_eta *eta)
{
	int64_t high = words_round_high(eta->high), low = words_round_low(eta->low);
	int64_t unit = unit_of(high), low_unit = unit_of(low);
	int64_t n = low_unit > 0 ? (low + low_unit / 2) / low_unit : 0;
	bool one = words_round_high(eta->low) == high;

	if (high <= SOON_MS)
		buf_append_str(out, page_text(page, PAGE_TEXT_estimate_soon));
	else if (one || (unit == low_unit && (unit == 0 || n >= divide_up(high, unit))))
		fill_time(out, page, page_text(page, PAGE_TEXT_estimate), high);
	else if (low <= SOON_MS)
		fill_time(out, page, page_text(page, PAGE_TEXT_estimate_within), high);
	else
		fill_range(out, page, low_unit, n, high);
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
		fill_time(out, page, page_text(page, PAGE_TEXT_scheduled), job->run_at_ms - now_ms);
	} else {
		buf_append_str(out, page_text(page, PAGE_TEXT_starting));
	}
}

/* Why nobody goes on, before when that may change. */
static void waiting_words(struct buf *out, const struct page_settings *page, const struct msg_job *job)
{
	static const enum page_text reasons[WAIT_REASONS] = {
		[WAIT_PAUSED] = PAGE_TEXT_waits_paused,
		[WAIT_HELD] = PAGE_TEXT_waits_held,
		[WAIT_BREAKER] = PAGE_TEXT_waits_breaker,
	};

	if (!job->has_waiting_for)
		return;
	buf_append_str(out, page_text(page, reasons[job->waiting_for.reason]));
	if (job->has_eta_ms)
		buf_append_str(out, " ");
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
		if (!job->has_eta_ms && !job->has_waiting_for && job->state == JOB_SCHEDULED)
			return; /* the headline has said it */
		waiting_words(out, page, job);
		if (!job->has_eta_ms && job->has_waiting_for)
			return; /* there is a reason for not knowing */
		if (!job->has_eta_ms)
			buf_append_str(out, page_text(page, PAGE_TEXT_estimate_none));
		else
			estimate_words(out, page, &job->eta_ms);
	}
}

int words_retry_after(const struct msg_job *job)
{
	int64_t seconds = job->has_eta_ms ? job->eta_ms.low / (20 * SECOND_MS) : 5;

	if (job->state == JOB_RUNNING || seconds < 2)
		return 2;
	return seconds > 30 ? 30 : (int)seconds;
}
