/* metrics.h: /metrics in the text format of Prometheus (version 0.0.4).
 *
 * Names begin with raincheck_, units are seconds and bytes. What there may be any number of is bounded: beyond
 * METRICS_NAMES queues or limits the rest is summed under the name "(other)", which none can have. Any thread.
 */
#ifndef RAINCHECK_HTTP_METRICS_H
#define RAINCHECK_HTTP_METRICS_H

#include <microhttpd.h>
#include <stdint.h>

#include "proto/messages.h"

#define METRICS_NAMES 100

struct buf;
struct request;
struct site;

/* What the other front has to tell. */
struct rpc_figures {
	int64_t connections, accepted, refused;
	int64_t requests[METHODS];
	int64_t workers, slots, slots_free, in_hand;
};

/* Where that comes from; read may be called on any thread. NULL: there is no such front. */
struct rpc_source {
	void (*read)(void *user, struct rpc_figures *ret);
	void *user;
};

enum MHD_Result metrics_serve(const struct request *r);

/* Appends the families of queues and limits. ERR_NO_MEMORY, the store's. */
int metrics_write_queues(const struct site *site, struct buf *out);

#endif
