/* Reading trusts nothing but the checksum's word that the bytes are those once written: each number is held against the
 * bounds that limit_settings_check() put to it, so that the arithmetic never meets a shape it was not written for.
 */
#include "server/store/limit_record.h"

#include <math.h>
#include <string.h>

#include "proto/error.h"
#include "server/store/record_bytes.h"

#define HAS_ADAPTIVE 0x01u
#define HAS_BREAKER  0x02u
#define HAS_PROBE    0x04u
#define FLAGS	     (HAS_ADAPTIVE | HAS_BREAKER | HAS_PROBE)

/* ---- writing ---- */

static void put_i32(struct buf *out, int32_t n)
{
	put_number(out, (uint32_t)n, 4);
}

static void put_caps(struct buf *out, const struct limit_caps *caps)
{
	put_i32(out, caps->concurrency);
	put_double(out, caps->rate);
	put_double(out, caps->burst);
}

static void put_settings(struct buf *out, const struct limit_settings *set)
{
	put_caps(out, &set->caps);
	put_i32(out, set->adaptive.min);
	put_i32(out, set->adaptive.max);
	put_i64(out, set->adaptive.latency_target_ms);
	put_i64(out, set->breaker.window_ms);
	put_i32(out, set->breaker.min_calls);
	put_double(out, set->breaker.failure_ratio);
	put_i64(out, set->breaker.open_ms);
	put_number(out, set->schedule_count, 4);
	for (size_t i = 0; i < set->schedule_count; i++) {
		put_i64(out, set->schedule[i].from_at_ms);
		put_i64(out, set->schedule[i].until_at_ms);
		put_caps(out, &set->schedule[i].caps);
	}
}

static void put_breaker(struct buf *out, const struct breaker_state *s)
{
	put_number(out, s->phase, 1);
	put_i64(out, s->open_until_ms);
	buf_append(out, s->probe.bytes, sizeof(s->probe.bytes));
	put_i64(out, s->slot_number);
	for (int i = 0; i < BREAKER_SLOTS; i++) {
		put_number(out, s->slots[i].calls, 4);
		put_number(out, s->slots[i].failures, 4);
	}
	put_i64(out, s->since_ms);
	put_i64(out, s->opened_total);
}

int record_write_limit(struct buf *out, const struct limit_record *l)
{
	size_t start = out->size;

	begin_record(out);
	put_bytes(out, l->name);
	put_number(out,
		   (l->settings.has_adaptive ? HAS_ADAPTIVE : 0) | (l->settings.has_breaker ? HAS_BREAKER : 0) |
			   (l->breaker.has_probe ? HAS_PROBE : 0),
		   1);
	put_settings(out, &l->settings);
	put_double(out, l->bucket.tokens);
	put_i64(out, l->bucket.at_ms);
	put_breaker(out, &l->breaker);
	put_double(out, l->adapt.value);
	for (int i = 0; i < ADAPT_NUMBERS; i++)
		put_double(out, l->adapt.numbers[i]);
	put_i32(out, l->adapt_opened);
	put_i64(out, l->spell_at_ms);
	put_i64(out, l->held_until_ms);
	put_i64(out, l->started_total);
	put_i64(out, l->succeeded_total);
	put_i64(out, l->failed_total);
	put_i64(out, l->throttled_total);
	return end_record(out, start);
}

/* ---- reading ---- */

static int32_t get_i32(struct reader *r)
{
	return (int32_t)(uint32_t)get_number(r, 4);
}

static struct limit_caps get_caps(struct reader *r)
{
	struct limit_caps caps;

	caps.concurrency = get_i32(r);
	caps.rate = get_double(r);
	caps.burst = get_double(r);
	return caps;
}

/* False where there are more spells than may be. */
static bool get_settings(struct reader *r, struct limit_settings *ret)
{
	ret->caps = get_caps(r);
	ret->adaptive.min = get_i32(r);
	ret->adaptive.max = get_i32(r);
	ret->adaptive.latency_target_ms = get_i64(r);
	ret->breaker.window_ms = get_i64(r);
	ret->breaker.min_calls = get_i32(r);
	ret->breaker.failure_ratio = get_double(r);
	ret->breaker.open_ms = get_i64(r);
	ret->schedule_count = get_number(r, 4);
	if (ret->schedule_count > LIMIT_SCHEDULE_MAX)
		return false;
	for (size_t i = 0; i < ret->schedule_count; i++) {
		ret->schedule[i].from_at_ms = get_i64(r);
		ret->schedule[i].until_at_ms = get_i64(r);
		ret->schedule[i].caps = get_caps(r);
	}
	return true;
}

static void get_breaker(struct reader *r, struct breaker_state *ret)
{
	ret->phase = (uint8_t)get_number(r, 1);
	ret->open_until_ms = get_i64(r);
	get_array(r, ret->probe.bytes, sizeof(ret->probe.bytes));
	ret->slot_number = get_i64(r);
	for (int i = 0; i < BREAKER_SLOTS; i++) {
		ret->slots[i].calls = (uint32_t)get_number(r, 4);
		ret->slots[i].failures = (uint32_t)get_number(r, 4);
	}
	ret->since_ms = get_i64(r);
	ret->opened_total = get_i64(r);
}

/* ---- the shape: each comparison is false for what is not a number ---- */

static bool caps_fit(const struct limit_caps *c)
{
	return (c->concurrency == -1 || (c->concurrency >= 1 && c->concurrency <= LIMIT_CONCURRENCY_MAX)) &&
	       (c->rate == -1 || (c->rate >= LIMIT_RATE_MIN && c->rate <= LIMIT_RATE_MAX)) &&
	       (c->burst == -1 || (c->burst >= 1 && c->burst <= LIMIT_BURST_MAX));
}

static bool adaptive_fits(const struct adaptive_settings *a)
{
	return a->min >= 1 && a->min <= a->max && a->max <= LIMIT_CONCURRENCY_MAX && a->latency_target_ms >= 0 &&
	       a->latency_target_ms <= LIMIT_LATENCY_TARGET_MAX_MS;
}

static bool breaker_fits(const struct breaker_settings *b)
{
	return b->window_ms >= BREAKER_WINDOW_MIN_MS && b->window_ms <= BREAKER_WINDOW_MAX_MS && b->min_calls >= 1 &&
	       b->min_calls <= BREAKER_CALLS_MAX && b->failure_ratio > 0 && b->failure_ratio <= 1 &&
	       b->open_ms >= BREAKER_OPEN_MIN_MS && b->open_ms <= BREAKER_OPEN_MAX_MS;
}

static bool settings_fit(const struct limit_settings *set)
{
	int64_t over_ms = 1;

	if (!caps_fit(&set->caps) || (set->has_adaptive && !adaptive_fits(&set->adaptive)) ||
	    (set->has_breaker && !breaker_fits(&set->breaker)))
		return false;
	for (size_t i = 0; i < set->schedule_count; i++) {
		const struct limit_spell *spell = &set->schedule[i];

		if (spell->from_at_ms < over_ms || spell->until_at_ms <= spell->from_at_ms || !caps_fit(&spell->caps))
			return false;
		over_ms = spell->until_at_ms;
	}
	return true;
}

static bool breaker_state_fits(const struct breaker_state *s)
{
	if (s->phase >= BREAKER_PHASES || (s->has_probe && s->phase != BREAKER_HALF_OPEN) || s->open_until_ms < 0 ||
	    s->slot_number < 0 || s->since_ms < 0 || s->opened_total < 0)
		return false;
	for (int i = 0; i < BREAKER_SLOTS; i++)
		if (s->slots[i].failures > s->slots[i].calls)
			return false;
	return true;
}

static bool adapt_state_fits(const struct adapt_state *s)
{
	if (!isfinite(s->value) || s->value < 0)
		return false;
	for (int i = 0; i < ADAPT_NUMBERS; i++)
		if (!isfinite(s->numbers[i]))
			return false;
	return true;
}

static bool fits(const struct limit_record *l)
{
	/* A take may leave the tokens below nothing by what rounding made of them. */
	return l->name.size > 0 && settings_fit(&l->settings) && l->bucket.tokens >= -1 &&
	       l->bucket.tokens <= LIMIT_BURST_MAX && l->bucket.at_ms >= 0 && breaker_state_fits(&l->breaker) &&
	       adapt_state_fits(&l->adapt) && l->adapt_opened >= 0 && l->spell_at_ms >= 0 && l->held_until_ms >= 0 &&
	       l->started_total >= 0 && l->succeeded_total >= 0 && l->failed_total >= 0 && l->throttled_total >= 0;
}

int record_read_limit(struct slice bytes, struct limit_record *ret)
{
	struct reader r;
	unsigned flags;

	if (begin_read(bytes, &r) < 0)
		return ERR_CORRUPT;
	memset(ret, 0, sizeof(*ret));
	ret->name = get_bytes(&r);
	flags = (unsigned)get_number(&r, 1);
	ret->settings.has_adaptive = flags & HAS_ADAPTIVE;
	ret->settings.has_breaker = flags & HAS_BREAKER;
	ret->breaker.has_probe = flags & HAS_PROBE;
	if ((flags & ~FLAGS) != 0 || !get_settings(&r, &ret->settings))
		return ERR_CORRUPT;
	ret->bucket.tokens = get_double(&r);
	ret->bucket.at_ms = get_i64(&r);
	get_breaker(&r, &ret->breaker);
	ret->adapt.value = get_double(&r);
	for (int i = 0; i < ADAPT_NUMBERS; i++)
		ret->adapt.numbers[i] = get_double(&r);
	ret->adapt_opened = get_i32(&r);
	ret->spell_at_ms = get_i64(&r);
	ret->held_until_ms = get_i64(&r);
	ret->started_total = get_i64(&r);
	ret->succeeded_total = get_i64(&r);
	ret->failed_total = get_i64(&r);
	ret->throttled_total = get_i64(&r);
	return end_read(&r) == 0 && fits(ret) ? 0 : ERR_CORRUPT;
}
