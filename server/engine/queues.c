#include "server/engine/queues.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/clean.h"
#include "proto/error.h"
#include "server/engine/queues_repair.h"
#include "server/engine/terms.h"
#include "server/flow/fair.h"
#include "server/store/keys.h"

#define BUCKETS 16384 /* a power of two above QUEUES_MAX */

struct queues {
	struct queue **items; /* by number */
	size_t count;
	struct queue *buckets[BUCKETS]; /* by name, open addressing; queues are never taken out one by one */
};

static void clear_weights(struct queue *q)
{
	for (size_t i = 0; i < q->weights_count; i++)
		free((void *)(uintptr_t)q->weights[i].group.data);
	free(q->weights);
	q->weights = NULL;
	q->weights_count = 0;
}

static void queue_free(struct queue *q)
{
	if (!q)
		return;
	clear_weights(q);
	free(q->name);
	free(q->title);
	free(q->limit_name);
	free(q);
}

static void clear(struct queues *qs)
{
	for (size_t i = 0; i < qs->count; i++)
		queue_free(qs->items[i]);
	qs->count = 0;
	memset(qs->buckets, 0, sizeof(qs->buckets));
}

int queues_new(struct queues **ret)
{
	struct queues *qs = calloc(1, sizeof(*qs));

	if (qs)
		qs->items = calloc(QUEUES_MAX, sizeof(*qs->items));
	if (!qs || !qs->items) {
		free(qs);
		return ERR_NO_MEMORY;
	}
	*ret = qs;
	return 0;
}

void queues_free(struct queues *qs)
{
	if (!qs)
		return;
	clear(qs);
	free(qs->items);
	free(qs);
}

/* The bucket that holds the name, or the free one where it would go. FNV-1a. */
static struct queue **bucket_of(struct queues *qs, struct slice name)
{
	const uint8_t *p = name.data;
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < name.size; i++)
		hash = (hash ^ p[i]) * 16777619u;
	for (uint32_t i = hash;; i++) {
		struct queue **b = &qs->buckets[i & (BUCKETS - 1)];

		if (!*b || slice_equal((*b)->record.name, name))
			return b;
	}
}

struct queue *queues_find(struct queues *qs, struct slice name)
{
	return *bucket_of(qs, name);
}

struct queue *queues_get(struct queues *qs, uint32_t number)
{
	return number < qs->count ? qs->items[number] : NULL;
}

static char *copy_text(struct slice s)
{
	char *p = malloc(s.size + 1);

	if (p) {
		if (s.size > 0)
			memcpy(p, s.data, s.size);
		p[s.size] = '\0';
	}
	return p;
}

/* Puts a queue with its own copies of the texts into the cache. */
static int insert(struct queues *qs, const struct queue_record *record, struct queue **ret)
{
	struct queue *q = calloc(1, sizeof(*q));

	if (!q)
		return ERR_NO_MEMORY;
	q->number = (uint32_t)qs->count;
	q->record = *record;
	q->name = copy_text(record->name);
	q->title = copy_text(record->title);
	q->limit_name = copy_text(record->limit);
	if (!q->name || !q->title || !q->limit_name) {
		queue_free(q);
		return ERR_NO_MEMORY;
	}
	q->record.name = slice_of(q->name, record->name.size);
	q->record.title = slice_of(q->title, record->title.size);
	q->record.limit = slice_of(q->limit_name, record->limit.size);
	*bucket_of(qs, q->record.name) = q;
	qs->items[qs->count++] = q;
	*ret = q;
	return 0;
}

int queues_add(struct queues *qs, struct slice name, struct queue **ret)
{
	struct queue_record record = terms_new_queue(name);
	int rc;

	assert(!queues_find(qs, name));
	/* The server's own queue is always to be had. */
	if (qs->count >= QUEUES_MAX && ((const char *)name.data)[0] != '_')
		return ERR_QUEUE_FULL;
	rc = insert(qs, &record, ret);
	if (rc == 0)
		(*ret)->dirty = (*ret)->unnamed = true;
	return rc;
}

int queues_set_title(struct queue *q, struct slice title)
{
	char *copy = copy_text(title);

	if (!copy)
		return ERR_NO_MEMORY;
	free(q->title);
	q->title = copy;
	q->record.title = slice_of(copy, title.size);
	q->dirty = true;
	return 0;
}

int queues_set_limit_name(struct queue *q, struct slice limit)
{
	char *copy = copy_text(limit);

	if (!copy)
		return ERR_NO_MEMORY;
	free(q->limit_name);
	q->limit_name = copy;
	q->record.limit = slice_of(copy, limit.size);
	q->dirty = true;
	return 0;
}

/* ---- weights ---- */

uint32_t queues_weight_of(const struct queue *q, struct slice group)
{
	size_t low = 0, high = q->weights_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = slice_compare(q->weights[middle].group, group);

		if (order == 0)
			return q->weights[middle].weight;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return 1;
}

static int by_group(const void *a, const void *b)
{
	const struct group_weight *x = a, *y = b;

	return slice_compare(x->group, y->group);
}

static int add_weight(struct queue *q, struct slice group, uint32_t weight)
{
	struct group_weight *more = realloc(q->weights, (q->weights_count + 1) * sizeof(*more));
	char *copy = copy_text(group);

	if (more)
		q->weights = more;
	if (!more || !copy) {
		free(copy);
		return ERR_NO_MEMORY;
	}
	q->weights[q->weights_count++] = (struct group_weight){ .group = slice_of(copy, group.size), .weight = weight };
	return 0;
}

static int delete_weights(struct queue *q, struct store_txn *t)
{
	for (size_t i = 0; i < q->weights_count; i++) {
		struct key key = key_group(q->number, 0, q->weights[i].group);
		int rc = store_delete(t, TABLE_WEIGHTS, key_slice(&key));

		if (rc < 0 && rc != ERR_NOT_FOUND)
			return rc;
	}
	clear_weights(q);
	return 0;
}

int queues_set_weights(struct queue *q, struct store_txn *t, const struct group_weight *weights, size_t count,
		       struct buf *scratch)
{
	int rc = delete_weights(q, t);

	for (size_t i = 0; rc == 0 && i < count; i++) {
		struct key key = key_group(q->number, 0, weights[i].group);

		buf_reset(scratch);
		rc = record_write_weight(scratch, key_slice(&key), weights[i].weight);
		if (rc == 0)
			rc = store_put(t, TABLE_WEIGHTS, key_slice(&key), buf_slice(scratch));
		if (rc == 0)
			rc = add_weight(q, weights[i].group, weights[i].weight);
	}
	if (rc == 0 && q->weights_count > 0)
		qsort(q->weights, q->weights_count, sizeof(*q->weights), by_group);
	return rc;
}

/* A damaged one is as none: its group has a share like the others. */
static int load_weights(struct queues *qs, struct store_txn *t)
{
	struct slice key, value;
	int rc;

	for (rc = store_seek(t, TABLE_WEIGHTS, slice_of(NULL, 0), &key, &value); rc == 0;
	     rc = store_next(t, TABLE_WEIGHTS, &key, &value)) {
		struct slice group;
		struct queue *q;
		uint32_t number, weight;
		uint8_t zero;

		if (key_read_group(key, &number, &zero, &group) < 0 || record_read_weight(key, value, &weight) < 0)
			continue;
		q = queues_get(qs, number);
		if (q && weight <= FAIR_WEIGHT_MAX && add_weight(q, group, weight) < 0)
			return ERR_NO_MEMORY;
	}
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int load_damaged(struct queues *qs, struct store_txn *t)
{
	char room[QUEUE_NAME_SIZE];
	struct queue_record record;
	struct queue *q;
	bool named;
	int rc;

	rc = queues_repair_record(t, (uint32_t)qs->count, room, &record, &named);
	if (rc < 0)
		return rc;
	rc = insert(qs, &record, &q);
	if (rc < 0)
		return rc;
	q->repaired = q->dirty = true;
	q->unnamed = !named;
	return 0;
}

/* Numbers are given from 0 up without a gap, so a gap is damage too. */
static int load_one(struct queues *qs, struct store_txn *t, uint32_t number, struct slice value)
{
	struct queue_record record;
	struct queue *q;
	int rc = 0;

	while (rc == 0 && qs->count < number)
		rc = load_damaged(qs, t);
	if (rc < 0)
		return rc;
	return record_read_queue(value, &record) < 0 ? load_damaged(qs, t) : insert(qs, &record, &q);
}

int queues_load(struct queues *qs, struct store_txn *t)
{
	struct slice key, value;
	bool repaired = false;
	int rc;

	clear(qs);
	for (rc = store_seek(t, TABLE_QUEUES, slice_of(NULL, 0), &key, &value); rc == 0;
	     rc = store_next(t, TABLE_QUEUES, &key, &value)) {
		uint32_t number;

		if (key_read_queue(key, &number) < 0 || number >= QUEUES_MAX)
			continue;
		rc = load_one(qs, t, number, value);
		if (rc < 0)
			return rc;
	}
	for (size_t i = 0; i < qs->count; i++)
		repaired |= qs->items[i]->repaired;
	if (rc == ERR_NOT_FOUND)
		rc = repaired ? queues_repair_counts(qs, t) : 0;
	return rc < 0 ? rc : load_weights(qs, t);
}

static int save_name(struct store_txn *t, struct queue *q)
{
	struct key name = key_name(q->record.name);
	struct key number = key_queue(q->number);
	int rc;

	if (!q->unnamed)
		return 0;
	rc = store_put(t, TABLE_NAMES, key_slice(&name), key_slice(&number));
	if (rc == 0)
		q->unnamed = false;
	return rc;
}

int queues_save(struct queues *qs, struct store_txn *t, struct buf *scratch)
{
	for (size_t i = 0; i < qs->count; i++) {
		struct queue *q = qs->items[i];
		struct key key;
		int rc;

		if (!q->dirty)
			continue;
		key = key_queue(q->number);
		buf_reset(scratch);
		rc = record_write_queue(scratch, &q->record);
		if (rc == 0)
			rc = store_put(t, TABLE_QUEUES, key_slice(&key), buf_slice(scratch));
		if (rc == 0)
			rc = save_name(t, q);
		if (rc < 0)
			return rc;
		q->dirty = false;
	}
	return 0;
}
