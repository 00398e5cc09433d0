/* A leaf of the jobs or of the inputs, made anew in its place.
 *
 * A damaged leaf hides some jobs, and holds up more: nothing beside it can be removed, nothing of it erased, and where
 * it is the last one nothing new can be put, for ids count up. But what is to stand there is known: every job has a
 * record and an input, so the ids on the one leaf are those that the other table has of the keys that lead to it. The
 * entries that can still be read whole, by their checksums, are kept, also one that the other table has lost; each
 * other id gets an entry without a value, which is no record: its job counts as damaged from then on, and is set aside
 * and named like any other of that kind. It is done where a writer needs something there, or is to change something
 * beside; not in a read transaction.
 *
 * The page is written over as it lies in the file, not by a transaction: LMDB, which would free it by the number that
 * it says it has, is let near it only when it is whole. So it is done while nobody else has the file open for reading,
 * who might have come there before the damage; it is on the disk before anything relies on it; and a power cut in the
 * midst of it leaves a damaged page, as it was. What must not happen is that another table's page is written over, to
 * which a damaged branch leads: so a page of which not one entry can be read as this table's is left alone, and so is
 * one that is sound in itself.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proto/base/clean.h"
#include "server/store/records.h"
#include "server/store/store_path.h"

#define IDS_MAX	     1024
#define ID_BYTES     16u
#define OFFSET_BYTES 2u
#define EMPTY_NODE   (NODE_HEAD + ID_BYTES)

/* An id that is to stand on the page. */
struct place {
	const uint8_t *id;   /* in the map */
	const uint8_t *node; /* what stands there of it, NULL where that cannot be read */
	size_t bytes;
};

struct renewal {
	struct store_ways *w;
	enum store_table table;
	uint64_t number;
	const uint8_t *page;
	struct slice low, high; /* of the keys that it is there for, as of struct store_way */
	struct place places[IDS_MAX];
	uint32_t count, kept;
};

/* The table that has an entry for each of this one's; STORE_TABLES: there is none. */
static enum store_table twin_of(enum store_table table)
{
	return table == TABLE_JOBS ? TABLE_INPUTS : table == TABLE_INPUTS ? TABLE_JOBS : STORE_TABLES;
}

/* ---- the page ---- */

/* 0: it is damaged, and may be the one that it should be. */
static int find_leaf(struct renewal *r)
{
	const struct store_fault *fault = &r->w->fault;
	struct store *s = r->w->store;
	int misfit;

	if (fault->table != r->table || !fault->leaf || fault->page < PAGE_METAS || fault->page > r->w->last_page ||
	    !store__is_in_file(s, fault->page))
		return MDB_CORRUPTED;
	r->number = fault->page;
	r->page = s->map + r->number * s->page_size;
	r->low = fault->low;
	r->high = fault->high;
	/* Where nothing is wrong with it but its keys, it is the way there that is damaged. */
	return page_harm(r->page, s->page_size, r->number, ID_BYTES, &misfit) || misfit >= 0 ? 0 : MDB_CORRUPTED;
}

/* ---- which ids ---- */

/* MDB_NOTFOUND: the last is behind. */
static int add_ids(struct renewal *r, const struct store_step *leaf)
{
	for (uint32_t i = 0; i < leaf->nodes; i++) {
		struct slice id = store__key_at(leaf->page, i);

		if (r->low.data && slice_compare(id, r->low) < 0)
			continue;
		if (r->high.data && slice_compare(id, r->high) >= 0)
			return MDB_NOTFOUND;
		if (r->count == IDS_MAX || id.size != ID_BYTES)
			return MDB_CORRUPTED;
		r->places[r->count++].id = id.data;
	}
	return 0;
}

static int list_ids(struct renewal *r)
{
	enum store_table twin = twin_of(r->table);
	struct store_tree *tree;
	struct store_path p;
	int rc;

	rc = store__tree_of(r->w, twin, &tree);
	if (rc != 0 || !tree)
		return MDB_CORRUPTED;
	rc = store__path_begin_table(&p, r->w, twin);
	if (rc == 0)
		rc = store__path_descend(&p, 0, r->low.data ? STORE_TO_KEY : STORE_TO_FIRST, r->low);
	while (rc == 0) {
		rc = add_ids(r, &p.steps[tree->depth - 1]);
		if (rc == 0)
			rc = store__path_go_beside(&p, tree->depth - 1, STORE_TO_LAST);
	}
	return rc == MDB_NOTFOUND ? 0 : MDB_CORRUPTED;
}

/* ---- what can still be read ---- */

static struct place *place_of(struct renewal *r, const uint8_t *id)
{
	for (uint32_t i = 0; i < r->count; i++)
		if (memcmp(r->places[i].id, id, ID_BYTES) == 0)
			return &r->places[i];
	return NULL;
}

static bool is_record(enum store_table table, struct slice value)
{
	struct job_input input;
	struct job job;

	return (table == TABLE_JOBS ? record_read_job(value, &job) : record_read_input(value, &input)) == 0;
}

/* The value of a node, where that is on pages of its own. */
static bool find_overflow(const struct renewal *r, const struct page_node *n, struct slice *ret)
{
	struct store *s = r->w->store;
	struct page_head head;
	uint64_t number, pages = page_overflow_pages(n->size, s->page_size);

	memcpy(&number, n->data, sizeof(number));
	if (number < PAGE_METAS || number > r->w->last_page || pages > r->w->last_page - number + 1 ||
	    !store__is_in_file(s, number + pages - 1))
		return false;
	head = page_head_of(s->map + number * s->page_size);
	*ret = slice_of(s->map + number * s->page_size + PAGE_HEAD, n->size);
	return head.number == number && head.flags == PAGE_OVERFLOW && head.pages == pages;
}

/* Whether a key is another but for one bit. */
static bool is_near(const uint8_t *a, const uint8_t *b)
{
	int bits = 0;

	for (size_t i = 0; i < ID_BYTES; i++)
		bits += __builtin_popcount((unsigned)(a[i] ^ b[i]));
	return bits == 1;
}

/* A place for an entry that the other table has none for, in the order of the ids; NULL where its key is not one of
 * those that lead here, or is that of a lost one with a bit flipped. */
static struct place *add_stray(struct renewal *r, const uint8_t *id)
{
	struct slice key = slice_of(id, ID_BYTES);
	uint32_t at = r->count;

	if (r->count == IDS_MAX || (r->low.data && slice_compare(key, r->low) < 0) ||
	    (r->high.data && slice_compare(key, r->high) >= 0))
		return NULL;
	for (uint32_t i = 0; i < r->count; i++)
		if (!r->places[i].node && is_near(r->places[i].id, id))
			return NULL;
	while (at > 0 && memcmp(r->places[at - 1].id, id, ID_BYTES) > 0)
		at--;
	memmove(&r->places[at + 1], &r->places[at], (r->count - at) * sizeof(r->places[0]));
	r->count++;
	r->places[at] = (struct place){ .id = id };
	return &r->places[at];
}

/* strays: those that the other table has none for; else the others. */
static void keep_node(struct renewal *r, size_t offset, bool strays)
{
	size_t page_size = r->w->store->page_size;
	struct slice value;
	struct place *place;
	struct page_node n;
	size_t bytes;

	if (offset % 2 != 0 || offset < PAGE_HEAD || offset + EMPTY_NODE > page_size)
		return;
	n = page_node_at(r->page, offset);
	if (n.key_size != ID_BYTES || (n.flags != 0 && n.flags != NODE_OVERFLOW))
		return;
	bytes = page_node_bytes(&n, true);
	place = place_of(r, n.key);
	if ((place ? place->node != NULL : !strays) || offset + bytes > page_size)
		return;
	value = slice_of(n.data, n.size);
	if ((n.flags & NODE_OVERFLOW && !find_overflow(r, &n, &value)) || !is_record(r->table, value))
		return;
	if (!place)
		place = add_stray(r, n.key);
	if (!place)
		return;
	place->node = r->page + offset;
	place->bytes = bytes;
	r->kept++;
}

/* Whatever the page's head says of how many there are. */
static void keep_nodes(struct renewal *r, bool strays)
{
	struct page_head head = page_head_of(r->page);
	size_t page_size = r->w->store->page_size;
	size_t listed = head.lower > PAGE_HEAD ? (head.lower - PAGE_HEAD) / OFFSET_BYTES : 0;
	size_t most = listed > r->count ? listed : r->count;

	for (size_t i = 0; i < most && PAGE_HEAD + (i + 1) * OFFSET_BYTES <= page_size; i++) {
		uint16_t offset;

		memcpy(&offset, r->page + PAGE_HEAD + i * OFFSET_BYTES, sizeof(offset));
		keep_node(r, offset, strays);
	}
}

/* ---- the new one ---- */

static void write_node(const struct place *p, uint8_t *to)
{
	static const uint16_t words[] = { 0, 0, 0, ID_BYTES };

	if (p->node) {
		memcpy(to, p->node, p->bytes);
		return;
	}
	memcpy(to, words, sizeof(words));
	memcpy(to + NODE_HEAD, p->id, ID_BYTES);
}

/* to: zeros, as large as a page. False where it has no room. */
static bool compose(const struct renewal *r, uint8_t *to)
{
	size_t page_size = r->w->store->page_size, at = page_size;
	struct page_head head = { .number = r->number, .flags = PAGE_LEAF };
	int misfit;

	head.lower = (uint16_t)(PAGE_HEAD + OFFSET_BYTES * r->count);
	for (uint32_t i = 0; i < r->count; i++) {
		size_t bytes = r->places[i].node ? r->places[i].bytes : EMPTY_NODE;
		uint16_t offset;

		if (at < head.lower + bytes)
			return false;
		at -= bytes;
		write_node(&r->places[i], to + at);
		offset = (uint16_t)at;
		memcpy(to + PAGE_HEAD + OFFSET_BYTES * i, &offset, sizeof(offset));
	}
	head.upper = (uint16_t)at;
	memcpy(to, &head, sizeof(head));
	return !page_harm(to, (uint32_t)page_size, r->number, ID_BYTES, &misfit) && misfit < 0;
}

static int write_page(mdb_filehandle_t fd, const uint8_t *bytes, size_t size, uint64_t number)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = pwrite(fd, bytes + done, size - done, (off_t)(number * size + done));

		if (n < 0 && errno != EINTR)
			return errno;
		done += n > 0 ? (size_t)n : 0;
	}
	return fdatasync(fd) < 0 ? errno : 0;
}

bool store_is_read(struct store *s)
{
	bool read;

	pthread_mutex_lock(&s->lock);
	read = s->inside > 0;
	pthread_mutex_unlock(&s->lock);
	return read;
}

/* While nobody else is inside, and nobody comes in. */
static int replace_page(const struct renewal *r, const uint8_t *bytes)
{
	struct store *s = r->w->store;
	mdb_filehandle_t fd;
	int rc = mdb_env_get_fd(s->env, &fd);

	if (rc != 0)
		return rc;
	pthread_mutex_lock(&s->lock);
	rc = s->inside > 0 ? EBUSY : write_page(fd, bytes, s->page_size, r->number);
	pthread_mutex_unlock(&s->lock);
	return rc;
}

static void tell_renewed(const struct renewal *r)
{
	const struct store *s = r->w->store;
	uint32_t lost = r->count - r->kept;
	char line[256], rest[96] = "";

	if (!s->notice)
		return;
	if (lost > 0)
		snprintf(rest, sizeof(rest), ", %" PRIu32 " could not be read: raincheck check names their jobs", lost);
	snprintf(line, sizeof(line), "table %s, page %" PRIu64 " was made anew: %" PRIu32 " entries are as they were%s",
		 store__table_name(r->table), r->number, r->kept, rest);
	s->notice(s->notice_user, line);
}

static int renew(struct renewal *r)
{
	_cleanup_free_ uint8_t *bytes = calloc(1, r->w->store->page_size);
	int rc;

	if (!bytes)
		return ENOMEM;
	rc = find_leaf(r);
	if (rc == 0)
		rc = list_ids(r);
	if (rc != 0)
		return rc;
	keep_nodes(r, false);
	/* Once it is known which are lost. */
	keep_nodes(r, true);
	if (r->kept == 0 || !compose(r, bytes))
		return MDB_CORRUPTED;
	rc = replace_page(r, bytes);
	if (rc != 0)
		return rc;
	store__forget_told(r->w->store, r->number);
	tell_renewed(r);
	return 0;
}

int store__renew(struct store_ways *w, enum store_table table)
{
	_cleanup_free_ struct renewal *r = NULL;

	if (!w->store || !w->writes || twin_of(table) == STORE_TABLES)
		return MDB_CORRUPTED;
	/* It is no use to begin, and there may be many to ask for while somebody reads for long. */
	if (store_is_read(w->store))
		return EBUSY;
	r = calloc(1, sizeof(*r));
	if (!r)
		return ENOMEM;
	r->w = w;
	r->table = table;
	return renew(r);
}
