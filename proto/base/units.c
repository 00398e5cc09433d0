#include "units.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../error.h"
#include "clean.h"

#define CENTURY_MS (100LL * 365 * 86400 * 1000)
#define SIZE_LIMIT (1LL << 62)

struct unit {
	const char *name;
	double factor;
};

static const struct unit durations[] = {
	{ "ms", 1 }, { "s", 1e3 }, { "m", 60e3 }, { "min", 60e3 }, { "h", 3600e3 }, { "d", 86400e3 },
};

static const struct unit sizes[] = {
	{ "", 1 },
	{ "B", 1 },
	{ "KiB", 1024 },
	{ "MiB", 1048576 },
	{ "GiB", 1073741824.0 },
	{ "kB", 1e3 },
	{ "TiB", 1099511627776.0 },
	{ "MB", 1e6 },
	{ "GB", 1e9 },
	{ "TB", 1e12 },
};

static int parse(struct slice text, const struct unit *units, size_t count, double limit, double *ret)
{
	char copy[32];
	char *end;
	double value;

	if (text.size == 0 || text.size >= sizeof(copy))
		return ERR_BAD_REQUEST;
	memcpy(copy, text.data, text.size);
	copy[text.size] = '\0';
	value = strtod(copy, &end);
	/* strtod alone would take "inf", "0x1p3", "1e3", a sign and leading blanks too. */
	if (copy[0] < '0' || copy[0] > '9' || end != copy + strspn(copy, "0123456789.") || strlen(copy) != text.size)
		return ERR_BAD_REQUEST;
	while (*end == ' ')
		end++;
	for (size_t i = 0; i < count; i++) {
		if (strcmp(end, units[i].name) != 0)
			continue;
		if (value * units[i].factor > limit)
			return ERR_BAD_REQUEST;
		*ret = value * units[i].factor;
		return 0;
	}
	return ERR_BAD_REQUEST;
}

int units_parse_duration(struct slice text, int64_t *ret_ms)
{
	double ms;

	if (slice_is(text, "0")) {
		*ret_ms = 0;
		return 0;
	}
	if (parse(text, durations, ARRAY_SIZE(durations), (double)CENTURY_MS, &ms) < 0)
		return ERR_BAD_REQUEST;
	*ret_ms = (int64_t)(ms + 0.5);
	return 0;
}

int units_parse_size(struct slice text, int64_t *ret_bytes)
{
	double bytes;

	if (parse(text, sizes, ARRAY_SIZE(sizes), (double)SIZE_LIMIT, &bytes) < 0)
		return ERR_BAD_REQUEST;
	*ret_bytes = (int64_t)(bytes + 0.5);
	return 0;
}

struct units_text units_format_duration(int64_t ms)
{
	struct units_text t;
	long long s = ms / 1000 + (ms % 1000 >= 500);

	if (ms < 1000)
		snprintf(t.text, sizeof(t.text), "%lld ms", (long long)(ms < 0 ? 0 : ms));
	else if (s < 60)
		snprintf(t.text, sizeof(t.text), "%lld s", s);
	else if (s < 3600)
		snprintf(t.text, sizeof(t.text), "%lld min %lld s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(t.text, sizeof(t.text), "%lld h %lld min", s / 3600, s / 60 % 60);
	else
		snprintf(t.text, sizeof(t.text), "%lld d %lld h", s / 86400, s / 3600 % 24);
	return t;
}

struct units_text units_format_size(int64_t bytes)
{
	static const char *const names[] = { "KiB", "MiB", "GiB", "TiB" };
	struct units_text t;
	double value = (double)bytes / 1024;
	size_t i = 0;

	if (bytes < 1024) {
		snprintf(t.text, sizeof(t.text), "%lld B", (long long)bytes);
		return t;
	}
	/* From here on one decimal would show 1024.0. */
	while (value >= 1023.95 && i + 1 < ARRAY_SIZE(names)) {
		value /= 1024;
		i++;
	}
	snprintf(t.text, sizeof(t.text), "%.1f %s", value, names[i]);
	return t;
}
