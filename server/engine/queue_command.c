/* queue.set, queue.pause and queue.resume. */
#include "server/engine/apply.h"
#include "server/engine/engine_priv.h"
#include "server/engine/limits.h"
#include "server/engine/terms.h"
#include "server/engine/view.h"

static void apply_backoff(struct backoff *to, const struct msg_backoff *b)
{
	APPLY(backoff, b, base_ms, to->base_ms, -1);
	APPLY(backoff, b, max_ms, to->max_ms, -1);
	APPLY(backoff, b, factor, to->factor, -1);
	APPLY(backoff, b, jitter, to->jitter, -1);
}

/* The limit that the queue is to have: *ret stays as it is where the command does not say. ERR_NOT_FOUND. */
static int find_limit(struct engine *e, const struct msg_queue_set *set, struct limit **ret)
{
	if (MESSAGE_WAS_NIL(queue_set, set, limit))
		*ret = NULL;
	if (!set->has_limit)
		return 0;
	*ret = limits_find(e->limits, set->limit);
	return *ret ? 0 : ERR_NOT_FOUND;
}

static int apply_flow(struct engine *e, struct queue *q, struct limit *limit, const struct msg_queue_set *set)
{
	struct queue_record *r = &q->record;
	struct limit *former = q->limit;
	int rc = 0;

	APPLY_AS(uint32_t, queue_set, set, weight, r->weight, 1);
	APPLY_AS(uint8_t, queue_set, set, admit, r->admit, ADMIT_ALWAYS);
	if (set->has_weights || MESSAGE_WAS_NIL(queue_set, set, weights))
		rc = queues_set_weights(q, e->txn, set->weights, set->weights_count, &e->record);
	if (rc < 0 || limit == former)
		return rc;
	rc = limits_assign(q, limit);
	/* What ran here counts there no more. */
	if (rc == 0 && former)
		parked_limit_gained(e, former);
	return rc;
}

static int apply(struct queue *q, const struct msg_queue_set *set)
{
	struct queue_record fresh = terms_new_queue(q->record.name);
	struct queue_record *r = &q->record;
	int64_t max_attempts = r->max_attempts;

	APPLY(queue_set, set, paused, r->paused, false);
	APPLY(queue_set, set, max_jobs, r->max_jobs, fresh.max_jobs);
	APPLY(queue_set, set, max_bytes, r->max_bytes, fresh.max_bytes);
	APPLY(queue_set, set, max_attempts, max_attempts, fresh.max_attempts);
	APPLY(queue_set, set, attempt_timeout_ms, r->attempt_timeout_ms, fresh.attempt_timeout_ms);
	APPLY(queue_set, set, result_ttl_ms, r->result_ttl_ms, fresh.result_ttl_ms);
	r->max_attempts = (uint32_t)max_attempts;
	if (set->has_backoff)
		apply_backoff(&r->backoff, &set->backoff);
	else if (MESSAGE_WAS_NIL(queue_set, set, backoff))
		r->backoff = fresh.backoff;
	q->dirty = true;
	if (set->has_title || MESSAGE_WAS_NIL(queue_set, set, title))
		return queues_set_title(q, set->title);
	return 0;
}

int command_queue(struct engine *e, struct command *cmd)
{
	const struct command_queue *c = cmd->params;
	struct queue *q = queues_find(e->queues, c->set.queue);
	struct group_weight weights[MAX_WEIGHTS];
	struct limit *limit = q ? q->limit : NULL;
	struct msg_queue result;
	int rc = 0;

	if (!q && c->action != QUEUE_SET)
		return refuse(cmd, ERR_NOT_FOUND, "queue", "there is no such queue");
	if (find_limit(e, &c->set, &limit) < 0)
		return refuse(cmd, ERR_NOT_FOUND, "limit", "there is no such limit");
	if (!q)
		rc = queues_add(e->queues, c->set.queue, &q);
	if (rc == ERR_QUEUE_FULL)
		return refuse(cmd, rc, "queue", "there are too many queues already");
	if (rc == 0 && c->action == QUEUE_SET)
		rc = apply(q, &c->set);
	if (rc == 0 && c->action == QUEUE_SET)
		rc = apply_flow(e, q, limit, &c->set);
	if (rc < 0)
		return rc;
	if (c->action != QUEUE_SET) {
		q->record.paused = c->action == QUEUE_PAUSE;
		q->dirty = true;
	}
	/* Somebody may wait for what was held back. */
	if (!q->record.paused)
		parked_gained(e, q);
	rc = view_queue(e->txn, q->number, &q->record, weights, &result);
	if (rc == 0)
		cmd->answer(cmd, &MSG_queue, &result);
	return rc;
}
