/* spool.h: bytes kept in a file without a name, to be read again: what cannot be fetched a second time.
 * Loop's thread; reads and writes go to the page cache and are not synced: the file dies with the process anyway.
 */
#ifndef RAINCHECK_WORKER_CALL_SPOOL_H
#define RAINCHECK_WORKER_CALL_SPOOL_H

#include <stddef.h>
#include <stdint.h>

/* A file in $TMPDIR or /tmp, already unlinked; the descriptor is the caller's to close. ERR_IO. */
int spool_open(int *ret_fd);
/* All of it or ERR_IO. */
int spool_write(int fd, int64_t offset, const void *data, size_t size);
int spool_read(int fd, int64_t offset, void *data, size_t size);

#endif
