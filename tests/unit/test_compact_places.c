/* What stands under another's key and says itself where it belongs is put back by raincheckd --compact, and each is
 * named in a line; where its place is taken it is dropped. Nobody's artifact is given to anybody else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "server/engine/view.h"
#include "server/store/blob.h"
#include "tests/harness/damage.h"
#include "tests/harness/good_store.h"
#include "tests/harness/process.h"

#define PRIORITY 5

static char said[16384];

/* raincheckd on the directory: its exit status. */
static int run(const char *option)
{
	const char *program = process_program("raincheckd");
	const char *const argv[] = { program, "--data", good.rig.dir.path, option, NULL };
	int status;

	rig_pause(&good.rig);
	status = process_run(argv, said, sizeof(said));
	rig_resume(&good.rig);
	good.rig.unchecked = true;
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void expect_said(const char *line)
{
	if (!strstr(said, line))
		fail_msg("\"%s\" was not said, but:\n%s", line, said);
}

/* The check fails, the compaction says this, and nothing is wrong any more. */
static void expect_mended(const char *line)
{
	assert_int_equal(run("--check"), 1);
	assert_int_equal(run("--compact"), 0);
	expect_said(line);
	assert_int_equal(run("--check"), 0);
	rig_check(&good.rig);
}

static void put_artifact(struct key key, struct key own, const char *bytes)
{
	struct artifact a = { .content_type = slice_str("text/plain"), .data = slice_str(bytes) };
	struct store_txn *t;
	struct buf record;

	a.size = (int64_t)a.data.size;
	blob_sha256(a.data, a.sha256);
	buf_init(&record, 4096);
	assert_int_equal(record_write_artifact(&record, key_slice(&own), &a), 0);
	assert_int_equal(store_begin_write(good.rig.store, &t), 0);
	assert_int_equal(store_put(t, TABLE_ARTIFACTS, key_slice(&key), buf_slice(&record)), 0);
	assert_int_equal(store_commit(t), 0);
	buf_done(&record);
}

static void expect_artifact(const struct uuid *job, const char *name, const char *bytes)
{
	struct store_txn *t;
	struct artifact a;

	assert_int_equal(store_begin_read(good.rig.store, &t), 0);
	assert_int_equal(view_artifact(t, job, slice_str(name), &a), 0);
	if (bytes)
		assert_true(slice_is(a.data, bytes));
	store_abort(t);
}

/* ---- artifacts ---- */

static void an_artifact_finds_its_name(void **state)
{
	char line[512];

	(void)state;
	damage_move_row(good.rig.store, TABLE_ARTIFACTS, key_artifact(&good.succeeded, slice_str("preview")),
			key_artifact(&good.succeeded, slice_str("qreview")));
	snprintf(line, sizeof(line),
		 "artifact preview of job %s: stood under the key of artifact qreview of job %s: put back\n",
		 uuid_format(&good.succeeded).text, uuid_format(&good.succeeded).text);
	expect_mended(line);
	expect_artifact(&good.succeeded, "preview", "still");
	assert_int_equal(rig_job(&good.rig, &good.succeeded)->artifacts_count, 2);
}

/* With a file: the other job is none the worse for it. */
static void an_artifact_finds_its_job(void **state)
{
	char line[512];

	(void)state;
	damage_move_row(good.rig.store, TABLE_ARTIFACTS, key_artifact(&good.succeeded, slice_str("result")),
			key_artifact(&good.running, slice_str("result")));
	snprintf(line, sizeof(line),
		 "artifact result of job %s: stood under the key of artifact result of job %s: put back\n",
		 uuid_format(&good.succeeded).text, uuid_format(&good.running).text);
	expect_mended(line);
	expect_artifact(&good.succeeded, "result", NULL);
	assert_int_equal(rig_job(&good.rig, &good.running)->artifacts_count, 0);
	assert_int_equal(rig_job(&good.rig, &good.running)->state, JOB_RUNNING);
}

static void an_artifact_whose_place_is_taken_is_dropped(void **state)
{
	struct key own = key_artifact(&good.succeeded, slice_str("preview"));

	(void)state;
	put_artifact(key_artifact(&good.running, slice_str("preview")), own, "older");
	expect_mended(": another row stands where it belongs: dropped\n");
	expect_artifact(&good.succeeded, "preview", "still");
	assert_int_equal(rig_job(&good.rig, &good.running)->artifacts_count, 0);
}

static void what_cannot_be_read_takes_no_place(void **state)
{
	struct key own = key_artifact(&good.succeeded, slice_str("preview"));

	(void)state;
	good_flip(TABLE_ARTIFACTS, own);
	put_artifact(key_artifact(&good.succeeded, slice_str("qreview")), own, "still");
	expect_mended(": put back\n");
	expect_artifact(&good.succeeded, "preview", "still");
}

/* Of a store that was migrated: the record was written with the key that it stood under, which had flipped before. */
static void a_job_with_more_than_it_counts_is_set_aside(void **state)
{
	struct key foreign = key_artifact(&good.running, slice_str("video"));

	(void)state;
	put_artifact(foreign, foreign, "whose?");
	expect_mended(": an artifact may be another job's: set aside\n");
	rig_job(&good.rig, &good.running);
	assert_int_equal(good.rig.code, ERR_CORRUPT);
}

static void the_artifact_of_a_job_that_is_gone_is_dropped(void **state)
{
	struct uuid nobody = { { 0x55 } };

	(void)state;
	put_artifact(key_artifact(&good.running, slice_str("video")), key_artifact(&nobody, slice_str("video")), "x");
	expect_mended("artifacts, job 55000000-0000-0000-0000-000000000000: there is no such job: dropped\n");
	assert_int_equal(rig_job(&good.rig, &good.running)->artifacts_count, 0);
}

/* ---- two under one key, as a bad disk leaves it ---- */

static void attach(const struct uuid *job, const char *bytes)
{
	struct command_attach params = { .id = *job, .name = slice_str("still") };

	params.staged.content_type = slice_str("image/png");
	params.staged.data = slice_str(bytes);
	params.staged.size = (int64_t)params.staged.data.size;
	blob_sha256(params.staged.data, params.staged.sha256);
	rig_run(&good.rig, COMMAND_ATTACH, &params);
	assert_int_equal(good.rig.code, 0);
}

/* Two jobs whose ids differ in one bit, each with a still. */
static void put_pair(struct uuid pair[2])
{
	struct uuid first = rig_put_many(&good.rig, "q", NULL, 3);

	pair[0] = first;
	if (pair[0].bytes[15] & 1)
		uuid_next(&first, &pair[0]);
	uuid_next(&pair[0], &pair[1]);
	assert_int_equal(pair[0].bytes[15] ^ pair[1].bytes[15], 1);
	attach(&pair[0], "of the first");
	attach(&pair[1], "of the second");
}

/* Each of the two is flipped to the other's. */
static void expect_told_apart(enum store_table table, struct key first, struct key second, size_t bit)
{
	const struct key keys[] = { first, second };

	for (int i = 0; i < 2; i++) {
		struct good_spot spot = good_spot(table, keys[i]);

		rig_pause(&good.rig);
		good_flip_key(&spot, bit);
		rig_resume(&good.rig);
		expect_mended(": two rows stand under it: one is put where it belongs\n");
		/* Fails where one is not there. */
		good_spot(table, first);
		good_spot(table, second);
	}
}

static void two_artifacts_under_one_key_are_told_apart(void **state)
{
	struct uuid pair[2];

	(void)state;
	put_pair(pair);
	expect_told_apart(TABLE_ARTIFACTS, key_artifact(&pair[0], slice_str("still")),
			  key_artifact(&pair[1], slice_str("still")), 8 * 15);
	expect_artifact(&pair[0], "still", "of the first");
	expect_artifact(&pair[1], "still", "of the second");
}

/* ---- checkpoints ---- */

static void put_checkpoint(const struct uuid *job, const struct token *lease)
{
	const struct msg_job_checkpoint params = {
		.has_id = true,
		.id = *job,
		.has_lease = true,
		.lease = *lease,
		.has_data = true,
		.data = slice_str("provider-id"),
	};

	rig_run(&good.rig, COMMAND_CHECKPOINT, &params);
	assert_int_equal(good.rig.code, 0);
}

/* So its call is resumed, and nobody else resumes it. */
static void a_checkpoint_finds_its_job(void **state)
{
	struct msg_job_release release = { .has_id = true, .has_lease = true };
	struct msg_leased_job job;
	char line[256];

	(void)state;
	assert_true(rig_lease(&good.rig, "q", &job));
	release.id = job.id;
	release.lease = job.lease;
	put_checkpoint(&release.id, &release.lease);
	rig_run(&good.rig, COMMAND_RELEASE, &release);
	damage_move_row(good.rig.store, TABLE_CHECKPOINTS, key_job(&release.id), key_job(&good.running));
	snprintf(line, sizeof(line), "checkpoint of job %s: stood under the key of checkpoint of job %s: put back\n",
		 uuid_format(&release.id).text, uuid_format(&good.running).text);
	expect_mended(line);
	assert_true(rig_lease(&good.rig, "q", &job));
	assert_true(uuid_equal(&job.id, &release.id));
	assert_true(slice_is(job.checkpoint, "provider-id"));
}

static void two_checkpoints_under_one_key_are_told_apart(void **state)
{
	static const char *const queue = "q";
	struct uuid pair[2];
	struct token leases[2] = { { { 0 } } };

	(void)state;
	put_pair(pair);
	assert_int_equal(rig_lease_many(&good.rig, &queue, 1, 4), 4);
	for (size_t i = 0; i < good.rig.answer.lease.jobs_count; i++)
		for (int j = 0; j < 2; j++)
			if (uuid_equal(&good.rig.answer.lease.jobs[i].id, &pair[j]))
				leases[j] = good.rig.answer.lease.jobs[i].lease;
	put_checkpoint(&pair[0], &leases[0]);
	put_checkpoint(&pair[1], &leases[1]);
	expect_told_apart(TABLE_CHECKPOINTS, key_job(&pair[0]), key_job(&pair[1]), 8 * 15);
}

/* ---- flow control ---- */

static struct key group_key(uint32_t queue, uint8_t priority, const char *group)
{
	return key_group(queue, priority, slice_str(group));
}

static void make_flow(void)
{
	struct group_weight weight = { .group = slice_str("ada"), .weight = 5 };

	rig_queue_set(&good.rig, "q",
		      (struct msg_queue_set){ .has_weights = true, .weights = &weight, .weights_count = 1 });
	rig_put_many(&good.rig, "q", "ada", 3);
	rig_limit_set(&good.rig, "render", (struct msg_limit_set){ .has_concurrency = true, .concurrency = 3 });
	rig_put_many(&good.rig, "other", "bob", 1);
	assert_int_equal(good.rig.code, 0);
}

static void a_place_finds_its_line(void **state)
{
	(void)state;
	make_flow();
	damage_move_row(good.rig.store, TABLE_GROUPS, group_key(0, PRIORITY, "ada"), group_key(1, PRIORITY, "ada"));
	expect_mended("place in line of group ada in queue 0, priority 5: stood under the key of place in line of "
		      "group ada in queue 1, priority 5: put back\n");
}

static void a_weight_finds_its_group(void **state)
{
	(void)state;
	make_flow();
	damage_move_row(good.rig.store, TABLE_WEIGHTS, group_key(0, 0, "ada"), group_key(0, 0, "aea"));
	expect_mended("weight of group ada in queue 0: stood under the key of weight of group aea in queue 0: put "
		      "back\n");
	assert_int_equal(rig_queue(&good.rig, "q").weights_count, 1);
	assert_true(slice_is(rig_queue(&good.rig, "q").weights[0].group, "ada"));
}

static void a_limit_finds_its_name(void **state)
{
	(void)state;
	make_flow();
	damage_move_row(good.rig.store, TABLE_LIMITS, key_name(slice_str("render")), key_name(slice_str("sender")));
	expect_mended("limit render: stood under the key of limit sender: put back\n");
	assert_int_equal(rig_limit(&good.rig, "render")->concurrency, 3);
}

/* 'a' and 'c' differ in one bit. */
static void two_groups_under_one_key_are_told_apart(void **state)
{
	struct group_weight weights[] = { { .group = slice_str("ada"), .weight = 5 },
					  { .group = slice_str("adc"), .weight = 3 } };
	const size_t bit = 8 * (4 + 1 + 2) + 1;

	(void)state;
	rig_queue_set(&good.rig, "q",
		      (struct msg_queue_set){ .has_weights = true, .weights = weights, .weights_count = 2 });
	rig_put_many(&good.rig, "q", "ada", 3);
	rig_put_many(&good.rig, "q", "adc", 2);
	expect_told_apart(TABLE_WEIGHTS, group_key(0, 0, "ada"), group_key(0, 0, "adc"), bit);
	assert_int_equal(rig_queue(&good.rig, "q").weights[0].weight, 5);
	assert_int_equal(rig_queue(&good.rig, "q").weights[1].weight, 3);
	expect_told_apart(TABLE_GROUPS, group_key(0, PRIORITY, "ada"), group_key(0, PRIORITY, "adc"), bit);
}

static void two_limits_under_one_key_are_told_apart(void **state)
{
	(void)state;
	rig_limit_set(&good.rig, "la", (struct msg_limit_set){ .has_concurrency = true, .concurrency = 3 });
	rig_limit_set(&good.rig, "lc", (struct msg_limit_set){ .has_concurrency = true, .concurrency = 4 });
	expect_told_apart(TABLE_LIMITS, key_name(slice_str("la")), key_name(slice_str("lc")), 8 + 1);
	assert_int_equal(rig_limit(&good.rig, "la")->concurrency, 3);
	assert_int_equal(rig_limit(&good.rig, "lc")->concurrency, 4);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, good_setup, good_teardown)
	const struct CMUnitTest tests[] = {
		T(an_artifact_finds_its_name),
		T(an_artifact_finds_its_job),
		T(an_artifact_whose_place_is_taken_is_dropped),
		T(what_cannot_be_read_takes_no_place),
		T(a_job_with_more_than_it_counts_is_set_aside),
		T(the_artifact_of_a_job_that_is_gone_is_dropped),
		T(two_artifacts_under_one_key_are_told_apart),
		T(two_checkpoints_under_one_key_are_told_apart),
		T(two_groups_under_one_key_are_told_apart),
		T(two_limits_under_one_key_are_told_apart),
		T(a_checkpoint_finds_its_job),
		T(a_place_finds_its_line),
		T(a_weight_finds_its_group),
		T(a_limit_finds_its_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
