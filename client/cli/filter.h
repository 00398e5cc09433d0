/* filter.h: which jobs: the words for states, and the --filter and --all of the commands that change many. One thread.
 */
#ifndef RAINCHECK_CLI_FILTER_H
#define RAINCHECK_CLI_FILTER_H

#include "cli.h"
#include "client/raincheck.h"

/* What was asked for; the filter points into the texts. */
struct picked {
	struct raincheck_filter filter;
	char queue[256], group[256];
};

/* CLI_DONE, or CLI_USAGE and said so, with the state that was probably meant. */
int filter_state(struct cli *c, const char *word, enum raincheck_job_state *ret);

/* Reads every --filter and --all that were given. CLI_DONE, or CLI_USAGE and said so; also where there is none. */
int filter_read(struct cli *c, struct picked *ret);

/* "queue q, state ready, put before 2024-06-07 12:30:00" */
void filter_print(FILE *out, const struct raincheck_filter *f);

#endif
