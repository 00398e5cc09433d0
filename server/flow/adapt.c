/* Adaptive concurrency: hill climbing on goodput by trials, with multiplicative decrease on failures.
 *
 *   HOLD ──the value is measured──▶ UP or DOWN: another value on trial ──it does more──▶ it is the value, measured
 *    ▲                                                 │
 *    └──────────────── it does not, or calls fail ─────┘
 *
 * Incremental steps toward the load at which most gets done: H.-U. Heiss, R. Wagner, Adaptive Load Control in
 * Transaction Processing Systems, VLDB 1991; two noisy measurements beside each other decide each step as in J. Kiefer,
 * J. Wolfowitz, Stochastic Estimation of the Maximum of a Regression Function, 1952. With n calls at once that take L,
 * n / L get done, so a value n' does more than n where ln L' − ln L < ln n' − ln n. What is asked for is a part of that
 * (WORTH_IT of the most there could be): a slot more that only makes the others slower is not worth it. The logarithms'
 * means are compared: durations are skewed, and one of the longest would outweigh a hundred others. A trial ends as
 * soon as the difference is clear against their spread, at the latest after probe_most() calls.
 *
 * Where measuring says little, because durations vary a lot and calls are few, what is expected decides: latency as a
 * multiple of the API's own at low load (L. Brakmo, L. Peterson, TCP Vegas, 1995). The two are weighted by their
 * errors. latency_target_ms, where given, stands in for both.
 *
 * Failures: D.-M. Chiu, R. Jain, Analysis of the Increase and Decrease Algorithms, 1989. A trial that calls fail in is
 * broken off at once. Without a trial a tenth is taken off, and half in all when most calls of that cohort fail; one
 * decrease a round trip: calls begun before it say nothing about what holds since. A failure costs PAY times what it
 * would by its slot alone, since it may have been paid for. What an API fails of whatever the load is learned
 * (ORDINARY) and not held against the value.
 *
 * As in RFC 7661 only calls count of which the limit held others back; so without a backlog nothing is ever raised.
 *
 * Why not AIMD, Vegas or Gradient2 alone: AIMD walks an API that only slows down into its timeouts, where all calls
 * fail together; the other two take latency for queueing, and stop at half the goodput of one whose latency grows with
 * its load below its capacity.
 */
#include "server/flow/adapt.h"

#include <math.h>
#include <string.h>

#include "proto/messages.h"

enum phase { HOLD_THEN_UP, HOLD_THEN_DOWN, UP, DOWN, PHASES };

/* The meaning of the numbers. A window is what was measured of the present value, the base's what was last measured of
 * the value that trials are compared with. Latencies are means of logarithms of milliseconds. */
enum number {
	PHASE,
	BASE,	      /* the value that holds, to which a trial goes back */
	SINCE_MS,     /* the value is the present one since then */
	CUT_MS,	      /* calls begun before are of the cohort that the last decrease was for */
	STEP,	      /* of the next trial, as a part of the base */
	ROUNDS,	      /* to hold before the next trial; a round is as many calls as the value */
	BASE_SAMPLES, /* 0: not measured */
	BASE_WORTH,   /* see worth() */
	SAMPLES,      /* of the window; negative while the value settles */
	LATENCY,      /* their sum */
	FAILED,	      /* calls begun and failed in the window */
	SPREAD,	      /* variance of the logarithm of a call's duration */
	UNLOADED,     /* latency at low load, as far as seen; 0: not measured */
	ORDINARY,     /* part of the calls that fails at any load */
	FAILED_NEW,   /* since the last decrease, fading within two rounds */
	FAILED_OLD,   /* of its cohort, above those that succeeded; negative: half was taken off already */
	NUMBERS
};

_Static_assert(NUMBERS <= ADAPT_NUMBERS, "a state holds them all");

#define FIRST	     4	  /* to begin with */
#define WORTH_IT     0.3  /* of what so many slots more could get done at most, that they must */
#define GROWS	     1.25 /* the power of the latency by which more slots are expected to get less done */
#define FREE	     0.6  /* uncongested() above this: as good as none waits */
#define PAY	     5.0  /* what a failure costs, in calls' time */
#define SURE	     2.0  /* standard errors that make a difference clear */
#define STEP_FIRST   1.0
#define STEP_MIN     0.05
#define STEP_NOISY   0.25 /* the most that is asked for because of noise, and of a step down */
#define STEP_GROWTH  1.5
#define STEP_NEAR    0.8 /* near what the API bears: its calls wait for one another already */
#define STEP_GUESSED 1.2 /* where it was not clear */
#define ROUNDS_CRISP 16	 /* the longest hold after a trial that failures ended */
#define ROUNDS_MAX   64	 /* the longest after one that was only not worth it */
#define ROUND_LEAST  10	 /* calls, in a long hold: so that a trial's failures are few beside it */
#define PROBE_ROUNDS 4	 /* a trial takes so many at most, */
#define PROBE_LEAST  100 /* or so many calls, whichever is more, but never more rounds than */
#define PROBE_LONG   16
#define ORDINARY_MAX 0.1

static double clamp(double x, double low, double high)
{
	return fmin(fmax(x, low), high);
}

/* ---- what is measured ---- */

/* The first round after a change is neither the old value nor the new one. */
static void window_begin(struct adapt_state *s)
{
	s->numbers[SAMPLES] = -s->value;
	s->numbers[LATENCY] = s->numbers[FAILED] = 0;
}

static double failed_part(const double *n)
{
	double part = n[FAILED] / (fmax(n[SAMPLES], 0) + n[FAILED] + 1);

	return fmax(part - 2 * n[ORDINARY], 0);
}

/* Of a slot for a time, as a logarithm: it falls with the latency, and with failures more than they take time. */
static double worth(const double *n)
{
	return -n[LATENCY] / fmax(n[SAMPLES], 1) + PAY * log(1 - failed_part(n));
}

/* The standard error of the window's worth less the base's. */
static double worth_error(const double *n)
{
	double samples = fmax(n[SAMPLES], 1);

	return 0.01 +
	       sqrt(n[SPREAD] * (1 / samples + 1 / fmax(n[BASE_SAMPLES], 1)) + PAY * PAY * failed_part(n) / samples);
}

static void sample(struct adapt_state *s, const struct call_report *r)
{
	double *n = s->numbers;
	double latency = log(fmax((double)r->took_ms, 1));

	if ((double)r->started_at_ms < n[SINCE_MS])
		return;
	if (n[SAMPLES] < 0) {
		n[SAMPLES] = fmin(n[SAMPLES] + 1, 0);
		return;
	}
	if (n[SAMPLES] > 0) {
		double off = latency - n[LATENCY] / n[SAMPLES];

		n[SPREAD] += (off * off - n[SPREAD]) / 64;
	}
	n[SAMPLES]++;
	n[LATENCY] += latency;
}

static void window_to_base(struct adapt_state *s)
{
	double *n = s->numbers;
	/* With its error, or the luckiest of many windows would be believed. */
	double latency = n[LATENCY] / n[SAMPLES] + sqrt(n[SPREAD] / n[SAMPLES]);

	n[BASE] = s->value;
	n[BASE_SAMPLES] = n[SAMPLES];
	n[BASE_WORTH] = worth(n);
	if (n[UNLOADED] == 0 || latency < n[UNLOADED])
		n[UNLOADED] = latency;
	window_begin(s);
}

/* ---- moves ---- */

static void move(struct adapt_state *s, const struct adaptive_settings *set, double value, enum phase phase,
		 int64_t now_ms)
{
	/* A value a hair below a whole number is that number. */
	s->value = clamp(floor(value + 1e-6), set->min, set->max);
	s->numbers[PHASE] = phase;
	s->numbers[SINCE_MS] = (double)now_ms;
	window_begin(s);
}

/* Down for failures: what began before does not count again. */
static void cut(struct adapt_state *s, const struct adaptive_settings *set, double to, int64_t now_ms)
{
	double *n = s->numbers;

	move(s, set, to, HOLD_THEN_UP, now_ms);
	n[CUT_MS] = (double)now_ms;
	n[FAILED_OLD] = 0;
	if (s->value != n[BASE])
		n[BASE_SAMPLES] = 0;
	n[BASE] = s->value;
}

/* The most calls that a trial takes: more after long holds, where it is about small differences. */
static double probe_most(const struct adapt_state *s)
{
	return fmax(fmax(PROBE_ROUNDS, s->numbers[ROUNDS] / 4) * s->value, fmin(PROBE_LEAST, PROBE_LONG * s->value));
}

/* A difference that so many calls can show. */
static double least_step(const struct adapt_state *s)
{
	return clamp(3 * sqrt(s->numbers[SPREAD] / probe_most(s)), STEP_MIN, STEP_NOISY);
}

static void wait_longer(struct adapt_state *s, double most)
{
	double *n = s->numbers;

	n[ROUNDS] = fmax(n[ROUNDS], fmin(n[ROUNDS] * 2, most));
	n[STEP] = fmax(n[STEP] / 2, least_step(s));
}

/* A log latency, which is below the mean's, against the target; infinity where there is none. */
static double below_target(const double *n, const struct adaptive_settings *set, double latency)
{
	if (set->latency_target_ms <= 0)
		return INFINITY;
	return log((double)set->latency_target_ms) - latency - n[SPREAD] / 2;
}

/* The base is slower than it need be, as far as can be said: fewer calls may do as well. */
static bool base_is_slow(const double *n, const struct adaptive_settings *set)
{
	double error = sqrt(n[SPREAD] / fmax(n[BASE_SAMPLES], 1));

	if (set->latency_target_ms > 0)
		return below_target(n, set, -n[BASE_WORTH]) < 0;
	return -n[BASE_WORTH] - n[UNLOADED] > 0.15 + 2 * error;
}

/* The standard error of the base's latency. */
static double base_error(const double *n)
{
	return sqrt(n[SPREAD] / fmax(n[BASE_SAMPLES], 1));
}

/* From 1, as fast as at low load, to 0. */
static double uncongested(const double *n)
{
	return clamp(exp(GROWS * (n[UNLOADED] + n[BASE_WORTH])), 0, 1);
}

/* The base has been measured: on to the next trial. */
static void probe(struct adapt_state *s, const struct adaptive_settings *set, int64_t now_ms)
{
	double *n = s->numbers;
	bool slow = base_is_slow(n, set) || (n[ROUNDS] > ROUNDS_CRISP && set->latency_target_ms <= 0);
	bool may_raise = n[BASE] < set->max && !(slow && set->latency_target_ms > 0);
	/* Upward where that is the only way: at the least value, too, or it would be held for ever. */
	bool down = slow && n[BASE] > set->min && (n[PHASE] == HOLD_THEN_DOWN || !may_raise);

	if (down)
		move(s, set, fmin(n[BASE] - 1, n[BASE] / (1 + fmin(n[STEP], STEP_NOISY))), DOWN, now_ms);
	else if (may_raise)
		move(s, set, fmax(n[BASE] + 1, n[BASE] * (1 + n[STEP])), UP, now_ms);
	else
		n[PHASE] = HOLD_THEN_DOWN;
}

/* ---- phases ---- */

/* The same number of calls takes a quite different time than it did. */
static void notice_change(struct adapt_state *s)
{
	double *n = s->numbers;
	double change = worth(n) - n[BASE_WORTH];

	if (n[BASE_SAMPLES] == 0 || n[SAMPLES] < fmax(s->value, 20) || fabs(change) < 0.25 + 3 * worth_error(n))
		return;
	n[ROUNDS] = 1;
	n[STEP] = fmax(n[STEP], 0.25);
	n[PHASE] = change > 0 ? HOLD_THEN_UP : HOLD_THEN_DOWN;
	/* Faster: at low load it is no slower than this. By how much it became faster is not told by the change: what
	 * failed before made the base worth less, and does not make calls fast. Slower: a trial downward will tell why.
	 */
	if (change > 0)
		n[UNLOADED] = fmin(n[UNLOADED], n[LATENCY] / n[SAMPLES]);
	n[BASE_SAMPLES] = 0;
}

static void hold(struct adapt_state *s, const struct adaptive_settings *set, int64_t now_ms)
{
	double *n = s->numbers;

	notice_change(s);
	if (n[SAMPLES] < n[ROUNDS] * fmax(s->value, n[ROUNDS] > 2 ? ROUND_LEAST : 1))
		return;
	window_to_base(s);
	probe(s, set, now_ms);
}

/* What the trial says: how far the larger value is above (positive) or below what would make it worth it, in standard
 * errors in *ret_sure; *ret_gain is the part of the most there could be. */
static double weigh(const struct adapt_state *s, const struct adaptive_settings *set, double *ret_gain,
		    double *ret_sure)
{
	const double *n = s->numbers;
	bool up = n[PHASE] == UP;
	double most = fabs(log(s->value / n[BASE]));
	double change = worth(n) - n[BASE_WORTH];
	double gain = 1 + (up ? change : -change) / most, error = worth_error(n) / most;
	/* Expected: the latency's growth since low load goes on, and this the surer the less it has grown. */
	double expected = uncongested(n), expected_error = 1.2 - 0.3 * expected + base_error(n);
	double weight = expected_error * expected_error / (expected_error * expected_error + error * error);
	double margin = weight * gain + (1 - weight) * expected - WORTH_IT;

	*ret_gain = gain;
	*ret_sure = fabs(margin) / (error * sqrt(weight));
	if (set->latency_target_ms > 0) {
		margin = below_target(n, set, up ? -worth(n) : -n[BASE_WORTH]);
		*ret_sure = fabs(margin) / sqrt(n[SPREAD] / (up ? n[SAMPLES] : fmax(n[BASE_SAMPLES], 1)) + 1e-4);
	}
	return margin;
}

/* Fewer calls are as slow each: it is not their number that makes them slow. The baseline follows as far as that is
 * sure, so that it moves up with an API that has become slower, and does not under an overload. */
static void follow_baseline(double *n, double gain, double most)
{
	double error = worth_error(n) / most;

	if (gain - error > 0.7)
		n[UNLOADED] += 0.1 / (0.1 + error * error) * fmax(-n[BASE_WORTH] - n[UNLOADED], 0);
}

/* By how much the next step differs from one upward that was right. */
static double step_factor(const double *n, bool clear)
{
	if (uncongested(n) < FREE && n[STEP] > STEP_NOISY)
		return STEP_NEAR;
	return clear ? STEP_GROWTH : STEP_GUESSED;
}

static void on_trial(struct adapt_state *s, const struct adaptive_settings *set, int64_t now_ms)
{
	double *n = s->numbers;
	bool up = n[PHASE] == UP, clear, coarse;
	double gain, sure, margin;

	if (n[SAMPLES] < fmax(3, s->value / 2))
		return;
	margin = weigh(s, set, &gain, &sure);
	/* Nothing speaks against more of it. */
	clear = sure >= SURE ||
		(up && margin > 0 && n[SAMPLES] >= s->value && uncongested(n) - 2 * base_error(n) > FREE);
	if (!clear && n[SAMPLES] < probe_most(s))
		return;
	if (up != (margin > 0)) {
		if (!up)
			follow_baseline(n, gain, log(n[BASE] / s->value));
		/* Far too much: the right value lies between, which a smaller step upward finds sooner than one down.
		 */
		coarse = up && n[STEP] > STEP_NOISY;
		move(s, set, n[BASE], up && !coarse ? HOLD_THEN_DOWN : HOLD_THEN_UP, now_ms);
		if (coarse)
			n[STEP] = n[STEP] / 2;
		else
			wait_longer(s, ROUNDS_MAX);
		return;
	}
	window_to_base(s);
	n[PHASE] = up ? HOLD_THEN_UP : HOLD_THEN_DOWN;
	n[ROUNDS] = 1;
	if (up)
		n[STEP] = fmin(n[STEP] * step_factor(n, clear), STEP_FIRST);
	probe(s, set, now_ms);
}

/* ---- failures ---- */

/* Of the cohort that was decreased for: half when most of it fails. */
static void failed_old(struct adapt_state *s, const struct adaptive_settings *set, int64_t now_ms)
{
	double *n = s->numbers;

	if (n[FAILED_OLD] < 0)
		return;
	n[FAILED_OLD]++;
	if (n[FAILED_OLD] < fmax(3, 0.55 * s->value))
		return;
	cut(s, set, 0.55 * n[BASE], now_ms);
	n[FAILED_OLD] = -1;
	n[STEP] = STEP_FIRST;
	n[ROUNDS] = 1;
}

static void failed_on_trial(struct adapt_state *s, const struct adaptive_settings *set, const struct call_report *r)
{
	double *n = s->numbers;
	double step = n[STEP];
	double ordinary = n[ORDINARY] * (n[SAMPLES] + s->value);

	n[FAILED]++;
	if (r->kind != FAIL_THROTTLED && n[FAILED] < fmax(3, 0.05 * s->value) + ordinary + 2 * sqrt(ordinary))
		return;
	cut(s, set, n[BASE], r->now_ms);
	wait_longer(s, ROUNDS_CRISP);
	/* A refusal is exact: the smallest step shows it too. */
	if (r->kind == FAIL_THROTTLED)
		n[STEP] = step / 2;
}

static void failed_new(struct adapt_state *s, const struct adaptive_settings *set, const struct call_report *r)
{
	double *n = s->numbers;
	double before = s->value;

	if ((double)r->started_at_ms >= n[SINCE_MS]) {
		if (n[PHASE] == UP) {
			failed_on_trial(s, set, r);
			return;
		}
		n[FAILED]++;
	}
	n[FAILED_NEW]++;
	if (n[FAILED_NEW] < fmax(3, (0.1 + 2 * n[ORDINARY]) * s->value))
		return;
	n[FAILED_NEW] = 0;
	cut(s, set, fmin(0.9 * n[BASE], n[BASE] - 1), r->now_ms);
	if (s->value < before) {
		n[STEP] = fmax(n[STEP] / 2, least_step(s));
		n[ROUNDS] = 2;
	}
}

static void count_outcome(struct adapt_state *s, const struct adaptive_settings *set, const struct call_report *r)
{
	double *n = s->numbers;
	bool old = (double)r->started_at_ms < n[CUT_MS];

	n[FAILED_NEW] *= 1 - 1 / (2 * s->value + 1);
	if (n[PHASE] != UP && !old && (r->succeeded || uncongested(n) > 0.4))
		n[ORDINARY] += ((r->succeeded ? 0 : 1) - n[ORDINARY]) / 400;
	n[ORDINARY] = fmin(n[ORDINARY], ORDINARY_MAX);
	if (r->succeeded)
		n[FAILED_OLD] = n[FAILED_OLD] < 0 ? -1 : fmax(n[FAILED_OLD] - 1, 0);
	else if (old)
		failed_old(s, set, r->now_ms);
	else
		failed_new(s, set, r);
}

/* ---- what others call ---- */

void adapt_begin(struct adapt_state *s, const struct adaptive_settings *set, int64_t now_ms)
{
	double *n = s->numbers;

	memset(s, 0, sizeof(*s));
	n[STEP] = STEP_FIRST;
	n[ROUNDS] = 2;
	n[SPREAD] = 0.25;
	move(s, set, FIRST, HOLD_THEN_UP, now_ms);
	n[BASE] = s->value;
}

void adapt_bound(struct adapt_state *s, const struct adaptive_settings *set)
{
	double *n = s->numbers;

	if (s->value >= set->min && s->value <= set->max && n[BASE] >= set->min && n[BASE] <= set->max)
		return;
	s->value = n[BASE] = clamp(n[BASE], set->min, set->max);
	n[PHASE] = HOLD_THEN_UP;
	n[BASE_SAMPLES] = 0;
	window_begin(s);
}

void adapt_hint(struct adapt_state *s, const struct adaptive_settings *set, int32_t concurrency, int64_t now_ms)
{
	double *n = s->numbers;

	cut(s, set, concurrency, now_ms);
	n[BASE_SAMPLES] = n[FAILED_NEW] = 0;
	n[ROUNDS] = 1;
	n[STEP] = 0.25;
}

/* Read from a disk, or never begun. */
static bool is_sound(const struct adapt_state *s)
{
	for (int i = 0; i < NUMBERS; i++)
		if (!isfinite(s->numbers[i]))
			return false;
	return isfinite(s->value) && s->value >= 1 && s->numbers[BASE] >= 1 && s->numbers[PHASE] >= 0 &&
	       s->numbers[PHASE] < PHASES && s->numbers[SPREAD] >= 0;
}

void adapt_report(struct adapt_state *s, const struct adaptive_settings *set, const struct call_report *r)
{
	double *n = s->numbers;

	/* A mistake of the job's or our own says nothing about the API. */
	if (!r->succeeded && (r->kind == FAIL_INTERNAL || r->kind == FAIL_REJECTED))
		return;
	if (!is_sound(s))
		adapt_begin(s, set, r->now_ms);
	/* The clock was set back. */
	n[SINCE_MS] = fmin(n[SINCE_MS], (double)r->now_ms);
	n[CUT_MS] = fmin(n[CUT_MS], (double)r->now_ms);
	count_outcome(s, set, r);
	/* What failed at once held no slot. Far below the value it was not this limit that held jobs back. */
	if ((!r->succeeded && r->kind != FAIL_TIMEOUT) || !r->held_back || (double)r->in_flight + 1 < 0.8 * s->value)
		return;
	sample(s, r);
	if (n[PHASE] == UP || n[PHASE] == DOWN)
		on_trial(s, set, r->now_ms);
	else
		hold(s, set, r->now_ms);
}

int32_t adapt_value(const struct adapt_state *s, const struct adaptive_settings *set)
{
	return (int32_t)(s->value >= set->min ? fmin(s->value, set->max) : set->min);
}
