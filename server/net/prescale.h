/* prescale.h: tells workers ahead of time that a limit's schedule is to let more calls be under way at once: the
 * notification worker.warm, so that their connections to the API are open when the moment comes.
 *
 * A raise is told PRESCALE_LEAD_MS before its moment to every worker that subscribed, takes jobs (it was not told to be
 * quiet) and named one of the limit's queues that is not paused; and to one that greets later than that, with its
 * greeting. Each is told its share of all calls that there may be, by its slots. It is told once, unless the schedule
 * is changed to more. Like every notification it is a courtesy, and may be missed.
 *
 * The schedules are read from the store when a command may have changed them and when a moment comes: nothing is read
 * while there is no raise to come. Loop's thread.
 */
#ifndef RAINCHECK_NET_PRESCALE_H
#define RAINCHECK_NET_PRESCALE_H

#include <stdint.h>

struct net;
struct prescale;
struct request;
struct session;

#define PRESCALE_LEAD_MS 30000

/* ERR_NO_MEMORY. */
int prescale_new(struct net *net, struct prescale **ret);
/* After prescale_stop(), and when the net holds nothing any more. NULL is taken. */
void prescale_free(struct prescale *p);

/* Begins to look; stops. Stopping is for one that has not begun, too. */
void prescale_start(struct prescale *p);
void prescale_stop(struct prescale *p);

/* A command that may have changed a schedule, or whose queues it is for, came back: as a request's settle. */
void prescale_changed(struct request *req);
/* The worker has greeted, and was answered. */
void prescale_greet(struct prescale *p, struct session *s);

/* A worker's share of so many calls at once, with so many slots of all: rounded up, at most its slots. */
int64_t prescale_share(int64_t calls, int64_t slots, int64_t all_slots);

#endif
