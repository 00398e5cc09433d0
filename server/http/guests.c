/* Guests that wait are in a list in the order in which they began to: all have the same time, so the first is always
 * the next that is due.
 *
 * A socket is only ever shut under the lock and while its guest is in the list; the library tells that a connection is
 * over before it closes the socket, so the number cannot be somebody else's by then. */
#include "guests.h"

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "proto/base/clean.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/error.h"

#define SPARE_MAX 64 /* places kept for those who come */

struct guest {
	struct guest *next;  /* of those that wait */
	struct guest **link; /* NULL: does not wait */
	int fd;
	int64_t due_ms; /* by the monotonic clock */
	/* Of the library's thread alone. */
	struct held *held; /* by its request */
	bool moved;	   /* its place is somebody else's */
};

struct guests {
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t changed;
	struct guest *first; /* that waits */
	struct guest **last;
	int count;
	bool stopping;
	bool asleep; /* the sweeping thread is, with nobody to wait for */

	int enough; /* with more, somebody makes way */
	int64_t head_ms;
	struct log_pause crowded;
	pthread_t sweeper;
};

/* ---- those that wait ---- */

static void stop_waiting(struct guests *all, struct guest *g)
{
	if (!g->link)
		return;
	*g->link = g->next;
	if (g->next)
		g->next->link = g->link;
	else
		all->last = g->link;
	g->link = NULL;
}

static void start_waiting(struct guests *all, struct guest *g)
{
	stop_waiting(all, g);
	g->due_ms = clock_mono_ms() + all->head_ms;
	g->next = NULL;
	g->link = all->last;
	*all->last = g;
	all->last = &g->next;
	/* Where it waits for a time, that one is not later. */
	if (all->asleep)
		pthread_cond_signal(&all->changed);
}

/* The first of them; the library finds the socket at its end and closes. */
static void send_away(struct guests *all)
{
	struct guest *g = all->first;

	stop_waiting(all, g);
	shutdown(g->fd, SHUT_RDWR);
}

/* ---- the sweeping thread ---- */

static void wait_until(struct guests *all, int64_t at_ms)
{
	struct timespec at = { .tv_sec = at_ms / 1000, .tv_nsec = at_ms % 1000 * 1000000 };

	pthread_cond_timedwait(&all->changed, &all->lock, &at);
}

static void *sweep(void *user)
{
	struct guests *all = user;

	pthread_mutex_lock(&all->lock);
	while (!all->stopping) {
		all->asleep = !all->first;
		if (all->asleep)
			pthread_cond_wait(&all->changed, &all->lock);
		else if (all->first->due_ms > clock_mono_ms())
			wait_until(all, all->first->due_ms);
		else
			send_away(all);
	}
	pthread_mutex_unlock(&all->lock);
	return NULL;
}

/* ---- what the library tells ---- */

static void make_way(struct guests *all)
{
	struct log_unsaid unsaid;

	if (all->count <= all->enough)
		return;
	if (log_after_pause(&all->crowded, &unsaid))
		log_warning("HTTP has %d connections and room for few more: %s%s", all->count,
			    all->first ? "the one that asked for nothing for longest is closed"
				       : "and all of them are being served",
			    unsaid.text);
	if (all->first)
		send_away(all);
}

static void arrive(struct guests *all, struct MHD_Connection *c, void **place)
{
	int fd = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	struct guest *g = calloc(1, sizeof(*g));

	*place = g;
	if (!g) {
		shutdown(fd, SHUT_RDWR);
		return;
	}
	g->fd = fd;
	pthread_mutex_lock(&all->lock);
	all->count++;
	make_way(all);
	start_waiting(all, g);
	pthread_mutex_unlock(&all->lock);
}

static void let_go(struct guest *g)
{
	struct held *h = g ? TAKE_PTR(g->held) : NULL;

	if (h)
		h->end(h);
}

static void leave(struct guests *all, struct guest *g)
{
	if (!g)
		return;
	let_go(g);
	pthread_mutex_lock(&all->lock);
	stop_waiting(all, g);
	if (!g->moved)
		all->count--;
	pthread_mutex_unlock(&all->lock);
	free(g);
}

void guests_connection_cb(void *user, struct MHD_Connection *c, void **place, enum MHD_ConnectionNotificationCode what)
{
	if (what == MHD_CONNECTION_NOTIFY_STARTED)
		arrive(user, c, place);
	else
		leave(user, TAKE_PTR(*place));
}

static struct guest *guest_of(struct MHD_Connection *c)
{
	return MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

bool guests_hold(struct MHD_Connection *c, struct held *h)
{
	struct guest *g = guest_of(c);

	if (!g)
		return false;
	assert(!g->held);
	g->held = h;
	return true;
}

struct held *guests_held(struct MHD_Connection *c)
{
	struct guest *g = guest_of(c);

	return g ? g->held : NULL;
}

void guests_move_out(struct MHD_Connection *c)
{
	struct guest *g = guest_of(c);

	if (g)
		g->moved = true;
}

void guests_moved_away(struct guests *all)
{
	pthread_mutex_lock(&all->lock);
	all->count--;
	pthread_mutex_unlock(&all->lock);
}

void guests_heard(struct guests *all, struct MHD_Connection *c)
{
	struct guest *g = guest_of(c);

	if (!g)
		return;
	pthread_mutex_lock(&all->lock);
	stop_waiting(all, g);
	pthread_mutex_unlock(&all->lock);
}

void guests_await(struct guests *all, struct MHD_Connection *c)
{
	struct guest *g = guest_of(c);

	if (!g)
		return;
	pthread_mutex_lock(&all->lock);
	start_waiting(all, g);
	pthread_mutex_unlock(&all->lock);
}

void guests_answered_cb(void *user, struct MHD_Connection *c, void **request, enum MHD_RequestTerminationCode how)
{
	struct guests *all = user;
	struct guest *g = guest_of(c);

	(void)request;
	let_go(g);
	if (!g || how != MHD_REQUEST_TERMINATED_COMPLETED_OK)
		return;
	pthread_mutex_lock(&all->lock);
	start_waiting(all, g);
	pthread_mutex_unlock(&all->lock);
}

/* ---- life ---- */

static void init_lock(struct guests *all)
{
	pthread_condattr_t how;

	pthread_mutex_init(&all->lock, NULL);
	pthread_condattr_init(&how);
	pthread_condattr_setclock(&how, CLOCK_MONOTONIC);
	pthread_cond_init(&all->changed, &how);
	pthread_condattr_destroy(&how);
}

static void done_lock(struct guests *all)
{
	pthread_cond_destroy(&all->changed);
	pthread_mutex_destroy(&all->lock);
}

int guests_new(int places, int64_t head_ms, struct guests **ret)
{
	struct guests *all = calloc(1, sizeof(*all));
	int spare = places / 8 < SPARE_MAX ? places / 8 : SPARE_MAX;

	if (!all)
		return ERR_NO_MEMORY;
	all->last = &all->first;
	all->head_ms = head_ms;
	all->enough = places - (spare > 0 ? spare : 1);
	init_lock(all);
	if (pthread_create(&all->sweeper, NULL, sweep, all) != 0) {
		done_lock(all);
		free(all);
		return ERR_NO_MEMORY;
	}
	*ret = all;
	return 0;
}

void guests_free(struct guests *all)
{
	if (!all)
		return;
	pthread_mutex_lock(&all->lock);
	all->stopping = true;
	pthread_cond_signal(&all->changed);
	pthread_mutex_unlock(&all->lock);
	pthread_join(all->sweeper, NULL);
	assert(all->count == 0);
	done_lock(all);
	free(all);
}
