/* store.h: the seam between the engine and the disk: ordered tables of bytes under transactions.
 *
 * Above this line nobody knows LMDB. One write transaction at a time, from begin to end on one thread (the writer's);
 * read transactions on any thread, each used by one thread at a time, each a consistent picture of the last commit.
 * Values handed out point into the map: they hold until the next write of the same transaction or its end. A read
 * transaction must be short: while it is open, pages it might need are not reused; a backup or a check holds one for as
 * long as it takes, and store_room() counts that.
 *
 * Errors: ERR_STORE_FULL (map or disk full), ERR_STORE_ERROR (the disk failed; store_error_detail() says how),
 * ERR_NO_MEMORY. After any of them in a write transaction only store_abort() may follow.
 *
 * A damaged page costs no more than it must. Each is proved before LMDB comes near it (store_way.c), and one that is
 * damaged is logged once, with its table and number. What stands there cannot be read: store_get() says ERR_CORRUPT,
 * and the transaction goes on as if it had not asked. Whoever walks there, or changes something there or right beside,
 * gets ERR_STORE_ERROR, and store_error_is_damage() says why: nothing was done, and what else there is can still be
 * read. A value that its page does not hold whole is not handed out: ERR_CORRUPT, and whoever walks gets the key with
 * an empty value, which is no record. Where only the size of a value is damaged it is put right, in a write
 * transaction, before anything of its page is changed. A leaf of the jobs or the inputs that a write transaction needs
 * is made anew where it can be (store_renew.c), or once nobody reads: see store_waits().
 */
#ifndef RAINCHECK_STORE_H
#define RAINCHECK_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/slice.h"
#include "proto/error.h"

struct pages_options;
struct store;
struct store_txn;

/* Keys and values: keys.h and records.h. Of whichever key a bit flips, what stands in the tables tells (check.h): the
 * records of jobs and queues say what keys there must be in most tables, in the others a record holds its own. */
enum store_table {
	TABLE_META,	   /* word → bytes */
	TABLE_QUEUES,	   /* queue number → queue record */
	TABLE_NAMES,	   /* queue name → queue number */
	TABLE_JOBS,	   /* job id → job record: all that changes in a job's life */
	TABLE_INPUTS,	   /* job id → input record: all that the put said, payload included; never changes */
	TABLE_CHECKPOINTS, /* job id → checkpoint */
	TABLE_READY,	   /* (queue, priority, tag, job id) → nothing: the order of leasing */
	TABLE_DUE,	   /* (moment, job id) → due value: when somebody must look at the job next */
	TABLE_IDEMPOTENCY, /* (queue, idempotency key) → job id */
	TABLE_ARTIFACTS,   /* (job id, name) → artifact record, small bytes included */
	TABLE_BLOBS,	   /* blob id → job id: which blob files are in use */
	TABLE_TOMBSTONES,  /* job id → tombstone */
	TABLE_SET_ASIDE, /* job id → moment its record was found damaged: no index leads to it, no queue counts it */
	TABLE_LIMITS,	 /* limit name → limit record */
	TABLE_GROUPS,	 /* (queue, priority, group) → the group's finish tag in that line, where it matters */
	TABLE_WEIGHTS,	 /* (queue, 0, group) → the group's weight in that queue, where an operator gave one */
	TABLE_HOOKS,	 /* job id → which hooks came for it */
	TABLE_HOOK_BODIES, /* (job id, number) → a hook that no attempt has taken yet */
	STORE_TABLES
};

struct store_options {
	const char *dir;   /* the data directory; made if it is not there */
	int64_t max_bytes; /* address space for the map: its size can never pass this */
	bool read_only;	   /* for looking at a directory that no broker uses; nothing is made or changed */
	/* Told what takes long while opening, a migration, on the thread that opens; and of damage that was put right,
	 * on that of the write transactions. May be NULL. */
	void (*notice)(void *user, const char *line);
	void *notice_user;
	/* With read_only: the file's structure is proved (pages.h) before anything is read of it through the map, which
	 * a damaged one may not survive. NULL: it is not. */
	const struct pages_options *prove;
};

/* What store_info() tells. */
struct store_info {
	int64_t used_bytes; /* pages in use, of the last commit */
	int64_t max_bytes;
};

/* Takes the directory for this process. Where it is to be written, the lists that a writer relies on are proved
 * (pages_check_lists()): a few pages. ERR_CONFLICT when another broker has it, ERR_UNSUPPORTED_VERSION for a format
 * newer than this program, ERR_IO where the directory cannot be used, ERR_CORRUPT where the file is damaged, by its
 * length or as far as it is proved; info says which file and why. */
int store_open(const struct store_options *options, struct store **ret, struct error_info *info);
/* No transaction may be open. NULL is taken. */
void store_close(struct store *s);

/* Bytes that may still be written before map or disk are full. Counting what is free inside the file takes a moment, so
 * that is done only where there may be fewer than enough: then the number is exact, else it is at least enough. */
int store_room(struct store *s, int64_t enough, int64_t *ret_bytes);
/* A reserve that fits the map and the disk: the smaller of 256 MiB and a tenth of either. */
int64_t store_auto_reserve(struct store *s);

const char *store_dir(const struct store *s);
int store_info(struct store *s, struct store_info *ret);
/* What the last failing call of this thread ran into, for a log line. */
const char *store_error_detail(void);

/* Whether it was a page whose content makes no sense, and not a disk that may do better next time. */
bool store_error_is_damage(void);

int store_begin_write(struct store *s, struct store_txn **ret);
int store_begin_read(struct store *s, struct store_txn **ret);
/* Returns after the disk has it; the transaction is gone in any case, and on an error so is all that it wrote. */
int store_commit(struct store_txn *t);
/* Of the last commit, where that failed: whether the disk may have it all the same. Thread of the write transactions.
 */
bool store_uncertain(const struct store *s);
/* The file is to be opened anew, which is waited with until the last reader has left: whoever holds a read transaction
 * for long asks now and then, and gives up. Any thread. */
bool store_is_shut(struct store *s);
/* NULL is taken. Ends read transactions too. */
void store_abort(struct store_txn *t);
/* For _cleanup_. */
static inline void store_abortp(struct store_txn **t)
{
	store_abort(*t);
}

/* ERR_NOT_FOUND where there is no such key; ERR_CORRUPT where its value cannot be read. */
int store_get(struct store_txn *t, enum store_table table, struct slice key, struct slice *ret);
/* After ERR_CORRUPT of the transaction's last store_get(), or ERR_STORE_ERROR of damage from whatever was its last
 * call: whether it may be done once nobody reads, for what is in the way is made anew then. */
bool store_waits(const struct store_txn *t);
/* Whether somebody reads right now, who may keep others waiting in that way. Any thread. */
bool store_is_read(struct store *s);
/* Sets or replaces. */
int store_put(struct store_txn *t, enum store_table table, struct slice key, struct slice value);
/* The same for a key above every key of the table, as when a table is copied in order: the pages are filled.
 * ERR_CORRUPT where it is not above. */
int store_append(struct store_txn *t, enum store_table table, struct slice key, struct slice value);
/* Whether the last store_append() to any table was refused for a damaged page that cannot be made anew, or not for a
 * while since somebody reads, so that no new job can be put; until one can be, or the page was made anew. Any thread.
 */
bool store_is_barred(const struct store *s);
/* store_put(), and the value's size bytes are for the caller to fill before the next call. */
int store_reserve(struct store_txn *t, enum store_table table, struct slice key, size_t size, void **ret);
/* ERR_NOT_FOUND where there is no such key. */
int store_delete(struct store_txn *t, enum store_table table, struct slice key);

/* The first entry whose key is not below from (the very first for an empty one). ERR_NOT_FOUND past the last. */
int store_seek(struct store_txn *t, enum store_table table, struct slice from, struct slice *ret_key,
	       struct slice *ret_value);
/* The entry after the one that the last store_seek() or store_next() of this table gave; nothing may have been written
 * to the table in between. ERR_NOT_FOUND past the last. */
int store_next(struct store_txn *t, enum store_table table, struct slice *ret_key, struct slice *ret_value);
/* The last entry whose key is below before (the very last for an empty one). ERR_NOT_FOUND where there is none. */
int store_seek_back(struct store_txn *t, enum store_table table, struct slice before, struct slice *ret_key,
		    struct slice *ret_value);
/* Entries in the table. */
int store_count(struct store_txn *t, enum store_table table, int64_t *ret);

#endif
