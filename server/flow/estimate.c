#include "server/flow/estimate.h"

#include <math.h>

#define FAST_MS	   60000.0
#define SLOW_MS	   600000.0
#define RUN_WEIGHT 0.1	 /* of the newest attempt in the smoothed time */
#define TOO_SLOW   1e-9	 /* jobs a millisecond: nothing was done for so long that the averages say nothing */
#define TOO_OLD	   1e-60 /* as TOO_SLOW, of the slow one: some 20 hours after the last job */
#define LEAST_AGE  1000.0
#define FAR_MS	   (365.0 * 86400 * 1000) /* nobody is told more */

/* Standard deviations that an average is taken to be off by. The fast one is there to see a change, not to be exact. */
#define FAST_DEVIATIONS 1.5
#define SLOW_DEVIATIONS 2.0

/* By how much faster and slower than those under way make it look the work may be. Slower: attempts that fail take
 * places too. */
#define FASTER 1.25
#define SLOWER 4.0
/* How long attempts take is known after so many times that. */
#define KNOWN_RUNS 4.0

/* ---- the pace ---- */

static int64_t whole(double ms)
{
	return ms > FAR_MS ? (int64_t)FAR_MS : ms > 0 ? (int64_t)ms : 0;
}

/* What is left of a rate after the time since it was brought up to date. */
static double decayed(const struct pace *p, double rate, double constant_ms, int64_t now_ms)
{
	double passed = (double)(now_ms - p->at_ms);

	return passed > 0 ? rate * exp(-passed / constant_ms) : rate;
}

void pace_began(struct pace *p, int64_t now_ms, int64_t running)
{
	if (running <= 0 && p->fast <= 0)
		p->since_ms = now_ms;
}

void pace_done(struct pace *p, int64_t now_ms)
{
	/* Of what an older version wrote it is not known since when. */
	if (p->since_ms == 0)
		p->since_ms = now_ms;
	p->fast = decayed(p, p->fast, FAST_MS, now_ms) + 1 / FAST_MS;
	p->slow = decayed(p, p->slow, SLOW_MS, now_ms) + 1 / SLOW_MS;
	/* Where the clock went back, counting has gone on for as long as before. */
	if (now_ms < p->at_ms)
		p->since_ms -= p->at_ms - now_ms;
	if (now_ms < p->since_ms)
		p->since_ms = now_ms;
	p->at_ms = now_ms;
}

void pace_succeeded(struct pace *p, int64_t run_ms)
{
	double took = run_ms > 0 ? (double)run_ms : 0;
	double off = fabs(took - p->run_ms);

	/* Of one alone nothing is known about how they differ. */
	p->spread_ms = p->run_ms > 0 ? p->spread_ms + RUN_WEIGHT * (off - p->spread_ms) : took / 2;
	p->run_ms = p->run_ms > 0 ? p->run_ms + RUN_WEIGHT * (took - p->run_ms) : took;
}

int64_t pace_gap_ms(const struct pace *p, int64_t now_ms)
{
	double rate = decayed(p, p->fast, FAST_MS, now_ms);

	return rate < TOO_SLOW ? 0 : (int64_t)(1 / rate) + 1;
}

/* ---- how long attempts take ---- */

void run_mix_add(struct run_mix *mix, const struct pace *p, int64_t now_ms)
{
	double weight = p->run_ms > 0 ? decayed(p, p->slow, SLOW_MS, now_ms) : 0;

	mix->weight += weight;
	mix->run_ms += weight * p->run_ms;
	mix->spread_ms += weight * p->spread_ms;
}

bool run_mix_tell(const struct run_mix *mix, int64_t *ret_mean_ms, int64_t *ret_spread_ms)
{
	/* After days without a job the weight is hardly a number any more, and what was measured is out of date. */
	if (mix->weight < TOO_OLD)
		return false;
	*ret_mean_ms = whole(mix->run_ms / mix->weight + 0.5);
	*ret_spread_ms = whole(mix->spread_ms / mix->weight + 0.5);
	return true;
}

/* ---- what it means ---- */

struct rates {
	double least;
	double most;
};

/* An average that began from nothing is too low by a factor until it has run a while. And the fewer jobs it rests on,
 * the more it may deviate by chance: of jobs that come at random an exponential average rests on as many as came within
 * twice its constant, of a young one on all there were. */
static void widen(struct rates *r, double rate, double constant_ms, double age_ms, double deviations)
{
	double missing = exp(-age_ms / constant_ms);
	double jobs = 2 * rate * constant_ms / (1 + missing);
	double chance = deviations / sqrt(jobs > 1 ? jobs : 1);
	double low = rate / (1 - missing) / (1 + chance), high = rate / (1 - missing) * (1 + chance);

	if (r->least <= 0 || low < r->least)
		r->least = low;
	if (high > r->most)
		r->most = high;
}

static double age_of(const struct pace *p, int64_t at_ms)
{
	return fmax((double)(at_ms - p->since_ms), LEAST_AGE);
}

static int64_t latest_of(const struct pace *p, int64_t now_ms)
{
	return now_ms > p->at_ms ? now_ms : p->at_ms;
}

/* The first attempts to end are the shortest, so that at first attempts seem to take less time than they do. */
static bool runs_known(const struct pace *p, int64_t now_ms)
{
	return age_of(p, latest_of(p, now_ms)) >= KNOWN_RUNS * p->run_ms;
}

/* So many are under way, and each takes about so long (J. Little, A Proof for the Queuing Formula L = λW, 1961): that
 * is known at once when a crowd comes after a calm, whose pace was that of the few who came. But it promises nobody
 * anything while it is not known how long attempts take; nor does one alone, which is often the last. */
static void fit(struct rates *r, const struct pace *p, int64_t now_ms, int64_t running)
{
	double most = (double)running / p->run_ms * FASTER;
	double least = (double)(running - 1) / p->run_ms / SLOWER;

	if (r->most < most)
		r->most = most;
	if (r->least < least && runs_known(p, now_ms))
		r->least = least;
}

static bool rates_of(const struct pace *p, int64_t now_ms, int64_t running, bool held, struct rates *ret)
{
	/* While all are held back, that nothing is done says nothing. */
	int64_t seen_ms = held ? p->at_ms : latest_of(p, now_ms);
	double age = age_of(p, seen_ms);

	*ret = (struct rates){ 0 };
	if (decayed(p, p->fast, FAST_MS, now_ms) >= TOO_SLOW) {
		widen(ret, decayed(p, p->fast, FAST_MS, seen_ms), FAST_MS, age, FAST_DEVIATIONS);
		widen(ret, decayed(p, p->slow, SLOW_MS, seen_ms), SLOW_MS, age, SLOW_DEVIATIONS);
	}
	fit(ret, p, now_ms, running);
	return ret->least > 0;
}

/* An attempt's time; of a normal distribution nine in ten are within two of their mean deviations. */
static double longest_run(const struct pace *p, int64_t now_ms)
{
	double longest = p->run_ms + 2 * p->spread_ms;

	return runs_known(p, now_ms) ? longest : fmax(longest, KNOWN_RUNS * p->run_ms);
}

static double shortest_run(const struct pace *p)
{
	return fmax(p->run_ms - 2 * p->spread_ms, 0);
}

bool estimate_waiting(const struct pace *p, int64_t now_ms, int64_t running, const struct in_line *line,
		      struct estimate *ret)
{
	double held = line->held_ms > 0 ? (double)line->held_ms : 0;
	struct rates r;

	if (p->run_ms <= 0 || !rates_of(p, now_ms, running, held > 0, &r))
		return false;
	ret->low_ms = whole(held + (double)(line->least - 1) / r.most + shortest_run(p));
	ret->high_ms = whole(held + (double)line->most / r.least + longest_run(p, now_ms));
	return true;
}

bool estimate_outlook(const struct outlook *o, struct estimate *ret)
{
	return !o->paused && estimate_waiting(&o->pace, o->now_ms, o->running, &o->line, ret);
}

bool estimate_running(const struct pace *p, int64_t now_ms, int64_t started_at_ms, struct estimate *ret)
{
	double passed = fmax((double)(now_ms - started_at_ms), 0);
	double left = longest_run(p, now_ms) - passed;

	if (p->run_ms <= 0)
		return false;
	ret->low_ms = whole(shortest_run(p) - passed);
	/* One that takes longer than others do may end at any moment, or not. */
	ret->high_ms = whole(left > p->spread_ms ? left : p->spread_ms + LEAST_AGE);
	return true;
}
