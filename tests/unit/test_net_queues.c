/* Queues as an operator sees them over the wire: settings, pausing, purging, bounds. */
#include "tests/unit/test_net_served.h"

static struct msg_queue_name queue_name(const char *name)
{
	return (struct msg_queue_name){ .has_queue = true, .queue = slice_str(name) };
}

/* Good until the next call. */
static struct msg_queue get_queue(const char *name)
{
	struct msg_queue_name params = queue_name(name);
	struct msg_queue q;

	assert_int_equal(peer_call(&p, METHOD_queue_get, &params, &q), 0);
	return q;
}

static void a_queue_is_set_and_taken_back(void **state)
{
	struct msg_queue_set set = {
		.has_queue = true,
		.queue = slice_str("q"),
		.has_title = true,
		.title = slice_str("Videos"),
		.has_paused = true,
		.paused = true,
		.has_max_jobs = true,
		.max_jobs = 3,
		.has_max_bytes = true,
		.max_bytes = 4096,
		.has_max_attempts = true,
		.max_attempts = 7,
		.has_backoff = true,
		.backoff = { .has_base_ms = true, .base_ms = 250 },
		.has_attempt_timeout_ms = true,
		.attempt_timeout_ms = 30000,
		.has_result_ttl_ms = true,
		.result_ttl_ms = 60000,
	};
	struct msg_queue_set back = { .has_queue = true, .queue = slice_str("q") };
	struct msg_queue q;

	(void)state;
	serve();
	assert_int_equal(peer_call(&p, METHOD_queue_set, &set, &q), 0);
	for (int i = 0; i < 2; i++) {
		assert_true(slice_is(q.title, "Videos") && q.paused);
		assert_true(q.max_jobs == 3 && q.max_bytes == 4096 && q.max_attempts == 7);
		assert_true(q.backoff.base_ms == 250 && q.backoff.max_ms == 300000);
		assert_true(q.attempt_timeout_ms == 30000 && q.result_ttl_ms == 60000);
		q = get_queue("q");
	}
	/* what is not given stays, what is nil goes */
	MESSAGE_SET_NIL(queue_set, &back, title);
	MESSAGE_SET_NIL(queue_set, &back, max_jobs);
	MESSAGE_SET_NIL(queue_set, &back, attempt_timeout_ms);
	assert_int_equal(peer_call(&p, METHOD_queue_set, &back, &q), 0);
	assert_false(q.has_title || q.has_max_jobs || q.has_attempt_timeout_ms);
	assert_true(q.paused && q.max_bytes == 4096 && q.max_attempts == 7 && q.backoff.base_ms == 250);
	MESSAGE_SET_NIL(queue_set, &back, paused);
	MESSAGE_SET_NIL(queue_set, &back, max_bytes);
	MESSAGE_SET_NIL(queue_set, &back, max_attempts);
	MESSAGE_SET_NIL(queue_set, &back, backoff);
	MESSAGE_SET_NIL(queue_set, &back, result_ttl_ms);
	assert_int_equal(peer_call(&p, METHOD_queue_set, &back, &q), 0);
	assert_false(q.paused || q.has_max_bytes || q.has_result_ttl_ms);
	assert_true(q.max_attempts == 5 && q.backoff.base_ms == 1000);
}

static void settings_out_of_range_are_refused_by_name(void **state)
{
	struct msg_queue_set set = { .has_queue = true, .queue = slice_str("q"), .has_max_attempts = true };

	(void)state;
	serve();
	assert_refused(peer_call(&p, METHOD_queue_set, &set, NULL), ERR_BAD_REQUEST, "max_attempts");
	set.max_attempts = 5;
	set.has_backoff = set.backoff.has_jitter = true;
	set.backoff.jitter = 2;
	assert_refused(peer_call(&p, METHOD_queue_set, &set, NULL), ERR_BAD_REQUEST, "backoff.jitter");
	set.has_backoff = false;
	set.has_max_jobs = true;
	set.max_jobs = -1;
	assert_refused(peer_call(&p, METHOD_queue_set, &set, NULL), ERR_BAD_REQUEST, "max_jobs");
	/* and made no queue */
	assert_int_equal(peer_stats(&p).queues, 0);
}

static void only_a_set_makes_a_queue(void **state)
{
	static const enum method_id others[] = { METHOD_queue_get, METHOD_queue_pause, METHOD_queue_resume,
						 METHOD_queue_purge };
	struct msg_queue_name nowhere = queue_name("nowhere"), own = queue_name("_own");
	struct msg_queue_set set = { .has_queue = true, .queue = slice_str("_own") };

	(void)state;
	serve();
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		assert_refused(peer_call(&p, others[i], &nowhere, NULL), ERR_NOT_FOUND, "queue");
	assert_refused(peer_call(&p, METHOD_queue_set, &set, NULL), ERR_BAD_REQUEST, "queue");
	assert_refused(peer_call(&p, METHOD_queue_pause, &own, NULL), ERR_BAD_REQUEST, "queue");
	assert_refused(peer_call(&p, METHOD_queue_purge, &own, NULL), ERR_BAD_REQUEST, "queue");
	/* One of the server's own that it paused itself may be looked at and resumed. */
	assert_refused(peer_call(&p, METHOD_queue_get, &own, NULL), ERR_NOT_FOUND, "queue");
	assert_refused(peer_call(&p, METHOD_queue_resume, &own, NULL), ERR_NOT_FOUND, "queue");
	assert_int_equal(peer_stats(&p).queues, 0);
}

static void a_paused_queue_takes_and_does_not_give(void **state)
{
	struct msg_queue_name name = queue_name("q");
	struct slice queue = slice_str("q");
	struct msg_job_lease lease = lease_of(&queue, 60000);
	struct msg_job_lease_result leased;
	struct peer worker;
	struct msg_queue q;
	uint64_t waiting;

	(void)state;
	serve();
	peer_put(&p, "q");
	assert_int_equal(peer_call(&p, METHOD_queue_pause, &name, &q), 0);
	assert_true(q.paused);
	peer_put(&p, "q");
	peer_open(&worker, &rig);
	waiting = peer_request(&worker, METHOD_job_lease, &lease);
	assert_int_equal(peer_ping(&worker), 0); /* not answered before */
	assert_int_equal(peer_call(&p, METHOD_queue_resume, &name, &q), 0);
	assert_false(q.paused);
	assert_int_equal(peer_answer(&worker, waiting, METHOD_job_lease, &leased), 0);
	assert_int_equal(leased.jobs_count, 1);
	peer_close(&worker);
}

static void a_purge_cancels_what_waits(void **state)
{
	struct msg_job_put later = put_of("q", "x", 1);
	struct msg_queue_name name = queue_name("q");
	struct msg_queue_purge_result purged;
	struct uuid running;

	(void)state;
	serve();
	peer_take(&p, "q", &running);
	put_many("q", 700);
	put_many("other", 3);
	later.has_delay_ms = true;
	later.delay_ms = 3600000;
	assert_int_equal(peer_call(&p, METHOD_job_put, &later, NULL), 0);
	assert_int_equal(peer_call(&p, METHOD_queue_purge, &name, &purged), 0);
	assert_int_equal(purged.count, 701);
	assert_true(slice_is(purged.queue, "q"));
	assert_int_equal(purged.counts.canceled, 701);
	assert_int_equal(purged.counts.running, 1);
	assert_int_equal(purged.counts.ready + purged.counts.scheduled, 0);
	assert_int_equal(peer_stats(&p).jobs.ready, 3);
	assert_int_equal(peer_call(&p, METHOD_queue_purge, &name, &purged), 0);
	assert_int_equal(purged.count, 0);
}

static void a_full_queue_says_when_to_come_back(void **state)
{
	struct msg_queue_set set = { .has_queue = true, .queue = slice_str("q"), .has_max_jobs = true, .max_jobs = 1 };
	struct msg_job_put put = put_of("q", "x", 1);
	struct msg_job_change cancel = { .has_id = true };

	(void)state;
	serve();
	assert_int_equal(peer_call(&p, METHOD_queue_set, &set, NULL), 0);
	cancel.id = peer_put(&p, "q");
	assert_refused(peer_call(&p, METHOD_job_put, &put, NULL), ERR_QUEUE_FULL, "queue");
	assert_in_range(p.info.retry_after_ms, 1000, 60000);
	assert_int_equal(peer_call(&p, METHOD_job_cancel, &cancel, NULL), 0);
	peer_put(&p, "q");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_queue_is_set_and_taken_back), TEST(settings_out_of_range_are_refused_by_name),
		TEST(only_a_set_makes_a_queue),	     TEST(a_paused_queue_takes_and_does_not_give),
		TEST(a_purge_cancels_what_waits),    TEST(a_full_queue_says_when_to_come_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
