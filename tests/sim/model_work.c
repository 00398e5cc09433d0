/* What workers do: job.lease, job.extend, job.checkpoint, job.complete, job.fail, job.release, artifact.put. */
#include "tests/sim/model_priv.h"

#include <string.h>

#include "proto/base/text.h"

#define LEASED_MAX  1000
#define ITEMS	    64
#define ROOM_BESIDE 1536 /* what a job may take in an answer besides its payload, checkpoint and metadata */

/* ---- job.lease ---- */

static int64_t leased_bytes(const struct model_job *job)
{
	int64_t bytes = (int64_t)(job->payload.size + (job->has_checkpoint ? job->checkpoint.size : 0));

	for (size_t i = 0; i < job->metadata_count; i++)
		bytes += (int64_t)(job->metadata[i].key.size + job->metadata[i].value.size);
	return bytes;
}

/* Whether one more job may be left out of an answer that holds count jobs of so many bytes: it might not fit. */
static bool may_not_fit(const struct model *m, const struct model_job *job, size_t count, int64_t bytes)
{
	int64_t most = m->settings->answer_bytes > 0 ? m->settings->answer_bytes : 2 << 20;

	return count > 0 && bytes + leased_bytes(job) + (int64_t)(count + 1) * ROOM_BESIDE > most;
}

static bool is_next(const struct model_job *job, size_t n, const struct msg_job_lease_result *got)
{
	return got && n < got->jobs_count && uuid_equal(&job->id, &got->jobs[n].id);
}

/* What a lease has taken so far. */
struct haul {
	struct model_job **jobs;
	size_t count;
	int64_t bytes;
};

static struct model_job *next_of(struct model *m, struct slice name)
{
	int queue = model_find_queue(m, name);

	if (queue < 0 || m->queues[queue].paused || model_room(m, queue) <= 0)
		return NULL;
	return model_first_ready(m, queue);
}

bool model_can_give(struct model *m, struct slice queue)
{
	return next_of(m, queue) != NULL;
}

static void add(struct haul *h, struct model_job *job)
{
	job->taken = true;
	h->bytes += leased_bytes(job);
	h->jobs[h->count++] = job;
}

/* The next job of any queue that the engine gave next. */
static bool follow(struct model *m, const struct msg_job_lease *lease, const struct msg_job_lease_result *got,
		   struct haul *h)
{
	for (size_t i = 0; i < lease->queues_count; i++) {
		struct model_job *job = next_of(m, lease->queues[i]);

		if (!job || !is_next(job, h->count, got))
			continue;
		add(h, job);
		return true;
	}
	return false;
}

/* One that the engine had to give too. */
static bool left_behind(struct model *m, const struct msg_job_lease *lease, struct haul *h)
{
	for (size_t i = 0; i < lease->queues_count; i++) {
		struct model_job *job = next_of(m, lease->queues[i]);

		if (!job || may_not_fit(m, job, h->count, h->bytes))
			continue;
		add(h, job);
		return true;
	}
	return false;
}

/* Whose turn it is among several queues is the engine's to choose (test_engine_fair looks at that); which job of a
 * queue is next, and that none is left behind, is not. */
static size_t take(struct model *m, const struct msg_job_lease *lease, const struct msg_job_lease_result *got,
		   struct model_job **ret)
{
	size_t max = lease->has_max ? (size_t)lease->max : 1;
	struct haul h = { .jobs = ret };

	while (h.count < max && follow(m, lease, got, &h))
		;
	while (h.count < max && left_behind(m, lease, &h))
		;
	for (size_t i = 0; i < h.count; i++)
		ret[i]->taken = false;
	return h.count;
}

static void describe(const struct model *m, const struct model_job *job, struct msg_leased_job *ret)
{
	*ret = (struct msg_leased_job){
		.has_id = true,
		.id = job->id,
		.has_lease = true,
		.lease = job->lease,
		.has_queue = true,
		.queue = m->queues[job->queue].name,
		.has_attempt = true,
		.attempt = job->attempt,
		.has_payload = true,
		.payload = job->payload,
		.has_content_type = true,
		.content_type = job->content_type,
		.has_priority = true,
		.priority = job->priority,
		.has_lease_expires_at_ms = true,
		.lease_expires_at_ms = job->lease_expires_at_ms,
		.has_attempt_deadline_at_ms = job->attempt_deadline_at_ms != 0,
		.attempt_deadline_at_ms = job->attempt_deadline_at_ms,
		.has_deadline_at_ms = job->deadline_at_ms != 0,
		.deadline_at_ms = job->deadline_at_ms,
		.has_checkpoint = job->has_checkpoint,
		.checkpoint = job->checkpoint,
		.has_metadata = true,
		.metadata = (struct pair *)(uintptr_t)job->metadata,
		.metadata_count = job->metadata_count,
		.has_traceparent = job->traceparent.size > 0,
		.traceparent = job->traceparent,
		.has_hook_url = true,
		.has_hooks = model_hooks_waiting(m, &job->id) > 0,
		.hooks = model_hooks_waiting(m, &job->id),
	};
}

static void grant(struct model *m, const struct command *cmd, struct model_job *job)
{
	const struct msg_job_lease *lease = cmd->params;
	int64_t timeout_ms = model_attempt_timeout_ms(m, job);

	job->attempt++;
	job->started_at_ms = m->now_ms;
	job->has_progress = false;
	job->note = slice_of(NULL, 0);
	job->holder = cmd->session;
	job->lease_called_back = false;
	job->lease_expires_at_ms = m->now_ms + (lease->has_lease_ms ? lease->lease_ms : MODEL_DEFAULT_LEASE_MS);
	job->attempt_deadline_at_ms = timeout_ms ? m->now_ms + timeout_ms : 0;
	model_pace_began(m, job->queue);
	model_event(m, job, false);
	m->events[m->events_count - 1].to_holder = cmd->session;
	model_enter(m, job, JOB_RUNNING);
	model_wake(m, job);
}

/* Its token is the engine's to make. */
static bool is_hook_url(const struct model *m, struct slice url)
{
	size_t base = strlen(m->settings->public_url);
	const char *text = url.data;

	return url.size == base + 7 + 48 && memcmp(text, m->settings->public_url, base) == 0 &&
	       memcmp(text + base, "/hooks/", 7) == 0;
}

bool model_lease(struct model *m, const struct asked *asked, struct expectation *ret)
{
	static struct model_job *taken[LEASED_MAX];
	static struct msg_leased_job jobs[LEASED_MAX];
	static struct msg_job_lease_result result;
	const struct msg_job_lease_result *told =
		asked->got->message == &MSG_job_lease_result ? asked->got->result : NULL;
	size_t count = take(m, asked->cmd.params, told, taken);

	for (size_t i = 0; i < count; i++) {
		/* The token is the engine's to draw; the driver looks that none is drawn twice. */
		taken[i]->former_lease = taken[i]->lease;
		if (is_next(taken[i], i, told))
			taken[i]->lease = told->jobs[i].lease;
		grant(m, &asked->cmd, taken[i]);
		describe(m, taken[i], &jobs[i]);
		if (is_next(taken[i], i, told) && is_hook_url(m, told->jobs[i].hook_url))
			jobs[i].hook_url = told->jobs[i].hook_url;
	}
	result = (struct msg_job_lease_result){ .has_jobs = true, .jobs = jobs, .jobs_count = count };
	if (count > 0)
		model_answer(ret, &MSG_job_lease_result, &result);
	return count > 0;
}

/* ---- with a lease ---- */

static bool same_token(const struct token *a, const struct token *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

/* A lease holds until its time is over by the broker's clock, and so does the job. */
static int prove(struct model *m, const struct uuid *id, const struct token *lease, struct model_job **ret)
{
	struct model_job *job = model_find_job(m, id);

	if (!job)
		return ERR_NOT_FOUND;
	if (job->gone || job->state != JOB_RUNNING || !same_token(&job->lease, lease) || model_due(job) <= m->now_ms)
		return ERR_LEASE_LOST;
	*ret = job;
	return 0;
}

static int extend_status(struct model *m, const struct msg_extend_item *item)
{
	struct model_job *job = model_find_job(m, &item->id);
	int rc = prove(m, &item->id, &item->lease, &job);

	if (rc == 0)
		return EXTEND_OK;
	if (job && !job->gone && job->lease_called_back && same_token(&job->lease, &item->lease))
		return EXTEND_CANCEL;
	return EXTEND_LOST;
}

void model_extend(struct model *m, const struct asked *asked, struct expectation *ret)
{
	static struct msg_extend_item_result items[ITEMS];
	static struct msg_job_extend_result result;
	const struct msg_job_extend *extend = asked->cmd.params;

	for (size_t i = 0; i < extend->leases_count; i++) {
		const struct msg_extend_item *item = &extend->leases[i];
		struct model_job *job = model_find_job(m, &item->id);

		items[i] = (struct msg_extend_item_result){ .has_id = true, .id = item->id, .has_status = true };
		items[i].status = extend_status(m, item);
		if (items[i].status != EXTEND_OK)
			continue;
		/* A worker that has connected anew goes on there. */
		if (job->holder != asked->cmd.session) {
			model_event(m, job, false);
			m->events[m->events_count - 1].to_holder = asked->cmd.session;
		}
		if (item->has_progress || item->has_note)
			model_news(m, &job->id);
		job->holder = asked->cmd.session;
		model_wake(m, job);
		job->lease_expires_at_ms =
			m->now_ms + (extend->has_lease_ms ? extend->lease_ms : MODEL_DEFAULT_LEASE_MS);
		if (item->has_progress) {
			job->has_progress = true;
			job->progress = (double)(float)item->progress;
		}
		if (item->has_note)
			job->note = item->note;
	}
	result = (struct msg_job_extend_result){ .has_leases = true,
						 .leases = items,
						 .leases_count = extend->leases_count };
	model_answer(ret, &MSG_job_extend_result, &result);
}

void model_checkpoint(struct model *m, const struct asked *asked, struct expectation *ret)
{
	static struct msg_empty nothing;
	const struct msg_job_checkpoint *checkpoint = asked->cmd.params;
	struct model_job *job;
	int rc = prove(m, &checkpoint->id, &checkpoint->lease, &job);

	if (rc < 0) {
		model_refuse(ret, rc, NULL);
		return;
	}
	job->has_checkpoint = true;
	job->checkpoint = checkpoint->data;
	model_answer(ret, &MSG_empty, &nothing);
}

void model_woken(struct model *m, const struct asked *asked, struct expectation *ret)
{
	static struct msg_empty nothing;
	const struct msg_job_woken *woken = asked->cmd.params;
	struct model_job *job;
	int rc = prove(m, &woken->id, &woken->lease, &job);

	if (rc < 0) {
		model_refuse(ret, rc, NULL);
		return;
	}
	model_hooks_taken(m, &job->id, woken->hook);
	model_answer(ret, &MSG_empty, &nothing);
}

static int complete_one(struct model *m, const struct complete_item *item)
{
	struct model_job *job;
	int rc = prove(m, &item->id, &item->lease, &job);

	if (rc < 0)
		return rc;
	if (item->has_result && !model_attach(m, job, slice_str("result"), &item->result))
		return ERR_TOO_LARGE;
	if (item->has_call_ms)
		job->call_ms = item->call_ms;
	model_pace_succeeded(m, job->queue, m->now_ms - job->started_at_ms);
	model_call_ended(m, job->queue, MODEL_SUCCEEDED);
	model_event(m, job, true);
	model_enter(m, job, JOB_SUCCEEDED);
	return 0;
}

void model_complete(struct model *m, const struct asked *asked, struct expectation *ret)
{
	static struct msg_complete_item_result items[ITEMS];
	static struct error_info errors[ITEMS];
	static struct msg_job_complete_result result;
	const struct command_complete *c = asked->cmd.params;
	const struct msg_job_complete_result *told =
		asked->got->message == &MSG_job_complete_result ? asked->got->result : NULL;

	result = (struct msg_job_complete_result){ .has_state = !c->many, .state = JOB_SUCCEEDED };
	for (size_t i = 0; i < c->count; i++) {
		int rc = complete_one(m, &c->items[i]);

		items[i] = (struct msg_complete_item_result){ .has_id = true,
							      .id = c->items[i].id,
							      .has_state = rc == 0,
							      .state = JOB_SUCCEEDED,
							      .has_error = rc < 0 };
		if (rc < 0 && !c->many) {
			model_refuse(ret, rc, NULL);
			return;
		}
		error_set(&errors[i], rc < 0 ? rc : ERR_INTERNAL, NULL, "-");
		items[i].error = error_message(&errors[i]);
		/* The words are the engine's. */
		if (rc < 0 && told && i < told->jobs_count)
			items[i].error.message = told->jobs[i].error.message;
	}
	if (c->many) {
		result.has_jobs = true;
		result.jobs = items;
		result.jobs_count = c->count;
	}
	model_answer(ret, &MSG_job_complete_result, &result);
}

/* The moment that the engine's answer tells, for the drawing of a delay. */
static int64_t told_run_at(void *user, const struct uuid *id)
{
	const struct reply *got = user;
	const struct msg_job_fail_result *told = got->message == &MSG_job_fail_result ? got->result : NULL;

	(void)id;
	/* Of one that is ready at once it tells when its limit lets it begin: nothing was drawn. */
	if (told && told->state == JOB_READY)
		return -1;
	return told && told->has_next_attempt_at_ms ? told->next_attempt_at_ms : -1;
}

void model_fail(struct model *m, const struct asked *asked, struct expectation *ret)
{
	static struct msg_job_fail_result result;
	const struct msg_job_fail *fail = asked->cmd.params;
	struct model_job *job;
	int rc = prove(m, &fail->id, &fail->lease, &job);

	if (rc < 0) {
		model_refuse(ret, rc, NULL);
		return;
	}
	if (fail->has_call_ms)
		job->call_ms = fail->call_ms;
	model_failed(m, job, fail->kind, fail->message, fail->has_retry_after_ms ? fail->retry_after_ms : 0,
		     told_run_at, (void *)(uintptr_t)asked->got);
	result = (struct msg_job_fail_result){ .has_state = true, .state = job->state };
	result.has_next_attempt_at_ms = job->state != JOB_DEAD;
	result.next_attempt_at_ms = job->run_at_ms;
	if (job->state == JOB_READY && model_held_until(m, job->queue) > job->run_at_ms)
		result.next_attempt_at_ms = model_held_until(m, job->queue);
	model_answer(ret, &MSG_job_fail_result, &result);
}

void model_release(struct model *m, const struct asked *asked, struct expectation *ret)
{
	static struct msg_job_release_result result;
	const struct msg_job_release *release = asked->cmd.params;
	struct model_job *job;
	int rc = prove(m, &release->id, &release->lease, &job);

	if (rc < 0) {
		model_refuse(ret, rc, NULL);
		return;
	}
	job->attempt--;
	job->run_at_ms = m->now_ms + (release->has_delay_ms ? release->delay_ms : 0);
	model_event(m, job, false);
	model_enter(m, job, job->run_at_ms > m->now_ms ? JOB_SCHEDULED : JOB_READY);
	result = (struct msg_job_release_result){ .has_state = true, .state = job->state };
	model_answer(ret, &MSG_job_release_result, &result);
}

void model_attach_command(struct model *m, const struct asked *asked, struct expectation *ret)
{
	static char sha256[64];
	static struct msg_artifact_stored result;
	const struct command_attach *c = asked->cmd.params;
	struct model_job *job = model_find_job(m, &c->id);
	int rc = 0;

	if (c->has_lease)
		rc = prove(m, &c->id, &c->lease, &job);
	else if (!job || job->gone)
		rc = ERR_NOT_FOUND;
	else if (job->started_at_ms != 0 || job_state_final(job->state))
		rc = ERR_INVALID_STATE;
	if (rc == 0 && !model_attach(m, job, c->name, &c->staged))
		rc = ERR_TOO_LARGE;
	if (rc < 0) {
		model_refuse(ret, rc, rc == ERR_TOO_LARGE ? "name" : NULL);
		return;
	}
	model_news(m, &job->id);
	hex_encode(c->staged.sha256, sizeof(c->staged.sha256), sha256);
	result = (struct msg_artifact_stored){
		.has_size = true, .size = c->staged.size, .has_sha256 = true, .sha256 = slice_of(sha256, sizeof(sha256))
	};
	model_answer(ret, &MSG_artifact_stored, &result);
}
