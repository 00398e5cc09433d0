#include "problem.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/error.h"
#include "server/http/response.h"

#define FAILED_RETRY_MS 5000 /* the disk, the memory, a broker that stops: nobody knows */

static const struct {
	int code;
	unsigned status;
} statuses[] = {
	{ ERR_BAD_REQUEST, MHD_HTTP_BAD_REQUEST },
	{ ERR_UNAUTHENTICATED, MHD_HTTP_UNAUTHORIZED },
	{ ERR_DENIED, MHD_HTTP_FORBIDDEN },
	{ ERR_NOT_FOUND, MHD_HTTP_NOT_FOUND },
	{ ERR_GONE, MHD_HTTP_GONE },
	{ ERR_CONFLICT, MHD_HTTP_CONFLICT },
	{ ERR_INVALID_STATE, MHD_HTTP_CONFLICT },
	{ ERR_QUEUE_FULL, MHD_HTTP_TOO_MANY_REQUESTS },
	{ ERR_THROTTLED, MHD_HTTP_TOO_MANY_REQUESTS },
	{ ERR_TOO_LARGE, MHD_HTTP_BAD_REQUEST },
	{ ERR_STORE_FULL, MHD_HTTP_SERVICE_UNAVAILABLE },
	{ ERR_STORE_ERROR, MHD_HTTP_SERVICE_UNAVAILABLE },
	{ ERR_DAMAGED, MHD_HTTP_SERVICE_UNAVAILABLE },
	{ ERR_IO, MHD_HTTP_SERVICE_UNAVAILABLE },
	{ ERR_SHUTTING_DOWN, MHD_HTTP_SERVICE_UNAVAILABLE },
	{ ERR_NO_MEMORY, MHD_HTTP_SERVICE_UNAVAILABLE },
};

unsigned problem_status(const struct error_info *info)
{
	/* 413 is of the body and its parts; 422 is what the Idempotency-Key draft says of a key with another body. */
	if (info->code == ERR_TOO_LARGE &&
	    (strcmp(info->field, "payload") == 0 || strncmp(info->field, "preview", strlen("preview")) == 0))
		return MHD_HTTP_CONTENT_TOO_LARGE;
	if (info->code == ERR_CONFLICT && strcmp(info->field, "idempotency_key") == 0)
		return MHD_HTTP_UNPROCESSABLE_CONTENT;
	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
		if (statuses[i].code == info->code)
			return statuses[i].status;
	return MHD_HTTP_INTERNAL_SERVER_ERROR;
}

/* In whole seconds, never too early. */
static void retry_header(struct MHD_Response *r, int64_t retry_after_ms)
{
	char seconds[24];

	snprintf(seconds, sizeof(seconds), "%lld", (long long)((retry_after_ms + 999) / 1000));
	response_header(r, "Retry-After", seconds);
}

static int64_t retry_after_ms(unsigned status, const struct error_info *info)
{
	if (info->retry_after_ms > 0)
		return info->retry_after_ms;
	return status == MHD_HTTP_SERVICE_UNAVAILABLE || status == MHD_HTTP_TOO_MANY_REQUESTS ? FAILED_RETRY_MS : 0;
}

static char *write_problem(unsigned status, const struct error_info *info, int64_t retry_ms)
{
	const char *text = info->message[0] ? info->message : error_text(info->code);
	json_t *problem = json_pack("{s:s, s:s, s:i, s:s, s:s}", "type", "about:blank", "title",
				    MHD_get_reason_phrase_for(status), "status", (int)status, "code",
				    error_name(error_on_wire(info->code)), "detail", text);
	char *out;

	if (problem && info->field[0])
		json_object_set_new(problem, "field", json_string(info->field));
	if (problem && retry_ms > 0)
		json_object_set_new(problem, "retry_after_ms", json_integer(retry_ms));
	out = problem ? json_dumps(problem, JSON_COMPACT) : NULL;
	json_decref(problem);
	return out;
}

struct MHD_Response *problem_new(unsigned status, const struct error_info *info)
{
	int64_t retry_ms = retry_after_ms(status, info);
	char *text = write_problem(status, info, retry_ms);
	struct MHD_Response *r;
	struct buf body;

	if (!text)
		return NULL;
	buf_init(&body, 4096);
	buf_append_str(&body, text);
	free(text);
	r = response_new(&body, "application/problem+json");
	buf_done(&body);
	response_header(r, "Cache-Control", "no-store");
	if (retry_ms > 0)
		retry_header(r, retry_ms);
	return r;
}

enum MHD_Result problem_send(struct MHD_Connection *c, const struct error_info *info)
{
	unsigned status = problem_status(info);

	response_log_failure(info->code);
	return response_send(c, status, problem_new(status, info));
}
