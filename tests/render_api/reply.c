/* How answers are made. Bytes are sent through a reader callback, so that one way serves whole files, ranges, and
 * bodies that stop half way: the Content-Length is set from what is promised, the reader decides what is kept. */
#include "reply.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "pad.h"
#include "park.h"
#include "util.h"

#define BLOCK_BYTES 32768
#define STEPS	    8 /* of a slow body */

static const char html_page[] = "<!doctype html><title>Sign in</title><h1>This is not the video you asked for</h1>\n";

/* --- text --------------------------------------------------------------------------------------------------------- */

static enum MHD_Result queue(struct MHD_Connection *c, unsigned status, struct MHD_Response *response)
{
	enum MHD_Result result;

	if (response == NULL)
		return MHD_NO;
	result = MHD_queue_response(c, status, response);
	MHD_destroy_response(response);
	return result;
}

static struct MHD_Response *text_response(const char *type, char *text, size_t bytes, enum MHD_ResponseMemoryMode mode)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(bytes, text, mode);

	if (response != NULL) {
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
		MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	}
	return response;
}

static struct MHD_Response *json_response(json_t *json)
{
	char *text = json == NULL ? NULL : json_dumps(json, JSON_COMPACT);
	struct MHD_Response *response;

	json_decref(json);
	if (text == NULL)
		return NULL;
	response = text_response("application/json", text, strlen(text), MHD_RESPMEM_MUST_FREE);
	if (response == NULL)
		free(text);
	return response;
}

static struct MHD_Response *error_response(const char *code, const char *message)
{
	return json_response(json_pack("{s:{s:s, s:s}}", "error", "code", code, "message", message));
}

enum MHD_Result reply_json(struct MHD_Connection *c, unsigned status, json_t *json)
{
	return queue(c, status, json_response(json));
}

enum MHD_Result reply_bad_json(struct MHD_Connection *c, unsigned status)
{
	static char text[] = "{\"id\": \"made-up\", \"status\": \"SUCC";

	return queue(c, status, text_response("application/json", text, sizeof(text) - 1, MHD_RESPMEM_PERSISTENT));
}

enum MHD_Result reply_error(struct MHD_Connection *c, unsigned status, const char *code, const char *message)
{
	return queue(c, status, error_response(code, message));
}

enum MHD_Result reply_retry(struct MHD_Connection *c, unsigned status, const char *code, const char *message,
			    int seconds)
{
	return reply_json_retry(c, status, json_pack("{s:{s:s, s:s}}", "error", "code", code, "message", message),
				seconds);
}

enum MHD_Result reply_json_retry(struct MHD_Connection *c, unsigned status, json_t *json, int seconds)
{
	struct MHD_Response *response = json_response(json);
	char text[16];

	snprintf(text, sizeof(text), "%d", seconds);
	if (response != NULL && seconds > 0)
		MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, text);
	return queue(c, status, response);
}

enum MHD_Result reply_not_allowed(struct MHD_Connection *c, const char *allow)
{
	struct MHD_Response *response = error_response("method_not_allowed", "this path does not take that method");

	if (response != NULL)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, allow);
	return queue(c, MHD_HTTP_METHOD_NOT_ALLOWED, response);
}

enum MHD_Result reply_redirect(struct MHD_Connection *c, const char *url)
{
	struct MHD_Response *response = error_response("moved", "it is elsewhere");

	if (response != NULL)
		MHD_add_response_header(response, MHD_HTTP_HEADER_LOCATION, url);
	return queue(c, MHD_HTTP_FOUND, response);
}

enum MHD_Result reply_reset(struct MHD_Connection *c)
{
	const struct linger at_once = { .l_onoff = 1, .l_linger = 0 };
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);

	if (info != NULL)
		setsockopt(info->connect_fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	return MHD_NO;
}

/* --- bytes -------------------------------------------------------------------------------------------------------- */

struct range {
	size_t first;
	size_t count;
};

struct body {
	struct reply_file file;
	struct range range;
	size_t stop_after; /* bytes sent before it is spoilt */
	size_t pause_at;   /* the next pause of a slow one */
	struct MHD_Connection *connection;
};

static void body_free_cb(void *cls)
{
	struct body *b = cls;

	free(b->file.bytes);
	free(b);
}

/* The bytes of the file from `from` on, or the first of them where the pad begins in between. */
static size_t copy_file(const struct reply_file *file, size_t from, unsigned char *to, size_t count)
{
	if (from >= file->size) {
		pad_fill(file->pad, from - file->size, to, count);
		return count;
	}
	if (count > file->size - from)
		count = file->size - from;
	memcpy(to, file->bytes + from, count);
	return count;
}

/* Half of it is sent. This runs again after the silence, or when told that there can be none, and ends it. */
static ssize_t spoil_rest(struct body *b)
{
	const struct reply_file *file = &b->file;
	enum reply_spoil spoil = file->spoil;

	b->file.spoil = SPOIL_TRUNCATE;
	if (spoil == SPOIL_HANG_BODY && park_add(file->park, file->parked, b->connection, PARK_FOREVER) == 0)
		return 0;
	if (spoil != SPOIL_HOLD_BODY || park_hold(file->park, file->parked, b->connection) < 0)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	b->stop_after = b->range.count;
	return 0;
}

static ssize_t pause_body(struct body *b)
{
	const struct reply_file *file = &b->file;

	b->pause_at += b->range.count / STEPS + 1;
	if (park_add(file->park, file->parked, b->connection, now_ms() + file->pause_ms) < 0)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	return 0;
}

static ssize_t body_read_cb(void *cls, uint64_t position, char *buffer, size_t max)
{
	struct body *b = cls;
	size_t left = position < b->stop_after ? b->stop_after - position : 0;

	if (left == 0)
		return spoil_rest(b);
	if (b->file.pause_ms > 0 && position >= b->pause_at)
		return pause_body(b);
	if (left > max)
		left = max;
	return (ssize_t)copy_file(&b->file, b->range.first + (size_t)position, (unsigned char *)buffer, left);
}

enum range_answer { RANGE_NONE, RANGE_SOME, RANGE_BAD };

/* One range of the three forms a-b, a- and -n. What is not understood is ignored, as the standard wants it. */
static enum range_answer parse_range(const char *header, size_t size, struct range *ret_range)
{
	unsigned long long first, last;
	char extra;

	if (header == NULL || strncmp(header, "bytes=", 6) != 0 || strchr(header, ',') != NULL)
		return RANGE_NONE;
	header += 6;
	if (header[0] == '-') {
		if (sscanf(header + 1, "%llu%c", &last, &extra) != 1)
			return RANGE_NONE;
		if (last == 0)
			return RANGE_BAD;
		first = last > size ? 0 : size - last;
		last = size - 1;
	} else if (sscanf(header, "%llu-%llu%c", &first, &last, &extra) == 2) {
		if (last < first)
			return RANGE_NONE;
	} else if (sscanf(header, "%llu-%c", &first, &extra) == 1 && header[strlen(header) - 1] == '-') {
		last = size - 1;
	} else {
		return RANGE_NONE;
	}
	if (first >= size)
		return RANGE_BAD;
	if (last >= size)
		last = size - 1;
	*ret_range = (struct range){ .first = (size_t)first, .count = (size_t)(last - first + 1) };
	return RANGE_SOME;
}

static enum MHD_Result reply_bad_range(struct MHD_Connection *c, size_t size)
{
	struct MHD_Response *response = error_response("bad_range", "the range is not in the file");
	char text[64];

	snprintf(text, sizeof(text), "bytes */%zu", size);
	if (response != NULL)
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_RANGE, text);
	return queue(c, MHD_HTTP_RANGE_NOT_SATISFIABLE, response);
}

static struct MHD_Response *body_response(struct body *b, size_t size, bool partial)
{
	struct MHD_Response *response;
	char text[96];

	response = MHD_create_response_from_callback(b->range.count, BLOCK_BYTES, body_read_cb, b, body_free_cb);
	if (response == NULL) {
		body_free_cb(b);
		return NULL;
	}
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, b->file.type);
	MHD_add_response_header(response, MHD_HTTP_HEADER_ACCEPT_RANGES, "bytes");
	if (partial) {
		snprintf(text, sizeof(text), "bytes %zu-%zu/%zu", b->range.first, b->range.first + b->range.count - 1,
			 size);
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_RANGE, text);
	}
	return response;
}

static enum MHD_Result reply_html(struct MHD_Connection *c)
{
	return queue(c, MHD_HTTP_OK,
		     text_response("text/html", (char *)html_page, sizeof(html_page) - 1, MHD_RESPMEM_PERSISTENT));
}

enum MHD_Result reply_bytes(struct MHD_Connection *c, const struct reply_file *file)
{
	_cleanup_(freep) unsigned char *owned = file->bytes;
	size_t size = file->size + file->pad;
	struct range range = { .first = 0, .count = size };
	enum range_answer answer;
	struct body *b;

	if (file->spoil == SPOIL_WRONG_TYPE)
		return reply_html(c);
	answer = parse_range(MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_RANGE), size, &range);
	if (answer == RANGE_BAD)
		return reply_bad_range(c, size);
	b = calloc(1, sizeof(*b));
	if (b == NULL)
		return MHD_NO;
	*b = (struct body){
		.file = *file,
		.range = range,
		.stop_after = file->spoil == SPOIL_NOTHING ? range.count : range.count / 2,
		.connection = c,
	};
	TAKE_PTR(owned);
	return queue(c, answer == RANGE_SOME ? MHD_HTTP_PARTIAL_CONTENT : MHD_HTTP_OK,
		     body_response(b, size, answer == RANGE_SOME));
}
