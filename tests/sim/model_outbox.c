/* The webhooks of jobs that ended: jobs of the queue "_webhooks", one for each end that somebody wants to be told of.
 */
#include "tests/sim/model_priv.h"

#include <gnutls/crypto.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ATTEMPTS 10

/* As outbox.h says: it follows from the job's id and the moment it ended. */
static struct uuid delivery_of(const struct model_job *job)
{
	uint8_t text[19 + 16 + 8] = "raincheck delivery", hash[32];
	uint64_t ms = (uint64_t)job->finished_at_ms;
	struct uuid id;

	memcpy(text + 19, job->id.bytes, 16);
	memcpy(text + 35, &ms, 8);
	if (gnutls_hash_fast(GNUTLS_DIG_SHA256, text, sizeof(text), hash) < 0)
		abort();
	for (int i = 0; i < 6; i++)
		id.bytes[i] = (uint8_t)(ms >> (40 - 8 * i));
	memcpy(id.bytes + 6, hash, 10);
	id.bytes[6] = (uint8_t)(0x70 | (id.bytes[6] & 0x07));
	id.bytes[8] = (uint8_t)(0x80 | (id.bytes[8] & 0x3f));
	return id;
}

struct model_job *model_delivery(struct model *m, const struct model_job *job)
{
	struct uuid id = delivery_of(job);
	struct model_job *found =
		job_state_final(job->state) && job->callback_url.size > 0 ? model_find_job(m, &id) : NULL;

	return found && !found->gone ? found : NULL;
}

void model_outbox_tell(struct model *m, const struct model_job *job)
{
	if (job->callback_url.size == 0)
		return;
	if (m->ended_count == MODEL_EVENTS)
		abort(); /* the driver keeps batches small */
	m->ended[m->ended_count++] = job->id;
}

/* ---- the body: its words are the engine's, what it says of the job is not ---- */

static bool is_text(json_t *o, const char *key, struct slice expected)
{
	json_t *value = json_object_get(o, key);

	return json_is_string(value) && json_string_length(value) == expected.size &&
	       memcmp(json_string_value(value), expected.size ? expected.data : "", expected.size) == 0;
}

static bool is_url(const struct model *m, const struct model_job *job, json_t *data, const char *name)
{
	const struct model_artifact *list[64];
	size_t count = model_artifacts(m, &job->id, list, 64);
	json_t *value = json_object_get(data, name);
	char url[MODEL_LINK + 64];

	for (size_t i = 0; i < count; i++) {
		if (!slice_equal(list[i]->name, slice_str(name)) || job->link_revoked)
			continue;
		snprintf(url, sizeof(url), "%s/%s", job->link, name);
		return is_text(data, name, slice_str(url));
	}
	return json_is_null(value);
}

static bool is_error(const struct model_job *job, json_t *error)
{
	if (job->state == JOB_SUCCEEDED || job->error_at_ms == 0)
		return json_is_null(error);
	if (!is_text(error, "kind", slice_str(failure_kind_names[job->error_kind])))
		return false;
	return !job->error_message.data || is_text(error, "message", job->error_message);
}

static bool tells_of(const struct model *m, const struct model_job *job, json_t *body)
{
	json_t *data = json_object_get(body, "data"), *metadata = json_object_get(data, "metadata");
	char type[32];

	snprintf(type, sizeof(type), "job.%s", job_state_names[job->state]);
	for (size_t i = 0; i < job->metadata_count; i++) {
		char key[32];

		snprintf(key, sizeof(key), "%.*s", SLICE_FMT(job->metadata[i].key));
		if (!is_text(metadata, key, job->metadata[i].value))
			return false;
	}
	if (job->link_revoked ? !json_is_null(json_object_get(data, "link"))
			      : !is_text(data, "link", slice_str(job->link)))
		return false;
	return is_text(body, "type", slice_str(type)) &&
	       is_text(data, "id", slice_of(uuid_format(&job->id).text, UUID_TEXT_SIZE)) &&
	       is_text(data, "queue", m->queues[job->queue].name) &&
	       is_text(data, "state", slice_str(job_state_names[job->state])) &&
	       json_object_size(metadata) == job->metadata_count && is_url(m, job, data, "preview") &&
	       is_url(m, job, data, "result") && is_error(job, json_object_get(data, "error"));
}

/* The body that the engine wrote, where it says what it has to. */
static struct slice learn_body(const struct model *m, const struct model_job *job, const struct uuid *delivery)
{
	struct slice got = m->body(m->body_user, delivery);
	json_t *body = json_loadb(got.data, got.size, 0, NULL);
	bool right = body && tells_of(m, job, body);

	json_decref(body);
	return right ? got : slice_str("what became of the job");
}

/* ---- deliveries ---- */

static void fill(struct model *m, const struct model_job *job, struct model_job *ret)
{
	static const struct pair url = { .key = { "url", 3 }, .value = { "https://example.test/done", 25 } };

	ret->queue = model_find_queue(m, slice_str("_webhooks"));
	if (ret->queue < 0)
		ret->queue = model_add_queue(m, slice_str("_webhooks"));
	ret->priority = 5;
	ret->max_attempts = ATTEMPTS;
	ret->result_ttl_ms = -1;
	ret->created_at_ms = ret->run_at_ms = m->now_ms;
	ret->backoff = (struct model_backoff){ -1, -1, -1, -1 };
	ret->content_type = slice_str("application/json");
	ret->traceparent = job->traceparent;
	ret->metadata = &url;
	ret->metadata_count = 1;
	ret->payload = learn_body(m, job, &ret->id);
	ret->bytes = (int64_t)ret->payload.size;
}

static void deliver(struct model *m, const struct uuid *id)
{
	const struct model_job *job = model_find_job(m, id);
	struct model_job told = { 0 }, *made;

	/* It was erased at once. */
	if (!job || job->gone)
		return;
	told.id = delivery_of(job);
	fill(m, job, &told);
	m->queues[told.queue].put_total++;
	made = model_find_job(m, &told.id);
	if (!made)
		made = model_insert(m, &told.id);
	*made = told;
	model_enter(m, made, JOB_READY);
}

void model_outbox_flush(struct model *m)
{
	for (size_t i = 0; i < m->ended_count; i++)
		deliver(m, &m->ended[i]);
	m->ended_count = 0;
}

int model_redeliver(struct model *m, struct model_job *job)
{
	struct model_job *told = model_delivery(m, job);

	if (!job_state_final(job->state) || job->callback_url.size == 0)
		return ERR_INVALID_STATE;
	if (told && (told->state == JOB_READY || told->state == JOB_RUNNING))
		return 0;
	if (told && told->state == JOB_SCHEDULED) {
		told->run_at_ms = m->now_ms;
		model_event(m, told, false);
		model_enter(m, told, JOB_READY);
		return 1;
	}
	if (told)
		model_forget(m, told);
	model_outbox_tell(m, job);
	return 1;
}
