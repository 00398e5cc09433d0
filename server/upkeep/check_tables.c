/* What stands beside the jobs: both indexes, keys, names, tombstones, what was set aside, inputs and checkpoints. Each
 * entry must lead to a job, or to a queue, that says the same.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "server/store/layout.h"
#include "server/upkeep/check_priv.h"
#include "server/upkeep/secret.h"

/* ---- the indexes; entries that still lead to a job that is set aside are removed when somebody comes upon them ----
 */

static void check_ready_entry(struct check *c, struct slice key, struct slice value)
{
	uint8_t priority;
	uint32_t queue;
	uint64_t tag;
	struct uuid id;
	struct job job;

	if (key_read_ready(key, &queue, &priority, &tag, &id) < 0)
		check_breach(c, "the ready index: a key is malformed");
	else if (value.size != 0)
		check_breach(c, "the ready index: the entry of job %s says something", uuid_format(&id).text);
	else if (check_find_job(c, &id, &job)
			 ? job.state != JOB_READY || job.queue != queue || job.priority != priority || job.tag != tag
			 : !check_is_set_aside(c, &id))
		check_breach(c, "the ready index: an entry of job %s, queue %u, priority %u, stands for nothing",
			     uuid_format(&id).text, queue, priority);
}

static bool is_tombstones(struct check *c, const struct uuid *id, int64_t at_ms, struct slice value)
{
	struct key key = key_job(id);
	struct tombstone stone;
	struct slice bytes;

	return value.size == 0 && store_get(c->txn, TABLE_TOMBSTONES, key_slice(&key), &bytes) == 0 &&
	       record_read_tombstone(bytes, &stone) == 0 && stone.until_ms == at_ms;
}

static void check_due_entry(struct check *c, struct slice key, struct slice value)
{
	int64_t at_ms;
	struct uuid id;
	struct job job;

	if (key_read_due(key, &at_ms, &id) < 0)
		check_breach(c, "the due index: a key is malformed");
	else if (value.size != 0 && value.size != DUE_VALUE_SIZE)
		check_breach(c, "the due index: the entry of job %s is malformed", uuid_format(&id).text);
	else if (check_find_job(c, &id, &job) ? job.due_at_ms != at_ms
					      : !check_is_set_aside(c, &id) && !is_tombstones(c, &id, at_ms, value))
		check_breach(c, "the due index: an entry of job %s at %lld stands for nothing", uuid_format(&id).text,
			     (long long)at_ms);
}

/* ---- keys and names ---- */

/* The key lives as long as its job. Of a job whose record or input is damaged it cannot be known what its key was. */
static void check_idempotency(struct check *c, struct slice key, struct slice value)
{
	struct job_input input;
	struct slice word;
	uint32_t queue;
	struct uuid id;
	struct job job;

	if (key.size <= 4 || key_read_queue(slice_of(key.data, 4), &queue) < 0 || key_read_job(value, &id) < 0) {
		check_breach(c, "idempotency keys: an entry is malformed");
		return;
	}
	word = slice_of((const uint8_t *)key.data + 4, key.size - 4);
	if (!check_is_known(c, &id))
		check_breach(c, "an idempotency key of queue %u leads to job %s, which is not there", queue,
			     uuid_format(&id).text);
	else if ((check_find_job(c, &id, &job) && job.queue != queue) ||
		 (check_find_input(c, &id, &input) && !slice_equal(input.idempotency_key, word)))
		check_breach(c, "an idempotency key of queue %u leads to job %s, which was put with another", queue,
			     uuid_format(&id).text);
}

static void check_listed_name(struct check *c, struct slice key, struct slice value)
{
	struct queue_record q;
	struct slice bytes;
	uint32_t number;
	struct key queue;

	if (key_read_queue(value, &number) < 0) {
		check_breach(c, "names: the entry of %.*s is malformed", SLICE_FMT(key));
		return;
	}
	queue = key_queue(number);
	/* One that is damaged has been named. */
	if (store_get(c->txn, TABLE_QUEUES, key_slice(&queue), &bytes) < 0)
		check_breach(c, "names: %.*s is listed for queue %u, which is not there", SLICE_FMT(key), number);
	else if (record_read_queue(bytes, &q) == 0 && !slice_equal(q.name, key))
		check_breach(c, "names: %.*s is listed for queue %u, which has another name", SLICE_FMT(key), number);
}

/* ---- words ---- */

/* Where the file is not there the broker says so itself; beside a copy that nobody has put in its place it is not. */
static void check_secret(struct check *c, struct slice known)
{
	struct error_info info = { 0 };
	uint8_t secret[LINK_SECRET_BYTES];
	int rc = secret_read(store_dir(c->options->store), secret, &info);

	if (rc < 0 && rc != ERR_NOT_FOUND)
		check_breach(c, "meta: %s", info.message);
	else if (rc == 0 && !slice_is(known, secret_fingerprint(secret).text))
		check_breach(c, "meta: " LAYOUT_LINK_KEY
				" is not the secret of these links, as far as the records know it");
}

static void check_word(struct check *c, struct slice key, struct slice value)
{
	bool format = slice_is(key, META_FORMAT), secret = slice_is(key, META_LINK_SECRET);

	if (!format && !secret)
		check_breach(c, "meta: an entry of no known name");
	else if (value.size != (format ? sizeof(uint32_t) : LINK_FINGERPRINT_CHARS))
		check_breach(c, "meta: the entry %.*s is malformed", SLICE_FMT(key));
	else if (secret)
		check_secret(c, value);
}

/* ---- what is left of jobs ---- */

static void check_tombstone(struct check *c, struct slice key, struct slice value)
{
	struct tombstone stone;
	struct uuid id;

	if (key_read_job(key, &id) < 0) {
		check_breach(c, "tombstones: a key is malformed");
		return;
	}
	if (check_has(c, TABLE_JOBS, key_job(&id)))
		check_breach(c, "tombstone of job %s: the job is there", uuid_format(&id).text);
	if (record_read_tombstone(value, &stone) < 0)
		check_breach(c, "tombstone of job %s: is damaged", uuid_format(&id).text);
	else if (!check_has(c, TABLE_DUE, key_due(stone.until_ms, &id)))
		check_breach(c, "tombstone of job %s: will never go", uuid_format(&id).text);
}

static void check_set_aside(struct check *c, struct slice key, struct slice value)
{
	char since[32] = "an unknown moment";
	struct uuid id;
	int64_t at_ms;
	struct tm tm;
	time_t at;

	if (key_read_job(key, &id) < 0) {
		check_breach(c, "set aside: a key is malformed");
		return;
	}
	if (!check_has(c, TABLE_JOBS, key_job(&id)))
		check_damage(c, "set aside: job %s is not there", uuid_format(&id).text);
	if (record_read_moment(value, &at_ms) < 0) {
		check_breach(c, "set aside: the entry of job %s is damaged", uuid_format(&id).text);
	} else {
		at = (time_t)(at_ms / 1000);
		if (gmtime_r(&at, &tm))
			strftime(since, sizeof(since), "%Y-%m-%dT%H:%M:%SZ", &tm);
	}
	check_say(c, CHECK_SET_ASIDE, "job %s: its record is damaged; set aside since %s", uuid_format(&id).text,
		  since);
}

/* ---- what belongs to jobs ---- */

static void check_owned(struct check *c, struct slice key, const char *what)
{
	struct uuid id;

	if (key_read_job(key, &id) < 0)
		check_breach(c, "%s: a key is malformed", what);
	else if (!check_is_known(c, &id))
		check_breach(c, "%s of job %s: the job is missing", what, uuid_format(&id).text);
}

static void check_owned_input(struct check *c, struct slice key, struct slice value)
{
	(void)value;
	check_owned(c, key, "input");
}

static void check_checkpoint(struct check *c, struct slice key, struct slice value)
{
	struct slice data;
	struct uuid id;

	if (check_is_anothers(c, TABLE_CHECKPOINTS, key, value))
		return;
	check_owned(c, key, "checkpoint");
	if (key_read_job(key, &id) == 0 && record_read_checkpoint(key, value, &data) < 0)
		check_damage(c, "checkpoint of job %s: is damaged", uuid_format(&id).text);
}

int check_tables(struct check *c)
{
	static const struct {
		enum store_table table;
		void (*entry)(struct check *c, struct slice key, struct slice value);
	} walks[] = {
		{ TABLE_READY, check_ready_entry },
		{ TABLE_DUE, check_due_entry },
		{ TABLE_IDEMPOTENCY, check_idempotency },
		{ TABLE_NAMES, check_listed_name },
		{ TABLE_TOMBSTONES, check_tombstone },
		{ TABLE_SET_ASIDE, check_set_aside },
		{ TABLE_INPUTS, check_owned_input },
		{ TABLE_CHECKPOINTS, check_checkpoint },
		{ TABLE_META, check_word },
	};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < sizeof(walks) / sizeof(walks[0]); i++)
		rc = check_walk(c, walks[i].table, walks[i].entry);
	return rc;
}
