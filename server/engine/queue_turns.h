/* queue_turns.h: whose turn it is among very many queues that have something to give to those who wait, by weight.
 *
 * The rule is that of lease.c: each of them earns its weight's share of every turn, and whoever has one pays for it. So
 * that a turn need not touch every queue, what one unit of weight has earned is kept once for all of them, and the
 * queues stand in a heap by what each is owed for a unit of its weight (as in stride scheduling: C. Waldspurger, W.
 * Weihl, Stride Scheduling, 1995). What a queue is owed is brought into its owed_in_line when it leaves.
 *
 * Within one serving of those who wait no weight changes. The writer thread only.
 */
#ifndef RAINCHECK_ENGINE_QUEUE_TURNS_H
#define RAINCHECK_ENGINE_QUEUE_TURNS_H

#include <stddef.h>
#include <stdint.h>

#include "server/engine/queues.h"

/* Begins zeroed, and is so again after queue_turns_end(). */
struct queue_turns {
	struct queue *heap[QUEUES_MAX];
	size_t count;
	int64_t weights; /* the sum of theirs */
	int64_t earned;	 /* by one unit of weight, since the first entered */
};

/* One that is in, or not in, already is fine. */
void queue_turns_enter(struct queue_turns *t, struct queue *q);
void queue_turns_leave(struct queue_turns *t, struct queue *q);
/* All leave. */
void queue_turns_end(struct queue_turns *t);
/* Whose turn it is: the one that was made first of several; NULL where nobody is in. */
struct queue *queue_turns_next(const struct queue_turns *t);
/* So many jobs were given: all who are in earn their shares. Before anybody pays or leaves for them. */
void queue_turns_earn(struct queue_turns *t, size_t jobs);
/* The queue gave one of them, whether it is in or not. */
void queue_turns_pay(struct queue_turns *t, struct queue *q);

#endif
