/* What can be seen of a queue, and what the broker guesses from its pace. */
#include "tests/sim/model_priv.h"

#include <math.h>

#define MINUTE_MS      60000.0
#define TEN_MINUTES_MS 600000.0
#define YEAR_MS	       (365.0 * 86400 * 1000)
#define NO_PACE	       1e-9 /* leases a millisecond: nobody works */

/* ---- pace: estimate.h ---- */

/* What is left of an average that forgets within so long. */
static double left_at(const struct model_queue *q, double rate, double within_ms, int64_t at_ms)
{
	int64_t passed = at_ms - q->rate_at_ms;

	return passed > 0 ? rate * exp(-(double)passed / within_ms) : rate;
}

static double left_of(const struct model *m, const struct model_queue *q, double rate, double within_ms)
{
	return left_at(q, rate, within_ms, m->now_ms);
}

void model_pace_began(struct model *m, int queue)
{
	struct model_queue *q = &m->queues[queue];

	if (model_count(m, queue, JOB_RUNNING) == 0 && q->fast <= 0)
		q->rate_since_ms = m->now_ms; /* nothing was ever done, and nothing is under way */
}

void model_pace_done(struct model *m, int queue)
{
	struct model_queue *q = &m->queues[queue];

	q->fast = left_of(m, q, q->fast, MINUTE_MS) + 1 / MINUTE_MS;
	q->slow = left_of(m, q, q->slow, TEN_MINUTES_MS) + 1 / TEN_MINUTES_MS;
	/* A clock that goes back takes the moment when counting began along. */
	if (q->rate_at_ms > m->now_ms)
		q->rate_since_ms += m->now_ms - q->rate_at_ms;
	if (q->rate_since_ms > m->now_ms)
		q->rate_since_ms = m->now_ms;
	q->rate_at_ms = m->now_ms;
}

void model_pace_succeeded(struct model *m, int queue, int64_t run_ms)
{
	struct model_queue *q = &m->queues[queue];
	double took = run_ms > 0 ? (double)run_ms : 0;

	if (q->run_ms > 0) {
		q->spread_ms += 0.1 * (fabs(took - q->run_ms) - q->spread_ms);
		q->run_ms += 0.1 * (took - q->run_ms);
	} else {
		q->run_ms = took;
		q->spread_ms = took / 2;
	}
}

struct range {
	double low, high;
};

/* What began from nothing a while ago has not got up to its true rate yet; and few jobs say little. What is held back
 * says nothing by not being done. */
static struct range rates(const struct model_queue *q, int64_t now_ms, bool held)
{
	double within[] = { MINUTE_MS, TEN_MINUTES_MS }, rate[] = { q->fast, q->slow }, off[] = { 1.5, 2 };
	int64_t seen_ms = held || now_ms < q->rate_at_ms ? q->rate_at_ms : now_ms;
	double age = fmax((double)(seen_ms - q->rate_since_ms), 1000);
	struct range r = { INFINITY, 0 };

	for (int i = 0; i < 2; i++) {
		double young = exp(-age / within[i]);
		double now = left_at(q, rate[i], within[i], seen_ms);
		double chance = 1 + off[i] / sqrt(fmax(now * within[i] * 2 / (1 + young), 1));

		r.low = fmin(r.low, now / (1 - young) / chance);
		r.high = fmax(r.high, now / (1 - young) * chance);
	}
	return r;
}

/* The first attempts that end are the shortest ones: it takes a while to know how long they take. */
static bool knows_runs(const struct model *m, const struct model_queue *q)
{
	int64_t seen_ms = m->now_ms > q->rate_at_ms ? m->now_ms : q->rate_at_ms;

	return fmax((double)(seen_ms - q->rate_since_ms), 1000) >= 4 * q->run_ms;
}

static double longest_run(const struct model *m, const struct model_queue *q)
{
	return q->run_ms + fmax(2 * q->spread_ms, knows_runs(m, q) ? 0 : 3 * q->run_ms);
}

/* Those under way do so many, a quarter faster at most; and, where that can be told, four times slower at least. */
static struct range with_running(const struct model *m, int queue, struct range r)
{
	const struct model_queue *q = &m->queues[queue];
	double each = (double)model_count(m, queue, JOB_RUNNING) / q->run_ms;

	r.high = fmax(r.high, each * 1.25);
	/* One of them may be the last. */
	if (knows_runs(m, q))
		r.low = fmax(r.low, (each - 1 / q->run_ms) / 4);
	return r;
}

static bool waits(const struct model *m, int queue, int64_t least, int64_t most, int64_t until_ms, struct range *ret)
{
	const struct model_queue *q = &m->queues[queue];
	double held = fmax(0, (double)(until_ms - m->now_ms));
	struct range r = { 0, 0 };

	if (q->paused || q->run_ms <= 0)
		return false;
	if (left_of(m, q, q->fast, MINUTE_MS) >= NO_PACE)
		r = rates(q, m->now_ms, held > 0);
	r = with_running(m, queue, r);
	if (r.low <= 0)
		return false;
	ret->low = held + (double)(least - 1) / r.high + fmax(0, q->run_ms - 2 * q->spread_ms);
	ret->high = held + (double)most / r.low + longest_run(m, q);
	return true;
}

/* The least place that the job may have in line, in what is known without looking at each. */
static int64_t least_place(const struct model *m, const struct model_job *job)
{
	const struct model_line *line = &m->queues[job->queue].lines[job->priority];
	int64_t better = 0;

	if (!line->grouped)
		return INT64_MAX;
	for (size_t i = 0; i < m->jobs_count; i++) {
		const struct model_job *j = &m->jobs[i];

		better += !j->gone && j->queue == job->queue && j->state == JOB_READY && j->priority < job->priority;
	}
	if (job->state == JOB_READY && job->place > line->now)
		better += (int64_t)((job->place - line->now) / MODEL_TURN);
	return better + 1;
}

/* Of one that runs: one that takes longer than others do may end at any moment, or not. */
static bool runs(const struct model *m, const struct model_job *job, struct range *ret)
{
	const struct model_queue *q = &m->queues[job->queue];
	double over = fmax(0, (double)(m->now_ms - job->started_at_ms));

	ret->low = fmax(0, q->run_ms - 2 * q->spread_ms - over);
	ret->high = fmax(longest_run(m, q) - over, 0);
	if (longest_run(m, q) - over <= q->spread_ms)
		ret->high = q->spread_ms + 1000;
	return q->run_ms > 0;
}

static bool guess(const struct model *m, const struct model_job *job, int64_t position, bool fresh, struct range *ret)
{
	const struct model_queue *q = &m->queues[job->queue];
	int64_t held_until = q->limit < 0 ? 0 : m->limits[q->limit].held_until_ms;
	int64_t last = model_last_position(m, job) + 1;
	int64_t least = least_place(m, job);

	switch (job->state) {
	case JOB_READY:
		/* Who has just been put is told what can be known without looking. */
		least = fresh && least < position ? least : position;
		return waits(m, job->queue, least, position, held_until, ret);
	case JOB_RUNNING:
		return runs(m, job, ret);
	case JOB_SCHEDULED:
		if (held_until < job->run_at_ms)
			held_until = job->run_at_ms;
		/* Whoever was in line before comes back to the same place. */
		if (job->place != 0)
			return waits(m, job->queue, model_position(m, job), model_position(m, job), held_until, ret);
		/* It will find its line about as long as it is now. */
		return waits(m, job->queue, least < last ? least : last, last, held_until, ret);
	default:
		return false;
	}
}

/* Arithmetic in another order comes out a little different. */
static int64_t settle(double expected, const int64_t *got)
{
	expected = fmin(expected, YEAR_MS);
	return got && fabs(expected - (double)*got) <= 2 + expected * 1e-9 ? *got : (int64_t)expected;
}

bool model_eta(const struct model *m, const struct model_job *job, int64_t position, bool fresh,
	       const struct msg_eta *got, struct msg_eta *ret)
{
	struct range r;

	*ret = (struct msg_eta){ .has_low = true, .has_high = true };
	if (!guess(m, job, position, fresh, &r))
		return false;
	ret->low = settle(r.low, got ? &got->low : NULL);
	ret->high = settle(r.high, got ? &got->high : NULL);
	return true;
}

/* ---- how long attempts take ---- */

/* Rounded, and so in the same order of steps as estimate.h's: a sum of doubles in another order comes out otherwise. */
bool model_run_time(double weight, double run, double spread, struct msg_run_time *ret)
{
	*ret = (struct msg_run_time){ .has_mean = true, .has_spread = true };
	if (weight < 1e-60)
		return false;
	ret->mean = (int64_t)(run / weight + 0.5);
	ret->spread = (int64_t)(spread / weight + 0.5);
	return true;
}

double model_weight(const struct model *m, int queue)
{
	const struct model_queue *q = &m->queues[queue];

	return q->run_ms > 0 ? left_of(m, q, q->slow, TEN_MINUTES_MS) : 0;
}

/* ---- what holds a job ---- */

bool model_waiting_for(const struct model *m, const struct model_job *job, struct msg_waiting *ret)
{
	const struct model_queue *q = &m->queues[job->queue];
	int64_t held_until = q->limit < 0 ? 0 : m->limits[q->limit].held_until_ms;
	bool held = held_until > m->now_ms && (job->state == JOB_READY || held_until > job->run_at_ms);

	*ret = (struct msg_waiting){ .has_reason = true, .reason = q->paused ? WAIT_PAUSED : WAIT_HELD };
	ret->has_until_at_ms = !q->paused && held;
	ret->until_at_ms = held_until;
	return (job->state == JOB_READY || job->state == JOB_SCHEDULED) && (q->paused || held);
}

/* ---- a queue ---- */

/* When the job that is first in its line, in any priority, was put: by the moment in its id. */
static bool oldest_ready(const struct model *m, int queue, int64_t *ret_at_ms)
{
	bool found = false;

	for (int p = 0; p < 10; p++) {
		const struct model_job *first = NULL;

		for (size_t i = 0; i < m->jobs_count; i++) {
			const struct model_job *j = &m->jobs[i];

			if (!j->gone && j->queue == queue && j->state == JOB_READY && j->priority == p &&
			    (!first || j->place < first->place))
				first = j;
		}
		if (first && (!found || uuid_ms(&first->id) < *ret_at_ms))
			*ret_at_ms = uuid_ms(&first->id);
		found = found || first;
	}
	return found;
}

static struct msg_backoff describe_backoff(const struct model *m, int queue)
{
	struct model_backoff b = model_backoff_of(m, NULL, queue);

	return (struct msg_backoff){
		.has_base_ms = true,
		.base_ms = b.base_ms,
		.has_factor = true,
		.factor = b.factor,
		.has_max_ms = true,
		.max_ms = b.max_ms,
		.has_jitter = true,
		.jitter = b.jitter,
	};
}

static struct msg_counts describe_counts(const struct model *m, int queue)
{
	return (struct msg_counts){
		.has_scheduled = true,
		.scheduled = model_count(m, queue, JOB_SCHEDULED),
		.has_ready = true,
		.ready = model_count(m, queue, JOB_READY),
		.has_running = true,
		.running = model_count(m, queue, JOB_RUNNING),
		.has_succeeded = true,
		.succeeded = model_count(m, queue, JOB_SUCCEEDED),
		.has_dead = true,
		.dead = model_count(m, queue, JOB_DEAD),
		.has_canceled = true,
		.canceled = model_count(m, queue, JOB_CANCELED),
		.has_expired = true,
		.expired = model_count(m, queue, JOB_EXPIRED),
	};
}

static void describe_flow(const struct model *m, const struct model_queue *q, struct msg_queue *ret)
{
	static struct group_weight weights[MODEL_GROUPS];

	for (size_t i = 0; i < q->weights_count; i++)
		weights[i] = (struct group_weight){ q->weights[i].group, q->weights[i].weight };
	ret->has_limit = q->limit >= 0;
	ret->limit = q->limit >= 0 ? m->limits[q->limit].name : slice_of(NULL, 0);
	ret->has_weight = ret->has_weights = ret->has_admit = ret->has_lease_total = true;
	ret->weight = q->weight;
	ret->weights = weights;
	ret->weights_count = q->weights_count;
	ret->admit = q->admit;
	ret->lease_total = q->lease_total;
}

void model_describe_queue(const struct model *m, int queue, struct msg_queue *ret)
{
	const struct model_queue *q = &m->queues[queue];

	*ret = (struct msg_queue){
		.has_queue = true,
		.queue = q->name,
		.has_title = q->title.size > 0,
		.title = q->title,
		.has_paused = true,
		.paused = q->paused,
		.has_max_jobs = q->max_jobs >= 0,
		.max_jobs = q->max_jobs,
		.has_max_bytes = q->max_bytes >= 0,
		.max_bytes = q->max_bytes,
		.has_max_attempts = true,
		.max_attempts = q->max_attempts ? q->max_attempts : MODEL_DEFAULT_MAX_ATTEMPTS,
		.has_backoff = true,
		.has_attempt_timeout_ms = q->attempt_timeout_ms > 0,
		.attempt_timeout_ms = q->attempt_timeout_ms,
		.has_result_ttl_ms = q->result_ttl_ms >= 0,
		.result_ttl_ms = q->result_ttl_ms,
		.has_counts = true,
		.has_bytes = true,
		.bytes = model_bytes(m, queue),
		.has_put_total = true,
		.put_total = q->put_total,
	};
	ret->backoff = describe_backoff(m, queue);
	ret->counts = describe_counts(m, queue);
	describe_flow(m, q, ret);
	ret->has_oldest_ready_at_ms = oldest_ready(m, queue, &ret->oldest_ready_at_ms);
	ret->has_run_ms = model_run_time(q->run_ms > 0, q->run_ms, q->spread_ms, &ret->run_ms);
}
