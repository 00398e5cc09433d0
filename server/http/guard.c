#include "guard.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

#include "proto/error.h"
#include "server/http/response.h"

#define HOST_MAX 255

/* ---- the host ---- */

/* "name:7247", "[::1]:7247" or either without the port into the name alone. False for what is neither. */
static bool split_host(const char *text, char ret[HOST_MAX + 1])
{
	const char *end = text[0] == '[' ? strchr(text, ']') : text + strcspn(text, ":");
	const char *port;
	size_t length;

	if (!end)
		return false;
	port = text[0] == '[' ? end + 1 : end;
	text += text[0] == '[';
	length = (size_t)(end - text);
	if (length == 0 || length > HOST_MAX || (*port && *port != ':'))
		return false;
	if (*port && port[1 + strspn(port + 1, "0123456789")])
		return false;
	memcpy(ret, text, length);
	ret[length] = '\0';
	return true;
}

static bool is_address(const char *host)
{
	struct in6_addr v6;
	struct in_addr v4;

	return inet_pton(AF_INET, host, &v4) == 1 || inet_pton(AF_INET6, host, &v6) == 1;
}

/* Nobody can make these names lead elsewhere than here (RFC 6761, section 6.3). An address is no name at all. */
static bool is_own_name(const char *host)
{
	size_t length = strlen(host);

	return is_address(host) || strcasecmp(host, "localhost") == 0 ||
	       (length > 10 && strcasecmp(host + length - 10, ".localhost") == 0);
}

static bool is_listed(const struct guard_hosts *hosts, const char *host)
{
	for (size_t i = 0; i < hosts->count; i++)
		if (strcasecmp(hosts->items[i], host) == 0)
			return true;
	return false;
}

int guard_check_host(const char *host)
{
	size_t length = strlen(host);

	if (is_address(host))
		return 0;
	if (length == 0 || length > HOST_MAX || host[0] == '.' || host[0] == '-')
		return ERR_CONFIG;
	return host[strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")] ? ERR_CONFIG : 0;
}

/* ---- who asks ---- */

static bool peer_is_here(struct MHD_Connection *c)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	const struct sockaddr *sa = info ? info->client_addr : NULL;
	const struct sockaddr_in *v4 = (const void *)sa;
	const struct sockaddr_in6 *v6 = (const void *)sa;

	if (!sa)
		return false;
	if (sa->sa_family == AF_INET)
		return (ntohl(v4->sin_addr.s_addr) >> 24) == 127;
	return sa->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

static bool came_through_proxy(struct MHD_Connection *c)
{
	return request_header(c, "Forwarded") || request_header(c, "X-Forwarded-For");
}

static bool is_same_origin(const char *origin, const char *host)
{
	const char *authority = strncmp(origin, "http://", 7) == 0 ? origin + 7 : origin + 8;

	if (strncmp(origin, "http://", 7) != 0 && strncmp(origin, "https://", 8) != 0)
		return false; /* "null" too: a sandbox, or a page of no site */
	return strcasecmp(authority, host) == 0;
}

/* A page of another site. What no browser sends has neither header. */
static bool is_cross_site(struct MHD_Connection *c, const char *host)
{
	const char *origin = request_header(c, "Origin");
	const char *site = request_header(c, "Sec-Fetch-Site");

	/* "same-site" is another port of this machine: another program's page. */
	if (site && strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0)
		return true;
	return origin && !is_same_origin(origin, host);
}

int guard_check(struct MHD_Connection *c, const struct guard_hosts *hosts, unsigned *ret_status,
		struct error_info *info)
{
	const char *host = request_header(c, "Host");
	char name[HOST_MAX + 1];
	bool listed;

	*ret_status = MHD_HTTP_FORBIDDEN;
	if (!host || !split_host(host, name)) {
		*ret_status = MHD_HTTP_BAD_REQUEST;
		return error_set(info, ERR_BAD_REQUEST, "Host", "must be one host name or address, and a port");
	}
	listed = is_listed(hosts, name);
	if (!listed && !is_own_name(name)) {
		*ret_status = MHD_HTTP_MISDIRECTED_REQUEST;
		return error_set(info, ERR_DENIED, "Host", "is no name that this API is asked for by: see api.hosts");
	}
	if (is_cross_site(c, host))
		return error_set(info, ERR_DENIED, "Origin", "pages of other sites may not use this API");
	if (!listed && (!peer_is_here(c) || came_through_proxy(c)))
		return error_set(info, ERR_DENIED, "Host",
				 "this API is for programs on its own machine, or under a name of api.hosts");
	return 0;
}

/* ---- framing ---- */

struct framing {
	int hosts, lengths, encodings;
	bool malformed;
};

static enum MHD_Result look_cb(void *user, enum MHD_ValueKind kind, const char *name, const char *value)
{
	struct framing *f = user;

	(void)kind;
	if (!value)
		value = "";
	if (strcasecmp(name, "Host") == 0)
		f->hosts++;
	if (strcasecmp(name, "Content-Length") == 0) {
		f->lengths++;
		f->malformed |= !*value || value[strspn(value, "0123456789")];
	}
	if (strcasecmp(name, "Transfer-Encoding") == 0) {
		f->encodings++;
		f->malformed |= strcasecmp(value, "chunked") != 0;
	}
	/* A name with a blank before its colon or in it is read by some as another name. */
	f->malformed |= !*name || name[strcspn(name, " \t")];
	return MHD_YES;
}

int guard_check_framing(struct MHD_Connection *c, struct error_info *info)
{
	struct framing f = { 0 };

	MHD_get_connection_values(c, MHD_HEADER_KIND, look_cb, &f);
	if (f.hosts > 1)
		return error_set(info, ERR_BAD_REQUEST, "Host", "is there twice");
	if (f.lengths + f.encodings > 1)
		return error_set(info, ERR_BAD_REQUEST, f.encodings ? "Transfer-Encoding" : "Content-Length",
				 "where the body ends is said twice");
	if (f.malformed)
		return error_set(info, ERR_BAD_REQUEST, f.encodings ? "Transfer-Encoding" : "Content-Length",
				 "where the body ends cannot be told: a number of bytes, or chunked");
	return 0;
}
