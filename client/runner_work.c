/* A handler's thread: waits for a job, calls the handler, tells the broker how it ended.
 *
 * Every write is for the lease: as long as that may live, one that did not get through is tried again; the broker
 * refuses what comes too late. So a handler never sees that a connection broke.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proto/base/clean.h"
#include "proto/base/clock.h"
#include "runner_priv.h"

#define RETRY_PAUSE_MS	500
#define INLINE_BYTES	65536
#define UNTOLD_AFTER_MS 600000 /* a lease that nobody could prolong for so long is another's */

/* ---- copies ---- */

/* Cuts pieces off one allocation; without one it only counts. */
struct cutter {
	char *at;
	size_t size;
};

static void *cut(struct cutter *c, const void *from, size_t size)
{
	char *piece = c->at;

	/* Whatever comes next may be a struct. */
	c->size += (size + 15) / 16 * 16;
	if (!piece)
		return NULL;
	if (size > 0)
		memcpy(piece, from, size);
	c->at += (size + 15) / 16 * 16;
	return piece;
}

static const char *cut_text(struct cutter *c, const char *text)
{
	return text ? cut(c, text, strlen(text) + 1) : NULL;
}

static struct raincheck_bytes cut_bytes(struct cutter *c, struct raincheck_bytes bytes)
{
	return (struct raincheck_bytes){ cut(c, bytes.data, bytes.size), bytes.size };
}

static struct raincheck_leased_job *copy(struct cutter *c, const struct raincheck_leased_job *job)
{
	struct raincheck_leased_job j = *job, *ret = cut(c, job, sizeof(*job));
	struct raincheck_pair *pairs = cut(c, job->metadata, job->metadata_count * sizeof(*pairs));

	j.queue = cut_text(c, job->queue);
	j.payload = cut_bytes(c, job->payload);
	j.content_type = cut_text(c, job->content_type);
	j.checkpoint = cut_bytes(c, job->checkpoint);
	j.traceparent = cut_text(c, job->traceparent);
	j.hook_url = cut_text(c, job->hook_url);
	j.metadata = pairs;
	for (size_t i = 0; i < job->metadata_count; i++) {
		struct raincheck_pair pair = { cut_text(c, job->metadata[i].key), cut_text(c, job->metadata[i].value) };

		if (pairs)
			pairs[i] = pair;
	}
	if (ret)
		*ret = j;
	return ret;
}

struct raincheck_leased_job *work_copy_job(const struct raincheck_leased_job *job)
{
	struct cutter c = { NULL, 0 };

	copy(&c, job);
	c.at = malloc(c.size);
	return c.at ? copy(&c, job) : NULL;
}

/* ---- errands ---- */

static bool retryable(int code)
{
	switch (code) {
	case RAINCHECK_ENO_CONNECTION:
	case RAINCHECK_ETIMED_OUT:
	case RAINCHECK_ETHROTTLED:
	case RAINCHECK_ESHUTTING_DOWN:
	case RAINCHECK_ESTORE_FULL:
	case RAINCHECK_ESTORE_ERROR:
	case RAINCHECK_EUNAUTHENTICATED:
	case RAINCHECK_EDENIED:
	case RAINCHECK_ENO_MEMORY:
		return true;
	default:
		return false;
	}
}

int work_ask_once(struct raincheck_work *w, struct errand *e)
{
	struct raincheck_runner *r = w->runner;

	e->work = w;
	e->done = false;
	pthread_mutex_lock(&r->lock);
	STAILQ_INSERT_TAIL(&r->errands, e, entry);
	uv_async_send(&r->async);
	while (!e->done)
		pthread_cond_wait(&w->wake, &r->lock);
	pthread_mutex_unlock(&r->lock);
	if (e->code == RAINCHECK_ELEASE_LOST || (e->code == RAINCHECK_ENOT_FOUND && !e->of_upload))
		atomic_store(&w->over, true);
	return e->code;
}

static struct timespec moment(int64_t mono_ms)
{
	return (struct timespec){ .tv_sec = mono_ms / 1000, .tv_nsec = mono_ms % 1000 * 1000000 };
}

/* Until that moment, unless the lease is over first, or (for a handler) it is to give up. */
static void pause_until(struct raincheck_work *w, int64_t until_ms, bool for_handler)
{
	struct timespec until = moment(until_ms);

	pthread_mutex_lock(&w->runner->lock);
	while (!atomic_load(&w->over) && !(for_handler && atomic_load(&w->give_up)))
		if (pthread_cond_timedwait(&w->wake, &w->runner->lock, &until) == ETIMEDOUT)
			break;
	pthread_mutex_unlock(&w->runner->lock);
}

int work_ask(struct raincheck_work *w, struct errand *e)
{
	int64_t end = clock_mono_ms() + UNTOLD_AFTER_MS;

	for (;;) {
		int64_t last = atomic_load(&w->runner->give_up_at_ms), now;
		int code;

		if (atomic_load(&w->over))
			return RAINCHECK_ELEASE_LOST;
		code = work_ask_once(w, e);
		now = clock_mono_ms();
		if (!retryable(code) || now >= end || (last > 0 && now >= last))
			return code;
		pause_until(w, now + RETRY_PAUSE_MS, false);
	}
}

/* ---- what handlers call ---- */

const struct raincheck_leased_job *raincheck_work_job(const struct raincheck_work *w)
{
	return w->job;
}

bool raincheck_work_canceled(const struct raincheck_work *w)
{
	return atomic_load(&w->over) || atomic_load(&w->give_up);
}

bool raincheck_work_sleep(struct raincheck_work *w, int64_t ms)
{
	pause_until(w, clock_mono_ms() + ms, true);
	return raincheck_work_canceled(w);
}

void raincheck_work_progress(struct raincheck_work *w, double progress, const char *note)
{
	pthread_mutex_lock(&w->runner->lock);
	w->has_progress = true;
	w->has_news = true;
	w->progress = progress < 0 ? 0 : progress > 1 ? 1 : progress;
	snprintf(w->note, sizeof(w->note), "%s", note ? note : "");
	pthread_mutex_unlock(&w->runner->lock);
}

int raincheck_work_fail(struct raincheck_work *w, enum raincheck_failure kind, int64_t retry_after_ms, const char *fmt,
			...)
{
	va_list ap;

	w->failure = (struct failure){ .told = true, .kind = kind, .retry_after_ms = retry_after_ms };
	va_start(ap, fmt);
	vsnprintf(w->failure.message, sizeof(w->failure.message), fmt, ap);
	va_end(ap);
	return RAINCHECK_EINTERNAL;
}

static int start_checkpoint(struct raincheck *rc, const void *params, raincheck_cb cb, void *user)
{
	return raincheck_checkpoint_async(rc, params, cb, user);
}

int raincheck_work_checkpoint(struct raincheck_work *w, const void *data, size_t size)
{
	struct raincheck_checkpoint checkpoint = { w->job->id, w->job->lease, { data, size } };
	struct errand e = { .start = start_checkpoint, .params = &checkpoint };

	return work_ask(w, &e);
}

static void drop_result(struct raincheck_work *w)
{
	free(TAKE_PTR(w->result_type));
	free(TAKE_PTR(w->result));
	w->result_size = 0;
}

int raincheck_work_result(struct raincheck_work *w, const char *content_type, const void *data, size_t size)
{
	drop_result(w);
	if (size > INLINE_BYTES)
		return raincheck_work_artifact(w, "result", content_type, data, size);
	w->result_type = strdup(content_type);
	w->result = malloc(size + 1);
	if (!w->result_type || !w->result) {
		drop_result(w);
		return RAINCHECK_ENO_MEMORY;
	}
	if (size > 0)
		memcpy(w->result, data, size);
	w->result_size = size;
	return 0;
}

int raincheck_work_result_file(struct raincheck_work *w, const char *content_type, int fd)
{
	drop_result(w);
	return raincheck_work_artifact_file(w, "result", content_type, fd);
}

/* ---- the end of a job ---- */

static int start_complete(struct raincheck *rc, const void *params, raincheck_cb cb, void *user)
{
	return raincheck_complete_async(rc, params, cb, user);
}

static int start_fail(struct raincheck *rc, const void *params, raincheck_cb cb, void *user)
{
	return raincheck_fail_async(rc, params, cb, user);
}

static int start_release(struct raincheck *rc, const void *params, raincheck_cb cb, void *user)
{
	return raincheck_release_async(rc, params, cb, user);
}

static int complete(struct raincheck_work *w, int64_t call_ms)
{
	struct raincheck_complete params = {
		.id = w->job->id,
		.lease = w->job->lease,
		.result = { w->result_type, { w->result, w->result_size } },
		.call_ms = call_ms,
	};
	struct errand e = { .start = start_complete, .params = &params };

	return work_ask(w, &e);
}

static int fail(struct raincheck_work *w, int64_t call_ms)
{
	struct raincheck_fail params = {
		.id = w->job->id,
		.lease = w->job->lease,
		.kind = w->failure.kind,
		.message = w->failure.message,
		.retry_after_ms = w->failure.retry_after_ms,
		.call_ms = call_ms,
	};
	struct errand e = { .start = start_fail, .params = &params };

	return work_ask(w, &e);
}

static int release(struct raincheck_work *w)
{
	struct raincheck_release params = { .id = w->job->id, .lease = w->job->lease };
	struct errand e = { .start = start_release, .params = &params };

	return work_ask(w, &e);
}

static void tell(struct raincheck_work *w, int code, int64_t call_ms)
{
	int told;

	if (atomic_load(&w->over))
		return;
	if (code == RAINCHECK_ECANCELED) {
		release(w);
		return;
	}
	if (code == 0) {
		told = complete(w, call_ms);
		/* Such a result no broker takes, so the attempt has failed; where the lease is over, it says that
		 * again. */
		if (told == RAINCHECK_EBAD_REQUEST || told == RAINCHECK_ETOO_LARGE)
			raincheck_work_fail(w, RAINCHECK_FAIL_INVALID, 0, "the result was refused: %s",
					    raincheck_error_text(told));
		else
			return;
	} else if (!w->failure.told) {
		raincheck_work_fail(w, RAINCHECK_FAIL_INTERNAL, 0, "%s", raincheck_error_text(code));
	}
	fail(w, call_ms);
}

/* ---- the thread ---- */

static void do_job(struct raincheck_work *w)
{
	struct raincheck_runner *r = w->runner;
	int64_t began = clock_mono_ms();

	tell(w, r->options.handler(w, r->options.user), clock_mono_ms() - began);
	drop_result(w);
	w->failure.told = false;
	pthread_mutex_lock(&r->lock);
	free(TAKE_PTR(w->job));
	r->busy--;
	/* Under the lock: once nobody is busy the loop may close what this wakes. */
	uv_async_send(&r->async);
	pthread_mutex_unlock(&r->lock);
}

static void *run(void *arg)
{
	struct raincheck_work *w = arg;
	struct raincheck_runner *r = w->runner;
	bool end;

	for (;;) {
		pthread_mutex_lock(&r->lock);
		while (!w->job && !r->threads_end)
			pthread_cond_wait(&w->wake, &r->lock);
		end = !w->job;
		pthread_mutex_unlock(&r->lock);
		if (end)
			return NULL;
		do_job(w);
	}
}

int work_start(struct raincheck_work *w)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->wake, &attr);
	pthread_condattr_destroy(&attr);
	w->started = pthread_create(&w->thread, NULL, run, w) == 0;
	if (!w->started)
		pthread_cond_destroy(&w->wake);
	return w->started ? 0 : RAINCHECK_EIO;
}
