/* store_priv.h: what the files of the store on LMDB share. Included in server/store alone. */
#ifndef RAINCHECK_STORE_PRIV_H
#define RAINCHECK_STORE_PRIV_H

#include <lmdb.h>
#include <pthread.h>

#include "server/store/pages.h"
#include "server/store/store.h"

struct store {
	char *dir;
	int64_t max_bytes;
	bool read_only;
	int lock_fd; /* holding the flock that makes the directory ours */
	MDB_env *env;
	MDB_dbi tables[STORE_TABLES];
	bool uncertain;				      /* see store_uncertain() */
	void (*notice)(void *user, const char *line); /* see store_options */
	void *notice_user;
	bool proved; /* the file's structure, before it was opened for reading only: pages says what was found */
	struct pages_result pages;

	/* Where the file is mapped; NULL where that is not known. See store_guard.c. */
	const uint8_t *map;
	size_t map_bytes;
	uint32_t page_size;

	/* The environment is closed and opened anew by the writer, see store__reopen(), while nobody else is inside. */
	pthread_mutex_t lock;	   /* guards what follows */
	int inside;		   /* users of env besides the writer's transaction */
	struct store_txn *readers; /* those of them that read */
	bool shut;		   /* env is being opened anew, or could not be */
};

/* LMDB's codes, and the errno values among them, as ours; kept for store_error_detail(). */
int store__translate(int rc);

/* Around every use of env but the writer's transactions. ERR_STORE_ERROR while there is none. */
int store__enter(struct store *s);
/* The commit that the oldest reader sees; SIZE_MAX where nobody reads. */
size_t store__oldest_reader(struct store *s);
void store__leave(struct store *s);

/* LMDB gives an environment up (MDB_PANIC) when the page that names a commit could not be written: whether that commit
 * is on the disk is only known by reading it again. This does so. The writer's thread, without a transaction.
 * ERR_STORE_ERROR while it cannot be done, for somebody reads or the disk still fails: to be tried again. */
int store__reopen(struct store *s);

/* The table's name in the file. */
const char *store__table_name(enum store_table table);
/* The commit that a read transaction sees. */
uint64_t store__txn_id(const struct store_txn *t);

/* Begins without trying to open anew. */
int store__begin(struct store *s, unsigned flags, struct store_txn **ret);
/* The table's handle for this environment, made where it is not there. */
int store__open_table(struct store_txn *t, enum store_table table, bool read_only);

/* How many tables are in the file, whatever their names. */
int store__count_tables(struct store_txn *t, int64_t *ret);

/* ERR_CORRUPT where the file has been cut short, by a copy that was not finished for instance: reading on would end the
 * process where the map ends. While opening, before other threads use env. */
int store__check_length(MDB_env *env, const char *path, struct error_info *info);

/* Finds where the map begins, so that the two below can judge. With all tables open, before other threads use env. */
int store__guard(struct store *s);
/* Whether the value can be read from its first byte to its last, as far as that is known. key is LMDB's own, beside
 * which most values stand; NULL in a read transaction. */
bool store__holds(const struct store *s, enum store_table table, const MDB_val *key, MDB_val v);
bool store__holds_key(const struct store *s, MDB_val key);
/* Whether the entry at the cursor, whose key and value are LMDB's own, can be removed or replaced without harm to
 * others, after it was put right if need be. The cursor was led there by the whole key. MDB_CORRUPTED; LMDB's codes. */
int store__may_change(const struct store *s, enum store_table table, MDB_cursor *c, MDB_val key, MDB_val value);

/* Pages that the last commit of env uses. */
int store__info(MDB_env *env, struct store_info *ret);

/* Bytes that an unprivileged process may still take of the disk; a tenth of all there are in *ret_tenth. */
int64_t store__disk_room(const struct store *s, int64_t *ret_tenth);

#endif
