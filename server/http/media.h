/* media.h: the bytes of artifacts: stills, videos, whatever a worker brought. */
#ifndef RAINCHECK_HTTP_MEDIA_H
#define RAINCHECK_HTTP_MEDIA_H

#include <microhttpd.h>

struct request;

/* Serves the artifact that request names: whole or in part, or only what its tag says. */
enum MHD_Result media_serve(const struct request *r);

#endif
