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

/* What a reload may change. */
struct pool_work {
	struct worker_config *config; /* the pool and its calls have references of their own */
	const char *name;
	int64_t slots;
};

enum pool_status { POOL_DONE, POOL_REFUSED, POOL_NO_BROKER };

struct pool_options {
	struct uv_loop_s *uv;
	struct pool_work work;
	const char *server; /* NULL: the default */
	bool once;
	/* The pool is closed: nothing of it is left on the loop but handles that are closing. Once. status is
	 * POOL_DONE, or else it never worked: the broker refused it, or (with once) was not there. */
	void (*closed_cb)(enum pool_status status, void *user);
	void *user;
};

/* ERR_BAD_REQUEST for a server that is no address (said on the log); ERR_NO_MEMORY, ERR_IO, ERR_INTERNAL. */
int pool_new(const struct pool_options *options, struct pool **ret_pool);

/* Works by this from now on: new calls are made as the new file says, those that run end as theirs did. Where the
 * broker has to know of it (name, token, slots, queues), it is told with a connection of its own, in which no call is
 * lost. ERR_NO_MEMORY: all is as it was. */
int pool_reload(struct pool *p, const struct pool_work *work);

/* Leases no more; what runs may end within the grace time. A second time: gives everything back at once. A third: does
 * not wait for the broker to have taken it, either. */
void pool_drain(struct pool *p);

/* After closed_cb and when the loop has run out. */
void pool_free(struct pool *p);

#endif
