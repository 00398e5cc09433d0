/* The blocking calls: each starts its asynchronous twin for a waiter and runs the private loop until that is told.
 * Those of operators: blocking_admin.c. */
#include "handle_priv.h"
#include "proto/base/clock.h"

int raincheck_ping(struct raincheck *rc, struct raincheck_ping_result **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_ping_async(rc, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}

int raincheck_put(struct raincheck *rc, const struct raincheck_put *put, struct raincheck_put_result **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_put_async(rc, put, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}

int raincheck_put_many(struct raincheck *rc, const struct raincheck_put *puts, size_t count,
		       struct raincheck_put_many_result **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_put_many_async(rc, puts, count, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}

int raincheck_get(struct raincheck *rc, const char *id, struct raincheck_job **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_get_async(rc, id, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}

static int wait_once(struct raincheck *rc, const char *id, int64_t wait_ms, struct raincheck_job **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_wait_async(rc, id, wait_ms, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}

int raincheck_wait(struct raincheck *rc, const char *id, int64_t wait_ms, struct raincheck_job **ret)
{
	int64_t end = wait_ms < 0 ? INT64_MAX : clock_mono_ms() + wait_ms;
	int64_t left = wait_ms < 0 ? INT64_MAX : wait_ms;

	for (;;) {
		struct raincheck_job *job;
		int err = wait_once(rc, id, left > MAX_WAIT_MS ? MAX_WAIT_MS : left, &job);

		if (err < 0)
			return err;
		left = end - clock_mono_ms();
		if (job->state >= RAINCHECK_JOB_SUCCEEDED || left <= 0) {
			*ret = job;
			return 0;
		}
		raincheck_free(job);
	}
}

int raincheck_payload(struct raincheck *rc, const char *id, struct raincheck_payload **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_payload_async(rc, id, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}

int raincheck_list(struct raincheck *rc, const struct raincheck_list *list, struct raincheck_list_result **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_list_async(rc, list, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}

int raincheck_cancel(struct raincheck *rc, const char *id, struct raincheck_change_result **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_cancel_async(rc, id, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}

int raincheck_retry(struct raincheck *rc, const char *id, struct raincheck_change_result **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_retry_async(rc, id, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}

int raincheck_redeliver(struct raincheck *rc, const char *id, struct raincheck_change_result **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_redeliver_async(rc, id, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}

int raincheck_erase(struct raincheck *rc, const char *id, struct raincheck_change_result **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_erase_async(rc, id, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}

int raincheck_link_rotate(struct raincheck *rc, const char *id, struct raincheck_link **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_link_rotate_async(rc, id, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}

int raincheck_link_revoke(struct raincheck *rc, const char *id)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_link_revoke_async(rc, id, NULL, NULL);
	return handle_unblock(rc, &w, err, NULL);
}

int raincheck_lease(struct raincheck *rc, const struct raincheck_lease *lease, struct raincheck_lease_result **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_lease_async(rc, lease, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}

int raincheck_extend(struct raincheck *rc, const struct raincheck_extend *extend, struct raincheck_extend_result **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_extend_async(rc, extend, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}

int raincheck_lease_cancel(struct raincheck *rc)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_lease_cancel_async(rc, NULL, NULL);
	return handle_unblock(rc, &w, err, NULL);
}

int raincheck_checkpoint(struct raincheck *rc, const struct raincheck_checkpoint *checkpoint)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_checkpoint_async(rc, checkpoint, NULL, NULL);
	return handle_unblock(rc, &w, err, NULL);
}

int raincheck_complete(struct raincheck *rc, const struct raincheck_complete *complete,
		       struct raincheck_complete_result **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_complete_async(rc, complete, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}

int raincheck_complete_many(struct raincheck *rc, const struct raincheck_complete *completes, size_t count,
			    struct raincheck_complete_result **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_complete_many_async(rc, completes, count, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}

int raincheck_fail(struct raincheck *rc, const struct raincheck_fail *fail, struct raincheck_fail_result **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_fail_async(rc, fail, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}

int raincheck_release(struct raincheck *rc, const struct raincheck_release *release,
		      struct raincheck_release_result **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_release_async(rc, release, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}

int raincheck_artifact_put(struct raincheck *rc, const struct raincheck_artifact_put *put,
			   struct raincheck_stored **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_artifact_put_async(rc, put, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}

int raincheck_artifact_begin(struct raincheck *rc, const struct raincheck_artifact_begin *begin,
			     struct raincheck_upload **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_artifact_begin_async(rc, begin, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}

int raincheck_artifact_write(struct raincheck *rc, const struct raincheck_artifact_write *write,
			     struct raincheck_written **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_artifact_write_async(rc, write, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}

int raincheck_artifact_commit(struct raincheck *rc, const struct raincheck_artifact_commit *commit,
			      struct raincheck_stored **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_artifact_commit_async(rc, commit, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}

int raincheck_artifact_read(struct raincheck *rc, const struct raincheck_artifact_read *read,
			    struct raincheck_artifact_data **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_artifact_read_async(rc, read, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}
