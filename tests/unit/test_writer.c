/* The writer thread: many fronts at once, answers only after the commit, a failed commit told to every command of its
 * batch, parked leases, and an end that leaves nobody waiting. */
#include "tests/unit/test_writer_rig.h"

#define THREADS 4
#define CALLS	300

static void *front_main(void *arg)
{
	struct call *calls = arg;

	for (int i = 0; i < CALLS; i++)
		submit_put(&calls[i], "x");
	for (int i = 0; i < CALLS; i++)
		await(&calls[i]);
	return NULL;
}

static void many_fronts_put_at_once(void **state)
{
	_cleanup_free_ struct call *calls = calloc(THREADS * CALLS, sizeof(*calls));
	pthread_t threads[THREADS];
	struct writer_stats stats;

	(void)state;
	assert_non_null(calls);
	assert_int_equal(writer_start(fixture.writer), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, front_main, calls + i * CALLS), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < THREADS * CALLS; i++) {
		assert_int_equal(calls[i].rc, 0);
		assert_int_equal(calls[i].answers, 1);
	}
	writer_stats(fixture.writer, &stats);
	assert_int_equal(stats.commands, THREADS * CALLS);
	assert_true(stats.commits <= stats.commands);
}

static void what_waits_is_committed_together(void **state)
{
	struct call calls[10];
	struct writer_stats stats;

	(void)state;
	for (int i = 0; i < 10; i++)
		submit_put(&calls[i], "x");
	assert_int_equal(writer_start(fixture.writer), 0);
	for (int i = 0; i < 10; i++)
		await(&calls[i]);
	writer_stats(fixture.writer, &stats);
	assert_int_equal(stats.largest_batch, 10);
}

static void a_failed_batch_is_told_to_each(void **state)
{
	_cleanup_free_ struct call *calls = calloc(4000, sizeof(*calls));
	struct call later;
	struct writer_stats stats;

	(void)state;
	assert_non_null(calls);
	teardown(NULL);
	tempdir_make(&fixture.dir);
	open_all(1 << 19); /* too small for them all, and nothing keeps them from being tried */
	fixture.settings.reserve_bytes = -(1LL << 32);
	for (int i = 0; i < 4000; i++)
		submit_put(&calls[i], "0123456789012345678901234567890123456789");
	assert_int_equal(writer_start(fixture.writer), 0);
	for (int i = 0; i < 4000; i++) {
		await(&calls[i]);
		assert_int_equal(calls[i].rc, ERR_STORE_FULL);
	}
	writer_stats(fixture.writer, &stats);
	assert_int_equal(stats.failed_commits, 1);
	submit_put(&later, "small");
	await(&later);
	assert_int_equal(later.rc, 0);
}

/* Whoever is gone is forgotten also where the batch fails that says so: or it would be given the next job. */
static void a_failed_batch_forgets_who_is_gone(void **state)
{
	_cleanup_free_ struct call *calls = calloc(4000, sizeof(*calls));
	struct call lease, forget, later;

	(void)state;
	assert_non_null(calls);
	teardown(NULL);
	tempdir_make(&fixture.dir);
	open_all(1 << 19);
	fixture.settings.reserve_bytes = -(1LL << 32);
	submit_lease(&lease, 60000, 7);
	for (int i = 0; i < 4000; i++)
		submit_put(&calls[i], "0123456789012345678901234567890123456789");
	prepare(&forget, COMMAND_FORGET);
	forget.cmd.session = 7;
	writer_submit(fixture.writer, &forget.cmd);
	assert_int_equal(writer_start(fixture.writer), 0);
	await(&forget);
	assert_true(forget.rc < 0);
	await(&lease);
	assert_int_equal(lease.leased, 0);
	submit_put(&later, "small");
	await(&later);
	assert_int_equal(later.rc, 0);
}

static void puts_that_do_not_fit_are_refused_alone(void **state)
{
	_cleanup_free_ struct call *calls = calloc(400, sizeof(*calls));
	struct writer_stats stats;
	struct call lease;
	int refused = 0;

	(void)state;
	assert_non_null(calls);
	teardown(NULL);
	tempdir_make(&fixture.dir);
	fixture.settings.reserve_bytes = 1 << 19;
	open_all(1 << 20);
	for (int i = 0; i < 400; i++)
		submit_put(&calls[i], "x");
	assert_int_equal(writer_start(fixture.writer), 0);
	for (int i = 0; i < 400; i++) {
		await(&calls[i]);
		assert_int_equal(calls[i].rc, 0);
		refused += calls[i].refusals;
	}
	assert_in_range(refused, 300, 399);
	submit_lease(&lease, 0, 1);
	await(&lease);
	assert_int_equal(lease.leased, 1);
	writer_stats(fixture.writer, &stats);
	assert_int_equal(stats.failed_commits, 0);
}

static void a_parked_lease_is_served_forgotten_or_ended(void **state)
{
	struct call served, forgotten, ended, forget, put;

	(void)state;
	assert_int_equal(writer_start(fixture.writer), 0);
	submit_lease(&served, 60000, 1);
	submit_put(&put, "x");
	await(&served);
	assert_int_equal(served.leased, 1);
	submit_lease(&forgotten, 60000, 2);
	submit_lease(&ended, 60000, 3);
	prepare(&forget, COMMAND_FORGET);
	forget.cmd.session = 2;
	writer_submit(fixture.writer, &forget.cmd);
	await(&forgotten);
	assert_int_equal(forgotten.leased, 0);
	await(&forget);
	await(&put);
	writer_stop(fixture.writer);
	await(&ended);
	assert_int_equal(ended.rc, ERR_SHUTTING_DOWN);
}

static void a_wait_ends_by_itself(void **state)
{
	struct call lease;

	(void)state;
	assert_int_equal(writer_start(fixture.writer), 0);
	submit_lease(&lease, 20, 1);
	await(&lease);
	assert_int_equal(lease.rc, 0);
	assert_int_equal(lease.leased, 0);
}

static void a_wait_ends_though_the_clock_is_set_back(void **state)
{
	struct call lease, forget;

	(void)state;
	assert_int_equal(writer_start(fixture.writer), 0);
	submit_lease(&lease, 50, 1);
	prepare(&forget, COMMAND_FORGET);
	forget.cmd.session = 2;
	writer_submit(fixture.writer, &forget.cmd);
	await(&forget);
	clock_shift_s = -3600;
	await(&lease);
	clock_shift_s = 0;
	assert_int_equal(lease.rc, 0);
	assert_int_equal(lease.leased, 0);
}

static void after_the_stop_commands_are_refused(void **state)
{
	struct call before, after;

	(void)state;
	submit_put(&before, "x");
	assert_int_equal(writer_start(fixture.writer), 0);
	writer_stop(fixture.writer);
	await(&before);
	assert_int_equal(before.rc, 0);
	submit_put(&after, "x");
	await(&after);
	assert_int_equal(after.rc, ERR_SHUTTING_DOWN);
	assert_int_equal(after.refusals, 1);
}

static pthread_mutex_t events_lock = PTHREAD_MUTEX_INITIALIZER;
static size_t final_events;

static void event_cb(void *user, const struct job_event *events, size_t count)
{
	(void)user;
	pthread_mutex_lock(&events_lock);
	for (size_t i = 0; i < count; i++)
		final_events += events[i].final;
	pthread_mutex_unlock(&events_lock);
}

static void deadlines_pass_without_a_command(void **state)
{
	struct call put, wake;

	(void)state;
	writer_subscribe(fixture.writer, event_cb, NULL);
	assert_int_equal(writer_start(fixture.writer), 0);
	prepare(&put, COMMAND_PUT);
	put.item.put.has_queue = put.item.put.has_payload = put.item.put.has_deadline_ms = true;
	put.item.put.queue = slice_str("q");
	put.item.put.payload = slice_str("x");
	put.item.put.deadline_ms = 10;
	put.put = (struct command_put){ .items = &put.item, .count = 1 };
	put.cmd.params = &put.put;
	writer_submit(fixture.writer, &put.cmd);
	await(&put);
	/* A wait that is over later than the deadline: by then the writer has woken for both. */
	submit_lease(&wake, 1, 1);
	await(&wake);
	for (bool seen = false; !seen;) {
		submit_lease(&wake, 5, 1);
		await(&wake);
		pthread_mutex_lock(&events_lock);
		seen = final_events == 1;
		pthread_mutex_unlock(&events_lock);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(many_fronts_put_at_once),
		T(what_waits_is_committed_together),
		T(a_failed_batch_is_told_to_each),
		T(a_failed_batch_forgets_who_is_gone),
		T(puts_that_do_not_fit_are_refused_alone),
		T(a_parked_lease_is_served_forgotten_or_ended),
		T(a_wait_ends_by_itself),
		T(a_wait_ends_though_the_clock_is_set_back),
		T(after_the_stop_commands_are_refused),
		T(deadlines_pass_without_a_command),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
