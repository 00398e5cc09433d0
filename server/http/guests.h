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
/* The head of a request is there, and its body if it has one. */
void guests_heard(struct guests *all, struct MHD_Connection *c);
/* More of its body has to come, within the time that a head has: it waits again from now on. */
void guests_await(struct guests *all, struct MHD_Connection *c);

#endif
