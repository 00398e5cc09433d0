/* Starting and waiting for one process.
 *
 * Happy path: spawn, open a pidfd, wait for it, reap. The pid is valid until it is reaped here, so opening the pidfd
 * after the spawn does not race. A kill sets a flag under the lock and signals the pidfd if there is one; a kill that
 * comes between the spawn and the pidfd is seen as the flag. */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define FIRST_OTHER_FD 3

void child_init(struct child *c)
{
	pthread_mutex_init(&c->lock, NULL);
	c->pidfd = -1;
	c->killed = false;
}

void child_done(struct child *c)
{
	pthread_mutex_destroy(&c->lock);
}

/* Threads here block the signals main waits for; a child must not inherit that, nor an ignored SIGPIPE. */
static int set_child_signals(posix_spawnattr_t *attr)
{
	sigset_t none, defaults;
	int rc;

	sigemptyset(&none);
	sigemptyset(&defaults);
	sigaddset(&defaults, SIGPIPE);
	rc = posix_spawnattr_setsigmask(attr, &none);
	if (rc == 0)
		rc = posix_spawnattr_setsigdefault(attr, &defaults);
	/* A group of its own: a ^C at the terminal reaches the parent, which then ends its children in order. */
	if (rc == 0)
		rc = posix_spawnattr_setflags(attr,
					      POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
	return rc;
}

static int set_child_files(posix_spawn_file_actions_t *actions, const char *cwd)
{
	int rc;

	rc = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (rc == 0)
		rc = posix_spawn_file_actions_addopen(actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	if (rc == 0)
		rc = posix_spawn_file_actions_addclosefrom_np(actions, FIRST_OTHER_FD);
	if (rc == 0)
		rc = posix_spawn_file_actions_addchdir_np(actions, cwd);
	return rc;
}

static int spawn(const char *cwd, const char *const argv[], pid_t *ret_pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int rc;

	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	rc = set_child_signals(&attr);
	if (rc == 0)
		rc = set_child_files(&actions, cwd);
	/* The cast is posix_spawn's history: it does not write to the strings. */
	if (rc == 0)
		rc = posix_spawnp(ret_pid, argv[0], &actions, &attr, (char *const *)argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	return -rc;
}

static void reap(pid_t pid, int *ret_status)
{
	while (waitpid(pid, ret_status, 0) < 0 && errno == EINTR)
		;
}

/* -ECANCELED when a kill came before. */
static int publish_pidfd(struct child *c, int pidfd)
{
	int rc = 0;

	pthread_mutex_lock(&c->lock);
	c->pidfd = pidfd;
	if (c->killed)
		rc = -ECANCELED;
	pthread_mutex_unlock(&c->lock);
	return rc;
}

/* Takes the pidfd back and tells whether the child was killed on purpose. */
static bool withdraw_pidfd(struct child *c)
{
	bool killed;

	pthread_mutex_lock(&c->lock);
	close(c->pidfd);
	c->pidfd = -1;
	killed = c->killed;
	pthread_mutex_unlock(&c->lock);
	return killed;
}

static int wait_exit(int pidfd, int timeout_ms)
{
	struct pollfd wait = { .fd = pidfd, .events = POLLIN };
	int n;

	do
		n = poll(&wait, 1, timeout_ms);
	while (n < 0 && errno == EINTR);
	return n == 1 ? 0 : -ETIMEDOUT;
}

static bool child_is_killed(struct child *c)
{
	bool killed;

	pthread_mutex_lock(&c->lock);
	killed = c->killed;
	pthread_mutex_unlock(&c->lock);
	return killed;
}

int child_run(struct child *c, const char *cwd, const char *const argv[], int timeout_ms)
{
	int pidfd, rc, status = -1;
	pid_t pid;

	if (child_is_killed(c))
		return -ECANCELED;
	rc = spawn(cwd, argv, &pid);
	if (rc < 0)
		return rc;
	pidfd = pidfd_open(pid, 0);
	if (pidfd < 0) {
		rc = -errno;
		kill(pid, SIGKILL);
		reap(pid, &status);
		return rc;
	}

	rc = publish_pidfd(c, pidfd);
	if (rc == 0)
		rc = wait_exit(pidfd, timeout_ms);
	if (rc < 0)
		pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
	reap(pid, &status);
	if (withdraw_pidfd(c))
		return -ECANCELED;
	if (rc < 0)
		return rc;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

void child_kill(struct child *c)
{
	pthread_mutex_lock(&c->lock);
	c->killed = true;
	if (c->pidfd >= 0)
		pidfd_send_signal(c->pidfd, SIGKILL, NULL, 0);
	pthread_mutex_unlock(&c->lock);
}
