/* Looking after a broker: stats, backup, check, restore, link --rotate and --revoke. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "tests/harness/cli_run.h"
#include "tests/harness/tempdir.h"

#define ID CLI_RUN_ID

/* ---- stats ---- */

static void stats_script(struct fake_broker *b, void *arg)
{
	struct msg_server_stats_result stats = fake_stats();
	struct fake_request r;

	stats.store.full = arg != NULL;
	stats.store.set_aside = arg != NULL ? 2 : 0;
	if (fake_greet(b, 10) && fake_next(b, METHOD_server_stats, &r))
		fake_reply(b, &r, &stats);
}

static void test_stats(void **state)
{
	bool ill;
	struct ran r = run_with(stats_script, NULL, "", WORDS("stats"));
	json_t *o;

	(void)state;
	says(r.out, "store:          1.0 MiB of 1.0 GiB, 16.0 MiB kept back\n");
	assert_null(strstr(r.out, "damaged"));
	says(r.out, "slots:          10, 4 free, 12 wanted\n");
	says(r.out, "backlog:        2 min 5 s\n");
	says(r.out, "oldest waits:   1 min 1 s\n");
	ran_done(&r);
	r = run_with(stats_script, &ill, "", WORDS("stats"));
	says(r.out, "16.0 MiB kept back; full, puts are refused\n");
	says(r.out, "damaged jobs:   2, set aside");
	ran_done(&r);
	r = run_with(stats_script, &ill, "", WORDS("stats", "--json"));
	o = json_loads(r.out, 0, NULL);
	assert_true(json_is_true(json_object_get(json_object_get(o, "store"), "full")));
	assert_int_equal(json_integer_value(json_object_get(json_object_get(o, "store"), "set_aside")), 2);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(o, "jobs"), "dead")), 5);
	assert_int_equal(json_integer_value(json_object_get(o, "wanted_concurrency")), 12);
	assert_int_equal(json_integer_value(json_object_get(o, "oldest_ready_age_ms")), 61000);
	json_decref(o);
	ran_done(&r);
}

/* ---- backup ---- */

/* Is to be told the path in *arg. */
static void backup_script(struct fake_broker *b, void *arg)
{
	struct msg_server_backup_result done = { .has_path = true,
						 .path = slice_str(arg),
						 .has_jobs = true,
						 .jobs = 5,
						 .has_artifacts = true,
						 .artifacts = 6,
						 .has_bytes = true,
						 .bytes = 7168,
						 .has_took_ms = true,
						 .took_ms = 8 };
	struct fake_request r;

	if (!fake_greet(b, 10) || !fake_next(b, METHOD_server_backup, &r))
		return;
	if (!slice_is(r.backup->path, arg))
		fake_wrong(b, "the path is %.*s", SLICE_FMT(r.backup->path));
	else
		fake_reply(b, &r, &done);
}

static void damaged_backup_script(struct fake_broker *b, void *arg)
{
	struct msg_server_backup_result done = { .has_path = true,
						 .path = slice_str("/var/copy"),
						 .has_jobs = true,
						 .has_artifacts = true,
						 .has_bytes = true,
						 .has_damaged = true,
						 .damaged = *(int *)arg,
						 .has_took_ms = true };
	struct fake_request r;

	if (fake_greet(b, 10) && fake_next(b, METHOD_server_backup, &r))
		fake_reply(b, &r, &done);
}

/* The copy is there: so the status says done, and the damage is told where a cron job's mail shows it. */
static void test_backup_of_damage(void **state)
{
	int damaged = 1;
	struct ran r;

	(void)state;
	r = run_with(damaged_backup_script, &damaged, "", WORDS("backup", "/var/copy"));
	assert_int_equal(r.exit, CLI_DONE);
	says(r.err, "warning: 1 part of jobs is damaged in the copy as here; \"raincheck check\" names the jobs");
	ran_done(&r);
	damaged = 7;
	r = run_with(damaged_backup_script, &damaged, "", WORDS("backup", "/var/copy", "--json"));
	assert_int_equal(r.exit, CLI_DONE);
	says(r.out, "\"damaged\": 7");
	says(r.err, "warning: 7 parts of jobs are damaged");
	ran_done(&r);
}

static void backup_refused_script(struct fake_broker *b, void *arg)
{
	struct fake_request r;

	(void)arg;
	if (fake_greet(b, 10) && fake_next(b, METHOD_server_backup, &r))
		fake_refuse(b, &r, ERR_CONFLICT, "path", "it is there already");
}

static void test_backup(void **state)
{
	_cleanup_free_ char *here = getcwd(NULL, 0);
	char path[4096];
	struct ran r;

	(void)state;
	right(run_with(backup_script, "/var/copy", "", WORDS("backup", "/var/copy")),
	      "5 jobs and 6 artifacts, 7.0 KiB, copied in 8 ms to /var/copy\n");
	snprintf(path, sizeof(path), "%s/copy", here);
	right(run_with(backup_script, path, "", WORDS("backup", "copy", "--json")), "\"bytes\": 7168");
	r = run_with(backup_refused_script, NULL, "", WORDS("backup", "/var/copy"));
	assert_int_equal(r.exit, CLI_FAILED);
	assert_string_equal(r.err, "raincheck: path: it is there already (conflict)\n");
	ran_done(&r);
}

/* ---- check ---- */

static void check_script(struct fake_broker *b, void *arg)
{
	struct msg_breach lines[2] = { { .has_text = true, .text = slice_str("job a is \033lost") },
				       { .has_text = true, .text = slice_str("job b too") } };
	struct msg_server_check_result checked = { .has_jobs = true,
						   .jobs = 5,
						   .has_artifacts = true,
						   .artifacts = 6,
						   .has_breaches = true,
						   .has_set_aside = true,
						   .has_lines = true,
						   .lines = lines,
						   .has_took_ms = true,
						   .took_ms = 8 };
	struct fake_request r;

	if (arg) {
		checked.set_aside = *(int *)arg;
		checked.breaches = checked.set_aside > 0 ? 0 : 2000;
		checked.lines_count = checked.set_aside > 0 ? 0 : 2;
	}
	if (fake_greet(b, 10) && fake_next(b, METHOD_server_check, &r))
		fake_reply(b, &r, &checked);
}

static void test_check(void **state)
{
	int broken = 0, one = 1, three = 3;
	struct ran r;

	(void)state;
	right(run_with(check_script, NULL, "", WORDS("check")),
	      "5 jobs and 6 artifacts checked in 8 ms: all is as it must be\n");
	right(run_with(check_script, NULL, "", WORDS("check", "--json")), "\"breaches\": 0");
	r = run_with(check_script, &broken, "", WORDS("check"));
	assert_int_equal(r.exit, CLI_FAILED);
	assert_string_equal(r.out, "job a is \ufffdlost\njob b too\n5 jobs and 6 artifacts checked in 8 ms\n");
	assert_string_equal(r.err, "raincheck: the check found 2000 breaches\n");
	ran_done(&r);
	r = run_with(check_script, &broken, "", WORDS("check", "--json"));
	assert_int_equal(r.exit, CLI_FAILED);
	says(r.out, "\"job b too\"");
	ran_done(&r);
	/* All is consistent, and there is work for an operator all the same. */
	r = run_with(check_script, &one, "", WORDS("check"));
	assert_int_equal(r.exit, CLI_FAILED);
	assert_string_equal(r.out, "5 jobs and 6 artifacts checked in 8 ms\n");
	assert_string_equal(r.err, "raincheck: the check found 1 damaged job, set aside\n");
	ran_done(&r);
	r = run_with(check_script, &three, "", WORDS("check", "--json"));
	assert_int_equal(r.exit, CLI_FAILED);
	says(r.out, "\"set_aside\": 3");
	says(r.err, "3 damaged jobs, set aside");
	ran_done(&r);
}

/* ---- restore ---- */

/* A raincheckd in PATH that writes down how it was called, and ends as it is told. */
static void plant_daemon(struct tempdir *dir, const char *end)
{
	const char *path = tempdir_file(dir, "raincheckd");
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fprintf(f, "#!/bin/sh\necho \"$@\" >\"$(dirname \"$0\")/called\"\n%s\n", end);
	fclose(f);
	assert_int_equal(chmod(path, 0755), 0);
}

static char *copy_path(void)
{
	const char *path = getenv("PATH");

	return strdup(path ? path : "/usr/bin:/bin");
}

static void restore_ends(struct tempdir *dir, const char *end, int exit)
{
	struct ran r;

	plant_daemon(dir, end);
	r = RUN("restore", "the backup", "--data", "there");
	assert_int_equal(r.exit, exit);
	ran_done(&r);
}

static void test_restore_runs_the_daemon(void **state)
{
	_cleanup_free_ char *path = copy_path();
	char called[128] = "", search[512];
	struct tempdir dir;
	FILE *f;

	(void)state;
	tempdir_make(&dir);
	snprintf(search, sizeof(search), "%s:%s", dir.path, path);
	setenv("PATH", search, 1);
	restore_ends(&dir, "exit 0", CLI_DONE);
	f = fopen(tempdir_file(&dir, "called"), "r");
	assert_non_null(f);
	assert_non_null(fgets(called, sizeof(called), f));
	fclose(f);
	assert_string_equal(called, "--restore the backup --data there\n");
	restore_ends(&dir, "exit 1", CLI_FAILED);
	restore_ends(&dir, "exit 2", CLI_USAGE);
	restore_ends(&dir, "exit 77", CLI_FAILED);
	restore_ends(&dir, "kill -9 $$", CLI_FAILED);
	setenv("PATH", path, 1);
	tempdir_remove(&dir);
}

static void test_restore_without_a_daemon(void **state)
{
	_cleanup_free_ char *path = copy_path();
	struct ran r;

	(void)state;
	wrong(RUN("restore", "backup"), "restore to where? --data DIR");
	setenv("PATH", "/nonexistent", 1);
	r = RUN("restore", "backup", "--data", "there");
	setenv("PATH", path, 1);
	assert_int_equal(r.exit, CLI_FAILED);
	assert_ptr_equal(strstr(r.err, "raincheck: cannot run raincheckd"), r.err);
	ran_done(&r);
}

/* ---- links ---- */

static void rotate_script(struct fake_broker *b, void *arg)
{
	struct msg_link_result link = { .has_link = true, .link = slice_str("http://x/r/new") };
	struct fake_request r;

	(void)arg;
	if (fake_greet(b, 10) && fake_next(b, METHOD_link_rotate, &r))
		fake_reply(b, &r, &link);
}

static void revoke_script(struct fake_broker *b, void *arg)
{
	struct msg_empty nothing = { 0 };
	struct fake_request r;

	(void)arg;
	if (fake_greet(b, 10) && fake_next(b, METHOD_link_revoke, &r))
		fake_reply(b, &r, &nothing);
}

static void test_links(void **state)
{
	(void)state;
	wrong(RUN("link", ID, "--rotate", "--revoke"), "which?");
	right(run_with(rotate_script, NULL, "", WORDS("link", ID, "--rotate")), "http://x/r/new\n");
	right(run_with(revoke_script, NULL, "", WORDS("link", ID, "--revoke")), "the link is revoked\n");
	right(run_with(revoke_script, NULL, "", WORDS("link", ID, "--revoke", "--json")), "\"link\": null");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stats),
		cmocka_unit_test(test_backup),
		cmocka_unit_test(test_backup_of_damage),
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_restore_runs_the_daemon),
		cmocka_unit_test(test_restore_without_a_daemon),
		cmocka_unit_test(test_links),
	};

	cli_run_clean_environment();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
