#include "worker/call/broker_link.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "proto/base/clean.h"
#include "proto/base/clock.h"
#include "proto/error.h"

#define RETRY_PAUSE_MS 500

struct broker_link {
	struct raincheck *rc;
	uv_timer_t retry;
	TAILQ_HEAD(, broker_op) waiting;
	struct broker_link_handlers handlers;
	int64_t clock_ahead_ms; /* the broker's, of ours */
	unsigned turns;		/* connections made, and ended */
	unsigned closing;	/* handles not closed yet */
	bool closed;
};

/* Outlives an op that is canceled while its call is under way. */
struct broker_ticket {
	struct broker_op *op; /* NULL: canceled */
};

bool broker_retryable(int code)
{
	switch (code) {
	case RAINCHECK_ENO_CONNECTION:
	case RAINCHECK_ETIMED_OUT:
	case RAINCHECK_ETHROTTLED:
	case RAINCHECK_ESHUTTING_DOWN:
	case RAINCHECK_ESTORE_FULL:
	case RAINCHECK_ESTORE_ERROR:
	case RAINCHECK_EUNAUTHENTICATED: /* the greeting was refused: a token may be replaced */
	case RAINCHECK_EDENIED:
	case RAINCHECK_ENO_MEMORY:
		return true;
	default:
		return false;
	}
}

/* ---- ops ---- */

static void retry_cb(uv_timer_t *timer);

static void wait_to_retry(struct broker_op *op, int code, uint64_t pause_ms)
{
	struct broker_link *link = op->link;

	op->code = code;
	op->waiting = true;
	TAILQ_INSERT_TAIL(&link->waiting, op, entry);
	if (!uv_is_active((uv_handle_t *)&link->retry))
		uv_timer_start(&link->retry, retry_cb, pause_ms, 0);
}

static void reply_cb(struct raincheck *rc, const struct raincheck_reply *reply, void *user)
{
	struct broker_ticket *ticket = user;
	struct broker_op *op = ticket->op;

	(void)rc;
	free(ticket);
	if (!op)
		return;
	op->ticket = NULL;
	if (reply->code < 0 && broker_retryable(reply->code) && !op->once && !op->link->closed &&
	    clock_mono_ms() < op->give_up_at_ms) {
		wait_to_retry(op, reply->code, RETRY_PAUSE_MS);
		return;
	}
	op->done_cb(op, reply);
}

static void send_op(struct broker_op *op)
{
	struct broker_ticket *ticket = malloc(sizeof(*ticket));
	int rc;

	if (!ticket) {
		wait_to_retry(op, RAINCHECK_ENO_MEMORY, RETRY_PAUSE_MS);
		return;
	}
	ticket->op = op;
	op->ticket = ticket;
	rc = op->send(op, op->link->rc, reply_cb, ticket);
	if (rc == 0)
		return;
	op->ticket = NULL;
	free(ticket);
	/* Told, or tried again, from the timer: not from within the start. */
	wait_to_retry(op, rc, broker_retryable(rc) ? RETRY_PAUSE_MS : 0);
}

static void tell_failed(struct broker_op *op)
{
	struct raincheck_error error = { .code = op->code };
	struct raincheck_reply reply = { .code = op->code, .error = &error };
	const char *text = raincheck_error_text(op->code);

	strncpy(error.message, text, sizeof(error.message) - 1);
	op->done_cb(op, &reply);
}

static void retry_cb(uv_timer_t *timer)
{
	struct broker_link *link = timer->data;
	size_t count = 0;
	struct broker_op *op;

	/* Those that go back to waiting are for the next time. */
	TAILQ_FOREACH(op, &link->waiting, entry)
	count++;
	while (count-- > 0 && (op = TAILQ_FIRST(&link->waiting))) {
		TAILQ_REMOVE(&link->waiting, op, entry);
		op->waiting = false;
		if (broker_retryable(op->code) && clock_mono_ms() < op->give_up_at_ms)
			send_op(op);
		else
			tell_failed(op);
	}
}

void broker_op_start(struct broker_link *link, struct broker_op *op)
{
	op->link = link;
	send_op(op);
}

void broker_op_cancel(struct broker_op *op)
{
	if (op->ticket)
		op->ticket->op = NULL;
	op->ticket = NULL;
	if (op->waiting)
		TAILQ_REMOVE(&op->link->waiting, op, entry);
	op->waiting = false;
}

bool broker_op_under_way(const struct broker_op *op)
{
	return op->ticket || op->waiting;
}

/* ---- the connection ---- */

static void connection_cb(struct raincheck *rc, bool connected, const struct raincheck_error *why, void *user)
{
	struct broker_link *link = user;

	if (link->closed)
		return;
	link->turns++;
	if (!connected) {
		link->handlers.disconnected_cb(why, link->handlers.user);
		return;
	}
	link->clock_ahead_ms = raincheck_server(rc)->now_ms - clock_wall_ms();
	if (!TAILQ_EMPTY(&link->waiting))
		uv_timer_start(&link->retry, retry_cb, 0, 0);
	link->handlers.connected_cb(link->handlers.user);
}

static void notification_cb(struct raincheck *rc, const struct raincheck_notification *n, void *user)
{
	struct broker_link *link = user;

	(void)rc;
	if (!link->closed)
		link->handlers.notice_cb(n, link->handlers.user);
}

static void part_closed(struct broker_link *link)
{
	if (--link->closing == 0)
		free(link);
}

static void timer_closed_cb(uv_handle_t *handle)
{
	part_closed(handle->data);
}

static void handle_closed_cb(void *user)
{
	part_closed(user);
}

int broker_link_new(const struct broker_link_options *o, struct broker_link **ret_link,
		    struct raincheck_error *ret_error)
{
	struct broker_link *link = calloc(1, sizeof(*link));
	struct raincheck_options options = {
		.server = o->server,
		.token = o->token,
		.client = "raincheck-worker " RAINCHECK_VERSION,
		.worker = o->worker,
		.on_notification = notification_cb,
		.on_connection = connection_cb,
		.user = link,
		.loop = o->uv,
	};
	int rc;

	if (!link)
		return ERR_NO_MEMORY;
	TAILQ_INIT(&link->waiting);
	link->handlers = o->handlers;
	rc = raincheck_new(&options, &link->rc, ret_error);
	if (rc < 0) {
		free(link);
		return rc;
	}
	uv_timer_init(o->uv, &link->retry);
	link->retry.data = link;
	*ret_link = link;
	return 0;
}

void broker_link_close(struct broker_link *link)
{
	if (!link)
		return;
	link->closed = true;
	link->closing = 2;
	uv_close((uv_handle_t *)&link->retry, timer_closed_cb);
	raincheck_close(link->rc, handle_closed_cb, link);
}

int broker_link_greet_as(struct broker_link *link, const char *token, const struct raincheck_worker *worker)
{
	return raincheck_reconnect(link->rc, token, worker);
}

struct raincheck *broker_link_handle(struct broker_link *link)
{
	return link->rc;
}

unsigned broker_link_turns(const struct broker_link *link)
{
	return link->turns;
}

int64_t broker_link_wall_ms(const struct broker_link *link)
{
	return clock_wall_ms() + link->clock_ahead_ms;
}
