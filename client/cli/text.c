#include "text.h"

#include <limits.h>
#include <string.h>
#include <time.h>
#include <wchar.h>

#include "proto/base/clean.h"
#include "proto/base/slice.h"
#include "proto/base/text.h"

#define REPLACEMENT "\xef\xbf\xbd"
#define ELLIPSIS    "\xe2\x80\xa6"

/* The character at text: its bytes, and its columns, or -1 where it must not be printed. */
static size_t next_character(const char *text, int *ret_columns)
{
	mbstate_t state = { 0 };
	wchar_t wide;
	size_t size = mbrtowc(&wide, text, strnlen(text, MB_LEN_MAX), &state);

	if (size == (size_t)-1 || size == (size_t)-2 || size == 0) {
		*ret_columns = -1;
		return 1;
	}
	*ret_columns = wcwidth(wide);
	return size;
}

size_t text_width(const char *text)
{
	size_t width = 0;

	while (*text) {
		int columns;

		text += next_character(text, &columns);
		width += columns < 0 ? 1 : (size_t)columns;
	}
	return width;
}

size_t text_print_cut(FILE *out, const char *text, size_t width)
{
	/* One column stays free for the ellipsis where it will be needed. */
	size_t room = text_width(text) > width ? width - 1 : width;
	size_t used = 0;

	while (*text) {
		int columns;
		size_t size = next_character(text, &columns);
		size_t wide = columns < 0 ? 1 : (size_t)columns;

		if (used + wide > room) {
			fputs(ELLIPSIS, out);
			return used + 1;
		}
		if (columns < 0)
			fputs(REPLACEMENT, out);
		else
			fwrite(text, 1, size, out);
		used += wide;
		text += size;
	}
	return used;
}

void text_print(FILE *out, const char *text)
{
	text_print_cut(out, text, SIZE_MAX);
}

bool text_is_printable(const void *data, size_t size)
{
	const unsigned char *p = data;

	for (size_t i = 0; i < size; i++)
		if ((p[i] < 0x20 && p[i] != '\n' && p[i] != '\t' && p[i] != '\r') || p[i] == 0x7f)
			return false;
	for (size_t cut = 0; cut < 4 && cut <= size; cut++)
		if (utf8_valid(slice_of(data, size - cut)))
			return true;
	return false;
}

struct text_moment text_moment(int64_t at_ms)
{
	struct text_moment m = { "-" };
	time_t seconds = (time_t)(at_ms / 1000);
	struct tm tm;

	if (at_ms > 0 && localtime_r(&seconds, &tm))
		strftime(m.text, sizeof(m.text), "%Y-%m-%d %H:%M:%S", &tm);
	return m;
}

struct text_age text_age(int64_t ms)
{
	static const struct {
		int64_t ms;
		char name;
	} units[] = { { 86400000, 'd' }, { 3600000, 'h' }, { 60000, 'm' }, { 1000, 's' } };
	struct text_age age = { "0s" };

	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (ms >= units[i].ms) {
			snprintf(age.text, sizeof(age.text), "%lld%c", (long long)(ms / units[i].ms), units[i].name);
			break;
		}
	}
	return age;
}

struct text_span text_span(int64_t ms)
{
	static const struct {
		int64_t ms;
		char name;
	} units[] = { { 86400000, 'd' }, { 3600000, 'h' }, { 60000, 'm' }, { 1000, 's' } };
	struct text_span span;

	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (ms < units[i].ms)
			continue;
		/* Of ten or more the tenths say nothing. */
		if (ms < 10 * units[i].ms && ms % units[i].ms * 10 >= units[i].ms)
			snprintf(span.text, sizeof(span.text), "%lld.%lld%c", (long long)(ms / units[i].ms),
				 (long long)(ms % units[i].ms * 10 / units[i].ms), units[i].name);
		else
			snprintf(span.text, sizeof(span.text), "%lld%c", (long long)(ms / units[i].ms), units[i].name);
		return span;
	}
	snprintf(span.text, sizeof(span.text), "%lldms", (long long)(ms > 0 ? ms : 0));
	return span;
}

/* In the largest unit of which the high end has at least one and a half, so that neither end is rounded away. */
struct text_eta text_eta(int64_t low_ms, int64_t high_ms)
{
	static const struct {
		int64_t ms;
		int64_t step; /* nobody knows to the second */
		const char *name;
	} units[] = { { 86400000, 1, "d" }, { 3600000, 1, "h" }, { 60000, 1, "min" }, { 1000, 5, "s" } };
	struct text_eta eta;
	int64_t step, low, high;
	size_t i = 0;

	while (i + 1 < ARRAY_SIZE(units) && high_ms / 3 * 2 < units[i].ms)
		i++;
	step = units[i].ms * units[i].step;
	low = (low_ms / step + (low_ms % step * 2 >= step)) * units[i].step;
	high = (high_ms / step + (high_ms % step > 0 || high_ms < step)) * units[i].step;
	if (low >= high)
		snprintf(eta.text, sizeof(eta.text), "in about %lld %s", (long long)high, units[i].name);
	else if (low <= 0)
		snprintf(eta.text, sizeof(eta.text), "within %lld %s", (long long)high, units[i].name);
	else
		snprintf(eta.text, sizeof(eta.text), "in %lld to %lld %s", (long long)low, (long long)high,
			 units[i].name);
	return eta;
}

struct text_rate text_rate(double per_second)
{
	static const struct {
		double seconds;
		const char *name;
	} units[] = { { 1, "s" }, { 60, "min" }, { 3600, "h" } };
	struct text_rate r;

	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		double hundredths = per_second * units[i].seconds * 100;
		double whole = (double)(int64_t)(hundredths + 0.5);

		if (whole < 1 || hundredths - whole > 1e-6 || whole - hundredths > 1e-6)
			continue;
		snprintf(r.text, sizeof(r.text), "%.10g/%s", whole / 100, units[i].name);
		return r;
	}
	snprintf(r.text, sizeof(r.text), "%.4g/s", per_second);
	return r;
}
