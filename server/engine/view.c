#include "server/engine/view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/clean.h"
#include "proto/base/text.h"
#include "server/engine/estimate.h"
#include "server/engine/filter.h"
#include "server/engine/terms.h"
#include "server/store/keys.h"

#define POSITION_STEPS 1000 /* counted exactly up to here; beyond, told as a bound */
#define LIST	       "job.list"
#define LIST_STEPS     20000 /* records that one page of a list may look at */

static int read_queue(struct store_txn *t, uint32_t number, struct queue_record *ret)
{
	struct key key = key_queue(number);
	struct slice bytes;
	int rc;

	rc = store_get(t, TABLE_QUEUES, key_slice(&key), &bytes);
	if (rc == 0)
		rc = record_read_queue(bytes, ret);
	return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
}

/* ---- place in line ---- */

int view_position(struct store_txn *t, const struct queue_record *q, const struct job *job, int64_t *ret)
{
	struct key from = key_ready_from(job->queue, job->priority);
	struct slice key, value;
	uint64_t first_tag = 0, tag = 0;
	int64_t better = 0, own = 0;
	int rc;

	for (int p = 0; p < job->priority; p++)
		better += q->ready[p];
	for (rc = store_seek(t, TABLE_READY, key_slice(&from), &key, &value); rc == 0 && own < POSITION_STEPS;
	     rc = store_next(t, TABLE_READY, &key, &value)) {
		struct uuid id;
		uint32_t queue;
		uint8_t priority;

		if (key_read_ready(key, &queue, &priority, &tag, &id) < 0 || queue != job->queue ||
		    priority != job->priority)
			break;
		if (++own == 1)
			first_tag = tag;
		if (tag >= job->tag)
			break;
	}
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	if (own == POSITION_STEPS && job->tag > tag) {
		int64_t by_tag = (int64_t)(job->tag - first_tag) + 1;

		own = by_tag < q->ready[job->priority] ? by_tag : q->ready[job->priority];
	}
	*ret = better + (own > 0 ? own : 1);
	return 0;
}

static int fill_place(struct store_txn *t, const struct queue_record *q, int64_t now_ms, const struct job *r,
		      struct msg_job *job)
{
	int64_t waiting = 0;
	int rc = 0;

	switch ((enum job_state)r->state) {
	case JOB_READY:
		job->has_position = true;
		rc = view_position(t, q, r, &job->position);
		job->has_eta_ms = estimate_done(q, now_ms, job->position, 0, &job->eta_ms);
		break;
	case JOB_RUNNING:
		job->has_eta_ms = estimate_done(q, now_ms, 0, r->started_at_ms, &job->eta_ms);
		break;
	case JOB_SCHEDULED:
		/* It will find its line about as long as it is now. */
		for (int p = 0; p <= r->priority; p++)
			waiting += q->ready[p];
		job->has_eta_ms = estimate_done(q, now_ms, waiting + 1, 0, &job->eta_ms);
		if (r->run_at_ms > now_ms)
			job->eta_ms += r->run_at_ms - now_ms;
		break;
	default:
		break;
	}
	return rc;
}

/* ---- jobs ---- */

static void fill_record(const struct job *r, const struct queue_record *q, struct msg_job *job)
{
	job->has_state = job->has_attempt = job->has_max_attempts = true;
	job->state = r->state;
	job->attempt = r->attempt;
	job->max_attempts = terms_max_attempts(r, q);
	job->has_priority = job->has_created_at_ms = true;
	job->priority = r->priority;
	job->created_at_ms = r->created_at_ms;
	job->has_run_at_ms = r->run_at_ms != 0;
	job->run_at_ms = r->run_at_ms;
	job->has_started_at_ms = r->started_at_ms != 0;
	job->started_at_ms = r->started_at_ms;
	job->has_finished_at_ms = r->finished_at_ms != 0;
	job->finished_at_ms = r->finished_at_ms;
	job->has_deadline_at_ms = r->deadline_at_ms != 0;
	job->deadline_at_ms = r->deadline_at_ms;
	job->has_progress = r->has_progress;
	job->progress = (double)r->progress;
	job->has_note = r->note.size > 0;
	job->note = r->note;
	job->has_error = r->error_at_ms != 0;
	job->error = (struct msg_job_error){
		.has_kind = true,
		.kind = r->error_kind,
		.has_message = true,
		.message = r->error_message,
		.has_at_ms = true,
		.at_ms = r->error_at_ms,
	};
}

static void fill_input(struct job_view *v)
{
	const struct job_input *in = &v->input;
	struct msg_job *job = &v->job;

	job->has_group = in->group.size > 0;
	job->group = in->group;
	job->has_title = in->title.size > 0;
	job->title = in->title;
	job->has_content_type = in->content_type.size > 0;
	job->content_type = in->content_type;
	job->has_payload_size = true;
	job->payload_size = (int64_t)in->payload.size;
	job->has_metadata = true;
	job->metadata = v->metadata;
	job->metadata_count = input_metadata(in, v->metadata, VIEW_METADATA);
	job->has_callback = in->callback_url.size > 0;
	job->callback = (struct msg_callback){ .has_url = true, .url = in->callback_url };
}

static int fill_artifacts(struct store_txn *t, const struct uuid *id, struct job_view *v)
{
	struct key from = key_job(id);
	struct slice key, value;
	int rc;

	v->job.has_artifacts = true;
	v->job.artifacts = v->artifacts;
	for (rc = store_seek(t, TABLE_ARTIFACTS, key_slice(&from), &key, &value);
	     rc == 0 && v->job.artifacts_count < VIEW_ARTIFACTS; rc = store_next(t, TABLE_ARTIFACTS, &key, &value)) {
		size_t n = v->job.artifacts_count;
		struct artifact a;
		struct slice name;
		struct uuid owner;

		if (key_read_artifact(key, &owner, &name) < 0 || !uuid_equal(&owner, id))
			break;
		/* A damaged one is not shown; the others are. */
		if (record_read_artifact(value, &a) < 0)
			continue;
		hex_encode(a.sha256, sizeof(a.sha256), v->sha256[n]);
		v->artifacts[n] = (struct msg_artifact){
			.has_name = true,
			.name = name,
			.has_content_type = true,
			.content_type = a.content_type,
			.has_size = true,
			.size = a.size,
			.has_sha256 = true,
			.sha256 = slice_of(v->sha256[n], 64),
		};
		v->job.artifacts_count++;
	}
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* What is still known of a job that is gone: its link. ERR_GONE, ERR_NOT_FOUND where it never was. */
static int load_tombstone(struct store_txn *t, const struct key *key, struct job *ret)
{
	struct tombstone stone;
	struct slice bytes;
	int rc;

	rc = store_get(t, TABLE_TOMBSTONES, key_slice(key), &bytes);
	if (rc == 0)
		rc = record_read_tombstone(bytes, &stone);
	if (rc < 0)
		return rc;
	ret->link_generation = stone.link_generation;
	ret->link_revoked = stone.link_revoked;
	return ERR_GONE;
}

/* ERR_CORRUPT also for one whose record reads well again: it is in no count. */
static int refuse_set_aside(struct store_txn *t, const struct key *key)
{
	struct slice value;
	int64_t count;
	int rc;

	rc = store_count(t, TABLE_SET_ASIDE, &count);
	if (rc < 0 || count == 0)
		return rc;
	rc = store_get(t, TABLE_SET_ASIDE, key_slice(key), &value);
	return rc == 0 ? ERR_CORRUPT : rc == ERR_NOT_FOUND ? 0 : rc;
}

static int load(struct store_txn *t, const struct uuid *id, struct job_view *ret)
{
	struct key key = key_job(id);
	struct slice bytes;
	int rc;

	rc = store_get(t, TABLE_JOBS, key_slice(&key), &bytes);
	if (rc == ERR_NOT_FOUND)
		return load_tombstone(t, &key, &ret->record);
	if (rc == 0)
		rc = record_read_job(bytes, &ret->record);
	if (rc == 0)
		rc = refuse_set_aside(t, &key);
	if (rc == 0)
		rc = store_get(t, TABLE_INPUTS, key_slice(&key), &bytes);
	if (rc == 0)
		rc = record_read_input(bytes, &ret->input);
	return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
}

int view_job(struct store_txn *t, const struct settings *settings, int64_t now_ms, const struct uuid *id,
	     struct job_view *ret)
{
	struct queue_record q;
	struct link_token token;
	int rc;

	memset(&ret->job, 0, sizeof(ret->job));
	rc = load(t, id, ret);
	if (rc == 0)
		rc = read_queue(t, ret->record.queue, &q);
	if (rc < 0)
		return rc;
	ret->job.has_id = true;
	ret->job.id = *id;
	ret->job.has_queue = true;
	ret->job.queue = q.name;
	fill_record(&ret->record, &q, &ret->job);
	fill_input(ret);
	rc = fill_place(t, &q, now_ms, &ret->record, &ret->job);
	if (rc < 0)
		return rc;
	token = link_make(settings->link_secret, id, ret->record.link_generation);
	snprintf(ret->link, sizeof(ret->link), "%s/r/%s", settings->public_url, token.text);
	ret->job.has_link = !ret->record.link_revoked;
	ret->job.link = slice_str(ret->link);
	return fill_artifacts(t, id, ret);
}

int view_link(struct store_txn *t, const struct settings *settings, int64_t now_ms, struct slice token,
	      struct uuid *ret_id, struct job_view *ret)
{
	bool shaped = link_claim(token, ret_id) == 0;
	int rc;

	/* A token that is no token takes the same way as one that is, so that the time tells nothing. */
	if (!shaped)
		memset(ret_id, 0, sizeof(*ret_id));
	ret->record.link_generation = 0;
	ret->record.link_revoked = false;
	ret->record.artifacts_gone = false;
	rc = view_job(t, settings, now_ms, ret_id, ret);
	if (!link_matches(settings->link_secret, token, ret_id, ret->record.link_generation) || !shaped ||
	    ret->record.link_revoked)
		return ERR_NOT_FOUND;
	return rc == 0 && ret->record.artifacts_gone ? ERR_GONE : rc;
}

int view_artifact(struct store_txn *t, const struct uuid *job, struct slice name, struct artifact *ret)
{
	struct key key;
	struct slice bytes;
	int rc;

	if (!name_valid(name))
		return ERR_NOT_FOUND;
	key = key_artifact(job, name);
	rc = store_get(t, TABLE_ARTIFACTS, key_slice(&key), &bytes);
	return rc < 0 ? rc : record_read_artifact(bytes, ret);
}

int view_payload(struct store_txn *t, const struct uuid *id, struct msg_job_payload_result *ret)
{
	struct job_view *v = malloc(sizeof(*v));
	int rc;

	if (!v)
		return ERR_NO_MEMORY;
	rc = load(t, id, v);
	if (rc == 0)
		*ret = (struct msg_job_payload_result){
			.has_content_type = v->input.content_type.size > 0,
			.content_type = v->input.content_type,
			.has_data = true,
			.data = v->input.payload,
		};
	free(v);
	return rc;
}

/* ---- lists ---- */

int view_list_begin(const struct settings *settings, const struct msg_job_list *params, struct list_place *ret,
		    struct error_info *info)
{
	*ret = (struct list_place){
		.filter = { .has_queue = params->has_queue,
			    .queue = params->queue,
			    .has_state = params->has_state,
			    .state = params->state,
			    .has_group = params->has_group,
			    .group = params->group },
		.has_after = params->has_cursor,
	};
	if (!params->has_cursor)
		return 0;
	return cursor_read(settings->link_secret, LIST, &ret->filter, params->cursor, &ret->after, info);
}

struct cursor_text view_list_cursor(const struct settings *settings, const struct list_place *place)
{
	return cursor_make(settings->link_secret, LIST, &place->filter, &place->after);
}

/* The next older job. ERR_NOT_FOUND past the oldest. */
static int step_back(struct store_txn *t, struct list_place *place, struct slice *ret_record)
{
	struct key before = key_job(&place->after);
	struct slice key;
	int rc;

	rc = store_seek_back(t, TABLE_JOBS, place->has_after ? key_slice(&before) : slice_of(NULL, 0), &key,
			     ret_record);
	if (rc == 0)
		rc = key_read_job(key, &place->after);
	place->has_after = true;
	return rc;
}

int view_list(struct store_txn *t, const struct settings *settings, int64_t now_ms, struct list_place *place,
	      struct job_view *ret, size_t cap, size_t *ret_count, bool *ret_more)
{
	struct filter filter;
	size_t count = 0;
	int rc;

	rc = filter_begin(t, &place->filter, &filter);
	for (int step = 0; rc == 0 && step < LIST_STEPS && count < cap; step++) {
		struct slice record;
		struct job job;
		bool wanted;

		rc = step_back(t, place, &record);
		/* A damaged one is not shown; the others are. */
		if (rc < 0 || record_read_job(record, &job) < 0)
			continue;
		rc = filter_matches(t, &filter, &place->after, &job, &wanted);
		if (rc < 0 || !wanted)
			continue;
		rc = view_job(t, settings, now_ms, &place->after, &ret[count]);
		if (rc == 0)
			count++;
		else if (rc == ERR_CORRUPT)
			rc = 0;
	}
	*ret_count = count;
	*ret_more = rc == 0;
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* ---- queues ---- */

static struct msg_counts counts_of(const int64_t counts[JOB_STATES])
{
	return (struct msg_counts){
		.has_scheduled = true,
		.scheduled = counts[JOB_SCHEDULED],
		.has_ready = true,
		.ready = counts[JOB_READY],
		.has_running = true,
		.running = counts[JOB_RUNNING],
		.has_succeeded = true,
		.succeeded = counts[JOB_SUCCEEDED],
		.has_dead = true,
		.dead = counts[JOB_DEAD],
		.has_canceled = true,
		.canceled = counts[JOB_CANCELED],
		.has_expired = true,
		.expired = counts[JOB_EXPIRED],
	};
}

/* When the job that has waited longest in any priority became ready; by its id's moment, which is when it was put. */
static int oldest_ready(struct store_txn *t, uint32_t number, const struct queue_record *q, bool *ret_found,
			int64_t *ret_at_ms)
{
	*ret_found = false;
	for (uint8_t p = 0; p < PRIORITIES; p++) {
		struct key from = key_ready_from(number, p);
		struct slice key, value;
		struct uuid id;
		uint32_t queue;
		uint8_t priority;
		uint64_t tag;
		int rc;

		if (q->ready[p] <= 0)
			continue;
		rc = store_seek(t, TABLE_READY, key_slice(&from), &key, &value);
		if (rc < 0 && rc != ERR_NOT_FOUND)
			return rc;
		if (rc < 0 || key_read_ready(key, &queue, &priority, &tag, &id) < 0 || queue != number)
			continue;
		if (!*ret_found || uuid_ms(&id) < *ret_at_ms)
			*ret_at_ms = uuid_ms(&id);
		*ret_found = true;
	}
	return 0;
}

int view_queue(struct store_txn *t, uint32_t number, const struct queue_record *q, struct msg_queue *ret)
{
	struct backoff backoff = terms_backoff(NULL, q);

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
		.max_attempts = q->max_attempts > 0 ? q->max_attempts : DEFAULT_MAX_ATTEMPTS,
		.has_backoff = true,
		.backoff = { .has_base_ms = true,
			     .base_ms = backoff.base_ms,
			     .has_factor = true,
			     .factor = backoff.factor,
			     .has_max_ms = true,
			     .max_ms = backoff.max_ms,
			     .has_jitter = true,
			     .jitter = backoff.jitter },
		.has_attempt_timeout_ms = q->attempt_timeout_ms > 0,
		.attempt_timeout_ms = q->attempt_timeout_ms,
		.has_result_ttl_ms = q->result_ttl_ms >= 0,
		.result_ttl_ms = q->result_ttl_ms,
		.has_counts = true,
		.counts = counts_of(q->counts),
		.has_bytes = true,
		.bytes = q->bytes,
		.has_put_total = true,
		.put_total = q->put_total,
	};
	return oldest_ready(t, number, q, &ret->has_oldest_ready_at_ms, &ret->oldest_ready_at_ms);
}

int view_queue_by_name(struct store_txn *t, struct slice name, struct msg_queue *ret)
{
	struct queue_record q;
	uint32_t number;
	int rc;

	rc = filter_find_queue(t, name, &number);
	if (rc == 0)
		rc = read_queue(t, number, &q);
	if (rc == 0)
		rc = view_queue(t, number, &q, ret);
	return rc;
}

int view_queues(struct store_txn *t, struct msg_queue **ret, size_t *ret_count)
{
	_cleanup_free_ struct msg_queue *items = NULL;
	int64_t total;
	size_t count = 0;
	int rc;

	rc = store_count(t, TABLE_QUEUES, &total);
	if (rc < 0)
		return rc;
	items = calloc((size_t)total + 1, sizeof(*items));
	if (!items)
		return ERR_NO_MEMORY;
	for (uint32_t number = 0; number < (uint32_t)total; number++) {
		struct queue_record q;

		rc = read_queue(t, number, &q);
		/* A damaged one is not shown; the others are. */
		if (rc == ERR_CORRUPT)
			continue;
		if (rc == 0)
			rc = view_queue(t, number, &q, &items[count++]);
		if (rc < 0)
			return rc;
	}
	*ret = TAKE_PTR(items);
	*ret_count = count;
	return 0;
}

int view_totals(struct store_txn *t, struct msg_counts *ret, int64_t *ret_queues, int64_t *ret_put_total)
{
	int64_t counts[JOB_STATES] = { 0 };
	int64_t queues = 0, put_total = 0;
	struct slice key, value;
	int rc;

	for (rc = store_seek(t, TABLE_QUEUES, slice_of(NULL, 0), &key, &value); rc == 0;
	     rc = store_next(t, TABLE_QUEUES, &key, &value)) {
		struct queue_record q;

		if (record_read_queue(value, &q) < 0)
			continue;
		for (int i = 0; i < JOB_STATES; i++)
			counts[i] += q.counts[i];
		put_total += q.put_total;
		queues++;
	}
	if (rc != ERR_NOT_FOUND)
		return rc;
	*ret = counts_of(counts);
	*ret_queues = queues;
	*ret_put_total = put_total;
	return 0;
}
