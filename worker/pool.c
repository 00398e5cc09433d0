#include "worker/pool.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/error.h"
#include "worker/call/broker_link.h"
#include "worker/call/call.h"
#include "worker/call/call_table.h"
#include "worker/call/fetch.h"
#include "worker/call/keyset.h"
#include "worker/call/leased.h"
#include "worker/config/worker_config.h"
#include "worker/extender.h"
#include "worker/transport/curl_loop.h"
#include "worker/warm.h"

#define LEASE_WAIT_MS	30000
#define LEASE_BATCH_MAX 1000
#define RETRY_PAUSE_MS	1000
#define RELEASE_WAIT_MS 5000
#define STORE_WAIT_MS	20000 /* where a result has come whole */
#define TICK_MS		1000
#define WARM_MAX	10000 /* connections opened ahead for one upstream */

enum pool_state { POOL_WORKING, POOL_DRAINING, POOL_RELEASING, POOL_CLOSED };

struct pool {
	struct pool_options options;
	struct means means;
	struct worker_config *config; /* these four are of the last file */
	const char **queues;	      /* as many as config has routes */
	char *name;
	int64_t slots;
	enum pool_state state;
	bool quiet;	/* an operator's wish: lease no more */
	bool leasing;	/* a lease is asked for */
	bool dry;	/* the last lease found nothing */
	bool connected; /* was, at least once */
	bool away;
	bool regreet; /* the broker is to be told who we are now, when no lease is under way */
	bool parting; /* the end of the connection is our own wish */
	bool ending;  /* closes at the next tick */
	enum pool_status status;
	int64_t lease_at_ms; /* not before; clock_mono_ms() */
	int64_t until_ms;    /* DRAINING and RELEASING: their end */
	struct call_table calls;
	struct extender *extender;
	struct warmer *warmer;
	uv_timer_t tick;
};

static void lease(struct pool *p);
static void greet_again(struct pool *p);

/* ---- closing ---- */

static void closed_cb(uv_handle_t *handle)
{
	(void)handle;
}

static void close_pool(struct pool *p)
{
	struct call_place *place;

	p->state = POOL_CLOSED;
	while ((place = TAILQ_FIRST(&p->calls.all)))
		call_abort(place->call, CALL_UNTOLD);
	extender_free(TAKE_PTR(p->extender));
	warmer_close(TAKE_PTR(p->warmer));
	broker_link_close(TAKE_PTR(p->means.link));
	keysets_free(TAKE_PTR(p->means.keysets));
	curl_loop_close(TAKE_PTR(p->means.curl));
	uv_close((uv_handle_t *)&p->tick, closed_cb);
	p->options.closed_cb(p->status, p->options.user);
}

static void tick_cb(uv_timer_t *timer);

/* Closes from the timer: callers may be deep in libcurl's or the client's callbacks. */
static void close_soon(struct pool *p)
{
	if (p->ending || p->state == POOL_CLOSED)
		return;
	p->ending = true;
	uv_timer_start(&p->tick, tick_cb, 0, 0);
}

static void close_if_done(struct pool *p)
{
	if (p->calls.count > 0)
		return;
	/* A lease under way may still bring jobs, which must be given back: they would be held by nobody. */
	if (p->leasing && raincheck_connected(broker_link_handle(p->means.link)))
		return;
	if (p->state >= POOL_DRAINING || (p->options.once && (p->dry || p->quiet) && !p->leasing))
		close_soon(p);
}

static void release_all(struct pool *p)
{
	struct call_place *place, *next;
	long long storing = 0;

	p->state = POOL_RELEASING;
	for (place = TAILQ_FIRST(&p->calls.all); place; place = next) {
		next = TAILQ_NEXT(place, entry);
		storing += call_release(place->call);
	}
	p->until_ms = clock_mono_ms() + (storing > 0 ? STORE_WAIT_MS : RELEASE_WAIT_MS);
	if ((long long)p->calls.count > storing)
		log_info("giving %lld jobs back", (long long)p->calls.count - storing);
	if (storing > 0)
		log_info("storing %lld results that have come whole", storing);
	close_if_done(p);
}

/* The broker must not give us a job any more, least of all one that we have just given back. */
static void stop_leasing(struct pool *p)
{
	if (p->leasing)
		raincheck_lease_cancel_async(broker_link_handle(p->means.link), NULL, NULL);
}

void pool_drain(struct pool *p)
{
	if (p->state == POOL_WORKING) {
		p->state = POOL_DRAINING;
		p->until_ms = clock_mono_ms() + p->config->grace_ms;
		log_info("ending: %lld calls may end within the grace time", (long long)p->calls.count);
		stop_leasing(p);
		close_if_done(p);
	} else if (p->state == POOL_DRAINING) {
		release_all(p);
	} else if (p->state == POOL_RELEASING) {
		log_info("ending at once: what the broker has not taken back is its own when the leases are over");
		close_soon(p);
	}
}

/* ---- calls ---- */

static void call_done_cb(struct call *c, enum call_outcome outcome, void *user)
{
	struct pool *p = user;

	(void)outcome;
	call_table_remove(&p->calls, c);
	if (p->state == POOL_CLOSED)
		return;
	p->dry = false;
	lease(p);
	close_if_done(p);
}

/* Tried once: where it does not get through, the lease runs out. What could not be done now is not asked for at once
 * again. */
static void give_back(struct pool *p, const struct raincheck_leased_job *leased)
{
	struct raincheck_release release = { .id = leased->id, .lease = leased->lease };

	p->lease_at_ms = clock_mono_ms() + RETRY_PAUSE_MS;
	raincheck_release_async(broker_link_handle(p->means.link), &release, NULL, NULL);
}

static void accept_job(struct pool *p, const struct raincheck_leased_job *leased)
{
	struct call_spec spec = {
		.means = &p->means,
		.config = p->config,
		.upstream = worker_config_route(p->config, leased->queue),
		.done_cb = call_done_cb,
		.user = p,
	};
	struct call *old = call_table_find(&p->calls, leased->id, NULL), *c;
	struct leased *job;

	/* It was lost without our noticing, and has come back. */
	if (old)
		call_abort(old, CALL_LOST);
	/* The file may have lost the queue while the lease was under way. */
	if (!spec.upstream || leased_new(leased, &job) < 0) {
		give_back(p, leased);
		return;
	}
	if (call_start(&spec, job, &c) < 0) {
		leased_free(job);
		give_back(p, leased);
		return;
	}
	call_table_add(&p->calls, c);
	if (p->state >= POOL_DRAINING)
		call_release(c);
}

/* ---- leasing ---- */

static void lease_refused(struct pool *p, const struct raincheck_reply *reply)
{
	int64_t pause = reply->error->retry_after_ms > 0 ? reply->error->retry_after_ms : RETRY_PAUSE_MS;

	if (!broker_retryable(reply->code))
		log_error("the broker refuses to lease: %s", reply->error->message);
	p->lease_at_ms = clock_mono_ms() + pause;
}

static void leased_cb(struct raincheck *rc, const struct raincheck_reply *reply, void *user)
{
	struct pool *p = user;

	(void)rc;
	p->leasing = false;
	if (p->state == POOL_CLOSED)
		return;
	if (reply->code < 0) {
		lease_refused(p, reply);
	} else {
		p->dry = reply->lease->job_count == 0;
		for (size_t i = 0; i < reply->lease->job_count; i++)
			accept_job(p, &reply->lease->jobs[i]);
	}
	greet_again(p);
	/* What is parked waits at the broker; a pass that found nothing is repeated when a call ends. */
	if (reply->code == 0 && !(p->options.once && p->dry))
		lease(p);
	close_if_done(p);
}

static void lease(struct pool *p)
{
	int64_t room = p->slots - (int64_t)p->calls.count;
	struct raincheck_lease params = {
		.queues = p->queues,
		.queue_count = p->config->route_count,
		.max = room < LEASE_BATCH_MAX ? room : LEASE_BATCH_MAX,
		.lease_ms = p->config->lease_ms,
		.wait_ms = p->options.once ? 0 : LEASE_WAIT_MS,
	};

	if (p->state != POOL_WORKING || p->quiet || p->leasing || p->regreet || room <= 0 ||
	    clock_mono_ms() < p->lease_at_ms)
		return;
	if (raincheck_lease_async(broker_link_handle(p->means.link), &params, leased_cb, p) < 0)
		p->lease_at_ms = clock_mono_ms() + RETRY_PAUSE_MS;
	else
		p->leasing = true;
}

/* ---- time ---- */

static void lost_cb(const char *id, const char *lease_token, bool canceled, void *user)
{
	struct pool *p = user;
	struct call *c = call_table_find(&p->calls, id, lease_token);

	if (c)
		call_abort(c, canceled ? CALL_CANCELED : CALL_LOST);
}

static void extend(void *user)
{
	struct pool *p = user;
	struct call_place *place;
	int64_t now = clock_mono_ms();

	TAILQ_FOREACH(place, &p->calls.all, entry)
	{
		if (!extender_takes(p->extender))
			break;
		extender_offer(p->extender, place, now);
	}
	extender_send(p->extender, now);
}

static void tick_cb(uv_timer_t *timer)
{
	struct pool *p = CONTAINER_OF(timer, struct pool, tick);
	int64_t now = clock_mono_ms(), pause = p->config->lease_ms / 3;

	if (p->ending || (p->state == POOL_RELEASING && now >= p->until_ms)) {
		close_pool(p);
		return;
	}
	if (p->state == POOL_DRAINING && now >= p->until_ms)
		release_all(p);
	extend(p);
	lease(p);
	if (p->ending)
		pause = 0;
	uv_timer_start(&p->tick, tick_cb, (uint64_t)(pause < TICK_MS ? pause : TICK_MS), 0);
}

/* ---- the broker ---- */

static void connected_cb(void *user)
{
	struct pool *p = user;
	struct call_place *place;

	log_info("connected to the broker");
	p->connected = true;
	p->away = false;
	/* Leases may have been lost meanwhile: ask at once. */
	TAILQ_FOREACH(place, &p->calls.all, entry)
	place->extended_at_ms = 0;
	extend(p);
	p->lease_at_ms = 0;
	lease(p);
}

static bool refused_for_good(int code)
{
	return code == RAINCHECK_EUNAUTHENTICATED || code == RAINCHECK_EDENIED ||
	       code == RAINCHECK_EUNSUPPORTED_VERSION;
}

static void disconnected_cb(const struct raincheck_error *why, void *user)
{
	struct pool *p = user;

	if (!p->connected && refused_for_good(why->code)) {
		log_error("the broker refuses this worker: %s", why->message);
		p->status = POOL_REFUSED;
		close_soon(p);
		return;
	}
	if (!p->connected && p->options.once) {
		log_error("no connection to the broker: %s", why->message);
		p->status = POOL_NO_BROKER;
		close_soon(p);
		return;
	}
	if (p->parting) {
		p->parting = false;
		return;
	}
	if (!p->away)
		log_warning("no connection to the broker: %s (calls go on, their results are kept)", why->message);
	p->away = true;
}

/* Until the process ends: the next connection's greeting says so too. What a lease under way brings yet is worked on.
 */
static void be_quiet(struct pool *p)
{
	if (p->quiet || p->state != POOL_WORKING)
		return;
	p->quiet = true;
	log_info("told to lease no more: %lld calls go on, and the connection stays", (long long)p->calls.count);
	raincheck_set_worker_quiet(broker_link_handle(p->means.link), true);
	stop_leasing(p);
	close_if_done(p);
}

static void hooked(struct pool *p, const struct raincheck_notification *n)
{
	struct call *c = call_table_find(&p->calls, n->id, n->lease);

	if (c)
		call_hook(c, n);
}

/* For the warmer: calls that are under way have their connections. */
static int64_t lacks_cb(const char *upstream, int64_t calls, void *user)
{
	struct pool *p = user;
	int64_t room = p->slots - (int64_t)p->calls.count;
	struct call_place *place;

	if (p->state != POOL_WORKING || p->quiet)
		return 0;
	TAILQ_FOREACH(place, &p->calls.all, entry)
	{
		const struct upstream *u = worker_config_route(p->config, call_job(place->call)->queue);

		calls -= u && strcmp(u->name, upstream) == 0;
	}
	return calls < room ? calls : room;
}

static void notice_cb(const struct raincheck_notification *n, void *user)
{
	struct pool *p = user;

	switch (n->notice) {
	case RAINCHECK_NOTICE_JOB_CANCEL:
		lost_cb(n->id, n->lease, true, p);
		break;
	case RAINCHECK_NOTICE_JOB_WAKE:
		hooked(p, n);
		break;
	case RAINCHECK_NOTICE_WORKER_QUIET:
		be_quiet(p);
		break;
	case RAINCHECK_NOTICE_WORKER_STOP:
		log_info("told to stop");
		pool_drain(p);
		break;
	case RAINCHECK_NOTICE_WORKER_WARM:
		warmer_told(p->warmer, p->config, n, broker_link_wall_ms(p->means.link));
		break;
	default:
		break;
	}
}

static struct raincheck_worker describe(const struct pool *p)
{
	return (struct raincheck_worker){
		.name = p->name,
		.queues = p->queues,
		.queue_count = p->config->route_count,
		.slots = p->slots,
	};
}

static int connect_broker(struct pool *p)
{
	struct raincheck_worker worker = describe(p);
	struct broker_link_options options = {
		.uv = p->options.uv,
		.server = p->options.server,
		.token = p->config->token,
		.worker = &worker,
		.handlers = { connected_cb, disconnected_cb, notice_cb, p },
	};
	struct raincheck_error error;
	int rc = broker_link_new(&options, &p->means.link, &error);

	if (rc == ERR_BAD_REQUEST)
		log_error("the broker's address: %s", error.message);
	return rc;
}

static int prepare_warmer(struct pool *p)
{
	struct warmer_options options = {
		.uv = p->options.uv,
		.curl = p->means.curl,
		.most = WARM_MAX,
		.lacks_cb = lacks_cb,
		.user = p,
	};

	return warmer_new(&options, &p->warmer);
}

/* A lease under way could bring jobs into a connection that is being left. */
static void greet_again(struct pool *p)
{
	struct raincheck_worker worker = describe(p);

	if (!p->regreet || p->leasing || p->state != POOL_WORKING)
		return;
	p->regreet = false;
	p->parting = raincheck_connected(broker_link_handle(p->means.link));
	if (broker_link_greet_as(p->means.link, p->config->token, &worker) < 0)
		log_error("the broker cannot be told who this worker is now: %s", error_text(ERR_NO_MEMORY));
}

/* ---- what it works by ---- */

static int take_work(struct pool *p, const struct pool_work *work)
{
	const struct worker_config *config = work->config;
	_cleanup_free_ const char **queues = calloc(config->route_count, sizeof(*queues));
	_cleanup_free_ char *name = strdup(work->name);

	if (!queues || !name)
		return ERR_NO_MEMORY;
	for (size_t i = 0; i < config->route_count; i++)
		queues[i] = config->routes[i].queue;
	free(p->queues);
	free(p->name);
	worker_config_free(p->config);
	p->queues = TAKE_PTR(queues);
	p->name = TAKE_PTR(name);
	p->slots = work->slots;
	p->config = worker_config_ref(work->config);
	return 0;
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

/* For the broker, which sees nothing of upstreams. */
static bool looks_the_same(const struct pool *p, const struct pool_work *work)
{
	const struct worker_config *config = work->config;

	if (work->slots != p->slots || !same_text(work->name, p->name) || !same_text(config->token, p->config->token) ||
	    config->route_count != p->config->route_count)
		return false;
	for (size_t i = 0; i < config->route_count; i++)
		if (strcmp(config->routes[i].queue, p->queues[i]) != 0)
			return false;
	return true;
}

int pool_reload(struct pool *p, const struct pool_work *work)
{
	bool same = looks_the_same(p, work);
	int rc = take_work(p, work);

	if (rc < 0)
		return rc;
	if (p->state == POOL_CLOSED)
		return 0;
	curl_loop_trust_by(p->means.curl, p->config->trust);
	extender_set_lease(p->extender, p->config->lease_ms);
	if (same || p->state != POOL_WORKING)
		return 0;
	p->regreet = true;
	stop_leasing(p);
	greet_again(p);
	return 0;
}

/* ---- beginning and end ---- */

static int prepare(struct pool *p)
{
	struct extender_handlers handlers = { lost_cb, extend, p };
	int rc;

	rc = take_work(p, &p->options.work);
	if (rc == 0)
		rc = curl_loop_new(p->options.uv, &p->means.curl);
	if (rc == 0)
		curl_loop_trust_by(p->means.curl, p->config->trust);
	if (rc == 0)
		rc = keysets_new(p->options.uv, p->means.curl, &p->means.keysets);
	if (rc == 0)
		rc = connect_broker(p);
	if (rc == 0)
		rc = extender_new(p->means.link, p->config->lease_ms, &handlers, &p->extender);
	if (rc == 0)
		rc = prepare_warmer(p);
	return rc;
}

static void destroy(struct pool *p)
{
	worker_config_free(p->config);
	free(p->queues);
	free(p->name);
	free(p);
}

int pool_new(const struct pool_options *options, struct pool **ret_pool)
{
	struct pool *p = calloc(1, sizeof(*p));
	int rc;

	if (!p)
		return ERR_NO_MEMORY;
	p->options = *options;
	p->means.uv = options->uv;
	call_table_init(&p->calls);
	rc = prepare(p);
	if (rc < 0) {
		warmer_close(p->warmer);
		broker_link_close(p->means.link);
		keysets_free(p->means.keysets);
		curl_loop_close(p->means.curl);
		destroy(p);
		return rc;
	}
	uv_timer_init(options->uv, &p->tick);
	uv_timer_start(&p->tick, tick_cb, 0, 0);
	*ret_pool = p;
	return 0;
}

void pool_free(struct pool *p)
{
	if (p)
		destroy(p);
}
