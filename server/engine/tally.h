/* tally.h: what a batch did, in numbers: for whoever adds them up. The engine begins one with each batch and keeps
 * nothing of it.
 */
#ifndef RAINCHECK_ENGINE_TALLY_H
#define RAINCHECK_ENGINE_TALLY_H

#include <stdint.h>

#include "proto/base/histogram.h"
#include "proto/messages.h"

#define TALLY_CODES 32 /* of errors on the wire, their numbers without the sign */

/* Deliveries of webhooks are jobs too, but take moments where renders take minutes: together they would say nothing of
 * either. */
enum tally_work { TALLY_JOBS, TALLY_DELIVERIES, TALLY_WORKS };

struct work_tally {
	int64_t puts;		    /* jobs that came to be */
	int64_t leases;		    /* attempts that began */
	int64_t failed[FAIL_KINDS]; /* attempts that failed; a lost lease is a timeout */
	int64_t ended[JOB_STATES];  /* jobs that reached a final state */
	struct histogram waits;	    /* from when a job could have been leased to when it was */
	struct histogram runs;	    /* from the lease to the end of the attempt, however it ended */
};

struct engine_tally {
	struct work_tally work[TALLY_WORKS];
	int64_t repeated;	      /* puts whose idempotency key was known */
	int64_t refused[TALLY_CODES]; /* puts, by the error */
};

/* Of waits and runs, in milliseconds. */
extern const struct histogram_scale tally_scale;

/* Adds all that from has. */
void tally_join(struct engine_tally *t, const struct engine_tally *from);

#endif
