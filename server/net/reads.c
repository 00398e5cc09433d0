#include "server/net/reads.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/base/clean.h"
#include "proto/base/clock.h"
#include "server/engine/view.h"
#include "server/engine/view_limits.h"
#include "server/engine/view_signals.h"
#include "server/net/dispatch.h"
#include "server/net/net_priv.h"
#include "server/net/registry.h"
#include "server/store/blob.h"
#include "server/store/store.h"
#include "server/writer/writer.h"

#define LIST_DEFAULT 100
#define READ_DEFAULT (1 << 20)
/* What a message needs besides the bytes of an artifact. */
#define ENVELOPE 1024
/* Of the store, what a small put takes with its entries: with less beside the reserve, all are refused. */
#define PUT_ROOM 16384

/* Runs run on the pool; what it leaves as the reply is sent. */
static int start(struct request *req, request_cb run)
{
	request_work(req, run, request_done);
	return 0;
}

/* Answers with what went wrong. what is the thing that was asked for. */
static void fail(struct request *req, int rc, const char *what)
{
	struct error_info info;

	if (rc == ERR_NOT_FOUND)
		error_set(&info, rc, NULL, "there is no such %s", what);
	else if (rc == ERR_GONE)
		error_set(&info, rc, NULL, "the %s was there and is no more", what);
	else if (rc == ERR_CORRUPT)
		error_set(&info, rc, NULL, "what is stored of the %s is damaged", what);
	else
		error_set(&info, rc, NULL, "%s", error_text(rc));
	request_encode_error(req, &info);
}

static int begin(struct request *req, struct store_txn **ret)
{
	return store_begin_read(req->net->options.store, ret);
}

/* ---- one job ---- */

void reads_encode_job(struct request *req, const struct uuid *id, bool *ret_final)
{
	_cleanup_(store_abortp) struct store_txn *t = NULL;
	struct job_view view;
	int rc;

	*ret_final = true;
	rc = begin(req, &t);
	if (rc == 0)
		rc = view_job(t, req->net->options.settings, clock_wall_ms(), id, &view);
	if (rc < 0) {
		fail(req, rc, "job");
		return;
	}
	request_encode(req, &MSG_job, &view.job);
	*ret_final = job_state_final((enum job_state)view.job.state);
}

static void run_get(struct request *req)
{
	const struct msg_job_id *params = req->params;
	bool final;

	reads_encode_job(req, &params->id, &final);
}

int reads_get(struct request *req, struct error_info *info)
{
	(void)info;
	return start(req, run_get);
}

static void run_payload(struct request *req)
{
	_cleanup_(store_abortp) struct store_txn *t = NULL;
	const struct msg_job_id *params = req->params;
	struct msg_job_payload_result result;
	int rc;

	rc = begin(req, &t);
	if (rc == 0)
		rc = view_payload(t, &params->id, &result);
	if (rc < 0)
		fail(req, rc, "job");
	else
		request_encode(req, &MSG_job_payload_result, &result);
}

int reads_payload(struct request *req, struct error_info *info)
{
	(void)info;
	request_charge(req, (size_t)req->net->options.limits.payload);
	return start(req, run_payload);
}

/* ---- many jobs ---- */

/* One page of at most cap jobs; written to the reply as it is, an error of size included. */
static int encode_page(struct request *req, struct store_txn *t, struct list_place place, size_t cap, size_t *ret_count)
{
	_cleanup_free_ struct job_view *views = calloc(cap, sizeof(*views));
	_cleanup_free_ struct msg_job *jobs = calloc(cap, sizeof(*jobs));
	struct msg_job_list_result result = { .has_jobs = true };
	struct cursor_text cursor;
	int rc;

	if (!views || !jobs)
		return ERR_NO_MEMORY;
	rc = view_list(t, req->net->options.settings, clock_wall_ms(), &place, views, cap, &result.jobs_count,
		       &result.has_cursor);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < result.jobs_count; i++)
		jobs[i] = views[i].job;
	result.jobs = jobs;
	cursor = view_list_cursor(req->net->options.settings, &place);
	result.cursor = slice_str(cursor.text);
	*ret_count = result.jobs_count;
	return request_try_encode(req, &MSG_job_list_result, &result);
}

static void run_list(struct request *req)
{
	_cleanup_(store_abortp) struct store_txn *t = NULL;
	const struct msg_job_list *params = req->params;
	size_t cap = params->has_limit ? (size_t)params->limit : LIST_DEFAULT;
	struct list_place place;
	struct error_info info;
	int rc;

	rc = view_list_begin(req->net->options.settings, params, &place, &info);
	if (rc < 0) {
		request_encode_error(req, &info);
		return;
	}
	rc = begin(req, &t);
	while (rc == 0) {
		size_t count = 0;

		rc = encode_page(req, t, place, cap, &count);
		if (rc != ERR_TOO_LARGE || count < 2)
			break;
		/* A page that does not fit a message is given in smaller ones: the cursor leads to the rest. */
		cap = count / 2;
		rc = 0;
	}
	if (rc < 0)
		fail(req, rc, "job");
}

int reads_list(struct request *req, struct error_info *info)
{
	(void)info;
	return start(req, run_list);
}

static void run_queues(struct request *req)
{
	_cleanup_(store_abortp) struct store_txn *t = NULL;
	_cleanup_(queues_view_done) struct queues_view queues = { 0 };
	struct msg_queue_list_result result = { .has_queues = true };
	int rc;

	rc = begin(req, &t);
	if (rc == 0)
		rc = view_queues(t, &queues);
	if (rc < 0) {
		fail(req, rc, "queue");
		return;
	}
	result.queues = queues.items;
	result.queues_count = queues.count;
	request_encode(req, &MSG_queue_list_result, &result);
}

int reads_queues(struct request *req, struct error_info *info)
{
	(void)info;
	return start(req, run_queues);
}

static void run_queue(struct request *req)
{
	_cleanup_(store_abortp) struct store_txn *t = NULL;
	const struct msg_queue_name *params = req->params;
	struct error_info info;
	struct group_weight weights[MAX_WEIGHTS];
	struct msg_queue queue;
	int rc;

	rc = begin(req, &t);
	if (rc == 0)
		rc = view_queue_by_name(t, params->queue, weights, &queue);
	if (rc == ERR_NOT_FOUND) {
		error_set(&info, rc, "queue", "there is no such queue");
		request_encode_error(req, &info);
	} else if (rc < 0) {
		fail(req, rc, "queue");
	} else {
		request_encode(req, &MSG_queue, &queue);
	}
}

int reads_queue(struct request *req, struct error_info *info)
{
	(void)info;
	return start(req, run_queue);
}

static void run_limits(struct request *req)
{
	_cleanup_(store_abortp) struct store_txn *t = NULL;
	_cleanup_(limits_view_done) struct limits_view limits = { 0 };
	struct msg_limit_list_result result = { .has_limits = true };
	int rc;

	rc = begin(req, &t);
	if (rc == 0)
		rc = view_limits(t, clock_wall_ms(), NULL, &limits);
	if (rc < 0) {
		fail(req, rc, "limit");
		return;
	}
	result.limits = limits.items;
	result.limits_count = limits.count;
	request_encode(req, &MSG_limit_list_result, &result);
}

int reads_limits(struct request *req, struct error_info *info)
{
	(void)info;
	return start(req, run_limits);
}

static void run_limit(struct request *req)
{
	_cleanup_(store_abortp) struct store_txn *t = NULL;
	_cleanup_(limits_view_done) struct limits_view limits = { 0 };
	const struct msg_limit_name *params = req->params;
	struct error_info info;
	int rc;

	rc = begin(req, &t);
	if (rc == 0)
		rc = view_limits(t, clock_wall_ms(), &params->limit, &limits);
	if (rc == ERR_NOT_FOUND) {
		error_set(&info, rc, "limit", "there is no such limit");
		request_encode_error(req, &info);
	} else if (rc < 0) {
		fail(req, rc, "limit");
	} else {
		request_encode(req, &MSG_limit, &limits.items[0]);
	}
}

int reads_limit(struct request *req, struct error_info *info)
{
	(void)info;
	return start(req, run_limit);
}

/* ---- artifacts ---- */

/* Up to size bytes from offset; fewer only if the file ends. */
static int read_at(int fd, int64_t offset, char *ret, size_t size)
{
	size_t at = 0;

	while (at < size) {
		ssize_t n = pread(fd, ret + at, size - at, (off_t)offset + (off_t)at);

		if (n <= 0)
			return ERR_IO;
		at += (size_t)n;
	}
	return 0;
}

/* What part of size bytes is asked for, and fits a message. */
static void choose_part(const struct request *req, int64_t size, int64_t *ret_offset, int64_t *ret_length)
{
	const struct msg_artifact_read *params = req->params;
	int64_t fits = (int64_t)req->net->options.limits.message - ENVELOPE;
	int64_t length = params->has_length ? params->length : READ_DEFAULT;
	int64_t offset = params->offset < size ? params->offset : size;

	if (length > fits)
		length = fits > 0 ? fits : 0;
	*ret_offset = offset;
	*ret_length = length < size - offset ? length : size - offset;
}

static void encode_artifact(struct request *req, const struct artifact *a, struct slice data, int64_t offset)
{
	struct msg_artifact_read_result result = {
		.has_content_type = true,
		.content_type = a->content_type,
		.has_size = true,
		.size = a->size,
		.has_offset = true,
		.offset = offset,
		.has_data = true,
		.data = data,
	};

	request_encode(req, &MSG_artifact_read_result, &result);
}

/* The transaction is over: a points to nothing of it any more. */
static void read_blob(struct request *req, const struct artifact *a)
{
	_cleanup_free_ char *bytes = NULL;
	int64_t offset, length, size;
	int rc, fd;

	choose_part(req, a->size, &offset, &length);
	bytes = malloc((size_t)length + 1);
	if (!bytes) {
		fail(req, ERR_NO_MEMORY, "artifact");
		return;
	}
	/* Not found: retention took it since the transaction ended. */
	rc = blob_open(req->net->options.blobs, &a->blob, &fd, &size);
	if (rc == 0) {
		rc = read_at(fd, offset, bytes, (size_t)length);
		close(fd);
	}
	if (rc < 0)
		fail(req, rc == ERR_NOT_FOUND ? ERR_GONE : rc, "artifact");
	else
		encode_artifact(req, a, slice_of(bytes, (size_t)length), offset);
}

static void read_inline(struct request *req, const struct artifact *a)
{
	int64_t offset, length;

	choose_part(req, a->size, &offset, &length);
	encode_artifact(req, a, slice_of((const char *)a->data.data + offset, (size_t)length), offset);
}

static void run_artifact(struct request *req)
{
	const struct msg_artifact_read *params = req->params;
	struct store_txn *t = NULL;
	struct artifact a;
	char type[256];
	int rc;

	rc = begin(req, &t);
	if (rc == 0)
		rc = view_artifact(t, &params->id, params->name, &a);
	if (rc < 0) {
		store_abort(t);
		fail(req, rc, "artifact");
		return;
	}
	if (!a.has_blob) {
		read_inline(req, &a);
		store_abort(t);
		return;
	}
	a.content_type.size = a.content_type.size < sizeof(type) ? a.content_type.size : sizeof(type);
	memcpy(type, a.content_type.data, a.content_type.size);
	a.content_type.data = type;
	store_abort(t);
	read_blob(req, &a);
}

int reads_artifact(struct request *req, struct error_info *info)
{
	const struct msg_artifact_read *params = req->params;
	int64_t length = params->has_length ? params->length : READ_DEFAULT;
	int64_t fits = (int64_t)req->net->options.limits.message;

	(void)info;
	request_charge(req, (size_t)(length < fits ? length : fits));
	return start(req, run_artifact);
}

/* ---- the server ---- */

static void fill_writer(struct request *req, struct msg_server_stats_result *ret)
{
	struct writer_stats w;

	writer_stats(req->net->options.writer, &w);
	ret->has_waiting_leases = true;
	ret->waiting_leases = w.parked;
	ret->store.has_commits = true;
	ret->store.commits = w.commits;
	ret->store.has_commands = true;
	ret->store.commands = w.commands;
	ret->store.has_failed_commits = true;
	ret->store.failed_commits = w.failed_commits;
	ret->store.has_largest_batch = true;
	ret->store.largest_batch = w.largest_batch;
}

static int fill_room(struct request *req, struct msg_store_stats *ret)
{
	struct store *s = req->net->options.store;
	int64_t reserve = req->net->options.settings->reserve_bytes;
	struct store_info info;
	int64_t room;
	int rc;

	rc = store_info(s, &info);
	if (rc == 0)
		rc = store_room(s, reserve + PUT_ROOM, &room);
	if (rc < 0)
		return rc;
	ret->has_used_bytes = true;
	ret->used_bytes = info.used_bytes;
	ret->has_max_bytes = true;
	ret->max_bytes = info.max_bytes;
	ret->has_reserve_bytes = true;
	ret->reserve_bytes = reserve;
	ret->has_full = true;
	ret->full = room < reserve + PUT_ROOM;
	return 0;
}

static int fill_signals(struct store_txn *t, struct msg_server_stats_result *ret)
{
	struct signals s;
	int rc = view_signals(t, ret->now_ms, &s);

	if (rc < 0)
		return rc;
	ret->has_oldest_ready_age_ms = s.has_oldest_ready_age;
	ret->oldest_ready_age_ms = s.oldest_ready_age_ms;
	ret->has_backlog_ms = ret->has_wanted_concurrency = true;
	ret->backlog_ms = s.backlog_ms;
	ret->wanted_concurrency = s.wanted_concurrency;
	ret->has_run_ms = s.has_run_ms;
	ret->run_ms = s.run_ms;
	return 0;
}

static int fill_store(struct request *req, struct msg_server_stats_result *ret)
{
	_cleanup_(store_abortp) struct store_txn *t = NULL;
	int rc;

	rc = fill_room(req, &ret->store);
	if (rc == 0)
		rc = begin(req, &t);
	if (rc == 0)
		rc = store_count(t, TABLE_SET_ASIDE, &ret->store.set_aside);
	if (rc < 0)
		return rc;
	ret->has_store = true;
	ret->store.has_set_aside = true;
	ret->has_jobs = true;
	ret->has_queues = true;
	ret->has_put_total = true;
	rc = view_totals(t, &ret->jobs, &ret->queues, &ret->put_total);
	return rc < 0 ? rc : fill_signals(t, ret);
}

/* The handler has filled in what is the loop's. */
static void run_stats(struct request *req)
{
	struct msg_server_stats_result *result = req->params;
	int rc;

	fill_writer(req, result);
	rc = fill_store(req, result);
	if (rc < 0)
		fail(req, rc, "store");
	else
		request_encode(req, &MSG_server_stats_result, result);
}

static void fill_workers(struct registry *r, struct msg_server_stats_result *ret)
{
	struct registry_totals totals = registry_totals(r);

	ret->has_workers = ret->has_slots = ret->has_slots_free = true;
	ret->workers = totals.workers;
	ret->slots = totals.slots;
	ret->slots_free = totals.slots_free;
}

int reads_stats(struct request *req, struct error_info *info)
{
	const struct net *net = req->net;
	struct msg_server_stats_result *result = request_alloc(req, sizeof(*result));

	if (!result)
		return error_set(info, ERR_NO_MEMORY, NULL, "%s", error_text(ERR_NO_MEMORY));
	result->has_version = true;
	result->version = slice_str(net->options.version);
	result->has_started_at_ms = true;
	result->started_at_ms = net->options.started_at_ms;
	result->has_now_ms = true;
	result->now_ms = clock_wall_ms();
	result->has_connections = true;
	result->connections = net->counters.connections;
	fill_workers(net->registry, result);
	req->params = result;
	return start(req, run_stats);
}
