/* connection.h: one socket to a broker over a libuv loop: name lookup, connect, framing, and reconnect with backoff.
 *
 * Knows bytes and whole messages, not what they mean: its owner writes the greeting when the socket is up, says when
 * it was accepted, and gets every message that passed the skimmer. Loop thread only. All of the owner's functions are
 * called from the loop, never from within connection_init(), connection_hurry() or connection_close().
 *
 *   WAITING ──pause over──▶ RESOLVING ──▶ CONNECTING ──▶ GREETING ──accepted──▶ READY
 *      ▲                        │              │ next address │                  │
 *      └────────── failed ──────┴──────────────┴──────────────┴──── broken ──────┘        any ──close──▶ CLOSED
 */
#ifndef RAINCHECK_CLIENT_CONNECTION_H
#define RAINCHECK_CLIENT_CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "endpoint.h"
#include "proto/base/buf.h"
#include "proto/error.h"
#include "proto/skim.h"

#define CONNECTION_MAX_MESSAGE	(64u << 20) /* bytes of one incoming message */
#define CONNECTION_MAX_ELEMENTS (4u << 20)

enum connection_state {
	CONNECTION_WAITING,
	CONNECTION_RESOLVING,
	CONNECTION_CONNECTING,
	CONNECTION_GREETING,
	CONNECTION_READY,
	CONNECTION_CLOSED,
	CONNECTION_STATES
};

struct connection_ops {
	/* The socket is up: append the greeting to out. Negative: break off, for the reason in info. */
	int (*opened)(void *owner, struct buf *out, struct error_info *info);
	/* One whole message, valid until this returns. Negative: break off, for the reason in info. */
	int (*message)(void *owner, const uint8_t *data, size_t size, struct error_info *info);
	/* Before each poll while READY: append what waits to be sent to out. */
	void (*fill)(void *owner, struct buf *out);
	/* The connection broke or none could be made; the next attempt begins in retry_ms. */
	void (*down)(void *owner, const struct error_info *why, int64_t retry_ms);
	/* After connection_close(): the memory of the connection is the owner's again. */
	void (*closed)(void *owner);
};

struct connection_config {
	struct endpoint address;
	int64_t connect_timeout_ms;
	int64_t backoff_min_ms;
	int64_t backoff_max_ms;
	size_t max_out_bytes;
};

struct connection {
	enum connection_state state;
	struct connection_config config;
	const struct connection_ops *ops;
	void *owner;
	uv_loop_t *loop;
	uv_timer_t timer; /* the pause, or the limit of the attempt */
	uv_prepare_t prepare;
	unsigned open_handles;
	struct lookup *lookup;	    /* while RESOLVING */
	struct addrinfo *addresses; /* found by the lookup */
	struct addrinfo *next;	    /* to be tried after the present one */
	uv_poll_t *poll;	    /* of the socket; NULL without one */
	int fd;
	bool want_write;	  /* the poll waits for room in the socket's buffer */
	unsigned failures;	  /* attempts in a row */
	struct error_info reason; /* of the last failure */
	struct skim skim;
	struct buf in;
	struct buf out;
	size_t out_sent; /* bytes at the front of out that are gone already */
	uint64_t heard;	 /* bytes that ever came */
};

/* Begins the first attempt as soon as the loop runs. */
void connection_init(struct connection *c, uv_loop_t *loop, const struct connection_config *config,
		     const struct connection_ops *ops, void *owner);

/* The greeting was accepted: GREETING → READY. Not in another state. */
void connection_ready(struct connection *c);

/* Breaks off what there is and pauses before the next attempt; calls down(). Nothing in WAITING and CLOSED. */
void connection_break(struct connection *c, const struct error_info *why);

/* Ends a pause at once. Nothing in other states. */
void connection_hurry(struct connection *c);

/* Bytes in out that the socket has not taken yet. */
static inline size_t connection_unsent(const struct connection *c)
{
	return c->out.size - c->out_sent;
}

/* Drops everything; closed() follows from the loop. Nothing where it is CLOSED. */
void connection_close(struct connection *c);

#endif
