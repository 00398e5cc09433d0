/* Artifacts: first their records and the list of files, in the check's one transaction; then the files, which take long
 * to read, a piece of the table at a time, so that no transaction is open while a file is read. A record that was
 * written meanwhile is checked as well; one that went does not matter; no file goes, for the check holds them.
 */
#include <gnutls/crypto.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proto/base/clean.h"
#include "server/upkeep/check_priv.h"
#include "server/upkeep/row_words.h"

#define CHUNK 256 /* files looked for in one transaction */

/* ---- records ---- */

static void check_listing(struct check *c, struct slice artifact, const struct uuid *job, const struct artifact *a)
{
	struct key key = key_job(&a->blob);
	struct slice owner;

	if (store_get(c->txn, TABLE_BLOBS, key_slice(&key), &owner) < 0)
		check_breach(c, "%s: its blob is not listed", row_words(TABLE_ARTIFACTS, artifact).text);
	else if (!slice_equal(owner, slice_of(job->bytes, sizeof(job->bytes))))
		check_breach(c, "%s: its blob is listed for another", row_words(TABLE_ARTIFACTS, artifact).text);
}

static void check_artifact(struct check *c, struct slice key, struct slice value)
{
	uint8_t sha256[32];
	struct artifact a;
	struct slice name;
	struct uuid job;

	c->result->artifacts++;
	if (key_read_artifact(key, &job, &name) < 0) {
		check_breach(c, "artifacts: a key is malformed");
		return;
	}
	if (check_is_anothers(c, TABLE_ARTIFACTS, key, value))
		return;
	if (!check_is_known(c, &job))
		check_breach(c, "%s: the job is missing", row_words(TABLE_ARTIFACTS, key).text);
	if (record_read_artifact(key, value, &a) < 0) {
		check_damage(c, "%s: is damaged", row_words(TABLE_ARTIFACTS, key).text);
		return;
	}
	if (a.has_blob) {
		check_listing(c, key, &job, &a);
		return;
	}
	blob_sha256(a.data, sha256);
	if (memcmp(sha256, a.sha256, sizeof(sha256)) != 0)
		check_damage(c, "%s: its hash is wrong", row_words(TABLE_ARTIFACTS, key).text);
}

/* How many of a job's artifacts name the file. A damaged one may: it is counted, for it has been named. */
static int64_t count_namers(struct check *c, const struct uuid *job, const struct uuid *blob, bool *ret_unknown)
{
	struct key from = key_job(job);
	struct slice key, value;
	int64_t count = 0;
	int rc;

	*ret_unknown = false;
	for (rc = store_seek(c->txn, TABLE_ARTIFACTS, key_slice(&from), &key, &value);
	     rc == 0 && key.size >= from.size && memcmp(key.data, from.bytes, from.size) == 0;
	     rc = store_next(c->txn, TABLE_ARTIFACTS, &key, &value)) {
		struct artifact a;

		if (record_read_artifact(key, value, &a) < 0)
			*ret_unknown = true;
		else if (a.has_blob && uuid_equal(&a.blob, blob))
			count++;
	}
	return count;
}

static void check_listed_blob(struct check *c, struct slice key, struct slice value)
{
	struct uuid blob, job;
	int64_t namers;
	bool unknown;

	if (key_read_job(key, &blob) < 0 || key_read_job(value, &job) < 0) {
		check_breach(c, "the blob list: an entry is malformed");
		return;
	}
	namers = count_namers(c, &job, &blob, &unknown);
	if (namers == 0 && !unknown)
		check_breach(c, "the blob list: blob %s is listed for job %s, which has no such artifact",
			     uuid_format(&blob).text, uuid_format(&job).text);
	if (namers > 1)
		check_breach(c, "the blob list: blob %s is %lld artifacts of job %s", uuid_format(&blob).text,
			     (long long)namers, uuid_format(&job).text);
}

int check_artifacts(struct check *c)
{
	int rc = check_walk(c, TABLE_ARTIFACTS, check_artifact);

	return rc == 0 ? check_walk(c, TABLE_BLOBS, check_listed_blob) : rc;
}

/* ---- files ---- */

/* A file that some record names. */
struct named_file {
	struct row_words words;
	struct uuid blob;
	int64_t size;
	uint8_t sha256[32];
};

struct chunk {
	struct named_file files[CHUNK];
	size_t count;
	struct key after; /* where the next chunk begins */
	bool over;
};

static void add_file(struct chunk *chunk, struct slice key, struct slice value)
{
	struct named_file *f = &chunk->files[chunk->count];
	struct artifact a;
	struct slice name;
	struct uuid job;

	/* What is malformed has been named. */
	if (key_read_artifact(key, &job, &name) < 0 || record_read_artifact(key, value, &a) < 0 || !a.has_blob)
		return;
	f->words = row_words(TABLE_ARTIFACTS, key);
	f->blob = a.blob;
	f->size = a.size;
	memcpy(f->sha256, a.sha256, sizeof(f->sha256));
	chunk->count++;
}

/* The next files that are named, at most CHUNK of them, from a transaction of its own. */
static int read_chunk(struct check *c, struct chunk *chunk)
{
	_cleanup_(store_abortp) struct store_txn *t = NULL;
	struct slice key, value;
	int rc;

	chunk->count = 0;
	rc = store_begin_read(c->options->store, &t);
	if (rc == 0)
		rc = store_seek(t, TABLE_ARTIFACTS, key_slice(&chunk->after), &key, &value);
	while (rc == 0) {
		if (chunk->count == CHUNK)
			return 0;
		add_file(chunk, key, value);
		chunk->after = key_above(key);
		rc = check_step(c, "artifacts checked");
		if (rc == 0)
			rc = store_next(t, TABLE_ARTIFACTS, &key, &value);
	}
	chunk->over = rc == ERR_NOT_FOUND;
	return chunk->over ? 0 : rc;
}

/* ERR_CANCELED, or 0 and whether these are the bytes. */
static int same_bytes(struct check *c, int fd, const uint8_t sha256[32], bool *ret_same)
{
	const struct check_options *o = c->options;
	gnutls_hash_hd_t hash;
	uint8_t found[32];
	char bytes[65536];
	ssize_t n = 0;
	int rc = 0;

	if (gnutls_hash_init(&hash, GNUTLS_DIG_SHA256) < 0)
		return ERR_NO_MEMORY;
	while (rc == 0 && (n = read(fd, bytes, sizeof(bytes))) > 0) {
		gnutls_hash(hash, bytes, (size_t)n);
		rc = o->canceled && o->canceled(o->user) ? ERR_CANCELED : 0;
	}
	gnutls_hash_deinit(hash, found);
	*ret_same = n == 0 && memcmp(found, sha256, sizeof(found)) == 0;
	return rc;
}

static int check_file(struct check *c, const struct named_file *f)
{
	bool same = true;
	int64_t size;
	int fd, rc;

	rc = blob_open(c->options->blobs, &f->blob, &fd, &size);
	if (rc < 0) {
		check_damage(c, rc == ERR_NOT_FOUND ? "%s: its file is missing" : "%s: its file cannot be read",
			     f->words.text);
		return 0;
	}
	if (size != f->size)
		check_damage(c, "%s: its file has %lld bytes instead of %lld", f->words.text, (long long)size,
			     (long long)f->size);
	else
		rc = same_bytes(c, fd, f->sha256, &same);
	if (rc == 0 && !same)
		check_damage(c, "%s: its file is damaged", f->words.text);
	close(fd);
	return rc;
}

static void found_orphan(void *user, const char *path, int64_t bytes)
{
	check_say(user, CHECK_NOTICE, "blobs/%s: no record names it (%lld bytes); the next start removes it", path,
		  (long long)bytes);
}

int check_files(struct check *c)
{
	_cleanup_free_ struct chunk *chunk = calloc(1, sizeof(*chunk));
	int rc = chunk ? 0 : ERR_NO_MEMORY;

	c->steps = 0;
	c->total = c->result->artifacts;
	while (rc == 0 && !chunk->over) {
		rc = read_chunk(c, chunk);
		for (size_t i = 0; rc == 0 && i < chunk->count; i++)
			rc = check_file(c, &chunk->files[i]);
	}
	return rc == 0 ? blob_orphans(c->options->blobs, c->options->store, found_orphan, c) : rc;
}
