/* wakes.h: gives a session hooks that wait for a job it holds: the notification job.wake, one for each.
 *
 * They are read on the pool, for they may be large, one after the other, so that a job has one in memory at a time. One
 * that the session has no room for is left out: it waits on, and is given with the next job.extend. Loop's thread only.
 */
#ifndef RAINCHECK_NET_WAKES_H
#define RAINCHECK_NET_WAKES_H

#include <stdint.h>

struct session;
struct token;
struct uuid;

/* number: of one, or 0 for all of them. */
void wakes_send(struct session *s, const struct uuid *id, const struct token *lease, uint64_t number);

#endif
