/* The tables, entry by entry. */
#include "tests/sim/compare.h"

#include <stdlib.h>
#include <string.h>

#include "proto/base/clean.h"
#include "server/store/keys.h"
#include "server/store/records.h"

static void same(struct sim *s, const char *what, const char *field, int64_t expected, int64_t got)
{
	if (expected != got)
		sim_fail(s, "%s: %s is %lld, expected %lld", what, field, (long long)got, (long long)expected);
}

#define SAME(field, expected, got) same(s, what, field, (int64_t)(expected), (int64_t)(got))

static void same_text(struct sim *s, const char *what, const char *field, struct slice expected, struct slice got)
{
	if (!slice_equal(expected, got))
		sim_fail(s, "%s: %s is \"%.*s\", expected \"%.*s\"", what, field, SLICE_FMT(got), SLICE_FMT(expected));
}

/* ---- after a batch ---- */

void compare_events(struct sim *s, const struct job_event *events, size_t count)
{
	const char *what = "events";

	for (size_t i = 0; i < count && i < s->model->events_count; i++) {
		const struct job_event *e = &s->model->events[i];

		if (!uuid_equal(&events[i].id, &e->id))
			sim_fail(s, "event %zu is about %s, expected %s", i, uuid_format(&events[i].id).text,
				 uuid_format(&e->id).text);
		SAME("final", e->final, events[i].final);
		SAME("from_holder", e->from_holder, events[i].from_holder);
		SAME("to_holder", e->to_holder, events[i].to_holder);
		SAME("called_back", e->called_back, events[i].called_back);
		if (events[i].damage)
			sim_fail(s, "an event tells of damage: %s", events[i].damage);
		if (e->called_back && memcmp(&events[i].lease, &e->lease, sizeof(e->lease)) != 0)
			sim_fail(s, "an event names another lease");
	}
	SAME("number", s->model->events_count, count);
}

static int by_id(const void *a, const void *b)
{
	return uuid_compare(a, b);
}

void compare_garbage(struct sim *s, const struct uuid *ids, size_t count)
{
	_cleanup_free_ struct uuid *sorted = calloc(count + 1, sizeof(*sorted));
	const char *what = "files that may go";

	SAME("number", s->model->garbage_count, count);
	if (!sorted)
		abort();
	if (count == 0)
		return;
	memcpy(sorted, ids, count * sizeof(*sorted));
	qsort(sorted, count, sizeof(*sorted), by_id);
	qsort(s->model->garbage, count, sizeof(*sorted), by_id);
	if (memcmp(sorted, s->model->garbage, count * sizeof(*sorted)) != 0)
		sim_fail(s, "other files may go than expected");
}

/* ---- reading a table from one end to the other ---- */

struct walk {
	struct sim *s;
	struct store_txn *t;
	enum store_table table;
	const char *what;
	bool begun;
};

/* The next entry; fails where there is none. */
static void walk_next(struct walk *w, struct slice *ret_key, struct slice *ret_value)
{
	int rc = w->begun ? store_next(w->t, w->table, ret_key, ret_value)
			  : store_seek(w->t, w->table, slice_of(NULL, 0), ret_key, ret_value);

	w->begun = true;
	if (rc < 0)
		sim_fail(w->s, "%s: an entry is missing: %s", w->what, error_text(rc));
}

/* And there is no more. */
static void walk_end(struct walk *w)
{
	struct slice key, value;
	int rc = w->begun ? store_next(w->t, w->table, &key, &value)
			  : store_seek(w->t, w->table, slice_of(NULL, 0), &key, &value);

	if (rc != ERR_NOT_FOUND)
		sim_fail(w->s, "%s: there are more entries than expected", w->what);
}

/* The next entry is this job's. */
static struct slice walk_job(struct walk *w, const struct model_job *job)
{
	struct slice key, value;

	walk_next(w, &key, &value);
	if (!slice_equal(key, slice_of(job->id.bytes, sizeof(job->id.bytes))))
		sim_fail(w->s, "%s: an entry is missing or too many before %s", w->what, uuid_format(&job->id).text);
	return value;
}

#define WALK(name, the_table, word) struct walk name = { .s = s, .t = t, .table = (the_table), .what = (word) }

/* ---- jobs ---- */

static void compare_times(struct sim *s, const char *what, const struct model_job *j, const struct job *r)
{
	SAME("created_at_ms", j->created_at_ms, r->created_at_ms);
	SAME("run_at_ms", j->run_at_ms, r->run_at_ms);
	SAME("start_deadline_at_ms", j->start_deadline_at_ms, r->start_deadline_at_ms);
	SAME("deadline_at_ms", j->deadline_at_ms, r->deadline_at_ms);
	SAME("started_at_ms", j->started_at_ms, r->started_at_ms);
	SAME("finished_at_ms", j->finished_at_ms, r->finished_at_ms);
	SAME("lease_expires_at_ms", j->lease_expires_at_ms, r->lease_expires_at_ms);
	SAME("attempt_deadline_at_ms", j->attempt_deadline_at_ms, r->attempt_deadline_at_ms);
	SAME("expires_at_ms", j->expires_at_ms, r->expires_at_ms);
	SAME("due_at_ms", model_due(j), r->due_at_ms);
}

static void compare_record(struct sim *s, const struct model_job *j, const struct job *r)
{
	char what[UUID_TEXT_SIZE + 8];

	memcpy(what, "job ", 4);
	memcpy(what + 4, uuid_format(&j->id).text, UUID_TEXT_SIZE + 1);
	SAME("queue", j->queue, r->queue);
	SAME("state", j->state, r->state);
	SAME("priority", j->priority, r->priority);
	SAME("attempt", j->attempt, r->attempt);
	SAME("max_attempts", j->max_attempts, r->max_attempts);
	compare_times(s, what, j, r);
	SAME("error_at_ms", j->error_at_ms, r->error_at_ms);
	SAME("error_kind", j->error_kind, r->error_kind);
	if (j->error_message.data)
		same_text(s, what, "error_message", j->error_message, r->error_message);
	SAME("call_ms", j->call_ms, r->call_ms);
	SAME("result_ttl_ms", j->result_ttl_ms, r->result_ttl_ms);
	SAME("bytes", j->bytes, r->bytes);
	SAME("has_progress", j->has_progress, r->has_progress);
	same_text(s, what, "note", j->note, r->note);
	SAME("link_revoked", j->link_revoked, r->link_revoked);
	SAME("has_callback", j->callback_url.size > 0, r->has_callback);
	SAME("artifacts_gone", j->artifacts_gone, r->artifacts_gone);
	SAME("holder", j->holder, r->holder);
	/* One that has ended says nothing any more. */
	if ((j->state == JOB_RUNNING || j->lease_called_back) && memcmp(&j->lease, &r->lease, sizeof(j->lease)) != 0)
		sim_fail(s, "%s: the lease is another", what);
}

static void compare_backoff(struct sim *s, const char *what, const struct model_backoff *m, const struct backoff *b)
{
	SAME("backoff.base_ms", m->base_ms, b->base_ms);
	SAME("backoff.max_ms", m->max_ms, b->max_ms);
	SAME("backoff.factor", m->factor * 100, b->factor * 100);
	SAME("backoff.jitter", m->jitter * 100, b->jitter * 100);
}

static void compare_input(struct sim *s, const struct model_job *j, const struct job_input *in)
{
	struct pair pairs[MAX_METADATA];
	const char *what = "input";

	same_text(s, what, "content_type", j->content_type, in->content_type);
	same_text(s, what, "group", j->group, in->group);
	same_text(s, what, "title", j->title, in->title);
	same_text(s, what, "idempotency_key", j->idempotency_key, in->idempotency_key);
	same_text(s, what, "callback_url", j->callback_url, in->callback_url);
	same_text(s, what, "traceparent", j->traceparent, in->traceparent);
	same_text(s, what, "payload", j->payload, in->payload);
	SAME("attempt_timeout_ms", j->attempt_timeout_ms, in->attempt_timeout_ms);
	compare_backoff(s, what, &j->backoff, &in->backoff);
	SAME("metadata", j->metadata_count, input_metadata(in, pairs, MAX_METADATA));
	for (size_t i = 0; i < j->metadata_count; i++) {
		same_text(s, what, "metadata", j->metadata[i].key, pairs[i].key);
		same_text(s, what, "metadata", j->metadata[i].value, pairs[i].value);
	}
}

static void compare_jobs(struct sim *s, struct store_txn *t)
{
	WALK(jobs, TABLE_JOBS, "jobs");
	WALK(inputs, TABLE_INPUTS, "inputs");
	WALK(checkpoints, TABLE_CHECKPOINTS, "checkpoints");
	WALK(tombstones, TABLE_TOMBSTONES, "tombstones");
	WALK(aside, TABLE_SET_ASIDE, "jobs set aside");

	for (size_t i = 0; i < s->model->jobs_count; i++) {
		const struct model_job *j = &s->model->jobs[i];
		const char *what = "tombstone";
		struct job_input input;
		struct slice data;
		struct job job;
		struct tombstone stone;

		if (j->gone) {
			if (record_read_tombstone(walk_job(&tombstones, j), &stone) < 0)
				sim_fail(s, "a tombstone is damaged");
			SAME("moment", j->gone_until_ms, stone.until_ms);
			continue;
		}
		if (record_read_job(walk_job(&jobs, j), &job) < 0 ||
		    record_read_input(walk_job(&inputs, j), &input) < 0)
			sim_fail(s, "a record is damaged");
		compare_record(s, j, &job);
		compare_input(s, j, &input);
		what = "checkpoint";
		if (!j->has_checkpoint)
			continue;
		if (record_read_checkpoint(slice_of(j->id.bytes, sizeof(j->id.bytes)), walk_job(&checkpoints, j),
					   &data) < 0)
			sim_fail(s, "a checkpoint is damaged");
		same_text(s, what, "data", j->checkpoint, data);
	}
	walk_end(&jobs);
	walk_end(&inputs);
	walk_end(&checkpoints);
	walk_end(&tombstones);
	walk_end(&aside);
}

/* ---- indexes ---- */

static int in_line(const void *a, const void *b)
{
	const struct model_job *x = *(struct model_job *const *)a, *y = *(struct model_job *const *)b;

	if (x->queue != y->queue)
		return x->queue < y->queue ? -1 : 1;
	if (x->priority != y->priority)
		return x->priority < y->priority ? -1 : 1;
	if (x->place != y->place)
		return x->place < y->place ? -1 : 1;
	return uuid_compare(&x->id, &y->id);
}

static int by_due(const void *a, const void *b)
{
	const struct model_job *x = *(struct model_job *const *)a, *y = *(struct model_job *const *)b;
	int64_t due_x = model_due(x), due_y = model_due(y);

	if (due_x != due_y)
		return due_x < due_y ? -1 : 1;
	return uuid_compare(&x->id, &y->id);
}

static const struct model_job *sorted[MODEL_JOBS];

static void compare_line(struct sim *s, struct store_txn *t)
{
	WALK(line, TABLE_READY, "ready jobs");
	size_t count = 0;

	for (size_t i = 0; i < s->model->jobs_count; i++)
		if (!s->model->jobs[i].gone && s->model->jobs[i].state == JOB_READY)
			sorted[count++] = &s->model->jobs[i];
	qsort(sorted, count, sizeof(sorted[0]), in_line);
	for (size_t i = 0; i < count; i++) {
		const char *what = "line";
		struct slice key, value;
		struct uuid id;
		uint32_t queue;
		uint8_t priority;
		uint64_t tag;

		walk_next(&line, &key, &value);
		if (key_read_ready(key, &queue, &priority, &tag, &id) < 0)
			sim_fail(s, "an entry of the line is damaged");
		if (!uuid_equal(&id, &sorted[i]->id))
			sim_fail(s, "place %zu in line is %s's, expected %s", i, uuid_format(&id).text,
				 uuid_format(&sorted[i]->id).text);
		SAME("queue", sorted[i]->queue, queue);
		SAME("priority", sorted[i]->priority, priority);
		SAME("tag", sorted[i]->place, tag);
	}
	walk_end(&line);
}

static void compare_due(struct sim *s, struct store_txn *t)
{
	WALK(due, TABLE_DUE, "due entries");
	size_t count = 0;

	for (size_t i = 0; i < s->model->jobs_count; i++)
		if (model_due(&s->model->jobs[i]) != 0)
			sorted[count++] = &s->model->jobs[i];
	qsort(sorted, count, sizeof(sorted[0]), by_due);
	for (size_t i = 0; i < count; i++) {
		const char *what = "due entry";
		struct slice key, value;
		struct uuid id;
		uint32_t queue;
		uint8_t state, priority;
		int64_t at_ms;

		walk_next(&due, &key, &value);
		if (key_read_due(key, &at_ms, &id) < 0)
			sim_fail(s, "a due entry is damaged");
		if (!uuid_equal(&id, &sorted[i]->id))
			sim_fail(s, "due entry %zu is %s's, expected %s", i, uuid_format(&id).text,
				 uuid_format(&sorted[i]->id).text);
		SAME("moment", model_due(sorted[i]), at_ms);
		SAME("a job's", !sorted[i]->gone, due_value_read(value, &queue, &state, &priority) == 0);
		if (sorted[i]->gone)
			continue;
		SAME("queue", sorted[i]->queue, queue);
		SAME("state", sorted[i]->state, state);
		SAME("priority", sorted[i]->priority, priority);
	}
	walk_end(&due);
}

static void compare_keys(struct sim *s, struct store_txn *t)
{
	const char *what = "idempotency keys";
	int64_t count = 0, got;

	for (size_t i = 0; i < s->model->jobs_count; i++) {
		const struct model_job *j = &s->model->jobs[i];
		struct slice value;
		struct key key;

		if (j->gone || j->idempotency_key.size == 0)
			continue;
		count++;
		key = key_idempotency((uint32_t)j->queue, j->idempotency_key);
		if (store_get(t, TABLE_IDEMPOTENCY, key_slice(&key), &value) < 0 ||
		    !slice_equal(value, slice_of(j->id.bytes, sizeof(j->id.bytes))))
			sim_fail(s, "the idempotency key of %s leads elsewhere", uuid_format(&j->id).text);
	}
	if (store_count(t, TABLE_IDEMPOTENCY, &got) < 0)
		sim_fail(s, "the idempotency keys cannot be counted");
	SAME("number", count, got);
}

/* ---- artifacts ---- */

static void compare_artifact(struct sim *s, struct store_txn *t, const struct model_artifact *a)
{
	struct key key = key_artifact(&a->job, a->name), blob = key_job(&a->blob);
	const char *what = "artifact";
	struct artifact r;
	struct slice value;

	if (store_get(t, TABLE_ARTIFACTS, key_slice(&key), &value) < 0 ||
	    record_read_artifact(key_slice(&key), value, &r) < 0)
		sim_fail(s, "artifact %.*s of %s is missing", SLICE_FMT(a->name), uuid_format(&a->job).text);
	same_text(s, what, "content_type", a->content_type, r.content_type);
	SAME("size", a->size, r.size);
	SAME("created_at_ms", a->created_at_ms, r.created_at_ms);
	SAME("in a file", a->has_blob, r.has_blob);
	if (memcmp(a->sha256, r.sha256, sizeof(a->sha256)) != 0)
		sim_fail(s, "the hash of an artifact is another");
	if (!a->has_blob) {
		same_text(s, what, "data", a->data, r.data);
		return;
	}
	if (!uuid_equal(&a->blob, &r.blob) || store_get(t, TABLE_BLOBS, key_slice(&blob), &value) < 0 ||
	    !slice_equal(value, slice_of(a->job.bytes, sizeof(a->job.bytes))))
		sim_fail(s, "the file of an artifact is another, or not listed");
}

static void compare_artifacts(struct sim *s, struct store_txn *t)
{
	const char *what = "artifacts";
	int64_t count, blobs, files = 0;

	for (size_t i = 0; i < s->model->artifacts_count; i++) {
		compare_artifact(s, t, &s->model->artifacts[i]);
		files += s->model->artifacts[i].has_blob;
	}
	if (store_count(t, TABLE_ARTIFACTS, &count) < 0 || store_count(t, TABLE_BLOBS, &blobs) < 0)
		sim_fail(s, "the artifacts cannot be counted");
	SAME("number", s->model->artifacts_count, count);
	SAME("files", files, blobs);
}

/* ---- queues ---- */

static void compare_queue(struct sim *s, int number, const struct queue_record *r)
{
	const struct model_queue *q = &s->model->queues[number];
	const char *what = "queue";
	int64_t ready[PRIORITIES] = { 0 };

	for (size_t i = 0; i < s->model->jobs_count; i++) {
		const struct model_job *j = &s->model->jobs[i];

		if (!j->gone && j->queue == number && j->state == JOB_READY)
			ready[j->priority]++;
	}
	same_text(s, what, "name", q->name, r->name);
	same_text(s, what, "title", q->title, r->title);
	SAME("paused", q->paused, r->paused);
	SAME("max_jobs", q->max_jobs, r->max_jobs);
	SAME("max_bytes", q->max_bytes, r->max_bytes);
	SAME("max_attempts", q->max_attempts, r->max_attempts);
	compare_backoff(s, what, &q->backoff, &r->backoff);
	SAME("attempt_timeout_ms", q->attempt_timeout_ms, r->attempt_timeout_ms);
	SAME("result_ttl_ms", q->result_ttl_ms, r->result_ttl_ms);
	SAME("bytes", model_bytes(s->model, number), r->bytes);
	for (int i = 0; i < JOB_STATES; i++)
		SAME(job_state_names[i], model_count(s->model, number, i), r->counts[i]);
	for (int i = 0; i < PRIORITIES; i++)
		SAME("ready of a priority", ready[i], r->ready[i]);
	SAME("put_total", q->put_total, r->put_total);
	SAME("lease_total", q->lease_total, r->lease_total);
	same_text(s, what, "limit", q->limit < 0 ? slice_of(NULL, 0) : s->model->limits[q->limit].name, r->limit);
}

static void compare_queues(struct sim *s, struct store_txn *t)
{
	WALK(queues, TABLE_QUEUES, "queues");
	const char *what = "queue names";
	int64_t names;

	for (size_t i = 0; i < s->model->queues_count; i++) {
		struct key name = key_name(s->model->queues[i].name);
		struct slice key, value, number;
		struct queue_record record;

		walk_next(&queues, &key, &value);
		if (record_read_queue(value, &record) < 0)
			sim_fail(s, "a queue's record is damaged");
		compare_queue(s, (int)i, &record);
		if (store_get(t, TABLE_NAMES, key_slice(&name), &number) < 0 || !slice_equal(number, key))
			sim_fail(s, "a queue's name leads elsewhere");
	}
	walk_end(&queues);
	if (store_count(t, TABLE_NAMES, &names) < 0)
		sim_fail(s, "the names cannot be counted");
	SAME("number", s->model->queues_count, names);
}

void compare_state(struct sim *s)
{
	struct store_txn *t;

	if (store_begin_read(s->store, &t) < 0)
		sim_fail(s, "the store cannot be read");
	compare_jobs(s, t);
	compare_line(s, t);
	compare_due(s, t);
	compare_keys(s, t);
	compare_artifacts(s, t);
	compare_queues(s, t);
	compare_views(s, t);
	store_abort(t);
}
