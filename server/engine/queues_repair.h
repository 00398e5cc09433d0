/* queues_repair.h: a queue whose record is damaged goes on, so that one flipped bit does not keep the broker from
 * starting.
 *
 * The name comes from TABLE_NAMES, the counts from counting the queue's jobs, which takes as long as there are jobs;
 * the settings are lost and become the defaults, and the queue is paused so that somebody looks before anything runs
 * under settings that nobody chose. For queues.c, in whatever transaction it reads the queues.
 */
#ifndef RAINCHECK_ENGINE_QUEUES_REPAIR_H
#define RAINCHECK_ENGINE_QUEUES_REPAIR_H

#include <stdbool.h>
#include <stdint.h>

#include "server/store/records.h"
#include "server/store/store.h"

#define QUEUE_NAME_SIZE 129 /* with a 0 */

struct queues;

/* A record in the place of the damaged one, without counts yet; its name stands in room. *ret_named is whether the name
 * was found; else it is one that says what happened. The store's errors. */
int queues_repair_record(struct store_txn *t, uint32_t number, char room[QUEUE_NAME_SIZE], struct queue_record *ret,
			 bool *ret_named);
/* Counts anew where a damaged job was taken out of the counts since the last start: what is believed of such a job may
 * be wrong. The store's errors. */
int queues_recount(struct queues *qs, struct store_txn *t);
/* Counts the jobs of every queue that is marked repaired. The store's errors. */
int queues_repair_counts(struct queues *qs, struct store_txn *t);

#endif
