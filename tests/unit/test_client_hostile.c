/* A peer that is no broker, or a broken one: whatever it sends, the client neither dies nor hangs nor tells a call
 * twice; each call ends in an error and the next connection works.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/raincheck.h"
#include "proto/base/clean.h"
#include "proto/rpc.h"
#include "tests/harness/fake_broker.h"

#define ID "0190a5c4-7d3e-7abc-8def-0123456789ab"

struct bytes {
	const char *data;
	size_t size;
};

#define BYTES(s)                   \
	{                          \
		(s), sizeof(s) - 1 \
	}

/* What breaks the stream: none of it is a message that a broker sends. */
static const struct bytes garbage[] = {
	BYTES("HTTP/1.1 400 Bad Request\r\n\r\n"),
	BYTES("\xdd\x04\x00\x00\x00"),		       /* an array of 67 million */
	BYTES("\x94\x01\x01\xc0\xdf\xff\xff\xff\xff"), /* a map of four billion inside an answer */
	BYTES("\x94\x01\x01\xc0\xc6\xff\xff\xff\xff"), /* four gigabytes of bytes */
	BYTES("\x94\x01\x01\xc0\xc1"),		       /* a byte that is never used */
	BYTES("\x94\x00\x01\xa4ping\x90"),	       /* a request */
	BYTES("\x94\x07\x01\xc0\xc0"),		       /* an envelope of type 7 */
	BYTES("\x94\x01\xa1x\xc0\xc0"),		       /* an id that is no number */
	BYTES("\x93\x02\x01\x90"),		       /* a method that is a number */
	BYTES("\x94\x01\x01\xc0\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91"
	      "\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\xc0"),
};

/* What harms nobody: messages that are whole and mean nothing here. */
static const struct bytes nonsense[] = {
	BYTES("\x94\x01\xcd\x30\x39\xc0\xc0"),		 /* an answer to what was not asked */
	BYTES("\x93\x02\xa7unknown\x90"),		 /* an unknown notification */
	BYTES("\x93\x02\xa8job.wake\x91\x81\xa2id\xc0"), /* a known one without sense */
	BYTES("\x93\x02\xaajob.cancel\x91\x01"),	 /* params that are no map */
	BYTES("\x93\x02\xaajob.cancel\x01"),		 /* nor even an array */
};

static bool pong(struct fake_broker *b, const struct fake_request *r)
{
	struct msg_ping_result result = { .has_now_ms = true, .now_ms = 1 };

	return fake_reply(b, r, &result);
}

static void ignore_cb(struct raincheck *rc, const struct raincheck_notification *n, void *user)
{
	(void)rc;
	(void)n;
	(void)user;
	fail_msg("a notification that makes no sense was told");
}

static struct raincheck *open_to(struct fake_broker *b)
{
	struct raincheck_options options = { .server = fake_broker_address(b), .on_notification = ignore_cb };
	struct raincheck *rc = NULL;

	options.backoff_min_ms = 1;
	options.backoff_max_ms = 1;
	assert_int_equal(raincheck_new(&options, &rc, NULL), 0);
	return rc;
}

/* ---- the stream ---- */

static void garbage_script(struct fake_broker *b, void *arg)
{
	const struct bytes *g = arg;
	struct fake_request r;

	if (!fake_greet(b, 10) || !fake_next(b, METHOD_job_put, &r) || !fake_raw(b, g->data, g->size))
		return;
	fake_until_gone(b);
	if (fake_greet(b, 10) && fake_next(b, METHOD_session_ping, &r))
		pong(b, &r);
}

static void test_garbage_ends_the_connection(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(garbage); i++) {
		struct bytes g = garbage[i];
		struct fake_broker *b = fake_broker_start(NULL, garbage_script, &g);
		struct raincheck *rc = open_to(b);
		struct raincheck_put_result *put = NULL;
		struct raincheck_ping_result *ping = NULL;

		assert_int_equal(raincheck_put(rc, &(struct raincheck_put){ .queue = "q" }, &put),
				 RAINCHECK_ENO_CONNECTION);
		assert_true(raincheck_last_error(rc)->sent);
		assert_int_equal(raincheck_ping(rc, &ping), 0);
		raincheck_free(ping);
		raincheck_close(rc, NULL, NULL);
		assert_string_equal(fake_broker_stop(b), "");
	}
}

static void greeting_script(struct fake_broker *b, void *arg)
{
	const struct bytes *g = arg;

	if (fake_accept(b) && fake_raw(b, g->data, g->size))
		fake_until_gone(b);
}

static void test_garbage_instead_of_a_greeting(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(garbage); i++) {
		struct bytes g = garbage[i];
		struct fake_broker *b = fake_broker_start(NULL, greeting_script, &g);
		struct raincheck *rc = open_to(b);
		struct raincheck_put_result *put = NULL;

		assert_true(raincheck_put(rc, &(struct raincheck_put){ .queue = "q" }, &put) < 0);
		assert_false(raincheck_last_error(rc)->sent);
		raincheck_close(rc, NULL, NULL);
		assert_string_equal(fake_broker_stop(b), "");
	}
}

static void nonsense_script(struct fake_broker *b, void *arg)
{
	struct fake_request r;

	(void)arg;
	if (!fake_greet(b, 10) || !fake_next(b, METHOD_session_ping, &r))
		return;
	/* Byte by byte, so that every message comes in pieces. */
	for (size_t i = 0; i < ARRAY_SIZE(nonsense); i++)
		for (size_t at = 0; at < nonsense[i].size; at++)
			fake_raw(b, nonsense[i].data + at, 1);
	if (pong(b, &r))
		fake_until_gone(b);
}

static void test_nonsense_is_passed_over(void **state)
{
	struct fake_broker *b = fake_broker_start(NULL, nonsense_script, NULL);
	struct raincheck *rc = open_to(b);
	struct raincheck_ping_result *ping = NULL;

	(void)state;
	assert_int_equal(raincheck_ping(rc, &ping), 0);
	raincheck_free(ping);
	raincheck_close(rc, NULL, NULL);
	assert_string_equal(fake_broker_stop(b), "");
}

/* ---- answers of the wrong shape ---- */

/* Answers everything with the result of a ping, which no other method has. */
static void wrong_shape_script(struct fake_broker *b, void *arg)
{
	struct msg_ping_result result = { .has_now_ms = true };
	struct fake_request r;

	(void)arg;
	if (!fake_greet(b, 10))
		return;
	while (fake_any(b, &r)) {
		r.method = METHOD_session_ping;
		if (!fake_reply(b, &r, &result))
			return;
	}
}

static void test_an_answer_of_the_wrong_shape(void **state)
{
	struct fake_broker *b = fake_broker_start(NULL, wrong_shape_script, NULL);
	struct raincheck *rc = open_to(b);
	struct raincheck_put puts[2] = { { .queue = "q" }, { .queue = "q" } };
	struct raincheck_put_many_result *many = NULL;
	struct raincheck_ping_result *ping = NULL;
	struct raincheck_stats *stats = NULL;
	struct raincheck_job *job = NULL;

	(void)state;
	assert_int_equal(raincheck_get(rc, ID, &job), RAINCHECK_EPROTOCOL);
	assert_string_not_equal(raincheck_last_error(rc)->field, "");
	assert_int_equal(raincheck_put_many(rc, puts, 2, &many), RAINCHECK_EPROTOCOL);
	assert_int_equal(raincheck_stats(rc, &stats), RAINCHECK_EPROTOCOL);
	/* The connection is as good as before. */
	assert_int_equal(raincheck_ping(rc, &ping), 0);
	raincheck_free(ping);
	raincheck_close(rc, NULL, NULL);
	assert_string_equal(fake_broker_stop(b), "");
}

/* One item too few, and a list where none was asked for: a caller that counts on as many would read beyond. */
static void miscounting_script(struct fake_broker *b, void *arg)
{
	struct msg_job_put_result one = { .has_created = true };
	struct msg_job_put_many_result few = { .has_jobs = true, .jobs = &one, .jobs_count = 1 };
	struct msg_complete_item_result item = { .has_state = true };
	struct msg_job_complete_result many = { .has_jobs = true, .jobs = &item, .jobs_count = 1 };
	struct fake_request r;

	(void)arg;
	if (fake_greet(b, 10) && fake_next(b, METHOD_job_put_many, &r) && fake_reply(b, &r, &few) &&
	    fake_next(b, METHOD_job_complete, &r) && fake_reply(b, &r, &many) && fake_next(b, METHOD_job_get, &r) &&
	    fake_raw(b, "\x94\x01\x04\xa4oops\xc0", 9))
		fake_until_gone(b);
}

static void test_an_answer_with_too_few_items(void **state)
{
	struct fake_broker *b = fake_broker_start(NULL, miscounting_script, NULL);
	struct raincheck *rc = open_to(b);
	struct raincheck_put puts[2] = { { .queue = "q" }, { .queue = "q" } };
	struct raincheck_complete complete = { .id = ID, .lease = "000102030405060708090a0b0c0d0e0f" };
	struct raincheck_put_many_result *many = NULL;
	struct raincheck_complete_result *completed = NULL;
	struct raincheck_job *job = NULL;

	(void)state;
	assert_int_equal(raincheck_put_many(rc, puts, 2, &many), RAINCHECK_EPROTOCOL);
	assert_int_equal(raincheck_complete(rc, &complete, &completed), RAINCHECK_EPROTOCOL);
	/* An error that is no map of code and message. */
	assert_int_equal(raincheck_get(rc, ID, &job), RAINCHECK_EPROTOCOL);
	raincheck_close(rc, NULL, NULL);
	assert_string_equal(fake_broker_stop(b), "");
}

/* ---- at random ---- */

#define ROUNDS 300

static uint32_t draw(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

/* Answers with a valid job record in which some bytes were changed, and hangs up. */
static void random_script(struct fake_broker *b, void *arg)
{
	uint32_t seed = *(uint32_t *)arg;
	struct fake_request r;
	_cleanup_(buf_done) struct buf out;
	struct uuid id;
	struct msg_job job;

	uuid_parse(slice_str(ID), &id);
	job = fake_job(&id, JOB_RUNNING);
	buf_init(&out, 65536);
	for (int i = 0; i < ROUNDS; i++) {
		if (!fake_greet(b, 10) || !fake_next(b, METHOD_job_put, &r))
			return;
		buf_reset(&out);
		rpc_write_response(&out, r.id, &MSG_job, &job);
		for (uint32_t n = 1 + draw(&seed) % 4; n > 0; n--)
			out.data[draw(&seed) % out.size] = (uint8_t)draw(&seed);
		fake_raw(b, out.data, out.size);
		fake_hang_up(b);
	}
}

static void test_random_bytes(void **state)
{
	uint32_t seed = 20240607;
	struct fake_broker *b = fake_broker_start(NULL, random_script, &seed);
	struct raincheck *rc = open_to(b);

	(void)state;
	print_message("seed %u\n", seed);
	for (int i = 0; i < ROUNDS; i++) {
		struct raincheck_put_result *put = NULL;

		if (raincheck_put(rc, &(struct raincheck_put){ .queue = "q" }, &put) == 0)
			raincheck_free(put);
		/* Whether it found the end of the connection already or not, the next call does. */
		while (raincheck_connected(rc) && i + 1 < ROUNDS) {
			assert_int_equal(raincheck_ping_async(rc, NULL, NULL), 0);
			assert_int_equal(raincheck_run(rc, -1), 0);
		}
	}
	raincheck_close(rc, NULL, NULL);
	assert_string_equal(fake_broker_stop(b), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_garbage_ends_the_connection),
		cmocka_unit_test(test_garbage_instead_of_a_greeting),
		cmocka_unit_test(test_nonsense_is_passed_over),
		cmocka_unit_test(test_an_answer_of_the_wrong_shape),
		cmocka_unit_test(test_an_answer_with_too_few_items),
		cmocka_unit_test(test_random_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
