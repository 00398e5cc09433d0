/* A delivery is put as job.put would put it, but for what refuses puts: the job it tells of was accepted, and so it is
 * told of, out of the reserve where the store is full.
 *
 * Left out where it cannot be told: the callback stands in the input, and where that is damaged nobody knows it. Where
 * it is only hidden until nobody reads, the job does not end before: whoever ends it is told to try again, and what
 * time ends is left until then.
 */
#include "server/engine/outbox.h"

#include <gnutls/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/engine/engine_priv.h"
#include "server/engine/link.h"
#include "server/engine/outbox_body.h"

/* Tries of a delivery; the worker says how long to wait in between. */
#define OUTBOX_ATTEMPTS 10
#define OUTBOX_PRIORITY 5

struct uuid outbox_id(const struct uuid *job, int64_t finished_at_ms)
{
	static const char label[] = "raincheck delivery";
	uint8_t seed[sizeof(label) + sizeof(job->bytes) + sizeof(finished_at_ms)], hash[32];
	struct uuid_gen gen = { 0 };
	struct uuid id;

	memcpy(seed, label, sizeof(label));
	memcpy(seed + sizeof(label), job->bytes, sizeof(job->bytes));
	memcpy(seed + sizeof(label) + sizeof(job->bytes), &finished_at_ms, sizeof(finished_at_ms));
	/* It fails only where the library is broken; ids that are not drawn from it would meet. */
	if (gnutls_hash_fast(GNUTLS_DIG_SHA256, seed, sizeof(seed), hash) < 0)
		abort();
	uuid_v7(&gen, finished_at_ms, hash, &id);
	return id;
}

static int has_artifact(struct engine *e, const struct uuid *id, const char *name, bool *ret)
{
	struct key key = key_artifact(id, slice_str(name));
	struct slice bytes;
	int rc = store_get(e->txn, TABLE_ARTIFACTS, key_slice(&key), &bytes);

	*ret = rc == 0;
	return rc == ERR_NOT_FOUND || rc == ERR_CORRUPT ? 0 : rc;
}

static int write_body(struct engine *e, const struct uuid *id, const struct job *job, const struct job_input *input,
		      struct buf *out)
{
	struct link_token token = link_sign(e->links, id, job->link_generation);
	struct outbox_news news = {
		.id = id,
		.job = job,
		.input = input,
		.queue = queues_get(e->queues, job->queue)->record.name,
	};
	char link[512];
	int rc;

	snprintf(link, sizeof(link), "%s/r/%s", e->settings->public_url, token.text);
	news.link = job->link_revoked ? NULL : link;
	rc = has_artifact(e, id, "preview", &news.has_preview);
	if (rc == 0)
		rc = has_artifact(e, id, "result", &news.has_result);
	return rc < 0 ? rc : outbox_body(out, &news);
}

/* The input of the delivery, in e->record; *ret_bytes is its payload's size. */
static int write_input(struct engine *e, const struct uuid *id, const struct job *job, int64_t *ret_bytes)
{
	struct pair to = { .key = slice_str(OUTBOX_URL) };
	_cleanup_(buf_done) struct buf body;
	struct job_input told, input = {
		.content_type = slice_str("application/json"),
		.backoff = { .base_ms = -1, .max_ms = -1, .factor = -1, .jitter = -1 },
		.metadata = &to,
		.metadata_count = 1,
	};
	struct slice bytes;
	int rc;

	buf_init(&body, OUTBOX_BODY_MAX);
	rc = job_input(e, id, &bytes);
	if (rc == 0)
		rc = record_read_input(bytes, &told);
	if (rc == 0)
		rc = write_body(e, id, job, &told, &body);
	if (rc < 0)
		return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
	to.value = told.callback_url;
	input.traceparent = told.traceparent;
	input.payload = buf_slice(&body);
	*ret_bytes = (int64_t)body.size;
	buf_reset(&e->record);
	return record_write_input(&e->record, &input);
}

static int find_queue(struct engine *e, struct queue **ret)
{
	*ret = queues_find(e->queues, slice_str(OUTBOX_QUEUE));
	return *ret ? 0 : queues_add(e->queues, slice_str(OUTBOX_QUEUE), ret);
}

/* A job that was dead and retried may end again within the millisecond: what the first end's delivery left is in the
 * way of the second's. */
static int clear_tombstone(struct engine *e, const struct uuid *delivery)
{
	struct key key = key_job(delivery), due;
	struct tombstone stone;
	struct slice bytes;
	int rc;

	rc = store_get(e->txn, TABLE_TOMBSTONES, key_slice(&key), &bytes);
	if (rc == 0)
		rc = record_read_tombstone(bytes, &stone);
	if (rc < 0)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	due = key_due(stone.until_ms, delivery);
	rc = delete_if_there(e, TABLE_DUE, &due);
	return rc < 0 ? rc : delete_if_there(e, TABLE_TOMBSTONES, &key);
}

int outbox_put(struct engine *e, const struct uuid *id, const struct job *job)
{
	struct uuid delivery = outbox_id(id, job->finished_at_ms);
	struct key key = key_job(&delivery);
	struct job told = {
		.priority = OUTBOX_PRIORITY,
		.max_attempts = OUTBOX_ATTEMPTS,
		.result_ttl_ms = -1,
		.created_at_ms = e->now_ms,
		.run_at_ms = e->now_ms,
	};
	struct queue *q;
	int rc;

	rc = write_input(e, id, job, &told.bytes);
	if (rc == ERR_CORRUPT)
		return 0;
	if (rc == 0)
		rc = find_queue(e, &q);
	if (rc == 0)
		rc = clear_tombstone(e, &delivery);
	if (rc != 0)
		return rc;
	told.queue = q->number;
	rc = put_newest(e, TABLE_INPUTS, &key, buf_slice(&e->record));
	return rc < 0 ? rc : job_create(e, &delivery, &told, slice_of(NULL, 0), JOB_READY);
}

int outbox_drop(struct engine *e, const struct uuid *id, int64_t finished_at_ms)
{
	struct uuid delivery = outbox_id(id, finished_at_ms);
	bool changed;
	int rc = change_one(e, &delivery, CHANGE_ERASE, &changed);

	/* What the job's own change has done is to be taken back. */
	if (rc == ERR_DAMAGED)
		return ERR_STORE_ERROR;
	return rc == ERR_NOT_FOUND || rc == ERR_GONE ? 0 : rc;
}

int outbox_again(struct engine *e, const struct uuid *id, struct job *job, bool *ret_changed)
{
	struct uuid delivery = outbox_id(id, job->finished_at_ms);
	struct job told;
	int rc;

	*ret_changed = false;
	if (!job_state_final(job->state) || !job->has_callback)
		return ERR_INVALID_STATE;
	rc = job_find(e, &delivery, &told);
	if (rc == 0 && (told.state == JOB_READY || told.state == JOB_RUNNING))
		return 0;
	*ret_changed = true;
	if (rc == 0 && told.state == JOB_SCHEDULED) {
		told.run_at_ms = e->now_ms;
		return job_move(e, &delivery, &told, JOB_READY);
	}
	if (rc == 0 || rc == ERR_CORRUPT)
		rc = outbox_drop(e, id, job->finished_at_ms);
	if (rc == ERR_NOT_FOUND || rc == ERR_GONE)
		rc = 0;
	/* The texts of the delivery have taken the place of the job's. */
	if (rc == 0)
		rc = job_load(e, id, job);
	return rc < 0 ? rc : outbox_put(e, id, job);
}
