/* Queues and limits, as they stand in one read transaction. A family's lines must stand together, so each goes through
 * all of them. */
#include <stdio.h>
#include <string.h>

#include "proto/base/clean.h"
#include "proto/base/clock.h"
#include "server/engine/outbox.h"
#include "server/engine/view.h"
#include "server/engine/view_limits.h"
#include "server/engine/view_signals.h"
#include "server/http/metrics.h"
#include "server/http/metrics_text.h"
#include "server/http/site.h"
#include "server/store/store.h"

#define OTHER "(other)"

struct label {
	char text[256];
};

static struct label label_of(const char *what, size_t i, struct slice name)
{
	struct label l;

	if (i < METRICS_NAMES)
		snprintf(l.text, sizeof(l.text), "%s=\"%.*s\"", what, SLICE_FMT(name));
	else
		snprintf(l.text, sizeof(l.text), "%s=\"" OTHER "\"", what);
	return l;
}

/* ---- queues ---- */

/* The counts of a queue by state, in the order of enum job_state. */
static int64_t count_of(const struct msg_counts *c, enum job_state state)
{
	const int64_t counts[JOB_STATES] = {
		[JOB_SCHEDULED] = c->scheduled, [JOB_READY] = c->ready, [JOB_RUNNING] = c->running,
		[JOB_SUCCEEDED] = c->succeeded, [JOB_DEAD] = c->dead,	[JOB_CANCELED] = c->canceled,
		[JOB_EXPIRED] = c->expired,
	};

	return counts[state];
}

static int64_t payload_bytes(const struct msg_queue *q)
{
	return q->bytes;
}

static int64_t paused(const struct msg_queue *q)
{
	return q->paused;
}

static int64_t put_total(const struct msg_queue *q)
{
	return q->put_total;
}

static int64_t lease_total(const struct msg_queue *q)
{
	return q->lease_total;
}

/* One figure of each, and the sum of the rest. */
static void write_queues(struct buf *out, const struct queues_view *v, const char *name,
			 int64_t (*figure)(const struct msg_queue *q))
{
	int64_t rest = 0;

	for (size_t i = 0; i < v->count; i++) {
		if (i < METRICS_NAMES)
			metrics_int(out, name, label_of("queue", i, v->items[i].queue).text, figure(&v->items[i]));
		else
			rest += figure(&v->items[i]);
	}
	if (v->count > METRICS_NAMES)
		metrics_int(out, name, "queue=\"" OTHER "\"", rest);
}

static void write_states(struct buf *out, const char *name, const char *label, const struct msg_counts *c)
{
	char labels[320];

	for (int s = 0; s < JOB_STATES; s++) {
		snprintf(labels, sizeof(labels), "%s,state=\"%s\"", label, job_state_names[s]);
		metrics_int(out, name, labels, count_of(c, (enum job_state)s));
	}
}

static void write_jobs(struct buf *out, const struct queues_view *v)
{
	static const char name[] = "raincheck_queue_jobs";
	struct msg_counts rest = { 0 };

	metrics_family(out, name, "gauge", "Jobs in a queue, by state.");
	for (size_t i = 0; i < v->count; i++) {
		const struct msg_counts *c = &v->items[i].counts;

		if (i < METRICS_NAMES) {
			write_states(out, name, label_of("queue", i, v->items[i].queue).text, c);
			continue;
		}
		rest.scheduled += c->scheduled;
		rest.ready += c->ready;
		rest.running += c->running;
		rest.succeeded += c->succeeded;
		rest.dead += c->dead;
		rest.canceled += c->canceled;
		rest.expired += c->expired;
	}
	if (v->count > METRICS_NAMES)
		write_states(out, name, "queue=\"" OTHER "\"", &rest);
}

/* Of those that have one; of the rest together the oldest. */
static void write_ages(struct buf *out, const struct queues_view *v, int64_t now_ms)
{
	static const char name[] = "raincheck_queue_oldest_ready_age_seconds";
	int64_t oldest_ms = INT64_MAX;

	metrics_family(out, name, "gauge", "How long ago the first ready job of a queue was put.");
	for (size_t i = 0; i < v->count; i++) {
		const struct msg_queue *q = &v->items[i];

		if (!q->has_oldest_ready_at_ms)
			continue;
		if (i < METRICS_NAMES)
			metrics_milli(out, name, label_of("queue", i, q->queue).text, now_ms - q->oldest_ready_at_ms);
		else if (q->oldest_ready_at_ms < oldest_ms)
			oldest_ms = q->oldest_ready_at_ms;
	}
	if (oldest_ms != INT64_MAX)
		metrics_milli(out, name, "queue=\"" OTHER "\"", now_ms - oldest_ms);
}

/* First, so that it has lines of its own however many others there are: whether anybody delivers is seen by it. */
static void put_outbox_first(struct queues_view *v)
{
	for (size_t i = 1; i < v->count; i++) {
		struct msg_queue outbox = v->items[i];

		if (!slice_is(outbox.queue, OUTBOX_QUEUE))
			continue;
		memmove(v->items + 1, v->items, i * sizeof(outbox));
		v->items[0] = outbox;
		return;
	}
}

static void write_all_queues(struct buf *out, const struct queues_view *v, int64_t now_ms)
{
	metrics_gauge(out, "raincheck_queues", "Queues that there are.", (int64_t)v->count);
	write_jobs(out, v);
	metrics_family(out, "raincheck_queue_payload_bytes", "gauge", "Payloads of the jobs that are not finished.");
	write_queues(out, v, "raincheck_queue_payload_bytes", payload_bytes);
	metrics_family(out, "raincheck_queue_paused", "gauge", "1 where a queue is paused; of others, how many are.");
	write_queues(out, v, "raincheck_queue_paused", paused);
	metrics_family(out, "raincheck_queue_puts_total", "counter", "Jobs put into a queue since it began.");
	write_queues(out, v, "raincheck_queue_puts_total", put_total);
	metrics_family(out, "raincheck_queue_leases_total", "counter", "Attempts that a queue gave since it began.");
	write_queues(out, v, "raincheck_queue_leases_total", lease_total);
	write_ages(out, v, now_ms);
}

/* ---- limits ---- */

static int64_t in_flight(const struct msg_limit *l)
{
	return l->now.in_flight;
}

static int64_t waiting(const struct msg_limit *l)
{
	return l->now.waiting;
}

static int64_t held(const struct msg_limit *l)
{
	return l->now.state == LIMIT_HELD;
}

static int64_t adaptive(const struct msg_limit *l)
{
	return l->has_adaptive;
}

static int64_t started(const struct msg_limit *l)
{
	return l->now.started;
}

static int64_t succeeded(const struct msg_limit *l)
{
	return l->now.succeeded;
}

static int64_t failed(const struct msg_limit *l)
{
	return l->now.failed;
}

static int64_t throttled(const struct msg_limit *l)
{
	return l->now.throttled;
}

static int64_t opened(const struct msg_limit *l)
{
	return l->now.opened;
}

static const struct {
	const char *name, *type, *help;
	int64_t (*figure)(const struct msg_limit *l);
} limit_figures[] = {
	{ "raincheck_limit_in_flight", "gauge", "Jobs of a limit that run.", in_flight },
	{ "raincheck_limit_waiting", "gauge", "Ready jobs in a limit's queues.", waiting },
	{ "raincheck_limit_held", "gauge", "1 while an API asked to wait (Retry-After); of others, how many are.",
	  held },
	{ "raincheck_limit_adaptive", "gauge", "1 where a limit finds its concurrency out; of others, how many do.",
	  adaptive },
	{ "raincheck_limit_calls_started_total", "counter", "Attempts that began under a limit.", started },
	{ "raincheck_limit_calls_succeeded_total", "counter", "Attempts under a limit that succeeded.", succeeded },
	{ "raincheck_limit_calls_failed_total", "counter", "Attempts under a limit that failed.", failed },
	{ "raincheck_limit_calls_throttled_total", "counter", "Attempts under a limit that the API throttled.",
	  throttled },
	{ "raincheck_limit_breaker_opened_total", "counter", "How often a limit's breaker opened.", opened },
};

static void write_figure(struct buf *out, const struct limits_view *v, size_t n)
{
	const char *name = limit_figures[n].name;
	int64_t rest = 0;

	metrics_family(out, name, limit_figures[n].type, limit_figures[n].help);
	for (size_t i = 0; i < v->count; i++) {
		int64_t figure = limit_figures[n].figure(&v->items[i]);

		if (i < METRICS_NAMES)
			metrics_int(out, name, label_of("limit", i, v->items[i].limit).text, figure);
		else
			rest += figure;
	}
	if (v->count > METRICS_NAMES)
		metrics_int(out, name, "limit=\"" OTHER "\"", rest);
}

/* What has no sum: of the first alone. */
static void write_effects(struct buf *out, const struct limits_view *v, size_t shown)
{
	metrics_family(out, "raincheck_limit_concurrency", "gauge",
		       "Jobs that may run at once, of settings, schedule and what was learned.");
	for (size_t i = 0; i < shown; i++)
		if (v->items[i].now.has_concurrency)
			metrics_int(out, "raincheck_limit_concurrency", label_of("limit", i, v->items[i].limit).text,
				    v->items[i].now.concurrency);
	metrics_family(out, "raincheck_limit_rate", "gauge", "Attempts that may begin in a second.");
	for (size_t i = 0; i < shown; i++)
		if (v->items[i].now.has_rate)
			metrics_float(out, "raincheck_limit_rate", label_of("limit", i, v->items[i].limit).text,
				      v->items[i].now.rate);
}

static void write_breakers(struct buf *out, const struct limits_view *v, size_t shown)
{
	char labels[320];

	metrics_family(out, "raincheck_limit_breaker", "gauge", "1 for the phase that a limit's breaker is in.");
	for (size_t i = 0; i < shown; i++) {
		for (int p = 0; v->items[i].now.has_breaker && p < BREAKER_PHASES; p++) {
			snprintf(labels, sizeof(labels), "%s,phase=\"%s\"",
				 label_of("limit", i, v->items[i].limit).text, breaker_phase_names[p]);
			metrics_int(out, "raincheck_limit_breaker", labels, v->items[i].now.breaker == p);
		}
	}
}

static void write_limits(struct buf *out, const struct limits_view *v)
{
	size_t shown = v->count < METRICS_NAMES ? v->count : METRICS_NAMES;

	metrics_gauge(out, "raincheck_limits", "Limits that there are.", (int64_t)v->count);
	for (size_t n = 0; n < ARRAY_SIZE(limit_figures); n++)
		write_figure(out, v, n);
	write_effects(out, v, shown);
	write_breakers(out, v, shown);
}

/* ---- both ---- */

static void write_signals(struct buf *out, const struct signals *s)
{
	metrics_family(out, "raincheck_backlog_seconds", "gauge",
		       "What the ready jobs will take of workers' slots, as far as that is known.");
	metrics_milli(out, "raincheck_backlog_seconds", "", s->backlog_ms);
	metrics_gauge(out, "raincheck_wanted_concurrency", "Slots of workers that would be busy now, were they there.",
		      s->wanted_concurrency);
}

static int write_txn(struct store_txn *t, struct buf *out)
{
	_cleanup_(queues_view_done) struct queues_view queues = { 0 };
	_cleanup_(limits_view_done) struct limits_view limits = { 0 };
	int64_t now_ms = clock_wall_ms(), set_aside = 0;
	struct signals signals;
	int rc;

	rc = view_queues(t, &queues);
	if (rc == 0)
		rc = view_limits(t, now_ms, NULL, &limits);
	if (rc == 0)
		rc = view_signals(t, now_ms, &signals);
	if (rc == 0)
		rc = store_count(t, TABLE_SET_ASIDE, &set_aside);
	if (rc < 0)
		return rc;
	put_outbox_first(&queues);
	write_all_queues(out, &queues, now_ms);
	write_limits(out, &limits);
	write_signals(out, &signals);
	metrics_gauge(out, "raincheck_jobs_set_aside", "Jobs whose record is damaged.", set_aside);
	return 0;
}

int metrics_write_queues(const struct site *site, struct buf *out)
{
	struct store_txn *t = NULL;
	int rc;

	rc = store_begin_read(site->store, &t);
	if (rc == 0)
		rc = write_txn(t, out);
	store_abort(t);
	return rc;
}
