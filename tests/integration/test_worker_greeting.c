/* How a worker begins with a broker, and what it does where that one will not have it or its requests for jobs. The
 * broker is played; no API is there, so that a call that was begun would fail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "proto/base/clean.h"
#include "proto/error.h"
#include "tests/harness/fake_broker.h"
#include "tests/harness/process.h"
#include "tests/harness/tempdir.h"

static struct tempdir dir;
static char said[16384];

static int setup(void **state)
{
	(void)state;
	tempdir_make(&dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	tempdir_remove(&dir);
	return 0;
}

static const char *write_config(void)
{
	static char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s", tempdir_file(&dir, "worker.yaml"));
	f = fopen(path, "we");
	assert_non_null(f);
	fputs("name: from-file\nslots: 3\nlease: 60s\nqueues: { films: api, songs: api }\nupstreams:\n"
	      "  api: { base_url: \"http://127.0.0.1:9\", mode: sync, submit: { path: / }, result: { from: body } }\n",
	      f);
	fclose(f);
	return path;
}

/* Until it ends by itself, which --once has it do when nothing is ready. */
static int run_worker(fake_script script, void *arg, const char *flag, const char *value)
{
	struct fake_broker *broker = fake_broker_start(NULL, script, arg);
	char program[512];
	const char *argv[] = { program,	 "--config", write_config(),
			       "--once", "--server", fake_broker_address(broker),
			       flag,	 value,	     NULL };
	const char *wrong;
	int status;

	snprintf(program, sizeof(program), "%s", process_program("raincheck-worker"));
	status = process_run(argv, said, sizeof(said));
	wrong = fake_broker_stop(broker);
	if (wrong[0])
		fail_msg("%s; the worker said: %s", wrong, said);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void expect_said(const char *words)
{
	if (!strstr(said, words))
		fail_msg("\"%s\" is not in: %s", words, said);
}

static bool give_nothing(struct fake_broker *b, const struct fake_request *r)
{
	struct msg_job_lease_result nothing = { .has_jobs = true };

	return fake_reply(b, r, &nothing);
}

/* ---- who it is ---- */

static void named_script(struct fake_broker *b, void *arg)
{
	struct msg_hello_result welcome = fake_hello_result(100);
	struct fake_request r;

	if (!fake_accept(b) || !fake_next(b, METHOD_session_hello, &r))
		return;
	if (!slice_is(r.hello->worker.name, arg) || r.hello->worker.slots != 3 || r.hello->worker.queues_count != 2)
		fake_wrong(b, "it is %.*s", SLICE_FMT(r.hello->worker.name));
	if (!fake_reply(b, &r, &welcome) || !fake_next(b, METHOD_job_lease, &r))
		return;
	if (r.lease->max != 3 || r.lease->queues_count != 2 || r.lease->lease_ms != 60000)
		fake_wrong(b, "it asks for something else");
	give_nothing(b, &r);
}

static void it_says_who_it_is_and_what_it_takes(void **state)
{
	(void)state;
	assert_int_equal(run_worker(named_script, "from-file", NULL, NULL), 0);
	assert_int_equal(run_worker(named_script, "from-flag", "--name", "from-flag"), 0);
}

/* ---- refused ---- */

static void refusing_script(struct fake_broker *b, void *arg)
{
	struct fake_request r;

	if (fake_accept(b) && fake_next(b, METHOD_session_hello, &r) &&
	    fake_refuse(b, &r, *(const int *)arg, "token", "this token is not known"))
		fake_until_gone(b);
}

/* Asking again would not help: whoever started it is to know. */
static void a_worker_that_may_not_work_ends(void **state)
{
	static int codes[] = { ERR_UNAUTHENTICATED, ERR_DENIED, ERR_UNSUPPORTED_VERSION };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
		assert_int_equal(run_worker(refusing_script, &codes[i], NULL, NULL), 1);
		expect_said("the broker refuses this worker: this token is not known");
	}
}

static void refused_lease_script(struct fake_broker *b, void *arg)
{
	struct fake_request r;

	(void)arg;
	if (!fake_greet(b, 100) || !fake_next(b, METHOD_job_lease, &r) ||
	    !fake_refuse(b, &r, ERR_BAD_REQUEST, "queues", "there is no queue films"))
		return;
	if (fake_next(b, METHOD_job_lease, &r))
		give_nothing(b, &r);
}

/* An operator may put it right meanwhile. */
static void a_refused_lease_is_told_and_asked_for_again(void **state)
{
	(void)state;
	assert_int_equal(run_worker(refused_lease_script, NULL, NULL, NULL), 0);
	expect_said("the broker refuses to lease: there is no queue films");
}

/* A broker that is busy says nothing that an operator need know. */
static void busy_script(struct fake_broker *b, void *arg)
{
	struct fake_request r;

	(void)arg;
	if (!fake_greet(b, 100) || !fake_next(b, METHOD_job_lease, &r) ||
	    !fake_refuse(b, &r, ERR_THROTTLED, NULL, "not now"))
		return;
	if (fake_next(b, METHOD_job_lease, &r))
		give_nothing(b, &r);
}

static void a_lease_that_has_to_wait_is_not_told(void **state)
{
	(void)state;
	assert_int_equal(run_worker(busy_script, NULL, NULL, NULL), 0);
	assert_null(strstr(said, "refuses"));
}

/* ---- a job that is not for it ---- */

static void strange_job_script(struct fake_broker *b, void *arg)
{
	struct msg_leased_job job = { .has_id = true,
				      .id = { .bytes = { [6] = 0x70, [8] = 0x80, [15] = 7 } },
				      .has_lease = true,
				      .lease = { .bytes = { 9 } },
				      .has_queue = true,
				      .queue = slice_str("other"),
				      .has_attempt = true,
				      .attempt = 1,
				      .has_payload = true,
				      .payload = slice_str("{}"),
				      .has_priority = true,
				      .has_lease_expires_at_ms = true,
				      .lease_expires_at_ms = 1800000000000,
				      .has_metadata = true };
	struct msg_job_lease_result one = { .has_jobs = true, .jobs = &job, .jobs_count = 1 };
	struct msg_job_release_result released = { .has_state = true, .state = JOB_READY };
	struct fake_request r;

	(void)arg;
	if (!fake_greet(b, 100) || !fake_next(b, METHOD_job_lease, &r) || !fake_reply(b, &r, &one) ||
	    !fake_next(b, METHOD_job_release, &r))
		return;
	if (!uuid_equal(&r.release->id, &job.id) || memcmp(&r.release->lease, &job.lease, sizeof(job.lease)) != 0)
		fake_wrong(b, "another job comes back");
	if (fake_reply(b, &r, &released) && fake_next(b, METHOD_job_lease, &r))
		give_nothing(b, &r);
}

static void a_job_of_a_queue_that_it_does_not_have_is_given_back(void **state)
{
	(void)state;
	assert_int_equal(run_worker(strange_job_script, NULL, NULL, NULL), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(it_says_who_it_is_and_what_it_takes),
		T(a_worker_that_may_not_work_ends),
		T(a_refused_lease_is_told_and_asked_for_again),
		T(a_lease_that_has_to_wait_is_not_told),
		T(a_job_of_a_queue_that_it_does_not_have_is_given_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
