/* Who is at a desk is counted from what desks tell, and by the thread from what it gave them. A desk may fail to begin
 * with one, for want of memory, and tells nothing then: so when nothing was given for a second, and still no place is
 * free, the thread takes it that all who have not begun never will. Who does begin after that is counted again.
 *
 * The thread sleeps on its bell. Whoever frees a place rings only where it waits for that: it says so before it counts
 * for the last time. */
#include "door.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "proto/base/log.h"
#include "proto/error.h"

#define PAUSE_MS 1000

struct desk {
	unsigned given; /* so far; the thread's, like what follows */
	unsigned lost;	/* of those who have not begun: so many are taken to have been lost */
	atomic_uint begun, left;
};

struct door {
	int listener, bell;
	int desks, places;
	door_give_cb give;
	void *user;
	pthread_t thread;
	bool has_thread;
	atomic_bool shut;
	atomic_bool waits; /* for somebody to leave */
	int last;	   /* desk that was given one; the thread's, like what follows */
	struct log_pause cannot;
	struct desk desk[DOOR_DESKS_MAX];
};

/* ---- from the desks' threads ---- */

static void ring(struct door *d)
{
	static const uint64_t one = 1;

	if (write(d->bell, &one, sizeof(one)) < 0)
		assert(errno == EAGAIN);
}

void door_begun(struct door *d, int desk)
{
	atomic_fetch_add(&d->desk[desk].begun, 1);
}

void door_left(struct door *d, int desk)
{
	atomic_fetch_add(&d->desk[desk].left, 1);
	if (atomic_load(&d->waits))
		ring(d);
}

/* ---- counting ---- */

/* Where fewer have yet to begin than were taken to be lost, the others of these have begun: they have their place
 * again. Too few for as long as others who are on their way hide that. Who left is looked up first, so that whoever
 * began and left meanwhile is rather counted than not: then it rings. */
static int count_at(struct door *d, int desk)
{
	struct desk *at = &d->desk[desk];
	unsigned left = atomic_load(&at->left), to_begin = at->given - atomic_load(&at->begun);

	if (at->lost > to_begin)
		at->lost = to_begin;
	return (int)(at->given - at->lost - left);
}

static bool is_full(struct door *d)
{
	int count = 0;

	for (int i = 0; i < d->desks; i++)
		count += count_at(d, i);
	return count >= d->places;
}

static unsigned left_so_far(struct door *d)
{
	unsigned count = 0;

	for (int i = 0; i < d->desks; i++)
		count += atomic_load(&d->desk[i].left);
	return count;
}

/* Where several have as few, they take turns. */
static int choose(struct door *d)
{
	int best = (d->last + 1) % d->desks;

	for (int i = 2; i <= d->desks; i++) {
		int desk = (d->last + i) % d->desks;

		if (count_at(d, desk) < count_at(d, best))
			best = desk;
	}
	return best;
}

static void give_up_lost(struct door *d)
{
	for (int i = 0; i < d->desks; i++)
		d->desk[i].lost = d->desk[i].given - atomic_load(&d->desk[i].begun);
}

/* ---- accepting ---- */

enum state { OPEN, FULL, SHORT };

static void hand_over(struct door *d, int fd, const struct sockaddr *peer, socklen_t size)
{
	int desk = choose(d);

	d->last = desk;
	d->desk[desk].given++;
	if (!d->give(d->user, desk, fd, peer, size))
		d->desk[desk].given--;
}

/* Whether the one that was to be accepted is to blame, and gone: accept(2) reports what happened to it meanwhile. */
static bool is_theirs(int error)
{
	switch (error) {
	case EINTR:
	case ECONNABORTED:
	case ENETDOWN:
	case EPROTO:
	case ENOPROTOOPT:
	case EHOSTDOWN:
	case ENONET:
	case EHOSTUNREACH:
	case EOPNOTSUPP:
	case ENETUNREACH:
	case EPERM:
		return true;
	default:
		return false;
	}
}

static void complain(struct door *d, int error)
{
	struct log_unsaid unsaid;

	if (log_after_pause(&d->cannot, &unsaid))
		log_warning("HTTP cannot accept connections, those who come wait: %s%s%s", strerror(error),
			    error == EMFILE ? " (ulimit -n, LimitNOFILE=)" : "", unsaid.text);
}

/* All that wait. */
static enum state let_in(struct door *d)
{
	while (!atomic_load(&d->shut)) {
		struct sockaddr_storage peer;
		socklen_t size = sizeof(peer);
		int fd;

		if (is_full(d))
			return FULL;
		fd = accept4(d->listener, (struct sockaddr *)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			hand_over(d, fd, (struct sockaddr *)&peer, size);
		} else if (errno == EAGAIN) {
			return OPEN;
		} else if (!is_theirs(errno)) {
			complain(d, errno);
			return SHORT;
		}
	}
	return OPEN;
}

/* ---- the thread ---- */

/* False where nothing has come of it. */
static bool sleep_until_rung(struct door *d, bool also_guests, int timeout_ms)
{
	struct pollfd fds[] = { { .fd = d->bell, .events = POLLIN }, { .fd = d->listener, .events = POLLIN } };
	int n = poll(fds, also_guests ? 2 : 1, timeout_ms);
	uint64_t rings;

	if (n > 0 && fds[0].revents && read(d->bell, &rings, sizeof(rings)) < 0)
		assert(errno == EAGAIN);
	return n != 0;
}

/* Until there may be room. left: so many had left before it was found that there is none. */
static void wait_for_room(struct door *d, enum state state, unsigned left)
{
	bool is_none;

	atomic_store(&d->waits, true);
	is_none = state == FULL ? is_full(d) : left_so_far(d) == left;
	/* While it is SHORT, nobody's place is wanting. */
	if (is_none && !atomic_load(&d->shut) && !sleep_until_rung(d, false, PAUSE_MS) && state == FULL)
		give_up_lost(d);
	atomic_store(&d->waits, false);
}

static void *run(void *user)
{
	struct door *d = user;

	while (!atomic_load(&d->shut)) {
		unsigned left = left_so_far(d);
		enum state state = let_in(d);

		if (state == OPEN)
			sleep_until_rung(d, true, -1);
		else
			wait_for_room(d, state, left);
	}
	return NULL;
}

/* ---- life ---- */

int door_new(int listener, int desks, int places, door_give_cb give, void *user, struct door **ret)
{
	struct door *d = calloc(1, sizeof(*d));

	assert(desks > 0 && desks <= DOOR_DESKS_MAX && places > 0);
	if (!d)
		return ERR_NO_MEMORY;
	d->listener = listener;
	d->desks = desks;
	d->places = places;
	d->give = give;
	d->user = user;
	d->last = desks - 1;
	d->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (d->bell < 0) {
		free(d);
		return ERR_IO;
	}
	*ret = d;
	return 0;
}

int door_open(struct door *d)
{
	d->has_thread = pthread_create(&d->thread, NULL, run, d) == 0;
	return d->has_thread ? 0 : ERR_NO_MEMORY;
}

void door_shut(struct door *d)
{
	if (!d->has_thread)
		return;
	atomic_store(&d->shut, true);
	ring(d);
	pthread_join(d->thread, NULL);
	d->has_thread = false;
}

void door_free(struct door *d)
{
	if (!d)
		return;
	door_shut(d);
	close(d->bell);
	free(d);
}
