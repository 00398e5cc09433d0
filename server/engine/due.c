/* What time does by itself: delayed jobs come due, leases end, attempts and deadlines run out, finished jobs and
 * tombstones are forgotten. TABLE_DUE holds the moment of each; what is to be done follows from the job's state.
 */
#include <string.h>

#include "server/engine/engine_priv.h"

#define DUE_PER_BATCH 1000 /* the rest is due in the next batch, right after this one's commit */

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

	if (job->attempt >= job->max_attempts)
		return attempt_failed(e, id, job, FAIL_TIMEOUT, slice_str(why), 0);
	job->error_kind = FAIL_TIMEOUT;
	job->error_at_ms = e->now_ms;
	job->error_message = slice_str(why);
	job->run_at_ms = e->now_ms;
	return job_move(e, id, job, JOB_READY);
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
		return attempt_failed(e, id, job, FAIL_TIMEOUT, slice_str("the attempt took longer than it may"), 0);
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
	rc = artifacts_drop(e, id, job);
	if (rc < 0)
		return rc;
	job->artifacts_gone = true;
	job->expires_at_ms = forget_at > e->now_ms ? forget_at : e->now_ms;
	return job_save(e, id, job);
}

/* An entry that no job's moment stands for: a tombstone whose time is over, or damage, which is taken out of the way.
 */
static int due_without_job(struct engine *e, const struct key *due, const struct uuid *id)
{
	struct key key = key_job(id);
	int rc;

	rc = store_delete(e->txn, TABLE_TOMBSTONES, key_slice(&key));
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	return store_delete(e->txn, TABLE_DUE, key_slice(due));
}

static int due_one(struct engine *e, const struct key *due, const struct uuid *id, int64_t at_ms)
{
	struct job job;
	int rc;

	rc = job_load(e, id, &job);
	if (rc == ERR_NOT_FOUND || rc == ERR_CORRUPT || (rc == 0 && job.due_at_ms != at_ms))
		return due_without_job(e, due, id);
	if (rc < 0)
		return rc;
	switch ((enum job_state)job.state) {
	case JOB_SCHEDULED:
	case JOB_READY:
		return due_waiting(e, id, &job);
	case JOB_RUNNING:
		return due_running(e, id, &job);
	default:
		return due_finished(e, id, &job);
	}
}

int due_run(struct engine *e)
{
	for (int i = 0; i < DUE_PER_BATCH; i++) {
		struct slice key, value;
		struct uuid id;
		struct key due;
		int64_t at_ms;
		int rc;

		rc = store_seek(e->txn, TABLE_DUE, slice_of(NULL, 0), &key, &value);
		if (rc < 0)
			return rc == ERR_NOT_FOUND ? 0 : rc;
		/* What is no entry at all must not hold up the others. */
		if (key_read_due(key, &at_ms, &id) < 0) {
			due = key_copy(key);
			rc = store_delete(e->txn, TABLE_DUE, key_slice(&due));
			if (rc < 0)
				return rc;
			continue;
		}
		if (at_ms > e->now_ms)
			return 0;
		due = key_due(at_ms, &id);
		rc = due_one(e, &due, &id, at_ms);
		if (rc < 0)
			return rc;
	}
	return 0;
}
