/* The pages on a way, each proved when it is first come upon: what that means is told in store_way.c, which knows why.
 * A page's inside is looked at once, then a bit stands for it; that it stands where it must, for the keys that lead to
 * it, is looked at each time.
 */
#include "server/store/store_path.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "proto/base/log.h"
#include "server/store/copy.h"

#define WORD_BITS 64u

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

void store__forget_told(struct store *s, uint64_t page)
{
	uint64_t bit = UINT64_C(1) << page % WORD_BITS;

	atomic_fetch_and_explicit(&s->told_pages[page / WORD_BITS], ~bit, memory_order_relaxed);
}

void store__forget_proofs(struct store *s)
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

/* What an operator can do about it. */
static const char *advice_for(enum store_table table)
{
	if (table < STORE_TABLES && copy_is_derived(table))
		return "stop raincheckd and run raincheckd --compact, which makes that table anew";
	if (table == TABLE_JOBS || table == TABLE_INPUTS)
		return "a leaf is made anew from what can be read when a job there is leased or changed, so also by "
		       "raincheck erase of one";
	return "raincheck check names all that is damaged; what stood on that page is in the last backup";
}

void store__tell_damaged(struct store *s, enum store_table table, const char *name, uint64_t page, const char *fault)
{
	if (page < s->map_bytes / s->page_size && !set_bit(s->told_pages, page))
		return;
	log_error("%s/raincheck.mdb is damaged: %s%s, page %" PRIu64 ": %s; whoever needs that page is refused; %s",
		  s->dir, table < STORE_TABLES ? "table " : "", name, page, fault, advice_for(table));
}

struct slice store__key_at(const uint8_t *page, uint32_t i)
{
	struct page_node n = page_node(page, i);

	return slice_of(n.key, n.key_size);
}

bool store__key_is_readable(const struct store *s, const uint8_t *page, struct slice key)
{
	return key.size <= PAGE_KEY_MAX && (size_t)((const uint8_t *)key.data - page) + key.size <= s->page_size;
}

/* Whether all keys are from low on and below high. */
static bool is_within(const struct store *s, const uint8_t *page, const struct page_head *head, struct slice low,
		      struct slice high)
{
	struct slice first = store__key_at(page, head->flags == PAGE_BRANCH ? 1 : 0);
	struct slice last = store__key_at(page, page_nodes(head) - 1);

	if (low.data && store__key_is_readable(s, page, first) && slice_compare(first, low) < 0)
		return false;
	return !high.data || !store__key_is_readable(s, page, last) || slice_compare(last, high) < 0;
}

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
static const char *new_page_fault(const struct store_path *p, const uint8_t *page, uint64_t number, bool *ret_sound)
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
	harm = page_harm(page, s->page_size, number, known ? store__key_size(p->table) : 0, &misfit);
	if (harm)
		return harm;
	if (head.flags == PAGE_BRANCH && page_nodes(&head) < 2 && !p->plain)
		return "is a branch with one arm";
	*ret_sound = misfit < 0;
	if (misfit < 0 || is_mended(w, number))
		return NULL;
	/* A key of a wrong size would not be found, and no word of it. */
	odd = page_node(page, (uint32_t)misfit);
	if (!known || !store__says_wrong_size(p->table, &odd))
		return "a node has a key or a value of no possible size";
	w->odd = (struct store_odd){ number, slice_of(odd.key, odd.key_size) };
	return w->writes ? to_be_mended : NULL;
}

static const char *page_fault_of(struct store_path *p, uint64_t number, int level, struct store_step *step)
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
static int enter_page(struct store_path *p, uint64_t number, int level)
{
	const char *fault = page_fault_of(p, number, level, &p->steps[level]);

	if (!fault)
		return 0;
	p->ways->fault = (struct store_fault){ p->table, number, level == p->tree->depth - 1, p->steps[level].low,
					       p->steps[level].high };
	if (fault == to_be_mended)
		return STORE_ODD;
	store__tell_damaged(p->ways->store, p->table, p->name, number, fault);
	return MDB_CORRUPTED;
}

/* ---- ways ---- */

/* The page below the node that is taken. */
static int go_down(struct store_path *p, int level)
{
	const struct store_step *from = &p->steps[level];
	struct store_step *to = &p->steps[level + 1];
	struct page_node n = page_node(from->page, from->node);

	if (!p->plain) {
		to->low = from->node > 0 ? slice_of(n.key, n.key_size) : from->low;
		to->high = from->node + 1 < from->nodes ? store__key_at(from->page, from->node + 1) : from->high;
	}
	return enter_page(p, n.child, level + 1);
}

/* The last node of a branch that leads to keys from one not above key on. */
static uint32_t find_node(const struct store_step *step, struct slice key)
{
	uint32_t from = 1, to = step->nodes;

	while (from < to) {
		uint32_t middle = from + (to - from) / 2;

		if (slice_compare(store__key_at(step->page, middle), key) <= 0)
			from = middle + 1;
		else
			to = middle;
	}
	return from - 1;
}

int store__path_descend(struct store_path *p, int level, enum store_direction to, struct slice key)
{
	int rc = 0;

	for (; rc == 0 && level < p->tree->depth - 1; level++) {
		struct store_step *step = &p->steps[level];

		step->node = to == STORE_TO_KEY ? find_node(step, key) : to == STORE_TO_FIRST ? 0 : step->nodes - 1;
		rc = go_down(p, level);
	}
	return rc;
}

void store__path_begin(struct store_path *p, struct store_ways *w, const struct store_tree *tree)
{
	p->ways = w;
	p->tree = tree;
	p->plain = false;
	p->table = STORE_TABLES;
	p->name = "the list of tables";
	p->steps[0].low = p->steps[0].high = slice_of(NULL, 0);
}

int store__path_enter(struct store_path *p)
{
	if (p->tree->depth > 0 && p->tree->depth <= PAGE_LEVELS)
		return enter_page(p, p->tree->root, 0);
	store__tell_damaged(p->ways->store, p->table, p->name, p->tree->root,
			    "is the root of a tree of no possible depth");
	return MDB_CORRUPTED;
}

int store__path_begin_table(struct store_path *p, struct store_ways *w, enum store_table table)
{
	store__path_begin(p, w, &w->tables[table]);
	p->table = table;
	p->name = store__table_name(table);
	return store__path_enter(p);
}

int store__path_go_beside(struct store_path *p, int level, enum store_direction to)
{
	int at = level - 1;

	while (at >= 0 && (to == STORE_TO_LAST ? p->steps[at].node + 1 >= p->steps[at].nodes : p->steps[at].node == 0))
		at--;
	if (at < 0)
		return MDB_NOTFOUND;
	p->steps[at].node += to == STORE_TO_LAST ? 1u : UINT32_MAX;
	for (;;) {
		int rc = go_down(p, at);

		if (rc != 0 || ++at == level)
			return rc;
		p->steps[at].node = to == STORE_TO_LAST ? 0 : p->steps[at].nodes - 1;
	}
}
