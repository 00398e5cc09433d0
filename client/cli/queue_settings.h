/* queue_settings.h: the settings of a queue, from "KEY=VALUE" into struct raincheck_queue_set. One thread. */
#ifndef RAINCHECK_CLI_QUEUE_SETTINGS_H
#define RAINCHECK_CLI_QUEUE_SETTINGS_H

#include "client/raincheck.h"
#include "settings.h"

/* Settings to be sent, under construction; it owns what their weights point at. Zeroed: none. */
struct queue_draft {
	struct raincheck_queue_set set;
	struct raincheck_group_weight *weights;
	char *groups;
};

void queue_draft_done(struct queue_draft *d);

/* As assign(); d points into assignment afterwards. */
int queue_settings_assign(struct queue_draft *d, const char *assignment, struct settings_error *error);

#endif
