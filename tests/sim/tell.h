/* tell.h: commands and answers as text, for whoever has to find out what went wrong. Each text is good until the next
 * call of its function. */
#ifndef RAINCHECK_SIM_TELL_H
#define RAINCHECK_SIM_TELL_H

#include "tests/sim/sim.h"

/* The kinds of commands in a word. */
extern const char *const tell_kinds[COMMAND_KINDS];
const char *tell_command(const struct slot *slot);
const char *tell_reply(const struct reply *r);
const char *tell_expected(const struct expectation *e);
const char *tell_message(const struct message *m, const void *value);
/* Two of the above, and where they part. */
const char *tell_difference(const char *expected, const char *got);

/* To stdout, of a run that is verbose. */
void tell_batch(const struct sim *s, enum fate fate);
void tell_asked(const struct sim *s, const struct slot *slot);
void tell_answered(const struct slot *slot);

#endif
