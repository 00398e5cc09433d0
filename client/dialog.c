/* The conversation. When the socket is up the greeting goes first; once it is accepted, queued requests are handed to
 * the connection as far as the broker's ceiling allows, and each answer finds its request by id and is called back.
 *
 * What must stay true:
 *   1. Every started call is told exactly once: a request's call is taken out of it before anybody is told.
 *   2. Nobody is told from within dialog_start(): all tellers run from the loop.
 *   3. A callback may start calls and close the handle: after each, nothing is assumed about the tables.
 *   4. A request that was handed to the socket is not sent again, except a repeatable one, once.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "convert.h"
#include "handle_priv.h"
#include "proto/base/clean.h"
#include "proto/base/text.h"
#include "proto/rpc.h"

#define KEEP_CAPACITY (1u << 20) /* a buffer grown beyond this is given back */

/* ---- telling ---- */

static void tell(struct raincheck *rc, const struct call *call, const struct raincheck_reply *reply)
{
	rc->pending--;
	if (call->waiter) {
		call->waiter->done = true;
		call->waiter->code = reply->code;
		if (reply->error)
			call->waiter->error = *reply->error;
	} else if (call->cb) {
		call->cb(rc, reply, call->user);
	}
}

static void tell_error(struct raincheck *rc, const struct call *call, const struct error_info *info, bool sent)
{
	struct raincheck_error error;
	struct raincheck_reply reply = { .code = info->code, .error = &error };

	handle_export_error(info, sent, &error);
	tell(rc, call, &reply);
}

/* Empties the list. */
static void tell_all(struct raincheck *rc, struct pending_list *list, const struct error_info *info)
{
	struct pending *r;

	while ((r = pending_list_pop(list))) {
		struct call call = r->call;
		bool sent = r->state == PENDING_SENT;
		bool told = r->state == PENDING_ABANDONED;

		pending_free(r);
		if (!told)
			tell_error(rc, &call, info, sent);
	}
}

static void tell_result(struct raincheck *rc, const struct call *call, enum method_id method, const void *message)
{
	struct raincheck_reply reply = { .code = 0 };
	struct error_info info;
	void *result = NULL;
	int err;

	if (call->waiter)
		err = convert_owned_result(method, message, &call->waiter->result);
	else
		err = convert_result(method, message, rc->zone, false, &result);
	if (err < 0) {
		error_set(&info, err, NULL, "%s", error_text(err));
		tell_error(rc, call, &info, false);
		return;
	}
	reply.any = result;
	tell(rc, call, &reply);
}

/* ---- what comes in ---- */

/* Into *ret_message, in the zone. */
static int read_result(struct raincheck *rc, const struct rpc_envelope *e, enum method_id method, size_t items,
		       void **ret_message, struct error_info *info)
{
	const struct message *m = method_get(method)->result;
	void *message = msgpack_zone_malloc(rc->zone, message_size(m));
	char field[sizeof(info->field)];
	int err = message ? message_decode(m, e->result, rc->zone, message, info) : ERR_NO_MEMORY;

	if (err == ERR_NO_MEMORY)
		return error_set(info, err, NULL, "%s", error_text(err));
	if (err < 0) {
		memcpy(field, info->field, sizeof(field));
		return error_set(info, ERR_PROTOCOL, field, "the broker's answer makes no sense");
	}
	if (convert_count_items(method, message) != items)
		return error_set(info, ERR_PROTOCOL, NULL, "the broker's answer has not as many items as the request");
	*ret_message = message;
	return 0;
}

static void answered(struct raincheck *rc, const struct rpc_envelope *e)
{
	struct pending *r = pending_table_find(&rc->requests, e->id);
	struct error_info info = { 0 };
	struct pending done;
	void *message = NULL;

	/* An id that is not under way is a peer's slip that harms nobody. */
	if (!r || r->state == PENDING_QUEUED)
		return;
	done = *r;
	pending_table_remove(&rc->requests, r);
	pending_free(r);
	if (done.state == PENDING_ABANDONED)
		return;
	if (e->error)
		rpc_read_error(e->error, rc->zone, &info);
	else
		read_result(rc, e, done.method, done.items, &message, &info);
	if (info.code < 0)
		tell_error(rc, &done.call, &info, false);
	else
		tell_result(rc, &done.call, done.method, message);
}

static bool which_notice(struct slice method, enum raincheck_notice *ret)
{
	static const char *const names[] = {
		[RAINCHECK_NOTICE_JOB_CANCEL] = "job.cancel",		[RAINCHECK_NOTICE_JOB_WAKE] = "job.wake",
		[RAINCHECK_NOTICE_WORKER_QUIET] = "worker.quiet",	[RAINCHECK_NOTICE_WORKER_STOP] = "worker.stop",
		[RAINCHECK_NOTICE_SERVER_SHUTDOWN] = "server.shutdown", [RAINCHECK_NOTICE_WORKER_WARM] = "worker.warm",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (slice_is(method, names[i])) {
			*ret = (enum raincheck_notice)i;
			return true;
		}
	}
	return false;
}

static const char *zone_text(msgpack_zone *zone, struct slice s)
{
	char *text = msgpack_zone_malloc(zone, s.size + 1);

	if (text)
		snprintf(text, s.size + 1, "%.*s", SLICE_FMT(s));
	return text;
}

/* job.wake says which job, as job.cancel does, and carries a body like a payload: decoding ignores the keys that it
 * does not ask for. */
static int read_job_notice(struct raincheck *rc, const struct rpc_envelope *e, struct raincheck_notification *ret)
{
	struct msg_job_cancel_notice which;
	struct msg_job_payload_result body;

	if (message_decode(&MSG_job_cancel_notice, e->params, rc->zone, &which, NULL) < 0)
		return ERR_PROTOCOL;
	memcpy(ret->id, uuid_format(&which.id).text, sizeof(ret->id));
	hex_encode(which.lease.bytes, sizeof(which.lease.bytes), ret->lease);
	if (ret->notice != RAINCHECK_NOTICE_JOB_WAKE)
		return 0;
	if (message_decode(&MSG_job_payload_result, e->params, rc->zone, &body, NULL) < 0)
		return ERR_PROTOCOL;
	if (body.has_content_type)
		ret->content_type = zone_text(rc->zone, body.content_type);
	ret->data = (struct raincheck_bytes){ body.data.data, body.data.size };
	return 0;
}

static int read_warm_notice(struct raincheck *rc, const struct rpc_envelope *e, struct raincheck_notification *ret)
{
	struct msg_warm_notice warm;
	const char **queues;

	if (message_decode(&MSG_warm_notice, e->params, rc->zone, &warm, NULL) < 0)
		return ERR_PROTOCOL;
	queues = msgpack_zone_malloc(rc->zone, warm.queues_count * sizeof(*queues));
	ret->limit = zone_text(rc->zone, warm.limit);
	if (!queues || !ret->limit)
		return ERR_NO_MEMORY;
	for (size_t i = 0; i < warm.queues_count; i++) {
		queues[i] = zone_text(rc->zone, warm.queues[i]);
		if (!queues[i])
			return ERR_NO_MEMORY;
	}
	ret->queues = queues;
	ret->queue_count = warm.queues_count;
	ret->concurrency = warm.concurrency;
	ret->at_ms = warm.at_ms;
	return 0;
}

static int read_notice(struct raincheck *rc, const struct rpc_envelope *e, struct raincheck_notification *ret)
{
	switch (ret->notice) {
	case RAINCHECK_NOTICE_JOB_CANCEL:
	case RAINCHECK_NOTICE_JOB_WAKE:
		return read_job_notice(rc, e, ret);
	case RAINCHECK_NOTICE_WORKER_WARM:
		return read_warm_notice(rc, e, ret);
	default:
		return 0;
	}
}

/* One that is unknown or makes no sense is passed over: a later broker may know more of them. */
static void notified(struct raincheck *rc, const struct rpc_envelope *e)
{
	struct raincheck_notification n = { 0 };

	if (!rc->settings.on_notification || !which_notice(e->method, &n.notice))
		return;
	if (read_notice(rc, e, &n) < 0)
		return;
	rc->settings.on_notification(rc, &n, rc->settings.user);
}

static int on_message(void *owner, const uint8_t *data, size_t size, struct error_info *info)
{
	struct raincheck *rc = owner;
	struct rpc_envelope e;
	int err;

	err = rpc_unpack(data, size, rc->zone, &e, info);
	/* A notification whose params are of another shape is no reason to part. */
	if (err == ERR_BAD_REQUEST)
		err = 0;
	else if (err < 0 || e.type == RPC_REQUEST)
		err = error_set(info, err < 0 ? err : ERR_PROTOCOL, NULL, "the broker sent what is not an answer");
	else if (rc->connection.state == CONNECTION_GREETING && e.type == RPC_RESPONSE && e.id == rc->hello_id)
		err = greeting_answered(rc, &e, info);
	else if (e.type == RPC_RESPONSE)
		answered(rc, &e);
	else if (rc->accepted)
		notified(rc, &e);
	msgpack_zone_clear(rc->zone);
	return err;
}

/* ---- what goes out ---- */

static int64_t ceiling(const struct raincheck *rc)
{
	int64_t own = rc->settings.max_in_flight;
	int64_t brokers = rc->server.max_in_flight;

	if (brokers < 1)
		brokers = 1;
	return own > 0 && own < brokers ? own : brokers;
}

static void refuse(struct raincheck *rc, struct pending *r, const struct error_info *info)
{
	struct call call = r->call;

	pending_table_remove(&rc->requests, r);
	pending_free(r);
	tell_error(rc, &call, info, false);
}

/* Hands the bytes of r over. */
static int hand_over(struct raincheck *rc, const struct pending *r, struct buf *out, struct error_info *info)
{
	if (r->size > (uint64_t)rc->server.max_message_bytes)
		return error_set(info, ERR_TOO_LARGE, NULL, "the request has %zu bytes, the broker takes %lld", r->size,
				 (long long)rc->server.max_message_bytes);
	if (buf_append(out, r->bytes, r->size) < 0) {
		buf_truncate(out, out->size);
		return error_set(info, ERR_NO_MEMORY, NULL, "%s", error_text(ERR_NO_MEMORY));
	}
	return 0;
}

/* The broker is greeted once a connection: another greeting wants another one. */
static void part_in_order(struct raincheck *rc)
{
	struct error_info why;

	if (rc->requests.in_flight > 0)
		return;
	error_set(&why, ERR_NO_CONNECTION, NULL, "the connection is made anew, with another greeting");
	connection_break(&rc->connection, &why);
	connection_hurry(&rc->connection);
}

static void fill(void *owner, struct buf *out)
{
	struct raincheck *rc = owner;
	struct error_info info;
	struct pending *r;

	if (rc->greet_again) {
		part_in_order(rc);
		return;
	}
	while ((r = rc->requests.queued.first) && (int64_t)rc->requests.in_flight < ceiling(rc) &&
	       out->size < DIALOG_FILL_BYTES && rc->connection.state == CONNECTION_READY) {
		if (hand_over(rc, r, out, &info) < 0)
			refuse(rc, r, &info);
		else
			pending_table_sent(&rc->requests, r, rc->connection.heard);
	}
}

static int encode(struct raincheck *rc, uint64_t id, const struct dialog_call *start)
{
	const struct method *m = method_get(start->method);

	buf_reset(&rc->encoded);
	if (start->encode)
		return start->encode(&rc->encoded, id, start->params);
	return rpc_write_request(&rc->encoded, id, m->name, m->params, start->params);
}

static int check_room(struct raincheck *rc, struct error_info *info)
{
	size_t unsent = rc->requests.queued_bytes + connection_unsent(&rc->connection);

	if (rc->closing)
		return error_set(info, ERR_CANCELED, NULL, "the handle is being closed");
	if (rc->accepted && rc->encoded.size > (uint64_t)rc->server.max_message_bytes)
		return error_set(info, ERR_TOO_LARGE, NULL, "the request has %zu bytes, the broker takes %lld",
				 rc->encoded.size, (long long)rc->server.max_message_bytes);
	if (rc->requests.queued_count >= rc->settings.max_queued)
		return error_set(info, ERR_THROTTLED, NULL, "%zu calls wait to be sent already",
				 rc->requests.queued_count);
	if (unsent > 0 && unsent + rc->encoded.size > rc->settings.max_unsent_bytes)
		return error_set(info, ERR_THROTTLED, NULL, "%zu bytes wait to be sent already", unsent);
	return 0;
}

/* What changes nothing at the broker. */
static bool is_read(enum method_id method)
{
	switch (method) {
	case METHOD_session_ping:
	case METHOD_job_get:
	case METHOD_job_wait:
	case METHOD_job_payload:
	case METHOD_job_list:
	case METHOD_artifact_read:
	case METHOD_queue_list:
	case METHOD_queue_get:
	case METHOD_limit_list:
	case METHOD_limit_get:
	case METHOD_server_stats:
		return true;
	default:
		return false;
	}
}

static void arm(struct raincheck *rc, uint64_t deadline)
{
	uint64_t now = uv_now(rc->loop);

	if (rc->closing || (rc->timer_due != 0 && rc->timer_due <= deadline))
		return;
	rc->timer_due = deadline;
	uv_timer_start(&rc->deadline_timer, dialog_deadline_cb, deadline > now ? deadline - now : 0, 0);
}

int dialog_start(struct raincheck *rc, const struct dialog_call *start)
{
	struct call call = { start->cb, start->user, TAKE_PTR(rc->next_waiter) };
	struct error_info info = { 0 };
	uint64_t id = rc->last_id + 1;
	struct pending *r;
	int err;

	/* Between runs of the loop its time stands still, and a deadline set by it could be over already. */
	uv_update_time(rc->loop);
	err = encode(rc, id, start);
	if (err < 0) {
		error_set(&info, err, NULL, "%s", error_text(err));
		return handle_fail(rc, &info);
	}
	err = check_room(rc, &info);
	if (err < 0)
		return handle_fail(rc, &info);
	r = pending_new(id, start->method, rc->encoded.data, rc->encoded.size);
	if (!r || pending_table_add(&rc->requests, r) < 0) {
		pending_free(r);
		error_set(&info, ERR_NO_MEMORY, NULL, "%s", error_text(ERR_NO_MEMORY));
		return handle_fail(rc, &info);
	}
	if (rc->encoded.capacity > KEEP_CAPACITY)
		buf_done(&rc->encoded);
	rc->last_id = id;
	rc->pending++;
	r->call = call;
	r->repeatable = call.waiter && is_read(start->method);
	r->items = start->items;
	r->deadline = uv_now(rc->loop) + (uint64_t)rc->settings.request_timeout_ms + (uint64_t)start->wait_ms;
	arm(rc, r->deadline);
	return 0;
}

/* ---- when it does not go well ---- */

static bool match_sent(const struct pending *r, const void *arg)
{
	(void)arg;
	return r->state != PENDING_QUEUED;
}

static bool match_queued(const struct pending *r, const void *arg)
{
	const struct raincheck *rc = arg;

	return r->state == PENDING_QUEUED && (rc->refused || r->call.waiter);
}

static bool match_any(const struct pending *r, const void *arg)
{
	(void)r;
	(void)arg;
	return true;
}

/* A blocking read that was under way goes back to the queue, to be asked once more. */
static bool requeue_repeatable(struct raincheck *rc)
{
	for (size_t i = 0; i < rc->requests.bucket_count; i++) {
		for (struct pending *r = rc->requests.buckets[i]; r; r = r->next_in_bucket) {
			/* There is at most one blocking call at a time. */
			if (r->state == PENDING_SENT && r->repeatable) {
				pending_table_requeue(&rc->requests, r);
				return true;
			}
		}
	}
	return false;
}

/* Calls in flight have failed. Queued ones stay for the next connection, but for two kinds: all, when the broker will
 * not have us; a blocking call's, when an attempt made for it failed. */
static void down(void *owner, const struct error_info *why, int64_t retry_ms)
{
	struct raincheck *rc = owner;
	struct pending_list lost = { 0 };
	struct error_info info = *why;
	struct raincheck_error error;
	bool was_up = rc->accepted;

	rc->accepted = false;
	if (was_up && requeue_repeatable(rc))
		connection_hurry(&rc->connection);
	pending_table_extract(&rc->requests, match_sent, rc, &lost);
	if (!was_up)
		pending_table_extract(&rc->requests, match_queued, rc, &lost);
	if (info.code == ERR_PROTOCOL && was_up)
		info.code = ERR_NO_CONNECTION;
	info.retry_after_ms = retry_ms;
	if (rc->settings.on_connection) {
		handle_export_error(&info, false, &error);
		rc->settings.on_connection(rc, false, &error, rc->settings.user);
	}
	info.retry_after_ms = why->retry_after_ms;
	tell_all(rc, &lost, &info);
}

static struct pending *find_due(struct raincheck *rc, uint64_t now)
{
	for (size_t i = 0; i < rc->requests.bucket_count; i++)
		for (struct pending *r = rc->requests.buckets[i]; r; r = r->next_in_bucket)
			if (r->state != PENDING_ABANDONED && r->deadline <= now)
				return r;
	return NULL;
}

static void time_out(struct raincheck *rc, struct pending *r)
{
	struct call call = r->call;
	bool sent = r->state == PENDING_SENT;
	struct error_info info;

	if (sent)
		error_set(&info, ERR_TIMED_OUT, NULL, "the broker did not answer in time");
	else if (rc->accepted)
		error_set(&info, ERR_TIMED_OUT, NULL, "the requests before it were not answered in time");
	else
		error_set(&info, ERR_NO_CONNECTION, NULL, "no connection to the broker in time");
	if (sent) {
		pending_table_abandon(r);
	} else {
		pending_table_remove(&rc->requests, r);
		pending_free(r);
	}
	tell_error(rc, &call, &info, sent);
}

void dialog_deadline_cb(uv_timer_t *timer)
{
	struct raincheck *rc = timer->data;
	uint64_t now = uv_now(rc->loop);
	uint64_t next;
	bool silent = false;
	struct pending *r;

	rc->timer_due = 0;
	while ((r = find_due(rc, now))) {
		silent = silent || (r->state == PENDING_SENT && r->heard == rc->connection.heard);
		time_out(rc, r);
	}
	next = pending_table_deadline(&rc->requests);
	if (next != UINT64_MAX)
		arm(rc, next);
	/* A peer that said nothing for a whole timeout is gone, whatever the socket believes. */
	if (silent && rc->accepted) {
		struct error_info why;

		error_set(&why, ERR_NO_CONNECTION, NULL, "the broker fell silent");
		connection_break(&rc->connection, &why);
	}
}

void dialog_cancel_all(struct raincheck *rc)
{
	struct pending_list all = { 0 };
	struct error_info info;

	error_set(&info, ERR_CANCELED, NULL, "the handle was closed");
	pending_table_extract(&rc->requests, match_any, rc, &all);
	tell_all(rc, &all, &info);
}

static void connection_closed(void *owner)
{
	handle_closed(owner);
}

const struct connection_ops dialog_ops = {
	.opened = greeting_say,
	.message = on_message,
	.fill = fill,
	.down = down,
	.closed = connection_closed,
};
