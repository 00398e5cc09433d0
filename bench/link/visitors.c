/* A crowd on a link's event streams: connects so many visitors, says when each has had its first event, and then, for
 * every further one, when the last visitor has it.
 *
 * Usage: visitors PORT COUNT PATH…   The visitors take turns among the paths. Prints
 *   waiting COUNT                      each has its first event
 *   told COUNT MONOTONIC_NS            each has had one more, the last at this moment; once for each event
 * and ends with its standard input. Status 1 when a connection breaks or is refused before it had two.
 *
 * Only ever one process of several: a process may not have as many files open as a broker has visitors. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_MAX 64 /* told apart */

/* What a browser sends, more or less. */
#define REQUEST                                                                                                 \
	"GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: keep-alive\r\nAccept: text/event-stream\r\n"      \
	"Cache-Control: no-cache\r\nUser-Agent: Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, " \
	"like Gecko) Chrome/120.0.0.0 Mobile Safari/537.36\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: "  \
	"cors\r\nSec-Fetch-Dest: empty\r\nAccept-Encoding: gzip, deflate, br\r\nAccept-Language: en\r\n\r\n"

struct visitor {
	int fd;
	int events;
	size_t matched; /* bytes of "\ndata: " */
	bool headed;
};

static struct visitor *visitors;
static int count, reached[EVENTS_MAX];

static void fail(const char *what)
{
	fprintf(stderr, "visitors: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void has_one_more(struct visitor *v)
{
	int n = v->events++ % EVENTS_MAX;

	if (++reached[n] < count)
		return;
	reached[n] = 0;
	if (v->events == 1)
		printf("waiting %d\n", count);
	else
		printf("told %d %lld\n", count, (long long)now_ns());
	fflush(stdout);
}

static void scan(struct visitor *v, const char *data, size_t size)
{
	static const char mark[] = "\ndata: ";

	for (size_t i = 0; i < size; i++) {
		v->matched = data[i] == mark[v->matched] ? v->matched + 1 : data[i] == '\n';
		if (v->matched == sizeof(mark) - 1) {
			v->matched = 0;
			has_one_more(v);
		}
	}
}

static void hear(struct visitor *v)
{
	static char data[65536];
	ssize_t n;

	while ((n = recv(v->fd, data, sizeof(data), MSG_DONTWAIT)) > 0) {
		if (!v->headed && (n < 12 || memcmp(data + 9, "200", 3) != 0))
			fail("refused");
		v->headed = true;
		scan(v, data, (size_t)n);
	}
	if (n == 0 && v->events < 2) {
		errno = ECONNRESET;
		fail("the stream ended");
	}
	if (n == 0)
		close(v->fd);
	else if (errno != EAGAIN)
		fail("recv");
}

static void come(struct visitor *v, int port, const char *path, int epoll)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = v };
	char request[1024];
	int n = snprintf(request, sizeof(request), REQUEST, path, port);

	v->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (v->fd < 0 || connect(v->fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		fail("connect");
	if (send(v->fd, request, (size_t)n, MSG_NOSIGNAL) != n)
		fail("send");
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, v->fd, &event) < 0)
		fail("epoll_ctl");
}

static void listen_on(int epoll)
{
	struct epoll_event input = { .events = EPOLLIN };
	struct epoll_event ready[512];
	char line[64];

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &input) < 0)
		fail("epoll_ctl");
	for (;;) {
		int n = epoll_wait(epoll, ready, 512, -1);

		for (int i = 0; i < n; i++) {
			if (ready[i].data.ptr)
				hear(ready[i].data.ptr);
			else if (read(STDIN_FILENO, line, sizeof(line)) <= 0)
				return;
		}
	}
}

int main(int argc, char **argv)
{
	struct rlimit files;
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	count = argc > 3 ? atoi(argv[2]) : 0;
	if (count <= 0) {
		fprintf(stderr, "usage: visitors PORT COUNT PATH...\n");
		return 2;
	}
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	visitors = calloc((size_t)count, sizeof(*visitors));
	if (!visitors)
		fail("memory");
	for (int i = 0; i < count; i++)
		come(&visitors[i], atoi(argv[1]), argv[3 + i % (argc - 3)], epoll);
	listen_on(epoll);
	return 0;
}
