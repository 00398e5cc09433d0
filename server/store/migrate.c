/* Happy path, from the first format: the queues' records are read, then every job is written anew with its input and
 * its index entries and counted in its queue, then the queues are written with what was counted, with their names, then
 * the tombstones. Where an index has more entries than that accounts for, those that lead nowhere are removed.
 *
 * The second format's queues are written anew, and of all three older ones what holds its key now (migrate_keys.c).
 */
#include "server/store/migrate.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/buf.h"
#include "proto/base/clean.h"
#include "proto/base/clock.h"
#include "server/store/format1.h"
#include "server/store/format2.h"
#include "server/store/keys.h"
#include "server/store/layout.h"
#include "server/store/migrate_priv.h"
#include "server/store/records.h"
#include "server/store/store_priv.h"

#define QUEUES_MAX    10000 /* of the first format */
#define RECORD_MAX    (1 << 30)
#define NAME_SIZE     129
#define TELL_EVERY_MS 5000
#define LOOK_EVERY    4096 /* jobs, at the clock */
#define NAMED_MAX     100  /* damaged jobs that are named one by one */

struct old_queue {
	bool damaged;
	uint64_t last_tag;     /* of its jobs */
	uint64_t given_tag;    /* the last that its record knows of */
	char guess[NAME_SIZE]; /* of a damaged one: what its record still tells */
	char name[NAME_SIZE];
	char *title;
	struct queue_record record;
};

struct migration {
	struct store_txn *txn;
	const struct store_options *options;
	struct buf job, input; /* encoded */
	struct pair metadata[FORMAT1_METADATA_MAX];

	struct old_queue *queues;
	uint32_t queue_count;
	int64_t jobs, jobs_total, set_aside;
	int64_t ready, due; /* index entries that there must be */
	int64_t told_at_ms;
};

static void tell(struct migration *m, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void tell(struct migration *m, const char *fmt, ...)
{
	char line[512];
	va_list args;

	if (!m->options->notice)
		return;
	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	m->options->notice(m->options->notice_user, line);
}

static int put(struct migration *m, enum store_table table, const struct key *key, struct slice value)
{
	return store_put(m->txn, table, key_slice(key), value);
}

/* ---- queues ---- */

static bool name_taken(const struct migration *m, const char *name)
{
	for (uint32_t i = 0; i < m->queue_count; i++)
		if (strcmp(m->queues[i].name, name) == 0)
			return true;
	return false;
}

/* The damaged ones are named last: what a sound record says is true. */
static void name_damaged(struct migration *m)
{
	for (uint32_t number = 0; number < m->queue_count; number++) {
		struct old_queue *q = &m->queues[number];
		char name[NAME_SIZE];

		if (!q->damaged)
			continue;
		snprintf(name, sizeof(name), "%s", q->guess);
		if (!name[0])
			snprintf(name, sizeof(name), "recovered-%u", number);
		for (unsigned i = 2; name_taken(m, name); i++)
			snprintf(name, sizeof(name), "recovered-%u-%u", number, i);
		memcpy(q->name, name, sizeof(name));
		tell(m, "the record of queue %u is damaged: its jobs are kept in queue %s, which is paused", number,
		     name);
	}
}

static void take_damaged(struct migration *m, struct slice guess)
{
	struct old_queue *q = &m->queues[m->queue_count++];

	q->damaged = true;
	q->record = (struct queue_record){
		.paused = true, .max_jobs = -1, .max_bytes = -1, .result_ttl_ms = -1, .weight = 1
	};
	q->record.backoff = (struct backoff){ .base_ms = -1, .max_ms = -1, .factor = -1, .jitter = -1 };
	if (guess.size < NAME_SIZE)
		snprintf(q->guess, sizeof(q->guess), "%.*s", SLICE_FMT(guess));
}

static int take_queue(struct migration *m, uint32_t number, struct slice value)
{
	struct old_queue *q = &m->queues[number];

	while (m->queue_count < number)
		take_damaged(m, slice_of(NULL, 0));
	if (format1_read_queue(value, &q->record, &q->given_tag) < 0 || q->record.name.size >= NAME_SIZE) {
		take_damaged(m, format1_guess_name(value));
		return 0;
	}
	m->queue_count++;
	snprintf(q->name, sizeof(q->name), "%.*s", SLICE_FMT(q->record.name));
	q->title = strndup(q->record.title.data ? q->record.title.data : "", q->record.title.size);
	if (!q->title)
		return ERR_NO_MEMORY;
	q->record.title = slice_str(q->title);
	memset(q->record.counts, 0, sizeof(q->record.counts));
	memset(q->record.ready, 0, sizeof(q->record.ready));
	return 0;
}

static int read_queues(struct migration *m)
{
	struct slice key, value;
	int rc;

	for (rc = store_seek(m->txn, TABLE_QUEUES, slice_of(NULL, 0), &key, &value); rc == 0;
	     rc = store_next(m->txn, TABLE_QUEUES, &key, &value)) {
		uint32_t number;

		if (key_read_queue(key, &number) < 0 || number >= QUEUES_MAX)
			continue;
		rc = take_queue(m, number, value);
		if (rc < 0)
			return rc;
	}
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* Jobs were given their places by counting: whoever comes now stands behind them. Their distances say nothing. */
static void go_on_behind(struct queue_record *q, uint64_t last_tag)
{
	for (int p = 0; p < PRIORITIES; p++)
		q->lines[p] = (struct fair_line){ .finish = last_tag + 1, .last = last_tag + 1, .grouped = true };
}

static int write_queue(struct migration *m, uint32_t number)
{
	struct old_queue *q = &m->queues[number];
	struct key key = key_queue(number);
	struct key name;
	int rc;

	q->record.name = slice_str(q->name);
	if (q->given_tag < q->last_tag)
		q->given_tag = q->last_tag;
	go_on_behind(&q->record, q->given_tag);
	if (q->damaged)
		q->record.put_total = (int64_t)q->last_tag;
	buf_reset(&m->job);
	rc = record_write_queue(&m->job, &q->record);
	if (rc == 0)
		rc = put(m, TABLE_QUEUES, &key, buf_slice(&m->job));
	name = key_name(q->record.name);
	return rc == 0 ? put(m, TABLE_NAMES, &name, key_slice(&key)) : rc;
}

/* ---- jobs ---- */

static int set_aside(struct migration *m, const struct uuid *id)
{
	struct key key = key_job(id);
	int rc;

	if (m->set_aside++ < NAMED_MAX)
		tell(m, "job %s: its record is damaged; it is set aside", uuid_format(id).text);
	buf_reset(&m->job);
	rc = record_write_moment(&m->job, clock_wall_ms());
	return rc == 0 ? put(m, TABLE_SET_ASIDE, &key, buf_slice(&m->job)) : rc;
}

/* Encodes the input anew and tells the job what has moved from there. A damaged one stays as it is: whoever leases the
 * job finds it out. False for that. */
static bool encode_input(struct migration *m, const struct uuid *id, struct job *job)
{
	struct key key = key_job(id);
	struct job_input input;
	struct slice bytes;

	if (store_get(m->txn, TABLE_INPUTS, key_slice(&key), &bytes) < 0 ||
	    format1_read_input(bytes, &input, &job->result_ttl_ms) < 0)
		return false;
	job->bytes = (int64_t)input.payload.size;
	input.metadata_count = input_metadata(&input, m->metadata, FORMAT1_METADATA_MAX);
	input.metadata = m->metadata;
	buf_reset(&m->input);
	return record_write_input(&m->input, &input) == 0;
}

static void count_job(struct migration *m, const struct job *job)
{
	struct old_queue *q = &m->queues[job->queue];

	q->record.counts[job->state]++;
	if (job->state == JOB_READY)
		q->record.ready[job->priority]++;
	if (!job_state_final(job->state))
		q->record.bytes += job->bytes;
	if (q->last_tag < job->tag)
		q->last_tag = job->tag;
}

static int write_entries(struct migration *m, const struct uuid *id, const struct job *job)
{
	struct key ready = key_ready(job->queue, job->priority, job->tag, id);
	struct key due = key_due(job->due_at_ms, id);
	struct due_value value = due_value_make(job);
	struct slice there;
	int rc = 0;

	if (job->state == JOB_READY) {
		m->ready++;
		/* It is there but for damage, and to find it costs less than to write it. */
		rc = store_get(m->txn, TABLE_READY, key_slice(&ready), &there);
		if (rc == ERR_NOT_FOUND)
			rc = put(m, TABLE_READY, &ready, slice_of(NULL, 0));
	}
	if (rc == 0 && job->due_at_ms != 0) {
		m->due++;
		rc = put(m, TABLE_DUE, &due, slice_of(value.bytes, sizeof(value.bytes)));
	}
	return rc;
}

static int write_job(struct migration *m, const struct uuid *id, const struct job *job)
{
	struct key key = key_job(id);
	int rc;

	buf_reset(&m->job);
	rc = record_write_job(&m->job, job);
	if (rc == 0)
		rc = put(m, TABLE_JOBS, &key, buf_slice(&m->job));
	count_job(m, job);
	return rc == 0 ? write_entries(m, id, job) : rc;
}

static int migrate_job(struct migration *m, const struct uuid *id, struct slice value)
{
	struct key key = key_job(id);
	struct job job = { .bytes = 0 };
	bool sound = format1_read_job(value, &job) == 0 && job.queue < m->queue_count;
	/* It is encoded before anything is written, for the job's texts point into the map. */
	bool has_input = encode_input(m, id, &job);
	int rc;

	if (buf_error(&m->input))
		return buf_error(&m->input);
	rc = sound ? write_job(m, id, &job) : set_aside(m, id);
	return rc == 0 && has_input ? put(m, TABLE_INPUTS, &key, buf_slice(&m->input)) : rc;
}

static void tell_progress(struct migration *m)
{
	int64_t now_ms;

	if (m->jobs % LOOK_EVERY != 0)
		return;
	now_ms = clock_mono_ms();
	if (now_ms - m->told_at_ms < TELL_EVERY_MS)
		return;
	m->told_at_ms = now_ms;
	tell(m, "migrating: %lld of %lld jobs", (long long)m->jobs, (long long)m->jobs_total);
}

static int migrate_jobs(struct migration *m)
{
	struct key from = { .size = 0 };
	struct slice key, value;
	int rc;

	while ((rc = store_seek(m->txn, TABLE_JOBS, key_slice(&from), &key, &value)) == 0) {
		struct uuid id;

		from = key_above(key);
		if (key_read_job(key, &id) == 0)
			rc = migrate_job(m, &id, value);
		if (rc < 0)
			return rc;
		m->jobs++;
		tell_progress(m);
	}
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* ---- tombstones ---- */

static int migrate_tombstone(struct migration *m, struct slice key, struct slice value)
{
	struct key copy = key_copy(key);
	struct tombstone stone = { 0 };
	struct uuid id;
	struct key due;
	int rc;

	/* Without it the link says "unknown" instead of "gone": no more is lost. */
	if (key_read_job(key, &id) < 0 || format1_read_tombstone(value, &stone.until_ms) < 0)
		return store_delete(m->txn, TABLE_TOMBSTONES, key_slice(&copy));
	due = key_due(stone.until_ms, &id);
	m->due++;
	buf_reset(&m->job);
	rc = record_write_tombstone(&m->job, &stone);
	if (rc == 0)
		rc = put(m, TABLE_TOMBSTONES, &copy, buf_slice(&m->job));
	return rc == 0 ? put(m, TABLE_DUE, &due, slice_of(NULL, 0)) : rc;
}

static int migrate_tombstones(struct migration *m)
{
	struct key from = { .size = 0 };
	struct slice key, value;
	int rc;

	while ((rc = store_seek(m->txn, TABLE_TOMBSTONES, key_slice(&from), &key, &value)) == 0) {
		from = key_above(key);
		rc = migrate_tombstone(m, key, value);
		if (rc < 0)
			return rc;
	}
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* ---- index entries that lead nowhere ---- */

static bool leads_to_job(struct migration *m, enum store_table table, struct slice key)
{
	struct key job_key;
	struct slice value;
	uint8_t priority;
	struct uuid id;
	uint32_t queue;
	uint64_t tag;
	int64_t at_ms;
	struct tombstone stone;
	struct job job;

	if (table == TABLE_READY ? key_read_ready(key, &queue, &priority, &tag, &id) < 0
				 : key_read_due(key, &at_ms, &id) < 0)
		return false;
	job_key = key_job(&id);
	if (store_get(m->txn, TABLE_JOBS, key_slice(&job_key), &value) == 0 && record_read_job(value, &job) == 0)
		return table == TABLE_DUE ? job.due_at_ms == at_ms
					  : job.state == JOB_READY && job.queue == queue && job.priority == priority &&
						    job.tag == tag;
	return table == TABLE_DUE && store_get(m->txn, TABLE_TOMBSTONES, key_slice(&job_key), &value) == 0 &&
	       record_read_tombstone(value, &stone) == 0 && stone.until_ms == at_ms;
}

static int remove_strays(struct migration *m, enum store_table table, int64_t accounted)
{
	struct key from = { .size = 0 };
	struct slice key, value;
	int64_t there;
	int rc;

	rc = store_count(m->txn, table, &there);
	if (rc < 0 || there == accounted)
		return rc;
	while ((rc = store_seek(m->txn, table, key_slice(&from), &key, &value)) == 0) {
		struct key copy = key_copy(key);

		from = key_above(key);
		if (!leads_to_job(m, table, key))
			rc = store_delete(m->txn, table, key_slice(&copy));
		if (rc < 0)
			return rc;
	}
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* ---- the whole ---- */

static int migrate_all(struct migration *m)
{
	int rc;

	rc = store_count(m->txn, TABLE_JOBS, &m->jobs_total);
	if (rc == 0)
		tell(m, "migrating the data directory from format 1 to format %d: %lld jobs", STORE_FORMAT,
		     (long long)m->jobs_total);
	if (rc == 0)
		rc = read_queues(m);
	if (rc == 0) {
		name_damaged(m);
		rc = migrate_jobs(m);
	}
	for (uint32_t i = 0; rc == 0 && i < m->queue_count; i++)
		rc = write_queue(m, i);
	if (rc == 0)
		rc = migrate_tombstones(m);
	if (rc == 0)
		rc = remove_strays(m, TABLE_READY, m->ready);
	if (rc == 0)
		rc = remove_strays(m, TABLE_DUE, m->due);
	if (rc == 0 && m->set_aside > 0)
		tell(m, "%lld jobs with damaged records are set aside", (long long)m->set_aside);
	return rc;
}

static int from_1(struct store_txn *t, const struct store_options *options)
{
	_cleanup_free_ struct migration *m = calloc(1, sizeof(*m));
	int rc = ERR_NO_MEMORY;

	if (!m)
		return rc;
	m->txn = t;
	m->options = options;
	m->told_at_ms = clock_mono_ms();
	buf_init(&m->job, RECORD_MAX);
	buf_init(&m->input, RECORD_MAX);
	m->queues = calloc(QUEUES_MAX, sizeof(*m->queues));
	if (m->queues)
		rc = migrate_all(m);
	for (uint32_t i = 0; m->queues && i < m->queue_count; i++)
		free(m->queues[i].title);
	free(m->queues);
	buf_done(&m->job);
	buf_done(&m->input);
	return rc;
}

/* ---- from the second format: the queues' records alone ---- */

/* A damaged one stays as it is: the engine makes it anew, as always. */
static int rewrite_queue(struct store_txn *t, const struct key *key, struct slice value, struct buf *scratch)
{
	struct queue_record q;
	uint64_t last_tag;
	int rc;

	if (format2_read_queue(value, &q, &last_tag) < 0)
		return 0;
	go_on_behind(&q, last_tag);
	buf_reset(scratch);
	rc = record_write_queue(scratch, &q);
	return rc == 0 ? store_put(t, TABLE_QUEUES, key_slice(key), buf_slice(scratch)) : rc;
}

static int from_2(struct store_txn *t, const struct store_options *options)
{
	_cleanup_(buf_done) struct buf scratch;
	struct key from = { .size = 0 };
	struct slice key, value;
	long queues = 0;
	char line[128];
	int rc;

	buf_init(&scratch, RECORD_MAX);
	while ((rc = store_seek(t, TABLE_QUEUES, key_slice(&from), &key, &value)) == 0) {
		struct key at = key_copy(key);

		rc = rewrite_queue(t, &at, value, &scratch);
		if (rc < 0)
			return rc;
		from = key_above(key_slice(&at));
		queues++;
	}
	snprintf(line, sizeof(line), "migrating the data directory from format 2 to format %d: %ld queues",
		 STORE_FORMAT, queues);
	if (rc == ERR_NOT_FOUND && options->notice)
		options->notice(options->notice_user, line);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* A store that is new has neither a word nor another table. Any other has a format: to take it for new would be to take
 * its records for what this version writes. */
static int look_for_rest(struct store_txn *t, bool read_only, uint32_t *ret_format, struct error_info *info)
{
	int64_t words, tables;
	int rc;

	rc = store_count(t, TABLE_META, &words);
	if (rc == 0)
		rc = store__count_tables(t, &tables);
	if (rc < 0)
		return rc;
	if (read_only || words > 0 || tables > 1)
		return error_set(info, ERR_CORRUPT, NULL,
				 "the format version is missing from the data directory: it is damaged");
	*ret_format = 0;
	return 0;
}

int migrate_look(struct store_txn *t, bool read_only, uint32_t *ret_format, struct error_info *info)
{
	struct key key = key_word(META_FORMAT);
	struct slice value;
	uint32_t format;
	int rc;

	rc = store_get(t, TABLE_META, key_slice(&key), &value);
	if (rc == ERR_NOT_FOUND)
		return look_for_rest(t, read_only, ret_format, info);
	if (rc < 0)
		return rc;
	if (value.size != sizeof(format))
		return error_set(info, ERR_CORRUPT, NULL, "the format version in the data directory is damaged");
	memcpy(&format, value.data, sizeof(format));
	if (format == 0)
		return error_set(info, ERR_CORRUPT, NULL, "the format version in the data directory is damaged");
	if (format > STORE_FORMAT)
		return error_set(info, ERR_UNSUPPORTED_VERSION, NULL,
				 "the data directory has format %u, this program knows formats up to %d", format,
				 STORE_FORMAT);
	if (format < STORE_FORMAT && read_only)
		return error_set(info, ERR_UNSUPPORTED_VERSION, NULL,
				 "the data directory has format %u: a start of raincheckd migrates it to format %d, "
				 "till then it is only read by the version that wrote it",
				 format, STORE_FORMAT);
	*ret_format = format;
	return 0;
}

int migrate_run(struct store_txn *t, uint32_t format, const struct store_options *options, struct error_info *info)
{
	const uint32_t present = STORE_FORMAT;
	struct key key = key_word(META_FORMAT);
	int rc = 0;

	if (format == present)
		return 0;
	if (format == 1)
		rc = from_1(t, options);
	if (format == 2)
		rc = from_2(t, options);
	if (rc == 0 && format != 0)
		rc = migrate__keys(t, format, options);
	if (rc == 0)
		rc = store_put(t, TABLE_META, key_slice(&key), slice_of(&present, sizeof(present)));
	if (rc < 0 && format != 0)
		error_set(info, rc, NULL, "cannot migrate the data directory, it is as it was: %s: %s", error_text(rc),
			  store_error_detail());
	return rc;
}
