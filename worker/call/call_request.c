#include "worker/call/call_request.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/buf.h"
#include "proto/base/clock.h"
#include "proto/error.h"
#include "worker/call/multipart.h"
#include "worker/config/hook_config.h"
#include "worker/config/json_text.h"
#include "worker/config/jwt.h"
#include "worker/config/pointer.h"
#include "worker/config/secrets.h"
#include "worker/config/template.h"
#include "worker/config/upstream.h"
#include "worker/transport/http_request.h"

#define URL_MAX	   65536
#define HEADER_MAX 65536

/* The text in b as a string of its own; b is left empty. */
static int take_string(struct buf *b, char **ret)
{
	if (buf_append(b, "", 1) < 0)
		return buf_error(b);
	*ret = (char *)b->data;
	b->data = NULL;
	b->size = b->capacity = 0;
	return 0;
}

static int add_template(struct http_request *r, const char *name, const char *text,
			const struct template_values *values, struct error_info *info)
{
	_cleanup_(buf_done) struct buf b;
	char *value = NULL;
	int rc;

	buf_init(&b, HEADER_MAX);
	rc = template_fill(slice_str(text), values, TEMPLATE_HEADER, &b, info);
	if (rc == 0)
		rc = take_string(&b, &value);
	return rc < 0 ? rc : http_request_add_header(r, name, value);
}

static int add_bearer(struct http_request *r, const struct upstream *u, bool masked)
{
	const char *token = SECRET_MASK;
	char *value;
	int rc;

	rc = masked ? 0 : jwt_token(u->auth.jwt, clock_wall_ms(), &token);
	if (rc < 0)
		return rc;
	return http_request_add_header(r, u->auth.name, asprintf(&value, "Bearer %s", token) < 0 ? NULL : value);
}

/* What every request to the API itself carries. */
static int add_ours(struct http_request *r, const struct upstream *u, const struct template_values *values,
		    struct error_info *info)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < u->header_count; i++)
		rc = add_template(r, u->headers[i].name, u->headers[i].value, values, info);
	if (rc == 0 && u->auth.kind == AUTH_HEADER)
		rc = add_template(r, u->auth.name, u->auth.value, values, info);
	if (rc == 0 && u->auth.kind == AUTH_JWT)
		rc = add_bearer(r, u, values->mask_secrets);
	if (rc == 0 && values->traceparent && !http_request_has_header(r, "traceparent"))
		rc = http_request_add_header(r, "traceparent", strdup(values->traceparent));
	if (u->auth.kind == AUTH_BASIC) {
		r->user = u->auth.user;
		r->password = values->mask_secrets ? SECRET_MASK : u->auth.password;
	}
	return rc;
}

static int make_url(const struct upstream *u, const char *path, const struct template_values *values, char **ret_url,
		    struct error_info *info)
{
	_cleanup_(buf_done) struct buf b;
	int rc;

	buf_init(&b, URL_MAX);
	buf_append_str(&b, u->base_url);
	rc = template_fill(slice_str(path), values, TEMPLATE_PATH, &b, info);
	return rc < 0 ? rc : take_string(&b, ret_url);
}

/* Where the API is to report to, but for the body. */
static int inject(struct http_request *r, const struct upstream *u, const char *hook_url, struct error_info *info)
{
	_cleanup_(buf_done) struct buf b;
	int rc;

	buf_init(&b, URL_MAX);
	if (!hook_url && u->hook.leads)
		return error_set(info, ERR_NOT_FOUND, NULL, "the broker gave no URL for hooks");
	if (hook_url && u->hook.inject == HOOK_INJECT_HEADER)
		return http_request_add_header(r, u->hook.inject_arg, strdup(hook_url));
	if (!hook_url || u->hook.inject != HOOK_INJECT_QUERY)
		return 0;
	buf_append_str(&b, r->url);
	rc = hook_append_query(&b, u->hook.inject_arg, hook_url);
	if (rc < 0)
		return rc;
	free(TAKE_PTR(r->url));
	return take_string(&b, &r->url);
}

/* Pointers to what a body gets beside its template; NULL: nothing goes there. */
struct body_places {
	const char *key;
	const char *hook_url;
};

static int put_at(json_t *body, const char *pointer, const char *text, const char *what, struct error_info *info)
{
	int rc = pointer_set(body, slice_str(pointer), json_string(text));

	return rc == ERR_BAD_REQUEST ? error_set(info, rc, NULL, "the body has no place for %s at %s", what, pointer)
				     : rc;
}

/* The body's template with the job's values in it. */
static int fill_body(struct http_request *r, json_t *template, const struct template_values *values,
		     const struct body_places *places, struct error_info *info)
{
	json_t *body;
	int rc;

	rc = template_fill_json(template, values, &body, info);
	if (rc < 0)
		return rc;
	if (places->key)
		rc = put_at(body, places->key, values->key, "the idempotency key", info);
	if (rc == 0 && places->hook_url && values->hook_url)
		rc = put_at(body, places->hook_url, values->hook_url, "the hook's URL", info);
	if (rc == 0)
		rc = json_text_write(body, JSON_COMPACT | JSON_ENCODE_ANY, &r->body);
	json_decref(body);
	if (rc < 0)
		return rc;
	r->body_size = strlen(r->body);
	return 0;
}

/* Unless the file has a Content-Type of its own. */
static int add_type(struct http_request *r, const char *type)
{
	if (http_request_has_header(r, "Content-Type"))
		return 0;
	return http_request_add_header(r, "Content-Type", strdup(type ? type : "application/octet-stream"));
}

static int add_parts(struct http_request *r, const struct upstream *u, const struct template_values *values,
		     const char *content_type, struct error_info *info)
{
	char type[MULTIPART_TYPE_SIZE];
	int rc = multipart_make(&u->submit, values, content_type, type, &r->body, &r->body_size, info);

	return rc < 0 ? rc : http_request_add_header(r, "Content-Type", strdup(type));
}

static int add_body(struct http_request *r, const struct upstream *u, const struct template_values *values,
		    const char *content_type, struct error_info *info)
{
	struct body_places places = {
		.key = u->submit.idempotency == IDEMPOTENCY_BODY ? u->submit.idempotency_arg : NULL,
		.hook_url = u->hook.inject == HOOK_INJECT_BODY ? u->hook.inject_arg : NULL,
	};
	int rc;

	if (strcmp(u->submit.method, "GET") == 0)
		return 0;
	r->has_body = true;
	if (u->submit.part_count > 0)
		return add_parts(r, u, values, content_type, info);
	if (!u->submit.body) {
		rc = http_request_copy_body(r, values->payload);
		return rc < 0 ? rc : add_type(r, content_type);
	}
	rc = fill_body(r, u->submit.body, values, &places, info);
	return rc < 0 ? rc : add_type(r, "application/json");
}

static struct http_request *request_of(const struct upstream *u, const char *method)
{
	struct http_request *r = http_request_new(method);

	if (!r)
		return NULL;
	r->proxy = u->proxy;
	r->interface = u->interface;
	return r;
}

int call_request_submit(const struct upstream *u, const struct template_values *values, const char *content_type,
			struct http_request **ret_request, struct error_info *info)
{
	_cleanup_(http_request_freep) struct http_request *r = request_of(u, u->submit.method);
	int rc;

	if (!r)
		return ERR_NO_MEMORY;
	rc = make_url(u, u->submit.path, values, &r->url, info);
	if (rc == 0)
		rc = add_ours(r, u, values, info);
	if (rc == 0)
		rc = add_body(r, u, values, content_type, info);
	if (rc == 0)
		rc = inject(r, u, values->hook_url, info);
	if (rc == 0 && u->submit.idempotency == IDEMPOTENCY_HEADER)
		rc = http_request_add_header(r, u->submit.idempotency_arg, strdup(values->key));
	if (rc == ERR_TOO_LARGE && info->code == 0)
		error_set(info, rc, NULL, "the request is too large");
	if (rc < 0)
		return rc;
	*ret_request = TAKE_PTR(r);
	return 0;
}

int call_request_step(const struct upstream *u, const struct template_values *values, const struct upstream_step *step,
		      const char *url, struct http_request **ret_request, struct error_info *info)
{
	_cleanup_(http_request_freep) struct http_request *r = request_of(u, step->method);
	const struct body_places none = { .key = NULL };
	struct origin origin;
	int rc;

	if (!r)
		return ERR_NO_MEMORY;
	if (url) {
		rc = url_origin(url, &origin);
		if (rc == ERR_NO_MEMORY)
			return rc;
		if (rc < 0 || !origin_equal(&origin, &u->origin))
			return error_set(info, ERR_DENIED, NULL, "the URL is not on the origin of base_url");
		r->url = strdup(url);
		rc = r->url ? 0 : ERR_NO_MEMORY;
	} else if (!step->path) {
		return error_set(info, ERR_NOT_FOUND, NULL,
				 "the answer to the submit named no URL for it on the origin of base_url");
	} else {
		rc = make_url(u, step->path, values, &r->url, info);
	}
	if (rc == 0)
		rc = add_ours(r, u, values, info);
	r->has_body = step->body || strcmp(step->method, "GET") != 0;
	if (rc == 0 && step->body)
		rc = fill_body(r, step->body, values, &none, info);
	if (rc == 0 && step->body)
		rc = add_type(r, "application/json");
	if (rc < 0)
		return rc;
	*ret_request = TAKE_PTR(r);
	return 0;
}

int call_request_get(const struct upstream *u, const struct template_values *values, const char *path, const char *url,
		     struct http_request **ret_request, struct error_info *info)
{
	struct upstream_step step = { .method = "GET", .path = path };

	return call_request_step(u, values, &step, url, ret_request, info);
}

int call_request_plain(const struct upstream *u, const char *url, struct http_request **ret_request)
{
	_cleanup_(http_request_freep) struct http_request *r = request_of(u, "GET");

	if (!r)
		return ERR_NO_MEMORY;
	r->url = strdup(url);
	if (!r->url)
		return ERR_NO_MEMORY;
	*ret_request = TAKE_PTR(r);
	return 0;
}
