/* Lifecycles a second: through a peer, and as bare LMDB writes. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bare.h"
#include "bench/base.h"
#include "bench/commands.h"
#include "bench/driver.h"
#include "proto/base/clean.h"
#include "proto/base/clock.h"

#define WARM_NS 500000000
#define BATCH	1000

static const struct peer *find_peer(const char *name)
{
	static const struct peer *const peers[] = { &peer_raincheck, &peer_raincheck_flow, &peer_redis,
						    &peer_beanstalkd, &peer_postgres };

	for (size_t i = 0; i < ARRAY_SIZE(peers); i++)
		if (strcmp(peers[i]->name, name) == 0)
			return peers[i];
	die("there is no peer \"%s\"", name);
}

static void print(const char *name, const struct figures *f)
{
	printf("{\"name\": \"%s\", \"lifecycles\": %" PRId64 ", \"seconds\": %.3f, \"rate\": %.1f, "
	       "\"driver_cpu\": %.3f}\n",
	       name, f->counted, (double)f->took_ns / 1e9, (double)f->counted * 1e9 / (double)f->took_ns,
	       (double)f->cpu_ns / (double)f->took_ns);
}

void run_lifecycle(char **args)
{
	const struct peer *peer = find_peer(args[0]);
	struct plan plan = plan_lifecycle;
	struct figures figures;
	struct driver *d;

	plan.warm_ns = WARM_NS;
	plan.take_ns = to_duration_ns(args[2]);
	d = driver_new(peer, (int)to_count(args[1]));
	driver_run(d, &plan, &figures);
	driver_free(d);
	print(peer->name, &figures);
}

/* Whole batches for so long; how many jobs. */
static int64_t bare_until(struct bare *b, int64_t until_ns, uint64_t *number)
{
	uint64_t from = *number;

	for (; clock_mono_ns() < until_ns; *number += BATCH) {
		bare_put(b, *number, BATCH);
		bare_lease(b, *number, BATCH);
		bare_complete(b, *number, BATCH);
	}
	return (int64_t)(*number - from);
}

void run_bare(char **args)
{
	struct bare *b = bare_open(args[0]);
	struct figures figures = { 0 };
	uint64_t number = 0;
	int64_t from;

	bare_until(b, clock_mono_ns() + WARM_NS, &number);
	from = clock_mono_ns();
	figures.counted = bare_until(b, from + to_duration_ns(args[1]), &number);
	figures.took_ns = clock_mono_ns() - from;
	bare_close(b);
	print("bare", &figures);
}
