/* Backups of a store that is not whole: what is one job's own damage goes along and is told, what is more is refused
 * and named. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/base/clean.h"
#include "server/broker_secret.h"
#include "server/store/blob.h"
#include "server/store/copy.h"
#include "server/store/layout.h"
#include "server/store/pages_format.h"
#include "server/upkeep/backup.h"
#include "server/upkeep/check.h"
#include "tests/harness/damage.h"
#include "tests/harness/good_store.h"

static struct rig copy_rig; /* on a copy */
static struct error_info why;
static struct backup_result result;
static char damage[4096]; /* told by the last, line by line */

static void damage_cb(void *user, const char *line)
{
	size_t size = strlen(damage);

	(void)user;
	snprintf(damage + size, sizeof(damage) - size, "%s\n", line);
}

static int backup(const char *path)
{
	const struct backup_options options = {
		.store = good.rig.store, .blobs = good.rig.blobs, .path = path, .damage = damage_cb
	};

	damage[0] = '\0';
	memset(&why, 0, sizeof(why));
	return backup_run(&options, &result, &why);
}

static bool is_set_aside(const struct uuid *id)
{
	struct key key = key_job(id);
	struct store_txn *t;
	struct slice value;
	int rc;

	assert_int_equal(store_begin_read(good.rig.store, &t), 0);
	rc = store_get(t, TABLE_SET_ASIDE, key_slice(&key), &value);
	store_abort(t);
	return rc == 0;
}

static void drop(enum store_table table, struct key key)
{
	struct store_txn *t;

	assert_int_equal(store_begin_write(good.rig.store, &t), 0);
	assert_int_equal(store_delete(t, table, key_slice(&key)), 0);
	assert_int_equal(store_commit(t), 0);
}

static struct job load(const struct uuid *id)
{
	struct key key = key_job(id);
	struct store_txn *t;
	struct slice value;
	struct job job;

	assert_int_equal(store_begin_read(good.rig.store, &t), 0);
	assert_int_equal(store_get(t, TABLE_JOBS, key_slice(&key), &value), 0);
	assert_int_equal(record_read_job(value, &job), 0);
	store_abort(t);
	return job;
}

static void what_is_not_whole_is_no_backup(void **state)
{
	struct job job = load(&good.ready);

	(void)state;
	drop(TABLE_READY, key_ready(job.queue, job.priority, job.tag, &good.ready));
	/* Damage of one job beside it changes nothing. */
	good_flip(TABLE_INPUTS, key_job(&good.running));
	assert_int_equal(backup(good_target()), ERR_CORRUPT);
	assert_non_null(strstr(why.message, "1 breaches"));
	assert_non_null(strstr(why.message, ": is ready but not in the line of its queue"));
	assert_non_null(strstr(why.message, "raincheckd --compact"));
	assert_string_equal(damage, "");
	assert_int_equal(good_entries_of(good.dir.path), 0);
}

/* What the check finds in the copy, which nobody serves. */
static struct check_result look_at_copy(void)
{
	const struct store_options options = { .dir = good_target(), .max_bytes = 1 << 28, .read_only = true };
	struct check_options check = { .report = NULL };
	struct check_result found;
	struct error_info info;

	assert_int_equal(store_open(&options, &check.store, &info), 0);
	assert_int_equal(blob_store_look(good_target(), &check.blobs, &info), 0);
	assert_int_equal(check_store(&check, &found), 0);
	blob_store_close(check.blobs);
	store_close(check.store);
	return found;
}

static void damage_of_single_jobs_is_told_and_goes_along(void **state)
{
	struct check_result found;

	(void)state;
	good_flip(TABLE_INPUTS, key_job(&good.running));
	good_flip(TABLE_ARTIFACTS, key_artifact(&good.succeeded, slice_str("preview")));
	assert_int_equal(blob_remove(good.rig.blobs, &good.blob), 0);
	assert_int_equal(backup(good_target()), 0);
	assert_int_equal(result.damaged, 3);
	assert_int_equal(result.set_aside, 0);
	assert_non_null(strstr(damage, ": its input is damaged\n"));
	assert_non_null(strstr(damage, "artifact preview of job "));
	assert_non_null(strstr(damage, ": its file is missing\n"));
	found = look_at_copy();
	assert_int_equal(found.breaches, 3);
	assert_int_equal(found.damaged, 3);
	good_open_copy(&copy_rig, good_target());
	assert_int_equal(rig_job(&copy_rig, &good.ready)->state, JOB_READY);
	rig_close(&copy_rig);
}

/* Whether it is the file or the records that are wrong, and what to do, is said where the broker does not start. */
static void a_start_with_another_secret_says_what_to_do(void **state)
{
	uint8_t secret[LINK_SECRET_BYTES];
	struct error_info info = { 0 };
	char key[256];
	int fd;

	(void)state;
	good_flip(TABLE_META, key_word(META_LINK_SECRET));
	assert_int_equal(broker_secret_load(good.rig.store, secret, &info), ERR_CORRUPT);
	assert_non_null(
		strstr(info.message, "flipped in the records: look with raincheckd --check, mend with --compact"));
	good_flip(TABLE_META, key_word(META_LINK_SECRET));
	assert_int_equal(broker_secret_load(good.rig.store, secret, &info), 0);
	snprintf(key, sizeof(key), "%s", tempdir_file(&good.rig.dir, LAYOUT_LINK_KEY));
	fd = open(key, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "xyz", 3), 3);
	close(fd);
	assert_int_equal(broker_secret_load(good.rig.store, secret, &info), ERR_CONFIG);
	assert_non_null(strstr(info.message, "put the right one back; if it is the right one the records are damaged"));
	assert_non_null(strstr(info.message, "raincheckd --check"));
}

/* A folder that is gone is no damage of single jobs. */
static void without_the_folder_of_the_files_there_is_no_backup(void **state)
{
	char folder[300], aside[300];

	(void)state;
	snprintf(folder, sizeof(folder), "%s/blobs/%02x", good.rig.dir.path, good.blob.bytes[15]);
	snprintf(aside, sizeof(aside), "%s/aside", good.rig.dir.path);
	assert_int_equal(rename(folder, aside), 0);
	assert_int_equal(backup(good_target()), ERR_IO);
	assert_non_null(strstr(why.message, "/blobs/b1: No such file or directory; put the files"));
	assert_int_equal(good_entries_of(good.dir.path), 0);
	assert_int_equal(rename(aside, folder), 0);
	assert_int_equal(backup(good_target()), 0);
}

static void nor_where_not_one_file_is_there(void **state)
{
	(void)state;
	good.rig.unchecked = true;
	for (uint8_t i = 0; i < 8; i++) {
		struct command_attach attach = { .id = good.ready, .name = slice_of(&"abcdefgh"[i], 1) };
		struct uuid blob = { .bytes = { 0xc1, i } };

		good_stage(&blob, "a file", 6, &attach.staged);
		rig_run(&good.rig, COMMAND_ATTACH, &attach);
		assert_int_equal(good.rig.code, 0);
		assert_int_equal(blob_remove(good.rig.blobs, &blob), 0);
	}
	if (backup(good_target()) != 0)
		fail_msg("%s", why.message);
	assert_int_equal(result.damaged, 8);
	assert_int_equal(blob_remove(good.rig.blobs, &good.blob), 0);
	damage[0] = '\0';
	assert_int_equal(backup(tempdir_file(&good.dir, "other")), ERR_IO);
	assert_non_null(strstr(why.message, "none of the 9 files of artifacts is in "));
}

/* Nobody has come upon it: the indexes and the counts still know of it. */
static void a_damaged_record_is_set_aside_in_the_copy(void **state)
{
	struct check_result found;

	(void)state;
	good_flip(TABLE_JOBS, key_job(&good.running));
	assert_int_equal(backup(good_target()), 0);
	assert_int_equal(result.damaged, 1);
	assert_int_equal(result.set_aside, 1);
	assert_int_equal(result.jobs, 3);
	assert_non_null(strstr(damage, uuid_format(&good.running).text));
	found = look_at_copy();
	assert_int_equal(found.breaches, 0);
	assert_int_equal(found.set_aside, 1);
	/* Here nothing was changed. */
	assert_false(is_set_aside(&good.running));
	good_open_copy(&copy_rig, good_target());
	assert_int_equal(rig_job(&copy_rig, &good.ready)->state, JOB_READY);
	rig_erase(&copy_rig, &good.running);
	assert_int_equal(copy_rig.code, 0);
	rig_check(&copy_rig);
	rig_close(&copy_rig);
}

static void a_key_out_of_order_is_named(void **state)
{
	struct job job = load(&good.running);
	struct key key = key_due(job.due_at_ms, &good.running);
	struct good_spot spot = good_spot(TABLE_DUE, key);
	const struct store_options options = { .dir = good.rig.dir.path, .max_bytes = 1 << 28, .read_only = true };
	struct backup_options wanted = { .path = good_target() };
	struct error_info info;

	(void)state;
	rig_pause(&good.rig);
	good_flip_key(&spot, 7);
	assert_int_equal(store_open(&options, &wanted.store, &info), 0);
	assert_int_equal(blob_store_look(good.rig.dir.path, &wanted.blobs, &info), 0);
	assert_int_equal(backup_run(&wanted, &result, &why), ERR_CORRUPT);
	assert_non_null(strstr(why.message, "cannot copy the records: the due index, key 80"));
	assert_non_null(strstr(why.message, ": stands out of order"));
	blob_store_close(wanted.blobs);
	store_close(wanted.store);
	good_restore_file();
	rig_resume(&good.rig);
}

/* A queue of which nobody is set aside, counted wrong. */
static void miscount_another_queue(void)
{
	struct queue_record q = {
		.name = slice_str("other"), .max_jobs = -1, .max_bytes = -1, .bytes = 7, .weight = 1
	};
	struct key key = key_queue(1), name = key_name(q.name);
	struct store_txn *t;
	struct buf record;

	buf_init(&record, 4096);
	assert_int_equal(record_write_queue(&record, &q), 0);
	assert_int_equal(store_begin_write(good.rig.store, &t), 0);
	assert_int_equal(store_put(t, TABLE_QUEUES, key_slice(&key), buf_slice(&record)), 0);
	assert_int_equal(store_put(t, TABLE_NAMES, key_slice(&name), key_slice(&key)), 0);
	assert_int_equal(store_commit(t), 0);
	buf_done(&record);
}

static void beside_a_damaged_record_nothing_is_mended(void **state)
{
	(void)state;
	good_flip(TABLE_JOBS, key_job(&good.running));
	miscount_another_queue();
	assert_int_equal(backup(good_target()), ERR_CORRUPT);
	assert_non_null(strstr(why.message, "queue other: counts 7 bytes of unfinished jobs, has 0"));
	drop(TABLE_QUEUES, key_queue(1));
	drop(TABLE_NAMES, key_name(slice_str("other")));
	drop(TABLE_NAMES, key_name(slice_str("q")));
	assert_int_equal(backup(good_target()), ERR_CORRUPT);
	assert_non_null(strstr(why.message, "queue q: its name is not listed"));
	assert_int_equal(good_entries_of(good.dir.path), 0);
}

/* It is not known whose it is taken for: as where any other key has flipped. */
static void a_record_under_anothers_key_is_refused(void **state)
{
	(void)state;
	damage_move_row(good.rig.store, TABLE_ARTIFACTS, key_artifact(&good.succeeded, slice_str("preview")),
			key_artifact(&good.succeeded, slice_str("qreview")));
	assert_int_equal(backup(good_target()), ERR_CORRUPT);
	assert_non_null(strstr(why.message, "artifact preview of job "));
	assert_non_null(strstr(why.message, ": stands under the key of artifact qreview of job "));
	assert_int_equal(good_entries_of(good.dir.path), 0);
	good.rig.unchecked = true;
}

/* ---- pages ---- */

#define PAGE_BYTES 4096
#define LOWER_BITS 16

/* Of that many jobs, as their rows stand on one page. */
static void put_checkpoints(void)
{
	const struct uuid ids[] = { good.ready, good.running, good.succeeded };
	struct store_txn *t;
	struct buf record;

	buf_init(&record, 100);
	assert_int_equal(store_begin_write(good.rig.store, &t), 0);
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		struct key key = key_job(&ids[i]);

		buf_reset(&record);
		assert_int_equal(record_write_checkpoint(&record, key_slice(&key), slice_str("checkpoint")), 0);
		assert_int_equal(store_put(t, TABLE_CHECKPOINTS, key_slice(&key), buf_slice(&record)), 0);
	}
	assert_int_equal(store_commit(t), 0);
	buf_done(&record);
}

/* Flips a bit of the length of the list of nodes of every page that ever held the entry. */
static void flip_lower(const struct good_spot *spot, int bit)
{
	const size_t at = offsetof(struct page_head, lower) + (size_t)bit / 8;
	FILE *file = fopen(tempdir_file(&good.rig.dir, "raincheck.mdb"), "r+");
	uint8_t page[PAGE_BYTES];
	int found = 0;

	assert_non_null(file);
	for (long i = 0; fread(page, sizeof(page), 1, file) == 1; i++) {
		if (!memmem(page, sizeof(page), spot->needle, spot->size))
			continue;
		page[at] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(fseek(file, i * PAGE_BYTES, SEEK_SET), 0);
		assert_int_equal(fwrite(page, sizeof(page), 1, file), 1);
		found++;
	}
	assert_true(found > 0);
	assert_int_equal(fclose(file), 0);
}

static struct store *look_at_damaged(void)
{
	const struct store_options options = { .dir = good.rig.dir.path, .max_bytes = 1 << 28, .read_only = true };
	struct error_info info = { 0 };
	struct store *s;

	assert_int_equal(store_open(&options, &s, &info), 0);
	return s;
}

/* To walk them may end the process. */
static void damaged_pages_are_told_before_they_are_walked(void **state)
{
	struct good_spot spot;

	(void)state;
	put_checkpoints();
	spot = good_spot(TABLE_CHECKPOINTS, key_job(&good.running));
	rig_pause(&good.rig);
	good_save_file();
	for (int bit = 0; bit < LOWER_BITS; bit++) {
		struct backup_options wanted = { .path = good_target() };
		struct error_info info;

		flip_lower(&spot, bit);
		wanted.store = look_at_damaged();
		assert_int_equal(blob_store_look(good.rig.dir.path, &wanted.blobs, &info), 0);
		assert_int_equal(backup_run(&wanted, &result, &why), ERR_CORRUPT);
		assert_non_null(strstr(why.message, "the records file has damaged pages"));
		assert_non_null(strstr(why.message, "restore the last backup"));
		assert_non_null(strstr(why.message, "the first: table checkpoints, page "));
		assert_int_equal(good_entries_of(good.dir.path), 0);
		blob_store_close(wanted.blobs);
		store_close(wanted.store);
		good_restore_file();
	}
	rig_resume(&good.rig);
}

static void expect_no_copy(const char *where)
{
	const struct store_options to = { .dir = good_target(), .max_bytes = 1 << 28 };
	const struct copy_options options = { .canceled = NULL };
	struct error_info info = { 0 };
	struct store *damaged = look_at_damaged(), *copy;
	struct copy_result copied;
	struct store_txn *t;

	assert_int_equal(store_open(&to, &copy, &info), 0);
	assert_int_equal(store_begin_read(damaged, &t), 0);
	assert_int_equal(store_copy(t, copy, &options, &copied), ERR_CORRUPT);
	assert_string_equal(copied.where, where);
	store_abort(t);
	store_close(copy);
	store_close(damaged);
	good_restore_file();
	rig_resume(&good.rig);
}

/* Without the proof of all pages before: the one that is read is proved. */
static void a_page_that_hides_rows_is_refused(void **state)
{
	struct good_spot spot;

	(void)state;
	put_checkpoints();
	spot = good_spot(TABLE_CHECKPOINTS, key_job(&good.running));
	rig_pause(&good.rig);
	good_save_file();
	flip_lower(&spot, 1);
	expect_no_copy("checkpoints: its pages are damaged");
}

#define ENTRIES_AT (8 + 11 + 32) /* in the node of the table's record, of that name: how many it counts */

static void a_row_that_is_not_found_is_missed(void **state)
{
	(void)state;
	put_checkpoints();
	rig_pause(&good.rig);
	good_save_file();
	damage_nodes(&good.rig.dir, "checkpoints", 11, ENTRIES_AT, 1);
	expect_no_copy("checkpoints: 3 rows are found, 2 are counted");
}

/* LMDB says of a broken transaction that it is broken; what broke it is what helps. */
static void what_broke_a_transaction_is_told(void **state)
{
	const struct store_options options = { .dir = good_target(), .max_bytes = 1 << 20 };
	struct key key = key_word("big");
	struct store_txn *t;
	struct error_info info;
	struct store *s;
	void *room;

	(void)state;
	assert_int_equal(store_open(&options, &s, &info), 0);
	assert_int_equal(store_begin_write(s, &t), 0);
	assert_int_equal(store_reserve(t, TABLE_INPUTS, key_slice(&key), 2 << 20, &room), ERR_STORE_FULL);
	assert_true(store_put(t, TABLE_INPUTS, key_slice(&key), slice_str("x")) < 0);
	assert_non_null(strstr(store_error_detail(), "MDB_MAP_FULL"));
	store_abort(t);
	store_close(s);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, good_setup, good_teardown)
	const struct CMUnitTest tests[] = {
		T(what_is_not_whole_is_no_backup),
		T(damage_of_single_jobs_is_told_and_goes_along),
		T(a_start_with_another_secret_says_what_to_do),
		T(without_the_folder_of_the_files_there_is_no_backup),
		T(nor_where_not_one_file_is_there),
		T(a_damaged_record_is_set_aside_in_the_copy),
		T(beside_a_damaged_record_nothing_is_mended),
		T(a_key_out_of_order_is_named),
		T(a_record_under_anothers_key_is_refused),
		T(damaged_pages_are_told_before_they_are_walked),
		T(a_row_that_is_not_found_is_missed),
		T(a_page_that_hides_rows_is_refused),
		T(what_broke_a_transaction_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
