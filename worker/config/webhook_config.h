/* webhook_config.h: the file's key webhooks. Main thread, at the start and at a reload. */
#ifndef RAINCHECK_WORKER_CONFIG_WEBHOOK_CONFIG_H
#define RAINCHECK_WORKER_CONFIG_WEBHOOK_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/config/signature.h"

struct check;
struct raw_webhooks;
struct upstream;

#define WEBHOOK_QUEUE "_webhooks"

/* What the file says of them. */
struct webhooks {
	bool allow_private; /* deliver to addresses that are not public, too */
	int64_t timeout_ms; /* of one attempt */
	struct signature_key *keys;
	size_t key_count;
};

/* Fills *w, and *u with what carries deliveries out, which points to w and is to be freed with upstream_done(), on
 * failure too. *ret_serve: whether this worker delivers. As the functions of check.h. */
int webhook_config_init(struct check *c, const struct raw_webhooks *raw, struct webhooks *w, struct upstream *u,
			bool *ret_serve);
void webhook_config_done(struct webhooks *w);

#endif
