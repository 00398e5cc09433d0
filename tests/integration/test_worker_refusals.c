/* What the worker does when the broker does not take what it brings: a checkpoint of a job that was canceled meanwhile,
 * a large result whose connection breaks again and again, a full store, an answer that does not come; and with a
 * checkpoint that it cannot read. The broker is played, so that it says no at the right moment; what was paid for is
 * counted at the API.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/error.h"
#include "tests/harness/calls.h"
#include "tests/harness/fake_broker.h"

#define JOBS_MAX 2

/* What the broker does, and what it was told. */
struct play {
	const char *payloads[JOBS_MAX]; /* of the jobs that it gives, all at once */
	const char *checkpoint;		/* of an earlier attempt at each; NULL: there is none */
	size_t jobs;
	int checkpoint_refusal; /* of every checkpoint; 0: they are taken */
	const char *refused;	/* the artifact that is refused … */
	int put_refusal;	/* … with this */
	int complete_refusal;	/* of the completion */
	enum extend_status lease;
	int cut_writes;	    /* of pieces of a result: so many end the connection … */
	int refuse_uploads; /* … and after those so many uploads are refused … */
	int refusal;	    /* … with this at the first piece, and are not known at the later ones */
	bool begun;	    /* an upload, on this connection, and not refused */
	bool hold_put;	    /* a small artifact is taken only once a job has failed, … */
	bool ask_put;	    /* … or when the test says so */
	int preview;	    /* 2: of the result and the preview, only the result is taken, and then a notice is sent */

	size_t ended;
	int begins, extends, checkpoints, completes, fails;
	struct fake_request put; /* held */
	char failure[512];
	int kind;
};

static struct calls calls;
static struct fake_broker *broker;
static struct play play;

static int setup(void **state)
{
	(void)state;
	memset(&calls, 0, sizeof(calls));
	memset(&play, 0, sizeof(play));
	tempdir_make(&calls.stack.dir);
	stack_start_api(&calls.stack, NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	process_stop(&calls.stack.api);
	tempdir_remove(&calls.stack.dir);
	return 0;
}

/* ---- the broker ---- */

static struct token token_of(size_t n)
{
	return (struct token){ .bytes = { (uint8_t)(n + 1) } };
}

static struct uuid id_of(size_t n)
{
	return (struct uuid){ .bytes = { [6] = 0x70, [8] = 0x80, [15] = (uint8_t)n } };
}

static bool give_jobs(struct fake_broker *b, const struct fake_request *r)
{
	struct msg_leased_job jobs[JOBS_MAX];
	struct msg_job_lease_result result = { .has_jobs = true, .jobs = jobs, .jobs_count = play.jobs };

	for (size_t i = 0; i < play.jobs; i++)
		jobs[i] = (struct msg_leased_job){ .has_id = true,
						   .id = id_of(i),
						   .has_lease = true,
						   .lease = token_of(i),
						   .has_queue = true,
						   .queue = slice_str("q"),
						   .has_attempt = true,
						   .attempt = 1,
						   .has_payload = true,
						   .payload = slice_str(play.payloads[i]),
						   .has_content_type = true,
						   .content_type = slice_str("application/json"),
						   .has_priority = true,
						   .has_lease_expires_at_ms = true,
						   .lease_expires_at_ms = 1800000000000,
						   .has_checkpoint = play.checkpoint,
						   .checkpoint = slice_str(play.checkpoint ? play.checkpoint : ""),
						   .has_metadata = true };
	play.jobs = 0;
	return fake_reply(b, r, &result);
}

static bool tell_lease(struct fake_broker *b, const struct fake_request *r)
{
	struct msg_extend_item_result items[JOBS_MAX];
	struct msg_job_extend_result result = { .has_leases = true,
						.leases = items,
						.leases_count = r->extend->leases_count };

	play.extends++;
	for (size_t i = 0; i < r->extend->leases_count && i < JOBS_MAX; i++)
		items[i] = (struct msg_extend_item_result){
			.has_id = true, .id = r->extend->leases[i].id, .has_status = true, .status = (int)play.lease
		};
	return fake_reply(b, r, &result);
}

static bool take_checkpoint(struct fake_broker *b, const struct fake_request *r)
{
	struct msg_empty nothing = { 0 };

	play.checkpoints++;
	if (play.checkpoint_refusal < 0)
		return fake_refuse(b, r, play.checkpoint_refusal, NULL, "not this one");
	return fake_reply(b, r, &nothing);
}

static bool take_piece(struct fake_broker *b, const struct fake_request *r)
{
	struct msg_artifact_write_result written = { .has_offset = true };

	/* It had not left the worker when the connection broke, or the upload was refused. */
	if (!play.begun)
		return fake_refuse(b, r, ERR_NOT_FOUND, "upload", "there is no such upload");
	if (play.cut_writes > 0) {
		play.cut_writes--;
		play.begun = false;
		fake_hang_up(b);
		return fake_greet(b, 100);
	}
	if (play.refuse_uploads > 0) {
		play.refuse_uploads--;
		play.begun = false;
		return fake_refuse(b, r, play.refusal, NULL, "not now");
	}
	written.offset = r->artifact_write->offset + (int64_t)r->artifact_write->data.size;
	return fake_reply(b, r, &written);
}

static bool store(struct fake_broker *b, const struct fake_request *r)
{
	struct msg_artifact_stored stored = {
		.has_size = true,
		.size = 1,
		.has_sha256 = true,
		.sha256 = slice_str("0000000000000000000000000000000000000000000000000000000000000000"),
	};

	return fake_reply(b, r, &stored);
}

/* When the result is stored and the preview is not, the worker hears of it: what it logs then, it logs after that. */
static bool put_beside_preview(struct fake_broker *b, const struct fake_request *r)
{
	struct msg_empty nothing = { 0 };

	if (slice_is(r->artifact_put->name, "result") && !store(b, r))
		return false;
	return --play.preview > 0 || fake_notify(b, "worker.quiet", &MSG_empty, &nothing);
}

static bool put(struct fake_broker *b, const struct fake_request *r)
{
	if (play.preview)
		return put_beside_preview(b, r);
	if (play.refused && slice_is(r->artifact_put->name, play.refused))
		return fake_refuse(b, r, play.put_refusal, NULL, "not this one");
	if (play.ask_put) {
		fake_tell_test(b);
		return fake_await_test(b) && store(b, r);
	}
	if (!play.hold_put)
		return store(b, r);
	play.put = *r;
	return true;
}

static bool begin(struct fake_broker *b, const struct fake_request *r)
{
	struct msg_artifact_begin_result begun = { .has_upload = true, .upload = token_of(9) };

	play.begins++;
	play.begun = true;
	return fake_reply(b, r, &begun);
}

static void note_end(struct fake_broker *b)
{
	play.ended++;
	fake_tell_test(b);
}

static bool complete(struct fake_broker *b, const struct fake_request *r)
{
	struct msg_job_complete_result result = { .has_state = true, .state = JOB_SUCCEEDED };

	play.completes++;
	note_end(b);
	if (play.complete_refusal < 0)
		return fake_refuse(b, r, play.complete_refusal, NULL, "not this one");
	return fake_reply(b, r, &result);
}

static bool fail_job(struct fake_broker *b, const struct fake_request *r)
{
	struct msg_job_fail_result result = { .has_state = true, .state = JOB_DEAD };

	play.fails++;
	play.kind = (int)r->fail->kind;
	snprintf(play.failure, sizeof(play.failure), "%.*s", SLICE_FMT(r->fail->message));
	note_end(b);
	if (play.put.method == METHOD_artifact_put && !store(b, &play.put))
		return false;
	return fake_reply(b, r, &result);
}

static bool answer(struct fake_broker *b, const struct fake_request *r)
{
	struct msg_ping_result pong = { .has_now_ms = true, .now_ms = 1700000000000 };
	struct msg_empty nothing = { 0 };

	switch ((int)r->method) {
	case METHOD_job_lease:
		return play.jobs == 0 || give_jobs(b, r);
	case METHOD_job_lease_cancel:
		return fake_reply(b, r, &nothing);
	case METHOD_session_ping:
		return fake_reply(b, r, &pong);
	case METHOD_job_extend:
		return tell_lease(b, r);
	case METHOD_job_checkpoint:
		return take_checkpoint(b, r);
	case METHOD_artifact_begin:
		return begin(b, r);
	case METHOD_artifact_write:
		return take_piece(b, r);
	case METHOD_artifact_commit:
		return store(b, r);
	case METHOD_artifact_put:
		return put(b, r);
	case METHOD_job_complete:
		return complete(b, r);
	case METHOD_job_fail:
		return fail_job(b, r);
	default:
		return fake_wrong(b, "%s came", method_get(r->method)->name);
	}
}

static void script(struct fake_broker *b, void *arg)
{
	struct fake_request r;

	(void)arg;
	if (!fake_greet(b, 100))
		return;
	while (fake_any(b, &r) && answer(b, &r))
		;
}

/* ---- the worker ---- */

static void start(const struct calls_shape *shape)
{
	for (play.jobs = 0; play.jobs < JOBS_MAX && play.payloads[play.jobs]; play.jobs++)
		;
	broker = fake_broker_start(NULL, script, NULL);
	assert_non_null(broker);
	snprintf(calls.stack.server, sizeof(calls.stack.server), "%s", fake_broker_address(broker));
	calls_start_worker(&calls, shape);
}

static void stop(void)
{
	const char *wrong;

	process_end(&calls.stack.worker, SIGKILL);
	wrong = fake_broker_stop(broker);
	if (wrong[0])
		fail_msg("%s", wrong);
}

#define TOP "name: w\nslots: 4\nlease: 1h\n"

static const struct calls_shape paid = { .top = TOP, .mode = "sync" };
/* The result can be fetched again, and is, as often. */
static const struct calls_shape paid_at_url = {
	.top = TOP,
	.mode = "sync",
	.path = "/sync/json",
	.result = "from: pointer, media: /output/0, preview: /poster",
};
static const struct calls_shape paid_with_output = {
	.top = TOP,
	.mode = "sync",
	.path = "/sync/json",
	.result = "from: pointer, media: /output/0, preview: /poster, outputs: { mask: /output/0 }",
};

/* ---- canceled while the checkpoint was on its way ---- */

static const struct calls_shape cancels = {
	.top = TOP,
	.lines = "    cancel: { method: DELETE, path: \"/v1/renders/{id}\" }\n",
	.submit = ", idempotency: \"header:Idempotency-Key\"",
};

/* The refusal overtakes the word of the cancel: asked, the broker says what became of the lease. */
static void a_refused_checkpoint_may_be_a_cancel(void **state)
{
	(void)state;
	play.payloads[0] = "{\"name\":\"a\",\"behave\":{\"delay_ms\":3600000}}";
	play.checkpoint_refusal = ERR_LEASE_LOST;
	play.lease = EXTEND_CANCEL;
	start(&cancels);
	calls_wait_for_log(&calls, "call ended");
	assert_non_null(strstr(calls.stack.worker.line, "outcome=\"canceled\""));
	stop();
	assert_int_equal(calls_counted(&calls, "cancelled"), 1);
	assert_int_equal(play.extends, 1);
	assert_int_equal(play.fails + play.completes, 0);
}

/* Whoever has the lease now goes on with the call at the API. */
static void or_somebody_else_has_the_lease(void **state)
{
	(void)state;
	play.payloads[0] = "{\"name\":\"a\",\"behave\":{\"delay_ms\":3600000}}";
	play.checkpoint_refusal = ERR_LEASE_LOST;
	play.lease = EXTEND_LOST;
	start(&cancels);
	calls_wait_for_log(&calls, "call ended");
	assert_non_null(strstr(calls.stack.worker.line, "outcome=\"lost\""));
	stop();
	assert_int_equal(play.extends, 1);
	assert_int_equal(calls_counted(&calls, "cancelled"), 0);
}

/* ---- refused once and for all ---- */

/* Nothing more is told of the job: it is another's, or will be. */
static void expect_end_untold(const char *words, const char *outcome)
{
	if (words)
		calls_wait_for_log(&calls, words);
	calls_wait_for_log(&calls, "call ended");
	if (!strstr(calls.stack.worker.line, outcome))
		fail_msg("\"%s\" is not in \"%s\"", outcome, calls.stack.worker.line);
	stop();
	assert_int_equal(play.fails, 0);
}

/* The id of the call cannot be made durable: waiting for it would be for nobody. */
static void a_checkpoint_may_be_refused(void **state)
{
	(void)state;
	play.payloads[0] = "{\"name\":\"a\",\"behave\":{\"delay_ms\":3600000}}";
	play.checkpoint_refusal = ERR_TOO_LARGE;
	start(&cancels);
	expect_end_untold("a checkpoint was refused: not this one", "outcome=\"untold\"");
	assert_int_equal(play.extends + play.completes, 0);
}

static void a_completion_may_be_refused(void **state)
{
	static const struct play kept = { .payloads = { "{\"name\":\"a\",\"behave\":{\"pad_kib\":100}}" } };

	(void)state;
	play = kept;
	play.complete_refusal = ERR_BAD_REQUEST;
	start(&paid);
	expect_end_untold("the completion was refused: not this one", "outcome=\"untold\"");
	assert_int_equal(play.completes, 1);
	play = kept;
	play.complete_refusal = ERR_LEASE_LOST;
	start(&paid);
	expect_end_untold(NULL, "outcome=\"lost\"");
	assert_int_equal(play.completes, 1);
}

/* Whichever file it is that is refused, what comes after it is not even tried. */
static void a_file_that_comes_too_late_ends_the_call(void **state)
{
	(void)state;
	play.payloads[0] = "{\"name\":\"a\",\"behave\":{\"pad_kib\":100}}";
	play.refused = *state;
	play.put_refusal = ERR_LEASE_LOST;
	start(&paid_with_output);
	expect_end_untold(NULL, "outcome=\"lost\"");
	assert_int_equal(play.completes, 0);
}

/* ---- the checkpoint of an earlier attempt ---- */

#define RESUMED(v, upstream) "{\"v\":" v ",\"upstream\":\"" upstream "\",\"n\":0,\"id\":\"x\"}"

/* Nothing is sent, and what the broker has stays as it is, for a worker that can read it. */
static void what_cannot_be_taken_up_is_not_bought_again(void **state)
{
	static const struct {
		const char *checkpoint, *words;
	} rows[] = {
		{ "nonsense", "the checkpoint of an earlier attempt cannot be taken up: " },
		{ "[]", "the checkpoint of an earlier attempt cannot be taken up: " },
		{ RESUMED("2", "api"), "the checkpoint of an earlier attempt cannot be taken up: " },
		{ RESUMED("1", "other"), "cannot be taken up: the file has no upstream other" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		play = (struct play){ .payloads = { "{\"name\":\"a\"}" }, .checkpoint = rows[i].checkpoint };
		start(&cancels);
		fake_await_script(broker);
		stop();
		assert_int_equal(play.fails, 1);
		assert_int_equal(play.kind, FAIL_INTERNAL);
		if (!strstr(play.failure, rows[i].words))
			fail_msg("\"%s\" is not in \"%s\"", rows[i].words, play.failure);
		assert_int_equal(play.checkpoints, 0);
	}
	calls_expect_counts(&calls, 0, 0);
}

/* ---- a result that was paid for, and is not bought again ---- */

static const char large[] = "{\"name\":\"a\",\"behave\":{\"pad_kib\":600}}";

/* Until the job has ended. */
static void bring_large(const struct calls_shape *shape)
{
	play.payloads[0] = large;
	start(shape);
	fake_await_script(broker);
}

static void expect_kept(void)
{
	stop();
	assert_int_equal(play.fails, 0);
	assert_int_equal(play.completes, 1);
	calls_expect_counts(&calls, 1, 1);
}

static void connections_that_break_lose_no_result(void **state)
{
	(void)state;
	play.cut_writes = 8;
	bring_large(&paid);
	expect_kept();
	assert_int_equal(play.begins, 9);
}

static void connections_that_break_fail_no_fetch(void **state)
{
	(void)state;
	play.cut_writes = 8;
	bring_large(&paid_at_url);
	expect_kept();
}

/* More often than a loss that nothing explains is borne. */
static void a_full_store_is_waited_for(void **state)
{
	(void)state;
	play.refuse_uploads = 6;
	play.refusal = ERR_STORE_FULL;
	bring_large(&paid);
	expect_kept();
	assert_int_equal(play.begins, 7);
}

/* And not at once. */
static void a_full_store_is_waited_for_with_a_fetch(void **state)
{
	(void)state;
	play.refuse_uploads = 6;
	play.refusal = ERR_STORE_FULL;
	bring_large(&paid_at_url);
	calls_wait_for_log(&calls, "result, which is fetched again in 50 ms: not now");
	calls_wait_for_log(&calls, "result, which is fetched again in 1600 ms: not now");
	expect_kept();
	assert_int_equal(play.begins, 7);
}

/* A broker that forgets every upload without a reason is believed in the end, and no second result is bought. */
static void what_cannot_be_stored_is_not_bought_again(void **state)
{
	(void)state;
	play.refuse_uploads = 1000000;
	play.refusal = ERR_NOT_FOUND;
	bring_large(&paid);
	stop();
	assert_int_equal(play.fails, 1);
	assert_int_equal(play.kind, FAIL_REJECTED);
	assert_non_null(strstr(play.failure, "could not be stored: not now; it was paid for"));
	calls_expect_counts(&calls, 1, 1);
}

/* Both calls have begun at the same moment; the one whose result has come outlives the other, which never ends. */
static void a_whole_result_may_take_longer_to_store_than_the_attempt(void **state)
{
	struct calls_shape hasty = paid;

	(void)state;
	hasty.lines = "    timeouts: { attempt: 4s }\n";
	play.payloads[0] = "{\"name\":\"a\",\"behave\":{\"pad_kib\":100}}";
	play.payloads[1] = "{\"name\":\"b\",\"behave\":{\"hang\":true}}";
	play.hold_put = true;
	start(&hasty);
	fake_await_script(broker);
	fake_await_script(broker);
	stop();
	assert_int_equal(play.fails, 1);
	assert_int_equal(play.completes, 1);
	assert_non_null(strstr(play.failure, "the call took too long"));
}

/* ---- the worker is told to end ---- */

static void end_at_once(const char *words)
{
	kill(calls.stack.worker.pid, SIGTERM);
	calls_wait_for_log(&calls, "1 calls may end within the grace time");
	kill(calls.stack.worker.pid, SIGTERM);
	calls_wait_for_log(&calls, words);
}

/* The broker is about to take it. */
static void a_whole_result_is_not_given_back(void **state)
{
	(void)state;
	play.payloads[0] = "{\"name\":\"a\",\"behave\":{\"pad_kib\":100}}";
	play.ask_put = true;
	start(&paid);
	fake_await_script(broker);
	end_at_once("storing 1 results that have come whole");
	fake_tell_script(broker);
	fake_await_script(broker);
	stop();
	assert_int_equal(play.completes, 1);
	assert_int_equal(play.fails, 0);
}

static void a_stored_result_does_not_wait_for_its_preview(void **state)
{
	(void)state;
	play.payloads[0] = "{\"name\":\"a\",\"behave\":{\"pad_kib\":100}}";
	play.preview = 2;
	start(&paid_at_url);
	calls_wait_for_log(&calls, "told to lease no more");
	end_at_once("storing 1 results that have come whole");
	fake_await_script(broker);
	stop();
	assert_int_equal(play.completes, 1);
	assert_int_equal(play.fails, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TOO_LATE(file)                                                                                              \
	{                                                                                                           \
		"a_file_that_comes_too_late_ends_the_call: " file, a_file_that_comes_too_late_ends_the_call, setup, \
			teardown, file                                                                              \
	}
	const struct CMUnitTest tests[] = {
		T(a_refused_checkpoint_may_be_a_cancel),
		T(or_somebody_else_has_the_lease),
		T(a_checkpoint_may_be_refused),
		T(a_completion_may_be_refused),
		TOO_LATE("preview"),
		TOO_LATE("mask"),
		TOO_LATE("result"),
		T(what_cannot_be_taken_up_is_not_bought_again),
		T(connections_that_break_lose_no_result),
		T(connections_that_break_fail_no_fetch),
		T(a_full_store_is_waited_for),
		T(a_full_store_is_waited_for_with_a_fetch),
		T(what_cannot_be_stored_is_not_bought_again),
		T(a_whole_result_may_take_longer_to_store_than_the_attempt),
		T(a_whole_result_is_not_given_back),
		T(a_stored_result_does_not_wait_for_its_preview),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
