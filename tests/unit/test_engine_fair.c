/* Who is served next: groups in fair turns by their weights, priorities strictly but for the turn that goes by age,
 * queues of one lease by theirs. A group's name is its jobs' payload, so an answer tells whose turn it was.
 *
 * SEED=… plays the random runs again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/store/keys.h"
#include "tests/harness/engine_rig.h"
#include "tests/unit/test_flow_draw.h"

#define CAP(field_, value_) .has_##field_ = true, .field_ = (value_)
#define AGED_TURN	    16 /* of so many jobs one goes by age */

static struct rig rig;

static int setup(void **state)
{
	(void)state;
	rig_open(&rig);
	rig.unchecked = true;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rig_check(&rig);
	rig_close(&rig);
	return 0;
}

static void put_group(const char *group, size_t count)
{
	for (size_t n; count > 0; count -= n) {
		n = count < MAX_BATCH ? count : MAX_BATCH;
		rig_put_many(&rig, "q", group, n);
	}
}

/* One job; text: its payload. */
static struct uuid put_one(const char *group, int64_t priority, int64_t delay_ms, const char *text)
{
	struct msg_job_put put = { CAP(queue, slice_str("q")),
				   CAP(payload, slice_str(text)),
				   CAP(priority, priority),
				   .has_delay_ms = delay_ms > 0,
				   .delay_ms = delay_ms,
				   .has_group = group != NULL,
				   .group = slice_str(group ? group : "") };
	struct uuid id = rig_put_params(&rig, &put);

	assert_int_equal(rig.code, 0);
	return id;
}

/* The next job's payload, which is good until the next call; it is done at once. */
static const char *next_of(const char *const *queues, size_t count)
{
	static char text[64];
	struct msg_leased_job job;

	assert_int_equal(rig_lease_many(&rig, queues, count, 1), 1);
	job = rig.answer.lease.jobs[0];
	snprintf(text, sizeof(text), "%.*s", SLICE_FMT(job.payload));
	rig_complete(&rig, &job.id, &job.lease, NULL);
	return text;
}

static const char *next(void)
{
	static const char *const queue = "q";

	return next_of(&queue, 1);
}

static void expect_next(const char *text)
{
	assert_string_equal(next(), text);
}

/* Entries of TABLE_GROUPS. */
static int64_t count_groups(void)
{
	struct store_txn *t;
	int64_t count;

	assert_int_equal(store_begin_read(rig.store, &t), 0);
	assert_int_equal(store_count(t, TABLE_GROUPS, &count), 0);
	store_abort(t);
	return count;
}

/* ---- groups ---- */

static void a_crowd_delays_a_single_job_by_one_turn(void **state)
{
	char group[32];

	(void)state;
	put_group("crowd", 10000);
	for (int i = 0; i < 100; i++)
		expect_next("crowd");
	for (int i = 0; i < 20; i++) {
		snprintf(group, sizeof(group), "single %d", i);
		if (i % 5 == 4)
			rig_restart(&rig);
		put_group(group, 1);
		if (strcmp(next(), group) != 0)
			expect_next(group);
	}
	/* One that belongs to nobody is no worse off. */
	rig_put(&rig, "q", "nobody's");
	if (strcmp(next(), "nobody's") != 0)
		expect_next("nobody's");
}

static void a_crowd_within_one_answer_takes_its_turns_too(void **state)
{
	static const char *const queue = "q";
	int singles = 0;

	(void)state;
	put_group("crowd", 1000);
	put_group("a", 3);
	put_group("b", 3);
	assert_int_equal(rig_lease_many(&rig, &queue, 1, 9), 9);
	for (size_t i = 0; i < 9; i++)
		singles += rig.answer.lease.jobs[i].payload.size == 1;
	assert_int_equal(singles, 6);
}

static void weights_share_in_their_ratio(void **state)
{
	struct group_weight weights[] = { { .group = slice_str("three"), .weight = 3 } };
	int one = 0, three = 0;

	(void)state;
	rig_queue_set(&rig, "q", (struct msg_queue_set){ CAP(weights, weights), .weights_count = 1 });
	assert_int_equal(rig.code, 0);
	rig_restart(&rig);
	put_group("one", 200);
	put_group("three", 500);
	for (int i = 0; i < 400; i++) {
		*(strcmp(next(), "one") == 0 ? &one : &three) += 1;
		assert_in_range(3 * one - three + 3, 0, 6);
		if (i == 200)
			rig_restart(&rig);
	}
	assert_in_range(one, 99, 101);
}

#define GROUPS 9

static double jain(const int64_t *served)
{
	double sum = 0, squares = 0;

	for (int i = 0; i < GROUPS; i++) {
		sum += (double)served[i];
		squares += (double)served[i] * (double)served[i];
	}
	return squares > 0 ? sum * sum / (GROUPS * squares) : 1;
}

static void nine_groups_share_alike_at_every_point(void **state)
{
	int64_t served[GROUPS] = { 0 }, waiting[GROUPS] = { 0 };
	int64_t least, most, total = 0;

	(void)state;
	draw_begin();
	while (total < 3000) {
		const char *text;

		/* Everybody has somebody in line always, some of them crowds. */
		for (int i = 0; i < GROUPS; i++) {
			char group[2] = { (char)('0' + i), 0 };
			int64_t count = waiting[i] < 2 ? 2 + draw_size(40) : draw_once_in(10) ? draw_size(200) : 0;

			put_group(group, (size_t)count);
			waiting[i] += count;
		}
		text = next();
		served[text[0] - '0']++;
		waiting[text[0] - '0']--;
		total++;
		least = most = served[0];
		for (int i = 1; i < GROUPS; i++) {
			least = served[i] < least ? served[i] : least;
			most = served[i] > most ? served[i] : most;
		}
		assert_true(most - least <= 1);
		assert_true(total < 20 * GROUPS || jain(served) >= 0.999);
		if (draw_once_in(100))
			rig_restart(&rig);
	}
}

static void canceled_jobs_cost_their_group_nothing(void **state)
{
	struct command_change change = { .action = CHANGE_CANCEL, .filter = { CAP(group, slice_str("a")) } };

	(void)state;
	put_group("b", 50);
	put_group("a", 500);
	for (int i = 0; i < 10; i++)
		next();
	rig_change(&rig, &change);
	put_group("a", 1);
	/* b has a job in line for this turn already. */
	if (strcmp(next(), "a") != 0)
		expect_next("a");
}

static void within_a_group_the_first_comes_first(void **state)
{
	static const char *const groups[] = { "x", "y", NULL };
	int put[3] = { 0 }, served[3] = { 0 };
	struct group_weight weights[] = { { .group = slice_str("y"), .weight = 5 } };
	char text[32];

	(void)state;
	draw_begin();
	rig_queue_set(&rig, "q", (struct msg_queue_set){ CAP(weights, weights), .weights_count = 1 });
	for (int i = 0; i < 1000; i++) {
		int64_t g = draw(0, 2);
		int which, number;

		rig_pass(&rig, draw(0, 2));
		snprintf(text, sizeof(text), "%d %d", (int)g, put[g]++);
		put_one(groups[g], 5, 0, text);
		if (draw_once_in(50))
			rig_restart(&rig);
		if (draw_once_in(3))
			continue;
		assert_int_equal(sscanf(next(), "%d %d", &which, &number), 2);
		assert_int_equal(number, served[which]++);
	}
}

/* ---- no groups ---- */

static void without_groups_the_line_is_plain(void **state)
{
	struct uuid id[10];
	struct msg_leased_job job;
	char text[16];

	(void)state;
	for (int i = 0; i < 10; i++) {
		snprintf(text, sizeof(text), "%d", i);
		id[i] = put_one(NULL, 5, 0, text);
	}
	rig_cancel(&rig, &id[0]);
	rig_cancel(&rig, &id[1]);
	rig_cancel(&rig, &id[4]);
	rig_restart(&rig);
	put_one(NULL, 5, 0, "10");
	/* Whoever comes back has kept its place. */
	assert_true(rig_lease(&rig, "q", &job));
	rig_fail(&rig, &job.id, &job.lease, FAIL_UNAVAILABLE, 0);
	rig_pass(&rig, 3600000);
	for (int i = 2; i < 11; i++) {
		snprintf(text, sizeof(text), "%d", i);
		if (i != 4)
			expect_next(text);
	}
	assert_int_equal(count_groups(), 0);
}

/* ---- the table ---- */

static void groups_that_are_gone_are_forgotten(void **state)
{
	char group[32];
	int64_t most = 0;

	(void)state;
	put_group("crowd", 3000);
	for (int i = 0; i < 2500; i++) {
		snprintf(group, sizeof(group), "visitor %d", i);
		put_group(group, 1);
		next();
		next();
		if (count_groups() > most)
			most = count_groups();
	}
	/* The crowd, who is in line, and a few on their way out. */
	assert_in_range(most, 1, 10);
}

/* Also where whoever comes after has no group: a name is not kept for want of others. */
static void the_last_groups_are_forgotten_too(void **state)
{
	static const char *const groups[] = { "a", "b", "c", "d" };
	struct msg_leased_job job;

	(void)state;
	for (size_t i = 0; i < 4; i++)
		put_one(groups[i], 5, 0, groups[i]);
	assert_int_equal(count_groups(), 4);
	while (rig_lease(&rig, "q", &job))
		rig_complete(&rig, &job.id, &job.lease, "done");
	for (int i = 0; i < 8; i++) {
		rig_put(&rig, "q", "of nobody");
		assert_true(rig_lease(&rig, "q", &job));
	}
	assert_int_equal(count_groups(), 0);
}

/* One job for each of so many groups, a thousand in a batch. */
static void put_groups(int count)
{
	static struct put_item items[MAX_BATCH];
	static char names[MAX_BATCH][16];
	struct command_put params = { .items = items, .many = true };

	for (int n = 0; n < count; params.count = 0) {
		for (; n < count && params.count < MAX_BATCH; n++, params.count++) {
			snprintf(names[params.count], sizeof(names[0]), "%d", n);
			items[params.count].put = (struct msg_job_put){ CAP(queue, slice_str("q")),
									CAP(group, slice_str(names[params.count])),
									CAP(payload, slice_str(names[params.count])) };
		}
		rig_run(&rig, COMMAND_PUT, &params);
		assert_int_equal(rig.code, 0);
	}
}

#define MANY_GROUPS 2000 /* far more than are kept in mind */

static void a_crowd_of_groups_takes_turns_and_is_forgotten(void **state)
{
	static const char *const queue = "q";
	static int served[MANY_GROUPS];
	char group[32];

	(void)state;
	memset(served, 0, sizeof(served));
	for (int round = 0; round < 3; round++)
		put_groups(MANY_GROUPS);
	assert_int_equal(count_groups(), MANY_GROUPS);
	for (int i = 0; i < 3 * MANY_GROUPS;) {
		assert_true(rig_lease_many(&rig, &queue, 1, 1000) > 0);
		for (size_t n = 0; n < rig.answer.lease.jobs_count; n++, i++) {
			snprintf(group, sizeof(group), "%.*s", SLICE_FMT(rig.answer.lease.jobs[n].payload));
			/* Nobody a second time before everybody the first. */
			assert_int_equal(served[strtol(group, NULL, 10)]++, i / MANY_GROUPS);
		}
	}
	/* Each newcomer looks at two, and is one more. */
	for (int i = 0; i < MANY_GROUPS + 10; i++) {
		snprintf(group, sizeof(group), "late %d", i);
		put_group(group, 1);
		next();
	}
	assert_in_range(count_groups(), 0, 10);
}

/* ---- time ---- */

static void a_delayed_job_enters_the_line_when_it_is_due(void **state)
{
	struct store_txn *t;
	struct slice value;
	struct key key;
	struct job job;
	struct uuid id;

	(void)state;
	put_one("a", 5, 1000, "a late");
	id = put_one("b", 5, 1000, "b late");
	key = key_job(&id);
	assert_int_equal(store_begin_read(rig.store, &t), 0);
	assert_int_equal(store_get(t, TABLE_JOBS, key_slice(&key), &value), 0);
	assert_int_equal(record_read_job(value, &job), 0);
	assert_int_equal(job.tag, 0);
	store_abort(t);
	put_group("a", 20);
	for (int i = 0; i < 10; i++)
		expect_next("a");
	rig_pass(&rig, 1000);
	/* b has had nothing so far, but no turn was kept for it either; a's stands behind those of a. */
	if (strcmp(next(), "b late") != 0)
		expect_next("b late");
	for (int i = 0; rig_queue(&rig, "q").counts.ready > 1; i++)
		expect_next("a");
	expect_next("a late");
}

/* ---- crashes ---- */

/* The texts in the order of their serving. shaken: with restarts and commits that fail in between. */
static void play(uint64_t seed, bool shaken, char (*ret)[16], size_t count)
{
	uint64_t shake = seed;
	size_t served = 0;
	int put = 0;

	draw_state = seed;
	while (served < count) {
		int64_t group = draw(0, 3), leases = draw(0, 2);
		char name[2] = { (char)('a' + group), 0 };
		char text[16];

		snprintf(text, sizeof(text), "%s %d", name, put);
		shake = shake * 6364136223846793005u + 1442695040888963407u;
		if (shaken && shake >> 62 == 0)
			rig_restart(&rig);
		for (int fails = shaken && shake >> 60 == 5; fails >= 0; fails--) {
			struct msg_job_put one = { CAP(queue, slice_str("q")), CAP(payload, slice_str(text)),
						   CAP(priority, put % 7 == 0 ? 4 : 5), .has_group = group > 0,
						   .group = slice_str(name) };

			rig.take_back = fails > 0;
			rig_put_params(&rig, &one);
			assert_true(rig.code == 0 || fails > 0);
		}
		put++;
		while (leases-- > 0 && served < count && (int)served < put) {
			rig.take_back = shaken && shake >> 61 == 7;
			if (rig.take_back)
				assert_int_equal(rig_lease_many(&rig, (const char *const[]){ "q" }, 1, 3), 0);
			snprintf(ret[served++], sizeof(*ret), "%s", next());
		}
	}
}

static void neither_restart_nor_failed_commit_changes_the_order(void **state)
{
	static char calm[400][16], shaken[400][16];
	uint64_t seed;

	draw_begin();
	seed = draw_state;
	play(seed, false, calm, 400);
	teardown(state);
	setup(state);
	play(seed, true, shaken, 400);
	for (int i = 0; i < 400; i++)
		assert_string_equal(shaken[i], calm[i]);
}

/* ---- priorities ---- */

static void priorities_are_strict_but_for_the_turn_by_age(void **state)
{
	int aged = 0;

	(void)state;
	for (int i = 0; i < 30; i++)
		put_one(NULL, 9, 0, "old and last");
	for (int i = 0; i < 150; i++)
		put_one(NULL, 0, 0, "first");
	for (int i = 0; i < 150; i++) {
		bool last = strcmp(next(), "old and last") == 0;

		aged += last;
		assert_int_equal(last, i % AGED_TURN == AGED_TURN - 1);
		if (i == 70)
			rig_restart(&rig);
	}
	assert_int_equal(aged, 9);
}

/* Age is no way round the priorities where the oldest is the first anyway. */
static void the_turn_by_age_is_the_oldest_s(void **state)
{
	(void)state;
	for (int i = 0; i < 40; i++)
		put_one(NULL, 0, 0, "old and first");
	put_one(NULL, 9, 0, "young and last");
	for (int i = 0; i < 40; i++)
		expect_next("old and first");
	expect_next("young and last");
}

static void the_last_priority_is_served_beside_a_first_that_never_ends(void **state)
{
	char text[2] = { 0 };
	int left = 10, turns = 0;

	(void)state;
	for (char p = '9'; p >= '0'; p--) {
		text[0] = p;
		put_one("slow", p - '0', 0, text);
	}
	for (; left > 0; turns++) {
		put_one("crowd", 0, 0, "crowd");
		put_one("crowd", 0, 0, "crowd");
		left -= strcmp(next(), "crowd") != 0;
		assert_true(turns < 10 * AGED_TURN);
	}
}

/* ---- queues in turns ---- */

static void fill(const char *queue, int64_t weight, size_t count)
{
	rig_queue_set(&rig, queue, (struct msg_queue_set){ CAP(weight, weight) });
	assert_int_equal(rig.code, 0);
	rig_put_many(&rig, queue, NULL, count);
}

static const char *const both[] = { "one", "three" };

/* Serves so many of both in turns; three's share must never be far from three of four. between: what happens before
 * each. */
static void expect_turns(int count, void (*between)(void))
{
	int one = 0, three = 0;

	for (int i = 0; i < count; i++) {
		if (between)
			between();
		*(strcmp(next_of(both, 2), "one") == 0 ? &one : &three) += 1;
		assert_in_range(3 * one - three + 4, 0, 8);
	}
}

static void queues_of_one_lease_share_by_weight(void **state)
{
	int one = 0;

	(void)state;
	fill("one", 1, 200);
	fill("three", 3, 200);
	expect_turns(100, NULL);
	assert_int_equal(rig_lease_many(&rig, both, 2, 40), 40);
	for (size_t i = 0; i < 40; i++)
		one += slice_is(rig.answer.lease.jobs[i].payload, "one");
	assert_in_range(one, 9, 11);
}

static void an_idle_queue_gains_no_credit(void **state)
{
	(void)state;
	fill("one", 1, 300);
	fill("three", 3, 0 + 1);
	assert_string_equal(next_of(both + 1, 1), "three");
	for (int i = 0; i < 150; i++)
		assert_string_equal(next_of(both, 2), "one");
	rig_put_many(&rig, "three", NULL, 200);
	expect_turns(100, NULL);
}

static void serve_another(void)
{
	for (int i = 0; i < 7; i++)
		assert_string_equal(next_of((const char *const[]){ "alone" }, 1), "alone");
}

/* Another worker, which names a queue of its own, changes nothing between these two. */
static void turns_hold_beside_a_queue_that_others_serve(void **state)
{
	(void)state;
	fill("alone", 1, 1000);
	fill("one", 1, 200);
	fill("three", 3, 200);
	expect_turns(100, serve_another);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_crowd_delays_a_single_job_by_one_turn),
		T(a_crowd_within_one_answer_takes_its_turns_too),
		T(weights_share_in_their_ratio),
		T(nine_groups_share_alike_at_every_point),
		T(canceled_jobs_cost_their_group_nothing),
		T(within_a_group_the_first_comes_first),
		T(without_groups_the_line_is_plain),
		T(groups_that_are_gone_are_forgotten),
		T(the_last_groups_are_forgotten_too),
		T(a_crowd_of_groups_takes_turns_and_is_forgotten),
		T(a_delayed_job_enters_the_line_when_it_is_due),
		T(neither_restart_nor_failed_commit_changes_the_order),
		T(priorities_are_strict_but_for_the_turn_by_age),
		T(the_turn_by_age_is_the_oldest_s),
		T(the_last_priority_is_served_beside_a_first_that_never_ends),
		T(queues_of_one_lease_share_by_weight),
		T(an_idle_queue_gains_no_credit),
		T(turns_hold_beside_a_queue_that_others_serve),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
