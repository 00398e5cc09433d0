/* Results of operators' calls: messages to public structs. Those about limits: convert_limits.c. */
#include "convert_priv.h"

static struct raincheck_counts counts(const struct msg_counts *in)
{
	return (struct raincheck_counts){
		.scheduled = in->scheduled,
		.ready = in->ready,
		.running = in->running,
		.succeeded = in->succeeded,
		.dead = in->dead,
		.canceled = in->canceled,
		.expired = in->expired,
	};
}

static struct raincheck_backoff backoff(const struct msg_backoff *in)
{
	return (struct raincheck_backoff){
		.has_base_ms = in->has_base_ms,
		.base_ms = in->base_ms,
		.factor = in->factor,
		.max_ms = in->max_ms,
		.has_jitter = in->has_jitter,
		.jitter = in->jitter,
	};
}

static const struct raincheck_group_weight *weights(struct converter *c, const struct group_weight *in, size_t count)
{
	struct raincheck_group_weight *out = convert__take(c, count, sizeof(*out));

	for (size_t i = 0; out && i < count; i++)
		out[i] = (struct raincheck_group_weight){ convert__text(c, true, in[i].group), in[i].weight };
	return out;
}

struct raincheck_run_time convert__run_time(const struct msg_run_time *in)
{
	return (struct raincheck_run_time){ .mean_ms = in->mean, .spread_ms = in->spread };
}

/* The fields that a queue and the answer to a purge have alike. */
#define QUEUE_OF(in)                                                                                                   \
	(struct raincheck_queue)                                                                                       \
	{                                                                                                              \
		.queue = convert__text(c, true, (in)->queue), .title = convert__text(c, (in)->has_title, (in)->title), \
		.paused = (in)->paused, .has_max_jobs = (in)->has_max_jobs, .max_jobs = (in)->max_jobs,                \
		.has_max_bytes = (in)->has_max_bytes, .max_bytes = (in)->max_bytes,                                    \
		.max_attempts = (in)->max_attempts, .backoff = backoff(&(in)->backoff),                                \
		.attempt_timeout_ms = (in)->attempt_timeout_ms, .has_result_ttl_ms = (in)->has_result_ttl_ms,          \
		.result_ttl_ms = (in)->result_ttl_ms, .limit = convert__text(c, (in)->has_limit, (in)->limit),         \
		.weight = (in)->weight, .weights = weights(c, (in)->weights, (in)->weights_count),                     \
		.weight_count = (in)->weights_count, .admit = (enum raincheck_admission)(in)->admit,                   \
		.counts = counts(&(in)->counts), .bytes = (in)->bytes, .put_total = (in)->put_total,                   \
		.lease_total = (in)->lease_total, .oldest_ready_at_ms = (in)->oldest_ready_at_ms,                      \
		.run = convert__run_time(&(in)->run_ms),                                                               \
	}

void convert__queue(struct converter *c, const void *message, void *result)
{
	const struct msg_queue *in = message;
	struct raincheck_queue *out = result;

	*out = QUEUE_OF(in);
}

void convert__queue_list(struct converter *c, const void *message, void *result)
{
	const struct msg_queue_list_result *in = message;
	struct raincheck_queue_list *out = result;
	struct raincheck_queue *queues = convert__take(c, in->queues_count, sizeof(*queues));

	for (size_t i = 0; queues && i < in->queues_count; i++)
		convert__queue(c, &in->queues[i], &queues[i]);
	out->queues = queues;
	out->queue_count = in->queues_count;
}

void convert__purge(struct converter *c, const void *message, void *result)
{
	const struct msg_queue_purge_result *in = message;
	struct raincheck_purge_result *out = result;

	out->count = in->count;
	out->queue = QUEUE_OF(in);
}

static struct raincheck_worker_session worker(struct converter *c, const struct msg_worker_session *in)
{
	return (struct raincheck_worker_session){
		.name = convert__text(c, true, in->name),
		.state = (enum raincheck_worker_state)in->state,
		.address = convert__text(c, true, in->address),
		.client = convert__text(c, in->has_client, in->client),
		.version = convert__text(c, in->has_version, in->version),
		.queues = convert__names(c, in->queues, in->queues_count),
		.queue_count = in->queues_count,
		.has_slots = in->has_slots,
		.slots = in->slots,
		.in_hand = in->in_hand,
		.waiting = in->waiting,
		.connected_at_ms = in->connected_at_ms,
	};
}

void convert__worker_list(struct converter *c, const void *message, void *result)
{
	const struct msg_worker_list_result *in = message;
	struct raincheck_worker_list *out = result;
	struct raincheck_worker_session *workers = convert__take(c, in->workers_count, sizeof(*workers));

	for (size_t i = 0; workers && i < in->workers_count; i++)
		workers[i] = worker(c, &in->workers[i]);
	out->workers = workers;
	out->worker_count = in->workers_count;
}

void convert__worker_told(struct converter *c, const void *message, void *result)
{
	const struct msg_worker_told *in = message;
	struct raincheck_worker_told *out = result;

	(void)c;
	out->count = in->count;
}

void convert__stats(struct converter *c, const void *message, void *result)
{
	const struct msg_server_stats_result *in = message;
	struct raincheck_stats *out = result;

	out->version = convert__text(c, true, in->version);
	out->started_at_ms = in->started_at_ms;
	out->now_ms = in->now_ms;
	out->connections = in->connections;
	out->waiting_leases = in->waiting_leases;
	out->queues = in->queues;
	out->jobs = counts(&in->jobs);
	out->put_total = in->put_total;
	out->workers = in->workers;
	out->slots = in->slots;
	out->slots_free = in->slots_free;
	out->has_oldest_ready_age_ms = in->has_oldest_ready_age_ms;
	out->oldest_ready_age_ms = in->oldest_ready_age_ms;
	out->backlog_ms = in->backlog_ms;
	out->wanted_concurrency = in->wanted_concurrency;
	out->run = convert__run_time(&in->run_ms);
	out->store = (struct raincheck_store_stats){
		.used_bytes = in->store.used_bytes,
		.max_bytes = in->store.max_bytes,
		.reserve_bytes = in->store.reserve_bytes,
		.full = in->store.full,
		.set_aside = in->store.set_aside,
		.commits = in->store.commits,
		.commands = in->store.commands,
		.failed_commits = in->store.failed_commits,
		.largest_batch = in->store.largest_batch,
	};
}

void convert__backup(struct converter *c, const void *message, void *result)
{
	const struct msg_server_backup_result *in = message;
	struct raincheck_backup_result *out = result;

	out->path = convert__text(c, true, in->path);
	out->jobs = in->jobs;
	out->artifacts = in->artifacts;
	out->bytes = in->bytes;
	out->took_ms = in->took_ms;
	out->damaged = in->damaged;
}

void convert__check(struct converter *c, const void *message, void *result)
{
	const struct msg_server_check_result *in = message;
	struct raincheck_check_result *out = result;
	const char **lines = convert__take(c, in->lines_count, sizeof(*lines));

	for (size_t i = 0; lines && i < in->lines_count; i++)
		lines[i] = convert__text(c, true, in->lines[i].text);
	out->jobs = in->jobs;
	out->artifacts = in->artifacts;
	out->breach_count = in->breaches;
	out->set_aside = in->set_aside;
	out->lines = lines;
	out->line_count = in->lines_count;
	out->took_ms = in->took_ms;
}
