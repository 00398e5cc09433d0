/* Lease requests that wait for a job, in the order of their coming. They live as long as their session and their wait;
 * a restart forgets them, since the sessions are gone too.
 */
#include <assert.h>

#include "server/engine/engine_priv.h"

void command_list_init(struct command_list *l)
{
	l->head = NULL;
	l->tail = &l->head;
	l->count = 0;
}

void command_list_push(struct command_list *l, struct command *cmd)
{
	cmd->next = NULL;
	*l->tail = cmd;
	l->tail = &cmd->next;
	l->count++;
}

struct command *command_list_take(struct command_list *l)
{
	struct command *head = l->head;

	command_list_init(l);
	return head;
}

int parked_add(struct engine *e, struct command *cmd)
{
	const struct msg_job_lease *lease = cmd->params;

	cmd->wait_until_ms = e->now_ms + lease->wait_ms;
	command_list_push(&e->parked, cmd);
	return 0;
}

static void answer_empty(struct command *cmd)
{
	struct msg_job_lease_result nothing = { .has_jobs = true };

	cmd->answer(cmd, &MSG_job_lease_result, &nothing);
}

/* Goes through the parked ones; keep says what becomes of each. Those not kept go to the list of the answered. */
static int sift(struct engine *e, int (*keep)(struct engine *e, struct command *cmd, bool *ret_keep))
{
	struct command *cmd = command_list_take(&e->parked);
	int rc = 0;

	while (cmd) {
		struct command *next = cmd->next;
		bool stays = true;

		if (rc == 0)
			rc = keep(e, cmd, &stays);
		command_list_push(stays ? &e->parked : &e->answered, cmd);
		cmd = next;
	}
	return rc;
}

static int keep_ungranted(struct engine *e, struct command *cmd, bool *ret_keep)
{
	size_t granted = 0;
	int rc = command_lease(e, cmd, &granted);

	*ret_keep = granted == 0;
	return rc;
}

int parked_serve(struct engine *e)
{
	if (!e->more_ready || e->parked.count == 0)
		return 0;
	e->more_ready = false;
	return sift(e, keep_ungranted);
}

static int keep_waiting(struct engine *e, struct command *cmd, bool *ret_keep)
{
	*ret_keep = cmd->wait_until_ms > e->now_ms;
	if (!*ret_keep)
		answer_empty(cmd);
	return 0;
}

int parked_expire(struct engine *e)
{
	if (parked_next_ms(e) > e->now_ms)
		return 0;
	return sift(e, keep_waiting);
}

void parked_forget(struct engine *e, uint64_t session)
{
	struct command *cmd = command_list_take(&e->parked);

	while (cmd) {
		struct command *next = cmd->next;
		bool gone = cmd->session == session;

		if (gone)
			answer_empty(cmd);
		command_list_push(gone ? &e->answered : &e->parked, cmd);
		cmd = next;
	}
}

void parked_shift(struct engine *e, int64_t ms)
{
	for (struct command *cmd = e->parked.head; cmd; cmd = cmd->next)
		cmd->wait_until_ms += ms;
}

int64_t parked_next_ms(const struct engine *e)
{
	int64_t next = INT64_MAX;

	for (const struct command *cmd = e->parked.head; cmd; cmd = cmd->next)
		if (cmd->wait_until_ms < next)
			next = cmd->wait_until_ms;
	return next;
}
