/* What a program counted is kept however it ends: part of every program of a coverage build, and of no other.
 *
 * gcc's counters are written to their files when a program returns from main() or calls exit(), so that whatever was
 * run by a program that a test kills, or by a child that leaves with _exit(), would count as never run. The linker
 * therefore puts these functions in the place of _exit() and kill() (--wrap, see the Makefile):
 *
 *   _exit(), and SIGKILL for oneself      write the counters first
 *   SIGKILL for another program           is sent as KEEP instead, which that program takes on a thread of its own:
 *                                         it writes its counters and then kills itself, so that the wait status is the
 *                                         same; where nobody takes it (another's program, or a fork without exec), it
 *                                         is sent as it was meant
 *
 * What dies otherwise (a signal that nobody caught, a plan of tests/crash/layer) takes its counts with it.
 */
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Of no use to anybody else. */
#define KEEP (SIGRTMAX - 1)

void write_counters(void) __asm__("__gcov_dump");
__attribute__((noreturn)) void real_exit(int status) __asm__("__real__exit");
__attribute__((noreturn)) void wrapped_exit(int status) __asm__("__wrap__exit");
int real_kill(pid_t pid, int sent) __asm__("__real_kill");
int wrapped_kill(pid_t pid, int sent) __asm__("__wrap_kill");

/* Held while counters are written, and for ever by who has begun to end: two must not write one file. */
static pthread_mutex_t writing = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

static void keep_for_good(void)
{
	pthread_mutex_lock(&writing);
	write_counters();
}

void wrapped_exit(int status)
{
	keep_for_good();
	real_exit(status);
}

static void *keeper(void *arg)
{
	sigset_t set;
	int came;

	(void)arg;
	sigemptyset(&set);
	sigaddset(&set, KEEP);
	while (sigwait(&set, &came) != 0)
		;
	keep_for_good();
	real_kill(getpid(), SIGKILL);
	return NULL;
}

/* That a program takes KEEP is seen from outside by its handler: a blocked signal alone would be inherited by whatever
 * is started. */
static void taken_by_keeper(int came)
{
	(void)came;
}

static void exiting(void)
{
	pthread_mutex_lock(&writing);
}

/* The keeper is not in a child. */
static void forked(void)
{
	signal(KEEP, SIG_DFL);
	writing = (pthread_mutex_t)PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
}

/* The keeper takes no other signal: what the program blocks for itself would find a thread that it ends. */
__attribute__((constructor)) static void start(void)
{
	pthread_t thread;
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (atexit(exiting) != 0 || pthread_atfork(NULL, NULL, forked) != 0 ||
	    pthread_create(&thread, NULL, keeper, NULL) != 0)
		abort();
	pthread_detach(thread);
	sigaddset(&before, KEEP);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	signal(KEEP, taken_by_keeper);
}

static bool takes_keep(pid_t pid)
{
	char path[64], line[256];
	unsigned long long caught = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%ld/status", (long)pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (fgets(line, sizeof(line), f))
		if (strncmp(line, "SigCgt:", 7) == 0)
			caught = strtoull(line + 7, NULL, 16);
	fclose(f);
	return caught >> (KEEP - 1) & 1;
}

int wrapped_kill(pid_t pid, int sent)
{
	if (sent == SIGKILL && pid == getpid())
		keep_for_good();
	else if (sent == SIGKILL && pid > 0 && takes_keep(pid))
		sent = KEEP;
	return real_kill(pid, sent);
}
