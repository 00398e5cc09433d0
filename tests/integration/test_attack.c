/* What an attacker and a first user found: each test is one thing that went wrong once. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/harness/stack.h"

static struct stack stack;
static char output[1 << 16];

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

#define run(...) process_run((const char *const[]){ __VA_ARGS__, NULL }, output, sizeof(output))

/* Through a shell, which is the shortest way to close descriptors. */
static int shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int shell(const char *format, ...)
{
	char command[2048];
	va_list ap;

	va_start(ap, format);
	vsnprintf(command, sizeof(command), format, ap);
	va_end(ap);
	return run("/bin/sh", "-c", command);
}

static void expect_exit(int status, int expected)
{
	if (!WIFEXITED(status))
		fail_msg("ended by signal %d: %s", WTERMSIG(status), output);
	if (WEXITSTATUS(status) != expected)
		fail_msg("exit status %d, not %d: %s", WEXITSTATUS(status), expected, output);
}

static void expect_said(const char *words)
{
	if (!strstr(output, words))
		fail_msg("\"%s\" is not in: %s", words, output);
}

static void write_file(const char *path, const char *content)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(content, f);
	fclose(f);
}

static void copy_path(char *ret, size_t size, const char *name)
{
	snprintf(ret, size, "%s", tempdir_file(&stack.dir, name));
}

/* ---- descriptors 0 to 2 that are not there ---- */

static void the_command_survives_closed_outputs(void **state)
{
	char program[512];

	(void)state;
	snprintf(program, sizeof(program), "%s", process_program("raincheck"));
	expect_exit(shell("exec %s --server %s put -q q --data x >&-", program, stack.server), 1);
	expect_exit(shell("exec %s --server %s put -q q --data x 2>&-", program, stack.server), 0);
	expect_exit(shell("exec %s --server %s put -q q --data x <&-", program, stack.server), 0);
}

static void the_broker_survives_a_closed_standard_error(void **state)
{
	char program[512], data[256], script[1024];
	struct process broker;

	(void)state;
	snprintf(program, sizeof(program), "%s", process_program("raincheckd"));
	copy_path(data, sizeof(data), "closed");
	snprintf(script, sizeof(script),
		 "exec %s --data %s --listen 127.0.0.1:0 --http 127.0.0.1:0 --log-level debug <&- 2>&-", program, data);
	process_start(&broker, (const char *const[]){ "/bin/sh", "-c", script, NULL });
	assert_true(process_wait_line(&broker, "ready "));
	process_stop(&broker);
}

/* ---- a store that is cut off, and one that is full ---- */

static void a_truncated_store_is_refused_with_words(void **state)
{
	char data[256], file[320];
	struct stat st;

	(void)state;
	copy_path(data, sizeof(data), "data");
	for (int i = 0; i < 20; i++)
		expect_exit(
			run(process_program("raincheck"), "--server", stack.server, "put", "-q", "q", "--data", "x"),
			0);
	process_stop(&stack.broker);
	expect_exit(shell("cp -r %s %s2 && truncate -s 32768 %s2/raincheck.mdb", data, data, data), 0);
	snprintf(file, sizeof(file), "%s2/raincheck.mdb", data);
	assert_int_equal(stat(file, &st), 0);
	snprintf(file, sizeof(file), "%s2", data);
	expect_exit(run(process_program("raincheckd"), "--check", "--data", file), 1);
	expect_said("raincheck.mdb");
	expect_exit(
		run(process_program("raincheckd"), "--data", file, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"),
		1);
	stack_start_broker(&stack);
}

static int put_bytes(struct raincheck *rc, size_t size)
{
	static char bytes[900000];
	struct raincheck_put put = { .queue = "q", .payload = { bytes, size } };
	struct raincheck_put_result *result;
	int r = raincheck_put(rc, &put, &result);

	if (r == 0)
		raincheck_free(result);
	return r;
}

/* Leases and completes one job after the other. 0 when none is left, else the error. */
static int drain(struct raincheck *rc)
{
	static const char *const queues[] = { "q" };
	const struct raincheck_lease lease = { .queues = queues, .queue_count = 1 };
	struct raincheck_lease_result *leased;
	struct raincheck_complete complete;
	size_t count;
	int r;

	do {
		r = raincheck_lease(rc, &lease, &leased);
		if (r < 0)
			return r;
		count = leased->job_count;
		if (count > 0) {
			complete =
				(struct raincheck_complete){ .id = leased->jobs[0].id, .lease = leased->jobs[0].lease };
			r = raincheck_complete(rc, &complete, NULL);
		}
		raincheck_free(leased);
	} while (r == 0 && count > 0);
	return r;
}

static void a_full_store_lets_the_backlog_drain(void **state)
{
	char data[256], config[256], server[300], url[160], refused[512] = "";
	struct raincheck_options options = { .server = server };
	struct http_answer answer;
	struct process broker;
	struct raincheck *rc;
	long status;

	(void)state;
	copy_path(data, sizeof(data), "full");
	copy_path(config, sizeof(config), "full.yaml");
	snprintf(server, sizeof(server), "unix:%s", tempdir_file(&stack.dir, "full.sock"));
	write_file(config, "store: { max_bytes: 16MiB }\n");
	process_start(&broker, (const char *const[]){ process_program("raincheckd"), "--config", config, "--data", data,
						      "--listen", server, "--http", "127.0.0.1:0", "--log-level",
						      "error", NULL });
	assert_true(process_wait_line(&broker, "ready "));
	snprintf(url, sizeof(url), "http://");
	process_line_word(&broker, "http=", url + strlen(url), sizeof(url) - strlen(url));
	strncat(url, "/readyz", sizeof(url) - strlen(url) - 1);
	assert_int_equal(raincheck_new(&options, &rc, NULL), 0);
	for (size_t size = 900000; size > 0; size /= 10)
		while (put_bytes(rc, size) == 0)
			;
	assert_string_equal(raincheck_last_error(rc)->message, "the store is full");
	http_request(NULL, url, NULL, &answer);
	if (drain(rc) < 0)
		snprintf(refused, sizeof(refused), "%s", raincheck_last_error(rc)->message);
	raincheck_close(rc, NULL, NULL);
	process_stop(&broker);
	status = answer.status;
	http_answer_done(&answer);
	assert_string_equal(refused, "");
	assert_int_equal(status, 503);
}

/* ---- the command ---- */

static void a_line_of_a_batch_without_payload_is_refused(void **state)
{
	char batch[256];

	(void)state;
	copy_path(batch, sizeof(batch), "b.ndjson");
	write_file(batch, "{\"queue\": \"q\"}\n");
	expect_exit(run(process_program("raincheck"), "--server", stack.server, "put", "--batch", batch), 1);
	expect_said("line 1: payload");
}

/* ---- configuration ---- */

static void every_flag_has_its_key(void **state)
{
	char config[256], data[256];
	struct process broker;

	(void)state;
	copy_path(config, sizeof(config), "insecure.yaml");
	copy_path(data, sizeof(data), "insecure");
	write_file(config, "insecure: true\n");
	process_start(&broker, (const char *const[]){ process_program("raincheckd"), "--config", config, "--data", data,
						      "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--log-level",
						      "error", NULL });
	assert_true(process_wait_line(&broker, "ready "));
	process_stop(&broker);
}

static void a_bad_broker_address_of_the_worker_says_where(void **state)
{
	char config[256];

	(void)state;
	copy_path(config, sizeof(config), "w.yaml");
	write_file(config, "server: 127.0.0.1:99999\n"
			   "queues: { q: u }\n"
			   "upstreams: { u: { base_url: http://127.0.0.1:1, mode: sync, submit: { path: / }, result: { "
			   "from: body } } }\n");
	expect_exit(run(process_program("raincheck-worker"), "--config", config, "--once"), 1);
	expect_said("w.yaml:1: server");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(the_command_survives_closed_outputs),		  T(the_broker_survives_a_closed_standard_error),
		T(a_truncated_store_is_refused_with_words),	  T(a_full_store_lets_the_backlog_drain),
		T(a_line_of_a_batch_without_payload_is_refused),  T(every_flag_has_its_key),
		T(a_bad_broker_address_of_the_worker_says_where),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
