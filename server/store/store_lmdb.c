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
#include <fcntl.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "proto/base/clean.h"
#include "server/store/keys.h"

#define FORMAT_VERSION	1
#define MAX_READERS	512
#define NEW_FILE_PAGES	2
#define FULL_DISK_BYTES (1 << 20) /* less than this is a full disk */

struct store {
	char *dir;
	int lock_fd; /* holding the flock that makes the directory ours */
	MDB_env *env;
	MDB_dbi tables[STORE_TABLES];
};

#ifdef RAINCHECK_CHECKED
/* A checked build hands out copies in a write transaction, and frees them with its next write: so a sanitizer sees who
 * uses a value for longer than store.h allows. LMDB itself would mostly let it pass. */
struct handed {
	struct handed *next;
	unsigned char bytes[];
};
#endif

struct store_txn {
	struct store *store;
	MDB_txn *txn;
	MDB_cursor *cursors[STORE_TABLES]; /* opened when first used */
#ifdef RAINCHECK_CHECKED
	bool writes;
	struct handed *handed;
#endif
};

static const char *const table_names[STORE_TABLES] = {
	[TABLE_META] = "meta",	   [TABLE_QUEUES] = "queues",		[TABLE_JOBS] = "jobs",
	[TABLE_INPUTS] = "inputs", [TABLE_CHECKPOINTS] = "checkpoints", [TABLE_READY] = "ready",
	[TABLE_DUE] = "due",	   [TABLE_IDEMPOTENCY] = "idempotency", [TABLE_ARTIFACTS] = "artifacts",
	[TABLE_BLOBS] = "blobs",   [TABLE_TOMBSTONES] = "tombstones",
};

static _Thread_local int last_error;

const char *store_error_detail(void)
{
	return last_error ? mdb_strerror(last_error) : "no error";
}

/* LMDB's codes, and the errno values among them, as ours. */
static int translate(int rc)
{
	if (rc == 0)
		return 0;
	if (rc == MDB_NOTFOUND)
		return ERR_NOT_FOUND;
	last_error = rc;
	switch (rc) {
	case MDB_MAP_FULL:
	case MDB_TXN_FULL:
	case ENOSPC:
	case EDQUOT:
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

/* ---- opening ---- */

static int path_of(const struct store *s, const char *name, char *ret, size_t size, struct error_info *info)
{
	int n = snprintf(ret, size, "%s/%s", s->dir, name);

	if (n < 0 || (size_t)n >= size)
		return error_set(info, ERR_IO, NULL, "the data directory's name is too long");
	return 0;
}

/* A file whose name a power cut takes is lost however well it was synced itself. */
static int sync_names(struct store *s, const char *where, struct error_info *info)
{
	char path[4096];
	int fd, rc;

	rc = path_of(s, where, path, sizeof(path), info);
	if (rc < 0)
		return rc;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* The folder above may be closed to us; then nothing can be done. */
	if (fd < 0 && errno == EACCES)
		return 0;
	if (fd < 0 || fsync(fd) < 0)
		rc = error_set(info, ERR_IO, NULL, "cannot sync %s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return rc;
}

static int take_directory(struct store *s, bool read_only, struct error_info *info)
{
	bool made = !read_only && mkdir(s->dir, 0700) == 0;
	char path[4096];
	int rc;

	if (!read_only && !made && errno != EEXIST)
		return error_set(info, ERR_IO, NULL, "cannot make the data directory %s: %s", s->dir, strerror(errno));
	rc = made ? sync_names(s, "..", info) : 0;
	if (rc == 0)
		rc = path_of(s, "lock", path, sizeof(path), info);
	if (rc < 0)
		return rc;
	s->lock_fd = open(path, read_only ? O_RDONLY | O_CLOEXEC : O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (s->lock_fd < 0)
		return error_set(info, ERR_IO, NULL, "cannot open %s: %s", path, strerror(errno));
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return error_set(info, ERR_CONFLICT, NULL, "another raincheckd uses the data directory %s", s->dir);
	return 0;
}

/* A file cut short, by a copy that was not finished for instance, would end the process where the map ends. */
static int check_length(struct store *s, const char *path, struct error_info *info)
{
	struct store_info used;
	struct stat st;
	int rc;

	rc = store_info(s, &used);
	if (rc < 0)
		return error_set(info, rc, NULL, "cannot read %s: %s", path, store_error_detail());
	if (stat(path, &st) < 0)
		return error_set(info, ERR_IO, NULL, "cannot look at %s: %s", path, strerror(errno));
	/* A new file has no pages yet but the two that say so. */
	if (used.used_bytes > NEW_FILE_PAGES * (int64_t)sysconf(_SC_PAGESIZE) && st.st_size < used.used_bytes)
		return error_set(info, ERR_CORRUPT, NULL, "%s is cut short: it has %lld bytes of %lld", path,
				 (long long)st.st_size, (long long)used.used_bytes);
	return 0;
}

static int open_env(struct store *s, const struct store_options *o, struct error_info *info)
{
	/* The flock above keeps other processes out, so a reader needs no lock file of LMDB's. */
	unsigned flags = MDB_NOSUBDIR | MDB_NOTLS | MDB_NORDAHEAD | (o->read_only ? MDB_RDONLY | MDB_NOLOCK : 0u);
	char path[4096];
	int rc;

	rc = path_of(s, "raincheck.mdb", path, sizeof(path), info);
	if (rc < 0)
		return rc;
	rc = mdb_env_create(&s->env);
	if (rc == 0)
		rc = mdb_env_set_maxdbs(s->env, STORE_TABLES);
	if (rc == 0)
		rc = mdb_env_set_maxreaders(s->env, MAX_READERS);
	if (rc == 0)
		rc = mdb_env_set_mapsize(s->env, (size_t)o->max_bytes);
	if (rc == 0)
		rc = mdb_env_open(s->env, path, flags, 0600);
	if (rc != 0)
		return error_set(info, translate(rc), NULL, "cannot open %s: %s", path, mdb_strerror(rc));
	return check_length(s, path, info);
}

/* The version of what is stored: an empty file gets ours, a newer one is left alone. */
static int check_format(struct store_txn *t, bool read_only, struct error_info *info)
{
	struct key key = key_word("format");
	uint32_t version = FORMAT_VERSION;
	struct slice value;
	int rc;

	rc = store_get(t, TABLE_META, key_slice(&key), &value);
	if (rc == ERR_NOT_FOUND && !read_only)
		return store_put(t, TABLE_META, key_slice(&key), slice_of(&version, sizeof(version)));
	if (rc < 0)
		return rc;
	if (value.size != sizeof(version))
		return error_set(info, ERR_CORRUPT, NULL, "the format version in the data directory is damaged");
	memcpy(&version, value.data, sizeof(version));
	if (version > FORMAT_VERSION)
		return error_set(info, ERR_UNSUPPORTED_VERSION, NULL,
				 "the data directory has format %u, this program knows formats up to %d", version,
				 FORMAT_VERSION);
	return 0;
}

static int open_tables(struct store *s, bool read_only, struct error_info *info)
{
	_cleanup_(store_abortp) struct store_txn *t = NULL;
	int rc;

	rc = read_only ? store_begin_read(s, &t) : store_begin_write(s, &t);
	for (int i = 0; rc == 0 && i < STORE_TABLES; i++)
		rc = translate(mdb_dbi_open(t->txn, table_names[i], read_only ? 0 : MDB_CREATE, &s->tables[i]));
	if (rc == 0)
		rc = check_format(t, read_only, info);
	/* A reader's handles outlive its transaction only if that one is committed too. */
	if (rc == 0)
		rc = store_commit(TAKE_PTR(t));
	if (rc < 0 && info->code == 0)
		error_set(info, rc, NULL, "cannot read the store in %s: %s", s->dir, store_error_detail());
	return rc;
}

int store_open(const struct store_options *options, struct store **ret, struct error_info *info)
{
	struct store *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return error_set(info, ERR_NO_MEMORY, NULL, "%s", error_text(ERR_NO_MEMORY));
	info->code = 0;
	s->lock_fd = -1;
	s->dir = strdup(options->dir);
	rc = s->dir ? take_directory(s, options->read_only, info) : ERR_NO_MEMORY;
	if (rc == 0)
		rc = open_env(s, options, info);
	if (rc == 0)
		rc = open_tables(s, options->read_only, info);
	if (rc == 0 && !options->read_only)
		rc = sync_names(s, ".", info);
	if (rc < 0) {
		store_close(s);
		return rc;
	}
	*ret = s;
	return 0;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	if (s->env)
		mdb_env_close(s->env);
	/* Closing the descriptor lets the lock go; the file stays, or another process might lock one that is unlinked.
	 */
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	free(s->dir);
	free(s);
}

const char *store_dir(const struct store *s)
{
	return s->dir;
}

int store_info(struct store *s, struct store_info *ret)
{
	MDB_envinfo info;
	MDB_stat stat;
	int rc;

	rc = mdb_env_info(s->env, &info);
	if (rc == 0)
		rc = mdb_env_stat(s->env, &stat);
	if (rc != 0)
		return translate(rc);
	ret->used_bytes = (int64_t)(info.me_last_pgno + 1) * stat.ms_psize;
	ret->max_bytes = (int64_t)info.me_mapsize;
	return 0;
}

/* ---- room ---- */

static int64_t smaller(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Pages inside the file that hold nothing, as of the last commit: LMDB lists them by the transaction that freed them.
 */
static int count_free_pages(struct store *s, int64_t *ret)
{
	const MDB_dbi free_list = 0;
	MDB_cursor *c = NULL;
	MDB_val k, v;
	MDB_txn *txn;
	int rc;

	*ret = 0;
	rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn);
	if (rc != 0)
		return translate(rc);
	rc = mdb_cursor_open(txn, free_list, &c);
	while (rc == 0) {
		size_t pages;

		rc = mdb_cursor_get(c, &k, &v, MDB_NEXT);
		if (rc != 0)
			break;
		memcpy(&pages, v.mv_data, sizeof(pages));
		*ret += (int64_t)pages;
	}
	if (c)
		mdb_cursor_close(c);
	mdb_txn_abort(txn);
	return rc == MDB_NOTFOUND ? 0 : translate(rc);
}

/* Bytes that an unprivileged process may still take of the disk; a tenth of all there are in *ret_tenth. */
static int64_t disk_room(const struct store *s, int64_t *ret_tenth)
{
	struct statvfs fs;

	if (fstatvfs(s->lock_fd, &fs) < 0)
		return *ret_tenth = INT64_MAX;
	*ret_tenth = (int64_t)(fs.f_blocks * fs.f_frsize / 10);
	return (int64_t)(fs.f_bavail * fs.f_frsize);
}

int store_room(struct store *s, int64_t enough, int64_t *ret_bytes)
{
	struct store_info info;
	int64_t room, pages, ignored;
	MDB_stat stat;
	int rc;

	rc = store_info(s, &info);
	if (rc < 0)
		return rc;
	room = smaller(info.max_bytes - info.used_bytes, disk_room(s, &ignored));
	if (room < enough) {
		rc = count_free_pages(s, &pages);
		if (rc < 0)
			return rc;
		mdb_env_stat(s->env, &stat);
		room += pages * stat.ms_psize;
	}
	*ret_bytes = room;
	return 0;
}

int64_t store_auto_reserve(struct store *s)
{
	struct store_info info;
	int64_t reserve = 256 << 20, tenth;

	disk_room(s, &tenth);
	reserve = smaller(reserve, tenth);
	return store_info(s, &info) < 0 ? reserve : smaller(reserve, info.max_bytes / 10);
}

/* ---- transactions ---- */

static int begin(struct store *s, unsigned flags, struct store_txn **ret)
{
	struct store_txn *t = calloc(1, sizeof(*t));
	int rc;

	if (!t)
		return ERR_NO_MEMORY;
	t->store = s;
	rc = mdb_txn_begin(s->env, NULL, flags, &t->txn);
	if (rc != 0) {
		free(t);
		return translate(rc);
	}
#ifdef RAINCHECK_CHECKED
	t->writes = !(flags & MDB_RDONLY);
#endif
	*ret = t;
	return 0;
}

int store_begin_write(struct store *s, struct store_txn **ret)
{
	return begin(s, 0, ret);
}

int store_begin_read(struct store *s, struct store_txn **ret)
{
	return begin(s, MDB_RDONLY, ret);
}

static void close_cursors(struct store_txn *t)
{
	for (int i = 0; i < STORE_TABLES; i++)
		if (t->cursors[i])
			mdb_cursor_close(t->cursors[i]);
}

int store_commit(struct store_txn *t)
{
	int64_t ignored;
	int rc;

	close_cursors(t);
	take_back(t);
	rc = mdb_txn_commit(t->txn);
	/* A write that the disk had no room for whole comes back as an I/O error. */
	if (rc == EIO && disk_room(t->store, &ignored) < FULL_DISK_BYTES)
		rc = ENOSPC;
	free(t);
	return translate(rc);
}

void store_abort(struct store_txn *t)
{
	if (!t)
		return;
	close_cursors(t);
	take_back(t);
	mdb_txn_abort(t->txn);
	free(t);
}

/* ---- tables ---- */

int store_get(struct store_txn *t, enum store_table table, struct slice key, struct slice *ret)
{
	MDB_val k = to_val(key), v;
	int rc = mdb_get(t->txn, t->store->tables[table], &k, &v);

	if (rc != 0)
		return translate(rc);
	*ret = to_slice(v);
	return hand_out(t, ret);
}

int store_put(struct store_txn *t, enum store_table table, struct slice key, struct slice value)
{
	MDB_val k = to_val(key), v = to_val(value);

	int rc = mdb_put(t->txn, t->store->tables[table], &k, &v, 0);

	take_back(t);
	return translate(rc);
}

int store_reserve(struct store_txn *t, enum store_table table, struct slice key, size_t size, void **ret)
{
	MDB_val k = to_val(key), v = { .mv_size = size };
	int rc = mdb_put(t->txn, t->store->tables[table], &k, &v, MDB_RESERVE);

	take_back(t);
	if (rc == 0)
		*ret = v.mv_data;
	return translate(rc);
}

int store_delete(struct store_txn *t, enum store_table table, struct slice key)
{
	MDB_val k = to_val(key);
	int rc = mdb_del(t->txn, t->store->tables[table], &k, NULL);

	take_back(t);
	return translate(rc);
}

static int cursor_of(struct store_txn *t, enum store_table table, MDB_cursor **ret)
{
	if (!t->cursors[table]) {
		int rc = mdb_cursor_open(t->txn, t->store->tables[table], &t->cursors[table]);

		if (rc != 0)
			return translate(rc);
	}
	*ret = t->cursors[table];
	return 0;
}

static int move(struct store_txn *t, enum store_table table, MDB_val *k, MDB_cursor_op op, struct slice *ret_key,
		struct slice *ret_value)
{
	MDB_cursor *c = NULL;
	MDB_val v;
	int rc;

	rc = cursor_of(t, table, &c);
	if (rc < 0)
		return rc;
	rc = mdb_cursor_get(c, k, &v, op);
	if (rc != 0)
		return translate(rc);
	*ret_key = to_slice(*k);
	*ret_value = to_slice(v);
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

int store_count(struct store_txn *t, enum store_table table, int64_t *ret)
{
	MDB_stat stat;
	int rc = mdb_stat(t->txn, t->store->tables[table], &stat);

	if (rc == 0)
		*ret = (int64_t)stat.ms_entries;
	return translate(rc);
}
