/* The seam to the disk: what is committed is read again, by one process at a time, and blobs beside it. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/store/blob.h"
#include "server/store/keys.h"
#include "server/store/store.h"
#include "tests/harness/tempdir.h"

static struct tempdir dir;
static struct store *store;

static int open_store(const char *path, bool read_only, struct error_info *info)
{
	struct store_options options = { .dir = path, .max_bytes = 1 << 26, .read_only = read_only };

	return store_open(&options, &store, info);
}

static int setup(void **state)
{
	struct error_info info = { 0 };

	(void)state;
	tempdir_make(&dir);
	return open_store(dir.path, false, &info);
}

static int teardown(void **state)
{
	(void)state;
	store_close(store);
	store = NULL;
	tempdir_remove(&dir);
	return 0;
}

static void put(const char *key, const char *value)
{
	struct store_txn *t;

	assert_int_equal(store_begin_write(store, &t), 0);
	assert_int_equal(store_put(t, TABLE_META, slice_str(key), slice_str(value)), 0);
	assert_int_equal(store_commit(t), 0);
}

static int get(const char *key, char *ret, size_t size)
{
	struct store_txn *t;
	struct slice value;
	int rc;

	assert_int_equal(store_begin_read(store, &t), 0);
	rc = store_get(t, TABLE_META, slice_str(key), &value);
	if (rc == 0)
		snprintf(ret, size, "%.*s", SLICE_FMT(value));
	store_abort(t);
	return rc;
}

static void what_is_committed_is_there_after_opening_again(void **state)
{
	struct error_info info = { 0 };
	char value[16] = "";

	(void)state;
	put("a", "1");
	store_close(store);
	assert_int_equal(open_store(dir.path, false, &info), 0);
	assert_int_equal(get("a", value, sizeof(value)), 0);
	assert_string_equal(value, "1");
	assert_int_equal(get("b", value, sizeof(value)), ERR_NOT_FOUND);
}

static void what_is_aborted_is_not(void **state)
{
	struct store_txn *t;
	char value[16];

	(void)state;
	assert_int_equal(store_begin_write(store, &t), 0);
	assert_int_equal(store_put(t, TABLE_META, slice_str("a"), slice_str("1")), 0);
	store_abort(t);
	assert_int_equal(get("a", value, sizeof(value)), ERR_NOT_FOUND);
}

static void a_reader_keeps_its_picture(void **state)
{
	struct store_txn *reader;
	struct slice value;

	(void)state;
	put("a", "old");
	assert_int_equal(store_begin_read(store, &reader), 0);
	put("a", "new");
	assert_int_equal(store_get(reader, TABLE_META, slice_str("a"), &value), 0);
	assert_true(slice_is(value, "old"));
	store_abort(reader);
}

static void seeking_goes_both_ways(void **state)
{
	struct slice key, value;
	struct store_txn *t;
	struct uuid id = { { 0 } };

	(void)state;
	assert_int_equal(store_begin_write(store, &t), 0);
	assert_int_equal(store_seek(t, TABLE_JOBS, slice_of(NULL, 0), &key, &value), ERR_NOT_FOUND);
	assert_int_equal(store_seek_back(t, TABLE_JOBS, slice_of(NULL, 0), &key, &value), ERR_NOT_FOUND);
	for (uint8_t i = 10; i <= 30; i = (uint8_t)(i + 10)) {
		struct key k;

		id.bytes[0] = i;
		k = key_job(&id);
		assert_int_equal(store_put(t, TABLE_JOBS, key_slice(&k), slice_str("x")), 0);
	}
	id.bytes[0] = 15;
	struct key from = key_job(&id);

	assert_int_equal(store_seek(t, TABLE_JOBS, key_slice(&from), &key, &value), 0);
	assert_int_equal(((const uint8_t *)key.data)[0], 20);
	assert_int_equal(store_next(t, TABLE_JOBS, &key, &value), 0);
	assert_int_equal(((const uint8_t *)key.data)[0], 30);
	assert_int_equal(store_next(t, TABLE_JOBS, &key, &value), ERR_NOT_FOUND);
	assert_int_equal(store_seek_back(t, TABLE_JOBS, key_slice(&from), &key, &value), 0);
	assert_int_equal(((const uint8_t *)key.data)[0], 10);
	assert_int_equal(store_seek_back(t, TABLE_JOBS, slice_of(NULL, 0), &key, &value), 0);
	assert_int_equal(((const uint8_t *)key.data)[0], 30);
	store_abort(t);
}

static void a_full_map_is_said(void **state)
{
	char *megabyte = calloc(1, 1 << 20);
	struct store_txn *t;
	int rc = 0;

	(void)state;
	assert_non_null(megabyte);
	assert_int_equal(store_begin_write(store, &t), 0);
	for (int i = 0; rc == 0; i++) {
		char name[16];

		assert_in_range(i, 0, 64);
		snprintf(name, sizeof(name), "%d", i);
		rc = store_put(t, TABLE_META, slice_str(name), slice_of(megabyte, 1 << 20));
	}
	assert_int_equal(rc, ERR_STORE_FULL);
	store_abort(t);
	free(megabyte);
	put("a", "after");
}

static int64_t length_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_size;
}

/* LMDB counts the pages of a value that was put and deleted in one transaction, and never writes them, where it has a
 * list of free pages at hand that they can join: which it has after some commits. */
static void put_and_delete_large(int commits)
{
	struct store_txn *t;
	void *room;

	for (int i = 0; i < commits; i++)
		put("before", "there");
	assert_int_equal(store_begin_write(store, &t), 0);
	assert_int_equal(store_put(t, TABLE_META, slice_str("small"), slice_str("x")), 0);
	assert_int_equal(store_reserve(t, TABLE_META, slice_str("large"), 400000, &room), 0);
	memset(room, 'x', 400000);
	assert_int_equal(store_delete(t, TABLE_META, slice_str("large")), 0);
	assert_int_equal(store_commit(t), 0);
}

static void a_file_that_lacks_only_free_pages_is_whole(void **state)
{
	struct error_info info = { 0 };
	struct store_info used;
	char path[300];

	(void)state;
	snprintf(path, sizeof(path), "%s/raincheck.mdb", dir.path);
	for (int tries = 0; tries < 20; tries++) {
		put_and_delete_large(3 + tries);
		assert_int_equal(store_info(store, &used), 0);
		if (length_of(path) < used.used_bytes)
			break;
	}
	assert_true(length_of(path) < used.used_bytes);
	store_close(store);
	store = NULL;
	assert_int_equal(open_store(dir.path, false, &info), 0);
	put("after", "there too");

	/* But one that was really cut is not. */
	store_close(store);
	store = NULL;
	assert_int_equal(truncate(path, length_of(path) / 2), 0);
	assert_int_equal(open_store(dir.path, false, &info), ERR_CORRUPT);
	assert_non_null(strstr(info.message, "cut short"));
}

/* What is left of it would be swept away by a broker that begins anew. */
static void a_directory_that_lost_its_records_is_refused(void **state)
{
	struct error_info info = { 0 };
	char records[300], key[300];
	FILE *file;

	(void)state;
	store_close(store);
	store = NULL;
	snprintf(records, sizeof(records), "%s/raincheck.mdb", dir.path);
	snprintf(key, sizeof(key), "%s/link.key", dir.path);
	file = fopen(key, "w");
	assert_non_null(file);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(truncate(records, 0), 0);
	assert_int_equal(open_store(dir.path, false, &info), ERR_CORRUPT);
	assert_non_null(strstr(info.message, "is empty"));
	assert_int_equal(unlink(records), 0);
	assert_int_equal(open_store(dir.path, false, &info), ERR_CORRUPT);
	assert_non_null(strstr(info.message, "put the file back"));
	assert_int_equal(unlink(key), 0);
	assert_int_equal(open_store(dir.path, false, &info), 0);
}

static void one_process_at_a_time(void **state)
{
	struct store *other;
	struct store_options options = { .dir = dir.path, .max_bytes = 1 << 26 };
	struct error_info info = { 0 };

	(void)state;
	assert_int_equal(store_open(&options, &other, &info), ERR_CONFLICT);
	assert_non_null(strstr(info.message, dir.path));
	options.read_only = true;
	assert_int_equal(store_open(&options, &other, &info), ERR_CONFLICT);
}

static void a_newer_format_is_refused_and_left_alone(void **state)
{
	uint32_t version = 99;
	struct error_info info = { 0 };
	struct store_txn *t;

	(void)state;
	assert_int_equal(store_begin_write(store, &t), 0);
	assert_int_equal(store_put(t, TABLE_META, slice_str("format"), slice_of(&version, sizeof(version))), 0);
	assert_int_equal(store_commit(t), 0);
	store_close(store);
	store = NULL;
	assert_int_equal(open_store(dir.path, false, &info), ERR_UNSUPPORTED_VERSION);
	assert_non_null(strstr(info.message, "99"));
}

/* The folders that were synced since the start of the test. */
static char synced[16][256];
static size_t synced_count;

/* In the C library's place. */
int fsync(int fd)
{
	char link[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, synced[synced_count], sizeof(synced[0]) - 1);
	if (n > 0 && synced_count < 15) {
		synced[synced_count][n] = '\0';
		synced_count++;
	}
	return (int)syscall(SYS_fsync, fd);
}

static bool was_synced(const char *path)
{
	for (size_t i = 0; i < synced_count; i++)
		if (strcmp(synced[i], path) == 0)
			return true;
	return false;
}

static void the_names_of_new_files_last(void **state)
{
	struct error_info info = { 0 };
	struct blob_store *bs;
	char path[160], blobs[200];

	(void)state;
	store_close(store);
	store = NULL;
	snprintf(path, sizeof(path), "%s/new", dir.path);
	snprintf(blobs, sizeof(blobs), "%s/blobs", path);
	synced_count = 0;
	assert_int_equal(open_store(path, false, &info), 0);
	assert_true(was_synced(dir.path));
	assert_true(was_synced(path));
	synced_count = 0;
	assert_int_equal(blob_store_open(path, &bs, &info), 0);
	assert_true(was_synced(path));
	assert_true(was_synced(blobs));
	blob_store_close(bs);
}

static void a_directory_that_cannot_be_is_named(void **state)
{
	struct store *other;
	struct store_options options = { .dir = "/dev/null/x", .max_bytes = 1 << 26 };
	struct error_info info = { 0 };

	(void)state;
	assert_int_equal(store_open(&options, &other, &info), ERR_IO);
	assert_non_null(strstr(info.message, "/dev/null/x"));
}

/* ---- blobs ---- */

static struct blob_store *open_blobs(void)
{
	struct error_info info = { 0 };
	struct blob_store *bs;

	assert_int_equal(blob_store_open(dir.path, &bs, &info), 0);
	return bs;
}

static void a_blob_is_there_once_published(void **state)
{
	struct blob_store *bs = open_blobs();
	struct uuid id = { { 9, 8, 7 } };
	struct blob_writer *w;
	uint8_t sha[32], expected[32];
	char bytes[16] = "";
	int64_t size;
	int fd;

	(void)state;
	assert_int_equal(blob_create(bs, &id, &w), 0);
	assert_int_equal(blob_append(w, slice_str("hello ")), 0);
	assert_int_equal(blob_append(w, slice_str("world")), 0);
	assert_int_equal(blob_open(bs, &id, &fd, &size), ERR_NOT_FOUND);
	assert_int_equal(blob_publish(w, sha), 0);
	blob_close(w);
	blob_sha256(slice_str("hello world"), expected);
	assert_memory_equal(sha, expected, sizeof(sha));
	assert_int_equal(blob_open(bs, &id, &fd, &size), 0);
	assert_int_equal(size, 11);
	assert_int_equal(read(fd, bytes, sizeof(bytes)), 11);
	assert_string_equal(bytes, "hello world");
	close(fd);
	assert_int_equal(blob_remove(bs, &id), 0);
	assert_int_equal(blob_remove(bs, &id), 0);
	assert_int_equal(blob_open(bs, &id, &fd, &size), ERR_NOT_FOUND);
	blob_store_close(bs);
}

static void publish(struct blob_store *bs, const struct uuid *id)
{
	struct blob_writer *w;
	uint8_t sha[32];

	assert_int_equal(blob_create(bs, id, &w), 0);
	assert_int_equal(blob_publish(w, sha), 0);
	blob_close(w);
}

/* Sets the file's time back, as if an earlier process had left it. */
static void age(const char *name)
{
	struct timespec old[2] = { { .tv_sec = 1000 }, { .tv_sec = 1000 } };

	assert_int_equal(utimensat(AT_FDCWD, tempdir_file(&dir, name), old, 0), 0);
}

static void the_sweep_takes_old_orphans_alone(void **state)
{
	struct blob_store *bs = open_blobs();
	struct uuid orphan = { { 1 } }, named = { { 2 } }, fresh = { { 3 } };
	struct key key = key_job(&named);
	struct store_txn *t;
	int64_t removed, size;
	FILE *temporary;
	int fd;

	(void)state;
	publish(bs, &orphan);
	publish(bs, &named);
	publish(bs, &fresh);
	temporary = fopen(tempdir_file(&dir, "blobs/tmp/04000000000000000000000000000000"), "w");
	assert_non_null(temporary);
	fclose(temporary);
	age("blobs/00/01000000000000000000000000000000");
	age("blobs/00/02000000000000000000000000000000");
	age("blobs/tmp/04000000000000000000000000000000");
	assert_int_equal(store_begin_write(store, &t), 0);
	assert_int_equal(store_put(t, TABLE_BLOBS, key_slice(&key), slice_str("job")), 0);
	assert_int_equal(store_commit(t), 0);
	assert_int_equal(blob_sweep(bs, store, &removed), 0);
	assert_int_equal(removed, 2);
	assert_int_equal(blob_open(bs, &orphan, &fd, &size), ERR_NOT_FOUND);
	assert_int_equal(blob_open(bs, &named, &fd, &size), 0);
	close(fd);
	assert_int_equal(blob_open(bs, &fresh, &fd, &size), 0);
	close(fd);
	blob_store_close(bs);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(what_is_committed_is_there_after_opening_again),
		T(what_is_aborted_is_not),
		T(a_reader_keeps_its_picture),
		T(seeking_goes_both_ways),
		T(a_full_map_is_said),
		T(a_file_that_lacks_only_free_pages_is_whole),
		T(a_directory_that_lost_its_records_is_refused),
		T(one_process_at_a_time),
		T(a_newer_format_is_refused_and_left_alone),
		T(the_names_of_new_files_last),
		T(a_directory_that_cannot_be_is_named),
		T(a_blob_is_there_once_published),
		T(the_sweep_takes_old_orphans_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
