/* What the worker does when the broker does not take what it brings: a checkpoint of a job that was canceled meanwhile,
 * a large result whose connection breaks again and again, a full store, an answer that does not come. The broker is
 * played, so that it says no at the right moment; what was paid for is counted at the API.
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
	size_t jobs;
	int refuse_checkpoints; /* with lease_lost, so many */
	enum extend_status lease;
	int cut_writes;	    /* of pieces of a result: so many end the connection … */
	int refuse_uploads; /* … and after those so many uploads are refused … */
	int refusal;	    /* … with this at the first piece, and are not known at the later ones */
	bool begun;	    /* an upload, on this connection, and not refused */
	bool hold_put;	    /* a small artifact is taken only once a job has failed, … */
	bool ask_put;	    /* … or when the test says so */
	int preview;	    /* 2: of the result and the preview, only the result is taken, and then a notice is sent */

	size_t ended;
	int begins, extends, completes, fails;
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

	if (play.refuse_checkpoints-- > 0)
		return fake_refuse(b, r, ERR_LEASE_LOST, "lease", "the lease is lost");
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
	play.refuse_checkpoints = 1;
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
	play.refuse_checkpoints = 1;
	play.lease = EXTEND_LOST;
	start(&cancels);
	calls_wait_for_log(&calls, "call ended");
	assert_non_null(strstr(calls.stack.worker.line, "outcome=\"lost\""));
	stop();
	assert_int_equal(play.extends, 1);
	assert_int_equal(calls_counted(&calls, "cancelled"), 0);
}

/* ---- a result that was paid for, and is not bought again ---- */

static const struct calls_shape paid = { .top = TOP, .mode = "sync" };
static const char large[] = "{\"name\":\"a\",\"behave\":{\"pad_kib\":600}}";

static void connections_that_break_lose_no_result(void **state)
{
	(void)state;
	play.payloads[0] = large;
	play.cut_writes = 8;
	start(&paid);
	fake_await_script(broker);
	stop();
	assert_int_equal(play.begins, 9);
	assert_int_equal(play.fails, 0);
	assert_int_equal(play.completes, 1);
	calls_expect_counts(&calls, 1, 1);
}

/* The same of a file that can be fetched again: it is, as often. */
static void connections_that_break_fail_no_fetch(void **state)
{
	struct calls_shape by_url = calls_by_sync_url;

	(void)state;
	by_url.top = TOP;
	by_url.submit = "";
	play.payloads[0] = large;
	play.cut_writes = 8;
	start(&by_url);
	fake_await_script(broker);
	stop();
	assert_int_equal(play.fails, 0);
	assert_int_equal(play.completes, 1);
	calls_expect_counts(&calls, 1, 1);
}

/* More often than a loss that nothing explains is borne. */
static void a_full_store_is_waited_for(void **state)
{
	(void)state;
	play.payloads[0] = large;
	play.refuse_uploads = 6;
	play.refusal = ERR_STORE_FULL;
	start(&paid);
	fake_await_script(broker);
	stop();
	assert_int_equal(play.begins, 7);
	assert_int_equal(play.fails, 0);
	assert_int_equal(play.completes, 1);
	calls_expect_counts(&calls, 1, 1);
}

/* The same of a file that can be fetched again: it is, and not at once. */
static void a_full_store_is_waited_for_with_a_fetch(void **state)
{
	struct calls_shape by_url = calls_by_sync_url;

	(void)state;
	by_url.top = TOP;
	by_url.submit = "";
	play.payloads[0] = large;
	play.refuse_uploads = 6;
	play.refusal = ERR_STORE_FULL;
	start(&by_url);
	fake_await_script(broker);
	assert_int_equal(play.fails, 0);
	calls_wait_for_log(&calls, "result, which is fetched again in 50 ms: not now");
	calls_wait_for_log(&calls, "result, which is fetched again in 1600 ms: not now");
	stop();
	assert_int_equal(play.begins, 7);
	assert_int_equal(play.completes, 1);
	calls_expect_counts(&calls, 1, 1);
}

/* A broker that forgets every upload without a reason is believed in the end, and no second result is bought. */
static void what_cannot_be_stored_is_not_bought_again(void **state)
{
	(void)state;
	play.payloads[0] = large;
	play.refuse_uploads = 1000000;
	play.refusal = ERR_NOT_FOUND;
	start(&paid);
	fake_await_script(broker);
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
	struct calls_shape by_url = calls_by_sync_url;

	(void)state;
	by_url.top = TOP;
	by_url.submit = "";
	play.payloads[0] = "{\"name\":\"a\",\"behave\":{\"pad_kib\":100}}";
	play.preview = 2;
	start(&by_url);
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
	const struct CMUnitTest tests[] = {
		T(a_refused_checkpoint_may_be_a_cancel),
		T(or_somebody_else_has_the_lease),
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
