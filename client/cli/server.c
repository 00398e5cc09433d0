/* The broker itself: stats, ping. */
#include "cli.h"
#include "client/raincheck.h"
#include "proto/base/clock.h"
#include "proto/base/units.h"
#include "show.h"

static json_t *store_json(const struct raincheck_store_stats *s)
{
	return json_pack("{s:I, s:I, s:I, s:b, s:I, s:I, s:I, s:I, s:I}", "used_bytes", (json_int_t)s->used_bytes,
			 "max_bytes", (json_int_t)s->max_bytes, "reserve_bytes", (json_int_t)s->reserve_bytes, "full",
			 s->full, "set_aside", (json_int_t)s->set_aside, "commits", (json_int_t)s->commits, "commands",
			 (json_int_t)s->commands, "failed_commits", (json_int_t)s->failed_commits, "largest_batch",
			 (json_int_t)s->largest_batch);
}

static json_t *stats_json(const struct raincheck_stats *s)
{
	json_t *o = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:o, s:I, s:o}", "version", s->version, "started_at_ms",
			      (json_int_t)s->started_at_ms, "now_ms", (json_int_t)s->now_ms, "connections",
			      (json_int_t)s->connections, "waiting_leases", (json_int_t)s->waiting_leases, "queues",
			      (json_int_t)s->queues, "jobs", show_counts_json(&s->jobs), "put_total",
			      (json_int_t)s->put_total, "store", store_json(&s->store));

	json_object_set_new(o, "workers", json_integer(s->workers));
	json_object_set_new(o, "slots", json_integer(s->slots));
	json_object_set_new(o, "slots_free", json_integer(s->slots_free));
	json_object_set_new(o, "oldest_ready_age_ms",
			    s->has_oldest_ready_age_ms ? json_integer(s->oldest_ready_age_ms) : json_null());
	json_object_set_new(o, "backlog_ms", json_integer(s->backlog_ms));
	json_object_set_new(o, "wanted_concurrency", json_integer(s->wanted_concurrency));
	json_object_set_new(o, "run_ms", show_run_json(&s->run));
	return o;
}

static void show_store(struct cli *c, const struct raincheck_store_stats *s)
{
	char text[160];

	snprintf(text, sizeof(text), "%s of %s, %s kept back%s", units_format_size(s->used_bytes).text,
		 units_format_size(s->max_bytes).text, units_format_size(s->reserve_bytes).text,
		 s->full ? "; full, puts are refused" : "");
	show_line(c, "store", text);
	if (s->set_aside > 0) {
		snprintf(text, sizeof(text), "%lld, set aside (raincheck check)", (long long)s->set_aside);
		show_line(c, "damaged jobs", text);
	}
	snprintf(text, sizeof(text), "%lld for %lld commands, %lld failed, largest %lld", (long long)s->commits,
		 (long long)s->commands, (long long)s->failed_commits, (long long)s->largest_batch);
	show_line(c, "commits", text);
}

static void show_signals(struct cli *c, const struct raincheck_stats *s)
{
	char text[96];

	show_line_number(c, "workers", s->workers);
	snprintf(text, sizeof(text), "%lld, %lld free, %lld wanted", (long long)s->slots, (long long)s->slots_free,
		 (long long)s->wanted_concurrency);
	show_line(c, "slots", text);
	show_line(c, "backlog", units_format_duration(s->backlog_ms).text);
	if (s->has_oldest_ready_age_ms)
		show_line(c, "oldest waits", units_format_duration(s->oldest_ready_age_ms).text);
	show_run_time(c, &s->run);
}

static void show_stats(struct cli *c, const struct raincheck_stats *s)
{
	show_line(c, "version", s->version);
	show_line(c, "up for", units_format_duration(s->now_ms - s->started_at_ms).text);
	show_line_number(c, "connections", s->connections);
	show_line_number(c, "idle leases", s->waiting_leases);
	show_line_number(c, "queues", s->queues);
	show_line_number(c, "put in all", s->put_total);
	show_counts(c, &s->jobs);
	show_signals(c, s);
	show_store(c, &s->store);
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
