/* url.h: the few questions this worker asks about URLs: whose is it, where does it lead, may it be fetched.
 * Parsing is libcurl's own, so what is judged here is what libcurl would connect to. Any thread; no state.
 */
#ifndef RAINCHECK_WORKER_TRANSPORT_URL_H
#define RAINCHECK_WORKER_TRANSPORT_URL_H

#include <stdbool.h>
#include <stddef.h>

/* Scheme, host and port: who answers. */
struct origin {
	char scheme[8]; /* "http" or "https" */
	char host[256]; /* lower case, without the brackets of an IPv6 address and without a final dot */
	unsigned port;
};

/* ERR_BAD_REQUEST for what is not an absolute http or https URL with a host, and for one with a user or password in it:
 * such a one would have the worker send credentials that somebody else chose. */
int url_origin(const char *url, struct origin *ret_origin);
bool origin_equal(const struct origin *a, const struct origin *b);

/* The absolute URL that url means when found at base. ERR_BAD_REQUEST, ERR_NO_MEMORY. The caller frees *ret_url. */
int url_resolve(const char *base, const char *url, char **ret_url);

/* "cdn.example.com" fits itself; "*.example.com" fits every name below example.com and not itself. */
bool host_matches(const char *host, const char *pattern);

/* The URL without user, query and fragment, which may hold secrets: for logs and messages. */
void url_show(const char *url, char *ret, size_t size);

#endif
