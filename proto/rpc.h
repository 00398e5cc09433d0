/* rpc.h: the MessagePack-RPC envelopes: request, response, notification.
 *
 * Unpacking takes a message that the skimmer (skim.h) found whole and within its limits; nothing else may be handed in.
 * Any thread; no state.
 */
#ifndef RAINCHECK_RPC_H
#define RAINCHECK_RPC_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "error.h"
#include "messages.h"

enum rpc_type { RPC_REQUEST = 0, RPC_RESPONSE = 1, RPC_NOTIFICATION = 2 };

/* Points into the message's bytes and into the arena. */
struct rpc_envelope {
	enum rpc_type type;
	uint64_t id;			     /* of a request or response; echoed as it came */
	struct slice method;		     /* of a request or notification */
	const struct msgpack_object *params; /* of a request or notification: the one map, NULL where there is none */
	const struct msgpack_object *error;  /* of a response: NULL where it is nil */
	const struct msgpack_object *result; /* of a response */
};

/* ERR_PROTOCOL where the bytes are not an envelope (the stream is then not worth reading on); ERR_BAD_REQUEST where it
 * is one whose params are not an array of at most one map: ret is then filled enough for an answer; ERR_NO_MEMORY. */
int rpc_unpack(const void *data, size_t size, struct msgpack_zone *arena, struct rpc_envelope *ret,
	       struct error_info *info);

/* The id of the request whose first bytes are at data, for answering one that cannot be read further.
 * ERR_PROTOCOL where they are not those of a request. */
int rpc_peek_id(const void *data, size_t size, uint64_t *ret_id);

/* Each appends one whole message to out, or nothing at all and answers ERR_TOO_LARGE or ERR_NO_MEMORY.
 * params and result are the struct of the message that describes them. */
int rpc_write_request(struct buf *out, uint64_t id, const char *method, const struct message *m, const void *params);
int rpc_write_response(struct buf *out, uint64_t id, const struct message *m, const void *result);
int rpc_write_error(struct buf *out, uint64_t id, const struct error_info *info);
int rpc_write_notification(struct buf *out, const char *method, const struct message *m, const void *params);

/* Reads the error of a response into info; its code is what the wire name says. */
void rpc_read_error(const struct msgpack_object *error, struct msgpack_zone *arena, struct error_info *info);

#endif
