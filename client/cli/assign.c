#include "assign.h"

#include <string.h>

#include "proto/base/slice.h"
#include "proto/base/units.h"
#include "suggest.h"
#include "value.h"

static unsigned *defaults(const struct assign_table *t, void *settings)
{
	return (unsigned *)(void *)((char *)settings + t->defaults);
}

static void mark(const struct assign_key *k, void *settings, bool has)
{
	if (k->has)
		*(bool *)((char *)settings + k->has) = has;
}

static int take_back(const struct assign_table *t, const struct assign_key *k, void *settings)
{
	memset((char *)settings + k->offset, 0, k->size);
	mark(k, settings, false);
	*defaults(t, settings) |= k->bit;
	return 0;
}

/* ---- values ---- */

static int read_whole(const struct assign_key *k, const char *text, int64_t *ret, struct settings_error *error)
{
	if (k->kind == ASSIGN_SIZE && units_parse_size(slice_str(text), ret) < 0)
		return settings_refuse(error, "%s must be bytes or a size such as 64MiB, not \"%.60s\"", k->name, text);
	if (k->kind == ASSIGN_DURATION && value_duration(text, ret) < 0)
		return settings_refuse(error, "%s must be milliseconds or a duration such as 90s, not \"%.60s\"",
				       k->name, text);
	if (k->kind == ASSIGN_COUNT && value_whole(text, ret) < 0)
		return settings_refuse(error, "%s must be a whole number, not \"%.60s\"", k->name, text);
	if (*ret < (k->has ? 0 : 1))
		return settings_refuse(error, "%s must be %s", k->name, k->has ? "0 or more" : "more than 0");
	return 0;
}

static int read_number(const struct assign_key *k, const char *text, double *ret, struct settings_error *error)
{
	if (value_number(text, ret) < 0)
		return settings_refuse(error, "%s must be a number, not \"%.60s\"", k->name, text);
	if (*ret < 0 || (!k->has && *ret <= 0))
		return settings_refuse(error, "%s must be %s", k->name, k->has ? "0 or more" : "more than 0");
	return 0;
}

static int read_yes_no(const struct assign_key *k, const char *text, bool *ret, struct settings_error *error)
{
	if (value_yes_no(text, ret) < 0)
		return settings_refuse(error, "%s must be true or false, not \"%.60s\"", k->name, text);
	return 0;
}

/* Nothing is changed where the text is no value. */
static int read_value(const struct assign_key *k, void *settings, const char *text, struct settings_error *error)
{
	union {
		const char *text;
		int64_t whole;
		double number;
		bool yes;
	} value = { .text = text };
	int rc = 0;

	if (k->kind == ASSIGN_OWN)
		return k->read(settings, text, error);
	if (k->kind == ASSIGN_YES_NO)
		rc = read_yes_no(k, text, &value.yes, error);
	else if (k->kind == ASSIGN_NUMBER)
		rc = read_number(k, text, &value.number, error);
	else if (k->kind != ASSIGN_TEXT)
		rc = read_whole(k, text, &value.whole, error);
	if (rc == 0)
		memcpy((char *)settings + k->offset, &value, k->size);
	return rc;
}

/* ---- keys ---- */

static const struct assign_key *find_key(const struct assign_table *t, const char *name, size_t size)
{
	if (size > 3 && memcmp(name + size - 3, "_ms", 3) == 0)
		size -= 3;
	for (size_t i = 0; i < t->count; i++)
		if (strlen(t->keys[i].name) == size && memcmp(t->keys[i].name, name, size) == 0)
			return &t->keys[i];
	return NULL;
}

static int unknown_key(const struct assign_table *t, const char *name, struct settings_error *error)
{
	struct suggest s = { .word = name };

	for (size_t i = 0; i < t->count; i++)
		suggest_offer(&s, t->keys[i].name);
	if (s.best)
		return settings_refuse(error, "unknown setting \"%.60s\"; did you mean %s?", name, s.best);
	return settings_refuse(error, "unknown setting \"%.60s\"", name);
}

int assign(const struct assign_table *table, void *settings, const char *assignment, struct settings_error *error)
{
	const char *equals = strchr(assignment, '=');
	const struct assign_key *k;
	char name[64];
	int rc;

	if (!equals || equals == assignment)
		return settings_refuse(error, "\"%.60s\" is not KEY=VALUE", assignment);
	k = find_key(table, assignment, (size_t)(equals - assignment));
	if (!k) {
		snprintf(name, sizeof(name), "%.*s", (int)(equals - assignment), assignment);
		return unknown_key(table, name, error);
	}
	if (strcmp(equals + 1, "default") == 0)
		return take_back(table, k, settings);
	rc = read_value(k, settings, equals + 1, error);
	if (rc == ASSIGN_BACK)
		return take_back(table, k, settings);
	if (rc < 0)
		return rc;
	mark(k, settings, true);
	*defaults(table, settings) &= ~k->bit;
	return 0;
}
