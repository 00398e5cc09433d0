/* status.h: /r/{token}/status: where the job stands, as JSON. On the library's threads. */
#ifndef RAINCHECK_HTTP_STATUS_H
#define RAINCHECK_HTTP_STATUS_H

#include <microhttpd.h>

#define STATUS_MAX_BYTES 16384 /* of the JSON */

struct posting;
struct request;
struct visit;

/* "?wait=N" holds the answer until something changes, N seconds at most and a minute at most. */
enum MHD_Result status_serve(const struct request *request);
/* Renders it, for the board. ERR_NO_MEMORY. */
int status_post(const struct request *request, const struct visit *v, struct posting *p);

#endif
