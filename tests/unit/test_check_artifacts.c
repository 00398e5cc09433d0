/* The checker names every kind of breach in what stands beside the jobs: checkpoints, tombstones, what is set aside,
 * artifacts and their files. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/base/clean.h"
#include "tests/harness/check_rig.h"

static void checkpoint_flipped(void)
{
	checked_flip(TABLE_CHECKPOINTS, key_job(&checked.running));
}

static void checkpoint_orphaned(void)
{
	checked_set(TABLE_CHECKPOINTS, key_job(&checked.unknown), slice_str("x"));
}

static void tombstone_malformed(void)
{
	checked_set(TABLE_TOMBSTONES, key_job(&checked.unknown), slice_str("x"));
}

static void set_tombstone(const struct uuid *id)
{
	const struct tombstone stone = { .until_ms = 12345678 };
	struct buf record;

	buf_init(&record, 65536);
	assert_int_equal(record_write_tombstone(&record, &stone), 0);
	checked_set(TABLE_TOMBSTONES, key_job(id), buf_slice(&record));
	buf_done(&record);
}

static void tombstone_of_a_living_job(void)
{
	set_tombstone(&checked.ready);
}

static void tombstone_for_ever(void)
{
	set_tombstone(&checked.unknown);
}

static void tombstone_key_malformed(void)
{
	checked_set(TABLE_TOMBSTONES, key_word("short"), slice_str("x"));
}

static void set_aside_of_nobody(void)
{
	struct buf record;

	buf_init(&record, 65536);
	assert_int_equal(record_write_moment(&record, 1), 0);
	checked_set(TABLE_SET_ASIDE, key_job(&checked.unknown), buf_slice(&record));
	buf_done(&record);
}

static void set_aside_flipped(void)
{
	checked_set(TABLE_SET_ASIDE, key_job(&checked.running), slice_str("x"));
}

static void set_aside_key_malformed(void)
{
	checked_set(TABLE_SET_ASIDE, key_word("short"), slice_str("x"));
}

static void artifact_flipped(void)
{
	checked_flip(TABLE_ARTIFACTS, key_artifact(&checked.succeeded, slice_str("preview")));
}

static void artifact_missing(void)
{
	checked_drop(TABLE_ARTIFACTS, key_artifact(&checked.succeeded, slice_str("preview")));
}

static void artifact_key_malformed(void)
{
	checked_set(TABLE_ARTIFACTS, key_job(&checked.succeeded), slice_str("x"));
}

static void artifact_orphaned(void)
{
	checked_set(TABLE_ARTIFACTS, key_artifact(&checked.unknown, slice_str("result")), slice_str("x"));
}

/* A sound record whose bytes are other ones than were hashed. */
static void artifact_of_other_bytes(void)
{
	struct artifact a = { .content_type = slice_str("image/png"), .size = 5, .data = slice_str("other") };
	struct key key = key_artifact(&checked.succeeded, slice_str("preview"));
	struct buf record;

	buf_init(&record, 65536);
	assert_int_equal(record_write_artifact(&record, key_slice(&key), &a), 0);
	checked_set(TABLE_ARTIFACTS, key, buf_slice(&record));
	buf_done(&record);
}

static void blob_unlisted(void)
{
	checked_drop(TABLE_BLOBS, key_job(&checked.blob));
}

static void blob_listed_for_another(void)
{
	checked_set(TABLE_BLOBS, key_job(&checked.blob), slice_of(checked.ready.bytes, sizeof(checked.ready.bytes)));
}

static void blob_too_many(void)
{
	checked_set(TABLE_BLOBS, key_job(&checked.unknown), slice_of(checked.ready.bytes, sizeof(checked.ready.bytes)));
}

static void blob_entry_malformed(void)
{
	checked_set(TABLE_BLOBS, key_word("short"), slice_str("x"));
}

/* A second artifact of the same file, which the job counts. */
static void one_artifact_more(struct job *job)
{
	job->artifacts++;
}

static void blob_named_twice(void)
{
	struct key result = key_artifact(&checked.succeeded, slice_str("result"));
	struct key again = key_artifact(&checked.succeeded, slice_str("again"));
	uint8_t bytes[4096];
	size_t size = checked_value(TABLE_ARTIFACTS, result, bytes, sizeof(bytes));
	struct artifact a;
	struct buf record;

	buf_init(&record, 65536);
	assert_int_equal(record_read_artifact(key_slice(&result), slice_of(bytes, size), &a), 0);
	assert_int_equal(record_write_artifact(&record, key_slice(&again), &a), 0);
	checked_set(TABLE_ARTIFACTS, again, buf_slice(&record));
	buf_done(&record);
	checked_change_job(&checked.succeeded, one_artifact_more);
}

static void blob_file_missing(void)
{
	assert_int_equal(unlink(checked_blob_file()), 0);
}

static void blob_file_cut(void)
{
	assert_int_equal(truncate(checked_blob_file(), 4), 0);
}

static void blob_file_changed(void)
{
	int fd = open(checked_blob_file(), O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "V", 1, 0), 1);
	close(fd);
}

static const struct breach_row rows[] = {
	{ "checkpoint_flipped", checkpoint_flipped, &checked.running, "checkpoint of job ", ": is damaged" },
	{ "checkpoint_orphaned", checkpoint_orphaned, &checked.unknown, "checkpoint of job ", ": the job is missing" },
	{ "tombstone_malformed", tombstone_malformed, &checked.unknown, "tombstone of job ", ": is damaged" },
	{ "tombstone_key_malformed", tombstone_key_malformed, NULL, "tombstones: a key is malformed", "" },
	{ "tombstone_of_a_living_job", tombstone_of_a_living_job, &checked.ready, "tombstone of job ",
	  ": the job is there" },
	{ "tombstone_for_ever", tombstone_for_ever, &checked.unknown, "tombstone of job ", ": will never go" },
	{ "set_aside_of_nobody", set_aside_of_nobody, &checked.unknown, "set aside: job ", " is not there" },
	{ "set_aside_flipped", set_aside_flipped, &checked.running, "set aside: the entry of job ", " is damaged" },
	{ "set_aside_key_malformed", set_aside_key_malformed, NULL, "set aside: a key is malformed", "" },
	{ "artifact_flipped", artifact_flipped, &checked.succeeded, "artifact preview of job ", ": is damaged" },
	{ "artifact_missing", artifact_missing, &checked.succeeded, "job ", ": counts 2 artifacts, has 1" },
	{ "artifact_key_malformed", artifact_key_malformed, NULL, "artifacts: a key is malformed", "" },
	{ "artifact_orphaned", artifact_orphaned, &checked.unknown, "artifact result of job ", ": the job is missing" },
	{ "artifact_of_other_bytes", artifact_of_other_bytes, &checked.succeeded, "artifact preview of job ",
	  ": its hash is wrong" },
	{ "blob_unlisted", blob_unlisted, &checked.succeeded, "artifact result of job ", ": its blob is not listed" },
	{ "blob_listed_for_another", blob_listed_for_another, &checked.succeeded, "artifact result of job ",
	  ": its blob is listed for another" },
	{ "blob_too_many", blob_too_many, &checked.ready,
	  "the blob list: blob 55555555-5555-5555-5555-555555555555 is listed for job ",
	  ", which has no such artifact" },
	{ "blob_named_twice", blob_named_twice, &checked.succeeded,
	  "the blob list: blob b1b1b1b1-b1b1-b1b1-b1b1-b1b1b1b1b1b1 is 2 artifacts of job ", "" },
	{ "blob_entry_malformed", blob_entry_malformed, NULL, "the blob list: an entry is malformed", "" },
	{ "blob_file_missing", blob_file_missing, &checked.succeeded, "artifact result of job ",
	  ": its file is missing" },
	{ "blob_file_cut", blob_file_cut, &checked.succeeded, "artifact result of job ",
	  ": its file has 4 bytes instead of 5" },
	{ "blob_file_changed", blob_file_changed, &checked.succeeded, "artifact result of job ",
	  ": its file is damaged" },
};

int main(void)
{
	struct CMUnitTest tests[ARRAY_SIZE(rows)];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		tests[i] = (struct CMUnitTest){ rows[i].name, checked_breach_is_named, checked_setup_row,
						checked_teardown, (void *)(uintptr_t)&rows[i] };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
