/* One set of handlers for all shapes; what differs is in the table. An answer is a JSON text of the table, read and
 * then filled: substitution in parsed values cannot break the JSON.
 */
#include "shapes.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "output.h"
#include "reply.h"
#include "request.h"
#include "stats.h"
#include "submit.h"
#include "util.h"

struct filling {
	struct request *req;
	struct render_outcome outcome;
	json_t *status; /* as renders_status() has it */
};

/* ---- answers ---- */

static json_t *known_value(const struct filling *f, const char *text)
{
	const struct api *api = f->req->api;
	struct render *r = f->req->render;

	if (strcmp(text, "$output") == 0)
		return output_of(api->clips, api->base_url, render_id(r), render_input(r));
	if (strcmp(text, "$poster") == 0)
		return json_sprintf("%s/files/%s.jpg", api->base_url, render_id(r));
	if (strcmp(text, "$progress") == 0)
		return json_incref(json_object_get(f->status, "progress"));
	return NULL;
}

/* text with one word replaced wherever it stands; takes text over. */
static char *replace(char *text, const char *word, const char *by)
{
	size_t cut = strlen(word), put = strlen(by);

	for (char *at = text; at != NULL && (at = strstr(at, word)) != NULL;) {
		size_t before = (size_t)(at - text);
		char *longer = malloc(strlen(text) - cut + put + 1);

		if (longer != NULL)
			sprintf(longer, "%.*s%s%s", (int)before, text, by, at + cut);
		free(text);
		text = longer;
		at = text == NULL ? NULL : text + before + put;
	}
	return text;
}

static json_t *fill_text(const struct filling *f, const char *template)
{
	json_t *value = known_value(f, template);
	char base[256];
	char *text;

	if (value != NULL)
		return value;
	snprintf(base, sizeof(base), "%s/shapes/%s", f->req->api->base_url, f->req->shape->name);
	text = replace(strdup(template), "$base", base);
	text = replace(text, "$id", render_id(f->req->render));
	text = replace(text, "$message", f->outcome.failure.message);
	text = replace(text, "$code", f->outcome.failure.code);
	value = text == NULL ? NULL : json_string(text);
	free(text);
	return value;
}

static json_t *fill(const struct filling *f, json_t *template)
{
	json_t *child, *filled;
	const char *key;
	size_t i;

	if (json_is_string(template))
		return fill_text(f, json_string_value(template));
	if (json_is_object(template)) {
		filled = json_object();
		json_object_foreach(template, key, child)
		{
			json_t *name = fill_text(f, key);

			json_object_set_new(filled, json_string_value(name), fill(f, child));
			json_decref(name);
		}
		return filled;
	}
	if (!json_is_array(template))
		return json_incref(template);
	filled = json_array();
	json_array_foreach(template, i, child)
	{
		json_array_append_new(filled, fill(f, child));
	}
	return filled;
}

static enum MHD_Result answer(struct request *req, unsigned status, const char *text)
{
	_cleanup_(json_freep) json_t *template = json_loads(text, 0, NULL);
	_cleanup_(json_freep) json_t *known = renders_status(req->api->renders, req->render);
	struct filling f = { .req = req, .status = known };

	renders_outcome(req->api->renders, req->render, &f.outcome);
	if (template == NULL)
		return reply_error(req->connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "table", text);
	return reply_json(req->connection, status, fill(&f, template));
}

static unsigned or_ok(unsigned status)
{
	return status == 0 ? MHD_HTTP_OK : status;
}

/* What a poll says. */
enum MHD_Result shapes_answer_outcome(struct request *req)
{
	const struct shape *s = req->shape;
	struct render_outcome outcome;

	renders_outcome(req->api->renders, req->render, &outcome);
	switch (outcome.state) {
	case RENDER_PENDING:
		return answer(req, or_ok(s->running_status), s->pending);
	case RENDER_RUNNING:
		return answer(req, or_ok(s->running_status), s->running);
	case RENDER_SUCCEEDED:
		return s->succeeded == NULL ? submit_reply_clip(req, CLIP_VIDEO)
					    : answer(req, MHD_HTTP_OK, s->succeeded);
	case RENDER_FAILED:
		return answer(req, or_ok(s->failed_status), s->failed);
	default:
		return answer(req, or_ok(s->failed_status), s->cancelled);
	}
}

enum MHD_Result shapes_answer_submit(struct request *req)
{
	return answer(req, req->shape->submitted_status, req->shape->submitted);
}

enum MHD_Result shapes_answer_throttled(struct request *req, int retry_after_s)
{
	const struct shape *s = req->shape;

	return reply_json_retry(req->connection,
				s->throttled_status == 0 ? MHD_HTTP_TOO_MANY_REQUESTS : s->throttled_status,
				json_loads(s->throttled, 0, NULL), retry_after_s);
}

/* ---- submits ---- */

static bool is_input(const json_t *value)
{
	return json_is_string(json_object_get(value, "name")) && json_is_object(json_object_get(value, "behave"));
}

/* The input of the render, somewhere in a body; a new reference, or NULL. */
static json_t *find_input(json_t *value)
{
	json_t *child, *found = NULL;
	const char *key;
	size_t i;

	if (is_input(value))
		return json_incref(value);
	if (json_is_string(value)) {
		found = json_loads(json_string_value(value), 0, NULL);
		if (is_input(found))
			return found;
		json_decref(found);
		return NULL;
	}
	json_object_foreach(value, key, child)
	{
		found = found != NULL ? found : find_input(child);
	}
	json_array_foreach(value, i, child)
	{
		found = found != NULL ? found : find_input(child);
	}
	return found;
}

/* A form's part is searched for as text. */
static json_t *find_in_form(const char *body, size_t bytes)
{
	static const char begins[] = "{\"name\"";
	const char *at = memmem(body, bytes, begins, strlen(begins));

	return at == NULL ? NULL : json_loadb(at, bytes - (size_t)(at - body), JSON_DISABLE_EOF_CHECK, NULL);
}

/* Puts the render's own input in the body's place. */
static int read_body(struct request *req)
{
	_cleanup_(json_freep) json_t *body = json_loadb(req->body == NULL ? "" : req->body, req->body_bytes, 0, NULL);
	_cleanup_(json_freep) json_t *input = NULL;
	char *text;

	input = body != NULL ? find_input(body) : req->body == NULL ? NULL : find_in_form(req->body, req->body_bytes);
	text = input == NULL ? NULL : json_dumps(input, JSON_COMPACT);
	if (text == NULL)
		return -1;
	free(req->body);
	req->body = text;
	req->body_bytes = req->body_cap = strlen(text);
	return 0;
}

static enum MHD_Result handle_submit(struct request *req, const char *id)
{
	if (read_body(req) < 0)
		return reply_error(req->connection, MHD_HTTP_BAD_REQUEST, "bad_input", "no input is in the body");
	req->key = req->shape->keyed ? id : NULL;
	return req->shape->submitted == NULL ? submit_sync(req) : submit_async(req);
}

/* ---- what comes after ---- */

static enum MHD_Result not_found(struct request *req)
{
	return reply_error(req->connection, MHD_HTTP_NOT_FOUND, "not_found", "no such render");
}

static enum MHD_Result handle_poll(struct request *req)
{
	stats_polled(req->api->stats, render_input(req->render)->name);
	if (renders_poll_fails(req->api->renders, req->render)) {
		stats_add(req->api->stats, STAT_POLL_FAILURES);
		return reply_error(req->connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "told_to", "this poll was to fail");
	}
	return shapes_answer_outcome(req);
}

static enum MHD_Result handle_cancel(struct request *req)
{
	renders_cancel(req->api->renders, req->render);
	return answer(req, MHD_HTTP_OK, req->shape->cancelled);
}

static enum MHD_Result handle_known(struct request *req, enum shape_door door, const char *id)
{
	char bare[RENDER_ID_BYTES + 1] = "";

	/* A file's name goes on after the id. */
	memcpy(bare, id, strnlen(id, RENDER_ID_BYTES));
	if (req->shape->keyed && renders_find_key(req->api->renders, id, &req->render) < 0)
		return not_found(req);
	if (!req->shape->keyed && renders_find(req->api->renders, bare, &req->render) < 0)
		return not_found(req);
	if (door == DOOR_OF_POLL)
		return handle_poll(req);
	if (door == DOOR_OF_CANCEL)
		return handle_cancel(req);
	if (!renders_has(req->api->renders, req->render, CLIP_VIDEO))
		return not_found(req);
	stats_add(req->api->stats, STAT_FETCHES);
	if (door == DOOR_OF_RESULT && req->shape->result != NULL)
		return answer(req, MHD_HTTP_OK, req->shape->result);
	return api_reply_video(req);
}

/* ---- finding the door ---- */

/* Whether path, or the value in the query, is that of the pattern; id is what stands for its star ("": nothing). */
static bool matches(struct request *req, const char *pattern, const char *path, char id[static 128])
{
	const char *query = strchr(pattern, '?'), *star, *value;
	size_t head, tail, size = strlen(path);
	char name[32];

	id[0] = '\0';
	if (query != NULL) {
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(query + 1, "="), query + 1);
		value = MHD_lookup_connection_value(req->connection, MHD_GET_ARGUMENT_KIND, name);
		snprintf(id, 128, "%s", value == NULL ? "" : value);
		return value != NULL && size == (size_t)(query - pattern) && strncmp(pattern, path, size) == 0;
	}
	star = strchr(pattern, '*');
	if (star == NULL)
		return strcmp(pattern, path) == 0;
	head = (size_t)(star - pattern);
	tail = strlen(star + 1);
	if (size <= head + tail || strncmp(pattern, path, head) != 0 || strcmp(path + size - tail, star + 1) != 0 ||
	    size - head - tail >= 128)
		return false;
	snprintf(id, 128, "%.*s", (int)(size - head - tail), path + head);
	return strchr(id, '/') == NULL;
}

/* {"delete":[ID]} */
static void find_deleted(struct request *req)
{
	_cleanup_(json_freep) json_t *body = json_loadb(req->body == NULL ? "" : req->body, req->body_bytes, 0, NULL);
	const char *id = json_string_value(json_array_get(json_object_get(body, "delete"), 0));

	snprintf(req->id, sizeof(req->id), "%s", id == NULL ? "" : id);
}

static bool has_credentials(struct request *req)
{
	const struct shape *s = req->shape;
	const char *value;

	if (s->auth_header == NULL)
		return true;
	value = MHD_lookup_connection_value(req->connection, MHD_HEADER_KIND, s->auth_header);
	return value != NULL && strncmp(value, s->auth_begins, strlen(s->auth_begins)) == 0;
}

static enum MHD_Result handle_path(struct request *req, const char *path)
{
	const struct shape_path *p = req->shape->paths;

	if (!has_credentials(req))
		return reply_error(req->connection, MHD_HTTP_UNAUTHORIZED, "unauthorized", "who are you");
	for (; p->door != DOOR_NONE; p++) {
		if (strcmp(p->method, req->method) != 0 || !matches(req, p->path, path, req->id))
			continue;
		if (strpbrk(p->path, "*") == NULL && p->door == DOOR_OF_CANCEL)
			find_deleted(req);
		return p->door == DOOR_OF_SUBMIT ? handle_submit(req, req->id) : handle_known(req, p->door, req->id);
	}
	return reply_error(req->connection, MHD_HTTP_NOT_FOUND, "not_found", "no such path");
}

enum MHD_Result shapes_handle(struct request *req, const char *rest)
{
	size_t n = strcspn(rest, "/");

	for (size_t i = 0; shapes[i] != NULL; i++) {
		if (strlen(shapes[i]->name) != n || strncmp(shapes[i]->name, rest, n) != 0)
			continue;
		req->shape = shapes[i];
		return handle_path(req, rest + n);
	}
	return reply_error(req->connection, MHD_HTTP_NOT_FOUND, "not_found", "no such shape");
}
