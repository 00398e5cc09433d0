/* The broker as a program: what it refuses to start with, what it survives, how it ends, and what is there again after
 * a restart. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/harness/stack.h"
#include "tests/unit/test_net_peer.h"

static struct stack stack;

static int setup(void **state)
{
	(void)state;
	memset(&stack, 0, sizeof(stack));
	tempdir_make(&stack.dir);
	stack_start_broker(&stack);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	stack_stop(&stack);
	return 0;
}

/* Runs raincheckd with these arguments to its end; its exit status, and what it said. */
static int run_broker(char *output, size_t size, const char *const *args)
{
	char program[512];
	const char *argv[16] = { program };
	int status;

	snprintf(program, sizeof(program), "%s", process_program("raincheckd"));
	for (int i = 1; *args && i < 15; i++)
		argv[i] = *args++;
	status = process_run(argv, output, size);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void expect_said(const char *output, const char *words)
{
	if (!strstr(output, words))
		fail_msg("\"%s\" is not in: %s", words, output);
}

static void put_one(struct raincheck *rc, const char *payload, struct raincheck_put_result **ret)
{
	struct raincheck_put put = { .queue = "q", .payload = { payload, strlen(payload) } };

	if (raincheck_put(rc, &put, ret) < 0)
		fail_msg("%s", raincheck_last_error(rc)->message);
}

static int raw_connect_to(const char *server)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%.100s", server + strlen("unix:"));
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static int raw_connect(void)
{
	return raw_connect_to(stack.server);
}

/* ---- what it refuses to start with ---- */

static void a_second_broker_on_the_directory_is_refused(void **state)
{
	const char *data = tempdir_file(&stack.dir, "data");
	const char *args[] = { "--data", data, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", NULL };
	struct raincheck_put_result *result;
	struct raincheck *rc;
	char output[4096];

	(void)state;
	assert_int_equal(run_broker(output, sizeof(output), args), 1);
	expect_said(output, "another raincheckd uses");
	expect_said(output, data);
	rc = stack_connect(&stack);
	put_one(rc, "still here", &result);
	raincheck_free(result);
	raincheck_close(rc, NULL, NULL);
}

static void beyond_loopback_only_with_insecure(void **state)
{
	char data[256];
	const char *rpc[] = { "--data", data, "--listen", "0.0.0.0:0", "--http", "127.0.0.1:0", NULL };
	const char *http[] = { "--data", data, "--listen", "127.0.0.1:0", "--http", "0.0.0.0:0", NULL };
	const char *program;
	struct process open;
	char output[4096];

	(void)state;
	snprintf(data, sizeof(data), "%s", tempdir_file(&stack.dir, "other"));
	assert_int_equal(run_broker(output, sizeof(output), rpc), 1);
	expect_said(output, "0.0.0.0");
	expect_said(output, "--insecure");
	assert_int_equal(run_broker(output, sizeof(output), http), 1);
	expect_said(output, "--insecure");
	program = process_program("raincheckd");
	process_start(&open, (const char *const[]){ program, "--data", data, "--listen", "0.0.0.0:0", "--http",
						    "127.0.0.1:0", "--insecure", "--log-level", "error", NULL });
	assert_true(process_wait_line(&open, "ready "));
	process_stop(&open);
}

static void a_bad_flag_or_file_says_what_and_where(void **state)
{
	char path[256], output[4096];
	FILE *f;

	(void)state;
	assert_int_equal(run_broker(output, sizeof(output), (const char *const[]){ "--no-such-flag", NULL }), 2);
	expect_said(output, "no-such-flag");
	snprintf(path, sizeof(path), "%s", tempdir_file(&stack.dir, "bad.yaml"));
	f = fopen(path, "w");
	assert_non_null(f);
	fputs("http: 127.0.0.1:0\nstore:\n  max_bites: 1GiB\n", f);
	fclose(f);
	assert_int_not_equal(run_broker(output, sizeof(output), (const char *const[]){ "--config", path, NULL }), 0);
	expect_said(output, path);
	expect_said(output, "3");
	expect_said(output, "max_bites");
}

static void an_address_that_is_none_is_wrong_usage(void **state)
{
	const char *listen[] = { "--listen", "nonsense", NULL }, *http[] = { "--http", "127.0.0.1:x", NULL };
	const char *nowhere[] = { "--data", NULL, "--listen", "unix:/nonexistent/s", "--http", "127.0.0.1:0", NULL };
	char output[4096], data[256];

	(void)state;
	assert_int_equal(run_broker(output, sizeof(output), listen), 2);
	expect_said(output, "--listen: \"nonsense\" is not");
	assert_int_equal(run_broker(output, sizeof(output), http), 2);
	expect_said(output, "--http: \"127.0.0.1:x\" is not");
	snprintf(data, sizeof(data), "%s", tempdir_file(&stack.dir, "other"));
	nowhere[1] = data;
	assert_int_equal(run_broker(output, sizeof(output), nowhere), 1);
	expect_said(output, "unix:/nonexistent/s: no such file or directory");
}

/* ---- what it runs short of ---- */

/* A broker of its own that may have only so many files open; its standard error is in its output. */
static void start_cramped(struct process *broker, int files, char server[256])
{
	char program[512], script[2048], data[256];

	snprintf(program, sizeof(program), "%s", process_program("raincheckd"));
	snprintf(data, sizeof(data), "%s", tempdir_file(&stack.dir, "cramped"));
	snprintf(server, 256, "unix:%s", tempdir_file(&stack.dir, "cramped.sock"));
	snprintf(script, sizeof(script), "ulimit -n %d; exec %s --data %s --listen %s --http 127.0.0.1:0", files,
		 program, data, server);
	process_start_heard(broker, (const char *const[]){ "/bin/sh", "-c", script, NULL });
}

static int tcp_connect(const char *address)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	at.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
	assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

static void put_with_file(struct raincheck *rc)
{
	static char still[100000];
	struct raincheck_put put = { .queue = "q",
				     .payload = { "x", 1 },
				     .preview = { "image/png", { still, sizeof(still) } } };

	if (raincheck_put(rc, &put, NULL) < 0)
		fail_msg("%s", raincheck_last_error(rc)->message);
}

static void connections_leave_room_for_files(void **state)
{
	enum { MANY = 600 };
	const struct timeval patience = { .tv_sec = 60 };
	char server[256], http[128], byte;
	struct raincheck_options options = { .server = server };
	struct process broker;
	struct raincheck *rc;
	int fds[2 * MANY];

	(void)state;
	start_cramped(&broker, 512, server);
	assert_true(process_wait_words(&broker, "only 512 files may be open at once"));
	assert_true(process_wait_line(&broker, "ready "));
	process_line_word(&broker, "http=", http, sizeof(http));
	assert_int_equal(raincheck_new(&options, &rc, NULL), 0);
	put_with_file(rc);
	for (int i = 0; i < MANY; i++) {
		fds[i] = raw_connect_to(server);
		fds[MANY + i] = tcp_connect(http);
	}
	/* the last one is refused, and by then all before it were taken */
	setsockopt(fds[MANY - 1], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	assert_true(recv(fds[MANY - 1], &byte, 1, 0) == 0);
	put_with_file(rc);
	raincheck_close(rc, NULL, NULL);
	for (int i = 0; i < 2 * MANY; i++)
		close(fds[i]);
	process_stop(&broker);
}

static void a_failing_disk_is_in_the_log(void **state)
{
	char server[256], path[320];
	static char bytes[100000];
	struct raincheck_options options = { .server = server };
	struct raincheck_put put = { .queue = "q",
				     .payload = { "x", 1 },
				     .preview = { "image/png", { bytes, sizeof(bytes) } } };
	struct process broker;
	struct raincheck *rc;

	(void)state;
	start_cramped(&broker, 1024, server);
	assert_true(process_wait_line(&broker, "ready "));
	snprintf(path, sizeof(path), "%s/blobs/tmp", tempdir_file(&stack.dir, "cramped"));
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(raincheck_new(&options, &rc, NULL), 0);
	assert_true(raincheck_put(rc, &put, NULL) < 0);
	assert_true(process_wait_words(&broker, "job.put failed: "));
	expect_said(broker.line, "No such file or directory");
	raincheck_close(rc, NULL, NULL);
	process_stop(&broker);
}

/* ---- hostile peers ---- */

/* Sends these bytes and reads until the broker closes the connection. */
static void expect_closed(const void *bytes, size_t size)
{
	int fd = raw_connect();
	char answer[4096];

	assert_true(send(fd, bytes, size, MSG_NOSIGNAL) > 0);
	while (read(fd, answer, sizeof(answer)) > 0)
		;
	close(fd);
}

static void hostile_bytes_cost_their_sender_only(void **state)
{
	static const uint8_t two_gigabytes[] = { 0x94, 0x00, 0x01, 0xa1, 'x', 0xdd, 0x04, 0x00, 0x00, 0x00 };
	static const uint8_t top_level[] = { 0xdd, 0xff, 0xff, 0xff, 0xff };
	static const char http[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
	struct raincheck_put_result *result;
	struct raincheck *rc;
	uint8_t deep[64];
	int silent;

	(void)state;
	rc = stack_connect(&stack);
	put_one(rc, "before", &result);
	raincheck_free(result);
	silent = raw_connect(); /* says nothing, and stays */
	expect_closed(two_gigabytes, sizeof(two_gigabytes));
	expect_closed(top_level, sizeof(top_level));
	expect_closed(http, strlen(http));
	expect_closed("\xc1", 1);
	memset(deep, 0x91, sizeof(deep));
	deep[0] = 0x94;
	expect_closed(deep, sizeof(deep));
	put_one(rc, "after", &result);
	assert_int_equal(result->position, 2);
	raincheck_free(result);
	raincheck_close(rc, NULL, NULL);
	close(silent);
}

/* ---- its end, and after ---- */

static void what_was_acknowledged_survives_kill_9(void **state)
{
	struct raincheck_put_result *result;
	struct raincheck_payload *payload;
	struct raincheck *rc;

	(void)state;
	rc = stack_connect(&stack);
	put_one(rc, "precious", &result);
	process_end(&stack.broker, SIGKILL);
	stack_start_broker(&stack);
	assert_int_equal(raincheck_payload(rc, result->id, &payload), 0);
	assert_memory_equal(payload->data.data, "precious", 8);
	raincheck_free(payload);
	raincheck_free(result);
	raincheck_close(rc, NULL, NULL);
}

/* ---- what operators change ---- */

static void connect_peer(struct peer *p)
{
	peer_attach(p, dial(stack.server));
	peer_hello(p, false);
}

static struct uuid put_peer(struct peer *p, const char *queue)
{
	struct msg_job_put put = {
		.has_queue = true, .queue = slice_str(queue), .has_payload = true, .payload = slice_str("x")
	};
	struct msg_job_put_result result;

	assert_int_equal(peer_call(p, METHOD_job_put, &put, &result), 0);
	return result.id;
}

static void change_peer(struct peer *p, enum method_id m, const struct uuid *id)
{
	struct msg_job_change params = { .has_id = true, .id = *id };
	struct msg_job_change_result result;

	assert_int_equal(peer_call(p, m, &params, &result), 0);
	assert_int_equal(result.count, 1);
}

/* Good until the next call. */
static int get_peer(struct peer *p, const struct uuid *id, struct msg_job *ret)
{
	struct msg_job_id params = { .has_id = true, .id = *id };

	return peer_call(p, METHOD_job_get, &params, ret);
}

static void fail_peer(struct peer *p, const char *queue)
{
	struct slice name = slice_str(queue);
	struct msg_job_lease lease = { .has_queues = true, .queues = &name, .queues_count = 1 };
	struct msg_job_lease_result leased;
	struct msg_job_fail fail = { .has_id = true,
				     .has_lease = true,
				     .has_kind = true,
				     .kind = FAIL_REJECTED,
				     .has_message = true,
				     .message = slice_str("no") };

	assert_int_equal(peer_call(p, METHOD_job_lease, &lease, &leased), 0);
	assert_int_equal(leased.jobs_count, 1);
	fail.id = leased.jobs[0].id;
	fail.lease = leased.jobs[0].lease;
	assert_int_equal(peer_call(p, METHOD_job_fail, &fail, NULL), 0);
}

static void what_was_changed_survives_kill_9(void **state)
{
	struct msg_queue_set set = {
		.has_queue = true, .queue = slice_str("set"), .has_max_jobs = true, .max_jobs = 7
	};
	struct msg_queue_name paused = { .has_queue = true, .queue = slice_str("set") };
	struct uuid canceled, retried, erased;
	struct msg_job_id rotated = { .has_id = true }, revoked = { .has_id = true };
	struct msg_link_result link;
	struct msg_queue queue;
	struct msg_job job;
	char text[256];
	struct peer p;

	(void)state;
	connect_peer(&p);
	retried = put_peer(&p, "q");
	fail_peer(&p, "q");
	change_peer(&p, METHOD_job_retry, &retried);
	canceled = put_peer(&p, "q");
	change_peer(&p, METHOD_job_cancel, &canceled);
	erased = put_peer(&p, "q");
	change_peer(&p, METHOD_job_erase, &erased);
	revoked.id = put_peer(&p, "q");
	assert_int_equal(peer_call(&p, METHOD_link_revoke, &revoked, NULL), 0);
	assert_int_equal(peer_call(&p, METHOD_queue_set, &set, NULL), 0);
	assert_int_equal(peer_call(&p, METHOD_queue_pause, &paused, NULL), 0);
	rotated.id = put_peer(&p, "q");
	assert_int_equal(peer_call(&p, METHOD_link_rotate, &rotated, &link), 0);
	snprintf(text, sizeof(text), "%.*s", SLICE_FMT(link.link));
	process_end(&stack.broker, SIGKILL);
	peer_close(&p);
	stack_start_broker(&stack);
	connect_peer(&p);
	assert_int_equal(get_peer(&p, &canceled, &job), 0);
	assert_int_equal(job.state, JOB_CANCELED);
	assert_int_equal(get_peer(&p, &retried, &job), 0);
	assert_int_equal(job.state, JOB_READY);
	assert_int_equal(get_peer(&p, &erased, &job), ERR_GONE);
	assert_int_equal(get_peer(&p, &revoked.id, &job), 0);
	assert_false(job.has_link);
	assert_int_equal(get_peer(&p, &rotated.id, &job), 0);
	/* the port of HTTP is another one now */
	assert_true(job.has_link && job.link.size > 43);
	assert_memory_equal((const char *)job.link.data + job.link.size - 43, text + strlen(text) - 43, 43);
	assert_int_equal(peer_call(&p, METHOD_queue_get, &paused, &queue), 0);
	assert_true(queue.paused && queue.has_max_jobs && queue.max_jobs == 7);
	peer_close(&p);
}

static void a_link_that_was_replaced_or_ended_leads_nowhere(void **state)
{
	struct msg_job_put put = { .has_queue = true, .queue = slice_str("q"), .has_payload = true };
	struct msg_job_put_result stored;
	struct msg_job_id id = { .has_id = true };
	struct msg_link_result link;
	struct http_answer answer;
	char first[256], second[256];
	struct peer p;

	(void)state;
	connect_peer(&p);
	assert_int_equal(peer_call(&p, METHOD_job_put, &put, &stored), 0);
	id.id = stored.id;
	snprintf(first, sizeof(first), "%.*s", SLICE_FMT(stored.link));
	assert_int_equal(peer_call(&p, METHOD_link_rotate, &id, &link), 0);
	snprintf(second, sizeof(second), "%.*s", SLICE_FMT(link.link));
	http_request(NULL, first, NULL, &answer);
	assert_int_equal(answer.status, 404);
	http_answer_done(&answer);
	http_request(NULL, second, NULL, &answer);
	assert_int_equal(answer.status, 200);
	http_answer_done(&answer);
	assert_int_equal(peer_call(&p, METHOD_link_revoke, &id, NULL), 0);
	http_request(NULL, second, NULL, &answer);
	assert_int_equal(answer.status, 404);
	http_answer_done(&answer);
	assert_int_equal(peer_call(&p, METHOD_link_rotate, &id, &link), 0);
	snprintf(second, sizeof(second), "%.*s", SLICE_FMT(link.link));
	change_peer(&p, METHOD_job_erase, &id.id);
	http_request(NULL, second, NULL, &answer);
	assert_int_equal(answer.status, 410);
	http_answer_done(&answer);
	peer_close(&p);
}

/* ---- its end ---- */

static void lease_cb(struct raincheck *rc, const struct raincheck_reply *reply, void *user)
{
	(void)rc;
	*(int *)user = reply->code ? reply->code : 1;
}

static void ping_cb(struct raincheck *rc, const struct raincheck_reply *reply, void *user)
{
	(void)reply;
	(void)user;
	raincheck_stop(rc);
}

static void sigterm_ends_it_with_leases_parked(void **state)
{
	static const char *queues[] = { "q" };
	struct raincheck_lease lease = { .queues = queues, .queue_count = 1, .wait_ms = 60000 };
	struct raincheck *rc = stack_connect(&stack);
	int outcome = 0;

	(void)state;
	assert_int_equal(raincheck_lease_async(rc, &lease, lease_cb, &outcome), 0);
	/* Requests are taken in order: once the ping is answered, the lease has been read. */
	assert_int_equal(raincheck_ping_async(rc, ping_cb, NULL), 0);
	assert_int_equal(raincheck_run(rc, -1), 0);
	assert_int_equal(outcome, 0);
	process_stop(&stack.broker);
	assert_int_equal(raincheck_run(rc, -1), 0);
	/* An empty answer, a refusal or a broken connection: what counts is that nobody waits for ever. */
	assert_int_not_equal(outcome, 0);
	raincheck_close(rc, NULL, NULL);
	stack_start_broker(&stack);
}

static void links_are_the_same_after_a_restart(void **state)
{
	struct raincheck *rc = stack_connect(&stack);
	struct raincheck_put_result *result;
	struct http_answer answer;

	(void)state;
	put_one(rc, "x", &result);
	process_stop(&stack.broker);
	stack_start_broker(&stack);
	http_request(NULL, result->link, NULL, &answer);
	assert_int_equal(answer.status, 200);
	http_answer_done(&answer);
	raincheck_free(result);
	raincheck_close(rc, NULL, NULL);
}

static void it_serves_tcp_and_several_addresses(void **state)
{
	char data[256], path[256], address[128], told[512];
	struct raincheck_options options = { .server = address };
	struct raincheck_ping_result *pong;
	struct process broker;
	struct raincheck *rc;

	(void)state;
	snprintf(data, sizeof(data), "%s", tempdir_file(&stack.dir, "tcp"));
	snprintf(path, sizeof(path), "unix:%s", tempdir_file(&stack.dir, "second.sock"));
	process_start(&broker,
		      (const char *const[]){ process_program("raincheckd"), "--data", data, "--listen", "127.0.0.1:0",
					     "--listen", path, "--http", "127.0.0.1:0", "--log-level", "error", NULL });
	assert_true(process_wait_line(&broker, "ready "));
	process_line_word(&broker, "rpc=", address, sizeof(address));
	/* each is told, in the order of the flags */
	snprintf(told, sizeof(told), "ready rpc=%s rpc=%s http=", address, path);
	assert_memory_equal(broker.line, told, strlen(told));
	assert_int_equal(raincheck_new(&options, &rc, NULL), 0);
	assert_int_equal(raincheck_ping(rc, &pong), 0);
	raincheck_free(pong);
	raincheck_close(rc, NULL, NULL);
	options.server = path;
	assert_int_equal(raincheck_new(&options, &rc, NULL), 0);
	assert_int_equal(raincheck_ping(rc, &pong), 0);
	raincheck_free(pong);
	raincheck_close(rc, NULL, NULL);
	process_stop(&broker);
}

/* The file is a pipe: the broker is in the middle of its start as long as nobody has written it. */
static void a_hangup_ends_it_at_no_time(void **state)
{
	static const char text[] = "log: { level: warning }\n";
	char file[256], data[256], output[4096];
	struct process broker = { .pid = 0 };
	int fd;

	(void)state;
	snprintf(file, sizeof(file), "%s", tempdir_file(&stack.dir, "broker.yaml"));
	snprintf(data, sizeof(data), "%s", tempdir_file(&stack.dir, "other"));
	assert_int_equal(mkfifo(file, 0600), 0);
	process_start_heard(&broker,
			    (const char *const[]){ process_program("raincheckd"), "--config", file, "--data", data,
						   "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", NULL });
	fd = process_open_fifo(&broker, file);
	kill(broker.pid, SIGHUP);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	assert_true(process_wait_words(&broker, "SIGHUP changes nothing"));
	kill(broker.pid, SIGHUP);
	assert_true(process_wait_words(&broker, "SIGHUP changes nothing"));
	kill(broker.pid, SIGTERM);
	assert_true(process_end_has(&broker, "SigBlk", SIGHUP));
	assert_true(process_end_has(&broker, "SigIgn", SIGHUP));
	assert_int_equal(process_finish(&broker, output, sizeof(output)), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_second_broker_on_the_directory_is_refused),
		T(beyond_loopback_only_with_insecure),
		T(a_bad_flag_or_file_says_what_and_where),
		T(hostile_bytes_cost_their_sender_only),
		T(what_was_acknowledged_survives_kill_9),
		T(what_was_changed_survives_kill_9),
		T(a_link_that_was_replaced_or_ended_leads_nowhere),
		T(sigterm_ends_it_with_leases_parked),
		T(an_address_that_is_none_is_wrong_usage),
		T(connections_leave_room_for_files),
		T(a_failing_disk_is_in_the_log),
		T(links_are_the_same_after_a_restart),
		T(it_serves_tcp_and_several_addresses),
		T(a_hangup_ends_it_at_no_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
