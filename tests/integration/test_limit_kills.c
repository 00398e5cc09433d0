/* A limit in front of the stand-in API in its degrading mode, with several workers that are killed at random: slots
 * never leak. Whoever is killed and when is drawn; the moments are events, the calls that the API has counted.
 *
 * The seeds are printed: LIMIT_KILLS_SEED=… takes others, LIMIT_KILLS_RUNS=… more of them. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/clean.h"
#include "proto/base/clock.h"
#include "tests/harness/stack.h"

#define PATIENCE_MS 120000
#define WORKERS	    3
#define CONCURRENCY 6 /* less than the workers have slots together, more than the API bears */
#define JOBS	    60
#define KILLS	    8

static struct stack stack;
static struct process workers[WORKERS];
static struct raincheck *rc;
static char ids[JOBS][RAINCHECK_ID_SIZE];

static unsigned long setting(const char *name, unsigned long otherwise)
{
	const char *value = getenv(name);

	return value && *value ? strtoul(value, NULL, 10) : otherwise;
}

/* S. Vigna, splitmix64. */
static uint64_t draw(uint64_t *seed)
{
	uint64_t z = *seed += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* ---- the programs ---- */

static void start_worker(int i)
{
	char program[512], name[16];
	const char *argv[] = { program, "--config", stack.worker_config, "--name", name, "--log-level", "error", NULL };

	snprintf(program, sizeof(program), "%s", process_program("raincheck-worker"));
	snprintf(name, sizeof(name), "w%d", i);
	process_start(&workers[i], argv);
}

static void kill_worker(int i)
{
	if (workers[i].pid)
		process_end(&workers[i], SIGKILL);
	workers[i].pid = 0;
}

static int setup(void **state)
{
	static const char *const api[] = { "--fake",	"--no-ffmpeg", "--capacity", "2",
					   "--degrade", "--delay-ms",  "20",	     NULL };

	(void)state;
	memset(&stack, 0, sizeof(stack));
	memset(workers, 0, sizeof(workers));
	tempdir_make(&stack.dir);
	stack_start_api(&stack, api);
	stack_start_broker(&stack);
	/* Whoever is killed loses its jobs soon. */
	stack_configure_worker(&stack, "slots: 4\nlease: 1s\n");
	rc = stack_connect(&stack);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (int i = 0; i < WORKERS; i++)
		kill_worker(i);
	raincheck_close(rc, NULL, NULL);
	stack_stop(&stack);
	return 0;
}

/* ---- the limit ---- */

static void set_limit(struct raincheck_limit_set set)
{
	struct raincheck_queue_set queue = { .queue = "sync", .limit = "api" };
	struct raincheck_limit *limit;
	struct raincheck_queue *q;

	set.limit = "api";
	if (raincheck_limit_set(rc, &set, &limit) < 0 || raincheck_queue_set(rc, &queue, &q) < 0) {
		fail_msg("%s", raincheck_last_error(rc)->message);
		return;
	}
	raincheck_free(limit);
	raincheck_free(q);
}

/* What must hold at every moment. */
static struct raincheck_limit_now look(void)
{
	struct raincheck_limit_now now = { .in_flight = -1 };
	struct raincheck_limit *limit;

	if (raincheck_limit_get(rc, "api", &limit) < 0) {
		fail_msg("%s", raincheck_last_error(rc)->message);
		return now;
	}
	now = limit->now;
	raincheck_free(limit);
	assert_in_range(now.in_flight, 0, CONCURRENCY);
	return now;
}

static long counted(const char *what)
{
	struct http_answer answer;
	char url[256], key[64];
	const char *at;
	long n;

	snprintf(url, sizeof(url), "%s/stats?names=0", stack.api_url);
	http_request(NULL, url, NULL, &answer);
	snprintf(key, sizeof(key), "\"%s\":", what);
	at = strstr(answer.body, key);
	assert_non_null(at);
	n = strtol(at + strlen(key), NULL, 10);
	http_answer_done(&answer);
	return n;
}

/* For another run. */
static void reset_counts(void)
{
	struct http_answer answer;
	char url[256];

	snprintf(url, sizeof(url), "%s/reset", stack.api_url);
	http_request("POST", url, NULL, &answer);
	http_answer_done(&answer);
}

/* With a look at each one that comes. */
static void await_submits(long wanted)
{
	for (long n = counted("submits"); n < wanted; n = counted("submits")) {
		look();
		stack_wait_for_api(&stack, NULL, "submits", n + 1);
	}
}

/* Until as many are under way and wait; the checks of look() hold all the while. */
static void await_limit(int64_t in_flight, int64_t waiting)
{
	int64_t until = clock_mono_ms() + PATIENCE_MS;
	struct raincheck_limit_now now;

	for (now = look(); now.in_flight != in_flight || now.waiting != waiting; now = look())
		assert_true(clock_mono_ms() < until);
}

/* ---- jobs ---- */

static void put(const char *name, const char *behave, char *ret_id)
{
	struct raincheck_put params = { .queue = "sync", .content_type = "application/json", .max_attempts = 1000 };
	struct raincheck_put_result *result;
	char payload[256];

	snprintf(payload, sizeof(payload), "{\"name\": \"%s\", \"behave\": {%s}}", name, behave);
	params.payload = (struct raincheck_bytes){ payload, strlen(payload) };
	params.backoff = (struct raincheck_backoff){ .has_base_ms = true, .base_ms = 10, .max_ms = 20 };
	if (raincheck_put(rc, &params, &result) < 0) {
		fail_msg("%s", raincheck_last_error(rc)->message);
		return;
	}
	memcpy(ret_id, result->id, RAINCHECK_ID_SIZE);
	raincheck_free(result);
}

static void expect_all_succeed(void)
{
	for (int i = 0; i < JOBS; i++) {
		struct raincheck_job *job;

		if (raincheck_wait(rc, ids[i], PATIENCE_MS, &job) < 0) {
			fail_msg("%s", raincheck_last_error(rc)->message);
			return;
		}
		look();
		if (job->state != RAINCHECK_JOB_SUCCEEDED)
			fail_msg("a job is %s", raincheck_job_state_name(job->state));
		raincheck_free(job);
	}
}

static void cancel_all(void)
{
	struct raincheck_change change = { .filter = { .queue = "sync" } };
	struct raincheck_change_result *result;

	if (raincheck_cancel_many(rc, &change, &result) < 0) {
		fail_msg("%s", raincheck_last_error(rc)->message);
		return;
	}
	raincheck_free(result);
}

/* ---- the story ---- */

/* One after another, each when the API has been called so often: within the calls that there will be at least. */
static void kill_some(uint64_t *seed)
{
	for (int i = 0; i < KILLS; i++) {
		int who = (int)(draw(seed) % WORKERS);

		await_submits(i * JOBS / KILLS + (long)(draw(seed) % (JOBS / KILLS)));
		kill_worker(who);
		look();
		start_worker(who);
	}
}

/* As many calls as there may be, none of which is answered; whoever makes them is killed, and others make them. */
static void expect_every_slot_of_use(void)
{
	char id[RAINCHECK_ID_SIZE];

	set_limit((struct raincheck_limit_set){ .defaults = RAINCHECK_LIMIT_ADAPTIVE });
	for (int i = 0; i < CONCURRENCY + 2; i++)
		put("hangs", "\"hang\": true", id);
	await_limit(CONCURRENCY, 2);
	for (int i = 0; i < WORKERS; i++)
		kill_worker(i);
	/* Their leases run out: then nothing is under way. */
	await_limit(0, CONCURRENCY + 2);
	start_worker(0);
	start_worker(1);
	await_limit(CONCURRENCY, 2);
	cancel_all();
	await_limit(0, 0);
}

static void slots_never_leak(void **state)
{
	unsigned long first = setting("LIMIT_KILLS_SEED", (unsigned long)clock_mono_ns());

	(void)state;
	for (unsigned long run = 0; run < setting("LIMIT_KILLS_RUNS", 1); run++) {
		uint64_t seed = first + run;

		printf("LIMIT_KILLS_SEED=%lu\n", first + run);
		fflush(stdout);
		set_limit((struct raincheck_limit_set){
			.concurrency = CONCURRENCY, .has_adaptive = true, .adaptive = { .min = 2, .max = 20 } });
		for (int i = 0; i < JOBS; i++)
			put("ada", "", ids[i]);
		for (int i = 0; i < WORKERS; i++)
			start_worker(i);
		kill_some(&seed);
		expect_all_succeed();
		await_limit(0, 0);
		expect_every_slot_of_use();
		for (int i = 0; i < WORKERS; i++)
			kill_worker(i);
		reset_counts();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(slots_never_leak, setup, teardown),
	};

	return cmocka_run_group_tests_name("limit kills", tests, NULL, NULL);
}
