#include "server/engine/groups.h"

#include <stdlib.h>
#include <string.h>

#include "proto/base/clean.h"
#include "proto/error.h"
#include "server/flow/fair.h"
#include "server/store/keys.h"
#include "server/store/records.h"

#define SLOTS	   2048	       /* a power of two */
#define FULL	   (SLOTS / 2) /* entries that the cache holds at most */
#define WORD_MAX   136	       /* a key of TABLE_GROUPS: 133 bytes at most */
#define RECORD_MAX 256	       /* bytes: of a group's record, which holds its key */
#define LOOKS	   2	       /* entries looked at in a batch, and for each new one: whether they still matter */

/* A group in one line. */
struct entry {
	uint64_t finish;
	uint8_t size; /* of word; 0: a free slot */
	bool dirty;
	uint8_t word[WORD_MAX]; /* its key */
};

struct groups {
	struct queues *queues;
	struct entry slots[SLOTS]; /* open addressing */
	size_t count;
	uint16_t dirty[FULL]; /* slots that changed */
	size_t dirty_count;
	struct key tidied; /* entries up to here were looked at */
	size_t fresh;	   /* entries that this batch adds to the table */
	bool none;	   /* the table is empty */
};

int groups_new(struct queues *qs, struct groups **ret)
{
	*ret = calloc(1, sizeof(**ret));
	if (!*ret)
		return ERR_NO_MEMORY;
	(*ret)->queues = qs;
	return 0;
}

void groups_free(struct groups *g)
{
	free(g);
}

void groups_reset(struct groups *g)
{
	memset(g->slots, 0, sizeof(g->slots));
	g->count = g->dirty_count = g->fresh = 0;
	g->tidied.size = 0;
	g->none = false;
}

/* The slot that holds the key, or the free one where it would go. FNV-1a. */
static struct entry *slot_of(struct groups *g, const struct key *key)
{
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < key->size; i++)
		hash = (hash ^ key->bytes[i]) * 16777619u;
	for (uint32_t i = hash;; i++) {
		struct entry *e = &g->slots[i & (SLOTS - 1)];

		if (e->size == 0 || (e->size == key->size && memcmp(e->word, key->bytes, key->size) == 0))
			return e;
	}
}

/* Whether a group's finish tag still says anything. A key that leads nowhere is damage, and of no use. */
static bool is_needed(struct queues *qs, struct slice key, uint64_t finish)
{
	const struct queue *q;
	struct slice group;
	uint32_t number;
	uint8_t priority;

	if (key_read_group(key, &number, &priority, &group) < 0 || priority >= PRIORITIES)
		return false;
	q = queues_get(qs, number);
	return q && fair_matters(&q->record.lines[priority], finish);
}

/* What does not matter any more is not kept: it names somebody. */
static int write_one(struct groups *g, struct store_txn *t, struct entry *e, struct buf *scratch)
{
	struct slice key = slice_of(e->word, e->size);
	int rc;

	e->dirty = false;
	if (!is_needed(g->queues, key, e->finish)) {
		rc = store_delete(t, TABLE_GROUPS, key);
		return rc == ERR_NOT_FOUND ? 0 : rc;
	}
	buf_reset(scratch);
	rc = record_write_finish(scratch, key, e->finish);
	return rc == 0 ? store_put(t, TABLE_GROUPS, key, buf_slice(scratch)) : rc;
}

static int write_all(struct groups *g, struct store_txn *t, struct buf *scratch)
{
	for (; g->dirty_count > 0; g->dirty_count--) {
		int rc = write_one(g, t, &g->slots[g->dirty[g->dirty_count - 1]], scratch);

		if (rc < 0)
			return rc;
	}
	return 0;
}

static void changed(struct groups *g, struct entry *e)
{
	if (!e->dirty)
		g->dirty[g->dirty_count++] = (uint16_t)(e - g->slots);
	e->dirty = true;
}

/* Makes room when the cache is full. */
static int spill(struct groups *g, struct store_txn *t)
{
	_cleanup_(buf_done) struct buf scratch;
	int rc;

	buf_init(&scratch, RECORD_MAX);
	rc = write_all(g, t, &scratch);
	if (rc == 0) {
		memset(g->slots, 0, sizeof(g->slots));
		g->count = 0;
	}
	return rc;
}

/* The group's entry; one that the table does not have, or has damaged, is as good as none. */
static int find(struct groups *g, struct store_txn *t, const struct key *key, struct entry **ret)
{
	struct entry *e = slot_of(g, key);
	struct slice value;
	int rc;

	if (e->size == 0) {
		rc = g->count >= FULL ? spill(g, t) : 0;
		if (rc < 0)
			return rc;
		e = slot_of(g, key);
		rc = store_get(t, TABLE_GROUPS, key_slice(key), &value);
		/* What cannot be read cannot be written either, and that is no fault of who asks. */
		if (rc == ERR_CORRUPT)
			rc = ERR_STORE_ERROR;
		if (rc < 0 && rc != ERR_NOT_FOUND)
			return rc;
		if (rc == ERR_NOT_FOUND)
			g->fresh++;
		if (rc == ERR_NOT_FOUND || record_read_finish(key_slice(key), value, &e->finish) < 0)
			e->finish = 0;
		e->size = (uint8_t)key->size;
		memcpy(e->word, key->bytes, key->size);
		g->count++;
	}
	*ret = e;
	return 0;
}

int groups_enter(struct groups *g, struct store_txn *t, struct queue *q, uint8_t priority, struct slice group,
		 uint64_t *ret_tag)
{
	struct fair_line *line = &q->record.lines[priority];
	struct key key = key_group(q->number, priority, group);
	uint32_t weight = queues_weight_of(q, group);
	struct entry *e;
	int rc;

	q->dirty = true;
	if (group.size == 0) {
		*ret_tag = fair_tag(line, &line->finish, 1);
		return 0;
	}
	rc = find(g, t, &key, &e);
	if (rc < 0)
		return rc;
	*ret_tag = fair_tag(line, &e->finish, weight);
	line->grouped = true;
	changed(g, e);
	return 0;
}

int groups_leave(struct groups *g, struct store_txn *t, struct queue *q, uint8_t priority, struct slice group)
{
	struct fair_line *line = &q->record.lines[priority];
	struct key key = key_group(q->number, priority, group);
	uint32_t weight = queues_weight_of(q, group);
	struct entry *e;
	int rc;

	q->dirty = true;
	if (group.size == 0) {
		fair_refund(line, &line->finish, 1);
		return 0;
	}
	rc = find(g, t, &key, &e);
	if (rc < 0 || !fair_matters(line, e->finish))
		return rc;
	fair_refund(line, &e->finish, weight);
	changed(g, e);
	return 0;
}

int groups_forget(struct groups *g, struct store_txn *t, const struct queue *q, uint8_t priority, struct slice group)
{
	struct key key = key_group(q->number, priority, group);
	struct entry *e;
	int rc = group.size > 0 ? find(g, t, &key, &e) : ERR_NOT_FOUND;

	if (rc == 0)
		changed(g, e);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* ---- tidying ---- */

/* Looks at the next entry, round and round. */
static int tidy_one(struct groups *g, struct store_txn *t)
{
	struct key above = key_above(key_slice(&g->tidied));
	struct slice key, value;
	uint64_t finish;
	int rc;

	rc = store_seek(t, TABLE_GROUPS, g->tidied.size ? key_slice(&above) : slice_of(NULL, 0), &key, &value);
	if (rc < 0) {
		g->none = rc == ERR_NOT_FOUND && g->tidied.size == 0;
		g->tidied.size = 0;
		return rc == ERR_NOT_FOUND ? 0 : rc;
	}
	g->tidied = key_copy(key);
	if (record_read_finish(key, value, &finish) == 0 && is_needed(g->queues, key, finish))
		return 0;
	return store_delete(t, TABLE_GROUPS, key_slice(&g->tidied));
}

int groups_save(struct groups *g, struct store_txn *t, struct buf *scratch)
{
	size_t looks = LOOKS * (g->fresh + 1);
	int rc;

	/* Also where nobody with a group comes any more: what is left of those who came names them. */
	if (g->dirty_count > 0)
		g->none = false;
	else if (g->none)
		return 0;
	rc = write_all(g, t, scratch);
	for (; rc == 0 && looks > 0; looks--)
		rc = tidy_one(g, t);
	g->fresh = 0;
	return rc;
}
