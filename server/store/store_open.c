/* Taking a data directory, opening what is in it, and opening it anew after LMDB gave up. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/clean.h"
#include "proto/base/log.h"
#include "server/store/layout.h"
#include "server/store/migrate.h"
#include "server/store/store_priv.h"

#define MAX_READERS   512
#define FILE_NAME     "raincheck.mdb"
#define LINE_BYTES    200 /* of a breach, within an error's message */
#define NEW_FILE_NAME "raincheck.mdb.new"

static int path_of(const struct store *s, const char *name, char *ret, size_t size, struct error_info *info)
{
	int n = snprintf(ret, size, "%s/%s", s->dir, name);

	if (n < 0 || (size_t)n >= size)
		return error_set(info, ERR_IO, NULL, "the data directory's name is too long");
	return 0;
}

/* A file whose name a power cut takes is lost however well it was synced itself. */
static int sync_names(struct store *s, const char *where, struct error_info *info)
{
	char path[4096];
	int fd, rc;

	rc = path_of(s, where, path, sizeof(path), info);
	if (rc < 0)
		return rc;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* The folder above may be closed to us; then nothing can be done. */
	if (fd < 0 && errno == EACCES)
		return 0;
	if (fd < 0 || fsync(fd) < 0)
		rc = error_set(info, ERR_IO, NULL, "cannot sync %s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return rc;
}

static int take_directory(struct store *s, bool read_only, struct error_info *info)
{
	bool made = !read_only && mkdir(s->dir, 0700) == 0;
	char path[4096];
	int rc;

	if (!read_only && !made && errno != EEXIST)
		return error_set(info, ERR_IO, NULL, "cannot make the data directory %s: %s", s->dir, strerror(errno));
	rc = made ? sync_names(s, "..", info) : 0;
	if (rc == 0)
		rc = path_of(s, "lock", path, sizeof(path), info);
	if (rc < 0)
		return rc;
	s->lock_fd = open(path, read_only ? O_RDONLY | O_CLOEXEC : O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (s->lock_fd < 0)
		return error_set(info, ERR_IO, NULL, "cannot open %s: %s", path, strerror(errno));
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return error_set(info, ERR_CONFLICT, NULL, "another raincheckd uses the data directory %s", s->dir);
	return 0;
}

/* LMDB ends the process where it finds a page that cannot be; the operator is told before that what to do. */
static void assert_cb(MDB_env *env, const char *message)
{
	const char *path = "?";

	mdb_env_get_path(env, &path);
	log_error("%s is damaged, LMDB cannot go on: %s; stop raincheckd and look at the data directory with "
		  "raincheckd --check",
		  path, message);
}

static int open_env(struct store *s, const char *name, unsigned flags, struct error_info *info)
{
	char path[4096];
	int rc;

	flags |= MDB_NOSUBDIR | MDB_NOTLS | MDB_NORDAHEAD;
	rc = path_of(s, name, path, sizeof(path), info);
	if (rc < 0)
		return rc;
	rc = mdb_env_create(&s->env);
	if (rc == 0)
		rc = mdb_env_set_assert(s->env, assert_cb);
	if (rc == 0)
		rc = mdb_env_set_maxdbs(s->env, STORE_TABLES);
	if (rc == 0)
		rc = mdb_env_set_maxreaders(s->env, MAX_READERS);
	if (rc == 0)
		rc = mdb_env_set_mapsize(s->env, (size_t)s->max_bytes);
	if (rc == 0)
		rc = mdb_env_open(s->env, path, flags, 0600);
	if (rc != 0)
		return error_set(info, store__translate(rc), NULL, "cannot open %s: %s", path, mdb_strerror(rc));
	return store__check_length(s->env, path, info);
}

/* Nothing is made before the format is known: a newer one is left as it is, an older one may lack tables. */
static int open_tables(struct store *s, const struct store_options *o, struct error_info *info)
{
	_cleanup_(store_abortp) struct store_txn *t = NULL;
	uint32_t format = STORE_FORMAT;
	int rc;

	rc = store__begin(s, o->read_only ? MDB_RDONLY : 0, &t);
	if (rc == 0)
		rc = store__open_table(t, TABLE_META, o->read_only);
	if (rc == 0)
		rc = migrate_look(t, o->read_only, &format, info);
	for (int i = 0; rc == 0 && i < STORE_TABLES; i++)
		rc = i == TABLE_META ? 0 : store__open_table(t, (enum store_table)i, o->read_only);
	if (rc == 0)
		rc = migrate_run(t, format, o, info);
	/* A reader's handles outlive its transaction only if that one is committed too. */
	if (rc == 0)
		rc = store_commit(TAKE_PTR(t));
	if (rc == 0)
		rc = store__guard(s);
	if (rc < 0 && info->code == 0)
		error_set(info, rc, NULL, "cannot read the store in %s: %s", s->dir,
			  rc == ERR_STORE_ERROR || rc == ERR_STORE_FULL ? store_error_detail() : error_text(rc));
	return rc;
}

static void close_env(struct store *s)
{
	if (s->env)
		mdb_env_close(s->env);
	s->env = NULL;
	s->map = NULL;
	store__ways_done(s);
}

/* What is found is kept: nobody else writes the file while its directory is ours. */
static int prove(struct store *s, const struct pages_options *options, struct error_info *info)
{
	char path[4096];
	int rc = path_of(s, FILE_NAME, path, sizeof(path), info);

	if (rc == 0)
		rc = pages_check_file(path, options, &s->pages);
	if (rc < 0)
		return error_set(info, rc, NULL, "cannot read %s: %s", path,
				 rc == ERR_STORE_ERROR ? store_error_detail() : error_text(rc));
	s->proved = true;
	s->any_number = options->for_copy;
	if (s->pages.harm == 0)
		return 0;
	return error_set(info, ERR_CORRUPT, NULL, "the pages of %.70s have %lld breaches: %.100s", path,
			 (long long)s->pages.breaches, s->pages.first_harm);
}

static void note_first_cb(void *user, const char *line)
{
	char *first = user;

	if (!first[0])
		snprintf(first, LINE_BYTES, "%s", line);
}

/* A writer takes pages from the list of free ones from the first moment on: where that is damaged they are another's.
 */
static int prove_lists(struct store *s, struct error_info *info)
{
	char path[4096], first[LINE_BYTES] = "";
	const struct pages_options options = { .report = note_first_cb, .user = first };
	struct pages_result found;
	int rc = path_of(s, FILE_NAME, path, sizeof(path), info);

	if (rc < 0)
		return rc;
	rc = pages_check_lists(path, &options, &found);
	if (rc < 0)
		return error_set(info, rc, NULL, "cannot read %.160s: %s", path,
				 rc == ERR_STORE_ERROR ? store_error_detail() : error_text(rc));
	if (found.breaches == 0)
		return 0;
	return error_set(info, ERR_CORRUPT, NULL, "%.70s: %.110s; try raincheckd --compact, or a backup", path, first);
}

static int open_file(struct store *s, struct error_info *info)
{
	/* The flock above keeps other processes out, so a reader needs no lock file of LMDB's. */
	return open_env(s, FILE_NAME, s->read_only ? MDB_RDONLY | MDB_NOLOCK : 0u, info);
}

/* A directory that holds the rest of a store is not new: beginning anew there would sweep its files away. */
static int refuse_used(const struct store *s, const char *records, struct error_info *info)
{
	char path[4096];
	int rc = path_of(s, LAYOUT_LINK_KEY, path, sizeof(path), info);

	if (rc < 0 || access(path, F_OK) < 0)
		return rc;
	return error_set(info, ERR_CORRUPT, NULL,
			 "%.200s is missing and %.200s is there: put the file back, or move the rest away", records,
			 path);
}

/* LMDB writes the first pages of a new file without syncing them: one that a power cut leaves without them it takes for
 * no file of its own. So the file gets its name when its first commit is on the disk. */
static int make_file(struct store *s, const struct store_options *o, struct error_info *info)
{
	char path[4096], final[4096];
	struct stat st;
	int rc;

	rc = path_of(s, FILE_NAME, final, sizeof(final), info);
	if (rc == 0)
		rc = path_of(s, NEW_FILE_NAME, path, sizeof(path), info);
	if (rc < 0)
		return rc;
	if (stat(final, &st) == 0)
		return st.st_size > 0 ? 0 : error_set(info, ERR_CORRUPT, NULL, "%s is empty: it was cut short", final);
	rc = refuse_used(s, final, info);
	if (rc < 0)
		return rc;
	if (unlink(path) < 0 && errno != ENOENT)
		return error_set(info, ERR_IO, NULL, "cannot remove %s: %s", path, strerror(errno));
	rc = open_env(s, NEW_FILE_NAME, MDB_NOLOCK, info);
	if (rc == 0)
		rc = open_tables(s, o, info);
	close_env(s);
	if (rc == 0 && rename(path, final) < 0)
		rc = error_set(info, ERR_IO, NULL, "cannot make %s: %s", final, strerror(errno));
	return rc < 0 ? rc : sync_names(s, ".", info);
}

int store_open(const struct store_options *options, struct store **ret, struct error_info *info)
{
	struct store *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return error_set(info, ERR_NO_MEMORY, NULL, "%s", error_text(ERR_NO_MEMORY));
	info->code = 0;
	s->lock_fd = -1;
	s->max_bytes = options->max_bytes;
	s->read_only = options->read_only;
	s->notice = options->notice;
	s->notice_user = options->notice_user;
	pthread_mutex_init(&s->lock, NULL);
	s->dir = strdup(options->dir);
	rc = s->dir ? take_directory(s, options->read_only, info) : ERR_NO_MEMORY;
	if (rc == 0 && !options->read_only)
		rc = make_file(s, options, info);
	if (rc == 0 && !options->read_only)
		rc = prove_lists(s, info);
	if (rc == 0 && options->read_only && options->prove)
		rc = prove(s, options->prove, info);
	if (rc == 0)
		rc = open_file(s, info);
	if (rc == 0)
		rc = open_tables(s, options, info);
	if (rc == 0 && !options->read_only)
		rc = sync_names(s, ".", info);
	if (rc < 0) {
		store_close(s);
		return rc;
	}
	*ret = s;
	return 0;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	close_env(s);
	/* Closing the descriptor lets the lock go; the file stays, or another process might lock one that is unlinked.
	 */
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	pthread_mutex_destroy(&s->lock);
	free(s->dir);
	free(s);
}

const char *store_dir(const struct store *s)
{
	return s->dir;
}

/* ---- opening anew ---- */

int store__enter(struct store *s)
{
	int rc;

	pthread_mutex_lock(&s->lock);
	rc = s->shut ? store__translate(MDB_PANIC) : 0;
	if (rc == 0)
		s->inside++;
	pthread_mutex_unlock(&s->lock);
	return rc;
}

void store__leave(struct store *s)
{
	pthread_mutex_lock(&s->lock);
	s->inside--;
	pthread_mutex_unlock(&s->lock);
}

bool store_is_shut(struct store *s)
{
	bool shut;

	pthread_mutex_lock(&s->lock);
	shut = s->shut;
	pthread_mutex_unlock(&s->lock);
	return shut;
}

int store__reopen(struct store *s)
{
	struct store_options options = { .dir = s->dir, .max_bytes = s->max_bytes };
	struct error_info info = { 0 };
	int inside, rc;

	pthread_mutex_lock(&s->lock);
	s->shut = true;
	inside = s->inside;
	pthread_mutex_unlock(&s->lock);
	/* Nobody new comes in; who is in leaves soon. */
	if (inside > 0)
		return store__translate(MDB_PANIC);
	close_env(s);
	rc = open_file(s, &info);
	/* The old page that LMDB put back is to be on the disk before another transaction overwrites what the new one
	 * names.
	 */
	if (rc == 0)
		rc = store__translate(mdb_env_sync(s->env, 1));
	if (rc == 0)
		rc = open_tables(s, &options, &info);
	if (rc < 0) {
		/* Half open is shut: the next call tries again. */
		close_env(s);
		return rc;
	}
	pthread_mutex_lock(&s->lock);
	s->shut = false;
	pthread_mutex_unlock(&s->lock);
	return 0;
}
