/* A record that a flipped bit has put under another's key is nobody's: neither its bytes nor what it says are taken for
 * the other's, and what comes next to its place takes it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "server/engine/view.h"
#include "server/store/blob.h"
#include "tests/harness/damage.h"
#include "tests/harness/engine_rig.h"

#define PRIORITY 5
#define LONGEST	 128 /* characters of a name */

static struct rig rig;

static int setup(void **state)
{
	(void)state;
	rig_open(&rig);
	rig.unchecked = true;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rig_close(&rig);
	return 0;
}

static int64_t count(enum store_table table)
{
	struct store_txn *t;
	int64_t n;

	assert_int_equal(store_begin_read(rig.store, &t), 0);
	assert_int_equal(store_count(t, table, &n), 0);
	store_abort(t);
	return n;
}

/* ---- artifacts ---- */

static void attach(const struct uuid *job, const char *name, const char *bytes)
{
	struct command_attach params = { .id = *job, .name = slice_str(name) };

	params.staged.content_type = slice_str("image/png");
	params.staged.data = slice_str(bytes);
	params.staged.size = (int64_t)params.staged.data.size;
	blob_sha256(params.staged.data, params.staged.sha256);
	rig_run(&rig, COMMAND_ATTACH, &params);
	assert_int_equal(rig.code, 0);
}

static void expect_artifact(const struct uuid *job, const char *name, int code, const char *bytes)
{
	struct store_txn *t;
	struct artifact a;

	assert_int_equal(store_begin_read(rig.store, &t), 0);
	assert_int_equal(view_artifact(t, job, slice_str(name), &a), code);
	if (code == 0)
		assert_true(slice_is(a.data, bytes));
	store_abort(t);
}

static void an_artifact_under_another_name_is_not_shown(void **state)
{
	struct uuid id = rig_put(&rig, "q", "x");
	const struct msg_job *job;

	(void)state;
	attach(&id, "front", "a");
	attach(&id, "side", "b");
	damage_move_row(rig.store, TABLE_ARTIFACTS, key_artifact(&id, slice_str("front")),
			key_artifact(&id, slice_str("gront")));
	expect_artifact(&id, "front", ERR_NOT_FOUND, NULL);
	expect_artifact(&id, "gront", ERR_CORRUPT, NULL);
	job = rig_job(&rig, &id);
	assert_int_equal(rig.code, 0);
	assert_int_equal(job->artifacts_count, 1);
	assert_true(slice_is(job->artifacts[0].name, "side"));
	/* One of the name that it has now is another. */
	attach(&id, "gront", "c");
	expect_artifact(&id, "gront", 0, "c");
	attach(&id, "front", "a");
	assert_int_equal(rig_job(&rig, &id)->artifacts_count, 3);
	rig_check(&rig);
}

static void an_artifact_under_another_job_is_not_its(void **state)
{
	struct uuid id = rig_put(&rig, "q", "x"), other = rig_put(&rig, "q", "y");

	(void)state;
	attach(&id, "still", "of the first");
	damage_move_row(rig.store, TABLE_ARTIFACTS, key_artifact(&id, slice_str("still")),
			key_artifact(&other, slice_str("still")));
	expect_artifact(&other, "still", ERR_CORRUPT, NULL);
	assert_int_equal(rig_job(&rig, &other)->artifacts_count, 0);
	rig_erase(&rig, &other);
	assert_int_equal(rig.code, 0);
	assert_int_equal(count(TABLE_ARTIFACTS), 0);
}

/* Which file it has may be another's: those that are listed for the job go, and no other. */
static void the_file_of_another_job_stays(void **state)
{
	struct uuid id = rig_put(&rig, "q", "x"), other = rig_put(&rig, "q", "y"), blob = { .bytes = { 9, 9 } };
	struct command_attach params = {
		.id = id,
		.name = slice_str("still"),
		.staged = { .content_type = slice_str("image/png"), .size = 1 << 20, .has_blob = true, .blob = blob }
	};
	size_t garbage;

	(void)state;
	rig_run(&rig, COMMAND_ATTACH, &params);
	assert_int_equal(rig.code, 0);
	damage_move_row(rig.store, TABLE_ARTIFACTS, key_artifact(&id, slice_str("still")),
			key_artifact(&other, slice_str("still")));
	rig_erase(&rig, &other);
	assert_int_equal(rig.code, 0);
	engine_garbage(rig.engine, &garbage);
	assert_int_equal(garbage, 0);
	assert_int_equal(count(TABLE_BLOBS), 1);
}

/* ---- checkpoints ---- */

/* A call that is resumed for another job would show one person's video to another. */
static void another_jobs_call_is_not_resumed(void **state)
{
	struct msg_job_checkpoint checkpoint = { .has_id = true, .has_lease = true, .has_data = true };
	struct uuid other;
	struct msg_leased_job job;

	(void)state;
	checkpoint.id = rig_put(&rig, "q", "x");
	other = rig_put(&rig, "q", "y");
	assert_true(rig_lease(&rig, "q", &job));
	checkpoint.lease = job.lease;
	checkpoint.data = slice_str("provider-id");
	rig_run(&rig, COMMAND_CHECKPOINT, &checkpoint);
	assert_int_equal(rig.code, 0);
	damage_move_row(rig.store, TABLE_CHECKPOINTS, key_job(&checkpoint.id), key_job(&other));
	assert_false(rig_lease(&rig, "q", &job));
	assert_int_equal(rig_job(&rig, &other)->state, JOB_DEAD);
}

/* ---- groups ---- */

static struct key place_of(const char *group)
{
	return key_group(0, PRIORITY, slice_str(group));
}

/* Taken for bob's, the place behind ada's many would make him wait for all of them. */
static void a_place_is_no_other_groups(void **state)
{
	struct msg_leased_job job;
	int before = 0;

	(void)state;
	rig_put_many(&rig, "q", "ada", 50);
	damage_move_row(rig.store, TABLE_GROUPS, place_of("ada"), place_of("bob"));
	rig_restart(&rig);
	rig_put_many(&rig, "q", "bob", 1);
	for (; rig_lease(&rig, "q", &job) && !slice_is(job.payload, "bob"); before++)
		;
	assert_in_range(before, 0, 2);
	/* What is written next stands under its own key. */
	rig_put_many(&rig, "q", "bob", 3);
	rig_check(&rig);
}

/* More than the engine keeps in memory, in one batch, and with the longest names there are: each place is written down,
 * with its name. */
static void no_place_is_lost_in_a_large_batch(void **state)
{
	static char names[2][MAX_BATCH][LONGEST + 1];
	static struct put_item items[2][MAX_BATCH];
	struct command_put puts[2];
	struct command cmds[2] = { { .kind = COMMAND_PUT, .params = &puts[0] },
				   { .kind = COMMAND_PUT, .params = &puts[1] } };

	(void)state;
	for (int c = 0; c < 2; c++) {
		puts[c] = (struct command_put){ .items = items[c], .count = MAX_BATCH, .many = true };
		for (int i = 0; i < MAX_BATCH; i++) {
			snprintf(names[c][i], sizeof(names[c][i]), "%0*d", LONGEST, c * MAX_BATCH + i);
			items[c][i].put = rig_put_of("q", "x");
			items[c][i].put.has_group = true;
			items[c][i].put.group = slice_str(names[c][i]);
		}
	}
	rig_submit_all(&rig, cmds, 2);
	assert_int_equal(rig.code, 0);
	assert_int_equal(count(TABLE_GROUPS), 2 * MAX_BATCH);
}

static void a_place_of_nobody_is_tidied_away(void **state)
{
	(void)state;
	rig_put_many(&rig, "q", "ada", 50);
	damage_move_row(rig.store, TABLE_GROUPS, place_of("ada"), place_of("zoe"));
	rig_restart(&rig);
	for (int i = 0; i < 3; i++)
		rig_put_many(&rig, "q", "bob", 1);
	assert_int_equal(count(TABLE_GROUPS), 1);
	rig_check(&rig);
}

static void a_weight_is_no_other_groups(void **state)
{
	struct group_weight weight = { .group = slice_str("ada"), .weight = 5 };
	struct msg_queue q;

	(void)state;
	rig_queue_set(&rig, "q", (struct msg_queue_set){ .has_weights = true, .weights = &weight, .weights_count = 1 });
	damage_move_row(rig.store, TABLE_WEIGHTS, key_group(0, 0, slice_str("ada")), key_group(0, 0, slice_str("bob")));
	q = rig_queue(&rig, "q");
	assert_int_equal(q.weights_count, 0);
	rig_restart(&rig);
	/* Both have a share like the others: they take turns. */
	rig_put_many(&rig, "q", "bob", 3);
	rig_put_many(&rig, "q", "ada", 3);
	for (int i = 0; i < 6; i++) {
		struct msg_leased_job job;

		assert_true(rig_lease(&rig, "q", &job));
		assert_true(slice_is(job.payload, i % 2 == 0 ? "bob" : "ada"));
	}
}

/* The record of a queue that is made anew learns from the groups' places where its lines end: from no other's. */
static void a_place_ends_no_other_line(void **state)
{
	struct store_txn *t;
	struct key key = key_queue(0);
	struct queue_record q;
	struct slice value;

	(void)state;
	rig_put_many(&rig, "q", "ada", 50);
	damage_move_row(rig.store, TABLE_GROUPS, place_of("ada"), key_group(0, PRIORITY + 1, slice_str("ada")));
	assert_int_equal(store_begin_write(rig.store, &t), 0);
	assert_int_equal(store_put(t, TABLE_QUEUES, key_slice(&key), slice_str("damaged")), 0);
	assert_int_equal(store_commit(t), 0);
	rig_restart(&rig);
	rig_put_many(&rig, "q", "bob", 1);
	assert_int_equal(store_begin_read(rig.store, &t), 0);
	assert_int_equal(store_get(t, TABLE_QUEUES, key_slice(&key), &value), 0);
	assert_int_equal(record_read_queue(value, &q), 0);
	assert_int_equal(q.lines[PRIORITY + 1].last, 0);
	store_abort(t);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(an_artifact_under_another_name_is_not_shown),
		T(an_artifact_under_another_job_is_not_its),
		T(the_file_of_another_job_stays),
		T(another_jobs_call_is_not_resumed),
		T(a_place_is_no_other_groups),
		T(no_place_is_lost_in_a_large_batch),
		T(a_place_of_nobody_is_tidied_away),
		T(a_weight_is_no_other_groups),
		T(a_place_ends_no_other_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
