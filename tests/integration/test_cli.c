/* The raincheck command against the real broker: what it prints and how it exits. */
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/harness/stack.h"

static struct stack stack;
static char output[1 << 16];
static char id[RAINCHECK_ID_SIZE];

static int setup(void **state)
{
	(void)state;
	memset(&stack, 0, sizeof(stack));
	tempdir_make(&stack.dir);
	stack_start_broker(&stack);
	setenv("RAINCHECK_SERVER", stack.server, 1);
	unsetenv("RAINCHECK_TOKEN");
	unsetenv("RAINCHECK_TOKEN_FILE");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	stack_stop(&stack);
	return 0;
}

/* Runs raincheck with these words; what it said is in output. */
#define cli(...) run_cli((const char *const[]){ process_program("raincheck"), __VA_ARGS__, NULL })

static int run_cli(const char *const *argv)
{
	int status = process_run(argv, output, sizeof(output));

	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void expect(const char *words)
{
	if (!strstr(output, words))
		fail_msg("\"%s\" is not in:\n%s", words, output);
}

/* The string behind "key": in JSON output. */
static void json_word(const char *key, char *ret, size_t size)
{
	char quoted[64];
	const char *at;

	snprintf(quoted, sizeof(quoted), "\"%s\":", key);
	at = strstr(output, quoted);
	assert_non_null(at);
	at += strlen(quoted);
	at += strspn(at, " \"");
	snprintf(ret, size, "%.*s", (int)strcspn(at, "\""), at);
}

static void put(const char *payload)
{
	assert_int_equal(cli("--json", "put", "-q", "q", "--data", payload), 0);
	json_word("id", id, sizeof(id));
}

static const char *file(const char *name, const char *content)
{
	const char *path = tempdir_file(&stack.dir, name);
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(content, f);
	fclose(f);
	return path;
}

/* The only job, leased as by a worker. */
static struct raincheck_lease_result *lease_job(struct raincheck *rc)
{
	static const char *const queues[] = { "q" };
	struct raincheck_lease lease = { .queues = queues, .queue_count = 1 };
	struct raincheck_lease_result *leased;

	assert_int_equal(raincheck_lease(rc, &lease, &leased), 0);
	assert_int_equal(leased->job_count, 1);
	return leased;
}

/* Leases the job and completes it as a worker would. */
static void finish(const char *result)
{
	struct raincheck *rc = stack_connect(&stack);
	struct raincheck_complete complete = { .result = { "text/plain", { result, strlen(result) } } };
	struct raincheck_complete_result *completed;
	struct raincheck_lease_result *leased = lease_job(rc);

	complete.id = leased->jobs[0].id;
	complete.lease = leased->jobs[0].lease;
	assert_int_equal(raincheck_complete(rc, &complete, &completed), 0);
	raincheck_free(completed);
	raincheck_free(leased);
	raincheck_close(rc, NULL, NULL);
}

static void a_job_from_put_to_result(void **state)
{
	char path[256];

	(void)state;
	put("the payload");
	assert_int_equal(cli("get", id), 0);
	expect("ready");
	assert_int_equal(cli("payload", id), 0);
	expect("the payload");
	assert_int_equal(cli("link", id), 0);
	expect("/r/");
	assert_int_equal(cli("wait", id, "--timeout", "0"), 1);
	assert_int_equal(cli("result", id), 3);
	finish("the result");
	assert_int_equal(cli("wait", id), 0);
	snprintf(path, sizeof(path), "%s", tempdir_file(&stack.dir, "out"));
	assert_int_equal(cli("result", id, "-o", path), 0);
	assert_int_equal(cli("result", id), 0);
	assert_string_equal(output, "the result");
	assert_int_equal(access(path, R_OK), 0);
}

static void put_takes_every_form(void **state)
{
	const char *payload = file("payload", "from a file");

	(void)state;
	assert_int_equal(cli("put", "-q", "q", "--file", payload), 0);
	expect("/r/");
	assert_int_equal(cli("put", "-q", "q", "--data", "x", "--set", "priority=0", "--set", "title=T", "--set",
			     "metadata.k=v", "--set", "backoff.base_ms=5", "--count", "3"),
			 0);
	assert_int_equal(cli("--json", "ls"), 0);
	expect("\"priority\": 0");
	assert_int_equal(cli("put", "-q", "q", "--data", "x", "--set", "priority=10"), 1);
	expect("priority");
	assert_int_equal(cli("put", "-q", "q", "--data", "x", "--set", "priority=high"), 2);
	assert_int_equal(cli("put", "-q", "q", "--data", "x", "--set", "prioritee=1"), 2);
	expect("prioritee");
	assert_int_equal(cli("put", "-q", "no spaces", "--data", "x"), 1);
	expect("queue");
}

static void a_batch_says_which_lines_were_refused(void **state)
{
	const char *batch = file("batch.ndjson", "{\"queue\": \"q\", \"payload\": \"one\"}\n"
						 "{\"queue\": \"q\", \"payload\": {\"name\": \"two\"}}\n"
						 "not json\n"
						 "{\"queue\": \"_own\", \"payload\": \"three\"}\n"
						 "{\"queue\": \"q\", \"payload\": \"four\", \"priority\": 1}\n");

	(void)state;
	assert_int_equal(cli("put", "--batch", batch), 1);
	expect("3");
	expect("4");
	assert_int_equal(cli("--json", "queue", "ls"), 0);
	expect("\"ready\": 3");
}

static void lists_and_counts(void **state)
{
	(void)state;
	put("x");
	assert_int_equal(cli("ls", "-q", "q", "--state", "ready"), 0);
	expect(id);
	assert_int_equal(cli("ls", "-q", "other"), 0);
	assert_null(strstr(output, id));
	assert_int_equal(cli("ls", "--state", "nonsense"), 2);
	assert_int_equal(cli("queue", "ls"), 0);
	expect("q");
	assert_int_equal(cli("stats"), 0);
	assert_int_equal(cli("ping"), 0);
	assert_int_equal(cli("version"), 0);
	expect("0.1.0");
}

static void exit_statuses_say_what_happened(void **state)
{
	(void)state;
	assert_int_equal(cli("help"), 0);
	assert_int_equal(cli("help", "put"), 0);
	assert_int_equal(cli("put", "--help"), 0);
	assert_int_equal(cli("puut"), 2);
	expect("put");
	assert_int_equal(cli("ls", "--no-such"), 2);
	assert_int_equal(cli("get", "01a20137-fddc-731e-99f1-5523e40f8a6f"), 3);
	assert_int_equal(cli("get", "no-id"), 2);
	assert_int_equal(cli("--server", "unix:/nowhere/rpc.sock", "ping"), 5);
	expect("/nowhere/rpc.sock");
}

static void an_unknown_job_has_no_result(void **state)
{
	(void)state;
	assert_int_equal(cli("result", "01a20137-fddc-731e-99f1-5523e40f8a6f"), 3);
	expect("job");
	assert_null(strstr(output, "artifact"));
}

static void wait_survives_a_restart(void **state)
{
	const char *argv[] = { process_program("raincheck"), "wait", id, "--timeout", "60", NULL };
	struct process waiting;

	(void)state;
	put("x");
	process_start_heard(&waiting, argv);
	do
		assert_int_equal(cli("--json", "stats"), 0);
	while (!strstr(output, "\"connections\": 2"));
	process_stop(&stack.broker);
	assert_true(process_wait_words(&waiting, "the connection is lost"));
	stack_start_broker(&stack);
	finish("the result");
	assert_int_equal(process_finish(&waiting, output, sizeof(output)), 0);
	expect("succeeded");
}

/* ---- what an operator does ---- */

static void fail_for_good(void)
{
	struct raincheck *rc = stack_connect(&stack);
	struct raincheck_fail_result *failed;
	struct raincheck_lease_result *leased = lease_job(rc);
	struct raincheck_fail fail = { .id = leased->jobs[0].id,
				       .lease = leased->jobs[0].lease,
				       .kind = RAINCHECK_FAIL_REJECTED,
				       .message = "no such avatar" };

	assert_int_equal(raincheck_fail(rc, &fail, &failed), 0);
	raincheck_free(failed);
	raincheck_free(leased);
	raincheck_close(rc, NULL, NULL);
}

static long link_status(const char *link)
{
	struct http_answer a;
	long status;

	http_request(NULL, link, NULL, &a);
	status = a.status;
	http_answer_done(&a);
	return status;
}

static void jobs_are_canceled_retried_and_erased(void **state)
{
	char link[256];

	(void)state;
	put("a");
	json_word("link", link, sizeof(link));
	fail_for_good();
	assert_int_equal(cli("cancel", id), 1);
	expect("invalid_state");
	assert_int_equal(cli("retry", id), 0);
	assert_int_equal(cli("retry", id), 1);
	assert_int_equal(cli("get", id), 0);
	expect("ready");
	expect("no such avatar");
	assert_int_equal(cli("cancel", id), 0);
	expect("canceled");
	assert_int_equal(cli("cancel", id), 0);
	expect("canceled already");
	assert_int_equal(link_status(link), 200);
	assert_int_equal(cli("erase", id), 2);
	assert_int_equal(cli("erase", id, "--yes"), 0);
	assert_int_equal(cli("get", id), 3);
	assert_int_equal(link_status(link), 410);
}

static void whoever_works_on_a_canceled_job_is_told(void **state)
{
	struct raincheck *rc = stack_connect(&stack);
	struct raincheck_extend_item item = { 0 };
	struct raincheck_extend extend = { .leases = &item, .lease_count = 1 };
	struct raincheck_extend_result *extended;
	struct raincheck_lease_result *leased;

	(void)state;
	put("a");
	leased = lease_job(rc);
	assert_int_equal(cli("cancel", id), 0);
	item.id = leased->jobs[0].id;
	item.lease = leased->jobs[0].lease;
	assert_int_equal(raincheck_extend(rc, &extend, &extended), 0);
	assert_int_equal(extended->leases[0].status, RAINCHECK_EXTEND_CANCEL);
	raincheck_free(extended);
	raincheck_free(leased);
	raincheck_close(rc, NULL, NULL);
}

static void filters_and_pipes_name_many_jobs(void **state)
{
	char pipe[1200];

	(void)state;
	assert_int_equal(cli("put", "-q", "q", "--data", "x", "--count", "25"), 0);
	assert_int_equal(cli("put", "-q", "q", "--data", "x", "--set", "group=g", "--count", "5"), 0);
	assert_int_equal(cli("put", "-q", "other", "--data", "x"), 0);
	assert_int_equal(cli("cancel", "--filter", "queue=q"), 2);
	assert_int_equal(cli("cancel", "--filter", "queue=nowhere", "--yes"), 3);
	assert_int_equal(cli("cancel", "--filter", "queue=q,group=g", "--yes"), 0);
	assert_string_equal(output, "5 canceled\n");
	assert_int_equal(cli("cancel", "--filter", "before=2020-01-01", "--yes"), 0);
	assert_string_equal(output, "0 canceled\n");
	snprintf(pipe, sizeof(pipe), "%s ls -q q --state ready --limit 10 | tail -n +2 | cut -c1-36 | %s cancel -",
		 process_program("raincheck"), process_program("raincheck"));
	assert_int_equal(run_cli((const char *const[]){ "/bin/sh", "-c", pipe, NULL }), 0);
	assert_int_equal(cli("--json", "queue", "show", "q"), 0);
	expect("\"ready\": 15");
	expect("\"canceled\": 15");
	assert_int_equal(cli("erase", "--filter", "queue=q,state=canceled", "--yes", "--json"), 0);
	assert_string_equal(output, "{\"count\": 15, \"complete\": true}\n");
	assert_int_equal(cli("erase", "--all", "--yes"), 0);
	assert_string_equal(output, "16 erased\n");
}

static void queues_are_bounded_paused_and_purged(void **state)
{
	static const char *const queues[] = { "q" };
	struct raincheck_lease lease = { .queues = queues, .queue_count = 1 };
	struct raincheck *rc = stack_connect(&stack);
	struct raincheck_lease_result *leased;

	(void)state;
	assert_int_equal(cli("queue", "show", "q"), 3);
	assert_int_equal(cli("queue", "set", "q", "max_jobs=2", "backoff.base=2s", "title=Renders"), 0);
	expect("0 of 2");
	assert_int_equal(cli("queue", "set", "q", "backoff.factor=3"), 0);
	expect("2 s, times 3");
	assert_int_equal(cli("put", "-q", "q", "--data", "x", "--count", "2"), 0);
	assert_int_equal(cli("put", "-q", "q", "--data", "x"), 1);
	expect("queue_full");
	expect("come back in");
	assert_int_equal(cli("queue", "ls"), 0);
	expect("full");
	assert_int_equal(cli("queue", "set", "q", "max_jobs=default", "backoff=default"), 0);
	expect("2, no bound");
	assert_int_equal(cli("queue", "pause", "q"), 0);
	assert_string_equal(output, "q is paused; 2 wait\n");
	assert_int_equal(cli("put", "-q", "q", "--data", "x"), 0);
	assert_int_equal(raincheck_lease(rc, &lease, &leased), 0);
	assert_int_equal(leased->job_count, 0);
	raincheck_free(leased);
	assert_int_equal(cli("queue", "resume", "q"), 0);
	raincheck_free(lease_job(rc));
	raincheck_close(rc, NULL, NULL);
	assert_int_equal(cli("queue", "purge", "q"), 2);
	assert_int_equal(cli("queue", "purge", "q", "--yes"), 0);
	assert_string_equal(output, "2 canceled\n");
	assert_int_equal(cli("queue", "set", "_own", "max_jobs=1"), 1);
}

static void links_are_rotated_and_revoked(void **state)
{
	char first[256], second[256];

	(void)state;
	put("a");
	json_word("link", first, sizeof(first));
	assert_int_equal(cli("--json", "link", id, "--rotate"), 0);
	json_word("link", second, sizeof(second));
	assert_string_not_equal(first, second);
	assert_int_not_equal(link_status(first), 200);
	assert_int_equal(link_status(second), 200);
	assert_int_equal(cli("link", id, "--revoke"), 0);
	assert_int_not_equal(link_status(second), 200);
	assert_int_equal(cli("link", id), 1);
}

static void a_backup_is_checked_and_restored(void **state)
{
	char backup[256], restored[256], data[256], old[256];

	(void)state;
	snprintf(backup, sizeof(backup), "%s", tempdir_file(&stack.dir, "backup"));
	snprintf(restored, sizeof(restored), "%s", tempdir_file(&stack.dir, "restored"));
	snprintf(data, sizeof(data), "%s", tempdir_file(&stack.dir, "data"));
	snprintf(old, sizeof(old), "%s", tempdir_file(&stack.dir, "old"));
	put("kept");
	assert_int_equal(cli("backup", backup), 0);
	expect("1 job and 0 artifacts");
	assert_int_equal(cli("backup", backup), 1);
	assert_int_equal(cli("check"), 0);
	expect("all is as it must be");
	assert_int_equal(cli("erase", id, "--yes"), 0);
	assert_int_equal(cli("restore", backup, "--data", restored), 0);
	assert_int_equal(cli("restore", backup, "--data", restored), 1);
	process_stop(&stack.broker);
	assert_int_equal(rename(data, old), 0);
	assert_int_equal(rename(restored, data), 0);
	stack_start_broker(&stack);
	assert_int_equal(cli("payload", id), 0);
	expect("kept");
}

/* ---- what it is started with ---- */

static const char *script(const char *words)
{
	static char text[1024];

	snprintf(text, sizeof(text), "exec %s %s", process_program("raincheck"), words);
	return text;
}

static int shell(const char *words)
{
	return run_cli((const char *const[]){ "/bin/sh", "-c", script(words), NULL });
}

static void closed_descriptors_are_survived(void **state)
{
	(void)state;
	assert_int_equal(shell("put -q q --data x >&-"), 1);
	expect("cannot write: Bad file descriptor");
	assert_int_equal(shell("put -q q --data x >/dev/full"), 1);
	expect("cannot write: No space left on device");
	assert_int_equal(shell("put -q q --data x 2>&-"), 0);
	assert_int_equal(shell("put -q q --data x <&-"), 0);
	assert_int_equal(shell("put -q q - <&-"), 1);
	expect("Bad file descriptor");
	assert_int_equal(shell("put -q q --batch - <&-"), 1);
	expect("Bad file descriptor");
	assert_int_equal(shell("put -q q --data x <&- >&- 2>&-"), 1);
}

/* Runs it on a terminal of that many columns and returns the width of its widest line. */
static size_t widest_on_terminal(unsigned short columns, const char *words)
{
	struct winsize size = { .ws_row = 24, .ws_col = columns };
	size_t used = 0, widest = 0;
	int terminal, status;
	pid_t pid = forkpty(&terminal, NULL, NULL, &size);
	ssize_t n;

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(execl("/bin/sh", "sh", "-c", script(words), NULL));
	/* A terminal whose other side has gone answers EIO. */
	while ((n = read(terminal, output + used, sizeof(output) - 1 - used)) > 0)
		used += (size_t)n;
	output[used] = '\0';
	close(terminal);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	used = 0;
	for (const char *p = output; *p; p++) {
		/* The bytes that begin a character. */
		used = *p == '\r' || *p == '\n' ? 0 : used + ((*p & 0xc0) != 0x80);
		widest = used > widest ? used : widest;
	}
	return widest;
}

static void tables_fit_the_terminal(void **state)
{
	(void)state;
	setenv("TERM", "dumb", 1);
	unsetenv("COLUMNS");
	assert_int_equal(cli("put", "-q", "a-queue-with-quite-a-long-name.of-this-customer", "--data", "x", "--set",
			     "title=a title that is longer than what is left of a line of a terminal"),
			 0);
	assert_true(widest_on_terminal(80, "ls") <= 80);
	expect("TITLE");
	assert_null(strstr(output, "GROUP"));
	assert_true(widest_on_terminal(80, "queue ls") <= 80);
	expect("DROPPED");
	assert_true(widest_on_terminal(60, "ls") <= 60);
	setenv("COLUMNS", "100", 1);
	assert_true(widest_on_terminal(60, "ls") > 60);
	unsetenv("COLUMNS");
	/* For programs nothing is left out. */
	assert_int_equal(cli("ls"), 0);
	expect("GROUP");
	expect("a-queue-with-quite-a-long-name.of-this-customer");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_job_from_put_to_result),
		T(put_takes_every_form),
		T(a_batch_says_which_lines_were_refused),
		T(lists_and_counts),
		T(exit_statuses_say_what_happened),
		T(an_unknown_job_has_no_result),
		T(wait_survives_a_restart),
		T(jobs_are_canceled_retried_and_erased),
		T(whoever_works_on_a_canceled_job_is_told),
		T(filters_and_pipes_name_many_jobs),
		T(queues_are_bounded_paused_and_purged),
		T(links_are_rotated_and_revoked),
		T(a_backup_is_checked_and_restored),
		T(closed_descriptors_are_survived),
		T(tables_fit_the_terminal),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
