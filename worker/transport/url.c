#include "worker/transport/url.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "proto/base/clean.h"
#include "proto/error.h"

DEFINE_CLEANUP(CURLU *, curl_url_cleanup)

static inline void curl_freep(char **p)
{
	curl_free(*p);
}

static int code(CURLUcode rc)
{
	if (rc == CURLUE_OK)
		return 0;
	return rc == CURLUE_OUT_OF_MEMORY ? ERR_NO_MEMORY : ERR_BAD_REQUEST;
}

/* Copies a part of the URL; a part that is too long to be real is refused. */
static int part(CURLU *u, CURLUPart what, unsigned flags, char *ret, size_t size)
{
	_cleanup_(curl_freep) char *text = NULL;
	int rc = code(curl_url_get(u, what, &text, flags));

	if (rc < 0)
		return rc;
	if (strlen(text) >= size)
		return ERR_BAD_REQUEST;
	memcpy(ret, text, strlen(text) + 1);
	return 0;
}

static void normalize_host(char *host)
{
	size_t n = strlen(host);

	if (n > 1 && host[0] == '[' && host[n - 1] == ']') {
		memmove(host, host + 1, n - 2);
		n -= 2;
		host[n] = '\0';
	}
	if (n > 1 && host[n - 1] == '.')
		host[n - 1] = '\0';
	for (; *host; host++)
		if (*host >= 'A' && *host <= 'Z')
			*host = (char)(*host - 'A' + 'a');
}

int url_origin(const char *url, struct origin *ret_origin)
{
	_cleanup_(curl_url_cleanupp) CURLU *u = curl_url();
	struct origin o;
	char port[8];
	int rc;

	if (!u)
		return ERR_NO_MEMORY;
	rc = code(curl_url_set(u, CURLUPART_URL, url, CURLU_DISALLOW_USER));
	if (rc == 0)
		rc = part(u, CURLUPART_SCHEME, 0, o.scheme, sizeof(o.scheme));
	if (rc == 0)
		rc = part(u, CURLUPART_HOST, 0, o.host, sizeof(o.host));
	if (rc == 0)
		rc = part(u, CURLUPART_PORT, CURLU_DEFAULT_PORT, port, sizeof(port));
	if (rc < 0)
		return rc;
	if (strcmp(o.scheme, "http") != 0 && strcmp(o.scheme, "https") != 0)
		return ERR_BAD_REQUEST;
	normalize_host(o.host);
	if (o.host[0] == '\0')
		return ERR_BAD_REQUEST;
	o.port = (unsigned)strtoul(port, NULL, 10);
	*ret_origin = o;
	return 0;
}

bool origin_equal(const struct origin *a, const struct origin *b)
{
	return a->port == b->port && strcmp(a->scheme, b->scheme) == 0 && strcmp(a->host, b->host) == 0;
}

int url_resolve(const char *base, const char *url, char **ret_url)
{
	_cleanup_(curl_url_cleanupp) CURLU *u = curl_url();
	_cleanup_(curl_freep) char *text = NULL;
	int rc;

	if (!u)
		return ERR_NO_MEMORY;
	rc = code(curl_url_set(u, CURLUPART_URL, base, 0));
	if (rc == 0)
		rc = code(curl_url_set(u, CURLUPART_URL, url, 0));
	if (rc == 0)
		rc = code(curl_url_get(u, CURLUPART_URL, &text, 0));
	if (rc < 0)
		return rc;
	*ret_url = strdup(text);
	return *ret_url ? 0 : ERR_NO_MEMORY;
}

bool host_matches(const char *host, const char *pattern)
{
	size_t n = strlen(host), suffix;

	if (strncmp(pattern, "*.", 2) != 0)
		return strcasecmp(host, pattern) == 0;
	suffix = strlen(pattern + 1);
	return n > suffix && strcasecmp(host + n - suffix, pattern + 1) == 0;
}

void url_show(const char *url, char *ret, size_t size)
{
	const char *host = strstr(url, "://");
	size_t scheme = host ? (size_t)(host + 3 - url) : 0;
	size_t authority = strcspn(url + scheme, "/?#");
	const char *at = memrchr(url + scheme, '@', authority);
	const char *rest = at ? at + 1 : url + scheme;

	snprintf(ret, size, "%.*s%.*s", (int)scheme, url, (int)strcspn(rest, "?#"), rest);
}
