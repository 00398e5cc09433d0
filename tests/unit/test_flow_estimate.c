/* Estimates: what little is known to say nothing about, and campaigns in simulated time in which the promised ranges
 * are compared with when the jobs were really done.
 *
 * The campaigns are seeded: ESTIMATE_SEED=… takes other seeds than those from 1 on. Each prints its figures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/base/clean.h"
#include "server/flow/estimate.h"
#include "tests/harness/api_model.h"

#define T0     INT64_C(1700000000000)
#define SECOND 1000
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define SLOTS  50
#define SEEDS  4

/* ---- by hand ---- */

/* So many jobs, one after the other, each as long; ends at the moment it returns. */
static int64_t work(struct pace *p, int64_t from_ms, int64_t run_ms, int jobs)
{
	for (int i = 0; i < jobs; i++) {
		pace_began(p, from_ms, 0);
		from_ms += run_ms;
		pace_done(p, from_ms);
		pace_succeeded(p, run_ms);
	}
	return from_ms;
}

/* The range for the one at the place, with so many running; low_ms −1: there is none. */
static struct estimate ask(const struct pace *p, int64_t now_ms, int64_t running, int64_t place)
{
	const struct in_line line = { .least = place, .most = place };
	struct estimate e = { .low_ms = -1 };

	if (estimate_waiting(p, now_ms, running, &line, &e))
		assert_true(e.low_ms >= 0 && e.low_ms <= e.high_ms);
	return e;
}

static double width(struct estimate e)
{
	return (double)e.high_ms / (double)e.low_ms;
}

static void assert_between(struct estimate e, int64_t ms)
{
	if (e.low_ms < 0 || ms < e.low_ms || ms > e.high_ms)
		fail_msg("%lld ms is not within %lld to %lld", (long long)ms, (long long)e.low_ms,
			 (long long)e.high_ms);
}

static void nothing_is_said_before_anything_is_known(void **state)
{
	struct pace p = { 0 };
	struct estimate e;

	(void)state;
	assert_int_equal(ask(&p, T0, 0, 1).low_ms, -1);
	assert_false(estimate_running(&p, T0, T0 - 5000, &e));
	assert_int_equal(pace_gap_ms(&p, T0), 0);
	for (int64_t i = 0; i < SLOTS; i++)
		pace_began(&p, T0, i);
	assert_int_equal(ask(&p, T0 + 5000, SLOTS, 1).low_ms, -1);
	/* One that failed for good does not tell how long a good one takes. */
	pace_done(&p, T0 + 5000);
	assert_int_equal(ask(&p, T0 + 5000, SLOTS - 1, 1).low_ms, -1);
	pace_succeeded(&p, 5000);
	assert_true(ask(&p, T0 + 5000, SLOTS - 1, 1).low_ms >= 0);
}

static void few_jobs_say_little_and_many_say_more(void **state)
{
	struct pace p = { 0 };
	int64_t now = work(&p, T0, 10 * SECOND, 1);
	double last = INFINITY;

	(void)state;
	for (int done = 1; done < 1000; now = work(&p, now, 10 * SECOND, done), done *= 2) {
		double wide = width(ask(&p, now, 0, 1000));

		assert_between(ask(&p, now, 0, 1000), 1000 * 10 * SECOND + 5 * SECOND);
		assert_true(done > 32 ? wide < last * 1.01 : wide < last);
		last = wide;
		if (done == 1)
			assert_true(wide > 3);
	}
	/* At six a minute the wider of the two averages rests on some twelve jobs. */
	assert_true(last < 2.2);
}

/* In a minute nothing is done, or one: what is seen within ten of them counts. */
static void a_line_that_hardly_moves_has_a_pace_too(void **state)
{
	struct pace p = { 0 };
	int64_t now = work(&p, T0, 2 * MINUTE, 30);

	(void)state;
	for (int64_t passed = 0; passed <= 2 * MINUTE; passed += 10 * SECOND)
		assert_between(ask(&p, now + passed, 1, 100), 100 * 2 * MINUTE + MINUTE);
}

static void a_job_that_runs_is_done_when_others_were(void **state)
{
	struct pace p = { 0 };
	int64_t now = work(&p, T0, 10 * SECOND, 100);
	struct estimate e;

	(void)state;
	assert_true(estimate_running(&p, now, now, &e));
	assert_between(e, 10 * SECOND);
	assert_true(width(e) < 1.1);
	assert_true(estimate_running(&p, now, now - 4 * SECOND, &e));
	assert_between(e, 6 * SECOND);
	/* Overdue: it may end at any moment. */
	assert_true(estimate_running(&p, now, now - HOUR, &e));
	assert_int_equal(e.low_ms, 0);
	assert_in_range(e.high_ms, SECOND, 2 * SECOND);
}

/* The worst for a pace that counted what was begun: all slots are filled at once, and nobody is done yet. */
static void the_filling_of_a_limit_is_no_pace(void **state)
{
	struct pace p = { 0 };

	(void)state;
	for (int64_t i = 0; i < SLOTS; i++)
		pace_began(&p, T0, i);
	/* The first one is done after a minute: one a minute is what was seen. */
	pace_done(&p, T0 + MINUTE);
	pace_succeeded(&p, MINUTE);
	assert_true(ask(&p, T0 + MINUTE, SLOTS, 100).high_ms > 100 * MINUTE);
	/* All of them within three seconds; and then nothing for a minute. Of the second fifty the last is done after
	 * two minutes, not after three seconds. */
	for (int i = 1; i < SLOTS; i++) {
		pace_done(&p, T0 + MINUTE + i * 60);
		pace_succeeded(&p, MINUTE + i * 60);
	}
	assert_between(ask(&p, T0 + MINUTE + 3 * SECOND, SLOTS, 100), 3 * MINUTE);
	assert_true(ask(&p, T0 + MINUTE + 3 * SECOND, SLOTS, 1000).low_ms > 8 * MINUTE);
}

/* Few came, so little was done; then a crowd comes, and the same API does as many at once as there are slots. */
static void a_crowd_after_a_calm_is_not_told_the_calms_pace(void **state)
{
	struct pace p = { 0 };
	int64_t now = T0;

	(void)state;
	for (int i = 0; i < 60; i++)
		now = work(&p, now + MINUTE, 30 * SECOND, 1);
	assert_true(ask(&p, now, 1, 1000).low_ms > 5 * HOUR);
	assert_between(ask(&p, now, SLOTS, 1000), 1000 / SLOTS * 30 * SECOND + 30 * SECOND);
	assert_true(width(ask(&p, now, SLOTS, 1000)) < 6);
	/* The same after an hour in which nobody came at all. */
	assert_int_equal(ask(&p, now + HOUR, 0, 1000).low_ms, -1);
	assert_between(ask(&p, now + HOUR, SLOTS, 1000), 1000 / SLOTS * 30 * SECOND + 30 * SECOND);
}

static void what_holds_all_back_is_waited_for_and_is_no_slower_pace(void **state)
{
	struct pace p = { 0 };
	int64_t now = work(&p, T0, 10 * SECOND, 500);
	struct estimate free = ask(&p, now, 0, 20), e;
	struct in_line line = { 20, 20, 9 * MINUTE };

	(void)state;
	for (int64_t passed = 0; passed < 9 * MINUTE; passed += 20 * SECOND, line.held_ms -= 20 * SECOND) {
		assert_true(estimate_waiting(&p, now + passed, 0, &line, &e));
		assert_int_equal(e.low_ms - line.held_ms, free.low_ms);
		assert_int_equal(e.high_ms - line.held_ms, free.high_ms);
	}
	line.held_ms = -HOUR;
	assert_true(estimate_waiting(&p, now, 0, &line, &e));
	assert_int_equal(e.low_ms, free.low_ms);
	/* Nobody knows what will be when nothing was done for long. */
	line.held_ms = HOUR;
	assert_false(estimate_waiting(&p, now + HOUR, 0, &line, &e));
}

static void after_a_pause_it_is_as_before(void **state)
{
	struct pace p = { 0 };
	int64_t now = work(&p, T0, 10 * SECOND, 500);
	double before = width(ask(&p, now, 1, 100));

	(void)state;
	now = work(&p, now + 5 * MINUTE, 10 * SECOND, 1);
	assert_between(ask(&p, now, 1, 100), 100 * 10 * SECOND + 5 * SECOND);
	now = work(&p, now, 10 * SECOND, 30 * MINUTE / (10 * SECOND));
	assert_between(ask(&p, now, 1, 100), 100 * 10 * SECOND + 5 * SECOND);
	assert_true(width(ask(&p, now, 1, 100)) < before * 1.1);
}

static void a_clock_that_goes_back_changes_little(void **state)
{
	struct pace p = { 0 };
	int64_t now = work(&p, T0, 10 * SECOND, 6);
	struct estimate before = ask(&p, now, 1, 100), e;

	(void)state;
	/* While nobody has been done with since, all is as it was last seen. */
	e = ask(&p, now - 2 * HOUR, 1, 100);
	assert_int_equal(e.low_ms, before.low_ms);
	assert_int_equal(e.high_ms, before.high_ms);
	work(&p, now - 2 * HOUR, 10 * SECOND, 6);
	e = ask(&p, now - 2 * HOUR, 1, 100);
	assert_between(e, 100 * 10 * SECOND + 5 * SECOND);
	assert_true(e.high_ms <= before.high_ms * 5 / 4);
	/* Nor does one that began later than now run for a negative time. */
	assert_true(estimate_running(&p, now - 2 * HOUR, now, &e) && e.high_ms < MINUTE);
}

static void a_clock_that_goes_back_before_the_first_is_done(void **state)
{
	struct pace p = { 0 };
	int64_t now;

	(void)state;
	pace_began(&p, T0, 0);
	pace_done(&p, T0 - HOUR);
	pace_succeeded(&p, -HOUR);
	assert_int_equal(ask(&p, T0 - HOUR, 1, 100).low_ms, -1);
	now = work(&p, T0 - HOUR, 10 * SECOND, 30);
	assert_between(ask(&p, now, 1, 100), 100 * 10 * SECOND + 5 * SECOND);
}

/* ---- campaigns ---- */

struct plan {
	const char *name;
	double run_ms;
	int pieces;	 /* of a run time, each exponential: the coefficient of variation is 1/√pieces */
	double calm;	 /* jobs that come before crowd_ms, as a part of what the slots can do */
	double crowd_ms; /* from then on: */
	double load;	 /* likewise */
	int crowd;	 /* and so many at once */
	double halved_ms;
	double until_ms;
	double sample_ms; /* each time some of those in line are told how long it will take */
};

struct promise {
	double at_ms, low_at_ms, high_at_ms;
	int64_t job, place;
};

struct call {
	double started_ms, ends_ms;
	int64_t job;
};

#define JOBS_MAX     60000
#define PROMISES_MAX 60000
#define AT_ONCE	     16 /* promises of one sample */

struct campaign {
	const struct plan *plan;
	struct pace pace;
	uint64_t random;
	double now_ms, comes_ms, sample_ms;
	bool crowd_came;
	struct call calls[SLOTS];
	int running;
	int64_t head, tail; /* jobs begun, jobs there */
	double done_ms[JOBS_MAX];
	struct promise promises[PROMISES_MAX];
	size_t count;
};

static double exponential(struct campaign *c, double mean)
{
	return -log(1 - api_model_draw(&c->random)) * mean;
}

static void next_comes(struct campaign *c)
{
	double load = c->crowd_came ? c->plan->load : c->plan->calm;

	c->comes_ms = load > 0 ? c->now_ms + exponential(c, c->plan->run_ms / SLOTS / load) : INFINITY;
}

static void begin_calls(struct campaign *c)
{
	int slots = c->now_ms < c->plan->halved_ms ? SLOTS : SLOTS / 2;

	while (c->running < slots && c->head < c->tail) {
		struct call *call = &c->calls[c->running];

		pace_began(&c->pace, T0 + (int64_t)c->now_ms, c->running++);
		*call = (struct call){ c->now_ms, c->now_ms, c->head++ };
		for (int i = 0; i < c->plan->pieces; i++)
			call->ends_ms += exponential(c, c->plan->run_ms / c->plan->pieces);
	}
}

static void end_call(struct campaign *c, struct call *call)
{
	c->done_ms[call->job] = c->now_ms;
	pace_done(&c->pace, T0 + (int64_t)c->now_ms);
	pace_succeeded(&c->pace, (int64_t)(c->now_ms - call->started_ms));
	*call = c->calls[--c->running];
}

/* Of the first and the last alike: the places are drawn so that there are as many from 10 to 100 as from 100 to 1000.
 */
static void promise_some(struct campaign *c)
{
	int64_t waiting = c->tail - c->head;

	for (int i = 0; i < AT_ONCE && waiting > 0; i++) {
		int64_t place = (int64_t)exp(api_model_draw(&c->random) * log((double)waiting + 1));
		struct estimate e;

		place = place < 1 ? 1 : place > waiting ? waiting : place;
		e = ask(&c->pace, T0 + (int64_t)c->now_ms, c->running, place);
		if (e.low_ms < 0)
			continue;
		assert_true(c->count < PROMISES_MAX);
		c->promises[c->count++] = (struct promise){ c->now_ms, c->now_ms + (double)e.low_ms,
							    c->now_ms + (double)e.high_ms, c->head + place - 1, place };
	}
	c->sample_ms += c->plan->sample_ms;
}

static struct call *first_to_end(struct campaign *c)
{
	struct call *first = NULL;

	for (int i = 0; i < c->running; i++)
		if (!first || c->calls[i].ends_ms < first->ends_ms)
			first = &c->calls[i];
	return first;
}

static void step(struct campaign *c)
{
	struct call *first = first_to_end(c);
	double crowd_ms = c->crowd_came ? INFINITY : c->plan->crowd_ms;
	double ends_ms = first ? first->ends_ms : INFINITY;

	c->now_ms = fmin(fmin(crowd_ms, ends_ms), fmin(c->comes_ms, c->sample_ms));
	if (c->now_ms == crowd_ms) {
		c->crowd_came = true;
		c->tail += c->plan->crowd;
		next_comes(c);
	} else if (c->now_ms == ends_ms) {
		if (first)
			end_call(c, first);
	} else if (c->now_ms == c->comes_ms) {
		c->tail++;
		next_comes(c);
	} else {
		promise_some(c);
	}
	assert_true(c->tail < JOBS_MAX);
	begin_calls(c);
}

/* The caller frees it. Jobs that are not done at the end have no moment. */
static struct campaign *run_campaign(const struct plan *plan, uint64_t seed)
{
	struct campaign *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	c->plan = plan;
	c->random = seed;
	c->sample_ms = plan->crowd_ms + plan->sample_ms;
	for (size_t i = 0; i < JOBS_MAX; i++)
		c->done_ms[i] = INFINITY;
	next_comes(c);
	while (c->now_ms < plan->until_ms)
		step(c);
	return c;
}

/* ---- what was promised and what came ---- */

#define WIDTHS_MAX (PROMISES_MAX * 4)
#define FAR_PLACE  100 /* two rounds of the slots: there the wait is most of it */

struct figures {
	size_t promises, kept, early, late; /* early: done before the range, late: after it */
	size_t widths;
	double width[WIDTHS_MAX]; /* high / low, of the far ones */
};

struct window {
	double from_ms, until_ms; /* of the moment of the promise */
	double done_by_ms;	  /* whoever was done later was met by something else: not counted */
	int64_t least_place, most_place;
};

static void count_promises(struct figures *f, const struct campaign *c, const struct window *w)
{
	for (size_t i = 0; i < c->count; i++) {
		const struct promise *p = &c->promises[i];
		double done = c->done_ms[p->job];

		if (p->at_ms < w->from_ms || p->at_ms >= w->until_ms || done > w->done_by_ms ||
		    p->place < w->least_place || p->place > w->most_place)
			continue;
		f->promises++;
		/* A range is told in whole milliseconds. */
		f->early += done < p->low_at_ms - 1;
		f->late += done > p->high_at_ms + 1;
		if (p->place >= FAR_PLACE && f->widths < WIDTHS_MAX)
			f->width[f->widths++] = (p->high_at_ms - p->at_ms) / (p->low_at_ms - p->at_ms + 1);
	}
	f->kept = f->promises - f->early - f->late;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median_width(struct figures *f)
{
	qsort(f->width, f->widths, sizeof(f->width[0]), compare_doubles);
	return f->widths > 0 ? f->width[f->widths / 2] : 0;
}

static double share(size_t part, size_t of)
{
	assert_true(of > 0);
	return (double)part / (double)of;
}

static void tell(const struct plan *plan, const char *what, struct figures *f)
{
	print_message("# %-7s %3.0f s, cv %.1f, %-12s %6zu promises, kept %.2f, done before %.2f, after %.2f",
		      plan->name, plan->run_ms / SECOND, 1 / sqrt(plan->pieces), what, f->promises,
		      share(f->kept, f->promises), share(f->early, f->promises), share(f->late, f->promises));
	if (f->widths > 0)
		print_message("; high/low of far ones %.1f", median_width(f));
	print_message("\n");
}

static uint64_t seed_base(void)
{
	const char *text = getenv("ESTIMATE_SEED");

	return text ? strtoull(text, NULL, 10) : 1;
}

/* The figures of all seeds in all windows, which the caller frees. */
static struct figures *measure(const struct plan *plan, const struct window *windows, size_t count)
{
	struct figures *f = calloc(count, sizeof(*f));

	assert_non_null(f);
	for (uint64_t seed = seed_base(); seed < seed_base() + SEEDS; seed++) {
		struct campaign *c = run_campaign(plan, seed * 1000003);

		for (size_t i = 0; i < count; i++)
			count_promises(&f[i], c, &windows[i]);
		free(c);
	}
	return f;
}

static struct plan with_runs(struct plan plan, double run_ms, int pieces)
{
	plan.run_ms = run_ms;
	plan.pieces = pieces;
	if (plan.crowd < 0) /* enough to the end */
		plan.crowd = (int)(plan.until_ms / run_ms * SLOTS);
	return plan;
}

static void assert_honest(const struct plan *plan)
{
	/* Steady: half an hour after the change both averages have forgotten what was before. */
	const struct window windows[] = {
		{ 0.5 * HOUR, 2 * HOUR, 2 * HOUR, 1, 10 },	  { 0.5 * HOUR, 2 * HOUR, 2 * HOUR, 11, INT64_MAX },
		{ 2.5 * HOUR, 4 * HOUR, 4 * HOUR, 1, 10 },	  { 2.5 * HOUR, 4 * HOUR, 4 * HOUR, 11, INT64_MAX },
		{ 2 * HOUR, 2.5 * HOUR, 4 * HOUR, 1, INT64_MAX },
	};
	static const char *const names[] = { "first ten", "rest", "ten, halved", "rest, halved", "just halved" };
	struct figures *f = measure(plan, windows, ARRAY_SIZE(windows));

	for (size_t i = 0; i < ARRAY_SIZE(windows); i++) {
		bool steady = i < 4;

		tell(plan, names[i], &f[i]);
		assert_true(f[i].promises > 100);
		assert_true(share(f[i].kept, f[i].promises) > (steady ? 0.85 : 0.8));
		if (f[i].widths > 0)
			assert_true(median_width(&f[i]) < (steady ? 3.2 : 4));
	}
	free(f);
}

static void in_a_campaign_most_are_done_within_their_range(void **state)
{
	static const struct plan plans[] = {
		{ .name = "burst", .crowd = -1, .halved_ms = 2 * HOUR, .until_ms = 4 * HOUR, .sample_ms = 20 * SECOND },
		{ .name = "poisson",
		  .load = 1.3,
		  .halved_ms = 2 * HOUR,
		  .until_ms = 4 * HOUR,
		  .sample_ms = 20 * SECOND },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(plans); i++) {
		for (int longer = 1; longer <= 6; longer += 5) {
			for (int pieces = 1; pieces <= 11; pieces += 10) {
				struct plan plan = with_runs(plans[i], longer * 30 * SECOND, pieces);

				assert_honest(&plan);
			}
		}
	}
}

/* From the first moment on, whatever was before: nothing, or the few that came in an hour. */
static void a_crowd_is_told_the_truth_from_the_beginning(void **state)
{
	(void)state;
	for (int before = 0; before < 2; before++) {
		const double calm = 0.05 * before;

		for (int pieces = 1; pieces <= 11; pieces += 10) {
			struct plan plan = { .name = calm > 0 ? "calm" : "opening",
					     .run_ms = 30 * SECOND,
					     .pieces = pieces,
					     .calm = calm,
					     .crowd_ms = calm > 0 ? HOUR : 0,
					     .crowd = 3000,
					     .halved_ms = INFINITY,
					     .until_ms = 2 * HOUR,
					     .sample_ms = 2 * SECOND };
			double at = plan.crowd_ms;
			const struct window windows[] = {
				{ at, at + 30 * SECOND, INFINITY, 1, INT64_MAX },
				{ at + 30 * SECOND, at + 2 * MINUTE, INFINITY, 1, INT64_MAX },
				{ at + 2 * MINUTE, at + 10 * MINUTE, INFINITY, 1, INT64_MAX },
			};
			struct figures *f = measure(&plan, windows, ARRAY_SIZE(windows));

			tell(&plan, "first 30 s", &f[0]);
			tell(&plan, "to 2 min", &f[1]);
			tell(&plan, "to 10 min", &f[2]);
			assert_true(share(f[0].kept, f[0].promises) > 0.6);
			assert_true(share(f[1].kept, f[1].promises) > 0.8);
			assert_true(share(f[2].kept, f[2].promises) > 0.85);
			assert_true(median_width(&f[1]) < 7);
			assert_true(median_width(&f[2]) < 6);
			free(f);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_said_before_anything_is_known),
		cmocka_unit_test(few_jobs_say_little_and_many_say_more),
		cmocka_unit_test(a_line_that_hardly_moves_has_a_pace_too),
		cmocka_unit_test(a_job_that_runs_is_done_when_others_were),
		cmocka_unit_test(the_filling_of_a_limit_is_no_pace),
		cmocka_unit_test(a_crowd_after_a_calm_is_not_told_the_calms_pace),
		cmocka_unit_test(what_holds_all_back_is_waited_for_and_is_no_slower_pace),
		cmocka_unit_test(after_a_pause_it_is_as_before),
		cmocka_unit_test(a_clock_that_goes_back_changes_little),
		cmocka_unit_test(a_clock_that_goes_back_before_the_first_is_done),
		cmocka_unit_test(in_a_campaign_most_are_done_within_their_range),
		cmocka_unit_test(a_crowd_is_told_the_truth_from_the_beginning),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
