/* Who is told that a job was taken from them, and who is not. */
#include "server/net/net_priv.h"
#include "server/net/request.h"
#include "server/net/session.h"
#include "tests/unit/test_net_rig.h"

static struct net_rig rig;
static struct peer admin;

static int setup(void **state)
{
	(void)state;
	rig_open(&rig);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	peer_close(&admin);
	rig_stop(&rig);
	return 0;
}

static void serve(void)
{
	rig_serve(&rig, NULL);
	peer_open(&admin, &rig);
}

static void change_job(enum method_id m, const struct uuid *id)
{
	struct msg_job_change params = { .has_id = true, .id = *id };
	struct msg_job_change_result result;

	assert_int_equal(peer_call(&admin, m, &params, &result), 0);
	assert_int_equal(result.count, 1);
}

static int64_t cancel_all(const char *queue)
{
	struct msg_job_change params = { .has_filter = true,
					 .filter = { .has_queue = true, .queue = slice_str(queue) } };
	struct msg_job_change_result result;

	assert_int_equal(peer_call(&admin, METHOD_job_cancel, &params, &result), 0);
	return result.count;
}

/* The next that comes is the notification about this job. */
static void expect_told(struct peer *p, const struct uuid *id, const struct token *lease)
{
	struct msg_job_cancel_notice notice;
	struct rpc_envelope e;

	peer_read(p, &e);
	assert_int_equal(e.type, RPC_NOTIFICATION);
	assert_true(slice_is(e.method, "job.cancel"));
	assert_int_equal(message_decode(&MSG_job_cancel_notice, e.params, &p->zone, &notice, NULL), 0);
	assert_true(uuid_equal(&notice.id, id));
	assert_memory_equal(notice.lease.bytes, lease->bytes, sizeof(lease->bytes));
}

/* What is told goes out before the answer to whoever did it: what was not there by now never comes. */
static void expect_not_told(struct peer *p)
{
	assert_int_equal(peer_ping(p), 0);
}

/* ---- who is told ---- */

static void the_holder_is_told_of_a_cancel_and_an_erasure(void **state)
{
	static const enum method_id takes[] = { METHOD_job_cancel, METHOD_job_erase };
	struct peer worker;

	(void)state;
	serve();
	peer_subscribe(&worker, &rig);
	for (size_t i = 0; i < ARRAY_SIZE(takes); i++) {
		struct uuid id;
		struct token lease = peer_take(&worker, "q", &id);

		change_job(takes[i], &id);
		expect_told(&worker, &id, &lease);
		expect_not_told(&worker);
	}
	peer_close(&worker);
}

/* The lease that is told is the one that was taken, not one before it. */
static void the_present_lease_is_told(void **state)
{
	struct slice queue = slice_str("q");
	struct msg_job_lease again = lease_of(&queue, 0);
	struct msg_job_lease_result leased = { 0 };
	struct msg_job_release release = { .has_id = true, .has_lease = true };
	struct peer first, second;
	struct token lease;

	(void)state;
	serve();
	peer_subscribe(&first, &rig);
	peer_subscribe(&second, &rig);
	release.lease = peer_take(&first, "q", &release.id);
	assert_int_equal(peer_call(&first, METHOD_job_release, &release, NULL), 0);
	assert_int_equal(peer_call(&second, METHOD_job_lease, &again, &leased), 0);
	assert_non_null(leased.jobs);
	lease = leased.jobs ? leased.jobs[0].lease : (struct token){ { 0 } };
	change_job(METHOD_job_cancel, &release.id);
	expect_told(&second, &release.id, &lease);
	expect_not_told(&first);
	peer_close(&first);
	peer_close(&second);
}

/* Each of many is told of its own, and of nothing else. */
static void each_of_many_is_told_of_its_own(void **state)
{
	enum { WORKERS = 200 };
	struct peer *workers = calloc(WORKERS, sizeof(*workers));
	struct uuid ids[WORKERS];
	struct token leases[WORKERS];

	(void)state;
	serve();
	for (int i = 0; i < WORKERS; i++) {
		peer_subscribe(&workers[i], &rig);
		leases[i] = peer_take(&workers[i], "q", &ids[i]);
	}
	assert_int_equal(cancel_all("q"), WORKERS);
	for (int i = 0; i < WORKERS; i++) {
		expect_told(&workers[i], &ids[i], &leases[i]);
		expect_not_told(&workers[i]);
		peer_close(&workers[i]);
	}
	free(workers);
}

/* Leases every job of the queue there is, one answer after the other. */
static size_t lease_all(struct peer *p, const char *name)
{
	struct slice queue = slice_str(name);
	struct msg_job_lease lease = lease_of(&queue, 0);
	struct msg_job_lease_result leased;
	size_t count = 0;

	lease.has_max = true;
	lease.max = 1000;
	do {
		assert_int_equal(peer_call(p, METHOD_job_lease, &lease, &leased), 0);
		count += leased.jobs_count;
	} while (leased.jobs_count > 0);
	return count;
}

static void put_jobs(const char *queue, size_t count)
{
	struct msg_job_put put = put_of(queue, "x", 1);
	uint64_t first = admin.last_id + 1;

	for (size_t i = 0; i < count; i++)
		peer_request(&admin, METHOD_job_put, &put);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(peer_answer(&admin, first + i, METHOD_job_put, NULL), 0);
}

/* One that has many is told of every one of them. */
static void one_that_held_many_is_told_of_all(void **state)
{
	enum { MANY = 800 };
	struct peer worker;
	struct rpc_envelope e;

	(void)state;
	serve();
	peer_subscribe(&worker, &rig);
	put_jobs("q", MANY);
	assert_int_equal(lease_all(&worker, "q"), MANY);
	assert_int_equal(cancel_all("q"), MANY);
	for (int i = 0; i < MANY; i++) {
		peer_read(&worker, &e);
		assert_int_equal(e.type, RPC_NOTIFICATION);
	}
	expect_not_told(&worker);
	peer_close(&worker);
}

/* ---- who is not ---- */

static void who_did_not_subscribe_is_not_told(void **state)
{
	struct peer worker, other;
	struct uuid id;

	(void)state;
	serve();
	peer_open(&worker, &rig);
	peer_subscribe(&other, &rig);
	peer_take(&worker, "q", &id);
	change_job(METHOD_job_cancel, &id);
	expect_not_told(&worker);
	expect_not_told(&other);
	peer_close(&worker);
	peer_close(&other);
}

static void whose_lease_is_over_is_not_told(void **state)
{
	struct msg_job_complete done = { .has_id = true, .has_lease = true };
	struct msg_job_release release = { .has_id = true, .has_lease = true };
	struct peer worker;
	struct uuid id;

	(void)state;
	serve();
	peer_subscribe(&worker, &rig);
	done.lease = peer_take(&worker, "q", &done.id);
	assert_int_equal(peer_call(&worker, METHOD_job_complete, &done, NULL), 0);
	change_job(METHOD_job_erase, &done.id);
	release.lease = peer_take(&worker, "q", &release.id);
	assert_int_equal(peer_call(&worker, METHOD_job_release, &release, NULL), 0);
	change_job(METHOD_job_cancel, &release.id);
	id = peer_put(&admin, "q");
	change_job(METHOD_job_cancel, &id);
	expect_not_told(&worker);
	peer_close(&worker);
}

static void who_comes_back_is_another(void **state)
{
	struct peer worker;
	struct uuid id;

	(void)state;
	serve();
	peer_subscribe(&worker, &rig);
	peer_take(&worker, "q", &id);
	peer_close(&worker);
	peer_subscribe(&worker, &rig);
	change_job(METHOD_job_cancel, &id);
	expect_not_told(&worker);
	peer_close(&worker);
}

/* Who holds a job stands in the store; the broker that starts anew gives that number to nobody. */
static void nobody_is_told_of_what_was_held_before_a_restart(void **state)
{
	struct peer worker;
	struct uuid id;

	(void)state;
	rig_serve(&rig, NULL);
	peer_subscribe(&worker, &rig);
	peer_take(&worker, "q", &id);
	peer_close(&worker);
	rig_restart(&rig);
	rig_serve(&rig, NULL);
	/* the first of its run, as the holder was of its own */
	peer_subscribe(&worker, &rig);
	peer_open(&admin, &rig);
	change_job(METHOD_job_cancel, &id);
	expect_not_told(&worker);
	peer_close(&worker);
}

/* ---- who does not read ---- */

static struct {
	uint64_t session; /* the one looked at; 0: the newest */
	bool stuck;	  /* it has its fill, and all of that waits for the peer */
	unsigned open;
} seen;

static void look_at_session(struct net_rig *r)
{
	struct session *s = r->net->sessions;
	unsigned ready = 0;

	while (seen.session != 0 && s->id != seen.session)
		s = s->next;
	for (struct request *req = s->ready; req; req = req->next)
		ready++;
	seen.session = s->id;
	seen.stuck = session_has_its_fill(s) && s->writing > 0 && ready == s->open;
	seen.open = s->open;
}

/* Asks for more than the connection takes, and reads nothing of it. How many requests it took. */
static uint64_t get_stuck(struct peer *p, const struct uuid *large)
{
	struct msg_job_id id = { .has_id = true, .id = *large };
	int64_t until = clock_mono_ms() + PATIENCE_SECONDS * 1000;
	uint64_t requests = 0;

	do {
		assert_true(clock_mono_ms() < until);
		if (requests < 100) {
			peer_request(p, METHOD_job_payload, &id);
			requests++;
		}
		rig_run(&rig, look_at_session);
	} while (!seen.stuck);
	return requests;
}

/* What it holds of the broker's memory does not grow by what it is told; it learns the truth when it asks. */
static void a_subscriber_that_does_not_read_costs_no_more(void **state)
{
	enum { HELD = 100 };
	static char payload[300000];
	struct msg_job_put put = put_of("large", payload, sizeof(payload));
	struct msg_job_put_result stored;
	struct peer lazy;
	char address[256];
	uint64_t requests;
	unsigned open;

	(void)state;
	rig.options.limits.unsent = 1 << 20;
	/* the system's buffers of a Unix socket do not grow meanwhile */
	snprintf(address, sizeof(address), "unix:%s/rpc.sock", rig.dir.path);
	rig_serve(&rig, address);
	peer_open(&admin, &rig);
	assert_int_equal(peer_call(&admin, METHOD_job_put, &put, &stored), 0);
	put_jobs("q", HELD);
	peer_subscribe(&lazy, &rig);
	seen.session = 0;
	rig_run(&rig, look_at_session);
	assert_int_equal(lease_all(&lazy, "q"), HELD);
	requests = get_stuck(&lazy, &stored.id);
	open = seen.open;
	assert_int_equal(cancel_all("q"), HELD);
	rig_run(&rig, look_at_session);
	assert_int_equal(seen.open, open);
	/* It reads at last: all that it asked for is there, and not one notification. */
	for (; requests > 0; requests--) {
		struct rpc_envelope e;

		peer_read(&lazy, &e);
		assert_int_equal(e.type, RPC_RESPONSE);
	}
	expect_not_told(&lazy);
	peer_close(&lazy);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(the_holder_is_told_of_a_cancel_and_an_erasure),
		TEST(the_present_lease_is_told),
		TEST(each_of_many_is_told_of_its_own),
		TEST(one_that_held_many_is_told_of_all),
		TEST(who_did_not_subscribe_is_not_told),
		TEST(whose_lease_is_over_is_not_told),
		TEST(who_comes_back_is_another),
		TEST(nobody_is_told_of_what_was_held_before_a_restart),
		TEST(a_subscriber_that_does_not_read_costs_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
