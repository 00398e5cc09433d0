#include "server/flow/schedule.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- looking ---- */

/* The first that is not over: the present one or the next. NULL where there is neither. */
static const struct limit_spell *not_over(const struct limit_settings *set, int64_t now_ms)
{
	for (size_t i = 0; i < set->schedule_count; i++)
		if (set->schedule[i].until_at_ms > now_ms)
			return &set->schedule[i];
	return NULL;
}

/* With the spell's numbers where it has any; spell may be NULL. */
static struct limit_caps merge(const struct limit_settings *set, const struct limit_spell *spell)
{
	struct limit_caps caps = set->caps;

	if (spell && spell->caps.concurrency >= 0)
		caps.concurrency = spell->caps.concurrency;
	if (spell && spell->caps.rate >= 0)
		caps.rate = spell->caps.rate;
	if (spell && spell->caps.burst >= 0)
		caps.burst = spell->caps.burst;
	if (caps.rate > 0 && caps.burst < 0)
		caps.burst = caps.rate > 1 ? caps.rate : 1;
	return caps;
}

struct limit_caps schedule_caps(const struct limit_settings *set, int64_t now_ms, int64_t *ret_until_ms)
{
	const struct limit_spell *spell = not_over(set, now_ms);

	if (!spell) {
		*ret_until_ms = INT64_MAX;
	} else if (spell->from_at_ms > now_ms) {
		*ret_until_ms = spell->from_at_ms;
		spell = NULL;
	} else {
		*ret_until_ms = spell->until_at_ms;
	}
	return merge(set, spell);
}

const struct limit_spell *schedule_spell(const struct limit_settings *set, int64_t now_ms)
{
	const struct limit_spell *spell = not_over(set, now_ms);

	return spell && spell->from_at_ms <= now_ms ? spell : NULL;
}

/* ---- checking: the comparisons are false for what is not a number ---- */

static int check_caps(const struct limit_caps *caps, struct error_info *info)
{
	if (caps->concurrency != -1 && !(caps->concurrency >= 1 && caps->concurrency <= LIMIT_CONCURRENCY_MAX))
		return error_set(info, ERR_BAD_REQUEST, "concurrency", "must be a number of calls from 1 to %d",
				 LIMIT_CONCURRENCY_MAX);
	if (caps->rate != -1 && !(caps->rate >= LIMIT_RATE_MIN && caps->rate <= LIMIT_RATE_MAX))
		return error_set(info, ERR_BAD_REQUEST, "rate", "must be calls a second from %.6f to %.0f",
				 LIMIT_RATE_MIN, LIMIT_RATE_MAX);
	if (caps->burst != -1 && !(caps->burst >= 1 && caps->burst <= LIMIT_BURST_MAX))
		return error_set(info, ERR_BAD_REQUEST, "burst", "must be a number of calls from 1 to %.0f",
				 LIMIT_BURST_MAX);
	return 0;
}

static int check_spell(const struct limit_settings *set, const struct limit_spell *spell, int64_t now_ms,
		       struct error_info *info)
{
	const struct limit_caps *caps = &spell->caps;

	if (spell->from_at_ms < 1)
		return error_set(info, ERR_BAD_REQUEST, "from_at_ms", "must be a moment, in milliseconds since 1970");
	if (spell->until_at_ms <= spell->from_at_ms)
		return error_set(info, ERR_BAD_REQUEST, "until_at_ms", "must come after from_at_ms");
	if (spell->until_at_ms <= now_ms)
		return error_set(info, ERR_BAD_REQUEST, "until_at_ms", "is over already");
	if (caps->concurrency == -1 && caps->rate == -1 && caps->burst == -1)
		return error_set(info, ERR_BAD_REQUEST, NULL, "says neither concurrency nor rate nor burst");
	if (check_caps(caps, info) < 0)
		return ERR_BAD_REQUEST;
	if (caps->burst != -1 && caps->rate == -1 && set->caps.rate == -1)
		return error_set(info, ERR_BAD_REQUEST, "burst", "means nothing without a rate");
	return 0;
}

static int check_overlaps(const struct limit_settings *set, struct error_info *info)
{
	const struct limit_spell *spells = set->schedule;
	char field[32];

	for (size_t i = 0; i < set->schedule_count; i++) {
		for (size_t n = 0; n < i; n++) {
			if (spells[i].from_at_ms >= spells[n].until_at_ms ||
			    spells[n].from_at_ms >= spells[i].until_at_ms)
				continue;
			snprintf(field, sizeof(field), "schedule[%zu]", i);
			return error_set(info, ERR_BAD_REQUEST, field, "overlaps schedule[%zu]", n);
		}
	}
	return 0;
}

int schedule_check(const struct limit_settings *set, int64_t now_ms, struct error_info *info)
{
	char field[32];

	if (check_caps(&set->caps, info) < 0)
		return ERR_BAD_REQUEST;
	if (set->caps.burst != -1 && set->caps.rate == -1)
		return error_set(info, ERR_BAD_REQUEST, "burst", "means nothing without a rate");
	if (set->schedule_count > LIMIT_SCHEDULE_MAX)
		return error_set(info, ERR_BAD_REQUEST, "schedule", "has more than %d entries", LIMIT_SCHEDULE_MAX);
	for (size_t i = 0; i < set->schedule_count; i++) {
		if (check_spell(set, &set->schedule[i], now_ms, info) < 0) {
			snprintf(field, sizeof(field), "schedule[%zu]", i);
			error_prefix(info, field);
			return ERR_BAD_REQUEST;
		}
	}
	return check_overlaps(set, info);
}

/* ---- order ---- */

void schedule_sort(struct limit_settings *set)
{
	struct limit_spell *spells = set->schedule;

	for (size_t i = 1; i < set->schedule_count; i++) {
		struct limit_spell spell = spells[i];
		size_t n = i;

		for (; n > 0 && spells[n - 1].from_at_ms > spell.from_at_ms; n--)
			spells[n] = spells[n - 1];
		spells[n] = spell;
	}
}

void schedule_forget(struct limit_settings *set, int64_t now_ms)
{
	size_t kept = 0;

	for (size_t i = 0; i < set->schedule_count; i++)
		if (set->schedule[i].until_at_ms > now_ms)
			set->schedule[kept++] = set->schedule[i];
	set->schedule_count = kept;
}
