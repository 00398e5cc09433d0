/* The life of a session and its bytes in. What it sends is in sending.c.
 *
 * Replies are not written when they are made: their session is put on the net's list of dirty ones, and pumped once
 * before the loop waits again. So all that became ready in one turn of the loop goes out in one write.
 */
#include "server/net/session.h"

#include <assert.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "proto/base/clean.h"
#include "proto/base/log.h"
#include "proto/rpc.h"
#include "server/net/dispatch.h"
#include "server/net/net_priv.h"
#include "server/net/notices.h"
#include "server/net/registry.h"
#include "server/net/sending.h"
#include "server/net/upkeep.h"
#include "server/net/uploads.h"
#include "server/net/waits.h"
#include "server/writer/writer.h"

#define END_MS		  30000 /* for taking the last replies */
#define LINGER_MS	  1000	/* for closing the other side */
#define KEEPALIVE_SECONDS 60

/* A message of a stranger; session.hello is far smaller. */
#define STRANGER_MESSAGE 65536

static const uint8_t may_become[SESSION_STATES] = {
	[SESSION_OPEN] = 1 << SESSION_ENDING | 1 << SESSION_CLOSED,
	[SESSION_ENDING] = 1 << SESSION_LINGERING | 1 << SESSION_CLOSED,
	[SESSION_LINGERING] = 1 << SESSION_CLOSED,
};

static void move(struct session *s, enum session_state to)
{
	assert(may_become[s->state] & 1 << to);
	s->state = to;
}

/* ---- the list of those to be pumped ---- */

void session_touch(struct session *s)
{
	struct session **first = &s->net->dirty;

	if (s->dirty_link || s->state == SESSION_CLOSED)
		return;
	s->next_dirty = *first;
	if (*first)
		(*first)->dirty_link = &s->next_dirty;
	s->dirty_link = first;
	*first = s;
}

static void clean(struct session *s)
{
	if (!s->dirty_link)
		return;
	*s->dirty_link = s->next_dirty;
	if (s->next_dirty)
		s->next_dirty->dirty_link = s->dirty_link;
	s->dirty_link = NULL;
}

/* ---- ending ---- */

static void free_if_over(struct session *s)
{
	struct net *net = s->net;

	if (s->state != SESSION_CLOSED || s->handles > 0 || s->open > 0 || s->forgetting)
		return;
	*s->link = s->next;
	if (s->next)
		s->next->link = s->link;
	buf_done(&s->in);
	free(s);
	net__drop(net);
}

void session_hold(struct session *s)
{
	s->open++;
}

void session_drop(struct session *s)
{
	s->open--;
	session_touch(s);
	free_if_over(s);
}

static void forgotten_cb(struct mail *mail)
{
	struct session *s = CONTAINER_OF(mail, struct session, forgotten);

	s->forgetting = false;
	free_if_over(s);
}

static void forget_answer_cb(struct command *cmd, const struct message *m, const void *result)
{
	(void)cmd;
	(void)m;
	(void)result;
}

static void forget_refuse_cb(struct command *cmd, const struct error_info *info)
{
	(void)cmd;
	(void)info;
}

static void forget_release_cb(struct command *cmd, int rc)
{
	struct session *s = CONTAINER_OF(cmd, struct session, forget);

	(void)rc;
	mailbox_push(&s->net->mailbox, &s->forgotten);
}

/* Lets go what the engine keeps for the session: nobody will read the answers. */
static void forget(struct session *s)
{
	if (!s->parked)
		return;
	s->parked = false;
	s->forgetting = true;
	s->forgotten.take = forgotten_cb;
	s->forget = (struct command){
		.kind = COMMAND_FORGET,
		.session = s->id,
		.answer = forget_answer_cb,
		.refuse = forget_refuse_cb,
		.release = forget_release_cb,
	};
	writer_submit(s->net->options.writer, &s->forget);
}

/* What goes once no more requests are taken. */
static void let_go(struct session *s)
{
	buf_done(&s->in);
	notices_remove(s->net->notices, s);
	registry_remove(s->net->registry, s);
	forget(s);
	waits_cancel(s->net->waits, s);
	upkeep_cancel(s->net->upkeep, s);
	uploads_drop(s->net->uploads, s);
}

static void closed_cb(uv_handle_t *handle)
{
	struct session *s = handle->data;

	s->handles--;
	free_if_over(s);
}

void session_close(struct session *s)
{
	if (s->state == SESSION_CLOSED)
		return;
	move(s, SESSION_CLOSED);
	clean(s);
	let_go(s);
	sending_drop(s);
	s->net->counters.connections--;
	uv_close(&s->peer.handle, closed_cb);
	uv_close((uv_handle_t *)&s->deadline, closed_cb);
	log_debug("session %llu: closed", (unsigned long long)s->id);
}

static void deadline_cb(uv_timer_t *timer)
{
	struct session *s = timer->data;

	log_debug("session %llu: its peer is too slow", (unsigned long long)s->id);
	session_close(s);
}

void session_end(struct session *s)
{
	if (s->state != SESSION_OPEN)
		return;
	move(s, SESSION_ENDING);
	let_go(s);
	uv_timer_start(&s->deadline, deadline_cb, END_MS, 0);
	session_touch(s);
}

static void shutdown_cb(uv_shutdown_t *req, int status)
{
	(void)req;
	(void)status; /* a connection that failed is told by the read as well */
}

/* All is sent. */
static void linger(struct session *s)
{
	if (s->eof || uv_shutdown(&s->shutdown, &s->peer.stream, shutdown_cb) < 0) {
		session_close(s);
		return;
	}
	move(s, SESSION_LINGERING);
	uv_timer_start(&s->deadline, deadline_cb, LINGER_MS, 0);
}

void session_break(struct session *s, const struct error_info *info, const void *data, size_t size)
{
	struct request *req;
	uint64_t id;

	log_debug("session %llu: broke the protocol: %s", (unsigned long long)s->id, info->message);
	if (rpc_peek_id(data, size, &id) == 0 && request_new(s, NULL, 0, &req) == 0) {
		req->id = id;
		request_refuse(req, info);
	}
	session_end(s);
}

/* ---- messages in ---- */

bool session_has_its_fill(const struct session *s)
{
	const struct net_limits *limits = &s->net->options.limits;

	return s->open >= (unsigned)limits->in_flight || s->charged >= limits->unsent;
}

static void break_framing(struct session *s, int rc, const uint8_t *data, size_t size)
{
	struct error_info info;

	if (rc == ERR_TOO_LARGE)
		error_set(&info, rc, NULL, "a message may have %zu bytes, %u elements and a depth of %u",
			  s->skim.limits.max_bytes, s->skim.limits.max_elements, s->skim.limits.max_depth);
	else
		error_set(&info, ERR_BAD_REQUEST, NULL, "this is not a MessagePack-RPC message");
	session_break(s, &info, data, size);
}

/* Dispatches the whole messages at data, as far as the limits allow. How many bytes they were. */
static size_t take_messages(struct session *s, const uint8_t *data, size_t size)
{
	size_t at = 0;

	while (s->state == SESSION_OPEN && !session_has_its_fill(s)) {
		struct request *req;
		size_t length;
		int rc;

		rc = skim_feed(&s->skim, data + at, size - at, &length);
		if (rc < 0) {
			break_framing(s, rc, data + at, size - at);
			break;
		}
		if (length == 0)
			break;
		if (request_new(s, data + at, length, &req) < 0) {
			session_close(s);
			break;
		}
		dispatch(req);
		at += length;
	}
	return at;
}

/* Goes on with what was read and not yet taken. Whether anything was. */
static bool take_held(struct session *s)
{
	size_t taken = take_messages(s, s->in.data, s->in.size);

	/* A session that ended meanwhile has thrown its bytes away. */
	if (s->state == SESSION_OPEN && taken == s->in.size)
		buf_done(&s->in);
	else if (s->state == SESSION_OPEN)
		buf_consume(&s->in, taken);
	return taken > 0;
}

/* Bytes that begin a message are taken from where they were read to; only a rest is kept. */
static void receive(struct session *s, const uint8_t *data, size_t size)
{
	bool fresh = s->in.size == 0;
	size_t taken = fresh ? take_messages(s, data, size) : 0;

	if (s->state != SESSION_OPEN)
		return;
	if (buf_append(&s->in, data + taken, size - taken) < 0)
		session_close(s);
	else if (!fresh)
		take_held(s);
}

static void room_cb(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
	struct session *s = handle->data;

	(void)suggested;
	*ret = uv_buf_init((char *)s->net->room, NET_ROOM);
}

static void read_cb(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf);

static void set_reading(struct session *s)
{
	bool wanted = s->state == SESSION_LINGERING || (s->state == SESSION_OPEN && !session_has_its_fill(s));

	wanted = wanted && !s->eof;
	if (wanted == s->reading || s->state == SESSION_CLOSED)
		return;
	s->reading = wanted;
	if (!wanted)
		uv_read_stop(&s->peer.stream);
	else if (uv_read_start(&s->peer.stream, room_cb, read_cb) < 0)
		session_close(s);
}

static void read_cb(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
	struct session *s = stream->data;

	if (size == UV_EOF) {
		s->eof = true;
		if (s->state == SESSION_LINGERING)
			session_close(s);
		else
			session_end(s);
	} else if (size < 0) {
		session_close(s);
	} else if (size > 0 && s->state == SESSION_OPEN) {
		receive(s, (const uint8_t *)buf->base, (size_t)size);
	}
	/* At once, not when it is pumped: libuv reads several times in a row. */
	set_reading(s);
	session_touch(s);
}

static void pump(struct session *s)
{
	do
		sending_flush(s);
	while (s->state == SESSION_OPEN && s->in.size > 0 && take_held(s));
	if (s->state == SESSION_ENDING && s->open == 0)
		linger(s);
	set_reading(s);
}

void session_pump_dirty(struct net *net)
{
	struct session *s;

	while ((s = net->dirty)) {
		pump(s);
		clean(s);
	}
}

/* ---- beginning ---- */

/* A stream of the server's kind, and a timer. */
static void open_handles(struct session *s, const uv_stream_t *server)
{
	uv_loop_t *loop = s->net->loop;

	/* Without a descriptor yet, neither of these can fail. */
	if (server->type == UV_TCP)
		uv_tcp_init(loop, &s->peer.tcp);
	else
		uv_pipe_init(loop, &s->peer.pipe, 0);
	uv_timer_init(loop, &s->deadline);
	s->peer.handle.data = s;
	s->deadline.data = s;
	s->handles = 2;
}

static void link_in(struct session *s, struct net *net)
{
	s->next = net->sessions;
	if (s->next)
		s->next->link = &s->next;
	s->link = &net->sessions;
	net->sessions = s;
	net->counters.connections++;
	net->counters.accepted++;
	net__hold(net);
}

static struct session *session_new(struct net *net)
{
	const struct net_limits *limits = &net->options.limits;
	struct skim_limits stranger = { limits->message, limits->depth, limits->elements };
	struct session *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	if (stranger.max_bytes > STRANGER_MESSAGE)
		stranger.max_bytes = STRANGER_MESSAGE;
	skim_init(&s->skim, &stranger);
	/* The most of a message that is not whole, and one read. */
	buf_init(&s->in, limits->message + NET_ROOM);
	s->net = net;
	/* 0 is nobody. */
	do
		s->id = ++net->last_session;
	while (s->id == 0);
	s->ready_last = &s->ready;
	return s;
}

/* Replies go out as they are made, and a peer whose machine is gone is found out within two minutes. None of it
 * matters enough to refuse the connection for. */
static void tune(uv_tcp_t *tcp)
{
	int seconds = 15, probes = 4;
	uv_os_fd_t fd;

	uv_tcp_nodelay(tcp, 1);
	uv_tcp_keepalive(tcp, 1, KEEPALIVE_SECONDS);
	if (uv_fileno((uv_handle_t *)tcp, &fd) < 0)
		return;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &seconds, sizeof(seconds));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
}

int session_open(struct net *net, uv_stream_t *server)
{
	struct session *s;

	if (net->counters.connections >= net->options.limits.connections)
		return ERR_THROTTLED;
	s = session_new(net);
	if (!s)
		return ERR_NO_MEMORY;
	open_handles(s, server);
	link_in(s, net);
	if (uv_accept(server, &s->peer.stream) < 0) {
		session_close(s);
		return 0;
	}
	if (server->type == UV_TCP)
		tune(&s->peer.tcp);
	uv_timer_start(&s->deadline, deadline_cb, (uint64_t)net->options.limits.hello_ms, 0);
	session_touch(s);
	log_debug("session %llu: opened", (unsigned long long)s->id);
	return 0;
}

void session_greet(struct session *s, enum role role, bool subscribe)
{
	s->greeted = true;
	s->role = role;
	s->subscribed = subscribe;
	if (subscribe)
		notices_add(s->net->notices, s);
	s->skim.limits.max_bytes = s->net->options.limits.message;
	uv_timer_stop(&s->deadline);
}
