/* Every message of the table: there and back without a byte's change, and each field refused by name where it is
 * missing, mistyped or out of its range. What holds for each kind of field is tested on all fields of that kind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <math.h>
#include <msgpack.h>

#include "proto/base/clean.h"
#include "proto/base/text.h"
#include "proto/error.h"
#include "proto/messages.h"
#include "message_rows.h"

/* A message in its bytes, the arena it is decoded with, and what came of it. */
struct trial {
	msgpack_sbuffer bytes;
	msgpack_packer pk;
	msgpack_zone zone;
	msgpack_object object;
	struct error_info info;
	void *decoded;
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
	free(t->decoded);
}

/* Unpacks what was written to t->bytes and decodes it as m. */
static int decode(struct trial *t, const struct message *m)
{
	size_t used = 0;

	assert_int_equal(msgpack_unpack(t->bytes.data, t->bytes.size, &used, &t->zone, &t->object),
			 MSGPACK_UNPACK_SUCCESS);
	assert_int_equal(used, t->bytes.size);
	t->decoded = malloc(message_size(m));
	assert_non_null(t->decoded);
	memset(t->decoded, 0x5a, message_size(m));
	return message_decode(m, &t->object, &t->zone, t->decoded, &t->info);
}

/* A message with one value in place of another decodes with this code; a refusal names the field or a place in it. */
static void expect(const struct rows *rows, const char *field, const void *bytes, size_t size, int code)
{
	const struct instead instead = { field, bytes, size };
	_cleanup_(trial_done) struct trial t;
	int rc;

	trial_init(&t);
	write_map(&t.pk, rows, FILL_LOW, &instead);
	rc = decode(&t, rows->message);
	if (rc != code)
		fail_msg("%s.%s: %s instead of %s (first byte 0x%02x)", rows->name, field, rc ? error_name(rc) : "ok",
			 code ? error_name(code) : "ok", size ? *(const uint8_t *)bytes : 0);
	if (rc < 0 && (t.info.code != code || strncmp(t.info.field, field, strlen(field)) != 0 || !t.info.message[0]))
		fail_msg("%s.%s: told of \"%s\": \"%s\"", rows->name, field, t.info.field, t.info.message);
}

static void expect_packed(const struct rows *rows, const char *field, const msgpack_sbuffer *value, int code)
{
	expect(rows, field, value->data, value->size, code);
}

typedef void each_row_cb(const struct rows *rows, const struct row *row);

static void each_row(each_row_cb *cb)
{
	for (size_t i = 0; i < ARRAY_SIZE(all_rows); i++)
		for (size_t j = 0; j < all_rows[i]->count; j++)
			cb(all_rows[i], &all_rows[i]->row[j]);
}

/* ---- there and back ---- */

static int append_cb(void *data, const char *bytes, size_t size)
{
	return buf_append(data, bytes, size);
}

/* The encoder writes short ones itself: every head is to be the one that msgpack-c writes, the shortest there is. */
static void test_text_of_any_size_is_as_msgpack_writes_it(void **state)
{
	static const size_t sizes[] = { 0, 1, 31, 32, 33, 254, 255, 256, 257, 65535, 65536 };
	static char text[65536];

	(void)state;
	memset(text, 'x', sizeof(text));
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct msg_link_result result = { .has_link = true, .link = slice_of(text, sizes[i]) };
		_cleanup_(buf_done) struct buf expected;
		_cleanup_(buf_done) struct buf out;
		msgpack_packer pk;

		buf_init(&expected, 1 << 17);
		buf_init(&out, 1 << 17);
		msgpack_packer_init(&pk, &expected, append_cb);
		msgpack_pack_map(&pk, 1);
		msgpack_pack_str_with_body(&pk, "link", 4);
		msgpack_pack_str_with_body(&pk, text, sizes[i]);
		assert_int_equal(message_encode(&MSG_link_result, &result, &out), 0);
		assert_int_equal(out.size, expected.size);
		assert_memory_equal(out.data, expected.data, out.size);
	}
}

static void round_trip(const struct rows *rows, enum fill fill)
{
	_cleanup_(trial_done) struct trial t;
	_cleanup_(buf_done) struct buf out;

	trial_init(&t);
	buf_init(&out, 1 << 24);
	write_map(&t.pk, rows, fill, NULL);
	if (decode(&t, rows->message) < 0)
		fail_msg("%s: %s %s", rows->name, t.info.field, t.info.message);
	assert_int_equal(message_encode(rows->message, t.decoded, &out), 0);
	if (out.size != t.bytes.size || memcmp(out.data, t.bytes.data, out.size) != 0)
		fail_msg("%s is not what it was", rows->name);
}

static void test_every_message_round_trips(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(all_rows); i++)
		for (int fill = FILL_LEAST; fill <= FILL_HIGH; fill++)
			round_trip(all_rows[i], (enum fill)fill);
}

static void test_sizes_are_those_of_the_structs(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(all_rows); i++)
		assert_int_equal(message_size(all_rows[i]->message), all_rows[i]->size);
}

static void round_trip_cut(const struct rows *rows)
{
	_cleanup_(trial_done) struct trial t;

	trial_init(&t);
	write_map(&t.pk, rows, FILL_LOW, NULL);
	assert_int_equal(decode(&t, rows->message), 0);
	for (size_t cap = 0; cap <= t.bytes.size; cap++) {
		_cleanup_(buf_done) struct buf out;

		buf_init(&out, cap);
		assert_int_equal(message_encode(rows->message, t.decoded, &out),
				 cap < t.bytes.size ? ERR_TOO_LARGE : 0);
		assert_true(out.size <= cap);
	}
}

static void test_encoding_into_too_little_room(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(all_rows); i++)
		round_trip_cut(all_rows[i]);
}

/* ---- absent, nil, missing ---- */

static void check_absence(const struct rows *rows, const struct row *row)
{
	int code = row->presence == REQUIRED ? ERR_BAD_REQUEST : 0;

	expect(rows, row->name, NULL, 0, code);
	expect(rows, row->name, "\xc0", 1, code);
}

static void test_only_required_fields_are_missed_and_nil_is_absent(void **state)
{
	(void)state;
	each_row(check_absence);
}

static void test_no_params_are_an_empty_map(void **state)
{
	const msgpack_object nil = { .type = MSGPACK_OBJECT_NIL };
	const msgpack_object *const objects[] = { NULL, &nil };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(objects); i++) {
		_cleanup_(trial_done) struct trial t;
		struct {
			struct msg_job_id id;
			struct msg_hello hello;
		} out;

		trial_init(&t);
		memset(&out, 0x5a, sizeof(out));
		assert_int_equal(message_decode(&MSG_hello, objects[i], &t.zone, &out.hello, &t.info), 0);
		assert_false(out.hello.has_client || out.hello.has_token || out.hello.has_worker);
		assert_int_equal(message_decode(&MSG_job_id, objects[i], &t.zone, &out.id, &t.info), ERR_BAD_REQUEST);
		assert_string_equal(t.info.field, "id");
		assert_int_equal(message_decode(&MSG_job_id, objects[i], &t.zone, &out.id, NULL), ERR_BAD_REQUEST);
	}
}

/* ---- types ---- */

enum type { T_BOOL, T_INT, T_NEGATIVE, T_FLOAT, T_STR, T_BIN, T_ARRAY, T_MAP, T_EXT, TYPES };

static void check_types(const struct rows *rows, const struct row *row)
{
	static const char *const values[TYPES] = {
		[T_BOOL] = "\xc3",   [T_INT] = "\x05",		 [T_NEGATIVE] = "\xfe",
		[T_FLOAT] = "\xca?", [T_STR] = "\xa1x",		 [T_BIN] = "\xc4\1x",
		[T_ARRAY] = "\x90",  [T_MAP] = "\x81\xa1x\xa1y", [T_EXT] = "\xd4\5x",
	};
	static const size_t sizes[TYPES] = { 1, 1, 1, 5, 2, 3, 1, 5, 3 };
	static const unsigned may_be[KINDS] = {
		[KIND_STR] = 1 << T_STR,
		[KIND_ASCII] = 1 << T_STR,
		[KIND_NAME] = 1 << T_STR,
		[KIND_BYTES] = 1 << T_STR | 1 << T_BIN,
		[KIND_INT] = 1 << T_INT | 1 << T_NEGATIVE,
		[KIND_FLOAT] = 1 << T_INT | 1 << T_NEGATIVE | 1 << T_FLOAT,
		[KIND_BOOL] = 1 << T_BOOL,
		[KIND_RAW] = (1 << TYPES) - 1,
		[KIND_STRUCT] = 1 << T_MAP,
		[KIND_LIST] = 1 << T_ARRAY,
		[KIND_NAMES] = 1 << T_ARRAY,
		[KIND_PAIRS] = 1 << T_MAP,
		[KIND_WEIGHTS] = 1 << T_MAP,
	};

	for (size_t i = 0; i < TYPES; i++) {
		uint8_t value[8] = { 0 };

		memcpy(value, values[i], strlen(values[i]));
		if (!(may_be[row->kind] & 1u << i))
			expect(rows, row->name, value, sizes[i], ERR_BAD_REQUEST);
	}
}

static void test_every_field_refuses_other_types(void **state)
{
	(void)state;
	each_row(check_types);
}

/* Ids, tokens and words that are a str but not of the shape. */
static void check_shapes(const struct rows *rows, const struct row *row)
{
	static const char *const bad[] = {
		"\xa0",
		"\xa1x",
		"\xd9\x24"
		"01977420-a4ab-7cde-8f01-23456789abfg",
		"\xd9\x25"
		"01977420-a4ab-7cde-8f01-23456789abff ",
		"\xd9\x20"
		"00112233445566778899aabbccddeefg",
		"\xd9\x21"
		"00112233445566778899aabbccddeeff0",
		"\xbf"
		"00112233445566778899aabbccddeef",
		"\xc4\x24"
		"01977420-a4ab-7cde-8f01-23456789abff",
		"\xc4\x20"
		"00112233445566778899aabbccddeeff",
		"\xc4\5"
		"ready",
		"\xa5"
		"Ready",
		"\xa6"
		"ready ",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (row->kind == KIND_UUID || row->kind == KIND_TOKEN || row->kind == KIND_ENUM)
			expect(rows, row->name, bad[i], strlen(bad[i]), ERR_BAD_REQUEST);
}

static void test_ids_tokens_and_words_have_one_shape(void **state)
{
	(void)state;
	each_row(check_shapes);
}

static void check_utf8(const struct rows *rows, const struct row *row)
{
	if (row->kind == KIND_STR || row->kind == KIND_ASCII || row->kind == KIND_NAME || row->kind == KIND_ENUM)
		expect(rows, row->name, "\xa2\xc3\x28", 3, ERR_BAD_REQUEST);
	if (row->kind == KIND_PAIRS) {
		expect(rows, row->name, "\x81\xa1k\xa2\xc3\x28", 6, ERR_BAD_REQUEST);
		expect(rows, row->name, "\x81\xa2\xc3\x28\xa1v", 6, ERR_BAD_REQUEST);
	}
}

static void test_text_is_utf8(void **state)
{
	(void)state;
	each_row(check_utf8);
}

/* What goes into a header of HTTP must not be able to end it. */
static void check_ascii(const struct rows *rows, const struct row *row)
{
	if (row->kind != KIND_ASCII)
		return;
	for (unsigned c = 0; c < 128; c++) {
		const uint8_t text[] = { 0xa3, 'a', (uint8_t)c, 'b' };

		expect(rows, row->name, text, sizeof(text), c < 0x20 || c == 0x7f ? ERR_BAD_REQUEST : 0);
	}
	expect(rows, row->name, "\xa2\xc3\xa9", 3, ERR_BAD_REQUEST);
}

static void test_ascii_is_printable(void **state)
{
	(void)state;
	each_row(check_ascii);
}

/* ---- ranges ---- */

static void expect_int(const struct rows *rows, const struct row *row, int64_t value, int code)
{
	_cleanup_(trial_done) struct trial t;

	trial_init(&t);
	msgpack_pack_int64(&t.pk, value);
	expect_packed(rows, row->name, &t.bytes, code);
}

static void check_int(const struct rows *rows, const struct row *row)
{
	if (row->kind != KIND_INT)
		return;
	expect_int(rows, row, row->low, 0);
	expect_int(rows, row, row->high, 0);
	if (row->low > INT64_MIN)
		expect_int(rows, row, row->low - 1, ERR_BAD_REQUEST);
	if (row->high < INT64_MAX)
		expect_int(rows, row, row->high + 1, ERR_BAD_REQUEST);
	/* what an int64_t cannot hold is not cut down to what it can */
	expect(rows, row->name, "\xcf\x80\0\0\0\0\0\0\0", 9, ERR_BAD_REQUEST);
	expect(rows, row->name, "\xcf\xff\xff\xff\xff\xff\xff\xff\xff", 9, ERR_BAD_REQUEST);
}

static void test_integers_at_and_beyond_both_ends(void **state)
{
	(void)state;
	each_row(check_int);
}

static void expect_float(const struct rows *rows, const struct row *row, double value, int code)
{
	_cleanup_(trial_done) struct trial t;

	trial_init(&t);
	msgpack_pack_double(&t.pk, value);
	expect_packed(rows, row->name, &t.bytes, code);
	if (!isnan(value) && value != (double)(float)value)
		return;
	msgpack_sbuffer_clear(&t.bytes);
	msgpack_pack_float(&t.pk, (float)value);
	expect_packed(rows, row->name, &t.bytes, code);
}

static void check_float(const struct rows *rows, const struct row *row)
{
	if (row->kind != KIND_FLOAT)
		return;
	expect_float(rows, row, (double)row->low, 0);
	expect_float(rows, row, (double)row->high, 0);
	expect_float(rows, row, (double)row->low - 1e-9, ERR_BAD_REQUEST);
	expect_float(rows, row, (double)row->high + 1e-9, ERR_BAD_REQUEST);
	expect_float(rows, row, (double)NAN, ERR_BAD_REQUEST);
	expect_float(rows, row, -(double)NAN, ERR_BAD_REQUEST);
	expect_float(rows, row, (double)INFINITY, ERR_BAD_REQUEST);
	expect_float(rows, row, -(double)INFINITY, ERR_BAD_REQUEST);
	expect_int(rows, row, row->high, 0);
	expect_int(rows, row, row->high + 1, ERR_BAD_REQUEST);
	expect_int(rows, row, -1, ERR_BAD_REQUEST);
}

static void test_floats_at_and_beyond_both_ends(void **state)
{
	(void)state;
	each_row(check_float);
}

static void expect_length(const struct rows *rows, const struct row *row, int64_t length, int code)
{
	_cleanup_free_ char *text = malloc((size_t)length + 1);
	_cleanup_(trial_done) struct trial t;

	assert_non_null(text);
	memset(text, 'x', (size_t)length);
	trial_init(&t);
	write_str(&t.pk, text, (size_t)length);
	expect_packed(rows, row->name, &t.bytes, code);
}

static void check_length(const struct rows *rows, const struct row *row)
{
	if (row->kind != KIND_STR && row->kind != KIND_ASCII && row->kind != KIND_NAME && row->kind != KIND_BYTES)
		return;
	expect_length(rows, row, row->low, 0);
	if (row->low > 0)
		expect_length(rows, row, row->low - 1, ERR_BAD_REQUEST);
	if (row->high == INT64_MAX)
		return;
	expect_length(rows, row, row->high, 0);
	/* a name that is too long is not a name */
	expect_length(rows, row, row->high + 1, row->kind == KIND_NAME ? ERR_BAD_REQUEST : ERR_TOO_LARGE);
}

static void test_lengths_at_and_beyond_both_ends(void **state)
{
	(void)state;
	each_row(check_length);
}

static void expect_count(const struct rows *rows, const struct row *row, int64_t count, int code)
{
	_cleanup_(trial_done) struct trial t;

	trial_init(&t);
	if (row->kind == KIND_PAIRS || row->kind == KIND_WEIGHTS)
		msgpack_pack_map(&t.pk, (size_t)count);
	else
		msgpack_pack_array(&t.pk, (size_t)count);
	for (int64_t i = 0; i < count; i++) {
		char key[24];

		snprintf(key, sizeof(key), "k%lld", (long long)i);
		if (row->kind == KIND_LIST)
			write_map(&t.pk, row->sub, FILL_LEAST, NULL);
		else
			write_str(&t.pk, key, strlen(key));
		if (row->kind == KIND_PAIRS)
			write_str(&t.pk, "", 0);
		if (row->kind == KIND_WEIGHTS)
			msgpack_pack_int(&t.pk, 1);
	}
	expect_packed(rows, row->name, &t.bytes, code);
}

static void check_count(const struct rows *rows, const struct row *row)
{
	if (row->kind != KIND_LIST && row->kind != KIND_NAMES && row->kind != KIND_PAIRS && row->kind != KIND_WEIGHTS)
		return;
	expect_count(rows, row, row->low, 0);
	expect_count(rows, row, row->high, 0);
	expect_count(rows, row, row->high + 1, ERR_TOO_LARGE);
	if (row->low > 0)
		expect_count(rows, row, row->low - 1, ERR_BAD_REQUEST);
}

static void test_counts_at_and_beyond_both_ends(void **state)
{
	(void)state;
	each_row(check_count);
}

/* ---- entries of names, pairs and weights ---- */

static void check_entries(const struct rows *rows, const struct row *row)
{
	static const char *const names[] = { "\x92\xa1"
					     "a\xa0",
					     "\x92\xa1"
					     "a\xa1 ",
					     "\x91\x05", "\x91\xc4\1a", "\x91\xc0" };
	static const char *const pairs[] = {
		"\x81\xa1k\x05",
		"\x81\xa1k\xc0",
		"\x81\x05\xa1v",
		"\x81\xc4\1k\xa1v",
		"\x81\xa1k\xc4\1v",
		"\x82\xa1k\xa1v\xa1k\xa1w",
		"\x83\xa1k\xa1v\xa1l\xa1w\xa1k\xa1v",
	};
	/* Not a number, nil, a fraction, less than none, more than a weight may be; a key that is no name; one twice.
	 */
	static const char *const weights[] = {
		"\x81\xa1k\xa1v", "\x81\xa1k\xc0",	    "\x81\xa1k\xca\x3f\x80\x80\x80",
		"\x81\xa1k\xff",  "\x81\xa1k\xcd\x03\xe9",  "\x81\x05\x01",
		"\x81\xa1 \x01",  "\x82\xa1k\x01\xa1k\x01",
	};

	for (size_t i = 0; row->kind == KIND_NAMES && i < ARRAY_SIZE(names); i++)
		expect(rows, row->name, names[i], strlen(names[i]), ERR_BAD_REQUEST);
	for (size_t i = 0; row->kind == KIND_PAIRS && i < ARRAY_SIZE(pairs); i++)
		expect(rows, row->name, pairs[i], strlen(pairs[i]), ERR_BAD_REQUEST);
	for (size_t i = 0; row->kind == KIND_WEIGHTS && i < ARRAY_SIZE(weights); i++)
		expect(rows, row->name, weights[i], strlen(weights[i]), ERR_BAD_REQUEST);
	if (row->kind == KIND_WEIGHTS)
		expect(rows, row->name, "\x81\xa1k\x00", 4, ERR_BAD_REQUEST);
}

static void test_entries_of_names_pairs_and_weights(void **state)
{
	(void)state;
	each_row(check_entries);
}

static void expect_pair(size_t key_size, size_t value_size, int code)
{
	_cleanup_(trial_done) struct trial t;
	char text[5000];

	memset(text, 'x', sizeof(text));
	trial_init(&t);
	msgpack_pack_map(&t.pk, 1);
	write_str(&t.pk, text, key_size);
	write_str(&t.pk, text, value_size);
	expect_packed(&rows_job_put, "metadata", &t.bytes, code);
}

static void test_sizes_of_a_pair(void **state)
{
	(void)state;
	expect_pair(1, 0, 0);
	expect_pair(128, 4096, 0);
	expect_pair(0, 1, ERR_BAD_REQUEST);
	expect_pair(129, 1, ERR_TOO_LARGE);
	expect_pair(1, 4097, ERR_TOO_LARGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text_of_any_size_is_as_msgpack_writes_it),
		cmocka_unit_test(test_every_message_round_trips),
		cmocka_unit_test(test_sizes_are_those_of_the_structs),
		cmocka_unit_test(test_encoding_into_too_little_room),
		cmocka_unit_test(test_only_required_fields_are_missed_and_nil_is_absent),
		cmocka_unit_test(test_no_params_are_an_empty_map),
		cmocka_unit_test(test_every_field_refuses_other_types),
		cmocka_unit_test(test_ids_tokens_and_words_have_one_shape),
		cmocka_unit_test(test_text_is_utf8),
		cmocka_unit_test(test_ascii_is_printable),
		cmocka_unit_test(test_integers_at_and_beyond_both_ends),
		cmocka_unit_test(test_floats_at_and_beyond_both_ends),
		cmocka_unit_test(test_lengths_at_and_beyond_both_ends),
		cmocka_unit_test(test_counts_at_and_beyond_both_ends),
		cmocka_unit_test(test_entries_of_names_pairs_and_weights),
		cmocka_unit_test(test_sizes_of_a_pair),
	};

	return cmocka_run_group_tests_name("messages", tests, NULL, NULL);
}
