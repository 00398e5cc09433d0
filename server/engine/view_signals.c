#include "server/engine/view_signals.h"

#include <math.h>
#include <stdlib.h>

#include "proto/base/clean.h"
#include "server/engine/view.h"
#include "server/engine/view_limits.h"
#include "server/flow/estimate.h"

/* What a sum of doubles may come to as an integer. */
#define BACKLOG_MAX_MS 9e15

/* The jobs that one limit's queues have. */
struct demand {
	int64_t running;
	int64_t ready;
	double free;   /* slots that its queues would ask for if they had no limit */
	double run_ms; /* the longest of its queues; 0: unknown */
};

struct survey {
	struct limits_view limits;
	struct demand *demands; /* of each limit */
	double free_wanted;	/* slots for the queues without one */
	struct run_mix runs;
	double backlog_ms;
	bool has_oldest;
	int64_t oldest_at_ms;
};

static void survey_done(struct survey *s)
{
	limits_view_done(&s->limits);
	free(s->demands);
}

static int by_name(const void *name, const void *limit)
{
	return slice_compare(*(const struct slice *)name, ((const struct msg_limit *)limit)->limit);
}

/* NULL for a queue without a limit. */
static struct demand *demand_of(const struct survey *s, const struct queue_record *q)
{
	const struct msg_limit *all = s->limits.items, *found = NULL;

	if (q->limit.size > 0)
		found = bsearch(&q->limit, all, s->limits.count, sizeof(*all), by_name);
	/* One whose record is damaged is not among them: it bounds nothing. */
	return found ? &s->demands[found - all] : NULL;
}

/* Slots that a queue without a limit asks for. */
static double free_wanted(const struct queue_record *q)
{
	double running = (double)q->counts[JOB_RUNNING], ready = (double)q->counts[JOB_READY];

	if (q->paused || ready <= 0)
		return running;
	if (q->pace.run_ms <= 0)
		return running + fmin(ready, fmax(running, 1));
	return running + fmin(ready, ceil(ready * q->pace.run_ms / SIGNALS_DRAIN_MS));
}

static void add_demand(struct demand *d, const struct queue_record *q)
{
	d->running += q->counts[JOB_RUNNING];
	d->free += free_wanted(q);
	d->run_ms = fmax(d->run_ms, q->pace.run_ms);
	if (!q->paused && q->counts[JOB_READY] > 0)
		d->ready += q->counts[JOB_READY];
}

static int add_queue(struct store_txn *t, uint32_t number, const struct queue_record *q, int64_t now_ms,
		     struct survey *s)
{
	struct demand *d = demand_of(s, q);
	int64_t at_ms = 0;
	bool found;
	int rc;

	if (d)
		add_demand(d, q);
	else
		s->free_wanted += free_wanted(q);
	run_mix_add(&s->runs, &q->pace, now_ms);
	if (q->paused || q->counts[JOB_READY] <= 0)
		return 0;
	s->backlog_ms += (double)q->counts[JOB_READY] * q->pace.run_ms;
	rc = view_oldest_ready(t, number, q, &found, &at_ms);
	if (rc == 0 && found && (!s->has_oldest || at_ms < s->oldest_at_ms)) {
		s->has_oldest = true;
		s->oldest_at_ms = at_ms;
	}
	return rc;
}

static int add_queues(struct store_txn *t, int64_t now_ms, struct survey *s)
{
	int64_t total;
	int rc = store_count(t, TABLE_QUEUES, &total);

	for (uint32_t number = 0; rc == 0 && number < (uint32_t)total; number++) {
		struct queue_record q;

		rc = view_read_queue(t, number, &q);
		/* A damaged one is not counted; the others are. */
		if (rc == 0)
			rc = add_queue(t, number, &q, now_ms, s);
		else if (rc == ERR_CORRUPT)
			rc = 0;
	}
	return rc;
}

static int64_t wanted_of(const struct demand *d, const struct msg_limit_now *now)
{
	int64_t wanted = d->running + d->ready;

	if (now->has_concurrency && wanted > now->concurrency)
		wanted = now->concurrency;
	/* Where it does not say how many at once, it is no reason to want one for each job. */
	if (!now->has_concurrency && (double)wanted > d->free)
		wanted = (int64_t)d->free;
	/* Little's law: so many are under way at once where so many begin a second and take so long. */
	if (now->has_rate && d->run_ms > 0) {
		double busy = fmax(ceil(now->rate * d->run_ms / 1000), fmax((double)d->running, 1));

		if ((double)wanted > busy)
			wanted = (int64_t)busy;
	}
	return wanted;
}

static void conclude(const struct survey *s, int64_t now_ms, struct signals *ret)
{
	int64_t wanted = (int64_t)fmin(s->free_wanted, SIGNALS_WANTED_MAX);

	for (size_t i = 0; i < s->limits.count; i++)
		wanted += wanted_of(&s->demands[i], &s->limits.items[i].now);
	*ret = (struct signals){
		.has_oldest_ready_age = s->has_oldest,
		/* A clock that went back makes nobody wait for less than nothing. */
		.oldest_ready_age_ms = s->has_oldest && now_ms > s->oldest_at_ms ? now_ms - s->oldest_at_ms : 0,
		.backlog_ms = (int64_t)fmin(s->backlog_ms, BACKLOG_MAX_MS),
		.wanted_concurrency = wanted < SIGNALS_WANTED_MAX ? wanted : SIGNALS_WANTED_MAX,
	};
	view_run_time(&s->runs, &ret->has_run_ms, &ret->run_ms);
}

int view_signals(struct store_txn *t, int64_t now_ms, struct signals *ret)
{
	_cleanup_(survey_done) struct survey s = { 0 };
	int rc;

	rc = view_limits(t, now_ms, NULL, &s.limits);
	if (rc < 0)
		return rc;
	s.demands = calloc(s.limits.count + 1, sizeof(*s.demands));
	if (!s.demands)
		return ERR_NO_MEMORY;
	rc = add_queues(t, now_ms, &s);
	if (rc == 0)
		conclude(&s, now_ms, ret);
	return rc;
}
