/* Looking at jobs, against a broker that plays a script: get, link, wait, ping, result, ls. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "tests/harness/cli_run.h"

#define ID CLI_RUN_ID

static void job_script(struct fake_broker *b, void *arg)
{
	struct uuid id = cli_run_id();
	struct msg_job job = fake_job(&id, *(enum job_state *)arg);
	struct fake_request r;

	job.has_title = true;
	job.title = slice_str("evil \033[31mtitle");
	job.has_link = true;
	job.link = slice_str("http://x/r/abc");
	if (fake_greet(b, 10) && fake_any(b, &r))
		fake_reply(b, &r, &job);
}

/* A range of two to four minutes. */
static void estimate_script(struct fake_broker *b, void *arg)
{
	struct uuid id = cli_run_id();
	struct msg_job job = fake_job(&id, JOB_READY);
	struct fake_request r;

	(void)arg;
	job.has_eta_ms = true;
	job.eta_ms = (struct msg_eta){ .has_low = true, .low = 120000, .has_high = true, .high = 235000 };
	if (fake_greet(b, 10) && fake_any(b, &r))
		fake_reply(b, &r, &job);
}

static void test_get_says_when_it_may_be_done(void **state)
{
	struct ran r = run_with(estimate_script, NULL, "", WORDS("get", ID, "--json"));
	json_t *o = json_loads(r.out, 0, NULL);
	json_int_t low = 0, high = 0;

	(void)state;
	assert_non_null(o);
	assert_int_equal(json_unpack(o, "{s:{s:I, s:I !}}", "eta_ms", "low", &low, "high", &high), 0);
	assert_true(low == 120000 && high == 235000);
	json_decref(o);
	ran_done(&r);
	right(run_with(estimate_script, NULL, "", WORDS("get", ID)), "expected:       in 2 to 4 min\n");
}

/* Its limit is held. */
static void held_script(struct fake_broker *b, void *arg)
{
	struct uuid id = cli_run_id();
	struct msg_job job = fake_job(&id, JOB_READY);
	struct fake_request r;

	job.has_waiting_for = true;
	job.waiting_for = (struct msg_waiting){ .has_reason = true, .reason = arg ? WAIT_BREAKER : WAIT_HELD };
	job.waiting_for.has_until_at_ms = !arg;
	job.waiting_for.until_at_ms = 1717763400000;
	if (fake_greet(b, 10) && fake_any(b, &r))
		fake_reply(b, &r, &job);
}

static void test_get_says_what_the_job_waits_for(void **state)
{
	struct ran r = run_with(held_script, NULL, "", WORDS("get", ID, "--json"));
	json_t *o = json_loads(r.out, 0, NULL);
	const char *reason = NULL;
	json_int_t until = 0;

	(void)state;
	assert_non_null(o);
	assert_int_equal(json_unpack(o, "{s:{s:s, s:I !}}", "waiting_for", "reason", &reason, "until_at_ms", &until),
			 0);
	assert_string_equal(reason, "held");
	assert_true(until == 1717763400000);
	json_decref(o);
	ran_done(&r);
	right(run_with(held_script, NULL, "", WORDS("get", ID)),
	      "waits for:      the API, which asked to be left alone, until 2024-06-07 ");
	right(run_with(held_script, "half open", "", WORDS("get", ID)),
	      "waits for:      the API, which fails at present\n");
}

static void test_get_link_wait(void **state)
{
	enum job_state ready = JOB_READY, succeeded = JOB_SUCCEEDED, dead = JOB_DEAD;
	struct ran r = run_with(job_script, &ready, "", WORDS("get", ID, "--json"));
	json_t *o = json_loads(r.out, 0, NULL);

	(void)state;
	assert_non_null(o);
	assert_string_equal(json_string_value(json_object_get(o, "id")), ID);
	assert_true(json_is_null(json_object_get(o, "eta_ms")));
	json_decref(o);
	ran_done(&r);
	r = run_with(job_script, &ready, "", WORDS("get", ID));
	says(r.out, "evil \ufffd[31mtitle");
	ran_done(&r);
	right(run_with(job_script, &ready, "", WORDS("link", ID)), "http://x/r/abc\n");
	right(run_with(job_script, &succeeded, "", WORDS("wait", ID)), "succeeded");
	r = run_with(job_script, &dead, "", WORDS("wait", ID));
	assert_int_equal(r.exit, CLI_FAILED);
	ran_done(&r);
	r = run_with(job_script, &ready, "", WORDS("wait", ID, "--timeout", "0"));
	assert_int_equal(r.exit, CLI_FAILED);
	says(r.err, "the job is still ready");
	ran_done(&r);
}

/* The broker goes away under the wait, and is back at the third attempt. */
static void outage_script(struct fake_broker *b, void *arg)
{
	struct uuid id = cli_run_id();
	struct msg_job job = fake_job(&id, JOB_SUCCEEDED);
	struct fake_request r;

	(void)arg;
	if (!fake_greet(b, 10) || !fake_next(b, METHOD_job_wait, &r))
		return;
	fake_hang_up(b);
	for (int i = 0; i < 2; i++) {
		if (!fake_accept(b))
			return;
		fake_hang_up(b);
	}
	if (fake_greet(b, 10) && fake_next(b, METHOD_job_wait, &r))
		fake_reply(b, &r, &job);
}

static void test_wait_goes_on_when_the_broker_is_back(void **state)
{
	struct ran r = run_with(outage_script, NULL, "", WORDS("wait", ID, "--timeout", "60"));

	(void)state;
	assert_int_equal(r.exit, CLI_DONE);
	says(r.out, "succeeded");
	assert_string_equal(r.err, "raincheck: the connection is lost; waiting for the broker to come back\n");
	ran_done(&r);
}

static void going_script(struct fake_broker *b, void *arg)
{
	struct fake_request r;

	(void)arg;
	if (fake_greet(b, 10) && fake_next(b, METHOD_job_wait, &r))
		fake_hang_up(b);
}

static void test_wait_ends_with_its_timeout_without_a_broker(void **state)
{
	struct ran r = run_with(going_script, NULL, "", WORDS("wait", ID, "--timeout", "500ms"));

	(void)state;
	assert_int_equal(r.exit, CLI_NO_CONNECTION);
	says(r.err, "no_connection");
	ran_done(&r);
}

static void ping_script(struct fake_broker *b, void *arg)
{
	struct msg_ping_result pong = { .has_now_ms = true };
	struct fake_request r;

	(void)arg;
	if (!fake_greet(b, 10))
		return;
	for (int i = 0; i < 2; i++)
		if (!fake_next(b, METHOD_session_ping, &r) || !fake_reply(b, &r, &pong))
			return;
}

static void test_round_trip_has_three_decimals(void **state)
{
	(void)state;
	/* By chance a longer number is short now and then. */
	for (int i = 0; i < 5; i++) {
		struct ran r = run_with(ping_script, NULL, "", WORDS("--json", "ping"));
		const char *at = strstr(r.out, "\"round_trip_ms\": ");

		assert_int_equal(r.exit, CLI_DONE);
		assert_non_null(at);
		at = strchr(at, '.');
		assert_non_null(at);
		assert_true(strspn(at + 1, "0123456789") <= 3);
		ran_done(&r);
	}
}

/* Knows no artifact, and the job only if *arg says so. */
static void no_result_script(struct fake_broker *b, void *arg)
{
	struct uuid id = cli_run_id();
	struct msg_job job = fake_job(&id, JOB_READY);
	struct fake_request r;

	if (!fake_greet(b, 10) || !fake_next(b, METHOD_artifact_read, &r))
		return;
	fake_refuse(b, &r, ERR_NOT_FOUND, "name", "no such artifact");
	if (!fake_next(b, METHOD_job_get, &r))
		return;
	if (*(bool *)arg)
		fake_reply(b, &r, &job);
	else
		fake_refuse(b, &r, ERR_NOT_FOUND, "id", "no such job");
}

static void test_result_of_an_unknown_job(void **state)
{
	bool known = false;
	struct ran r = run_with(no_result_script, &known, "", WORDS("result", ID));

	(void)state;
	assert_int_equal(r.exit, CLI_NOT_FOUND);
	says(r.err, "id: no such job");
	assert_null(strstr(r.err, "artifact"));
	ran_done(&r);
	known = true;
	r = run_with(no_result_script, &known, "", WORDS("result", ID));
	assert_int_equal(r.exit, CLI_NOT_FOUND);
	says(r.err, "name: no such artifact");
	ran_done(&r);
}

static const char video[] = "\x89video with\0zero";

/* Gives the video in pieces of four bytes. */
static void result_script(struct fake_broker *b, void *arg)
{
	struct fake_request r;
	bool cut = arg != NULL;

	if (!fake_greet(b, 10))
		return;
	while (fake_any(b, &r)) {
		size_t at = (size_t)r.artifact_read->offset;
		size_t left = sizeof(video) - at;
		struct msg_artifact_read_result piece = { .has_content_type = true,
							  .content_type = slice_str("video/mp4"),
							  .has_size = true,
							  .size = sizeof(video),
							  .has_offset = true,
							  .offset = (int64_t)at,
							  .has_data = true };

		piece.data = slice_of(video + at, left < 4 ? left : 4);
		if (cut && at > 4) {
			fake_refuse(b, &r, ERR_GONE, "id", "it has expired");
			continue;
		}
		if (!fake_reply(b, &r, &piece))
			return;
	}
}

static void test_result(void **state)
{
	char dir[] = "/tmp/raincheck-result-XXXXXX";
	char path[64], bytes[64];
	struct ran r;
	FILE *f;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/video", dir);
	r = run_with(result_script, dir, "", WORDS("result", ID, "-o", path));
	assert_int_equal(r.exit, CLI_NOT_FOUND);
	/* Nothing is left of what was not whole. */
	assert_int_equal(rmdir(dir), 0);
	ran_done(&r);
	assert_non_null(mkdtemp(strcpy(dir, "/tmp/raincheck-result-XXXXXX")));
	snprintf(path, sizeof(path), "%s/video", dir);
	r = run_with(result_script, NULL, "", WORDS("result", ID, "-o", path));
	assert_int_equal(r.exit, CLI_DONE);
	ran_done(&r);
	f = fopen(path, "r");
	assert_non_null(f);
	assert_int_equal(fread(bytes, 1, sizeof(bytes), f), sizeof(video));
	assert_memory_equal(bytes, video, sizeof(video));
	fclose(f);
	unlink(path);
	rmdir(dir);
	r = run_with(result_script, NULL, "", WORDS("result", ID));
	assert_int_equal(r.exit, CLI_DONE);
	assert_memory_equal(r.out, video, sizeof(video));
	ran_done(&r);
}

/* ---- lists ---- */

static void list_script(struct fake_broker *b, void *arg)
{
	struct uuid id = cli_run_id();
	struct msg_job job = fake_job(&id, JOB_DEAD);
	struct msg_job_list_result page = { .has_jobs = true, .jobs = &job, .jobs_count = 1 };
	struct fake_request r;

	(void)arg;
	job.has_group = true;
	job.group = slice_str("the-group");
	page.has_cursor = true;
	page.cursor = slice_str("next");
	if (!fake_greet(b, 10) || !fake_next(b, METHOD_job_list, &r))
		return;
	if (!slice_is(r.list->queue, "q") || r.list->state != JOB_DEAD || r.list->limit != 7)
		fake_wrong(b, "the filter did not arrive");
	fake_reply(b, &r, &page);
	page.has_cursor = false;
	if (!fake_next(b, METHOD_job_list, &r))
		return;
	if (!slice_is(r.list->cursor, "next") || r.list->limit != 6)
		fake_wrong(b, "the cursor did not arrive");
	fake_reply(b, &r, &page);
}

static void test_ls_follows_the_cursor(void **state)
{
	struct ran r = run_with(list_script, NULL, "", WORDS("ls", "-q", "q", "--state", "dead", "--limit", "7"));
	json_t *o;

	(void)state;
	assert_int_equal(r.exit, CLI_DONE);
	says(r.out, "ID ");
	says(r.out, "the-group");
	assert_null(strchr(r.out, '\033'));
	ran_done(&r);
	r = run_with(list_script, NULL, "", WORDS("ls", "-q", "q", "-s", "dead", "-l", "7", "--json"));
	o = json_loads(r.out, 0, NULL);
	assert_int_equal(json_array_size(o), 2);
	json_decref(o);
	ran_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_get_says_what_the_job_waits_for),
		cmocka_unit_test(test_get_link_wait),
		cmocka_unit_test(test_get_says_when_it_may_be_done),
		cmocka_unit_test(test_wait_goes_on_when_the_broker_is_back),
		cmocka_unit_test(test_wait_ends_with_its_timeout_without_a_broker),
		cmocka_unit_test(test_round_trip_has_three_decimals),
		cmocka_unit_test(test_result_of_an_unknown_job),
		cmocka_unit_test(test_result),
		cmocka_unit_test(test_ls_follows_the_cursor),
	};

	cli_run_clean_environment();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
