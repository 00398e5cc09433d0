/* put, against a broker that plays a script: payloads, batches, Ctrl-C. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmocka.h>
#include <msgpack.h>

#include "tests/harness/cli_run.h"

#define ID CLI_RUN_ID

static void put_script(struct fake_broker *b, void *arg)
{
	struct msg_job_put_result result = { .has_id = true,
					     .id = cli_run_id(),
					     .has_created = true,
					     .created = true,
					     .has_state = true,
					     .state = JOB_READY,
					     .has_link = true,
					     .link = slice_str("http://x/r/abc") };
	struct fake_request r;

	if (!fake_greet(b, 10) || !fake_next(b, METHOD_job_put, &r))
		return;
	if (!slice_is(r.put->payload, arg) || !slice_is(r.put->queue, "q") || r.put->priority != 2)
		fake_wrong(b, "payload %.*s, priority %d", SLICE_FMT(r.put->payload), (int)r.put->priority);
	else
		fake_reply(b, &r, &result);
}

static void test_put_takes_its_payload_from_anywhere(void **state)
{
	char path[] = "/tmp/raincheck-payload-XXXXXX";
	int fd = mkstemp(path);
	struct ran r;

	(void)state;
	assert_int_equal(write(fd, "file", 4), 4);
	close(fd);
	right(run_with(put_script, "text", "", WORDS("put", "-qq", "--data", "text", "--set", "priority=2")),
	      ID "  http://x/r/abc\n");
	right(run_with(put_script, "in", "in", WORDS("put", "-", "-q", "q", "-s", "priority=2")), ID);
	right(run_with(put_script, "in", "in", WORDS("put", "--file=-", "-q", "q", "-s", "priority=2")), ID);
	right(run_with(put_script, "file", "", WORDS("put", "-f", path, "-q", "q", "-s", "priority=2")), ID);
	right(run_with(put_script, "--x", "", WORDS("put", "-d", "--x", "-q", "q", "-s", "priority=2")), ID);
	right(run_with(put_script, "j", "", WORDS("--json", "put", "-d", "j", "-q", "q", "-s", "priority=2")),
	      "\"link\": \"http://x/r/abc\"");
	r = RUN("put", "-q", "q", "--file", "/nonexistent");
	assert_int_equal(r.exit, CLI_FAILED);
	says(r.err, "/nonexistent");
	ran_done(&r);
	unlink(path);
}

static void estimate_script(struct fake_broker *b, void *arg)
{
	struct msg_job_put_result result = {
		.has_id = true,
		.id = cli_run_id(),
		.has_created = true,
		.created = *(bool *)arg,
		.has_state = true,
		.state = JOB_READY,
		.has_link = true,
		.link = slice_str("http://x/r/abc"),
		.has_eta_ms = true,
		.eta_ms = { .has_low = true, .low = 170000, .has_high = true, .high = 175000 },
	};
	struct fake_request r;

	if (fake_greet(b, 10) && fake_next(b, METHOD_job_put, &r))
		fake_reply(b, &r, &result);
}

static void test_put_says_when_it_may_be_done(void **state)
{
	bool created = true, known = false;

	(void)state;
	right(run_with(estimate_script, &created, "", WORDS("put", "-qq", "--data", "x")),
	      ID "  http://x/r/abc  in about 3 min\n");
	right(run_with(estimate_script, &known, "", WORDS("put", "-qq", "--data", "x")),
	      ID "  http://x/r/abc  in about 3 min  (was there already)\n");
	right(run_with(estimate_script, &created, "", WORDS("put", "-qq", "--data", "x", "--json")),
	      "\"eta_ms\": {\"low\": 170000, \"high\": 175000}");
}

/* Answers every batch; refuses jobs of the queue "full". Counts the jobs in *arg. */
static void batch_script(struct fake_broker *b, void *arg)
{
	static struct msg_job_put_result items[1000];
	struct msg_job_put_many_result result = { .has_jobs = true, .jobs = items };
	struct msg_ping_result pong = { .has_now_ms = true };
	struct fake_request r;
	int *jobs = arg;

	if (!fake_greet(b, 10) || !fake_next(b, METHOD_session_ping, &r) || !fake_reply(b, &r, &pong))
		return;
	while (fake_any(b, &r)) {
		const msgpack_object_array *list = &r.put_many->jobs->via.array;

		for (uint32_t i = 0; i < list->size; i++) {
			const msgpack_object *queue = &list->ptr[i].via.map.ptr[0].val;
			bool full = slice_is(slice_of(queue->via.str.ptr, queue->via.str.size), "full");

			items[i] =
				(struct msg_job_put_result){ .has_id = !full, .id = cli_run_id(), .has_error = full };
			items[i].has_created = items[i].created = !full;
			items[i].error.has_code = items[i].error.has_message = true;
			items[i].error.code = slice_str("queue_full");
			items[i].error.message = slice_str("no room");
		}
		*jobs += (int)list->size;
		result.jobs_count = list->size;
		if (!fake_reply(b, &r, &result))
			return;
	}
}

static void test_count(void **state)
{
	int jobs = 0, lines = 0;
	struct ran r = run_with(batch_script, &jobs, "", WORDS("put", "-q", "q", "-d", "x", "--count", "2345"));

	(void)state;
	assert_int_equal(r.exit, CLI_DONE);
	assert_int_equal(jobs, 2345);
	for (const char *p = r.out; *p; p++)
		lines += *p == '\n';
	assert_int_equal(lines, 2345);
	ran_done(&r);
}

static const char some_lines[] = "{\"queue\": \"q\", \"payload\": 1}\n"
				 "\n"
				 "not json\n"
				 "{\"queue\": \"full\", \"payload\": \"x\"}\n"
				 "{\"queue\": \"full\", \"payload\": \"y\"}\n"
				 "{\"payload\": \"x\"}\n"
				 "{\"queue\": \"q\", \"payload\": \"x\", \"prio\": 1}\n"
				 "{\"queue\": \"q\", \"payload\": \"last\"}";

static void test_batch_tells_what_was_refused(void **state)
{
	int jobs = 0;
	struct ran r = run_with(batch_script, &jobs, some_lines, WORDS("put", "--batch", "-"));

	(void)state;
	assert_int_equal(r.exit, CLI_FAILED);
	assert_int_equal(jobs, 4);
	assert_string_equal(r.out, "2 put, 5 refused\n");
	says(r.err, "line 3: is not JSON");
	says(r.err, "lines 4 to 5: no room (queue_full)\n");
	says(r.err, "line 6: queue is missing\n");
	says(r.err, "line 7: unknown setting \"prio\"");
	ran_done(&r);
	jobs = 0;
	r = run_with(batch_script, &jobs, some_lines, WORDS("put", "--batch", "-", "-q", "other", "--json"));
	assert_int_equal(jobs, 5);
	says(r.out, "{\"line\": 1, ");
	says(r.out, "{\"line\": 6, ");
	ran_done(&r);
}

static void test_batch_of_many(void **state)
{
	int jobs = 0;
	size_t size;
	char *text = NULL;
	FILE *f = open_memstream(&text, &size);
	struct ran r;

	(void)state;
	for (int i = 0; i < 12345; i++)
		fprintf(f, "{\"queue\": \"q\", \"payload\": \"%d\"}\n", i);
	fclose(f);
	r = run_with(batch_script, &jobs, text, WORDS("put", "--batch", "-"));
	assert_int_equal(r.exit, CLI_DONE);
	assert_int_equal(jobs, 12345);
	assert_string_equal(r.out, "12345 put\n");
	assert_string_equal(r.err, "");
	ran_done(&r);
	free(text);
}

static void test_batch_refuses_a_line_without_payload(void **state)
{
	int jobs = 0;
	struct ran r = run_with(batch_script, &jobs,
				"{\"queue\": \"q\"}\n"
				"{\"queue\": \"q\", \"payload\": \"\"}\n"
				"{\"queue\": \"q\", \"payload\": null}\n",
				WORDS("put", "--batch", "-"));

	(void)state;
	assert_int_equal(r.exit, CLI_FAILED);
	assert_int_equal(jobs, 2);
	assert_string_equal(r.err, "line 1: payload is missing\n");
	ran_done(&r);
}

static void test_batch_skips_a_byte_order_mark(void **state)
{
	int jobs = 0;
	struct ran r = run_with(batch_script, &jobs,
				"\xef\xbb\xbf{\"queue\": \"q\", \"payload\": 1}\n"
				"\xef\xbb\xbf{\"queue\": \"q\", \"payload\": 2}\n",
				WORDS("put", "--batch", "-"));

	(void)state;
	assert_int_equal(jobs, 1);
	says(r.err, "line 2: is not JSON");
	ran_done(&r);
}

/* ---- Ctrl-C ---- */

/* Interrupts once the pipe in *arg has been read empty: then the client has its line, and waits for the next one or is
 * about to. Puts what comes. */
static void interrupting_script(struct fake_broker *b, void *arg)
{
	struct msg_job_put_result item = { .has_id = true, .id = cli_run_id(), .has_created = true, .created = true };
	struct msg_job_put_many_result result = { .has_jobs = true, .jobs = &item, .jobs_count = 1 };
	struct msg_ping_result pong = { .has_now_ms = true };
	struct fake_request r;
	int unread = 1;

	if (!fake_greet(b, 10) || !fake_next(b, METHOD_session_ping, &r) || !fake_reply(b, &r, &pong))
		return;
	while (unread > 0 && ioctl(*(int *)arg, FIONREAD, &unread) == 0)
		sched_yield();
	kill(getpid(), SIGINT);
	if (fake_next(b, METHOD_job_put_many, &r))
		fake_reply(b, &r, &result);
}

static void test_interrupt_ends_a_batch_that_waits_for_lines(void **state)
{
	static const char lines[] = "{\"queue\": \"q\", \"payload\": \"1\"}\n{\"queue\": \"q\", \"payl";
	char path[32];
	int fds[2];
	struct ran r;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write(fds[1], lines, sizeof(lines) - 1), sizeof(lines) - 1);
	snprintf(path, sizeof(path), "/dev/fd/%d", fds[0]);
	r = run_with(interrupting_script, &fds[0], "", WORDS("put", "--batch", path));
	close(fds[0]);
	close(fds[1]);
	assert_int_equal(r.exit, CLI_INTERRUPTED);
	assert_string_equal(r.out, "1 put\n");
	assert_string_equal(r.err, "raincheck: interrupted after line 1: 1 put\n");
	ran_done(&r);
}

/* Takes a batch, interrupts, and never answers. */
static void silent_script(struct fake_broker *b, void *arg)
{
	struct msg_ping_result pong = { .has_now_ms = true };
	struct fake_request r;

	(void)arg;
	if (!fake_greet(b, 10) || !fake_next(b, METHOD_session_ping, &r) || !fake_reply(b, &r, &pong) ||
	    !fake_next(b, METHOD_job_put_many, &r))
		return;
	kill(getpid(), SIGTERM);
	fake_until_gone(b);
}

static void test_interrupt_does_not_wait_for_ever(void **state)
{
	struct ran r =
		run_with(silent_script, NULL, "{\"queue\": \"q\", \"payload\": \"1\"}\n", WORDS("put", "--batch", "-"));

	(void)state;
	assert_int_equal(r.exit, CLI_INTERRUPTED);
	assert_string_equal(r.out, "0 put, 1 not known\n");
	says(r.err, "it may have been put all the same");
	says(r.err, "interrupted after line 1: 0 put\n");
	ran_done(&r);
}

static void counting_script(struct fake_broker *b, void *arg)
{
	static struct msg_job_put_result items[1000];
	struct msg_job_put_many_result result = { .has_jobs = true, .jobs = items };
	struct msg_ping_result pong = { .has_now_ms = true };
	struct fake_request r;
	int *batches = arg;

	for (size_t i = 0; i < ARRAY_SIZE(items); i++)
		items[i] = (struct msg_job_put_result){ .has_id = true, .id = cli_run_id(), .has_created = true };
	if (!fake_greet(b, 10) || !fake_next(b, METHOD_session_ping, &r) || !fake_reply(b, &r, &pong))
		return;
	while (fake_any(b, &r)) {
		if (++*batches == 2)
			kill(getpid(), SIGINT);
		result.jobs_count = r.put_many->jobs->via.array.size;
		if (!fake_reply(b, &r, &result))
			return;
	}
}

static void test_interrupt_ends_a_count(void **state)
{
	int batches = 0;
	struct ran r =
		run_with(counting_script, &batches, "", WORDS("put", "-q", "q", "-d", "x", "--count", "10000000"));

	(void)state;
	assert_int_equal(r.exit, CLI_INTERRUPTED);
	assert_true(batches < 100);
	says(r.err, "raincheck: interrupted after job ");
	ran_done(&r);
}

/* Takes one batch and is gone. */
static void dying_script(struct fake_broker *b, void *arg)
{
	struct msg_ping_result pong = { .has_now_ms = true };
	struct fake_request r;

	(void)arg;
	if (fake_greet(b, 10) && fake_next(b, METHOD_session_ping, &r) && fake_reply(b, &r, &pong))
		fake_next(b, METHOD_job_put_many, &r);
}

static void test_batch_when_the_broker_dies(void **state)
{
	struct ran r =
		run_with(dying_script, NULL, "{\"queue\": \"q\", \"payload\": \"1\"}\n", WORDS("put", "-b", "-"));

	(void)state;
	assert_int_equal(r.exit, CLI_NO_CONNECTION);
	assert_string_equal(r.out, "0 put, 1 not known\n");
	says(r.err, "line 1: ");
	says(r.err, "it may have been put all the same");
	ran_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_put_takes_its_payload_from_anywhere),
		cmocka_unit_test(test_put_says_when_it_may_be_done),
		cmocka_unit_test(test_count),
		cmocka_unit_test(test_batch_tells_what_was_refused),
		cmocka_unit_test(test_batch_of_many),
		cmocka_unit_test(test_batch_refuses_a_line_without_payload),
		cmocka_unit_test(test_batch_skips_a_byte_order_mark),
		cmocka_unit_test(test_interrupt_ends_a_batch_that_waits_for_lines),
		cmocka_unit_test(test_interrupt_does_not_wait_for_ever),
		cmocka_unit_test(test_interrupt_ends_a_count),
		cmocka_unit_test(test_batch_when_the_broker_dies),
	};

	cli_run_clean_environment();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
