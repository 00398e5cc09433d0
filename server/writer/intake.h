/* intake.h: the commands that wait for the writer: any thread brings them, the writer's takes them, all at once.
 *
 * The lock is held for a few instructions, whatever waits: those who bring commands never wait for a batch.
 */
#ifndef RAINCHECK_WRITER_INTAKE_H
#define RAINCHECK_WRITER_INTAKE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct command;

struct intake {
	struct command *taken; /* out of the queue, for the next batches; the writer's */

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t wake;
	struct command *head;
	struct command **tail;
	bool stopping;
};

void intake_init(struct intake *in);
/* Nothing may be left in it. */
void intake_done(struct intake *in);

/* Any thread. False after intake_stop(): the command stays the caller's. */
bool intake_add(struct intake *in, struct command *cmd);
/* Any thread. */
void intake_stop(struct intake *in);

/* Up to most commands to items, in the order of their coming. Where none is there it waits for one, until due_ms of the
 * wall clock at the latest (INT64_MAX: for ever), but at least for pause_ms; not at all where the clock stands before
 * last_ms, the moment of the last batch, for due_ms is no good then. The writer's thread. False when there is none and
 * it is time to stop. */
bool intake_take(struct intake *in, int64_t due_ms, int64_t pause_ms, int64_t last_ms, struct command **items,
		 size_t most, size_t *ret_count);

#endif
