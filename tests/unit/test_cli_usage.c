/* The command as a whole: usage, help, exit statuses, who one is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/harness/cli_run.h"

#define ID CLI_RUN_ID

static void test_usage(void **state)
{
	(void)state;
	wrong(RUN("putt"), "did you mean \"put\"?");
	wrong(RUN("xyzzy"), "unknown command \"xyzzy\"");
	wrong(RUN("queue"), "queue needs one of: ls");
	wrong(RUN("queue", "sl"), "did you mean \"queue ls\"?");
	wrong(RUN("put", "--qeue", "x"), "did you mean --queue?");
	wrong(RUN("ls", "--data", "x"), "unknown option --data");
	wrong(RUN("put", "-x"), "unknown option -x");
	wrong(RUN("put", "-q"), "-q needs a value: QUEUE");
	wrong(RUN("ping", "--json=1"), "takes no value");
	wrong(RUN("put", "--data", "x"), "which queue?");
	wrong(RUN("put", "-q", "q"), "what to put?");
	wrong(RUN("put", "-q", "q", "--data", "x", "-"), "only one of");
	wrong(RUN("put", "-q", "q", "--data", "x", "--set", "priority=x"), "priority");
	wrong(RUN("put", "-q", "q", "--data", "x", "--set", "color=x"), "color");
	wrong(RUN("put", "-q", "q", "--data", "x", "--count", "0"), "--count");
	wrong(RUN("put", "--batch", "x", "--data", "y"), "--batch");
	wrong(RUN("get"), "get needs ID");
	wrong(RUN("get", ID, ID), "does not take");
	wrong(RUN("get", "nonsense"), "\"nonsense\" is not a job's id");
	wrong(RUN("wait", ID, "--timeout", "long"), "--timeout");
	wrong(RUN("ls", "--state", "redy"), "did you mean ready?");
	wrong(RUN("ls", "--limit", "x"), "--limit");
	wrong(RUN("--server", "host:port", "ping"), "is not an address");
	wrong(RUN("--token-file", "/nonexistent", "ping"), "/nonexistent");
	wrong(RUN("help", "putt"), "did you mean \"put\"?");
}

static void test_help(void **state)
{
	struct ran r = run_words("", WORDS("--json"));

	(void)state;
	assert_int_equal(r.exit, CLI_USAGE);
	says(r.err, "queue ls");
	ran_done(&r);
	right(RUN("help"), "Status: 0 done");
	right(RUN("--help"), "Status: 0 done");
	right(RUN("help", "put"), "idempotency_key");
	right(RUN("put", "-h"), "--batch FILE");
	right(RUN("queue", "ls", "--help"), "raincheck queue ls");
	right(RUN("help", "queue", "ls"), "raincheck queue ls");
	right(RUN("help", "queue"), "  queue purge");
	right(RUN("version"), "raincheck ");
	right(RUN("version", "--json"), "{\"version\": ");
	right(RUN("--version"), "raincheck ");
	right(RUN("--json", "--version"), "{\"version\": ");
	right(RUN("get", "--version"), "raincheck ");
}

static void fits_80_columns(struct ran r)
{
	for (const char *line = r.out; *line; line += strcspn(line, "\n") + 1)
		if (strcspn(line, "\n") > 80)
			fail_msg("wider than 80 columns: %.*s", (int)strcspn(line, "\n"), line);
	assert_int_equal(r.exit, CLI_DONE);
	ran_done(&r);
}

static void test_help_fits_a_terminal(void **state)
{
	(void)state;
	fits_80_columns(RUN("help"));
	fits_80_columns(RUN("help", "queue"));
	for (const struct cli_command *k = cli_commands; k->name; k++) {
		char name[64];
		char *second;

		snprintf(name, sizeof(name), "%s", k->name);
		second = strchr(name, ' ');
		if (second)
			*second++ = '\0';
		fits_80_columns(second ? RUN("help", name, second) : RUN("help", name));
	}
}

static void test_no_connection(void **state)
{
	struct ran r = RUN("--server", "unix:/nonexistent/rpc.sock", "ping");

	(void)state;
	assert_int_equal(r.exit, CLI_NO_CONNECTION);
	says(r.err, "unix:/nonexistent/rpc.sock");
	ran_done(&r);
	r = RUN("ping", "--server", "unix:/nonexistent/rpc.sock", "--json");
	assert_int_equal(r.exit, CLI_NO_CONNECTION);
	says(r.err, "{\"error\": {\"code\": \"no_connection\"");
	ran_done(&r);
}

/* ---- against a broker ---- */

static const struct {
	int code, exit;
} statuses[] = {
	{ ERR_QUEUE_FULL, CLI_FAILED },		  { ERR_CONFLICT, CLI_FAILED },
	{ ERR_NOT_FOUND, CLI_NOT_FOUND },	  { ERR_GONE, CLI_NOT_FOUND },
	{ ERR_UNAUTHENTICATED, CLI_NOT_ALLOWED }, { ERR_DENIED, CLI_NOT_ALLOWED },
};

static void refusing_script(struct fake_broker *b, void *arg)
{
	struct fake_request r;

	if (fake_greet(b, 10) && fake_next(b, METHOD_job_get, &r))
		fake_refuse(b, &r, *(int *)arg, "some.field", "the broker says no");
}

static void test_exit_statuses(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		int code = statuses[i].code;
		struct ran r = run_with(refusing_script, &code, "", WORDS("get", ID));

		assert_int_equal(r.exit, statuses[i].exit);
		says(r.err, "some.field: the broker says no (");
		says(r.err, error_name(code));
		ran_done(&r);
	}
}

static void token_script(struct fake_broker *b, void *arg)
{
	struct fake_request r;

	if (!fake_accept(b) || !fake_next(b, METHOD_session_hello, &r))
		return;
	if (!slice_is(r.hello->token, arg))
		fake_wrong(b, "the token is %.*s", SLICE_FMT(r.hello->token));
	fake_refuse(b, &r, ERR_UNAUTHENTICATED, "token", "not known");
	fake_until_gone(b);
}

static void test_tokens(void **state)
{
	char path[] = "/tmp/raincheck-token-XXXXXX";
	int fd = mkstemp(path);
	struct ran r;

	(void)state;
	assert_int_equal(write(fd, "  from-file\n", 12), 12);
	close(fd);
	setenv("RAINCHECK_TOKEN", "from-environment", 1);
	r = run_with(token_script, "from-environment", "", WORDS("ping"));
	assert_int_equal(r.exit, CLI_NOT_ALLOWED);
	ran_done(&r);
	r = run_with(token_script, "from-file", "", WORDS("ping", "--token-file", path));
	assert_int_equal(r.exit, CLI_NOT_ALLOWED);
	ran_done(&r);
	unsetenv("RAINCHECK_TOKEN");
	setenv("RAINCHECK_TOKEN_FILE", path, 1);
	r = run_with(token_script, "from-file", "", WORDS("ping"));
	assert_int_equal(r.exit, CLI_NOT_ALLOWED);
	ran_done(&r);
	unsetenv("RAINCHECK_TOKEN_FILE");
	unlink(path);
}

/* A file that was never filled would otherwise be a token that no broker knows. */
static void test_a_token_file_without_a_token(void **state)
{
	char path[] = "/tmp/raincheck-token-XXXXXX";
	int fd = mkstemp(path);

	(void)state;
	assert_int_equal(write(fd, " \n", 2), 2);
	close(fd);
	wrong(RUN("--token-file", path, "ping"), "holds no token");
	unlink(path);
	wrong(RUN("--token-file", path, "ping"), "token");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_usage),
		cmocka_unit_test(test_help),
		cmocka_unit_test(test_help_fits_a_terminal),
		cmocka_unit_test(test_no_connection),
		cmocka_unit_test(test_exit_statuses),
		cmocka_unit_test(test_tokens),
		cmocka_unit_test(test_a_token_file_without_a_token),
	};

	cli_run_clean_environment();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
