#include "exchange.h"

#include <stdlib.h>
#include <string.h>

#include "proto/base/clock.h"
#include "server/engine/settings.h"
#include "server/http/api.h"
#include "server/http/api_call.h"
#include "server/http/form.h"
#include "server/http/guard.h"
#include "server/http/guests.h"
#include "server/http/hooks.h"
#include "server/http/problem.h"
#include "server/http/response.h"
#include "server/http/router.h"

/* A body that is refused is thrown away up to here, so that its sender, who reads nothing before it has sent all, gets
 * to see why; beyond, the connection ends. */
#define THROWN_AWAY_MAX (INT64_C(2) << 20)
/* Each so many bytes of a body have the time that a head has. */
#define PIECE_BYTES 65536
/* What each body may take without being counted. Of what all take beyond that there is a bound, but one is always let
 * in. */
#define SMALL_BODY INT64_C(16384)

/* ---- the head ---- */

/* guard_check_framing() has seen that it is digits. */
static int64_t announced_bytes(struct MHD_Connection *c)
{
	const char *length = request_header(c, "Content-Length");

	if (!length)
		return request_header(c, "Transfer-Encoding") ? -1 : 0;
	return strlen(length) > 18 ? INT64_MAX : strtoll(length, NULL, 10);
}

static struct exchange *exchange_new(struct site *site, struct MHD_Connection *c, const char *method, const char *path)
{
	struct exchange *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	path_parse(path, &x->path);
	x->method = method;
	x->began_ns = clock_mono_ns();
	x->request = (struct request){
		.site = site,
		.connection = c,
		.token = x->path.token,
		.name = x->path.name,
		.head = strcmp(method, "HEAD") == 0,
	};
	return x;
}

int exchange_refuse(struct exchange *x, unsigned status, const struct error_info *info)
{
	x->error = *info;
	x->error_status = status;
	return info->code;
}

static int refuse_length(struct exchange *x)
{
	bool form = form_is_announced(request_header(x->request.connection, "Content-Type"));
	struct error_info info;

	/* Of a form it is not known which of its parts is too large. */
	error_set(&info, ERR_TOO_LARGE, form ? NULL : "payload", "%lld bytes are allowed", (long long)x->body.cap);
	return exchange_refuse(x, MHD_HTTP_CONTENT_TOO_LARGE, &info);
}

static size_t body_max(const struct exchange *x)
{
	return x->path.route == ROUTE_HOOK ? hooks_body_max(x->request.site) : api_call_body_max(x);
}

static void check_head(struct exchange *x)
{
	struct MHD_Connection *c = x->request.connection;

	if (route_is_api(x->path.route) || x->path.route == ROUTE_METRICS)
		(void)api_check(x);
	if (router_takes_body(x)) {
		buf_init(&x->body, body_max(x));
		if (x->error.code == 0 && x->path.route == ROUTE_HOOK)
			(void)hooks_begin(x);
		if (x->error.code == 0 && x->announced > (int64_t)x->body.cap)
			(void)refuse_length(x);
		else if (x->error.code == 0 && x->path.route == ROUTE_PUT)
			(void)api_begin(x);
	}
	/* It waits for our word, and sends nothing where that is no. */
	if (x->error.code < 0 && request_header(c, "Expect"))
		x->announced = INT64_MAX;
}

/* How much of a body that is refused is read. Whoever has a hook's token is heard out where it is not much too long. */
static int64_t patience(const struct exchange *x)
{
	return x->hook ? (int64_t)x->body.cap + THROWN_AWAY_MAX : THROWN_AWAY_MAX;
}

/* Whether the answer can be given without the body: the library then closes the connection after it. */
static bool is_decided(const struct exchange *x)
{
	if (x->announced == 0)
		return false;
	return x->error.code < 0 ? x->announced < 0 || x->announced > patience(x) : !router_takes_body(x);
}

enum MHD_Result exchange_begin(struct site *site, struct guests *guests, struct MHD_Connection *c, const char *method,
			       const char *path, struct exchange **ret)
{
	struct exchange *x = exchange_new(site, c, method, path);
	struct error_info info;

	if (!x)
		return MHD_NO;
	*ret = x;
	if (guard_check_framing(c, &info) < 0) {
		exchange_refuse(x, 0, &info);
		guests_heard(guests, c);
		return problem_send(c, &info);
	}
	x->announced = announced_bytes(c);
	check_head(x);
	if (is_decided(x))
		return exchange_serve(x, guests);
	if (x->announced == 0)
		guests_heard(guests, c);
	else
		guests_await(guests, c);
	return MHD_YES;
}

/* ---- the body ---- */

/* Counts what the body has grown to beyond a small one. */
static bool take_room(struct exchange *x, size_t size)
{
	struct traffic *t = &x->request.site->traffic;
	int64_t beyond = x->fed + (int64_t)size - SMALL_BODY;
	int64_t more = beyond > x->counted ? beyond - x->counted : 0;
	int64_t before;

	if (more == 0)
		return true;
	before = atomic_fetch_add(&t->body_bytes, more);
	x->counted += more;
	return before == x->counted - more || before + more <= x->request.site->body_bytes;
}

static void give_room_back(struct exchange *x)
{
	atomic_fetch_sub(&x->request.site->traffic.body_bytes, x->counted);
	x->counted = 0;
	buf_done(&x->body);
}

static int take(struct exchange *x, const char *data, size_t size)
{
	struct error_info info;

	if (!take_room(x, size)) {
		error_set(&info, ERR_THROTTLED, NULL, "too many large bodies are on their way in");
		return exchange_refuse(x, MHD_HTTP_SERVICE_UNAVAILABLE, &info);
	}
	if (buf_append(&x->body, data, size) == 0)
		return 0;
	if (buf_error(&x->body) == ERR_TOO_LARGE)
		return refuse_length(x);
	error_set(&info, ERR_NO_MEMORY, NULL, "%s", error_text(ERR_NO_MEMORY));
	return exchange_refuse(x, 0, &info);
}

enum MHD_Result exchange_feed(struct exchange *x, struct guests *guests, const char *data, size_t size)
{
	int64_t pieces = x->fed / PIECE_BYTES;

	if (x->error.code == 0 && take(x, data, size) < 0)
		give_room_back(x);
	x->fed += (int64_t)size;
	if (x->error.code < 0 && x->fed > (int64_t)x->body.cap + THROWN_AWAY_MAX)
		return MHD_NO;
	if (x->fed / PIECE_BYTES > pieces)
		guests_await(guests, x->request.connection);
	return MHD_YES;
}

/* ---- the answer ---- */

enum MHD_Result exchange_serve(struct exchange *x, struct guests *guests)
{
	struct MHD_Connection *c = x->request.connection;

	guests_heard(guests, c);
	if (x->error.code == 0)
		return router_serve(x);
	if (x->error_status == 0)
		return problem_send(c, &x->error);
	return response_send(c, x->error_status, problem_new(x->error_status, &x->error));
}

void exchange_suspended(struct exchange *x, enum traffic_wait what, int by)
{
	atomic_fetch_add(&x->request.site->traffic.suspended[what], by);
	if (!x->owed)
		owed_add(&x->request.site->owed);
	x->owed = true;
}

static void count(const struct exchange *x)
{
	const union MHD_ConnectionInfo *status =
		MHD_get_connection_info(x->request.connection, MHD_CONNECTION_INFO_HTTP_STATUS);
	int64_t took_us = (clock_mono_ns() - x->began_ns) / 1000;

	traffic_count(&x->request.site->traffic, x->path.route, status ? status->http_status : 0,
		      x->waits ? -1 : took_us);
}

void exchange_free(struct exchange *x)
{
	if (!x)
		return;
	count(x);
	api_call_free(x->call);
	hook_post_free(x->hook);
	give_room_back(x);
	if (x->owed)
		owed_settle(&x->request.site->owed);
	free(x);
}
