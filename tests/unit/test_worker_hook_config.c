/* webhook_in: what it means, what of it is wrong and where, and how a submit names the hook's URL. */
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
#include "worker/call/call_request.h"
#include "worker/config/issue.h"
#include "worker/config/template.h"
#include "worker/config/worker_config.h"
#include "worker/transport/http_request.h"

#define HEAD	"queues: { q: up }\nupstreams:\n  up:\n    base_url: http://127.0.0.1:1\n"
#define REST	"    poll: { path: \"/x/{id}\", ok: [DONE] }\n    result: { media: /out }\n"
#define SUBMIT	"    submit: { path: /x, id: /id, body: '{\"a\": {\"b\": 1}}' }\n"
#define WEBHOOK HEAD "    mode: webhook\n" SUBMIT REST
#define POLL	HEAD "    mode: poll\n" SUBMIT REST
/* Only hooks tell. */
#define ALONE HEAD "    mode: webhook\n" SUBMIT "    poll: { ok: [DONE] }\n    result: { media: /out }\n"
#define URL   "https://rain.example/hooks/abc"

static struct worker_config *good(const char *text)
{
	struct worker_config *config = NULL;
	struct issue issue;
	int rc = worker_config_parse(slice_str(text), &config, &issue);

	if (rc < 0)
		fail_msg("%d: %s: %s", issue.line, issue.key, issue.message);
	return config;
}

static void test_what_is_wrong_is_named(void **state)
{
	static const struct {
		const char *text;
		int line;
		const char *key, *message;
	} rows[] = {
		{ WEBHOOK, 3, "webhook_in", "it is missing" },
		{ WEBHOOK "    webhook_in: { verify: none }\n", 9, "webhook_in.inject", "no {hook_url}" },
		{ WEBHOOK "    webhook_in: { inject: /x }\n", 9, "webhook_in.inject", "none of body:/POINTER" },
		{ WEBHOOK "    webhook_in: { inject: \"query:\" }\n", 9, "webhook_in.inject", "none of body:/POINTER" },
		{ WEBHOOK "    webhook_in: { inject: \"body:/a~2\" }\n", 9, "webhook_in.inject", "JSON Pointer" },
		{ WEBHOOK "    webhook_in: { inject: \"header:a b\" }\n", 9, "webhook_in.inject", "name of a header" },
		{ WEBHOOK "    webhook_in: { inject: \"header:Host\" }\n", 9, "webhook_in.inject", "cannot be set" },
		{ WEBHOOK "    webhook_in:\n      inject: \"query:h\"\n      verify: standard\n", 9,
		  "webhook_in.secret", "it is missing" },
		{ WEBHOOK "    webhook_in:\n      inject: \"query:h\"\n      verify: standard\n      secret: whsec_*\n",
		  12, "webhook_in.secret", "not whsec_ and base64" },
		{ WEBHOOK "    webhook_in: { inject: \"query:h\", secret: x }\n", 9, "webhook_in.secret",
		  "standard and hmac_t_v1 only" },
		{ WEBHOOK "    webhook_in: { inject: \"query:h\", verify: fal_ed25519, secrets: [x] }\n", 9,
		  "webhook_in.secrets", "only" },
		{ WEBHOOK "    webhook_in: { inject: \"query:h\", verify: hmac_t_v1, secret: x, header: X-Sig }\n", 9,
		  "webhook_in.header", "end in -signature" },
		{ WEBHOOK "    webhook_in: { inject: \"query:h\", header: X-Signature }\n", 9, "webhook_in.header",
		  "hmac_t_v1 only" },
		{ WEBHOOK "    webhook_in: { inject: \"query:h\", keys_url: \"https://x/y\" }\n", 9,
		  "webhook_in.keys_url", "fal_ed25519 only" },
		{ WEBHOOK "    webhook_in: { inject: \"query:h\", verify: fal_ed25519, keys_url: \"ftp://x\" }\n", 9,
		  "webhook_in.keys_url", "http or https" },
		{ WEBHOOK "    webhook_in: { inject: \"query:h\", confirm: none }\n", 9, "webhook_in.confirm",
		  "needs a verify" },
		{ WEBHOOK "    webhook_in: { inject: \"query:h\", id: /x }\n", 9, "webhook_in.id",
		  "confirm: none only" },
		{ WEBHOOK "    webhook_in: { inject: \"query:h\", verify: later }\n", 9, "webhook_in.verify", "" },
		{ WEBHOOK "    webhook_in: { inject: \"query:h\", colour: red }\n", 9, "webhook_in.colour",
		  "no such key" },
		{ ALONE "    webhook_in: { inject: \"query:h\" }\n", 9, "webhook_in.confirm", "poll needs poll.path" },
		{ ALONE "    webhook_in: { inject: \"query:h\", confirm: none }\n", 9, "webhook_in.confirm",
		  "needs a verify" },
		{ HEAD "    mode: sync\n    submit: { path: /x }\n    webhook_in: { inject: \"query:h\" }\n", 7,
		  "webhook_in", "answers at once" },
		{ HEAD "    mode: webhook\n    submit: { path: /x, id: /id }\n" REST
		       "    webhook_in: { inject: \"body:/x\" }\n",
		  9, "webhook_in.inject", "no submit.body" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct worker_config *config = NULL;
		struct issue issue = { .line = -1 };
		char key[64];

		snprintf(key, sizeof(key), "upstreams.up.%s", rows[i].key);
		if (worker_config_parse(slice_str(rows[i].text), &config, &issue) != ERR_CONFIG ||
		    strcmp(issue.key, key) != 0 || issue.line != rows[i].line ||
		    !strstr(issue.message, rows[i].message))
			fail_msg("row %zu: %d: %s: %s", i, issue.line, issue.key, issue.message);
	}
}

static const struct upstream_hook *hook_of(const struct worker_config *c)
{
	return &worker_config_route(c, "q")->hook;
}

static void test_what_it_means(void **state)
{
	_cleanup_(worker_config_freep) struct worker_config *plain = good(POLL);
	_cleanup_(worker_config_freep) struct worker_config *standard =
		good(WEBHOOK "    webhook_in: { inject: \"body:/a/hook\", verify: standard, secret: whsec_AAEC, "
			     "secrets: [AAECAw==, whsec_BBBB] }\n");
	_cleanup_(worker_config_freep) struct worker_config *t_v1 = good(
		ALONE
		"    webhook_in: { inject: \"header:X-Hook\", verify: hmac_t_v1, secret: s, header: Stripe-Signature, "
		"confirm: none, id: /data/id }\n");
	_cleanup_(worker_config_freep) struct worker_config *fal =
		good(POLL "    webhook_in: { inject: \"query:fal_webhook\", verify: fal_ed25519 }\n");

	(void)state;
	assert_int_equal(hook_of(plain)->verify, SIGNATURE_NONE);
	assert_false(hook_of(plain)->leads || hook_of(plain)->is_report);
	assert_int_equal(hook_of(standard)->inject, HOOK_INJECT_BODY);
	assert_string_equal(hook_of(standard)->inject_arg, "/a/hook");
	assert_int_equal(hook_of(standard)->key_count, 3);
	assert_int_equal(hook_of(standard)->keys[1].size, 4);
	assert_true(hook_of(standard)->leads);
	assert_string_equal(hook_of(t_v1)->header, "stripe-signature");
	assert_true(hook_of(t_v1)->is_report);
	assert_true(slice_is(hook_of(t_v1)->id, "/data/id"));
	assert_string_equal(hook_of(fal)->keys_url, "https://rest.alpha.fal.ai/.well-known/jwks.json");
	assert_false(hook_of(fal)->leads);
}

/* A lost hook costs time alone. */
static void test_the_pace_of_the_spare_way(void **state)
{
	static const struct {
		const char *poll;
		int64_t first_ms, interval_ms, max_ms;
	} rows[] = {
		{ "", 60000, 60000, 60000 },
		{ ", max: 20s", 20000, 20000, 20000 },
		{ ", interval: 5s", 5000, 5000, 30000 },
		{ ", first: 1s, interval: 90s", 1000, 90000, 90000 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(worker_config_freep) struct worker_config *c = NULL;
		const struct upstream_poll *p;
		char text[1000];

		snprintf(text, sizeof(text),
			 HEAD "    mode: webhook\n" SUBMIT "    poll: { path: \"/x/{id}\", ok: [DONE]%s }\n"
			      "    result: { media: /out }\n    webhook_in: { inject: \"query:h\" }\n",
			 rows[i].poll);
		c = good(text);
		p = &worker_config_route(c, "q")->poll;
		assert_int_equal(p->first_ms, rows[i].first_ms);
		assert_int_equal(p->interval_ms, rows[i].interval_ms);
		assert_int_equal(p->max_ms, rows[i].max_ms);
	}
}

/* ---- the submit ---- */

static int submit(const struct worker_config *c, const char *hook_url, struct http_request **ret)
{
	const struct upstream *u = worker_config_route(c, "q");
	struct template_values values = {
		.job_id = "j", .queue = "q", .hook_url = hook_url, .key = "key", .secrets = u->secrets
	};
	struct error_info info = { .code = 0 };

	return call_request_submit(u, &values, NULL, ret, &info);
}

static void test_where_the_url_goes(void **state)
{
	static const struct {
		const char *inject, *url, *body, *header;
	} rows[] = {
		{ "body:/hook", "http://127.0.0.1:1/x", "{\"a\":{\"b\":1},\"hook\":\"" URL "\"}", NULL },
		{ "body:/a/b", "http://127.0.0.1:1/x", "{\"a\":{\"b\":\"" URL "\"}}", NULL },
		{ "body:/a/c/d", "http://127.0.0.1:1/x", "{\"a\":{\"b\":1,\"c\":{\"d\":\"" URL "\"}}}", NULL },
		{ "query:fal webhook", "http://127.0.0.1:1/x?fal%20webhook=https%3A%2F%2Frain.example%2Fhooks%2Fabc",
		  "{\"a\":{\"b\":1}}", NULL },
		{ "header:X-Hook", "http://127.0.0.1:1/x", "{\"a\":{\"b\":1}}", "X-Hook" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(worker_config_freep) struct worker_config *c = NULL;
		_cleanup_(http_request_freep) struct http_request *r = NULL;
		bool found = false;
		char text[1000];

		snprintf(text, sizeof(text), POLL "    webhook_in: { inject: \"%s\" }\n", rows[i].inject);
		c = good(text);
		assert_int_equal(submit(c, URL, &r), 0);
		assert_string_equal(r->url, rows[i].url);
		assert_string_equal(r->body, rows[i].body);
		for (size_t h = 0; rows[i].header && h < r->header_count; h++)
			found |= strcmp(r->headers[h].name, rows[i].header) == 0 &&
				 strcmp(r->headers[h].value, URL) == 0;
		assert_int_equal(found, rows[i].header != NULL);
	}
}

static void test_a_query_that_is_there_goes_on(void **state)
{
	_cleanup_(worker_config_freep) struct worker_config *c =
		good(HEAD "    mode: poll\n    submit: { path: \"/x?a=1\", id: /id }\n" REST
			  "    webhook_in: { inject: \"query:h\" }\n");
	_cleanup_(http_request_freep) struct http_request *r = NULL;

	(void)state;
	assert_int_equal(submit(c, "http://h", &r), 0);
	assert_string_equal(r->url, "http://127.0.0.1:1/x?a=1&h=http%3A%2F%2Fh");
}

static void test_without_a_url(void **state)
{
	_cleanup_(worker_config_freep) struct worker_config *polls =
		good(POLL "    webhook_in: { inject: \"query:h\" }\n");
	_cleanup_(worker_config_freep) struct worker_config *waits =
		good(WEBHOOK "    webhook_in: { inject: \"query:h\" }\n");
	_cleanup_(http_request_freep) struct http_request *r = NULL;

	(void)state;
	/* An API that is polled can do without; one that is to report cannot. */
	assert_int_equal(submit(waits, NULL, &r), ERR_NOT_FOUND);
	assert_int_equal(submit(polls, NULL, &r), 0);
	assert_string_equal(r->url, "http://127.0.0.1:1/x");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_wrong_is_named),	      cmocka_unit_test(test_what_it_means),
		cmocka_unit_test(test_the_pace_of_the_spare_way),     cmocka_unit_test(test_where_the_url_goes),
		cmocka_unit_test(test_a_query_that_is_there_goes_on), cmocka_unit_test(test_without_a_url),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
