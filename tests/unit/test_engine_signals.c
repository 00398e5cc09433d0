/* What workers may be scaled by: how long work waits, how much there is of it, and how many slots it could keep busy.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/clean.h"
#include "server/engine/view_signals.h"
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

static struct signals look(void)
{
	struct store_txn *t;
	struct signals s;

	assert_int_equal(store_begin_read(rig.store, &t), 0);
	assert_int_equal(view_signals(t, rig.now_ms, &s), 0);
	store_abort(t);
	return s;
}

/* One job of the queue runs for so long and succeeds: then it is known how long they take. */
static void learn(const char *queue, int64_t run_ms)
{
	struct uuid id = rig_put(&rig, queue, "x");
	struct msg_leased_job job;

	assert_true(rig_lease(&rig, queue, &job));
	rig_pass(&rig, run_ms);
	rig_complete(&rig, &id, &job.lease, NULL);
	assert_int_equal(rig.code, 0);
}

static void pause_queue(const char *queue)
{
	rig_queue_set(&rig, queue, (struct msg_queue_set){ .has_paused = true, .paused = true });
}

static void where_nothing_waits_nothing_is_wanted(void **state)
{
	struct signals s = look();

	(void)state;
	assert_false(s.has_oldest_ready_age);
	assert_int_equal(s.backlog_ms, 0);
	assert_int_equal(s.wanted_concurrency, 0);
	learn("q", 1000);
	s = look();
	assert_false(s.has_oldest_ready_age);
	assert_int_equal(s.backlog_ms, 0);
	assert_int_equal(s.wanted_concurrency, 0);
}

static void the_oldest_of_all_queues_is_told(void **state)
{
	(void)state;
	rig_put(&rig, "a", "x");
	rig_pass(&rig, 700);
	rig_put(&rig, "b", "x");
	rig_pass(&rig, 300);
	assert_true(look().has_oldest_ready_age);
	assert_int_equal(look().oldest_ready_age_ms, 1000);
	pause_queue("a");
	assert_int_equal(look().oldest_ready_age_ms, 300);
	rig.now_ms -= 5000;
	assert_int_equal(look().oldest_ready_age_ms, 0);
	rig.now_ms += 5000;
}

static void the_backlog_is_what_the_jobs_in_line_will_take(void **state)
{
	(void)state;
	learn("a", 2000);
	learn("b", 500);
	rig_put_many(&rig, "a", NULL, 3);
	rig_put_many(&rig, "b", NULL, 10);
	rig_put_many(&rig, "unknown", NULL, 7);
	assert_int_equal(look().backlog_ms, 3 * 2000 + 10 * 500);
	pause_queue("b");
	assert_int_equal(look().backlog_ms, 3 * 2000);
}

/* Nobody knows how long its jobs take: as many more as there are, but one at least. */
static void without_a_limit_the_wish_doubles_until_something_is_known(void **state)
{
	struct msg_leased_job job;

	(void)state;
	rig_put_many(&rig, "q", NULL, 8);
	rig_put_many(&rig, "other", NULL, 2);
	assert_int_equal(look().wanted_concurrency, 1 + 1);
	assert_true(rig_lease(&rig, "q", &job));
	assert_int_equal(look().wanted_concurrency, 2 + 1);
	for (int i = 0; i < 2; i++)
		assert_true(rig_lease(&rig, "q", &job));
	assert_int_equal(look().wanted_concurrency, 6 + 1);
	/* No more than there are jobs. */
	for (int i = 0; i < 2; i++)
		assert_true(rig_lease(&rig, "q", &job));
	assert_int_equal(look().wanted_concurrency, 5 + 3 + 1);
	/* What runs goes on. */
	pause_queue("q");
	assert_int_equal(look().wanted_concurrency, 5 + 1);
}

static void without_a_limit_a_minute_is_to_work_off_what_waits(void **state)
{
	(void)state;
	learn("short", 2000);
	rig_put_many(&rig, "short", NULL, 90);
	assert_int_equal(look().wanted_concurrency, 3);
	rig_put_many(&rig, "short", NULL, 1);
	assert_int_equal(look().wanted_concurrency, 4);
	/* A job has no use for two. */
	learn("long", 20000);
	rig_put_many(&rig, "long", NULL, 5);
	assert_int_equal(look().wanted_concurrency, 4 + 2);
}

static void how_long_attempts_take_is_told_over_all(void **state)
{
	struct signals s = look();

	(void)state;
	assert_false(s.has_run_ms);
	learn("a", 2000);
	s = look();
	assert_true(s.has_run_ms);
	assert_int_equal(s.run_ms.mean, 2000);
	assert_int_equal(s.run_ms.spread, 1000);
	learn("b", 500);
	s = look();
	/* Both did as much lately, but for what is forgotten within ten minutes. */
	assert_in_range(s.run_ms.mean, 1240, 1260);
	/* What was done days ago says nothing any more. */
	rig_pass(&rig, INT64_C(2) * 86400 * 1000);
	assert_false(look().has_run_ms);
}

static void a_limit_bounds_what_is_wanted_over_its_queues(void **state)
{
	static const char *const queues[] = { "a", "b" };

	(void)state;
	rig_limit_set(&rig, "api", (struct msg_limit_set){ .has_concurrency = true, .concurrency = 6 });
	rig_put_many(&rig, "a", NULL, 3);
	rig_put_many(&rig, "b", NULL, 4);
	rig_put_many(&rig, "free", NULL, 2);
	rig_queue_limit(&rig, "a", "api");
	assert_int_equal(look().wanted_concurrency, 3 + 1 + 1);
	rig_queue_limit(&rig, "b", "api");
	assert_int_equal(look().wanted_concurrency, 6 + 1);
	assert_int_equal(rig_lease_many(&rig, queues, 2, 6), 6);
	assert_int_equal(look().wanted_concurrency, 6 + 1);
	pause_queue("b");
	assert_int_equal(look().wanted_concurrency, 6 + 1);
}

/* Two a second of three seconds each keep six slots busy. */
static void a_rate_keeps_only_so_many_busy(void **state)
{
	(void)state;
	rig_limit_set(&rig, "api", (struct msg_limit_set){ .has_rate = true, .rate = 2 });
	learn("q", 3000);
	rig_put_many(&rig, "q", NULL, 200);
	rig_queue_limit(&rig, "q", "api");
	assert_int_equal(look().wanted_concurrency, 6);
	rig_limit_set(&rig, "api", (struct msg_limit_set){ .has_rate = true, .rate = 0.01 });
	assert_int_equal(look().wanted_concurrency, 1);
	/* While it is not known how long they take, it bounds nothing: the wish doubles. */
	rig_put_many(&rig, "new", NULL, 5);
	rig_limit_set(&rig, "other", (struct msg_limit_set){ .has_rate = true, .rate = 0.01 });
	rig_queue_limit(&rig, "new", "other");
	assert_int_equal(look().wanted_concurrency, 1 + 1);
}

/* A breaker alone, or a rate that is far away, bounds nothing: then it is as without a limit. */
static void a_limit_without_a_number_is_as_none(void **state)
{
	(void)state;
	rig_limit_set(&rig, "api", (struct msg_limit_set){ .has_rate = true, .rate = 1000000 });
	learn("q", 2000);
	rig_put_many(&rig, "q", NULL, 90);
	assert_int_equal(look().wanted_concurrency, 3);
	rig_queue_limit(&rig, "q", "api");
	assert_int_equal(look().wanted_concurrency, 3);
	rig_limit_set(&rig, "api", (struct msg_limit_set){ .has_concurrency = true, .concurrency = 50 });
	assert_int_equal(look().wanted_concurrency, 50);
}

static void a_hold_does_not_lower_it(void **state)
{
	struct msg_leased_job job;

	(void)state;
	rig_limit_set(&rig, "api", (struct msg_limit_set){ .has_concurrency = true, .concurrency = 4 });
	rig_put_many(&rig, "q", NULL, 9);
	rig_queue_limit(&rig, "q", "api");
	assert_true(rig_lease(&rig, "q", &job));
	rig_fail(&rig, &job.id, &job.lease, FAIL_THROTTLED, 60000);
	assert_int_equal(rig_limit(&rig, "api")->now.state, LIMIT_HELD);
	assert_int_equal(look().wanted_concurrency, 4);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(where_nothing_waits_nothing_is_wanted),
		T(the_oldest_of_all_queues_is_told),
		T(the_backlog_is_what_the_jobs_in_line_will_take),
		T(without_a_limit_the_wish_doubles_until_something_is_known),
		T(without_a_limit_a_minute_is_to_work_off_what_waits),
		T(how_long_attempts_take_is_told_over_all),
		T(a_limit_bounds_what_is_wanted_over_its_queues),
		T(a_rate_keeps_only_so_many_busy),
		T(a_limit_without_a_number_is_as_none),
		T(a_hold_does_not_lower_it),
	};

	return cmocka_run_group_tests_name("engine signals", tests, NULL, NULL);
}
