/* Leaves of the jobs and of the inputs, above all the last, where every new job goes: damaged, it is made anew where
 * something there is to be changed, so that puts go on and jobs can be erased; what can be read of it stays, what
 * cannot is one job's damage; and no other page is ever written over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/base/clean.h"
#include "server/store/pages.h"
#include "server/store/pages_format.h"
#include "server/store/store_path.h"
#include "server/upkeep/backup.h"
#include "server/upkeep/check.h"
#include "server/upkeep/compact.h"
#include "tests/harness/damage.h"
#include "tests/harness/engine_rig.h"

#define JOBS	 60 /* more than a leaf of either table holds */
#define JOBS_MAX 1500
#define FILE_MAX (1 << 24)

static const char *const tables[] = { "jobs", "inputs" };
static struct rig rig;
static struct uuid ids[JOBS_MAX];
static int count;

static int setup(void **state)
{
	(void)state;
	rig_open(&rig);
	ids[0] = rig_put_many(&rig, "q", NULL, JOBS);
	for (count = 1; count < JOBS; count++)
		uuid_next(&ids[count - 1], &ids[count]);
	rig.unchecked = rig.damaged = true;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rig_close(&rig);
	return 0;
}

/* Its link and its payload are in the record and in the input. */
static bool is_hidden(const struct uuid *id)
{
	struct msg_job_payload_result payload;

	rig_job(&rig, id);
	if (rig.code == 0)
		rig.code = view_payload(rig.view_txn, id, &payload);
	assert_true(rig.code == 0 || rig.code == ERR_CORRUPT);
	return rig.code < 0;
}

static int damaged_jobs(struct uuid *ret)
{
	int damaged = 0;

	for (int i = 0; i < count; i++)
		if (is_hidden(&ids[i]))
			ret[damaged++] = ids[i];
	return damaged;
}

static void forget(const struct uuid *id)
{
	for (int i = 0; i < count; i++)
		if (uuid_equal(&ids[i], id))
			ids[i] = ids[--count];
}

static void put_one(void)
{
	assert_in_range(count, 0, JOBS_MAX - 1);
	ids[count++] = rig_put(&rig, "q", "new");
	assert_int_equal(rig.code, 0);
	assert_false(store_is_barred(rig.store));
}

/* Puts go on, no more than so many of the jobs that were there are damaged, and when these are erased all is well. */
static void expect_goes_on(int most)
{
	struct uuid damaged[JOBS_MAX];
	int lost;

	put_one();
	lost = damaged_jobs(damaged);
	assert_in_range(lost, 0, most);
	for (int i = 0; i < lost; i++) {
		rig_erase(&rig, &damaged[i]);
		assert_int_equal(rig.code, 0);
		forget(&damaged[i]);
		put_one();
	}
	rig_check(&rig);
}

static void damage(const char *table, size_t byte, uint8_t bits)
{
	rig_pause(&rig);
	damage_last_leaf(&rig.dir, table, byte, bits);
	rig_resume(&rig);
}

/* But for the two that nobody looks at. */
static void whichever_bit_of_its_head_it_costs_nothing(void **state)
{
	const char *table = *state;

	for (size_t byte = 0; byte < PAGE_HEAD; byte++)
		for (int bit = 0; byte != 8 && byte != 9 && bit < 8; bit++) {
			damage(table, byte, (uint8_t)(1 << bit));
			expect_goes_on(0);
		}
}

/* The first, one within, and the last. */
static void whichever_bit_of_a_place_it_costs_one_job(void **state)
{
	const char *table = *state;

	for (int bit = 0; bit < 3 * 16; bit++) {
		uint32_t nodes = damage_last_leaf(&rig.dir, table, 0, 0);
		uint32_t node = bit / 16 == 0 ? 0 : bit / 16 == 1 ? nodes / 2 : nodes - 1;

		if (nodes < 3) {
			put_one();
			continue;
		}
		damage(table, PAGE_HEAD + 2 * node + (size_t)bit % 16 / 8, (uint8_t)(1 << bit % 8));
		expect_goes_on(1);
	}
}

/* What stands there of those that cannot be read stays set aside when it is come upon. */
static void a_lost_job_is_like_any_damaged_one(void **state)
{
	struct uuid damaged[JOBS_MAX];
	struct msg_leased_job job;
	int leased = 0;

	(void)state;
	damage("jobs", PAGE_HEAD, 0x10);
	put_one();
	assert_int_equal(damaged_jobs(damaged), 1);
	while (rig_lease(&rig, "q", &job)) {
		assert_false(uuid_equal(&job.id, &damaged[0]));
		leased++;
	}
	assert_int_equal(leased, count - 1);
	rig_erase(&rig, &damaged[0]);
	rig_check(&rig);
}

/* So that a leaf of either table is in the midst. */
static void put_more(void)
{
	for (int i = 0; i < 2 * JOBS; i++)
		put_one();
}

/* A leaf in the midst: its jobs are hidden, for whoever only reads changes nothing. One of them is erased, and by that
 * the others can be read. */
static void a_leaf_in_the_midst_is_made_anew_by_an_erasure(void **state)
{
	const char *table = *state;
	struct uuid damaged[JOBS_MAX], first;
	int hidden;

	put_more();
	first = ids[JOBS];
	rig_pause(&rig);
	damage_leaf(&rig.dir, table, &first, 12, 0x40);
	rig_resume(&rig);
	put_one();
	hidden = damaged_jobs(damaged);
	assert_in_range(hidden, 2, JOBS);
	rig_erase(&rig, &first);
	assert_int_equal(rig.code, 0);
	forget(&first);
	assert_int_equal(damaged_jobs(damaged), 0);
	rig_check(&rig);
}

static void damage_the_midst(const char *table, struct uuid *ret_first)
{
	put_more();
	*ret_first = ids[JOBS];
	rig_pause(&rig);
	damage_leaf(&rig.dir, table, ret_first, 12, 0x40);
	rig_resume(&rig);
}

static void lease_the_rest(int leased)
{
	struct uuid damaged[JOBS_MAX];
	struct msg_leased_job job;

	while (rig_lease(&rig, "q", &job))
		leased++;
	assert_int_equal(leased, count);
	assert_int_equal(damaged_jobs(damaged), 0);
	rig_check(&rig);
}

/* Whoever is to work on a job needs all that can be known of it. */
static void a_leaf_in_the_midst_is_made_anew_by_a_lease(void **state)
{
	struct uuid first;

	damage_the_midst(*state, &first);
	lease_the_rest(0);
}

/* While it cannot be made anew its jobs keep their places, and the others go on. */
static void a_lease_leaves_what_it_may_read_later(void **state)
{
	struct store_txn *reader;
	struct msg_leased_job job;
	struct uuid first;
	int leased = 0;

	damage_the_midst(*state, &first);
	assert_int_equal(store_begin_read(rig.store, &reader), 0);
	while (rig_lease(&rig, "q", &job)) {
		assert_false(uuid_equal(&job.id, &first));
		leased++;
	}
	assert_in_range(leased, JOBS, count - 2);
	assert_in_range(engine_next_ms(rig.engine), rig.now_ms + 1, rig.now_ms + 1000);
	store_abort(reader);
	lease_the_rest(leased);
}

/* The same of what is to be done at a moment: here of an end for each. */
static void what_is_due_waits_until_it_can_be_read(void **state)
{
	struct msg_queue_set set = { .has_attempt_timeout_ms = true, .attempt_timeout_ms = 1000 };
	struct uuid damaged[JOBS_MAX], first;
	struct store_txn *reader;
	struct msg_leased_job job;

	(void)state;
	rig_queue_set(&rig, "q", set);
	put_more();
	while (rig_lease(&rig, "q", &job))
		;
	first = ids[JOBS];
	rig_pause(&rig);
	damage_leaf(&rig.dir, "jobs", &first, 12, 0x40);
	rig_resume(&rig);
	assert_int_equal(store_begin_read(rig.store, &reader), 0);
	rig_pass(&rig, 3600000);
	assert_in_range(engine_next_ms(rig.engine), rig.now_ms + 1, rig.now_ms + 1000);
	store_abort(reader);
	rig_pass(&rig, 1000);
	assert_int_equal(damaged_jobs(damaged), 0);
	for (int i = 0; i < count; i++)
		assert_int_not_equal(rig_state(&rig, &ids[i]), JOB_RUNNING);
	rig_check(&rig);
}

/* Where a leaf is taken away the one beside it is drawn in. */
static void a_leaf_beside_is_made_anew_by_a_removal(void **state)
{
	const char *table = *state;
	struct uuid damaged[JOBS_MAX], middle;
	int last = JOBS;

	put_more();
	middle = ids[JOBS];
	rig_pause(&rig);
	damage_leaf(&rig.dir, table, &middle, 12, 0x40);
	rig_resume(&rig);
	while (last > 0 && is_hidden(&ids[last - 1]))
		last--;
	assert_true(is_hidden(&middle));
	assert_in_range(last, 1, JOBS);
	for (int i = 0; i < last; i++) {
		struct uuid id = ids[i];

		rig_erase(&rig, &id);
		assert_int_equal(rig.code, 0);
	}
	memmove(ids, ids + last, sizeof(ids[0]) * (size_t)(count - last));
	count -= last;
	assert_int_equal(damaged_jobs(damaged), 0);
	rig_check(&rig);
}

static void large_payloads_are_kept(void **state)
{
	static char large[20001];

	(void)state;
	memset(large, 'x', sizeof(large) - 1);
	for (int i = 0; i < 5; i++)
		ids[count++] = rig_put(&rig, "q", large);
	damage("inputs", 0, 1);
	expect_goes_on(0);
}

static void count_breach(void *user, const char *line)
{
	(void)line;
	(*(int *)user)++;
}

static int get_record(const struct uuid *id)
{
	struct key key = key_job(id);
	struct store_txn *t;
	struct slice value;
	int rc;

	assert_int_equal(store_begin_read(rig.store, &t), 0);
	rc = store_get(t, TABLE_JOBS, key_slice(&key), &value);
	store_abort(t);
	return rc;
}

/* What was lost in the other table is no reason to lose it here. */
static void what_has_no_twin_is_kept(void **state)
{
	struct uuid alone = ids[count - 2];
	struct key key = key_job(&alone);
	struct store_txn *t;

	(void)state;
	assert_int_equal(store_begin_write(rig.store, &t), 0);
	assert_int_equal(store_delete(t, TABLE_INPUTS, key_slice(&key)), 0);
	assert_int_equal(store_commit(t), 0);
	damage("jobs", 12, 0x40);
	assert_int_equal(get_record(&alone), ERR_CORRUPT);
	put_one();
	for (int i = 0; i < count; i++)
		assert_int_equal(get_record(&ids[i]), 0);
}

static void find_miscounted(void *user, enum check_kind kind, const char *line)
{
	assert_int_equal(kind, CHECK_NOTICE);
	*(bool *)user |= strstr(line, "5 pages of values") != NULL;
}

/* What was given up of a value on pages of its own is counted on: the check says so, and a copy is made all the same.
 */
static void what_is_given_up_keeps_nobody_from_a_copy(void **state)
{
	static char large[20001];
	struct backup_options backup = { .path = NULL };
	struct compact_options compact = { .dir = rig.dir.path, .max_bytes = 1 << 28 };
	struct compact_result compacted;
	struct backup_result backed_up;
	struct error_info why = { 0 };
	struct tempdir beside;
	struct pages_options pages = { .report = count_breach };
	struct pages_result found;
	struct uuid damaged[JOBS_MAX];
	struct check_options check = { .report = find_miscounted };
	struct check_result checked;
	bool told = false;
	int breaches = 0;

	(void)state;
	memset(large, 'x', sizeof(large) - 1);
	pages.user = &breaches;
	for (int i = 0; i < 5; i++)
		ids[count++] = rig_put(&rig, "q", large);
	damage("inputs", PAGE_HEAD, 0x10);
	put_one();
	assert_int_equal(damaged_jobs(damaged), 1);
	rig_erase(&rig, &damaged[0]);
	assert_int_equal(rig.code, 0);
	assert_int_equal(pages_check(rig.store, &pages, &found), 0);
	assert_int_equal(breaches, 0);
	assert_int_equal(found.miscounted, 5);
	check.store = rig.store;
	check.blobs = rig.blobs;
	check.user = &told;
	assert_int_equal(check_store(&check, &checked), 0);
	assert_true(told);
	assert_int_equal(checked.breaches, 0);
	tempdir_make(&beside);
	backup.path = beside.path;
	backup.store = rig.store;
	backup.blobs = rig.blobs;
	if (backup_run(&backup, &backed_up, &why) < 0)
		fail_msg("%s", why.message);
	tempdir_remove(&beside);
	rig_pause(&rig);
	if (compact_run(&compact, &compacted, &why) < 0)
		fail_msg("%s", why.message);
	rig_resume(&rig);
	assert_int_equal(pages_check(rig.store, &pages, &found), 0);
	assert_int_equal(found.miscounted, 0);
	rig_check(&rig);
}

static size_t read_file(char *ret)
{
	FILE *file = fopen(tempdir_file(&rig.dir, "raincheck.mdb"), "r");
	size_t size;

	assert_non_null(file);
	size = fread(ret, 1, FILE_MAX, file);
	fclose(file);
	return size;
}

static void write_file(const char *bytes, size_t size)
{
	FILE *file = fopen(tempdir_file(&rig.dir, "raincheck.mdb"), "w");

	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, size, file), size);
	fclose(file);
}

static void expect_refused(bool barred)
{
	_cleanup_free_ char *before = malloc(FILE_MAX), *after = malloc(FILE_MAX);
	size_t size = read_file(before);

	rig_put(&rig, "q", "refused");
	assert_int_equal(rig.code, ERR_STORE_ERROR);
	assert_int_equal(store_is_barred(rig.store), barred);
	assert_int_equal(read_file(after), size);
	assert_memory_equal(before, after, size);
}

/* The page that a damaged branch leads to is another's: nothing is written to it, be it of the same jobs. */
static void a_way_that_leads_elsewhere_is_not_followed(void **state)
{
	static const char *const others[] = { "inputs", "ready", "names" };
	static char sound[FILE_MAX];
	size_t size;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		rig_pause(&rig);
		size = read_file(sound);
		damage_way_to_last_leaf(&rig.dir, "jobs", others[i]);
		rig_resume(&rig);
		expect_refused(true);
		rig_pause(&rig);
		write_file(sound, size);
		rig_resume(&rig);
		expect_goes_on(0);
	}
}

/* Nothing tells that it is the page that it should be. */
static void a_page_of_which_nothing_is_left_stays_as_it_is(void **state)
{
	(void)state;
	rig_pause(&rig);
	for (size_t byte = 12; byte < 4096; byte++)
		damage_last_leaf(&rig.dir, "inputs", byte, 0x55);
	rig_resume(&rig);
	expect_refused(true);
}

/* Nor is the other table any help where both are damaged. */
static void two_damaged_leaves_stay_as_they_are(void **state)
{
	(void)state;
	damage("jobs", 12, 0x40);
	damage("inputs", 12, 0x40);
	expect_refused(true);
}

/* Whoever reads may be reading there. */
static void it_waits_until_nobody_reads(void **state)
{
	struct store_txn *reader;

	(void)state;
	damage("jobs", 12, 0x40);
	assert_int_equal(store_begin_read(rig.store, &reader), 0);
	expect_refused(false);
	store_abort(reader);
	expect_goes_on(0);
}

/* Who reads for long keeps the puts waiting for long, which is to be known; until a change makes the leaf anew. */
static void who_waits_for_long_is_told(void **state)
{
	struct store_txn *reader;
	struct uuid last = ids[count - 1];

	(void)state;
	damage("jobs", 12, 0x40);
	assert_int_equal(store_begin_read(rig.store, &reader), 0);
	for (int i = 0; i < 20 && !store_is_barred(rig.store); i++)
		rig_put(&rig, "q", "refused");
	assert_true(store_is_barred(rig.store));
	store_abort(reader);
	rig_erase(&rig, &last);
	assert_int_equal(rig.code, 0);
	assert_false(store_is_barred(rig.store));
	forget(&last);
	expect_goes_on(0);
}

/* A page that was made anew and is damaged again is told again: here of the same bit, and the log has a line of each.
 */
static void each_damage_is_told(void **state)
{
	FILE *log = tmpfile();
	char line[1024];
	int lines = 0, err;

	(void)state;
	assert_non_null(log);
	fflush(stderr);
	err = dup(STDERR_FILENO);
	assert_true(err >= 0 && dup2(fileno(log), STDERR_FILENO) >= 0);
	for (int i = 0; i < 2; i++) {
		struct store_txn *t;
		struct slice value;
		struct key key = key_job(&ids[count - 1]);

		damage_last_leaf(&rig.dir, "jobs", 12, 0x40);
		store__forget_proofs(rig.store);
		assert_int_equal(store_begin_write(rig.store, &t), 0);
		assert_int_equal(store_get(t, TABLE_JOBS, key_slice(&key), &value), 0);
		store_abort(t);
	}
	assert_true(dup2(err, STDERR_FILENO) >= 0);
	close(err);
	rewind(log);
	while (fgets(line, sizeof(line), log))
		lines += strstr(line, "is damaged: table jobs") != NULL;
	fclose(log);
	assert_int_equal(lines, 2);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define OF(name, i)                                                        \
	{                                                                  \
#name, name, setup, teardown, (void *)(uintptr_t)tables[i] \
	}
	const struct CMUnitTest tests[] = {
		OF(whichever_bit_of_its_head_it_costs_nothing, 0),
		OF(whichever_bit_of_its_head_it_costs_nothing, 1),
		OF(whichever_bit_of_a_place_it_costs_one_job, 0),
		OF(whichever_bit_of_a_place_it_costs_one_job, 1),
		T(a_lost_job_is_like_any_damaged_one),
		OF(a_leaf_in_the_midst_is_made_anew_by_an_erasure, 0),
		OF(a_leaf_in_the_midst_is_made_anew_by_an_erasure, 1),
		OF(a_leaf_beside_is_made_anew_by_a_removal, 0),
		OF(a_leaf_beside_is_made_anew_by_a_removal, 1),
		OF(a_leaf_in_the_midst_is_made_anew_by_a_lease, 0),
		OF(a_leaf_in_the_midst_is_made_anew_by_a_lease, 1),
		OF(a_lease_leaves_what_it_may_read_later, 0),
		OF(a_lease_leaves_what_it_may_read_later, 1),
		T(what_is_due_waits_until_it_can_be_read),
		T(large_payloads_are_kept),
		T(what_has_no_twin_is_kept),
		T(what_is_given_up_keeps_nobody_from_a_copy),
		T(a_way_that_leads_elsewhere_is_not_followed),
		T(a_page_of_which_nothing_is_left_stays_as_it_is),
		T(two_damaged_leaves_stay_as_they_are),
		T(it_waits_until_nobody_reads),
		T(who_waits_for_long_is_told),
		T(each_damage_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
