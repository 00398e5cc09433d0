/* pool.h: keeps the slots full: leases jobs, prolongs their leases, lets them end, and ends itself in order.
 *
 *   WORKING ──drain──▶ DRAINING ──grace over, or stop──▶ RELEASING ──all told, or 5 s──▶ CLOSED
 *      └──once, and nothing left──▶ CLOSED     └──all ended──▶ CLOSED
 *
 * Loop's thread only.
 */
#ifndef RAINCHECK_WORKER_POOL_H
#define RAINCHECK_WORKER_POOL_H

#include <stdbool.h>
#include <stdint.h>

struct worker_config;
struct pool;
struct uv_loop_s;

struct pool_options {
	struct uv_loop_s *uv;
	const struct worker_config *config; /* outlives the pool */
	const char *server;		    /* NULL: the default */
	const char *name;
	int64_t slots;
	bool once;
	/* The pool is closed: nothing of it is left on the loop but handles that are closing. status is 0, or 1 where
	 * the broker would not have it. Once. */
	void (*closed_cb)(int status, void *user);
	void *user;
};

/* ERR_BAD_REQUEST for a server that is no address (said on the log); ERR_NO_MEMORY, ERR_IO, ERR_INTERNAL. */
int pool_new(const struct pool_options *options, struct pool **ret_pool);

/* Leases no more; what runs may end within the grace time. A second time: gives everything back at once. */
void pool_drain(struct pool *p);

/* After closed_cb and when the loop has run out. */
void pool_free(struct pool *p);

#endif
