/* A copied message stands by itself: whatever it was copied from may go. For every message of the table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "message_rows.h"
#include "tests/unit/alloc_count.h"

/* A decoded message, which points into bytes and zone. */
struct original {
	msgpack_sbuffer bytes;
	msgpack_zone zone;
	void *message;
	struct buf encoded; /* as it goes out */
};

static void original_make(struct original *o, const struct rows *rows, enum fill fill)
{
	msgpack_object object;
	msgpack_packer pk;
	size_t used = 0;

	msgpack_sbuffer_init(&o->bytes);
	assert_true(msgpack_zone_init(&o->zone, 1024));
	buf_init(&o->encoded, 1 << 24);
	msgpack_packer_init(&pk, &o->bytes, msgpack_sbuffer_write);
	write_map(&pk, rows, fill, NULL);
	o->message = malloc(rows->size);
	assert_non_null(o->message);
	assert_int_equal(msgpack_unpack(o->bytes.data, o->bytes.size, &used, &o->zone, &object),
			 MSGPACK_UNPACK_SUCCESS);
	assert_int_equal(message_decode(rows->message, &object, &o->zone, o->message, NULL), 0);
	assert_int_equal(message_encode(rows->message, o->message, &o->encoded), 0);
}

/* Nothing is left of it but what it was encoded as. */
static void original_spoil(struct original *o, const struct rows *rows)
{
	memset(o->bytes.data, 0xc1, o->bytes.size);
	msgpack_sbuffer_destroy(&o->bytes);
	msgpack_zone_destroy(&o->zone);
	memset(o->message, 0x5a, rows->size);
	free(o->message);
}

static bool has_raw(const struct rows *rows)
{
	for (size_t i = 0; i < rows->count; i++)
		if (rows->row[i].kind == KIND_RAW || (rows->row[i].sub && has_raw(rows->row[i].sub)))
			return true;
	return false;
}

static void expect_same(const struct rows *rows, enum fill fill)
{
	struct original o;
	struct buf out;
	msgpack_zone zone;
	void *copy;

	original_make(&o, rows, fill);
	assert_true(msgpack_zone_init(&zone, 64));
	buf_init(&out, 1 << 24);
	assert_int_equal(message_copy(rows->message, o.message, &zone, &copy), 0);
	original_spoil(&o, rows);
	assert_int_equal(message_encode(rows->message, copy, &out), 0);
	if (out.size != o.encoded.size || memcmp(out.data, o.encoded.data, out.size) != 0)
		fail_msg("the copy of %s is another", rows->name);
	buf_done(&out);
	buf_done(&o.encoded);
	msgpack_zone_destroy(&zone);
}

static void every_copy_outlives_its_original(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(all_rows); i++)
		for (int fill = FILL_LEAST; !has_raw(all_rows[i]) && fill <= FILL_HIGH; fill++)
			expect_same(all_rows[i], (enum fill)fill);
}

/* A text of no bytes may point nowhere; so may a list without entries. */
static void what_is_empty_is_not_looked_at(void **state)
{
	struct msg_leased_job job = { .has_payload = true, .payload = slice_of(NULL, 0), .has_metadata = true };
	struct msg_leased_job *copy;
	msgpack_zone zone;
	void *ret;

	(void)state;
	assert_true(msgpack_zone_init(&zone, 64));
	assert_int_equal(message_copy(&MSG_leased_job, &job, &zone, &ret), 0);
	copy = ret;
	assert_true(copy->has_payload && copy->has_metadata);
	assert_int_equal(copy->payload.size, 0);
	assert_int_equal(copy->metadata_count, 0);
	msgpack_zone_destroy(&zone);
}

/* Whichever allocation fails, it says so and leaves *ret alone. */
static void no_memory_is_told(void **state)
{
	struct original o;
	int rc = ERR_NO_MEMORY;
	size_t n = 0;

	(void)state;
	if (!alloc_can_fail())
		skip();
	original_make(&o, &rows_job_lease_result, FILL_HIGH);
	while (rc == ERR_NO_MEMORY) {
		msgpack_zone zone;
		void *copy = NULL;

		/* Chunks so small that nearly each text takes another. */
		assert_true(msgpack_zone_init(&zone, 16));
		alloc_count_start(++n);
		rc = message_copy(&MSG_job_lease_result, o.message, &zone, &copy);
		alloc_count_stop();
		assert_int_equal(rc < 0, copy == NULL);
		msgpack_zone_destroy(&zone);
	}
	assert_int_equal(rc, 0);
	assert_true(n > 10);
	original_spoil(&o, &rows_job_lease_result);
	buf_done(&o.encoded);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_copy_outlives_its_original),
		cmocka_unit_test(what_is_empty_is_not_looked_at),
		cmocka_unit_test(no_memory_is_told),
	};

	return cmocka_run_group_tests(tests, alloc_count_init, NULL);
}
