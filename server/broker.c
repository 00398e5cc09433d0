/* Start:  the page's files, store, blobs, secret, HTTP's port, writer, RPC's ports, writer's thread, HTTP's threads,
 * "ready", sweep, loop. Stop:   (signal) accept no more, answer what is in flight, then after a grace cut off what is
 * left; (loop over) writer, HTTP, store. A second signal cuts off at once, a third ends the process as any signal
 * would: nothing that was acknowledged depends on an orderly end.
 *
 * HTTP's port is bound before the writer exists because links name it; links are made by the writer. */
#include "broker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "proto/base/buf.h"
#include "proto/base/clean.h"
#include "proto/base/clock.h"
#include "proto/base/hangup.h"
#include "proto/base/log.h"
#include "server/broker_notify.h"
#include "server/broker_secret.h"
#include "server/config.h"
#include "server/engine/settings.h"
#include "server/http/gateway.h"
#include "server/http/page_load.h"
#include "server/net/net.h"
#include "server/store/blob.h"
#include "server/store/store.h"
#include "server/upkeep/compact.h"
#include "server/writer/writer.h"

#define GRACE_MS	  10000
#define SWEEP_PATIENCE_S  5
#define OTHER_DESCRIPTORS 128 /* the store, loops, listeners, what is read at the moment */
#define MAX_UPLOADS	  10000
#define ADDRESSES_MAX	  8192
#define MIN_CONNECTIONS	  8
#define DOWNLOADS_SHARE	  32 /* of all, at least */

struct broker {
	const struct config *config;
	struct settings settings;
	int rpc_connections;
	int http_connections;
	int downloads;
	int uploads;
	char public_url[320];
	struct page_files page_files;
	int64_t started_at_ms;

	struct store *store;
	struct blob_store *blobs;
	struct writer *writer;
	struct gateway *gateway;
	struct net *net;

	uv_loop_t loop;
	uv_signal_t signals[3];
	uv_timer_t grace;
	bool stopping;

	pthread_t sweeper;
	bool sweeping;
};

static int report(int rc, const char *what, const struct error_info *info)
{
	log_error("%s: %s%s%s", what, info->field, info->field[0] ? ": " : "",
		  info->message[0] ? info->message : error_text(rc));
	return rc;
}

/* ---- start ---- */

/* Every peer is a descriptor: take as many as the system gives. How many may be open at once. */
static int64_t raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return INT64_MAX;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		log_warning("cannot raise the limit of open files: %s", strerror(errno));
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
		return INT64_MAX;
	return (int64_t)limit.rlim_cur;
}

static int64_t at_most(int64_t n, int64_t most)
{
	return n < most ? n : most;
}

static int64_t at_least(int64_t n, int64_t least)
{
	return n > least ? n : least;
}

/* What each gets of what there is: who wants less than half leaves the rest to the other. */
static void halve(int64_t room, int64_t wanted_a, int64_t wanted_b, int *ret_a, int *ret_b)
{
	int64_t a = at_most(wanted_a, at_least(room / 2, room - wanted_b));

	a = at_least(a, MIN_CONNECTIONS);
	*ret_a = (int)at_most(wanted_a, a);
	*ret_b = (int)at_most(wanted_b, at_least(room - a, MIN_CONNECTIONS));
}

/* So that strangers who connect cannot take the descriptors that files need. Uploads hold a file each, so do downloads
 * while they go on; what RPC and HTTP do not want is for downloads as well. */
static void share_descriptors(struct broker *b, int64_t limit)
{
	int64_t rpc = b->config->limit_connections, http = b->config->limit_visitors;
	int64_t left = limit > OTHER_DESCRIPTORS ? limit - OTHER_DESCRIPTORS : 0;

	b->uploads = (int)at_least(at_most(at_most(left / 8, MAX_UPLOADS), 2 * rpc), MIN_CONNECTIONS);
	left -= b->uploads;
	halve(left - left / DOWNLOADS_SHARE, rpc, http, &b->rpc_connections, &b->http_connections);
	left -= b->rpc_connections + b->http_connections;
	b->downloads = (int)at_most(at_least(left, MIN_CONNECTIONS), http);
	if (b->rpc_connections < rpc || b->http_connections < http)
		log_warning("only %lld files may be open at once (ulimit -n, LimitNOFILE=): instead of %lld "
			    "connections (limits.connections) RPC takes %d, instead of %lld (limits.visitors) HTTP %d",
			    (long long)limit, (long long)rpc, b->rpc_connections, (long long)http, b->http_connections);
}

static void notice_cb(void *user, const char *line)
{
	(void)user;
	log_info("%s", line);
}

static int open_data(struct broker *b)
{
	const struct config *c = b->config;
	const struct store_options options = { .dir = c->data, .max_bytes = c->store_max_bytes, .notice = notice_cb };
	struct error_info info = { .code = 0 };
	int rc;

	rc = store_open(&options, &b->store, &info);
	if (rc < 0)
		return report(rc, "cannot open the data directory", &info);
	/* The directory is ours now. */
	if (compact_clean(c->data))
		log_info("removed what a compaction that was cut off had left in %s", c->data);
	rc = blob_store_open(c->data, &b->blobs, &info);
	if (rc < 0)
		return report(rc, "cannot open the artifacts' directory", &info);
	return 0;
}

static int bind_http(struct broker *b)
{
	const struct config *c = b->config;
	struct error_info info = { .code = 0 };
	int rc;

	rc = gateway_bind(c->http, c->insecure, &b->gateway, &info);
	if (rc < 0)
		return report(rc, "cannot listen for HTTP", &info);
	if (c->public_url)
		snprintf(b->public_url, sizeof(b->public_url), "%s", c->public_url);
	else
		snprintf(b->public_url, sizeof(b->public_url), "http://%s", gateway_address(b->gateway));
	if (strncmp(b->public_url, "http://0.0.0.0:", 15) == 0 || strncmp(b->public_url, "http://[::]:", 12) == 0)
		log_warning("links will begin with %s, where no visitor gets: set --public-url", b->public_url);
	return 0;
}

static void fill_settings(struct broker *b)
{
	const struct config *c = b->config;
	struct settings *s = &b->settings;

	s->public_url = b->public_url;
	s->inline_bytes = c->store_inline_bytes;
	s->payload_bytes = c->limit_payload_bytes;
	s->artifact_bytes = c->limit_artifact_bytes;
	s->answer_bytes = c->limit_message_bytes;
	s->reserve_bytes =
		c->store_reserve_bytes == CONFIG_AUTO ? store_auto_reserve(b->store) : c->store_reserve_bytes;
	s->result_ttl_ms = c->result_ttl_ms;
	s->record_ttl_ms = c->record_ttl_ms;
	s->tombstone_ttl_ms = c->tombstone_ttl_ms;
}

static int load_page(struct broker *b)
{
	struct error_info info = { .code = 0 };
	int rc = page_files_load(b->config->page_logo, b->config->page_templates, &b->page_files, &info);

	return rc < 0 ? report(rc, "cannot use the page's files", &info) : 0;
}

static int prepare(struct broker *b)
{
	struct error_info info = { .code = 0 };
	int rc;

	rc = open_data(b);
	if (rc < 0)
		return rc;
	rc = broker_secret_load(b->store, b->settings.link_secret, &info);
	if (rc < 0)
		return report(rc, "cannot use the links' secret", &info);
	rc = bind_http(b);
	if (rc < 0)
		return rc;
	fill_settings(b);
	rc = writer_new(&b->settings, b->store, b->blobs, &b->writer);
	if (rc < 0)
		return report(rc, "cannot start the writer", &info);
	gateway_listen(b->gateway, b->writer);
	return 0;
}

static int listen_rpc(struct broker *b)
{
	const struct config *c = b->config;
	const struct net_options options = {
		.listen = (const char *const *)c->listen,
		.listen_count = c->listen_count,
		.insecure = c->insecure,
		.settings = &b->settings,
		.store = b->store,
		.blobs = b->blobs,
		.writer = b->writer,
		.version = RAINCHECK_VERSION,
		.started_at_ms = b->started_at_ms,
		.limits = { .message = (size_t)c->limit_message_bytes,
			    .payload = c->limit_payload_bytes,
			    .depth = (uint32_t)c->limit_depth,
			    .elements = (uint32_t)c->limit_elements,
			    .connections = b->rpc_connections,
			    .uploads = b->uploads },
	};
	struct error_info info = { .code = 0 };
	int rc = net_new(&b->loop, &options, &b->net, &info);

	return rc < 0 ? report(rc, "cannot listen for RPC", &info) : 0;
}

/* For the metrics that HTTP tells. */
static void read_rpc(void *user, struct rpc_figures *ret)
{
	const struct broker *b = user;
	struct net_stats stats;

	net_stats(b->net, &stats);
	*ret = (struct rpc_figures){
		.connections = stats.connections,
		.accepted = stats.accepted,
		.refused = stats.refused,
		.workers = stats.workers,
		.slots = stats.slots,
		.slots_free = stats.slots_free,
		.in_hand = stats.in_hand,
	};
	memcpy(ret->requests, stats.requests, sizeof(ret->requests));
}

static int start_http(struct broker *b)
{
	const struct config *c = b->config;
	struct gateway_options options = {
		.connections = b->http_connections,
		.files = b->downloads,
		.settings = &b->settings,
		.page = { .name = c->page_name,
			  .accent = c->page_accent,
			  .aspect = c->page_aspect,
			  .language = (enum page_language)c->page_language,
			  .logo = b->page_files.logo_path,
			  .job = b->page_files.job,
			  .notice = b->page_files.notice },
		.page_files = &b->page_files,
		.store = b->store,
		.blobs = b->blobs,
		.writer = b->writer,
		.hosts = { .items = (const char *const *)c->api_hosts, .count = c->api_hosts_count },
		.rpc = { .read = read_rpc, .user = b },
		.version = RAINCHECK_VERSION,
		.started_at_ms = b->started_at_ms,
	};
	struct error_info info = { .code = 0 };
	int rc;

	for (size_t i = 0; i < PAGE_TEXTS; i++)
		options.page.texts[i] = c->page_texts[i];
	rc = gateway_start(b->gateway, &options, &info);
	return rc < 0 ? report(rc, "cannot serve HTTP", &info) : 0;
}

static int start(struct broker *b)
{
	const struct error_info nothing = { .code = 0 };
	int rc;

	rc = load_page(b);
	if (rc == 0)
		rc = prepare(b);
	if (rc == 0)
		rc = listen_rpc(b);
	if (rc < 0)
		return rc;
	rc = writer_start(b->writer);
	if (rc < 0)
		return report(rc, "cannot start the writer", &nothing);
	return start_http(b);
}

/* ---- the loop and its end ---- */

static void stopped_cb(void *user)
{
	struct broker *b = user;

	hangup_hold();
	for (size_t i = 0; i < ARRAY_SIZE(b->signals); i++)
		uv_close((uv_handle_t *)&b->signals[i], NULL);
	hangup_ignore();
	uv_close((uv_handle_t *)&b->grace, NULL);
}

static void grace_over_cb(uv_timer_t *timer)
{
	struct broker *b = timer->data;

	log_warning("some peers did not finish within %d s: cutting them off", GRACE_MS / 1000);
	net_kill(b->net);
}

static void signal_cb(uv_signal_t *handle, int number)
{
	struct broker *b = handle->data;

	if (b->stopping) {
		log_warning("signal %d again: cutting off every peer", number);
		net_kill(b->net);
		return;
	}
	b->stopping = true;
	log_info("signal %d: stopping", number);
	broker_notify("STOPPING=1");
	gateway_quiesce(b->gateway);
	net_stop(b->net, stopped_cb, b);
	uv_timer_start(&b->grace, grace_over_cb, GRACE_MS, 0);
}

/* Others read their file anew for it, and whoever is used to that must not end the broker. */
static void hangup_cb(uv_signal_t *handle, int number)
{
	(void)handle;
	(void)number;
	log_warning("SIGHUP changes nothing: flags and file are read at the start alone");
}

static void watch_signals(struct broker *b)
{
	static const int numbers[] = { SIGTERM, SIGINT, SIGHUP };

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		uv_signal_init(&b->loop, &b->signals[i]);
		b->signals[i].data = b;
		uv_signal_start(&b->signals[i], numbers[i] == SIGHUP ? hangup_cb : signal_cb, numbers[i]);
	}
	hangup_release();
	uv_timer_init(&b->loop, &b->grace);
	b->grace.data = b;
}

/* ---- leftovers of a crash ---- */

static void *sweep(void *user)
{
	struct broker *b = user;
	int64_t removed = 0;
	int rc = blob_sweep(b->blobs, b->store, &removed);

	if (rc < 0)
		log_warning("cannot look for artifacts that no job owns: %s", error_text(rc));
	else if (removed > 0)
		log_info("removed %lld artifacts that no job owns", (long long)removed);
	return NULL;
}

static void start_sweep(struct broker *b)
{
	sigset_t all, before;

	/* Signals are the main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	b->sweeping = pthread_create(&b->sweeper, NULL, sweep, b) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* False where it is still at it: then the store must stay open under it until the process ends. */
static bool end_sweep(struct broker *b)
{
	struct timespec until;

	if (!b->sweeping)
		return true;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += SWEEP_PATIENCE_S;
	return pthread_timedjoin_np(b->sweeper, NULL, &until) == 0;
}

/* ---- the whole ---- */

/* "rpc=… rpc=… http=…" */
static void list_addresses(const struct broker *b, struct buf *out)
{
	const char *rpc;

	for (size_t i = 0; (rpc = net_address(b->net, i)); i++)
		buf_printf(out, "rpc=%s ", rpc);
	buf_printf(out, "http=%s", gateway_address(b->gateway));
}

static void serve(struct broker *b)
{
	_cleanup_(buf_done) struct buf addresses;

	watch_signals(b);
	buf_init(&addresses, ADDRESSES_MAX);
	list_addresses(b, &addresses);
	if (printf("ready %.*s\n", (int)addresses.size, (const char *)addresses.data) < 0 || fflush(stdout) != 0)
		log_warning("cannot say \"ready\" on standard output: %s", strerror(errno));
	log_info("raincheckd %s serves %.*s links=%s/r/ data=%s", RAINCHECK_VERSION, (int)addresses.size,
		 (const char *)addresses.data, b->public_url, b->config->data);
	broker_notify("READY=1");
	start_sweep(b);
	uv_run(&b->loop, UV_RUN_DEFAULT);
}

static void nothing_cb(void *user)
{
	(void)user;
}

/* Undoes as much as was done. True where everything could be freed. */
static bool end(struct broker *b, bool served)
{
	if (b->net && !served) {
		net_stop(b->net, nothing_cb, NULL);
		net_kill(b->net);
	}
	if (b->writer)
		writer_stop(b->writer);
	if (!served)
		uv_run(&b->loop, UV_RUN_DEFAULT);
	gateway_stop(b->gateway);
	page_files_done(&b->page_files);
	net_free(b->net);
	writer_free(b->writer);
	if (uv_loop_close(&b->loop) < 0)
		log_warning("the loop was not empty at the end");
	if (!end_sweep(b))
		return false;
	blob_store_close(b->blobs);
	store_close(b->store);
	return true;
}

int broker_run(const struct config *config)
{
	struct broker *b = calloc(1, sizeof(*b));
	int rc;

	if (!b || uv_loop_init(&b->loop) < 0) {
		free(b);
		return ERR_NO_MEMORY;
	}
	b->config = config;
	b->started_at_ms = clock_wall_ms();
	signal(SIGPIPE, SIG_IGN);
	share_descriptors(b, raise_descriptor_limit());
	rc = start(b);
	if (rc == 0)
		serve(b);
	if (end(b, rc == 0))
		free(b);
	if (rc == 0)
		log_info("stopped");
	return rc;
}
