/* Compaction of a file whose pages are damaged: what stood on them is made anew where the rest tells it, is read as it
 * is where only a page's number is wrong, and is refused by name elsewhere.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/clean.h"
#include "server/upkeep/compact.h"
#include "tests/harness/damage.h"
#include "tests/harness/good_store.h"

#define NUMBER_AT 0 /* in the head of a page */
#define KIND_AT	  10
#define LOWER_AT  12

static struct error_info why;
static struct compact_result compacted;
static char said[8192];

static void report_cb(void *user, const char *line)
{
	size_t size = strlen(said);

	(void)user;
	snprintf(said + size, sizeof(said) - size, "%s\n", line);
}

static int compact(void)
{
	const struct compact_options options = { .dir = good.rig.dir.path, .max_bytes = 1 << 28, .report = report_cb };

	memset(&why, 0, sizeof(why));
	said[0] = '\0';
	return compact_run(&options, &compacted, &why);
}

static void expect_said(const char *line)
{
	if (!strstr(said, line))
		fail_msg("\"%s\" was not said, but:\n%s", line, said);
}

static int setup(void **state)
{
	struct uuid erased;
	int rc = good_setup(state);

	/* A tombstone, whose entry in the due index is made anew too; and more pages that are free. */
	erased = good_put((struct msg_job_put){ .has_priority = false });
	rig_erase(&good.rig, &erased);
	return rc;
}

/* Every job is there and goes on; the checker has found nothing. */
static void expect_all_well(void)
{
	struct msg_job_put again = rig_put_of("q", "");
	struct msg_leased_job job;
	struct msg_queue queue;

	rig_resume(&good.rig);
	rig_check(&good.rig);
	queue = rig_queue(&good.rig, "q");
	assert_int_equal(queue.counts.ready, 1);
	assert_int_equal(queue.counts.running, 1);
	assert_int_equal(queue.counts.succeeded, 1);
	assert_int_equal(rig_state(&good.rig, &good.succeeded), JOB_SUCCEEDED);
	again.has_idempotency_key = true;
	again.idempotency_key = slice_str("key");
	rig_job(&good.rig, &good.ready);
	again.payload = good.rig.view.input.payload;
	rig_put_params(&good.rig, &again);
	assert_int_equal(good.rig.code, 0);
	assert_false(good.rig.answer.put.created);
	assert_memory_equal(&good.rig.answer.put.id, &good.ready, sizeof(good.ready));
	assert_true(rig_lease(&good.rig, "q", &job));
	assert_memory_equal(&job.id, &good.ready, sizeof(job.id));
	rig_pass(&good.rig, 30000);
	assert_int_equal(rig_state(&good.rig, &good.running), JOB_READY);
	rig_pass(&good.rig, good.rig.settings.tombstone_ttl_ms);
	rig_check(&good.rig);
}

/* ---- what can be made anew ---- */

static const struct derived {
	const char *table;
	const char *left_out, *made; /* lines */
} derived[] = {
	{ "ready", "the ready index: its pages are damaged", "the ready index: 1 rows made anew from the records" },
	{ "due", "the due index: its pages are damaged", "the due index: 3 rows made anew from the records" },
	{ "idempotency", "idempotency keys: its pages are damaged",
	  "idempotency keys: 1 rows made anew from the records" },
	{ "blobs", "the blob list: its pages are damaged", "the blob list: 1 rows made anew from the records" },
	{ "names", "names: its pages are damaged", "names: 1 rows made anew from the records" },
};

static void make_anew(const struct derived *d, size_t byte, uint8_t bits)
{
	rig_pause(&good.rig);
	good_save_file();
	damage_root(&good.rig.dir, d->table, byte, bits);
	assert_int_equal(compact(), 0);
	expect_said(d->left_out);
	expect_said(d->made);
	assert_null(strstr(said, "was missing"));
	assert_true(compacted.restored > 0);
	rig_resume(&good.rig);
	rig_check(&good.rig);
	rig_pause(&good.rig);
	good_restore_file();
	rig_resume(&good.rig);
}

static void a_derived_table_is_made_anew(void **state)
{
	const struct derived *d = *state;

	setup(NULL);
	make_anew(d, KIND_AT, 2);
	make_anew(d, LOWER_AT, 2);
	make_anew(d, LOWER_AT + 2, 4);
	rig_pause(&good.rig);
	damage_root(&good.rig.dir, d->table, KIND_AT, 4);
	assert_int_equal(compact(), 0);
	expect_all_well();
	good_teardown(NULL);
}

static void several_derived_tables_are_made_anew(void **state)
{
	(void)state;
	rig_pause(&good.rig);
	for (size_t i = 0; i < ARRAY_SIZE(derived); i++)
		damage_root(&good.rig.dir, derived[i].table, KIND_AT, 1);
	assert_int_equal(compact(), 0);
	for (size_t i = 0; i < ARRAY_SIZE(derived); i++)
		expect_said(derived[i].made);
	expect_all_well();
}

static void the_list_of_free_pages_is_not_needed(void **state)
{
	static const size_t bytes[] = { NUMBER_AT, KIND_AT, LOWER_AT };

	(void)state;
	rig_pause(&good.rig);
	good_save_file();
	for (size_t i = 0; i < ARRAY_SIZE(bytes); i++) {
		struct error_info info = { 0 };

		good_restore_file();
		damage_root(&good.rig.dir, NULL, bytes[i], 4);
		assert_int_equal(rig_try_resume(&good.rig, &info), ERR_CORRUPT);
		assert_non_null(strstr(info.message, "the list of free pages, page "));
		assert_non_null(strstr(info.message, "raincheckd --compact"));
		assert_int_equal(compact(), 0);
	}
	expect_said("the list of free pages: is damaged: left out");
	expect_all_well();
}

/* ---- what is read as it is ---- */

static void a_wrong_number_harms_no_copy(void **state)
{
	(void)state;
	rig_pause(&good.rig);
	damage_root(&good.rig.dir, "jobs", NUMBER_AT, 1);
	damage_root(&good.rig.dir, "inputs", NUMBER_AT + 1, 8);
	damage_root(&good.rig.dir, "artifacts", NUMBER_AT + 7, 128);
	assert_int_equal(compact(), 0);
	expect_said("table jobs, page ");
	expect_said(": its number is another");
	assert_int_equal(compacted.restored + compacted.dropped + compacted.set_aside, 0);
	expect_all_well();
}

/* ---- what is refused ---- */

static void what_cannot_be_made_anew_is_refused_by_name(void **state)
{
	static const char *const tables[] = { "jobs", "inputs", "artifacts", "queues", "meta", "tombstones" };

	(void)state;
	rig_pause(&good.rig);
	good_save_file();
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		char place[32];

		damage_root(&good.rig.dir, "ready", KIND_AT, 1);
		damage_root(&good.rig.dir, tables[i], LOWER_AT, 4);
		assert_int_equal(compact(), ERR_CORRUPT);
		snprintf(place, sizeof(place), "table %s, page ", tables[i]);
		if (!strstr(why.message, place))
			fail_msg("\"%s\" does not name %s", why.message, tables[i]);
		good_restore_file();
	}
	expect_all_well();
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, good_teardown)
	const struct CMUnitTest others[] = {
		T(several_derived_tables_are_made_anew),
		T(the_list_of_free_pages_is_not_needed),
		T(a_wrong_number_harms_no_copy),
		T(what_cannot_be_made_anew_is_refused_by_name),
	};
	struct CMUnitTest tests[ARRAY_SIZE(derived) + ARRAY_SIZE(others)];
	struct CMUnitTest *next = tests + ARRAY_SIZE(others);

	memcpy(tests, others, sizeof(others));
	for (size_t i = 0; i < ARRAY_SIZE(derived); i++)
		*next++ = (struct CMUnitTest){ .name = derived[i].table,
					       .test_func = a_derived_table_is_made_anew,
					       .initial_state = (void *)(uintptr_t)&derived[i] };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
