/* pages_priv.h: what pages.c (the meta pages, the file as a whole) and pages_walk.c (the trees) share. Included by them
 * alone; one walk is one thread's. */
#ifndef RAINCHECK_STORE_PAGES_PRIV_H
#define RAINCHECK_STORE_PAGES_PRIV_H

#include "server/store/pages.h"
#include "server/store/pages_format.h"

#define PAGES_TABLES_MAX 32

/* A table, as its record in the main tree has it. */
struct pages_table {
	const char *name;
	enum store_table table;
	struct page_db db;
};

enum pages_tree { PAGES_FREE_LIST, PAGES_MAIN, PAGES_TABLE };

/* What it would mean that something is wrong. */
struct pages_blame {
	enum pages_tree kind;
	enum store_table table; /* STORE_TABLES: none */
};

struct pages_walk {
	int fd;
	const struct pages_options *options;
	bool lists_only; /* see pages_check_lists() */
	struct pages_result *result;
	uint32_t page_size;
	uint64_t file_pages; /* whole ones in the file */
	uint64_t last_page;  /* that the commit counts */
	uint64_t txn;	     /* the commit */
	uint64_t known;	     /* of which the two below have a bit */
	uint64_t *used, *unused;
	uint64_t unused_beyond; /* pages in the list of free ones that lie behind the end of the file */
	uint8_t *levels[PAGE_LEVELS];
	struct pages_table tables[PAGES_TABLES_MAX];
	int table_count;
	int64_t steps;
	struct pages_blame blame; /* the tree that is walked */
};

void pages_breach(struct pages_walk *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* All of it, or ERR_STORE_ERROR. */
int pages_read(struct pages_walk *w, uint64_t at, void *ret, size_t size);

/* Everything below a root, and the root's counts. The main tree's walk fills w->tables. */
int pages_walk_tree(struct pages_walk *w, enum pages_tree kind, const char *name, const struct page_db *db);
/* A line as of a breach, about what a copy can do without. */
void pages_spared(struct pages_walk *w, const char *line);
/* A table's record and its root's number alone. */
void pages_walk_root(struct pages_walk *w, const char *name, const struct page_db *db);

#endif
