/* net.h: the RPC front: listens, speaks MessagePack-RPC with every peer, hands writes to the writer and reads to the
 * thread pool.
 *
 * Everything here runs on the thread of the loop that net_new() was given, and may be called on it alone, but where it
 * says any thread. The process must ignore SIGPIPE. Nothing that a peer sends ends the process or takes more memory
 * than the limits allow.
 */
#ifndef RAINCHECK_NET_H
#define RAINCHECK_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "proto/error.h"
#include "proto/messages.h"

struct blob_store;
struct settings;
struct store;
struct writer;

/* What one peer may take. 0 stands for the default. */
struct net_limits {
	size_t message;	   /* bytes of one message, either way; 4 MiB */
	uint32_t depth;	   /* of arrays and maps inside each other; 16 */
	uint32_t elements; /* of all arrays and maps of a message; 65,536 */
	int64_t payload;   /* bytes of one job's payload; 1 MiB */
	int connections;   /* at once; 10,000 */
	int uploads;	   /* at once, each a file that is open; 10,000 */
	int in_flight;	   /* requests of one connection that are not answered; 1,024 */
	size_t unsent;	   /* bytes of one connection's requests and replies under way; 16 MiB */
	int64_t hello_ms;  /* from a connection to its session.hello; 10,000 */
	int64_t upload_ms; /* an upload that nobody writes to is dropped after so long; 600,000 */
};

struct net_options {
	const char *const *listen; /* "HOST:PORT", "[IPV6]:PORT" or "unix:PATH"; port 0 picks one */
	size_t listen_count;
	bool insecure; /* listen beyond loopback although nobody has to prove who they are */
	const struct settings *settings;
	struct store *store;
	struct blob_store *blobs;
	struct writer *writer;
	const char *version;
	int64_t started_at_ms;
	struct net_limits limits;
};

struct net_stats {
	int64_t connections;	   /* open now */
	int64_t accepted;	   /* ever */
	int64_t refused;	   /* for want of a free connection */
	int64_t requests[METHODS]; /* ever, by method */
	int64_t workers;	   /* connected now */
	int64_t slots;		   /* that these have */
	int64_t slots_free;	   /* of those without one in hand */
	int64_t in_hand;	   /* jobs that they have leased */
};

struct net;

/* Called on the loop's thread when all is closed; net_free() may be called in it. */
typedef void (*net_done_cb)(void *user);

/* ERR_CONFIG, and what is wrong, for text that is no address. Nothing is looked up; any thread. */
int net_check_address(const char *address, struct error_info *info);

/* Binds and listens; connections are served once the loop runs. Subscribes to the writer, so before writer_start().
 * What options points to must outlive the net, but for the list of addresses. ERR_CONFIG for an address that cannot be
 * read, that leads beyond loopback without insecure, or that cannot be listened on; ERR_CONFLICT where another process
 * has it; ERR_NO_MEMORY. info names the address. What was opened before a failure is closed when the loop next runs. */
int net_new(uv_loop_t *loop, const struct net_options *options, struct net **ret, struct error_info *info);

/* "127.0.0.1:7246", with the real port, or "unix:/run/…", of the i-th address; NULL past the last. Good until
 * net_stop(). */
const char *net_address(const struct net *net, size_t i);

/* Any thread, until net_free(). */
void net_stats(const struct net *net, struct net_stats *ret);

/* Stops listening; tells those who subscribed; reads no more requests; answers those in flight (parked leases and
 * waits with "shutting_down") and closes. done is called exactly once, never from within this call. The writer must
 * still run, or have refused everything. */
void net_stop(struct net *net, net_done_cb done, void *user);
/* After net_stop(), when the grace is over: closes what is still open without waiting for it to be sent. done is
 * called once the writer has given back what it still holds. */
void net_kill(struct net *net);

/* After done was called. NULL is taken. */
void net_free(struct net *net);

#endif
