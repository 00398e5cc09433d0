/* Hooks: which came for each job, and the bodies of those that wait. Each list must be of a job that says it has one,
 * each body be listed as waiting, and each that waits have a body.
 */
#include "server/store/hook_record.h"
#include "server/upkeep/check_priv.h"

/* A job that is over for good is waited for by none. */
static bool is_over(const struct job *job)
{
	return job_state_final(job->state) && job->state != JOB_DEAD;
}

static void check_list(struct check *c, struct slice key, struct slice value)
{
	struct hooks_record hooks;
	struct uuid id;
	struct job job;

	if (key_read_job(key, &id) < 0) {
		check_breach(c, "hooks: a key is malformed");
		return;
	}
	if (record_read_hooks(value, &hooks) < 0) {
		check_damage(c, "hooks of job %s: the list is damaged", uuid_format(&id).text);
		return;
	}
	if (!uuid_equal(&hooks.job, &id))
		check_breach(c, "hooks of job %s: the list is job %s's", uuid_format(&id).text,
			     uuid_format(&hooks.job).text);
	if (!check_is_known(c, &id))
		check_breach(c, "hooks of job %s: the job is missing", uuid_format(&id).text);
	if (check_find_job(c, &id, &job) && !job.hooked)
		check_breach(c, "hooks of job %s: its record knows of none", uuid_format(&id).text);
	if (check_find_job(c, &id, &job) && is_over(&job) && hooks_waiting(&hooks) > 0)
		check_breach(c, "hooks of job %s: some wait, and it is %s", uuid_format(&id).text,
			     job_state_names[job.state]);
	for (size_t i = 0; i < hooks.entries_count; i++)
		if (hooks.entries[i].waits && !check_has(c, TABLE_HOOK_BODIES, key_hook(&id, hooks.entries[i].number)))
			check_breach(c, "hooks of job %s: number %llu waits and is missing", uuid_format(&id).text,
				     (unsigned long long)hooks.entries[i].number);
}

/* Of a list that is damaged, which has been named, nothing is known. */
static bool may_wait(struct check *c, const struct uuid *id, uint64_t number)
{
	struct key key = key_job(id);
	struct hooks_record hooks;
	struct slice value;

	if (store_get(c->txn, TABLE_HOOKS, key_slice(&key), &value) < 0)
		return false;
	if (record_read_hooks(value, &hooks) < 0)
		return true;
	for (size_t i = 0; i < hooks.entries_count; i++)
		if (hooks.entries[i].number == number)
			return hooks.entries[i].waits;
	return false;
}

static void check_body(struct check *c, struct slice key, struct slice value)
{
	struct hook_record hook;
	uint64_t number;
	struct uuid id;

	if (key_read_hook(key, &id, &number) < 0) {
		check_breach(c, "bodies of hooks: a key is malformed");
		return;
	}
	if (record_read_hook(value, &hook) < 0)
		check_damage(c, "hook %llu of job %s: is damaged", (unsigned long long)number, uuid_format(&id).text);
	else if (!uuid_equal(&hook.job, &id) || hook.number != number)
		check_breach(c, "hook %llu of job %s: is number %llu of job %s", (unsigned long long)number,
			     uuid_format(&id).text, (unsigned long long)hook.number, uuid_format(&hook.job).text);
	if (!may_wait(c, &id, number))
		check_breach(c, "hook %llu of job %s: nobody waits for it", (unsigned long long)number,
			     uuid_format(&id).text);
}

int check_hooks(struct check *c)
{
	int rc = check_walk(c, TABLE_HOOKS, check_list);

	return rc == 0 ? check_walk(c, TABLE_HOOK_BODIES, check_body) : rc;
}
