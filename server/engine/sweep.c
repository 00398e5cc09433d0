/* Changes of many jobs by filter, a bounded piece in each batch: so that ten million of them hold up nobody, and no
 * transaction grows without end. They take turns; a batch that fails ends the one whose turn it was, and what that did
 * in earlier batches stays.
 */
#include <string.h>

#include "server/engine/engine_priv.h"
#include "server/engine/filter.h"
#include "server/engine/outbox.h"
#include "server/engine/view.h"

#define STEPS_PER_BATCH	  4000 /* jobs looked at */
#define CHANGES_PER_BATCH 500
#define BYTES_PER_BATCH	  (8 << 20) /* of inputs, read for their group */

static const char *const method_names[] = {
	[CHANGE_CANCEL] = "job.cancel",	      [CHANGE_RETRY] = "job.retry",   [CHANGE_ERASE] = "job.erase",
	[CHANGE_REDELIVER] = "job.redeliver", [CHANGE_PURGE] = "queue.purge",
};

/* ---- answers ---- */

static int answer_purge(struct engine *e, struct command *cmd, const struct command_change *c)
{
	struct msg_queue_purge_result result = { .has_count = true, .count = c->count };
	const struct queue *q = queues_find(e->queues, c->filter.queue);
	struct group_weight weights[MAX_WEIGHTS];
	struct msg_queue queue;
	int rc;

	/* It was there when the command came, in a batch that was taken back. */
	if (!q)
		return refuse(cmd, ERR_NOT_FOUND, "queue", "there is no such queue");
	rc = view_queue(e->txn, q->number, &q->record, weights, &queue);
	if (rc < 0)
		return rc;
#define COPY(type, name, ...)                 \
	result.has_##name = queue.has_##name; \
	result.name = queue.name;
#define COPY_NESTED(name, ...) COPY(, name)
#define COPY_COUNTED(name, ...)                   \
	result.name##_count = queue.name##_count; \
	COPY(, name)
	FIELDS_queue(COPY, COPY_NESTED, COPY_NESTED, , , , COPY_COUNTED);
#undef COPY_COUNTED
#undef COPY_NESTED
#undef COPY
	cmd->answer(cmd, &MSG_queue_purge_result, &result);
	return 0;
}

/* more: there may be jobs that were not looked at. */
static void answer_change(struct engine *e, struct command *cmd, const struct command_change *c, bool more)
{
	struct msg_job_change_result result = { .has_count = true, .count = c->count, .has_cursor = more };
	struct cursor_text cursor;

	cursor = cursor_make(e->settings->link_secret, method_names[c->action], &c->filter, &c->after);
	result.cursor = slice_str(cursor.text);
	cmd->answer(cmd, &MSG_job_change_result, &result);
}

/* ---- going on ---- */

/* Jobs that are put while it goes on are not its business, or it might never come to an end. */
static int begin(struct engine *e, struct command_change *c)
{
	struct slice key, value;
	int rc;

	c->begun = true;
	rc = store_seek_back(e->txn, TABLE_JOBS, slice_of(NULL, 0), &key, &value);
	return rc < 0 ? rc : key_read_job(key, &c->until);
}

/* The job behind c->after. ERR_NOT_FOUND past the last.
 *
 * Where a key of the table stands out of order, for a bit of it flipped on the disk, a seek goes astray among its
 * neighbours: this ends early then, or leaves some out, but never goes round in a circle, for the keys only rise. No
 * walk by keys can do better, and one by neighbours cannot go on after a write. The check names such a key, and
 * raincheckd --compact puts it where it belongs. */
static int step(struct engine *e, struct command_change *c, struct slice *ret_record)
{
	struct key from = key_above(slice_of(c->after.bytes, sizeof(c->after.bytes)));
	struct slice key;
	int rc;

	rc = store_seek(e->txn, TABLE_JOBS, c->has_after ? key_slice(&from) : slice_of(NULL, 0), &key, ret_record);
	if (rc == 0)
		rc = key_read_job(key, &c->after);
	if (rc < 0)
		return rc;
	c->has_after = true;
	return memcmp(c->after.bytes, c->until.bytes, sizeof(c->until.bytes)) > 0 ? ERR_NOT_FOUND : 0;
}

static bool names_all(const struct msg_job_filter *f)
{
	return f->all && !f->has_queue && !f->has_state && !f->has_group && !f->has_before_at_ms;
}

static int wants(struct engine *e, const struct command_change *c, struct filter *f, struct slice record, bool *ret)
{
	struct job job;

	if (record_read_job(record, &job) == 0)
		return filter_matches(e->txn, f, &c->after, &job, ret);
	/* Of a damaged one nothing is known that a filter could ask for. */
	*ret = c->action == CHANGE_ERASE && names_all(&c->filter);
	return 0;
}

/* Changes the job at c->after if it is asked for. *ret_changed: it was, and could be. */
static int change_if_wanted(struct engine *e, struct command_change *c, struct filter *f, struct slice record,
			    bool *ret_changed)
{
	const struct queue *internal = f->has_internal ? NULL : queues_find(e->queues, slice_str(OUTBOX_QUEUE));
	int rc;

	/* It may have come to be with the last change. */
	if (internal) {
		f->has_internal = true;
		f->internal = internal->number;
	}
	rc = wants(e, c, f, record, ret_changed);
	if (rc < 0 || !*ret_changed)
		return rc;
	rc = change_one(e, &c->after, c->action, ret_changed);
	/* None is left out in silence. */
	if (rc == ERR_DAMAGED)
		return ERR_STORE_ERROR;
	if (!is_refusal(rc))
		return rc;
	*ret_changed = false;
	return 0;
}

static bool nothing_waits(const struct queue *q)
{
	return q->record.counts[JOB_SCHEDULED] + q->record.counts[JOB_READY] <= 0;
}

/* What is set aside and has no record any more: no walk over the records comes upon it. */
static int erase_leftovers(struct engine *e, struct command_change *c, bool *ret_done)
{
	struct slice key, value;
	struct uuid id;
	int rc;

	*ret_done = true;
	if (c->action != CHANGE_ERASE || !names_all(&c->filter))
		return 0;
	rc = store_seek(e->txn, TABLE_SET_ASIDE, slice_of(NULL, 0), &key, &value);
	if (rc < 0)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	rc = key_read_job(key, &id);
	if (rc < 0)
		return 0; /* an entry of no shape, for the checker to name */
	*ret_done = false;
	c->count++;
	return set_aside_erase(e, &id);
}

/* One piece. *ret_done: there is nothing left to look at. */
static int sweep_piece(struct engine *e, struct command_change *c, bool *ret_done)
{
	/* A queue made in this batch is not in the store yet. */
	const struct queue *q = c->filter.has_queue ? queues_find(e->queues, c->filter.queue) : NULL;
	struct filter filter = { .asked = c->filter, .queue = q ? q->number : 0 };
	int64_t changes = 0;
	int rc;

	rc = (c->filter.has_queue && !q) || (c->action == CHANGE_PURGE && q && nothing_waits(q)) ? ERR_NOT_FOUND : 0;
	if (rc == 0 && !c->begun)
		rc = begin(e, c);
	for (int i = 0; rc == 0 && i < STEPS_PER_BATCH && changes < CHANGES_PER_BATCH &&
			filter.bytes < BYTES_PER_BATCH && !e->walked;
	     i++) {
		bool changed = false;
		struct slice record;

		if (c->limit > 0 && c->count >= c->limit)
			break;
		rc = step(e, c, &record);
		if (rc == 0)
			rc = change_if_wanted(e, c, &filter, record, &changed);
		changes += changed;
		c->count += changed;
	}
	*ret_done = false;
	return rc == ERR_NOT_FOUND ? erase_leftovers(e, c, ret_done) : rc;
}

int sweep_run(struct engine *e)
{
	struct command *cmd = e->sweeps.head;
	struct command_change *c;
	bool done;
	int rc;

	if (!cmd)
		return 0;
	/* How far it is stands with what was asked, as the maker of the command expects. */
	c = (struct command_change *)(uintptr_t)cmd->params;
	e->swept = cmd;
	rc = sweep_piece(e, c, &done);
	if (rc < 0)
		return rc;
	if (!done && !(c->limit > 0 && c->count >= c->limit)) {
		/* The next has its turn, so that a long one holds up no short one. */
		command_list_push(&e->sweeps, command_list_pop(&e->sweeps));
		return 0;
	}
	if (c->action == CHANGE_PURGE)
		rc = answer_purge(e, cmd, c);
	else
		answer_change(e, cmd, c, !done);
	if (rc < 0)
		return rc;
	e->swept = NULL;
	command_list_push(&e->answered, command_list_pop(&e->sweeps));
	return 0;
}

void sweep_forget(struct engine *e, uint64_t session)
{
	struct command *cmd = command_list_take(&e->sweeps);

	while (cmd) {
		const struct command_change *c = cmd->params;
		struct command *next = cmd->next;
		bool gone = cmd->session == session;

		if (gone && c->action == CHANGE_PURGE)
			refuse(cmd, ERR_SHUTTING_DOWN, NULL, "stopped after %lld jobs were canceled",
			       (long long)c->count);
		else if (gone)
			answer_change(e, cmd, c, true);
		command_list_push(gone ? &e->answered : &e->sweeps, cmd);
		cmd = next;
	}
}
