#include "endpoint.h"

#include <stdio.h>
#include <string.h>

#include "proto/error.h"

static int refuse(struct error_info *info, const char *why)
{
	return error_set(info, ERR_BAD_REQUEST, "server", "%s", why);
}

static int parse_port(const char *text, uint16_t *ret, struct error_info *info)
{
	unsigned port = 0;

	if (*text == '\0' || strlen(text) > 5)
		return refuse(info, "the port must be a number from 1 to 65535");
	for (const char *p = text; *p; p++) {
		if (*p < '0' || *p > '9')
			return refuse(info, "the port must be a number from 1 to 65535");
		port = port * 10 + (unsigned)(*p - '0');
	}
	if (port < 1 || port > 65535)
		return refuse(info, "the port must be a number from 1 to 65535");
	*ret = (uint16_t)port;
	return 0;
}

static int take_host(struct endpoint *a, const char *host, size_t size, struct error_info *info)
{
	if (size == 0)
		return refuse(info, "the host is missing");
	if (size >= sizeof(a->host))
		return refuse(info, "the host name is too long");
	memcpy(a->host, host, size);
	a->host[size] = '\0';
	return 0;
}

static int parse_bracketed(const char *text, struct endpoint *a, struct error_info *info)
{
	const char *end = strchr(text, ']');
	int rc;

	if (!end)
		return refuse(info, "the closing bracket is missing");
	rc = take_host(a, text + 1, (size_t)(end - text - 1), info);
	if (rc < 0 || end[1] == '\0')
		return rc;
	if (end[1] != ':')
		return refuse(info, "a colon and the port must follow the bracket");
	return parse_port(end + 2, &a->port, info);
}

static int parse_host(const char *text, struct endpoint *a, struct error_info *info)
{
	const char *colon = strchr(text, ':');
	int rc;

	if (!colon)
		return take_host(a, text, strlen(text), info);
	/* "::1:7246" could be read in two ways. */
	if (strchr(colon + 1, ':'))
		return refuse(info, "an IPv6 address is written in brackets: [::1]:7246");
	rc = take_host(a, text, (size_t)(colon - text), info);
	return rc < 0 ? rc : parse_port(colon + 1, &a->port, info);
}

int endpoint_parse(const char *text, struct endpoint *ret, struct error_info *info)
{
	struct endpoint a = { .port = ENDPOINT_DEFAULT_PORT };
	int rc;

	if (strncmp(text, "unix:", 5) == 0) {
		a.is_unix = true;
		if (text[5] == '\0')
			return refuse(info, "the path of the socket is missing");
		if (strlen(text + 5) >= sizeof(a.path))
			return refuse(info, "the path of the socket is longer than 107 bytes");
		snprintf(a.path, sizeof(a.path), "%s", text + 5);
		*ret = a;
		return 0;
	}
	rc = text[0] == '[' ? parse_bracketed(text, &a, info) : parse_host(text, &a, info);
	if (rc < 0)
		return rc;
	*ret = a;
	return 0;
}

struct endpoint_text endpoint_format(const struct endpoint *a)
{
	struct endpoint_text t;

	if (a->is_unix)
		snprintf(t.text, sizeof(t.text), "unix:%s", a->path);
	else
		snprintf(t.text, sizeof(t.text), strchr(a->host, ':') ? "[%s]:%u" : "%s:%u", a->host, a->port);
	return t;
}
