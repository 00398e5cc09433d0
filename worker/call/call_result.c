/* From "the API is done" to "the broker has it". */
#include "worker/call/call_priv.h"

#include <string.h>

#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/error.h"
#include "worker/call/call_request.h"
#include "worker/call/leased.h"
#include "worker/config/pointer.h"
#include "worker/config/upstream.h"
#include "worker/transport/exchange.h"
#include "worker/transport/http_request.h"

#define ANSWER_MAX    (16 << 20)
#define REFETCHES_MAX 2
#define SAVED_URL_MAX 8192 /* a longer one is not worth a checkpoint */
#define OUTPUTS_SAVED 4	   /* of each further output, so many times less */

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

/* The answer that named the URL was the only one: what was paid for is lost, and is not bought again unasked. */
static void lost_for_good(struct call *c, const struct verdict *v)
{
	struct verdict final = *v;

	checkpoint_give_up(&c->checkpoint);
	if (c->upstream->submit.on_unknown == ON_UNKNOWN_FAIL)
		verdict_set(&final, RAINCHECK_FAIL_REJECTED,
			    "%.300s; the URL is not valid any more, and no other call is made (on_unknown: fail)",
			    v->message);
	call__fail(c, &final);
}

void call__wasted(struct call *c, const struct verdict *v)
{
	bool resumes = c->upstream->mode != UPSTREAM_SYNC || c->checkpoint.media_url;
	struct verdict final = *v;

	if (!resumes && c->upstream->submit.on_unknown == ON_UNKNOWN_FAIL)
		verdict_set(&final, RAINCHECK_FAIL_REJECTED,
			    "%.300s; it was paid for, and no other call is made (on_unknown: fail)", v->message);
	call__fail(c, &final);
}

/* The broker itself ends an attempt whose time it limits. */
void call__store_on(struct call *c)
{
	struct verdict v;

	if (c->storing) {
		verdict_set(&v, RAINCHECK_FAIL_UNAVAILABLE, "the result has come, and the broker has not taken it");
		call__wasted(c, &v);
		return;
	}
	c->storing = true;
	c->deadline_at_ms = clock_mono_ms() + TELL_FOR_MS;
	call__set_timer(c);
}

static void not_fetched(struct call *c, const struct fetch_end *end)
{
	bool polls = c->upstream->mode == UPSTREAM_POLL && upstream_polls(c->upstream);

	if (end->expired && polls && c->refetches < REFETCHES_MAX) {
		/* The API is asked again, for a URL that is good. */
		c->refetches++;
		call__wait(c, c->upstream->poll.interval_ms);
	} else if (end->expired && !polls) {
		lost_for_good(c, &end->verdict);
	} else {
		call__wasted(c, &end->verdict);
	}
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

/* It is there, and we cannot even begin to fetch it. */
static void not_kept(struct call *c, int code)
{
	struct verdict v;

	verdict_set(&v, RAINCHECK_FAIL_INTERNAL, "the result cannot be fetched: %s", error_text(code));
	call__wasted(c, &v);
}

static void fetch_next(struct call *c);

static void output_cb(struct fetch *f, const struct fetch_end *end, void *user)
{
	struct call *c = user;

	(void)f;
	c->result = NULL;
	c->status = end->status;
	if (end->code == ERR_LEASE_LOST) {
		call_abort(c, CALL_LOST);
	} else if (end->code < 0) {
		not_fetched(c, end);
	} else {
		c->output_at = json_object_iter_next(c->outputs, c->output_at);
		fetch_next(c);
	}
}

/* The next of the further outputs, and the result after the last. */
static void fetch_next(struct call *c)
{
	struct fetch_spec spec = spec_for(c, "result", true, result_cb);
	const char *url = c->media;
	int rc;

	if (c->output_at) {
		spec = spec_for(c, json_object_iter_key(c->output_at), false, output_cb);
		spec.max_bytes = c->upstream->result.max_bytes;
		url = json_string_value(json_object_iter_value(c->output_at));
	}
	rc = fetch_start(&spec, url, &c->result);
	if (rc < 0) {
		c->result = NULL;
		not_kept(c, rc);
	}
}

void call__fetch_all(struct call *c, const char *url, json_t *outputs)
{
	char *media = strdup(url);

	free(c->media);
	c->media = media;
	json_incref(outputs);
	json_decref(c->outputs);
	c->outputs = outputs;
	c->output_at = outputs ? json_object_iter(outputs) : NULL;
	call__move(c, CALL_FETCHING);
	if (media)
		fetch_next(c);
	else
		not_kept(c, ERR_NO_MEMORY);
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

/* A URL, or a list that begins with one. */
static const char *url_in(json_t *value)
{
	const char *url = json_string_value(json_is_array(value) ? json_array_get(value, 0) : value);

	return url && url[0] ? url : NULL;
}

const char *call__media_url(const struct call *c, json_t *body)
{
	return url_in(pointer_find(body, c->upstream->result.media));
}

/* The further outputs that body names; NULL where there are none. *ret_saveable is whether a checkpoint can hold them.
 * ERR_NO_MEMORY. */
static int find_outputs(const struct call *c, json_t *body, bool *ret_saveable, json_t **ret_outputs)
{
	const struct upstream_result *r = &c->upstream->result;
	json_t *outputs = NULL;
	const char *url;

	for (size_t i = 0; i < r->output_count; i++) {
		url = url_in(pointer_find(body, r->outputs[i].pointer));
		if (!url) {
			log_debug("job %s: the API names no %s", c->job->id, r->outputs[i].name);
			continue;
		}
		*ret_saveable &= strlen(url) <= SAVED_URL_MAX / OUTPUTS_SAVED;
		outputs = outputs ? outputs : json_object();
		if (json_object_set_new(outputs, r->outputs[i].name, json_string(url)) < 0) {
			json_decref(outputs);
			return ERR_NO_MEMORY;
		}
	}
	*ret_outputs = outputs;
	return 0;
}

static void saved(struct call *c)
{
	call__fetch_all(c, c->checkpoint.media_url, c->checkpoint.outputs);
}

/* In mode sync the answer with the URLs comes only once, so they are made durable like an id. */
static void save_and_fetch(struct call *c, const char *url, json_t *outputs)
{
	c->checkpoint.submitting = false;
	c->checkpoint.media_url = strdup(url);
	if (!c->checkpoint.media_url) {
		call__fetch_all(c, url, outputs);
		return;
	}
	c->checkpoint.outputs = json_incref(outputs);
	call__move(c, CALL_SAVING);
	call__save(c, saved);
}

static void find_media(struct call *c, json_t *body)
{
	const char *url = body ? call__media_url(c, body) : NULL;
	bool saveable = c->upstream->mode == UPSTREAM_SYNC;
	struct verdict v;
	json_t *outputs;
	int rc;

	/* Of mode sync, the caller has seen to it that there is one. */
	if (!url) {
		verdict_set(&v, RAINCHECK_FAIL_INVALID,
			    "the API says that it is done, but its answer holds no result at %.*s",
			    SLICE_FMT(c->upstream->result.media));
		call__poll_failed(c, &v, false);
		return;
	}
	rc = find_outputs(c, body, &saveable, &outputs);
	if (rc < 0) {
		not_kept(c, rc);
		return;
	}
	saveable &= strncmp(url, "data:", 5) != 0 && strlen(url) <= SAVED_URL_MAX;
	if (saveable)
		save_and_fetch(c, url, outputs);
	else
		call__fetch_all(c, url, outputs);
	json_decref(outputs);
}

static void located(struct call *c, const struct answer *a, json_t *body)
{
	struct verdict v;

	if (a->end != EXCHANGE_ANSWERED) {
		classify_transport(a, "the request for the result", &v);
		call__poll_failed(c, &v, false);
		return;
	}
	if (a->status >= 200 && a->status <= 299) {
		if (body)
			call__preview(c, body);
		find_media(c, body);
	} else {
		call__classify(c, a, body, "the request for the result", &v);
		/* What the request cannot change: it is the call that did not go well. */
		if (v.final || ((a->status == 400 || a->status == 422) && v.kind == RAINCHECK_FAIL_REJECTED))
			call__reported(c, NULL, &v);
		else
			call__poll_failed(c, &v, a->status == 404 || a->status == 410);
	}
}

/* An answer lacks what the path of the result is made of, or its URL. */
static void no_result_named(struct call *c, const struct error_info *info)
{
	struct verdict v;

	verdict_set(&v, RAINCHECK_FAIL_INVALID, "the API says that it is done, but its result cannot be asked for: %s",
		    info->message);
	call__poll_failed(c, &v, false);
}

/* The result is at a URL of its own, as it is or named in JSON. */
static void get(struct call *c, json_t *body)
{
	_cleanup_(http_request_freep) struct http_request *r = NULL;
	const struct upstream *u = c->upstream;
	struct error_info info = { .code = 0 };
	int rc;

	call__move(c, u->result.has_media ? CALL_LOCATING : CALL_FETCHING);
	/* A path of the file's own may hold what the answer says. */
	c->values.answer = body;
	rc = call_request_get(u, &c->values, u->result.path, u->result.path ? NULL : c->checkpoint.result_url, &r,
			      &info);
	c->values.answer = NULL;
	if (rc == 0 && u->result.has_media)
		rc = call__exchange(c, r, u->timeouts.stall_ms, ANSWER_MAX, false, located);
	else if (rc == 0)
		rc = call__fetch_request(c, r, "the request for the result", false, 0, NULL, result_cb);
	if (rc == 0)
		TAKE_PTR(r);
	else if (info.code == ERR_NOT_FOUND)
		no_result_named(c, &info);
	else
		call__fail_code(c, rc, "the request for the result cannot be made");
}

void call__locate(struct call *c, json_t *body)
{
	if (c->upstream->mode == UPSTREAM_SYNC && body)
		call__preview(c, body);
	if (c->upstream->result.from == RESULT_GET)
		get(c, body);
	else
		find_media(c, body);
}
