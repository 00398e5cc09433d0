/* An external API in simulated time. All calls at work have the same pace at every moment, so one sum, the work that a
 * call there from the beginning would have got, serves all: a call is done when the sum has grown by its own work. What
 * ends next is the top of a heap by that sum, or the oldest of those that wait for their timeout.
 *
 * Refused calls do no work, they only wait for their end; those that hang get none. */
#include "tests/harness/api_model.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* What is left of work is done when it is less than this: time is a double. */
#define DONE_MS 1e-6

struct api_call {
	uint64_t call;
	double started_ms;
	double due;    /* the sum at which its work is done; of a refused one: nothing */
	double end_ms; /* when it ends at the latest: refused or given up */
	bool refused;
	bool bad;
	size_t heap_at;			/* of one at work */
	struct api_call *older, *newer; /* in its line; newer: the next free one of those that are free */
};

/* In the order of their coming, which is the order of their ends: all wait for equally long. */
struct api_line {
	struct api_call *oldest, *newest;
	size_t count;
};

struct api_model {
	struct api_shape shape;
	uint64_t seed;
	double now_ms;
	double sum; /* of work done on each call */
	size_t phase;
	struct api_call *heap[API_CALLS_MAX]; /* of those at work, by due */
	struct api_line at_work, refused;
	struct api_call calls[API_CALLS_MAX];
	size_t calls_used; /* of calls; the others were never needed */
	struct api_call *free_calls;
	struct api_counts counts;
};

/* splitmix64 (G. Steele, D. Lea, C. Flood, Fast Splittable Pseudorandom Number Generators, 2014) */
double api_model_draw(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (double)((z ^ z >> 31) >> 11) / 9007199254740992.0;
}

struct api_model *api_model_new(const struct api_shape *shape, uint64_t seed)
{
	struct api_model *m = calloc(1, sizeof(*m));

	if (!m) {
		perror("a model of an API");
		abort();
	}
	assert(shape->phase_count > 0 && shape->phase_count <= API_PHASES_MAX && shape->phases[0].from_ms <= 0);
	m->shape = *shape;
	m->seed = seed;
	return m;
}

void api_model_free(struct api_model *m)
{
	free(m);
}

/* ---- time ---- */

static size_t phase_at(const struct api_model *m, double now_ms)
{
	size_t i = 0;

	while (i + 1 < m->shape.phase_count && m->shape.phases[i + 1].from_ms <= now_ms)
		i++;
	return i;
}

double api_model_slots(const struct api_model *m, double now_ms)
{
	return m->shape.phases[phase_at(m, now_ms)].slots;
}

/* Work done on each call in a millisecond. */
static double pace(const struct api_model *m)
{
	double slots = m->shape.phases[m->phase].slots;
	double n = (double)m->at_work.count;

	if (slots <= 0)
		return 0;
	if (n <= slots)
		return 1 / (1 + m->shape.growth * n / slots);
	return 1 / (1 + m->shape.growth) * pow(slots / n, 1 + m->shape.collapse);
}

static bool is_done(const struct api_model *m, const struct api_call *c)
{
	return !c->refused && c->due - m->sum <= DONE_MS;
}

/* When its work is done if nothing changes. */
static double done_at(const struct api_model *m, const struct api_call *c)
{
	double each = pace(m);

	if (is_done(m, c))
		return m->now_ms;
	return each > 0 ? m->now_ms + (c->due - m->sum) / each : INFINITY;
}

/* Which ends first if nothing changes, NULL where none ever ends, and when. */
static struct api_call *first_to_end(const struct api_model *m, double *ret_end_ms)
{
	struct api_call *const waiting[] = { m->at_work.oldest, m->refused.oldest };
	struct api_call *first = NULL;

	*ret_end_ms = INFINITY;
	if (m->at_work.count > 0) {
		*ret_end_ms = done_at(m, m->heap[0]);
		first = *ret_end_ms < INFINITY ? m->heap[0] : NULL;
	}
	for (int i = 0; i < 2; i++) {
		if (!waiting[i] || waiting[i]->end_ms >= *ret_end_ms)
			continue;
		first = waiting[i];
		*ret_end_ms = first->end_ms;
	}
	return first;
}

static double phase_end(const struct api_model *m)
{
	return m->phase + 1 < m->shape.phase_count ? m->shape.phases[m->phase + 1].from_ms : INFINITY;
}

/* To a moment in the present phase, with no call's end before it. */
static void work(struct api_model *m, double until_ms)
{
	if (until_ms <= m->now_ms)
		return;
	m->sum += (until_ms - m->now_ms) * pace(m);
	m->now_ms = until_ms;
}

/* Over as many phases as that takes. Never past the end of a call, which must be taken out first. */
static void advance(struct api_model *m, double until_ms)
{
	double end_ms;

	while (phase_end(m) <= until_ms) {
		(void)first_to_end(m, &end_ms);
		if (end_ms < phase_end(m))
			break;
		work(m, phase_end(m));
		m->phase++;
	}
	(void)first_to_end(m, &end_ms);
	work(m, fmin(until_ms, end_ms));
}

double api_model_next_ms(struct api_model *m)
{
	double end_ms;

	(void)first_to_end(m, &end_ms);
	return fmin(end_ms, phase_end(m));
}

/* ---- those under way ---- */

static void heap_set(struct api_model *m, size_t at, struct api_call *c)
{
	m->heap[at] = c;
	c->heap_at = at;
}

/* Up or down from there, to where it belongs among so many. */
static void heap_place(struct api_model *m, size_t at, struct api_call *c, size_t count)
{
	while (at > 0 && c->due < m->heap[(at - 1) / 2]->due) {
		heap_set(m, at, m->heap[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	for (;;) {
		size_t child = 2 * at + 1;

		if (child + 1 < count && m->heap[child + 1]->due < m->heap[child]->due)
			child++;
		if (child >= count || m->heap[child]->due >= c->due)
			break;
		heap_set(m, at, m->heap[child]);
		at = child;
	}
	heap_set(m, at, c);
}

static void enter(struct api_model *m, struct api_call *c)
{
	struct api_line *line = c->refused ? &m->refused : &m->at_work;

	if (!c->refused)
		heap_place(m, m->at_work.count, c, m->at_work.count + 1);
	c->newer = NULL;
	c->older = line->newest;
	*(line->newest ? &line->newest->newer : &line->oldest) = c;
	line->newest = c;
	line->count++;
}

/* Its content stays until the next call begins. */
static void leave(struct api_model *m, struct api_call *c)
{
	struct api_line *line = c->refused ? &m->refused : &m->at_work;

	line->count--;
	if (!c->refused && m->heap[line->count] != c)
		heap_place(m, c->heap_at, m->heap[line->count], line->count);
	*(c->older ? &c->older->newer : &line->oldest) = c->newer;
	*(c->newer ? &c->newer->older : &line->newest) = c->older;
	c->newer = m->free_calls;
	m->free_calls = c;
}

static struct api_call *free_call(struct api_model *m)
{
	struct api_call *c = m->free_calls;

	if (c) {
		m->free_calls = c->newer;
		return c;
	}
	if (m->calls_used == API_CALLS_MAX) {
		fputs("a model of an API: too many calls under way\n", stderr);
		abort();
	}
	return &m->calls[m->calls_used++];
}

/* ---- calls ---- */

static double draw_work(struct api_model *m)
{
	double variance = log(1 + m->shape.cv * m->shape.cv);
	double a = 1 - api_model_draw(&m->seed), b = api_model_draw(&m->seed);
	double normal = sqrt(-2 * log(a)) * cos(2 * M_PI * b);

	return m->shape.work_ms * exp(sqrt(variance) * normal - variance / 2);
}

static bool refuses(const struct api_model *m)
{
	double slots = m->shape.phases[m->phase].slots;

	if (slots <= 0)
		return !m->shape.hangs;
	return m->shape.hard && (double)m->at_work.count >= slots;
}

void api_model_start(struct api_model *m, double now_ms, uint64_t call)
{
	struct api_call *c = free_call(m);
	size_t under_way;

	advance(m, now_ms);
	*c = (struct api_call){ .call = call, .started_ms = now_ms, .end_ms = INFINITY };
	/* Drawn for each call, refused or not, so that what comes after is the same either way. */
	c->due = m->sum + draw_work(m) * m->shape.phases[m->phase].slow;
	c->bad = api_model_draw(&m->seed) < m->shape.bad_ratio;
	if (m->shape.timeout_ms > 0)
		c->end_ms = now_ms + m->shape.timeout_ms;
	c->refused = refuses(m);
	if (c->refused)
		c->end_ms = now_ms + m->shape.answer_ms;
	enter(m, c);
	m->counts.started++;
	under_way = m->at_work.count + m->refused.count;
	if (under_way > m->counts.most_under_way)
		m->counts.most_under_way = under_way;
}

static void count(struct api_model *m, const struct api_call *c, struct api_ended *ret)
{
	ret->succeeded = false;
	if (c->refused) {
		m->counts.refused++;
		ret->kind = m->shape.refused_kind;
	} else if (!is_done(m, c)) {
		m->counts.wasted++;
		ret->kind = FAIL_TIMEOUT;
	} else if (c->bad) {
		m->counts.wasted++;
		ret->kind = FAIL_UNAVAILABLE;
	} else {
		m->counts.succeeded++;
		ret->succeeded = true;
		ret->kind = FAIL_KINDS;
	}
}

bool api_model_take(struct api_model *m, double now_ms, struct api_ended *ret)
{
	struct api_call *c;
	double end_ms;

	advance(m, now_ms);
	c = first_to_end(m, &end_ms);
	if (!c || end_ms > m->now_ms)
		return false;
	ret->call = c->call;
	ret->started_ms = c->started_ms;
	ret->ended_ms = m->now_ms;
	count(m, c, ret);
	leave(m, c);
	return true;
}

/* ---- counts ---- */

struct api_counts api_model_counts(const struct api_model *m)
{
	struct api_counts counts = m->counts;

	counts.under_way = m->at_work.count + m->refused.count;
	return counts;
}

double api_model_best(const struct api_model *m, double from_ms, double until_ms)
{
	double best = 0;

	for (size_t i = 0; i < m->shape.phase_count; i++) {
		const struct api_phase *p = &m->shape.phases[i];
		double begin_ms = fmax(p->from_ms, from_ms), end_ms = until_ms;

		if (i + 1 < m->shape.phase_count)
			end_ms = fmin(end_ms, p[1].from_ms);
		if (end_ms > begin_ms && p->slots > 0)
			best += (end_ms - begin_ms) * p->slots / (1 + m->shape.growth) / (m->shape.work_ms * p->slow);
	}
	return best * (1 - m->shape.bad_ratio);
}
