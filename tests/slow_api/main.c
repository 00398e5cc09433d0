/* slow-api: an external API that takes its time and does nothing else, for any number of calls at once.
 *
 *   slow-api DELAY_MS | hold
 *
 * Every POST is answered DELAY_MS after its last byte came, or once somebody has said POST /release, with a small
 * video. GET /stats says at once how many wait and how many were answered. Prints "ready http=127.0.0.1:PORT" once it
 * serves; ends with SIGTERM. It reads just as much HTTP as the worker and the programs of the bench send: their figures
 * are asked for, so it must not be what they wait for.
 *
 * One delay for all means that answers are due in the order of the requests: one list, one timer.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <uv.h>

#define REQUEST_MAX 4096
#define BACKLOG	    4096
#define VIDEO	    "\0\0\0\030ftypisom\0\0\2\0isomiso2\0\0\0\010free"
#define VIDEO_SIZE  "32"

struct connection {
	uv_tcp_t tcp;
	char request[REQUEST_MAX];
	size_t have;
	uint64_t due_ms;
	int waiting; /* in the list */
	TAILQ_ENTRY(connection) entry;
};

static TAILQ_HEAD(, connection) waiting = TAILQ_HEAD_INITIALIZER(waiting);
static uv_loop_t *loop;
static uv_timer_t timer;
static uint64_t delay_ms;
static int holds;
static long long in_flight, most, answered, connections;

static void closed_cb(uv_handle_t *handle)
{
	free(handle->data);
}

static void drop(struct connection *c)
{
	if (uv_is_closing((uv_handle_t *)&c->tcp))
		return;
	if (c->waiting) {
		TAILQ_REMOVE(&waiting, c, entry);
		in_flight--;
	}
	uv_close((uv_handle_t *)&c->tcp, closed_cb);
}

/* A socket that has no room for so little is one that nobody reads. */
static void say(struct connection *c, const char *bytes, size_t size)
{
	uv_buf_t buf = uv_buf_init((char *)(uintptr_t)bytes, (unsigned)size);

	if (uv_try_write((uv_stream_t *)&c->tcp, &buf, 1) != (int)size)
		drop(c);
}

/* ---- answers ---- */

static void timer_cb(uv_timer_t *t)
{
	static const char answer[] =
		"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: " VIDEO_SIZE "\r\n\r\n" VIDEO;
	uint64_t now = uv_now(loop);
	struct connection *c;

	while ((c = TAILQ_FIRST(&waiting)) && c->due_ms <= now) {
		TAILQ_REMOVE(&waiting, c, entry);
		c->waiting = 0;
		in_flight--;
		answered++;
		say(c, answer, sizeof(answer) - 1);
	}
	if (c)
		uv_timer_start(t, timer_cb, c->due_ms - now, 0);
}

static void wait(struct connection *c)
{
	c->due_ms = holds ? 0 : uv_now(loop) + delay_ms;
	c->waiting = 1;
	TAILQ_INSERT_TAIL(&waiting, c, entry);
	in_flight++;
	if (in_flight > most)
		most = in_flight;
	if (!holds && !uv_is_active((uv_handle_t *)&timer))
		uv_timer_start(&timer, timer_cb, delay_ms, 0);
}

/* Those that wait are answered, and later ones at once. */
static void release(struct connection *c)
{
	static const char answer[] = "HTTP/1.1 204 No Content\r\n\r\n";

	holds = 0;
	delay_ms = 0;
	uv_timer_start(&timer, timer_cb, 0, 0);
	say(c, answer, sizeof(answer) - 1);
}

static void tell_stats(struct connection *c)
{
	char body[160], answer[400];
	int size = snprintf(body, sizeof(body),
			    "{\"in_flight\":%lld,\"most\":%lld,\"answered\":%lld,\"connections\":%lld}\n", in_flight,
			    most, answered, connections);

	size = snprintf(answer, sizeof(answer),
			"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", size,
			body);
	say(c, answer, (size_t)size);
}

/* ---- requests ---- */

/* The size of the whole request at the front, 0 while it is not all there, −1 where it is none for us. */
static long request_size(const struct connection *c)
{
	const char *end = memmem(c->request, c->have, "\r\n\r\n", 4), *at;
	long body = 0;

	if (!end)
		return c->have == REQUEST_MAX ? -1 : 0;
	for (at = c->request; at < end; at = (const char *)memchr(at, '\n', (size_t)(end + 2 - at)) + 1)
		if (strncasecmp(at, "content-length:", 15) == 0)
			body = strtol(at + 15, NULL, 10);
	body += end + 4 - c->request;
	if (body < 0 || body > REQUEST_MAX)
		return -1;
	return (size_t)body <= c->have ? body : 0;
}

static void take_requests(struct connection *c)
{
	long size = 0;

	while (!c->waiting && !uv_is_closing((uv_handle_t *)&c->tcp) && (size = request_size(c)) > 0) {
		int is_get = strncmp(c->request, "GET ", 4) == 0;
		int is_release = strncmp(c->request, "POST /release ", 14) == 0;

		c->have -= (size_t)size;
		memmove(c->request, c->request + size, c->have);
		if (is_get)
			tell_stats(c);
		else if (is_release)
			release(c);
		else
			wait(c);
	}
	if (size < 0)
		drop(c);
}

static void room_cb(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct connection *c = handle->data;

	(void)suggested;
	*buf = uv_buf_init(c->request + c->have, (unsigned)(REQUEST_MAX - c->have));
}

static void read_cb(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct connection *c = stream->data;

	(void)buf;
	if (n < 0) {
		drop(c);
		return;
	}
	c->have += (size_t)n;
	take_requests(c);
}

static void connection_cb(uv_stream_t *server, int status)
{
	struct connection *c = status < 0 ? NULL : calloc(1, sizeof(*c));

	if (!c)
		return;
	uv_tcp_init(loop, &c->tcp);
	c->tcp.data = c;
	connections++;
	if (uv_accept(server, (uv_stream_t *)&c->tcp) < 0 ||
	    uv_read_start((uv_stream_t *)&c->tcp, room_cb, read_cb) < 0)
		drop(c);
	uv_tcp_nodelay(&c->tcp, 1);
}

/* ---- the program ---- */

static int serve(uv_tcp_t *server)
{
	struct sockaddr_in address;
	int size = sizeof(address), rc;

	uv_ip4_addr("127.0.0.1", 0, &address);
	uv_tcp_init(loop, server);
	rc = uv_tcp_bind(server, (const struct sockaddr *)&address, 0);
	if (rc == 0)
		rc = uv_listen((uv_stream_t *)server, BACKLOG, connection_cb);
	if (rc == 0)
		rc = uv_tcp_getsockname(server, (struct sockaddr *)&address, &size);
	if (rc < 0) {
		fprintf(stderr, "slow-api: %s\n", uv_strerror(rc));
		return 1;
	}
	printf("ready http=127.0.0.1:%u\n", ntohs(address.sin_port));
	fflush(stdout);
	return uv_run(loop, UV_RUN_DEFAULT);
}

int main(int argc, char **argv)
{
	struct rlimit files;
	uv_tcp_t server;

	holds = argc == 2 && strcmp(argv[1], "hold") == 0;
	if (!holds && (argc != 2 || argv[1][0] < '0' || argv[1][0] > '9')) {
		fprintf(stderr, "Usage: slow-api DELAY_MS | hold\n");
		return 2;
	}
	delay_ms = strtoull(argv[1], NULL, 10);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	loop = uv_default_loop();
	uv_timer_init(loop, &timer);
	return serve(&server);
}
