/* health.h: /healthz and /readyz, for those who watch over the broker. */
#ifndef RAINCHECK_HTTP_HEALTH_H
#define RAINCHECK_HTTP_HEALTH_H

#include <microhttpd.h>

struct request;

/* 200 as long as there is somebody to say it. */
enum MHD_Result health_serve_alive(const struct request *r);
/* 200 when a put sent now would likely be taken: the store can be read, has room, and the broker is not stopping. */
enum MHD_Result health_serve_ready(const struct request *r);

#endif
