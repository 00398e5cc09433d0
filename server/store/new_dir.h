/* new_dir.h: a directory that stands under its name whole or not at all, whenever the machine dies.
 *
 * It is filled as PATH.partial-XXXXXX beside PATH, synced, and renamed. Where PATH is an empty directory that cannot be
 * replaced (a mount point, a symbolic link, a parent that is closed to us) it is filled as PATH/partial-XXXXXX and its
 * entries moved up one by one, the one that nothing works without last. What a process that died leaves is the
 * partial-XXXXXX: it may be removed. Any thread; one new_dir by one at a time.
 */
#ifndef RAINCHECK_STORE_NEW_DIR_H
#define RAINCHECK_STORE_NEW_DIR_H

#include <stdint.h>

#include "proto/error.h"

struct new_dir;

/* path must not be there, or be an empty directory: else ERR_CONFLICT. ERR_IO, ERR_NO_MEMORY; info says why. */
int new_dir_begin(const char *path, struct new_dir **ret, struct error_info *info);
/* Where to fill it. */
const char *new_dir_path(const struct new_dir *d);
/* Bytes that its file system has left for us; INT64_MAX where it does not say. */
int64_t new_dir_room(const struct new_dir *d);
/* Bytes of all files in it. */
int64_t new_dir_bytes(const struct new_dir *d);
/* Gives it its name, and returns after that is on disk. The files in it must be synced; last is the entry without which
 * nothing uses it. d stays for new_dir_done(). ERR_CONFLICT where something has come to stand there meanwhile, ERR_IO.
 */
int new_dir_publish(struct new_dir *d, const char *last, struct error_info *info);
/* Removes it unless it was published. NULL is taken. */
void new_dir_done(struct new_dir *d);
static inline void new_dir_donep(struct new_dir **d)
{
	new_dir_done(*d);
}

/* Removes a directory and all in it, as far as that is possible; one that is not there is fine. */
void new_dir_remove_tree(const char *path);
/* Syncs the names in a directory. ERR_IO. */
int new_dir_sync(const char *path, struct error_info *info);

#endif
