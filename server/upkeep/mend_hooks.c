/* Hooks: a hook only says that there is news, and the API can be asked for it, so whatever is not sure to be this job's
 * is dropped. What is left is made to agree.
 */
#include "server/store/hook_record.h"
#include "server/upkeep/mend_priv.h"

static void mend_list(struct mend *m, struct slice key, struct slice value)
{
	struct hooks_record hooks;
	struct uuid id;

	if (key_read_job(key, &id) < 0)
		mend_drop(m, TABLE_HOOKS, key, NULL, "is malformed");
	else if (!mend_is_known(m, &id))
		mend_drop(m, TABLE_HOOKS, key, &id, "there is no such job");
	else if (record_read_hooks(value, &hooks) < 0)
		mend_drop(m, TABLE_HOOKS, key, &id, "is damaged");
	else if (!uuid_equal(&hooks.job, &id))
		mend_drop(m, TABLE_HOOKS, key, &id, "is another job's");
}

static bool is_listed(struct mend *m, const struct uuid *id, uint64_t number)
{
	struct hooks_record hooks;
	struct slice value;

	if (!mend_get(m, TABLE_HOOKS, key_job(id), &value) || record_read_hooks(value, &hooks) < 0)
		return false;
	for (size_t i = 0; i < hooks.entries_count; i++)
		if (hooks.entries[i].number == number)
			return hooks.entries[i].waits;
	return false;
}

static void mend_body(struct mend *m, struct slice key, struct slice value)
{
	struct hook_record hook;
	uint64_t number;
	struct uuid id;

	if (key_read_hook(key, &id, &number) < 0)
		mend_drop(m, TABLE_HOOK_BODIES, key, NULL, "is malformed");
	else if (record_read_hook(value, &hook) < 0 || !uuid_equal(&hook.job, &id) || hook.number != number)
		mend_drop(m, TABLE_HOOK_BODIES, key, &id, "is damaged or another job's");
	else if (!is_listed(m, &id, number))
		mend_drop(m, TABLE_HOOK_BODIES, key, &id, "nobody waits for it");
}

void mend_hooks(struct mend *m)
{
	mend_walk(m, TABLE_HOOKS, mend_list);
	mend_walk(m, TABLE_HOOK_BODIES, mend_body);
}

/* ---- what is asked for ---- */

static bool is_over(const struct job *job)
{
	return job_state_final(job->state) && job->state != JOB_DEAD;
}

/* How many entries had to be changed. */
static int settle(struct mend *m, const struct job *job, struct hooks_record *hooks)
{
	int changed = 0;

	for (size_t i = 0; i < hooks->entries_count; i++) {
		struct hook_entry *entry = &hooks->entries[i];
		struct key key = key_hook(&hooks->job, entry->number);
		bool there = mend_has(m, TABLE_HOOK_BODIES, key);

		if (!entry->waits || (there && !is_over(job)))
			continue;
		if (there)
			mend_drop(m, TABLE_HOOK_BODIES, key_slice(&key), &hooks->job, "the job is over");
		entry->waits = false;
		changed++;
	}
	return changed;
}

/* job is of the snapshot, for its texts are written again. */
static void note_in_job(struct mend *m, const struct uuid *id, struct job *job)
{
	if (job->hooked || m->rc < 0)
		return;
	job->hooked = true;
	buf_reset(&m->record);
	m->rc = record_write_job(&m->record, job);
	mend_put(m, TABLE_JOBS, key_job(id), buf_slice(&m->record));
	mend_restored(m, "jobs, job %s: knew nothing of its hooks: noted", uuid_format(id).text);
}

void mend_job_hooks(struct mend *m, const struct uuid *id, struct job *job)
{
	struct hooks_record hooks;
	struct slice value;

	if (!mend_get(m, TABLE_HOOKS, key_job(id), &value) || record_read_hooks(value, &hooks) < 0)
		return;
	note_in_job(m, id, job);
	if (settle(m, job, &hooks) == 0 || m->rc < 0)
		return;
	buf_reset(&m->record);
	m->rc = record_write_hooks(&m->record, &hooks);
	mend_put(m, TABLE_HOOKS, key_job(id), buf_slice(&m->record));
	mend_restored(m, "hooks, job %s: some that wait are missing: forgotten", uuid_format(id).text);
}
