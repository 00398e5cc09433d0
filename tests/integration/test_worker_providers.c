/* Every ready upstream file (worker/upstreams) against the stand-in that plays the API it is for: calls that go well,
 * that fail, that come too soon, whose answer is lost, whose result has expired, whose job is canceled, whose worker is
 * killed. One worker serves all of them at once; what each paid for is what the stand-in counted under its name.
 *
 * The files are used as they are but for their pauses, which are shortened, and for allow_private, as the stand-in runs
 * on this machine.
 */
#include <jansson.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/clean.h"
#include "tests/harness/calls.h"

struct provider {
	const char *name;
	const char *base; /* the variable of its base URL */
	bool free;	  /* a submit may be repeated: the API knows it again */
	bool cancels;
	bool previews;
	bool sync;
};

static const struct provider providers[] = {
	{ .name = "fal", .base = "FAL_BASE_URL", .cancels = true },
	{ .name = "replicate", .base = "REPLICATE_BASE_URL", .cancels = true },
	{ .name = "cog", .base = "COG_BASE_URL", .free = true, .cancels = true, .sync = true },
	{ .name = "runway", .base = "RUNWAY_BASE_URL", .cancels = true },
	{ .name = "luma", .base = "LUMA_BASE_URL", .cancels = true },
	{ .name = "kling", .base = "KLING_BASE_URL" },
	{ .name = "stability", .base = "STABILITY_BASE_URL" },
	{ .name = "veo", .base = "VEO_BASE_URL" },
	{ .name = "heygen", .base = "HEYGEN_BASE_URL", .free = true, .previews = true },
	{ .name = "did", .base = "DID_BASE_URL" },
	{ .name = "shotstack", .base = "SHOTSTACK_BASE_URL", .previews = true },
	{ .name = "creatomate", .base = "CREATOMATE_BASE_URL", .previews = true },
	{ .name = "comfyui", .base = "COMFYUI_BASE_URL", .cancels = true },
};

#define PROVIDERS ARRAY_SIZE(providers)

static const char *const keys[][2] = {
	{ "FAL_KEY", "fal-key" },
	{ "REPLICATE_API_TOKEN", "replicate-key" },
	{ "RUNWAY_API_KEY", "runway-key" },
	{ "LUMA_API_KEY", "luma-key" },
	{ "KLING_ACCESS_KEY", "kling-access" },
	{ "KLING_SECRET_KEY", "kling-secret" },
	{ "STABILITY_API_KEY", "stability-key" },
	{ "GEMINI_API_KEY", "veo-key" },
	{ "HEYGEN_API_KEY", "heygen-key" },
	{ "DID_USER", "did" },
	{ "DID_PASSWORD", "did-key" },
	{ "SHOTSTACK_API_KEY", "shotstack-key" },
	{ "CREATOMATE_API_KEY", "creatomate-key" },
};

static struct calls calls;
static char ids[PROVIDERS][RAINCHECK_ID_SIZE];

/* ---- the worker's file: the ready ones, one after the other ---- */

static void put_line(FILE *out, const char *line)
{
	static const char *const pauses[][2] = { { "      first: ", "10ms" },
						 { "      interval: ", "20ms" },
						 { "      max: ", "50ms" } };

	for (size_t i = 0; i < ARRAY_SIZE(pauses); i++) {
		if (strncmp(line, pauses[i][0], strlen(pauses[i][0])) == 0) {
			fprintf(out, "%s%s\n", pauses[i][0], pauses[i][1]);
			return;
		}
	}
	if (strncmp(line, "    allow_private:", 18) == 0)
		return;
	fputs(line, out);
	if (strncmp(line, "    mode: ", 10) == 0)
		fputs("    allow_private: true\n", out);
}

static void add_file(FILE *out, const char *name)
{
	char path[128], line[512];
	bool inside = false;
	FILE *in;

	snprintf(path, sizeof(path), "worker/upstreams/%s.yaml", name);
	in = fopen(path, "r");
	if (!in)
		fail_msg("%s cannot be opened", path);
	while (fgets(line, sizeof(line), in)) {
		if (inside)
			put_line(out, line);
		inside |= strcmp(line, "upstreams:\n") == 0;
	}
	fclose(in);
	if (!inside)
		fail_msg("%s has no upstreams", path);
}

static void configure(void)
{
	FILE *out;

	snprintf(calls.stack.worker_config, sizeof(calls.stack.worker_config), "%s",
		 tempdir_file(&calls.stack.dir, "worker.yaml"));
	out = fopen(calls.stack.worker_config, "w");
	assert_non_null(out);
	fprintf(out, "server: %s\nslots: 64\nlease: 1s\nqueues:\n", calls.stack.server);
	for (size_t i = 0; i < PROVIDERS; i++)
		fprintf(out, "  %s: %s\n", providers[i].name, providers[i].name);
	fprintf(out, "upstreams:\n");
	for (size_t i = 0; i < PROVIDERS; i++)
		add_file(out, providers[i].name);
	fclose(out);
}

static void set_environment(bool set)
{
	char url[256];

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		if (set)
			setenv(keys[i][0], keys[i][1], 1);
		else
			unsetenv(keys[i][0]);
	}
	for (size_t i = 0; i < PROVIDERS; i++) {
		snprintf(url, sizeof(url), "%s/shapes/%s", calls.stack.api_url, providers[i].name);
		if (set)
			setenv(providers[i].base, url, 1);
		else
			unsetenv(providers[i].base);
	}
}

static void start_worker(void)
{
	set_environment(true);
	stack_start_worker(&calls.stack);
	set_environment(false);
}

static int setup(void **state)
{
	(void)state;
	calls_open(&calls);
	configure();
	start_worker();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	calls_close(&calls);
	return 0;
}

/* ---- a job for each ---- */

/* The input stands beside the fields that the files take, and once more as the prompt. */
static void put_one(size_t i, const char *behave)
{
	struct raincheck_put params = { .queue = providers[i].name,
					.content_type = "application/json",
					.max_attempts = 3 };
	_cleanup_free_ char *payload = NULL, *input = NULL;
	struct raincheck_put_result *result;
	json_t *body, *switches = json_loads(behave, 0, NULL);

	assert_non_null(switches);
	body = json_pack("{s:s, s:O}", "name", providers[i].name, "behave", switches);
	input = json_dumps(body, JSON_COMPACT);
	json_object_set_new(body, "prompt", json_string(input));
	json_object_set_new(body, "image", json_string("data:image/png;base64,aGVsbG8="));
	json_object_set_new(body, "avatar", json_string("ada"));
	json_object_set_new(body, "voice", json_string("low"));
	payload = json_dumps(body, JSON_COMPACT);
	json_decref(body);
	json_decref(switches);
	params.payload = (struct raincheck_bytes){ payload, strlen(payload) };
	params.backoff = (struct raincheck_backoff){ .has_base_ms = true, .base_ms = 10, .max_ms = 20 };
	if (raincheck_put(calls.rc, &params, &result) < 0)
		fail_msg("%s", raincheck_last_error(calls.rc)->message);
	memcpy(ids[i], result->id, sizeof(ids[i]));
	raincheck_free(result);
}

static void put_all(const char *behave)
{
	for (size_t i = 0; i < PROVIDERS; i++)
		put_one(i, behave);
}

static int64_t counted(const char *name, const char *what)
{
	struct http_answer answer;
	char url[256];
	json_t *books;
	int64_t n;

	snprintf(url, sizeof(url), "%s/stats", calls.stack.api_url);
	http_request(NULL, url, NULL, &answer);
	books = json_loadb(answer.body, answer.size, 0, NULL);
	http_answer_done(&answer);
	assert_non_null(books);
	n = json_integer_value(json_object_get(json_object_get(json_object_get(books, "by_name"), name), what));
	json_decref(books);
	return n;
}

static void expect_end(size_t i, enum raincheck_job_state state)
{
	raincheck_free(TAKE_PTR(calls.job));
	if (raincheck_wait(calls.rc, ids[i], 60000, &calls.job) < 0)
		fail_msg("%s: %s", providers[i].name, raincheck_last_error(calls.rc)->message);
	if (calls.job->state != state)
		fail_msg("%s: the job is %s, not %s; error: %s", providers[i].name,
			 raincheck_job_state_name(calls.job->state), raincheck_job_state_name(state),
			 calls.job->error ? calls.job->error->message : "none");
}

static void expect_paid_once(size_t i)
{
	int64_t paid = counted(providers[i].name, "paid");

	if (paid != 1)
		fail_msg("%s: paid %lld times", providers[i].name, (long long)paid);
}

/* The video was made from this one's input. */
static void expect_video(size_t i)
{
	struct calls_content c;
	char key[64];

	expect_end(i, RAINCHECK_JOB_SUCCEEDED);
	calls_read_back(&calls, ids[i], &c);
	snprintf(key, sizeof(key), "{\"name\":\"%s\",", providers[i].name);
	if (!memmem(c.data, c.size, key, strlen(key)))
		fail_msg("%s: the video is another's", providers[i].name);
	free(c.data);
	expect_paid_once(i);
}

static void expect_failure(size_t i, enum raincheck_failure kind, const char *words)
{
	expect_end(i, RAINCHECK_JOB_DEAD);
	if (calls.job->error->kind != kind || !strstr(calls.job->error->message, words))
		fail_msg("%s: error is %s \"%s\", not %s \"%s\"", providers[i].name,
			 raincheck_failure_name(calls.job->error->kind), calls.job->error->message,
			 raincheck_failure_name(kind), words);
	assert_int_equal(calls.job->attempt, 1);
	expect_paid_once(i);
}

/* ---- what happens to them ---- */

static void every_provider_brings_its_video(void **state)
{
	(void)state;
	/* Long enough for stills that are named too early to be asked for too often. */
	put_all("{\"delay_ms\":300}");
	for (size_t i = 0; i < PROVIDERS; i++) {
		expect_video(i);
		if (providers[i].previews && !calls_artifact(&calls, "preview"))
			fail_msg("%s: there is no preview", providers[i].name);
	}
}

static void every_provider_says_why_a_call_failed(void **state)
{
	(void)state;
	put_all("{\"fail\":{\"message\":\"two faces\",\"code\":\"SAFETY\"}}");
	for (size_t i = 0; i < PROVIDERS; i++)
		expect_failure(i, RAINCHECK_FAIL_REJECTED, "two faces");
}

static void every_provider_may_say_not_now(void **state)
{
	(void)state;
	put_all("{\"throttle_times\":1,\"retry_after_s\":0}");
	for (size_t i = 0; i < PROVIDERS; i++)
		expect_video(i);
	assert_int_equal(calls_counted(&calls, "throttled"), PROVIDERS);
}

static void a_lost_answer_is_never_paid_for_twice(void **state)
{
	(void)state;
	put_all("{\"reset\":\"paid\",\"times\":1}");
	for (size_t i = 0; i < PROVIDERS; i++) {
		if (providers[i].free)
			expect_video(i);
		else
			expect_failure(i, RAINCHECK_FAIL_REJECTED, "on_unknown: fail");
		assert_int_equal(counted(providers[i].name, "submits"), providers[i].free ? 2 : 1);
	}
}

static void an_expired_result_is_asked_for_again(void **state)
{
	(void)state;
	/* A sync answer holds the only URL there is. */
	for (size_t i = 0; i < PROVIDERS; i++)
		put_one(i, providers[i].sync ? "{\"data_url\":true}" : "{\"expire_times\":2}");
	for (size_t i = 0; i < PROVIDERS; i++)
		expect_video(i);
}

static void wait_until(const char *name, const char *what)
{
	stack_wait_for_api(&calls.stack, name, what, 1);
}

static void a_canceled_jobs_call_is_ended_at_the_api(void **state)
{
	struct raincheck_change_result *change;
	int64_t cancels = 0;

	(void)state;
	put_all("{\"hold\":true}");
	for (size_t i = 0; i < PROVIDERS; i++) {
		wait_until(providers[i].name, "paid");
		assert_int_equal(raincheck_cancel(calls.rc, ids[i], &change), 0);
		raincheck_free(change);
		cancels += providers[i].cancels;
	}
	calls_wait_until_counted(&calls, "cancelled", cancels);
	for (size_t i = 0; i < PROVIDERS; i++) {
		expect_end(i, RAINCHECK_JOB_CANCELED);
		expect_paid_once(i);
	}
	assert_int_equal(calls_counted(&calls, "cancelled"), cancels);
	assert_int_equal(calls_counted(&calls, "in_flight"), (int64_t)PROVIDERS - cancels);
}

static void a_killed_workers_calls_are_taken_up(void **state)
{
	(void)state;
	put_all("{\"hold\":true}");
	for (size_t i = 0; i < PROVIDERS; i++)
		wait_until(providers[i].name, providers[i].sync ? "paid" : "polls");
	process_end(&calls.stack.worker, SIGKILL);
	start_worker();
	calls_release_bodies(&calls);
	for (size_t i = 0; i < PROVIDERS; i++) {
		expect_video(i);
		assert_int_equal(counted(providers[i].name, "submits"), providers[i].sync ? 2 : 1);
	}
	assert_int_equal(calls_counted(&calls, "cancelled"), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(every_provider_brings_its_video),	 T(every_provider_says_why_a_call_failed),
		T(every_provider_may_say_not_now),	 T(a_lost_answer_is_never_paid_for_twice),
		T(an_expired_result_is_asked_for_again), T(a_canceled_jobs_call_is_ended_at_the_api),
		T(a_killed_workers_calls_are_taken_up),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
