/* The writer thread on a damaged store: who asked for a damaged page is told so, alone; and what each batch needs and
 * meets there is told of the broker. */
#include "tests/unit/test_writer_rig.h"

#include "server/store/store_path.h"
#include "tests/harness/damage.h"

#define NEEDLE "the page to damage is the one that holds this"

static void put_needle(void)
{
	struct store_txn *t;

	assert_int_equal(store_begin_write(fixture.store, &t), 0);
	assert_int_equal(store_put(t, TABLE_CHECKPOINTS, slice_str("0123456789012345"), slice_str(NEEDLE)), 0);
	assert_int_equal(store_commit(t), 0);
}

/* Puts a job whose checkpoints' page is damaged then. The writer is not started. */
static void begin_with_damage(struct call *first)
{
	assert_int_equal(writer_start(fixture.writer), 0);
	submit_put(first, "first");
	await(first);
	put_needle();
	teardown_writer();
	damage_pages(&fixture.dir, NEEDLE);
	open_all(1 << 28);
}

/* An erasure is to remove the job's checkpoint and meets the page; a put of the same batch does not. */
static void whoever_needs_a_damaged_page_fails_alone(void **state)
{
	struct call first, erase, second;

	(void)state;
	begin_with_damage(&first);
	submit_erase(&erase, &first.cmd.first_id);
	submit_put(&second, "second");
	assert_int_equal(writer_start(fixture.writer), 0);
	await(&erase);
	assert_int_equal(erase.rc, ERR_DAMAGED);
	await(&second);
	assert_int_equal(second.rc, 0);
}

/* So does a lease that was answered in the batch that met the page. */
static void who_was_answered_is_told_of_the_damaged_page(void **state)
{
	struct call first, lease, cancel, erase;

	(void)state;
	begin_with_damage(&first);
	submit_lease_of(&lease, "none", 60000, 7);
	prepare(&cancel, COMMAND_LEASE_CANCEL);
	cancel.cmd.session = 7;
	writer_submit(fixture.writer, &cancel.cmd);
	submit_erase(&erase, &first.cmd.first_id);
	assert_int_equal(writer_start(fixture.writer), 0);
	await(&erase);
	await(&lease);
	assert_int_equal(lease.rc, ERR_DAMAGED);
	await(&cancel);
	assert_int_equal(cancel.rc, 0);
}

static void wait_for_a_batch(void)
{
	struct call lease;

	submit_lease(&lease, 0, 1);
	await(&lease);
}

#define FORGOTTEN 40

/* Jobs whose time is over, each of which is to lose its checkpoint on the damaged page: whoever puts meanwhile, and
 * needs nothing there, is not refused for any of them. */
static void nobody_fails_for_what_is_forgotten(void **state)
{
	struct call jobs[FORGOTTEN], cancel, put;
	struct writer_stats stats;

	(void)state;
	fixture.settings.record_ttl_ms = 2000000;
	assert_int_equal(writer_start(fixture.writer), 0);
	for (int i = 0; i < FORGOTTEN; i++) {
		submit_put(&jobs[i], "forgotten");
		await(&jobs[i]);
		submit_change(&cancel, CHANGE_CANCEL, &jobs[i].cmd.first_id);
		await(&cancel);
		assert_int_equal(cancel.rc, 0);
	}
	put_needle();
	clock_shift_s = 1001;
	wait_for_a_batch();
	teardown_writer();
	damage_pages(&fixture.dir, NEEDLE);
	clock_shift_s = 2002;
	open_all(1 << 28);
	submit_put(&put, "sound");
	assert_int_equal(writer_start(fixture.writer), 0);
	await(&put);
	assert_int_equal(put.rc, 0);
	writer_stats(fixture.writer, &stats);
	assert_int_equal(stats.failed_commits, 0);
}

#define DELAYED 200 /* several leaves of what is due */

static void run_queue(enum queue_action action, struct call *ret)
{
	struct command_queue queue = { .action = action, .set = { .has_queue = true, .queue = slice_str("q") } };

	prepare(ret, COMMAND_QUEUE);
	ret->cmd.params = &queue;
	writer_submit(fixture.writer, &ret->cmd);
	await(ret);
}

/* Nothing was learned by the first try that would make the next one fare better: it is not made, which would cost the
 * work of all who are in the batch. */
static void what_fails_the_same_way_is_not_tried_again(void **state)
{
	static struct call delayed[DELAYED];
	struct call put, pause, lease, resume;

	(void)state;
	assert_int_equal(writer_start(fixture.writer), 0);
	for (int i = 0; i < DELAYED; i++)
		submit_delayed(&delayed[i]);
	submit_put(&put, "waits");
	for (int i = 0; i < DELAYED; i++)
		await(&delayed[i]);
	await(&put);
	run_queue(QUEUE_PAUSE, &pause);
	assert_int_equal(pause.rc, 0);
	teardown_writer();
	damage_last_leaf(&fixture.dir, "due", 0, 1);
	open_all(1 << 28);
	assert_int_equal(writer_start(fixture.writer), 0);
	prepare(&lease, COMMAND_LEASE);
	lease.name = slice_str("q");
	/* It ends after whatever else is due: on that leaf. */
	lease.lease = (struct msg_job_lease){ .has_queues = true,
					      .queues = &lease.name,
					      .queues_count = 1,
					      .has_wait_ms = true,
					      .wait_ms = 60000,
					      .has_lease_ms = true,
					      .lease_ms = INT64_C(2) * DELAYED_MS };
	lease.cmd.params = &lease.lease;
	writer_submit(fixture.writer, &lease.cmd);
	run_queue(QUEUE_RESUME, &resume);
	assert_int_equal(resume.rc, ERR_DAMAGED);
	/* With the others, then by itself. */
	assert_int_equal(resume.answers, 2);
	writer_stop(fixture.writer);
	await(&lease);
}

/* What is due next is asked with each batch. */
static void what_everybody_needs_and_is_damaged_is_told(void **state)
{
	struct writer_stats stats;
	struct call put;

	(void)state;
	assert_int_equal(writer_start(fixture.writer), 0);
	submit_delayed(&put);
	await(&put);
	writer_stats(fixture.writer, &stats);
	assert_string_equal(stats.failure, "");
	teardown_writer();
	damage_root(&fixture.dir, "due", 0, 1);
	open_all(1 << 28);
	assert_int_equal(writer_start(fixture.writer), 0);
	submit_put(&put, "later");
	await(&put);
	assert_int_equal(put.rc, ERR_DAMAGED);
	writer_stats(fixture.writer, &stats);
	assert_true(strlen(stats.failure) > 0);
}

/* Before any command is looked at; the batch before met nothing. */
static void a_damaged_list_of_free_pages_is_told(void **state)
{
	struct writer_stats stats;
	struct call put;

	(void)state;
	assert_int_equal(writer_start(fixture.writer), 0);
	for (int i = 0; i < 3; i++) {
		submit_put(&put, "sound");
		await(&put);
		assert_int_equal(put.rc, 0);
	}
	damage_root(&fixture.dir, NULL, 12, 0x40);
	store__forget_proofs(fixture.store);
	submit_put(&put, "later");
	await(&put);
	assert_int_equal(put.rc, ERR_DAMAGED);
	writer_stats(fixture.writer, &stats);
	assert_true(strlen(stats.failure) > 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(whoever_needs_a_damaged_page_fails_alone),	T(who_was_answered_is_told_of_the_damaged_page),
		T(nobody_fails_for_what_is_forgotten),		T(what_fails_the_same_way_is_not_tried_again),
		T(what_everybody_needs_and_is_damaged_is_told), T(a_damaged_list_of_free_pages_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
