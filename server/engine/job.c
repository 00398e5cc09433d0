/* A job's states, the one function that moves it, and the indexes that move with it.
 *
 *               put ──▶ SCHEDULED ──due──▶ READY ──lease──▶ RUNNING ──complete──▶ SUCCEEDED
 *                           ▲                ▲                │ │ │
 *                           │                └──release, lost─┤ │ └─ deadline ──▶ EXPIRED
 *                           └────── fail, attempts left ──────┘ └─ fail for good ──▶ DEAD
 *      SCHEDULED, READY ── deadline ──▶ EXPIRED
 *      SCHEDULED, READY, RUNNING ── cancel ──▶ CANCELED        DEAD ── retry ──▶ READY
 *      READY ── its input is damaged ──▶ DEAD
 *      a final one ── its time is over, or it is erased ──▶ gone, and a tombstone in its place
 *
 * Invariants, proved from the file by check.c:
 *   1. A READY job has exactly one entry in TABLE_READY, under its own queue, priority and tag; no other job has one.
 *   2. A job with due_at_ms has exactly one entry in TABLE_DUE, at that moment; no other job has one.
 *   3. due_at_ms is the first moment at which time alone changes something (job_due()). SCHEDULED, RUNNING and final
 *      jobs always have one: nothing is stuck.
 *   4. A queue's counts are the number of its jobs in each state; its bytes are the sum of its unfinished jobs' bytes.
 *   5. The value of a job's entry in TABLE_DUE is due_value_make() of the job.
 * A job that is set aside (set_aside.c) is in no count; entries of it that are left over lead nowhere.
 *
 * Where damage has taken an index entry away, the next move sets things right instead of failing on it for ever.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/engine/engine_priv.h"
#include "server/engine/groups.h"
#include "server/engine/job_due.h"
#include "server/engine/limits.h"
#include "server/engine/outbox.h"
#include "server/engine/terms.h"
#include "server/flow/estimate.h"
#include "server/flow/fair.h"

#define BIT(n) (1u << (n))

static const uint16_t may_become[JOB_STATES] = {
	[JOB_SCHEDULED] = BIT(JOB_READY) | BIT(JOB_CANCELED) | BIT(JOB_EXPIRED),
	[JOB_READY] = BIT(JOB_RUNNING) | BIT(JOB_DEAD) | BIT(JOB_CANCELED) | BIT(JOB_EXPIRED),
	[JOB_RUNNING] = BIT(JOB_SUCCEEDED) | BIT(JOB_READY) | BIT(JOB_SCHEDULED) | BIT(JOB_DEAD) | BIT(JOB_CANCELED) |
			BIT(JOB_EXPIRED),
	[JOB_DEAD] = BIT(JOB_READY),
};

static struct slice keep_text(struct slice text, char *room, size_t size)
{
	if (text.size < size)
		size = text.size;
	if (size > 0)
		memcpy(room, text.data, size);
	return slice_of(room, size);
}

int job_load(struct engine *e, const struct uuid *id, struct job *ret)
{
	struct key key = key_job(id);
	struct slice bytes;
	int rc;

	rc = store_get(e->txn, TABLE_JOBS, key_slice(&key), &bytes);
	if (rc < 0)
		return rc;
	rc = record_read_job(bytes, ret);
	if (rc == 0)
		rc = set_aside_refuse(e, id);
	if (rc < 0)
		return rc;
	ret->note = keep_text(ret->note, e->texts.note, sizeof(e->texts.note));
	ret->error_message = keep_text(ret->error_message, e->texts.message, sizeof(e->texts.message));
	return queues_get(e->queues, ret->queue) ? 0 : ERR_CORRUPT;
}

int job_input(struct engine *e, const struct uuid *id, struct slice *ret)
{
	struct key key = key_job(id);
	int rc = store_get(e->txn, TABLE_INPUTS, key_slice(&key), ret);

	return rc == ERR_CORRUPT && store_waits(e->txn) ? ERR_STORE_ERROR : rc;
}

int job_input_waits(struct engine *e, const struct uuid *id, bool *ret_waits)
{
	struct slice ignored;
	int rc = job_input(e, id, &ignored);

	*ret_waits = rc == ERR_STORE_ERROR && store_waits(e->txn);
	return rc == ERR_NOT_FOUND || rc == ERR_CORRUPT || *ret_waits ? 0 : rc;
}

int job_find(struct engine *e, const struct uuid *id, struct job *ret)
{
	struct key key = key_job(id);
	struct slice value;
	int rc = job_load(e, id, ret);

	if (rc == ERR_CORRUPT && store_waits(e->txn))
		return ERR_DAMAGED;
	if (rc != ERR_NOT_FOUND)
		return rc;
	rc = store_get(e->txn, TABLE_TOMBSTONES, key_slice(&key), &value);
	return rc == 0 ? ERR_GONE : rc;
}

static int64_t earliest(int64_t a, int64_t b)
{
	if (a == 0 || b == 0)
		return a ? a : b;
	return a < b ? a : b;
}

int64_t job_due(const struct job *job)
{
	/* A start deadline binds only until the first attempt. */
	int64_t start_by = job->attempt == 0 && job->started_at_ms == 0 ? job->start_deadline_at_ms : 0;

	switch ((enum job_state)job->state) {
	case JOB_SCHEDULED:
		return earliest(job->run_at_ms, earliest(start_by, job->deadline_at_ms));
	case JOB_READY:
		return earliest(start_by, job->deadline_at_ms);
	case JOB_RUNNING:
		return earliest(job->lease_expires_at_ms, earliest(job->attempt_deadline_at_ms, job->deadline_at_ms));
	default:
		return job->expires_at_ms;
	}
}

/* moved: the state has changed, and so what the entry says. */
static int move_due(struct engine *e, const struct uuid *id, struct job *job, bool moved)
{
	struct due_value value = due_value_make(job);
	int64_t due = job_due(job);
	struct key key;
	int rc;

	if (due == job->due_at_ms && !moved)
		return 0;
	if (job->due_at_ms != 0 && job->due_at_ms != due) {
		key = key_due(job->due_at_ms, id);
		rc = store_delete(e->txn, TABLE_DUE, key_slice(&key));
		if (rc < 0 && rc != ERR_NOT_FOUND)
			return rc;
	}
	job->due_at_ms = due;
	if (due == 0)
		return 0;
	key = key_due(due, id);
	return store_put(e->txn, TABLE_DUE, key_slice(&key), slice_of(value.bytes, sizeof(value.bytes)));
}

int put_newest(struct engine *e, enum store_table table, const struct key *key, struct slice value)
{
	int rc = store_append(e->txn, table, key_slice(key), value);

	/* Ids count up, but a restart with a clock that was set back begins below the last. */
	return rc == ERR_CORRUPT ? store_put(e->txn, table, key_slice(key), value) : rc;
}

/* fresh: there is none yet. */
static int write_job(struct engine *e, const struct uuid *id, const struct job *job, bool fresh)
{
	struct key key = key_job(id);
	int rc;

	buf_reset(&e->record);
	rc = record_write_job(&e->record, job);
	if (rc < 0)
		return rc;
	if (fresh)
		return put_newest(e, TABLE_JOBS, &key, buf_slice(&e->record));
	return store_put(e->txn, TABLE_JOBS, key_slice(&key), buf_slice(&e->record));
}

/* Invariants 1 to 3 for one job, after each of its moves; the counts are proved by check.c. In checked builds only. */
static void prove(struct engine *e, const struct uuid *id, const struct job *job)
{
#ifdef RAINCHECK_CHECKED
	struct key ready = key_ready(job->queue, job->priority, job->tag, id);
	struct key due = key_due(job->due_at_ms, id);
	struct due_value expected = due_value_make(job);
	struct slice value;

	assert((store_get(e->txn, TABLE_READY, key_slice(&ready), &value) == 0) == (job->state == JOB_READY));
	assert(job->due_at_ms == job_due(job));
	assert(job->due_at_ms != 0 || job->state == JOB_READY);
	assert(job->due_at_ms == 0 || (store_get(e->txn, TABLE_DUE, key_slice(&due), &value) == 0 &&
				       slice_equal(value, slice_of(expected.bytes, sizeof(expected.bytes)))));
#else
	(void)e;
	(void)id;
	(void)job;
#endif
}

int job_save(struct engine *e, const struct uuid *id, struct job *job)
{
	int rc = move_due(e, id, job, false);

	return rc < 0 ? rc : write_job(e, id, job, false);
}

/* Of whom the job is, for its place in line. Empty where it has no group, or where damage hides it, be it only until
 * nobody reads: a cancel or a retry is not refused for what its group would gain or lose by it. */
static int group_of(struct engine *e, const struct uuid *id, struct slice *ret)
{
	struct key key = key_job(id);
	struct job_input input;
	struct slice bytes;
	int rc;

	*ret = slice_of(NULL, 0);
	rc = store_get(e->txn, TABLE_INPUTS, key_slice(&key), &bytes);
	if (rc < 0)
		return rc == ERR_NOT_FOUND || rc == ERR_CORRUPT ? 0 : rc;
	if (record_read_input(bytes, &input) == 0)
		*ret = input.group;
	return 0;
}

/* The place in line is given once: whoever comes back after a failure or a lost lease has waited already. group: NULL
 * where it has to be looked up. */
static int take_place(struct engine *e, const struct uuid *id, struct job *job, struct queue *q,
		      const struct slice *group)
{
	struct fair_line *line = &q->record.lines[job->priority];
	struct slice found = { 0 };
	int rc = 0;

	if (!group && !(job->tag != 0 && line->grouped))
		rc = group_of(e, id, &found);
	if (rc == 0 && job->tag != 0)
		line->grouped |= found.size > 0;
	else if (rc == 0)
		rc = groups_enter(e->groups, e->txn, q, job->priority, group ? *group : found, &job->tag);
	return rc;
}

static int enter_ready(struct engine *e, const struct uuid *id, struct job *job, struct queue *q,
		       const struct slice *group)
{
	struct key key;
	int rc;

	rc = take_place(e, id, job, q, group);
	if (rc < 0)
		return rc;
	key = key_ready(job->queue, job->priority, job->tag, id);
	q->record.ready[job->priority]++;
	parked_gained(e, q);
	return store_put(e->txn, TABLE_READY, key_slice(&key), slice_of(NULL, 0));
}

/* Its group does not pay for a turn that it did not have. */
static int give_place_back(struct engine *e, const struct uuid *id, const struct job *job, struct queue *q)
{
	struct slice group = { 0 };
	int rc;

	/* Where there are no groups, nobody gains by it. */
	if (!q->record.lines[job->priority].grouped)
		return 0;
	rc = group_of(e, id, &group);
	return rc < 0 ? rc : groups_leave(e->groups, e->txn, q, job->priority, group);
}

static int leave_ready(struct engine *e, const struct uuid *id, const struct job *job, struct queue *q, bool served)
{
	struct fair_line *line = &q->record.lines[job->priority];
	struct key key = key_ready(job->queue, job->priority, job->tag, id);
	int rc;

	q->record.ready[job->priority]--;
	rc = delete_if_there(e, TABLE_READY, &key);
	if (rc == 0 && served)
		fair_served(line, job->tag);
	else if (rc == 0)
		rc = give_place_back(e, id, job, q);
	if (q->record.ready[job->priority] == 0)
		fair_emptied(line);
	return rc;
}

int event_add(struct engine *e, const struct job_event *event)
{
	struct event_list *l = &e->events;

	if (l->count == l->capacity) {
		size_t capacity = l->capacity ? 2 * l->capacity : 256;
		struct job_event *items = realloc(l->items, capacity * sizeof(*items));

		if (!items)
			return ERR_NO_MEMORY;
		l->items = items;
		l->capacity = capacity;
	}
	l->items[l->count++] = *event;
	return 0;
}

/* Puts the job into a state: what every state needs besides its indexes. group: of a new one, which is in no state yet;
 * else NULL. */
static int enter(struct engine *e, const struct uuid *id, struct job *job, struct queue *q, enum job_state to,
		 const struct slice *group)
{
	int rc;

	job->state = (uint8_t)to;
	q->record.counts[to]++;
	q->dirty = true;
	if (to != JOB_RUNNING)
		job->lease_expires_at_ms = job->attempt_deadline_at_ms = 0;
	if (job_state_final(to)) {
		job->finished_at_ms = e->now_ms;
		job->expires_at_ms = moment_after(e->now_ms, terms_result_ttl_ms(job, &q->record, e->settings));
	} else {
		job->finished_at_ms = job->expires_at_ms = 0;
		q->record.bytes += job->bytes;
	}
	if (to == JOB_READY) {
		rc = enter_ready(e, id, job, q, group);
		if (rc < 0)
			return rc;
	}
	rc = move_due(e, id, job, true);
	if (rc == 0)
		rc = write_job(e, id, job, group != NULL);
	if (rc == 0)
		prove(e, id, job);
	return rc;
}

struct work_tally *tally_of(struct engine *e, const struct queue *q)
{
	/* No other queue of ours begins like this, and none of a producer's may. */
	return &e->tally.work[q->name[0] == OUTBOX_QUEUE[0] ? TALLY_DELIVERIES : TALLY_JOBS];
}

int job_create(struct engine *e, const struct uuid *id, struct job *job, struct slice group, enum job_state state)
{
	struct queue *q = queues_get(e->queues, job->queue);

	assert(state == JOB_SCHEDULED || state == JOB_READY);
	q->record.put_total++;
	tally_of(e, q)->puts++;
	return enter(e, id, job, q, state, &group);
}

static void call_begins(struct engine *e, const struct uuid *id, const struct job *job, struct queue *q)
{
	struct work_tally *tally = tally_of(e, q);

	tally->leases++;
	histogram_add(&tally->waits, &tally_scale, e->now_ms - job->run_at_ms);
	q->record.lease_total++;
	pace_began(&q->record.pace, e->now_ms, q->record.counts[JOB_RUNNING]);
	limits_started(q, id, e->now_ms);
}

/* The command says how the call fared, where it does; a lease that was lost or given back says nothing. */
static void call_ended(struct engine *e, const struct uuid *id, const struct job *job, struct queue *q)
{
	histogram_add(&tally_of(e, q)->runs, &tally_scale, e->now_ms - job->started_at_ms);
	if (e->report) {
		e->report->started_at_ms = job->started_at_ms;
		e->report->now_ms = e->now_ms;
		if (e->report->took_ms < 0)
			e->report->took_ms = e->now_ms > job->started_at_ms ? e->now_ms - job->started_at_ms : 0;
	}
	limits_ended(q, id, e->report, e->now_ms);
	if (q->limit)
		parked_limit_gained(e, q->limit);
}

int job_move(struct engine *e, const struct uuid *id, struct job *job, enum job_state to)
{
	struct queue *q = queues_get(e->queues, job->queue);
	enum job_state from = job->state;
	struct job_event event = { .id = *id, .final = job_state_final(to) };
	int rc;

	assert(may_become[from] & BIT(to));
	if (from == JOB_READY) {
		rc = leave_ready(e, id, job, q, to == JOB_RUNNING);
		if (rc < 0)
			return rc;
	}
	q->record.counts[from]--;
	if (!job_state_final(from))
		q->record.bytes -= job->bytes;
	if (from == JOB_RUNNING)
		event.from_holder = job->holder;
	if (to == JOB_RUNNING)
		event.to_holder = job->holder;
	if (from == JOB_RUNNING && to == JOB_CANCELED) {
		event.called_back = true;
		event.lease = job->lease;
	}
	/* Only a cancel leaves the lease that it took where it was: job.extend tells whoever held it. */
	if (from == JOB_RUNNING && to != JOB_CANCELED)
		job->lease = (struct token){ 0 };
	if (job_state_final(to))
		tally_of(e, q)->ended[to]++;
	if (from == JOB_RUNNING)
		call_ended(e, id, job, q);
	if (to == JOB_RUNNING)
		call_begins(e, id, job, q);
	if (from == JOB_RUNNING && (to == JOB_SUCCEEDED || to == JOB_DEAD))
		pace_done(&q->record.pace, e->now_ms);
	if (to == JOB_SUCCEEDED)
		pace_succeeded(&q->record.pace, e->now_ms - job->started_at_ms);
	rc = event_add(e, &event);
	/* A dead one may be retried, and then goes on where it was. */
	if (rc == 0 && job->hooked && job_state_final(to) && to != JOB_DEAD)
		rc = hooks_settle(e, id, job);
	if (rc == 0)
		rc = enter(e, id, job, q, to, NULL);
	return rc == 0 && event.final && job->has_callback ? outbox_put(e, id, job) : rc;
}

int delete_if_there(struct engine *e, enum store_table table, const struct key *key)
{
	int rc = store_delete(e->txn, table, key_slice(key));

	return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* Where damage hides which key the job was put with: the one that leads to it. Goes through all of them. */
static int forget_hidden_key(struct engine *e, const struct uuid *id)
{
	struct slice key, value;
	struct uuid found;
	int rc;

	e->walked = true;
	for (rc = store_seek(e->txn, TABLE_IDEMPOTENCY, slice_of(NULL, 0), &key, &value); rc == 0;
	     rc = store_next(e->txn, TABLE_IDEMPOTENCY, &key, &value)) {
		struct key copy = key_copy(key);

		if (key_read_job(value, &found) == 0 && uuid_equal(&found, id))
			return store_delete(e->txn, TABLE_IDEMPOTENCY, key_slice(&copy));
	}
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* What of the input stands elsewhere too: the idempotency key, and the name of the group. */
static int forget_words(struct engine *e, const struct uuid *id, const struct job *job)
{
	const struct queue *q = queues_get(e->queues, job->queue);
	struct job_input input;
	struct slice bytes;
	struct key key;
	int rc;

	rc = job_input(e, id, &bytes);
	if (rc < 0 && rc != ERR_NOT_FOUND && rc != ERR_CORRUPT)
		return rc;
	if (rc < 0 || record_read_input(bytes, &input) < 0)
		return forget_hidden_key(e, id);
	key = key_idempotency(job->queue, input.idempotency_key);
	rc = q ? groups_forget(e->groups, e->txn, q, job->priority, input.group) : 0;
	return rc < 0 || input.idempotency_key.size == 0 ? rc : delete_if_there(e, TABLE_IDEMPOTENCY, &key);
}

int job_remove(struct engine *e, const struct uuid *id, const struct job *job)
{
	struct key key = key_job(id);
	struct tombstone stone = {
		.until_ms = moment_after(e->now_ms, e->settings->tombstone_ttl_ms),
		.link_generation = job->link_generation,
		.link_revoked = job->link_revoked,
	};
	struct key until_key = key_due(stone.until_ms, id);
	int rc;

	rc = forget_words(e, id, job);
	if (rc == 0)
		rc = artifacts_drop(e, id);
	if (rc == 0)
		rc = hooks_forget(e, id);
	if (rc == 0)
		rc = delete_if_there(e, TABLE_CHECKPOINTS, &key);
	if (rc == 0)
		rc = delete_if_there(e, TABLE_INPUTS, &key);
	if (rc == 0)
		rc = delete_if_there(e, TABLE_JOBS, &key);
	if (rc < 0)
		return rc;
	/* The tombstone says "gone" in the place of "unknown", until its own entry comes due. */
	buf_reset(&e->record);
	rc = record_write_tombstone(&e->record, &stone);
	if (rc == 0)
		rc = store_put(e->txn, TABLE_TOMBSTONES, key_slice(&key), buf_slice(&e->record));
	if (rc == 0)
		rc = store_put(e->txn, TABLE_DUE, key_slice(&until_key), slice_of(NULL, 0));
	return rc;
}

int job_forget(struct engine *e, const struct uuid *id, struct job *job)
{
	struct queue *q = queues_get(e->queues, job->queue);
	struct job_event event = { .id = *id, .final = true };
	struct key due = key_due(job->due_at_ms, id);
	int rc;

	assert(job_state_final(job->state));
	q->record.counts[job->state]--;
	q->dirty = true;
	rc = delete_if_there(e, TABLE_DUE, &due);
	if (rc == 0)
		rc = job_remove(e, id, job);
	return rc < 0 ? rc : event_add(e, &event);
}
