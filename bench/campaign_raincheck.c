/* Raincheck: each visitor's request is put and answered; a few workers with plenty of slots lease, call and complete,
 * and the limit, which is told neither the API's slots nor its latency, says how many calls that are at once.
 *
 * A commit takes COMMIT_MS, several times what a disk takes: what a visitor or a worker asks for meanwhile waits for
 * the next one. A call begins when its lease was told, a visitor has the result when its completion is on disk. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/base.h"
#include "bench/campaign.h"
#include "bench/campaign_broker.h"
#include "tests/harness/api_model.h"

#define QUEUE	  "videos"
#define LIMIT	  "api"
#define LEAST	  4 /* what an operator says of the limit */
#define MOST	  500
#define COMMIT_MS 5
#define WORKERS	  4
#define SLOTS	  250 /* of each worker */
#define LEASE_MS  120000
#define WAIT_MS	  60000
#define LOOK_MS	  500 /* a visitor looks again at the link */

struct promise {
	size_t visitor;
	double at_ms;
	struct msg_eta eta;
	bool at_put;
};

struct crew {
	struct campaign *c;
	struct broker broker;
	double now_ms; /* what was asked for until then was told */
	size_t busy[WORKERS];
	bool asks[WORKERS];	 /* has a lease waiting */
	struct broker_job *jobs; /* of each visitor: the id since its put, the lease of the present attempt */
	size_t *worker_of;
	struct promise *promises;
	size_t promises_count, promises_room;
	double look_ms;
	int32_t concurrency;
};

/* ---- promises ---- */

static void promised(struct crew *w, size_t visitor, struct msg_eta eta, bool at_put)
{
	if (w->promises_count == w->promises_room) {
		w->promises_room = w->promises_room * 2 + 1024;
		w->promises = campaign_more(w->promises, w->promises_room, sizeof(*w->promises));
	}
	w->promises[w->promises_count++] = (struct promise){ visitor, w->now_ms, eta, at_put };
}

/* One of those who wait looks, and what the limit has learned is looked at. */
static void look(struct crew *w)
{
	size_t visitor = (size_t)(api_model_draw(&w->c->draws) * (double)w->c->came);
	struct msg_eta eta;

	w->look_ms = w->now_ms + LOOK_MS;
	w->concurrency = broker_concurrency(&w->broker, LIMIT, w->now_ms);
	if (w->c->came == 0 || isnan(w->c->visitors[visitor].still_ms) || !isnan(w->c->visitors[visitor].done_ms))
		return;
	if (broker_promise(&w->broker, &w->jobs[visitor].id, w->now_ms, &eta))
		promised(w, visitor, eta, false);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double middle(double *values, size_t count)
{
	qsort(values, count, sizeof(*values), compare);
	return count > 0 ? values[count / 2] : 0;
}

/* How the promises of one kind turned out. */
struct verdict {
	size_t made, kept;
	double width, off; /* medians */
};

static struct verdict judge(const struct crew *w, bool at_put)
{
	double *width = campaign_zeros(w->promises_count + 1, sizeof(*width));
	double *off = campaign_zeros(w->promises_count + 1, sizeof(*off));
	struct verdict v = { 0 };

	for (size_t i = 0; i < w->promises_count; i++) {
		const struct promise *p = &w->promises[i];
		double took_ms = w->c->visitors[p->visitor].done_ms - p->at_ms;

		if (p->at_put != at_put)
			continue;
		/* One that was lost was promised in vain, and has no wait to compare with. */
		width[v.made] = isnan(took_ms) ? 0 : (double)(p->eta.high - p->eta.low) / fmax(took_ms, 1);
		off[v.made] = isnan(took_ms) ? 0 : fabs((double)(p->eta.high + p->eta.low) / 2 / fmax(took_ms, 1) - 1);
		v.made++;
		v.kept += took_ms >= (double)p->eta.low && took_ms <= (double)p->eta.high;
	}
	v.width = middle(width, v.made);
	v.off = middle(off, v.made);
	free(width);
	free(off);
	return v;
}

static void judge_all(const struct crew *w, struct campaign_promises *ret)
{
	struct verdict put = judge(w, true), later = judge(w, false);

	*ret = (struct campaign_promises){
		.at_put = put.made,
		.at_put_kept = put.kept,
		.at_look = later.made,
		.at_look_kept = later.kept,
		.width_at_put = put.width,
		.width = later.width,
		.off = later.off,
	};
}

/* ---- workers ---- */

static void ask(struct crew *w, size_t worker);

static void leased(struct broker_order *o)
{
	struct crew *w = o->user;

	w->asks[o->who] = false;
	for (size_t i = 0; i < o->jobs_count; i++) {
		w->jobs[o->jobs[i].visitor] = o->jobs[i];
		w->worker_of[o->jobs[i].visitor] = o->who;
		w->busy[o->who]++;
		campaign_call(w->c, o->jobs[i].visitor, w->now_ms);
	}
	ask(w, o->who);
}

static void ask(struct crew *w, size_t worker)
{
	struct broker_order *o;

	if (w->asks[worker] || w->busy[worker] >= SLOTS)
		return;
	o = broker_order(&w->broker, COMMAND_LEASE, leased, w);
	o->who = worker;
	o->name = slice_str(QUEUE);
	o->cmd.session = worker + 1;
	o->params.lease = (struct msg_job_lease){
		.has_queues = true,
		.queues = &o->name,
		.queues_count = 1,
		.has_max = true,
		.max = (int64_t)(SLOTS - w->busy[worker]),
		.has_lease_ms = true,
		.lease_ms = LEASE_MS,
		.has_wait_ms = true,
		.wait_ms = WAIT_MS,
	};
	w->asks[worker] = true;
}

static void completed(struct broker_order *o)
{
	struct crew *w = o->user;

	need(o->code == 0, "a completion was refused");
	campaign_served(w->c, o->who, w->now_ms);
}

static void failed(struct broker_order *o)
{
	struct crew *w = o->user;

	need(o->code == 0, "a failure was refused");
	if (o->state == JOB_DEAD)
		campaign_lost(w->c, o->who, w->now_ms);
}

static void call_ended(struct crew *w, const struct api_ended *e)
{
	const struct broker_job *job = &w->jobs[e->call];
	int64_t call_ms = (int64_t)(e->ended_ms - e->started_ms);
	struct broker_order *o = broker_order(&w->broker, e->succeeded ? COMMAND_COMPLETE : COMMAND_FAIL,
					      e->succeeded ? completed : failed, w);

	o->who = e->call;
	if (e->succeeded) {
		o->params.complete.item = (struct complete_item){
			.id = job->id, .lease = job->lease, .has_call_ms = true, .call_ms = call_ms
		};
		o->params.complete.command = (struct command_complete){ .items = &o->params.complete.item, .count = 1 };
	} else {
		o->params.fail = (struct msg_job_fail){
			.has_id = true,
			.id = job->id,
			.has_lease = true,
			.lease = job->lease,
			.has_kind = true,
			.kind = (int)e->kind,
			.has_message = true,
			.message = slice_str("the API did not answer in time"),
			.has_call_ms = true,
			.call_ms = call_ms,
		};
	}
	w->busy[w->worker_of[e->call]]--;
	ask(w, w->worker_of[e->call]);
}

/* ---- visitors ---- */

static void told(struct broker_order *o)
{
	struct crew *w = o->user;

	need(o->code == 0, "a put was refused");
	w->jobs[o->who].id = o->id;
	w->c->visitors[o->who].still_ms = w->now_ms;
	if (o->has_eta)
		promised(w, o->who, o->eta, true);
}

static void put(struct crew *w, size_t visitor)
{
	struct broker_order *o = broker_order(&w->broker, COMMAND_PUT, told, w);

	o->who = visitor;
	snprintf(o->text[0], sizeof(o->text[0]), "%zu", visitor);
	snprintf(o->text[1], sizeof(o->text[1]), "group-%d", w->c->visitors[visitor].group);
	o->params.put.item.put = (struct msg_job_put){
		.has_queue = true,
		.queue = slice_str(QUEUE),
		.has_payload = true,
		.payload = slice_str(o->text[0]),
		.has_group = true,
		.group = slice_str(o->text[1]),
		.has_max_attempts = true,
		.max_attempts = CAMPAIGN_TRIES,
	};
	o->params.put.command = (struct command_put){ .items = &o->params.put.item, .count = 1 };
}

/* ---- time ---- */

/* Whatever happens outside the broker until the moment is asked of its next batch. */
static void gather(struct crew *w, double until_ms)
{
	struct api_ended e;

	for (;;) {
		double at_ms = fmin(campaign_next_ms(w->c), api_model_next_ms(w->c->api));

		campaign_pass(w->c, fmin(at_ms, until_ms), w->concurrency);
		if (at_ms > until_ms)
			return;
		while (campaign_take(w->c, at_ms, &e))
			call_ended(w, &e);
		while (campaign_next_ms(w->c) <= at_ms)
			put(w, campaign_came(w->c));
	}
}

static void step(struct crew *w)
{
	double at_ms = fmin(fmin(campaign_next_ms(w->c), api_model_next_ms(w->c->api)), broker_next_ms(&w->broker));

	need(w->broker.asked || at_ms < INFINITY, "somebody waits for nothing");
	at_ms = w->broker.asked ? w->now_ms : fmax(ceil(at_ms), w->now_ms);
	gather(w, at_ms);
	broker_apply(&w->broker, at_ms);
	gather(w, at_ms + COMMIT_MS);
	w->now_ms = at_ms + COMMIT_MS;
	broker_release(&w->broker);
	if (w->now_ms >= w->look_ms)
		look(w);
}

static void set_up(struct crew *w)
{
	struct broker_order *o = broker_order(&w->broker, COMMAND_LIMIT, NULL, NULL);
	struct msg_limit_set *limit = &o->params.limit.set;
	struct msg_queue_set *queue;

	o->params.limit.action = LIMIT_SET;
	*limit = (struct msg_limit_set){ .has_limit = true, .limit = slice_str(LIMIT) };
	limit->has_adaptive = limit->has_breaker = true;
	limit->adaptive = (struct msg_limit_adaptive){ .has_min = true, .min = LEAST, .has_max = true, .max = MOST };
	o = broker_order(&w->broker, COMMAND_QUEUE, NULL, NULL);
	queue = &o->params.queue.set;
	o->params.queue.action = QUEUE_SET;
	*queue = (struct msg_queue_set){ .has_queue = true, .queue = slice_str(QUEUE) };
	queue->has_limit = true;
	queue->limit = slice_str(LIMIT);
	broker_apply(&w->broker, 0);
	broker_release(&w->broker);
	w->concurrency = broker_concurrency(&w->broker, LIMIT, 0);
	need(w->concurrency == LEAST, "the limit was not taken");
	for (size_t i = 0; i < WORKERS; i++)
		ask(w, i);
}

void campaign_run_raincheck(struct campaign *c, struct campaign_promises *ret)
{
	struct crew w = { .c = c, .look_ms = LOOK_MS };

	w.jobs = campaign_zeros(c->count, sizeof(*w.jobs));
	w.worker_of = campaign_zeros(c->count, sizeof(*w.worker_of));
	broker_open(&w.broker, c->draws);
	set_up(&w);
	while (!campaign_over(c))
		step(&w);
	judge_all(&w, ret);
	broker_close(&w.broker);
	free(w.jobs);
	free(w.worker_of);
	free(w.promises);
}
