/* request.h: one request of a peer, from its frame to its reply: the memory it needs, its way to the writer or the
 * pool and back.
 *
 * A request owns its frame's bytes and an arena for all that is decoded from them, because a command's parameters must
 * live until the writer releases it. It is answered exactly once, whatever happens to its session meanwhile, and goes
 * back to a pool with its buffers, so that a busy connection allocates nothing.
 *
 *   request_new ─▶ dispatch ─▶ request_answer ──────────────────────────────▶ session sends ─▶ request_free
 *                     ├──▶ request_submit ─▶ writer: keep ─▶ loop: encode, settle ─▲
 *                     ├──▶ request_work ─▶ pool: run ─▶ loop: after ───────────────┤
 *                     └──▶ upkeep.h: a thread of its own ──────────────────────────┘
 */
#ifndef RAINCHECK_NET_REQUEST_H
#define RAINCHECK_NET_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "proto/base/buf.h"
#include "proto/error.h"
#include "proto/messages.h"
#include "server/engine/command.h"
#include "server/net/mailbox.h"

struct msgpack_zone;
struct net;
struct request;
struct session;
struct stage;
struct upload;

typedef void (*request_cb)(struct request *req);

struct request {
	struct request *next; /* of the pool, of a session's ready replies or of an upload's queue */
	struct net *net;
	struct session *session;
	uint64_t id; /* the peer's */
	const struct method *method;
	void *params; /* the method's message */
	struct buf frame;
	struct buf reply;
	size_t charge; /* what it counts for against the session's limit of bytes */
	size_t sent;   /* bytes of the reply that are out */
	struct msgpack_zone *arena;

	struct command command;
	/* What the command was answered with, or refused for, kept for the loop to encode. At most one is there. */
	const struct message *message;
	void *result;
	struct error_info *refusal;
	struct mail back; /* from the writer */
	int released;	  /* the writer's verdict; before that, what the pool found. Negative: it came to nothing */
	/* Called on the loop after the writer's release and before the reply goes out. May be NULL. */
	request_cb settle;

	uv_work_t work;
	request_cb run;
	request_cb after;

	struct stage *stage;   /* see stage.h */
	struct upload *upload; /* see uploads.h */
};

/* Requests at rest, at most POOL_MAX. */
struct request_pool {
	struct request *first;
	size_t count;
};

void request_pool_done(struct request_pool *pool);

/* For a frame of the session, which is copied; a size of 0 is for what the broker says by itself. ERR_NO_MEMORY. */
int request_new(struct session *s, const void *frame, size_t size, struct request **ret);
/* Ends it, answered or not. Loop's thread. NULL is taken. */
void request_free(struct request *req);

/* Counts the request for size more bytes: of a reply that is likely to come. Loop's thread. */
void request_charge(struct request *req, size_t size);

/* Zeroed memory that lives as long as the request; NULL when there is none. Not while another thread has the request.
 */
void *request_alloc(struct request *req, size_t size);

/* Write the reply, replacing what was written before. A result that does not fit a message becomes an error; an empty
 * reply is left when there is no memory even for that. The thread that has the request. */
void request_encode(struct request *req, const struct message *m, const void *result);
/* The same for a caller that can do with less: on ERR_TOO_LARGE or ERR_NO_MEMORY the reply is left empty. */
int request_try_encode(struct request *req, const struct message *m, const void *result);
void request_encode_error(struct request *req, const struct error_info *info);
/* The same for one that the caller has logged. */
void request_encode_logged(struct request *req, const struct error_info *info);
/* The same from a code alone, with its general text. */
void request_encode_code(struct request *req, int code);

/* The reply is written: hands the request to its session for sending. Loop's thread. */
void request_done(struct request *req);
/* Encodes and is done. Loop's thread. */
void request_answer(struct request *req, const struct message *m, const void *result);
void request_refuse(struct request *req, const struct error_info *info);

/* Sends the command to the writer; its answer, or the error that its release tells, becomes the reply. The writer's
 * thread has the request until it is back, its arena with it. params must live as long as the request. Loop's thread.
 */
void request_submit(struct request *req, enum command_kind kind, const void *params);

/* Runs run on a thread of the pool, then after on the loop's. Loop's thread. */
void request_work(struct request *req, request_cb run, request_cb after);

#endif
