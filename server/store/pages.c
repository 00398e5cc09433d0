/* Happy path: the newer of the two meta pages names the roots; each tree is walked and its pages noted; at the end the
 * pages that were met nowhere are counted. Whatever is wrong is told, and not relied on any further.
 */
#include "server/store/pages.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/store/copy.h"
#include "server/store/pages_priv.h"
#include "server/store/store_priv.h"

static void tell(struct pages_walk *w, const char *line)
{
	if (w->result->breaches++ < PAGES_LINES_MAX && w->options->report)
		w->options->report(w->options->user, line);
}

void pages_breach(struct pages_walk *w, const char *fmt, ...)
{
	struct pages_result *r = w->result;
	char line[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	if (w->options->for_copy && w->blame.kind == PAGES_FREE_LIST)
		r->free_list = true;
	else if (w->options->for_copy && w->blame.table < STORE_TABLES && copy_is_derived(w->blame.table))
		r->damaged |= UINT32_C(1) << w->blame.table;
	else if (r->harm++ == 0)
		snprintf(r->first_harm, sizeof(r->first_harm), "%.159s", line);
	tell(w, line);
}

void pages_spared(struct pages_walk *w, const char *line)
{
	tell(w, line);
}

static void tell_the_rest(struct pages_walk *w)
{
	char line[64];

	if (w->result->breaches <= PAGES_LINES_MAX || !w->options->report)
		return;
	snprintf(line, sizeof(line), "… and %" PRId64 " more of this kind", w->result->breaches - PAGES_LINES_MAX);
	w->options->report(w->options->user, line);
}

int pages_read(struct pages_walk *w, uint64_t at, void *ret, size_t size)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = pread(w->fd, (uint8_t *)ret + done, size - done, (off_t)(at + done));

		if (n < 0 && errno == EINTR)
			continue;
		/* The file had these bytes when it was looked at. */
		if (n <= 0)
			return store__translate(n < 0 ? errno : EIO);
		done += (size_t)n;
	}
	return 0;
}

/* ---- the meta pages ---- */

struct meta_page {
	struct page_head head;
	struct page_meta meta;
};

static const char *meta_fault(const struct meta_page *m, uint64_t number)
{
	uint32_t size = m->meta.free_list.page_size;

	if (m->head.number != number)
		return "its number is another";
	if (m->head.flags != PAGE_META)
		return "it is no meta page";
	if (m->meta.magic != META_MAGIC || m->meta.version != META_VERSION)
		return "it is of no file of LMDB's, or of another version";
	if (size < PAGE_SIZE_LEAST || size > PAGE_SIZE_MOST || (size & (size - 1)) != 0)
		return "its page size is none that there is";
	return NULL;
}

/* Reads one and tells what is wrong with it; *ret_sound says whether something is. */
static int read_meta(struct pages_walk *w, uint64_t number, struct meta_page *ret, bool *ret_sound)
{
	const char *fault;
	int rc;

	*ret_sound = false;
	rc = pages_read(w, number * w->page_size, ret, sizeof(*ret));
	if (rc < 0)
		return rc;
	fault = meta_fault(ret, number);
	if (fault)
		pages_breach(w, "meta page %" PRIu64 ": %s", number, fault);
	*ret_sound = !fault;
	return 0;
}

/* Each commit writes the meta page that the one before did not: so the two are of neighbours, the even one first. */
static bool are_neighbours(const struct page_meta *even, const struct page_meta *odd)
{
	if (even->txn == 0 && odd->txn == 0)
		return true; /* a new file */
	return even->txn % 2 == 0 && odd->txn % 2 == 1 && (even->txn + 1 == odd->txn || odd->txn + 1 == even->txn);
}

/* The one that LMDB takes. *ret_sound: whether there is one. */
static int find_meta(struct pages_walk *w, uint64_t file_bytes, struct page_meta *ret, bool *ret_sound)
{
	struct meta_page pages[PAGE_METAS];
	int rc;

	*ret_sound = false;
	if (file_bytes < PAGE_SIZE_LEAST * PAGE_METAS) {
		pages_breach(w, "the file is too short to be one of LMDB's");
		return 0;
	}
	rc = read_meta(w, 0, &pages[0], ret_sound);
	if (rc < 0 || !*ret_sound)
		return rc;
	w->page_size = pages[0].meta.free_list.page_size;
	if (file_bytes < w->page_size * PAGE_METAS) {
		pages_breach(w, "the file is too short to be one of LMDB's");
		*ret_sound = false;
		return 0;
	}
	rc = read_meta(w, 1, &pages[1], ret_sound);
	if (rc < 0 || !*ret_sound)
		return rc;
	*ret_sound =
		pages[1].meta.free_list.page_size == w->page_size && are_neighbours(&pages[0].meta, &pages[1].meta);
	if (!*ret_sound)
		pages_breach(w, "the meta pages are not of two commits of which one followed the other");
	*ret = pages[pages[1].meta.txn > pages[0].meta.txn].meta;
	return 0;
}

/* ---- the trees of a commit ---- */

static int walk_tables(struct pages_walk *w, bool derived)
{
	int rc = 0;

	for (int i = 0; rc == 0 && i < w->table_count; i++) {
		const struct pages_table *t = &w->tables[i];

		if (copy_is_derived(t->table) != derived)
			continue;
		w->blame = (struct pages_blame){ PAGES_TABLE, t->table };
		if (w->lists_only && t->table != TABLE_META)
			pages_walk_root(w, t->name, &t->db);
		else
			rc = pages_walk_tree(w, PAGES_TABLE, t->name, &t->db);
	}
	return rc;
}

static int walk_trees(struct pages_walk *w, const struct page_meta *meta)
{
	int rc;

	rc = pages_walk_tree(w, PAGES_MAIN, "the list of tables", &meta->main);
	/* Of two that have the same page the one is to blame that can be made anew. */
	if (rc == 0)
		rc = walk_tables(w, false);
	if (rc == 0)
		rc = walk_tables(w, true);
	w->blame = (struct pages_blame){ PAGES_FREE_LIST, STORE_TABLES };
	return rc < 0 ? rc : pages_walk_tree(w, PAGES_FREE_LIST, "the list of free pages", &meta->free_list);
}

/* A file may lack pages at its end that were taken and given back in one transaction: they are free. */
static void count_pages(struct pages_walk *w)
{
	struct pages_result *r = w->result;
	uint64_t beyond = w->last_page + 1 > w->file_pages ? w->last_page + 1 - w->file_pages : 0;

	if (r->breaches > 0 || w->lists_only)
		return;
	if (beyond != w->unused_beyond)
		pages_breach(w, "the file is cut short: %" PRIu64 " pages lie behind its end, %" PRIu64 " are free",
			     beyond, w->unused_beyond);
	else
		r->lost = r->pages - r->used - r->unused;
}

/* With fd, page_size and txn set. A new file's second page may be its last, and none be written yet. */
static int walk_commit(struct pages_walk *w, const struct page_meta *meta, uint64_t file_bytes)
{
	size_t words;
	int rc;

	w->blame = (struct pages_blame){ PAGES_MAIN, STORE_TABLES };
	w->file_pages = file_bytes / w->page_size;
	w->last_page = meta->last_page;
	w->txn = meta->txn;
	if (w->last_page < PAGE_METAS - 1 || w->last_page >= INT64_MAX / PAGE_SIZE_MOST) {
		pages_breach(w, "the meta page counts no possible number of pages");
		return 0;
	}
	w->known = w->last_page < w->file_pages ? w->last_page + 1 : w->file_pages;
	words = (size_t)(w->known / 64 + 1);
	w->used = calloc(words, sizeof(*w->used));
	w->unused = calloc(words, sizeof(*w->unused));
	w->result->pages = (int64_t)w->last_page + 1;
	w->result->used = PAGE_METAS;
	rc = w->used && w->unused ? walk_trees(w, meta) : ERR_NO_MEMORY;
	if (rc == 0)
		count_pages(w);
	return rc;
}

static void walk_done(struct pages_walk *w)
{
	for (int i = 0; i < PAGE_LEVELS; i++)
		free(w->levels[i]);
	free(w->used);
	free(w->unused);
}

/* ---- a file ---- */

static int check_file(struct pages_walk *w)
{
	struct page_meta meta;
	struct stat st;
	bool sound;
	int rc;

	w->blame = (struct pages_blame){ PAGES_MAIN, STORE_TABLES };
	if (fstat(w->fd, &st) < 0)
		return store__translate(errno);
	rc = find_meta(w, (uint64_t)st.st_size, &meta, &sound);
	return rc < 0 || !sound ? rc : walk_commit(w, &meta, (uint64_t)st.st_size);
}

static int check_path(const char *path, const struct pages_options *options, bool lists_only, struct pages_result *ret)
{
	struct pages_result result = { .pages = 0 };
	struct pages_walk w = { .options = options, .lists_only = lists_only, .result = &result };
	int rc;

	w.fd = open(path, O_RDONLY | O_CLOEXEC);
	if (w.fd < 0)
		return store__translate(errno);
	rc = check_file(&w);
	walk_done(&w);
	close(w.fd);
	if (rc < 0)
		return rc;
	tell_the_rest(&w);
	*ret = result;
	return 0;
}

int pages_check_file(const char *path, const struct pages_options *options, struct pages_result *ret)
{
	return check_path(path, options, false, ret);
}

int pages_check_lists(const char *path, const struct pages_options *options, struct pages_result *ret)
{
	return check_path(path, options, true, ret);
}

/* ---- a store that is open ---- */

/* The meta page of the commit that t sees. It is written anew by the second commit after that one, which cannot have
 * begun while that one is still the last. *ret_sound: whether it is. */
static int read_own_meta(struct pages_walk *w, const struct store *s, const struct store_txn *t, struct page_meta *ret,
			 bool *ret_last, bool *ret_sound)
{
	uint64_t txn = store__txn_id(t);
	struct meta_page page;
	MDB_envinfo info;
	MDB_stat stat;
	int rc;

	mdb_env_stat(s->env, &stat);
	w->page_size = stat.ms_psize;
	rc = pages_read(w, txn % PAGE_METAS * w->page_size, &page, sizeof(page));
	if (rc < 0)
		return rc;
	mdb_env_info(s->env, &info);
	*ret_last = info.me_last_txnid == txn;
	*ret_sound = page.meta.txn == txn && !meta_fault(&page, txn % PAGE_METAS);
	*ret = page.meta;
	return 0;
}

/* *ret_again: commits came in between, and nothing was looked at. */
static int check_as_of(struct pages_walk *w, struct store *s, struct store_txn *t, bool *ret_again)
{
	struct page_meta meta;
	bool last, sound;
	struct stat st;
	int rc;

	w->blame = (struct pages_blame){ PAGES_MAIN, STORE_TABLES };
	if (mdb_env_get_fd(s->env, &w->fd) != 0 || fstat(w->fd, &st) < 0)
		return store__translate(EIO);
	rc = read_own_meta(w, s, t, &meta, &last, &sound);
	*ret_again = rc == 0 && !last;
	if (rc < 0 || !last)
		return rc;
	if (!sound) {
		pages_breach(w, "the meta page of the last commit is not on the disk as LMDB has it");
		return 0;
	}
	return walk_commit(w, &meta, (uint64_t)st.st_size);
}

int pages_check(struct store *s, const struct pages_options *options, struct pages_result *ret)
{
	struct pages_result result = { .pages = 0 };
	struct pages_walk w = { .options = options, .result = &result };
	bool again = true;
	int rc = 0;

	if (s->proved) {
		*ret = s->pages;
		return 0;
	}
	while (rc == 0 && again) {
		struct store_txn *t;

		rc = store_begin_read(s, &t);
		if (rc < 0)
			break;
		rc = check_as_of(&w, s, t, &again);
		store_abort(t);
		if (rc == 0 && again && options->canceled && options->canceled(options->user))
			rc = ERR_CANCELED;
	}
	walk_done(&w);
	if (rc < 0)
		return rc;
	tell_the_rest(&w);
	*ret = result;
	return 0;
}
