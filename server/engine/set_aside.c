/* Jobs whose record is damaged: a flipped bit, a page that the disk gave back wrong. Such a job is taken out of every
 * count and is never served; what is left of it stays where it is, for the operator to look at and to erase. Index
 * entries that still lead to it are removed when somebody comes upon them.
 */
#include <string.h>

#include "server/engine/engine_priv.h"
#include "server/engine/limits.h"

/* 0 where it is set aside, ERR_NOT_FOUND where it is not. */
static int find(struct engine *e, const struct uuid *id)
{
	struct key key = key_job(id);
	struct slice value;

	return store_get(e->txn, TABLE_SET_ASIDE, key_slice(&key), &value);
}

int set_aside_refuse(struct engine *e, const struct uuid *id)
{
	int rc = e->set_aside > 0 ? find(e, id) : ERR_NOT_FOUND;

	return rc == 0 ? ERR_CORRUPT : rc == ERR_NOT_FOUND ? 0 : rc;
}

int report_damage(struct engine *e, const struct uuid *id, const char *what)
{
	struct job_event event = { .id = *id, .damage = what };

	return event_add(e, &event);
}

bool set_aside_shuns(const struct engine *e, const struct uuid *id)
{
	return uuid_list_has(&e->shunned, id);
}

/* *ret_known is false where it is gone or damaged; a read that fails is neither. */
static int read_input(struct engine *e, const struct uuid *id, struct job_input *ret, bool *ret_known)
{
	struct key key = key_job(id);
	struct slice bytes;
	int rc = store_get(e->txn, TABLE_INPUTS, key_slice(&key), &bytes);

	if (rc == 0)
		rc = record_read_input(bytes, ret);
	*ret_known = rc == 0;
	return rc == ERR_NOT_FOUND || rc == ERR_CORRUPT ? 0 : rc;
}

/* What the job counted for in its queue's bytes, as far as the input still tells; the next start counts anew. */
static int bytes_of(struct engine *e, const struct uuid *id, int64_t *ret)
{
	struct job_input input;
	bool known = false;
	/* Its input may be what cannot be read. */
	int rc = set_aside_shuns(e, id) ? 0 : read_input(e, id, &input, &known);

	*ret = known ? (int64_t)input.payload.size : 0;
	return rc;
}

static int uncount(struct engine *e, const struct uuid *id, const struct index_word *word)
{
	struct queue *q = queues_get(e->queues, word->queue);
	int64_t bytes = 0;
	int rc;

	if (!q)
		return 0;
	rc = job_state_final(word->state) ? 0 : bytes_of(e, id, &bytes);
	if (rc < 0)
		return rc;
	q->dirty = q->record.recount = true;
	q->record.counts[word->state]--;
	if (word->state == JOB_RUNNING && q->limit) {
		limits_lost(q->limit, id);
		parked_limit_gained(e, q->limit);
	}
	if (word->state == JOB_READY)
		q->record.ready[word->priority]--;
	q->record.bytes -= bytes;
	return 0;
}

int set_aside(struct engine *e, const struct uuid *id, const struct index_word *word)
{
	struct key key = key_job(id);
	int rc = find(e, id);

	if (rc != ERR_NOT_FOUND)
		return rc;
	rc = word ? uncount(e, id, word) : 0;
	if (rc < 0)
		return rc;
	buf_reset(&e->record);
	rc = record_write_moment(&e->record, e->now_ms);
	if (rc == 0)
		rc = store_put(e->txn, TABLE_SET_ASIDE, key_slice(&key), buf_slice(&e->record));
	if (rc < 0)
		return rc;
	e->set_aside++;
	return report_damage(e, id, "record");
}

/* ---- erasing ---- */

/* What an entry of either index says; false for one of another job. */
static bool entry_of(enum store_table table, struct slice key, struct slice value, const struct uuid *id,
		     struct index_word *ret, bool *ret_known)
{
	struct uuid found;
	uint64_t tag;
	int64_t at_ms;

	ret->state = JOB_READY;
	if (table == TABLE_READY) {
		*ret_known = true;
		return key_read_ready(key, &ret->queue, &ret->priority, &tag, &found) == 0 &&
		       ret->priority < PRIORITIES && uuid_equal(&found, id);
	}
	*ret_known = due_value_read(value, &ret->queue, &ret->state, &ret->priority) == 0;
	return key_read_due(key, &at_ms, &found) == 0 && uuid_equal(&found, id);
}

/* Removes the job's entries of one index. */
static int remove_entries(struct engine *e, enum store_table table, const struct uuid *id)
{
	struct slice key, value;
	int rc;

	rc = store_seek(e->txn, table, slice_of(NULL, 0), &key, &value);
	while (rc == 0) {
		struct index_word word;
		struct key copy;
		bool known;

		if (!entry_of(table, key, value, id, &word, &known)) {
			rc = store_next(e->txn, table, &key, &value);
			continue;
		}
		copy = key_copy(key);
		rc = set_aside(e, id, known ? &word : NULL);
		if (rc == 0)
			rc = store_delete(e->txn, table, key_slice(&copy));
		if (rc == 0)
			rc = store_seek(e->txn, table, key_slice(&copy), &key, &value);
	}
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* The queue whose idempotency key leads to the job; 0 where there is none, which is as good as any then. */
static int queue_of_key(struct engine *e, const struct uuid *id, uint32_t *ret)
{
	struct job_input input;
	struct slice bytes;
	struct uuid found;
	struct key word;
	bool known;
	int rc = read_input(e, id, &input, &known);

	*ret = 0;
	if (rc < 0 || !known || input.idempotency_key.size == 0)
		return rc;
	word = key_idempotency(0, input.idempotency_key);
	for (uint32_t n = 0; queues_get(e->queues, n); n++) {
		struct key number = key_queue(n);

		memcpy(word.bytes, number.bytes, number.size);
		rc = store_get(e->txn, TABLE_IDEMPOTENCY, key_slice(&word), &bytes);
		if (rc < 0 && rc != ERR_NOT_FOUND && rc != ERR_CORRUPT)
			return rc;
		if (rc == 0 && key_read_job(bytes, &found) == 0 && uuid_equal(&found, id)) {
			*ret = n;
			return 0;
		}
	}
	return 0;
}

/* Both indexes are gone through in one batch, a second or so with ten million jobs, and not piece by piece as a sweep
 * does: between pieces the job would be half erased, and whoever asked has to be told in the end that nothing is left.
 * It is rare, and a batch goes through them once. */
int set_aside_erase(struct engine *e, const struct uuid *id)
{
	struct job_event event = { .id = *id, .final = true };
	struct key key = key_job(id);
	struct job job = { .queue = 0 }; /* of its link nothing is known but the first */
	int rc;

	e->walked = true;
	rc = queue_of_key(e, id, &job.queue);
	if (rc == 0)
		rc = remove_entries(e, TABLE_READY, id);
	if (rc == 0)
		rc = remove_entries(e, TABLE_DUE, id);
	if (rc == 0)
		rc = store_delete(e->txn, TABLE_SET_ASIDE, key_slice(&key));
	if (rc == 0)
		e->set_aside--;
	if (rc == ERR_NOT_FOUND)
		rc = 0;
	if (rc == 0)
		rc = job_remove(e, id, &job);
	return rc < 0 ? rc : event_add(e, &event);
}
