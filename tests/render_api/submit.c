/* The life of a submit:
 *
 *   parse ─▶ told to refuse? ─▶ accept (paid from here) ─▶ told to lose the answer? ─▶ wait ─▶ answer
 *
 * What comes before "accept" costs nothing: 400, 429, 503, a chosen status, a reset. What comes after is paid, whatever
 * the caller gets to see of it: that is the point of the stand-in. */
#include "submit.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "input.h"
#include "output.h"
#include "park.h"
#include "renders.h"
#include "reply.h"
#include "request.h"
#include "shapes.h"
#include "stats.h"
#include "util.h"

/* --- the video or still ------------------------------------------------------------------------------------------- */

static enum reply_spoil spoil_of(struct request *req, const struct input *in)
{
	const struct behave *b = &in->behave;

	if (!b->hang_body && !b->hold_body && !b->truncate && !b->wrong_type)
		return SPOIL_NOTHING;
	if (b->times != 0 && !stats_take_turn(req->api->stats, in->name, TURN_SPOIL, b->times))
		return SPOIL_NOTHING;
	if (b->wrong_type)
		return SPOIL_WRONG_TYPE;
	if (b->truncate)
		return SPOIL_TRUNCATE;
	return b->hold_body ? SPOIL_HOLD_BODY : SPOIL_HANG_BODY;
}

enum MHD_Result submit_reply_clip(struct request *req, enum clip_kind kind)
{
	const struct input *in = render_input(req->render);
	struct reply_file file = {
		.type = clip_content_type(kind),
		.park = req->api->park,
		.parked = &req->parked,
	};

	if (clip_read(req->api->clips, render_id(req->render), in, kind, &file.bytes, &file.size) < 0)
		return reply_error(req->connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "internal", "cannot read the clip");
	if (kind == CLIP_VIDEO) {
		file.pad = (size_t)in->behave.pad_kib * 1024;
		file.pause_ms = in->behave.slow_body_ms;
		file.spoil = spoil_of(req, in);
	}
	return reply_bytes(req->connection, &file);
}

enum MHD_Result submit_reply_output(struct request *req)
{
	const char *base = req->api->base_url, *id = render_id(req->render);

	return reply_json(req->connection, MHD_HTTP_OK,
			  json_pack("{s:[o], s:o}", "output",
				    output_of(req->api->clips, base, id, render_input(req->render)), "poster",
				    json_sprintf("%s/files/%s.jpg", base, id)));
}

/* --- refusals ----------------------------------------------------------------------------------------------------- */

static bool has_fault(const struct behave *b)
{
	return b->http_status != 0 || b->reset != RESET_NO || b->hang || b->bad_json == BAD_JSON_SUBMIT;
}

static enum MHD_Result reply_throttled(struct request *req, int retry_after_s)
{
	stats_add(req->api->stats, STAT_THROTTLED);
	if (req->shape != NULL)
		return shapes_answer_throttled(req, retry_after_s);
	return reply_retry(req->connection, MHD_HTTP_TOO_MANY_REQUESTS, "throttled", "too many calls, come back later",
			   retry_after_s);
}

static enum MHD_Result reply_told_status(struct request *req, const struct behave *b)
{
	bool retry = b->http_status == MHD_HTTP_TOO_MANY_REQUESTS || b->http_status == MHD_HTTP_SERVICE_UNAVAILABLE;
	const char *authorization =
		MHD_lookup_connection_value(req->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION);
	char message[512] = "this submit was to get this status";

	if (b->echo_auth)
		snprintf(message, sizeof(message), "not with \"%s\"", authorization == NULL ? "" : authorization);
	stats_add(req->api->stats, STAT_REFUSED);
	return reply_retry(req->connection, (unsigned)b->http_status, "told_to", message, retry ? b->retry_after_s : 0);
}

/* True when the submit is answered (with *ret_result) before anything is accepted. */
static bool is_refused(struct request *req, const struct input *in, enum MHD_Result *ret_result)
{
	const struct behave *b = &in->behave;
	struct stats *stats = req->api->stats;

	if (stats_take_turn(stats, in->name, TURN_THROTTLE, b->throttle_times)) {
		*ret_result = reply_throttled(req, b->retry_after_s);
		return true;
	}
	if (stats_take_turn(stats, in->name, TURN_FAIL, b->fail_times)) {
		stats_add(stats, STAT_REFUSED);
		*ret_result = reply_retry(req->connection, MHD_HTTP_SERVICE_UNAVAILABLE, "unavailable", "not this time",
					  b->retry_after_s);
		return true;
	}
	req->misbehaves = has_fault(b) && (b->times == 0 || stats_take_turn(stats, in->name, TURN_MISBEHAVE, b->times));
	if (req->misbehaves && b->http_status != 0) {
		*ret_result = reply_told_status(req, b);
		return true;
	}
	if (req->misbehaves && b->reset == RESET_UNPAID) {
		stats_add(stats, STAT_REFUSED);
		*ret_result = reply_reset(req->connection);
		return true;
	}
	return false;
}

static enum MHD_Result reply_not_accepted(struct request *req, int rc, const struct input *in)
{
	if (rc == -EBUSY)
		return reply_throttled(req, in->behave.retry_after_s);
	stats_add(req->api->stats, STAT_REFUSED);
	return reply_retry(req->connection, MHD_HTTP_SERVICE_UNAVAILABLE, "full", "no room for more renders",
			   in->behave.retry_after_s);
}

/* --- accepting ---------------------------------------------------------------------------------------------------- */

/* The body as an input; on failure answers with *ret_result and returns below 0. */
static int read_input(struct request *req, struct input **ret_input, enum MHD_Result *ret_result)
{
	struct fault f = { .text = "out of memory" };
	int rc = input_parse(req->body_bytes == 0 ? "" : req->body, req->body_bytes, &req->api->behave, ret_input, &f);

	if (rc == -EINVAL)
		*ret_result = reply_error(req->connection, MHD_HTTP_BAD_REQUEST, "bad_input", f.text);
	else if (rc < 0)
		*ret_result = reply_error(req->connection, MHD_HTTP_SERVICE_UNAVAILABLE, "no_memory", f.text);
	return rc;
}

/* Sets req->render. On anything but 0 the request is answered with *ret_result. */
static int accept_submit(struct request *req, enum MHD_Result *ret_result)
{
	_cleanup_(input_freep) struct input *in = NULL;
	const char *key = MHD_lookup_connection_value(req->connection, MHD_HEADER_KIND, "Idempotency-Key");
	bool replay;
	int rc;

	if (req->key != NULL)
		key = req->key;
	rc = read_input(req, &in, ret_result);
	if (rc < 0)
		return rc;
	if (key != NULL && (key[0] == '\0' || strlen(key) > RENDER_KEY_BYTES)) {
		*ret_result = reply_error(req->connection, MHD_HTTP_BAD_REQUEST, "bad_input",
					  "Idempotency-Key must be 1 to 255 bytes");
		return -EINVAL;
	}
	stats_submit(req->api->stats, in->name);
	stats_saw(req->api->stats, DOOR_SUBMIT,
		  MHD_lookup_connection_value(req->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION));
	if (is_refused(req, in, ret_result))
		return -ECANCELED;
	rc = renders_submit(req->api->renders, in, key, &req->render, &replay);
	if (rc < 0) {
		*ret_result = reply_not_accepted(req, rc, in);
		return rc;
	}
	TAKE_PTR(in);
	if (replay)
		stats_add(req->api->stats, STAT_REPLAYS);
	else
		stats_paid(req->api->stats, render_input(req->render)->name);
	return 0;
}

/* --- answering ---------------------------------------------------------------------------------------------------- */

static enum MHD_Result park_until(struct request *req, int64_t due_at_ms,
				  enum MHD_Result (*resume_cb)(struct request *))
{
	req->resume_cb = resume_cb;
	return park_add(req->api->park, &req->parked, req->connection, due_at_ms) < 0 ? MHD_NO : MHD_YES;
}

/* A request that is to hang is only ever resumed to be closed. */
static enum MHD_Result close_cb(struct request *req)
{
	(void)req;
	return MHD_NO;
}

/* After the submit is paid: what makes its answer get lost. */
static bool loses_answer(struct request *req, enum MHD_Result *ret_result)
{
	const struct behave *b = &render_input(req->render)->behave;

	if (req->misbehaves && b->reset == RESET_PAID) {
		*ret_result = reply_reset(req->connection);
		return true;
	}
	if (req->misbehaves && b->hang) {
		*ret_result = park_until(req, PARK_FOREVER, close_cb);
		return true;
	}
	return false;
}

static bool answers_bad_json(const struct request *req)
{
	return req->misbehaves && render_input(req->render)->behave.bad_json == BAD_JSON_SUBMIT;
}

static enum MHD_Result answer_id_cb(struct request *req)
{
	const char *id = render_id(req->render), *base = req->api->base_url;
	json_t *urls;

	if (answers_bad_json(req))
		return reply_bad_json(req->connection, MHD_HTTP_CREATED);
	if (req->shape != NULL)
		return shapes_answer_submit(req);
	urls = json_pack("{s:o, s:o, s:o}", "get", json_sprintf("%s/v1/renders/%s", base, id), "cancel",
			 json_sprintf("%s/v1/renders/%s", base, id), "result",
			 json_sprintf("%s/v1/results/%s", base, id));
	return reply_json(req->connection, MHD_HTTP_CREATED,
			  json_pack("{s:s, s:s, s:o}", "id", id, "status", "PENDING", "urls", urls));
}

enum MHD_Result submit_async(struct request *req)
{
	enum MHD_Result result = MHD_NO;
	int answer_delay_ms;

	if (accept_submit(req, &result) < 0 || loses_answer(req, &result))
		return result;
	answer_delay_ms = render_input(req->render)->behave.answer_delay_ms;
	if (answer_delay_ms > 0)
		return park_until(req, now_ms() + answer_delay_ms, answer_id_cb);
	return answer_id_cb(req);
}

static enum MHD_Result answer_failure(struct request *req, const struct render_outcome *outcome)
{
	if (outcome->state == RENDER_CANCELLED)
		return reply_error(req->connection, MHD_HTTP_GONE, "CANCELLED", "the render was cancelled");
	if (outcome->overloaded && req->api->overload_hangs)
		return park_until(req, PARK_FOREVER, close_cb);
	return reply_error(req->connection, (unsigned)outcome->failure.http, outcome->failure.code,
			   outcome->failure.message);
}

static enum MHD_Result answer_sync_cb(struct request *req)
{
	struct render_outcome outcome;

	renders_outcome(req->api->renders, req->render, &outcome);
	if (req->shape != NULL)
		return shapes_answer_outcome(req);
	if (outcome.state != RENDER_SUCCEEDED)
		return answer_failure(req, &outcome);
	if (!req->as_json)
		return submit_reply_clip(req, CLIP_VIDEO);
	if (answers_bad_json(req))
		return reply_bad_json(req->connection, MHD_HTTP_OK);
	return submit_reply_output(req);
}

static void render_ended_cb(struct render_waiter *w)
{
	struct request *req = (struct request *)((char *)w - offsetof(struct request, waiter));

	park_wake(req->api->park, &req->parked);
}

enum MHD_Result submit_sync(struct request *req)
{
	enum MHD_Result result = MHD_NO;

	if (accept_submit(req, &result) < 0 || loses_answer(req, &result))
		return result;
	/* Parked first: the end may come the moment it is waited for. This thread runs the request again, so not before
	 * this function returns. */
	result = park_until(req, PARK_FOREVER, answer_sync_cb);
	req->waiter.woken_cb = render_ended_cb;
	if (result == MHD_YES && !renders_wait(req->api->renders, req->render, &req->waiter))
		park_wake(req->api->park, &req->parked);
	return result;
}
