/* Adaptive concurrency against models of APIs in simulated time: an endless backlog, and what gets done of what could.
 *
 * The runs are seeded: ADAPT_SEED=… takes others, ADAPT_VERBOSE=1 prints the figures of each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/clean.h"
#include "server/flow/adapt.h"
#include "tests/harness/api_model.h"

#define SEEDS	  4
#define LAUNCH_MS INT64_C(1700000000000) /* the calendar's time at the model's moment 0 */

static uint64_t seed_base(void)
{
	const char *text = getenv("ADAPT_SEED");

	return text ? strtoull(text, NULL, 10) : 1;
}

static bool verbose(void)
{
	return getenv("ADAPT_VERBOSE");
}

/* ---- the driver: as many calls as the value allows, each ended one reported at once ---- */

struct drive {
	struct adaptive_settings set;
	struct adapt_state state;
	struct api_model *api;
	double now_ms;
	double clock_off_ms; /* the broker's clock is wrong by this */
	size_t in_flight;
	uint64_t calls;
	bool spare; /* too little to do: the limit holds nothing back */
};

struct figures {
	double goodput; /* as a part of the best */
	double failed;	/* part of the calls */
	double mean_value;
	int32_t least_value, most_value;
};

static void drive_open(struct drive *d, const struct api_shape *shape, struct adaptive_settings set, uint64_t seed)
{
	*d = (struct drive){ .set = set, .api = api_model_new(shape, seed) };
	adapt_begin(&d->state, &set, LAUNCH_MS);
}

static void drive_close(struct drive *d)
{
	api_model_free(d->api);
}

static void assert_sound(const struct adapt_state *s, const struct adaptive_settings *set)
{
	int32_t value = adapt_value(s, set);

	assert_in_range(value, set->min, set->max);
	assert_true(isfinite(s->value));
	for (size_t i = 0; i < ADAPT_NUMBERS; i++)
		assert_true(isfinite(s->numbers[i]));
}

static void drive_report(struct drive *d, const struct api_ended *e)
{
	int64_t off_ms = LAUNCH_MS + (int64_t)d->clock_off_ms;
	struct call_report r = {
		.succeeded = e->succeeded,
		.kind = (int)e->kind,
		.started_at_ms = (int64_t)e->started_ms + off_ms,
		.took_ms = (int64_t)(e->ended_ms - e->started_ms),
		.in_flight = (int64_t)d->in_flight,
		.held_back = !d->spare,
		.now_ms = (int64_t)e->ended_ms + off_ms,
	};

	d->in_flight--;
	adapt_report(&d->state, &d->set, &r);
	assert_sound(&d->state, &d->set);
}

/* On to the next event, at most to the moment. */
static void drive_step(struct drive *d, double until_ms)
{
	struct api_ended e;

	while (d->in_flight < (size_t)adapt_value(&d->state, &d->set)) {
		api_model_start(d->api, d->now_ms, d->calls++);
		d->in_flight++;
	}
	d->now_ms = fmin(api_model_next_ms(d->api), until_ms);
	if (api_model_take(d->api, d->now_ms, &e))
		drive_report(d, &e);
}

static struct figures drive_until(struct drive *d, double until_ms)
{
	struct api_counts before = api_model_counts(d->api), after;
	double from_ms = d->now_ms, value_time = 0, ended;
	int32_t value = adapt_value(&d->state, &d->set);
	struct figures f = { .least_value = value, .most_value = value };

	while (d->now_ms < until_ms) {
		double at_ms = d->now_ms;

		value = adapt_value(&d->state, &d->set);
		f.least_value = value < f.least_value ? value : f.least_value;
		f.most_value = value > f.most_value ? value : f.most_value;
		drive_step(d, until_ms);
		value_time += value * (d->now_ms - at_ms);
	}
	after = api_model_counts(d->api);
	f.mean_value = value_time / (until_ms - from_ms);
	f.goodput = (double)(after.succeeded - before.succeeded) / api_model_best(d->api, from_ms, until_ms);
	ended = (double)(after.succeeded + after.refused + after.wasted - before.succeeded - before.refused -
			 before.wasted);
	f.failed = ended > 0 ? (double)(after.refused + after.wasted - before.refused - before.wasted) / ended : 0;
	return f;
}

static void show(const char *what, double cv, uint64_t seed, struct figures f)
{
	if (verbose())
		printf("    %-34s cv %.1f seed %llu: goodput %.3f failed %.4f value %.1f (%d to %d)\n", what, cv,
		       (unsigned long long)seed, f.goodput, f.failed, f.mean_value, f.least_value, f.most_value);
}

/* Several runs of one kind that differ by their seed. The bounds stand below what 800 seeds have shown: of the means of
 * four the least, of single runs the least, with room. */
struct tally {
	const char *what;
	int runs;
	double goodput, failed; /* sums */
	double least;
};

static void tally_add(struct tally *t, struct figures f)
{
	t->least = t->runs == 0 ? f.goodput : fmin(t->least, f.goodput);
	t->runs++;
	t->goodput += f.goodput;
	t->failed += f.failed;
}

static void tally_check(const struct tally *t, double goodput, double least, double failed)
{
	double mean = t->goodput / t->runs, mean_failed = t->failed / t->runs;

	if (mean < goodput || t->least < least || mean_failed > failed)
		fail_msg("%s, seeds from %llu: goodput %.3f, at least %.3f, failed %.4f", t->what,
			 (unsigned long long)seed_base(), mean, t->least, mean_failed);
}

/* ---- steady state ---- */

/* An API of a kind; what is asked of it by coefficient of variation 0, 0.3 and 1. */
struct scenario {
	const char *name;
	struct api_shape shape;
	int32_t max;
	double rounds; /* the run, in calls' latencies at the capacity; a quarter of them, at least 150, to settle */
	double goodput[3];
	double failed[3];
};

static const double cvs[3] = { 0, 0.3, 1 };

#define ONE_PHASE(c) .phases = { { 0, c, 1 } }, .phase_count = 1
#define HARD(c, work)                                                                                          \
	{                                                                                                      \
		.work_ms = (work), .hard = true, .refused_kind = FAIL_THROTTLED, .answer_ms = 20, ONE_PHASE(c) \
	}
#define SHARED(c, work, timeout)                                         \
	{                                                                \
		.work_ms = (work), .timeout_ms = (timeout), ONE_PHASE(c) \
	}
#define SMOOTH(c, work, g, k, timeout)                                                                   \
	{                                                                                                \
		.work_ms = (work), .growth = (g), .collapse = (k), .timeout_ms = (timeout), ONE_PHASE(c) \
	}

#define FEW                      \
	{                        \
		0.02, 0.02, 0.02 \
	}
#define FEW_OR(x)               \
	{                       \
		0.02, 0.02, (x) \
	}

/* Timeouts are eight times what a call takes at the capacity: with durations that vary as much as their mean, one in
 * five hundred takes longer by itself. */
static const struct scenario scenarios[] = {
	{ "hard slots, 50 of 10 s", HARD(50, 10e3), 200, 600, { 0.95, 0.95, 0.95 }, FEW },
	{ "hard slots, 5 of 60 s", HARD(5, 60e3), 100, 1200, { 0.95, 0.95, 0.95 }, FEW },
	{ "hard slots, 500 of 0.2 s", HARD(500, 200), 2000, 320, { 0.95, 0.95, 0.70 }, FEW },
	{ "shared, 50 of 10 s", SHARED(50, 10e3, 80e3), 500, 600, { 0.95, 0.95, 0.95 }, FEW },
	{ "shared, 5 of 60 s", SHARED(5, 60e3, 480e3), 100, 1200, { 0.95, 0.95, 0.95 }, FEW_OR(0.06) },
	{ "shared, 500 of 0.2 s", SHARED(500, 200, 1600), 2000, 320, { 0.95, 0.95, 0.70 }, FEW },
	{ "shared, 50 of 10 s, no timeout", SHARED(50, 10e3, 0), 500, 600, { 0.95, 0.95, 0.95 }, FEW },
	{ "smooth, 50 of 10 s", SMOOTH(50, 10e3, 1, 1, 160e3), 500, 600, { 0.95, 0.95, 0.88 }, FEW },
	{ "smooth, 5 of 60 s", SMOOTH(5, 60e3, 1, 1, 960e3), 100, 1200, { 0.95, 0.94, 0.68 }, FEW_OR(0.04) },
	{ "smooth, 500 of 0.2 s", SMOOTH(500, 200, 1, 1, 3200), 2000, 320, { 0.95, 0.95, 0.70 }, FEW },
	{ "smooth and steep, 50 of 10 s", SMOOTH(50, 10e3, 0.5, 2, 120e3), 500, 600, { 0.95, 0.95, 0.86 }, FEW },
	{ "smooth, no collapse, 50 of 10 s", SMOOTH(50, 10e3, 1, 0, 160e3), 500, 600, { 0.95, 0.95, 0.92 }, FEW },
};

static struct figures settle_and_measure(const struct scenario *sc, double cv, uint64_t seed)
{
	struct api_shape shape = sc->shape;
	double round_ms = shape.work_ms * (1 + shape.growth);
	struct drive d;
	struct figures f;

	shape.cv = cv;
	drive_open(&d, &shape, (struct adaptive_settings){ .min = 1, .max = sc->max }, seed);
	(void)drive_until(&d, round_ms * fmax(sc->rounds / 4, 150));
	f = drive_until(&d, round_ms * sc->rounds);
	drive_close(&d);
	show(sc->name, cv, seed, f);
	return f;
}

static void check_steady(const struct scenario *sc, int which)
{
	struct tally t = { .what = sc->name };

	for (uint64_t i = 0; i < SEEDS; i++)
		tally_add(&t, settle_and_measure(sc, cvs[which], seed_base() + i));
	tally_check(&t, sc->goodput[which], 0, sc->failed[which]);
}

static void test_steady_without_noise(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++)
		check_steady(&scenarios[i], 0);
}

static void test_steady_with_some_noise(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++)
		check_steady(&scenarios[i], 1);
}

static void test_steady_with_much_noise(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++)
		check_steady(&scenarios[i], 2);
}

/* ---- changes ---- */

static struct api_shape shape_of(const char *kind, double cv)
{
	struct api_shape shape = { .work_ms = 10e3, .cv = cv, .answer_ms = 20, .timeout_ms = 80e3 };

	shape.refused_kind = FAIL_UNAVAILABLE;
	shape.hard = strcmp(kind, "hard") == 0;
	if (shape.hard)
		shape.refused_kind = FAIL_THROTTLED;
	if (strcmp(kind, "smooth") == 0)
		shape.growth = shape.collapse = 1;
	return shape;
}

static void add_phase(struct api_shape *shape, double from_ms, double slots, double slow)
{
	shape->phases[shape->phase_count++] = (struct api_phase){ from_ms, slots, slow };
}

static const struct adaptive_settings wide = { .min = 1, .max = 200 };

/* 50, then 20, then 80 slots, each for 4,000 s; what gets done in the last 1,000 s of each. */
static void test_follows_the_capacity(void **state)
{
	static const char *const kinds[] = { "hard", "shared", "smooth" };
	struct tally tallies[ARRAY_SIZE(kinds)][3] = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds) * SEEDS; i++) {
		const char *kind = kinds[i / SEEDS];
		uint64_t seed = seed_base() + i % SEEDS;
		struct api_shape shape = shape_of(kind, i % 2 ? 0.3 : 0);
		struct drive d;

		add_phase(&shape, 0, 50, 1);
		add_phase(&shape, 4000e3, 20, 1);
		add_phase(&shape, 8000e3, 80, 1);
		drive_open(&d, &shape, wide, seed);
		for (int phase = 0; phase < 3; phase++) {
			struct figures f;

			(void)drive_until(&d, phase * 4000e3 + 3000e3);
			f = drive_until(&d, phase * 4000e3 + 3900e3);
			show(kind, shape.cv, seed, f);
			tallies[i / SEEDS][phase].what = kind;
			tally_add(&tallies[i / SEEDS][phase], f);
		}
		drive_close(&d);
	}
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		for (int phase = 0; phase < 3; phase++)
			tally_check(&tallies[i][phase], 0.85, 0.5, 0.02);
}

/* Three times as slow for a while, however few calls: not a matter of load, and no reason to let fewer through. */
static void test_brown_out(void **state)
{
	struct tally in = { .what = "brown-out" }, after = { .what = "after a brown-out" };

	(void)state;
	for (uint64_t seed = seed_base(); seed < seed_base() + SEEDS; seed++) {
		struct api_shape shape = shape_of("shared", 0.3);
		struct drive d;
		struct figures f;

		shape.timeout_ms = 240e3;
		add_phase(&shape, 0, 50, 1);
		add_phase(&shape, 4000e3, 50, 3);
		add_phase(&shape, 8000e3, 50, 1);
		drive_open(&d, &shape, wide, seed);
		(void)drive_until(&d, 5000e3);
		f = drive_until(&d, 7900e3);
		show("brown-out", 0.3, seed, f);
		tally_add(&in, f);
		(void)drive_until(&d, 9000e3);
		f = drive_until(&d, 12000e3);
		show("after it", 0.3, seed, f);
		tally_add(&after, f);
		drive_close(&d);
	}
	tally_check(&in, 0.93, 0.85, 0.02);
	tally_check(&after, 0.93, 0.9, 0.02);
}

static void check_outage(bool hangs, uint64_t seed, struct tally *t)
{
	struct api_shape shape = shape_of(hangs ? "smooth" : "hard", 0.3);
	struct drive d;
	struct figures f;

	shape.hangs = hangs;
	add_phase(&shape, 0, 50, 1);
	add_phase(&shape, 3000e3, 0, 1);
	add_phase(&shape, 4000e3, 50, 1);
	drive_open(&d, &shape, wide, seed);
	(void)drive_until(&d, 3900e3);
	/* Hardly anything is sent to the dead. */
	assert_true(adapt_value(&d.state, &d.set) <= 3);
	(void)drive_until(&d, 6000e3);
	f = drive_until(&d, 8000e3);
	show(t->what, 0.3, seed, f);
	tally_add(t, f);
	drive_close(&d);
}

static void test_outage(void **state)
{
	struct tally hung = { .what = "after an outage that hung" };
	struct tally refused = { .what = "after an outage that refused" };

	(void)state;
	for (uint64_t seed = seed_base(); seed < seed_base() + SEEDS; seed++) {
		check_outage(true, seed, &hung);
		check_outage(false, seed, &refused);
	}
	tally_check(&hung, 0.9, 0.8, 0.02);
	tally_check(&refused, 0.95, 0.95, 0.02);
}

/* Up and down every 300 s for an hour, then a while. */
static struct figures after_flapping(uint64_t seed)
{
	struct api_shape shape = shape_of("smooth", 0.3);
	struct drive d;
	struct figures f;

	for (int i = 0; i < 12; i++)
		add_phase(&shape, i * 300e3, i % 2 ? 0 : 50, 1);
	add_phase(&shape, 12 * 300e3, 50, 1);
	drive_open(&d, &shape, wide, seed);
	(void)drive_until(&d, 12 * 300e3 + 3000e3);
	f = drive_until(&d, 12 * 300e3 + 5000e3);
	show("after flapping", 0.3, seed, f);
	drive_close(&d);
	return f;
}

/* One call in twenty fails, whatever the load. */
static struct figures while_some_fail(uint64_t seed)
{
	struct api_shape shape = shape_of("smooth", 0.3);
	struct drive d;
	struct figures f;

	shape.bad_ratio = 0.05;
	add_phase(&shape, 0, 50, 1);
	drive_open(&d, &shape, wide, seed);
	(void)drive_until(&d, 6000e3);
	f = drive_until(&d, 12000e3);
	show("one in twenty fails", 0.3, seed, f);
	drive_close(&d);
	return f;
}

/* Afterwards it is as if nothing had been. */
static void test_flapping(void **state)
{
	struct tally t = { .what = "after flapping" };

	(void)state;
	for (uint64_t seed = seed_base(); seed < seed_base() + SEEDS; seed++)
		tally_add(&t, after_flapping(seed));
	tally_check(&t, 0.82, 0.45, 0.02);
}

/* Seeds with which it once stayed where it was for ever: at the least value, because its base was slow as far as could
 * be told and the next trial was to be downward; and at a fifth of what the API bears, because calls that had failed
 * were taken for slow ones, and so the rest of them for fast. */
static void test_never_stuck(void **state)
{
	static const uint64_t flapping[] = { 558 }, failing[] = { 554, 126, 326, 416 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(flapping); i++)
		assert_true(after_flapping(flapping[i]).goodput > 0.6);
	for (size_t i = 0; i < ARRAY_SIZE(failing); i++)
		assert_true(while_some_fail(failing[i]).goodput > 0.85);
}

/* That is no reason to let fewer through. */
static void test_failures_of_its_own(void **state)
{
	struct tally t = { .what = "one in twenty fails" };

	(void)state;
	for (uint64_t seed = seed_base(); seed < seed_base() + SEEDS; seed++)
		tally_add(&t, while_some_fail(seed));
	tally_check(&t, 0.93, 0.85, 0.06);
}

static void test_latency_target(void **state)
{
	(void)state;
	for (uint64_t seed = seed_base(); seed < seed_base() + SEEDS; seed++) {
		struct adaptive_settings set = { .min = 1, .max = 200, .latency_target_ms = 25000 };
		struct api_shape shape = shape_of("shared", seed % 2 ? 0.3 : 1);
		struct drive d;
		struct figures f;

		shape.timeout_ms = 0;
		add_phase(&shape, 0, 50, 1);
		drive_open(&d, &shape, set, seed);
		(void)drive_until(&d, 3000e3);
		f = drive_until(&d, 12000e3);
		show("a target of 2.5 times the work", shape.cv, seed, f);
		/* 125 calls at once take 25 s each. */
		assert_true(f.mean_value > 105 && f.mean_value < 150);
		drive_close(&d);
	}
}

/* The clock is set back by a day, and forward: what was learned still moves. */
static void test_clock_jumps(void **state)
{
	static const double off_ms[] = { -86400e3, 30 * 86400e3, -86400e3 };
	struct api_shape shape = shape_of("hard", 0.3);
	struct drive d;
	struct figures f;

	(void)state;
	add_phase(&shape, 0, 50, 1);
	add_phase(&shape, 3500e3, 80, 1);
	drive_open(&d, &shape, wide, seed_base());
	for (size_t i = 0; i < ARRAY_SIZE(off_ms); i++) {
		(void)drive_until(&d, (double)(i + 1) * 1000e3);
		d.clock_off_ms += off_ms[i];
	}
	(void)drive_until(&d, 7000e3);
	f = drive_until(&d, 9000e3);
	show("after clock jumps", 0.3, seed_base(), f);
	assert_true(f.goodput > 0.95 && f.failed <= 0.02);
	drive_close(&d);
}

/* Calls that the limit held nobody back for prove nothing, however well they do. */
static void test_never_raised_without_a_backlog(void **state)
{
	struct api_shape shape = shape_of("hard", 0.3);
	struct drive d;
	int32_t value;

	(void)state;
	add_phase(&shape, 0, 50, 1);
	drive_open(&d, &shape, wide, seed_base());
	d.spare = true;
	value = adapt_value(&d.state, &d.set);
	while (d.now_ms < 2000e3) {
		drive_step(&d, 2000e3);
		assert_true(adapt_value(&d.state, &d.set) <= value);
		value = adapt_value(&d.state, &d.set);
	}
	d.spare = false;
	(void)drive_until(&d, 4000e3);
	assert_true(adapt_value(&d.state, &d.set) > value);
	drive_close(&d);
}

/* ---- the models themselves ---- */

struct fixed {
	double goodput;
	struct api_counts counts;
};

static struct fixed hold_fixed(const struct api_shape *shape, uint64_t seed, size_t calls_at_once, double until_ms)
{
	struct api_model *api = api_model_new(shape, seed);
	struct fixed f;
	double now_ms = 0;
	uint64_t call = 0;

	while (now_ms < until_ms) {
		struct api_ended e;

		while (api_model_counts(api).under_way < calls_at_once)
			api_model_start(api, now_ms, call++);
		now_ms = fmin(api_model_next_ms(api), until_ms);
		(void)api_model_take(api, now_ms, &e);
	}
	f.counts = api_model_counts(api);
	f.goodput = (double)f.counts.succeeded / api_model_best(api, 0, until_ms);
	api_model_free(api);
	return f;
}

static void test_models_do_what_they_say(void **state)
{
	struct api_shape hard = shape_of("hard", 0.3), shared = shape_of("shared", 0.3),
			 smooth = shape_of("smooth", 0.3);
	struct fixed f, again;

	(void)state;
	add_phase(&hard, 0, 50, 1);
	add_phase(&shared, 0, 50, 1);
	add_phase(&smooth, 0, 50, 1);
	assert_true(hold_fixed(&hard, seed_base(), 50, 2000e3).goodput > 0.97);
	assert_int_equal(hold_fixed(&hard, seed_base(), 50, 2000e3).counts.refused, 0);
	assert_true(hold_fixed(&hard, seed_base(), 51, 2000e3).counts.refused > 1000);
	assert_true(hold_fixed(&shared, seed_base(), 50, 2000e3).goodput > 0.97);
	assert_true(hold_fixed(&shared, seed_base(), 100, 2000e3).goodput > 0.97);
	assert_true(hold_fixed(&shared, seed_base(), 25, 2000e3).goodput < 0.55);
	/* Pushed, it collapses. */
	assert_true(hold_fixed(&shared, seed_base(), 600, 2000e3).goodput < 0.2);
	assert_true(hold_fixed(&smooth, seed_base(), 50, 2000e3).goodput > 0.97);
	assert_true(hold_fixed(&smooth, seed_base(), 150, 2000e3).goodput < 0.2);
	f = hold_fixed(&smooth, seed_base(), 80, 2000e3);
	again = hold_fixed(&smooth, seed_base(), 80, 2000e3);
	assert_memory_equal(&f, &again, sizeof(f));
	assert_int_equal(f.counts.started,
			 f.counts.succeeded + f.counts.refused + f.counts.wasted + f.counts.under_way);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_models_do_what_they_say),
		cmocka_unit_test(test_never_raised_without_a_backlog),
		cmocka_unit_test(test_clock_jumps),
		cmocka_unit_test(test_latency_target),
		cmocka_unit_test(test_failures_of_its_own),
		cmocka_unit_test(test_follows_the_capacity),
		cmocka_unit_test(test_brown_out),
		cmocka_unit_test(test_outage),
		cmocka_unit_test(test_flapping),
		cmocka_unit_test(test_never_stuck),
		cmocka_unit_test(test_steady_without_noise),
		cmocka_unit_test(test_steady_with_some_noise),
		cmocka_unit_test(test_steady_with_much_noise),
	};

	fprintf(stderr, "ADAPT_SEED=%llu\n", (unsigned long long)seed_base());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
