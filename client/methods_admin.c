/* The asynchronous calls of operators. */
#include <msgpack.h>

#include "convert.h"
#include "handle_priv.h"

/* For an answer that comes when the work is done, however much there is. */
#define LONG_MS (24LL * 3600 * 1000)

/* ---- many jobs ---- */

static int start_change(struct raincheck *rc, enum method_id method, const struct raincheck_change *change,
			raincheck_cb cb, void *user)
{
	struct error_info info = { 0 };
	struct msg_job_change m;
	int err = convert_change(change, &m, &info);

	return handle_start(
		rc, err, &info,
		&(struct dialog_call){ .method = method, .params = &m, .wait_ms = LONG_MS, .cb = cb, .user = user });
}

int raincheck_cancel_many_async(struct raincheck *rc, const struct raincheck_change *change, raincheck_cb cb,
				void *user)
{
	return start_change(rc, METHOD_job_cancel, change, cb, user);
}

int raincheck_retry_many_async(struct raincheck *rc, const struct raincheck_change *change, raincheck_cb cb, void *user)
{
	return start_change(rc, METHOD_job_retry, change, cb, user);
}

int raincheck_redeliver_many_async(struct raincheck *rc, const struct raincheck_change *change, raincheck_cb cb,
				   void *user)
{
	return start_change(rc, METHOD_job_redeliver, change, cb, user);
}

int raincheck_erase_many_async(struct raincheck *rc, const struct raincheck_change *change, raincheck_cb cb, void *user)
{
	return start_change(rc, METHOD_job_erase, change, cb, user);
}

/* ---- queues ---- */

static int start_of_queue(struct raincheck *rc, enum method_id method, const char *queue, int64_t wait_ms,
			  raincheck_cb cb, void *user)
{
	struct msg_queue_name m = { .has_queue = queue != NULL, .queue = slice_str(queue) };
	struct error_info info = { 0 };
	int err = queue ? 0 : error_set(&info, ERR_BAD_REQUEST, "queue", "is missing");

	return handle_start(
		rc, err, &info,
		&(struct dialog_call){ .method = method, .params = &m, .wait_ms = wait_ms, .cb = cb, .user = user });
}

static int start_without_params(struct raincheck *rc, enum method_id method, int64_t wait_ms, raincheck_cb cb,
				void *user)
{
	struct msg_empty m = { 0 };

	return handle_start(
		rc, 0, NULL,
		&(struct dialog_call){ .method = method, .params = &m, .wait_ms = wait_ms, .cb = cb, .user = user });
}

int raincheck_queue_list_async(struct raincheck *rc, raincheck_cb cb, void *user)
{
	return start_without_params(rc, METHOD_queue_list, 0, cb, user);
}

int raincheck_queue_get_async(struct raincheck *rc, const char *queue, raincheck_cb cb, void *user)
{
	return start_of_queue(rc, METHOD_queue_get, queue, 0, cb, user);
}

int raincheck_queue_set_async(struct raincheck *rc, const struct raincheck_queue_set *set, raincheck_cb cb, void *user)
{
	struct error_info info = { 0 };
	struct msg_queue_set m;
	int err = convert_queue_set(set, rc->scratch, &m, &info);

	return handle_start(rc, err, &info,
			    &(struct dialog_call){ .method = METHOD_queue_set, .params = &m, .cb = cb, .user = user });
}

int raincheck_queue_pause_async(struct raincheck *rc, const char *queue, raincheck_cb cb, void *user)
{
	return start_of_queue(rc, METHOD_queue_pause, queue, 0, cb, user);
}

int raincheck_queue_resume_async(struct raincheck *rc, const char *queue, raincheck_cb cb, void *user)
{
	return start_of_queue(rc, METHOD_queue_resume, queue, 0, cb, user);
}

int raincheck_queue_purge_async(struct raincheck *rc, const char *queue, raincheck_cb cb, void *user)
{
	return start_of_queue(rc, METHOD_queue_purge, queue, LONG_MS, cb, user);
}

/* ---- limits ---- */

static int start_of_limit(struct raincheck *rc, enum method_id method, const char *limit, raincheck_cb cb, void *user)
{
	struct msg_limit_name m = { .has_limit = limit != NULL, .limit = slice_str(limit) };
	struct error_info info = { 0 };
	int err = limit ? 0 : error_set(&info, ERR_BAD_REQUEST, "limit", "is missing");

	return handle_start(rc, err, &info,
			    &(struct dialog_call){ .method = method, .params = &m, .cb = cb, .user = user });
}

int raincheck_limit_list_async(struct raincheck *rc, raincheck_cb cb, void *user)
{
	return start_without_params(rc, METHOD_limit_list, 0, cb, user);
}

int raincheck_limit_get_async(struct raincheck *rc, const char *limit, raincheck_cb cb, void *user)
{
	return start_of_limit(rc, METHOD_limit_get, limit, cb, user);
}

int raincheck_limit_set_async(struct raincheck *rc, const struct raincheck_limit_set *set, raincheck_cb cb, void *user)
{
	struct error_info info = { 0 };
	struct msg_limit_set m;
	int err = convert_limit_set(set, rc->scratch, &m, &info);

	return handle_start(rc, err, &info,
			    &(struct dialog_call){ .method = METHOD_limit_set, .params = &m, .cb = cb, .user = user });
}

int raincheck_limit_delete_async(struct raincheck *rc, const char *limit, raincheck_cb cb, void *user)
{
	return start_of_limit(rc, METHOD_limit_delete, limit, cb, user);
}

/* ---- workers ---- */

int raincheck_worker_list_async(struct raincheck *rc, raincheck_cb cb, void *user)
{
	return start_without_params(rc, METHOD_worker_list, 0, cb, user);
}

static int start_of_worker(struct raincheck *rc, enum method_id method, const char *name, raincheck_cb cb, void *user)
{
	struct msg_worker_name m = { .has_name = name != NULL, .name = slice_str(name) };
	struct error_info info = { 0 };
	int err = name ? 0 : error_set(&info, ERR_BAD_REQUEST, "name", "is missing");

	return handle_start(rc, err, &info,
			    &(struct dialog_call){ .method = method, .params = &m, .cb = cb, .user = user });
}

int raincheck_worker_quiet_async(struct raincheck *rc, const char *name, raincheck_cb cb, void *user)
{
	return start_of_worker(rc, METHOD_worker_quiet, name, cb, user);
}

int raincheck_worker_stop_async(struct raincheck *rc, const char *name, raincheck_cb cb, void *user)
{
	return start_of_worker(rc, METHOD_worker_stop, name, cb, user);
}

/* ---- the broker ---- */

int raincheck_stats_async(struct raincheck *rc, raincheck_cb cb, void *user)
{
	return start_without_params(rc, METHOD_server_stats, 0, cb, user);
}

int raincheck_check_async(struct raincheck *rc, raincheck_cb cb, void *user)
{
	return start_without_params(rc, METHOD_server_check, LONG_MS, cb, user);
}

int raincheck_backup_async(struct raincheck *rc, const char *path, raincheck_cb cb, void *user)
{
	struct msg_server_backup m = { .has_path = path != NULL, .path = slice_str(path) };
	struct error_info info = { 0 };
	int err = path ? 0 : error_set(&info, ERR_BAD_REQUEST, "path", "is missing");

	return handle_start(
		rc, err, &info,
		&(struct dialog_call){
			.method = METHOD_server_backup, .params = &m, .wait_ms = LONG_MS, .cb = cb, .user = user });
}
