#include "server/net/dispatch.h"

#include "proto/base/clock.h"
#include "proto/base/text.h"
#include "proto/rpc.h"
#include "server/net/changes.h"
#include "server/net/commands.h"
#include "server/net/net_priv.h"
#include "server/net/prescale.h"
#include "server/net/reads.h"
#include "server/net/registry.h"
#include "server/net/session.h"
#include "server/net/upkeep.h"
#include "server/net/uploads.h"
#include "server/net/waits.h"

#define PROTOCOL_VERSION 1

/* ---- the session's own methods ---- */

/* Who may be who: while no tokens are configured, everybody who can reach the socket is the operator. */
static int decide_role(const struct msg_hello *hello, enum role *ret, struct error_info *info)
{
	(void)hello;
	(void)info;
	*ret = ROLE_ADMIN;
	return 0;
}

static struct msg_limits tell_limits(const struct net_limits *l)
{
	return (struct msg_limits){
		.has_message = true,
		.message = (int64_t)l->message,
		.has_payload = true,
		.payload = l->payload,
		.has_depth = true,
		.depth = l->depth,
		.has_elements = true,
		.elements = l->elements,
		.has_batch = true,
		.batch = MAX_BATCH,
		.has_in_flight = true,
		.in_flight = l->in_flight,
		.has_unsent = true,
		.unsent = (int64_t)l->unsent,
	};
}

static int handle_hello(struct request *req, struct error_info *info)
{
	const struct msg_hello *hello = req->params;
	const struct net_options *o = &req->net->options;
	struct msg_hello_result result = {
		.has_server = true,
		.server = slice_str("raincheckd"),
		.has_version = true,
		.version = slice_str(o->version),
		.has_protocol = true,
		.protocol = PROTOCOL_VERSION,
		.has_role = true,
		.has_limits = true,
		.limits = tell_limits(&o->limits),
		.has_now_ms = true,
		.now_ms = clock_wall_ms(),
	};
	struct session *s = req->session;
	enum role role;
	int rc;

	if (s->greeted)
		return error_set(info, ERR_BAD_REQUEST, NULL, "session.hello was said already");
	rc = decide_role(hello, &role, info);
	if (rc < 0)
		return rc;
	if (hello->has_worker && registry_add(req->net->registry, s, hello) < 0)
		return error_set(info, ERR_NO_MEMORY, NULL, "%s", error_text(ERR_NO_MEMORY));
	session_greet(s, role, hello->has_subscribe && hello->subscribe);
	result.role = (int)role;
	/* What it is told comes after the answer, with which the request is over. */
	session_hold(s);
	request_answer(req, &MSG_hello_result, &result);
	if (s->worker && s->subscribed)
		prescale_greet(s->net->prescale, s);
	session_drop(s);
	return 0;
}

static int handle_ping(struct request *req, struct error_info *info)
{
	struct msg_ping_result result = { .has_now_ms = true, .now_ms = clock_wall_ms() };

	(void)info;
	request_answer(req, &MSG_ping_result, &result);
	return 0;
}

/* ---- the table ---- */

#define KIB 1024

/* The size of the reply that a request is charged for until it is known. A guess: what bounds a reply is the message
 * limit, and what bounds replies of that size is that they are counted as soon as they are written. */
static const struct {
	handler handle;
	size_t reply;
} table[METHODS] = {
	[METHOD_session_hello] = { handle_hello, KIB },
	[METHOD_session_ping] = { handle_ping, 0 },
	[METHOD_job_put] = { commands_put, KIB },
	[METHOD_job_put_many] = { commands_put_many, 16 * KIB },
	[METHOD_job_lease] = { commands_lease, 4 * KIB },
	[METHOD_job_lease_cancel] = { commands_lease_cancel, 0 },
	[METHOD_job_extend] = { commands_extend, KIB },
	[METHOD_job_checkpoint] = { commands_checkpoint, 0 },
	[METHOD_job_complete] = { commands_complete, 0 },
	[METHOD_job_fail] = { commands_fail, 0 },
	[METHOD_job_release] = { commands_release, 0 },
	[METHOD_job_get] = { reads_get, 4 * KIB },
	[METHOD_job_wait] = { waits_wait, 4 * KIB },
	[METHOD_job_payload] = { reads_payload, 0 /* the handler knows */ },
	[METHOD_job_list] = { reads_list, 256 * KIB },
	[METHOD_job_cancel] = { changes_cancel, 0 },
	[METHOD_job_retry] = { changes_retry, 0 },
	[METHOD_job_redeliver] = { changes_redeliver, 0 },
	[METHOD_job_erase] = { changes_erase, 0 },
	[METHOD_link_rotate] = { changes_link_rotate, KIB },
	[METHOD_link_revoke] = { changes_link_revoke, 0 },
	[METHOD_artifact_put] = { commands_artifact_put, 0 },
	[METHOD_artifact_begin] = { uploads_begin, 0 },
	[METHOD_artifact_write] = { uploads_write, 0 },
	[METHOD_artifact_commit] = { uploads_commit, 0 },
	[METHOD_artifact_read] = { reads_artifact, 0 /* the handler knows */ },
	[METHOD_queue_list] = { reads_queues, 64 * KIB },
	[METHOD_queue_get] = { reads_queue, KIB },
	[METHOD_queue_set] = { changes_queue_set, KIB },
	[METHOD_queue_pause] = { changes_queue_pause, KIB },
	[METHOD_queue_resume] = { changes_queue_resume, KIB },
	[METHOD_queue_purge] = { changes_queue_purge, KIB },
	[METHOD_limit_list] = { reads_limits, 64 * KIB },
	[METHOD_limit_get] = { reads_limit, 4 * KIB },
	[METHOD_limit_set] = { changes_limit_set, 4 * KIB },
	[METHOD_limit_delete] = { changes_limit_delete, 0 },
	[METHOD_worker_list] = { registry_list, 64 * KIB },
	[METHOD_worker_quiet] = { registry_quiet, 0 },
	[METHOD_worker_stop] = { registry_stop, 0 },
	[METHOD_server_stats] = { reads_stats, KIB },
	[METHOD_server_backup] = { upkeep_backup, 4 * KIB },
	[METHOD_server_check] = { upkeep_check, 64 * KIB },
};

/* ---- the way there ---- */

/* A method's name as it may be shown in an error. */
static int unknown_method(struct slice name, struct error_info *info)
{
	if (name.size > 128)
		name.size = 128;
	if (!name_valid(name))
		return error_set(info, ERR_UNKNOWN_METHOD, NULL, "there is no such method");
	return error_set(info, ERR_UNKNOWN_METHOD, NULL, "there is no method %.*s", SLICE_FMT(name));
}

static int find_method(struct request *req, struct slice name, struct error_info *info)
{
	const struct session *s = req->session;

	req->method = method_find(name);
	if (!s->greeted && (!req->method || req->method->id != METHOD_session_hello))
		return error_set(info, ERR_BAD_REQUEST, NULL, "session.hello must come first");
	if (!req->method)
		return unknown_method(name, info);
	if (s->greeted && !(req->method->roles & ROLE_BIT(s->role)))
		return error_set(info, ERR_DENIED, NULL, "%s is not for the role %s", req->method->name,
				 role_names[s->role]);
	return 0;
}

static int handle(struct request *req, const struct rpc_envelope *envelope, struct error_info *info)
{
	const struct method *m;
	int rc;

	rc = find_method(req, envelope->method, info);
	if (rc < 0)
		return rc;
	m = req->method;
	req->params = request_alloc(req, message_size(m->params));
	if (!req->params)
		return error_set(info, ERR_NO_MEMORY, NULL, "%s", error_text(ERR_NO_MEMORY));
	rc = message_decode(m->params, envelope->params, req->arena, req->params, info);
	if (rc < 0)
		return rc;
	atomic_fetch_add_explicit(&req->net->counters.requests[m->id], 1, memory_order_relaxed);
	request_charge(req, table[m->id].reply);
	return table[m->id].handle(req, info);
}

static void broken(struct request *req, struct error_info *info)
{
	struct session *s = req->session;

	if (info->code == ERR_PROTOCOL)
		info->code = ERR_BAD_REQUEST;
	session_break(s, info, req->frame.data, req->frame.size);
	request_free(req);
}

void dispatch(struct request *req)
{
	struct rpc_envelope envelope;
	struct error_info info = { 0 };
	int rc;

	rc = rpc_unpack(req->frame.data, req->frame.size, req->arena, &envelope, &info);
	if (rc < 0 && rc != ERR_BAD_REQUEST) {
		broken(req, &info);
		return;
	}
	if (envelope.type == RPC_RESPONSE) {
		error_set(&info, ERR_BAD_REQUEST, NULL, "a response to nothing");
		broken(req, &info);
		return;
	}
	/* None is known that a peer could send; by the protocol nobody expects an answer. */
	if (envelope.type == RPC_NOTIFICATION) {
		request_free(req);
		return;
	}
	req->id = envelope.id;
	if (rc == 0)
		rc = handle(req, &envelope, &info);
	if (rc < 0)
		request_refuse(req, &info);
}
