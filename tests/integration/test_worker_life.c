/* The worker's life beside its calls: the file read again, the ways to end, what it says in its log and to the
 * provider. Moments are chosen by events: the API holds a body half way until it is told to go on, the log says what
 * was done.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

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

static const char held[] = "\"pad_kib\":1024,\"hold_body\":true";
#define TOP "name: w\nslots: 4\nlease: 60s\n"

static const struct calls_shape plain = { .top = TOP, .mode = "sync" };

/* Half of its result has come. */
static void start_held_call(const struct calls_shape *s, char *ret_id, const char *name)
{
	calls_start_worker(&calls, s);
	snprintf(ret_id, RAINCHECK_ID_SIZE, "%s", calls_put(&calls, 2, name, held));
	calls_wait_until_counted(&calls, "held", 1);
}

static void hang_up(const char *words)
{
	kill(calls.stack.worker.pid, SIGHUP);
	calls_wait_for_log(&calls, words);
}

static void reload(const struct calls_shape *s)
{
	calls_configure_worker(&calls, s);
	hang_up("was read again");
}

static void expect_first_attempt(const char *id, const char *name, size_t pad_kib)
{
	calls_expect_video(&calls, id, name, pad_kib);
	assert_int_equal(calls.job->attempt, 1);
}

/* Waits until the broker knows the worker with that many queues and slots. */
static void await_worker(size_t queues, int64_t slots)
{
	for (bool found = false; !found;) {
		struct raincheck_worker_list *list;

		assert_int_equal(raincheck_worker_list(calls.rc, &list), 0);
		found = list->worker_count == 1 && list->workers[0].queue_count == queues &&
			list->workers[0].slots == slots;
		raincheck_free(list);
	}
}

/* ---- SIGHUP ---- */

/* The new file takes no result as large as the one that is coming in: that one is the old file's. */
static void a_running_call_ends_as_it_began(void **state)
{
	struct calls_shape strict = plain;
	char id[RAINCHECK_ID_SIZE];

	(void)state;
	start_held_call(&plain, id, "a");
	strict.result = "from: body, max_bytes: 1KiB";
	reload(&strict);
	calls_expect_failure(&calls, calls_put(&calls, 1, "b", "\"pad_kib\":64"), RAINCHECK_FAIL_REJECTED,
			     "max_bytes is 1024");
	calls_release_bodies(&calls);
	expect_first_attempt(id, "a", 1024);
	calls_expect_counts(&calls, 2, 2);
}

/* A polled call asks on with the credentials of its file, and the upstream may be gone from the new one. */
static void new_calls_are_made_as_the_new_file_says(void **state)
{
	struct calls_shape first = { .top = TOP,
				     .lines = "    auth: { kind: header, name: Authorization, value: one }\n" };
	struct calls_shape second = { .top = TOP,
				      .lines = "    auth: { kind: header, name: Authorization, value: two }\n" };

	(void)state;
	calls_start_worker(&calls, &first);
	calls_expect_video(&calls, calls_put(&calls, 1, "a", ""), "a", 0);
	assert_string_equal(calls_authorization(&calls, "submit"), "one");
	reload(&second);
	calls_expect_video(&calls, calls_put(&calls, 1, "b", ""), "b", 0);
	assert_string_equal(calls_authorization(&calls, "submit"), "two");
}

static void a_bad_file_is_refused_and_the_old_one_stays(void **state)
{
	struct calls_shape bad = plain;
	char id[RAINCHECK_ID_SIZE];

	(void)state;
	start_held_call(&plain, id, "a");
	bad.lines = "    timeouts: { attempt: soon }\n";
	calls_configure_worker(&calls, &bad);
	hang_up("the file is not taken");
	assert_non_null(strstr(calls.stack.worker.line, calls.stack.worker_config));
	assert_non_null(strstr(calls.stack.worker.line, "worker.yaml:11: upstreams.api.timeouts.attempt: "));
	calls_expect_video(&calls, calls_put(&calls, 1, "b", ""), "b", 0);
	calls_release_bodies(&calls);
	expect_first_attempt(id, "a", 1024);
}

static void more_slots_than_files_are_refused(void **state)
{
	struct calls_shape many = plain;

	(void)state;
	calls_start_worker(&calls, &plain);
	calls_expect_video(&calls, calls_put(&calls, 1, "a", ""), "a", 0);
	many.top = "slots: 100000\n";
	calls_configure_worker(&calls, &many);
	hang_up("the file is not taken");
	assert_non_null(strstr(calls.stack.worker.line, "slots: 100000 calls at once need 103064 open files"));
	calls_expect_video(&calls, calls_put(&calls, 1, "b", ""), "b", 0);
}

/* The broker is greeted anew for it, and the call whose body is half stored knows nothing of that. */
static void queues_and_slots_change_beside_a_running_call(void **state)
{
	struct calls_shape two = plain;
	char id[RAINCHECK_ID_SIZE];

	(void)state;
	start_held_call(&plain, id, "a");
	await_worker(1, 4);
	two.queues = "q: api, r: api";
	two.top = "name: w\nslots: 7\nlease: 60s\n";
	reload(&two);
	await_worker(2, 7);
	calls_expect_video(&calls, calls_put_into(&calls, "r", 1, "b", ""), "b", 0);
	reload(&plain);
	await_worker(1, 4);
	calls_expect_video(&calls, calls_put(&calls, 1, "c", ""), "c", 0);
	calls_release_bodies(&calls);
	expect_first_attempt(id, "a", 1024);
	calls_expect_counts(&calls, 3, 3);
}

static void a_queue_that_is_gone_is_left_alone(void **state)
{
	struct calls_shape other = plain;
	char id[RAINCHECK_ID_SIZE];

	(void)state;
	calls_start_worker(&calls, &plain);
	calls_expect_video(&calls, calls_put(&calls, 1, "a", ""), "a", 0);
	other.queues = "r: api";
	reload(&other);
	snprintf(id, sizeof(id), "%s", calls_put(&calls, 1, "b", ""));
	calls_expect_video(&calls, calls_put_into(&calls, "r", 1, "c", ""), "c", 0);
	raincheck_free(calls.job);
	assert_int_equal(raincheck_get(calls.rc, id, &calls.job), 0);
	assert_int_equal(calls.job->state, RAINCHECK_JOB_READY);
}

static void a_reload_while_the_broker_is_away_holds_when_it_is_back(void **state)
{
	struct calls_shape two = plain;
	char id[RAINCHECK_ID_SIZE];

	(void)state;
	start_held_call(&plain, id, "a");
	process_end(&calls.stack.broker, SIGKILL);
	calls_wait_for_log(&calls, "no connection to the broker");
	two.queues = "q: api, r: api";
	reload(&two);
	calls_release_bodies(&calls);
	stack_start_broker(&calls.stack);
	await_worker(2, 4);
	calls_expect_video(&calls, calls_put_into(&calls, "r", 1, "b", ""), "b", 0);
	expect_first_attempt(id, "a", 1024);
}

/* The worker's file into the pipe that it reads. */
static void feed(const char *pipe)
{
	char text[4096];
	FILE *f = fopen(calls.stack.worker_config, "re");
	int fd = process_open_fifo(&calls.stack.worker, pipe);
	size_t n;

	assert_non_null(f);
	n = fread(text, 1, sizeof(text), f);
	assert_true(n < sizeof(text));
	assert_int_equal(write(fd, text, n), n);
	fclose(f);
	close(fd);
}

/* The file is a pipe: the worker is in the middle of its start as long as nobody has written it. */
static void a_hangup_during_the_start_is_taken_after_it(void **state)
{
	char program[512], file[256];
	const char *argv[] = { program, "--config", file, "--log-level", "info", NULL };
	int held_open;

	(void)state;
	calls_configure_worker(&calls, &plain);
	snprintf(file, sizeof(file), "%s", tempdir_file(&calls.stack.dir, "pipe.yaml"));
	assert_int_equal(mkfifo(file, 0600), 0);
	snprintf(program, sizeof(program), "%s", process_program("raincheck-worker"));
	process_start_heard(&calls.stack.worker, argv);
	held_open = process_open_fifo(&calls.stack.worker, file);
	kill(calls.stack.worker.pid, SIGHUP);
	feed(file);
	close(held_open);
	calls_wait_for_log(&calls, "4 slots for 1 queues");
	feed(file);
	calls_wait_for_log(&calls, "was read again");
	calls_expect_video(&calls, calls_put(&calls, 1, "a", ""), "a", 0);
}

/* ---- the end ---- */

static void expect_given_back(const char *id)
{
	raincheck_free(calls.job);
	assert_int_equal(raincheck_get(calls.rc, id, &calls.job), 0);
	assert_int_equal(calls.job->state, RAINCHECK_JOB_READY);
	assert_int_equal(calls.job->attempt, 0);
}

static void expect_status(int expected)
{
	int status = process_finish(&calls.stack.worker, NULL, 0);

	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), expected);
}

static void a_second_sigterm_gives_back_at_once(void **state)
{
	struct calls_shape patient = { .top = "slots: 4\nlease: 60s\ngrace: 1h\n" };
	char id[RAINCHECK_ID_SIZE];

	(void)state;
	start_held_call(&patient, id, "a");
	kill(calls.stack.worker.pid, SIGTERM);
	calls_wait_for_log(&calls, "1 calls may end within the grace time");
	kill(calls.stack.worker.pid, SIGTERM);
	calls_wait_for_log(&calls, "giving 1 jobs back");
	expect_status(0);
	expect_given_back(id);
}

/* With the broker away, nobody takes what is to be given back. */
static void a_third_sigterm_ends_it(void **state)
{
	struct calls_shape patient = { .top = "slots: 4\nlease: 60s\ngrace: 1h\n" };
	char id[RAINCHECK_ID_SIZE];

	(void)state;
	start_held_call(&patient, id, "a");
	process_end(&calls.stack.broker, SIGKILL);
	calls_wait_for_log(&calls, "no connection to the broker");
	kill(calls.stack.worker.pid, SIGTERM);
	calls_wait_for_log(&calls, "may end within the grace time");
	kill(calls.stack.worker.pid, SIGTERM);
	calls_wait_for_log(&calls, "giving 1 jobs back");
	kill(calls.stack.worker.pid, SIGTERM);
	calls_wait_for_log(&calls, "ending at once");
	calls_wait_for_log(&calls, "outcome=\"untold\"");
	expect_status(0);
	stack_start_broker(&calls.stack);
}

static int run(char *output, size_t size, const char *const *argv)
{
	int status = process_run(argv, output, size);

	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* Who closes what watched for it brings back what the signal does by itself, and there is more to do until the end. */
static void no_hangup_cuts_the_end_short(void **state)
{
	(void)state;
	calls_start_worker(&calls, &plain);
	calls_wait_for_log(&calls, "connected to the broker");
	kill(calls.stack.worker.pid, SIGTERM);
	assert_true(process_end_has(&calls.stack.worker, "SigBlk", SIGHUP));
	assert_true(process_end_has(&calls.stack.worker, "SigIgn", SIGHUP));
	expect_status(0);
}

static void once_without_a_broker_says_so(void **state)
{
	char program[512], output[4096];
	const char *argv[] = { program, "--config", calls.stack.worker_config, "--once", NULL };

	(void)state;
	calls_configure_worker(&calls, &plain);
	snprintf(program, sizeof(program), "%s", process_program("raincheck-worker"));
	process_stop(&calls.stack.broker);
	assert_int_equal(run(output, sizeof(output), argv), 5);
	assert_non_null(strstr(output, "no connection to the broker"));
	stack_start_broker(&calls.stack);
	assert_int_equal(run(output, sizeof(output), argv), 0);
	/* A call that fails is one that was seen through. */
	calls_put(&calls, 1, "a", "\"http_status\":422");
	assert_int_equal(run(output, sizeof(output), argv), 0);
	calls_expect_counts(&calls, 1, 0);
}

static void too_few_files_are_said_at_the_start(void **state)
{
	char program[512], output[4096];
	const char *argv[] = { "/bin/sh",
			       "-c",
			       "ulimit -n 100 && exec \"$0\" --config \"$1\" --slots 37",
			       program,
			       calls.stack.worker_config,
			       NULL };

	(void)state;
	calls_configure_worker(&calls, &plain);
	snprintf(program, sizeof(program), "%s", process_program("raincheck-worker"));
	assert_int_equal(run(output, sizeof(output), argv), 1);
	assert_non_null(strstr(output, "slots: 37 calls at once need 104 open files, and 100 are allowed"));
}

/* ---- the log ---- */

static void expect_text(json_t *line, const char *key, const char *value)
{
	const char *found = json_string_value(json_object_get(line, key));

	if (!found || strcmp(found, value) != 0)
		fail_msg("%s is %s, not %s", key, found ? found : "missing", value);
}

static double number(json_t *line, const char *key)
{
	const char *found = json_string_value(json_object_get(line, key));
	char *end = NULL;
	double value = found ? strtod(found, &end) : 0;

	if (!found || *end)
		fail_msg("%s is %s, not a number", key, found ? found : "missing");
	return value;
}

static json_t *wait_for_end(const char *id)
{
	char words[64];
	json_t *line;

	snprintf(words, sizeof(words), "\"job\":\"%s\"", id);
	calls_wait_for_log(&calls, words);
	line = json_loads(calls.stack.worker.line, 0, NULL);
	assert_non_null(line);
	expect_text(line, "upstream", "api");
	expect_text(line, "queue", "q");
	return line;
}

static void expect_times(json_t *line)
{
	static const char *const times[] = { "dns_ms", "connect_ms", "tls_ms", "first_byte_ms" };

	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
		assert_true(number(line, times[i]) >= 0 && number(line, times[i]) <= number(line, "ms") + 1);
}

static void each_call_leaves_a_line_that_programs_can_read(void **state)
{
	struct calls_shape shape = { .top = TOP "log: { format: json }\n" };
	const char *id;
	json_t *line;

	(void)state;
	calls_start_worker(&calls, &shape);
	id = calls_put(&calls, 1, "a", "");
	line = wait_for_end(id);
	expect_text(line, "outcome", "succeeded");
	expect_text(line, "attempt", "1");
	expect_text(line, "status", "200");
	expect_text(line, "http", "1.1");
	assert_true(number(line, "requests") >= 3);
	assert_true(number(line, "connections") >= 1);
	assert_true(number(line, "bytes_up") == strlen("{\"name\":\"a\",\"behave\":{}}"));
	assert_true(number(line, "bytes") == 24 + 8 + number(line, "bytes_up"));
	assert_true(number(line, "bytes_down") > number(line, "bytes"));
	expect_times(line);
	assert_null(json_object_get(line, "kind"));
	json_decref(line);

	id = calls_put(&calls, 1, "b", "\"http_status\":422");
	line = wait_for_end(id);
	expect_text(line, "outcome", "failed");
	expect_text(line, "kind", "rejected");
	expect_text(line, "status", "422");
	expect_text(line, "requests", "1");
	assert_non_null(json_object_get(line, "error"));
	json_decref(line);
}

/* ---- traces ---- */

/* An API of one socket: takes the request whole, shows it, and answers with a video. */
static int listen_here(char *ret_base, size_t size)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t address_size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &address_size), 0);
	snprintf(ret_base, size, "http://127.0.0.1:%u", ntohs(address.sin_port));
	return fd;
}

static void take_request(int listener, char *ret, size_t size)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: 24\r\n"
				     "Connection: close\r\n\r\n\0\0\0\030ftypisom\0\0\2\0isomiso2";
	int fd = accept(listener, NULL, NULL);
	size_t used = 0;

	assert_true(fd >= 0);
	while (!memmem(ret, used, "\r\n\r\n{}", 6)) {
		ssize_t n = recv(fd, ret + used, size - used - 1, 0);

		assert_true(n > 0);
		used += (size_t)n;
	}
	ret[used] = '\0';
	assert_int_equal(send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL), sizeof(answer) - 1);
	close(fd);
}

static void put_traced(const char *traceparent)
{
	struct raincheck_put put = { .queue = "q", .payload = { "{}", 2 }, .traceparent = traceparent };

	if (raincheck_put(calls.rc, &put, NULL) < 0)
		fail_msg("%s", raincheck_last_error(calls.rc)->message);
}

static void the_provider_is_told_the_trace(void **state)
{
	static const char good[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
	char request[4096], header[128];
	int listener;

	(void)state;
	listener = listen_here(calls.stack.api_url, sizeof(calls.stack.api_url));
	calls_start_worker(&calls, &plain);
	put_traced(good);
	take_request(listener, request, sizeof(request));
	snprintf(header, sizeof(header), "\r\ntraceparent: %s\r\n", good);
	assert_non_null(strstr(request, header));
	calls_wait_for_log(&calls, good);
	put_traced("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01");
	take_request(listener, request, sizeof(request));
	assert_null(strcasestr(request, "traceparent"));
	close(listener);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_running_call_ends_as_it_began),
		T(new_calls_are_made_as_the_new_file_says),
		T(a_bad_file_is_refused_and_the_old_one_stays),
		T(more_slots_than_files_are_refused),
		T(queues_and_slots_change_beside_a_running_call),
		T(a_queue_that_is_gone_is_left_alone),
		T(a_reload_while_the_broker_is_away_holds_when_it_is_back),
		T(a_hangup_during_the_start_is_taken_after_it),
		T(a_second_sigterm_gives_back_at_once),
		T(a_third_sigterm_ends_it),
		T(no_hangup_cuts_the_end_short),
		T(once_without_a_broker_says_so),
		T(too_few_files_are_said_at_the_start),
		T(each_call_leaves_a_line_that_programs_can_read),
		T(the_provider_is_told_the_trace),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
