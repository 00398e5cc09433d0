/* What stands under another's key, and says itself where it belongs (own_key.h). Nothing is asked here of jobs and
 * queues: whoever looks at the rows afterwards finds each under its own key, or not at all.
 */
#include "server/store/own_key.h"
#include "server/upkeep/mend_priv.h"
#include "server/upkeep/row_words.h"

/* A place is free, too, where what stands in it cannot be read. */
static bool is_free(struct mend *m, enum store_table table, struct slice key)
{
	struct slice there;

	return !mend_get(m, table, key_copy(key), &there) || !record_is_whole(there);
}

static void put_back(struct mend *m, enum store_table table, struct slice key, struct slice value)
{
	struct slice own;

	if (!own_key_differs(table, key, value, &own))
		return;
	if (!is_free(m, table, own)) {
		mend_drop(m, table, key, NULL, "another row stands where it belongs");
		return;
	}
	mend_move(m, table, key_copy(key), key_copy(own));
	mend_restored(m, "%s: stood under the key of %s: put back", row_words(table, own).text,
		      row_words(table, key).text);
}

static void place_artifact(struct mend *m, struct slice key, struct slice value)
{
	put_back(m, TABLE_ARTIFACTS, key, value);
}

static void place_checkpoint(struct mend *m, struct slice key, struct slice value)
{
	put_back(m, TABLE_CHECKPOINTS, key, value);
}

static void place_limit(struct mend *m, struct slice key, struct slice value)
{
	put_back(m, TABLE_LIMITS, key, value);
}

static void place_group(struct mend *m, struct slice key, struct slice value)
{
	put_back(m, TABLE_GROUPS, key, value);
}

static void place_weight(struct mend *m, struct slice key, struct slice value)
{
	put_back(m, TABLE_WEIGHTS, key, value);
}

void mend_places(struct mend *m)
{
	mend_walk(m, TABLE_ARTIFACTS, place_artifact);
	mend_walk(m, TABLE_CHECKPOINTS, place_checkpoint);
	mend_walk(m, TABLE_LIMITS, place_limit);
	mend_walk(m, TABLE_GROUPS, place_group);
	mend_walk(m, TABLE_WEIGHTS, place_weight);
}
