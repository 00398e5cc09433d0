/* The HTTP server: the listening socket, libmicrohttpd, and the requests while their bodies come in.
 *
 * Two libmicrohttpd threads (epoll) serve all connections; whoever waits (a sync call, a call told to hang) is
 * suspended in the park and costs no thread, so thousands of calls may be in flight. */
#ifndef RENDER_API_SERVER_H
#define RENDER_API_SERVER_H

#include "api.h"
#include "util.h"

struct server;

/* Binds "ADDR:PORT" or "[ADDR6]:PORT" and listens; port 0 takes a free one. ret_address is what it became, in the same
 * form. A negative errno, with a text. */
int server_listen(const char *address, int *ret_fd, char ret_address[64], struct fault *f);

/* Serves on the socket, which it takes over. api lives until server_stop() has returned. A negative errno. */
int server_start(int fd, struct api *api, struct server **ret_server);

/* After park_stop(). Closes all connections, waits for the threads, frees. */
void server_stop(struct server *s);

#endif
