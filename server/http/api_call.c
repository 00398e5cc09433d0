#include "api_call.h"

#include <msgpack/zone.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/clean.h"
#include "proto/base/clock.h"
#include "proto/messages_json.h"
#include "server/engine/answer.h"
#include "server/engine/put_check.h"
#include "server/http/api.h"
#include "server/http/api_settings.h"
#include "server/http/exchange.h"
#include "server/http/form.h"
#include "server/http/problem.h"
#include "server/http/response.h"
#include "server/http/stills.h"
#include "server/http/watch.h"
#include "server/http/words.h"
#include "server/writer/writer.h"

#define ARENA_CHUNK    4096
#define JSON_MAX       (1 << 20) /* of one job */
#define API_WAIT_MAX_S 60

enum call_stage { CALL_NEW, CALL_WRITING, CALL_WAITING };

struct api_call {
	struct exchange *exchange;
	enum call_stage stage;
	bool suspended;
	int wait_s;
	struct msgpack_zone *arena; /* of a put's settings, and of its answer */
	struct command command;
	struct put_item item;
	struct command_put put;
	struct still still;
	struct command_change change;

	/* What the writer says. */
	int released;		 /* negative: nothing of it came to be */
	struct error_info error; /* code < 0: refused; what it said last, see command.h */
	void *result;		 /* of a put; NULL: there was no memory for it */

	struct uuid id;
	struct watcher watcher; /* of the job, while its end is waited for … */
	int64_t until_ms;	/* … until then, by the monotonic clock */
};

static struct api_call *call_new(struct exchange *x)
{
	struct api_call *call = calloc(1, sizeof(*call));

	if (!call)
		return NULL;
	call->exchange = x;
	call->wait_s = api_settings_wait(x->request.connection, API_WAIT_MAX_S);
	x->call = call;
	return call;
}

/* For the counters: also of one whose peer had gone when it was resumed. */
static void note_suspended(struct api_call *call, bool suspended)
{
	if (call->suspended != suspended)
		exchange_suspended(call->exchange, call->stage == CALL_WAITING ? TRAFFIC_JOB : TRAFFIC_WRITE,
				   suspended ? 1 : -1);
	call->suspended = suspended;
}

void api_call_free(struct api_call *call)
{
	if (!call)
		return;
	note_suspended(call, false);
	watch_leave(&call->watcher);
	if (call->arena)
		msgpack_zone_free(call->arena);
	free(call);
}

static enum MHD_Result send_no_memory(const struct exchange *x)
{
	return api_send_error(x, ERR_NO_MEMORY, NULL);
}

/* ---- the job, once it is at its end or nobody waits any more ---- */

static void location_header(struct MHD_Response *r, const struct uuid *id)
{
	char location[64];

	snprintf(location, sizeof(location), "/v1/jobs/%s", uuid_format(id).text);
	response_header(r, "Location", location);
}

static void wait_header(struct MHD_Response *r, int seconds)
{
	char applied[32];

	snprintf(applied, sizeof(applied), "wait=%d", seconds);
	response_header(r, "Preference-Applied", applied);
}

static enum MHD_Result send_job(const struct api_call *call, struct buf *body, const struct api_job *job)
{
	const struct exchange *x = call->exchange;
	bool read = x->path.route == ROUTE_JOB && strcmp(x->method, "DELETE") != 0;
	bool done = x->path.route == ROUTE_PUT && job->final;
	struct MHD_Response *r = api_json(body, job->retry_after);

	if (x->path.route == ROUTE_PUT)
		location_header(r, &call->id);
	if (call->wait_s > 0)
		wait_header(r, call->wait_s);
	return response_send(x->request.connection, read || done ? MHD_HTTP_OK : MHD_HTTP_ACCEPTED, r);
}

/* True where it has answered, with *ret_result. */
static bool look(struct api_call *call, bool over, enum MHD_Result *ret_result)
{
	struct exchange *x = call->exchange;
	struct api_job job = { .final = false };
	bool answers = true;
	struct buf body;
	int rc;

	buf_init(&body, JSON_MAX);
	rc = api_read_job(x->request.site, &call->id, &body, &job);
	if (rc < 0)
		*ret_result = api_send_error(x, rc, "job");
	else if (job.final || over)
		*ret_result = send_job(call, &body, &job);
	else
		answers = false;
	buf_done(&body);
	return answers;
}

/* Where it has to go on waiting, the connection is suspended. */
static enum MHD_Result wait_for_end(struct api_call *call)
{
	enum watch_verdict verdict;
	enum MHD_Result result;

	note_suspended(call, false);
	do {
		verdict = watch_wait(&call->watcher, call->until_ms);
		if (verdict == WATCH_ASLEEP) {
			note_suspended(call, true);
			return MHD_YES;
		}
	} while (!look(call, verdict != WATCH_NEWS, &result));
	watch_leave(&call->watcher);
	return result;
}

/* It joins before it looks for the first time, so that an end that comes in between is not missed. */
static enum MHD_Result begin_wait(struct api_call *call)
{
	struct exchange *x = call->exchange;
	struct watch *watch = atomic_load(&x->request.site->watch);
	enum MHD_Result result;
	bool joined;

	x->waits = true;
	call->stage = CALL_WAITING;
	call->watcher.connection = x->request.connection;
	call->until_ms = clock_mono_ms() + call->wait_s * INT64_C(1000);
	/* Where as many wait as may, it is answered at once. */
	joined = watch_join_job(watch, &call->watcher, &call->id);
	if (!look(call, !joined, &result))
		return wait_for_end(call);
	watch_leave(&call->watcher);
	return result;
}

/* Answers with the job as it is, when there is a wait to come to: at its end. */
static enum MHD_Result answer_with_job(struct api_call *call)
{
	enum MHD_Result result;

	if (call->wait_s > 0)
		return begin_wait(call);
	(void)look(call, true, &result);
	return result;
}

enum MHD_Result api_call_get(struct exchange *x, const struct uuid *id)
{
	struct api_call *call = x->call ? x->call : call_new(x);

	if (!call)
		return send_no_memory(x);
	if (call->stage == CALL_WAITING)
		return wait_for_end(call);
	call->id = *id;
	return answer_with_job(call);
}

/* ---- through the writer ---- */

static void refuse_cb(struct command *cmd, const struct error_info *info)
{
	CONTAINER_OF(cmd, struct api_call, command)->error = *info;
}

/* From the resumption on the connection's thread may end the request. */
static void settled_cb(struct still *still, int rc)
{
	(void)rc;
	MHD_resume_connection(CONTAINER_OF(still, struct api_call, still)->exchange->request.connection);
}

/* A file that no record came to name goes before anybody is told so: neither the writer nor the connections wait for
 * that. */
static void release_cb(struct command *cmd, int rc)
{
	struct api_call *call = CONTAINER_OF(cmd, struct api_call, command);

	call->released = rc == ERR_CANCELED ? ERR_SHUTTING_DOWN : rc;
	/* The engine wrote into the item's copy. */
	call->still.staged.adopted = call->item.preview.adopted;
	stills_settle(call->exchange->request.site->stills, &call->still, settled_cb);
}

/* Whoever then has the command releases it. */
static void prepare(struct api_call *call, enum command_kind kind, const void *params,
		    void (*answer)(struct command *, const struct message *, const void *))
{
	call->stage = CALL_WRITING;
	call->command = (struct command){
		.kind = kind,
		.params = params,
		.answer = answer,
		.refuse = refuse_cb,
		.release = release_cb,
	};
	note_suspended(call, true);
	/* First: the writer may be done with it before this thread is out of here. */
	MHD_suspend_connection(call->exchange->request.connection);
}

static void submit(struct api_call *call)
{
	writer_submit(call->exchange->request.site->writer, &call->command);
}

/* Negative, and answered, where nothing was written. */
static int check_written(struct api_call *call, enum MHD_Result *ret_result)
{
	struct exchange *x = call->exchange;

	note_suspended(call, false);
	call->stage = CALL_NEW;
	if (call->released < 0)
		error_set(&call->error, call->released, NULL, "%s", error_text(call->released));
	if (call->error.code >= 0)
		return 0;
	*ret_result = problem_send(x->request.connection, &call->error);
	return call->error.code;
}

/* ---- a put ---- */

/* Of a body that is still to come. */
static const struct form no_parts_yet;

/* form: as for api_settings_read(). */
static int read_settings(struct api_call *call, const struct form *form, struct error_info *info)
{
	const struct exchange *x = call->exchange;
	int rc;

	rc = api_settings_read(x->request.connection, x->path.subject, form, call->arena, &call->item.put, info);
	return rc < 0 ? rc : put_check(x->request.site->settings, &call->item.put, info);
}

int api_call_begin_put(struct exchange *x)
{
	struct api_call *call = call_new(x);
	struct error_info info;
	struct slice boundary;
	int rc;

	if (call)
		call->arena = msgpack_zone_new(ARENA_CHUNK);
	if (!call || !call->arena) {
		error_set(&info, ERR_NO_MEMORY, NULL, "%s", error_text(ERR_NO_MEMORY));
		return exchange_refuse(x, 0, &info);
	}
	rc = form_boundary(request_header(x->request.connection, "Content-Type"), &boundary, &info);
	if (rc == 0 || rc == ERR_NOT_FOUND)
		rc = read_settings(call, rc == 0 ? &no_parts_yet : NULL, &info);
	return rc < 0 ? exchange_refuse(x, 0, &info) : 0;
}

/* What the parts of a form say goes with what the head has said already. */
static int read_form(struct api_call *call, struct slice boundary, struct error_info *info)
{
	const struct exchange *x = call->exchange;
	struct form *form = malloc(sizeof(*form));
	int64_t most = x->request.site->settings->payload_bytes;
	int rc;

	if (!form)
		return error_set(info, ERR_NO_MEMORY, NULL, "%s", error_text(ERR_NO_MEMORY));
	rc = form_parse(buf_slice(&x->body), boundary, form, info);
	if (rc == 0 && form->count == 0)
		rc = error_set(info, ERR_BAD_REQUEST, "payload", "the form has no such part");
	if (rc == 0)
		rc = read_settings(call, form, info);
	if (rc == 0 && (int64_t)call->item.put.payload.size > most)
		rc = error_set(info, ERR_TOO_LARGE, "payload", "%lld bytes are allowed", (long long)most);
	free(form);
	return rc;
}

static int read_body(struct api_call *call, struct error_info *info)
{
	const struct exchange *x = call->exchange;
	struct slice boundary;
	int rc;

	rc = form_boundary(request_header(x->request.connection, "Content-Type"), &boundary, info);
	if (rc == 0)
		return read_form(call, boundary, info);
	if (rc == ERR_NOT_FOUND)
		call->item.put.payload = buf_slice(&x->body);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

size_t api_call_body_max(const struct exchange *x)
{
	const struct settings *settings = x->request.site->settings;

	if (!form_is_announced(request_header(x->request.connection, "Content-Type")))
		return (size_t)settings->payload_bytes;
	/* As much as one message may have on the wire, where the same goes along with a put. */
	return (size_t)(settings->answer_bytes > 0 ? settings->answer_bytes : 2 * settings->payload_bytes);
}

static void put_answer_cb(struct command *cmd, const struct message *m, const void *result)
{
	struct api_call *call = CONTAINER_OF(cmd, struct api_call, command);

	call->error.code = 0;
	if (message_copy(m, result, call->arena, &call->result) < 0)
		call->result = NULL;
}

/* Whole, as JSON. ERR_NO_MEMORY. */
static int write_put(struct api_call *call, struct buf *body)
{
	struct site *site = call->exchange->request.site;
	int rc;

	if (!call->result)
		return ERR_NO_MEMORY;
	pthread_mutex_lock(&site->links_lock);
	rc = answer_finish(&call->command, call->result, site->settings, site->links, call->arena);
	pthread_mutex_unlock(&site->links_lock);
	return rc < 0 ? rc : message_to_json(&MSG_job_put_result, call->result, body);
}

static enum MHD_Result send_put(const struct api_call *call, struct buf *body)
{
	const struct msg_job_put_result *result = call->result;
	struct msg_job job = { .state = result->state, .has_eta_ms = result->has_eta_ms, .eta_ms = result->eta_ms };
	struct MHD_Response *r = api_json(body, words_retry_after(&job));

	location_header(r, &call->id);
	return response_send(call->exchange->request.connection, MHD_HTTP_ACCEPTED, r);
}

/* The job is on the disk. Without memory for the answer it must not become an error, which would say that there is no
 * job. */
static enum MHD_Result answer_put(struct api_call *call)
{
	const struct msg_job_put_result *result = call->result;
	enum MHD_Result sent = MHD_NO;
	struct buf body;

	buf_init(&body, JSON_MAX);
	if (write_put(call, &body) == 0) {
		call->id = result->id;
		if (job_state_final(result->state) || call->wait_s > 0)
			sent = answer_with_job(call);
		else
			sent = send_put(call, &body);
	}
	buf_done(&body);
	return sent;
}

/* On whichever thread made it ready. */
static void still_cb(struct still *still, int rc)
{
	struct api_call *call = CONTAINER_OF(still, struct api_call, still);

	call->item.preview = still->staged;
	if (rc < 0)
		release_cb(&call->command, rc);
	else
		submit(call);
}

static enum MHD_Result begin_put(struct api_call *call)
{
	const struct msg_job_put *put = &call->item.put;
	const struct exchange *x = call->exchange;
	struct error_info info;

	if (read_body(call, &info) < 0)
		return problem_send(x->request.connection, &info);
	call->put = (struct command_put){ .items = &call->item, .count = 1 };
	prepare(call, COMMAND_PUT, &call->put, put_answer_cb);
	if (put->has_preview)
		stills_prepare(x->request.site->stills, &call->still, put->preview.content_type, put->preview.data,
			       still_cb);
	else
		submit(call);
	return MHD_YES;
}

enum MHD_Result api_call_put(struct exchange *x)
{
	struct api_call *call = x->call;
	enum MHD_Result result;

	if (call->stage == CALL_WAITING)
		return wait_for_end(call);
	if (call->stage == CALL_WRITING)
		return check_written(call, &result) < 0 ? result : answer_put(call);
	return begin_put(call);
}

/* ---- cancel and retry ---- */

static void change_answer_cb(struct command *cmd, const struct message *m, const void *result)
{
	(void)m;
	(void)result;
	CONTAINER_OF(cmd, struct api_call, command)->error.code = 0;
}

enum MHD_Result api_call_change(struct exchange *x, const struct uuid *id, enum change_action action)
{
	struct api_call *call = x->call ? x->call : call_new(x);
	enum MHD_Result result;

	if (!call)
		return send_no_memory(x);
	if (call->stage == CALL_WRITING) {
		call->wait_s = 0; /* nobody waits for the end of what was canceled */
		return check_written(call, &result) < 0 ? result : answer_with_job(call);
	}
	call->id = *id;
	call->change = (struct command_change){ .action = action, .has_id = true, .id = *id };
	prepare(call, COMMAND_CHANGE, &call->change, change_answer_cb);
	submit(call);
	return MHD_YES;
}
