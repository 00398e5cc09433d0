/* /metrics: promtool has nothing to say, and the figures move as what they count does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "client/raincheck.h"
#include "tests/harness/stack.h"

static struct stack stack;
static struct raincheck *rc;
static struct http_answer metrics;

static int setup(void **state)
{
	(void)state;
	memset(&stack, 0, sizeof(stack));
	tempdir_make(&stack.dir);
	stack_start_broker(&stack);
	rc = stack_connect(&stack);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	http_answer_done(&metrics);
	raincheck_close(rc, NULL, NULL);
	stack_stop(&stack);
	return 0;
}

static void look(void)
{
	char url[256];

	snprintf(url, sizeof(url), "%s/metrics", stack.http);
	http_answer_done(&metrics);
	http_request(NULL, url, NULL, &metrics);
	assert_int_equal(metrics.status, 200);
	assert_string_equal(http_header(&metrics, "Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
}

/* The figure behind a series, as it stands there: "name{label=\"x\"}". NULL: there is none. */
static const char *find(const char *series)
{
	size_t length = strlen(series);

	for (const char *line = metrics.body; *line; line = strchr(line, '\n') + 1)
		if (strncmp(line, series, length) == 0 && line[length] == ' ')
			return line + length + 1;
	return NULL;
}

static double figure(const char *series)
{
	const char *text = find(series);

	if (!text)
		fail_msg("%s is not there:\n%s", series, metrics.body);
	return strtod(text, NULL);
}

static void expect(const char *series, double value)
{
	if (figure(series) != value)
		fail_msg("%s is %g instead of %g", series, figure(series), value);
}

/* A request is counted when its answer is out, which its peer may see before that. */
static void wait_for(const char *series, double value)
{
	do
		look();
	while (figure(series) != value);
}

static void put(const char *queue, const char *key)
{
	struct raincheck_put params = { .queue = queue, .payload = { "x", 1 }, .idempotency_key = key };
	struct raincheck_put_result *result;

	assert_int_equal(raincheck_put(rc, &params, &result), 0);
	raincheck_free(result);
}

static void put_with_callback(void)
{
	struct raincheck_put params = { .queue = "q", .payload = { "x", 1 }, .callback_url = "http://127.0.0.1:1/" };
	struct raincheck_put_result *result;

	assert_int_equal(raincheck_put(rc, &params, &result), 0);
	raincheck_free(result);
}

static struct raincheck_lease_result *lease(const char *queue)
{
	const char *const queues[] = { queue };
	struct raincheck_lease params = { .queues = queues, .queue_count = 1 };
	struct raincheck_lease_result *result;

	assert_int_equal(raincheck_lease(rc, &params, &result), 0);
	assert_int_equal(result->job_count, 1);
	return result;
}

static void complete_of(const char *queue)
{
	struct raincheck_lease_result *leased = lease(queue);
	struct raincheck_complete params = { .id = leased->jobs[0].id, .lease = leased->jobs[0].lease };
	struct raincheck_complete_result *result;

	assert_int_equal(raincheck_complete(rc, &params, &result), 0);
	raincheck_free(result);
	raincheck_free(leased);
}

static void complete_one(void)
{
	complete_of("q");
}

static void fail_one(void)
{
	struct raincheck_lease_result *leased = lease("q");
	struct raincheck_fail params = { .id = leased->jobs[0].id,
					 .lease = leased->jobs[0].lease,
					 .kind = RAINCHECK_FAIL_REJECTED,
					 .message = "no" };
	struct raincheck_fail_result *result;

	assert_int_equal(raincheck_fail(rc, &params, &result), 0);
	raincheck_free(result);
	raincheck_free(leased);
}

static void set_limit(void)
{
	struct raincheck_limit_set set = { .limit = "api", .concurrency = 7, .has_breaker = true };
	struct raincheck_queue_set use = { .queue = "q", .limit = "api" };
	struct raincheck_limit *limit;
	struct raincheck_queue *queue;

	assert_int_equal(raincheck_limit_set(rc, &set, &limit), 0);
	raincheck_free(limit);
	assert_int_equal(raincheck_queue_set(rc, &use, &queue), 0);
	raincheck_free(queue);
}

static void refuse_a_put(void)
{
	struct raincheck_queue_set set = { .queue = "full", .has_max_jobs = true, .max_jobs = 0 };
	struct raincheck_put params = { .queue = "full", .payload = { "x", 1 } };
	struct raincheck_put_result *result;
	struct raincheck_queue *queue;

	assert_int_equal(raincheck_queue_set(rc, &set, &queue), 0);
	raincheck_free(queue);
	assert_true(raincheck_put(rc, &params, &result) < 0);
}

static void the_figures_move_with_what_they_count(void **state)
{
	(void)state;
	set_limit();
	put("q", "a");
	put("q", "a");
	put("q", "b");
	put("q", "c");
	complete_one();
	fail_one();
	refuse_a_put();
	look();
	expect("raincheck_queues", 2);
	expect("raincheck_queue_jobs{queue=\"q\",state=\"ready\"}", 1);
	expect("raincheck_queue_jobs{queue=\"q\",state=\"succeeded\"}", 1);
	expect("raincheck_queue_jobs{queue=\"q\",state=\"dead\"}", 1);
	expect("raincheck_queue_puts_total{queue=\"q\"}", 3);
	expect("raincheck_queue_leases_total{queue=\"q\"}", 2);
	expect("raincheck_queue_payload_bytes{queue=\"q\"}", 1);
	expect("raincheck_jobs_put_total", 3);
	expect("raincheck_puts_repeated_total", 1);
	expect("raincheck_puts_refused_total{code=\"queue_full\"}", 1);
	expect("raincheck_attempts_started_total", 2);
	expect("raincheck_attempts_failed_total{kind=\"rejected\"}", 1);
	expect("raincheck_attempts_failed_total{kind=\"timeout\"}", 0);
	expect("raincheck_jobs_ended_total{state=\"succeeded\"}", 1);
	expect("raincheck_jobs_ended_total{state=\"dead\"}", 1);
	expect("raincheck_job_wait_seconds_count", 2);
	expect("raincheck_job_wait_seconds_bucket{le=\"+Inf\"}", 2);
	expect("raincheck_attempt_duration_seconds_count", 2);
	expect("raincheck_limit_concurrency{limit=\"api\"}", 7);
	expect("raincheck_limit_in_flight{limit=\"api\"}", 0);
	expect("raincheck_limit_waiting{limit=\"api\"}", 1);
	expect("raincheck_limit_calls_started_total{limit=\"api\"}", 2);
	expect("raincheck_limit_breaker{limit=\"api\",phase=\"closed\"}", 1);
	expect("raincheck_limit_breaker{limit=\"api\",phase=\"open\"}", 0);
	expect("raincheck_rpc_connections", 1);
	expect("raincheck_rpc_requests_total{method=\"job.put\"}", 5);
	expect("raincheck_rpc_requests_total{method=\"job.lease\"}", 2);
	expect("raincheck_commits_failing", 0);
	expect("raincheck_store_full", 0);
	assert_true(figure("raincheck_commits_total") >= 9);
	assert_true(figure("raincheck_commit_duration_seconds_count") == figure("raincheck_commits_total"));
	assert_true(figure("raincheck_commit_batch_commands_sum") == figure("raincheck_commands_total"));
	assert_true(figure("raincheck_commit_duration_seconds_sum") > 0);
	assert_true(figure("raincheck_store_used_bytes") > 0);
	assert_true(figure("raincheck_store_max_bytes") > figure("raincheck_store_used_bytes"));
	assert_true(figure("raincheck_process_resident_memory_bytes") > 1 << 20);
	assert_true(figure("raincheck_process_open_fds") > 5);
}

static void requests_are_counted_by_route_and_status(void **state)
{
	(void)state;
	look();
	expect("raincheck_http_requests_total{route=\"metrics\",code=\"2xx\"}", 0);
	for (int i = 0; i < 3; i++) {
		struct http_answer answer;
		char url[256];

		snprintf(url, sizeof(url), "%s/v1/queues/none", stack.http);
		http_request(NULL, url, NULL, &answer);
		http_answer_done(&answer);
	}
	wait_for("raincheck_http_requests_total{route=\"queue\",code=\"4xx\"}", 3);
	expect("raincheck_http_requests_total{route=\"queue\",code=\"2xx\"}", 0);
	expect("raincheck_http_request_duration_seconds_count{route=\"queue\"}", 3);
	assert_true(figure("raincheck_http_connections") >= 1);
	expect("raincheck_http_suspended_requests{for=\"job\"}", 0);
	expect("raincheck_http_watchers", 0);
}

static void any_number_of_queues_is_bounded(void **state)
{
	int lines = 0;

	(void)state;
	for (int i = 0; i < 130; i++) {
		char name[32];

		snprintf(name, sizeof(name), "q%d", i);
		put(name, NULL);
	}
	look();
	expect("raincheck_queues", 130);
	expect("raincheck_queue_jobs{queue=\"q99\",state=\"ready\"}", 1);
	assert_null(find("raincheck_queue_jobs{queue=\"q100\",state=\"ready\"}"));
	expect("raincheck_queue_jobs{queue=\"(other)\",state=\"ready\"}", 30);
	expect("raincheck_queue_puts_total{queue=\"(other)\"}", 30);
	assert_true(figure("raincheck_queue_oldest_ready_age_seconds{queue=\"(other)\"}") >= 0);
	for (const char *p = metrics.body; (p = strstr(p, "\nraincheck_queue_jobs{")); p++)
		lines++;
	assert_int_equal(lines, 101 * 7);
	/* However late it comes, that of webhooks is told by its name. */
	put_with_callback();
	complete_one();
	look();
	expect("raincheck_queue_jobs{queue=\"_webhooks\",state=\"ready\"}", 1);
	expect("raincheck_queue_jobs{queue=\"(other)\",state=\"ready\"}", 31);
}

static void deliveries_are_counted_apart(void **state)
{
	(void)state;
	put_with_callback();
	complete_one();
	look();
	expect("raincheck_jobs_put_total", 1);
	expect("raincheck_webhooks_put_total", 1);
	expect("raincheck_webhook_attempts_started_total", 0);
	expect("raincheck_queue_jobs{queue=\"_webhooks\",state=\"ready\"}", 1);
	complete_of("_webhooks");
	look();
	expect("raincheck_attempts_started_total", 1);
	expect("raincheck_jobs_ended_total{state=\"succeeded\"}", 1);
	expect("raincheck_job_wait_seconds_count", 1);
	expect("raincheck_attempt_duration_seconds_count", 1);
	expect("raincheck_webhook_attempts_started_total", 1);
	expect("raincheck_webhook_attempts_failed_total{kind=\"timeout\"}", 0);
	expect("raincheck_webhooks_ended_total{state=\"succeeded\"}", 1);
	expect("raincheck_webhook_wait_seconds_count", 1);
	expect("raincheck_webhook_attempt_duration_seconds_count", 1);
}

/* The linter of the Prometheus project, which knows the format and its customs. */
static void promtool_has_nothing_to_say(void **state)
{
	static const char *const argv[] = { "/bin/sh", "-c", "exec promtool check metrics <\"$METRICS\"", NULL };
	char said[4096];
	FILE *f;

	(void)state;
	set_limit();
	put("q", NULL);
	complete_one();
	put("q", NULL);
	refuse_a_put();
	look();
	setenv("METRICS", tempdir_file(&stack.dir, "metrics"), 1);
	f = fopen(getenv("METRICS"), "w");
	assert_non_null(f);
	assert_int_equal(fwrite(metrics.body, 1, metrics.size, f), metrics.size);
	fclose(f);
	if (process_run(argv, said, sizeof(said)) != 0 || said[0])
		fail_msg("%s", said);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(the_figures_move_with_what_they_count), TEST(requests_are_counted_by_route_and_status),
		TEST(any_number_of_queues_is_bounded),	     TEST(deliveries_are_counted_apart),
		TEST(promtool_has_nothing_to_say),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
