/* What compaction mends: what flipped bits in keys have done, job by job intact, and rows that are missing or lead
 * nowhere; what nobody can tell apart is left out. KEY_STEP=1 flips every bit of every key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/base/clean.h"
#include "server/store/blob.h"
#include "server/store/layout.h"
#include "server/upkeep/check.h"
#include "server/upkeep/compact.h"
#include "tests/harness/good_store.h"

static struct error_info why;
static struct compact_result compacted;

/* ---- flipped bits in keys ---- */

static char said[65536]; /* by the last compaction, line by line */

static void report_cb(void *user, const char *line)
{
	size_t size = strlen(said);

	(void)user;
	snprintf(said + size, sizeof(said) - size, "%s\n", line);
}

static int mend(void)
{
	const struct compact_options options = { .dir = good.rig.dir.path, .max_bytes = 1 << 28, .report = report_cb };

	said[0] = '\0';
	memset(&why, 0, sizeof(why));
	return compact_run(&options, &compacted, &why);
}

/* Of the directory as it lies there: an engine would begin to put things right. */
static struct check_result look(void)
{
	const struct store_options options = { .dir = good.rig.dir.path, .max_bytes = 1 << 28, .read_only = true };
	struct check_options check = { .report = NULL };
	struct check_result found;
	struct error_info info;

	assert_int_equal(store_open(&options, &check.store, &info), 0);
	assert_int_equal(blob_store_look(good.rig.dir.path, &check.blobs, &info), 0);
	assert_int_equal(check_store(&check, &found), 0);
	blob_store_close(check.blobs);
	store_close(check.store);
	return found;
}

static struct job load(enum store_table table, const struct uuid *id)
{
	static uint8_t bytes[4096];
	struct key key = key_job(id);
	struct job job = { .queue = 0 };
	struct store_txn *t;
	struct slice value;

	assert_int_equal(store_begin_read(good.rig.store, &t), 0);
	assert_int_equal(store_get(t, table, key_slice(&key), &value), 0);
	assert_in_range(value.size, 1, sizeof(bytes));
	memcpy(bytes, value.data, value.size);
	if (table == TABLE_JOBS)
		assert_int_equal(record_read_job(slice_of(bytes, value.size), &job), 0);
	store_abort(t);
	return job;
}

/* A good store with something in every table. */
static struct keys_of_all {
	struct key ready, due, idempotency, checkpoint, input, job, still, video, blob, tombstone, name, queue, word;
	struct key hooks, hook;
} keys;
static struct uuid later; /* not beside the others: its key can flip into none of theirs */

static void make_all(void)
{
	struct msg_job_checkpoint checkpoint = { .has_id = true, .has_lease = true, .has_data = true };
	struct msg_leased_job leased;
	struct uuid gone;
	struct job job;

	good.rig.unchecked = true;
	gone = good_put((struct msg_job_put){ .has_priority = true, .priority = 0 });
	rig_erase(&good.rig, &gone);
	rig_pass(&good.rig, 1000);
	later = good_put((struct msg_job_put){ .has_priority = true,
					       .priority = 0,
					       .has_idempotency_key = true,
					       .idempotency_key = slice_str("later"),
					       .has_deadline_ms = true,
					       .deadline_ms = 600000 });
	assert_true(rig_lease(&good.rig, "q", &leased));
	checkpoint.id = leased.id;
	checkpoint.lease = leased.lease;
	checkpoint.data = slice_str("provider-id");
	rig_run(&good.rig, COMMAND_CHECKPOINT, &checkpoint);
	assert_int_equal(good.rig.code, 0);
	job = load(TABLE_JOBS, &good.ready);
	keys.ready = key_ready(job.queue, job.priority, job.tag, &good.ready);
	job = load(TABLE_JOBS, &later);
	keys.due = key_due(job.due_at_ms, &later);
	keys.idempotency = key_idempotency(0, slice_str("later"));
	keys.checkpoint = keys.input = keys.job = key_job(&later);
	good_hook(&later, "a hook");
	keys.hooks = key_job(&later);
	keys.hook = key_hook(&later, 1);
	keys.still = key_artifact(&good.succeeded, slice_str("preview"));
	keys.video = key_artifact(&good.succeeded, slice_str("result"));
	keys.blob = key_job(&good.blob);
	keys.tombstone = key_job(&gone);
	keys.name = key_name(slice_str("q"));
	keys.queue = key_queue(0);
	keys.word = key_word(META_LINK_SECRET);
	rig_check(&good.rig);
}

static const struct row {
	const char *name;
	enum store_table table;
	const struct key *key;
	size_t bytes; /* of the key, whose bits are flipped; 0: all */
	bool lost;    /* the row is dropped; else it is put back or made anew */
} rows[] = {
	{ "a_ready_entry", TABLE_READY, &keys.ready, 0, false },
	{ "a_due_entry", TABLE_DUE, &keys.due, 0, false },
	{ "an_idempotency_key", TABLE_IDEMPOTENCY, &keys.idempotency, 0, false },
	{ "a_checkpoint", TABLE_CHECKPOINTS, &keys.checkpoint, 0, false },
	{ "a_list_of_hooks", TABLE_HOOKS, &keys.hooks, 0, true },
	{ "a_hook", TABLE_HOOK_BODIES, &keys.hook, 0, true },
	{ "an_input", TABLE_INPUTS, &keys.input, 0, false },
	{ "a_job", TABLE_JOBS, &keys.job, 0, false },
	{ "a_still", TABLE_ARTIFACTS, &keys.still, 0, false },
	{ "a_video", TABLE_ARTIFACTS, &keys.video, 0, false },
	{ "a_listed_file", TABLE_BLOBS, &keys.blob, 0, false },
	{ "a_tombstone", TABLE_TOMBSTONES, &keys.tombstone, 0, true },
	{ "a_name", TABLE_NAMES, &keys.name, 0, false },
	{ "a_queue", TABLE_QUEUES, &keys.queue, 0, false },
	{ "a_word", TABLE_META, &keys.word, 0, false },
};

static bool is_there(enum store_table table, struct key key)
{
	struct store_txn *t;
	struct slice value;
	int rc;

	assert_int_equal(store_begin_read(good.rig.store, &t), 0);
	rc = store_get(t, table, key_slice(&key), &value);
	store_abort(t);
	return rc == 0;
}

/* A flipped artifact's job or a flipped job may be beside another. */
static bool is_another(const struct row *row, size_t bit)
{
	struct key key = *row->key;

	key.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	return is_there(row->table, key);
}

static void expect_all_intact(const struct row *row)
{
	struct msg_leased_job job;
	bool first;

	rig_resume(&good.rig);
	good.rig.unchecked = true;
	rig_check(&good.rig);
	assert_int_equal(load(TABLE_JOBS, &good.ready).state, JOB_READY);
	assert_int_equal(load(TABLE_JOBS, &good.running).state, JOB_RUNNING);
	assert_int_equal(load(TABLE_JOBS, &later).state, JOB_RUNNING);
	assert_int_equal(load(TABLE_JOBS, &good.succeeded).artifacts, 2);
	assert_true(is_there(TABLE_ARTIFACTS, keys.video) && is_there(TABLE_ARTIFACTS, keys.still));
	assert_int_equal(is_there(row->table, *row->key), !row->lost);
	first = rig_lease(&good.rig, "q", &job);
	assert_true(first && uuid_equal(&job.id, &good.ready) && slice_is(job.payload, "payload"));
	rig_pause(&good.rig);
}

/* A bit in each byte, or KEY_STEP=1: every bit of every key. */
static size_t step_of_bits(void)
{
	const char *step = getenv("KEY_STEP");

	return step && atoi(step) > 0 ? (size_t)atoi(step) : 5;
}

static void flipped_keys_are_mended(void **state)
{
	const struct row *row = *state;
	size_t bits;

	make_all();
	bits = 8 * (row->bytes ? row->bytes : row->key->size);
	for (size_t bit = 0; bit < bits; bit += step_of_bits()) {
		struct good_spot spot = good_spot(row->table, *row->key);
		bool another = is_another(row, bit);
		int rc;

		rig_pause(&good.rig);
		good_flip_key(&spot, bit);
		assert_true(look().breaches > 0);
		rc = mend();
		if (another)
			assert_true(rc == 0 || rc == ERR_CORRUPT);
		else if (rc < 0)
			fail_msg("bit %zu: %s", bit, why.message);
		if (rc == 0 && !another) {
			assert_int_equal(look().breaches, 0);
			assert_true(said[0]);
			assert_int_equal(compacted.set_aside, 0);
			expect_all_intact(row);
		}
		good_restore_file();
		rig_resume(&good.rig);
		rig_check(&good.rig);
	}
}

static void flip_value(enum store_table table, const struct key *key, size_t bit)
{
	struct store_txn *t;
	struct slice value;
	uint8_t bytes[64];

	assert_int_equal(store_begin_write(good.rig.store, &t), 0);
	assert_int_equal(store_get(t, table, key_slice(key), &value), 0);
	assert_in_range(value.size, bit / 8 + 1, sizeof(bytes));
	memcpy(bytes, value.data, value.size);
	bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	assert_int_equal(store_put(t, table, key_slice(key), slice_of(bytes, value.size)), 0);
	assert_int_equal(store_commit(t), 0);
}

/* Of the tables whose values have no checksum either: what they say follows from the records. */
static void flipped_values_are_mended(void **state)
{
	const struct row *row = *state;

	make_all();
	rig_pause(&good.rig);
	good_save_file();
	for (size_t bit = 0; bit < 8 * row->bytes; bit += step_of_bits()) {
		rig_resume(&good.rig);
		flip_value(row->table, row->key, bit);
		rig_pause(&good.rig);
		assert_true(look().breaches > 0);
		if (mend() < 0)
			fail_msg("bit %zu: %s", bit, why.message);
		assert_int_equal(look().breaches, 0);
		expect_all_intact(row);
		good_restore_file();
	}
	rig_resume(&good.rig);
}

/* bytes: of the value. */
static const struct row value_rows[] = {
	{ "what_a_due_entry_says", TABLE_DUE, &keys.due, 6, false },
	{ "what_a_key_leads_to", TABLE_IDEMPOTENCY, &keys.idempotency, 16, false },
	{ "what_a_file_is_listed_for", TABLE_BLOBS, &keys.blob, 16, false },
	{ "what_a_name_is_listed_for", TABLE_NAMES, &keys.name, 4, false },
	{ "what_the_secret_is_known_by", TABLE_META, &keys.word, LINK_FINGERPRINT_CHARS, false },
};

/* ---- what else may be wrong ---- */

static void drop(enum store_table table, struct key key)
{
	struct store_txn *t;

	assert_int_equal(store_begin_write(good.rig.store, &t), 0);
	assert_int_equal(store_delete(t, table, key_slice(&key)), 0);
	assert_int_equal(store_commit(t), 0);
}

static void add(enum store_table table, struct key key, struct slice value)
{
	struct store_txn *t;

	assert_int_equal(store_begin_write(good.rig.store, &t), 0);
	assert_int_equal(store_put(t, table, key_slice(&key), value), 0);
	assert_int_equal(store_commit(t), 0);
}

static void a_job_without_its_input_is_set_aside(void **state)
{
	struct msg_leased_job job;

	(void)state;
	good.rig.unchecked = true;
	drop(TABLE_INPUTS, key_job(&good.ready));
	rig_pause(&good.rig);
	assert_int_equal(mend(), 0);
	assert_int_equal(compacted.set_aside, 1);
	assert_non_null(strstr(said, ": its input is missing: set aside"));
	rig_resume(&good.rig);
	rig_check(&good.rig);
	assert_false(rig_lease(&good.rig, "q", &job));
	rig_erase(&good.rig, &good.ready);
	assert_int_equal(good.rig.code, 0);
	rig_check(&good.rig);
	assert_int_equal(rig_job(&good.rig, &good.running)->state, JOB_RUNNING);
}

/* An input of nobody, whose job may have been erased: not one byte of it is left. */
static void what_leads_to_no_job_is_gone(void **state)
{
	struct uuid nobody = { { 0x55, 0x55 } };

	(void)state;
	good.rig.unchecked = true;
	add(TABLE_INPUTS, key_job(&nobody), slice_str("Marked-For-Erasure-0"));
	add(TABLE_CHECKPOINTS, key_job(&nobody), slice_str("Marked-For-Erasure-1"));
	rig_pause(&good.rig);
	assert_int_equal(good_marks_in(good.rig.dir.path), 2);
	assert_int_equal(mend(), 0);
	assert_int_equal(compacted.dropped, 2);
	assert_non_null(
		strstr(said, "inputs, job 55550000-0000-0000-0000-000000000000: there is no such job: dropped"));
	assert_int_equal(good_marks_in(good.rig.dir.path), 0);
	rig_resume(&good.rig);
	rig_check(&good.rig);
}

/* Damaged values stay for the operator, whatever else is mended. */
static void damage_of_single_jobs_goes_along(void **state)
{
	struct check_result found;

	(void)state;
	make_all();
	good_flip(TABLE_INPUTS, key_job(&later));
	good_flip(TABLE_JOBS, key_job(&good.ready));
	drop(TABLE_DUE, key_due(load(TABLE_JOBS, &good.running).due_at_ms, &good.running));
	rig_pause(&good.rig);
	assert_int_equal(mend(), 0);
	assert_int_equal(compacted.damaged, 1);
	assert_int_equal(compacted.set_aside, 1);
	found = look();
	assert_int_equal(found.jobs, 4);
	assert_int_equal(found.set_aside, 1);
	assert_int_equal(found.breaches, 1);
	assert_int_equal(found.damaged, 1);
	/* And once more, with nothing to mend. */
	assert_int_equal(mend(), 0);
	assert_string_equal(said, "");
	rig_resume(&good.rig);
}

/* Which of the two is the right one nobody can tell. */
static void another_secret_is_refused(void **state)
{
	uint8_t other[LINK_SECRET_BYTES] = { 1 };
	FILE *file;

	(void)state;
	rig_pause(&good.rig);
	assert_int_equal(look().breaches, 0);
	file = fopen(tempdir_file(&good.rig.dir, LAYOUT_LINK_KEY), "r+");
	assert_non_null(file);
	assert_int_equal(fwrite(other, sizeof(other), 1, file), 1);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(look().breaches, 1);
	assert_int_equal(mend(), ERR_CORRUPT);
	assert_non_null(strstr(why.message, "link.key is not the secret of these links: put the right one back"));
	assert_int_equal(unlink(tempdir_file(&good.rig.dir, LAYOUT_LINK_KEY)), 0);
	assert_int_equal(look().breaches, 0);
	assert_int_equal(mend(), 0);
	rig_resume(&good.rig);
}

/* An input beside the later job's, under whose key it comes to stand. */
static void put_beside(const char *payload)
{
	struct job_input input = { .payload = slice_str(payload) };
	struct good_spot spot;
	struct uuid beside;
	struct buf record;
	struct key key;

	make_all();
	beside = later;
	beside.bytes[15] ^= 1;
	key = key_job(&beside);
	buf_init(&record, 4096);
	assert_int_equal(record_write_input(&record, &input), 0);
	add(TABLE_INPUTS, key, buf_slice(&record));
	buf_done(&record);
	spot = good_spot(TABLE_INPUTS, key);
	rig_pause(&good.rig);
	good_flip_key(&spot, 8 * 15);
}

static void of_two_inputs_under_one_key_the_fitting_one_stays(void **state)
{
	(void)state;
	put_beside("no job counts as many bytes as this");
	assert_int_equal(mend(), 0);
	assert_non_null(strstr(said, "the one that is not as large as the job says is left out"));
	assert_int_equal(look().breaches, 0);
	rig_resume(&good.rig);
	assert_int_equal(rig_state(&good.rig, &later), JOB_RUNNING);
	rig_check(&good.rig);
}

/* Nobody's job is done with another's input. */
static void two_inputs_that_nothing_tells_apart_are_left_out(void **state)
{
	char payload[64];
	size_t size;

	(void)state;
	make_all();
	size = (size_t)load(TABLE_JOBS, &later).bytes;
	good_teardown(state);
	good_setup(state);
	assert_in_range(size, 1, sizeof(payload) - 1);
	memset(payload, 'x', size);
	payload[size] = '\0';
	put_beside(payload);
	assert_int_equal(mend(), 0);
	assert_non_null(strstr(said, "cannot be told: both are left out"));
	assert_non_null(strstr(said, "its input is missing: set aside"));
	assert_int_equal(compacted.set_aside, 1);
	assert_int_equal(look().breaches, 0);
	rig_resume(&good.rig);
}

/* Jobs of one batch have ids that follow one another: a bit makes one of another. */
static void expect_told_apart(enum store_table table, const struct uuid *from, const struct uuid *to, int bit)
{
	struct good_spot spot = good_spot(table, key_job(from));
	struct slice payload;
	char text[24];

	rig_pause(&good.rig);
	good_save_file();
	good_flip_key(&spot, 8 * 15 + (size_t)bit);
	assert_int_equal(mend(), 0);
	assert_non_null(strstr(said, "two rows stand under it: one is put where it belongs"));
	assert_int_equal(compacted.set_aside, 0);
	assert_int_equal(look().breaches, 0);
	rig_resume(&good.rig);
	for (int i = 0; i < 2; i++) {
		const struct uuid *id = i == 0 ? from : to;

		rig_job(&good.rig, id);
		assert_int_equal(good.rig.code, 0);
		payload = good.rig.view.input.payload;
		snprintf(text, sizeof(text), "%d", id->bytes[15]);
		assert_true(slice_is(payload, text));
	}
	rig_pause(&good.rig);
	good_restore_file();
	rig_resume(&good.rig);
	good.rig.unchecked = true;
}

static void put_numbered(struct uuid *ids, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char text[24];

		/* Of one size, so that nothing but the place tells them apart. */
		good.rig.ids.last.bytes[15] = (uint8_t)(100 + i);
		snprintf(text, sizeof(text), "%zu", 100 + i + 1);
		ids[i] = rig_put(&good.rig, "q", text);
		assert_int_equal(ids[i].bytes[15], 100 + i + 1);
	}
}

static void two_of_two_jobs_under_one_key_are_told_apart(void **state)
{
	struct uuid ids[8];

	(void)state;
	good.rig.unchecked = true;
	put_numbered(ids, ARRAY_SIZE(ids));
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
		for (size_t j = 0; j < ARRAY_SIZE(ids); j++) {
			uint8_t bits = ids[i].bytes[15] ^ ids[j].bytes[15];

			if (__builtin_popcount(bits) != 1)
				continue;
			expect_told_apart(TABLE_INPUTS, &ids[i], &ids[j], __builtin_ctz(bits));
			expect_told_apart(TABLE_JOBS, &ids[i], &ids[j], __builtin_ctz(bits));
		}
}

static int setup_row(void **state)
{
	void *row = *state;
	int rc = good_setup(state);

	*state = row;
	return rc;
}

static struct CMUnitTest test_of(const struct row *row, CMUnitTestFunction f)
{
	return (struct CMUnitTest){ row->name, f, setup_row, good_teardown, (void *)(uintptr_t)row };
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, good_setup, good_teardown)
	const struct CMUnitTest others[] = {
		T(a_job_without_its_input_is_set_aside),
		T(what_leads_to_no_job_is_gone),
		T(damage_of_single_jobs_goes_along),
		T(another_secret_is_refused),
		T(of_two_inputs_under_one_key_the_fitting_one_stays),
		T(two_inputs_that_nothing_tells_apart_are_left_out),
		T(two_of_two_jobs_under_one_key_are_told_apart),
	};
	struct CMUnitTest tests[ARRAY_SIZE(rows) + ARRAY_SIZE(value_rows) + ARRAY_SIZE(others)];
	struct CMUnitTest *next = tests + ARRAY_SIZE(others);

	memcpy(tests, others, sizeof(others));
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		*next++ = test_of(&rows[i], flipped_keys_are_mended);
	for (size_t i = 0; i < ARRAY_SIZE(value_rows); i++)
		*next++ = test_of(&value_rows[i], flipped_values_are_mended);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
