/* How much room there is, in the map and on the disk. */
#include <string.h>
#include <sys/statvfs.h>

#include "server/store/store_priv.h"

int store__info(MDB_env *env, struct store_info *ret)
{
	MDB_envinfo info;
	MDB_stat stat;
	int rc;

	rc = mdb_env_info(env, &info);
	if (rc == 0)
		rc = mdb_env_stat(env, &stat);
	if (rc != 0)
		return store__translate(rc);
	if (info.me_last_pgno >= info.me_mapsize / stat.ms_psize)
		return ERR_CORRUPT;
	ret->used_bytes = (int64_t)(info.me_last_pgno + 1) * stat.ms_psize;
	ret->max_bytes = (int64_t)info.me_mapsize;
	return 0;
}

int store_info(struct store *s, struct store_info *ret)
{
	int rc = store__enter(s);

	if (rc < 0)
		return rc;
	rc = store__info(s->env, ret);
	store__leave(s);
	return rc;
}

static int64_t smaller(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Bytes inside the file that hold nothing, as of the last commit: LMDB lists the pages by the transaction that freed
 * them. Those that somebody may still read are not used again before he is done. */
static int count_free(MDB_env *env, size_t oldest_reader, int64_t *ret)
{
	const MDB_dbi free_list = 0;
	MDB_cursor *c = NULL;
	int64_t pages = 0;
	MDB_val k, v;
	MDB_txn *txn;
	MDB_stat stat;
	int rc;

	rc = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);
	if (rc != 0)
		return store__translate(rc);
	rc = mdb_cursor_open(txn, free_list, &c);
	while (rc == 0) {
		size_t listed, freed_by;

		rc = mdb_cursor_get(c, &k, &v, MDB_NEXT);
		if (rc != 0)
			break;
		memcpy(&freed_by, k.mv_data, sizeof(freed_by));
		if (freed_by >= oldest_reader)
			break;
		memcpy(&listed, v.mv_data, sizeof(listed));
		pages += (int64_t)listed;
	}
	if (c)
		mdb_cursor_close(c);
	mdb_txn_abort(txn);
	if (rc == MDB_NOTFOUND || rc == 0)
		rc = mdb_env_stat(env, &stat);
	if (rc != 0)
		return store__translate(rc);
	*ret = pages * stat.ms_psize;
	return 0;
}

int64_t store__disk_room(const struct store *s, int64_t *ret_tenth)
{
	struct statvfs fs;

	if (fstatvfs(s->lock_fd, &fs) < 0)
		return *ret_tenth = INT64_MAX;
	*ret_tenth = (int64_t)(fs.f_blocks * fs.f_frsize / 10);
	return (int64_t)(fs.f_bavail * fs.f_frsize);
}

int store_room(struct store *s, int64_t enough, int64_t *ret_bytes)
{
	int64_t room, ignored, unused = 0;
	struct store_info info;
	int rc;

	rc = store__enter(s);
	if (rc < 0)
		return rc;
	rc = store__info(s->env, &info);
	room = rc < 0 ? 0 : smaller(info.max_bytes - info.used_bytes, store__disk_room(s, &ignored));
	if (rc == 0 && room < enough)
		rc = count_free(s->env, store__oldest_reader(s), &unused);
	store__leave(s);
	if (rc == 0)
		*ret_bytes = room + unused;
	return rc;
}

int64_t store_auto_reserve(struct store *s)
{
	struct store_info info;
	int64_t reserve = 256 << 20, tenth;

	store__disk_room(s, &tenth);
	reserve = smaller(reserve, tenth);
	return store_info(s, &info) < 0 ? reserve : smaller(reserve, info.max_bytes / 10);
}
