/* Leases that wait: each stands in the waiting line of every queue that it names, the first of a line is served first,
 * and what a queue gains is asked of nobody but of those who wait for it.
 *
 * SEED=… plays the random run again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "tests/harness/engine_rig.h"
#include "tests/unit/alloc_count.h"
#include "tests/unit/test_flow_draw.h"

#define CAP(field_, value_) .has_##field_ = true, .field_ = (value_)
#define WAITERS		    5000
#define NAMES_MAX	    4

/* One who waits. They outlive a test that fails, as the engine does. */
static struct waiter {
	struct command cmd;
	struct msg_job_lease lease;
	struct slice names[NAMES_MAX];
	char texts[NAMES_MAX][16];
	int answers;
	size_t jobs;
	char queue[16]; /* of the last job that it was given */
} waiters[WAITERS] __attribute__((aligned(4096)));

static struct rig rig;
static int answered[2 * WAITERS]; /* who, in order */
static size_t answered_count;

/* From the engine: the answer is seen at once, and counts where the batch is not taken back. */
static void told_cb(struct command *cmd, const void *result)
{
	const struct msg_job_lease_result *leased = result;
	struct waiter *w = (struct waiter *)(void *)cmd;

	if (w < waiters || w >= waiters + WAITERS || answered_count >= 2 * WAITERS)
		return;
	w->answers++;
	w->jobs += leased->jobs_count;
	if (leased->jobs_count > 0)
		snprintf(w->queue, sizeof(w->queue), "%.*s", SLICE_FMT(leased->jobs[0].queue));
	answered[answered_count++] = (int)(w - waiters);
}

static void forbid(int protection)
{
	assert_int_equal(mprotect(waiters, sizeof(waiters) / 4096 * 4096, protection), 0);
}

static int setup(void **state)
{
	(void)state;
	forbid(PROT_READ | PROT_WRITE);
	memset(waiters, 0, sizeof(waiters));
	answered_count = 0;
	rig_open(&rig);
	rig.told = told_cb;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rig.told = NULL;
	rig_close(&rig);
	return 0;
}

/* The n-th waits for these queues; a list of names with a blank between each. */
static void prepare_waiter(size_t n, const char *queues, int64_t max, uint64_t session)
{
	struct waiter *w = &waiters[n];

	*w = (struct waiter){ .cmd = { .kind = COMMAND_LEASE, .params = &w->lease, .session = session } };
	w->lease = (struct msg_job_lease){ CAP(queues, w->names), CAP(max, max), CAP(wait_ms, 60000) };
	for (; *queues && w->lease.queues_count < NAMES_MAX; queues += *queues == ' ') {
		char *text = w->texts[w->lease.queues_count];
		size_t size = strcspn(queues, " ");

		assert_true(size < sizeof(w->texts[0]));
		memcpy(text, queues, size);
		w->names[w->lease.queues_count++] = slice_str(text);
		queues += size;
	}
}

static void wait_for(size_t n, const char *queues, int64_t max, uint64_t session)
{
	prepare_waiter(n, queues, max, session);
	rig_submit(&rig, &waiters[n].cmd, COMMAND_LEASE, &waiters[n].lease);
	assert_true(rig.parked);
}

/* Those, and nobody else, were answered since the last time, in this order; −1 at the end. */
static void expect_answered(int first, ...)
{
	size_t count = 0;
	va_list list;

	va_start(list, first);
	for (int n = first; n >= 0; n = va_arg(list, int)) {
		assert_true(count < answered_count);
		assert_int_equal(answered[count++], n);
	}
	va_end(list);
	assert_int_equal(answered_count, count);
	answered_count = 0;
}

/* ---- who is served ---- */

static void the_first_to_come_is_the_first_served(void **state)
{
	(void)state;
	rig_put(&rig, "q", "x");
	rig_lease_many(&rig, (const char *const[]){ "q" }, 1, 1);
	for (size_t i = 0; i < 5; i++)
		wait_for(i, "q", 1, i);
	rig_put(&rig, "q", "x");
	expect_answered(0, -1);
	rig_put_many(&rig, "q", NULL, 3);
	expect_answered(1, 2, 3, -1);
	wait_for(0, "q", 1, 9);
	rig_put_many(&rig, "q", NULL, 3);
	expect_answered(4, 0, -1);
	assert_int_equal(engine_parked(rig.engine), 0);
	assert_int_equal(rig_queue(&rig, "q").counts.ready, 1);
}

static void whoever_asks_for_more_is_given_what_there_is(void **state)
{
	(void)state;
	wait_for(0, "q", 10, 1);
	wait_for(1, "q", 2, 1);
	rig_put_many(&rig, "q", NULL, 12);
	expect_answered(0, 1, -1);
	assert_int_equal(waiters[0].jobs, 10);
	assert_int_equal(waiters[1].jobs, 2);
	wait_for(0, "q", 10, 1);
	wait_for(1, "q", 2, 1);
	rig_put_many(&rig, "q", NULL, 3);
	/* The second has nothing, and waits. */
	expect_answered(0, -1);
	assert_int_equal(waiters[0].jobs, 3);
	rig_put_many(&rig, "q", NULL, 3);
	expect_answered(1, -1);
	assert_int_equal(waiters[1].jobs, 2);
}

static void a_queue_that_is_not_there_yet_is_waited_for(void **state)
{
	(void)state;
	wait_for(0, "later", 1, 1);
	wait_for(1, "never later", 1, 1);
	rig_put(&rig, "other", "x");
	expect_answered(-1);
	rig_put(&rig, "later", "x");
	expect_answered(0, -1);
	rig_put(&rig, "late", "x");
	rig_put(&rig, "later than that", "x");
	expect_answered(-1);
	rig_put(&rig, "later", "x");
	expect_answered(1, -1);
	rig_put(&rig, "never", "x");
	expect_answered(-1);
}

static void one_who_waits_for_several_stands_in_each_line(void **state)
{
	(void)state;
	wait_for(0, "a", 1, 1);
	wait_for(1, "a b", 1, 1);
	wait_for(2, "b", 1, 1);
	rig_put(&rig, "b", "x");
	expect_answered(1, -1);
	assert_string_equal(waiters[1].queue, "b");
	rig_put(&rig, "a", "x");
	expect_answered(0, -1);
	/* It left the line of the other queue too. */
	rig_put(&rig, "a", "x");
	expect_answered(-1);
	rig_put(&rig, "b", "x");
	expect_answered(2, -1);
	assert_int_equal(engine_parked(rig.engine), 0);
}

static void a_queue_named_twice_counts_once(void **state)
{
	(void)state;
	wait_for(0, "q q", 1, 1);
	wait_for(1, "q q q", 2, 1);
	wait_for(2, "q", 1, 1);
	rig_put(&rig, "q", "x");
	expect_answered(0, -1);
	rig_put_many(&rig, "q", NULL, 3);
	expect_answered(1, 2, -1);
	assert_int_equal(waiters[1].jobs, 2);
	wait_for(0, "q q", 1, 7);
	rig_run(&rig, COMMAND_FORGET, NULL);
	assert_int_equal(engine_parked(rig.engine), 1);
	rig_pass(&rig, 60000);
	expect_answered(0, -1);
	assert_int_equal(waiters[0].jobs, 0);
	assert_int_equal(engine_parked(rig.engine), 0);
}

/* Whatever makes a job ready. */
static void every_way_into_line_wakes(void **state)
{
	struct msg_job_put put = { CAP(queue, slice_str("q")), CAP(payload, slice_str("x")), CAP(delay_ms, 1000) };
	struct msg_leased_job job;
	struct uuid id;

	(void)state;
	rig_put_params(&rig, &put);
	wait_for(0, "q", 1, 1);
	rig_pass(&rig, 1000);
	expect_answered(0, -1);
	/* Its lease ends. */
	wait_for(1, "q", 1, 1);
	rig_pass(&rig, 30000);
	expect_answered(1, -1);
	rig_queue_set(&rig, "q", (struct msg_queue_set){ CAP(paused, true) });
	rig_put(&rig, "q", "x");
	wait_for(2, "q", 1, 1);
	rig_pass(&rig, 1);
	expect_answered(-1);
	rig_queue_set(&rig, "q", (struct msg_queue_set){ CAP(paused, false) });
	expect_answered(2, -1);
	rig_put(&rig, "q", "x");
	assert_true(rig_lease(&rig, "q", &job));
	id = job.id;
	rig_fail(&rig, &id, &job.lease, FAIL_REJECTED, 0);
	wait_for(3, "q", 1, 1);
	rig_retry(&rig, &id);
	expect_answered(3, -1);
}

/* ---- who is not asked ---- */

/* Those who wait cannot even be looked at meanwhile: whoever does crashes. */
static void a_put_asks_nobody_who_waits_for_another_queue(void **state)
{
	struct msg_leased_job job;

	(void)state;
	rig_put(&rig, "idle", "x");
	assert_true(rig_lease(&rig, "idle", &job));
	for (size_t i = 0; i < 1000; i++)
		wait_for(i, "idle other", 1, i);
	forbid(PROT_NONE);
	for (int i = 0; i < 20; i++) {
		struct msg_leased_job busy;

		rig_put(&rig, "busy", "x");
		assert_true(rig_lease(&rig, "busy", &busy));
		rig_fail(&rig, &busy.id, &busy.lease, i % 2 ? FAIL_UNAVAILABLE : FAIL_REJECTED, 0);
		rig_pass(&rig, 1000);
	}
	forbid(PROT_READ | PROT_WRITE);
	expect_answered(-1);
	rig_complete(&rig, &job.id, &job.lease, NULL);
	assert_int_equal(engine_parked(rig.engine), 1000);
	rig_put(&rig, "other", "x");
	expect_answered(0, -1);
}

/* ---- going ---- */

static void a_session_that_ends_is_forgotten_in_every_line(void **state)
{
	struct command forget = { .session = 2 };

	(void)state;
	wait_for(0, "a b", 1, 1);
	wait_for(1, "a b", 1, 2);
	wait_for(2, "b c", 1, 2);
	wait_for(3, "a c", 1, 3);
	rig_submit(&rig, &forget, COMMAND_FORGET, NULL);
	expect_answered(1, 2, -1);
	assert_int_equal(waiters[1].jobs + waiters[2].jobs, 0);
	assert_int_equal(engine_parked(rig.engine), 2);
	rig_put(&rig, "c", "x");
	expect_answered(3, -1);
	rig_put(&rig, "b", "x");
	expect_answered(0, -1);
	rig_put_many(&rig, "a", NULL, 2);
	expect_answered(-1);
	assert_int_equal(rig_queue(&rig, "a").counts.ready, 2);
}

static void a_wait_that_is_over_leaves_every_line(void **state)
{
	(void)state;
	wait_for(0, "a b", 1, 1);
	rig_pass(&rig, 1000);
	wait_for(1, "b a", 1, 1);
	assert_int_equal(engine_next_ms(rig.engine), rig.now_ms + 59000);
	rig_pass(&rig, 59000);
	expect_answered(0, -1);
	assert_int_equal(engine_next_ms(rig.engine), rig.now_ms + 1000);
	rig_put(&rig, "a", "x");
	expect_answered(1, -1);
	assert_string_equal(waiters[1].queue, "a");
}

static void a_failed_commit_forgets_nobody_who_waits(void **state)
{
	(void)state;
	wait_for(0, "a", 1, 1);
	wait_for(1, "b", 1, 1);
	rig_put(&rig, "c", "x");
	rig.take_back = true;
	rig_put(&rig, "b", "x");
	/* Whoever was answered in that batch is told that it failed; the others go on waiting. */
	expect_answered(1, -1);
	assert_int_equal(engine_parked(rig.engine), 1);
	assert_int_equal(rig_queue(&rig, "c").counts.ready, 1);
	rig_put(&rig, "a", "x");
	expect_answered(0, -1);
}

/* ---- allocations that fail ---- */

/* The second comes in a batch of its own, in which the fail_at-th allocation fails and those after it; whether it
 * waits.
 */
static bool comes_while_memory_fails(size_t fail_at)
{
	uint8_t random[32] = { 0 };
	struct command *settled;
	struct store_txn *t;
	bool parked = false;
	int rc;

	prepare_waiter(1, "a new newer", 1, 2);
	waiters[1].cmd.answer = waiters[0].cmd.answer;
	waiters[1].cmd.refuse = waiters[0].cmd.refuse;
	waiters[1].cmd.release = waiters[0].cmd.release;
	assert_int_equal(store_begin_write(rig.store, &t), 0);
	assert_int_equal(engine_begin(rig.engine, t, rig.now_ms, random), 0);
	alloc_count_start(fail_at);
	rc = engine_apply(rig.engine, &waiters[1].cmd, &parked);
	alloc_count_stop();
	if (rc == 0) {
		assert_int_equal(engine_finish(rig.engine), 0);
		assert_int_equal(store_commit(t), 0);
		engine_committed(rig.engine, &settled);
	} else {
		assert_int_equal(rc, ERR_NO_MEMORY);
		store_abort(t);
		engine_aborted(rig.engine, false, &settled);
	}
	assert_null(settled);
	assert_int_equal(parked, rc == 0);
	return parked;
}

/* It waits in every line or in none, and those who wait already stay where they are. */
static void whoever_finds_no_memory_to_wait_is_in_no_line(void **state)
{
	size_t fail_at = 1;

	(void)state;
	if (!alloc_can_fail())
		skip();
	wait_for(0, "a", 1, 1);
	for (; !comes_while_memory_fails(fail_at); fail_at++) {
		assert_int_equal(engine_parked(rig.engine), 1);
		rig_put(&rig, "new", "x");
		rig_lease_many(&rig, (const char *const[]){ "new" }, 1, 1);
		expect_answered(-1);
	}
	/* Itself, and a line for each of two queues. */
	assert_true(fail_at > 3);
	assert_int_equal(engine_parked(rig.engine), 2);
	rig_put(&rig, "newer", "x");
	expect_answered(1, -1);
	rig_put_many(&rig, "a", NULL, 2);
	expect_answered(0, -1);
}

/* ---- many ---- */

static void queue_name(char name[16], int64_t n)
{
	snprintf(name, 16, "q%d", (int)n);
}

static bool names(const struct waiter *w, const char *queue)
{
	for (size_t i = 0; i < w->lease.queues_count; i++)
		if (slice_is(w->names[i], queue))
			return true;
	return false;
}

/* Who has waited for the queue for longest; −1: nobody. They came in the order of their numbers. */
static int first_of(const char *queue)
{
	for (int i = 0; i < WAITERS; i++)
		if (waiters[i].answers == 0 && names(&waiters[i], queue))
			return i;
	return -1;
}

static void five_thousand_are_each_served_in_their_turn(void **state)
{
	char queue[16], list[64];

	(void)state;
	draw_begin();
	rig.unchecked = true;
	for (int i = 0; i < WAITERS; i++) {
		int size = 0;

		for (int64_t n = draw(1, NAMES_MAX); n > 0; n--)
			size += snprintf(list + size, sizeof(list) - (size_t)size, "q%d ", (int)draw(0, 99));
		wait_for((size_t)i, list, 1, (uint64_t)draw(1, 50));
	}
	assert_int_equal(engine_parked(rig.engine), WAITERS);
	for (int i = 0; i < 4000; i++) {
		int first;

		queue_name(queue, draw(0, 99));
		first = first_of(queue);
		rig_put(&rig, queue, "x");
		if (first < 0) {
			expect_answered(-1);
			continue;
		}
		expect_answered(first, -1);
		assert_string_equal(waiters[first].queue, queue);
		assert_int_equal(waiters[first].jobs, 1);
	}
	rig_check(&rig);
}

/* ---- with limits ---- */

/* Of four queues the first three have a limit. */
static void step(size_t *waiting)
{
	struct msg_leased_job job;
	char queue[16];

	queue_name(queue, draw(0, 3));
	rig.take_back = draw_once_in(15);
	if (draw_once_in(3)) {
		rig_put(&rig, queue, "x");
	} else if (*waiting < WAITERS && draw_once_in(2)) {
		prepare_waiter(*waiting, draw_once_in(2) ? queue : "q0 q1 q3", draw(1, 2), 1);
		rig_submit(&rig, &waiters[*waiting].cmd, COMMAND_LEASE, &waiters[*waiting].lease);
		(*waiting)++;
	} else if (!rig.take_back && draw_once_in(2) && rig_lease(&rig, queue, &job)) {
		rig_complete(&rig, &job.id, &job.lease, NULL);
	} else {
		rig_pass(&rig, draw(0, 9000));
	}
	rig.take_back = false;
	/* After a failed commit, and where more is due than a batch does, the engine looks once more. */
	while (engine_next_ms(rig.engine) <= rig.now_ms)
		rig_pass(&rig, 0);
	answered_count = 0;
}

/* No job is left behind while its limit has room and somebody waits for it. */
static void nobody_waits_beside_a_job_that_may_begin(void **state)
{
	char queue[16];
	size_t waiting = 0;

	(void)state;
	draw_begin();
	rig.unchecked = true;
	rig_limit_set(&rig, "api", (struct msg_limit_set){ CAP(concurrency, 3), CAP(rate, 20), CAP(burst, 5) });
	for (int i = 0; i < 4; i++) {
		queue_name(queue, i);
		rig_queue_limit(&rig, queue, i < 3 ? "api" : NULL);
	}
	for (int i = 0; i < 1500; i++) {
		step(&waiting);
		for (int k = 0; k < 4; k++) {
			queue_name(queue, k);
			if ((k < 3 && rig_limit(&rig, "api")->now.state != LIMIT_FREE) ||
			    rig_queue(&rig, queue).counts.ready == 0)
				continue;
			for (size_t w = 0; w < waiting; w++)
				assert_true(waiters[w].answers > 0 || !names(&waiters[w], queue));
		}
	}
	rig_check(&rig);
}

/* Two queues, one slot, which the first job has. */
static struct msg_leased_job begin_sharing(void)
{
	struct msg_leased_job job;

	rig.unchecked = true;
	rig_limit_set(&rig, "api", (struct msg_limit_set){ CAP(concurrency, 1) });
	rig_queue_set(&rig, "three", (struct msg_queue_set){ CAP(weight, 3) });
	rig_queue_limit(&rig, "one", "api");
	rig_queue_limit(&rig, "three", "api");
	rig_put_many(&rig, "one", NULL, 400);
	assert_true(rig_lease(&rig, "one", &job));
	wait_for(0, "one", 1, 1);
	wait_for(1, "three", 1, 1);
	return job;
}

/* The slot comes free so often, and goes to one of those who wait; from where three has jobs, by weight. beside: a
 * worker serves a queue of its own meanwhile. */
static void expect_shares(struct msg_leased_job *job, int count, bool alone, bool beside)
{
	int one = 0, three = 0;

	for (int i = 0; i < count; i++) {
		bool is_one;

		if (beside) {
			rig_put_many(&rig, "beside", NULL, 7);
			assert_int_equal(rig_lease_many(&rig, (const char *const[]){ "beside" }, 1, 7), 7);
		}
		rig_complete(&rig, &job->id, &job->lease, NULL);
		/* The answer that is kept is the one to whoever waited. */
		*job = rig.answer.lease.jobs[0];
		is_one = slice_is(job->queue, "one");
		expect_answered(is_one ? 0 : 1, -1);
		wait_for(is_one ? 0 : 1, is_one ? "one" : "three", 1, 1);
		*(is_one ? &one : &three) += 1;
		assert_in_range(alone ? three : 3 * one - three + 6, 0, alone ? 0 : 12);
	}
}

static void queues_of_one_limit_share_what_comes_free(void **state)
{
	struct msg_leased_job job = begin_sharing();

	(void)state;
	/* Whoever had nothing to give has earned nothing meanwhile. */
	expect_shares(&job, 100, true, false);
	rig_put_many(&rig, "three", NULL, 200);
	expect_shares(&job, 120, false, false);
}

static void queues_of_one_limit_share_beside_one_that_has_none(void **state)
{
	struct msg_leased_job job = begin_sharing();

	(void)state;
	rig_put_many(&rig, "three", NULL, 200);
	expect_shares(&job, 120, false, true);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(the_first_to_come_is_the_first_served),
		T(whoever_asks_for_more_is_given_what_there_is),
		T(a_queue_that_is_not_there_yet_is_waited_for),
		T(one_who_waits_for_several_stands_in_each_line),
		T(a_queue_named_twice_counts_once),
		T(every_way_into_line_wakes),
		T(a_put_asks_nobody_who_waits_for_another_queue),
		T(a_session_that_ends_is_forgotten_in_every_line),
		T(a_wait_that_is_over_leaves_every_line),
		T(a_failed_commit_forgets_nobody_who_waits),
		T(whoever_finds_no_memory_to_wait_is_in_no_line),
		T(five_thousand_are_each_served_in_their_turn),
		T(nobody_waits_beside_a_job_that_may_begin),
		T(queues_of_one_limit_share_what_comes_free),
		T(queues_of_one_limit_share_beside_one_that_has_none),
	};
	return cmocka_run_group_tests(tests, alloc_count_init, NULL);
}
