/* What is looked at before LMDB is let near an entry that may be damaged.
 *
 * LMDB believes what a page says of the sizes in it. A flipped bit there gives a value that goes on behind its page,
 * and where such an entry is removed or replaced, memory is moved by the wrong number of bytes: the process dies, or
 * worse, goes on. So the store hands out no value that its page does not hold, and removes or replaces no entry but
 * where the page says of it what its neighbours leave room for. Where that room tells the true size, for the table
 * knows but one or two or the value's checksum is right for it, the entry is put right before anything of its page is
 * changed.
 *
 * Pages that a transaction has not changed are in the map, whose beginning is found once, so each address in it tells
 * its page. Pages that it has changed are in memory of LMDB's own, where that cannot be told: there an entry of the
 * only size that its table knows is sound, as is one whose checksum is right, or whose value is on pages of its own;
 * any other is looked for on the page that it came from, as of the last commit. A value there may be read for up to
 * half a page behind its page's end before it is known not to be one: that is memory of LMDB's too.
 *
 * It costs a look at the page's list of nodes for the first change of a page, and a few comparisons else. What it
 * cannot see is the rest of a damaged page: store_way.c has proved that before.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

#include "proto/base/clean.h"
#include "server/store/layout.h"
#include "server/store/pages_format.h"
#include "server/store/records.h"
#include "server/store/store_priv.h"

/* ---- the map ---- */

/* The page that the address is on, and its number; NULL where it is not in the map. */
static const uint8_t *page_of(const struct store *s, const void *at, uint64_t *ret_number)
{
	uintptr_t offset = (uintptr_t)at - (uintptr_t)s->map;

	if (!s->map || offset >= s->map_bytes)
		return NULL;
	*ret_number = offset / s->page_size;
	return s->map + *ret_number * s->page_size;
}

/* Whether the page in memory is the one of that number in the file: only then does it tell where the map begins.
 * LMDB's codes: MDB_CORRUPTED where it is another, the disk's own where it cannot be read. */
static int compare_page(struct store *s, const uint8_t *page, uint64_t number)
{
	_cleanup_free_ uint8_t *bytes = malloc(s->page_size);
	mdb_filehandle_t fd;
	ssize_t n;
	int rc;

	if (!bytes)
		return ENOMEM;
	if (number >= s->map_bytes / s->page_size)
		return MDB_CORRUPTED;
	rc = mdb_env_get_fd(s->env, &fd);
	if (rc != 0)
		return rc;
	do
		n = pread(fd, bytes, s->page_size, (off_t)(number * s->page_size));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno;
	return n == (ssize_t)s->page_size && memcmp(bytes, page, s->page_size) == 0 ? 0 : MDB_CORRUPTED;
}

static int find_map(struct store *s, const void *value)
{
	const uint8_t *page = (const uint8_t *)((uintptr_t)value & ~((uintptr_t)s->page_size - 1));
	uint64_t number = page_head_of(page).number;
	int rc;

	rc = compare_page(s, page, number);
	if (rc != 0)
		return store__translate(rc);
	s->map = page - number * s->page_size;
	return store__ways_init(s);
}

/* A value of the last commit's, which is in the map. */
static int find_value(struct store *s, MDB_val *ret)
{
	MDB_val key = { .mv_data = META_FORMAT, .mv_size = strlen(META_FORMAT) };
	MDB_txn *txn;
	int rc;

	rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn);
	if (rc != 0)
		return rc;
	rc = mdb_get(txn, s->tables[TABLE_META], &key, ret);
	mdb_txn_abort(txn);
	return rc;
}

int store__guard(struct store *s)
{
	MDB_envinfo info;
	MDB_stat stat;
	MDB_val value;
	int rc;

	s->map = NULL;
	mdb_env_info(s->env, &info);
	mdb_env_stat(s->env, &stat);
	s->map_bytes = info.me_mapsize;
	s->page_size = stat.ms_psize;
	/* A page of a file from a machine with larger ones may begin in the midst of one of them here. */
	if (s->page_size > (uint64_t)sysconf(_SC_PAGESIZE))
		return 0;
	rc = find_value(s, &value);
	if (rc == MDB_NOTFOUND)
		return 0;
	return rc == 0 ? find_map(s, value.mv_data) : store__translate(rc);
}

/* ---- what is known of a table's entries beforehand ---- */

struct shape {
	size_t key;	 /* bytes; 0: various */
	bool checksum;	 /* values have one */
	bool various;	 /* nor is anything known of values */
	size_t value[2]; /* else the sizes that there are */
};

static const struct shape shapes[STORE_TABLES] = {
	[TABLE_META] = { .various = true },
	[TABLE_NAMES] = { .value = { 4, 4 } },
	[TABLE_IDEMPOTENCY] = { .value = { 16, 16 } },
	[TABLE_QUEUES] = { .key = 4, .checksum = true },
	[TABLE_JOBS] = { .key = 16, .checksum = true },
	[TABLE_INPUTS] = { .key = 16, .checksum = true },
	[TABLE_CHECKPOINTS] = { .key = 16, .checksum = true },
	[TABLE_TOMBSTONES] = { .key = 16, .checksum = true },
	[TABLE_SET_ASIDE] = { .key = 16, .checksum = true },
	[TABLE_ARTIFACTS] = { .checksum = true },
	[TABLE_LIMITS] = { .checksum = true },
	[TABLE_GROUPS] = { .checksum = true },
	[TABLE_WEIGHTS] = { .checksum = true },
	[TABLE_HOOKS] = { .key = 16, .checksum = true },
	[TABLE_HOOK_BODIES] = { .key = 24, .checksum = true },
	[TABLE_READY] = { .key = 29 },
	[TABLE_DUE] = { .key = 24, .value = { 0, DUE_VALUE_SIZE } },
	[TABLE_BLOBS] = { .key = 16, .value = { 16, 16 } },
};

static bool has_size(const struct shape *shape, size_t size)
{
	return size == shape->value[0] || size == shape->value[1];
}

uint16_t store__key_size(enum store_table table)
{
	return shapes[table].checksum ? (uint16_t)shapes[table].key : 0;
}

bool store__says_wrong_size(enum store_table table, const struct page_node *n)
{
	const struct shape *shape = &shapes[table];

	return n->key_size == shape->key || (!shape->checksum && !shape->various && !has_size(shape, n->size));
}

/* Whether the value stands behind its key. A large one is on pages of its own, and its entry holds their number. */
static bool is_beside(MDB_val key, MDB_val value)
{
	return value.mv_data == (const uint8_t *)key.mv_data + key.mv_size;
}

/* Of an entry whose value can be read. The size of a key is part of this: where it is damaged, the value begins at
 * another byte. Of a table with keys of various sizes the search has proved it, which found the whole key. The size of
 * a value on pages of its own moves no memory. */
static bool has_shape(enum store_table table, MDB_val key, MDB_val value)
{
	const struct shape *shape = &shapes[table];

	if (shape->various || (shape->key > 0 && shape->key != key.mv_size))
		return false;
	if (shape->checksum)
		return !is_beside(key, value) || record_is_whole(slice_of(value.mv_data, value.mv_size));
	return has_size(shape, value.mv_size);
}

/* ---- values ---- */

static bool is_overflow_of(const struct store *s, const uint8_t *value, size_t size)
{
	struct page_head head = page_head_of(value - PAGE_HEAD);

	return (head.flags & (uint16_t)~PAGE_DIRTY) == PAGE_OVERFLOW && size <= UINT32_MAX &&
	       page_overflow_pages((uint32_t)size, s->page_size) <= head.pages;
}

/* A page in the map, and where on it the value begins. */
static bool page_holds(struct store *s, const uint8_t *page, MDB_val v)
{
	size_t at = (size_t)((const uint8_t *)v.mv_data - page);

	/* Nothing may follow a key that ends with its page, which may be the last of the file. */
	if (at < PAGE_HEAD)
		return v.mv_size == 0;
	if (!store__is_in_file(s, (uint64_t)(page - s->map) / s->page_size))
		return false;
	return at == PAGE_HEAD ? is_overflow_of(s, v.mv_data, v.mv_size) : at + v.mv_size <= s->page_size;
}

/* A value in LMDB's own memory, where its page is not known. No larger one stands beside its key. */
static bool memory_holds(const struct store *s, enum store_table table, const MDB_val *key, MDB_val v)
{
	const struct shape *shape = &shapes[table];

	if (!is_beside(*key, v))
		return is_overflow_of(s, v.mv_data, v.mv_size);
	if (shape->various || shape->checksum)
		return v.mv_size <= s->page_size / 2;
	return has_size(shape, v.mv_size);
}

bool store__holds(struct store *s, enum store_table table, const MDB_val *key, MDB_val v)
{
	const uint8_t *page;
	uint64_t number;

	if (!s->map)
		return true;
	page = page_of(s, v.mv_data, &number);
	if (page)
		return page_holds(s, page, v);
	return !key || memory_holds(s, table, key, v);
}

bool store__holds_key(struct store *s, MDB_val key)
{
	const uint8_t *page;
	uint64_t number;

	page = page_of(s, key.mv_data, &number);
	return key.mv_size <= PAGE_KEY_MAX && (!page || page_holds(s, page, key));
}

/* ---- pages ---- */

/* The key as the last of its page's list? */
static bool is_last(const uint8_t *page, const struct page_head *head, const void *key)
{
	struct page_node last = page_node(page, page_nodes(head) - 1);

	return key == last.key;
}

bool store__has_next_beside(const struct store *s, MDB_val key)
{
	const uint8_t *page;
	struct page_head head;
	uint64_t number;

	page = page_of(s, key.mv_data, &number);
	if (!page)
		return !s->map;
	head = page_head_of(page);
	return !is_last(page, &head, key.mv_data);
}

bool store__stands_apart(const struct store *s, MDB_val key)
{
	const uint8_t *page, *node = (const uint8_t *)key.mv_data - NODE_HEAD;
	struct page_head head;
	struct page_node n;
	uint64_t number;
	size_t left;

	page = page_of(s, key.mv_data, &number);
	if (!page)
		return !s->map;
	head = page_head_of(page);
	n = page_node_at(node, 0);
	left = s->page_size - head.upper + head.lower - PAGE_HEAD - page_node_bytes(&n, true) - sizeof(uint16_t);
	return left < s->page_size && 4 * left > s->page_size && !is_last(page, &head, key.mv_data);
}

static bool owns_pages(struct store *s, enum store_table table, MDB_val key, MDB_val value)
{
	struct page_head head;
	const uint8_t *page;
	uint64_t number;

	page = is_beside(key, value) ? NULL : page_of(s, value.mv_data, &number);
	if (!page)
		return true;
	if (!store__is_in_file(s, number))
		return false;
	head = page_head_of(page);
	if (head.number == number && head.flags == PAGE_OVERFLOW &&
	    head.pages == page_overflow_pages((uint32_t)value.mv_size, s->page_size))
		return true;
	store__tell_damaged(s, table, store__table_name(table), number,
			    "is not as many pages of a value, of that number, as its entry says");
	return false;
}

bool store__takes_other_pages(const struct store *s, MDB_val key, MDB_val value, size_t size)
{
	/* Where nothing is known of the map it is not looked at what they say either. */
	if (!s->map)
		return false;
	return !is_beside(key, value) && (size > UINT32_MAX || value.mv_size > UINT32_MAX ||
					  page_overflow_pages((uint32_t)size, s->page_size) !=
						  page_overflow_pages((uint32_t)value.mv_size, s->page_size));
}

/* ---- entries ---- */

/* What a page says of one of its nodes. */
struct node_place {
	size_t bytes; /* that it takes, by what its head says */
	size_t room;  /* up to the next one, which is what it takes in truth; 0 where the page makes no sense */
};

/* Of the node with this key, on a page in the map. */
static struct node_place place_of(const struct store *s, const uint8_t *page, uint64_t number, const void *key)
{
	struct page_head head = page_head_of(page);
	size_t at = (size_t)((const uint8_t *)key - page) - NODE_HEAD, next = s->page_size;
	struct page_node node;
	bool listed = false;

	if (head.number != number || head.flags != PAGE_LEAF || head.lower < PAGE_HEAD || head.lower > head.upper ||
	    head.upper > s->page_size || at < head.upper || at > s->page_size)
		return (struct node_place){ .room = 0 };
	for (uint32_t i = 0; i < page_nodes(&head); i++) {
		uint16_t offset;

		memcpy(&offset, page + PAGE_HEAD + 2 * (size_t)i, sizeof(offset));
		listed |= offset == at;
		if (offset > at && offset < next)
			next = offset;
	}
	node = page_node_at(page, at);
	return (struct node_place){ page_node_bytes(&node, true), listed ? next - at : 0 };
}

/* Of the same entry as of the last commit. MDB_NOTFOUND: it was made since, or the keys about it are damaged. */
static int place_before(const struct store *s, enum store_table table, MDB_val key, struct node_place *ret)
{
	MDB_cursor *c = NULL;
	const uint8_t *page;
	uint64_t number;
	MDB_txn *txn;
	MDB_val value;
	int rc;

	rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn);
	if (rc != 0)
		return rc;
	rc = mdb_cursor_open(txn, s->tables[table], &c);
	if (rc == 0)
		rc = mdb_cursor_get(c, &key, &value, MDB_SET_KEY);
	page = rc == 0 ? page_of(s, key.mv_data, &number) : NULL;
	if (page)
		*ret = place_of(s, page, number, key.mv_data);
	if (c)
		mdb_cursor_close(c);
	mdb_txn_abort(txn);
	return rc;
}

/* ---- changes ---- */

/* To put more LMDB first writes out what the transaction has changed so far, and forgets memory in doing so. */
#define MENDED_BELOW (1 << 28)

static bool is_true_size(const struct shape *shape, MDB_val value, size_t size)
{
	if (shape->checksum)
		return record_is_whole(slice_of(value.mv_data, size));
	return !shape->various && has_size(shape, size);
}

/* The size of the value, as the room that the entry has tells, and what is known of values. MDB_CORRUPTED where it does
 * not. */
static int true_size(enum store_table table, MDB_val key, MDB_val value, size_t room, size_t *ret)
{
	size_t most = room - NODE_HEAD - key.mv_size;

	if (room < NODE_HEAD + key.mv_size || value.mv_size >= MENDED_BELOW || !is_beside(key, value))
		return MDB_CORRUPTED;
	/* Nodes take an even number of bytes. */
	for (size_t unused = 0; unused < 2 && unused <= most; unused++) {
		*ret = most - unused;
		if (is_true_size(&shapes[table], value, *ret))
			return 0;
	}
	return MDB_CORRUPTED;
}

static void tell_mended(const struct store *s, enum store_table table)
{
	char line[160];

	if (!s->notice)
		return;
	snprintf(line, sizeof(line),
		 "the size of an entry in table %s was damaged and is put right; look at the data directory with "
		 "raincheckd --check",
		 store__table_name(table));
	s->notice(s->notice_user, line);
}

/* At the cursor. LMDB makes the page the transaction's own where a value is to be replaced by one of the same size, and
 * leaves it to us to write that: then the size is written. */
static int mend(const struct store *s, enum store_table table, MDB_cursor *c, MDB_val key, MDB_val value, size_t room)
{
	MDB_val reserved = { .mv_size = value.mv_size };
	uint16_t halves[2] = { 0, 0 };
	size_t size = 0;
	int rc;

	rc = true_size(table, key, value, room, &size);
	if (rc == 0)
		rc = mdb_cursor_put(c, &key, &reserved, MDB_CURRENT | MDB_RESERVE);
	if (rc != 0)
		return rc;
	halves[0] = (uint16_t)size;
	memcpy((uint8_t *)reserved.mv_data - key.mv_size - NODE_HEAD, halves, sizeof(halves));
	tell_mended(s, table);
	return 0;
}

static int mend_at(struct store_ways *w, enum store_table table, MDB_cursor *c)
{
	MDB_val key = { .mv_size = w->odd.key.size, .mv_data = (void *)(uintptr_t)w->odd.key.data }, value;
	struct node_place place;
	const uint8_t *page;
	uint64_t number;
	int rc;

	rc = mdb_cursor_get(c, &key, &value, MDB_SET_KEY);
	if (rc != 0)
		return rc == MDB_NOTFOUND ? MDB_CORRUPTED : rc;
	page = page_of(w->store, key.mv_data, &number);
	if (!page || number != w->odd.page)
		return MDB_CORRUPTED;
	place = place_of(w->store, page, number, key.mv_data);
	rc = mend(w->store, table, c, key, value, place.room);
	if (rc == 0)
		w->mended[w->mended_count++] = number;
	return rc;
}

/* An entry of a wrong size would hold up all that stand behind it, and ends the process where LMDB moves it about. */
int store__mend_odd(struct store_ways *w, MDB_txn *txn, enum store_table table)
{
	MDB_cursor *c = NULL;
	int rc;

	if (w->mended_count == STORE_MENDED)
		return MDB_CORRUPTED;
	rc = mdb_cursor_open(txn, w->store->tables[table], &c);
	if (rc != 0)
		return rc;
	rc = mend_at(w, table, c);
	mdb_cursor_close(c);
	if (rc == MDB_CORRUPTED)
		store__tell_damaged(w->store, table, store__table_name(table), w->odd.page,
				    "an entry says a wrong size, and the right one is not known");
	return rc;
}

static int may_change(struct store *s, enum store_table table, MDB_val key, MDB_val value)
{
	struct node_place place = { .room = 0 };
	const uint8_t *page;
	uint64_t number;
	int rc = 0;

	if (!s->map)
		return 0;
	page = page_of(s, key.mv_data, &number);
	if (!page && store__holds(s, table, &key, value) && has_shape(table, key, value))
		return 0;
	if (page)
		place = place_of(s, page, number, key.mv_data);
	else
		rc = place_before(s, table, key, &place);
	if (rc == MDB_NOTFOUND)
		return shapes[table].various ? 0 : MDB_CORRUPTED;
	if (rc != 0)
		return rc;
	return place.room > 0 && place.room == place.bytes && (!page || store__holds(s, table, &key, value))
		       ? 0
		       : MDB_CORRUPTED;
}

int store__may_change(struct store *s, enum store_table table, MDB_val key, MDB_val value)
{
	int rc = may_change(s, table, key, value);

	return rc == 0 && s->map && !owns_pages(s, table, key, value) ? MDB_CORRUPTED : rc;
}
