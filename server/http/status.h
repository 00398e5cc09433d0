/* status.h: /r/{token}/status: where the job stands, as JSON. */
#ifndef RAINCHECK_HTTP_STATUS_H
#define RAINCHECK_HTTP_STATUS_H

#include <microhttpd.h>

struct request;

enum MHD_Result status_serve(const struct request *request);

#endif
