#include "server/engine/queues_repair.h"

#include <string.h>

#include <stdio.h>

#include "server/engine/queues.h"
#include "server/engine/terms.h"
#include "server/flow/fair.h"
#include "server/store/keys.h"

/* ---- the record ---- */

static int find_name(struct store_txn *t, uint32_t number, char room[QUEUE_NAME_SIZE])
{
	struct slice key, value;
	int rc;

	for (rc = store_seek(t, TABLE_NAMES, slice_of(NULL, 0), &key, &value); rc == 0;
	     rc = store_next(t, TABLE_NAMES, &key, &value)) {
		uint32_t named;

		if (key_read_queue(value, &named) < 0 || named != number || key.size >= QUEUE_NAME_SIZE)
			continue;
		snprintf(room, QUEUE_NAME_SIZE, "%.*s", SLICE_FMT(key));
		return 0;
	}
	return rc;
}

static bool name_taken(struct store_txn *t, const char *name)
{
	struct key key = key_name(slice_str(name));
	struct slice value;

	return store_get(t, TABLE_NAMES, key_slice(&key), &value) == 0;
}

int queues_repair_record(struct store_txn *t, uint32_t number, char room[QUEUE_NAME_SIZE], struct queue_record *ret,
			 bool *ret_named)
{
	int rc = find_name(t, number, room);

	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	*ret_named = rc == 0;
	if (!*ret_named)
		snprintf(room, QUEUE_NAME_SIZE, "recovered-%u", number);
	for (unsigned i = 2; !*ret_named && name_taken(t, room); i++)
		snprintf(room, QUEUE_NAME_SIZE, "recovered-%u-%u", number, i);
	*ret = terms_new_queue(slice_str(room));
	ret->paused = true;
	return 0;
}

/* ---- its counts ---- */

/* The queue of that number, where it is to be counted. */
static struct queue_record *repaired(struct queues *qs, uint32_t number)
{
	struct queue *q = queues_get(qs, number);

	return q && (q->repaired || q->record.recount) ? &q->record : NULL;
}

static void count(struct queue_record *q, uint8_t state, uint8_t priority, int64_t bytes)
{
	q->counts[state]++;
	if (state == JOB_READY)
		q->ready[priority]++;
	if (!job_state_final(state))
		q->bytes += bytes;
}

static void count_job(struct queues *qs, const struct job *job)
{
	struct queue_record *q = repaired(qs, job->queue);

	if (!q)
		return;
	count(q, job->state, job->priority, job->bytes);
	if (!q->recount)
		q->put_total++;
	/* Of a record that was damaged the lines are lost too. Whoever comes after does not stand before those who are
	 * in them. */
	if (!q->recount && job->tag > 0 && job->priority < PRIORITIES)
		fair_recover(&q->lines[job->priority], job->tag);
}

/* *ret_unknown: it is damaged, and tells nothing of its queue. */
static void count_record(struct queues *qs, struct store_txn *t, struct slice id, struct slice value, bool *ret_unknown)
{
	struct slice aside;
	struct job job;

	if (store_get(t, TABLE_SET_ASIDE, id, &aside) == 0)
		return;
	if (record_read_job(value, &job) == 0)
		count_job(qs, &job);
	else
		*ret_unknown = true;
}

/* Those behind last, where a damaged page is in the way of whoever goes from one to the next: each has an input. */
static int count_by_inputs(struct queues *qs, struct store_txn *t, const struct key *last, bool *ret_unknown)
{
	struct slice input, value;
	int rc;

	for (rc = store_seek(t, TABLE_INPUTS, key_slice(last), &input, &value); rc == 0;
	     rc = store_next(t, TABLE_INPUTS, &input, &value)) {
		struct key id = key_copy(input);

		if (last->size > 0 && slice_compare(key_slice(&id), key_slice(last)) == 0)
			continue;
		rc = store_get(t, TABLE_JOBS, key_slice(&id), &value);
		if (rc == 0 || rc == ERR_CORRUPT)
			count_record(qs, t, key_slice(&id), rc == 0 ? value : slice_of(NULL, 0), ret_unknown);
		else if (rc != ERR_NOT_FOUND)
			return rc;
	}
	return rc;
}

/* *ret_unknown: there are damaged records among them, which tell nothing of their queue. */
static int count_jobs(struct queues *qs, struct store_txn *t, bool *ret_unknown)
{
	struct key last = { .size = 0 };
	struct slice key, value;
	int rc;

	*ret_unknown = false;
	for (rc = store_seek(t, TABLE_JOBS, slice_of(NULL, 0), &key, &value); rc == 0;
	     rc = store_next(t, TABLE_JOBS, &key, &value)) {
		last = key_copy(key);
		count_record(qs, t, key, value, ret_unknown);
	}
	if (rc == ERR_STORE_ERROR && store_error_is_damage())
		rc = count_by_inputs(qs, t, &last, ret_unknown);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* A job that is damaged and not yet set aside: it counts until it is, by what its index entries say of it. */
static bool counts_unseen(struct store_txn *t, const struct uuid *id, int64_t *ret_bytes)
{
	struct key key = key_job(id);
	struct job_input input;
	struct slice value;
	struct job job;
	int rc = store_get(t, TABLE_JOBS, key_slice(&key), &value);

	*ret_bytes = 0;
	/* A damaged page hides it, else. */
	if ((rc < 0 && rc != ERR_CORRUPT) || (rc == 0 && record_read_job(value, &job) == 0) ||
	    store_get(t, TABLE_SET_ASIDE, key_slice(&key), &value) == 0)
		return false;
	if (store_get(t, TABLE_INPUTS, key_slice(&key), &value) == 0 && record_read_input(value, &input) == 0)
		*ret_bytes = (int64_t)input.payload.size;
	return true;
}

static int count_unseen_ready(struct queues *qs, struct store_txn *t)
{
	struct slice key, value;
	int rc;

	for (rc = store_seek(t, TABLE_READY, slice_of(NULL, 0), &key, &value); rc == 0;
	     rc = store_next(t, TABLE_READY, &key, &value)) {
		uint8_t priority;
		uint32_t number;
		int64_t bytes;
		struct uuid id;
		uint64_t tag;

		if (key_read_ready(key, &number, &priority, &tag, &id) < 0 || priority >= PRIORITIES ||
		    !repaired(qs, number) || !counts_unseen(t, &id, &bytes))
			continue;
		count(repaired(qs, number), JOB_READY, priority, bytes);
	}
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int count_unseen_due(struct queues *qs, struct store_txn *t)
{
	struct slice key, value;
	int rc;

	for (rc = store_seek(t, TABLE_DUE, slice_of(NULL, 0), &key, &value); rc == 0;
	     rc = store_next(t, TABLE_DUE, &key, &value)) {
		uint8_t state, priority;
		int64_t at_ms, bytes;
		uint32_t number;
		struct uuid id;

		/* A ready one has been counted by its place in line. */
		if (key_read_due(key, &at_ms, &id) < 0 || due_value_read(value, &number, &state, &priority) < 0 ||
		    state == JOB_READY || !repaired(qs, number) || !counts_unseen(t, &id, &bytes))
			continue;
		count(repaired(qs, number), state, priority, bytes);
	}
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* Empties the counts of those that are to be counted anew. True where there are any. */
static bool begin_recount(struct queues *qs)
{
	bool any = false;

	for (uint32_t n = 0; queues_get(qs, n); n++) {
		struct queue_record *q = repaired(qs, n);

		if (!q)
			continue;
		any = true;
		memset(q->counts, 0, sizeof(q->counts));
		memset(q->ready, 0, sizeof(q->ready));
		q->bytes = 0;
	}
	return any;
}

static void end_recount(struct queues *qs)
{
	struct queue *q;

	for (uint32_t n = 0; (q = queues_get(qs, n)); n++) {
		q->dirty |= q->record.recount;
		q->record.recount = false;
	}
}

int queues_recount(struct queues *qs, struct store_txn *t)
{
	int rc;

	if (!begin_recount(qs))
		return 0;
	rc = queues_repair_counts(qs, t);
	if (rc == 0)
		end_recount(qs);
	return rc;
}

/* The groups' places still stand: no line ends before them. */
static int recover_lines(struct queues *qs, struct store_txn *t)
{
	struct slice key, value;
	int rc;

	for (rc = store_seek(t, TABLE_GROUPS, slice_of(NULL, 0), &key, &value); rc == 0;
	     rc = store_next(t, TABLE_GROUPS, &key, &value)) {
		struct queue_record *q;
		struct slice group;
		uint32_t number;
		uint8_t priority;
		uint64_t finish;

		if (key_read_group(key, &number, &priority, &group) < 0 || priority >= PRIORITIES ||
		    record_read_finish(key, value, &finish) < 0)
			continue;
		q = repaired(qs, number);
		if (q && !q->recount && q->lines[priority].last < finish)
			q->lines[priority].last = finish;
	}
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

int queues_repair_counts(struct queues *qs, struct store_txn *t)
{
	bool unknown;
	int rc;

	rc = count_jobs(qs, t, &unknown);
	if (rc == 0)
		rc = recover_lines(qs, t);
	if (rc == 0 && unknown)
		rc = count_unseen_ready(qs, t);
	if (rc == 0 && unknown)
		rc = count_unseen_due(qs, t);
	return rc;
}
