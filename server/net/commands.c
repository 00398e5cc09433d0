/* Every handler does the same in its own way: checks what the engine takes for granted, stages the bytes of artifacts,
 * and submits. All that the command points to is in the request's frame and arena.
 */
#include "server/net/commands.h"

#include <msgpack/object.h>

#include "server/engine/put_check.h"
#include "server/engine/settings.h"
#include "server/net/dispatch.h"
#include "server/net/net_priv.h"
#include "server/net/registry.h"
#include "server/net/session.h"
#include "server/net/stage.h"

static int no_memory(struct error_info *info)
{
	return error_set(info, ERR_NO_MEMORY, NULL, "%s", error_text(ERR_NO_MEMORY));
}

/* ---- puts ---- */

static int check_payload(const struct net *net, const struct msg_job_put *put, struct error_info *info)
{
	int64_t allowed = net->options.limits.payload;

	if ((int64_t)put->payload.size <= allowed)
		return 0;
	return error_set(info, ERR_TOO_LARGE, "payload", "has %zu bytes, %lld are allowed", put->payload.size,
			 (long long)allowed);
}

/* Checks the item's put and prepares its preview. */
static int ready_item(struct request *req, struct put_item *item, struct error_info *info)
{
	int rc;

	rc = check_payload(req->net, &item->put, info);
	if (rc == 0)
		rc = put_check(req->net->options.settings, &item->put, info);
	if (rc < 0 || !item->put.has_preview)
		return rc;
	rc = stage_add(req, item->put.preview.content_type, item->put.preview.data, &item->preview);
	return rc < 0 ? error_set(info, rc, NULL, "%s", error_text(rc)) : 0;
}

static void submit_put(struct request *req)
{
	request_submit(req, COMMAND_PUT, req->params);
}

/* Room for the command, which takes the place of the decoded parameters, and count items. */
static struct command_put *new_put(struct request *req, size_t count, bool many)
{
	struct command_put *cmd = request_alloc(req, sizeof(*cmd));

	if (!cmd)
		return NULL;
	*cmd = (struct command_put){ .count = count, .many = many };
	cmd->items = request_alloc(req, count * sizeof(*cmd->items));
	req->params = cmd;
	return cmd->items ? cmd : NULL;
}

int commands_put(struct request *req, struct error_info *info)
{
	const struct msg_job_put *put = req->params;
	struct command_put *cmd = new_put(req, 1, false);
	int rc;

	if (!cmd || (put->has_preview && stage_begin(req, 1) < 0))
		return no_memory(info);
	cmd->items[0].put = *put;
	rc = ready_item(req, &cmd->items[0], info);
	if (rc < 0)
		return rc;
	stage_run(req, submit_put);
	return 0;
}

int commands_put_many(struct request *req, struct error_info *info)
{
	const struct msgpack_object *jobs = ((const struct msg_job_put_many *)req->params)->jobs;
	struct command_put *cmd;

	if (jobs->type != MSGPACK_OBJECT_ARRAY)
		return error_set(info, ERR_BAD_REQUEST, "jobs", "must be an array");
	if (jobs->via.array.size > MAX_BATCH)
		return error_set(info, ERR_TOO_LARGE, "jobs", "has %u entries, %d are allowed", jobs->via.array.size,
				 MAX_BATCH);
	cmd = new_put(req, jobs->via.array.size, true);
	if (!cmd || stage_begin(req, cmd->count) < 0)
		return no_memory(info);
	for (size_t i = 0; i < cmd->count; i++) {
		struct put_item *item = &cmd->items[i];
		int rc;

		/* One that is refused is refused alone. */
		rc = message_decode(&MSG_job_put, &jobs->via.array.ptr[i], req->arena, &item->put, &item->error);
		if (rc == 0)
			(void)ready_item(req, item, &item->error);
	}
	stage_run(req, submit_put);
	return 0;
}

/* ---- workers ---- */

static void lease_settled(struct request *req)
{
	registry_waits(req->session, -1);
}

int commands_lease(struct request *req, struct error_info *info)
{
	const struct msg_job_lease *lease = req->params;

	(void)info;
	if (lease->has_wait_ms && lease->wait_ms > 0) {
		req->session->parked = true;
		req->settle = lease_settled;
		registry_waits(req->session, 1);
	}
	request_submit(req, COMMAND_LEASE, lease);
	return 0;
}

int commands_extend(struct request *req, struct error_info *info)
{
	(void)info;
	request_submit(req, COMMAND_EXTEND, req->params);
	return 0;
}

int commands_checkpoint(struct request *req, struct error_info *info)
{
	(void)info;
	request_submit(req, COMMAND_CHECKPOINT, req->params);
	return 0;
}

int commands_fail(struct request *req, struct error_info *info)
{
	(void)info;
	request_submit(req, COMMAND_FAIL, req->params);
	return 0;
}

int commands_lease_cancel(struct request *req, struct error_info *info)
{
	(void)info;
	request_submit(req, COMMAND_LEASE_CANCEL, req->params);
	return 0;
}

int commands_release(struct request *req, struct error_info *info)
{
	(void)info;
	request_submit(req, COMMAND_RELEASE, req->params);
	return 0;
}

/* ---- completions ---- */

static int check_size(const struct net *net, const char *field, size_t size, struct error_info *info)
{
	int64_t allowed = net->options.settings->artifact_bytes;

	if ((int64_t)size <= allowed)
		return 0;
	return error_set(info, ERR_TOO_LARGE, field, "has %zu bytes, %lld are allowed", size, (long long)allowed);
}

static int ready_completion(struct request *req, const struct msg_complete_item *from, struct complete_item *ret,
			    struct error_info *info)
{
	int rc;

	*ret = (struct complete_item){
		.id = from->id,
		.lease = from->lease,
		.has_result = from->has_result,
		.has_call_ms = from->has_call_ms,
		.call_ms = from->call_ms,
	};
	if (!from->has_result)
		return 0;
	rc = check_size(req->net, "result.data", from->result.data.size, info);
	if (rc < 0)
		return rc;
	rc = stage_add(req, from->result.content_type, from->result.data, &ret->result);
	return rc < 0 ? error_set(info, rc, NULL, "%s", error_text(rc)) : 0;
}

/* The one completion that stands in the request itself. */
static int single_item(const struct msg_job_complete *params, struct msg_complete_item *ret, struct error_info *info)
{
	if (!params->has_id || !params->has_lease)
		return error_set(info, ERR_BAD_REQUEST, params->has_id ? "lease" : "id", "is missing");
	*ret = (struct msg_complete_item){
		.id = params->id,
		.lease = params->lease,
		.has_result = params->has_result,
		.result = params->result,
		.has_call_ms = params->has_call_ms,
		.call_ms = params->call_ms,
	};
	return 0;
}

static void submit_complete(struct request *req)
{
	request_submit(req, COMMAND_COMPLETE, req->params);
}

int commands_complete(struct request *req, struct error_info *info)
{
	const struct msg_job_complete *params = req->params;
	const struct msg_complete_item *from = params->jobs;
	struct command_complete *cmd = request_alloc(req, sizeof(*cmd));
	struct msg_complete_item single;
	int rc;

	if (params->has_jobs && (params->has_id || params->has_lease || params->has_result))
		return error_set(info, ERR_BAD_REQUEST, "jobs",
				 "contradicts id, lease and result: give one or the other");
	if (!params->has_jobs) {
		rc = single_item(params, &single, info);
		if (rc < 0)
			return rc;
		from = &single;
	}
	if (!cmd)
		return no_memory(info);
	*cmd = (struct command_complete){ .count = params->has_jobs ? params->jobs_count : 1,
					  .many = params->has_jobs };
	cmd->items = request_alloc(req, cmd->count * sizeof(*cmd->items));
	if (!cmd->items || stage_begin(req, cmd->count) < 0)
		return no_memory(info);
	for (size_t i = 0; i < cmd->count; i++) {
		rc = ready_completion(req, &from[i], &cmd->items[i], info);
		if (rc < 0)
			return rc;
	}
	req->params = cmd;
	stage_run(req, submit_complete);
	return 0;
}

/* ---- artifacts in one piece ---- */

static void submit_attach(struct request *req)
{
	request_submit(req, COMMAND_ATTACH, req->params);
}

int commands_artifact_put(struct request *req, struct error_info *info)
{
	const struct msg_artifact_put *params = req->params;
	struct command_attach *cmd = request_alloc(req, sizeof(*cmd));
	int rc;

	rc = check_size(req->net, "data", params->data.size, info);
	if (rc < 0)
		return rc;
	if (!params->has_lease && req->session->role == ROLE_WORKER)
		return error_set(info, ERR_BAD_REQUEST, "lease", "is missing");
	if (!cmd || stage_begin(req, 1) < 0)
		return no_memory(info);
	*cmd = (struct command_attach){
		.id = params->id,
		.lease = params->lease,
		.has_lease = params->has_lease,
		.name = params->name,
	};
	rc = stage_add(req, params->content_type, params->data, &cmd->staged);
	if (rc < 0)
		return error_set(info, rc, NULL, "%s", error_text(rc));
	req->params = cmd;
	stage_run(req, submit_attach);
	return 0;
}
