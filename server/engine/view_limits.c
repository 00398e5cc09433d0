#include "server/engine/view_limits.h"

#include <stdlib.h>
#include <string.h>

#include "proto/base/clean.h"
#include "proto/error.h"
#include "server/engine/view.h"
#include "server/flow/estimate.h"
#include "server/flow/limit.h"
#include "server/store/keys.h"

/* ---- which queues use a limit ---- */

int limit_uses_add(struct limit_uses *u, const struct queue_record *q)
{
	if (q->limit.size == 0)
		return 0;
	if (u->count == u->capacity) {
		size_t capacity = u->capacity ? 2 * u->capacity : 16;
		struct limit_use *items = realloc(u->items, capacity * sizeof(*items));
		struct slice *names = items ? realloc(u->names, capacity * sizeof(*names)) : NULL;

		if (items)
			u->items = items;
		if (!names)
			return ERR_NO_MEMORY;
		u->names = names;
		u->capacity = capacity;
	}
	u->items[u->count++] = (struct limit_use){
		.limit = q->limit,
		.queue = q->name,
		.running = q->counts[JOB_RUNNING],
		.ready = q->counts[JOB_READY],
		.paused = q->paused,
		.pace = q->pace,
	};
	return 0;
}

static int by_limit(const void *a, const void *b)
{
	const struct limit_use *x = a, *y = b;
	int order = slice_compare(x->limit, y->limit);

	return order != 0 ? order : slice_compare(x->queue, y->queue);
}

void limit_uses_sort(struct limit_uses *u)
{
	if (u->count > 0)
		qsort(u->items, u->count, sizeof(*u->items), by_limit);
	for (size_t i = 0; i < u->count; i++)
		u->names[i] = u->items[i].queue;
}

void limit_uses_done(struct limit_uses *u)
{
	free(u->items);
	free(u->names);
	*u = (struct limit_uses){ 0 };
}

int limit_uses_gather(struct store_txn *t, struct limit_uses *uses)
{
	struct slice key, value;
	int rc;

	for (rc = store_seek(t, TABLE_QUEUES, slice_of(NULL, 0), &key, &value); rc == 0;
	     rc = store_next(t, TABLE_QUEUES, &key, &value)) {
		struct queue_record q;

		/* A damaged one is not shown; the others are. */
		if (record_read_queue(value, &q) == 0 && limit_uses_add(uses, &q) < 0)
			return ERR_NO_MEMORY;
	}
	limit_uses_sort(uses);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* Of the limit; where the next would be that has any. */
static size_t first_use(const struct limit_uses *u, struct slice limit)
{
	size_t low = 0, high = u->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (slice_compare(u->items[middle].limit, limit) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

size_t limit_uses_of(const struct limit_uses *u, struct slice limit, const struct limit_use **ret)
{
	size_t first = first_use(u, limit), count = 0;

	while (first + count < u->count && slice_equal(u->items[first + count].limit, limit))
		count++;
	*ret = u->items ? u->items + first : NULL;
	return count;
}

/* ---- one limit ---- */

static void fill_caps(const struct limit_caps *caps, struct msg_limit *ret)
{
	ret->has_concurrency = caps->concurrency >= 0;
	ret->concurrency = caps->concurrency;
	ret->has_rate = caps->rate >= 0;
	ret->rate = caps->rate;
	ret->has_burst = caps->burst >= 0;
	ret->burst = caps->burst;
}

static void fill_settings(const struct limit_settings *set, struct msg_limit *ret)
{
	fill_caps(&set->caps, ret);
	ret->has_adaptive = set->has_adaptive;
	ret->adaptive = (struct msg_limit_adaptive){ .has_min = true,
						     .min = set->adaptive.min,
						     .has_max = true,
						     .max = set->adaptive.max,
						     .has_latency_target_ms = set->adaptive.latency_target_ms > 0,
						     .latency_target_ms = set->adaptive.latency_target_ms };
	ret->has_breaker = set->has_breaker;
	ret->breaker = (struct msg_limit_breaker){ .has_window_ms = true,
						   .window_ms = set->breaker.window_ms,
						   .has_min_calls = true,
						   .min_calls = set->breaker.min_calls,
						   .has_failure_ratio = true,
						   .failure_ratio = set->breaker.failure_ratio,
						   .has_open_ms = true,
						   .open_ms = set->breaker.open_ms };
}

static void fill_schedule(const struct limit_settings *set, struct msg_limit_spell *spells, struct msg_limit *ret)
{
	ret->has_schedule = true;
	ret->schedule = spells;
	ret->schedule_count = set->schedule_count;
	for (size_t i = 0; i < set->schedule_count; i++) {
		const struct limit_spell *s = &set->schedule[i];

		spells[i] = (struct msg_limit_spell){ .has_from_at_ms = true,
						      .from_at_ms = s->from_at_ms,
						      .has_until_at_ms = true,
						      .until_at_ms = s->until_at_ms,
						      .has_concurrency = s->caps.concurrency >= 0,
						      .concurrency = s->caps.concurrency,
						      .has_rate = s->caps.rate >= 0,
						      .rate = s->caps.rate,
						      .has_burst = s->caps.burst >= 0,
						      .burst = s->caps.burst };
	}
}

static struct msg_limit_now now_of(const struct limit_record *l, int64_t in_flight, int64_t waiting, int64_t now_ms)
{
	struct limit_view v = limit_look(l, in_flight, now_ms);

	return (struct msg_limit_now){ .has_state = true,
				       .state = (int)v.state,
				       .has_in_flight = true,
				       .in_flight = in_flight,
				       .has_waiting = true,
				       .waiting = waiting,
				       .has_concurrency = v.concurrency >= 0,
				       .concurrency = v.concurrency,
				       .has_rate = v.rate >= 0,
				       .rate = v.rate,
				       .has_breaker = l->settings.has_breaker,
				       .breaker = (int)v.breaker,
				       .has_held_until_at_ms = v.held_until_ms > now_ms,
				       .held_until_at_ms = v.held_until_ms,
				       .has_started = true,
				       .started = l->started_total,
				       .has_succeeded = true,
				       .succeeded = l->succeeded_total,
				       .has_failed = true,
				       .failed = l->failed_total,
				       .has_throttled = true,
				       .throttled = l->throttled_total,
				       .has_opened = true,
				       .opened = l->breaker.opened_total };
}

void view_limit(const struct limit_record *l, const struct limit_use *uses, size_t count, int64_t now_ms,
		struct msg_limit_spell *spells, struct msg_limit *ret)
{
	int64_t running = 0, ready = 0;
	struct run_mix runs = { 0 };

	for (size_t i = 0; i < count; i++) {
		running += uses[i].running;
		ready += uses[i].ready;
		run_mix_add(&runs, &uses[i].pace, now_ms);
	}
	*ret = (struct msg_limit){ .has_limit = true, .limit = l->name, .has_queues = true, .queues_count = count };
	fill_settings(&l->settings, ret);
	fill_schedule(&l->settings, spells, ret);
	ret->has_now = true;
	ret->now = now_of(l, running, ready, now_ms);
	view_run_time(&runs, &ret->now.has_run_ms, &ret->now.run_ms);
}

/* ---- from the store ---- */

static void add_one(struct limits_view *v, const struct limit_record *l, int64_t now_ms)
{
	struct msg_limit *ret = &v->items[v->count];
	const struct limit_use *uses;
	size_t count = limit_uses_of(&v->uses, l->name, &uses);

	view_limit(l, uses, count, now_ms, v->spells + v->count * LIMIT_SCHEDULE_MAX, ret);
	ret->queues = count > 0 ? v->uses.names + (uses - v->uses.items) : NULL;
	v->count++;
}

static int add_all(struct store_txn *t, int64_t now_ms, struct limits_view *v)
{
	struct slice key, value;
	int rc;

	for (rc = store_seek(t, TABLE_LIMITS, slice_of(NULL, 0), &key, &value); rc == 0;
	     rc = store_next(t, TABLE_LIMITS, &key, &value)) {
		struct limit_record l;

		/* A damaged one is not shown; the others are. */
		if (record_read_limit(value, &l) == 0 && slice_equal(l.name, key))
			add_one(v, &l, now_ms);
	}
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int add_named(struct store_txn *t, int64_t now_ms, struct slice name, struct limits_view *v)
{
	struct key key = key_name(name);
	struct limit_record l;
	struct slice value;
	int rc;

	rc = store_get(t, TABLE_LIMITS, key_slice(&key), &value);
	if (rc == 0)
		rc = record_read_limit(value, &l);
	if (rc == 0)
		add_one(v, &l, now_ms);
	return rc;
}

int view_limits(struct store_txn *t, int64_t now_ms, const struct slice *name, struct limits_view *ret)
{
	_cleanup_(limits_view_done) struct limits_view v = { 0 };
	int64_t total = 1;
	int rc = 0;

	if (!name)
		rc = store_count(t, TABLE_LIMITS, &total);
	if (rc == 0)
		rc = limit_uses_gather(t, &v.uses);
	if (rc < 0)
		return rc;
	v.items = calloc((size_t)total + 1, sizeof(*v.items));
	v.spells = calloc((size_t)total + 1, LIMIT_SCHEDULE_MAX * sizeof(*v.spells));
	if (!v.items || !v.spells)
		return ERR_NO_MEMORY;
	rc = name ? add_named(t, now_ms, *name, &v) : add_all(t, now_ms, &v);
	if (rc < 0)
		return rc;
	*ret = v;
	v = (struct limits_view){ 0 };
	return 0;
}

void limits_view_done(struct limits_view *v)
{
	limit_uses_done(&v->uses);
	free(v->items);
	free(v->spells);
	*v = (struct limits_view){ 0 };
}
