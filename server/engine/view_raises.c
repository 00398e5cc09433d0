#include "server/engine/view_raises.h"

#include <stdlib.h>
#include <string.h>

#include "proto/base/clean.h"
#include "proto/error.h"
#include "server/engine/view_limits.h"
#include "server/flow/estimate.h"
#include "server/store/keys.h"

void raises_done(struct raises *r)
{
	for (size_t i = 0; i < r->count; i++)
		free(r->items[i]);
	free(r->items);
	*r = (struct raises){ 0 };
}

static struct slice keep(char **at, struct slice text)
{
	struct slice kept = slice_of(*at, text.size);

	memcpy(*at, text.data, text.size);
	*at += text.size;
	return kept;
}

/* Behind it stand the list of its queues and then all texts. */
static struct limit_raise *raise_new(const struct raise *raise, struct slice limit, const struct limit_use *uses,
				     size_t count)
{
	size_t size = limit.size;
	struct limit_raise *r;
	char *text;

	for (size_t i = 0; i < count; i++)
		size += uses[i].queue.size;
	r = calloc(1, sizeof(*r) + count * sizeof(*r->queues) + size);
	if (!r)
		return NULL;
	r->raise = *raise;
	r->queues = (struct slice *)(r + 1);
	text = (char *)(r->queues + count);
	r->limit = keep(&text, limit);
	for (size_t i = 0; i < count; i++)
		if (!uses[i].paused)
			r->queues[r->queues_count++] = keep(&text, uses[i].queue);
	return r;
}

static int64_t run_time(const struct limit_use *uses, size_t count, int64_t now_ms)
{
	struct run_mix runs = { 0 };
	int64_t mean_ms, spread_ms;

	for (size_t i = 0; i < count; i++)
		run_mix_add(&runs, &uses[i].pace, now_ms);
	return run_mix_tell(&runs, &mean_ms, &spread_ms) ? mean_ms : 0;
}

static int add_one(const struct limit_record *l, const struct limit_uses *all, int64_t now_ms, struct raises *r)
{
	const struct limit_use *uses;
	size_t count = limit_uses_of(all, l->name, &uses);
	struct limit_raise *item;
	struct raise raise;

	if (l->settings.schedule_count == 0 || !raise_next(l, run_time(uses, count, now_ms), now_ms, &raise))
		return 0;
	item = raise_new(&raise, l->name, uses, count);
	if (!item)
		return ERR_NO_MEMORY;
	/* Nobody is given a job of it. */
	if (item->queues_count == 0)
		free(item);
	else
		r->items[r->count++] = item;
	return 0;
}

static int add_all(struct store_txn *t, const struct limit_uses *uses, int64_t now_ms, struct raises *r)
{
	struct slice key, value;
	int rc;

	for (rc = store_seek(t, TABLE_LIMITS, slice_of(NULL, 0), &key, &value); rc == 0;
	     rc = store_next(t, TABLE_LIMITS, &key, &value)) {
		struct limit_record l;

		/* A damaged one is passed over; the others are looked at. */
		if (record_read_limit(value, &l) == 0 && slice_equal(l.name, key) && add_one(&l, uses, now_ms, r) < 0)
			return ERR_NO_MEMORY;
	}
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

int view_raises(struct store_txn *t, int64_t now_ms, struct raises *ret)
{
	_cleanup_(limit_uses_done) struct limit_uses uses = { 0 };
	_cleanup_(raises_done) struct raises r = { 0 };
	int64_t limits;
	int rc;

	rc = store_count(t, TABLE_LIMITS, &limits);
	if (rc == 0)
		rc = limit_uses_gather(t, &uses);
	if (rc < 0)
		return rc;
	r.items = calloc((size_t)limits + 1, sizeof(struct limit_raise *));
	if (!r.items)
		return ERR_NO_MEMORY;
	rc = add_all(t, &uses, now_ms, &r);
	if (rc < 0)
		return rc;
	*ret = r;
	r = (struct raises){ 0 };
	return 0;
}
