/* place.h: where a job stands in its line, and when it may be done. Any thread, within a transaction of its own. */
#ifndef RAINCHECK_ENGINE_PLACE_H
#define RAINCHECK_ENGINE_PLACE_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/uuid.h"
#include "proto/messages.h"
#include "server/flow/estimate.h"
#include "server/store/records.h"
#include "server/store/store.h"

/* Jobs in line up to and including it: those of better priority, and those before it in its own. */
struct place {
	int64_t least;
	int64_t most;
};

/* Of a ready job of the queue, or one that has a place in line to come back to. Exact up to a thousand of its own
 * priority; from there on the most it can be is told by the tags where there are no groups, else it is all that are in
 * line. The store's errors. */
int place_of_job(struct store_txn *t, const struct queue_record *q, const struct uuid *of, const struct job *job,
		 struct place *ret);
/* Of one that has just entered it: the last of its priority; among groups that is the most it can be. */
struct place place_of_new(const struct queue_record *q, const struct job *job);
/* Of one that will: behind all who are there by then, who will be about as many as now. */
struct place place_of_scheduled(const struct queue_record *q, const struct job *job);

/* What keeps every job of a queue from beginning, however few are before it. */
struct hindrance {
	bool there;
	enum wait_reason reason;
	int64_t until_ms; /* 0: nobody knows */
};

/* Of the queue at this moment: that it is paused, or that its limit is held or its breaker not closed. The store's
 * errors. */
int place_hindrance(struct store_txn *t, const struct queue_record *q, int64_t now_ms, struct hindrance *ret);
/* What the range of time in which a job in this place may be done hangs on. */
struct outlook place_outlook(const struct queue_record *q, int64_t now_ms, const struct place *place,
			     int64_t held_until_ms);
/* That range itself. False while there is nothing to estimate from. */
bool place_eta(const struct queue_record *q, int64_t now_ms, const struct place *place, int64_t held_until_ms,
	       struct estimate *ret);

#endif
