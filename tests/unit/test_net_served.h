/* test_net_served.h: the net served on a port of loopback, and one peer that has said hello: for the tests of what a
 * peer sees of the methods. It defines both, so one test program includes it in one place. */
#ifndef RAINCHECK_TESTS_NET_SERVED_H
#define RAINCHECK_TESTS_NET_SERVED_H

#include "tests/unit/test_net_rig.h"

static struct net_rig rig;
static struct peer p;

/* Of each test; rig.settings and rig.options can be changed until serve(). */
static inline int setup(void **state)
{
	(void)state;
	rig_open(&rig);
	return 0;
}

static inline int teardown(void **state)
{
	(void)state;
	peer_close(&p);
	rig_stop(&rig);
	return 0;
}

static inline void serve(void)
{
	rig_serve(&rig, NULL);
	peer_open(&p, &rig);
}

/* The call of p was refused with this error, which names this field. */
#define assert_refused(call, error, at)                  \
	do {                                             \
		assert_int_equal(call, error);           \
		assert_string_equal(p.info.field, (at)); \
	} while (0)

/* All at once, and then their answers. */
static inline void put_many(const char *queue, size_t count)
{
	uint64_t first = p.last_id + 1;
	struct msg_job_put put = put_of(queue, "x", 1);

	for (size_t i = 0; i < count; i++)
		peer_request(&p, METHOD_job_put, &put);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(peer_answer(&p, first + i, METHOD_job_put, NULL), 0);
}

#endif
