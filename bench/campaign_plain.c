/* What is usually done: a call with a timeout, and again after a while if it failed, each time after a longer one.
 *
 * With 0 workers every visitor's request calls at once; else the requests stand in line for the next free worker. The
 * waits between tries grow by two and are drawn from the upper half, so that those who failed together do not come back
 * together. A worker does not wait: it takes the next one meanwhile. */
#include <math.h>
#include <stdlib.h>

#include "bench/base.h"
#include "bench/campaign.h"
#include "tests/harness/api_model.h"

#define BACKOFF_MS     1e3
#define BACKOFF_MAX_MS 60e3

/* Comes back then. */
struct again {
	double at_ms;
	size_t visitor;
};

struct plain {
	struct campaign *c;
	size_t workers;
	struct again *again; /* a heap, the earliest first */
	size_t again_count;
	size_t *line; /* a ring of those who wait for a worker: nobody stands in it twice */
	size_t line_first, line_count;
};

/* ---- who comes back ---- */

static void again_push(struct plain *p, double at_ms, size_t visitor)
{
	size_t at = p->again_count++;

	for (; at > 0 && at_ms < p->again[(at - 1) / 2].at_ms; at = (at - 1) / 2)
		p->again[at] = p->again[(at - 1) / 2];
	p->again[at] = (struct again){ at_ms, visitor };
}

static size_t again_pop(struct plain *p)
{
	size_t visitor = p->again[0].visitor;
	struct again last = p->again[--p->again_count];
	size_t at = 0;

	for (;;) {
		size_t child = 2 * at + 1;

		if (child + 1 < p->again_count && p->again[child + 1].at_ms < p->again[child].at_ms)
			child++;
		if (child >= p->again_count || p->again[child].at_ms >= last.at_ms)
			break;
		p->again[at] = p->again[child];
		at = child;
	}
	p->again[at] = last;
	return visitor;
}

/* ---- who is next ---- */

static void enter_line(struct plain *p, size_t visitor)
{
	p->line[(p->line_first + p->line_count++) % p->c->count] = visitor;
}

static void work_off_line(struct plain *p, double now_ms)
{
	while (p->line_count > 0 && (p->workers == 0 || p->c->in_flight < p->workers)) {
		campaign_call(p->c, p->line[p->line_first], now_ms);
		p->line_first = (p->line_first + 1) % p->c->count;
		p->line_count--;
	}
}

static void call_ended(struct plain *p, const struct api_ended *e)
{
	int tries = p->c->visitors[e->call].tries;
	double wait_ms = fmin(BACKOFF_MS * pow(2, tries - 1), BACKOFF_MAX_MS);

	if (e->succeeded)
		campaign_served(p->c, e->call, e->ended_ms);
	else if (tries == CAMPAIGN_TRIES)
		campaign_lost(p->c, e->call, e->ended_ms);
	else
		again_push(p, e->ended_ms + wait_ms * (0.5 + 0.5 * api_model_draw(&p->c->draws)), e->call);
}

static void step(struct plain *p)
{
	double again_ms = p->again_count > 0 ? p->again[0].at_ms : INFINITY;
	double now_ms = fmin(fmin(campaign_next_ms(p->c), again_ms), api_model_next_ms(p->c->api));
	struct api_ended e;

	need(now_ms < INFINITY, "somebody waits for nothing");
	campaign_pass(p->c, now_ms, -1);
	while (campaign_take(p->c, now_ms, &e))
		call_ended(p, &e);
	while (campaign_next_ms(p->c) <= now_ms)
		enter_line(p, campaign_came(p->c));
	while (p->again_count > 0 && p->again[0].at_ms <= now_ms)
		enter_line(p, again_pop(p));
	work_off_line(p, now_ms);
}

void campaign_run_plain(struct campaign *c, size_t workers)
{
	struct plain p = { .c = c, .workers = workers };

	p.again = campaign_zeros(c->count, sizeof(*p.again));
	p.line = campaign_zeros(c->count, sizeof(*p.line));
	while (!campaign_over(c))
		step(&p);
	free(p.again);
	free(p.line);
}
