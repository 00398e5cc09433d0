/* A connection is taken into a session. Where there is no room or no memory for one it is taken all the same, into a
 * handle kept for that, and closed: libuv looks at a listening socket no more until what it accepted was taken.
 */
#include "server/net/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libgen.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto/base/clean.h"
#include "proto/base/log.h"
#include "server/net/net_priv.h"
#include "server/net/session.h"

#define BACKLOG	    4096
#define UNIX_PREFIX "unix:"

union any_stream {
	uv_handle_t handle;
	uv_stream_t stream;
	uv_tcp_t tcp;
	uv_pipe_t pipe;
};

struct listener {
	struct net *net;
	char *address;
	union any_stream server;
	union any_stream spill; /* for closing a connection that there is no room for */
	unsigned handles;	/* not closed yet */
	bool spilling;
	bool waiting; /* a connection is accepted and not taken */
	bool closing;
};

static void listener_free(struct listener *l)
{
	if (!l)
		return;
	free(l->address);
	free(l);
}
DEFINE_CLEANUP(struct listener *, listener_free)

/* ---- addresses ---- */

static int cannot(struct error_info *info, const char *address, const char *what, int status)
{
	int code = status == UV_EADDRINUSE ? ERR_CONFLICT : status == UV_ENOMEM ? ERR_NO_MEMORY : ERR_CONFIG;

	return error_set(info, code, "listen", "cannot %s %s: %s", what, address, uv_strerror(status));
}

/* "HOST:PORT" or "[IPV6]:PORT", in two. */
static int split(const char *address, char host[256], char port[6], struct error_info *info)
{
	const char *colon = strrchr(address, ':');
	const char *from = address;
	size_t size;

	if (!colon || strlen(colon + 1) < 1 || strlen(colon + 1) > 5 ||
	    strspn(colon + 1, "0123456789") != strlen(colon + 1))
		return error_set(info, ERR_CONFIG, "listen", "\"%s\" is not HOST:PORT or unix:PATH", address);
	size = (size_t)(colon - from);
	if (size >= 2 && from[0] == '[' && from[size - 1] == ']') {
		from++;
		size -= 2;
	} else if (memchr(from, ':', size)) {
		return error_set(info, ERR_CONFIG, "listen", "%s: an IPv6 address stands in brackets, as in [::1]:7246",
				 address);
	}
	if (size >= 256 || atoi(colon + 1) > 65535)
		return error_set(info, ERR_CONFIG, "listen", "\"%s\" is not HOST:PORT or unix:PATH", address);
	memcpy(host, from, size);
	host[size] = '\0';
	strcpy(port, colon + 1);
	return 0;
}

static int resolve(const char *address, struct sockaddr_storage *ret, struct error_info *info)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE };
	struct addrinfo *list;
	char host[256], port[6];
	int rc;

	rc = split(address, host, port, info);
	if (rc < 0)
		return rc;
	rc = getaddrinfo(host[0] ? host : NULL, port, &hints, &list);
	if (rc != 0)
		return error_set(info, ERR_CONFIG, "listen", "cannot resolve %s: %s", address, gai_strerror(rc));
	memcpy(ret, list->ai_addr, list->ai_addrlen);
	freeaddrinfo(list);
	return 0;
}

static bool is_loopback(const struct sockaddr_storage *at)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)at;
	const struct in6_addr *v6 = &((const struct sockaddr_in6 *)at)->sin6_addr;

	if (at->ss_family == AF_INET)
		return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
	return IN6_IS_ADDR_LOOPBACK(v6) || (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == 127);
}

/* What the socket is bound to, as text. */
static int name_tcp(struct listener *l)
{
	struct sockaddr_storage at;
	int size = sizeof(at);
	char host[INET6_ADDRSTRLEN];
	bool v6;

	if (uv_tcp_getsockname(&l->server.tcp, (struct sockaddr *)&at, &size) < 0)
		return ERR_INTERNAL;
	v6 = at.ss_family == AF_INET6;
	uv_inet_ntop(at.ss_family,
		     v6 ? (const void *)&((struct sockaddr_in6 *)&at)->sin6_addr
			: (const void *)&((struct sockaddr_in *)&at)->sin_addr,
		     host, sizeof(host));
	/* Both families have the port in one place. */
	if (asprintf(&l->address, v6 ? "[%s]:%u" : "%s:%u", host, ntohs(((struct sockaddr_in *)&at)->sin_port)) < 0) {
		l->address = NULL;
		return ERR_NO_MEMORY;
	}
	return 0;
}

/* ---- Unix sockets ---- */

static int connect_to(const struct sockaddr_un *at)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int status;

	if (fd < 0)
		return errno;
	status = connect(fd, (const struct sockaddr *)at, sizeof(*at)) < 0 ? errno : 0;
	close(fd);
	return status;
}

static int check_path(const char *path, struct error_info *info)
{
	const size_t room = sizeof(((struct sockaddr_un *)NULL)->sun_path);

	if (strlen(path) > 0 && strlen(path) < room)
		return 0;
	return error_set(info, ERR_CONFIG, "listen", "unix:%s: the path must have 1 to %zu bytes", path, room - 1);
}

/* libuv says that access is denied where the directory is not there. */
static int true_reason(const char *path, int status)
{
	_cleanup_free_ char *copy = strdup(path);

	if (status != UV_EACCES || !copy || access(dirname(copy), F_OK) == 0)
		return status;
	return uv_translate_sys_error(errno);
}

/* Makes way: a socket that nobody listens on is what a broker left that died. */
static int clear_path(const char *path, struct error_info *info)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	struct stat st;
	int rc;

	rc = check_path(path, info);
	if (rc < 0)
		return rc;
	if (lstat(path, &st) < 0)
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return error_set(info, ERR_CONFIG, "listen", "unix:%s: there is a file that is not a socket", path);
	strcpy(at.sun_path, path);
	if (connect_to(&at) != ECONNREFUSED)
		return error_set(info, ERR_CONFLICT, "listen", "unix:%s: another process serves it", path);
	if (unlink(path) < 0)
		return error_set(info, ERR_CONFIG, "listen", "unix:%s: cannot remove the stale socket: %s", path,
				 strerror(errno));
	return 0;
}

/* ---- connections ---- */

static void take_connection(struct listener *l);

/* A handle of l is closed. */
static void drop_handle(struct listener *l)
{
	struct net *net = l->net;

	if (--l->handles == 0)
		listener_free(l);
	net__drop(net);
}

static void spilled_cb(uv_handle_t *handle)
{
	struct listener *l = handle->data;

	l->spilling = false;
	if (l->waiting && !l->closing)
		take_connection(l);
	drop_handle(l);
}

static void spill(struct listener *l)
{
	if (l->spilling)
		return;
	if (l->server.handle.type == UV_TCP)
		uv_tcp_init(l->net->loop, &l->spill.tcp);
	else
		uv_pipe_init(l->net->loop, &l->spill.pipe, 0);
	l->spill.handle.data = l;
	l->spilling = true;
	l->waiting = false;
	l->net->counters.refused++;
	l->handles++;
	net__hold(l->net);
	(void)uv_accept(&l->server.stream, &l->spill.stream);
	uv_close(&l->spill.handle, spilled_cb);
}

/* Not for each: whoever opens too many must not fill the log besides. */
static void complain(struct listener *l, const char *why)
{
	struct net *net = l->net;
	struct log_unsaid unsaid;

	if (!log_after_pause(&net->refusals, &unsaid))
		return;
	log_warning("%s: connections are refused: %s; %lld are open%s", l->address, why,
		    (long long)net->counters.connections, unsaid.text);
}

static void take_connection(struct listener *l)
{
	int rc = session_open(l->net, &l->server.stream);

	if (rc < 0) {
		complain(l, rc == ERR_THROTTLED ? "no more may be open at once" : error_text(rc));
		spill(l);
		return;
	}
	l->waiting = false;
}

static void connection_cb(uv_stream_t *server, int status)
{
	struct listener *l = server->data;

	if (status < 0) {
		complain(l, uv_strerror(status));
		return;
	}
	l->waiting = true;
	take_connection(l);
}

/* ---- life ---- */

static int open_unix(struct listener *l, const char *address, struct error_info *info)
{
	const char *path = address + strlen(UNIX_PREFIX);
	int rc;

	rc = clear_path(path, info);
	if (rc < 0)
		return rc;
	l->address = strdup(address);
	if (!l->address)
		return ERR_NO_MEMORY;
	rc = uv_pipe_bind(&l->server.pipe, path);
	return rc < 0 ? cannot(info, address, "listen on", true_reason(path, rc)) : 0;
}

static int open_tcp(struct listener *l, const char *address, struct error_info *info)
{
	struct sockaddr_storage at = { 0 };
	int rc;

	rc = resolve(address, &at, info);
	if (rc < 0)
		return rc;
	if (!is_loopback(&at) && !l->net->options.insecure)
		return error_set(info, ERR_CONFIG, "listen",
				 "%s is reachable from other machines, and nobody has to prove who they are: listen on "
				 "loopback or a Unix socket, or say --insecure",
				 address);
	rc = uv_tcp_bind(&l->server.tcp, (const struct sockaddr *)&at, 0);
	return rc < 0 ? cannot(info, address, "listen on", rc) : 0;
}

static int start(struct listener *l, const char *address, bool is_unix, struct error_info *info)
{
	int rc;

	rc = is_unix ? open_unix(l, address, info) : open_tcp(l, address, info);
	if (rc < 0)
		return rc;
	rc = uv_listen(&l->server.stream, BACKLOG, connection_cb);
	if (rc < 0)
		return cannot(info, address, "listen on", rc);
	return is_unix ? 0 : name_tcp(l);
}

int listener_check(const char *address, struct error_info *info)
{
	char host[256], port[6];

	if (strncmp(address, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0)
		return check_path(address + strlen(UNIX_PREFIX), info);
	return split(address, host, port, info);
}

int listener_open(struct net *net, const char *address, struct listener **ret, struct error_info *info)
{
	bool is_unix = strncmp(address, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0;
	_cleanup_(listener_freep) struct listener *l = calloc(1, sizeof(*l));
	int rc;

	if (!l)
		return error_set(info, ERR_NO_MEMORY, NULL, "%s", error_text(ERR_NO_MEMORY));
	rc = is_unix ? uv_pipe_init(net->loop, &l->server.pipe, 0) : uv_tcp_init(net->loop, &l->server.tcp);
	if (rc < 0)
		return cannot(info, address, "listen on", rc);
	l->net = net;
	l->server.handle.data = l;
	l->handles = 1;
	net__hold(net);
	rc = start(l, address, is_unix, info);
	if (rc < 0) {
		/* From here on it belongs to the loop. */
		listener_close(TAKE_PTR(l));
		return rc;
	}
	*ret = TAKE_PTR(l);
	return 0;
}

const char *listener_address(const struct listener *l)
{
	return l->address;
}

static void closed_cb(uv_handle_t *handle)
{
	drop_handle(handle->data);
}

void listener_close(struct listener *l)
{
	if (!l || l->closing)
		return;
	l->closing = true;
	uv_close(&l->server.handle, closed_cb);
}
