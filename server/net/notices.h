/* notices.h: tells whoever holds a job what came of it: that it was taken from them, by the notification job.cancel;
 * that hooks wait, by job.wake (wakes.h).
 *
 * The writer says after each commit which session lost which lease or is to be woken, and after the answers of that
 * commit, so that nobody hears of a lease that it does not know yet. The loop finds the session by its id and notifies
 * it, if it is one that subscribed and is open still. A notice is a courtesy and may be lost: job.extend tells the same
 * to whoever missed it, and has hooks that wait given again.
 *
 * Loop's thread, but for the writer's call.
 */
#ifndef RAINCHECK_NET_NOTICES_H
#define RAINCHECK_NET_NOTICES_H

#include <stdint.h>

struct net;
struct notices;
struct session;

/* ERR_NO_MEMORY. */
int notices_new(struct net *net, struct notices **ret);
/* No session may be left. NULL is taken. */
void notices_free(struct notices *n);
/* Listens to the writer from now on. */
void notices_subscribe(struct notices *n);

/* The session is to be told from now on; and no more, which may be said of any. */
void notices_add(struct notices *n, struct session *s);
void notices_remove(struct notices *n, struct session *s);
/* The one of that id, if it is to be told; NULL. */
struct session *notices_find(struct notices *n, uint64_t id);

#endif
