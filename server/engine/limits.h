/* limits.h: the limits' records, cached in memory and written back once a batch; how many calls of each are under way;
 * and which queues share them.
 *
 * The store is the truth: after an aborted transaction the cache is read anew. What is under way is never stored: it is
 * the number of running jobs of the limit's queues, so no crash of anybody leaks a slot. The writer thread only.
 */
#ifndef RAINCHECK_ENGINE_LIMITS_H
#define RAINCHECK_ENGINE_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

#include "server/engine/queues.h"
#include "server/flow/call_report.h"
#include "server/store/limit_record.h"

#define LIMITS_MAX 1000

struct limit {
	struct limits *of;
	bool changed; /* it is in the list of those to be written, see limits_changed() */
	struct limit *next_changed;
	bool repaired; /* its record was damaged or gone when the limits were read: one call at a time, see
			  limits_load() */
	bool gained;   /* it is in the engine's list of those that may let more begin */
	struct limit *next_gained;
	int64_t in_flight;
	int64_t in_flight_before; /* when the batch began; not brought up before something begins or ends in it */
	uint64_t batch;		  /* in which it was */
	int64_t again_ms;	  /* when to look again for those who wait; INT64_MAX: only when something happens */
	/* For parked.c: in which serving it was looked at, whether it let none begin, and as of limit_room() until
	 * when. */
	uint64_t seen_in;
	bool shut;
	int64_t shut_until_ms;
	struct queue *queues; /* that use it, by next_of_limit */
	char *name;
	struct limit_record record; /* its name points to name */
};

struct limits;

int limits_new(struct limits **ret);
/* NULL is taken. */
void limits_free(struct limits *ls);

/* Throws the cache away and reads every record. After queues_load(): gives each queue its limit and counts what is
 * under way. A limit that a queue names and that cannot be read is made anew with one call at a time, so that nothing
 * is overrun while an operator looks. ERR_NO_MEMORY, the store's. */
int limits_load(struct limits *ls, struct store_txn *t, struct queues *qs);
/* Writes those that changed; the others are not looked at. */
int limits_save(struct limits *ls, struct store_txn *t, struct buf *scratch);

/* NULL where there is none. The pointer holds until the next limits_load() or limits_remove(). */
struct limit *limits_find(struct limits *ls, struct slice name);
/* In the order of their names; NULL past the last. */
struct limit *limits_get(struct limits *ls, size_t n);
/* Makes one without any bound. ERR_QUEUE_FULL when there are LIMITS_MAX, ERR_NO_MEMORY. */
int limits_add(struct limits *ls, struct slice name, struct limit **ret);
/* One that no queue uses. The store's errors. */
int limits_remove(struct limits *ls, struct store_txn *t, struct limit *l);
/* The queue's jobs count for this limit from now on; NULL: for none. ERR_NO_MEMORY. */
int limits_assign(struct queue *q, struct limit *l);

/* Its record was changed, and is to be written with the batch. */
void limits_changed(struct limit *l);
/* A batch begins. */
void limits_begin(struct limits *ls);
/* The clock was set back. */
void limits_clock(struct limits *ls, int64_t now_ms);
/* Counts anew what is under way: a queue's counts were changed in another way than by those below. */
void limits_recount(struct limit *l);
/* The same where it is known which job's call is under way no more; nobody knows how it ended. */
void limits_lost(struct limit *l, const struct uuid *job);
/* A job of the queue begins to run, has ended; r: see limit_ended(). A queue without a limit is fine. */
void limits_started(struct queue *q, const struct uuid *job, int64_t now_ms);
void limits_ended(struct queue *q, const struct uuid *job, struct call_report *r, int64_t now_ms);
/* Jobs of the queue that may begin now, INT64_MAX without a bound; *ret_again_ms as limit_room(). */
int64_t limits_room(const struct queue *q, int64_t now_ms, int64_t *ret_again_ms);
/* Until when its limit is held or its breaker open; 0 for no such moment. */
int64_t limits_held_until(const struct queue *q, int64_t now_ms);

#endif
