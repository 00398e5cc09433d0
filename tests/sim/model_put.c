/* What producers and operators say about jobs and queues to be: job.put, queue.set, link.rotate and the like. */
#include "tests/sim/model_priv.h"

#include <stdlib.h>
#include <string.h>

#define ITEMS 64 /* of one put */

static struct msg_job_put_result results[ITEMS];
static struct error_info errors[ITEMS];

void model_refuse(struct expectation *ret, int code, const char *field)
{
	ret->code = code;
	ret->field = field;
}

void model_answer(struct expectation *ret, const struct message *message, const void *result)
{
	ret->message = message;
	ret->result = result;
}

/* ---- job.put ---- */

static const struct model_job *find_key(const struct model *m, int queue, struct slice key)
{
	for (size_t i = 0; i < m->jobs_count; i++)
		if (!m->jobs[i].gone && m->jobs[i].queue == queue && slice_equal(m->jobs[i].idempotency_key, key))
			return &m->jobs[i];
	return NULL;
}

static int64_t or_none(bool has, int64_t value, int64_t none)
{
	return has ? value : none;
}

static void fill_job(const struct model *m, const struct msg_job_put *put, struct model_job *j)
{
	int64_t run_at = put->has_run_at_ms ? put->run_at_ms : m->now_ms + or_none(put->has_delay_ms, put->delay_ms, 0);

	j->priority = (int)or_none(put->has_priority, put->priority, 5);
	j->max_attempts = or_none(put->has_max_attempts, put->max_attempts, 0);
	j->created_at_ms = m->now_ms;
	j->run_at_ms = run_at > m->now_ms ? run_at : m->now_ms;
	j->start_deadline_at_ms = put->has_start_deadline_ms ? m->now_ms + put->start_deadline_ms : 0;
	j->deadline_at_ms = put->has_deadline_ms ? m->now_ms + put->deadline_ms : 0;
	j->result_ttl_ms = or_none(put->has_result_ttl_ms, put->result_ttl_ms, -1);
	j->attempt_timeout_ms = or_none(put->has_attempt_timeout_ms, put->attempt_timeout_ms, 0);
	j->backoff = (struct model_backoff){ -1, -1, -1, -1 };
	if (put->has_backoff) {
		j->backoff.base_ms = or_none(put->backoff.has_base_ms, put->backoff.base_ms, -1);
		j->backoff.max_ms = or_none(put->backoff.has_max_ms, put->backoff.max_ms, -1);
		j->backoff.factor = put->backoff.has_factor ? put->backoff.factor : -1;
		j->backoff.jitter = put->backoff.has_jitter ? put->backoff.jitter : -1;
	}
	j->payload = put->payload;
	j->content_type = put->has_content_type ? put->content_type : slice_str("application/octet-stream");
	j->group = put->group;
	j->title = put->title;
	j->idempotency_key = put->idempotency_key;
	j->callback_url = put->callback_url;
	j->traceparent = put->traceparent;
	j->metadata = put->metadata;
	j->metadata_count = put->metadata_count;
}

/* The link's text is the broker's: any of the right shape that no other job or time has had, from then on the same. */
static struct slice learn_link(const struct model *m, struct model_job *job, struct slice got)
{
	size_t base = strlen(m->settings->public_url);
	bool shaped = got.size == base + 3 + 43 && got.size < MODEL_LINK &&
		      memcmp(got.data, m->settings->public_url, base) == 0 &&
		      memcmp((const char *)got.data + base, "/r/", 3) == 0;

	if (job->link_known || !shaped)
		return slice_str(job->link);
	for (size_t i = 0; i < m->jobs_count; i++)
		if (memcmp(m->jobs[i].link, got.data, got.size) == 0 ||
		    memcmp(m->jobs[i].old_link, got.data, got.size) == 0)
			return slice_str("a link of its own");
	memcpy(job->link, got.data, got.size);
	job->link[got.size] = '\0';
	job->link_known = true;
	return slice_str(job->link);
}

static void describe(struct model *m, struct model_job *job, bool created, const struct msg_job_put_result *got,
		     struct msg_job_put_result *ret)
{
	*ret = (struct msg_job_put_result){
		.has_id = true,
		.id = job->id,
		.has_created = true,
		.created = created,
		.has_state = true,
		.state = job->state,
		.has_link = !job->link_revoked,
		.has_position = job->state == JOB_READY,
	};
	if (ret->has_link)
		ret->link = learn_link(m, job, got ? got->link : slice_of(NULL, 0));
	if (!ret->has_position)
		return;
	/* Among groups a new job is not the last; a put tells the most that it can be. */
	ret->position = created ? model_last_position(m, job) : model_position(m, job);
	/* Beyond the first thousand it may be an upper bound. */
	if (!created && got && ret->position > 1000 && got->position > ret->position)
		ret->position = got->position;
	ret->has_eta_ms = model_eta(m, job, ret->position, created, got ? &got->eta_ms : NULL, &ret->eta_ms);
}

static int refuse_item(size_t n, int code, const char *field)
{
	error_set(&errors[n], code, field, "-");
	return code;
}

static bool is_full(const struct model *m, int queue, const struct msg_job_put *put)
{
	const struct model_queue *q = &m->queues[queue];
	int64_t jobs = model_count(m, queue, JOB_SCHEDULED) + model_count(m, queue, JOB_READY) +
		       model_count(m, queue, JOB_RUNNING);

	return (q->max_jobs >= 0 && jobs + 1 > q->max_jobs) ||
	       (q->max_bytes >= 0 && model_bytes(m, queue) + (int64_t)put->payload.size > q->max_bytes);
}

/* Whether the queue refuses what cannot be done by its deadline. By a hair's breadth it is the engine's to say. */
static bool is_too_late(const struct model *m, int queue, const struct msg_job_put *put, bool refused)
{
	struct model_job job = { .queue = queue, .state = JOB_SCHEDULED };
	struct msg_eta eta;

	if (m->queues[queue].admit != ADMIT_DEADLINE || !put->has_deadline_ms)
		return false;
	job.priority = (int)or_none(put->has_priority, put->priority, 5);
	job.run_at_ms = put->has_run_at_ms ? put->run_at_ms : m->now_ms + or_none(put->has_delay_ms, put->delay_ms, 0);
	if (!model_eta(m, &job, 0, false, NULL, &eta))
		return false;
	return llabs(eta.low - put->deadline_ms) <= 2 + eta.low / 1000000 ? refused : eta.low > put->deadline_ms;
}

static int put_one(struct model *m, size_t n, const struct put_item *item, const struct uuid *id,
		   const struct msg_job_put_result *got)
{
	const struct msg_job_put *put = &item->put;
	int queue = model_find_queue(m, put->queue);
	const struct model_job *known;
	struct model_job *job;

	if (((const char *)put->queue.data)[0] == '_')
		return refuse_item(n, ERR_BAD_REQUEST, "queue");
	known = queue >= 0 && put->has_idempotency_key ? find_key(m, queue, put->idempotency_key) : NULL;
	if (known && !slice_equal(known->payload, put->payload))
		return refuse_item(n, ERR_CONFLICT, "idempotency_key");
	if (known) {
		describe(m, model_find_job(m, &known->id), false, got, &results[n]);
		return 0;
	}
	/* What can never fit is not told to come back. */
	if (queue >= 0 && m->queues[queue].max_bytes >= 0 && (int64_t)put->payload.size > m->queues[queue].max_bytes)
		return refuse_item(n, ERR_TOO_LARGE, "payload");
	if (queue >= 0 && is_full(m, queue, put))
		return refuse_item(n, ERR_QUEUE_FULL, "queue");
	if (queue >= 0 && is_too_late(m, queue, put, !got || got->has_error))
		return refuse_item(n, ERR_QUEUE_FULL, "deadline_ms");
	job = model_insert(m, id);
	job->queue = queue >= 0 ? queue : model_add_queue(m, put->queue);
	fill_job(m, put, job);
	job->bytes = (int64_t)put->payload.size;
	m->queues[job->queue].put_total++;
	if (put->has_preview)
		model_attach(m, job, slice_str("preview"), &item->preview);
	model_enter(m, job, job->run_at_ms > m->now_ms ? JOB_SCHEDULED : JOB_READY);
	describe(m, job, true, got, &results[n]);
	return 0;
}

/* An item's refusal as it stands in the answer; the words and the time to come back are the engine's. */
static void fill_error(size_t n, const struct msg_job_put_result *got)
{
	bool told = got && got->has_error;

	results[n] = (struct msg_job_put_result){ .has_error = true };
	results[n].error = error_message(&errors[n]);
	if (told)
		results[n].error.message = got->error.message;
	if (errors[n].code == ERR_QUEUE_FULL && told && got->error.retry_after_ms >= 1000 &&
	    got->error.retry_after_ms <= 60000) {
		results[n].error.has_retry_after_ms = true;
		results[n].error.retry_after_ms = got->error.retry_after_ms;
	}
}

void model_put(struct model *m, const struct asked *asked, struct expectation *ret)
{
	static struct msg_job_put_many_result many;
	const struct command_put *put = asked->cmd.params;
	const struct msg_job_put_many_result *got_many = put->many ? asked->got->result : NULL;
	struct uuid id = asked->cmd.first_id;

	memset(errors, 0, sizeof(errors));
	for (size_t i = 0; i < put->count; i++) {
		const struct msg_job_put_result *one = !put->many ? asked->got->result : NULL;

		if (got_many && i < got_many->jobs_count)
			one = &got_many->jobs[i];
		if (put->items[i].error.code < 0) /* refused at the edge already */
			results[i] = (struct msg_job_put_result){ .has_error = true,
								  .error = error_message(&put->items[i].error) };
		else if (put_one(m, i, &put->items[i], &id, one) < 0)
			fill_error(i, one);
		uuid_next(&id, &id);
	}
	many = (struct msg_job_put_many_result){ .has_jobs = true, .jobs = results, .jobs_count = put->count };
	if (put->many) {
		model_answer(ret, &MSG_job_put_many_result, &many);
	} else if (errors[0].code < 0) {
		model_refuse(ret, errors[0].code, errors[0].field);
		ret->retry_after = errors[0].code == ERR_QUEUE_FULL;
	} else {
		model_answer(ret, &MSG_job_put_result, &results[0]);
	}
}

/* ---- queue.set, queue.pause, queue.resume ---- */

/* A key that is given is set, one that is nil goes back to its default, one that is not there changes nothing. */
#define SET(message, from, field, setting, otherwise)           \
	do {                                                    \
		if ((from)->has_##field)                        \
			(setting) = (from)->field;              \
		else if (MESSAGE_WAS_NIL(message, from, field)) \
			(setting) = (otherwise);                \
	} while (0)

static void apply_backoff(struct model_backoff *to, const struct msg_queue_set *set)
{
	const struct msg_backoff *b = &set->backoff;

	if (MESSAGE_WAS_NIL(queue_set, set, backoff))
		*to = (struct model_backoff){ -1, -1, -1, -1 };
	if (!set->has_backoff)
		return;
	SET(backoff, b, base_ms, to->base_ms, -1);
	SET(backoff, b, max_ms, to->max_ms, -1);
	SET(backoff, b, factor, to->factor, -1);
	SET(backoff, b, jitter, to->jitter, -1);
}

static void apply_weights(struct model_queue *q, const struct msg_queue_set *set)
{
	if (!set->has_weights && !MESSAGE_WAS_NIL(queue_set, set, weights))
		return;
	q->weights_count = 0;
	for (size_t i = 0; i < set->weights_count; i++) {
		size_t at = q->weights_count++;

		/* By name, as they are told. */
		for (; at > 0 && slice_compare(q->weights[at - 1].group, set->weights[i].group) > 0; at--)
			q->weights[at] = q->weights[at - 1];
		q->weights[at] = (struct model_weight){ set->weights[i].group, set->weights[i].weight };
	}
}

static void apply_settings(struct model_queue *q, const struct msg_queue_set *set)
{
	SET(queue_set, set, title, q->title, slice_of(NULL, 0));
	SET(queue_set, set, paused, q->paused, false);
	SET(queue_set, set, max_jobs, q->max_jobs, -1);
	SET(queue_set, set, max_bytes, q->max_bytes, -1);
	SET(queue_set, set, max_attempts, q->max_attempts, 0);
	SET(queue_set, set, attempt_timeout_ms, q->attempt_timeout_ms, 0);
	SET(queue_set, set, result_ttl_ms, q->result_ttl_ms, -1);
	apply_backoff(&q->backoff, set);
}

static void apply_flow(struct model *m, struct model_queue *q, const struct msg_queue_set *set)
{
	SET(queue_set, set, weight, q->weight, 1);
	SET(queue_set, set, admit, q->admit, ADMIT_ALWAYS);
	apply_weights(q, set);
	if (set->has_limit)
		q->limit = model_find_limit(m, set->limit);
	else if (MESSAGE_WAS_NIL(queue_set, set, limit))
		q->limit = -1;
}

void model_queue_command(struct model *m, const struct asked *asked, struct expectation *ret)
{
	static struct msg_queue result;
	const struct command_queue *c = asked->cmd.params;
	int queue = model_find_queue(m, c->set.queue);

	if (queue < 0 && c->action != QUEUE_SET) {
		model_refuse(ret, ERR_NOT_FOUND, NULL);
		return;
	}
	if (c->set.has_limit && model_find_limit(m, c->set.limit) < 0) {
		model_refuse(ret, ERR_NOT_FOUND, "limit");
		return;
	}
	if (queue < 0)
		queue = model_add_queue(m, c->set.queue);
	if (c->action == QUEUE_SET)
		apply_settings(&m->queues[queue], &c->set);
	if (c->action == QUEUE_SET)
		apply_flow(m, &m->queues[queue], &c->set);
	if (c->action != QUEUE_SET)
		m->queues[queue].paused = c->action == QUEUE_PAUSE;
	model_describe_queue(m, queue, &result);
	model_answer(ret, &MSG_queue, &result);
}

/* ---- link.rotate, link.revoke ---- */

void model_link(struct model *m, const struct asked *asked, struct expectation *ret)
{
	static struct msg_link_result result;
	static struct msg_empty nothing;
	const struct command_link *c = asked->cmd.params;
	const struct msg_link_result *told = asked->got->message == &MSG_link_result ? asked->got->result : NULL;
	struct model_job *job = model_find_job(m, &c->id);

	if (!job || job->gone) {
		model_refuse(ret, job ? ERR_GONE : ERR_NOT_FOUND, NULL);
		return;
	}
	model_event(m, job, false);
	m->events[m->events_count - 1].from_holder = 0;
	if (c->revoke) {
		job->link_revoked = true;
		model_answer(ret, &MSG_empty, &nothing);
		return;
	}
	memcpy(job->old_link, job->link, sizeof(job->link));
	job->link_known = false;
	job->link_revoked = false;
	result = (struct msg_link_result){ .has_link = true };
	result.link = learn_link(m, job, told ? told->link : slice_of(NULL, 0));
	model_answer(ret, &MSG_link_result, &result);
}
