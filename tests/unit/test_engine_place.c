/* Places in line that are told: exact up to a thousand, from there on never less than the truth; also for who comes
 * back to a place, after a recount of the queue, and in a line whose tags an older version gave. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/engine/place.h"
#include "server/store/keys.h"
#include "server/upkeep/check.h"
#include "tests/harness/engine_rig.h"

#define MANY 3000

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

static struct uuid put(const char *group)
{
	struct msg_job_put put = rig_put_of("q", group ? group : "x");

	put.has_group = group != NULL;
	put.group = slice_str(group);
	return rig_put_params(&rig, &put);
}

/* each: jobs of one group; 0: no groups. */
static void put_visitors(struct uuid *ret, int count, int each)
{
	for (int i = 0; i < count; i++) {
		char group[32];

		snprintf(group, sizeof(group), "visitor-%d", each ? i / each : 0);
		ret[i] = put(each ? group : NULL);
	}
}

/* The n-th of the line, counted from 1. */
static void expect_bound(const struct uuid *id, int n, int most)
{
	int64_t position = rig_job(&rig, id)->position;

	if (n <= 1000)
		assert_int_equal(position, n);
	assert_in_range(position, n, most);
}

static void a_crowd_of_single_visitors_is_told_no_less_than_the_truth(void **state)
{
	static struct uuid ids[MANY];

	(void)state;
	put_visitors(ids, MANY, 1);
	for (int i = 0; i<MANY; i += i> 990 && i < 1010 ? 1 : 190)
		expect_bound(&ids[i], i + 1, MANY);
}

static void without_groups_it_is_exact(void **state)
{
	static struct uuid ids[MANY];

	(void)state;
	put_visitors(ids, MANY, 0);
	for (int i = 0; i<MANY; i += i> 990 && i < 1010 ? 1 : 190)
		expect_bound(&ids[i], i + 1, i + 1);
}

static void who_comes_back_is_told_no_less_either(void **state)
{
	static struct msg_leased_job jobs[1500];
	static struct uuid ids[1500];

	(void)state;
	put_visitors(ids, 1500, 2);
	for (int i = 0; i < 1500; i++)
		assert_true(rig_lease(&rig, "q", &jobs[i]));
	for (int i = 0; i < 1500; i++) {
		struct msg_job_release back = { .has_id = true, .id = jobs[i].id, .has_lease = true };

		back.lease = jobs[i].lease;
		rig_run(&rig, COMMAND_RELEASE, &back);
		assert_int_equal(rig.code, 0);
	}
	for (int i = 0; i < 1500; i += 100)
		expect_bound(&jobs[i].id, i + 1, 1500);
}

/* Tags that stand one apart, as older versions counted them. */
static void a_line_of_an_older_version_is_bounded_by_its_length(void **state)
{
	struct queue_record q = { .weight = 1, .counts[JOB_READY] = MANY, .ready[5] = MANY };
	struct job job = { .priority = 5, .state = JOB_READY };
	struct uuid id = { .bytes = { 0 } };
	struct store_txn *t;

	(void)state;
	q.lines[5] = (struct fair_line){ .finish = MANY + 1, .last = MANY + 1, .grouped = true };
	assert_int_equal(store_begin_write(rig.store, &t), 0);
	for (uint64_t tag = 1; tag <= MANY; tag++) {
		struct key key = key_ready(0, 5, tag, &id);

		assert_int_equal(store_put(t, TABLE_READY, key_slice(&key), slice_of(NULL, 0)), 0);
	}
	for (job.tag = 900; job.tag < MANY; job.tag += 350) {
		struct place place;

		assert_int_equal(place_of_job(t, &q, &id, &job, &place), 0);
		assert_in_range(place.most, job.tag, MANY);
		assert_true(place.least <= (int64_t)job.tag);
	}
	store_abort(t);
}

static void one_that_waits_out_its_backoff_is_not_told_to_be_last(void **state)
{
	static struct uuid ids[MANY];
	struct msg_leased_job job;
	const struct msg_job *told;

	(void)state;
	put_visitors(ids, 1000, 0);
	for (int i = 0; i < 100; i++) {
		assert_true(rig_lease(&rig, "q", &job));
		rig_pass(&rig, 1000);
		rig_complete(&rig, &job.id, &job.lease, NULL);
	}
	assert_true(rig_lease(&rig, "q", &job));
	rig_fail(&rig, &job.id, &job.lease, FAIL_UNAVAILABLE, 60000);
	told = rig_job(&rig, &job.id);
	assert_int_equal(told->state, JOB_SCHEDULED);
	assert_true(told->has_eta_ms);
	assert_in_range(told->eta_ms.high, 60000, 120000);
}

/* ---- after a recount ---- */

static void damage(const struct uuid *id)
{
	struct key key = key_job(id);
	struct store_txn *t;

	assert_int_equal(store_begin_write(rig.store, &t), 0);
	assert_int_equal(store_put(t, TABLE_JOBS, key_slice(&key), slice_str("nonsense")), 0);
	assert_int_equal(store_commit(t), 0);
}

/* A job that is set aside makes the next start count the queue anew. */
static void set_one_aside(void)
{
	struct uuid bad = put(NULL);

	damage(&bad);
	rig_pass(&rig, 1);
}

static void a_recount_changes_nobodys_turn(void **state)
{
	struct msg_leased_job job;
	int before = 0;

	(void)state;
	set_one_aside();
	rig_put_many(&rig, "q", "g", 500);
	assert_true(rig_lease(&rig, "q", &job));
	rig_restart(&rig);
	put(NULL);
	while (rig_lease(&rig, "q", &job) && !slice_is(job.payload, "x"))
		before++;
	assert_in_range(before, 0, 1);
}

static void one_running_too_many(void)
{
	const struct store_options options = { .dir = rig.dir.path, .max_bytes = 1 << 28 };
	struct key key = key_queue(0);
	struct queue_record q;
	struct error_info info;
	struct store_txn *t;
	struct slice value;
	struct store *s;
	struct buf record;

	rig_pause(&rig);
	assert_int_equal(store_open(&options, &s, &info), 0);
	assert_int_equal(store_begin_write(s, &t), 0);
	assert_int_equal(store_get(t, TABLE_QUEUES, key_slice(&key), &value), 0);
	assert_int_equal(record_read_queue(value, &q), 0);
	q.counts[JOB_RUNNING]++;
	q.recount = true;
	buf_init(&record, 65536);
	assert_int_equal(record_write_queue(&record, &q), 0);
	assert_int_equal(store_put(t, TABLE_QUEUES, key_slice(&key), buf_slice(&record)), 0);
	assert_int_equal(store_commit(t), 0);
	buf_done(&record);
	store_close(s);
	rig_resume(&rig);
}

static void a_recount_gives_the_limits_slot_back(void **state)
{
	struct msg_leased_job job;

	(void)state;
	rig_limit_set(&rig, "api", (struct msg_limit_set){ .has_concurrency = true, .concurrency = 1 });
	put(NULL);
	rig_queue_limit(&rig, "q", "api");
	one_running_too_many();
	assert_int_equal(rig_queue(&rig, "q").counts.running, 0);
	assert_true(rig_lease(&rig, "q", &job));
}

static void a_queue_named_twice_has_one_share(void **state)
{
	static const char *const names[] = { "a", "a", "a", "b" };

	(void)state;
	rig_put_many(&rig, "a", NULL, 500);
	rig_put_many(&rig, "b", NULL, 500);
	assert_int_equal(rig_lease_many(&rig, names, 4, 400), 400);
	assert_int_equal(rig_queue(&rig, "a").counts.running, 200);
	assert_int_equal(rig_queue(&rig, "b").counts.running, 200);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_crowd_of_single_visitors_is_told_no_less_than_the_truth),
		T(without_groups_it_is_exact),
		T(who_comes_back_is_told_no_less_either),
		T(a_line_of_an_older_version_is_bounded_by_its_length),
		T(one_that_waits_out_its_backoff_is_not_told_to_be_last),
		T(a_recount_changes_nobodys_turn),
		T(a_recount_gives_the_limits_slot_back),
		T(a_queue_named_twice_has_one_share),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
