/* What a put answers and keeps in the real engine, and how its job is found again: by its key, its link and the list.
 * After every command the checker proves the invariants (engine_rig.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/clean.h"
#include "tests/harness/engine_rig.h"

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

#define assert_slice(s, text) assert_true(slice_is(s, text))

static void put_answers_with_place_and_link(void **state)
{
	struct uuid first = rig_put(&rig, "q", "one");

	(void)state;
	assert_int_equal(rig.code, 0);
	assert_true(rig.answer.put.created);
	assert_int_equal(rig.answer.put.state, JOB_READY);
	assert_int_equal(rig.answer.put.position, 1);
	assert_int_equal(rig.answer.put.link.size, strlen("http://example.test/r/") + LINK_TOKEN_SIZE);
	rig_put(&rig, "q", "two");
	assert_int_equal(rig.answer.put.position, 2);
	assert_int_equal(rig_job(&rig, &first)->position, 1);
}

/* A lease copies the small inputs and reads the large ones again. */
static void a_lease_of_many_gives_each_its_own_input(void **state)
{
	static const size_t sizes[] = { 1, 5000, 300, 4096, 0, 70000, 3000, 4000 };
	static char payload[70000];
	const struct msg_leased_job *jobs;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct msg_job_put put = rig_put_of("q", "");

		memset(payload, 'a' + (int)i, sizeof(payload));
		put.payload = slice_of(payload, sizes[i]);
		rig_put_params(&rig, &put);
	}
	assert_int_equal(rig_lease_many(&rig, (const char *[]){ "q" }, 1, 100), ARRAY_SIZE(sizes));
	jobs = rig.answer.lease.jobs;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		const char *bytes = jobs[i].payload.data;

		assert_int_equal(jobs[i].payload.size, sizes[i]);
		for (size_t n = 0; n < sizes[i]; n++)
			assert_int_equal(bytes[n], 'a' + (int)i);
		assert_true(slice_is(jobs[i].content_type, "application/octet-stream"));
	}
}

static void idempotency_keys_find_the_first_job(void **state)
{
	struct msg_job_put put = rig_put_of("q", "same");
	struct uuid first, second;

	(void)state;
	put.has_idempotency_key = true;
	put.idempotency_key = slice_str("visitor-1");
	first = rig_put_params(&rig, &put);
	second = rig_put_params(&rig, &put);
	assert_int_equal(rig.code, 0);
	assert_false(rig.answer.put.created);
	assert_true(uuid_equal(&first, &second));
	put.payload = slice_str("other");
	rig_put_params(&rig, &put);
	assert_int_equal(rig.code, ERR_CONFLICT);
	assert_string_equal(rig.info.field, "idempotency_key");
	put.queue = slice_str("another-queue");
	rig_put_params(&rig, &put);
	assert_true(rig.answer.put.created);
}

static void put_many_judges_each_on_its_own(void **state)
{
	struct put_item items[3] = { { .put = rig_put_of("q", "a") },
				     { .put = rig_put_of("_own", "b") },
				     { .put = rig_put_of("q", "c") } };
	struct command_put put = { .items = items, .count = 3, .many = true };
	struct msg_leased_job job;

	(void)state;
	rig_run(&rig, COMMAND_PUT, &put);
	assert_int_equal(rig.answer.put_many.jobs_count, 3);
	assert_true(rig.answer.put_many.jobs[0].has_id);
	assert_true(rig.answer.put_many.jobs[1].has_error);
	assert_slice(rig.answer.put_many.jobs[1].error.code, "bad_request");
	assert_int_equal(rig.answer.put_many.jobs[2].position, 2);
	assert_true(rig_lease(&rig, "q", &job));
	assert_true(rig_lease(&rig, "q", &job));
	assert_false(rig_lease(&rig, "q", &job));
}

static void a_put_keeps_all_it_was_given(void **state)
{
	struct pair metadata[2] = { { slice_str("k1"), slice_str("v1") }, { slice_str("k2"), slice_str("") } };
	struct msg_job_put put = rig_put_of("q", "payload");
	const struct msg_job *job;
	struct uuid id;

	(void)state;
	put.has_title = put.has_group = put.has_metadata = put.has_preview = put.has_content_type = true;
	put.title = slice_str("Für Ada");
	put.group = slice_str("campaign:1");
	put.metadata = metadata;
	put.metadata_count = 2;
	put.content_type = slice_str("application/json");
	put.preview = (struct msg_media){ .content_type = slice_str("image/png"), .data = slice_str("\x89PNG") };
	id = rig_put_params(&rig, &put);
	rig_restart(&rig);
	job = rig_job(&rig, &id);
	assert_slice(job->title, "Für Ada");
	assert_slice(job->group, "campaign:1");
	assert_slice(job->content_type, "application/json");
	assert_int_equal(job->metadata_count, 2);
	assert_slice(job->metadata[1].key, "k2");
	assert_int_equal(job->payload_size, 7);
	assert_int_equal(job->artifacts_count, 1);
	assert_slice(job->artifacts[0].name, "preview");
	assert_int_equal(job->artifacts[0].size, 4);
}

static void links_that_are_none_are_unknown(void **state)
{
	char token[LINK_TOKEN_SIZE + 1] = "";
	struct uuid id = rig_put(&rig, "q", "x"), found;

	(void)state;
	memcpy(token, (const char *)rig.answer.put.link.data + rig.answer.put.link.size - LINK_TOKEN_SIZE,
	       LINK_TOKEN_SIZE);
	rig_job(&rig, &id);
	assert_int_equal(view_link(rig.view_txn, &rig.settings, rig.now_ms, slice_str(token), &found, &rig.view), 0);
	assert_true(uuid_equal(&found, &id));
	for (size_t i = 0; i < LINK_TOKEN_SIZE; i++) {
		char other[LINK_TOKEN_SIZE + 1];

		memcpy(other, token, sizeof(other));
		other[i] = other[i] == 'A' ? 'B' : 'A';
		assert_int_equal(
			view_link(rig.view_txn, &rig.settings, rig.now_ms, slice_str(other), &found, &rig.view),
			ERR_NOT_FOUND);
	}
	assert_int_equal(view_link(rig.view_txn, &rig.settings, rig.now_ms, slice_str(""), &found, &rig.view),
			 ERR_NOT_FOUND);
	assert_int_equal(view_link(rig.view_txn, &rig.settings, rig.now_ms, slice_of(token, 42), &found, &rig.view),
			 ERR_NOT_FOUND);
}

static void the_list_pages_from_the_newest(void **state)
{
	struct msg_job_list params = { 0 };
	struct job_view views[3];
	struct list_place place;
	size_t count;
	bool more;

	(void)state;
	for (int i = 0; i < 5; i++)
		rig_put(&rig, i % 2 ? "odd" : "even", "x");
	rig_job(&rig, &rig.answer.put.id);
	assert_int_equal(view_list_begin(&rig.settings, &params, &place, NULL), 0);
	assert_int_equal(view_list(rig.view_txn, &rig.settings, rig.now_ms, &place, views, 3, &count, &more), 0);
	assert_int_equal(count, 3);
	assert_true(more);
	assert_true(uuid_compare(&views[0].job.id, &views[1].job.id) > 0);
	assert_int_equal(view_list(rig.view_txn, &rig.settings, rig.now_ms, &place, views, 3, &count, &more), 0);
	assert_int_equal(count, 2);
	assert_false(more);
	params.has_queue = true;
	params.queue = slice_str("odd");
	view_list_begin(&rig.settings, &params, &place, NULL);
	assert_int_equal(view_list(rig.view_txn, &rig.settings, rig.now_ms, &place, views, 3, &count, &more), 0);
	assert_int_equal(count, 2);
}

static void an_aborted_batch_never_happened(void **state)
{
	struct put_item item = { .put = rig_put_of("fresh", "x") };
	struct command_put put = { .items = &item, .count = 1 };
	struct command cmd = { 0 };
	struct command *answered;
	struct store_txn *t;
	uint8_t random[32] = { 0 };
	bool parked;

	(void)state;
	rig_put(&rig, "q", "kept");
	rig_submit(&rig, &cmd, COMMAND_PUT, &put); /* fills in the callbacks */
	assert_int_equal(store_begin_write(rig.store, &t), 0);
	assert_int_equal(engine_begin(rig.engine, t, rig.now_ms, random), 0);
	uuid_next(&cmd.first_id, &cmd.first_id);
	item.put.queue = slice_str("never");
	assert_int_equal(engine_apply(rig.engine, &cmd, &parked), 0);
	assert_int_equal(engine_finish(rig.engine), 0);
	store_abort(t);
	engine_aborted(rig.engine, false, &answered);
	rig_check(&rig);
	rig_job(&rig, &cmd.first_id);
	assert_int_equal(rig.code, ERR_NOT_FOUND);
	rig_put(&rig, "never", "now");
	assert_int_equal(rig.answer.put.position, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(put_answers_with_place_and_link),	T(a_lease_of_many_gives_each_its_own_input),
		T(idempotency_keys_find_the_first_job), T(put_many_judges_each_on_its_own),
		T(a_put_keeps_all_it_was_given),	T(links_that_are_none_are_unknown),
		T(the_list_pages_from_the_newest),	T(an_aborted_batch_never_happened),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
