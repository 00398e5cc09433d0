/* The blocking calls of operators. */
#include "handle_priv.h"

int raincheck_cancel_many(struct raincheck *rc, const struct raincheck_change *change,
			  struct raincheck_change_result **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_cancel_many_async(rc, change, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}

int raincheck_retry_many(struct raincheck *rc, const struct raincheck_change *change,
			 struct raincheck_change_result **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_retry_many_async(rc, change, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}

int raincheck_redeliver_many(struct raincheck *rc, const struct raincheck_change *change,
			     struct raincheck_change_result **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_redeliver_many_async(rc, change, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}

int raincheck_erase_many(struct raincheck *rc, const struct raincheck_change *change,
			 struct raincheck_change_result **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_erase_many_async(rc, change, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}

int raincheck_queue_list(struct raincheck *rc, struct raincheck_queue_list **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_queue_list_async(rc, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}

int raincheck_queue_get(struct raincheck *rc, const char *queue, struct raincheck_queue **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_queue_get_async(rc, queue, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}

int raincheck_queue_set(struct raincheck *rc, const struct raincheck_queue_set *set, struct raincheck_queue **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_queue_set_async(rc, set, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}

int raincheck_queue_pause(struct raincheck *rc, const char *queue, struct raincheck_queue **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_queue_pause_async(rc, queue, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}

int raincheck_queue_resume(struct raincheck *rc, const char *queue, struct raincheck_queue **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_queue_resume_async(rc, queue, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}

int raincheck_queue_purge(struct raincheck *rc, const char *queue, struct raincheck_purge_result **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_queue_purge_async(rc, queue, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}

int raincheck_limit_list(struct raincheck *rc, struct raincheck_limit_list **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_limit_list_async(rc, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}

int raincheck_limit_get(struct raincheck *rc, const char *limit, struct raincheck_limit **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_limit_get_async(rc, limit, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}

int raincheck_limit_set(struct raincheck *rc, const struct raincheck_limit_set *set, struct raincheck_limit **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_limit_set_async(rc, set, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}

int raincheck_limit_delete(struct raincheck *rc, const char *limit)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_limit_delete_async(rc, limit, NULL, NULL);
	return handle_unblock(rc, &w, err, NULL);
}

int raincheck_worker_list(struct raincheck *rc, struct raincheck_worker_list **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_worker_list_async(rc, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}

int raincheck_worker_quiet(struct raincheck *rc, const char *name, struct raincheck_worker_told **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_worker_quiet_async(rc, name, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}

int raincheck_worker_stop(struct raincheck *rc, const char *name, struct raincheck_worker_told **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_worker_stop_async(rc, name, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}

int raincheck_stats(struct raincheck *rc, struct raincheck_stats **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_stats_async(rc, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}

int raincheck_backup(struct raincheck *rc, const char *path, struct raincheck_backup_result **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_backup_async(rc, path, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}

int raincheck_check(struct raincheck *rc, struct raincheck_check_result **ret)
{
	struct waiter w;
	int err = handle_block(rc, &w);

	if (err == 0)
		err = raincheck_check_async(rc, NULL, NULL);
	return handle_unblock(rc, &w, err, ret);
}
