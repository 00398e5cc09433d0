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
#include "server/engine/link.h"
#include "server/engine/settings.h"
#include "server/http/address.h"
#include "server/http/board.h"
#include "server/http/door.h"
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
#define SPARE_PLACES		16 /* of each thread; only the door says that there is none, since that can wait */
#define CONNECTION_MEMORY_BYTES ((size_t)16384) /* a browser's headers with the cookies of a whole domain */
#define IDLE_TIMEOUT_S		30u		/* of a visitor who takes nothing of an answer */
#define HEAD_MS			10000
#define OTHER_PLACES		24
#define BODY_BYTES		(INT64_C(64) << 20)
#define OWED_MS			2000 /* for answers that are ready, to peers that may not read */

/* A thread of the library, and what it is for the door. */
struct server {
	struct gateway *gateway;
	int desk;
	struct MHD_Daemon *daemon; /* NULL: not started */
};

struct gateway {
	struct address_text address;
	int listener; /* −1: closed */
	struct door *door;
	struct server servers[THREADS];
	struct guests *guests;
	struct site site;
};

/* Called when the headers are there, with each piece of a body, when that is over, and after each time that the request
 * was suspended. NOLINTNEXTLINE(readability-function-size): the library's parameters */
static enum MHD_Result access_cb(void *user, struct MHD_Connection *c, const char *path, const char *method,
				 const char *version, const char *data, size_t *size, void **request)
{
	struct gateway *g = ((struct server *)user)->gateway;
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
	struct gateway *g = ((struct server *)user)->gateway;
	struct exchange *x = *request;

	*request = NULL;
	exchange_free(x);
	guests_answered_cb(g->guests, c, request, how);
}

static void connection_cb(void *user, struct MHD_Connection *c, void **place, enum MHD_ConnectionNotificationCode what)
{
	struct server *s = user;
	struct gateway *g = s->gateway;
	bool begins = what == MHD_CONNECTION_NOTIFY_STARTED;

	atomic_fetch_add(&g->site.traffic.connections, begins ? 1 : -1);
	if (begins)
		door_begun(g->door, s->desk);
	guests_connection_cb(g->guests, c, place, what);
	if (!begins)
		door_left(g->door, s->desk);
}

static bool give_cb(void *user, int desk, int fd, const struct sockaddr *peer, socklen_t peer_size)
{
	struct gateway *g = user;

	return MHD_add_connection(g->servers[desk].daemon, fd, peer, peer_size) == MHD_YES;
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
	pthread_mutex_init(&g->site.links_lock, NULL);
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

static int start_server(struct gateway *g, int desk, int connections)
{
	/* Turbo, because it leaves sockets be that streams took over: no shutdown() when the library is done with them.
	 */
	const unsigned flags = MHD_USE_TURBO | MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_NO_LISTEN_SOCKET |
			       MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
	struct server *s = &g->servers[desk];

	s->gateway = g;
	s->desk = desk;
	s->daemon = MHD_start_daemon(flags, 0, NULL, NULL, access_cb, s, MHD_OPTION_EXTERNAL_LOGGER, log_cb, NULL,
				     MHD_OPTION_CONNECTION_LIMIT, (unsigned)(connections + SPARE_PLACES),
				     MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY_BYTES,
				     MHD_OPTION_CONNECTION_TIMEOUT, IDLE_TIMEOUT_S, MHD_OPTION_STRICT_FOR_CLIENT, 1,
				     MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes_cb, NULL, MHD_OPTION_NOTIFY_CONNECTION,
				     connection_cb, s, MHD_OPTION_NOTIFY_COMPLETED, completed_cb, s, MHD_OPTION_END);
	return s->daemon ? 0 : ERR_IO;
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
		rc = door_new(g->listener, THREADS, options->connections, give_cb, g, &g->door);
	for (int i = 0; rc == 0 && i < THREADS; i++)
		rc = start_server(g, i, options->connections);
	if (rc == 0)
		rc = door_open(g->door);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc;
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
		rc = assets_make(&g->site);
	if (rc == 0)
		rc = openapi_prepare(&g->site);
	if (rc == 0)
		rc = link_signer_new(options->settings->link_secret, &g->site.links);
	if (rc < 0)
		return error_set(info, rc, NULL, "cannot make the pages: %s", error_text(rc));
	rc = start_threads(g, options);
	if (rc < 0)
		return error_set(info, rc, NULL, "cannot start the threads for %s", g->address.text);
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
	if (g->door)
		door_shut(g->door);
	/* So that nobody waits in its queue from here on. */
	close_listener(g);
}

static void stop_servers(struct gateway *g)
{
	for (int i = 0; i < THREADS; i++)
		if (g->servers[i].daemon)
			MHD_stop_daemon(g->servers[i].daemon);
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
	if (g->door)
		door_shut(g->door);
	stop_servers(g);
	door_free(g->door);
	streams_free(g->site.streams);
	stills_free(g->site.stills);
	watch_free(g->site.watch);
	guests_free(g->guests);
	board_free(g->site.board);
	close_listener(g);
	owed_done(&g->site.owed);
	link_signer_free(g->site.links);
	pthread_mutex_destroy(&g->site.links_lock);
	openapi_release(&g->site);
	assets_free(&g->site);
	link_page_free_fixed(&g->site);
	free(g);
}
