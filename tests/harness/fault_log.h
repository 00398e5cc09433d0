/* fault_log.h: what libfault.so records: everything that changed the disk, and every sync, in the order it happened.
 *
 * Entries stand one behind the other in a file. A file or folder is called by its inode number. Numbers of inodes that
 * are gone may come again: an entry CREATE or MKDIR begins a new life of the number. A cut of the power at an offset of
 * the log means: the entries before it happened, the one there was under way.
 */
#ifndef RAINCHECK_TEST_FAULT_LOG_H
#define RAINCHECK_TEST_FAULT_LOG_H

#include <stdint.h>

enum fault_log_kind {
	FAULT_LOG_CREATE,     /* name in folder is a new empty file inode */
	FAULT_LOG_MKDIR,      /* likewise a folder */
	FAULT_LOG_WRITE,      /* data at offset of inode, in the system's memory only */
	FAULT_LOG_WRITE_SYNC, /* likewise, and on the disk before the call returned */
	FAULT_LOG_TRUNCATE,   /* inode has offset bytes */
	FAULT_LOG_RENAME,     /* inode: name in folder becomes to_name in to_folder; data is both with a NUL each */
	FAULT_LOG_UNLINK,     /* name in folder is gone */
	FAULT_LOG_SYNC_BEGIN, /* of a file or a folder */
	FAULT_LOG_SYNC_END,   /* offset is where the log has the SYNC_BEGIN: what was done before that is on the disk */
	FAULT_LOG_SYNC_FAILED, /* what was not on the disk may never get there, although the system forgets it */
};

struct fault_entry {
	uint32_t kind;
	uint32_t size; /* of the data that follows; not padded */
	uint64_t inode;
	uint64_t folder;    /* inode of the folder */
	uint64_t to_folder; /* RENAME */
	uint64_t offset;
};

#endif
