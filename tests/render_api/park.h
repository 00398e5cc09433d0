/* Connections that wait without a thread: suspended in libmicrohttpd, resumed when woken, when due, when the peer has
 * gone, or when the server stops.
 *
 * park_add() on the connection's own thread, inside a callback of libmicrohttpd; park_wake() from any thread; the lock
 * inside is innermost but for libmicrohttpd's own. libmicrohttpd does not notice a peer that leaves while suspended, so
 * a thread here looks after them; a peer that only shuts down its sending side counts as gone. */
#ifndef RENDER_API_PARK_H
#define RENDER_API_PARK_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#define PARK_FOREVER INT64_MAX

enum park_end { PARK_NEVER, PARK_WOKEN, PARK_DUE, PARK_GONE, PARK_STOPPED };

/* Embedded in what belongs to the connection; zeroed at first. */
struct parked {
	enum park_end end; /* why the last parking ended; read it when the connection runs again */
	/* the park's */
	bool is_parked;
	bool is_held;
	struct MHD_Connection *connection;
	int fd;
	int64_t due_at_ms;
	LIST_ENTRY(parked) link;
};

struct park;

/* A negative errno. */
int park_new(struct park **ret_park);

/* Suspends the connection until due_at_ms (as now_ms(), or PARK_FOREVER) at the latest. -ESHUTDOWN once stopped. */
int park_add(struct park *pk, struct parked *p, struct MHD_Connection *connection, int64_t due_at_ms);

/* The same until park_release(), for whoever is to go on when a test says so. */
int park_hold(struct park *pk, struct parked *p, struct MHD_Connection *connection);

/* Resumes all that are held. */
void park_release(struct park *pk);

/* How many are. */
size_t park_held(struct park *pk);

/* Resumes it; nothing when it is not parked. */
void park_wake(struct park *pk, struct parked *p);

/* Resumes all and lets none in any more: libmicrohttpd must not be stopped with suspended connections. */
void park_stop(struct park *pk);
void park_free(struct park *pk);

#endif
