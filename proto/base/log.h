/* log.h: one line an event on standard error, as text for people or JSON for programs.
 *
 * Any thread; a line is written with one write(2), so lines never mix. Libraries return errors instead of logging: only
 * the tops (broker, sessions, worker, tools) call this. log_init() before other threads start.
 */
#ifndef RAINCHECK_BASE_LOG_H
#define RAINCHECK_BASE_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_TEXT, LOG_JSON };

/* A value beside the message: shown as key=value or "key":"value". */
struct log_field {
	const char *key;
	const char *value;
};

void log_init(enum log_level level, enum log_format format);
bool log_enabled(enum log_level level);

/* "error", "warning", "info", "debug"; "text", "json". ERR_BAD_REQUEST for another word. */
int log_parse_level(const char *word, enum log_level *ret);
int log_parse_format(const char *word, enum log_format *ret);

/* Control characters in what is logged are escaped, and quotes where the line has it in quotes; bytes that are not
 * UTF-8 replaced, so no input can forge a line or break the JSON of one. What would make a line longer than 4 KiB is
 * cut. */
void log_write(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void log_event(enum log_level level, const struct log_field *fields, size_t count, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* For what may happen many times a second: all zero at first. */
struct log_pause {
	atomic_llong said_at_ms; /* 0: never */
	atomic_llong unsaid;	 /* since then */
};

/* " (and 7 more since the last such line)", or "". */
struct log_unsaid {
	char text[64];
};

/* True where nothing was said for ten seconds; *ret is then for the end of the line. */
bool log_after_pause(struct log_pause *p, struct log_unsaid *ret);

#define log_error(...)	 log_write(LOG_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_WARNING, __VA_ARGS__)
#define log_info(...)	 log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...)                                     \
	do {                                               \
		if (log_enabled(LOG_DEBUG))                \
			log_write(LOG_DEBUG, __VA_ARGS__); \
	} while (0)

#endif
