/* raincheck_bytes.h: the few Raincheck messages that the bench sends, and how to find one's way in the answers, without
 * a library: see proto/PROTOCOL.md. Any thread; no state. */
#ifndef RAINCHECK_BENCH_RAINCHECK_BYTES_H
#define RAINCHECK_BENCH_RAINCHECK_BYTES_H

#include <stdint.h>

#include "bench/base.h"
#include "proto/base/slice.h"

#define JOB_ID_BYTES 36
#define LEASE_BYTES  32
#define PUT_BYTES    (PAYLOAD_BYTES + 64) /* no put is larger */

/* Each writes one request and returns its size. id: 0 to 127, to be found in the response. */
size_t rc_hello(uint8_t *out, unsigned id);
size_t rc_put(uint8_t *out, unsigned id);
/* The same for one of ten groups. */
size_t rc_put_of_group(uint8_t *out, unsigned id, unsigned group);
/* count: up to 1,000 jobs; out has room for PUT_BYTES more than so many times PUT_BYTES. */
size_t rc_put_many(uint8_t *out, unsigned id, unsigned count);
/* Leases last a day. wait_ms: up to 60,000. */
size_t rc_lease(uint8_t *out, unsigned id, unsigned wait_ms);
size_t rc_complete(uint8_t *out, unsigned id, struct slice job, struct slice lease);
size_t rc_stats(uint8_t *out, unsigned id);

/* The response at in. */
struct rc_response {
	unsigned id;
	struct slice result; /* one map */
};

/* Its size, 0 where it is not all there. An error ends the program. */
size_t rc_scan(const uint8_t *in, size_t size, struct rc_response *ret);

/* The value of a key in a map, dies where it is not there: text or bytes as they are, anything else as it is encoded.
 */
struct slice rc_find(struct slice map, const char *key);
/* The first element of an array; dies where it has none. */
struct slice rc_first(struct slice array);
/* How many elements an array has, and what a whole number is. */
uint64_t rc_count(struct slice array);
uint64_t rc_number(struct slice value);

#endif
