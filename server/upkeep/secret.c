#include "server/upkeep/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proto/base/text.h"
#include "server/store/blob.h"

int secret_read(const char *dir, uint8_t ret[LINK_SECRET_BYTES], struct error_info *info)
{
	uint8_t bytes[LINK_SECRET_BYTES + 1];
	char path[4200];
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "%s/" LAYOUT_LINK_KEY, dir);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0) {
		n = read(fd, bytes, sizeof(bytes));
		close(fd);
	}
	if (n < 0)
		return error_set(info, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, NULL,
				 "cannot read the links' secret %.120s: %s", path, strerror(errno));
	if (n != LINK_SECRET_BYTES)
		return error_set(info, ERR_CORRUPT, NULL, "%.120s is no secret of %d bytes", path, LINK_SECRET_BYTES);
	memcpy(ret, bytes, LINK_SECRET_BYTES);
	return 0;
}

struct fingerprint secret_fingerprint(const uint8_t secret[LINK_SECRET_BYTES])
{
	struct fingerprint f = { .text = "" };
	uint8_t digest[32];

	blob_sha256(slice_of(secret, LINK_SECRET_BYTES), digest);
	hex_encode(digest, LINK_FINGERPRINT_CHARS / 2, f.text);
	return f;
}
