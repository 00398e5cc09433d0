/* link.h: one blocking connection to raincheckd, a request at a time or a few under way. One thread. Errors end the
 * program. */
#ifndef RAINCHECK_BENCH_LINK_H
#define RAINCHECK_BENCH_LINK_H

#include <stddef.h>
#include <stdint.h>

#include "bench/raincheck_bytes.h"

struct link;

/* Connects to a port of 127.0.0.1 and says hello. */
struct link *link_open(int port);
void link_close(struct link *l);

void link_send(struct link *l, const uint8_t *request, size_t size);
/* Waits for the next response; it is valid until the next call. */
struct rc_response link_receive(struct link *l);
/* Both. */
struct rc_response link_call(struct link *l, const uint8_t *request, size_t size);

#endif
