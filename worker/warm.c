/* A plan is one upstream's part of what was told once:
 *
 *   WAITING ──its time has come──▶ OPENING: the first alone, then several at once ──▶ DONE
 *
 * It is kept for a while after its moment, so that whoever is told the same again knows it. The first goes alone
 * because it may tell that the API speaks HTTP/2, or is not there at all.
 */
#include "worker/warm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <uv.h>

#include "client/raincheck.h"
#include "proto/base/clean.h"
#include "proto/base/log.h"
#include "proto/error.h"
#include "worker/call/call_request.h"
#include "worker/config/worker_config.h"
#include "worker/transport/curl_loop.h"
#include "worker/transport/exchange.h"
#include "worker/transport/http_request.h"

#define PLANS_MAX  64
#define KEPT_MS	   60000 /* after its moment */
#define JITTER_MS  1000
#define AT_ONCE	   16	 /* at least; else a part of all: */
#define PARTS	   8	 /* so many after one another */
#define ANSWER_CAP 65536 /* what of an answer is read; a longer one is a failure */

struct plan;

struct opening {
	struct plan *plan;
	struct exchange *exchange; /* NULL: it is free */
};

struct plan {
	TAILQ_ENTRY(plan) entry;
	struct warmer *warmer;
	char *limit;
	char *upstream;
	char *url;
	struct worker_config *config; /* a reference … */
	const struct upstream *way;   /* … and what of it the requests go by */
	const char *method;
	int64_t at_ms; /* by the broker's clock */
	int64_t calls; /* that there may be at once then */
	int64_t wanted;
	int64_t next; /* of those, from 1: for which of the calls a connection is opened next */
	int64_t opened;
	int64_t under_way;
	bool opening; /* its time has come */
	bool shared;  /* a connection bears several calls */
	bool over;    /* no more are begun */
	struct opening *openings;
	int64_t at_once;
	uv_timer_t timer;
};

struct warmer {
	struct warmer_options options;
	TAILQ_HEAD(plans, plan) plans;
	size_t count;
};

/* ---- a plan's end ---- */

static void closed_cb(uv_handle_t *handle)
{
	struct plan *p = CONTAINER_OF((uv_timer_t *)handle, struct plan, timer);

	free(p->limit);
	free(p->upstream);
	free(p->url);
	worker_config_free(p->config);
	free(p->openings);
	free(p);
}

static void drop(struct plan *p)
{
	for (int64_t i = 0; i < p->at_once; i++)
		exchange_cancel(TAKE_PTR(p->openings[i].exchange));
	TAILQ_REMOVE(&p->warmer->plans, p, entry);
	p->warmer->count--;
	uv_close((uv_handle_t *)&p->timer, closed_cb);
}

static void forget_old(struct warmer *w, int64_t now_ms)
{
	struct plan *p, *next;

	for (p = TAILQ_FIRST(&w->plans); p; p = next) {
		next = TAILQ_NEXT(p, entry);
		if (p->at_ms + KEPT_MS < now_ms && p->under_way == 0)
			drop(p);
	}
}

/* ---- opening ---- */

static void open_more(struct plan *p);

/* Once, however many there were. */
static void give_up(struct plan *p, const char *why)
{
	if (!p->over)
		log_warning("connections to %s cannot be opened ahead: %s (calls connect by themselves)", p->upstream,
			    why);
	p->over = true;
}

static void done_cb(struct exchange *x, const struct answer *a, void *user)
{
	struct opening *o = user;
	struct plan *p = o->plan;

	(void)x;
	o->exchange = NULL;
	p->under_way--;
	if (a->end == EXCHANGE_ANSWERED)
		p->opened++;
	else
		give_up(p, a->detail);
	if (!p->shared && answer_is_shared(a)) {
		p->shared = true;
		p->next = (int64_t)curl_loop_next_apart(p->warmer->options.curl, 1);
	}
	open_more(p);
	if (p->under_way == 0 && p->opened > 0)
		log_info("%lld connection%s to %s opened ahead, as limit %s is to let more calls through",
			 (long long)p->opened, p->opened == 1 ? "" : "s", p->upstream, p->limit);
}

static int open_one(struct plan *p, struct opening *o)
{
	struct exchange_spec spec = {
		.loop = p->warmer->options.curl,
		.uv = p->warmer->options.uv,
		.connect_ms = p->way->timeouts.connect_ms,
		.first_byte_ms = upstream_aside_ms(p->way),
		.stall_ms = upstream_aside_ms(p->way),
		.total_ms = p->way->timeouts.connect_ms + upstream_aside_ms(p->way),
		.body_cap = ANSWER_CAP,
		.fresh = true,
		.ahead = (size_t)p->next,
		.trust = p->way->trust,
		.done_cb = done_cb,
		.user = o,
	};
	_cleanup_(http_request_freep) struct http_request *r = NULL;
	int rc;

	rc = call_request_plain(p->way, p->url, &r);
	if (rc < 0)
		return rc;
	r->method = p->method;
	rc = exchange_start(&spec, r, &o->exchange);
	if (rc == 0)
		TAKE_PTR(r);
	return rc;
}

static struct opening *free_place(struct plan *p)
{
	for (int64_t i = 0; i < p->at_once; i++)
		if (!p->openings[i].exchange)
			return &p->openings[i];
	return NULL;
}

static void open_more(struct plan *p)
{
	int64_t at_once = p->opened > 0 ? p->at_once : 1;

	while (!p->over && p->next <= p->wanted && p->under_way < at_once) {
		int rc = open_one(p, free_place(p));

		if (rc < 0) {
			give_up(p, error_text(rc));
			return;
		}
		p->next = p->shared ? (int64_t)curl_loop_next_apart(p->warmer->options.curl, (size_t)p->next)
				    : p->next + 1;
		p->under_way++;
	}
}

/* For how many its places are made is decided when it begins. */
static int make_places(struct plan *p)
{
	int64_t at_once = p->wanted / PARTS > AT_ONCE ? p->wanted / PARTS : AT_ONCE;

	p->openings = calloc((size_t)at_once, sizeof(*p->openings));
	if (!p->openings)
		return ERR_NO_MEMORY;
	p->at_once = at_once;
	for (int64_t i = 0; i < at_once; i++)
		p->openings[i].plan = p;
	return 0;
}

static void begin(struct plan *p)
{
	const struct warmer_options *o = &p->warmer->options;
	int64_t lacks = o->lacks_cb(p->upstream, p->calls, o->user);

	p->opening = true;
	p->wanted = lacks < o->most ? lacks : o->most;
	if (p->wanted >= p->next && !p->openings && make_places(p) < 0)
		return;
	open_more(p);
}

static void timer_cb(uv_timer_t *timer)
{
	begin(CONTAINER_OF(timer, struct plan, timer));
}

/* ---- planning ---- */

static struct plan *find(struct warmer *w, const struct raincheck_notification *n, const char *upstream)
{
	struct plan *p;

	TAILQ_FOREACH(p, &w->plans, entry)
	if (p->at_ms == n->at_ms && strcmp(p->limit, n->limit) == 0 && strcmp(p->upstream, upstream) == 0)
		return p;
	return NULL;
}

static struct plan *plan_new(struct warmer *w, struct worker_config *config, const struct raincheck_notification *n,
			     const struct upstream *u)
{
	struct plan *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->limit = strdup(n->limit);
	p->upstream = strdup(u->name);
	if (!p->limit || !p->upstream || asprintf(&p->url, "%s%s", u->base_url, u->warm.path) < 0) {
		free(p->limit);
		free(p->upstream);
		free(p);
		return NULL;
	}
	p->warmer = w;
	p->config = worker_config_ref(config);
	p->way = u;
	p->method = u->warm.method;
	p->at_ms = n->at_ms;
	p->next = 1;
	uv_timer_init(w->options.uv, &p->timer);
	TAILQ_INSERT_TAIL(&w->plans, p, entry);
	w->count++;
	return p;
}

/* From 0 up to, but not including, most. */
static int64_t draw_below(int64_t most)
{
	uint32_t drawn = 0;

	if (most <= 0 || uv_random(NULL, NULL, &drawn, sizeof(drawn), 0, NULL) < 0)
		return 0;
	return drawn % most;
}

/* Never so late that it does not help. */
static int64_t pause_before(int64_t left_ms, int64_t ahead_ms)
{
	int64_t early = left_ms < ahead_ms ? left_ms : ahead_ms;
	int64_t jitter = early / 4 < JITTER_MS ? early / 4 : JITTER_MS;

	return left_ms - early + draw_below(jitter);
}

static void plan(struct warmer *w, struct worker_config *config, const struct raincheck_notification *n,
		 const struct upstream *u, int64_t calls, int64_t left_ms)
{
	struct plan *p = find(w, n, u->name);

	if (!p && w->count < PLANS_MAX)
		p = plan_new(w, config, n, u);
	if (!p)
		return;
	p->calls = calls;
	if (p->opening)
		begin(p);
	else
		uv_timer_start(&p->timer, timer_cb, (uint64_t)pause_before(left_ms, u->warm.ahead_ms), 0);
}

/* Whether one of the queues before the n-th goes to the same upstream. */
static bool seen_before(const struct worker_config *config, const struct raincheck_notification *n, size_t queue)
{
	const struct upstream *u = worker_config_route(config, n->queues[queue]);

	for (size_t i = 0; i < queue; i++)
		if (worker_config_route(config, n->queues[i]) == u)
			return true;
	return false;
}

/* Where the queues go to several upstreams, each gets as large a part: nobody knows which queue's jobs will come. */
void warmer_told(struct warmer *w, struct worker_config *config, const struct raincheck_notification *n, int64_t now_ms)
{
	int64_t left_ms = n->at_ms > now_ms ? n->at_ms - now_ms : 0, upstreams = 0;

	forget_old(w, now_ms);
	for (size_t i = 0; i < n->queue_count; i++)
		upstreams += worker_config_route(config, n->queues[i]) && !seen_before(config, n, i);
	if (upstreams == 0)
		return;
	for (size_t i = 0; i < n->queue_count; i++) {
		const struct upstream *u = worker_config_route(config, n->queues[i]);

		if (u && u->warm.method && !seen_before(config, n, i))
			plan(w, config, n, u, (n->concurrency + upstreams - 1) / upstreams, left_ms);
	}
}

/* ---- all of them ---- */

int warmer_new(const struct warmer_options *options, struct warmer **ret)
{
	struct warmer *w = calloc(1, sizeof(*w));

	if (!w)
		return ERR_NO_MEMORY;
	w->options = *options;
	TAILQ_INIT(&w->plans);
	*ret = w;
	return 0;
}

void warmer_close(struct warmer *w)
{
	struct plan *p;

	if (!w)
		return;
	while ((p = TAILQ_FIRST(&w->plans)))
		drop(p);
	free(w);
}
