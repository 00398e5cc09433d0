/* await.h: waits for answers in short stretches, so that an interrupt is noticed, and after one not for ever. One
 * thread; between interrupt_watch() and interrupt_unwatch(). */
#ifndef RAINCHECK_CLI_AWAIT_H
#define RAINCHECK_CLI_AWAIT_H

#include <stdint.h>

#include "cli.h"

/* Zeroed: not interrupted yet. */
struct await {
	int64_t give_up_at_ms; /* monotonic */
};

/* Runs the connection for a moment, less if a callback stops it. False once the patience of whoever interrupted this is
 * over. */
bool await_some(struct cli *c, struct await *a);

#endif
