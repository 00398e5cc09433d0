/* What a store that is open makes of pages that are damaged: no value is handed out that its page does not hold, no
 * entry is removed or replaced at the cost of others, the size of an entry is put right, a damaged page is refused
 * before LMDB comes upon it; and where LMDB ends the process, the log says what to do. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/base/clean.h"
#include "server/store/keys.h"
#include "server/store/pages.h"
#include "server/store/record_bytes.h"
#include "server/store/records.h"
#include "server/store/store.h"
#include "tests/harness/damage.h"
#include "tests/harness/tempdir.h"

#define ENTRIES	    3
#define SIZE_BITS   32
#define MENDED_BITS 28 /* with one of the others a size is larger than what is put right */
#define LARGE	    20000

static struct tempdir dir;
static struct store *store;
static int notices;

static void notice_cb(void *user, const char *line)
{
	(void)user;
	assert_non_null(strstr(line, "is put right"));
	notices++;
}

static void open_store(void)
{
	struct store_options options = { .dir = dir.path, .max_bytes = 1 << 26, .notice = notice_cb };
	struct error_info info = { 0 };

	assert_int_equal(store_open(&options, &store, &info), 0);
}

static void close_store(void)
{
	store_close(store);
	store = NULL;
}

static int setup(void **state)
{
	(void)state;
	tempdir_make(&dir);
	open_store();
	notices = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	close_store();
	tempdir_remove(&dir);
	return 0;
}

static struct store_txn *begin(void)
{
	struct store_txn *t;

	assert_int_equal(store_begin_write(store, &t), 0);
	return t;
}

/* No key of a table is a part of another's. */
static struct key key_of(enum store_table table, uint8_t i)
{
	struct uuid id = { { 0x77, 0x11, 0x99, (uint8_t)table, i, 0x42 } };

	return table == TABLE_READY ? key_ready(0, 0, i, &id) : table == TABLE_DUE ? key_due(1, &id) : key_job(&id);
}

/* One that the table may hold. */
static struct slice value_of(enum store_table table, size_t record_bytes)
{
	static const uint8_t bytes[LARGE] = { 1, 2, 3 };
	static struct buf record;

	if (table == TABLE_READY)
		return slice_of(NULL, 0);
	if (table == TABLE_DUE)
		return slice_of(bytes, DUE_VALUE_SIZE);
	if (table == TABLE_BLOBS || table == TABLE_IDEMPOTENCY)
		return slice_of(bytes, 16);
	if (table == TABLE_NAMES)
		return slice_of(bytes, 4);
	buf_done(&record);
	buf_init(&record, LARGE + 100);
	begin_record(&record);
	buf_append(&record, bytes, record_bytes);
	assert_int_equal(end_record(&record, 0), 0);
	return buf_slice(&record);
}

/* A record of the first one fills half of the page, behind the others. */
static void fill(enum store_table table, size_t record_bytes)
{
	struct store_txn *t = begin();

	for (uint8_t i = 0; i < ENTRIES; i++) {
		struct key key = key_of(table, i);

		assert_int_equal(store_put(t, table, key_slice(&key), value_of(table, i > 0 ? record_bytes : 1900)), 0);
	}
	assert_int_equal(store_commit(t), 0);
}

/* Flips bits of the head of the middle one, in the file. */
static void damage(enum store_table table, size_t byte, uint8_t bits)
{
	struct key key = key_of(table, 1);

	close_store();
	damage_nodes(&dir, key.bytes, key.size, byte, bits);
	open_store();
}

static void repair(enum store_table table, size_t byte, uint8_t bits)
{
	damage(table, byte, bits);
}

static int delete_one(struct store_txn *t, enum store_table table, uint8_t i)
{
	struct key key = key_of(table, i);

	return store_delete(t, table, key_slice(&key));
}

static int replace_one(struct store_txn *t, enum store_table table, uint8_t i)
{
	struct key key = key_of(table, i);

	return store_put(t, table, key_slice(&key), value_of(table, 40));
}

/* The number of entries, each with its value if it has one. */
static int count(struct store_txn *t, enum store_table table)
{
	struct slice key, value;
	int n = 0, rc;

	for (rc = store_seek(t, table, slice_of(NULL, 0), &key, &value); rc == 0;
	     rc = store_next(t, table, &key, &value)) {
		assert_true(value.size == 0 || ((const uint8_t *)value.data)[value.size - 1] < 255);
		n++;
	}
	assert_int_equal(rc, ERR_NOT_FOUND);
	return n;
}

static void report_cb(void *user, const char *line)
{
	(void)user;
	print_message("# %s\n", line);
}

static void expect_sound(void)
{
	const struct pages_options options = { .report = report_cb };
	struct pages_result found;

	assert_int_equal(pages_check(store, &options, &found), 0);
	assert_int_equal(found.breaches, 0);
}

/* ---- index entries ---- */

/* The damaged one is changed first of its page, or after a sound one, when the page is in the transaction's memory. */
static void mend_index(enum store_table table, int (*change)(struct store_txn *, enum store_table, uint8_t), int bit,
		       bool after_another)
{
	struct store_txn *t;

	damage(table, (size_t)bit / 8, (uint8_t)(1 << bit % 8));
	t = begin();
	if (after_another)
		assert_int_equal(change(t, table, 0), 0);
	assert_int_equal(change(t, table, 1), 0);
	assert_int_equal(change(t, table, 2), 0);
	assert_int_equal(count(t, table), change == delete_one ? after_another ? 0 : 1 : ENTRIES);
	assert_int_equal(store_commit(t), 0);
	expect_sound();
	fill(table, 0);
}

static void expect_damage(int rc)
{
	assert_int_equal(rc, ERR_STORE_ERROR);
	assert_true(store_error_is_damage());
}

/* Nothing on the page can be changed, for LMDB might move the entry about. */
static void expect_refused(enum store_table table)
{
	for (uint8_t i = 0; i < ENTRIES; i++) {
		struct store_txn *t = begin();

		expect_damage(delete_one(t, table, i));
		expect_damage(replace_one(t, table, i));
		store_abort(t);
	}
}

static void refuse_index(enum store_table table, int bit)
{
	damage(table, (size_t)bit / 8, (uint8_t)(1 << bit % 8));
	expect_refused(table);
	repair(table, (size_t)bit / 8, (uint8_t)(1 << bit % 8));
}

static void the_size_of_an_index_entry_is_put_right(void **state)
{
	static const enum store_table indexes[] = { TABLE_READY, TABLE_DUE, TABLE_BLOBS, TABLE_IDEMPOTENCY,
						    TABLE_NAMES };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(indexes); i++) {
		fill(indexes[i], 0);
		for (int bit = 0; bit < MENDED_BITS; bit++) {
			notices = 0;
			mend_index(indexes[i], delete_one, bit, false);
			mend_index(indexes[i], delete_one, bit, true);
			/* The lowest bit changes nothing of the room that it takes. */
			assert_int_equal(notices, bit == 0 && indexes[i] != TABLE_READY ? 2 : bit == 0 ? 0 : 2);
			mend_index(indexes[i], replace_one, bit, false);
			mend_index(indexes[i], replace_one, bit, true);
		}
		for (int bit = MENDED_BITS; bit < SIZE_BITS; bit++)
			refuse_index(indexes[i], bit);
	}
}

/* ---- records ---- */

static void expect_unreadable(enum store_table table)
{
	struct key key = key_of(table, 1);
	struct slice value;
	struct store_txn *t;
	int rc;

	assert_int_equal(store_begin_read(store, &t), 0);
	assert_int_equal(count(t, table), ENTRIES);
	rc = store_get(t, table, key_slice(&key), &value);
	if (rc == 0)
		rc = record_is_whole(value) ? 0 : ERR_CORRUPT;
	assert_int_equal(rc, ERR_CORRUPT);
	store_abort(t);
}

/* A reader does not get it, for it changes nothing; with the first change of its page it is put right: its checksum
 * tells the true size. */
static void mend_record(size_t bit, bool after_another)
{
	struct key key = key_of(TABLE_CHECKPOINTS, 1);
	struct slice value;
	struct store_txn *t;

	damage(TABLE_CHECKPOINTS, bit / 8, (uint8_t)(1 << bit % 8));
	expect_unreadable(TABLE_CHECKPOINTS);
	t = begin();
	if (after_another)
		assert_int_equal(delete_one(t, TABLE_CHECKPOINTS, 0), 0);
	assert_int_equal(store_get(t, TABLE_CHECKPOINTS, key_slice(&key), &value), 0);
	assert_true(record_is_whole(value));
	assert_int_equal(value.size, value_of(TABLE_CHECKPOINTS, 60).size);
	assert_int_equal(delete_one(t, TABLE_CHECKPOINTS, 2), 0);
	assert_int_equal(store_commit(t), 0);
	assert_int_equal(notices, 1);
	notices = 0;
	expect_sound();
	fill(TABLE_CHECKPOINTS, 60);
}

static void a_record_of_a_damaged_size_is_put_right(void **state)
{
	(void)state;
	fill(TABLE_CHECKPOINTS, 60);
	/* The lowest bit changes nothing of the room that it takes. */
	for (size_t bit = 1; bit < MENDED_BITS; bit++) {
		mend_record(bit, false);
		mend_record(bit, true);
	}
	for (int bit = MENDED_BITS; bit < SIZE_BITS; bit++)
		refuse_index(TABLE_CHECKPOINTS, bit);
}

/* On a page of the transaction's own LMDB moves the entry's key to make room. */
static void a_value_of_another_size_leaves_all_keys(void **state)
{
	struct store_txn *t;

	(void)state;
	fill(TABLE_CHECKPOINTS, 60);
	t = begin();
	for (uint8_t i = 0; i < 2 * ENTRIES; i++) {
		struct key key = key_of(TABLE_CHECKPOINTS, i % ENTRIES);

		assert_int_equal(store_put(t, TABLE_CHECKPOINTS, key_slice(&key),
					   value_of(TABLE_CHECKPOINTS, 50 + 10 * (size_t)i)),
				 0);
	}
	for (uint8_t i = 0; i < ENTRIES; i++) {
		struct key key = key_of(TABLE_CHECKPOINTS, i);
		struct slice value;

		assert_int_equal(store_get(t, TABLE_CHECKPOINTS, key_slice(&key), &value), 0);
		assert_true(record_is_whole(value));
		assert_int_equal(value.size, CHECKSUM_SIZE + 50 + 10 * (ENTRIES + i));
	}
	assert_int_equal(count(t, TABLE_CHECKPOINTS), ENTRIES);
	assert_int_equal(store_commit(t), 0);
	expect_sound();
}

/* Damage of the value alone is no reason not to remove it. */
static void a_record_whose_value_is_damaged_can_go(void **state)
{
	struct key key = key_of(TABLE_CHECKPOINTS, 1);
	struct store_txn *t;

	(void)state;
	fill(TABLE_CHECKPOINTS, 60);
	/* Behind the key: the record's checksum. */
	damage(TABLE_CHECKPOINTS, 8 + key.size, 1);
	expect_unreadable(TABLE_CHECKPOINTS);
	for (int after = 0; after < 2; after++) {
		t = begin();
		if (after)
			assert_int_equal(delete_one(t, TABLE_CHECKPOINTS, 0), 0);
		assert_int_equal(delete_one(t, TABLE_CHECKPOINTS, 1), 0);
		store_abort(t);
	}
	t = begin();
	assert_int_equal(replace_one(t, TABLE_CHECKPOINTS, 1), 0);
	assert_int_equal(store_commit(t), 0);
	expect_sound();
}

/* Which is on pages of its own. */
static void a_large_value_is_not_read_behind_its_end(void **state)
{
	(void)state;
	fill(TABLE_CHECKPOINTS, LARGE - 100);
	for (int bit = 0; bit < SIZE_BITS; bit++) {
		damage(TABLE_CHECKPOINTS, (size_t)bit / 8, (uint8_t)(1 << bit % 8));
		expect_unreadable(TABLE_CHECKPOINTS);
		repair(TABLE_CHECKPOINTS, (size_t)bit / 8, (uint8_t)(1 << bit % 8));
	}
}

/* Removes each entry that it finds, whatever its key became. What a key may be read too far is other entries. */
static void remove_all(enum store_table table)
{
	struct store_txn *t = begin();
	struct slice key, value;
	int rc;

	rc = store_seek(t, table, slice_of(NULL, 0), &key, &value);
	while (rc == 0) {
		struct key copy = key_copy(key);

		rc = store_delete(t, table, key_slice(&copy));
		if (rc == 0)
			rc = store_seek(t, table, slice_of(NULL, 0), &key, &value);
	}
	/* One that is out of order may be missed by whoever looks for it. */
	assert_true(rc == ERR_NOT_FOUND || (rc == ERR_STORE_ERROR && store_error_is_damage()));
	store_abort(t);
}

static void remove_all_with(enum store_table table, uint8_t others)
{
	struct store_txn *t = begin();

	for (uint8_t i = 0; i < others; i++)
		assert_int_equal(replace_one(t, table, (uint8_t)(100 + i)), 0);
	assert_int_equal(store_commit(t), 0);
	fill(table, 0);
	for (int bit = 0; bit < 9; bit++) {
		damage(table, 6 + (size_t)bit / 8, (uint8_t)(1 << bit % 8));
		remove_all(table);
		repair(table, 6 + (size_t)bit / 8, (uint8_t)(1 << bit % 8));
	}
}

/* A search may miss such a key, and find it when there are fewer entries about it. */
static void a_key_of_a_damaged_size_harms_no_other(void **state)
{
	for (uint8_t others = 10; others < 30; others++) {
		remove_all_with(TABLE_READY, others);
		remove_all_with(TABLE_DUE, others);
		teardown(state);
		setup(state);
	}
}

/* ---- the disk ---- */

static int fail_read = -1; /* the n-th from now on, counted from 0; −1: none */

/* In the place of the system's, for LMDB too. */
ssize_t pread(int fd, void *data, size_t size, off_t offset)
{
	if (fail_read >= 0 && fail_read-- == 0) {
		errno = EIO;
		return -1;
	}
	return syscall(SYS_pread64, fd, data, size, offset);
}

static void what_the_disk_cannot_read_is_not_called_damaged(void **state)
{
	const struct store_options options = { .dir = dir.path, .max_bytes = 1 << 26 };
	struct error_info info;
	int failed = 0, rc = -1;

	(void)state;
	close_store();
	for (int n = 0; rc != 0; n++) {
		memset(&info, 0, sizeof(info));
		fail_read = n;
		rc = store_open(&options, &store, &info);
		if (fail_read >= 0)
			break;
		failed++;
		assert_int_equal(rc, ERR_STORE_ERROR);
		assert_false(store_error_is_damage());
		assert_non_null(strstr(info.message, strerror(EIO)));
	}
	fail_read = -1;
	assert_true(failed > 1);
	assert_int_equal(rc, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(the_size_of_an_index_entry_is_put_right),	    T(a_record_of_a_damaged_size_is_put_right),
		T(a_value_of_another_size_leaves_all_keys),	    T(a_record_whose_value_is_damaged_can_go),
		T(a_large_value_is_not_read_behind_its_end),	    T(a_key_of_a_damaged_size_harms_no_other),
		T(what_the_disk_cannot_read_is_not_called_damaged),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
