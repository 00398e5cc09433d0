/* A queue whose record is damaged costs its settings and nothing else: the engine starts, keeps its jobs and its name,
 * counts them anew, and pauses it until somebody has looked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "server/store/keys.h"
#include "tests/harness/damage.h"
#include "tests/harness/engine_rig.h"

static struct rig rig;

static int setup(void **state)
{
	(void)state;
	rig_open(&rig);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rig_close(&rig);
	return 0;
}

/* ---- damage, which a restart comes upon ---- */

static void change(enum store_table table, struct key key, bool drop)
{
	struct store_txn *t;
	struct slice value;
	uint8_t bytes[4096];

	store_abort(rig.view_txn);
	rig.view_txn = NULL;
	assert_int_equal(store_begin_write(rig.store, &t), 0);
	assert_int_equal(store_get(t, table, key_slice(&key), &value), 0);
	assert_in_range(value.size, 1, sizeof(bytes));
	memcpy(bytes, value.data, value.size);
	bytes[value.size / 2] ^= 0x10;
	assert_int_equal(drop ? store_delete(t, table, key_slice(&key))
			      : store_put(t, table, key_slice(&key), slice_of(bytes, value.size)),
			 0);
	assert_int_equal(store_commit(t), 0);
}

static void flip(enum store_table table, struct key key)
{
	change(table, key, false);
}

/* What was repaired is written before anybody reads. */
static void restart(void)
{
	rig_restart(&rig);
	if (!rig.unchecked)
		rig_check(&rig);
}

static void put_some(const char *queue, int count)
{
	char payload[32];

	for (int i = 0; i < count; i++) {
		snprintf(payload, sizeof(payload), "%s %d", queue, i);
		rig_put(&rig, queue, payload);
	}
}

static struct queue_record record_of(uint32_t number)
{
	static uint8_t bytes[4096];
	struct key key = key_queue(number);
	struct queue_record q;
	struct store_txn *t;
	struct slice value;

	assert_int_equal(store_begin_read(rig.store, &t), 0);
	assert_int_equal(store_get(t, TABLE_QUEUES, key_slice(&key), &value), 0);
	assert_in_range(value.size, 1, sizeof(bytes));
	memcpy(bytes, value.data, value.size);
	assert_int_equal(record_read_queue(slice_of(bytes, value.size), &q), 0);
	store_abort(t);
	return q;
}

static void resume(const char *queue)
{
	rig_queue_set(&rig, queue, (struct msg_queue_set){ .has_paused = true, .paused = false });
	assert_int_equal(rig.code, 0);
}

/* ---- tests ---- */

static void its_jobs_go_on_when_it_is_resumed(void **state)
{
	struct msg_leased_job job;
	struct queue_record q;

	(void)state;
	put_some("a", 2);
	put_some("b", 3);
	rig_queue_set(&rig, "b", (struct msg_queue_set){ .has_max_jobs = true, .max_jobs = 3 });
	assert_true(rig_lease(&rig, "b", &job));
	rig_complete(&rig, &job.id, &job.lease, "done");
	assert_true(rig_lease(&rig, "b", &job));
	flip(TABLE_QUEUES, key_queue(1));
	restart();
	assert_string_equal(engine_repaired(rig.engine, 0), "b");
	assert_null(engine_repaired(rig.engine, 1));
	q = record_of(1);
	assert_true(slice_is(q.name, "b"));
	assert_true(q.paused);
	assert_int_equal(q.max_jobs, -1);
	assert_int_equal(q.counts[JOB_READY], 1);
	assert_int_equal(q.counts[JOB_RUNNING], 1);
	assert_int_equal(q.counts[JOB_SUCCEEDED], 1);
	assert_int_equal(q.bytes, 6);
	assert_false(rig_lease(&rig, "b", &job));
	assert_true(rig_lease(&rig, "a", &job));
	resume("b");
	assert_true(rig_lease(&rig, "b", &job));
	assert_true(slice_is(job.payload, "b 2"));
}

/* New jobs go behind those that are there: the tags go on. */
static void the_line_keeps_its_order(void **state)
{
	struct msg_leased_job job;

	(void)state;
	put_some("a", 3);
	flip(TABLE_QUEUES, key_queue(0));
	restart();
	rig_put(&rig, "a", "last");
	resume("a");
	for (int i = 0; i < 4; i++) {
		char payload[32];

		snprintf(payload, sizeof(payload), i < 3 ? "a %d" : "last", i);
		assert_true(rig_lease(&rig, "a", &job));
		assert_true(slice_is(job.payload, payload));
	}
}

static void it_is_repaired_once(void **state)
{
	(void)state;
	put_some("a", 1);
	flip(TABLE_QUEUES, key_queue(0));
	restart();
	assert_non_null(engine_repaired(rig.engine, 0));
	restart();
	assert_null(engine_repaired(rig.engine, 0));
}

static void a_record_that_is_gone_is_one_that_is_damaged(void **state)
{
	(void)state;
	put_some("a", 1);
	put_some("b", 1);
	put_some("c", 1);
	change(TABLE_QUEUES, key_queue(0), true);
	flip(TABLE_QUEUES, key_queue(1));
	restart();
	assert_string_equal(engine_repaired(rig.engine, 0), "a");
	assert_string_equal(engine_repaired(rig.engine, 1), "b");
	assert_null(engine_repaired(rig.engine, 2));
	assert_int_equal(record_of(0).counts[JOB_READY], 1);
}

/* Record and name both: the name says what happened, and no other queue has it. */
static void one_without_a_name_gets_one(void **state)
{
	(void)state;
	put_some("a", 1);
	put_some("recovered-0", 1);
	flip(TABLE_QUEUES, key_queue(0));
	change(TABLE_NAMES, key_name(slice_str("a")), true);
	restart();
	assert_string_equal(engine_repaired(rig.engine, 0), "recovered-0-2");
	rig_put(&rig, "recovered-0-2", "more");
	assert_int_equal(record_of(0).counts[JOB_READY], 2);
}

/* Until it is set aside a damaged job counts, and being set aside takes it out again: so it must be counted before. */
static void damaged_jobs_in_it_are_counted_until_they_are_set_aside(void **state)
{
	struct msg_job_put later = {
		.has_queue = true,
		.queue = slice_str("a"),
		.has_payload = true,
		.payload = slice_str("later"),
		.has_delay_ms = true,
		.delay_ms = 1000,
	};
	struct uuid ready, scheduled;
	struct msg_leased_job job;

	(void)state;
	ready = rig_put(&rig, "a", "ready");
	scheduled = rig_put_params(&rig, &later);
	rig.unchecked = true;
	flip(TABLE_QUEUES, key_queue(0));
	flip(TABLE_JOBS, key_job(&ready));
	flip(TABLE_JOBS, key_job(&scheduled));
	restart();
	assert_int_equal(record_of(0).counts[JOB_READY], 1);
	assert_int_equal(record_of(0).counts[JOB_SCHEDULED], 1);
	assert_int_equal(record_of(0).bytes, 10);
	resume("a");
	assert_false(rig_lease(&rig, "a", &job));
	rig_pass(&rig, 1000);
	assert_int_equal(record_of(0).counts[JOB_READY], 0);
	assert_int_equal(record_of(0).counts[JOB_SCHEDULED], 0);
	assert_int_equal(record_of(0).bytes, 0);
	rig_check(&rig);
}

/* Jobs on a leaf that cannot be read are counted by their inputs until they are set aside; the others by themselves. */
static void a_damaged_page_of_jobs_is_counted_around(void **state)
{
	struct msg_leased_job job;
	int leased = 0;

	(void)state;
	rig.unchecked = rig.damaged = true;
	put_some("a", 60);
	flip(TABLE_QUEUES, key_queue(0));
	rig_pause(&rig);
	damage_all_of_last_leaf(&rig.dir, "jobs");
	rig_resume(&rig);
	assert_int_equal(record_of(0).counts[JOB_READY], 60);
	resume("a");
	while (rig_lease(&rig, "a", &job))
		leased++;
	assert_in_range(leased, 1, 59);
	assert_int_equal(record_of(0).counts[JOB_READY], 0);
	assert_int_equal(record_of(0).counts[JOB_RUNNING], leased);
}

/* What was taken out of the counts makes the next start count anew: and that start finds the page as damaged as before.
 */
static void a_start_after_jobs_were_hidden_succeeds(void **state)
{
	struct msg_leased_job job;
	int leased = 0;

	(void)state;
	rig.unchecked = rig.damaged = true;
	put_some("a", 60);
	rig_pause(&rig);
	damage_all_of_last_leaf(&rig.dir, "jobs");
	rig_resume(&rig);
	while (rig_lease(&rig, "a", &job))
		leased++;
	assert_true(record_of(0).recount);
	rig_restart(&rig);
	assert_false(record_of(0).recount);
	assert_int_equal(record_of(0).counts[JOB_RUNNING], leased);
}

/* Where it cannot be counted anew the counts stay, for another start. */
static void a_start_without_counting_anew_keeps_the_counts(void **state)
{
	struct uuid first, last;
	struct msg_leased_job job;

	(void)state;
	rig.unchecked = rig.damaged = true;
	first = rig_put(&rig, "a", "found damaged");
	put_some("a", 2);
	last = rig_put(&rig, "a", "not found yet");
	flip(TABLE_JOBS, key_job(&first));
	assert_true(rig_lease(&rig, "a", &job));
	flip(TABLE_JOBS, key_job(&last));
	rig_pause(&rig);
	damage_root(&rig.dir, "ready", 0, 1);
	rig_resume(&rig);
	assert_true(record_of(0).recount);
	assert_int_equal(record_of(0).counts[JOB_READY], 2);
	assert_int_equal(record_of(0).counts[JOB_RUNNING], 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(its_jobs_go_on_when_it_is_resumed),
		T(the_line_keeps_its_order),
		T(it_is_repaired_once),
		T(a_record_that_is_gone_is_one_that_is_damaged),
		T(one_without_a_name_gets_one),
		T(damaged_jobs_in_it_are_counted_until_they_are_set_aside),
		T(a_damaged_page_of_jobs_is_counted_around),
		T(a_start_after_jobs_were_hidden_succeeds),
		T(a_start_without_counting_anew_keeps_the_counts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
