/* stdio.h: descriptors 0 to 2 are there, whoever started the program.
 *
 * A program started with one of them closed (`>&-`, some supervisors) gets its number for the next file it opens: a
 * socket would then receive what is meant for standard output, and libuv aborts when it is asked to close one of them.
 */
#ifndef RAINCHECK_PROTO_BASE_STDIO_H
#define RAINCHECK_PROTO_BASE_STDIO_H

/* Opens /dev/null on whichever of 0 to 2 is missing. Call it first in main(), before threads and before anything is
 * opened. Reading or writing what was missing fails with EBADF, as it would have: a lost output is not taken for a
 * written one. Ends the program with status 1 where /dev/null cannot be opened. */
void stdio_ensure(void);

#endif
