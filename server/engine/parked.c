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

struct command *command_list_pop(struct command_list *l)
{
	struct command *cmd = l->head;

	assert(cmd);
	l->head = cmd->next;
	if (!l->head)
		l->tail = &l->head;
	l->count--;
	return cmd;
}

void command_list_remove(struct command_list *l, struct command *cmd)
{
	struct command *all = command_list_take(l);

	while (all) {
		struct command *next = all->next;

		if (all != cmd)
			command_list_push(l, all);
		all = next;
	}
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
	if (cmd->wait_until_ms < e->parked_until_ms)
		e->parked_until_ms = cmd->wait_until_ms;
	command_list_push(&e->parked, cmd);
	return 0;
}

static void answer_empty(struct command *cmd)
{
	struct msg_job_lease_result nothing = { .has_jobs = true };

	cmd->answer(cmd, &MSG_job_lease_result, &nothing);
}

void parked_gained(struct engine *e, struct queue *q)
{
	if (q->gained)
		return;
	q->gained = true;
	q->next_gained = e->gained;
	e->gained = q;
}

/* Whether it is worth asking the next one. */
static bool something_ready(const struct engine *e)
{
	if (e->serve_all)
		return true;
	for (const struct queue *q = e->gained; q; q = q->next_gained)
		if (q->record.counts[JOB_READY] > 0 && !q->record.paused)
			return true;
	return false;
}

/* Asks those who wait, in the order of their coming, for as long as there is something to give. */
static int serve(struct engine *e)
{
	struct command_list waiting = e->parked;
	int rc = 0;

	if (waiting.count == 0)
		return 0;
	command_list_init(&e->parked);
	while (rc == 0 && waiting.head && something_ready(e)) {
		struct command *cmd = command_list_pop(&waiting);
		size_t granted = 0;

		rc = command_lease(e, cmd, &granted);
		command_list_push(granted > 0 ? &e->answered : &e->parked, cmd);
	}
	while (waiting.head)
		command_list_push(&e->parked, command_list_pop(&waiting));
	return rc;
}

int parked_serve(struct engine *e)
{
	int rc = something_ready(e) ? serve(e) : 0;

	for (struct queue *q = e->gained; q; q = q->next_gained)
		q->gained = false;
	e->gained = NULL;
	e->serve_all = false;
	return rc;
}

int parked_expire(struct engine *e)
{
	struct command *cmd;

	if (e->parked_until_ms > e->now_ms)
		return 0;
	e->parked_until_ms = INT64_MAX;
	cmd = command_list_take(&e->parked);
	while (cmd) {
		struct command *next = cmd->next;
		bool over = cmd->wait_until_ms <= e->now_ms;

		if (over)
			answer_empty(cmd);
		else if (cmd->wait_until_ms < e->parked_until_ms)
			e->parked_until_ms = cmd->wait_until_ms;
		command_list_push(over ? &e->answered : &e->parked, cmd);
		cmd = next;
	}
	return 0;
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
	if (e->parked_until_ms != INT64_MAX)
		e->parked_until_ms += ms;
}

int64_t parked_next_ms(const struct engine *e)
{
	return e->parked_until_ms;
}
