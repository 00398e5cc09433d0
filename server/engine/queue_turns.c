#include "server/engine/queue_turns.h"

#include <stdbool.h>

#include "server/flow/fair.h"

/* Parts of a part of a turn, so that a unit of weight among very many earns something. What is owed stays far below
 * what is left for it: the jobs of one serving are fewer than 2^25. */
#define SCALE INT64_C(4096)
#define COST  ((int64_t)FAIR_COST)

/* Half a turn less than what is owed: the shares that come of it are nearest to the weights at every point (they are
 * those of A. Sainte-Laguë, 1910). */
static int64_t rank_of(const struct queue_turns *t, const struct queue *q)
{
	return (q->owed_in_line - COST / 2) * SCALE / q->record.weight - t->earned;
}

static int64_t owed_by_rank(const struct queue_turns *t, const struct queue *q)
{
	return (q->rank + t->earned) * q->record.weight / SCALE + COST / 2;
}

static bool goes_before(const struct queue *a, const struct queue *b)
{
	return a->rank > b->rank || (a->rank == b->rank && a->number < b->number);
}

/* ---- the heap: q->turn is one more than the place ---- */

static void stand(struct queue_turns *t, size_t n, struct queue *q)
{
	t->heap[n] = q;
	q->turn = n + 1;
}

static void rise(struct queue_turns *t, size_t n)
{
	struct queue *q = t->heap[n];

	for (; n > 0 && goes_before(q, t->heap[(n - 1) / 2]); n = (n - 1) / 2)
		stand(t, n, t->heap[(n - 1) / 2]);
	stand(t, n, q);
}

static void sink(struct queue_turns *t, size_t n)
{
	struct queue *q = t->heap[n];

	for (;;) {
		size_t child = 2 * n + 1;

		if (child + 1 < t->count && goes_before(t->heap[child + 1], t->heap[child]))
			child++;
		if (child >= t->count || !goes_before(t->heap[child], q))
			break;
		stand(t, n, t->heap[child]);
		n = child;
	}
	stand(t, n, q);
}

/* ---- who is in ---- */

void queue_turns_enter(struct queue_turns *t, struct queue *q)
{
	if (q->turn > 0)
		return;
	q->rank = rank_of(t, q);
	t->weights += q->record.weight;
	stand(t, t->count, q);
	rise(t, t->count++);
}

static void settle_account(struct queue_turns *t, struct queue *q)
{
	q->owed_in_line = owed_by_rank(t, q);
	t->weights -= q->record.weight;
	q->turn = 0;
}

void queue_turns_leave(struct queue_turns *t, struct queue *q)
{
	size_t n = q->turn - 1;
	struct queue *last;

	if (q->turn == 0)
		return;
	settle_account(t, q);
	last = t->heap[--t->count];
	if (last == q)
		return;
	stand(t, n, last);
	rise(t, n);
	sink(t, last->turn - 1);
}

void queue_turns_end(struct queue_turns *t)
{
	while (t->count > 0)
		settle_account(t, t->heap[--t->count]);
	t->earned = 0;
}

struct queue *queue_turns_next(const struct queue_turns *t)
{
	return t->count > 0 ? t->heap[0] : NULL;
}

void queue_turns_earn(struct queue_turns *t, size_t jobs)
{
	if (t->count > 0)
		t->earned += (int64_t)jobs * (COST * SCALE / t->weights);
}

void queue_turns_pay(struct queue_turns *t, struct queue *q)
{
	if (q->turn == 0) {
		q->owed_in_line -= COST;
		return;
	}
	q->rank -= COST * SCALE / q->record.weight;
	sink(t, q->turn - 1);
}
