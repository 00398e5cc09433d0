/* job.lease: the first ready jobs of the named queues become running under a new lease each.
 *
 * Two passes, since reading payloads gives pointers that the next write takes away: all jobs are moved first, then all
 * are read and the command answered.
 */
#include <string.h>

#include "server/engine/engine_priv.h"

#define BESIDE_INPUT 512 /* bytes of a leased job on the wire besides its input and checkpoint */

/* One job taken for this answer. */
struct grant {
	struct uuid id;
	struct job job;
};

/* What the answer points to, besides the map. */
struct grant_texts {
	struct pair metadata[MAX_METADATA];
};

/* The first entry of a queue's line. */
struct entry {
	struct key key;
	bool whole; /* it has the shape of one; else the rest says nothing */
	uint8_t priority;
	struct uuid id;
};

/* ERR_NOT_FOUND where the line is empty. */
static int first_entry(struct engine *e, const struct queue *q, struct entry *ret)
{
	struct key from = key_queue(q->number);
	struct slice key, value;
	uint32_t queue;
	uint64_t tag;
	int rc;

	rc = store_seek(e->txn, TABLE_READY, key_slice(&from), &key, &value);
	if (rc < 0)
		return rc;
	ret->key = key_copy(key);
	if (ret->key.size < from.size || memcmp(ret->key.bytes, from.bytes, from.size) != 0)
		return ERR_NOT_FOUND;
	ret->whole = key_read_ready(key, &queue, &ret->priority, &tag, &ret->id) == 0 && ret->priority < PRIORITIES;
	return 0;
}

/* Bytes that the job adds to an answer. */
static int64_t weight(struct engine *e, const struct uuid *id)
{
	struct key key = key_job(id);
	struct slice bytes;
	int64_t size = BESIDE_INPUT;

	if (store_get(e->txn, TABLE_INPUTS, key_slice(&key), &bytes) == 0)
		size += (int64_t)bytes.size;
	if (store_get(e->txn, TABLE_CHECKPOINTS, key_slice(&key), &bytes) == 0)
		size += (int64_t)bytes.size;
	return size;
}

/* Reads what the answer will need. ERR_CORRUPT where the job's input or checkpoint is damaged or gone. */
static int probe(struct engine *e, const struct uuid *id, int64_t *ret_timeout_ms)
{
	struct key key = key_job(id);
	struct job_input input;
	struct slice bytes;
	int rc;

	rc = store_get(e->txn, TABLE_INPUTS, key_slice(&key), &bytes);
	if (rc == 0)
		rc = record_read_input(bytes, &input);
	if (rc < 0)
		return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
	*ret_timeout_ms = input.attempt_timeout_ms;
	rc = store_get(e->txn, TABLE_CHECKPOINTS, key_slice(&key), &bytes);
	if (rc == 0)
		rc = record_read_bytes(bytes, &bytes);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* Nobody can work on a job whose input is damaged: it ends dead, with the reason. */
static int bury(struct engine *e, struct grant *g)
{
	g->job.error_kind = FAIL_INTERNAL;
	g->job.error_at_ms = e->now_ms;
	g->job.error_message = slice_str("the job's input or checkpoint is damaged in the store");
	return job_move(e, &g->id, &g->job, JOB_DEAD);
}

/* An entry whose job's record cannot be read is taken out of the line, so that it does not hold up the others; the
 * record stays as it is, for the checker to name. */
static int set_aside(struct engine *e, struct queue *q, const struct entry *entry)
{
	q->record.ready[entry->priority]--;
	q->record.counts[JOB_READY]--;
	q->dirty = true;
	return store_delete(e->txn, TABLE_READY, key_slice(&entry->key));
}

/* Whether this entry is the job's place in line. One that is not was counted for no job. */
static bool stands_for(const struct entry *entry, const struct job *job)
{
	struct key key = key_ready(job->queue, job->priority, job->tag, &entry->id);

	return job->state == JOB_READY && slice_equal(key_slice(&key), key_slice(&entry->key));
}

static int grant_one(struct engine *e, struct command *cmd, struct grant *g, size_t n, int64_t timeout_ms)
{
	const struct msg_job_lease *lease = cmd->params;
	uint8_t drawn[32];

	engine_draw(cmd->random, (uint32_t)n, drawn);
	memcpy(g->job.lease.bytes, drawn, sizeof(g->job.lease.bytes));
	g->job.attempt++;
	g->job.started_at_ms = e->now_ms;
	g->job.has_progress = false;
	g->job.note.size = 0;
	g->job.lease_expires_at_ms = e->now_ms + (lease->has_lease_ms ? lease->lease_ms : DEFAULT_LEASE_MS);
	g->job.attempt_deadline_at_ms = timeout_ms ? e->now_ms + timeout_ms : 0;
	return job_move(e, &g->id, &g->job, JOB_RUNNING);
}

/* The first job of one queue that can be worked on; what is damaged before it is taken out of the line.
 * ERR_NOT_FOUND where there is none. */
static int next_sound(struct engine *e, struct queue *q, struct grant *g, int64_t *ret_timeout_ms)
{
	for (;;) {
		struct entry entry;
		int rc;

		rc = first_entry(e, q, &entry);
		if (rc < 0)
			return rc;
		g->id = entry.id;
		rc = entry.whole ? job_load(e, &g->id, &g->job) : 0;
		if (rc == ERR_NOT_FOUND || rc == ERR_CORRUPT) {
			rc = set_aside(e, q, &entry);
		} else if (rc == 0 && !(entry.whole && stands_for(&entry, &g->job))) {
			rc = store_delete(e->txn, TABLE_READY, key_slice(&entry.key));
		} else if (rc == 0) {
			rc = probe(e, &g->id, ret_timeout_ms);
			if (rc == 0)
				return 0;
			if (rc == ERR_CORRUPT)
				rc = bury(e, g);
		}
		if (rc < 0)
			return rc;
	}
}

/* What an answer may come to. One that its peer could not be sent would cost every job in it an attempt. */
static int64_t answer_bytes(const struct engine *e)
{
	int64_t most = e->settings->answer_bytes;

	return most > 0 && most < LEASE_BYTES ? most : LEASE_BYTES;
}

/* Takes the first of one queue. *ret_taken is false when there is none, or none that fits the answer any more. */
static int take_from(struct engine *e, struct command *cmd, struct queue *q, struct grant *grants, size_t *count,
		     int64_t *bytes, bool *ret_taken)
{
	struct grant *g = &grants[*count];
	int64_t timeout_ms = 0, more;
	int rc;

	*ret_taken = false;
	if (q->record.counts[JOB_READY] <= 0 || q->record.paused)
		return 0;
	rc = next_sound(e, q, g, &timeout_ms);
	if (rc < 0)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	more = weight(e, &g->id);
	if (*count > 0 && *bytes + more > answer_bytes(e))
		return 0;
	rc = grant_one(e, cmd, g, *count, timeout_ms);
	if (rc < 0)
		return rc;
	*bytes += more;
	(*count)++;
	*ret_taken = true;
	return 0;
}

/* One job from each queue in turn, until there are enough or no queue has one. */
static int take(struct engine *e, struct command *cmd, struct grant *grants, size_t max, size_t *ret_count)
{
	const struct msg_job_lease *lease = cmd->params;
	size_t count = 0;
	size_t empty = 0; /* queues in a row that gave nothing */
	int64_t bytes = 0;

	while (count < max && empty < lease->queues_count) {
		struct queue *q = queues_find(e->queues, lease->queues[e->turn % lease->queues_count]);
		bool taken = false;
		int rc = q ? take_from(e, cmd, q, grants, &count, &bytes, &taken) : 0;

		if (rc < 0)
			return rc;
		empty = taken ? 0 : empty + 1;
		e->turn++;
	}
	*ret_count = count;
	return 0;
}

static int describe(struct engine *e, const struct grant *g, struct grant_texts *texts, struct msg_leased_job *ret)
{
	const struct queue *q = queues_get(e->queues, g->job.queue);
	struct key key = key_job(&g->id);
	struct job_input in;
	struct slice bytes;
	int rc;

	rc = store_get(e->txn, TABLE_INPUTS, key_slice(&key), &bytes);
	if (rc == 0)
		rc = record_read_input(bytes, &in);
	if (rc < 0)
		return rc;
	*ret = (struct msg_leased_job){
		.has_id = true,
		.id = g->id,
		.has_lease = true,
		.lease = g->job.lease,
		.has_queue = true,
		.queue = q->record.name,
		.has_attempt = true,
		.attempt = g->job.attempt,
		.has_payload = true,
		.payload = in.payload,
		.has_content_type = true,
		.content_type = in.content_type,
		.has_priority = true,
		.priority = g->job.priority,
		.has_lease_expires_at_ms = true,
		.lease_expires_at_ms = g->job.lease_expires_at_ms,
		.has_attempt_deadline_at_ms = g->job.attempt_deadline_at_ms != 0,
		.attempt_deadline_at_ms = g->job.attempt_deadline_at_ms,
		.has_deadline_at_ms = g->job.deadline_at_ms != 0,
		.deadline_at_ms = g->job.deadline_at_ms,
		.has_metadata = true,
		.metadata = texts->metadata,
		.has_traceparent = in.traceparent.size > 0,
		.traceparent = in.traceparent,
	};
	ret->metadata_count = input_metadata(&in, texts->metadata, MAX_METADATA);
	rc = store_get(e->txn, TABLE_CHECKPOINTS, key_slice(&key), &bytes);
	if (rc == 0)
		rc = record_read_bytes(bytes, &ret->checkpoint);
	ret->has_checkpoint = rc == 0;
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int answer(struct engine *e, struct command *cmd, const struct grant *grants, size_t count)
{
	_cleanup_free_ struct msg_leased_job *jobs = calloc(count, sizeof(*jobs));
	_cleanup_free_ struct grant_texts *texts = calloc(count, sizeof(*texts));
	struct msg_job_lease_result result = { .has_jobs = true, .jobs = jobs, .jobs_count = count };

	if (!jobs || !texts)
		return ERR_NO_MEMORY;
	for (size_t i = 0; i < count; i++) {
		int rc = describe(e, &grants[i], &texts[i], &jobs[i]);

		if (rc < 0)
			return rc;
	}
	cmd->answer(cmd, &MSG_job_lease_result, &result);
	return 0;
}

int command_lease(struct engine *e, struct command *cmd, size_t *ret_granted)
{
	const struct msg_job_lease *lease = cmd->params;
	size_t max = lease->has_max ? (size_t)lease->max : 1;
	_cleanup_free_ struct grant *grants = NULL;
	int64_t ready = 0;
	int rc;

	*ret_granted = 0;
	for (size_t i = 0; i < lease->queues_count; i++) {
		struct queue *q = queues_find(e->queues, lease->queues[i]);

		ready += q && !q->record.paused ? q->record.counts[JOB_READY] : 0;
	}
	if (ready == 0)
		return 0;
	if ((int64_t)max > ready)
		max = (size_t)ready;
	grants = calloc(max, sizeof(*grants));
	if (!grants)
		return ERR_NO_MEMORY;
	rc = take(e, cmd, grants, max, ret_granted);
	if (rc == 0 && *ret_granted > 0)
		rc = answer(e, cmd, grants, *ret_granted);
	return rc;
}
