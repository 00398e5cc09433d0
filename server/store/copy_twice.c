#include "server/store/copy_twice.h"

#include <stdlib.h>

#include "proto/base/clean.h"
#include "server/store/keys.h"
#include "server/store/records.h"

#define ID_BITS 128

bool copy_twice_knows(enum store_table table)
{
	return table == TABLE_JOBS || table == TABLE_INPUTS;
}

int copy_twice_add(struct copy_twice *all, enum store_table table, struct slice key, struct slice value)
{
	struct copy_twice_row *row;

	if (all->count == COPY_TWICE_MAX)
		return ERR_CORRUPT;
	if (!all->rows)
		all->rows = calloc(COPY_TWICE_MAX, sizeof(*all->rows));
	if (!all->rows)
		return ERR_NO_MEMORY;
	row = &all->rows[all->count];
	if (key_read_job(key, &row->id) < 0)
		return ERR_CORRUPT;
	row->table = table;
	buf_init(&row->value, value.size + 1);
	all->count++;
	return buf_append(&row->value, value.data, value.size);
}

void copy_twice_done(struct copy_twice *all)
{
	for (size_t i = 0; i < all->count; i++)
		buf_done(&all->rows[i].value);
	free(all->rows);
	*all = (struct copy_twice){ .count = 0 };
}

static enum store_table other_half(enum store_table table)
{
	return table == TABLE_JOBS ? TABLE_INPUTS : TABLE_JOBS;
}

static bool has(struct store_txn *t, enum store_table table, const struct uuid *id)
{
	struct key key = key_job(id);
	struct slice value;

	return store_get(t, table, key_slice(&key), &value) == 0;
}

/* Whose key flipped: the only id beside of which there is but the other half. */
static bool find_owner(struct store_txn *t, const struct copy_twice_row *row, struct uuid *ret)
{
	int found = 0;

	for (int i = 0; i < ID_BITS; i++) {
		struct uuid id = row->id;

		id.bytes[i / 8] ^= (uint8_t)(1u << i % 8);
		if (!has(t, other_half(row->table), &id) || has(t, row->table, &id))
			continue;
		*ret = id;
		found++;
	}
	return found == 1;
}

/* The size of the payload that half of a job tells of; −1 where it cannot be read. */
static int64_t size_in(enum store_table table, struct slice value)
{
	struct job_input input;
	struct job job;

	if (table == TABLE_JOBS)
		return record_read_job(value, &job) == 0 ? job.bytes : -1;
	return record_read_input(value, &input) == 0 ? (int64_t)input.payload.size : -1;
}

static bool fits(struct store_txn *t, const struct copy_twice_row *row, const struct uuid *id, struct slice value)
{
	struct key key = key_job(id);
	struct slice half;

	return store_get(t, other_half(row->table), key_slice(&key), &half) == 0 &&
	       size_in(other_half(row->table), half) == size_in(row->table, value);
}

static int put(struct store_txn *t, const struct copy_twice_row *row, const struct uuid *id, struct slice value)
{
	struct key key = key_job(id);

	return store_put(t, row->table, key_slice(&key), value);
}

/* Of two that nobody else's key explains. */
static int keep_fitting(const struct copy_twice_row *row, struct store_txn *t, struct slice first,
			const char **ret_what)
{
	struct key key = key_job(&row->id);
	bool first_fits = fits(t, row, &row->id, first), second_fits = fits(t, row, &row->id, buf_slice(&row->value));

	*ret_what = "two rows stand under it, and which is the right one cannot be told";
	if (row->table == TABLE_JOBS)
		return ERR_CORRUPT;
	if (first_fits == second_fits) {
		*ret_what = "two rows stand under it, and which is the right one cannot be told: both are left out";
		return store_delete(t, row->table, key_slice(&key));
	}
	*ret_what = "two rows stand under it: the one that is not as large as the job says is left out";
	return first_fits ? 0 : put(t, row, &row->id, buf_slice(&row->value));
}

int copy_twice_settle(const struct copy_twice_row *row, struct store_txn *t, const char **ret_what)
{
	_cleanup_(buf_done) struct buf first;
	struct key key = key_job(&row->id);
	struct slice value, own, others;
	struct uuid owner;
	int rc;

	buf_init(&first, UINT32_MAX);
	rc = store_get(t, row->table, key_slice(&key), &value);
	if (rc == 0)
		rc = buf_append(&first, value.data, value.size);
	if (rc < 0)
		return rc;
	if (!find_owner(t, row, &owner))
		return keep_fitting(row, t, buf_slice(&first), ret_what);
	others = uuid_compare(&owner, &row->id) < 0 ? buf_slice(&first) : buf_slice(&row->value);
	own = uuid_compare(&owner, &row->id) < 0 ? buf_slice(&row->value) : buf_slice(&first);
	if (!fits(t, row, &row->id, own) || !fits(t, row, &owner, others))
		return keep_fitting(row, t, buf_slice(&first), ret_what);
	*ret_what = "two rows stand under it: one is put where it belongs";
	rc = put(t, row, &owner, others);
	return rc == 0 ? put(t, row, &row->id, own) : rc;
}
