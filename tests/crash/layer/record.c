/* The log of what happened to the disk (tests/harness/fault_log.h). */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/crash/layer/layer.h"

#define PIECES_MAX 1025 /* an entry's head and the most that writev takes */
#define FOLDER_MAX 4096

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int log_fd = -1;

__attribute__((constructor)) static void open_log(void)
{
	const char *path = getenv("FAULT_LOG");

	if (!path)
		return;
	log_fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (log_fd < 0)
		_exit(125);
}

void record_lock(void)
{
	if (log_fd >= 0)
		pthread_mutex_lock(&lock);
}

void record_unlock(void)
{
	if (log_fd >= 0)
		pthread_mutex_unlock(&lock);
}

bool record_is_kept(void)
{
	return log_fd >= 0;
}

uint64_t record_entry(const struct fault_entry *entry, const struct iovec *data, size_t count)
{
	struct fault_entry head = *entry;
	struct iovec pieces[PIECES_MAX];
	uint64_t at;

	if (log_fd < 0)
		return 0;
	if (count >= PIECES_MAX)
		abort();
	head.size = 0;
	pieces[0] = (struct iovec){ &head, sizeof(head) };
	for (size_t i = 0; i < count; i++) {
		pieces[i + 1] = data[i];
		head.size += (uint32_t)data[i].iov_len;
	}
	if (syscall(SYS_writev, log_fd, pieces, count + 1) != (long)(sizeof(head) + head.size))
		abort();
	at = atomic_fetch_add(&layer_control->log_bytes, sizeof(head) + head.size);
	return at;
}

uint64_t record_inode(int dir, const char *path)
{
	struct stat st;

	return fstatat(dir, path, &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_ino : 0;
}

uint64_t record_inode_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

uint64_t record_folder(int dir, const char *path, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	char folder[FOLDER_MAX];
	size_t size;

	*ret_name = slash ? slash + 1 : path;
	if (!slash)
		return record_inode_of(dir);
	size = (size_t)(slash - path);
	if (size >= sizeof(folder))
		abort();
	memcpy(folder, path, size);
	folder[size] = '\0';
	return record_inode(dir, folder);
}
