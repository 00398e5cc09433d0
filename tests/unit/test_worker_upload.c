/* The end of an upload in pieces: the commit is a write that may have to wait, and whose refusal costs the upload. The
 * broker is played; the client's queue is filled before the loop runs again, so that nothing depends on speed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>
#include <cmocka.h>

#include "proto/base/clock.h"
#include "proto/error.h"
#include "tests/harness/fake_broker.h"
#include "worker/call/broker_link.h"
#include "worker/call/upload.h"
#include "worker/config/upstream.h"

#define PIECE_BYTES 262144
#define CALLS_MAX   1000000 /* the client's queue is smaller */

/* What the broker does, and what it was told. */
static struct play {
	int full_commits; /* so many are refused, and the upload is forgotten */
	bool known;
	int begins, writes, commits;
} play;

static struct {
	uv_loop_t loop;
	struct fake_broker *broker;
	struct broker_link *link;
	struct upload *upload;
	bool has_room, ponged, done;
	int code;
	char why[256];
} test;

static uint8_t bytes[PIECE_BYTES];

/* ---- the broker ---- */

static bool begin(struct fake_broker *b, const struct fake_request *r)
{
	struct msg_artifact_begin_result begun = { .has_upload = true, .upload = { .bytes = { 9 } } };

	play.begins++;
	play.known = true;
	return fake_reply(b, r, &begun);
}

static bool take_piece(struct fake_broker *b, const struct fake_request *r)
{
	struct msg_artifact_write_result written = {
		.has_offset = true,
		.offset = r->artifact_write->offset + (int64_t)r->artifact_write->data.size,
	};

	play.writes++;
	return fake_reply(b, r, &written);
}

static bool commit(struct fake_broker *b, const struct fake_request *r)
{
	struct msg_artifact_stored stored = {
		.has_size = true,
		.size = PIECE_BYTES,
		.has_sha256 = true,
		.sha256 = slice_str("0000000000000000000000000000000000000000000000000000000000000000"),
	};

	play.commits++;
	if (!play.known)
		return fake_refuse(b, r, ERR_NOT_FOUND, "upload", "there is no such upload");
	play.known = play.full_commits == 0;
	if (play.full_commits > 0) {
		play.full_commits--;
		return fake_refuse(b, r, ERR_STORE_FULL, NULL, "the disk is full");
	}
	return fake_reply(b, r, &stored);
}

static void script(struct fake_broker *b, void *arg)
{
	struct msg_ping_result pong = { .has_now_ms = true, .now_ms = 1700000000000 };
	struct fake_request r;
	bool going = fake_greet(b, 100);

	(void)arg;
	while (going && fake_any(b, &r)) {
		if (r.method == METHOD_artifact_begin)
			going = begin(b, &r);
		else if (r.method == METHOD_artifact_write)
			going = take_piece(b, &r);
		else if (r.method == METHOD_artifact_commit)
			going = commit(b, &r);
		else
			going = fake_reply(b, &r, &pong);
	}
}

/* ---- the worker's side ---- */

static void connected_cb(void *user)
{
	(void)user;
}

static void disconnected_cb(const struct raincheck_error *why, void *user)
{
	(void)why;
	(void)user;
}

static void notice_cb(const struct raincheck_notification *n, void *user)
{
	(void)n;
	(void)user;
}

static void done_cb(struct upload *up, int code, const char *why, void *user)
{
	(void)up;
	(void)user;
	test.done = true;
	test.code = code;
	snprintf(test.why, sizeof(test.why), "%s", why);
}

static void room_cb(struct upload *up, void *user)
{
	(void)up;
	(void)user;
	test.has_room = true;
}

static void pong_cb(struct raincheck *rc, const struct raincheck_reply *reply, void *user)
{
	(void)rc;
	(void)reply;
	(void)user;
	test.ponged = true;
}

static void run_until(const bool *happened)
{
	while (!*happened)
		assert_true(uv_run(&test.loop, UV_RUN_ONCE));
}

static int setup(void **state)
{
	static const struct raincheck_worker worker = { .name = "w" };
	struct broker_link_options options = {
		.uv = &test.loop,
		.worker = &worker,
		.handlers = { connected_cb, disconnected_cb, notice_cb, NULL },
	};
	struct raincheck_error error;

	(void)state;
	memset(&test, 0, sizeof(test));
	memset(&play, 0, sizeof(play));
	uv_loop_init(&test.loop);
	test.broker = fake_broker_start(NULL, script, NULL);
	assert_non_null(test.broker);
	options.server = fake_broker_address(test.broker);
	assert_int_equal(broker_link_new(&options, &test.link, &error), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	upload_free(test.upload);
	broker_link_close(test.link);
	uv_run(&test.loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&test.loop), 0);
	assert_string_equal(fake_broker_stop(test.broker), "");
	return 0;
}

/* Feeds a whole piece, so that nothing is to be sent when it is finished, and waits until the broker has answered it.
 */
static void feed(bool keep)
{
	static const struct words no_words;
	struct upload_spec spec = {
		.link = test.link,
		.job = "00000000-0000-7000-8000-000000000001",
		.lease = "00000000000000000000000000000001",
		.name = "result",
		.types = &no_words,
		.max_bytes = 1 << 20,
		.keep = keep,
		.give_up_at_ms = clock_mono_ms() + 600000,
		.done_cb = done_cb,
		.room_cb = room_cb,
	};
	struct slice piece = { (const char *)bytes, sizeof(bytes) };

	assert_int_equal(upload_new(&spec, &test.upload), 0);
	assert_int_equal(upload_feed(test.upload, "application/octet-stream", sizeof(bytes), piece), UPLOAD_TOOK);
	if (keep)
		return;
	piece.size = 0;
	assert_int_equal(upload_feed(test.upload, "application/octet-stream", -1, piece), UPLOAD_WAIT);
	run_until(&test.has_room);
	/* It is answered after the piece. */
	assert_int_equal(raincheck_ping_async(broker_link_handle(test.link), pong_cb, NULL), 0);
	run_until(&test.ponged);
}

static void a_commit_waits_for_room_in_the_client(void **state)
{
	int calls = 0;

	(void)state;
	feed(false);
	while (raincheck_ping_async(broker_link_handle(test.link), NULL, NULL) == 0)
		assert_true(++calls < CALLS_MAX);
	assert_int_equal(upload_finish(test.upload, "application/octet-stream"), 0);
	run_until(&test.done);
	assert_int_equal(test.code, 0);
	assert_int_equal(play.begins, 1);
	assert_int_equal(play.writes, 1);
	assert_int_equal(play.commits, 1);
}

/* It is not repeated: the broker does not know the upload any more. */
static void a_commit_that_is_refused_starts_from_the_beginning(void **state)
{
	(void)state;
	play.full_commits = 1;
	feed(true);
	assert_int_equal(upload_finish(test.upload, "application/octet-stream"), 0);
	run_until(&test.done);
	assert_int_equal(test.code, 0);
	assert_int_equal(play.begins, 2);
	assert_int_equal(play.writes, 2);
	assert_int_equal(play.commits, 2);
}

/* Without the bytes it is over, and it is said why. */
static void a_commit_that_is_refused_is_told_with_its_excuse(void **state)
{
	(void)state;
	play.full_commits = 1;
	feed(false);
	assert_int_equal(upload_finish(test.upload, "application/octet-stream"), 0);
	run_until(&test.done);
	assert_int_equal(test.code, ERR_GONE);
	assert_string_equal(test.why, "the disk is full");
	assert_true(upload_was_excused(test.upload));
	assert_false(upload_was_cut_off(test.upload));
	assert_int_equal(play.commits, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_commit_waits_for_room_in_the_client),
		T(a_commit_that_is_refused_starts_from_the_beginning),
		T(a_commit_that_is_refused_is_told_with_its_excuse),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
