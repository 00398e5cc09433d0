/* upstream_priv.h: what the files that make upstreams share. For upstream.c and upstream_submit.c only. */
#ifndef RAINCHECK_WORKER_CONFIG_UPSTREAM_PRIV_H
#define RAINCHECK_WORKER_CONFIG_UPSTREAM_PRIV_H

#include "worker/config/upstream.h"

struct check;
struct raw_submit;

/* Fills u->submit, whose mode is set; reads no other part of it. ERR_CONFIG with the issue filled, ERR_NO_MEMORY. */
int upstream__init_submit(struct check *c, const struct raw_submit *raw, struct upstream *u);
void upstream__submit_done(struct upstream_submit *s);

#endif
