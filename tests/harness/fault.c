#include "tests/harness/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/futex.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/raincheck.h"

#define ARGS_MAX    32
#define WORDS_BYTES 2000

unsigned long fault_setting(const char *name, unsigned long otherwise)
{
	const char *value = getenv(name);

	return value && *value ? strtoul(value, NULL, 10) : otherwise;
}

/* ---- the disk ---- */

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void map_control(struct fault *f)
{
	int fd = open(tempdir_file(&f->dir, "control"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	void *page = MAP_FAILED;

	if (fd >= 0 && ftruncate(fd, sizeof(*f->control)) == 0)
		page = mmap(NULL, sizeof(*f->control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED)
		fail_msg("cannot map the control page: %s", strerror(errno));
	close(fd);
	f->control = page;
}

static void open_in(struct fault *f, const char *dir)
{
	memset(f, 0, sizeof(*f));
	snprintf(f->dir.path, sizeof(f->dir.path), "%s", dir);
	snprintf(f->disk, sizeof(f->disk), "%s", tempdir_file(&f->dir, "disk"));
	snprintf(f->data, sizeof(f->data), "%s", tempdir_file(&f->dir, "disk/data"));
	snprintf(f->words, sizeof(f->words), "%s", tempdir_file(&f->dir, "words"));
	snprintf(f->log, sizeof(f->log), "%s", tempdir_file(&f->dir, "log"));
	snprintf(f->server, sizeof(f->server), "unix:%s", tempdir_file(&f->dir, "rpc.sock"));
	map_control(f);
	fault_new_disk(f);
}

void fault_open(struct fault *f)
{
	struct tempdir dir;

	tempdir_make(&dir);
	open_in(f, dir.path);
}

void fault_open_within(struct fault *f, char **argv)
{
	const char *disk = getenv("FAULT_DISK");
	char dir[sizeof(f->dir.path)];

	if (disk) {
		snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(disk, '/') - disk), disk);
		open_in(f, dir);
		return;
	}
	fault_open(f);
	setenv("LD_PRELOAD", process_program("tests/libfault.so"), 1);
	setenv("FAULT_CONTROL", tempdir_file(&f->dir, "control"), 1);
	setenv("FAULT_DISK", f->disk, 1);
	execv("/proc/self/exe", argv);
	fail_msg("cannot start anew: %s", strerror(errno));
}

void fault_new_folder(const char *path)
{
	nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	assert_int_equal(mkdir(path, 0700), 0);
}

void fault_new_disk(struct fault *f)
{
	assert_int_equal(f->broker.pid, 0);
	fault_new_folder(f->disk);
	unlink(f->log);
	unlink(f->words);
	memset(f->control, 0, sizeof(*f->control));
}

void fault_close(struct fault *f)
{
	if (f->broker.pid)
		fault_end(f, SIGKILL);
	munmap(f->control, sizeof(*f->control));
	tempdir_remove(&f->dir);
}

/* ---- the broker ---- */

/* The shell sends standard error to the file, and sets the layer for the broker alone. */
static bool start(struct fault *f, const char *const *extra, const char *environment)
{
	char command[1024], program[512];
	const char *argv[ARGS_MAX] = { "/bin/sh",  "-c",      command,	program,       "--data",      f->data,
				       "--listen", f->server, "--http", "127.0.0.1:0", "--log-level", "error" };
	size_t n = 12;

	snprintf(program, sizeof(program), "%s", process_program("raincheckd"));
	snprintf(command, sizeof(command), "exec env %s \"$0\" \"$@\" 2>>%s", environment, f->words);
	for (; extra && *extra && n + 1 < ARGS_MAX; extra++)
		argv[n++] = *extra;
	process_start(&f->broker, argv);
	if (process_wait_line(&f->broker, "ready "))
		return true;
	fault_end(f, 0);
	return false;
}

bool fault_start(struct fault *f, const char *const *extra, bool recorded)
{
	char environment[800];

	snprintf(environment, sizeof(environment), "LD_PRELOAD=%s FAULT_CONTROL=%s/control FAULT_DISK=%s%s%s",
		 process_program("tests/libfault.so"), f->dir.path, f->disk, recorded ? " FAULT_LOG=" : "",
		 recorded ? f->log : "");
	return start(f, extra, environment);
}

bool fault_start_plain(struct fault *f, const char *const *extra)
{
	return start(f, extra, "");
}

int fault_end(struct fault *f, int signal)
{
	f->status = process_end(&f->broker, signal);
	return f->status;
}

bool fault_has_ended(struct fault *f, int patience_ms)
{
	struct pollfd end = { .fd = (int)syscall(SYS_pidfd_open, f->broker.pid, 0), .events = POLLIN };
	bool ended = end.fd >= 0 && poll(&end, 1, patience_ms) > 0;

	if (end.fd >= 0)
		close(end.fd);
	if (ended)
		fault_end(f, 0);
	return ended;
}

/* ---- the plan ---- */

void fault_disarm(struct fault *f)
{
	atomic_store(&f->control->countdown, 0);
	atomic_store(&f->control->was_cut, 0);
}

void fault_arm(struct fault *f, const struct fault_plan *plan)
{
	fault_disarm(f);
	f->control->kinds = plan->kinds;
	f->control->action = plan->action;
	f->control->error = plan->error;
	f->control->lasting = plan->lasting;
	f->control->caller[0] = '\0';
	f->control->aborter[0] = '\0';
	atomic_store(&f->control->met, 0);
	atomic_store(&f->control->countdown, plan->at);
}

unsigned fault_met(const struct fault *f)
{
	return atomic_load(&f->control->met);
}

void fault_await_held(struct fault *f)
{
	struct timespec patience = { .tv_sec = 60 };

	while (atomic_load(&f->control->held) == 0)
		if (syscall(SYS_futex, &f->control->held, FUTEX_WAIT, 0, &patience, NULL, 0) < 0 && errno == ETIMEDOUT)
			fail_msg("no call came to be held");
}

void fault_let_go(struct fault *f)
{
	atomic_store(&f->control->held, 0);
	syscall(SYS_futex, &f->control->held, FUTEX_WAKE, 1, NULL, NULL, 0);
}

uint64_t fault_calls(const struct fault *f, uint32_t kinds)
{
	uint64_t sum = 0;

	for (int i = 0; i < FAULT_KINDS; i++)
		if (kinds & FAULT_BIT(i))
			sum += atomic_load(&f->control->calls[i]);
	return sum;
}

/* ---- looking ---- */

int fault_check(struct fault *f, const char *data, char *ret, size_t size)
{
	char program[512];
	const char *argv[] = { program, "--check", "--data", data, NULL };

	(void)f;
	snprintf(program, sizeof(program), "%s", process_program("raincheckd"));
	return process_run(argv, ret, size);
}

const char *fault_words(const struct fault *f)
{
	static _Thread_local char words[WORDS_BYTES];
	size_t n = 0;
	FILE *file = fopen(f->words, "re");

	if (file) {
		if (fseek(file, 1 - (long)sizeof(words), SEEK_END) < 0)
			rewind(file);
		n = fread(words, 1, sizeof(words) - 1, file);
		fclose(file);
	}
	words[n] = '\0';
	return words;
}

struct raincheck *fault_connect(const struct fault *f)
{
	struct raincheck_options options = { .server = f->server, .client = "tests" };
	struct raincheck *rc;

	assert_int_equal(raincheck_new(&options, &rc, NULL), 0);
	return rc;
}

const char *fault_status_text(int status)
{
	static _Thread_local char text[64];

	if (WIFSIGNALED(status))
		snprintf(text, sizeof(text), "signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(text, sizeof(text), "exit status %d", WEXITSTATUS(status));
	return text;
}
