/* The worker over TLS, with nghttpd as the API, which gives back what it is sent: whom the worker trusts, and calls
 * that share a connection over HTTP/2.
 */
#include <arpa/inet.h>
#include <jansson.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/base/clock.h"
#include "server/net/prescale.h"
#include "tests/harness/calls.h"
#include "tests/harness/certificate.h"

#define CALLS 50
#define CROWD 250

static struct calls calls;
static struct process api;
static unsigned port;
static char cert[256], key[256];
static const char *scheme; /* as the URL has it */
static char top[600];	   /* of the worker's file */
static const char *ahead;  /* more lines of the upstream */

/* The API's, unless a test says otherwise; and another that is as good, made where a test asks for it. */
static const struct certificate_spec ours = { .address = "127.0.0.1" };
static char other[256], other_key[256]; /* paths */

static const char video[] = "\0\0\0\030ftypisom\0\0\2\0isomiso2";

static int setup(void **state)
{
	(void)state;
	memset(&calls, 0, sizeof(calls));
	scheme = "https";
	ahead = "";
	snprintf(top, sizeof(top), "slots: 300\nlog: { format: json }\n");
	tempdir_make(&calls.stack.dir);
	snprintf(cert, sizeof(cert), "%s", tempdir_file(&calls.stack.dir, "cert.pem"));
	snprintf(key, sizeof(key), "%s", tempdir_file(&calls.stack.dir, "key.pem"));
	snprintf(other, sizeof(other), "%s", tempdir_file(&calls.stack.dir, "other.pem"));
	snprintf(other_key, sizeof(other_key), "%s", tempdir_file(&calls.stack.dir, "other-key.pem"));
	stack_start_broker(&calls.stack);
	calls.rc = stack_connect(&calls.stack);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (api.pid)
		process_end(&api, SIGKILL);
	calls_close(&calls);
	return 0;
}

/* ---- the API ---- */

static int connect_to(unsigned to)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)to) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), rc;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	rc = connect(fd, (struct sockaddr *)&address, sizeof(address));
	close(fd);
	return rc;
}

/* nghttpd takes no port 0. */
static unsigned free_port(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	close(fd);
	return ntohs(address.sin_port);
}

static void start_api(const struct certificate_spec *spec)
{
	char text[16];
	const char *argv[] = { "/usr/sbin/nghttpd", "-a", "127.0.0.1", "--echo-upload", text, key, cert, NULL };

	certificate_make(spec, cert, key);
	do {
		port = free_port();
		snprintf(text, sizeof(text), "%u", port);
		process_start(&api, argv);
		while (connect_to(port) < 0 && waitpid(api.pid, NULL, WNOHANG) == 0)
			;
	} while (connect_to(port) < 0);
}

/* host as the URL has it; ca_file NULL: the system's. configure: calls_configure_worker() or calls_start_worker(). */
static void configure_with(void (*configure)(struct calls *, const struct calls_shape *), const char *host,
			   const char *ca_file)
{
	char lines[600];
	struct calls_shape shape = {
		.top = top,
		.mode = "sync",
		.lines = lines,
		.path = "/",
		.submit = ", idempotency: \"header:Idempotency-Key\"",
	};

	snprintf(lines, sizeof(lines), "%s", ahead);
	if (ca_file)
		snprintf(lines + strlen(lines), sizeof(lines) - strlen(lines), "    ca_file: %s\n", ca_file);
	snprintf(calls.stack.api_url, sizeof(calls.stack.api_url), "%s://%s:%u", scheme, host, port);
	configure(&calls, &shape);
}

/* Only writes the file. */
static void configure_worker(const char *host, const char *ca_file)
{
	configure_with(calls_configure_worker, host, ca_file);
}

static void start_worker(const char *host, const char *ca_file)
{
	configure_with(calls_start_worker, host, ca_file);
}

static void hang_up(void)
{
	kill(calls.stack.worker.pid, SIGHUP);
	calls_wait_for_log(&calls, "was read again");
}

static void put(size_t count, int64_t attempts, char ids[][RAINCHECK_ID_SIZE])
{
	struct raincheck_put puts[CROWD] = { { 0 } };
	struct raincheck_put_many_result *result;

	for (size_t i = 0; i < count; i++)
		puts[i] = (struct raincheck_put){ .queue = "q", .payload = { video, 24 }, .max_attempts = attempts };
	if (raincheck_put_many(calls.rc, puts, count, &result) < 0)
		fail_msg("%s", raincheck_last_error(calls.rc)->message);
	for (size_t i = 0; i < count; i++)
		memcpy(ids[i], result->jobs[i].id, RAINCHECK_ID_SIZE);
	raincheck_free(result);
}

static void expect_success(void)
{
	char id[1][RAINCHECK_ID_SIZE];

	put(1, 1, id);
	calls_expect_end(&calls, id[0], RAINCHECK_JOB_SUCCEEDED);
}

/* Nothing was sent, so it may be tried again; the message says what is wrong with the server. */
static void expect_distrust(const char *words)
{
	char id[1][RAINCHECK_ID_SIZE];

	put(1, 1, id);
	calls_expect_failure(&calls, id[0], RAINCHECK_FAIL_UNAVAILABLE, words);
}

/* ---- HTTP/2 ---- */

static int64_t number(json_t *line, const char *name)
{
	const char *text = json_string_value(json_object_get(line, name));

	return text ? strtoll(text, NULL, 10) : 0;
}

static int64_t connections_of_next_call(void)
{
	json_t *line;
	int64_t made;

	calls_wait_for_log(&calls, "call ended");
	line = json_loads(calls.stack.worker.line, 0, NULL);
	assert_non_null(line);
	made = number(line, "connections");
	if (number(line, "status") > 0)
		assert_string_equal(json_string_value(json_object_get(line, "http")), "2");
	json_decref(line);
	return made;
}

static int64_t connections_made(int count)
{
	int64_t made = 0;

	for (int i = 0; i < count; i++)
		made += connections_of_next_call();
	return made;
}

static void calls_share_a_connection(void **state)
{
	char ids[CALLS][RAINCHECK_ID_SIZE];

	(void)state;
	start_api(&ours);
	put(CALLS, 1, ids);
	start_worker("127.0.0.1", cert);
	for (size_t i = 0; i < CALLS; i++)
		calls_expect_end(&calls, ids[i], RAINCHECK_JOB_SUCCEEDED);
	assert_int_equal(connections_made(CALLS), 1);
}

/* So many at once, from now on or, where soon, as far ahead as the broker tells of it at once: what comes until then
 * has that long. */
static void set_limit(int64_t concurrency, bool soon)
{
	int64_t now_ms = clock_wall_ms();
	struct raincheck_limit_spell spell = { .from_at_ms = now_ms + PRESCALE_LEAD_MS,
					       .until_at_ms = now_ms + 3600000,
					       .concurrency = concurrency };
	struct raincheck_limit_set set = { .limit = "l", .concurrency = 1, .schedule = &spell, .schedule_count = 1 };
	struct raincheck_queue_set queue = { .queue = "q", .limit = "l" };
	struct raincheck_limit *limit;
	struct raincheck_queue *q;

	if (!soon)
		set = (struct raincheck_limit_set){ .limit = "l", .concurrency = concurrency };
	if (raincheck_limit_set(calls.rc, &set, &limit) < 0)
		fail_msg("%s", raincheck_last_error(calls.rc)->message);
	raincheck_free(limit);
	assert_int_equal(raincheck_queue_set(calls.rc, &queue, &q), 0);
	raincheck_free(q);
}

/* Calls are dealt out by the hundred, and each hundred has connections of its own: one for each is open before. The
 * queue is paused until all calls are there: they begin at once. */
static void a_crowd_finds_the_connections_of_each_hundred_open(void **state)
{
	char ids[CROWD][RAINCHECK_ID_SIZE];
	struct raincheck_queue *q;

	(void)state;
	start_api(&ours);
	set_limit(CROWD, true);
	ahead = "    warm: { method: OPTIONS, ahead: 30s }\n";
	start_worker("127.0.0.1", cert);
	calls_wait_for_log(&calls, "opened ahead, as limit l is");
	assert_non_null(strstr(calls.stack.worker.line, "3 connections to api"));
	assert_int_equal(raincheck_queue_pause(calls.rc, "q", &q), 0);
	raincheck_free(q);
	put(CROWD, 1, ids);
	set_limit(CROWD, false);
	assert_int_equal(raincheck_queue_resume(calls.rc, "q", &q), 0);
	raincheck_free(q);
	/* The log first: more than a pipe holds. */
	assert_int_equal(connections_made(CROWD), 0);
	for (size_t i = 0; i < CROWD; i++)
		calls_expect_end(&calls, ids[i], RAINCHECK_JOB_SUCCEEDED);
}

/* ---- trust ---- */

static void a_stranger_is_not_trusted(void **state)
{
	(void)state;
	start_api(&ours);
	start_worker("127.0.0.1", NULL);
	expect_distrust("issuer is unknown");
}

static void another_name_is_not_trusted(void **state)
{
	(void)state;
	start_api(&(struct certificate_spec){ .name = "other.example", .address = "127.0.0.2" });
	start_worker("127.0.0.1", cert);
	expect_distrust("");
	configure_worker("localhost", cert);
	hang_up();
	expect_distrust("");
}

static void a_name_is_trusted_by_name(void **state)
{
	(void)state;
	start_api(&(struct certificate_spec){ .name = "localhost" });
	start_worker("localhost", cert);
	expect_success();
	configure_worker("127.0.0.1", cert);
	hang_up();
	expect_distrust("");
}

static void a_certificate_of_the_past_or_the_future_is_not_trusted(void **state)
{
	time_t now = time(NULL);

	(void)state;
	start_api(&(struct certificate_spec){ .address = "127.0.0.1", .from = now - 7200, .until = now - 3600 });
	start_worker("127.0.0.1", cert);
	expect_distrust("expired");
	process_end(&api, SIGKILL);
	start_api(&(struct certificate_spec){ .address = "127.0.0.1", .from = now + 3600, .until = now + 7200 });
	configure_worker("127.0.0.1", cert);
	hang_up();
	expect_distrust("not yet");
}

/* Also on the connection that the file before has found good. */
static void a_reload_judges_anew(void **state)
{
	(void)state;
	start_api(&ours);
	certificate_make(&ours, other, other_key);
	start_worker("127.0.0.1", cert);
	expect_success();
	configure_worker("127.0.0.1", other);
	hang_up();
	expect_distrust("TLS: ");
	configure_worker("127.0.0.1", cert);
	hang_up();
	expect_success();
}

/* The certificate asks for a proof that it is not revoked, and the server has none. */
static void a_certificate_without_the_proof_it_asks_for_is_not_trusted(void **state)
{
	(void)state;
	start_api(&(struct certificate_spec){ .address = "127.0.0.1", .must_staple = true });
	start_worker("127.0.0.1", cert);
	expect_distrust("OCSP");
}

/* A connection over HTTP/2 outlives a request that is not sent: call after call would find the one that the file before
 * has found good, though the server may show another certificate by now. */
static void a_stranger_is_not_kept(void **state)
{
	static const int64_t made[] = { 0, 1 };

	(void)state;
	start_api(&ours);
	certificate_make(&ours, other, other_key);
	start_worker("127.0.0.1", cert);
	expect_success();
	assert_int_equal(connections_of_next_call(), 1);
	configure_worker("127.0.0.1", other);
	hang_up();
	for (int i = 0; i < 2; i++) {
		expect_distrust("TLS: ");
		assert_int_equal(connections_of_next_call(), made[i]);
	}
}

/* What is trusted is the API's certificate; then another is in its place, and the API's again. */
static void expect_renewal(void)
{
	expect_success();
	certificate_make(&ours, other, other_key);
	hang_up();
	expect_distrust("TLS: ");
	tempdir_copy(cert, other);
	hang_up();
	expect_success();
}

/* For an API without a ca_file of its own. */
static void the_files_certificates_are_read_anew(void **state)
{
	(void)state;
	start_api(&ours);
	snprintf(top + strlen(top), sizeof(top) - strlen(top), "ca_file: %s\n", other);
	tempdir_copy(cert, other);
	start_worker("127.0.0.1", NULL);
	expect_renewal();
}

/* The worker sees a file of ours where the system's certificates are; not every machine lets a test do that. */
static void the_systems_certificates_are_read_anew(void **state)
{
	static const char script[] = "mount --bind \"$1\" /etc/ssl/certs/ca-certificates.crt && exec \"$2\" --config "
				     "\"$3\" --log-level info";
	char program[512];
	const char *probe[] = { "/usr/bin/unshare",
				"-rm",
				"/bin/sh",
				"-c",
				"mount --bind /etc/hostname /etc/ssl/certs/ca-certificates.crt",
				NULL };
	const char *argv[] = { "/usr/bin/unshare",	  "-rm", "/bin/sh", "-c", script, "sh", other, program,
			       calls.stack.worker_config, NULL };
	char words[512];

	(void)state;
	start_api(&ours);
	if (process_run(probe, words, sizeof(words)) != 0)
		skip();
	snprintf(program, sizeof(program), "%s", process_program("raincheck-worker"));
	tempdir_copy(cert, other);
	configure_worker("127.0.0.1", NULL);
	process_start_heard(&calls.stack.worker, argv);
	expect_renewal();
}

/* However the URL spells it, the file's certificates are what counts. */
static void a_scheme_in_capitals_is_judged_alike(void **state)
{
	(void)state;
	start_api(&ours);
	scheme = "HTTPS";
	start_worker("127.0.0.1", cert);
	expect_success();
}

static void expect_refused(const char *ca_file, const char *words)
{
	char program[512], output[4096];
	const char *argv[] = { program, "--config", calls.stack.worker_config, NULL };
	char lines[300];
	struct calls_shape shape = { .mode = "sync", .lines = lines };

	snprintf(program, sizeof(program), "%s", process_program("raincheck-worker"));
	snprintf(lines, sizeof(lines), "    ca_file: %s\n", ca_file);
	calls_configure_worker(&calls, &shape);
	assert_int_not_equal(process_run(argv, output, sizeof(output)), 0);
	assert_non_null(strstr(output, "upstreams.api.ca_file: "));
	assert_non_null(strstr(output, words));
}

static void a_ca_file_that_is_none_is_refused(void **state)
{
	(void)state;
	start_api(&ours);
	snprintf(calls.stack.api_url, sizeof(calls.stack.api_url), "https://127.0.0.1:%u", port);
	expect_refused("/nonexistent/ca.pem", "/nonexistent/ca.pem cannot be read: No such file");
	expect_refused(key, "holds no certificate");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(calls_share_a_connection),
		T(a_crowd_finds_the_connections_of_each_hundred_open),
		T(a_stranger_is_not_trusted),
		T(another_name_is_not_trusted),
		T(a_name_is_trusted_by_name),
		T(a_certificate_of_the_past_or_the_future_is_not_trusted),
		T(a_reload_judges_anew),
		T(a_certificate_without_the_proof_it_asks_for_is_not_trusted),
		T(a_stranger_is_not_kept),
		T(the_files_certificates_are_read_anew),
		T(the_systems_certificates_are_read_anew),
		T(a_scheme_in_capitals_is_judged_alike),
		T(a_ca_file_that_is_none_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
