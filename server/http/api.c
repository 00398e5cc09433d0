#include "api.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "proto/base/clock.h"
#include "proto/base/text.h"
#include "proto/messages_json.h"
#include "server/engine/view.h"
#include "server/http/api_call.h"
#include "server/http/api_settings.h"
#include "server/http/exchange.h"
#include "server/http/media.h"
#include "server/http/openapi.h"
#include "server/http/problem.h"
#include "server/http/response.h"
#include "server/http/words.h"

#define JSON_MAX (64 << 20) /* of all queues */

/* ---- who may ---- */

int api_check(struct exchange *x)
{
	const struct request *r = &x->request;
	struct error_info info;
	unsigned status;
	int rc;

	rc = guard_check(r->connection, &r->site->hosts, &status, &info);
	return rc < 0 ? exchange_refuse(x, status, &info) : 0;
}

/* A body that is coded is not what its Content-Type says, and nobody behind us would undo it. */
static int check_coding(struct exchange *x)
{
	const char *coding = request_header(x->request.connection, "Content-Encoding");
	struct error_info info;

	if (!coding || strcasecmp(coding, "identity") == 0)
		return 0;
	error_set(&info, ERR_BAD_REQUEST, "Content-Encoding", "the body must be sent as it is");
	return exchange_refuse(x, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE, &info);
}

int api_begin(struct exchange *x)
{
	int rc = check_coding(x);

	return rc < 0 ? rc : api_call_begin_put(x);
}

/* ---- answers ---- */

struct MHD_Response *api_json(struct buf *body, int retry_after)
{
	struct MHD_Response *r = response_new(body, "application/json");
	char seconds[16];

	response_header(r, "Cache-Control", "no-store");
	if (retry_after > 0) {
		snprintf(seconds, sizeof(seconds), "%d", retry_after);
		response_header(r, "Retry-After", seconds);
	}
	return r;
}

enum MHD_Result api_send_error(const struct exchange *x, int rc, const char *what)
{
	struct error_info info;

	if (rc == ERR_NOT_FOUND)
		error_set(&info, rc, NULL, "there is no such %s", what);
	else if (rc == ERR_GONE)
		error_set(&info, rc, NULL, "the %s was there and is no more", what);
	else if (rc == ERR_CORRUPT)
		error_set(&info, rc, NULL, "what is stored of the %s is damaged", what);
	else
		error_set(&info, rc, NULL, "%s", error_text(rc));
	return problem_send(x->request.connection, &info);
}

static enum MHD_Result refuse_id(const struct exchange *x)
{
	struct error_info info;

	error_set(&info, ERR_BAD_REQUEST, "id", "is not a UUID");
	return problem_send(x->request.connection, &info);
}

/* ---- reads ---- */

static int write_job(struct store_txn *t, const struct site *site, const struct uuid *id, struct buf *out,
		     struct api_job *ret)
{
	struct job_view view;
	int rc;

	rc = view_job(t, site->settings, clock_wall_ms(), id, &view);
	if (rc < 0)
		return rc;
	ret->final = job_state_final(view.job.state);
	ret->retry_after = ret->final ? 0 : words_retry_after(&view.job);
	return message_to_json(&MSG_job, &view.job, out);
}

int api_read_job(const struct site *site, const struct uuid *id, struct buf *out, struct api_job *ret)
{
	struct store_txn *t = NULL;
	int rc;

	rc = store_begin_read(site->store, &t);
	if (rc == 0)
		rc = write_job(t, site, id, out, ret);
	store_abort(t);
	return rc;
}

static int write_queues(struct store_txn *t, struct buf *out)
{
	struct msg_queue_list_result result = { .has_queues = true };
	struct queues_view queues = { 0 };
	int rc;

	rc = view_queues(t, &queues);
	if (rc == 0) {
		result.queues = queues.items;
		result.queues_count = queues.count;
		rc = message_to_json(&MSG_queue_list_result, &result, out);
	}
	queues_view_done(&queues);
	return rc;
}

static int write_queue(struct store_txn *t, const char *name, struct buf *out)
{
	struct group_weight weights[MAX_WEIGHTS];
	struct msg_queue queue;
	int rc;

	rc = view_queue_by_name(t, slice_str(name), weights, &queue);
	return rc < 0 ? rc : message_to_json(&MSG_queue, &queue, out);
}

static int read_queues(const struct exchange *x, struct buf *out)
{
	struct store_txn *t = NULL;
	int rc;

	/* What cannot be a name would be no key either. */
	if (x->path.route == ROUTE_QUEUE && !name_valid(slice_str(x->path.subject)))
		return ERR_NOT_FOUND;
	rc = store_begin_read(x->request.site->store, &t);
	if (rc == 0)
		rc = x->path.route == ROUTE_QUEUES ? write_queues(t, out) : write_queue(t, x->path.subject, out);
	store_abort(t);
	return rc;
}

static enum MHD_Result serve_queues(const struct exchange *x)
{
	enum MHD_Result result;
	struct buf body;
	int rc;

	buf_init(&body, JSON_MAX);
	rc = read_queues(x, &body);
	if (rc < 0)
		result = api_send_error(x, rc, "queue");
	else
		result = response_send(x->request.connection, MHD_HTTP_OK, api_json(&body, 0));
	buf_done(&body);
	return result;
}

static enum MHD_Result serve_artifact(const struct exchange *x, const struct uuid *id)
{
	struct request r = x->request;

	r.job = id;
	return media_serve(&r);
}

static enum MHD_Result serve_nothing(const struct exchange *x)
{
	struct error_info info;

	if (x->path.route == ROUTE_API_BROKEN)
		error_set(&info, ERR_BAD_REQUEST, "path", "has an escape that is none, or a part that is too long");
	else
		error_set(&info, ERR_NOT_FOUND, NULL, "there is nothing here: see /v1/openapi.json");
	return problem_send(x->request.connection, &info);
}

static enum MHD_Result serve_job_route(struct exchange *x)
{
	struct uuid id;

	if (uuid_parse(slice_str(x->path.subject), &id) < 0)
		return refuse_id(x);
	if (x->path.route == ROUTE_JOB_ARTIFACT)
		return serve_artifact(x, &id);
	if (x->path.route == ROUTE_RETRY)
		return api_call_change(x, &id, CHANGE_RETRY);
	if (strcmp(x->method, "DELETE") == 0)
		return api_call_change(x, &id, CHANGE_CANCEL);
	return api_call_get(x, &id);
}

enum MHD_Result api_serve(struct exchange *x)
{
	switch (x->path.route) {
	case ROUTE_OPENAPI:
		return openapi_serve(&x->request);
	case ROUTE_QUEUES:
	case ROUTE_QUEUE:
		return serve_queues(x);
	case ROUTE_PUT:
		return api_call_put(x);
	case ROUTE_JOB:
	case ROUTE_RETRY:
	case ROUTE_JOB_ARTIFACT:
		return serve_job_route(x);
	default:
		return serve_nothing(x);
	}
}
