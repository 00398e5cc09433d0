/* Whose turn it is among very many queues: shares by weight, to whoever could be served and for what each gave.
 *
 * SEED=… plays the random runs again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/engine/queue_turns.h"
#include "server/flow/fair.h"
#include "tests/harness/engine_rig.h"
#include "tests/unit/test_flow_draw.h"

#define CAP(field_, value_) .has_##field_ = true, .field_ = (value_)
#define COST		    ((double)FAIR_COST)

/* ---- by themselves ---- */

static struct queue_turns turns;
static struct queue queues[QUEUES_MAX];
static int64_t served[QUEUES_MAX];

static int begin(void **state)
{
	(void)state;
	memset(&turns, 0, sizeof(turns));
	memset(queues, 0, sizeof(queues));
	memset(served, 0, sizeof(served));
	for (uint32_t i = 0; i < QUEUES_MAX; i++) {
		queues[i].number = i;
		queues[i].record.weight = 1;
	}
	return 0;
}

static size_t have_a_turn(void)
{
	struct queue *q = queue_turns_next(&turns);
	size_t n = (size_t)(q - queues);

	served[n]++;
	queue_turns_earn(&turns, 1);
	queue_turns_pay(&turns, q);
	return n;
}

static void enter(size_t first, size_t count)
{
	for (size_t i = first; i < first + count; i++)
		queue_turns_enter(&turns, &queues[i]);
}

static void the_share_of_each_is_never_a_turn_from_its_weight(void **state)
{
	double weights = 0;

	(void)state;
	draw_begin();
	for (size_t i = 0; i < 50; i++) {
		queues[i].record.weight = (uint32_t)draw(1, FAIR_WEIGHT_MAX);
		weights += queues[i].record.weight;
	}
	enter(0, 50);
	for (int i = 1; i <= 20000; i++) {
		have_a_turn();
		/* As many end and begin anew as go on. */
		if (draw_once_in(20)) {
			queue_turns_end(&turns);
			enter(0, 50);
		}
		for (size_t k = 0; k < 50; k++) {
			double off = (double)served[k] - i * (double)queues[k].record.weight / weights;

			assert_true(off > -2 && off < 2);
		}
	}
}

static void everybody_has_a_turn_before_anybody_has_two(void **state)
{
	(void)state;
	enter(0, QUEUES_MAX);
	for (int round = 1; round <= 3; round++)
		for (size_t i = 0; i < QUEUES_MAX; i++) {
			assert_int_equal(have_a_turn(), i);
			assert_int_equal(served[i], round);
		}
	queue_turns_end(&turns);
	assert_null(queue_turns_next(&turns));
}

/* What is earned is paid: nothing comes from nowhere, and nobody earns who is not in. */
static void whoever_is_out_earns_nothing(void **state)
{
	double owed, all = 0;

	(void)state;
	draw_begin();
	for (size_t i = 0; i < 100; i++)
		queues[i].record.weight = (uint32_t)draw(1, 10);
	for (int i = 0; i < 20000; i++) {
		struct queue *q = &queues[draw(0, 99)];

		if (q->turn == 0 && draw_once_in(2))
			queue_turns_enter(&turns, q);
		else if (draw_once_in(3))
			queue_turns_leave(&turns, q);
		else if (turns.count > 0)
			have_a_turn();
		if (q->turn == 0 && turns.count > 0 && q != queue_turns_next(&turns)) {
			owed = (double)q->owed_in_line;
			have_a_turn();
			assert_true(owed == (double)q->owed_in_line);
		}
		/* The first is one whom no other goes before. */
		for (size_t k = 0; k < turns.count; k++) {
			assert_int_equal(turns.heap[k]->turn, k + 1);
			assert_true(turns.heap[k]->rank <= turns.heap[0]->rank);
		}
	}
	queue_turns_end(&turns);
	for (size_t i = 0; i < 100; i++)
		all += (double)queues[i].owed_in_line;
	assert_true(all > -0.1 * COST && all < 0.1 * COST);
	assert_int_equal(turns.weights, 0);
	assert_int_equal(turns.earned, 0);
}

/* Also where a turn's share of one unit of weight is least. */
static void the_least_share_of_the_most_is_earned(void **state)
{
	double all = 0;

	(void)state;
	for (size_t i = 0; i < QUEUES_MAX; i++)
		queues[i].record.weight = FAIR_WEIGHT_MAX;
	enter(0, QUEUES_MAX);
	for (size_t i = 0; i < QUEUES_MAX; i++)
		have_a_turn();
	queue_turns_end(&turns);
	for (size_t i = 0; i < QUEUES_MAX; i++) {
		assert_int_equal(served[i], 1);
		all += (double)queues[i].owed_in_line;
	}
	assert_true(all > -0.001 * COST * QUEUES_MAX && all < 0.001 * COST * QUEUES_MAX);
}

/* ---- in the engine ---- */

#define WAITERS 40

static struct rig rig;
static struct waiter {
	struct command cmd;
	struct msg_job_lease lease;
	struct slice names[2];
	bool told;
} waiters[WAITERS];
static struct msg_leased_job running;
static int given[2]; /* by a, by b */

static void told_cb(struct command *cmd, const void *result)
{
	const struct msg_job_lease_result *leased = result;
	struct waiter *w = (struct waiter *)(void *)cmd;

	if (w < waiters || w >= waiters + WAITERS || leased->jobs_count == 0)
		return;
	w->told = true;
	running = leased->jobs[0];
	given[slice_is(running.queue, "b")]++;
}

static int setup(void **state)
{
	(void)state;
	rig_open(&rig);
	rig.unchecked = true;
	given[0] = given[1] = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rig_check(&rig);
	rig.told = NULL;
	rig_close(&rig);
	return 0;
}

/* Every second one waits for both. */
static void wait_again(size_t n)
{
	struct waiter *w = &waiters[n];

	*w = (struct waiter){ .cmd = { .kind = COMMAND_LEASE, .params = &w->lease, .session = 1 },
			      .names = { slice_str("b"), slice_str("a") } };
	w->lease = (struct msg_job_lease){ CAP(queues, w->names), CAP(max, 1), CAP(wait_ms, 60000) };
	w->lease.queues_count = 1 + n % 2;
	rig_submit(&rig, &w->cmd, COMMAND_LEASE, &w->lease);
	assert_true(rig.parked);
}

/* One slot for both queues. Whoever waits for a and b may be given one of b in a turn of a's, and then it is b that has
 * had it. */
static void a_queue_pays_for_what_it_gave_itself(void **state)
{
	(void)state;
	rig_limit_set(&rig, "api", (struct msg_limit_set){ CAP(concurrency, 1) });
	rig_put_many(&rig, "a", NULL, 500);
	rig_put_many(&rig, "b", NULL, 500);
	rig_queue_limit(&rig, "a", "api");
	rig_queue_limit(&rig, "b", "api");
	assert_true(rig_lease(&rig, "a", &running));
	rig.told = told_cb;
	for (size_t i = 0; i < WAITERS; i++)
		wait_again(i);
	for (int n = 0; n < 400; n++) {
		struct msg_leased_job job = running;

		rig_complete(&rig, &job.id, &job.lease, NULL);
		for (size_t i = 0; i < WAITERS; i++)
			if (waiters[i].told)
				wait_again(i);
	}
	assert_in_range(given[0], 190, 210);
	assert_int_equal(given[0] + given[1], 400);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup(name, begin)
	const struct CMUnitTest tests[] = {
		T(the_share_of_each_is_never_a_turn_from_its_weight),
		T(everybody_has_a_turn_before_anybody_has_two),
		T(whoever_is_out_earns_nothing),
		T(the_least_share_of_the_most_is_earned),
		cmocka_unit_test_setup_teardown(a_queue_pays_for_what_it_gave_itself, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
