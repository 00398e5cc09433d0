/* Who is next and how many may be: places in line by groups, and limits. Said again from fair.h, limits.h, limit.h and
 * PROTOCOL.md, with everything looked at anew each time.
 */
#include "tests/sim/model_priv.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AGED_TURN 16
#define HOLD_MAX  600000

/* ---- places in line ---- */

static struct model_group *find_group(struct model_line *line, struct slice name)
{
	for (size_t i = 0; i < line->groups_count; i++)
		if (slice_equal(line->groups[i].name, name))
			return &line->groups[i];
	if (line->groups_count == MODEL_GROUPS)
		abort(); /* the driver has fewer names */
	line->groups[line->groups_count] = (struct model_group){ .name = name };
	return &line->groups[line->groups_count++];
}

static uint64_t turn_of(const struct model_queue *q, struct slice group)
{
	for (size_t i = 0; i < q->weights_count; i++)
		if (slice_equal(q->weights[i].group, group))
			return MODEL_TURN / q->weights[i].weight;
	return MODEL_TURN;
}

void model_join_line(struct model *m, struct model_job *job)
{
	struct model_queue *q = &m->queues[job->queue];
	struct model_line *line = &q->lines[job->priority];
	struct model_group *g;

	if (job->place != 0) {
		line->grouped |= job->group.size > 0;
		return;
	}
	g = find_group(line, job->group);
	job->place = g->finish > line->now ? g->finish : line->now;
	if (job->place == 0)
		job->place = 1;
	g->finish = job->place + turn_of(q, job->group);
	line->last = g->finish > line->last ? g->finish : line->last;
	line->grouped |= job->group.size > 0;
}

void model_leave_line(struct model *m, const struct model_job *job, bool served)
{
	struct model_queue *q = &m->queues[job->queue];
	struct model_line *line = &q->lines[job->priority];
	struct model_group *g = find_group(line, job->group);
	uint64_t turn = turn_of(q, job->group);
	bool empty = true;

	if (served && job->place > line->now)
		line->now = job->place;
	/* Whoever goes without having been served costs the group nothing. */
	if (!served && line->grouped && g->finish > line->now)
		g->finish = g->finish > turn ? g->finish - turn : 0;
	for (size_t i = 0; i < m->jobs_count; i++) {
		const struct model_job *j = &m->jobs[i];

		if (j != job && !j->gone && j->state == JOB_READY && j->queue == job->queue &&
		    j->priority == job->priority)
			empty = false;
	}
	if (!empty)
		return;
	line->now = line->last > line->now ? line->last : line->now;
	line->grouped = false;
}

/* The first of each priority that is not taken; how many priorities have one. */
static int first_of_each(struct model *m, int queue, struct model_job *ret[10])
{
	int count = 0;

	memset(ret, 0, 10 * sizeof(ret[0]));
	for (size_t i = 0; i < m->jobs_count; i++) {
		struct model_job *j = &m->jobs[i];

		if (j->gone || j->taken || j->state != JOB_READY || j->queue != queue)
			continue;
		count += !ret[j->priority];
		if (!ret[j->priority] || j->place < ret[j->priority]->place)
			ret[j->priority] = j;
	}
	return count;
}

static int64_t taken_of(const struct model *m, int queue)
{
	int64_t taken = 0;

	for (size_t i = 0; i < m->jobs_count; i++)
		taken += m->jobs[i].taken && m->jobs[i].queue == queue;
	return taken;
}

struct model_job *model_first_ready(struct model *m, int queue)
{
	int64_t turn = m->queues[queue].lease_total + taken_of(m, queue);
	struct model_job *first[10], *best = NULL;
	int priorities = first_of_each(m, queue, first);
	bool by_age = turn % AGED_TURN == AGED_TURN - 1 && priorities > 1;

	for (int p = 0; p < 10; p++)
		if (first[p] && (!best || (by_age && uuid_compare(&first[p]->id, &best->id) < 0)))
			best = first[p];
	return best;
}

/* ---- limits ---- */

int model_find_limit(const struct model *m, struct slice name)
{
	for (size_t i = 0; i < m->limits_count; i++)
		if (slice_equal(m->limits[i].name, name))
			return (int)i;
	return -1;
}

int64_t model_in_flight(const struct model *m, int limit)
{
	int64_t count = 0;

	for (size_t i = 0; i < m->jobs_count; i++) {
		const struct model_job *j = &m->jobs[i];

		count += !j->gone && (j->state == JOB_RUNNING || j->taken) && m->queues[j->queue].limit == limit;
	}
	return count;
}

static const struct msg_limit_spell *spell_at(const struct model_limit *l, int64_t now_ms)
{
	for (size_t i = 0; i < l->schedule_count; i++)
		if (l->schedule[i].from_at_ms <= now_ms && now_ms < l->schedule[i].until_at_ms)
			return &l->schedule[i];
	return NULL;
}

int64_t model_concurrency(const struct model *m, const struct model_limit *l)
{
	const struct msg_limit_spell *spell = spell_at(l, m->now_ms);

	return spell && spell->has_concurrency ? spell->concurrency : l->concurrency;
}

/* The driver draws rates of which a millisecond's worth is a sum of halves: this arithmetic is exact. */
double model_tokens(const struct model *m, const struct model_limit *l)
{
	double tokens = l->tokens;

	if (!l->used)
		return l->burst;
	if (m->now_ms > l->tokens_at_ms)
		tokens += (double)(m->now_ms - l->tokens_at_ms) * l->rate / 1000;
	return tokens < l->burst ? tokens : l->burst;
}

int64_t model_room(const struct model *m, int queue)
{
	int limit = m->queues[queue].limit;
	const struct model_limit *l = &m->limits[limit < 0 ? 0 : limit];
	int64_t room = INT64_MAX, taken = 0;

	if (limit < 0)
		return room;
	if (l->held_until_ms > m->now_ms)
		return 0;
	if (model_concurrency(m, l) >= 0)
		room = model_concurrency(m, l) - model_in_flight(m, limit);
	for (size_t i = 0; i < m->jobs_count; i++)
		taken += m->jobs[i].taken && m->queues[m->jobs[i].queue].limit == limit;
	if (l->rate > 0 && floor(model_tokens(m, l)) - (double)taken < (double)room)
		room = (int64_t)floor(model_tokens(m, l)) - taken;
	return room;
}

void model_call_begins(struct model *m, int queue)
{
	int limit = m->queues[queue].limit;
	struct model_limit *l = &m->limits[limit < 0 ? 0 : limit];

	m->queues[queue].lease_total++;
	if (limit < 0)
		return;
	l->started++;
	if (l->rate <= 0)
		return;
	l->tokens = model_tokens(m, l) - 1;
	l->tokens_at_ms = m->now_ms;
	l->used = true;
}

void model_call_ended(struct model *m, int queue, enum model_outcome outcome)
{
	int limit = m->queues[queue].limit;
	struct model_limit *l = &m->limits[limit < 0 ? 0 : limit];

	if (limit < 0)
		return;
	l->succeeded += outcome == MODEL_SUCCEEDED;
	l->failed += outcome == MODEL_FAILED;
	l->throttled += outcome == MODEL_THROTTLED;
}

bool model_hold(struct model *m, int queue, int64_t retry_after_ms)
{
	int limit = m->queues[queue].limit;
	int64_t hold_ms = retry_after_ms < HOLD_MAX ? retry_after_ms : HOLD_MAX;

	if (limit < 0)
		return false;
	if (m->now_ms + hold_ms > m->limits[limit].held_until_ms)
		m->limits[limit].held_until_ms = m->now_ms + hold_ms;
	return true;
}

int64_t model_held_until(const struct model *m, int queue)
{
	int limit = m->queues[queue].limit;

	return limit < 0 ? 0 : m->limits[limit].held_until_ms;
}

/* What was written by a clock that stood later does not hold anybody for longer. */
void model_limits_clock(struct model *m)
{
	for (size_t i = 0; i < m->limits_count; i++) {
		struct model_limit *l = &m->limits[i];

		if (l->tokens_at_ms > m->now_ms)
			l->tokens_at_ms = m->now_ms;
		if (l->held_until_ms > m->now_ms + HOLD_MAX)
			l->held_until_ms = m->now_ms + HOLD_MAX;
	}
}

static bool gives_at(struct model *m, int queue, int64_t at_ms)
{
	int64_t now_ms = m->now_ms;
	bool gives;

	m->now_ms = at_ms;
	gives = model_room(m, queue) > 0;
	m->now_ms = now_ms;
	return gives;
}

static int64_t gives_next(struct model *m, int queue, int64_t until)
{
	const struct model_limit *l = &m->limits[m->queues[queue].limit];
	int64_t moments[2 + 2 * MODEL_SPELLS];
	size_t count = 0;

	moments[count++] = l->held_until_ms;
	if (l->rate > 0)
		moments[count++] = m->now_ms + (int64_t)ceil((1 - model_tokens(m, l)) * 1000 / l->rate);
	for (size_t i = 0; i < l->schedule_count; i++) {
		moments[count++] = l->schedule[i].from_at_ms;
		moments[count++] = l->schedule[i].until_at_ms;
	}
	for (size_t i = 0; i < count; i++)
		if (moments[i] > m->now_ms && moments[i] < until && gives_at(m, queue, moments[i]))
			until = moments[i];
	return until;
}

int64_t model_limits_next_ms(struct model *m, int64_t until)
{
	for (size_t i = 0; i < m->queues_count; i++)
		if (m->queues[i].limit >= 0 && !m->queues[i].paused && model_is_awaited(m, m->queues[i].name) &&
		    model_count(m, (int)i, JOB_READY) > 0)
			until = gives_next(m, (int)i, until);
	return until;
}

/* ---- limit.set, limit.delete ---- */

static void set_schedule(struct model *m, struct model_limit *l, const struct msg_limit_set *set)
{
	size_t kept = 0;

	for (size_t i = 0; i < l->schedule_count; i++)
		if (l->schedule[i].until_at_ms > m->now_ms)
			l->schedule[kept++] = l->schedule[i];
	l->schedule_count = kept;
	if (!set->has_schedule && !MESSAGE_WAS_NIL(limit_set, set, schedule))
		return;
	l->schedule_count = 0;
	for (size_t i = 0; i < set->schedule_count; i++) {
		size_t at = l->schedule_count++;

		for (; at > 0 && l->schedule[at - 1].from_at_ms > set->schedule[i].from_at_ms; at--)
			l->schedule[at] = l->schedule[at - 1];
		l->schedule[at] = set->schedule[i];
	}
}

/* The first that overlaps one before it; schedule_count where none does. */
static size_t overlapping(const struct msg_limit_set *set)
{
	for (size_t i = 0; i < set->schedule_count; i++)
		for (size_t n = 0; n < i; n++)
			if (set->schedule[i].from_at_ms < set->schedule[n].until_at_ms &&
			    set->schedule[n].from_at_ms < set->schedule[i].until_at_ms)
				return i;
	return set->schedule_count;
}

/* What is wrong with it, NULL for nothing. The driver draws numbers within their ranges. */
static const char *wrong(const struct model *m, const struct model_limit *l, const struct msg_limit_set *set)
{
	bool rate = set->has_rate || (l->rate > 0 && !MESSAGE_WAS_NIL(limit_set, set, rate));
	bool burst = set->has_burst || (l->burst_set && !MESSAGE_WAS_NIL(limit_set, set, burst) &&
					!MESSAGE_WAS_NIL(limit_set, set, rate));
	static char field[64];

	if (burst && !rate)
		return "burst";
	for (size_t i = 0; i < set->schedule_count; i++) {
		const struct msg_limit_spell *s = &set->schedule[i];

		snprintf(field, sizeof(field), "schedule[%zu].until_at_ms", i);
		if (s->until_at_ms <= s->from_at_ms || s->until_at_ms <= m->now_ms)
			return field;
	}
	snprintf(field, sizeof(field), "schedule[%zu]", overlapping(set));
	return overlapping(set) < set->schedule_count ? field : NULL;
}

/* What came in so far came in as it was set then. */
static void set_rate(struct model *m, struct model_limit *l, const struct msg_limit_set *set)
{
	if (l->used)
		l->tokens = l->rate > 0 ? model_tokens(m, l) : 1e6;
	l->tokens_at_ms = m->now_ms;
	if (set->has_rate)
		l->rate = set->rate;
	else if (MESSAGE_WAS_NIL(limit_set, set, rate))
		l->rate = -1;
	if (set->has_burst)
		l->burst = set->burst;
	if (set->has_burst || MESSAGE_WAS_NIL(limit_set, set, burst) || l->rate < 0)
		l->burst_set = set->has_burst;
	if (!l->burst_set)
		l->burst = l->rate > 1 ? l->rate : 1;
}

static void set_limit(struct model *m, const struct msg_limit_set *set, struct expectation *ret)
{
	static struct msg_limit result;
	struct model_limit fresh = { .name = set->limit, .concurrency = -1, .rate = -1, .burst = 1 };
	int number = model_find_limit(m, set->limit);
	struct model_limit *l = number < 0 ? &fresh : &m->limits[number];
	const char *field = wrong(m, l, set);

	if (field) {
		model_refuse(ret, ERR_BAD_REQUEST, field);
		return;
	}
	set_schedule(m, l, set);
	set_rate(m, l, set);
	if (set->has_concurrency)
		l->concurrency = set->concurrency;
	else if (MESSAGE_WAS_NIL(limit_set, set, concurrency))
		l->concurrency = -1;
	if (number < 0) {
		if (m->limits_count == MODEL_LIMITS)
			abort(); /* the driver has fewer names */
		number = (int)m->limits_count++;
		m->limits[number] = fresh;
	}
	model_describe_limit(m, number, &result);
	model_answer(ret, &MSG_limit, &result);
}

void model_limit_command(struct model *m, const struct asked *asked, struct expectation *ret)
{
	static struct msg_empty nothing;
	const struct command_limit *c = asked->cmd.params;
	int number = model_find_limit(m, c->set.limit);

	if (c->action == LIMIT_SET) {
		set_limit(m, &c->set, ret);
		return;
	}
	if (number < 0) {
		model_refuse(ret, ERR_NOT_FOUND, "limit");
		return;
	}
	for (size_t i = 0; i < m->queues_count; i++)
		if (m->queues[i].limit == number) {
			model_refuse(ret, ERR_CONFLICT, "limit");
			return;
		}
	m->limits_count--;
	memmove(&m->limits[number], &m->limits[number + 1], (m->limits_count - (size_t)number) * sizeof(m->limits[0]));
	for (size_t i = 0; i < m->queues_count; i++)
		m->queues[i].limit -= m->queues[i].limit > number;
	model_answer(ret, &MSG_empty, &nothing);
}

static int state_of(const struct model *m, const struct model_limit *l, int64_t in_flight)
{
	if (l->held_until_ms > m->now_ms)
		return LIMIT_HELD;
	if (model_concurrency(m, l) >= 0 && in_flight >= model_concurrency(m, l))
		return LIMIT_FULL;
	return l->rate > 0 && model_tokens(m, l) < 1 ? LIMIT_PACED : LIMIT_FREE;
}

static int by_name(const void *a, const void *b)
{
	return slice_compare(*(const struct slice *)a, *(const struct slice *)b);
}

void model_describe_limit(const struct model *m, int limit, struct msg_limit *ret)
{
	static struct slice queues[MODEL_QUEUES];
	const struct model_limit *l = &m->limits[limit];
	double weight = 0, run = 0, spread = 0;
	int64_t in_flight = 0, waiting = 0;
	size_t count = 0;

	for (size_t i = 0; i < m->queues_count; i++) {
		if (m->queues[i].limit != limit)
			continue;
		queues[count++] = m->queues[i].name;
		in_flight += model_count(m, (int)i, JOB_RUNNING);
		waiting += model_count(m, (int)i, JOB_READY);
	}
	qsort(queues, count, sizeof(queues[0]), by_name);
	for (size_t i = 0; i < count; i++) {
		int queue = model_find_queue(m, queues[i]);
		double part = model_weight(m, queue);

		weight += part;
		run += part * m->queues[queue].run_ms;
		spread += part * m->queues[queue].spread_ms;
	}
	*ret = (struct msg_limit){
		.has_limit = true,
		.limit = l->name,
		.has_concurrency = l->concurrency >= 0,
		.concurrency = l->concurrency,
		.has_rate = l->rate >= 0,
		.rate = l->rate,
		.has_burst = l->burst_set,
		.burst = l->burst,
		.has_schedule = true,
		.schedule = (struct msg_limit_spell *)(uintptr_t)l->schedule,
		.schedule_count = l->schedule_count,
		.has_queues = true,
		.queues = queues,
		.queues_count = count,
		.has_now = true,
	};
	ret->now = (struct msg_limit_now){
		.has_state = true,
		.state = state_of(m, l, in_flight),
		.has_in_flight = true,
		.in_flight = in_flight,
		.has_waiting = true,
		.waiting = waiting,
		.has_concurrency = model_concurrency(m, l) >= 0,
		.concurrency = model_concurrency(m, l),
		.has_rate = l->rate >= 0,
		.rate = l->rate,
		.has_held_until_at_ms = l->held_until_ms > m->now_ms,
		.held_until_at_ms = l->held_until_ms,
		.has_started = true,
		.started = l->started,
		.has_succeeded = true,
		.succeeded = l->succeeded,
		.has_failed = true,
		.failed = l->failed,
		.has_throttled = true,
		.throttled = l->throttled,
		.has_opened = true,
	};
	ret->now.has_run_ms = model_run_time(weight, run, spread, &ret->now.run_ms);
}
