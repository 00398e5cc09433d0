/* Workers are told ahead of time that a schedule lets more calls through: who, when, and how many are theirs. */
#include "server/net/prescale.h"
#include "tests/unit/test_net_rig.h"

#define SOON (PRESCALE_LEAD_MS / 2)

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

/* ---- operators ---- */

static void set_limit(const char *name, int64_t concurrency, int64_t from_ms, int64_t spell_concurrency)
{
	int64_t now_ms = clock_wall_ms();
	struct msg_limit_spell spell = { .has_from_at_ms = true,
					 .from_at_ms = now_ms + from_ms,
					 .has_until_at_ms = true,
					 .until_at_ms = now_ms + 10 * 3600 * 1000,
					 .has_concurrency = true,
					 .concurrency = spell_concurrency };
	struct msg_limit_set set = { .has_limit = true,
				     .limit = slice_str(name),
				     .has_concurrency = true,
				     .concurrency = concurrency,
				     .has_schedule = true,
				     .schedule = &spell,
				     .schedule_count = 1 };

	assert_int_equal(peer_call(&admin, METHOD_limit_set, &set, NULL), 0);
}

static void set_queue(const char *queue, const char *limit)
{
	struct msg_queue_set set = {
		.has_queue = true, .queue = slice_str(queue), .has_limit = true, .limit = slice_str(limit)
	};

	assert_int_equal(peer_call(&admin, METHOD_queue_set, &set, NULL), 0);
}

static void pause_queue(const char *queue, bool paused)
{
	struct msg_queue_set set = {
		.has_queue = true, .queue = slice_str(queue), .has_paused = true, .paused = paused
	};

	assert_int_equal(peer_call(&admin, METHOD_queue_set, &set, NULL), 0);
}

/* A limit that the queue q uses, without anything to come. */
static void make_limit(const char *name, const char *queue)
{
	struct msg_limit_set set = {
		.has_limit = true, .limit = slice_str(name), .has_concurrency = true, .concurrency = 2
	};

	assert_int_equal(peer_call(&admin, METHOD_limit_set, &set, NULL), 0);
	set_queue(queue, name);
}

/* ---- workers ---- */

static struct msg_hello hello_of(const char *name, const char *queue, int64_t slots)
{
	static struct slice queues[2];

	queues[0] = slice_str("unused");
	queues[1] = slice_str(queue);
	return (struct msg_hello){
		.has_subscribe = true,
		.subscribe = true,
		.has_worker = true,
		.worker = { .has_name = true,
			    .name = slice_str(name),
			    .has_queues = true,
			    .queues = queues,
			    .queues_count = 2,
			    .has_slots = true,
			    .slots = slots },
	};
}

static void greet(struct peer *p, const struct msg_hello *hello)
{
	peer_connect(p, &rig);
	assert_int_equal(peer_call(p, METHOD_session_hello, hello, NULL), 0);
}

static void open_worker(struct peer *p, const char *name, const char *queue, int64_t slots)
{
	struct msg_hello hello = hello_of(name, queue, slots);

	greet(p, &hello);
}

/* Waits for what the worker is told next. */
static void expect_warm(struct peer *p, const char *limit, const char *queue, int64_t concurrency)
{
	struct msg_warm_notice warm;
	struct rpc_envelope e;

	peer_read(p, &e);
	assert_int_equal(e.type, RPC_NOTIFICATION);
	assert_true(slice_is(e.method, "worker.warm"));
	assert_int_equal(message_decode(&MSG_warm_notice, e.params, &p->zone, &warm, NULL), 0);
	assert_true(slice_is(warm.limit, limit));
	assert_int_equal(warm.queues_count, 1);
	assert_true(slice_is(warm.queues[0], queue));
	assert_int_equal(warm.concurrency, concurrency);
	assert_true(warm.at_ms > clock_wall_ms() - PATIENCE_SECONDS * 1000);
}

/* Nothing was told before the answer to this. */
static void expect_nothing(struct peer *p)
{
	assert_int_equal(peer_ping(p), 0);
}

/* What the broker has to do for the changes so far is done when a raise set after them is told: to this one. */
static void settle(struct peer *witness)
{
	static int count;
	char name[32];

	snprintf(name, sizeof(name), "witness-%d", count++);
	make_limit(name, "witnessed");
	set_limit(name, 1, SOON, 7);
	expect_warm(witness, name, "witnessed", 7);
}

/* ---- shares ---- */

static void shares_are_by_slots_and_rounded_up(void **state)
{
	(void)state;
	assert_int_equal(prescale_share(50, 30, 60), 25);
	assert_int_equal(prescale_share(50, 20, 70), 15);
	assert_int_equal(prescale_share(1, 10, 1000), 1);
	assert_int_equal(prescale_share(1000000, 10, 10), 10);
	assert_int_equal(prescale_share(50, 0, 0), 0);
	assert_int_equal(prescale_share(1000000, 1000000, 2000000), 500000);
}

static void a_raise_that_is_near_is_told_to_each_by_its_slots(void **state)
{
	struct peer one, two, other;

	(void)state;
	make_limit("api", "q");
	open_worker(&one, "one", "q", 30);
	open_worker(&two, "two", "q", 10);
	open_worker(&other, "other", "elsewhere", 100);
	set_limit("api", 2, SOON, 20);
	expect_warm(&one, "api", "q", 15);
	expect_warm(&two, "api", "q", 5);
	expect_nothing(&other);
	peer_close(&one);
	peer_close(&two);
	peer_close(&other);
}

static void more_than_there_are_slots_is_all_of_them(void **state)
{
	struct peer worker;

	(void)state;
	make_limit("api", "q");
	open_worker(&worker, "one", "q", 3);
	set_limit("api", 2, SOON, 500);
	expect_warm(&worker, "api", "q", 3);
	peer_close(&worker);
}

static void what_is_far_off_lowers_or_was_told_is_not_told(void **state)
{
	struct peer worker, witness;

	(void)state;
	make_limit("far", "q");
	make_limit("less", "r");
	open_worker(&witness, "witness", "witnessed", 100);
	open_worker(&worker, "one", "q", 100);
	set_limit("far", 2, 3600 * 1000, 50);
	set_limit("less", 9, SOON, 5);
	settle(&witness);
	expect_nothing(&worker);
	set_queue("q", "less");
	settle(&witness);
	expect_nothing(&worker);
	/* Told once, whatever else is set; but again when it is to be more. */
	set_limit("less", 9, SOON, 15);
	expect_warm(&worker, "less", "q", 15);
	pause_queue("r", true);
	settle(&witness);
	expect_nothing(&worker);
	peer_close(&worker);
	peer_close(&witness);
}

static void the_moment_comes_by_itself(void **state)
{
	struct peer worker;

	(void)state;
	make_limit("api", "q");
	open_worker(&worker, "one", "q", 4);
	set_limit("api", 2, PRESCALE_LEAD_MS + 50, 20);
	expect_warm(&worker, "api", "q", 4);
	peer_close(&worker);
}

/* Whoever comes later, or comes back, is told with its greeting, of its share by then. */
static void who_greets_is_told_too(void **state)
{
	struct peer one, two;

	(void)state;
	make_limit("api", "q");
	open_worker(&one, "one", "q", 10);
	set_limit("api", 2, SOON, 20);
	expect_warm(&one, "api", "q", 10);
	open_worker(&two, "two", "q", 30);
	expect_warm(&two, "api", "q", 15);
	expect_nothing(&one);
	peer_close(&two);
	open_worker(&two, "two", "q", 30);
	peer_close(&one);
	peer_close(&two);
}

static void a_restarted_broker_knows_it(void **state)
{
	struct peer worker;

	(void)state;
	make_limit("api", "q");
	set_limit("api", 2, SOON, 20);
	peer_close(&admin);
	rig_restart(&rig);
	rig_serve(&rig, NULL);
	peer_open(&admin, &rig);
	/* Before or after it has looked: it is told once. */
	open_worker(&worker, "one", "q", 10);
	expect_warm(&worker, "api", "q", 10);
	peer_close(&worker);
}

static void who_takes_no_jobs_or_does_not_listen_is_left_out(void **state)
{
	struct msg_hello deaf = hello_of("deaf", "q", 10), quiet = hello_of("quiet", "q", 10);
	struct msg_hello vague = hello_of("vague", "q", 0);
	struct peer one, two, three, four;

	(void)state;
	deaf.subscribe = false;
	make_limit("api", "q");
	greet(&one, &deaf);
	quiet.worker.has_quiet = quiet.worker.quiet = true;
	greet(&two, &quiet);
	vague.worker.has_slots = false;
	greet(&four, &vague);
	open_worker(&three, "three", "q", 10);
	set_limit("api", 2, SOON, 20);
	/* The deaf one takes its part all the same. */
	expect_warm(&three, "api", "q", 10);
	expect_nothing(&one);
	expect_nothing(&two);
	expect_nothing(&four);
	peer_close(&one);
	peer_close(&two);
	peer_close(&three);
	peer_close(&four);
}

static void a_paused_queue_wants_nothing(void **state)
{
	struct peer worker, witness;

	(void)state;
	make_limit("api", "q");
	open_worker(&witness, "witness", "witnessed", 100);
	open_worker(&worker, "one", "q", 10);
	pause_queue("q", true);
	set_limit("api", 2, SOON, 20);
	settle(&witness);
	expect_nothing(&worker);
	pause_queue("q", false);
	expect_warm(&worker, "api", "q", 10);
	peer_close(&worker);
	peer_close(&witness);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shares_are_by_slots_and_rounded_up),
		T(a_raise_that_is_near_is_told_to_each_by_its_slots),
		T(more_than_there_are_slots_is_all_of_them),
		T(what_is_far_off_lowers_or_was_told_is_not_told),
		T(the_moment_comes_by_itself),
		T(who_greets_is_told_too),
		T(a_restarted_broker_knows_it),
		T(who_takes_no_jobs_or_does_not_listen_is_left_out),
		T(a_paused_queue_wants_nothing),
	};

	return cmocka_run_group_tests_name("net prescale", tests, NULL, NULL);
}
