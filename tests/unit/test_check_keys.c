/* A key has no checksum: whichever bit of whichever key flips, in every table, the check finds it. What stands in
 * another's place, and would be taken for the other's, is named with both places. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/clean.h"
#include "server/broker_secret.h"
#include "server/store/copy.h"
#include "server/store/record_bytes.h"
#include "tests/harness/check_rig.h"
#include "tests/harness/damage.h"

#define QUEUE_Q	    0
#define QUEUE_OTHER 1
#define PRIORITY    5

static struct uuid aside; /* set aside */

/* ---- a store with rows in every table ---- */

static struct uuid put(const char *queue, const char *group)
{
	struct msg_job_put params = rig_put_of(queue, "x");

	params.has_group = group != NULL;
	params.group = slice_str(group);
	params.has_priority = true;
	params.priority = PRIORITY;
	return rig_put_params(&checked.rig, &params);
}

static void make_flow(void)
{
	struct group_weight weight = { .group = slice_str("ada"), .weight = 5 };

	rig_queue_set(&checked.rig, "q",
		      (struct msg_queue_set){ .has_weights = true, .weights = &weight, .weights_count = 1 });
	put("q", "ada");
	put("q", "ada");
	put("other", "bob");
	put("other", "bob");
	rig_limit_set(&checked.rig, "render", (struct msg_limit_set){ .has_concurrency = true, .concurrency = 3 });
	assert_int_equal(checked.rig.code, 0);
}

static void make_set_aside(void)
{
	struct msg_leased_job job;

	aside = put("broken", NULL);
	checked_flip(TABLE_JOBS, key_job(&aside));
	checked.rig.unchecked = true;
	assert_false(rig_lease(&checked.rig, "broken", &job));
}

static int setup(void **state)
{
	void *row = *state;
	uint8_t secret[32];
	struct error_info info = { 0 };

	checked_setup(state);
	make_flow();
	make_set_aside();
	assert_int_equal(broker_secret_load(checked.rig.store, secret, &info), 0);
	assert_int_equal(checked_run(), 0);
	assert_int_equal(checked_found.set_aside, 1);
	*state = row;
	return 0;
}

static int teardown(void **state)
{
	return checked_teardown(state);
}

/* ---- every bit ---- */

static bool is_there(enum store_table table, const struct key *key)
{
	struct store_txn *t;
	struct slice value;
	int rc;

	assert_int_equal(store_begin_read(checked.rig.store, &t), 0);
	rc = store_get(t, table, key_slice(key), &value);
	store_abort(t);
	return rc == 0;
}

static bool holds_its_key(enum store_table table)
{
	return table == TABLE_ARTIFACTS || table == TABLE_CHECKPOINTS || table == TABLE_GROUPS ||
	       table == TABLE_WEIGHTS || table == TABLE_LIMITS;
}

static void expect_found(enum store_table table, size_t bit)
{
	if (checked_run() == 0)
		fail_msg("%s: bit %zu of a key: nothing is found", copy_table_name(table), bit);
	if (holds_its_key(table) && !strstr(checked_said, ": stands under the key of "))
		fail_msg("%s: bit %zu of a key: not named, but:\n%s", copy_table_name(table), bit, checked_said);
}

/* Two rows under one key stand out of order, which test_pages.c finds: where a key would become another's it is left.
 * Those may be few. */
static void flip_every_bit(enum store_table table, const struct key *key)
{
	struct key last = *key;
	size_t tried = 0;

	for (size_t bit = 0; bit < 8 * key->size; bit++) {
		struct key flipped = *key;

		flipped.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		if (is_there(table, &flipped))
			continue;
		damage_move_row(checked.rig.store, table, last, flipped);
		last = flipped;
		expect_found(table, bit);
		tried++;
	}
	assert_true(tried > 0 && tried + 8 >= 8 * key->size);
	damage_move_row(checked.rig.store, table, last, *key);
	assert_int_equal(checked_run(), 0);
}

/* The first and the last of a table, which are rows of two jobs where it has any. */
static struct key key_at_end(enum store_table table, bool first)
{
	struct slice key, value;
	struct store_txn *t;
	struct key copy;

	assert_int_equal(store_begin_read(checked.rig.store, &t), 0);
	if (first)
		assert_int_equal(store_seek(t, table, slice_of(NULL, 0), &key, &value), 0);
	else
		assert_int_equal(store_seek_back(t, table, slice_of(NULL, 0), &key, &value), 0);
	copy = key_copy(key);
	store_abort(t);
	return copy;
}

static void every_flipped_bit_of_a_key_is_found(void **state)
{
	enum store_table table = (enum store_table)(uintptr_t)*state;
	struct key first = key_at_end(table, true), last = key_at_end(table, false);

	flip_every_bit(table, &first);
	if (!slice_equal(key_slice(&first), key_slice(&last)))
		flip_every_bit(table, &last);
}

/* ---- in another's place: as if many bits had flipped, or one of two ids that follow each other ---- */

static void take_place(enum store_table table, struct key from, struct key to)
{
	damage_move_row(checked.rig.store, table, from, to);
	assert_true(checked_run() > 0);
}

static void expect_said(const char *line)
{
	if (!strstr(checked_said, line))
		fail_msg("\"%s\" was not said, but:\n%s", line, checked_said);
}

static void an_artifact_of_another_name(void **state)
{
	char line[512];

	(void)state;
	take_place(TABLE_ARTIFACTS, key_artifact(&checked.succeeded, slice_str("preview")),
		   key_artifact(&checked.succeeded, slice_str("preview\xf0\n")));
	snprintf(line, sizeof(line),
		 "artifact preview of job %s: stands under the key of artifact preview\\xf0\\x0a of job %s\n",
		 uuid_format(&checked.succeeded).text, uuid_format(&checked.succeeded).text);
	expect_said(line);
	/* Nothing else is wrong: the job has as many as it counts. */
	assert_int_equal(checked_found.breaches, 1);
	assert_int_equal(checked_found.damaged, 0);
}

/* Nothing is known of it but that its checksum is right: not where it belongs either. */
static void a_record_of_no_shape_is_nobodys(void **state)
{
	static const uint8_t body[] = { 3, 0, 0, 0, 'k', 'e', 'y' };
	char line[512];
	struct buf record;

	(void)state;
	buf_init(&record, 64);
	begin_record(&record);
	buf_append(&record, body, sizeof(body));
	assert_int_equal(end_record(&record, 0), 0);
	checked_set(TABLE_ARTIFACTS, key_artifact(&checked.succeeded, slice_str("preview")), buf_slice(&record));
	buf_done(&record);
	assert_int_equal(checked_run(), 1);
	snprintf(line, sizeof(line), "artifact preview of job %s: is damaged\n", uuid_format(&checked.succeeded).text);
	expect_said(line);
}

static void an_artifact_of_another_job(void **state)
{
	char line[512];

	(void)state;
	take_place(TABLE_ARTIFACTS, key_artifact(&checked.succeeded, slice_str("result")),
		   key_artifact(&checked.running, slice_str("result")));
	snprintf(line, sizeof(line), "artifact result of job %s: stands under the key of artifact result of job %s\n",
		 uuid_format(&checked.succeeded).text, uuid_format(&checked.running).text);
	expect_said(line);
}

static void a_checkpoint_of_another_job(void **state)
{
	char line[512];

	(void)state;
	take_place(TABLE_CHECKPOINTS, key_job(&checked.running), key_job(&checked.scheduled));
	snprintf(line, sizeof(line), "checkpoint of job %s: stands under the key of checkpoint of job %s\n",
		 uuid_format(&checked.running).text, uuid_format(&checked.scheduled).text);
	expect_said(line);
	assert_int_equal(checked_found.breaches, 1);
}

static void a_place_of_another_group(void **state)
{
	(void)state;
	take_place(TABLE_GROUPS, key_group(QUEUE_Q, PRIORITY, slice_str("ada")),
		   key_group(QUEUE_OTHER, PRIORITY, slice_str("ada")));
	expect_said("place in line of group ada in queue 0, priority 5: stands under the key of place in line of "
		    "group ada in queue 1, priority 5\n");
	assert_int_equal(checked_found.breaches, 1);
}

static void a_weight_of_another_group(void **state)
{
	(void)state;
	take_place(TABLE_WEIGHTS, key_group(QUEUE_Q, 0, slice_str("ada")), key_group(QUEUE_OTHER, 0, slice_str("bob")));
	expect_said("weight of group ada in queue 0: stands under the key of weight of group bob in queue 1\n");
	assert_int_equal(checked_found.breaches, 1);
}

static void a_limit_of_another_name(void **state)
{
	(void)state;
	take_place(TABLE_LIMITS, key_name(slice_str("render")), key_name(slice_str("sender")));
	expect_said("limit render: stands under the key of limit sender\n");
	assert_int_equal(checked_found.breaches, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest others[] = {
		T(an_artifact_of_another_name), T(a_record_of_no_shape_is_nobodys), T(an_artifact_of_another_job),
		T(a_checkpoint_of_another_job), T(a_place_of_another_group),	    T(a_weight_of_another_group),
		T(a_limit_of_another_name),
	};
	struct CMUnitTest tests[STORE_TABLES + ARRAY_SIZE(others)];

	for (int i = 0; i < STORE_TABLES; i++)
		tests[i] =
			(struct CMUnitTest){ copy_table_name((enum store_table)i), every_flipped_bit_of_a_key_is_found,
					     setup, teardown, (void *)(uintptr_t)i };
	memcpy(tests + STORE_TABLES, others, sizeof(others));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
