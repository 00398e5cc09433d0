#include "path.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/clean.h"
#include "proto/base/text.h"
#include "proto/error.h"

#define PARTS 5

const char *const route_names[ROUTES] = {
	[ROUTE_NONE] = "none",
	[ROUTE_PAGE] = "page",
	[ROUTE_SLASH] = "slash",
	[ROUTE_STATUS] = "status",
	[ROUTE_ARTIFACT] = "artifact",
	[ROUTE_EVENTS] = "events",
	[ROUTE_LOGO] = "logo",
	[ROUTE_SCRIPT] = "script",
	[ROUTE_HOOK] = "hook",
	[ROUTE_HEALTHZ] = "healthz",
	[ROUTE_READYZ] = "readyz",
	[ROUTE_METRICS] = "metrics",
	[ROUTE_OPENAPI] = "openapi",
	[ROUTE_QUEUES] = "queues",
	[ROUTE_QUEUE] = "queue",
	[ROUTE_PUT] = "put",
	[ROUTE_JOB] = "job",
	[ROUTE_RETRY] = "retry",
	[ROUTE_JOB_ARTIFACT] = "job_artifact",
	[ROUTE_API_NONE] = "api_none",
	[ROUTE_API_BROKEN] = "api_broken",
};

bool route_is_api(enum route route)
{
	return route >= ROUTE_OPENAPI && route < ROUTES;
}

/* Undoes %XX. ERR_BAD_REQUEST for a bad escape, a NUL, or more than fits. */
static int unescape(const char *from, size_t length, char ret[PATH_PART_BYTES])
{
	size_t out = 0;

	for (size_t i = 0; i < length; i++) {
		uint8_t c = (uint8_t)from[i];

		if (out + 1 == PATH_PART_BYTES)
			return ERR_BAD_REQUEST;
		if (c == '%') {
			if (length - i < 3 || hex_decode(slice_of(from + i + 1, 2), &c, 1) < 0 || c == '\0')
				return ERR_BAD_REQUEST;
			i += 2;
		}
		ret[out++] = (char)c;
	}
	ret[out] = '\0';
	return 0;
}

/* How many parts; PARTS + 1 for too many, 0 where one of them cannot be read. */
static size_t split(const char *path, char parts[PARTS][PATH_PART_BYTES])
{
	size_t count = 0;

	while (*path == '/') {
		size_t length = strcspn(++path, "/");

		if (count == PARTS)
			return PARTS + 1;
		if (unescape(path, length, parts[count]) < 0)
			return 0;
		count++;
		path += length;
	}
	return *path == '\0' ? count : 0;
}

static enum route link_route(size_t count, char parts[PARTS][PATH_PART_BYTES], struct path *ret)
{
	if (count == 2)
		return ROUTE_PAGE;
	if (count == 3 && parts[2][0] == '\0')
		return ROUTE_SLASH;
	if (count == 3 && strcmp(parts[2], "status") == 0)
		return ROUTE_STATUS;
	if (count == 3 && strcmp(parts[2], "events") == 0)
		return ROUTE_EVENTS;
	if (count == 3 && (strcmp(parts[2], "preview") == 0 || strcmp(parts[2], "result") == 0)) {
		snprintf(ret->name, sizeof(ret->name), "%s", parts[2]);
		return ROUTE_ARTIFACT;
	}
	if (count == 4 && strcmp(parts[2], "a") == 0 && name_valid(slice_str(parts[3]))) {
		snprintf(ret->name, sizeof(ret->name), "%s", parts[3]);
		return ROUTE_ARTIFACT;
	}
	return ROUTE_NONE;
}

static enum route queue_route(size_t count, char parts[PARTS][PATH_PART_BYTES], struct path *ret)
{
	if (count == 2)
		return ROUTE_QUEUES;
	snprintf(ret->subject, sizeof(ret->subject), "%s", parts[2]);
	if (count == 3)
		return ROUTE_QUEUE;
	return count == 4 && strcmp(parts[3], "jobs") == 0 ? ROUTE_PUT : ROUTE_API_NONE;
}

static enum route job_route(size_t count, char parts[PARTS][PATH_PART_BYTES], struct path *ret)
{
	bool named = count == 5 && strcmp(parts[3], "artifacts") == 0;

	if (count == 2)
		return ROUTE_API_NONE;
	snprintf(ret->subject, sizeof(ret->subject), "%s", parts[2]);
	if (count == 3)
		return ROUTE_JOB;
	if (count == 4 && strcmp(parts[3], "retry") == 0)
		return ROUTE_RETRY;
	if (named ? !name_valid(slice_str(parts[4])) : count != 4 || strcmp(parts[3], "result") != 0)
		return ROUTE_API_NONE;
	snprintf(ret->name, sizeof(ret->name), "%s", named ? parts[4] : "result");
	return ROUTE_JOB_ARTIFACT;
}

static enum route api_route(size_t count, char parts[PARTS][PATH_PART_BYTES], struct path *ret)
{
	if (count == 2 && strcmp(parts[1], "openapi.json") == 0)
		return ROUTE_OPENAPI;
	if (count >= 2 && strcmp(parts[1], "queues") == 0)
		return queue_route(count, parts, ret);
	if (count >= 2 && strcmp(parts[1], "jobs") == 0)
		return job_route(count, parts, ret);
	return ROUTE_API_NONE;
}

/* "http://host/path" is another way to write a request's target (RFC 9112, section 3.2.2). */
static const char *skip_origin(const char *path)
{
	const char *slash;

	if (strncmp(path, "http://", 7) != 0)
		return path;
	slash = strchr(path + 7, '/');
	return slash ? slash : "/";
}

void path_parse(const char *path, struct path *ret)
{
	char parts[PARTS][PATH_PART_BYTES];
	size_t count;

	path = skip_origin(path);
	count = split(path, parts);
	memset(ret, 0, sizeof(*ret));
	if (count == 0) {
		/* A link whose token is garbage is an unknown link, told as a page like every other. */
		bool link = strncmp(path, "/r/", 3) == 0 && !strchr(path + 3, '/');

		bool hook = strncmp(path, "/hooks/", 7) == 0 && !strchr(path + 7, '/');

		ret->route = link			     ? ROUTE_PAGE
			     : hook			     ? ROUTE_HOOK
			     : strncmp(path, "/v1/", 4) == 0 ? ROUTE_API_BROKEN
							     : ROUTE_NONE;
	} else if (count > PARTS) {
		ret->route = strcmp(parts[0], "v1") == 0 ? ROUTE_API_NONE : ROUTE_NONE;
	} else if (count >= 2 && strcmp(parts[0], "r") == 0) {
		snprintf(ret->token, sizeof(ret->token), "%s", parts[1]);
		ret->route = link_route(count, parts, ret);
	} else if (count == 2 && strcmp(parts[0], "hooks") == 0) {
		snprintf(ret->token, sizeof(ret->token), "%s", parts[1]);
		ret->route = ROUTE_HOOK;
	} else if (strcmp(parts[0], "v1") == 0) {
		ret->route = api_route(count, parts, ret);
	} else if (count == 1) {
		ret->route = strcmp(parts[0], "healthz") == 0	? ROUTE_HEALTHZ
			     : strcmp(parts[0], "readyz") == 0	? ROUTE_READYZ
			     : strcmp(parts[0], "metrics") == 0 ? ROUTE_METRICS
			     : strcmp(parts[0], "logo") == 0	? ROUTE_LOGO
			     : strcmp(parts[0], "page.js") == 0 ? ROUTE_SCRIPT
								: ROUTE_NONE;
	}
}
