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
#include "server/http/guests.h"
#include "server/http/link_page.h"
#include "server/http/response.h"
#include "server/http/router.h"
#include "server/http/site.h"
#include "server/http/streams.h"
#include "server/http/watch.h"
#include "server/writer/writer.h"

#define THREADS			2
#define CONNECTION_MEMORY_BYTES ((size_t)16384) /* a browser's headers with the cookies of a whole domain */
#define IDLE_TIMEOUT_S		30u		/* of a visitor who takes nothing of an answer */
#define HEAD_MS			10000
#define OTHER_PLACES		24

struct gateway {
	struct address_text address;
	int listener; /* −1 once the daemon has it */
	struct MHD_Daemon *daemon;
	struct guests *guests;
	struct site site;
};

/* True where a body is announced. */
static bool has_body(struct MHD_Connection *c)
{
	const char *length = request_header(c, "Content-Length");

	return request_header(c, "Transfer-Encoding") || (length && strcmp(length, "0") != 0);
}

/* Called when the headers are there, and again when a body, if any, is over. No route wants a body: an answer in the
 * first call makes the library read nothing of it and close the connection; one in the second keeps the connection.
 * NOLINTNEXTLINE(readability-function-size): the library's parameters */
static enum MHD_Result access_cb(void *user, struct MHD_Connection *c, const char *path, const char *method,
				 const char *version, const char *data, size_t *size, void **request)
{
	struct gateway *g = user;
	static char seen;

	(void)version;
	(void)data;
	guests_heard(g->guests, c);
	if (!*request && !has_body(c)) {
		*request = &seen;
		return MHD_YES;
	}
	*size = 0;
	return router_serve(&g->site, c, method, path);
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

static void changed_cb(void *user, const struct job_event *events, size_t count)
{
	struct site *site = user;
	struct watch *watch = atomic_load(&site->watch);

	board_changed(site->board, events, count);
	if (watch)
		watch_changed(watch, events, count);
}

void gateway_subscribe(struct gateway *g, struct writer *w)
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
				MHD_OPTION_NOTIFY_CONNECTION, guests_connection_cb, g->guests,
				MHD_OPTION_NOTIFY_COMPLETED, guests_answered_cb, g->guests, MHD_OPTION_END);
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
	rc = link_page_make_fixed(&g->site);
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
	if (g->daemon)
		MHD_stop_daemon(g->daemon);
	streams_free(g->site.streams);
	watch_free(g->site.watch);
	guests_free(g->guests);
	board_free(g->site.board);
	close_listener(g);
	link_page_free_fixed(&g->site);
	free(g);
}
