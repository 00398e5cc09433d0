/* A runner's loop: leases jobs for idle slots, keeps the leases of the busy ones, does the errands of their threads.
 *
 *   WORKING ──stop──▶ DRAINING ──grace over, or stop again──▶ GIVING_UP
 *      └──once, nothing left──┐      └──no handler runs──┐       └──no handler runs──┐
 *                             ▼                          ▼                           ▼
 *                          CLOSED ◀────────────────────────────────────────────────────
 *
 * What must stay true:
 *   1. A slot's job is set and seen under the lock; it is the handler's thread that takes it away.
 *   2. An errand is told once; after that it is not touched: it lives on a stack.
 *   3. Nothing is leased that has no idle slot; what a lease brings too late is given back.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/clean.h"
#include "proto/base/clock.h"
#include "runner_priv.h"

#define LEASE_WAIT_MS  30000
#define RETRY_PAUSE_MS 1000
#define TICK_MS	       500
#define LAST_WORDS_MS  5000 /* for what has to be told while the runner ends */

static void lease(struct raincheck_runner *r);

/* ---- the end ---- */

static void closed_cb(uv_handle_t *handle)
{
	(void)handle;
}

void runner_close(struct raincheck_runner *r)
{
	r->state = RUNNER_CLOSED;
	raincheck_close(TAKE_PTR(r->rc), NULL, NULL);
	uv_close((uv_handle_t *)&r->tick, closed_cb);
	uv_close((uv_handle_t *)&r->async, closed_cb);
	for (size_t i = 0; r->watching && i < ARRAY_SIZE(r->signals); i++)
		uv_close((uv_handle_t *)&r->signals[i], closed_cb);
}

static int64_t busy(struct raincheck_runner *r)
{
	int64_t n;

	pthread_mutex_lock(&r->lock);
	n = r->busy;
	pthread_mutex_unlock(&r->lock);
	return n;
}

static bool close_if_done(struct raincheck_runner *r)
{
	bool ends = r->state >= RUNNER_DRAINING || (r->options.once && (r->dry || r->quiet));

	/* A lease under way may still bring jobs. */
	if (r->state == RUNNER_CLOSED || !ends || busy(r) > 0 || (r->leasing && raincheck_connected(r->rc)))
		return false;
	runner_close(r);
	return true;
}

static void stop_leasing(struct raincheck_runner *r)
{
	if (r->leasing)
		raincheck_lease_cancel_async(r->rc, NULL, NULL);
}

/* Every handler, or the one whose lease is over, sees it and wakes up. */
static void give_up(struct raincheck_runner *r)
{
	r->state = RUNNER_GIVING_UP;
	atomic_store(&r->give_up_at_ms, clock_mono_ms() + LAST_WORDS_MS);
	pthread_mutex_lock(&r->lock);
	for (int64_t i = 0; i < r->options.threads; i++) {
		atomic_store(&r->works[i].give_up, true);
		pthread_cond_broadcast(&r->works[i].wake);
	}
	pthread_mutex_unlock(&r->lock);
}

static void stop(struct raincheck_runner *r)
{
	if (r->state == RUNNER_WORKING) {
		r->state = RUNNER_DRAINING;
		r->until_ms = clock_mono_ms() + r->options.grace_ms;
		stop_leasing(r);
	} else if (r->state == RUNNER_DRAINING) {
		give_up(r);
	}
}

void raincheck_runner_stop(struct raincheck_runner *r)
{
	atomic_fetch_add(&r->stops, 1);
	uv_async_send(&r->async);
}

/* ---- errands ---- */

static void errand_done(struct raincheck_runner *r, struct errand *e, int code)
{
	struct raincheck_work *w = e->work;

	pthread_mutex_lock(&r->lock);
	e->code = code;
	e->done = true;
	pthread_cond_broadcast(&w->wake);
	pthread_mutex_unlock(&r->lock);
}

static void errand_cb(struct raincheck *rc, const struct raincheck_reply *reply, void *user)
{
	struct errand *e = user;

	(void)rc;
	if (reply->code == 0 && e->keep)
		e->keep(reply, e->ret);
	errand_done(e->work->runner, e, reply->code);
}

static void do_errands(struct raincheck_runner *r)
{
	for (;;) {
		struct errand *e;
		int rc;

		pthread_mutex_lock(&r->lock);
		e = STAILQ_FIRST(&r->errands);
		if (e)
			STAILQ_REMOVE_HEAD(&r->errands, entry);
		pthread_mutex_unlock(&r->lock);
		if (!e)
			return;
		rc = e->start(r->rc, e->params, errand_cb, e);
		if (rc < 0)
			errand_done(r, e, rc);
	}
}

void runner_async_cb(uv_async_t *async)
{
	struct raincheck_runner *r = CONTAINER_OF(async, struct raincheck_runner, async);

	if (r->state == RUNNER_CLOSED)
		return;
	for (int n = atomic_exchange(&r->stops, 0); n > 0; n--)
		stop(r);
	do_errands(r);
	/* A slot may have become free, and another job ready by what its handler did. */
	r->dry = false;
	lease(r);
	close_if_done(r);
}

/* ---- leasing ---- */

static void give_back(struct raincheck_runner *r, const struct raincheck_leased_job *job)
{
	struct raincheck_release release = { .id = job->id, .lease = job->lease };

	raincheck_release_async(r->rc, &release, NULL, NULL);
}

static void hand_out(struct raincheck_runner *r, const struct raincheck_leased_job *leased)
{
	struct raincheck_leased_job *job = r->state == RUNNER_WORKING ? work_copy_job(leased) : NULL;
	struct raincheck_work *w = r->works;

	if (!job) {
		give_back(r, leased);
		return;
	}
	pthread_mutex_lock(&r->lock);
	while (w->job)
		w++;
	w->extended_at_ms = clock_mono_ms();
	w->has_progress = false;
	w->has_news = false;
	atomic_store(&w->over, false);
	w->job = job;
	r->busy++;
	pthread_cond_broadcast(&w->wake);
	pthread_mutex_unlock(&r->lock);
}

static void leased_cb(struct raincheck *rc, const struct raincheck_reply *reply, void *user)
{
	struct raincheck_runner *r = user;

	(void)rc;
	r->leasing = false;
	if (r->state == RUNNER_CLOSED)
		return;
	if (reply->code < 0) {
		int64_t pause = reply->error->retry_after_ms;

		r->lease_at_ms = clock_mono_ms() + (pause > 0 ? pause : RETRY_PAUSE_MS);
	} else {
		r->dry = reply->lease->job_count == 0;
		for (size_t i = 0; i < reply->lease->job_count; i++)
			hand_out(r, &reply->lease->jobs[i]);
		if (!(r->options.once && r->dry))
			lease(r);
	}
	close_if_done(r);
}

static void lease(struct raincheck_runner *r)
{
	struct raincheck_lease params = {
		.queues = (const char *const *)r->queues,
		.queue_count = r->options.queue_count,
		.max = r->options.threads - busy(r),
		.lease_ms = r->options.lease_ms,
		.wait_ms = r->options.once ? 0 : LEASE_WAIT_MS,
	};

	if (r->state != RUNNER_WORKING || r->leasing || r->quiet || params.max <= 0 || clock_mono_ms() < r->lease_at_ms)
		return;
	if (raincheck_lease_async(r->rc, &params, leased_cb, r) < 0)
		r->lease_at_ms = clock_mono_ms() + RETRY_PAUSE_MS;
	else
		r->leasing = true;
}

/* ---- extending ---- */

static void lost(struct raincheck_runner *r, const char *id, const char *lease_token)
{
	pthread_mutex_lock(&r->lock);
	for (int64_t i = 0; i < r->options.threads; i++) {
		struct raincheck_work *w = &r->works[i];

		if (!w->job || strcmp(w->job->id, id) != 0 || strcmp(w->job->lease, lease_token) != 0)
			continue;
		atomic_store(&w->over, true);
		pthread_cond_broadcast(&w->wake);
	}
	pthread_mutex_unlock(&r->lock);
}

static void extended_cb(struct raincheck *rc, const struct raincheck_reply *reply, void *user)
{
	struct raincheck_runner *r = user;

	(void)rc;
	r->extending = false;
	for (size_t i = 0; reply->code == 0 && i < r->extended_count && i < reply->extend->lease_count; i++)
		if (reply->extend->leases[i].status != RAINCHECK_EXTEND_OK)
			lost(r, r->extended[i].id, r->extended[i].lease);
}

/* Where its lease is a third over, or it has something to tell. Under the lock, which must be held until *ret was used.
 */
static bool take_due(const struct raincheck_runner *r, struct raincheck_work *w, int64_t now,
		     struct raincheck_extend_item *ret)
{
	if (!w->job || atomic_load(&w->over) || (!w->has_news && now - w->extended_at_ms < r->options.lease_ms / 3))
		return false;
	*ret = (struct raincheck_extend_item){
		.id = w->job->id,
		.lease = w->job->lease,
		.has_progress = w->has_progress,
		.progress = w->progress,
		.note = w->has_progress && w->note[0] ? w->note : NULL,
	};
	w->has_news = false;
	w->extended_at_ms = now;
	return true;
}

static void extend(struct raincheck_runner *r)
{
	struct raincheck_extend params = { .leases = r->due, .lease_ms = r->options.lease_ms };
	int64_t now = clock_mono_ms();

	if (r->extending || !raincheck_connected(r->rc))
		return;
	pthread_mutex_lock(&r->lock);
	for (int64_t i = 0; i < r->options.threads; i++)
		if (take_due(r, &r->works[i], now, &r->due[params.lease_count]))
			params.lease_count++;
	for (size_t i = 0; i < params.lease_count; i++) {
		memcpy(r->extended[i].id, r->due[i].id, sizeof(r->extended[i].id));
		memcpy(r->extended[i].lease, r->due[i].lease, sizeof(r->extended[i].lease));
	}
	r->extended_count = params.lease_count;
	/* It copies, and calls nobody. */
	r->extending = params.lease_count > 0 && raincheck_extend_async(r->rc, &params, extended_cb, r) == 0;
	pthread_mutex_unlock(&r->lock);
}

static void tick_cb(uv_timer_t *tick)
{
	struct raincheck_runner *r = CONTAINER_OF(tick, struct raincheck_runner, tick);

	if (r->state == RUNNER_DRAINING && clock_mono_ms() >= r->until_ms)
		give_up(r);
	if (close_if_done(r))
		return;
	extend(r);
	lease(r);
}

/* ---- the connection ---- */

static bool refused_for_good(int code)
{
	return code == RAINCHECK_EUNAUTHENTICATED || code == RAINCHECK_EDENIED ||
	       code == RAINCHECK_EUNSUPPORTED_VERSION;
}

static void connection_cb(struct raincheck *rc, bool connected, const struct raincheck_error *why, void *user)
{
	struct raincheck_runner *r = user;

	(void)rc;
	if (r->options.on_connection)
		r->options.on_connection(connected, why, r->options.user);
	if (!connected) {
		if (!r->connected && (refused_for_good(why->code) || r->options.once) && r->code == 0) {
			r->code = why->code;
			r->error = *why;
			/* Closed from the tick: not from within the handle's callback. */
			r->state = RUNNER_GIVING_UP;
		}
		return;
	}
	r->connected = true;
	r->lease_at_ms = 0;
	/* Leases may have been lost meanwhile: ask at once. */
	pthread_mutex_lock(&r->lock);
	for (int64_t i = 0; i < r->options.threads; i++)
		r->works[i].extended_at_ms = INT64_MIN / 2;
	pthread_mutex_unlock(&r->lock);
	extend(r);
	lease(r);
}

static void notification_cb(struct raincheck *rc, const struct raincheck_notification *n, void *user)
{
	struct raincheck_runner *r = user;

	if (n->notice == RAINCHECK_NOTICE_JOB_CANCEL) {
		lost(r, n->id, n->lease);
	} else if (n->notice == RAINCHECK_NOTICE_WORKER_QUIET) {
		r->quiet = true;
		raincheck_set_worker_quiet(rc, true);
		stop_leasing(r);
	} else if (n->notice == RAINCHECK_NOTICE_WORKER_STOP) {
		stop(r);
	}
}

static int connect_broker(struct raincheck_runner *r, struct raincheck_error *error)
{
	struct raincheck_worker worker = {
		.name = r->name,
		.queues = (const char *const *)r->queues,
		.queue_count = r->options.queue_count,
		.slots = r->options.threads,
	};
	struct raincheck_options options = {
		.server = r->server,
		.token = r->token,
		.client = r->client,
		.worker = &worker,
		.on_notification = notification_cb,
		.on_connection = connection_cb,
		.user = r,
		.loop = &r->loop,
	};

	return raincheck_new(&options, &r->rc, error);
}

/* ---- running ---- */

static void signal_cb(uv_signal_t *handle, int number)
{
	(void)number;
	stop(handle->data);
}

static void watch_signals(struct raincheck_runner *r)
{
	static const int numbers[] = { SIGTERM, SIGINT };

	if (!r->options.stop_on_signals)
		return;
	r->watching = true;
	for (size_t i = 0; i < ARRAY_SIZE(r->signals); i++) {
		uv_signal_init(&r->loop, &r->signals[i]);
		r->signals[i].data = r;
		uv_signal_start(&r->signals[i], signal_cb, numbers[i]);
	}
}

int raincheck_runner_run(struct raincheck_runner *r, struct raincheck_error *ret_error)
{
	int64_t tick = r->options.lease_ms / 3 < TICK_MS ? r->options.lease_ms / 3 : TICK_MS;
	struct raincheck_error error;
	int rc;

	if (r->state != RUNNER_NEW)
		return RAINCHECK_EINVALID_STATE;
	rc = connect_broker(r, ret_error ? ret_error : &error);
	if (rc < 0)
		return rc;
	r->state = RUNNER_WORKING;
	watch_signals(r);
	uv_timer_start(&r->tick, tick_cb, 0, (uint64_t)tick);
	/* Stops that came before there was anything to stop. */
	uv_async_send(&r->async);
	uv_run(&r->loop, UV_RUN_DEFAULT);
	if (r->code < 0 && ret_error)
		*ret_error = r->error;
	return r->code;
}
