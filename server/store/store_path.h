/* store_path.h: a way from a table's root down to a page, each page of it proved: what store_path.c (single pages, and
 * steps from one to the next) gives store_way.c and store_renew.c. Included by them alone; of one transaction. */
#ifndef RAINCHECK_STORE_PATH_H
#define RAINCHECK_STORE_PATH_H

#include "server/store/store_priv.h"

/* A page on a way, and the keys that it is there for. */
struct store_step {
	const uint8_t *page;
	uint32_t node, nodes; /* the one that the way takes, of so many */
	struct slice low, high;
};

struct store_path {
	struct store_ways *ways;
	const struct store_tree *tree;
	enum store_table table; /* STORE_TABLES: none of them */
	const char *name;	/* of the tree, for lines */
	bool plain;		/* its keys are not compared: the list of free pages has numbers */
	struct store_step steps[PAGE_LEVELS];
};

enum store_direction { STORE_TO_KEY, STORE_TO_FIRST, STORE_TO_LAST };

/* At no page yet. Of a tree that is no table's; the name is "the list of tables" unless it is set. */
void store__path_begin(struct store_path *p, struct store_ways *w, const struct store_tree *tree);
/* To the root. This and the functions below: MDB_CORRUPTED, which is in the log then; STORE_ODD. */
int store__path_enter(struct store_path *p);
/* Both, of a table whose tree is known and not empty. */
int store__path_begin_table(struct store_path *p, struct store_ways *w, enum store_table table);
/* From the page of a level down to a leaf. key: for STORE_TO_KEY. */
int store__path_descend(struct store_path *p, int level, enum store_direction to, struct slice key);
/* From a page of this level to the one beside it, of the same level. MDB_NOTFOUND where there is none. */
int store__path_go_beside(struct store_path *p, int level, enum store_direction to);

/* The key of a page's i-th node; in a branch it leads to keys from there on. */
struct slice store__key_at(const uint8_t *page, uint32_t i);
/* A key whose size is damaged may be read too far: it says nothing then. */
bool store__key_is_readable(const struct store *s, const uint8_t *page, struct slice key);

/* The table's tree as of the transaction's commit; *ret is NULL where nothing stands in it. MDB_CORRUPTED. */
int store__tree_of(struct store_ways *w, enum store_table table, struct store_tree **ret);

/* Every page is to be looked at again. The writer's thread. */
void store__forget_proofs(struct store *s);

#endif
