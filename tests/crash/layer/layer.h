/* layer.h: libfault.so from within. Loaded before the C library, it stands for some of its functions.
 *
 * Every function here may be called on any thread and from within malloc: none allocates. The real calls are made as
 * system calls, which need no symbol to be looked up and cannot lead back here. See tests/harness/fault_control.h for
 * what it does.
 */
#ifndef RAINCHECK_TEST_LAYER_H
#define RAINCHECK_TEST_LAYER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tests/harness/fault_control.h"
#include "tests/harness/fault_log.h"

/* For the functions that the layer puts before the C library's; all else is hidden. */
#define INTERPOSED __attribute__((visibility("default")))

/* NULL until the page is mapped, and where nobody asked for it. */
extern struct fault_control *layer_control;

/* ---- the plan ---- */

/* Counts a call. It may not return (KILL_BEFORE), or return late (HOLD). KILL_HALFWAY comes back only for writes.
 * What is to be done about the call: PASS, or a FAIL or KILL that is not done yet. */
enum fault_action layer_meet(enum fault_kind kind);
/* After the call was carried out with that result: it, or −1 with the plan's errno, or no return. */
ssize_t layer_finish(enum fault_action action, ssize_t result);
/* −1, with the plan's errno. */
int layer_refuse(void);

/* ---- which files ---- */

/* Whether the path, relative to the folder that dir is open for (AT_FDCWD: to no known one), is on the disk. */
bool layer_has_path(int dir, const char *path);
bool layer_has_file(int fd);
/* From open to close. synced: opened so that every write is synced by itself. */
void layer_remember(int fd, bool synced);
void layer_forget(int fd);
bool layer_writes_synced(int fd);

/* ---- the size of the disk ---- */

/* How much of a growth of that many bytes the disk has room for; that much is then taken. */
int64_t layer_take_room(int64_t bytes);
void layer_give_room(int64_t bytes);

/* ---- the record ---- */

/* Between the two, all that happens to the disk happens in the order of the log. They do nothing where none is kept.
 * A SIGKILL that the plan asks for falls outside, so that the log and the disk say the same. */
void record_lock(void);
void record_unlock(void);
/* With the lock. data may be in several pieces. Returns where the entry begins. */
struct iovec;
uint64_t record_entry(const struct fault_entry *entry, const struct iovec *data, size_t count);
bool record_is_kept(void);
/* The inode of what path names, 0 where there is nothing. */
uint64_t record_inode(int dir, const char *path);
/* The inode of the folder that path stands in; *ret_name is its last part. */
uint64_t record_folder(int dir, const char *path, const char **ret_name);
uint64_t record_inode_of(int fd);

#endif
