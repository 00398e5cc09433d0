/* What an upstream file can say beyond submit, poll and fetch: lookups of calls whose submit was not answered, calls
 * that are ended at the API, further outputs, forms, the place in the API's line, a proxy and an interface.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/harness/calls.h"
#include "tests/harness/raw_server.h"

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

/* ---- lookups ---- */

#define LOOKUP(path)                                                                             \
	", idempotency: \"header:Idempotency-Key\", on_unknown: lookup, lookup: { path: \"" path \
	"\", id: /id, tries: 2, "                                                                \
	"interval: 10ms }"
static const struct calls_shape looks_up = { .submit = LOOKUP("/v1/lookup/{key}"), .top = "slots: 4\nlease: 1s\n" };

static void a_lost_answer_is_looked_up(void **state)
{
	(void)state;
	calls_start_worker(&calls, &looks_up);
	calls_expect_video(&calls, calls_put(&calls, 1, "a", "\"reset\":\"paid\",\"times\":1"), "a", 0);
	calls_expect_counts(&calls, 1, 1);
	assert_int_equal(calls_counted(&calls, "lookups"), 1);
}

static void what_is_not_found_is_sent_again(void **state)
{
	(void)state;
	calls_start_worker(&calls, &looks_up);
	calls_expect_video(&calls, calls_put(&calls, 1, "a", "\"reset\":\"unpaid\",\"times\":1"), "a", 0);
	calls_expect_counts(&calls, 2, 1);
	assert_int_equal(calls_counted(&calls, "lookups"), 2);
}

static void a_submit_that_always_gets_lost_fails(void **state)
{
	(void)state;
	calls_start_worker(&calls, &looks_up);
	calls_expect_failure(&calls, calls_put(&calls, 1, "a", "\"reset\":\"unpaid\""), RAINCHECK_FAIL_UNAVAILABLE,
			     "lost twice");
	calls_expect_counts(&calls, 2, 0);
}

static void a_killed_workers_submit_is_looked_up(void **state)
{
	const char *id;

	(void)state;
	calls_start_worker(&calls, &looks_up);
	id = calls_put(&calls, 3, "a", "\"hang\":true,\"times\":1");
	calls_wait_until_counted(&calls, "paid", 1);
	process_end(&calls.stack.worker, SIGKILL);
	calls_start_worker(&calls, &looks_up);
	calls_expect_video(&calls, id, "a", 0);
	calls_expect_counts(&calls, 1, 1);
}

/* What could not be settled is left to the next attempt, which asks again before anything else. */
static void a_lookup_that_fails_settles_nothing(void **state)
{
	struct calls_shape broken = { .submit = LOOKUP("/sync/render") };
	struct raincheck_change_result *change;
	char id[RAINCHECK_ID_SIZE];

	(void)state;
	calls_start_worker(&calls, &broken);
	snprintf(id, sizeof(id), "%s", calls_put(&calls, 1, "a", "\"reset\":\"paid\",\"times\":1"));
	calls_expect_failure(&calls, id, RAINCHECK_FAIL_UNAVAILABLE, "not known yet");
	process_stop(&calls.stack.worker);
	assert_int_equal(raincheck_retry(calls.rc, id, &change), 0);
	raincheck_free(change);
	calls_start_worker(&calls, &looks_up);
	calls_expect_video(&calls, id, "a", 0);
	calls_expect_counts(&calls, 1, 1);
}

/* ---- ending calls at the API ---- */

static const struct calls_shape cancels = {
	.lines = "    cancel: { method: DELETE, path: \"/v1/renders/{id}\" }\n",
	.top = "slots: 1\nlease: 1s\ngrace: 0s\n",
};

static void cancel_job(const char *id)
{
	struct raincheck_change_result *change;

	assert_int_equal(raincheck_cancel(calls.rc, id, &change), 0);
	raincheck_free(change);
}

static void a_canceled_jobs_call_is_ended(void **state)
{
	const char *id;

	(void)state;
	calls_start_worker(&calls, &cancels);
	id = calls_put(&calls, 3, "a", "\"hold\":true");
	calls_wait_until_counted(&calls, "polls", 1);
	cancel_job(id);
	calls_wait_until_counted(&calls, "cancelled", 1);
	calls_wait_for_log(&calls, "the API was told to end the call");
}

/* The id comes with the answer, which is waited for. */
static void a_call_is_ended_that_was_not_answered_yet(void **state)
{
	const char *id;

	(void)state;
	calls_start_worker(&calls, &cancels);
	id = calls_put(&calls, 3, "a", "\"hold\":true,\"answer_delay_ms\":300");
	calls_wait_until_counted(&calls, "paid", 1);
	cancel_job(id);
	calls_wait_until_counted(&calls, "cancelled", 1);
	calls_wait_for_log(&calls, "outcome=\"canceled\"");
}

static void an_expired_jobs_call_is_ended(void **state)
{
	static const char payload[] = "{\"name\":\"a\",\"behave\":{\"hold\":true}}";
	struct raincheck_put put = {
		.queue = "q",
		.content_type = "application/json",
		.payload = { payload, sizeof(payload) - 1 },
		.deadline_ms = 3000,
	};
	struct raincheck_put_result *result;
	char id[RAINCHECK_ID_SIZE];

	(void)state;
	calls_start_worker(&calls, &cancels);
	/* So that the deadline does not pass before the worker is there. */
	calls_expect_video(&calls, calls_put(&calls, 1, "b", ""), "b", 0);
	assert_int_equal(raincheck_put(calls.rc, &put, &result), 0);
	memcpy(id, result->id, sizeof(id));
	raincheck_free(result);
	calls_expect_end(&calls, id, RAINCHECK_JOB_EXPIRED);
	calls_wait_until_counted(&calls, "cancelled", 1);
}

/* Dead is not for good: the call may be taken up when an operator has the job tried again. */
static void a_dead_jobs_call_is_left_alone_and_taken_up(void **state)
{
	struct calls_shape hasty = cancels;
	struct raincheck_change_result *change;
	char id[RAINCHECK_ID_SIZE];

	(void)state;
	hasty.lines = "    cancel: { method: DELETE, path: \"/v1/renders/{id}\" }\n    timeouts: { attempt: 2s }\n";
	calls_start_worker(&calls, &hasty);
	snprintf(id, sizeof(id), "%s", calls_put(&calls, 1, "a", "\"hold\":true"));
	calls_expect_failure(&calls, id, RAINCHECK_FAIL_TIMEOUT, "took too long");
	process_stop(&calls.stack.worker);
	assert_int_equal(calls_counted(&calls, "cancelled"), 0);
	calls_release_bodies(&calls);
	assert_int_equal(raincheck_retry(calls.rc, id, &change), 0);
	raincheck_free(change);
	calls_start_worker(&calls, &cancels);
	calls_expect_video(&calls, id, "a", 0);
	calls_expect_counts(&calls, 1, 1);
}

static void a_call_that_is_given_back_goes_on(void **state)
{
	const char *id;

	(void)state;
	calls_start_worker(&calls, &cancels);
	id = calls_put(&calls, 3, "a", "\"hold\":true");
	calls_wait_until_counted(&calls, "polls", 1);
	process_stop(&calls.stack.worker);
	assert_int_equal(calls_counted(&calls, "cancelled"), 0);
	calls_release_bodies(&calls);
	calls_start_worker(&calls, &cancels);
	calls_expect_video(&calls, id, "a", 0);
	calls_expect_counts(&calls, 1, 1);
}

/* The only slot is free again soon, whatever the API does. */
static void ending_a_call_does_not_hold_its_slot(void **state)
{
	struct calls_shape slow = cancels;
	const char *id;

	(void)state;
	slow.lines = "    cancel: { method: POST, path: /sync/render, timeout: 100ms,\n"
		     "              body: \"{\\\"name\\\": \\\"c\\\", \\\"behave\\\": {\\\"hang\\\": true}}\" }\n";
	calls_start_worker(&calls, &slow);
	id = calls_put(&calls, 3, "a", "\"hold\":true");
	calls_wait_until_counted(&calls, "polls", 1);
	cancel_job(id);
	calls_expect_video(&calls, calls_put(&calls, 1, "b", ""), "b", 0);
	calls_wait_for_log(&calls, "not told in time");
}

/* ---- what comes home ---- */

static void expect_outputs(const struct calls_shape *s)
{
	calls_start_worker(&calls, s);
	calls_expect_video(&calls, calls_put(&calls, 1, "a", "\"pad_kib\":300"), "a", 300);
	assert_non_null(calls_artifact(&calls, "still"));
	assert_string_equal(calls_artifact(&calls, "still")->content_type, "image/jpeg");
	assert_non_null(calls_artifact(&calls, "again"));
	assert_string_equal(calls_artifact(&calls, "again")->sha256, calls_artifact(&calls, "result")->sha256);
	assert_null(calls_artifact(&calls, "nothing"));
	calls_expect_counts(&calls, 1, 1);
}

static const char outputs[] =
	"from: pointer, media: /output, outputs: { still: /poster, again: /output/0, nothing: /no/such }";

static void further_outputs_are_artifacts(void **state)
{
	struct calls_shape poll = { .result = outputs };

	(void)state;
	expect_outputs(&poll);
}

static void further_outputs_of_a_sync_call_are_artifacts(void **state)
{
	struct calls_shape sync = { .mode = "sync", .path = "/sync/json", .result = outputs };

	(void)state;
	expect_outputs(&sync);
}

/* The answer of a sync call that named them is gone when the worker is killed while it fetches. */
static void a_killed_workers_outputs_are_fetched_by_the_next(void **state)
{
	struct calls_shape sync = {
		.mode = "sync", .path = "/sync/json", .result = outputs, .top = "slots: 4\nlease: 1s\n"
	};
	char id[RAINCHECK_ID_SIZE];

	(void)state;
	calls_start_worker(&calls, &sync);
	snprintf(id, sizeof(id), "%s", calls_put(&calls, 3, "a", "\"pad_kib\":300,\"hold_body\":true,\"times\":1"));
	calls_wait_until_counted(&calls, "held", 1);
	process_end(&calls.stack.worker, SIGKILL);
	calls_start_worker(&calls, &sync);
	calls_expect_video(&calls, id, "a", 300);
	assert_non_null(calls_artifact(&calls, "still"));
	assert_non_null(calls_artifact(&calls, "again"));
	calls_expect_counts(&calls, 1, 1);
}

static void a_form_carries_the_payload(void **state)
{
	struct calls_shape form = {
		.lines = "    auth: { kind: header, value: \"Bearer stability-key\" }\n",
		.path = "/shapes/stability/v2beta/image-to-video",
		.submit = ", multipart: [ { name: seed, value: \"7\" }, { name: image, file: \"{payload}\" } ]",
		.poll = ", path: \"/shapes/stability/v2beta/image-to-video/result/{id}\", state: http, pending: [202], "
			"ok: "
			"[200]",
		.result = "from: body",
	};

	(void)state;
	calls_start_worker(&calls, &form);
	calls_expect_video(&calls, calls_put(&calls, 1, "a", "\"delay_ms\":20"), "a", 0);
}

static void wait_for_note(const char *id, const char *note)
{
	for (bool found = false; !found;) {
		raincheck_free(calls.job);
		calls.job = NULL;
		assert_int_equal(raincheck_get(calls.rc, id, &calls.job), 0);
		found = calls.job->note && strcmp(calls.job->note, note) == 0;
	}
}

static void the_place_in_the_apis_line_is_told(void **state)
{
	struct calls_shape placed = {
		.poll = ", path: \"/v1/renders/{id}\", ok: [SUCCEEDED], failed: [FAILED], position: /position",
		.top = "slots: 4\nlease: 3s\n",
	};
	char first[RAINCHECK_ID_SIZE], second[RAINCHECK_ID_SIZE];

	(void)state;
	calls_start_worker(&calls, &placed);
	snprintf(first, sizeof(first), "%s", calls_put(&calls, 1, "a", "\"hold\":true"));
	calls_wait_until_counted(&calls, "paid", 1);
	snprintf(second, sizeof(second), "%s", calls_put(&calls, 1, "b", "\"hold\":true"));
	wait_for_note(second, "number 1 in the API's line");
	wait_for_note(first, "number 0 in the API's line");
	calls_release_bodies(&calls);
	calls_expect_video(&calls, first, "a", 0);
	calls_expect_video(&calls, second, "b", 0);
}

/* ---- the way out ---- */

struct proxy {
	unsigned target; /* port */
	atomic_int passed;
	atomic_int refused;
	pthread_mutex_t lock; /* of the next two: of the last; read after the server is stopped */
	char authorization[128];
	struct in_addr peer;
};

static int connect_to(unsigned port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				       .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		abort();
	return fd;
}

/* Until one of them ends. */
static void relay(int a, int b)
{
	struct pollfd fds[2] = { { .fd = a, .events = POLLIN }, { .fd = b, .events = POLLIN } };
	char bytes[16384];

	for (;;) {
		if (poll(fds, 2, -1) < 0)
			return;
		for (int i = 0; i < 2; i++) {
			ssize_t n = fds[i].revents ? recv(fds[i].fd, bytes, sizeof(bytes), 0) : 1;

			if (n <= 0)
				return;
			if (fds[i].revents && send(fds[1 - i].fd, bytes, (size_t)n, MSG_NOSIGNAL) < n)
				return;
		}
	}
}

static void note_authorization(struct proxy *p, const char *head)
{
	const char *at = strcasestr(head, "\r\nProxy-Authorization: ");

	if (at)
		snprintf(p->authorization, sizeof(p->authorization), "%.*s", (int)strcspn(at + 23, "\r"), at + 23);
}

/* "METHOD http://HOST/PATH …" goes on as "METHOD /PATH …", whatever the host, and the connection ends with it. */
static void pass_on(const struct raw_request *r)
{
	struct proxy *p = r->user;
	const char *url = strchr(r->head, ' ') + 1, *path = strchr(url + strlen("http://"), '/');
	const char *rest = strstr(r->head, "\r\n");
	char line[2048];
	int fd;

	pthread_mutex_lock(&p->lock);
	p->peer = r->peer.sin_addr;
	note_authorization(p, r->head);
	pthread_mutex_unlock(&p->lock);
	if (strncmp(r->head, "CONNECT ", 8) == 0) {
		p->refused++;
		raw_send(r->fd, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
		return;
	}
	p->passed++;
	fd = connect_to(p->target);
	snprintf(line, sizeof(line), "%.*s%.*s\r\nConnection: close", (int)(url - r->head), r->head, (int)(rest - path),
		 path);
	raw_send(fd, line);
	raw_send(fd, rest);
	relay(r->fd, fd);
	close(fd);
}

static void start_with_proxy(struct proxy *p, struct raw_server **ret_server, const char *base, const char *more,
			     bool is_public)
{
	char lines[512];
	struct calls_shape s = { .base = base, .lines = lines, .is_public = is_public };

	*p = (struct proxy){ .target = (unsigned)strtoul(strrchr(calls.stack.api_url, ':') + 1, NULL, 10) };
	pthread_mutex_init(&p->lock, NULL);
	*ret_server = raw_server_start(pass_on, p, RAW_HEAD);
	snprintf(lines, sizeof(lines),
		 "    proxy: \"http://ada:{env.TEST_PROXY_PASSWORD}@127.0.0.1:%u\"\n    allow_hosts: [127.0.0.1]\n%s",
		 raw_server_port(*ret_server), more);
	setenv("TEST_PROXY_PASSWORD", "proxy-password", 1);
	calls_start_worker(&calls, &s);
	unsetenv("TEST_PROXY_PASSWORD");
}

/* The name exists nowhere but there. */
static void everything_goes_through_the_proxy(void **state)
{
	struct raw_server *server;
	struct proxy p;

	(void)state;
	start_with_proxy(&p, &server, "http://api.invalid", "    interface: 127.0.0.2\n", false);
	calls_expect_video(&calls, calls_put(&calls, 1, "a", "\"pad_kib\":600"), "a", 600);
	process_stop(&calls.stack.worker);
	raw_server_stop(server);
	/* Submit, poll, video at the least. */
	assert_true(p.passed >= 3);
	assert_string_equal(p.authorization, "Basic YWRhOnByb3h5LXBhc3N3b3Jk");
	assert_int_equal(ntohl(p.peer.s_addr), 0x7f000002);
}

static void an_address_that_is_not_public_is_not_asked_of_the_proxy(void **state)
{
	struct raw_server *server;
	struct proxy p;

	(void)state;
	start_with_proxy(&p, &server, "http://api.invalid", "", true);
	calls_expect_failure(&calls, calls_put(&calls, 1, "a", ""), RAINCHECK_FAIL_REJECTED, "allow_private");
	process_stop(&calls.stack.worker);
	raw_server_stop(server);
	assert_int_equal(calls_counted(&calls, "fetches"), 0);
}

/* What the proxy did not let through was not sent: there is nothing unknown about it. */
static void what_the_proxy_refuses_was_not_sent(void **state)
{
	struct raw_server *server;
	struct proxy p;

	(void)state;
	start_with_proxy(&p, &server, "https://api.invalid", "", false);
	calls_expect_failure(&calls, calls_put(&calls, 2, "a", ""), RAINCHECK_FAIL_UNAVAILABLE, "could not be sent");
	assert_int_equal(calls.job->attempt, 2);
	process_stop(&calls.stack.worker);
	raw_server_stop(server);
	assert_int_equal(p.refused, 2);
}

static void an_interface_that_is_not_there_is_told(void **state)
{
	struct calls_shape s = { .lines = "    interface: no-such-if\n" };

	(void)state;
	calls_start_worker(&calls, &s);
	calls_expect_failure(&calls, calls_put(&calls, 1, "a", ""), RAINCHECK_FAIL_UNAVAILABLE, "no-such-if");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_lost_answer_is_looked_up),
		T(what_is_not_found_is_sent_again),
		T(a_submit_that_always_gets_lost_fails),
		T(a_killed_workers_submit_is_looked_up),
		T(a_lookup_that_fails_settles_nothing),
		T(a_canceled_jobs_call_is_ended),
		T(a_call_is_ended_that_was_not_answered_yet),
		T(an_expired_jobs_call_is_ended),
		T(a_dead_jobs_call_is_left_alone_and_taken_up),
		T(a_call_that_is_given_back_goes_on),
		T(ending_a_call_does_not_hold_its_slot),
		T(further_outputs_are_artifacts),
		T(further_outputs_of_a_sync_call_are_artifacts),
		T(a_killed_workers_outputs_are_fetched_by_the_next),
		T(a_form_carries_the_payload),
		T(the_place_in_the_apis_line_is_told),
		T(everything_goes_through_the_proxy),
		T(an_address_that_is_not_public_is_not_asked_of_the_proxy),
		T(what_the_proxy_refuses_was_not_sent),
		T(an_interface_that_is_not_there_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
