/* upstream_warm.h: the part of an upstream's file that says how its connections are opened ahead of a crowd: key warm.
 * Used by upstream while it starts; main thread. */
#ifndef RAINCHECK_WORKER_CONFIG_UPSTREAM_WARM_H
#define RAINCHECK_WORKER_CONFIG_UPSTREAM_WARM_H

struct check;
struct raw_upstream;
struct upstream;

/* Fills u->warm, after u->submit. ERR_CONFIG with the check's issue filled. */
int upstream_warm_init(struct check *c, const struct raw_upstream *raw, struct upstream *u);

#endif
