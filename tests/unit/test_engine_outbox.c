/* The webhooks of jobs that ended: put in the same batch, once for each end, told again when somebody asks, and gone
 * with the job that they tell of. After every command the checker proves the invariants (engine_rig.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "server/engine/outbox.h"
#include "server/engine/outbox_body.h"
#include "tests/harness/engine_rig.h"

#define URL "https://example.test/hooks/raincheck?campaign=1"

static struct rig rig;

static int setup(void **state)
{
	(void)state;
	rig_open(&rig);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rig_close(&rig);
	return 0;
}

static struct uuid put_told(const char *queue)
{
	struct msg_job_put put = rig_put_of(queue, "payload");
	struct pair metadata[] = { { slice_str("visitor"), slice_str("Ad\xc3\xa4 \"x\"") } };

	put.has_callback_url = put.has_metadata = put.has_title = true;
	put.callback_url = slice_str(URL);
	put.metadata = metadata;
	put.metadata_count = 1;
	put.title = slice_str("A greeting");
	return rig_put_params(&rig, &put);
}

static struct msg_leased_job lease(const char *queue)
{
	struct msg_leased_job job;

	assert_true(rig_lease(&rig, queue, &job));
	return job;
}

static struct uuid complete(const struct uuid *id)
{
	struct msg_leased_job job = lease("q");

	assert_true(uuid_equal(&job.id, id));
	rig_complete(&rig, id, &job.lease, "the video");
	assert_int_equal(rig.code, 0);
	return rig_job(&rig, id)->callback.id;
}

static int64_t change(enum change_action action, const struct uuid *id)
{
	struct command_change c = { .action = action, .has_id = true, .id = *id };

	rig_change(&rig, &c);
	return rig.code < 0 ? rig.code : rig.answer.change.count;
}

/* ---- what is told ---- */

static const char *text_of(json_t *data, const char *key)
{
	return json_string_value(json_object_get(data, key));
}

static void the_end_of_a_job_is_put_as_a_job(void **state)
{
	struct uuid id = put_told("q"), delivery;
	struct msg_leased_job job;
	char link[600], result[700];
	json_t *body, *data;

	(void)state;
	snprintf(link, sizeof(link), "%.*s", SLICE_FMT(rig.answer.put.link));
	assert_false(rig_job(&rig, &id)->callback.has_id);
	delivery = complete(&id);
	assert_int_equal(rig.view.job.callback.state, JOB_READY);
	assert_int_equal(rig.view.job.callback.attempts, 0);

	job = lease(OUTBOX_QUEUE);
	assert_true(uuid_equal(&job.id, &delivery));
	assert_true(slice_is(job.content_type, "application/json"));
	assert_int_equal(job.metadata_count, 1);
	assert_true(slice_is(job.metadata[0].key, "url"));
	assert_true(slice_is(job.metadata[0].value, URL));
	body = json_loadb(job.payload.data, job.payload.size, 0, NULL);
	assert_non_null(body);
	assert_string_equal(text_of(body, "type"), "job.succeeded");
	assert_string_equal(text_of(body, "timestamp"), "2023-11-14T22:13:20.000Z");
	data = json_object_get(body, "data");
	assert_string_equal(text_of(data, "id"), uuid_format(&id).text);
	assert_string_equal(text_of(data, "queue"), "q");
	assert_string_equal(text_of(data, "state"), "succeeded");
	assert_string_equal(text_of(data, "title"), "A greeting");
	assert_string_equal(text_of(data, "link"), link);
	snprintf(result, sizeof(result), "%s/result", link);
	assert_string_equal(text_of(data, "result"), result);
	assert_true(json_is_null(json_object_get(data, "preview")));
	assert_true(json_is_null(json_object_get(data, "error")));
	assert_string_equal(text_of(json_object_get(data, "metadata"), "visitor"), "Ad\xc3\xa4 \"x\"");
	json_decref(body);

	assert_int_equal(rig_job(&rig, &id)->callback.attempts, 1);
	rig_complete(&rig, &job.id, &job.lease, NULL);
	assert_int_equal(rig_job(&rig, &id)->callback.state, JOB_SUCCEEDED);
}

static void fail_for_good(const char *queue)
{
	struct msg_leased_job job = lease(queue);

	rig_fail(&rig, &job.id, &job.lease, FAIL_REJECTED, 0);
	assert_int_equal(rig.code, 0);
}

/* The type of the webhook that waits, which is taken out. */
static void assert_told(const char *type, const char *kind)
{
	struct msg_leased_job job = lease(OUTBOX_QUEUE);
	json_t *body = json_loadb(job.payload.data, job.payload.size, 0, NULL);
	json_t *error = json_object_get(json_object_get(body, "data"), "error");

	assert_string_equal(text_of(body, "type"), type);
	if (kind)
		assert_string_equal(text_of(error, "kind"), kind);
	else
		assert_true(json_is_null(error));
	json_decref(body);
	rig_complete(&rig, &job.id, &job.lease, NULL);
}

static void every_end_is_told(void **state)
{
	struct msg_job_put put = rig_put_of("q", "payload");
	struct uuid id;

	(void)state;
	put_told("q");
	fail_for_good("q");
	assert_told("job.dead", "rejected");
	id = put_told("q");
	rig_cancel(&rig, &id);
	assert_told("job.canceled", NULL);
	put.has_callback_url = put.has_deadline_ms = true;
	put.callback_url = slice_str(URL);
	put.deadline_ms = 1000;
	rig_put_params(&rig, &put);
	rig_pass(&rig, 1000);
	assert_told("job.expired", "timeout");
}

static void nobody_is_told_without_a_callback(void **state)
{
	struct uuid id = rig_put(&rig, "q", "payload");
	struct msg_leased_job job = lease("q");

	(void)state;
	rig_complete(&rig, &job.id, &job.lease, "the video");
	assert_false(rig_job(&rig, &id)->has_callback);
	assert_false(rig_lease(&rig, OUTBOX_QUEUE, &job));
	assert_int_equal(change(CHANGE_REDELIVER, &id), ERR_INVALID_STATE);
	assert_non_null(strstr(rig.info.message, "callback_url"));
}

static void a_batch_that_fails_tells_nobody(void **state)
{
	struct uuid id = put_told("q");
	struct msg_leased_job job = lease("q"), none;

	(void)state;
	rig.take_back = true;
	rig_complete(&rig, &job.id, &job.lease, "the video");
	assert_false(rig_lease(&rig, OUTBOX_QUEUE, &none));
	rig_complete(&rig, &job.id, &job.lease, "the video");
	assert_int_equal(rig_queue(&rig, OUTBOX_QUEUE).counts.ready, 1);
	assert_int_equal(rig_state(&rig, &id), JOB_SUCCEEDED);
}

/* The body that tells of a job with so many entries of 4,000 characters that take six each in JSON. */
static json_t *body_with_metadata(size_t count)
{
	static char large[4000], keys[16][2];
	struct msg_job_put put = rig_put_of("q", "payload");
	struct pair metadata[16];
	struct msg_leased_job job;
	struct uuid id;

	memset(large, 1, sizeof(large));
	for (size_t i = 0; i < count; i++) {
		keys[i][0] = (char)('a' + i);
		metadata[i] = (struct pair){ slice_str(keys[i]), slice_of(large, sizeof(large)) };
	}
	put.has_callback_url = put.has_metadata = true;
	put.callback_url = slice_str(URL);
	put.metadata = metadata;
	put.metadata_count = count;
	id = rig_put_params(&rig, &put);
	complete(&id);
	job = lease(OUTBOX_QUEUE);
	return json_loadb(job.payload.data, job.payload.size, 0, NULL);
}

static void large_metadata_is_left_out(void **state)
{
	json_t *body = body_with_metadata(8), *data = json_object_get(body, "data");

	(void)state;
	assert_int_equal(json_object_size(json_object_get(data, "metadata")), 8);
	assert_null(json_object_get(data, "metadata_omitted"));
	json_decref(body);
	body = body_with_metadata(9);
	data = json_object_get(body, "data");
	assert_true(json_is_null(json_object_get(data, "metadata")));
	assert_true(json_is_true(json_object_get(data, "metadata_omitted")));
	json_decref(body);
}

/* ---- once more ---- */

static void a_webhook_is_told_again_with_the_same_id(void **state)
{
	struct uuid id = put_told("q"), delivery = complete(&id);
	struct msg_leased_job job;

	(void)state;
	assert_int_equal(change(CHANGE_REDELIVER, &id), 0); /* it is ready */
	job = lease(OUTBOX_QUEUE);
	assert_int_equal(change(CHANGE_REDELIVER, &id), 0); /* it is under way */
	rig_fail(&rig, &job.id, &job.lease, FAIL_UNAVAILABLE, 3600000);
	assert_int_equal(rig_state(&rig, &delivery), JOB_SCHEDULED);
	assert_int_equal(change(CHANGE_REDELIVER, &id), 1); /* at once, its attempts counted on */
	assert_int_equal(rig_state(&rig, &delivery), JOB_READY);
	job = lease(OUTBOX_QUEUE);
	assert_int_equal(job.attempt, 2);
	rig_complete(&rig, &job.id, &job.lease, NULL);
	assert_int_equal(change(CHANGE_REDELIVER, &id), 1);
	job = lease(OUTBOX_QUEUE);
	assert_true(uuid_equal(&job.id, &delivery));
	assert_int_equal(job.attempt, 1);
}

static void what_is_told_again_is_the_jobs_error(void **state)
{
	struct uuid id = put_told("q");
	struct msg_job_fail fail = { .has_id = true, .has_lease = true, .has_kind = true, .has_message = true };
	const char *const messages[] = { "no face in the picture", "the receiver answered 404" };
	struct msg_leased_job job;
	json_t *body, *data;

	(void)state;
	for (int i = 0; i < 2; i++) {
		job = lease(i == 0 ? "q" : OUTBOX_QUEUE);
		fail.id = job.id;
		fail.lease = job.lease;
		fail.kind = FAIL_REJECTED;
		fail.message = slice_str(messages[i]);
		rig_run(&rig, COMMAND_FAIL, &fail);
	}
	assert_int_equal(change(CHANGE_REDELIVER, &id), 1);
	job = lease(OUTBOX_QUEUE);
	body = json_loadb(job.payload.data, job.payload.size, 0, NULL);
	data = json_object_get(body, "data");
	assert_string_equal(text_of(json_object_get(data, "error"), "message"), messages[0]);
	json_decref(body);
}

static void a_delivery_that_is_gone_begins_anew(void **state)
{
	struct uuid id = put_told("q"), delivery = complete(&id);
	struct msg_leased_job job;

	(void)state;
	rig_erase(&rig, &delivery);
	assert_false(rig_job(&rig, &id)->callback.has_id);
	assert_int_equal(change(CHANGE_REDELIVER, &id), 1);
	job = lease(OUTBOX_QUEUE);
	assert_true(uuid_equal(&job.id, &delivery));
	rig_pass(&rig, rig.settings.tombstone_ttl_ms + 1); /* what the tombstone's entry leads to is no tombstone */
	assert_int_equal(rig_state(&rig, &delivery), JOB_READY);
}

static void only_an_end_is_told(void **state)
{
	struct uuid id = put_told("q");

	(void)state;
	assert_int_equal(change(CHANGE_REDELIVER, &id), ERR_INVALID_STATE);
	assert_non_null(strstr(rig.info.message, "is ready"));
}

/* ---- taken back ---- */

static void a_retry_takes_the_news_of_the_death_back(void **state)
{
	struct uuid id = put_told("q"), delivery;
	struct msg_leased_job job;

	(void)state;
	fail_for_good("q");
	delivery = rig_job(&rig, &id)->callback.id;
	rig_retry(&rig, &id);
	assert_int_equal(rig_state(&rig, &delivery), ERR_GONE);
	assert_false(rig_job(&rig, &id)->callback.has_id);
	assert_string_equal(rig.view.job.error.message.size ? "its error stays" : "", "its error stays");
	/* It ends again within the same millisecond: what was left of the first delivery is not in the way. */
	job = lease("q");
	rig_complete(&rig, &job.id, &job.lease, "the video");
	assert_int_equal(rig_job(&rig, &id)->callback.state, JOB_READY);
	assert_told("job.succeeded", NULL);
}

static void what_is_erased_is_told_to_nobody(void **state)
{
	struct uuid ended = put_told("q"), delivery = complete(&ended), waiting = put_told("q");
	struct msg_leased_job job = lease(OUTBOX_QUEUE);

	(void)state;
	rig_erase(&rig, &ended);
	assert_int_equal(rig_state(&rig, &delivery), ERR_GONE);
	rig_complete(&rig, &job.id, &job.lease, NULL);
	assert_int_equal(rig.code, ERR_LEASE_LOST);
	rig_erase(&rig, &waiting);
	assert_false(rig_lease(&rig, OUTBOX_QUEUE, &job));
}

static void retention_leaves_a_delivery_alone(void **state)
{
	struct uuid id = put_told("q"), delivery = complete(&id);

	(void)state;
	rig_pass(&rig, rig.settings.record_ttl_ms + 1);
	rig_pass(&rig, 1);
	assert_int_equal(rig_state(&rig, &id), ERR_GONE);
	assert_int_equal(rig_state(&rig, &delivery), JOB_READY);
}

static void a_filter_means_no_deliveries_unless_it_names_them(void **state)
{
	struct command_change all = { .action = CHANGE_CANCEL, .filter = { .has_all = true, .all = true } };
	struct command_change named = {
		.action = CHANGE_CANCEL,
		.filter = { .has_queue = true, .queue = slice_str(OUTBOX_QUEUE) },
	};
	struct uuid id = put_told("q"), delivery = complete(&id), waiting = put_told("q");

	(void)state;
	/* The one that it cancels is told of, and that is not canceled in turn. */
	rig_change(&rig, &all);
	assert_int_equal(rig.answer.change.count, 1);
	assert_int_equal(rig_state(&rig, &waiting), JOB_CANCELED);
	assert_int_equal(rig_state(&rig, &delivery), JOB_READY);
	assert_int_equal(rig_queue(&rig, OUTBOX_QUEUE).counts.ready, 2);
	rig_change(&rig, &named);
	assert_int_equal(rig.answer.change.count, 2);
}

static void the_first_delivery_of_all_is_not_met_by_the_filter_that_made_it(void **state)
{
	struct command_change all = { .action = CHANGE_CANCEL, .filter = { .has_all = true, .all = true } };

	(void)state;
	put_told("q");
	put_told("q");
	rig_change(&rig, &all);
	assert_int_equal(rig.answer.change.count, 2);
	assert_int_equal(rig_queue(&rig, OUTBOX_QUEUE).counts.ready, 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(the_end_of_a_job_is_put_as_a_job),
		TEST(every_end_is_told),
		TEST(nobody_is_told_without_a_callback),
		TEST(a_batch_that_fails_tells_nobody),
		TEST(large_metadata_is_left_out),
		TEST(a_webhook_is_told_again_with_the_same_id),
		TEST(what_is_told_again_is_the_jobs_error),
		TEST(a_delivery_that_is_gone_begins_anew),
		TEST(only_an_end_is_told),
		TEST(a_retry_takes_the_news_of_the_death_back),
		TEST(what_is_erased_is_told_to_nobody),
		TEST(retention_leaves_a_delivery_alone),
		TEST(a_filter_means_no_deliveries_unless_it_names_them),
		TEST(the_first_delivery_of_all_is_not_met_by_the_filter_that_made_it),
	};

	return cmocka_run_group_tests_name("outbox", tests, NULL, NULL);
}
