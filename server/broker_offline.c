#include "broker_offline.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "proto/base/clean.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/base/units.h"
#include "server/config.h"
#include "server/upkeep/backup.h"
#include "server/upkeep/check.h"
#include "server/upkeep/compact.h"
#include "server/store/blob.h"
#include "server/store/layout.h"
#include "server/store/pages.h"
#include "server/store/store.h"

#define SHOW_EVERY_MS 200

/* ---- how far it is ---- */

struct progress {
	bool wanted; /* standard error is a terminal */
	bool shown;
	int64_t shown_at_ms;
};

static struct progress progress_begin(void)
{
	return (struct progress){ .wanted = isatty(STDERR_FILENO) == 1 };
}

/* Back to the beginning of the line, and what stands there away. */
#define CLEAR "\r\033[K"

static void progress_cb(void *user, const char *what, int64_t done, int64_t total)
{
	struct progress *p = user;
	int64_t now_ms = clock_mono_ms();

	if (!p->wanted || (p->shown && now_ms - p->shown_at_ms < SHOW_EVERY_MS))
		return;
	p->shown = true;
	p->shown_at_ms = now_ms;
	fprintf(stderr, CLEAR "%s: %lld of %lld", what, (long long)done, (long long)total);
}

static void progress_end(struct progress *p)
{
	if (p->shown)
		fputs(CLEAR, stderr);
	p->shown = false;
}

/* ---- --check ---- */

struct directory {
	struct store *store;
	struct blob_store *blobs;
};

static void print_page(void *user, const char *line)
{
	progress_end(user);
	puts(line);
}

/* The structure of the records file is proved first: LMDB may not survive to read one that is damaged. */
static int look(const char *path, int64_t max_bytes, struct directory *ret)
{
	struct progress progress = progress_begin();
	const struct pages_options pages = { .report = print_page, .progress = progress_cb, .user = &progress };
	const struct store_options options = {
		.dir = path, .max_bytes = max_bytes, .read_only = true, .prove = &pages
	};
	struct error_info info = { .code = 0 };
	int rc;

	rc = store_open(&options, &ret->store, &info);
	progress_end(&progress);
	if (rc == 0)
		rc = blob_store_look(path, &ret->blobs, &info);
	if (rc < 0)
		log_error("cannot look at %s: %s", path, info.message);
	return rc;
}

static void look_done(struct directory *d)
{
	blob_store_close(d->blobs);
	store_close(d->store);
}

static void print_finding(void *user, enum check_kind kind, const char *line)
{
	(void)kind;
	progress_end(user);
	puts(line);
}

static int check(const struct directory *d, const char *path, struct check_result *ret)
{
	struct progress progress = progress_begin();
	const struct check_options options = { .store = d->store,
					       .blobs = d->blobs,
					       .report = print_finding,
					       .progress = progress_cb,
					       .user = &progress };
	int rc = check_store(&options, ret);

	progress_end(&progress);
	if (rc < 0) {
		log_error("the check of %s could not be finished: %s: %s", path, error_text(rc), store_error_detail());
		return rc;
	}
	printf("%s: %lld jobs, %lld artifacts, %lld set aside\n", path, (long long)ret->jobs, (long long)ret->artifacts,
	       (long long)ret->set_aside);
	printf("%s: %lld breaches\n", path, (long long)ret->breaches);
	return ret->breaches > 0 ? ERR_CORRUPT : 0;
}

int broker_check(const struct config *config)
{
	struct directory d = { .store = NULL };
	struct check_result found;
	int rc;

	rc = look(config->data, config->store_max_bytes, &d);
	if (rc == 0)
		rc = check(&d, config->data, &found);
	look_done(&d);
	return rc;
}

/* ---- --restore ---- */

/* A broker that serves an empty directory at this moment holds its lock. */
static bool is_in_use(const char *dir)
{
	char path[4096];
	bool used;
	int fd;

	snprintf(path, sizeof(path), "%s/" LAYOUT_LOCK, dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	used = flock(fd, LOCK_EX | LOCK_NB) < 0;
	close(fd);
	return used;
}

static void print_line(void *user, const char *line)
{
	progress_end(user);
	puts(line);
}

static void print_damage(const char *path, int64_t damaged)
{
	if (damaged > 0)
		printf("%s: %lld damaged part%s of jobs, before as after: \"raincheck erase\" removes such a job\n",
		       path, (long long)damaged, damaged == 1 ? "" : "s");
}

static int copy(const struct directory *from, const char *to)
{
	struct progress progress = progress_begin();
	const struct backup_options options = {
		.store = from->store, .blobs = from->blobs, .path = to, .progress = progress_cb, .user = &progress
	};
	struct error_info info = { .code = 0 };
	struct backup_result result;
	int rc = backup_run(&options, &result, &info);

	progress_end(&progress);
	if (rc < 0) {
		log_error("cannot restore to %s: %s", to, info.message);
		return rc;
	}
	printf("%s: restored: %lld jobs, %lld artifacts, %s in %s\n", to, (long long)result.jobs,
	       (long long)result.artifacts, units_format_size(result.bytes).text,
	       units_format_duration(result.took_ms).text);
	print_damage(to, result.damaged);
	return 0;
}

int broker_restore(const struct config *config, const char *backup)
{
	struct directory d = { .store = NULL };
	struct check_result found;
	int rc;

	if (is_in_use(config->data)) {
		log_error("cannot restore to %s: another raincheckd uses it", config->data);
		return ERR_CONFLICT;
	}
	rc = look(backup, config->store_max_bytes, &d);
	if (rc == 0) {
		rc = check(&d, backup, &found);
		/* Damage of single jobs was in what the backup is of. */
		if (rc == ERR_CORRUPT && found.breaches == found.damaged)
			rc = 0;
	}
	if (rc == ERR_CORRUPT)
		log_error("the backup %s is not whole: nothing was restored", backup);
	if (rc == 0)
		rc = copy(&d, config->data);
	look_done(&d);
	return rc;
}

/* ---- --compact ---- */

/* Nothing where nothing was to be mended, as almost always. */
static void print_mended(const char *path, const struct compact_result *r)
{
	if (r->misplaced + r->dropped + r->restored + r->set_aside > 0)
		printf("%s: mended: %lld rows out of order, %lld dropped, %lld put right, %lld jobs set aside\n", path,
		       (long long)r->misplaced, (long long)r->dropped, (long long)r->restored, (long long)r->set_aside);
	print_damage(path, r->damaged);
}

int broker_compact(const struct config *config)
{
	struct progress progress = progress_begin();
	const struct compact_options options = { .dir = config->data,
						 .max_bytes = config->store_max_bytes,
						 .report = print_line,
						 .progress = progress_cb,
						 .user = &progress };
	struct error_info info = { .code = 0 };
	struct compact_result result;
	int rc = compact_run(&options, &result, &info);

	progress_end(&progress);
	if (rc < 0) {
		log_error("cannot compact %s: %s", config->data, info.message);
		return rc;
	}
	printf("%s: compacted: %s before, %s after\n", config->data, units_format_size(result.before_bytes).text,
	       units_format_size(result.after_bytes).text);
	print_mended(config->data, &result);
	return 0;
}
