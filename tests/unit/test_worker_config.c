/* The configuration file: what it means, and that what is wrong is named with its line and key. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proto/base/clean.h"
#include "proto/error.h"
#include "worker/config/issue.h"
#include "worker/config/worker_config.h"

#define HEAD "queues: { q: up }\nupstreams:\n  up:\n    base_url: http://127.0.0.1:1\n"
#define SYNC HEAD "    mode: sync\n    submit: { path: /x }\n"
#define POLL                                                                                                    \
	HEAD "    mode: poll\n    submit: { path: /x, id: /id }\n    poll: { path: \"/x/{id}\", ok: [DONE] }\n" \
	     "    result: { media: /out }\n"

static void assert_bad(const char *text, int line, const char *key, const char *message)
{
	struct worker_config *config = NULL;
	struct issue issue = { .line = -1 };

	assert_int_equal(worker_config_parse(slice_str(text), &config, &issue), ERR_CONFIG);
	assert_string_equal(issue.key, key);
	assert_int_equal(issue.line, line);
	assert_non_null(strstr(issue.message, message));
}

static struct worker_config *good(const char *text)
{
	struct worker_config *config = NULL;
	struct issue issue;
	int rc = worker_config_parse(slice_str(text), &config, &issue);

	if (rc < 0)
		fail_msg("%d: %s: %s", issue.line, issue.key, issue.message);
	return config;
}

static void test_defaults(void **state)
{
	_cleanup_(worker_config_freep) struct worker_config *c = good(POLL);
	const struct upstream *u = worker_config_route(c, "q");

	(void)state;
	assert_int_equal(c->slots, 50);
	assert_int_equal(c->lease_ms, 30000);
	assert_int_equal(c->grace_ms, 30000);
	assert_null(c->server);
	assert_null(c->token);
	assert_non_null(u);
	assert_ptr_equal(u, worker_config_upstream(c, "up"));
	assert_null(worker_config_route(c, "other"));
	assert_int_equal(u->mode, UPSTREAM_POLL);
	assert_string_equal(u->submit.method, "POST");
	assert_int_equal(u->submit.on_unknown, ON_UNKNOWN_FAIL);
	assert_int_equal(u->result.from, RESULT_POINTER);
	assert_false(u->allow_private);
	assert_int_equal(u->poll.interval_ms, 5000);
	assert_int_equal(u->error.cap_ms, 120000);
}

static void test_everything_given(void **state)
{
	static const char text[] =
		"server: unix:/run/rc.sock\n"
		"token: \"{env.CONFIG_TOKEN}\"\n"
		"name: w-1\nslots: 7\nlease: 10s\ngrace: 5s\n"
		"log: { level: debug, format: json }\n"
		"queues: { a.b: one, c: two }\n"
		"upstreams:\n"
		"  two: { base_url: \"https://two.example/\", mode: sync, submit: { path: /x } }\n"
		"  one:\n"
		"    base_url: \"https://api.example.com/v2/\"\n"
		"    mode: poll\n"
		"    auth: { kind: header, name: X-Key, value: \"Key {env.CONFIG_TOKEN}\" }\n"
		"    headers: { X-Version: \"2024-11-06\", X-Job: \"{job.id}\" }\n"
		"    allow_hosts: [\"*.cdn.example.com\"]\n"
		"    allow_private: true\n"
		"    timeouts: { connect: 5s, attempt: 10m, start: 30m, stall: 30s }\n"
		"    submit:\n"
		"      method: PUT\n      path: \"/t/{job.id}\"\n"
		"      body: |\n        {\"p\": \"{input/p}\"}\n"
		"      ok: [200, 201]\n      id: /id\n"
		"      urls: { status: /urls/get, result: /urls/out }\n"
		"      idempotency: path\n      on_unknown: retry\n"
		"    poll:\n"
		"      path: \"/t/{id}\"\n      first: 5s\n      interval: 6s\n      factor: 1.5\n"
		"      max: 30s\n      jitter: 0.25\n      state: /s\n      pending: [P, R]\n"
		"      ok: [S]\n      failed: [F, C]\n      progress: /progress\n"
		"    result: { from: pointer, media: /o/*, preview: /p, auth: upstream, types: [video/mp4, "
		"image/*], max_bytes: 64KiB }\n"
		"    error: { message: /m, code: /c, retry_http: [429], retry_codes: [a], fatal_codes: [b], "
		"retry_after: ms, cap: 1m }\n";
	_cleanup_(worker_config_freep) struct worker_config *c = NULL;
	const struct upstream *u;

	(void)state;
	setenv("CONFIG_TOKEN", "t0ken", 1);
	c = good(text);
	u = worker_config_route(c, "a.b");
	assert_string_equal(c->server, "unix:/run/rc.sock");
	assert_string_equal(c->token, "t0ken");
	assert_int_equal(c->slots, 7);
	assert_int_equal(c->log_format, LOG_JSON);
	assert_string_equal(u->name, "one");
	assert_string_equal(worker_config_route(c, "c")->name, "two");
	assert_string_equal(u->base_url, "https://api.example.com/v2");
	assert_int_equal(u->origin.port, 443);
	assert_int_equal(u->header_count, 2);
	assert_string_equal(u->headers[1].name, "X-Job");
	assert_string_equal(u->headers[1].value, "{job.id}");
	assert_true(u->allow_private);
	assert_int_equal(u->timeouts.start_ms, 1800000);
	assert_int_equal(u->submit.idempotency, IDEMPOTENCY_PATH);
	assert_int_equal(u->submit.on_unknown, ON_UNKNOWN_RETRY);
	assert_int_equal(u->submit.ok_count, 2);
	assert_int_equal(u->poll.pending.count, 2);
	assert_true(u->result.credentials);
	assert_int_equal(u->result.max_bytes, 65536);
	assert_int_equal(u->error.retry_after, RETRY_AFTER_MS);
	assert_int_equal(u->error.cap_ms, 60000);
}

#define WITH_KEY "submit: { path: /x, idempotency: header:K }, result: { from: body }"
#define WARM(words) \
	"queues: { q: u }\nupstreams:\n  u: { base_url: http://x.example, mode: sync, " WITH_KEY words " }\n"

static void test_warm(void **state)
{
	static const struct {
		const char *text;
		const char *method;
		const char *path;
		int64_t ahead_ms;
	} rows[] = {
		{ WARM(""), "HEAD", "/", 5000 },
		{ WARM(", warm: none"), NULL, NULL, 0 },
		{ WARM(", warm: { method: OPTIONS }"), "OPTIONS", "/", 5000 },
		{ WARM(", warm: { method: GET, path: /health, ahead: 30s }"), "GET", "/health", 30000 },
		/* Submits that take a connection of their own have no use for open ones. */
		{ "queues: { q: u }\nupstreams:\n  u: { base_url: http://x.example, mode: sync, submit: { path: /x } "
		  "}\n",
		  NULL, NULL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(worker_config_freep) struct worker_config *c = good(rows[i].text);
		const struct upstream_warm *w = &c->upstreams[0].warm;

		if (!rows[i].method) {
			assert_null(w->method);
			continue;
		}
		assert_string_equal(w->method, rows[i].method);
		assert_string_equal(w->path, rows[i].path);
		assert_int_equal(w->ahead_ms, rows[i].ahead_ms);
	}
	assert_bad(WARM(", warm: some"), 3, "upstreams.u.warm", "neither none nor");
	assert_bad(WARM(", warm: { method: POST }"), 3, "upstreams.u.warm.method", "none of HEAD, OPTIONS, GET");
	assert_bad(WARM(", warm: { path: health }"), 3, "upstreams.u.warm.path", "begin with a slash");
	assert_bad(WARM(", warm: { path: \"/{job.id}\" }"), 3, "upstreams.u.warm.path", "placeholder");
	assert_bad(WARM(", warm: { ahead: soon }"), 3, "upstreams.u.warm.ahead", "duration");
	assert_bad(WARM(", warm: { ahead: 31s }"), 3, "upstreams.u.warm.ahead", "more than 30s");
	assert_bad(WARM(", warm: { when: 31s }"), 3, "upstreams.u.warm.when", "no such key");
	assert_bad(SYNC "    warm: { path: /x }\n", 7, "upstreams.up.warm", "of no use without submit.idempotency");
}

static void test_unknown_keys(void **state)
{
	(void)state;
	assert_bad(SYNC "colour: red\n", 7, "colour", "no such key");
	assert_bad(SYNC "    pol: { path: /x }\n", 7, "upstreams.up.pol", "no such key");
	assert_bad(HEAD "    mode: sync\n    submit:\n      path: /x\n      pth: /y\n", 8, "upstreams.up.submit.pth",
		   "no such key");
}

static void test_wrong_kinds_of_values(void **state)
{
	(void)state;
	assert_bad(SYNC "slots: many\n", 7, "slots", "many");
	assert_bad(SYNC "slots: 0\n", 7, "slots", "from 1");
	assert_bad(SYNC "server: 127.0.0.1:99999\n", 7, "server", "port");
	assert_bad("queues: { q: u }\n"
		   "upstreams:\n"
		   "  u:\n"
		   "    base_url: http://127.0.0.1:1\n"
		   "    mode: sync\n"
		   "    headers: { X-A: \"a\\r\\nB: c\" }\n"
		   "    submit: { path: / }\n"
		   "    result: { from: body }\n",
		   6, "upstreams.u.headers.X-A", "control character");
	assert_bad(SYNC "    timeouts: 5s\n", 7, "upstreams.up.timeouts", "not a mapping of keys");
	assert_bad(SYNC "    allow_private: maybe\n", 7, "upstreams.up.allow_private", "maybe");
	assert_bad(SYNC "    timeouts: { connect: 5 }\n", 7, "upstreams.up.timeouts.connect", "duration");
	assert_bad(SYNC "    timeouts:\n      stall: 5 weeks\n", 8, "upstreams.up.timeouts.stall", "duration");
	assert_bad(SYNC "    result: { max_bytes: lots }\n", 7, "upstreams.up.result.max_bytes", "size");
	assert_bad(SYNC "    error: { retry_http: [42] }\n", 7, "upstreams.up.error.retry_http", "42");
	assert_bad(SYNC "    error: { message: failure }\n", 7, "upstreams.up.error.message", "JSON Pointer");
	assert_bad(SYNC "log: { level: loud }\n", 7, "log.level", "loud");
}

static void test_not_yaml(void **state)
{
	(void)state;
	assert_bad("queues: {\n", 2, "", "not YAML");
	assert_bad("- a\n", 1, "", "not a mapping");
	assert_bad(SYNC "slots: 1\nslots: 2\n", 8, "slots", "there already, in line 7");
	assert_bad("queues: &a {}\nupstreams: *a\n", 2, "upstreams", "aliases");
}

static void test_what_belongs_together(void **state)
{
	(void)state;
	assert_bad("slots: 1\n", 0, "queues", "none");
	assert_bad("queues: { q: nobody }\nupstreams: {}\n", 1, "queues.q", "no upstream \"nobody\"");
	assert_bad("queues: { q: up }\nupstreams:\n  up:\n    mode: sync\n", 3, "upstreams.up.base_url", "missing");
	assert_bad(HEAD "    submit: { path: /x }\n", 3, "upstreams.up.mode", "missing");
	assert_bad(HEAD "    mode: poll\n    submit: { path: /x }\n", 6, "upstreams.up.submit.id", "missing");
	assert_bad(HEAD "    mode: poll\n    submit: { path: /x, id: /id }\n    poll: { path: /x }\n", 7,
		   "upstreams.up.poll.ok", "missing");
	assert_bad(HEAD
		   "    mode: poll\n    submit: { path: /x, id: /id }\n    poll: { path: /x, ok: [A], failed: [A] }\n",
		   7, "upstreams.up.poll.ok", "another list");
	assert_bad(HEAD "    mode: sync\n    submit: { path: /x }\n    result: { from: pointer }\n", 7,
		   "upstreams.up.result.media", "missing");
	assert_bad(SYNC "    error: { retry_codes: [a] }\n", 7, "upstreams.up.error.code", "missing");
	assert_bad(HEAD "    mode: sync\n    submit: { path: x }\n", 6, "upstreams.up.submit.path", "slash");
	assert_bad(HEAD "    mode: sync\n    submit: { path: \"/{id}\" }\n", 6, "upstreams.up.submit.path", "{id}");
	assert_bad(HEAD "    mode: sync\n    submit:\n      path: /x\n      body: \"{oops\"\n", 8,
		   "upstreams.up.submit.body", "not JSON");
	assert_bad(SYNC "    headers: { Host: x }\n", 7, "upstreams.up.headers.Host", "cannot be set");
	assert_bad(SYNC "    headers: { \"X Y\": x }\n", 7, "upstreams.up.headers.X Y", "name of a header");
	assert_bad("queues: { q: up }\nupstreams:\n  up: { base_url: \"http://u:p@h/\", mode: sync }\n", 3,
		   "upstreams.up.base_url", "http or https URL");
}

static void test_secrets_that_are_missing(void **state)
{
	(void)state;
	unsetenv("CONFIG_NONE");
	assert_bad(SYNC "token: \"{env.CONFIG_NONE}\"\n", 7, "token", "{env.CONFIG_NONE} is not there");
	assert_bad(SYNC "    auth:\n      kind: header\n      value: \"Bearer {env.CONFIG_NONE}\"\n", 9,
		   "upstreams.up.auth.value", "{env.CONFIG_NONE} is not there");
	assert_bad(SYNC "    auth: { kind: basic, user: u, password: \"{file./none/at/all}\" }\n", 7,
		   "upstreams.up.auth.password", "{file./none/at/all} is not there");
}

/* Loads a file, giving a value to each variable that it wants. */
static void assert_loads(const char *path)
{
	struct worker_config *config = NULL;
	struct issue issue = { .line = 0 };
	char name[64];

	while (worker_config_load(path, &config, &issue) < 0) {
		if (sscanf(issue.message, "{env.%63[A-Z_]} is not there", name) != 1)
			fail_msg("%s:%d: %s: %s", path, issue.line, issue.key, issue.message);
		setenv(name, strcmp(name, "RENDER_API") == 0 ? "http://127.0.0.1:1" : "word", 1);
	}
	worker_config_free(config);
}

static bool text_has(const char *path, const char *words)
{
	static char text[1 << 16];
	FILE *f = fopen(path, "r");

	assert_non_null(f);
	text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
	fclose(f);
	return strstr(text, words);
}

static void test_every_ready_file_loads_and_is_listed(void **state)
{
	DIR *dir = opendir("worker/upstreams");
	struct dirent *entry;
	char path[400];
	int files = 0;

	(void)state;
	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "upstreams/%s", entry->d_name);
		if (!text_has("worker/UPSTREAMS.md", path))
			fail_msg("worker/UPSTREAMS.md does not list %s", path);
		snprintf(path, sizeof(path), "worker/upstreams/%s", entry->d_name);
		assert_loads(path);
		files++;
	}
	closedir(dir);
	assert_true(files >= 15);
}

static void test_formatting(void **state)
{
	struct issue issue;
	char text[200];

	(void)state;
	issue_set(&issue, 12, "a.b", "it is %s", "wrong");
	issue_format(&issue, "w.yaml", text, sizeof(text));
	assert_string_equal(text, "w.yaml:12: a.b: it is wrong");
	issue_set(&issue, 0, NULL, "it is empty");
	issue_format(&issue, "w.yaml", text, sizeof(text));
	assert_string_equal(text, "w.yaml: it is empty");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_everything_given),
		cmocka_unit_test(test_warm),
		cmocka_unit_test(test_unknown_keys),
		cmocka_unit_test(test_wrong_kinds_of_values),
		cmocka_unit_test(test_not_yaml),
		cmocka_unit_test(test_what_belongs_together),
		cmocka_unit_test(test_secrets_that_are_missing),
		cmocka_unit_test(test_every_ready_file_loads_and_is_listed),
		cmocka_unit_test(test_formatting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
