/* blob.h: artifacts too large for the map, as files.
 *
 * A blob is written under a temporary name, synced, renamed to its id and its directory synced; only then may a
 * committed record name it. So a crash leaves at worst a file that no record names: blob_sweep() removes those.
 * Any thread; one blob_writer is used by one thread at a time. Files stand in DIR/blobs/, spread over 256 folders.
 */
#ifndef RAINCHECK_STORE_BLOB_H
#define RAINCHECK_STORE_BLOB_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/slice.h"
#include "proto/base/uuid.h"
#include "proto/error.h"

struct blob_store;
struct blob_writer;
struct store;

/* Makes the folders. ERR_IO, ERR_NO_MEMORY. */
int blob_store_open(const char *dir, struct blob_store **ret, struct error_info *info);
/* Makes nothing: for looking at what is there. Where the folders are missing so is every blob. ERR_IO, ERR_NO_MEMORY.
 */
int blob_store_look(const char *dir, struct blob_store **ret, struct error_info *info);
/* Nobody may hold. NULL is taken. */
void blob_store_close(struct blob_store *bs);

/* Begins a new one under a temporary name. id: a UUID of its own, never used before. ERR_STORE_FULL, ERR_IO,
 * ERR_NO_MEMORY, as the functions below. */
int blob_create(struct blob_store *bs, const struct uuid *id, struct blob_writer **ret);
/* Appends. */
int blob_append(struct blob_writer *w, struct slice data);
int64_t blob_size(const struct blob_writer *w);
/* Syncs and renames; from here on blob_open() finds it. Tells the SHA-256 of the whole. w stays for blob_close(). */
int blob_publish(struct blob_writer *w, uint8_t ret_sha256[32]);
/* Ends the writer; what was not published is removed. NULL is taken. */
void blob_close(struct blob_writer *w);
static inline void blob_closep(struct blob_writer **w)
{
	blob_close(*w);
}

/* Opens for reading; the caller closes *ret_fd. ERR_NOT_FOUND, ERR_IO. */
int blob_open(struct blob_store *bs, const struct uuid *id, int *ret_fd, int64_t *ret_size);
/* Whether the folder that the blob belongs in is there and can be read, which blob_store_open() makes: ERR_IO, and
 * errno says why, where it is not. For who wants to know whether a file is missing or all of them are. */
int blob_look_folder(struct blob_store *bs, const struct uuid *id);
/* A file that is gone already is fine. Readers that have it open go on reading. While somebody holds it is postponed.
 */
int blob_remove(struct blob_store *bs, const struct uuid *id);

/* From here on no file goes away; what blob_remove() and blob_sweep() were told meanwhile is done when the last one
 * lets go. Whoever holds before beginning a read transaction finds every file that its records name, for as long as it
 * holds. What cannot be remembered is left for the sweep of the next start. */
void blob_hold(struct blob_store *bs);
void blob_unhold(struct blob_store *bs);

/* Copies a file into another store, where it must not be yet, and syncs it; its name is on disk after blob_sync().
 * canceled is asked every few megabytes and may be NULL. ERR_NOT_FOUND, ERR_STORE_FULL, ERR_IO, ERR_CONFLICT,
 * ERR_CANCELED: then what was copied of it stays. */
int blob_copy(struct blob_store *from, const struct uuid *id, struct blob_store *to, bool (*canceled)(void *user),
	      void *user);
/* Syncs the names of all files. ERR_IO. */
int blob_sync(struct blob_store *bs);

/* Removes temporary files and every blob that no record names and that is older than this process. How many. */
int blob_sweep(struct blob_store *bs, struct store *s, int64_t *ret_removed);
/* Tells each file that blob_sweep() would remove and removes none: path is below DIR/blobs. ERR_IO. */
int blob_orphans(struct blob_store *bs, struct store *s, void (*found)(void *user, const char *path, int64_t bytes),
		 void *user);

/* SHA-256 of bytes in memory. */
void blob_sha256(struct slice data, uint8_t ret[32]);

#endif
