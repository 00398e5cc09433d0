/* Happy path: prove the pages of the records file; hold the files; copy the records from one read transaction; copy
 * every file that the copy names; let go of the files; copy the links' secret; check the copy, and where a damaged
 * record leaves its traces in indexes and counts set that job aside and check again; give it its name. Failure: the
 * partial directory is removed. Where the process is killed it stays, under the name that says so.
 */
#include "server/upkeep/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <gnutls/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/base/clean.h"
#include "proto/base/clock.h"
#include "proto/base/text.h"
#include "proto/base/units.h"
#include "server/upkeep/check.h"
#include "server/store/blob.h"
#include "server/store/copy.h"
#include "server/store/keys.h"
#include "server/store/layout.h"
#include "server/store/new_dir.h"
#include "server/store/pages.h"
#include "server/store/records.h"
#include "server/store/store.h"
#include "server/upkeep/mend.h"
#include "server/upkeep/secret.h"

#define DAMAGE_TOLD	10
#define FILES_LOST	8	     /* of so many not one may be missing by itself */
#define MAP_SLACK_BYTES (64LL << 20) /* what a copy in many transactions may need beyond its size */

struct backup {
	const struct backup_options *options;
	struct new_dir *dir;
	struct store *store; /* the copy's */
	struct blob_store *blobs;
	int64_t blob_count, blob_bytes; /* still to be copied */
	int64_t blobs_copied;		/* those that are missing included */
	int64_t blobs_missing;
	char first_breach[160];
	char damage[DAMAGE_TOLD][160]; /* the first lines */
	size_t damage_count;
	struct backup_result result;
	struct error_info *info;
};

static int canceled(const struct backup *b)
{
	const struct backup_options *o = b->options;

	return o->canceled && o->canceled(o->user) ? error_set(b->info, ERR_CANCELED, NULL, "the backup was canceled")
						   : 0;
}

static bool canceled_cb(void *user)
{
	const struct backup *b = user;

	return b->options->canceled && b->options->canceled(b->options->user);
}

/* While the source is read. */
static bool reading_canceled_cb(void *user)
{
	const struct backup_options *o = ((const struct backup *)user)->options;

	return canceled_cb(user) || (o->in_the_way && o->in_the_way(o->user));
}

static void progress_cb(void *user, const char *what, int64_t done, int64_t total)
{
	const struct backup *b = user;

	if (b->options->progress)
		b->options->progress(b->options->user, what, done, total);
}

/* ---- the source's pages ---- */

static void page_cb(void *user, const char *line)
{
	struct backup *b = user;

	if (!b->first_breach[0])
		snprintf(b->first_breach, sizeof(b->first_breach), "%s", line);
}

/* Where the structure of the file is damaged LMDB may end the process, or pass over rows. That keys stand in a wrong
 * order is told by the copy, which names them. */
static int prove_source(struct backup *b)
{
	const struct pages_options options = { .report = page_cb,
					       .progress = progress_cb,
					       .canceled = reading_canceled_cb,
					       .user = b,
					       .any_order = true,
					       .for_copy = true };
	struct pages_result found;
	int rc = pages_check(b->options->store, &options, &found);

	if (rc == ERR_CANCELED)
		return error_set(b->info, rc, NULL, "the backup was canceled");
	if (rc < 0)
		return error_set(b->info, rc, NULL, "cannot read the store: %s",
				 rc == ERR_STORE_ERROR ? store_error_detail() : error_text(rc));
	if (found.breaches == 0)
		return 0;
	if (found.harm == 0)
		return error_set(b->info, ERR_CORRUPT, NULL,
				 "the pages of the records file are damaged: stop the broker and run raincheckd "
				 "--compact, which mends this; the first of %lld breaches: %.70s",
				 (long long)found.breaches, b->first_breach);
	return error_set(
		b->info, ERR_CORRUPT, NULL,
		"the records file has damaged pages that raincheckd --compact refuses too: erase a job that such a "
		"page hides, or restore the last backup; %lld breaches, the first: %.70s",
		(long long)found.breaches, found.first_harm);
}

/* ---- records ---- */

static int open_copy(struct backup *b)
{
	struct store_options options = { .dir = new_dir_path(b->dir) };
	struct store_info source;
	int rc;

	rc = store_info(b->options->store, &source);
	if (rc < 0)
		return error_set(b->info, rc, NULL, "cannot read the store: %s", store_error_detail());
	options.max_bytes = source.max_bytes + source.max_bytes / 4 + MAP_SLACK_BYTES;
	rc = store_open(&options, &b->store, b->info);
	return rc == 0 ? blob_store_open(options.dir, &b->blobs, b->info) : rc;
}

/* How much there may be still to come is known as a bound only: the source's file has free pages. */
static int no_room_for_records(struct backup *b)
{
	struct store_info source = { .used_bytes = 0 }, copy = { .used_bytes = 0 };
	int64_t missing;

	store_info(b->options->store, &source);
	store_info(b->store, &copy);
	missing = source.used_bytes - copy.used_bytes - new_dir_room(b->dir);
	return error_set(b->info, ERR_STORE_FULL, NULL,
			 "no room for the copy: up to %s more are needed for the records",
			 units_format_size(missing > 0 ? missing : 1).text);
}

static int copy_records(struct backup *b)
{
	const struct copy_options options = { .canceled = reading_canceled_cb, .progress = progress_cb, .user = b };
	_cleanup_(store_abortp) struct store_txn *t = NULL;
	struct copy_result copied;
	int rc;

	rc = store_begin_read(b->options->store, &t);
	if (rc < 0)
		return error_set(b->info, rc, NULL, "cannot read the store: %s", store_error_detail());
	rc = store_copy(t, b->store, &options, &copied);
	if (rc == ERR_STORE_FULL)
		return no_room_for_records(b);
	if (rc == ERR_CANCELED)
		return error_set(b->info, rc, NULL, "the backup was canceled");
	return rc < 0 ? store_copy_explain(rc, &copied, b->info) : 0;
}

/* ---- artifacts ---- */

/* Calls each for every file that the copy names. Its one transaction is the copy's own: nobody waits for it. */
static int for_each_blob(struct backup *b, int (*each)(struct backup *b, const struct artifact *a))
{
	_cleanup_(store_abortp) struct store_txn *t = NULL;
	struct slice key, value;
	int rc;

	rc = store_begin_read(b->store, &t);
	if (rc == 0)
		rc = store_seek(t, TABLE_ARTIFACTS, slice_of(NULL, 0), &key, &value);
	while (rc == 0) {
		struct artifact a;

		if (record_read_artifact(key, value, &a) == 0 && a.has_blob)
			rc = each(b, &a);
		if (rc < 0)
			return rc;
		rc = store_next(t, TABLE_ARTIFACTS, &key, &value);
	}
	return rc == ERR_NOT_FOUND ? 0 : error_set(b->info, rc, NULL, "cannot read the copy: %s", store_error_detail());
}

static int count_blob(struct backup *b, const struct artifact *a)
{
	b->blob_count++;
	b->blob_bytes += a->size;
	return 0;
}

static int no_room_for_files(struct backup *b, int64_t bytes)
{
	return error_set(b->info, ERR_STORE_FULL, NULL, "no room for the copy: %s more are needed for the artifacts",
			 units_format_size(bytes).text);
}

/* That is no damage of single jobs: such a backup would look well, and have nothing of what was paid for. */
static int folder_missing(struct backup *b, const struct uuid *id)
{
	return error_set(b->info, ERR_IO, NULL,
			 "cannot read %.100s/blobs/%02x: %s; put the files of the artifacts back, or mount them",
			 store_dir(b->options->store), id->bytes[15], strerror(errno));
}

static int refuse_empty_folders(struct backup *b)
{
	if (b->blobs_missing < FILES_LOST || b->blobs_missing < b->blobs_copied)
		return 0;
	return error_set(b->info, ERR_IO, NULL,
			 "none of the %lld files of artifacts is in %.100s/blobs: put them back, or mount them",
			 (long long)b->blobs_missing, store_dir(b->options->store));
}

static int copy_blob(struct backup *b, const struct artifact *a)
{
	const struct backup_options *o = b->options;
	int rc = canceled(b);

	if (rc < 0)
		return rc;
	rc = blob_copy(o->blobs, &a->blob, b->blobs, canceled_cb, b);
	if (rc == ERR_NOT_FOUND && blob_look_folder(o->blobs, &a->blob) < 0)
		return folder_missing(b, &a->blob);
	b->blobs_missing += rc == ERR_NOT_FOUND;
	/* A file that is missing, or named twice, is missing or named twice in the copy too: the check says so. */
	if (rc == ERR_NOT_FOUND || rc == ERR_CONFLICT)
		rc = 0;
	else if (rc == ERR_STORE_FULL)
		return no_room_for_files(b, b->blob_bytes);
	else if (rc == ERR_CANCELED)
		return error_set(b->info, rc, NULL, "the backup was canceled");
	else if (rc < 0)
		return error_set(b->info, rc, NULL, "cannot copy blob %s: %s", uuid_format(&a->blob).text,
				 strerror(errno));
	b->blob_bytes -= a->size;
	b->blob_count--;
	b->blobs_copied++;
	if (o->progress)
		o->progress(o->user, "files copied", b->blobs_copied, b->blobs_copied + b->blob_count);
	return rc;
}

static int copy_blobs(struct backup *b)
{
	int64_t room = new_dir_room(b->dir);
	int rc;

	rc = for_each_blob(b, count_blob);
	if (rc == 0 && b->blob_bytes > room)
		rc = no_room_for_files(b, b->blob_bytes - room);
	if (rc == 0)
		rc = for_each_blob(b, copy_blob);
	if (rc == 0)
		rc = refuse_empty_folders(b);
	if (rc == 0 && blob_sync(b->blobs) < 0)
		rc = error_set(b->info, ERR_IO, NULL, "cannot sync the copy of the artifacts: %s", strerror(errno));
	return rc;
}

/* ---- the links' secret ---- */

/* What the records know of it; "" where no link was ever made. */
static int known_fingerprint(struct backup *b, char ret[LINK_FINGERPRINT_CHARS + 1])
{
	_cleanup_(store_abortp) struct store_txn *t = NULL;
	struct key key = key_word(META_LINK_SECRET);
	struct slice value;
	int rc;

	ret[0] = '\0';
	rc = store_begin_read(b->store, &t);
	if (rc == 0)
		rc = store_get(t, TABLE_META, key_slice(&key), &value);
	if (rc == ERR_NOT_FOUND)
		return 0;
	if (rc < 0)
		return error_set(b->info, rc, NULL, "cannot read the copy: %s", store_error_detail());
	snprintf(ret, LINK_FINGERPRINT_CHARS + 1, "%.*s", SLICE_FMT(value));
	return 0;
}

/* With another secret every link of the copy would be dead. */
static int read_secret(struct backup *b, const char *known, uint8_t ret[LINK_SECRET_BYTES])
{
	const char *dir = store_dir(b->options->store);
	int rc = secret_read(dir, ret, b->info);

	/* What the records know of must be there. */
	if (rc == ERR_NOT_FOUND)
		rc = b->info->code = ERR_IO;
	if (rc < 0 || strcmp(known, secret_fingerprint(ret).text) == 0)
		return rc;
	return error_set(b->info, ERR_CORRUPT, NULL,
			 "%.90s/" LAYOUT_LINK_KEY " is not the secret of these links: put the right one back, or where "
			 "only its fingerprint is damaged run raincheckd --compact",
			 dir);
}

static int write_secret(struct backup *b, const uint8_t secret[LINK_SECRET_BYTES])
{
	char path[4200];
	int fd, rc = 0;

	snprintf(path, sizeof(path), "%s/" LAYOUT_LINK_KEY, new_dir_path(b->dir));
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, secret, LINK_SECRET_BYTES) != LINK_SECRET_BYTES || fsync(fd) < 0)
		rc = error_set(b->info, errno == ENOSPC ? ERR_STORE_FULL : ERR_IO, NULL,
			       "cannot write the copy of the links' secret: %s", strerror(errno));
	if (fd >= 0)
		close(fd);
	return rc;
}

static int copy_secret(struct backup *b)
{
	char known[LINK_FINGERPRINT_CHARS + 1];
	uint8_t secret[LINK_SECRET_BYTES];
	int rc;

	rc = known_fingerprint(b, known);
	if (rc < 0 || !known[0])
		return rc;
	rc = read_secret(b, known, secret);
	return rc == 0 ? write_secret(b, secret) : rc;
}

/* ---- proving it ---- */

static void note_damage(void *user, const char *line)
{
	struct backup *b = user;

	if (b->damage_count < DAMAGE_TOLD)
		snprintf(b->damage[b->damage_count++], sizeof(b->damage[0]), "%s", line);
}

static void found_cb(void *user, enum check_kind kind, const char *line)
{
	struct backup *b = user;

	if (kind == CHECK_BREACH && !b->first_breach[0])
		snprintf(b->first_breach, sizeof(b->first_breach), "%s", line);
	if (kind == CHECK_DAMAGE)
		note_damage(b, line);
}

static int check_copy(struct backup *b, struct check_result *ret)
{
	const struct check_options options = { .store = b->store,
					       .blobs = b->blobs,
					       .report = found_cb,
					       .progress = progress_cb,
					       .canceled = canceled_cb,
					       .user = b };
	int rc;

	b->first_breach[0] = '\0';
	rc = check_store(&options, ret);
	if (rc == ERR_CANCELED)
		return error_set(b->info, rc, NULL, "the backup was canceled");
	return rc < 0 ? error_set(b->info, rc, NULL, "cannot check the copy: %s", error_text(rc)) : 0;
}

/* What a damaged record leaves in indexes and counts is no damage beside it once its job is set aside. */
static int set_damage_aside(struct backup *b)
{
	const struct mend_options options = { .store = b->store,
					      .damage_only = true,
					      .report = note_damage,
					      .progress = progress_cb,
					      .canceled = canceled_cb,
					      .user = b };
	struct mend_result mended;
	int rc;

	b->damage_count = 0;
	rc = mend_store(&options, &mended);
	if (rc == ERR_CANCELED)
		return error_set(b->info, rc, NULL, "the backup was canceled");
	b->result.damaged = mended.set_aside;
	return rc < 0 ? error_set(b->info, rc, NULL, "cannot set damage aside in the copy: %s", error_text(rc)) : 0;
}

static bool is_broken(const struct check_result *found)
{
	return found->breaches > found->damaged;
}

static int prove(struct backup *b)
{
	struct check_result found;
	int rc = check_copy(b, &found);

	if (rc == 0 && is_broken(&found) && found.damaged > 0) {
		rc = set_damage_aside(b);
		if (rc == 0)
			rc = check_copy(b, &found);
	}
	if (rc < 0)
		return rc;
	if (is_broken(&found))
		return error_set(b->info, ERR_CORRUPT, NULL,
				 "the copy has %lld breaches, as what was copied must: %s; raincheckd --compact "
				 "mends what can be mended",
				 (long long)(found.breaches - found.damaged), b->first_breach);
	b->result.jobs = found.jobs;
	b->result.artifacts = found.artifacts;
	b->result.set_aside = found.set_aside;
	b->result.damaged += found.damaged;
	return 0;
}

/* ---- the whole ---- */

/* With the files held: the snapshot is taken after that. */
static int copy_held(struct backup *b)
{
	int rc = copy_records(b);

	return rc == 0 ? copy_blobs(b) : rc;
}

static int fill(struct backup *b)
{
	int rc;

	rc = prove_source(b);
	if (rc == 0)
		rc = open_copy(b);
	if (rc < 0)
		return rc;
	blob_hold(b->options->blobs);
	rc = copy_held(b);
	blob_unhold(b->options->blobs);
	if (rc == 0)
		rc = copy_secret(b);
	return rc == 0 ? prove(b) : rc;
}

static void close_copy(struct backup *b)
{
	char path[4200];

	blob_store_close(TAKE_PTR(b->blobs));
	store_close(TAKE_PTR(b->store));
	/* LMDB's, of a process that is done with it. */
	snprintf(path, sizeof(path), "%s/" LAYOUT_RECORDS "-lock", new_dir_path(b->dir));
	unlink(path);
}

/* A copy inside of what it is a copy of would be swept, or copied into itself. */
static int refuse_inside(const char *path, const char *data, struct error_info *info)
{
	_cleanup_free_ char *copy = strdup(path);
	_cleanup_free_ char *parent = NULL;
	_cleanup_free_ char *within = realpath(data, NULL);
	size_t size = within ? strlen(within) : 0;

	if (!copy)
		return error_set(info, ERR_NO_MEMORY, NULL, "%s", error_text(ERR_NO_MEMORY));
	parent = realpath(dirname(copy), NULL);
	/* A parent that is not there is told by whoever makes the directory. */
	if (!parent || !within || strncmp(parent, within, size) != 0 || (parent[size] != '/' && parent[size] != '\0'))
		return 0;
	return error_set(info, ERR_CONFLICT, NULL, "%.200s lies inside of the data directory", path);
}

int backup_run(const struct backup_options *options, struct backup_result *ret, struct error_info *info)
{
	_cleanup_(new_dir_donep) struct new_dir *dir = NULL;
	struct backup b = { .options = options, .info = info };
	int64_t began_ms = clock_mono_ms();
	int rc;

	rc = refuse_inside(options->path, store_dir(options->store), info);
	if (rc == 0)
		rc = new_dir_begin(options->path, &dir, info);
	if (rc < 0)
		return rc;
	b.dir = dir;
	rc = fill(&b);
	close_copy(&b);
	if (rc == 0)
		rc = canceled(&b);
	if (rc < 0)
		return rc;
	b.result.bytes = new_dir_bytes(dir);
	rc = new_dir_publish(dir, LAYOUT_LINK_KEY, info);
	if (rc < 0)
		return rc;
	b.result.took_ms = clock_mono_ms() - began_ms;
	for (size_t i = 0; options->damage && i < b.damage_count; i++)
		options->damage(options->user, b.damage[i]);
	*ret = b.result;
	return 0;
}
