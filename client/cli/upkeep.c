/* Looking after the broker's data: backup and check, which the broker does, and restore, which raincheckd does while no
 * broker uses the directory.
 */
#include <errno.h>
#include <limits.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"
#include "client/raincheck.h"
#include "proto/base/clean.h"
#include "proto/base/units.h"
#include "show.h"
#include "text.h"

#define CANNOT_RUN 127 /* as POSIX has it, of a child that found nothing to run */
#define DAEMON	   "raincheckd"

/* "1 job and 2 artifacts" */
static void print_amount(FILE *out, int64_t jobs, int64_t artifacts)
{
	fprintf(out, "%lld job%s and %lld artifact%s", (long long)jobs, jobs == 1 ? "" : "s", (long long)artifacts,
		artifacts == 1 ? "" : "s");
}

/* ---- backup ---- */

/* The broker would take a relative path for one from where it was started. NULL: said why. */
static char *absolute(struct cli *c, const char *path)
{
	_cleanup_free_ char *here = NULL;
	char *whole = NULL;

	if (path[0] == '/')
		return strdup(path);
	here = getcwd(NULL, 0);
	if (!here)
		cli_failed(c, "where is %s? %s", path, strerror(errno));
	else if (asprintf(&whole, "%s/%s", here, path) < 0)
		return NULL;
	return whole;
}

static int print_backup(struct cli *c, const struct raincheck_backup_result *r)
{
	if (c->json)
		return show_json(c, json_pack("{s:s, s:I, s:I, s:I, s:I, s:I}", "path", r->path, "jobs",
					      (json_int_t)r->jobs, "artifacts", (json_int_t)r->artifacts, "bytes",
					      (json_int_t)r->bytes, "damaged", (json_int_t)r->damaged, "took_ms",
					      (json_int_t)r->took_ms));
	print_amount(c->out, r->jobs, r->artifacts);
	fprintf(c->out, ", %s, copied in %s to ", units_format_size(r->bytes).text,
		units_format_duration(r->took_ms).text);
	text_print(c->out, r->path);
	fputc('\n', c->out);
	return CLI_DONE;
}

/* The copy is made all the same, and the status says so: a damaged job is no reason to be without one. */
static void warn_of_damage(struct cli *c, const struct raincheck_backup_result *r)
{
	if (r->damaged == 0)
		return;
	fflush(c->out);
	fprintf(c->err,
		"warning: %lld part%s of jobs %s damaged in the copy as here; \"raincheck check\" names the jobs, and "
		"\"raincheck erase\" removes them\n",
		(long long)r->damaged, r->damaged == 1 ? "" : "s", r->damaged == 1 ? "is" : "are");
}

int cli_backup(struct cli *c)
{
	_cleanup_free_ char *path = absolute(c, c->args[0]);
	struct raincheck_backup_result *result;
	int exit = CLI_FAILED;

	if (!path || !cli_connect(c, &exit))
		return exit;
	if (raincheck_backup(c->rc, path, &result) < 0)
		return cli_last_refused(c);
	exit = print_backup(c, result);
	warn_of_damage(c, result);
	raincheck_free(result);
	return exit;
}

/* ---- check ---- */

static json_t *check_json(const struct raincheck_check_result *r)
{
	json_t *lines = json_array();

	for (size_t i = 0; i < r->line_count; i++)
		json_array_append_new(lines, json_string(r->lines[i]));
	return json_pack("{s:I, s:I, s:I, s:I, s:o, s:I}", "jobs", (json_int_t)r->jobs, "artifacts",
			 (json_int_t)r->artifacts, "breaches", (json_int_t)r->breach_count, "set_aside",
			 (json_int_t)r->set_aside, "lines", lines, "took_ms", (json_int_t)r->took_ms);
}

static int print_check(struct cli *c, const struct raincheck_check_result *r)
{
	int exit = CLI_DONE;

	if (c->json)
		exit = show_json(c, check_json(r));
	for (size_t i = 0; !c->json && i < r->line_count; i++) {
		text_print(c->out, r->lines[i]);
		fputc('\n', c->out);
	}
	if (!c->json) {
		print_amount(c->out, r->jobs, r->artifacts);
		fprintf(c->out, " checked in %s%s\n", units_format_duration(r->took_ms).text,
			r->breach_count + r->set_aside == 0 ? ": all is as it must be" : "");
	}
	if (exit == CLI_DONE && r->breach_count > 0)
		return cli_failed(c, "the check found %lld breach%s", (long long)r->breach_count,
				  r->breach_count == 1 ? "" : "es");
	if (exit == CLI_DONE && r->set_aside > 0)
		return cli_failed(c, "the check found %lld damaged job%s, set aside", (long long)r->set_aside,
				  r->set_aside == 1 ? "" : "s");
	return exit;
}

int cli_check(struct cli *c)
{
	struct raincheck_check_result *result;
	int exit = CLI_DONE;

	if (!cli_connect(c, &exit))
		return exit;
	if (raincheck_check(c->rc, &result) < 0)
		return cli_last_refused(c);
	exit = print_check(c, result);
	raincheck_free(result);
	return exit;
}

/* ---- restore ---- */

/* The one beside this program, which is of its version; else its plain name, for PATH. */
static void find_daemon(char ret[PATH_MAX])
{
	ssize_t size = readlink("/proc/self/exe", ret, PATH_MAX - sizeof(DAEMON));
	char *slash;

	if (size > 0) {
		ret[size] = '\0';
		slash = strrchr(ret, '/');
		if (slash) {
			memcpy(slash + 1, DAEMON, sizeof(DAEMON));
			if (access(ret, X_OK) == 0)
				return;
		}
	}
	memcpy(ret, DAEMON, sizeof(DAEMON));
}

/* What it says goes where ours does. Its statuses 0, 1 and 2 mean what ours do. */
static int run_daemon(struct cli *c, char **argv)
{
	int status, error;
	pid_t pid;

	fflush(c->out);
	fflush(c->err);
	error = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);
	if (error != 0)
		return cli_failed(c, "cannot run %s: %s", argv[0], strerror(error));
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return cli_failed(c, "cannot wait for %s: %s", argv[0], strerror(errno));
	if (WIFSIGNALED(status))
		return cli_failed(c, "%s was ended by signal %d", argv[0], WTERMSIG(status));
	/* Not every system's posix_spawnp() knows it at once. */
	if (WEXITSTATUS(status) == CANNOT_RUN)
		return cli_failed(c, "cannot run %s", argv[0]);
	return WEXITSTATUS(status) > CLI_USAGE ? CLI_FAILED : WEXITSTATUS(status);
}

int cli_restore(struct cli *c)
{
	const char *data = cli_value(c, "data");
	char daemon[PATH_MAX];
	char *argv[] = { daemon, "--restore", (char *)c->args[0], "--data", (char *)data, NULL };

	if (!data)
		return cli_usage(c, "restore to where? --data DIR");
	find_daemon(daemon);
	return run_daemon(c, argv);
}
