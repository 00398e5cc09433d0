/* What a limit makes of time and of its API: rate, Retry-After, breaker, schedule and what was learned; and that those
 * who wait are woken by time alone, at the moment that engine_next_ms() tells. The arithmetic of each part has its own
 * tests (test_flow_….c); these are about jobs.
 *
 * SEED=… plays a run again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/flow/limit.h"
#include "tests/harness/engine_rig.h"
#include "tests/unit/test_flow_draw.h"

#define CAP(field_, value_) .has_##field_ = true, .field_ = (value_)

static struct rig rig;
static struct slice name_a, name_b;
static struct msg_job_lease lease_a, lease_b;

static int setup(void **state)
{
	(void)state;
	rig_open(&rig);
	name_a = slice_str("a");
	name_b = slice_str("b");
	lease_a = (struct msg_job_lease){ CAP(queues, &name_a), .queues_count = 1, CAP(max, 100), CAP(wait_ms, 60000) };
	lease_b = lease_a;
	lease_b.queues = &name_b;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rig_close(&rig);
	return 0;
}

/* Queues a and b under one limit, with jobs in each. */
static void share(struct msg_limit_set set, size_t jobs)
{
	rig_limit_set(&rig, "api", set);
	assert_int_equal(rig.code, 0);
	rig_queue_limit(&rig, "a", "api");
	rig_queue_limit(&rig, "b", "api");
	rig_put_many(&rig, "a", NULL, jobs);
	rig_put_many(&rig, "b", NULL, jobs);
}

static const struct msg_limit_now *now(void)
{
	const struct msg_limit *l = rig_limit(&rig, "api");

	assert_int_equal(rig.code, 0);
	return &l->now;
}

static void expect_state(enum limit_state state)
{
	assert_string_equal(limit_state_names[now()->state], limit_state_names[state]);
}

static size_t lease_from(const char *queue, int64_t max)
{
	return rig_lease_many(&rig, &queue, 1, max);
}

/* Somebody waits, and is served after so long by time alone, where the engine is asked at no moment but those it tells.
 */
static void expect_woken_after(int64_t ms)
{
	size_t parked = engine_parked(rig.engine);
	int64_t began_ms = rig.now_ms;

	assert_true(parked > 0);
	while (engine_parked(rig.engine) == parked) {
		int64_t next = engine_next_ms(rig.engine);

		assert_true(next > rig.now_ms && next <= began_ms + ms);
		rig_pass(&rig, next - rig.now_ms);
	}
	assert_int_equal(rig.now_ms - began_ms, ms);
}

/* ---- rate ---- */

static void a_rate_paces_and_time_alone_wakes(void **state)
{
	static struct command first = { .session = 1 }, second = { .session = 2 };

	(void)state;
	share((struct msg_limit_set){ CAP(rate, 2), CAP(burst, 3) }, 10);
	assert_int_equal(lease_from("a", 2), 2);
	assert_int_equal(lease_from("b", 10), 1);
	expect_state(LIMIT_PACED);
	assert_int_equal(lease_from("a", 10), 0);
	rig_submit(&rig, &first, COMMAND_LEASE, &lease_a);
	rig_submit(&rig, &second, COMMAND_LEASE, &lease_b);
	expect_woken_after(500);
	expect_woken_after(500);
	assert_int_equal(rig.answer.lease.jobs_count, 1);
	assert_int_equal(now()->started, 5);
	/* Nobody waits: nothing to look for. */
	assert_int_equal(engine_next_ms(rig.engine), rig.now_ms - 1000 + 30000);
	rig_restart(&rig);
	assert_int_equal(lease_from("a", 10), 0);
	rig_pass(&rig, 1000);
	assert_int_equal(lease_from("a", 10), 2);
}

/* A failed commit has the engine look again; whoever waits is not forgotten. */
static void a_failed_commit_forgets_nobody_who_waits_for_time(void **state)
{
	static struct command waiting = { .session = 1 };

	(void)state;
	share((struct msg_limit_set){ CAP(rate, 1) }, 10);
	assert_int_equal(lease_from("a", 1), 1);
	rig_submit(&rig, &waiting, COMMAND_LEASE, &lease_b);
	rig.take_back = true;
	rig_put(&rig, "a", "x");
	assert_true(engine_next_ms(rig.engine) <= rig.now_ms + 1000);
	rig_pass(&rig, 0);
	expect_woken_after(1000);
}

static void no_stretch_of_time_sees_more_than_burst_and_rate(void **state)
{
	static int64_t at[4096];
	size_t count = 0;

	(void)state;
	draw_begin();
	rig.unchecked = true;
	share((struct msg_limit_set){ CAP(rate, 7.3), CAP(burst, 4) }, 1000);
	for (int i = 0; i < 400; i++) {
		size_t leased;

		rig.take_back = draw_once_in(10);
		leased = lease_from(draw_once_in(2) ? "a" : "b", draw(1, 10));
		for (; leased > 0 && count < 4096; leased--)
			at[count++] = rig.now_ms;
		if (draw_once_in(20))
			rig_restart(&rig);
		rig_pass(&rig, draw(0, 900));
	}
	assert_in_range(count, 200, 4095);
	for (size_t i = 0; i < count; i++)
		for (size_t n = i; n < count; n++)
			assert_true((double)(n - i + 1) <= 4 + 7.3 * (double)(at[n] - at[i]) / 1000 + 1e-3);
	rig_check(&rig);
}

/* ---- Retry-After ---- */

static void retry_after_holds_the_whole_limit_and_costs_no_attempt(void **state)
{
	static struct command before = { .session = 1 };
	struct msg_leased_job job, other;
	struct uuid id;

	(void)state;
	rig_queue_set(&rig, "a", (struct msg_queue_set){ CAP(max_attempts, 1) });
	share((struct msg_limit_set){ CAP(concurrency, 10) }, 3);
	assert_true(rig_lease(&rig, "a", &job));
	assert_true(rig_lease(&rig, "b", &other));
	id = job.id;
	rig_fail(&rig, &job.id, &job.lease, FAIL_THROTTLED, 5000);
	assert_int_equal(rig.answer.fail.state, JOB_READY);
	assert_int_equal(rig.answer.fail.next_attempt_at_ms, rig.now_ms + 5000);
	assert_int_equal(rig_job(&rig, &id)->attempt, 0);
	expect_state(LIMIT_HELD);
	assert_int_equal(now()->held_until_at_ms, rig.now_ms + 5000);
	assert_int_equal(now()->throttled, 1);
	assert_int_equal(lease_from("b", 10), 0);
	/* A shorter one, told later, shortens nothing; those under way end as they would. */
	rig_pass(&rig, 1000);
	rig_fail(&rig, &other.id, &other.lease, FAIL_THROTTLED, 100);
	assert_int_equal(rig.answer.fail.next_attempt_at_ms, rig.now_ms + 4000);
	lease_a.max = 1;
	rig_submit(&rig, &before, COMMAND_LEASE, &lease_a);
	expect_woken_after(4000);
	/* It has kept its place: it is the first again, and this is its first attempt still. */
	assert_true(uuid_equal(&rig.answer.lease.jobs[0].id, &id));
	assert_int_equal(rig.answer.lease.jobs[0].attempt, 1);
	assert_int_equal(lease_from("b", 10), 3);
	expect_state(LIMIT_FREE);
}

static void an_absurd_retry_after_is_no_end(void **state)
{
	static struct command waiting = { .session = 1 };
	struct msg_leased_job job;

	(void)state;
	share((struct msg_limit_set){ CAP(concurrency, 10) }, 3);
	assert_true(rig_lease(&rig, "a", &job));
	rig_fail(&rig, &job.id, &job.lease, FAIL_THROTTLED, 3153600000000);
	assert_int_equal(rig.answer.fail.next_attempt_at_ms, rig.now_ms + LIMIT_HOLD_MAX_MS);
	assert_int_equal(now()->held_until_at_ms, rig.now_ms + LIMIT_HOLD_MAX_MS);
	rig_restart(&rig);
	rig_pass(&rig, LIMIT_HOLD_MAX_MS - 1000);
	rig_submit(&rig, &waiting, COMMAND_LEASE, &lease_b);
	expect_woken_after(1000);
}

static void a_clock_set_back_holds_nobody_for_longer(void **state)
{
	static struct command waiting = { .session = 1 };
	struct msg_leased_job job;

	(void)state;
	lease_b.wait_ms = 2 * LIMIT_HOLD_MAX_MS;
	share((struct msg_limit_set){ CAP(rate, 1000), .has_breaker = true }, 3);
	assert_true(rig_lease(&rig, "a", &job));
	rig_fail(&rig, &job.id, &job.lease, FAIL_THROTTLED, 60000);
	rig_submit(&rig, &waiting, COMMAND_LEASE, &lease_b);
	rig_pass(&rig, -86400000);
	assert_true(engine_next_ms(rig.engine) <= rig.now_ms + LIMIT_HOLD_MAX_MS);
	rig_pass(&rig, LIMIT_HOLD_MAX_MS);
	assert_int_equal(engine_parked(rig.engine), 0);
	rig_pass(&rig, 60000);
	assert_int_equal(lease_from("a", 10), 3);
	/* And over a restart. */
	rig_put_many(&rig, "a", NULL, 3);
	assert_true(rig_lease(&rig, "a", &job));
	rig_fail(&rig, &job.id, &job.lease, FAIL_THROTTLED, 60000);
	rig_pause(&rig);
	rig.now_ms -= 86400000;
	rig_resume(&rig);
	rig_pass(&rig, 0);
	assert_true(now()->held_until_at_ms <= rig.now_ms + LIMIT_HOLD_MAX_MS);
	rig_pass(&rig, LIMIT_HOLD_MAX_MS);
	assert_int_equal(lease_from("a", 10), 3);
}

/* ---- breaker ---- */

static struct msg_leased_job jobs[10];

/* Ten calls begin, and enough of them fail: it is open. */
static void open_breaker(void)
{
	struct msg_job_lease first = { CAP(queues, NULL), .queues_count = 1, CAP(max, 5), CAP(lease_ms, 86400000) };

	share((struct msg_limit_set){ .has_breaker = true,
				      .breaker = { CAP(window_ms, 10000), CAP(min_calls, 4), CAP(failure_ratio, 0.5),
						   CAP(open_ms, 5000) } },
	      10);
	/* Those go on for as long as the test. */
	first.queues = &name_a;
	rig_run(&rig, COMMAND_LEASE, &first);
	assert_int_equal(rig.answer.lease.jobs_count, 5);
	memcpy(jobs, rig.answer.lease.jobs, 5 * sizeof(jobs[0]));
	assert_int_equal(lease_from("b", 5), 5);
	memcpy(jobs + 5, rig.answer.lease.jobs, 5 * sizeof(jobs[0]));
	for (int i = 0; i < 2; i++)
		rig_complete(&rig, &jobs[i].id, &jobs[i].lease, NULL);
	rig_fail(&rig, &jobs[2].id, &jobs[2].lease, FAIL_UNAVAILABLE, 0);
	assert_int_equal(lease_from("a", 1), 1);
	rig_fail(&rig, &jobs[3].id, &jobs[3].lease, FAIL_TIMEOUT, 0);
	expect_state(LIMIT_BROKEN);
	assert_int_equal(now()->held_until_at_ms, rig.now_ms + 5000);
	assert_int_equal(now()->opened, 1);
	assert_int_equal(lease_from("a", 10), 0);
	assert_int_equal(lease_from("b", 10), 0);
}

static void a_breaker_opens_probes_and_closes(void **state)
{
	static struct command first = { .session = 1 }, second = { .session = 2 };
	struct msg_leased_job probe;

	(void)state;
	open_breaker();
	rig_submit(&rig, &first, COMMAND_LEASE, &lease_b);
	rig_submit(&rig, &second, COMMAND_LEASE, &lease_b);
	/* What began before ends, and says nothing of now. */
	rig_complete(&rig, &jobs[4].id, &jobs[4].lease, NULL);
	expect_state(LIMIT_BROKEN);
	rig_restart(&rig);
	expect_state(LIMIT_BROKEN);
	rig_submit(&rig, &first, COMMAND_LEASE, &lease_b);
	rig_submit(&rig, &second, COMMAND_LEASE, &lease_b);
	/* One goes through, however many it asked for; it waited and lost no attempt. */
	expect_woken_after(5000);
	assert_int_equal(engine_parked(rig.engine), 1);
	assert_int_equal(rig.answer.lease.jobs_count, 1);
	probe = rig.answer.lease.jobs[0];
	assert_int_equal(probe.attempt, 1);
	expect_state(LIMIT_PROBING);
	rig_complete(&rig, &jobs[5].id, &jobs[5].lease, NULL);
	assert_int_equal(lease_from("a", 10), 0);
	/* It fails: open for as long again. */
	rig_fail(&rig, &probe.id, &probe.lease, FAIL_UNAVAILABLE, 0);
	expect_state(LIMIT_BROKEN);
	expect_woken_after(5000);
	probe = rig.answer.lease.jobs[0];
	assert_int_equal(lease_from("a", 10), 0);
	rig_complete(&rig, &probe.id, &probe.lease, NULL);
	expect_state(LIMIT_FREE);
	assert_int_equal(now()->opened, 1);
	assert_true(lease_from("a", 10) > 1);
}

/* However a probe goes without a word, another is let through: once. */
static void a_probe_that_nobody_tells_of_is_followed_by_another(void **state)
{
	struct msg_leased_job probe;

	(void)state;
	open_breaker();
	rig_pass(&rig, 5000);
	for (int i = 0; i < 5; i++) {
		assert_true(rig_lease(&rig, "b", &probe));
		assert_int_equal(lease_from("a", 10), 0);
		assert_int_equal(lease_from("b", 10), 0);
		switch (i) {
		case 0:
			rig_pass(&rig, 30000);
			break;
		case 1:
			rig_cancel(&rig, &probe.id);
			break;
		case 2:
			rig_erase(&rig, &probe.id);
			break;
		case 3:
			rig_restart(&rig);
			assert_int_equal(lease_from("b", 10), 0);
			rig_fail(&rig, &probe.id, &probe.lease, FAIL_INTERNAL, 0);
			break;
		default:
			rig.take_back = true;
			rig_complete(&rig, &probe.id, &probe.lease, NULL);
			assert_int_equal(lease_from("b", 10), 0);
			/* Its queue goes to another limit, and nothing else is under way. */
			rig_complete(&rig, &jobs[4].id, &jobs[4].lease, NULL);
			assert_int_equal(lease_from("b", 10), 0);
			rig_queue_limit(&rig, "b", NULL);
		}
		expect_state(LIMIT_PROBING);
	}
	assert_int_equal(lease_from("a", 10), 1);
}

/* Also while other calls are under way, of which nothing is learned. */
static void a_probe_whose_queue_goes_elsewhere_is_followed_by_another(void **state)
{
	struct msg_leased_job probe;

	(void)state;
	open_breaker();
	rig_pass(&rig, 5000);
	assert_true(rig_lease(&rig, "b", &probe));
	assert_int_equal(lease_from("a", 10), 0);
	rig_queue_limit(&rig, "b", NULL);
	assert_true(now()->in_flight > 0);
	assert_int_equal(lease_from("a", 10), 1);
	assert_int_equal(lease_from("a", 10), 0);
	/* The one that went says nothing here any more. */
	rig_complete(&rig, &probe.id, &probe.lease, NULL);
	assert_int_equal(rig.code, 0);
	expect_state(LIMIT_PROBING);
}

/* ---- a Retry-After that nobody should believe, without a limit ---- */

static void however_long_an_api_asks_for_it_is_asked_again(void **state)
{
	static const int kinds[] = { FAIL_THROTTLED, FAIL_UNAVAILABLE };
	static const int64_t believed_ms[] = { LIMIT_HOLD_MAX_MS, 86400000 };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct msg_leased_job job;
		struct uuid id = rig_put(&rig, "q", "x");

		assert_true(rig_lease(&rig, "q", &job));
		rig_fail(&rig, &id, &job.lease, kinds[i], 3153600000000);
		assert_int_equal(rig_job(&rig, &id)->state, JOB_SCHEDULED);
		assert_int_equal(rig_job(&rig, &id)->run_at_ms, rig.now_ms + believed_ms[i]);
		rig_pass(&rig, believed_ms[i]);
		assert_int_equal(rig_state(&rig, &id), JOB_READY);
		rig_erase(&rig, &id);
	}
}

/* ---- schedule ---- */

static void a_schedule_switches_at_its_moments(void **state)
{
	struct msg_limit_spell spells[] = {
		{ CAP(from_at_ms, rig.now_ms + 1000), CAP(until_at_ms, rig.now_ms + 2000), CAP(concurrency, 5) },
		{ CAP(from_at_ms, rig.now_ms + 2000), CAP(until_at_ms, rig.now_ms + 3000), CAP(rate, 0.5) },
	};
	static struct command first = { .session = 1 }, second = { .session = 2 };
	struct msg_leased_job job;

	(void)state;
	share((struct msg_limit_set){ CAP(concurrency, 2), CAP(schedule, spells), .schedule_count = 2 }, 20);
	assert_int_equal(lease_from("a", 10), 2);
	rig_submit(&rig, &first, COMMAND_LEASE, &lease_a);
	expect_woken_after(1000);
	assert_int_equal(rig.answer.lease.jobs_count, 3);
	assert_int_equal(now()->concurrency, 5);
	rig_restart(&rig);
	/* Down again: those under way go on, nobody begins until they are fewer. */
	rig_pass(&rig, 1000);
	assert_int_equal(now()->concurrency, 2);
	assert_true(now()->rate == 0.5);
	assert_int_equal(now()->in_flight, 5);
	job = rig.answer.lease.jobs[0];
	rig_complete(&rig, &job.id, &job.lease, NULL);
	assert_int_equal(lease_from("a", 10), 0);
	rig_pass(&rig, 1000);
	assert_false(now()->has_rate);
	rig_submit(&rig, &second, COMMAND_LEASE, &lease_b);
	/* The leases end before anything else does. */
	assert_true(engine_next_ms(rig.engine) > rig.now_ms + 1000);
}

/* The rate of the moment leaves whoever waits a long time, that of the next spell does not. */
static void a_rate_of_the_schedule_wakes_at_its_moment(void **state)
{
	struct msg_limit_spell spell = { CAP(from_at_ms, rig.now_ms + 7000), CAP(until_at_ms, rig.now_ms + 9000),
					 CAP(rate, 1000), CAP(burst, 1000) };
	static struct command waiting = { .session = 1 };

	(void)state;
	share((struct msg_limit_set){ CAP(rate, 0.001), CAP(schedule, &spell), .schedule_count = 1 }, 20);
	assert_int_equal(lease_from("a", 10), 1);
	rig_submit(&rig, &waiting, COMMAND_LEASE, &lease_a);
	for (int i = 0; engine_parked(rig.engine) > 0 && i < 20; i++) {
		int64_t next = engine_next_ms(rig.engine);

		assert_in_range(next - rig.now_ms, 1, 7100);
		rig_pass(&rig, next - rig.now_ms);
	}
	assert_int_equal(engine_parked(rig.engine), 0);
	assert_in_range(rig.now_ms, spell.from_at_ms, spell.from_at_ms + 100);
}

/* ---- what was learned ---- */

static void end_one(const struct msg_leased_job *job)
{
	switch (draw(0, 7)) {
	case 0:
		rig_fail(&rig, &job->id, &job->lease, FAIL_TIMEOUT, 0);
		break;
	case 1:
		rig_fail(&rig, &job->id, &job->lease, FAIL_THROTTLED, draw(0, 50));
		break;
	case 2:
		rig_fail(&rig, &job->id, &job->lease, FAIL_UNAVAILABLE, 0);
		break;
	default:
		rig_complete(&rig, &job->id, &job->lease, NULL);
	}
}

#define HELD_MAX 16

static void what_was_learned_stays_within_its_bounds(void **state)
{
	static struct msg_leased_job held[HELD_MAX];
	size_t first = 0, count = 0;

	(void)state;
	draw_begin();
	rig.unchecked = true;
	rig_queue_set(&rig, "a", (struct msg_queue_set){ CAP(max_attempts, 1000) });
	share((struct msg_limit_set){ .has_adaptive = true, .adaptive = { CAP(min, 2), CAP(max, 9) } }, 300);
	for (int i = 0; i < 1500; i++) {
		int64_t value = now()->concurrency, in_flight = now()->in_flight;
		size_t leased = lease_from("a", HELD_MAX);

		assert_in_range(value, 2, 9);
		assert_true((int64_t)leased <= (value > in_flight ? value - in_flight : 0));
		assert_true(count + leased <= HELD_MAX);
		for (size_t n = 0; n < leased; n++)
			held[(first + count++) % HELD_MAX] = rig.answer.lease.jobs[n];
		if (draw_once_in(50))
			rig_restart(&rig);
		rig_pass(&rig, draw(0, 500));
		/* The oldest tell first, long before their leases end. */
		for (; count > 0 && (count > 4 || draw_once_in(2)); count--)
			end_one(&held[first++ % HELD_MAX]);
		if (rig_queue(&rig, "a").counts.ready == 0)
			rig_put_many(&rig, "a", NULL, 100);
	}
	rig_check(&rig);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_rate_paces_and_time_alone_wakes),
		T(a_failed_commit_forgets_nobody_who_waits_for_time),
		T(no_stretch_of_time_sees_more_than_burst_and_rate),
		T(retry_after_holds_the_whole_limit_and_costs_no_attempt),
		T(an_absurd_retry_after_is_no_end),
		T(a_clock_set_back_holds_nobody_for_longer),
		T(a_breaker_opens_probes_and_closes),
		T(a_probe_that_nobody_tells_of_is_followed_by_another),
		T(a_probe_whose_queue_goes_elsewhere_is_followed_by_another),
		T(however_long_an_api_asks_for_it_is_asked_again),
		T(a_schedule_switches_at_its_moments),
		T(a_rate_of_the_schedule_wakes_at_its_moment),
		T(what_was_learned_stays_within_its_bounds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
