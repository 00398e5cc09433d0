/* The worker with the real broker and the stand-in API: every way a call can go, and what is paid for it. Each job says
 * in its own input how the API is to behave; how often a call was paid, by name, is what the API counted. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/harness/stack.h"

#define SETTINGS "slots: 8\nlease: 2s\n"

static struct stack stack;
static struct raincheck *rc;
static struct raincheck_job *job;

static void start_worker(const char *settings)
{
	stack_configure_worker(&stack, settings);
	stack_start_worker(&stack);
}

static int setup(void **state)
{
	(void)state;
	memset(&stack, 0, sizeof(stack));
	tempdir_make(&stack.dir);
	stack_start_api(&stack, NULL);
	stack_start_broker(&stack);
	rc = stack_connect(&stack);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	raincheck_free(job);
	job = NULL;
	raincheck_close(rc, NULL, NULL);
	stack_stop(&stack);
	return 0;
}

/* Puts {"name": name, "behave": {behave}} and gives back its id. */
static const char *put(const char *queue, const char *name, const char *behave)
{
	static char id[RAINCHECK_ID_SIZE];
	struct raincheck_put params = { .queue = queue, .content_type = "application/json", .max_attempts = 3 };
	struct raincheck_put_result *result;
	char payload[512];

	snprintf(payload, sizeof(payload), "{\"name\": \"%s\", \"behave\": {%s}}", name, behave);
	params.payload = (struct raincheck_bytes){ payload, strlen(payload) };
	params.attempt_timeout_ms = 20000;
	params.backoff = (struct raincheck_backoff){ .has_base_ms = true, .base_ms = 10, .max_ms = 20 };
	if (raincheck_put(rc, &params, &result) < 0)
		fail_msg("%s", raincheck_last_error(rc)->message);
	memcpy(id, result->id, sizeof(id));
	raincheck_free(result);
	return id;
}

/* Waits for the end and fails the test unless it is this one. */
static void expect_end(const char *id, enum raincheck_job_state state)
{
	raincheck_free(job);
	job = NULL;
	if (raincheck_wait(rc, id, 60000, &job) < 0)
		fail_msg("%s", raincheck_last_error(rc)->message);
	if (job->state != state)
		fail_msg("the job is %s, not %s; error: %s", raincheck_job_state_name(job->state),
			 raincheck_job_state_name(state), job->error ? job->error->message : "none");
}

static void expect_error(enum raincheck_failure kind, const char *words)
{
	assert_non_null(job->error);
	if (job->error->kind != kind || !strstr(job->error->message, words))
		fail_msg("error is %s \"%s\", not %s \"%s\"", raincheck_failure_name(job->error->kind),
			 job->error->message, raincheck_failure_name(kind), words);
}

/* The artifact holds the input that it was rendered from. */
static void expect_artifact(const char *id, const char *name, const char *words)
{
	struct raincheck_artifact_read read = { .id = id, .name = name };
	struct raincheck_artifact_data *data;

	if (raincheck_artifact_read(rc, &read, &data) < 0)
		fail_msg("%s: %s", name, raincheck_last_error(rc)->message);
	assert_non_null(memmem(data->data.data, data->data.size, words, strlen(words)));
	raincheck_free(data);
}

/* A number that the API counted for a name. */
static long counted(const char *name, const char *what)
{
	struct http_answer answer;
	char url[256], key[128];
	const char *at;
	long n;

	snprintf(url, sizeof(url), "%s/stats", stack.api_url);
	http_request(NULL, url, NULL, &answer);
	snprintf(key, sizeof(key), "\"%s\":{", name);
	at = strstr(answer.body, "\"by_name\"");
	at = at ? strstr(at, key) : NULL;
	snprintf(key, sizeof(key), "\"%s\":", what);
	at = at ? strstr(at, key) : NULL;
	n = at ? strtol(at + strlen(key), NULL, 10) : 0;
	http_answer_done(&answer);
	return n;
}

/* ---- calls that go well ---- */

static void a_sync_call_brings_its_body(void **state)
{
	const char *id;

	(void)state;
	start_worker(SETTINGS);
	id = put("sync", "ada", "");
	expect_end(id, RAINCHECK_JOB_SUCCEEDED);
	expect_artifact(id, "result", "\"ada\"");
	assert_int_equal(job->attempt, 1);
	assert_int_equal(counted("ada", "paid"), 1);
}

static void a_polled_call_brings_video_and_still(void **state)
{
	const char *id;

	(void)state;
	start_worker(SETTINGS);
	id = put("poll", "grace", "\"delay_ms\": 100");
	expect_end(id, RAINCHECK_JOB_SUCCEEDED);
	expect_artifact(id, "result", "\"grace\"");
	expect_artifact(id, "preview", "\"grace\"");
	assert_int_equal(counted("grace", "paid"), 1);
}

/* ---- calls that do not ---- */

static void what_is_unavailable_is_tried_again(void **state)
{
	const char *id;

	(void)state;
	start_worker(SETTINGS);
	id = put("poll", "a", "\"fail_times\": 2");
	expect_end(id, RAINCHECK_JOB_SUCCEEDED);
	assert_int_equal(job->attempt, 3);
	assert_int_equal(counted("a", "submits"), 3);
	assert_int_equal(counted("a", "paid"), 1);
}

static void being_throttled_costs_no_attempt(void **state)
{
	const char *id;

	(void)state;
	start_worker(SETTINGS);
	id = put("sync", "a", "\"throttle_times\": 1, \"retry_after_s\": 1");
	expect_end(id, RAINCHECK_JOB_SUCCEEDED);
	assert_int_equal(job->attempt, 1);
	assert_int_equal(counted("a", "submits"), 2);
}

static void what_the_api_rejects_is_final(void **state)
{
	const char *id;

	(void)state;
	start_worker(SETTINGS);
	id = put("sync", "a", "\"http_status\": 422");
	expect_end(id, RAINCHECK_JOB_DEAD);
	expect_error(RAINCHECK_FAIL_REJECTED, "422");
	assert_int_equal(counted("a", "submits"), 1);
	id = put("poll", "b", "\"fail\": \"no face in the picture\"");
	expect_end(id, RAINCHECK_JOB_DEAD);
	expect_error(RAINCHECK_FAIL_REJECTED, "no face in the picture");
	assert_int_equal(counted("b", "submits"), 1);
}

static void a_body_of_another_type_is_invalid(void **state)
{
	const char *id;

	(void)state;
	start_worker(SETTINGS);
	id = put("sync", "a", "\"wrong_type\": true");
	expect_end(id, RAINCHECK_JOB_DEAD);
	expect_error(RAINCHECK_FAIL_INVALID, "text/html");
	assert_int_equal(job->attempt, 3);
}

static void a_truncated_body_is_fetched_again(void **state)
{
	const char *id;

	(void)state;
	start_worker(SETTINGS);
	id = put("sync", "a", "\"truncate\": true, \"times\": 1");
	expect_end(id, RAINCHECK_JOB_SUCCEEDED);
	expect_error(RAINCHECK_FAIL_INVALID, "");
	expect_artifact(id, "result", "\"a\"");
	assert_int_equal(job->attempt, 2);
	/* The polled render is there still: fetching it again is not paying again. */
	id = put("poll", "b", "\"truncate\": true, \"times\": 1");
	expect_end(id, RAINCHECK_JOB_SUCCEEDED);
	assert_int_equal(counted("b", "paid"), 1);
}

static void failing_polls_do_not_fail_the_job(void **state)
{
	const char *id;

	(void)state;
	start_worker(SETTINGS);
	id = put("poll", "a", "\"poll_fail_times\": 2, \"delay_ms\": 50");
	expect_end(id, RAINCHECK_JOB_SUCCEEDED);
	assert_int_equal(job->attempt, 1);
	assert_int_equal(counted("a", "paid"), 1);
}

static void nonsense_and_broken_connections_are_tried_again(void **state)
{
	const char *id;

	(void)state;
	start_worker(SETTINGS);
	id = put("sync", "a", "\"reset\": true, \"times\": 1");
	expect_end(id, RAINCHECK_JOB_SUCCEEDED);
	assert_int_equal(job->attempt, 2);
	id = put("poll", "b", "\"bad_json\": true");
	expect_end(id, RAINCHECK_JOB_DEAD);
	assert_true(strlen(job->error->message) > 0);
}

static void a_call_that_hangs_ends_at_its_timeout(void **state)
{
	struct raincheck_put params = { .queue = "sync", .max_attempts = 1, .attempt_timeout_ms = 300 };
	static const char payload[] = "{\"name\": \"a\", \"behave\": {\"hang\": true}}";
	struct raincheck_put_result *result;

	(void)state;
	start_worker(SETTINGS);
	params.payload = (struct raincheck_bytes){ payload, strlen(payload) };
	params.content_type = "application/json";
	assert_int_equal(raincheck_put(rc, &params, &result), 0);
	expect_end(result->id, RAINCHECK_JOB_DEAD);
	expect_error(RAINCHECK_FAIL_TIMEOUT, "");
	raincheck_free(result);
}

/* ---- never paid twice ---- */

/* Waits until the API has been asked for the render's state, so that its id must be durable. */
static void wait_until_polled(const char *name)
{
	while (counted(name, "paid") == 0)
		;
	for (;;) {
		struct http_answer answer;
		char url[256];
		bool polled;

		snprintf(url, sizeof(url), "%s/stats?names=0", stack.api_url);
		http_request(NULL, url, NULL, &answer);
		polled = strstr(answer.body, "\"polls\":0") == NULL;
		http_answer_done(&answer);
		if (polled)
			return;
	}
}

static void a_killed_workers_call_is_taken_up_by_the_next(void **state)
{
	const char *id;

	(void)state;
	start_worker(SETTINGS);
	id = put("poll", "a", "\"delay_ms\": 700");
	wait_until_polled("a");
	process_end(&stack.worker, SIGKILL);
	stack_start_worker(&stack);
	expect_end(id, RAINCHECK_JOB_SUCCEEDED);
	assert_int_equal(job->attempt, 2);
	assert_int_equal(counted("a", "paid"), 1);
}

static void a_brokers_crash_does_not_disturb_a_call(void **state)
{
	const char *id;

	(void)state;
	start_worker(SETTINGS);
	id = put("poll", "a", "\"delay_ms\": 500");
	wait_until_polled("a");
	process_end(&stack.broker, SIGKILL);
	stack_start_broker(&stack);
	expect_end(id, RAINCHECK_JOB_SUCCEEDED);
	assert_int_equal(counted("a", "paid"), 1);
}

/* ---- its end ---- */

static void sigterm_lets_running_calls_end(void **state)
{
	const char *id;

	(void)state;
	start_worker(SETTINGS "grace: 20s\n");
	id = put("poll", "a", "\"delay_ms\": 400");
	wait_until_polled("a");
	process_stop(&stack.worker);
	expect_end(id, RAINCHECK_JOB_SUCCEEDED);
	assert_int_equal(job->attempt, 1);
}

static void after_the_grace_jobs_are_given_back(void **state)
{
	const char *id;

	(void)state;
	start_worker(SETTINGS "grace: 10ms\n");
	id = put("poll", "a", "\"delay_ms\": 1000");
	wait_until_polled("a");
	process_stop(&stack.worker);
	assert_int_equal(raincheck_get(rc, id, &job), 0);
	assert_int_equal(job->state, RAINCHECK_JOB_READY);
	assert_int_equal(job->attempt, 0);
	stack_start_worker(&stack);
	expect_end(id, RAINCHECK_JOB_SUCCEEDED);
	assert_int_equal(job->attempt, 1);
	assert_int_equal(counted("a", "paid"), 1);
}

/* ---- orders ---- */

/* The worker as worker.list has it, once the number that pick tells of it is this. */
static void await_worker(int64_t (*pick)(const struct raincheck_worker_session *w), int64_t number)
{
	bool found = false;

	while (!found) {
		struct raincheck_worker_list *list;

		assert_int_equal(raincheck_worker_list(rc, &list), 0);
		found = list->worker_count == 1 && pick(&list->workers[0]) == number;
		raincheck_free(list);
	}
}

static int64_t leases_waiting(const struct raincheck_worker_session *w)
{
	return w->waiting;
}

static int64_t jobs_in_hand(const struct raincheck_worker_session *w)
{
	return w->in_hand;
}

static int64_t state_of(const struct raincheck_worker_session *w)
{
	return (int64_t)w->state;
}

static void start_named_worker(void)
{
	start_worker("name: w\n" SETTINGS);
	await_worker(leases_waiting, 1);
}

static void order(int (*give)(struct raincheck *rc, const char *name, struct raincheck_worker_told **ret))
{
	struct raincheck_worker_told *told;

	if (give(rc, "w", &told) < 0)
		fail_msg("%s", raincheck_last_error(rc)->message);
	assert_int_equal(told->count, 1);
	raincheck_free(told);
}

static void expect_ready(const char *id)
{
	raincheck_free(job);
	job = NULL;
	assert_int_equal(raincheck_get(rc, id, &job), 0);
	assert_int_equal(job->state, RAINCHECK_JOB_READY);
}

/* What it has it finishes; what comes then it leaves to others, also on its next connection. */
static void a_quiet_worker_finishes_and_leases_no_more(void **state)
{
	char first[RAINCHECK_ID_SIZE], second[RAINCHECK_ID_SIZE];

	(void)state;
	start_named_worker();
	memcpy(first, put("poll", "a", "\"delay_ms\": 300"), sizeof(first));
	await_worker(jobs_in_hand, 1);
	await_worker(leases_waiting, 1);
	order(raincheck_worker_quiet);
	await_worker(state_of, RAINCHECK_WORKER_QUIET);
	await_worker(leases_waiting, 0);
	memcpy(second, put("poll", "b", ""), sizeof(second));
	expect_end(first, RAINCHECK_JOB_SUCCEEDED);
	await_worker(jobs_in_hand, 0);
	expect_ready(second);
	process_end(&stack.broker, SIGTERM);
	stack_start_broker(&stack);
	await_worker(state_of, RAINCHECK_WORKER_QUIET);
	expect_ready(second);
	assert_int_equal(counted("b", "submits"), 0);
}

static void a_worker_that_is_told_to_stop_ends_in_order(void **state)
{
	char id[RAINCHECK_ID_SIZE];
	int status;

	(void)state;
	start_named_worker();
	memcpy(id, put("poll", "a", "\"delay_ms\": 300"), sizeof(id));
	await_worker(jobs_in_hand, 1);
	order(raincheck_worker_stop);
	status = process_finish(&stack.worker, NULL, 0);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	expect_end(id, RAINCHECK_JOB_SUCCEEDED);
	assert_int_equal(job->attempt, 1);
}

/* ---- the command line ---- */

static int run_worker(char *output, size_t size, const char *flag, const char *value)
{
	const char *argv[] = {
		process_program("raincheck-worker"), "--config", stack.worker_config, flag, value, NULL
	};
	int status = process_run(argv, output, size);

	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void once_ends_when_nothing_is_left(void **state)
{
	char output[8192], ids[3][RAINCHECK_ID_SIZE];

	(void)state;
	stack_configure_worker(&stack, SETTINGS);
	for (int i = 0; i < 3; i++)
		snprintf(ids[i], sizeof(ids[i]), "%s", put(i % 2 ? "sync" : "poll", "a", ""));
	assert_int_equal(run_worker(output, sizeof(output), "--once", NULL), 0);
	for (int i = 0; i < 3; i++)
		expect_end(ids[i], RAINCHECK_JOB_SUCCEEDED);
}

static void write_file(const char *name, const char *content, char *ret_path, size_t size)
{
	FILE *f;

	snprintf(ret_path, size, "%s", tempdir_file(&stack.dir, name));
	f = fopen(ret_path, "w");
	assert_non_null(f);
	fputs(content, f);
	fclose(f);
}

static void a_dry_run_shows_the_request_without_secrets(void **state)
{
	char file[256], output[8192];

	(void)state;
	write_file("job.json", "{\"queue\": \"q\", \"payload\": {\"prompt\": \"a \\\"b\\\"\"}}", file, sizeof(file));
	write_file("worker.yaml",
		   "queues: { q: api }\n"
		   "upstreams:\n"
		   "  api:\n"
		   "    base_url: https://api.example.com\n"
		   "    mode: sync\n"
		   "    auth: { kind: header, name: Authorization, value: \"Bearer {env.TEST_API_KEY}\" }\n"
		   "    submit: { method: POST, path: \"/v1/{job.queue}\", body: '{\"text\": \"{input/prompt}\"}' }\n"
		   "    result: { from: body, types: [video/mp4] }\n",
		   stack.worker_config, sizeof(stack.worker_config));
	setenv("TEST_API_KEY", "very-secret-key", 1);
	assert_int_equal(run_worker(output, sizeof(output), "--dry-run", file), 0);
	assert_non_null(strstr(output, "POST https://api.example.com/v1/q"));
	assert_non_null(strstr(output, "a \\\"b\\\""));
	assert_non_null(strstr(output, "***"));
	assert_null(strstr(output, "very-secret-key"));
	unsetenv("TEST_API_KEY");
	assert_int_not_equal(run_worker(output, sizeof(output), "--dry-run", file), 0);
	assert_non_null(strstr(output, "TEST_API_KEY"));
}

static void a_bad_file_says_where(void **state)
{
	char output[8192];

	(void)state;
	write_file("worker.yaml", "queues: { q: api }\nupstreams:\n  api:\n    base_url: http://x\n    mood: sync\n",
		   stack.worker_config, sizeof(stack.worker_config));
	assert_int_not_equal(run_worker(output, sizeof(output), NULL, NULL), 0);
	assert_non_null(strstr(output, stack.worker_config));
	assert_non_null(strstr(output, "5"));
	assert_non_null(strstr(output, "mood"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_sync_call_brings_its_body),
		T(a_polled_call_brings_video_and_still),
		T(what_is_unavailable_is_tried_again),
		T(being_throttled_costs_no_attempt),
		T(what_the_api_rejects_is_final),
		T(a_body_of_another_type_is_invalid),
		T(a_truncated_body_is_fetched_again),
		T(failing_polls_do_not_fail_the_job),
		T(nonsense_and_broken_connections_are_tried_again),
		T(a_call_that_hangs_ends_at_its_timeout),
		T(a_killed_workers_call_is_taken_up_by_the_next),
		T(a_brokers_crash_does_not_disturb_a_call),
		T(sigterm_lets_running_calls_end),
		T(after_the_grace_jobs_are_given_back),
		T(a_quiet_worker_finishes_and_leases_no_more),
		T(a_worker_that_is_told_to_stop_ends_in_order),
		T(once_ends_when_nothing_is_left),
		T(a_dry_run_shows_the_request_without_secrets),
		T(a_bad_file_says_where),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
