/* The limits as they are kept in memory: found by name however they came and went, and how full one was when the batch
 * began.
 *
 * SEED=… plays the random run again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/engine/limits.h"
#include "tests/harness/engine_rig.h"
#include "tests/unit/test_flow_draw.h"

static struct rig rig; /* for its store */
static struct store_txn *txn;
static struct limits *limits;

static int setup(void **state)
{
	(void)state;
	rig_open(&rig);
	assert_int_equal(store_begin_write(rig.store, &txn), 0);
	assert_int_equal(limits_new(&limits), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	limits_free(limits);
	store_abort(txn);
	rig_close(&rig);
	return 0;
}

#define NAMES 300

static void each_is_found_however_they_came_and_went(void **state)
{
	static struct limit *known[NAMES];
	char names[NAMES][12];
	size_t count = 0;
	struct buf scratch;

	(void)state;
	draw_begin();
	buf_init(&scratch, 1 << 16);
	memset(known, 0, sizeof(known));
	for (int i = 0; i < NAMES; i++)
		/* Some begin with all of another. */
		snprintf(names[i], sizeof(names[i]), "%d", i);
	for (int i = 0; i < 3000; i++) {
		int64_t n = draw(0, NAMES - 1);
		struct slice name = slice_str(names[n]);

		assert_ptr_equal(limits_find(limits, name), known[n]);
		if (!known[n]) {
			assert_int_equal(limits_add(limits, name, &known[n]), 0);
			count++;
		} else if (draw_once_in(2)) {
			assert_int_equal(limits_remove(limits, txn, known[n]), 0);
			known[n] = NULL;
			count--;
		}
		/* One that was removed is not written any more. */
		if (draw_once_in(20))
			assert_int_equal(limits_save(limits, txn, &scratch), 0);
	}
	for (int i = 0; i < NAMES; i++)
		assert_ptr_equal(limits_find(limits, slice_str(names[i])), known[i]);
	assert_null(limits_get(limits, count));
	for (size_t i = 1; i < count; i++)
		assert_true(slice_compare(limits_get(limits, i - 1)->record.name, limits_get(limits, i)->record.name) <
			    0);
	buf_done(&scratch);
}

/* A call ends; whether the limit had kept others waiting since the batch began. */
static bool end_one(struct queue *q)
{
	struct call_report r = { .succeeded = true, .now_ms = 1000 };

	limits_ended(q, &(struct uuid){ 0 }, &r, 1000);
	return r.held_back;
}

static void it_is_as_full_as_when_the_batch_began(void **state)
{
	struct queue q = { 0 };
	struct limit *l;

	(void)state;
	limits_begin(limits);
	assert_int_equal(limits_add(limits, slice_str("api"), &l), 0);
	l->record.settings.caps.concurrency = 2;
	assert_int_equal(limits_assign(&q, l), 0);
	limits_started(&q, &(struct uuid){ 0 }, 1000);
	limits_started(&q, &(struct uuid){ 0 }, 1000);
	/* It was empty. */
	assert_false(end_one(&q));
	limits_started(&q, &(struct uuid){ 0 }, 1000);
	limits_begin(limits);
	/* Both end in one batch: it was full. */
	assert_true(end_one(&q));
	assert_true(end_one(&q));
	limits_started(&q, &(struct uuid){ 0 }, 1000);
	limits_begin(limits);
	limits_begin(limits);
	assert_false(end_one(&q));
	free(q.limit_name);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(each_is_found_however_they_came_and_went),
		T(it_is_as_full_as_when_the_batch_began),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
