#include "server/net/uploads.h"

#include <assert.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/clean.h"
#include "proto/base/clock.h"
#include "proto/base/text.h"
#include "server/engine/settings.h"
#include "server/engine/view.h"
#include "server/net/dispatch.h"
#include "server/net/net_priv.h"
#include "server/net/session.h"
#include "server/net/stage.h"
#include "server/store/blob.h"

/* Of one session: each holds a file open. */
#define SESSION_MAX 1024
#define BUCKETS	    1024

struct upload {
	struct upload *next; /* of its bucket */
	struct upload **link;
	struct upload *newer; /* in the order of use */
	struct upload *older;
	struct uploads *uploads;
	struct session *session; /* that began it; NULL when dropped */
	struct token token;
	int64_t used_at_ms;

	struct uuid job;
	struct token lease;
	char name[129];
	char content_type[256];
	int64_t declared; /* −1: not said */

	struct uuid blob;
	struct blob_writer *writer;
	bool published;
	uint8_t sha256[32];

	struct request *running; /* the one that has the writer */
	struct request *waiting; /* the ones that want it next, in order */
	struct request **waiting_last;
	uv_work_t closing;
};

struct uploads {
	struct net *net;
	struct upload *buckets[BUCKETS];
	struct upload *newest;
	struct upload *oldest;
	size_t count;
	uv_timer_t *idle; /* while there are uploads; runs out when the oldest is due */
};

/* ---- finding ---- */

static struct upload **bucket(struct uploads *all, const struct token *token)
{
	uint32_t hash;

	memcpy(&hash, token->bytes, sizeof(hash));
	return &all->buckets[hash % BUCKETS];
}

/* Another session's is as good as none. */
static struct upload *find(const struct request *req, const struct token *token)
{
	for (struct upload *u = *bucket(req->net->uploads, token); u; u = u->next)
		if (u->session == req->session &&
		    gnutls_memcmp(u->token.bytes, token->bytes, sizeof(token->bytes)) == 0)
			return u;
	return NULL;
}

static void unlink_use(struct upload *u)
{
	struct uploads *all = u->uploads;

	if (u->newer)
		u->newer->older = u->older;
	else
		all->newest = u->older;
	if (u->older)
		u->older->newer = u->newer;
	else
		all->oldest = u->newer;
}

static void link_use(struct upload *u)
{
	struct uploads *all = u->uploads;

	u->used_at_ms = clock_mono_ms();
	u->newer = NULL;
	u->older = all->newest;
	if (u->older)
		u->older->newer = u;
	else
		all->oldest = u;
	all->newest = u;
}

/* ---- ending ---- */

static void refuse(struct request *req, int code, const char *field, const char *message)
{
	struct error_info info;

	error_set(&info, code, field, "%s", message);
	request_refuse(req, &info);
}

static void close_work_cb(uv_work_t *work)
{
	struct upload *u = CONTAINER_OF(work, struct upload, closing);

	/* Removes the file, unless it was published and is somebody else's by now. */
	blob_close(u->writer);
}

static void close_done_cb(uv_work_t *work, int status)
{
	struct upload *u = CONTAINER_OF(work, struct upload, closing);
	struct net *net = u->uploads->net;

	(void)status;
	u->uploads->count--;
	free(u);
	net__drop(net);
}

static void watch(struct uploads *all);

/* Nobody finds it any more; who has it goes on, who waits for it is refused. */
static void forget(struct upload *u)
{
	struct request *req = u->waiting;

	if (!u->session)
		return;
	u->session->uploads--;
	u->session = NULL;
	unlink_use(u);
	*u->link = u->next;
	if (u->next)
		u->next->link = u->link;
	watch(u->uploads);
	u->waiting = NULL;
	while (req) {
		struct request *next = req->next;

		refuse(req, ERR_NOT_FOUND, "upload", "there is no such upload");
		req = next;
	}
}

static void close_upload(struct upload *u)
{
	int rc;

	forget(u);
	if (u->running)
		return;
	net__hold(u->uploads->net);
	rc = uv_queue_work(u->uploads->net->loop, &u->closing, close_work_cb, close_done_cb);
	assert(rc == 0); /* it only looks at its arguments */
	(void)rc;
}

void uploads_drop(struct uploads *all, struct session *s)
{
	struct upload *u = s->uploads > 0 ? all->newest : NULL;

	while (u) {
		struct upload *older = u->older;

		if (u->session == s)
			close_upload(u);
		u = older;
	}
}

/* ---- those that nobody writes ---- */

static void idle_closed_cb(uv_handle_t *handle)
{
	struct net *net = handle->data;

	free(handle);
	net__drop(net);
}

static void idle_cb(uv_timer_t *timer);

/* Arms the timer for the oldest. Without a timer, an upload goes with its session all the same. */
static void watch(struct uploads *all)
{
	int64_t due;

	if (!all->oldest) {
		if (all->idle)
			uv_close((uv_handle_t *)TAKE_PTR(all->idle), idle_closed_cb);
		return;
	}
	if (!all->idle) {
		all->idle = calloc(1, sizeof(*all->idle));
		if (!all->idle)
			return;
		uv_timer_init(all->net->loop, all->idle);
		all->idle->data = all->net;
		net__hold(all->net);
	}
	if (uv_is_active((uv_handle_t *)all->idle))
		return;
	due = all->oldest->used_at_ms + all->net->options.limits.upload_ms - clock_mono_ms();
	uv_timer_start(all->idle, idle_cb, due > 0 ? (uint64_t)due : 0, 0);
}

static void idle_cb(uv_timer_t *timer)
{
	struct uploads *all = ((struct net *)timer->data)->uploads;
	int64_t now = clock_mono_ms();

	while (all->oldest && all->oldest->used_at_ms + all->net->options.limits.upload_ms <= now)
		close_upload(all->oldest);
	watch(all);
}

/* ---- one request after the other ---- */

static void run_next(struct upload *u);

/* The request with the writer is through with it. */
static void release(struct upload *u)
{
	u->running = NULL;
	if (u->session)
		run_next(u);
	else
		close_upload(u);
}

/* run finds the upload at req->upload, leaves a reply, and an error in req->released where the upload is to end. */
static int enqueue(struct request *req, const struct token *token, request_cb run, request_cb then,
		   struct error_info *info)
{
	struct upload *u = find(req, token);

	if (!u)
		return error_set(info, ERR_NOT_FOUND, "upload", "there is no such upload");
	unlink_use(u);
	link_use(u);
	req->upload = u;
	req->run = run;
	req->after = then;
	req->next = NULL;
	if (!u->waiting)
		u->waiting_last = &u->waiting;
	*u->waiting_last = req;
	u->waiting_last = &req->next;
	if (!u->running)
		run_next(u);
	return 0;
}

static void run_next(struct upload *u)
{
	struct request *req = u->waiting;

	if (!req)
		return;
	u->waiting = req->next;
	u->running = req;
	req->released = 0;
	request_work(req, req->run, req->after);
}

static void after(struct request *req)
{
	struct upload *u = req->upload;

	if (req->released < 0)
		forget(u);
	request_done(req);
	release(u);
}

/* ---- begin ---- */

/* One more is refused before its bytes come: at the commit the engine looks again. */
static int check_room(const struct job_view *view, const struct upload *u, struct error_info *info)
{
	if (view->job.artifacts_count < VIEW_ARTIFACTS)
		return 0;
	for (size_t i = 0; i < view->job.artifacts_count; i++)
		if (slice_is(view->job.artifacts[i].name, u->name))
			return 0;
	return uploads_too_many(info, "name");
}

/* The lease holds, and the job has room. */
static int check_begin(struct net *net, const struct upload *u, struct error_info *info)
{
	_cleanup_(store_abortp) struct store_txn *t = NULL;
	int64_t now = clock_wall_ms();
	struct job_view view;
	int rc;

	rc = store_begin_read(net->options.store, &t);
	if (rc == 0)
		rc = view_job(t, net->options.settings, now, &u->job, &view);
	if (rc < 0)
		return error_set(info, rc, NULL, "%s", error_text(rc));
	if (view.record.state != JOB_RUNNING || view.record.lease_expires_at_ms <= now ||
	    gnutls_memcmp(view.record.lease.bytes, u->lease.bytes, sizeof(u->lease.bytes)) != 0)
		return error_set(info, ERR_LEASE_LOST, NULL, "%s", error_text(ERR_LEASE_LOST));
	return check_room(&view, u, info);
}

static int open_blob(struct net *net, struct upload *u, struct error_info *info)
{
	int rc = blob_create(net->options.blobs, &u->blob, &u->writer);

	return rc < 0 ? error_set(info, rc, NULL, "%s", error_text(rc)) : 0;
}

static void run_begin(struct request *req)
{
	struct msg_artifact_begin_result result = { .has_upload = true };
	struct upload *u = req->upload;
	struct error_info info;
	int rc;

	rc = check_begin(req->net, u, &info);
	if (rc == 0)
		rc = open_blob(req->net, u, &info);
	req->released = rc;
	result.upload = u->token;
	if (rc < 0)
		request_encode_error(req, &info);
	else
		request_encode(req, &MSG_artifact_begin_result, &result);
}

static void copy_text(struct slice from, char *ret, size_t size)
{
	assert(from.size < size); /* the decoder has seen to it */
	memcpy(ret, from.data, from.size);
}

static struct upload *create(struct request *req)
{
	const struct msg_artifact_begin *params = req->params;
	struct upload *u = calloc(1, sizeof(*u));

	if (!u || net__random(u->token.bytes, sizeof(u->token.bytes)) < 0 || net__blob_id(req->net, &u->blob) < 0) {
		free(u);
		return NULL;
	}
	u->uploads = req->net->uploads;
	u->session = req->session;
	u->job = params->id;
	u->lease = params->lease;
	u->declared = params->has_size ? params->size : -1;
	copy_text(params->name, u->name, sizeof(u->name));
	copy_text(params->content_type, u->content_type, sizeof(u->content_type));
	return u;
}

static int too_large(const struct request *req, const char *field, struct error_info *info)
{
	return error_set(info, ERR_TOO_LARGE, field, "an artifact may have %lld bytes",
			 (long long)req->net->options.settings->artifact_bytes);
}

int uploads_too_many(struct error_info *info, const char *field)
{
	return error_set(info, ERR_TOO_LARGE, field, "a job has at most %d artifacts", VIEW_ARTIFACTS);
}

int uploads_begin(struct request *req, struct error_info *info)
{
	const struct msg_artifact_begin *params = req->params;
	struct uploads *all = req->net->uploads;
	struct upload **first, *u;

	if (params->has_size && params->size > req->net->options.settings->artifact_bytes)
		return too_large(req, "size", info);
	if (all->count >= (size_t)req->net->options.limits.uploads || req->session->uploads >= SESSION_MAX)
		return error_set(info, ERR_THROTTLED, NULL, "too many uploads are open");
	u = create(req);
	if (!u)
		return error_set(info, ERR_NO_MEMORY, NULL, "%s", error_text(ERR_NO_MEMORY));
	first = bucket(all, &u->token);
	u->next = *first;
	if (u->next)
		u->next->link = &u->next;
	u->link = first;
	*first = u;
	link_use(u);
	all->count++;
	req->session->uploads++;
	watch(all);
	/* Its first request has it from the start: nobody else knows the token yet. */
	req->upload = u;
	u->running = req;
	request_work(req, run_begin, after);
	return 0;
}

/* ---- write ---- */

static int append(struct request *req, int64_t *ret_offset, struct error_info *info)
{
	const struct msg_artifact_write *params = req->params;
	struct upload *u = req->upload;
	int64_t at = blob_size(u->writer);
	int rc;

	if (params->offset != at)
		return error_set(info, ERR_BAD_REQUEST, "offset", "the upload has %lld bytes: write there",
				 (long long)at);
	if ((int64_t)params->data.size > req->net->options.settings->artifact_bytes - at)
		return too_large(req, "data", info);
	if (u->declared >= 0 && (int64_t)params->data.size > u->declared - at)
		return error_set(info, ERR_TOO_LARGE, "data", "goes beyond the %lld bytes that were announced",
				 (long long)u->declared);
	rc = blob_append(u->writer, params->data);
	if (rc < 0) {
		req->released = rc;
		return error_set(info, rc, NULL, "%s", error_text(rc));
	}
	*ret_offset = at + (int64_t)params->data.size;
	return 0;
}

static void run_write(struct request *req)
{
	struct msg_artifact_write_result result = { .has_offset = true };
	struct error_info info;

	if (append(req, &result.offset, &info) < 0)
		request_encode_error(req, &info);
	else
		request_encode(req, &MSG_artifact_write_result, &result);
}

int uploads_write(struct request *req, struct error_info *info)
{
	const struct msg_artifact_write *params = req->params;

	return enqueue(req, &params->upload, run_write, after, info);
}

/* ---- commit ---- */

/* The writer has given the command back. */
static void attached(struct request *req)
{
	const struct command_attach *cmd = req->params;
	struct upload *u = req->upload;

	stage_settle(req->net, &cmd->staged);
	release(u);
}

static void publish_done(struct request *req)
{
	struct upload *u = req->upload;
	struct command_attach *cmd;

	if (!u->published) {
		after(req);
		return;
	}
	forget(u);
	cmd = request_alloc(req, sizeof(*cmd));
	if (!cmd) {
		stage_discard(req->net, &u->blob);
		request_encode_code(req, ERR_NO_MEMORY);
		after(req);
		return;
	}
	*cmd = (struct command_attach){
		.id = u->job,
		.lease = u->lease,
		.has_lease = true,
		.name = slice_str(u->name),
		.staged = {
			.content_type = slice_str(u->content_type),
			.size = blob_size(u->writer),
			.has_blob = true,
			.blob = u->blob,
		},
	};
	memcpy(cmd->staged.sha256, u->sha256, sizeof(u->sha256));
	req->params = cmd;
	req->settle = attached;
	request_submit(req, COMMAND_ATTACH, cmd);
}

/* An upload that was said to be longer stays open for the rest. */
static int publish(struct request *req, struct error_info *info)
{
	const struct msg_artifact_commit *params = req->params;
	struct upload *u = req->upload;
	int64_t size = blob_size(u->writer);
	uint8_t wanted[32];
	int rc;

	if (params->has_sha256 && hex_decode(params->sha256, wanted, sizeof(wanted)) < 0)
		return error_set(info, ERR_BAD_REQUEST, "sha256", "must be 64 hexadecimal digits");
	if (u->declared >= 0 && size != u->declared)
		return error_set(info, ERR_CONFLICT, "size", "the upload has %lld bytes, %lld were announced",
				 (long long)size, (long long)u->declared);
	rc = blob_publish(u->writer, u->sha256);
	if (rc < 0) {
		req->released = rc;
		return error_set(info, rc, NULL, "%s", error_text(rc));
	}
	if (params->has_sha256 && memcmp(wanted, u->sha256, sizeof(wanted)) != 0) {
		req->released = ERR_CONFLICT;
		(void)blob_remove(req->net->options.blobs, &u->blob);
		return error_set(info, ERR_CONFLICT, "sha256", "the bytes that came are others");
	}
	u->published = true;
	return 0;
}

static void run_commit(struct request *req)
{
	struct error_info info;

	if (publish(req, &info) < 0)
		request_encode_error(req, &info);
}

int uploads_commit(struct request *req, struct error_info *info)
{
	const struct msg_artifact_commit *params = req->params;

	return enqueue(req, &params->upload, run_commit, publish_done, info);
}

/* ---- all of them ---- */

int uploads_new(struct net *net, struct uploads **ret)
{
	struct uploads *all = calloc(1, sizeof(*all));

	if (!all)
		return ERR_NO_MEMORY;
	all->net = net;
	*ret = all;
	return 0;
}

void uploads_free(struct uploads *all)
{
	if (!all)
		return;
	assert(all->count == 0);
	free(all);
}
