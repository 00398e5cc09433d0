/* exchange.h: one HTTP request and its answer, over curl_loop: with its own limits, whatever the job's are.
 *
 * An exchange belongs to the loop's thread. It ends with its done callback, once, never from within exchange_start(),
 * and is freed after that callback; or by exchange_cancel(), after which no callback comes. Redirects are not followed
 * here: the answer says where one leads. Proxies, cookies, .netrc and the like in the environment are not used, only
 * the request's own proxy and interface; TLS certificates are always verified, by trust.h, before the first byte of a
 * request, and a connection that is not trusted is left to no other exchange.
 *
 * Through a proxy it is the proxy that resolves names and connects, so public_only can only judge an address that the
 * URL itself names, before anything is sent: what else its users may reach is the proxy's to say.
 */
#ifndef RAINCHECK_WORKER_TRANSPORT_EXCHANGE_H
#define RAINCHECK_WORKER_TRANSPORT_EXCHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/slice.h"

struct curl_loop;
struct exchange;
struct http_request;
struct traffic;
struct trust;
struct uv_loop_s;

enum exchange_end {
	EXCHANGE_ANSWERED,	/* there is a complete answer, whatever it says */
	EXCHANGE_NOT_CONNECTED, /* name, address, TLS: nothing was sent */
	EXCHANGE_FORBIDDEN,	/* the address is not public; nothing was sent */
	EXCHANGE_SILENT,	/* no byte came for too long, or it was not over within total_ms */
	EXCHANGE_BROKEN,	/* the connection ended before the answer did */
	EXCHANGE_TOO_LARGE,	/* the body is larger than the cap */
	EXCHANGE_STOPPED,	/* the sink refused the body */
	EXCHANGE_FAILED,	/* out of memory, and what cannot be */
};

struct answer {
	enum exchange_end end;
	bool sent;		   /* at least a part of the request went out */
	bool body_began;	   /* at least a part of the body came */
	long status;		   /* of HTTP; 0 where no answer began */
	int64_t bytes;		   /* of body that came */
	const char *content_type;  /* NULL: not said */
	const char *redirect;	   /* where it leads, absolute; NULL: nowhere */
	struct slice body;	   /* what was collected: empty where a sink took it */
	const char *detail;	   /* in words, where end is not ANSWERED */
	struct exchange *exchange; /* for answer_header() */
};

/* Takes the body of a successful answer as it comes. */
struct exchange_sink {
	/* Asked when a body begins: whether an answer of this status is for the sink. Else it is collected. */
	bool (*wants)(void *user, long status);
	/* A piece; content_type may be NULL, total is -1 where it was not announced. SINK_TOOK, SINK_PAUSE (not taken:
	 * call exchange_resume() when there is room), SINK_STOP. Called from within libcurl: must not call back into
	 * curl_loop or this module. */
	int (*data)(void *user, const char *content_type, int64_t total, struct slice piece);
	void *user;
};

enum { SINK_TOOK, SINK_PAUSE, SINK_STOP };

struct exchange_spec {
	struct curl_loop *loop;
	struct uv_loop_s *uv;
	int64_t connect_ms;
	int64_t first_byte_ms; /* after the connection, until the answer begins */
	int64_t stall_ms;      /* without a byte, once it has begun */
	int64_t total_ms;      /* from the beginning to the end; 0: who starts it sees to that, and cancels it */
	size_t body_cap;       /* of a collected body of a 2xx answer; others are cut off, not refused */
	bool public_only;      /* connect to public addresses alone */
	size_t ahead;	       /* it is made for its connection alone, see curl_loop.h */
	bool fresh; /* on a connection of its own: libcurl may send a request again when a reused one breaks */
	const struct trust *trust; /* what the server is judged by, over TLS; NULL: curl_loop_trust() */
	struct traffic *traffic; /* what it took is added to it before done_cb or in exchange_cancel(); NULL: to none */
	struct exchange_sink sink; /* wants NULL: none */
	void (*done_cb)(struct exchange *x, const struct answer *a, void *user);
	void *user;
};

/* Sends request, which becomes the exchange's on success. ERR_NO_MEMORY, ERR_IO, ERR_INTERNAL. */
int exchange_start(const struct exchange_spec *spec, struct http_request *request, struct exchange **ret_exchange);

/* NULL is taken. Not from within the sink. */
void exchange_cancel(struct exchange *x);

/* Goes on after SINK_PAUSE; the sink may be called before this returns. Not from within the sink. */
void exchange_resume(struct exchange *x);

/* Whether its connection bears several exchanges at once (HTTP/2 and later). During the done callback only. */
bool answer_is_shared(const struct answer *a);

/* A header of the answer, the last of that name; NULL where there is none. During the done callback only. */
const char *answer_header(const struct answer *a, const char *name);

#endif
