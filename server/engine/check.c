#include "server/engine/check.h"

#include <gnutls/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/base/clean.h"
#include "server/engine/job_due.h"
#include "server/engine/queues.h"
#include "server/store/keys.h"
#include "server/store/records.h"

struct check {
	struct store_txn *txn;
	struct blob_store *blobs;
	void (*report)(void *user, const char *line);
	void *user;
	int64_t breaches;
	int64_t ready, due; /* index entries that jobs account for */
	int64_t tombstones;
	int64_t idempotency;
	int64_t artifacts;
	int64_t blob_count;
	/* What the jobs add up to, by queue. */
	struct queue_record *found;
	uint32_t queues;
};

static void breach(struct check *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void breach(struct check *c, const char *fmt, ...)
{
	char line[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	c->breaches++;
	c->report(c->user, line);
}

static bool there(struct check *c, enum store_table table, struct key key)
{
	struct slice value;

	return store_get(c->txn, table, key_slice(&key), &value) == 0;
}

/* ---- one job ---- */

static void check_indexes(struct check *c, const struct uuid *id, const struct job *job)
{
	struct uuid_text text = uuid_format(id);
	const char *name = text.text;
	bool due_needed = job->state != JOB_READY;

	if (job->due_at_ms != job_due(job))
		breach(c, "job %s: must be looked at by %lld, is entered for %lld", name, (long long)job_due(job),
		       (long long)job->due_at_ms);
	if (job->state == JOB_READY) {
		if (there(c, TABLE_READY, key_ready(job->queue, job->priority, job->tag, id)))
			c->ready++;
		else
			breach(c, "job %s: is ready but not in the line of its queue", name);
	}
	if (job->due_at_ms != 0) {
		if (there(c, TABLE_DUE, key_due(job->due_at_ms, id)))
			c->due++;
		else
			breach(c, "job %s: its due entry is missing", name);
	} else if (due_needed) {
		breach(c, "job %s: is %s and nothing will ever look at it again", name, job_state_names[job->state]);
	}
	if (job->attempt > job->max_attempts)
		breach(c, "job %s: attempt %u of %u", name, job->attempt, job->max_attempts);
}

static void check_input(struct check *c, const struct uuid *id, const struct job *job)
{
	struct uuid_text text = uuid_format(id);
	const char *name = text.text;
	struct key key = key_job(id);
	struct job_input input;
	struct slice bytes;
	struct uuid first;

	if (store_get(c->txn, TABLE_INPUTS, key_slice(&key), &bytes) < 0) {
		breach(c, "job %s: its input is missing", name);
		return;
	}
	if (record_read_input(bytes, &input) < 0) {
		breach(c, "job %s: its input is damaged", name);
		return;
	}
	if (input.idempotency_key.size == 0)
		return;
	key = key_idempotency(job->queue, input.idempotency_key);
	if (store_get(c->txn, TABLE_IDEMPOTENCY, key_slice(&key), &bytes) < 0 || key_read_job(bytes, &first) < 0 ||
	    !uuid_equal(&first, id))
		breach(c, "job %s: its idempotency key does not lead to it", name);
	else
		c->idempotency++;
}

static void check_job(struct check *c, const struct uuid *id, struct slice bytes)
{
	struct uuid_text text = uuid_format(id);
	const char *name = text.text;
	struct queue_record *q;
	struct job job;

	if (record_read_job(bytes, &job) < 0) {
		breach(c, "job %s: its record is damaged", name);
		return;
	}
	if (job.queue >= c->queues) {
		breach(c, "job %s: its queue %u does not exist", name, job.queue);
		return;
	}
	q = &c->found[job.queue];
	q->counts[job.state]++;
	if (job.state == JOB_READY)
		q->ready[job.priority]++;
	check_indexes(c, id, &job);
	check_input(c, id, &job);
	c->artifacts += job.artifacts;
}

static int check_jobs(struct check *c)
{
	struct slice key, value;
	int rc;

	for (rc = store_seek(c->txn, TABLE_JOBS, slice_of(NULL, 0), &key, &value); rc == 0;
	     rc = store_next(c->txn, TABLE_JOBS, &key, &value)) {
		struct uuid id;

		if (key_read_job(key, &id) < 0)
			breach(c, "jobs: a key is malformed");
		else
			check_job(c, &id, value);
	}
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* ---- what stands beside the jobs ---- */

static int count_queues(struct check *c)
{
	int64_t n;
	int rc = store_count(c->txn, TABLE_QUEUES, &n);

	if (rc == 0)
		c->queues = n < QUEUES_MAX ? (uint32_t)n : QUEUES_MAX;
	return rc;
}

static void check_queue(struct check *c, uint32_t number, const struct queue_record *q)
{
	const struct queue_record *found = &c->found[number];

	for (int i = 0; i < JOB_STATES; i++)
		if (q->counts[i] != found->counts[i])
			breach(c, "queue %.*s: counts %lld %s jobs, has %lld", SLICE_FMT(q->name),
			       (long long)q->counts[i], job_state_names[i], (long long)found->counts[i]);
	for (int i = 0; i < PRIORITIES; i++)
		if (q->ready[i] != found->ready[i])
			breach(c, "queue %.*s: counts %lld ready jobs of priority %d, has %lld", SLICE_FMT(q->name),
			       (long long)q->ready[i], i, (long long)found->ready[i]);
}

static int check_queues(struct check *c)
{
	for (uint32_t i = 0; i < c->queues; i++) {
		struct key key = key_queue(i);
		struct queue_record q;
		struct slice value;
		int rc;

		rc = store_get(c->txn, TABLE_QUEUES, key_slice(&key), &value);
		if (rc < 0 && rc != ERR_NOT_FOUND)
			return rc;
		if (rc == ERR_NOT_FOUND || record_read_queue(value, &q) < 0)
			breach(c, "queue %u: its record is missing or damaged", i);
		else
			check_queue(c, i, &q);
	}
	return 0;
}

/* Every entry of a table that begins with a job's id must have its job. */
static int check_owned(struct check *c, enum store_table table, const char *what)
{
	struct slice key, value;
	int rc;

	for (rc = store_seek(c->txn, table, slice_of(NULL, 0), &key, &value); rc == 0;
	     rc = store_next(c->txn, table, &key, &value)) {
		struct uuid id;

		if (key.size < sizeof(id.bytes)) {
			breach(c, "%s: a key is malformed", what);
			continue;
		}
		memcpy(id.bytes, key.data, sizeof(id.bytes));
		if (!there(c, TABLE_JOBS, key_job(&id)))
			breach(c, "%s of job %s: the job is missing", what, uuid_format(&id).text);
		if (table == TABLE_CHECKPOINTS && record_read_bytes(value, &value) < 0)
			breach(c, "checkpoint of job %s: is damaged", uuid_format(&id).text);
	}
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* As many index entries as jobs account for: so there is none that leads nowhere. */
static int check_count(struct check *c, enum store_table table, int64_t accounted, const char *what)
{
	int64_t n;
	int rc = store_count(c->txn, table, &n);

	if (rc == 0 && n != accounted)
		breach(c, "%s: has %lld entries, jobs account for %lld", what, (long long)n, (long long)accounted);
	return rc;
}

static int check_tombstones(struct check *c)
{
	struct slice key, value;
	int rc;

	for (rc = store_seek(c->txn, TABLE_TOMBSTONES, slice_of(NULL, 0), &key, &value); rc == 0;
	     rc = store_next(c->txn, TABLE_TOMBSTONES, &key, &value)) {
		struct uuid id;
		int64_t until;

		if (key_read_job(key, &id) < 0 || value.size != sizeof(until)) {
			breach(c, "tombstones: an entry is malformed");
			continue;
		}
		memcpy(&until, value.data, sizeof(until));
		if (there(c, TABLE_JOBS, key_job(&id)))
			breach(c, "tombstone of job %s: the job is there", uuid_format(&id).text);
		if (there(c, TABLE_DUE, key_due(until, &id)))
			c->due++;
		else
			breach(c, "tombstone of job %s: will never go", uuid_format(&id).text);
	}
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* ---- artifacts ---- */

static bool same_bytes(int fd, const uint8_t sha256[32])
{
	uint8_t found[32];
	char bytes[65536];
	gnutls_hash_hd_t hash;
	ssize_t n;

	if (gnutls_hash_init(&hash, GNUTLS_DIG_SHA256) < 0)
		return false;
	while ((n = read(fd, bytes, sizeof(bytes))) > 0)
		gnutls_hash(hash, bytes, (size_t)n);
	gnutls_hash_deinit(hash, found);
	return n == 0 && memcmp(found, sha256, sizeof(found)) == 0;
}

static void check_blob(struct check *c, const struct uuid *job, struct slice name, const struct artifact *a)
{
	struct uuid_text text = uuid_format(job);
	const char *id = text.text;
	struct key key = key_job(&a->blob);
	struct slice owner;
	int64_t size;
	int fd;

	c->blob_count++;
	if (store_get(c->txn, TABLE_BLOBS, key_slice(&key), &owner) < 0)
		breach(c, "artifact %.*s of job %s: its blob is not listed", SLICE_FMT(name), id);
	else if (!slice_equal(owner, slice_of(job->bytes, sizeof(job->bytes))))
		breach(c, "artifact %.*s of job %s: its blob is listed for another", SLICE_FMT(name), id);
	if (blob_open(c->blobs, &a->blob, &fd, &size) < 0) {
		breach(c, "artifact %.*s of job %s: its file is missing", SLICE_FMT(name), id);
		return;
	}
	if (size != a->size)
		breach(c, "artifact %.*s of job %s: its file has %lld bytes instead of %lld", SLICE_FMT(name), id,
		       (long long)size, (long long)a->size);
	else if (!same_bytes(fd, a->sha256))
		breach(c, "artifact %.*s of job %s: its file is damaged", SLICE_FMT(name), id);
	close(fd);
}

static void check_artifact(struct check *c, const struct uuid *job, struct slice name, struct slice value)
{
	uint8_t sha256[32];
	struct artifact a;

	if (record_read_artifact(value, &a) < 0) {
		breach(c, "artifact %.*s of job %s: is damaged", SLICE_FMT(name), uuid_format(job).text);
		return;
	}
	if (a.has_blob) {
		check_blob(c, job, name, &a);
		return;
	}
	blob_sha256(a.data, sha256);
	if (memcmp(sha256, a.sha256, sizeof(sha256)) != 0)
		breach(c, "artifact %.*s of job %s: its hash is wrong", SLICE_FMT(name), uuid_format(job).text);
}

static int check_artifacts(struct check *c)
{
	struct slice key, value;
	int rc;

	for (rc = store_seek(c->txn, TABLE_ARTIFACTS, slice_of(NULL, 0), &key, &value); rc == 0;
	     rc = store_next(c->txn, TABLE_ARTIFACTS, &key, &value)) {
		struct slice name;
		struct uuid job;

		if (key_read_artifact(key, &job, &name) < 0)
			breach(c, "artifacts: a key is malformed");
		else
			check_artifact(c, &job, name, value);
	}
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int check_all(struct check *c)
{
	int rc;

	rc = count_queues(c);
	if (rc == 0)
		rc = check_jobs(c);
	if (rc == 0)
		rc = check_queues(c);
	if (rc == 0)
		rc = check_tombstones(c);
	if (rc == 0)
		rc = check_artifacts(c);
	if (rc == 0)
		rc = check_owned(c, TABLE_INPUTS, "input");
	if (rc == 0)
		rc = check_owned(c, TABLE_CHECKPOINTS, "checkpoint");
	if (rc == 0)
		rc = check_owned(c, TABLE_ARTIFACTS, "artifact");
	if (rc == 0)
		rc = check_count(c, TABLE_READY, c->ready, "the ready index");
	if (rc == 0)
		rc = check_count(c, TABLE_DUE, c->due, "the due index");
	if (rc == 0)
		rc = check_count(c, TABLE_IDEMPOTENCY, c->idempotency, "the idempotency keys");
	if (rc == 0)
		rc = check_count(c, TABLE_ARTIFACTS, c->artifacts, "the artifacts");
	if (rc == 0)
		rc = check_count(c, TABLE_BLOBS, c->blob_count, "the blob list");
	return rc;
}

int check_run(struct store *s, struct blob_store *bs, void (*report)(void *user, const char *line), void *user,
	      int64_t *ret_breaches)
{
	struct check c = { .blobs = bs, .report = report, .user = user };
	int rc;

	rc = store_begin_read(s, &c.txn);
	if (rc < 0)
		return rc;
	c.found = calloc(QUEUES_MAX, sizeof(*c.found));
	rc = c.found ? check_all(&c) : ERR_NO_MEMORY;
	free(c.found);
	store_abort(c.txn);
	*ret_breaches = c.breaches;
	return rc;
}
