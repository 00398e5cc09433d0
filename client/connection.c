/* Happy path: pause of zero, lookup, connect, the owner's greeting, READY; then each readable event appends to the
 * buffer in, the skimmer cuts it into messages, and each poll is preceded by one send of all that gathered in out.
 *
 * Failures: whatever goes wrong with the socket, the peer's bytes or the clock ends in connection_break(): the socket
 * is closed, both buffers are emptied, the owner is told, and the pause before the next attempt doubles up to its
 * maximum. The socket is polled, not a uv_stream_t: so one path serves TCP and Unix sockets, and send(2) can be told
 * not to raise SIGPIPE in a program that is not ours.
 */
#include "connection.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto/base/clean.h"

#define READ_CHUNK	 (64u << 10)
#define KEEP_CAPACITY	 (1u << 20) /* a buffer grown beyond this is given back when it is empty */
#define KEEPALIVE_IDLE_S 30

#define BIT(n) (1u << (n))

static const unsigned may_become[CONNECTION_STATES] = {
	[CONNECTION_WAITING] = BIT(CONNECTION_RESOLVING) | BIT(CONNECTION_CLOSED),
	[CONNECTION_RESOLVING] = BIT(CONNECTION_CONNECTING) | BIT(CONNECTION_WAITING) | BIT(CONNECTION_CLOSED),
	[CONNECTION_CONNECTING] = BIT(CONNECTION_GREETING) | BIT(CONNECTION_WAITING) | BIT(CONNECTION_CLOSED),
	[CONNECTION_GREETING] = BIT(CONNECTION_READY) | BIT(CONNECTION_WAITING) | BIT(CONNECTION_CLOSED),
	[CONNECTION_READY] = BIT(CONNECTION_WAITING) | BIT(CONNECTION_CLOSED),
};

static void become(struct connection *c, enum connection_state state)
{
	assert(may_become[c->state] & BIT(state));
	c->state = state;
}

/* Outlives its connection where the lookup cannot be called off. */
struct lookup {
	uv_getaddrinfo_t req;
	struct connection *connection; /* NULL: nobody is interested any more */
};

static void try_next(struct connection *c);
static int cannot_connect(struct connection *c, int error);

/* ---- the end of a socket ---- */

static void free_handle_cb(uv_handle_t *handle)
{
	free(handle);
}

static void drop_socket(struct connection *c)
{
	if (c->poll) {
		uv_poll_stop(c->poll);
		uv_close((uv_handle_t *)TAKE_PTR(c->poll), free_handle_cb);
	}
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->want_write = false;
}

static void drop_all(struct connection *c)
{
	static const struct skim_limits limits = { CONNECTION_MAX_MESSAGE, SKIM_MAX_DEPTH, CONNECTION_MAX_ELEMENTS };

	drop_socket(c);
	if (c->lookup) {
		c->lookup->connection = NULL;
		uv_cancel((uv_req_t *)&TAKE_PTR(c->lookup)->req);
	}
	if (c->addresses)
		uv_freeaddrinfo(TAKE_PTR(c->addresses));
	c->next = NULL;
	buf_done(&c->in);
	buf_done(&c->out);
	c->out_sent = 0;
	skim_init(&c->skim, &limits);
}

/* Half to all of the pause that doubles with each failure, so that a thousand clients do not return as one. */
static int64_t draw_pause(const struct connection *c)
{
	int64_t pause = c->config.backoff_min_ms;
	uint32_t random = 0;

	for (unsigned i = 1; i < c->failures && pause < c->config.backoff_max_ms; i++)
		pause *= 2;
	if (pause > c->config.backoff_max_ms)
		pause = c->config.backoff_max_ms;
	uv_random(NULL, NULL, &random, sizeof(random), 0, NULL);
	return pause - (int64_t)((double)pause / 2 * random / UINT32_MAX);
}

static void start_attempt(struct connection *c);

static void timer_cb(uv_timer_t *timer)
{
	struct connection *c = timer->data;

	if (c->state == CONNECTION_WAITING) {
		start_attempt(c);
	} else {
		struct error_info why;

		error_set(&why, ERR_NO_CONNECTION, NULL, "%.200s did not answer in time",
			  endpoint_format(&c->config.address).text);
		connection_break(c, &why);
	}
}

void connection_break(struct connection *c, const struct error_info *why)
{
	struct error_info copy = *why;
	int64_t pause;

	if (c->state == CONNECTION_WAITING || c->state == CONNECTION_CLOSED)
		return;
	drop_all(c);
	c->failures++;
	become(c, CONNECTION_WAITING);
	pause = draw_pause(c);
	uv_timer_start(&c->timer, timer_cb, (uint64_t)pause, 0);
	c->ops->down(c->owner, &copy, pause);
}

static void break_errno(struct connection *c, const char *doing, int error)
{
	struct error_info why;

	error_set(&why, ERR_NO_CONNECTION, NULL, "%s %.120s: %s", doing, endpoint_format(&c->config.address).text,
		  strerror(error));
	connection_break(c, &why);
}

/* ---- bytes in and out ---- */

static bool up(const struct connection *c)
{
	return c->state == CONNECTION_GREETING || c->state == CONNECTION_READY;
}

/* Hands on every whole message in the buffer. The owner may break or close the connection on the way (then poll is
 * another one or none) while what it was handed must last until it returns: so the bytes are kept here meanwhile. */
static void deliver(struct connection *c)
{
	const uv_poll_t *poll = c->poll;
	_cleanup_(buf_done) struct buf in = c->in;
	struct error_info why = { 0 };
	size_t at = 0;
	size_t size;
	int rc;

	buf_init(&c->in, in.cap);
	while (at < in.size) {
		rc = skim_feed(&c->skim, in.data + at, in.size - at, &size);
		if (rc < 0)
			error_set(&why, ERR_PROTOCOL, NULL, "the broker sent what is not a message");
		else if (size == 0)
			break;
		else
			rc = c->ops->message(c->owner, in.data + at, size, &why);
		if (c->poll != poll)
			return;
		if (rc < 0) {
			connection_break(c, &why);
			return;
		}
		at += size;
	}
	buf_consume(&in, at);
	if (in.size == 0 && in.capacity > KEEP_CAPACITY)
		return;
	c->in = in;
	in = (struct buf){ 0 };
}

/* One read. False where nothing was there to read. */
static bool receive(struct connection *c)
{
	uint8_t *room;
	ssize_t n;

	if (buf_reserve(&c->in, READ_CHUNK, &room) < 0) {
		break_errno(c, "cannot read from", ENOMEM);
		return false;
	}
	n = recv(c->fd, room, READ_CHUNK, 0);
	if (n > 0) {
		buf_commit(&c->in, (size_t)n);
		c->heard += (uint64_t)n;
		deliver(c);
		return true;
	}
	if (n == 0) {
		struct error_info why;

		error_set(&why, ERR_NO_CONNECTION, NULL, "%.200s closed the connection",
			  endpoint_format(&c->config.address).text);
		connection_break(c, &why);
	} else if (errno != EAGAIN && errno != EINTR) {
		break_errno(c, "lost", errno);
	}
	return false;
}

static void poll_cb(uv_poll_t *poll, int status, int events);

static void set_want_write(struct connection *c, bool want)
{
	if (c->want_write == want)
		return;
	c->want_write = want;
	uv_poll_start(c->poll, UV_READABLE | (want ? UV_WRITABLE : 0), poll_cb);
}

static void flush(struct connection *c)
{
	while (connection_unsent(c) > 0) {
		ssize_t n = send(c->fd, c->out.data + c->out_sent, connection_unsent(c), MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			set_want_write(c, true);
			return;
		}
		/* What the broker said before it hung up matters more than that it did: reading will find both. */
		if (n < 0)
			break;
		c->out_sent += (size_t)n;
	}
	set_want_write(c, false);
	c->out_sent = 0;
	buf_reset(&c->out);
	if (c->out.capacity > KEEP_CAPACITY)
		buf_done(&c->out);
}

static void prepare_cb(uv_prepare_t *prepare)
{
	struct connection *c = prepare->data;

	if (!up(c) || c->want_write)
		return;
	if (c->state == CONNECTION_READY)
		c->ops->fill(c->owner, &c->out);
	if (up(c) && connection_unsent(c) > 0)
		flush(c);
}

static void established(struct connection *c)
{
	struct error_info why = { 0 };
	int rc;

	if (!c->config.address.is_unix) {
		int on = 1, idle = KEEPALIVE_IDLE_S;

		/* All three make it better; none is needed. */
		setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		setsockopt(c->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
		setsockopt(c->fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	}
	become(c, CONNECTION_GREETING);
	uv_poll_start(c->poll, UV_READABLE, poll_cb);
	rc = c->ops->opened(c->owner, &c->out, &why);
	if (rc < 0)
		connection_break(c, &why);
}

static void connect_done(struct connection *c, int status)
{
	int error = 0;
	socklen_t size = sizeof(error);

	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
		error = errno;
	if (error == 0 && status < 0)
		error = -status;
	if (error == 0) {
		established(c);
		return;
	}
	cannot_connect(c, error);
	try_next(c);
}

static void poll_cb(uv_poll_t *poll, int status, int events)
{
	struct connection *c = poll->data;

	if (c->poll != poll)
		return;
	if (c->state == CONNECTION_CONNECTING) {
		connect_done(c, status);
		return;
	}
	if (status < 0) {
		/* libuv has stopped this poll: all that is left to read is read now. */
		while (c->poll == poll && receive(c))
			;
		if (c->poll == poll)
			break_errno(c, "lost", EIO);
		return;
	}
	if (events & UV_READABLE)
		receive(c);
	if ((events & UV_WRITABLE) && c->poll == poll)
		flush(c);
}

/* ---- making a connection ---- */

/* Keeps why an address was not to be had, until there is none left to try. */
static int cannot_connect(struct connection *c, int error)
{
	error_set(&c->reason, ERR_NO_CONNECTION, NULL, "cannot connect to %.120s: %s",
		  endpoint_format(&c->config.address).text, strerror(error));
	drop_socket(c);
	return ERR_NO_CONNECTION;
}

static int open_socket(struct connection *c, const struct sockaddr *sa, socklen_t size)
{
	uv_poll_t *poll;
	int rc;

	c->fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || (connect(c->fd, sa, size) < 0 && errno != EINPROGRESS))
		return cannot_connect(c, errno);
	poll = calloc(1, sizeof(*poll));
	rc = poll ? uv_poll_init(c->loop, poll, c->fd) : UV_ENOMEM;
	if (rc < 0) {
		free(poll);
		return cannot_connect(c, -rc);
	}
	poll->data = c;
	c->poll = poll;
	uv_poll_start(c->poll, UV_WRITABLE, poll_cb);
	return 0;
}

/* The next of the addresses that the name has; after the last one the attempt has failed. */
static void try_next(struct connection *c)
{
	drop_socket(c);
	while (c->next) {
		struct addrinfo *a = c->next;

		c->next = a->ai_next;
		if (open_socket(c, a->ai_addr, a->ai_addrlen) == 0)
			return;
	}
	connection_break(c, &c->reason);
}

static void lookup_cb(uv_getaddrinfo_t *req, int status, struct addrinfo *addresses)
{
	_cleanup_free_ struct lookup *lookup = CONTAINER_OF(req, struct lookup, req);
	struct connection *c = lookup->connection;

	if (!c) {
		uv_freeaddrinfo(addresses);
		return;
	}
	c->lookup = NULL;
	if (status < 0) {
		struct error_info why;

		error_set(&why, ERR_NO_CONNECTION, NULL, "cannot find %.120s: %s", c->config.address.host,
			  uv_strerror(status));
		connection_break(c, &why);
		return;
	}
	become(c, CONNECTION_CONNECTING);
	c->addresses = addresses;
	c->next = addresses;
	try_next(c);
}

static void start_lookup(struct connection *c)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
	struct lookup *lookup = calloc(1, sizeof(*lookup));
	char port[8];
	int rc = UV_ENOMEM;

	snprintf(port, sizeof(port), "%u", c->config.address.port);
	if (lookup) {
		lookup->connection = c;
		rc = uv_getaddrinfo(c->loop, &lookup->req, lookup_cb, c->config.address.host, port, &hints);
	}
	if (rc < 0) {
		free(lookup);
		break_errno(c, "cannot look up", -rc);
		return;
	}
	c->lookup = lookup;
}

_Static_assert(sizeof(((struct sockaddr_un *)0)->sun_path) == ENDPOINT_PATH_SIZE, "a path fits");

/* True where the address needs no lookup. */
static bool as_sockaddr(const struct endpoint *a, struct sockaddr_storage *ret, socklen_t *ret_size)
{
	struct sockaddr_un *un = (struct sockaddr_un *)ret;

	memset(ret, 0, sizeof(*ret));
	if (a->is_unix) {
		un->sun_family = AF_UNIX;
		memcpy(un->sun_path, a->path, sizeof(a->path));
		*ret_size = sizeof(*un);
		return true;
	}
	if (uv_ip4_addr(a->host, a->port, (struct sockaddr_in *)ret) == 0) {
		*ret_size = sizeof(struct sockaddr_in);
		return true;
	}
	*ret_size = sizeof(struct sockaddr_in6);
	return uv_ip6_addr(a->host, a->port, (struct sockaddr_in6 *)ret) == 0;
}

static void start_attempt(struct connection *c)
{
	struct sockaddr_storage sa;
	socklen_t size;

	become(c, CONNECTION_RESOLVING);
	uv_timer_start(&c->timer, timer_cb, (uint64_t)c->config.connect_timeout_ms, 0);
	if (!as_sockaddr(&c->config.address, &sa, &size)) {
		start_lookup(c);
		return;
	}
	become(c, CONNECTION_CONNECTING);
	if (open_socket(c, (struct sockaddr *)&sa, size) < 0)
		connection_break(c, &c->reason);
}

/* ---- for the owner ---- */

void connection_init(struct connection *c, uv_loop_t *loop, const struct connection_config *config,
		     const struct connection_ops *ops, void *owner)
{
	*c = (struct connection){ .config = *config, .ops = ops, .owner = owner, .loop = loop, .fd = -1 };
	/* None of these four can fail: they only link the handle into the loop. */
	uv_timer_init(loop, &c->timer);
	uv_prepare_init(loop, &c->prepare);
	c->timer.data = c;
	c->prepare.data = c;
	c->open_handles = 2;
	uv_prepare_start(&c->prepare, prepare_cb);
	uv_unref((uv_handle_t *)&c->prepare);
	buf_init(&c->in, CONNECTION_MAX_MESSAGE + READ_CHUNK);
	buf_init(&c->out, config->max_out_bytes);
	drop_all(c);
	uv_timer_start(&c->timer, timer_cb, 0, 0);
}

void connection_ready(struct connection *c)
{
	become(c, CONNECTION_READY);
	uv_timer_stop(&c->timer);
	c->failures = 0;
}

void connection_hurry(struct connection *c)
{
	if (c->state == CONNECTION_WAITING)
		uv_timer_start(&c->timer, timer_cb, 0, 0);
}

static void handle_closed_cb(uv_handle_t *handle)
{
	struct connection *c = handle->data;

	if (--c->open_handles == 0)
		c->ops->closed(c->owner);
}

void connection_close(struct connection *c)
{
	if (c->state == CONNECTION_CLOSED)
		return;
	drop_all(c);
	become(c, CONNECTION_CLOSED);
	uv_close((uv_handle_t *)&c->timer, handle_closed_cb);
	uv_close((uv_handle_t *)&c->prepare, handle_closed_cb);
}
