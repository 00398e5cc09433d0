#include "server/writer/doubtful.h"

#include <stdlib.h>
#include <string.h>

#include "proto/base/clean.h"
#include "proto/base/uuid.h"
#include "server/store/keys.h"
#include "server/store/store.h"

#define BLOBS_MAX 65536

void doubtful_add(struct doubtful *d, const struct uuid *blobs, size_t count)
{
	struct uuid *items;

	if (count == 0 || count > BLOBS_MAX - d->count)
		return;
	items = realloc(d->blobs, (d->count + count) * sizeof(*items));
	if (!items)
		return;
	memcpy(items + d->count, blobs, count * sizeof(*items));
	d->blobs = items;
	d->count += count;
}

void doubtful_settle(struct doubtful *d, struct store *s, void (*remove)(void *user, const struct uuid *blob),
		     void *user)
{
	_cleanup_(store_abortp) struct store_txn *t = NULL;

	if (d->count == 0 || store_begin_read(s, &t) < 0)
		return;
	for (size_t i = 0; i < d->count; i++) {
		struct key key = key_job(&d->blobs[i]);
		struct slice owner;

		/* When in doubt it stays. */
		if (store_get(t, TABLE_BLOBS, key_slice(&key), &owner) == ERR_NOT_FOUND)
			remove(user, &d->blobs[i]);
	}
	d->count = 0;
}

void doubtful_done(struct doubtful *d)
{
	free(d->blobs);
	*d = (struct doubtful){ .count = 0 };
}
