/* Limits in the engine: how many calls are under way is counted from the running jobs themselves, so it is never more
 * than may be, whatever ends a job, and neither a restart nor a failed commit leaks or forgets a slot. What a limit
 * makes of time and of its API is in test_engine_limit_state.c, its settings are in test_engine_limit_settings.c.
 *
 * SEED=… plays the storm again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/store/keys.h"
#include "tests/harness/engine_rig.h"
#include "tests/unit/test_flow_draw.h"

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

static void expect_now(enum limit_state state, int64_t in_flight, int64_t waiting)
{
	const struct msg_limit *l = rig_limit(&rig, "api");

	assert_int_equal(rig.code, 0);
	assert_int_equal(l->now.in_flight, in_flight);
	assert_int_equal(l->now.waiting, waiting);
	assert_string_equal(limit_state_names[l->now.state], limit_state_names[state]);
}

static size_t lease_from(const char *queue, int64_t max)
{
	return rig_lease_many(&rig, &queue, 1, max);
}

/* ---- never more than may be ---- */

static void a_limit_is_shared_by_queues_and_workers(void **state)
{
	static const char *const both[] = { "a", "b" };
	struct msg_leased_job job;

	(void)state;
	share(3);
	rig_put_many(&rig, "a", NULL, 5);
	rig_put_many(&rig, "b", NULL, 5);
	expect_now(LIMIT_FREE, 0, 10);
	assert_true(rig_lease(&rig, "a", &job));
	assert_int_equal(lease_from("b", 1), 1);
	expect_now(LIMIT_FREE, 2, 8);
	assert_int_equal(rig_lease_many(&rig, both, 2, 100), 1);
	expect_now(LIMIT_FULL, 3, 7);
	assert_int_equal(rig_lease_many(&rig, both, 2, 100), 0);
	rig_complete(&rig, &job.id, &job.lease, NULL);
	assert_int_equal(lease_from("b", 100), 1);
	assert_int_equal(lease_from("a", 100), 0);
	expect_now(LIMIT_FULL, 3, 6);
}

static void a_full_limit_holds_back_no_other_queue(void **state)
{
	static const char *const all[] = { "a", "free", "b" };
	static struct command waiting = { .session = 1 };
	struct slice names[] = { slice_str("a"), slice_str("free") };
	struct msg_job_lease lease = {
		.has_queues = true, .queues = names, .queues_count = 2, .has_wait_ms = true, .wait_ms = 1000
	};

	(void)state;
	share(1);
	rig_put_many(&rig, "a", NULL, 3);
	rig_put_many(&rig, "b", NULL, 3);
	rig_put_many(&rig, "free", NULL, 20);
	assert_int_equal(rig_lease_many(&rig, all, 3, 100), 21);
	expect_now(LIMIT_FULL, 1, 5);
	rig_submit(&rig, &waiting, COMMAND_LEASE, &lease);
	assert_true(rig.parked);
	rig_put(&rig, "free", "x");
	assert_int_equal(engine_parked(rig.engine), 0);
}

static void whoever_waits_is_given_the_slot_that_comes_free(void **state)
{
	static struct command waiting = { .session = 1 };
	struct slice name = slice_str("b");
	struct msg_job_lease lease = {
		.has_queues = true, .queues = &name, .queues_count = 1, .has_wait_ms = true, .wait_ms = 60000
	};
	struct msg_leased_job job;

	(void)state;
	share(1);
	rig_put(&rig, "a", "x");
	rig_put(&rig, "b", "y");
	assert_true(rig_lease(&rig, "a", &job));
	rig_submit(&rig, &waiting, COMMAND_LEASE, &lease);
	rig_pass(&rig, 1);
	assert_int_equal(engine_parked(rig.engine), 1);
	rig_complete(&rig, &job.id, &job.lease, NULL);
	assert_int_equal(engine_parked(rig.engine), 0);
	expect_now(LIMIT_FULL, 1, 0);
}

/* ---- every end frees its slot ---- */

static void complete(const struct msg_leased_job *job)
{
	rig_complete(&rig, &job->id, &job->lease, "done");
}

static void fail_once(const struct msg_leased_job *job)
{
	rig_fail(&rig, &job->id, &job->lease, FAIL_UNAVAILABLE, 0);
}

static void fail_for_good(const struct msg_leased_job *job)
{
	rig_fail(&rig, &job->id, &job->lease, FAIL_REJECTED, 0);
}

static void give_back(const struct msg_leased_job *job)
{
	struct msg_job_release params = { .has_id = true,
					  .id = job->id,
					  .has_lease = true,
					  .lease = job->lease,
					  .has_delay_ms = true,
					  .delay_ms = 9 };

	rig_run(&rig, COMMAND_RELEASE, &params);
}

static void lose(const struct msg_leased_job *job)
{
	(void)job;
	rig_pass(&rig, 30000);
}

static void pass_the_deadline(const struct msg_leased_job *job)
{
	assert_true(job->has_deadline_at_ms);
	rig_pass(&rig, 20000);
}

static void pass_the_attempt_s_deadline(const struct msg_leased_job *job)
{
	assert_true(job->has_attempt_deadline_at_ms);
	rig_pass(&rig, 10000);
}

static void cancel(const struct msg_leased_job *job)
{
	rig_cancel(&rig, &job->id);
}

static void erase(const struct msg_leased_job *job)
{
	rig_erase(&rig, &job->id);
}

static void cancel_all(const struct msg_leased_job *job)
{
	struct command_change change = {
		.action = CHANGE_CANCEL,
		.filter = { .has_queue = true, .queue = slice_str("a"), .has_state = true, .state = JOB_RUNNING }
	};

	(void)job;
	rig_change(&rig, &change);
}

static void write_damaged(enum store_table table, const struct key *key)
{
	uint8_t bytes[4096];
	struct store_txn *t;
	struct slice value;

	store_abort(rig.view_txn);
	rig.view_txn = NULL;
	assert_int_equal(store_begin_write(rig.store, &t), 0);
	assert_int_equal(store_get(t, table, key_slice(key), &value), 0);
	assert_in_range(value.size, 1, sizeof(bytes));
	memcpy(bytes, value.data, value.size);
	bytes[value.size - 1] ^= 1;
	assert_int_equal(store_put(t, table, key_slice(key), slice_of(bytes, value.size)), 0);
	assert_int_equal(store_commit(t), 0);
}

static void damage_and_lose(const struct msg_leased_job *job)
{
	struct key key = key_job(&job->id);

	rig.unchecked = true;
	write_damaged(TABLE_JOBS, &key);
	rig_pass(&rig, 30000);
}

static void damage_and_erase(const struct msg_leased_job *job)
{
	struct key key = key_job(&job->id);

	rig.unchecked = true;
	write_damaged(TABLE_JOBS, &key);
	rig_erase(&rig, &job->id);
}

struct end {
	const char *name;
	void (*end)(const struct msg_leased_job *job);
	int64_t deadline_ms;
	int64_t attempt_timeout_ms;
};

static const struct end ends[] = {
	{ "complete", complete, 0, 0 },
	{ "fail", fail_once, 0, 0 },
	{ "rejected", fail_for_good, 0, 0 },
	{ "release", give_back, 0, 0 },
	{ "lost lease", lose, 0, 0 },
	{ "deadline", pass_the_deadline, 20000, 0 },
	{ "attempt's deadline", pass_the_attempt_s_deadline, 0, 10000 },
	{ "cancel", cancel, 0, 0 },
	{ "cancel by filter", cancel_all, 0, 0 },
	{ "erase", erase, 0, 0 },
	{ "set aside", damage_and_lose, 0, 0 },
	{ "erase of a damaged one", damage_and_erase, 0, 0 },
};

static void one_end(const struct end *end, bool waited_for)
{
	struct msg_job_put put = {
		.has_queue = true,
		.queue = slice_str("a"),
		.has_payload = true,
		.payload = slice_str("x"),
		.has_deadline_ms = end->deadline_ms > 0,
		.deadline_ms = end->deadline_ms,
		.has_attempt_timeout_ms = end->attempt_timeout_ms > 0,
		.attempt_timeout_ms = end->attempt_timeout_ms,
	};
	static struct command waiting = { .session = 1 };
	struct slice name = slice_str("b");
	struct msg_job_lease lease = {
		.has_queues = true, .queues = &name, .queues_count = 1, .has_wait_ms = true, .wait_ms = 60000
	};
	struct msg_leased_job job;

	share(1);
	rig_put_params(&rig, &put);
	rig_put(&rig, "b", "y");
	assert_true(rig_lease(&rig, "a", &job));
	expect_now(LIMIT_FULL, 1, 1);
	assert_int_equal(lease_from("b", 1), 0);
	if (waited_for)
		rig_submit(&rig, &waiting, COMMAND_LEASE, &lease);
	end->end(&job);
	if (!waited_for) {
		assert_int_equal(rig_limit(&rig, "api")->now.in_flight, 0);
		assert_int_equal(lease_from("b", 1), 1);
	}
	assert_int_equal(engine_parked(rig.engine), 0);
	assert_int_equal(rig_limit(&rig, "api")->now.in_flight, 1);
	/* The end is told once: the next is not let in twice. */
	rig_put(&rig, "a", "z");
	assert_int_equal(lease_from("a", 1), 0);
	rig_check(&rig);
}

static void every_end_frees_one_slot(void **state)
{
	for (size_t i = 0; i < 2 * sizeof(ends) / sizeof(ends[0]); i++) {
		print_message("%s%s\n", ends[i / 2].name, i % 2 ? ", waited for" : "");
		one_end(&ends[i / 2], i % 2 == 1);
		teardown(state);
		setup(state);
	}
}

/* ---- crashes ---- */

static void a_restart_forgets_no_call(void **state)
{
	struct msg_leased_job job;

	(void)state;
	share(2);
	rig_put_many(&rig, "a", NULL, 4);
	assert_true(rig_lease(&rig, "a", &job));
	assert_int_equal(lease_from("a", 1), 1);
	for (int i = 0; i < 3; i++) {
		rig_restart(&rig);
		expect_now(LIMIT_FULL, 2, 2);
		assert_int_equal(lease_from("a", 10), 0);
	}
	rig_complete(&rig, &job.id, &job.lease, NULL);
	rig_restart(&rig);
	assert_int_equal(lease_from("a", 10), 1);
	rig_pass(&rig, 30000);
	rig_restart(&rig);
	assert_int_equal(lease_from("a", 10), 2);
}

static void a_failed_commit_neither_takes_nor_frees(void **state)
{
	struct msg_leased_job job;

	(void)state;
	share(2);
	rig_limit_set(&rig, "api",
		      (struct msg_limit_set){ .has_rate = true, .rate = 0.001, .has_burst = true, .burst = 2 });
	rig_put_many(&rig, "a", NULL, 4);
	rig.take_back = true;
	assert_int_equal(lease_from("a", 10), 0);
	assert_int_equal(rig.code, ERR_STORE_ERROR);
	expect_now(LIMIT_FREE, 0, 4);
	assert_int_equal(rig_limit(&rig, "api")->now.started, 0);
	assert_true(rig_lease(&rig, "a", &job));
	assert_int_equal(lease_from("a", 10), 1);
	rig.take_back = true;
	rig_complete(&rig, &job.id, &job.lease, NULL);
	assert_int_equal(rig.code, ERR_STORE_ERROR);
	expect_now(LIMIT_FULL, 2, 2);
	rig_limit_set(&rig, "api", (struct msg_limit_set){ .has_rate = true, .rate = 1000 });
	rig_pass(&rig, 1000);
	assert_int_equal(lease_from("a", 10), 0);
	rig_complete(&rig, &job.id, &job.lease, NULL);
	assert_int_equal(lease_from("a", 10), 1);
}

static void a_failed_commit_leaves_settings_as_they_were(void **state)
{
	(void)state;
	share(1);
	rig_put_many(&rig, "a", NULL, 3);
	rig.take_back = true;
	rig_limit_set(&rig, "api", (struct msg_limit_set){ .has_concurrency = true, .concurrency = 9 });
	rig.take_back = true;
	rig_limit_set(&rig, "other", (struct msg_limit_set){ .has_concurrency = true, .concurrency = 9 });
	rig.take_back = true;
	rig_queue_limit(&rig, "a", NULL);
	assert_int_equal(lease_from("a", 10), 1);
	assert_int_equal(rig_limit(&rig, "api")->concurrency, 1);
	rig_limit(&rig, "other");
	assert_int_equal(rig.code, ERR_NOT_FOUND);
	rig_queue_limit(&rig, "b", "other");
	assert_int_equal(rig.code, ERR_NOT_FOUND);
	rig_limit_set(&rig, "third", (struct msg_limit_set){ 0 });
	rig.take_back = true;
	rig_limit_delete(&rig, "third");
	rig_limit_delete(&rig, "third");
	assert_int_equal(rig.code, 0);
}

static void a_damaged_limit_lets_one_call_begin(void **state)
{
	struct key key = key_name(slice_str("api"));
	bool told = false;

	(void)state;
	share(5);
	rig_put_many(&rig, "a", NULL, 5);
	rig_put_many(&rig, "b", NULL, 5);
	rig.unchecked = true;
	write_damaged(TABLE_LIMITS, &key);
	rig_restart(&rig);
	rig.unchecked = false;
	for (size_t n = 0; engine_repaired_limit(rig.engine, n); n++)
		told |= strstr(engine_repaired_limit(rig.engine, n), "api") != NULL;
	assert_int_equal(rig_limit(&rig, "api")->concurrency, 1);
	assert_int_equal(lease_from("a", 5), 1);
	assert_int_equal(lease_from("b", 5), 0);
	expect_now(LIMIT_FULL, 1, 9);
	rig_limit_set(&rig, "api", (struct msg_limit_set){ .has_concurrency = true, .concurrency = 3 });
	assert_int_equal(lease_from("b", 5), 2);
	if (!told)
		fail_msg("nobody is told of the limit that was made anew");
}

/* ---- all of it at random ---- */

#define STORM_STEPS 3000
#define STORM_CAP   4

static struct msg_leased_job held[64];
static size_t held_count;

/* Jobs that run, told by the jobs. */
static int64_t count_running(void)
{
	struct slice key, value;
	struct store_txn *t;
	int64_t running = 0;
	int rc;

	assert_int_equal(store_begin_read(rig.store, &t), 0);
	for (rc = store_seek(t, TABLE_JOBS, slice_of(NULL, 0), &key, &value); rc == 0;
	     rc = store_next(t, TABLE_JOBS, &key, &value)) {
		struct job job;

		assert_int_equal(record_read_job(value, &job), 0);
		running += job.state == JOB_RUNNING;
	}
	store_abort(t);
	return running;
}

static void storm_lease(const char *queue)
{
	size_t count = lease_from(queue, draw(1, 3));

	for (size_t i = 0; i < count; i++) {
		size_t n = held_count < 64 ? held_count++ : (size_t)draw(0, 63);

		held[n] = rig.answer.lease.jobs[i];
	}
}

static void storm_end(void)
{
	struct msg_leased_job job;
	size_t n;

	if (held_count == 0)
		return;
	n = (size_t)draw(0, (int64_t)held_count - 1);
	job = held[n];
	held[n] = held[--held_count];
	/* Some of them have lost their lease long ago. */
	switch (draw(0, 5)) {
	case 0:
		fail_once(&job);
		break;
	case 1:
		give_back(&job);
		break;
	case 2:
		cancel(&job);
		break;
	case 3:
		erase(&job);
		break;
	default:
		complete(&job);
	}
}

static void storm_step(void)
{
	const char *queue = draw_once_in(2) ? "a" : "b";

	rig.take_back = draw_once_in(10);
	switch (draw(0, 9)) {
	case 0:
		rig_put(&rig, queue, "x");
		break;
	case 1:
		rig_pass(&rig, draw_size(40000));
		break;
	case 2:
		if (!rig.take_back && draw_once_in(4))
			rig_restart(&rig);
		break;
	case 3:
	case 4:
	case 5:
		storm_lease(queue);
		break;
	default:
		storm_end();
	}
	rig.take_back = false;
}

static void no_storm_passes_the_cap_or_leaks_a_slot(void **state)
{
	int64_t running, most = 0;

	(void)state;
	draw_begin();
	rig.unchecked = true;
	held_count = 0;
	share(STORM_CAP);
	rig_put_many(&rig, "a", NULL, 50);
	rig_put_many(&rig, "b", NULL, 50);
	for (int i = 0; i < STORM_STEPS; i++) {
		storm_step();
		running = count_running();
		assert_in_range(running, 0, STORM_CAP);
		assert_int_equal(rig_limit(&rig, "api")->now.in_flight, running);
		most = running > most ? running : most;
	}
	assert_int_equal(most, STORM_CAP);
	rig_check(&rig);
	/* Nobody has leaked one: all are there when the last has lost its lease. */
	rig_pass(&rig, 40000);
	rig_put_many(&rig, "a", NULL, STORM_CAP);
	assert_int_equal(lease_from("a", 100), STORM_CAP);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_limit_is_shared_by_queues_and_workers),
		T(a_full_limit_holds_back_no_other_queue),
		T(whoever_waits_is_given_the_slot_that_comes_free),
		T(every_end_frees_one_slot),
		T(a_restart_forgets_no_call),
		T(a_failed_commit_neither_takes_nor_frees),
		T(a_failed_commit_leaves_settings_as_they_were),
		T(a_damaged_limit_lets_one_call_begin),
		T(no_storm_passes_the_cap_or_leaks_a_slot),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
