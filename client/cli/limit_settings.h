/* limit_settings.h: the settings of a limit, from "KEY=VALUE" into struct raincheck_limit_set. One thread. */
#ifndef RAINCHECK_CLI_LIMIT_SETTINGS_H
#define RAINCHECK_CLI_LIMIT_SETTINGS_H

#include <stdint.h>

#include "client/raincheck.h"
#include "settings.h"

/* Settings to be sent, under construction. Zeroed but for now_ms: none. */
struct limit_draft {
	struct raincheck_limit_set set;
	struct raincheck_limit_spell schedule[RAINCHECK_MAX_SCHEDULE]; /* what set's is */
	int64_t now_ms;						       /* what "now" and "+2h" count from */
};

/* As assign(), but every "schedule=" adds one entry. adaptive=off and breaker=off take back, too. */
int limit_settings_assign(struct limit_draft *d, const char *assignment, struct settings_error *error);

#endif
