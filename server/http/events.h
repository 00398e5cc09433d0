/* events.h: /r/{token}/events: where the job stands, as Server-Sent Events (WHATWG HTML, section 9.2). On the
 * library's threads; streams.h goes on from there.
 *
 * Each event is the JSON of /status with its tag as the id. The first comes at once, unless Last-Event-ID names it, the
 * others when something changes; a comment comes every 15 s. The stream ends after the final one, and whoever comes
 * back knowing that gets 204, at which a browser asks no more.
 */
#ifndef RAINCHECK_HTTP_EVENTS_H
#define RAINCHECK_HTTP_EVENTS_H

#include <microhttpd.h>

struct request;

enum MHD_Result events_serve(const struct request *r);

#endif
