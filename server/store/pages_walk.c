/* One tree after the other, depth first, so that the keys come in their order: each key must be above the one before,
 * and what a branch page says of the keys below it is compared on the way. A page that is not sound is told and not
 * followed; what its table's record counts cannot be compared then.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/store/pages_priv.h"
#include "server/store/store_priv.h"

#define ASK_EVERY  256 /* pages */
#define LIST_CHUNK 512 /* page numbers read at once */

struct tree {
	enum pages_tree kind;
	const char *name;
	const struct page_db *db;
	struct page_db found;
	bool damaged;
	/* The key that the next must be above; of a branch page: or be. */
	uint8_t bound[PAGE_KEY_MAX];
	size_t bound_size;
	bool has_bound, may_equal;
};

/* Where something stands, for lines. */
struct words {
	char text[128];
};

static struct words words_of(const struct tree *t, uint64_t page, int node)
{
	struct words w;
	int n = snprintf(w.text, sizeof(w.text), "%s%s, page %" PRIu64, t->kind == PAGES_TABLE ? "table " : "", t->name,
			 page);

	if (node >= 0)
		snprintf(w.text + n, sizeof(w.text) - (size_t)n, ", node %d", node);
	return w;
}

static void breach(struct pages_walk *w, struct tree *t, uint64_t page, int node, const char *what)
{
	t->damaged = true;
	pages_breach(w, "%s: %s", words_of(t, page, node).text, what);
}

static int step(struct pages_walk *w)
{
	const struct pages_options *o = w->options;

	if (w->steps++ % ASK_EVERY != 0)
		return 0;
	if (o->progress)
		o->progress(o->user, "pages checked", w->steps, (int64_t)w->last_page + 1);
	return o->canceled && o->canceled(o->user) ? ERR_CANCELED : 0;
}

/* Only who writes reads a page's number in it. */
static bool spare_number(struct pages_walk *w, struct tree *t, uint64_t page)
{
	char line[160];

	if (!w->options->for_copy)
		return false;
	snprintf(line, sizeof(line), "%s: its number is another", words_of(t, page, -1).text);
	pages_spared(w, line);
	return true;
}

/* ---- which pages are in use ---- */

static bool bit_is_set(const uint64_t *bits, uint64_t i)
{
	return bits[i / 64] >> i % 64 & 1;
}

static void set_bit(uint64_t *bits, uint64_t i)
{
	bits[i / 64] |= UINT64_C(1) << i % 64;
}

/* NULL where the page is now in use by one. */
static const char *use_page(struct pages_walk *w, uint64_t page)
{
	if (page < PAGE_METAS || page > w->last_page)
		return "there is no page of that number";
	if (page >= w->known)
		return "lies behind the end of the file, which was cut short";
	if (bit_is_set(w->used, page))
		return "is in use at another place too";
	if (bit_is_set(w->unused, page))
		return "is listed as free and in use";
	set_bit(w->used, page);
	w->result->used++;
	return NULL;
}

static const char *free_page(struct pages_walk *w, uint64_t page)
{
	if (page < PAGE_METAS || page > w->last_page)
		return "lists as free what is no page";
	w->result->unused++;
	if (page >= w->known) {
		w->unused_beyond++;
		return NULL;
	}
	if (bit_is_set(w->used, page))
		return "lists a page as free that is in use";
	if (bit_is_set(w->unused, page))
		return "lists a page as free that is listed at another place too";
	set_bit(w->unused, page);
	return NULL;
}

/* ---- values on pages of their own ---- */

/* What is wrong with the pages of a value of this size, from a first one on. *ret_rc is an error in reading. */
static const char *overflow_fault(struct pages_walk *w, struct tree *t, uint64_t page, uint32_t size, int *ret_rc)
{
	struct page_head head;
	const char *fault;

	fault = use_page(w, page);
	if (fault)
		return fault;
	*ret_rc = pages_read(w, page * w->page_size, &head, sizeof(head));
	if (*ret_rc < 0)
		return NULL;
	if (head.number != page && !spare_number(w, t, page))
		return "its number is another";
	if (head.flags != PAGE_OVERFLOW)
		return "its kind is none that may stand here";
	if (head.pages < page_overflow_pages(size, w->page_size))
		return "has too few pages for its value";
	t->found.overflows += head.pages;
	for (uint32_t i = 1; i < head.pages; i++) {
		fault = use_page(w, page + i);
		if (fault)
			return fault;
	}
	return NULL;
}

/* ---- the list of free pages ---- */

/* Of one entry: how many it lists, then the pages, the highest first. */
struct list {
	uint64_t page; /* that the entry's node is on */
	int node;
	const uint8_t *bytes; /* NULL: at a place in the file */
	uint64_t at;
	uint64_t count;
};

static int read_numbers(struct pages_walk *w, const struct list *l, uint64_t from, uint64_t *ret, size_t count)
{
	if (!l->bytes)
		return pages_read(w, l->at + from * sizeof(*ret), ret, count * sizeof(*ret));
	memcpy(ret, l->bytes + from * sizeof(*ret), count * sizeof(*ret));
	return 0;
}

static int walk_numbers(struct pages_walk *w, struct tree *t, const struct list *l)
{
	uint64_t chunk[LIST_CHUNK], last = UINT64_MAX;

	for (uint64_t done = 0, count; done < l->count; done += count) {
		int rc = step(w);

		count = l->count - done < LIST_CHUNK ? l->count - done : LIST_CHUNK;
		if (rc == 0)
			rc = read_numbers(w, l, 1 + done, chunk, count);
		if (rc < 0)
			return rc;
		for (uint64_t i = 0; i < count; i++) {
			const char *fault = chunk[i] < last ? free_page(w, chunk[i]) : "lists pages out of order";

			if (fault) {
				breach(w, t, l->page, l->node, fault);
				return 0;
			}
			last = chunk[i];
		}
	}
	return 0;
}

static int walk_list(struct pages_walk *w, struct tree *t, const struct page_node *n, struct list *l)
{
	uint64_t txn, overflow;
	int rc;

	if (n->key_size != sizeof(txn) || n->size < sizeof(l->count) || n->size % sizeof(l->count) != 0) {
		breach(w, t, l->page, l->node, "is no list of pages");
		return 0;
	}
	memcpy(&txn, n->key, sizeof(txn));
	if (txn == 0 || txn > w->txn)
		breach(w, t, l->page, l->node, "lists pages of a commit that has not been");
	if (n->flags & NODE_OVERFLOW) {
		memcpy(&overflow, n->data, sizeof(overflow));
		l->at = overflow * w->page_size + PAGE_HEAD;
	} else {
		l->bytes = n->data;
	}
	rc = read_numbers(w, l, 0, &l->count, 1);
	if (rc < 0)
		return rc;
	/* LMDB may leave room behind them. */
	if (l->count >= n->size / sizeof(l->count)) {
		breach(w, t, l->page, l->node, "lists more pages than it has room for");
		return 0;
	}
	return walk_numbers(w, t, l);
}

/* ---- keys ---- */

static int compare(const struct tree *t, const uint8_t *key, size_t size)
{
	uint64_t a, b;
	int order;

	if (t->kind == PAGES_FREE_LIST && size == sizeof(a) && t->bound_size == sizeof(b)) {
		memcpy(&a, key, sizeof(a));
		memcpy(&b, t->bound, sizeof(b));
		return (a > b) - (a < b);
	}
	order = memcmp(key, t->bound, size < t->bound_size ? size : t->bound_size);
	return order != 0 ? order : (size > t->bound_size) - (size < t->bound_size);
}

static void look_at_order(struct pages_walk *w, struct tree *t, uint64_t page, int node, const struct page_node *n,
			  bool leaf)
{
	bool free_order = w->options->any_order && t->kind == PAGES_TABLE;
	int order = t->has_bound && !free_order ? compare(t, n->key, n->key_size) : 1;

	if (order < 0 || (order == 0 && !(leaf && t->may_equal)))
		breach(w, t, page, node, "its key is out of order");
	memcpy(t->bound, n->key, n->key_size);
	t->bound_size = n->key_size;
	t->has_bound = true;
	t->may_equal = !leaf;
}

/* ---- the nodes of leaves ---- */

static bool find_name(const struct page_node *n, struct pages_table *ret)
{
	for (int i = 0; i < STORE_TABLES; i++) {
		ret->table = (enum store_table)i;
		ret->name = store__table_name(ret->table);
		if (strlen(ret->name) == n->key_size && memcmp(ret->name, n->key, n->key_size) == 0)
			return true;
	}
	return false;
}

static void note_table(struct pages_walk *w, struct tree *t, uint64_t page, int node, const struct page_node *n)
{
	struct pages_table *table = &w->tables[w->table_count];

	if (!(n->flags & NODE_TABLE) || n->size != sizeof(table->db)) {
		breach(w, t, page, node, "is no table");
		return;
	}
	if (!find_name(n, table)) {
		breach(w, t, page, node, "is a table of no known name");
		return;
	}
	if (w->table_count == PAGES_TABLES_MAX - 1) {
		breach(w, t, page, node, "is a table too many");
		return;
	}
	memcpy(&table->db, n->data, sizeof(table->db));
	w->table_count++;
}

static int walk_leaf_node(struct pages_walk *w, struct tree *t, uint64_t page, int node, const struct page_node *n)
{
	struct list list = { .page = page, .node = node };
	const char *fault = NULL;
	uint64_t overflow;
	int rc = 0;

	t->found.entries++;
	look_at_order(w, t, page, node, n, true);
	if (n->flags & NODE_OVERFLOW) {
		memcpy(&overflow, n->data, sizeof(overflow));
		fault = overflow_fault(w, t, overflow, n->size, &rc);
		if (fault)
			breach(w, t, overflow, -1, fault);
	}
	if (rc < 0 || fault)
		return rc;
	if (t->kind == PAGES_MAIN)
		note_table(w, t, page, node, n);
	else if (n->flags & NODE_TABLE)
		breach(w, t, page, node, "is of no possible kind");
	return t->kind == PAGES_FREE_LIST ? walk_list(w, t, n, &list) : 0;
}

/* ---- pages ---- */

static int walk_page(struct pages_walk *w, struct tree *t, uint64_t page, int level);

static int walk_nodes(struct pages_walk *w, struct tree *t, uint64_t page, int level)
{
	const uint8_t *bytes = w->levels[level];
	struct page_head head = page_head_of(bytes);
	bool leaf = head.flags == PAGE_LEAF;
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < page_nodes(&head); i++) {
		struct page_node n = page_node(bytes, i);

		if (!leaf && i > 0)
			look_at_order(w, t, page, (int)i, &n, false);
		rc = leaf ? walk_leaf_node(w, t, page, (int)i, &n) : walk_page(w, t, n.child, level + 1);
	}
	return rc;
}

/* What is wrong with a page that stands in a tree at this level. */
static const char *place_fault(const struct tree *t, const struct page_head *head, int level)
{
	bool lowest = level == t->db->depth - 1;

	if ((head->flags == PAGE_LEAF) != lowest)
		return "stands at the wrong depth";
	/* LMDB takes such a page away, except for a moment in the list of the free ones. */
	if (!lowest && page_nodes(head) < 2 && t->kind != PAGES_FREE_LIST)
		return "is a branch with one arm";
	return NULL;
}

static int walk_page(struct pages_walk *w, struct tree *t, uint64_t page, int level)
{
	const char *fault = use_page(w, page);
	struct page_head head;
	int node = -1, rc;

	if (fault) {
		breach(w, t, page, -1, fault);
		return 0;
	}
	if (!w->levels[level])
		w->levels[level] = malloc(w->page_size);
	if (!w->levels[level])
		return ERR_NO_MEMORY;
	rc = step(w);
	if (rc == 0)
		rc = pages_read(w, page * w->page_size, w->levels[level], w->page_size);
	if (rc < 0)
		return rc;
	head = page_head_of(w->levels[level]);
	if (head.number != page && spare_number(w, t, page))
		fault = page_fault(w->levels[level], w->page_size, head.number, &node);
	else
		fault = page_fault(w->levels[level], w->page_size, page, &node);
	if (!fault)
		fault = place_fault(t, &head, level);
	if (fault) {
		breach(w, t, page, node, fault);
		return 0;
	}
	if (head.flags == PAGE_LEAF)
		t->found.leaves++;
	else
		t->found.branches++;
	return walk_nodes(w, t, page, level);
}

/* ---- a tree ---- */

/* What is wrong with a tree's record taken by itself. */
static const char *db_fault(enum pages_tree kind, const struct page_db *db)
{
	unsigned flags = kind == PAGES_FREE_LIST ? db->flags & (uint16_t)~DB_NO_FOLDER : db->flags;

	if (flags != (kind == PAGES_FREE_LIST ? DB_INTEGER_KEYS : 0))
		return "its flags are none that it can have";
	if (db->depth > PAGE_LEVELS)
		return "its depth is none that it can have";
	if ((db->root == PAGE_NONE) != (db->depth == 0))
		return "its depth and its root contradict each other";
	return NULL;
}

static bool counts_agree(const struct page_db *a, const struct page_db *b)
{
	return a->branches == b->branches && a->leaves == b->leaves && a->overflows == b->overflows &&
	       a->entries == b->entries;
}

/* Values were given up with the entries that led to them, see store_renew.c: LMDB never counts them out, and relies on
 * it nowhere. */
static bool lacks_values(const struct tree *t)
{
	struct page_db found = t->found;

	if (t->kind != PAGES_TABLE || found.overflows >= t->db->overflows)
		return false;
	found.overflows = t->db->overflows;
	return counts_agree(t->db, &found);
}

/* Every commit but the first frees the page that had the list of tables before, and lists it under its own number. So
 * a meta page of another commit than it says gives itself away. */
static bool is_of_commit(const struct pages_walk *w, const struct tree *t)
{
	uint64_t last = 0;

	if (t->bound_size == sizeof(last))
		memcpy(&last, t->bound, sizeof(last));
	return w->txn < 2 || last == w->txn;
}

int pages_walk_tree(struct pages_walk *w, enum pages_tree kind, const char *name, const struct page_db *db)
{
	struct tree t = { .kind = kind, .name = name, .db = db };
	const char *fault = db_fault(kind, db);
	int rc = 0;

	if (fault) {
		pages_breach(w, "%s%s: %s", kind == PAGES_TABLE ? "table " : "", name, fault);
		return 0;
	}
	if (db->depth > 0)
		rc = walk_page(w, &t, db->root, 0);
	if (rc == 0 && !t.damaged && lacks_values(&t))
		w->result->miscounted += (int64_t)(db->overflows - t.found.overflows);
	else if (rc == 0 && !t.damaged && !counts_agree(db, &t.found))
		pages_breach(w, "%s%s: counts %" PRIu64 " entries on %" PRIu64 " pages, has %" PRIu64 " on %" PRIu64,
			     kind == PAGES_TABLE ? "table " : "", name, db->entries,
			     db->branches + db->leaves + db->overflows, t.found.entries,
			     t.found.branches + t.found.leaves + t.found.overflows);
	if (rc == 0 && kind == PAGES_FREE_LIST && !t.damaged && !is_of_commit(w, &t))
		pages_breach(w, "%s is not of commit %" PRIu64 ", which the meta page says it is of", name, w->txn);
	return rc;
}

void pages_walk_root(struct pages_walk *w, const char *name, const struct page_db *db)
{
	const char *fault = db_fault(PAGES_TABLE, db);

	if (!fault && db->depth > 0)
		fault = use_page(w, db->root);
	if (fault)
		pages_breach(w, "table %s, its root, page %" PRIu64 ": %s", name, db->root, fault);
}
