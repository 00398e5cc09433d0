#include "server/net/request.h"

#include <assert.h>
#include <errno.h>
#include <msgpack/zone.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/clean.h"
#include "proto/base/log.h"
#include "proto/rpc.h"
#include "server/engine/answer.h"
#include "server/net/net_priv.h"
#include "server/net/session.h"
#include "server/net/uploads.h"
#include "server/store/store.h"
#include "server/writer/writer.h"

#define FULL_RETRY_MS 5000

#define POOL_MAX 1024
/* What a request at rest may keep of each of its buffers. */
#define KEPT	    4096
#define ARENA_CHUNK 4096

/* ---- making and ending ---- */

static void request_destroy(struct request *req)
{
	if (!req)
		return;
	buf_done(&req->frame);
	buf_done(&req->reply);
	msgpack_zone_free(req->arena);
	free(req);
}
DEFINE_CLEANUP(struct request *, request_destroy)

static int create(struct net *net, struct request **ret)
{
	_cleanup_(request_destroyp) struct request *req = calloc(1, sizeof(*req));

	if (!req)
		return ERR_NO_MEMORY;
	req->arena = msgpack_zone_new(ARENA_CHUNK);
	if (!req->arena)
		return ERR_NO_MEMORY;
	req->net = net;
	buf_init(&req->frame, net->options.limits.message);
	buf_init(&req->reply, net->options.limits.message);
	*ret = TAKE_PTR(req);
	return 0;
}

static struct request *take_pooled(struct request_pool *pool)
{
	struct request *req = pool->first;

	if (req) {
		pool->first = req->next;
		pool->count--;
	}
	return req;
}

static void empty(struct buf *b)
{
	if (b->capacity > KEPT)
		buf_done(b);
	buf_reset(b);
}

/* Back to the pool, as create() left it but for the memory it keeps. */
static void rest(struct request *req)
{
	struct request_pool *pool = &req->net->pool;

	if (pool->count >= POOL_MAX) {
		request_destroy(req);
		return;
	}
	empty(&req->frame);
	empty(&req->reply);
	msgpack_zone_clear(req->arena);
	*req = (struct request){ .net = req->net, .frame = req->frame, .reply = req->reply, .arena = req->arena };
	req->next = pool->first;
	pool->first = req;
	pool->count++;
}

void request_pool_done(struct request_pool *pool)
{
	struct request *req;

	while ((req = take_pooled(pool)))
		request_destroy(req);
}

int request_new(struct session *s, const void *frame, size_t size, struct request **ret)
{
	struct net *net = s->net;
	struct request *req = take_pooled(&net->pool);
	int rc;

	if (!req) {
		rc = create(net, &req);
		if (rc < 0)
			return rc;
	}
	rc = buf_append(&req->frame, frame, size);
	if (rc < 0) {
		rest(req);
		return rc;
	}
	req->session = s;
	session_hold(s);
	request_charge(req, sizeof(*req) + size);
	*ret = req;
	return 0;
}

void request_free(struct request *req)
{
	struct session *s;

	if (!req)
		return;
	s = req->session;
	s->charged -= req->charge;
	rest(req);
	session_drop(s);
}

void request_charge(struct request *req, size_t size)
{
	req->charge += size;
	req->session->charged += size;
}

void *request_alloc(struct request *req, size_t size)
{
	void *p = msgpack_zone_malloc(req->arena, size + 1);

	if (p)
		memset(p, 0, size);
	return p;
}

/* ---- replies ---- */

int request_try_encode(struct request *req, const struct message *m, const void *result)
{
	buf_reset(&req->reply);
	return rpc_write_response(&req->reply, req->id, m, result);
}

void request_encode(struct request *req, const struct message *m, const void *result)
{
	struct error_info info;
	int rc;

	rc = request_try_encode(req, m, result);
	if (rc < 0) {
		error_set(&info, rc, NULL, "%s",
			  rc == ERR_TOO_LARGE ? "the reply would be larger than a message may be" : error_text(rc));
		request_encode_error(req, &info);
	}
}

/* What the system said, on the thread that it said it to. */
static const char *detail_of(int code)
{
	return code == ERR_IO ? strerror(errno) : code == ERR_STORE_ERROR ? store_error_detail() : "";
}

/* Not for each: a disk that is gone fails every request. */
static void log_failure(struct request *req, const struct error_info *info)
{
	const char *detail = detail_of(info->code);
	struct log_unsaid unsaid;

	if (log_after_pause(&req->net->failures, &unsaid))
		log_error("%s failed: %s%s%s%s", req->method ? req->method->name : "a request", info->message,
			  detail[0] ? ": " : "", detail, unsaid.text);
}

void request_encode_error(struct request *req, const struct error_info *info)
{
	if (error_on_wire(info->code) == ERR_STORE_ERROR)
		log_failure(req, info);
	request_encode_logged(req, info);
}

void request_encode_logged(struct request *req, const struct error_info *info)
{
	struct error_info told = *info;

	/* The engine says so of the reserve; a disk that is full tells it to everybody else. */
	if (told.code == ERR_STORE_FULL && told.retry_after_ms == 0)
		told.retry_after_ms = FULL_RETRY_MS;
	buf_reset(&req->reply);
	/* Without memory the reply stays empty, which session_send() takes for what it is. */
	(void)rpc_write_error(&req->reply, req->id, &told);
}

void request_encode_code(struct request *req, int code)
{
	struct error_info info;

	error_set(&info, code, NULL, "%s", error_text(code));
	request_encode_error(req, &info);
}

void request_done(struct request *req)
{
	session_send(req->session, req);
}

void request_answer(struct request *req, const struct message *m, const void *result)
{
	request_encode(req, m, result);
	request_done(req);
}

void request_refuse(struct request *req, const struct error_info *info)
{
	request_encode_error(req, info);
	request_done(req);
}

/* ---- through the writer ---- */

static void answer_cb(struct command *cmd, const struct message *m, const void *result)
{
	struct request *req = CONTAINER_OF(cmd, struct request, command);

	req->refusal = NULL;
	req->message = m;
	if (message_copy(m, result, req->arena, &req->result) < 0)
		req->result = NULL;
}

static void refuse_cb(struct command *cmd, const struct error_info *info)
{
	struct request *req = CONTAINER_OF(cmd, struct request, command);

	req->result = NULL;
	req->refusal = msgpack_zone_malloc(req->arena, sizeof(*info));
	if (req->refusal)
		*req->refusal = *info;
}

static void release_cb(struct command *cmd, int rc)
{
	struct request *req = CONTAINER_OF(cmd, struct request, command);

	req->released = rc;
	/* Here, where the store tells what the system said. */
	if (rc < 0)
		request_encode_code(req, rc == ERR_CANCELED ? ERR_SHUTTING_DOWN : rc);
	mailbox_push(&req->net->mailbox, &req->back);
}

static void encode_refusal(struct request *req)
{
	struct error_info *told = req->refusal;

	/* The bytes fitted, or they would not have come to the engine: it is their number that does not. */
	if (told->code == ERR_TOO_LARGE && req->command.kind == COMMAND_ATTACH)
		uploads_too_many(told, "name");
	request_encode_error(req, told);
}

/* It is carried out already: an answer that cannot be written may not become an error, which would say that nothing was
 * changed. The reply stays empty, and the connection ends. */
static void encode_result(struct request *req)
{
	struct net *net = req->net;

	if (answer_finish(&req->command, req->result, net->options.settings, net->links, req->arena) < 0 ||
	    request_try_encode(req, req->message, req->result) < 0)
		buf_reset(&req->reply);
}

static void back_cb(struct mail *mail)
{
	struct request *req = CONTAINER_OF(mail, struct request, back);

	/* What was answered within a transaction that failed was never true. */
	if (req->released == 0 && req->refusal)
		encode_refusal(req);
	else if (req->released == 0 && req->result)
		encode_result(req);
	if (req->settle)
		req->settle(req);
	/* Of the answer there are its bytes now, which may have to wait long for the peer. */
	req->params = req->result = NULL;
	msgpack_zone_clear(req->arena);
	request_done(req);
}

void request_submit(struct request *req, enum command_kind kind, const void *params)
{
	req->back.take = back_cb;
	req->command = (struct command){
		.kind = kind,
		.params = params,
		.session = req->session->id,
		.answer = answer_cb,
		.refuse = refuse_cb,
		.release = release_cb,
	};
	writer_submit(req->net->options.writer, &req->command);
}

/* ---- through the pool ---- */

static void work_cb(uv_work_t *work)
{
	struct request *req = CONTAINER_OF(work, struct request, work);

	req->run(req);
}

static void after_work_cb(uv_work_t *work, int status)
{
	struct request *req = CONTAINER_OF(work, struct request, work);

	assert(status == 0); /* nothing here cancels work */
	(void)status;
	req->after(req);
}

void request_work(struct request *req, request_cb run, request_cb after)
{
	int rc;

	req->run = run;
	req->after = after;
	rc = uv_queue_work(req->net->loop, &req->work, work_cb, after_work_cb);
	assert(rc == 0); /* it only looks at its arguments */
	(void)rc;
}
