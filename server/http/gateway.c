#include "gateway.h"

#include <microhttpd.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/base/clean.h"
#include "proto/base/log.h"
#include "server/http/address.h"
#include "server/http/board.h"
#include "server/http/exchange.h"
#include "server/http/guests.h"
#include "server/http/link_page.h"
#include "server/http/openapi.h"
#include "server/http/response.h"
#include "server/http/router.h"
#include "server/http/site.h"
#include "server/http/stills.h"
#include "server/http/streams.h"
#include "server/http/watch.h"
#include "server/writer/writer.h"

#define THREADS			2
#define CONNECTION_MEMORY_BYTES ((size_t)16384) /* a browser's headers with the cookies of a whole domain */
#define IDLE_TIMEOUT_S		30u		/* of a visitor who takes nothing of an answer */
#define HEAD_MS			10000
#define OTHER_PLACES		24
#define BODY_BYTES		(INT64_C(64) << 20)
#define OWED_MS			2000 /* for answers that are ready, to peers that may not read */

struct gateway {
	struct address_text address;
	int listener; /* −1 once the daemon has it */
	struct MHD_Daemon *daemon;
	struct guests *guests;
	struct site site;
};

/* Called when the headers are there, with each piece of a body, when that is over, and after each time that the request
 * was suspended. NOLINTNEXTLINE(readability-function-size): the library's parameters */
static enum MHD_Result access_cb(void *user, struct MHD_Connection *c, const char *path, const char *method,
				 const char *version, const char *data, size_t *size, void **request)
{
	struct gateway *g = user;
	struct exchange *x = *request;
	size_t piece = *size;

	(void)version;
	*size = 0;
	if (!x)
		return exchange_begin(&g->site, g->guests, c, method, path, (struct exchange **)(void *)request);
	return piece > 0 ? exchange_feed(x, g->guests, data, piece) : exchange_serve(x, g->guests);
}

static void completed_cb(void *user, struct MHD_Connection *c, void **request, enum MHD_RequestTerminationCode how)
{
	struct gateway *g = user;
	struct exchange *x = *request;

	*request = NULL;
	exchange_free(x);
	guests_answered_cb(g->guests, c, request, how);
}

static void connection_cb(void *user, struct MHD_Connection *c, void **place, enum MHD_ConnectionNotificationCode what)
{
	struct gateway *g = user;

	atomic_fetch_add(&g->site.traffic.connections, what == MHD_CONNECTION_NOTIFY_STARTED ? 1 : -1);
	guests_connection_cb(g->guests, c, place, what);
}

/* Paths stay as they came: the router unescapes a part at a time. */
static size_t keep_escapes_cb(void *user, struct MHD_Connection *c, char *text)
{
	(void)user;
	(void)c;
	return strlen(text);
}

/* What the library complains about is what peers did wrong. */
static void log_cb(void *user, const char *fmt, va_list args)
{
	char line[512];

	(void)user;
	if (!log_enabled(LOG_DEBUG))
		return;
	vsnprintf(line, sizeof(line), fmt, args);
	line[strcspn(line, "\r\n")] = '\0';
	log_debug("http: %s", line);
}

int gateway_check_address(const char *address, struct error_info *info)
{
	return address_check(address, info);
}

int gateway_bind(const char *address, bool insecure, struct gateway **ret, struct error_info *info)
{
	struct gateway *g = calloc(1, sizeof(*g));
	int rc;

	if (!g)
		return ERR_NO_MEMORY;
	g->listener = -1;
	owed_init(&g->site.owed);
	rc = board_new(&g->site.board);
	if (rc == 0)
		rc = address_listen(address, insecure, &g->listener, info);
	if (rc == 0)
		rc = address_of(g->listener, &g->address);
	if (rc < 0) {
		gateway_stop(g);
		return rc;
	}
	*ret = g;
	return 0;
}

const char *gateway_address(const struct gateway *g)
{
	return g->address.text;
}

int gateway_check_host(const char *host)
{
	return guard_check_host(host);
}

static void changed_cb(void *user, const struct job_event *events, size_t count)
{
	struct site *site = user;
	struct watch *watch = atomic_load(&site->watch);

	board_changed(site->board, events, count);
	if (watch)
		watch_changed(watch, events, count);
}

void gateway_listen(struct gateway *g, struct writer *w)
{
	writer_subscribe(w, changed_cb, &g->site);
}

static struct MHD_Daemon *start_daemon(struct gateway *g, int connections)
{
	/* Turbo, because it leaves sockets be that streams took over: no shutdown() when the library is done with them.
	 */
	const unsigned flags =
		MHD_USE_TURBO | MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;

	return MHD_start_daemon(flags, 0, NULL, NULL, access_cb, g, MHD_OPTION_EXTERNAL_LOGGER, log_cb, NULL,
				MHD_OPTION_LISTEN_SOCKET, g->listener, MHD_OPTION_THREAD_POOL_SIZE, (unsigned)THREADS,
				MHD_OPTION_CONNECTION_LIMIT, (unsigned)connections, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
				CONNECTION_MEMORY_BYTES, MHD_OPTION_CONNECTION_TIMEOUT, IDLE_TIMEOUT_S,
				MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes_cb, NULL,
				MHD_OPTION_NOTIFY_CONNECTION, connection_cb, g, MHD_OPTION_NOTIFY_COMPLETED,
				completed_cb, g, MHD_OPTION_END);
}

/* Some places are always for those who come and go: the page, the video, whoever asks now and then. */
static int watchers_of(int connections)
{
	int others = connections / 8 < OTHER_PLACES ? connections / 8 : OTHER_PLACES;

	return connections - 2 * others;
}

static int start_threads(struct gateway *g, const struct gateway_options *options)
{
	struct watch *watch = NULL;
	sigset_t all, before;
	int rc;

	/* Signals are the main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = guests_new(options->connections, options->head_ms ? options->head_ms : HEAD_MS, &g->guests);
	if (rc == 0)
		rc = watch_new(&g->site, watchers_of(options->connections), &watch);
	atomic_store(&g->site.watch, watch);
	if (rc == 0)
		rc = streams_new(watch, g->guests, &g->site.streams);
	if (rc == 0)
		rc = stills_new(g->site.settings, g->site.blobs, &g->site.stills);
	if (rc == 0)
		g->daemon = start_daemon(g, options->connections);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return g->daemon ? 0 : ERR_IO;
}

int gateway_start(struct gateway *g, const struct gateway_options *options, struct error_info *info)
{
	int rc;

	g->site.settings = options->settings;
	atomic_store(&g->site.files, options->files);
	g->site.page = options->page;
	g->site.page_files = options->page_files;
	g->site.store = options->store;
	g->site.blobs = options->blobs;
	g->site.writer = options->writer;
	g->site.body_bytes = options->body_bytes ? options->body_bytes : BODY_BYTES;
	g->site.hosts = options->hosts;
	g->site.rpc = options->rpc;
	g->site.version = options->version;
	g->site.started_at_ms = options->started_at_ms;
	rc = link_page_make_fixed(&g->site);
	if (rc == 0)
		rc = openapi_prepare(&g->site);
	if (rc < 0)
		return error_set(info, rc, NULL, "cannot make the pages: %s", error_text(rc));
	rc = start_threads(g, options);
	if (rc < 0)
		return error_set(info, rc, NULL, "cannot start the threads for %s", g->address.text);
	g->listener = -1;
	return 0;
}

static void close_listener(struct gateway *g)
{
	if (g->listener >= 0)
		close(g->listener);
	g->listener = -1;
}

void gateway_quiesce(struct gateway *g)
{
	atomic_store(&g->site.quiesced, true);
	if (g->site.watch)
		watch_end(g->site.watch);
	if (g->daemon && g->listener < 0)
		g->listener = MHD_quiesce_daemon(g->daemon);
	/* It must stay open until the threads have ended; but nobody shall wait in its backlog until then. */
	if (g->listener >= 0)
		shutdown(g->listener, SHUT_RDWR);
}

void gateway_stop(struct gateway *g)
{
	if (!g)
		return;
	/* The library ends nothing that is suspended. */
	if (g->site.watch)
		watch_end(g->site.watch);
	stills_stop(g->site.stills);
	owed_wait(&g->site.owed, OWED_MS);
	if (g->daemon)
		MHD_stop_daemon(g->daemon);
	streams_free(g->site.streams);
	stills_free(g->site.stills);
	watch_free(g->site.watch);
	guests_free(g->guests);
	board_free(g->site.board);
	close_listener(g);
	owed_done(&g->site.owed);
	openapi_release(&g->site);
	link_page_free_fixed(&g->site);
	free(g);
}
