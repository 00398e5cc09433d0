#include "server/net/wakes.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "proto/base/clean.h"
#include "proto/rpc.h"
#include "server/engine/view_hooks.h"
#include "server/net/net_priv.h"
#include "server/net/notices.h"
#include "server/net/session.h"

#define WAITING_MAX 65536
#define GUESS_BYTES 4096 /* what a hook is charged for until it is read */

/* Those of one job behind a number, for whom. */
struct errand {
	TAILQ_ENTRY(errand) entry;
	uint64_t session;
	struct uuid id;
	struct token lease;
	uint64_t after;
};

struct wakes {
	struct net *net;
	TAILQ_HEAD(, errand) waiting;
	size_t waiting_count;
	bool reading;
};

/* What a request of this kind has for parameters. */
struct wake {
	struct errand errand;
	struct pair headers[HOOK_HEADERS];
	struct msg_job_wake params;
};

/* Leaves the reply empty where there is none to give; a hook is an alarm, and nobody is owed one. */
static void run_read(struct request *req)
{
	_cleanup_(store_abortp) struct store_txn *t = NULL;
	struct wake *wake = req->params;
	int rc;

	rc = store_begin_read(req->net->options.store, &t);
	if (rc == 0)
		rc = view_next_hook(t, &wake->errand.id, &wake->errand.lease, wake->errand.after, wake->headers,
				    &wake->params);
	if (rc == 0)
		rc = rpc_write_notification(&req->reply, "job.wake", &MSG_job_wake, &wake->params);
	if (rc < 0)
		buf_reset(&req->reply);
}

static void serve(struct wakes *w);

/* first: before all others. */
static void add(struct wakes *w, const struct errand *what, bool first)
{
	struct errand *errand = w->waiting_count < WAITING_MAX ? malloc(sizeof(*errand)) : NULL;

	if (!errand)
		return;
	*errand = *what;
	if (first)
		TAILQ_INSERT_HEAD(&w->waiting, errand, entry);
	else
		TAILQ_INSERT_TAIL(&w->waiting, errand, entry);
	w->waiting_count++;
}

static void after_read(struct request *req)
{
	const struct wake *wake = req->params;
	struct errand next = wake->errand;
	struct wakes *w = req->net->wakes;

	next.after = (uint64_t)wake->params.hook;
	w->reading = false;
	if (req->reply.size == 0 || req->session->state != SESSION_OPEN) {
		request_free(req);
	} else {
		session_send(req->session, req);
		add(w, &next, true);
	}
	serve(w);
}

static void begin(struct wakes *w, const struct errand *errand)
{
	struct session *s = notices_find(w->net->notices, errand->session);
	struct request *req;
	struct wake *wake;

	if (!s || s->state != SESSION_OPEN || session_has_its_fill(s) || request_new(s, NULL, 0, &req) < 0)
		return;
	wake = request_alloc(req, sizeof(*wake));
	if (!wake) {
		request_free(req);
		return;
	}
	wake->errand = *errand;
	req->params = wake;
	request_charge(req, GUESS_BYTES);
	w->reading = true;
	request_work(req, run_read, after_read);
}

static void serve(struct wakes *w)
{
	struct errand *errand;

	while (!w->reading && (errand = TAILQ_FIRST(&w->waiting))) {
		TAILQ_REMOVE(&w->waiting, errand, entry);
		w->waiting_count--;
		begin(w, errand);
		free(errand);
	}
}

void wakes_send(struct wakes *w, uint64_t session, const struct uuid *id, const struct token *lease)
{
	const struct errand errand = { .session = session, .id = *id, .lease = *lease };

	add(w, &errand, false);
	serve(w);
}

int wakes_new(struct net *net, struct wakes **ret)
{
	struct wakes *w = calloc(1, sizeof(*w));

	if (!w)
		return ERR_NO_MEMORY;
	w->net = net;
	TAILQ_INIT(&w->waiting);
	*ret = w;
	return 0;
}

void wakes_free(struct wakes *w)
{
	struct errand *errand;

	if (!w)
		return;
	assert(!w->reading);
	while ((errand = TAILQ_FIRST(&w->waiting))) {
		TAILQ_REMOVE(&w->waiting, errand, entry);
		free(errand);
	}
	free(w);
}
