/* What the API says while a call waits, and what is made of it: a call that it forgets, "not now", states and codes
 * that the file knows or does not, how far it is; and the ways to a result that do not lead there. The API is played,
 * answer by answer:
 *
 *   POST /submit ──▶ {"id":"c1"}, "c2" …    GET /poll/ID, /result/ID, /file, /still ──▶ what the test says, in order
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "tests/harness/calls.h"
#include "tests/harness/raw_server.h"

#define REPLIES_MAX 6
#define UNTIL_TOLD  1000000

/* So many times in a row, or until the test moves on. The last one is repeated for ever. */
struct reply {
	int times;
	int status;
	const char *body;
	const char *headers; /* each with its end */
};

/* A path of the API's. */
struct door {
	struct reply replies[REPLIES_MAX];
	int at, said; /* which reply, and how often it was given */
	int asked;    /* in all */
};

static struct {
	pthread_mutex_t lock;
	struct door submit, poll, result, file, still;
} api = { .lock = PTHREAD_MUTEX_INITIALIZER };

static struct calls calls;
static struct raw_server *server;

/* ---- the API ---- */

#define VIDEO "video"
#define DONE                                                        \
	{                                                           \
		.status = 200, .body = "{\"status\":\"DONE\"," URLS \
	}
#define URLS "\"output\":\"/file\",\"poster\":\"/still\"}"

static const char video_bytes[] = "\0\0\0\x18"
				  "ftypmp42\0\0\0\0mp42isom";

static struct door *door_of(const char *head)
{
	static const struct {
		const char *path;
		struct door *door;
	} doors[] = {
		{ " /submit", &api.submit }, { " /poll/", &api.poll },	{ " /result/", &api.result },
		{ " /file", &api.file },     { " /still", &api.still },
	};
	const char *path = strchr(head, ' ');

	for (size_t i = 0; path && i < sizeof(doors) / sizeof(doors[0]); i++)
		if (strncmp(path, doors[i].path, strlen(doors[i].path)) == 0)
			return doors[i].door;
	return NULL;
}

/* The lock is held. */
static struct reply next_reply(struct door *d)
{
	struct reply r = d->replies[d->at];

	d->asked++;
	if (++d->said >= r.times && d->at + 1 < REPLIES_MAX && d->replies[d->at + 1].status > 0) {
		d->at++;
		d->said = 0;
	}
	return r;
}

static void send_bytes(int fd, const char *data, size_t size)
{
	for (ssize_t n; size > 0; data += n, size -= (size_t)n) {
		n = send(fd, data, size, MSG_NOSIGNAL);
		if (n <= 0)
			return;
	}
}

static void answer(int fd, const struct reply *r, const char *body)
{
	bool is_video = strcmp(body, VIDEO) == 0;
	size_t size = is_video ? sizeof(video_bytes) - 1 : strlen(body);
	char head[512];

	snprintf(head, sizeof(head),
		 "HTTP/1.1 %d Said\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%sConnection: close\r\n\r\n",
		 r->status, is_video ? "video/mp4" : "application/json", size, r->headers ? r->headers : "");
	send_bytes(fd, head, strlen(head));
	send_bytes(fd, is_video ? video_bytes : body, size);
}

static void serve(const struct raw_request *request)
{
	struct door *d = door_of(request->head);
	struct reply r = { .status = 404 };
	char id[64];

	pthread_mutex_lock(&api.lock);
	if (d)
		r = next_reply(d);
	snprintf(id, sizeof(id), "{\"id\":\"c%d\"}", api.submit.asked);
	pthread_mutex_unlock(&api.lock);
	if (r.status < 0)
		raw_reset(request->fd);
	else
		answer(request->fd, &r, r.body ? r.body : d == &api.submit ? id : "{}");
}

static int asked(const struct door *d)
{
	int n;

	pthread_mutex_lock(&api.lock);
	n = d->asked;
	pthread_mutex_unlock(&api.lock);
	return n;
}

static void let_say(struct door *d, struct door what)
{
	pthread_mutex_lock(&api.lock);
	*d = what;
	pthread_mutex_unlock(&api.lock);
}

/* From here on it says what comes next. */
static void move_on(struct door *d)
{
	pthread_mutex_lock(&api.lock);
	d->at++;
	d->said = 0;
	pthread_mutex_unlock(&api.lock);
}

/* ---- the worker and its jobs ---- */

static int setup(void **state)
{
	static const struct door well = { .replies = { { .status = 200, .body = VIDEO } } };

	(void)state;
	api.submit = api.poll = api.result = api.still = (struct door){ .replies = { { .status = 200 } } };
	api.file = well;
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

#define POLL ", path: \"/poll/{id}\", pending: [QUEUED, WORKING], ok: [DONE], failed: [FAILED]"

static void start_worker(struct calls_shape s)
{
	char base[64];

	snprintf(base, sizeof(base), "http://127.0.0.1:%u", raw_server_port(server));
	s.base = base;
	s.path = "/submit";
	if (!s.poll)
		s.poll = POLL;
	if (!s.result)
		s.result = "media: /output";
	calls_start_worker(&calls, &s);
}

static void expect_success(const char *id)
{
	calls_expect_end(&calls, id, RAINCHECK_JOB_SUCCEEDED);
	assert_int_equal(calls_artifact(&calls, "result")->size, sizeof(video_bytes) - 1);
}

/* ---- a call that the API does not know any more ---- */

static void a_forgotten_call_is_not_bought_again_unasked(void **state)
{
	const char *id;

	(void)state;
	let_say(&api.poll, (struct door){ .replies = { { .status = 404 } } });
	start_worker((struct calls_shape){ .mode = "poll" });
	id = calls_put(&calls, 3, "a", "");
	calls_expect_failure(&calls, id, RAINCHECK_FAIL_REJECTED,
			     "the API does not know the call c1 any more, and no other is made (on_unknown: fail)");
	assert_int_equal(asked(&api.submit), 1);
	assert_int_equal(asked(&api.poll), 5);
}

static void a_forgotten_call_is_bought_again_where_the_file_says_so(void **state)
{
	(void)state;
	let_say(&api.poll, (struct door){ .replies = { { .times = 5, .status = 410 }, DONE } });
	start_worker((struct calls_shape){ .submit = ", on_unknown: retry" });
	expect_success(calls_put(&calls, 3, "a", ""));
	assert_int_equal(asked(&api.submit), 2);
	assert_int_equal(calls.job->attempt, 2);
}

/* Of ids that it has given out a moment ago an API may not have heard everywhere. */
static void a_call_that_is_unknown_now_and_then_is_not_forgotten(void **state)
{
	(void)state;
	let_say(&api.poll, (struct door){ .replies = { { .times = 4, .status = 404 },
						       { .times = 1, .status = 200, .body = "{\"status\":\"QUEUED\"}" },
						       { .times = 4, .status = 404 },
						       { .times = 1, .status = 500 },
						       { .times = 4, .status = 404 },
						       DONE } });
	start_worker((struct calls_shape){ .mode = "poll" });
	expect_success(calls_put(&calls, 1, "a", ""));
	assert_int_equal(asked(&api.submit), 1);
}

/* A queue may be given to another upstream: the calls that run stay where they were made. */
static void a_call_is_taken_up_where_it_was_made(void **state)
{
	char id[RAINCHECK_ID_SIZE];

	(void)state;
	api.poll =
		(struct door){ .replies = { { .times = UNTIL_TOLD, .status = 200, .body = "{\"status\":\"QUEUED\"}" },
					    DONE } };
	start_worker((struct calls_shape){ .top = "slots: 4\nlease: 1s\n" });
	snprintf(id, sizeof(id), "%s", calls_put(&calls, 3, "a", ""));
	while (asked(&api.poll) == 0)
		sched_yield();
	process_end(&calls.stack.worker, SIGKILL);
	move_on(&api.poll);
	start_worker((struct calls_shape){
		.top = "slots: 4\nlease: 1s\n",
		.queues = "q: moved",
		.others = "  moved: { base_url: \"http://127.0.0.1:9\", mode: sync, submit: { path: / }, result: { "
			  "from: body } }\n",
	});
	expect_success(id);
	assert_int_equal(asked(&api.submit), 1);
}

/* ---- what says nothing of the call ---- */

/* More often than polls may fail in a row: the attempt goes on. */
static void a_poll_that_is_throttled_is_not_a_failed_one(void **state)
{
	(void)state;
	let_say(&api.poll,
		(struct door){
			.replies = { { .times = 12, .status = 429, .headers = "Retry-After-Ms: 1\r\n" }, DONE } });
	start_worker((struct calls_shape){ .mode = "poll" });
	expect_success(calls_put(&calls, 1, "a", ""));
	calls_wait_for_log(&calls, "call ended");
	assert_non_null(strstr(calls.stack.worker.line, "outcome=\"succeeded\""));
	assert_int_equal(asked(&api.poll), 13);
}

static void a_state_that_the_file_does_not_know_is_told_and_waited_out(void **state)
{
	const char *id;

	(void)state;
	let_say(&api.poll,
		(struct door){
			.replies = { { .times = UNTIL_TOLD, .status = 200, .body = "{\"status\":\"HELD\"}" }, DONE } });
	start_worker((struct calls_shape){ .mode = "poll" });
	id = calls_put(&calls, 1, "a", "");
	calls_wait_for_log(&calls, "the state \"HELD\" is in none of the lists; taken for pending");
	move_on(&api.poll);
	expect_success(id);
}

/* ---- codes of errors in answers that are a success to HTTP ---- */

#define CODES ", code: /code, retry_codes: [busy], fatal_codes: [banned]"

static void a_code_that_the_file_calls_fatal_ends_the_call(void **state)
{
	const char *id;

	(void)state;
	let_say(&api.poll, (struct door){ .replies = { { .status = 200, .body = "{\"code\":\"banned\"}" } } });
	start_worker((struct calls_shape){ .error = CODES });
	id = calls_put(&calls, 3, "a", "");
	calls_expect_failure(&calls, id, RAINCHECK_FAIL_REJECTED, "the poll was answered with an error (banned)");
	assert_int_equal(asked(&api.poll), 1);
}

static void a_code_that_passes_is_waited_out(void **state)
{
	(void)state;
	let_say(&api.poll,
		(struct door){ .replies = { { .times = 3, .status = 200, .body = "{\"code\":\"busy\"}" }, DONE } });
	start_worker((struct calls_shape){ .error = CODES });
	expect_success(calls_put(&calls, 1, "a", ""));
	assert_int_equal(asked(&api.submit), 1);
}

/* The same with a status that is none: without the code it would be polled on. */
static void a_fatal_code_ends_the_call_whatever_the_status(void **state)
{
	const char *id;

	(void)state;
	let_say(&api.poll, (struct door){ .replies = { { .status = 500, .body = "{\"code\":\"banned\"}" } } });
	start_worker((struct calls_shape){ .error = CODES });
	id = calls_put(&calls, 3, "a", "");
	calls_expect_failure(&calls, id, RAINCHECK_FAIL_REJECTED, "the poll was answered with HTTP 500 (banned)");
	assert_int_equal(asked(&api.poll), 1);
}

/* ---- how far it is ---- */

/* The broker is told with the lease. */
static void wait_for_progress(const char *id, double progress)
{
	for (bool found = false; !found;) {
		raincheck_free(calls.job);
		calls.job = NULL;
		assert_int_equal(raincheck_get(calls.rc, id, &calls.job), 0);
		found = calls.job->has_progress && calls.job->progress > progress - 0.001 &&
			calls.job->progress < progress + 0.001;
	}
}

#define AT(progress)                                                                                         \
	{                                                                                                    \
		.times = UNTIL_TOLD, .status = 200, .body = "{\"status\":\"WORKING\",\"done\":" progress "}" \
	}

static void progress_is_a_part_or_a_percentage_as_number_or_text(void **state)
{
	static const double shown[] = { 0.25, 0.42, 0.5, 1 };
	char id[RAINCHECK_ID_SIZE];

	(void)state;
	let_say(&api.poll, (struct door){ .replies = { AT("0.25"), AT("42"), AT("\"50\""), AT("250"), DONE } });
	start_worker((struct calls_shape){ .top = "slots: 4\nlease: 1s\n", .poll = POLL ", progress: /done" });
	snprintf(id, sizeof(id), "%s", calls_put(&calls, 1, "a", ""));
	for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
		wait_for_progress(id, shown[i]);
		move_on(&api.poll);
	}
	expect_success(id);
}

/* ---- the status of HTTP as the state ---- */

static const struct calls_shape by_status = {
	.poll = ", path: \"/poll/{id}\", state: http, pending: [202, 303], ok: [200], failed: [402]",
	.result = "from: pointer, media: /output",
};

/* 303 more often than polls may fail in a row. */
static void a_status_that_the_file_calls_pending_is_waited_out(void **state)
{
	(void)state;
	let_say(&api.poll, (struct door){ .replies = { { .times = 3, .status = 202 },
						       { .times = 12, .status = 303 },
						       { .times = 3, .status = 500 },
						       DONE } });
	start_worker(by_status);
	expect_success(calls_put(&calls, 1, "a", ""));
	assert_int_equal(asked(&api.poll), 19);
}

static void a_status_that_the_file_calls_failed_ends_the_call(void **state)
{
	const char *id;

	(void)state;
	let_say(&api.poll,
		(struct door){ .replies = { { .status = 402, .body = "{\"error\":{\"message\":\"no credit\"}}" } } });
	start_worker(by_status);
	id = calls_put(&calls, 3, "a", "");
	calls_expect_failure(&calls, id, RAINCHECK_FAIL_REJECTED, "HTTP 402: no credit");
	assert_int_equal(asked(&api.poll), 1);
}

/* Where the file names the failed ones, another that is refused says nothing of the call. */
static void a_status_that_is_in_no_list_is_a_failed_poll(void **state)
{
	(void)state;
	let_say(&api.poll, (struct door){ .replies = { { .times = 3, .status = 400 }, DONE } });
	start_worker(by_status);
	expect_success(calls_put(&calls, 1, "a", ""));
	assert_int_equal(asked(&api.poll), 4);
}

/* ---- the request for the result ---- */

static const struct calls_shape by_get = { .result = "from: get, path: \"/result/{id}\", media: /output" };

/* Each of these asks the state anew, and then for the result. */
static void a_result_that_does_not_come_is_asked_for_again(void **state)
{
	(void)state;
	let_say(&api.poll, (struct door){ .replies = { DONE } });
	let_say(&api.result, (struct door){ .replies = { { .times = 2, .status = -1 },
							 { .times = 2, .status = 503 },
							 { .times = 2, .status = 404 },
							 { .status = 200, .body = "{" URLS } } });
	start_worker(by_get);
	expect_success(calls_put(&calls, 1, "a", ""));
	assert_int_equal(asked(&api.result), 7);
	assert_int_equal(asked(&api.poll), 7);
	assert_int_equal(asked(&api.submit), 1);
}

static void a_result_that_is_refused_ends_the_call(void **state)
{
	const char *id;

	(void)state;
	let_say(&api.poll, (struct door){ .replies = { DONE } });
	api.result =
		(struct door){ .replies = { { .status = 422, .body = "{\"error\":{\"message\":\"two faces\"}}" } } };
	start_worker(by_get);
	id = calls_put(&calls, 3, "a", "");
	calls_expect_failure(&calls, id, RAINCHECK_FAIL_REJECTED, "HTTP 422: two faces");
	assert_int_equal(asked(&api.result), 1);
}

static void an_answer_without_a_result_is_invalid(void **state)
{
	const char *id;

	(void)state;
	let_say(&api.poll, (struct door){ .replies = { DONE } });
	let_say(&api.result, (struct door){ .replies = { { .status = 200, .body = "{\"output\":null}" } } });
	start_worker(by_get);
	id = calls_put(&calls, 1, "a", "");
	calls_expect_failure(&calls, id, RAINCHECK_FAIL_INVALID, "its answer holds no result at /output");
}

/* The submit was to say where the result is. */
static void a_result_whose_place_was_not_told_is_invalid(void **state)
{
	const char *id;

	(void)state;
	let_say(&api.poll, (struct door){ .replies = { DONE } });
	start_worker((struct calls_shape){ .submit = ", urls: { result: /result_url }",
					   .result = "from: get, media: /output" });
	id = calls_put(&calls, 1, "a", "");
	calls_expect_failure(&calls, id, RAINCHECK_FAIL_INVALID,
			     "but its result cannot be asked for: the answer to the submit named no URL for it");
	assert_int_equal(asked(&api.submit), 1);
}

/* Likewise of the polls. An operator who writes the path into the file has the call taken up that was paid for. */
static void a_call_whose_place_was_not_told_is_not_lost(void **state)
{
	struct raincheck_change_result *change;
	char id[RAINCHECK_ID_SIZE];

	(void)state;
	let_say(&api.submit,
		(struct door){ .replies = { { .status = 200,
					      .body = "{\"id\":\"c1\",\"at\":\"http://other.example/poll\"}" } } });
	let_say(&api.poll, (struct door){ .replies = { DONE } });
	start_worker((struct calls_shape){ .submit = ", urls: { status: /at }", .poll = ", ok: [DONE]" });
	snprintf(id, sizeof(id), "%s", calls_put(&calls, 1, "a", ""));
	calls_expect_failure(&calls, id, RAINCHECK_FAIL_INVALID,
			     "the poll cannot be made: the answer to the submit named no URL for it");
	process_stop(&calls.stack.worker);
	start_worker((struct calls_shape){ .mode = "poll" });
	assert_int_equal(raincheck_retry(calls.rc, id, &change), 0);
	raincheck_free(change);
	expect_success(id);
	assert_int_equal(asked(&api.submit), 1);
}

/* ---- files beside the result ---- */

static void a_preview_that_is_not_there_costs_nothing(void **state)
{
	(void)state;
	let_say(&api.poll, (struct door){ .replies = { DONE } });
	let_say(&api.still, (struct door){ .replies = { { .status = 404 } } });
	start_worker((struct calls_shape){ .result = "media: /output, preview: /poster" });
	expect_success(calls_put(&calls, 1, "a", ""));
	assert_null(calls_artifact(&calls, "preview"));
	assert_int_equal(asked(&api.still), 1);
}

static void an_output_that_is_empty_is_called_by_its_name(void **state)
{
	const char *id;

	(void)state;
	let_say(&api.poll, (struct door){ .replies = { DONE } });
	let_say(&api.still, (struct door){ .replies = { { .status = 200, .body = "" } } });
	start_worker((struct calls_shape){ .result = "media: /output, outputs: { mask: /poster }" });
	id = calls_put(&calls, 1, "a", "");
	calls_expect_failure(&calls, id, RAINCHECK_FAIL_INVALID, "the mask is empty");
	assert_null(calls_artifact(&calls, "mask"));
	assert_null(calls_artifact(&calls, "result"));
}

/* The answer that named the URL was the only one. */
static void an_expired_result_of_a_sync_call_is_not_bought_again_unasked(void **state)
{
	const char *id;

	(void)state;
	let_say(&api.submit, (struct door){ .replies = { { .status = 200, .body = "{" URLS } } });
	let_say(&api.file, (struct door){ .replies = { { .status = 403 } } });
	start_worker((struct calls_shape){ .mode = "sync", .result = "from: pointer, media: /output" });
	id = calls_put(&calls, 3, "a", "");
	calls_expect_failure(&calls, id, RAINCHECK_FAIL_REJECTED, "the URL is not valid any more, and no other call");
	assert_int_equal(asked(&api.submit), 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_forgotten_call_is_not_bought_again_unasked),
		T(a_forgotten_call_is_bought_again_where_the_file_says_so),
		T(a_call_that_is_unknown_now_and_then_is_not_forgotten),
		T(a_call_is_taken_up_where_it_was_made),
		T(a_poll_that_is_throttled_is_not_a_failed_one),
		T(a_state_that_the_file_does_not_know_is_told_and_waited_out),
		T(a_code_that_the_file_calls_fatal_ends_the_call),
		T(a_code_that_passes_is_waited_out),
		T(a_fatal_code_ends_the_call_whatever_the_status),
		T(progress_is_a_part_or_a_percentage_as_number_or_text),
		T(a_status_that_the_file_calls_pending_is_waited_out),
		T(a_status_that_the_file_calls_failed_ends_the_call),
		T(a_status_that_is_in_no_list_is_a_failed_poll),
		T(a_result_that_does_not_come_is_asked_for_again),
		T(a_result_that_is_refused_ends_the_call),
		T(an_answer_without_a_result_is_invalid),
		T(a_result_whose_place_was_not_told_is_invalid),
		T(a_call_whose_place_was_not_told_is_not_lost),
		T(a_preview_that_is_not_there_costs_nothing),
		T(an_output_that_is_empty_is_called_by_its_name),
		T(an_expired_result_of_a_sync_call_is_not_bought_again_unasked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
