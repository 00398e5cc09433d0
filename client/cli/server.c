/* The broker itself: stats, ping. */
#include "cli.h"
#include "client/raincheck.h"
#include "proto/base/clock.h"
#include "proto/base/units.h"
#include "show.h"

static json_t *stats_json(const struct raincheck_stats *s)
{
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:o, s:I, s:{s:I, s:I, s:I, s:I, s:I, s:I}}", "version",
			 s->version, "started_at_ms", (json_int_t)s->started_at_ms, "now_ms", (json_int_t)s->now_ms,
			 "connections", (json_int_t)s->connections, "waiting_leases", (json_int_t)s->waiting_leases,
			 "queues", (json_int_t)s->queues, "jobs", show_counts_json(&s->jobs), "put_total",
			 (json_int_t)s->put_total, "store", "used_bytes", (json_int_t)s->store.used_bytes, "max_bytes",
			 (json_int_t)s->store.max_bytes, "commits", (json_int_t)s->store.commits, "commands",
			 (json_int_t)s->store.commands, "failed_commits", (json_int_t)s->store.failed_commits,
			 "largest_batch", (json_int_t)s->store.largest_batch);
}

static void show_stats(struct cli *c, const struct raincheck_stats *s)
{
	char text[80];

	show_line(c, "version", s->version);
	show_line(c, "up for", units_format_duration(s->now_ms - s->started_at_ms).text);
	show_line_number(c, "connections", s->connections);
	show_line_number(c, "idle leases", s->waiting_leases);
	show_line_number(c, "queues", s->queues);
	show_line_number(c, "put in all", s->put_total);
	show_line_number(c, "scheduled", s->jobs.scheduled);
	show_line_number(c, "ready", s->jobs.ready);
	show_line_number(c, "running", s->jobs.running);
	show_line_number(c, "succeeded", s->jobs.succeeded);
	show_line_number(c, "dead", s->jobs.dead);
	show_line_number(c, "canceled", s->jobs.canceled);
	show_line_number(c, "expired", s->jobs.expired);
	snprintf(text, sizeof(text), "%s of %s", units_format_size(s->store.used_bytes).text,
		 units_format_size(s->store.max_bytes).text);
	show_line(c, "store", text);
	snprintf(text, sizeof(text), "%lld for %lld commands, %lld failed, largest %lld", (long long)s->store.commits,
		 (long long)s->store.commands, (long long)s->store.failed_commits, (long long)s->store.largest_batch);
	show_line(c, "commits", text);
}

int cli_stats(struct cli *c)
{
	struct raincheck_stats *stats;
	int exit = CLI_DONE;

	if (!cli_connect(c, &exit))
		return exit;
	if (raincheck_stats(c->rc, &stats) < 0)
		return cli_last_refused(c);
	if (c->json)
		exit = show_json(c, stats_json(stats));
	else
		show_stats(c, stats);
	raincheck_free(stats);
	return exit;
}

int cli_ping(struct cli *c)
{
	struct raincheck_ping_result *result;
	const struct raincheck_server *server;
	int64_t begin_ns, us;
	int exit = CLI_DONE;

	if (!cli_connect(c, &exit))
		return exit;
	/* The first one connects; only the second is a round trip. */
	if (raincheck_ping(c->rc, &result) < 0)
		return cli_last_refused(c);
	raincheck_free(result);
	begin_ns = clock_mono_ns();
	if (raincheck_ping(c->rc, &result) < 0)
		return cli_last_refused(c);
	us = (clock_mono_ns() - begin_ns + 500) / 1000;
	server = raincheck_server(c->rc);
	if (c->json)
		exit = show_json(c, json_pack("{s:s, s:s, s:s, s:I, s:f}", "server", server->server, "version",
					      server->version, "role", raincheck_role_name(server->role), "now_ms",
					      (json_int_t)result->now_ms, "round_trip_ms", (double)us / 1e3));
	else
		fprintf(c->out, "%s %s answers in %.2f ms; you are %s\n", server->server, server->version,
			(double)us / 1e3, raincheck_role_name(server->role));
	raincheck_free(result);
	return exit;
}
