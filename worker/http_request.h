/* http_request.h: one HTTP request, made from an upstream and a job, before anything is sent. One thread: tokens that
 * an upstream signs are renewed on the way. */
#ifndef RAINCHECK_WORKER_HTTP_REQUEST_H
#define RAINCHECK_WORKER_HTTP_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "proto/base/clean.h"
#include "proto/base/slice.h"

#define REQUEST_HEADERS_MAX 40

struct error_info;
struct template_values;
struct upstream;
struct upstream_step;

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
	const char *user; /* basic authentication; NULL: none. The upstream's. */
	const char *password;
	const char *proxy; /* the upstream's; NULL: none */
	const char *interface;
};

/* All requests to the API itself carry the job's traceparent, unless the file has a header of that name. */

/* What is sent to begin a call. content_type is the payload's (NULL: not given), values->key the idempotency key.
 * ERR_NOT_FOUND and ERR_BAD_REQUEST when a placeholder has no value or one that cannot stand there, ERR_TOO_LARGE; info
 * says which. ERR_NO_MEMORY. */
int http_request_submit(const struct upstream *u, const struct template_values *values, const char *content_type,
			struct http_request **ret_request, struct error_info *info);

/* A request of another kind on base_url's origin, with credentials: to url where it is given (on that origin, else
 * ERR_DENIED), else to step's path. Errors as http_request_submit(). */
int http_request_step(const struct upstream *u, const struct template_values *values, const struct upstream_step *step,
		      const char *url, struct http_request **ret_request, struct error_info *info);

/* The same for a GET, whose path is a template. */
int http_request_get(const struct upstream *u, const struct template_values *values, const char *path, const char *url,
		     struct http_request **ret_request, struct error_info *info);

/* A GET of whatever URL, with nothing that is ours. ERR_NO_MEMORY. */
int http_request_plain(const struct upstream *u, const char *url, struct http_request **ret_request);

/* A POST of whatever URL, with nothing that is ours but the body, which is copied. ERR_NO_MEMORY. */
int http_request_post(const char *url, struct slice body, struct http_request **ret_request);
/* One more header. name lives as long as the request; value becomes the request's in any case, NULL is ERR_NO_MEMORY.
 * ERR_TOO_LARGE where there are too many. */
int http_request_add_header(struct http_request *r, const char *name, char *value);

void http_request_free(struct http_request *r);
DEFINE_CLEANUP(struct http_request *, http_request_free)

/* As it would go out, for people. The caller has made it with secrets masked. */
void http_request_print(const struct http_request *r, FILE *out);

#endif
