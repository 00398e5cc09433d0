/* A worker whose broker or who itself is killed in the middle of a call, who loses its lease, or whose submit is not
 * answered: what becomes of the result, and what is paid for it. Moments are chosen by events: the API holds a body
 * half way until it is told to go on, a file appears, the worker says on its log what it found.
 */
#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "tests/harness/calls.h"

static struct calls calls;

static int setup(void **state)
{
	(void)state;
	calls_open(&calls);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	calls_close(&calls);
	return 0;
}

/* ---- a broker killed in the middle of an upload ---- */

static size_t uploaded_so_far(void)
{
	DIR *dir = opendir(tempdir_file(&calls.stack.dir, "data/blobs/tmp"));
	struct dirent *entry;
	struct stat st;
	size_t size = 0;

	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.' && fstatat(dirfd(dir), entry->d_name, &st, 0) == 0)
			size += (size_t)st.st_size;
	if (dir)
		closedir(dir);
	return size;
}

/* Half of the 4 MiB is out; of these the broker has all whole pieces. */
static void wait_until_half_is_stored(void)
{
	calls_wait_until_counted(&calls, "held", 1);
	while (uploaded_so_far() < 2 * MIB - 256 * KIB)
		;
}

static const char held_once[] = "\"pad_kib\":4096,\"hold_body\":true,\"times\":1";

static void expect_survival(const struct calls_shape *shape, bool back_before_the_rest)
{
	char id[RAINCHECK_ID_SIZE];

	calls_start_worker(&calls, shape);
	snprintf(id, sizeof(id), "%s", calls_put(&calls, 2, "a", held_once));
	wait_until_half_is_stored();
	process_end(&calls.stack.broker, SIGKILL);
	calls_wait_for_log(&calls, "no connection to the broker");
	if (!back_before_the_rest)
		calls_release_bodies(&calls);
	stack_start_broker(&calls.stack);
	if (back_before_the_rest)
		calls_release_bodies(&calls);
	calls_expect_video(&calls, id, "a", 4096);
	calls_expect_counts(&calls, 1, 1);
}

/* The body of a paid answer is kept, so that the attempt itself goes on. */
static void a_body_survives_the_brokers_crash(void **state)
{
	(void)state;
	expect_survival(&calls_by_sync, true);
	assert_int_equal(calls.job->attempt, 1);
}

static void a_body_that_comes_while_the_broker_is_away_survives(void **state)
{
	(void)state;
	expect_survival(&calls_by_sync, false);
	assert_int_equal(calls.job->attempt, 1);
}

/* The size of a file without a name that the worker has. */
static size_t kept_so_far(void)
{
	char path[64];
	struct dirent *entry;
	struct stat st;
	size_t most = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%ld/fd", (long)calls.stack.worker.pid);
	dir = opendir(path);
	assert_non_null(dir);
	while ((entry = readdir(dir)))
		if (fstatat(dirfd(dir), entry->d_name, &st, 0) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 0 &&
		    (size_t)st.st_size > most)
			most = (size_t)st.st_size;
	closedir(dir);
	return most;
}

/* The API's side of a paid answer is not made to wait for the broker: it is taken whole, and the API may go. */
static void a_body_is_taken_whole_while_the_broker_is_away(void **state)
{
	char id[RAINCHECK_ID_SIZE];

	(void)state;
	calls_start_worker(&calls, &calls_by_sync);
	snprintf(id, sizeof(id), "%s", calls_put(&calls, 1, "a", "\"hold\":true,\"pad_kib\":8192"));
	calls_wait_until_counted(&calls, "paid", 1);
	process_end(&calls.stack.broker, SIGKILL);
	calls_wait_for_log(&calls, "no connection to the broker");
	calls_wait_until_counted(&calls, "in_flight", 1);
	do {
		/* It cannot be held before its still is there. */
		calls_release_bodies(&calls);
	} while (kept_so_far() < 8 * MIB);
	process_end(&calls.stack.api, SIGKILL);
	stack_start_broker(&calls.stack);
	calls_expect_video(&calls, id, "a", 8192);
	assert_int_equal(calls.job->attempt, 1);
}

/* A file is asked for a second time. */
static void a_file_survives_the_brokers_crash(void **state)
{
	(void)state;
	expect_survival(&calls_by_poll, true);
	assert_int_equal(calls.job->attempt, 1);
	assert_int_equal(calls_counted(&calls, "fetches"), 2);
}

/* What only the poll's own answer holds is polled for again. */
static void an_answer_to_a_poll_survives_the_brokers_crash(void **state)
{
	(void)state;
	expect_survival(&calls_by_http_state, true);
	assert_int_equal(calls.job->attempt, 1);
}

/* ---- a lease lost in the middle of a fetch ---- */

static void nothing_is_written_after_the_lease_is_lost(void **state)
{
	static const char *const queues[] = { "q" };
	struct raincheck_lease take = { .queues = queues, .queue_count = 1, .lease_ms = 60000, .wait_ms = 60000 };
	struct raincheck_complete complete = { .result = { "text/plain", { "mine", 4 } } };
	struct calls_shape one_slot = { .top = "slots: 1\nlease: 1s\n" };
	struct raincheck_lease_result *lease;
	struct calls_content c;
	const char *id;

	(void)state;
	calls_start_worker(&calls, &one_slot);
	id = calls_put(&calls, 3, "a", held_once);
	wait_until_half_is_stored();
	kill(calls.stack.worker.pid, SIGSTOP);
	assert_int_equal(raincheck_lease(calls.rc, &take, &lease), 0);
	assert_int_equal(lease->job_count, 1);
	assert_string_equal(lease->jobs[0].id, id);
	assert_int_equal(lease->jobs[0].attempt, 2);
	kill(calls.stack.worker.pid, SIGCONT);
	calls_release_bodies(&calls);
	calls_wait_for_log(&calls, "outcome=\"lost\"");
	assert_int_equal(raincheck_get(calls.rc, id, &calls.job), 0);
	assert_int_equal(calls.job->state, RAINCHECK_JOB_RUNNING);
	assert_int_equal(calls.job->artifact_count, 0);

	complete.id = id;
	complete.lease = lease->jobs[0].lease;
	assert_int_equal(raincheck_complete(calls.rc, &complete, NULL), 0);
	raincheck_free(lease);
	calls_expect_end(&calls, id, RAINCHECK_JOB_SUCCEEDED);
	calls_read_back(&calls, id, &c);
	assert_int_equal(c.size, 4);
	assert_memory_equal(c.data, "mine", 4);
	free(c.data);
}

/* ---- submits whose outcome is not known ---- */

static const char keyed[] = ", idempotency: \"header:Idempotency-Key\"";
static const struct calls_shape unknown_fails = { .submit = ", on_unknown: fail" };
static const struct calls_shape unknown_retries = { .submit = ", on_unknown: retry" };
static const struct calls_shape unknown_is_keyed = { .submit = keyed };

static void a_lost_answer_may_be_the_end(void **state)
{
	(void)state;
	calls_start_worker(&calls, &unknown_fails);
	calls_expect_failure(&calls, calls_put(&calls, 3, "a", "\"reset\":\"paid\",\"times\":1"),
			     RAINCHECK_FAIL_REJECTED, "on_unknown: fail");
	assert_int_equal(calls.job->attempt, 1);
	calls_expect_counts(&calls, 1, 1);
}

static void a_lost_answer_may_be_paid_for_again(void **state)
{
	(void)state;
	calls_start_worker(&calls, &unknown_retries);
	calls_expect_video(&calls, calls_put(&calls, 3, "a", "\"reset\":\"paid\",\"times\":1"), "a", 0);
	assert_int_equal(calls.job->attempt, 2);
	calls_expect_counts(&calls, 2, 2);
}

static void a_key_makes_a_lost_answer_free(void **state)
{
	(void)state;
	calls_start_worker(&calls, &unknown_is_keyed);
	calls_expect_video(&calls, calls_put(&calls, 3, "a", "\"reset\":\"paid\",\"times\":1"), "a", 0);
	assert_int_equal(calls.job->attempt, 2);
	calls_expect_counts(&calls, 2, 1);
}

/* The API has accepted the call and not answered when the worker is killed; another takes the job up. */
static const char *kill_in_the_submit(const char *submit)
{
	struct calls_shape s = { .submit = submit, .top = "slots: 4\nlease: 1s\n" };
	const char *id;

	calls_start_worker(&calls, &s);
	id = calls_put(&calls, 3, "a", "\"hang\":true,\"times\":1");
	calls_wait_until_counted(&calls, "paid", 1);
	process_end(&calls.stack.worker, SIGKILL);
	calls_start_worker(&calls, &s);
	return id;
}

static void a_worker_killed_in_the_submit_may_be_the_end(void **state)
{
	(void)state;
	calls_expect_failure(&calls, kill_in_the_submit(", on_unknown: fail"), RAINCHECK_FAIL_REJECTED,
			     "on_unknown: fail");
	assert_int_equal(calls.job->attempt, 2);
	calls_expect_counts(&calls, 1, 1);
}

static void a_worker_killed_in_the_submit_may_be_paid_for_again(void **state)
{
	(void)state;
	calls_expect_video(&calls, kill_in_the_submit(", on_unknown: retry"), "a", 0);
	calls_expect_counts(&calls, 2, 2);
}

static void a_key_makes_a_worker_killed_in_the_submit_free(void **state)
{
	(void)state;
	calls_expect_video(&calls, kill_in_the_submit(keyed), "a", 0);
	calls_expect_counts(&calls, 2, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_body_survives_the_brokers_crash),
		T(a_body_that_comes_while_the_broker_is_away_survives),
		T(a_body_is_taken_whole_while_the_broker_is_away),
		T(a_file_survives_the_brokers_crash),
		T(an_answer_to_a_poll_survives_the_brokers_crash),
		T(nothing_is_written_after_the_lease_is_lost),
		T(a_lost_answer_may_be_the_end),
		T(a_lost_answer_may_be_paid_for_again),
		T(a_key_makes_a_lost_answer_free),
		T(a_worker_killed_in_the_submit_may_be_the_end),
		T(a_worker_killed_in_the_submit_may_be_paid_for_again),
		T(a_key_makes_a_worker_killed_in_the_submit_free),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
