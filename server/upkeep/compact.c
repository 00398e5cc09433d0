#include "server/upkeep/compact.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/clean.h"
#include "server/upkeep/check.h"
#include "server/store/blob.h"
#include "server/store/copy.h"
#include "server/store/layout.h"
#include "server/store/new_dir.h"
#include "server/store/store.h"

#define PARTIAL		"compact.partial"
#define PATH_BYTES	4096
#define MAP_SLACK_BYTES (64LL << 20) /* what a copy in many transactions may need beyond its size */

struct compaction {
	const struct compact_options *options;
	struct store *source, *copy;
	struct blob_store *blobs; /* the source's */
	char partial[PATH_BYTES];
	char first_breach[160];
	struct error_info *info;
};

static int open_both(struct compaction *c)
{
	struct store_options source = { .dir = c->options->dir, .max_bytes = c->options->max_bytes, .read_only = true };
	struct store_options copy = { .dir = c->partial };
	struct store_info info;
	int rc;

	rc = store_open(&source, &c->source, c->info);
	if (rc == 0)
		rc = blob_store_look(c->options->dir, &c->blobs, c->info);
	if (rc < 0)
		return rc;
	rc = store_info(c->source, &info);
	if (rc < 0)
		return error_set(c->info, rc, NULL, "cannot read the store: %s", store_error_detail());
	/* The lock of the directory is ours now: what lies there is left over. */
	new_dir_remove_tree(c->partial);
	copy.max_bytes = info.max_bytes + info.max_bytes / 4 + MAP_SLACK_BYTES;
	return store_open(&copy, &c->copy, c->info);
}

static int copy_records(struct compaction *c)
{
	const struct copy_options options = { .progress = c->options->progress, .user = c->options->user };
	_cleanup_(store_abortp) struct store_txn *t = NULL;
	struct copy_result copied;
	int rc;

	rc = store_begin_read(c->source, &t);
	if (rc == 0)
		rc = store_copy(t, c->copy, &options, &copied);
	return rc < 0 ? error_set(c->info, rc, NULL, "cannot copy the records: %s", store_error_detail()) : 0;
}

static void found_cb(void *user, enum check_kind kind, const char *line)
{
	struct compaction *c = user;

	if (kind == CHECK_BREACH && !c->first_breach[0])
		snprintf(c->first_breach, sizeof(c->first_breach), "%s", line);
}

static void progress_cb(void *user, const char *what, int64_t done, int64_t total)
{
	const struct compaction *c = user;

	if (c->options->progress)
		c->options->progress(c->options->user, what, done, total);
}

static int prove(struct compaction *c)
{
	const struct check_options options = {
		.store = c->copy, .blobs = c->blobs, .report = found_cb, .progress = progress_cb, .user = c
	};
	struct check_result found;
	int rc = check_store(&options, &found);

	if (rc < 0)
		return error_set(c->info, rc, NULL, "cannot check the copy: %s", error_text(rc));
	if (found.breaches == 0)
		return 0;
	return error_set(c->info, ERR_CORRUPT, NULL, "there are %lld breaches, nothing was changed: %s",
			 (long long)found.breaches, c->first_breach);
}

static int size_of(struct compaction *c, const char *dir, int64_t *ret)
{
	char path[PATH_BYTES + 32];
	struct stat st;

	snprintf(path, sizeof(path), "%s/" LAYOUT_RECORDS, dir);
	if (stat(path, &st) < 0)
		return error_set(c->info, ERR_IO, NULL, "cannot look at %.160s: %s", path, strerror(errno));
	*ret = st.st_size;
	return 0;
}

/* The copy is synced: its last commit was. */
static int replace(struct compaction *c)
{
	char from[PATH_BYTES + 32], to[PATH_BYTES + 32];

	store_close(TAKE_PTR(c->copy));
	snprintf(from, sizeof(from), "%s/" LAYOUT_RECORDS, c->partial);
	snprintf(to, sizeof(to), "%s/" LAYOUT_RECORDS, c->options->dir);
	if (rename(from, to) < 0)
		return error_set(c->info, ERR_IO, NULL, "cannot rename %.160s: %s", from, strerror(errno));
	return new_dir_sync(c->options->dir, c->info);
}

static int run(struct compaction *c, struct compact_result *ret)
{
	struct compact_result r;
	int rc;

	rc = open_both(c);
	if (rc == 0)
		rc = copy_records(c);
	if (rc == 0)
		rc = prove(c);
	if (rc == 0)
		rc = size_of(c, c->options->dir, &r.before_bytes);
	if (rc == 0)
		rc = size_of(c, c->partial, &r.after_bytes);
	if (rc == 0)
		rc = replace(c);
	if (rc == 0)
		*ret = r;
	return rc;
}

int compact_run(const struct compact_options *options, struct compact_result *ret, struct error_info *info)
{
	struct compaction c = { .options = options, .info = info };
	bool ours;
	int rc;

	if (snprintf(c.partial, sizeof(c.partial), "%s/" PARTIAL, options->dir) >= (int)sizeof(c.partial))
		return error_set(info, ERR_IO, NULL, "the data directory's name is too long");
	rc = run(&c, ret);
	ours = c.source != NULL;
	store_close(c.copy);
	/* Before the lock goes with the source: else it might be another one's. */
	if (ours)
		new_dir_remove_tree(c.partial);
	blob_store_close(c.blobs);
	store_close(c.source);
	return rc;
}
