/* damage.h: what a bad disk leaves of a store that nobody has open, and what flipped bits leave of one that is open. */
#ifndef RAINCHECK_TEST_DAMAGE_H
#define RAINCHECK_TEST_DAMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "server/store/keys.h"
#include "server/store/store.h"

struct tempdir;
struct uuid;

/* Takes the kind from every page of the records file that holds the needle, so that it is a page of nothing. Fails the
 * test where there is none. */
void damage_pages(const struct tempdir *dir, const char *needle);

/* Flips bits in the head of the root of a table, by its name in the file, as of the last commit; NULL: of the list of
 * free pages. Of a small one the root is its only leaf. byte: 0 to 7 are the page's number, 10 and 11 its kind, 12 to
 * 15 its bounds. Fails the test where it is empty. */
void damage_root(const struct tempdir *dir, const char *table, size_t byte, uint8_t bits);

/* Flips bits of the last leaf of a table, as of the last commit: its head as above, from 16 on its list of nodes. What
 * it counts of nodes is returned. */
uint32_t damage_last_leaf(const struct tempdir *dir, const char *table, size_t byte, uint8_t bits);
/* All of that leaf but its number and kind, so that nothing of it can be read and it cannot be made anew. */
void damage_all_of_last_leaf(const struct tempdir *dir, const char *table);
/* The same of the leaf that a job belongs to. */
void damage_leaf(const struct tempdir *dir, const char *table, const struct uuid *id, size_t byte, uint8_t bits);
/* Makes what should lead to that leaf lead to another table's last one. Fails the test where there is no branch. */
void damage_way_to_last_leaf(const struct tempdir *dir, const char *table, const char *to_table);

/* Flips bits in the head of every node with this key: the byte of its eight, counted from the head's beginning. Of the
 * size of its data the first two bytes are the lower half, the next two the upper. Fails the test where there is none.
 */
void damage_nodes(const struct tempdir *dir, const void *key, size_t size, size_t byte, uint8_t bits);

/* Puts a row under another key, as it is, in a transaction of its own: as if bits of its key had flipped, but in order.
 * Fails the test where there is no such row. */
void damage_move_row(struct store *s, enum store_table table, struct key from, struct key to);

#endif
