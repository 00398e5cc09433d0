/* Making and freeing runners. A runner that could not be made whole is freed as any other. */
#include <stdlib.h>
#include <string.h>

#include "handle_priv.h"
#include "proto/base/clean.h"
#include "runner_priv.h"

#define LEASE_MS 30000
#define GRACE_MS 30000

static int check(const struct raincheck_runner_options *o, struct error_info *info)
{
	struct endpoint server;

	if (!o->name || o->name[0] == '\0')
		return error_set(info, ERR_BAD_REQUEST, "name", "a worker needs a name");
	if (!o->queues || o->queue_count == 0)
		return error_set(info, ERR_BAD_REQUEST, "queues", "a worker needs a queue");
	if (!o->handler)
		return error_set(info, ERR_BAD_REQUEST, "handler", "a worker needs a handler");
	if (o->threads < 0 || o->threads > RAINCHECK_MAX_THREADS)
		return error_set(info, ERR_BAD_REQUEST, "threads", "it must be from 1 to %d", RAINCHECK_MAX_THREADS);
	return o->server ? endpoint_parse(o->server, &server, info) : 0;
}

static int copy_text(const char *from, char **ret)
{
	*ret = from ? strdup(from) : NULL;
	return from && !*ret ? ERR_NO_MEMORY : 0;
}

static int copy_options(struct raincheck_runner *r, const struct raincheck_runner_options *o)
{
	int rc = copy_text(o->name, &r->name);

	r->options = *o;
	r->options.threads = o->threads > 0 ? o->threads : 1;
	r->options.lease_ms = o->lease_ms > 0 ? o->lease_ms : LEASE_MS;
	r->options.grace_ms = o->grace_ms > 0 ? o->grace_ms : GRACE_MS;
	if (rc == 0)
		rc = copy_text(o->server, &r->server);
	if (rc == 0)
		rc = copy_text(o->token, &r->token);
	if (rc == 0)
		rc = copy_text(o->client, &r->client);
	r->queues = calloc(o->queue_count, sizeof(*r->queues));
	if (!r->queues)
		return ERR_NO_MEMORY;
	for (size_t i = 0; rc == 0 && i < o->queue_count; i++)
		rc = copy_text(o->queues[i], &r->queues[i]);
	return rc;
}

static int start_threads(struct raincheck_runner *r)
{
	size_t threads = (size_t)r->options.threads;
	int rc = 0;

	r->works = calloc(threads, sizeof(*r->works));
	r->due = calloc(threads, sizeof(*r->due));
	r->extended = calloc(threads, sizeof(*r->extended));
	if (!r->works || !r->due || !r->extended)
		return ERR_NO_MEMORY;
	for (size_t i = 0; rc == 0 && i < threads; i++) {
		r->works[i].runner = r;
		rc = work_start(&r->works[i]);
	}
	return rc;
}

static int allocate(struct raincheck_runner **ret)
{
	struct raincheck_runner *r = calloc(1, sizeof(*r));

	if (!r)
		return ERR_NO_MEMORY;
	if (uv_loop_init(&r->loop) < 0) {
		free(r);
		return ERR_IO;
	}
	if (uv_async_init(&r->loop, &r->async, runner_async_cb) < 0) {
		uv_loop_close(&r->loop);
		free(r);
		return ERR_IO;
	}
	uv_timer_init(&r->loop, &r->tick);
	pthread_mutex_init(&r->lock, NULL);
	STAILQ_INIT(&r->errands);
	*ret = r;
	return 0;
}

int raincheck_runner_new(const struct raincheck_runner_options *options, struct raincheck_runner **ret,
			 struct raincheck_error *ret_error)
{
	struct error_info info = { .code = 0 };
	struct raincheck_runner *r = NULL;
	int rc = check(options, &info);

	if (rc == 0)
		rc = allocate(&r);
	if (rc == 0)
		rc = copy_options(r, options);
	if (rc == 0)
		rc = start_threads(r);
	if (rc == 0) {
		*ret = r;
		return 0;
	}
	raincheck_runner_free(r);
	if (info.code == 0)
		error_set(&info, rc, NULL, "%s", error_text(rc));
	if (ret_error)
		handle_export_error(&info, false, ret_error);
	return rc;
}

static void end_threads(struct raincheck_runner *r)
{
	pthread_mutex_lock(&r->lock);
	r->threads_end = true;
	for (int64_t i = 0; r->works && i < r->options.threads; i++)
		if (r->works[i].started)
			pthread_cond_broadcast(&r->works[i].wake);
	pthread_mutex_unlock(&r->lock);
	for (int64_t i = 0; r->works && i < r->options.threads; i++) {
		if (!r->works[i].started)
			continue;
		pthread_join(r->works[i].thread, NULL);
		pthread_cond_destroy(&r->works[i].wake);
	}
}

void raincheck_runner_free(struct raincheck_runner *r)
{
	if (!r)
		return;
	end_threads(r);
	if (r->state != RUNNER_CLOSED)
		runner_close(r);
	uv_run(&r->loop, UV_RUN_DEFAULT);
	uv_loop_close(&r->loop);
	pthread_mutex_destroy(&r->lock);
	for (size_t i = 0; r->queues && i < r->options.queue_count; i++)
		free(r->queues[i]);
	free(r->queues);
	free(r->works);
	free(r->due);
	free(r->extended);
	free(r->name);
	free(r->server);
	if (r->token)
		explicit_bzero(r->token, strlen(r->token));
	free(r->token);
	free(r->client);
	free(r);
}
