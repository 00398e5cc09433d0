/* wakes.h: gives sessions hooks that wait for jobs they hold: the notification job.wake, one for each.
 *
 * They are read on the pool, for they may be large, and one after the other: however many come at once, no more than
 * one is in memory beside what is being sent, and those of a job are given in their order, from the first that waits.
 * What waits for its turn is short, and bounded. A session that has no room for one is given no later one either: they
 * wait on in the store, and are given with the next job.extend. Loop's thread only.
 */
#ifndef RAINCHECK_NET_WAKES_H
#define RAINCHECK_NET_WAKES_H

#include <stdint.h>

struct net;
struct token;
struct uuid;
struct wakes;

/* ERR_NO_MEMORY. */
int wakes_new(struct net *net, struct wakes **ret);
/* When no session is left. NULL is taken. */
void wakes_free(struct wakes *w);

/* session: its id. */
void wakes_send(struct wakes *w, uint64_t session, const struct uuid *id, const struct token *lease);

#endif
