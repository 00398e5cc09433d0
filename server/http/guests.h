/* guests.h: who is connected, and for how long each has kept a place without saying what for.
 *
 * The library's own timeout ends when nothing comes at all: whoever sends a byte a second could keep a place for ever,
 * and with enough of them all places. So the whole head of a request has a time, counted from the beginning of the
 * connection or from the answer before, and so has each piece of a body; and when the places run short, who has been
 * without a request for longest makes way for who comes.
 *
 *   connects ──▶ WAITING ──head is there──▶ SERVED ──answered──▶ WAITING
 *                   └── time is over, or a place is needed ──▶ its socket is shut, and the library closes it
 *
 * Any thread, but for making and freeing.
 */
#ifndef RAINCHECK_HTTP_GUESTS_H
#define RAINCHECK_HTTP_GUESTS_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>

struct guests;

/* For a daemon with so many places; head_ms: what a head may take. Starts a thread. ERR_NO_MEMORY. */
int guests_new(int places, int64_t head_ms, struct guests **ret);
/* After the daemon has ended. NULL is taken. */
void guests_free(struct guests *all);

/* MHD_OPTION_NOTIFY_CONNECTION, with the struct guests as its user. */
void guests_connection_cb(void *user, struct MHD_Connection *c, void **place, enum MHD_ConnectionNotificationCode what);
/* MHD_OPTION_NOTIFY_COMPLETED, likewise. */
void guests_answered_cb(void *user, struct MHD_Connection *c, void **request, enum MHD_RequestTerminationCode how);
/* What a request keeps from one call of the library to the next, in whatever it is embedded in. */
struct held {
	/* The request was answered, or its connection is gone: frees it. On the library's thread of the request. */
	void (*end)(struct held *h);
};
/* At most one a request. False where the connection cannot keep anything: it is about to be closed. */
bool guests_hold(struct MHD_Connection *c, struct held *h);
/* NULL: nothing is held. */
struct held *guests_held(struct MHD_Connection *c);

/* The connection's socket has another owner from now on, who keeps its place until guests_moved_away(). */
void guests_move_out(struct MHD_Connection *c);
void guests_moved_away(struct guests *all);

/* The head of a request is there, and its body if it has one. */
void guests_heard(struct guests *all, struct MHD_Connection *c);
/* More of its body has to come, within the time that a head has: it waits again from now on. */
void guests_await(struct guests *all, struct MHD_Connection *c);

#endif
