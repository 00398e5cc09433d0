/* peer.h: what the driver has to know of a peer: the bytes of each request, and where a reply ends.
 *
 * A request is written into room of REQUEST_MAX bytes. A reply is scanned only as far as the next request needs it; one
 * that says that something failed ends the program. Everything is one thread's.
 */
#ifndef RAINCHECK_BENCH_PEER_H
#define RAINCHECK_BENCH_PEER_H

#include <stddef.h>
#include <stdint.h>

#include "proto/base/slice.h"

#define DEPTH_MAX   16 /* requests of one connection under way */
#define REQUEST_MAX 1024

enum step { STEP_PUT, STEP_LEASE, STEP_COMPLETE, STEPS };

#define SLOT_OLDEST UINT32_MAX /* the peer answers in order */

struct reply {
	unsigned slot;	  /* whose request it answers */
	struct slice job; /* of a lease: what its completion has to name, in the scanned bytes; empty: there was none */
};

struct peer {
	const char *name;
	/* What a connection says first, and how many bytes of in answer it (0: not all are there). Both NULL: nothing.
	 */
	size_t (*greet)(uint8_t *out);
	size_t (*scan_greeting)(const uint8_t *in, size_t size);
	/* Writes a request; its size. job: of a completion. */
	size_t (*request)(uint8_t *out, enum step step, unsigned slot, struct slice job);
	/* The size of the reply at in, 0 where it is not all there. step: of the oldest request that is not answered.
	 */
	size_t (*scan)(const uint8_t *in, size_t size, enum step step, struct reply *ret);
};

extern const struct peer peer_raincheck;
extern const struct peer peer_raincheck_flow; /* limits, fairness and groups switched on */
extern const struct peer peer_redis;
extern const struct peer peer_beanstalkd;
extern const struct peer peer_postgres;

#endif
