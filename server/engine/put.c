/* job.put and job.put_many: each job checked, then written with its payload, its place in line and its preview. */
#include <string.h>

#include "server/engine/engine_priv.h"
#include "server/engine/limits.h"
#include "server/engine/place.h"
#include "server/engine/view.h"

#define DEFAULT_PRIORITY     5
#define DEFAULT_CONTENT_TYPE "application/octet-stream"
#define PREVIEW		     "preview"

static int refuse_item(struct put_item *item, int code, const char *field, const char *text)
{
	error_set(&item->error, code, field, "%s", text);
	return 0;
}

static void fill_input(const struct msg_job_put *put, struct job_input *ret)
{
	*ret = (struct job_input){
		.content_type = put->has_content_type ? put->content_type : slice_str(DEFAULT_CONTENT_TYPE),
		.group = put->group,
		.title = put->title,
		.idempotency_key = put->idempotency_key,
		.callback_url = put->callback_url,
		.traceparent = put->traceparent,
		.attempt_timeout_ms = put->has_attempt_timeout_ms ? put->attempt_timeout_ms : 0,
		.backoff = { .base_ms = -1, .max_ms = -1, .factor = -1, .jitter = -1 },
		.metadata = put->metadata,
		.metadata_count = put->metadata_count,
		.payload = put->payload,
	};
	if (!put->has_backoff)
		return;
	if (put->backoff.has_base_ms)
		ret->backoff.base_ms = put->backoff.base_ms;
	if (put->backoff.has_max_ms)
		ret->backoff.max_ms = put->backoff.max_ms;
	if (put->backoff.has_factor)
		ret->backoff.factor = put->backoff.factor;
	if (put->backoff.has_jitter)
		ret->backoff.jitter = put->backoff.jitter;
}

int64_t put_run_at_ms(const struct engine *e, const struct msg_job_put *put)
{
	int64_t run_at = put->has_run_at_ms ? put->run_at_ms : put->has_delay_ms ? e->now_ms + put->delay_ms : 0;

	return run_at > e->now_ms ? run_at : e->now_ms;
}

uint8_t put_priority(const struct msg_job_put *put)
{
	return put->has_priority ? (uint8_t)put->priority : DEFAULT_PRIORITY;
}

static void fill_job(struct engine *e, const struct msg_job_put *put, const struct queue *q, struct job *ret)
{
	*ret = (struct job){
		.queue = q->number,
		.priority = put_priority(put),
		.max_attempts = put->has_max_attempts ? (uint32_t)put->max_attempts : 0,
		.result_ttl_ms = put->has_result_ttl_ms ? put->result_ttl_ms : -1,
		.bytes = (int64_t)put->payload.size,
		.has_callback = put->has_callback_url,
		.created_at_ms = e->now_ms,
		.run_at_ms = put_run_at_ms(e, put),
		.start_deadline_at_ms = put->has_start_deadline_ms ? e->now_ms + put->start_deadline_ms : 0,
		.deadline_at_ms = put->has_deadline_ms ? e->now_ms + put->deadline_ms : 0,
	};
}

/* What takes longer is left to answer_finish(). */
static int describe(struct engine *e, const struct uuid *id, const struct job *job, bool created, struct put_item *item,
		    struct msg_job_put_result *ret)
{
	struct queue *q = queues_get(e->queues, job->queue);
	struct place place;
	int rc = 0;

	ret->has_id = ret->has_created = ret->has_state = true;
	ret->id = *id;
	ret->created = created;
	ret->state = job->state;
	item->rest.has_link = !job->link_revoked;
	item->rest.link_generation = job->link_generation;
	item->rest.has_outlook = job->state == JOB_READY;
	if (job->state != JOB_READY)
		return 0;
	if (created)
		place = place_of_new(&q->record, job);
	else
		rc = place_of_job(e->txn, &q->record, id, job, &place);
	if (rc < 0)
		return rc;
	ret->has_position = true;
	ret->position = place.most;
	item->rest.outlook = place_outlook(&q->record, e->now_ms, &place, limits_held_until(q, e->now_ms));
	return 0;
}

/* A put whose idempotency key is known: the first job again, or a conflict. *ret_known is false for a new key. */
static int find_known(struct engine *e, const struct queue *q, struct put_item *item, struct msg_job_put_result *result,
		      bool *ret_known)
{
	struct key key = key_idempotency(q->number, item->put.idempotency_key);
	struct job_input input;
	struct slice bytes;
	struct uuid id;
	struct job job;
	int rc;

	*ret_known = false;
	rc = store_get(e->txn, TABLE_IDEMPOTENCY, key_slice(&key), &bytes);
	if (rc < 0)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	if (key_read_job(bytes, &id) < 0)
		return ERR_CORRUPT;
	rc = job_load(e, &id, &job);
	/* The key lives as long as the job. It stays where damage to the input kept retention from finding it. */
	if (rc == ERR_NOT_FOUND)
		return 0;
	key = key_job(&id);
	if (rc == 0)
		rc = store_get(e->txn, TABLE_INPUTS, key_slice(&key), &bytes);
	if (rc == 0)
		rc = record_read_input(bytes, &input);
	if (rc < 0)
		return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
	*ret_known = true;
	if (!slice_equal(input.payload, item->put.payload))
		return refuse_item(item, ERR_CONFLICT, "idempotency_key", "the key was used with another payload");
	return describe(e, &id, &job, false, item, result);
}

/* ---- writing ---- */

static int write_input(struct engine *e, const struct uuid *id, const struct msg_job_put *put)
{
	struct key key = key_job(id);
	struct job_input input;
	int rc;

	fill_input(put, &input);
	buf_reset(&e->record);
	rc = record_write_input(&e->record, &input);
	if (rc == 0)
		rc = put_newest(e, TABLE_INPUTS, &key, buf_slice(&e->record));
	return rc;
}

static int write_new(struct engine *e, const struct uuid *id, struct queue *q, struct put_item *item,
		     struct msg_job_put_result *result)
{
	struct msg_job_put *put = &item->put;
	struct job job;
	int rc;

	fill_job(e, put, q, &job);
	rc = write_input(e, id, put);
	if (rc == 0 && put->has_preview)
		rc = artifact_attach(e, id, &job, slice_str(PREVIEW), &item->preview);
	if (rc == 0 && put->has_idempotency_key) {
		struct key key = key_idempotency(q->number, put->idempotency_key);

		rc = store_put(e->txn, TABLE_IDEMPOTENCY, key_slice(&key), slice_of(id->bytes, sizeof(id->bytes)));
	}
	if (rc == 0)
		rc = job_create(e, id, &job, put->group, job.run_at_ms > e->now_ms ? JOB_SCHEDULED : JOB_READY);
	return rc < 0 ? rc : describe(e, id, &job, true, item, result);
}

static int put_one(struct engine *e, const struct uuid *id, struct put_item *item, struct msg_job_put_result *result)
{
	struct slice name = item->put.queue;
	struct queue *q;
	bool known, fits;
	int rc;

	if (item->error.code < 0)
		return 0;
	if (((const char *)name.data)[0] == '_')
		return refuse_item(item, ERR_BAD_REQUEST, "queue", "names that begin with _ are the server's own");
	q = queues_find(e->queues, name);
	if (q && item->put.has_idempotency_key) {
		rc = find_known(e, q, item, result, &known);
		/* Damage behind one key refuses this put alone. */
		if (rc == ERR_CORRUPT)
			return refuse_item(item, rc, "idempotency_key", "the job behind this key is damaged");
		e->tally.repeated += rc == 0 && known && item->error.code == 0;
		if (rc < 0 || known)
			return rc;
	}
	if (q)
		admit_by_queue(e, q, item);
	if (item->error.code < 0)
		return 0;
	rc = admit_by_store(e, item, &fits);
	if (rc < 0 || !fits)
		return rc;
	rc = q ? 0 : queues_add(e->queues, name, &q);
	if (rc == ERR_QUEUE_FULL)
		return refuse_item(item, rc, "queue", "there are too many queues already");
	if (rc < 0)
		return rc;
	return write_new(e, id, q, item, result);
}

static void answer_many(struct command *cmd, const struct command_put *put, struct msg_job_put_result *results)
{
	struct msg_job_put_many_result many = { .has_jobs = true, .jobs_count = put->count, .jobs = results };

	for (size_t i = 0; i < put->count; i++) {
		if (put->items[i].error.code < 0) {
			results[i] = (struct msg_job_put_result){ .has_error = true };
			results[i].error = error_message(&put->items[i].error);
		}
	}
	cmd->answer(cmd, &MSG_job_put_many_result, &many);
}

static void count_refusal(struct engine *e, const struct put_item *item)
{
	int number = -error_on_wire(item->error.code);

	if (number > 0 && number < TALLY_CODES)
		e->tally.refused[number]++;
}

static int put_single(struct engine *e, struct command *cmd, const struct command_put *put)
{
	struct msg_job_put_result result = { 0 };
	int rc;

	rc = put_one(e, &cmd->first_id, &put->items[0], &result);
	if (rc < 0)
		return rc;
	count_refusal(e, &put->items[0]);
	if (put->items[0].error.code < 0)
		cmd->refuse(cmd, &put->items[0].error);
	else
		cmd->answer(cmd, &MSG_job_put_result, &result);
	return 0;
}

int command_put(struct engine *e, struct command *cmd)
{
	const struct command_put *put = cmd->params;
	_cleanup_free_ struct msg_job_put_result *results = NULL;
	struct uuid id = cmd->first_id;

	if (!put->many)
		return put_single(e, cmd, put);
	results = calloc(put->count + 1, sizeof(*results));
	if (!results)
		return ERR_NO_MEMORY;
	for (size_t i = 0; i < put->count; i++) {
		int rc = put_one(e, &id, &put->items[i], &results[i]);

		if (rc < 0)
			return rc;
		count_refusal(e, &put->items[i]);
		uuid_next(&id, &id);
	}
	answer_many(cmd, put, results);
	return 0;
}
