/* Connections and request bodies. A request is made when its headers are read, collects its body up to a limit, is
 * handed to the api when complete, and is freed when libmicrohttpd says that it is over.
 *
 * A body over the limit is read on and thrown away, so that its sender gets to read the 413. */
#include "server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "request.h"

#define HTTP_THREADS		2
#define CONNECTION_MEMORY_BYTES 8192
#define CONNECTIONS_MAX		30000
#define OTHER_FDS		256 /* files, children, webhooks */
#define IDLE_TIMEOUT_S		120
#define LISTEN_BACKLOG		4096

struct server {
	struct MHD_Daemon *daemon;
};

/* --- requests ----------------------------------------------------------------------------------------------------- */

static void request_free(struct request *req)
{
	if (req == NULL)
		return;
	free(req->method);
	free(req->path);
	free(req->body);
	free(req);
}

static struct request *request_new(struct api *api, struct MHD_Connection *c, const char *method, const char *path)
{
	struct request *req = calloc(1, sizeof(*req));

	if (req == NULL)
		return NULL;
	req->api = api;
	req->connection = c;
	req->method = strdup(method);
	req->path = strdup(path);
	if (req->method == NULL || req->path == NULL) {
		request_free(req);
		return NULL;
	}
	return req;
}

static int request_append(struct request *req, const char *data, size_t bytes)
{
	if (req->body_too_large || bytes > REQUEST_BODY_MAX_BYTES - req->body_bytes) {
		req->body_too_large = true;
		return 0;
	}
	if (req->body_bytes + bytes > req->body_cap) {
		size_t cap = 2 * (req->body_bytes + bytes);
		char *body = realloc(req->body, cap);

		if (body == NULL)
			return -ENOMEM;
		req->body = body;
		req->body_cap = cap;
	}
	memcpy(req->body + req->body_bytes, data, bytes);
	req->body_bytes += bytes;
	return 0;
}

/* --- connections: counted with their first request, which says what they are for ---------------------------------- */

struct visitor {
	bool counted;
};

static void connection_cb(void *cls, struct MHD_Connection *c, void **visitor, enum MHD_ConnectionNotificationCode what)
{
	(void)cls;
	(void)c;
	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		*visitor = calloc(1, sizeof(struct visitor));
	} else {
		free(*visitor);
		*visitor = NULL;
	}
}

static void count_connection(struct api *api, struct MHD_Connection *c, const char *path)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct visitor *v = info != NULL ? info->socket_context : NULL;

	if (v == NULL || v->counted)
		return;
	v->counted = true;
	if (strcmp(path, "/stats") != 0)
		api_visited(api);
}

static enum MHD_Result access_cb(void *cls, struct MHD_Connection *c, const char *path, const char *method,
				 const char *version, const char *data, size_t *data_bytes, void **request)
{
	struct request *req = *request;

	(void)version;
	if (req == NULL) {
		count_connection(cls, c, path);
		*request = request_new(cls, c, method, path);
		return *request == NULL ? MHD_NO : MHD_YES;
	}
	if (*data_bytes > 0) {
		if (request_append(req, data, *data_bytes) < 0)
			return MHD_NO;
		*data_bytes = 0;
		return MHD_YES;
	}
	return api_handle(req);
}

static void completed_cb(void *cls, struct MHD_Connection *c, void **request, enum MHD_RequestTerminationCode why)
{
	(void)cls;
	(void)c;
	(void)why;
	if (*request == NULL)
		return;
	api_done(*request);
	request_free(*request);
	*request = NULL;
}

/* --- the listening socket ----------------------------------------------------------------------------------------- */

struct address {
	struct sockaddr_storage sa;
	socklen_t bytes;
};

static int parse_port(const char *text, uint16_t *ret_port)
{
	char *end;
	long port;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	port = strtol(text, &end, 10);
	if (*end != '\0' || port > 65535)
		return -EINVAL;
	*ret_port = (uint16_t)port;
	return 0;
}

static int parse_address(const char *text, struct address *a)
{
	const char *colon = strrchr(text, ':');
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&a->sa;
	struct sockaddr_in *in = (struct sockaddr_in *)&a->sa;
	char host[INET6_ADDRSTRLEN + 2];
	uint16_t port;

	if (colon == NULL || (size_t)(colon - text) >= sizeof(host) || parse_port(colon + 1, &port) < 0)
		return -EINVAL;
	memcpy(host, text, (size_t)(colon - text));
	host[colon - text] = '\0';
	if (host[0] == '[' && host[strlen(host) - 1] == ']') {
		host[strlen(host) - 1] = '\0';
		*in6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons(port) };
		a->bytes = sizeof(*in6);
		return inet_pton(AF_INET6, host + 1, &in6->sin6_addr) == 1 ? 0 : -EINVAL;
	}
	*in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port) };
	a->bytes = sizeof(*in);
	return inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, &in->sin_addr) == 1 ? 0
													   : -EINVAL;
}

static int print_address(int fd, char text[64])
{
	struct sockaddr_storage sa = { 0 };
	socklen_t bytes = sizeof(sa);
	char host[INET6_ADDRSTRLEN];

	if (getsockname(fd, (struct sockaddr *)&sa, &bytes) < 0)
		return -errno;
	if (sa.ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&sa;

		inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
		snprintf(text, 64, "[%s]:%u", host, ntohs(in6->sin6_port));
	} else {
		const struct sockaddr_in *in = (const struct sockaddr_in *)&sa;

		inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
		snprintf(text, 64, "%s:%u", host, ntohs(in->sin_port));
	}
	return 0;
}

int server_listen(const char *address, int *ret_fd, char ret_address[64], struct fault *f)
{
	const int on = 1;
	struct address a = { .bytes = 0 };
	int fd, rc = 0;

	if (parse_address(address, &a) < 0)
		return fault_set(f, -EINVAL, "--listen takes ADDR:PORT with a numeric address, not %.100s", address);
	fd = socket(a.sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fault_set(f, -errno, "cannot make a socket: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (const struct sockaddr *)&a.sa, a.bytes) < 0 || listen(fd, LISTEN_BACKLOG) < 0)
		rc = fault_set(f, -errno, "cannot listen on %.100s: %s", address, strerror(errno));
	if (rc == 0)
		rc = print_address(fd, ret_address);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	*ret_fd = fd;
	return 0;
}

/* --- start and stop ----------------------------------------------------------------------------------------------- */

/* As many connections as descriptors allow, after asking for as many as may be had. */
static unsigned connection_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 512;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur > CONNECTIONS_MAX + OTHER_FDS)
		return CONNECTIONS_MAX;
	return limit.rlim_cur > 2 * OTHER_FDS ? (unsigned)limit.rlim_cur - OTHER_FDS : OTHER_FDS;
}

int server_start(int fd, struct api *api, struct server **ret_server)
{
	struct server *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return -ENOMEM;
	s->daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, access_cb,
				     api, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED, completed_cb, NULL,
				     MHD_OPTION_NOTIFY_CONNECTION, connection_cb, NULL, MHD_OPTION_THREAD_POOL_SIZE,
				     HTTP_THREADS, MHD_OPTION_CONNECTION_LIMIT, connection_limit(),
				     MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY_BYTES,
				     MHD_OPTION_CONNECTION_TIMEOUT, IDLE_TIMEOUT_S, MHD_OPTION_END);
	if (s->daemon == NULL) {
		free(s);
		return -EIO;
	}
	*ret_server = s;
	return 0;
}

void server_stop(struct server *s)
{
	if (s == NULL)
		return;
	MHD_stop_daemon(s->daemon);
	free(s);
}
