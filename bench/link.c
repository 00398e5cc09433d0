#include "bench/link.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/driver.h"

#define IN_BYTES (4 << 20)

struct link {
	int fd;
	size_t used;  /* bytes received */
	size_t taken; /* of them, those of the last response */
	uint8_t in[IN_BYTES];
};

struct link *link_open(int port)
{
	struct link *l = calloc(1, sizeof(*l));
	uint8_t hello[REQUEST_MAX];

	need(l, "out of memory");
	l->fd = dial(port);
	link_call(l, hello, rc_hello(hello, 0));
	return l;
}

void link_close(struct link *l)
{
	close(l->fd);
	free(l);
}

void link_send(struct link *l, const uint8_t *request, size_t size)
{
	while (size > 0) {
		ssize_t n = send(l->fd, request, size, MSG_NOSIGNAL);

		need(n > 0, "the broker closed the connection");
		request += n;
		size -= (size_t)n;
	}
}

struct rc_response link_receive(struct link *l)
{
	struct rc_response response;

	l->used -= l->taken;
	memmove(l->in, l->in + l->taken, l->used);
	while ((l->taken = rc_scan(l->in, l->used, &response)) == 0) {
		ssize_t n = recv(l->fd, l->in + l->used, IN_BYTES - l->used, 0);

		need(n > 0, "the broker closed the connection");
		l->used += (size_t)n;
	}
	return response;
}

struct rc_response link_call(struct link *l, const uint8_t *request, size_t size)
{
	link_send(l, request, size);
	return link_receive(l);
}
