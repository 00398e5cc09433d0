/* change.h: what cancel, retry and erase have in common, and where they differ. One thread. */
#ifndef RAINCHECK_CLI_CHANGE_H
#define RAINCHECK_CLI_CHANGE_H

#include "cli.h"
#include "client/raincheck.h"

struct verb {
	const char *done;    /* "canceled" */
	const char *warning; /* what else to know before saying yes; NULL: nothing */
	bool always_asks;    /* also for jobs that were named one by one */
	unsigned states;     /* bit i: what is in this state can be changed so */
	const char *refusal; /* why others cannot */
	int (*one)(struct raincheck *rc, const char *id, raincheck_cb cb, void *user);
	int (*many)(struct raincheck *rc, const struct raincheck_change *change, raincheck_cb cb, void *user);
};

/* The jobs of --filter or --all: asks, then goes through them in pieces. */
int change_many(struct cli *c, const struct verb *v);

/* The jobs named on the command line, or on standard input where that is "-": a line each, some hundred under way at a
 * time. */
int change_ids(struct cli *c, const struct verb *v);

#endif
