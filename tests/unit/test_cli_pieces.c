/* What the command is made of: settings, moments, suggestions, widths, tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "client/cli/queue_settings.h"
#include "client/cli/settings.h"
#include "client/cli/suggest.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "client/cli/value.h"
#include "proto/base/clean.h"

/* ---- settings ---- */

static void test_takes_every_setting(void **state)
{
	static const char *const all[] = {
		"queue=q",
		"content_type=a/b",
		"priority=0",
		"delay_ms=1500",
		"run_at_ms=7",
		"start_deadline_ms=2m",
		"deadline_ms=1h",
		"attempt_timeout_ms=90s",
		"max_attempts=4",
		"backoff.base_ms=0",
		"backoff.factor=1.5",
		"backoff.max_ms=1m",
		"backoff.jitter=0",
		"idempotency_key=a=b",
		"group=g",
		"title=T",
		"metadata.m=v",
		"metadata.m=w",
		"callback_url=http://x",
		"result_ttl_ms=0",
		"traceparent=t",
	};
	_cleanup_(draft_done) struct draft d = { 0 };
	struct settings_error error = { "" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		assert_int_equal(settings_assign(&d, all[i], &error), 0);
	assert_string_equal(d.put.queue, "q");
	assert_true(d.put.has_priority && d.put.priority == 0);
	assert_int_equal(d.put.delay_ms, 1500);
	assert_int_equal(d.put.start_deadline_ms, 120000);
	assert_int_equal(d.put.attempt_timeout_ms, 90000);
	assert_true(d.put.backoff.has_base_ms && d.put.backoff.has_jitter && d.put.backoff.base_ms == 0);
	assert_true(d.put.backoff.factor > 1.49 && d.put.backoff.factor < 1.51);
	assert_string_equal(d.put.idempotency_key, "a=b");
	assert_true(d.put.has_result_ttl_ms);
	assert_int_equal(d.put.metadata_count, 1);
	assert_string_equal(d.put.metadata[0].value, "w");
}

static void refuses(const char *assignment, const char *named)
{
	_cleanup_(draft_done) struct draft d = { 0 };
	struct settings_error error = { "" };

	assert_int_equal(settings_assign(&d, assignment, &error), RAINCHECK_EBAD_REQUEST);
	assert_non_null(strstr(error.message, named));
}

static void test_refuses_what_is_no_setting(void **state)
{
	(void)state;
	refuses("nonsense", "nonsense");
	refuses("=x", "KEY=VALUE");
	refuses("prioritty=1", "did you mean priority?");
	refuses("priority=high", "priority");
	refuses("priority=1x", "priority");
	refuses("priority=99999999999999999999", "priority");
	refuses("delay_ms=soon", "delay_ms");
	refuses("backoff.factor=", "backoff.factor");
	refuses("backoff.jitter=nan", "backoff.jitter");
	/* A put would take 0 for "not given". */
	refuses("max_attempts=0", "max_attempts must be more than 0");
	refuses("deadline_ms=0", "deadline_ms must be more than 0");
	refuses("start_deadline_ms=0s", "start_deadline_ms must be more than 0");
	refuses("attempt_timeout_ms=0", "attempt_timeout_ms must be more than 0");
	refuses("backoff.factor=0", "backoff.factor must be more than 0");
	refuses("backoff.max_ms=0", "backoff.max_ms must be more than 0");
	refuses("preview=x.jpg", "@FILE");
	refuses("preview=@x.exe", "x.exe");
	refuses("preview=@/nonexistent.jpg", "/nonexistent.jpg");
	refuses("metadata.=x", "metadata");
}

static int from_json(struct draft *d, const char *text, struct settings_error *error)
{
	json_t *o = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	int rc = settings_from_json(d, o, error);

	assert_non_null(o);
	json_decref(o);
	return rc;
}

static void test_takes_json(void **state)
{
	_cleanup_(draft_done) struct draft d = { 0 }, text = { 0 };
	struct settings_error error = { "" };

	(void)state;
	assert_int_equal(
		from_json(&d,
			  "{\"queue\": \"q\", \"payload\": {\"a\": [1, null]}, \"priority\": 2, \"title\": null,"
			  " \"delay_ms\": \"3s\", \"backoff\": {\"base_ms\": 5, \"jitter\": 0.5},"
			  " \"metadata\": {\"k\": \"v\"}}",
			  &error),
		0);
	assert_string_equal(d.put.queue, "q");
	assert_int_equal(d.put.payload.size, strlen("{\"a\":[1,null]}"));
	assert_memory_equal(d.put.payload.data, "{\"a\":[1,null]}", d.put.payload.size);
	assert_string_equal(d.put.content_type, "application/json");
	assert_int_equal(d.put.delay_ms, 3000);
	assert_int_equal(d.put.backoff.base_ms, 5);
	assert_string_equal(d.put.metadata[0].key, "k");
	assert_null(d.put.title);
	assert_int_equal(from_json(&text, "{\"payload\": \"a\\u0000b\", \"content_type\": \"x/y\"}", &error), 0);
	assert_int_equal(text.put.payload.size, 3);
	assert_string_equal(text.put.content_type, "x/y");
}

static void test_refuses_json_of_the_wrong_kind(void **state)
{
	static const char *const bad[][2] = {
		{ "[]", "object" },
		{ "{\"queue\": 7}", "queue" },
		{ "{\"priority\": \"1\"}", "priority" },
		{ "{\"priority\": 1.5}", "priority" },
		{ "{\"backoff\": 1}", "backoff" },
		{ "{\"backoff\": {\"bas_ms\": 1}}", "backoff.base_ms" },
		{ "{\"metadata\": {\"k\": 1}}", "metadata.k" },
		{ "{\"titel\": \"x\"}", "title" },
		{ "{\"title\": \"a\\u0000b\"}", "title" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_(draft_done) struct draft d = { 0 };
		struct settings_error error = { "" };

		assert_int_equal(from_json(&d, bad[i][0], &error), RAINCHECK_EBAD_REQUEST);
		assert_non_null(strstr(error.message, bad[i][1]));
	}
}

/* ---- a queue's settings ---- */

static void test_takes_every_setting_of_a_queue(void **state)
{
	static const char *const all[] = {
		"title=T = U",	    "paused=yes",      "max_jobs=0",	      "max_bytes=64MiB",
		"max_attempts=3",   "backoff.base=2s", "backoff.factor=3",    "backoff.max_ms=1m",
		"backoff.jitter=0", "result_ttl=7d",   "attempt_timeout=30s", "attempt_timeout_ms=1500",
		"limit=api",	    "weight=3",	       "weights=vip:5,a:b:1", "weights=vip:7,a:b:2",
		"admit=deadline",
	};
	_cleanup_(queue_draft_done) struct queue_draft d = { 0 };
	struct settings_error error = { "" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		assert_int_equal(queue_settings_assign(&d, all[i], &error), 0);
	assert_string_equal(d.set.title, "T = U");
	assert_true(d.set.has_paused && d.set.paused);
	assert_true(d.set.has_max_jobs && d.set.max_jobs == 0);
	assert_true(d.set.has_max_bytes && d.set.max_bytes == 64 << 20);
	assert_int_equal(d.set.max_attempts, 3);
	assert_true(d.set.backoff.has_base_ms && d.set.backoff.base_ms == 2000);
	assert_true(d.set.backoff.factor > 2.9 && d.set.backoff.factor < 3.1);
	assert_int_equal(d.set.backoff.max_ms, 60000);
	assert_true(d.set.backoff.has_jitter);
	assert_int_equal(d.set.attempt_timeout_ms, 1500);
	assert_true(d.set.has_result_ttl_ms && d.set.result_ttl_ms == 7 * 86400000LL);
	assert_string_equal(d.set.limit, "api");
	assert_int_equal(d.set.weight, 3);
	assert_int_equal(d.set.weight_count, 2);
	assert_string_equal(d.set.weights[0].group, "vip");
	assert_int_equal(d.set.weights[0].weight, 7);
	assert_string_equal(d.set.weights[1].group, "a:b");
	assert_int_equal(d.set.weights[1].weight, 2);
	assert_true(d.set.has_admit && d.set.admit == RAINCHECK_ADMIT_DEADLINE);
	assert_int_equal(d.set.defaults, 0);
}

static void test_the_last_of_a_queues_settings_holds(void **state)
{
	static const char *const all[] = {
		"max_jobs=5",	   "max_jobs=default",	 "title=default", "title=T",	   "backoff.base=2s",
		"backoff=default", "backoff.factor=1.5", "paused=on",	  "paused=off",	   "weights=a:1",
		"weights=default", "weight=default",	 "limit=x",	  "limit=default", "limit=y",
		"admit=deadline",  "admit=default"
	};
	_cleanup_(queue_draft_done) struct queue_draft d = { 0 };
	struct settings_error error = { "" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		assert_int_equal(queue_settings_assign(&d, all[i], &error), 0);
	assert_false(d.set.has_max_jobs);
	assert_string_equal(d.set.title, "T");
	assert_false(d.set.backoff.has_base_ms);
	assert_true(d.set.backoff.factor > 1.4);
	assert_true(d.set.has_paused && !d.set.paused);
	assert_int_equal(d.set.weight_count, 0);
	assert_string_equal(d.set.limit, "y");
	assert_false(d.set.has_admit);
	assert_int_equal(d.set.defaults, RAINCHECK_QUEUE_WEIGHTS | RAINCHECK_QUEUE_WEIGHT | RAINCHECK_QUEUE_ADMIT |
						 ((RAINCHECK_QUEUE_MAX_JOBS | RAINCHECK_QUEUE_BACKOFF) &
						  ~(unsigned)RAINCHECK_QUEUE_BACKOFF_FACTOR));
}

static void test_refuses_what_is_no_setting_of_a_queue(void **state)
{
	static const char *const bad[][2] = {
		{ "nonsense", "KEY=VALUE" },
		{ "=1", "KEY=VALUE" },
		{ "max_job=1", "max_jobs?" },
		{ "xyzzy=1", "\"xyzzy\"" },
		{ "max_jobs=many", "max_jobs" },
		{ "max_jobs=-1", "0 or more" },
		{ "max_attempts=0", "more than 0" },
		{ "max_bytes=1 elephant", "64MiB" },
		{ "backoff=2s", "backoff.base" },
		{ "backoff.factor=0", "backoff.factor" },
		{ "backoff.jitter=-1", "jitter" },
		{ "backoff.base=soon", "90s" },
		{ "attempt_timeout=0", "more" },
		{ "paused=perhaps", "true or false" },
		{ "max_jobs=", "max_jobs" },
		{ "weight=0", "weight must be more than 0" },
		{ "weights=", "weights" },
		{ "weights=vip", "GROUP:WEIGHT" },
		{ "weights=:3", "GROUP:WEIGHT" },
		{ "weights=vip:0", "that of vip" },
		{ "weights=vip:1,", "weights" },
		{ "weights=vip:x", "that of vip" },
		{ "weights=a:1,a:2", "a is there twice" },
		{ "admit=never", "always or deadline" },
		{ "weihgt=1", "did you mean weight?" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_(queue_draft_done) struct queue_draft d = { 0 };
		struct settings_error error = { "" };

		assert_int_equal(queue_settings_assign(&d, bad[i][0], &error), RAINCHECK_EBAD_REQUEST);
		if (!strstr(error.message, bad[i][1]))
			fail_msg("\"%s\" is not in \"%s\"", bad[i][1], error.message);
	}
}

/* ---- moments ---- */

#define NOW 1717763400000 /* 2024-06-07 12:30 UTC, 14:30 in central Europe */
#define H   3600000LL

static void test_moments(void **state)
{
	static const struct {
		const char *text;
		int64_t at_ms;
	} good[] = {
		{ "2h", NOW - 2 * H },
		{ "90 min", NOW - 90 * 60000 },
		{ "1717763400001", NOW + 1 },
		{ "2024-06-07T12:30:00Z", NOW },
		{ "2024-06-07T12:30Z", NOW },
		{ "2024-06-07T14:30:01+02:00", NOW + 1000 },
		{ "2024-06-07T08:00:00-0430", NOW },
		{ "2024-06-07T14:30", NOW },
		{ "2024-06-07 14:30:02", NOW + 2000 },
		{ "2024-06-07", NOW - 14 * H - H / 2 },
		{ "2024-12-24", 1734994800000 },
		{ "2024-02-29", 1709161200000 },
	};
	static const char *const bad[] = {
		"",
		"soon",
		"-5",
		"0",
		"2h ago",
		"2024-6-7",
		"2024-06-31",
		"2023-02-29",
		"2024-06-07T",
		"2024-06-07T12",
		"2024-13-01",
		"2024-06-07Tx",
		"1969-01-01",
		"2024-06-07T25:00",
		"2024-06-07T12:30:00+2",
		"2024-06-07T12:30:00Zulu",
		"2024-06-07T12:30:00+99:00",
	};
	int64_t at_ms;

	(void)state;
	setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
	tzset();
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(value_moment(good[i].text, NOW, &at_ms), 0);
		if (at_ms != good[i].at_ms)
			fail_msg("%s is %lld, not %lld", good[i].text, (long long)at_ms, (long long)good[i].at_ms);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (value_moment(bad[i], NOW, &at_ms) == 0)
			fail_msg("\"%s\" is taken for %lld", bad[i], (long long)at_ms);
	unsetenv("TZ");
	tzset();
}

static void test_moments_to_come(void **state)
{
	static const struct {
		const char *text;
		int64_t at_ms;
	} good[] = {
		{ "now", NOW },
		{ "+2h", NOW + 2 * H },
		{ "+90 min", NOW + 3 * H / 2 },
		{ "2024-06-07T12:30:00Z", NOW },
		{ "2024-06-07T14:30:01+02:00", NOW + 1000 },
		{ "1717763400001", NOW + 1 },
	};
	static const char *const bad[] = { "", "2h", "-2h", "+", "+soon", "++2h", "tomorrow", "2024-06-31" };
	int64_t at_ms = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(value_coming_moment(good[i].text, NOW, &at_ms), 0);
		assert_int_equal(at_ms, good[i].at_ms);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (value_coming_moment(bad[i], NOW, &at_ms) == 0)
			fail_msg("\"%s\" is taken for %lld", bad[i], (long long)at_ms);
}

/* ---- rates ---- */

static void test_rates(void **state)
{
	static const struct {
		const char *text, *shown;
		double per_second;
	} good[] = {
		{ "10", "10/s", 10 },
		{ "10/s", "10/s", 10 },
		{ "600/min", "10/s", 10 },
		{ "2.5", "2.5/s", 2.5 },
		{ "100/min", "100/min", 100 / 60.0 },
		{ "100/m", "100/min", 100 / 60.0 },
		{ "7/h", "7/h", 7 / 3600.0 },
		{ "1000000", "1000000/s", 1e6 },
		{ "0.000001", "1e-06/s", 1e-6 },
	};
	static const char *const bad[] = {
		"", "0", "-1", "fast", "10/", "10/day", "10 /s", "/s", "nan", "inf/s", "0/s"
	};
	double rate;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(value_rate(good[i].text, &rate), 0);
		assert_float_equal(rate, good[i].per_second, 1e-9);
		assert_string_equal(text_rate(rate).text, good[i].shown);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (value_rate(bad[i], &rate) == 0)
			fail_msg("\"%s\" is taken for %g", bad[i], rate);
}

/* ---- suggestions ---- */

static void test_distances(void **state)
{
	(void)state;
	assert_int_equal(suggest_distance("queue", "queue"), 0);
	assert_int_equal(suggest_distance("qeue", "queue"), 1);
	assert_int_equal(suggest_distance("uqeue", "queue"), 1);
	assert_int_equal(suggest_distance("", "abc"), 3);
	assert_int_equal(suggest_distance("kitten", "sitting"), 3);
}

static void test_suggests_only_what_is_near(void **state)
{
	struct suggest near = { .word = "stat" }, far = { .word = "xyz" };

	(void)state;
	suggest_offer(&near, "ls");
	suggest_offer(&near, "stats");
	suggest_offer(&near, "state");
	assert_string_equal(near.best, "stats");
	suggest_offer(&far, "put");
	suggest_offer(&far, "ls");
	assert_null(far.best);
}

/* ---- text and tables ---- */

static char *printed(void (*print)(FILE *out, const void *arg), const void *arg)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	print(out, arg);
	fclose(out);
	return text;
}

static void print_cut(FILE *out, const void *arg)
{
	text_print_cut(out, arg, 6);
}

static void print_whole(FILE *out, const void *arg)
{
	text_print(out, arg);
}

static void prints(void (*print)(FILE *out, const void *arg), const char *text, const char *expected)
{
	_cleanup_free_ char *got = printed(print, text);

	assert_string_equal(got, expected);
}

static void test_text(void **state)
{
	(void)state;
	assert_int_equal(text_width("abc"), 3);
	assert_int_equal(text_width("Gr\u00fc\u00dfe"), 5);
	assert_int_equal(text_width("\u6771\u4eac"), 4);
	assert_int_equal(text_width("e\u0301"), 1);
	prints(print_whole, "a\033[31mb\nc", "a\ufffd[31mb\ufffdc");
	prints(print_whole,
	       "a\xff"
	       "b",
	       "a\ufffd"
	       "b");
	prints(print_cut, "abcdef", "abcdef");
	prints(print_cut, "abcdefg", "abcde\u2026");
	prints(print_cut, "\u6771\u4eac\u6771\u4eac", "\u6771\u4eac\u2026");
	assert_true(text_is_printable("text\n\t\u00fc", 8));
	assert_true(text_is_printable("cut \xc3", 5));
	assert_false(text_is_printable("\x89PNG", 4));
	assert_false(text_is_printable("a\0b", 3));
	assert_string_equal(text_moment(0).text, "-");
	assert_string_equal(text_age(-5).text, "0s");
	assert_string_equal(text_age(59999).text, "59s");
	assert_string_equal(text_age(3600000).text, "1h");
	assert_string_equal(text_age(86400000LL * 100).text, "100d");
	assert_string_equal(text_span(-5).text, "0ms");
	assert_string_equal(text_span(999).text, "999ms");
	assert_string_equal(text_span(1099).text, "1s");
	assert_string_equal(text_span(1100).text, "1.1s");
	assert_string_equal(text_span(9999).text, "9.9s");
	assert_string_equal(text_span(10999).text, "10s");
	assert_string_equal(text_span(90000).text, "1.5m");
	assert_string_equal(text_span(36 * 3600000LL).text, "1.5d");
}

static void print_table(FILE *out, const void *arg)
{
	static const char *const titles[] = { "NAME", "N", "NOTE" };
	_cleanup_(table_done) struct table t;
	const bool *colour = arg;

	table_init(&t, titles, 3, 1u << 1, *colour);
	table_add(&t, "\u6771\u4eac");
	table_add_number(&t, 7);
	table_add_coloured(&t, "x", "32");
	table_add(&t, "longer");
	table_add_number(&t, 1234);
	table_add(&t, NULL);
	assert_true(table_print(&t, out));
}

static void test_tables_are_aligned(void **state)
{
	static const bool plain = false, coloured = true;
	_cleanup_free_ char *text = printed(print_table, &plain);
	_cleanup_free_ char *bright = printed(print_table, &coloured);

	(void)state;
	assert_string_equal(text, "NAME       N  NOTE\n"
				  "\u6771\u4eac       7  x\n"
				  "longer  1234  -\n");
	assert_non_null(strstr(bright, "\033[32mx\033[0m"));
}

/* A table for a terminal as wide as *arg. */
static void print_fitted(FILE *out, const void *arg)
{
	static const char *const titles[] = { "ID", "QUEUE", "N", "GROUP", "TITLE" };
	_cleanup_(table_done) struct table t;

	table_init(&t, titles, 5, 1u << 2, false);
	table_add(&t, "0123456789abcdef");
	table_add(&t, "the-queue-of-videos");
	table_add_number(&t, 1234567);
	table_add(&t, NULL);
	table_add(&t, "\u6771\u4eac, a title that goes on");
	table_fit(&t, *(const size_t *)arg, 1u << 0);
	assert_true(table_print(&t, out));
}

static void fits(size_t width, const char *expected)
{
	_cleanup_free_ char *text = printed(print_fitted, &width);

	assert_string_equal(text, expected);
}

static void test_tables_fit_the_terminal(void **state)
{
	(void)state;
	fits(0, "ID                QUEUE                      N  GROUP  TITLE\n"
		"0123456789abcdef  the-queue-of-videos  1234567  -      \u6771\u4eac, a title that goes on\n");
	fits(100, "ID                QUEUE                      N  TITLE\n"
		  "0123456789abcdef  the-queue-of-videos  1234567  \u6771\u4eac, a title that goes on\n");
	fits(62, "ID                QUEUE                      N  TITLE\n"
		 "0123456789abcdef  the-queue-of-videos  1234567  \u6771\u4eac, a title\u2026\n");
	fits(53, "ID                QUEUE               N  TITLE\n"
		 "0123456789abcdef  the-queue-o\u2026  1234567  \u6771\u4eac, a tit\u2026\n");
	fits(40, "ID                QUEUE         N  TITLE\n"
		 "0123456789abcdef  the-q\u2026  1234567  \u6771\u4eac\u2026\n");
	fits(22, "ID                QUE\u2026\n"
		 "0123456789abcdef  the\u2026\n");
	fits(5, "ID\n"
		"0123456789abcdef\n");
}

/* ---- estimates ---- */

static void test_estimates_are_ranges(void **state)
{
	static const struct {
		int64_t low_ms, high_ms;
		const char *text;
	} rows[] = {
		{ 0, 0, "within 5 s" },
		{ 0, 1, "within 5 s" },
		{ 12000, 14000, "in 10 to 15 s" },
		{ 13000, 14000, "in about 15 s" },
		{ 40000, 89999, "in 40 to 90 s" },
		{ 20000, 90000, "within 2 min" },
		{ 2 * 60000, 4 * 60000, "in 2 to 4 min" },
		{ 2 * 60000, 4 * 60000 + 1, "in 2 to 5 min" },
		{ 2 * 60000 + 29999, 2 * 60000 + 40000, "in 2 to 3 min" },
		{ 2 * 60000 + 30000, 2 * 60000 + 40000, "in about 3 min" },
		{ 3 * 60000, 3 * 60000, "in about 3 min" },
		{ 5 * 60000, 89 * 60000, "in 5 to 89 min" },
		{ 50 * 60000, 3 * 3600000, "in 1 to 3 h" },
		{ 30 * 3600000LL, 60 * 3600000LL, "in 1 to 3 d" },
		{ 0, 365 * 86400000LL, "within 365 d" },
		/* A broker that says the impossible. */
		{ 5000, 1000, "in about 5 s" },
		{ INT64_MAX, INT64_MAX, "in 106751991167 to 106751991168 d" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_string_equal(text_eta(rows[i].low_ms, rows[i].high_ms).text, rows[i].text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_takes_every_setting),
		cmocka_unit_test(test_refuses_what_is_no_setting),
		cmocka_unit_test(test_takes_json),
		cmocka_unit_test(test_refuses_json_of_the_wrong_kind),
		cmocka_unit_test(test_takes_every_setting_of_a_queue),
		cmocka_unit_test(test_the_last_of_a_queues_settings_holds),
		cmocka_unit_test(test_refuses_what_is_no_setting_of_a_queue),
		cmocka_unit_test(test_moments),
		cmocka_unit_test(test_moments_to_come),
		cmocka_unit_test(test_rates),
		cmocka_unit_test(test_distances),
		cmocka_unit_test(test_suggests_only_what_is_near),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_tables_are_aligned),
		cmocka_unit_test(test_tables_fit_the_terminal),
		cmocka_unit_test(test_estimates_are_ranges),
	};

	setlocale(LC_CTYPE, "C.UTF-8");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
