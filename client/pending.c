#include "pending.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_BUCKETS 64

/* ---- lists ---- */

static void list_append(struct pending_list *list, struct pending *r)
{
	r->next = NULL;
	r->prev = list->last;
	if (list->last)
		list->last->next = r;
	else
		list->first = r;
	list->last = r;
}

static void list_prepend(struct pending_list *list, struct pending *r)
{
	r->prev = NULL;
	r->next = list->first;
	if (list->first)
		list->first->prev = r;
	else
		list->last = r;
	list->first = r;
}

static void list_remove(struct pending_list *list, struct pending *r)
{
	if (r->prev)
		r->prev->next = r->next;
	else
		list->first = r->next;
	if (r->next)
		r->next->prev = r->prev;
	else
		list->last = r->prev;
	r->next = r->prev = NULL;
}

struct pending *pending_list_pop(struct pending_list *list)
{
	struct pending *r = list->first;

	if (r)
		list_remove(list, r);
	return r;
}

/* By id, which is the order of starting. What is extracted is mostly in order or in runs, so looking from the end is
 * short. */
static void list_insert(struct pending_list *list, struct pending *r)
{
	struct pending *after = list->last;

	while (after && after->id > r->id)
		after = after->prev;
	if (!after) {
		list_prepend(list, r);
		return;
	}
	r->prev = after;
	r->next = after->next;
	if (after->next)
		after->next->prev = r;
	else
		list->last = r;
	after->next = r;
}

/* ---- requests ---- */

struct pending *pending_new(uint64_t id, enum method_id method, const void *bytes, size_t size)
{
	struct pending *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->id = id;
	r->method = method;
	r->bytes = malloc(size);
	r->size = size;
	if (!r->bytes) {
		free(r);
		return NULL;
	}
	memcpy(r->bytes, bytes, size);
	return r;
}

void pending_free(struct pending *r)
{
	if (!r)
		return;
	free(r->bytes);
	free(r);
}

/* ---- the table ---- */

int pending_table_init(struct pending_table *t)
{
	*t = (struct pending_table){ .bucket_count = FIRST_BUCKETS };
	t->buckets = calloc(t->bucket_count, sizeof(struct pending *));
	return t->buckets ? 0 : ERR_NO_MEMORY;
}

void pending_table_done(struct pending_table *t)
{
	assert(t->count == 0);
	free(t->buckets);
	*t = (struct pending_table){ 0 };
}

/* Ids count up, so their low bits spread them evenly. */
static struct pending **bucket(const struct pending_table *t, uint64_t id)
{
	return &t->buckets[id & (t->bucket_count - 1)];
}

static int grow(struct pending_table *t)
{
	struct pending_table larger = { .bucket_count = t->bucket_count * 2 };

	larger.buckets = calloc(larger.bucket_count, sizeof(struct pending *));
	if (!larger.buckets)
		return ERR_NO_MEMORY;
	for (size_t i = 0; i < t->bucket_count; i++) {
		struct pending *r, *next;

		for (r = t->buckets[i]; r; r = next) {
			struct pending **to = bucket(&larger, r->id);

			next = r->next_in_bucket;
			r->next_in_bucket = *to;
			*to = r;
		}
	}
	free(t->buckets);
	t->buckets = larger.buckets;
	t->bucket_count = larger.bucket_count;
	return 0;
}

int pending_table_add(struct pending_table *t, struct pending *r)
{
	struct pending **b;

	if (t->count >= t->bucket_count && grow(t) < 0)
		return ERR_NO_MEMORY;
	b = bucket(t, r->id);
	r->next_in_bucket = *b;
	*b = r;
	t->count++;
	r->state = PENDING_QUEUED;
	list_append(&t->queued, r);
	t->queued_count++;
	t->queued_bytes += r->size;
	return 0;
}

static void unqueue(struct pending_table *t, struct pending *r)
{
	list_remove(&t->queued, r);
	t->queued_count--;
	t->queued_bytes -= r->size;
}

void pending_table_sent(struct pending_table *t, struct pending *r, uint64_t heard)
{
	assert(r->state == PENDING_QUEUED);
	unqueue(t, r);
	r->state = PENDING_SENT;
	r->heard = heard;
	t->in_flight++;
	if (!r->repeatable) {
		free(r->bytes);
		r->bytes = NULL;
	}
}

void pending_table_requeue(struct pending_table *t, struct pending *r)
{
	assert(r->state == PENDING_SENT && r->bytes);
	t->in_flight--;
	r->state = PENDING_QUEUED;
	r->repeatable = false;
	list_prepend(&t->queued, r);
	t->queued_count++;
	t->queued_bytes += r->size;
}

void pending_table_abandon(struct pending *r)
{
	assert(r->state == PENDING_SENT);
	r->state = PENDING_ABANDONED;
	r->call = (struct call){ 0 };
}

struct pending *pending_table_find(const struct pending_table *t, uint64_t id)
{
	struct pending *r = *bucket(t, id);

	while (r && r->id != id)
		r = r->next_in_bucket;
	return r;
}

void pending_table_remove(struct pending_table *t, struct pending *r)
{
	struct pending **at = bucket(t, r->id);

	while (*at != r)
		at = &(*at)->next_in_bucket;
	*at = r->next_in_bucket;
	t->count--;
	if (r->state == PENDING_QUEUED)
		unqueue(t, r);
	else
		t->in_flight--;
}

void pending_table_extract(struct pending_table *t, bool (*match)(const struct pending *r, const void *arg),
			   const void *arg, struct pending_list *ret)
{
	for (size_t i = 0; i < t->bucket_count; i++) {
		struct pending *r, *next;

		for (r = t->buckets[i]; r; r = next) {
			next = r->next_in_bucket;
			if (!match(r, arg))
				continue;
			pending_table_remove(t, r);
			list_insert(ret, r);
		}
	}
}

uint64_t pending_table_deadline(const struct pending_table *t)
{
	uint64_t earliest = UINT64_MAX;

	for (size_t i = 0; i < t->bucket_count; i++)
		for (const struct pending *r = t->buckets[i]; r; r = r->next_in_bucket)
			if (r->state != PENDING_ABANDONED && r->deadline < earliest)
				earliest = r->deadline;
	return earliest;
}
