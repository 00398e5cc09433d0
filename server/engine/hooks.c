/* Hooks: what external APIs report of the calls that were made for a job.
 *
 *   comes ──▶ waits ──────── job.woken ──────▶ taken, and remembered by its digest
 *               │ ▲
 *               ▼ │ with the lease, with every job.extend
 *       the holder is told
 *
 * A hook waits until an attempt says that it has taken it, so that none is lost with a broker, a worker or a
 * connection. It is only an alarm: whoever is given one twice asks the API twice. What is kept is bounded, and of too
 * much the oldest goes, for the newest knows most.
 */
#include <string.h>

#include "server/engine/engine_priv.h"
#include "server/store/hook_record.h"

static const struct hooks_record nothing_came;

/* What came for the job. A list that is damaged goes with all that it lists: the API can still be asked. */
static int load(struct engine *e, const struct uuid *id, const struct job *job, struct hooks_record *ret)
{
	struct key key = key_job(id);
	struct slice bytes;
	int rc = ERR_NOT_FOUND;

	*ret = nothing_came;
	ret->job = *id;
	if (job->hooked)
		rc = store_get(e->txn, TABLE_HOOKS, key_slice(&key), &bytes);
	if (rc == ERR_NOT_FOUND)
		return 0;
	if (rc == 0)
		rc = record_read_hooks(bytes, ret);
	if (rc == 0 && uuid_equal(&ret->job, id))
		return 0;
	if (rc < 0 && rc != ERR_CORRUPT)
		return rc;
	*ret = nothing_came;
	ret->job = *id;
	/* Above every number that was given. */
	ret->last = (uint64_t)e->now_ms;
	rc = hooks_forget(e, id);
	return rc < 0 ? rc : report_damage(e, id, "list of hooks");
}

static int save(struct engine *e, const struct hooks_record *hooks)
{
	struct key key = key_job(&hooks->job);
	int rc;

	buf_reset(&e->record);
	rc = record_write_hooks(&e->record, hooks);
	return rc < 0 ? rc : store_put(e->txn, TABLE_HOOKS, key_slice(&key), buf_slice(&e->record));
}

static int stop_waiting(struct engine *e, const struct hooks_record *hooks, struct hook_entry *entry)
{
	struct key key = key_hook(&hooks->job, entry->number);

	if (!entry->waits)
		return 0;
	entry->waits = false;
	return delete_if_there(e, TABLE_HOOK_BODIES, &key);
}

/* ---- one that comes ---- */

static bool came_before(const struct hooks_record *hooks, const struct command_hook *hook)
{
	for (size_t i = 0; i < hooks->entries_count; i++)
		if (memcmp(hooks->entries[i].digest, hook->digest, sizeof(hook->digest)) == 0)
			return true;
	return false;
}

static int64_t bytes_of(const struct command_hook *hook)
{
	size_t bytes = hook->body.size + hook->content_type.size;

	for (size_t i = 0; i < hook->headers_count; i++)
		bytes += hook->headers[i].key.size + hook->headers[i].value.size;
	return (int64_t)bytes;
}

static int make_room(struct engine *e, struct hooks_record *hooks, int64_t bytes)
{
	int64_t waiting = bytes;
	int rc = 0;

	if (hooks->entries_count == HOOKS_OF_JOB) {
		rc = stop_waiting(e, hooks, &hooks->entries[0]);
		memmove(&hooks->entries[0], &hooks->entries[1], (HOOKS_OF_JOB - 1) * sizeof(hooks->entries[0]));
		hooks->entries_count--;
	}
	for (size_t i = hooks->entries_count; rc == 0 && i-- > 0;) {
		struct hook_entry *entry = &hooks->entries[i];

		waiting += entry->waits ? (int64_t)entry->bytes : 0;
		if (waiting > HOOKS_WAITING_BYTES)
			rc = stop_waiting(e, hooks, entry);
	}
	return rc;
}

static int keep_body(struct engine *e, const struct command_hook *hook, uint64_t number)
{
	struct hook_record record = {
		.job = hook->id,
		.number = number,
		.received_at_ms = e->now_ms,
		.attempt = hook->attempt,
		.content_type = hook->content_type,
		.headers = hook->headers,
		.headers_count = hook->headers_count,
		.body = hook->body,
	};
	struct key key = key_hook(&hook->id, number);
	int rc;

	buf_reset(&e->record);
	rc = record_write_hook(&e->record, &record);
	return rc < 0 ? rc : store_put(e->txn, TABLE_HOOK_BODIES, key_slice(&key), buf_slice(&e->record));
}

/* waits: an attempt may take it yet. */
static int enter(struct engine *e, const struct command_hook *hook, struct hooks_record *hooks, bool waits)
{
	int64_t bytes = waits ? bytes_of(hook) : 0;
	struct hook_entry *entry;
	int rc = make_room(e, hooks, bytes);

	if (rc < 0)
		return rc;
	entry = &hooks->entries[hooks->entries_count++];
	*entry = (struct hook_entry){
		.number = ++hooks->last,
		.received_at_ms = e->now_ms,
		.bytes = (uint32_t)bytes,
		.waits = waits,
	};
	memcpy(entry->digest, hook->digest, sizeof(entry->digest));
	hooks->count++;
	hooks->last_at_ms = e->now_ms;
	if (waits)
		rc = keep_body(e, hook, entry->number);
	return rc < 0 ? rc : save(e, hooks);
}

/* Of all that wait, so that they are given in their order: one may have been lost on its way. */
static int tell_holder(struct engine *e, const struct uuid *id, const struct job *job)
{
	struct job_event event = { .id = *id, .wakes = job->holder, .lease = job->lease };

	return job->state == JOB_RUNNING ? event_add(e, &event) : 0;
}

/* *ret_fits is false where the store has no room for it. */
static int take_in(struct engine *e, const struct command_hook *hook, struct job *job, bool *ret_fits)
{
	bool waits = !job_state_final(job->state) || job->state == JOB_DEAD;
	struct hooks_record hooks;
	int rc;

	*ret_fits = true;
	rc = load(e, &hook->id, job, &hooks);
	if (rc < 0 || came_before(&hooks, hook))
		return rc;
	rc = waits ? room_take(e, bytes_of(hook), ret_fits) : 0;
	if (rc < 0 || !*ret_fits)
		return rc;
	rc = enter(e, hook, &hooks, waits);
	if (rc == 0 && !job->hooked) {
		job->hooked = true;
		rc = job_save(e, &hook->id, job);
	}
	return rc < 0 ? rc : tell_holder(e, &hook->id, job);
}

int command_hook(struct engine *e, struct command *cmd)
{
	const struct command_hook *hook = cmd->params;
	struct msg_empty nothing = { 0 };
	bool fits = true;
	struct job job;
	int rc = job_find(e, &hook->id, &job);

	if (rc == 0)
		rc = take_in(e, hook, &job, &fits);
	if (rc < 0 && !is_refusal(rc))
		return rc;
	/* It is only hidden: whoever reports of it tries again. */
	if (rc == ERR_DAMAGED)
		return settle(cmd, rc);
	if (!fits)
		return refuse(cmd, ERR_STORE_FULL, NULL, "the store is full");
	/* Of a job that is gone or damaged there is nothing to wake, and whoever reports of it need not try again. */
	cmd->answer(cmd, &MSG_empty, &nothing);
	return 0;
}

/* ---- those that wait ---- */

int hooks_wake(struct engine *e, const struct uuid *id, const struct job *job, int64_t *ret_waiting)
{
	struct hooks_record hooks;
	int rc;

	*ret_waiting = 0;
	if (!job->hooked)
		return 0;
	rc = load(e, id, job, &hooks);
	if (rc < 0)
		return rc;
	*ret_waiting = (int64_t)hooks_waiting(&hooks);
	return *ret_waiting > 0 ? tell_holder(e, id, job) : 0;
}

int hooks_taken(struct engine *e, const struct uuid *id, const struct job *job, uint64_t up_to)
{
	struct hooks_record hooks;
	bool changed = false;
	int rc = load(e, id, job, &hooks);

	for (size_t i = 0; rc == 0 && i < hooks.entries_count && hooks.entries[i].number <= up_to; i++) {
		changed |= hooks.entries[i].waits;
		rc = stop_waiting(e, &hooks, &hooks.entries[i]);
	}
	return rc < 0 || !changed ? rc : save(e, &hooks);
}

int command_woken(struct engine *e, struct command *cmd)
{
	const struct msg_job_woken *woken = cmd->params;
	struct msg_empty nothing = { 0 };
	struct job job;
	int rc = load_leased(e, &woken->id, &woken->lease, &job);

	if (rc == 0)
		rc = hooks_taken(e, &woken->id, &job, (uint64_t)woken->hook);
	if (rc == 0)
		cmd->answer(cmd, &MSG_empty, &nothing);
	return settle(cmd, rc);
}

int hooks_settle(struct engine *e, const struct uuid *id, const struct job *job)
{
	return hooks_taken(e, id, job, UINT64_MAX);
}

int hooks_forget(struct engine *e, const struct uuid *id)
{
	struct key row = key_job(id), from = key_hook(id, 0);
	int rc = delete_if_there(e, TABLE_HOOKS, &row);

	while (rc == 0) {
		struct slice key, value;
		struct uuid job;
		uint64_t number;

		rc = store_seek(e->txn, TABLE_HOOK_BODIES, key_slice(&from), &key, &value);
		if (rc == 0 && (key_read_hook(key, &job, &number) < 0 || !uuid_equal(&job, id)))
			rc = ERR_NOT_FOUND;
		if (rc == 0) {
			from = key_hook(&job, number);
			rc = store_delete(e->txn, TABLE_HOOK_BODIES, key_slice(&from));
		}
	}
	return rc == ERR_NOT_FOUND ? 0 : rc;
}
