#include "server/store/blob.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/clean.h"
#include "proto/base/clock.h"
#include "proto/base/text.h"
#include "server/store/blob_priv.h"
#include "server/store/keys.h"
#include "server/store/store.h"

#define NAME_SIZE 32   /* a blob's id as hexadecimal digits */
#define MARGIN_MS 2000 /* a file's time may lag behind the clock by a tick, or two seconds where it is stored so */

#define POSTPONED_MAX (1 << 20) /* removals that a hold puts off */
#define CHUNK_BYTES   (8 << 20) /* copied without asking whether to go on */

struct blob_store {
	int dir_fd;	      /* of DIR/blobs; −1: looking at a directory that has none */
	int64_t opened_at_ms; /* less a margin: files younger than this are left alone by the sweep */

	pthread_mutex_t lock; /* guards what follows */
	int holders;
	struct uuid *postponed; /* a hash table; no id is all zeros */
	size_t postponed_count, postponed_capacity;
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

static struct blob_store *new_store(int64_t opened_at_ms)
{
	struct blob_store *bs = calloc(1, sizeof(*bs));

	if (!bs)
		return NULL;
	bs->dir_fd = -1;
	bs->opened_at_ms = opened_at_ms;
	pthread_mutex_init(&bs->lock, NULL);
	return bs;
}

int blob_store_open(const char *dir, struct blob_store **ret, struct error_info *info)
{
	struct blob_store *bs = new_store(clock_wall_ms() - MARGIN_MS);
	char path[4096];
	int rc = ERR_IO;

	if (!bs)
		return error_set(info, ERR_NO_MEMORY, NULL, "%s", error_text(ERR_NO_MEMORY));
	snprintf(path, sizeof(path), "%s/blobs", dir);
	if (mkdir(path, 0700) == 0 || errno == EEXIST)
		bs->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (bs->dir_fd >= 0)
		rc = blob__make_folders(bs->dir_fd);
	if (rc < 0) {
		error_set(info, rc, NULL, "cannot use %s: %s", path, strerror(errno));
		blob_store_close(bs);
		return rc;
	}
	*ret = bs;
	return 0;
}

int blob_store_look(const char *dir, struct blob_store **ret, struct error_info *info)
{
	/* No upload can be under way: of a file that no record names it does not matter how young it is. */
	struct blob_store *bs = new_store(INT64_MAX);
	char path[4096];

	if (!bs)
		return error_set(info, ERR_NO_MEMORY, NULL, "%s", error_text(ERR_NO_MEMORY));
	snprintf(path, sizeof(path), "%s/blobs", dir);
	bs->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (bs->dir_fd < 0 && errno != ENOENT) {
		error_set(info, ERR_IO, NULL, "cannot look at %s: %s", path, strerror(errno));
		blob_store_close(bs);
		return ERR_IO;
	}
	*ret = bs;
	return 0;
}

void blob_store_close(struct blob_store *bs)
{
	if (!bs)
		return;
	assert(bs->holders == 0);
	if (bs->dir_fd >= 0)
		close(bs->dir_fd);
	pthread_mutex_destroy(&bs->lock);
	free(bs->postponed);
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
		rc = blob__from_errno();
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
			return blob__from_errno();
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
		return blob__from_errno();
	if (renameat(w->store->dir_fd, from.text, w->store->dir_fd, to.text) < 0)
		return blob__from_errno();
	w->published = true;
	gnutls_hash_output(w->hash, ret_sha256);
	to.text[2] = '\0';
	return blob__sync_folder(w->store->dir_fd, to.text);
}

/* A function of its own: tests/lint/tsan.txt names it. */
static __attribute__((noinline)) void close_blob_file(int fd)
{
	close(fd);
}

void blob_close(struct blob_writer *w)
{
	struct blob_path path;

	if (!w)
		return;
	path = temporary_path(&w->id);
	close_blob_file(w->fd);
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

	if (bs->dir_fd < 0)
		return ERR_NOT_FOUND;
	fd = openat(bs->dir_fd, path.text, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? ERR_NOT_FOUND : blob__from_errno();
	if (fstat(fd, &st) < 0) {
		close(fd);
		return ERR_IO;
	}
	*ret_fd = fd;
	*ret_size = st.st_size;
	return 0;
}

/* ---- holding ---- */

static const struct uuid no_id;

/* Where the id stands, or the free place where it would; there is one. Its last bytes are random, see final_path(). */
static struct uuid *place_of(struct uuid *items, size_t capacity, const struct uuid *id)
{
	uint32_t hash;

	memcpy(&hash, &id->bytes[12], sizeof(hash));
	for (size_t i = hash;; i++) {
		struct uuid *item = &items[i & (capacity - 1)];

		if (uuid_equal(item, id) || uuid_equal(item, &no_id))
			return item;
	}
}

/* At most half of the table is used. */
static bool grow(struct blob_store *bs)
{
	size_t capacity = bs->postponed_capacity ? 2 * bs->postponed_capacity : 1024;
	struct uuid *items = capacity <= 2 * POSTPONED_MAX ? calloc(capacity, sizeof(*items)) : NULL;

	if (!items)
		return false;
	for (size_t i = 0; i < bs->postponed_capacity; i++)
		if (!uuid_equal(&bs->postponed[i], &no_id))
			*place_of(items, capacity, &bs->postponed[i]) = bs->postponed[i];
	free(bs->postponed);
	bs->postponed = items;
	bs->postponed_capacity = capacity;
	return true;
}

static void remember(struct blob_store *bs, const struct uuid *id)
{
	struct uuid *place;

	if (2 * bs->postponed_count >= bs->postponed_capacity && !grow(bs))
		return;
	place = place_of(bs->postponed, bs->postponed_capacity, id);
	bs->postponed_count += !uuid_equal(place, id);
	*place = *id;
}

/* Whether somebody holds; then the removal is put off. */
static bool postpone(struct blob_store *bs, const struct uuid *id)
{
	bool held;

	pthread_mutex_lock(&bs->lock);
	held = bs->holders > 0;
	if (held)
		remember(bs, id);
	pthread_mutex_unlock(&bs->lock);
	return held;
}

static bool is_postponed(struct blob_store *bs, const struct uuid *id)
{
	bool found;

	pthread_mutex_lock(&bs->lock);
	found = bs->postponed_count > 0 && uuid_equal(place_of(bs->postponed, bs->postponed_capacity, id), id);
	pthread_mutex_unlock(&bs->lock);
	return found;
}

static int unlink_blob(struct blob_store *bs, const struct uuid *id)
{
	struct blob_path path = final_path(id);

	if (unlinkat(bs->dir_fd, path.text, 0) < 0 && errno != ENOENT)
		return blob__from_errno();
	return 0;
}

int blob_remove(struct blob_store *bs, const struct uuid *id)
{
	return postpone(bs, id) ? 0 : unlink_blob(bs, id);
}

void blob_hold(struct blob_store *bs)
{
	pthread_mutex_lock(&bs->lock);
	bs->holders++;
	pthread_mutex_unlock(&bs->lock);
}

void blob_unhold(struct blob_store *bs)
{
	struct uuid *items = NULL;
	size_t capacity = 0;

	pthread_mutex_lock(&bs->lock);
	assert(bs->holders > 0);
	if (--bs->holders == 0) {
		items = TAKE_PTR(bs->postponed);
		capacity = bs->postponed_capacity;
		bs->postponed_count = bs->postponed_capacity = 0;
	}
	pthread_mutex_unlock(&bs->lock);
	/* What cannot be removed now is for the sweep. */
	for (size_t i = 0; i < capacity; i++)
		if (!uuid_equal(&items[i], &no_id))
			unlink_blob(bs, &items[i]);
	free(items);
}

/* ---- copying ---- */

/* Not between all kinds of file systems; then sendfile() goes on from where it stands. */
static ssize_t copy_some(int from, int to, size_t left, bool *plain)
{
	ssize_t n = -1;

	if (!*plain) {
		n = copy_file_range(from, NULL, to, NULL, left, 0);
		*plain = n == 0 ||
			 (n < 0 && (errno == EXDEV || errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP));
	}
	return *plain ? sendfile(to, from, NULL, left) : n;
}

static int copy_bytes(int from, int to, int64_t size, bool (*canceled)(void *user), void *user)
{
	bool plain = false;

	while (size > 0) {
		ssize_t n = copy_some(from, to, size < CHUNK_BYTES ? (size_t)size : CHUNK_BYTES, &plain);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return blob__from_errno();
		/* Shorter than it was a moment ago: for whoever checks the copy to name. */
		if (n == 0)
			break;
		size -= n;
		if (size > 0 && canceled && canceled(user))
			return ERR_CANCELED;
	}
	return fsync(to) < 0 ? blob__from_errno() : 0;
}

int blob_look_folder(struct blob_store *bs, const struct uuid *id)
{
	char name[3] = "";
	int fd;

	hex_encode(&id->bytes[15], 1, name);
	name[2] = '\0';
	fd = openat(bs->dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* Also where there is no folder for all of them. */
	if (fd < 0 && errno == EBADF)
		errno = ENOENT;
	if (fd < 0)
		return ERR_IO;
	close(fd);
	return 0;
}

int blob_copy(struct blob_store *from, const struct uuid *id, struct blob_store *to, bool (*canceled)(void *user),
	      void *user)
{
	struct blob_path path = final_path(id);
	int source, target, rc;
	int64_t size;

	rc = blob_open(from, id, &source, &size);
	if (rc < 0)
		return rc;
	target = openat(to->dir_fd, path.text, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (target < 0) {
		rc = errno == EEXIST ? ERR_CONFLICT : blob__from_errno();
		close(source);
		return rc;
	}
	rc = copy_bytes(source, target, size, canceled, user);
	close(source);
	if (close(target) < 0 && rc == 0)
		rc = blob__from_errno();
	return rc;
}

int blob_sync(struct blob_store *bs)
{
	int rc = 0;

	for (int i = 0; rc == 0 && i < BLOB_FOLDERS; i++) {
		uint8_t byte = (uint8_t)i;
		char name[3] = "";

		hex_encode(&byte, 1, name);
		rc = blob__sync_folder(bs->dir_fd, name);
	}
	return rc == 0 ? blob__sync_folder(bs->dir_fd, ".") : rc;
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
static bool is_orphan(struct blob_store *bs, struct store *s, const char *path, const char *name, bool temporary,
		      struct uuid *ret_id, int64_t *ret_bytes)
{
	struct stat st;

	if (hex_decode(slice_str(name), ret_id->bytes, sizeof(ret_id->bytes)) < 0)
		return false;
	if (fstatat(bs->dir_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000 >= bs->opened_at_ms)
		return false;
	*ret_bytes = st.st_size;
	return temporary || (!is_postponed(bs, ret_id) && !is_named(s, ret_id));
}

/* What is to be done with each orphan. */
struct visit {
	struct store *store;
	void (*found)(void *user, const char *path, int64_t bytes); /* NULL: remove it */
	void *user;
	int64_t removed;
};

static void visit_orphan(struct blob_store *bs, struct visit *v, const char *path, const struct uuid *id,
			 bool temporary, int64_t bytes)
{
	if (v->found)
		v->found(v->user, path, bytes);
	else if ((temporary || !postpone(bs, id)) && unlinkat(bs->dir_fd, path, 0) == 0)
		v->removed++;
}

static int visit_folder(struct blob_store *bs, const char *folder, struct visit *v)
{
	bool temporary = strcmp(folder, "tmp") == 0;
	struct dirent **entries;
	int count;

	count = scandirat(bs->dir_fd, folder, &entries, NULL, NULL);
	if (count < 0)
		return errno == ENOENT && v->found ? 0 : blob__from_errno();
	for (int i = 0; i < count; i++) {
		const char *name = entries[i]->d_name;
		struct uuid id;
		char path[300];
		int64_t bytes;

		snprintf(path, sizeof(path), "%s/%s", folder, name);
		if (is_orphan(bs, v->store, path, name, temporary, &id, &bytes))
			visit_orphan(bs, v, path, &id, temporary, bytes);
		free(entries[i]);
	}
	free(entries);
	return 0;
}

static int visit_all(struct blob_store *bs, struct visit *v)
{
	int rc = visit_folder(bs, "tmp", v);

	for (int i = 0; rc == 0 && i < BLOB_FOLDERS; i++) {
		uint8_t byte = (uint8_t)i;
		char name[3] = "";

		hex_encode(&byte, 1, name);
		rc = visit_folder(bs, name, v);
	}
	return rc;
}

int blob_sweep(struct blob_store *bs, struct store *s, int64_t *ret_removed)
{
	struct visit v = { .store = s };
	int rc = visit_all(bs, &v);

	*ret_removed = v.removed;
	return rc;
}

int blob_orphans(struct blob_store *bs, struct store *s, void (*found)(void *user, const char *path, int64_t bytes),
		 void *user)
{
	struct visit v = { .store = s, .found = found, .user = user };

	return bs->dir_fd < 0 ? 0 : visit_all(bs, &v);
}

void blob_sha256(struct slice data, uint8_t ret[32])
{
	/* It fails only where the library is broken. */
	if (gnutls_hash_fast(GNUTLS_DIG_SHA256, data.data, data.size, ret) < 0)
		abort();
}
