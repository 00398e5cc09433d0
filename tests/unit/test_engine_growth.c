/* The file does not grow without end: under a steady stream of jobs that are put, done and forgotten its size levels
 * off, and a reader costs pages only while it reads. ROUNDS makes it longer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/harness/engine_rig.h"

#define JOBS	       20 /* a round */
#define ROUND_MS       60000
#define ROUNDS_TO_FILL 40 /* longer than any job, record or tombstone is kept */

static struct rig rig;
static char payload[3000];

static int setup(void **state)
{
	(void)state;
	rig_open(&rig);
	rig.unchecked = true;
	rig.settings.result_ttl_ms = 5 * ROUND_MS;
	rig.settings.record_ttl_ms = 10 * ROUND_MS;
	rig.settings.tombstone_ttl_ms = 20 * ROUND_MS;
	memset(payload, 'x', sizeof(payload) - 1);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rig_check(&rig);
	rig_close(&rig);
	return 0;
}

static int rounds(void)
{
	const char *value = getenv("ROUNDS");

	return value && *value ? atoi(value) : 100;
}

/* A steady load: each round puts JOBS jobs and finishes as many. */
static void run(int count)
{
	for (int round = 0; round < count; round++) {
		for (int i = 0; i < JOBS; i++) {
			struct msg_leased_job job;
			struct uuid id;

			rig_put(&rig, "q", payload);
			assert_true(rig_lease(&rig, "q", &job));
			id = job.id;
			rig_complete(&rig, &id, &job.lease, payload);
			assert_int_equal(rig.code, 0);
		}
		rig_pass(&rig, ROUND_MS);
	}
}

static int64_t used(void)
{
	struct store_info info;

	assert_int_equal(store_info(rig.store, &info), 0);
	return info.used_bytes;
}

static void a_steady_load_needs_steady_room(void **state)
{
	int64_t filled;

	(void)state;
	run(ROUNDS_TO_FILL);
	filled = used();
	run(rounds());
	print_message("# %lld bytes when full, %lld after %d more rounds\n", (long long)filled, (long long)used(),
		      rounds());
	assert_true(used() <= filled + filled / 5);
}

static void a_reader_costs_room_only_while_it_reads(void **state)
{
	struct store_txn *reader;
	int64_t filled, peak;

	(void)state;
	run(ROUNDS_TO_FILL);
	filled = used();
	assert_int_equal(store_begin_read(rig.store, &reader), 0);
	run(ROUNDS_TO_FILL);
	peak = used();
	/* This is what a transaction held open while bytes go to a peer would do. */
	assert_true(peak > filled + filled / 2);
	store_abort(reader);
	run(rounds());
	print_message("# %lld bytes when full, %lld beside a reader, %lld afterwards\n", (long long)filled,
		      (long long)peak, (long long)used());
	assert_true(used() <= peak + peak / 20);
}

/* What a reader may still look at is not free, however much of it was erased. */
static void what_a_reader_holds_is_no_room(void **state)
{
	struct command_change all = { .action = CHANGE_ERASE, .filter = { .has_all = true, .all = true } };
	struct store_txn *reader;
	int64_t before, beside, after;

	(void)state;
	run(ROUNDS_TO_FILL);
	assert_int_equal(store_begin_read(rig.store, &reader), 0);
	assert_int_equal(store_room(rig.store, INT64_MAX, &before), 0);
	rig_change(&rig, &all);
	assert_int_equal(store_room(rig.store, INT64_MAX, &beside), 0);
	assert_true(beside <= before);
	store_abort(reader);
	rig_pass(&rig, 0);
	assert_int_equal(store_room(rig.store, INT64_MAX, &after), 0);
	assert_true(after > beside + 500000);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_steady_load_needs_steady_room),
		T(what_a_reader_holds_is_no_room),
		T(a_reader_costs_room_only_while_it_reads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
