/* Before an operation: the way to its key is proved; and where a writer comes there, what stands odd is put right, and
 * a damaged leaf is made anew. Where that cannot be done, or not while somebody reads, whoever came there is refused;
 * and where it is new jobs that are, for good or for long, the store is barred until one can be put or the leaf was
 * made anew after all.
 */
#include <errno.h>

#include "server/store/store_priv.h"

#define PUT_OFF_MOST 8 /* appends that a reader keeps from a damaged leaf, until puts are said to be refused */
#define RENEWED_MOST 8 /* leaves, for one change: a disk that gives back what it likes is given up */

static int go(struct store_txn *t, enum store_table table, struct slice key, store_prove way)
{
	int rc = way(&t->ways, table, key);

	while (rc == STORE_ODD) {
		rc = store__mend_odd(&t->ways, t->txn, table);
		if (rc == 0)
			rc = way(&t->ways, table, key);
	}
	return rc;
}

/* ---- who is barred ---- */

static void note_barred(struct store *s, enum store_table table, bool barred)
{
	uint32_t bit = UINT32_C(1) << table;

	if (barred)
		atomic_fetch_or_explicit(&s->barred, bit, memory_order_relaxed);
	else if (store_is_barred(s))
		atomic_fetch_and_explicit(&s->barred, ~bit, memory_order_relaxed);
}

bool store_is_barred(const struct store *s)
{
	return atomic_load_explicit(&s->barred, memory_order_relaxed) != 0;
}

int store__go(struct store_txn *t, enum store_table table, struct slice key, store_prove way)
{
	int rc = go(t, table, key, way), renewed = 0;

	for (int i = 0; rc == MDB_CORRUPTED && i < RENEWED_MOST; i++) {
		renewed = store__renew(&t->ways, table);
		if (renewed != 0)
			break;
		rc = go(t, table, key, way);
		if (rc == 0)
			note_barred(t->store, table, false);
	}
	t->waits = rc == MDB_CORRUPTED && renewed == EBUSY;
	return rc;
}

int store__go_to_append(struct store_txn *t, enum store_table table, struct slice key)
{
	struct store *s = t->store;
	int rc = store__go(t, table, key, store__way_to);

	s->put_off[table] = t->waits ? s->put_off[table] + 1 : 0;
	note_barred(s, table, rc == MDB_CORRUPTED && (!t->waits || s->put_off[table] >= PUT_OFF_MOST));
	return rc;
}
