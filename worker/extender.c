#include "worker/extender.h"

#include <stdlib.h>
#include <string.h>

#include "proto/error.h"
#include "worker/call/broker_link.h"
#include "worker/call/call.h"
#include "worker/call/leased.h"

#define BATCH_MAX 1000

struct item {
	char id[RAINCHECK_ID_SIZE];
	char lease[RAINCHECK_TOKEN_SIZE];
	bool has_progress;
	double progress;
	struct call_place *place; /* valid until the message is sent */
};

struct extender {
	struct broker_link *link;
	int64_t lease_ms;
	struct extender_handlers handlers;
	struct item items[BATCH_MAX];
	size_t count;
	bool under_way;
	bool abandoned;
};

int extender_new(struct broker_link *link, int64_t lease_ms, const struct extender_handlers *handlers,
		 struct extender **ret_extender)
{
	struct extender *e = calloc(1, sizeof(*e));

	if (!e)
		return ERR_NO_MEMORY;
	e->link = link;
	e->lease_ms = lease_ms;
	e->handlers = *handlers;
	*ret_extender = e;
	return 0;
}

void extender_set_lease(struct extender *e, int64_t lease_ms)
{
	e->lease_ms = lease_ms;
}

void extender_free(struct extender *e)
{
	if (!e)
		return;
	e->abandoned = true;
	if (!e->under_way)
		free(e);
}

bool extender_takes(const struct extender *e)
{
	return !e->under_way && e->count < BATCH_MAX && raincheck_connected(broker_link_handle(e->link));
}

void extender_offer(struct extender *e, struct call_place *place, int64_t now_ms)
{
	const struct leased *job = call_job(place->call);
	struct item *item = &e->items[e->count];

	if (!extender_takes(e))
		return;
	if (now_ms - place->extended_at_ms < e->lease_ms / 3 && !call_has_news(place->call))
		return;
	memcpy(item->id, job->id, sizeof(item->id));
	memcpy(item->lease, job->lease, sizeof(item->lease));
	item->place = place;
	item->has_progress = call_take_progress(place->call, &item->progress);
	e->count++;
}

static void extended_cb(struct raincheck *rc, const struct raincheck_reply *reply, void *user)
{
	struct extender *e = user;
	size_t count = e->count;

	(void)rc;
	e->under_way = false;
	e->count = 0;
	if (e->abandoned) {
		free(e);
		return;
	}
	/* What was not answered is due again at the latest when the connection is back. */
	if (reply->code < 0)
		return;
	for (size_t i = 0; i < count && i < reply->extend->lease_count; i++) {
		enum raincheck_extend_status status = reply->extend->leases[i].status;

		if (status != RAINCHECK_EXTEND_OK)
			e->handlers.lost_cb(e->items[i].id, e->items[i].lease, status == RAINCHECK_EXTEND_CANCEL,
					    e->handlers.user);
	}
	if (count == BATCH_MAX)
		e->handlers.more_cb(e->handlers.user);
}

void extender_send(struct extender *e, int64_t now_ms)
{
	struct raincheck_extend_item leases[BATCH_MAX];
	struct raincheck_extend extend = { .leases = leases, .lease_count = e->count, .lease_ms = e->lease_ms };

	if (e->under_way || e->count == 0)
		return;
	for (size_t i = 0; i < e->count; i++)
		leases[i] = (struct raincheck_extend_item){
			.id = e->items[i].id,
			.lease = e->items[i].lease,
			.note = call_note(e->items[i].place->call),
			.has_progress = e->items[i].has_progress,
			.progress = e->items[i].progress,
		};
	if (raincheck_extend_async(broker_link_handle(e->link), &extend, extended_cb, e) < 0) {
		e->count = 0;
		return;
	}
	e->under_way = true;
	for (size_t i = 0; i < e->count; i++)
		e->items[i].place->extended_at_ms = now_ms;
}
