/* Table by table, row by row: read as the third format wrote it, written back under its key with that key in it. */
#include "server/store/migrate_priv.h"

#include <stdio.h>

#include "proto/base/clean.h"
#include "proto/base/clock.h"
#include "server/store/format3.h"
#include "server/store/keys.h"
#include "server/store/migrate.h"
#include "server/store/records.h"

#define RECORD_MAX    (1 << 30)
#define TELL_EVERY_MS 5000
#define LOOK_EVERY    4096 /* records, at the clock */
#define THIRD	      3

struct rewriting {
	struct store_txn *txn;
	const struct store_options *options;
	struct buf record; /* encoded */
	int64_t done, total;
	int64_t told_at_ms;
};

/* Each encodes the row's record anew: ERR_CORRUPT where it is damaged, the buffer's error. */

static int encode_artifact(struct buf *out, struct slice key, struct slice value)
{
	struct artifact a;
	int rc = format3_read_artifact(value, &a);

	return rc == 0 ? record_write_artifact(out, key, &a) : rc;
}

static int encode_checkpoint(struct buf *out, struct slice key, struct slice value)
{
	struct slice data;
	int rc = format3_read_checkpoint(value, &data);

	return rc == 0 ? record_write_checkpoint(out, key, data) : rc;
}

static int encode_finish(struct buf *out, struct slice key, struct slice value)
{
	uint64_t finish;
	int rc = format3_read_finish(value, &finish);

	return rc == 0 ? record_write_finish(out, key, finish) : rc;
}

static int encode_weight(struct buf *out, struct slice key, struct slice value)
{
	uint32_t weight;
	int rc = format3_read_weight(value, &weight);

	return rc == 0 ? record_write_weight(out, key, weight) : rc;
}

static const struct rewritten {
	enum store_table table;
	int (*encode)(struct buf *out, struct slice key, struct slice value);
} tables[] = {
	{ TABLE_ARTIFACTS, encode_artifact },
	{ TABLE_CHECKPOINTS, encode_checkpoint },
	{ TABLE_GROUPS, encode_finish },
	{ TABLE_WEIGHTS, encode_weight },
};

static void tell(struct rewriting *r, const char *line)
{
	if (r->options->notice)
		r->options->notice(r->options->notice_user, line);
}

static void tell_progress(struct rewriting *r)
{
	int64_t now_ms;
	char line[128];

	if (++r->done % LOOK_EVERY != 0)
		return;
	now_ms = clock_mono_ms();
	if (now_ms - r->told_at_ms < TELL_EVERY_MS)
		return;
	r->told_at_ms = now_ms;
	snprintf(line, sizeof(line), "migrating: %lld of %lld records that hold their key", (long long)r->done,
		 (long long)r->total);
	tell(r, line);
}

static int rewrite_row(struct rewriting *r, const struct rewritten *which, const struct key *key, struct slice value)
{
	int rc;

	buf_reset(&r->record);
	rc = which->encode(&r->record, key_slice(key), value);
	if (rc < 0)
		return rc == ERR_CORRUPT ? 0 : rc;
	return store_put(r->txn, which->table, key_slice(key), buf_slice(&r->record));
}

static int rewrite_table(struct rewriting *r, const struct rewritten *which)
{
	struct key from = { .size = 0 };
	struct slice key, value;
	int rc;

	while ((rc = store_seek(r->txn, which->table, key_slice(&from), &key, &value)) == 0) {
		struct key at = key_copy(key);

		rc = rewrite_row(r, which, &at, value);
		if (rc < 0)
			return rc;
		from = key_above(key_slice(&at));
		tell_progress(r);
	}
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int count_rows(struct rewriting *r)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(tables); i++) {
		int64_t n = 0;

		rc = store_count(r->txn, tables[i].table, &n);
		r->total += n;
	}
	return rc;
}

int migrate__keys(struct store_txn *t, uint32_t format, const struct store_options *options)
{
	struct rewriting r = { .txn = t, .options = options, .told_at_ms = clock_mono_ms() };
	char line[128];
	int rc = count_rows(&r);

	if (rc < 0)
		return rc;
	/* An older one has been named already. */
	if (format == THIRD) {
		snprintf(line, sizeof(line), "migrating the data directory from format %u to format %d: %lld records",
			 format, STORE_FORMAT, (long long)r.total);
		tell(&r, line);
	}
	buf_init(&r.record, RECORD_MAX);
	for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(tables); i++)
		rc = rewrite_table(&r, &tables[i]);
	buf_done(&r.record);
	return rc;
}
