/* Queues as everybody outside sees them, and the sums over all. */
#include "server/engine/view.h"

#include <stdlib.h>

#include "proto/base/clean.h"
#include "server/engine/filter.h"
#include "server/engine/terms.h"
#include "server/flow/estimate.h"
#include "server/store/keys.h"

static struct msg_counts counts_of(const int64_t counts[JOB_STATES])
{
	return (struct msg_counts){
		.has_scheduled = true,
		.scheduled = counts[JOB_SCHEDULED],
		.has_ready = true,
		.ready = counts[JOB_READY],
		.has_running = true,
		.running = counts[JOB_RUNNING],
		.has_succeeded = true,
		.succeeded = counts[JOB_SUCCEEDED],
		.has_dead = true,
		.dead = counts[JOB_DEAD],
		.has_canceled = true,
		.canceled = counts[JOB_CANCELED],
		.has_expired = true,
		.expired = counts[JOB_EXPIRED],
	};
}

int view_oldest_ready(struct store_txn *t, uint32_t number, const struct queue_record *q, bool *ret_found,
		      int64_t *ret_at_ms)
{
	*ret_found = false;
	for (uint8_t p = 0; p < PRIORITIES; p++) {
		struct key from = key_ready_from(number, p);
		struct slice key, value;
		struct uuid id;
		uint32_t queue;
		uint8_t priority;
		uint64_t tag;
		int rc;

		if (q->ready[p] <= 0)
			continue;
		rc = store_seek(t, TABLE_READY, key_slice(&from), &key, &value);
		if (rc < 0 && rc != ERR_NOT_FOUND)
			return rc;
		if (rc < 0 || key_read_ready(key, &queue, &priority, &tag, &id) < 0 || queue != number)
			continue;
		if (!*ret_found || uuid_ms(&id) < *ret_at_ms)
			*ret_at_ms = uuid_ms(&id);
		*ret_found = true;
	}
	return 0;
}

/* The slices point into the map. room: for cap of them. */
static int read_weights(struct store_txn *t, uint32_t number, struct group_weight *room, size_t cap, size_t *ret_count)
{
	struct key from = key_queue(number);
	struct slice key, value;
	int rc;

	*ret_count = 0;
	for (rc = store_seek(t, TABLE_WEIGHTS, key_slice(&from), &key, &value); rc == 0 && *ret_count < cap;
	     rc = store_next(t, TABLE_WEIGHTS, &key, &value)) {
		struct group_weight *w = &room[*ret_count];
		uint8_t zero;
		uint32_t queue;

		if (key_read_group(key, &queue, &zero, &w->group) < 0 || queue != number)
			break;
		/* A damaged one is not shown, and does not count. */
		*ret_count += record_read_weight(key, value, &w->weight) == 0;
	}
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static struct msg_backoff backoff_of(const struct queue_record *q)
{
	struct backoff backoff = terms_backoff(NULL, q);

	return (struct msg_backoff){
		.has_base_ms = true,
		.base_ms = backoff.base_ms,
		.has_factor = true,
		.factor = backoff.factor,
		.has_max_ms = true,
		.max_ms = backoff.max_ms,
		.has_jitter = true,
		.jitter = backoff.jitter,
	};
}

void view_run_time(const struct run_mix *mix, bool *ret_known, struct msg_run_time *ret)
{
	*ret = (struct msg_run_time){ .has_mean = true, .has_spread = true };
	*ret_known = run_mix_tell(mix, &ret->mean, &ret->spread);
}

/* What its record says. */
static struct msg_queue queue_of(const struct queue_record *q)
{
	return (struct msg_queue){
		.has_queue = true,
		.queue = q->name,
		.has_title = q->title.size > 0,
		.title = q->title,
		.has_paused = true,
		.paused = q->paused,
		.has_max_jobs = q->max_jobs >= 0,
		.max_jobs = q->max_jobs,
		.has_max_bytes = q->max_bytes >= 0,
		.max_bytes = q->max_bytes,
		.has_max_attempts = true,
		.max_attempts = q->max_attempts > 0 ? q->max_attempts : DEFAULT_MAX_ATTEMPTS,
		.has_backoff = true,
		.backoff = backoff_of(q),
		.has_attempt_timeout_ms = q->attempt_timeout_ms > 0,
		.attempt_timeout_ms = q->attempt_timeout_ms,
		.has_result_ttl_ms = q->result_ttl_ms >= 0,
		.result_ttl_ms = q->result_ttl_ms,
		.has_limit = q->limit.size > 0,
		.limit = q->limit,
		.has_weight = true,
		.weight = q->weight,
		.has_admit = true,
		.admit = q->admit,
		.has_counts = true,
		.counts = counts_of(q->counts),
		.has_bytes = true,
		.bytes = q->bytes,
		.has_put_total = true,
		.put_total = q->put_total,
		.has_lease_total = true,
		.lease_total = q->lease_total,
	};
}

static int fill_queue(struct store_txn *t, uint32_t number, const struct queue_record *q, struct group_weight *weights,
		      size_t cap, struct msg_queue *ret)
{
	/* However long ago that was: there is nothing to weigh it against. */
	struct run_mix runs = { q->pace.run_ms > 0, q->pace.run_ms, q->pace.spread_ms };
	int rc;

	*ret = queue_of(q);
	view_run_time(&runs, &ret->has_run_ms, &ret->run_ms);
	ret->has_weights = true;
	ret->weights = weights;
	rc = read_weights(t, number, weights, cap, &ret->weights_count);
	if (rc < 0)
		return rc;
	return view_oldest_ready(t, number, q, &ret->has_oldest_ready_at_ms, &ret->oldest_ready_at_ms);
}

int view_queue(struct store_txn *t, uint32_t number, const struct queue_record *q, struct group_weight *weights,
	       struct msg_queue *ret)
{
	return fill_queue(t, number, q, weights, MAX_WEIGHTS, ret);
}

int view_queue_by_name(struct store_txn *t, struct slice name, struct group_weight *weights, struct msg_queue *ret)
{
	struct queue_record q;
	uint32_t number;
	int rc;

	rc = filter_find_queue(t, name, &number);
	if (rc == 0)
		rc = view_read_queue(t, number, &q);
	if (rc == 0)
		rc = view_queue(t, number, &q, weights, ret);
	return rc;
}

int view_queues(struct store_txn *t, struct queues_view *ret)
{
	_cleanup_(queues_view_done) struct queues_view v = { 0 };
	int64_t total, weights;
	size_t used = 0;
	int rc;

	rc = store_count(t, TABLE_QUEUES, &total);
	if (rc == 0)
		rc = store_count(t, TABLE_WEIGHTS, &weights);
	if (rc < 0)
		return rc;
	v.items = calloc((size_t)total + 1, sizeof(*v.items));
	v.weights = calloc((size_t)weights + 1, sizeof(*v.weights));
	if (!v.items || !v.weights)
		return ERR_NO_MEMORY;
	for (uint32_t number = 0; number < (uint32_t)total; number++) {
		struct msg_queue *item = &v.items[v.count];
		struct queue_record q;

		rc = view_read_queue(t, number, &q);
		/* A damaged one is not shown; the others are. */
		if (rc == ERR_CORRUPT)
			continue;
		if (rc == 0)
			rc = fill_queue(t, number, &q, v.weights + used, (size_t)weights - used, item);
		if (rc < 0)
			return rc;
		used += item->weights_count;
		v.count++;
	}
	*ret = v;
	/* It is the caller's now. */
	v.items = NULL;
	v.weights = NULL;
	return 0;
}

void queues_view_done(struct queues_view *v)
{
	free(v->items);
	free(v->weights);
	*v = (struct queues_view){ 0 };
}

int view_totals(struct store_txn *t, struct msg_counts *ret, int64_t *ret_queues, int64_t *ret_put_total)
{
	int64_t counts[JOB_STATES] = { 0 };
	int64_t queues = 0, put_total = 0;
	struct slice key, value;
	int rc;

	for (rc = store_seek(t, TABLE_QUEUES, slice_of(NULL, 0), &key, &value); rc == 0;
	     rc = store_next(t, TABLE_QUEUES, &key, &value)) {
		struct queue_record q;

		if (record_read_queue(value, &q) < 0)
			continue;
		for (int i = 0; i < JOB_STATES; i++)
			counts[i] += q.counts[i];
		put_total += q.put_total;
		queues++;
	}
	if (rc != ERR_NOT_FOUND)
		return rc;
	*ret = counts_of(counts);
	*ret_queues = queues;
	*ret_put_total = put_total;
	return 0;
}
