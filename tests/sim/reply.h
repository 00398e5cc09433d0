/* reply.h: a command as the model is asked it, and what the engine answered. */
#ifndef RAINCHECK_SIM_REPLY_H
#define RAINCHECK_SIM_REPLY_H

#include <stdbool.h>

#include "proto/base/buf.h"
#include "proto/error.h"
#include "proto/messages.h"
#include "server/engine/command.h"

struct reply {
	int times;		       /* answer and refuse calls so far; more than one is a breach */
	uint64_t turn;		       /* counts the answers of all commands: when it was given. 0: not yet */
	const struct message *message; /* NULL: refused, or not answered yet */
	struct buf bytes;	       /* the answer, encoded */
	const void *result;	       /* the answer, decoded: message's struct; good until the batch ends */
	struct error_info info;	       /* code < 0: refused */
};

struct asked {
	struct command cmd; /* as it was before the engine saw it; its callbacks are not for the model */
	const struct reply *got;
};

#endif
