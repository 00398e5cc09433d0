/* Where a result may be fetched from and what is sent there: credentials, redirects, other hosts, private addresses,
 * URLs that have expired; and that no credential is in what people read.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "tests/harness/calls.h"

static struct calls calls;

static int setup(void **state)
{
	(void)state;
	calls_open(&calls);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	calls_close(&calls);
	return 0;
}

/* ---- where a result may be ---- */

/* The API asks for a bearer, and the file may have it too. */
static const char bearer[] = "    auth: { kind: header, name: Authorization, value: \"Bearer {env.TEST_API_KEY}\" }\n"
			     "    allow_hosts: [localhost]\n";
static const char with_credentials[] = "media: /output/0, auth: upstream";

static void credentials_stay_with_the_api(void **state)
{
	struct calls_shape s = { .lines = bearer, .result = with_credentials };
	char switches[256];

	(void)state;
	setenv("TEST_API_KEY", "key-for-the-api", 1);
	calls_start_worker(&calls, &s);
	unsetenv("TEST_API_KEY");
	/* They do not follow a redirect, least of all to another host, … */
	snprintf(switches, sizeof(switches), "\"redirects\":1,\"redirect_base\":\"%s\"", calls.local_base);
	calls_expect_video(&calls, calls_put(&calls, 1, "a", switches), "a", 0);
	assert_string_equal(calls_authorization(&calls, "submit"), "Bearer key-for-the-api");
	assert_string_equal(calls_authorization(&calls, "poll"), "Bearer key-for-the-api");
	assert_string_equal(calls_authorization(&calls, "file"), "Bearer key-for-the-api");
	assert_string_equal(calls_authorization(&calls, "moved"), "");
	/* … and are not sent to another host in the first place. */
	snprintf(switches, sizeof(switches), "\"media_base\":\"%s\"", calls.local_base);
	calls_expect_video(&calls, calls_put(&calls, 1, "b", switches), "b", 0);
	assert_string_equal(calls_authorization(&calls, "file"), "");
}

static void files_get_no_credentials_unasked(void **state)
{
	struct calls_shape s = { .lines = bearer };

	(void)state;
	setenv("TEST_API_KEY", "key-for-the-api", 1);
	calls_start_worker(&calls, &s);
	unsetenv("TEST_API_KEY");
	calls_expect_video(&calls, calls_put(&calls, 1, "a", ""), "a", 0);
	assert_string_equal(calls_authorization(&calls, "poll"), "Bearer key-for-the-api");
	assert_string_equal(calls_authorization(&calls, "file"), "");
}

static void redirects_are_followed_but_not_for_ever(void **state)
{
	(void)state;
	calls_start_worker(&calls, &calls_by_poll);
	calls_expect_video(&calls, calls_put(&calls, 1, "a", "\"redirects\":5,\"pad_kib\":300"), "a", 300);
	calls_expect_failure(&calls, calls_put(&calls, 1, "b", "\"redirects\":1000"), RAINCHECK_FAIL_INVALID,
			     "redirected");
	assert_int_equal(calls_counted(&calls, "fetches"), 12);
}

static void other_hosts_are_not_fetched_from(void **state)
{
	char switches[256];

	(void)state;
	calls_start_worker(&calls, &calls_by_poll);
	snprintf(switches, sizeof(switches), "\"media_base\":\"%s\"", calls.local_base);
	calls_expect_failure(&calls, calls_put(&calls, 3, "a", switches), RAINCHECK_FAIL_REJECTED, "allow_hosts");
	snprintf(switches, sizeof(switches), "\"redirects\":1,\"redirect_base\":\"%s\"", calls.local_base);
	calls_expect_failure(&calls, calls_put(&calls, 3, "b", switches), RAINCHECK_FAIL_REJECTED, "allow_hosts");
	assert_string_equal(calls_authorization(&calls, "moved"), "nobody");
	calls_expect_failure(&calls, calls_put(&calls, 1, "c", "\"media_base\":\"file:///etc\""),
			     RAINCHECK_FAIL_INVALID, "fetched");
	assert_int_equal(calls.job->attempt, 1);
	calls_expect_counts(&calls, 3, 3);
}

static void private_addresses_are_not_fetched_from(void **state)
{
	struct calls_shape s = { .is_public = true, .lines = "    allow_hosts: [localhost]\n" };
	char switches[256];

	(void)state;
	calls_start_worker(&calls, &s);
	calls_expect_failure(&calls, calls_put(&calls, 3, "a", ""), RAINCHECK_FAIL_REJECTED, "allow_private");
	snprintf(switches, sizeof(switches), "\"media_base\":\"%s\"", calls.local_base);
	calls_expect_failure(&calls, calls_put(&calls, 3, "b", switches), RAINCHECK_FAIL_REJECTED, "allow_private");
	assert_string_equal(calls_authorization(&calls, "file"), "nobody");
}

static void an_expired_url_is_asked_for_again(void **state)
{
	(void)state;
	calls_start_worker(&calls, &calls_by_poll);
	calls_expect_video(&calls, calls_put(&calls, 1, "a", "\"expire_times\":2"), "a", 0);
	assert_int_equal(calls_counted(&calls, "fetches"), 3);
	/* Not for ever in one attempt; the next takes the same call up. */
	calls_expect_video(&calls, calls_put(&calls, 2, "b", "\"expire_times\":3"), "b", 0);
	assert_int_equal(calls.job->attempt, 2);
	calls_expect_counts(&calls, 2, 2);
}

/* The answer to a sync submit that named the URL was the only one: there is another call to make. */
static void an_expired_url_of_a_sync_call_is_called_for_again(void **state)
{
	(void)state;
	calls_start_worker(&calls, &calls_by_sync_url);
	calls_expect_video(&calls, calls_put(&calls, 2, "a", "\"expire_times\":1"), "a", 0);
	assert_int_equal(calls.job->attempt, 2);
	calls_expect_counts(&calls, 2, 2);
}

/* ---- credentials in what people read ---- */

/* Ends the worker, and gives back whether anything it said holds the word. */
static bool worker_said(const char *word)
{
	static char log[1 << 20];
	int status;

	kill(calls.stack.worker.pid, SIGTERM);
	status = process_finish(&calls.stack.worker, log, sizeof(log));
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_non_null(strstr(log, "outcome="));
	return strstr(log, word) != NULL;
}

/* An API that repeats what it was sent does not make the worker say it. */
static void expect_secrecy(const char *auth, const char *sent, const char *secret)
{
	struct calls_shape s = { .lines = auth };

	setenv("TEST_API_KEY", "open-sesame-4711", 1);
	calls_start_worker(&calls, &s);
	unsetenv("TEST_API_KEY");
	calls_expect_video(&calls, calls_put(&calls, 1, "a", ""), "a", 0);
	assert_string_equal(calls_authorization(&calls, "submit"), sent);
	assert_string_equal(calls_authorization(&calls, "poll"), sent);
	assert_string_equal(calls_authorization(&calls, "file"), "");
	calls_expect_failure(&calls, calls_put(&calls, 1, "b", "\"http_status\":401,\"echo_auth\":true"),
			     RAINCHECK_FAIL_REJECTED, "***");
	if (strstr(calls.job->error->message, secret))
		fail_msg("the secret is in \"%s\"", calls.job->error->message);
	assert_false(worker_said(secret));
}

static void a_header_authenticates_and_is_not_told(void **state)
{
	(void)state;
	expect_secrecy("    auth: { kind: header, name: Authorization, value: \"Bearer {env.TEST_API_KEY}\" }\n",
		       "Bearer open-sesame-4711", "open-sesame");
}

static void basic_authentication_is_sent_and_not_told(void **state)
{
	(void)state;
	expect_secrecy("    auth: { kind: basic, user: ada, password: \"{env.TEST_API_KEY}\" }\n",
		       "Basic YWRhOm9wZW4tc2VzYW1lLTQ3MTE=", "YWRhOm9wZW4tc2VzYW1l");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(credentials_stay_with_the_api),
		T(files_get_no_credentials_unasked),
		T(redirects_are_followed_but_not_for_ever),
		T(other_hosts_are_not_fetched_from),
		T(private_addresses_are_not_fetched_from),
		T(an_expired_url_is_asked_for_again),
		T(an_expired_url_of_a_sync_call_is_called_for_again),
		T(a_header_authenticates_and_is_not_told),
		T(basic_authentication_is_sent_and_not_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
