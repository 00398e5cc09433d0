/* One child process at a time: started without a shell, waited for with a time limit, killed from another thread.
 *
 * child_run() is called by the thread that does the work; child_kill() by any thread, any number of times, before,
 * while or after it runs. The process is held by a pidfd, so a kill can never hit a process that only inherited the
 * number. Not after child_done(). */
#ifndef RENDER_API_CHILD_H
#define RENDER_API_CHILD_H

#include <pthread.h>
#include <stdbool.h>

struct child {
	pthread_mutex_t lock;
	int pidfd; /* -1: none runs */
	bool killed;
};

void child_init(struct child *c);
void child_done(struct child *c);

/* Runs argv[0], looked up in PATH, in the directory cwd; stdin and stdout are /dev/null, stderr is inherited, every
 * other descriptor is closed. Returns when the process is reaped: 0 when it exited 0; -ECANCELED when killed by
 * child_kill(), also when that came first; -ETIMEDOUT; -EIO when it failed; or why it could not be started. */
int child_run(struct child *c, const char *cwd, const char *const argv[], int timeout_ms);

/* From now on nothing runs in c. */
void child_kill(struct child *c);

#endif
