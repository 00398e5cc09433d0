/* The methods, as a peer sees them: what is refused at the edge, what becomes of an artifact's bytes, what is read. */
#include "tests/unit/test_net_served.h"

/* ---- puts ---- */

static void a_put_is_checked(void **state)
{
	static const char *const bad_urls[] = {
		"file:///etc/passwd",	     "https://example.test/a b",      "https://example.test/\r\nX: y",
		"https://example.test/\x7f", "https://example.test/\xc2\x85", "https://example.test/\xc2\xa0"
	};
	char *payload = calloc(1, 2000);
	struct msg_job_put put = put_of("q", payload, 1000);

	(void)state;
	rig.options.limits.payload = 1000;
	rig.settings.artifact_bytes = 5000;
	serve();
	assert_int_equal(peer_call(&p, METHOD_job_put, &put, NULL), 0);
	put.payload.size = 1001;
	assert_refused(peer_call(&p, METHOD_job_put, &put, NULL), ERR_TOO_LARGE, "payload");
	put = put_of("q", payload, 1);
	put.has_delay_ms = put.has_run_at_ms = true;
	assert_refused(peer_call(&p, METHOD_job_put, &put, NULL), ERR_BAD_REQUEST, "run_at_ms");
	put = put_of("q", payload, 1);
	put.has_callback_url = true;
	put.callback_url = slice_str("file:///etc/passwd");
	assert_refused(peer_call(&p, METHOD_job_put, &put, NULL), ERR_BAD_REQUEST, "callback_url");
	for (size_t i = 0; i < ARRAY_SIZE(bad_urls); i++) {
		put.callback_url = slice_str(bad_urls[i]);
		assert_refused(peer_call(&p, METHOD_job_put, &put, NULL), ERR_BAD_REQUEST, "callback_url");
	}
	put.callback_url = slice_str("https://example.test/gr\xc3\xbc\xc3\x9f"
				     "e");
	assert_int_equal(peer_call(&p, METHOD_job_put, &put, NULL), 0);
	put.has_content_type = true;
	put.content_type = slice_str("text/html\r\nX: y");
	assert_refused(peer_call(&p, METHOD_job_put, &put, NULL), ERR_BAD_REQUEST, "content_type");
	put.has_content_type = false;
	put.callback_url = slice_str("HTTPS://example.test/hook");
	assert_int_equal(peer_call(&p, METHOD_job_put, &put, NULL), 0);
	put = put_of("no name!", payload, 1);
	assert_refused(peer_call(&p, METHOD_job_put, &put, NULL), ERR_BAD_REQUEST, "queue");
	put = put_of("..", payload, 1);
	assert_refused(peer_call(&p, METHOD_job_put, &put, NULL), ERR_BAD_REQUEST, "queue");
	free(payload);
}

static void a_large_preview_becomes_a_blob_only_if_it_is_used(void **state)
{
	char *still = calloc(1, 50000);
	struct msg_job_put put = put_of("q", "x", 1);
	struct msg_job_put_result first, second;

	(void)state;
	serve();
	put.has_preview = true;
	put.preview = (struct msg_media){ .has_content_type = true,
					  .content_type = slice_str("image/png"),
					  .has_data = true,
					  .data = slice_of(still, 50000) };
	put.has_idempotency_key = true;
	put.idempotency_key = slice_str("once");
	assert_int_equal(peer_call(&p, METHOD_job_put, &put, &first), 0);
	assert_true(first.created);
	assert_int_equal(rig_blobs(&rig), 1);
	assert_int_equal(peer_call(&p, METHOD_job_put, &put, &second), 0);
	assert_false(second.created);
	assert_true(uuid_equal(&first.id, &second.id));
	rig_await_blobs(&rig, 1);
	free(still);
	still = calloc(1, (size_t)rig.settings.artifact_bytes + 1);
	put.preview.data = slice_of(still, (size_t)rig.settings.artifact_bytes + 1);
	assert_refused(peer_call(&p, METHOD_job_put, &put, NULL), ERR_TOO_LARGE, "preview.data");
	free(still);
}

/* An array of maps, as a put_many has it, and the msgpack_object of it. */
struct jobs {
	msgpack_zone zone;
	msgpack_object object;
	struct buf bytes;
};

static void jobs_make(struct jobs *j, const struct msg_job_put *puts, size_t count)
{
	uint8_t head[] = { 0xdc, (uint8_t)(count >> 8), (uint8_t)count };
	size_t used = 0;

	buf_init(&j->bytes, 1 << 20);
	buf_append(&j->bytes, head, sizeof(head));
	for (size_t i = 0; i < count; i++)
		message_encode(&MSG_job_put, &puts[i], &j->bytes);
	msgpack_zone_init(&j->zone, 8192);
	assert_int_equal(msgpack_unpack((char *)j->bytes.data, j->bytes.size, &used, &j->zone, &j->object),
			 MSGPACK_UNPACK_SUCCESS);
}

static void jobs_done(struct jobs *j)
{
	msgpack_zone_destroy(&j->zone);
	buf_done(&j->bytes);
}

static void each_of_many_puts_stands_on_its_own(void **state)
{
	char *still = calloc(1, 5000);
	struct msg_job_put puts[4] = { put_of("q", "a", 1), put_of("q", "b", 1), put_of("q", "c", 1), { 0 } };
	struct msg_job_put_many many = { .has_jobs = true };
	struct msg_job_put_many_result result;
	struct jobs jobs;

	(void)state;
	serve();
	puts[0].has_preview = true;
	puts[0].preview = (struct msg_media){ .has_content_type = true,
					      .content_type = slice_str("image/png"),
					      .has_data = true,
					      .data = slice_of(still, 5000) };
	puts[1].has_callback_url = true;
	puts[1].callback_url = slice_str("nowhere");
	jobs_make(&jobs, puts, 4);
	many.jobs = &jobs.object;
	assert_int_equal(peer_call(&p, METHOD_job_put_many, &many, &result), 0);
	assert_int_equal(result.jobs_count, 4);
	assert_true(result.jobs[0].has_id && !result.jobs[0].has_error);
	assert_true(slice_is(result.jobs[1].error.field, "callback_url"));
	assert_true(result.jobs[2].has_id);
	assert_true(slice_is(result.jobs[3].error.field, "queue"));
	assert_int_equal(rig_blobs(&rig), 1);
	jobs_done(&jobs);
	free(still);
}

static void a_batch_has_its_limit(void **state)
{
	struct msg_job_put_many many = { .has_jobs = true };
	struct msg_job_put_many_result result;
	struct msg_job_put *puts = calloc(1001, sizeof(*puts));
	struct jobs jobs;

	(void)state;
	serve();
	for (size_t i = 0; i < 1001; i++)
		puts[i] = put_of("q", "x", 1);
	jobs_make(&jobs, puts, 1001);
	many.jobs = &jobs.object;
	assert_refused(peer_call(&p, METHOD_job_put_many, &many, NULL), ERR_TOO_LARGE, "jobs");
	jobs.object.via.array.size = 1000;
	assert_int_equal(peer_call(&p, METHOD_job_put_many, &many, &result), 0);
	assert_int_equal(result.jobs_count, 1000);
	jobs.object.via.array.size = 0;
	assert_int_equal(peer_call(&p, METHOD_job_put_many, &many, &result), 0);
	assert_int_equal(result.jobs_count, 0);
	jobs.object.type = MSGPACK_OBJECT_NIL + 1; /* a boolean */
	assert_refused(peer_call(&p, METHOD_job_put_many, &many, NULL), ERR_BAD_REQUEST, "jobs");
	jobs_done(&jobs);
	free(puts);
}

/* ---- completions ---- */

static void a_completion_is_one_or_many_and_not_both(void **state)
{
	struct msg_job_complete none = { 0 }, both = { .has_id = true, .has_lease = true, .has_jobs = true };
	struct msg_complete_item items[2];
	struct msg_job_complete many = { .has_jobs = true, .jobs = items, .jobs_count = 2 };
	struct msg_job_complete_result result;
	char *video = calloc(1, 30000);
	struct uuid id;
	struct token lease;

	(void)state;
	serve();
	assert_refused(peer_call(&p, METHOD_job_complete, &none, NULL), ERR_BAD_REQUEST, "id");
	none.has_id = true;
	assert_refused(peer_call(&p, METHOD_job_complete, &none, NULL), ERR_BAD_REQUEST, "lease");
	assert_refused(peer_call(&p, METHOD_job_complete, &both, NULL), ERR_BAD_REQUEST, "jobs");

	lease = peer_take(&p, "q", &id);
	for (size_t i = 0; i < 2; i++)
		items[i] = (struct msg_complete_item){
			.has_id = true,
			.id = id,
			.has_lease = true,
			.lease = lease,
			.has_result = true,
			.result = { .has_content_type = true,
				    .content_type = slice_str("video/mp4"),
				    .has_data = true,
				    .data = slice_of(video, 30000) },
		};
	/* The second is stale when its turn comes: its blob is removed. */
	assert_int_equal(peer_call(&p, METHOD_job_complete, &many, &result), 0);
	assert_int_equal(result.jobs_count, 2);
	assert_int_equal(result.jobs[0].state, JOB_SUCCEEDED);
	assert_true(slice_is(result.jobs[1].error.code, "lease_lost"));
	rig_await_blobs(&rig, 1);
	free(video);
}

static void a_result_may_not_be_larger_than_an_artifact(void **state)
{
	char *video = calloc(1, 3000);
	struct msg_job_complete done = {
		.has_id = true,
		.has_lease = true,
		.has_result = true,
		.result = { .has_content_type = true,
			    .content_type = slice_str("video/mp4"),
			    .has_data = true,
			    .data = slice_of(video, 3000) },
	};

	(void)state;
	rig.settings.artifact_bytes = 2999;
	serve();
	done.lease = peer_take(&p, "q", &done.id);
	assert_refused(peer_call(&p, METHOD_job_complete, &done, NULL), ERR_TOO_LARGE, "result.data");
	done.result.data.size = 2999;
	assert_int_equal(peer_call(&p, METHOD_job_complete, &done, NULL), 0);
	free(video);
}

/* The plain ones: decoded, handed on, answered. */
static void a_worker_extends_checkpoints_fails_and_releases(void **state)
{
	struct msg_extend_item item = { .has_id = true, .has_lease = true };
	struct msg_job_extend extend = { .has_leases = true, .leases = &item, .leases_count = 1 };
	struct msg_job_extend_result extended = { 0 };
	struct msg_job_checkpoint checkpoint = {
		.has_id = true, .has_lease = true, .has_data = true, .data = slice_str("call-7")
	};
	struct msg_job_fail fail = { .has_id = true,
				     .has_lease = true,
				     .has_kind = true,
				     .kind = FAIL_REJECTED,
				     .has_message = true,
				     .message = slice_str("no face") };
	struct msg_job_fail_result failed;
	struct msg_job_release release = { .has_id = true, .has_lease = true };
	struct msg_job_release_result released;
	struct uuid id;
	struct token lease;

	(void)state;
	serve();
	lease = peer_take(&p, "q", &id);
	item.id = checkpoint.id = fail.id = id;
	item.lease = checkpoint.lease = fail.lease = lease;
	assert_int_equal(peer_call(&p, METHOD_job_extend, &extend, &extended), 0);
	assert_int_equal(extended.leases_count, 1);
	assert_true(extended.leases && extended.leases[0].status == EXTEND_OK);
	assert_int_equal(peer_call(&p, METHOD_job_checkpoint, &checkpoint, NULL), 0);
	assert_int_equal(peer_call(&p, METHOD_job_fail, &fail, &failed), 0);
	assert_int_equal(failed.state, JOB_DEAD);
	assert_int_equal(peer_call(&p, METHOD_job_fail, &fail, NULL), ERR_LEASE_LOST);
	release.lease = peer_take(&p, "q", &release.id);
	assert_int_equal(peer_call(&p, METHOD_job_release, &release, &released), 0);
	assert_int_equal(released.state, JOB_READY);
}

/* ---- reads ---- */

static void jobs_are_read(void **state)
{
	struct msg_job_put put = put_of("q", "hello", 5);
	struct msg_job_put_result stored;
	struct msg_job_id id = { .has_id = true };
	struct msg_job_payload_result payload;
	struct msg_job job;

	(void)state;
	serve();
	assert_int_equal(peer_call(&p, METHOD_job_get, &id, NULL), ERR_NOT_FOUND);
	assert_string_equal(p.info.message, "there is no such job");
	assert_int_equal(peer_call(&p, METHOD_job_payload, &id, NULL), ERR_NOT_FOUND);
	assert_int_equal(peer_call(&p, METHOD_job_put, &put, &stored), 0);
	id.id = stored.id;
	assert_int_equal(peer_call(&p, METHOD_job_get, &id, &job), 0);
	assert_int_equal(job.state, JOB_READY);
	assert_int_equal(job.payload_size, 5);
	assert_int_equal(peer_call(&p, METHOD_job_payload, &id, &payload), 0);
	assert_true(slice_is(payload.data, "hello"));
}

/* Puts count jobs with as much metadata as goes. */
static void put_wide(size_t count)
{
	static char value[4096];
	struct pair pairs[20];
	char keys[20][8];
	struct msg_job_put put = put_of("wide", "x", 1);

	memset(value, 'v', sizeof(value));
	for (size_t i = 0; i < 20; i++) {
		snprintf(keys[i], sizeof(keys[i]), "k%zu", i);
		pairs[i] = (struct pair){ slice_str(keys[i]), slice_of(value, sizeof(value)) };
	}
	put.has_metadata = true;
	put.metadata = pairs;
	put.metadata_count = 20;
	for (size_t i = 0; i < count; i++)
		assert_int_equal(peer_call(&p, METHOD_job_put, &put, NULL), 0);
}

/* A page that would not fit a message is given in pieces, and all together are everything once. */
static void a_list_comes_in_pages_that_fit(void **state)
{
	struct msg_job_list list = { .has_limit = true, .limit = 50 };
	struct msg_job_list_result page;
	char cursor[64];
	size_t seen = 0, pages = 0;

	(void)state;
	rig.options.limits.message = 400000;
	serve();
	put_wide(30);
	do {
		assert_int_equal(peer_call(&p, METHOD_job_list, &list, &page), 0);
		seen += page.jobs_count;
		pages++;
		list.has_cursor = page.has_cursor;
		snprintf(cursor, sizeof(cursor), "%.*s", SLICE_FMT(page.cursor));
		list.cursor = slice_str(cursor);
	} while (page.has_cursor);
	assert_int_equal(seen, 30);
	assert_true(pages > 1);
	list.has_cursor = true;
	list.cursor = slice_str("not mine");
	assert_int_equal(peer_call(&p, METHOD_job_list, &list, NULL), ERR_BAD_REQUEST);
}

/* A reply that cannot be told in one message is an error, and the connection goes on. */
static void what_does_not_fit_a_message_is_an_error(void **state)
{
	struct msg_job_put put = put_of("q", "x", 1);
	struct msg_job_put_result stored;
	struct msg_job_id id = { .has_id = true };
	struct msg_job_list list = { 0 };
	char text[512];

	(void)state;
	/* What is stored with a job fits; its record has more to say. */
	rig.options.limits.message = 1000;
	serve();
	memset(text, 't', sizeof(text));
	put.has_title = true;
	put.title = slice_of(text, sizeof(text));
	put.has_content_type = true;
	put.content_type = slice_of(text, 255);
	assert_int_equal(peer_call(&p, METHOD_job_put, &put, &stored), 0);
	id.id = stored.id;
	assert_int_equal(peer_call(&p, METHOD_job_get, &id, NULL), ERR_TOO_LARGE);
	assert_int_equal(peer_call(&p, METHOD_job_list, &list, NULL), ERR_TOO_LARGE);
	assert_int_equal(peer_call(&p, METHOD_job_payload, &id, NULL), 0);
}

static void queues_and_the_server_are_read(void **state)
{
	struct msg_empty nothing = { 0 };
	struct msg_queue_list_result queues;
	struct msg_server_stats_result stats;
	struct uuid id;

	(void)state;
	serve();
	peer_take(&p, "a", &id);
	peer_put(&p, "b");
	assert_int_equal(peer_call(&p, METHOD_queue_list, &nothing, &queues), 0);
	assert_int_equal(queues.queues_count, 2);
	assert_true(slice_is(queues.queues[0].queue, "a"));
	assert_int_equal(queues.queues[0].counts.running, 1);
	stats = peer_stats(&p);
	assert_true(slice_is(stats.version, "1.2.3"));
	assert_int_equal(stats.connections, 1);
	assert_int_equal(stats.queues, 2);
	assert_int_equal(stats.put_total, 2);
	assert_int_equal(stats.jobs.running, 1);
	assert_true(stats.store.commits > 0 && stats.store.commands >= 3 && stats.store.used_bytes > 0);
}

/* ---- artifacts ---- */

static struct msg_artifact_put artifact_of(const struct uuid *id, const struct token *lease, const char *name,
					   const void *data, size_t size)
{
	return (struct msg_artifact_put){
		.has_id = true,
		.id = *id,
		.has_lease = lease != NULL,
		.lease = lease ? *lease : (struct token){ { 0 } },
		.has_name = true,
		.name = slice_str(name),
		.has_content_type = true,
		.content_type = slice_str("text/plain"),
		.has_data = true,
		.data = slice_of(data, size),
	};
}

static void check_part(const struct uuid *id, const char *name, int64_t offset, int64_t length, const char *bytes,
		       size_t size, size_t expected)
{
	struct msg_artifact_read read = { .has_id = true,
					  .id = *id,
					  .has_name = true,
					  .name = slice_str(name),
					  .has_offset = true,
					  .offset = offset,
					  .has_length = length >= 0,
					  .length = length };
	struct msg_artifact_read_result part;

	assert_int_equal(peer_call(&p, METHOD_artifact_read, &read, &part), 0);
	assert_true(slice_is(part.content_type, "text/plain"));
	assert_int_equal(part.size, size);
	assert_int_equal(part.data.size, expected);
	assert_true(part.offset <= (int64_t)size);
	assert_memory_equal(part.data.data, bytes + part.offset, expected);
}

static void artifacts_are_read_in_parts(void **state)
{
	enum { LARGE = 200000, SMALL = 1000 };
	struct msg_artifact_put put;
	struct msg_artifact_read missing = { .has_id = true, .has_name = true, .name = slice_str("none") };
	struct uuid id;
	struct token lease;
	char *bytes = malloc(LARGE);

	(void)state;
	for (size_t i = 0; i < LARGE; i++)
		bytes[i] = (char)(i * 7 + i / 251);
	rig.options.limits.message = 150000;
	serve();
	lease = peer_take(&p, "q", &id);
	put = artifact_of(&id, &lease, "small", bytes, SMALL);
	assert_int_equal(peer_call(&p, METHOD_artifact_put, &put, NULL), 0);
	put = artifact_of(&id, &lease, "large", bytes, 120000);
	assert_int_equal(peer_call(&p, METHOD_artifact_put, &put, NULL), 0);
	assert_int_equal(rig_blobs(&rig), 1);
	check_part(&id, "small", 0, -1, bytes, SMALL, SMALL);
	check_part(&id, "small", 990, 100, bytes, SMALL, 10);
	check_part(&id, "small", 5000, 100, bytes, SMALL, 0);
	check_part(&id, "large", 0, -1, bytes, 120000, 120000);
	check_part(&id, "large", 119999, -1, bytes, 120000, 1);
	check_part(&id, "large", 5, 0, bytes, 120000, 0);
	check_part(&id, "large", INT64_MAX, INT64_MAX, bytes, 120000, 0);
	check_part(&id, "large", 50000, INT64_MAX, bytes, 120000, 70000);
	missing.id = id;
	assert_int_equal(peer_call(&p, METHOD_artifact_read, &missing, NULL), ERR_NOT_FOUND);
	put = artifact_of(&id, NULL, "late", bytes, 10);
	assert_true(peer_call(&p, METHOD_artifact_put, &put, NULL) < 0);
	free(bytes);
}

static void a_seventeenth_artifact_says_which_limit(void **state)
{
	struct msg_artifact_put put;
	struct token lease;
	struct uuid id;
	char name[16];

	(void)state;
	serve();
	lease = peer_take(&p, "q", &id);
	for (int i = 0; i < 16; i++) {
		snprintf(name, sizeof(name), "a%d", i);
		put = artifact_of(&id, &lease, name, "x", 1);
		assert_int_equal(peer_call(&p, METHOD_artifact_put, &put, NULL), 0);
	}
	put = artifact_of(&id, &lease, "one-more", "x", 1);
	assert_refused(peer_call(&p, METHOD_artifact_put, &put, NULL), ERR_TOO_LARGE, "name");
	assert_string_equal(p.info.message, "a job has at most 16 artifacts");
	put = artifact_of(&id, &lease, "a5", "y", 1);
	assert_int_equal(peer_call(&p, METHOD_artifact_put, &put, NULL), 0);
	put = artifact_of(&id, &lease, "..", "y", 1);
	assert_refused(peer_call(&p, METHOD_artifact_put, &put, NULL), ERR_BAD_REQUEST, "name");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_put_is_checked),
		TEST(a_large_preview_becomes_a_blob_only_if_it_is_used),
		TEST(each_of_many_puts_stands_on_its_own),
		TEST(a_batch_has_its_limit),
		TEST(a_completion_is_one_or_many_and_not_both),
		TEST(a_result_may_not_be_larger_than_an_artifact),
		TEST(a_worker_extends_checkpoints_fails_and_releases),
		TEST(jobs_are_read),
		TEST(a_list_comes_in_pages_that_fit),
		TEST(what_does_not_fit_a_message_is_an_error),
		TEST(queues_and_the_server_are_read),
		TEST(artifacts_are_read_in_parts),
		TEST(a_seventeenth_artifact_says_which_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
