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
#include "server/http/guests.h"
#include "server/http/hooks.h"
#include "server/http/link_page.h"
#include "server/http/response.h"
#include "server/http/router.h"
#include "server/http/site.h"

#define THREADS			2
#define CONNECTION_MEMORY_BYTES ((size_t)16384) /* a browser's headers with the cookies of a whole domain */
#define IDLE_TIMEOUT_S		30u		/* of a visitor who takes nothing of an answer */
#define HEAD_MS			10000

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

static char seen; /* what a request without a body that is waited for is known by */

/* Called when the headers are there, and again when a body, if any, is over. No route but that of hooks wants a body:
 * an answer in the first call makes the library read nothing of it and close the connection; one in the second keeps
 * the connection. A hook's body comes in pieces, a call each. NOLINTNEXTLINE(readability-function-size): the library's
 * parameters */
static enum MHD_Result access_cb(void *user, struct MHD_Connection *c, const char *path, const char *method,
				 const char *version, const char *data, size_t *size, void **request)
{
	struct gateway *g = user;
	struct hook_post *post;
	enum MHD_Result result;

	(void)version;
	if (*request && *request != &seen)
		return hooks_go_on(*request, c, data, size);
	guests_heard(g->guests, c);
	if (!*request && hooks_begin(&g->site, c, method, path, &post, &result)) {
		*request = post;
		return result;
	}
	if (!*request && !has_body(c)) {
		*request = &seen;
		return MHD_YES;
	}
	*size = 0;
	return router_serve(&g->site, c, method, path);
}

static void completed_cb(void *user, struct MHD_Connection *c, void **request, enum MHD_RequestTerminationCode how)
{
	struct gateway *g = user;

	if (*request != &seen)
		hook_post_free(*request);
	*request = NULL;
	guests_answered_cb(g->guests, c, request, how);
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

static struct MHD_Daemon *start_daemon(struct gateway *g, int connections)
{
	const unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ERROR_LOG | MHD_ALLOW_SUSPEND_RESUME;

	return MHD_start_daemon(flags, 0, NULL, NULL, access_cb, g, MHD_OPTION_EXTERNAL_LOGGER, log_cb, NULL,
				MHD_OPTION_LISTEN_SOCKET, g->listener, MHD_OPTION_THREAD_POOL_SIZE, (unsigned)THREADS,
				MHD_OPTION_CONNECTION_LIMIT, (unsigned)connections, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
				CONNECTION_MEMORY_BYTES, MHD_OPTION_CONNECTION_TIMEOUT, IDLE_TIMEOUT_S,
				MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes_cb, NULL,
				MHD_OPTION_NOTIFY_CONNECTION, guests_connection_cb, g->guests,
				MHD_OPTION_NOTIFY_COMPLETED, completed_cb, g, MHD_OPTION_END);
}

static int start_threads(struct gateway *g, const struct gateway_options *options)
{
	sigset_t all, before;
	int rc;

	/* Signals are the main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = guests_new(options->connections, options->head_ms ? options->head_ms : HEAD_MS, &g->guests);
	if (rc == 0)
		g->daemon = start_daemon(g, options->connections);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return g->daemon ? 0 : ERR_IO;
}

int gateway_start(struct gateway *g, const struct gateway_options *options, struct error_info *info)
{
	int rc;

	g->site.settings = options->settings;
	g->site.page = options->page;
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
	if (g->daemon)
		MHD_stop_daemon(g->daemon);
	guests_free(g->guests);
	close_listener(g);
	link_page_free_fixed(&g->site);
	free(g);
}
