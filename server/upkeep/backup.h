/* backup.h: a hot copy of all that a broker needs to serve again. The copy is a data directory itself.
 *
 * It shows one moment: the records of one read snapshot, every artifact file that they name, and the links' secret.
 * The broker goes on meanwhile; files that it removes are kept until the copy has them (blob_hold()). While the records
 * are copied the store cannot reuse pages, so under load its file may grow by what is written in that time.
 *
 * Damage that is one job's alone (a record, an input, a checkpoint, an artifact) keeps nobody from having a backup of
 * all the rest: it is in the copy as it is here, and told. A job whose record is damaged and that the broker has not
 * come upon yet is set aside in the copy, and its queue's jobs are counted anew there. Where more than that is wrong
 * there is no backup, for nobody knows what it would be worth: compact.h is the way out.
 *
 * The copy is made under another name, proved with check.h, synced, and only then given its own: what stands under the
 * name asked for is whole, whenever the machine dies. What a run that was cut off leaves is PATH.partial-XXXXXX.
 *
 * Any thread but the writer's; it takes as long as it takes to read and write everything. Several may run at once, each
 * into its own directory.
 */
#ifndef RAINCHECK_UPKEEP_BACKUP_H
#define RAINCHECK_UPKEEP_BACKUP_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/error.h"

struct blob_store;
struct store;

struct backup_options {
	struct store *store;
	struct blob_store *blobs;
	const char *path; /* must not be there, or be an empty directory; a relative one is the process's */
	/* Asked often, on the caller's thread: true makes it give up. May be NULL. */
	bool (*canceled)(void *user);
	/* The same, asked only while the source's records are read: whether somebody must have the store to itself. */
	bool (*in_the_way)(void *user);
	/* Told the first of what is damaged in the copy, one line without a newline each; only of a copy that is made.
	 * May be NULL. */
	void (*damage)(void *user, const char *line);
	/* Told now and then how far it is. May be NULL. */
	void (*progress)(void *user, const char *what, int64_t done, int64_t total);
	void *user;
};

struct backup_result {
	int64_t jobs;
	int64_t artifacts;
	int64_t bytes;	   /* of all files of the copy */
	int64_t set_aside; /* jobs whose record is damaged: they are in the copy as they are here */
	int64_t damaged;   /* parts of single jobs, likewise, with those jobs that were set aside in the copy only */
	int64_t took_ms;
};

/* 0: the copy is there, whole and synced. Else nothing is left under path, and info says what was in the way, in words
 * for an operator: ERR_CONFLICT (something is there), ERR_STORE_FULL (no room, and how much is missing), ERR_IO (not
 * writable, a disk that failed), ERR_CORRUPT (the check found more than the damage of single jobs: how many breaches
 * and the first; or a key stands out of order), ERR_CANCELED, ERR_NO_MEMORY, the store's errors. */
int backup_run(const struct backup_options *options, struct backup_result *ret, struct error_info *info);

#endif
