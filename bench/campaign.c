/* The crowd, the API, the books, and the line of JSON at the end. */
#include "bench/campaign.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/base.h"
#include "bench/commands.h"
#include "tests/harness/api_model.h"

#define CROWD_MS   120e3 /* all come within about so long */
#define SLOTS	   50
#define WORK_MS	   3e3 /* a call that is alone; twice as long when all slots are used */
#define TIMEOUT_MS 30e3
#define SAMPLE_MS  5e3

/* What it looked like at a moment. */
struct sample {
	size_t served, waiting, in_flight;
	int32_t concurrency;
};

static struct sample *samples;
static size_t samples_count, samples_room;

/* ---- memory ---- */

void *campaign_zeros(size_t count, size_t size)
{
	void *p = calloc(count > 0 ? count : 1, size);

	if (!p)
		die("there is no memory for %zu times %zu bytes", count, size);
	return p;
}

void *campaign_more(void *p, size_t count, size_t size)
{
	void *more = reallocarray(p, count, size);

	if (!more)
		die("there is no memory for %zu times %zu bytes", count, size);
	return more;
}

/* ---- the crowd ---- */

/* A Poisson process: the same crowd for every strategy, since nothing else is drawn from this seed. */
static void draw_crowd(struct campaign *c, uint64_t seed)
{
	uint64_t draws = seed * 7919 + 1;
	double now_ms = 0;

	for (size_t i = 0; i < c->count; i++) {
		now_ms += -log(1 - api_model_draw(&draws)) * CROWD_MS / (double)c->count;
		c->visitors[i] = (struct visitor){ .came_ms = now_ms, .still_ms = NAN, .done_ms = NAN };
		c->visitors[i].group = (int)(i % CAMPAIGN_GROUPS);
	}
	/* Groups of equal size, whose members come in any order. */
	for (size_t i = c->count - 1; i > 0; i--) {
		size_t n = (size_t)(api_model_draw(&draws) * (double)(i + 1));
		int group = c->visitors[i].group;

		c->visitors[i].group = c->visitors[n].group;
		c->visitors[n].group = group;
	}
}

static void campaign_open(struct campaign *c, size_t count, uint64_t seed, double cv)
{
	/* Its latency grows with the load, and what it gets done falls beyond its capacity; see api_model.h. */
	struct api_shape shape = {
		.work_ms = WORK_MS,
		.cv = cv,
		.growth = 1,
		.collapse = 1,
		.timeout_ms = TIMEOUT_MS,
		.phases = { { 0, SLOTS, 1 } },
		.phase_count = 1,
	};

	*c = (struct campaign){ .count = count, .draws = seed * 104729 + 2 };
	c->visitors = campaign_zeros(count, sizeof(*c->visitors));
	c->order = campaign_zeros(count, sizeof(*c->order));
	draw_crowd(c, seed);
	c->api = api_model_new(&shape, seed * 15485863 + 3);
}

static void campaign_close(struct campaign *c)
{
	api_model_free(c->api);
	free(c->visitors);
	free(c->order);
	free(samples);
}

/* ---- the books ---- */

double campaign_next_ms(const struct campaign *c)
{
	return c->came < c->count ? c->visitors[c->came].came_ms : INFINITY;
}

size_t campaign_came(struct campaign *c)
{
	return c->came++;
}

void campaign_call(struct campaign *c, size_t visitor, double now_ms)
{
	c->visitors[visitor].tries++;
	c->in_flight++;
	api_model_start(c->api, now_ms, visitor);
}

bool campaign_take(struct campaign *c, double now_ms, struct api_ended *ret)
{
	if (!api_model_take(c->api, now_ms, ret))
		return false;
	c->in_flight--;
	return true;
}

void campaign_served(struct campaign *c, size_t visitor, double now_ms)
{
	need(isnan(c->visitors[visitor].done_ms) && !c->visitors[visitor].lost, "a visitor was served twice");
	c->visitors[visitor].done_ms = now_ms;
	c->order[c->served++] = visitor;
	c->ended_ms = now_ms;
}

void campaign_lost(struct campaign *c, size_t visitor, double now_ms)
{
	c->visitors[visitor].lost = true;
	c->lost++;
	c->ended_ms = now_ms;
}

bool campaign_over(const struct campaign *c)
{
	return c->served + c->lost == c->count;
}

void campaign_pass(struct campaign *c, double until_ms, int32_t concurrency)
{
	while ((double)samples_count * SAMPLE_MS <= until_ms) {
		if (samples_count == samples_room) {
			samples_room = samples_room * 2 + 1024;
			samples = campaign_more(samples, samples_room, sizeof(*samples));
		}
		samples[samples_count++] = (struct sample){
			.served = c->served,
			.waiting = c->came - c->served - c->lost - c->in_flight,
			.in_flight = c->in_flight,
			.concurrency = concurrency,
		};
	}
}

/* ---- figures ---- */

/* R. Jain, D.-M. Chiu, W. Hawe, A Quantitative Measure of Fairness, 1984: of the groups' results, when half of all
 * results were there. */
static double fairness(const struct campaign *c)
{
	double results[CAMPAIGN_GROUPS] = { 0 }, sum = 0, squares = 0;

	for (size_t i = 0; i < c->served / 2; i++)
		results[c->visitors[c->order[i]].group]++;
	for (int g = 0; g < CAMPAIGN_GROUPS; g++) {
		sum += results[g];
		squares += results[g] * results[g];
	}
	return squares > 0 ? sum * sum / (CAMPAIGN_GROUPS * squares) : 0;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* What those waited whom it concerns; of the moment that is asked for, which lies so far in the visitor. */
static void print_waits(const struct campaign *c, const char *name, size_t offset)
{
	double *waits = campaign_zeros(c->count, sizeof(*waits));
	size_t n = 0;

	for (size_t i = 0; i < c->count; i++) {
		double at_ms;

		memcpy(&at_ms, (const char *)&c->visitors[i] + offset, sizeof(at_ms));
		if (!isnan(at_ms))
			waits[n++] = at_ms - c->visitors[i].came_ms;
	}
	qsort(waits, n, sizeof(*waits), compare);
	if (n > 0)
		printf("\"%s\": {\"median\": %.1f, \"p99\": %.1f}, ", name, waits[n / 2], waits[n * 99 / 100]);
	else
		printf("\"%s\": null, ", name);
	free(waits);
}

static void print_promises(const struct campaign_promises *p)
{
	printf("\"promises\": {\"at_put\": %zu, \"at_put_kept\": %zu, \"at_look\": %zu, \"at_look_kept\": %zu, "
	       "\"width_at_put\": %.3f, \"width\": %.3f, \"off\": %.3f}, ",
	       p->at_put, p->at_put_kept, p->at_look, p->at_look_kept, p->width_at_put, p->width, p->off);
}

static void campaign_print(const struct campaign *c, const char *strategy, const struct campaign_promises *p)
{
	struct api_counts counts = api_model_counts(c->api);
	double best = api_model_best(c->api, 0, c->ended_ms);

	printf("{\"strategy\": \"%s\", \"visitors\": %zu, \"served\": %zu, \"lost\": %zu, \"calls\": %llu, ", strategy,
	       c->count, c->served, c->lost, (unsigned long long)counts.started);
	printf("\"best\": %.1f, \"best_a_second\": %.4f, \"goodput\": %.5f, \"fairness\": %.6f, \"ended_ms\": %.0f, ",
	       best, api_model_best(c->api, 0, 1000), (double)c->served / best, fairness(c), c->ended_ms);
	printf("\"most_in_flight\": %zu, ", counts.most_under_way);
	print_waits(c, "still_ms", offsetof(struct visitor, still_ms));
	print_waits(c, "result_ms", offsetof(struct visitor, done_ms));
	if (p)
		print_promises(p);
	printf("\"sample_ms\": %.0f, \"samples\": [", SAMPLE_MS);
	for (size_t i = 0; i < samples_count; i++)
		printf("%s[%zu, %zu, %zu, %d]", i > 0 ? ", " : "", samples[i].served, samples[i].waiting,
		       samples[i].in_flight, samples[i].concurrency);
	puts("]}");
}

void run_campaign(char **args)
{
	struct campaign_promises promises = { 0 };
	bool raincheck = strcmp(args[0], "raincheck") == 0;
	struct campaign c;
	char *end;
	double cv = strtod(args[2], &end);

	need(*end == '\0' && cv >= 0 && cv <= 10, "the coefficient of variation must be a number from 0 to 10");
	campaign_open(&c, (size_t)to_count(args[3]), (uint64_t)to_count(args[1]), cv);
	if (raincheck)
		campaign_run_raincheck(&c, &promises);
	else if (strcmp(args[0], "direct") == 0)
		campaign_run_plain(&c, 0);
	else
		campaign_run_plain(&c, (size_t)to_count(args[0]));
	campaign_pass(&c, c.ended_ms + SAMPLE_MS, -1);
	campaign_print(&c, args[0], raincheck ? &promises : NULL);
	campaign_close(&c);
}
