#include "value.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/raincheck.h"
#include "proto/base/clean.h"
#include "proto/base/units.h"

int value_whole(const char *text, int64_t *ret)
{
	char *end;
	int64_t value;

	errno = 0;
	value = strtoll(text, &end, 10);
	if (errno != 0 || *end != '\0' || end == text)
		return RAINCHECK_EBAD_REQUEST;
	*ret = value;
	return 0;
}

int value_number(const char *text, double *ret)
{
	char *end;
	double value = strtod(text, &end);

	if (*end != '\0' || end == text || !isfinite(value))
		return RAINCHECK_EBAD_REQUEST;
	*ret = value;
	return 0;
}

int value_rate(const char *text, double *ret)
{
	static const struct {
		const char *name;
		double seconds;
	} units[] = { { "s", 1 }, { "min", 60 }, { "m", 60 }, { "h", 3600 } };
	char *end;
	double calls = strtod(text, &end);

	if (end == text || !isfinite(calls) || calls <= 0)
		return RAINCHECK_EBAD_REQUEST;
	if (*end == '\0') {
		*ret = calls;
		return 0;
	}
	for (size_t i = 0; *end == '/' && i < ARRAY_SIZE(units); i++) {
		if (strcmp(end + 1, units[i].name) == 0) {
			*ret = calls / units[i].seconds;
			return 0;
		}
	}
	return RAINCHECK_EBAD_REQUEST;
}

int value_duration(const char *text, int64_t *ret_ms)
{
	if (value_whole(text, ret_ms) == 0)
		return 0;
	return units_parse_duration(slice_str(text), ret_ms) == 0 ? 0 : RAINCHECK_EBAD_REQUEST;
}

int value_yes_no(const char *text, bool *ret)
{
	static const char *const words[] = { "false", "true", "no", "yes", "off", "on" };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcmp(text, words[i]) == 0) {
			*ret = i % 2 == 1;
			return 0;
		}
	}
	return RAINCHECK_EBAD_REQUEST;
}

/* ---- moments ---- */

/* Exactly count digits at *at, which moves on behind them. */
static bool take_digits(const char **at, size_t count, int *ret)
{
	int value = 0;

	for (size_t i = 0; i < count; i++) {
		if ((*at)[i] < '0' || (*at)[i] > '9')
			return false;
		value = value * 10 + ((*at)[i] - '0');
	}
	*at += count;
	*ret = value;
	return true;
}

static bool take_mark(const char **at, char mark)
{
	if (**at != mark)
		return false;
	(*at)++;
	return true;
}

static bool take_date(const char **at, struct tm *tm)
{
	if (!take_digits(at, 4, &tm->tm_year) || !take_mark(at, '-') || !take_digits(at, 2, &tm->tm_mon) ||
	    !take_mark(at, '-') || !take_digits(at, 2, &tm->tm_mday))
		return false;
	tm->tm_year -= 1900;
	tm->tm_mon -= 1;
	return true;
}

/* "12:30" or "12:30:45" */
static bool take_time(const char **at, struct tm *tm)
{
	if (!take_digits(at, 2, &tm->tm_hour) || !take_mark(at, ':') || !take_digits(at, 2, &tm->tm_min))
		return false;
	return !take_mark(at, ':') || take_digits(at, 2, &tm->tm_sec);
}

/* "Z", "+02:00" or "-0530": seconds east. */
static bool take_zone(const char **at, long *ret)
{
	bool west = **at == '-';
	int hours, minutes;

	*ret = 0;
	if (take_mark(at, 'Z'))
		return true;
	if (!take_mark(at, '+') && !take_mark(at, '-'))
		return false;
	if (!take_digits(at, 2, &hours))
		return false;
	take_mark(at, ':');
	if (!take_digits(at, 2, &minutes) || hours > 14 || minutes > 59)
		return false;
	*ret = (west ? -60L : 60L) * (hours * 60 + minutes);
	return true;
}

/* The calendar has what was written: mktime() takes the 31st of June for the first of July. */
static bool is_same(const struct tm *a, const struct tm *b)
{
	return a->tm_year == b->tm_year && a->tm_mon == b->tm_mon && a->tm_mday == b->tm_mday &&
	       a->tm_hour == b->tm_hour && a->tm_min == b->tm_min && a->tm_sec == b->tm_sec;
}

static bool parse_calendar(const char *text, int64_t *ret_at_ms)
{
	struct tm tm = { .tm_isdst = -1 }, written;
	time_t seconds;
	long east;

	if (!take_date(&text, &tm))
		return false;
	if ((take_mark(&text, 'T') || take_mark(&text, ' ')) && !take_time(&text, &tm))
		return false;
	written = tm;
	if (*text == '\0') {
		seconds = mktime(&tm);
	} else {
		if (!take_zone(&text, &east) || *text != '\0')
			return false;
		seconds = timegm(&tm) - east;
	}
	if (!is_same(&tm, &written))
		return false;
	*ret_at_ms = (int64_t)seconds * 1000;
	return true;
}

int value_moment(const char *text, int64_t now_ms, int64_t *ret_at_ms)
{
	int64_t at_ms, ago_ms;

	if (value_whole(text, &at_ms) < 0) {
		if (units_parse_duration(slice_str(text), &ago_ms) == 0)
			at_ms = now_ms - ago_ms;
		else if (!parse_calendar(text, &at_ms))
			return RAINCHECK_EBAD_REQUEST;
	}
	/* 0 means "not given" everywhere. */
	if (at_ms <= 0)
		return RAINCHECK_EBAD_REQUEST;
	*ret_at_ms = at_ms;
	return 0;
}

int value_coming_moment(const char *text, int64_t now_ms, int64_t *ret_at_ms)
{
	int64_t number, ahead_ms;

	if (strcmp(text, "now") == 0) {
		*ret_at_ms = now_ms;
		return 0;
	}
	if (text[0] == '+') {
		if (units_parse_duration(slice_str(text + 1), &ahead_ms) < 0)
			return RAINCHECK_EBAD_REQUEST;
		*ret_at_ms = now_ms + ahead_ms;
		return 0;
	}
	if (value_whole(text, &number) < 0 && units_parse_duration(slice_str(text), &ahead_ms) == 0)
		return RAINCHECK_EBAD_REQUEST;
	return value_moment(text, now_ms, ret_at_ms);
}
