/* A limit's record: what is written is read again; every flipped bit and every cut is found; and bytes with a right
 * checksum but a shape that nobody wrote are refused, whatever they are. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proto/error.h"
#include "server/store/limit_record.h"
#include "server/store/record_bytes.h"
#include "server/store/records.h"
#include "tests/unit/test_flow_draw.h"

#define T0 INT64_C(1700000000000)

static struct limit_record sample(void)
{
	struct limit_record l = {
		.name = slice_str("deepfake"),
		.settings = { .caps = { 50, 12.5, 20 },
			      .has_adaptive = true,
			      .adaptive = { 2, 200, 1500 },
			      .has_breaker = true,
			      .breaker = { 30000, 10, 0.5, 15000 },
			      .schedule = { { T0 + 1000, T0 + 2000, { 500, -1, -1 } },
					    { T0 + 2000, T0 + 9000, { -1, 100, 7.5 } } },
			      .schedule_count = 2 },
		.bucket = { 3.25, T0 + 1 },
		.breaker = { .phase = BREAKER_HALF_OPEN,
			     .open_until_ms = T0 + 2,
			     .has_probe = true,
			     .probe = { { 1, 2, 3 } },
			     .slot_number = 567890,
			     .slots = { [0] = { 9, 4 }, [9] = { 100, 100 } },
			     .since_ms = T0 + 3,
			     .opened_total = 6 },
		.adapt = { .value = 48.5, .numbers = { 1, -2.5, [15] = 1e300 } },
		.adapt_opened = 44,
		.spell_at_ms = T0 - 5000,
		.held_until_ms = T0 + 4,
		.started_total = 1000,
		.succeeded_total = 900,
		.failed_total = 60,
		.throttled_total = 30,
	};

	return l;
}

/* As limits are compared: by the bytes that they are written as. */
static void expect_equal(const struct limit_record *a, const struct limit_record *b)
{
	struct buf x, y;

	buf_init(&x, 1 << 16);
	buf_init(&y, 1 << 16);
	assert_int_equal(record_write_limit(&x, a), 0);
	assert_int_equal(record_write_limit(&y, b), 0);
	assert_int_equal(x.size, y.size);
	assert_memory_equal(x.data, y.data, x.size);
	buf_done(&x);
	buf_done(&y);
}

static int write_and_read(const struct limit_record *l, struct limit_record *ret)
{
	static uint8_t bytes[1 << 14]; /* what ret's name points into */
	struct buf b;

	buf_init(&b, sizeof(bytes));
	assert_int_equal(record_write_limit(&b, l), 0);
	memcpy(bytes, b.data, b.size);
	ret->name = slice_of(bytes, b.size);
	buf_done(&b);
	return record_read_limit(ret->name, ret);
}

static void what_is_written_is_read_again(void **state)
{
	struct limit_record l = sample(), back, bare = { .name = slice_str("x"), .settings.caps = { -1, -1, -1 } };

	(void)state;
	assert_int_equal(write_and_read(&l, &back), 0);
	expect_equal(&l, &back);
	/* Not by the bytes alone: these must not have gone the same wrong way twice. */
	assert_true(slice_is(back.name, "deepfake"));
	assert_true(back.settings.has_adaptive && back.settings.has_breaker && back.breaker.has_probe);
	assert_int_equal(back.settings.caps.concurrency, 50);
	assert_true(back.settings.caps.rate == 12.5 && back.settings.caps.burst == 20);
	assert_int_equal(back.settings.adaptive.max, 200);
	assert_true(back.settings.breaker.failure_ratio == 0.5);
	assert_int_equal(back.settings.schedule_count, 2);
	assert_int_equal(back.settings.schedule[1].until_at_ms, T0 + 9000);
	assert_true(back.settings.schedule[1].caps.burst == 7.5 && back.settings.schedule[1].caps.concurrency == -1);
	assert_true(back.bucket.tokens == 3.25 && back.bucket.at_ms == T0 + 1);
	assert_true(uuid_equal(&back.breaker.probe, &l.breaker.probe));
	assert_int_equal(back.breaker.phase, BREAKER_HALF_OPEN);
	assert_int_equal(back.breaker.slots[9].failures, 100);
	assert_int_equal(back.breaker.since_ms, T0 + 3);
	assert_memory_equal(&back.adapt, &l.adapt, sizeof(l.adapt));
	assert_int_equal(back.adapt_opened, 44);
	assert_int_equal(back.spell_at_ms, T0 - 5000);
	assert_int_equal(back.held_until_ms, T0 + 4);
	assert_int_equal(back.throttled_total, 30);

	assert_int_equal(write_and_read(&bare, &back), 0);
	expect_equal(&bare, &back);
	assert_false(back.settings.has_adaptive || back.settings.has_breaker || back.breaker.has_probe);
}

static void as_many_spells_as_may_be(void **state)
{
	struct limit_record l = sample(), back;

	(void)state;
	l.settings.schedule_count = LIMIT_SCHEDULE_MAX;
	for (int i = 0; i < LIMIT_SCHEDULE_MAX; i++)
		l.settings.schedule[i] = (struct limit_spell){ T0 + i, T0 + i + 1, { i + 1, -1, -1 } };
	assert_int_equal(write_and_read(&l, &back), 0);
	expect_equal(&l, &back);
}

static void every_flipped_bit_and_every_cut_is_found(void **state)
{
	struct limit_record l = sample(), back;
	struct buf b;

	(void)state;
	buf_init(&b, 1 << 14);
	assert_int_equal(record_write_limit(&b, &l), 0);
	for (size_t i = 0; i < b.size * 8; i++) {
		b.data[i / 8] ^= (uint8_t)(1u << (i % 8));
		assert_int_equal(record_read_limit(buf_slice(&b), &back), ERR_CORRUPT);
		b.data[i / 8] ^= (uint8_t)(1u << (i % 8));
	}
	for (size_t n = 0; n < b.size; n++)
		assert_int_equal(record_read_limit(slice_of(b.data, n), &back), ERR_CORRUPT);
	assert_int_equal(record_read_limit(buf_slice(&b), &back), 0);
	buf_done(&b);
}

static void a_full_buffer_is_told(void **state)
{
	struct limit_record l = sample();
	struct buf b;

	(void)state;
	buf_init(&b, 100);
	assert_int_equal(record_write_limit(&b, &l), ERR_TOO_LARGE);
	buf_done(&b);
}

/* ---- shapes with a right checksum ---- */

static void expect_refused(const struct limit_record *l, const char *what)
{
	struct limit_record back;

	if (write_and_read(l, &back) != ERR_CORRUPT)
		fail_msg("%s is taken", what);
}

#define EXPECT_REFUSED(change) (l = sample(), (change), expect_refused(&l, #change))

static void settings_outside_their_bounds_are_refused(void **state)
{
	struct limit_record l;

	(void)state;
	EXPECT_REFUSED(l.name = slice_str(""));
	EXPECT_REFUSED(l.settings.caps.concurrency = 0);
	EXPECT_REFUSED(l.settings.caps.concurrency = -2);
	EXPECT_REFUSED(l.settings.caps.concurrency = LIMIT_CONCURRENCY_MAX + 1);
	EXPECT_REFUSED(l.settings.caps.rate = 0);
	EXPECT_REFUSED(l.settings.caps.rate = NAN);
	EXPECT_REFUSED(l.settings.caps.rate = INFINITY);
	EXPECT_REFUSED(l.settings.caps.burst = 0.5);
	EXPECT_REFUSED(l.settings.caps.burst = NAN);
	EXPECT_REFUSED(l.settings.adaptive.min = 0);
	EXPECT_REFUSED(l.settings.adaptive.min = 201);
	EXPECT_REFUSED(l.settings.adaptive.max = LIMIT_CONCURRENCY_MAX + 1);
	EXPECT_REFUSED(l.settings.adaptive.latency_target_ms = -1);
	EXPECT_REFUSED(l.settings.breaker.window_ms = 0);
	EXPECT_REFUSED(l.settings.breaker.window_ms = INT64_MAX);
	EXPECT_REFUSED(l.settings.breaker.min_calls = 0);
	EXPECT_REFUSED(l.settings.breaker.failure_ratio = 0);
	EXPECT_REFUSED(l.settings.breaker.failure_ratio = NAN);
	EXPECT_REFUSED(l.settings.breaker.open_ms = INT64_MAX);
	EXPECT_REFUSED(l.settings.schedule[0].caps.rate = NAN);
	EXPECT_REFUSED(l.settings.schedule[0].from_at_ms = 0);
	EXPECT_REFUSED(l.settings.schedule[0].until_at_ms = T0 + 1000);
	EXPECT_REFUSED(l.settings.schedule[0].until_at_ms = T0 + 2001);
}

static void states_that_nothing_leads_to_are_refused(void **state)
{
	struct limit_record l;

	(void)state;
	EXPECT_REFUSED(l.bucket.tokens = NAN);
	EXPECT_REFUSED(l.bucket.tokens = -INFINITY);
	EXPECT_REFUSED(l.bucket.tokens = LIMIT_BURST_MAX * 2);
	EXPECT_REFUSED(l.bucket.at_ms = -1);
	EXPECT_REFUSED(l.breaker.phase = BREAKER_PHASES);
	EXPECT_REFUSED(l.breaker.phase = BREAKER_CLOSED); /* with a probe */
	EXPECT_REFUSED(l.breaker.open_until_ms = -1);
	EXPECT_REFUSED(l.breaker.slot_number = -1);
	EXPECT_REFUSED(l.breaker.slots[3].failures = 1);
	EXPECT_REFUSED(l.breaker.since_ms = -1);
	EXPECT_REFUSED(l.breaker.opened_total = -1);
	EXPECT_REFUSED(l.adapt.value = NAN);
	EXPECT_REFUSED(l.adapt.value = -1);
	EXPECT_REFUSED(l.adapt.numbers[0] = INFINITY);
	EXPECT_REFUSED(l.adapt.numbers[15] = NAN);
	EXPECT_REFUSED(l.adapt_opened = -1);
	EXPECT_REFUSED(l.spell_at_ms = -1);
	EXPECT_REFUSED(l.held_until_ms = -1);
	EXPECT_REFUSED(l.started_total = -1);
	EXPECT_REFUSED(l.succeeded_total = -1);
	EXPECT_REFUSED(l.failed_total = -1);
	EXPECT_REFUSED(l.throttled_total = -1);
}

/* After the name's size, the name, the flags, the caps, adaptive and breaker. */
#define COUNT_AT (4 + 8 + 1 + 20 + 16 + 28)
#define SPELL	 (8 + 8 + 20)

/* These bytes below a checksum that is right. */
static int seal(struct buf *out, const uint8_t *body, size_t size)
{
	buf_reset(out);
	begin_record(out);
	buf_append(out, body, size);
	return end_record(out, 0);
}

static void more_spells_than_may_be_are_not_read(void **state)
{
	static const uint32_t counts[] = { 0, 1, 3, LIMIT_SCHEDULE_MAX + 1, UINT32_MAX };
	struct limit_record l = sample(), back;
	uint8_t body[8192] = { 0 };
	struct buf b, sealed;
	size_t size;

	(void)state;
	buf_init(&b, sizeof(body));
	buf_init(&sealed, sizeof(body));
	assert_int_equal(record_write_limit(&b, &l), 0);
	size = b.size - CHECKSUM_SIZE;
	memcpy(body, b.data + CHECKSUM_SIZE, size);
	assert_int_equal(body[COUNT_AT], 2);
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		uint32_t little = htole32(counts[i]);

		memcpy(body + COUNT_AT, &little, sizeof(little));
		assert_int_equal(seal(&sealed, body, size), 0);
		assert_int_equal(record_read_limit(buf_slice(&sealed), &back), ERR_CORRUPT);
	}
	/* As many bytes as so many spells would take. */
	body[COUNT_AT] = LIMIT_SCHEDULE_MAX + 1;
	memset(body + COUNT_AT + 1, 0, 3);
	seal(&sealed, body, size + (LIMIT_SCHEDULE_MAX - 1) * SPELL);
	assert_int_equal(record_read_limit(buf_slice(&sealed), &back), ERR_CORRUPT);
	buf_done(&b);
	buf_done(&sealed);
}

/* Bytes drawn or changed, with the checksum put right: read without harm, and what is taken is written as the same. */
static void whatever_the_bytes_are(void **state)
{
	struct limit_record l = sample(), back;
	uint8_t body[4096] = { 0 };
	size_t taken = 0;
	struct buf b, sealed, again;

	(void)state;
	draw_begin();
	buf_init(&b, 1 << 14);
	buf_init(&sealed, 1 << 14);
	buf_init(&again, 1 << 14);
	assert_int_equal(record_write_limit(&b, &l), 0);
	for (int n = 0; n < 200000; n++) {
		size_t size = b.size - CHECKSUM_SIZE;

		memcpy(body, b.data + CHECKSUM_SIZE, size);
		for (int64_t i = draw(1, 4); i > 0; i--)
			body[draw(0, (int64_t)size - 1)] =
				draw_once_in(3) ? (uint8_t)draw(0, 255) : (uint8_t)draw(-1, 1);
		if (draw_once_in(10))
			size = (size_t)draw(0, (int64_t)sizeof(body));
		assert_int_equal(seal(&sealed, body, size), 0);
		if (record_read_limit(buf_slice(&sealed), &back) < 0)
			continue;
		taken++;
		buf_reset(&again);
		assert_int_equal(record_write_limit(&again, &back), 0);
		assert_true(slice_equal(buf_slice(&again), buf_slice(&sealed)));
	}
	/* Totals and tokens may be any number: some must have been taken, else nothing was tried. */
	assert_in_range(taken, 1000, 199000);
	buf_done(&b);
	buf_done(&sealed);
	buf_done(&again);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read_again),
		cmocka_unit_test(as_many_spells_as_may_be),
		cmocka_unit_test(every_flipped_bit_and_every_cut_is_found),
		cmocka_unit_test(a_full_buffer_is_told),
		cmocka_unit_test(settings_outside_their_bounds_are_refused),
		cmocka_unit_test(states_that_nothing_leads_to_are_refused),
		cmocka_unit_test(more_spells_than_may_be_are_not_read),
		cmocka_unit_test(whatever_the_bytes_are),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
