/* Every route with every method, and who may ask for what: pages of other sites, other names, proxies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/clean.h"
#include "tests/harness/stack.h"

#define JOB "01a2011f-a33b-701d-9a26-c1cadd74b596"

static struct stack stack;
static struct http_answer answer;

static int setup(void **state)
{
	(void)state;
	memset(&stack, 0, sizeof(stack));
	tempdir_make(&stack.dir);
	stack_start_broker(&stack);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	http_answer_done(&answer);
	stack_stop(&stack);
	return 0;
}

/* What each of the methods is answered with; the job and the link are none. */
static const char *const methods[] = { "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW" };

#define READS "GET, HEAD, OPTIONS"

static const struct {
	const char *path, *allow;
	int status[ARRAY_SIZE(methods)];
} routes[] = {
	{ "/healthz", READS, { 200, 200, 405, 405, 405, 204, 405, 405 } },
	{ "/readyz", READS, { 200, 200, 405, 405, 405, 204, 405, 405 } },
	{ "/metrics", READS, { 200, 200, 405, 405, 405, 204, 405, 405 } },
	{ "/logo", READS, { 200, 200, 405, 405, 405, 204, 405, 405 } },
	{ "/page.js", READS, { 200, 200, 405, 405, 405, 204, 405, 405 } },
	{ "/page.js/", NULL, { 404, 404, 404, 404, 404, 404, 404, 404 } },
	{ "/r/none", READS, { 404, 404, 405, 405, 405, 204, 405, 405 } },
	{ "/r/none/", READS, { 308, 308, 405, 405, 405, 204, 405, 405 } },
	{ "/r/no%0ane/", READS, { 404, 404, 405, 405, 405, 204, 405, 405 } },
	{ "/r/none//", NULL, { 404, 404, 404, 404, 404, 404, 404, 404 } },
	{ "/r/none/status", READS, { 404, 404, 405, 405, 405, 204, 405, 405 } },
	{ "/r/none/preview", READS, { 404, 404, 405, 405, 405, 204, 405, 405 } },
	{ "/r/none/result", READS, { 404, 404, 405, 405, 405, 204, 405, 405 } },
	{ "/r/none/a/x", READS, { 404, 404, 405, 405, 405, 204, 405, 405 } },
	{ "/v1/openapi.json", READS, { 200, 200, 405, 405, 405, 204, 405, 405 } },
	{ "/v1/queues", READS, { 200, 200, 405, 405, 405, 204, 405, 405 } },
	{ "/v1/queues/none", READS, { 404, 404, 405, 405, 405, 204, 405, 405 } },
	{ "/v1/queues/_x/jobs", "POST, OPTIONS", { 405, 405, 400, 405, 405, 204, 405, 405 } },
	{ "/v1/jobs/" JOB, "GET, HEAD, DELETE, OPTIONS", { 404, 404, 405, 405, 404, 204, 405, 405 } },
	{ "/v1/jobs/" JOB "/retry", "POST, OPTIONS", { 405, 405, 404, 405, 405, 204, 405, 405 } },
	{ "/v1/jobs/" JOB "/result", READS, { 404, 404, 405, 405, 405, 204, 405, 405 } },
	{ "/v1/jobs/" JOB "/artifacts/x", READS, { 404, 404, 405, 405, 405, 204, 405, 405 } },
	{ "/none", NULL, { 404, 404, 404, 404, 404, 404, 404, 404 } },
	{ "/v1/none", NULL, { 404, 404, 404, 404, 404, 404, 404, 404 } },
	{ "/", NULL, { 404, 404, 404, 404, 404, 404, 404, 404 } },
};

static void request(const char *method, const char *path, const char *header)
{
	char url[512];

	snprintf(url, sizeof(url), "%s%s", stack.http, path);
	http_answer_done(&answer);
	http_request(method, url, header, &answer);
}

static void expect_common(const char *method, const char *path)
{
	if (strcmp(http_header(&answer, "X-Content-Type-Options"), "nosniff") != 0)
		fail_msg("%s %s: no nosniff", method, path);
	if (strlen(http_header(&answer, "Access-Control-Allow-Origin")) > 0)
		fail_msg("%s %s: open to other sites", method, path);
	/* A link that is none is told as a page. */
	if (answer.status >= 400 && strncmp(path, "/r/", 3) != 0)
		assert_string_equal(http_header(&answer, "Content-Type"), "application/problem+json");
	if (strcmp(method, "HEAD") == 0 && answer.size > 0)
		fail_msg("%s %s: has a body", method, path);
}

static void every_route_knows_its_methods(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
		for (size_t m = 0; m < ARRAY_SIZE(methods); m++) {
			long expected = routes[i].status[m];
			const char *allow = expected == 405 || expected == 204 ? routes[i].allow : "";

			request(methods[m], routes[i].path, NULL);
			if (answer.status != expected)
				fail_msg("%s %s: %ld instead of %ld\n%s%s", methods[m], routes[i].path, answer.status,
					 expected, answer.headers, answer.body);
			if (strcmp(http_header(&answer, "Allow"), allow) != 0)
				fail_msg("%s %s: Allow: %s", methods[m], routes[i].path, http_header(&answer, "Allow"));
			expect_common(methods[m], routes[i].path);
		}
	}
}

/* ---- who may ---- */

struct asked {
	const char *header;
	int status; /* of /v1/queues and /metrics */
};

static const struct asked strangers[] = {
	{ "X: y", 200 },
	{ "Host: localhost", 200 },
	{ "Host: LOCALHOST:80", 200 },
	{ "Host: app.localhost:1", 200 },
	{ "Host: 127.0.0.1", 200 },
	{ "Host: 192.0.2.7:7247", 200 },
	{ "Host: [::1]:7247", 200 },
	{ "Host: evil.example", 421 },
	{ "Host: evil.example:7247", 421 },
	{ "Host: localhost.evil.example", 421 },
	{ "Host: notlocalhost", 421 },
	{ "Host: 127.0.0.1.evil.example", 421 },
	{ "Host: 0x7f000001", 421 },
	{ "Host: [::1", 400 },
	{ "Host: localhost:x", 400 },
	{ "Host: @localhost", 421 },
	{ "Origin: http://evil.example", 403 },
	{ "Origin: null", 403 },
	{ "Origin: http://localhost:3000", 403 },
	{ "Origin: file://", 403 },
	{ "Sec-Fetch-Site: cross-site", 403 },
	{ "Sec-Fetch-Site: same-site", 403 },
	{ "Sec-Fetch-Site: same-origin", 200 },
	{ "Sec-Fetch-Site: none", 200 },
	{ "X-Forwarded-For: 192.0.2.7", 403 },
	{ "Forwarded: for=192.0.2.7", 403 },
};

static void expect_asked(const struct asked *a, const char *path)
{
	request(NULL, path, a->header);
	if (answer.status != a->status)
		fail_msg("%s of %s: %ld instead of %d\n%s", path, a->header, answer.status, a->status, answer.body);
}

static void strangers_get_nothing_of_the_api(void **state)
{
	char own[160];
	const struct asked same = { own, 200 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(strangers); i++) {
		expect_asked(&strangers[i], "/v1/queues");
		expect_asked(&strangers[i], "/metrics");
	}
	snprintf(own, sizeof(own), "Origin: %s", stack.http);
	expect_asked(&same, "/v1/queues");
}

/* What a page of another site can send without being asked before: a form, or fetch() in mode no-cors. */
static void a_page_of_another_site_can_change_nothing(void **state)
{
	static const char *const headers[] = { "Origin: http://evil.example", "Sec-Fetch-Site: cross-site",
					       "Origin: null", "Host: evil.example" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
		char url[512];
		const struct http_sent sent = { .url = url,
						.body = "x",
						.size = 1,
						.headers = (const char *const[]){ "Content-Type: text/plain",
										  headers[i], NULL } };

		snprintf(url, sizeof(url), "%s/v1/queues/q/jobs", stack.http);
		http_answer_done(&answer);
		http_send(&sent, &answer);
		assert_true(answer.status == 403 || answer.status == 421);
		request("DELETE", "/v1/jobs/" JOB, headers[i]);
		assert_true(answer.status == 403 || answer.status == 421);
		request("POST", "/v1/jobs/" JOB "/retry", headers[i]);
		assert_true(answer.status == 403 || answer.status == 421);
		request("OPTIONS", "/v1/queues/q/jobs", headers[i]);
		assert_true(answer.status == 403 || answer.status == 421);
	}
	request(NULL, "/v1/queues", NULL);
	assert_string_equal(answer.body, "{\"queues\":[]}");
}

static const struct asked listed[] = {
	{ "Host: jobs.internal", 200 },		 { "Host: JOBS.internal:7247", 200 }, { "Host: 192.0.2.7", 200 },
	{ "Host: other.internal", 421 },	 { "Host: sub.jobs.internal", 421 },  { "Host: localhost", 200 },
	{ "Origin: http://jobs.internal", 403 }, /* with the address as its host */
};

static void ask_with(const char *first, const char *second, int status)
{
	char url[256];
	const struct http_sent sent = { .method = "GET",
					.url = url,
					.headers = (const char *const[]){ first, second, NULL } };

	snprintf(url, sizeof(url), "%s/v1/queues", stack.http);
	http_answer_done(&answer);
	http_send(&sent, &answer);
	assert_int_equal(answer.status, status);
}

/* Started anew with a file of settings. */
static void a_listed_host_opens_the_api(void **state)
{
	char program[512], path[256], data[256];
	const char *argv[] = { program, "--config", path, "--data", data, "--log-level", "warning", NULL };
	FILE *f;

	(void)state;
	process_stop(&stack.broker);
	snprintf(program, sizeof(program), "%s", process_program("raincheckd"));
	snprintf(data, sizeof(data), "%s", tempdir_file(&stack.dir, "data"));
	snprintf(path, sizeof(path), "%s", tempdir_file(&stack.dir, "raincheckd.yaml"));
	f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f, "listen: [ \"%s\" ]\nhttp: \"127.0.0.1:0\"\napi: { hosts: [jobs.internal, 192.0.2.7] }\n",
		stack.server);
	fclose(f);
	process_start(&stack.broker, argv);
	assert_true(process_wait_line(&stack.broker, "ready "));
	process_line_word(&stack.broker, "http=", stack.http + strlen("http://"),
			  sizeof(stack.http) - strlen("http://"));
	for (size_t i = 0; i < ARRAY_SIZE(listed); i++)
		expect_asked(&listed[i], "/v1/queues");
	/* Through a proxy by that name, by no other; from a page of its own, of no other. */
	ask_with("Host: jobs.internal", "X-Forwarded-For: 192.0.2.9", 200);
	ask_with("Host: localhost", "X-Forwarded-For: 192.0.2.9", 403);
	ask_with("Host: jobs.internal", "Origin: https://jobs.internal", 200);
	ask_with("Host: jobs.internal", "Origin: https://evil.example", 403);
}

/* Visitors come by any name and through any proxy. */
static void links_and_health_are_for_everybody(void **state)
{
	static const char *const headers[] = { "Host: links.example", "X-Forwarded-For: 192.0.2.7",
					       "Origin: http://other.example", "Sec-Fetch-Site: cross-site" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
		request(NULL, "/healthz", headers[i]);
		assert_int_equal(answer.status, 200);
		request(NULL, "/r/none", headers[i]);
		assert_int_equal(answer.status, 404);
	}
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(every_route_knows_its_methods),
		TEST(strangers_get_nothing_of_the_api),
		TEST(a_page_of_another_site_can_change_nothing),
		TEST(a_listed_host_opens_the_api),
		TEST(links_and_health_are_for_everybody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
