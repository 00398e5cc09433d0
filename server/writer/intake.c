#include "server/writer/intake.h"

#include <errno.h>
#include <time.h>

#include "proto/base/clock.h"
#include "server/engine/command.h"

#define HOUR_MS	  3600000
#define MINUTE_MS 60000

void intake_init(struct intake *in)
{
	pthread_condattr_t attr;

	in->taken = in->head = NULL;
	in->tail = &in->head;
	in->stopping = false;
	pthread_mutex_init(&in->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&in->wake, &attr);
	pthread_condattr_destroy(&attr);
}

void intake_done(struct intake *in)
{
	pthread_cond_destroy(&in->wake);
	pthread_mutex_destroy(&in->lock);
}

bool intake_add(struct intake *in, struct command *cmd)
{
	bool stopping;

	cmd->next = NULL;
	pthread_mutex_lock(&in->lock);
	stopping = in->stopping;
	if (!stopping) {
		/* The thread sleeps only when the queue is empty. */
		if (!in->head)
			pthread_cond_signal(&in->wake);
		*in->tail = cmd;
		in->tail = &cmd->next;
	}
	pthread_mutex_unlock(&in->lock);
	return !stopping;
}

void intake_stop(struct intake *in)
{
	pthread_mutex_lock(&in->lock);
	in->stopping = true;
	pthread_cond_signal(&in->wake);
	pthread_mutex_unlock(&in->lock);
}

/* With the lock held. */
static void wait_for_one(struct intake *in, int64_t due_ms, int64_t pause_ms, int64_t last_ms)
{
	while (!in->head && !in->stopping) {
		int64_t left_ms = due_ms == INT64_MAX ? HOUR_MS : due_ms - clock_wall_ms();
		int64_t until_ns;
		struct timespec until;

		if (left_ms < pause_ms)
			left_ms = pause_ms;
		pause_ms = 0;
		/* A clock that was set back makes every moment that the engine told too late: it has to look again. */
		if (left_ms <= 0 || clock_wall_ms() < last_ms)
			break;
		/* Not for longer than a minute at once: the wall clock may be set meanwhile. */
		until_ns = clock_mono_ns() + (left_ms < MINUTE_MS ? left_ms : MINUTE_MS) * 1000000;
		until.tv_sec = until_ns / 1000000000;
		until.tv_nsec = until_ns % 1000000000;
		if (pthread_cond_timedwait(&in->wake, &in->lock, &until) == ETIMEDOUT &&
		    (due_ms != INT64_MAX && due_ms <= clock_wall_ms()))
			break;
	}
}

bool intake_take(struct intake *in, int64_t due_ms, int64_t pause_ms, int64_t last_ms, struct command **items,
		 size_t most, size_t *ret_count)
{
	bool stopping = false;
	size_t count = 0;

	if (!in->taken) {
		pthread_mutex_lock(&in->lock);
		wait_for_one(in, due_ms, pause_ms, last_ms);
		in->taken = in->head;
		in->head = NULL;
		in->tail = &in->head;
		stopping = in->stopping;
		pthread_mutex_unlock(&in->lock);
	}
	/* The list is walked outside of the lock: each of its steps may be a cache miss. */
	while (in->taken && count < most) {
		items[count++] = in->taken;
		in->taken = in->taken->next;
	}
	*ret_count = count;
	return count > 0 || !stopping;
}
