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
#include "tests/harness/fault_life.h"

#define OUTPUT_BYTES 2000
#define TEXT_BYTES   3000
#define PATIENCE_MS  10000
#define KINDS	     (FAULT_FILE_CALLS & ~FAULT_BIT(FAULT_MKDIR)) /* 256 folders are made by the same line */

static struct fault fault;
static unsigned lives;

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

static int64_t points_wanted(void)
{
	const char *wanted = getenv("FAULTS");

	return wanted && strcmp(wanted, "all") == 0 ? INT64_MAX : (int64_t)fault_setting("FAULTS", 12);
}

/* Ends the test, with all that may help. */
static void failed(const struct way *w, int64_t point, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void failed(const struct way *w, int64_t point, const char *fmt, ...)
{
	char text[TEXT_BYTES];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	fail_msg("%s at call %lld: %s\n%s", w->name, (long long)point, text, fault_words(&fault));
}

static void check_data(const struct way *w, int64_t point)
{
	char output[OUTPUT_BYTES];
	int status = fault_check(&fault, fault.data, output, sizeof(output));

	if (status != 0)
		failed(w, point, "check: %s\n%s", fault_status_text(status), output);
}

static void arm(const struct way *w, int64_t point)
{
	const struct fault_plan plan = {
		.kinds = KINDS, .action = w->action, .at = point, .error = w->error, .lasting = w->lasting
	};

	fault_arm(&fault, &plan);
}

static void verify(struct life *life, const struct way *w, int64_t point, const char *when)
{
	life_verify(life, LIFE_NOW);
	if (life->wrong[0])
		failed(w, point, "%s: %s", when, life->wrong);
}

/* The disk is well again. */
static void recover(struct life *life, const struct way *w, int64_t point)
{
	fault_disarm(&fault);
	if (fault_has_ended(&fault, 0))
		failed(w, point, "the broker ended by itself: %s", fault_status_text(fault.status));
	if (!life_try(&fault, lives++))
		failed(w, point, "the broker does not recover");
	verify(life, w, point, "in the same process");
	if (fault_end(&fault, SIGTERM) != 0)
		failed(w, point, "after SIGTERM: %s", fault_status_text(fault.status));
	check_data(w, point);
	if (!fault_start_plain(&fault, NULL))
		failed(w, point, "the broker does not start again: %s", fault_status_text(fault.status));
	verify(life, w, point, "after a restart");
	process_stop(&fault.broker);
}

/* False where the life had fewer calls. */
static bool survive_life(const struct way *w, int64_t point, struct tally *tally)
{
	struct life life;

	fault_new_disk(&fault);
	life_init(&life, &fault, lives++);
	if (!fault_start(&fault, NULL, false))
		failed(w, point, "the broker does not start: %s", fault_status_text(fault.status));
	arm(w, point);
	life_run(&life);
	if (life.wrong[0])
		failed(w, point, "%s", life.wrong);
	if (life.lost && fault_has_ended(&fault, PATIENCE_MS))
		failed(w, point, "the broker ended: %s", fault_status_text(fault.status));
	if (life.lost)
		failed(w, point, "the broker does not answer");
	if (fault_met(&fault) == 0) {
		process_stop(&fault.broker);
		return false;
	}
	recover(&life, w, point);
	tally->points++;
	tally->refused += life.refused;
	tally->acknowledged += life.acknowledged;
	return true;
}

/* Calls of an undisturbed life. */
static int64_t count_calls(bool of_start)
{
	struct life life;
	uint64_t before;

	fault_new_disk(&fault);
	life_init(&life, &fault, lives++);
	assert_true(fault_start(&fault, NULL, false));
	before = fault_calls(&fault, KINDS);
	if (!of_start)
		life_run(&life);
	process_stop(&fault.broker);
	return (int64_t)(of_start ? before : fault_calls(&fault, KINDS) - before);
}

/* The i-th of the ways begins at another point, so that all together try more of them. */
static void each_call_of_a_life_may_fail(void **state)
{
	int64_t calls = count_calls(false);
	int64_t wanted = points_wanted();
	int64_t stride = wanted >= calls ? 1 : (calls + wanted - 1) / wanted;
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

/* A start meets the fault. Whether it was a start with that many calls. */
static bool survive_start(const struct way *w, int64_t point, struct tally *tally)
{
	bool met;

	fault_new_disk(&fault);
	arm(w, point);
	if (!fault_start(&fault, NULL, false)) {
		if (!WIFEXITED(fault.status) || WEXITSTATUS(fault.status) != 1 ||
		    !strstr(fault_words(&fault), " error "))
			failed(w, point, "the start ended without a word: %s", fault_status_text(fault.status));
		tally->not_started++;
		fault_disarm(&fault);
		if (!fault_start(&fault, NULL, false))
			failed(w, point, "no start on the disk when it is well: %s", fault_status_text(fault.status));
	}
	met = fault_met(&fault) > 0;
	fault_disarm(&fault);
	if (!life_try(&fault, lives++))
		failed(w, point, "the broker does not work");
	if (fault_end(&fault, SIGTERM) != 0)
		failed(w, point, "after SIGTERM: %s", fault_status_text(fault.status));
	check_data(w, point);
	tally->points += met;
	return met;
}

static void each_call_of_a_start_may_fail(void **state)
{
	int64_t calls = count_calls(true);
	int64_t wanted = points_wanted();
	int64_t stride = wanted >= calls ? 1 : (calls + wanted - 1) / wanted;
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
	assert_true(fault_start(&fault, NULL, false));
	rc = fault_connect(&fault);
	ping(rc);
	fault_arm(&fault, &hold);
	put_async(rc, 0, &first);
	ping(rc);
	fault_await_held(&fault);
	for (int i = 1; i <= BATCH; i++)
		put_async(rc, i, &others);
	ping(rc);
	assert_int_equal(others.taken + others.refused + first.taken, 0);
	fault_arm(&fault, &fail);
	fault_let_go(&fault);
	assert_int_equal(raincheck_run(rc, -1), 0);
	assert_int_equal(first.taken, 1);
	assert_int_equal(others.refused, BATCH);
	assert_int_equal(others.code, RAINCHECK_ESTORE_ERROR);
	expect_none_there(rc);
	raincheck_close(rc, NULL, NULL);
	process_stop(&fault.broker);
}

static int setup(void **state)
{
	(void)state;
	fault_open(&fault);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fault_close(&fault);
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
