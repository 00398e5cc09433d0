/* Every method of producers and workers once over the blocking calls: what is asked for arrives at the broker, what it
 * answers arrives here. Those of operators: test_client_admin.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <msgpack.h>

#include "client/raincheck.h"
#include "proto/rpc.h"
#include "tests/harness/client_play.h"

#define ID    "0190a5c4-7d3e-7abc-8def-0123456789ab"
#define LEASE "000102030405060708090a0b0c0d0e0f"
#define SHA   "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static struct uuid the_id(void)
{
	struct uuid u;

	uuid_parse(slice_str(ID), &u);
	return u;
}

static const struct token the_lease = { { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 } };

static bool is_attempt(struct fake_broker *b, const struct uuid *id, const struct token *lease)
{
	struct uuid u = the_id();

	return EXPECT(b, uuid_equal(id, &u)) && EXPECT(b, memcmp(lease, &the_lease, sizeof(the_lease)) == 0);
}

/* ---- putting ---- */

static void put_script(struct fake_broker *b, void *arg)
{
	struct msg_job_put_result result = { .has_id = true,
					     .id = the_id(),
					     .has_created = true,
					     .created = true,
					     .has_state = true,
					     .state = JOB_READY,
					     .has_link = true,
					     .link = slice_str("http://x/r/abc"),
					     .has_position = true,
					     .position = 0,
					     .has_eta_ms = true,
					     .eta_ms = {
						     .has_low = true, .low = 1200, .has_high = true, .high = 3400 } };
	struct fake_request r;
	const struct msg_job_put *p;

	(void)arg;
	if (!fake_greet(b, 100) || !fake_next(b, METHOD_job_put, &r))
		return;
	p = r.put;
	if (IS(b, p->queue, "q") && IS(b, p->payload, "pay") && IS(b, p->content_type, "text/plain") &&
	    EXPECT(b, p->has_priority && p->priority == 0) && EXPECT(b, p->delay_ms == 7) &&
	    EXPECT(b, p->backoff.has_base_ms && p->backoff.base_ms == 0 && !p->backoff.has_jitter) &&
	    IS(b, p->idempotency_key, "k") && IS(b, p->preview.content_type, "image/png") &&
	    IS(b, p->preview.data, "PNG") && EXPECT(b, p->metadata_count == 1) && IS(b, p->metadata[0].key, "m") &&
	    IS(b, p->metadata[0].value, "v") &&
	    EXPECT(b, !p->has_title && !p->has_deadline_ms && !p->has_result_ttl_ms))
		fake_reply(b, &r, &result);
}

static void put_call(struct raincheck *rc)
{
	static const struct raincheck_pair metadata[] = { { "m", "v" } };
	struct raincheck_put put = {
		.queue = "q",
		.payload = { "pay", 3 },
		.content_type = "text/plain",
		.has_priority = true,
		.delay_ms = 7,
		.backoff = { .has_base_ms = true },
		.idempotency_key = "k",
		.preview = { "image/png", { "PNG", 3 } },
		.metadata = metadata,
		.metadata_count = 1,
	};
	struct raincheck_put_result *result = NULL;

	assert_int_equal(raincheck_put(rc, &put, &result), 0);
	assert_string_equal(result->id, ID);
	assert_true(result->created);
	assert_int_equal(result->state, RAINCHECK_JOB_READY);
	assert_string_equal(result->link, "http://x/r/abc");
	assert_true(result->has_position && result->position == 0);
	assert_true(result->has_eta && result->eta.low_ms == 1200 && result->eta.high_ms == 3400);
	assert_null(result->error);
	raincheck_free(result);
	assert_string_equal(raincheck_server(rc)->server, "fake");
	assert_int_equal(raincheck_server(rc)->role, RAINCHECK_ROLE_ADMIN);
	assert_int_equal(raincheck_server(rc)->max_batch, 1000);
}

static void test_put(void **state)
{
	(void)state;
	client_play(put_script, put_call);
}

static void put_many_script(struct fake_broker *b, void *arg)
{
	struct msg_job_put_result items[2] = {
		{ .has_id = true, .id = the_id(), .has_created = true, .has_state = true, .state = JOB_SCHEDULED },
		{ .has_error = true,
		  .error = { .has_code = true,
			     .code = slice_str("queue_full"),
			     .has_message = true,
			     .message = slice_str("no room"),
			     .has_field = true,
			     .field = slice_str("queue"),
			     .has_retry_after_ms = true,
			     .retry_after_ms = 99 } },
	};
	struct msg_job_put_many_result result = { .has_jobs = true, .jobs = items, .jobs_count = 2 };
	struct fake_request r;

	(void)arg;
	if (fake_greet(b, 100) && fake_next(b, METHOD_job_put_many, &r) &&
	    EXPECT(b, r.put_many->jobs->type == MSGPACK_OBJECT_ARRAY && r.put_many->jobs->via.array.size == 2))
		fake_reply(b, &r, &result);
}

static void put_many_call(struct raincheck *rc)
{
	struct raincheck_put puts[2] = { { .queue = "a" }, { .queue = "b" } };
	struct raincheck_put_many_result *result = NULL;

	assert_int_equal(raincheck_put_many(rc, puts, 0, &result), RAINCHECK_EBAD_REQUEST);
	assert_int_equal(raincheck_put_many(rc, puts, 1001, &result), RAINCHECK_ETOO_LARGE);
	assert_int_equal(raincheck_put_many(rc, puts, 2, &result), 0);
	assert_int_equal(result->job_count, 2);
	assert_null(result->jobs[0].error);
	assert_string_equal(result->jobs[0].id, ID);
	assert_int_equal(result->jobs[1].error->code, RAINCHECK_EQUEUE_FULL);
	assert_string_equal(result->jobs[1].error->field, "queue");
	assert_string_equal(result->jobs[1].error->message, "no room");
	assert_int_equal(result->jobs[1].error->retry_after_ms, 99);
	raincheck_free(result);
}

static void test_put_many(void **state)
{
	(void)state;
	client_play(put_many_script, put_many_call);
}

/* ---- looking ---- */

static void look_script(struct fake_broker *b, void *arg)
{
	struct uuid id = the_id();
	struct msg_job job = fake_job(&id, JOB_RUNNING);
	struct msg_job_payload_result payload = { .has_data = true, .data = slice_of("a\0b", 3) };
	struct msg_job_list_result list = {
		.has_jobs = true, .jobs = &job, .jobs_count = 1, .has_cursor = true, .cursor = slice_str("c2")
	};
	struct msg_artifact artifact = { .has_name = true,
					 .name = slice_str("result"),
					 .has_content_type = true,
					 .content_type = slice_str("video/mp4"),
					 .has_size = true,
					 .size = 10,
					 .has_sha256 = true,
					 .sha256 = slice_str(SHA) };
	struct msg_ping_result pong = { .has_now_ms = true, .now_ms = 42 };
	struct fake_request r;

	(void)arg;
	if (!fake_greet(b, 100) || !fake_next(b, METHOD_session_ping, &r) || !fake_reply(b, &r, &pong))
		return;
	job.has_progress = true;
	job.has_error = true;
	job.error = (struct msg_job_error){ .has_kind = true,
					    .kind = FAIL_UNAVAILABLE,
					    .has_message = true,
					    .message = slice_str("503"),
					    .has_at_ms = true,
					    .at_ms = 5 };
	job.has_callback = true;
	job.callback = (struct msg_callback){ .has_url = true, .url = slice_str("https://c") };
	if (!fake_next(b, METHOD_job_get, &r) || !fake_reply(b, &r, &job))
		return;
	/* A wait in stretches: the first is over before the job is. */
	if (!fake_next(b, METHOD_job_wait, &r) || !EXPECT(b, r.wait->wait_ms == 60000) || !fake_reply(b, &r, &job))
		return;
	job.state = JOB_SUCCEEDED;
	job.artifacts = &artifact;
	job.artifacts_count = 1;
	if (!fake_next(b, METHOD_job_wait, &r) || !fake_reply(b, &r, &job))
		return;
	if (!fake_next(b, METHOD_job_payload, &r) || !fake_reply(b, &r, &payload))
		return;
	if (fake_next(b, METHOD_job_list, &r) && IS(b, r.list->queue, "q") && IS(b, r.list->cursor, "c1") &&
	    EXPECT(b, r.list->has_state && r.list->state == JOB_SCHEDULED && r.list->limit == 3))
		fake_reply(b, &r, &list);
}

static void look_call(struct raincheck *rc)
{
	struct raincheck_list list = { .queue = "q", .has_state = true, .limit = 3, .cursor = "c1" };
	struct raincheck_list_result *page = NULL;
	struct raincheck_payload *payload = NULL;
	struct raincheck_ping_result *pong = NULL;
	struct raincheck_job *job = NULL;

	assert_int_equal(raincheck_ping(rc, &pong), 0);
	assert_int_equal(pong->now_ms, 42);
	raincheck_free(pong);
	assert_int_equal(raincheck_get(rc, "not an id", &job), RAINCHECK_EBAD_REQUEST);
	assert_string_equal(raincheck_last_error(rc)->field, "id");
	assert_int_equal(raincheck_get(rc, ID, &job), 0);
	assert_string_equal(job->queue, "q");
	assert_int_equal(job->state, RAINCHECK_JOB_RUNNING);
	assert_true(job->has_progress && !job->has_eta && job->eta.low_ms == 0 && job->eta.high_ms == 0 &&
		    !job->title && !job->link);
	assert_int_equal(job->error->kind, RAINCHECK_FAIL_UNAVAILABLE);
	assert_string_equal(job->error->message, "503");
	assert_string_equal(job->callback->url, "https://c");
	assert_null(job->callback->state);
	raincheck_free(job);
	assert_int_equal(raincheck_wait(rc, ID, -1, &job), 0);
	assert_int_equal(job->state, RAINCHECK_JOB_SUCCEEDED);
	assert_int_equal(job->artifact_count, 1);
	assert_string_equal(job->artifacts[0].sha256, SHA);
	raincheck_free(job);
	assert_int_equal(raincheck_payload(rc, ID, &payload), 0);
	assert_int_equal(payload->data.size, 3);
	assert_memory_equal(payload->data.data, "a\0b", 3);
	assert_null(payload->content_type);
	raincheck_free(payload);
	assert_int_equal(raincheck_list(rc, &list, &page), 0);
	assert_int_equal(page->job_count, 1);
	assert_string_equal(page->jobs[0].id, ID);
	assert_string_equal(page->cursor, "c2");
	raincheck_free(page);
	raincheck_free(NULL);
}

static void test_look(void **state)
{
	(void)state;
	client_play(look_script, look_call);
}

/* ---- working ---- */

static bool lease_step(struct fake_broker *b, struct fake_request *r)
{
	struct msg_leased_job job = { .has_id = true,
				      .id = the_id(),
				      .has_lease = true,
				      .lease = the_lease,
				      .has_queue = true,
				      .queue = slice_str("q2"),
				      .has_attempt = true,
				      .attempt = 2,
				      .has_payload = true,
				      .payload = slice_str("in"),
				      .has_priority = true,
				      .priority = 9,
				      .has_lease_expires_at_ms = true,
				      .lease_expires_at_ms = 77,
				      .has_checkpoint = true,
				      .checkpoint = slice_str("cp"),
				      .has_metadata = true,
				      .has_hook_url = true,
				      .hook_url = slice_str("http://h") };
	struct msg_job_lease_result result = { .has_jobs = true, .jobs = &job, .jobs_count = 1 };

	return fake_next(b, METHOD_job_lease, r) && EXPECT(b, r->lease->queues_count == 2) &&
	       IS(b, r->lease->queues[1], "q2") && EXPECT(b, r->lease->max == 5 && r->lease->wait_ms == 1000) &&
	       fake_reply(b, r, &result);
}

static bool extend_step(struct fake_broker *b, struct fake_request *r)
{
	struct msg_extend_item_result item = { .has_id = true, .id = the_id(), .has_status = true };
	struct msg_job_extend_result result = { .has_leases = true, .leases = &item, .leases_count = 1 };

	item.status = EXTEND_CANCEL;
	return fake_next(b, METHOD_job_extend, r) &&
	       is_attempt(b, &r->extend->leases[0].id, &r->extend->leases[0].lease) &&
	       EXPECT(b, r->extend->leases[0].has_progress && r->extend->leases[0].progress == 0) &&
	       IS(b, r->extend->leases[0].note, "n") && fake_reply(b, r, &result);
}

static bool complete_step(struct fake_broker *b, struct fake_request *r)
{
	struct msg_complete_item_result items[2] = {
		{ .has_id = true, .id = the_id(), .has_state = true, .state = JOB_SUCCEEDED },
		{ .has_error = true,
		  .error = { .has_code = true, .code = slice_str("lease_lost"), .has_message = true } },
	};
	struct msg_job_complete_result one = { .has_state = true, .state = JOB_SUCCEEDED };
	struct msg_job_complete_result many = { .has_jobs = true, .jobs = items, .jobs_count = 2 };

	return fake_next(b, METHOD_job_complete, r) && is_attempt(b, &r->complete->id, &r->complete->lease) &&
	       IS(b, r->complete->result.data, "VID") && EXPECT(b, !r->complete->has_jobs) && fake_reply(b, r, &one) &&
	       fake_next(b, METHOD_job_complete, r) &&
	       EXPECT(b, r->complete->jobs_count == 2 && !r->complete->has_id) &&
	       EXPECT(b, !r->complete->jobs[1].has_result) && fake_reply(b, r, &many);
}

static void work_script(struct fake_broker *b, void *arg)
{
	struct msg_job_fail_result failed = { .has_state = true,
					      .state = JOB_SCHEDULED,
					      .has_next_attempt_at_ms = true };
	struct msg_job_release_result released = { .has_state = true, .state = JOB_READY };
	struct fake_request r;
	struct msg_empty nothing = { 0 };

	(void)arg;
	failed.next_attempt_at_ms = 1234;
	if (fake_greet(b, 100) && lease_step(b, &r) && extend_step(b, &r) && fake_next(b, METHOD_job_checkpoint, &r) &&
	    is_attempt(b, &r.checkpoint->id, &r.checkpoint->lease) && IS(b, r.checkpoint->data, "state") &&
	    fake_reply(b, &r, &nothing) && complete_step(b, &r) && fake_next(b, METHOD_job_fail, &r) &&
	    EXPECT(b, r.fail->kind == FAIL_REJECTED) && IS(b, r.fail->message, "no") && fake_reply(b, &r, &failed) &&
	    fake_next(b, METHOD_job_release, &r) && EXPECT(b, r.release->delay_ms == 10))
		fake_reply(b, &r, &released);
}

static void lease_and_extend(struct raincheck *rc)
{
	static const char *const queues[] = { "q", "q2" };
	struct raincheck_lease lease = { .queues = queues, .queue_count = 2, .max = 5, .wait_ms = 1000 };
	struct raincheck_extend_item item = { .id = ID, .lease = LEASE, .has_progress = true, .note = "n" };
	struct raincheck_extend extend = { .leases = &item, .lease_count = 1 };
	struct raincheck_extend_result *extended = NULL;
	struct raincheck_lease_result *leased = NULL;

	assert_int_equal(raincheck_lease(rc, &lease, &leased), 0);
	assert_int_equal(leased->job_count, 1);
	assert_string_equal(leased->jobs[0].lease, LEASE);
	assert_string_equal(leased->jobs[0].hook_url, "http://h");
	assert_memory_equal(leased->jobs[0].checkpoint.data, "cp", 2);
	assert_true(leased->jobs[0].has_checkpoint);
	raincheck_free(leased);
	lease.wait_ms = RAINCHECK_MAX_WAIT_MS + 1;
	assert_int_equal(raincheck_lease(rc, &lease, &leased), RAINCHECK_EBAD_REQUEST);
	assert_int_equal(raincheck_extend(rc, &extend, &extended), 0);
	assert_int_equal(extended->leases[0].status, RAINCHECK_EXTEND_CANCEL);
	raincheck_free(extended);
	item.lease = "short";
	assert_int_equal(raincheck_extend(rc, &extend, &extended), RAINCHECK_EBAD_REQUEST);
	assert_string_equal(raincheck_last_error(rc)->field, "leases[0].lease");
}

static void work_call(struct raincheck *rc)
{
	struct raincheck_checkpoint checkpoint = { ID, LEASE, { "state", 5 } };
	struct raincheck_complete completes[2] = {
		{ .id = ID, .lease = LEASE, .result = { "video/mp4", { "VID", 3 } }, .call_ms = 4 },
		{ .id = ID, .lease = LEASE },
	};
	struct raincheck_complete_result *completed = NULL;
	struct raincheck_fail fail = { .id = ID, .lease = LEASE, .kind = RAINCHECK_FAIL_REJECTED, .message = "no" };
	struct raincheck_fail_result *failed = NULL;
	struct raincheck_release release = { .id = ID, .lease = LEASE, .delay_ms = 10 };
	struct raincheck_release_result *released = NULL;

	lease_and_extend(rc);
	assert_int_equal(raincheck_checkpoint(rc, &checkpoint), 0);
	assert_int_equal(raincheck_complete(rc, &completes[0], &completed), 0);
	assert_int_equal(completed->state, RAINCHECK_JOB_SUCCEEDED);
	assert_int_equal(completed->job_count, 0);
	raincheck_free(completed);
	assert_int_equal(raincheck_complete_many(rc, completes, 2, &completed), 0);
	assert_int_equal(completed->job_count, 2);
	assert_string_equal(completed->jobs[0].id, ID);
	assert_int_equal(completed->jobs[1].error->code, RAINCHECK_ELEASE_LOST);
	raincheck_free(completed);
	assert_int_equal(raincheck_fail(rc, &fail, &failed), 0);
	assert_int_equal(failed->next_attempt_at_ms, 1234);
	raincheck_free(failed);
	fail.kind = (enum raincheck_failure)17;
	assert_int_equal(raincheck_fail(rc, &fail, &failed), RAINCHECK_EBAD_REQUEST);
	assert_int_equal(raincheck_release(rc, &release, &released), 0);
	assert_int_equal(released->state, RAINCHECK_JOB_READY);
	raincheck_free(released);
}

static void test_work(void **state)
{
	(void)state;
	client_play(work_script, work_call);
}

/* ---- artifacts ---- */

static void artifact_script(struct fake_broker *b, void *arg)
{
	struct msg_artifact_stored stored = {
		.has_size = true, .size = 3, .has_sha256 = true, .sha256 = slice_str(SHA)
	};
	struct msg_artifact_begin_result begun = { .has_upload = true, .upload = the_lease };
	struct msg_artifact_write_result written = { .has_offset = true, .offset = 3 };
	struct msg_artifact_read_result data = { .has_content_type = true,
						 .content_type = slice_str("image/png"),
						 .has_size = true,
						 .size = 3,
						 .has_offset = true,
						 .offset = 1,
						 .has_data = true,
						 .data = slice_str("NG") };
	struct fake_request r;

	(void)arg;
	if (fake_greet(b, 100) && fake_next(b, METHOD_artifact_put, &r) && EXPECT(b, !r.artifact_put->has_lease) &&
	    IS(b, r.artifact_put->name, "preview") && fake_reply(b, &r, &stored) &&
	    fake_next(b, METHOD_artifact_begin, &r) && EXPECT(b, r.artifact_begin->has_size) &&
	    fake_reply(b, &r, &begun) && fake_next(b, METHOD_artifact_write, &r) &&
	    EXPECT(b, r.artifact_write->offset == 0) && IS(b, r.artifact_write->data, "PNG") &&
	    fake_reply(b, &r, &written) && fake_next(b, METHOD_artifact_commit, &r) &&
	    IS(b, r.artifact_commit->sha256, SHA) && fake_reply(b, &r, &stored) &&
	    fake_next(b, METHOD_artifact_read, &r) && EXPECT(b, r.artifact_read->offset == 1))
		fake_reply(b, &r, &data);
}

static void artifact_call(struct raincheck *rc)
{
	struct raincheck_artifact_put put = { ID, NULL, "preview", "image/png", { "PNG", 3 } };
	struct raincheck_artifact_begin begin = { ID, LEASE, "result", "image/png", true, 3 };
	struct raincheck_artifact_read read = { ID, "result", 1, 0 };
	struct raincheck_artifact_data *data = NULL;
	struct raincheck_written *written = NULL;
	struct raincheck_stored *stored = NULL;
	struct raincheck_upload *upload = NULL;

	assert_int_equal(raincheck_artifact_put(rc, &put, &stored), 0);
	assert_string_equal(stored->sha256, SHA);
	raincheck_free(stored);
	assert_int_equal(raincheck_artifact_begin(rc, &begin, &upload), 0);
	assert_string_equal(upload->upload, LEASE);
	assert_int_equal(raincheck_artifact_write(
				 rc, &(struct raincheck_artifact_write){ upload->upload, 0, { "PNG", 3 } }, &written),
			 0);
	assert_int_equal(written->offset, 3);
	raincheck_free(written);
	assert_int_equal(
		raincheck_artifact_commit(rc, &(struct raincheck_artifact_commit){ upload->upload, SHA }, &stored), 0);
	assert_int_equal(stored->size, 3);
	raincheck_free(stored);
	raincheck_free(upload);
	assert_int_equal(raincheck_artifact_read(rc, &read, &data), 0);
	assert_memory_equal(data->data.data, "NG", 2);
	assert_int_equal(data->size, 3);
	raincheck_free(data);
}

static void test_artifacts(void **state)
{
	(void)state;
	client_play(artifact_script, artifact_call);
}

static void refuse_script(struct fake_broker *b, void *arg)
{
	struct fake_request r;

	(void)arg;
	if (fake_greet(b, 100) && fake_next(b, METHOD_job_get, &r))
		fake_refuse(b, &r, ERR_NOT_FOUND, "id", "no job has this id");
}

static void refuse_call(struct raincheck *rc)
{
	struct raincheck_job *job = NULL;

	assert_int_equal(raincheck_get(rc, ID, &job), RAINCHECK_ENOT_FOUND);
	assert_string_equal(raincheck_last_error(rc)->field, "id");
	assert_string_equal(raincheck_last_error(rc)->message, "no job has this id");
	assert_false(raincheck_last_error(rc)->sent);
}

static void test_refusal(void **state)
{
	(void)state;
	client_play(refuse_script, refuse_call);
}

static void test_names(void **state)
{
	(void)state;
	assert_string_equal(raincheck_error_name(RAINCHECK_EQUEUE_FULL), "queue_full");
	assert_string_equal(raincheck_error_name(0), "ok");
	assert_string_equal(raincheck_error_text(RAINCHECK_ENO_CONNECTION), "no connection to the broker");
	assert_string_equal(raincheck_job_state_name(RAINCHECK_JOB_DEAD), "dead");
	assert_string_equal(raincheck_job_state_name((enum raincheck_job_state)99), "unknown");
	assert_string_equal(raincheck_failure_name(RAINCHECK_FAIL_REJECTED), "rejected");
	assert_string_equal(raincheck_role_name(RAINCHECK_ROLE_WORKER), "worker");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_put),   cmocka_unit_test(test_put_many),	cmocka_unit_test(test_look),
		cmocka_unit_test(test_work),  cmocka_unit_test(test_artifacts), cmocka_unit_test(test_refusal),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
