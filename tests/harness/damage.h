/* damage.h: what a bad disk leaves of a store that nobody has open. */
#ifndef RAINCHECK_TEST_DAMAGE_H
#define RAINCHECK_TEST_DAMAGE_H

struct tempdir;

/* Takes the kind from every page of the records file that holds the needle, so that it is a page of nothing. Fails the
 * test where there is none. */
void damage_pages(const struct tempdir *dir, const char *needle);

#endif
