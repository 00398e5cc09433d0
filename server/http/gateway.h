/* gateway.h: the HTTP front: return-later links, the API for producers, metrics and the health of the broker.
 *
 * Runs on threads of its own: one accepts (door.h), two serve, each its share of the connections; others watch over
 * who waits (guests.h, watch.h) and follows a stream (streams.h), and up to four, from the first large still on, write
 * and remove files (stills.h). Each request reads in a read transaction of its own
 * that ends before a byte is sent. The process must ignore SIGPIPE. From the main thread:
 */
#ifndef RAINCHECK_HTTP_GATEWAY_H
#define RAINCHECK_HTTP_GATEWAY_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/error.h"
#include "server/http/guard.h"
#include "server/http/metrics.h"
#include "server/http/page_texts.h"

struct blob_store;
struct gateway;
struct page_files;
struct settings;
struct store;
struct writer;

struct gateway_options {
	int connections;    /* at once */
	int files;	    /* of downloads, at once */
	int64_t head_ms;    /* for a request's head to be there, from the connection or the answer before; 0: 10,000 */
	int64_t body_bytes; /* of memory, for all bodies on their way in beyond a small one each; 0: 64 MiB */
	const struct settings *settings;
	struct page_settings page;
	const struct page_files *page_files; /* to which page points; NULL: none */
	struct store *store;
	struct blob_store *blobs;
	struct writer *writer;	  /* the one that gateway_listen() was given */
	struct guard_hosts hosts; /* under which the API and the metrics are open to others than this machine */
	struct rpc_source rpc;	  /* for metrics */
	const char *version;
	int64_t started_at_ms;
};

/* ERR_CONFIG, and what is wrong, for text that is no address. Nothing is looked up. */
int gateway_check_address(const char *address, struct error_info *info);
/* Binds an address ("HOST:PORT" or "[IPV6]:PORT"; port 0 picks one) and nothing more, so that links can name the port
 * before anything else starts; nobody is answered yet. insecure: also beyond loopback, unencrypted. ERR_CONFIG for an
 * address that cannot be read, that leads beyond loopback without insecure, or that cannot be listened on; ERR_CONFLICT
 * where another process has it; ERR_NO_MEMORY. info says which. */
int gateway_bind(const char *address, bool insecure, struct gateway **ret, struct error_info *info);
/* "127.0.0.1:7247", with the real port. Lives as long as the gateway. */
const char *gateway_address(const struct gateway *g);
/* Listens to the writer, which must not have been started and must end before the gateway does. */
void gateway_listen(struct gateway *g, struct writer *w);
/* ERR_CONFIG for what is no host name or address without a port. */
int gateway_check_host(const char *host);
/* Serves. What options points to must outlive the gateway. ERR_NO_MEMORY, ERR_IO. */
int gateway_start(struct gateway *g, const struct gateway_options *options, struct error_info *info);

/* Accepts no more connections; those there are go on, but whoever waits for something is answered or sent away. /readyz
 * says no from here on. */
void gateway_quiesce(struct gateway *g);
/* Ends the threads, whatever they are at but for answers to requests that were suspended, which are sent, and frees.
 * Not before writer_stop(): what the writer has must have come back. NULL is taken. */
void gateway_stop(struct gateway *g);

#endif
