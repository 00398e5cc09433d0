#include "server/engine/view_hooks.h"

#include <string.h>

#include "proto/error.h"
#include "server/store/keys.h"

/* ERR_NOT_FOUND where none came, or it is not known any more. */
static int load(struct store_txn *t, const struct uuid *id, struct hooks_record *ret)
{
	struct key key = key_job(id);
	struct slice bytes;
	int rc = store_get(t, TABLE_HOOKS, key_slice(&key), &bytes);

	if (rc == 0)
		rc = record_read_hooks(bytes, ret);
	if (rc == 0 && !uuid_equal(&ret->job, id))
		rc = ERR_CORRUPT;
	return rc == ERR_CORRUPT ? ERR_NOT_FOUND : rc;
}

int view_hooks(struct store_txn *t, const struct uuid *id, const struct job *record, struct msg_job *job)
{
	struct hooks_record hooks;
	int rc = record->hooked ? load(t, id, &hooks) : ERR_NOT_FOUND;

	if (rc < 0)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	job->has_hooks = true;
	job->hooks = (struct msg_hooks){
		.has_count = true,
		.count = hooks.count,
		.has_waiting = true,
		.waiting = (int64_t)hooks_waiting(&hooks),
		.has_last_at_ms = true,
		.last_at_ms = hooks.last_at_ms,
	};
	return 0;
}

/* ---- for whoever holds the lease ---- */

static int is_leased_with(struct store_txn *t, const struct uuid *id, const struct token *lease, bool *ret)
{
	struct key key = key_job(id);
	struct slice bytes;
	struct job job;
	int rc = store_get(t, TABLE_JOBS, key_slice(&key), &bytes);

	*ret = false;
	if (rc == 0)
		rc = record_read_job(bytes, &job);
	if (rc < 0)
		return rc == ERR_NOT_FOUND || rc == ERR_CORRUPT ? 0 : rc;
	*ret = job.state == JOB_RUNNING && memcmp(job.lease.bytes, lease->bytes, sizeof(lease->bytes)) == 0;
	return 0;
}

static int read_body(struct store_txn *t, const struct uuid *id, const struct hook_entry *entry,
		     struct hook_record *ret)
{
	struct key key = key_hook(id, entry->number);
	struct slice bytes;
	int rc = store_get(t, TABLE_HOOK_BODIES, key_slice(&key), &bytes);

	if (rc == 0)
		rc = record_read_hook(bytes, ret);
	if (rc == 0 && (!uuid_equal(&ret->job, id) || ret->number != entry->number))
		rc = ERR_CORRUPT;
	return rc == ERR_CORRUPT ? ERR_NOT_FOUND : rc;
}

static void fill(const struct hook_record *hook, const struct token *lease, struct pair *headers,
		 struct msg_job_wake *ret)
{
	*ret = (struct msg_job_wake){
		.has_id = true,
		.id = hook->job,
		.has_lease = true,
		.lease = *lease,
		.has_hook = true,
		.hook = (int64_t)hook->number,
		.has_attempt = true,
		.attempt = hook->attempt,
		.has_received_at_ms = true,
		.received_at_ms = hook->received_at_ms,
		.has_content_type = hook->content_type.size > 0,
		.content_type = hook->content_type,
		.has_headers = true,
		.headers = headers,
		.headers_count = hook_headers(hook, headers, HOOK_HEADERS),
		.has_data = true,
		.data = hook->body,
	};
}

int view_next_hook(struct store_txn *t, const struct uuid *id, const struct token *lease, uint64_t after,
		   struct pair *headers, struct msg_job_wake *ret)
{
	struct hook_record hook;
	struct hooks_record hooks;
	bool leased;
	int rc = is_leased_with(t, id, lease, &leased);

	if (rc == 0)
		rc = leased ? load(t, id, &hooks) : ERR_NOT_FOUND;
	if (rc < 0)
		return rc;
	rc = ERR_NOT_FOUND;
	for (size_t i = 0; rc == ERR_NOT_FOUND && i < hooks.entries_count; i++)
		if (hooks.entries[i].waits && hooks.entries[i].number > after)
			rc = read_body(t, id, &hooks.entries[i], &hook);
	if (rc == 0)
		fill(&hook, lease, headers, ret);
	return rc;
}
