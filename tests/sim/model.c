/* The jobs themselves: finding them, moving them, what time does to them, and what can be seen of them. */
#include "tests/sim/model_priv.h"

#include <stdlib.h>
#include <string.h>

static const struct model_backoff server_backoff = { .base_ms = 1000, .max_ms = 300000, .factor = 2, .jitter = 1 };

void model_init(struct model *m, const struct settings *settings, model_body_cb body, void *body_user)
{
	m->body = body;
	m->body_user = body_user;
	m->settings = settings;
	m->now_ms = 0;
	m->queues_count = m->limits_count = m->jobs_count = m->artifacts_count = 0;
	m->parked_count = m->sweeps_count = m->events_count = m->garbage_count = m->ended_count = 0;
}

void model_copy_store(struct model *ret, const struct model *m)
{
	ret->queues_count = m->queues_count;
	memcpy(ret->queues, m->queues, m->queues_count * sizeof(m->queues[0]));
	ret->limits_count = m->limits_count;
	memcpy(ret->limits, m->limits, m->limits_count * sizeof(m->limits[0]));
	ret->jobs_count = m->jobs_count;
	memcpy(ret->jobs, m->jobs, m->jobs_count * sizeof(m->jobs[0]));
	ret->artifacts_count = m->artifacts_count;
	memcpy(ret->artifacts, m->artifacts, m->artifacts_count * sizeof(m->artifacts[0]));
	ret->hooks_count = m->hooks_count;
	memcpy(ret->hooks, m->hooks, m->hooks_count * sizeof(m->hooks[0]));
}

/* ---- finding ---- */

struct model_job *model_find_job(struct model *m, const struct uuid *id)
{
	size_t low = 0, high = m->jobs_count;

	while (low < high) {
		size_t middle = (low + high) / 2;
		int order = uuid_compare(&m->jobs[middle].id, id);

		if (order == 0)
			return &m->jobs[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

struct model_job *model_insert(struct model *m, const struct uuid *id)
{
	size_t at = m->jobs_count;

	if (m->jobs_count == MODEL_JOBS)
		abort(); /* the driver sees to the room */
	while (at > 0 && uuid_compare(&m->jobs[at - 1].id, id) > 0)
		at--;
	memmove(&m->jobs[at + 1], &m->jobs[at], (m->jobs_count - at) * sizeof(m->jobs[0]));
	m->jobs_count++;
	m->jobs[at] = (struct model_job){ .id = *id };
	return &m->jobs[at];
}

const struct model_job *model_find(const struct model *m, const struct uuid *id)
{
	return model_find_job((struct model *)(uintptr_t)m, id);
}

int model_find_queue(const struct model *m, struct slice name)
{
	for (size_t i = 0; i < m->queues_count; i++)
		if (slice_equal(m->queues[i].name, name))
			return (int)i;
	return -1;
}

int model_add_queue(struct model *m, struct slice name)
{
	struct model_queue *q = &m->queues[m->queues_count];

	if (m->queues_count == MODEL_QUEUES)
		abort(); /* the driver has fewer names */
	*q = (struct model_queue){
		.name = name, .max_jobs = -1, .max_bytes = -1, .result_ttl_ms = -1, .limit = -1, .weight = 1
	};
	q->backoff = (struct model_backoff){ -1, -1, -1, -1 };
	return (int)m->queues_count++;
}

/* ---- what job, queue and server say, in this order ---- */

int64_t model_max_attempts(const struct model *m, const struct model_job *job)
{
	int64_t of_queue = m->queues[job->queue].max_attempts;

	return job->max_attempts ? job->max_attempts : of_queue ? of_queue : MODEL_DEFAULT_MAX_ATTEMPTS;
}

int64_t model_attempt_timeout_ms(const struct model *m, const struct model_job *job)
{
	return job->attempt_timeout_ms ? job->attempt_timeout_ms : m->queues[job->queue].attempt_timeout_ms;
}

static int64_t result_ttl_ms(const struct model *m, const struct model_job *job)
{
	int64_t of_queue = m->queues[job->queue].result_ttl_ms;

	return job->result_ttl_ms >= 0 ? job->result_ttl_ms : of_queue >= 0 ? of_queue : m->settings->result_ttl_ms;
}

struct model_backoff model_backoff_of(const struct model *m, const struct model_job *job, int queue)
{
	const struct model_backoff *says[] = { job ? &job->backoff : &server_backoff, &m->queues[queue].backoff,
					       &server_backoff };
	struct model_backoff b = { -1, -1, -1, -1 };

	for (size_t i = job ? 0 : 1; i < 3; i++) {
		b.base_ms = b.base_ms < 0 ? says[i]->base_ms : b.base_ms;
		b.max_ms = b.max_ms < 0 ? says[i]->max_ms : b.max_ms;
		b.factor = b.factor < 0 ? says[i]->factor : b.factor;
		b.jitter = b.jitter < 0 ? says[i]->jitter : b.jitter;
	}
	return b;
}

/* ---- moves ---- */

void model_event(struct model *m, const struct model_job *job, bool final)
{
	if (m->events_count == MODEL_EVENTS)
		abort(); /* the driver keeps batches small */
	m->events[m->events_count++] = (struct job_event){
		.id = job->id,
		.final = final,
		.from_holder = job->state == JOB_RUNNING ? job->holder : 0,
	};
}

void model_news(struct model *m, const struct uuid *job)
{
	if (m->events_count == MODEL_EVENTS)
		abort();
	m->events[m->events_count++] = (struct job_event){ .id = *job };
}

static int64_t after(int64_t at_ms, int64_t ms)
{
	return ms < MODEL_MOMENT_MAX - at_ms ? at_ms + ms : MODEL_MOMENT_MAX;
}

void model_enter(struct model *m, struct model_job *job, int state)
{
	if (job->state == JOB_RUNNING && (state == JOB_SUCCEEDED || state == JOB_DEAD))
		model_pace_done(m, job->queue);
	if (job->state == JOB_READY && state != JOB_READY)
		model_leave_line(m, job, state == JOB_RUNNING);
	if (state == JOB_RUNNING)
		model_call_begins(m, job->queue);
	job->state = state;
	if (state != JOB_RUNNING)
		job->lease_expires_at_ms = job->attempt_deadline_at_ms = 0;
	job->finished_at_ms = job_state_final(state) ? m->now_ms : 0;
	job->expires_at_ms = job_state_final(state) ? after(m->now_ms, result_ttl_ms(m, job)) : 0;
	if (state == JOB_READY)
		model_join_line(m, job);
	/* A dead one may be retried. */
	if (job_state_final(state) && state != JOB_DEAD)
		model_hooks_taken(m, &job->id, job->hooks);
	if (job_state_final(state))
		model_outbox_tell(m, job);
}

void model_drop_artifacts(struct model *m, struct model_job *job)
{
	size_t kept = 0;

	for (size_t i = 0; i < m->artifacts_count; i++) {
		if (!uuid_equal(&m->artifacts[i].job, &job->id)) {
			m->artifacts[kept++] = m->artifacts[i];
			continue;
		}
		if (m->artifacts[i].has_blob)
			m->garbage[m->garbage_count++] = m->artifacts[i].blob;
	}
	m->artifacts_count = kept;
}

void model_forget(struct model *m, struct model_job *job)
{
	model_drop_artifacts(m, job);
	model_hooks_forget(m, &job->id);
	job->gone = true;
	job->gone_until_ms = after(m->now_ms, m->settings->tombstone_ttl_ms);
	model_event(m, job, true);
}

bool model_attach(struct model *m, struct model_job *job, struct slice name, const struct staged *staged)
{
	struct model_artifact *a = NULL;
	size_t count = 0;

	for (size_t i = 0; i < m->artifacts_count; i++) {
		if (!uuid_equal(&m->artifacts[i].job, &job->id))
			continue;
		count++;
		if (slice_equal(m->artifacts[i].name, name))
			a = &m->artifacts[i];
	}
	if (!a && count == MODEL_ARTIFACTS_OF_JOB)
		return false;
	if (a && a->has_blob)
		m->garbage[m->garbage_count++] = a->blob;
	if (!a && m->artifacts_count == MODEL_ARTIFACTS)
		abort(); /* the driver keeps jobs few */
	if (!a)
		a = &m->artifacts[m->artifacts_count++];
	*a = (struct model_artifact){
		.job = job->id,
		.name = name,
		.content_type = staged->content_type,
		.data = staged->has_blob ? slice_of(NULL, 0) : staged->data,
		.size = staged->size,
		.created_at_ms = m->now_ms,
		.has_blob = staged->has_blob,
		.blob = staged->blob,
	};
	memcpy(a->sha256, staged->sha256, sizeof(a->sha256));
	return true;
}

/* The drawn moment where the documents allow it, else the earliest that they allow. */
static int64_t drawn_run_at(struct model *m, const struct model_job *job, model_run_at_cb run_at, void *user)
{
	struct model_backoff b = model_backoff_of(m, job, job->queue);
	double d = (double)b.base_ms;
	int64_t least, most, got;

	for (int64_t i = 1; i < job->attempt && d < (double)b.max_ms; i++)
		d *= b.factor;
	if (d > (double)b.max_ms)
		d = (double)b.max_ms;
	/* Whole milliseconds, with a hair's breadth for the arithmetic. */
	least = m->now_ms + (int64_t)((1 - b.jitter) * d * (1 - 1e-12));
	most = m->now_ms + (int64_t)(d * (1 + 1e-12));
	if (least == most)
		return least;
	got = run_at(user, &job->id);
	return got >= least && got <= most ? got : least;
}

void model_failed(struct model *m, struct model_job *job, int kind, struct slice message, int64_t retry_after_ms,
		  model_run_at_cb run_at, void *user)
{
	bool throttled = kind == FAIL_THROTTLED && retry_after_ms > 0;

	/* More is not believed. */
	if (retry_after_ms > (throttled ? 600000 : 86400000))
		retry_after_ms = throttled ? 600000 : 86400000;
	job->error_kind = kind;
	job->error_at_ms = m->now_ms;
	job->error_message = message;
	model_call_ended(m, job->queue, kind == FAIL_THROTTLED ? MODEL_THROTTLED : MODEL_FAILED);
	if (throttled)
		job->attempt--;
	if (kind == FAIL_REJECTED || (!throttled && job->attempt >= model_max_attempts(m, job))) {
		model_event(m, job, true);
		model_enter(m, job, JOB_DEAD);
		return;
	}
	job->run_at_ms = m->now_ms + retry_after_ms;
	if (throttled && model_hold(m, job->queue, retry_after_ms))
		job->run_at_ms = m->now_ms;
	if (!throttled) {
		int64_t drawn = drawn_run_at(m, job, run_at, user);

		job->run_at_ms = drawn > job->run_at_ms ? drawn : job->run_at_ms;
	}
	model_event(m, job, false);
	model_enter(m, job, job->run_at_ms > m->now_ms ? JOB_SCHEDULED : JOB_READY);
}

/* ---- time ---- */

static int64_t sooner(int64_t a, int64_t b)
{
	if (a == 0 || b == 0)
		return a ? a : b;
	return a < b ? a : b;
}

int64_t model_due(const struct model_job *job)
{
	int64_t start_by = job->started_at_ms == 0 ? job->start_deadline_at_ms : 0;

	if (job->gone)
		return job->gone_until_ms;
	switch (job->state) {
	case JOB_SCHEDULED:
		return sooner(job->run_at_ms, sooner(start_by, job->deadline_at_ms));
	case JOB_READY:
		return sooner(start_by, job->deadline_at_ms);
	case JOB_RUNNING:
		return sooner(job->lease_expires_at_ms, sooner(job->attempt_deadline_at_ms, job->deadline_at_ms));
	default:
		return job->expires_at_ms;
	}
}

static bool passed(const struct model *m, int64_t at_ms)
{
	return at_ms != 0 && at_ms <= m->now_ms;
}

static void timed_out(struct model *m, struct model_job *job, int state)
{
	job->error_kind = FAIL_TIMEOUT;
	job->error_at_ms = m->now_ms;
	job->error_message = slice_of(NULL, 0);
	model_event(m, job, job_state_final(state));
	model_enter(m, job, state);
}

static void lease_ran_out(struct model *m, struct model_job *job)
{
	if (job->attempt >= model_max_attempts(m, job)) {
		timed_out(m, job, JOB_DEAD);
		return;
	}
	job->run_at_ms = m->now_ms;
	timed_out(m, job, JOB_READY);
}

static void time_over(struct model *m, struct model_job *job)
{
	int64_t forget_at = after(job->finished_at_ms, m->settings->record_ttl_ms);

	if (job->artifacts_gone) {
		model_forget(m, job);
		return;
	}
	model_drop_artifacts(m, job);
	model_hooks_taken(m, &job->id, job->hooks);
	model_news(m, &job->id);
	job->artifacts_gone = true;
	job->expires_at_ms = forget_at > m->now_ms ? forget_at : m->now_ms;
}

static void happens(struct model *m, struct model_job *job, model_run_at_cb run_at, void *user)
{
	bool too_late = job->started_at_ms == 0 && passed(m, job->start_deadline_at_ms);

	if (job_state_final(job->state)) {
		time_over(m, job);
	} else if (passed(m, job->deadline_at_ms) || (job->state != JOB_RUNNING && too_late)) {
		timed_out(m, job, JOB_EXPIRED);
	} else if (job->state != JOB_RUNNING) {
		model_event(m, job, false);
		model_enter(m, job, JOB_READY);
	} else if (passed(m, job->attempt_deadline_at_ms)) {
		model_failed(m, job, FAIL_TIMEOUT, slice_of(NULL, 0), 0, run_at, user);
	} else {
		lease_ran_out(m, job);
	}
}

static struct model_job *next_due(struct model *m)
{
	struct model_job *next = NULL;

	for (size_t i = 0; i < m->jobs_count; i++) {
		int64_t due = model_due(&m->jobs[i]);

		if (due != 0 && (!next || due < model_due(next)))
			next = &m->jobs[i];
	}
	return next;
}

void model_clock(struct model *m, int64_t now_ms)
{
	m->events_count = m->garbage_count = 0;
	/* A clock that is set back makes nobody wait for longer. */
	for (size_t i = 0; now_ms < m->now_ms && i < m->parked_count; i++)
		m->parked[i].wait_until_ms -= m->now_ms - now_ms;
	m->now_ms = now_ms;
	model_limits_clock(m);
}

bool model_time(struct model *m, model_run_at_cb run_at, void *user)
{
	for (int i = 0; i < MODEL_DUE_PER_BATCH; i++) {
		struct model_job *job = next_due(m);

		if (!job || !passed(m, model_due(job)))
			return true;
		if (!job->gone) {
			happens(m, job, run_at, user);
			model_outbox_flush(m);
			continue;
		}
		m->jobs_count--;
		memmove(job, job + 1, (size_t)(&m->jobs[m->jobs_count] - job) * sizeof(*job));
	}
	return false;
}

int64_t model_next_ms(const struct model *m)
{
	const struct model_job *job = next_due((struct model *)(uintptr_t)m);
	int64_t next = job ? model_due(job) : INT64_MAX;

	if (m->sweeps_count > 0)
		return 0;
	for (size_t i = 0; i < m->parked_count; i++)
		if (m->parked[i].wait_until_ms < next)
			next = m->parked[i].wait_until_ms;
	return model_limits_next_ms((struct model *)(uintptr_t)m, next);
}

/* ---- looking ---- */

int64_t model_count(const struct model *m, int queue, int state)
{
	int64_t count = 0;

	for (size_t i = 0; i < m->jobs_count; i++)
		count += !m->jobs[i].gone && m->jobs[i].queue == queue && m->jobs[i].state == state;
	return count;
}

int64_t model_bytes(const struct model *m, int queue)
{
	int64_t bytes = 0;

	for (size_t i = 0; i < m->jobs_count; i++)
		if (!m->jobs[i].gone && m->jobs[i].queue == queue && !job_state_final(m->jobs[i].state))
			bytes += m->jobs[i].bytes;
	return bytes;
}

int64_t model_position(const struct model *m, const struct model_job *job)
{
	int64_t ahead = 1;

	for (size_t i = 0; i < m->jobs_count; i++) {
		const struct model_job *j = &m->jobs[i];

		if (!j->gone && j->state == JOB_READY && j->queue == job->queue)
			ahead += j->priority < job->priority ||
				 (j->priority == job->priority &&
				  (j->place < job->place ||
				   (j->place == job->place && uuid_compare(&j->id, &job->id) < 0)));
	}
	return ahead;
}

int64_t model_last_position(const struct model *m, const struct model_job *job)
{
	int64_t count = 0;

	for (size_t i = 0; i < m->jobs_count; i++) {
		const struct model_job *j = &m->jobs[i];

		count += !j->gone && j->state == JOB_READY && j->queue == job->queue && j->priority <= job->priority;
	}
	return count;
}

size_t model_artifacts(const struct model *m, const struct uuid *job, const struct model_artifact **ret, size_t cap)
{
	size_t count = 0;

	for (size_t i = 0; i < m->artifacts_count; i++) {
		const struct model_artifact *a = &m->artifacts[i];
		size_t at = count;

		if (!uuid_equal(&a->job, job) || count == cap)
			continue;
		for (; at > 0; at--) {
			const struct model_artifact *before = ret[at - 1];
			size_t common = before->name.size < a->name.size ? before->name.size : a->name.size;
			int order = memcmp(before->name.data, a->name.data, common);

			if (order < 0 || (order == 0 && before->name.size < a->name.size))
				break;
			ret[at] = before;
		}
		ret[at] = a;
		count++;
	}
	return count;
}

bool model_matches(const struct model *m, const struct model_job *job, const struct msg_job_filter *filter)
{
	/* The server's own is meant only where it is named. */
	if (filter->has_queue ? !slice_equal(m->queues[job->queue].name, filter->queue)
			      : slice_equal(m->queues[job->queue].name, slice_str("_webhooks")))
		return false;
	if (filter->has_state && job->state != filter->state)
		return false;
	if (filter->has_group && !slice_equal(job->group, filter->group))
		return false;
	return !filter->has_before_at_ms || job->created_at_ms < filter->before_at_ms;
}
