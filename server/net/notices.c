#include "server/net/notices.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "proto/base/clean.h"
#include "server/net/net_priv.h"
#include "server/net/session.h"
#include "server/net/wakes.h"
#include "server/writer/writer.h"

#define BUCKETS 4096
/* That the loop has not looked at yet; what is beyond is not told. */
#define PENDING_MAX 16384

struct notice {
	uint64_t session;
	bool wake; /* hooks wait; else it was called back */
	struct uuid id;
	struct token lease;
};

struct notices {
	struct net *net;
	struct session *buckets[BUCKETS];
	/* One is filled by the writer while the loop goes through the other. */
	struct notice pending[2][PENDING_MAX];

	/* Sessions. Changed under the lock, so that the writer pushes no mail after the last one is gone, when the
	 * mailbox may close; looked at without it first, because often nobody has subscribed. */
	atomic_size_t count;
	uv_mutex_t lock; /* guards what follows, and the one of pending that is being filled */
	size_t filling;
	size_t filled;
	bool mailed;
	struct mail mail;
};

/* ---- the sessions ---- */

/* Ids count up: neighbours never share a bucket. */
static struct session **bucket(struct notices *n, uint64_t id)
{
	return &n->buckets[id % BUCKETS];
}

struct session *notices_find(struct notices *n, uint64_t id)
{
	struct session *s = *bucket(n, id);

	while (s && s->id != id)
		s = s->next_told;
	return s;
}

static void change_count(struct notices *n, int by)
{
	uv_mutex_lock(&n->lock);
	atomic_fetch_add(&n->count, (size_t)by);
	uv_mutex_unlock(&n->lock);
}

void notices_add(struct notices *n, struct session *s)
{
	struct session **first = bucket(n, s->id);

	s->next_told = *first;
	if (*first)
		(*first)->told_link = &s->next_told;
	s->told_link = first;
	*first = s;
	change_count(n, 1);
}

void notices_remove(struct notices *n, struct session *s)
{
	if (!s->told_link)
		return;
	*s->told_link = s->next_told;
	if (s->next_told)
		s->next_told->told_link = s->told_link;
	s->told_link = NULL;
	change_count(n, -1);
}

/* ---- what the writer tells ---- */

static void events_cb(void *user, const struct job_event *events, size_t count)
{
	struct notices *n = user;

	if (atomic_load(&n->count) == 0)
		return;
	uv_mutex_lock(&n->lock);
	for (size_t i = 0; i < count && n->filled < PENDING_MAX && atomic_load(&n->count) > 0; i++) {
		bool wake = events[i].wakes != 0;

		if (!events[i].called_back && !wake)
			continue;
		n->pending[n->filling][n->filled++] = (struct notice){
			.session = wake ? events[i].wakes : events[i].from_holder,
			.wake = wake,
			.id = events[i].id,
			.lease = events[i].lease,
		};
	}
	if (n->filled > 0 && !n->mailed) {
		n->mailed = true;
		mailbox_push(&n->net->mailbox, &n->mail);
	}
	uv_mutex_unlock(&n->lock);
}

static void tell(struct notices *n, const struct notice *notice)
{
	struct session *s;
	struct msg_job_cancel_notice params = {
		.has_id = true,
		.id = notice->id,
		.has_lease = true,
		.lease = notice->lease,
	};

	if (notice->wake) {
		wakes_send(n->net->wakes, notice->session, &notice->id, &notice->lease);
		return;
	}
	s = notices_find(n, notice->session);
	if (s)
		(void)session_notify(s, "job.cancel", &MSG_job_cancel_notice, &params);
}

static void mail_cb(struct mail *mail)
{
	struct notices *n = CONTAINER_OF(mail, struct notices, mail);
	const struct notice *full;
	size_t count;

	uv_mutex_lock(&n->lock);
	full = n->pending[n->filling];
	count = n->filled;
	n->filling = !n->filling;
	n->filled = 0;
	n->mailed = false;
	uv_mutex_unlock(&n->lock);
	for (size_t i = 0; i < count; i++)
		tell(n, &full[i]);
}

/* ---- all of them ---- */

int notices_new(struct net *net, struct notices **ret)
{
	struct notices *n = calloc(1, sizeof(*n));

	if (!n)
		return ERR_NO_MEMORY;
	if (uv_mutex_init(&n->lock) < 0) {
		free(n);
		return ERR_NO_MEMORY;
	}
	n->net = net;
	n->mail.take = mail_cb;
	*ret = n;
	return 0;
}

void notices_free(struct notices *n)
{
	if (!n)
		return;
	assert(atomic_load(&n->count) == 0);
	uv_mutex_destroy(&n->lock);
	free(n);
}

void notices_subscribe(struct notices *n)
{
	writer_subscribe_after(n->net->options.writer, events_cb, n);
}
