/* The asynchronous calls: each turns its parameters into the method's message and starts it. Those of operators:
 * methods_admin.c. */
#include <msgpack.h>
#include <string.h>

#include "convert.h"
#include "handle_priv.h"
#include "proto/base/clean.h"

int handle_start(struct raincheck *rc, int err, const struct error_info *info, const struct dialog_call *call)
{
	if (err < 0)
		handle_fail(rc, info);
	else
		err = dialog_start(rc, call);
	/* A call that did not start leaves its waiter behind. */
	rc->next_waiter = NULL;
	msgpack_zone_clear(rc->scratch);
	return err;
}

#define CALL(symbol, message)                                                          \
	&(struct dialog_call)                                                          \
	{                                                                              \
		.method = METHOD_##symbol, .params = (message), .cb = cb, .user = user \
	}

int raincheck_ping_async(struct raincheck *rc, raincheck_cb cb, void *user)
{
	struct msg_empty m = { 0 };

	return handle_start(rc, 0, NULL, CALL(session_ping, &m));
}

int raincheck_lease_cancel_async(struct raincheck *rc, raincheck_cb cb, void *user)
{
	struct msg_empty m = { 0 };

	return handle_start(rc, 0, NULL, CALL(job_lease_cancel, &m));
}

/* ---- putting ---- */

int raincheck_put_async(struct raincheck *rc, const struct raincheck_put *put, raincheck_cb cb, void *user)
{
	struct error_info info = { 0 };
	struct msg_job_put m;
	int err = convert_put(put, rc->scratch, &m, &info);

	return handle_start(rc, err, &info, CALL(job_put, &m));
}

struct put_many {
	struct msg_job_put *jobs;
	size_t count;
};

static int write_cb(void *data, const char *bytes, size_t size)
{
	return buf_append(data, bytes, size) < 0 ? -1 : 0;
}

static void pack_text(msgpack_packer *pk, const char *text)
{
	msgpack_pack_str(pk, strlen(text));
	msgpack_pack_str_body(pk, text, strlen(text));
}

/* The message table takes the jobs as they come off the wire, item by item, so they are written item by item too. */
static int encode_put_many(struct buf *out, uint64_t id, const void *params)
{
	const struct put_many *many = params;
	msgpack_packer pk;

	msgpack_packer_init(&pk, out, write_cb);
	msgpack_pack_array(&pk, 4);
	msgpack_pack_int(&pk, 0);
	msgpack_pack_uint64(&pk, id);
	pack_text(&pk, method_get(METHOD_job_put_many)->name);
	msgpack_pack_array(&pk, 1);
	msgpack_pack_map(&pk, 1);
	pack_text(&pk, "jobs");
	msgpack_pack_array(&pk, many->count);
	for (size_t i = 0; i < many->count; i++)
		message_encode(&MSG_job_put, &many->jobs[i], out);
	return buf_error(out);
}

static int convert_put_many(struct raincheck *rc, const struct raincheck_put *puts, size_t count, struct put_many *ret,
			    struct error_info *info)
{
	char place[64];
	int err;

	if (count < 1 || count > MAX_BATCH)
		return error_set(info, count < 1 ? ERR_BAD_REQUEST : ERR_TOO_LARGE, "jobs", "must have 1 to %d entries",
				 MAX_BATCH);
	ret->jobs = msgpack_zone_malloc(rc->scratch, count * sizeof(*ret->jobs));
	ret->count = count;
	if (!ret->jobs)
		return error_set(info, ERR_NO_MEMORY, NULL, "%s", error_text(ERR_NO_MEMORY));
	for (size_t i = 0; i < count; i++) {
		err = convert_put(&puts[i], rc->scratch, &ret->jobs[i], info);
		if (err < 0) {
			snprintf(place, sizeof(place), "jobs[%zu]", i);
			error_prefix(info, place);
			return err;
		}
	}
	return 0;
}

int raincheck_put_many_async(struct raincheck *rc, const struct raincheck_put *puts, size_t count, raincheck_cb cb,
			     void *user)
{
	struct error_info info = { 0 };
	struct put_many many = { 0 };
	int err = convert_put_many(rc, puts, count, &many, &info);

	return handle_start(rc, err, &info,
			    &(struct dialog_call){ .method = METHOD_job_put_many,
						   .params = &many,
						   .encode = encode_put_many,
						   .items = count,
						   .cb = cb,
						   .user = user });
}

/* ---- looking ---- */

static int start_by_id(struct raincheck *rc, enum method_id method, const char *id, raincheck_cb cb, void *user)
{
	struct error_info info = { 0 };
	struct msg_job_id m = { .has_id = true };
	int err = convert_id(id, "id", &m.id, &info);

	return handle_start(rc, err, &info,
			    &(struct dialog_call){ .method = method, .params = &m, .cb = cb, .user = user });
}

int raincheck_get_async(struct raincheck *rc, const char *id, raincheck_cb cb, void *user)
{
	return start_by_id(rc, METHOD_job_get, id, cb, user);
}

int raincheck_payload_async(struct raincheck *rc, const char *id, raincheck_cb cb, void *user)
{
	return start_by_id(rc, METHOD_job_payload, id, cb, user);
}

int raincheck_wait_async(struct raincheck *rc, const char *id, int64_t wait_ms, raincheck_cb cb, void *user)
{
	struct error_info info = { 0 };
	struct msg_job_wait m = { .has_id = true, .has_wait_ms = true, .wait_ms = wait_ms };
	int err = convert_id(id, "id", &m.id, &info);

	if (err == 0 && (wait_ms < 0 || wait_ms > MAX_WAIT_MS))
		err = error_set(&info, ERR_BAD_REQUEST, "wait_ms", "must be from 0 to %d", MAX_WAIT_MS);
	return handle_start(
		rc, err, &info,
		&(struct dialog_call){
			.method = METHOD_job_wait, .params = &m, .wait_ms = wait_ms, .cb = cb, .user = user });
}

int raincheck_list_async(struct raincheck *rc, const struct raincheck_list *list, raincheck_cb cb, void *user)
{
	struct error_info info = { 0 };
	struct msg_job_list m;
	int err = convert_list(list, &m, &info);

	return handle_start(rc, err, &info, CALL(job_list, &m));
}

/* ---- changing one ---- */

static int start_change(struct raincheck *rc, enum method_id method, const char *id, raincheck_cb cb, void *user)
{
	struct error_info info = { 0 };
	struct msg_job_change m = { .has_id = true };
	int err = convert_id(id, "id", &m.id, &info);

	return handle_start(rc, err, &info,
			    &(struct dialog_call){ .method = method, .params = &m, .cb = cb, .user = user });
}

int raincheck_cancel_async(struct raincheck *rc, const char *id, raincheck_cb cb, void *user)
{
	return start_change(rc, METHOD_job_cancel, id, cb, user);
}

int raincheck_retry_async(struct raincheck *rc, const char *id, raincheck_cb cb, void *user)
{
	return start_change(rc, METHOD_job_retry, id, cb, user);
}

int raincheck_redeliver_async(struct raincheck *rc, const char *id, raincheck_cb cb, void *user)
{
	return start_change(rc, METHOD_job_redeliver, id, cb, user);
}

int raincheck_erase_async(struct raincheck *rc, const char *id, raincheck_cb cb, void *user)
{
	return start_change(rc, METHOD_job_erase, id, cb, user);
}

int raincheck_link_rotate_async(struct raincheck *rc, const char *id, raincheck_cb cb, void *user)
{
	return start_by_id(rc, METHOD_link_rotate, id, cb, user);
}

int raincheck_link_revoke_async(struct raincheck *rc, const char *id, raincheck_cb cb, void *user)
{
	return start_by_id(rc, METHOD_link_revoke, id, cb, user);
}

/* ---- working ---- */

int raincheck_lease_async(struct raincheck *rc, const struct raincheck_lease *lease, raincheck_cb cb, void *user)
{
	struct error_info info = { 0 };
	struct msg_job_lease m;
	int err = convert_lease(lease, rc->scratch, &m, &info);

	return handle_start(
		rc, err, &info,
		&(struct dialog_call){
			.method = METHOD_job_lease, .params = &m, .wait_ms = lease->wait_ms, .cb = cb, .user = user });
}

int raincheck_extend_async(struct raincheck *rc, const struct raincheck_extend *extend, raincheck_cb cb, void *user)
{
	struct error_info info = { 0 };
	struct msg_job_extend m;
	int err = convert_extend(extend, rc->scratch, &m, &info);

	return handle_start(rc, err, &info,
			    &(struct dialog_call){ .method = METHOD_job_extend,
						   .params = &m,
						   .items = extend->lease_count,
						   .cb = cb,
						   .user = user });
}

int raincheck_checkpoint_async(struct raincheck *rc, const struct raincheck_checkpoint *checkpoint, raincheck_cb cb,
			       void *user)
{
	struct error_info info = { 0 };
	struct msg_job_checkpoint m;
	int err = convert_checkpoint(checkpoint, &m, &info);

	return handle_start(rc, err, &info, CALL(job_checkpoint, &m));
}

int raincheck_complete_async(struct raincheck *rc, const struct raincheck_complete *complete, raincheck_cb cb,
			     void *user)
{
	struct error_info info = { 0 };
	struct msg_complete_item item;
	int err = convert_complete(complete, &item, &info);
	struct msg_job_complete m = {
		.has_id = true,
		.id = item.id,
		.has_lease = true,
		.lease = item.lease,
		.has_result = item.has_result,
		.result = item.result,
		.has_call_ms = item.has_call_ms,
		.call_ms = item.call_ms,
	};

	return handle_start(rc, err, &info, CALL(job_complete, &m));
}

int raincheck_complete_many_async(struct raincheck *rc, const struct raincheck_complete *completes, size_t count,
				  raincheck_cb cb, void *user)
{
	struct error_info info = { 0 };
	struct msg_job_complete m;
	int err = convert_complete_many(completes, count, rc->scratch, &m, &info);

	return handle_start(
		rc, err, &info,
		&(struct dialog_call){
			.method = METHOD_job_complete, .params = &m, .items = count, .cb = cb, .user = user });
}

int raincheck_fail_async(struct raincheck *rc, const struct raincheck_fail *fail, raincheck_cb cb, void *user)
{
	struct error_info info = { 0 };
	struct msg_job_fail m;
	int err = convert_fail(fail, &m, &info);

	return handle_start(rc, err, &info, CALL(job_fail, &m));
}

int raincheck_release_async(struct raincheck *rc, const struct raincheck_release *release, raincheck_cb cb, void *user)
{
	struct error_info info = { 0 };
	struct msg_job_release m;
	int err = convert_release(release, &m, &info);

	return handle_start(rc, err, &info, CALL(job_release, &m));
}

/* ---- artifacts ---- */

int raincheck_artifact_put_async(struct raincheck *rc, const struct raincheck_artifact_put *put, raincheck_cb cb,
				 void *user)
{
	struct error_info info = { 0 };
	struct msg_artifact_put m;
	int err = convert_artifact_put(put, &m, &info);

	return handle_start(rc, err, &info, CALL(artifact_put, &m));
}

int raincheck_artifact_begin_async(struct raincheck *rc, const struct raincheck_artifact_begin *begin, raincheck_cb cb,
				   void *user)
{
	struct error_info info = { 0 };
	struct msg_artifact_begin m;
	int err = convert_artifact_begin(begin, &m, &info);

	return handle_start(rc, err, &info, CALL(artifact_begin, &m));
}

int raincheck_artifact_write_async(struct raincheck *rc, const struct raincheck_artifact_write *write, raincheck_cb cb,
				   void *user)
{
	struct error_info info = { 0 };
	struct msg_artifact_write m;
	int err = convert_artifact_write(write, &m, &info);

	return handle_start(rc, err, &info, CALL(artifact_write, &m));
}

int raincheck_artifact_commit_async(struct raincheck *rc, const struct raincheck_artifact_commit *commit,
				    raincheck_cb cb, void *user)
{
	struct error_info info = { 0 };
	struct msg_artifact_commit m;
	int err = convert_artifact_commit(commit, &m, &info);

	return handle_start(rc, err, &info, CALL(artifact_commit, &m));
}

int raincheck_artifact_read_async(struct raincheck *rc, const struct raincheck_artifact_read *read, raincheck_cb cb,
				  void *user)
{
	struct error_info info = { 0 };
	struct msg_artifact_read m;
	int err = convert_artifact_read(read, &m, &info);

	return handle_start(rc, err, &info, CALL(artifact_read, &m));
}
