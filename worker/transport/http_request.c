#include "worker/transport/http_request.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "proto/error.h"

struct http_request *http_request_new(const char *method)
{
	struct http_request *r = calloc(1, sizeof(*r));

	if (r)
		r->method = method;
	return r;
}

void http_request_free(struct http_request *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->header_count; i++)
		free(r->headers[i].value);
	free(r->url);
	free(r->body);
	free(r);
}

int http_request_add_header(struct http_request *r, const char *name, char *value)
{
	if (r->header_count == REQUEST_HEADERS_MAX) {
		free(value);
		return ERR_TOO_LARGE;
	}
	if (!value)
		return ERR_NO_MEMORY;
	r->headers[r->header_count++] = (struct request_header){ .name = name, .value = value };
	return 0;
}

bool http_request_has_header(const struct http_request *r, const char *name)
{
	for (size_t i = 0; i < r->header_count; i++)
		if (strcasecmp(r->headers[i].name, name) == 0)
			return true;
	return false;
}

int http_request_copy_body(struct http_request *r, struct slice bytes)
{
	r->body = malloc(bytes.size + 1);
	if (!r->body)
		return ERR_NO_MEMORY;
	if (bytes.size > 0)
		memcpy(r->body, bytes.data, bytes.size);
	r->body_size = bytes.size;
	return 0;
}

int http_request_post(const char *url, struct slice body, struct http_request **ret_request)
{
	_cleanup_(http_request_freep) struct http_request *r = http_request_new("POST");
	int rc;

	if (!r)
		return ERR_NO_MEMORY;
	r->has_body = true;
	r->url = strdup(url);
	rc = r->url ? http_request_copy_body(r, body) : ERR_NO_MEMORY;
	if (rc < 0)
		return rc;
	*ret_request = TAKE_PTR(r);
	return 0;
}

void http_request_print(const struct http_request *r, FILE *out)
{
	fprintf(out, "%s %s\n", r->method, r->url);
	if (r->user)
		fprintf(out, "Authorization: Basic %s\n", r->password);
	for (size_t i = 0; i < r->header_count; i++)
		fprintf(out, "%s: %s\n", r->headers[i].name, r->headers[i].value);
	fputc('\n', out);
	if (r->body_size > 0) {
		fwrite(r->body, 1, r->body_size, out);
		fputc('\n', out);
	}
}
