#include "server/engine/place.h"

#include "proto/error.h"
#include "server/flow/fair.h"
#include "server/flow/limit.h"
#include "server/store/keys.h"
#include "server/store/limit_record.h"

#define POSITION_STEPS 1000 /* counted exactly up to here; beyond, told as a bound */

/* The jobs of its own group alone take about so many turns before it, whatever their weight: none takes more than
 * FAIR_COST. Fewer where some of them were canceled. */
static int64_t least_before(const struct queue_record *q, const struct job *job)
{
	uint64_t now = q->lines[job->priority].now;

	return job->tag > now ? (int64_t)((job->tag - now) / FAIR_COST) : 0;
}

static int64_t better_than(const struct queue_record *q, uint8_t priority)
{
	int64_t better = 0;

	for (int p = 0; p < priority; p++)
		better += q->ready[p];
	return better;
}

/* Jobs without groups stand FAIR_COST apart; among groups the whole line may be before it. */
static int64_t most_before(const struct queue_record *q, const struct job *job, uint64_t first_tag)
{
	int64_t by_tag = (int64_t)((job->tag - first_tag) / FAIR_COST);
	int64_t others = q->ready[job->priority] - (job->state == JOB_READY);

	return by_tag < others && !q->lines[job->priority].grouped ? by_tag : others;
}

/* Those before it in its own line, POSITION_STEPS at most. first_tag: of the first of them. The store's errors. */
static int count_before(struct store_txn *t, const struct uuid *of, const struct job *job, int64_t *ret_count,
			uint64_t *ret_first_tag)
{
	struct key from = key_ready_from(job->queue, job->priority);
	struct slice key, value;
	int rc;

	*ret_count = 0;
	for (rc = store_seek(t, TABLE_READY, key_slice(&from), &key, &value); rc == 0 && *ret_count < POSITION_STEPS;
	     rc = store_next(t, TABLE_READY, &key, &value)) {
		struct uuid id;
		uint32_t queue;
		uint8_t priority;
		uint64_t tag;

		if (key_read_ready(key, &queue, &priority, &tag, &id) < 0 || queue != job->queue ||
		    priority != job->priority || tag > job->tag || (tag == job->tag && uuid_compare(&id, of) >= 0))
			return 0;
		if ((*ret_count)++ == 0)
			*ret_first_tag = tag;
	}
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

int place_of_job(struct store_txn *t, const struct queue_record *q, const struct uuid *of, const struct job *job,
		 struct place *ret)
{
	int64_t better = better_than(q, job->priority);
	uint64_t first_tag = 0;
	int64_t before;
	int rc;

	rc = count_before(t, of, job, &before, &first_tag);
	if (rc < 0)
		return rc;
	ret->least = ret->most = better + before + 1;
	if (before < POSITION_STEPS)
		return 0;
	/* There may be more. */
	if (most_before(q, job, first_tag) > before)
		ret->most = better + most_before(q, job, first_tag) + 1;
	if (least_before(q, job) > before)
		ret->least = better + least_before(q, job) + 1;
	if (ret->least > ret->most)
		ret->least = ret->most;
	return 0;
}

struct place place_of_new(const struct queue_record *q, const struct job *job)
{
	int64_t better = better_than(q, job->priority);
	struct place place = { .most = better + q->ready[job->priority] };

	place.least = q->lines[job->priority].grouped ? better + least_before(q, job) + 1 : place.most;
	if (place.least > place.most)
		place.least = place.most;
	return place;
}

struct place place_of_scheduled(const struct queue_record *q, const struct job *job)
{
	int64_t better = better_than(q, job->priority);
	struct place place = { .most = better + q->ready[job->priority] + 1 };

	place.least = q->lines[job->priority].grouped ? better + 1 : place.most;
	return place;
}

/* Half open with a probe under way counts as full of it; what is in flight else decides nothing here. */
static struct hindrance hindrance_of(const struct limit_record *limit, int64_t now_ms)
{
	struct limit_view v = limit_look(limit, 1, now_ms);
	struct hindrance h = { .until_ms = v.held_until_ms };

	h.there = v.state == LIMIT_HELD || v.breaker != BREAKER_CLOSED;
	h.reason = v.state == LIMIT_HELD ? WAIT_HELD : WAIT_BREAKER;
	return h;
}

int place_hindrance(struct store_txn *t, const struct queue_record *q, int64_t now_ms, struct hindrance *ret)
{
	struct key key = key_name(q->limit);
	struct limit_record limit;
	struct slice value;
	int rc;

	*ret = (struct hindrance){ .there = q->paused, .reason = WAIT_PAUSED };
	if (q->paused || q->limit.size == 0)
		return 0;
	rc = store_get(t, TABLE_LIMITS, key_slice(&key), &value);
	if (rc == 0 && record_read_limit(value, &limit) == 0)
		*ret = hindrance_of(&limit, now_ms);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

struct outlook place_outlook(const struct queue_record *q, int64_t now_ms, const struct place *place,
			     int64_t held_until_ms)
{
	return (struct outlook){
		.pace = q->pace,
		.now_ms = now_ms,
		.running = q->counts[JOB_RUNNING],
		.line = { place->least, place->most, held_until_ms - now_ms },
		.paused = q->paused,
	};
}

bool place_eta(const struct queue_record *q, int64_t now_ms, const struct place *place, int64_t held_until_ms,
	       struct estimate *ret)
{
	struct outlook o = place_outlook(q, now_ms, place, held_until_ms);

	return estimate_outlook(&o, ret);
}
