/* What the jobs' records ask for. Which of two rows flipped, a job's record or its input, the index entries tell: they
 * lead to the id that the job was put with.
 */
#include <string.h>

#include "server/engine/job_due.h"
#include "server/engine/queues.h"
#include "server/upkeep/mend_priv.h"

/* ---- which jobs there are ---- */

/* An input that no job has, of the size that the job counts for, under an id one bit beside the job's. */
static bool find_input(struct mend *m, const struct uuid *id, const struct job *job, struct uuid *ret)
{
	int found = 0;

	for (int i = 0; i < MEND_NEIGHBOURS; i++) {
		struct uuid other = mend_neighbour(id, i);
		struct job_input input;
		struct slice value;

		if (!mend_get(m, TABLE_INPUTS, key_job(&other), &value) || record_read_input(value, &input) < 0 ||
		    (int64_t)input.payload.size != job->bytes || mend_has(m, TABLE_JOBS, key_job(&other)))
			continue;
		*ret = other;
		found++;
	}
	return found == 1;
}

/* Whether what would lead to the job leads to this id. */
static bool is_entered_as(struct mend *m, const struct uuid *id, const struct job *job)
{
	return (job->state == JOB_READY &&
		mend_has(m, TABLE_READY, key_ready(job->queue, job->priority, job->tag, id))) ||
	       (job->due_at_ms != 0 && mend_has(m, TABLE_DUE, key_due(job->due_at_ms, id))) || mend_is_set_aside(m, id);
}

/* The broker may have come upon its entries and set aside what it could not find. */
static void put_back_job(struct mend *m, const struct uuid *from, const struct uuid *to)
{
	mend_move(m, TABLE_JOBS, key_job(from), key_job(to));
	mend_restored(m, "jobs, job %s: stood under the id %s: put back", uuid_format(to).text, uuid_format(from).text);
	if (mend_is_set_aside(m, to)) {
		struct key key = key_job(to);

		mend_drop(m, TABLE_SET_ASIDE, key_slice(&key), to, "its record is found");
	}
}

static void put_back_input(struct mend *m, const struct uuid *from, const struct uuid *to)
{
	mend_move(m, TABLE_INPUTS, key_job(from), key_job(to));
	mend_restored(m, "inputs, job %s: stood under the id %s: put back", uuid_format(to).text,
		      uuid_format(from).text);
}

static void identify(struct mend *m, struct slice key, struct slice value)
{
	struct uuid id, other;
	struct job job;

	if (key_read_job(key, &id) < 0 || mend_is_set_aside(m, &id))
		return;
	if (record_read_job(value, &job) < 0)
		mend_set_aside(m, &id, "its record is damaged");
	else if (m->options->damage_only || mend_has(m, TABLE_INPUTS, key_job(&id)) || m->rc < 0)
		return;
	else if (!find_input(m, &id, &job, &other))
		mend_set_aside(m, &id, "its input is missing");
	else if (is_entered_as(m, &other, &job))
		put_back_job(m, &id, &other);
	else
		put_back_input(m, &other, &id);
}

void mend_identities(struct mend *m)
{
	mend_walk(m, TABLE_JOBS, identify);
}

/* ---- what they ask for ---- */

static void enter_ready(struct mend *m, const struct uuid *id, const struct job *job)
{
	struct key key = key_ready(job->queue, job->priority, job->tag, id);

	if (job->state != JOB_READY || mend_has(m, TABLE_READY, key))
		return;
	mend_made_anew(m, TABLE_READY, key, slice_of(NULL, 0), "job", uuid_format(id).text);
}

static void enter_due(struct mend *m, const struct uuid *id, const struct job *job)
{
	struct due_value expected = due_value_make(job);
	struct key key = key_due(job->due_at_ms, id);
	struct slice value;

	if (job->due_at_ms == 0 || (mend_get(m, TABLE_DUE, key, &value) &&
				    slice_equal(value, slice_of(expected.bytes, sizeof(expected.bytes)))))
		return;
	mend_made_anew(m, TABLE_DUE, key, slice_of(expected.bytes, sizeof(expected.bytes)), "job",
		       uuid_format(id).text);
}

/* One that leads to another job is that job's: only one of two was put with it, and neither can be told from here. */
static void enter_idempotency(struct mend *m, const struct uuid *id, const struct job *job)
{
	struct job_input input;
	struct slice value;
	struct key key;

	if (!mend_get(m, TABLE_INPUTS, key_job(id), &value) || record_read_input(value, &input) < 0 ||
	    input.idempotency_key.size == 0)
		return;
	key = key_idempotency(job->queue, input.idempotency_key);
	if (mend_has(m, TABLE_IDEMPOTENCY, key))
		return;
	mend_made_anew(m, TABLE_IDEMPOTENCY, key, slice_of(id->bytes, sizeof(id->bytes)), "job", uuid_format(id).text);
}

/* job is of the snapshot, for its texts are written again. */
static void set_artifact_count(struct mend *m, const struct uuid *id, struct job *job)
{
	int64_t count = mend_count_artifacts(m, id);

	if (count == job->artifacts || m->rc < 0)
		return;
	job->artifacts = (uint32_t)count;
	buf_reset(&m->record);
	m->rc = record_write_job(&m->record, job);
	mend_put(m, TABLE_JOBS, key_job(id), buf_slice(&m->record));
	mend_restored(m, "jobs, job %s: its artifacts are counted anew", uuid_format(id).text);
}

static void add(struct mend *m, const struct job *job)
{
	struct mend_sum *sum = &m->sums[job->queue < QUEUES_MAX ? job->queue : 0];

	sum->counts[job->state]++;
	if (job->state == JOB_READY)
		sum->ready[job->priority]++;
	if (!job_state_final(job->state))
		sum->bytes += job->bytes;
}

static void add_row(struct mend *m, struct slice key, struct slice value)
{
	struct uuid id;
	struct job job;

	if (key_read_job(key, &id) == 0 && record_read_job(value, &job) == 0 && job.queue < QUEUES_MAX &&
	    !mend_is_set_aside(m, &id))
		add(m, &job);
}

void mend_sum_up(struct mend *m)
{
	mend_walk(m, TABLE_JOBS, add_row);
}

/* What the record said of the queue is lost; the indexes know it. */
static void note_ready(struct mend *m, struct slice key, struct slice value)
{
	uint8_t priority;
	struct uuid id;
	uint32_t queue;
	uint64_t tag;

	(void)value;
	if (key_read_ready(key, &queue, &priority, &tag, &id) == 0 && queue < QUEUES_MAX && mend_is_set_aside(m, &id))
		m->sums[queue].affected = true;
}

static void note_due(struct mend *m, struct slice key, struct slice value)
{
	uint8_t state, priority;
	struct uuid id;
	uint32_t queue;
	int64_t at_ms;

	if (key_read_due(key, &at_ms, &id) == 0 && due_value_read(value, &queue, &state, &priority) == 0 &&
	    queue < QUEUES_MAX && mend_is_set_aside(m, &id))
		m->sums[queue].affected = true;
}

void mend_find_affected(struct mend *m)
{
	mend_walk(m, TABLE_READY, note_ready);
	mend_walk(m, TABLE_DUE, note_due);
}

static void demand(struct mend *m, struct slice key, struct slice value)
{
	struct uuid id;
	struct job job;

	if (key_read_job(key, &id) < 0 || record_read_job(value, &job) < 0 || mend_is_set_aside(m, &id))
		return;
	enter_ready(m, &id, &job);
	enter_due(m, &id, &job);
	enter_idempotency(m, &id, &job);
	set_artifact_count(m, &id, &job);
}

static void list_blob(struct mend *m, struct slice key, struct slice value)
{
	struct artifact a;
	struct slice name;
	struct uuid job;

	if (key_read_artifact(key, &job, &name) < 0 || record_read_artifact(key, value, &a) < 0 || !a.has_blob ||
	    mend_has(m, TABLE_BLOBS, key_job(&a.blob)))
		return;
	mend_made_anew(m, TABLE_BLOBS, key_job(&a.blob), slice_of(job.bytes, sizeof(job.bytes)), "blob",
		       uuid_format(&a.blob).text);
}

void mend_demands(struct mend *m)
{
	mend_walk(m, TABLE_JOBS, demand);
	mend_walk(m, TABLE_ARTIFACTS, list_blob);
	mend_sum_up(m);
}
