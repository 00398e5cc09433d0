/* put.h: what the files of the put command share. One thread. */
#ifndef RAINCHECK_CLI_PUT_H
#define RAINCHECK_CLI_PUT_H

#include "cli.h"
#include "settings.h"

/* -q and every --set into d: CLI_DONE, or CLI_USAGE and said so. */
int put_apply_flags(struct cli *c, struct draft *d);

/* One job that was put, as text or JSON; line: of a batch, 0 where there is none. */
void put_print(struct cli *c, const struct raincheck_put_result *r, long long line);

/* A job for each line of the file at path ("-": standard input). */
int put_batch(struct cli *c, const char *path);

/* The same job count times, in batches. */
int put_repeat(struct cli *c, const struct raincheck_put *put, long long count);

#endif
