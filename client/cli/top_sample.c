#include "top_sample.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/clock.h"

static void failed(struct top_sample *s, const struct raincheck_error *error)
{
	if (s->error.code == 0)
		s->error = *error;
}

static void failed_here(struct top_sample *s, int code)
{
	struct raincheck_error error = { .code = code };

	snprintf(error.message, sizeof(error.message), "%s", raincheck_error_text(code));
	failed(s, &error);
}

/* Whether there is an answer to look at. */
static bool came(struct top_sample *s, const struct raincheck_reply *reply)
{
	s->pending--;
	if (reply->code < 0)
		failed(s, reply->error);
	return reply->code == 0;
}

/* Zeroed room; false where memory did not last. */
static bool room(struct top_sample *s, void *ret_items, size_t count, size_t size)
{
	void *items = calloc(count + 1, size);

	if (!items)
		failed_here(s, RAINCHECK_ENO_MEMORY);
	memcpy(ret_items, &items, sizeof(items));
	return items != NULL;
}

static void keep(char *ret, size_t size, const char *text)
{
	snprintf(ret, size, "%s", text ? text : "");
}

/* ---- answers ---- */

static void stats_cb(struct raincheck *rc, const struct raincheck_reply *reply, void *user)
{
	struct top_sample *s = user;

	(void)rc;
	if (!came(s, reply))
		return;
	s->at_ms = clock_mono_ms();
	s->stats = *reply->stats;
	keep(s->version, sizeof(s->version), reply->stats->version);
	s->stats.version = s->version;
}

static void queues_cb(struct raincheck *rc, const struct raincheck_reply *reply, void *user)
{
	const struct raincheck_queue_list *list = reply->queue_list;
	struct top_sample *s = user;

	(void)rc;
	if (!came(s, reply) || !room(s, &s->queues, list->queue_count, sizeof(*s->queues)))
		return;
	s->queue_count = list->queue_count;
	for (size_t i = 0; i < list->queue_count; i++) {
		const struct raincheck_queue *from = &list->queues[i];
		const struct raincheck_counts *counts = &from->counts;
		struct top_queue *q = &s->queues[i];

		keep(q->name, sizeof(q->name), from->queue);
		keep(q->limit, sizeof(q->limit), from->limit);
		q->paused = from->paused;
		q->scheduled = counts->scheduled;
		q->ready = counts->ready;
		q->running = counts->running;
		q->put = from->put_total;
		q->done = from->put_total - counts->scheduled - counts->ready - counts->running;
		q->oldest_ready_at_ms = from->oldest_ready_at_ms;
		q->run_ms = from->run.mean_ms;
	}
}

static void limits_cb(struct raincheck *rc, const struct raincheck_reply *reply, void *user)
{
	const struct raincheck_limit_list *list = reply->limit_list;
	struct top_sample *s = user;

	(void)rc;
	if (!came(s, reply) || !room(s, &s->limits, list->limit_count, sizeof(*s->limits)))
		return;
	s->limit_count = list->limit_count;
	for (size_t i = 0; i < list->limit_count; i++) {
		keep(s->limits[i].name, sizeof(s->limits[i].name), list->limits[i].limit);
		s->limits[i].now = list->limits[i].now;
		s->limits[i].is_adaptive = list->limits[i].adaptive != NULL;
	}
}

/* As many as there is room for: a table cuts what is left. */
static void join(char *ret, size_t size, const char *const *names, size_t count)
{
	size_t used = 0;

	for (size_t i = 0; i < count && used < size; i++)
		used += (size_t)snprintf(ret + used, size - used, "%s%s", i > 0 ? " " : "", names[i]);
}

static void workers_cb(struct raincheck *rc, const struct raincheck_reply *reply, void *user)
{
	const struct raincheck_worker_list *list = reply->worker_list;
	struct top_sample *s = user;

	(void)rc;
	if (!came(s, reply) || !room(s, &s->workers, list->worker_count, sizeof(*s->workers)))
		return;
	s->worker_count = list->worker_count;
	for (size_t i = 0; i < list->worker_count; i++) {
		const struct raincheck_worker_session *from = &list->workers[i];
		struct top_worker *w = &s->workers[i];

		keep(w->name, sizeof(w->name), from->name);
		keep(w->address, sizeof(w->address), from->address);
		join(w->queues, sizeof(w->queues), from->queues, from->queue_count);
		w->state = from->state;
		w->has_slots = from->has_slots;
		w->slots = from->slots;
		w->in_hand = from->in_hand;
		w->waiting = from->waiting;
	}
}

/* ---- asking ---- */

void top_sample_begin(struct top_sample *s, struct raincheck *rc)
{
	static int (*const ask[])(struct raincheck * rc, raincheck_cb cb, void *user) = {
		raincheck_stats_async,
		raincheck_queue_list_async,
		raincheck_limit_list_async,
		raincheck_worker_list_async,
	};
	static const raincheck_cb answers[] = { stats_cb, queues_cb, limits_cb, workers_cb };

	*s = (struct top_sample){ 0 };
	for (size_t i = 0; i < sizeof(ask) / sizeof(ask[0]); i++) {
		if (ask[i](rc, answers[i], s) == 0)
			s->pending++;
		else
			failed(s, raincheck_last_error(rc));
	}
}

void top_sample_done(struct top_sample *s)
{
	free(s->queues);
	free(s->limits);
	free(s->workers);
	*s = (struct top_sample){ 0 };
}

/* ---- looking ---- */

const struct top_queue *top_sample_queue(const struct top_sample *s, const char *name)
{
	for (size_t i = 0; i < s->queue_count; i++)
		if (strcmp(s->queues[i].name, name) == 0)
			return &s->queues[i];
	return NULL;
}

const struct top_limit *top_sample_limit(const struct top_sample *s, const char *name)
{
	for (size_t i = 0; i < s->limit_count; i++)
		if (strcmp(s->limits[i].name, name) == 0)
			return &s->limits[i];
	return NULL;
}
