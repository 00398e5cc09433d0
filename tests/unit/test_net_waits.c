/* What waits: leases for a job, and whoever wants to know how a job ended. */
#include "tests/unit/test_net_rig.h"

static struct net_rig rig;
static struct peer p;

static int setup(void **state)
{
	(void)state;
	rig_open(&rig);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	peer_close(&p);
	rig_stop(&rig);
	return 0;
}

static void serve(void)
{
	rig_serve(&rig, NULL);
	peer_open(&p, &rig);
}

static void expect_waiting(int64_t count)
{
	assert_int_equal(peer_stats(&p).waiting_leases, count);
}

/* The writer takes commands in order, so whatever was answered after a lease began to wait has it counted. */
static void leases_that_wait_are_counted(void **state)
{
	struct slice queue = slice_str("empty");
	struct msg_job_lease lease = lease_of(&queue, 60000);
	struct msg_empty nothing = { 0 };
	struct peer worker;
	uint64_t first, cancel;

	(void)state;
	serve();
	peer_open(&worker, &rig);
	expect_waiting(0);
	first = peer_request(&worker, METHOD_job_lease, &lease);
	peer_request(&worker, METHOD_job_lease, &lease);
	peer_put(&worker, "other");
	expect_waiting(2);
	peer_put(&p, "empty");
	assert_int_equal(peer_answer(&worker, first, METHOD_job_lease, NULL), 0);
	expect_waiting(1);
	cancel = peer_request(&worker, METHOD_job_lease_cancel, &nothing);
	for (int i = 0; i < 2; i++) {
		struct rpc_envelope e;

		peer_read(&worker, &e);
		assert_in_range(e.id, first + 1, cancel);
	}
	expect_waiting(0);
	peer_close(&worker);
}

static void complete(struct peer *worker, const struct uuid *id, const struct token *lease)
{
	struct msg_job_complete done = { .has_id = true, .id = *id, .has_lease = true, .lease = *lease };

	assert_int_equal(peer_call(worker, METHOD_job_complete, &done, NULL), 0);
}

static void a_wait_ends_with_the_job(void **state)
{
	enum { WAITERS = 50 };
	struct msg_job_wait wait = { .has_id = true, .has_wait_ms = true, .wait_ms = 60000 };
	struct peer worker;
	struct token lease;
	struct msg_job job;
	uint64_t first = 0;

	(void)state;
	serve();
	peer_open(&worker, &rig);
	lease = peer_take(&worker, "q", &wait.id);
	for (int i = 0; i < WAITERS; i++) {
		uint64_t id = peer_request(&p, METHOD_job_wait, &wait);

		first = first ? first : id;
	}
	complete(&worker, &wait.id, &lease);
	for (uint64_t i = 0; i < WAITERS; i++) {
		struct rpc_envelope e;

		peer_read(&p, &e);
		assert_true(e.id >= first && e.id < first + WAITERS);
		assert_int_equal(peer_outcome(&p, &e, METHOD_job_wait, &job), 0);
		assert_int_equal(job.state, JOB_SUCCEEDED);
	}
	/* It is final already. */
	assert_int_equal(peer_call(&p, METHOD_job_wait, &wait, &job), 0);
	assert_int_equal(job.state, JOB_SUCCEEDED);
	peer_close(&worker);
}

static void a_wait_that_is_over_tells_the_present(void **state)
{
	struct msg_job_wait wait = { .has_id = true, .has_wait_ms = true, .wait_ms = 20 };
	struct msg_job job;

	(void)state;
	serve();
	assert_int_equal(peer_call(&p, METHOD_job_wait, &wait, NULL), ERR_NOT_FOUND);
	wait.id = peer_put(&p, "q");
	assert_int_equal(peer_call(&p, METHOD_job_wait, &wait, &job), 0);
	assert_int_equal(job.state, JOB_READY);
	wait.wait_ms = 0;
	assert_int_equal(peer_call(&p, METHOD_job_wait, &wait, &job), 0);
	wait.has_wait_ms = false;
	assert_int_equal(peer_call(&p, METHOD_job_wait, &wait, &job), 0);
}

/* Ends of jobs come while waits are registered, read and told: none may be missed. */
static void no_end_is_missed(void **state)
{
	struct msg_job_wait wait = { .has_id = true, .has_wait_ms = true, .wait_ms = 60000 };
	struct peer worker;
	struct msg_job job;

	(void)state;
	serve();
	peer_open(&worker, &rig);
	for (int i = 0; i < 300; i++) {
		struct token lease = peer_take(&worker, "q", &wait.id);
		struct msg_job_complete done = { .has_id = true, .id = wait.id, .has_lease = true, .lease = lease };
		uint64_t waiting, completing;

		if (i % 2) {
			waiting = peer_request(&p, METHOD_job_wait, &wait);
			completing = peer_request(&worker, METHOD_job_complete, &done);
		} else {
			completing = peer_request(&worker, METHOD_job_complete, &done);
			waiting = peer_request(&p, METHOD_job_wait, &wait);
		}
		assert_int_equal(peer_answer(&p, waiting, METHOD_job_wait, &job), 0);
		assert_int_equal(job.state, JOB_SUCCEEDED);
		assert_int_equal(peer_answer(&worker, completing, METHOD_job_complete, NULL), 0);
	}
	peer_close(&worker);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(leases_that_wait_are_counted),
		TEST(a_wait_ends_with_the_job),
		TEST(a_wait_that_is_over_tells_the_present),
		TEST(no_end_is_missed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
