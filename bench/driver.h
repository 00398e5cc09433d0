/* driver.h: many connections to one peer, each with several requests under way at every moment, in one epoll loop.
 *
 * It shares the machine with the peer that is measured, so it does as little as it can: requests are copied from
 * templates, replies are scanned, not decoded. One thread. Errors end the program.
 */
#ifndef RAINCHECK_BENCH_DRIVER_H
#define RAINCHECK_BENCH_DRIVER_H

#include <stdint.h>

#include "bench/peer.h"

#define CONNECTIONS 32

struct driver;

/* Each of the 32 × 16 places begins with step first and goes on with after[] of what was answered. */
struct plan {
	enum step first;
	enum step after[STEPS];
	enum step counted; /* answers to this step are counted */
	int64_t count;	   /* ends after so many, or, where it is 0, by time: */
	int64_t warm_ns;   /* not counted at first, */
	int64_t take_ns;   /* then counted; each longer where not every place could finish once */
};

extern const struct plan plan_lifecycle;

struct figures {
	int64_t counted;
	int64_t took_ns;
	int64_t cpu_ns; /* that the driver itself was on a processor meanwhile */
};

/* Connects and says hello, to a port of 127.0.0.1. */
struct driver *driver_new(const struct peer *peer, int port);
void driver_free(struct driver *d);

/* Carries the plan out; afterwards nothing is under way. A plan may follow another. */
void driver_run(struct driver *d, const struct plan *plan, struct figures *ret);

/* A connected, blocking socket. */
int dial(int port);

#endif
