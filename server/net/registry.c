/* The loop adds, removes and shows the entries; the writer finds one by the number of its session and counts there.
 * Both do that under one lock, which the writer holds once for all that a batch has done.
 */
#include "server/net/registry.h"

#include <assert.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/clean.h"
#include "proto/base/clock.h"
#include "server/net/dispatch.h"
#include "server/net/net_priv.h"
#include "server/net/session.h"
#include "server/writer/writer.h"

#define BUCKETS 4096

struct worker_entry {
	struct worker_entry *next; /* of its bucket; changed under the lock */
	struct worker_entry **link;
	struct session *session;
	uint64_t id;	 /* the session's */
	int64_t in_hand; /* under the lock */
	/* What worker.list tells, but for in_hand; its state is changed under the lock. Its slices point behind this
	 * struct. */
	struct msg_worker_session told;
	char address[64];
};

struct registry {
	struct net *net;
	/* Looked at without the lock first, because often there is no worker. */
	atomic_size_t count;
	uv_mutex_t lock; /* guards what follows, for the writer; the loop alone changes the lists */
	struct worker_entry *buckets[BUCKETS];
};

/* Goes through the workers; a break leaves the inner loop only. */
#define FOR_EACH_WORKER(r, w)                                  \
	for (size_t bucket_ = 0; bucket_ < BUCKETS; bucket_++) \
		for (struct worker_entry *w = (r)->buckets[bucket_]; w; w = w->next)

static struct worker_entry **bucket(struct registry *r, uint64_t id)
{
	return &r->buckets[id % BUCKETS];
}

/* ---- coming and going ---- */

static void name_address(struct session *s, char *ret, size_t size)
{
	struct sockaddr_storage at;
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&at;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&at;
	int length = sizeof(at);
	char host[INET6_ADDRSTRLEN] = "";
	bool is_v6;

	snprintf(ret, size, "unix");
	if (s->peer.handle.type != UV_TCP || uv_tcp_getpeername(&s->peer.tcp, (struct sockaddr *)&at, &length) < 0)
		return;
	is_v6 = at.ss_family == AF_INET6;
	uv_inet_ntop(at.ss_family, is_v6 ? (const void *)&v6->sin6_addr : (const void *)&v4->sin_addr, host,
		     sizeof(host));
	/* Both families have the port in one place. */
	snprintf(ret, size, is_v6 ? "[%s]:%u" : "%s:%u", host, (unsigned)ntohs(v4->sin_port));
}

static size_t text_size(const struct msg_hello *hello)
{
	size_t size = hello->worker.name.size + hello->client.size + hello->version.size;

	for (size_t i = 0; i < hello->worker.queues_count; i++)
		size += hello->worker.queues[i].size;
	return size;
}

static struct slice keep(char **at, struct slice text)
{
	struct slice kept = slice_of(*at, text.size);

	if (text.size > 0)
		memcpy(*at, text.data, text.size);
	*at += text.size;
	return kept;
}

/* Behind the entry stand the list of its queues and then all texts. */
static struct worker_entry *entry_new(const struct msg_hello *hello)
{
	const struct msg_worker *worker = &hello->worker;
	struct worker_entry *w = calloc(1, sizeof(*w) + worker->queues_count * sizeof(struct slice) + text_size(hello));
	struct slice *queues;
	char *text;

	if (!w)
		return NULL;
	queues = (struct slice *)(w + 1);
	text = (char *)(queues + worker->queues_count);
	w->told = (struct msg_worker_session){
		.has_name = true,
		.name = keep(&text, worker->name),
		.has_state = true,
		.state = worker->has_quiet && worker->quiet ? WORKER_QUIET : WORKER_ACTIVE,
		.has_address = true,
		.has_client = hello->has_client,
		.client = keep(&text, hello->client),
		.has_version = hello->has_version,
		.version = keep(&text, hello->version),
		.has_queues = true,
		.queues = queues,
		.queues_count = worker->queues_count,
		.has_slots = worker->has_slots,
		.slots = worker->slots,
		.has_in_hand = true,
		.has_waiting = true,
		.has_connected_at_ms = true,
		.connected_at_ms = clock_wall_ms(),
	};
	for (size_t i = 0; i < worker->queues_count; i++)
		queues[i] = keep(&text, worker->queues[i]);
	return w;
}

int registry_add(struct registry *r, struct session *s, const struct msg_hello *hello)
{
	struct worker_entry **first = bucket(r, s->id);
	struct worker_entry *w = entry_new(hello);

	if (!w)
		return ERR_NO_MEMORY;
	assert(!s->worker);
	name_address(s, w->address, sizeof(w->address));
	w->told.address = slice_str(w->address);
	w->session = s;
	w->id = s->id;
	s->worker = w;
	uv_mutex_lock(&r->lock);
	w->next = *first;
	if (w->next)
		w->next->link = &w->next;
	w->link = first;
	*first = w;
	atomic_fetch_add(&r->count, 1);
	uv_mutex_unlock(&r->lock);
	return 0;
}

void registry_remove(struct registry *r, struct session *s)
{
	struct worker_entry *w = TAKE_PTR(s->worker);

	if (!w)
		return;
	uv_mutex_lock(&r->lock);
	*w->link = w->next;
	if (w->next)
		w->next->link = w->link;
	atomic_fetch_sub(&r->count, 1);
	uv_mutex_unlock(&r->lock);
	free(w);
}

void registry_waits(struct session *s, int by)
{
	if (s->worker)
		s->worker->told.waiting += by;
}

/* ---- what the writer tells ---- */

static void count(struct registry *r, uint64_t session, int by)
{
	struct worker_entry *w = session ? *bucket(r, session) : NULL;

	while (w && w->id != session)
		w = w->next;
	if (w)
		w->in_hand += by;
}

static void events_cb(void *user, const struct job_event *events, size_t events_count)
{
	struct registry *r = user;

	if (atomic_load(&r->count) == 0)
		return;
	uv_mutex_lock(&r->lock);
	for (size_t i = 0; i < events_count; i++) {
		count(r, events[i].from_holder, -1);
		count(r, events[i].to_holder, 1);
	}
	uv_mutex_unlock(&r->lock);
}

/* ---- what operators see ---- */

static int by_name(const void *a, const void *b)
{
	const struct msg_worker_session *x = a, *y = b;
	int order = slice_compare(x->name, y->name);

	return order != 0 ? order
			  : (x->connected_at_ms > y->connected_at_ms) - (x->connected_at_ms < y->connected_at_ms);
}

int registry_list(struct request *req, struct error_info *info)
{
	struct registry *r = req->net->registry;
	struct msg_worker_list_result result = { .has_workers = true };
	_cleanup_free_ struct msg_worker_session *items = calloc(atomic_load(&r->count) + 1, sizeof(*items));

	if (!items)
		return error_set(info, ERR_NO_MEMORY, NULL, "%s", error_text(ERR_NO_MEMORY));
	result.workers = items;
	uv_mutex_lock(&r->lock);
	FOR_EACH_WORKER(r, w)
	{
		w->told.in_hand = w->in_hand;
		items[result.workers_count++] = w->told;
	}
	uv_mutex_unlock(&r->lock);
	qsort(items, result.workers_count, sizeof(*items), by_name);
	request_answer(req, &MSG_worker_list_result, &result);
	return 0;
}

/* The loop alone changes the lists, and in_hand is not shown. */
void registry_visit(struct registry *r, registry_visit_cb cb, void *user)
{
	FOR_EACH_WORKER(r, w)
	cb(w->session, &w->told, user);
}

struct registry_totals registry_totals(struct registry *r)
{
	struct registry_totals totals = { .workers = (int64_t)atomic_load(&r->count) };

	uv_mutex_lock(&r->lock);
	FOR_EACH_WORKER(r, w)
	{
		totals.slots += w->told.slots;
		totals.in_hand += w->in_hand;
		if (w->told.state == WORKER_ACTIVE && w->in_hand < w->told.slots)
			totals.slots_free += w->told.slots - w->in_hand;
	}
	uv_mutex_unlock(&r->lock);
	return totals;
}

/* ---- what operators order ---- */

/* How a name's workers took it. */
struct order_count {
	int64_t connected;
	int64_t subscribed;
	int64_t told;
};

static struct order_count tell(struct registry *r, struct slice name, enum worker_state state, const char *notification)
{
	const struct msg_empty nothing = { 0 };
	struct order_count n = { 0 };

	FOR_EACH_WORKER(r, w)
	{
		if (!slice_equal(w->told.name, name))
			continue;
		n.connected++;
		n.subscribed += w->session->subscribed;
		if (!session_notify(w->session, notification, &MSG_empty, &nothing))
			continue;
		n.told++;
		/* One that is told to stop is not taken back to less by being told to be quiet. */
		uv_mutex_lock(&r->lock);
		if (w->told.state < (int)state)
			w->told.state = (int)state;
		uv_mutex_unlock(&r->lock);
	}
	return n;
}

static int order(struct request *req, enum worker_state state, const char *notification, struct error_info *info)
{
	const struct msg_worker_name *params = req->params;
	struct order_count n = tell(req->net->registry, params->name, state, notification);
	struct msg_worker_told result = { .has_count = true, .count = n.told };

	if (n.connected == 0)
		return error_set(info, ERR_NOT_FOUND, "name", "no worker of this name is connected");
	if (n.subscribed == 0)
		return error_set(info, ERR_CONFLICT, "name",
				 "the worker cannot be told: it did not subscribe to notifications");
	if (n.told == 0)
		return error_set(info, ERR_CONFLICT, "name",
				 "the worker cannot be told: it does not read what it is sent");
	request_answer(req, &MSG_worker_told, &result);
	return 0;
}

int registry_quiet(struct request *req, struct error_info *info)
{
	return order(req, WORKER_QUIET, "worker.quiet", info);
}

int registry_stop(struct request *req, struct error_info *info)
{
	return order(req, WORKER_STOPPING, "worker.stop", info);
}

/* ---- all of them ---- */

int registry_new(struct net *net, struct registry **ret)
{
	struct registry *r = calloc(1, sizeof(*r));

	if (!r)
		return ERR_NO_MEMORY;
	if (uv_mutex_init(&r->lock) < 0) {
		free(r);
		return ERR_NO_MEMORY;
	}
	r->net = net;
	*ret = r;
	return 0;
}

void registry_free(struct registry *r)
{
	if (!r)
		return;
	assert(atomic_load(&r->count) == 0);
	uv_mutex_destroy(&r->lock);
	free(r);
}

void registry_subscribe(struct registry *r)
{
	writer_subscribe(r->net->options.writer, events_cb, r);
}
