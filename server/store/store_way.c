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
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "proto/base/log.h"
#include "server/store/store_priv.h"

#define COMMITS_PROVED 4096 /* as long as bits stand */
#define WORD_BITS      64u

/* ---- bits ---- */

static size_t bit_words(const struct store *s)
{
	return s->map_bytes / s->page_size / WORD_BITS + 1;
}

static bool has_bit(_Atomic uint64_t *bits, uint64_t page)
{
	return atomic_load_explicit(&bits[page / WORD_BITS], memory_order_relaxed) >> page % WORD_BITS & 1;
}

/* True where it was not set. */
static bool set_bit(_Atomic uint64_t *bits, uint64_t page)
{
	uint64_t bit = UINT64_C(1) << page % WORD_BITS;

	return !(atomic_fetch_or_explicit(&bits[page / WORD_BITS], bit, memory_order_relaxed) & bit);
}

static void clear_bits(struct store *s)
{
	uint64_t words = atomic_load_explicit(&s->file_pages, memory_order_relaxed) / WORD_BITS + 1;

	for (uint64_t i = 0; i < words && i < bit_words(s); i++)
		atomic_store_explicit(&s->proved_pages[i], 0, memory_order_relaxed);
}

void store__ways_done(struct store *s)
{
	free((void *)s->proved_pages);
	free((void *)s->told_pages);
	s->proved_pages = s->told_pages = NULL;
}

int store__ways_init(struct store *s)
{
	store__ways_done(s);
	s->proved_pages = calloc(bit_words(s), sizeof(*s->proved_pages));
	s->told_pages = calloc(bit_words(s), sizeof(*s->told_pages));
	return s->proved_pages && s->told_pages ? 0 : ERR_NO_MEMORY;
}

/* ---- single pages ---- */

bool store__is_in_file(struct store *s, uint64_t page)
{
	mdb_filehandle_t fd;
	struct stat st;

	if (page < atomic_load_explicit(&s->file_pages, memory_order_relaxed))
		return true;
	if (page >= s->map_bytes / s->page_size || mdb_env_get_fd(s->env, &fd) != 0 || fstat(fd, &st) < 0)
		return false;
	atomic_store_explicit(&s->file_pages, (uint64_t)st.st_size / s->page_size, memory_order_relaxed);
	return page < (uint64_t)st.st_size / s->page_size;
}

void store__tell_damaged(struct store *s, const char *tree, uint64_t page, const char *fault)
{
	if (page < s->map_bytes / s->page_size && !set_bit(s->told_pages, page))
		return;
	log_error("%s/raincheck.mdb is damaged: %s, page %" PRIu64 ": %s; whoever needs that page is refused; stop "
		  "raincheckd and look at the data directory with raincheckd --check",
		  s->dir, tree, page, fault);
}

/* Where a branch leads for its i-th node: from which keys on. */
static struct slice key_at(const uint8_t *page, uint32_t i)
{
	struct page_node n = page_node(page, i);

	return slice_of(n.key, n.key_size);
}

/* A key whose size is damaged may be read too far: it says nothing then. */
static bool is_readable(const struct store *s, const uint8_t *page, struct slice key)
{
	return key.size <= PAGE_KEY_MAX && (size_t)((const uint8_t *)key.data - page) + key.size <= s->page_size;
}

/* Whether all keys are from low on and below high. */
static bool is_within(const struct store *s, const uint8_t *page, const struct page_head *head, struct slice low,
		      struct slice high)
{
	struct slice first = key_at(page, head->flags == PAGE_BRANCH ? 1 : 0);
	struct slice last = key_at(page, page_nodes(head) - 1);

	if (low.data && is_readable(s, page, first) && slice_compare(first, low) < 0)
		return false;
	return !high.data || !is_readable(s, page, last) || slice_compare(last, high) < 0;
}

/* A page on a way, and the keys that it is there for. */
struct step {
	const uint8_t *page;
	uint32_t node, nodes; /* the one that the way takes, of so many */
	struct slice low, high;
};

struct path {
	struct store_ways *ways;
	const struct store_tree *tree;
	int table;	  /* STORE_TABLES: none of them */
	const char *name; /* of the tree, for lines */
	bool plain;	  /* its keys are not compared: the list of free pages has numbers */
	struct step steps[PAGE_LEVELS];
};

static bool is_mended(const struct store_ways *w, uint64_t page)
{
	for (int i = 0; i < w->mended_count; i++)
		if (w->mended[i] == page)
			return true;
	return false;
}

/* No fault: but an entry to be put right before LMDB moves it about. */
static const char to_be_mended[] = "an entry has a value of no possible size";

/* Of a page that is looked at for the first time. *ret_sound: it need not be looked at again. */
static const char *new_page_fault(const struct path *p, const uint8_t *page, uint64_t number, bool *ret_sound)
{
	struct store_ways *w = p->ways;
	const struct store *s = w->store;
	bool known = p->table < STORE_TABLES;
	struct page_head head = page_head_of(page);
	struct page_node odd;
	const char *harm;
	int misfit;

	/* A reader of a file that is only copied. */
	if (s->any_number)
		number = head.number;
	harm = page_harm(page, s->page_size, number, known ? store__key_size((enum store_table)p->table) : 0, &misfit);
	if (harm)
		return harm;
	if (head.flags == PAGE_BRANCH && page_nodes(&head) < 2 && !p->plain)
		return "is a branch with one arm";
	*ret_sound = misfit < 0;
	if (misfit < 0 || is_mended(w, number))
		return NULL;
	/* A key of a wrong size would not be found, and no word of it. */
	odd = page_node(page, (uint32_t)misfit);
	if (!known || !store__says_wrong_size((enum store_table)p->table, &odd))
		return "a node has a key or a value of no possible size";
	w->odd = (struct store_odd){ number, slice_of(odd.key, odd.key_size) };
	return w->writes ? to_be_mended : NULL;
}

static const char *page_fault_of(struct path *p, uint64_t number, int level, struct step *step)
{
	struct store *s = p->ways->store;
	uint16_t flags = level == p->tree->depth - 1 ? PAGE_LEAF : PAGE_BRANCH;
	bool sound = true;
	struct page_head head;
	const char *harm;

	if (number < PAGE_METAS || number > p->ways->last_page || !store__is_in_file(s, number))
		return "there is no page of that number";
	step->page = s->map + number * s->page_size;
	head = page_head_of(step->page);
	if (head.flags != flags)
		return "stands at the wrong depth, or is of another kind";
	harm = has_bit(s->proved_pages, number) ? NULL : new_page_fault(p, step->page, number, &sound);
	if (harm)
		return harm;
	step->nodes = page_nodes(&head);
	if (!p->plain && !is_within(s, step->page, &head, step->low, step->high))
		return "its keys are not those that lead to it";
	if (sound)
		set_bit(s->proved_pages, number);
	return NULL;
}

/* Goes to a page, for the keys that step says. */
static int enter_page(struct path *p, uint64_t number, int level)
{
	const char *fault = page_fault_of(p, number, level, &p->steps[level]);
	struct store_ways *w = p->ways;
	char tree[64];

	if (!fault)
		return 0;
	if (fault == to_be_mended)
		return STORE_ODD;
	snprintf(tree, sizeof(tree), "%s%s", p->table < STORE_TABLES ? "table " : "", p->name);
	store__tell_damaged(w->store, tree, number, fault);
	return MDB_CORRUPTED;
}

/* ---- ways ---- */

/* The page below the node that is taken. */
static int go_down(struct path *p, int level)
{
	const struct step *from = &p->steps[level];
	struct step *to = &p->steps[level + 1];
	struct page_node n = page_node(from->page, from->node);

	if (!p->plain) {
		to->low = from->node > 0 ? slice_of(n.key, n.key_size) : from->low;
		to->high = from->node + 1 < from->nodes ? key_at(from->page, from->node + 1) : from->high;
	}
	return enter_page(p, n.child, level + 1);
}

/* The last node of a branch that leads to keys from one not above key on. */
static uint32_t find_node(const struct step *step, struct slice key)
{
	uint32_t from = 1, to = step->nodes;

	while (from < to) {
		uint32_t middle = from + (to - from) / 2;

		if (slice_compare(key_at(step->page, middle), key) <= 0)
			from = middle + 1;
		else
			to = middle;
	}
	return from - 1;
}

enum direction { TO_KEY, TO_FIRST, TO_LAST };

static int descend(struct path *p, int level, enum direction to, struct slice key)
{
	int rc = 0;

	for (; rc == 0 && level < p->tree->depth - 1; level++) {
		struct step *step = &p->steps[level];

		step->node = to == TO_KEY ? find_node(step, key) : to == TO_FIRST ? 0 : step->nodes - 1;
		rc = go_down(p, level);
	}
	return rc;
}

static void start(struct path *p, struct store_ways *w, const struct store_tree *tree)
{
	p->ways = w;
	p->tree = tree;
	p->plain = false;
	p->table = STORE_TABLES;
	p->name = "the list of tables";
	p->steps[0].low = p->steps[0].high = slice_of(NULL, 0);
}

static int enter_root(struct path *p)
{
	if (p->tree->depth > 0 && p->tree->depth <= PAGE_LEVELS)
		return enter_page(p, p->tree->root, 0);
	store__tell_damaged(p->ways->store, p->name, p->tree->root, "is the root of a tree of no possible depth");
	return MDB_CORRUPTED;
}

static int start_table(struct path *p, struct store_ways *w, enum store_table table)
{
	start(p, w, &w->tables[table]);
	p->table = table;
	p->name = store__table_name(table);
	return enter_root(p);
}

/* From a page of this level to the one beside it, of the same level. MDB_NOTFOUND where there is none. */
static int go_beside(struct path *p, int level, enum direction to)
{
	int at = level - 1;

	while (at >= 0 && (to == TO_LAST ? p->steps[at].node + 1 >= p->steps[at].nodes : p->steps[at].node == 0))
		at--;
	if (at < 0)
		return MDB_NOTFOUND;
	p->steps[at].node += to == TO_LAST ? 1u : UINT32_MAX;
	for (;;) {
		int rc = go_down(p, at);

		if (rc != 0 || ++at == level)
			return rc;
		p->steps[at].node = to == TO_LAST ? 0 : p->steps[at].nodes - 1;
	}
}

/* ---- tables ---- */

/* What the list of tables says of one. */
static int find_tree(struct store_ways *w, const char *name, struct store_tree *ret)
{
	struct slice key = slice_str(name);
	struct path p;
	const struct step *leaf;
	struct page_db db;
	int rc;

	start(&p, w, &w->main);
	rc = enter_root(&p);
	if (rc == 0)
		rc = descend(&p, 0, TO_KEY, key);
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

/* *ret is NULL for a table in which nothing stands, or that the commit does not have. */
static int tree_of(struct store_ways *w, enum store_table table, struct store_tree **ret)
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

static struct store_way *note_way(struct store_tree *tree, const struct step *leaf)
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
	struct path p;
	int rc;

	rc = tree_of(w, table, &tree);
	if (rc != 0 || !tree)
		return rc;
	rc = start_table(&p, w, table);
	if (rc == 0)
		rc = descend(&p, 0, TO_KEY, key);
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
	struct path p;
	int rc;

	if (!w->store)
		return 0;
	rc = tree_of(w, table, &tree);
	if (rc != 0 || !tree || knows_end(tree, last))
		return rc;
	rc = start_table(&p, w, table);
	if (rc == 0)
		rc = descend(&p, 0, last ? TO_LAST : TO_FIRST, slice_of(NULL, 0));
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
	struct path p;
	int rc = 0;

	for (int last = 0; rc == 0 && db->root != PAGE_NONE && last < 2; last++) {
		start(&p, w, &tree);
		p.name = "the list of free pages";
		p.plain = true;
		rc = enter_root(&p);
		if (rc == 0)
			rc = descend(&p, 0, last ? TO_LAST : TO_FIRST, slice_of(NULL, 0));
	}
	return rc;
}

int store__ways_begin(struct store *s, uint64_t txn, bool writes, struct store_ways *ret)
{
	uint64_t commit = writes ? txn - 1 : txn;
	const uint8_t *page = s->map + commit % PAGE_METAS * s->page_size;
	struct page_meta meta;

	ret->store = NULL;
	if (!s->map)
		return 0;
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
		clear_bits(s);
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

static int prove_leaves_beside(const struct path *from, enum direction to)
{
	int leaf = from->tree->depth - 1, rc;
	struct path p = *from;

	do
		rc = go_beside(&p, leaf, to);
	while (rc == 0 && from->ways->writes && is_sparse(from->ways->store, p.steps[leaf].page));
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/* LMDB draws a branch together with one beside it that has but one arm left, and looks for the first key below either.
 * An arm is lost with a leaf, and so with a change at least. */
static int prove_branch_beside(const struct path *from, int level, enum direction to)
{
	struct path p = *from;
	int rc = go_beside(&p, level, to);

	if (rc == 0)
		rc = descend(&p, level, TO_FIRST, slice_of(NULL, 0));
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int prove_branches_beside(const struct path *from, int64_t *ret_until)
{
	int rc = 0;

	*ret_until = INT64_MAX;
	for (int level = from->tree->depth - 2; from->ways->writes && rc == 0 && level > 0; level--) {
		int64_t spare = ((int64_t)from->steps[level].nodes - 4) / 4;
		struct path p = *from;

		if (from->tree->changes < spare) {
			*ret_until = spare < *ret_until ? spare : *ret_until;
			continue;
		}
		rc = descend(&p, level, TO_FIRST, slice_of(NULL, 0));
		if (rc == 0)
			rc = prove_branch_beside(from, level, TO_FIRST);
		if (rc == 0)
			rc = prove_branch_beside(from, level, TO_LAST);
	}
	return rc;
}

/* *ret_until: how many changes of the transaction this is good for. */
static int prove_beside(const struct path *p, int64_t *ret_until)
{
	int rc = prove_leaves_beside(p, TO_FIRST);

	if (rc == 0)
		rc = prove_leaves_beside(p, TO_LAST);
	return rc == 0 ? prove_branches_beside(p, ret_until) : rc;
}

static int find_beside(struct store_ways *w, enum store_table table, struct slice key)
{
	struct store_tree *tree = &w->tables[table];
	struct path p;
	int64_t until;
	int rc;

	rc = start_table(&p, w, table);
	if (rc == 0)
		rc = descend(&p, 0, TO_KEY, key);
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
	struct slice last = key_at(way->leaf, page_nodes(&head) - 1);

	return is_readable(s, way->leaf, last) && slice_compare(key, last) <= 0;
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
