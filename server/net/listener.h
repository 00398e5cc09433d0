/* listener.h: one address that connections come in on. Loop's thread only. */
#ifndef RAINCHECK_NET_LISTENER_H
#define RAINCHECK_NET_LISTENER_H

#include <stdbool.h>
#include <uv.h>

struct error_info;
struct listener;
struct net;

/* ERR_CONFIG for text that is no address; nothing is looked up. Any thread. */
int listener_check(const char *address, struct error_info *info);

/* Resolves, binds and listens. A Unix socket that nobody serves any more is replaced. Errors as net_new() tells. */
int listener_open(struct net *net, const char *address, struct listener **ret, struct error_info *info);

/* "HOST:PORT" with the real port, or "unix:PATH". */
const char *listener_address(const struct listener *l);

/* Stops listening and removes the Unix socket; the memory goes when the handles are closed. NULL is taken. */
void listener_close(struct listener *l);

#endif
