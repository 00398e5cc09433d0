/* What stands beside the jobs: each row must lead to a job, or to a queue, whose record asks for it. The order matters:
 * artifacts are looked at before the list of their files, tombstones before the due entries that lead to them.
 */
#include <string.h>

#include "server/upkeep/mend_priv.h"

static const char malformed[] = "is malformed";
static const char no_job[] = "there is no such job";
static const char not_asked[] = "the job's record does not ask for it";

/* ---- indexes ---- */

static void mend_ready(struct mend *m, struct slice key, struct slice value)
{
	uint8_t priority;
	uint32_t queue;
	struct uuid id;
	struct job job;
	uint64_t tag;

	if (key_read_ready(key, &queue, &priority, &tag, &id) < 0)
		mend_drop(m, TABLE_READY, key, NULL, malformed);
	else if (!mend_find_job(m, &id, &job))
		mend_drop(m, TABLE_READY, key, &id, no_job);
	else if (job.state != JOB_READY || job.queue != queue || job.priority != priority || job.tag != tag ||
		 value.size > 0)
		mend_drop(m, TABLE_READY, key, &id, not_asked);
}

static bool is_tombstones(struct mend *m, const struct uuid *id, int64_t at_ms, struct slice value)
{
	struct tombstone stone;
	struct slice bytes;

	return value.size == 0 && mend_get(m, TABLE_TOMBSTONES, key_job(id), &bytes) &&
	       record_read_tombstone(bytes, &stone) == 0 && stone.until_ms == at_ms;
}

static void mend_due(struct mend *m, struct slice key, struct slice value)
{
	int64_t at_ms;
	struct uuid id;
	struct job job;

	if (key_read_due(key, &at_ms, &id) < 0)
		mend_drop(m, TABLE_DUE, key, NULL, malformed);
	else if (mend_find_job(m, &id, &job) ? job.due_at_ms == at_ms : is_tombstones(m, &id, at_ms, value))
		return;
	else
		mend_drop(m, TABLE_DUE, key, &id, mend_find_job(m, &id, &job) ? not_asked : no_job);
}

static void mend_idempotency(struct mend *m, struct slice key, struct slice value)
{
	struct job_input input;
	struct slice bytes, word;
	uint32_t queue;
	struct uuid id;
	struct job job;

	if (key.size <= 4 || key_read_queue(slice_of(key.data, 4), &queue) < 0 || key_read_job(value, &id) < 0) {
		mend_drop(m, TABLE_IDEMPOTENCY, key, NULL, malformed);
		return;
	}
	word = slice_of((const uint8_t *)key.data + 4, key.size - 4);
	if (!mend_is_known(m, &id))
		mend_drop(m, TABLE_IDEMPOTENCY, key, &id, no_job);
	else if ((mend_find_job(m, &id, &job) && job.queue != queue) ||
		 (mend_get(m, TABLE_INPUTS, key_job(&id), &bytes) && record_read_input(bytes, &input) == 0 &&
		  !slice_equal(input.idempotency_key, word)))
		mend_drop(m, TABLE_IDEMPOTENCY, key, &id, not_asked);
}

/* ---- what is left of jobs ---- */

static void mend_tombstone(struct mend *m, struct slice key, struct slice value)
{
	struct tombstone stone;
	struct uuid id;

	if (key_read_job(key, &id) < 0)
		mend_drop(m, TABLE_TOMBSTONES, key, NULL, malformed);
	else if (mend_has(m, TABLE_JOBS, key_job(&id)))
		mend_drop(m, TABLE_TOMBSTONES, key, &id, "the job is there");
	else if (record_read_tombstone(value, &stone) < 0)
		mend_drop(m, TABLE_TOMBSTONES, key, &id, "is damaged");
	else if (!mend_has(m, TABLE_DUE, key_due(stone.until_ms, &id))) {
		mend_made_anew(m, TABLE_DUE, key_due(stone.until_ms, &id), slice_of(NULL, 0), "tombstone of job",
			       uuid_format(&id).text);
	}
}

static bool is_anything_left(struct mend *m, const struct uuid *id)
{
	return mend_has(m, TABLE_JOBS, key_job(id)) || mend_has(m, TABLE_INPUTS, key_job(id)) ||
	       mend_has(m, TABLE_CHECKPOINTS, key_job(id)) || mend_count_artifacts(m, id) > 0;
}

static void mend_aside(struct mend *m, struct slice key, struct slice value)
{
	int64_t at_ms;
	struct uuid id;

	if (key_read_job(key, &id) < 0) {
		mend_drop(m, TABLE_SET_ASIDE, key, NULL, malformed);
	} else if (!is_anything_left(m, &id)) {
		mend_drop(m, TABLE_SET_ASIDE, key, &id, "nothing is left of the job");
	} else if (record_read_moment(value, &at_ms) < 0) {
		mend_enter_aside(m, &id);
		mend_restored(m, "set aside, job %s: since when is damaged: set to now", uuid_format(&id).text);
	}
}

/* ---- what belongs to jobs ---- */

static void mend_owned(struct mend *m, enum store_table table, struct slice key)
{
	struct uuid id;

	if (key_read_job(key, &id) < 0)
		mend_drop(m, table, key, NULL, malformed);
	else if (!mend_is_known(m, &id))
		mend_drop(m, table, key, &id, no_job);
}

static void mend_input(struct mend *m, struct slice key, struct slice value)
{
	(void)value;
	mend_owned(m, TABLE_INPUTS, key);
}

/* Never given to a job that is only alike: a call that is resumed for another job shows one person's video to another,
 * and one that is lost is only paid for again. Whose it is says its record. */
static void mend_checkpoint(struct mend *m, struct slice key, struct slice value)
{
	(void)value;
	mend_owned(m, TABLE_CHECKPOINTS, key);
}

/* Of a job that has more than it counts one is another's, taken for its own before records held their key. Which one is
 * not known: nobody may see any of them. */
static bool has_foreign(struct mend *m, const struct uuid *id)
{
	struct job job;

	return mend_find_job(m, id, &job) && mend_count_artifacts(m, id) > job.artifacts;
}

static void mend_artifact(struct mend *m, struct slice key, struct slice value)
{
	struct slice name;
	struct uuid id;

	(void)value;
	if (key_read_artifact(key, &id, &name) < 0)
		mend_drop(m, TABLE_ARTIFACTS, key, NULL, malformed);
	else if (!mend_is_known(m, &id))
		mend_drop(m, TABLE_ARTIFACTS, key, &id, no_job);
	else if (has_foreign(m, &id))
		mend_set_aside(m, &id, "an artifact may be another job's");
}

/* Whether the job names the file, or may: of a damaged artifact it is not known. */
static bool is_named(struct mend *m, const struct uuid *job, const struct uuid *blob)
{
	struct key from = key_job(job);
	struct slice key, value;
	bool named = false;
	int rc = m->rc;

	if (rc == 0)
		rc = store_seek(m->now, TABLE_ARTIFACTS, key_slice(&from), &key, &value);
	while (!named && rc == 0 && key.size >= from.size && memcmp(key.data, from.bytes, from.size) == 0) {
		struct artifact a;

		named = record_read_artifact(key, value, &a) < 0 || (a.has_blob && uuid_equal(&a.blob, blob));
		rc = store_next(m->now, TABLE_ARTIFACTS, &key, &value);
	}
	if (rc < 0 && rc != ERR_NOT_FOUND && m->rc == 0)
		m->rc = rc;
	return named;
}

static void mend_listed_blob(struct mend *m, struct slice key, struct slice value)
{
	struct uuid blob, job;

	if (key_read_job(key, &blob) < 0 || key_read_job(value, &job) < 0)
		mend_drop(m, TABLE_BLOBS, key, NULL, malformed);
	else if (!is_named(m, &job, &blob) && m->rc == 0)
		mend_drop(m, TABLE_BLOBS, key, NULL, "its job has no such artifact");
}

void mend_rows(struct mend *m)
{
	mend_walk(m, TABLE_INPUTS, mend_input);
	mend_walk(m, TABLE_CHECKPOINTS, mend_checkpoint);
	mend_walk(m, TABLE_ARTIFACTS, mend_artifact);
	mend_walk(m, TABLE_BLOBS, mend_listed_blob);
	mend_walk(m, TABLE_SET_ASIDE, mend_aside);
	mend_walk(m, TABLE_TOMBSTONES, mend_tombstone);
	mend_walk(m, TABLE_READY, mend_ready);
	mend_walk(m, TABLE_DUE, mend_due);
	mend_walk(m, TABLE_IDEMPOTENCY, mend_idempotency);
}
