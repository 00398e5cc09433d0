#include "server/engine/view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/clean.h"
#include "proto/base/text.h"
#include "server/engine/filter.h"
#include "server/engine/outbox.h"
#include "server/engine/place.h"
#include "server/engine/terms.h"
#include "server/flow/estimate.h"
#include "server/store/keys.h"

#define LIST	   "job.list"
#define LIST_STEPS 20000 /* records that one page of a list may look at */

int view_read_queue(struct store_txn *t, uint32_t number, struct queue_record *ret)
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

/* Of a job that is not in line yet: only what will still be there when it is. */
static void fill_waiting(const struct hindrance *h, const struct job *r, struct msg_job *job)
{
	job->has_waiting_for = h->there && (r->state == JOB_READY || h->until_ms == 0 || h->until_ms > r->run_at_ms);
	job->waiting_for = (struct msg_waiting){ .has_reason = true,
						 .reason = (int)h->reason,
						 .has_until_at_ms = h->until_ms != 0,
						 .until_at_ms = h->until_ms };
}

static int fill_line(struct store_txn *t, const struct queue_record *q, int64_t now_ms, const struct job *r,
		     struct msg_job *job, struct estimate *eta)
{
	struct hindrance h = { 0 };
	struct place place;
	int rc;

	rc = place_hindrance(t, q, now_ms, &h);
	/* Whoever was in line before comes back to the same place. */
	if (rc == 0 && r->tag != 0)
		rc = place_of_job(t, q, &job->id, r, &place);
	else
		place = place_of_scheduled(q, r);
	if (rc < 0)
		return rc;
	fill_waiting(&h, r, job);
	if (r->state == JOB_SCHEDULED && h.until_ms < r->run_at_ms)
		h.until_ms = r->run_at_ms;
	job->has_position = r->state == JOB_READY;
	job->position = place.most;
	job->has_eta_ms = place_eta(q, now_ms, &place, h.until_ms, eta);
	return 0;
}

static int fill_place(struct store_txn *t, const struct queue_record *q, int64_t now_ms, const struct job *r,
		      struct msg_job *job)
{
	struct estimate eta = { 0 };
	int rc = 0;

	if (r->state == JOB_RUNNING)
		job->has_eta_ms = estimate_running(&q->pace, now_ms, r->started_at_ms, &eta);
	else if (r->state == JOB_READY || r->state == JOB_SCHEDULED)
		rc = fill_line(t, q, now_ms, r, job, &eta);
	job->eta_ms = (struct msg_eta){ .has_low = true, .low = eta.low_ms, .has_high = true, .high = eta.high_ms };
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
		if (record_read_artifact(key, value, &a) < 0)
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

/* What became of the webhook that tells of the job's end. One that is gone, or damaged, is not shown. */
static int fill_delivery(struct store_txn *t, const struct uuid *id, struct job_view *v)
{
	struct msg_callback *c = &v->job.callback;
	struct uuid delivery;
	struct slice bytes;
	struct job job;
	struct key key;
	int rc;

	if (!v->record.has_callback || !job_state_final(v->record.state))
		return 0;
	delivery = outbox_id(id, v->record.finished_at_ms);
	key = key_job(&delivery);
	rc = store_get(t, TABLE_JOBS, key_slice(&key), &bytes);
	if (rc == 0)
		rc = record_read_job(bytes, &job);
	if (rc < 0)
		return rc == ERR_NOT_FOUND || rc == ERR_CORRUPT ? 0 : rc;
	c->has_id = c->has_state = c->has_attempts = true;
	c->id = delivery;
	c->state = job.state;
	c->attempts = job.attempt;
	return 0;
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
		rc = view_read_queue(t, ret->record.queue, &q);
	if (rc < 0)
		return rc;
	ret->job.has_id = true;
	ret->job.id = *id;
	ret->job.has_queue = true;
	ret->job.queue = q.name;
	fill_record(&ret->record, &q, &ret->job);
	fill_input(ret);
	rc = fill_delivery(t, id, ret);
	if (rc == 0)
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
	return rc < 0 ? rc : record_read_artifact(key_slice(&key), bytes, ret);
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
