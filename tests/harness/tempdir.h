/* tempdir.h: a directory of the test's own, on a RAM disk where there is one, gone with everything in it at the end. */
#ifndef RAINCHECK_TEST_TEMPDIR_H
#define RAINCHECK_TEST_TEMPDIR_H

#include <stddef.h>

struct tempdir {
	char path[128];
};

/* Ends the test program where it cannot. */
void tempdir_make(struct tempdir *d);
void tempdir_remove(struct tempdir *d);
/* path/name, for one use at a time. */
const char *tempdir_file(const struct tempdir *d, const char *name);

/* Writes one file's bytes into another, which may be a pipe: then once somebody reads it. Ends the test program
 * where it cannot. */
void tempdir_copy(const char *from, const char *to);

#endif
