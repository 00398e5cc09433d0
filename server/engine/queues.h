/* queues.h: the queues' records, cached in memory and written back once a batch.
 *
 * The store is the truth: after an aborted transaction the cache is read anew. The writer thread only.
 */
#ifndef RAINCHECK_ENGINE_QUEUES_H
#define RAINCHECK_ENGINE_QUEUES_H

#include <stdbool.h>
#include <stdint.h>

#include "server/store/records.h"
#include "server/store/store.h"

#define QUEUES_MAX 10000

struct limit;

struct queue {
	uint32_t number;
	bool dirty;
	bool unnamed;  /* its name is not yet in TABLE_NAMES */
	bool repaired; /* its record was found damaged when the queues were read, see queues_repair.h */
	bool gained;   /* it is in the engine's list of those that may have a job for a parked lease */
	struct queue *next_gained;
	/* What it is owed, in parts of a turn (FAIR_COST): among the queues that a lease names, and among those that
	 * have something to give to whoever waits. Forgotten with the process. */
	int64_t owed_in_lease;
	int64_t owed_in_line;
	size_t turn;	     /* while those who wait are served, see queue_turns.h: 0, or where it stands */
	int64_t rank;	     /* then; what it is owed is not in owed_in_line meanwhile */
	struct limit *limit; /* that its record names; NULL: none */
	struct queue *next_of_limit;
	struct group_weight *weights; /* where an operator gave one, by group; each group's name is malloc'ed */
	size_t weights_count;
	char *name;
	char *title;
	char *limit_name;
	struct queue_record record; /* its slices point to name, title and limit_name */
};

struct queues;

int queues_new(struct queues **ret);
/* NULL is taken. */
void queues_free(struct queues *qs);

/* Throws the cache away and reads every record; a damaged one is repaired. ERR_NO_MEMORY, the store's. */
int queues_load(struct queues *qs, struct store_txn *t);
/* Writes those that changed. */
int queues_save(struct queues *qs, struct store_txn *t, struct buf *scratch);

/* NULL where there is none. The pointer holds until the next queues_load(). */
struct queue *queues_find(struct queues *qs, struct slice name);
struct queue *queues_get(struct queues *qs, uint32_t number);
/* Makes one. ERR_QUEUE_FULL when there are QUEUES_MAX, ERR_NO_MEMORY. */
int queues_add(struct queues *qs, struct slice name, struct queue **ret);
/* ERR_NO_MEMORY. */
int queues_set_title(struct queue *q, struct slice title);
/* The name alone: see limits_assign(). ERR_NO_MEMORY. */
int queues_set_limit_name(struct queue *q, struct slice limit);
/* In the place of all that there were; also writes them. ERR_NO_MEMORY, the store's. */
int queues_set_weights(struct queue *q, struct store_txn *t, const struct group_weight *weights, size_t count,
		       struct buf *scratch);
/* 1 where nobody gave the group another. */
uint32_t queues_weight_of(const struct queue *q, struct slice group);

#endif
