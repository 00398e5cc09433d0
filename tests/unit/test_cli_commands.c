/* The command as a whole, run in this process against a broker that plays a script: output, words, exit statuses. */
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>
#include <msgpack.h>

#include "client/cli/cli.h"
#include "proto/base/clean.h"
#include "tests/harness/fake_broker.h"

#define ID "0190a5c4-7d3e-7abc-8def-0123456789ab"

/* What one run left behind. */
struct ran {
	int exit;
	char *out;
	char *err;
};

static void ran_done(struct ran *r)
{
	free(r->out);
	free(r->err);
}

static struct ran run_words(const char *input, int argc, char **argv)
{
	struct ran r = { 0 };
	size_t out_size, err_size;
	_cleanup_free_ char *copy = strdup(input);
	FILE *in = fmemopen(copy, strlen(input), "r");
	FILE *out = open_memstream(&r.out, &out_size);
	FILE *err = open_memstream(&r.err, &err_size);

	r.exit = cli_run(argc, argv, in, out, err);
	fclose(in);
	fclose(out);
	fclose(err);
	return r;
}

#define WORDS(...)                                                            \
	(int)ARRAY_SIZE(((char *[]){ "raincheck", __VA_ARGS__ })), (char *[]) \
	{                                                                     \
		"raincheck", __VA_ARGS__                                      \
	}
#define RUN(...) run_words("standard input", WORDS(__VA_ARGS__))

static void says(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("\"%s\" is not in \"%s\"", part, text);
}

/* ---- without a broker ---- */

static void wrong(struct ran r, const char *part)
{
	assert_int_equal(r.exit, CLI_USAGE);
	says(r.err, part);
	assert_string_equal(r.out, "");
	ran_done(&r);
}

static void test_usage(void **state)
{
	(void)state;
	wrong(RUN("putt"), "did you mean \"put\"?");
	wrong(RUN("xyzzy"), "unknown command \"xyzzy\"");
	wrong(RUN("queue"), "queue needs one of: ls");
	wrong(RUN("queue", "sl"), "did you mean \"queue ls\"?");
	wrong(RUN("put", "--qeue", "x"), "did you mean --queue?");
	wrong(RUN("ls", "--data", "x"), "unknown option --data");
	wrong(RUN("put", "-x"), "unknown option -x");
	wrong(RUN("put", "-q"), "-q needs a value: QUEUE");
	wrong(RUN("ping", "--json=1"), "takes no value");
	wrong(RUN("put", "--data", "x"), "which queue?");
	wrong(RUN("put", "-q", "q"), "what to put?");
	wrong(RUN("put", "-q", "q", "--data", "x", "-"), "only one of");
	wrong(RUN("put", "-q", "q", "--data", "x", "--set", "priority=x"), "priority");
	wrong(RUN("put", "-q", "q", "--data", "x", "--set", "color=x"), "color");
	wrong(RUN("put", "-q", "q", "--data", "x", "--count", "0"), "--count");
	wrong(RUN("put", "--batch", "x", "--data", "y"), "--batch");
	wrong(RUN("get"), "get needs ID");
	wrong(RUN("get", ID, ID), "does not take");
	wrong(RUN("get", "nonsense"), "\"nonsense\" is not a job's id");
	wrong(RUN("wait", ID, "--timeout", "long"), "--timeout");
	wrong(RUN("ls", "--state", "redy"), "did you mean ready?");
	wrong(RUN("ls", "--limit", "x"), "--limit");
	wrong(RUN("--server", "host:port", "ping"), "is not an address");
	wrong(RUN("--token-file", "/nonexistent", "ping"), "/nonexistent");
	wrong(RUN("help", "putt"), "did you mean \"put\"?");
}

static void right(struct ran r, const char *part)
{
	assert_int_equal(r.exit, CLI_DONE);
	says(r.out, part);
	assert_string_equal(r.err, "");
	ran_done(&r);
}

static void test_help(void **state)
{
	struct ran r = run_words("", WORDS("--json"));

	(void)state;
	assert_int_equal(r.exit, CLI_USAGE);
	says(r.err, "queue ls");
	ran_done(&r);
	right(RUN("help"), "Status: 0 done");
	right(RUN("--help"), "Status: 0 done");
	right(RUN("help", "put"), "idempotency_key");
	right(RUN("put", "-h"), "--batch FILE");
	right(RUN("queue", "ls", "--help"), "raincheck queue ls");
	right(RUN("help", "queue", "ls"), "raincheck queue ls");
	right(RUN("version"), "raincheck ");
	right(RUN("version", "--json"), "{\"version\": ");
	right(RUN("--version"), "raincheck ");
	right(RUN("--json", "--version"), "{\"version\": ");
	right(RUN("get", "--version"), "raincheck ");
}

static void test_no_connection(void **state)
{
	struct ran r = RUN("--server", "unix:/nonexistent/rpc.sock", "ping");

	(void)state;
	assert_int_equal(r.exit, CLI_NO_CONNECTION);
	says(r.err, "unix:/nonexistent/rpc.sock");
	ran_done(&r);
	r = RUN("ping", "--server", "unix:/nonexistent/rpc.sock", "--json");
	assert_int_equal(r.exit, CLI_NO_CONNECTION);
	says(r.err, "{\"error\": {\"code\": \"no_connection\"");
	ran_done(&r);
}

/* ---- against a broker ---- */

static struct ran run_with(fake_script script, void *arg, const char *input, int argc, char **argv)
{
	struct fake_broker *b = fake_broker_start(NULL, script, arg);
	struct ran r;

	assert_non_null(b);
	setenv("RAINCHECK_SERVER", fake_broker_address(b), 1);
	r = run_words(input, argc, argv);
	unsetenv("RAINCHECK_SERVER");
	assert_string_equal(fake_broker_stop(b), "");
	return r;
}

static struct uuid the_id(void)
{
	struct uuid u;

	uuid_parse(slice_str(ID), &u);
	return u;
}

static const struct {
	int code, exit;
} statuses[] = {
	{ ERR_QUEUE_FULL, CLI_FAILED },		  { ERR_CONFLICT, CLI_FAILED },
	{ ERR_NOT_FOUND, CLI_NOT_FOUND },	  { ERR_GONE, CLI_NOT_FOUND },
	{ ERR_UNAUTHENTICATED, CLI_NOT_ALLOWED }, { ERR_DENIED, CLI_NOT_ALLOWED },
};

static void refusing_script(struct fake_broker *b, void *arg)
{
	struct fake_request r;

	if (fake_greet(b, 10) && fake_next(b, METHOD_job_get, &r))
		fake_refuse(b, &r, *(int *)arg, "some.field", "the broker says no");
}

static void test_exit_statuses(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		int code = statuses[i].code;
		struct ran r = run_with(refusing_script, &code, "", WORDS("get", ID));

		assert_int_equal(r.exit, statuses[i].exit);
		says(r.err, "some.field: the broker says no (");
		says(r.err, error_name(code));
		ran_done(&r);
	}
}

static void token_script(struct fake_broker *b, void *arg)
{
	struct fake_request r;

	if (!fake_accept(b) || !fake_next(b, METHOD_session_hello, &r))
		return;
	if (!slice_is(r.hello->token, arg))
		fake_wrong(b, "the token is %.*s", SLICE_FMT(r.hello->token));
	fake_refuse(b, &r, ERR_UNAUTHENTICATED, "token", "not known");
	fake_until_gone(b);
}

static void test_tokens(void **state)
{
	char path[] = "/tmp/raincheck-token-XXXXXX";
	int fd = mkstemp(path);
	struct ran r;

	(void)state;
	assert_int_equal(write(fd, "  from-file\n", 12), 12);
	close(fd);
	setenv("RAINCHECK_TOKEN", "from-environment", 1);
	r = run_with(token_script, "from-environment", "", WORDS("ping"));
	assert_int_equal(r.exit, CLI_NOT_ALLOWED);
	ran_done(&r);
	r = run_with(token_script, "from-file", "", WORDS("ping", "--token-file", path));
	assert_int_equal(r.exit, CLI_NOT_ALLOWED);
	ran_done(&r);
	unsetenv("RAINCHECK_TOKEN");
	setenv("RAINCHECK_TOKEN_FILE", path, 1);
	r = run_with(token_script, "from-file", "", WORDS("ping"));
	assert_int_equal(r.exit, CLI_NOT_ALLOWED);
	ran_done(&r);
	unsetenv("RAINCHECK_TOKEN_FILE");
	unlink(path);
}

/* ---- put ---- */

static void put_script(struct fake_broker *b, void *arg)
{
	struct msg_job_put_result result = { .has_id = true,
					     .id = the_id(),
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

			items[i] = (struct msg_job_put_result){ .has_id = !full, .id = the_id(), .has_error = full };
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
	struct msg_job_put_result item = { .has_id = true, .id = the_id(), .has_created = true, .created = true };
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
		items[i] = (struct msg_job_put_result){ .has_id = true, .id = the_id(), .has_created = true };
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

/* ---- one job ---- */

static void job_script(struct fake_broker *b, void *arg)
{
	struct uuid id = the_id();
	struct msg_job job = fake_job(&id, *(enum job_state *)arg);
	struct fake_request r;

	job.has_title = true;
	job.title = slice_str("evil \033[31mtitle");
	job.has_link = true;
	job.link = slice_str("http://x/r/abc");
	if (fake_greet(b, 10) && fake_any(b, &r))
		fake_reply(b, &r, &job);
}

static void test_get_link_wait(void **state)
{
	enum job_state ready = JOB_READY, succeeded = JOB_SUCCEEDED, dead = JOB_DEAD;
	struct ran r = run_with(job_script, &ready, "", WORDS("get", ID, "--json"));
	json_t *o = json_loads(r.out, 0, NULL);

	(void)state;
	assert_non_null(o);
	assert_string_equal(json_string_value(json_object_get(o, "id")), ID);
	assert_true(json_is_null(json_object_get(o, "eta_ms")));
	json_decref(o);
	ran_done(&r);
	r = run_with(job_script, &ready, "", WORDS("get", ID));
	says(r.out, "evil \ufffd[31mtitle");
	ran_done(&r);
	right(run_with(job_script, &ready, "", WORDS("link", ID)), "http://x/r/abc\n");
	right(run_with(job_script, &succeeded, "", WORDS("wait", ID)), "succeeded");
	r = run_with(job_script, &dead, "", WORDS("wait", ID));
	assert_int_equal(r.exit, CLI_FAILED);
	ran_done(&r);
	r = run_with(job_script, &ready, "", WORDS("wait", ID, "--timeout", "0"));
	assert_int_equal(r.exit, CLI_FAILED);
	says(r.err, "the job is still ready");
	ran_done(&r);
}

/* The broker goes away under the wait, and is back at the third attempt. */
static void outage_script(struct fake_broker *b, void *arg)
{
	struct uuid id = the_id();
	struct msg_job job = fake_job(&id, JOB_SUCCEEDED);
	struct fake_request r;

	(void)arg;
	if (!fake_greet(b, 10) || !fake_next(b, METHOD_job_wait, &r))
		return;
	fake_hang_up(b);
	for (int i = 0; i < 2; i++) {
		if (!fake_accept(b))
			return;
		fake_hang_up(b);
	}
	if (fake_greet(b, 10) && fake_next(b, METHOD_job_wait, &r))
		fake_reply(b, &r, &job);
}

static void test_wait_goes_on_when_the_broker_is_back(void **state)
{
	struct ran r = run_with(outage_script, NULL, "", WORDS("wait", ID, "--timeout", "60"));

	(void)state;
	assert_int_equal(r.exit, CLI_DONE);
	says(r.out, "succeeded");
	assert_string_equal(r.err, "raincheck: the connection is lost; waiting for the broker to come back\n");
	ran_done(&r);
}

static void going_script(struct fake_broker *b, void *arg)
{
	struct fake_request r;

	(void)arg;
	if (fake_greet(b, 10) && fake_next(b, METHOD_job_wait, &r))
		fake_hang_up(b);
}

static void test_wait_ends_with_its_timeout_without_a_broker(void **state)
{
	struct ran r = run_with(going_script, NULL, "", WORDS("wait", ID, "--timeout", "500ms"));

	(void)state;
	assert_int_equal(r.exit, CLI_NO_CONNECTION);
	says(r.err, "no_connection");
	ran_done(&r);
}

static void ping_script(struct fake_broker *b, void *arg)
{
	struct msg_ping_result pong = { .has_now_ms = true };
	struct fake_request r;

	(void)arg;
	if (!fake_greet(b, 10))
		return;
	for (int i = 0; i < 2; i++)
		if (!fake_next(b, METHOD_session_ping, &r) || !fake_reply(b, &r, &pong))
			return;
}

static void test_round_trip_has_three_decimals(void **state)
{
	(void)state;
	/* By chance a longer number is short now and then. */
	for (int i = 0; i < 5; i++) {
		struct ran r = run_with(ping_script, NULL, "", WORDS("--json", "ping"));
		const char *at = strstr(r.out, "\"round_trip_ms\": ");

		assert_int_equal(r.exit, CLI_DONE);
		assert_non_null(at);
		at = strchr(at, '.');
		assert_non_null(at);
		assert_true(strspn(at + 1, "0123456789") <= 3);
		ran_done(&r);
	}
}

/* Knows no artifact, and the job only if *arg says so. */
static void no_result_script(struct fake_broker *b, void *arg)
{
	struct uuid id = the_id();
	struct msg_job job = fake_job(&id, JOB_READY);
	struct fake_request r;

	if (!fake_greet(b, 10) || !fake_next(b, METHOD_artifact_read, &r))
		return;
	fake_refuse(b, &r, ERR_NOT_FOUND, "name", "no such artifact");
	if (!fake_next(b, METHOD_job_get, &r))
		return;
	if (*(bool *)arg)
		fake_reply(b, &r, &job);
	else
		fake_refuse(b, &r, ERR_NOT_FOUND, "id", "no such job");
}

static void test_result_of_an_unknown_job(void **state)
{
	bool known = false;
	struct ran r = run_with(no_result_script, &known, "", WORDS("result", ID));

	(void)state;
	assert_int_equal(r.exit, CLI_NOT_FOUND);
	says(r.err, "id: no such job");
	assert_null(strstr(r.err, "artifact"));
	ran_done(&r);
	known = true;
	r = run_with(no_result_script, &known, "", WORDS("result", ID));
	assert_int_equal(r.exit, CLI_NOT_FOUND);
	says(r.err, "name: no such artifact");
	ran_done(&r);
}

static const char video[] = "\x89video with\0zero";

/* Gives the video in pieces of four bytes. */
static void result_script(struct fake_broker *b, void *arg)
{
	struct fake_request r;
	bool cut = arg != NULL;

	if (!fake_greet(b, 10))
		return;
	while (fake_any(b, &r)) {
		size_t at = (size_t)r.artifact_read->offset;
		size_t left = sizeof(video) - at;
		struct msg_artifact_read_result piece = { .has_content_type = true,
							  .content_type = slice_str("video/mp4"),
							  .has_size = true,
							  .size = sizeof(video),
							  .has_offset = true,
							  .offset = (int64_t)at,
							  .has_data = true };

		piece.data = slice_of(video + at, left < 4 ? left : 4);
		if (cut && at > 4) {
			fake_refuse(b, &r, ERR_GONE, "id", "it has expired");
			continue;
		}
		if (!fake_reply(b, &r, &piece))
			return;
	}
}

static void test_result(void **state)
{
	char dir[] = "/tmp/raincheck-result-XXXXXX";
	char path[64], bytes[64];
	struct ran r;
	FILE *f;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/video", dir);
	r = run_with(result_script, dir, "", WORDS("result", ID, "-o", path));
	assert_int_equal(r.exit, CLI_NOT_FOUND);
	/* Nothing is left of what was not whole. */
	assert_int_equal(rmdir(dir), 0);
	ran_done(&r);
	assert_non_null(mkdtemp(strcpy(dir, "/tmp/raincheck-result-XXXXXX")));
	snprintf(path, sizeof(path), "%s/video", dir);
	r = run_with(result_script, NULL, "", WORDS("result", ID, "-o", path));
	assert_int_equal(r.exit, CLI_DONE);
	ran_done(&r);
	f = fopen(path, "r");
	assert_non_null(f);
	assert_int_equal(fread(bytes, 1, sizeof(bytes), f), sizeof(video));
	assert_memory_equal(bytes, video, sizeof(video));
	fclose(f);
	unlink(path);
	rmdir(dir);
	r = run_with(result_script, NULL, "", WORDS("result", ID));
	assert_int_equal(r.exit, CLI_DONE);
	assert_memory_equal(r.out, video, sizeof(video));
	ran_done(&r);
}

/* ---- lists ---- */

static void list_script(struct fake_broker *b, void *arg)
{
	struct uuid id = the_id();
	struct msg_job job = fake_job(&id, JOB_DEAD);
	struct msg_job_list_result page = { .has_jobs = true, .jobs = &job, .jobs_count = 1 };
	struct fake_request r;

	(void)arg;
	job.has_group = true;
	job.group = slice_str("the-group");
	page.has_cursor = true;
	page.cursor = slice_str("next");
	if (!fake_greet(b, 10) || !fake_next(b, METHOD_job_list, &r))
		return;
	if (!slice_is(r.list->queue, "q") || r.list->state != JOB_DEAD || r.list->limit != 7)
		fake_wrong(b, "the filter did not arrive");
	fake_reply(b, &r, &page);
	page.has_cursor = false;
	if (!fake_next(b, METHOD_job_list, &r))
		return;
	if (!slice_is(r.list->cursor, "next") || r.list->limit != 6)
		fake_wrong(b, "the cursor did not arrive");
	fake_reply(b, &r, &page);
}

static void test_ls_follows_the_cursor(void **state)
{
	struct ran r = run_with(list_script, NULL, "", WORDS("ls", "-q", "q", "--state", "dead", "--limit", "7"));
	json_t *o;

	(void)state;
	assert_int_equal(r.exit, CLI_DONE);
	says(r.out, "ID ");
	says(r.out, "the-group");
	assert_null(strchr(r.out, '\033'));
	ran_done(&r);
	r = run_with(list_script, NULL, "", WORDS("ls", "-q", "q", "-s", "dead", "-l", "7", "--json"));
	o = json_loads(r.out, 0, NULL);
	assert_int_equal(json_array_size(o), 2);
	json_decref(o);
	ran_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_usage),
		cmocka_unit_test(test_help),
		cmocka_unit_test(test_no_connection),
		cmocka_unit_test(test_exit_statuses),
		cmocka_unit_test(test_tokens),
		cmocka_unit_test(test_put_takes_its_payload_from_anywhere),
		cmocka_unit_test(test_count),
		cmocka_unit_test(test_batch_tells_what_was_refused),
		cmocka_unit_test(test_batch_of_many),
		cmocka_unit_test(test_batch_refuses_a_line_without_payload),
		cmocka_unit_test(test_batch_skips_a_byte_order_mark),
		cmocka_unit_test(test_interrupt_ends_a_batch_that_waits_for_lines),
		cmocka_unit_test(test_interrupt_does_not_wait_for_ever),
		cmocka_unit_test(test_interrupt_ends_a_count),
		cmocka_unit_test(test_batch_when_the_broker_dies),
		cmocka_unit_test(test_get_link_wait),
		cmocka_unit_test(test_wait_goes_on_when_the_broker_is_back),
		cmocka_unit_test(test_wait_ends_with_its_timeout_without_a_broker),
		cmocka_unit_test(test_round_trip_has_three_decimals),
		cmocka_unit_test(test_result_of_an_unknown_job),
		cmocka_unit_test(test_result),
		cmocka_unit_test(test_ls_follows_the_cursor),
	};

	unsetenv("RAINCHECK_SERVER");
	unsetenv("RAINCHECK_TOKEN");
	unsetenv("RAINCHECK_TOKEN_FILE");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
