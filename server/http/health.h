/* health.h: /healthz and /readyz, for those who watch over the broker. */
#ifndef RAINCHECK_HTTP_HEALTH_H
#define RAINCHECK_HTTP_HEALTH_H

#include <microhttpd.h>
#include <stdbool.h>

struct request;
struct site;

/* 200 as long as there is somebody to say it. */
enum MHD_Result health_serve_alive(const struct request *r);
/* 200 when a put sent now would likely be taken: the store can be read, has room, the last commit did not fail, and the
 * broker is not stopping. Else 503, and a line that says which. The writer tries a commit by itself while they fail, so
 * it becomes 200 again also when nobody sends anything. */
enum MHD_Result health_serve_ready(const struct request *r);
/* Whether no put fits the store any more beside its reserve. The store's errors. */
int health_store_full(const struct site *site, bool *ret_full);

#endif
