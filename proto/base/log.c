#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../error.h"
#include "buf.h"
#include "clean.h"

#define LINE_CAP 4096

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

static void escape(struct buf *out, const char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\')
			buf_printf(out, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			buf_printf(out, "\\u%04x", c);
		else
			buf_append(out, s, 1);
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
	escape(line, message);
	if (json)
		buf_append_str(line, "\"");
	for (size_t i = 0; i < count; i++) {
		if (!fields[i].value)
			continue;
		buf_printf(line, json ? ",\"%s\":\"" : " %s=\"", fields[i].key);
		escape(line, fields[i].value);
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
	if (buf_error(&line))
		buf_truncate(&line, line.size < LINE_CAP - 4 ? line.size : LINE_CAP - 4);
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
