/* What holds for maps as a whole: keys, known, unknown and doubled; the path to a place at fault; values into structs;
 * memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <msgpack.h>

#include "proto/base/clean.h"
#include "proto/base/text.h"
#include "proto/error.h"
#include "proto/messages.h"
#include "alloc_count.h"

#define ID "01977420-a4ab-7cde-8f01-23456789abff"

struct trial {
	msgpack_sbuffer bytes;
	msgpack_packer pk;
	msgpack_zone zone;
	msgpack_object object;
	struct error_info info;
};

static void trial_init(struct trial *t)
{
	memset(t, 0, sizeof(*t));
	msgpack_sbuffer_init(&t->bytes);
	msgpack_packer_init(&t->pk, &t->bytes, msgpack_sbuffer_write);
	assert_true(msgpack_zone_init(&t->zone, 1024));
}

static void trial_done(struct trial *t)
{
	msgpack_zone_destroy(&t->zone);
	msgpack_sbuffer_destroy(&t->bytes);
}

static void write_str(struct trial *t, const char *s)
{
	msgpack_pack_str(&t->pk, strlen(s));
	msgpack_pack_str_body(&t->pk, s, strlen(s));
}

static void write_bin(struct trial *t, const char *s)
{
	msgpack_pack_bin(&t->pk, strlen(s));
	msgpack_pack_bin_body(&t->pk, s, strlen(s));
}

static int decode(struct trial *t, const struct message *m, void *ret)
{
	size_t used = 0;

	assert_int_equal(msgpack_unpack(t->bytes.data, t->bytes.size, &used, &t->zone, &t->object),
			 MSGPACK_UNPACK_SUCCESS);
	assert_int_equal(used, t->bytes.size);
	return message_decode(m, &t->object, &t->zone, ret, &t->info);
}

/* ---- keys ---- */

static void test_unknown_keys_are_ignored_whatever_they_hold(void **state)
{
	_cleanup_(trial_done) struct trial t;
	struct msg_job_wait out;

	(void)state;
	trial_init(&t);
	msgpack_pack_map(&t.pk, 6);
	write_str(&t, "future");
	msgpack_pack_map(&t.pk, 2);
	msgpack_pack_int(&t.pk, 1);
	msgpack_pack_nil(&t.pk);
	msgpack_pack_int(&t.pk, 1);
	msgpack_pack_nil(&t.pk);
	write_str(&t, "");
	msgpack_pack_double(&t.pk, 1.5);
	write_str(&t, "id ");
	msgpack_pack_int(&t.pk, 5);
	write_str(&t, "ID");
	write_bin(&t, "\xff");
	write_str(&t, "id");
	write_str(&t, ID);
	write_str(&t, "i");
	msgpack_pack_true(&t.pk);
	assert_int_equal(decode(&t, &MSG_job_wait, &out), 0);
	assert_true(out.has_id);
	assert_string_equal(uuid_format(&out.id).text, ID);
	assert_false(out.has_wait_ms);
}

static void test_keys_may_be_bin_and_nothing_else(void **state)
{
	_cleanup_(trial_done) struct trial good;
	_cleanup_(trial_done) struct trial bad;
	struct msg_job_id out;

	(void)state;
	trial_init(&good);
	msgpack_pack_map(&good.pk, 1);
	write_bin(&good, "id");
	write_str(&good, ID);
	assert_int_equal(decode(&good, &MSG_job_id, &out), 0);
	trial_init(&bad);
	msgpack_pack_map(&bad.pk, 2);
	write_str(&bad, "id");
	write_str(&bad, ID);
	msgpack_pack_int(&bad.pk, 5);
	msgpack_pack_nil(&bad.pk);
	assert_int_equal(decode(&bad, &MSG_job_id, &out), ERR_BAD_REQUEST);
}

/* A map with one key twice, the second time as bin or nil; told is the key's name. */
static void expect_double(const char *key, bool bin, bool nil)
{
	_cleanup_(trial_done) struct trial t;
	struct msg_job_id out;

	trial_init(&t);
	msgpack_pack_map(&t.pk, 3);
	write_str(&t, key);
	write_str(&t, ID);
	write_str(&t, "other");
	msgpack_pack_nil(&t.pk);
	if (bin)
		write_bin(&t, key);
	else
		write_str(&t, key);
	if (nil)
		msgpack_pack_nil(&t.pk);
	else
		write_str(&t, ID);
	assert_int_equal(decode(&t, &MSG_job_id, &out), ERR_BAD_REQUEST);
	assert_string_equal(t.info.field, key);
}

static void test_double_keys_known_and_unknown(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++) {
		expect_double("id", i & 1, i & 2);
		expect_double("unknown", i & 1, i & 2);
	}
}

static int decode_with_keys(unsigned count, bool bin, struct error_info *ret_info)
{
	_cleanup_(trial_done) struct trial t;
	struct msg_empty out;
	int rc;

	trial_init(&t);
	msgpack_pack_map(&t.pk, count);
	for (unsigned i = 0; i < count; i++) {
		char key[16];

		snprintf(key, sizeof(key), "key%u", i);
		if (bin)
			write_bin(&t, key);
		else
			write_str(&t, key);
		msgpack_pack_nil(&t.pk);
	}
	rc = decode(&t, &MSG_empty, &out);
	*ret_info = t.info;
	return rc;
}

static void test_sixty_four_keys_and_one_more(void **state)
{
	struct error_info info;

	(void)state;
	assert_int_equal(decode_with_keys(0, false, &info), 0);
	assert_int_equal(decode_with_keys(64, false, &info), 0);
	assert_int_equal(decode_with_keys(64, true, &info), 0);
	assert_int_equal(decode_with_keys(65, false, &info), ERR_TOO_LARGE);
	assert_int_equal(decode_with_keys(60000, false, &info), ERR_TOO_LARGE);
	assert_int_equal(info.code, ERR_TOO_LARGE);
}

/* ---- paths ---- */

/* One job of a job.complete, with one key of its result doubled. */
static void write_completion(struct trial *t, const char *key, bool doubled)
{
	msgpack_pack_map(&t->pk, 3);
	write_str(t, "id");
	write_str(t, ID);
	write_str(t, "lease");
	write_str(t, "00112233445566778899aabbccddeeff");
	write_str(t, "result");
	msgpack_pack_map(&t->pk, doubled ? 4 : 2);
	for (int i = 0; i < (doubled ? 2 : 0); i++) {
		write_str(t, key);
		msgpack_pack_nil(&t->pk);
	}
	write_str(t, "content_type");
	write_str(t, "text/plain");
	write_str(t, "data");
	write_bin(t, "");
}

static void decode_thousand_completions(const char *key, struct error_info *ret_info)
{
	_cleanup_(trial_done) struct trial t;
	struct msg_job_complete out;

	trial_init(&t);
	msgpack_pack_map(&t.pk, 1);
	write_str(&t, "jobs");
	msgpack_pack_array(&t.pk, 1000);
	for (int i = 0; i < 1000; i++)
		write_completion(&t, key, i == 999);
	assert_int_equal(decode(&t, &MSG_job_complete, &out), ERR_BAD_REQUEST);
	*ret_info = t.info;
}

static void test_the_path_leads_to_the_place(void **state)
{
	struct error_info info;

	(void)state;
	decode_thousand_completions("k", &info);
	assert_string_equal(info.field, "jobs[999].result.k");
}

static void test_a_path_of_a_peers_making_stays_text(void **state)
{
	char key[301];

	(void)state;
	for (size_t size = 1; size < sizeof(key); size += 3) {
		struct error_info info;
		size_t n = 0;

		while (n + 4 <= size)
			n += (size_t)snprintf(key + n, sizeof(key) - n, "%s", "\xf0\x9f\x8e\xac");
		while (n < size)
			key[n++] = 'k';
		key[n] = '\0';
		decode_thousand_completions(key, &info);
		assert_true(utf8_valid(slice_str(info.field)));
		assert_memory_equal(info.field, "jobs[999].result.", 17);
		assert_true(strlen(info.field) > 17);
	}
}

static void test_a_key_that_is_no_text_is_not_told(void **state)
{
	struct error_info info;

	(void)state;
	decode_thousand_completions("not \xff UTF-8", &info);
	assert_string_equal(info.field, "jobs[999].result");
}

static void test_the_first_fault_is_told(void **state)
{
	_cleanup_(trial_done) struct trial t;
	struct msg_job_put out;

	(void)state;
	trial_init(&t);
	msgpack_pack_map(&t.pk, 2);
	write_str(&t, "backoff");
	msgpack_pack_map(&t.pk, 2);
	write_str(&t, "base_ms");
	msgpack_pack_int(&t.pk, 1);
	write_str(&t, "jitter");
	msgpack_pack_double(&t.pk, 1.5);
	write_str(&t, "priority");
	msgpack_pack_int(&t.pk, 10);
	assert_int_equal(decode(&t, &MSG_job_put, &out), ERR_BAD_REQUEST);
	assert_string_equal(t.info.field, "backoff.jitter");
	assert_string_equal(t.info.message, "must be from 0 to 1");
}

/* ---- values ---- */

static void write_put(struct trial *t)
{
	msgpack_pack_map(&t->pk, 8);
	write_str(t, "metadata");
	msgpack_pack_map(&t->pk, 2);
	write_str(t, "campaign");
	write_str(t, "spring");
	write_str(t, "empty");
	write_str(t, "");
	write_str(t, "payload");
	write_str(t, "as a str");
	write_str(t, "queue");
	write_str(t, "videos");
	write_str(t, "title");
	write_str(t, "Gr\xc3\xbc\xc3\x9f\x65");
	write_str(t, "run_at_ms");
	msgpack_pack_uint64(&t->pk, 253402300799999);
	write_str(t, "group");
	msgpack_pack_nil(&t->pk);
	write_str(t, "preview");
	msgpack_pack_map(&t->pk, 2);
	write_str(t, "data");
	write_bin(t, "\xff\xd8");
	write_str(t, "content_type");
	write_str(t, "image/jpeg");
	write_str(t, "backoff");
	msgpack_pack_map(&t->pk, 1);
	write_str(t, "factor");
	msgpack_pack_float(&t->pk, 1.5f);
}

static void test_values_arrive_in_the_struct(void **state)
{
	_cleanup_(trial_done) struct trial t;
	struct msg_job_put out;

	(void)state;
	trial_init(&t);
	write_put(&t);
	memset(&out, 0x5a, sizeof(out));
	assert_int_equal(decode(&t, &MSG_job_put, &out), 0);
	assert_true(out.has_queue && slice_is(out.queue, "videos"));
	assert_true(out.has_payload && slice_is(out.payload, "as a str"));
	assert_true(out.has_title && slice_is(out.title, "Gr\xc3\xbc\xc3\x9f\x65"));
	assert_true(out.has_run_at_ms && out.run_at_ms == 253402300799999);
	assert_false(out.has_group || out.has_delay_ms || out.has_priority || out.has_traceparent);
	assert_true(out.has_preview && slice_is(out.preview.content_type, "image/jpeg"));
	assert_true(slice_is(out.preview.data, "\xff\xd8"));
	assert_true(out.has_backoff && out.backoff.has_factor && !out.backoff.has_jitter);
	assert_true(out.backoff.factor >= 1.5 && out.backoff.factor <= 1.5);
	assert_true(out.has_metadata);
	assert_int_equal(out.metadata_count, 2);
	assert_true(slice_is(out.metadata[0].key, "campaign") && slice_is(out.metadata[0].value, "spring"));
	assert_true(slice_is(out.metadata[1].key, "empty") && out.metadata[1].value.size == 0);
}

static void test_what_is_absent_is_zero(void **state)
{
	static const char zero[sizeof(struct msg_hello)];
	struct msg_hello out;

	(void)state;
	memset(&out, 0x5a, sizeof(out));
	assert_int_equal(message_decode(&MSG_hello, NULL, NULL, &out, NULL), 0);
	assert_memory_equal(&out, zero, sizeof(out));
}

/* A setting that is to go back to its default is another thing than one that is not spoken of. */
static void test_a_key_that_is_nil_is_told_from_one_that_is_not_there(void **state)
{
	_cleanup_(trial_done) struct trial t;
	struct msg_queue_set out;

	(void)state;
	trial_init(&t);
	msgpack_pack_map(&t.pk, 4);
	write_str(&t, "queue");
	write_str(&t, "videos");
	write_str(&t, "title");
	msgpack_pack_nil(&t.pk);
	write_str(&t, "max_jobs");
	msgpack_pack_int(&t.pk, 0);
	write_str(&t, "result_ttl_ms");
	msgpack_pack_nil(&t.pk);
	assert_int_equal(decode(&t, &MSG_queue_set, &out), 0);
	assert_true(MESSAGE_WAS_NIL(queue_set, &out, title) && MESSAGE_WAS_NIL(queue_set, &out, result_ttl_ms));
	assert_false(out.has_title || out.has_result_ttl_ms);
	assert_false(MESSAGE_WAS_NIL(queue_set, &out, queue) || MESSAGE_WAS_NIL(queue_set, &out, max_jobs));
	assert_false(MESSAGE_WAS_NIL(queue_set, &out, paused) || MESSAGE_WAS_NIL(queue_set, &out, backoff));
	assert_true(out.has_max_jobs && out.max_jobs == 0);
}

/* What was read is written again, a nil as nil; what is not there stays out. */
static void test_a_nil_goes_out_as_nil(void **state)
{
	struct msg_queue_set set = { .has_queue = true, .queue = slice_str("q"), .has_paused = true };
	_cleanup_(buf_done) struct buf out;
	static const char expected[] = "\x83\xa5queue\xa1q\xa6paused\xc2\xa8max_jobs\xc0";

	(void)state;
	buf_init(&out, 4096);
	MESSAGE_SET_NIL(queue_set, &set, max_jobs);
	assert_int_equal(message_encode(&MSG_queue_set, &set, &out), 0);
	assert_int_equal(out.size, sizeof(expected) - 1);
	assert_memory_equal(out.data, expected, out.size);
	/* a value goes before a nil */
	set.has_max_jobs = true;
	set.max_jobs = 5;
	buf_reset(&out);
	assert_int_equal(message_encode(&MSG_queue_set, &set, &out), 0);
	assert_int_equal(out.data[out.size - 1], 5);
}

static void test_lists_names_ids_and_tokens(void **state)
{
	_cleanup_(trial_done) struct trial lease;
	_cleanup_(trial_done) struct trial extend;
	struct msg_job_lease l;
	struct msg_job_extend e;

	(void)state;
	trial_init(&lease);
	msgpack_pack_map(&lease.pk, 1);
	write_str(&lease, "queues");
	msgpack_pack_array(&lease.pk, 2);
	write_str(&lease, "videos");
	write_str(&lease, "_webhooks");
	assert_int_equal(decode(&lease, &MSG_job_lease, &l), 0);
	assert_int_equal(l.queues_count, 2);
	assert_true(slice_is(l.queues[1], "_webhooks"));
	trial_init(&extend);
	msgpack_pack_map(&extend.pk, 1);
	write_str(&extend, "leases");
	msgpack_pack_array(&extend.pk, 1);
	msgpack_pack_map(&extend.pk, 3);
	write_str(&extend, "id");
	write_str(&extend, "01977420-A4AB-7CDE-8F01-23456789ABFF");
	write_str(&extend, "lease");
	write_str(&extend, "00112233445566778899AABBCCDDEEFF");
	write_str(&extend, "progress");
	msgpack_pack_int(&extend.pk, 1);
	assert_int_equal(decode(&extend, &MSG_job_extend, &e), 0);
	assert_int_equal(e.leases_count, 1);
	assert_string_equal(uuid_format(&e.leases[0].id).text, ID);
	assert_memory_equal(e.leases[0].lease.bytes, "\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff",
			    16);
	assert_true(e.leases[0].progress >= 1 && e.leases[0].progress <= 1);
}

/* The jobs of a put_many are read one by one, each on its own merits. */
static void test_raw_is_handed_on_as_it_came(void **state)
{
	_cleanup_(trial_done) struct trial t;
	_cleanup_(buf_done) struct buf again;
	struct msg_job_put_many out;
	struct msg_job_put put;

	(void)state;
	trial_init(&t);
	buf_init(&again, 4096);
	msgpack_pack_map(&t.pk, 1);
	write_str(&t, "jobs");
	msgpack_pack_array(&t.pk, 3);
	write_put(&t);
	msgpack_pack_int(&t.pk, -7);
	msgpack_pack_ext_with_body(&t.pk, "xy", 2, 5);
	assert_int_equal(decode(&t, &MSG_job_put_many, &out), 0);
	assert_int_equal(out.jobs->type, MSGPACK_OBJECT_ARRAY);
	assert_int_equal(out.jobs->via.array.size, 3);
	assert_int_equal(message_decode(&MSG_job_put, &out.jobs->via.array.ptr[0], &t.zone, &put, NULL), 0);
	assert_true(slice_is(put.queue, "videos"));
	assert_int_equal(message_decode(&MSG_job_put, &out.jobs->via.array.ptr[1], &t.zone, &put, NULL),
			 ERR_BAD_REQUEST);
	assert_int_equal(message_encode(&MSG_job_put_many, &out, &again), 0);
	assert_int_equal(again.size, t.bytes.size);
	assert_memory_equal(again.data, t.bytes.data, again.size);
}

static void test_an_error_as_it_goes_on_the_wire(void **state)
{
	struct error_info info = { .code = ERR_QUEUE_FULL, .field = "queue", .retry_after_ms = 5 };
	struct msg_error e = error_message(&info);

	(void)state;
	assert_true(e.has_code && slice_is(e.code, "queue_full"));
	assert_true(e.has_message && slice_is(e.message, "the queue is full"));
	assert_true(e.has_field && slice_is(e.field, "queue"));
	assert_true(e.has_retry_after_ms && e.retry_after_ms == 5);
	info = (struct error_info){ .code = ERR_TIMED_OUT, .message = "a reason" };
	e = error_message(&info);
	assert_true(slice_is(e.code, "internal"));
	assert_true(slice_is(e.message, "a reason"));
	assert_false(e.has_field || e.has_retry_after_ms);
}

/* ---- memory ---- */

static void test_decoding_takes_what_the_lists_need(void **state)
{
	_cleanup_(trial_done) struct trial t;
	struct msg_job_complete out;
	size_t used = 0;

	(void)state;
	trial_init(&t);
	msgpack_pack_map(&t.pk, 1);
	write_str(&t, "jobs");
	msgpack_pack_array(&t.pk, 1000);
	for (int i = 0; i < 1000; i++)
		write_completion(&t, "", false);
	assert_int_equal(msgpack_unpack(t.bytes.data, t.bytes.size, &used, &t.zone, &t.object), MSGPACK_UNPACK_SUCCESS);
	alloc_count_start(0);
	assert_int_equal(message_decode(&MSG_job_complete, &t.object, &t.zone, &out, &t.info), 0);
	/* the arena doubles its chunks */
	assert_in_range(alloc_count.bytes, alloc_can_count(), 2000 * sizeof(struct msg_complete_item) + 4096);
}

static void test_every_failing_allocation_of_a_list_is_told(void **state)
{
	static const char lists[] = "\x81\xa6"
				    "queues\x92\xa1"
				    "a\xa1"
				    "b";

	(void)state;
	if (!alloc_can_fail())
		return;
	for (size_t fail_at = 0; fail_at < 2; fail_at++) {
		_cleanup_(trial_done) struct trial t;
		msgpack_zone tight;
		struct msg_job_lease out;
		size_t used = 0;
		int rc;

		trial_init(&t);
		assert_int_equal(msgpack_unpack(lists, sizeof(lists) - 1, &used, &t.zone, &t.object),
				 MSGPACK_UNPACK_SUCCESS);
		assert_true(msgpack_zone_init(&tight, 8));
		alloc_count_start(fail_at);
		rc = message_decode(&MSG_job_lease, &t.object, &tight, &out, &t.info);
		alloc_count_stop();
		assert_int_equal(rc, fail_at ? ERR_NO_MEMORY : 0);
		assert_int_equal(t.info.code, rc);
		msgpack_zone_destroy(&tight);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unknown_keys_are_ignored_whatever_they_hold),
		cmocka_unit_test(test_keys_may_be_bin_and_nothing_else),
		cmocka_unit_test(test_double_keys_known_and_unknown),
		cmocka_unit_test(test_sixty_four_keys_and_one_more),
		cmocka_unit_test(test_the_path_leads_to_the_place),
		cmocka_unit_test(test_a_path_of_a_peers_making_stays_text),
		cmocka_unit_test(test_a_key_that_is_no_text_is_not_told),
		cmocka_unit_test(test_the_first_fault_is_told),
		cmocka_unit_test(test_values_arrive_in_the_struct),
		cmocka_unit_test(test_what_is_absent_is_zero),
		cmocka_unit_test(test_a_key_that_is_nil_is_told_from_one_that_is_not_there),
		cmocka_unit_test(test_a_nil_goes_out_as_nil),
		cmocka_unit_test(test_lists_names_ids_and_tokens),
		cmocka_unit_test(test_raw_is_handed_on_as_it_came),
		cmocka_unit_test(test_an_error_as_it_goes_on_the_wire),
		cmocka_unit_test(test_decoding_takes_what_the_lists_need),
		cmocka_unit_test(test_every_failing_allocation_of_a_list_is_told),
	};

	return cmocka_run_group_tests_name("message maps", tests, alloc_count_init, NULL);
}
