#include "server/store/blob_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/text.h"
#include "proto/error.h"

struct folder_name {
	char text[3];
};

static struct folder_name name_of(uint8_t number)
{
	struct folder_name name;

	hex_encode(&number, 1, name.text);
	name.text[2] = '\0';
	return name;
}

int blob__from_errno(void)
{
	if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG)
		return ERR_STORE_FULL;
	return errno == ENOMEM ? ERR_NO_MEMORY : ERR_IO;
}

int blob__sync_folder(int blobs_fd, const char *name)
{
	int fd, rc = 0;

	fd = openat(blobs_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return blob__from_errno();
	if (fsync(fd) < 0)
		rc = blob__from_errno();
	close(fd);
	return rc;
}

/* Which are there, in one look: to be refused each of them is much of the work of a start. */
static int look_for_folders(int blobs_fd, bool ret[BLOB_FOLDERS])
{
	struct dirent **entries;
	int count = scandirat(blobs_fd, ".", &entries, NULL, NULL);
	uint8_t number;

	if (count < 0)
		return blob__from_errno();
	memset(ret, 0, BLOB_FOLDERS * sizeof(*ret));
	for (int i = 0; i < count; i++) {
		const char *name = entries[i]->d_name;

		/* "AB" is another than "ab". */
		if (hex_decode(slice_str(name), &number, 1) == 0 && strcmp(name, name_of(number).text) == 0)
			ret[number] = true;
		free(entries[i]);
	}
	free(entries);
	return 0;
}

int blob__make_folders(int blobs_fd)
{
	bool there[BLOB_FOLDERS];
	int rc = look_for_folders(blobs_fd, there);

	if (rc < 0)
		return rc;
	if (mkdirat(blobs_fd, "tmp", 0700) < 0 && errno != EEXIST)
		return blob__from_errno();
	for (int i = 0; i < BLOB_FOLDERS; i++)
		if (!there[i] && mkdirat(blobs_fd, name_of((uint8_t)i).text, 0700) < 0 && errno != EEXIST)
			return blob__from_errno();
	if (fsync(blobs_fd) < 0)
		return blob__from_errno();
	return blob__sync_folder(blobs_fd, "..");
}
