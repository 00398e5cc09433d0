/* fault.h: a broker on a disk that fails, fills up, or forgets: the real raincheckd with libfault.so before its C
 * library, steered from the test through fault_control.h.
 *
 * The broker's data stand in f->data, below f->disk; all that the layer looks at is below that. What the broker says on
 * standard error is kept in a file, so that thousands of expected complaints do not drown a test's own words:
 * fault_words() tells the last of it. Errors of the harness itself end the test.
 *
 * fault_setting() is how all campaigns take their counts from the environment.
 */
#ifndef RAINCHECK_TEST_FAULT_H
#define RAINCHECK_TEST_FAULT_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/harness/fault_control.h"
#include "tests/harness/process.h"
#include "tests/harness/tempdir.h"

struct raincheck;

/* What the layer is to do: the at-th call of these kinds, counted from now. */
struct fault_plan {
	uint32_t kinds;
	enum fault_action action;
	int64_t at;
	int error;
	bool lasting;
};

struct fault {
	struct tempdir dir;
	char disk[160], data[192], words[160], log[160];
	char server[192]; /* the broker's address for clients */
	struct fault_control *control;
	struct process broker; /* pid 0: not running */
	int status;	       /* wait status of the last one that ended */
};

/* A number from the environment. */
unsigned long fault_setting(const char *name, unsigned long otherwise);

void fault_open(struct fault *f);
/* The same with the layer in this process, which is started anew for that: to be called first in main(). */
void fault_open_within(struct fault *f, char **argv);
/* Ends the broker if it runs, and removes everything. */
void fault_close(struct fault *f);

/* Starts the broker, with further arguments where extra is not NULL (NULL at its end). False where it ended before it
 * was ready: then status says how. recorded: everything goes to f->log. */
bool fault_start(struct fault *f, const char *const *extra, bool recorded);
/* The same without the layer. */
bool fault_start_plain(struct fault *f, const char *const *extra);
/* Sends the signal (0: none) and waits for the end; the wait status. */
int fault_end(struct fault *f, int signal);
/* Whether the broker, which is told nothing, has ended already, or does so within a time; then its status is taken. */
bool fault_has_ended(struct fault *f, int patience_ms);

/* Takes the plan before it back. */
void fault_arm(struct fault *f, const struct fault_plan *plan);
void fault_disarm(struct fault *f);
/* How many calls met the plan since it was armed. */
unsigned fault_met(const struct fault *f);
/* Waits until a call is held (FAULT_HOLD), and lets it go. */
void fault_await_held(struct fault *f);
void fault_let_go(struct fault *f);
/* Calls of these kinds so far, over all brokers of this disk. */
uint64_t fault_calls(const struct fault *f, uint32_t kinds);

/* An empty disk, counts from 0, nothing planned, the log and words empty. No broker may run. */
void fault_new_disk(struct fault *f);

/* An empty folder, whatever was there. */
void fault_new_folder(const char *path);

/* raincheckd --check of the data in that directory. Its wait status; what it said in ret. */
int fault_check(struct fault *f, const char *data, char *ret, size_t size);
/* The end of what brokers said since the disk was new; for one use at a time. */
const char *fault_words(const struct fault *f);

struct raincheck *fault_connect(const struct fault *f);

/* How a wait status reads: "exit status 1", "signal 6 (Aborted)"; for one use at a time. */
const char *fault_status_text(int status);

#endif
