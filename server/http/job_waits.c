/* Waiters stand in a hash by their job, and in a queue with those that wait for as many seconds: all of a queue have
 * the same time, so its first is the next that is due.
 *
 * The writer only marks whom an event is for; waking, which is a call into the library each, is the thread's work. A
 * connection is suspended and resumed under the lock, so that neither can meet the other half way. */
#include "job_waits.h"

#include <assert.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proto/base/clock.h"
#include "proto/error.h"
#include "server/engine/engine.h"

#define BUCKETS 4096

struct due_queue {
	struct job_wait *first;
	struct job_wait **last;
};

struct job_waits {
	/* Looked at without the lock first: most of the time nobody waits. */
	atomic_size_t count;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t changed;
	struct job_wait *buckets[BUCKETS];
	struct due_queue due[JOB_WAIT_MAX_S + 1];
	struct job_wait *told; /* parked ones to be woken */
	bool quiesced;
	bool stopping;
	bool started;
	pthread_t thread;
};

static struct job_wait **bucket(struct job_waits *w, const struct uuid *id)
{
	uint32_t hash;

	/* The end of a UUID is where its randomness is. */
	memcpy(&hash, id->bytes + 12, sizeof(hash));
	return &w->buckets[hash % BUCKETS];
}

/* ---- telling, under the lock ---- */

static void tell(struct job_waits *w, struct job_wait *at)
{
	at->told = true;
	if (!at->parked || at->link_told)
		return;
	at->next_told = w->told;
	if (at->next_told)
		at->next_told->link_told = &at->next_told;
	at->link_told = &w->told;
	w->told = at;
	pthread_cond_signal(&w->changed);
}

static void tell_job(struct job_waits *w, const struct uuid *id)
{
	for (struct job_wait *at = *bucket(w, id); at; at = at->next)
		if (uuid_equal(&at->id, id))
			tell(w, at);
}

static void leave_told(struct job_wait *at)
{
	if (!at->link_told)
		return;
	*at->link_told = at->next_told;
	if (at->next_told)
		at->next_told->link_told = at->link_told;
	at->link_told = NULL;
}

static void leave_due(struct job_waits *w, struct job_wait *at)
{
	if (!at->link_due)
		return;
	*at->link_due = at->next_due;
	if (at->next_due)
		at->next_due->link_due = at->link_due;
	else
		w->due[at->seconds].last = at->link_due;
	at->link_due = NULL;
}

void job_waits_events_cb(void *user, const struct job_event *events, size_t count)
{
	struct job_waits *w = user;

	if (atomic_load(&w->count) == 0)
		return;
	pthread_mutex_lock(&w->lock);
	for (size_t i = 0; i < count; i++)
		if (events[i].final)
			tell_job(w, &events[i].id);
	pthread_mutex_unlock(&w->lock);
}

/* ---- the thread ---- */

static void wake_told(struct job_waits *w)
{
	while (w->told) {
		struct job_wait *at = w->told;

		leave_told(at);
		at->parked = false;
		MHD_resume_connection(at->connection);
	}
}

/* Tells those whose time is over; when the next one's will be. */
static int64_t tell_due(struct job_waits *w, int64_t now_ms)
{
	int64_t next_ms = INT64_MAX;

	for (int s = 0; s <= JOB_WAIT_MAX_S; s++) {
		struct job_wait *at;

		while ((at = w->due[s].first) && (w->quiesced || at->due_ms <= now_ms)) {
			leave_due(w, at);
			at->over = true;
			tell(w, at);
		}
		if (at && at->due_ms < next_ms)
			next_ms = at->due_ms;
	}
	return next_ms;
}

static void *wake(void *user)
{
	struct job_waits *w = user;

	pthread_mutex_lock(&w->lock);
	for (;;) {
		int64_t next_ms = tell_due(w, clock_mono_ms());
		struct timespec until = { .tv_sec = next_ms / 1000, .tv_nsec = next_ms % 1000 * 1000000 };

		wake_told(w);
		if (w->stopping)
			break;
		if (next_ms == INT64_MAX)
			pthread_cond_wait(&w->changed, &w->lock);
		else
			pthread_cond_timedwait(&w->changed, &w->lock, &until);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* ---- a waiter ---- */

static void enter_due(struct job_waits *w, struct job_wait *at)
{
	struct due_queue *q = &w->due[at->seconds];

	at->link_due = q->last;
	at->next_due = NULL;
	*q->last = at;
	q->last = &at->next_due;
}

void job_wait_begin(struct job_waits *w, struct job_wait *at, const struct uuid *id, int seconds,
		    struct MHD_Connection *c)
{
	struct job_wait **first = bucket(w, id);

	assert(seconds >= 0 && seconds <= JOB_WAIT_MAX_S);
	*at = (struct job_wait){ .id = *id, .connection = c, .seconds = seconds };
	at->due_ms = clock_mono_ms() + seconds * INT64_C(1000);
	pthread_mutex_lock(&w->lock);
	at->next = *first;
	if (at->next)
		at->next->link = &at->next;
	at->link = first;
	*first = at;
	enter_due(w, at);
	at->over = w->quiesced;
	atomic_fetch_add(&w->count, 1);
	/* The thread sleeps until the time that was the first. */
	pthread_cond_signal(&w->changed);
	pthread_mutex_unlock(&w->lock);
}

bool job_wait_over(struct job_waits *w, struct job_wait *at)
{
	bool over;

	pthread_mutex_lock(&w->lock);
	over = at->over;
	at->told = false;
	pthread_mutex_unlock(&w->lock);
	return over;
}

bool job_wait_park(struct job_waits *w, struct job_wait *at)
{
	bool parks;

	pthread_mutex_lock(&w->lock);
	parks = !at->told && !at->over && !w->quiesced;
	at->over |= w->quiesced;
	if (parks) {
		MHD_suspend_connection(at->connection);
		at->parked = true;
	}
	pthread_mutex_unlock(&w->lock);
	return parks;
}

void job_wait_end(struct job_waits *w, struct job_wait *at)
{
	if (!at->link)
		return;
	pthread_mutex_lock(&w->lock);
	assert(!at->parked);
	leave_told(at);
	leave_due(w, at);
	*at->link = at->next;
	if (at->next)
		at->next->link = at->link;
	at->link = NULL;
	atomic_fetch_sub(&w->count, 1);
	pthread_mutex_unlock(&w->lock);
}

/* ---- all of them ---- */

int job_waits_new(struct job_waits **ret)
{
	struct job_waits *w = calloc(1, sizeof(*w));
	pthread_condattr_t how;

	if (!w)
		return ERR_NO_MEMORY;
	for (int s = 0; s <= JOB_WAIT_MAX_S; s++)
		w->due[s].last = &w->due[s].first;
	pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_init(&how);
	pthread_condattr_setclock(&how, CLOCK_MONOTONIC);
	pthread_cond_init(&w->changed, &how);
	pthread_condattr_destroy(&how);
	*ret = w;
	return 0;
}

int job_waits_start(struct job_waits *w)
{
	w->started = pthread_create(&w->thread, NULL, wake, w) == 0;
	return w->started ? 0 : ERR_NO_MEMORY;
}

void job_waits_quiesce(struct job_waits *w)
{
	pthread_mutex_lock(&w->lock);
	w->quiesced = true;
	pthread_cond_signal(&w->changed);
	pthread_mutex_unlock(&w->lock);
}

void job_waits_stop(struct job_waits *w)
{
	job_waits_quiesce(w);
	pthread_mutex_lock(&w->lock);
	w->stopping = true;
	pthread_cond_signal(&w->changed);
	pthread_mutex_unlock(&w->lock);
	if (w->started)
		pthread_join(w->thread, NULL);
	w->started = false;
}

void job_waits_free(struct job_waits *w)
{
	if (!w)
		return;
	assert(atomic_load(&w->count) == 0);
	pthread_cond_destroy(&w->changed);
	pthread_mutex_destroy(&w->lock);
	free(w);
}
