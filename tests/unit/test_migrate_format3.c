/* A data directory of format 3 (tests/unit/data/README.md) opens: what holds its key since then is written anew, and
 * says what it said. What is damaged stays damaged; a migration that is cut off leaves the old format whole. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/engine/view.h"
#include "tests/harness/old_store.h"

#define FIXTURE	 "tests/unit/data/format3.tar.gz"
#define FILMS	 2
#define PRIORITY 5

static int setup(void **state)
{
	(void)state;
	old_setup(FIXTURE);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	old_teardown();
	return 0;
}

/* ---- all comes over ---- */

static void nothing_is_lost_or_wrong(void **state)
{
	(void)state;
	old_migrate();
	/* Three artifacts, a checkpoint, three places of groups and two weights. */
	assert_string_equal(old.said, "migrating the data directory from format 3 to format 4: 9 records\n");
	assert_int_equal(old_check().jobs, 21);
	assert_int_equal(old_check().artifacts, 3);
	assert_int_equal(old_check().breaches, 0);
	assert_int_equal(old_check().notices, 0);
}

static void artifacts_say_what_they_said(void **state)
{
	struct store_txn *t;
	struct artifact a;
	struct uuid id;

	(void)state;
	old_migrate();
	id = old_find("succeeded");
	assert_int_equal(rig_job(&old.rig, &id)->artifacts_count, 2);
	assert_int_equal(store_begin_read(old.rig.store, &t), 0);
	assert_int_equal(view_artifact(t, &id, slice_str("preview"), &a), 0);
	assert_true(slice_is(a.content_type, "image/png") && slice_is(a.data, "a still"));
	assert_int_equal(view_artifact(t, &id, slice_str("result"), &a), 0);
	assert_true(slice_is(a.content_type, "video/mp4") && a.has_blob);
	assert_int_equal(a.blob.bytes[0], 0xb1);
	assert_int_equal(a.size, 40000);
	assert_in_range(a.created_at_ms, OLD_NOW_MS - 200 * INT64_C(86400000), OLD_NOW_MS);
	store_abort(t);
}

static void a_checkpoint_is_handed_on(void **state)
{
	struct msg_leased_job job;

	(void)state;
	old_migrate();
	rig_pass(&old.rig, 600000); /* the lease is over */
	while (rig_lease(&old.rig, "films", &job))
		if (slice_is(job.payload, "running"))
			break;
	assert_true(slice_is(job.payload, "running"));
	assert_true(slice_is(job.checkpoint, "provider-id-7"));
}

static uint64_t place_of(const char *group)
{
	struct key key = key_group(FILMS, PRIORITY, slice_str(group));
	struct store_txn *t;
	struct slice value;
	uint64_t finish;

	assert_int_equal(store_begin_read(old.rig.store, &t), 0);
	assert_int_equal(store_get(t, TABLE_GROUPS, key_slice(&key), &value), 0);
	assert_int_equal(record_read_finish(key_slice(&key), value, &finish), 0);
	store_abort(t);
	return finish;
}

static void groups_keep_their_places_and_weights(void **state)
{
	struct msg_queue q;

	(void)state;
	old_migrate();
	q = rig_queue(&old.rig, "films");
	assert_int_equal(q.weights_count, 2);
	assert_true(slice_is(q.weights[0].group, "ada") && q.weights[0].weight == 5);
	assert_true(slice_is(q.weights[1].group, "bob") && q.weights[1].weight == 2);
	/* As they stand in the old file. */
	assert_true(place_of("ada") == 0x2000000);
	assert_true(place_of("bob") == 0x2000001);
	assert_int_equal(rig_limit(&old.rig, "render")->concurrency, 3);
}

static void it_opens_again_as_it_is(void **state)
{
	(void)state;
	old_migrate();
	rig_restart(&old.rig);
	assert_int_equal(old_check().breaches, 0);
	rig_check(&old.rig);
}

/* ---- damage ---- */

static void what_is_damaged_stays_damaged(void **state)
{
	struct store_txn *t;
	struct artifact a;
	struct uuid id;

	(void)state;
	old.rig.unchecked = true;
	old_flip("another still", 0);
	old_flip("provider-id-7", 0);
	old_migrate();
	assert_int_equal(old_check().breaches, 2);
	assert_int_equal(old_check().damaged, 2);
	id = old_find("running");
	assert_int_equal(rig_job(&old.rig, &id)->artifacts_count, 0);
	assert_int_equal(store_begin_read(old.rig.store, &t), 0);
	assert_int_equal(view_artifact(t, &id, slice_str("preview"), &a), ERR_CORRUPT);
	store_abort(t);
}

/* ---- all or nothing ---- */

static void expect_format3(void)
{
	struct error_info info = { 0 };
	struct store *s;

	assert_int_equal(old_open(true, OLD_MAP_BYTES, &s, &info), ERR_UNSUPPORTED_VERSION);
	assert_non_null(strstr(info.message, "has format 3: a start of raincheckd migrates it to format 4"));
}

static void kill_cb(void *user, const char *line)
{
	(void)user;
	(void)line;
	kill(getpid(), SIGKILL);
}

static void a_killed_migration_leaves_the_old_format(void **state)
{
	const struct store_options options = { .dir = old.rig.dir.path, .max_bytes = OLD_MAP_BYTES, .notice = kill_cb };
	struct error_info info = { 0 };
	struct store *s;
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		_exit(store_open(&options, &s, &info) < 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	expect_format3();
	old_migrate();
	assert_int_equal(old_check().breaches, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(nothing_is_lost_or_wrong),
		T(artifacts_say_what_they_said),
		T(a_checkpoint_is_handed_on),
		T(groups_keep_their_places_and_weights),
		T(it_opens_again_as_it_is),
		T(what_is_damaged_stays_damaged),
		T(a_killed_migration_leaves_the_old_format),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
