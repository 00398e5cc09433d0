/* What can be seen of a queue, and what the broker guesses from its pace. */
#include "tests/sim/model_priv.h"

#include <math.h>

#define MINUTE_MS 60000.0
#define NO_PACE	  1e-9 /* leases a millisecond: nobody works */

/* ---- pace: estimate.h ---- */

static double rate_now(const struct model *m, const struct model_queue *q)
{
	int64_t passed = m->now_ms - q->rate_at_ms;

	return passed > 0 ? q->lease_rate * exp(-(double)passed / MINUTE_MS) : q->lease_rate;
}

void model_pace_leased(struct model *m, int queue)
{
	struct model_queue *q = &m->queues[queue];
	double left = rate_now(m, q);

	if (left < NO_PACE)
		q->rate_since_ms = m->now_ms;
	q->lease_rate = left + 1 / MINUTE_MS;
	q->rate_at_ms = m->now_ms;
}

void model_pace_succeeded(struct model *m, int queue, int64_t run_ms)
{
	struct model_queue *q = &m->queues[queue];
	double took = run_ms > 0 ? (double)run_ms : 0;

	q->run_ms = q->run_ms > 0 ? 0.9 * q->run_ms + 0.1 * took : took;
}

static bool guess(const struct model *m, int queue, int64_t position, double *ret_ms)
{
	const struct model_queue *q = &m->queues[queue];
	double rate = rate_now(m, q);
	double age = (double)(m->now_ms - q->rate_since_ms);

	if (q->run_ms <= 0 || rate < NO_PACE)
		return false;
	/* What began from nothing a while ago has not got up to its true rate yet. */
	rate /= 1 - exp(-fmax(age, 1000) / MINUTE_MS);
	*ret_ms = q->run_ms + (double)position / rate;
	return true;
}

bool model_eta(const struct model *m, const struct model_job *job, int64_t position, double *ret_ms)
{
	const struct model_queue *q = &m->queues[job->queue];
	int64_t ahead = 0;

	switch (job->state) {
	case JOB_READY:
		return guess(m, job->queue, position, ret_ms);
	case JOB_RUNNING:
		*ret_ms = fmax(0, q->run_ms - (double)(m->now_ms - job->started_at_ms));
		return q->run_ms > 0;
	case JOB_SCHEDULED:
		/* It will find its line about as long as it is now. */
		for (size_t i = 0; i < m->jobs_count; i++) {
			const struct model_job *j = &m->jobs[i];

			ahead += !j->gone && j->queue == job->queue && j->state == JOB_READY &&
				 j->priority <= job->priority;
		}
		if (!guess(m, job->queue, ahead + 1, ret_ms))
			return false;
		*ret_ms += job->run_at_ms > m->now_ms ? (double)(job->run_at_ms - m->now_ms) : 0;
		return true;
	default:
		return false;
	}
}

bool model_near(double expected, int64_t got)
{
	return fabs(expected - (double)got) <= 2 + expected * 1e-9;
}

/* ---- a queue ---- */

/* When the job that is first in its line, in any priority, was put: by the moment in its id. */
static bool oldest_ready(const struct model *m, int queue, int64_t *ret_at_ms)
{
	bool found = false;

	for (int p = 0; p < 10; p++) {
		const struct model_job *first = NULL;

		for (size_t i = 0; i < m->jobs_count; i++) {
			const struct model_job *j = &m->jobs[i];

			if (!j->gone && j->queue == queue && j->state == JOB_READY && j->priority == p &&
			    (!first || j->place < first->place))
				first = j;
		}
		if (first && (!found || uuid_ms(&first->id) < *ret_at_ms))
			*ret_at_ms = uuid_ms(&first->id);
		found = found || first;
	}
	return found;
}

static struct msg_backoff describe_backoff(const struct model *m, int queue)
{
	struct model_backoff b = model_backoff_of(m, NULL, queue);

	return (struct msg_backoff){
		.has_base_ms = true,
		.base_ms = b.base_ms,
		.has_factor = true,
		.factor = b.factor,
		.has_max_ms = true,
		.max_ms = b.max_ms,
		.has_jitter = true,
		.jitter = b.jitter,
	};
}

static struct msg_counts describe_counts(const struct model *m, int queue)
{
	return (struct msg_counts){
		.has_scheduled = true,
		.scheduled = model_count(m, queue, JOB_SCHEDULED),
		.has_ready = true,
		.ready = model_count(m, queue, JOB_READY),
		.has_running = true,
		.running = model_count(m, queue, JOB_RUNNING),
		.has_succeeded = true,
		.succeeded = model_count(m, queue, JOB_SUCCEEDED),
		.has_dead = true,
		.dead = model_count(m, queue, JOB_DEAD),
		.has_canceled = true,
		.canceled = model_count(m, queue, JOB_CANCELED),
		.has_expired = true,
		.expired = model_count(m, queue, JOB_EXPIRED),
	};
}

void model_describe_queue(const struct model *m, int queue, struct msg_queue *ret)
{
	const struct model_queue *q = &m->queues[queue];

	*ret = (struct msg_queue){
		.has_queue = true,
		.queue = q->name,
		.has_title = q->title.size > 0,
		.title = q->title,
		.has_paused = true,
		.paused = q->paused,
		.has_max_jobs = q->max_jobs >= 0,
		.max_jobs = q->max_jobs,
		.has_max_bytes = q->max_bytes >= 0,
		.max_bytes = q->max_bytes,
		.has_max_attempts = true,
		.max_attempts = q->max_attempts ? q->max_attempts : MODEL_DEFAULT_MAX_ATTEMPTS,
		.has_backoff = true,
		.has_attempt_timeout_ms = q->attempt_timeout_ms > 0,
		.attempt_timeout_ms = q->attempt_timeout_ms,
		.has_result_ttl_ms = q->result_ttl_ms >= 0,
		.result_ttl_ms = q->result_ttl_ms,
		.has_counts = true,
		.has_bytes = true,
		.bytes = model_bytes(m, queue),
		.has_put_total = true,
		.put_total = q->put_total,
	};
	ret->backoff = describe_backoff(m, queue);
	ret->counts = describe_counts(m, queue);
	ret->has_oldest_ready_at_ms = oldest_ready(m, queue, &ret->oldest_ready_at_ms);
}
