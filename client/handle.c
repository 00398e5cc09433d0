/* Making, running and closing handles. A handle's memory goes in the last close callback of its libuv handles: by then
 * every call has been told, and nothing of libuv points at it any more.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "convert.h"
#include "handle_priv.h"

#define CONNECT_TIMEOUT_MS 5000
#define REQUEST_TIMEOUT_MS 30000
#define BACKOFF_MIN_MS	   100
#define BACKOFF_MAX_MS	   10000
#define MAX_QUEUED	   10000
#define MAX_UNSENT_BYTES   (64u << 20)

/* ---- errors ---- */

void handle_export_error(const struct error_info *info, bool sent, struct raincheck_error *ret)
{
	*ret = (struct raincheck_error){ .code = info->code, .retry_after_ms = info->retry_after_ms, .sent = sent };
	memcpy(ret->field, info->field, sizeof(ret->field));
	memcpy(ret->message, info->message, sizeof(ret->message));
	if (ret->message[0] == '\0')
		snprintf(ret->message, sizeof(ret->message), "%s", error_text(info->code));
}

int handle_fail(struct raincheck *rc, const struct error_info *info)
{
	handle_export_error(info, false, &rc->last_error);
	return info->code;
}

const struct raincheck_error *raincheck_last_error(const struct raincheck *rc)
{
	assert(rc->magic == HANDLE_MAGIC);
	return &rc->last_error;
}

/* ---- settings ---- */

/* What the greeting says, but for the program's name. */
static void identity_done(struct settings *s)
{
	for (size_t i = 0; s->worker_queues && i < s->worker_queue_count; i++)
		free(s->worker_queues[i]);
	free(s->worker_queues);
	free(s->worker_name);
	if (s->token)
		explicit_bzero(s->token, strlen(s->token));
	free(s->token);
}

static void settings_done(struct settings *s)
{
	identity_done(s);
	free(s->client);
}

static int copy_worker(struct settings *s, const struct raincheck_worker *worker)
{
	s->worker_name = strdup(worker->name);
	s->worker_slots = worker->slots;
	s->worker_queues = calloc(worker->queue_count + 1, sizeof(char *));
	if (!s->worker_name || !s->worker_queues)
		return ERR_NO_MEMORY;
	for (size_t i = 0; i < worker->queue_count; i++) {
		s->worker_queues[i] = strdup(worker->queues[i]);
		if (!s->worker_queues[i])
			return ERR_NO_MEMORY;
		s->worker_queue_count++;
	}
	return 0;
}

/* ERR_NO_MEMORY; then s is to be freed all the same. */
static int copy_identity(struct settings *s, const char *token, const struct raincheck_worker *worker)
{
	if (token) {
		s->token = strdup(token);
		if (!s->token)
			return ERR_NO_MEMORY;
	}
	return worker ? copy_worker(s, worker) : 0;
}

static int check_worker(const struct raincheck_worker *worker, struct error_info *info)
{
	if (worker && (!worker->name || worker->name[0] == '\0'))
		return error_set(info, ERR_BAD_REQUEST, "worker.name", "a worker needs a name");
	return 0;
}

static int settings_init(struct settings *s, const struct raincheck_options *o)
{
	*s = (struct settings){
		.client = strdup(o->client ? o->client : "libraincheck"),
		.on_notification = o->on_notification,
		.on_connection = o->on_connection,
		.user = o->user,
		.request_timeout_ms = o->request_timeout_ms > 0 ? o->request_timeout_ms : REQUEST_TIMEOUT_MS,
		.max_queued = o->max_queued ? o->max_queued : MAX_QUEUED,
		.max_unsent_bytes = o->max_unsent_bytes ? o->max_unsent_bytes : MAX_UNSENT_BYTES,
		.max_in_flight = o->max_in_flight,
	};
	if (!s->client)
		return ERR_NO_MEMORY;
	return copy_identity(s, o->token, o->worker);
}

static int connection_settings(const struct raincheck_options *o, struct connection_config *ret,
			       struct error_info *info)
{
	size_t max_unsent = o->max_unsent_bytes ? o->max_unsent_bytes : MAX_UNSENT_BYTES;

	*ret = (struct connection_config){
		.connect_timeout_ms = o->connect_timeout_ms > 0 ? o->connect_timeout_ms : CONNECT_TIMEOUT_MS,
		.backoff_min_ms = o->backoff_min_ms > 0 ? o->backoff_min_ms : BACKOFF_MIN_MS,
		.backoff_max_ms = o->backoff_max_ms > 0 ? o->backoff_max_ms : BACKOFF_MAX_MS,
		.max_out_bytes = DIALOG_FILL_BYTES + max_unsent,
	};
	if (check_worker(o->worker, info) < 0)
		return info->code;
	return endpoint_parse(o->server ? o->server : RAINCHECK_DEFAULT_SERVER, &ret->address, info);
}

/* ---- making ---- */

/* All that is memory; nothing is known to libuv yet. */
static void handle_free(struct raincheck *rc)
{
	if (!rc)
		return;
	settings_done(&rc->settings);
	if (rc->requests.buckets)
		pending_table_done(&rc->requests);
	if (rc->zone)
		msgpack_zone_free(rc->zone);
	if (rc->scratch)
		msgpack_zone_free(rc->scratch);
	buf_done(&rc->encoded);
	rc->magic = 0;
	free(rc);
}

static int handle_init(struct raincheck *rc, const struct raincheck_options *options)
{
	rc->magic = HANDLE_MAGIC;
	if (settings_init(&rc->settings, options) < 0 || pending_table_init(&rc->requests) < 0)
		return ERR_NO_MEMORY;
	rc->zone = msgpack_zone_new(MSGPACK_ZONE_CHUNK_SIZE);
	rc->scratch = msgpack_zone_new(MSGPACK_ZONE_CHUNK_SIZE);
	if (!rc->zone || !rc->scratch)
		return ERR_NO_MEMORY;
	buf_init(&rc->encoded, rc->settings.max_unsent_bytes);
	rc->loop = options->loop;
	if (rc->loop)
		return 0;
	rc->loop = &rc->private_loop;
	rc->owns_loop = true;
	return uv_loop_init(&rc->private_loop) < 0 ? ERR_IO : 0;
}

static int allocate(const struct raincheck_options *options, struct raincheck **ret, struct error_info *info)
{
	struct raincheck *rc = calloc(1, sizeof(*rc));
	int err = rc ? handle_init(rc, options) : ERR_NO_MEMORY;

	if (err < 0) {
		handle_free(rc);
		return error_set(info, err, NULL, "%s", err == ERR_IO ? "cannot make an event loop" : error_text(err));
	}
	*ret = rc;
	return 0;
}

static void start(struct raincheck *rc, const struct connection_config *config)
{
	rc->open_handles = 2;
	uv_timer_init(rc->loop, &rc->deadline_timer);
	rc->deadline_timer.data = rc;
	/* The connection keeps the loop alive: a call under way never does so by itself. */
	uv_unref((uv_handle_t *)&rc->deadline_timer);
	if (rc->owns_loop) {
		rc->open_handles++;
		uv_timer_init(rc->loop, &rc->run_timer);
		rc->run_timer.data = rc;
	}
	connection_init(&rc->connection, rc->loop, config, &dialog_ops, rc);
}

int raincheck_new(const struct raincheck_options *options, struct raincheck **ret, struct raincheck_error *ret_error)
{
	static const struct raincheck_options defaults;
	struct connection_config config;
	struct error_info info = { 0 };
	int err;

	if (!options)
		options = &defaults;
	err = connection_settings(options, &config, &info);
	if (err == 0)
		err = allocate(options, ret, &info);
	if (err == 0)
		start(*ret, &config);
	else if (ret_error)
		handle_export_error(&info, false, ret_error);
	return err;
}

/* ---- running ---- */

static int not_here(struct raincheck *rc, const char *why)
{
	struct error_info info;

	error_set(&info, ERR_INVALID_STATE, NULL, "%s", why);
	return handle_fail(rc, &info);
}

static int may_run(struct raincheck *rc)
{
	assert(rc->magic == HANDLE_MAGIC);
	if (!rc->owns_loop)
		return not_here(rc, "the handle has no loop of its own to run");
	if (rc->running)
		return not_here(rc, "the loop is running: this is a callback");
	return 0;
}

static void turn(struct raincheck *rc, uv_run_mode mode)
{
	rc->running = true;
	uv_run(rc->loop, mode);
	rc->running = false;
}

int handle_block(struct raincheck *rc, struct waiter *w)
{
	int err = may_run(rc);

	if (err < 0)
		return err;
	*w = (struct waiter){ 0 };
	/* What happened while nobody ran the loop, the end of the connection above all, is seen before anything is
	 * sent into it. */
	turn(rc, UV_RUN_NOWAIT);
	connection_hurry(&rc->connection);
	rc->next_waiter = w;
	return 0;
}

int handle_unblock(struct raincheck *rc, struct waiter *w, int err, void *ret)
{
	if (err < 0)
		return err;
	while (!w->done)
		turn(rc, UV_RUN_ONCE);
	if (w->code < 0) {
		rc->last_error = w->error;
		return w->code;
	}
	if (ret)
		memcpy(ret, &w->result, sizeof(w->result));
	else
		raincheck_free(w->result);
	return 0;
}

/* Only ends the turn: raincheck_run() sees that the timer is no longer active. */
static void run_timer_cb(uv_timer_t *timer)
{
	(void)timer;
}

int raincheck_run(struct raincheck *rc, int64_t timeout_ms)
{
	struct error_info info;
	int err = may_run(rc);

	if (err < 0)
		return err;
	uv_update_time(rc->loop);
	if (timeout_ms >= 0)
		uv_timer_start(&rc->run_timer, run_timer_cb, (uint64_t)timeout_ms, 0);
	rc->stopping = false;
	while (rc->pending > 0 && !rc->stopping && (timeout_ms < 0 || uv_is_active((uv_handle_t *)&rc->run_timer)))
		turn(rc, UV_RUN_ONCE);
	uv_timer_stop(&rc->run_timer);
	if (rc->pending == 0 || rc->stopping)
		return 0;
	error_set(&info, ERR_TIMED_OUT, NULL, "%zu calls are still under way", rc->pending);
	return handle_fail(rc, &info);
}

void raincheck_stop(struct raincheck *rc)
{
	rc->stopping = true;
}

/* ---- closing ---- */

void handle_closed(struct raincheck *rc)
{
	void (*closed_cb)(void *user) = rc->closed_cb;
	void *user = rc->closed_user;

	if (--rc->open_handles > 0)
		return;
	dialog_cancel_all(rc);
	if (closed_cb)
		closed_cb(user);
	/* A private loop is part of the handle and still running: raincheck_close() frees both after it. */
	if (!rc->owns_loop)
		handle_free(rc);
}

static void timer_closed_cb(uv_handle_t *handle)
{
	handle_closed(handle->data);
}

void raincheck_close(struct raincheck *rc, void (*closed_cb)(void *user), void *user)
{
	if (!rc)
		return;
	assert(rc->magic == HANDLE_MAGIC && !rc->closing && !rc->running);
	rc->closing = true;
	rc->closed_cb = closed_cb;
	rc->closed_user = user;
	connection_close(&rc->connection);
	uv_close((uv_handle_t *)&rc->deadline_timer, timer_closed_cb);
	if (!rc->owns_loop)
		return;
	uv_close((uv_handle_t *)&rc->run_timer, timer_closed_cb);
	turn(rc, UV_RUN_DEFAULT);
	uv_loop_close(rc->loop);
	handle_free(rc);
}

/* ---- asking ---- */

const struct raincheck_server *raincheck_server(const struct raincheck *rc)
{
	return rc->has_server ? &rc->server : NULL;
}

void raincheck_set_worker_quiet(struct raincheck *rc, bool quiet)
{
	rc->settings.worker_quiet = quiet;
}

int raincheck_reconnect(struct raincheck *rc, const char *token, const struct raincheck_worker *worker)
{
	struct settings next = { .token = NULL };
	struct error_info info = { 0 };

	if (check_worker(worker, &info) == 0 && copy_identity(&next, token, worker) < 0)
		error_set(&info, ERR_NO_MEMORY, NULL, "%s", error_text(ERR_NO_MEMORY));
	if (info.code < 0) {
		identity_done(&next);
		return handle_fail(rc, &info);
	}
	identity_done(&rc->settings);
	rc->settings.token = next.token;
	rc->settings.worker_name = next.worker_name;
	rc->settings.worker_queues = next.worker_queues;
	rc->settings.worker_queue_count = next.worker_queue_count;
	rc->settings.worker_slots = next.worker_slots;
	rc->greet_again = true;
	connection_hurry(&rc->connection);
	return 0;
}

bool raincheck_connected(const struct raincheck *rc)
{
	return rc->accepted;
}

size_t raincheck_pending(const struct raincheck *rc)
{
	return rc->pending;
}
