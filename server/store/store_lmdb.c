/* The store on LMDB: one file, DATA/raincheck.mdb, opened by one process, which holds a lock on DATA/lock.
 *
 * Happy path: a write transaction per batch, committed with two syncs (data, then the page that names it), so that a
 * crash at any moment leaves the last commit whole. Failure modes: the map or the disk is full (ERR_STORE_FULL), the
 * disk fails (ERR_STORE_ERROR): the transaction is lost, the file is not. No MDB_WRITEMAP, no MDB_NOSYNC, no
 * MDB_NOMETASYNC: each trades what is promised for speed.
 */
#include "server/store/store.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "server/store/store_priv.h"

#define FULL_DISK_BYTES (1 << 20) /* less than this is a full disk */

#ifdef RAINCHECK_CHECKED
/* A checked build hands out copies in a write transaction, and frees them with its next write: so a sanitizer sees who
 * uses a value for longer than store.h allows. LMDB itself would mostly let it pass. */
struct handed {
	struct handed *next;
	unsigned char bytes[];
};
#endif

static const char *const table_names[STORE_TABLES] = {
	[TABLE_META] = "meta",
	[TABLE_QUEUES] = "queues",
	[TABLE_JOBS] = "jobs",
	[TABLE_INPUTS] = "inputs",
	[TABLE_CHECKPOINTS] = "checkpoints",
	[TABLE_READY] = "ready",
	[TABLE_DUE] = "due",
	[TABLE_IDEMPOTENCY] = "idempotency",
	[TABLE_ARTIFACTS] = "artifacts",
	[TABLE_BLOBS] = "blobs",
	[TABLE_TOMBSTONES] = "tombstones",
	[TABLE_NAMES] = "names",
	[TABLE_SET_ASIDE] = "set_aside",
	[TABLE_LIMITS] = "limits",
	[TABLE_GROUPS] = "groups",
	[TABLE_WEIGHTS] = "weights",
	[TABLE_HOOKS] = "hooks",
	[TABLE_HOOK_BODIES] = "hook_bodies",
};

static _Thread_local int last_error;

const char *store_error_detail(void)
{
	return last_error ? mdb_strerror(last_error) : "no error";
}

bool store_error_is_damage(void)
{
	return last_error == MDB_CORRUPTED || last_error == MDB_PAGE_NOTFOUND;
}

int store__translate(int rc)
{
	if (rc == 0)
		return 0;
	if (rc == MDB_NOTFOUND)
		return ERR_NOT_FOUND;
	/* A transaction that is broken says so from then on: what broke it is what matters. */
	if (rc != MDB_BAD_TXN || last_error == 0)
		last_error = rc;
	switch (rc) {
	case MDB_MAP_FULL:
	case MDB_TXN_FULL:
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return ERR_STORE_FULL;
	case ENOMEM:
		return ERR_NO_MEMORY;
	default:
		return ERR_STORE_ERROR;
	}
}

#ifdef RAINCHECK_CHECKED
static void take_back(struct store_txn *t)
{
	while (t->handed) {
		struct handed *next = t->handed->next;

		free(t->handed);
		t->handed = next;
	}
}

static int hand_out(struct store_txn *t, struct slice *s)
{
	struct handed *h;

	if (!t->writes)
		return 0;
	h = malloc(sizeof(*h) + s->size);
	if (!h)
		return ERR_NO_MEMORY;
	if (s->size > 0)
		memcpy(h->bytes, s->data, s->size);
	h->next = t->handed;
	t->handed = h;
	s->data = h->bytes;
	return 0;
}
#else
static void take_back(struct store_txn *t)
{
	(void)t;
}

static int hand_out(struct store_txn *t, struct slice *s)
{
	(void)t;
	(void)s;
	return 0;
}
#endif

static MDB_val to_val(struct slice s)
{
	return (MDB_val){ .mv_size = s.size, .mv_data = (void *)(uintptr_t)s.data };
}

static struct slice to_slice(MDB_val v)
{
	return slice_of(v.mv_data, v.mv_size);
}

const char *store__table_name(enum store_table table)
{
	return table_names[table];
}

/* ---- transactions ---- */

int store__open_table(struct store_txn *t, enum store_table table, bool read_only)
{
	return store__translate(
		mdb_dbi_open(t->txn, table_names[table], read_only ? 0 : MDB_CREATE, &t->store->tables[table]));
}

static void join_readers(struct store_txn *t)
{
	struct store *s = t->store;

	pthread_mutex_lock(&s->lock);
	t->next = s->readers;
	t->link = &s->readers;
	if (t->next)
		t->next->link = &t->next;
	s->readers = t;
	pthread_mutex_unlock(&s->lock);
}

static void leave_readers(struct store_txn *t)
{
	pthread_mutex_lock(&t->store->lock);
	*t->link = t->next;
	if (t->next)
		t->next->link = t->link;
	pthread_mutex_unlock(&t->store->lock);
}

size_t store__oldest_reader(struct store *s)
{
	size_t oldest = SIZE_MAX;

	pthread_mutex_lock(&s->lock);
	for (const struct store_txn *t = s->readers; t; t = t->next)
		if (mdb_txn_id(t->txn) < oldest)
			oldest = mdb_txn_id(t->txn);
	pthread_mutex_unlock(&s->lock);
	return oldest;
}

uint64_t store__txn_id(const struct store_txn *t)
{
	return mdb_txn_id(t->txn);
}

/* What every end of a transaction needs besides LMDB's. */
static void end(struct store_txn *t)
{
	if (!t->writes)
		store__leave(t->store);
	free(t);
}

static int begin_once(struct store *s, unsigned flags, struct store_txn **ret)
{
	struct store_txn *t = calloc(1, sizeof(*t));
	int rc;

	if (!t)
		return ERR_NO_MEMORY;
	t->store = s;
	t->writes = !(flags & MDB_RDONLY);
	rc = t->writes ? 0 : store__enter(s);
	if (rc < 0) {
		free(t);
		return rc;
	}
	rc = s->env ? mdb_txn_begin(s->env, NULL, flags, &t->txn) : MDB_PANIC;
	if (rc != 0) {
		if (!t->writes)
			store__leave(s);
		free(t);
		return store__translate(rc);
	}
	*ret = t;
	return 0;
}

/* A reader that was overtaken by two commits begins anew. */
static int begin_ways(struct store *s, unsigned flags, struct store_txn **ret)
{
	struct store_txn *t = NULL;
	int rc;

	do {
		t = NULL;
		rc = begin_once(s, flags, &t);
		if (!t)
			return rc;
		rc = store__ways_begin(s, mdb_txn_id(t->txn), t->writes, &t->ways);
		if (rc == 0)
			break;
		mdb_txn_abort(t->txn);
		end(t);
	} while (rc == EAGAIN);
	if (rc == 0)
		*ret = t;
	return store__translate(rc);
}

int store__begin(struct store *s, unsigned flags, struct store_txn **ret)
{
	int rc = begin_ways(s, flags, ret);

	if (rc == 0 && !(*ret)->writes)
		join_readers(*ret);
	return rc;
}

int store_begin_write(struct store *s, struct store_txn **ret)
{
	int rc = store__begin(s, 0, ret);

	if (rc != ERR_STORE_ERROR || last_error != MDB_PANIC)
		return rc;
	rc = store__reopen(s);
	return rc < 0 ? rc : store__begin(s, 0, ret);
}

int store_begin_read(struct store *s, struct store_txn **ret)
{
	return store__begin(s, MDB_RDONLY, ret);
}

static void close_cursors(struct store_txn *t)
{
	for (int i = 0; i < STORE_TABLES; i++) {
		if (t->cursors[i])
			mdb_cursor_close(t->cursors[i]);
		if (t->points[i])
			mdb_cursor_close(t->points[i]);
	}
}

/* LMDB gives an environment up where the page that names a commit could not be written: it may be on the disk. */
static bool is_given_up(MDB_env *env)
{
	MDB_txn *probe;
	int rc = mdb_txn_begin(env, NULL, MDB_RDONLY, &probe);

	if (rc == 0)
		mdb_txn_abort(probe);
	return rc == MDB_PANIC;
}

bool store_uncertain(const struct store *s)
{
	return s->uncertain;
}

int store_commit(struct store_txn *t)
{
	int64_t ignored;
	int rc;

	close_cursors(t);
	take_back(t);
	if (!t->writes)
		leave_readers(t);
	rc = mdb_txn_commit(t->txn);
	if (t->writes)
		t->store->uncertain = rc != 0 && is_given_up(t->store->env);
	/* A write that the disk had no room for whole comes back as an I/O error. */
	if (rc == EIO && store__disk_room(t->store, &ignored) < FULL_DISK_BYTES)
		rc = ENOSPC;
	end(t);
	return store__translate(rc);
}

void store_abort(struct store_txn *t)
{
	if (!t)
		return;
	close_cursors(t);
	take_back(t);
	if (!t->writes)
		leave_readers(t);
	else
		t->store->uncertain = false;
	mdb_txn_abort(t->txn);
	end(t);
}

/* ---- tables ---- */

/* The table's cursor of one of the two kinds. */
static int cursor_of(struct store_txn *t, MDB_cursor **cursors, enum store_table table, MDB_cursor **ret)
{
	if (!cursors[table]) {
		int rc = mdb_cursor_open(t->txn, t->store->tables[table], &cursors[table]);

		if (rc != 0)
			return rc;
	}
	*ret = cursors[table];
	return 0;
}

/* A read transaction looks for too few keys to open a cursor for them. This and put() with the way to the key proved.
 */
static int find(struct store_txn *t, enum store_table table, MDB_val *k, MDB_val *v)
{
	MDB_cursor *c = NULL;
	int rc;

	if (!t->writes)
		return mdb_get(t->txn, t->store->tables[table], k, v);
	rc = cursor_of(t, t->points, table, &c);
	return rc != 0 ? rc : mdb_cursor_get(c, k, v, MDB_SET_KEY);
}

static int put(struct store_txn *t, enum store_table table, struct slice key, MDB_val *v, unsigned flags)
{
	MDB_val k = to_val(key);
	MDB_cursor *c = NULL;
	int rc = cursor_of(t, t->points, table, &c);

	return rc == 0 ? mdb_cursor_put(c, &k, v, flags) : rc;
}

/* The entry that the table's cursor for single keys is at, whose key and value are LMDB's own. */
static int remove_current(struct store_txn *t, enum store_table table, MDB_val k, MDB_val v)
{
	int rc = store__may_change(t->store, table, k, v);

	if (rc == 0 && !store__stands_apart(t->store, k))
		rc = store__go(t, table, to_slice(k), store__way_beside);
	return rc == 0 ? mdb_cursor_del(t->points[table], 0) : rc;
}

/* What the table's cursor for single keys is at: LMDB does not search again. */
static int replace(struct store_txn *t, enum store_table table, struct slice key, MDB_val *v, unsigned flags)
{
	MDB_val there_key, there;
	int rc;

	rc = mdb_cursor_get(t->points[table], &there_key, &there, MDB_GET_CURRENT);
	if (rc != 0)
		return rc;
	/* LMDB leaves a smaller value on as many pages as a larger one took: no more are to be what the size says. */
	if (store__takes_other_pages(t->store, there_key, there, v->mv_size)) {
		rc = remove_current(t, table, there_key, there);
		return rc == 0 ? put(t, table, key, v, flags) : rc;
	}
	rc = store__may_change(t->store, table, there_key, there);
	/* With the caller's key, for LMDB moves its own about meanwhile. */
	return rc == 0 ? put(t, table, key, v, flags | MDB_CURRENT) : rc;
}

/* Sets what is not there, or replaces what is once that is known to do no harm. */
static int put_or_replace(struct store_txn *t, enum store_table table, struct slice key, MDB_val *v, unsigned flags)
{
	MDB_val there = *v;
	int rc = store__go(t, table, key, store__way_to);

	if (rc == 0)
		rc = put(t, table, key, &there, flags | MDB_NOOVERWRITE);
	if (rc == MDB_KEYEXIST)
		rc = replace(t, table, key, v, flags);
	else
		*v = there;
	take_back(t);
	return rc;
}

bool store_waits(const struct store_txn *t)
{
	return t->waits;
}

int store_get(struct store_txn *t, enum store_table table, struct slice key, struct slice *ret)
{
	MDB_val k = to_val(key), v;
	/* What is read here decides what becomes of a job: what can still be known of it is to be known first. */
	int rc = store__go(t, table, key, store__way_to);

	/* Nothing was done: the transaction may go on. */
	if (rc == MDB_CORRUPTED)
		return store__translate(rc), ERR_CORRUPT;
	if (rc == 0)
		rc = find(t, table, &k, &v);
	if (rc != 0)
		return store__translate(rc);
	if (!store__holds(t->store, table, t->writes ? &k : NULL, v))
		return ERR_CORRUPT;
	*ret = to_slice(v);
	return hand_out(t, ret);
}

int store_put(struct store_txn *t, enum store_table table, struct slice key, struct slice value)
{
	MDB_val v = to_val(value);

	return store__translate(put_or_replace(t, table, key, &v, 0));
}

int store_append(struct store_txn *t, enum store_table table, struct slice key, struct slice value)
{
	MDB_val v = to_val(value);
	int rc = store__go_to_append(t, table, key);

	if (rc == 0)
		rc = put(t, table, key, &v, MDB_APPEND);
	take_back(t);
	return rc == MDB_KEYEXIST ? ERR_CORRUPT : store__translate(rc);
}

int store_reserve(struct store_txn *t, enum store_table table, struct slice key, size_t size, void **ret)
{
	MDB_val v = { .mv_size = size };
	int rc = put_or_replace(t, table, key, &v, MDB_RESERVE);

	if (rc == 0)
		*ret = v.mv_data;
	return store__translate(rc);
}

int store_delete(struct store_txn *t, enum store_table table, struct slice key)
{
	MDB_val k = to_val(key), v;
	int rc = store__go(t, table, key, store__way_to);

	if (rc == 0)
		rc = find(t, table, &k, &v);
	if (rc == 0)
		rc = remove_current(t, table, k, v);
	take_back(t);
	return store__translate(rc);
}

/* Proves what a cursor for walking will come upon. */
static int way_of_move(struct store_txn *t, enum store_table table, MDB_val key, MDB_cursor_op op)
{
	int rc;

	switch (op) {
	case MDB_FIRST:
	case MDB_LAST:
		return store__go(t, table, slice_of(NULL, 0),
				 op == MDB_LAST ? store__way_to_last : store__way_to_first);
	case MDB_SET_RANGE:
		return store__go(t, table, to_slice(key), store__way_from);
	default:
		if (op == MDB_NEXT && store__has_next_beside(t->store, t->at[table]))
			return 0;
		rc = store__go(t, table, to_slice(t->at[table]), store__way_to);
		return rc == 0 ? store__go(t, table, to_slice(t->at[table]), store__way_beside) : rc;
	}
}

static int move(struct store_txn *t, enum store_table table, MDB_val *k, MDB_cursor_op op, struct slice *ret_key,
		struct slice *ret_value)
{
	MDB_cursor *c = NULL;
	MDB_val v;
	int rc;

	t->waits = false;
	rc = way_of_move(t, table, *k, op);
	if (rc == 0)
		rc = cursor_of(t, t->cursors, table, &c);
	if (rc == 0)
		rc = mdb_cursor_get(c, k, &v, op);
	if (rc == 0 && !store__holds_key(t->store, *k))
		rc = MDB_CORRUPTED;
	if (rc != 0)
		return store__translate(rc);
	t->at[table] = *k;
	*ret_key = to_slice(*k);
	*ret_value = store__holds(t->store, table, k, v) ? to_slice(v) : slice_of(NULL, 0);
	rc = hand_out(t, ret_key);
	return rc < 0 ? rc : hand_out(t, ret_value);
}

int store_seek(struct store_txn *t, enum store_table table, struct slice from, struct slice *ret_key,
	       struct slice *ret_value)
{
	MDB_val k = to_val(from);

	return move(t, table, &k, from.size ? MDB_SET_RANGE : MDB_FIRST, ret_key, ret_value);
}

int store_next(struct store_txn *t, enum store_table table, struct slice *ret_key, struct slice *ret_value)
{
	MDB_val k = { 0 };

	assert(t->cursors[table]);
	return move(t, table, &k, MDB_NEXT, ret_key, ret_value);
}

int store_seek_back(struct store_txn *t, enum store_table table, struct slice before, struct slice *ret_key,
		    struct slice *ret_value)
{
	MDB_val k = to_val(before);
	int rc;

	if (before.size == 0)
		return move(t, table, &k, MDB_LAST, ret_key, ret_value);
	rc = move(t, table, &k, MDB_SET_RANGE, ret_key, ret_value);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	k = (MDB_val){ 0 };
	return move(t, table, &k, rc == 0 ? MDB_PREV : MDB_LAST, ret_key, ret_value);
}

int store__count_tables(struct store_txn *t, int64_t *ret)
{
	MDB_stat stat;
	MDB_dbi main;
	int rc;

	rc = mdb_dbi_open(t->txn, NULL, 0, &main);
	if (rc == 0)
		rc = mdb_stat(t->txn, main, &stat);
	if (rc == 0)
		*ret = (int64_t)stat.ms_entries;
	return store__translate(rc);
}

int store_count(struct store_txn *t, enum store_table table, int64_t *ret)
{
	MDB_stat stat;
	int rc = mdb_stat(t->txn, t->store->tables[table], &stat);

	if (rc == 0)
		*ret = (int64_t)stat.ms_entries;
	return store__translate(rc);
}
