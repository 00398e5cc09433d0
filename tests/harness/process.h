/* process.h: the real programs as children of a test: started, listened to, killed, reaped.
 *
 * A child dies with its test (PR_SET_PDEATHSIG), so that none is left behind when a test crashes. Standard error goes
 * to the test's own. Errors end the test program with a message: a harness that cannot start is not a finding.
 */
#ifndef RAINCHECK_TEST_PROCESS_H
#define RAINCHECK_TEST_PROCESS_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

struct process {
	pid_t pid;    /* 0: not running */
	FILE *output; /* its standard output */
	char name[64];
	char line[1024]; /* the last line read */
};

/* The path of a built program: $B/name, B being "build" unless set. For one use at a time. */
const char *process_program(const char *name);

/* Starts argv[0] with argv, NULL at the end. */
void process_start(struct process *p, const char *const *argv);
/* The same with its standard error in p->output too: somebody must go on reading it. */
void process_start_heard(struct process *p, const char *const *argv);
/* Runs a program to its end and keeps what it said on both outputs. The wait status. */
int process_run(const char *const *argv, char *ret_output, size_t size);
/* Reads lines until one begins with prefix; p->line is that line, without its newline. False at the end of output. */
bool process_wait_line(struct process *p, const char *prefix);
/* The same for a line with words anywhere in it. */
bool process_wait_words(struct process *p, const char *words);
/* The word that follows key in p->line: "rpc=" in "ready rpc=HOST:PORT http=…". */
void process_line_word(const struct process *p, const char *key, char *ret, size_t size);
/* Sends the signal and waits for the end. The wait status. Fails the test where it is not running. */
int process_end(struct process *p, int signal);
/* Opens the FIFO for writing when the program has it open for reading. Fails the test where it ends without. */
int process_open_fifo(const struct process *p, const char *path);
/* Waits for the program's end: whether a signal was in the set that /proc calls "SigBlk" or "SigIgn" to the last. It is
 * not reaped yet. */
bool process_end_has(const struct process *p, const char *set, int signal);
/* Waits for it to end by itself; what is left of its output is read into ret (may be NULL). The wait status. */
int process_finish(struct process *p, char *ret, size_t size);
/* SIGTERM, and fails the test unless the child then exits with 0. */
void process_stop(struct process *p);

#endif
