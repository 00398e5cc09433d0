/* job.cancel, job.retry, job.erase and queue.purge: what they do to one job, and to those of a filter. */
#include "tests/sim/model_priv.h"

#include <stdlib.h>

/* ---- one job ---- */

static void cancel(struct model *m, struct model_job *job)
{
	bool ran = job->state == JOB_RUNNING;

	model_event(m, job, true);
	if (ran) {
		m->events[m->events_count - 1].called_back = true;
		m->events[m->events_count - 1].lease = job->lease;
		job->lease_called_back = true;
	}
	model_enter(m, job, JOB_CANCELED);
}

/* What tells of its end goes with it. */
static void erase(struct model *m, struct model_job *job)
{
	struct model_job *told = model_delivery(m, job);

	job->callback_url = slice_of(NULL, 0);
	if (!job_state_final(job->state))
		cancel(m, job);
	model_forget(m, job);
	if (told)
		erase(m, told);
}

/* A dead job begins anew, at the end of the line; of its death nobody is told any more. */
static void retry(struct model *m, struct model_job *job)
{
	struct model_job *told = model_delivery(m, job);

	job->attempt = 0;
	job->place = 0;
	job->run_at_ms = m->now_ms;
	job->has_progress = false;
	job->note = slice_of(NULL, 0);
	job->artifacts_gone = false;
	model_event(m, job, false);
	model_enter(m, job, JOB_READY);
	if (told)
		erase(m, told);
}

/* Whether something was to be done, and could be: 0, 1 or ERR_INVALID_STATE. */
static int change_one(struct model *m, struct model_job *job, enum change_action action)
{
	int64_t start_by = job->started_at_ms == 0 ? job->start_deadline_at_ms : 0;
	bool over = (job->deadline_at_ms != 0 && job->deadline_at_ms <= m->now_ms) ||
		    (start_by != 0 && start_by <= m->now_ms);

	switch (action) {
	case CHANGE_CANCEL:
		if (job->state == JOB_CANCELED)
			return 0;
		if (job_state_final(job->state))
			return ERR_INVALID_STATE;
		cancel(m, job);
		return 1;
	case CHANGE_RETRY:
		if (job->state != JOB_DEAD || over)
			return ERR_INVALID_STATE;
		retry(m, job);
		return 1;
	case CHANGE_ERASE:
		erase(m, job);
		return 1;
	case CHANGE_REDELIVER:
		return model_redeliver(m, job);
	case CHANGE_PURGE:
		if (job->state != JOB_SCHEDULED && job->state != JOB_READY)
			return ERR_INVALID_STATE;
		cancel(m, job);
		return 1;
	}
	abort();
}

void model_change_named(struct model *m, const struct asked *asked, struct expectation *ret)
{
	static struct msg_job_change_result result;
	const struct command_change *c = asked->cmd.params;
	struct model_job *job = model_find_job(m, &c->id);
	int rc;

	if (!job || job->gone) {
		model_refuse(ret, job ? ERR_GONE : ERR_NOT_FOUND, NULL);
		return;
	}
	rc = change_one(m, job, c->action);
	if (rc < 0) {
		model_refuse(ret, rc, NULL);
		return;
	}
	result = (struct msg_job_change_result){ .has_count = true, .count = rc };
	model_answer(ret, &MSG_job_change_result, &result);
}

int64_t model_change_many(struct model *m, const struct command_change *c, const struct uuid *after,
			  const struct uuid *until)
{
	int64_t count = 0;

	for (size_t i = 0; i < m->jobs_count; i++) {
		struct model_job *job = &m->jobs[i];

		if (!job->gone && (!after || uuid_compare(&job->id, after) > 0) && uuid_compare(&job->id, until) <= 0 &&
		    model_matches(m, job, &c->filter))
			count += change_one(m, job, c->action) == 1;
	}
	return count;
}
