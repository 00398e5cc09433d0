/* compact.h: a data directory's records written anew, without free pages and without a byte of what was erased.
 *
 * It is also the way out of what flipped bits in keys do to a store, which keeps backups from being made: rows that
 * stand out of order are put where their keys belong, and where the check finds breaches the copy is mended as mend.h
 * says; of two rows under one key that one stays which proves to be in its place (server/store/copy_twice.h tells how
 * of jobs and inputs). Where pages are damaged that hold only what can be made anew (the list of free pages; the
 * indexes, idempotency keys, names of queues and the list of blobs), that is left out of the copy and made anew; a page
 * that only has another number than its own is read as it is. Damaged pages of anything else are refused: the first is
 * named. A fingerprint of the links' secret that differs from link.key's in a single bit is made anew. Damaged parts of
 * single jobs stay as they are, for the operator to look at and to erase.
 *
 * Nobody may use the directory: it is locked meanwhile. The records are copied into a file beside, proved with check.h
 * together with the artifacts' files, synced, and renamed over the old file: whenever the machine dies the directory is
 * whole, as it was or compacted. What a run that was cut off leaves is DIR/compact.partial, which the next run removes,
 * as does the broker's start. Room for a second file is needed. For the main thread of a process that does nothing
 * else.
 */
#ifndef RAINCHECK_UPKEEP_COMPACT_H
#define RAINCHECK_UPKEEP_COMPACT_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/error.h"

struct compact_options {
	const char *dir;
	int64_t max_bytes; /* as of store_open() */
	/* Told each thing that was not as it must be, and what was done, one line without a newline. May be NULL. */
	void (*report)(void *user, const char *line);
	/* Told now and then how far it is. May be NULL. */
	void (*progress)(void *user, const char *what, int64_t done, int64_t total);
	void *user;
};

struct compact_result {
	int64_t before_bytes; /* of the file of the records */
	int64_t after_bytes;
	int64_t misplaced; /* rows that stood out of order */
	int64_t dropped;   /* rows that led to nothing */
	int64_t restored;  /* rows put back, made anew or set right */
	int64_t set_aside; /* jobs, for what is damaged or missing of them */
	int64_t damaged;   /* parts of single jobs that are damaged, before as after */
};

/* On an error the directory is as it was, and info says what was in the way: ERR_CONFLICT where a broker uses it,
 * ERR_UNSUPPORTED_VERSION for another format, ERR_CORRUPT where there are breaches that cannot be mended,
 * ERR_STORE_FULL, ERR_IO, ERR_NO_MEMORY, the store's errors. */
int compact_run(const struct compact_options *options, struct compact_result *ret, struct error_info *info);

/* Removes what a run that was cut off has left. The directory must be the caller's, and no compaction at work in it.
 * True where there was something. */
bool compact_clean(const char *dir);

#endif
