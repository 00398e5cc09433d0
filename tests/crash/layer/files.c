/* The calls that touch files: each asks the plan, is carried out, and is recorded. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "tests/crash/layer/layer.h"

#define PIECES_MAX 1024

/* ---- open and close ---- */

/* A new name is a change of its folder. */
static int open_recorded(int dir, const char *path, int flags, mode_t mode)
{
	struct fault_entry made = { .kind = FAULT_LOG_CREATE };
	const char *name;
	bool was_there;
	int fd;

	record_lock();
	was_there = !(flags & O_CREAT) || record_inode(dir, path) != 0;
	fd = (int)syscall(SYS_openat, dir, path, flags, mode);
	if (fd >= 0 && !was_there) {
		made.inode = record_inode_of(fd);
		made.folder = record_folder(dir, path, &name);
		record_entry(&made, &(struct iovec){ (void *)(uintptr_t)name, strlen(name) }, 1);
	}
	record_unlock();
	return fd;
}

static int open_call(int dir, const char *path, int flags, mode_t mode)
{
	enum fault_action action;
	int fd;

	/* The C library says so to the kernel where a descriptor is opened through open64. */
	flags |= O_LARGEFILE;
	if (!layer_has_path(dir, path)) {
		fd = (int)syscall(SYS_openat, dir, path, flags, mode);
		layer_forget(fd);
		return fd;
	}
	action = layer_meet(FAULT_OPEN);
	if (action == FAULT_FAIL || (action == FAULT_FAIL_LATE && !(flags & O_CREAT)))
		return layer_refuse();
	fd = record_is_kept() ? open_recorded(dir, path, flags, mode)
			      : (int)syscall(SYS_openat, dir, path, flags, mode);
	if (fd >= 0 && action == FAULT_FAIL_LATE)
		syscall(SYS_close, fd);
	else if (fd >= 0)
		layer_remember(fd, (flags & O_DSYNC) != 0);
	return (int)layer_finish(action, fd);
}

static mode_t mode_of(int flags, va_list args)
{
	return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(args, mode_t) : 0;
}

#define OPEN_BODY(dir)               \
	va_list args;                \
	mode_t mode;                 \
                                     \
	va_start(args, flags);       \
	mode = mode_of(flags, args); \
	va_end(args);                \
	return open_call(dir, path, flags, mode)

INTERPOSED int open(const char *path, int flags, ...)
{
	OPEN_BODY(AT_FDCWD);
}

INTERPOSED int open64(const char *path, int flags, ...)
{
	OPEN_BODY(AT_FDCWD);
}

INTERPOSED int openat(int dir, const char *path, int flags, ...)
{
	OPEN_BODY(dir);
}

INTERPOSED int openat64(int dir, const char *path, int flags, ...)
{
	OPEN_BODY(dir);
}

/* What _FORTIFY_SOURCE makes of calls without a mode. */
INTERPOSED int open_plain(const char *path, int flags) __asm__("__open_2");
INTERPOSED int open64_plain(const char *path, int flags) __asm__("__open64_2");
INTERPOSED int openat_plain(int dir, const char *path, int flags) __asm__("__openat_2");
INTERPOSED int openat64_plain(int dir, const char *path, int flags) __asm__("__openat64_2");

int open_plain(const char *path, int flags)
{
	return open_call(AT_FDCWD, path, flags, 0);
}

int open64_plain(const char *path, int flags)
{
	return open_call(AT_FDCWD, path, flags, 0);
}

int openat_plain(int dir, const char *path, int flags)
{
	return open_call(dir, path, flags, 0);
}

int openat64_plain(int dir, const char *path, int flags)
{
	return open_call(dir, path, flags, 0);
}

INTERPOSED int close(int fd)
{
	layer_forget(fd);
	return (int)syscall(SYS_close, fd);
}

/* ---- reading ---- */

static ssize_t read_call(int fd, void *data, size_t size, off_t offset)
{
	enum fault_action action = layer_has_file(fd) ? layer_meet(FAULT_READ) : FAULT_PASS;

	if (action == FAULT_FAIL || action == FAULT_FAIL_LATE)
		return layer_refuse();
	return layer_finish(action, offset < 0 ? syscall(SYS_read, fd, data, size)
					       : syscall(SYS_pread64, fd, data, size, offset));
}

INTERPOSED ssize_t read(int fd, void *data, size_t size)
{
	return read_call(fd, data, size, -1);
}

INTERPOSED ssize_t pread(int fd, void *data, size_t size, off_t offset)
{
	return read_call(fd, data, size, offset);
}

INTERPOSED ssize_t pread64(int fd, void *data, size_t size, off64_t offset)
{
	return read_call(fd, data, size, offset);
}

INTERPOSED ssize_t sendfile(int to, int from, off_t *offset, size_t size)
{
	enum fault_action action = layer_has_file(from) ? layer_meet(FAULT_READ) : FAULT_PASS;

	if (action == FAULT_FAIL || action == FAULT_FAIL_LATE)
		return layer_refuse();
	return layer_finish(action, syscall(SYS_sendfile, to, from, offset, size));
}

INTERPOSED ssize_t sendfile64(int to, int from, off64_t *offset, size_t size)
{
	return sendfile(to, from, offset, size);
}

/* ---- writing ---- */

static size_t total_of(const struct iovec *data, int count)
{
	size_t total = 0;

	for (int i = 0; i < count; i++)
		total += data[i].iov_len;
	return total;
}

/* The first size bytes of data. How many pieces. */
static int first_bytes(const struct iovec *data, size_t size, struct iovec *ret)
{
	int n = 0;

	for (; size > 0; n++) {
		ret[n] = data[n];
		if (ret[n].iov_len > size)
			ret[n].iov_len = size;
		size -= ret[n].iov_len;
	}
	return n;
}

/* As many bytes as the disk has room for. What lies within the file needs none. */
static size_t fit(int fd, off_t offset, size_t size)
{
	struct stat st;
	int64_t grows;

	if (fstat(fd, &st) < 0)
		return size;
	grows = offset + (int64_t)size - st.st_size;
	if (grows <= 0)
		return size;
	return size - (size_t)(grows - layer_take_room(grows));
}

/* A write that was to be synced and could not be is in the system's memory, and perhaps on the disk. */
static ssize_t write_recorded(int fd, const struct iovec *data, int count, off_t offset, bool at_offset, bool failed)
{
	bool synced = layer_writes_synced(fd);
	struct fault_entry wrote = { .kind = synced && !failed ? FAULT_LOG_WRITE_SYNC : FAULT_LOG_WRITE };
	struct fault_entry unsynced = { .kind = FAULT_LOG_SYNC_FAILED };
	ssize_t n;

	record_lock();
	n = at_offset ? syscall(SYS_pwritev, fd, data, count, offset, 0) : syscall(SYS_writev, fd, data, count);
	/* A disk that takes less than asked for is the layer's to make up. */
	if (n >= 0 && (size_t)n != total_of(data, count))
		abort();
	if (n > 0) {
		wrote.inode = record_inode_of(fd);
		wrote.offset = (uint64_t)offset;
		record_entry(&wrote, data, (size_t)count);
		unsynced.inode = wrote.inode;
		if (synced && failed)
			record_entry(&unsynced, NULL, 0);
	}
	record_unlock();
	return n;
}

static ssize_t write_call(int fd, const struct iovec *data, int count, off_t offset, bool at_offset)
{
	struct iovec pieces[PIECES_MAX];
	enum fault_action action;
	size_t size, room;

	if (!layer_has_file(fd))
		return at_offset ? syscall(SYS_pwritev, fd, data, count, offset, 0)
				 : syscall(SYS_writev, fd, data, count);
	if (count > PIECES_MAX)
		abort();
	action = layer_meet(layer_writes_synced(fd) ? FAULT_WRITE_SYNC : FAULT_WRITE);
	if (action == FAULT_FAIL)
		return layer_refuse();
	size = total_of(data, count);
	if (action == FAULT_FAIL_SHORT || action == FAULT_KILL_HALFWAY)
		size /= 2;
	if (!at_offset)
		offset = lseek(fd, 0, SEEK_CUR);
	room = fit(fd, offset, size);
	if (room == 0 && size > 0) {
		errno = ENOSPC;
		return -1;
	}
	count = first_bytes(data, room, pieces);
	return layer_finish(action, write_recorded(fd, pieces, count, offset, at_offset, action == FAULT_FAIL_LATE));
}

INTERPOSED ssize_t write(int fd, const void *data, size_t size)
{
	struct iovec one = { (void *)(uintptr_t)data, size };

	return layer_has_file(fd) ? write_call(fd, &one, 1, 0, false) : syscall(SYS_write, fd, data, size);
}

INTERPOSED ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
	return write_call(fd, &(struct iovec){ (void *)(uintptr_t)data, size }, 1, offset, true);
}

INTERPOSED ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
	return pwrite(fd, data, size, offset);
}

INTERPOSED ssize_t writev(int fd, const struct iovec *data, int count)
{
	return write_call(fd, data, count, 0, false);
}

INTERPOSED ssize_t pwritev(int fd, const struct iovec *data, int count, off_t offset)
{
	return write_call(fd, data, count, offset, true);
}

INTERPOSED ssize_t pwritev64(int fd, const struct iovec *data, int count, off64_t offset)
{
	return write_call(fd, data, count, offset, true);
}

/* ---- syncing ---- */

static uint64_t record_sync(uint32_t kind, uint64_t inode, uint64_t begun)
{
	struct fault_entry entry = { .kind = kind, .inode = inode, .offset = begun };
	uint64_t at;

	record_lock();
	at = record_entry(&entry, NULL, 0);
	record_unlock();
	return at;
}

static int sync_call(int fd, long number)
{
	enum fault_action action;
	uint64_t inode, begun;
	int rc;

	if (!layer_has_file(fd))
		return (int)syscall(number, fd);
	action = layer_meet(FAULT_SYNC);
	inode = record_inode_of(fd);
	if (action == FAULT_FAIL) {
		record_sync(FAULT_LOG_SYNC_FAILED, inode, 0);
		return layer_refuse();
	}
	begun = record_sync(FAULT_LOG_SYNC_BEGIN, inode, 0);
	rc = (int)syscall(number, fd);
	if (rc == 0)
		record_sync(FAULT_LOG_SYNC_END, inode, begun);
	return (int)layer_finish(action, rc);
}

INTERPOSED int fsync(int fd)
{
	return sync_call(fd, SYS_fsync);
}

INTERPOSED int fdatasync(int fd)
{
	return sync_call(fd, SYS_fdatasync);
}

/* Nobody is expected to write through a map; a test that says so must not be fooled. */
INTERPOSED int msync(void *at, size_t size, int flags)
{
	if (layer_control)
		abort();
	return (int)syscall(SYS_msync, at, size, flags);
}

/* ---- names ---- */

INTERPOSED int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	struct fault_entry moved = { .kind = FAULT_LOG_RENAME };
	enum fault_action action;
	const char *names[2];
	struct iovec data[2];
	int rc;

	if (!layer_has_path(from_dir, from))
		return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, 0);
	action = layer_meet(FAULT_RENAME);
	if (action == FAULT_FAIL)
		return layer_refuse();
	record_lock();
	if (record_is_kept()) {
		moved.inode = record_inode(from_dir, from);
		moved.folder = record_folder(from_dir, from, &names[0]);
		moved.to_folder = record_folder(to_dir, to, &names[1]);
		for (int i = 0; i < 2; i++)
			data[i] = (struct iovec){ (void *)(uintptr_t)names[i], strlen(names[i]) + 1 };
	}
	rc = (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, 0);
	if (rc == 0)
		record_entry(&moved, data, 2);
	record_unlock();
	return (int)layer_finish(action, rc);
}

INTERPOSED int rename(const char *from, const char *to)
{
	return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

/* A file whose last name goes gives its room back. */
static void give_room_of(int dir, const char *path)
{
	struct stat st;

	if (fstatat(dir, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1)
		layer_give_room(st.st_size);
}

INTERPOSED int unlinkat(int dir, const char *path, int flags)
{
	struct fault_entry gone = { .kind = FAULT_LOG_UNLINK };
	enum fault_action action;
	const char *name;
	int rc;

	if (!layer_has_path(dir, path))
		return (int)syscall(SYS_unlinkat, dir, path, flags);
	action = layer_meet(FAULT_UNLINK);
	if (action == FAULT_FAIL)
		return layer_refuse();
	record_lock();
	give_room_of(dir, path);
	rc = (int)syscall(SYS_unlinkat, dir, path, flags);
	if (rc == 0 && record_is_kept()) {
		gone.folder = record_folder(dir, path, &name);
		record_entry(&gone, &(struct iovec){ (void *)(uintptr_t)name, strlen(name) }, 1);
	}
	record_unlock();
	return (int)layer_finish(action, rc);
}

INTERPOSED int unlink(const char *path)
{
	return unlinkat(AT_FDCWD, path, 0);
}

INTERPOSED int mkdirat(int dir, const char *path, mode_t mode)
{
	struct fault_entry made = { .kind = FAULT_LOG_MKDIR };
	enum fault_action action;
	const char *name;
	int rc;

	if (!layer_has_path(dir, path))
		return (int)syscall(SYS_mkdirat, dir, path, mode);
	action = layer_meet(FAULT_MKDIR);
	if (action == FAULT_FAIL)
		return layer_refuse();
	record_lock();
	rc = (int)syscall(SYS_mkdirat, dir, path, mode);
	if (rc == 0 && record_is_kept()) {
		made.inode = record_inode(dir, path);
		made.folder = record_folder(dir, path, &name);
		record_entry(&made, &(struct iovec){ (void *)(uintptr_t)name, strlen(name) }, 1);
	}
	record_unlock();
	return (int)layer_finish(action, rc);
}

INTERPOSED int mkdir(const char *path, mode_t mode)
{
	return mkdirat(AT_FDCWD, path, mode);
}

/* ---- sizes ---- */

INTERPOSED int ftruncate(int fd, off_t size)
{
	struct fault_entry cut = { .kind = FAULT_LOG_TRUNCATE, .offset = (uint64_t)size };
	enum fault_action action;
	struct stat st;
	int rc;

	if (!layer_has_file(fd))
		return (int)syscall(SYS_ftruncate, fd, size);
	action = layer_meet(FAULT_TRUNCATE);
	if (action == FAULT_FAIL)
		return layer_refuse();
	record_lock();
	if (fstat(fd, &st) == 0 && size < st.st_size)
		layer_give_room(st.st_size - size);
	rc = (int)syscall(SYS_ftruncate, fd, size);
	if (rc == 0) {
		cut.inode = record_inode_of(fd);
		record_entry(&cut, NULL, 0);
	}
	record_unlock();
	return (int)layer_finish(action, rc);
}

INTERPOSED int ftruncate64(int fd, off64_t size)
{
	return ftruncate(fd, size);
}

/* Nobody is expected to call it. */
INTERPOSED int fallocate(int fd, int mode, off_t offset, off_t size)
{
	if (layer_has_file(fd))
		abort();
	return (int)syscall(SYS_fallocate, fd, mode, offset, size);
}

/* ---- what the disk says of itself ---- */

INTERPOSED int fstatvfs(int fd, struct statvfs *ret)
{
	struct statfs fs;
	int64_t size, left;

	if (fstatfs(fd, &fs) < 0)
		return -1;
	*ret = (struct statvfs){
		.f_bsize = (unsigned long)fs.f_bsize,
		.f_frsize = (unsigned long)(fs.f_frsize ? fs.f_frsize : fs.f_bsize),
		.f_blocks = fs.f_blocks,
		.f_bfree = fs.f_bfree,
		.f_bavail = fs.f_bavail,
		.f_files = fs.f_files,
		.f_ffree = fs.f_ffree,
		.f_favail = fs.f_ffree,
		.f_namemax = (unsigned long)fs.f_namelen,
	};
	size = layer_has_file(fd) ? atomic_load(&layer_control->disk_bytes) : 0;
	if (size > 0) {
		left = size - atomic_load(&layer_control->used_bytes);
		ret->f_blocks = (fsblkcnt_t)size / ret->f_frsize;
		ret->f_bfree = ret->f_bavail = left > 0 ? (fsblkcnt_t)left / ret->f_frsize : 0;
	}
	return 0;
}

INTERPOSED int fstatvfs64(int fd, struct statvfs64 *ret)
{
	_Static_assert(sizeof(struct statvfs) == sizeof(struct statvfs64), "the same on this machine");
	return fstatvfs(fd, (struct statvfs *)ret);
}
