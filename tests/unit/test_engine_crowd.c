/* Crowds, and everything that goes wrong with an API, its workers and the broker's machine at the same time: the real
 * engine and its limits against models of APIs (tests/harness/api_model.h), in simulated time. After every batch:
 *
 *   1. as many calls are under way as there are running jobs, and never more than the limit is set to
 *   2. where a lease was granted, never more than the limit lets be at once at that moment
 *   3. in no stretch of time does the rate let more begin than burst + rate × time
 *   4. no job is left behind: where a lease waits for its queue and its limit has room, it would have been given
 *   5. a group of one waits for no more than a turn or two of the others
 *
 * and when the API is well again everything is done in the end, whatever had been.
 *
 * What is drawn: capacity steps, brown-outs, a dead API that refuses or hangs, one that flaps, Retry-After of 0, 1 and
 * for ever, the clock set forward and back, workers killed, the broker restarted, commits that fail.
 *
 * CROWD_RUNS=… runs so many (6 unless told); SEED=… plays them again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/test_engine_crowd.h"

#define LAUNCH_MS INT64_C(1700000000000) /* the calendar's time at the moment 0, while the clock is right */
#define CHAOS_MS  900e3			 /* it goes on for so long, then the APIs are well */
#define LATEST_MS (CHAOS_MS + 86400e3)	 /* by when all must be done */
#define WORKERS	  5
#define GROUPS	  5
#define CALLS_MAX 65536
#define LEASE_MS  60000

/* A budget, and what its calls go to. */
struct flow {
	struct api_model *api;
	bool lies;
	int64_t bound;	    /* that it is set to; −1: none */
	double rate, burst; /* rate −1: none */
	double tokens;	    /* of the model's own bucket */
};

struct worker {
	uint64_t session;
	bool asks;
	bool half; /* knows of the first two queues only */
	size_t held, slots;
	struct command cmd;
	struct msg_job_lease lease;
	struct slice names[QUEUES];
};

struct call {
	struct msg_leased_job job; /* id and lease */
	int worker;		   /* −1: it was killed meanwhile */
	int api;
};

/* What a batch granted. */
struct grant {
	int worker;
	struct uuid id;
	struct token lease;
	int queue;
};

static struct {
	struct rig rig;
	struct flow flows[APIS];
	struct worker workers[WORKERS];
	struct call *calls;
	size_t calls_count;
	struct grant grants[4096];
	size_t grants_count;
	double now_ms;		  /* what time it really is */
	int64_t clock_off_ms;	  /* the broker's clock is wrong by this */
	int64_t clock_last_ms;	  /* of the last batch */
	double come_ms, chaos_ms; /* the next put; the next mishap */
	size_t put;
	uint64_t sessions;
	bool batch_failed;
	int lone_after; /* grants of queue a since the group of one came; −1: it waits for nothing */
	struct uuid lone;
} sim;

/* What all runs together have seen: none may be in vain. */
static struct {
	long grants, kills, restarts, jumps, failed_commits, lost, throttled, timeouts, opened, held, full, paced;
} seen;

/* ---- the invariants ---- */

static bool somebody_asks_for(size_t queue)
{
	for (int i = 0; i < WORKERS; i++)
		if (sim.workers[i].asks && (queue < 2 || !sim.workers[i].half))
			return true;
	return false;
}

static void check_nobody_is_left_behind(const struct look *look)
{
	for (size_t q = 0; q < QUEUES; q++)
		if (look->ready[q] > 0 && look->room[api_of_queue[q]] > 0 && somebody_asks_for(q))
			fail_msg("at %.0f ms: %lld jobs of %s are ready and %lld may begin, a lease waits", sim.now_ms,
				 (long long)look->ready[q], queue_names[q], (long long)look->room[api_of_queue[q]]);
}

static void check_bounds(const struct look *look, size_t i, bool granted)
{
	const struct msg_limit *l = rig_limit(&sim.rig, limit_names[i]);
	int64_t n = in_flight(look, i);

	assert_int_equal(sim.rig.code, 0);
	assert_int_equal(l->now.in_flight, n);
	if (sim.flows[i].bound >= 0 && n > sim.flows[i].bound)
		fail_msg("at %.0f ms: %lld under way, %s is set to %lld", sim.now_ms, (long long)n, limit_names[i],
			 (long long)sim.flows[i].bound);
	if (granted && l->now.has_concurrency && n > l->now.concurrency)
		fail_msg("at %.0f ms: granted, and %lld of %lld under way", sim.now_ms, (long long)n,
			 (long long)l->now.concurrency);
	seen.held += l->now.state == LIMIT_HELD;
	seen.full += l->now.state == LIMIT_FULL;
	seen.paced += l->now.state == LIMIT_PACED;
}

/* A bucket is the shortest way to say it of every stretch of time at once. */
static void check_rate(struct flow *f, size_t granted)
{
	f->tokens -= (double)granted;
	if (f->rate > 0 && f->tokens < -0.01)
		fail_msg("at %.0f ms: %.2f calls more than burst and rate let begin", sim.now_ms, -f->tokens);
}

/* Time passes for the rates: what the clock shows more than before. Set back it gives nothing. */
static void refill(void)
{
	double passed_ms = (double)(sim.rig.now_ms - sim.clock_last_ms);

	for (size_t i = 0; i < LIMITS; i++)
		sim.flows[i].tokens =
			fmin(sim.flows[i].tokens + fmax(passed_ms, 0) * sim.flows[i].rate / 1000, sim.flows[i].burst);
	sim.clock_last_ms = sim.rig.now_ms;
}

static void check_after_batch(void)
{
	struct look look = look_at_store(&sim.rig);
	size_t granted[APIS] = { 0 };

	for (size_t i = 0; i < sim.grants_count; i++)
		granted[api_of_queue[sim.grants[i].queue]]++;
	for (size_t i = 0; i < LIMITS; i++) {
		check_bounds(&look, i, granted[i] > 0);
		check_rate(&sim.flows[i], granted[i]);
	}
	/* What a failed one would have given is for the next to give, which must come at once; see step(). */
	if (!sim.batch_failed)
		check_nobody_is_left_behind(&look);
}

/* ---- batches ---- */

static int worker_of(const struct command *cmd)
{
	for (int i = 0; i < WORKERS; i++)
		if (cmd == &sim.workers[i].cmd)
			return i;
	return -1;
}

static void told(struct command *cmd, const void *result)
{
	const struct msg_job_lease_result *lease = result;
	int worker = worker_of(cmd);

	if (worker < 0)
		return;
	sim.workers[worker].asks = false;
	for (size_t i = 0; i < lease->jobs_count; i++) {
		struct grant *g = &sim.grants[sim.grants_count++];

		assert_true(sim.grants_count <= ARRAY_SIZE(sim.grants));
		*g = (struct grant){ .worker = worker, .id = lease->jobs[i].id, .lease = lease->jobs[i].lease };
		while (!slice_is(lease->jobs[i].queue, queue_names[g->queue]))
			g->queue++;
	}
}

static void batch_begins(bool may_fail)
{
	sim.rig.now_ms = LAUNCH_MS + (int64_t)floor(sim.now_ms) + sim.clock_off_ms;
	sim.grants_count = 0;
	refill();
	sim.batch_failed = sim.rig.take_back = may_fail && sim.now_ms < CHAOS_MS && draw_once_in(60);
	seen.failed_commits += sim.batch_failed;
}

static bool was_begun(const struct uuid *id)
{
	for (size_t i = 0; i < sim.calls_count; i++)
		if (uuid_equal(&sim.calls[i].job.id, id))
			return true;
	return false;
}

/* The group of one: how many of the others went before it. One that was begun before and came back has its turn behind
 * it. */
static void watch_lone(const struct grant *g)
{
	if (sim.lone_after < 0 || g->queue != 0)
		return;
	if (uuid_equal(&g->id, &sim.lone))
		sim.lone_after = -1;
	else if (!was_begun(&g->id) && ++sim.lone_after > 2 * GROUPS)
		fail_msg("at %.0f ms: a group of one was passed by %d jobs of the others", sim.now_ms, sim.lone_after);
}

static void start(const struct grant *g)
{
	struct call *c = &sim.calls[sim.calls_count];

	assert_true(sim.calls_count < CALLS_MAX);
	watch_lone(g);
	*c = (struct call){ .worker = g->worker, .api = api_of_queue[g->queue] };
	c->job.id = g->id;
	c->job.lease = g->lease;
	sim.workers[g->worker].held++;
	api_model_start(sim.flows[c->api].api, sim.now_ms, sim.calls_count++);
	seen.grants++;
}

static void batch_ended(void)
{
	if (sim.batch_failed)
		sim.grants_count = 0;
	check_after_batch();
	for (size_t i = 0; i < sim.grants_count; i++)
		start(&sim.grants[i]);
	sim.grants_count = 0;
}

/* Until the disk has it; the answer's code. */
static int run(enum command_kind kind, const void *params)
{
	int code;

	do {
		batch_begins(true);
		rig_run(&sim.rig, kind, params);
		code = sim.rig.code;
		batch_ended();
	} while (sim.batch_failed);
	return code;
}

static void let_time_pass(void)
{
	batch_begins(true);
	rig_pass(&sim.rig, 0);
	batch_ended();
}

/* ---- workers ---- */

static void ask(int i)
{
	struct worker *w = &sim.workers[i];

	if (w->asks || w->held >= w->slots)
		return;
	for (size_t q = 0; q < QUEUES; q++)
		w->names[q] = slice_str(queue_names[q]);
	w->lease = (struct msg_job_lease){ .has_queues = true,
					   .queues = w->names,
					   .queues_count = w->half ? 2 : QUEUES,
					   .has_max = true,
					   .max = (int64_t)(w->slots - w->held),
					   .has_lease_ms = true,
					   .lease_ms = LEASE_MS,
					   .has_wait_ms = true,
					   .wait_ms = draw(1, 60000) };
	w->cmd.session = w->session;
	w->asks = true;
	batch_begins(true);
	rig_submit(&sim.rig, &w->cmd, COMMAND_LEASE, &w->lease);
	w->asks = sim.rig.parked && w->asks;
	batch_ended();
}

/* All that want to; one whose commit has failed, or who got jobs and has slots left, asks again. */
static void all_ask(void)
{
	for (int i = 0; i < WORKERS; i++)
		ask(i);
}

static int64_t lie(const struct flow *f)
{
	static const int64_t lies[] = { 0, 1, 1, 700, 5000, INT64_C(3153600000000) };

	return f->lies && sim.now_ms < CHAOS_MS ? lies[draw(0, draw_once_in(10) ? 5 : 4)] : -1;
}

static int tell_failure(const struct call *c, enum failure_kind kind)
{
	int64_t retry_after_ms = kind == FAIL_THROTTLED ? lie(&sim.flows[c->api]) : -1;
	struct msg_job_fail fail = {
		.has_id = true,
		.id = c->job.id,
		.has_lease = true,
		.lease = c->job.lease,
		.has_kind = true,
		.kind = (int)kind,
		.has_message = true,
		.message = slice_str("it broke"),
		.has_retry_after_ms = retry_after_ms >= 0,
		.retry_after_ms = retry_after_ms,
	};

	seen.throttled += kind == FAIL_THROTTLED;
	seen.timeouts += kind == FAIL_TIMEOUT;
	return run(COMMAND_FAIL, &fail);
}

static void call_ended(const struct api_ended *e)
{
	struct call *c = &sim.calls[e->call];
	struct complete_item item = { .id = c->job.id, .lease = c->job.lease };
	struct command_complete complete = { .items = &item, .count = 1 };
	int code;

	if (c->worker < 0)
		return;
	sim.workers[c->worker].held--;
	code = e->succeeded ? run(COMMAND_COMPLETE, &complete) : tell_failure(c, e->kind);
	assert_true(code == 0 || code == ERR_LEASE_LOST);
	seen.lost += code == ERR_LEASE_LOST;
}

/* ---- what happens ---- */

static void put(void)
{
	size_t q = (size_t)draw(0, QUEUES - 1);
	char group[8];
	size_t count = (size_t)draw(1, 25);

	snprintf(group, sizeof(group), "g%d", (int)draw(1, GROUPS));
	batch_begins(false);
	if (sim.lone_after < 0 && draw_once_in(8)) {
		sim.lone = rig_put_many(&sim.rig, "a", "lone", 1);
		sim.lone_after = 0;
		count = 1;
	} else {
		rig_put_many(&sim.rig, queue_names[q], group, count);
	}
	sim.put += count;
	batch_ended();
	sim.come_ms = sim.now_ms + (double)draw(1, 30000);
}

static void kill_worker(void)
{
	int i = (int)draw(0, WORKERS - 1);
	struct command forget = { .session = sim.workers[i].session };

	seen.kills++;
	for (size_t n = 0; n < sim.calls_count; n++)
		if (sim.calls[n].worker == i)
			sim.calls[n].worker = -1;
	batch_begins(false);
	rig_submit(&sim.rig, &forget, COMMAND_FORGET, NULL);
	batch_ended();
	assert_false(sim.workers[i].asks);
	sim.workers[i].session = ++sim.sessions;
	sim.workers[i].held = 0;
}

static void restart_broker(void)
{
	seen.restarts++;
	for (int i = 0; i < WORKERS; i++) {
		sim.workers[i].asks = false;
		sim.workers[i].session = ++sim.sessions;
	}
	rig_restart(&sim.rig);
	let_time_pass();
}

static void set_clock(void)
{
	seen.jumps++;
	sim.clock_off_ms += draw_once_in(2) ? draw_size(3600000) : -draw_size(3600000);
	let_time_pass();
}

static void mishap(void)
{
	switch (draw(0, 3)) {
	case 0:
		restart_broker();
		break;
	case 1:
		set_clock();
		break;
	default:
		kill_worker();
	}
	sim.chaos_ms = sim.now_ms + (double)draw(1, 60000);
}

/* ---- time ---- */

static double next_of_engine(void)
{
	int64_t next_ms = engine_next_ms(sim.rig.engine);

	return next_ms == INT64_MAX ? INFINITY : fmax((double)(next_ms - LAUNCH_MS - sim.clock_off_ms), sim.now_ms);
}

static void calls_end(void)
{
	struct api_ended e;

	for (int i = 0; i < APIS; i++)
		while (api_model_take(sim.flows[i].api, sim.now_ms, &e))
			call_ended(&e);
}

static void step(void)
{
	double engine_ms = next_of_engine(), next_ms = engine_ms;

	for (int i = 0; i < APIS; i++)
		next_ms = fmin(next_ms, api_model_next_ms(sim.flows[i].api));
	if (sim.now_ms < CHAOS_MS)
		next_ms = fmin(next_ms, fmin(sim.come_ms, sim.chaos_ms));
	if (next_ms == INFINITY)
		fail_msg("at %.0f ms: somebody waits for nothing", sim.now_ms);
	sim.now_ms = fmax(next_ms, sim.now_ms);
	sim.rig.now_ms = LAUNCH_MS + (int64_t)floor(sim.now_ms) + sim.clock_off_ms;
	if (sim.rig.now_ms < engine_next_ms(sim.rig.engine)) {
		/* It would be woken by nobody. */
		struct look look = look_at_store(&sim.rig);

		check_nobody_is_left_behind(&look);
	} else {
		let_time_pass();
	}
	calls_end();
	if (sim.now_ms < CHAOS_MS && sim.come_ms <= sim.now_ms)
		put();
	if (sim.now_ms < CHAOS_MS && sim.chaos_ms <= sim.now_ms)
		mishap();
	all_ask();
}

/* ---- a run ---- */

static void draw_limit(size_t i)
{
	struct flow *f = &sim.flows[i];
	struct msg_limit_set set = { 0 };

	f->bound = -1;
	f->rate = -1;
	f->burst = 0;
	set.has_adaptive = draw_once_in(2);
	set.has_concurrency = !set.has_adaptive || draw_once_in(3);
	set.concurrency = f->bound = draw(4, 30);
	if (!set.has_concurrency)
		f->bound = -1;
	if (set.has_adaptive) {
		set.adaptive = (struct msg_limit_adaptive){ .has_min = true, .has_max = true };
		set.adaptive.min = draw(1, 4);
		set.adaptive.max = draw(5, 40);
		if (f->bound < 0 || set.adaptive.max < f->bound)
			f->bound = set.adaptive.max;
	}
	set.has_breaker = draw_once_in(2);
	set.breaker = (struct msg_limit_breaker){ .has_open_ms = true, .open_ms = draw(100, 40000) };
	set.has_rate = set.has_burst = draw_once_in(2);
	if (set.has_rate) {
		set.rate = f->rate = (double)draw(5, 100) / 10;
		set.burst = f->burst = (double)draw(1, 20);
	}
	f->tokens = f->burst;
	rig_limit_set(&sim.rig, limit_names[i], set);
	assert_int_equal(sim.rig.code, 0);
}

static void run_opens(void)
{
	struct msg_queue_set patient = { .has_max_attempts = true, .max_attempts = 1000, .has_backoff = true };

	memset(&sim, 0, sizeof(sim));
	rig_open(&sim.rig);
	sim.rig.unchecked = true;
	sim.rig.now_ms = sim.clock_last_ms = LAUNCH_MS;
	sim.lone_after = -1;
	sim.calls = calloc(CALLS_MAX, sizeof(*sim.calls));
	assert_non_null(sim.calls);
	patient.backoff = (struct msg_backoff){ .has_max_ms = true, .max_ms = 20000 };
	for (size_t i = 0; i < LIMITS; i++)
		draw_limit(i);
	for (size_t q = 0; q < QUEUES; q++) {
		rig_queue_set(&sim.rig, queue_names[q], patient);
		assert_int_equal(sim.rig.code, 0);
		if (api_of_queue[q] != NONE)
			rig_queue_limit(&sim.rig, queue_names[q], limit_names[api_of_queue[q]]);
	}
	for (int i = 0; i < APIS - 1; i++)
		sim.flows[i].api = draw_api(CHAOS_MS, &sim.flows[i].lies);
	sim.flows[NONE].api = api_model_new(
		&(struct api_shape){ .work_ms = 1000, .cv = 0.3, .phases = { { 0, 1000, 1 } }, .phase_count = 1 }, 1);
	for (int i = 0; i < WORKERS; i++)
		sim.workers[i] = (struct worker){ .session = ++sim.sessions,
						  .half = i > 0 && draw_once_in(2),
						  .slots = (size_t)draw(1, 30) };
	sim.rig.told = told;
}

static void run_closes(void)
{
	struct look look = look_at_store(&sim.rig);

	assert_int_equal(look.unfinished, 0);
	/* Attempts there were enough. */
	assert_int_equal(look.dead, 0);
	for (size_t i = 0; i < LIMITS; i++) {
		assert_int_equal(rig_limit(&sim.rig, limit_names[i])->now.in_flight, 0);
		seen.opened += look.limits[i].breaker.opened_total;
	}
	rig_check(&sim.rig);
	for (int i = 0; i < APIS; i++)
		api_model_free(sim.flows[i].api);
	free(sim.calls);
	rig_close(&sim.rig);
}

static void crowds_through_everything(void **state)
{
	const char *given = getenv("CROWD_RUNS");
	long runs = given ? strtol(given, NULL, 10) : 6;

	(void)state;
	draw_begin();
	for (long i = 0; i < runs; i++) {
		struct look look;

		run_opens();
		do {
			step();
			look = look_at_store(&sim.rig);
			if (sim.now_ms > LATEST_MS)
				fail_msg("run %ld: %lld jobs are not done", i, (long long)look.unfinished);
		} while (sim.now_ms < CHAOS_MS || look.unfinished > 0);
		run_closes();
	}
	print_message(
		"%ld runs: %ld leases, %ld lost; throttled %ld, timed out %ld, breakers opened %ld; seen held %ld, "
		"full %ld, paced %ld; %ld workers killed, %ld restarts, %ld clock jumps, %ld failed commits\n",
		runs, seen.grants, seen.lost, seen.throttled, seen.timeouts, seen.opened, seen.held, seen.full,
		seen.paced, seen.kills, seen.restarts, seen.jumps, seen.failed_commits);
	assert_true(seen.grants > 0 && seen.full > 0 && seen.restarts > 0 && seen.jumps > 0 && seen.kills > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(crowds_through_everything),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
