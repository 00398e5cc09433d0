/* The pool reads which raises there are to come; the loop keeps that list, waits for the first moment of it, and then
 * has it read again: what was learned since may have changed the numbers.
 */
#include "server/net/prescale.h"

#include <assert.h>
#include <stdlib.h>

#include "proto/base/clean.h"
#include "proto/base/clock.h"
#include "server/engine/view_raises.h"
#include "server/net/net_priv.h"
#include "server/net/registry.h"
#include "server/net/session.h"

/* Moments are of a clock that may be set: it is looked at so often while there is something to wait for. */
#define TICK_MS 10000

struct prescale {
	struct net *net;
	uv_timer_t timer;
	bool open; /* the timer is */
	uv_work_t work;
	bool reading;
	bool again;	     /* something changed while reading */
	struct raises known; /* the loop's */
	int64_t *told;	     /* of each of them: the calls that workers were told of, 0 for none yet */
	struct raises fresh; /* the pool's while reading; likewise: */
	int rc;
};

/* ---- telling ---- */

int64_t prescale_share(int64_t calls, int64_t slots, int64_t all_slots)
{
	int64_t share = all_slots > 0 ? (calls * slots + all_slots - 1) / all_slots : 0;

	return share < slots ? share : slots;
}

/* One raise, and the workers that it is for. */
struct telling {
	const struct limit_raise *raise;
	const struct session *only; /* NULL: all */
	int64_t all_slots;
};

static int by_name(const void *a, const void *b)
{
	return slice_compare(*(const struct slice *)a, *(const struct slice *)b);
}

/* Which of the raise's queues it takes from; how many. */
static size_t common_queues(const struct telling *t, const struct msg_worker_session *w, struct slice *ret)
{
	const struct limit_raise *r = t->raise;
	size_t count = 0;

	for (size_t i = 0; i < w->queues_count && count < MAX_QUEUES; i++)
		if (bsearch(&w->queues[i], r->queues, r->queues_count, sizeof(r->queues[0]), by_name))
			ret[count++] = w->queues[i];
	return count;
}

static void sum_cb(struct session *s, const struct msg_worker_session *w, void *user)
{
	struct slice queues[MAX_QUEUES];
	struct telling *t = user;

	(void)s;
	if (w->state == WORKER_ACTIVE && common_queues(t, w, queues) > 0)
		t->all_slots += w->slots;
}

static void tell_cb(struct session *s, const struct msg_worker_session *w, void *user)
{
	struct slice queues[MAX_QUEUES];
	struct telling *t = user;
	struct msg_warm_notice notice = {
		.has_limit = true,
		.limit = t->raise->limit,
		.has_queues = true,
		.queues = queues,
		.has_concurrency = true,
		.concurrency = prescale_share(t->raise->raise.to, w->slots, t->all_slots),
		.has_at_ms = true,
		.at_ms = t->raise->raise.at_ms,
	};

	if ((t->only && t->only != s) || w->state != WORKER_ACTIVE || notice.concurrency <= 0)
		return;
	notice.queues_count = common_queues(t, w, queues);
	if (notice.queues_count > 0)
		(void)session_notify(s, "worker.warm", &MSG_warm_notice, &notice);
}

static void tell(struct prescale *p, const struct limit_raise *raise, const struct session *only)
{
	struct telling t = { .raise = raise, .only = only };

	registry_visit(p->net->registry, sum_cb, &t);
	registry_visit(p->net->registry, tell_cb, &t);
}

/* ---- when ---- */

static bool is_near(const struct limit_raise *r, int64_t now_ms)
{
	return r->raise.at_ms - PRESCALE_LEAD_MS <= now_ms && now_ms < r->raise.at_ms;
}

static void look(struct prescale *p);
static void arm(struct prescale *p);

/* When the n-th is to be looked at again: to be told, and when its moment is over. */
static int64_t next_of(const struct prescale *p, size_t n)
{
	int64_t at_ms = p->known.items[n]->raise.at_ms;

	return p->told[n] > 0 ? at_ms : at_ms - PRESCALE_LEAD_MS;
}

static void timer_cb(uv_timer_t *timer)
{
	struct prescale *p = CONTAINER_OF(timer, struct prescale, timer);
	int64_t now_ms = clock_wall_ms();

	for (size_t i = 0; i < p->known.count; i++) {
		if (next_of(p, i) <= now_ms) {
			look(p);
			return;
		}
	}
	/* What could not be read is tried again. */
	if (p->rc < 0)
		look(p);
	else
		arm(p);
}

static void arm(struct prescale *p)
{
	int64_t now_ms = clock_wall_ms(), ms = TICK_MS;

	if (!p->open || (p->known.count == 0 && p->rc == 0))
		return;
	for (size_t i = 0; i < p->known.count; i++)
		if (next_of(p, i) - now_ms < ms)
			ms = next_of(p, i) - now_ms;
	uv_timer_start(&p->timer, timer_cb, ms > 0 ? (uint64_t)ms : 0, 0);
}

/* ---- reading ---- */

/* What was told of those that are there still, both by name. */
static void take_over(const struct prescale *p, int64_t *told)
{
	size_t old = 0;

	for (size_t i = 0; i < p->fresh.count; i++) {
		const struct limit_raise *r = p->fresh.items[i];

		while (old < p->known.count && slice_compare(p->known.items[old]->limit, r->limit) < 0)
			old++;
		if (old < p->known.count && slice_equal(p->known.items[old]->limit, r->limit) &&
		    p->known.items[old]->raise.at_ms == r->raise.at_ms)
			told[i] = p->told[old];
	}
}

static void adopt(struct prescale *p)
{
	int64_t *told = calloc(p->fresh.count + 1, sizeof(*told));

	if (!told) {
		p->rc = ERR_NO_MEMORY;
		raises_done(&p->fresh);
		return;
	}
	take_over(p, told);
	raises_done(&p->known);
	free(p->told);
	p->known = p->fresh;
	p->told = told;
	p->fresh = (struct raises){ 0 };
}

static void tell_near(struct prescale *p)
{
	int64_t now_ms = clock_wall_ms();

	for (size_t i = 0; i < p->known.count; i++) {
		const struct limit_raise *r = p->known.items[i];

		if (!is_near(r, now_ms) || p->told[i] >= r->raise.to)
			continue;
		tell(p, r, NULL);
		p->told[i] = r->raise.to;
	}
}

static void read_cb(uv_work_t *work)
{
	struct prescale *p = CONTAINER_OF(work, struct prescale, work);
	_cleanup_(store_abortp) struct store_txn *t = NULL;

	p->rc = store_begin_read(p->net->options.store, &t);
	if (p->rc == 0)
		p->rc = view_raises(t, clock_wall_ms(), &p->fresh);
}

static void read_done_cb(uv_work_t *work, int status)
{
	struct prescale *p = CONTAINER_OF(work, struct prescale, work);

	assert(status == 0); /* nothing here cancels work */
	(void)status;
	p->reading = false;
	if (p->open && p->rc == 0) {
		adopt(p);
		tell_near(p);
	}
	if (p->open && p->again)
		look(p);
	else
		arm(p);
	net__drop(p->net);
}

static void look(struct prescale *p)
{
	if (!p->open)
		return;
	p->again = p->reading;
	if (p->reading)
		return;
	p->reading = true;
	net__hold(p->net);
	if (uv_queue_work(p->net->loop, &p->work, read_cb, read_done_cb) == 0)
		return;
	p->reading = false;
	net__drop(p->net);
}

/* ---- what others call ---- */

void prescale_changed(struct request *req)
{
	if (req->released == 0)
		look(req->net->prescale);
}

void prescale_greet(struct prescale *p, struct session *s)
{
	int64_t now_ms = clock_wall_ms();

	for (size_t i = 0; i < p->known.count; i++)
		if (is_near(p->known.items[i], now_ms))
			tell(p, p->known.items[i], s);
}

int prescale_new(struct net *net, struct prescale **ret)
{
	struct prescale *p = calloc(1, sizeof(*p));

	if (!p)
		return ERR_NO_MEMORY;
	p->net = net;
	*ret = p;
	return 0;
}

void prescale_free(struct prescale *p)
{
	if (!p)
		return;
	assert(!p->open && !p->reading);
	raises_done(&p->known);
	raises_done(&p->fresh);
	free(p->told);
	free(p);
}

void prescale_start(struct prescale *p)
{
	uv_timer_init(p->net->loop, &p->timer);
	p->open = true;
	net__hold(p->net);
	look(p);
}

static void closed_cb(uv_handle_t *handle)
{
	net__drop(CONTAINER_OF((uv_timer_t *)handle, struct prescale, timer)->net);
}

void prescale_stop(struct prescale *p)
{
	if (!p->open)
		return;
	p->open = false;
	uv_close((uv_handle_t *)&p->timer, closed_cb);
}
