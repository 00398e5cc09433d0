/* interrupt.h: Ctrl-C and SIGTERM as something that a command is told of, instead of its end.
 *
 * Between interrupt_watch() and interrupt_unwatch(), which come in pairs, one pair at a time in a process. A second
 * signal of the same kind ends the program at once, as ever: whoever has no patience keeps the upper hand. Signals that
 * were ignored stay so.
 */
#ifndef RAINCHECK_CLI_INTERRUPT_H
#define RAINCHECK_CLI_INTERRUPT_H

#include <stdbool.h>
#include <stdio.h>

/* Where the system will not have it, signals go on ending the program. */
void interrupt_watch(void);
void interrupt_unwatch(void);

/* True once a signal has come. */
bool interrupt_came(void);

/* A stream of what f has not read yet, whose reads fail with EINTR once a signal has come, also while they wait. idle
 * (may be NULL) is called before a read that has to wait. The caller closes it, which leaves f open. NULL: out of
 * memory, or f has no descriptor. */
FILE *interrupt_reader(FILE *f, void (*idle)(void *user), void *user);

#endif
