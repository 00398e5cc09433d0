/* terminal.h: the whole terminal taken for a while, and given back as it was, whatever ends the program.
 *
 * While it is taken another screen is shown, without a cursor, and what was there comes back; keys come as they are
 * typed and are not shown. Ctrl-C and the signals that ask a program to end are told by terminal_wait(); a second one
 * ends the program as ever, and gives the terminal back first. So does Ctrl-Z while the program is stopped. One
 * terminal at a time in a process, one thread.
 */
#ifndef RAINCHECK_CLI_TERMINAL_H
#define RAINCHECK_CLI_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum terminal_event {
	TERMINAL_TIME_IS_OVER,
	TERMINAL_KEY,
	TERMINAL_REDRAW, /* its size is another, or it was given back for a while */
	TERMINAL_END	 /* a signal, or the terminal has gone */
};

struct terminal_size {
	size_t columns, rows;
};

/* in: where keys come from, −1 for nowhere; out: a terminal. False, with errno, where the system will not have it. */
bool terminal_take(int in, int out);
void terminal_give_back(void);

/* Waits for the first that happens, for so long at most. */
enum terminal_event terminal_wait(int64_t timeout_ms, char *ret_key);
/* 80 × 24 where it does not say. */
struct terminal_size terminal_size(void);

/* In place of what is shown: lines, each ended by a line feed, in as many columns and rows as there are. */
void terminal_show(const char *text, size_t size);

#endif
