/* exchange.h: one request from its head to the end of its answer, over as many calls of the library as that takes.
 *
 *   head is there ──▶ exchange_begin ──▶ [exchange_feed …] ──▶ exchange_serve ──▶ answered ──▶ exchange_free
 *                          │ refused: answered at once,              │   ▲
 *                          │ or when its body was thrown away        └───┘ suspended, and resumed when there is more
 *
 * A body is taken by the routes that want one, into memory, up to the bound of one payload; what all bodies together
 * take beyond a small one each is bounded too. A body that nobody wants is not read: the connection ends with the
 * answer. It is on one thread at a time, the library's or, while it is suspended, that of whoever will resume it.
 */
#ifndef RAINCHECK_HTTP_EXCHANGE_H
#define RAINCHECK_HTTP_EXCHANGE_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/base/buf.h"
#include "proto/error.h"
#include "server/http/path.h"
#include "server/http/site.h"

struct api_call;
struct guests;

struct exchange {
	struct request request; /* points into the members below */
	struct path path;
	const char *method;
	int64_t began_ns;
	bool owed;  /* it was suspended, see owed.h */
	bool waits; /* it asked to wait: how long it takes says nothing of us */

	struct buf body;
	int64_t announced; /* bytes of the body; −1: it will be seen */
	int64_t fed;	   /* that came so far */
	int64_t counted;   /* of those in traffic.body_bytes */

	/* code < 0: nothing but this is answered, with this status; 0: problem_status(). */
	struct error_info error;
	unsigned error_status;

	struct api_call *call; /* see api_call.h */
};

/* The head is there. method and path are the library's, and live as long as the request. */
enum MHD_Result exchange_begin(struct site *site, struct guests *guests, struct MHD_Connection *c, const char *method,
			       const char *path, struct exchange **ret);
/* A piece of the body. MHD_NO: the connection ends, enough has been thrown away. */
enum MHD_Result exchange_feed(struct exchange *x, struct guests *guests, const char *data, size_t size);
/* All is there, or it was resumed. */
enum MHD_Result exchange_serve(struct exchange *x, struct guests *guests);
/* The answer is out, or never will be. NULL is taken. */
void exchange_free(struct exchange *x);

/* Nothing more of it is carried out, and this is its answer. Always negative: the error's code. */
int exchange_refuse(struct exchange *x, unsigned status, const struct error_info *info);
/* One more or one less is suspended for this; for the counters. */
void exchange_suspended(struct exchange *x, enum traffic_wait what, int by);

#endif
