/* job_waits.h: requests that wait, suspended, for their job's end: without a thread each, and for so many seconds at
 * most.
 *
 *   job_wait_begin ──▶ look at the job ── not at its end ──▶ job_wait_park ──▶ suspended
 *                        ▲   │ at its end, or the time is over                  │
 *                        │   └──▶ job_wait_end, answer                          │
 *                        └── the library calls again ◀── the job ended, or the time is over
 *
 * A waiter begins before it looks for the first time, so that an end that comes in between is not missed.
 */
#ifndef RAINCHECK_HTTP_JOB_WAITS_H
#define RAINCHECK_HTTP_JOB_WAITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/uuid.h"

#define JOB_WAIT_MAX_S 60

struct MHD_Connection;
struct job_event;
struct job_waits;

/* The maker's memory, zeroed; nothing of it is the maker's business. */
struct job_wait {
	struct job_wait *next; /* of its bucket */
	struct job_wait **link;
	struct job_wait *next_due; /* of those that wait for as many seconds */
	struct job_wait **link_due;
	struct job_wait *next_told; /* of those to be woken */
	struct job_wait **link_told;
	struct uuid id;
	struct MHD_Connection *connection;
	int seconds;
	int64_t due_ms; /* by the monotonic clock */
	bool told;	/* it has to look again */
	bool over;
	bool parked;
};

/* ERR_NO_MEMORY. */
int job_waits_new(struct job_waits **ret);
/* The thread that wakes. ERR_NO_MEMORY. */
int job_waits_start(struct job_waits *w);
/* All waits are over, those that begin later too. Any thread. */
void job_waits_quiesce(struct job_waits *w);
/* Ends the thread, when all that waited were woken. */
void job_waits_stop(struct job_waits *w);
/* After that. Nobody may wait. NULL is taken. */
void job_waits_free(struct job_waits *w);
/* writer_event_cb, with the struct job_waits as its user. */
void job_waits_events_cb(void *user, const struct job_event *events, size_t count);

/* On the thread that the library calls for the connection. seconds: up to JOB_WAIT_MAX_S. */
void job_wait_begin(struct job_waits *w, struct job_wait *at, const struct uuid *id, int seconds,
		    struct MHD_Connection *c);
/* True where what is found now is the answer. */
bool job_wait_over(struct job_waits *w, struct job_wait *at);
/* Suspends the connection; or answers false where something came meanwhile and the job must be looked at again. */
bool job_wait_park(struct job_waits *w, struct job_wait *at);
/* Also where it never began. */
void job_wait_end(struct job_waits *w, struct job_wait *at);

#endif
