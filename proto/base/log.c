#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../error.h"
#include "buf.h"
#include "clean.h"
#include "clock.h"
#include "text.h"

/* Up to this size a write to a pipe is never mixed with another's (PIPE_BUF). */
#define LINE_CAP       4096
#define LINE_ROOM      (LINE_CAP - 8) /* for the quotation mark, bracket and line feed that end a line */
#define LONGEST_ESCAPE 6
#define PAUSE_MS       10000

static enum log_level threshold = LOG_INFO;
static enum log_format line_format = LOG_TEXT;

static const char *const level_names[] = { "error", "warning", "info", "debug" };

void log_init(enum log_level level, enum log_format format)
{
	threshold = level;
	line_format = format;
}

bool log_enabled(enum log_level level)
{
	return level <= threshold;
}

int log_parse_level(const char *word, enum log_level *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(level_names); i++) {
		if (strcmp(word, level_names[i]) == 0) {
			*ret = (enum log_level)i;
			return 0;
		}
	}
	return ERR_BAD_REQUEST;
}

int log_parse_format(const char *word, enum log_format *ret)
{
	bool json = strcmp(word, "json") == 0;

	if (!json && strcmp(word, "text") != 0)
		return ERR_BAD_REQUEST;
	*ret = json ? LOG_JSON : LOG_TEXT;
	return 0;
}

/* Appends s until out holds limit bytes, escaped such that it is part of one line and does nothing to a terminal;
 * quoted: and of one JSON string. */
static void escape(struct buf *out, const char *s, bool quoted, size_t limit)
{
	size_t left = strlen(s);

	while (left > 0 && out->size + LONGEST_ESCAPE <= limit) {
		unsigned char c = (unsigned char)*s;
		size_t n = utf8_sequence(s, left);

		if (n == 0)
			buf_append_str(out, "\\ufffd");
		else if ((c == '"' && quoted) || c == '\\')
			buf_printf(out, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			buf_printf(out, "\\u%04x", c);
		else if (c == 0xc2 && (unsigned char)s[1] < 0xa0)
			buf_printf(out, "\\u%04x", (unsigned char)s[1]); /* U+0080 to U+009f control too */
		else
			buf_append(out, s, n);
		s += n ? n : 1;
		left -= n ? n : 1;
	}
}

static void timestamp(char *ret, size_t size)
{
	struct timespec t;
	struct tm tm;
	char date[32];

	clock_gettime(CLOCK_REALTIME, &t);
	gmtime_r(&t.tv_sec, &tm);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(ret, size, "%s.%03ldZ", date, t.tv_nsec / 1000000);
}

static void compose(struct buf *line, enum log_level level, const struct log_field *fields, size_t count,
		    const char *message)
{
	bool json = line_format == LOG_JSON;
	char now[64];

	timestamp(now, sizeof(now));
	buf_printf(line, json ? "{\"time\":\"%s\",\"level\":\"%s\",\"message\":\"" : "%s %-7s ", now,
		   level_names[level]);
	/* No message is so long that it leaves its fields no room. */
	escape(line, message, json, LINE_ROOM / 2);
	if (json)
		buf_append_str(line, "\"");
	for (size_t i = 0; i < count; i++) {
		/* A field that would have no room for anything of its value is left out. */
		if (!fields[i].value || line->size + strlen(fields[i].key) + 16 > LINE_ROOM)
			continue;
		buf_printf(line, json ? ",\"%s\":\"" : " %s=\"", fields[i].key);
		escape(line, fields[i].value, true, LINE_ROOM);
		buf_append_str(line, "\"");
	}
	if (json)
		buf_append_str(line, "}");
}

static void emit(enum log_level level, const struct log_field *fields, size_t count, const char *fmt, va_list args)
{
	_cleanup_(buf_done) struct buf line;
	char message[1024];
	ssize_t ignored;

	vsnprintf(message, sizeof(message), fmt, args);
	buf_init(&line, LINE_CAP);
	compose(&line, level, fields, count, message);
	buf_append_str(&line, "\n");
	/* Nobody is left to be told when standard error is gone. */
	ignored = write(STDERR_FILENO, line.data, line.size);
	(void)ignored;
}

void log_write(enum log_level level, const char *fmt, ...)
{
	va_list args;

	if (!log_enabled(level))
		return;
	va_start(args, fmt);
	emit(level, NULL, 0, fmt, args);
	va_end(args);
}

void log_event(enum log_level level, const struct log_field *fields, size_t count, const char *fmt, ...)
{
	va_list args;

	if (!log_enabled(level))
		return;
	va_start(args, fmt);
	emit(level, fields, count, fmt, args);
	va_end(args);
}

bool log_after_pause(struct log_pause *p, struct log_unsaid *ret)
{
	long long last = atomic_load(&p->said_at_ms), now = clock_mono_ms(), unsaid;

	/* Of several threads that come at once one says it. */
	if ((last != 0 && now - last < PAUSE_MS) || !atomic_compare_exchange_strong(&p->said_at_ms, &last, now)) {
		atomic_fetch_add(&p->unsaid, 1);
		return false;
	}
	unsaid = atomic_exchange(&p->unsaid, 0);
	ret->text[0] = '\0';
	if (unsaid > 0)
		snprintf(ret->text, sizeof(ret->text), " (and %lld more since the last such line)", unsaid);
	return true;
}
