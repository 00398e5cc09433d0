/* From "the API is done" to "the broker has it". */
#include "call_priv.h"

#include <string.h>

#include "exchange.h"
#include "leased.h"
#include "pointer.h"
#include "proto/base/log.h"
#include "proto/error.h"
#include "http_request.h"
#include "upstream.h"

#define ANSWER_MAX	  (16 << 20)
#define REFETCHES_MAX	  2
#define PREVIEW_TRIES_MAX 3
#define SAVED_URL_MAX	  8192 /* a longer one is not worth a checkpoint */
#define TELL_FOR_MS	  600000

static struct fetch_spec spec_for(struct call *c, const char *name, bool is_result,
				  void (*done)(struct fetch *, const struct fetch_end *, void *))
{
	return (struct fetch_spec){
		.means = c->spec.means,
		.upstream = c->upstream,
		.values = &c->values,
		.job = c->job->id,
		.lease = c->job->lease,
		.name = name,
		.is_result = is_result,
		.give_up_at_ms = c->deadline_at_ms + TELL_FOR_MS,
		.traffic = &c->traffic,
		.done_cb = done,
		.user = c,
	};
}

/* ---- the preview ---- */

static void preview_cb(struct fetch *f, const struct fetch_end *end, void *user)
{
	struct call *c = user;

	(void)f;
	c->preview = NULL;
	if (end->code == ERR_LEASE_LOST) {
		call_abort(c, CALL_LOST);
		return;
	}
	c->preview_stored = end->code == 0;
	if (end->code < 0)
		log_debug("job %s: no preview: %s", c->job->id, end->verdict.message);
	if (c->result_stored)
		call__complete(c);
}

void call__preview(struct call *c, json_t *body)
{
	struct fetch_spec spec = spec_for(c, "preview", false, preview_cb);
	const char *url;

	if (!c->upstream->result.has_preview || c->preview || c->preview_stored ||
	    c->preview_tries >= PREVIEW_TRIES_MAX)
		return;
	url = json_string_value(pointer_find(body, c->upstream->result.preview));
	if (!url || !url[0])
		return;
	c->preview_tries++;
	if (fetch_start(&spec, url, &c->preview) < 0)
		c->preview = NULL;
}

/* ---- the result ---- */

static void not_fetched(struct call *c, const struct fetch_end *end)
{
	bool polls = c->upstream->mode == UPSTREAM_POLL;

	if (end->expired && polls && c->refetches < REFETCHES_MAX) {
		/* The API is asked again, for a URL that is good. */
		c->refetches++;
		call__wait(c, c->upstream->poll.interval_ms);
		return;
	}
	/* The answer that named the URL was the only one. */
	if (end->expired && !polls)
		checkpoint_give_up(&c->checkpoint);
	call__fail(c, &end->verdict);
}

void call__fetched(struct call *c, struct fetch *f, const struct fetch_end *end)
{
	c->status = end->status;
	c->bytes = end->bytes;
	if (end->code < 0) {
		c->result = NULL;
		if (end->code == ERR_LEASE_LOST)
			call_abort(c, CALL_LOST);
		else
			not_fetched(c, end);
		return;
	}
	c->result_stored = true;
	if (end->content_type) {
		fetch_keep(f);
		c->inline_type = end->content_type;
		c->inline_data = end->data;
	} else {
		c->result = NULL;
	}
	call__complete(c);
}

static void result_cb(struct fetch *f, const struct fetch_end *end, void *user)
{
	call__fetched(user, f, end);
}

void call__fetch(struct call *c, const char *url)
{
	struct fetch_spec spec = spec_for(c, "result", true, result_cb);
	int rc;

	call__move(c, CALL_FETCHING);
	rc = fetch_start(&spec, url, &c->result);
	if (rc < 0) {
		c->result = NULL;
		call__fail_code(c, rc, "the result");
	}
}

int call__fetch_request(struct call *c, struct http_request *request, const char *what, bool keep,
			int64_t first_byte_ms, bool (*wants)(const struct upstream *u, long status),
			void (*done)(struct fetch *f, const struct fetch_end *end, void *user))
{
	struct fetch_spec spec = spec_for(c, "result", true, done);

	spec.keep = keep;
	spec.first_byte_ms = first_byte_ms;
	spec.wants = wants;
	return fetch_start_request(&spec, request, what, &c->result);
}

/* ---- where it is ---- */

static void saved(struct call *c)
{
	call__fetch(c, c->checkpoint.media_url);
}

/* In mode sync the answer with the URL comes only once, so the URL is made durable like an id. */
static void fetch_found(struct call *c, const char *url)
{
	if (c->upstream->mode == UPSTREAM_POLL || strncmp(url, "data:", 5) == 0 || strlen(url) > SAVED_URL_MAX) {
		call__fetch(c, url);
		return;
	}
	c->checkpoint.submitting = false;
	c->checkpoint.media_url = strdup(url);
	if (!c->checkpoint.media_url) {
		call__fetch(c, url);
		return;
	}
	call__move(c, CALL_SAVING);
	call__save(c, saved);
}

static void find_media(struct call *c, json_t *body)
{
	const char *url = body ? json_string_value(pointer_find(body, c->upstream->result.media)) : NULL;
	struct verdict v;

	/* Of mode sync, the caller has seen to it that there is one. */
	if (url && url[0]) {
		fetch_found(c, url);
		return;
	}
	verdict_set(&v, RAINCHECK_FAIL_INVALID, "the API says that it is done, but its answer holds no result at %.*s",
		    SLICE_FMT(c->upstream->result.media));
	call__poll_failed(c, &v, false);
}

static void located(struct call *c, const struct answer *a)
{
	struct verdict v;
	json_t *body;

	if (a->end != EXCHANGE_ANSWERED) {
		classify_transport(a, "the request for the result", &v);
		call__poll_failed(c, &v, false);
		return;
	}
	body = call__json(a);
	if (a->status >= 200 && a->status <= 299) {
		if (body)
			call__preview(c, body);
		find_media(c, body);
	} else {
		call__classify(c, a, body, "the request for the result", &v);
		call__poll_failed(c, &v, a->status == 404 || a->status == 410);
	}
	json_decref(body);
}

/* The result is at a URL of its own, as it is or named in JSON. */
static void get(struct call *c)
{
	_cleanup_(http_request_freep) struct http_request *r = NULL;
	const struct upstream *u = c->upstream;
	struct error_info info = { .code = 0 };
	int rc;

	call__move(c, u->result.has_media ? CALL_LOCATING : CALL_FETCHING);
	rc = http_request_get(u, &c->values, u->result.path, c->checkpoint.result_url, &r, &info);
	if (rc == 0 && u->result.has_media)
		rc = call__exchange(c, r, u->timeouts.stall_ms, ANSWER_MAX, false, located);
	else if (rc == 0)
		rc = call__fetch_request(c, r, "the request for the result", false, 0, NULL, result_cb);
	if (rc == 0)
		TAKE_PTR(r);
	else
		call__fail_code(c, rc, "the request for the result cannot be made");
}

void call__locate(struct call *c, json_t *body)
{
	if (c->upstream->mode == UPSTREAM_SYNC && body)
		call__preview(c, body);
	if (c->upstream->result.from == RESULT_GET)
		get(c);
	else
		find_media(c, body);
}
