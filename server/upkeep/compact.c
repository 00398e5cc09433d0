/* Happy path: copy the records into a store beside, check it, rename its file over the old one. Where the check finds
 * more than the damage of single jobs the copy is mended, and copied once more, so that nothing of what was dropped is
 * left in free pages. Failure: the directory beside is removed.
 */
#include "server/upkeep/compact.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/clean.h"
#include "server/upkeep/check.h"
#include "server/store/blob.h"
#include "server/store/copy.h"
#include "server/store/keys.h"
#include "server/store/layout.h"
#include "server/store/new_dir.h"
#include "server/store/pages.h"
#include "server/store/store.h"
#include "server/upkeep/mend.h"
#include "server/upkeep/secret.h"

#define PARTIAL		"compact.partial"
#define MENDED		"mended" /* within it: the copy of the mended copy */
#define PATH_BYTES	4096
#define MAP_SLACK_BYTES (64LL << 20) /* what a copy in many transactions may need beyond its size */

struct compaction {
	const struct compact_options *options;
	struct store *source, *copy;
	struct blob_store *blobs; /* the source's */
	int64_t copy_max_bytes;
	char partial[PATH_BYTES];
	char filled[PATH_BYTES + 8]; /* the directory that copy is open in: partial, or one within */
	char first_breach[160];
	uint32_t lost; /* tables of the source that are damaged and can be made anew, see copy_options.leave_out */
	struct compact_result result;
	struct error_info *info;
};

/* The copy, in c->filled. */
static int open_copy(struct compaction *c)
{
	const struct store_options options = { .dir = c->filled, .max_bytes = c->copy_max_bytes };

	return store_open(&options, &c->copy, c->info);
}

/* ---- what the copies of the records and their mending have to say ---- */

static void report_cb(void *user, const char *line)
{
	const struct compaction *c = user;

	if (c->options->report)
		c->options->report(c->options->user, line);
}

static void misplaced_cb(void *user, const char *line)
{
	struct compaction *c = user;

	c->result.misplaced++;
	report_cb(user, line);
}

static void progress_cb(void *user, const char *what, int64_t done, int64_t total)
{
	const struct compaction *c = user;

	if (c->options->progress)
		c->options->progress(c->options->user, what, done, total);
}

/* Which tables are damaged and will be made anew, and that the copy has a list of free pages of its own. */
static int note_damage(struct compaction *c)
{
	const struct pages_options none = { .report = NULL };
	struct pages_result found;
	char line[128];
	int rc = pages_check(c->source, &none, &found);

	if (rc < 0)
		return error_set(c->info, rc, NULL, "cannot read the store: %s", store_error_detail());
	c->lost = found.damaged;
	for (int table = 0; table < STORE_TABLES; table++)
		if (c->lost >> table & 1) {
			snprintf(line, sizeof(line),
				 "%s: its pages are damaged: left out, to be made anew from the records",
				 copy_table_name((enum store_table)table));
			report_cb(c, line);
		}
	if (found.free_list)
		report_cb(c, "the list of free pages: is damaged: left out, for the new file has none");
	return 0;
}

/* LMDB may not survive to read a file whose structure is damaged. That keys stand in a wrong order is what is mended,
 * and so is what can be made anew. */
static int open_both(struct compaction *c)
{
	const struct pages_options pages = {
		.report = report_cb, .progress = progress_cb, .user = c, .any_order = true, .for_copy = true
	};
	const struct store_options source = {
		.dir = c->options->dir, .max_bytes = c->options->max_bytes, .read_only = true, .prove = &pages
	};
	struct store_info info;
	int rc;

	rc = store_open(&source, &c->source, c->info);
	if (rc == 0)
		rc = note_damage(c);
	if (rc == 0)
		rc = blob_store_look(c->options->dir, &c->blobs, c->info);
	if (rc < 0)
		return rc;
	rc = store_info(c->source, &info);
	if (rc < 0)
		return error_set(c->info, rc, NULL, "cannot read the store: %s", store_error_detail());
	/* The lock of the directory is ours now: what lies there is left over. */
	new_dir_remove_tree(c->partial);
	c->copy_max_bytes = info.max_bytes + info.max_bytes / 4 + MAP_SLACK_BYTES;
	snprintf(c->filled, sizeof(c->filled), "%s", c->partial);
	return open_copy(c);
}

static int copy_records(struct compaction *c, struct store *from)
{
	const struct copy_options options = { .progress = progress_cb,
					      .misplaced = misplaced_cb,
					      .user = c,
					      .leave_out = from == c->source ? c->lost : 0 };
	_cleanup_(store_abortp) struct store_txn *t = NULL;
	struct copy_result copied;
	int rc;

	rc = store_begin_read(from, &t);
	if (rc < 0)
		return error_set(c->info, rc, NULL, "cannot read the store: %s", store_error_detail());
	rc = store_copy(t, c->copy, &options, &copied);
	return rc < 0 ? store_copy_explain(rc, &copied, c->info) : 0;
}

/* ---- proving it ---- */

static void found_cb(void *user, enum check_kind kind, const char *line)
{
	struct compaction *c = user;

	if (kind == CHECK_BREACH && !c->first_breach[0])
		snprintf(c->first_breach, sizeof(c->first_breach), "%s", line);
}

static int prove(struct compaction *c, struct check_result *ret)
{
	const struct check_options options = {
		.store = c->copy, .blobs = c->blobs, .report = found_cb, .progress = progress_cb, .user = c
	};
	int rc;

	c->first_breach[0] = '\0';
	rc = check_store(&options, ret);
	return rc < 0 ? error_set(c->info, rc, NULL, "cannot check the copy: %s", error_text(rc)) : 0;
}

static int mend(struct compaction *c)
{
	const struct mend_options options = {
		.store = c->copy, .lost = c->lost, .report = report_cb, .progress = progress_cb, .user = c
	};
	struct mend_result mended;
	int rc = mend_store(&options, &mended);

	c->result.dropped = mended.dropped;
	c->result.restored = mended.restored;
	c->result.set_aside = mended.set_aside;
	return rc < 0 ? error_set(c->info, rc, NULL, "cannot mend the copy: %s", error_text(rc)) : 0;
}

static int copy_again(struct compaction *c)
{
	struct store *mended = TAKE_PTR(c->copy);
	int rc;

	snprintf(c->filled, sizeof(c->filled), "%s/" MENDED, c->partial);
	rc = open_copy(c);
	if (rc == 0)
		rc = copy_records(c, mended);
	store_close(mended);
	return rc;
}

/* More than the damage of single jobs, which goes along as it is. */
static bool is_broken(const struct check_result *found)
{
	return found->breaches > found->damaged;
}

static int make_whole(struct compaction *c)
{
	struct check_result found;
	int rc = prove(c, &found);

	if (rc == 0 && is_broken(&found)) {
		rc = mend(c);
		if (rc == 0)
			rc = copy_again(c);
		if (rc == 0)
			rc = prove(c, &found);
	}
	if (rc < 0)
		return rc;
	c->result.damaged = found.damaged;
	if (!is_broken(&found))
		return 0;
	return error_set(c->info, ERR_CORRUPT, NULL,
			 "there are %lld breaches that cannot be mended, nothing was changed: %s",
			 (long long)(found.breaches - found.damaged), c->first_breach);
}

/* ---- the links' secret ---- */

static int differing_bits(struct slice a, const char *b)
{
	int count = 0;

	for (size_t i = 0; i < a.size; i++)
		count += __builtin_popcount(((const uint8_t *)a.data)[i] ^ (uint8_t)b[i]);
	return count;
}

/* The fingerprint is made of 64 bits of a hash: one that differs in a single bit is of no other secret. */
static int put_fingerprint(struct compaction *c, struct store_txn *t, const struct fingerprint *found)
{
	struct key key = key_word(META_LINK_SECRET);
	struct slice known;
	int rc, bits;

	rc = store_get(t, TABLE_META, key_slice(&key), &known);
	if (rc < 0)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	bits = known.size == LINK_FINGERPRINT_CHARS ? differing_bits(known, found->text) : INT_MAX;
	if (bits > 1)
		return error_set(c->info, ERR_CORRUPT, NULL,
				 "%.90s/" LAYOUT_LINK_KEY " is not the secret of these links: put the right one back; "
				 "nothing was changed",
				 c->options->dir);
	if (bits == 0)
		return 0;
	c->result.restored++;
	report_cb(c, "meta, the links' secret: its fingerprint had a wrong bit: made anew from " LAYOUT_LINK_KEY);
	return store_put(t, TABLE_META, key_slice(&key), slice_str(found->text));
}

/* In the copy, beside which there is no secret. */
static int mend_fingerprint(struct compaction *c)
{
	_cleanup_(store_abortp) struct store_txn *t = NULL;
	uint8_t secret[LINK_SECRET_BYTES];
	struct fingerprint found;
	int rc;

	rc = secret_read(c->options->dir, secret, c->info);
	if (rc < 0)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	found = secret_fingerprint(secret);
	rc = store_begin_write(c->copy, &t);
	if (rc == 0)
		rc = put_fingerprint(c, t, &found);
	if (rc == 0)
		rc = store_commit(TAKE_PTR(t));
	if (rc < 0 && rc != ERR_CORRUPT)
		error_set(c->info, rc, NULL, "cannot mend the copy: %s", error_text(rc));
	return rc;
}

/* ---- the whole ---- */

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
	snprintf(from, sizeof(from), "%s/" LAYOUT_RECORDS, c->filled);
	snprintf(to, sizeof(to), "%s/" LAYOUT_RECORDS, c->options->dir);
	if (rename(from, to) < 0)
		return error_set(c->info, ERR_IO, NULL, "cannot rename %.160s: %s", from, strerror(errno));
	return new_dir_sync(c->options->dir, c->info);
}

static int run(struct compaction *c, struct compact_result *ret)
{
	int rc;

	rc = open_both(c);
	if (rc == 0)
		rc = copy_records(c, c->source);
	if (rc == 0)
		rc = make_whole(c);
	if (rc == 0)
		rc = mend_fingerprint(c);
	if (rc == 0)
		rc = size_of(c, c->options->dir, &c->result.before_bytes);
	if (rc == 0)
		rc = size_of(c, c->filled, &c->result.after_bytes);
	if (rc == 0)
		rc = replace(c);
	if (rc == 0)
		*ret = c->result;
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

bool compact_clean(const char *dir)
{
	char partial[PATH_BYTES];

	if (snprintf(partial, sizeof(partial), "%s/" PARTIAL, dir) >= (int)sizeof(partial) || access(partial, F_OK) < 0)
		return false;
	new_dir_remove_tree(partial);
	return true;
}
