/* site.h: what every request's answer is made from. Filled before the first request, then only read, but for what is
 * atomic, traffic, owed and links.
 */
#ifndef RAINCHECK_HTTP_SITE_H
#define RAINCHECK_HTTP_SITE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "server/http/asset.h"
#include "server/http/guard.h"
#include "server/http/metrics.h"
#include "server/http/owed.h"
#include "server/http/page_texts.h"
#include "server/http/traffic.h"

struct MHD_Connection;
struct MHD_Response;
struct blob_store;
struct board;
struct link_signer;
struct page_files;
struct settings;
struct stills;
struct store;
struct streams;
struct uuid;
struct watch;
struct writer;

/* Answers that are the same for all: made once. */
struct fixed_answers {
	struct MHD_Response *unknown_page; /* 404 */
	struct MHD_Response *gone_page;	   /* 410 */
	struct MHD_Response *broken_page;  /* 500, 503 */
};

struct site {
	const struct settings *settings;
	struct page_settings page;
	const struct page_files *page_files; /* NULL: none */
	struct store *store;
	struct blob_store *blobs;
	struct writer *writer;
	struct board *board;
	struct watch *_Atomic watch; /* NULL until the threads are started */
	struct streams *streams;
	struct stills *stills;
	pthread_mutex_t links_lock;
	struct link_signer *links; /* of the answers to puts; only under the lock */
	struct fixed_answers fixed;
	struct asset assets[ASSETS]; /* by enum asset_name */
	atomic_bool quiesced;
	atomic_int files; /* that may yet be opened for downloads */

	int64_t body_bytes; /* see exchange.h */
	struct guard_hosts hosts;
	struct traffic traffic;
	struct owed owed;
	struct rpc_source rpc;
	struct MHD_Response *openapi; /* made once */
	const char *version;
	int64_t started_at_ms;
};

/* One request, on the stack of the thread that answers it. */
struct request {
	struct site *site;
	struct MHD_Connection *connection;
	const char *token; /* of /r/{token}/…; "" where there is none */
	const char *name;  /* of an artifact */
	bool head;
	/* Of /v1/jobs/…: the job, and no token; its bytes are told with the type that they came with. NULL elsewhere.
	 */
	const struct uuid *job;
};

#endif
