/* What a job waits for besides its turn, and how long attempts take: as the wire tells both. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/engine/view_limits.h"
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

static void expect_free(const struct uuid *id)
{
	assert_false(rig_job(&rig, id)->has_waiting_for);
}

/* until_ms 0: it is not said. */
static void expect_reason(const struct uuid *id, int reason, int64_t until_ms)
{
	const struct msg_job *job = rig_job(&rig, id);

	assert_true(job->has_waiting_for);
	assert_int_equal(job->waiting_for.reason, reason);
	assert_int_equal(job->waiting_for.has_until_at_ms, until_ms != 0);
	assert_int_equal(job->waiting_for.until_at_ms, until_ms);
}

/* A limit of two calls at once that breaks at the first failure, for ten seconds. */
static void make_limit(void)
{
	rig_limit_set(&rig, "api",
		      (struct msg_limit_set){ .has_concurrency = true,
					      .concurrency = 2,
					      .has_breaker = true,
					      .breaker = { .has_min_calls = true,
							   .min_calls = 1,
							   .has_failure_ratio = true,
							   .failure_ratio = 1,
							   .has_open_ms = true,
							   .open_ms = 10000 } });
	rig_queue_limit(&rig, "q", "api");
}

/* One job of the queue takes so long and succeeds. */
static void learn(const char *queue, int64_t run_ms)
{
	struct uuid id = rig_put(&rig, queue, "x");
	struct msg_leased_job job;

	assert_true(rig_lease(&rig, queue, &job));
	rig_pass(&rig, run_ms);
	rig_complete(&rig, &id, &job.lease, NULL);
	assert_int_equal(rig.code, 0);
}

static void a_full_limit_is_no_reason(void **state)
{
	struct uuid id = rig_put(&rig, "q", "a"), next = rig_put(&rig, "q", "b"), last = rig_put(&rig, "q", "c");
	struct msg_leased_job job;

	(void)state;
	make_limit();
	expect_free(&id);
	assert_true(rig_lease(&rig, "q", &job));
	assert_true(rig_lease(&rig, "q", &job));
	assert_false(rig_lease(&rig, "q", &job));
	expect_free(&id);
	expect_free(&next);
	expect_free(&last);
}

static void a_held_limit_holds_all_its_jobs_and_their_estimates(void **state)
{
	struct uuid id, other;
	struct msg_leased_job job;
	int64_t until_ms;

	(void)state;
	make_limit();
	learn("q", 1000);
	id = rig_put(&rig, "q", "a");
	other = rig_put(&rig, "q", "b");
	assert_true(rig_lease(&rig, "q", &job));
	rig_fail(&rig, &job.id, &job.lease, FAIL_THROTTLED, 60000);
	until_ms = rig.now_ms + 60000;
	expect_reason(&id, WAIT_HELD, until_ms);
	expect_reason(&other, WAIT_HELD, until_ms);
	assert_int_equal(rig_job(&rig, &id)->attempt, 0);
	assert_int_equal(rig_job(&rig, &id)->position, 1);
	assert_true(rig_job(&rig, &id)->eta_ms.low >= 60000);
	rig_pass(&rig, 59999);
	expect_reason(&id, WAIT_HELD, until_ms);
	rig_pass(&rig, 1);
	expect_free(&id);
	expect_free(&other);
}

static void an_open_breaker_says_until_when_and_a_half_open_one_does_not(void **state)
{
	struct uuid id, other;
	struct msg_leased_job job;

	(void)state;
	make_limit();
	rig_put(&rig, "q", "first");
	assert_true(rig_lease(&rig, "q", &job));
	rig_fail(&rig, &job.id, &job.lease, FAIL_REJECTED, 0);
	rig_put(&rig, "q", "second");
	assert_true(rig_lease(&rig, "q", &job));
	id = rig_put(&rig, "q", "a");
	other = rig_put(&rig, "q", "b");
	expect_free(&id);
	rig_fail(&rig, &job.id, &job.lease, FAIL_UNAVAILABLE, 3600 * 1000);
	expect_reason(&id, WAIT_BREAKER, rig.now_ms + 10000);
	/* What comes after the breaker may let calls through again waits for its own moment. */
	expect_free(&job.id);
	rig_pass(&rig, 10000);
	expect_reason(&id, WAIT_BREAKER, 0);
	assert_true(rig_lease(&rig, "q", &job));
	assert_true(uuid_equal(&job.id, &id));
	expect_free(&id);
	expect_reason(&other, WAIT_BREAKER, 0);
	rig_complete(&rig, &job.id, &job.lease, NULL);
	expect_free(&id);
	expect_free(&other);
}

static void a_paused_queue_is_the_reason_of_all_that_wait_in_it(void **state)
{
	struct msg_job_put put = rig_put_of("q", "later");
	struct uuid id = rig_put(&rig, "q", "a"), later;

	(void)state;
	put.has_delay_ms = true;
	put.delay_ms = 5000;
	later = rig_put_params(&rig, &put);
	rig_queue_set(&rig, "q", (struct msg_queue_set){ .has_paused = true, .paused = true });
	expect_reason(&id, WAIT_PAUSED, 0);
	expect_reason(&later, WAIT_PAUSED, 0);
	assert_false(rig_job(&rig, &id)->has_eta_ms);
	rig_queue_set(&rig, "q", (struct msg_queue_set){ .has_paused = true, .paused = false });
	expect_free(&id);
	expect_free(&later);
}

static struct msg_limit_now limit_now(void)
{
	struct slice name = slice_str("api");
	struct limits_view view;
	struct msg_limit_now now;
	struct store_txn *t;

	assert_int_equal(store_begin_read(rig.store, &t), 0);
	assert_int_equal(view_limits(t, rig.now_ms, &name, &view), 0);
	now = view.items[0].now;
	limits_view_done(&view);
	store_abort(t);
	return now;
}

static void how_long_attempts_take_is_told_of_queues_and_limits(void **state)
{
	(void)state;
	make_limit();
	rig_put(&rig, "other", "x");
	rig_queue_limit(&rig, "other", "api");
	assert_false(rig_queue(&rig, "q").has_run_ms);
	assert_false(limit_now().has_run_ms);
	learn("q", 4000);
	assert_int_equal(rig_queue(&rig, "q").run_ms.mean, 4000);
	assert_int_equal(rig_queue(&rig, "q").run_ms.spread, 2000);
	/* The queue of which nothing is known counts for nothing. */
	assert_int_equal(limit_now().run_ms.mean, 4000);
	for (int i = 0; i < 3; i++)
		learn("q", 4000);
	assert_int_equal(rig_queue(&rig, "q").run_ms.mean, 4000);
	/* Whoever did less lately counts less. */
	rig_queue_limit(&rig, "q", NULL);
	assert_false(limit_now().has_run_ms);
	rig_queue_limit(&rig, "q", "api");
	rig_queue_limit(&rig, "third", "api");
	learn("third", 1000);
	assert_in_range(limit_now().run_ms.mean, 3300, 3500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_full_limit_is_no_reason, setup, teardown),
		cmocka_unit_test_setup_teardown(a_held_limit_holds_all_its_jobs_and_their_estimates, setup, teardown),
		cmocka_unit_test_setup_teardown(an_open_breaker_says_until_when_and_a_half_open_one_does_not, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_paused_queue_is_the_reason_of_all_that_wait_in_it, setup, teardown),
		cmocka_unit_test_setup_teardown(how_long_attempts_take_is_told_of_queues_and_limits, setup, teardown),
	};

	return cmocka_run_group_tests_name("engine waiting", tests, NULL, NULL);
}
