/* call.h: one leased job, from the lease to its end: the external API called, waited for, its result brought home.
 *
 * A call belongs to the loop's thread. It ends with its done callback, once, never from within call_start(): the job is
 * then the broker's again, or lost to it, and nothing more is written for this lease. The call frees itself after it.
 */
#ifndef RAINCHECK_WORKER_CALL_CALL_H
#define RAINCHECK_WORKER_CALL_CALL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct call;
struct worker_config;
struct leased;
struct means;
struct raincheck_notification;
struct upstream;

enum call_outcome {
	CALL_SUCCEEDED,
	CALL_FAILED,
	CALL_RELEASED,
	CALL_LOST,     /* the lease passed to somebody else */
	CALL_CANCELED, /* the job was canceled */
	CALL_UNTOLD,   /* the broker took no answer in time: the lease will run out */
	CALL_OUTCOMES,
};

extern const char *const call_outcome_names[CALL_OUTCOMES];

struct call_spec {
	const struct means *means;	 /* outlives the call */
	struct worker_config *config;	 /* the call has a reference of its own */
	const struct upstream *upstream; /* of the job's queue; the config's */
	void (*done_cb)(struct call *c, enum call_outcome outcome, void *user);
	void *user;
};

/* job becomes the call's on success. ERR_NO_MEMORY. */
int call_start(const struct call_spec *spec, struct leased *job, struct call **ret_call);

/* Ends the call without a word to the broker: the lease is lost or the job canceled. The callback comes from within,
 * unless the job is over for good and the API is to be told first (cancel in the file): then a few seconds later at
 * most, or from within a further call_abort() with CALL_UNTOLD. */
void call_abort(struct call *c, enum call_outcome outcome);

/* Gives the job back with its checkpoint, unless its end is being written already, or its result has come whole, which
 * would be lost. True: that result is on its way to the broker, for as long as the caller likes to wait. The callback
 * comes later. */
bool call_release(struct call *c);

/* The API reported: n is a RAINCHECK_NOTICE_JOB_WAKE for this lease, and only looked at. One that was seen is passed
 * over.
 */
void call_hook(struct call *c, const struct raincheck_notification *n);

const struct leased *call_job(const struct call *c);

/* True when the API told something new since call_take_progress(). */
bool call_has_news(const struct call *c);
/* False where no progress is known; else sets ret_progress, from 0 to 1. */
bool call_take_progress(struct call *c, double *ret_progress);

/* What is to be shown beside the progress; NULL: nothing new was ever said. As long as the call. */
const char *call_note(const struct call *c);

/* For whoever keeps the calls (call_table.h): its places there, and when the lease was last prolonged
 * (clock_mono_ms()). */
struct call_place {
	TAILQ_ENTRY(call_place) entry;
	LIST_ENTRY(call_place) in_row;
	int64_t extended_at_ms;
	struct call *call;
};
struct call_place *call_place(struct call *c);

#endif
