/* check.h: proves the invariants from the files alone.
 *
 * What is proved first: the structure of the records file, see store/pages.h, for LMDB may not survive to read one that
 * is damaged. Where there is a breach of that kind, nothing else is looked at. Then: every record and every file of an
 * artifact by its checksum; that no record stands under another's key (own_key.h); the invariants at the head of job.c;
 * that every job has its input and nothing stands without its job; that the ready and due indexes, the queues' counts
 * and bytes, the names, the idempotency keys and the list of files say what the jobs' records say, entry by entry; that
 * every file is there, whole, and named once; that link.key, where it is there, is the secret whose fingerprint the
 * records know. So any bit of any key that flipped is found. Nothing is changed.
 *
 * The structure is proved as of one commit, in a read transaction of its own, beside a broker's writer too: no page
 * that such a transaction can reach is written before it ends, and which commit it sees is read while that is the last
 * one. A broker reads its map meanwhile as ever: what keeps it from being the one that LMDB ends is told in store.h.
 *
 * The records are read in one read transaction, the files after it, held against removal: so it may run beside a
 * broker's writer, on any other thread. It takes as long as it takes to read everything.
 */
#ifndef RAINCHECK_UPKEEP_CHECK_H
#define RAINCHECK_UPKEEP_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "server/store/blob.h"
#include "server/store/store.h"

enum check_kind {
	CHECK_BREACH, /* something is not as it must be */
	CHECK_DAMAGE, /* the same, and it is a part of one job alone: its record, input, checkpoint, artifact or file */
	CHECK_SET_ASIDE, /* a job whose record is damaged, which the broker has found and set aside */
	CHECK_NOTICE	 /* nothing is wrong, but somebody may want to know: a file that no record names */
};

struct check_options {
	struct store *store;
	struct blob_store *blobs;
	/* Told each finding, one line without a newline. May be NULL. */
	void (*report)(void *user, enum check_kind kind, const char *line);
	/* Told now and then how far it is. May be NULL. */
	void (*progress)(void *user, const char *what, int64_t done, int64_t total);
	/* Asked often: true makes it give up. May be NULL. */
	bool (*canceled)(void *user);
	void *user;
};

struct check_result {
	int64_t jobs;
	int64_t artifacts;
	int64_t breaches; /* the damage included */
	int64_t damaged;  /* how much of that is damage of one job alone */
	int64_t set_aside;
	int64_t notices;
};

/* *ret.breaches is 0 where all is well. Negative only where the check itself could not go on: the store's errors,
 * ERR_NO_MEMORY, ERR_CANCELED. */
int check_store(const struct check_options *options, struct check_result *ret);

/* The same for whoever wants the breaches alone. */
int check_run(struct store *s, struct blob_store *bs, void (*report)(void *user, const char *line), void *user,
	      int64_t *ret_breaches);

#endif
