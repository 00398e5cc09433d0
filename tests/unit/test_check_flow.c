/* The checker names what is wrong in what flow control keeps: limits, the groups' places in line, their weights, the
 * lines of a queue. What the broker makes anew by itself is told, and is no breach.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/clean.h"
#include "server/flow/fair.h"
#include "server/store/limit_record.h"
#include "tests/harness/check_rig.h"

#define GROUP slice_str("eve")

static void write_place(uint32_t queue, uint8_t priority, uint64_t finish)
{
	struct key key = key_group(queue, priority, GROUP);
	struct buf record;

	buf_init(&record, 256);
	assert_int_equal(record_write_finish(&record, key_slice(&key), finish), 0);
	checked_set(TABLE_GROUPS, key, buf_slice(&record));
	buf_done(&record);
}

static void write_weight(uint32_t queue, uint8_t zero, uint32_t weight)
{
	struct key key = key_group(queue, zero, GROUP);
	struct buf record;

	buf_init(&record, 256);
	assert_int_equal(record_write_weight(&record, key_slice(&key), weight), 0);
	checked_set(TABLE_WEIGHTS, key, buf_slice(&record));
	buf_done(&record);
}

static void group_of_no_queue(void)
{
	write_place(7, 0, 1);
}

static void group_of_no_priority(void)
{
	write_place(0, PRIORITIES, 1);
}

/* Whoever is served by it would wait behind jobs that are not there. */
static void group_behind_the_line(void)
{
	write_place(0, 5, UINT64_MAX);
}

static void weight_of_no_queue(void)
{
	write_weight(7, 0, 1);
}

static void weight_under_a_priority(void)
{
	write_weight(0, 1, 1);
}

static void weight_flipped(void)
{
	write_weight(0, 0, 3);
	checked_flip(TABLE_WEIGHTS, key_group(0, 0, GROUP));
}

static void weight_beyond_all(void)
{
	write_weight(0, 0, FAIR_WEIGHT_MAX + 1);
}

static void begin_behind_end(struct queue_record *q)
{
	q->lines[5].now = q->lines[5].last + 1;
}

static void line_that_ends_before_it_begins(void)
{
	checked_change_queue(begin_behind_end);
}

static void cut_line(struct queue_record *q)
{
	q->lines[5] = (struct fair_line){ .last = 0 };
}

static void job_behind_the_line(void)
{
	checked_change_queue(cut_line);
}

static void name_limit(struct queue_record *q)
{
	q->limit = slice_str("api");
}

static void limit_missing(void)
{
	checked_change_queue(name_limit);
}

static void limit_flipped(void)
{
	checked_set(TABLE_LIMITS, key_name(slice_str("api")), slice_str("nonsense"));
}

static const struct breach_row rows[] = {
	{ "group_of_no_queue", group_of_no_queue, NULL, "groups: an entry leads to no line", "" },
	{ "group_of_no_priority", group_of_no_priority, NULL, "groups: an entry leads to no line", "" },
	{ "group_behind_the_line", group_behind_the_line, NULL,
	  "group eve of queue 0: its next place is behind the end of the line", "" },
	{ "weight_of_no_queue", weight_of_no_queue, NULL, "weights: an entry leads to no queue", "" },
	{ "weight_under_a_priority", weight_under_a_priority, NULL, "weights: an entry leads to no queue", "" },
	{ "weight_flipped", weight_flipped, NULL, "the weight of group eve in queue 0 is damaged", "" },
	{ "weight_beyond_all", weight_beyond_all, NULL, "the weight of group eve in queue 0 is damaged", "" },
	{ "line_that_ends_before_it_begins", line_that_ends_before_it_begins, NULL,
	  "queue q, priority 5: its line ends before it begins", "" },
	{ "job_behind_the_line", job_behind_the_line, NULL,
	  "queue q, priority 5: a job stands behind the end of its line", "" },
	{ "limit_missing", limit_missing, NULL, "queue q: its limit api is missing", "" },
	{ "limit_flipped", limit_flipped, NULL, "limit api: its record is damaged", "" },
};

/* It begins anew, as one that has not been there: which costs it a turn at most. */
static void a_damaged_place_in_line_is_no_breach(void **state)
{
	(void)state;
	write_place(0, 5, 1);
	checked_flip(TABLE_GROUPS, key_group(0, 5, GROUP));
	assert_int_equal(checked_run(), 0);
	assert_int_equal(checked_found.notices, 1);
	assert_non_null(strstr(checked_said, "group eve of queue 0: its place in line is damaged; it begins anew"));
}

int main(void)
{
	struct CMUnitTest tests[ARRAY_SIZE(rows) + 1];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		tests[i] = (struct CMUnitTest){ rows[i].name, checked_breach_is_named, checked_setup_row,
						checked_teardown, (void *)(uintptr_t)&rows[i] };
	tests[ARRAY_SIZE(rows)] = (struct CMUnitTest)cmocka_unit_test_setup_teardown(
		a_damaged_place_in_line_is_no_breach, checked_setup, checked_teardown);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
