/* pages.h: proves the structure of the records file from its bytes, without LMDB and without its map.
 *
 * The checksums of records say nothing of the pages that hold them. A flipped bit in what LMDB itself keeps there, the
 * size of an entry for instance, makes it read or write where nothing is, which ends the process. So this is done
 * first, wherever a file is looked at that may be damaged.
 *
 * What is proved, as of one commit: the meta pages; of every table and of the list of free pages each page's number and
 * kind, the bounds and places of its nodes, the order of the keys within and across pages, the depth, the counts that
 * the table's own record gives (but for pages of values that were given up, see miscounted); that a value on pages of
 * its own has as many as it needs; that no page is in two places or both in use and free, and none lies beyond the end
 * of the file. What the keys and values say is upkeep/check.h's.
 *
 * Not looked at, for LMDB does not read it or acts on nothing it finds there: the two unused bytes in a page's head,
 * the bytes between its list of nodes and the first of them, the byte that makes a node's size even, the key of a
 * branch page's first node, what is behind the end of a value on its last page, the page size that every tree's record
 * but one leaves unused, the address and the map size in the meta pages, the MDB_NOSUBDIR flag there, all pages that
 * are free, and of the older meta page what is not needed to know that it is the older one.
 *
 * Memory: two bits for each page of the file, and a page for each level of a tree. Any thread.
 */
#ifndef RAINCHECK_STORE_PAGES_H
#define RAINCHECK_STORE_PAGES_H

#include <stdbool.h>
#include <stdint.h>

#include "server/store/store.h"

#define PAGES_LINES_MAX 100 /* breaches that are told one by one */

struct pages_options {
	/* Told each breach, one line without a newline; past PAGES_LINES_MAX one line says how many more there are. May
	 * be NULL. */
	void (*report)(void *user, const char *line);
	/* Told now and then how far it is. May be NULL. */
	void (*progress)(void *user, const char *what, int64_t done, int64_t total);
	/* Asked often: true makes it give up. May be NULL. */
	bool (*canceled)(void *user);
	void *user;
	/* The keys of the engine's tables may stand in any order: for who reads them one after the other to put them in
	 * theirs. */
	bool any_order;
	/* For who only copies what is there: a page may have another number than its own, which no reader looks at, and
	 * whatever can be made anew from the rest may be damaged. Both are told, and are no harm: store_open() opens
	 * the file. */
	bool for_copy;
};

struct pages_result {
	int64_t pages;	    /* there are */
	int64_t used;	    /* by a tree, a value or as a meta page */
	int64_t unused;	    /* in the list of the free ones */
	int64_t lost;	    /* neither: no harm but their room; not counted where there are breaches */
	int64_t miscounted; /* of values, which tables count and do not have: no harm, and a copy counts anew */
	int64_t breaches;   /* 0 where all is well */
	/* Of these: */
	int64_t harm;	  /* that a copy could not do without; without for_copy all of them */
	uint32_t damaged; /* tables that can be made anew (copy_is_derived()), a bit for each, by enum store_table */
	bool free_list;	  /* the list of free pages has some, which a copy makes of its own */
	char first_harm[160]; /* the line about the first that is harm */
};

/* Of a file that nobody writes meanwhile. Negative only where it could not be read to the end: the store's errors,
 * ERR_CANCELED. */
int pages_check_file(const char *path, const struct pages_options *options, struct pages_result *ret);

/* Only what LMDB relies on from the first moment on: the meta pages, the list of tables, the tables' records, the
 * table of the format, and the list of free pages, from which it takes what it writes to. A few pages but where much is
 * free. The same errors; lost is not counted. */
int pages_check_lists(const char *path, const struct pages_options *options, struct pages_result *ret);

/* Of a store that is open, beside its writer: as of the commit that a read transaction of its own sees. LMDB writes no
 * page that such a transaction can reach before it has ended, and what is read here is what these pages hold on the
 * disk or in the system's cache of it, so what is found is no race. Where store_open() has proved the file and nobody
 * may have written it since, its result is given again. The same errors. */
int pages_check(struct store *s, const struct pages_options *options, struct pages_result *ret);

#endif
