/* The bench driver: `driver COMMAND ARGUMENTS` measures one thing once and prints it as one line of JSON. What is
 * measured against what, in which order and how often, is bench/run's business. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/commands.h"
#include "proto/base/clean.h"

static const struct {
	const char *name;
	int arguments;
	void (*run)(char **args);
	const char *usage;
} commands[] = {
	{ "lifecycle", 3, run_lifecycle, "PEER PORT SECONDS      put, lease, complete; 32 connections, 16 deep" },
	{ "bare", 2, run_bare, "DIR SECONDS                 the same writes straight into LMDB, 1,000 jobs a commit" },
	{ "put-latency", 3, run_put_latency, "DIR PORT WRITES      a put beside one bare commit" },
	{ "hold-latency", 3, run_hold_latency, "DIR PORT WRITES     a put to a waiting worker's hand, likewise" },
	{ "fill", 2, run_fill, "PORT JOBS                   puts that many, 1,000 a request" },
	{ "rates", 3, run_rates,
	  "PORT OTHER_PORT SECONDS    puts and leases in turn, as many of each, two brokers in turn" },
	{ "first-lease", 1, run_first_lease, "PORT                 leases one job; the monotonic clock then" },
	{ "sync", 1, run_sync, "DIR                         one synced write" },
	{ "stats", 1, run_stats, "PORT                       the broker's commits, and the commands in them" },
	{ "tables", 1, run_tables, "FILE                      what stands in the tables of a closed LMDB file" },
	{ "campaign", 4, run_campaign,
	  "STRATEGY SEED CV VISITORS   a crowd in simulated time; STRATEGY: raincheck, direct, or so many workers" },
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i].name, argv[1]) != 0 || commands[i].arguments != argc - 2)
			continue;
		commands[i].run(argv + 2);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(stderr, "driver %s %s\n", commands[i].name, commands[i].usage);
	return 2;
}
