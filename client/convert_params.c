/* Parameters: public structs to messages. What is not given (0, NULL) is left out. */
#include "convert_priv.h"

#include "proto/base/clean.h"
#include "proto/base/text.h"

int convert__no_memory(struct error_info *info)
{
	return error_set(info, ERR_NO_MEMORY, NULL, "%s", error_text(ERR_NO_MEMORY));
}

int convert_id(const char *text, const char *field, struct uuid *ret, struct error_info *info)
{
	if (!text || uuid_parse(slice_str(text), ret) < 0)
		return error_set(info, ERR_BAD_REQUEST, field, "is not a job's id");
	return 0;
}

static int convert_token(const char *text, const char *field, struct token *ret, struct error_info *info)
{
	if (!text || hex_decode(slice_str(text), ret->bytes, sizeof(ret->bytes)) < 0)
		return error_set(info, ERR_BAD_REQUEST, field, "must be 32 hexadecimal digits");
	return 0;
}

/* The pair that names an attempt. */
static int convert_attempt(const char *id, const char *lease, struct uuid *ret_id, struct token *ret_lease,
			   struct error_info *info)
{
	int err = convert_id(id, "id", ret_id, info);

	return err < 0 ? err : convert_token(lease, "lease", ret_lease, info);
}

static struct msg_media convert_media(const struct raincheck_media *in)
{
	return (struct msg_media){
		.has_content_type = true,
		.content_type = slice_str(in->content_type),
		.has_data = true,
		.data = slice_of(in->data.data, in->data.size),
	};
}

int convert_names(const char *const *in, size_t count, msgpack_zone *arena, struct slice **ret)
{
	struct slice *names = msgpack_zone_malloc(arena, count * sizeof(*names) + 1);

	if (!names)
		return ERR_NO_MEMORY;
	for (size_t i = 0; i < count; i++)
		names[i] = slice_str(in[i]);
	*ret = names;
	return 0;
}

int convert__too_many(struct error_info *info, const char *field, size_t count, size_t most)
{
	return error_set(info, ERR_TOO_LARGE, field, "has %zu entries, %zu are allowed", count, most);
}

/* ---- producers ---- */

static struct msg_backoff convert_backoff(const struct raincheck_backoff *in)
{
	return (struct msg_backoff){
		.has_base_ms = in->has_base_ms,
		.base_ms = in->base_ms,
		.has_factor = in->factor > 0,
		.factor = in->factor,
		.has_max_ms = in->max_ms > 0,
		.max_ms = in->max_ms,
		.has_jitter = in->has_jitter,
		.jitter = in->jitter,
	};
}

static int convert_metadata(const struct raincheck_put *in, msgpack_zone *arena, struct msg_job_put *ret,
			    struct error_info *info)
{
	struct pair *pairs;

	if (in->metadata_count == 0)
		return 0;
	if (in->metadata_count > MAX_METADATA)
		return convert__too_many(info, "metadata", in->metadata_count, MAX_METADATA);
	pairs = msgpack_zone_malloc(arena, in->metadata_count * sizeof(*pairs));
	if (!pairs)
		return convert__no_memory(info);
	for (size_t i = 0; i < in->metadata_count; i++)
		pairs[i] = (struct pair){ slice_str(in->metadata[i].key), slice_str(in->metadata[i].value) };
	ret->has_metadata = true;
	ret->metadata = pairs;
	ret->metadata_count = in->metadata_count;
	return 0;
}

int convert_put(const struct raincheck_put *in, msgpack_zone *arena, struct msg_job_put *ret, struct error_info *info)
{
	const struct raincheck_backoff *b = &in->backoff;

	*ret = (struct msg_job_put){ 0 };
	GIVE_TEXT(queue);
	GIVE_BYTES(payload);
	GIVE_TEXT(content_type);
	GIVE_IF(in->has_priority, priority);
	GIVE_INT(delay_ms);
	GIVE_INT(run_at_ms);
	GIVE_INT(start_deadline_ms);
	GIVE_INT(deadline_ms);
	GIVE_INT(attempt_timeout_ms);
	GIVE_INT(max_attempts);
	ret->has_backoff = b->has_base_ms || b->factor > 0 || b->max_ms > 0 || b->has_jitter;
	ret->backoff = convert_backoff(b);
	GIVE_TEXT(idempotency_key);
	GIVE_TEXT(group);
	GIVE_TEXT(title);
	ret->has_preview = in->preview.content_type != NULL;
	ret->preview = convert_media(&in->preview);
	GIVE_TEXT(callback_url);
	GIVE_IF(in->has_result_ttl_ms, result_ttl_ms);
	GIVE_TEXT(traceparent);
	return convert_metadata(in, arena, ret, info);
}

int convert_list(const struct raincheck_list *in, struct msg_job_list *ret, struct error_info *info)
{
	*ret = (struct msg_job_list){ 0 };
	if (in->has_state && (unsigned)in->state >= JOB_STATES)
		return error_set(info, ERR_BAD_REQUEST, "state", "is not a state");
	GIVE_TEXT(queue);
	ret->has_state = in->has_state;
	ret->state = (int)in->state;
	GIVE_TEXT(group);
	GIVE_INT(limit);
	GIVE_TEXT(cursor);
	return 0;
}

/* ---- workers ---- */

int convert_lease(const struct raincheck_lease *in, msgpack_zone *arena, struct msg_job_lease *ret,
		  struct error_info *info)
{
	*ret = (struct msg_job_lease){ .has_queues = true, .queues_count = in->queue_count };
	if (in->queue_count > MAX_QUEUES)
		return convert__too_many(info, "queues", in->queue_count, MAX_QUEUES);
	if (convert_names(in->queues, in->queue_count, arena, &ret->queues) < 0)
		return convert__no_memory(info);
	GIVE_INT(max);
	GIVE_INT(lease_ms);
	GIVE_INT(wait_ms);
	if (in->wait_ms < 0 || in->wait_ms > MAX_WAIT_MS)
		return error_set(info, ERR_BAD_REQUEST, "wait_ms", "must be from 0 to %d", MAX_WAIT_MS);
	return 0;
}

static int convert_extend_item(const struct raincheck_extend_item *in, struct msg_extend_item *ret,
			       struct error_info *info)
{
	*ret = (struct msg_extend_item){ .has_id = true, .has_lease = true };
	GIVE_IF(in->has_progress, progress);
	GIVE_TEXT(note);
	return convert_attempt(in->id, in->lease, &ret->id, &ret->lease, info);
}

static int prefix_index(struct error_info *info, const char *name, size_t index, int err)
{
	char place[64];

	snprintf(place, sizeof(place), "%s[%zu]", name, index);
	error_prefix(info, place);
	return err;
}

int convert_extend(const struct raincheck_extend *in, msgpack_zone *arena, struct msg_job_extend *ret,
		   struct error_info *info)
{
	struct msg_extend_item *items;
	int err;

	*ret = (struct msg_job_extend){ .has_leases = true, .leases_count = in->lease_count };
	GIVE_INT(lease_ms);
	if (in->lease_count > MAX_BATCH)
		return convert__too_many(info, "leases", in->lease_count, MAX_BATCH);
	items = msgpack_zone_malloc(arena, in->lease_count * sizeof(*items) + 1);
	if (!items)
		return convert__no_memory(info);
	for (size_t i = 0; i < in->lease_count; i++) {
		err = convert_extend_item(&in->leases[i], &items[i], info);
		if (err < 0)
			return prefix_index(info, "leases", i, err);
	}
	ret->leases = items;
	return 0;
}

int convert_checkpoint(const struct raincheck_checkpoint *in, struct msg_job_checkpoint *ret, struct error_info *info)
{
	*ret = (struct msg_job_checkpoint){ .has_id = true, .has_lease = true };
	GIVE_BYTES(data);
	return convert_attempt(in->id, in->lease, &ret->id, &ret->lease, info);
}

int convert_complete(const struct raincheck_complete *in, struct msg_complete_item *ret, struct error_info *info)
{
	*ret = (struct msg_complete_item){ .has_id = true, .has_lease = true };
	ret->has_result = in->result.content_type != NULL;
	ret->result = convert_media(&in->result);
	GIVE_INT(call_ms);
	return convert_attempt(in->id, in->lease, &ret->id, &ret->lease, info);
}

int convert_complete_many(const struct raincheck_complete *in, size_t count, msgpack_zone *arena,
			  struct msg_job_complete *ret, struct error_info *info)
{
	struct msg_complete_item *items;
	int err;

	*ret = (struct msg_job_complete){ .has_jobs = true, .jobs_count = count };
	if (count > MAX_BATCH)
		return convert__too_many(info, "jobs", count, MAX_BATCH);
	items = msgpack_zone_malloc(arena, count * sizeof(*items) + 1);
	if (!items)
		return convert__no_memory(info);
	for (size_t i = 0; i < count; i++) {
		err = convert_complete(&in[i], &items[i], info);
		if (err < 0)
			return prefix_index(info, "jobs", i, err);
	}
	ret->jobs = items;
	return 0;
}

int convert_fail(const struct raincheck_fail *in, struct msg_job_fail *ret, struct error_info *info)
{
	*ret = (struct msg_job_fail){ .has_id = true, .has_lease = true, .has_kind = true, .kind = (int)in->kind };
	if ((unsigned)in->kind >= FAIL_KINDS)
		return error_set(info, ERR_BAD_REQUEST, "kind", "is not a kind of failure");
	GIVE_TEXT(message);
	GIVE_INT(retry_after_ms);
	GIVE_INT(call_ms);
	return convert_attempt(in->id, in->lease, &ret->id, &ret->lease, info);
}

int convert_release(const struct raincheck_release *in, struct msg_job_release *ret, struct error_info *info)
{
	*ret = (struct msg_job_release){ .has_id = true, .has_lease = true };
	GIVE_INT(delay_ms);
	return convert_attempt(in->id, in->lease, &ret->id, &ret->lease, info);
}

int convert_woken(const struct raincheck_woken *in, struct msg_job_woken *ret, struct error_info *info)
{
	*ret = (struct msg_job_woken){ .has_id = true, .has_lease = true, .has_hook = true, .hook = in->hook };
	return convert_attempt(in->id, in->lease, &ret->id, &ret->lease, info);
}

/* ---- artifacts ---- */

int convert_artifact_put(const struct raincheck_artifact_put *in, struct msg_artifact_put *ret, struct error_info *info)
{
	int err;

	*ret = (struct msg_artifact_put){ .has_id = true, .has_lease = in->lease != NULL };
	GIVE_TEXT(name);
	GIVE_TEXT(content_type);
	GIVE_BYTES(data);
	err = convert_id(in->id, "id", &ret->id, info);
	if (err < 0 || !in->lease)
		return err;
	return convert_token(in->lease, "lease", &ret->lease, info);
}

int convert_artifact_begin(const struct raincheck_artifact_begin *in, struct msg_artifact_begin *ret,
			   struct error_info *info)
{
	*ret = (struct msg_artifact_begin){ .has_id = true, .has_lease = true };
	GIVE_TEXT(name);
	GIVE_TEXT(content_type);
	GIVE_IF(in->has_size, size);
	return convert_attempt(in->id, in->lease, &ret->id, &ret->lease, info);
}

int convert_artifact_write(const struct raincheck_artifact_write *in, struct msg_artifact_write *ret,
			   struct error_info *info)
{
	*ret = (struct msg_artifact_write){ .has_upload = true };
	GIVE(offset);
	GIVE_BYTES(data);
	return convert_token(in->upload, "upload", &ret->upload, info);
}

int convert_artifact_commit(const struct raincheck_artifact_commit *in, struct msg_artifact_commit *ret,
			    struct error_info *info)
{
	*ret = (struct msg_artifact_commit){ .has_upload = true };
	GIVE_TEXT(sha256);
	return convert_token(in->upload, "upload", &ret->upload, info);
}

int convert_artifact_read(const struct raincheck_artifact_read *in, struct msg_artifact_read *ret,
			  struct error_info *info)
{
	*ret = (struct msg_artifact_read){ .has_id = true };
	GIVE_TEXT(name);
	GIVE_INT(offset);
	GIVE_INT(length);
	return convert_id(in->id, "id", &ret->id, info);
}

/* ---- operators ---- */

int convert_change(const struct raincheck_change *in, struct msg_job_change *ret, struct error_info *info)
{
	const struct raincheck_filter *f = &in->filter;

	*ret = (struct msg_job_change){ .has_filter = true };
	if (f->has_state && (unsigned)f->state >= JOB_STATES)
		return error_set(info, ERR_BAD_REQUEST, "filter.state", "is not a state");
	ret->filter = (struct msg_job_filter){
		.has_queue = f->queue != NULL,
		.queue = slice_str(f->queue),
		.has_state = f->has_state,
		.state = (int)f->state,
		.has_group = f->group != NULL,
		.group = slice_str(f->group),
		.has_before_at_ms = f->before_at_ms != 0,
		.before_at_ms = f->before_at_ms,
		.has_all = f->all,
		.all = f->all,
	};
	GIVE_INT(limit);
	GIVE_TEXT(cursor);
	return 0;
}

static void convert_queue_backoff(const struct raincheck_queue_set *in, struct msg_queue_set *ret)
{
	struct msg_backoff *b = &ret->backoff;
	bool given;

	*b = convert_backoff(&in->backoff);
	given = b->has_base_ms || b->has_factor || b->has_max_ms || b->has_jitter;
	ret->has_backoff = given || (in->defaults & RAINCHECK_QUEUE_BACKOFF) != 0;
	if (!given && (in->defaults & RAINCHECK_QUEUE_BACKOFF) == RAINCHECK_QUEUE_BACKOFF) {
		ret->has_backoff = false;
		MESSAGE_SET_NIL(queue_set, ret, backoff);
		return;
	}
	TAKE_BACK(RAINCHECK_QUEUE_BACKOFF_BASE, backoff, b, base_ms);
	TAKE_BACK(RAINCHECK_QUEUE_BACKOFF_FACTOR, backoff, b, factor);
	TAKE_BACK(RAINCHECK_QUEUE_BACKOFF_MAX, backoff, b, max_ms);
	TAKE_BACK(RAINCHECK_QUEUE_BACKOFF_JITTER, backoff, b, jitter);
}

static int convert_weights(const struct raincheck_queue_set *in, msgpack_zone *arena, struct msg_queue_set *ret,
			   struct error_info *info)
{
	struct group_weight *weights;

	if (in->weight_count == 0)
		return 0;
	if (in->weight_count > MAX_WEIGHTS)
		return convert__too_many(info, "weights", in->weight_count, MAX_WEIGHTS);
	weights = msgpack_zone_malloc(arena, in->weight_count * sizeof(*weights));
	if (!weights)
		return convert__no_memory(info);
	for (size_t i = 0; i < in->weight_count; i++) {
		const struct raincheck_group_weight *w = &in->weights[i];

		if (w->weight < 1 || w->weight > MAX_WEIGHT)
			return error_set(info, ERR_BAD_REQUEST, "weights", "the weight of %.128s must be 1 to %d",
					 w->group ? w->group : "", MAX_WEIGHT);
		weights[i] = (struct group_weight){ slice_str(w->group), (uint32_t)w->weight };
	}
	ret->has_weights = true;
	ret->weights = weights;
	ret->weights_count = in->weight_count;
	return 0;
}

static void take_back(const struct raincheck_queue_set *in, struct msg_queue_set *ret)
{
	TAKE_BACK(RAINCHECK_QUEUE_TITLE, queue_set, ret, title);
	TAKE_BACK(RAINCHECK_QUEUE_PAUSED, queue_set, ret, paused);
	TAKE_BACK(RAINCHECK_QUEUE_MAX_JOBS, queue_set, ret, max_jobs);
	TAKE_BACK(RAINCHECK_QUEUE_MAX_BYTES, queue_set, ret, max_bytes);
	TAKE_BACK(RAINCHECK_QUEUE_MAX_ATTEMPTS, queue_set, ret, max_attempts);
	TAKE_BACK(RAINCHECK_QUEUE_ATTEMPT_TIMEOUT, queue_set, ret, attempt_timeout_ms);
	TAKE_BACK(RAINCHECK_QUEUE_RESULT_TTL, queue_set, ret, result_ttl_ms);
	TAKE_BACK(RAINCHECK_QUEUE_LIMIT, queue_set, ret, limit);
	TAKE_BACK(RAINCHECK_QUEUE_WEIGHT, queue_set, ret, weight);
	TAKE_BACK(RAINCHECK_QUEUE_WEIGHTS, queue_set, ret, weights);
	TAKE_BACK(RAINCHECK_QUEUE_ADMIT, queue_set, ret, admit);
}

int convert_queue_set(const struct raincheck_queue_set *in, msgpack_zone *arena, struct msg_queue_set *ret,
		      struct error_info *info)
{
	int err;

	*ret = (struct msg_queue_set){ 0 };
	if (!in->queue)
		return error_set(info, ERR_BAD_REQUEST, "queue", "is missing");
	if (in->has_admit && (unsigned)in->admit >= ADMISSIONS)
		return error_set(info, ERR_BAD_REQUEST, "admit", "is not a way to admit");
	GIVE_TEXT(queue);
	GIVE_TEXT(title);
	GIVE_IF(in->has_paused, paused);
	GIVE_IF(in->has_max_jobs, max_jobs);
	GIVE_IF(in->has_max_bytes, max_bytes);
	GIVE_INT(max_attempts);
	GIVE_INT(attempt_timeout_ms);
	GIVE_IF(in->has_result_ttl_ms, result_ttl_ms);
	GIVE_TEXT(limit);
	GIVE_INT(weight);
	ret->has_admit = in->has_admit;
	ret->admit = (int)in->admit;
	convert_queue_backoff(in, ret);
	err = convert_weights(in, arena, ret, info);
	take_back(in, ret);
	return err;
}
