/* dispatch.h: from a frame to the handler of its method: envelope, hello, role, parameters, then the one table.
 * Loop's thread only. */
#ifndef RAINCHECK_NET_DISPATCH_H
#define RAINCHECK_NET_DISPATCH_H

struct error_info;
struct request;

/* A method: its parameters are decoded into req->params. Answers, now or later, and returns 0; or returns the error
 * that dispatch() is to answer with, and has info filled. */
typedef int (*handler)(struct request *req, struct error_info *info);

/* Takes the request, whose frame is whole and vetted. */
void dispatch(struct request *req);

#endif
