/* The jobs are walked in the order of their ids, and each is followed to its input, its index entries, its key; then
 * every other table is walked, and each entry followed back to its job. So what is missing is found from one side, and
 * what is too many from the other.
 */
#include "server/upkeep/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/clean.h"
#include "server/upkeep/check_priv.h"
#include "server/engine/job_due.h"
#include "server/engine/queues.h"
#include "server/store/own_key.h"
#include "server/store/pages.h"
#include "server/upkeep/row_words.h"

#define ASK_EVERY 4096 /* entries */

void check_say(struct check *c, enum check_kind kind, const char *fmt, ...)
{
	char line[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	switch (kind) {
	case CHECK_BREACH:
		c->result->breaches++;
		break;
	case CHECK_DAMAGE:
		c->result->breaches++;
		c->result->damaged++;
		break;
	case CHECK_SET_ASIDE:
		c->result->set_aside++;
		break;
	case CHECK_NOTICE:
		c->result->notices++;
		break;
	}
	if (c->options->report)
		c->options->report(c->options->user, kind, line);
}

int check_step(struct check *c, const char *what)
{
	const struct check_options *o = c->options;

	if (c->steps++ % ASK_EVERY != 0)
		return 0;
	if (o->progress)
		o->progress(o->user, what, c->steps, c->total);
	return o->canceled && o->canceled(o->user) ? ERR_CANCELED : 0;
}

int check_walk(struct check *c, enum store_table table,
	       void (*entry)(struct check *c, struct slice key, struct slice value))
{
	struct slice key, value;
	int rc;

	for (rc = store_seek(c->txn, table, slice_of(NULL, 0), &key, &value); rc == 0;
	     rc = store_next(c->txn, table, &key, &value)) {
		rc = check_step(c, "records checked");
		if (rc < 0)
			return rc;
		entry(c, key, value);
	}
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

bool check_is_anothers(struct check *c, enum store_table table, struct slice key, struct slice value)
{
	struct slice own;

	if (!own_key_differs(table, key, value, &own))
		return false;
	check_breach(c, "%s: stands under the key of %s", row_words(table, own).text, row_words(table, key).text);
	return true;
}

bool check_has(struct check *c, enum store_table table, struct key key)
{
	struct slice value;

	return store_get(c->txn, table, key_slice(&key), &value) == 0;
}

bool check_is_set_aside(struct check *c, const struct uuid *id)
{
	return check_has(c, TABLE_SET_ASIDE, key_job(id));
}

bool check_is_known(struct check *c, const struct uuid *id)
{
	return check_has(c, TABLE_JOBS, key_job(id)) || check_is_set_aside(c, id);
}

bool check_find_job(struct check *c, const struct uuid *id, struct job *ret)
{
	struct key key = key_job(id);
	struct slice value;

	return store_get(c->txn, TABLE_JOBS, key_slice(&key), &value) == 0 && record_read_job(value, ret) == 0;
}

bool check_find_input(struct check *c, const struct uuid *id, struct job_input *ret)
{
	struct key key = key_job(id);
	struct slice value;

	return store_get(c->txn, TABLE_INPUTS, key_slice(&key), &value) == 0 && record_read_input(value, ret) == 0;
}

/* ---- one job ---- */

static void check_ready(struct check *c, const char *name, const struct uuid *id, const struct job *job)
{
	if (job->state == JOB_READY && !check_has(c, TABLE_READY, key_ready(job->queue, job->priority, job->tag, id)))
		check_breach(c, "job %s: is ready but not in the line of its queue", name);
}

static void check_due(struct check *c, const char *name, const struct uuid *id, const struct job *job)
{
	struct due_value expected = due_value_make(job);
	struct key key = key_due(job->due_at_ms, id);
	struct slice value;

	if (job->due_at_ms != job_due(job))
		check_breach(c, "job %s: must be looked at by %lld, is entered for %lld", name, (long long)job_due(job),
			     (long long)job->due_at_ms);
	if (job->due_at_ms == 0 && job->state != JOB_READY)
		check_breach(c, "job %s: is %s and nothing will ever look at it again", name,
			     job_state_names[job->state]);
	if (job->due_at_ms == 0)
		return;
	if (store_get(c->txn, TABLE_DUE, key_slice(&key), &value) < 0)
		check_breach(c, "job %s: its due entry is missing", name);
	else if (!slice_equal(value, slice_of(expected.bytes, sizeof(expected.bytes))))
		check_breach(c, "job %s: its due entry says something else of it", name);
}

static void check_input(struct check *c, const char *name, const struct uuid *id, const struct job *job)
{
	struct job_input input;
	struct slice bytes;
	struct uuid first;
	struct key key;

	if (!check_has(c, TABLE_INPUTS, key_job(id))) {
		check_breach(c, "job %s: its input is missing", name);
		return;
	}
	if (!check_find_input(c, id, &input)) {
		check_damage(c, "job %s: its input is damaged", name);
		return;
	}
	if (job->bytes != (int64_t)input.payload.size)
		check_breach(c, "job %s: counts for %lld bytes, its payload has %zu", name, (long long)job->bytes,
			     input.payload.size);
	if (input.idempotency_key.size == 0)
		return;
	key = key_idempotency(job->queue, input.idempotency_key);
	if (store_get(c->txn, TABLE_IDEMPOTENCY, key_slice(&key), &bytes) < 0 || key_read_job(bytes, &first) < 0 ||
	    !uuid_equal(&first, id))
		check_breach(c, "job %s: its idempotency key does not lead to it", name);
}

static void check_artifact_count(struct check *c, const char *name, const struct uuid *id, const struct job *job)
{
	struct key from = key_job(id);
	struct slice key, value;
	int64_t count = 0;
	int rc;

	for (rc = store_seek(c->txn, TABLE_ARTIFACTS, key_slice(&from), &key, &value);
	     rc == 0 && key.size >= from.size && memcmp(key.data, from.bytes, from.size) == 0;
	     rc = store_next(c->txn, TABLE_ARTIFACTS, &key, &value))
		count++;
	if (count != job->artifacts)
		check_breach(c, "job %s: counts %u artifacts, has %lld", name, job->artifacts, (long long)count);
}

static void sum_up(struct check *c, const struct job *job)
{
	struct queue_sum *sum = &c->sums[job->queue];

	sum->counts[job->state]++;
	if (job->state == JOB_READY)
		sum->ready[job->priority]++;
	if (job->state == JOB_READY && job->tag > sum->last[job->priority])
		sum->last[job->priority] = job->tag;
	if (!job_state_final(job->state))
		sum->bytes += job->bytes;
}

static void check_job(struct check *c, struct slice key, struct slice value)
{
	struct uuid_text text;
	const char *name;
	struct uuid id;
	struct job job;

	c->result->jobs++;
	if (key_read_job(key, &id) < 0) {
		check_breach(c, "jobs: a key is malformed");
		return;
	}
	text = uuid_format(&id);
	name = text.text;
	/* Nothing more is known of it, and nothing more is asked. */
	if (check_is_set_aside(c, &id))
		return;
	if (record_read_job(value, &job) < 0) {
		check_damage(c, "job %s: its record is damaged", name);
		return;
	}
	if (job.queue >= c->queues) {
		check_breach(c, "job %s: its queue %u does not exist", name, job.queue);
		return;
	}
	sum_up(c, &job);
	check_ready(c, name, &id, &job);
	check_due(c, name, &id, &job);
	check_input(c, name, &id, &job);
	check_artifact_count(c, name, &id, &job);
	/* The queue's and the server's number may have been lowered since. */
	if (job.max_attempts > 0 && job.attempt > job.max_attempts)
		check_breach(c, "job %s: attempt %u of %u", name, job.attempt, job.max_attempts);
}

/* ---- queues ---- */

static void check_sums(struct check *c, const struct queue_record *q, const struct queue_sum *sum)
{
	for (int i = 0; i < JOB_STATES; i++)
		if (q->counts[i] != sum->counts[i])
			check_breach(c, "queue %.*s: counts %lld %s jobs, has %lld", SLICE_FMT(q->name),
				     (long long)q->counts[i], job_state_names[i], (long long)sum->counts[i]);
	for (int i = 0; i < PRIORITIES; i++)
		if (q->ready[i] != sum->ready[i])
			check_breach(c, "queue %.*s: counts %lld ready jobs of priority %d, has %lld",
				     SLICE_FMT(q->name), (long long)q->ready[i], i, (long long)sum->ready[i]);
	if (q->bytes != sum->bytes)
		check_breach(c, "queue %.*s: counts %lld bytes of unfinished jobs, has %lld", SLICE_FMT(q->name),
			     (long long)q->bytes, (long long)sum->bytes);
}

static void check_name(struct check *c, uint32_t number, struct slice name)
{
	struct key key = key_name(name);
	struct slice value;
	uint32_t named;

	if (store_get(c->txn, TABLE_NAMES, key_slice(&key), &value) < 0)
		check_breach(c, "queue %.*s: its name is not listed", SLICE_FMT(name));
	else if (key_read_queue(value, &named) < 0 || named != number)
		check_breach(c, "queue %.*s: its name is listed for another", SLICE_FMT(name));
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
		if (rc == ERR_NOT_FOUND || record_read_queue(value, &q) < 0 || q.name.size == 0 ||
		    q.name.size > KEY_MAX) {
			check_breach(c, "queue %u: its record is missing or damaged", i);
			/* Where its lines end is not known. */
			memset(c->sums[i].last, 0xff, sizeof(c->sums[i].last));
			continue;
		}
		check_sums(c, &q, &c->sums[i]);
		check_lines(c, &q, &c->sums[i]);
		check_name(c, i, q.name);
	}
	return 0;
}

/* ---- the whole ---- */

static int count_entries(struct check *c)
{
	int64_t n = 0;
	int rc = store_count(c->txn, TABLE_QUEUES, &n);

	c->queues = n < QUEUES_MAX ? (uint32_t)n : QUEUES_MAX;
	for (int table = 0; rc == 0 && table < STORE_TABLES; table++) {
		rc = store_count(c->txn, (enum store_table)table, &n);
		c->total += n;
	}
	return rc;
}

static int check_records(struct check *c)
{
	int rc;

	rc = count_entries(c);
	if (rc == 0)
		rc = check_walk(c, TABLE_JOBS, check_job);
	if (rc == 0)
		rc = check_queues(c);
	if (rc == 0)
		rc = check_flow(c);
	if (rc == 0)
		rc = check_tables(c);
	if (rc == 0)
		rc = check_artifacts(c);
	if (rc == 0)
		rc = check_hooks(c);
	return rc;
}

static void report_page(void *user, const char *line)
{
	const struct check *c = user;

	if (c->options->report)
		c->options->report(c->options->user, CHECK_BREACH, line);
}

static void page_progress(void *user, const char *what, int64_t done, int64_t total)
{
	const struct check *c = user;

	if (c->options->progress)
		c->options->progress(c->options->user, what, done, total);
}

static bool page_canceled(void *user)
{
	const struct check *c = user;

	return c->options->canceled && c->options->canceled(c->options->user);
}

static int check_pages(struct check *c)
{
	const struct pages_options options = {
		.report = report_page, .progress = page_progress, .canceled = page_canceled, .user = c
	};
	struct pages_result found;
	int rc = pages_check(c->options->store, &options, &found);

	if (rc < 0)
		return rc;
	c->result->breaches += found.breaches;
	if (found.lost > 0)
		check_say(c, CHECK_NOTICE, "%lld pages of the records file are neither in use nor free: compact it",
			  (long long)found.lost);
	if (found.miscounted > 0)
		check_say(c, CHECK_NOTICE,
			  "%lld pages of values of the records file are counted that are no more: compact it",
			  (long long)found.miscounted);
	return 0;
}

static int run(struct check *c)
{
	int rc = check_pages(c);

	if (rc < 0 || c->result->breaches > 0)
		return rc;

	/* Before the transaction: so every file that its records name is there until the end. */
	blob_hold(c->options->blobs);
	rc = store_begin_read(c->options->store, &c->txn);
	if (rc == 0)
		rc = check_records(c);
	store_abort(TAKE_PTR(c->txn));
	if (rc == 0)
		rc = check_files(c);
	blob_unhold(c->options->blobs);
	return rc;
}

int check_store(const struct check_options *options, struct check_result *ret)
{
	_cleanup_free_ struct queue_sum *sums = calloc(QUEUES_MAX, sizeof(*sums));
	struct check_result result = { .jobs = 0 };
	struct check c = { .options = options, .result = &result, .sums = sums };
	int rc;

	if (!sums)
		return ERR_NO_MEMORY;
	rc = run(&c);
	if (rc == 0)
		*ret = result;
	return rc;
}

/* ---- the breaches alone ---- */

struct breaches_only {
	void (*report)(void *user, const char *line);
	void *user;
};

static void report_breach(void *user, enum check_kind kind, const char *line)
{
	const struct breaches_only *b = user;

	if (kind == CHECK_BREACH || kind == CHECK_DAMAGE)
		b->report(b->user, line);
}

int check_run(struct store *s, struct blob_store *bs, void (*report)(void *user, const char *line), void *user,
	      int64_t *ret_breaches)
{
	struct breaches_only only = { report, user };
	const struct check_options options = { .store = s, .blobs = bs, .report = report_breach, .user = &only };
	struct check_result result;
	int rc = check_store(&options, &result);

	if (rc == 0)
		*ret_breaches = result.breaches;
	return rc;
}
