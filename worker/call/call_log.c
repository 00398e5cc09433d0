/* What is seen of a call: what it says while it runs, and the line that tells of its end. */
#include "worker/call/call_priv.h"

#include <stdio.h>

#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "worker/call/leased.h"
#include "worker/config/upstream.h"

#define FIELDS_MAX 24
#define TEXT_SIZE  24

/* Fields, and room for the texts of those that are numbers. */
struct line {
	struct log_field fields[FIELDS_MAX];
	char texts[FIELDS_MAX][TEXT_SIZE];
	size_t count;
};

static void add_text(struct line *l, const char *key, const char *value)
{
	l->fields[l->count++] = (struct log_field){ key, value };
}

static void add_number(struct line *l, const char *key, int64_t value)
{
	char *text = l->texts[l->count];

	snprintf(text, TEXT_SIZE, "%lld", (long long)value);
	add_text(l, key, text);
}

/* In milliseconds with one decimal: a connection on the same network takes less than one. */
static void add_time(struct line *l, const char *key, int64_t us)
{
	char *text = l->texts[l->count];

	snprintf(text, TEXT_SIZE, "%lld.%lld", (long long)(us / 1000), (long long)(us % 1000 / 100));
	add_text(l, key, text);
}

static void add_traffic(struct line *l, const struct traffic *t)
{
	if (t->requests == 0)
		return;
	add_number(l, "requests", t->requests);
	add_number(l, "connections", t->connections);
	add_time(l, "dns_ms", t->dns_us);
	add_time(l, "connect_ms", t->connect_us);
	add_time(l, "tls_ms", t->tls_us);
	add_time(l, "first_byte_ms", t->first_byte_us);
	if (t->http > 0)
		add_text(l, "http", t->http == 20 ? "2" : t->http == 11 ? "1.1" : "1.0");
	add_number(l, "bytes_up", t->bytes_up);
	add_number(l, "bytes_down", t->bytes_down);
}

void call__log_end(const struct call *c, enum call_outcome outcome)
{
	enum log_level level = outcome == CALL_FAILED || outcome == CALL_UNTOLD ? LOG_WARNING : LOG_INFO;
	struct line l = { .count = 0 };

	if (!log_enabled(level))
		return;
	add_text(&l, "upstream", c->upstream->name);
	add_text(&l, "job", c->job->id);
	add_text(&l, "queue", c->job->queue);
	add_number(&l, "attempt", c->job->attempt);
	add_text(&l, "outcome", call_outcome_names[outcome]);
	if (outcome == CALL_FAILED)
		add_text(&l, "kind", raincheck_failure_name(c->verdict.kind));
	if (c->status)
		add_number(&l, "status", c->status);
	add_number(&l, "ms", clock_mono_ms() - c->began_at_ms);
	add_traffic(&l, &c->traffic);
	add_number(&l, "bytes", c->bytes);
	if (c->job->traceparent)
		add_text(&l, "traceparent", c->job->traceparent);
	if (outcome == CALL_FAILED)
		add_text(&l, "error", c->verdict.message);
	log_event(level, l.fields, l.count, "call ended");
}

/* ---- looking ---- */

const struct leased *call_job(const struct call *c)
{
	return c->job;
}

struct call_place *call_place(struct call *c)
{
	return &c->place;
}

bool call_has_news(const struct call *c)
{
	return c->has_news;
}

bool call_take_progress(struct call *c, double *ret_progress)
{
	c->has_news = false;
	if (c->has_progress)
		*ret_progress = c->progress;
	return c->has_progress;
}

const char *call_note(const struct call *c)
{
	return c->has_note ? c->note : NULL;
}
