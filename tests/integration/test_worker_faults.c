/* A peer that breaks the rules, at each stage of a call: what kind of failure that is, what the message says, and that
 * the job after it is not harmed. The server answers byte by byte; a job's payload says what goes wrong and when:
 *
 *   POST /STAGE/FAULT/submit ──▶ {"id"}    GET /STAGE/FAULT/poll ──▶ {"status","output"}    GET /STAGE/FAULT/file
 */
#include <arpa/inet.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/clean.h"
#include "tests/harness/calls.h"
#include "tests/harness/raw_server.h"

#define HUGE_BYTES (17 << 20) /* more than is read of an answer in JSON */

/* One answer a connection: what a rule-breaker sends too much must not be the beginning of another's. */
#define CLOSE "Connection: close\r\n\r\n"

/* So many in a row are the end of an attempt. One that is silent takes its time; those before it fail at once. */
#define FAILED_POLLS 10

static atomic_int silent_polls[128];

static struct calls calls;
static struct raw_server *server;

/* ---- the server ---- */

static const char video[] = "HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: 24\r\n" CLOSE;
static const char video_bytes[] = "\0\0\0\x18"
				  "ftypmp42\0\0\0\0mp42isom";

static void send_json(int fd, const char *body, long more)
{
	char head[128];

	snprintf(head, sizeof(head),
		 "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %ld\r\n" CLOSE,
		 (long)strlen(body) + more);
	raw_send(fd, head);
	raw_send(fd, body);
}

static unsigned port_of(int fd)
{
	struct sockaddr_in address = { .sin_port = 0 };
	socklen_t size = sizeof(address);

	getsockname(fd, (struct sockaddr *)&address, &size);
	return ntohs(address.sin_port);
}

/* What each step answers when nothing goes wrong. */
static void answer_well(int fd, const char *where, const char *step)
{
	char body[256];

	if (strcmp(step, "submit") == 0) {
		send_json(fd, "{\"id\":\"x\"}", 0);
	} else if (strcmp(step, "poll") == 0) {
		snprintf(body, sizeof(body), "{\"status\":\"DONE\",\"output\":\"http://127.0.0.1:%u%s/file\"}",
			 port_of(fd), where);
		send_json(fd, body, 0);
	} else {
		raw_send(fd, video);
		/* It holds zeros. */
		for (size_t i = 0; i < sizeof(video_bytes) - 1; i++)
			if (send(fd, video_bytes + i, 1, MSG_NOSIGNAL) < 1)
				return;
	}
}

static void send_huge(int fd)
{
	static char spaces[65537];

	memset(spaces, ' ', sizeof(spaces) - 1);
	send_json(fd, "{", HUGE_BYTES);
	for (size_t sent = 0; sent < HUGE_BYTES; sent += sizeof(spaces) - 1)
		raw_send(fd, spaces);
}

static void send_long_header(int fd)
{
	static char text[200001];

	memset(text, 'x', sizeof(text) - 1);
	raw_send(fd, "HTTP/1.1 200 OK\r\nX-Long: ");
	raw_send(fd, text);
	raw_send(fd, "\r\nContent-Length: 0\r\n\r\n");
}

/* A byte now and then: slow, but not silent. */
static void trickle(int fd)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"id\":\"x\"}";
	char one[2] = "";

	for (size_t i = 0; i < sizeof(answer) - 1; i++) {
		one[0] = answer[i];
		raw_send(fd, one);
		poll(NULL, 0, 5);
	}
}

static void misbehave(int fd, const char *where, const char *fault)
{
	char redirect[256];

	if (strcmp(fault, "reset") == 0)
		raw_reset(fd);
	else if (strcmp(fault, "silence") == 0)
		raw_wait_gone(fd);
	else if (strcmp(fault, "garbage") == 0)
		raw_send(fd, "SSH-2.0-OpenSSH_9.2\r\n\r\n");
	else if (strcmp(fault, "half_headers") == 0)
		raw_send(fd, "HTTP/1.1 200 OK\r\nContent-Len"), raw_wait_gone(fd);
	else if (strcmp(fault, "half_body") == 0)
		raw_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"id\""), raw_wait_gone(fd);
	else if (strcmp(fault, "short") == 0)
		send_json(fd, "{\"id\":\"x\",\"status\":\"DONE\"}", 5);
	else if (strcmp(fault, "long") == 0)
		send_json(fd, "{\"id\":\"x\",\"status\":\"DONE\"}", -5);
	else if (strcmp(fault, "not_json") == 0)
		send_json(fd, "<html>Sign in</html>", 0);
	else if (strcmp(fault, "huge") == 0)
		send_huge(fd);
	else if (strcmp(fault, "types") == 0)
		send_json(fd, "{\"id\":{\"a\":1},\"status\":\"DONE\",\"output\":7}", 0);
	else if (strcmp(fault, "trickle") == 0)
		trickle(fd);
	else if (strcmp(fault, "long_header") == 0)
		send_long_header(fd);
	else if (strcmp(fault, "empty") == 0)
		raw_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	else if (strcmp(fault, "redirect") == 0) {
		snprintf(redirect, sizeof(redirect),
			 "HTTP/1.1 302 Found\r\nLocation: %s/file\r\nContent-Length: 0\r\n\r\n", where);
		raw_send(fd, redirect);
	}
	/* "close": nothing at all. */
}

static bool is_silent(const char *fault)
{
	return strcmp(fault, "silence") == 0 || strncmp(fault, "half_", 5) == 0;
}

static void serve(const struct raw_request *r)
{
	char stage[32], fault[32], step[32], where[80];

	if (sscanf(r->head, "%*s /%31[^/]/%31[^/]/%31[^ ]", stage, fault, step) != 3) {
		raw_send(r->fd, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
		return;
	}
	snprintf(where, sizeof(where), "/%s/%s", stage, fault);
	if (strcmp(stage, "poll") == 0 && strcmp(step, "poll") == 0 && is_silent(fault) &&
	    ++silent_polls[fault[5] & 127] < FAILED_POLLS)
		return;
	if (strcmp(stage, step) == 0)
		misbehave(r->fd, where, fault);
	else
		answer_well(r->fd, where, step);
}

/* ---- the worker and its jobs ---- */

static int setup(void **state)
{
	(void)state;
	calls_open(&calls);
	server = raw_server_start(serve, NULL, RAW_WHOLE);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	calls_close(&calls);
	raw_server_stop(server);
	return 0;
}

static void start_worker(const char *base, const char *timeouts)
{
	struct calls_shape s = {
		.base = base,
		.top = "slots: 64\nlease: 60s\n",
		.lines = timeouts,
		.path = "\"/{input/stage}/{input/fault}/submit\"",
		.submit = ", on_unknown: retry",
		.poll = ", path: \"/{input/stage}/{input/fault}/poll\", ok: [DONE], failed: [FAILED]",
		.result = "media: /output",
	};

	calls_start_worker(&calls, &s);
}

static void put(const char *stage, const char *fault, char ret_id[RAINCHECK_ID_SIZE])
{
	struct raincheck_put params = { .queue = "q", .content_type = "application/json", .max_attempts = 1 };
	struct raincheck_put_result *result;
	char payload[128];

	snprintf(payload, sizeof(payload), "{\"stage\":\"%s\",\"fault\":\"%s\"}", stage, fault);
	params.payload = (struct raincheck_bytes){ payload, strlen(payload) };
	assert_int_equal(raincheck_put(calls.rc, &params, &result), 0);
	memcpy(ret_id, result->id, RAINCHECK_ID_SIZE);
	raincheck_free(result);
}

static void expect_well(void)
{
	char id[RAINCHECK_ID_SIZE];

	put("none", "none", id);
	calls_expect_end(&calls, id, RAINCHECK_JOB_SUCCEEDED);
	assert_int_equal(calls_artifact(&calls, "result")->size, sizeof(video_bytes) - 1);
}

static const struct {
	const char *stage, *fault;
	enum raincheck_failure kind;
	const char *words;
} faults[] = {
	{ "submit", "reset", RAINCHECK_FAIL_UNAVAILABLE, "the submit: the connection broke" },
	{ "submit", "close", RAINCHECK_FAIL_UNAVAILABLE, "the submit: the connection broke" },
	{ "submit", "garbage", RAINCHECK_FAIL_UNAVAILABLE, "the submit: the connection broke" },
	{ "submit", "silence", RAINCHECK_FAIL_TIMEOUT, "the submit: the API went silent" },
	{ "submit", "half_headers", RAINCHECK_FAIL_TIMEOUT, "the submit: the API went silent in the middle" },
	{ "submit", "half_body", RAINCHECK_FAIL_TIMEOUT, "the submit: the API went silent in the middle" },
	{ "submit", "short", RAINCHECK_FAIL_INVALID, "the submit: the answer is cut short" },
	{ "submit", "long", RAINCHECK_FAIL_INVALID,
	  "the submit was answered with HTTP 200 and something that is not JSON" },
	{ "submit", "not_json", RAINCHECK_FAIL_INVALID, "something that is not JSON" },
	{ "submit", "huge", RAINCHECK_FAIL_INVALID, "larger than what is read" },
	{ "submit", "types", RAINCHECK_FAIL_INVALID, "and no id" },
	{ "submit", "long_header", RAINCHECK_FAIL_UNAVAILABLE,
	  "the connection broke: a header of the answer is longer" },
	{ "submit", "redirect", RAINCHECK_FAIL_REJECTED, "the submit was answered with HTTP 302" },
	{ "poll", "reset", RAINCHECK_FAIL_UNAVAILABLE, "the poll: the connection broke" },
	{ "poll", "close", RAINCHECK_FAIL_UNAVAILABLE, "the poll: the connection broke" },
	{ "poll", "garbage", RAINCHECK_FAIL_UNAVAILABLE, "the poll: the connection broke" },
	{ "poll", "silence", RAINCHECK_FAIL_TIMEOUT, "the poll: the API went silent" },
	{ "poll", "half_headers", RAINCHECK_FAIL_TIMEOUT, "the poll: the API went silent in the middle" },
	{ "poll", "half_body", RAINCHECK_FAIL_TIMEOUT, "the poll: the API went silent in the middle" },
	{ "poll", "short", RAINCHECK_FAIL_INVALID, "the poll: the answer is cut short" },
	{ "poll", "long", RAINCHECK_FAIL_INVALID, "something that is not JSON" },
	{ "poll", "not_json", RAINCHECK_FAIL_INVALID, "something that is not JSON" },
	{ "poll", "huge", RAINCHECK_FAIL_INVALID, "larger than what is read" },
	{ "poll", "types", RAINCHECK_FAIL_INVALID, "its answer holds no result at /output" },
	{ "poll", "redirect", RAINCHECK_FAIL_UNAVAILABLE, "the poll was answered with HTTP 302" },
	{ "file", "reset", RAINCHECK_FAIL_UNAVAILABLE, "the connection broke" },
	{ "file", "close", RAINCHECK_FAIL_UNAVAILABLE, "the connection broke" },
	{ "file", "garbage", RAINCHECK_FAIL_UNAVAILABLE, "the connection broke" },
	{ "file", "silence", RAINCHECK_FAIL_TIMEOUT, "the API went silent" },
	{ "file", "half_headers", RAINCHECK_FAIL_TIMEOUT, "the API went silent in the middle" },
	{ "file", "half_body", RAINCHECK_FAIL_TIMEOUT, "the API went silent in the middle" },
	{ "file", "short", RAINCHECK_FAIL_INVALID, "the answer is cut short" },
	{ "file", "not_json", RAINCHECK_FAIL_INVALID, "application/json" },
	{ "file", "long_header", RAINCHECK_FAIL_UNAVAILABLE, "the connection broke: a header of the answer is longer" },
	{ "file", "empty", RAINCHECK_FAIL_INVALID, "the result is empty" },
	{ "file", "redirect", RAINCHECK_FAIL_INVALID, "is redirected more than 5 times" },
};

static void what_goes_wrong_is_told_and_harms_no_other(void **state)
{
	char ids[ARRAY_SIZE(faults)][RAINCHECK_ID_SIZE], base[64], slow[RAINCHECK_ID_SIZE];

	(void)state;
	snprintf(base, sizeof(base), "http://127.0.0.1:%u", raw_server_port(server));
	start_worker(base, "    timeouts: { connect: 2s, stall: 2s, attempt: 60s }\n");
	expect_well();
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
		put(faults[i].stage, faults[i].fault, ids[i]);
	put("submit", "trickle", slow);
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		print_message("# %s %s\n", faults[i].stage, faults[i].fault);
		calls_expect_failure(&calls, ids[i], faults[i].kind, faults[i].words);
		assert_null(calls_artifact(&calls, "result"));
	}
	calls_expect_end(&calls, slow, RAINCHECK_JOB_SUCCEEDED);
	expect_well();
}

/* 502: the request may have got through the gateway, and the answer not back. */
static void what_a_gateway_lost_is_not_bought_again(void **state)
{
	static const struct calls_shape shapes[] = { { .mode = "poll" }, { .mode = "sync" } };
	char name[8];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		calls_start_worker(&calls, &shapes[i]);
		snprintf(name, sizeof(name), "%zu", i);
		calls_expect_failure(&calls, calls_put(&calls, 3, name, "\"http_status\":502"), RAINCHECK_FAIL_REJECTED,
				     "to get this status; whether the API took the call is not known");
		process_stop(&calls.stack.worker);
		assert_int_equal(calls_counted(&calls, "submits"), i + 1);
	}
}

/* ---- peers that are not there ---- */

static void expect_unreachable(const char *base, const char *words)
{
	char id[RAINCHECK_ID_SIZE];

	start_worker(base, "    timeouts: { connect: 40s }\n");
	put("none", "none", id);
	calls_expect_failure(&calls, id, RAINCHECK_FAIL_UNAVAILABLE, "the submit could not be sent");
	if (!strstr(calls.job->error->message, words))
		fail_msg("\"%s\" is not in \"%s\"", words, calls.job->error->message);
}

static void a_refused_connection_is_told(void **state)
{
	char base[64];

	(void)state;
	snprintf(base, sizeof(base), "http://127.0.0.1:%u", raw_server_port(server));
	raw_server_stop(server);
	expect_unreachable(base, "connect");
	server = raw_server_start(serve, NULL, RAW_WHOLE);
}

static void a_name_that_is_nowhere_is_told(void **state)
{
	(void)state;
	expect_unreachable("http://api.invalid", "api.invalid");
}

static void answer_plainly(const struct raw_request *r)
{
	raw_send(r->fd, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
	raw_wait_gone(r->fd);
}

static void a_peer_that_speaks_no_tls_is_told(void **state)
{
	struct raw_server *plain = raw_server_start(answer_plainly, NULL, RAW_NOTHING);
	char base[64];

	(void)state;
	snprintf(base, sizeof(base), "https://127.0.0.1:%u", raw_server_port(plain));
	expect_unreachable(base, "handshake");
	process_stop(&calls.stack.worker);
	raw_server_stop(plain);
}

/* ---- a certificate that nobody vouches for ---- */

struct impostor {
	gnutls_certificate_credentials_t credentials;
	gnutls_x509_privkey_t key;
	gnutls_x509_crt_t certificate;
	atomic_int connections;
	atomic_int told; /* got something to read */
};

static void sign_oneself(struct impostor *i)
{
	time_t now = time(NULL);

	assert_int_equal(gnutls_x509_privkey_init(&i->key), 0);
	assert_int_equal(gnutls_x509_privkey_generate(i->key, GNUTLS_PK_ECDSA,
						      GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0),
			 0);
	assert_int_equal(gnutls_x509_crt_init(&i->certificate), 0);
	gnutls_x509_crt_set_version(i->certificate, 3);
	gnutls_x509_crt_set_serial(i->certificate, "\1", 1);
	gnutls_x509_crt_set_activation_time(i->certificate, now - 3600);
	gnutls_x509_crt_set_expiration_time(i->certificate, now + 3600);
	gnutls_x509_crt_set_key(i->certificate, i->key);
	gnutls_x509_crt_set_subject_alt_name(i->certificate, GNUTLS_SAN_DNSNAME, "localhost", 9, GNUTLS_FSAN_SET);
	assert_int_equal(gnutls_x509_crt_sign2(i->certificate, i->certificate, i->key, GNUTLS_DIG_SHA256, 0), 0);
	assert_int_equal(gnutls_certificate_allocate_credentials(&i->credentials), 0);
	assert_int_equal(gnutls_certificate_set_x509_key(i->credentials, &i->certificate, 1, i->key), 0);
}

static void pretend(const struct raw_request *r)
{
	struct impostor *i = r->user;
	gnutls_session_t session;
	char byte;

	i->connections++;
	if (gnutls_init(&session, GNUTLS_SERVER) < 0)
		return;
	gnutls_set_default_priority(session);
	gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, i->credentials);
	gnutls_transport_set_int(session, r->fd);
	if (gnutls_handshake(session) == 0 && gnutls_record_recv(session, &byte, 1) > 0)
		i->told++;
	gnutls_deinit(session);
}

static void a_certificate_that_nobody_vouches_for_is_told(void **state)
{
	struct impostor i = { .connections = 0 };
	struct raw_server *tls;
	char base[64];

	(void)state;
	sign_oneself(&i);
	tls = raw_server_start(pretend, &i, RAW_NOTHING);
	snprintf(base, sizeof(base), "https://localhost:%u", raw_server_port(tls));
	expect_unreachable(base, "certificate");
	process_stop(&calls.stack.worker);
	raw_server_stop(tls);
	assert_true(i.connections > 0);
	assert_int_equal(i.told, 0);
	gnutls_certificate_free_credentials(i.credentials);
	gnutls_x509_crt_deinit(i.certificate);
	gnutls_x509_privkey_deinit(i.key);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(what_goes_wrong_is_told_and_harms_no_other),
		T(what_a_gateway_lost_is_not_bought_again),
		T(a_refused_connection_is_told),
		T(a_name_that_is_nowhere_is_told),
		T(a_peer_that_speaks_no_tls_is_told),
		T(a_certificate_that_nobody_vouches_for_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
