#include "server/store/new_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "proto/base/clean.h"

struct new_dir {
	char *path;    /* asked for, no slash at the end */
	char *partial; /* where it is filled; NULL: not made, or published */
	bool inside;   /* partial stands in path, not beside it */
};

static int io_error(struct error_info *info, const char *what, const char *path)
{
	int code = errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? ERR_STORE_FULL : ERR_IO;

	return error_set(info, code, NULL, "cannot %s %.120s: %s", what, path, strerror(errno));
}

static int no_memory(struct error_info *info)
{
	return error_set(info, ERR_NO_MEMORY, NULL, "%s", error_text(ERR_NO_MEMORY));
}

/* ---- trees ---- */

void new_dir_remove_tree(const char *path)
{
	char *roots[] = { (char *)(uintptr_t)path, NULL };
	FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
	FTSENT *entry;

	if (!tree)
		return;
	while ((entry = fts_read(tree)))
		if (entry->fts_info == FTS_DP)
			rmdir(entry->fts_accpath);
		else if (entry->fts_info != FTS_D)
			unlink(entry->fts_accpath);
	fts_close(tree);
}

int64_t new_dir_bytes(const struct new_dir *d)
{
	char *roots[] = { d->partial, NULL };
	FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
	int64_t bytes = 0;
	FTSENT *entry;

	if (!tree)
		return 0;
	while ((entry = fts_read(tree)))
		if (entry->fts_info == FTS_F)
			bytes += entry->fts_statp->st_size;
	fts_close(tree);
	return bytes;
}

int new_dir_sync(const char *path, struct error_info *info)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = 0;

	if (fd < 0 || fsync(fd) < 0)
		rc = io_error(info, "sync", path);
	if (fd >= 0)
		close(fd);
	return rc;
}

/* The directory that holds path's name: everything before its last part. */
static char *parent_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return strdup(".");
	return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

/* ---- beginning ---- */

static bool is_empty(const char *path)
{
	struct dirent **entries;
	int count = scandir(path, &entries, NULL, NULL);

	for (int i = 0; i < count; i++)
		free(entries[i]);
	if (count >= 0)
		free(entries);
	/* Itself and its parent. */
	return count >= 0 && count <= 2;
}

/* A directory that stands there already: whether rename() could put another into its place. */
static bool can_replace(const char *parent, const struct stat *st)
{
	struct stat above;

	return S_ISDIR(st->st_mode) && stat(parent, &above) == 0 && above.st_dev == st->st_dev &&
	       access(parent, W_OK | X_OK) == 0;
}

static int look_at(struct new_dir *d, const char *parent, struct error_info *info)
{
	struct stat st, target;

	if (lstat(d->path, &st) < 0)
		return errno == ENOENT ? 0 : io_error(info, "look at", d->path);
	if (stat(d->path, &target) < 0)
		return io_error(info, "look at", d->path);
	if (!S_ISDIR(target.st_mode))
		return error_set(info, ERR_CONFLICT, NULL, "%.160s is there already, and no directory", d->path);
	if (!is_empty(d->path))
		return error_set(info, ERR_CONFLICT, NULL, "%.160s is there already, and not empty", d->path);
	d->inside = !can_replace(parent, &st);
	return 0;
}

static int make_partial(struct new_dir *d, struct error_info *info)
{
	char *partial = NULL;
	int rc;

	if (asprintf(&partial, d->inside ? "%s/partial-XXXXXX" : "%s.partial-XXXXXX", d->path) < 0)
		return no_memory(info);
	if (!mkdtemp(partial)) {
		rc = io_error(info, "make a directory at", d->path);
		free(partial);
		return rc;
	}
	d->partial = partial;
	return 0;
}

static char *without_slash(const char *path)
{
	size_t size = strlen(path);

	while (size > 1 && path[size - 1] == '/')
		size--;
	return strndup(path, size);
}

int new_dir_begin(const char *path, struct new_dir **ret, struct error_info *info)
{
	_cleanup_(new_dir_donep) struct new_dir *d = calloc(1, sizeof(*d));
	_cleanup_free_ char *parent = NULL;
	int rc;

	if (!d || !(d->path = without_slash(path)) || !(parent = parent_of(d->path)))
		return no_memory(info);
	if (d->path[0] == '\0')
		return error_set(info, ERR_CONFLICT, NULL, "the directory has no name");
	rc = look_at(d, parent, info);
	if (rc == 0)
		rc = make_partial(d, info);
	if (rc < 0)
		return rc;
	*ret = TAKE_PTR(d);
	return 0;
}

const char *new_dir_path(const struct new_dir *d)
{
	return d->partial;
}

int64_t new_dir_room(const struct new_dir *d)
{
	struct statvfs fs;

	if (statvfs(d->partial, &fs) < 0)
		return INT64_MAX;
	return (int64_t)(fs.f_bavail * fs.f_frsize);
}

/* ---- publishing ---- */

/* Of an entry that is not there nothing is to be moved. */
static int move_entry(const char *from_dir, const char *to_dir, const char *name, struct error_info *info)
{
	_cleanup_free_ char *from = NULL;
	_cleanup_free_ char *to = NULL;

	if (asprintf(&from, "%s/%s", from_dir, name) < 0 || asprintf(&to, "%s/%s", to_dir, name) < 0)
		return no_memory(info);
	return rename(from, to) < 0 && errno != ENOENT ? io_error(info, "make", to) : 0;
}

static bool is_last_or_no_entry(const struct dirent *entry, const char *last)
{
	return strcmp(entry->d_name, last) == 0 || strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
}

static int move_listed(struct new_dir *d, struct dirent **entries, int count, const char *last, struct error_info *info)
{
	struct error_info ignored;
	int rc = 0;

	for (int i = 0; rc == 0 && i < count; i++)
		if (!is_last_or_no_entry(entries[i], last))
			rc = move_entry(d->partial, d->path, entries[i]->d_name, info);
	if (rc == 0)
		rc = new_dir_sync(d->path, info);
	if (rc == 0)
		rc = move_entry(d->partial, d->path, last, info);
	if (rc == 0)
		rc = new_dir_sync(d->path, info);
	for (int i = 0; rc < 0 && i < count; i++)
		if (strcmp(entries[i]->d_name, ".") != 0 && strcmp(entries[i]->d_name, "..") != 0)
			move_entry(d->path, d->partial, entries[i]->d_name, &ignored);
	return rc;
}

static int move_entries(struct new_dir *d, const char *last, struct error_info *info)
{
	struct dirent **entries;
	int count = scandir(d->partial, &entries, NULL, NULL);
	int rc;

	if (count < 0)
		return io_error(info, "read", d->partial);
	rc = move_listed(d, entries, count, last, info);
	for (int i = 0; i < count; i++)
		free(entries[i]);
	free(entries);
	if (rc == 0)
		rmdir(d->partial);
	return rc;
}

static int rename_whole(struct new_dir *d, struct error_info *info)
{
	_cleanup_free_ char *parent = parent_of(d->path);
	int rc;

	if (!parent)
		return no_memory(info);
	if (rename(d->partial, d->path) < 0) {
		if (errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR)
			return error_set(info, ERR_CONFLICT, NULL, "%.160s has come to be there meanwhile", d->path);
		return io_error(info, "make", d->path);
	}
	rc = new_dir_sync(parent, info);
	/* A name that is not on disk was not given. */
	if (rc < 0)
		rename(d->path, d->partial);
	return rc;
}

int new_dir_publish(struct new_dir *d, const char *last, struct error_info *info)
{
	int rc = new_dir_sync(d->partial, info);

	if (rc == 0)
		rc = d->inside ? move_entries(d, last, info) : rename_whole(d, info);
	if (rc < 0)
		return rc;
	free(d->partial);
	d->partial = NULL;
	return 0;
}

void new_dir_done(struct new_dir *d)
{
	if (!d)
		return;
	if (d->partial)
		new_dir_remove_tree(d->partial);
	free(d->partial);
	free(d->path);
	free(d);
}
