/* answer.h: what is left to do of an answer once the disk has what it says.
 *
 * The engine answers on the writer's thread, for which everybody waits. There it says only what the transaction alone
 * knows; what follows from that (a link's signature, a hook's URL, the range of time) is made here, and the message
 * encoded, by whoever made the command, on a thread of his own:
 *
 *   writer's thread: the engine calls answer, which keeps a copy (message_copy()); commit; release
 *   maker's thread:  answer_finish(), then encode what was kept
 *
 * What the engine leaves out: of a put's result link and eta_ms, told from put_rest; of a leased job hook_url.
 */
#ifndef RAINCHECK_ENGINE_ANSWER_H
#define RAINCHECK_ENGINE_ANSWER_H

#include "server/engine/command.h"
#include "server/engine/settings.h"

struct link_signer;
struct msgpack_zone;

/* result: what the command was answered with, kept; texts that it gets are taken from arena. links: of the settings'
 * secret. Any thread, after the command's release. ERR_NO_MEMORY: result is not to be told. */
int answer_finish(const struct command *cmd, void *result, const struct settings *settings, struct link_signer *links,
		  struct msgpack_zone *arena);

#endif
