#include "server/engine/limits.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/clean.h"
#include "proto/error.h"
#include "server/flow/breaker.h"
#include "server/flow/limit.h"
#include "server/store/keys.h"
#include "server/store/records.h"

struct limits {
	struct limit *items[LIMITS_MAX]; /* by name */
	size_t count;
	struct limit *changed; /* since the last limits_save() */
	uint64_t batch;	       /* batches so far */
};

static void limit_free(struct limit *l)
{
	if (!l)
		return;
	free(l->name);
	free(l);
}

static void clear(struct limits *ls)
{
	while (ls->count > 0)
		limit_free(ls->items[--ls->count]);
	ls->changed = NULL;
}

int limits_new(struct limits **ret)
{
	*ret = calloc(1, sizeof(**ret));
	return *ret ? 0 : ERR_NO_MEMORY;
}

void limits_free(struct limits *ls)
{
	if (!ls)
		return;
	clear(ls);
	free(ls);
}

/* Where it is, or would be. */
static size_t place_of(const struct limits *ls, struct slice name)
{
	size_t low = 0, high = ls->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (slice_compare(ls->items[middle]->record.name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct limit *limits_find(struct limits *ls, struct slice name)
{
	size_t n = place_of(ls, name);

	return n < ls->count && slice_equal(ls->items[n]->record.name, name) ? ls->items[n] : NULL;
}

struct limit *limits_get(struct limits *ls, size_t n)
{
	return n < ls->count ? ls->items[n] : NULL;
}

/* With its own copy of the name. */
static int insert(struct limits *ls, struct slice name, const struct limit_record *record, struct limit **ret)
{
	struct limit *l = calloc(1, sizeof(*l));
	size_t n = place_of(ls, name);

	if (!l)
		return ERR_NO_MEMORY;
	l->name = strndup(name.data, name.size);
	if (!l->name) {
		free(l);
		return ERR_NO_MEMORY;
	}
	l->record = *record;
	l->record.name = slice_of(l->name, name.size);
	l->again_ms = INT64_MAX;
	l->of = ls;
	memmove(&ls->items[n + 1], &ls->items[n], (ls->count++ - n) * sizeof(ls->items[0]));
	ls->items[n] = l;
	*ret = l;
	return 0;
}

void limits_changed(struct limit *l)
{
	if (l->changed)
		return;
	l->changed = true;
	l->next_changed = l->of->changed;
	l->of->changed = l;
}

static void forget_change(struct limit *l)
{
	struct limit **at = &l->of->changed;

	if (!l->changed)
		return;
	while (*at != l)
		at = &(*at)->next_changed;
	*at = l->next_changed;
}

int limits_add(struct limits *ls, struct slice name, struct limit **ret)
{
	struct limit_record record = { .settings.caps = { .concurrency = -1, .rate = -1, .burst = -1 } };
	int rc;

	assert(!limits_find(ls, name));
	if (ls->count >= LIMITS_MAX)
		return ERR_QUEUE_FULL;
	rc = insert(ls, name, &record, ret);
	if (rc == 0)
		limits_changed(*ret);
	return rc;
}

int limits_remove(struct limits *ls, struct store_txn *t, struct limit *l)
{
	struct key key = key_name(l->record.name);
	size_t n = place_of(ls, l->record.name);
	int rc;

	assert(!l->queues && ls->items[n] == l);
	rc = store_delete(t, TABLE_LIMITS, key_slice(&key));
	/* One that was made in this batch is not there yet. */
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	memmove(&ls->items[n], &ls->items[n + 1], (ls->count - n - 1) * sizeof(ls->items[0]));
	ls->count--;
	forget_change(l);
	limit_free(l);
	return 0;
}

/* ---- which queues ---- */

/* Before in_flight changes. Most limits are touched by few batches, so it is not done for all when one begins. */
static void keep_before(struct limit *l)
{
	if (l->batch == l->of->batch)
		return;
	l->batch = l->of->batch;
	l->in_flight_before = l->in_flight;
}

static void join(struct queue *q, struct limit *l)
{
	q->limit = l;
	if (!l)
		return;
	q->next_of_limit = l->queues;
	l->queues = q;
	keep_before(l);
	l->in_flight += q->record.counts[JOB_RUNNING];
}

static void leave(struct queue *q)
{
	struct queue **at;

	if (!q->limit)
		return;
	for (at = &q->limit->queues; *at != q;)
		at = &(*at)->next_of_limit;
	*at = q->next_of_limit;
	keep_before(q->limit);
	/* What of them runs ends elsewhere. Which queue's the probe is is not known here: at worst there are two. */
	if (q->record.counts[JOB_RUNNING] > 0 && breaker_forget(&q->limit->record.breaker, NULL))
		limits_changed(q->limit);
	q->limit->in_flight -= q->record.counts[JOB_RUNNING];
	q->limit = NULL;
	q->next_of_limit = NULL;
}

int limits_assign(struct queue *q, struct limit *l)
{
	int rc = queues_set_limit_name(q, l ? l->record.name : slice_of(NULL, 0));

	if (rc < 0)
		return rc;
	leave(q);
	join(q, l);
	return 0;
}

void limits_recount(struct limit *l)
{
	keep_before(l);
	l->in_flight = 0;
	for (const struct queue *q = l->queues; q; q = q->next_of_limit)
		l->in_flight += q->record.counts[JOB_RUNNING];
}

void limits_lost(struct limit *l, const struct uuid *job)
{
	if (breaker_forget(&l->record.breaker, job))
		limits_changed(l);
	limits_recount(l);
}

/* ---- reading and writing ---- */

static int load_records(struct limits *ls, struct store_txn *t)
{
	struct slice key, value;
	int rc;

	for (rc = store_seek(t, TABLE_LIMITS, slice_of(NULL, 0), &key, &value); rc == 0;
	     rc = store_next(t, TABLE_LIMITS, &key, &value)) {
		struct limit_record record;
		struct limit *l;

		/* A damaged one that no queue names is of no use to anybody; the checker tells of it. */
		if (ls->count >= LIMITS_MAX || record_read_limit(value, &record) < 0 || !slice_equal(record.name, key))
			continue;
		rc = insert(ls, record.name, &record, &l);
		if (rc < 0)
			return rc;
	}
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* The limit that a queue names and that is not there. */
static int make_anew(struct limits *ls, struct slice name, struct limit **ret)
{
	int rc = limits_add(ls, name, ret);

	if (rc < 0)
		return rc;
	(*ret)->repaired = true;
	(*ret)->record.settings.caps.concurrency = 1;
	return 0;
}

/* A probe whose job does not run any more, for the job was found damaged meanwhile, would never end. */
static int settle_probe(struct limit *l, struct store_txn *t)
{
	struct key key = key_job(&l->record.breaker.probe);
	struct slice value;
	struct job job;
	int rc;

	if (!l->record.breaker.has_probe)
		return 0;
	rc = store_get(t, TABLE_JOBS, key_slice(&key), &value);
	if (rc < 0 && rc != ERR_NOT_FOUND && rc != ERR_CORRUPT)
		return rc;
	if (rc < 0 || record_read_job(value, &job) < 0 || job.state != JOB_RUNNING)
		l->record.breaker.has_probe = false;
	return 0;
}

int limits_load(struct limits *ls, struct store_txn *t, struct queues *qs)
{
	struct queue *q;
	int rc;

	clear(ls);
	rc = load_records(ls, t);
	for (uint32_t n = 0; rc == 0 && (q = queues_get(qs, n)); n++) {
		struct limit *l = NULL;

		if (q->record.limit.size > 0)
			l = limits_find(ls, q->record.limit);
		if (q->record.limit.size > 0 && !l)
			rc = make_anew(ls, q->record.limit, &l);
		join(q, l);
	}
	for (size_t i = 0; rc == 0 && i < ls->count; i++)
		rc = settle_probe(ls->items[i], t);
	return rc;
}

static int save_one(struct limit *l, struct store_txn *t, struct buf *scratch)
{
	struct key key = key_name(l->record.name);
	int rc;

	buf_reset(scratch);
	rc = record_write_limit(scratch, &l->record);
	return rc == 0 ? store_put(t, TABLE_LIMITS, key_slice(&key), buf_slice(scratch)) : rc;
}

int limits_save(struct limits *ls, struct store_txn *t, struct buf *scratch)
{
	for (struct limit *l; (l = ls->changed); ls->changed = l->next_changed) {
		int rc = save_one(l, t, scratch);

		if (rc < 0)
			return rc;
		l->changed = false;
	}
	return 0;
}

/* ---- calls ---- */

void limits_begin(struct limits *ls)
{
	ls->batch++;
}

void limits_clock(struct limits *ls, int64_t now_ms)
{
	for (size_t i = 0; i < ls->count; i++)
		if (limit_clock(&ls->items[i]->record, now_ms))
			limits_changed(ls->items[i]);
}

int64_t limits_room(const struct queue *q, int64_t now_ms, int64_t *ret_again_ms)
{
	*ret_again_ms = INT64_MAX;
	return q->limit ? limit_room(&q->limit->record, q->limit->in_flight, now_ms, ret_again_ms) : INT64_MAX;
}

void limits_started(struct queue *q, const struct uuid *job, int64_t now_ms)
{
	struct limit *l = q->limit;

	if (!l)
		return;
	limit_started(&l->record, job, now_ms);
	keep_before(l);
	l->in_flight++;
	limits_changed(l);
}

void limits_ended(struct queue *q, const struct uuid *job, struct call_report *r, int64_t now_ms)
{
	struct limit *l = q->limit;

	if (!l)
		return;
	keep_before(l);
	if (r) {
		/* Leases are given anew at the end of a batch only: what counts is how full it was when the batch
		 * began. */
		int32_t concurrency = limit_concurrency(&l->record, now_ms);

		r->in_flight = l->in_flight;
		r->held_back = concurrency >= 0 && l->in_flight_before >= concurrency;
	}
	limit_ended(&l->record, job, r, now_ms);
	l->in_flight--;
	limits_changed(l);
}

int64_t limits_held_until(const struct queue *q, int64_t now_ms)
{
	return q->limit ? limit_held_until(&q->limit->record, now_ms) : 0;
}
