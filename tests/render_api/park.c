/* The park: a list under a mutex, and one thread that looks at it every few milliseconds while it is not empty.
 *
 * Looking is one poll(2) without waiting per connection, with the lock held: a connection on the list is suspended, so
 * its socket cannot be closed meanwhile. */
#include "park.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>

#include "util.h"

#define LOOK_EVERY_MS 20

struct park {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	LIST_HEAD(parked_list, parked) all;
	bool stopping;
	pthread_t thread;
};

/* The lock is held. */
static void resume(struct parked *p, enum park_end end)
{
	LIST_REMOVE(p, link);
	p->is_parked = false;
	p->end = end;
	MHD_resume_connection(p->connection);
}

static bool peer_is_gone(const struct parked *p)
{
	struct pollfd look = { .fd = p->fd, .events = POLLRDHUP };

	return poll(&look, 1, 0) == 1 && (look.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL)) != 0;
}

static void look_after(struct park *pk)
{
	int64_t now = now_ms();
	struct parked *p, *next;

	for (p = LIST_FIRST(&pk->all); p != NULL; p = next) {
		next = LIST_NEXT(p, link);
		if (peer_is_gone(p))
			resume(p, PARK_GONE);
		else if (p->due_at_ms <= now)
			resume(p, PARK_DUE);
	}
}

static void *look_thread(void *arg)
{
	struct park *pk = arg;

	pthread_mutex_lock(&pk->lock);
	while (!pk->stopping) {
		if (LIST_EMPTY(&pk->all)) {
			pthread_cond_wait(&pk->wake, &pk->lock);
		} else {
			struct timespec until = timespec_of_ms(now_ms() + LOOK_EVERY_MS);

			pthread_cond_timedwait(&pk->wake, &pk->lock, &until);
			look_after(pk);
		}
	}
	pthread_mutex_unlock(&pk->lock);
	return NULL;
}

int park_new(struct park **ret_park)
{
	struct park *pk = calloc(1, sizeof(*pk));
	pthread_condattr_t monotonic;
	int rc;

	if (pk == NULL)
		return -ENOMEM;
	LIST_INIT(&pk->all);
	pthread_mutex_init(&pk->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&pk->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	rc = pthread_create(&pk->thread, NULL, look_thread, pk);
	if (rc != 0) {
		park_free(pk);
		return -rc;
	}
	*ret_park = pk;
	return 0;
}

static int add(struct park *pk, struct parked *p, struct MHD_Connection *connection, int64_t due_at_ms, bool held)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	int rc = 0;

	pthread_mutex_lock(&pk->lock);
	if (pk->stopping || info == NULL) {
		rc = -ESHUTDOWN;
	} else {
		if (LIST_EMPTY(&pk->all))
			pthread_cond_signal(&pk->wake);
		p->is_parked = true;
		p->is_held = held;
		p->end = PARK_NEVER;
		p->connection = connection;
		p->fd = info->connect_fd;
		p->due_at_ms = due_at_ms;
		LIST_INSERT_HEAD(&pk->all, p, link);
		MHD_suspend_connection(connection);
	}
	pthread_mutex_unlock(&pk->lock);
	return rc;
}

int park_add(struct park *pk, struct parked *p, struct MHD_Connection *connection, int64_t due_at_ms)
{
	return add(pk, p, connection, due_at_ms, false);
}

int park_hold(struct park *pk, struct parked *p, struct MHD_Connection *connection)
{
	return add(pk, p, connection, PARK_FOREVER, true);
}

void park_release(struct park *pk)
{
	struct parked *p, *next;

	pthread_mutex_lock(&pk->lock);
	for (p = LIST_FIRST(&pk->all); p != NULL; p = next) {
		next = LIST_NEXT(p, link);
		if (p->is_held)
			resume(p, PARK_WOKEN);
	}
	pthread_mutex_unlock(&pk->lock);
}

size_t park_held(struct park *pk)
{
	struct parked *p;
	size_t n = 0;

	pthread_mutex_lock(&pk->lock);
	LIST_FOREACH(p, &pk->all, link)
	n += p->is_held;
	pthread_mutex_unlock(&pk->lock);
	return n;
}

void park_wake(struct park *pk, struct parked *p)
{
	pthread_mutex_lock(&pk->lock);
	if (p->is_parked)
		resume(p, PARK_WOKEN);
	pthread_mutex_unlock(&pk->lock);
}

void park_stop(struct park *pk)
{
	pthread_mutex_lock(&pk->lock);
	pk->stopping = true;
	while (!LIST_EMPTY(&pk->all))
		resume(LIST_FIRST(&pk->all), PARK_STOPPED);
	pthread_cond_signal(&pk->wake);
	pthread_mutex_unlock(&pk->lock);
	pthread_join(pk->thread, NULL);
}

void park_free(struct park *pk)
{
	if (pk == NULL)
		return;
	pthread_cond_destroy(&pk->wake);
	pthread_mutex_destroy(&pk->lock);
	free(pk);
}
