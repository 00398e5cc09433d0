/* compact.h: a data directory's records written anew, without free pages and without a byte of what was erased.
 *
 * Nobody may use the directory: it is locked meanwhile. The records are copied into a file beside, proved with check.h
 * together with the artifacts' files, synced, and renamed over the old file: whenever the machine dies the directory is
 * whole, as it was or compacted. What a run that was cut off leaves is DIR/compact.partial, which the next run removes.
 * Room for a second file is needed. For the main thread of a process that does nothing else.
 */
#ifndef RAINCHECK_UPKEEP_COMPACT_H
#define RAINCHECK_UPKEEP_COMPACT_H

#include <stdint.h>

#include "proto/error.h"

struct compact_options {
	const char *dir;
	int64_t max_bytes; /* as of store_open() */
	/* Told now and then how far it is. May be NULL. */
	void (*progress)(void *user, const char *what, int64_t done, int64_t total);
	void *user;
};

struct compact_result {
	int64_t before_bytes; /* of the file of the records */
	int64_t after_bytes;
};

/* On an error the directory is as it was, and info says what was in the way: ERR_CONFLICT where a broker uses it,
 * ERR_UNSUPPORTED_VERSION for another format, ERR_CORRUPT where the check finds breaches, ERR_STORE_FULL, ERR_IO,
 * ERR_NO_MEMORY, the store's errors. */
int compact_run(const struct compact_options *options, struct compact_result *ret, struct error_info *info);

#endif
