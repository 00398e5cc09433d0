#include "path.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/clean.h"
#include "proto/base/text.h"
#include "proto/error.h"

#define PARTS 4

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

/* How many parts; 0 for a path with too many or with one that cannot be read. */
static size_t split(const char *path, char parts[PARTS][PATH_PART_BYTES])
{
	size_t count = 0;

	while (*path == '/') {
		size_t length = strcspn(++path, "/");

		if (count == PARTS || unescape(path, length, parts[count]) < 0)
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

		ret->route = link ? ROUTE_PAGE : ROUTE_NONE;
	} else if (count >= 2 && strcmp(parts[0], "r") == 0) {
		snprintf(ret->token, sizeof(ret->token), "%s", parts[1]);
		ret->route = link_route(count, parts, ret);
	} else if (count == 1) {
		ret->route = strcmp(parts[0], "healthz") == 0  ? ROUTE_HEALTHZ
			     : strcmp(parts[0], "readyz") == 0 ? ROUTE_READYZ
			     : strcmp(parts[0], "logo") == 0   ? ROUTE_LOGO
							       : ROUTE_NONE;
	}
}
