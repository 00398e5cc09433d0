/* Limits between the public structs and the wire, both ways. */
#include "convert_priv.h"

/* ---- parameters ---- */

/* Also where it is no number: that is the broker's to refuse. */
static bool is_given(double number)
{
	return !(number >= 0 && number <= 0);
}

static void convert_adaptive(const struct raincheck_limit_adaptive *in, struct msg_limit_adaptive *ret)
{
	GIVE_INT(min);
	GIVE_INT(max);
	GIVE_INT(latency_target_ms);
}

static void convert_breaker(const struct raincheck_limit_breaker *in, struct msg_limit_breaker *ret)
{
	GIVE_INT(window_ms);
	GIVE_INT(min_calls);
	GIVE_IF(is_given(in->failure_ratio), failure_ratio);
	GIVE_INT(open_ms);
}

#define MEMBERS_OF_ADAPTIVE \
	(RAINCHECK_LIMIT_ADAPTIVE_MIN | RAINCHECK_LIMIT_ADAPTIVE_MAX | RAINCHECK_LIMIT_ADAPTIVE_LATENCY_TARGET)
#define MEMBERS_OF_BREAKER                                                                                            \
	(RAINCHECK_LIMIT_BREAKER_WINDOW | RAINCHECK_LIMIT_BREAKER_MIN_CALLS | RAINCHECK_LIMIT_BREAKER_FAILURE_RATIO | \
	 RAINCHECK_LIMIT_BREAKER_OPEN)

/* Where the whole part is taken back, its members cannot be. */
static bool is_said(const struct raincheck_limit_set *in, bool given, unsigned part, unsigned members)
{
	return given || (!(in->defaults & part) && (in->defaults & members) != 0);
}

static void give_adaptive(const struct raincheck_limit_set *in, struct msg_limit_set *ret)
{
	struct msg_limit_adaptive *a = &ret->adaptive;

	convert_adaptive(&in->adaptive, a);
	ret->has_adaptive = is_said(in, in->has_adaptive || a->has_min || a->has_max || a->has_latency_target_ms,
				    RAINCHECK_LIMIT_ADAPTIVE, MEMBERS_OF_ADAPTIVE);
	TAKE_BACK(RAINCHECK_LIMIT_ADAPTIVE, limit_set, ret, adaptive);
	TAKE_BACK(RAINCHECK_LIMIT_ADAPTIVE_MIN, limit_adaptive, a, min);
	TAKE_BACK(RAINCHECK_LIMIT_ADAPTIVE_MAX, limit_adaptive, a, max);
	TAKE_BACK(RAINCHECK_LIMIT_ADAPTIVE_LATENCY_TARGET, limit_adaptive, a, latency_target_ms);
}

static void give_breaker(const struct raincheck_limit_set *in, struct msg_limit_set *ret)
{
	struct msg_limit_breaker *b = &ret->breaker;

	convert_breaker(&in->breaker, b);
	ret->has_breaker = is_said(
		in, in->has_breaker || b->has_window_ms || b->has_min_calls || b->has_failure_ratio || b->has_open_ms,
		RAINCHECK_LIMIT_BREAKER, MEMBERS_OF_BREAKER);
	TAKE_BACK(RAINCHECK_LIMIT_BREAKER, limit_set, ret, breaker);
	TAKE_BACK(RAINCHECK_LIMIT_BREAKER_WINDOW, limit_breaker, b, window_ms);
	TAKE_BACK(RAINCHECK_LIMIT_BREAKER_MIN_CALLS, limit_breaker, b, min_calls);
	TAKE_BACK(RAINCHECK_LIMIT_BREAKER_FAILURE_RATIO, limit_breaker, b, failure_ratio);
	TAKE_BACK(RAINCHECK_LIMIT_BREAKER_OPEN, limit_breaker, b, open_ms);
}

static struct msg_limit_spell convert_spell(const struct raincheck_limit_spell *in)
{
	struct msg_limit_spell spell, *ret = &spell;

	spell = (struct msg_limit_spell){ 0 };
	GIVE(from_at_ms);
	GIVE(until_at_ms);
	GIVE_INT(concurrency);
	GIVE_IF(is_given(in->rate), rate);
	GIVE_IF(is_given(in->burst), burst);
	return spell;
}

static int give_schedule(const struct raincheck_limit_set *in, msgpack_zone *arena, struct msg_limit_set *ret,
			 struct error_info *info)
{
	struct msg_limit_spell *spells;

	if (in->schedule_count == 0)
		return 0;
	if (in->schedule_count > MAX_SCHEDULE)
		return convert__too_many(info, "schedule", in->schedule_count, MAX_SCHEDULE);
	spells = msgpack_zone_malloc(arena, in->schedule_count * sizeof(*spells));
	if (!spells)
		return convert__no_memory(info);
	for (size_t i = 0; i < in->schedule_count; i++)
		spells[i] = convert_spell(&in->schedule[i]);
	ret->has_schedule = true;
	ret->schedule = spells;
	ret->schedule_count = in->schedule_count;
	return 0;
}

int convert_limit_set(const struct raincheck_limit_set *in, msgpack_zone *arena, struct msg_limit_set *ret,
		      struct error_info *info)
{
	int err;

	*ret = (struct msg_limit_set){ 0 };
	if (!in->limit)
		return error_set(info, ERR_BAD_REQUEST, "limit", "is missing");
	GIVE_TEXT(limit);
	GIVE_INT(concurrency);
	GIVE_IF(is_given(in->rate), rate);
	GIVE_IF(is_given(in->burst), burst);
	give_adaptive(in, ret);
	give_breaker(in, ret);
	err = give_schedule(in, arena, ret, info);
	TAKE_BACK(RAINCHECK_LIMIT_CONCURRENCY, limit_set, ret, concurrency);
	TAKE_BACK(RAINCHECK_LIMIT_RATE, limit_set, ret, rate);
	TAKE_BACK(RAINCHECK_LIMIT_BURST, limit_set, ret, burst);
	TAKE_BACK(RAINCHECK_LIMIT_SCHEDULE, limit_set, ret, schedule);
	return err;
}

/* ---- results: what the message does not have is 0 there, too ---- */

static const struct raincheck_limit_adaptive *adaptive(struct converter *c, const struct msg_limit_adaptive *in)
{
	struct raincheck_limit_adaptive *out = convert__take(c, 1, sizeof(*out));

	if (out)
		*out = (struct raincheck_limit_adaptive){
			.min = in->min,
			.max = in->max,
			.latency_target_ms = in->latency_target_ms,
		};
	return out;
}

static const struct raincheck_limit_breaker *breaker(struct converter *c, const struct msg_limit_breaker *in)
{
	struct raincheck_limit_breaker *out = convert__take(c, 1, sizeof(*out));

	if (out)
		*out = (struct raincheck_limit_breaker){
			.window_ms = in->window_ms,
			.min_calls = in->min_calls,
			.failure_ratio = in->failure_ratio,
			.open_ms = in->open_ms,
		};
	return out;
}

static const struct raincheck_limit_spell *schedule(struct converter *c, const struct msg_limit_spell *in, size_t count)
{
	struct raincheck_limit_spell *out = convert__take(c, count, sizeof(*out));

	for (size_t i = 0; out && i < count; i++)
		out[i] = (struct raincheck_limit_spell){
			.from_at_ms = in[i].from_at_ms,
			.until_at_ms = in[i].until_at_ms,
			.concurrency = in[i].concurrency,
			.rate = in[i].rate,
			.burst = in[i].burst,
		};
	return out;
}

const char *const *convert__names(struct converter *c, const struct slice *in, size_t count)
{
	const char **out = convert__take(c, count, sizeof(*out));

	for (size_t i = 0; out && i < count; i++)
		out[i] = convert__text(c, true, in[i]);
	return out;
}

static struct raincheck_limit_now now_of(const struct msg_limit_now *in)
{
	return (struct raincheck_limit_now){
		.state = (enum raincheck_limit_state)in->state,
		.in_flight = in->in_flight,
		.waiting = in->waiting,
		.concurrency = in->concurrency,
		.rate = in->rate,
		.has_breaker = in->has_breaker,
		.breaker = (enum raincheck_breaker_phase)in->breaker,
		.held_until_at_ms = in->held_until_at_ms,
		.started = in->started,
		.succeeded = in->succeeded,
		.failed = in->failed,
		.throttled = in->throttled,
		.opened = in->opened,
		.run = convert__run_time(&in->run_ms),
	};
}

void convert__limit(struct converter *c, const void *message, void *result)
{
	const struct msg_limit *in = message;
	struct raincheck_limit *out = result;

	out->limit = convert__text(c, true, in->limit);
	out->concurrency = in->concurrency;
	out->rate = in->rate;
	out->burst = in->burst;
	out->adaptive = in->has_adaptive ? adaptive(c, &in->adaptive) : NULL;
	out->breaker = in->has_breaker ? breaker(c, &in->breaker) : NULL;
	out->schedule = schedule(c, in->schedule, in->schedule_count);
	out->schedule_count = in->schedule_count;
	out->queues = convert__names(c, in->queues, in->queues_count);
	out->queue_count = in->queues_count;
	out->now = now_of(&in->now);
}

void convert__limit_list(struct converter *c, const void *message, void *result)
{
	const struct msg_limit_list_result *in = message;
	struct raincheck_limit_list *out = result;
	struct raincheck_limit *limits = convert__take(c, in->limits_count, sizeof(*limits));

	for (size_t i = 0; limits && i < in->limits_count; i++)
		convert__limit(c, &in->limits[i], &limits[i]);
	out->limits = limits;
	out->limit_count = in->limits_count;
}
