/* session.hello: who this program is, and what the broker says of itself. */
#include <stdio.h>

#include "convert.h"
#include "handle_priv.h"
#include "proto/rpc.h"

#define PROTOCOL_VERSION 1

int greeting_say(void *owner, struct buf *out, struct error_info *info)
{
	struct raincheck *rc = owner;
	const struct settings *s = &rc->settings;
	struct slice *queues = NULL;
	struct msg_hello hello = {
		.has_client = true,
		.client = slice_str(s->client),
		.has_version = true,
		.version = slice_str(RAINCHECK_VERSION),
		.has_token = s->token != NULL,
		.token = slice_str(s->token),
		.has_worker = s->worker_name != NULL,
		.has_subscribe = true,
		.subscribe = s->on_notification != NULL,
	};
	int err;

	rc->accepted = false;
	rc->refused = false;
	rc->greet_again = false;
	if (hello.has_worker) {
		err = convert_names((const char *const *)s->worker_queues, s->worker_queue_count, rc->scratch, &queues);
		if (err < 0)
			return error_set(info, err, NULL, "%s", error_text(err));
		hello.worker = (struct msg_worker){
			.has_name = true,
			.name = slice_str(s->worker_name),
			.has_queues = true,
			.queues = queues,
			.queues_count = s->worker_queue_count,
			.has_slots = s->worker_slots > 0,
			.slots = s->worker_slots,
			.has_quiet = s->worker_quiet,
			.quiet = s->worker_quiet,
		};
	}
	rc->hello_id = ++rc->last_id;
	err = rpc_write_request(out, rc->hello_id, "session.hello", &MSG_hello, &hello);
	msgpack_zone_clear(rc->scratch);
	return err < 0 ? error_set(info, err, NULL, "%s", error_text(err)) : 0;
}

static void keep_server(struct raincheck *rc, const struct msg_hello_result *r)
{
	snprintf(rc->server_name, sizeof(rc->server_name), "%.*s", SLICE_FMT(r->server));
	snprintf(rc->server_version, sizeof(rc->server_version), "%.*s", SLICE_FMT(r->version));
	rc->server = (struct raincheck_server){
		.server = rc->server_name,
		.version = rc->server_version,
		.protocol = r->protocol,
		.role = (enum raincheck_role)r->role,
		.now_ms = r->now_ms,
		.max_message_bytes = r->limits.message,
		.max_payload_bytes = r->limits.payload,
		.max_depth = r->limits.depth,
		.max_elements = r->limits.elements,
		.max_batch = r->limits.batch,
		.max_in_flight = r->limits.in_flight,
		.max_unsent_bytes = r->limits.unsent,
	};
	rc->has_server = true;
}

static int greeting_refused(struct raincheck *rc, const struct rpc_envelope *e, struct error_info *info)
{
	rpc_read_error(e->error, rc->zone, info);
	/* These say that the broker is busy or ill; all others that it will not have us. */
	rc->refused = info->code != ERR_SHUTTING_DOWN && info->code != ERR_THROTTLED && info->code != ERR_INTERNAL &&
		      info->code != ERR_STORE_ERROR && info->code != ERR_STORE_FULL && info->code != ERR_PROTOCOL;
	return info->code;
}

int greeting_answered(struct raincheck *rc, const struct rpc_envelope *e, struct error_info *info)
{
	struct msg_hello_result result;

	if (e->error)
		return greeting_refused(rc, e, info);
	if (message_decode(&MSG_hello_result, e->result, rc->zone, &result, NULL) < 0)
		return error_set(info, ERR_PROTOCOL, NULL, "the broker's greeting makes no sense");
	if (result.protocol != PROTOCOL_VERSION) {
		rc->refused = true;
		return error_set(info, ERR_UNSUPPORTED_VERSION, NULL,
				 "the broker speaks version %lld of the protocol, this program version %d",
				 (long long)result.protocol, PROTOCOL_VERSION);
	}
	keep_server(rc, &result);
	rc->accepted = true;
	connection_ready(&rc->connection);
	if (rc->settings.on_connection)
		rc->settings.on_connection(rc, true, NULL, rc->settings.user);
	return 0;
}
