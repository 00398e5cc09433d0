#include "worker/call/fetch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "proto/base/buf.h"
#include "proto/base/clean.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/error.h"
#include "worker/call/data_url.h"
#include "worker/call/call_request.h"
#include "worker/call/upload.h"
#include "worker/config/json_text.h"
#include "worker/config/template.h"
#include "worker/config/upstream.h"
#include "worker/transport/exchange.h"
#include "worker/transport/http_request.h"
#include "worker/transport/url.h"

#define HOPS_MAX	  5
#define RESTARTS_MAX	  5 /* of those that nothing explains */
#define PAUSE_FIRST_MS	  50
#define PAUSE_MAX_MS	  30000
#define ERROR_BODY_CAP	  65536
#define PREVIEW_MAX_BYTES (64LL << 20)

struct fetch {
	struct fetch_spec spec;
	struct template_values values;
	char *url; /* absolute; NULL where the request is the caller's */
	bool kept;
	unsigned hops;
	unsigned restarts;
	uint64_t pause_ms; /* before the next one that is not made at once; 0: PAUSE_FIRST_MS */
	struct exchange *exchange;
	struct upload *upload;
	struct data_url *data;
	uv_timer_t later; /* ends, or begins, outside of the caller's stack; or begins again, after a pause */
	bool closing;
	long status;
	char shown[200]; /* the URL without its query, or what the caller calls the request */
	struct verdict refusal;
	int refusal_code;
};

static void begin(struct fetch *f);

static const struct words no_words;

/* ---- ending ---- */

static void closed_cb(uv_handle_t *handle)
{
	struct fetch *f = CONTAINER_OF((uv_timer_t *)handle, struct fetch, later);

	free(f->url);
	free(f);
}

static void stop(struct fetch *f)
{
	exchange_cancel(TAKE_PTR(f->exchange));
	data_url_free(TAKE_PTR(f->data));
}

static void dispose(struct fetch *f)
{
	if (f->closing)
		return;
	f->closing = true;
	stop(f);
	upload_free(TAKE_PTR(f->upload));
	uv_close((uv_handle_t *)&f->later, closed_cb);
}

void fetch_cancel(struct fetch *f)
{
	if (f)
		dispose(f);
}

void fetch_keep(struct fetch *f)
{
	f->kept = true;
}

bool fetch_is_whole(const struct fetch *f)
{
	return f->upload && upload_is_fed(f->upload);
}

static void end(struct fetch *f, struct fetch_end *e)
{
	stop(f);
	e->status = f->status;
	e->bytes = f->upload ? upload_bytes(f->upload) : 0;
	f->spec.done_cb(f, e, f->spec.user);
	if (!f->kept)
		dispose(f);
}

static void later_cb(uv_timer_t *timer)
{
	struct fetch *f = CONTAINER_OF(timer, struct fetch, later);
	struct fetch_end e = { .code = f->refusal_code, .verdict = f->refusal };

	if (f->refusal_code < 0)
		end(f, &e);
	else
		begin(f);
}

/* From where the fetch must not end: it does so a moment later. */
static void end_later(struct fetch *f, int code)
{
	f->refusal_code = code;
	uv_timer_start(&f->later, later_cb, 0, 0);
}

/* ---- the upload ---- */

/* What a refusal of the upload's means. */
static void judge_upload(const struct fetch *f, int code, const char *why, struct verdict *ret)
{
	switch (code) {
	case ERR_BAD_REQUEST:
	case ERR_TOO_LARGE:
		verdict_set(ret, RAINCHECK_FAIL_INVALID, "%s", why);
		break;
	case ERR_GONE:
		verdict_set(ret, RAINCHECK_FAIL_UNAVAILABLE, "the %s could not be stored: %s", f->spec.name, why);
		break;
	default:
		verdict_set(ret, RAINCHECK_FAIL_INTERNAL, "the %s could not be stored: %s", f->spec.name, why);
	}
}

/* The file is still where it was, but whoever sends it is not to be asked for all of it again and again while the
 * broker's disk is full. */
static void begin_after_pause(struct fetch *f, const char *why)
{
	f->pause_ms = f->pause_ms > 0 ? 2 * f->pause_ms : PAUSE_FIRST_MS;
	if (f->pause_ms > PAUSE_MAX_MS)
		f->pause_ms = PAUSE_MAX_MS;
	log_info("job %s: the broker has not taken the %s, which is fetched again in %llu ms: %s", f->spec.job,
		 f->spec.name, (unsigned long long)f->pause_ms, why);
	uv_timer_start(&f->later, later_cb, f->pause_ms, 0);
}

/* The upload was lost, and its bytes with it. False: they are not fetched again. */
static bool fetch_again(struct fetch *f, const struct upload *up, const char *why)
{
	bool cut_off = upload_was_cut_off(up), excused = upload_was_excused(up);

	if (!f->url || (!cut_off && !excused && f->restarts >= RESTARTS_MAX))
		return false;
	if (!cut_off && excused && clock_mono_ms() >= f->spec.give_up_at_ms)
		return false;
	stop(f);
	if (cut_off) {
		begin(f);
	} else if (excused) {
		begin_after_pause(f, why);
	} else {
		f->restarts++;
		begin(f);
	}
	return true;
}

static void upload_done_cb(struct upload *up, int code, const char *why, void *user)
{
	struct fetch *f = user;
	struct fetch_end e = { .code = code };

	if (code == ERR_GONE && fetch_again(f, up, why))
		return;
	if (code < 0)
		judge_upload(f, code, why, &e.verdict);
	else
		e.data = upload_inline(up, &e.content_type);
	end(f, &e);
}

static void feed_data(struct fetch *f);

static void upload_room_cb(struct upload *up, void *user)
{
	struct fetch *f = user;

	(void)up;
	if (f->exchange)
		exchange_resume(f->exchange);
	else if (f->data)
		feed_data(f);
}

static int make_upload(struct fetch *f)
{
	struct upload_spec spec = {
		.link = f->spec.means->link,
		.job = f->spec.job,
		.lease = f->spec.lease,
		.name = f->spec.name,
		.types = f->spec.is_result ? &f->spec.upstream->result.types : &no_words,
		.max_bytes = f->spec.is_result	     ? f->spec.upstream->result.max_bytes
			     : f->spec.max_bytes > 0 ? f->spec.max_bytes
						     : PREVIEW_MAX_BYTES,
		.keep = f->spec.keep,
		.hand_over = f->spec.is_result,
		.give_up_at_ms = f->spec.give_up_at_ms,
		.done_cb = upload_done_cb,
		.room_cb = upload_room_cb,
		.user = f,
	};

	upload_free(TAKE_PTR(f->upload));
	return upload_new(&spec, &f->upload);
}

/* ---- the exchange ---- */

static bool sink_wants(void *user, long status)
{
	const struct fetch *f = user;

	if (f->spec.wants)
		return f->spec.wants(f->spec.upstream, status);
	return status >= 200 && status <= 299;
}

static int sink_data(void *user, const char *content_type, int64_t total, struct slice piece)
{
	struct fetch *f = user;
	int rc = upload_feed(f->upload, content_type, total, piece);

	if (rc == UPLOAD_WAIT)
		return SINK_PAUSE;
	if (rc == UPLOAD_TOOK)
		return SINK_TOOK;
	judge_upload(f, rc, upload_why(f->upload), &f->refusal);
	return SINK_STOP;
}

static void finish_upload(struct fetch *f, const char *content_type)
{
	struct fetch_end e = { .code = upload_finish(f->upload, content_type) };

	if (e.code == 0)
		return;
	judge_upload(f, e.code, upload_why(f->upload), &e.verdict);
	end(f, &e);
}

static void follow(struct fetch *f, const char *redirect)
{
	struct fetch_end e = { .code = ERR_DENIED };
	char *url = strdup(redirect);

	if (url && ++f->hops <= HOPS_MAX) {
		free(f->url);
		f->url = url;
		begin(f);
		return;
	}
	if (url)
		verdict_set(&e.verdict, RAINCHECK_FAIL_INVALID, "%s is redirected more than %d times", f->shown,
			    HOPS_MAX);
	else
		verdict_set(&e.verdict, RAINCHECK_FAIL_INTERNAL, "%s: %s", f->shown, error_text(ERR_NO_MEMORY));
	free(url);
	end(f, &e);
}

/* What the status says is not all that it may say. */
static void unread(struct fetch *f, const struct answer *a)
{
	struct answer lost = *a;
	struct fetch_end e = { .code = ERR_NO_MEMORY };

	lost.end = EXCHANGE_FAILED;
	lost.detail = error_text(ERR_NO_MEMORY);
	classify_transport(&lost, f->shown, &e.verdict);
	end(f, &e);
}

static void refused_by_status(struct fetch *f, const struct answer *a)
{
	struct retry_headers headers;
	struct fetch_end e = { .code = ERR_IO };
	json_t *body = NULL;

	if (json_text_read(a->body, 0, &body) == ERR_NO_MEMORY) {
		unread(f, a);
		return;
	}
	classify_headers(&f->spec.upstream->error, a, &headers);
	classify_status(&f->spec.upstream->error, a->status, &headers, body, clock_wall_ms(), f->shown, &e.verdict);
	json_decref(body);
	e.expired = a->status == 401 || a->status == 403 || a->status == 404 || a->status == 410;
	/* The call itself went well; what is missing is the file, and another attempt may find it. */
	if (f->url && e.verdict.kind == RAINCHECK_FAIL_REJECTED)
		e.verdict.kind = RAINCHECK_FAIL_UNAVAILABLE;
	end(f, &e);
}

static void exchange_done_cb(struct exchange *x, const struct answer *a, void *user)
{
	struct fetch *f = user;
	struct fetch_end e = { .code = ERR_IO };

	(void)x;
	f->exchange = NULL;
	f->status = a->status;
	if (a->end == EXCHANGE_ANSWERED && sink_wants(f, a->status)) {
		finish_upload(f, a->content_type);
	} else if (a->end == EXCHANGE_ANSWERED && a->redirect && f->url) {
		follow(f, a->redirect);
	} else if (a->end == EXCHANGE_ANSWERED) {
		refused_by_status(f, a);
	} else {
		if (a->end == EXCHANGE_STOPPED)
			e.verdict = f->refusal;
		else
			classify_transport(a, f->shown, &e.verdict);
		end(f, &e);
	}
}

/* On base_url's own origin. */
static bool is_at_home(const struct fetch *f)
{
	struct origin origin;

	return !f->url || (url_origin(f->url, &origin) == 0 && origin_equal(&origin, &f->spec.upstream->origin));
}

static int start_exchange(struct fetch *f, struct http_request *r)
{
	const struct upstream *u = f->spec.upstream;
	struct exchange_spec spec = {
		.loop = f->spec.means->curl,
		.uv = f->spec.means->uv,
		.connect_ms = u->timeouts.connect_ms,
		.first_byte_ms = f->spec.first_byte_ms > 0 ? f->spec.first_byte_ms : u->timeouts.stall_ms,
		.stall_ms = u->timeouts.stall_ms,
		.body_cap = ERROR_BODY_CAP,
		.public_only = f->url && !u->allow_private,
		.fresh = f->spec.keep && upstream_submits_once(u),
		.trust = is_at_home(f) ? u->trust : NULL,
		.traffic = f->spec.traffic,
		.sink = { .wants = sink_wants, .data = sink_data, .user = f },
		.done_cb = exchange_done_cb,
		.user = f,
	};

	return exchange_start(&spec, r, &f->exchange);
}

/* ---- data: URLs ---- */

static void feed_data(struct fetch *f)
{
	struct slice piece;
	int rc;

	while (data_url_next(f->data, &piece)) {
		rc = upload_feed(f->upload, data_url_type(f->data), data_url_size(f->data), piece);
		if (rc == UPLOAD_WAIT)
			return;
		if (rc < 0) {
			judge_upload(f, rc, upload_why(f->upload), &f->refusal);
			end_later(f, rc);
			return;
		}
		data_url_take(f->data, piece.size);
	}
	rc = upload_finish(f->upload, data_url_type(f->data));
	if (rc < 0) {
		judge_upload(f, rc, upload_why(f->upload), &f->refusal);
		end_later(f, rc);
	}
}

static int begin_data(struct fetch *f)
{
	int rc = data_url_parse(f->url, &f->data);

	if (rc == ERR_BAD_REQUEST) {
		verdict_set(&f->refusal, RAINCHECK_FAIL_INVALID, "the %s is not a data: URL that can be read",
			    f->spec.name);
		return rc;
	}
	if (rc == 0)
		feed_data(f);
	return rc;
}

/* ---- beginning ---- */

/* Whether the URL may be fetched, and with what. */
static int make_request(struct fetch *f, struct http_request **ret_request)
{
	const struct upstream *u = f->spec.upstream;
	struct error_info info = { .code = 0 };
	struct origin origin;
	int rc;

	url_show(f->url, f->shown, sizeof(f->shown));
	rc = url_origin(f->url, &origin);
	if (rc == ERR_BAD_REQUEST) {
		verdict_set(&f->refusal, RAINCHECK_FAIL_INVALID, "the URL of the %s is not one that can be fetched: %s",
			    f->spec.name, f->shown);
		return rc;
	}
	if (rc < 0)
		return rc;
	if (!upstream_may_fetch(u, &origin)) {
		verdict_set(&f->refusal, RAINCHECK_FAIL_REJECTED, "the %s is on %s, which allow_hosts does not name",
			    f->spec.name, origin.host);
		return ERR_DENIED;
	}
	if (u->result.credentials && f->hops == 0 && origin_equal(&origin, &u->origin))
		return call_request_get(u, &f->values, NULL, f->url, ret_request, &info);
	return call_request_plain(u, f->url, ret_request);
}

static int try_begin(struct fetch *f)
{
	_cleanup_(http_request_freep) struct http_request *r = NULL;
	int rc;

	rc = make_upload(f);
	if (rc < 0)
		return rc;
	if (strncmp(f->url, "data:", 5) == 0)
		return begin_data(f);
	rc = make_request(f, &r);
	if (rc == 0)
		rc = start_exchange(f, r);
	if (rc == 0)
		TAKE_PTR(r);
	return rc;
}

static void begin(struct fetch *f)
{
	int rc;

	verdict_set(&f->refusal, RAINCHECK_FAIL_INTERNAL, "the %s could not be fetched: %s", f->spec.name,
		    error_text(ERR_NO_MEMORY));
	rc = try_begin(f);
	if (rc < 0)
		end_later(f, rc);
}

static struct fetch *fetch_new(const struct fetch_spec *spec)
{
	struct fetch *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->spec = *spec;
	f->values = *spec->values;
	uv_timer_init(spec->means->uv, &f->later);
	return f;
}

int fetch_start(const struct fetch_spec *spec, const char *url, struct fetch **ret_fetch)
{
	struct fetch *f = fetch_new(spec);
	int rc;

	if (!f)
		return ERR_NO_MEMORY;
	rc = strncmp(url, "data:", 5) == 0 ? 0 : url_resolve(spec->upstream->base_url, url, &f->url);
	/* What cannot be resolved is judged, and told, with the rest. */
	if (rc != ERR_NO_MEMORY && !f->url)
		f->url = strdup(url);
	if (!f->url) {
		dispose(f);
		return ERR_NO_MEMORY;
	}
	uv_timer_start(&f->later, later_cb, 0, 0);
	*ret_fetch = f;
	return 0;
}

int fetch_start_request(const struct fetch_spec *spec, struct http_request *request, const char *what,
			struct fetch **ret_fetch)
{
	struct fetch *f = fetch_new(spec);
	int rc;

	if (!f)
		return ERR_NO_MEMORY;
	snprintf(f->shown, sizeof(f->shown), "%s", what);
	rc = make_upload(f);
	if (rc == 0)
		rc = start_exchange(f, request);
	if (rc < 0) {
		dispose(f);
		return rc;
	}
	*ret_fetch = f;
	return 0;
}
