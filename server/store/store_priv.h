/* store_priv.h: what the files of the store on LMDB share. Included in server/store alone. */
#ifndef RAINCHECK_STORE_PRIV_H
#define RAINCHECK_STORE_PRIV_H

#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>

#include "server/store/pages.h"
#include "server/store/pages_format.h"
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
	bool any_number; /* see pages_options.for_copy */
	bool proved;	 /* the file's structure, before it was opened for reading only: pages says what was found */
	struct pages_result pages;

	/* Where the file is mapped; NULL where that is not known. See store_guard.c. */
	const uint8_t *map;
	size_t map_bytes;
	uint32_t page_size;
	/* A bit for each page of the map: proved, see store_way.c, and told to be damaged. Any thread. */
	_Atomic uint64_t *proved_pages, *told_pages;
	_Atomic uint64_t file_pages;	/* there were, when that was last looked at */
	_Atomic uint32_t barred;	/* see store_is_barred(): a bit for each table */
	uint32_t put_off[STORE_TABLES]; /* so many appends in a row, while somebody reads; the writer's */
	uint32_t commits;		/* since the bits of proved pages were cleared; the writer's */

	/* The environment is closed and opened anew by the writer, see store__reopen(), while nobody else is inside. */
	pthread_mutex_t lock;	   /* guards what follows */
	int inside;		   /* users of env besides the writer's transaction */
	struct store_txn *readers; /* those of them that read */
	bool shut;		   /* env is being opened anew, or could not be */
};

/* The first 16 bytes of a key, with zeros behind a shorter one, as numbers that compare as keys do: but for keys that
 * begin alike. */
struct key_start {
	uint64_t first, second;
};

/* The keys that lead to one leaf of a commit, whose way from the root is proved. */
struct store_way {
	struct slice low, high; /* from low on, below high; in the map. Without data: there is no such bound */
	struct key_start low_start, high_start;
	const uint8_t *leaf;  /* NULL: this says nothing yet */
	int64_t beside_until; /* so are the pages that a change there might draw in, up to so many of the tree's */
};

#define STORE_WAYS 4 /* of a table: an index is often worked on at two places in turn, among groups at more */

/* A table as of a commit. */
struct store_tree {
	bool known, empty;
	uint8_t turn; /* the way that gives way next */
	uint16_t depth;
	uint64_t root;	       /* PAGE_NONE: the table is empty */
	int64_t changes;       /* in this transaction, at most */
	struct store_way *hit; /* of the key that was last asked for */
	struct store_way ways[STORE_WAYS];
};

/* An entry of which a page says a wrong size. */
struct store_odd {
	uint64_t page;
	struct slice key; /* in the map */
};

/* A page that a way could not go on to. */
struct store_fault {
	enum store_table table;
	uint64_t page;
	bool leaf;		/* where it stands, whatever it is */
	struct slice low, high; /* of the keys that lead there, as of struct store_way */
};

#define STORE_MENDED 8 /* pages that are mended in one transaction, at most */
#define STORE_ODD    MDB_BAD_VALSIZE

/* A transaction's ways through the commit that it sees; or, where it writes, that it began with. */
struct store_ways {
	struct store *store; /* NULL: nothing is proved, for it is not known where the map is */
	bool writes;
	uint64_t last_page;
	struct store_odd odd;	       /* to be put right first: what STORE_ODD is about */
	struct store_fault fault;      /* what the last MDB_CORRUPTED or STORE_ODD was about */
	uint64_t mended[STORE_MENDED]; /* pages of which the one odd entry was put right in this transaction */
	int mended_count;
	struct store_tree main;
	struct store_tree tables[STORE_TABLES];
};

/* A transaction, and what it has of its own besides LMDB's. */
struct store_txn {
	struct store *store;
	MDB_txn *txn;
	bool writes;
	bool waits;			/* see store_waits() */
	struct store_txn *next, **link; /* of the store's readers */
	/* Opened when first used: those that store_seek() and store_next() walk with, and in a write transaction those
	 * for single keys. LMDB begins at the cursor's page instead of the root where the key is on it, which it is for
	 * most keys of a batch. */
	MDB_cursor *cursors[STORE_TABLES];
	MDB_cursor *points[STORE_TABLES];
	MDB_val at[STORE_TABLES]; /* the key that a cursor for walking is at, LMDB's own */
	struct store_ways ways;
#ifdef RAINCHECK_CHECKED
	struct handed *handed; /* see store_lmdb.c */
#endif
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
bool store__holds(struct store *s, enum store_table table, const MDB_val *key, MDB_val v);
bool store__holds_key(struct store *s, MDB_val key);
/* Whether the entry, whose key and value are LMDB's own, can be removed or replaced without harm to others. A cursor
 * was led there by the whole key. MDB_CORRUPTED; LMDB's codes. */
int store__may_change(struct store *s, enum store_table table, MDB_val key, MDB_val value);

/* ---- store_way.c: LMDB is let near no page that is not proved. MDB_CORRUPTED, which is in the log then, where one is
 * damaged; the transaction is as it was. STORE_ODD where store__mend_odd() is to be called first. ---- */

/* Makes room for the bits. When the map has been found. */
int store__ways_init(struct store *s);
void store__ways_done(struct store *s);
/* txn: LMDB's number of the transaction. EAGAIN where the commit that a reader sees is too old already. */
int store__ways_begin(struct store *s, uint64_t txn, bool writes, struct store_ways *ret);
/* Puts the size of w->odd right. Of a transaction that writes; its cursors keep their places. MDB_CORRUPTED where it is
 * not known; LMDB's codes. */
int store__mend_odd(struct store_ways *w, MDB_txn *txn, enum store_table table);
/* store_renew.c: where w->fault is a leaf of the jobs or of the inputs, makes that anew. Of a transaction that writes;
 * what it has done stays done. MDB_CORRUPTED where it cannot be done, EBUSY where not while somebody reads; errno's
 * values. */
int store__renew(struct store_ways *w, enum store_table table);
/* Before anything is done with the key that does not look at its neighbours; before a search for it or the next one. */
int store__way_to(struct store_ways *w, enum store_table table, struct slice key);
int store__way_from(struct store_ways *w, enum store_table table, struct slice key);
/* The same for the table's first or last; key is nothing. */
int store__way_to_first(struct store_ways *w, enum store_table table, struct slice key);
int store__way_to_last(struct store_ways *w, enum store_table table, struct slice key);
/* Right after either, for the same key: before a step to its neighbours, or what may draw in the pages of those. */
int store__way_beside(struct store_ways *w, enum store_table table, struct slice key);

/* ---- store_change.c: the ways above, for an operation that comes next. ---- */

typedef int (*store_prove)(struct store_ways *w, enum store_table table, struct slice key);

/* Proves what an operation with the key will come upon. In a transaction that writes, what is odd there is put right
 * first, and a damaged leaf is made anew where it can be; t->waits is set where only somebody who reads is in the way
 * of that, else cleared. The errors of the way. */
int store__go(struct store_txn *t, enum store_table table, struct slice key, store_prove way);
/* The same before store_append(), and it is noted whether such are refused, see store_is_barred(). */
int store__go_to_append(struct store_txn *t, enum store_table table, struct slice key);

/* ---- store_guard.c and store_path.c: what a page, and an entry on it, is known to be. ---- */

/* That the keys of a table of records have; 0 where they have various, and for an index, of which an entry of another
 * size is dropped by whoever comes upon it. */
uint16_t store__key_size(enum store_table table);
/* Whether it is the size of its value that is wrong of an entry of which one of its sizes is. */
bool store__says_wrong_size(enum store_table table, const struct page_node *n);
/* Whether the entry at this key, which is LMDB's own, has its neighbours on its page and would leave enough on it to
 * stand by itself, were it removed. False where that is not known. */
bool store__stands_apart(const struct store *s, MDB_val key);
/* Whether the next entry is on the same page. False where that is not known. */
bool store__has_next_beside(const struct store *s, MDB_val key);
/* Whether the value is on pages of its own, and one of another size would take more or fewer. */
bool store__takes_other_pages(const struct store *s, MDB_val key, MDB_val value, size_t size);
/* Whether the page is in the file. */
bool store__is_in_file(struct store *s, uint64_t page);
/* The page, one of the map's, is whole again: it is told anew when it is damaged again. */
void store__forget_told(struct store *s, uint64_t page);
/* Once for each page, whoever finds it. name: of the table, or of the tree that is none (STORE_TABLES). */
void store__tell_damaged(struct store *s, enum store_table table, const char *name, uint64_t page, const char *fault);

/* Pages that the last commit of env uses. */
int store__info(MDB_env *env, struct store_info *ret);

/* Bytes that an unprivileged process may still take of the disk; a tenth of all there are in *ret_tenth. */
int64_t store__disk_room(const struct store *s, int64_t *ret_tenth);

#endif
