/* fetch.h: brings one file from the API, or from where the API put it, to the broker as an artifact of the job.
 *
 *   URL ──▶ may it be fetched? ──▶ exchange ──redirect (at most 5)──┐
 *            ▲                        │ └──────────────────────────┘
 *            └─ upload lost (pause) ──┤ pieces, held back while the broker is slow
 *                                     ▼
 *                                  upload ──▶ stored
 *
 * Also takes a request of the caller's own whose answer is the file, and a data: URL. A fetch ends with its
 * callback, once, never from within the start, and is freed after it; or by fetch_cancel(). Loop's thread only.
 */
#ifndef RAINCHECK_WORKER_CALL_FETCH_H
#define RAINCHECK_WORKER_CALL_FETCH_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/slice.h"
#include "worker/call/classify.h"

struct broker_link;
struct curl_loop;
struct fetch;
struct http_request;
struct keysets;
struct template_values;
struct traffic;
struct upstream;
struct uv_loop_s;

/* What a call works with. */
struct means {
	struct uv_loop_s *uv;
	struct curl_loop *curl;
	struct broker_link *link;
	struct keysets *keysets;
};

struct fetch_end {
	int code; /* 0: stored or handed over; ERR_LEASE_LOST: write nothing more; else see verdict */
	struct verdict verdict;
	bool expired; /* the URL is not valid any more: the API may give another one */
	long status;  /* of HTTP; 0 where there was none */
	int64_t bytes;
	/* Handed over, to go with the completion; content_type NULL where it was stored. Valid during the callback, and
	 * until fetch_cancel() where fetch_keep() is called in it. */
	const char *content_type;
	struct slice data;
};

struct fetch_spec {
	const struct means *means;
	const struct upstream *upstream;
	const struct template_values *values; /* for credentials; copied */
	const char *job;		      /* these three live as long as the fetch */
	const char *lease;
	const char *name;  /* of the artifact */
	bool is_result;	   /* types and max_bytes apply; a small one is handed over */
	int64_t max_bytes; /* of what is not the result; 0: 64 MiB */
	int64_t give_up_at_ms;
	struct traffic *traffic; /* what its requests take is added to it; lives as long as the fetch */

	/* for fetch_start_request() */
	bool keep; /* the answer cannot be had a second time: keep it until it is stored */
	bool (*wants)(const struct upstream *u, long status); /* whether the answer is the file; NULL: any 2xx */
	int64_t first_byte_ms;				      /* 0: as long as between two bytes */

	void (*done_cb)(struct fetch *f, const struct fetch_end *end, void *user);
	void *user;
};

/* ERR_NO_MEMORY, ERR_INTERNAL. What is wrong with the URL is told by the callback. */
int fetch_start(const struct fetch_spec *spec, const char *url, struct fetch **ret_fetch);

/* The same for the answer to a request of the caller's, which becomes the fetch's on success. what names it in
 * messages. Redirects are not followed. Any address may be connected to, as it is base_url's. */
int fetch_start_request(const struct fetch_spec *spec, struct http_request *request, const char *what,
			struct fetch **ret_fetch);

/* NULL is taken. Not from within its callback. */
void fetch_cancel(struct fetch *f);

/* Whether all of the file has come, and only the broker has not taken it yet. */
bool fetch_is_whole(const struct fetch *f);

/* In the callback: keeps the fetch, for the data handed over, until fetch_cancel(). */
void fetch_keep(struct fetch *f);

#endif
