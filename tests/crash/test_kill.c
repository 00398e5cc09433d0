/* Kill −9 under load. Producers put and workers work while broker and worker are killed again and again; the log of
 * what was acknowledged is kept in this process, which nobody kills. Afterwards every acknowledged job must have
 * succeeded, with the result that was asked for, published once: what was seen of a finished job never changes. The
 * checker proves the store.
 *
 * CRASHES sets how many kills (50), SEED which moments; both are printed, so that a run can be had again.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#include "tests/harness/stack.h"

#define PRODUCERS    3
#define JOBS_MAX     200000
#define ACKS_BETWEEN 40 /* at most, from one kill to the next */
#define LOOK_S	     2	/* without an acknowledgement: to see whether somebody died */

/* What a producer was told, and what was later seen of it. */
struct acknowledged {
	char id[RAINCHECK_ID_SIZE];
	char name[32];
	int64_t finished_at_ms; /* when it was first seen finished; 0: not yet */
	char sha256[RAINCHECK_SHA256_SIZE];
};

static struct {
	struct stack stack;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t more;  /* a job was acknowledged */
	struct acknowledged *jobs;
	size_t count;
	bool stop;
} run = { .lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER };

static unsigned long setting(const char *name, unsigned long otherwise)
{
	const char *value = getenv(name);

	return value && *value ? strtoul(value, NULL, 10) : otherwise;
}

static bool acknowledge(const struct raincheck_put_result *result, const char *name)
{
	bool stop;

	pthread_mutex_lock(&run.lock);
	if (run.count < JOBS_MAX) {
		struct acknowledged *a = &run.jobs[run.count++];

		memcpy(a->id, result->id, sizeof(a->id));
		snprintf(a->name, sizeof(a->name), "%s", name);
	}
	pthread_cond_broadcast(&run.more);
	stop = run.stop || run.count == JOBS_MAX;
	pthread_mutex_unlock(&run.lock);
	return stop;
}

/* Puts one job after the other, each until it is acknowledged: the idempotency key makes asking again safe. */
static void *producer_main(void *arg)
{
	struct raincheck *rc = stack_connect(&run.stack);
	bool stop = false;

	for (int i = 0; !stop; i++) {
		struct raincheck_put put = { .has_priority = true, .priority = i % 10, .max_attempts = 1000 };
		struct raincheck_put_result *result;
		char name[32], payload[128];

		snprintf(name, sizeof(name), "p%d-%d", *(int *)arg, i);
		snprintf(payload, sizeof(payload), "{\"name\": \"%s\"}", name);
		put.queue = i % 2 ? "poll" : "sync";
		put.payload = (struct raincheck_bytes){ payload, strlen(payload) };
		put.content_type = "application/json";
		put.idempotency_key = name;
		put.backoff = (struct raincheck_backoff){ .has_base_ms = true, .base_ms = 10, .max_ms = 100 };
		while (raincheck_put(rc, &put, &result) < 0)
			;
		stop = acknowledge(result, name);
		raincheck_free(result);
	}
	raincheck_close(rc, NULL, NULL);
	return NULL;
}

/* One that ends by itself would be waited for in vain. */
static void expect_alive(const struct process *p)
{
	siginfo_t info = { 0 };

	if (waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == p->pid)
		fail_msg("%s ended by itself, with %d", p->name, info.si_status);
}

/* Lets this many more jobs be acknowledged. */
static void wait_for_acks(size_t more)
{
	struct timespec look;
	size_t until;

	pthread_mutex_lock(&run.lock);
	until = run.count + more;
	while (run.count < until && run.count < JOBS_MAX) {
		clock_gettime(CLOCK_REALTIME, &look);
		look.tv_sec += LOOK_S;
		if (pthread_cond_timedwait(&run.more, &run.lock, &look) != ETIMEDOUT)
			continue;
		expect_alive(&run.stack.broker);
		expect_alive(&run.stack.worker);
	}
	pthread_mutex_unlock(&run.lock);
}

static void kill_one(unsigned choice)
{
	if (choice == 0) {
		process_end(&run.stack.worker, SIGKILL);
		stack_start_worker(&run.stack);
		return;
	}
	process_end(&run.stack.broker, SIGKILL);
	stack_start_broker(&run.stack);
}

/* Notes what is seen of a job, and fails when a finished one has changed since. */
static void look(struct raincheck *rc, struct acknowledged *a, int64_t wait_ms)
{
	struct raincheck_job *job;
	const char *sha256 = NULL;

	if (raincheck_wait(rc, a->id, wait_ms, &job) < 0)
		fail_msg("job %s (%s): %s", a->id, a->name, raincheck_last_error(rc)->message);
	for (size_t i = 0; i < job->artifact_count; i++)
		if (strcmp(job->artifacts[i].name, "result") == 0)
			sha256 = job->artifacts[i].sha256;
	if (a->finished_at_ms != 0) {
		assert_int_equal(job->finished_at_ms, a->finished_at_ms);
		assert_string_equal(sha256, a->sha256);
	}
	if (job->finished_at_ms != 0) {
		if (job->state != RAINCHECK_JOB_SUCCEEDED)
			fail_msg("job %s (%s) is %s: %s", a->id, a->name, raincheck_job_state_name(job->state),
				 job->error ? job->error->message : "no error");
		assert_non_null(sha256);
		a->finished_at_ms = job->finished_at_ms;
		snprintf(a->sha256, sizeof(a->sha256), "%s", sha256);
	}
	raincheck_free(job);
}

/* The clip carries the name that was asked for. */
static void check_result(struct raincheck *rc, const struct acknowledged *a)
{
	struct raincheck_artifact_read read = { .id = a->id, .name = "result" };
	struct raincheck_artifact_data *data;
	char quoted[40];

	assert_int_equal(raincheck_artifact_read(rc, &read, &data), 0);
	snprintf(quoted, sizeof(quoted), "\"%s\"", a->name);
	assert_non_null(memmem(data->data.data, data->data.size, quoted, strlen(quoted)));
	raincheck_free(data);
}

/* Between two kills: some jobs of before, to have seen them finished. */
static void sample(struct raincheck *rc, unsigned *seed)
{
	size_t count;

	pthread_mutex_lock(&run.lock);
	count = run.count;
	pthread_mutex_unlock(&run.lock);
	for (int i = 0; i < 10 && count > 0; i++)
		look(rc, &run.jobs[(size_t)rand_r(seed) % count], 0);
}

static void report_paid(size_t jobs)
{
	struct http_answer answer;
	char url[256];
	const char *paid;

	snprintf(url, sizeof(url), "%s/stats?names=0", run.stack.api_url);
	http_request(NULL, url, NULL, &answer);
	paid = strstr(answer.body, "\"paid\":");
	assert_non_null(paid);
	print_message("# %zu jobs, %ld paid calls\n", jobs, strtol(paid + strlen("\"paid\":"), NULL, 10));
	http_answer_done(&answer);
}

static void every_acknowledged_job_succeeds_once(void **state)
{
	unsigned long crashes = setting("CRASHES", 50);
	unsigned seed = (unsigned)setting("SEED", (unsigned long)time(NULL));
	pthread_t producers[PRODUCERS];
	int numbers[PRODUCERS];
	struct raincheck *rc;

	(void)state;
	print_message("# CRASHES=%lu SEED=%u\n", crashes, seed);
	rc = stack_connect(&run.stack);
	for (int i = 0; i < PRODUCERS; i++) {
		numbers[i] = i;
		assert_int_equal(pthread_create(&producers[i], NULL, producer_main, &numbers[i]), 0);
	}
	for (unsigned long i = 0; i < crashes; i++) {
		wait_for_acks(1 + (size_t)rand_r(&seed) % ACKS_BETWEEN);
		kill_one((unsigned)rand_r(&seed) % 3);
		sample(rc, &seed);
	}
	pthread_mutex_lock(&run.lock);
	run.stop = true;
	pthread_mutex_unlock(&run.lock);
	for (int i = 0; i < PRODUCERS; i++)
		pthread_join(producers[i], NULL);
	for (size_t i = 0; i < run.count; i++) {
		look(rc, &run.jobs[i], -1);
		check_result(rc, &run.jobs[i]);
	}
	raincheck_close(rc, NULL, NULL);
	report_paid(run.count);
	assert_true(run.count > crashes);
}

static int setup(void **state)
{
	(void)state;
	tempdir_make(&run.stack.dir);
	run.jobs = calloc(JOBS_MAX, sizeof(*run.jobs));
	assert_non_null(run.jobs);
	stack_start_api(&run.stack, NULL);
	stack_start_broker(&run.stack);
	stack_configure_worker(&run.stack, "slots: 16\nlease: 1s\n");
	stack_start_worker(&run.stack);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	stack_stop(&run.stack);
	free(run.jobs);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_acknowledged_job_succeeds_once, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
