/* A disk that fails or fills up under a broker that runs.
 *
 * Every call that touches a file fails in turn, with each error, once or from then on until the disk is well again; in
 * the middle of a write, before the call did anything or after it did all. What the broker refuses then it refuses with
 * an error that says so, and it is as if it had never been asked; what it acknowledges is there. When the disk is well
 * the same process works again, without anybody's help. A start on a failing disk ends with a message or goes well, and
 * the next start on a good disk goes well.
 *
 * FAULTS: how many points of a life, and of a start, are tried with each fault (12), or "all".
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "proto/base/clean.h"
#include "tests/harness/fault_run.h"

#define PATIENCE_MS 10000
#define KINDS	    (FAULT_FILE_CALLS & ~FAULT_BIT(FAULT_MKDIR)) /* 256 folders are made by the same line */

static struct fault_run run = { .kinds = KINDS, .setting = "FAULTS", .points = 12 };

/* One way for a call to fail. */
struct way {
	const char *name;
	enum fault_action action;
	int error;
	bool lasting;
};

static const struct way ways[] = {
	{ "EIO once", FAULT_FAIL, EIO, false },
	{ "EIO from then on", FAULT_FAIL, EIO, true },
	{ "EIO once, after all was done", FAULT_FAIL_LATE, EIO, false },
	{ "EIO from then on, after all was done", FAULT_FAIL_LATE, EIO, true },
	{ "ENOSPC once", FAULT_FAIL, ENOSPC, false },
	{ "ENOSPC from then on", FAULT_FAIL, ENOSPC, true },
	{ "ENOSPC once, after half a write", FAULT_FAIL_SHORT, ENOSPC, false },
	{ "ENOSPC from then on, after half a write", FAULT_FAIL_SHORT, ENOSPC, true },
	{ "EDQUOT from then on", FAULT_FAIL, EDQUOT, true },
};

struct tally {
	unsigned points;
	unsigned refused;
	unsigned acknowledged;
	unsigned not_started;
};

static struct fault_plan plan_of(const struct way *w, int64_t point)
{
	return (struct fault_plan){
		.kinds = KINDS, .action = w->action, .at = point, .error = w->error, .lasting = w->lasting
	};
}

static void verify_after_restart(struct life *life)
{
	if (!fault_start_plain(&run.fault, NULL))
		fault_run_failed(&run, "the broker does not start again: %s", fault_status_text(run.fault.status));
	fault_run_verify(&run, life, "after a restart");
	process_stop(&run.fault.broker);
}

/* False where the life had fewer calls. */
static bool survive_life(const struct way *w, int64_t point, struct tally *tally)
{
	const struct fault_plan plan = plan_of(w, point);
	struct life life;

	if (!fault_run_live(&run, &plan, w->name, &life))
		return false;
	if (life.lost && fault_has_ended(&run.fault, PATIENCE_MS))
		fault_run_failed(&run, "the broker ended: %s", fault_status_text(run.fault.status));
	if (life.lost)
		fault_run_failed(&run, "the broker does not answer");
	fault_run_recover(&run, &life);
	verify_after_restart(&life);
	tally->points++;
	tally->refused += life.refused;
	tally->acknowledged += life.acknowledged;
	return true;
}

/* The i-th of the ways begins at another point, so that all together try more of them. */
static void each_call_of_a_life_may_fail(void **state)
{
	int64_t calls = fault_run_count(&run, false), stride = fault_run_stride(&run, calls);
	struct tally tally = { 0 };

	(void)state;
	for (size_t i = fault_setting("WAY", 0); i < ARRAY_SIZE(ways); i++)
		for (int64_t point = 1 + (int64_t)i % stride; survive_life(&ways[i], point, &tally); point += stride)
			;
	print_message(
		"# FAULTS: %u points: of %lld calls every %lld-th, %zu faults; %u refusals, %u acknowledgements\n",
		tally.points, (long long)calls, (long long)stride, ARRAY_SIZE(ways), tally.refused, tally.acknowledged);
	assert_true(tally.refused > 0);
}

/* A start meets the fault, or ends with a message; the next one on a disk that is well goes well. */
static void survive_start(const struct way *w, int64_t point, struct tally *tally)
{
	const struct fault_plan plan = plan_of(w, point);
	struct life life;

	fault_new_disk(&run.fault);
	life_init(&life, &run.fault, run.lives++);
	fault_run_arm(&run, &plan, w->name);
	if (!fault_start(&run.fault, NULL, false)) {
		if (!WIFEXITED(run.fault.status) || WEXITSTATUS(run.fault.status) != 1 ||
		    !strstr(fault_words(&run.fault), " error "))
			fault_run_failed(&run, "the start ended without a word: %s",
					 fault_status_text(run.fault.status));
		tally->not_started++;
		fault_disarm(&run.fault);
		if (!fault_start(&run.fault, NULL, false))
			fault_run_failed(&run, "no start on the disk when it is well: %s",
					 fault_status_text(run.fault.status));
	}
	tally->points += fault_met(&run.fault) > 0;
	fault_run_recover(&run, &life);
}

static void each_call_of_a_start_may_fail(void **state)
{
	int64_t calls = fault_run_count(&run, true), stride = fault_run_stride(&run, calls);
	struct tally tally = { 0 };

	(void)state;
	/* The sweep goes on beside what follows: how many calls there are differs by a few. */
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++)
		for (int64_t point = 1 + (int64_t)i % stride; point <= calls; point += stride)
			survive_start(&ways[i], point, &tally);
	print_message("# FAULTS: %u points: of %lld calls every %lld-th, %zu faults; %u starts ended with a message\n",
		      tally.points, (long long)calls, (long long)stride, ARRAY_SIZE(ways), tally.not_started);
	assert_true(tally.not_started > 0);
}

/* ---- one commit ---- */

#define BATCH 30

struct answers {
	unsigned taken;
	unsigned refused;
	int code; /* of the last refusal */
};

static void count_cb(struct raincheck *rc, const struct raincheck_reply *reply, void *user)
{
	struct answers *a = user;

	(void)rc;
	a->taken += reply->code == 0;
	a->refused += reply->code < 0;
	a->code = reply->code < 0 ? reply->code : a->code;
}

static struct raincheck_put numbered_put(int number, char *key, size_t size)
{
	snprintf(key, size, "key-%d", number);
	return (struct raincheck_put){ .queue = "batch", .payload = { key, strlen(key) }, .idempotency_key = key };
}

static void put_async(struct raincheck *rc, int number, struct answers *answers)
{
	char key[32];
	struct raincheck_put put = numbered_put(number, key, sizeof(key));

	assert_int_equal(raincheck_put_async(rc, &put, count_cb, answers), 0);
}

/* What was sent before it was handed to the writer when it is answered. */
static void ping(struct raincheck *rc)
{
	struct raincheck_ping_result *pong;

	assert_int_equal(raincheck_ping(rc, &pong), 0);
	raincheck_free(pong);
}

/* Puts the batch again, key by key: each is new. */
static void expect_none_there(struct raincheck *rc)
{
	struct raincheck_stats *stats;

	for (int i = 1; i <= BATCH; i++) {
		char key[32];
		struct raincheck_put put = numbered_put(i, key, sizeof(key));
		struct raincheck_put_result *result;

		assert_int_equal(raincheck_put(rc, &put, &result), 0);
		assert_true(result->created);
		raincheck_free(result);
	}
	assert_int_equal(raincheck_stats(rc, &stats), 0);
	assert_int_equal(stats->store.failed_commits, 1);
	assert_int_equal(stats->put_total, BATCH + 1);
	raincheck_free(stats);
}

/* While one commit is being synced, many puts gather; their commit fails: so does every one of them, and none is there.
 */
static void a_failed_commit_fails_its_whole_batch(void **state)
{
	const struct fault_plan hold = { .kinds = FAULT_BIT(FAULT_SYNC), .action = FAULT_HOLD, .at = 1 };
	const struct fault_plan fail = { .kinds = FAULT_BIT(FAULT_SYNC), .action = FAULT_FAIL, .at = 1, .error = EIO };
	struct answers first = { 0 }, others = { 0 };
	struct raincheck *rc;

	(void)state;
	assert_true(fault_start(&run.fault, NULL, false));
	rc = fault_connect(&run.fault);
	ping(rc);
	fault_arm(&run.fault, &hold);
	put_async(rc, 0, &first);
	ping(rc);
	fault_await_held(&run.fault);
	for (int i = 1; i <= BATCH; i++)
		put_async(rc, i, &others);
	ping(rc);
	assert_int_equal(others.taken + others.refused + first.taken, 0);
	fault_arm(&run.fault, &fail);
	fault_let_go(&run.fault);
	assert_int_equal(raincheck_run(rc, -1), 0);
	assert_int_equal(first.taken, 1);
	assert_int_equal(others.refused, BATCH);
	assert_int_equal(others.code, RAINCHECK_ESTORE_ERROR);
	expect_none_there(rc);
	raincheck_close(rc, NULL, NULL);
	process_stop(&run.fault.broker);
}

static int setup(void **state)
{
	(void)state;
	fault_open(&run.fault);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fault_close(&run.fault);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_call_of_a_life_may_fail, setup, teardown),
		cmocka_unit_test_setup_teardown(each_call_of_a_start_may_fail, setup, teardown),
		cmocka_unit_test_setup_teardown(a_failed_commit_fails_its_whole_batch, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
