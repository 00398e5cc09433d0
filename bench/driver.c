/* Happy path: every connection is filled with requests; then, while there are answers, each is scanned and its next
 * request appended, and what was appended goes out in one write a connection and turn. Time is up: places that finish
 * their round of steps rest, and the loop ends when none is under way.
 */
#include "bench/driver.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bench/base.h"
#include "proto/base/clock.h"

#define IN_BYTES (1 << 16)
#define PLACES	 (CONNECTIONS * DEPTH_MAX)

const struct plan plan_lifecycle = {
	.first = STEP_PUT,
	.after = { [STEP_PUT] = STEP_LEASE, [STEP_LEASE] = STEP_COMPLETE, [STEP_COMPLETE] = STEP_PUT },
	.counted = STEP_COMPLETE,
};

struct connection {
	int fd;
	size_t in_used, out_used;
	enum step steps[DEPTH_MAX]; /* what each place waits for */
	unsigned char order[DEPTH_MAX];
	unsigned oldest, under_way; /* of order, a ring */
	uint8_t in[IN_BYTES];
	uint8_t out[DEPTH_MAX * REQUEST_MAX];
};

struct driver {
	const struct peer *peer;
	int epoll;
	struct connection connections[CONNECTIONS];

	/* of one run */
	const struct plan *plan;
	int64_t begun; /* rounds of steps */
	int64_t counted;
	bool ending;
	unsigned under_way;
};

/* ---- connecting ---- */

int dial(int port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int one = 1;

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		die("cannot connect to port %d: %s", port, strerror(errno));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static void greet(struct driver *d, struct connection *c)
{
	size_t size, taken;

	if (!d->peer->greet)
		return;
	size = d->peer->greet(c->out);
	need(write(c->fd, c->out, size) == (ssize_t)size, "cannot say hello");
	while ((taken = d->peer->scan_greeting(c->in, c->in_used)) == 0) {
		ssize_t n = read(c->fd, c->in + c->in_used, IN_BYTES - c->in_used);

		need(n > 0, "the peer closed the connection");
		c->in_used += (size_t)n;
	}
	need(taken == c->in_used, "the peer said more than was asked");
	c->in_used = 0;
}

struct driver *driver_new(const struct peer *peer, int port)
{
	struct driver *d = calloc(1, sizeof(*d));

	need(d, "out of memory");
	d->peer = peer;
	d->epoll = epoll_create1(EPOLL_CLOEXEC);
	need(d->epoll >= 0, "no epoll");
	for (int i = 0; i < CONNECTIONS; i++) {
		struct connection *c = &d->connections[i];
		struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };

		c->fd = dial(port);
		greet(d, c);
		need(fcntl(c->fd, F_SETFL, O_NONBLOCK) == 0, "no non-blocking socket");
		need(epoll_ctl(d->epoll, EPOLL_CTL_ADD, c->fd, &event) == 0, "no epoll");
	}
	return d;
}

void driver_free(struct driver *d)
{
	for (int i = 0; i < CONNECTIONS; i++)
		close(d->connections[i].fd);
	close(d->epoll);
	free(d);
}

/* ---- requests and replies ---- */

static void ask(struct driver *d, struct connection *c, unsigned slot, enum step step, struct slice job)
{
	c->steps[slot] = step;
	c->order[(c->oldest + c->under_way++) % DEPTH_MAX] = (unsigned char)slot;
	d->under_way++;
	c->out_used += d->peer->request(c->out + c->out_used, step, slot, job);
}

/* Begins a round of steps, unless there were enough. */
static void begin(struct driver *d, struct connection *c, unsigned slot)
{
	const struct plan *plan = d->plan;

	if (d->ending || (plan->count > 0 && d->begun == plan->count))
		return;
	d->begun++;
	ask(d, c, slot, plan->first, slice_of(NULL, 0));
}

/* The place whose request the reply answers. A peer that does not answer in order says which. */
static unsigned answered(struct connection *c, unsigned slot)
{
	if (slot == SLOT_OLDEST)
		slot = c->order[c->oldest];
	need(slot < DEPTH_MAX && c->under_way > 0, "an answer to nothing");
	c->oldest = (c->oldest + 1) % DEPTH_MAX;
	c->under_way--;
	return slot;
}

static void take(struct driver *d, struct connection *c, const struct reply *reply)
{
	unsigned slot = answered(c, reply->slot);
	enum step step = c->steps[slot];
	enum step next = d->plan->after[step];

	d->under_way--;
	/* A peer whose leases see less than what was acknowledged is asked again. */
	if (step == STEP_LEASE && reply->job.size == 0) {
		ask(d, c, slot, step, reply->job);
		return;
	}
	d->counted += step == d->plan->counted;
	if (next == d->plan->first)
		begin(d, c, slot);
	else
		ask(d, c, slot, next, reply->job);
}

static void flush(struct connection *c)
{
	size_t sent = 0;

	while (sent < c->out_used) {
		ssize_t n = write(c->fd, c->out + sent, c->out_used - sent);
		struct pollfd room = { .fd = c->fd, .events = POLLOUT };

		if (n < 0 && errno != EAGAIN && errno != EINTR)
			die("cannot send: %s", strerror(errno));
		if (n < 0)
			poll(&room, 1, -1);
		else
			sent += (size_t)n;
	}
	c->out_used = 0;
}

static void receive(struct driver *d, struct connection *c)
{
	ssize_t n = read(c->fd, c->in + c->in_used, IN_BYTES - c->in_used);
	size_t at = 0, size;
	struct reply reply;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	need(n > 0, "the peer closed the connection");
	c->in_used += (size_t)n;
	while (at < c->in_used) {
		size = d->peer->scan(c->in + at, c->in_used - at, c->steps[c->order[c->oldest]], &reply);
		if (size == 0)
			break;
		take(d, c, &reply);
		at += size;
	}
	memmove(c->in, c->in + at, c->in_used - at);
	c->in_used -= at;
	flush(c);
}

/* ---- a run ---- */

static int64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void turn(struct driver *d)
{
	struct epoll_event events[CONNECTIONS];
	int n = epoll_wait(d->epoll, events, CONNECTIONS, -1);

	need(n >= 0 || errno == EINTR, "no epoll");
	for (int i = 0; i < n; i++)
		receive(d, events[i].data.ptr);
}

/* For so long, and until so many were counted in all. */
static void turn_until(struct driver *d, int64_t until_ns, int64_t counted)
{
	while (d->under_way > 0 && (clock_mono_ns() < until_ns || d->counted < counted))
		turn(d);
}

static void start(struct driver *d, const struct plan *plan)
{
	d->plan = plan;
	d->begun = d->counted = 0;
	d->ending = false;
	for (int i = 0; i < CONNECTIONS; i++) {
		struct connection *c = &d->connections[i];

		for (unsigned slot = 0; slot < DEPTH_MAX; slot++)
			begin(d, c, slot);
		flush(c);
	}
}

void driver_run(struct driver *d, const struct plan *plan, struct figures *ret)
{
	int64_t from = clock_mono_ns(), before = 0, cpu = cpu_ns();

	start(d, plan);
	if (plan->count > 0) {
		turn_until(d, INT64_MAX, 0);
	} else {
		turn_until(d, from + plan->warm_ns, PLACES);
		from = clock_mono_ns();
		cpu = cpu_ns();
		before = d->counted;
		turn_until(d, from + plan->take_ns, before + PLACES);
	}
	ret->counted = d->counted - before;
	ret->took_ns = clock_mono_ns() - from;
	ret->cpu_ns = cpu_ns() - cpu;
	d->ending = true;
	turn_until(d, INT64_MAX, 0);
}
