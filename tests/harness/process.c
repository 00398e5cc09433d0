#include "tests/harness/process.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void die(const char *what)
{
	perror(what);
	exit(1);
}

const char *process_program(const char *name)
{
	static _Thread_local char path[512];
	const char *build = getenv("B");

	snprintf(path, sizeof(path), "%s/%s", build ? build : "build", name);
	return path;
}

static void run_child(int out, bool errors_too, const char *const *argv, pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	dup2(out, STDOUT_FILENO);
	if (errors_too)
		dup2(out, STDERR_FILENO);
	close_range(3, ~0U, 0);
	execv(argv[0], (char *const *)(uintptr_t)argv);
	perror(argv[0]);
	_exit(127);
}

static void start(struct process *p, const char *const *argv, bool errors_too)
{
	const char *slash = strrchr(argv[0], '/');
	pid_t parent = getpid();
	int fds[2];

	memset(p, 0, sizeof(*p));
	snprintf(p->name, sizeof(p->name), "%s", slash ? slash + 1 : argv[0]);
	if (pipe2(fds, O_CLOEXEC) < 0)
		die("pipe");
	p->pid = fork();
	if (p->pid < 0)
		die("fork");
	if (p->pid == 0)
		run_child(fds[1], errors_too, argv, parent);
	close(fds[1]);
	p->output = fdopen(fds[0], "r");
	if (!p->output)
		die("fdopen");
}

void process_start(struct process *p, const char *const *argv)
{
	start(p, argv, false);
}

void process_start_heard(struct process *p, const char *const *argv)
{
	start(p, argv, true);
}

int process_run(const char *const *argv, char *ret_output, size_t size)
{
	struct process p;

	start(&p, argv, true);
	return process_finish(&p, ret_output, size);
}

static bool read_line(struct process *p)
{
	if (!fgets(p->line, sizeof(p->line), p->output))
		return false;
	p->line[strcspn(p->line, "\n")] = '\0';
	return true;
}

bool process_wait_line(struct process *p, const char *prefix)
{
	while (read_line(p))
		if (strncmp(p->line, prefix, strlen(prefix)) == 0)
			return true;
	return false;
}

bool process_wait_words(struct process *p, const char *words)
{
	while (read_line(p))
		if (strstr(p->line, words))
			return true;
	return false;
}

void process_line_word(const struct process *p, const char *key, char *ret, size_t size)
{
	const char *at = strstr(p->line, key);

	assert_non_null(at);
	at += strlen(key);
	snprintf(ret, size, "%.*s", (int)strcspn(at, " "), at);
}

static bool has_ended(const struct process *p)
{
	siginfo_t info = { .si_pid = 0 };

	if (waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
		die("waitid");
	return info.si_pid == p->pid;
}

int process_open_fifo(const struct process *p, const char *path)
{
	int fd;

	/* To one that is open for reading nowhere it is refused, where it would wait for ever otherwise. */
	while ((fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC)) < 0) {
		if (errno != ENXIO)
			die(path);
		if (has_ended(p))
			fail_msg("%s ended without reading %s", p->name, path);
		sched_yield();
	}
	return fd;
}

bool process_end_has(const struct process *p, const char *set, int signal)
{
	size_t n = strlen(set);
	char path[64], line[256];
	unsigned long long signals = 0;
	bool found = false;
	siginfo_t info;
	FILE *f;

	if (waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOWAIT) < 0)
		die("waitid");
	snprintf(path, sizeof(path), "/proc/%ld/status", (long)p->pid);
	f = fopen(path, "re");
	if (!f)
		die(path);
	while (!found && fgets(line, sizeof(line), f)) {
		found = strncmp(line, set, n) == 0 && line[n] == ':';
		if (found)
			signals = strtoull(line + n + 1, NULL, 16);
	}
	fclose(f);
	assert_true(found);
	return signals >> (signal - 1) & 1;
}

int process_finish(struct process *p, char *ret, size_t size)
{
	size_t used = 0;
	int status;

	for (int c; (c = fgetc(p->output)) != EOF;)
		if (ret && used + 1 < size)
			ret[used++] = (char)c;
	if (ret)
		ret[used] = '\0';
	if (waitpid(p->pid, &status, 0) != p->pid)
		die("waitpid");
	fclose(p->output);
	p->pid = 0;
	p->output = NULL;
	return status;
}

int process_end(struct process *p, int signal)
{
	/* kill() takes others for whole groups of processes, and -1 for all there are. */
	assert_true(p->pid > 0);
	kill(p->pid, signal);
	return process_finish(p, NULL, 0);
}

void process_stop(struct process *p)
{
	int status = process_end(p, SIGTERM);

	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail_msg("%s ended with status 0x%x after SIGTERM", p->name, (unsigned)status);
}
