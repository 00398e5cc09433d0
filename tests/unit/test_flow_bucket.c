/* Never more than burst + rate × time, whatever the clock does; never less than that allows; nobody locked out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "server/flow/bucket.h"
#include "tests/unit/test_flow_draw.h"

#define T0    INT64_C(1700000000000)
#define STEPS 3000

static struct limit_caps caps_of(double rate, double burst)
{
	return (struct limit_caps){ .concurrency = -1, .rate = rate, .burst = burst };
}

static int64_t take_all(struct bucket_state *s, const struct limit_caps *caps, int64_t now_ms)
{
	int64_t again_ms, taken = 0;

	for (; bucket_room(s, caps, now_ms, &again_ms) > 0; taken++)
		bucket_take(s, caps, now_ms);
	return taken;
}

static void a_burst_and_then_the_rate(void **state)
{
	struct limit_caps caps = caps_of(10, 5);
	struct bucket_state s = { 0 };
	int64_t again_ms;

	(void)state;
	assert_int_equal(bucket_room(&s, &caps, T0, &again_ms), 5);
	assert_int_equal(again_ms, INT64_MAX);
	assert_int_equal(take_all(&s, &caps, T0), 5);
	assert_int_equal(bucket_room(&s, &caps, T0, &again_ms), 0);
	assert_int_equal(again_ms, T0 + 100);
	assert_int_equal(take_all(&s, &caps, T0 + 99), 0);
	assert_int_equal(take_all(&s, &caps, T0 + 100), 1);
	assert_int_equal(take_all(&s, &caps, T0 + 350), 2);
	/* However long nobody came, no more than the burst. */
	assert_int_equal(take_all(&s, &caps, T0 + 3600000), 5);
}

static void less_than_one_a_second(void **state)
{
	struct limit_caps caps = caps_of(0.25, 1);
	struct bucket_state s = { 0 };
	int64_t again_ms;

	(void)state;
	assert_int_equal(take_all(&s, &caps, T0), 1);
	assert_int_equal(bucket_room(&s, &caps, T0 + 1000, &again_ms), 0);
	assert_int_equal(again_ms, T0 + 4000);
	assert_int_equal(take_all(&s, &caps, T0 + 4000), 1);
}

static void other_caps_hold_from_their_moment(void **state)
{
	struct limit_caps slow = caps_of(1, 100), fast = caps_of(1000, 100), small = caps_of(1000, 3);
	struct bucket_state s = { 0 };

	(void)state;
	assert_int_equal(take_all(&s, &slow, T0), 100);
	bucket_refill(&s, &slow, T0 + 10000);
	assert_int_equal(take_all(&s, &fast, T0 + 10000), 10);
	/* A smaller burst: what is there already runs over. */
	bucket_refill(&s, &fast, T0 + 20000);
	assert_int_equal(take_all(&s, &small, T0 + 20000), 3);
	/* A time without a rate leaves it full. */
	bucket_refill(&s, &(struct limit_caps){ .rate = -1, .burst = -1 }, T0 + 20001);
	assert_int_equal(take_all(&s, &slow, T0 + 20001), 100);
}

static void a_clock_that_jumps_ahead_and_back_locks_nobody_out(void **state)
{
	struct limit_caps caps = caps_of(10, 5);
	struct bucket_state s = { 0 };
	int64_t again_ms;

	(void)state;
	assert_int_equal(take_all(&s, &caps, T0 + 86400000), 5);
	assert_true(bucket_clock(&s, T0));
	assert_false(bucket_clock(&s, T0));
	/* Going back gave nothing. */
	assert_int_equal(bucket_room(&s, &caps, T0, &again_ms), 0);
	assert_int_equal(again_ms, T0 + 100);
	assert_int_equal(take_all(&s, &caps, T0 + 100), 1);
}

/* Who looks or takes without having said that the clock went back loses nothing that was there. */
static void what_is_in_it_stays_when_the_clock_goes_back(void **state)
{
	struct limit_caps caps = caps_of(10, 5);
	struct bucket_state s = { 0 };
	int64_t again_ms;

	(void)state;
	bucket_take(&s, &caps, T0 + 86400000);
	bucket_take(&s, &caps, T0 + 86400000);
	assert_int_equal(bucket_room(&s, &caps, T0, &again_ms), 3);
	assert_int_equal(again_ms, T0 + 100);
	bucket_take(&s, &caps, T0);
	assert_int_equal(bucket_room(&s, &caps, T0 + 100, &again_ms), 3);
}

/* ---- drawn clocks beside the sums that the promise is made of ---- */

struct run {
	struct limit_caps caps;
	struct bucket_state s;
	int64_t now_ms;
	int64_t forward_ms; /* what the clock ran forward, steps back left out */
	/* The stretch that has seen most starts for its time ends now: its starts, less what the rate gave in it. With
	 * all that began before it left out, never below nothing. */
	double excess;
	int64_t starts;
	/* It is brought up to now at every step. Without that it cannot know of time that was taken back before anybody
	 * came: it holds back more than it need. */
	bool often;
};

static void tick(struct run *r)
{
	int64_t by_ms;

	if (draw_once_in(20)) {
		r->now_ms -= draw_size(100000000);
		bucket_clock(&r->s, r->now_ms);
		return;
	}
	by_ms = draw_once_in(30) ? draw_size(100000000) : draw_size((int64_t)(3000 / r->caps.rate) + 3);
	r->now_ms += by_ms;
	r->forward_ms += by_ms;
	r->excess -= (double)by_ms * r->caps.rate / 1000;
	if (r->excess < 0)
		r->excess = 0;
	if (r->often)
		bucket_refill(&r->s, &r->caps, r->now_ms);
}

/* None is let through that the promise forbids, and none held back that it allows. */
static void try_some(struct run *r)
{
	int64_t again_ms, room = bucket_room(&r->s, &r->caps, r->now_ms, &again_ms);

	assert_in_range(room, 0, (int64_t)r->caps.burst);
	assert_true(r->excess + (double)room <= r->caps.burst + 0.001);
	assert_true(!r->often || r->excess + (double)room + 1 > r->caps.burst - 0.001);
	for (int64_t n = draw(0, 3); n > 0 && room > 0; n--, room--) {
		bucket_take(&r->s, &r->caps, r->now_ms);
		r->excess++;
		r->starts++;
		assert_int_equal(bucket_room(&r->s, &r->caps, r->now_ms, &again_ms), room - 1);
	}
}

/* The moment told is the first with one more. */
static void expect_again(const struct run *r)
{
	int64_t again_ms, later_ms, room = bucket_room(&r->s, &r->caps, r->now_ms, &again_ms);

	if (again_ms == INT64_MAX) {
		assert_int_equal(bucket_room(&r->s, &r->caps, r->now_ms + 1000000000, &later_ms), room);
		return;
	}
	assert_true(again_ms > r->now_ms);
	assert_int_equal(bucket_room(&r->s, &r->caps, again_ms, &later_ms), room + 1);
	assert_int_equal(bucket_room(&r->s, &r->caps, again_ms - 1, &later_ms), room);
}

static void no_stretch_of_time_has_more_than_its_share(void **state)
{
	int64_t starts = 0;

	(void)state;
	draw_begin();
	for (int n = 0; n < 200; n++) {
		struct run r = { .now_ms = T0, .often = n % 2 == 0 };

		r.caps = caps_of((double)draw(1, 1000) / (double)draw(1, 200), (double)draw(10, 300) / 10);
		for (int i = 0; i < STEPS; i++) {
			tick(&r);
			try_some(&r);
			expect_again(&r);
		}
		assert_true((double)r.starts <= r.caps.burst + r.caps.rate * (double)r.forward_ms / 1000 + 0.001);
		starts += r.starts;
	}
	assert_true(starts > 100000);
}

/* Rounding must neither add up nor lead to a moment where there is nothing: the least and the most that may be set. */
static void the_extremes_hold_too(void **state)
{
	struct limit_caps most = caps_of(LIMIT_RATE_MAX, LIMIT_BURST_MAX), least = caps_of(LIMIT_RATE_MIN, 1);
	struct bucket_state s = { 0 };
	int64_t again_ms, next_ms;

	(void)state;
	bucket_take(&s, &least, T0);
	assert_int_equal(bucket_room(&s, &least, T0, &again_ms), 0);
	assert_true(again_ms - T0 <= 1000000000 && again_ms - T0 > 999000000);
	assert_int_equal(bucket_room(&s, &least, again_ms, &next_ms), 1);

	s = (struct bucket_state){ 0 };
	for (int i = 0; i < 1000000; i++)
		bucket_take(&s, &most, T0);
	assert_int_equal(bucket_room(&s, &most, T0, &again_ms), 0);
	assert_int_equal(again_ms, T0 + 1);
	assert_int_equal(bucket_room(&s, &most, T0 + 1, &again_ms), 1000);
	assert_int_equal(bucket_room(&s, &most, T0 + 1000000, &again_ms), 1000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_burst_and_then_the_rate),
		cmocka_unit_test(less_than_one_a_second),
		cmocka_unit_test(other_caps_hold_from_their_moment),
		cmocka_unit_test(a_clock_that_jumps_ahead_and_back_locks_nobody_out),
		cmocka_unit_test(what_is_in_it_stays_when_the_clock_goes_back),
		cmocka_unit_test(no_stretch_of_time_has_more_than_its_share),
		cmocka_unit_test(the_extremes_hold_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
