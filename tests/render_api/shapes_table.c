/* The APIs: what each calls its paths, its states and its fields. */
#include "shapes.h"

#include <stddef.h>

#define SUBMIT(m, p)                 \
	{                            \
		DOOR_OF_SUBMIT, m, p \
	}
#define POLL(m, p)                 \
	{                          \
		DOOR_OF_POLL, m, p \
	}
#define RESULT(m, p)                 \
	{                            \
		DOOR_OF_RESULT, m, p \
	}
#define CANCEL(m, p)                 \
	{                            \
		DOOR_OF_CANCEL, m, p \
	}
#define VIDEO(m, p)                 \
	{                           \
		DOOR_OF_VIDEO, m, p \
	}

/* COMPLETED is said of a call that failed, too: with an error beside it. */
#define FAL "/fal-ai/ltx-video"
static const struct shape fal = {
	.name = "fal",
	.auth_header = "Authorization",
	.auth_begins = "Key fal-key",
	.paths = { SUBMIT("POST", FAL), POLL("GET", FAL "/requests/*/status"), RESULT("GET", FAL "/requests/*"),
		   CANCEL("PUT", FAL "/requests/*/cancel") },
	.submitted_status = 200,
	.submitted = "{\"status\":\"IN_QUEUE\",\"request_id\":\"$id\",\"queue_position\":0,"
		     "\"response_url\":\"$base" FAL "/requests/$id\","
		     "\"status_url\":\"$base" FAL "/requests/$id/status\","
		     "\"cancel_url\":\"$base" FAL "/requests/$id/cancel\"}",
	.pending = "{\"status\":\"IN_QUEUE\",\"request_id\":\"$id\",\"queue_position\":3}",
	.running = "{\"status\":\"IN_PROGRESS\",\"request_id\":\"$id\"}",
	.succeeded = "{\"status\":\"COMPLETED\",\"request_id\":\"$id\"}",
	.failed = "{\"status\":\"COMPLETED\",\"request_id\":\"$id\",\"error\":\"$message\",\"error_type\":\"$code\"}",
	.cancelled = "{\"status\":\"CANCELLATION_REQUESTED\"}",
	.result = "{\"video\":{\"url\":\"$output\",\"content_type\":\"video/mp4\"},\"seed\":1}",
	.throttled = "{\"detail\":\"too many requests\"}",
};

static const struct shape replicate = {
	.name = "replicate",
	.auth_header = "Authorization",
	.auth_begins = "Bearer replicate-key",
	.paths = { SUBMIT("POST", "/v1/predictions"), POLL("GET", "/v1/predictions/*"),
		   CANCEL("POST", "/v1/predictions/*/cancel") },
	.submitted_status = 201,
	.submitted = "{\"id\":\"$id\",\"status\":\"starting\",\"output\":null,\"error\":null,"
		     "\"urls\":{\"get\":\"$base/v1/predictions/$id\",\"cancel\":\"$base/v1/predictions/$id/cancel\"}}",
	.pending = "{\"id\":\"$id\",\"status\":\"starting\",\"output\":null,\"error\":null}",
	.running = "{\"id\":\"$id\",\"status\":\"processing\",\"output\":null,\"error\":null}",
	.succeeded = "{\"id\":\"$id\",\"status\":\"succeeded\",\"output\":[\"$output\"],\"error\":null}",
	.failed = "{\"id\":\"$id\",\"status\":\"failed\",\"output\":null,\"error\":\"$message\"}",
	.cancelled = "{\"id\":\"$id\",\"status\":\"canceled\",\"output\":null,\"error\":null}",
	.throttled = "{\"detail\":\"Request was throttled.\"}",
};

/* The id is the caller's, and the same id again is the same call. */
static const struct shape cog = {
	.name = "cog",
	.paths = { SUBMIT("PUT", "/predictions/*"), CANCEL("POST", "/predictions/*/cancel") },
	.succeeded = "{\"status\":\"succeeded\",\"output\":\"$output\"}",
	.failed = "{\"status\":\"failed\",\"error\":\"$message\"}",
	.cancelled = "{\"status\":\"canceled\"}",
	.throttled_status = 409,
	.throttled = "{\"detail\":\"Already running a prediction\"}",
	.keyed = true,
};

static const struct shape runway = {
	.name = "runway",
	.auth_header = "Authorization",
	.auth_begins = "Bearer runway-key",
	.paths = { SUBMIT("POST", "/v1/image_to_video"), POLL("GET", "/v1/tasks/*"), CANCEL("DELETE", "/v1/tasks/*") },
	.submitted_status = 200,
	.submitted = "{\"id\":\"$id\"}",
	.pending = "{\"id\":\"$id\",\"status\":\"THROTTLED\"}",
	.running = "{\"id\":\"$id\",\"status\":\"RUNNING\",\"progress\":\"$progress\"}",
	.succeeded = "{\"id\":\"$id\",\"status\":\"SUCCEEDED\",\"output\":[\"$output\"]}",
	.failed = "{\"id\":\"$id\",\"status\":\"FAILED\",\"failure\":\"$message\",\"failureCode\":\"$code\"}",
	.cancelled = "{\"id\":\"$id\",\"status\":\"CANCELLED\"}",
	.throttled = "{\"error\":\"Too many requests\"}",
};

static const struct shape luma = {
	.name = "luma",
	.auth_header = "Authorization",
	.auth_begins = "Bearer luma-key",
	.paths = { SUBMIT("POST", "/dream-machine/v1/generations"), POLL("GET", "/dream-machine/v1/generations/*"),
		   CANCEL("DELETE", "/dream-machine/v1/generations/*") },
	.submitted_status = 201,
	.submitted = "{\"id\":\"$id\",\"state\":\"queued\",\"failure_reason\":null,\"assets\":null}",
	.pending = "{\"id\":\"$id\",\"state\":\"queued\",\"failure_reason\":null,\"assets\":null}",
	.running = "{\"id\":\"$id\",\"state\":\"dreaming\",\"failure_reason\":null,\"assets\":null}",
	.succeeded =
		"{\"id\":\"$id\",\"state\":\"completed\",\"failure_reason\":null,\"assets\":{\"video\":\"$output\"}}",
	.failed = "{\"id\":\"$id\",\"state\":\"failed\",\"failure_reason\":\"$message\",\"assets\":null}",
	.cancelled = "{\"id\":\"$id\",\"state\":\"failed\",\"failure_reason\":\"deleted\"}",
	.throttled = "{\"detail\":\"Too many requests\"}",
};

/* Every answer has a code, 0 for success, and a message, which then says so. */
#define KLING(data)	   "{\"code\":0,\"message\":\"SUCCEED\",\"request_id\":\"r\",\"data\":" data "}"
#define KLING_TASK(status) KLING("{\"task_id\":\"$id\",\"task_status\":\"" status "\"}")
static const struct shape kling = {
	.name = "kling",
	.auth_header = "Authorization",
	.auth_begins = "Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.",
	.paths = { SUBMIT("POST", "/v1/videos/image2video"), POLL("GET", "/v1/videos/image2video/*") },
	.submitted_status = 200,
	.submitted = KLING_TASK("submitted"),
	.pending = KLING_TASK("submitted"),
	.running = KLING_TASK("processing"),
	.succeeded = KLING("{\"task_id\":\"$id\",\"task_status\":\"succeed\","
			   "\"task_result\":{\"videos\":[{\"id\":\"1\",\"url\":\"$output\"}]}}"),
	.failed = KLING("{\"task_id\":\"$id\",\"task_status\":\"failed\",\"task_status_msg\":\"$message\"}"),
	.cancelled = KLING_TASK("failed"),
	.throttled_status = 200,
	.throttled = "{\"code\":1303,\"message\":\"parallel task over resource pack limit\"}",
};

/* The status of HTTP is the state, and the body of a success the video. */
static const struct shape stability = {
	.name = "stability",
	.auth_header = "Authorization",
	.auth_begins = "Bearer stability-key",
	.paths = { SUBMIT("POST", "/v2beta/image-to-video"), POLL("GET", "/v2beta/image-to-video/result/*") },
	.submitted_status = 200,
	.submitted = "{\"id\":\"$id\"}",
	.pending = "{\"id\":\"$id\",\"status\":\"in-progress\"}",
	.running = "{\"id\":\"$id\",\"status\":\"in-progress\"}",
	.failed = "{\"id\":\"$id\",\"name\":\"$code\",\"errors\":[\"$message\"]}",
	.cancelled = "{\"errors\":[\"gone\"]}",
	.running_status = 202,
	.failed_status = 400,
	.throttled = "{\"name\":\"rate_limit_exceeded\",\"errors\":[\"too many requests\"]}",
};

/* The id holds slashes; the file wants the key, too. */
#define VEO "/v1beta/models/veo-3.0-generate-001"
static const struct shape veo = {
	.name = "veo",
	.auth_header = "x-goog-api-key",
	.auth_begins = "veo-key",
	.paths = { SUBMIT("POST", VEO ":predictLongRunning"), POLL("GET", VEO "/operations/*"),
		   VIDEO("GET", "/v1beta/files/*:download") },
	.submitted_status = 200,
	.submitted = "{\"name\":\"models/veo-3.0-generate-001/operations/$id\"}",
	.pending = "{\"name\":\"models/veo-3.0-generate-001/operations/$id\"}",
	.running = "{\"name\":\"models/veo-3.0-generate-001/operations/$id\",\"done\":false}",
	.succeeded = "{\"name\":\"$id\",\"done\":true,\"response\":{\"generateVideoResponse\":{\"generatedSamples\":"
		     "[{\"video\":{\"uri\":\"$base/v1beta/files/$id:download?alt=media\"}}]}}}",
	.failed = "{\"name\":\"$id\",\"done\":true,\"error\":{\"code\":3,\"message\":\"$message\"}}",
	.cancelled = "{\"name\":\"$id\",\"done\":true,\"error\":{\"code\":1,\"message\":\"cancelled\"}}",
	.throttled = "{\"error\":{\"code\":429,\"message\":\"quota\",\"status\":\"RESOURCE_EXHAUSTED\"}}",
};

static const struct shape heygen = {
	.name = "heygen",
	.auth_header = "X-Api-Key",
	.auth_begins = "heygen-key",
	.paths = { SUBMIT("POST", "/v2/video/generate"), POLL("GET", "/v1/video_status.get?video_id=*") },
	.submitted_status = 200,
	.submitted = "{\"error\":null,\"data\":{\"video_id\":\"$id\"}}",
	.pending = "{\"code\":100,\"data\":{\"id\":\"$id\",\"status\":\"pending\",\"error\":null}}",
	.running = "{\"code\":100,\"data\":{\"id\":\"$id\",\"status\":\"processing\",\"error\":null}}",
	.succeeded = "{\"code\":100,\"data\":{\"id\":\"$id\",\"status\":\"completed\",\"error\":null,"
		     "\"video_url\":\"$output\",\"thumbnail_url\":\"$poster\"}}",
	.failed = "{\"code\":100,\"data\":{\"id\":\"$id\",\"status\":\"failed\","
		  "\"error\":{\"code\":40119,\"message\":\"$message\"}}}",
	.cancelled = "{\"data\":{\"status\":\"failed\"}}",
	.throttled = "{\"error\":{\"code\":\"rate_limited\",\"message\":\"slow down\"}}",
};

static const struct shape did = {
	.name = "did",
	.auth_header = "Authorization",
	.auth_begins = "Basic ZGlkOmRpZC1rZXk=",
	.paths = { SUBMIT("POST", "/talks"), POLL("GET", "/talks/*") },
	.submitted_status = 201,
	.submitted = "{\"id\":\"$id\",\"status\":\"created\"}",
	.pending = "{\"id\":\"$id\",\"status\":\"created\"}",
	.running = "{\"id\":\"$id\",\"status\":\"started\"}",
	.succeeded = "{\"id\":\"$id\",\"status\":\"done\",\"result_url\":\"$output\"}",
	.failed =
		"{\"id\":\"$id\",\"status\":\"rejected\",\"error\":{\"kind\":\"$code\",\"description\":\"$message\"}}",
	.cancelled = "{\"id\":\"$id\",\"status\":\"error\"}",
	.throttled = "{\"kind\":\"TooManyRequests\",\"description\":\"too many requests\"}",
};

#define SHOTSTACK(response) "{\"success\":true,\"message\":\"OK\",\"response\":" response "}"
static const struct shape shotstack = {
	.name = "shotstack",
	.auth_header = "x-api-key",
	.auth_begins = "shotstack-key",
	.paths = { SUBMIT("POST", "/edit/v1/render"), POLL("GET", "/edit/v1/render/*") },
	.submitted_status = 201,
	.submitted = SHOTSTACK("{\"message\":\"Render Successfully Queued\",\"id\":\"$id\"}"),
	.pending = SHOTSTACK("{\"id\":\"$id\",\"status\":\"queued\"}"),
	.running = SHOTSTACK("{\"id\":\"$id\",\"status\":\"rendering\"}"),
	.succeeded = SHOTSTACK(
		"{\"id\":\"$id\",\"status\":\"done\",\"url\":\"$output\",\"poster\":\"$poster\",\"error\":\"\"}"),
	.failed = SHOTSTACK("{\"id\":\"$id\",\"status\":\"failed\",\"error\":\"$message\"}"),
	.cancelled = SHOTSTACK("{\"id\":\"$id\",\"status\":\"failed\",\"error\":\"cancelled\"}"),
	.throttled = "{\"message\":\"Limit Exceeded\"}",
};

/* The URL is there from the first answer on, long before there is anything at it. */
#define CREATOMATE(status) "{\"id\":\"$id\",\"status\":\"" status "\",\"url\":\"$output\",\"snapshot_url\":\"$poster\"}"
static const struct shape creatomate = {
	.name = "creatomate",
	.auth_header = "Authorization",
	.auth_begins = "Bearer creatomate-key",
	.paths = { SUBMIT("POST", "/v2/renders"), POLL("GET", "/v2/renders/*") },
	.submitted_status = 202,
	.submitted = "{\"id\":\"$id\",\"status\":\"planned\",\"url\":\"$base/not/yet.mp4\"}",
	.pending = "{\"id\":\"$id\",\"status\":\"waiting\",\"url\":\"$base/not/yet.mp4\","
		   "\"snapshot_url\":\"$base/not/yet.jpg\"}",
	.running = "{\"id\":\"$id\",\"status\":\"rendering\",\"url\":\"$base/not/yet.mp4\","
		   "\"snapshot_url\":\"$base/not/yet.jpg\"}",
	.succeeded = CREATOMATE("succeeded"),
	.failed = "{\"id\":\"$id\",\"status\":\"failed\",\"error_message\":\"$message\"}",
	.cancelled = "{\"id\":\"$id\",\"status\":\"failed\"}",
	.throttled = "{\"message\":\"Too many requests\"}",
};

/* What is not done yet is not in the history; the result is named by parts. */
static const struct shape comfyui = {
	.name = "comfyui",
	.paths = { SUBMIT("POST", "/prompt"), POLL("GET", "/history/*"), VIDEO("GET", "/view?filename=*"),
		   CANCEL("POST", "/queue") },
	.submitted_status = 200,
	.submitted = "{\"prompt_id\":\"$id\",\"number\":1,\"node_errors\":{}}",
	.pending = "{}",
	.running = "{}",
	.succeeded = "{\"$id\":{\"status\":{\"status_str\":\"success\",\"completed\":true},\"outputs\":{"
		     "\"4\":{\"text\":[\"x\"]},"
		     "\"9\":{\"images\":[{\"filename\":\"$id.mp4\",\"subfolder\":\"\",\"type\":\"output\"}]}}}}",
	.failed =
		"{\"$id\":{\"status\":{\"status_str\":\"error\",\"completed\":false,\"messages\":[[\"execution_error\","
		"{\"exception_message\":\"$message\"}]]},\"outputs\":{}}}",
	.cancelled = "{}",
	.throttled_status = 503,
	.throttled = "{\"error\":{\"message\":\"busy\"}}",
};

const struct shape *const shapes[] = {
	&fal, &replicate, &cog, &runway,    &luma,	 &kling,   &stability,
	&veo, &heygen,	  &did, &shotstack, &creatomate, &comfyui, NULL,
};
