#include "events.h"

#include <stdio.h>
#include <string.h>

#include "proto/base/clean.h"
#include "proto/base/clock.h"
#include "proto/error.h"
#include "server/http/board.h"
#include "server/http/response.h"
#include "server/http/site.h"
#include "server/http/streams.h"

#define HEAD_BYTES 1024
#define TYPE	   "text/event-stream"
/* After a broken connection. Spread out, so that a crowd that lost the broker does not come back at once. */
#define RETRY_LEAST_MS 1000
#define RETRY_SPAN_MS  4000

/* The id of an event is its tag without the signs around it. */
static bool is_known(const struct request *r, const struct posting *p)
{
	const char *last = request_header(r->connection, "Last-Event-ID");

	return last && strlen(last) == 16 && strncmp(p->tag + strlen("W/\""), last, 16) == 0;
}

/* What a stream's answer bears besides what all do. The last is for nginx: to pass on each event as it comes. */
static const char *const headers[][2] = { { "Cache-Control", "no-store" }, { "X-Accel-Buffering", "no" } };

static enum MHD_Result answer(const struct request *r, unsigned status)
{
	struct MHD_Response *response = response_typed_empty(TYPE);

	for (size_t i = 0; i < ARRAY_SIZE(headers); i++)
		response_header(response, headers[i][0], headers[i][1]);
	return response_send(r->connection, status, response);
}

static enum MHD_Result refuse(const struct request *r, int rc)
{
	struct MHD_Response *response;

	if (rc != ERR_THROTTLED)
		return response_error(r->connection, rc);
	response = response_problem(MHD_HTTP_SERVICE_UNAVAILABLE, error_name(rc),
				    "no more can be told at once: ask for the status now and then");
	response_header(response, "Retry-After", "10");
	return response_send(r->connection, MHD_HTTP_SERVICE_UNAVAILABLE, response);
}

/* The head of the answer and what precedes the first event, as they go over the wire. */
static int write_head(struct buf *out, bool known)
{
	int64_t spread_ms = clock_mono_ns() / 1000 % RETRY_SPAN_MS;

	response_write_head(out, MHD_HTTP_OK, TYPE);
	for (size_t i = 0; i < ARRAY_SIZE(headers); i++)
		buf_printf(out, "%s: %s\r\n", headers[i][0], headers[i][1]);
	buf_printf(out, "Connection: close\r\n\r\nretry: %d\n%s", (int)(RETRY_LEAST_MS + spread_ms), known ? "\n" : "");
	return buf_append(out, "", 1);
}

static enum MHD_Result stream(const struct request *r, struct posting *p, bool known)
{
	_cleanup_(buf_done) struct buf head;
	int rc;

	buf_init(&head, HEAD_BYTES);
	rc = write_head(&head, known);
	if (rc == 0)
		rc = streams_take(r->site->streams, r->connection, r->token, p, known, (const char *)head.data);
	return rc < 0 ? refuse(r, rc) : MHD_NO;
}

enum MHD_Result events_serve(const struct request *r)
{
	_cleanup_(posting_releasep) struct posting *p = NULL;
	int rc = board_get(r, BOARD_STATUS, &p);
	bool known;

	if (rc < 0)
		return response_error(r->connection, rc);
	known = is_known(r, p);
	if (r->head)
		return answer(r, MHD_HTTP_OK);
	if (known && p->final)
		return answer(r, MHD_HTTP_NO_CONTENT);
	return stream(r, p, known);
}
