/* router.h: finds out what a request wants and has it served. */
#ifndef RAINCHECK_HTTP_ROUTER_H
#define RAINCHECK_HTTP_ROUTER_H

#include <microhttpd.h>

struct site;

/* For the first call of a request, when its headers are there and none of its body: no route wants one but that of
 * hooks (hooks.h), so nothing is read of it. path: not unescaped. */
enum MHD_Result router_serve(struct site *site, struct MHD_Connection *c, const char *method, const char *path);

#endif
