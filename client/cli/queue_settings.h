/* queue_settings.h: the settings of a queue, from "KEY=VALUE" into struct raincheck_queue_set. One thread. */
#ifndef RAINCHECK_CLI_QUEUE_SETTINGS_H
#define RAINCHECK_CLI_QUEUE_SETTINGS_H

#include "client/raincheck.h"
#include "settings.h"

/* "KEY=default" takes the setting back; of several for one key the last holds. set points into assignment afterwards.
 * 0, or RAINCHECK_EBAD_REQUEST with the reason in error. */
int queue_settings_assign(struct raincheck_queue_set *set, const char *assignment, struct settings_error *error);

#endif
