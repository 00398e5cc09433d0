/* Every key of the worker's file with a value that it cannot have: what is said names the line and the key. The table
 * is held against the schema: a key that it has and no row here has fails the test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proto/base/buf.h"
#include "proto/base/clean.h"
#include "proto/error.h"
#include "worker/config/issue.h"
#include "worker/config/worker_config.h"

#define TOP  "queues: { q: up }\nupstreams:\n  up:\n"
#define BASE TOP "    base_url: http://127.0.0.1:1\n"
/* Six lines each; what a row adds is line 7 … */
#define SYNC BASE "    mode: sync\n    submit: { path: /x }\n"
/* … and line 9 here. */
#define POLL                                                                                                    \
	BASE "    mode: poll\n    submit: { path: /x, id: /id }\n    poll: { path: \"/x/{id}\", ok: [DONE] }\n" \
	     "    result: { media: /out }\n"
#define WEBHOOK                                                                                                    \
	BASE "    mode: webhook\n    submit: { path: /x, id: /id }\n    poll: { path: \"/x/{id}\", ok: [DONE] }\n" \
	     "    result: { media: /out }\n"
#define HOOK(more) WEBHOOK "    webhook_in: { inject: \"query:h\", " more " }\n"
/* With the rest of the submit, or the poll, on line 6, or 7. */
#define SUBMIT(more) BASE "    mode: sync\n    submit: { path: /x, " more " }\n"
#define SUBMIT_ID(more) \
	BASE "    mode: poll\n    submit: { path: /x, id: /id, " more " }\n    poll: { path: /x, ok: [A] }\n"
#define POLLING(more) \
	BASE "    mode: poll\n    submit: { path: /x, id: /id }\n    poll: { path: /x, ok: [A], " more " }\n"
#define RESULT(more)                                                                                                   \
	BASE "    mode: poll\n    submit: { path: /x, id: /id }\n    poll: { path: /x, ok: [A] }\n    result: { " more \
	     " }\n"
#define PART(more)                                                                                                     \
	BASE "    mode: sync\n    submit:\n      path: /x\n      multipart:\n        - { name: a, value: b }\n       " \
	     " - { " more " }\n"
#define LOOKUP(more) SUBMIT_ID("on_unknown: lookup, lookup: { " more " }")

static const struct {
	const char *text;
	int line;
	const char *key; /* as it is told; under upstreams.up. where it begins with a dot */
	const char *words;
} rows[] = {
	{ SYNC "server: \"nowhere:99999\"\n", 7, "server", "port" },
	{ SYNC "token: \"{env.CONFIG_NONE}\"\n", 7, "token", "is not there" },
	{ SYNC "name: \"a b\"\n", 7, "name", "1 to 128" },
	{ SYNC "slots: none\n", 7, "slots", "none" },
	{ SYNC "lease: 1ms\n", 7, "lease", "at least" },
	{ SYNC "grace: soon\n", 7, "grace", "duration" },
	{ SYNC "log: { level: loud }\n", 7, "log.level", "loud" },
	{ SYNC "log: { format: xml }\n", 7, "log.format", "xml" },
	{ SYNC "log: 3\n", 7, "log", "not a mapping of keys" },
	{ "queues: { q: nobody }\nupstreams: {}\n", 1, "queues.q", "no upstream" },
	{ "queues: 5\n", 1, "queues", "not a mapping of keys" },
	{ "queues: { q: up }\nupstreams: 5\n", 2, "upstreams", "not a mapping of keys" },
	{ TOP "    mode: sync\n", 3, ".base_url", "missing" },
	{ TOP "    mode: sync\n    base_url: \"ftp://a\"\n", 5, ".base_url", "http or https" },
	{ TOP "    mode: sync\n    base_url: \"{env.CONFIG_NONE}\"\n", 5, ".base_url", "is not there" },
	{ BASE "    mode: both\n", 5, ".mode", "both" },
	{ SYNC "    auth: { kind: bearer }\n", 7, ".auth.kind", "bearer" },
	{ SYNC "    auth: { kind: header, name: \"a b\", value: x }\n", 7, ".auth.name", "name of a header" },
	{ SYNC "    auth: { kind: header, value: \"{inptu}\" }\n", 7, ".auth.value", "{inptu}" },
	{ SYNC "    auth: { kind: basic, user: \"a:b\", password: c }\n", 7, ".auth.user", "colon" },
	{ SYNC "    auth: { kind: basic, user: a, password: \"{env.CONFIG_NONE}\" }\n", 7, ".auth.password",
	  "is not there" },
	{ SYNC "    auth: { kind: jwt_hs256, access_key: \"{env.CONFIG_NONE}\", secret_key: b }\n", 7,
	  ".auth.access_key", "is not there" },
	{ SYNC "    auth: { kind: jwt_hs256, access_key: a, secret_key: \"{env.CONFIG_NONE}\" }\n", 7,
	  ".auth.secret_key", "is not there" },
	{ SYNC "    auth: { kind: jwt_hs256, access_key: a }\n", 7, ".auth", "needs access_key and secret_key" },
	{ SYNC "    auth: { kind: jwt_hs256, access_key: a, secret_key: b, ttl: 1s }\n", 7, ".auth.ttl", "at least" },
	{ SYNC "    auth: { kind: header, value: a, ttl: 1h }\n", 7, ".auth.kind", "jwt_hs256" },
	{ SYNC "    headers: { Host: x }\n", 7, ".headers.Host", "cannot be set" },
	{ PART("name: x, value: y") "    headers: { content-type: text/plain }\n", 11, ".headers", "boundary" },
	{ SYNC "    allow_hosts: { a: b }\n", 7, ".allow_hosts", "not a list" },
	{ SYNC "    allow_private: maybe\n", 7, ".allow_private", "maybe" },
	{ SYNC "    timeouts: { connect: x }\n", 7, ".timeouts.connect", "duration" },
	{ SYNC "    timeouts: { attempt: x }\n", 7, ".timeouts.attempt", "duration" },
	{ SYNC "    timeouts: { start: x }\n", 7, ".timeouts.start", "duration" },
	{ SYNC "    timeouts: { stall: 0s }\n", 7, ".timeouts.stall", "at least" },
	{ SUBMIT("method: SING"), 6, ".submit.method", "none of POST, PUT, PATCH, GET" },
	{ BASE "    mode: sync\n    submit: { path: x }\n", 6, ".submit.path", "slash" },
	{ SUBMIT("body: \"{\""), 6, ".submit.body", "not JSON" },
	{ SUBMIT("body: \"{}\", method: GET"), 6, ".submit.body", "a GET has no body" },
	{ SUBMIT("ok: [99]"), 6, ".submit.ok", "99" },
	{ SUBMIT_ID("ok: [200]") "    result: { media: /x }\n    submit: 1\n", 9, ".submit", "already" },
	{ BASE "    mode: poll\n    submit: { path: /x, id: id }\n", 6, ".submit.id", "JSON Pointer" },
	{ SUBMIT("urls: { status: x }"), 6, ".submit.urls.status", "JSON Pointer" },
	{ SUBMIT("urls: { result: x }"), 6, ".submit.urls.result", "JSON Pointer" },
	{ SUBMIT("urls: { cancel: x }"), 6, ".submit.urls.cancel", "JSON Pointer" },
	{ SUBMIT_ID("urls: { cancel: /x }") "    result: { media: /x }\n", 3, ".cancel.method", "missing" },
	{ SUBMIT("idempotency: often"), 6, ".submit.idempotency", "often" },
	{ BASE "    mode: sync\n    submit: { path: /x }\n    result: { from: body }\n---\nslots: 9\n", 8, "",
	  "a second document begins here" },
	{ BASE "    mode: sync\n    submit: { path: /x }\n    result: { from: body }\n...\n@@\n", 9, "",
	  "it is not YAML" },
	{ SUBMIT("idempotency: path"), 6, ".submit.idempotency", "{key}" },
	{ SUBMIT("idempotency: \"body:/k\""), 6, ".submit.idempotency", "no submit.body" },
	{ SUBMIT("on_unknown: hope"), 6, ".submit.on_unknown", "hope" },
	{ SUBMIT("on_unknown: lookup"), 6, ".submit.on_unknown", "mode sync" },
	{ SUBMIT_ID("on_unknown: lookup"), 6, ".submit.lookup.path", "missing" },
	{ SUBMIT_ID("lookup: { path: /x }"), 6, ".submit.lookup", "on_unknown: lookup" },
	{ LOOKUP("path: x, id: /i"), 6, ".submit.lookup.path", "slash" },
	{ LOOKUP("path: \"/{id}\", id: /i"), 6, ".submit.lookup.path", "not known yet" },
	{ LOOKUP("path: /x"), 6, ".submit.lookup.id", "missing" },
	{ LOOKUP("path: /x, id: i"), 6, ".submit.lookup.id", "JSON Pointer" },
	{ LOOKUP("path: /x, id: /i, method: PUT"), 6, ".submit.lookup.method", "none of GET, POST" },
	{ LOOKUP("path: /x, id: /i, body: \"[\""), 6, ".submit.lookup.body", "not JSON" },
	{ LOOKUP("path: /x, id: /i, absent: [1]"), 6, ".submit.lookup.absent", "not an HTTP status" },
	{ LOOKUP("path: /x, id: /i, tries: 0"), 6, ".submit.lookup.tries", "from 1" },
	{ LOOKUP("path: /x, id: /i, interval: x"), 6, ".submit.lookup.interval", "duration" },
	{ BASE "    mode: poll\n    submit: { path: /x, id: /id, urls: { status: /u }, on_unknown: lookup, lookup: { "
	       "path: /x, id: /i } }\n"
	       "    poll: { ok: [A] }\n",
	  7, ".poll.path", "looked up" },
	{ PART("value: x"), 10, ".submit.multipart.1", "needs a name" },
	{ PART("name: \"\", value: x"), 10, ".submit.multipart.1", "needs a name" },
	{ PART("name: x"), 10, ".submit.multipart.1", "either a value or a file" },
	{ PART("name: x, value: \"{nope}\""), 10, ".submit.multipart.1.value", "{nope}" },
	{ PART("name: x, file: \"{nope}\""), 10, ".submit.multipart.1.file", "{nope}" },
	{ PART("name: \"a\\r\\nb\", value: x"), 10, ".submit.multipart.1.name", "control" },
	{ PART("name: x, file: \"{payload}\", filename: \"a\\nb\""), 10, ".submit.multipart.1.filename", "control" },
	{ PART("name: x, file: \"{payload}\", type: png"), 10, ".submit.multipart.1.type", "media type" },
	{ PART("name: x, value: y, optional: maybe"), 10, ".submit.multipart.optional", "maybe" },
	{ PART("name: x, value: y, colour: red"), 10, ".submit.multipart.colour", "no such key" },
	{ SUBMIT("body: \"{}\", multipart: [ { name: a, value: b } ]"), 6, ".submit.multipart", "submit.body as well" },
	{ BASE "    mode: poll\n    submit: { path: /x, id: /id }\n    poll: { path: x, ok: [A] }\n", 7, ".poll.path",
	  "slash" },
	{ POLLING("first: x"), 7, ".poll.first", "duration" },
	{ POLLING("interval: 0s"), 7, ".poll.interval", "at least" },
	{ POLLING("factor: 0.5"), 7, ".poll.factor", "from 1" },
	{ POLLING("max: 1ms"), 7, ".poll.max", "shorter" },
	{ POLLING("jitter: 2"), 7, ".poll.jitter", "from 0" },
	{ POLLING("state: s"), 7, ".poll.state", "JSON Pointer" },
	{ POLLING("pending: A"), 7, ".poll.pending", "not a list" },
	{ POLLING("failed: [A]"), 7, ".poll.ok", "another list" },
	{ POLLING("pending: [B], failed: 3"), 7, ".poll.failed", "not a list" },
	{ POLLING("error: e"), 7, ".poll.error", "JSON Pointer" },
	{ POLLING("progress: p"), 7, ".poll.progress", "JSON Pointer" },
	{ POLLING("position: p"), 7, ".poll.position", "JSON Pointer" },
	{ RESULT("from: mars"), 8, ".result.from", "mars" },
	{ RESULT("from: get, path: x"), 8, ".result.path", "slash" },
	{ RESULT("from: get, path: \"/{answer/~9}\""), 8, ".result.path", "JSON Pointer" },
	{ RESULT("media: m"), 8, ".result.media", "JSON Pointer" },
	{ RESULT("media: /m, preview: p"), 8, ".result.preview", "JSON Pointer" },
	{ RESULT("media: /m, outputs: { still: s }"), 8, ".result.outputs.still", "JSON Pointer" },
	{ RESULT("media: /m, outputs: { result: /s }"), 8, ".result.outputs.result", "neither" },
	{ RESULT("media: /m, auth: me"), 8, ".result.auth", "me" },
	{ RESULT("media: /m, types: [video]"), 8, ".result.types", "media type" },
	{ RESULT("media: /m, max_bytes: big"), 8, ".result.max_bytes", "size" },
	{ SYNC "    error: { message: m }\n", 7, ".error.message", "JSON Pointer" },
	{ SYNC "    error: { code: c }\n", 7, ".error.code", "JSON Pointer" },
	{ SYNC "    error: { code: \"header:a b\" }\n", 7, ".error.code", "name of a header" },
	{ SYNC "    error: { retry_http: [42] }\n", 7, ".error.retry_http", "42" },
	{ SYNC "    error: { throttle_http: [42] }\n", 7, ".error.throttle_http", "42" },
	{ SYNC "    error: { retry_codes: [a] }\n", 7, ".error.code", "missing" },
	{ SYNC "    error: { throttle_codes: [a] }\n", 7, ".error.code", "missing" },
	{ SYNC "    error: { fatal_codes: [a] }\n", 7, ".error.code", "missing" },
	{ SYNC "    error: { retry_after: hours }\n", 7, ".error.retry_after", "hours" },
	{ SYNC "    error: { cap: x }\n", 7, ".error.cap", "duration" },
	{ POLL "    cancel: { method: SING, path: /x }\n", 9, ".cancel.method", "none of DELETE" },
	{ POLL "    cancel: { method: POST }\n", 9, ".cancel.path", "missing" },
	{ POLL "    cancel: { path: x }\n", 9, ".cancel.path", "slash" },
	{ SYNC "    cancel: { path: \"/x/{id}\" }\n", 7, ".cancel.path", "not known yet" },
	{ POLL "    cancel: { path: /x, body: \"{\" }\n", 9, ".cancel.body", "not JSON" },
	{ POLL "    cancel: { path: /x, timeout: 1h }\n", 9, ".cancel.timeout", "at most" },
	{ SYNC "    proxy: \"gopher://a:1\"\n", 7, ".proxy", "socks5" },
	{ SYNC "    proxy: \"http://a:{env.CONFIG_NONE}@b:1\"\n", 7, ".proxy", "is not there" },
	{ SYNC "    warm: some\n", 7, ".warm", "neither none nor" },
	{ SYNC "    warm: { method: HEAD }\n", 7, ".warm", "of no use without submit.idempotency" },
	{ SUBMIT("idempotency: header:K") "    warm: { method: POST }\n", 7, ".warm.method", "none of HEAD" },
	{ SUBMIT("idempotency: header:K") "    warm: { path: x }\n", 7, ".warm.path", "slash" },
	{ SUBMIT("idempotency: header:K") "    warm: { ahead: 31s }\n", 7, ".warm.ahead", "more than 30s" },
	{ SYNC "    ca_file: /none/ca.pem\n", 7, ".ca_file", "cannot be read" },
	{ SYNC "    ca_file: Makefile\n", 7, ".ca_file", "holds no certificate" },
	{ SYNC "    interface: \"a b\"\n", 7, ".interface", "neither the name" },
	{ SYNC "    webhook_in: { verify: none }\n", 7, ".webhook_in", "a sync API" },
	{ WEBHOOK "\n", 3, ".webhook_in", "missing" },
	{ WEBHOOK "    webhook_in: { verify: none }\n", 9, ".webhook_in.inject", "missing" },
	{ WEBHOOK "    webhook_in: { inject: somewhere }\n", 9, ".webhook_in.inject", "none of body:" },
	{ WEBHOOK "    webhook_in: { inject: \"body:/h\" }\n", 9, ".webhook_in.inject", "no submit.body" },
	{ WEBHOOK "    webhook_in: { inject: \"header:a b\" }\n", 9, ".webhook_in.inject", "name of a header" },
	{ HOOK("verify: maybe"), 9, ".webhook_in.verify", "maybe" },
	{ HOOK("verify: standard"), 9, ".webhook_in.secret", "missing" },
	{ HOOK("verify: standard, secret: \"{env.CONFIG_NONE}\""), 9, ".webhook_in.secret", "is not there" },
	{ HOOK("verify: standard, secrets: [\"whsec_%\"]"), 9, ".webhook_in.secrets", "base64" },
	{ HOOK("secret: x"), 9, ".webhook_in.secret", "standard and hmac_t_v1 only" },
	{ HOOK("verify: hmac_t_v1, secret: x, header: X-Proof"), 9, ".webhook_in.header", "-signature" },
	{ HOOK("keys_url: \"https://a\""), 9, ".webhook_in.keys_url", "fal_ed25519 only" },
	{ HOOK("verify: fal_ed25519, keys_url: \"ftp://a\""), 9, ".webhook_in.keys_url", "http or https" },
	{ HOOK("confirm: never"), 9, ".webhook_in.confirm", "never" },
	{ HOOK("confirm: none"), 9, ".webhook_in.confirm", "needs a verify" },
	{ SYNC "webhooks: { serve: true }\n", 7, "webhooks.secrets", "there are none" },
	{ SYNC "webhooks: { serve: maybe }\n", 7, "webhooks.serve", "\"maybe\" is none of: " },
	{ SYNC "slots: -3\n", 7, "slots", "\"-3\" is not a whole number" },
	{ SYNC "slots: 99999999999999999999\n", 7, "slots", "too large a one" },
	{ SYNC "slots: [3]\n", 7, "slots", "it is not a whole number" },
	{ SYNC "server: { a: b }\n", 7, "server", "it is not a text" },
	{ SYNC "webhooks: { secrets: a }\n", 7, "webhooks.secrets", "it is not a list" },
	{ SYNC "log: loud\n", 7, "log", "it is not a mapping of keys" },
	{ SYNC "    webhook_in: { verify: maybe }\n", 7, ".webhook_in.verify",
	  "is none of: none, standard, fal_ed25519, hmac_t_v1" },
	{ SYNC "    webhook_in: { confirm: maybe }\n", 7, ".webhook_in.confirm", "is none of: poll, none" },
	{ "queues: { q: up }\nupstreams:\n  up: { base_url: http://a, mode: slow }\n", 3, ".mode",
	  "\"slow\" is none of: sync, poll, webhook" },
	{ "queues: { q: up }\nupstreams:\n  up: { auth: { kind: oauth } }\n", 3, ".auth.kind",
	  "is none of: none, header, basic, jwt_hs256" },
	{ "queues: { q: up }\nupstreams:\n  up: { result: { auth: mine } }\n", 3, ".result.auth",
	  "is none of: none, upstream" },
	{ "queues: { q: up }\nupstreams:\n  up: { poll: { factor: fast } }\n", 3, ".poll.factor",
	  "\"fast\" is not a number" },
	{ SYNC "webhooks: { secrets: [\"whsec_%\"] }\n", 7, "webhooks.secrets", "base64" },
	{ SYNC "webhooks: { secrets: [\"{env.CONFIG_NONE}\"] }\n", 7, "webhooks.secrets", "is not there" },
	{ SYNC "webhooks: { allow_private: 3 }\n", 7, "webhooks.allow_private", "3" },
	{ SYNC "webhooks: { timeout: 0s }\n", 7, "webhooks.timeout", "at least" },
	{ SYNC "webhooks: { timeout: 11m }\n", 7, "webhooks.timeout", "at most" },
	{ SYNC "webhooks: { proxy: ftp://p:1 }\n", 7, "webhooks.proxy", "HOST:PORT" },
	{ SYNC "webhooks: { interface: a/b }\n", 7, "webhooks.interface", "neither" },
	{ SYNC "webhooks: { ca_file: /nonexistent }\n", 7, "webhooks.ca_file", "/nonexistent cannot be read: No such" },
	{ SYNC "ca_file: /nonexistent\n", 7, "ca_file", "/nonexistent cannot be read: No such" },
	{ SYNC "ca_file: /etc/passwd\n", 7, "ca_file", "/etc/passwd holds no certificate" },
	{ "queues: { _webhooks: up }\nupstreams: { up: { base_url: http://a, mode: sync, submit: { path: /x } } }\n", 1,
	  "queues._webhooks", "the broker's own" },
	{ HOOK("id: /id"), 9, ".webhook_in.id", "confirm: none only" },
};

static void test_every_wrong_value_is_named_with_its_line(void **state)
{
	(void)state;
	unsetenv("CONFIG_NONE");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct worker_config *config = NULL;
		struct issue issue = { .line = -1 };
		char key[200], all[700];
		int rc = worker_config_parse(slice_str(rows[i].text), &config, &issue);

		snprintf(key, sizeof(key), "%s%s", rows[i].key[0] == '.' ? "upstreams.up" : "", rows[i].key);
		issue_format(&issue, "f", all, sizeof(all));
		if (rc == 0)
			fail_msg("%s is taken:\n%s", key, rows[i].text);
		if (rc != ERR_CONFIG || issue.line != rows[i].line || strcmp(issue.key, key) != 0 ||
		    !strstr(issue.message, rows[i].words))
			fail_msg("\"%s\", not line %d, key %s, \"%s\"", all, rows[i].line, key, rows[i].words);
	}
}

static bool has_row(const char *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *last = strrchr(rows[i].key, '.');

		if (strcmp(last ? last + 1 : rows[i].key, word) == 0 || strstr(rows[i].text, word))
			return true;
	}
	return false;
}

/* The second words of the macros in the tables of config_schema.c are its keys. How many stand in this line. */
static size_t check_line(const char *line)
{
	static const char *const macros[] = { "WORD(raw_", "CHOICE(raw_", "LIST(raw_", "NUMBER(raw_", "NESTED(raw_" };
	char word[64];
	size_t found = 0;

	for (size_t m = 0; m < ARRAY_SIZE(macros); m++) {
		for (const char *at = strstr(line, macros[m]); at; at = strstr(at + 1, macros[m])) {
			if (sscanf(at, "%*[A-Z](%*[a-z_], %63[a-z_]", word) != 1)
				continue;
			found++;
			if (!has_row(word))
				fail_msg("no row is about %s", word);
		}
	}
	return found;
}

static void test_every_key_has_a_row(void **state)
{
	char line[1024];
	FILE *f = fopen("worker/config/config_schema.c", "r");
	size_t found = 0;

	(void)state;
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		found += check_line(line);
	fclose(f);
	assert_true(found > 60);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_wrong_value_is_named_with_its_line),
		cmocka_unit_test(test_every_key_has_a_row),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
