/* Results: messages to public structs. Texts are copied into the arena to end in a NUL; an allocation that fails is
 * remembered in the converter and told once, at the end. Those of operators' calls: convert_admin.c, convert_limits.c.
 */
#include "convert_priv.h"

#include <stdio.h>
#include <string.h>

#include "proto/base/clean.h"
#include "proto/base/text.h"

/* Before a result that owns its memory. */
struct owner {
	msgpack_zone *arena;
	uint64_t magic;
};

#define OWNER_MAGIC 0x7261696e63686b21u

void *convert__take(struct converter *c, size_t count, size_t size)
{
	/* One byte more, so that an empty array is not a failure. */
	void *p = msgpack_zone_malloc(c->arena, count * size + 1);

	if (p)
		memset(p, 0, count * size + 1);
	else
		c->failed = true;
	return p;
}

const char *convert__text(struct converter *c, bool has, struct slice s)
{
	char *p = has ? convert__take(c, s.size, 1) : NULL;

	if (p && s.size > 0)
		memcpy(p, s.data, s.size);
	return p;
}

static struct raincheck_bytes bytes(struct converter *c, bool has, struct slice s)
{
	if (!has)
		return (struct raincheck_bytes){ 0 };
	if (c->copy)
		return (struct raincheck_bytes){ convert__text(c, true, s), s.size };
	return (struct raincheck_bytes){ s.data, s.size };
}

static void id(const struct uuid *u, char ret[RAINCHECK_ID_SIZE])
{
	memcpy(ret, uuid_format(u).text, RAINCHECK_ID_SIZE);
}

static void token(const struct token *t, char ret[RAINCHECK_TOKEN_SIZE])
{
	hex_encode(t->bytes, sizeof(t->bytes), ret);
	ret[RAINCHECK_TOKEN_SIZE - 1] = '\0';
}

static const struct raincheck_error *error(struct converter *c, bool has, const struct msg_error *in)
{
	struct raincheck_error *e = has ? convert__take(c, 1, sizeof(*e)) : NULL;

	if (!e)
		return NULL;
	e->code = error_from_name(in->code);
	e->retry_after_ms = in->retry_after_ms;
	snprintf(e->message, sizeof(e->message), "%.*s", SLICE_FMT(in->message));
	snprintf(e->field, sizeof(e->field), "%.*s", SLICE_FMT(in->field));
	return e;
}

static const struct raincheck_pair *pairs(struct converter *c, const struct pair *in, size_t count)
{
	struct raincheck_pair *out = convert__take(c, count, sizeof(*out));

	for (size_t i = 0; out && i < count; i++) {
		out[i].key = convert__text(c, true, in[i].key);
		out[i].value = convert__text(c, true, in[i].value);
	}
	return out;
}

static struct raincheck_eta eta(const struct msg_eta *in)
{
	return (struct raincheck_eta){ .low_ms = in->low, .high_ms = in->high };
}

/* ---- one function a result: from the message at in to the zeroed public struct at out ---- */

static void ping(struct converter *c, const void *message, void *result)
{
	const struct msg_ping_result *in = message;
	struct raincheck_ping_result *out = result;

	(void)c;
	out->now_ms = in->now_ms;
}

static void put(struct converter *c, const void *message, void *result)
{
	const struct msg_job_put_result *in = message;
	struct raincheck_put_result *out = result;

	out->error = error(c, in->has_error, &in->error);
	if (in->has_id)
		id(&in->id, out->id);
	out->created = in->created;
	out->state = (enum raincheck_job_state)in->state;
	out->link = convert__text(c, in->has_link, in->link);
	out->has_position = in->has_position;
	out->position = in->position;
	out->has_eta = in->has_eta_ms;
	out->eta = eta(&in->eta_ms);
}

static void put_many(struct converter *c, const void *message, void *result)
{
	const struct msg_job_put_many_result *in = message;
	struct raincheck_put_many_result *out = result;
	struct raincheck_put_result *jobs = convert__take(c, in->jobs_count, sizeof(*jobs));

	for (size_t i = 0; jobs && i < in->jobs_count; i++)
		put(c, &in->jobs[i], &jobs[i]);
	out->jobs = jobs;
	out->job_count = in->jobs_count;
}

static void job_times(const struct msg_job *in, struct raincheck_job *out)
{
	out->created_at_ms = in->created_at_ms;
	out->run_at_ms = in->run_at_ms;
	out->started_at_ms = in->started_at_ms;
	out->finished_at_ms = in->finished_at_ms;
	out->deadline_at_ms = in->deadline_at_ms;
	out->has_progress = in->has_progress;
	out->progress = in->progress;
	out->has_position = in->has_position;
	out->position = in->position;
	out->has_eta = in->has_eta_ms;
	out->eta = eta(&in->eta_ms);
	out->has_waiting_for = in->has_waiting_for;
	out->waiting_for = (enum raincheck_wait_reason)in->waiting_for.reason;
	out->waiting_until_at_ms = in->waiting_for.until_at_ms;
}

static void job_parts(struct converter *c, const struct msg_job *in, struct raincheck_job *out)
{
	struct raincheck_job_error *failure = in->has_error ? convert__take(c, 1, sizeof(*failure)) : NULL;
	struct raincheck_callback *callback = in->has_callback ? convert__take(c, 1, sizeof(*callback)) : NULL;
	struct raincheck_artifact *artifacts = convert__take(c, in->artifacts_count, sizeof(*artifacts));

	if (failure) {
		failure->kind = (enum raincheck_failure)in->error.kind;
		failure->message = convert__text(c, true, in->error.message);
		failure->at_ms = in->error.at_ms;
	}
	if (callback) {
		callback->url = convert__text(c, true, in->callback.url);
		callback->has_delivery = in->callback.has_id && in->callback.has_state;
		if (callback->has_delivery)
			memcpy(callback->id, uuid_format(&in->callback.id).text, sizeof(callback->id));
		callback->state = (enum raincheck_job_state)in->callback.state;
		callback->attempts = in->callback.attempts;
	}
	for (size_t i = 0; artifacts && i < in->artifacts_count; i++) {
		artifacts[i].name = convert__text(c, true, in->artifacts[i].name);
		artifacts[i].content_type = convert__text(c, true, in->artifacts[i].content_type);
		artifacts[i].size = in->artifacts[i].size;
		artifacts[i].sha256 = convert__text(c, true, in->artifacts[i].sha256);
	}
	out->error = failure;
	out->callback = callback;
	out->artifacts = artifacts;
	out->artifact_count = in->artifacts_count;
}

static void job(struct converter *c, const void *message, void *result)
{
	const struct msg_job *in = message;
	struct raincheck_job *out = result;

	id(&in->id, out->id);
	out->queue = convert__text(c, true, in->queue);
	out->state = (enum raincheck_job_state)in->state;
	out->attempt = in->attempt;
	out->max_attempts = in->max_attempts;
	out->priority = in->priority;
	out->group = convert__text(c, in->has_group, in->group);
	out->title = convert__text(c, in->has_title, in->title);
	out->note = convert__text(c, in->has_note, in->note);
	out->link = convert__text(c, in->has_link, in->link);
	out->metadata = pairs(c, in->metadata, in->metadata_count);
	out->metadata_count = in->metadata_count;
	out->payload_size = in->payload_size;
	out->content_type = convert__text(c, in->has_content_type, in->content_type);
	job_times(in, out);
	job_parts(c, in, out);
}

static void payload(struct converter *c, const void *message, void *result)
{
	const struct msg_job_payload_result *in = message;
	struct raincheck_payload *out = result;

	out->content_type = convert__text(c, in->has_content_type, in->content_type);
	out->data = bytes(c, true, in->data);
}

static void list(struct converter *c, const void *message, void *result)
{
	const struct msg_job_list_result *in = message;
	struct raincheck_list_result *out = result;
	struct raincheck_job *jobs = convert__take(c, in->jobs_count, sizeof(*jobs));

	for (size_t i = 0; jobs && i < in->jobs_count; i++)
		job(c, &in->jobs[i], &jobs[i]);
	out->jobs = jobs;
	out->job_count = in->jobs_count;
	out->cursor = convert__text(c, in->has_cursor, in->cursor);
}

static void change(struct converter *c, const void *message, void *result)
{
	const struct msg_job_change_result *in = message;
	struct raincheck_change_result *out = result;

	out->count = in->count;
	out->cursor = convert__text(c, in->has_cursor, in->cursor);
}

static void link_of(struct converter *c, const void *message, void *result)
{
	const struct msg_link_result *in = message;
	struct raincheck_link *out = result;

	out->link = convert__text(c, true, in->link);
}

static void leased_job(struct converter *c, const struct msg_leased_job *in, struct raincheck_leased_job *out)
{
	id(&in->id, out->id);
	token(&in->lease, out->lease);
	out->queue = convert__text(c, true, in->queue);
	out->attempt = in->attempt;
	out->payload = bytes(c, true, in->payload);
	out->content_type = convert__text(c, in->has_content_type, in->content_type);
	out->priority = in->priority;
	out->lease_expires_at_ms = in->lease_expires_at_ms;
	out->attempt_deadline_at_ms = in->attempt_deadline_at_ms;
	out->deadline_at_ms = in->deadline_at_ms;
	out->has_checkpoint = in->has_checkpoint;
	out->checkpoint = bytes(c, in->has_checkpoint, in->checkpoint);
	out->metadata = pairs(c, in->metadata, in->metadata_count);
	out->metadata_count = in->metadata_count;
	out->traceparent = convert__text(c, in->has_traceparent, in->traceparent);
	out->hook_url = convert__text(c, in->has_hook_url, in->hook_url);
}

static void lease(struct converter *c, const void *message, void *result)
{
	const struct msg_job_lease_result *in = message;
	struct raincheck_lease_result *out = result;
	struct raincheck_leased_job *jobs = convert__take(c, in->jobs_count, sizeof(*jobs));

	for (size_t i = 0; jobs && i < in->jobs_count; i++)
		leased_job(c, &in->jobs[i], &jobs[i]);
	out->jobs = jobs;
	out->job_count = in->jobs_count;
}

static void extend(struct converter *c, const void *message, void *result)
{
	const struct msg_job_extend_result *in = message;
	struct raincheck_extend_result *out = result;
	struct raincheck_extended *leases = convert__take(c, in->leases_count, sizeof(*leases));

	for (size_t i = 0; leases && i < in->leases_count; i++) {
		id(&in->leases[i].id, leases[i].id);
		leases[i].status = (enum raincheck_extend_status)in->leases[i].status;
	}
	out->leases = leases;
	out->lease_count = in->leases_count;
}

static void complete(struct converter *c, const void *message, void *result)
{
	const struct msg_job_complete_result *in = message;
	struct raincheck_complete_result *out = result;
	struct raincheck_completed *jobs = convert__take(c, in->jobs_count, sizeof(*jobs));

	for (size_t i = 0; jobs && i < in->jobs_count; i++) {
		jobs[i].error = error(c, in->jobs[i].has_error, &in->jobs[i].error);
		if (in->jobs[i].has_id)
			id(&in->jobs[i].id, jobs[i].id);
		jobs[i].state = (enum raincheck_job_state)in->jobs[i].state;
	}
	out->state = (enum raincheck_job_state)in->state;
	out->jobs = jobs;
	out->job_count = in->jobs_count;
}

static void fail(struct converter *c, const void *message, void *result)
{
	const struct msg_job_fail_result *in = message;
	struct raincheck_fail_result *out = result;

	(void)c;
	out->state = (enum raincheck_job_state)in->state;
	out->next_attempt_at_ms = in->next_attempt_at_ms;
}

static void release(struct converter *c, const void *message, void *result)
{
	const struct msg_job_release_result *in = message;
	struct raincheck_release_result *out = result;

	(void)c;
	out->state = (enum raincheck_job_state)in->state;
}

static void stored(struct converter *c, const void *message, void *result)
{
	const struct msg_artifact_stored *in = message;
	struct raincheck_stored *out = result;

	(void)c;
	out->size = in->size;
	snprintf(out->sha256, sizeof(out->sha256), "%.*s", SLICE_FMT(in->sha256));
}

static void upload(struct converter *c, const void *message, void *result)
{
	const struct msg_artifact_begin_result *in = message;
	struct raincheck_upload *out = result;

	(void)c;
	token(&in->upload, out->upload);
}

static void written(struct converter *c, const void *message, void *result)
{
	const struct msg_artifact_write_result *in = message;
	struct raincheck_written *out = result;

	(void)c;
	out->offset = in->offset;
}

static void artifact_data(struct converter *c, const void *message, void *result)
{
	const struct msg_artifact_read_result *in = message;
	struct raincheck_artifact_data *out = result;

	out->content_type = convert__text(c, true, in->content_type);
	out->size = in->size;
	out->offset = in->offset;
	out->data = bytes(c, true, in->data);
}

/* ---- which is whose ---- */

struct result_kind {
	size_t size; /* of the public struct; 0: the result says nothing */
	void (*convert)(struct converter *c, const void *message, void *result);
};

#define KIND(type, function)                              \
	{                                                 \
		sizeof(struct raincheck_##type), function \
	}

static const struct result_kind kinds[METHODS] = {
	[METHOD_session_ping] = KIND(ping_result, ping),
	[METHOD_job_put] = KIND(put_result, put),
	[METHOD_job_put_many] = KIND(put_many_result, put_many),
	[METHOD_job_lease] = KIND(lease_result, lease),
	[METHOD_job_extend] = KIND(extend_result, extend),
	[METHOD_job_complete] = KIND(complete_result, complete),
	[METHOD_job_fail] = KIND(fail_result, fail),
	[METHOD_job_release] = KIND(release_result, release),
	[METHOD_job_get] = KIND(job, job),
	[METHOD_job_wait] = KIND(job, job),
	[METHOD_job_payload] = KIND(payload, payload),
	[METHOD_job_list] = KIND(list_result, list),
	[METHOD_job_cancel] = KIND(change_result, change),
	[METHOD_job_retry] = KIND(change_result, change),
	[METHOD_job_redeliver] = KIND(change_result, change),
	[METHOD_job_erase] = KIND(change_result, change),
	[METHOD_link_rotate] = KIND(link, link_of),
	[METHOD_artifact_put] = KIND(stored, stored),
	[METHOD_artifact_begin] = KIND(upload, upload),
	[METHOD_artifact_write] = KIND(written, written),
	[METHOD_artifact_commit] = KIND(stored, stored),
	[METHOD_artifact_read] = KIND(artifact_data, artifact_data),
	[METHOD_queue_list] = KIND(queue_list, convert__queue_list),
	[METHOD_queue_get] = KIND(queue, convert__queue),
	[METHOD_queue_set] = KIND(queue, convert__queue),
	[METHOD_queue_pause] = KIND(queue, convert__queue),
	[METHOD_queue_resume] = KIND(queue, convert__queue),
	[METHOD_queue_purge] = KIND(purge_result, convert__purge),
	[METHOD_limit_list] = KIND(limit_list, convert__limit_list),
	[METHOD_limit_get] = KIND(limit, convert__limit),
	[METHOD_limit_set] = KIND(limit, convert__limit),
	[METHOD_worker_list] = KIND(worker_list, convert__worker_list),
	[METHOD_worker_quiet] = KIND(worker_told, convert__worker_told),
	[METHOD_worker_stop] = KIND(worker_told, convert__worker_told),
	[METHOD_server_stats] = KIND(stats, convert__stats),
	[METHOD_server_backup] = KIND(backup_result, convert__backup),
	[METHOD_server_check] = KIND(check_result, convert__check),
};

size_t convert_count_items(enum method_id method, const void *message)
{
	switch (method) {
	case METHOD_job_put_many:
		return ((const struct msg_job_put_many_result *)message)->jobs_count;
	case METHOD_job_complete:
		return ((const struct msg_job_complete_result *)message)->jobs_count;
	case METHOD_job_extend:
		return ((const struct msg_job_extend_result *)message)->leases_count;
	default:
		return 0;
	}
}

int convert_result(enum method_id method, const void *message, msgpack_zone *arena, bool copy, void **ret)
{
	struct converter c = { arena, copy, false };
	struct result_kind kind = kinds[method];
	struct owner *owner;

	*ret = NULL;
	if (kind.size == 0)
		return 0;
	owner = convert__take(&c, 1, sizeof(*owner) + kind.size);
	if (!owner)
		return ERR_NO_MEMORY;
	kind.convert(&c, message, owner + 1);
	if (c.failed)
		return ERR_NO_MEMORY;
	*ret = owner + 1;
	return 0;
}

int convert_owned_result(enum method_id method, const void *message, void **ret)
{
	msgpack_zone *arena = msgpack_zone_new(MSGPACK_ZONE_CHUNK_SIZE);
	void *result;
	int err;

	if (!arena)
		return ERR_NO_MEMORY;
	err = convert_result(method, message, arena, true, &result);
	if (err < 0 || !result) {
		msgpack_zone_free(arena);
		if (err == 0)
			*ret = NULL;
		return err;
	}
	((struct owner *)result)[-1] = (struct owner){ arena, OWNER_MAGIC };
	*ret = result;
	return 0;
}

void raincheck_free(void *result)
{
	struct owner *owner;

	if (!result)
		return;
	owner = (struct owner *)result - 1;
	/* What a callback was shown is not the caller's to free. */
	if (owner->magic == OWNER_MAGIC)
		msgpack_zone_free(owner->arena);
}
