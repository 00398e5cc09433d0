/* Reading the worker's file, and making a request, while memory runs out: at each allocation there is, and from there
 * on. It is said, nothing is left behind, and nothing half made is given out: a reload leaves the file before in force.
 * And a hook that there is no memory for is not lost.
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/base/clean.h"
#include "proto/error.h"
#include "tests/harness/tempdir.h"
#include "tests/unit/alloc_count.h"
#include "worker/call/call_priv.h"
#include "worker/config/issue.h"
#include "worker/config/upstream.h"
#include "worker/config/worker_config.h"
#include "worker/dry_run.h"

/* What the libraries keep for ever they have taken after the first time. */
static size_t allocations_of(int (*f)(void *), void *user)
{
	size_t n;

	assert_int_equal(f(user), 0);
	alloc_count_start(0);
	assert_int_equal(f(user), 0);
	n = alloc_count.calls;
	alloc_count_stop();
	return n;
}

/* Every point. What is left behind is not judged: libyaml leaves what it had begun. */
static void fail_each(const char *what, int (*f)(void *), void *user, int other)
{
	size_t n = allocations_of(f, user);

	assert_true(n > 0);
	for (size_t i = 1; i <= n; i++) {
		int rc;

		alloc_count_start(i);
		rc = f(user);
		alloc_count_stop();
		if (rc != ERR_NO_MEMORY && rc != other)
			fail_msg("%s: without the %zu-th allocation of %zu: %s", what, i, n, error_text(rc));
	}
	assert_int_equal(f(user), 0);
}

/* ---- the file ---- */

static int load(void *user)
{
	struct worker_config *config = NULL;
	struct issue issue;
	int rc = worker_config_load(user, &config, &issue);

	if (rc < 0)
		assert_null(config);
	worker_config_free(config);
	return rc;
}

static void set_secrets(void)
{
	static const char *const names[] = {
		"FAL_KEY",	    "REPLICATE_API_TOKEN", "RUNWAY_API_KEY",	 "LUMA_API_KEY",   "KLING_ACCESS_KEY",
		"KLING_SECRET_KEY", "STABILITY_API_KEY",   "GEMINI_API_KEY",	 "HEYGEN_API_KEY", "DID_USER",
		"DID_PASSWORD",	    "SHOTSTACK_API_KEY",   "CREATOMATE_API_KEY",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		setenv(names[i], "a-secret-of-some-length", 1);
	setenv("RENDER_API", "http://127.0.0.1:9", 1);
}

static void every_ready_file(void **state)
{
	struct dirent *entry;
	char path[512];
	DIR *dir;

	(void)state;
	if (!alloc_can_fail())
		skip();
	dir = opendir("worker/upstreams");
	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		if (!strstr(entry->d_name, ".yaml"))
			continue;
		snprintf(path, sizeof(path), "worker/upstreams/%s", entry->d_name);
		/* Of a JSON text that it cannot keep Jansson says that it is none. */
		fail_each(path, load, path, ERR_CONFIG);
	}
	closedir(dir);
}

/* ---- a request ---- */

/* Everything that a request can be made of. */
static const char text[] = "slots: 4\n"
			   "queues: { form: form, json: json, sync: sync }\n"
			   "upstreams:\n"
			   "  form:\n"
			   "    base_url: \"http://127.0.0.1:9/base\"\n"
			   "    mode: poll\n"
			   "    headers: { X-Who: \"{meta.who}\" }\n"
			   "    auth: { kind: basic, user: me, password: \"{env.DID_PASSWORD}\" }\n"
			   "    submit: { path: \"/x/{key}\", id: /id, idempotency: path, on_unknown: fail,\n"
			   "      multipart: [ { name: a, value: \"{input/name}\" }, { name: f, file: \"{payload}\", "
			   "filename: f.bin } ] }\n"
			   "    poll: { path: \"/p/{id}\", ok: [DONE] }\n"
			   "    result: { media: /output }\n"
			   "  json:\n"
			   "    base_url: \"http://127.0.0.1:9\"\n"
			   "    mode: webhook\n"
			   "    auth: { kind: jwt_hs256, access_key: \"{env.KLING_ACCESS_KEY}\", secret_key: "
			   "\"{env.KLING_SECRET_KEY}\" }\n"
			   "    webhook_in: { inject: \"body:/hook\", verify: none }\n"
			   "    submit: { path: /x, id: /id, idempotency: \"body:/k\", body: "
			   "'{\"in\":\"{input/name}\",\"who\":\"by {meta.who}\"}' }\n"
			   "    poll: { path: \"/p/{id}\", ok: [DONE] }\n"
			   "    result: { media: /output }\n"
			   "  sync:\n"
			   "    base_url: \"http://127.0.0.1:9\"\n"
			   "    mode: sync\n"
			   "    auth: { kind: header, value: \"Bearer {env.FAL_KEY}\" }\n"
			   "    submit: { path: \"/x?q={input/name}\", idempotency: \"header:K\" }\n"
			   "    result: { from: body }\n";

static struct {
	struct worker_config *config;
	char path[256]; /* of the job's file */
	FILE *out;
	int err; /* standard error */
} request;

/* What it says each time is of no interest. */
static int make_request(void *user)
{
	int rc;

	(void)user;
	dup2(fileno(request.out), STDERR_FILENO);
	rc = dry_run(request.config, request.path, request.out);
	dup2(request.err, STDERR_FILENO);
	return rc;
}

static void write_job(struct tempdir *dir, const char *queue)
{
	FILE *f;

	snprintf(request.path, sizeof(request.path), "%s", tempdir_file(dir, "job.json"));
	f = fopen(request.path, "we");
	assert_non_null(f);
	fprintf(f,
		"{\"queue\":\"%s\",\"content_type\":\"application/json\",\"payload\":{\"name\":\"Ann\"},"
		"\"metadata\":{\"who\":\"us\"},\"hook_url\":\"http://x/hooks/y\"}",
		queue);
	fclose(f);
}

static void every_kind_of_request(void **state)
{
	static const char *const queues[] = { "form", "json", "sync" };
	struct tempdir dir;
	struct issue issue;

	(void)state;
	if (!alloc_can_fail())
		skip();
	if (worker_config_parse(slice_str(text), &request.config, &issue) < 0)
		fail_msg("%d: %s: %s", issue.line, issue.key, issue.message);
	tempdir_make(&dir);
	request.out = fopen("/dev/null", "we");
	assert_non_null(request.out);
	request.err = dup(STDERR_FILENO);
	assert_true(request.err >= 0);
	for (size_t i = 0; i < ARRAY_SIZE(queues); i++) {
		write_job(&dir, queues[i]);
		fail_each(queues[i], make_request, NULL, ERR_BAD_REQUEST);
	}
	close(request.err);
	fclose(request.out);
	worker_config_free(request.config);
	tempdir_remove(&dir);
}

/* ---- a hook ---- */

/* The one of this number, as the broker gives it. */
static void give(struct call *c, int64_t number)
{
	const struct raincheck_notification n = { .notice = RAINCHECK_NOTICE_JOB_WAKE, .hook = number };

	call_hook(c, &n);
}

/* Taken in, the one behind it would soon be told to be done with, and the broker throw both away. */
static void those_behind_a_missed_hook_wait_for_it(void **state)
{
	const struct upstream upstream = { .mode = UPSTREAM_POLL };

	(void)state;
	if (!alloc_can_fail())
		skip();
	for (size_t i = 1; i <= 4; i++) {
		struct call c = { .upstream = &upstream };

		call__hooks_begin(&c);
		alloc_count_start_once(i);
		give(&c, 1);
		alloc_count_stop();
		assert_int_equal(c.hooks.held_count, 0);
		give(&c, 2);
		give(&c, 4);
		assert_int_equal(c.hooks.held_count, 0);
		/* All are given again. */
		for (int64_t number = 1; number <= 4; number++)
			give(&c, number);
		assert_int_equal(c.hooks.held_count, 4);
		call__hooks_end(&c);
	}
}

/* The broker keeps the newest: one that was missed may be gone. */
static void a_missed_hook_that_is_gone_is_not_waited_for(void **state)
{
	const struct upstream upstream = { .mode = UPSTREAM_POLL };
	struct call c = { .upstream = &upstream };

	(void)state;
	if (!alloc_can_fail())
		skip();
	call__hooks_begin(&c);
	alloc_count_start_once(1);
	give(&c, 1);
	alloc_count_stop();
	give(&c, 2);
	assert_int_equal(c.hooks.held_count, 0);
	give(&c, 2);
	assert_int_equal(c.hooks.held_count, 1);
	call__hooks_end(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_ready_file),
		cmocka_unit_test(every_kind_of_request),
		cmocka_unit_test(those_behind_a_missed_hook_wait_for_it),
		cmocka_unit_test(a_missed_hook_that_is_gone_is_not_waited_for),
	};

	set_secrets();
	return cmocka_run_group_tests(tests, alloc_count_init, NULL);
}
