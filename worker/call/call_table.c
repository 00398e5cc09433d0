#include "worker/call/call_table.h"

#include <stdint.h>
#include <string.h>

#include "worker/call/leased.h"

/* FNV-1a (Fowler, Noll, Vo). Ids are the broker's: nobody chooses them to collide. */
static struct call_row *row_of(struct call_table *t, const char *id)
{
	uint32_t hash = 2166136261u;

	for (; *id; id++)
		hash = (hash ^ (unsigned char)*id) * 16777619u;
	return &t->rows[(hash ^ hash >> 16) % CALL_TABLE_ROWS];
}

void call_table_init(struct call_table *t)
{
	TAILQ_INIT(&t->all);
	for (size_t i = 0; i < CALL_TABLE_ROWS; i++)
		LIST_INIT(&t->rows[i]);
	t->count = 0;
}

void call_table_add(struct call_table *t, struct call *c)
{
	struct call_place *place = call_place(c);

	TAILQ_INSERT_TAIL(&t->all, place, entry);
	LIST_INSERT_HEAD(row_of(t, call_job(c)->id), place, in_row);
	t->count++;
}

void call_table_remove(struct call_table *t, struct call *c)
{
	struct call_place *place = call_place(c);

	TAILQ_REMOVE(&t->all, place, entry);
	LIST_REMOVE(place, in_row);
	t->count--;
}

struct call *call_table_find(struct call_table *t, const char *id, const char *lease)
{
	struct call_place *place = LIST_FIRST(row_of(t, id));

	for (; place; place = LIST_NEXT(place, in_row)) {
		const struct leased *job = call_job(place->call);

		if (strcmp(job->id, id) == 0 && (!lease || strcmp(job->lease, lease) == 0))
			return place->call;
	}
	return NULL;
}
