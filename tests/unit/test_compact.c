/* Compaction: nothing is lost, nothing of what was erased is left, and whoever is killed at it leaves the directory
 * whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/upkeep/compact.h"
#include "tests/harness/good_store.h"

static struct error_info why;
static struct compact_result compacted;

static int compact(void)
{
	const struct compact_options options = { .dir = good.rig.dir.path,
						 .max_bytes = 1 << 28,
						 .progress = good_step_cb };

	memset(&why, 0, sizeof(why));
	return compact_run(&options, &compacted, &why);
}

static void what_was_erased_is_gone_after_compaction(void **state)
{
	struct uuid id = good_put_marked();

	(void)state;
	good_erase_marked(&id);
	rig_pause(&good.rig);
	/* Free pages keep what stood in them until they are used again. */
	assert_true(good_marks_in(good.rig.dir.path) > 0);
	assert_int_equal(compact(), 0);
	assert_int_equal(good_marks_in(good.rig.dir.path), 0);
	rig_resume(&good.rig);
	rig_check(&good.rig);
	rig_job(&good.rig, &id);
	assert_int_equal(good.rig.code, ERR_GONE);
}

static void compaction_gives_the_room_back(void **state)
{
	struct command_change all = { .action = CHANGE_ERASE,
				      .filter = { .has_group = true, .group = slice_str("bulk") } };
	static char payload[2000];

	(void)state;
	memset(payload, 'p', sizeof(payload));
	good.rig.unchecked = true;
	for (int i = 0; i < 1000; i++)
		good_put((struct msg_job_put){
			.payload = slice_of(payload, sizeof(payload)), .has_group = true, .group = slice_str("bulk") });
	rig_change(&good.rig, &all);
	assert_int_equal(good.rig.answer.change.count, 1000);
	rig_pause(&good.rig);
	assert_int_equal(compact(), 0);
	assert_true(compacted.before_bytes > 2000000);
	assert_true(compacted.after_bytes < 600000);
	assert_int_equal(access(tempdir_file(&good.rig.dir, "compact.partial"), F_OK), -1);
	rig_resume(&good.rig);
	rig_check(&good.rig);
	assert_int_equal(rig_job(&good.rig, &good.ready)->state, JOB_READY);
}

/* Bytes of all keys and values. */
static int64_t content_bytes(void)
{
	struct store_txn *t;
	int64_t sum = 0;

	assert_int_equal(store_begin_read(good.rig.store, &t), 0);
	for (int table = 0; table < STORE_TABLES; table++) {
		struct slice key, value;
		int rc = store_seek(t, (enum store_table)table, slice_of(NULL, 0), &key, &value);

		for (; rc == 0; rc = store_next(t, (enum store_table)table, &key, &value))
			sum += (int64_t)(key.size + value.size);
	}
	store_abort(t);
	return sum;
}

/* Small values, so that what the pages need for themselves weighs most. */
static void its_pages_are_filled(void **state)
{
	int64_t content;

	(void)state;
	good.rig.unchecked = true;
	for (int i = 0; i < 3000; i++)
		good_put((struct msg_job_put){ .has_priority = true, .priority = 5 });
	content = content_bytes();
	rig_pause(&good.rig);
	assert_int_equal(compact(), 0);
	print_message("# %lld bytes of keys and values in a file of %lld, %lld before\n", (long long)content,
		      (long long)compacted.after_bytes, (long long)compacted.before_bytes);
	assert_true(compacted.after_bytes < content * 13 / 10);
	rig_resume(&good.rig);
	rig_check(&good.rig);
}

static void a_killed_compaction_changes_nothing(void **state)
{
	int killed = 0, within = 0;

	(void)state;
	rig_pause(&good.rig);
	for (; !good_survives(killed, compact); killed++) {
		within += access(tempdir_file(&good.rig.dir, "compact.partial"), F_OK) == 0;
		rig_resume(&good.rig);
		rig_check(&good.rig);
		rig_pause(&good.rig);
	}
	assert_true(within > 2);
	assert_int_equal(access(tempdir_file(&good.rig.dir, "compact.partial"), F_OK), -1);
	rig_resume(&good.rig);
	rig_check(&good.rig);
	assert_int_equal(rig_job(&good.rig, &good.ready)->state, JOB_READY);
}

static void what_is_used_or_not_whole_is_not_compacted(void **state)
{
	(void)state;
	assert_int_equal(compact(), ERR_CONFLICT);
	assert_non_null(strstr(why.message, "another raincheckd uses"));
	good_flip(TABLE_QUEUES, key_queue(0));
	rig_pause(&good.rig);
	assert_int_equal(compact(), ERR_CORRUPT);
	assert_non_null(strstr(why.message, "1 breaches that cannot be mended, nothing was changed: queue 0"));
	assert_int_equal(access(tempdir_file(&good.rig.dir, "compact.partial"), F_OK), -1);
	rig_resume(&good.rig);
}

static void what_a_killed_one_left_is_removed(void **state)
{
	char command[600];

	(void)state;
	assert_false(compact_clean(good.rig.dir.path));
	snprintf(command, sizeof(command), "mkdir -p '%s/compact.partial/mended' && touch '%s/compact.partial/lock'",
		 good.rig.dir.path, good.rig.dir.path);
	assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): the test's own words */
	assert_true(compact_clean(good.rig.dir.path));
	assert_int_equal(access(tempdir_file(&good.rig.dir, "compact.partial"), F_OK), -1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, good_setup, good_teardown)
	const struct CMUnitTest tests[] = {
		T(what_was_erased_is_gone_after_compaction),
		T(compaction_gives_the_room_back),
		T(its_pages_are_filled),
		T(a_killed_compaction_changes_nothing),
		T(what_is_used_or_not_whole_is_not_compacted),
		T(what_a_killed_one_left_is_removed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
