#include "server/store/copy.h"

#include <stdio.h>
#include <string.h>

#include "proto/base/buf.h"
#include "proto/base/clean.h"
#include "proto/base/text.h"
#include "server/store/copy_twice.h"
#include "server/store/hook_record.h"
#include "server/store/keys.h"
#include "server/store/limit_record.h"
#include "server/store/own_key.h"
#include "server/store/records.h"

#define BATCH_BYTES   (32 << 20) /* in one transaction: what is not committed yet stands in memory */
#define BATCH_ENTRIES 100000
#define ASK_EVERY     4096 /* entries */
#define ASK_BYTES     (8 << 20)
#define KEY_SHOWN     40 /* bytes: every key but a long word is whole */

struct copier {
	const struct copy_options *options;
	struct store_txn *from;
	struct store *to;
	struct store_txn *txn; /* of to */
	int64_t total;	       /* entries there are */
	int64_t batch_bytes, batch_entries;
	int64_t unasked_bytes;
	struct copy_twice twice;
	struct slice last, before_last; /* keys of the table under way, in the source's map */
	struct copy_result *result;
};

static const char *const names[STORE_TABLES] = {
	[TABLE_META] = "meta",
	[TABLE_QUEUES] = "queues",
	[TABLE_NAMES] = "names",
	[TABLE_JOBS] = "jobs",
	[TABLE_INPUTS] = "inputs",
	[TABLE_CHECKPOINTS] = "checkpoints",
	[TABLE_READY] = "the ready index",
	[TABLE_DUE] = "the due index",
	[TABLE_IDEMPOTENCY] = "idempotency keys",
	[TABLE_ARTIFACTS] = "artifacts",
	[TABLE_BLOBS] = "the blob list",
	[TABLE_TOMBSTONES] = "tombstones",
	[TABLE_SET_ASIDE] = "set aside",
	[TABLE_LIMITS] = "limits",
	[TABLE_GROUPS] = "groups",
	[TABLE_WEIGHTS] = "weights",
	[TABLE_HOOKS] = "hooks",
	[TABLE_HOOK_BODIES] = "bodies of hooks",
};

const char *copy_table_name(enum store_table table)
{
	return names[table];
}

bool copy_is_derived(enum store_table table)
{
	return table == TABLE_NAMES || table == TABLE_READY || table == TABLE_DUE || table == TABLE_IDEMPOTENCY ||
	       table == TABLE_BLOBS;
}

/* Under this key. True too for a table whose values have no checksum. */
static bool is_sound(enum store_table table, struct slice key, struct slice value)
{
	union {
		struct job job;
		struct job_input input;
		struct artifact artifact;
		struct queue_record queue;
		struct slice bytes;
		int64_t at_ms;
		struct tombstone tombstone;
		struct hooks_record hooks;
		struct hook_record hook;
		struct limit_record limit;
		uint64_t finish;
		uint32_t weight;
	} room;

	switch (table) {
	case TABLE_JOBS:
		return record_read_job(value, &room.job) == 0;
	case TABLE_INPUTS:
		return record_read_input(value, &room.input) == 0;
	case TABLE_ARTIFACTS:
		return record_read_artifact(key, value, &room.artifact) == 0;
	case TABLE_QUEUES:
		return record_read_queue(value, &room.queue) == 0;
	case TABLE_CHECKPOINTS:
		return record_read_checkpoint(key, value, &room.bytes) == 0;
	case TABLE_TOMBSTONES:
		return record_read_tombstone(value, &room.tombstone) == 0;
	case TABLE_SET_ASIDE:
		return record_read_moment(value, &room.at_ms) == 0;
	case TABLE_HOOKS:
		return record_read_hooks(value, &room.hooks) == 0;
	case TABLE_HOOK_BODIES:
		return record_read_hook(value, &room.hook) == 0;
	case TABLE_LIMITS:
		return record_read_limit(value, &room.limit) == 0 && slice_equal(room.limit.name, key);
	case TABLE_GROUPS:
		return record_read_finish(key, value, &room.finish) == 0;
	case TABLE_WEIGHTS:
		return record_read_weight(key, value, &room.weight) == 0;
	default:
		return true;
	}
}

/* Ends the transaction under way, if there is one. */
static int end_batch(struct copier *c)
{
	c->batch_bytes = c->batch_entries = 0;
	return c->txn ? store_commit(TAKE_PTR(c->txn)) : 0;
}

static void note_where(struct copier *c, enum store_table table, struct slice key, const char *what)
{
	char hex[2 * KEY_SHOWN + 1];
	size_t shown = key.size < KEY_SHOWN ? key.size : KEY_SHOWN;

	hex_encode(key.data, shown, hex);
	hex[2 * shown] = '\0';
	snprintf(c->result->where, sizeof(c->result->where), "%s, key %s%s: %s", names[table], hex,
		 shown < key.size ? "…" : "", what);
}

/* Keeps track of the order in which the source's keys stand. Of two neighbours that are the wrong way round the first
 * is the one that stands out of line if the second fits behind what came before both. */
static int look_at_order(struct copier *c, enum store_table table, struct slice key)
{
	const struct copy_options *o = c->options;
	bool follows = !c->last.data || slice_compare(c->last, key) < 0;

	if (follows) {
		c->before_last = c->last;
		c->last = key;
		return 0;
	}
	if (!c->before_last.data || slice_compare(c->before_last, key) < 0) {
		note_where(c, table, c->last, "stands out of order");
		c->last = key;
	} else {
		note_where(c, table, key, "stands out of order");
	}
	if (!o->misplaced)
		return ERR_CORRUPT;
	o->misplaced(o->user, c->result->where);
	return 0;
}

/* A row that another stands in the place of goes where it belongs, if it says where and nobody is there. */
static int give_way(struct copier *c, enum store_table table, struct slice key, struct slice value)
{
	struct slice own, there;
	int rc;

	if (!own_key_differs(table, key, value, &own)) {
		note_where(c, table, key, "two rows stand under it: one is left out");
	} else {
		rc = store_get(c->txn, table, own, &there);
		if (rc == ERR_NOT_FOUND)
			rc = store_put(c->txn, table, own, value);
		else if (rc == 0)
			rc = ERR_CONFLICT;
		if (rc < 0 && rc != ERR_CONFLICT)
			return rc;
		note_where(c, table, key,
			   rc == 0 ? "two rows stand under it: one is put where it belongs"
				   : "two rows stand under it: one is left out");
	}
	c->options->misplaced(c->options->user, c->result->where);
	return 0;
}

/* Of two rows under one key a damaged one gives way, and one that is another's. */
static int choose(struct copier *c, enum store_table table, struct slice key, struct slice there, struct slice value)
{
	bool there_sound = is_sound(table, key, there), value_sound = is_sound(table, key, value);
	_cleanup_(buf_done) struct buf away = { .size = 0 };
	int rc;

	if (there_sound && value_sound && copy_twice_knows(table))
		return copy_twice_add(&c->twice, table, key, value);
	buf_init(&away, there.size + 1);
	if (there_sound == value_sound && !copy_is_derived(table)) {
		note_where(c, table, key, "two rows stand under it, and which is the right one cannot be told");
		return ERR_CORRUPT;
	}
	if (there_sound)
		return give_way(c, table, key, value);
	/* What is in the copy goes with the next write to it. */
	rc = buf_append(&away, there.data, there.size);
	if (rc == 0)
		rc = store_put(c->txn, table, key, value);
	return rc == 0 ? give_way(c, table, key, buf_slice(&away)) : rc;
}

/* An entry that cannot stand behind all others, for one of a table out of order went before. */
static int put_among(struct copier *c, enum store_table table, struct slice key, struct slice value)
{
	struct slice there;
	int rc = store_get(c->txn, table, key, &there);

	if (rc == ERR_NOT_FOUND)
		return store_put(c->txn, table, key, value);
	if (rc < 0 || slice_equal(there, value))
		return rc;
	return choose(c, table, key, there, value);
}

static int append(struct copier *c, enum store_table table, struct slice key, struct slice value)
{
	int rc = look_at_order(c, table, key);

	if (rc < 0)
		return rc;
	/* A new store has its format in this table already. */
	if (table == TABLE_META)
		return store_put(c->txn, table, key, value);
	rc = store_append(c->txn, table, key, value);
	return rc == ERR_CORRUPT && c->options->misplaced ? put_among(c, table, key, value) : rc;
}

static int copy_entry(struct copier *c, enum store_table table, struct slice key, struct slice value)
{
	int rc = 0;

	if (c->batch_bytes >= BATCH_BYTES || c->batch_entries >= BATCH_ENTRIES)
		rc = end_batch(c);
	if (rc == 0 && !c->txn)
		rc = store_begin_write(c->to, &c->txn);
	if (rc == 0)
		rc = append(c, table, key, value);
	if (rc < 0)
		return rc;
	c->batch_entries++;
	c->batch_bytes += (int64_t)(key.size + value.size);
	c->result->entries++;
	c->result->bytes += (int64_t)(key.size + value.size);
	c->result->damaged += !is_sound(table, key, value);
	return 0;
}

static int tell(struct copier *c)
{
	const struct copy_options *o = c->options;

	c->unasked_bytes = 0;
	if (o->progress)
		o->progress(o->user, "records copied", c->result->entries, c->total);
	return o->canceled && o->canceled(o->user) ? ERR_CANCELED : 0;
}

/* A page that is damaged may give fewer rows than there are, or more, without any other sign. */
static int compare_counts(struct copier *c, enum store_table table, int64_t found)
{
	int64_t counted = 0;
	int rc = store_count(c->from, table, &counted);

	if (rc < 0 || found == counted)
		return rc;
	snprintf(c->result->where, sizeof(c->result->where), "%s: %lld rows are found, %lld are counted", names[table],
		 (long long)found, (long long)counted);
	return ERR_CORRUPT;
}

static bool is_left_out(const struct copier *c, enum store_table table)
{
	return c->options->leave_out >> table & 1;
}

static int copy_table(struct copier *c, enum store_table table)
{
	int64_t before = c->result->entries;
	struct slice key, value;
	int rc;

	if (is_left_out(c, table))
		return 0;
	c->last = c->before_last = slice_of(NULL, 0);
	for (rc = store_seek(c->from, table, slice_of(NULL, 0), &key, &value); rc == 0;
	     rc = store_next(c->from, table, &key, &value)) {
		rc = copy_entry(c, table, key, value);
		c->unasked_bytes += (int64_t)value.size;
		if (rc == 0 && (c->result->entries % ASK_EVERY == 0 || c->unasked_bytes >= ASK_BYTES))
			rc = tell(c);
		if (rc < 0)
			return rc;
	}
	if (rc == ERR_STORE_ERROR && store_error_is_damage()) {
		snprintf(c->result->where, sizeof(c->result->where), "%s: its pages are damaged", names[table]);
		return ERR_CORRUPT;
	}
	return rc == ERR_NOT_FOUND ? compare_counts(c, table, c->result->entries - before) : rc;
}

static int count_entries(struct copier *c)
{
	int rc = 0;

	for (int table = 0; rc == 0 && table < STORE_TABLES; table++) {
		int64_t n = 0;

		if (!is_left_out(c, (enum store_table)table))
			rc = store_count(c->from, (enum store_table)table, &n);
		c->total += n;
	}
	return rc;
}

/* Those of which only the other tables tell which is which. */
static int settle_twice(struct copier *c)
{
	int rc = 0;

	if (c->twice.count > 0 && !c->txn)
		rc = store_begin_write(c->to, &c->txn);
	for (size_t i = 0; rc == 0 && i < c->twice.count; i++) {
		const struct copy_twice_row *row = &c->twice.rows[i];
		struct key key = key_job(&row->id);
		const char *what = "";

		rc = copy_twice_settle(row, c->txn, &what);
		note_where(c, row->table, key_slice(&key), what);
		if (rc == 0)
			c->options->misplaced(c->options->user, c->result->where);
	}
	return rc;
}

int store_copy(struct store_txn *from, struct store *to, const struct copy_options *options, struct copy_result *ret)
{
	struct copier c = { .options = options, .from = from, .to = to, .result = ret };
	int rc;

	*ret = (struct copy_result){ .entries = 0 };
	rc = count_entries(&c);
	for (int table = 0; rc == 0 && table < STORE_TABLES; table++)
		rc = copy_table(&c, (enum store_table)table);
	if (rc == 0)
		rc = settle_twice(&c);
	if (rc == 0)
		rc = end_batch(&c);
	if (rc == 0)
		rc = tell(&c);
	store_abort(c.txn);
	copy_twice_done(&c.twice);
	return rc;
}

int store_copy_explain(int rc, const struct copy_result *copied, struct error_info *info)
{
	const char *why = rc == ERR_STORE_ERROR || rc == ERR_STORE_FULL ? store_error_detail() : error_text(rc);

	return error_set(info, rc, NULL, "cannot copy the records: %s", rc == ERR_CORRUPT ? copied->where : why);
}
