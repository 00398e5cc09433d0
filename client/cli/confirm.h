/* confirm.h: asks before what cannot easily be put right. One thread. */
#ifndef RAINCHECK_CLI_CONFIRM_H
#define RAINCHECK_CLI_CONFIRM_H

#include <stdint.h>

#include "cli.h"

/* Whether there is somebody to ask, or --yes has answered: CLI_DONE; else CLI_USAGE and said so. To be called before
 * any trouble is taken over the question. */
int confirm_possible(struct cli *c);

/* True where --yes was given: nothing is to be asked. */
bool confirm_given(const struct cli *c);

/* Begins the question, on c->err: "About 5 jobs". */
void confirm_print_count(struct cli *c, const char *about, int64_t count);

/* Asks on the terminal, behind what the caller has printed to c->err. CLI_DONE for a yes; else CLI_FAILED and said that
 * nothing was done. */
int confirm_ask(struct cli *c);

#endif
