/* How an attempt ends by its worker's word: complete, fail, release; and what a worker writes while it goes on: extend,
 * checkpoint, artifacts. Every one is refused unless its lease is the job's present one.
 */
#include <gnutls/gnutls.h>
#include <math.h>
#include <string.h>

#include "server/engine/engine_priv.h"
#include "server/engine/limits.h"
#include "server/engine/terms.h"
#include "server/flow/limit.h"

#define RESULT "result"

#define RETRY_AFTER_MAX_MS (24 * 60 * 60 * 1000)

static bool is_lease_of(const struct token *lease, const struct job *job)
{
	return gnutls_memcmp(job->lease.bytes, lease->bytes, sizeof(lease->bytes)) == 0;
}

int load_leased(struct engine *e, const struct uuid *id, const struct token *lease, struct job *ret)
{
	int rc = job_find(e, id, ret);

	/* An erased one has no lease any more. */
	if (rc < 0)
		return rc == ERR_GONE ? ERR_LEASE_LOST : rc;
	/* One whose time is over has lost it, also while its turn among many others that are due has not come yet. */
	if (ret->state != JOB_RUNNING || !is_lease_of(lease, ret) || ret->due_at_ms <= e->now_ms)
		return ERR_LEASE_LOST;
	return 0;
}

/* Whether it was a cancel that took this lease. */
static bool was_canceled(const struct token *lease, const struct job *job)
{
	static const struct token none;

	return job->state == JOB_CANCELED && memcmp(&job->lease, &none, sizeof(none)) != 0 && is_lease_of(lease, job);
}

/* A call of which nothing is said but how it ended; −1: the time since the lease is what it took. */
static struct call_report report_make(bool has_call_ms, int64_t call_ms)
{
	return (struct call_report){ .took_ms = has_call_ms ? call_ms : -1 };
}

/* ERR_DAMAGED, before anything is written, where the job's end needs an input that cannot be read before others have
 * done with reading: the worker tries again. */
static int needs_input(struct engine *e, const struct uuid *id)
{
	bool waits;
	int rc = job_input_waits(e, id, &waits);

	return rc == 0 && waits ? ERR_DAMAGED : rc;
}

/* ---- complete ---- */

static int complete_one(struct engine *e, struct complete_item *item)
{
	struct call_report report = report_make(item->has_call_ms, item->call_ms);
	struct job job;
	int rc;

	rc = load_leased(e, &item->id, &item->lease, &job);
	if (rc == 0 && job.has_callback)
		rc = needs_input(e, &item->id);
	if (rc == 0 && item->has_result)
		rc = artifact_attach(e, &item->id, &job, slice_str(RESULT), &item->result);
	if (rc < 0)
		return rc;
	if (item->has_call_ms)
		job.call_ms = item->call_ms;
	report.succeeded = true;
	e->report = &report;
	rc = job_move(e, &item->id, &job, JOB_SUCCEEDED);
	e->report = NULL;
	return rc;
}

static int complete_many(struct engine *e, struct command *cmd, const struct command_complete *c)
{
	_cleanup_free_ struct msg_complete_item_result *items = calloc(c->count + 1, sizeof(*items));
	_cleanup_free_ struct error_info *errors = calloc(c->count + 1, sizeof(*errors));
	struct msg_job_complete_result result = { .has_jobs = true, .jobs = items, .jobs_count = c->count };

	if (!items || !errors)
		return ERR_NO_MEMORY;
	for (size_t i = 0; i < c->count; i++) {
		int rc = complete_one(e, &c->items[i]);

		if (rc < 0 && !is_refusal(rc))
			return rc;
		items[i].has_id = true;
		items[i].id = c->items[i].id;
		items[i].has_state = rc == 0;
		items[i].state = JOB_SUCCEEDED;
		items[i].has_error = rc < 0;
		if (rc < 0) {
			error_set(&errors[i], rc, NULL, "%s", refusal_text(rc));
			items[i].error = error_message(&errors[i]);
		}
	}
	cmd->answer(cmd, &MSG_job_complete_result, &result);
	return 0;
}

int command_complete(struct engine *e, struct command *cmd)
{
	const struct command_complete *c = cmd->params;
	struct msg_job_complete_result result = { .has_state = true, .state = JOB_SUCCEEDED };
	int rc;

	if (c->many)
		return complete_many(e, cmd, c);
	rc = complete_one(e, &c->items[0]);
	if (rc == 0)
		cmd->answer(cmd, &MSG_job_complete_result, &result);
	return settle(cmd, rc);
}

/* ---- fail ---- */

static int read_backoff(struct engine *e, const struct uuid *id, const struct job *job, struct backoff *ret)
{
	const struct queue *q = queues_get(e->queues, job->queue);
	struct job_input input;
	struct slice bytes;
	int rc;

	rc = job_input(e, id, &bytes);
	if (rc == 0)
		rc = record_read_input(bytes, &input);
	if (rc == 0)
		*ret = terms_backoff(&input.backoff, &q->record);
	return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
}

/* Exponential, with a share of it drawn: "full jitter" (M. Brooker, Exponential Backoff and Jitter, 2015) where the
 * share is 1. */
static int64_t backoff_delay(struct engine *e, const struct backoff *b, uint32_t attempt)
{
	double power = pow(b->factor, attempt > 0 ? attempt - 1 : 0);
	double delay = (double)b->base_ms * power;

	/* The power may be infinite, and nothing times infinity is no number. */
	if (b->base_ms == 0)
		delay = 0;
	if (delay > (double)b->max_ms)
		delay = (double)b->max_ms;
	return (int64_t)(delay * (1 - b->jitter) + delay * b->jitter * engine_draw_unit(e));
}

/* The API asked to be left alone. Where a limit stands for it, that holds all of its jobs, and this one keeps its place
 * in line; else this one waits. */
static int throttled(struct engine *e, const struct uuid *id, struct job *job, struct queue *q, int64_t retry_after_ms)
{
	/* That was no attempt of the job's. */
	job->attempt--;
	if (!q->limit) {
		job->run_at_ms = e->now_ms + retry_after_ms;
		return job_move(e, id, job, JOB_SCHEDULED);
	}
	limit_hold(&q->limit->record, retry_after_ms, e->now_ms);
	limits_changed(q->limit);
	job->run_at_ms = e->now_ms;
	return job_move(e, id, job, JOB_READY);
}

int attempt_failed(struct engine *e, const struct uuid *id, struct job *job, int kind, struct slice message,
		   int64_t retry_after_ms)
{
	struct queue *q = queues_get(e->queues, job->queue);
	struct backoff backoff;
	/* However long it is, the API is asked again after this; a limit is not held for longer either. */
	int64_t believed_ms = kind == FAIL_THROTTLED ? LIMIT_HOLD_MAX_MS : RETRY_AFTER_MAX_MS;
	int64_t delay;
	int rc;

	tally_of(e, q)->failed[kind]++;
	if (retry_after_ms > believed_ms)
		retry_after_ms = believed_ms;
	job->error_kind = (uint8_t)kind;
	job->error_at_ms = e->now_ms;
	job->error_message = message;
	if (kind == FAIL_THROTTLED && retry_after_ms > 0)
		return throttled(e, id, job, q, retry_after_ms);
	if (kind == FAIL_REJECTED || job->attempt >= terms_max_attempts(job, &q->record))
		return job_move(e, id, job, JOB_DEAD);
	rc = read_backoff(e, id, job, &backoff);
	if (rc == ERR_CORRUPT) {
		job->error_message = slice_str("the job's input is damaged in the store");
		return job_move(e, id, job, JOB_DEAD);
	}
	if (rc < 0)
		return rc;
	delay = backoff_delay(e, &backoff, job->attempt);
	if (delay < retry_after_ms)
		delay = retry_after_ms;
	job->run_at_ms = e->now_ms + delay;
	return job_move(e, id, job, delay > 0 ? JOB_SCHEDULED : JOB_READY);
}

/* When it may be called again at the earliest. */
static int64_t next_attempt_ms(struct engine *e, const struct job *job)
{
	const struct limit *l = queues_get(e->queues, job->queue)->limit;

	if (job->state == JOB_READY && l && l->record.held_until_ms > job->run_at_ms)
		return l->record.held_until_ms;
	return job->run_at_ms;
}

int command_fail(struct engine *e, struct command *cmd)
{
	const struct msg_job_fail *fail = cmd->params;
	struct call_report report = report_make(fail->has_call_ms, fail->call_ms);
	struct msg_job_fail_result result = { .has_state = true };
	struct job job;
	int rc;

	rc = load_leased(e, &fail->id, &fail->lease, &job);
	if (rc == 0)
		rc = needs_input(e, &fail->id);
	if (rc == 0 && fail->has_call_ms)
		job.call_ms = fail->call_ms;
	report.kind = fail->kind;
	e->report = &report;
	if (rc == 0)
		rc = attempt_failed(e, &fail->id, &job, fail->kind, fail->message,
				    fail->has_retry_after_ms ? fail->retry_after_ms : 0);
	e->report = NULL;
	if (rc == 0) {
		result.state = job.state;
		result.has_next_attempt_at_ms = job.state != JOB_DEAD;
		result.next_attempt_at_ms = next_attempt_ms(e, &job);
		cmd->answer(cmd, &MSG_job_fail_result, &result);
	}
	return settle(cmd, rc);
}

/* ---- release ---- */

int command_release(struct engine *e, struct command *cmd)
{
	const struct msg_job_release *release = cmd->params;
	struct msg_job_release_result result = { .has_state = true };
	struct job job;
	int rc;

	rc = load_leased(e, &release->id, &release->lease, &job);
	if (rc == 0) {
		int64_t delay = release->has_delay_ms ? release->delay_ms : 0;

		job.attempt--;
		job.run_at_ms = e->now_ms + delay;
		rc = job_move(e, &release->id, &job, delay > 0 ? JOB_SCHEDULED : JOB_READY);
	}
	if (rc == 0) {
		result.state = job.state;
		cmd->answer(cmd, &MSG_job_release_result, &result);
	}
	return settle(cmd, rc);
}

/* ---- while it goes on ---- */

/* A worker that has connected anew goes on with its jobs on the new session, and is told there of a cancel. */
static int take_over(struct engine *e, const struct uuid *id, struct job *job, uint64_t session)
{
	struct job_event event = { .id = *id, .from_holder = job->holder, .to_holder = session };

	if (job->holder == session)
		return 0;
	job->holder = session;
	return event_add(e, &event);
}

static int extend_one(struct engine *e, const struct command *cmd, const struct msg_extend_item *item, int64_t lease_ms,
		      int *ret_status)
{
	struct job job = { 0 }; /* of one that is gone nothing is loaded */
	int64_t waiting;
	int rc;

	rc = load_leased(e, &item->id, &item->lease, &job);
	/* A record that is hidden until nobody reads: nothing ends a lease before, so whoever has it goes on. Nothing
	 * can be written either: where its time is over by then, it is lost then. */
	if (rc == ERR_DAMAGED) {
		*ret_status = EXTEND_OK;
		return 0;
	}
	if (rc == ERR_LEASE_LOST && was_canceled(&item->lease, &job)) {
		*ret_status = EXTEND_CANCEL;
		return 0;
	}
	if (is_refusal(rc)) {
		*ret_status = EXTEND_LOST;
		return 0;
	}
	if (rc < 0)
		return rc;
	if (item->has_progress) {
		job.has_progress = true;
		job.progress = (float)item->progress;
	}
	if (item->has_note)
		job.note = item->note;
	job.lease_expires_at_ms = e->now_ms + lease_ms;
	*ret_status = EXTEND_OK;
	rc = take_over(e, &item->id, &job, cmd->session);
	if (rc == 0 && (item->has_progress || item->has_note))
		rc = event_add(e, &(struct job_event){ .id = item->id });
	/* Once more, for they may have been lost on their way, or meant for another connection. */
	if (rc == 0)
		rc = hooks_wake(e, &item->id, &job, &waiting);
	return rc < 0 ? rc : job_save(e, &item->id, &job);
}

int command_extend(struct engine *e, struct command *cmd)
{
	const struct msg_job_extend *extend = cmd->params;
	_cleanup_free_ struct msg_extend_item_result *items = calloc(extend->leases_count + 1, sizeof(*items));
	struct msg_job_extend_result result = {
		.has_leases = true,
		.leases = items,
		.leases_count = extend->leases_count,
	};

	if (!items)
		return ERR_NO_MEMORY;
	for (size_t i = 0; i < extend->leases_count; i++) {
		int rc = extend_one(e, cmd, &extend->leases[i],
				    extend->has_lease_ms ? extend->lease_ms : DEFAULT_LEASE_MS, &items[i].status);

		if (rc < 0)
			return rc;
		items[i].has_id = items[i].has_status = true;
		items[i].id = extend->leases[i].id;
	}
	cmd->answer(cmd, &MSG_job_extend_result, &result);
	return 0;
}

int command_checkpoint(struct engine *e, struct command *cmd)
{
	const struct msg_job_checkpoint *checkpoint = cmd->params;
	struct key key = key_job(&checkpoint->id);
	struct msg_empty nothing = { 0 };
	struct job job;
	int rc;

	rc = load_leased(e, &checkpoint->id, &checkpoint->lease, &job);
	if (rc == 0) {
		buf_reset(&e->record);
		rc = record_write_checkpoint(&e->record, key_slice(&key), checkpoint->data);
	}
	if (rc == 0)
		rc = store_put(e->txn, TABLE_CHECKPOINTS, key_slice(&key), buf_slice(&e->record));
	if (rc == 0)
		cmd->answer(cmd, &MSG_empty, &nothing);
	return settle(cmd, rc);
}

/* A producer may add to its job until somebody has leased it. */
static int load_unleased(struct engine *e, const struct uuid *id, struct job *ret)
{
	int rc = job_load(e, id, ret);

	if (rc < 0)
		return rc;
	return job_state_final(ret->state) || ret->started_at_ms != 0 ? ERR_INVALID_STATE : 0;
}

int command_attach(struct engine *e, struct command *cmd)
{
	/* The staged bytes learn whether they were adopted. */
	struct command_attach *attach = (struct command_attach *)(uintptr_t)cmd->params;
	struct msg_artifact_stored result = { .has_size = true, .has_sha256 = true };
	char sha256[64];
	struct job job;
	bool fits;
	int rc;

	if (!attach->has_lease) {
		rc = room_take(e, attach->staged.has_blob ? 0 : attach->staged.size, &fits);
		if (rc < 0 || !fits)
			return rc < 0 ? rc : refuse(cmd, ERR_STORE_FULL, NULL, "the store is full");
	}
	rc = attach->has_lease ? load_leased(e, &attach->id, &attach->lease, &job)
			       : load_unleased(e, &attach->id, &job);
	if (rc == 0)
		rc = artifact_attach(e, &attach->id, &job, attach->name, &attach->staged);
	if (rc == 0)
		rc = job_save(e, &attach->id, &job);
	if (rc == 0)
		rc = event_add(e, &(struct job_event){ .id = attach->id });
	if (rc == 0) {
		hex_encode(attach->staged.sha256, sizeof(attach->staged.sha256), sha256);
		result.size = attach->staged.size;
		result.sha256 = slice_of(sha256, sizeof(sha256));
		cmd->answer(cmd, &MSG_artifact_stored, &result);
	}
	if (rc == ERR_TOO_LARGE)
		return refuse(cmd, rc, "name", "the job has as many artifacts as it may");
	return settle(cmd, rc);
}
