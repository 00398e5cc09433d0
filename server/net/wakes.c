#include "server/net/wakes.h"

#include "proto/base/clean.h"
#include "proto/rpc.h"
#include "server/engine/view_hooks.h"
#include "server/net/net_priv.h"
#include "server/net/session.h"

/* What a request of this kind has for parameters. */
struct wake {
	struct uuid id;
	struct token lease;
	uint64_t after; /* the number of the one before */
	bool all;	/* go on with those behind it */
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
		rc = view_next_hook(t, &wake->id, &wake->lease, wake->after, wake->headers, &wake->params);
	if (rc == 0)
		rc = rpc_write_notification(&req->reply, "job.wake", &MSG_job_wake, &wake->params);
	if (rc < 0)
		buf_reset(&req->reply);
}

static void begin(struct session *s, const struct wake *what);

static void after_read(struct request *req)
{
	const struct wake *wake = req->params;
	struct wake next = { .id = wake->id, .lease = wake->lease, .after = (uint64_t)wake->params.hook, .all = true };
	struct session *s = req->session;
	bool all = wake->all;

	if (req->reply.size == 0 || s->state != SESSION_OPEN) {
		request_free(req);
		return;
	}
	session_send(s, req);
	if (all)
		begin(s, &next);
}

static void begin(struct session *s, const struct wake *what)
{
	struct request *req;
	struct wake *wake;

	if (s->state != SESSION_OPEN || !s->subscribed || session_has_its_fill(s) || request_new(s, NULL, 0, &req) < 0)
		return;
	wake = request_alloc(req, sizeof(*wake));
	if (!wake) {
		request_free(req);
		return;
	}
	*wake = *what;
	req->params = wake;
	request_charge(req, HOOK_BODY_BYTES);
	request_work(req, run_read, after_read);
}

void wakes_send(struct session *s, const struct uuid *id, const struct token *lease, uint64_t number)
{
	const struct wake wake = {
		.id = *id,
		.lease = *lease,
		.after = number > 0 ? number - 1 : 0,
		.all = number == 0,
	};

	begin(s, &wake);
}
