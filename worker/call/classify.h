/* classify.h: what an answer, or none, means for the job: which kind of failure, whether and when to come back.
 *
 *   what happened                                            kind
 *   name, address or TLS failed; nothing was sent            unavailable
 *   a request was sent and the connection ended              unavailable   (a submit: outcome unknown)
 *   silence for too long                                     timeout       (a submit: outcome unknown)
 *   HTTP 408, 504                                            timeout
 *   HTTP 425, 429, or what error.throttle_http lists instead throttled, with Retry-After where it is given
 *   HTTP 5xx, or whatever error.retry_http lists instead     unavailable
 *   another HTTP status that is not success                  rejected
 *   a code in error.fatal_codes, whatever the status         rejected
 *   a code in error.throttle_codes, whatever the status      throttled
 *   a code in error.retry_codes, whatever the status         unavailable, or throttled with such a status
 *   an answer or a result that makes no sense                invalid
 *   an address that must not be fetched from                 rejected
 *   the worker's own trouble                                 internal
 *
 * Any thread; no state; the time is handed in.
 */
#ifndef RAINCHECK_WORKER_CALL_CLASSIFY_H
#define RAINCHECK_WORKER_CALL_CLASSIFY_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/raincheck.h"

struct answer;
struct upstream_error;

struct verdict {
	enum raincheck_failure kind;
	int64_t retry_after_ms; /* what the API asked for; 0: nothing */
	bool unknown;		/* a request was sent, and whether it was taken is not known */
	bool code_listed;	/* error.retry_codes has the code that the API gave */
	bool final;		/* error.fatal_codes has it */
	char message[512];
};

/* Headers that say when to come back; NULL where they are not there. */
struct retry_headers {
	const char *retry_after;    /* Retry-After: seconds or an HTTP date */
	const char *retry_after_ms; /* Retry-After-Ms: milliseconds */
	const char *reset;	    /* (X-)RateLimit-Reset: seconds, or a Unix time in seconds or milliseconds */
	const char *code;	    /* error.code, where that is a header's */
};

/* Those of an answer; valid as long as it. */
void classify_headers(const struct upstream_error *e, const struct answer *a, struct retry_headers *ret);

void verdict_set(struct verdict *v, enum raincheck_failure kind, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Milliseconds from now, at most the configured cap; 0 where nothing usable is said. */
int64_t classify_retry_after(const struct upstream_error *e, const struct retry_headers *h, int64_t now_ms);

/* For an exchange that did not end in an answer. what says which: "the submit". */
void classify_transport(const struct answer *a, const char *what, struct verdict *ret);

/* For an answer that is not success. body may be NULL where it is not JSON. It is unknown, too, what became of a
 * request that was answered by a gateway in the place of the API. */
void classify_status(const struct upstream_error *e, long status, const struct retry_headers *h, json_t *body,
		     int64_t now_ms, const char *what, struct verdict *ret);

/* For an answer with a success status, or a state, that reports a failure of the call itself. header_code is the code
 * where a header has it (NULL: none). */
void classify_report(const struct upstream_error *e, json_t *body, const char *header_code, const char *what,
		     struct verdict *ret);

/* True where the body holds an error's code or, where there is no code, its message at the places configured. */
bool classify_has_error(const struct upstream_error *e, json_t *body);
/* True where the answer holds a code that one of the three lists has: an error, whatever else it says. */
bool classify_has_listed_code(const struct upstream_error *e, json_t *body, const char *header_code);

/* False for null, false, 0, "" and what is empty, and for NULL. */
bool json_says_something(json_t *value);

/* The scalar as text ("" for null, objects, arrays and NULL), cut to size. */
void scalar_text(json_t *value, char *ret, size_t size);

#endif
