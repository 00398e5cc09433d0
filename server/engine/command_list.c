/* Lists of commands by their next member, in the order of their coming. */
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
