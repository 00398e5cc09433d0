#include "server/net/sending.h"

#include "proto/base/clean.h"
#include "proto/rpc.h"
#include "server/net/request.h"
#include "server/net/session.h"

/* Replies in one write. */
#define GATHER 64

void session_send(struct session *s, struct request *req)
{
	if (s->state == SESSION_CLOSED) {
		request_free(req);
		return;
	}
	if (req->reply.size == 0) {
		session_close(s);
		request_free(req);
		return;
	}
	/* From here on it counts for what it really is. */
	if (req->charge < req->reply.size)
		request_charge(req, req->reply.size - req->charge);
	req->next = NULL;
	*s->ready_last = req;
	s->ready_last = &req->next;
	session_touch(s);
}

bool session_notify(struct session *s, const char *method, const struct message *m, const void *params)
{
	struct request *req;

	if (s->state != SESSION_OPEN || !s->subscribed || session_has_its_fill(s) || request_new(s, NULL, 0, &req) < 0)
		return false;
	if (rpc_write_notification(&req->reply, method, m, params) < 0) {
		request_free(req);
		return false;
	}
	session_send(s, req);
	return true;
}

static struct request *pop(struct session *s)
{
	struct request *req = s->ready;

	s->ready = req->next;
	if (!s->ready)
		s->ready_last = &s->ready;
	return req;
}

static unsigned gather(const struct session *s, uv_buf_t bufs[GATHER], size_t *ret_size)
{
	unsigned count = 0;

	*ret_size = 0;
	for (struct request *req = s->ready; req && count < GATHER; req = req->next) {
		size_t left = req->reply.size - req->sent;

		bufs[count++] = uv_buf_init((char *)req->reply.data + req->sent, (unsigned)left);
		*ret_size += left;
	}
	return count;
}

/* size bytes are out. */
static void account(struct session *s, size_t size)
{
	while (s->ready && size >= s->ready->reply.size - s->ready->sent) {
		size -= s->ready->reply.size - s->ready->sent;
		request_free(pop(s));
	}
	if (s->ready)
		s->ready->sent += size;
}

static void write_cb(uv_write_t *write, int status)
{
	struct session *s = CONTAINER_OF(write, struct session, write);
	unsigned count = s->writing;

	/* Over the end of its requests, the last of which may be the last thing that keeps the session. */
	session_hold(s);
	s->writing = 0;
	while (count-- > 0)
		request_free(pop(s));
	if (status < 0)
		session_close(s);
	session_drop(s);
}

/* The peer takes no more for now: the loop writes on when it does. */
static void write_later(struct session *s)
{
	uv_buf_t bufs[GATHER];
	size_t size;

	s->writing = gather(s, bufs, &size);
	if (uv_write(&s->write, &s->peer.stream, bufs, s->writing, write_cb) < 0) {
		s->writing = 0;
		session_close(s);
	}
}

void sending_flush(struct session *s)
{
	while (s->ready && s->writing == 0 && s->state != SESSION_CLOSED) {
		uv_buf_t bufs[GATHER];
		size_t size;
		unsigned count = gather(s, bufs, &size);
		int sent = uv_try_write(&s->peer.stream, bufs, count);

		if (sent < 0 && sent != UV_EAGAIN) {
			session_close(s);
			return;
		}
		account(s, sent > 0 ? (size_t)sent : 0);
		if (sent < 0 || (size_t)sent < size)
			write_later(s);
	}
}

void sending_drop(struct session *s)
{
	struct request **from = &s->ready;
	struct request *req;

	for (unsigned i = 0; i < s->writing; i++)
		from = &(*from)->next;
	req = *from;
	*from = NULL;
	s->ready_last = from;
	while (req) {
		struct request *next = req->next;

		request_free(req);
		req = next;
	}
}
