/* table.h: a table for people: columns as wide as their widest cell, aligned whatever script the text is in.
 *
 * On a terminal no line is wider than it: columns that say nothing in any row are left out, then text is cut, the last
 * column first and further than a dozen characters only when nothing else helps, then columns are left out from the
 * right. Numbers and columns marked whole are never cut. Elsewhere all is shown, for grep(1) and its friends.
 *
 * Fill it row by row, then print it once. One thread; an allocation that fails is told by table_print().
 */
#ifndef RAINCHECK_CLI_TABLE_H
#define RAINCHECK_CLI_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define TABLE_MAX_COLUMNS 16
#define TABLE_MAX_WIDTH	  48 /* of a cell; longer ones are cut */

struct table {
	const char *const *titles;
	size_t columns;
	uint32_t right; /* bit i: column i is aligned to the right */
	uint32_t whole; /* bit i: column i is of no use when cut */
	size_t width;	/* of the terminal; 0: there is none */
	bool colour;
	char **cells;	      /* row after row */
	const char **colours; /* of each cell, or NULL */
	size_t count, capacity;
	uint32_t filled; /* bit i: column i says something in some row */
	bool failed;
};

/* titles stays the caller's: columns of them. */
void table_init(struct table *t, const char *const *titles, size_t columns, uint32_t right, bool colour);
void table_done(struct table *t);
/* Before it is printed: width as in struct table, and which columns are whole. */
void table_fit(struct table *t, size_t width, uint32_t whole);

/* The next cell; NULL is shown as "-". */
void table_add(struct table *t, const char *text);
void table_add_number(struct table *t, int64_t number);
/* colour: an escape sequence without its ESC[ and m, such as "32"; used only if the table has colours. */
void table_add_coloured(struct table *t, const char *text, const char *colour);

/* False where memory did not last for it. */
bool table_print(const struct table *t, FILE *out);

#endif
