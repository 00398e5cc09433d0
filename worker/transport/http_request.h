/* http_request.h: one HTTP request as it is to go out, whatever it is for. One thread at a time; no state. */
#ifndef RAINCHECK_WORKER_TRANSPORT_HTTP_REQUEST_H
#define RAINCHECK_WORKER_TRANSPORT_HTTP_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "proto/base/clean.h"
#include "proto/base/slice.h"

#define REQUEST_HEADERS_MAX 40

struct request_header {
	const char *name;
	char *value;
};

struct http_request {
	const char *method;
	char *url;
	struct request_header headers[REQUEST_HEADERS_MAX];
	size_t header_count;
	bool has_body;
	char *body;
	size_t body_size;
	const char *user; /* basic authentication; NULL: none. These are the maker's. */
	const char *password;
	const char *proxy; /* NULL: none; the maker's, like interface */
	const char *interface;
};

/* One that has no URL, header or body yet. method lives as long as the request. NULL: no memory. */
struct http_request *http_request_new(const char *method);
void http_request_free(struct http_request *r);
DEFINE_CLEANUP(struct http_request *, http_request_free)

/* A POST of that body, which is copied. ERR_NO_MEMORY. */
int http_request_post(const char *url, struct slice body, struct http_request **ret_request);

/* One more header. name lives as long as the request; value becomes the request's in any case, NULL is ERR_NO_MEMORY.
 * ERR_TOO_LARGE where there are too many. */
int http_request_add_header(struct http_request *r, const char *name, char *value);
/* name in any case. */
bool http_request_has_header(const struct http_request *r, const char *name);
/* The body is a copy of these bytes; there is none yet. ERR_NO_MEMORY. */
int http_request_copy_body(struct http_request *r, struct slice bytes);

/* As it would go out, for people. The caller has made it with secrets masked. */
void http_request_print(const struct http_request *r, FILE *out);

#endif
