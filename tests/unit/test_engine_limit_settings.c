/* limit.set, limit.delete and a queue's limit: what makes no sense is refused by name with nothing half applied, what
 * is in use stays, and what is set is seen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/clean.h"
#include "tests/harness/engine_rig.h"

static struct rig rig;

static int setup(void **state)
{
	(void)state;
	rig_open(&rig);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rig_close(&rig);
	return 0;
}

/* Queues a and b under one limit. */
static void share(int64_t concurrency)
{
	rig_limit_set(&rig, "api", (struct msg_limit_set){ .has_concurrency = true, .concurrency = concurrency });
	assert_int_equal(rig.code, 0);
	rig_queue_limit(&rig, "a", "api");
	rig_queue_limit(&rig, "b", "api");
	assert_int_equal(rig.code, 0);
}

static size_t lease_from(const char *queue, int64_t max)
{
	return rig_lease_many(&rig, &queue, 1, max);
}

/* ---- what is refused ---- */

/* The limit as bytes, to see that nothing has changed. */
static void picture(struct buf *out)
{
	const struct msg_limit *l = rig_limit(&rig, "api");

	assert_int_equal(rig.code, 0);
	buf_reset(out);
	assert_int_equal(message_encode(&MSG_limit, l, out), 0);
}

/* Refused, naming the field; nothing of it was taken, and no limit made for it. */
static void expect_refused(struct msg_limit_set set, const char *field)
{
	_cleanup_(buf_done) struct buf before, after;

	buf_init(&before, 1 << 20);
	buf_init(&after, 1 << 20);
	print_message("%s\n", field);
	picture(&before);
	rig_limit_set(&rig, "api", set);
	assert_int_equal(rig.code, ERR_BAD_REQUEST);
	assert_string_equal(rig.info.field, field);
	assert_true(strlen(rig.info.message) > 0);
	picture(&after);
	assert_true(slice_equal(buf_slice(&before), buf_slice(&after)));
	rig_restart(&rig);
	picture(&after);
	assert_true(slice_equal(buf_slice(&before), buf_slice(&after)));
}

#define CAP(field_, value_) .has_##field_ = true, .field_ = (value_)
/* With a part that makes sense, which must not be taken either. */
#define EXPECT_REFUSED(field, ...) expect_refused((struct msg_limit_set){ CAP(concurrency, 77), __VA_ARGS__ }, field)

static void what_makes_no_sense_is_named_and_changes_nothing(void **state)
{
	struct msg_limit_spell spell = { CAP(from_at_ms, rig.now_ms), CAP(until_at_ms, rig.now_ms + 1000),
					 CAP(concurrency, 3) };
	struct msg_limit_spell spells[65] = { 0 };

	(void)state;
	share(5);
	rig_limit_set(&rig, "api", (struct msg_limit_set){ CAP(rate, 3), .has_breaker = true, .has_adaptive = true });
	assert_int_equal(rig.code, 0);
	expect_refused((struct msg_limit_set){ CAP(rate, 1), CAP(concurrency, 0) }, "concurrency");
	expect_refused((struct msg_limit_set){ CAP(rate, 1), CAP(concurrency, 1000001) }, "concurrency");
	EXPECT_REFUSED("rate", CAP(rate, 0));
	EXPECT_REFUSED("rate", CAP(rate, 1e-9));
	EXPECT_REFUSED("rate", CAP(rate, 1e7));
	EXPECT_REFUSED("burst", CAP(burst, 0.5));
	EXPECT_REFUSED("adaptive.min", .has_adaptive = true, .adaptive = { CAP(min, 4), CAP(max, 3) });
	EXPECT_REFUSED("adaptive.min", .has_adaptive = true, .adaptive = { CAP(min, 78) });
	EXPECT_REFUSED("breaker.failure_ratio", .has_breaker = true, .breaker = { CAP(failure_ratio, 0) });
	EXPECT_REFUSED("breaker.window_ms", .has_breaker = true, .breaker = { CAP(window_ms, 999) });
	EXPECT_REFUSED("breaker.min_calls", .has_breaker = true, .breaker = { CAP(min_calls, 0) });
	EXPECT_REFUSED("breaker.open_ms", .has_breaker = true, .breaker = { CAP(open_ms, 99) });
	for (int i = 0; i < 65; i++) {
		spells[i] = spell;
		spells[i].from_at_ms += 1000 * i;
		spells[i].until_at_ms += 1000 * i;
	}
	spells[2].until_at_ms++;
	EXPECT_REFUSED("schedule[3]", .has_schedule = true, .schedule = spells, .schedule_count = 4);
	spells[2].until_at_ms = spells[2].from_at_ms;
	EXPECT_REFUSED("schedule[2].until_at_ms", .has_schedule = true, .schedule = spells, .schedule_count = 4);
	spells[2] = spell;
	spells[2].from_at_ms -= 2000;
	spells[2].until_at_ms -= 2000;
	EXPECT_REFUSED("schedule[2].until_at_ms", .has_schedule = true, .schedule = spells, .schedule_count = 4);
	spells[2].until_at_ms += 1500;
	spells[2].has_concurrency = false;
	EXPECT_REFUSED("schedule[2]", .has_schedule = true, .schedule = spells, .schedule_count = 3);
}

static void a_limit_that_is_refused_is_not_made(void **state)
{
	struct msg_limit_set set = { CAP(concurrency, 3), CAP(burst, 2) };

	(void)state;
	rig_limit_set(&rig, "new", set);
	assert_int_equal(rig.code, ERR_BAD_REQUEST);
	assert_string_equal(rig.info.field, "burst");
	rig_limit(&rig, "new");
	assert_int_equal(rig.code, ERR_NOT_FOUND);
	rig_limit_set(&rig, "new", (struct msg_limit_set){ 0 });
	assert_int_equal(rig.code, 0);
	assert_false(rig.answer.limit.has_concurrency);
}

static void settings_go_back_to_their_defaults(void **state)
{
	struct msg_limit_set set = { 0 };

	(void)state;
	share(5);
	rig_limit_set(&rig, "api", (struct msg_limit_set){ CAP(rate, 3), CAP(burst, 4), .has_breaker = true });
	/* The burst goes with its rate. */
	MESSAGE_SET_NIL(limit_set, &set, rate);
	MESSAGE_SET_NIL(limit_set, &set, breaker);
	rig_limit_set(&rig, "api", set);
	assert_int_equal(rig.code, 0);
	assert_false(rig.answer.limit.has_rate);
	assert_false(rig.answer.limit.has_burst);
	assert_false(rig.answer.limit.has_breaker);
	assert_int_equal(rig.answer.limit.concurrency, 5);
}

/* ---- what is seen ---- */

static void what_was_set_is_seen(void **state)
{
	struct msg_limit_spell spells[] = {
		{ CAP(from_at_ms, rig.now_ms + 9000), CAP(until_at_ms, rig.now_ms + 9500), CAP(rate, 2.5) },
		{ CAP(from_at_ms, rig.now_ms + 100), CAP(until_at_ms, rig.now_ms + 200), CAP(concurrency, 3) },
	};
	struct msg_limit_set set = { CAP(concurrency, 5),  CAP(rate, 1.5),
				     .has_adaptive = true, .adaptive = { CAP(min, 2), CAP(max, 4) },
				     .has_breaker = true,  .breaker = { CAP(min_calls, 7) },
				     .has_schedule = true, .schedule = spells,
				     .schedule_count = 2 };
	const struct msg_limit *l;

	(void)state;
	share(1);
	rig_limit_set(&rig, "api", set);
	assert_int_equal(rig.code, 0);
	rig_restart(&rig);
	l = rig_limit(&rig, "api");
	assert_int_equal(l->concurrency, 5);
	assert_true(l->rate == 1.5);
	/* None was set: none is shown, or the one that holds; never a number that could not be set. */
	assert_true(!l->has_burst || l->burst >= 1);
	assert_int_equal(l->adaptive.max, 4);
	assert_int_equal(l->breaker.min_calls, 7);
	assert_int_equal(l->breaker.window_ms, 30000);
	assert_int_equal(l->schedule_count, 2);
	assert_int_equal(l->schedule[0].concurrency, 3);
	assert_false(l->schedule[0].has_rate);
	assert_true(l->schedule[1].rate == 2.5);
	assert_int_equal(l->queues_count, 2);
	assert_true(slice_is(l->queues[0], "a"));
	assert_true(slice_is(l->queues[1], "b"));
	assert_in_range(l->now.concurrency, 2, 4);
	/* One setting alone, after a spell is over, is no reason to say it again. */
	rig_pass(&rig, 5000);
	rig_limit_set(&rig, "api", (struct msg_limit_set){ CAP(concurrency, 6) });
	assert_int_equal(rig.code, 0);
	assert_int_equal(rig.answer.limit.schedule_count, 1);
	assert_true(rig.answer.limit.rate == 1.5);
}

/* ---- limits and queues ---- */

static void a_limit_in_use_is_not_deleted(void **state)
{
	(void)state;
	share(1);
	rig_limit_delete(&rig, "api");
	assert_int_equal(rig.code, ERR_CONFLICT);
	assert_string_equal(rig.info.field, "limit");
	assert_non_null(strstr(rig.info.message, "1 more"));
	rig_queue_limit(&rig, "b", NULL);
	rig_limit_delete(&rig, "api");
	assert_int_equal(rig.code, ERR_CONFLICT);
	assert_non_null(strstr(rig.info.message, "queue a "));
	rig_queue_limit(&rig, "a", NULL);
	rig_limit_delete(&rig, "api");
	assert_int_equal(rig.code, 0);
	rig_limit(&rig, "api");
	assert_int_equal(rig.code, ERR_NOT_FOUND);
	rig_limit_delete(&rig, "api");
	assert_int_equal(rig.code, ERR_NOT_FOUND);
	rig_restart(&rig);
	rig_queue_limit(&rig, "a", "api");
	assert_int_equal(rig.code, ERR_NOT_FOUND);
}

/* What the batch still means to do for the limit must not meet what is left of it. */
static void a_limit_may_go_in_the_batch_that_let_go_of_it(void **state)
{
	struct command_limit make = { .action = LIMIT_SET, .set = { .has_limit = true, .limit = slice_str("brief") } };
	struct command_limit drop = { .action = LIMIT_DELETE, .set = make.set };
	struct command_queue leave = { .action = QUEUE_SET, .set = { .has_queue = true, .queue = slice_str("a") } };
	struct command cmds[] = { { .kind = COMMAND_QUEUE, .params = &leave },
				  { .kind = COMMAND_LIMIT, .params = &drop } };
	struct command a = { 0 }, b = { 0 };

	(void)state;
	rig_submit_two(&rig, &a, COMMAND_LIMIT, &make, &b, COMMAND_LIMIT, &drop);
	assert_int_equal(rig.code, 0);
	rig_limit(&rig, "brief");
	assert_int_equal(rig.code, ERR_NOT_FOUND);
	share(1);
	rig_queue_limit(&rig, "b", NULL);
	MESSAGE_SET_NIL(queue_set, &leave.set, limit);
	drop.set.limit = slice_str("api");
	rig_submit_all(&rig, cmds, 2);
	assert_int_equal(rig.code, 0);
	rig_limit(&rig, "api");
	assert_int_equal(rig.code, ERR_NOT_FOUND);
}

static void a_queue_is_given_no_limit_that_is_not_there(void **state)
{
	struct msg_queue_set set = { .has_limit = true,
				     .limit = slice_str("none"),
				     .has_max_jobs = true,
				     .max_jobs = 7,
				     .has_paused = true,
				     .paused = true,
				     .has_weight = true,
				     .weight = 3 };

	(void)state;
	rig_queue_set(&rig, "new", set);
	assert_int_equal(rig.code, ERR_NOT_FOUND);
	assert_string_equal(rig.info.field, "limit");
	rig_put(&rig, "q", "x");
	rig_queue_set(&rig, "q", set);
	assert_int_equal(rig.code, ERR_NOT_FOUND);
	assert_false(rig_queue(&rig, "q").has_max_jobs);
	assert_false(rig_queue(&rig, "q").paused);
	assert_false(rig_queue(&rig, "q").has_limit);
	assert_int_equal(rig_queue(&rig, "q").weight, 1);
	assert_int_equal(lease_from("q", 1), 1);
	rig_queue_set(&rig, "new", (struct msg_queue_set){ .has_weight = true, .weight = 2 });
	assert_int_equal(rig.code, 0);
	/* It was not made before. */
	assert_false(rig_queue(&rig, "new").has_max_jobs);
}

static void what_runs_moves_with_its_queue(void **state)
{
	struct msg_leased_job job;

	(void)state;
	share(2);
	rig_limit_set(&rig, "other", (struct msg_limit_set){ .has_concurrency = true, .concurrency = 2 });
	rig_put_many(&rig, "a", NULL, 4);
	rig_put_many(&rig, "b", NULL, 4);
	assert_int_equal(lease_from("a", 2), 2);
	assert_int_equal(lease_from("b", 2), 0);
	rig_queue_limit(&rig, "a", "other");
	assert_int_equal(rig_limit(&rig, "api")->now.in_flight, 0);
	assert_int_equal(rig_limit(&rig, "api")->now.waiting, 4);
	assert_int_equal(rig_limit(&rig, "other")->now.in_flight, 2);
	assert_int_equal(rig_limit(&rig, "other")->queues_count, 1);
	assert_int_equal(lease_from("a", 2), 0);
	assert_int_equal(lease_from("b", 1), 1);
	assert_true(rig_lease(&rig, "b", &job));
	/* More than may be run now: nothing begins until enough have ended. */
	rig_queue_limit(&rig, "b", "other");
	assert_int_equal(rig_limit(&rig, "other")->now.in_flight, 4);
	rig_complete(&rig, &job.id, &job.lease, NULL);
	assert_int_equal(lease_from("b", 2), 0);
	rig_restart(&rig);
	assert_int_equal(rig_limit(&rig, "other")->now.in_flight, 3);
	rig_queue_limit(&rig, "a", NULL);
	assert_int_equal(lease_from("a", 4), 2);
	assert_int_equal(lease_from("b", 4), 1);
	assert_int_equal(rig_limit(&rig, "other")->now.in_flight, 2);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(what_makes_no_sense_is_named_and_changes_nothing),
		T(a_limit_that_is_refused_is_not_made),
		T(settings_go_back_to_their_defaults),
		T(what_was_set_is_seen),
		T(a_limit_in_use_is_not_deleted),
		T(a_limit_may_go_in_the_batch_that_let_go_of_it),
		T(a_queue_is_given_no_limit_that_is_not_there),
		T(what_runs_moves_with_its_queue),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
