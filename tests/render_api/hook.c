/* Webhook deliveries: each is a task of a small pool of threads.
 *
 * Happy path: connect, send, read a 2xx status line, forget. Anything else is tried again after 0.2, 1 and 5 seconds,
 * then given up. A receiver that stalls holds its thread for a few seconds at most. Every delivery is on a list, so
 * that stopping can shut down the sockets in use and free what still waits. */
#include "hook.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pool.h"
#include "stats.h"
#include "util.h"

#define HOOK_THREADS   4
#define HOOKS_MAX      10000
#define HOOK_TIMEOUT_S 3
#define HOOK_URL_MAX   2000

static const int64_t retry_after_ms[] = { 200, 1000, 5000 };

struct target {
	struct sockaddr_storage addr;
	socklen_t addr_bytes;
	char authority[80];
	const char *path; /* points into the URL */
};

struct hook {
	struct task task; /* first: see hook_of() */
	TAILQ_ENTRY(hook) link;
	struct hooks *owner;
	char *url;
	char *body;
	char id[64];
	size_t tries;
	int fd; /* -1: not connected; guarded by the owner's lock */
};

struct hooks {
	pthread_mutex_t lock;
	TAILQ_HEAD(hook_list, hook) all;
	size_t count;
	bool stopping;
	struct pool *pool;
	struct stats *stats;
};

/* --- the URL ------------------------------------------------------------------------------------------------------ */

static int parse_port(const char *text, uint16_t *ret_port)
{
	char *end;
	long port;

	if (*text == '\0') {
		*ret_port = 80;
		return 0;
	}
	if (text[0] != ':' || text[1] < '0' || text[1] > '9')
		return -EINVAL;
	port = strtol(text + 1, &end, 10);
	if (*end != '\0' || port < 1 || port > 65535)
		return -EINVAL;
	*ret_port = (uint16_t)port;
	return 0;
}

static int parse_ipv6(const char *authority, struct target *t)
{
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&t->addr;
	uint16_t port;

	if (strncmp(authority, "[::1]", 5) != 0 || parse_port(authority + 5, &port) < 0)
		return -EINVAL;
	*in6 = (struct sockaddr_in6){ .sin6_family = AF_INET6,
				      .sin6_port = htons(port),
				      .sin6_addr = in6addr_loopback };
	t->addr_bytes = sizeof(*in6);
	return 0;
}

static int parse_ipv4(const char *authority, struct target *t)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&t->addr;
	size_t host_bytes = strcspn(authority, ":");
	char host[sizeof("255.255.255.255")];
	uint16_t port;

	if (host_bytes >= sizeof(host) || parse_port(authority + host_bytes, &port) < 0)
		return -EINVAL;
	memcpy(host, authority, host_bytes);
	host[host_bytes] = '\0';
	*in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port) };
	if (inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, &in->sin_addr) != 1)
		return -EINVAL;
	t->addr_bytes = sizeof(*in);
	return ntohl(in->sin_addr.s_addr) >> 24 == 127 ? 0 : -EINVAL;
}

static int parse_url(const char *url, struct target *t)
{
	static const char scheme[] = "http://";
	const char *authority = url + sizeof(scheme) - 1;
	size_t bytes;

	if (strncmp(url, scheme, sizeof(scheme) - 1) != 0 || strlen(url) > HOOK_URL_MAX)
		return -EINVAL;
	/* The path goes into the request line as it is: nothing in it may end that line. */
	for (const char *c = url; *c != '\0'; c++) {
		if (*c <= ' ' || *c >= 0x7f || *c == '#')
			return -EINVAL;
	}
	bytes = strcspn(authority, "/?");
	if (bytes >= sizeof(t->authority))
		return -EINVAL;
	memcpy(t->authority, authority, bytes);
	t->authority[bytes] = '\0';
	t->path = authority + bytes;
	return t->authority[0] == '[' ? parse_ipv6(t->authority, t) : parse_ipv4(t->authority, t);
}

int hook_url_check(const char *url)
{
	struct target t;

	return parse_url(url, &t);
}

/* --- one try ------------------------------------------------------------------------------------------------------ */

/* Lets hooks_stop() see the socket; -ECANCELED when it came first. */
static int publish_fd(struct hook *h, int fd)
{
	int rc = 0;

	pthread_mutex_lock(&h->owner->lock);
	h->fd = fd;
	if (h->owner->stopping)
		rc = -ECANCELED;
	pthread_mutex_unlock(&h->owner->lock);
	return rc;
}

static void withdraw_fd(struct hook *h)
{
	pthread_mutex_lock(&h->owner->lock);
	close(h->fd);
	h->fd = -1;
	pthread_mutex_unlock(&h->owner->lock);
}

static int send_all(int fd, const char *data, size_t bytes)
{
	while (bytes > 0) {
		ssize_t n = send(fd, data, bytes, MSG_NOSIGNAL);

		if (n <= 0)
			return -EIO;
		data += n;
		bytes -= (size_t)n;
	}
	return 0;
}

static int hook_headers(const struct hook *h, const struct target *t, char *text, size_t size)
{
	return snprintf(text, size,
			"POST %s%s HTTP/1.1\r\n"
			"Host: %s\r\n"
			"Content-Type: application/json\r\n"
			"Content-Length: %zu\r\n"
			"webhook-id: %s\r\n"
			"webhook-timestamp: %lld\r\n"
			"Connection: close\r\n\r\n",
			t->path[0] == '/' ? "" : "/", t->path, t->authority, strlen(h->body), h->id,
			(long long)time(NULL));
}

static int read_status(int fd, int *ret_status)
{
	char line[64];
	size_t bytes = 0;

	while (bytes < sizeof("HTTP/1.1 200") - 1) {
		ssize_t n = recv(fd, line + bytes, sizeof(line) - 1 - bytes, 0);

		if (n <= 0)
			return -EIO;
		bytes += (size_t)n;
	}
	line[bytes] = '\0';
	return sscanf(line, "HTTP/1.%*1[01] %d", ret_status) == 1 ? 0 : -EIO;
}

static int exchange(struct hook *h, const struct target *t, int fd)
{
	char headers[HOOK_URL_MAX + 512];
	int status = 0, rc;

	if (connect(fd, (const struct sockaddr *)&t->addr, t->addr_bytes) < 0)
		return -errno;
	hook_headers(h, t, headers, sizeof(headers));
	rc = send_all(fd, headers, strlen(headers));
	if (rc == 0)
		rc = send_all(fd, h->body, strlen(h->body));
	if (rc == 0)
		rc = read_status(fd, &status);
	if (rc < 0)
		return rc;
	return status >= 200 && status <= 299 ? 0 : -EPROTO;
}

static int hook_try(struct hook *h)
{
	const struct timeval timeout = { .tv_sec = HOOK_TIMEOUT_S };
	struct target t;
	int fd, rc;

	rc = parse_url(h->url, &t);
	if (rc < 0)
		return rc;
	fd = socket(t.addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	rc = publish_fd(h, fd);
	if (rc == 0)
		rc = exchange(h, &t, fd);
	withdraw_fd(h);
	return rc;
}

/* --- the deliveries ----------------------------------------------------------------------------------------------- */

static struct hook *hook_of(struct task *t)
{
	return (struct hook *)t;
}

static void hook_free(struct hook *h)
{
	if (h == NULL)
		return;
	free(h->url);
	free(h->body);
	free(h);
}

static void hook_forget(struct hook *h)
{
	pthread_mutex_lock(&h->owner->lock);
	TAILQ_REMOVE(&h->owner->all, h, link);
	h->owner->count--;
	pthread_mutex_unlock(&h->owner->lock);
	hook_free(h);
}

static void hook_run_cb(struct task *task)
{
	struct hook *h = hook_of(task);

	if (hook_try(h) == 0) {
		stats_add(h->owner->stats, STAT_HOOKS);
		hook_forget(h);
	} else if (h->tries < ARRAY_SIZE(retry_after_ms)) {
		pool_add(h->owner->pool, &h->task, retry_after_ms[h->tries++], false);
	} else {
		stats_add(h->owner->stats, STAT_HOOK_FAILURES);
		hook_forget(h);
	}
}

int hooks_new(struct stats *stats, struct hooks **ret_hooks)
{
	struct hooks *hs = calloc(1, sizeof(*hs));
	int rc;

	if (hs == NULL)
		return -ENOMEM;
	rc = pool_new(HOOK_THREADS, HOOKS_MAX, &hs->pool);
	if (rc < 0) {
		free(hs);
		return rc;
	}
	pthread_mutex_init(&hs->lock, NULL);
	TAILQ_INIT(&hs->all);
	hs->stats = stats;
	*ret_hooks = hs;
	return 0;
}

static bool hooks_admit(struct hooks *hs, struct hook *h)
{
	bool admitted = false;

	pthread_mutex_lock(&hs->lock);
	if (!hs->stopping && hs->count < HOOKS_MAX) {
		TAILQ_INSERT_TAIL(&hs->all, h, link);
		hs->count++;
		admitted = true;
	}
	pthread_mutex_unlock(&hs->lock);
	return admitted;
}

void hooks_add(struct hooks *hs, const char *url, const char *id, char *body)
{
	struct hook *h = calloc(1, sizeof(*h));

	if (h == NULL) {
		free(body);
		stats_add(hs->stats, STAT_HOOK_FAILURES);
		return;
	}
	h->task.run_cb = hook_run_cb;
	h->owner = hs;
	h->fd = -1;
	h->body = body;
	h->url = strdup(url);
	snprintf(h->id, sizeof(h->id), "%s", id);
	if (h->url == NULL || h->body == NULL || !hooks_admit(hs, h)) {
		hook_free(h);
		stats_add(hs->stats, STAT_HOOK_FAILURES);
		return;
	}
	pool_add(hs->pool, &h->task, 0, false);
}

void hooks_stop(struct hooks *hs)
{
	struct hook *h;

	pthread_mutex_lock(&hs->lock);
	hs->stopping = true;
	TAILQ_FOREACH(h, &hs->all, link)
	{
		if (h->fd >= 0)
			shutdown(h->fd, SHUT_RDWR);
	}
	pthread_mutex_unlock(&hs->lock);
	pool_stop(hs->pool);
}

void hooks_free(struct hooks *hs)
{
	struct hook *h;

	if (hs == NULL)
		return;
	while ((h = TAILQ_FIRST(&hs->all)) != NULL) {
		TAILQ_REMOVE(&hs->all, h, link);
		hook_free(h);
	}
	pool_free(hs->pool);
	pthread_mutex_destroy(&hs->lock);
	free(hs);
}
