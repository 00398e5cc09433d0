/* Artifacts that come in pieces. */
#include "proto/base/text.h"
#include "tests/unit/test_net_rig.h"

#define SIZE 100000

static struct net_rig rig;
static struct peer p;
static struct uuid job;
static struct token lease;
static char bytes[SIZE];

static int setup(void **state)
{
	(void)state;
	for (size_t i = 0; i < SIZE; i++)
		bytes[i] = (char)(i * 31 + i / 253);
	rig_open(&rig);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	peer_close(&p);
	rig_stop(&rig);
	return 0;
}

/* Serves, with a job that is running. */
static void serve(void)
{
	rig_serve(&rig, NULL);
	peer_open(&p, &rig);
	lease = peer_take(&p, "q", &job);
}

static struct msg_artifact_begin begin_of(const char *name)
{
	return (struct msg_artifact_begin){
		.has_id = true,
		.id = job,
		.has_lease = true,
		.lease = lease,
		.has_name = true,
		.name = slice_str(name),
		.has_content_type = true,
		.content_type = slice_str("video/mp4"),
	};
}

static struct token begin(const char *name)
{
	struct msg_artifact_begin params = begin_of(name);
	struct msg_artifact_begin_result result;

	assert_int_equal(peer_call(&p, METHOD_artifact_begin, &params, &result), 0);
	return result.upload;
}

static struct msg_artifact_write write_of(struct token upload, size_t offset, size_t size)
{
	return (struct msg_artifact_write){
		.has_upload = true,
		.upload = upload,
		.has_offset = true,
		.offset = (int64_t)offset,
		.has_data = true,
		.data = slice_of(bytes + offset, size),
	};
}

static int put_piece(struct token upload, size_t offset, size_t size)
{
	struct msg_artifact_write params = write_of(upload, offset, size);
	struct msg_artifact_write_result result;
	int rc = peer_call(&p, METHOD_artifact_write, &params, &result);

	if (rc == 0)
		assert_int_equal(result.offset, offset + size);
	return rc;
}

static int commit(struct token upload, const char *sha256)
{
	struct msg_artifact_commit params = {
		.has_upload = true,
		.upload = upload,
		.has_sha256 = sha256 != NULL,
		.sha256 = slice_str(sha256),
	};
	struct msg_artifact_stored result;

	return peer_call(&p, METHOD_artifact_commit, &params, &result);
}

static void pieces_become_an_artifact(void **state)
{
	struct msg_artifact_read read = { .has_id = true, .has_name = true, .name = slice_str("video") };
	struct msg_artifact_read_result whole;
	uint8_t hash[32];
	char hex[65] = "";
	struct token upload;
	uint64_t first = 0;

	(void)state;
	serve();
	blob_sha256(slice_of(bytes, SIZE), hash);
	hex_encode(hash, sizeof(hash), hex);
	upload = begin("video");
	/* pipelined: they are taken one after the other */
	for (size_t at = 0; at < SIZE; at += 10000) {
		struct msg_artifact_write params = write_of(upload, at, 10000);
		uint64_t id = peer_request(&p, METHOD_artifact_write, &params);

		first = first ? first : id;
	}
	for (uint64_t i = 0; i < SIZE / 10000; i++)
		assert_int_equal(peer_answer(&p, first + i, METHOD_artifact_write, NULL), 0);
	assert_int_equal(commit(upload, hex), 0);
	read.id = job;
	assert_int_equal(peer_call(&p, METHOD_artifact_read, &read, &whole), 0);
	assert_int_equal(whole.size, SIZE);
	assert_memory_equal(whole.data.data, bytes, SIZE);
	assert_int_equal(commit(upload, NULL), ERR_NOT_FOUND);
	assert_int_equal(rig_blobs(&rig), 1);
}

static void an_empty_one_is_fine(void **state)
{
	(void)state;
	serve();
	assert_int_equal(commit(begin("nothing"), NULL), 0);
}

static void a_wrong_offset_says_which_is_right(void **state)
{
	struct token upload;

	(void)state;
	serve();
	upload = begin("video");
	assert_int_equal(put_piece(upload, 0, 1000), 0);
	assert_int_equal(put_piece(upload, 0, 1000), ERR_BAD_REQUEST);
	assert_string_equal(p.info.field, "offset");
	assert_string_equal(p.info.message, "the upload has 1000 bytes: write there");
	assert_int_equal(put_piece(upload, 2000, 1000), ERR_BAD_REQUEST);
	assert_int_equal(put_piece(upload, 1000, 1000), 0);
	assert_int_equal(commit(upload, NULL), 0);
}

static void what_was_announced_must_come(void **state)
{
	struct msg_artifact_begin params;
	struct msg_artifact_begin_result result;

	(void)state;
	serve();
	params = begin_of("video");
	params.has_size = true;
	params.size = 5000;
	assert_int_equal(peer_call(&p, METHOD_artifact_begin, &params, &result), 0);
	assert_int_equal(put_piece(result.upload, 0, 4000), 0);
	assert_int_equal(commit(result.upload, NULL), ERR_CONFLICT);
	assert_string_equal(p.info.field, "size");
	assert_int_equal(put_piece(result.upload, 4000, 1000), 0);
	assert_int_equal(commit(result.upload, NULL), 0);
}

static void other_bytes_than_promised_are_thrown_away(void **state)
{
	static const char other[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
	struct token upload;

	(void)state;
	serve();
	upload = begin("video");
	assert_int_equal(put_piece(upload, 0, 4000), 0);
	assert_int_equal(commit(upload, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdeX"),
			 ERR_BAD_REQUEST);
	assert_int_equal(commit(upload, other), ERR_CONFLICT);
	assert_string_equal(p.info.field, "sha256");
	assert_int_equal(put_piece(upload, 4000, 1000), ERR_NOT_FOUND);
	rig_await_blobs(&rig, 0);
}

static void size_has_its_limit(void **state)
{
	struct msg_artifact_begin params;
	struct token upload;

	(void)state;
	rig.settings.artifact_bytes = 5000;
	serve();
	params = begin_of("video");
	params.has_size = true;
	params.size = 5001;
	assert_int_equal(peer_call(&p, METHOD_artifact_begin, &params, NULL), ERR_TOO_LARGE);
	upload = begin("video");
	assert_int_equal(put_piece(upload, 0, 5001), ERR_TOO_LARGE);
	assert_int_equal(put_piece(upload, 0, 5000), 0);
	assert_int_equal(put_piece(upload, 5000, 1), ERR_TOO_LARGE);
	assert_int_equal(commit(upload, NULL), 0);
}

static void more_than_was_announced_is_refused_at_once(void **state)
{
	struct msg_artifact_begin params;
	struct msg_artifact_begin_result result;

	(void)state;
	serve();
	params = begin_of("video");
	params.has_size = true;
	params.size = 5000;
	assert_int_equal(peer_call(&p, METHOD_artifact_begin, &params, &result), 0);
	assert_int_equal(put_piece(result.upload, 0, 4000), 0);
	assert_int_equal(put_piece(result.upload, 4000, 1001), ERR_TOO_LARGE);
	assert_string_equal(p.info.field, "data");
	assert_int_equal(put_piece(result.upload, 4000, 1000), 0);
	assert_int_equal(commit(result.upload, NULL), 0);
}

static void a_seventeenth_artifact_is_refused_before_its_bytes(void **state)
{
	struct msg_artifact_begin params;
	struct token early;
	char name[16];

	(void)state;
	serve();
	early = begin("early");
	for (int i = 0; i < 16; i++) {
		snprintf(name, sizeof(name), "a%d", i);
		assert_int_equal(commit(begin(name), NULL), 0);
	}
	params = begin_of("one-more");
	assert_int_equal(peer_call(&p, METHOD_artifact_begin, &params, NULL), ERR_TOO_LARGE);
	assert_string_equal(p.info.field, "name");
	assert_string_equal(p.info.message, "a job has at most 16 artifacts");
	/* in the place of another, always */
	assert_int_equal(commit(begin("a3"), NULL), 0);
	/* begun while there was room: only the engine can tell */
	assert_int_equal(commit(early, NULL), ERR_TOO_LARGE);
	assert_string_equal(p.info.field, "name");
	assert_string_equal(p.info.message, "a job has at most 16 artifacts");
}

static void an_upload_is_its_connections_own(void **state)
{
	struct msg_artifact_commit end = { .has_upload = true };
	struct msg_artifact_write more;
	struct token upload;
	struct peer other;

	(void)state;
	serve();
	upload = begin("video");
	peer_open(&other, &rig);
	more = write_of(upload, 0, 1000);
	assert_int_equal(peer_call(&other, METHOD_artifact_write, &more, NULL), ERR_NOT_FOUND);
	assert_string_equal(other.info.field, "upload");
	end.upload = upload;
	assert_int_equal(peer_call(&other, METHOD_artifact_commit, &end, NULL), ERR_NOT_FOUND);
	peer_close(&other);
	assert_int_equal(put_piece(upload, 0, 1000), 0);
	assert_int_equal(commit(upload, NULL), 0);
}

/* Only who has the job may add to it, when the upload begins and when it ends. */
static void a_lease_is_needed_from_begin_to_commit(void **state)
{
	struct msg_artifact_begin params;
	struct msg_job_complete done = { .has_id = true, .has_lease = true };
	struct token upload;

	(void)state;
	serve();
	params = begin_of("video");
	params.lease.bytes[3] ^= 1;
	assert_int_equal(peer_call(&p, METHOD_artifact_begin, &params, NULL), ERR_LEASE_LOST);
	params = begin_of("video");
	params.id.bytes[3] ^= 1;
	assert_int_equal(peer_call(&p, METHOD_artifact_begin, &params, NULL), ERR_NOT_FOUND);
	upload = begin("video");
	assert_int_equal(put_piece(upload, 0, 5000), 0);
	done.id = job;
	done.lease = lease;
	assert_int_equal(peer_call(&p, METHOD_job_complete, &done, NULL), 0);
	params = begin_of("late");
	assert_int_equal(peer_call(&p, METHOD_artifact_begin, &params, NULL), ERR_LEASE_LOST);
	assert_int_equal(commit(upload, NULL), ERR_LEASE_LOST);
	rig_await_blobs(&rig, 0);
}

static void what_follows_a_commit_finds_no_upload(void **state)
{
	struct msg_artifact_commit end = { .has_upload = true };
	struct msg_artifact_write more;
	uint64_t first;

	(void)state;
	serve();
	end.upload = begin("video");
	more = write_of(end.upload, 0, 1000);
	first = peer_request(&p, METHOD_artifact_write, &more);
	peer_request(&p, METHOD_artifact_commit, &end);
	peer_request(&p, METHOD_artifact_write, &more);
	peer_request(&p, METHOD_artifact_commit, &end);
	assert_int_equal(peer_answer(&p, first, METHOD_artifact_write, NULL), 0);
	/* The refusals need not wait for the commit to be on disk. */
	for (int refused = 0, stored = 0; refused + stored < 3;) {
		struct rpc_envelope e;

		peer_read(&p, &e);
		if (e.id == first + 1) {
			assert_int_equal(peer_outcome(&p, &e, METHOD_artifact_commit, NULL), 0);
			stored++;
		} else {
			assert_int_equal(peer_outcome(&p, &e, METHOD_artifact_write, NULL), ERR_NOT_FOUND);
			refused++;
		}
	}
}

static void uploads_go_with_their_session(void **state)
{
	struct peer other;
	struct msg_artifact_write more;

	(void)state;
	serve();
	for (int i = 0; i < 20; i++)
		assert_int_equal(put_piece(begin("video"), 0, 5000), 0);
	assert_int_equal(rig_blobs(&rig), 20);
	/* and some whose writes are under way */
	more = write_of(begin("video"), 0, 5000);
	for (int i = 0; i < 20; i++)
		peer_request(&p, METHOD_artifact_write, &more);
	peer_close(&p);
	rig_await_blobs(&rig, 0);
	peer_open(&other, &rig);
	assert_int_equal(peer_call(&other, METHOD_artifact_write, &more, NULL), ERR_NOT_FOUND);
	p = other;
}

static void uploads_that_nobody_writes_go(void **state)
{
	struct token upload;

	(void)state;
	rig.options.limits.upload_ms = 1;
	serve();
	upload = begin("video");
	begin("another");
	rig_await_blobs(&rig, 0);
	assert_int_equal(put_piece(upload, 0, 1000), ERR_NOT_FOUND);
}

static void all_sessions_may_have_only_so_many(void **state)
{
	struct msg_artifact_begin params;

	(void)state;
	rig.options.limits.uploads = 3;
	serve();
	params = begin_of("video");
	for (int i = 0; i < 3; i++)
		assert_int_equal(peer_call(&p, METHOD_artifact_begin, &params, NULL), 0);
	assert_int_equal(peer_call(&p, METHOD_artifact_begin, &params, NULL), ERR_THROTTLED);
}

static void one_session_may_have_only_so_many(void **state)
{
	enum { ALLOWED = 1024 };
	struct msg_artifact_begin params;

	(void)state;
	serve();
	params = begin_of("video");
	for (int i = 0; i < ALLOWED; i++)
		assert_int_equal(peer_call(&p, METHOD_artifact_begin, &params, NULL), 0);
	assert_int_equal(peer_call(&p, METHOD_artifact_begin, &params, NULL), ERR_THROTTLED);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(pieces_become_an_artifact),
		TEST(an_empty_one_is_fine),
		TEST(a_wrong_offset_says_which_is_right),
		TEST(what_was_announced_must_come),
		TEST(other_bytes_than_promised_are_thrown_away),
		TEST(size_has_its_limit),
		TEST(a_lease_is_needed_from_begin_to_commit),
		TEST(what_follows_a_commit_finds_no_upload),
		TEST(uploads_go_with_their_session),
		TEST(uploads_that_nobody_writes_go),
		TEST(one_session_may_have_only_so_many),
		TEST(all_sessions_may_have_only_so_many),
		TEST(more_than_was_announced_is_refused_at_once),
		TEST(a_seventeenth_artifact_is_refused_before_its_bytes),
		TEST(an_upload_is_its_connections_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
