/* Whether a put is let in: what its queue may hold, what can be done by its deadline, what the store has room for. Who
 * is refused is told when to come back, by the queue's pace.
 */
#include "server/engine/engine_priv.h"
#include "server/engine/limits.h"
#include "server/engine/place.h"
#include "server/flow/estimate.h"

#define JOB_COST      8192	  /* bytes of pages that a job takes besides its own */
#define ROOM_KNOWN    (1LL << 30) /* more room than this need not be known exactly */
#define FULL_RETRY_MS 5000
#define RETRY_MIN_MS  1000
#define RETRY_MAX_MS  60000

int room_take(struct engine *e, int64_t bytes, bool *ret_fits)
{
	/* Values beyond a part of a page take whole pages of their own, and the trees above grow too. */
	int64_t cost = bytes + bytes / 4 + JOB_COST;
	int rc;

	if (e->room_bytes < 0) {
		rc = store_room(e->store, e->settings->reserve_bytes + ROOM_KNOWN, &e->room_bytes);
		if (rc < 0)
			return rc;
		e->room_bytes -= e->settings->reserve_bytes;
		if (e->room_bytes < 0)
			e->room_bytes = 0;
	}
	*ret_fits = cost <= e->room_bytes;
	if (*ret_fits)
		e->room_bytes -= cost;
	return 0;
}

static int64_t bounded(int64_t ms)
{
	return ms < RETRY_MIN_MS ? RETRY_MIN_MS : ms > RETRY_MAX_MS ? RETRY_MAX_MS : ms;
}

/* When the queue may have given one away. */
static int64_t retry_after(struct engine *e, const struct queue *q)
{
	int64_t ms = pace_gap_ms(&q->record.pace, e->now_ms);

	return ms == 0 ? FULL_RETRY_MS : bounded(ms);
}

/* Refuses the item where its queue has as much as it may. */
static void by_bounds(struct engine *e, const struct queue *q, struct put_item *item)
{
	const struct queue_record *r = &q->record;
	int64_t jobs = r->counts[JOB_SCHEDULED] + r->counts[JOB_READY] + r->counts[JOB_RUNNING];
	int64_t bytes = r->bytes + (int64_t)item->put.payload.size;

	if (r->max_bytes >= 0 && (int64_t)item->put.payload.size > r->max_bytes) {
		error_set(&item->error, ERR_TOO_LARGE, "payload", "has %zu bytes, the queue may hold %lld in all",
			  item->put.payload.size, (long long)r->max_bytes);
		return;
	}
	if (r->max_jobs >= 0 && jobs >= r->max_jobs)
		error_set(&item->error, ERR_QUEUE_FULL, "queue", "the queue holds %lld jobs, as many as it may",
			  (long long)jobs);
	else if (r->max_bytes >= 0 && bytes > r->max_bytes)
		error_set(&item->error, ERR_QUEUE_FULL, "queue", "the queue would hold %lld bytes, %lld are allowed",
			  (long long)bytes, (long long)r->max_bytes);
	else
		return;
	item->error.retry_after_ms = retry_after(e, q);
}

/* Refuses the item where its queue wants that, and even the shorter end of the estimate is beyond its deadline. Where
 * nothing is known yet it is let in. */
static void by_deadline(struct engine *e, const struct queue *q, struct put_item *item)
{
	const struct job job = { .priority = put_priority(&item->put) };
	struct place place;
	int64_t until_ms;
	struct estimate eta;

	if (q->record.admit != ADMIT_DEADLINE || !item->put.has_deadline_ms)
		return;
	place = place_of_scheduled(&q->record, &job);
	until_ms = limits_held_until(q, e->now_ms);
	if (until_ms < put_run_at_ms(e, &item->put))
		until_ms = put_run_at_ms(e, &item->put);
	if (!place_eta(&q->record, e->now_ms, &place, until_ms, &eta) || eta.low_ms <= item->put.deadline_ms)
		return;
	error_set(&item->error, ERR_QUEUE_FULL, "deadline_ms", "it would be done in %lld to %lld ms, not within %lld",
		  (long long)eta.low_ms, (long long)eta.high_ms, (long long)item->put.deadline_ms);
	item->error.retry_after_ms = bounded(eta.low_ms - item->put.deadline_ms);
}

void admit_by_queue(struct engine *e, const struct queue *q, struct put_item *item)
{
	by_bounds(e, q, item);
	if (item->error.code == 0)
		by_deadline(e, q, item);
}

int admit_by_store(struct engine *e, struct put_item *item, bool *ret_fits)
{
	int64_t bytes = (int64_t)item->put.payload.size;
	int rc;

	if (item->put.has_preview && !item->preview.has_blob)
		bytes += item->preview.size;
	rc = room_take(e, bytes, ret_fits);
	if (rc == 0 && !*ret_fits) {
		error_set(&item->error, ERR_STORE_FULL, NULL, "the store is full");
		item->error.retry_after_ms = FULL_RETRY_MS;
	}
	return rc;
}
