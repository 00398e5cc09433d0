/* What one damaged page may cost: those whom it hides, and nobody beside them; and no moment comes too late for it. */
#include "tests/unit/test_engine_damage.h"

#include "tests/harness/damage.h"

static struct msg_job_put put_marked(const char *needle)
{
	struct msg_job_put put = { .has_queue = true, .queue = slice_str("q"), .payload = slice_str(needle) };

	put.has_attempt_timeout_ms = true;
	put.attempt_timeout_ms = 1000;
	return put;
}

static void damage_page(const char *needle)
{
	rig_pause(&rig);
	damage_pages(&rig.dir, needle);
	rig_resume(&rig);
}

/* Nothing can be read of the table's only page, so that it cannot be made anew. */
static void damage_all_of(const char *table)
{
	rig_pause(&rig);
	damage_all_of_last_leaf(&rig.dir, table);
	rig_resume(&rig);
}

/* Nothing can be read of the job's input: nobody can work on it any more, and it says why. */
static void a_damaged_page_holds_up_no_time(void **state)
{
	struct msg_job_put put = put_marked("hidden");
	struct uuid id = rig_put_params(&rig, &put);
	struct msg_leased_job job;

	(void)state;
	assert_true(rig_lease(&rig, "q", &job));
	damage_all_of("inputs");
	rig_pass(&rig, 1000);
	assert_int_equal(rig_state(&rig, &id), ERR_CORRUPT);
	assert_int_equal(job_of(&id).state, JOB_DEAD);
}

/* The batch that is to change the page fails; the next one sets the job aside without looking there again. */
static void a_page_that_cannot_be_changed_holds_up_no_time(void **state)
{
	static const char needle[] = "on the page to damage";
	struct uuid id = rig_put(&rig, "q", "x");
	struct msg_job_checkpoint checkpoint = { .id = id, .data = slice_str(needle) };
	struct msg_leased_job job;
	struct command *answered;
	struct store_txn *t;
	uint8_t random[32] = { 0 };

	(void)state;
	assert_true(rig_lease(&rig, "q", &job));
	checkpoint.lease = job.lease;
	rig_run(&rig, COMMAND_CHECKPOINT, &checkpoint);
	rig_complete(&rig, &id, &job.lease, "done");
	rig_pass(&rig, rig.settings.result_ttl_ms);
	damage_page(needle);
	rig.now_ms += rig.settings.record_ttl_ms;
	assert_int_equal(store_begin_write(rig.store, &t), 0);
	assert_int_equal(engine_begin(rig.engine, t, rig.now_ms, random), ERR_STORE_ERROR);
	store_abort(t);
	engine_aborted(rig.engine, false, &answered);
	rig_pass(&rig, 0);
	assert_int_equal(set_aside(), 1);
}

/* Index entries lead to jobs that a damaged page hides: each is told once, by its id, and the others are leased. */
static void jobs_that_a_damaged_page_hides_are_set_aside(void **state)
{
	struct msg_leased_job job;
	struct uuid hidden[2];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(hidden); i++)
		hidden[i] = rig_put(&rig, "q", "hidden");
	damage_all_of("jobs");
	for (size_t i = 0; i < ARRAY_SIZE(hidden); i++) {
		rig_job(&rig, &hidden[i]);
		assert_int_equal(rig.code, ERR_CORRUPT);
	}
	assert_false(rig_lease(&rig, "q", &job));
	for (size_t i = 0; i < ARRAY_SIZE(hidden); i++)
		assert_true(reported(&hidden[i]));
	assert_int_equal(set_aside(), ARRAY_SIZE(hidden));
	assert_false(rig_lease(&rig, "q", &job));
	assert_false(reported(&hidden[0]));
}

static void damage_size(struct key key, int bit)
{
	rig_pause(&rig);
	damage_nodes(&rig.dir, key.bytes, key.size, (size_t)bit / 8, (uint8_t)(1 << bit % 8));
	rig_resume(&rig);
}

#define MENDED_BITS 28 /* of a size: the others make it one that the store does not put right */

/* Whichever bit of what a page says of an index entry's size: the job is leased, its lease ends, and so it is for the
 * jobs beside it. */
static void an_index_entry_of_a_damaged_size_holds_up_nobody(void **state)
{
	(void)state;
	for (int bit = 0; bit < MENDED_BITS; bit++) {
		struct uuid first = rig_put(&rig, "q", "first"), damaged = rig_put(&rig, "q", "damaged");
		struct uuid last = rig_put(&rig, "q", "last");
		struct job job = job_of(&damaged);

		damage_size(key_ready(job.queue, job.priority, job.tag, &damaged), bit);
		expect_leased("first");
		expect_leased("damaged");
		expect_leased("last");
		job = job_of(&damaged);
		damage_size(key_due(job.due_at_ms, &damaged), bit);
		rig_pass(&rig, 30000);
		expect_leased("first");
		expect_leased("damaged");
		expect_leased("last");
		rig_check(&rig);
		rig_erase(&rig, &first);
		rig_erase(&rig, &damaged);
		rig_erase(&rig, &last);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_damaged_page_holds_up_no_time),
		T(a_page_that_cannot_be_changed_holds_up_no_time),
		T(jobs_that_a_damaged_page_hides_are_set_aside),
		T(an_index_entry_of_a_damaged_size_holds_up_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
