/* Routing and the handlers, but for submits (submit.c).
 *
 * Every handler ends in one reply_…() call, or parks the request with a callback to go on with. */
#include "api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clip.h"
#include "park.h"
#include "renders.h"
#include "reply.h"
#include "request.h"
#include "shapes.h"
#include "stats.h"
#include "submit.h"

static void note_credentials(struct request *req, enum stats_door door)
{
	stats_saw(req->api->stats, door,
		  MHD_lookup_connection_value(req->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION));
}

/* --- polls -------------------------------------------------------------------------------------------------------- */

/* Finds the render that is asked for. False when the poll is answered with *ret_result. */
static bool begin_poll(struct request *req, const char *id, enum MHD_Result *ret_result)
{
	struct api *api = req->api;

	stats_add(api->stats, STAT_POLLS);
	note_credentials(req, DOOR_POLL);
	if (renders_find(api->renders, id, &req->render) < 0) {
		*ret_result = reply_error(req->connection, MHD_HTTP_NOT_FOUND, "not_found", "no such render");
		return false;
	}
	if (renders_poll_fails(api->renders, req->render)) {
		stats_add(api->stats, STAT_POLL_FAILURES);
		*ret_result = reply_error(req->connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "told_to",
					  "this poll was to fail");
		return false;
	}
	return true;
}

static enum MHD_Result handle_poll(struct request *req, const char *id)
{
	struct api *api = req->api;
	enum MHD_Result result;

	if (!begin_poll(req, id, &result))
		return result;
	if (render_input(req->render)->behave.bad_json == BAD_JSON_POLL)
		return reply_bad_json(req->connection, MHD_HTTP_OK);
	return reply_json(req->connection, MHD_HTTP_OK, renders_status(api->renders, req->render));
}

static enum MHD_Result handle_http_poll(struct request *req, const char *id)
{
	struct api *api = req->api;
	struct render_outcome outcome;
	enum MHD_Result result;

	if (!begin_poll(req, id, &result))
		return result;
	renders_outcome(api->renders, req->render, &outcome);
	switch (outcome.state) {
	case RENDER_SUCCEEDED:
		return submit_reply_clip(req, CLIP_VIDEO);
	case RENDER_FAILED:
		return reply_error(req->connection, (unsigned)outcome.failure.http, outcome.failure.code,
				   outcome.failure.message);
	case RENDER_CANCELLED:
		return reply_error(req->connection, MHD_HTTP_GONE, "CANCELLED", "the render was cancelled");
	default:
		return reply_json(req->connection, MHD_HTTP_ACCEPTED, renders_status(api->renders, req->render));
	}
}

static enum MHD_Result handle_cancel(struct request *req, const char *id)
{
	struct api *api = req->api;

	if (renders_find(api->renders, id, &req->render) < 0)
		return reply_error(req->connection, MHD_HTTP_NOT_FOUND, "not_found", "no such render");
	renders_cancel(api->renders, req->render);
	return reply_json(req->connection, MHD_HTTP_OK, renders_status(api->renders, req->render));
}

/* --- files -------------------------------------------------------------------------------------------------------- */

static int parse_file(const char *name, char id[RENDER_ID_BYTES + 1], enum clip_kind *ret_kind)
{
	if (strlen(name) != RENDER_ID_BYTES + 4)
		return -1;
	if (strcmp(name + RENDER_ID_BYTES, ".mp4") == 0)
		*ret_kind = CLIP_VIDEO;
	else if (strcmp(name + RENDER_ID_BYTES, ".jpg") == 0)
		*ret_kind = CLIP_STILL;
	else
		return -1;
	memcpy(id, name, RENDER_ID_BYTES);
	id[RENDER_ID_BYTES] = '\0';
	return 0;
}

/* How many redirects led to this request. */
static int hop_of(struct request *req)
{
	const char *hop = MHD_lookup_connection_value(req->connection, MHD_GET_ARGUMENT_KIND, "hop");

	return hop == NULL ? 0 : (int)strtol(hop, NULL, 10);
}

static enum MHD_Result redirect(struct request *req, int hop)
{
	const struct behave *b = &render_input(req->render)->behave;
	char url[512];

	snprintf(url, sizeof(url), "%s/files/%s.mp4?hop=%d",
		 b->redirect_base[0] != '\0' ? b->redirect_base : req->api->base_url, render_id(req->render), hop);
	return reply_redirect(req->connection, url);
}

enum MHD_Result api_reply_video(struct request *req)
{
	const struct input *in = render_input(req->render);
	int hop = hop_of(req);

	if (stats_take_turn(req->api->stats, in->name, TURN_EXPIRE, in->behave.expire_times))
		return reply_error(req->connection, MHD_HTTP_FORBIDDEN, "expired", "this URL is too old");
	if (hop < in->behave.redirects)
		return redirect(req, hop + 1);
	return submit_reply_clip(req, CLIP_VIDEO);
}

static enum MHD_Result handle_file(struct request *req, const char *name)
{
	struct api *api = req->api;
	char id[RENDER_ID_BYTES + 1];
	enum clip_kind kind;

	note_credentials(req, hop_of(req) > 0 ? DOOR_MOVED : DOOR_FILE);
	stats_add(api->stats, STAT_FETCHES);
	if (parse_file(name, id, &kind) < 0 || renders_find(api->renders, id, &req->render) < 0 ||
	    !renders_has(api->renders, req->render, kind))
		return reply_error(req->connection, MHD_HTTP_NOT_FOUND, "not_found", "no such file, or not yet");
	return kind == CLIP_VIDEO ? api_reply_video(req) : submit_reply_clip(req, kind);
}

/* Finds the render whose result is asked for, if it is there. */
static int find_result(struct request *req, const char *id)
{
	note_credentials(req, DOOR_RESULT);
	if (renders_find(req->api->renders, id, &req->render) < 0)
		return -1;
	return renders_has(req->api->renders, req->render, CLIP_VIDEO) ? 0 : -1;
}

static enum MHD_Result handle_result(struct request *req, const char *id)
{
	stats_add(req->api->stats, STAT_FETCHES);
	if (find_result(req, id) < 0)
		return reply_error(req->connection, MHD_HTTP_NOT_FOUND, "not_found", "no such render, or not yet");
	return api_reply_video(req);
}

static enum MHD_Result handle_output(struct request *req, const char *id)
{
	if (find_result(req, id) < 0)
		return reply_error(req->connection, MHD_HTTP_NOT_FOUND, "not_found", "no such render, or not yet");
	return submit_reply_output(req);
}

/* --- the tests' doors --------------------------------------------------------------------------------------------- */

static const char *argument(const struct request *req, const char *key)
{
	return MHD_lookup_connection_value(req->connection, MHD_GET_ARGUMENT_KIND, key);
}

/* Whether the count that "until" names, in all or of "name", is at "least" so much already. */
static bool has_come(const struct request *req, json_t *stats)
{
	const char *until = argument(req, "until"), *least = argument(req, "least"), *name = argument(req, "name");
	json_t *counts = name != NULL ? json_object_get(json_object_get(stats, "by_name"), name) : stats;

	return until == NULL || least == NULL ||
	       json_integer_value(json_object_get(counts, until)) >= strtoll(least, NULL, 10);
}

static enum MHD_Result handle_stats(struct request *req, const char *rest);

static enum MHD_Result stats_again_cb(struct request *req)
{
	return handle_stats(req, "");
}

static enum MHD_Result handle_stats(struct request *req, const char *rest)
{
	const char *names = argument(req, "names");
	json_t *stats = stats_json(req->api->stats, names == NULL || strcmp(names, "0") != 0);
	size_t in_flight, max_in_flight;

	(void)rest;
	renders_load(req->api->renders, &in_flight, &max_in_flight);
	json_object_set_new(stats, "held", json_integer((json_int_t)park_held(req->api->park)));
	json_object_set_new(stats, "in_flight", json_integer((json_int_t)in_flight));
	json_object_set_new(stats, "max_in_flight", json_integer((json_int_t)max_in_flight));
	if (!has_come(req, stats)) {
		json_decref(stats);
		/* The park looks at it again every few milliseconds. */
		req->resume_cb = stats_again_cb;
		return park_add(req->api->park, &req->parked, req->connection, now_ms()) < 0 ? MHD_NO : MHD_YES;
	}
	return reply_json(req->connection, MHD_HTTP_OK, stats);
}

static enum MHD_Result handle_reset(struct request *req, const char *rest)
{
	(void)rest;
	stats_reset(req->api->stats);
	renders_reset_load(req->api->renders);
	return reply_json(req->connection, MHD_HTTP_OK, json_pack("{s:b}", "ok", 1));
}

static enum MHD_Result handle_release(struct request *req, const char *rest)
{
	(void)rest;
	park_release(req->api->park);
	renders_release(req->api->renders);
	return reply_json(req->connection, MHD_HTTP_OK, json_pack("{s:b}", "ok", 1));
}

static enum MHD_Result handle_sync_render(struct request *req, const char *rest)
{
	(void)rest;
	return submit_sync(req);
}

static enum MHD_Result handle_sync_json(struct request *req, const char *rest)
{
	(void)rest;
	req->as_json = true;
	return submit_sync(req);
}

static enum MHD_Result handle_lookup(struct request *req, const char *key)
{
	struct api *api = req->api;

	stats_add(api->stats, STAT_LOOKUPS);
	if (renders_find_key(api->renders, key, &req->render) < 0)
		return reply_error(req->connection, MHD_HTTP_NOT_FOUND, "not_found", "no render has this key");
	return reply_json(req->connection, MHD_HTTP_OK, json_pack("{s:s}", "id", render_id(req->render)));
}

static enum MHD_Result handle_submit(struct request *req, const char *rest)
{
	(void)rest;
	return submit_async(req);
}

/* --- routing ------------------------------------------------------------------------------------------------------ */

struct route {
	const char *method;
	const char *path; /* one that ends in a slash takes what follows, which is not empty, as `rest` */
	enum MHD_Result (*handle)(struct request *req, const char *rest);
};

static const struct route routes[] = {
	{ "POST", "/sync/render", handle_sync_render },
	{ "POST", "/sync/json", handle_sync_json },
	{ "POST", "/v1/renders", handle_submit },
	{ "GET", "/v1/renders/", handle_poll },
	{ "DELETE", "/v1/renders/", handle_cancel },
	{ "GET", "/v1/results/", handle_result },
	{ "GET", "/v1/outputs/", handle_output },
	{ "GET", "/v2/renders/", handle_http_poll },
	{ "GET", "/v1/lookup/", handle_lookup },
	{ "GET", "/files/", handle_file },
	{ "GET", "/stats", handle_stats },
	{ "POST", "/reset", handle_reset },
	{ "POST", "/release", handle_release },
};

/* What follows the route's path, or NULL when the path is another. */
static const char *match(const struct route *route, const char *path)
{
	size_t bytes = strlen(route->path);

	if (route->path[bytes - 1] != '/')
		return strcmp(route->path, path) == 0 ? "" : NULL;
	return strncmp(route->path, path, bytes) == 0 && path[bytes] != '\0' ? path + bytes : NULL;
}

static enum MHD_Result dispatch(struct request *req)
{
	/* libmicrohttpd leaves the body out of an answer to HEAD by itself. */
	const char *method = strcmp(req->method, "HEAD") == 0 ? "GET" : req->method;
	char allow[64] = "";

	if (strncmp(req->path, "/shapes/", 8) == 0)
		return shapes_handle(req, req->path + 8);
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
		const char *rest = match(&routes[i], req->path);
		size_t used = strlen(allow);

		if (rest == NULL)
			continue;
		if (strcmp(routes[i].method, method) == 0)
			return routes[i].handle(req, rest);
		snprintf(allow + used, sizeof(allow) - used, "%s%s", used == 0 ? "" : ", ", routes[i].method);
	}
	if (allow[0] != '\0')
		return reply_not_allowed(req->connection, allow);
	return reply_error(req->connection, MHD_HTTP_NOT_FOUND, "not_found", "no such path");
}

enum MHD_Result api_handle(struct request *req)
{
	if (req->body_too_large)
		return reply_error(req->connection, MHD_HTTP_CONTENT_TOO_LARGE, "too_large",
				   "the body is larger than 65536 bytes");
	if (req->resume_cb == NULL)
		return dispatch(req);
	if (req->parked.end == PARK_GONE || req->parked.end == PARK_STOPPED)
		return MHD_NO;
	return req->resume_cb(req);
}

void api_visited(struct api *api)
{
	stats_add(api->stats, STAT_CONNECTIONS);
}

void api_done(struct request *req)
{
	/* Here, not where it is resumed: libmicrohttpd may find the connection closed first and not run the request. */
	if (req->parked.end == PARK_GONE)
		stats_add(req->api->stats, STAT_ABANDONED);
	renders_unwait(req->api->renders, &req->waiter);
	renders_put(req->api->renders, req->render);
}
