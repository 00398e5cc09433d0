/* The phases, each with a commit: words, queues and names (for what follows reads the queues' numbers); which jobs
 * there are; what says itself where it belongs; the rows beside them; what the jobs' records ask for; the queues'
 * counts.
 */
#include "server/upkeep/mend.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/clean.h"
#include "proto/base/clock.h"
#include "server/engine/queues.h"
#include "server/store/copy.h"
#include "server/store/layout.h"
#include "server/store/limit_record.h"
#include "server/upkeep/mend_priv.h"
#include "server/upkeep/row_words.h"

#define ASK_EVERY  4096	     /* rows */
#define RECORD_MAX (1 << 20) /* of what is written anew: records of jobs and queues, never an input */
#define QUEUE_BITS 32	     /* of a queue's number in its key */

/* ---- looking and writing ---- */

static void fail(struct mend *m, int rc)
{
	if (m->rc == 0)
		m->rc = rc;
}

bool mend_get(struct mend *m, enum store_table table, struct key key, struct slice *ret)
{
	int rc = m->rc == 0 ? store_get(m->now, table, key_slice(&key), ret) : m->rc;

	if (rc < 0 && rc != ERR_NOT_FOUND)
		fail(m, rc);
	return rc == 0;
}

bool mend_has(struct mend *m, enum store_table table, struct key key)
{
	struct slice value;

	return mend_get(m, table, key, &value);
}

void mend_put(struct mend *m, enum store_table table, struct key key, struct slice value)
{
	if (m->rc == 0)
		fail(m, store_put(m->now, table, key_slice(&key), value));
}

static void remove_row(struct mend *m, enum store_table table, struct slice key)
{
	int rc = m->rc == 0 ? store_delete(m->now, table, key) : m->rc;

	if (rc < 0 && rc != ERR_NOT_FOUND)
		fail(m, rc);
}

void mend_move(struct mend *m, enum store_table table, struct key from, struct key to)
{
	struct slice value;

	if (m->rc == 0)
		fail(m, store_get(m->before, table, key_slice(&from), &value));
	if (m->rc == 0)
		mend_put(m, table, to, value);
	remove_row(m, table, key_slice(&from));
}

bool mend_is_set_aside(struct mend *m, const struct uuid *id)
{
	return mend_has(m, TABLE_SET_ASIDE, key_job(id));
}

bool mend_is_known(struct mend *m, const struct uuid *id)
{
	return mend_has(m, TABLE_JOBS, key_job(id)) || mend_is_set_aside(m, id);
}

bool mend_find_job(struct mend *m, const struct uuid *id, struct job *ret)
{
	struct slice value;

	return !mend_is_set_aside(m, id) && mend_get(m, TABLE_JOBS, key_job(id), &value) &&
	       record_read_job(value, ret) == 0;
}

int64_t mend_count_artifacts(struct mend *m, const struct uuid *id)
{
	struct key from = key_job(id);
	struct slice key, value;
	int64_t count = 0;
	int rc = m->rc;

	if (rc == 0)
		rc = store_seek(m->now, TABLE_ARTIFACTS, key_slice(&from), &key, &value);
	while (rc == 0 && key.size >= from.size && memcmp(key.data, from.bytes, from.size) == 0) {
		count++;
		rc = store_next(m->now, TABLE_ARTIFACTS, &key, &value);
	}
	if (rc < 0 && rc != ERR_NOT_FOUND)
		fail(m, rc);
	return count;
}

struct uuid mend_neighbour(const struct uuid *id, int n)
{
	struct uuid other = *id;

	other.bytes[n / 8] ^= (uint8_t)(1u << n % 8);
	return other;
}

/* ---- what was done ---- */

static void say(struct mend *m, const char *fmt, va_list args)
{
	char line[512];

	vsnprintf(line, sizeof(line), fmt, args);
	if (m->options->report)
		m->options->report(m->options->user, line);
}

void mend_restored(struct mend *m, const char *fmt, ...)
{
	va_list args;

	if (m->rc < 0)
		return;
	m->result->restored++;
	va_start(args, fmt);
	say(m, fmt, args);
	va_end(args);
}

void mend_made_anew(struct mend *m, enum store_table table, struct key key, struct slice value, const char *what,
		    const char *which)
{
	mend_put(m, table, key, value);
	if (m->rc < 0)
		return;
	if (m->options->lost >> table & 1) {
		m->made_anew[table]++;
		m->result->restored++;
	} else {
		mend_restored(m, "%s, %s %s: was missing: made anew", copy_table_name(table), what, which);
	}
}

static void tell(struct mend *m, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void tell(struct mend *m, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say(m, fmt, args);
	va_end(args);
}

void mend_drop(struct mend *m, enum store_table table, struct slice key, const struct uuid *id, const char *why)
{
	remove_row(m, table, key);
	if (m->rc < 0)
		return;
	m->result->dropped++;
	if (id)
		tell(m, "%s, job %s: %s: dropped", copy_table_name(table), uuid_format(id).text, why);
	else
		tell(m, "%s: %s: dropped", row_words(table, key).text, why);
}

void mend_enter_aside(struct mend *m, const struct uuid *id)
{
	buf_reset(&m->record);
	if (m->rc == 0)
		fail(m, record_write_moment(&m->record, clock_wall_ms()));
	mend_put(m, TABLE_SET_ASIDE, key_job(id), buf_slice(&m->record));
}

void mend_set_aside(struct mend *m, const struct uuid *id, const char *why)
{
	mend_enter_aside(m, id);
	if (m->rc < 0)
		return;
	m->result->set_aside++;
	tell(m, "job %s: %s: set aside", uuid_format(id).text, why);
}

/* ---- walking ---- */

static void step(struct mend *m)
{
	const struct mend_options *o = m->options;

	if (m->steps++ % ASK_EVERY != 0)
		return;
	if (o->progress)
		o->progress(o->user, "records mended", m->steps, m->total);
	if (o->canceled && o->canceled(o->user))
		fail(m, ERR_CANCELED);
}

void mend_walk(struct mend *m, enum store_table table,
	       void (*entry)(struct mend *m, struct slice key, struct slice value))
{
	struct slice key, value;
	int rc = m->rc;

	if (rc == 0)
		rc = store_seek(m->before, table, slice_of(NULL, 0), &key, &value);
	while (rc == 0) {
		step(m);
		if (m->rc == 0)
			entry(m, key, value);
		rc = m->rc == 0 ? store_next(m->before, table, &key, &value) : m->rc;
	}
	if (rc != ERR_NOT_FOUND)
		fail(m, rc);
}

/* ---- words ---- */

static int differing_bits(struct slice a, struct slice b)
{
	int count = 0;

	for (size_t i = 0; i < a.size; i++)
		count += __builtin_popcount(((const uint8_t *)a.data)[i] ^ ((const uint8_t *)b.data)[i]);
	return count;
}

/* Without the fingerprint nobody could tell whether the links' secret is theirs. */
static void mend_word(struct mend *m, struct slice key, struct slice value)
{
	struct key secret = key_word(META_LINK_SECRET);

	if (slice_is(key, META_FORMAT) || slice_is(key, META_LINK_SECRET))
		return;
	if (key.size != secret.size || differing_bits(key, key_slice(&secret)) != 1 ||
	    value.size != LINK_FINGERPRINT_CHARS || mend_has(m, TABLE_META, secret)) {
		mend_drop(m, TABLE_META, key, NULL, "has no known name");
		return;
	}
	mend_move(m, TABLE_META, key_copy(key), secret);
	mend_restored(m, "meta, the links' secret: stood under another name: put back");
}

/* ---- queues ---- */

/* Numbers are given from 0 up without a gap: so one that is not below how many queues there are is the wrong one. */
static bool is_number(struct mend *m, uint32_t number)
{
	int64_t count = 0;

	if (m->rc == 0)
		fail(m, store_count(m->before, TABLE_QUEUES, &count));
	return number < count;
}

/* A queue whose name leads to no record, and a record of that name under a number one bit beside: either may have
 * flipped, the key of the record or what the name is listed for. */
static void find_queue(struct mend *m, struct slice name, uint32_t number)
{
	for (int bit = 0; bit < QUEUE_BITS; bit++) {
		uint32_t beside = number ^ (uint32_t)1 << bit;
		struct key key = key_queue(beside);
		struct queue_record q;
		struct slice value;

		if (!mend_get(m, TABLE_QUEUES, key, &value) || record_read_queue(value, &q) < 0 ||
		    !slice_equal(q.name, name) || is_number(m, number) == is_number(m, beside))
			continue;
		if (is_number(m, number))
			mend_move(m, TABLE_QUEUES, key, key_queue(number));
		else
			mend_put(m, TABLE_NAMES, key_name(name), key_slice(&key));
		mend_restored(m, "queues, %.*s: number %u was taken for %u: put right", SLICE_FMT(name),
			      is_number(m, number) ? number : beside, is_number(m, number) ? beside : number);
		return;
	}
}

static void mend_name(struct mend *m, struct slice key, struct slice value)
{
	struct queue_record q;
	struct slice record;
	uint32_t number;

	if (key_read_queue(value, &number) < 0) {
		mend_drop(m, TABLE_NAMES, key, NULL, "is malformed");
		return;
	}
	/* Where the record is lost the name may be all that is known of the queue: the broker's start reads it. */
	if (!mend_get(m, TABLE_QUEUES, key_queue(number), &record))
		find_queue(m, key, number);
	else if (record_read_queue(record, &q) == 0 && !slice_equal(q.name, key))
		mend_drop(m, TABLE_NAMES, key, NULL, "its queue has another name");
}

static void list_name(struct mend *m, struct slice key, struct slice value)
{
	char name[KEY_MAX + 1];
	struct queue_record q;
	uint32_t number;

	if (key_read_queue(key, &number) < 0 || record_read_queue(value, &q) < 0 || q.name.size == 0 ||
	    q.name.size > KEY_MAX || mend_has(m, TABLE_NAMES, key_name(q.name)))
		return;
	snprintf(name, sizeof(name), "%.*s", SLICE_FMT(q.name));
	mend_made_anew(m, TABLE_NAMES, key_name(q.name), key, "queue", name);
}

static void set_counts(struct mend *m, struct slice key, struct slice value)
{
	const struct mend_sum *sum;
	struct queue_record q;
	uint32_t number;

	if (key_read_queue(key, &number) < 0 || number >= QUEUES_MAX || record_read_queue(value, &q) < 0)
		return;
	sum = &m->sums[number];
	if (m->options->damage_only && !sum->affected)
		return;
	if (memcmp(q.counts, sum->counts, sizeof(q.counts)) == 0 && memcmp(q.ready, sum->ready, sizeof(q.ready)) == 0 &&
	    q.bytes == sum->bytes)
		return;
	memcpy(q.counts, sum->counts, sizeof(q.counts));
	memcpy(q.ready, sum->ready, sizeof(q.ready));
	q.bytes = sum->bytes;
	buf_reset(&m->record);
	if (m->rc == 0)
		fail(m, record_write_queue(&m->record, &q));
	mend_put(m, TABLE_QUEUES, key_queue(number), buf_slice(&m->record));
	mend_restored(m, "queues, queue %.*s: its jobs are counted anew", SLICE_FMT(q.name));
}

static void mend_numbers(struct mend *m)
{
	mend_walk(m, TABLE_META, mend_word);
	mend_walk(m, TABLE_NAMES, mend_name);
}

/* The engine makes a limit that a queue names anew, and gives a group its place and weight: what is damaged or leads
 * nowhere is of no use. */
static void mend_limit(struct mend *m, struct slice key, struct slice value)
{
	struct limit_record l;

	if (record_read_limit(value, &l) < 0)
		mend_drop(m, TABLE_LIMITS, key, NULL, "is damaged");
}

static bool leads_to_queue(struct mend *m, struct slice key)
{
	struct slice group;
	uint32_t queue;
	uint8_t priority;

	return key_read_group(key, &queue, &priority, &group) == 0 && priority < PRIORITIES &&
	       mend_has(m, TABLE_QUEUES, key_queue(queue));
}

static void mend_group(struct mend *m, struct slice key, struct slice value)
{
	uint64_t finish;

	if (!leads_to_queue(m, key) || record_read_finish(key, value, &finish) < 0)
		mend_drop(m, TABLE_GROUPS, key, NULL, "is damaged or leads to no queue");
}

static void mend_weight(struct mend *m, struct slice key, struct slice value)
{
	uint32_t weight;

	if (!leads_to_queue(m, key) || record_read_weight(key, value, &weight) < 0)
		mend_drop(m, TABLE_WEIGHTS, key, NULL, "is damaged or leads to no queue");
}

static void mend_flow(struct mend *m)
{
	mend_walk(m, TABLE_LIMITS, mend_limit);
	mend_walk(m, TABLE_GROUPS, mend_group);
	mend_walk(m, TABLE_WEIGHTS, mend_weight);
}

static void count_queues(struct mend *m)
{
	mend_walk(m, TABLE_QUEUES, set_counts);
}

static void mend_queues(struct mend *m)
{
	mend_walk(m, TABLE_QUEUES, list_name);
	count_queues(m);
}

/* ---- the whole ---- */

static void tell_made_anew(struct mend *m)
{
	for (int table = 0; m->rc == 0 && table < STORE_TABLES; table++)
		if (m->made_anew[table] > 0)
			tell(m, "%s: %lld rows made anew from the records", copy_table_name((enum store_table)table),
			     (long long)m->made_anew[table]);
}

static void run_phase(struct mend *m, void (*phase)(struct mend *m))
{
	if (m->rc == 0)
		fail(m, store_begin_read(m->options->store, &m->before));
	if (m->rc == 0)
		fail(m, store_begin_write(m->options->store, &m->now));
	if (m->rc == 0)
		phase(m);
	if (m->rc == 0)
		fail(m, store_commit(TAKE_PTR(m->now)));
	store_abort(TAKE_PTR(m->now));
	store_abort(TAKE_PTR(m->before));
}

/* Each phase but those of the queues walks about all of it. */
static void count_rows(struct mend *m)
{
	for (int table = 0; m->rc == 0 && table < STORE_TABLES; table++) {
		int64_t n = 0;

		fail(m, store_count(m->before, (enum store_table)table, &n));
		m->total += table == TABLE_JOBS && !m->options->damage_only ? 2 * n : n;
	}
}

int mend_store(const struct mend_options *options, struct mend_result *ret)
{
	static void (*const all[])(struct mend * m) = { count_rows, mend_numbers, mend_identities, mend_places,
							mend_rows,  mend_demands, mend_queues,	   mend_flow };
	static void (*const damage_only[])(struct mend * m) = { count_rows, mend_identities, mend_find_affected,
								mend_sum_up, count_queues };
	_cleanup_free_ struct mend_sum *sums = calloc(QUEUES_MAX, sizeof(*sums));
	struct mend m = { .options = options, .result = ret, .sums = sums };
	void (*const *phases)(struct mend * m) = options->damage_only ? damage_only : all;
	size_t count = options->damage_only ? ARRAY_SIZE(damage_only) : ARRAY_SIZE(all);

	*ret = (struct mend_result){ .dropped = 0 };
	if (!sums)
		return ERR_NO_MEMORY;
	buf_init(&m.record, RECORD_MAX);
	for (size_t i = 0; i < count; i++)
		run_phase(&m, phases[i]);
	tell_made_anew(&m);
	buf_done(&m.record);
	return m.rc;
}
