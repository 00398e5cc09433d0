/* Envelopes: what is written is what the published protocol says byte by byte, what is read is checked, and a request
 * that cannot be answered in full is answered by its id at least.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <msgpack.h>

#include "proto/base/clean.h"
#include "proto/rpc.h"
#include "alloc_count.h"

#define BYTES(...) ((const uint8_t[]){ __VA_ARGS__ }), sizeof((uint8_t[]){ __VA_ARGS__ })
#define TEXT(s)	   (s), sizeof(s) - 1
#define CAP	   65536

/* What unpacking took, to be looked at while the fixture lasts. */
struct unpacked {
	msgpack_zone zone;
	struct rpc_envelope envelope;
	struct error_info info;
};

static void unpacked_done(struct unpacked *u)
{
	msgpack_zone_destroy(&u->zone);
}

static int unpack(struct unpacked *u, const void *data, size_t size)
{
	assert_true(msgpack_zone_init(&u->zone, 4096));
	memset(&u->envelope, 0x5a, sizeof(u->envelope));
	memset(&u->info, 0, sizeof(u->info));
	return rpc_unpack(data, size, &u->zone, &u->envelope, &u->info);
}

static void assert_unpacks_to(int code, const void *data, size_t size)
{
	_cleanup_(unpacked_done) struct unpacked u;

	assert_int_equal(unpack(&u, data, size), code);
	assert_int_equal(u.info.code, code);
	assert_int_equal(u.info.message[0] != '\0', code < 0);
}

static void assert_bytes(const struct buf *b, const void *bytes, size_t size)
{
	assert_int_equal(b->size, size);
	assert_memory_equal(b->data, bytes, size);
}

/* ---- writing ---- */

static void test_request_byte_by_byte(void **state)
{
	const struct msg_job_wait params = { .has_id = true, .has_wait_ms = true, .wait_ms = 5 };
	_cleanup_(buf_done) struct buf out;

	(void)state;
	buf_init(&out, CAP);
	assert_int_equal(rpc_write_request(&out, 300, "job.wait", &MSG_job_wait, &params), 0);
	assert_bytes(&out, TEXT("\x94\x00\xcd\x01\x2c\xa8"
				"job.wait\x91\x82\xa2"
				"id\xd9\x24"
				"00000000-0000-0000-0000-000000000000\xa7"
				"wait_ms\x05"));
}

static void test_response_error_and_notification_byte_by_byte(void **state)
{
	const struct msg_ping_result pong = { .has_now_ms = true, .now_ms = 1 };
	const struct msg_empty empty = { 0 };
	struct error_info info = { .code = ERR_QUEUE_FULL, .field = "q", .message = "full", .retry_after_ms = 9 };
	_cleanup_(buf_done) struct buf out;

	(void)state;
	buf_init(&out, CAP);
	assert_int_equal(rpc_write_response(&out, 1, &MSG_ping_result, &pong), 0);
	assert_bytes(&out, TEXT("\x94\x01\x01\xc0\x81\xa6now_ms\x01"));
	buf_reset(&out);
	assert_int_equal(rpc_write_error(&out, 2, &info), 0);
	assert_bytes(&out, TEXT("\x94\x01\x02\x84\xa4"
				"code\xaa"
				"queue_full\xa7"
				"message\xa4"
				"full\xa5"
				"field\xa1"
				"q"
				"\xae"
				"retry_after_ms\x09\xc0"));
	buf_reset(&out);
	assert_int_equal(rpc_write_notification(&out, "server.shutdown", &MSG_empty, &empty), 0);
	assert_bytes(&out, TEXT("\x93\x02\xafserver.shutdown\x91\x80"));
}

/* Messages that follow each other in one buffer are each taken whole or not at all, whatever the cap. */
static void test_what_does_not_fit_leaves_nothing_behind(void **state)
{
	const struct msg_ping_result pong = { .has_now_ms = true, .now_ms = 1 };
	const struct error_info info = { .code = ERR_GONE, .message = "gone" };
	size_t full = 0;

	(void)state;
	for (size_t cap = 200; cap > 0; cap--) {
		_cleanup_(buf_done) struct buf out;
		size_t before, refused = 0;

		buf_init(&out, cap);
		for (int i = 0; i < 4; i++) {
			before = out.size;
			if ((i == 0 && rpc_write_response(&out, 1, &MSG_ping_result, &pong) == ERR_TOO_LARGE) ||
			    (i == 1 && rpc_write_request(&out, 1, "m", &MSG_ping_result, &pong) == ERR_TOO_LARGE) ||
			    (i == 2 && rpc_write_notification(&out, "m", &MSG_ping_result, &pong) == ERR_TOO_LARGE) ||
			    (i == 3 && rpc_write_error(&out, 1, &info) == ERR_TOO_LARGE)) {
				assert_int_equal(out.size, before);
				assert_int_equal(buf_error(&out), 0);
				refused++;
			}
		}
		if (refused == 0)
			full = cap;
		assert_true(refused > 0 || out.size <= cap);
	}
	assert_int_equal(full, 13 + 15 + 14 + 28);
}

/* ---- reading ---- */

static void test_ids_come_back_as_they_came(void **state)
{
	static const uint64_t ids[] = { 0,	   1,	      127,   128,	 255,
					256,	   65535,     65536, UINT32_MAX, (uint64_t)UINT32_MAX + 1,
					INT64_MAX, UINT64_MAX };
	const struct msg_empty empty = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		_cleanup_(unpacked_done) struct unpacked u;
		_cleanup_(buf_done) struct buf out;
		uint64_t id = 77;

		buf_init(&out, CAP);
		assert_int_equal(rpc_write_request(&out, ids[i], "m", &MSG_empty, &empty), 0);
		assert_int_equal(unpack(&u, out.data, out.size), 0);
		assert_int_equal(u.envelope.type, RPC_REQUEST);
		assert_true(u.envelope.id == ids[i]);
		assert_true(slice_is(u.envelope.method, "m"));
		assert_non_null(u.envelope.params);
		assert_int_equal(rpc_peek_id(out.data, out.size, &id), 0);
		assert_true(id == ids[i]);
	}
}

static void test_method_as_str_or_bin(void **state)
{
	(void)state;
	for (int bin = 0; bin < 2; bin++) {
		const uint8_t request[] = { 0x94, 0, 1, bin ? 0xc4 : 0xd9, 1, 'm', 0x90 };
		const uint8_t notification[] = { 0x93, 2, bin ? 0xc4 : 0xd9, 1, 'm', 0x91, 0x80 };
		_cleanup_(unpacked_done) struct unpacked r;
		_cleanup_(unpacked_done) struct unpacked n;

		assert_int_equal(unpack(&r, request, sizeof(request)), 0);
		assert_int_equal(r.envelope.type, RPC_REQUEST);
		assert_true(slice_is(r.envelope.method, "m"));
		assert_null(r.envelope.params);
		assert_int_equal(unpack(&n, notification, sizeof(notification)), 0);
		assert_int_equal(n.envelope.type, RPC_NOTIFICATION);
		assert_true(slice_is(n.envelope.method, "m"));
		assert_non_null(n.envelope.params);
	}
}

static void test_bad_params_leave_enough_for_an_answer(void **state)
{
	static const uint8_t params[][4] = {
		{ 1, 0x80 }, { 1, 0xc0 }, { 1, 0x01 }, { 2, 0x91, 0xc0 }, { 2, 0x91, 0x90 }, { 3, 0x92, 0x80, 0x80 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(params); i++) {
		uint8_t request[16] = { 0x94, 0, 42, 0xa1, 'm' };
		uint8_t notification[16] = { 0x93, 2, 0xa1, 'm' };
		_cleanup_(unpacked_done) struct unpacked u;

		memcpy(request + 5, params[i] + 1, params[i][0]);
		assert_int_equal(unpack(&u, request, 5u + params[i][0]), ERR_BAD_REQUEST);
		assert_int_equal(u.info.code, ERR_BAD_REQUEST);
		assert_int_equal(u.envelope.type, RPC_REQUEST);
		assert_int_equal(u.envelope.id, 42);
		assert_true(slice_is(u.envelope.method, "m"));
		assert_null(u.envelope.params);
		memcpy(notification + 4, params[i] + 1, params[i][0]);
		assert_unpacks_to(ERR_BAD_REQUEST, notification, 4u + params[i][0]);
	}
}

static void test_responses(void **state)
{
	_cleanup_(unpacked_done) struct unpacked good;
	_cleanup_(unpacked_done) struct unpacked bad;

	(void)state;
	assert_int_equal(unpack(&good, BYTES(0x94, 1, 7, 0xc0, 0x81, 0xa1, 'k', 1)), 0);
	assert_int_equal(good.envelope.type, RPC_RESPONSE);
	assert_int_equal(good.envelope.id, 7);
	assert_null(good.envelope.error);
	assert_int_equal(good.envelope.result->type, MSGPACK_OBJECT_MAP);
	assert_int_equal(unpack(&bad, BYTES(0x94, 1, 7, 0xa1, 'e', 0xc0)), 0);
	assert_int_equal(bad.envelope.error->type, MSGPACK_OBJECT_STR);
	assert_int_equal(bad.envelope.result->type, MSGPACK_OBJECT_NIL);
}

static void test_what_is_no_envelope(void **state)
{
	(void)state;
	assert_unpacks_to(ERR_PROTOCOL, BYTES(0x90));
	assert_unpacks_to(ERR_PROTOCOL, BYTES(0x80));
	assert_unpacks_to(ERR_PROTOCOL, BYTES(0xc0));
	assert_unpacks_to(ERR_PROTOCOL, BYTES(0x92, 0, 1));
	assert_unpacks_to(ERR_PROTOCOL, BYTES(0x93, 0, 1, 0xa1, 'm'));
	assert_unpacks_to(ERR_PROTOCOL, BYTES(0x94, 2, 0xa1, 'm', 0x90, 0));
	assert_unpacks_to(ERR_PROTOCOL, BYTES(0x93, 1, 7, 0xc0));
	/* types: unknown, negative, a str, nil */
	assert_unpacks_to(ERR_PROTOCOL, BYTES(0x94, 3, 1, 0xa1, 'm', 0x90));
	assert_unpacks_to(ERR_PROTOCOL, BYTES(0x94, 0xff, 1, 0xa1, 'm', 0x90));
	assert_unpacks_to(ERR_PROTOCOL, BYTES(0x94, 0xa1, '0', 1, 0xa1, 'm', 0x90));
	assert_unpacks_to(ERR_PROTOCOL, BYTES(0x94, 0xc0, 1, 0xa1, 'm', 0x90));
	assert_unpacks_to(ERR_PROTOCOL, BYTES(0x94, 0xcf, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0xa1, 'm', 0x90));
	/* ids: negative, a float, a str, nil */
	assert_unpacks_to(ERR_PROTOCOL, BYTES(0x94, 0, 0xff, 0xa1, 'm', 0x90));
	assert_unpacks_to(ERR_PROTOCOL, BYTES(0x94, 0, 0xca, 0, 0, 0, 0, 0xa1, 'm', 0x90));
	assert_unpacks_to(ERR_PROTOCOL, BYTES(0x94, 0, 0xa1, '1', 0xa1, 'm', 0x90));
	assert_unpacks_to(ERR_PROTOCOL, BYTES(0x94, 1, 0xc0, 0xc0, 0xc0));
	/* methods: a number, nil, an array */
	assert_unpacks_to(ERR_PROTOCOL, BYTES(0x94, 0, 1, 5, 0x90));
	assert_unpacks_to(ERR_PROTOCOL, BYTES(0x94, 0, 1, 0xc0, 0x90));
	assert_unpacks_to(ERR_PROTOCOL, BYTES(0x93, 2, 0x90, 0x90));
	assert_unpacks_to(0, BYTES(0x94, 0, 1, 0xa1, 'm', 0x90));
}

static void test_cut_and_overlong_messages(void **state)
{
	static const uint8_t message[] = { 0x94, 0, 1, 0xa1, 'm', 0x91, 0x81, 0xa1, 'k', 0xc4, 2, 1, 2, 0xc0 };

	(void)state;
	for (size_t size = 0; size < sizeof(message) - 1; size++)
		assert_unpacks_to(ERR_PROTOCOL, message, size);
	assert_unpacks_to(0, message, sizeof(message) - 1);
	assert_unpacks_to(ERR_PROTOCOL, message, sizeof(message));
}

static void test_peeking_at_an_id(void **state)
{
	uint64_t id = 77;

	(void)state;
	assert_int_equal(rpc_peek_id(BYTES(0x94, 0, 5), &id), 0);
	assert_int_equal(id, 5);
	/* in forms longer than need be, as some peers write */
	assert_int_equal(rpc_peek_id(BYTES(0xdc, 0, 4, 0, 6), &id), 0);
	assert_int_equal(id, 6);
	assert_int_equal(rpc_peek_id(BYTES(0xdd, 0, 0, 0, 4, 0xcc, 0, 0xce, 0, 0, 1, 2), &id), 0);
	assert_int_equal(id, 258);
	assert_int_equal(rpc_peek_id(BYTES(0x94, 0xd0, 0, 0xd3, 0, 0, 0, 0, 0, 0, 0, 9), &id), 0);
	assert_int_equal(id, 9);
	/* not of a request */
	id = 77;
	assert_int_equal(rpc_peek_id(NULL, 0, &id), ERR_PROTOCOL);
	assert_int_equal(rpc_peek_id(BYTES(0x94, 1, 5, 0xc0, 0xc0), &id), ERR_PROTOCOL);
	assert_int_equal(rpc_peek_id(BYTES(0x93, 2, 0xa1, 'm', 0x90), &id), ERR_PROTOCOL);
	assert_int_equal(rpc_peek_id(BYTES(0x94, 0, 0xff, 0xa1), &id), ERR_PROTOCOL);
	assert_int_equal(rpc_peek_id(BYTES(0x94, 0, 0xd0, 0x80, 0xa1), &id), ERR_PROTOCOL);
	assert_int_equal(rpc_peek_id(BYTES(0x94, 0, 0xa1, '1'), &id), ERR_PROTOCOL);
	assert_int_equal(rpc_peek_id(BYTES(0xdc, 0, 3, 0, 6), &id), ERR_PROTOCOL);
	assert_int_equal(rpc_peek_id((const uint8_t *)"GET / HTTP/1.1", 14, &id), ERR_PROTOCOL);
	assert_int_equal(id, 77);
}

static void test_peeking_at_every_cut(void **state)
{
	static const uint8_t message[] = { 0x94, 0, 0xcf, 1, 2, 3, 4, 5, 6, 7, 8, 0xa1 };
	uint64_t id = 77;

	(void)state;
	for (size_t size = 0; size < 11; size++) {
		_cleanup_free_ uint8_t *exact = malloc(size ? size : 1);

		memcpy(exact, message, size);
		assert_int_equal(rpc_peek_id(exact, size, &id), ERR_PROTOCOL);
		assert_int_equal(id, 77);
	}
	assert_int_equal(rpc_peek_id(message, 11, &id), 0);
	assert_true(id == 0x0102030405060708);
}

/* ---- errors there and back ---- */

static void read_back(const struct buf *out, struct error_info *ret)
{
	_cleanup_(unpacked_done) struct unpacked u;

	assert_int_equal(unpack(&u, out->data, out->size), 0);
	assert_non_null(u.envelope.error);
	memset(ret, 0x5a, sizeof(*ret));
	rpc_read_error(u.envelope.error, &u.zone, ret);
}

static void test_errors_there_and_back(void **state)
{
	struct error_info info = { .code = ERR_THROTTLED, .message = "too fast" }, back;

	(void)state;
	for (int full = 0; full < 2; full++) {
		_cleanup_(buf_done) struct buf out;

		buf_init(&out, CAP);
		if (full) {
			strcpy(info.field, "jobs[2].queue");
			info.retry_after_ms = 1500;
		}
		assert_int_equal(rpc_write_error(&out, 1, &info), 0);
		read_back(&out, &back);
		assert_int_equal(back.code, ERR_THROTTLED);
		assert_string_equal(back.message, "too fast");
		assert_string_equal(back.field, full ? "jobs[2].queue" : "");
		assert_int_equal(back.retry_after_ms, full ? 1500 : 0);
	}
}

static void test_local_errors_do_not_leave_the_process(void **state)
{
	struct error_info info = { .code = ERR_CORRUPT }, back;
	_cleanup_(buf_done) struct buf out;

	(void)state;
	buf_init(&out, CAP);
	assert_int_equal(rpc_write_error(&out, 1, &info), 0);
	read_back(&out, &back);
	assert_int_equal(back.code, ERR_STORE_ERROR);
	assert_string_equal(back.message, error_text(ERR_STORE_ERROR));
	buf_reset(&out);
	info.code = ERR_NO_MEMORY;
	assert_int_equal(rpc_write_error(&out, 1, &info), 0);
	read_back(&out, &back);
	assert_int_equal(back.code, ERR_INTERNAL);
}

static void test_errors_of_other_shapes(void **state)
{
	static const char *const errors[] = {
		"\xa4oops",
		"\x01",
		"\x90",
		"\x80",
		"\x81\xa4"
		"code\xa4"
		"gone",
		"\x82\xa4"
		"code\x05\xa7"
		"message\xa1"
		"m",
	};
	static const char unknown[] = "\x83\xa4"
				      "code\xa3"
				      "new\xa7"
				      "message\xa1"
				      "m\xa4"
				      "more\x01";

	(void)state;
	for (size_t i = 0; i <= ARRAY_SIZE(errors); i++) {
		const char *error = i < ARRAY_SIZE(errors) ? errors[i] : unknown;
		_cleanup_(buf_done) struct buf out;
		struct error_info back;

		buf_init(&out, CAP);
		buf_append(&out, "\x94\x01\x01", 3);
		buf_append_str(&out, error);
		buf_append(&out, "\xc0", 1);
		read_back(&out, &back);
		assert_int_equal(back.code, error == unknown ? ERR_INTERNAL : ERR_PROTOCOL);
		assert_true(back.message[0] != '\0');
		assert_string_equal(back.field, "");
		assert_int_equal(back.retry_after_ms, 0);
	}
}

/* ---- out of memory ---- */

static void test_every_failing_allocation_is_told(void **state)
{
	uint8_t message[700] = { 0x94, 0, 9, 0xa1, 'm', 0x91, 0xde, 1, 0x2c };
	size_t fail_at;
	int rc = ERR_NO_MEMORY;

	(void)state;
	if (!alloc_can_fail())
		return;
	/* a map of 300 entries of one-byte keys and values: more than a small arena holds at first */
	for (size_t i = 9; i < 609; i++)
		message[i] = 0x01;
	for (fail_at = 1; rc != 0; fail_at++) {
		_cleanup_(unpacked_done) struct unpacked u = { 0 };

		assert_true(msgpack_zone_init(&u.zone, 64));
		alloc_count_start(fail_at);
		rc = rpc_unpack(message, 609, &u.zone, &u.envelope, &u.info);
		alloc_count_stop();
		assert_true(rc == 0 || rc == ERR_NO_MEMORY);
		assert_int_equal(u.info.code, rc);
	}
	assert_in_range(fail_at, 3, 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request_byte_by_byte),
		cmocka_unit_test(test_response_error_and_notification_byte_by_byte),
		cmocka_unit_test(test_what_does_not_fit_leaves_nothing_behind),
		cmocka_unit_test(test_ids_come_back_as_they_came),
		cmocka_unit_test(test_method_as_str_or_bin),
		cmocka_unit_test(test_bad_params_leave_enough_for_an_answer),
		cmocka_unit_test(test_responses),
		cmocka_unit_test(test_what_is_no_envelope),
		cmocka_unit_test(test_cut_and_overlong_messages),
		cmocka_unit_test(test_peeking_at_an_id),
		cmocka_unit_test(test_peeking_at_every_cut),
		cmocka_unit_test(test_errors_there_and_back),
		cmocka_unit_test(test_local_errors_do_not_leave_the_process),
		cmocka_unit_test(test_errors_of_other_shapes),
		cmocka_unit_test(test_every_failing_allocation_is_told),
	};

	return cmocka_run_group_tests_name("rpc", tests, alloc_count_init, NULL);
}
