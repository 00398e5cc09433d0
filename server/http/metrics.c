#include "metrics.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "proto/base/clean.h"
#include "server/engine/settings.h"
#include "server/http/health.h"
#include "server/http/metrics_text.h"
#include "server/http/response.h"
#include "server/http/site.h"
#include "server/http/watch.h"
#include "server/store/store.h"
#include "server/writer/meter.h"
#include "server/writer/writer.h"

#define TEXT_MAX (8 << 20)

/* ---- jobs and commits, since the start ---- */

static void write_words(struct buf *out, const char *name, const char *label, const char *const *words,
			const int64_t *counts)
{
	char labels[96];

	for (int i = 0; words[i]; i++) {
		snprintf(labels, sizeof(labels), "%s=\"%s\"", label, words[i]);
		metrics_int(out, name, labels, counts[i]);
	}
}

static void write_refusals(struct buf *out, const struct engine_tally *t)
{
	char labels[96];

	metrics_family(out, "raincheck_puts_refused_total", "counter", "Puts that were refused, by the error's code.");
	for (int i = 1; i < TALLY_CODES; i++) {
		snprintf(labels, sizeof(labels), "code=\"%s\"", error_name(-i));
		if (t->refused[i] > 0)
			metrics_int(out, "raincheck_puts_refused_total", labels, t->refused[i]);
	}
}

/* The same of deliveries, each in a family of its own: nobody adds those to jobs. */
static void write_deliveries(struct buf *out, const struct work_tally *t)
{
	metrics_counter(out, "raincheck_webhooks_put_total", "Deliveries of webhooks that came to be.", t->puts);
	metrics_counter(out, "raincheck_webhook_attempts_started_total", "Deliveries leased.", t->leases);
	metrics_family(out, "raincheck_webhook_attempts_failed_total", "counter",
		       "Deliveries that were not accepted, or not in time, by kind.");
	write_words(out, "raincheck_webhook_attempts_failed_total", "kind", failure_kind_names, t->failed);
	metrics_family(out, "raincheck_webhooks_ended_total", "counter", "Deliveries that reached a final state.");
	write_words(out, "raincheck_webhooks_ended_total", "state", job_state_names + JOB_SUCCEEDED,
		    t->ended + JOB_SUCCEEDED);
	metrics_family(out, "raincheck_webhook_wait_seconds", "histogram",
		       "From when a delivery could have been leased to when it was.");
	metrics_histogram(out, "raincheck_webhook_wait_seconds", "", &tally_scale, &t->waits, 1e3);
	metrics_family(out, "raincheck_webhook_attempt_duration_seconds", "histogram",
		       "From the lease of a delivery to the end of the attempt, however it ended.");
	metrics_histogram(out, "raincheck_webhook_attempt_duration_seconds", "", &tally_scale, &t->runs, 1e3);
}

static void write_puts(struct buf *out, const struct engine_tally *t)
{
	metrics_counter(out, "raincheck_puts_repeated_total", "Puts whose idempotency key was known.", t->repeated);
	write_refusals(out, t);
}

static void write_jobs(struct buf *out, const struct work_tally *t)
{
	metrics_counter(out, "raincheck_jobs_put_total", "Jobs that came to be.", t->puts);
	metrics_counter(out, "raincheck_attempts_started_total", "Jobs leased.", t->leases);
	metrics_family(out, "raincheck_attempts_failed_total", "counter",
		       "Attempts that failed, by kind; a lost lease is a timeout.");
	write_words(out, "raincheck_attempts_failed_total", "kind", failure_kind_names, t->failed);
	metrics_family(out, "raincheck_jobs_ended_total", "counter", "Jobs that reached a final state.");
	write_words(out, "raincheck_jobs_ended_total", "state", job_state_names + JOB_SUCCEEDED,
		    t->ended + JOB_SUCCEEDED);
	metrics_family(out, "raincheck_job_wait_seconds", "histogram",
		       "From when a job could have been leased to when it was.");
	metrics_histogram(out, "raincheck_job_wait_seconds", "", &tally_scale, &t->waits, 1e3);
	metrics_family(out, "raincheck_attempt_duration_seconds", "histogram",
		       "From the lease to the end of the attempt, however it ended.");
	metrics_histogram(out, "raincheck_attempt_duration_seconds", "", &tally_scale, &t->runs, 1e3);
}

static void write_writer(struct buf *out, const struct site *site)
{
	struct writer_totals totals;
	struct writer_stats stats;

	writer_stats(site->writer, &stats);
	writer_totals(site->writer, &totals);
	write_jobs(out, &totals.jobs.work[TALLY_JOBS]);
	write_puts(out, &totals.jobs);
	write_deliveries(out, &totals.jobs.work[TALLY_DELIVERIES]);
	metrics_counter(out, "raincheck_commands_total", "Commands that the writer carried out.", stats.commands);
	metrics_counter(out, "raincheck_commits_total", "Batches on the disk.", stats.commits);
	metrics_counter(out, "raincheck_commits_failed_total", "Batches that were taken back.", stats.failed_commits);
	metrics_gauge(out, "raincheck_commits_failing", "1 while the last batch was taken back.",
		      stats.failure[0] != '\0');
	metrics_gauge(out, "raincheck_leases_waiting", "Lease requests that wait for a job.", stats.parked);
	metrics_family(out, "raincheck_commit_batch_commands", "histogram", "Commands of a batch.");
	metrics_histogram(out, "raincheck_commit_batch_commands", "", &meter_batch_scale, &totals.batches, 1);
	metrics_family(out, "raincheck_commit_duration_seconds", "histogram",
		       "What a commit took, most of which is the disk's sync.");
	metrics_histogram(out, "raincheck_commit_duration_seconds", "", &meter_commit_scale, &totals.commits, 1e6);
}

static int write_store(struct buf *out, const struct site *site)
{
	struct store_info info;
	bool full;
	int rc;

	rc = store_info(site->store, &info);
	if (rc == 0)
		rc = health_store_full(site, &full);
	if (rc < 0)
		return rc;
	metrics_gauge(out, "raincheck_store_used_bytes", "Of the records' file, what is in use.", info.used_bytes);
	metrics_gauge(out, "raincheck_store_max_bytes", "What it may grow to (store.max_bytes).", info.max_bytes);
	metrics_gauge(out, "raincheck_store_reserve_bytes", "What puts may not use (store.reserve).",
		      site->settings->reserve_bytes);
	metrics_gauge(out, "raincheck_store_full", "1 while puts are refused for want of room.", full);
	return 0;
}

/* ---- the fronts ---- */

static void write_requests(struct buf *out, struct traffic *t)
{
	char labels[96];

	metrics_family(out, "raincheck_http_requests_total", "counter", "Requests answered, by route and status.");
	for (int r = 0; r < ROUTES; r++) {
		for (int c = 0; c < TRAFFIC_CLASSES; c++) {
			snprintf(labels, sizeof(labels), "route=\"%s\",code=\"%dxx\"", route_names[r], c + 1);
			if (c > 0)
				metrics_int(out, "raincheck_http_requests_total", labels,
					    atomic_load(&t->requests[r][c]));
		}
	}
}

static void write_durations(struct buf *out, struct traffic *t)
{
	char label[64];

	metrics_family(out, "raincheck_http_request_duration_seconds", "histogram",
		       "From a request's head to the end of its answer; not of those that asked to wait.");
	for (int r = 0; r < ROUTES; r++) {
		struct histogram h = { .sum = atomic_load(&t->duration_sum_us[r]) };

		for (size_t i = 0; i <= HISTOGRAM_STEPS; i++)
			h.counts[i] = atomic_load(&t->durations[r][i]);
		snprintf(label, sizeof(label), "route=\"%s\"", route_names[r]);
		metrics_histogram(out, "raincheck_http_request_duration_seconds", label, &traffic_scale, &h, 1e6);
	}
}

static void write_http(struct buf *out, const struct site *site, struct traffic *t)
{
	struct watch *watch = atomic_load(&site->watch);

	write_requests(out, t);
	write_durations(out, t);
	metrics_gauge(out, "raincheck_http_connections", "HTTP connections open.", atomic_load(&t->connections));
	metrics_family(out, "raincheck_http_suspended_requests", "gauge",
		       "Requests that wait for the disk, or for the end of a job.");
	metrics_int(out, "raincheck_http_suspended_requests", "for=\"write\"",
		    atomic_load(&t->suspended[TRAFFIC_WRITE]));
	metrics_int(out, "raincheck_http_suspended_requests", "for=\"job\"", atomic_load(&t->suspended[TRAFFIC_JOB]));
	metrics_gauge(out, "raincheck_http_watchers", "Streams and requests that wait for a job to change.",
		      watch ? watch_count(watch) : 0);
	metrics_gauge(out, "raincheck_http_body_bytes", "What large bodies on their way in take of memory.",
		      atomic_load(&t->body_bytes));
}

static void write_rpc(struct buf *out, const struct rpc_source *source)
{
	struct rpc_figures f;
	char labels[96];

	if (!source->read)
		return;
	source->read(source->user, &f);
	metrics_gauge(out, "raincheck_rpc_connections", "RPC connections open.", f.connections);
	metrics_counter(out, "raincheck_rpc_connections_accepted_total", "RPC connections ever.", f.accepted);
	metrics_counter(out, "raincheck_rpc_connections_refused_total", "RPC connections refused for want of room.",
			f.refused);
	metrics_family(out, "raincheck_rpc_requests_total", "counter", "RPC requests, by method.");
	for (int i = 0; i < METHODS; i++) {
		snprintf(labels, sizeof(labels), "method=\"%s\"", method_get((enum method_id)i)->name);
		metrics_int(out, "raincheck_rpc_requests_total", labels, f.requests[i]);
	}
	metrics_gauge(out, "raincheck_workers", "Workers connected.", f.workers);
	metrics_gauge(out, "raincheck_worker_slots", "Calls at once that they say they can do.", f.slots);
	metrics_gauge(out, "raincheck_worker_slots_free", "Of workers that take jobs, those without one.",
		      f.slots_free);
	metrics_gauge(out, "raincheck_worker_jobs", "Jobs that they have leased.", f.in_hand);
}

/* ---- the process ---- */

static int64_t open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int64_t count = -3; /* ".", ".." and this one */

	while (dir && readdir(dir))
		count++;
	if (dir)
		closedir(dir);
	return dir ? count : 0;
}

static int64_t resident_bytes(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	long long size, resident = 0;

	if (f && fscanf(f, "%lld %lld", &size, &resident) != 2)
		resident = 0;
	if (f)
		fclose(f);
	return resident * sysconf(_SC_PAGESIZE);
}

static void write_process(struct buf *out, const struct site *site)
{
	struct rusage used;
	char labels[96];

	getrusage(RUSAGE_SELF, &used);
	snprintf(labels, sizeof(labels), "version=\"%s\"", site->version ? site->version : "");
	metrics_family(out, "raincheck_build_info", "gauge", "1, with the version that runs.");
	metrics_int(out, "raincheck_build_info", labels, 1);
	metrics_family(out, "raincheck_start_time_seconds", "gauge", "When the broker started, since the Unix epoch.");
	metrics_milli(out, "raincheck_start_time_seconds", "", site->started_at_ms);
	metrics_gauge(out, "raincheck_process_resident_memory_bytes", "Memory that is the process's in fact.",
		      resident_bytes());
	metrics_gauge(out, "raincheck_process_open_fds", "Files and sockets open.", open_files());
	metrics_family(out, "raincheck_process_cpu_seconds_total", "counter", "Processor time, user and system.");
	metrics_float(out, "raincheck_process_cpu_seconds_total", "",
		      (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
			      (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
}

/* ---- all ---- */

static int write_all(struct site *site, struct buf *out)
{
	int rc;

	rc = metrics_write_queues(site, out);
	if (rc == 0)
		rc = write_store(out, site);
	if (rc < 0)
		return rc;
	write_writer(out, site);
	write_http(out, site, &site->traffic);
	write_rpc(out, &site->rpc);
	write_process(out, site);
	return buf_error(out);
}

enum MHD_Result metrics_serve(const struct request *r)
{
	struct MHD_Response *response;
	struct buf body;
	int rc;

	buf_init(&body, TEXT_MAX);
	rc = write_all(r->site, &body);
	if (rc < 0) {
		buf_done(&body);
		return response_error(r->connection, rc);
	}
	response = response_new(&body, "text/plain; version=0.0.4; charset=utf-8");
	buf_done(&body);
	response_header(response, "Cache-Control", "no-store");
	return response_send(r->connection, MHD_HTTP_OK, response);
}
