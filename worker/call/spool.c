#include "worker/call/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proto/error.h"

int spool_open(int *ret_fd)
{
	const char *dir = getenv("TMPDIR");
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/raincheck-XXXXXX", dir && dir[0] ? dir : "/tmp");
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return ERR_IO;
	unlink(path);
	*ret_fd = fd;
	return 0;
}

int spool_write(int fd, int64_t offset, const void *data, size_t size)
{
	const char *p = data;

	while (size > 0) {
		ssize_t n = pwrite(fd, p, size, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return ERR_IO;
		p += n;
		offset += n;
		size -= (size_t)n;
	}
	return 0;
}

int spool_read(int fd, int64_t offset, void *data, size_t size)
{
	char *p = data;

	while (size > 0) {
		ssize_t n = pread(fd, p, size, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return ERR_IO;
		p += n;
		offset += n;
		size -= (size_t)n;
	}
	return 0;
}
