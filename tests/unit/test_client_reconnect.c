/* Connections that cannot be made, are refused, break, and come back. */
#include <setjmp.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/raincheck.h"
#include "tests/harness/fake_broker.h"

#define ID "0190a5c4-7d3e-7abc-8def-0123456789ab"

struct watch {
	int connected, disconnected, last_why;
	int told, code;
	bool sent;
};

static void connection_cb(struct raincheck *rc, bool connected, const struct raincheck_error *why, void *user)
{
	struct watch *w = user;

	(void)rc;
	w->connected += connected;
	w->disconnected += !connected;
	if (why)
		w->last_why = why->code;
}

static void told_cb(struct raincheck *rc, const struct raincheck_reply *reply, void *user)
{
	struct watch *w = user;

	(void)rc;
	w->told++;
	w->code = reply->code;
	w->sent = reply->error && reply->error->sent;
}

static struct raincheck *open_at(const char *server, struct watch *w, const char *token)
{
	struct raincheck_options options = {
		.server = server, .token = token, .on_connection = connection_cb, .user = w
	};
	struct raincheck *rc = NULL;

	options.backoff_min_ms = 1;
	options.backoff_max_ms = 5;
	assert_int_equal(raincheck_new(&options, &rc, NULL), 0);
	return rc;
}

static bool pong(struct fake_broker *b, const struct fake_request *r, int64_t number)
{
	struct msg_ping_result result = { .has_now_ms = true, .now_ms = number };

	return fake_reply(b, r, &result);
}

static void pings(struct raincheck *rc, int64_t number)
{
	struct raincheck_ping_result *result = NULL;

	assert_int_equal(raincheck_ping(rc, &result), 0);
	assert_int_equal(result->now_ms, number);
	raincheck_free(result);
}

/* ---- nobody there ---- */

static void test_refuses_bad_options(void **state)
{
	struct raincheck_worker nameless = { 0 };
	struct raincheck_error error;
	struct raincheck *rc = NULL;

	(void)state;
	assert_int_equal(raincheck_new(&(struct raincheck_options){ .server = "host:port" }, &rc, &error),
			 RAINCHECK_EBAD_REQUEST);
	assert_string_equal(error.field, "server");
	assert_int_equal(raincheck_new(&(struct raincheck_options){ .worker = &nameless }, &rc, &error),
			 RAINCHECK_EBAD_REQUEST);
	assert_string_equal(error.field, "worker.name");
	assert_null(rc);
	raincheck_close(NULL, NULL, NULL);
}

static void nothing_script(struct fake_broker *b, void *arg)
{
	(void)b;
	(void)arg;
}

static void test_nobody_listens(void **state)
{
	struct fake_broker *b = fake_broker_start(NULL, nothing_script, NULL);
	struct watch w = { 0 };
	struct raincheck_job *job = NULL;
	struct raincheck *rc;

	(void)state;
	rc = open_at(fake_broker_address(b), &w, NULL);
	/* Nothing listens at that port any more. */
	assert_string_equal(fake_broker_stop(b), "");
	assert_int_equal(raincheck_get(rc, ID, &job), RAINCHECK_ENO_CONNECTION);
	assert_false(raincheck_last_error(rc)->sent);
	assert_non_null(strstr(raincheck_last_error(rc)->message, "refused"));
	assert_int_equal(raincheck_get(rc, ID, &job), RAINCHECK_ENO_CONNECTION);
	assert_true(w.disconnected >= 1);
	assert_null(raincheck_server(rc));
	raincheck_close(rc, NULL, NULL);
}

static void test_no_such_host_or_socket(void **state)
{
	static const char *const nowhere[] = { "no-such-host.invalid:1", "unix:/nonexistent/rpc.sock" };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct watch w = { 0 };
		struct raincheck *rc = open_at(nowhere[i], &w, NULL);
		struct raincheck_ping_result *result = NULL;

		assert_int_equal(raincheck_ping(rc, &result), RAINCHECK_ENO_CONNECTION);
		assert_string_not_equal(raincheck_last_error(rc)->message, "");
		raincheck_close(rc, NULL, NULL);
	}
}

/* ---- refused ---- */

static void refusing_script(struct fake_broker *b, void *arg)
{
	struct fake_request r;

	(void)arg;
	if (!fake_accept(b) || !fake_next(b, METHOD_session_hello, &r))
		return;
	if (!slice_is(r.hello->token, "wrong")) {
		fake_wrong(b, "the token did not arrive");
		return;
	}
	fake_refuse(b, &r, ERR_UNAUTHENTICATED, "token", "this token is not known");
	fake_hang_up(b);
	fake_tell_test(b);
	/* The next try is let in. */
	if (fake_greet(b, 10) && fake_next(b, METHOD_session_ping, &r))
		pong(b, &r, 1);
}

static void test_a_refused_greeting_is_told_to_every_call(void **state)
{
	struct fake_broker *b = fake_broker_start(NULL, refusing_script, NULL);
	struct watch w = { 0 };
	struct raincheck *rc = open_at(fake_broker_address(b), &w, "wrong");

	(void)state;
	assert_int_equal(raincheck_ping_async(rc, told_cb, &w), 0);
	assert_int_equal(raincheck_run(rc, -1), 0);
	assert_int_equal(w.told, 1);
	assert_int_equal(w.code, RAINCHECK_EUNAUTHENTICATED);
	assert_int_equal(w.last_why, RAINCHECK_EUNAUTHENTICATED);
	assert_false(w.sent);
	fake_await_script(b);
	pings(rc, 1);
	raincheck_close(rc, NULL, NULL);
	assert_string_equal(fake_broker_stop(b), "");
}

static void old_script(struct fake_broker *b, void *arg)
{
	struct msg_hello_result result = fake_hello_result(10);
	struct fake_request r;

	(void)arg;
	result.protocol = 2;
	if (fake_accept(b) && fake_next(b, METHOD_session_hello, &r) && fake_reply(b, &r, &result))
		fake_until_gone(b);
}

static void test_another_protocol_is_not_spoken(void **state)
{
	struct fake_broker *b = fake_broker_start(NULL, old_script, NULL);
	struct watch w = { 0 };
	struct raincheck *rc = open_at(fake_broker_address(b), &w, NULL);
	struct raincheck_ping_result *result = NULL;

	(void)state;
	assert_int_equal(raincheck_ping(rc, &result), RAINCHECK_EUNSUPPORTED_VERSION);
	raincheck_close(rc, NULL, NULL);
	assert_string_equal(fake_broker_stop(b), "");
}

/* ---- broken ---- */

static void breaking_script(struct fake_broker *b, void *arg)
{
	struct fake_request r;

	(void)arg;
	if (!fake_greet(b, 10) || !fake_next(b, METHOD_job_put, &r))
		return;
	fake_hang_up(b);
	if (fake_greet(b, 10) && fake_next(b, METHOD_session_ping, &r) && pong(b, &r, 2))
		fake_until_gone(b);
}

/* A put that was sent may have happened: it is not sent again. */
static void test_a_write_is_not_repeated(void **state)
{
	struct fake_broker *b = fake_broker_start(NULL, breaking_script, NULL);
	struct watch w = { 0 };
	struct raincheck *rc = open_at(fake_broker_address(b), &w, NULL);
	struct raincheck_put_result *put = NULL;

	(void)state;
	assert_int_equal(raincheck_put(rc, &(struct raincheck_put){ .queue = "q" }, &put), RAINCHECK_ENO_CONNECTION);
	assert_true(raincheck_last_error(rc)->sent);
	pings(rc, 2);
	assert_int_equal(w.connected, 2);
	raincheck_close(rc, NULL, NULL);
	assert_string_equal(fake_broker_stop(b), "");
}

static void twice_script(struct fake_broker *b, void *arg)
{
	struct fake_request r;

	(void)arg;
	if (!fake_greet(b, 10) || !fake_next(b, METHOD_session_ping, &r))
		return;
	if (fake_greet(b, 10) && fake_next(b, METHOD_session_ping, &r) && pong(b, &r, 3) &&
	    fake_next(b, METHOD_session_ping, &r) && fake_greet(b, 10) && fake_next(b, METHOD_session_ping, &r))
		fake_hang_up(b);
}

static void test_a_read_is_repeated_once(void **state)
{
	struct fake_broker *b = fake_broker_start(NULL, twice_script, NULL);
	struct watch w = { 0 };
	struct raincheck *rc = open_at(fake_broker_address(b), &w, NULL);
	struct raincheck_ping_result *result = NULL;

	(void)state;
	pings(rc, 3);
	assert_int_equal(raincheck_ping(rc, &result), RAINCHECK_ENO_CONNECTION);
	assert_true(raincheck_last_error(rc)->sent);
	raincheck_close(rc, NULL, NULL);
	assert_string_equal(fake_broker_stop(b), "");
}

/* The broker went away and came back while nobody ran the loop: the next call finds out before it sends. */
static void restart_script(struct fake_broker *b, void *arg)
{
	struct msg_job_put_result result = { .has_created = true, .created = true };
	struct fake_request r;

	(void)arg;
	if (!fake_greet(b, 10) || !fake_next(b, METHOD_session_ping, &r) || !pong(b, &r, 4))
		return;
	fake_hang_up(b);
	fake_tell_test(b);
	if (fake_greet(b, 10) && fake_next(b, METHOD_job_put, &r) && fake_reply(b, &r, &result))
		fake_until_gone(b);
}

static void test_a_connection_that_ended_meanwhile_is_remade(void **state)
{
	struct fake_broker *b = fake_broker_start(NULL, restart_script, NULL);
	struct watch w = { 0 };
	struct raincheck *rc = open_at(fake_broker_address(b), &w, NULL);
	struct raincheck_put_result *put = NULL;

	(void)state;
	pings(rc, 4);
	fake_await_script(b);
	assert_int_equal(raincheck_put(rc, &(struct raincheck_put){ .queue = "q" }, &put), 0);
	assert_true(put->created);
	raincheck_free(put);
	raincheck_close(rc, NULL, NULL);
	assert_string_equal(fake_broker_stop(b), "");
}

/* Two may be in flight, three are started: two break with the connection, the third goes out over the next. */
static void queued_script(struct fake_broker *b, void *arg)
{
	struct fake_request r;

	(void)arg;
	if (!fake_greet(b, 2) || !fake_next(b, METHOD_session_ping, &r) || !fake_next(b, METHOD_session_ping, &r))
		return;
	if (fake_greet(b, 2) && fake_next(b, METHOD_session_ping, &r) && pong(b, &r, 5))
		fake_until_gone(b);
}

static void test_what_was_not_sent_waits_for_the_next_connection(void **state)
{
	struct fake_broker *b = fake_broker_start(NULL, queued_script, NULL);
	struct watch w = { 0 }, calls[3] = { 0 };
	struct raincheck *rc = open_at(fake_broker_address(b), &w, NULL);

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(raincheck_ping_async(rc, told_cb, &calls[i]), 0);
	assert_int_equal(raincheck_run(rc, -1), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(calls[i].told, 1);
		assert_int_equal(calls[i].code, RAINCHECK_ENO_CONNECTION);
		assert_true(calls[i].sent);
	}
	assert_int_equal(calls[2].told, 1);
	assert_int_equal(calls[2].code, 0);
	raincheck_close(rc, NULL, NULL);
	assert_string_equal(fake_broker_stop(b), "");
}

/* ---- greeted anew ---- */

static bool greet_as(struct fake_broker *b, const char *name, const char *token, size_t queues)
{
	struct msg_hello_result result = fake_hello_result(10);
	struct fake_request r;

	if (!fake_accept(b) || !fake_next(b, METHOD_session_hello, &r))
		return false;
	if (!slice_is(r.hello->worker.name, name) || !slice_is(r.hello->token, token) ||
	    r.hello->worker.queues_count != queues)
		return fake_wrong(b, "this is not %s", name);
	return fake_reply(b, &r, &result);
}

static void again_script(struct fake_broker *b, void *arg)
{
	atomic_bool *asked = arg;
	struct fake_request r;

	if (!greet_as(b, "one", "a", 1) || !fake_next(b, METHOD_session_ping, &r))
		return;
	*asked = true;
	if (!fake_await_test(b) || !pong(b, &r, 1) || !greet_as(b, "two", "b", 2))
		return;
	if (fake_next(b, METHOD_session_ping, &r) && pong(b, &r, 2))
		fake_until_gone(b);
}

/* What was sent is answered over the connection it was sent on, what comes then goes over the next. */
static void test_another_greeting_disturbs_no_call(void **state)
{
	static const char *const queues[] = { "p", "q" };
	struct raincheck_worker one = { "one", queues, 1, 5 }, two = { "two", queues, 2, 6 }, nameless = { 0 };
	struct watch w = { 0 }, first = { 0 }, second = { 0 };
	atomic_bool asked = false;
	struct fake_broker *b = fake_broker_start(NULL, again_script, &asked);
	struct raincheck_options options = { .server = fake_broker_address(b), .token = "a", .worker = &one };
	struct raincheck *rc = NULL;

	(void)state;
	options.on_connection = connection_cb;
	options.user = &w;
	assert_int_equal(raincheck_new(&options, &rc, NULL), 0);
	assert_int_equal(raincheck_ping_async(rc, told_cb, &first), 0);
	while (!asked)
		raincheck_run(rc, 1);
	assert_int_equal(raincheck_reconnect(rc, "b", &nameless), RAINCHECK_EBAD_REQUEST);
	assert_int_equal(raincheck_reconnect(rc, "b", &two), 0);
	assert_int_equal(raincheck_ping_async(rc, told_cb, &second), 0);
	/* It holds back what is new. */
	assert_int_equal(raincheck_run(rc, 1), RAINCHECK_ETIMED_OUT);
	assert_int_equal(w.disconnected, 0);
	fake_tell_script(b);
	assert_int_equal(raincheck_run(rc, -1), 0);
	assert_int_equal(first.told + second.told, 2);
	assert_int_equal(first.code, 0);
	assert_int_equal(second.code, 0);
	assert_int_equal(w.connected, 2);
	raincheck_close(rc, NULL, NULL);
	assert_string_equal(fake_broker_stop(b), "");
}

/* ---- other ways ---- */

static void one_ping_script(struct fake_broker *b, void *arg)
{
	struct fake_request r;

	(void)arg;
	if (fake_greet(b, 10) && fake_next(b, METHOD_session_ping, &r) && pong(b, &r, 6))
		fake_until_gone(b);
}

static void test_over_a_unix_socket(void **state)
{
	char dir[] = "/tmp/raincheck-test-XXXXXX";
	char path[64];
	struct fake_broker *b;
	struct watch w = { 0 };
	struct raincheck *rc;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/rpc.sock", dir);
	b = fake_broker_start(path, one_ping_script, NULL);
	assert_non_null(b);
	rc = open_at(fake_broker_address(b), &w, NULL);
	pings(rc, 6);
	raincheck_close(rc, NULL, NULL);
	assert_string_equal(fake_broker_stop(b), "");
	unlink(path);
	rmdir(dir);
}

/* "localhost" has up to two addresses, of which the first may have no listener. */
static void test_by_name(void **state)
{
	struct fake_broker *b = fake_broker_start(NULL, one_ping_script, NULL);
	struct watch w = { 0 };
	struct raincheck *rc;
	char server[64];

	(void)state;
	snprintf(server, sizeof(server), "localhost%s", strrchr(fake_broker_address(b), ':'));
	rc = open_at(server, &w, NULL);
	pings(rc, 6);
	raincheck_close(rc, NULL, NULL);
	assert_string_equal(fake_broker_stop(b), "");
}

static void test_run_ends_with_time(void **state)
{
	struct watch w = { 0 };
	struct raincheck *rc = open_at("unix:/nonexistent/rpc.sock", &w, NULL);

	(void)state;
	assert_int_equal(raincheck_run(rc, -1), 0);
	assert_int_equal(raincheck_ping_async(rc, told_cb, &w), 0);
	assert_int_equal(raincheck_run(rc, 1), RAINCHECK_ETIMED_OUT);
	assert_int_equal(w.told, 0);
	raincheck_close(rc, NULL, NULL);
	assert_int_equal(w.told, 1);
	assert_int_equal(w.code, RAINCHECK_ECANCELED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refuses_bad_options),
		cmocka_unit_test(test_nobody_listens),
		cmocka_unit_test(test_no_such_host_or_socket),
		cmocka_unit_test(test_a_refused_greeting_is_told_to_every_call),
		cmocka_unit_test(test_another_protocol_is_not_spoken),
		cmocka_unit_test(test_a_write_is_not_repeated),
		cmocka_unit_test(test_a_read_is_repeated_once),
		cmocka_unit_test(test_a_connection_that_ended_meanwhile_is_remade),
		cmocka_unit_test(test_what_was_not_sent_waits_for_the_next_connection),
		cmocka_unit_test(test_another_greeting_disturbs_no_call),
		cmocka_unit_test(test_over_a_unix_socket),
		cmocka_unit_test(test_by_name),
		cmocka_unit_test(test_run_ends_with_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
