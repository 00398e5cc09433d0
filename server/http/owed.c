#include "owed.h"

#include <errno.h>
#include <time.h>

#include "proto/base/clock.h"

void owed_init(struct owed *o)
{
	pthread_condattr_t how;

	o->count = 0;
	pthread_mutex_init(&o->lock, NULL);
	pthread_condattr_init(&how);
	pthread_condattr_setclock(&how, CLOCK_MONOTONIC);
	pthread_cond_init(&o->none, &how);
	pthread_condattr_destroy(&how);
}

void owed_done(struct owed *o)
{
	pthread_cond_destroy(&o->none);
	pthread_mutex_destroy(&o->lock);
}

void owed_add(struct owed *o)
{
	pthread_mutex_lock(&o->lock);
	o->count++;
	pthread_mutex_unlock(&o->lock);
}

void owed_settle(struct owed *o)
{
	pthread_mutex_lock(&o->lock);
	if (--o->count == 0)
		pthread_cond_signal(&o->none);
	pthread_mutex_unlock(&o->lock);
}

void owed_wait(struct owed *o, int64_t ms)
{
	int64_t until_ms = clock_mono_ms() + ms;
	struct timespec until = { .tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000 };

	pthread_mutex_lock(&o->lock);
	while (o->count > 0)
		if (pthread_cond_timedwait(&o->none, &o->lock, &until) == ETIMEDOUT)
			break;
	pthread_mutex_unlock(&o->lock);
}
