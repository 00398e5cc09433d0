/* link.rotate and link.revoke: the link of a job is made anew, or ceases. */
#include <stdio.h>

#include "server/engine/engine_priv.h"
#include "server/engine/link.h"

/* The last generation has no successor: with the next number after it the first links would be good again. */
static int rotate(struct engine *e, struct command *cmd, const struct uuid *id, struct job *job)
{
	struct msg_link_result result = { .has_link = true };
	struct link_token token;
	char link[512];
	int rc;

	if (job->link_generation == UINT16_MAX)
		return refuse(cmd, ERR_INVALID_STATE, NULL, "the link was rotated too often");
	job->link_generation++;
	job->link_revoked = false;
	rc = job_save(e, id, job);
	if (rc < 0)
		return rc;
	token = link_sign(e->links, id, job->link_generation);
	snprintf(link, sizeof(link), "%s/r/%s", e->settings->public_url, token.text);
	result.link = slice_str(link);
	cmd->answer(cmd, &MSG_link_result, &result);
	return 0;
}

static int revoke(struct engine *e, struct command *cmd, const struct uuid *id, struct job *job)
{
	struct msg_empty nothing = { 0 };
	int rc;

	job->link_revoked = true;
	rc = job_save(e, id, job);
	if (rc == 0)
		cmd->answer(cmd, &MSG_empty, &nothing);
	return rc;
}

int command_link(struct engine *e, struct command *cmd)
{
	const struct command_link *c = cmd->params;
	struct job_event event = { .id = c->id };
	struct job job;
	int rc = job_find(e, &c->id, &job);

	if (rc < 0)
		return settle(cmd, rc);
	rc = c->revoke ? revoke(e, cmd, &c->id, &job) : rotate(e, cmd, &c->id, &job);
	/* Whoever follows the page by the old link has to look again. */
	return rc < 0 ? rc : event_add(e, &event);
}
