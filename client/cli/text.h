/* text.h: text for a terminal: how wide it is, and printed so that it cannot do anything but be read.
 *
 * What a broker sends may hold control characters that move cursors or change titles; they are shown as U+FFFD. The
 * calling thread's locale must be a UTF-8 one. One thread.
 */
#ifndef RAINCHECK_CLI_TEXT_H
#define RAINCHECK_CLI_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Columns that the text takes when printed with text_print(). */
size_t text_width(const char *text);

/* One line, whatever it held. */
void text_print(FILE *out, const char *text);
/* The same in at most width columns, cut with an ellipsis. Returns the columns used. */
size_t text_print_cut(FILE *out, const char *text, size_t width);

/* True where the bytes are text that a terminal can be shown: UTF-8 without control characters other than blanks and
 * line ends. A sequence cut off at the end is taken for text. */
bool text_is_printable(const void *data, size_t size);

/* "2024-06-07 12:30:00" in local time; "-" for 0. */
struct text_moment {
	char text[32];
};

struct text_moment text_moment(int64_t at_ms);

/* "3h": a duration to the nearest unit below, for the narrow columns of tables. Negative: "0s". */
struct text_age {
	char text[24];
};

struct text_age text_age(int64_t ms);

/* "350ms", "2.4s", "38s", "3.5m", "12m", "1.5h": how long something takes, in two digits or more. Negative: "0ms". */
struct text_span {
	char text[48];
};

struct text_span text_span(int64_t ms);

/* "in 2 to 4 min", "in about 3 min" where both ends say the same, "within 30 s" where it may be any moment: never less
 * than high_ms. low_ms ≤ high_ms. */
struct text_eta {
	char text[64];
};

struct text_eta text_eta(int64_t low_ms, int64_t high_ms);

/* "10/s", "2.5/s", "100/min": so many a second, in the shortest unit that says it with two decimals at most;
 * from 0 to 1e9. */
struct text_rate {
	char text[32];
};

struct text_rate text_rate(double per_second);

#endif
