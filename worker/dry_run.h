/* dry_run.h: prints the request that a job would make, and makes none. Main thread. */
#ifndef RAINCHECK_WORKER_DRY_RUN_H
#define RAINCHECK_WORKER_DRY_RUN_H

#include <stdio.h>

struct worker_config;

/* path names a JSON file: {"queue", "payload", "metadata"?, "content_type"?, "id"?, "attempt"?, "hook_url"?}. payload
 * is any JSON; a string is taken as the bytes themselves where content_type is given and not JSON. Secrets are masked.
 * What is wrong is said on standard error: ERR_BAD_REQUEST, ERR_IO, ERR_NO_MEMORY. */
int dry_run(const struct worker_config *config, const char *path, FILE *out);

#endif
