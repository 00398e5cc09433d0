/* queue.set, queue.pause and queue.resume. */
#include "server/engine/engine_priv.h"
#include "server/engine/terms.h"
#include "server/engine/view.h"

/* Sets *setting where the key was there; a nil takes it back to what a new queue has. */
#define APPLY(message, set, field, setting, otherwise)         \
	do {                                                   \
		if ((set)->has_##field)                        \
			(setting) = (set)->field;              \
		else if (MESSAGE_WAS_NIL(message, set, field)) \
			(setting) = (otherwise);               \
	} while (0)

static void apply_backoff(struct backoff *to, const struct msg_backoff *b)
{
	APPLY(backoff, b, base_ms, to->base_ms, -1);
	APPLY(backoff, b, max_ms, to->max_ms, -1);
	APPLY(backoff, b, factor, to->factor, -1);
	APPLY(backoff, b, jitter, to->jitter, -1);
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
	struct msg_queue result;
	int rc = 0;

	if (!q && c->action != QUEUE_SET)
		return refuse(cmd, ERR_NOT_FOUND, "queue", "there is no such queue");
	if (!q)
		rc = queues_add(e->queues, c->set.queue, &q);
	if (rc == ERR_QUEUE_FULL)
		return refuse(cmd, rc, "queue", "there are too many queues already");
	if (rc == 0 && c->action == QUEUE_SET)
		rc = apply(q, &c->set);
	if (rc < 0)
		return rc;
	if (c->action != QUEUE_SET) {
		q->record.paused = c->action == QUEUE_PAUSE;
		q->dirty = true;
	}
	/* Somebody may wait for what was held back. */
	if (!q->record.paused)
		parked_gained(e, q);
	rc = view_queue(e->txn, q->number, &q->record, &result);
	if (rc == 0)
		cmd->answer(cmd, &MSG_queue, &result);
	return rc;
}
