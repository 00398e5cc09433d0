/* watch.h: who waits for a job to change.
 *
 * A thread of the watch's own does what costs time. The writer tells it which jobs changed; what a link shows also
 * changes with what happens to others, so it looks at every job with a link that somebody waits on again and again:
 * once a second, or less often where there are so many that it would take more than a tenth of a core. All who wait on
 * one job share one look. Nobody waits inside the library's threads and nobody holds a read transaction while waiting.
 *
 *   join ──▶ AWAKE ── watch_wait() ──▶ ASLEEP: the connection is suspended
 *              ▲                            │
 *              └── news, its time, the end ─┘   the connection is resumed, and the library calls again; or wake is
 * called
 *
 * Any thread, but a watcher is one thread's: with a connection that of the library that serves it.
 */
#ifndef RAINCHECK_HTTP_WATCH_H
#define RAINCHECK_HTTP_WATCH_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/uuid.h"

struct job_event;
struct posting;
struct site;
struct subject;
struct watch;

/* Embedded in whatever waits; all zero but for one of the first two, and nothing else of it is for others. */
struct watcher {
	struct MHD_Connection *connection; /* to be suspended and resumed */
	/* Or instead of that. On any thread, under a lock of the watch: only tell whose watcher it is. */
	void (*wake)(struct watcher *me);

	struct watch *watch;
	struct subject *subject;	      /* NULL: it has not joined */
	struct watcher *next, **link;	      /* of the subject's watchers */
	struct watcher *next_due, **link_due; /* of those that are due in the same second; NULL: awake */
	int64_t due_ms;
	bool told; /* since it last waited */
};

enum watch_verdict {
	WATCH_ASLEEP, /* where the connection is suspended, return to the library at once */
	WATCH_NEWS,   /* something changed: look again */
	WATCH_TIME,   /* the time is over */
	WATCH_END     /* the broker stops: say what there is to say and end */
};

/* For at most so many watchers. site must have a board. Starts a thread. ERR_NO_MEMORY. */
int watch_new(struct site *site, int most, struct watch **ret);
/* Wakes all; nobody falls asleep any more. Before the library's threads are ended. */
void watch_end(struct watch *w);
/* After the library's threads have ended. NULL is taken. */
void watch_free(struct watch *w);

/* Waits for the link of a job, of which seen is what was posted last (or an earlier one: then it is told at once).
 * False where there are as many as there may be, or no memory: do without. */
bool watch_join_link(struct watch *w, struct watcher *me, const char *token, struct posting *seen);
/* Waits for any change of a job's record; told of each by the writer, and of nothing else. */
bool watch_join_job(struct watch *w, struct watcher *me, const struct uuid *job);
/* One that has not joined is taken. */
void watch_leave(struct watcher *me);

/* until_ms: by the monotonic clock. */
enum watch_verdict watch_wait(struct watcher *me, int64_t until_ms);
/* Of a link: what is posted, to be let go of; NULL: the link is none any more. */
struct posting *watch_posting(struct watcher *me);

/* How many there are. */
int watch_count(const struct watch *w);

/* For the writer's thread: copies and returns at once. */
void watch_changed(struct watch *w, const struct job_event *events, size_t count);

#endif
