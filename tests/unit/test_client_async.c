/* The contract of asynchronous calls: pipelining, answers in any order, callbacks exactly once, ceilings and caps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <uv.h>

#include "client/raincheck.h"
#include "proto/base/clean.h"
#include "tests/harness/fake_broker.h"

#define ID    "0190a5c4-7d3e-7abc-8def-0123456789ab"
#define CALLS 100

/* One started call and what became of it. */
struct outcome {
	int times;
	int code;
	bool sent;
	int64_t number; /* told by the answer */
	struct rig *rig;
};

struct rig {
	uv_loop_t loop;
	struct raincheck *rc;
	struct fake_broker *broker;
	int closed;
	int connected, disconnected, last_why;
	bool close_in_callback;
	int notices[8];
	char notice_data[16];
	struct outcome calls[CALLS];
};

static void closed_cb(void *user)
{
	((struct rig *)user)->closed++;
}

static void answered_cb(struct raincheck *rc, const struct raincheck_reply *reply, void *user)
{
	struct outcome *o = user;

	o->times++;
	o->code = reply->code;
	assert_true((reply->code < 0) == (reply->error != NULL));
	if (reply->error)
		o->sent = reply->error->sent;
	else if (reply->ping)
		o->number = reply->ping->now_ms;
	if (o->rig->close_in_callback) {
		o->rig->close_in_callback = false;
		raincheck_close(rc, closed_cb, o->rig);
	}
}

static void connection_cb(struct raincheck *rc, bool connected, const struct raincheck_error *why, void *user)
{
	struct rig *rig = user;

	(void)rc;
	assert_true(connected == (why == NULL));
	rig->connected += connected;
	rig->disconnected += !connected;
	if (why)
		rig->last_why = why->code;
}

static void notification_cb(struct raincheck *rc, const struct raincheck_notification *n, void *user)
{
	struct rig *rig = user;

	(void)rc;
	rig->notices[n->notice]++;
	if (n->notice == RAINCHECK_NOTICE_JOB_CANCEL || n->notice == RAINCHECK_NOTICE_JOB_WAKE) {
		assert_string_equal(n->id, ID);
		assert_string_equal(n->lease, "00000000000000000000000000000000");
	}
	if (n->notice == RAINCHECK_NOTICE_JOB_WAKE) {
		assert_string_equal(n->content_type, "text/plain");
		assert_int_equal(n->data.size, 4);
		memcpy(rig->notice_data, n->data.data, 4);
	}
	if (n->notice == RAINCHECK_NOTICE_WORKER_WARM) {
		assert_string_equal(n->limit, "api");
		assert_int_equal(n->queue_count, 2);
		assert_string_equal(n->queues[0], "q");
		assert_string_equal(n->queues[1], "r");
		assert_int_equal(n->concurrency, 7);
		assert_int_equal(n->at_ms, 1717763400000);
	}
}

static struct rig *open_rig(fake_script script, struct raincheck_options options)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	assert_non_null(rig);
	assert_int_equal(uv_loop_init(&rig->loop), 0);
	rig->broker = fake_broker_start(NULL, script, rig);
	assert_non_null(rig->broker);
	options.server = fake_broker_address(rig->broker);
	options.loop = &rig->loop;
	options.user = rig;
	options.on_connection = connection_cb;
	options.backoff_min_ms = 1;
	assert_int_equal(raincheck_new(&options, &rig->rc, NULL), 0);
	for (int i = 0; i < CALLS; i++)
		rig->calls[i].rig = rig;
	return rig;
}

static void start(struct rig *rig, int from, int to)
{
	for (int i = from; i < to; i++) {
		assert_int_equal(raincheck_ping_async(rig->rc, answered_cb, &rig->calls[i]), 0);
		assert_int_equal(rig->calls[i].times, 0);
	}
}

static void run_until_answered(struct rig *rig, int from, int to)
{
	for (int i = from; i < to; i++)
		while (rig->calls[i].times == 0)
			uv_run(&rig->loop, UV_RUN_ONCE);
}

static void close_rig(struct rig *rig)
{
	if (rig->rc)
		raincheck_close(rig->rc, closed_cb, rig);
	uv_run(&rig->loop, UV_RUN_DEFAULT);
	assert_int_equal(rig->closed, 1);
	assert_int_equal(uv_loop_close(&rig->loop), 0);
	assert_string_equal(fake_broker_stop(rig->broker), "");
	for (int i = 0; i < CALLS; i++)
		assert_true(rig->calls[i].times <= 1);
	free(rig);
}

static void all_ended(struct rig *rig, int from, int to, int code, bool sent)
{
	for (int i = from; i < to; i++) {
		assert_int_equal(rig->calls[i].times, 1);
		assert_int_equal(rig->calls[i].code, code);
		assert_true(rig->calls[i].sent == sent);
	}
}

static bool pong(struct fake_broker *b, const struct fake_request *r, int64_t number)
{
	struct msg_ping_result result = { .has_now_ms = true, .now_ms = number };

	return fake_reply(b, r, &result);
}

/* ---- order ---- */

/* Takes all requests before it answers any, and answers the last first. */
static void backwards_script(struct fake_broker *b, void *arg)
{
	struct fake_request r[CALLS];

	(void)arg;
	if (!fake_greet(b, 1000))
		return;
	for (int i = 0; i < CALLS; i++)
		if (!fake_next(b, METHOD_session_ping, &r[i]))
			return;
	for (int i = CALLS - 1; i >= 0; i--)
		if (!pong(b, &r[i], i))
			return;
	fake_until_gone(b);
}

static void test_answers_find_their_calls_in_any_order(void **state)
{
	struct rig *rig = open_rig(backwards_script, (struct raincheck_options){ 0 });

	(void)state;
	start(rig, 0, CALLS);
	assert_int_equal(raincheck_pending(rig->rc), CALLS);
	run_until_answered(rig, 0, CALLS);
	for (int i = 0; i < CALLS; i++)
		assert_int_equal(rig->calls[i].number, i);
	assert_int_equal(raincheck_pending(rig->rc), 0);
	assert_int_equal(rig->connected, 1);
	assert_int_equal(rig->disconnected, 0);
	close_rig(rig);
}

/* Never more than three are unanswered; a fourth that came too early would be the next request read. */
static void ceiling_script(struct fake_broker *b, void *arg)
{
	struct fake_request r[3];

	(void)arg;
	if (!fake_greet(b, 3))
		return;
	for (int round = 0; round < 4; round++) {
		for (int i = 0; i < 3; i++)
			if (!fake_next(b, METHOD_session_ping, &r[i]))
				return;
		fake_tell_test(b);
		if (!fake_await_test(b))
			return;
		for (int i = 0; i < 3; i++)
			pong(b, &r[i], round * 3 + i);
	}
	fake_until_gone(b);
}

static void test_keeps_to_the_ceiling(void **state)
{
	struct rig *rig = open_rig(ceiling_script, (struct raincheck_options){ 0 });

	(void)state;
	start(rig, 0, 12);
	for (int round = 0; round < 4; round++) {
		fake_tell_script(rig->broker);
		run_until_answered(rig, round * 3, round * 3 + 3);
		for (int i = round * 3 + 3; i < 12; i++)
			assert_int_equal(rig->calls[i].times, 0);
		fake_await_script(rig->broker);
	}
	close_rig(rig);
}

/* ---- once ---- */

static void silent_script(struct fake_broker *b, void *arg)
{
	struct fake_request r;

	(void)arg;
	if (fake_greet(b, 5) && fake_next(b, METHOD_session_ping, &r) && pong(b, &r, 1))
		fake_until_gone(b);
}

static void test_close_cancels_what_is_under_way(void **state)
{
	struct rig *rig = open_rig(silent_script, (struct raincheck_options){ 0 });

	(void)state;
	start(rig, 0, 1);
	run_until_answered(rig, 0, 1);
	start(rig, 1, 20);
	uv_run(&rig->loop, UV_RUN_NOWAIT);
	raincheck_close(rig->rc, closed_cb, rig);
	for (int i = 1; i < 20; i++)
		assert_int_equal(rig->calls[i].times, 0);
	rig->rc = NULL;
	uv_run(&rig->loop, UV_RUN_DEFAULT);
	all_ended(rig, 1, 6, RAINCHECK_ECANCELED, true);
	all_ended(rig, 6, 20, RAINCHECK_ECANCELED, false);
	close_rig(rig);
}

static void test_may_be_closed_from_a_callback(void **state)
{
	struct rig *rig = open_rig(silent_script, (struct raincheck_options){ 0 });

	(void)state;
	start(rig, 0, 10);
	rig->close_in_callback = true;
	rig->rc = NULL;
	uv_run(&rig->loop, UV_RUN_DEFAULT);
	all_ended(rig, 0, 1, 0, false);
	for (int i = 1; i < 10; i++)
		all_ended(rig, i, i + 1, RAINCHECK_ECANCELED, rig->calls[i].sent);
	close_rig(rig);
}

static void never_cb(struct raincheck *rc, const struct raincheck_reply *reply, void *user)
{
	(void)rc;
	(void)reply;
	*(int *)user += 1;
}

static void test_what_does_not_start_is_not_told(void **state)
{
	struct rig *rig = open_rig(silent_script, (struct raincheck_options){ .max_queued = 4 });
	struct raincheck_checkpoint bad = { "x", "y", { NULL, 0 } };
	struct raincheck_job *job;
	int told = 0;

	(void)state;
	assert_int_equal(raincheck_checkpoint_async(rig->rc, &bad, never_cb, &told), RAINCHECK_EBAD_REQUEST);
	start(rig, 0, 4);
	assert_int_equal(raincheck_ping_async(rig->rc, never_cb, &told), RAINCHECK_ETHROTTLED);
	assert_int_equal(raincheck_last_error(rig->rc)->code, RAINCHECK_ETHROTTLED);
	assert_int_equal(raincheck_get(rig->rc, ID, &job), RAINCHECK_EINVALID_STATE);
	assert_int_equal(raincheck_run(rig->rc, 0), RAINCHECK_EINVALID_STATE);
	run_until_answered(rig, 0, 1);
	start(rig, 4, 5);
	assert_int_equal(raincheck_ping_async(rig->rc, NULL, NULL), 0);
	close_rig(rig);
	assert_int_equal(told, 0);
}

/* ---- caps ---- */

static void big_script(struct fake_broker *b, void *arg)
{
	struct msg_job_put_result result = { .has_created = true };
	struct fake_request r;

	(void)arg;
	if (!fake_greet(b, 100) || !fake_await_test(b))
		return;
	for (int i = 0; i < 3; i++)
		if (!fake_next(b, METHOD_job_put, &r) || !fake_reply(b, &r, &result))
			return;
	fake_until_gone(b);
}

static int put_bytes(struct rig *rig, int call, size_t size)
{
	_cleanup_free_ char *payload = calloc(1, size);
	struct raincheck_put put = { .queue = "q", .payload = { payload, size } };

	assert_non_null(payload);
	return raincheck_put_async(rig->rc, &put, answered_cb, &rig->calls[call]);
}

/* The broker does not read, so that first the socket's buffers and then the handle's fill. */
static void test_unsent_bytes_are_capped(void **state)
{
	struct rig *rig = open_rig(big_script, (struct raincheck_options){ .max_unsent_bytes = 3 << 20 });

	(void)state;
	assert_int_equal(put_bytes(rig, 0, 4 << 20), RAINCHECK_ETOO_LARGE);
	assert_int_equal(put_bytes(rig, 0, 1 << 20), 0);
	assert_int_equal(put_bytes(rig, 1, 1 << 20), 0);
	assert_int_equal(put_bytes(rig, 9, 1 << 20), RAINCHECK_ETHROTTLED);
	assert_int_equal(put_bytes(rig, 2, 1 << 19), 0);
	fake_tell_script(rig->broker);
	run_until_answered(rig, 0, 3);
	all_ended(rig, 0, 3, 0, false);
	assert_int_equal(rig->calls[9].times, 0);
	close_rig(rig);
}

static void small_limit_script(struct fake_broker *b, void *arg)
{
	struct msg_hello_result result = fake_hello_result(100);
	struct fake_request r;

	(void)arg;
	result.limits.message = 1000;
	if (fake_accept(b) && fake_next(b, METHOD_session_hello, &r) && fake_reply(b, &r, &result) &&
	    fake_next(b, METHOD_session_ping, &r) && pong(b, &r, 1))
		fake_until_gone(b);
}

/* What the broker would hang up over is not sent: neither what was started before its limits were known, nor later. */
static void test_keeps_to_the_brokers_message_size(void **state)
{
	struct rig *rig = open_rig(small_limit_script, (struct raincheck_options){ 0 });

	(void)state;
	assert_int_equal(put_bytes(rig, 0, 2000), 0);
	start(rig, 1, 2);
	run_until_answered(rig, 0, 2);
	all_ended(rig, 0, 1, RAINCHECK_ETOO_LARGE, false);
	all_ended(rig, 1, 2, 0, false);
	assert_int_equal(put_bytes(rig, 2, 2000), RAINCHECK_ETOO_LARGE);
	close_rig(rig);
}

/* ---- time ---- */

static void late_script(struct fake_broker *b, void *arg)
{
	struct msg_empty nothing = { 0 };
	struct fake_request r[2];

	(void)arg;
	/* Only one may be in flight: the second comes when the first was answered, though it had been given up. The
	 * notification shows that the broker is alive. */
	if (!fake_greet(b, 1) || !fake_next(b, METHOD_session_ping, &r[0]) ||
	    !fake_notify(b, "worker.quiet", &MSG_empty, &nothing) || !fake_await_test(b))
		return;
	fake_refuse(b, &r[0], ERR_INTERNAL, NULL, "late");
	if (fake_next(b, METHOD_job_wait, &r[1]) && fake_refuse(b, &r[1], ERR_NOT_FOUND, "id", "no such job"))
		fake_until_gone(b);
}

static void test_a_late_answer_is_dropped(void **state)
{
	struct rig *rig = open_rig(late_script, (struct raincheck_options){ .request_timeout_ms = 1000,
									    .on_notification = notification_cb });

	(void)state;
	start(rig, 0, 1);
	assert_int_equal(raincheck_wait_async(rig->rc, ID, RAINCHECK_MAX_WAIT_MS, answered_cb, &rig->calls[1]), 0);
	while (rig->notices[RAINCHECK_NOTICE_WORKER_QUIET] == 0)
		uv_run(&rig->loop, UV_RUN_ONCE);
	run_until_answered(rig, 0, 1);
	all_ended(rig, 0, 1, RAINCHECK_ETIMED_OUT, true);
	assert_int_equal(rig->calls[1].times, 0);
	fake_tell_script(rig->broker);
	run_until_answered(rig, 1, 2);
	all_ended(rig, 1, 2, RAINCHECK_ENOT_FOUND, false);
	assert_int_equal(rig->disconnected, 0);
	close_rig(rig);
}

static void long_script(struct fake_broker *b, void *arg)
{
	struct msg_server_check_result checked = { .has_jobs = true,
						   .jobs = 7,
						   .has_artifacts = true,
						   .has_breaches = true,
						   .has_set_aside = true,
						   .has_lines = true,
						   .has_took_ms = true };
	struct msg_empty nothing = { 0 };
	struct fake_request check, ping;

	(void)arg;
	if (fake_greet(b, 10) && fake_next(b, METHOD_server_check, &check) &&
	    fake_next(b, METHOD_session_ping, &ping) && fake_notify(b, "worker.quiet", &MSG_empty, &nothing) &&
	    fake_await_test(b) && fake_reply(b, &check, &checked))
		fake_until_gone(b);
}

static void test_what_takes_long_is_waited_for(void **state)
{
	struct rig *rig = open_rig(long_script, (struct raincheck_options){ .request_timeout_ms = 1000,
									    .on_notification = notification_cb });

	(void)state;
	assert_int_equal(raincheck_check_async(rig->rc, answered_cb, &rig->calls[0]), 0);
	start(rig, 1, 2);
	run_until_answered(rig, 1, 2);
	all_ended(rig, 1, 2, RAINCHECK_ETIMED_OUT, true);
	assert_int_equal(rig->calls[0].times, 0);
	fake_tell_script(rig->broker);
	run_until_answered(rig, 0, 1);
	all_ended(rig, 0, 1, 0, false);
	close_rig(rig);
}

/* A broker that takes a request and never says anything again is left for a new connection. */
static void mute_script(struct fake_broker *b, void *arg)
{
	struct fake_request r;

	(void)arg;
	if (!fake_greet(b, 10) || !fake_next(b, METHOD_session_ping, &r) || !fake_until_gone(b))
		return;
	if (fake_greet(b, 10) && fake_next(b, METHOD_job_wait, &r) && fake_refuse(b, &r, ERR_NOT_FOUND, "id", "no"))
		fake_until_gone(b);
}

static void test_a_mute_broker_is_left(void **state)
{
	struct rig *rig = open_rig(mute_script, (struct raincheck_options){ .request_timeout_ms = 200 });

	(void)state;
	while (rig->connected == 0)
		uv_run(&rig->loop, UV_RUN_ONCE);
	start(rig, 0, 1);
	run_until_answered(rig, 0, 1);
	all_ended(rig, 0, 1, RAINCHECK_ETIMED_OUT, true);
	assert_int_equal(raincheck_wait_async(rig->rc, ID, RAINCHECK_MAX_WAIT_MS, answered_cb, &rig->calls[1]), 0);
	run_until_answered(rig, 1, 2);
	all_ended(rig, 1, 2, RAINCHECK_ENOT_FOUND, false);
	assert_int_equal(rig->connected, 2);
	assert_int_equal(rig->disconnected, 1);
	close_rig(rig);
}

/* ---- notifications ---- */

static void notify_script(struct fake_broker *b, void *arg)
{
	struct msg_job_cancel_notice which = { .has_id = true, .has_lease = true };
	/* id, lease, content_type, data are what job.wake has too. */
	struct msg_artifact_put wake = { .has_id = true,
					 .has_lease = true,
					 .has_name = true,
					 .name = slice_str("x"),
					 .has_content_type = true,
					 .content_type = slice_str("text/plain"),
					 .has_data = true,
					 .data = slice_str("ding") };
	struct slice queues[] = { slice_str("q"), slice_str("r") };
	struct msg_warm_notice warm = { .has_limit = true,
					.limit = slice_str("api"),
					.has_queues = true,
					.queues = queues,
					.queues_count = 2,
					.has_concurrency = true,
					.concurrency = 7,
					.has_at_ms = true,
					.at_ms = 1717763400000 };
	struct msg_hello_result result = fake_hello_result(10);
	struct msg_empty nothing = { 0 };
	struct fake_request r;

	(void)arg;
	uuid_parse(slice_str(ID), &which.id);
	wake.id = which.id;
	if (!fake_accept(b) || !fake_next(b, METHOD_session_hello, &r))
		return;
	if (!r.hello->subscribe || !r.hello->has_worker || r.hello->worker.queues_count != 2 ||
	    r.hello->worker.slots != 9) {
		fake_wrong(b, "the greeting lacks something");
		return;
	}
	fake_reply(b, &r, &result);
	fake_notify(b, "job.cancel", &MSG_job_cancel_notice, &which);
	fake_notify(b, "job.wake", &MSG_artifact_put, &wake);
	fake_notify(b, "job.wake", &MSG_empty, &nothing);
	fake_notify(b, "something.new", &MSG_empty, &nothing);
	fake_notify(b, "worker.quiet", &MSG_empty, &nothing);
	fake_notify(b, "worker.stop", &MSG_empty, &nothing);
	fake_notify(b, "server.shutdown", &MSG_empty, &nothing);
	fake_notify(b, "worker.warm", &MSG_warm_notice, &warm);
	fake_notify(b, "worker.warm", &MSG_empty, &nothing);
	if (fake_next(b, METHOD_session_ping, &r) && pong(b, &r, 1))
		fake_until_gone(b);
}

static void test_notifications(void **state)
{
	static const char *const queues[] = { "q", "r" };
	struct raincheck_worker worker = { "w", queues, 2, 9 };
	struct rig *rig = open_rig(notify_script,
				   (struct raincheck_options){ .worker = &worker, .on_notification = notification_cb });

	(void)state;
	start(rig, 0, 1);
	run_until_answered(rig, 0, 1);
	for (int i = 0; i <= RAINCHECK_NOTICE_WORKER_WARM; i++)
		assert_int_equal(rig->notices[i], 1);
	assert_string_equal(rig->notice_data, "ding");
	close_rig(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers_find_their_calls_in_any_order),
		cmocka_unit_test(test_keeps_to_the_ceiling),
		cmocka_unit_test(test_close_cancels_what_is_under_way),
		cmocka_unit_test(test_may_be_closed_from_a_callback),
		cmocka_unit_test(test_what_does_not_start_is_not_told),
		cmocka_unit_test(test_unsent_bytes_are_capped),
		cmocka_unit_test(test_keeps_to_the_brokers_message_size),
		cmocka_unit_test(test_a_late_answer_is_dropped),
		cmocka_unit_test(test_what_takes_long_is_waited_for),
		cmocka_unit_test(test_a_mute_broker_is_left),
		cmocka_unit_test(test_notifications),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
