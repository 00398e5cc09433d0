#include "worker/call/webhook.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/clean.h"
#include "proto/error.h"
#include "worker/call/classify.h"
#include "worker/call/leased.h"
#include "worker/config/signature.h"
#include "worker/config/upstream.h"
#include "worker/config/webhook_config.h"
#include "worker/transport/exchange.h"
#include "worker/transport/http_request.h"
#include "worker/transport/url.h"

#define SECOND	INT64_C(1000)
#define MINUTE	(60 * SECOND)
#define HOUR	(60 * MINUTE)
#define URL_MAX 2049

static const char what[] = "the webhook";

/* ---- when ---- */

int64_t webhook_pause(const struct webhook_attempt *attempt)
{
	/* What Standard Webhooks recommends. */
	static const int64_t pauses[] = { 5 * SECOND, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR,
					  10 * HOUR,  14 * HOUR,  20 * HOUR,   24 * HOUR };
	int64_t last = (int64_t)ARRAY_SIZE(pauses) - 1, i = attempt->number - 1;
	int64_t pause = pauses[i < 0 ? 0 : i < last ? i : last];

	/* Those of a receiver that failed many at once shall not all come back at once. */
	pause += (int64_t)(attempt->draw * (double)pause / 10);
	return pause < WEBHOOK_PAUSE_MAX_MS ? pause : WEBHOOK_PAUSE_MAX_MS;
}

/* ---- the request ---- */

static int add_signatures(struct http_request *r, const struct webhooks *w, struct slice id, int64_t timestamp)
{
	const struct slice body = slice_of(r->body, r->body_size);
	char *all = malloc(w->key_count * SIGNATURE_STANDARD_SIZE + 1), *at = all;
	int rc = 0;

	if (!all)
		return ERR_NO_MEMORY;
	*at = '\0';
	for (size_t i = 0; rc == 0 && i < w->key_count; i++) {
		if (i > 0)
			*at++ = ' ';
		rc = signature_sign_standard(&w->keys[i], id, timestamp, body, at);
		at += strlen(at);
	}
	if (rc == 0)
		return http_request_add_header(r, "webhook-signature", all);
	free(all);
	return rc;
}

static int add_headers(struct http_request *r, const struct webhooks *w, const struct leased *job, int64_t timestamp)
{
	const char *type = leased_content_type(job);
	char text[24];
	int rc;

	snprintf(text, sizeof(text), "%" PRId64, timestamp);
	rc = http_request_add_header(r, "content-type", strdup(type ? type : "application/json"));
	if (rc == 0)
		rc = http_request_add_header(r, "webhook-id", strdup(job->id));
	if (rc == 0)
		rc = http_request_add_header(r, "webhook-timestamp", strdup(text));
	if (rc == 0 && job->traceparent)
		rc = http_request_add_header(r, "traceparent", strdup(job->traceparent));
	return rc == 0 ? add_signatures(r, w, slice_str(job->id), timestamp) : rc;
}

/* False where there is none that could be called. */
static bool find_url(const struct leased *job, char ret[URL_MAX])
{
	struct origin origin;

	for (size_t i = 0; i < job->metadata_count; i++) {
		const struct pair *p = &job->metadata[i];

		if (!slice_is(p->key, "url") || p->value.size >= URL_MAX)
			continue;
		snprintf(ret, URL_MAX, "%.*s", SLICE_FMT(p->value));
		return url_origin(ret, &origin) == 0;
	}
	return false;
}

int webhook_request(const struct webhooks *w, const struct leased *job, int64_t now_ms, struct http_request **ret,
		    struct error_info *info)
{
	_cleanup_(http_request_freep) struct http_request *r = NULL;
	char url[URL_MAX];
	int rc;

	if (!find_url(job, url))
		return error_set(info, ERR_BAD_REQUEST, NULL,
				 "the callback is not an http or https URL without user and password");
	rc = http_request_post(url, slice_of(job->payload, job->payload_size), &r);
	if (rc == 0)
		rc = add_headers(r, w, job, now_ms / SECOND);
	if (rc < 0)
		return rc;
	*ret = TAKE_PTR(r);
	return 0;
}

/* ---- the answer ---- */

static bool is_success(long status)
{
	return status >= 200 && status <= 299;
}

/* What a receiver says besides is not wanted: it may be as long as it likes, or break off. */
bool webhook_is_taken(const struct answer *a)
{
	return is_success(a->status) && (a->end == EXCHANGE_ANSWERED || a->end == EXCHANGE_TOO_LARGE);
}

static void judge_status(long status, struct verdict *ret)
{
	if (status == 410)
		verdict_set(ret, RAINCHECK_FAIL_REJECTED, "the receiver is gone (410)");
	else if (status >= 300 && status <= 399)
		verdict_set(ret, RAINCHECK_FAIL_UNAVAILABLE,
			    "%s was answered with HTTP %ld, and redirects are not followed", what, status);
	else
		verdict_set(ret, status == 408 || status == 504 ? RAINCHECK_FAIL_TIMEOUT : RAINCHECK_FAIL_UNAVAILABLE,
			    "%s was answered with HTTP %ld", what, status);
}

static void judge_end(const struct answer *a, struct verdict *ret)
{
	switch (a->end) {
	case EXCHANGE_ANSWERED:
		judge_status(a->status, ret);
		break;
	case EXCHANGE_FORBIDDEN:
		verdict_set(ret, RAINCHECK_FAIL_REJECTED,
			    "%s leads to an address that is not public (webhooks.allow_private would allow it)", what);
		break;
	case EXCHANGE_SILENT:
		verdict_set(ret, RAINCHECK_FAIL_TIMEOUT, "%s was not answered in time", what);
		break;
	case EXCHANGE_NOT_CONNECTED:
		verdict_set(ret, RAINCHECK_FAIL_UNAVAILABLE, "%s could not be sent: %s", what, a->detail);
		break;
	default:
		verdict_set(ret, RAINCHECK_FAIL_UNAVAILABLE, "%s: %s", what, a->detail ? a->detail : "no answer");
	}
}

void webhook_judge(const struct answer *a, const struct retry_headers *headers, const struct webhook_attempt *attempt,
		   struct verdict *ret)
{
	static const struct upstream_error believed = { .retry_after = RETRY_AFTER_SECONDS,
							.cap_ms = WEBHOOK_PAUSE_MAX_MS };
	int64_t asked;

	judge_end(a, ret);
	if (ret->kind == RAINCHECK_FAIL_REJECTED)
		return;
	asked = classify_retry_after(&believed, headers, attempt->now_ms);
	ret->retry_after_ms = webhook_pause(attempt);
	if (asked > ret->retry_after_ms)
		ret->retry_after_ms = asked;
}
