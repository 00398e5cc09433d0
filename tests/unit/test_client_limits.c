/* Limits, and what queues say of flow, over the calls of the library: what is asked for arrives at the broker, what it
 * answers arrives here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/clean.h"
#include "tests/harness/client_play.h"

/* There, not there, or there as nil. */
#define ABSENT(b, m, params, field) EXPECT(b, !(params)->has_##field && !MESSAGE_WAS_NIL(m, params, field))
#define NIL(b, m, params, field)    EXPECT(b, !(params)->has_##field && MESSAGE_WAS_NIL(m, params, field))

/* What a broker sends and the library hands on is the same number, so there is no rounding to allow for. */
#define SAME(a, b) assert_float_equal(a, b, 1e-12)

/* ---- looking ---- */

static void give_parts(struct msg_limit *l)
{
	l->has_concurrency = l->has_rate = l->has_burst = l->has_adaptive = l->has_breaker = true;
	l->concurrency = 50;
	l->rate = 12.5;
	l->burst = 20;
	l->adaptive = (struct msg_limit_adaptive){ .has_min = true,
						   .min = 4,
						   .has_max = true,
						   .max = 200,
						   .has_latency_target_ms = true,
						   .latency_target_ms = 2000 };
	l->breaker = (struct msg_limit_breaker){ .has_window_ms = true,
						 .window_ms = 30000,
						 .has_min_calls = true,
						 .min_calls = 10,
						 .has_failure_ratio = true,
						 .failure_ratio = 0.25,
						 .has_open_ms = true,
						 .open_ms = 15000 };
}

static void give_schedule(struct msg_limit *l, struct msg_limit_spell spells[2])
{
	spells[0] = (struct msg_limit_spell){ .has_from_at_ms = true,
					      .from_at_ms = 1000,
					      .has_until_at_ms = true,
					      .until_at_ms = 2000,
					      .has_concurrency = true,
					      .concurrency = 7 };
	spells[1] = (struct msg_limit_spell){ .has_from_at_ms = true,
					      .from_at_ms = 3000,
					      .has_until_at_ms = true,
					      .until_at_ms = 4000,
					      .has_rate = true,
					      .rate = 1.5,
					      .has_burst = true,
					      .burst = 3 };
	l->schedule = spells;
	l->schedule_count = 2;
}

/* A limit with everything that one can have. */
static struct msg_limit whole(struct msg_limit_spell spells[2], struct slice queues[2])
{
	struct msg_limit l = fake_limit("api");

	give_parts(&l);
	give_schedule(&l, spells);
	queues[0] = slice_str("a");
	queues[1] = slice_str("b");
	l.queues = queues;
	l.queues_count = 2;
	l.now.state = LIMIT_BROKEN;
	l.now.in_flight = 11;
	l.now.waiting = 12;
	l.now.has_concurrency = l.now.has_rate = l.now.has_breaker = l.now.has_held_until_at_ms = true;
	l.now.concurrency = 13;
	l.now.rate = 14.5;
	l.now.breaker = BREAKER_OPEN;
	l.now.held_until_at_ms = 15;
	l.now.started = 16;
	l.now.succeeded = 17;
	l.now.failed = 18;
	l.now.throttled = 19;
	l.now.opened = 20;
	return l;
}

static void look_script(struct fake_broker *b, void *arg)
{
	struct msg_limit limits[2] = { fake_limit("bare"), fake_limit("other") };
	struct msg_limit_list_result list = { .has_limits = true, .limits = limits, .limits_count = 2 };
	struct msg_limit_spell spells[2];
	struct slice queues[2];
	struct msg_limit l = whole(spells, queues);
	struct msg_empty nothing = { 0 };
	struct fake_request r;

	(void)arg;
	if (fake_greet(b, 100) && fake_next(b, METHOD_limit_list, &r) && fake_reply(b, &r, &list) &&
	    fake_next(b, METHOD_limit_get, &r) && IS(b, r.limit_name->limit, "api") && fake_reply(b, &r, &l) &&
	    fake_next(b, METHOD_limit_delete, &r) && IS(b, r.limit_name->limit, "api") && fake_reply(b, &r, &nothing) &&
	    fake_next(b, METHOD_limit_delete, &r))
		fake_refuse(b, &r, ERR_CONFLICT, "limit", "queue a uses it");
}

static void look_at_bare(const struct raincheck_limit *l)
{
	assert_string_equal(l->limit, "bare");
	assert_int_equal(l->concurrency, 0);
	SAME(l->rate, 0);
	SAME(l->burst, 0);
	assert_null(l->adaptive);
	assert_null(l->breaker);
	assert_int_equal(l->schedule_count, 0);
	assert_int_equal(l->queue_count, 0);
	assert_int_equal(l->now.state, RAINCHECK_LIMIT_FREE);
	assert_int_equal(l->now.concurrency, 0);
	SAME(l->now.rate, 0);
	assert_false(l->now.has_breaker);
	assert_int_equal(l->now.held_until_at_ms, 0);
}

static void look_at_settings(const struct raincheck_limit *l)
{
	assert_string_equal(l->limit, "api");
	assert_int_equal(l->concurrency, 50);
	SAME(l->rate, 12.5);
	SAME(l->burst, 20);
	assert_true(l->adaptive->min == 4 && l->adaptive->max == 200 && l->adaptive->latency_target_ms == 2000);
	assert_true(l->breaker->window_ms == 30000 && l->breaker->min_calls == 10 && l->breaker->open_ms == 15000);
	SAME(l->breaker->failure_ratio, 0.25);
	assert_int_equal(l->schedule_count, 2);
	assert_true(l->schedule[0].from_at_ms == 1000 && l->schedule[0].until_at_ms == 2000);
	assert_int_equal(l->schedule[0].concurrency, 7);
	SAME(l->schedule[0].rate, 0);
	assert_int_equal(l->schedule[1].concurrency, 0);
	SAME(l->schedule[1].rate, 1.5);
	SAME(l->schedule[1].burst, 3);
	assert_int_equal(l->queue_count, 2);
	assert_string_equal(l->queues[0], "a");
	assert_string_equal(l->queues[1], "b");
}

static void look_at_now(const struct raincheck_limit_now *n)
{
	assert_int_equal(n->state, RAINCHECK_LIMIT_BROKEN);
	assert_int_equal(n->in_flight, 11);
	assert_int_equal(n->waiting, 12);
	assert_int_equal(n->concurrency, 13);
	SAME(n->rate, 14.5);
	assert_true(n->has_breaker && n->breaker == RAINCHECK_BREAKER_OPEN);
	assert_int_equal(n->held_until_at_ms, 15);
	assert_true(n->started == 16 && n->succeeded == 17 && n->failed == 18 && n->throttled == 19);
	assert_int_equal(n->opened, 20);
}

static void look_call(struct raincheck *rc)
{
	struct raincheck_limit_list *list = NULL;
	struct raincheck_limit *l = NULL;

	assert_int_equal(raincheck_limit_list(rc, &list), 0);
	assert_int_equal(list->limit_count, 2);
	look_at_bare(&list->limits[0]);
	assert_string_equal(list->limits[1].limit, "other");
	raincheck_free(list);
	assert_int_equal(raincheck_limit_get(rc, NULL, &l), RAINCHECK_EBAD_REQUEST);
	assert_string_equal(raincheck_last_error(rc)->field, "limit");
	assert_int_equal(raincheck_limit_get(rc, "api", &l), 0);
	look_at_settings(l);
	look_at_now(&l->now);
	raincheck_free(l);
	assert_int_equal(raincheck_limit_delete(rc, NULL), RAINCHECK_EBAD_REQUEST);
	assert_int_equal(raincheck_limit_delete(rc, "api"), 0);
	assert_int_equal(raincheck_limit_delete(rc, "api"), RAINCHECK_ECONFLICT);
	assert_string_equal(raincheck_last_error(rc)->message, "queue a uses it");
}

static void test_limits_as_they_are(void **state)
{
	(void)state;
	client_play(look_script, look_call);
}

static void breaking_script(struct fake_broker *b, void *arg)
{
	struct msg_limit l = fake_limit("api");
	struct fake_request r;

	(void)arg;
	if (!fake_greet(b, 100) || !fake_next(b, METHOD_limit_get, &r))
		return;
	fake_hang_up(b);
	if (fake_greet(b, 100) && fake_next(b, METHOD_limit_get, &r))
		fake_reply(b, &r, &l);
}

static void breaking_call(struct raincheck *rc)
{
	struct raincheck_limit *l = NULL;

	assert_int_equal(raincheck_limit_get(rc, "api", &l), 0);
	raincheck_free(l);
}

static void test_looking_is_tried_again_over_a_new_connection(void **state)
{
	(void)state;
	client_play(breaking_script, breaking_call);
}

/* ---- setting ---- */

static bool given_step(struct fake_broker *b, const struct msg_limit *answer)
{
	const struct msg_limit_set *s;
	struct fake_request r;

	if (!fake_next(b, METHOD_limit_set, &r))
		return false;
	s = r.limit_set;
	return IS(b, s->limit, "api") && EXPECT(b, s->concurrency == 50 && s->rate > 0.49 && s->rate < 0.51) &&
	       NIL(b, limit_set, s, burst) && EXPECT(b, s->has_adaptive && s->adaptive.max == 200) &&
	       ABSENT(b, limit_adaptive, &s->adaptive, min) &&
	       NIL(b, limit_adaptive, &s->adaptive, latency_target_ms) &&
	       EXPECT(b, s->has_breaker && s->breaker.open_ms == 9000 && s->breaker.failure_ratio > 0.2) &&
	       NIL(b, limit_breaker, &s->breaker, window_ms) && ABSENT(b, limit_breaker, &s->breaker, min_calls) &&
	       EXPECT(b, s->schedule_count == 2 && s->schedule[0].concurrency == 7) &&
	       EXPECT(b, s->schedule[0].from_at_ms == 1000 && s->schedule[0].until_at_ms == 2000) &&
	       EXPECT(b, !s->schedule[0].has_rate && !s->schedule[0].has_burst) &&
	       EXPECT(b, !s->schedule[1].has_concurrency && s->schedule[1].rate > 1 && s->schedule[1].burst > 2) &&
	       fake_reply(b, &r, answer);
}

/* The parts are there, and nothing is said of what is in them. */
static bool parts_step(struct fake_broker *b, const struct msg_limit *answer)
{
	const struct msg_limit_set *s;
	struct fake_request r;

	if (!fake_next(b, METHOD_limit_set, &r))
		return false;
	s = r.limit_set;
	return EXPECT(b, s->has_adaptive && s->has_breaker) && ABSENT(b, limit_adaptive, &s->adaptive, min) &&
	       ABSENT(b, limit_adaptive, &s->adaptive, max) && ABSENT(b, limit_breaker, &s->breaker, open_ms) &&
	       ABSENT(b, limit_set, s, concurrency) && ABSENT(b, limit_set, s, rate) &&
	       ABSENT(b, limit_set, s, burst) && ABSENT(b, limit_set, s, schedule) && fake_reply(b, &r, answer);
}

static bool defaults_step(struct fake_broker *b, const struct msg_limit *answer)
{
	const struct msg_limit_set *s;
	struct fake_request r;

	if (!fake_next(b, METHOD_limit_set, &r))
		return false;
	s = r.limit_set;
	return NIL(b, limit_set, s, concurrency) && NIL(b, limit_set, s, rate) && ABSENT(b, limit_set, s, burst) &&
	       NIL(b, limit_set, s, adaptive) && NIL(b, limit_set, s, breaker) && NIL(b, limit_set, s, schedule) &&
	       fake_reply(b, &r, answer);
}

/* Single members go back to their defaults, which makes the part. */
static bool members_step(struct fake_broker *b, const struct msg_limit *answer)
{
	const struct msg_limit_set *s;
	struct fake_request r;

	if (!fake_next(b, METHOD_limit_set, &r))
		return false;
	s = r.limit_set;
	return EXPECT(b, s->has_adaptive && s->has_breaker) && NIL(b, limit_adaptive, &s->adaptive, min) &&
	       NIL(b, limit_adaptive, &s->adaptive, max) && NIL(b, limit_breaker, &s->breaker, min_calls) &&
	       NIL(b, limit_breaker, &s->breaker, failure_ratio) && NIL(b, limit_breaker, &s->breaker, open_ms) &&
	       fake_reply(b, &r, answer);
}

static void set_script(struct fake_broker *b, void *arg)
{
	struct msg_limit l = fake_limit("api");
	struct fake_request r;

	(void)arg;
	if (!fake_greet(b, 100) || !given_step(b, &l) || !parts_step(b, &l) || !defaults_step(b, &l) ||
	    !members_step(b, &l) || !fake_next(b, METHOD_limit_set, &r))
		return;
	if (ABSENT(b, limit_set, r.limit_set, adaptive) && ABSENT(b, limit_set, r.limit_set, breaker) &&
	    ABSENT(b, limit_set, r.limit_set, schedule) && ABSENT(b, limit_set, r.limit_set, concurrency))
		fake_refuse(b, &r, ERR_BAD_REQUEST, "adaptive.min", "is more than concurrency");
}

static const struct raincheck_limit_spell two_spells[] = {
	{ .from_at_ms = 1000, .until_at_ms = 2000, .concurrency = 7 },
	{ .from_at_ms = 3000, .until_at_ms = 4000, .rate = 1.5, .burst = 3 },
};

static void set_ok(struct raincheck *rc, const struct raincheck_limit_set *set)
{
	struct raincheck_limit *l = NULL;

	assert_int_equal(raincheck_limit_set(rc, set, &l), 0);
	assert_string_equal(l->limit, "api");
	raincheck_free(l);
}

static void set_call(struct raincheck *rc)
{
	struct raincheck_limit_set given = {
		.limit = "api",
		.concurrency = 50,
		.rate = 0.5,
		.adaptive = { .max = 200 },
		.breaker = { .failure_ratio = 0.25, .open_ms = 9000 },
		.schedule = two_spells,
		.schedule_count = 2,
		/* What is given and taken back is set. */
		.defaults = RAINCHECK_LIMIT_CONCURRENCY | RAINCHECK_LIMIT_BURST | RAINCHECK_LIMIT_ADAPTIVE |
			    RAINCHECK_LIMIT_ADAPTIVE_LATENCY_TARGET | RAINCHECK_LIMIT_BREAKER_WINDOW |
			    RAINCHECK_LIMIT_SCHEDULE,
	};
	struct raincheck_limit_set defaults = {
		.limit = "api",
		/* Of a part that goes, members cannot be taken back. */
		.defaults = RAINCHECK_LIMIT_CONCURRENCY | RAINCHECK_LIMIT_RATE | RAINCHECK_LIMIT_ADAPTIVE |
			    RAINCHECK_LIMIT_ADAPTIVE_MIN | RAINCHECK_LIMIT_BREAKER | RAINCHECK_LIMIT_BREAKER_OPEN |
			    RAINCHECK_LIMIT_SCHEDULE,
	};
	struct raincheck_limit_set members = {
		.limit = "api",
		.defaults = RAINCHECK_LIMIT_ADAPTIVE_MIN | RAINCHECK_LIMIT_ADAPTIVE_MAX |
			    RAINCHECK_LIMIT_BREAKER_MIN_CALLS | RAINCHECK_LIMIT_BREAKER_FAILURE_RATIO |
			    RAINCHECK_LIMIT_BREAKER_OPEN,
	};
	struct raincheck_limit *l = NULL;

	assert_int_equal(raincheck_limit_set(rc, &(struct raincheck_limit_set){ 0 }, &l), RAINCHECK_EBAD_REQUEST);
	set_ok(rc, &given);
	set_ok(rc, &(struct raincheck_limit_set){ .limit = "api", .has_adaptive = true, .has_breaker = true });
	set_ok(rc, &defaults);
	set_ok(rc, &members);
	assert_int_equal(raincheck_limit_set(rc, &(struct raincheck_limit_set){ .limit = "api" }, &l),
			 RAINCHECK_EBAD_REQUEST);
	assert_string_equal(raincheck_last_error(rc)->field, "adaptive.min");
}

static void test_limit_settings_are_given_kept_or_taken_back(void **state)
{
	(void)state;
	client_play(set_script, set_call);
}

/* What is wrong in the caller's own memory is refused here, the rest is the broker's to judge. */
static void negative_script(struct fake_broker *b, void *arg)
{
	struct fake_request r;

	(void)arg;
	if (fake_greet_and_ping(b, 100) && fake_any(b, &r))
		fake_wrong(b, "it was sent");
}

static void negative_call(struct raincheck *rc)
{
	struct raincheck_limit_spell many[RAINCHECK_MAX_SCHEDULE + 1] = { { .from_at_ms = 1 } };
	struct raincheck_group_weight weight = { "g", 0 };
	struct raincheck_ping_result *pong = NULL;
	struct raincheck_limit *l = NULL;
	struct raincheck_queue *q = NULL;

	assert_int_equal(raincheck_ping(rc, &pong), 0);
	raincheck_free(pong);
	assert_int_equal(raincheck_limit_set(rc,
					     &(struct raincheck_limit_set){ .limit = "api",
									    .schedule = many,
									    .schedule_count = ARRAY_SIZE(many) },
					     &l),
			 RAINCHECK_ETOO_LARGE);
	assert_string_equal(raincheck_last_error(rc)->field, "schedule");
	for (int64_t wrong = 0; wrong < 5000000000; wrong += 4294967297) {
		weight.weight = wrong;
		assert_int_equal(raincheck_queue_set(rc,
						     &(struct raincheck_queue_set){
							     .queue = "q", .weights = &weight, .weight_count = 1 },
						     &q),
				 RAINCHECK_EBAD_REQUEST);
		assert_string_equal(raincheck_last_error(rc)->field, "weights");
	}
	assert_int_equal(
		raincheck_queue_set(
			rc, &(struct raincheck_queue_set){ .queue = "q", .weights = &weight, .weight_count = 1001 },
			&q),
		RAINCHECK_ETOO_LARGE);
	assert_int_equal(raincheck_queue_set(rc,
					     &(struct raincheck_queue_set){ .queue = "q",
									    .has_admit = true,
									    .admit = (enum raincheck_admission)9 },
					     &q),
			 RAINCHECK_EBAD_REQUEST);
	assert_string_equal(raincheck_last_error(rc)->field, "admit");
}

static void test_what_cannot_be_sent_is_refused_here(void **state)
{
	(void)state;
	client_play(negative_script, negative_call);
}

/* ---- queues ---- */

static void queue_script(struct fake_broker *b, void *arg)
{
	struct group_weight weights[] = { { slice_str("free"), 1 }, { slice_str("vip"), 5 } };
	struct msg_queue q = fake_queue("q");
	const struct msg_queue_set *s;
	struct fake_request r;

	(void)arg;
	if (!fake_greet(b, 100) || !fake_next(b, METHOD_queue_set, &r))
		return;
	s = r.queue_set;
	q.has_limit = true;
	q.limit = slice_str("api");
	q.weight = 3;
	q.weights = weights;
	q.weights_count = 2;
	q.admit = ADMIT_DEADLINE;
	if (!IS(b, s->limit, "api") || !EXPECT(b, s->weight == 3 && s->weights_count == 1) ||
	    !IS(b, s->weights[0].group, "vip") || !EXPECT(b, s->weights[0].weight == 5) ||
	    !EXPECT(b, s->has_admit && s->admit == ADMIT_DEADLINE) || !fake_reply(b, &r, &q) ||
	    !fake_next(b, METHOD_queue_set, &r))
		return;
	s = r.queue_set;
	q = fake_queue("q");
	if (NIL(b, queue_set, s, limit) && NIL(b, queue_set, s, weight) && NIL(b, queue_set, s, weights) &&
	    NIL(b, queue_set, s, admit) && fake_reply(b, &r, &q) && fake_next(b, METHOD_queue_set, &r) &&
	    ABSENT(b, queue_set, r.queue_set, limit) && ABSENT(b, queue_set, r.queue_set, weight) &&
	    ABSENT(b, queue_set, r.queue_set, weights) && ABSENT(b, queue_set, r.queue_set, admit))
		fake_reply(b, &r, &q);
}

static void queue_call(struct raincheck *rc)
{
	struct raincheck_group_weight weight = { "vip", 5 };
	struct raincheck_queue_set set = { .queue = "q",
					   .limit = "api",
					   .weight = 3,
					   .weights = &weight,
					   .weight_count = 1,
					   .has_admit = true,
					   .admit = RAINCHECK_ADMIT_DEADLINE };
	struct raincheck_queue_set back = { .queue = "q",
					    .defaults = RAINCHECK_QUEUE_LIMIT | RAINCHECK_QUEUE_WEIGHT |
							RAINCHECK_QUEUE_WEIGHTS | RAINCHECK_QUEUE_ADMIT };
	struct raincheck_queue *q = NULL;

	assert_int_equal(raincheck_queue_set(rc, &set, &q), 0);
	assert_string_equal(q->limit, "api");
	assert_int_equal(q->weight, 3);
	assert_int_equal(q->weight_count, 2);
	assert_string_equal(q->weights[1].group, "vip");
	assert_int_equal(q->weights[1].weight, 5);
	assert_int_equal(q->admit, RAINCHECK_ADMIT_DEADLINE);
	assert_int_equal(q->lease_total, 17);
	raincheck_free(q);
	assert_int_equal(raincheck_queue_set(rc, &back, &q), 0);
	assert_null(q->limit);
	assert_int_equal(q->weight_count, 0);
	assert_int_equal(q->admit, RAINCHECK_ADMIT_ALWAYS);
	raincheck_free(q);
	assert_int_equal(raincheck_queue_set(rc, &(struct raincheck_queue_set){ .queue = "q" }, &q), 0);
	raincheck_free(q);
}

static void test_queues_say_how_they_flow(void **state)
{
	(void)state;
	client_play(queue_script, queue_call);
}

static void test_names(void **state)
{
	(void)state;
	assert_string_equal(raincheck_limit_state_name(RAINCHECK_LIMIT_PROBING), "probing");
	assert_string_equal(raincheck_limit_state_name((enum raincheck_limit_state)6), "unknown");
	assert_string_equal(raincheck_breaker_phase_name(RAINCHECK_BREAKER_HALF_OPEN), "half_open");
	assert_string_equal(raincheck_breaker_phase_name((enum raincheck_breaker_phase)3), "unknown");
	assert_string_equal(raincheck_admission_name(RAINCHECK_ADMIT_DEADLINE), "deadline");
	assert_string_equal(raincheck_admission_name((enum raincheck_admission)2), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limits_as_they_are),
		cmocka_unit_test(test_looking_is_tried_again_over_a_new_connection),
		cmocka_unit_test(test_limit_settings_are_given_kept_or_taken_back),
		cmocka_unit_test(test_what_cannot_be_sent_is_refused_here),
		cmocka_unit_test(test_queues_say_how_they_flow),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
