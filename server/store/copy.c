#include "server/store/copy.h"

#include "proto/base/clean.h"
#include "server/store/records.h"

#define BATCH_BYTES   (32 << 20) /* in one transaction: what is not committed yet stands in memory */
#define BATCH_ENTRIES 100000
#define ASK_EVERY     4096 /* entries */

struct copier {
	const struct copy_options *options;
	struct store_txn *from;
	struct store *to;
	struct store_txn *txn; /* of to */
	int64_t total;	       /* entries there are */
	int64_t batch_bytes, batch_entries;
	struct copy_result *result;
};

/* True too for a table whose values have no checksum. */
static bool is_sound(enum store_table table, struct slice value)
{
	union {
		struct job job;
		struct job_input input;
		struct artifact artifact;
		struct queue_record queue;
		struct slice bytes;
		int64_t at_ms;
		struct tombstone tombstone;
	} room;

	switch (table) {
	case TABLE_JOBS:
		return record_read_job(value, &room.job) == 0;
	case TABLE_INPUTS:
		return record_read_input(value, &room.input) == 0;
	case TABLE_ARTIFACTS:
		return record_read_artifact(value, &room.artifact) == 0;
	case TABLE_QUEUES:
		return record_read_queue(value, &room.queue) == 0;
	case TABLE_CHECKPOINTS:
		return record_read_bytes(value, &room.bytes) == 0;
	case TABLE_TOMBSTONES:
		return record_read_tombstone(value, &room.tombstone) == 0;
	case TABLE_SET_ASIDE:
		return record_read_moment(value, &room.at_ms) == 0;
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

static int copy_entry(struct copier *c, enum store_table table, struct slice key, struct slice value)
{
	int rc = 0;

	if (c->batch_bytes >= BATCH_BYTES || c->batch_entries >= BATCH_ENTRIES)
		rc = end_batch(c);
	if (rc == 0 && !c->txn)
		rc = store_begin_write(c->to, &c->txn);
	/* A new store has its format in this table already. */
	if (rc == 0)
		rc = table == TABLE_META ? store_put(c->txn, table, key, value)
					 : store_append(c->txn, table, key, value);
	if (rc < 0)
		return rc;
	c->batch_entries++;
	c->batch_bytes += (int64_t)(key.size + value.size);
	c->result->entries++;
	c->result->bytes += (int64_t)(key.size + value.size);
	c->result->damaged += !is_sound(table, value);
	return 0;
}

static int tell(struct copier *c)
{
	const struct copy_options *o = c->options;

	if (o->progress)
		o->progress(o->user, "records copied", c->result->entries, c->total);
	return o->canceled && o->canceled(o->user) ? ERR_CANCELED : 0;
}

static int copy_table(struct copier *c, enum store_table table)
{
	struct slice key, value;
	int rc;

	for (rc = store_seek(c->from, table, slice_of(NULL, 0), &key, &value); rc == 0;
	     rc = store_next(c->from, table, &key, &value)) {
		rc = copy_entry(c, table, key, value);
		if (rc == 0 && c->result->entries % ASK_EVERY == 0)
			rc = tell(c);
		if (rc < 0)
			return rc;
	}
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int count_entries(struct copier *c)
{
	int rc = 0;

	for (int table = 0; rc == 0 && table < STORE_TABLES; table++) {
		int64_t n = 0;

		rc = store_count(c->from, (enum store_table)table, &n);
		c->total += n;
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
		rc = end_batch(&c);
	if (rc == 0)
		rc = tell(&c);
	store_abort(c.txn);
	return rc;
}
