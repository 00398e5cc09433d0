#include "tests/harness/raw_server.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define HEAD_MAX 16384

struct raw_server {
	int listener;
	unsigned port;
	enum raw_reading reading;
	void (*serve)(const struct raw_request *r);
	void *user;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t ended;
	unsigned serving;
};

struct served {
	struct raw_server *server;
	struct raw_request request;
};

void raw_send(int fd, const char *text)
{
	size_t left = strlen(text);

	while (left > 0) {
		ssize_t n = send(fd, text, left, MSG_NOSIGNAL);

		if (n <= 0)
			return;
		text += n;
		left -= (size_t)n;
	}
}

void raw_wait_gone(int fd)
{
	char byte[256];

	while (recv(fd, byte, sizeof(byte), 0) > 0)
		;
}

void raw_reset(int fd)
{
	const struct linger at_once = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
}

/* Byte by byte, so that nothing of the body is taken. False where the peer is gone. */
static int read_head(int fd, char head[static HEAD_MAX])
{
	size_t n = 0;

	while (n + 1 < HEAD_MAX && recv(fd, head + n, 1, 0) == 1) {
		head[++n] = '\0';
		if (n >= 4 && memcmp(head + n - 4, "\r\n\r\n", 4) == 0)
			return 1;
	}
	return 0;
}

static void skip_body(int fd, const char *head)
{
	const char *length = strcasestr(head, "\r\nContent-Length:");
	size_t left = length ? strtoul(length + 17, NULL, 10) : 0;
	char bytes[4096];

	while (left > 0) {
		ssize_t n = recv(fd, bytes, left < sizeof(bytes) ? left : sizeof(bytes), 0);

		if (n <= 0)
			return;
		left -= (size_t)n;
	}
}

static void *serve_thread(void *user)
{
	struct served *one = user;
	struct raw_server *s = one->server;
	char head[HEAD_MAX] = "";

	if (s->reading == RAW_NOTHING || read_head(one->request.fd, head)) {
		if (s->reading == RAW_WHOLE)
			skip_body(one->request.fd, head);
		one->request.head = head;
		s->serve(&one->request);
	}
	close(one->request.fd);
	free(one);
	pthread_mutex_lock(&s->lock);
	s->serving--;
	pthread_cond_signal(&s->ended);
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static void *accept_thread(void *user)
{
	struct raw_server *s = user;
	struct sockaddr_in peer;
	socklen_t size = sizeof(peer);
	pthread_t thread;
	int fd;

	while ((fd = accept4(s->listener, (struct sockaddr *)&peer, &size, SOCK_CLOEXEC)) >= 0) {
		struct served *one = calloc(1, sizeof(*one));

		if (!one)
			abort();
		*one = (struct served){ .server = s, .request = { .fd = fd, .peer = peer, .user = s->user } };
		pthread_mutex_lock(&s->lock);
		s->serving++;
		pthread_mutex_unlock(&s->lock);
		if (pthread_create(&thread, NULL, serve_thread, one) != 0)
			abort();
		pthread_detach(thread);
	}
	return NULL;
}

struct raw_server *raw_server_start(void (*serve)(const struct raw_request *r), void *user, enum raw_reading reading)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct raw_server *s = calloc(1, sizeof(*s));
	socklen_t size = sizeof(address);

	assert_non_null(s);
	*s = (struct raw_server){ .serve = serve, .user = user, .reading = reading };
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->ended, NULL);
	s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(s->listener >= 0);
	assert_int_equal(bind(s->listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(s->listener, 64), 0);
	assert_int_equal(getsockname(s->listener, (struct sockaddr *)&address, &size), 0);
	s->port = ntohs(address.sin_port);
	assert_int_equal(pthread_create(&s->thread, NULL, accept_thread, s), 0);
	return s;
}

unsigned raw_server_port(const struct raw_server *s)
{
	return s->port;
}

void raw_server_stop(struct raw_server *s)
{
	shutdown(s->listener, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	close(s->listener);
	pthread_mutex_lock(&s->lock);
	while (s->serving > 0)
		pthread_cond_wait(&s->ended, &s->lock);
	pthread_mutex_unlock(&s->lock);
	pthread_cond_destroy(&s->ended);
	pthread_mutex_destroy(&s->lock);
	free(s);
}
