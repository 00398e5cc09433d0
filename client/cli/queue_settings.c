#include "queue_settings.h"

#include <stdarg.h>
#include <string.h>

#include "proto/base/clean.h"
#include "proto/base/units.h"
#include "suggest.h"
#include "value.h"

enum kind { TEXT, YES_NO, COUNT, SIZE, DURATION, FACTOR, ALL_OF_BACKOFF };

/* has is the offset of has_…, or 0 where there is none: then 0 means "not given", and is no value. */
struct key {
	const char *name;
	enum kind kind;
	size_t offset, size;
	size_t has;
	unsigned bit; /* that takes it back */
};

#define AT(member)    offsetof(struct raincheck_queue_set, member)
#define WIDTH(member) sizeof(((struct raincheck_queue_set *)0)->member)
#define KEY(name, kind, member, has, bit)                                                   \
	{                                                                                   \
		name, kind, AT(member), WIDTH(member), has, (unsigned)RAINCHECK_QUEUE_##bit \
	}

static const struct key keys[] = {
	KEY("title", TEXT, title, 0, TITLE),
	KEY("paused", YES_NO, paused, AT(has_paused), PAUSED),
	KEY("max_jobs", COUNT, max_jobs, AT(has_max_jobs), MAX_JOBS),
	KEY("max_bytes", SIZE, max_bytes, AT(has_max_bytes), MAX_BYTES),
	KEY("max_attempts", COUNT, max_attempts, 0, MAX_ATTEMPTS),
	KEY("backoff", ALL_OF_BACKOFF, backoff, 0, BACKOFF),
	KEY("backoff.base", DURATION, backoff.base_ms, AT(backoff.has_base_ms), BACKOFF_BASE),
	KEY("backoff.factor", FACTOR, backoff.factor, 0, BACKOFF_FACTOR),
	KEY("backoff.max", DURATION, backoff.max_ms, 0, BACKOFF_MAX),
	KEY("backoff.jitter", FACTOR, backoff.jitter, AT(backoff.has_jitter), BACKOFF_JITTER),
	KEY("attempt_timeout", DURATION, attempt_timeout_ms, 0, ATTEMPT_TIMEOUT),
	KEY("result_ttl", DURATION, result_ttl_ms, AT(has_result_ttl_ms), RESULT_TTL),
};

static int refuse(struct settings_error *error, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int refuse(struct settings_error *error, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(error->message, sizeof(error->message), fmt, args);
	va_end(args);
	return RAINCHECK_EBAD_REQUEST;
}

static void clear(struct raincheck_queue_set *set, const struct key *k)
{
	memset((char *)set + k->offset, 0, k->size);
	if (k->has)
		*(bool *)((char *)set + k->has) = false;
}

static int take_back(struct raincheck_queue_set *set, const struct key *k)
{
	clear(set, k);
	set->defaults |= k->bit;
	return 0;
}

static int store(struct raincheck_queue_set *set, const struct key *k, const void *value)
{
	memcpy((char *)set + k->offset, value, k->size);
	if (k->has)
		*(bool *)((char *)set + k->has) = true;
	set->defaults &= ~k->bit;
	return 0;
}

static int store_whole(struct raincheck_queue_set *set, const struct key *k, int64_t value,
		       struct settings_error *error)
{
	if (value < (k->has ? 0 : 1))
		return refuse(error, "%s must be %s", k->name, k->has ? "0 or more" : "more than 0");
	return store(set, k, &value);
}

static int set_whole(struct raincheck_queue_set *set, const struct key *k, const char *text,
		     struct settings_error *error)
{
	int64_t value;

	if (k->kind == SIZE && units_parse_size(slice_str(text), &value) < 0)
		return refuse(error, "%s must be bytes or a size such as 64MiB, not \"%.60s\"", k->name, text);
	if (k->kind == DURATION && value_duration(text, &value) < 0)
		return refuse(error, "%s must be milliseconds or a duration such as 90s, not \"%.60s\"", k->name, text);
	if (k->kind == COUNT && value_whole(text, &value) < 0)
		return refuse(error, "%s must be a whole number, not \"%.60s\"", k->name, text);
	return store_whole(set, k, value, error);
}

static int set_value(struct raincheck_queue_set *set, const struct key *k, const char *text,
		     struct settings_error *error)
{
	double number;
	bool yes;

	switch (k->kind) {
	case TEXT:
		return store(set, k, &text);
	case YES_NO:
		if (value_yes_no(text, &yes) < 0)
			return refuse(error, "%s must be true or false, not \"%.60s\"", k->name, text);
		return store(set, k, &yes);
	case FACTOR:
		if (value_number(text, &number) < 0 || number < 0 || (!k->has && number <= 0))
			return refuse(error, "%s must be a number, not \"%.60s\"", k->name, text);
		return store(set, k, &number);
	case ALL_OF_BACKOFF:
		return refuse(error, "backoff can be taken back as a whole only; set backoff.base and the like");
	default:
		return set_whole(set, k, text, error);
	}
}

/* Also by its name on the wire, "attempt_timeout_ms". */
static const struct key *find_key(const char *name, size_t size)
{
	if (size > 3 && memcmp(name + size - 3, "_ms", 3) == 0)
		size -= 3;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (strlen(keys[i].name) == size && memcmp(keys[i].name, name, size) == 0)
			return &keys[i];
	return NULL;
}

static int unknown_key(const char *name, struct settings_error *error)
{
	struct suggest s = { .word = name };

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		suggest_offer(&s, keys[i].name);
	if (s.best)
		return refuse(error, "unknown setting \"%.60s\"; did you mean %s?", name, s.best);
	return refuse(error, "unknown setting \"%.60s\"", name);
}

int queue_settings_assign(struct raincheck_queue_set *set, const char *assignment, struct settings_error *error)
{
	const char *equals = strchr(assignment, '=');
	const struct key *k;
	char name[64];

	if (!equals || equals == assignment)
		return refuse(error, "\"%.60s\" is not KEY=VALUE", assignment);
	k = find_key(assignment, (size_t)(equals - assignment));
	if (!k) {
		snprintf(name, sizeof(name), "%.*s", (int)(equals - assignment), assignment);
		return unknown_key(name, error);
	}
	if (strcmp(equals + 1, "default") == 0)
		return take_back(set, k);
	return set_value(set, k, equals + 1, error);
}
