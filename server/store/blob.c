#include "server/store/blob.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/clean.h"
#include "proto/base/clock.h"
#include "proto/base/text.h"
#include "server/store/keys.h"
#include "server/store/store.h"

#define NAME_SIZE 32 /* a blob's id as hexadecimal digits */
#define FOLDERS	  256
#define MARGIN_MS 2000 /* a file's time may lag behind the clock by a tick, or two seconds where it is stored so */

struct blob_store {
	int dir_fd;	      /* of DIR/blobs */
	int64_t opened_at_ms; /* less a margin: files younger than this are left alone by the sweep */
};

struct blob_writer {
	struct blob_store *store;
	struct uuid id;
	int fd;
	int64_t size;
	bool published;
	gnutls_hash_hd_t hash;
};

/* "ab/abcdef…" and "tmp/abcdef…", relative to the blobs folder. The folder is the id's last byte, which is random: the
 * first ones are the time and would fill one folder after the other. */
struct blob_path {
	char text[5 + NAME_SIZE];
};

static struct blob_path final_path(const struct uuid *id)
{
	struct blob_path p;

	hex_encode(&id->bytes[15], 1, p.text);
	p.text[2] = '/';
	hex_encode(id->bytes, sizeof(id->bytes), p.text + 3);
	p.text[3 + NAME_SIZE] = '\0';
	return p;
}

static struct blob_path temporary_path(const struct uuid *id)
{
	struct blob_path p;

	memcpy(p.text, "tmp/", 4);
	hex_encode(id->bytes, sizeof(id->bytes), p.text + 4);
	p.text[4 + NAME_SIZE] = '\0';
	return p;
}

static int from_errno(void)
{
	if (errno == ENOSPC || errno == EDQUOT)
		return ERR_STORE_FULL;
	return errno == ENOMEM ? ERR_NO_MEMORY : ERR_IO;
}

static int sync_folder(int blobs_fd, const char *name)
{
	int fd, rc = 0;

	fd = openat(blobs_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return from_errno();
	if (fsync(fd) < 0)
		rc = from_errno();
	close(fd);
	return rc;
}

static int make_folders(int blobs_fd)
{
	char name[3];

	if (mkdirat(blobs_fd, "tmp", 0700) < 0 && errno != EEXIST)
		return from_errno();
	for (int i = 0; i < FOLDERS; i++) {
		uint8_t byte = (uint8_t)i;

		hex_encode(&byte, 1, name);
		name[2] = '\0';
		if (mkdirat(blobs_fd, name, 0700) < 0 && errno != EEXIST)
			return from_errno();
	}
	if (fsync(blobs_fd) < 0)
		return from_errno();
	return sync_folder(blobs_fd, "..");
}

int blob_store_open(const char *dir, struct blob_store **ret, struct error_info *info)
{
	struct blob_store *bs = calloc(1, sizeof(*bs));
	char path[4096];
	int rc = ERR_IO;

	if (!bs)
		return error_set(info, ERR_NO_MEMORY, NULL, "%s", error_text(ERR_NO_MEMORY));
	snprintf(path, sizeof(path), "%s/blobs", dir);
	bs->opened_at_ms = clock_wall_ms() - MARGIN_MS;
	bs->dir_fd = -1;
	if (mkdir(path, 0700) == 0 || errno == EEXIST)
		bs->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (bs->dir_fd >= 0)
		rc = make_folders(bs->dir_fd);
	if (rc < 0) {
		error_set(info, rc, NULL, "cannot use %s: %s", path, strerror(errno));
		blob_store_close(bs);
		return rc;
	}
	*ret = bs;
	return 0;
}

void blob_store_close(struct blob_store *bs)
{
	if (!bs)
		return;
	if (bs->dir_fd >= 0)
		close(bs->dir_fd);
	free(bs);
}

/* ---- writing ---- */

int blob_create(struct blob_store *bs, const struct uuid *id, struct blob_writer **ret)
{
	struct blob_path path = temporary_path(id);
	struct blob_writer *w = calloc(1, sizeof(*w));
	int rc;

	if (!w)
		return ERR_NO_MEMORY;
	w->store = bs;
	w->id = *id;
	w->fd = openat(bs->dir_fd, path.text, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (w->fd < 0) {
		rc = from_errno();
		free(w);
		return rc;
	}
	if (gnutls_hash_init(&w->hash, GNUTLS_DIG_SHA256) < 0) {
		blob_close(w);
		return ERR_NO_MEMORY;
	}
	*ret = w;
	return 0;
}

int blob_append(struct blob_writer *w, struct slice data)
{
	const char *p = data.data;
	size_t left = data.size;

	while (left > 0) {
		ssize_t n = write(w->fd, p, left);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return from_errno();
		p += n;
		left -= (size_t)n;
	}
	if (data.size > 0 && gnutls_hash(w->hash, data.data, data.size) < 0)
		return ERR_INTERNAL;
	w->size += (int64_t)data.size;
	return 0;
}

int64_t blob_size(const struct blob_writer *w)
{
	return w->size;
}

int blob_publish(struct blob_writer *w, uint8_t ret_sha256[32])
{
	struct blob_path from = temporary_path(&w->id);
	struct blob_path to = final_path(&w->id);

	if (fsync(w->fd) < 0)
		return from_errno();
	if (renameat(w->store->dir_fd, from.text, w->store->dir_fd, to.text) < 0)
		return from_errno();
	w->published = true;
	gnutls_hash_output(w->hash, ret_sha256);
	to.text[2] = '\0';
	return sync_folder(w->store->dir_fd, to.text);
}

void blob_close(struct blob_writer *w)
{
	struct blob_path path;

	if (!w)
		return;
	path = temporary_path(&w->id);
	close(w->fd);
	if (!w->published)
		unlinkat(w->store->dir_fd, path.text, 0);
	if (w->hash)
		gnutls_hash_deinit(w->hash, NULL);
	free(w);
}

/* ---- reading and removing ---- */

int blob_open(struct blob_store *bs, const struct uuid *id, int *ret_fd, int64_t *ret_size)
{
	struct blob_path path = final_path(id);
	struct stat st;
	int fd;

	fd = openat(bs->dir_fd, path.text, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? ERR_NOT_FOUND : from_errno();
	if (fstat(fd, &st) < 0) {
		close(fd);
		return ERR_IO;
	}
	*ret_fd = fd;
	*ret_size = st.st_size;
	return 0;
}

int blob_remove(struct blob_store *bs, const struct uuid *id)
{
	struct blob_path path = final_path(id);

	if (unlinkat(bs->dir_fd, path.text, 0) < 0 && errno != ENOENT)
		return from_errno();
	return 0;
}

/* ---- sweeping ---- */

static bool is_named(struct store *s, const struct uuid *id)
{
	_cleanup_(store_abortp) struct store_txn *t = NULL;
	struct key key = key_job(id);
	struct slice value;

	/* When in doubt it stays. */
	if (store_begin_read(s, &t) < 0)
		return true;
	return store_get(t, TABLE_BLOBS, key_slice(&key), &value) != ERR_NOT_FOUND;
}

/* Whether a file that stands in a folder ("ab" or "tmp") may go. Younger files than this process may belong to an
 * upload under way. */
static bool is_orphan(struct blob_store *bs, struct store *s, const char *path, const char *name, bool temporary)
{
	struct stat st;
	struct uuid id;

	if (hex_decode(slice_str(name), id.bytes, sizeof(id.bytes)) < 0)
		return false;
	if (fstatat(bs->dir_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000 >= bs->opened_at_ms)
		return false;
	return temporary || !is_named(s, &id);
}

static int sweep_folder(struct blob_store *bs, struct store *s, const char *folder, int64_t *removed)
{
	bool temporary = strcmp(folder, "tmp") == 0;
	struct dirent **entries;
	int count;

	count = scandirat(bs->dir_fd, folder, &entries, NULL, NULL);
	if (count < 0)
		return from_errno();
	for (int i = 0; i < count; i++) {
		char path[300];

		snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
		if (is_orphan(bs, s, path, entries[i]->d_name, temporary) && unlinkat(bs->dir_fd, path, 0) == 0)
			(*removed)++;
		free(entries[i]);
	}
	free(entries);
	return 0;
}

int blob_sweep(struct blob_store *bs, struct store *s, int64_t *ret_removed)
{
	int64_t removed = 0;
	int rc;

	rc = sweep_folder(bs, s, "tmp", &removed);
	for (int i = 0; rc == 0 && i < FOLDERS; i++) {
		uint8_t byte = (uint8_t)i;
		char name[3] = "";

		hex_encode(&byte, 1, name);
		rc = sweep_folder(bs, s, name, &removed);
	}
	*ret_removed = removed;
	return rc;
}

void blob_sha256(struct slice data, uint8_t ret[32])
{
	/* It fails only where the library is broken. */
	if (gnutls_hash_fast(GNUTLS_DIG_SHA256, data.data, data.size, ret) < 0)
		abort();
}
