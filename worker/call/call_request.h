/* call_request.h: the HTTP requests of a call, made from an upstream and a job, before anything is sent. One thread:
 * tokens that an upstream signs are renewed on the way. What is made is the caller's, to be freed with
 * http_request_free(); it points into the upstream.
 */
#ifndef RAINCHECK_WORKER_CALL_CALL_REQUEST_H
#define RAINCHECK_WORKER_CALL_CALL_REQUEST_H

struct error_info;
struct http_request;
struct template_values;
struct upstream;
struct upstream_step;

/* All requests to the API itself carry the job's traceparent, unless the file has a header of that name. */

/* What is sent to begin a call. content_type is the payload's (NULL: not given), values->key the idempotency key.
 * ERR_NOT_FOUND and ERR_BAD_REQUEST when a placeholder has no value or one that cannot stand there, ERR_TOO_LARGE; info
 * says which. ERR_NO_MEMORY. */
int call_request_submit(const struct upstream *u, const struct template_values *values, const char *content_type,
			struct http_request **ret_request, struct error_info *info);

/* A request of another kind on base_url's origin, with credentials: to url where it is given (on that origin, else
 * ERR_DENIED), else to step's path. Errors as call_request_submit(); ERR_NOT_FOUND too where there is neither. */
int call_request_step(const struct upstream *u, const struct template_values *values, const struct upstream_step *step,
		      const char *url, struct http_request **ret_request, struct error_info *info);

/* The same for a GET, whose path is a template. */
int call_request_get(const struct upstream *u, const struct template_values *values, const char *path, const char *url,
		     struct http_request **ret_request, struct error_info *info);

/* A GET of whatever URL, with nothing that is ours. ERR_NO_MEMORY. */
int call_request_plain(const struct upstream *u, const char *url, struct http_request **ret_request);

#endif
