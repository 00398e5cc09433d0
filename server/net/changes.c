/* One job is named by its id; many by a filter, which is for admins alone, because it reaches jobs of others. What a
 * filter must not leave to chance is refused here: one that names nothing, and a state that the change can never be
 * for.
 */
#include "server/net/changes.h"

#include "server/engine/cursor.h"
#include "server/engine/settings.h"
#include "server/net/dispatch.h"
#include "server/net/net_priv.h"
#include "server/net/prescale.h"
#include "server/net/session.h"

#define BIT(state) (1u << (state))

static int no_memory(struct error_info *info)
{
	return error_set(info, ERR_NO_MEMORY, NULL, "%s", error_text(ERR_NO_MEMORY));
}

/* ---- jobs ---- */

/* By enum change_action; a purge is none of those that have a filter of their own. */
static const struct {
	const char *done;
	unsigned states; /* that it can be for */
} actions[] = {
	[CHANGE_CANCEL] = { "canceled", BIT(JOB_SCHEDULED) | BIT(JOB_READY) | BIT(JOB_RUNNING) },
	[CHANGE_RETRY] = { "retried", BIT(JOB_DEAD) },
	[CHANGE_ERASE] = { "erased", BIT(JOB_STATES) - 1 },
	[CHANGE_REDELIVER] = { "told of", BIT(JOB_SUCCEEDED) | BIT(JOB_DEAD) | BIT(JOB_CANCELED) | BIT(JOB_EXPIRED) },
};

/* One job or many, and nothing that belongs to the other. */
static int check_target(const struct msg_job_change *c, struct error_info *info)
{
	if (c->has_id && c->has_filter)
		return error_set(info, ERR_BAD_REQUEST, "filter", "contradicts id: give one of them");
	if (!c->has_id && !c->has_filter)
		return error_set(info, ERR_BAD_REQUEST, "id", "is missing: give it or a filter");
	if (c->has_id && c->has_limit)
		return error_set(info, ERR_BAD_REQUEST, "limit", "belongs to a filter, not to an id");
	if (c->has_id && c->has_cursor)
		return error_set(info, ERR_BAD_REQUEST, "cursor", "belongs to a filter, not to an id");
	return 0;
}

static int check_filter(const struct msg_job_filter *f, enum change_action action, struct error_info *info)
{
	bool names = f->has_queue || f->has_state || f->has_group || f->has_before_at_ms;

	if (!names && !(f->has_all && f->all))
		return error_set(info, ERR_BAD_REQUEST, "filter",
				 "names nothing: for every job there is, say all: true");
	if (f->has_state && !(actions[action].states & BIT(f->state)))
		return error_set(info, ERR_BAD_REQUEST, "filter.state", "a job that is %s cannot be %s",
				 job_state_names[f->state], actions[action].done);
	return 0;
}

/* Fills the command from a filter, and from a cursor where there is one. */
static int ready_filter(struct request *req, const struct msg_job_change *params, struct command_change *cmd,
			struct error_info *info)
{
	int rc;

	if (req->session->role != ROLE_ADMIN)
		return error_set(info, ERR_DENIED, "filter", "is not for the role %s: name one job by its id",
				 role_names[req->session->role]);
	rc = check_filter(&params->filter, cmd->action, info);
	if (rc < 0)
		return rc;
	cmd->filter = params->filter;
	cmd->limit = params->has_limit ? params->limit : 0;
	cmd->has_after = params->has_cursor;
	if (!params->has_cursor)
		return 0;
	return cursor_read(req->net->options.settings->link_secret, req->method->name, &cmd->filter, params->cursor,
			   &cmd->after, info);
}

static void submit_change(struct request *req, struct command_change *cmd)
{
	/* The engine may go on with it for a while: it must learn when nobody waits for the answer any more. */
	if (!cmd->has_id)
		req->session->parked = true;
	request_submit(req, COMMAND_CHANGE, cmd);
}

static int change(struct request *req, enum change_action action, struct error_info *info)
{
	const struct msg_job_change *params = req->params;
	struct command_change *cmd = request_alloc(req, sizeof(*cmd));
	int rc;

	if (!cmd)
		return no_memory(info);
	*cmd = (struct command_change){ .action = action, .has_id = params->has_id, .id = params->id };
	rc = check_target(params, info);
	if (rc == 0 && params->has_filter)
		rc = ready_filter(req, params, cmd, info);
	if (rc < 0)
		return rc;
	submit_change(req, cmd);
	return 0;
}

int changes_cancel(struct request *req, struct error_info *info)
{
	return change(req, CHANGE_CANCEL, info);
}

int changes_retry(struct request *req, struct error_info *info)
{
	return change(req, CHANGE_RETRY, info);
}

int changes_erase(struct request *req, struct error_info *info)
{
	return change(req, CHANGE_ERASE, info);
}

int changes_redeliver(struct request *req, struct error_info *info)
{
	return change(req, CHANGE_REDELIVER, info);
}

/* ---- links ---- */

static int change_link(struct request *req, bool revoke, struct error_info *info)
{
	const struct msg_job_id *params = req->params;
	struct command_link *cmd = request_alloc(req, sizeof(*cmd));

	if (!cmd)
		return no_memory(info);
	*cmd = (struct command_link){ .id = params->id, .revoke = revoke };
	request_submit(req, COMMAND_LINK, cmd);
	return 0;
}

int changes_link_rotate(struct request *req, struct error_info *info)
{
	return change_link(req, false, info);
}

int changes_link_revoke(struct request *req, struct error_info *info)
{
	return change_link(req, true, info);
}

/* ---- queues ---- */

static int check_own(struct slice queue, struct error_info *info)
{
	if (((const char *)queue.data)[0] != '_')
		return 0;
	return error_set(info, ERR_BAD_REQUEST, "queue", "names that begin with _ are the server's own");
}

static void submit_queue(struct request *req, struct command_queue *cmd, enum queue_action action)
{
	cmd->action = action;
	/* Its jobs may count for another limit now, or be given out again. */
	req->settle = prescale_changed;
	request_submit(req, COMMAND_QUEUE, cmd);
}

int changes_queue_set(struct request *req, struct error_info *info)
{
	const struct msg_queue_set *params = req->params;
	struct command_queue *cmd = request_alloc(req, sizeof(*cmd));
	int rc = check_own(params->queue, info);

	if (rc < 0)
		return rc;
	if (!cmd)
		return no_memory(info);
	cmd->set = *params;
	submit_queue(req, cmd, QUEUE_SET);
	return 0;
}

static int change_queue(struct request *req, enum queue_action action, struct error_info *info)
{
	const struct msg_queue_name *params = req->params;
	struct command_queue *cmd = request_alloc(req, sizeof(*cmd));

	if (!cmd)
		return no_memory(info);
	cmd->set.has_queue = true;
	cmd->set.queue = params->queue;
	submit_queue(req, cmd, action);
	return 0;
}

int changes_queue_pause(struct request *req, struct error_info *info)
{
	const struct msg_queue_name *params = req->params;
	int rc = check_own(params->queue, info);

	return rc < 0 ? rc : change_queue(req, QUEUE_PAUSE, info);
}

/* One of the server's own, too: nobody may pause it, but the server does where it finds its record damaged. */
int changes_queue_resume(struct request *req, struct error_info *info)
{
	return change_queue(req, QUEUE_RESUME, info);
}

int changes_queue_purge(struct request *req, struct error_info *info)
{
	const struct msg_queue_name *params = req->params;
	struct command_change *cmd = request_alloc(req, sizeof(*cmd));
	int rc = check_own(params->queue, info);

	if (rc < 0)
		return rc;
	if (!cmd)
		return no_memory(info);
	*cmd = (struct command_change){ .action = CHANGE_PURGE,
					.filter = { .has_queue = true, .queue = params->queue } };
	submit_change(req, cmd);
	return 0;
}

/* ---- limits ---- */

int changes_limit_set(struct request *req, struct error_info *info)
{
	const struct msg_limit_set *params = req->params;
	struct command_limit *cmd = request_alloc(req, sizeof(*cmd));

	if (!cmd)
		return no_memory(info);
	*cmd = (struct command_limit){ .action = LIMIT_SET, .set = *params };
	req->settle = prescale_changed;
	request_submit(req, COMMAND_LIMIT, cmd);
	return 0;
}

int changes_limit_delete(struct request *req, struct error_info *info)
{
	const struct msg_limit_name *params = req->params;
	struct command_limit *cmd = request_alloc(req, sizeof(*cmd));

	if (!cmd)
		return no_memory(info);
	*cmd = (struct command_limit){ .action = LIMIT_DELETE, .set = { .has_limit = true, .limit = params->limit } };
	req->settle = prescale_changed;
	request_submit(req, COMMAND_LIMIT, cmd);
	return 0;
}
