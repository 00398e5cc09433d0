/* webhook.h: what a delivery of a webhook is: how its request is made, and what its answer means.
 *
 * Requests are as Standard Webhooks 1.0.0 says (https://www.standardwebhooks.com): webhook-id, webhook-timestamp in
 * seconds, and one signature in webhook-signature for each secret. Nothing of any upstream goes along.
 *
 *   2xx, however its body ends                             delivered
 *   410                                                    rejected: the receiver wants no more
 *   an address that is not public, a URL that is none      rejected
 *   silence, 408, 504                                      timeout      ┐ and tried again by the schedule, or later
 *   whatever else, redirects too                           unavailable  ┘ where Retry-After says so
 *
 * Any thread; no state; time and draw are handed in.
 */
#ifndef RAINCHECK_WORKER_CALL_WEBHOOK_H
#define RAINCHECK_WORKER_CALL_WEBHOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct answer;
struct error_info;
struct http_request;
struct leased;
struct retry_headers;
struct verdict;
struct webhooks;

#define WEBHOOK_PAUSE_MAX_MS 86400000 /* as much as the broker believes */

/* Another attempt's circumstances. */
struct webhook_attempt {
	int64_t number; /* from 1 on */
	double draw;	/* 0 to 1: a pause is longer by up to a tenth */
	int64_t now_ms; /* Unix epoch */
};

/* The pause after that attempt: 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h. At most a day. */
int64_t webhook_pause(const struct webhook_attempt *attempt);

/* The request of a delivery, signed now. ERR_BAD_REQUEST where its metadata names no http or https URL, with info
 * filled; ERR_NO_MEMORY, ERR_INTERNAL. */
int webhook_request(const struct webhooks *w, const struct leased *job, int64_t now_ms, struct http_request **ret,
		    struct error_info *info);

/* Whether the receiver has it. */
bool webhook_is_taken(const struct answer *a);
/* Of one that it has not. headers: of the answer, where one began. */
void webhook_judge(const struct answer *a, const struct retry_headers *headers, const struct webhook_attempt *attempt,
		   struct verdict *ret);

#endif
