/* What time does by itself: delayed jobs come due, leases end, attempts and deadlines run out, finished jobs and
 * tombstones are forgotten. TABLE_DUE holds the moment of each; what is to be done follows from the job's state.
 */
#include <string.h>

#include "server/engine/engine_priv.h"
#include "server/engine/terms.h"

#define DUE_PER_BATCH	 1000  /* the rest is due in the next batch, right after this one's commit */
#define LOOKED_PER_BATCH 20000 /* with those that are left for later */

/* An entry of TABLE_DUE. */
struct due {
	struct uuid id;
	int64_t at_ms;
	struct index_word word; /* what it says of its job, where known; a tombstone's says nothing */
	bool known;
};

static bool passed(const struct engine *e, int64_t at_ms)
{
	return at_ms != 0 && at_ms <= e->now_ms;
}

static int expire(struct engine *e, const struct uuid *id, struct job *job, const char *why)
{
	job->error_kind = FAIL_TIMEOUT;
	job->error_at_ms = e->now_ms;
	job->error_message = slice_str(why);
	return job_move(e, id, job, JOB_EXPIRED);
}

/* The worker has not been heard of: the attempt counts, and the job goes back to its place in line. */
static int lose_lease(struct engine *e, const struct uuid *id, struct job *job)
{
	static const char why[] = "the worker's lease ended before the job did";
	const struct queue *q = queues_get(e->queues, job->queue);

	if (job->attempt >= terms_max_attempts(job, &q->record))
		return attempt_failed(e, id, job, FAIL_TIMEOUT, slice_str(why), 0);
	job->error_kind = FAIL_TIMEOUT;
	job->error_at_ms = e->now_ms;
	job->error_message = slice_str(why);
	job->run_at_ms = e->now_ms;
	return job_move(e, id, job, JOB_READY);
}

/* Whatever the worker does: its call has not come back in time. */
static int time_out(struct engine *e, const struct uuid *id, struct job *job)
{
	struct call_report report = { .kind = FAIL_TIMEOUT, .took_ms = -1 };
	int rc;

	e->report = &report;
	rc = attempt_failed(e, id, job, FAIL_TIMEOUT, slice_str("the attempt took longer than it may"), 0);
	e->report = NULL;
	return rc;
}

static int due_waiting(struct engine *e, const struct uuid *id, struct job *job)
{
	if (passed(e, job->deadline_at_ms))
		return expire(e, id, job, "the deadline passed before the job could run");
	if (job->started_at_ms == 0 && passed(e, job->start_deadline_at_ms))
		return expire(e, id, job, "the job was not started in time");
	if (job->state == JOB_SCHEDULED && passed(e, job->run_at_ms))
		return job_move(e, id, job, JOB_READY);
	return job_save(e, id, job);
}

static int due_running(struct engine *e, const struct uuid *id, struct job *job)
{
	if (passed(e, job->deadline_at_ms))
		return expire(e, id, job, "the deadline passed while the job ran");
	if (passed(e, job->attempt_deadline_at_ms))
		return time_out(e, id, job);
	if (passed(e, job->lease_expires_at_ms))
		return lose_lease(e, id, job);
	return job_save(e, id, job);
}

/* Retention: first the artifacts, then the record. */
static int due_finished(struct engine *e, const struct uuid *id, struct job *job)
{
	int64_t forget_at = moment_after(job->finished_at_ms, e->settings->record_ttl_ms);
	int rc;

	if (job->artifacts_gone)
		return job_forget(e, id, job);
	rc = artifacts_drop(e, id);
	if (rc == 0 && job->hooked)
		rc = hooks_settle(e, id, job);
	if (rc == 0)
		rc = event_add(e, &(struct job_event){ .id = *id });
	if (rc < 0)
		return rc;
	job->artifacts = 0;
	job->artifacts_gone = true;
	job->expires_at_ms = forget_at > e->now_ms ? forget_at : e->now_ms;
	return job_save(e, id, job);
}

/* The entry of a tombstone whose time is over, or one that leads nowhere: damage, which is taken out of the way. */
static int due_without_job(struct engine *e, const struct due *due)
{
	struct key key = key_job(&due->id);
	struct key entry = key_due(due->at_ms, &due->id);
	int rc;

	rc = delete_if_there(e, TABLE_TOMBSTONES, &key);
	return rc < 0 ? rc : store_delete(e->txn, TABLE_DUE, key_slice(&entry));
}

static int due_damaged(struct engine *e, const struct due *due)
{
	struct key entry = key_due(due->at_ms, &due->id);
	int rc = set_aside(e, &due->id, due->known ? &due->word : NULL);

	return rc < 0 ? rc : store_delete(e->txn, TABLE_DUE, key_slice(&entry));
}

/* job_load(), with a look at whether what is to be done will need an input that cannot be read yet. */
static int load_due(struct engine *e, const struct uuid *id, struct job *ret, bool *ret_left)
{
	int rc;

	*ret_left = uuid_list_has(&e->put_off, id);
	if (*ret_left)
		return 0;
	rc = job_load(e, id, ret);
	*ret_left = rc == ERR_CORRUPT && store_waits(e->txn);
	return rc == 0 ? job_input_waits(e, id, ret_left) : rc;
}

/* *ret_left: it is for a later batch, which may read the job. */
static int due_one(struct engine *e, const struct due *due, bool *ret_left)
{
	struct job job;
	int rc;

	*ret_left = false;
	if (set_aside_shuns(e, &due->id))
		return due_damaged(e, due);
	rc = load_due(e, &due->id, &job, ret_left);
	if (*ret_left)
		return 0;
	if (rc == ERR_CORRUPT || (rc == ERR_NOT_FOUND && due->known))
		return due_damaged(e, due);
	if (rc == ERR_NOT_FOUND || (rc == 0 && job.due_at_ms != due->at_ms))
		return due_without_job(e, due);
	if (rc < 0)
		return rc;
	switch ((enum job_state)job.state) {
	case JOB_SCHEDULED:
	case JOB_READY:
		return due_waiting(e, &due->id, &job);
	case JOB_RUNNING:
		return due_running(e, &due->id, &job);
	default:
		return due_finished(e, &due->id, &job);
	}
}

/* The first that is not below *key. ERR_NOT_FOUND where there is none; ERR_CORRUPT for what is no entry at all, with
 * its key in *key. */
static int first_due(struct engine *e, struct due *ret, struct key *key)
{
	struct slice found, value;
	int rc;

	rc = store_seek(e->txn, TABLE_DUE, key_slice(key), &found, &value);
	if (rc < 0)
		return rc;
	*key = key_copy(found);
	ret->known = due_value_read(value, &ret->word.queue, &ret->word.state, &ret->word.priority) == 0;
	return key_read_due(found, &ret->at_ms, &ret->id);
}

/* The batch is lost by it, and the next one does without the job: it is set aside, or left where the page beside it is
 * to be made anew first, which waits until nobody reads. */
static int do_without(struct engine *e, const struct uuid *id, int rc)
{
	struct uuid_list *list = store_waits(e->txn) ? &e->put_off : &e->shunned;

	if (rc != ERR_CORRUPT && !(rc == ERR_STORE_ERROR && store_error_is_damage()))
		return rc;
	if (uuid_list_add(list, id) < 0)
		return ERR_NO_MEMORY;
	e->wiser = true;
	return rc;
}

int due_run(struct engine *e)
{
	struct key key = { .size = 0 };

	if (!store_is_read(e->store))
		e->put_off.count = 0;
	for (int looked = 0, done = 0; looked < LOOKED_PER_BATCH && done < DUE_PER_BATCH; looked++) {
		struct due due;
		bool left = false;
		int rc = first_due(e, &due, &key);

		if (rc == ERR_NOT_FOUND || (rc == 0 && due.at_ms > e->now_ms))
			return 0;
		if (rc == 0) {
			rc = due_one(e, &due, &left);
			if (left)
				key = key_after(&key);
			e->left = e->left || left;
			done += !left;
			rc = do_without(e, &due.id, rc);
		} else if (rc == ERR_CORRUPT) {
			/* It must not hold up the others. */
			rc = store_delete(e->txn, TABLE_DUE, key_slice(&key));
			done++;
		}
		if (rc < 0)
			return rc;
	}
	return 0;
}
