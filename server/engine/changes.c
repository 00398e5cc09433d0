/* job.cancel, job.retry, job.erase and queue.purge: what an operator, or the producer of one job, does to jobs that are
 * there. One job is changed at once; those of a filter in pieces, by sweep.c.
 */
#include "server/engine/engine_priv.h"
#include "server/engine/outbox.h"

static int cancel(struct engine *e, const struct uuid *id, struct job *job, bool *ret_changed)
{
	*ret_changed = job->state != JOB_CANCELED;
	if (job->state == JOB_CANCELED)
		return 0;
	return job_state_final(job->state) ? ERR_INVALID_STATE : job_move(e, id, job, JOB_CANCELED);
}

static bool has_passed(const struct engine *e, int64_t at_ms)
{
	return at_ms != 0 && at_ms <= e->now_ms;
}

/* A dead job begins anew, at the end of the line. Its checkpoint stays: what it paid for may be there still. */
static int retry(struct engine *e, const struct uuid *id, struct job *job)
{
	/* A start deadline binds until the first attempt. */
	int64_t start_by = job->started_at_ms == 0 ? job->start_deadline_at_ms : 0;
	int64_t died_at_ms = job->finished_at_ms;
	int rc;

	if (job->state != JOB_DEAD || has_passed(e, job->deadline_at_ms) || has_passed(e, start_by))
		return ERR_INVALID_STATE;
	job->attempt = 0;
	job->tag = 0;
	job->run_at_ms = e->now_ms;
	job->has_progress = false;
	job->note.size = 0;
	job->artifacts_gone = false;
	rc = job_move(e, id, job, JOB_READY);
	/* Nobody is told any more of a death that was none. */
	return rc == 0 && job->has_callback ? outbox_drop(e, id, died_at_ms) : rc;
}

/* Whoever works on it is told as by a cancel. What is on its way to the producer goes with it, for it says what the job
 * said. */
static int erase(struct engine *e, const struct uuid *id, struct job *job)
{
	bool told = job_state_final(job->state) && job->has_callback;
	int64_t finished_at_ms = job->finished_at_ms;
	int rc = 0;

	job->has_callback = false;
	if (!job_state_final(job->state))
		rc = job_move(e, id, job, JOB_CANCELED);
	if (rc == 0)
		rc = job_forget(e, id, job);
	return rc == 0 && told ? outbox_drop(e, id, finished_at_ms) : rc;
}

int change_one(struct engine *e, const struct uuid *id, enum change_action action, bool *ret_changed)
{
	struct job job;
	int rc = job_find(e, id, &job);

	*ret_changed = true;
	/* Of one whose record is gone altogether the entry that says so is left. */
	if (rc == ERR_NOT_FOUND && action == CHANGE_ERASE && set_aside_refuse(e, id) == ERR_CORRUPT)
		rc = ERR_CORRUPT;
	if (rc == ERR_CORRUPT && action == CHANGE_ERASE)
		return set_aside_erase(e, id);
	if (rc < 0)
		return rc;
	switch (action) {
	case CHANGE_CANCEL:
		return cancel(e, id, &job, ret_changed);
	case CHANGE_PURGE:
		return job.state > JOB_READY ? ERR_INVALID_STATE : job_move(e, id, &job, JOB_CANCELED);
	case CHANGE_RETRY:
		return retry(e, id, &job);
	case CHANGE_ERASE:
		return erase(e, id, &job);
	case CHANGE_REDELIVER:
		return outbox_again(e, id, &job, ret_changed);
	}
	return ERR_INTERNAL;
}

static int refuse_state(struct engine *e, struct command *cmd, const struct command_change *c)
{
	struct job job;
	int rc = job_load(e, &c->id, &job);

	if (rc < 0)
		return settle(cmd, rc);
	if (c->action == CHANGE_RETRY && job.state == JOB_DEAD)
		return refuse(cmd, ERR_INVALID_STATE, NULL, "the job's deadline has passed");
	if (c->action == CHANGE_REDELIVER && job_state_final(job.state))
		return refuse(cmd, ERR_INVALID_STATE, NULL, "the job was put without a callback_url");
	if (c->action == CHANGE_REDELIVER)
		return refuse(cmd, ERR_INVALID_STATE, NULL, "the job is %s, only the end of one is told of",
			      job_state_names[job.state]);
	return refuse(cmd, ERR_INVALID_STATE, NULL, "the job is %s, only %s can be %s", job_state_names[job.state],
		      c->action == CHANGE_RETRY ? "a dead one" : "one that waits or runs",
		      c->action == CHANGE_RETRY ? "retried" : "canceled");
}

int command_change(struct engine *e, struct command *cmd, bool *ret_kept)
{
	const struct command_change *c = cmd->params;
	struct msg_job_change_result result = { .has_count = true };
	bool changed;
	int rc;

	if (!c->has_id) {
		if (c->action == CHANGE_PURGE && !queues_find(e->queues, c->filter.queue))
			return refuse(cmd, ERR_NOT_FOUND, "queue", "there is no such queue");
		command_list_push(&e->sweeps, cmd);
		*ret_kept = true;
		return 0;
	}
	rc = change_one(e, &c->id, c->action, &changed);
	if (rc == ERR_INVALID_STATE)
		return refuse_state(e, cmd, c);
	if (rc == 0) {
		result.count = changed;
		cmd->answer(cmd, &MSG_job_change_result, &result);
	}
	return settle(cmd, rc);
}
