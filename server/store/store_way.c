/* What is proved before LMDB is let near a page.
 *
 * LMDB believes a page's head. The number in it is the one that is freed when the page is copied or merged; a wrong one
 * frees another's page. Its kind and its bounds decide what is read as a node, and where; wrong ones hide what the page
 * holds, or end the process. So before LMDB searches for a key, the pages from the root to the key's leaf are proved
 * here: that each has its own number, stands at its depth, is in the file, that its nodes fill it without gaps, and
 * that its keys are those that its parent leads to it for. Before a step to a neighbour, or a removal that may make
 * LMDB draw in the pages beside, those are proved too.
 *
 * The way is looked for in the tree of the commit that the transaction began with, which is whole in the map. Pages
 * that a writer has changed since are LMDB's own work; every other page of its tree is in that commit's tree as well,
 * for the same keys. What stands beside a page may have become another one by then, for pages between are gone: by a
 * change of theirs, and then what is beside them was proved, or because LMDB drew them into this one, and then they
 * were too sparse to stand by themselves: so from a page that is to be changed all sparse ones are proved up to the
 * first that is not, to both sides.
 *
 * It costs two comparisons of keys where the key belongs to one of the leaves that were last led to, else a search of
 * our own. A page's inside is looked at once, then a bit stands for it. What stands under that number later was written
 * by LMDB, from pages that were proved; in case that the disk changes it, all bits are cleared now and then. No lock:
 * the bits may be set and cleared from any thread, and one that is lost is only work done twice.
 */
#include <endian.h>
#include <errno.h>

#include "server/store/store_path.h"

#define COMMITS_PROVED 4096 /* as long as bits stand */

/* ---- tables ---- */

/* What the list of tables says of one. */
static int find_tree(struct store_ways *w, const char *name, struct store_tree *ret)
{
	struct slice key = slice_str(name);
	struct store_path p;
	const struct store_step *leaf;
	struct page_db db;
	int rc;

	store__path_begin(&p, w, &w->main);
	rc = store__path_enter(&p);
	if (rc == 0)
		rc = store__path_descend(&p, 0, STORE_TO_KEY, key);
	if (rc != 0)
		return rc;
	leaf = &p.steps[w->main.depth - 1];
	for (uint32_t i = 0; i < leaf->nodes; i++) {
		struct page_node n = page_node(leaf->page, i);

		if (!slice_equal(slice_of(n.key, n.key_size), key) || n.size != sizeof(db))
			continue;
		memcpy(&db, n.data, sizeof(db));
		*ret = (struct store_tree){ .known = true, .depth = db.depth, .root = db.root };
		return 0;
	}
	return MDB_NOTFOUND;
}

/* NULL also for one that the commit does not have. */
int store__tree_of(struct store_ways *w, enum store_table table, struct store_tree **ret)
{
	struct store_tree *tree = &w->tables[table];
	int rc = 0;

	if (!tree->known)
		rc = find_tree(w, store__table_name(table), tree);
	if (rc == MDB_NOTFOUND)
		*tree = (struct store_tree){ .known = true, .root = PAGE_NONE };
	else if (rc != 0)
		return rc;
	tree->empty = tree->root == PAGE_NONE;
	*ret = tree->empty ? NULL : tree;
	return 0;
}

static inline struct key_start start_of(struct slice key)
{
	struct key_start start = { 0, 0 };

	if (key.size >= sizeof(start))
		memcpy(&start, key.data, sizeof(start));
	else if (key.size > 0)
		memcpy(&start, key.data, key.size);
	return (struct key_start){ be64toh(start.first), be64toh(start.second) };
}

static inline int compare_starts(struct key_start a, struct key_start b)
{
	if (a.first != b.first)
		return a.first < b.first ? -1 : 1;
	return (a.second > b.second) - (a.second < b.second);
}

static inline bool is_from(const struct store_way *way, struct slice key, struct key_start start)
{
	int order = way->low.data ? compare_starts(way->low_start, start) : -1;

	return order < 0 || (order == 0 && slice_compare(way->low, key) <= 0);
}

static inline bool is_below(const struct store_way *way, struct slice key, struct key_start start)
{
	int order = way->high.data ? compare_starts(way->high_start, start) : 1;

	return order > 0 || (order == 0 && slice_compare(way->high, key) > 0);
}

static inline bool leads_to(const struct store_way *way, struct slice key, struct key_start start)
{
	return way->leaf && is_from(way, key, start) && is_below(way, key, start);
}

/* NULL where none is known. Most often it is the one before. */
static inline struct store_way *known_way(struct store_tree *tree, struct slice key)
{
	struct key_start start = start_of(key);

	if (tree->hit && leads_to(tree->hit, key, start))
		return tree->hit;
	for (int i = 0; i < STORE_WAYS; i++)
		if (leads_to(&tree->ways[i], key, start))
			return &tree->ways[i];
	return NULL;
}

static bool knows_end(struct store_tree *tree, bool last)
{
	for (int i = 0; i < STORE_WAYS; i++) {
		tree->hit = &tree->ways[i];
		if (tree->hit->leaf && !(last ? tree->hit->high : tree->hit->low).data)
			return true;
	}
	return false;
}

static struct store_way *note_way(struct store_tree *tree, const struct store_step *leaf)
{
	struct store_way *way = &tree->ways[tree->turn++ % STORE_WAYS];

	*way = (struct store_way){
		.low = leaf->low,
		.high = leaf->high,
		.low_start = start_of(leaf->low),
		.high_start = start_of(leaf->high),
		.leaf = leaf->page,
	};
	return tree->hit = way;
}

static int find_way(struct store_ways *w, enum store_table table, struct slice key)
{
	struct store_tree *tree;
	struct store_path p;
	int rc;

	rc = store__tree_of(w, table, &tree);
	if (rc != 0 || !tree)
		return rc;
	rc = store__path_begin_table(&p, w, table);
	if (rc == 0)
		rc = store__path_descend(&p, 0, STORE_TO_KEY, key);
	if (rc == 0)
		note_way(tree, &p.steps[tree->depth - 1]);
	return rc;
}

int store__way_to(struct store_ways *w, enum store_table table, struct slice key)
{
	struct store_tree *tree = &w->tables[table];

	if (!w->store || tree->empty)
		return 0;
	tree->hit = known_way(tree, key);
	tree->changes += w->writes;
	return tree->hit ? 0 : find_way(w, table, key);
}

static int way_to_end(struct store_ways *w, enum store_table table, bool last)
{
	struct store_tree *tree;
	struct store_path p;
	int rc;

	if (!w->store)
		return 0;
	rc = store__tree_of(w, table, &tree);
	if (rc != 0 || !tree || knows_end(tree, last))
		return rc;
	rc = store__path_begin_table(&p, w, table);
	if (rc == 0)
		rc = store__path_descend(&p, 0, last ? STORE_TO_LAST : STORE_TO_FIRST, slice_of(NULL, 0));
	if (rc == 0)
		note_way(tree, &p.steps[tree->depth - 1]);
	return rc;
}

int store__way_to_first(struct store_ways *w, enum store_table table, struct slice key)
{
	(void)key;
	return way_to_end(w, table, false);
}

int store__way_to_last(struct store_ways *w, enum store_table table, struct slice key)
{
	(void)key;
	return way_to_end(w, table, true);
}

/* ---- transactions ---- */

/* LMDB takes from both ends of the list of free pages. The whole of it is proved when the file is opened. */
static int prove_free_list(struct store_ways *w, const struct page_db *db)
{
	const struct store_tree tree = { .depth = db->depth, .root = db->root };
	struct store_path p;
	int rc = 0;

	for (int last = 0; rc == 0 && db->root != PAGE_NONE && last < 2; last++) {
		store__path_begin(&p, w, &tree);
		p.name = "the list of free pages";
		p.plain = true;
		rc = store__path_enter(&p);
		if (rc == 0)
			rc = store__path_descend(&p, 0, last ? STORE_TO_LAST : STORE_TO_FIRST, slice_of(NULL, 0));
	}
	return rc;
}

int store__ways_begin(struct store *s, uint64_t txn, bool writes, struct store_ways *ret)
{
	uint64_t commit = writes ? txn - 1 : txn;
	const uint8_t *page;
	struct page_meta meta;

	ret->store = NULL;
	if (!s->map)
		return 0;
	page = s->map + commit % PAGE_METAS * s->page_size;
	memcpy(&meta, page + PAGE_HEAD, sizeof(meta));
	/* The second commit from this one on writes the same page. */
	__asm__ volatile("" ::: "memory");
	if (meta.txn != commit || memcmp(page + PAGE_HEAD, &meta, sizeof(meta)) != 0)
		return writes ? MDB_CORRUPTED : EAGAIN;
	ret->store = s;
	ret->writes = writes;
	ret->last_page = meta.last_page;
	ret->main = (struct store_tree){ .depth = meta.main.depth, .root = meta.main.root };
	if (!writes)
		return 0;
	if (++s->commits >= COMMITS_PROVED) {
		store__forget_proofs(s);
		s->commits = 0;
	}
	return prove_free_list(ret, &meta.free_list);
}

/* ---- what is beside ---- */

/* LMDB draws a leaf that has less than a quarter of its page together with one beside it. */
static bool is_sparse(const struct store *s, const uint8_t *page)
{
	struct page_head head = page_head_of(page);
	uint32_t room = s->page_size - PAGE_HEAD, unused = (uint32_t)(head.upper - head.lower);

	return 4 * (room - unused) < room + 64;
}

static int prove_leaves_beside(const struct store_path *from, enum store_direction to)
{
	int leaf = from->tree->depth - 1, rc;
	struct store_path p = *from;

	do
		rc = store__path_go_beside(&p, leaf, to);
	while (rc == 0 && from->ways->writes && is_sparse(from->ways->store, p.steps[leaf].page));
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/* LMDB draws a branch together with one beside it that has but one arm left, and looks for the first key below either.
 * An arm is lost with a leaf, and so with a change at least. */
static int prove_branch_beside(const struct store_path *from, int level, enum store_direction to)
{
	struct store_path p = *from;
	int rc = store__path_go_beside(&p, level, to);

	if (rc == 0)
		rc = store__path_descend(&p, level, STORE_TO_FIRST, slice_of(NULL, 0));
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int prove_branches_beside(const struct store_path *from, int64_t *ret_until)
{
	int rc = 0;

	*ret_until = INT64_MAX;
	for (int level = from->tree->depth - 2; from->ways->writes && rc == 0 && level > 0; level--) {
		int64_t spare = ((int64_t)from->steps[level].nodes - 4) / 4;
		struct store_path p = *from;

		if (from->tree->changes < spare) {
			*ret_until = spare < *ret_until ? spare : *ret_until;
			continue;
		}
		rc = store__path_descend(&p, level, STORE_TO_FIRST, slice_of(NULL, 0));
		if (rc == 0)
			rc = prove_branch_beside(from, level, STORE_TO_FIRST);
		if (rc == 0)
			rc = prove_branch_beside(from, level, STORE_TO_LAST);
	}
	return rc;
}

/* *ret_until: how many changes of the transaction this is good for. */
static int prove_beside(const struct store_path *p, int64_t *ret_until)
{
	int rc = prove_leaves_beside(p, STORE_TO_FIRST);

	if (rc == 0)
		rc = prove_leaves_beside(p, STORE_TO_LAST);
	return rc == 0 ? prove_branches_beside(p, ret_until) : rc;
}

static int find_beside(struct store_ways *w, enum store_table table, struct slice key)
{
	struct store_tree *tree = &w->tables[table];
	struct store_path p;
	int64_t until;
	int rc;

	rc = store__path_begin_table(&p, w, table);
	if (rc == 0)
		rc = store__path_descend(&p, 0, STORE_TO_KEY, key);
	if (rc == 0)
		rc = prove_beside(&p, &until);
	if (rc == 0)
		tree->hit->beside_until = until;
	return rc;
}

int store__way_beside(struct store_ways *w, enum store_table table, struct slice key)
{
	struct store_tree *tree = &w->tables[table];

	/* No way is known through an empty one. */
	if (!w->store || !tree->hit || tree->changes < tree->hit->beside_until)
		return 0;
	return find_beside(w, table, key);
}

/* Whether the key is none behind the last of its leaf. */
static bool is_on_leaf(const struct store *s, const struct store_way *way, struct slice key)
{
	struct page_head head = page_head_of(way->leaf);
	struct slice last = store__key_at(way->leaf, page_nodes(&head) - 1);

	return store__key_is_readable(s, way->leaf, last) && slice_compare(key, last) <= 0;
}

int store__way_from(struct store_ways *w, enum store_table table, struct slice key)
{
	int rc = store__way_to(w, table, key);

	if (rc != 0 || !w->store)
		return rc;
	/* A leaf that a writer has changed may end before that. */
	if (!w->writes && w->tables[table].hit && is_on_leaf(w->store, w->tables[table].hit, key))
		return 0;
	return store__way_beside(w, table, key);
}
