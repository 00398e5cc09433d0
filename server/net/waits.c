#include "server/net/waits.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/clean.h"
#include "server/net/dispatch.h"
#include "server/net/net_priv.h"
#include "server/net/reads.h"
#include "server/net/session.h"
#include "server/writer/writer.h"

#define BUCKETS 4096
/* Ended jobs that the loop has not looked at yet; beyond, every waiter reads again. */
#define ENDED_MAX 4096

struct waiter {
	struct waiter *next; /* of its bucket */
	struct waiter **link;
	struct waiter *next_own; /* of its session */
	struct waiter **link_own;
	struct waits *waits;
	struct request *req; /* NULL: answered; only the timer is still closing */
	struct uuid id;
	uv_timer_t timer;
	bool reading;
	bool again;    /* told while reading */
	bool over;     /* what is read next is the answer */
	bool canceled; /* to be answered when the reading is done */
	bool final;    /* what the reading found; the pool's while reading */
};

struct waits {
	struct net *net;
	struct waiter *buckets[BUCKETS];

	/* Waiters. Changed under the lock, so that the writer pushes no mail after the last one is gone, when the
	 * mailbox may close; looked at without it first, because most of the time nobody waits. */
	atomic_size_t count;
	uv_mutex_t lock; /* guards what follows */
	struct uuid ended[ENDED_MAX];
	size_t ended_count;
	bool overflow;
	bool mailed;
	struct mail mail;
};

static struct waiter **bucket(struct waits *w, const struct uuid *id)
{
	uint32_t hash;

	/* The end of a UUID is where its randomness is. */
	memcpy(&hash, id->bytes + 12, sizeof(hash));
	return &w->buckets[hash % BUCKETS];
}

static void change_count(struct waits *w, int by)
{
	uv_mutex_lock(&w->lock);
	atomic_fetch_add(&w->count, (size_t)by);
	uv_mutex_unlock(&w->lock);
}

/* ---- a waiter's life ---- */

static void insert(struct waiter *at, struct session *s)
{
	struct waiter **first = bucket(at->waits, &at->id);

	at->next = *first;
	if (at->next)
		at->next->link = &at->next;
	at->link = first;
	*first = at;
	at->next_own = s->waiters;
	if (at->next_own)
		at->next_own->link_own = &at->next_own;
	at->link_own = &s->waiters;
	s->waiters = at;
	change_count(at->waits, 1);
}

static void closed_cb(uv_handle_t *handle)
{
	struct waiter *at = handle->data;
	struct net *net = at->waits->net;

	free(at);
	net__drop(net);
}

/* Sends what the reply holds, and ends. */
static void finish(struct waiter *at)
{
	struct request *req = TAKE_PTR(at->req);

	*at->link = at->next;
	if (at->next)
		at->next->link = at->link;
	*at->link_own = at->next_own;
	if (at->next_own)
		at->next_own->link_own = at->link_own;
	change_count(at->waits, -1);
	uv_close((uv_handle_t *)&at->timer, closed_cb);
	request_done(req);
}

static struct waiter *waiter_of(struct request *req)
{
	return *(struct waiter **)req->params;
}

static void run_read(struct request *req)
{
	struct waiter *at = waiter_of(req);

	reads_encode_job(req, &at->id, &at->final);
}

static void read_done(struct request *req);

static void look(struct waiter *at)
{
	if (at->reading) {
		at->again = true;
		return;
	}
	at->reading = true;
	at->again = false;
	request_work(at->req, run_read, read_done);
}

static void read_done(struct request *req)
{
	struct waiter *at = waiter_of(req);

	at->reading = false;
	if (at->canceled)
		request_encode_code(req, ERR_SHUTTING_DOWN);
	if (at->canceled || at->final || (at->over && !at->again))
		finish(at);
	else if (at->again)
		look(at);
}

static void over_cb(uv_timer_t *timer)
{
	struct waiter *at = timer->data;

	at->over = true;
	look(at);
}

int waits_wait(struct request *req, struct error_info *info)
{
	const struct msg_job_wait *params = req->params;
	struct waiter **holder = request_alloc(req, sizeof(struct waiter *));
	struct waiter *at = calloc(1, sizeof(*at));

	if (!holder || !at) {
		free(at);
		return error_set(info, ERR_NO_MEMORY, NULL, "%s", error_text(ERR_NO_MEMORY));
	}
	at->waits = req->net->waits;
	at->req = req;
	at->id = params->id;
	at->over = !params->has_wait_ms || params->wait_ms == 0;
	uv_timer_init(req->net->loop, &at->timer);
	at->timer.data = at;
	if (!at->over)
		uv_timer_start(&at->timer, over_cb, (uint64_t)params->wait_ms, 0);
	net__hold(req->net);
	insert(at, req->session);
	*holder = at;
	req->params = holder;
	look(at);
	return 0;
}

void waits_cancel(struct waits *w, struct session *s)
{
	struct waiter *next;

	(void)w;
	for (struct waiter *at = s->waiters; at; at = next) {
		next = at->next_own;
		at->canceled = true;
		if (at->reading)
			continue;
		request_encode_code(at->req, ERR_SHUTTING_DOWN);
		finish(at);
	}
}

/* ---- what the writer tells ---- */

static void events_cb(void *user, const struct job_event *events, size_t count)
{
	struct waits *w = user;
	bool told = false;

	if (atomic_load(&w->count) == 0)
		return;
	uv_mutex_lock(&w->lock);
	for (size_t i = 0; i < count && atomic_load(&w->count) > 0; i++) {
		if (!events[i].final)
			continue;
		told = true;
		if (w->ended_count < ENDED_MAX)
			w->ended[w->ended_count++] = events[i].id;
		else
			w->overflow = true;
	}
	if (told && !w->mailed) {
		w->mailed = true;
		mailbox_push(&w->net->mailbox, &w->mail);
	}
	uv_mutex_unlock(&w->lock);
}

static void wake(struct waits *w, const struct uuid *id)
{
	for (struct waiter *at = *bucket(w, id); at; at = at->next)
		if (uuid_equal(&at->id, id))
			look(at);
}

static void wake_all(struct waits *w)
{
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct waiter *at = w->buckets[i]; at; at = at->next)
			look(at);
}

static void mail_cb(struct mail *mail)
{
	struct waits *w = CONTAINER_OF(mail, struct waits, mail);
	bool overflow;

	uv_mutex_lock(&w->lock);
	overflow = w->overflow;
	/* Nothing here sends or ends: look() only starts reads, so the lock is short. */
	for (size_t i = 0; i < w->ended_count && !overflow; i++)
		wake(w, &w->ended[i]);
	w->ended_count = 0;
	w->overflow = false;
	w->mailed = false;
	uv_mutex_unlock(&w->lock);
	if (overflow)
		wake_all(w);
}

/* ---- all of them ---- */

int waits_new(struct net *net, struct waits **ret)
{
	struct waits *w = calloc(1, sizeof(*w));

	if (!w)
		return ERR_NO_MEMORY;
	if (uv_mutex_init(&w->lock) < 0) {
		free(w);
		return ERR_NO_MEMORY;
	}
	w->net = net;
	w->mail.take = mail_cb;
	*ret = w;
	return 0;
}

void waits_free(struct waits *w)
{
	if (!w)
		return;
	assert(atomic_load(&w->count) == 0);
	uv_mutex_destroy(&w->lock);
	free(w);
}

void waits_subscribe(struct waits *w)
{
	writer_subscribe(w->net->options.writer, events_cb, w);
}
