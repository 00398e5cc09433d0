/* router.h: finds out what a request wants and has it served. */
#ifndef RAINCHECK_HTTP_ROUTER_H
#define RAINCHECK_HTTP_ROUTER_H

#include <microhttpd.h>
#include <stdbool.h>

struct exchange;

/* Whether the route wants a body with this method; else nothing is read of one. */
bool router_takes_body(const struct exchange *x);
/* The head is there, and the body where the route wants one; again whenever the request was resumed. */
enum MHD_Result router_serve(struct exchange *x);

#endif
