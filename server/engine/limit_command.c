/* limit.set and limit.delete. A setting is checked as a whole before any of it is taken. */
#include "server/engine/apply.h"
#include "server/engine/engine_priv.h"
#include "server/engine/limits.h"
#include "server/engine/view_limits.h"
#include "server/flow/limit.h"
#include "server/flow/schedule.h"

/* What an adaptive limit or a breaker has that says nothing more. */
static const struct adaptive_settings default_adaptive = { .min = 1, .max = 1000 };
static const struct breaker_settings default_breaker = {
	.window_ms = 30000,
	.min_calls = 10,
	.failure_ratio = 0.5,
	.open_ms = 30000,
};

static void apply_adaptive(struct limit_settings *to, const struct msg_limit_adaptive *a)
{
	struct adaptive_settings *s = &to->adaptive;

	if (!to->has_adaptive)
		*s = default_adaptive;
	to->has_adaptive = true;
	APPLY_AS(int32_t, limit_adaptive, a, min, s->min, default_adaptive.min);
	APPLY_AS(int32_t, limit_adaptive, a, max, s->max, default_adaptive.max);
	APPLY(limit_adaptive, a, latency_target_ms, s->latency_target_ms, 0);
}

static void apply_breaker(struct limit_settings *to, const struct msg_limit_breaker *b)
{
	struct breaker_settings *s = &to->breaker;

	if (!to->has_breaker)
		*s = default_breaker;
	to->has_breaker = true;
	APPLY(limit_breaker, b, window_ms, s->window_ms, default_breaker.window_ms);
	APPLY_AS(int32_t, limit_breaker, b, min_calls, s->min_calls, default_breaker.min_calls);
	APPLY(limit_breaker, b, failure_ratio, s->failure_ratio, default_breaker.failure_ratio);
	APPLY(limit_breaker, b, open_ms, s->open_ms, default_breaker.open_ms);
}

static void apply_schedule(struct limit_settings *to, const struct msg_limit_set *set)
{
	to->schedule_count = 0;
	for (size_t i = 0; i < set->schedule_count; i++) {
		const struct msg_limit_spell *s = &set->schedule[i];

		to->schedule[to->schedule_count++] = (struct limit_spell){
			.from_at_ms = s->from_at_ms,
			.until_at_ms = s->until_at_ms,
			.caps = { .concurrency = s->has_concurrency ? (int32_t)s->concurrency : -1,
				  .rate = s->has_rate ? s->rate : -1,
				  .burst = s->has_burst ? s->burst : -1 },
		};
	}
}

static void apply(struct limit_settings *to, const struct msg_limit_set *set)
{
	APPLY_AS(int32_t, limit_set, set, concurrency, to->caps.concurrency, -1);
	APPLY(limit_set, set, rate, to->caps.rate, -1);
	/* A burst means nothing without a rate, and goes with it. */
	if (MESSAGE_WAS_NIL(limit_set, set, rate))
		to->caps.burst = -1;
	APPLY(limit_set, set, burst, to->caps.burst, -1);
	if (set->has_adaptive)
		apply_adaptive(to, &set->adaptive);
	else if (MESSAGE_WAS_NIL(limit_set, set, adaptive))
		to->has_adaptive = false;
	if (set->has_breaker)
		apply_breaker(to, &set->breaker);
	else if (MESSAGE_WAS_NIL(limit_set, set, breaker))
		to->has_breaker = false;
	if (set->has_schedule || MESSAGE_WAS_NIL(limit_set, set, schedule))
		apply_schedule(to, set);
}

static int answer(struct engine *e, struct command *cmd, const struct limit *l)
{
	_cleanup_(limit_uses_done) struct limit_uses uses = { 0 };
	struct msg_limit_spell spells[LIMIT_SCHEDULE_MAX];
	struct msg_limit result;

	for (const struct queue *q = l->queues; q; q = q->next_of_limit) {
		int rc = limit_uses_add(&uses, &q->record);

		if (rc < 0)
			return rc;
	}
	limit_uses_sort(&uses);
	view_limit(&l->record, uses.items, uses.count, e->now_ms, spells, &result);
	result.queues = uses.names;
	cmd->answer(cmd, &MSG_limit, &result);
	return 0;
}

static int set_limit(struct engine *e, struct command *cmd, const struct msg_limit_set *set)
{
	struct limit *l = limits_find(e->limits, set->limit);
	struct limit_settings settings = { .caps = { .concurrency = -1, .rate = -1, .burst = -1 } };
	struct error_info info;
	int rc;

	if (l)
		settings = l->record.settings;
	/* Spells that are over say nothing any more, and would be refused. */
	schedule_forget(&settings, e->now_ms);
	apply(&settings, set);
	rc = limit_settings_check(&settings, e->now_ms, &info);
	if (rc < 0)
		return refuse(cmd, rc, info.field, "%s", info.message);
	rc = l ? 0 : limits_add(e->limits, set->limit, &l);
	if (rc == ERR_QUEUE_FULL)
		return refuse(cmd, ERR_CONFLICT, "limit", "there are %d limits already", LIMITS_MAX);
	if (rc < 0)
		return rc;
	limit_configure(&l->record, &settings, e->now_ms);
	limits_changed(l);
	l->repaired = false;
	/* Somebody may wait for what it held back. */
	parked_limit_gained(e, l);
	return answer(e, cmd, l);
}

static int delete_limit(struct engine *e, struct command *cmd, struct slice name)
{
	struct limit *l = limits_find(e->limits, name);
	struct msg_empty nothing = { 0 };
	int more = -1;
	int rc;

	if (!l)
		return refuse(cmd, ERR_NOT_FOUND, "limit", "there is no such limit");
	for (const struct queue *q = l->queues; q; q = q->next_of_limit)
		more++;
	if (more == 0)
		return refuse(cmd, ERR_CONFLICT, "limit", "queue %s uses it", l->queues->name);
	if (more > 0)
		return refuse(cmd, ERR_CONFLICT, "limit", "queue %s and %d more use it", l->queues->name, more);
	parked_limit_gone(e, l);
	rc = limits_remove(e->limits, e->txn, l);
	if (rc == 0)
		cmd->answer(cmd, &MSG_empty, &nothing);
	return rc;
}

int command_limit(struct engine *e, struct command *cmd)
{
	const struct command_limit *c = cmd->params;

	return c->action == LIMIT_DELETE ? delete_limit(e, cmd, c->set.limit) : set_limit(e, cmd, &c->set);
}
