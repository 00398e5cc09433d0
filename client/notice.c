/* What the broker says without being asked. */
#include <stdio.h>
#include <string.h>

#include "handle_priv.h"
#include "proto/base/clean.h"
#include "proto/base/text.h"
#include "proto/rpc.h"

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

static void set_attempt(struct raincheck_notification *n, const struct uuid *id, const struct token *lease)
{
	memcpy(n->id, uuid_format(id).text, sizeof(n->id));
	hex_encode(lease->bytes, sizeof(lease->bytes), n->lease);
}

static int read_cancel(const struct rpc_envelope *e, msgpack_zone *zone, struct raincheck_notification *ret)
{
	struct msg_job_cancel_notice m;

	if (message_decode(&MSG_job_cancel_notice, e->params, zone, &m, NULL) < 0)
		return ERR_PROTOCOL;
	set_attempt(ret, &m.id, &m.lease);
	return 0;
}

/* NULL without memory. */
static const char *text(msgpack_zone *zone, struct slice s)
{
	char *copy = msgpack_zone_malloc(zone, s.size + 1);

	if (copy)
		snprintf(copy, s.size + 1, "%.*s", SLICE_FMT(s));
	return copy;
}

static int set_headers(struct raincheck_notification *n, const struct msg_job_wake *m, msgpack_zone *zone)
{
	struct raincheck_pair *pairs = msgpack_zone_malloc(zone, m->headers_count * sizeof(*pairs) + 1);

	if (!pairs)
		return ERR_NO_MEMORY;
	for (size_t i = 0; i < m->headers_count; i++) {
		pairs[i].key = text(zone, m->headers[i].key);
		pairs[i].value = text(zone, m->headers[i].value);
		if (!pairs[i].key || !pairs[i].value)
			return ERR_NO_MEMORY;
	}
	n->headers = pairs;
	n->header_count = m->headers_count;
	return 0;
}

static int read_wake(const struct rpc_envelope *e, msgpack_zone *zone, struct raincheck_notification *ret)
{
	struct msg_job_wake m;

	if (message_decode(&MSG_job_wake, e->params, zone, &m, NULL) < 0)
		return ERR_PROTOCOL;
	set_attempt(ret, &m.id, &m.lease);
	ret->hook = m.hook;
	ret->attempt = m.attempt;
	ret->received_at_ms = m.received_at_ms;
	if (m.has_content_type)
		ret->content_type = text(zone, m.content_type);
	ret->data = (struct raincheck_bytes){ m.data.data, m.data.size };
	return set_headers(ret, &m, zone);
}

static int read_warm(const struct rpc_envelope *e, msgpack_zone *zone, struct raincheck_notification *ret)
{
	struct msg_warm_notice m;
	const char **queues;

	if (message_decode(&MSG_warm_notice, e->params, zone, &m, NULL) < 0)
		return ERR_PROTOCOL;
	queues = msgpack_zone_malloc(zone, m.queues_count * sizeof(*queues));
	ret->limit = text(zone, m.limit);
	if (!queues || !ret->limit)
		return ERR_NO_MEMORY;
	for (size_t i = 0; i < m.queues_count; i++) {
		queues[i] = text(zone, m.queues[i]);
		if (!queues[i])
			return ERR_NO_MEMORY;
	}
	ret->queues = queues;
	ret->queue_count = m.queues_count;
	ret->concurrency = m.concurrency;
	ret->at_ms = m.at_ms;
	return 0;
}

int notice_read(const struct rpc_envelope *e, msgpack_zone *zone, struct raincheck_notification *ret)
{
	if (!which_notice(e->method, &ret->notice))
		return ERR_PROTOCOL;
	switch (ret->notice) {
	case RAINCHECK_NOTICE_JOB_CANCEL:
		return read_cancel(e, zone, ret);
	case RAINCHECK_NOTICE_JOB_WAKE:
		return read_wake(e, zone, ret);
	case RAINCHECK_NOTICE_WORKER_WARM:
		return read_warm(e, zone, ret);
	default:
		return 0;
	}
}
