/* A dry run: the request that a job would make, as a file describes the job, and what is wrong with that file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/base/clean.h"
#include "proto/error.h"
#include "tests/harness/tempdir.h"
#include "worker/config/issue.h"
#include "worker/config/worker_config.h"
#include "worker/dry_run.h"

static const char text[] =
	"queues: { json: json, raw: raw }\n"
	"upstreams:\n"
	"  json:\n"
	"    base_url: \"http://api.example/base\"\n"
	"    mode: sync\n"
	"    headers: { X-Who: \"{meta.who}\", X-Try: \"{job.attempt}\" }\n"
	"    submit: { path: \"/x/{job.id}\", body: '{\"in\":\"{input/name}\",\"q\":\"{job.queue}\"}' }\n"
	"    result: { from: body }\n"
	"  raw:\n"
	"    base_url: \"http://api.example\"\n"
	"    mode: sync\n"
	"    submit: { path: /y, idempotency: \"header:K\" }\n"
	"    result: { from: body }\n";

static struct {
	struct worker_config *config;
	struct tempdir dir;
	char said[4096]; /* on standard error */
	char shown[4096];
} run;

static int setup(void **state)
{
	struct issue issue;

	(void)state;
	if (worker_config_parse(slice_str(text), &run.config, &issue) < 0)
		fail_msg("%d: %s: %s", issue.line, issue.key, issue.message);
	tempdir_make(&run.dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	worker_config_free(run.config);
	tempdir_remove(&run.dir);
	return 0;
}

static void take(FILE *f, char ret[4096])
{
	rewind(f);
	ret[fread(ret, 1, 4095, f)] = '\0';
	fclose(f);
}

static int dry(const char *path)
{
	FILE *out = tmpfile(), *said = tmpfile();
	int err = dup(STDERR_FILENO), rc;

	assert_non_null(out);
	assert_non_null(said);
	dup2(fileno(said), STDERR_FILENO);
	rc = dry_run(run.config, path, out);
	fflush(stderr);
	dup2(err, STDERR_FILENO);
	close(err);
	take(out, run.shown);
	take(said, run.said);
	return rc;
}

static int dry_of(const char *job)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s", tempdir_file(&run.dir, "job.json"));
	f = fopen(path, "we");
	assert_non_null(f);
	fputs(job, f);
	fclose(f);
	return dry(path);
}

static void expect_shown(const char *job, const char *request)
{
	if (dry_of(job) < 0)
		fail_msg("%s", run.said);
	assert_string_equal(run.shown, request);
	assert_string_equal(run.said, "");
}

static void the_request_is_what_the_file_and_the_job_say(void **state)
{
	(void)state;
	expect_shown("{\"queue\":\"json\",\"payload\":{\"name\":\"Ann\"},\"metadata\":{\"who\":\"us\",\"n\":7},"
		     "\"id\":\"0190a5c4-7d3e-7abc-8def-0123456789ab\",\"attempt\":3}",
		     "POST http://api.example/base/x/0190a5c4-7d3e-7abc-8def-0123456789ab\n"
		     "X-Who: us\nX-Try: 3\nContent-Type: application/json\n\n"
		     "{\"in\":\"Ann\",\"q\":\"json\"}\n");
}

/* Text that is not JSON is a string in the file and sent as it is; JSON is sent as JSON, also where it is a string. */
static void a_payload_is_sent_as_its_type_says(void **state)
{
	(void)state;
	expect_shown("{\"queue\":\"raw\",\"payload\":\"two\\nlines\",\"content_type\":\"text/plain\"}",
		     "POST http://api.example/y\nContent-Type: text/plain\nK: 00000000-0000-7000-8000-000000000000\n\n"
		     "two\nlines\n");
	expect_shown("{\"queue\":\"raw\",\"payload\":\"a word\",\"content_type\":\"application/json\"}",
		     "POST http://api.example/y\nContent-Type: application/json\n"
		     "K: 00000000-0000-7000-8000-000000000000\n\n\"a word\"\n");
	expect_shown("{\"queue\":\"raw\",\"payload\":[1,2],\"content_type\":\"text/plain\"}",
		     "POST http://api.example/y\nContent-Type: text/plain\nK: 00000000-0000-7000-8000-000000000000\n\n"
		     "[1,2]\n");
}

static void what_is_wrong_with_the_job_is_told(void **state)
{
	static const struct {
		const char *job, *words;
	} rows[] = {
		{ "{\"queue\":", "job.json: " },
		{ "[]", "it is not an object with queue and payload" },
		{ "{\"payload\":1}", "it is not an object with queue and payload" },
		{ "{\"queue\":7,\"payload\":1}", "it is not an object with queue and payload" },
		{ "{\"queue\":\"json\"}", "it is not an object with queue and payload" },
		{ "{\"queue\":\"none\",\"payload\":1}", "the configuration has no such queue" },
		{ "{\"queue\":\"json\",\"payload\":{\"name\":\"Ann\"}}", "{meta.who}" },
		{ "{\"queue\":\"json\",\"payload\":{},\"metadata\":{\"who\":\"us\"}}", "{input/name}" },
		{ "{\"queue\":\"json\",\"queue\":\"raw\",\"payload\":1}", "duplicate" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(dry_of(rows[i].job), ERR_BAD_REQUEST);
		if (!strstr(run.said, rows[i].words))
			fail_msg("\"%s\" is not in \"%s\"", rows[i].words, run.said);
		assert_string_equal(run.shown, "");
	}
	assert_int_equal(dry("/nowhere/job.json"), ERR_BAD_REQUEST);
	assert_non_null(strstr(run.said, "/nowhere/job.json: "));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(the_request_is_what_the_file_and_the_job_say),
		T(a_payload_is_sent_as_its_type_says),
		T(what_is_wrong_with_the_job_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
