/* skim.h: finds the end of one MessagePack message in a stream and vets it before anything is unpacked.
 *
 * A header may declare more than its sender will ever send: five bytes can claim two billion elements, and an unpacker
 * that believes them reserves the memory. The skimmer walks the bytes themselves, allocates nothing, remembers where it
 * stopped (a message that trickles in costs its length once), and refuses at the first byte that breaks a limit. Only
 * what it found complete may be handed to the unpacker, whose memory is then bounded by max_elements.
 * Any thread; one skim belongs to one stream.
 */
#ifndef RAINCHECK_SKIM_H
#define RAINCHECK_SKIM_H

#include <stddef.h>
#include <stdint.h>

#define SKIM_MAX_DEPTH 30 /* the unpacker's own stack holds 32 */

struct skim_limits {
	size_t max_bytes;      /* of a whole message */
	uint32_t max_depth;    /* arrays and maps inside each other; at most SKIM_MAX_DEPTH */
	uint32_t max_elements; /* of all arrays and maps together; a map's entry counts twice */
};

struct skim {
	struct skim_limits limits;
	size_t at;		       /* bytes walked of the message that is under way */
	uint64_t elements;	       /* declared so far */
	uint32_t depth;		       /* containers open */
	uint64_t left[SKIM_MAX_DEPTH]; /* elements still to come in each */
};

void skim_init(struct skim *s, const struct skim_limits *limits);

/* Looks at the size bytes at data, which begin where the message begins and, from call to call, only grow. Sets
 * *ret_size to the length of the message once it is whole, else to 0. After a whole message the next call starts anew.
 * ERR_PROTOCOL: it is not MessagePack, or not an array of three or four as every RPC message is. ERR_TOO_LARGE: it
 * breaks a limit. After an error the stream cannot be read further. */
int skim_feed(struct skim *s, const uint8_t *data, size_t size, size_t *ret_size);

#endif
