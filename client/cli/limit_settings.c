#include "limit_settings.h"

#include <string.h>

#include "assign.h"
#include "proto/base/clean.h"
#include "value.h"

#define MAX_ENTRY 256 /* bytes of one entry of a schedule */

static const char not_a_rate[] = "must be calls a second, or 10/s, 600/min, 100/h, not";

static int read_rate(void *settings, const char *text, struct settings_error *error)
{
	struct limit_draft *d = settings;

	if (value_rate(text, &d->set.rate) < 0)
		return settings_refuse(error, "rate %s \"%.60s\"", not_a_rate, text);
	return 0;
}

/* ---- parts ---- */

/* "4..200" */
static bool read_bounds(const char *text, int64_t *ret_min, int64_t *ret_max)
{
	const char *dots = strstr(text, "..");
	char first[32];

	if (!dots || (size_t)(dots - text) >= sizeof(first))
		return false;
	memcpy(first, text, (size_t)(dots - text));
	first[dots - text] = '\0';
	return value_whole(first, ret_min) == 0 && value_whole(dots + 2, ret_max) == 0;
}

static int read_adaptive(void *settings, const char *text, struct settings_error *error)
{
	struct limit_draft *d = settings;
	int64_t min, max;
	bool on;

	if (value_yes_no(text, &on) == 0)
		return on ? 0 : ASSIGN_BACK;
	if (!read_bounds(text, &min, &max))
		return settings_refuse(error, "adaptive must be MIN..MAX such as 4..200, or on or off, not \"%.60s\"",
				       text);
	if (min < 1 || max < min)
		return settings_refuse(error, "adaptive must begin with 1 or more and end with no less, not \"%.60s\"",
				       text);
	d->set.adaptive.min = min;
	d->set.adaptive.max = max;
	return 0;
}

static int read_breaker(void *settings, const char *text, struct settings_error *error)
{
	bool on;

	(void)settings;
	if (value_yes_no(text, &on) < 0)
		return settings_refuse(
			error, "breaker must be on or off, not \"%.60s\"; set breaker.window and the like", text);
	return on ? 0 : ASSIGN_BACK;
}

/* ---- the schedule ---- */

/* "FROM..UNTIL"; an UNTIL that counts from now is none for a FROM that does not: it would be read as how long. */
static int read_span(char *text, const struct limit_draft *d, struct raincheck_limit_spell *spell,
		     struct settings_error *error)
{
	char *until = strstr(text, "..");

	if (!until)
		return settings_refuse(error, "schedule must be FROM..UNTIL,concurrency=N..., not \"%.60s\"", text);
	*until = '\0';
	until += 2;
	if (value_coming_moment(text, d->now_ms, &spell->from_at_ms) < 0)
		return settings_refuse(error, "schedule: \"%.60s\" is no moment (2024-06-07T18:00:00Z, now, +2h)",
				       text);
	if (value_coming_moment(until, d->now_ms, &spell->until_at_ms) < 0)
		return settings_refuse(error, "schedule: \"%.60s\" is no moment (2024-06-07T18:00:00Z, now, +2h)",
				       until);
	if (until[0] == '+' && text[0] != '+' && strcmp(text, "now") != 0)
		return settings_refuse(error, "schedule: %.60s counts from now; after a date say a date", until);
	if (spell->until_at_ms <= spell->from_at_ms)
		return settings_refuse(error, "schedule: %.60s is not after %.60s", until, text);
	return 0;
}

static int read_spell_number(const char *name, const char *text, double *ret, struct settings_error *error)
{
	if (value_number(text, ret) < 0 || *ret <= 0)
		return settings_refuse(error, "schedule: %s must be a number above 0, not \"%.60s\"", name, text);
	return 0;
}

/* "concurrency=100" */
static int read_cap(char *text, struct raincheck_limit_spell *spell, struct settings_error *error)
{
	char *value = strchr(text, '=');

	if (value)
		*value++ = '\0';
	if (value && strcmp(text, "concurrency") == 0) {
		if (value_whole(value, &spell->concurrency) < 0 || spell->concurrency < 1)
			return settings_refuse(
				error, "schedule: concurrency must be a whole number above 0, not \"%.60s\"", value);
		return 0;
	}
	if (value && strcmp(text, "rate") == 0) {
		if (value_rate(value, &spell->rate) < 0)
			return settings_refuse(error, "schedule: rate %s \"%.60s\"", not_a_rate, value);
		return 0;
	}
	if (value && strcmp(text, "burst") == 0)
		return read_spell_number("burst", value, &spell->burst, error);
	return settings_refuse(error, "schedule: \"%.60s\" is not concurrency=N, rate=R or burst=N", text);
}

static int read_spell(void *settings, const char *text, struct settings_error *error)
{
	struct limit_draft *d = settings;
	struct raincheck_limit_spell spell = { 0 };
	char copy[MAX_ENTRY], *next = copy;
	int rc;

	if (strlen(text) >= sizeof(copy))
		return settings_refuse(error, "schedule: \"%.60s...\" is too long", text);
	if (d->set.schedule_count == RAINCHECK_MAX_SCHEDULE)
		return settings_refuse(error, "schedule: more than %d entries", RAINCHECK_MAX_SCHEDULE);
	memcpy(copy, text, strlen(text) + 1);
	rc = read_span(strsep(&next, ","), d, &spell, error);
	if (rc == 0 && !next)
		return settings_refuse(error, "schedule: \"%.60s\" says neither concurrency nor rate nor burst", text);
	while (rc == 0 && next)
		rc = read_cap(strsep(&next, ","), &spell, error);
	if (rc < 0)
		return rc;
	d->schedule[d->set.schedule_count++] = spell;
	d->set.schedule = d->schedule;
	return 0;
}

/* ---- the table ---- */

#define AT(member)    offsetof(struct limit_draft, set.member)
#define WIDTH(member) sizeof(((struct limit_draft *)0)->set.member)
#define KEY(name, kind, member, bit)                                                                     \
	{                                                                                                \
		name, ASSIGN_##kind, AT(member), WIDTH(member), 0, (unsigned)RAINCHECK_LIMIT_##bit, NULL \
	}
#define OWN(name, read, member, has, bit)                                                               \
	{                                                                                               \
		name, ASSIGN_OWN, AT(member), WIDTH(member), has, (unsigned)RAINCHECK_LIMIT_##bit, read \
	}

static const struct assign_key keys[] = {
	KEY("concurrency", COUNT, concurrency, CONCURRENCY),
	OWN("rate", read_rate, rate, 0, RATE),
	KEY("burst", NUMBER, burst, BURST),
	OWN("adaptive", read_adaptive, adaptive, AT(has_adaptive), ADAPTIVE),
	KEY("adaptive.min", COUNT, adaptive.min, ADAPTIVE_MIN),
	KEY("adaptive.max", COUNT, adaptive.max, ADAPTIVE_MAX),
	KEY("adaptive.latency_target", DURATION, adaptive.latency_target_ms, ADAPTIVE_LATENCY_TARGET),
	OWN("breaker", read_breaker, breaker, AT(has_breaker), BREAKER),
	KEY("breaker.window", DURATION, breaker.window_ms, BREAKER_WINDOW),
	KEY("breaker.min_calls", COUNT, breaker.min_calls, BREAKER_MIN_CALLS),
	KEY("breaker.failure_ratio", NUMBER, breaker.failure_ratio, BREAKER_FAILURE_RATIO),
	KEY("breaker.open", DURATION, breaker.open_ms, BREAKER_OPEN),
	OWN("schedule", read_spell, schedule_count, 0, SCHEDULE),
};

static const struct assign_table table = { keys, ARRAY_SIZE(keys), AT(defaults) };

int limit_settings_assign(struct limit_draft *d, const char *assignment, struct settings_error *error)
{
	return assign(&table, d, assignment, error);
}
