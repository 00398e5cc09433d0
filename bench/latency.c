/* How long one write takes, beside the same write as one bare LMDB commit: blocks of both in turn, since the disk of a
 * shared machine has its moods, and each one's median. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/bare.h"
#include "bench/base.h"
#include "bench/commands.h"
#include "bench/link.h"
#include "proto/base/clock.h"

#define BLOCK	50    /* writes of one kind before it is the other's turn */
#define WARM	BLOCK /* of each kind, not counted */
#define WAIT_MS 60000

/* One write through the broker; how long it took. */
typedef int64_t timed_write(struct link *producer, struct link *worker);

static int64_t put_and_hear(struct link *producer, struct link *worker)
{
	uint8_t out[PUT_BYTES];
	size_t size = rc_put(out, 0);
	int64_t from = clock_mono_ns();

	(void)worker;
	link_call(producer, out, size);
	return clock_mono_ns() - from;
}

/* Returns once the broker has the worker's lease request waiting. */
static void wait_parked(struct link *producer)
{
	uint8_t out[PUT_BYTES];
	size_t size = rc_stats(out, 0);

	while (rc_number(rc_find(link_call(producer, out, size).result, "waiting_leases")) == 0)
		;
}

static int64_t put_and_hold(struct link *producer, struct link *worker)
{
	uint8_t out[PUT_BYTES];
	struct slice job;
	size_t size;
	int64_t from, took;

	link_send(worker, out, rc_lease(out, 0, WAIT_MS));
	wait_parked(producer);
	size = rc_put(out, 0);
	from = clock_mono_ns();
	link_send(producer, out, size);
	job = rc_first(rc_find(link_receive(worker).result, "jobs"));
	took = clock_mono_ns() - from;
	link_receive(producer);
	link_call(worker, out, rc_complete(out, 0, rc_find(job, "id"), rc_find(job, "lease")));
	return took;
}

static int64_t time_bare(struct bare *b, uint64_t number)
{
	int64_t from = clock_mono_ns();

	bare_put(b, number, 1);
	return clock_mono_ns() - from;
}

static void measure(char **args, timed_write *write)
{
	struct bare *b = bare_open(args[0]);
	int port = (int)to_count(args[1]);
	struct link *producer = link_open(port), *worker = link_open(port);
	size_t count = (size_t)to_count(args[2]);
	int64_t *broker = calloc(count, sizeof(*broker));
	int64_t *bare = calloc(count, sizeof(*bare));

	need(broker && bare, "out of memory");
	for (size_t i = 0; i < WARM; i++) {
		time_bare(b, i);
		write(producer, worker);
	}
	for (size_t from = 0; from < count; from += BLOCK) {
		size_t to = count - from < BLOCK ? count : from + BLOCK;

		for (size_t i = from; i < to; i++)
			bare[i] = time_bare(b, WARM + i);
		for (size_t i = from; i < to; i++)
			broker[i] = write(producer, worker);
	}
	printf("{\"bare_us\": %.1f, \"broker_us\": %.1f, \"writes\": %zu}\n", (double)median(bare, count) / 1e3,
	       (double)median(broker, count) / 1e3, count);
	free(broker);
	free(bare);
	link_close(producer);
	link_close(worker);
	bare_close(b);
}

void run_put_latency(char **args)
{
	measure(args, put_and_hear);
}

void run_hold_latency(char **args)
{
	measure(args, put_and_hold);
}
