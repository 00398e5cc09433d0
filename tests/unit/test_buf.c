/* The buffer: it holds what was put in, never more than its cap, says so once it refused, and survives every failing
 * allocation with what it held.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proto/base/buf.h"
#include "proto/base/clean.h"
#include "proto/error.h"
#include "alloc_count.h"

static void assert_holds(const struct buf *b, const char *text)
{
	assert_int_equal(b->size, strlen(text));
	assert_memory_equal(b->data, text, strlen(text));
}

static void test_init_allocates_nothing(void **state)
{
	_cleanup_(buf_done) struct buf b;

	(void)state;
	alloc_count_start(0);
	buf_init(&b, 1000);
	assert_int_equal(alloc_count.calls, 0);
	assert_int_equal(b.size, 0);
	assert_int_equal(buf_error(&b), 0);
	assert_int_equal(buf_slice(&b).size, 0);
}

static void test_appends_in_order(void **state)
{
	_cleanup_(buf_done) struct buf b;

	(void)state;
	buf_init(&b, 1000);
	assert_int_equal(buf_append(&b, "one", 3), 0);
	assert_int_equal(buf_append(&b, NULL, 0), 0);
	assert_int_equal(buf_append_str(&b, ", two"), 0);
	assert_int_equal(buf_printf(&b, ", %d and %s", 3, "four"), 0);
	assert_holds(&b, "one, two, 3 and four");
	assert_true(slice_is(buf_slice(&b), "one, two, 3 and four"));
}

static void test_grows_to_the_cap_and_not_beyond(void **state)
{
	_cleanup_(buf_done) struct buf b;

	(void)state;
	buf_init(&b, 1000);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(buf_append(&b, &(char){ (char)i }, 1), 0);
	assert_int_equal(b.size, 1000);
	assert_true(b.capacity <= 1000);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(b.data[i], (uint8_t)i);
	assert_int_equal(buf_append(&b, "x", 1), ERR_TOO_LARGE);
	assert_int_equal(b.size, 1000);
}

static void test_exactly_the_cap_fits_in_one_piece(void **state)
{
	char text[300];

	(void)state;
	memset(text, 'a', sizeof(text));
	for (size_t cap = 0; cap < sizeof(text); cap++) {
		_cleanup_(buf_done) struct buf b;

		buf_init(&b, cap);
		assert_int_equal(buf_append(&b, text, cap), 0);
		assert_true(b.capacity <= cap);
		buf_reset(&b);
		assert_int_equal(buf_append(&b, text, cap + 1), ERR_TOO_LARGE);
		assert_int_equal(b.size, 0);
	}
}

static void test_formatted_text_fits_whole_or_not_at_all(void **state)
{
	_cleanup_(buf_done) struct buf b;

	(void)state;
	buf_init(&b, 9);
	assert_int_equal(buf_printf(&b, "%s", "12345678"), 0);
	assert_holds(&b, "12345678");
	assert_int_equal(buf_printf(&b, "%s", "9a"), ERR_TOO_LARGE);
	assert_holds(&b, "12345678");
	/* the NUL that is not held has to have its place all the same */
	buf_reset(&b);
	assert_int_equal(buf_printf(&b, "%s", "123456789"), ERR_TOO_LARGE);
	assert_int_equal(b.size, 0);
}

static void test_once_failed_it_refuses_all_and_keeps_what_it_held(void **state)
{
	_cleanup_(buf_done) struct buf b;
	uint8_t *room;

	(void)state;
	buf_init(&b, 10);
	assert_int_equal(buf_append_str(&b, "12345678"), 0);
	assert_int_equal(buf_append_str(&b, "9ab"), ERR_TOO_LARGE);
	assert_int_equal(buf_error(&b), ERR_TOO_LARGE);
	/* this one would fit, but the writer already lost a piece */
	assert_int_equal(buf_append_str(&b, "9"), ERR_TOO_LARGE);
	assert_int_equal(buf_append(&b, NULL, 0), ERR_TOO_LARGE);
	assert_int_equal(buf_printf(&b, "9"), ERR_TOO_LARGE);
	assert_int_equal(buf_reserve(&b, 1, &room), ERR_TOO_LARGE);
	assert_holds(&b, "12345678");
}

static void test_reset_truncate_and_done_forget_the_error(void **state)
{
	_cleanup_(buf_done) struct buf b;

	(void)state;
	buf_init(&b, 4);
	assert_int_equal(buf_append_str(&b, "12345"), ERR_TOO_LARGE);
	buf_reset(&b);
	assert_int_equal(buf_append_str(&b, "1234"), 0);
	assert_int_equal(buf_append_str(&b, "5"), ERR_TOO_LARGE);
	buf_truncate(&b, 2);
	assert_int_equal(buf_error(&b), 0);
	assert_int_equal(buf_append_str(&b, "ab"), 0);
	assert_holds(&b, "12ab");
	assert_int_equal(buf_append_str(&b, "5"), ERR_TOO_LARGE);
	buf_done(&b);
	assert_int_equal(buf_error(&b), 0);
	assert_int_equal(buf_append_str(&b, "again"), ERR_TOO_LARGE);
	buf_reset(&b);
	assert_int_equal(buf_append_str(&b, "once"), 0);
	buf_done(NULL);
}

static void test_reserved_room_is_held_once_committed(void **state)
{
	_cleanup_(buf_done) struct buf b;
	uint8_t *room = NULL;

	(void)state;
	buf_init(&b, 100);
	assert_int_equal(buf_append_str(&b, "head "), 0);
	assert_int_equal(buf_reserve(&b, 50, &room), 0);
	assert_int_equal(b.size, 5);
	memcpy(room, "tail", 4);
	buf_commit(&b, 4);
	assert_holds(&b, "head tail");
	assert_int_equal(buf_reserve(&b, 0, &room), 0);
	buf_commit(&b, 0);
	assert_holds(&b, "head tail");
	assert_int_equal(buf_reserve(&b, 92, &room), ERR_TOO_LARGE);
}

static void test_consuming_moves_the_rest_to_the_front(void **state)
{
	_cleanup_(buf_done) struct buf b;

	(void)state;
	buf_init(&b, 100);
	buf_consume(&b, 0);
	assert_int_equal(buf_append_str(&b, "abcdef"), 0);
	buf_consume(&b, 0);
	assert_holds(&b, "abcdef");
	buf_consume(&b, 2);
	assert_holds(&b, "cdef");
	assert_int_equal(buf_append_str(&b, "g"), 0);
	assert_holds(&b, "cdefg");
	buf_consume(&b, 5);
	assert_int_equal(b.size, 0);
}

/* Whoever knows no bound may say so; a size that cannot be is refused and not sought for ever. */
static void test_sizes_near_the_end_of_the_address_space(void **state)
{
	_cleanup_(buf_done) struct buf b;
	uint8_t *room;

	(void)state;
	buf_init(&b, SIZE_MAX);
	if (!alloc_can_fail())
		return; /* a checker of memory complains of such a size */
	assert_int_equal(buf_append_str(&b, "x"), 0);
	assert_int_equal(buf_reserve(&b, SIZE_MAX, &room), ERR_TOO_LARGE);
	buf_truncate(&b, 1);
	alloc_count_start(1);
	assert_int_equal(buf_reserve(&b, SIZE_MAX - 1, &room), ERR_NO_MEMORY);
	buf_truncate(&b, 1);
	assert_int_equal(buf_reserve(&b, SIZE_MAX / 2 + 2, &room), ERR_NO_MEMORY);
	alloc_count_stop();
	assert_holds(&b, "x");
}

static void test_out_of_memory_keeps_what_was_held(void **state)
{
	_cleanup_(buf_done) struct buf b;
	char big[5000] = { 0 };

	(void)state;
	buf_init(&b, 100000);
	if (!alloc_can_fail())
		return;
	assert_int_equal(buf_append_str(&b, "held"), 0);
	alloc_count_start(1);
	assert_int_equal(buf_append(&b, big, sizeof(big)), ERR_NO_MEMORY);
	alloc_count_stop();
	assert_int_equal(buf_error(&b), ERR_NO_MEMORY);
	assert_holds(&b, "held");
	assert_int_equal(buf_append_str(&b, "!"), ERR_NO_MEMORY);
	buf_truncate(&b, 4);
	assert_int_equal(buf_append(&b, big, sizeof(big)), 0);
	assert_int_equal(b.size, 4 + sizeof(big));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_init_allocates_nothing),
		cmocka_unit_test(test_appends_in_order),
		cmocka_unit_test(test_grows_to_the_cap_and_not_beyond),
		cmocka_unit_test(test_exactly_the_cap_fits_in_one_piece),
		cmocka_unit_test(test_formatted_text_fits_whole_or_not_at_all),
		cmocka_unit_test(test_once_failed_it_refuses_all_and_keeps_what_it_held),
		cmocka_unit_test(test_reset_truncate_and_done_forget_the_error),
		cmocka_unit_test(test_reserved_room_is_held_once_committed),
		cmocka_unit_test(test_consuming_moves_the_rest_to_the_front),
		cmocka_unit_test(test_sizes_near_the_end_of_the_address_space),
		cmocka_unit_test(test_out_of_memory_keeps_what_was_held),
	};

	return cmocka_run_group_tests_name("buf", tests, alloc_count_init, NULL);
}
