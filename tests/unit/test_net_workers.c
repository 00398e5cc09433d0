/* The workers that are connected: what is told of them, whose jobs are counted where, and who is told to be quiet. */
#include <sys/resource.h>

#include "tests/unit/test_net_rig.h"

static struct net_rig rig;
static struct peer admin;

static int setup(void **state)
{
	(void)state;
	rig_open(&rig);
	rig_serve(&rig, NULL);
	peer_open(&admin, &rig);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	peer_close(&admin);
	rig_stop(&rig);
	return 0;
}

/* One that takes jobs of the queue "q" and has 4 slots. */
static struct msg_hello hello_of(const char *name, bool subscribe)
{
	static struct slice queue;

	queue = slice_str("q");
	return (struct msg_hello){
		.has_client = true,
		.client = slice_str("tester"),
		.has_subscribe = true,
		.subscribe = subscribe,
		.has_worker = true,
		.worker = { .has_name = true,
			    .name = slice_str(name),
			    .has_queues = true,
			    .queues = &queue,
			    .queues_count = 1,
			    .has_slots = true,
			    .slots = 4 },
	};
}

static void greet(struct peer *p, const struct msg_hello *hello)
{
	peer_connect(p, &rig);
	assert_int_equal(peer_call(p, METHOD_session_hello, hello, NULL), 0);
}

static void open_worker(struct peer *p, const char *name)
{
	struct msg_hello hello = hello_of(name, true);

	greet(p, &hello);
}

/* Good until the next call. */
static struct msg_worker_list_result list(void)
{
	struct msg_worker_list_result result;
	struct msg_empty nothing = { 0 };

	assert_int_equal(peer_call(&admin, METHOD_worker_list, &nothing, &result), 0);
	return result;
}

/* Of the only worker. */
static int64_t in_hand(void)
{
	struct msg_worker_list_result result = list();

	assert_int_equal(result.workers_count, 1);
	return result.workers[0].in_hand;
}

static int order(enum method_id m, const char *name, int64_t *ret_count)
{
	struct msg_worker_name params = { .has_name = true, .name = slice_str(name) };
	struct msg_worker_told result = { 0 };
	int rc = peer_call(&admin, m, &params, &result);

	*ret_count = result.count;
	return rc;
}

static void expect_notice(struct peer *p, const char *method)
{
	struct rpc_envelope e;

	peer_read(p, &e);
	assert_int_equal(e.type, RPC_NOTIFICATION);
	assert_true(slice_is(e.method, method));
}

/* The other side has hung up; the broker learns it in its own time. */
static void await_workers(size_t count)
{
	int64_t until = clock_mono_ms() + PATIENCE_SECONDS * 1000;

	while (list().workers_count != count) {
		assert_true(clock_mono_ms() < until);
		poll(NULL, 0, 1);
	}
}

/* ---- the list ---- */

static void a_worker_is_listed_while_it_is_connected(void **state)
{
	struct msg_worker_list_result result;
	const struct msg_worker_session *w;
	struct peer worker;
	char address[64];
	struct sockaddr_in at;
	socklen_t size = sizeof(at);

	(void)state;
	assert_int_equal(list().workers_count, 0);
	open_worker(&worker, "w1");
	getsockname(worker.fd, (struct sockaddr *)&at, &size);
	snprintf(address, sizeof(address), "127.0.0.1:%u", ntohs(at.sin_port));
	result = list();
	assert_int_equal(result.workers_count, 1);
	w = &result.workers[0];
	assert_true(slice_is(w->name, "w1"));
	assert_int_equal(w->state, WORKER_ACTIVE);
	assert_true(slice_is(w->address, address));
	assert_true(w->has_client && slice_is(w->client, "tester"));
	assert_false(w->has_version);
	assert_int_equal(w->queues_count, 1);
	assert_true(slice_is(w->queues[0], "q"));
	assert_true(w->has_slots);
	assert_int_equal(w->slots, 4);
	assert_int_equal(w->in_hand, 0);
	assert_int_equal(w->waiting, 0);
	assert_true(w->connected_at_ms > 0);
	peer_close(&worker);
	await_workers(0);
}

static void workers_are_listed_by_name(void **state)
{
	static const char *const names[] = { "b", "c", "a", "b" };
	struct peer workers[ARRAY_SIZE(names)];
	struct msg_worker_list_result result;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		open_worker(&workers[i], names[i]);
	result = list();
	assert_int_equal(result.workers_count, 4);
	assert_true(slice_is(result.workers[0].name, "a"));
	assert_true(slice_is(result.workers[1].name, "b"));
	assert_true(slice_is(result.workers[2].name, "b"));
	assert_true(slice_is(result.workers[3].name, "c"));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		peer_close(&workers[i]);
}

/* One that was told to be quiet says so when it connects anew. */
static void a_quiet_worker_stays_quiet(void **state)
{
	struct msg_hello hello = hello_of("w", true);
	struct msg_worker_list_result result;
	struct peer worker;

	(void)state;
	hello.worker.has_quiet = hello.worker.quiet = true;
	greet(&worker, &hello);
	result = list();
	assert_int_equal(result.workers[0].state, WORKER_QUIET);
	assert_int_equal(peer_stats(&admin).slots_free, 0);
	peer_close(&worker);
}

/* ---- jobs in hand ---- */

static void jobs_in_hand_are_those_leased_and_not_ended(void **state)
{
	struct msg_job_complete complete = { .has_id = true, .has_lease = true };
	struct msg_job_release release = { .has_id = true, .has_lease = true };
	struct msg_job_change erase = { .has_id = true };
	struct msg_server_stats_result stats;
	struct peer worker;

	(void)state;
	open_worker(&worker, "w");
	complete.lease = peer_take(&worker, "q", &complete.id);
	assert_int_equal(in_hand(), 1);
	peer_take(&worker, "q", &erase.id);
	release.lease = peer_take(&worker, "other", &release.id);
	assert_int_equal(in_hand(), 3);
	stats = peer_stats(&admin);
	assert_int_equal(stats.workers, 1);
	assert_int_equal(stats.slots, 4);
	assert_int_equal(stats.slots_free, 1);
	assert_int_equal(peer_call(&worker, METHOD_job_complete, &complete, NULL), 0);
	assert_int_equal(in_hand(), 2);
	assert_int_equal(peer_call(&worker, METHOD_job_complete, &complete, NULL), ERR_LEASE_LOST);
	assert_int_equal(in_hand(), 2);
	assert_int_equal(peer_call(&admin, METHOD_job_erase, &erase, NULL), 0);
	expect_notice(&worker, "job.cancel");
	assert_int_equal(in_hand(), 1);
	assert_int_equal(peer_call(&worker, METHOD_job_release, &release, NULL), 0);
	assert_int_equal(in_hand(), 0);
	peer_close(&worker);
}

static void a_lease_that_runs_out_is_in_no_hand(void **state)
{
	struct slice queue = slice_str("q");
	struct msg_job_lease lease = lease_of(&queue, 0);
	struct peer worker, other;

	(void)state;
	open_worker(&worker, "w");
	peer_open(&other, &rig);
	peer_put(&admin, "q");
	lease.has_lease_ms = true;
	lease.lease_ms = 1;
	assert_int_equal(peer_call(&worker, METHOD_job_lease, &lease, NULL), 0);
	/* Until it is there for another. */
	lease = lease_of(&queue, MAX_WAIT_MS);
	assert_int_equal(peer_call(&other, METHOD_job_lease, &lease, NULL), 0);
	assert_int_equal(in_hand(), 0);
	peer_close(&worker);
	peer_close(&other);
}

/* What a worker goes on with on another connection is in that one's hand. */
static void a_job_moves_to_the_connection_that_extends_it(void **state)
{
	struct msg_extend_item item = { .has_id = true, .has_lease = true };
	struct msg_job_extend extend = { .has_leases = true, .leases = &item, .leases_count = 1 };
	struct msg_worker_list_result result;
	struct peer before, after;

	(void)state;
	open_worker(&before, "a");
	open_worker(&after, "b");
	item.lease = peer_take(&before, "q", &item.id);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(peer_call(&after, METHOD_job_extend, &extend, NULL), 0);
		result = list();
		assert_int_equal(result.workers[0].in_hand, 0);
		assert_int_equal(result.workers[1].in_hand, 1);
	}
	peer_close(&before);
	peer_close(&after);
}

/* The leases of one that does not say that it is a worker are in nobody's hand. */
static void who_is_no_worker_is_not_counted(void **state)
{
	struct peer worker, plain;
	struct uuid id;

	(void)state;
	open_worker(&worker, "w");
	peer_open(&plain, &rig);
	peer_take(&plain, "q", &id);
	assert_int_equal(in_hand(), 0);
	peer_close(&worker);
	peer_close(&plain);
}

/* While they are broken no page of the store's file can be written but its first two: every commit fails. */
static int call_without_disk(struct peer *p, enum method_id m, const void *params)
{
	struct rlimit before, limit;
	int rc;

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	limit = before;
	limit.rlim_cur = 8192;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	rc = peer_call(p, m, params, NULL);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	return rc;
}

static void what_was_not_committed_is_not_counted(void **state)
{
	struct slice queue = slice_str("q");
	struct msg_job_lease lease = lease_of(&queue, 0);
	struct msg_job_complete complete = { .has_id = true, .has_lease = true };
	struct msg_job_lease_result leased = { 0 };
	struct peer worker;

	(void)state;
	open_worker(&worker, "w");
	complete.id = peer_put(&admin, "q");
	assert_true(call_without_disk(&worker, METHOD_job_lease, &lease) < 0);
	assert_int_equal(in_hand(), 0);
	assert_int_equal(peer_call(&worker, METHOD_job_lease, &lease, &leased), 0);
	assert_int_equal(leased.jobs_count, 1);
	complete.lease = leased.jobs ? leased.jobs[0].lease : (struct token){ 0 };
	assert_int_equal(in_hand(), 1);
	assert_true(call_without_disk(&worker, METHOD_job_complete, &complete) < 0);
	assert_int_equal(in_hand(), 1);
	assert_int_equal(peer_call(&worker, METHOD_job_complete, &complete, NULL), 0);
	assert_int_equal(in_hand(), 0);
	peer_close(&worker);
}

static void leases_that_wait_are_counted(void **state)
{
	struct slice queue = slice_str("q");
	struct msg_job_lease lease = lease_of(&queue, MAX_WAIT_MS);
	struct msg_worker_list_result result;
	struct peer worker;
	uint64_t first;

	(void)state;
	open_worker(&worker, "w");
	first = peer_request(&worker, METHOD_job_lease, &lease);
	peer_request(&worker, METHOD_job_lease, &lease);
	while (list().workers[0].waiting < 2)
		;
	peer_put(&admin, "q");
	assert_int_equal(peer_answer(&worker, first, METHOD_job_lease, NULL), 0);
	result = list();
	assert_int_equal(result.workers[0].waiting, 1);
	assert_int_equal(result.workers[0].in_hand, 1);
	/* It goes with its lease waiting. */
	peer_close(&worker);
	await_workers(0);
}

/* ---- orders ---- */

static void workers_of_a_name_are_told(void **state)
{
	struct msg_worker_list_result result;
	struct peer first, second, other;
	int64_t count;

	(void)state;
	open_worker(&first, "w");
	open_worker(&second, "w");
	open_worker(&other, "x");
	assert_int_equal(order(METHOD_worker_quiet, "w", &count), 0);
	assert_int_equal(count, 2);
	expect_notice(&first, "worker.quiet");
	expect_notice(&second, "worker.quiet");
	result = list();
	assert_int_equal(result.workers[0].state, WORKER_QUIET);
	assert_int_equal(result.workers[1].state, WORKER_QUIET);
	assert_int_equal(result.workers[2].state, WORKER_ACTIVE);
	assert_int_equal(peer_stats(&admin).slots_free, 4);
	assert_int_equal(order(METHOD_worker_stop, "w", &count), 0);
	expect_notice(&first, "worker.stop");
	assert_int_equal(order(METHOD_worker_quiet, "w", &count), 0);
	expect_notice(&first, "worker.quiet");
	assert_int_equal(list().workers[0].state, WORKER_STOPPING);
	assert_int_equal(peer_ping(&other), 0);
	peer_close(&first);
	peer_close(&second);
	peer_close(&other);
}

static void who_is_not_there_cannot_be_told(void **state)
{
	struct msg_hello hello = hello_of("deaf", false);
	struct peer deaf, worker;
	int64_t count;

	(void)state;
	assert_int_equal(order(METHOD_worker_quiet, "w", &count), ERR_NOT_FOUND);
	assert_string_equal(admin.info.field, "name");
	greet(&deaf, &hello);
	assert_int_equal(order(METHOD_worker_stop, "deaf", &count), ERR_CONFLICT);
	assert_string_equal(admin.info.field, "name");
	assert_non_null(strstr(admin.info.message, "did not subscribe"));
	assert_int_equal(list().workers[0].state, WORKER_ACTIVE);
	/* One that can be told is enough. */
	open_worker(&worker, "deaf");
	assert_int_equal(order(METHOD_worker_stop, "deaf", &count), 0);
	assert_int_equal(count, 1);
	expect_notice(&worker, "worker.stop");
	assert_int_equal(peer_ping(&deaf), 0);
	peer_close(&deaf);
	peer_close(&worker);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_worker_is_listed_while_it_is_connected),
		TEST(workers_are_listed_by_name),
		TEST(a_quiet_worker_stays_quiet),
		TEST(jobs_in_hand_are_those_leased_and_not_ended),
		TEST(a_lease_that_runs_out_is_in_no_hand),
		TEST(a_job_moves_to_the_connection_that_extends_it),
		TEST(who_is_no_worker_is_not_counted),
		TEST(what_was_not_committed_is_not_counted),
		TEST(leases_that_wait_are_counted),
		TEST(workers_of_a_name_are_told),
		TEST(who_is_not_there_cannot_be_told),
	};

	return cmocka_run_group_tests_name("net workers", tests, NULL, NULL);
}
