/* Records that hold their key: read under it they say what was written, under another they are damaged, and it is told
 * which key is theirs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/error.h"
#include "server/store/keys.h"
#include "server/store/limit_record.h"
#include "server/store/own_key.h"
#include "server/store/records.h"

#define RECORD_MAX 4096

static const struct uuid job = { { 1, 2, 3 } };

/* Each writes and reads what the other one does. */

static int write_artifact(struct buf *out, struct slice key)
{
	const struct artifact a = { .content_type = slice_str("a/b"), .size = 4, .data = slice_str("data") };

	return record_write_artifact(out, key, &a);
}

static int read_artifact(struct slice key, struct slice bytes)
{
	struct artifact a;
	int rc = record_read_artifact(key, bytes, &a);

	assert_true(rc < 0 || (slice_is(a.content_type, "a/b") && slice_is(a.data, "data")));
	return rc;
}

static int write_checkpoint(struct buf *out, struct slice key)
{
	return record_write_checkpoint(out, key, slice_str("provider-id"));
}

static int read_checkpoint(struct slice key, struct slice bytes)
{
	struct slice data;
	int rc = record_read_checkpoint(key, bytes, &data);

	assert_true(rc < 0 || slice_is(data, "provider-id"));
	return rc;
}

static int write_finish(struct buf *out, struct slice key)
{
	return record_write_finish(out, key, UINT64_MAX);
}

static int read_finish(struct slice key, struct slice bytes)
{
	uint64_t finish;
	int rc = record_read_finish(key, bytes, &finish);

	assert_true(rc < 0 || finish == UINT64_MAX);
	return rc;
}

static int write_weight(struct buf *out, struct slice key)
{
	return record_write_weight(out, key, 1000);
}

static int read_weight(struct slice key, struct slice bytes)
{
	uint32_t weight;
	int rc = record_read_weight(key, bytes, &weight);

	assert_true(rc < 0 || weight == 1000);
	return rc;
}

static const struct kind {
	enum store_table table;
	int (*write)(struct buf *out, struct slice key);
	int (*read)(struct slice key, struct slice bytes);
} kinds[] = {
	{ TABLE_ARTIFACTS, write_artifact, read_artifact },
	{ TABLE_CHECKPOINTS, write_checkpoint, read_checkpoint },
	{ TABLE_GROUPS, write_finish, read_finish },
	{ TABLE_WEIGHTS, write_weight, read_weight },
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static struct key key_of(enum store_table table)
{
	if (table == TABLE_ARTIFACTS)
		return key_artifact(&job, slice_str("result"));
	if (table == TABLE_CHECKPOINTS)
		return key_job(&job);
	return key_group(7, table == TABLE_WEIGHTS ? 0 : 5, slice_str("ada"));
}

static void expect_own(enum store_table table, struct slice key, struct slice bytes, struct slice own)
{
	struct slice found;

	assert_true(own_key_differs(table, key, bytes, &found));
	assert_true(slice_equal(found, own));
}

/* Flips each bit of the key that it is read under; what it says itself is the same. */
static void under_another_key_it_is_damaged(void **state)
{
	struct slice none;
	struct buf record;

	(void)state;
	buf_init(&record, RECORD_MAX);
	for (size_t i = 0; i < KINDS; i++) {
		const struct kind *k = &kinds[i];
		struct key key = key_of(k->table), longer = key_above(key_slice(&key));

		buf_reset(&record);
		assert_int_equal(k->write(&record, key_slice(&key)), 0);
		assert_int_equal(k->read(key_slice(&key), buf_slice(&record)), 0);
		assert_false(own_key_differs(k->table, key_slice(&key), buf_slice(&record), &none));
		for (size_t bit = 0; bit < 8 * key.size; bit++) {
			struct key other = key;

			other.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
			assert_int_equal(k->read(key_slice(&other), buf_slice(&record)), ERR_CORRUPT);
			expect_own(k->table, key_slice(&other), buf_slice(&record), key_slice(&key));
		}
		assert_int_equal(k->read(key_slice(&longer), buf_slice(&record)), ERR_CORRUPT);
		expect_own(k->table, key_slice(&longer), buf_slice(&record), key_slice(&key));
	}
	buf_done(&record);
}

/* Nothing is believed of it then, nor which key is its own. */
static void every_flipped_bit_of_the_record_is_found(void **state)
{
	struct buf record;

	(void)state;
	buf_init(&record, RECORD_MAX);
	for (size_t i = 0; i < KINDS; i++) {
		const struct kind *k = &kinds[i];
		struct key key = key_of(k->table), other = key_above(key_slice(&key));
		struct slice none;

		buf_reset(&record);
		assert_int_equal(k->write(&record, key_slice(&key)), 0);
		for (size_t bit = 0; bit < 8 * record.size; bit++) {
			record.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
			assert_int_equal(k->read(key_slice(&key), buf_slice(&record)), ERR_CORRUPT);
			assert_false(own_key_differs(k->table, key_slice(&other), buf_slice(&record), &none));
			record.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		for (size_t size = 0; size < record.size; size++)
			assert_int_equal(k->read(key_slice(&key), slice_of(record.data, size)), ERR_CORRUPT);
	}
	buf_done(&record);
}

static void a_limits_name_is_its_key(void **state)
{
	struct limit_record limit = { .name = slice_str("render") };
	struct slice none;
	struct buf record;

	(void)state;
	limit.settings.caps = (struct limit_caps){ .concurrency = 1, .rate = -1, .burst = -1 };
	buf_init(&record, RECORD_MAX);
	assert_int_equal(record_write_limit(&record, &limit), 0);
	assert_int_equal(record_read_limit(buf_slice(&record), &limit), 0);
	assert_false(own_key_differs(TABLE_LIMITS, slice_str("render"), buf_slice(&record), &none));
	expect_own(TABLE_LIMITS, slice_str("sender"), buf_slice(&record), slice_str("render"));
	buf_done(&record);
}

/* A record of another table may begin with the same bytes, and means something else by them. */
static void other_tables_hold_no_key(void **state)
{
	struct key key = key_job(&job);
	struct slice none;
	struct buf record;

	(void)state;
	buf_init(&record, RECORD_MAX);
	assert_int_equal(write_checkpoint(&record, slice_str("another key")), 0);
	assert_false(own_key_differs(TABLE_JOBS, key_slice(&key), buf_slice(&record), &none));
	assert_false(own_key_differs(TABLE_BLOBS, key_slice(&key), buf_slice(&record), &none));
	buf_done(&record);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(under_another_key_it_is_damaged),
		cmocka_unit_test(every_flipped_bit_of_the_record_is_found),
		cmocka_unit_test(a_limits_name_is_its_key),
		cmocka_unit_test(other_tables_hold_no_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
