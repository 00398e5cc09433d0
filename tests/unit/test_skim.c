/* The skimmer against whole, cut, oversized, nested and hostile bytes: what it lets pass the unpacker takes in full and
 * in bounded memory, and what it refuses has cost nothing.
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
#include "proto/error.h"
#include "proto/skim.h"
#include "alloc_count.h"

#define BYTES(...) ((const uint8_t[]){ __VA_ARGS__ }), sizeof((uint8_t[]){ __VA_ARGS__ })

static const struct skim_limits normal = { .max_bytes = 4 << 20, .max_depth = 16, .max_elements = 65536 };

static int feed_once(const struct skim_limits *limits, const uint8_t *data, size_t size, size_t *ret_size)
{
	struct skim s;

	skim_init(&s, limits);
	return skim_feed(&s, data, size, ret_size);
}

static void refuse(const struct skim_limits *limits, int code, const uint8_t *data, size_t size)
{
	size_t found = 77;

	alloc_count_start(0);
	assert_int_equal(feed_once(limits, data, size, &found), code);
	assert_int_equal(alloc_count.calls, 0);
}

static void want_more(const struct skim_limits *limits, const uint8_t *data, size_t size)
{
	size_t found = 77;

	assert_int_equal(feed_once(limits, data, size, &found), 0);
	assert_int_equal(found, 0);
}

static void take_whole(const struct skim_limits *limits, const uint8_t *data, size_t size)
{
	size_t found = 0;

	assert_int_equal(feed_once(limits, data, size, &found), 0);
	assert_int_equal(found, size);
}

/* Whole at once, and then a byte more at each call: "more" up to the last byte, then the same length. */
static void take_in_any_pieces(const uint8_t *data, size_t size)
{
	struct skim s;
	size_t found;

	take_whole(&normal, data, size);
	skim_init(&s, &normal);
	for (size_t have = 0; have < size; have++) {
		assert_int_equal(skim_feed(&s, data, have, &found), 0);
		assert_int_equal(found, 0);
		want_more(&normal, data, have);
	}
	assert_int_equal(skim_feed(&s, data, size, &found), 0);
	assert_int_equal(found, size);
}

/* ---- what is well formed ---- */

/* Messages that hold one element each of every format. */
static size_t build_formats(msgpack_sbuffer *out, size_t *ret_at)
{
	static const uint8_t bodies[][24] = {
		{ 1, 0x00 },
		{ 1, 0x7f },
		{ 1, 0xe0 },
		{ 1, 0xff },
		{ 1, 0xc0 },
		{ 1, 0xc2 },
		{ 1, 0xc3 },
		{ 1, 0x80 },
		{ 3, 0x81, 0x01, 0x02 },
		{ 1, 0x90 },
		{ 2, 0x91, 0x01 },
		{ 1, 0xa0 },
		{ 3, 0xa2, 'h', 'i' },
		{ 2, 0xc4, 0 },
		{ 4, 0xc4, 2, 0xc1, 0xc1 },
		{ 4, 0xc5, 0, 1, 0xc1 },
		{ 6, 0xc6, 0, 0, 0, 1, 0xc1 },
		{ 3, 0xc7, 0, 5 },
		{ 5, 0xc7, 2, 5, 0xc1, 0xc1 },
		{ 5, 0xc8, 0, 1, 5, 0xc1 },
		{ 7, 0xc9, 0, 0, 0, 1, 5, 0xc1 },
		{ 5, 0xca, 1, 2, 3, 4 },
		{ 9, 0xcb, 1, 2, 3, 4, 5, 6, 7, 8 },
		{ 2, 0xcc, 1 },
		{ 3, 0xcd, 1, 2 },
		{ 5, 0xce, 1, 2, 3, 4 },
		{ 9, 0xcf, 1, 2, 3, 4, 5, 6, 7, 8 },
		{ 2, 0xd0, 1 },
		{ 3, 0xd1, 1, 2 },
		{ 5, 0xd2, 1, 2, 3, 4 },
		{ 9, 0xd3, 1, 2, 3, 4, 5, 6, 7, 8 },
		{ 3, 0xd4, 5, 1 },
		{ 4, 0xd5, 5, 1, 2 },
		{ 6, 0xd6, 5, 1, 2, 3, 4 },
		{ 10, 0xd7, 5, 1, 2, 3, 4, 5, 6, 7, 8 },
		{ 18, 0xd8, 5, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 },
		{ 3, 0xd9, 1, 'x' },
		{ 4, 0xda, 0, 1, 'x' },
		{ 6, 0xdb, 0, 0, 0, 1, 'x' },
		{ 4, 0xdc, 0, 1, 0xc0 },
		{ 6, 0xdd, 0, 0, 0, 1, 0xc0 },
		{ 5, 0xde, 0, 1, 0xc0, 0xc0 },
		{ 7, 0xdf, 0, 0, 0, 1, 0xc0, 0xc0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		msgpack_sbuffer_write(out, "\x93\x01", 2);
		msgpack_sbuffer_write(out, (const char *)bodies[i] + 1, bodies[i][0]);
		msgpack_sbuffer_write(out, "\x02", 1);
		ret_at[i] = out->size;
	}
	return ARRAY_SIZE(bodies);
}

static void test_every_format_is_measured_as_the_unpacker_does(void **state)
{
	_cleanup_(msgpack_sbuffer_destroy) msgpack_sbuffer all;
	size_t ends[64], count, start = 0;

	(void)state;
	msgpack_sbuffer_init(&all);
	count = build_formats(&all, ends);
	for (size_t i = 0; i < count; i++) {
		const char *message = all.data + start;
		size_t size = ends[i] - start, used = 0;
		_cleanup_(msgpack_zone_destroy) msgpack_zone zone;
		msgpack_object object;

		take_in_any_pieces((const uint8_t *)message, size);
		assert_true(msgpack_zone_init(&zone, 1024));
		assert_int_equal(msgpack_unpack(message, size, &used, &zone, &object), MSGPACK_UNPACK_SUCCESS);
		assert_int_equal(used, size);
		start = ends[i];
	}
}

static void test_messages_follow_each_other(void **state)
{
	_cleanup_(msgpack_sbuffer_destroy) msgpack_sbuffer all;
	size_t ends[64], count, found, start = 0;
	struct skim s;

	(void)state;
	msgpack_sbuffer_init(&all);
	count = build_formats(&all, ends);
	skim_init(&s, &normal);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(skim_feed(&s, (const uint8_t *)all.data + start, all.size - start, &found), 0);
		assert_int_equal(found, ends[i] - start);
		start += found;
	}
	assert_int_equal(skim_feed(&s, (const uint8_t *)all.data + start, 0, &found), 0);
	assert_int_equal(found, 0);
}

/* Between two calls of a message that trickles in, the walk stands where it stopped and not at its beginning. */
static void test_walk_is_taken_up_where_it_stopped(void **state)
{
	static const uint8_t message[] = { 0x94, 0x00, 0x01, 0xa1, 'm', 0x91, 0x81, 0xa1, 'k', 0xc4, 3, 1, 2, 3 };
	static const size_t at[] = { 0, 1, 2, 3, 3, 5, 6, 7, 7, 9, 9, 9, 9, 9 };
	struct skim s;
	size_t found;

	(void)state;
	skim_init(&s, &normal);
	for (size_t have = 0; have < sizeof(message); have++) {
		assert_int_equal(skim_feed(&s, message, have, &found), 0);
		assert_int_equal(s.at, at[have]);
	}
	assert_int_equal(skim_feed(&s, message, sizeof(message), &found), 0);
	assert_int_equal(found, sizeof(message));
	assert_int_equal(s.at, 0);
	assert_int_equal(s.elements, 0);
}

/* ---- what is not a message ---- */

static void test_only_an_array_of_three_or_four_is_a_message(void **state)
{
	(void)state;
	take_whole(&normal, BYTES(0x93, 1, 2, 3));
	take_whole(&normal, BYTES(0x94, 1, 2, 3, 4));
	take_whole(&normal, BYTES(0xdc, 0, 3, 1, 2, 3));
	take_whole(&normal, BYTES(0xdd, 0, 0, 0, 4, 1, 2, 3, 4));
	refuse(&normal, ERR_PROTOCOL, BYTES(0x90));
	refuse(&normal, ERR_PROTOCOL, BYTES(0x92, 1, 2));
	refuse(&normal, ERR_PROTOCOL, BYTES(0x95, 1, 2, 3, 4, 5));
	refuse(&normal, ERR_PROTOCOL, BYTES(0xdc, 0, 2));
	refuse(&normal, ERR_PROTOCOL, BYTES(0xdc, 0, 5));
	for (unsigned b = 0; b < 256; b++) {
		uint8_t first = (uint8_t)b;

		if (b == 0x93 || b == 0x94 || b == 0xdc || b == 0xdd)
			want_more(&normal, &first, 1);
		else
			refuse(&normal, ERR_PROTOCOL, &first, 1);
	}
}

static void test_the_unused_byte_is_refused_anywhere(void **state)
{
	(void)state;
	refuse(&normal, ERR_PROTOCOL, BYTES(0xc1));
	refuse(&normal, ERR_PROTOCOL, BYTES(0x94, 0xc1));
	refuse(&normal, ERR_PROTOCOL, BYTES(0x94, 0, 1, 0xa1, 'm', 0x91, 0x81, 0xa1, 'k', 0xc1));
	refuse(&normal, ERR_PROTOCOL, BYTES(0x94, 0, 1, 0xc1));
	/* inside a string it is a byte like any other */
	take_whole(&normal, BYTES(0x93, 2, 0xa1, 0xc1, 0x90));
}

static void test_text_of_other_protocols_is_refused_at_once(void **state)
{
	static const char *const lines[] = { "GET / HTTP/1.1\r\n", "PING\r\n", "*1\r\n$4\r\nPING\r\n", "\x16\x03\x01",
					     "{\"id\":1}" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		refuse(&normal, ERR_PROTOCOL, (const uint8_t *)lines[i], strlen(lines[i]));
}

/* ---- what claims more than it may ---- */

static void test_five_bytes_that_claim_gigabytes_cost_nothing(void **state)
{
	(void)state;
	/* as the whole message */
	refuse(&normal, ERR_PROTOCOL, BYTES(0xdd, 0x04, 0, 0, 0));
	refuse(&normal, ERR_PROTOCOL, BYTES(0xdd, 0xff, 0xff, 0xff, 0xff));
	refuse(&normal, ERR_PROTOCOL, BYTES(0xdf, 0xff, 0xff, 0xff, 0xff));
	/* as params, and inside them, as an array, a map, a str, a bin and an ext */
	refuse(&normal, ERR_TOO_LARGE, BYTES(0x94, 0, 1, 0xa1, 'm', 0xdd, 0x04, 0, 0, 0));
	refuse(&normal, ERR_TOO_LARGE, BYTES(0x94, 0, 1, 0xa1, 'm', 0xdd, 0xff, 0xff, 0xff, 0xff));
	refuse(&normal, ERR_TOO_LARGE, BYTES(0x94, 0, 1, 0xa1, 'm', 0x91, 0xdd, 0x04, 0, 0, 0));
	refuse(&normal, ERR_TOO_LARGE, BYTES(0x94, 0, 1, 0xa1, 'm', 0x91, 0xdd, 0xff, 0xff, 0xff, 0xff));
	refuse(&normal, ERR_TOO_LARGE, BYTES(0x94, 0, 1, 0xa1, 'm', 0x91, 0xdf, 0x02, 0, 0, 0));
	refuse(&normal, ERR_TOO_LARGE, BYTES(0x94, 0, 1, 0xa1, 'm', 0x91, 0xdf, 0xff, 0xff, 0xff, 0xff));
	refuse(&normal, ERR_TOO_LARGE, BYTES(0x94, 0, 1, 0xdb, 0xff, 0xff, 0xff, 0xff));
	refuse(&normal, ERR_TOO_LARGE, BYTES(0x94, 0, 1, 0xc6, 0xff, 0xff, 0xff, 0xff));
	refuse(&normal, ERR_TOO_LARGE, BYTES(0x94, 0, 1, 0xc9, 0xff, 0xff, 0xff, 0xff));
}

/* The header alone decides, also where its bytes come one at a time. */
static void test_a_claim_is_refused_with_its_last_byte(void **state)
{
	static const uint8_t message[] = { 0x94, 0, 1, 0xa1, 'm', 0x91, 0xdd, 0xff, 0xff, 0xff, 0xff };
	struct skim s;
	size_t found;

	(void)state;
	skim_init(&s, &normal);
	for (size_t have = 0; have < sizeof(message); have++)
		assert_int_equal(skim_feed(&s, message, have, &found), 0);
	assert_int_equal(skim_feed(&s, message, sizeof(message), &found), ERR_TOO_LARGE);
}

static void test_elements_are_counted_over_all_containers(void **state)
{
	/* 3 of the message, 2 of the array, and 2 for each of the two entries of the map: 9 */
	static const uint8_t message[] = { 0x93, 2, 0x92, 1, 0x82, 1, 2, 3, 4, 5 };
	struct skim_limits limits = normal;

	(void)state;
	limits.max_elements = 9;
	take_whole(&limits, message, sizeof(message));
	limits.max_elements = 8;
	refuse(&limits, ERR_TOO_LARGE, message, sizeof(message));
	/* refused at the header that breaks it, before its elements come */
	refuse(&limits, ERR_TOO_LARGE, message, 5);
	want_more(&limits, message, 4);
}

static void test_elements_of_one_message_do_not_burden_the_next(void **state)
{
	static const uint8_t stream[] = { 0x93, 1, 2, 3, 0x93, 1, 2, 3 };
	struct skim_limits limits = normal;
	struct skim s;
	size_t found;

	(void)state;
	limits.max_elements = 3;
	skim_init(&s, &limits);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(skim_feed(&s, stream + 4 * i, 4, &found), 0);
		assert_int_equal(found, 4);
	}
}

static void test_bytes_up_to_the_limit_and_one_over(void **state)
{
	uint8_t message[] = { 0x93, 2, 0xc4, 3, 1, 2, 3, 0x90 };
	struct skim_limits limits = normal;

	(void)state;
	limits.max_bytes = sizeof(message);
	take_whole(&limits, message, sizeof(message));
	limits.max_bytes = sizeof(message) - 1;
	refuse(&limits, ERR_TOO_LARGE, message, sizeof(message));
	/* a length that cannot fit is refused when it is read, not when its bytes have come */
	limits.max_bytes = 6;
	refuse(&limits, ERR_TOO_LARGE, message, 4);
	/* other messages behind it do not count against it */
	limits.max_bytes = 4;
	take_whole(&limits, BYTES(0x93, 1, 2, 3));
	assert_int_equal(feed_once(&limits, BYTES(0x93, 1, 2, 3, 0x93, 1), &(size_t){ 0 }), 0);
}

/* ---- nesting ---- */

/* A message of three whose last element nests so that depth containers are open at once, the message's own counted. */
static size_t build_nested(uint8_t *out, unsigned depth, bool maps)
{
	size_t n = 0;

	out[n++] = 0x93;
	out[n++] = 2;
	out[n++] = 0xa0;
	for (unsigned i = 1; i < depth; i++) {
		bool last = i == depth - 1;

		out[n++] = maps ? (last ? 0x80 : 0x81) : (last ? 0x90 : 0x91);
		if (maps && !last)
			out[n++] = 0x01;
	}
	if (depth == 1)
		out[n++] = 0xc0;
	return n;
}

static void test_depth_at_and_over_the_limit(void **state)
{
	uint8_t message[256];

	(void)state;
	for (unsigned depth = 1; depth <= 40; depth++) {
		for (int maps = 0; maps < 2; maps++) {
			size_t size = build_nested(message, depth, maps);

			if (depth <= normal.max_depth)
				take_in_any_pieces(message, size);
			else
				refuse(&normal, ERR_TOO_LARGE, message, size);
		}
	}
}

/* However deep the limits allow, what passes is not too deep for the unpacker. */
static void test_depth_is_capped_at_what_the_unpacker_holds(void **state)
{
	struct skim_limits limits = normal;
	uint8_t message[256];

	(void)state;
	limits.max_depth = 1000000;
	for (int maps = 0; maps < 2; maps++) {
		size_t size = build_nested(message, SKIM_MAX_DEPTH, maps), used = 0;
		_cleanup_(msgpack_zone_destroy) msgpack_zone zone;
		msgpack_object object;

		take_whole(&limits, message, size);
		assert_true(msgpack_zone_init(&zone, 1024));
		assert_int_equal(msgpack_unpack((const char *)message, size, &used, &zone, &object),
				 MSGPACK_UNPACK_SUCCESS);
		size = build_nested(message, SKIM_MAX_DEPTH + 1, maps);
		refuse(&limits, ERR_TOO_LARGE, message, size);
	}
}

static void test_a_megabyte_of_opening_brackets(void **state)
{
	const size_t size = 1 << 20;
	_cleanup_free_ uint8_t *message = malloc(size);

	(void)state;
	assert_non_null(message);
	memset(message, 0x93, size);
	refuse(&normal, ERR_TOO_LARGE, message, size);
}

/* ---- in bounded memory ---- */

/* As many elements as are allowed, each of the kind that costs the unpacker most. */
static size_t build_widest(uint8_t *out, bool maps)
{
	uint32_t count = (normal.max_elements - 4 - 1) / (maps ? 2 : 1);
	size_t n = 0;

	memcpy(out, (const uint8_t[]){ 0x94, 0, 1, 0xa1, 'm', 0x91 }, 6);
	n = 6;
	out[n++] = maps ? 0xdf : 0xdd;
	for (int shift = 24; shift >= 0; shift -= 8)
		out[n++] = (uint8_t)(count >> shift);
	memset(out + n, 0xc0, maps ? 2u * count : count);
	return n + (maps ? 2u * count : count);
}

static void test_memory_of_what_passes_is_bounded_by_the_elements(void **state)
{
	_cleanup_free_ uint8_t *message = malloc(normal.max_elements + 64);

	(void)state;
	assert_non_null(message);
	for (int maps = 0; maps < 2; maps++) {
		size_t size = build_widest(message, maps), used = 0;
		_cleanup_(msgpack_zone_destroy) msgpack_zone zone;
		msgpack_object object;

		alloc_count_start(0);
		take_whole(&normal, message, size);
		assert_int_equal(alloc_count.calls, 0);
		assert_true(msgpack_zone_init(&zone, 8192));
		assert_int_equal(msgpack_unpack((const char *)message, size, &used, &zone, &object),
				 MSGPACK_UNPACK_SUCCESS);
		/* its arena doubles its chunks, so at most twice what the objects take */
		assert_in_range(alloc_count.bytes, alloc_can_count(), 65536 * sizeof(msgpack_object) * 2 + 65536);
	}
}

/* ---- garbage ---- */

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* Random bytes behind the head of a request: never an allocation, never a verdict that depends on how they came. */
static void test_garbage_is_judged_alike_whole_and_in_pieces(void **state)
{
	uint64_t seed = 20240611;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		uint8_t data[64] = { 0x94, 0, 1 };
		size_t whole = 0, found = 0, have;
		struct skim s;
		int rc = 0, whole_rc;

		for (size_t i = 3; i < sizeof(data); i++)
			data[i] = (uint8_t)next_random(&seed);
		alloc_count_start(0);
		whole_rc = feed_once(&normal, data, sizeof(data), &whole);
		skim_init(&s, &normal);
		for (have = 1; rc == 0 && found == 0 && have <= sizeof(data); have++)
			rc = skim_feed(&s, data, have, &found);
		assert_int_equal(alloc_count.calls, 0);
		assert_int_equal(rc, whole_rc);
		assert_int_equal(found, whole);
		if (found > 0)
			assert_int_equal(have - 1, found);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_format_is_measured_as_the_unpacker_does),
		cmocka_unit_test(test_messages_follow_each_other),
		cmocka_unit_test(test_walk_is_taken_up_where_it_stopped),
		cmocka_unit_test(test_only_an_array_of_three_or_four_is_a_message),
		cmocka_unit_test(test_the_unused_byte_is_refused_anywhere),
		cmocka_unit_test(test_text_of_other_protocols_is_refused_at_once),
		cmocka_unit_test(test_five_bytes_that_claim_gigabytes_cost_nothing),
		cmocka_unit_test(test_a_claim_is_refused_with_its_last_byte),
		cmocka_unit_test(test_elements_are_counted_over_all_containers),
		cmocka_unit_test(test_elements_of_one_message_do_not_burden_the_next),
		cmocka_unit_test(test_bytes_up_to_the_limit_and_one_over),
		cmocka_unit_test(test_depth_at_and_over_the_limit),
		cmocka_unit_test(test_depth_is_capped_at_what_the_unpacker_holds),
		cmocka_unit_test(test_a_megabyte_of_opening_brackets),
		cmocka_unit_test(test_memory_of_what_passes_is_bounded_by_the_elements),
		cmocka_unit_test(test_garbage_is_judged_alike_whole_and_in_pieces),
	};

	return cmocka_run_group_tests_name("skim", tests, alloc_count_init, NULL);
}
