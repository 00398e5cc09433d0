/* The client library while a broker serves and one allocation of the caller's fails, each in turn: the call is refused,
 * or its connection ends and the next call has another; the program that uses the library lives on, and the same handle
 * works as before.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include <cmocka.h>

#include "client/raincheck.h"
#include "client/raincheck_admin.h"
#include "client/raincheck_worker.h"
#include "proto/base/clean.h"
#include "tests/harness/stack.h"
#include "tests/unit/alloc_count.h"

static struct stack stack;
static char job[RAINCHECK_ID_SIZE]; /* a job that is there */

static struct raincheck *connect_as_worker(uv_loop_t *loop)
{
	static const char *const queues[] = { "q", "films" };
	static const struct raincheck_worker worker = { .name = "w", .queues = queues, .queue_count = 2, .slots = 3 };
	struct raincheck_options options = {
		.server = stack.server,
		.client = "tests",
		.worker = &worker,
		.backoff_min_ms = 1,
		.backoff_max_ms = 1,
		.loop = loop,
	};
	struct raincheck *rc = NULL;

	return raincheck_new(&options, &rc, NULL) < 0 ? NULL : rc;
}

static int setup(void **state)
{
	struct raincheck_put put = { .queue = "q", .payload = { "{}", 2 } };
	struct raincheck_put_result *result;
	struct raincheck *rc;

	memset(&stack, 0, sizeof(stack));
	tempdir_make(&stack.dir);
	stack_start_broker(&stack);
	rc = stack_connect(&stack);
	assert_int_equal(raincheck_put(rc, &put, &result), 0);
	memcpy(job, result->id, sizeof(job));
	raincheck_free(result);
	raincheck_close(rc, NULL, NULL);
	return alloc_count_init(state);
}

static int teardown(void **state)
{
	(void)state;
	stack_stop(&stack);
	return 0;
}

/* ---- what a program asks ---- */

/* 0, or the code of the refusal; what came is freed. */
static int done(int rc, void *result)
{
	if (rc == 0)
		raincheck_free(result);
	return rc;
}

static int put(struct raincheck *rc)
{
	static const struct raincheck_pair metadata[] = { { "who", "Ann" }, { "where", "here" } };
	struct raincheck_put p = {
		.queue = "films",
		.payload = { "{\"a\":1}", 7 },
		.content_type = "application/json",
		.title = "T",
		.group = "g",
		.preview = { .content_type = "image/png", .data = { "\x89PNG\r\n\x1a\n", 8 } },
		.callback_url = "https://example.org/done",
		.metadata = metadata,
		.metadata_count = 2,
	};
	struct raincheck_put_result *result;
	int code = raincheck_put(rc, &p, &result);

	return done(code, code == 0 ? result : NULL);
}

static int put_many(struct raincheck *rc)
{
	const struct raincheck_put puts[] = { { .queue = "films", .payload = { "x", 1 } },
					      { .queue = "films", .payload = { "y", 1 }, .title = "T" } };
	struct raincheck_put_many_result *result = NULL;

	return done(raincheck_put_many(rc, puts, ARRAY_SIZE(puts), &result), result);
}

static int get(struct raincheck *rc)
{
	struct raincheck_job *result = NULL;

	return done(raincheck_get(rc, job, &result), result);
}

static int list(struct raincheck *rc)
{
	struct raincheck_list filter = { .queue = "films", .limit = 3 };
	struct raincheck_list_result *result = NULL;

	return done(raincheck_list(rc, &filter, &result), result);
}

static int set_queue(struct raincheck *rc)
{
	struct raincheck_queue_set set = { .queue = "films", .limit = "api" };
	struct raincheck_queue *result = NULL;

	return done(raincheck_queue_set(rc, &set, &result), result);
}

static int queues(struct raincheck *rc)
{
	struct raincheck_queue_list *result = NULL;

	return done(raincheck_queue_list(rc, &result), result);
}

static int set_limit(struct raincheck *rc)
{
	struct raincheck_limit_set set = { .limit = "api", .concurrency = 1000 };
	struct raincheck_limit *result = NULL;

	return done(raincheck_limit_set(rc, &set, &result), result);
}

static int limits(struct raincheck *rc)
{
	struct raincheck_limit_list *result = NULL;

	return done(raincheck_limit_list(rc, &result), result);
}

static int workers(struct raincheck *rc)
{
	struct raincheck_worker_list *result = NULL;

	return done(raincheck_worker_list(rc, &result), result);
}

static int stats(struct raincheck *rc)
{
	struct raincheck_stats *result = NULL;

	return done(raincheck_stats(rc, &result), result);
}

/* Of a queue that is empty: what is leased by a call that then fails would be nobody's for a minute. */
static int lease(struct raincheck *rc)
{
	static const char *const names[] = { "empty", "void" };
	struct raincheck_lease params = { .queues = names, .queue_count = 2, .max = 2, .lease_ms = 60000 };
	struct raincheck_lease_result *result = NULL;

	return done(raincheck_lease(rc, &params, &result), result);
}

static const struct {
	const char *name;
	int (*ask)(struct raincheck *rc);
} requests[] = {
	{ "limit.set", set_limit },
	{ "queue.set", set_queue },
	{ "put", put },
	{ "put_many", put_many },
	{ "get", get },
	{ "list", list },
	{ "queues", queues },
	{ "limits", limits },
	{ "workers", workers },
	{ "stats", stats },
	{ "lease", lease },
};

/* ---- each allocation ---- */

static void expect_lives_on(struct raincheck *rc, size_t request, size_t point, int code)
{
	if (code != 0 && code != RAINCHECK_ENO_MEMORY && code != RAINCHECK_ENO_CONNECTION)
		fail_msg("%s, allocation %zu: %s", requests[request].name, point, raincheck_error_name(code));
	code = requests[request].ask(rc);
	if (code < 0)
		fail_msg("%s, after allocation %zu failed: %s", requests[request].name, point,
			 raincheck_last_error(rc)->message);
}

static void each_allocation_of_a_request_may_fail(void **state)
{
	struct raincheck *rc;

	(void)state;
	if (!alloc_can_fail())
		skip();
	rc = connect_as_worker(NULL);
	assert_non_null(rc);
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		size_t count;
		int code;

		assert_int_equal(requests[i].ask(rc), 0);
		alloc_count_start(0);
		assert_int_equal(requests[i].ask(rc), 0);
		count = alloc_count.calls;
		assert_true(count > 0);
		for (size_t point = 1; point <= count; point++) {
			alloc_count_start_once(point);
			code = requests[i].ask(rc);
			alloc_count_stop();
			expect_lives_on(rc, i, point, code);
		}
	}
	raincheck_close(rc, NULL, NULL);
}

static void answered_cb(struct raincheck *rc, const struct raincheck_reply *reply, void *user)
{
	int *code = user;

	*code = reply->code;
	raincheck_close(rc, NULL, NULL);
}

/* From nothing to the first answer. Over a loop that is there already: libuv aborts where it cannot have one. */
static int begin(void *user)
{
	struct raincheck *rc = connect_as_worker(user);
	int code = RAINCHECK_ENO_MEMORY;

	if (rc && raincheck_get_async(rc, job, answered_cb, &code) < 0)
		raincheck_close(rc, NULL, NULL);
	uv_run(user, UV_RUN_DEFAULT);
	return code;
}

static void each_allocation_of_a_beginning_may_fail(void **state)
{
	uv_loop_t loop;
	size_t count;

	(void)state;
	if (!alloc_can_fail())
		skip();
	assert_int_equal(uv_loop_init(&loop), 0);
	assert_int_equal(begin(&loop), 0);
	alloc_count_start(0);
	assert_int_equal(begin(&loop), 0);
	count = alloc_count.calls;
	for (size_t point = 1; point <= count; point++) {
		int code;

		alloc_count_start_once(point);
		code = begin(&loop);
		alloc_count_stop();
		if (code != 0 && code != RAINCHECK_ENO_MEMORY && code != RAINCHECK_ENO_CONNECTION)
			fail_msg("allocation %zu: %s", point, raincheck_error_name(code));
	}
	assert_int_equal(begin(&loop), 0);
	assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_allocation_of_a_request_may_fail),
		cmocka_unit_test(each_allocation_of_a_beginning_may_fail),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
