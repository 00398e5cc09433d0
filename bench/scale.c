/* Very many waiting jobs: putting them there, how fast more come and go, and the first lease after a restart. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/base.h"
#include "bench/commands.h"
#include "bench/driver.h"
#include "bench/link.h"
#include "proto/base/clock.h"

#define BATCH	   1000	 /* jobs in one job.put_many */
#define UNDER_WAY  4	 /* of those requests */
#define BURST	   10000 /* puts, then as many leases */
#define BURSTS_MAX 10000
#define PROGRESS   250000

/* ---- filling ---- */

static void show_progress(int64_t done, int64_t wanted)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r  %" PRId64 " of %" PRId64 " jobs%s", done, wanted, done == wanted ? "\n" : "");
}

static unsigned send_batch(struct link *l, uint8_t *out, int64_t left)
{
	unsigned count = left < BATCH ? (unsigned)left : BATCH;

	link_send(l, out, rc_put_many(out, 0, count));
	return count;
}

/* An item of a batch may have been refused alone. */
static void check_waiting(struct link *l, int64_t wanted)
{
	uint8_t out[PUT_BYTES];
	struct slice jobs = rc_find(link_call(l, out, rc_stats(out, 0)).result, "jobs");

	need((int64_t)rc_number(rc_find(jobs, "ready")) >= wanted, "the broker did not take all jobs");
}

void run_fill(char **args)
{
	struct link *l = link_open((int)to_count(args[0]));
	int64_t wanted = to_count(args[1]), sent = 0, done = 0, from = clock_mono_ns();
	uint8_t *out = calloc(BATCH + 1, PUT_BYTES);

	need(out, "out of memory");
	for (int i = 0; i < UNDER_WAY && sent < wanted; i++)
		sent += send_batch(l, out, wanted - sent);
	while (done < wanted) {
		done += (int64_t)rc_count(rc_find(link_receive(l).result, "jobs"));
		if (done % PROGRESS < BATCH || done == wanted)
			show_progress(done, wanted);
		if (sent < wanted)
			sent += send_batch(l, out, wanted - sent);
	}
	printf("{\"jobs\": %" PRId64 ", \"seconds\": %.3f}\n", done, (double)(clock_mono_ns() - from) / 1e9);
	check_waiting(l, wanted);
	free(out);
	link_close(l);
}

/* ---- coming and going ---- */

static int64_t burst(struct driver *d, enum step step)
{
	struct plan plan = { .first = step, .counted = step, .count = BURST };
	struct figures figures;

	for (int i = 0; i < STEPS; i++)
		plan.after[i] = step;
	driver_run(d, &plan, &figures);
	need(figures.counted == BURST, "a burst was cut short");
	return figures.took_ns;
}

/* Of one broker: how long each burst took. */
struct side {
	struct driver *driver;
	int64_t puts[BURSTS_MAX], leases[BURSTS_MAX];
};

static struct side *open_side(const char *port)
{
	struct side *s = calloc(1, sizeof(*s));

	need(s, "out of memory");
	s->driver = driver_new(&peer_raincheck, (int)to_count(port));
	burst(s->driver, STEP_PUT);
	burst(s->driver, STEP_LEASE);
	return s;
}

static void close_side(struct side *s, const char *name, size_t bursts)
{
	printf("\"%s\": {\"put_rate\": %.1f, \"lease_rate\": %.1f}", name,
	       BURST * 1e9 / (double)median(s->puts, bursts), BURST * 1e9 / (double)median(s->leases, bursts));
	driver_free(s->driver);
	free(s);
}

/* As many come as go, so that what waits stays what it was; and the two brokers take turns burst by burst, so that
 * whatever else the machine does meets both. */
void run_rates(char **args)
{
	struct side *few = open_side(args[0]), *many = open_side(args[1]);
	int64_t until = clock_mono_ns() + to_duration_ns(args[2]);
	size_t n = 0;

	do {
		few->puts[n] = burst(few->driver, STEP_PUT);
		many->puts[n] = burst(many->driver, STEP_PUT);
		few->leases[n] = burst(few->driver, STEP_LEASE);
		many->leases[n] = burst(many->driver, STEP_LEASE);
		n++;
	} while (clock_mono_ns() < until && n < BURSTS_MAX);
	printf("{\"bursts\": %zu, ", n);
	close_side(few, "few", n);
	printf(", ");
	close_side(many, "many", n);
	puts("}");
}

/* ---- after a restart ---- */

void run_first_lease(char **args)
{
	struct link *l = link_open((int)to_count(args[0]));
	uint8_t out[PUT_BYTES];

	rc_first(rc_find(link_call(l, out, rc_lease(out, 0, 0)).result, "jobs"));
	printf("{\"at_ns\": %" PRId64 "}\n", clock_mono_ns());
	link_close(l);
}
