/* Workers of one's own, over the real broker: a runner on a thread of the test, handlers that tell the test where they
 * are.
 */
#include <dirent.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/harness/stack.h"

#define LARGE	   (3 << 20)
#define HUGE_BYTES (48 << 20)

static struct stack stack;
static struct raincheck *rc;
static struct raincheck_job *job;

/* What a handler and the test tell each other: moments, in one word each way. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int reached; /* by handlers: how often they came to wait_here() */
	int allowed; /* to go on from there */
	int ended;
} meeting = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, 0 };

struct running {
	pthread_t thread;
	struct raincheck_runner *runner;
	int code;
};

static int setup(void **state)
{
	(void)state;
	memset(&stack, 0, sizeof(stack));
	meeting.reached = meeting.allowed = meeting.ended = 0;
	tempdir_make(&stack.dir);
	stack_start_broker(&stack);
	rc = stack_connect(&stack);
	job = NULL;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	raincheck_free(job);
	raincheck_close(rc, NULL, NULL);
	stack_stop(&stack);
	return 0;
}

static void change(int *what)
{
	pthread_mutex_lock(&meeting.lock);
	++*what;
	pthread_cond_broadcast(&meeting.changed);
	pthread_mutex_unlock(&meeting.lock);
}

static void wait_for(const int *what, int n)
{
	pthread_mutex_lock(&meeting.lock);
	while (*what < n)
		pthread_cond_wait(&meeting.changed, &meeting.lock);
	pthread_mutex_unlock(&meeting.lock);
}

static int seen(const int *what)
{
	int n;

	pthread_mutex_lock(&meeting.lock);
	n = *what;
	pthread_mutex_unlock(&meeting.lock);
	return n;
}

/* The handler stays here until the test lets it go on. */
static void wait_here(void)
{
	change(&meeting.reached);
	wait_for(&meeting.allowed, 1);
}

/* ---- runners ---- */

static void *run_cb(void *arg)
{
	struct running *r = arg;

	r->code = raincheck_runner_run(r->runner, NULL);
	change(&meeting.ended);
	return NULL;
}

static struct raincheck_runner_options options_for(raincheck_handler handler)
{
	static const char *const queues[] = { "q" };

	return (struct raincheck_runner_options){
		.server = stack.server,
		.name = "own",
		.queues = queues,
		.queue_count = 1,
		.threads = 4,
		.lease_ms = 60000,
		.grace_ms = 3600000,
		.handler = handler,
	};
}

static void start_with(struct running *r, const struct raincheck_runner_options *options)
{
	struct raincheck_error error;

	if (raincheck_runner_new(options, &r->runner, &error) < 0)
		fail_msg("%s: %s", error.field, error.message);
	assert_int_equal(pthread_create(&r->thread, NULL, run_cb, r), 0);
}

static void start(struct running *r, raincheck_handler handler)
{
	struct raincheck_runner_options options = options_for(handler);

	start_with(r, &options);
}

static void finish(struct running *r)
{
	pthread_join(r->thread, NULL);
	assert_int_equal(r->code, 0);
	raincheck_runner_free(r->runner);
}

static void stop(struct running *r)
{
	raincheck_runner_stop(r->runner);
	finish(r);
}

/* ---- jobs ---- */

static const char *put(const char *queue, const char *payload)
{
	static char id[RAINCHECK_ID_SIZE];
	struct raincheck_put params = { .queue = queue, .payload = { payload, strlen(payload) }, .max_attempts = 2 };
	struct raincheck_put_result *result;

	params.backoff = (struct raincheck_backoff){ .has_base_ms = true, .base_ms = 1, .max_ms = 1 };
	if (raincheck_put(rc, &params, &result) < 0)
		fail_msg("%s", raincheck_last_error(rc)->message);
	memcpy(id, result->id, sizeof(id));
	raincheck_free(result);
	return id;
}

static void expect_end(const char *id, enum raincheck_job_state state, int64_t attempt)
{
	raincheck_free(job);
	job = NULL;
	if (raincheck_wait(rc, id, 60000, &job) < 0)
		fail_msg("%s", raincheck_last_error(rc)->message);
	if (job->state != state)
		fail_msg("the job is %s; error: %s", raincheck_job_state_name(job->state),
			 job->error ? job->error->message : "none");
	assert_int_equal(job->attempt, attempt);
}

static void expect_given_back(const char *id)
{
	raincheck_free(job);
	assert_int_equal(raincheck_get(rc, id, &job), 0);
	assert_int_equal(job->state, RAINCHECK_JOB_READY);
	assert_int_equal(job->attempt, 0);
}

static void expect_artifact(const char *id, const char *name, const char *type, const char *begin, int64_t size)
{
	struct raincheck_artifact_read read = { .id = id, .name = name };
	struct raincheck_artifact_data *data;

	if (raincheck_artifact_read(rc, &read, &data) < 0)
		fail_msg("%s: %s", name, raincheck_last_error(rc)->message);
	assert_string_equal(data->content_type, type);
	assert_int_equal(data->size, size);
	assert_memory_equal(data->data.data, begin, strlen(begin));
	raincheck_free(data);
}

/* ---- handlers that do their job ---- */

static int echo(struct raincheck_work *w, void *user)
{
	const struct raincheck_leased_job *j = raincheck_work_job(w);

	(void)user;
	return raincheck_work_result(w, "text/plain", j->payload.data, j->payload.size);
}

static void a_result_comes_home(void **state)
{
	char ids[20][RAINCHECK_ID_SIZE];
	struct running r;

	(void)state;
	start(&r, echo);
	for (int i = 0; i < 20; i++)
		snprintf(ids[i], sizeof(ids[i]), "%s", put("q", i % 2 ? "odd" : "even"));
	for (int i = 0; i < 20; i++) {
		expect_end(ids[i], RAINCHECK_JOB_SUCCEEDED, 1);
		expect_artifact(ids[i], "result", "text/plain", i % 2 ? "odd" : "even", i % 2 ? 3 : 4);
	}
	stop(&r);
}

static char *large(void)
{
	char *data = malloc(LARGE);

	assert_non_null(data);
	memset(data, 'x', LARGE);
	memcpy(data, "front", 5);
	return data;
}

/* A result from memory and one from a file that begins in the middle, both far larger than a message, and a still. */
static int store_all(struct raincheck_work *w, void *user)
{
	char path[300], *data = large();
	FILE *f;
	int code;

	(void)user;
	snprintf(path, sizeof(path), "%s", tempdir_file(&stack.dir, "film"));
	f = fopen(path, "w+");
	fwrite("skipped", 1, 7, f);
	fwrite(data, 1, LARGE, f);
	fflush(f);
	lseek(fileno(f), 7, SEEK_SET);
	code = raincheck_work_artifact(w, "preview", "image/png", "still", 5);
	if (code == 0)
		code = raincheck_work_artifact(w, "copy", "video/mp4", data, LARGE);
	if (code == 0)
		code = raincheck_work_artifact(w, "empty", "text/plain", NULL, 0);
	if (code == 0)
		code = raincheck_work_result_file(w, "video/mp4", fileno(f));
	fclose(f);
	free(data);
	return code;
}

static void artifacts_may_be_large(void **state)
{
	struct running r;
	const char *id;

	(void)state;
	start(&r, store_all);
	id = put("q", "");
	expect_end(id, RAINCHECK_JOB_SUCCEEDED, 1);
	expect_artifact(id, "preview", "image/png", "still", 5);
	expect_artifact(id, "copy", "video/mp4", "frontxxx", LARGE);
	expect_artifact(id, "empty", "text/plain", "", 0);
	expect_artifact(id, "result", "video/mp4", "frontxxx", LARGE);
	stop(&r);
}

static int report(struct raincheck_work *w, void *user)
{
	(void)user;
	raincheck_work_progress(w, 0.25, "a quarter");
	wait_here();
	return 0;
}

static void progress_is_seen_while_it_works(void **state)
{
	struct running r;
	char id[RAINCHECK_ID_SIZE];

	(void)state;
	start(&r, report);
	snprintf(id, sizeof(id), "%s", put("q", ""));
	do {
		raincheck_free(job);
		assert_int_equal(raincheck_get(rc, id, &job), 0);
	} while (!job->has_progress);
	assert_true(job->progress > 0.24 && job->progress < 0.26);
	assert_string_equal(job->note, "a quarter");
	change(&meeting.allowed);
	expect_end(id, RAINCHECK_JOB_SUCCEEDED, 1);
	stop(&r);
}

/* Longer than the lease: extended meanwhile, or the broker would have given the job to another attempt. */
static void the_lease_is_kept_while_it_works(void **state)
{
	static const char *const queues[] = { "q" };
	struct raincheck_lease take = { .queues = queues, .queue_count = 1, .wait_ms = 5000 };
	struct raincheck_runner_options options = options_for(report);
	struct raincheck_lease_result *lease;
	struct running r;
	const char *id;

	(void)state;
	options.lease_ms = 4000;
	start_with(&r, &options);
	id = put("q", "");
	wait_for(&meeting.reached, 1);
	assert_int_equal(raincheck_lease(rc, &take, &lease), 0);
	assert_int_equal(lease->job_count, 0);
	raincheck_free(lease);
	change(&meeting.allowed);
	expect_end(id, RAINCHECK_JOB_SUCCEEDED, 1);
	stop(&r);
}

/* ---- handlers that do not ---- */

static int fail_as_told(struct raincheck_work *w, void *user)
{
	const struct raincheck_leased_job *j = raincheck_work_job(w);

	(void)user;
	if (j->payload.size == 0)
		return RAINCHECK_EIO;
	return raincheck_work_fail(w, RAINCHECK_FAIL_REJECTED, 0, "no %.*s here", (int)j->payload.size,
				   (const char *)j->payload.data);
}

static void failures_are_told(void **state)
{
	struct running r;

	(void)state;
	start(&r, fail_as_told);
	expect_end(put("q", "face"), RAINCHECK_JOB_DEAD, 1);
	assert_int_equal(job->error->kind, RAINCHECK_FAIL_REJECTED);
	assert_string_equal(job->error->message, "no face here");
	expect_end(put("q", ""), RAINCHECK_JOB_DEAD, 2);
	assert_int_equal(job->error->kind, RAINCHECK_FAIL_INTERNAL);
	assert_string_equal(job->error->message, raincheck_error_text(RAINCHECK_EIO));
	stop(&r);
}

static int checkpoint_first(struct raincheck_work *w, void *user)
{
	const struct raincheck_leased_job *j = raincheck_work_job(w);

	(void)user;
	if (j->has_checkpoint)
		return raincheck_work_result(w, "text/plain", j->checkpoint.data, j->checkpoint.size);
	if (raincheck_work_checkpoint(w, "paid: 17", 8) < 0)
		return RAINCHECK_EINTERNAL;
	return raincheck_work_fail(w, RAINCHECK_FAIL_UNAVAILABLE, 0, "gone");
}

static void the_next_attempt_finds_the_checkpoint(void **state)
{
	struct running r;
	const char *id;

	(void)state;
	start(&r, checkpoint_first);
	id = put("q", "");
	expect_end(id, RAINCHECK_JOB_SUCCEEDED, 2);
	expect_artifact(id, "result", "text/plain", "paid: 17", 8);
	stop(&r);
}

/* ---- canceled, lost, ended ---- */

static int last_seen;

static int until_canceled(struct raincheck_work *w, void *user)
{
	(void)user;
	change(&meeting.reached);
	while (!raincheck_work_sleep(w, 3600000))
		;
	last_seen = raincheck_work_checkpoint(w, "late", 4);
	return RAINCHECK_ECANCELED;
}

static void a_cancel_reaches_the_handler(void **state)
{
	struct raincheck_change_result *changed;
	struct running r;
	const char *id;

	(void)state;
	start(&r, until_canceled);
	id = put("q", "");
	wait_for(&meeting.reached, 1);
	assert_int_equal(raincheck_cancel(rc, id, &changed), 0);
	assert_int_equal(changed->count, 1);
	raincheck_free(changed);
	expect_end(id, RAINCHECK_JOB_CANCELED, 1);
	stop(&r);
	assert_int_equal(last_seen, RAINCHECK_ELEASE_LOST);
}

/* The second stop asks the handler; what it returns is given back. */
static void a_stop_waits_and_a_second_one_asks(void **state)
{
	struct running r;
	char id[RAINCHECK_ID_SIZE], later[RAINCHECK_ID_SIZE];

	(void)state;
	start(&r, until_canceled);
	snprintf(id, sizeof(id), "%s", put("q", ""));
	wait_for(&meeting.reached, 1);
	raincheck_runner_stop(r.runner);
	/* It is drained when it no longer waits for jobs. */
	for (bool waits = true; waits;) {
		struct raincheck_worker_list *list;

		assert_int_equal(raincheck_worker_list(rc, &list), 0);
		waits = list->workers[0].waiting > 0;
		raincheck_free(list);
	}
	snprintf(later, sizeof(later), "%s", put("q", ""));
	assert_int_equal(seen(&meeting.ended), 0);
	stop(&r);
	expect_given_back(id);
	expect_given_back(later);
	assert_int_equal(last_seen, 0);
}

static void an_operator_stops_it(void **state)
{
	struct raincheck_worker_told *told;
	struct running r;
	const char *id;

	(void)state;
	start(&r, report);
	id = put("q", "");
	wait_for(&meeting.reached, 1);
	assert_int_equal(raincheck_worker_stop(rc, "own", &told), 0);
	assert_int_equal(told->count, 1);
	raincheck_free(told);
	change(&meeting.allowed);
	expect_end(id, RAINCHECK_JOB_SUCCEEDED, 1);
	finish(&r);
}

static void once_ends_by_itself(void **state)
{
	struct raincheck_runner_options options = options_for(echo);
	char ids[10][RAINCHECK_ID_SIZE];
	struct running r;

	(void)state;
	options.once = true;
	for (int i = 0; i < 10; i++)
		snprintf(ids[i], sizeof(ids[i]), "%s", put("q", "x"));
	start_with(&r, &options);
	finish(&r);
	for (int i = 0; i < 10; i++)
		expect_end(ids[i], RAINCHECK_JOB_SUCCEEDED, 1);
}

/* ---- the broker away ---- */

static int store_after_the_crash(struct raincheck_work *w, void *user)
{
	char *data = large();
	int code;

	(void)user;
	wait_here();
	code = raincheck_work_result(w, "video/mp4", data, LARGE);
	free(data);
	return code;
}

static void a_handler_does_not_see_the_brokers_crash(void **state)
{
	struct running r;
	char id[RAINCHECK_ID_SIZE];

	(void)state;
	start(&r, store_after_the_crash);
	snprintf(id, sizeof(id), "%s", put("q", ""));
	wait_for(&meeting.reached, 1);
	process_end(&stack.broker, SIGKILL);
	change(&meeting.allowed);
	stack_start_broker(&stack);
	expect_end(id, RAINCHECK_JOB_SUCCEEDED, 1);
	expect_artifact(id, "result", "video/mp4", "frontxxx", LARGE);
	stop(&r);
}

static size_t uploaded_so_far(void)
{
	DIR *dir = opendir(tempdir_file(&stack.dir, "data/blobs/tmp"));
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

static int store_huge(struct raincheck_work *w, void *user)
{
	char *data = malloc(HUGE_BYTES);
	int code;

	(void)user;
	assert_non_null(data);
	memset(data, 'x', HUGE_BYTES);
	memcpy(data, "front", 5);
	code = raincheck_work_result(w, "video/mp4", data, HUGE_BYTES);
	free(data);
	return code;
}

/* In the middle of it: the upload begins again from the front. */
static void an_upload_survives_the_brokers_crash(void **state)
{
	struct running r;
	char id[RAINCHECK_ID_SIZE];

	(void)state;
	start(&r, store_huge);
	snprintf(id, sizeof(id), "%s", put("q", ""));
	while (uploaded_so_far() < LARGE)
		;
	process_end(&stack.broker, SIGKILL);
	stack_start_broker(&stack);
	expect_end(id, RAINCHECK_JOB_SUCCEEDED, 1);
	expect_artifact(id, "result", "video/mp4", "frontxxx", HUGE_BYTES);
	stop(&r);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_result_comes_home),
		T(artifacts_may_be_large),
		T(progress_is_seen_while_it_works),
		T(the_lease_is_kept_while_it_works),
		T(failures_are_told),
		T(the_next_attempt_finds_the_checkpoint),
		T(a_cancel_reaches_the_handler),
		T(a_stop_waits_and_a_second_one_asks),
		T(an_operator_stops_it),
		T(once_ends_by_itself),
		T(a_handler_does_not_see_the_brokers_crash),
		T(an_upload_survives_the_brokers_crash),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
