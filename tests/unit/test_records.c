/* Keys sort as is meant, and records are read as they were written; every flipped bit of one is found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "server/store/keys.h"
#include "server/store/records.h"

/* ---- keys ---- */

static int order(struct key a, struct key b)
{
	size_t n = a.size < b.size ? a.size : b.size;
	int c = memcmp(a.bytes, b.bytes, n);

	return c ? c : (a.size > b.size) - (a.size < b.size);
}

static void keys_sort_as_meant(void **state)
{
	struct uuid low = { { 1 } }, high = { { 2 } };

	(void)state;
	assert_true(order(key_ready(1, 0, 9, &high), key_ready(1, 1, 1, &low)) < 0);
	assert_true(order(key_ready(1, 1, 255, &high), key_ready(1, 1, 256, &low)) < 0);
	assert_true(order(key_ready(1, 1, 5, &low), key_ready(1, 1, 5, &high)) < 0);
	assert_true(order(key_ready(255, 9, 1, &low), key_ready(256, 0, 0, &low)) < 0);
	assert_true(order(key_ready_from(1, 3), key_ready(1, 3, 0, &low)) < 0);
	assert_true(order(key_due(1, &high), key_due(2, &low)) < 0);
	assert_true(order(key_due(255, &low), key_due(1700000000000, &low)) < 0);
}

static void keys_read_back(void **state)
{
	struct uuid id = { { 1, 2, 3 } }, found;
	struct key k = key_ready(7, 3, 1ull << 40, &id);
	uint32_t queue;
	uint8_t priority;
	uint64_t tag;
	int64_t at;
	struct slice name;

	(void)state;
	assert_int_equal(key_read_ready(key_slice(&k), &queue, &priority, &tag, &found), 0);
	assert_int_equal(queue, 7);
	assert_int_equal(priority, 3);
	assert_true(tag == 1ull << 40);
	assert_true(uuid_equal(&found, &id));
	k.size--;
	assert_int_equal(key_read_ready(key_slice(&k), &queue, &priority, &tag, &found), ERR_CORRUPT);
	k = key_due(123456789012, &id);
	assert_int_equal(key_read_due(key_slice(&k), &at, &found), 0);
	assert_int_equal(at, 123456789012);
	k = key_artifact(&id, slice_str("result"));
	assert_int_equal(key_read_artifact(key_slice(&k), &found, &name), 0);
	assert_true(slice_is(name, "result"));
}

/* ---- records ---- */

static struct job sample_job(void)
{
	return (struct job){
		.queue = 3,
		.state = JOB_RUNNING,
		.priority = 9,
		.error_kind = FAIL_INVALID,
		.has_progress = true,
		.link_revoked = true,
		.link_generation = 513,
		.attempt = 2,
		.max_attempts = 5,
		.created_at_ms = 1700000000000,
		.lease_expires_at_ms = -1,
		.due_at_ms = INT64_MAX,
		.tag = UINT64_MAX,
		.artifacts = 4,
		.artifacts_gone = true,
		.progress = 0.25f,
		.lease = { { 1, 2, 3, 255 } },
		.note = slice_str("note"),
		.error_message = slice_str("why"),
	};
}

static void a_job_record_reads_back(void **state)
{
	struct job in = sample_job(), out;
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	assert_int_equal(record_write_job(&b, &in), 0);
	assert_int_equal(record_read_job(buf_slice(&b), &out), 0);
	assert_true(slice_equal(in.note, out.note) && slice_equal(in.error_message, out.error_message));
	in.note = out.note;
	in.error_message = out.error_message;
	assert_int_equal(out.queue, in.queue);
	assert_int_equal(out.link_generation, in.link_generation);
	assert_true(out.has_progress && out.link_revoked && out.artifacts_gone);
	assert_int_equal(out.lease_expires_at_ms, -1);
	assert_true(out.due_at_ms == INT64_MAX && out.tag == UINT64_MAX);
	assert_memory_equal(&out.lease, &in.lease, sizeof(in.lease));
	assert_true(out.progress == 0.25f);
	buf_done(&b);
}

/* Each bit flipped and each length cut off is found, whatever the record. */
static void expect_damage_found(struct buf *b, int (*read)(struct slice bytes))
{
	for (size_t i = 0; i < b->size * 8; i++) {
		b->data[i / 8] ^= (uint8_t)(1u << (i % 8));
		assert_int_equal(read(buf_slice(b)), ERR_CORRUPT);
		b->data[i / 8] ^= (uint8_t)(1u << (i % 8));
	}
	for (size_t n = 0; n < b->size; n++)
		assert_int_equal(read(slice_of(b->data, n)), ERR_CORRUPT);
	assert_int_equal(read(buf_slice(b)), 0);
}

static int read_job(struct slice bytes)
{
	struct job j;

	return record_read_job(bytes, &j);
}

static int read_input(struct slice bytes)
{
	struct job_input in;

	return record_read_input(bytes, &in);
}

static int read_artifact(struct slice bytes)
{
	struct artifact a;

	return record_read_artifact(slice_str("key"), bytes, &a);
}

static int read_queue(struct slice bytes)
{
	struct queue_record q;

	return record_read_queue(bytes, &q);
}

static int read_checkpoint(struct slice bytes)
{
	struct slice s;

	return record_read_checkpoint(slice_str("key"), bytes, &s);
}

static void every_flipped_bit_is_found(void **state)
{
	struct pair pair = { slice_str("k"), slice_str("v") };
	struct job_input input = { .content_type = slice_str("a/b"),
				   .group = slice_str("g"),
				   .metadata = &pair,
				   .metadata_count = 1,
				   .payload = slice_str("payload") };
	struct artifact inlined = { .content_type = slice_str("a/b"), .size = 4, .data = slice_str("data") };
	struct artifact filed = { .content_type = slice_str("a/b"), .size = 1 << 20, .has_blob = true };
	struct queue_record queue = { .name = slice_str("q"), .counts = { 1, 2, 3 }, .weight = 1 };
	struct job job = sample_job();
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	record_write_job(&b, &job);
	expect_damage_found(&b, read_job);
	buf_reset(&b);
	record_write_input(&b, &input);
	expect_damage_found(&b, read_input);
	buf_reset(&b);
	record_write_artifact(&b, slice_str("key"), &inlined);
	expect_damage_found(&b, read_artifact);
	buf_reset(&b);
	record_write_artifact(&b, slice_str("key"), &filed);
	expect_damage_found(&b, read_artifact);
	buf_reset(&b);
	record_write_queue(&b, &queue);
	expect_damage_found(&b, read_queue);
	buf_reset(&b);
	record_write_checkpoint(&b, slice_str("key"), slice_str("checkpoint"));
	expect_damage_found(&b, read_checkpoint);
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_sort_as_meant),
		cmocka_unit_test(keys_read_back),
		cmocka_unit_test(a_job_record_reads_back),
		cmocka_unit_test(every_flipped_bit_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
