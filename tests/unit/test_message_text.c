/* Messages from text and into JSON: every type of a field, and that what is refused on the wire is refused here with
 * the same words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <msgpack.h>

#include "proto/base/clean.h"
#include "proto/error.h"
#include "proto/messages_fields.h"
#include "proto/messages_json.h"
#include "proto/messages_text.h"

static msgpack_zone zone;
static struct error_info info;

static int setup(void **state)
{
	(void)state;
	return msgpack_zone_init(&zone, 1024) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	msgpack_zone_destroy(&zone);
	return 0;
}

/* "name=value" each. */
static int decode(const struct message *m, void *ret, size_t count, const char *const *texts)
{
	struct field_text fields[MESSAGE_TEXTS_MAX + 1];

	assert_true(count <= MESSAGE_TEXTS_MAX + 1);
	for (size_t i = 0; i < count; i++) {
		size_t length = strcspn(texts[i], "=");

		fields[i] = (struct field_text){ slice_of(texts[i], length), slice_str(texts[i] + length + 1) };
	}
	memset(&info, 0, sizeof(info));
	return message_decode_texts(m, fields, count, &zone, ret, &info);
}

#define DECODE(m, ret, ...) \
	decode(&MSG_##m, ret, ARRAY_SIZE(((const char *[]){ __VA_ARGS__ })), (const char *const[]){ __VA_ARGS__ })

static void every_type_is_read_from_text(void **state)
{
	struct msg_job_put put;
	struct msg_queue_set set;

	(void)state;
	assert_int_equal(DECODE(job_put, &put, "queue=q", "payload=\xff\x01", "priority=0", "delay_ms=3153600000000",
				"backoff.base_ms=5", "metadata.a.b=1", "backoff.factor=1.5", "title=Gr\xc3\xbcn",
				"metadata.=x"),
			 ERR_BAD_REQUEST);
	assert_string_equal(info.field, "metadata");
	assert_int_equal(DECODE(job_put, &put, "queue=q", "payload=\xff\x01", "priority=0", "delay_ms=3153600000000",
				"backoff.base_ms=5", "metadata.a.b=1", "backoff.factor=1.5",
				"metadata.c=", "title=x=y"),
			 0);
	assert_true(slice_is(put.queue, "q") && slice_is(put.payload, "\xff\x01") && slice_is(put.title, "x=y"));
	assert_true(put.has_priority && put.priority == 0);
	assert_int_equal(put.delay_ms, 3153600000000);
	assert_true(put.has_backoff && put.backoff.has_base_ms && put.backoff.base_ms == 5);
	assert_true(put.backoff.has_factor && put.backoff.factor == 1.5 && !put.backoff.has_max_ms);
	assert_int_equal(put.metadata_count, 2);
	assert_true(slice_is(put.metadata[0].key, "a.b") && slice_is(put.metadata[0].value, "1"));
	assert_true(slice_is(put.metadata[1].key, "c") && put.metadata[1].value.size == 0);
	assert_false(put.has_group);
	assert_int_equal(DECODE(queue_set, &set, "queue=q", "paused=true", "admit=deadline"), 0);
	assert_true(set.paused && set.admit == ADMIT_DEADLINE);
	assert_int_equal(DECODE(queue_set, &set, "queue=q", "paused=false"), 0);
	assert_true(set.has_paused && !set.paused);
}

/* One text beside a queue and a payload, the field that is named and a word of what is said. */
static const struct {
	const char *text, *field, *says;
	int code;
} refusals[] = {
	{ "priority=10", "priority", "from 0 to 9", ERR_BAD_REQUEST },
	{ "priority=-1", "priority", "from 0 to 9", ERR_BAD_REQUEST },
	{ "priority=3.0", "priority", "an integer", ERR_BAD_REQUEST },
	{ "priority=", "priority", "an integer", ERR_BAD_REQUEST },
	{ "priority= 3", "priority", "an integer", ERR_BAD_REQUEST },
	{ "priority=3-3", "priority", "an integer", ERR_BAD_REQUEST },
	{ "priority=-", "priority", "an integer", ERR_BAD_REQUEST },
	{ "priority=0x3", "priority", "an integer", ERR_BAD_REQUEST },
	{ "delay_ms=99999999999999999999999", "delay_ms", "from 0 to", ERR_BAD_REQUEST },
	{ "delay_ms=-99999999999999999999999", "delay_ms", "from 0 to", ERR_BAD_REQUEST },
	{ "delay_ms=11111111111111111111111111111111111111111", "delay_ms", "an integer", ERR_BAD_REQUEST },
	{ "backoff.factor=0.5", "backoff.factor", "from 1 to 100", ERR_BAD_REQUEST },
	{ "backoff.factor=inf", "backoff.factor", "a number", ERR_BAD_REQUEST },
	{ "backoff.factor=1e999", "backoff.factor", "from 1 to 100", ERR_BAD_REQUEST },
	{ "backoff.none=1", "backoff.none", "no such field", ERR_BAD_REQUEST },
	{ "backoff=1", "backoff", "names of its own", ERR_BAD_REQUEST },
	{ "backoff.base_ms.x=1", "backoff.base_ms.x", "no such field", ERR_BAD_REQUEST },
	{ "metadata=1", "metadata", "names of its own", ERR_BAD_REQUEST },
	{ "metadata.x=\xff", "metadata", "UTF-8", ERR_BAD_REQUEST },
	{ "title=\xff", "title", "UTF-8", ERR_BAD_REQUEST },
	{ "title.x=1", "title.x", "no such field", ERR_BAD_REQUEST },
	{ "group=a b", "group", "characters", ERR_BAD_REQUEST },
	{ "callback_url=", "callback_url", "shorter than 1", ERR_BAD_REQUEST },
	{ "priorty=3", "priorty", "no such field", ERR_BAD_REQUEST },
	{ "\xff=3", "", "not UTF-8", ERR_BAD_REQUEST },
	{ "queue=q", "queue", "twice", ERR_BAD_REQUEST },
};

static void what_the_wire_refuses_is_refused_by_name(void **state)
{
	struct msg_job_put put;
	struct msg_queue_set set;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		int rc = DECODE(job_put, &put, "queue=q", "payload=", refusals[i].text);

		if (rc != refusals[i].code || strcmp(info.field, refusals[i].field) != 0 ||
		    !strstr(info.message, refusals[i].says))
			fail_msg("%s: %d \"%s\" %s", refusals[i].text, rc, info.field, info.message);
	}
	assert_int_equal(DECODE(job_put, &put, "queue=q"), ERR_BAD_REQUEST);
	assert_string_equal(info.field, "payload");
	assert_int_equal(DECODE(job_put, &put, "queue=q", "payload=", "metadata.a=1", "metadata.b=1", "metadata.a=1"),
			 ERR_BAD_REQUEST);
	assert_string_equal(info.field, "metadata");
	assert_int_equal(
		DECODE(job_put, &put, "queue=q", "payload=", "backoff.jitter=1", "title=x", "backoff.jitter=1"),
		ERR_BAD_REQUEST);
	assert_string_equal(info.field, "backoff.jitter");
	assert_int_equal(DECODE(queue_set, &set, "queue=q", "paused=yes"), ERR_BAD_REQUEST);
	assert_int_equal(DECODE(queue_set, &set, "queue=q", "weights.a=1"), ERR_BAD_REQUEST);
	assert_int_equal(DECODE(queue_set, &set, "queue=q", "admit=never"), ERR_BAD_REQUEST);
}

static void there_is_a_bound_to_how_many_there_are(void **state)
{
	static const char *texts[MESSAGE_TEXTS_MAX + 1];
	struct msg_job_put put;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		texts[i] = "metadata.x=1";
	assert_int_equal(decode(&MSG_job_put, &put, ARRAY_SIZE(texts), texts), ERR_TOO_LARGE);
	assert_int_equal(decode(&MSG_job_put, &put, MESSAGE_TEXTS_MAX, texts), ERR_TOO_LARGE);
	assert_string_equal(info.field, "metadata");
}

/* ---- JSON ---- */

static void expect_json(const struct message *m, const void *in, const char *json)
{
	struct buf out;

	buf_init(&out, 65536);
	assert_int_equal(message_to_json(m, in, &out), 0);
	buf_append(&out, "", 1);
	assert_string_equal((const char *)out.data, json);
	buf_done(&out);
}

static void a_message_becomes_the_json_of_the_wire(void **state)
{
	static struct group_weight weights[] = { { { "a", 1 }, 5 }, { { "b", 1 }, 1 } };
	struct pair pairs[] = { { slice_str("k\"\\\n"), slice_str("\xff\xc3\xbc\x7f") } };
	struct msg_job_put put = { .has_queue = true,
				   .queue = slice_str("q"),
				   .has_payload = true,
				   .payload = slice_str("left out"),
				   .has_backoff = true,
				   .backoff = { .has_base_ms = true, .base_ms = -1, .has_factor = true, .factor = 0.1 },
				   .has_metadata = true,
				   .metadata = pairs,
				   .metadata_count = 1 };
	struct msg_queue_set set = { .has_paused = true, .paused = true, .has_admit = true, .admit = ADMIT_DEADLINE };
	struct msg_job_error error = { .has_kind = true, .kind = FAIL_REJECTED, .has_at_ms = true, .at_ms = 7 };
	struct msg_job_list_result none = { .has_jobs = true };
	struct msg_artifact_begin_result token = { .has_upload = true, .upload = { { 0xab, 1 } } };

	(void)state;
	expect_json(&MSG_job_put, &put,
		    "{\"queue\":\"q\",\"backoff\":{\"base_ms\":-1,\"factor\":0.1},"
		    "\"metadata\":{\"k\\\"\\\\\\u000a\":\"\\ufffd\xc3\xbc\\u007f\"}}");
	set.has_weights = true;
	set.weights = weights;
	set.weights_count = 2;
	MESSAGE_SET_NIL(queue_set, &set, title);
	expect_json(&MSG_queue_set, &set,
		    "{\"title\":null,\"paused\":true,\"weights\":{\"a\":5,\"b\":1},\"admit\":\"deadline\"}");
	expect_json(&MSG_job_error, &error, "{\"kind\":\"rejected\",\"at_ms\":7}");
	expect_json(&MSG_job_list_result, &none, "{\"jobs\":[],\"cursor\":null}");
	expect_json(&MSG_artifact_begin_result, &token, "{\"upload\":\"ab010000000000000000000000000000\"}");
}

static void a_message_that_does_not_fit_is_told(void **state)
{
	struct msg_ping_result pong = { .has_now_ms = true, .now_ms = 1 };
	struct buf out;

	(void)state;
	buf_init(&out, 8);
	assert_int_equal(message_to_json(&MSG_ping_result, &pong, &out), ERR_TOO_LARGE);
	buf_done(&out);
}

/* ---- the table, told ---- */

static void the_fields_are_told_as_the_table_has_them(void **state)
{
	struct field_info f;
	size_t count = 0;
	bool found = false;

	(void)state;
	for (; message_field(&MSG_job_put, count, &f); count++) {
		if (strcmp(f.name, "priority") != 0)
			continue;
		found = true;
		assert_true(f.kind == FIELD_INT && f.low == 0 && f.high == 9 && !f.required && !f.nullable);
	}
	assert_true(found);
	assert_int_equal(count, 19);
	assert_true(message_field(&MSG_job, 2, &f));
	assert_string_equal(f.name, "state");
	assert_true(f.kind == FIELD_WORD && f.required && strcmp(f.words[JOB_DEAD], "dead") == 0);
	assert_string_equal(message_name(&MSG_job_put), "job_put");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(every_type_is_read_from_text),	      TEST(what_the_wire_refuses_is_refused_by_name),
		TEST(there_is_a_bound_to_how_many_there_are), TEST(a_message_becomes_the_json_of_the_wire),
		TEST(a_message_that_does_not_fit_is_told),    TEST(the_fields_are_told_as_the_table_has_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
