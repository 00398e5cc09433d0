/* Blocking calls where they cannot block: over a caller's loop, and from within a callback. Each is refused at once,
 * and nothing of it is sent.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include <cmocka.h>

#include "client/raincheck.h"
#include "client/raincheck_admin.h"
#include "client/raincheck_worker.h"
#include "proto/base/clean.h"
#include "tests/harness/fake_broker.h"

struct refused {
	const char *name;
	int code;
};

#define CALL(call)                      \
	{                               \
#call, raincheck_##call \
	}

static const char job[] = "0190a5c4-7d3e-7abc-8def-0123456789ab";

static void expect_each_refused(const struct refused *calls, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (calls[i].code != RAINCHECK_EINVALID_STATE)
			fail_msg("%s: %s", calls[i].name, raincheck_error_name(calls[i].code));
}

/* Every blocking call there is, with nowhere to put a result: none is looked at before the call is refused. */

static void refuse_producers(struct raincheck *rc)
{
	static const struct raincheck_put put;
	static const struct raincheck_list list;
	static const struct raincheck_artifact_read artifact_read;
	const struct refused calls[] = {
		CALL(ping(rc, NULL)),
		CALL(put(rc, &put, NULL)),
		CALL(put_many(rc, &put, 1, NULL)),
		CALL(get(rc, job, NULL)),
		CALL(wait(rc, job, 0, NULL)),
		CALL(payload(rc, job, NULL)),
		CALL(list(rc, &list, NULL)),
		CALL(artifact_read(rc, &artifact_read, NULL)),
		CALL(cancel(rc, job, NULL)),
		CALL(retry(rc, job, NULL)),
		CALL(redeliver(rc, job, NULL)),
		CALL(erase(rc, job, NULL)),
		CALL(link_rotate(rc, job, NULL)),
		CALL(link_revoke(rc, job)),
	};

	expect_each_refused(calls, ARRAY_SIZE(calls));
}

static void refuse_workers(struct raincheck *rc)
{
	static const struct raincheck_lease lease;
	static const struct raincheck_extend extend;
	static const struct raincheck_checkpoint checkpoint;
	static const struct raincheck_complete complete;
	static const struct raincheck_fail fail;
	static const struct raincheck_release release;
	static const struct raincheck_woken woken;
	static const struct raincheck_artifact_put artifact_put;
	static const struct raincheck_artifact_begin artifact_begin;
	static const struct raincheck_artifact_write artifact_write;
	static const struct raincheck_artifact_commit artifact_commit;
	const struct refused calls[] = {
		CALL(lease(rc, &lease, NULL)),
		CALL(lease_cancel(rc)),
		CALL(extend(rc, &extend, NULL)),
		CALL(checkpoint(rc, &checkpoint)),
		CALL(complete(rc, &complete, NULL)),
		CALL(complete_many(rc, &complete, 1, NULL)),
		CALL(fail(rc, &fail, NULL)),
		CALL(release(rc, &release, NULL)),
		CALL(woken(rc, &woken)),
		CALL(artifact_put(rc, &artifact_put, NULL)),
		CALL(artifact_begin(rc, &artifact_begin, NULL)),
		CALL(artifact_write(rc, &artifact_write, NULL)),
		CALL(artifact_commit(rc, &artifact_commit, NULL)),
	};

	expect_each_refused(calls, ARRAY_SIZE(calls));
}

static void refuse_operators(struct raincheck *rc)
{
	static const struct raincheck_change change;
	static const struct raincheck_queue_set queue_set;
	static const struct raincheck_limit_set limit_set;
	const struct refused calls[] = {
		CALL(cancel_many(rc, &change, NULL)),
		CALL(retry_many(rc, &change, NULL)),
		CALL(redeliver_many(rc, &change, NULL)),
		CALL(erase_many(rc, &change, NULL)),
		CALL(queue_list(rc, NULL)),
		CALL(queue_get(rc, "a", NULL)),
		CALL(queue_set(rc, &queue_set, NULL)),
		CALL(queue_pause(rc, "a", NULL)),
		CALL(queue_resume(rc, "a", NULL)),
		CALL(queue_purge(rc, "a", NULL)),
		CALL(limit_list(rc, NULL)),
		CALL(limit_get(rc, "a", NULL)),
		CALL(limit_set(rc, &limit_set, NULL)),
		CALL(limit_delete(rc, "a")),
		CALL(worker_list(rc, NULL)),
		CALL(worker_quiet(rc, "a", NULL)),
		CALL(worker_stop(rc, "a", NULL)),
		CALL(stats(rc, NULL)),
		CALL(backup(rc, "/nowhere", NULL)),
		CALL(check(rc, NULL)),
	};

	expect_each_refused(calls, ARRAY_SIZE(calls));
}

static void expect_refused(struct raincheck *rc, const char *why)
{
	refuse_producers(rc);
	refuse_workers(rc);
	refuse_operators(rc);
	assert_string_equal(raincheck_last_error(rc)->message, why);
	assert_int_equal(raincheck_run(rc, 0), RAINCHECK_EINVALID_STATE);
}

/* ---- over a caller's loop ---- */

static void each_is_refused_over_a_callers_loop(void **state)
{
	uv_loop_t loop;
	struct raincheck_options options = { .server = "127.0.0.1:1", .loop = &loop };
	struct raincheck *rc;

	(void)state;
	assert_int_equal(uv_loop_init(&loop), 0);
	assert_int_equal(raincheck_new(&options, &rc, NULL), 0);
	expect_refused(rc, "the handle has no loop of its own to run");
	raincheck_close(rc, NULL, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
}

/* ---- from within a callback ---- */

/* Nothing but the ping comes. */
static void ping_script(struct fake_broker *b, void *arg)
{
	struct msg_ping_result pong = { .has_now_ms = true };
	struct fake_request r;

	(void)arg;
	if (fake_greet(b, 100) && fake_next(b, METHOD_session_ping, &r) && fake_reply(b, &r, &pong))
		fake_until_gone(b);
}

static void ponged_cb(struct raincheck *rc, const struct raincheck_reply *reply, void *user)
{
	bool *ponged = user;

	assert_int_equal(reply->code, 0);
	expect_refused(rc, "the loop is running: this is a callback");
	*ponged = true;
	raincheck_stop(rc);
}

static void each_is_refused_from_within_a_callback(void **state)
{
	struct fake_broker *broker = fake_broker_start(NULL, ping_script, NULL);
	struct raincheck_options options = { .server = fake_broker_address(broker) };
	struct raincheck *rc;
	bool ponged = false;

	(void)state;
	assert_int_equal(raincheck_new(&options, &rc, NULL), 0);
	assert_int_equal(raincheck_ping_async(rc, ponged_cb, &ponged), 0);
	while (!ponged)
		raincheck_run(rc, -1);
	raincheck_close(rc, NULL, NULL);
	assert_string_equal(fake_broker_stop(broker), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_is_refused_over_a_callers_loop),
		cmocka_unit_test(each_is_refused_from_within_a_callback),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
