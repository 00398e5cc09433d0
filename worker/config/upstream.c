/* One function a mapping of the file. Each sets its defaults, lets the checks overwrite them with what is given, and
 * then looks at what only makes sense together.
 */
#include "worker/config/upstream_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "proto/base/clean.h"
#include "proto/base/text.h"
#include "proto/error.h"
#include "worker/config/check.h"
#include "worker/config/config_schema.h"
#include "worker/config/hook_config.h"
#include "worker/config/issue.h"
#include "worker/config/jwt.h"
#include "worker/config/secrets.h"
#include "worker/config/template.h"
#include "worker/config/upstream_warm.h"
#include "worker/config/way_out.h"
#include "worker/config/yaml_index.h"
#include "worker/transport/trust.h"

#define SECOND	    1000
#define MINUTE	    (60 * SECOND)
#define CANCEL_MAX  MINUTE
#define OUTPUTS_MAX 14

static struct words words_of(char *const *items, size_t count)
{
	return (struct words){ .items = (const char *const *)items, .count = count };
}

bool words_have(const struct words *words, const char *word)
{
	for (size_t i = 0; i < words->count; i++)
		if (strcmp(words->items[i], word) == 0)
			return true;
	return false;
}

static int init_base(struct check *c, const struct raw_upstream *raw, struct upstream *u)
{
	size_t n;
	int rc;

	if (!raw->base_url)
		return check_fail(c, "base_url", "it is missing");
	rc = check_expand(c, "base_url", raw->base_url, false, &u->base_url);
	if (rc < 0)
		return rc;
	rc = url_origin(u->base_url, &u->origin);
	if (rc == ERR_NO_MEMORY)
		return rc;
	if (rc < 0 || strpbrk(u->base_url, "?# \t\r\n"))
		return check_fail(c, "base_url", "it is not an http or https URL without user, query and fragment");
	for (n = strlen(u->base_url); n > 0 && u->base_url[n - 1] == '/'; n--)
		u->base_url[n - 1] = '\0';

	if (raw->mode == 0)
		return check_fail(c, "mode", "it is missing: sync, poll or webhook");
	/* Where hooks lead, polling is the spare way. */
	u->hook.leads = raw->mode == RAW_MODE_WEBHOOK;
	u->mode = raw->mode == RAW_MODE_SYNC ? UPSTREAM_SYNC : UPSTREAM_POLL;
	u->allow_private = raw->allow_private == RAW_TRUE;
	u->allow_hosts = words_of(raw->allow_hosts, raw->allow_hosts_count);
	return 0;
}

/* Masks user and password in the form in which they are sent, too: an API may repeat it. */
static int hide_basic(struct check *c, const struct upstream_auth *auth)
{
	_cleanup_free_ char *pair = NULL, *sent = NULL;
	int n = asprintf(&pair, "%s:%s", auth->user, auth->password);
	size_t size;
	int rc;

	if (n < 0) {
		pair = NULL;
		return ERR_NO_MEMORY;
	}
	size = BASE64URL_SIZE((size_t)n);
	sent = calloc(1, size + 1);
	if (sent) {
		base64url_encode((const uint8_t *)pair, (size_t)n, sent);
		for (size_t i = 0; i < size; i++)
			sent[i] = sent[i] == '-' ? '+' : sent[i] == '_' ? '/' : sent[i];
	}
	rc = sent ? secrets_add_literal(c->secrets, sent) : ERR_NO_MEMORY;
	explicit_bzero(pair, (size_t)n);
	if (sent)
		explicit_bzero(sent, size);
	return rc;
}

static int init_basic(struct check *c, const struct raw_auth *raw, struct upstream_auth *auth)
{
	int rc;

	if (!raw->user || !raw->password)
		return check_fail(c, "auth", "basic needs user and password");
	rc = check_expand(c, "auth.user", raw->user, false, &auth->user);
	if (rc == 0)
		rc = check_expand(c, "auth.password", raw->password, true, &auth->password);
	if (rc == 0 && strchr(auth->user, ':'))
		return check_fail(c, "auth.user", "it cannot hold a colon");
	return rc < 0 ? rc : hide_basic(c, auth);
}

static int init_jwt(struct check *c, const char *name, const struct raw_auth *raw, struct upstream_auth *auth)
{
	_cleanup_free_ char *access_key = NULL, *secret_key = NULL;
	int64_t ttl_ms = 30 * MINUTE;
	int rc;

	auth->name = raw->name ? raw->name : "Authorization";
	if (!raw->access_key || !raw->secret_key)
		return check_fail(c, "auth", "jwt_hs256 needs access_key and secret_key");
	rc = check_header_name(c, "auth.name", auth->name);
	if (rc == 0)
		rc = check_expand(c, "auth.access_key", raw->access_key, false, &access_key);
	if (rc == 0)
		rc = check_expand(c, "auth.secret_key", raw->secret_key, true, &secret_key);
	if (rc == 0)
		rc = check_duration(c, "auth.ttl", raw->ttl, 10 * SECOND, &ttl_ms);
	if (rc == 0 && !utf8_valid(slice_str(access_key)))
		return check_fail(c, "auth.access_key", "it is not UTF-8 text");
	if (rc == 0)
		rc = jwt_new(name, access_key, secret_key, ttl_ms, c->secrets, &auth->jwt);
	if (secret_key)
		explicit_bzero(secret_key, strlen(secret_key));
	return rc;
}

static int init_auth(struct check *c, const char *name, const struct raw_auth *raw, struct upstream_auth *auth)
{
	int rc;

	if (raw->kind != RAW_AUTH_JWT && (raw->access_key || raw->secret_key || raw->ttl))
		return check_fail(c, "auth.kind", "access_key, secret_key and ttl are those of jwt_hs256");
	if (raw->kind == RAW_AUTH_JWT) {
		auth->kind = AUTH_JWT;
		return init_jwt(c, name, raw, auth);
	}
	if (raw->kind == RAW_AUTH_BASIC) {
		auth->kind = AUTH_BASIC;
		return init_basic(c, raw, auth);
	}
	if (raw->kind != RAW_AUTH_HEADER) {
		if (raw->name || raw->value || raw->user || raw->password)
			return check_fail(c, "auth.kind", "it is none, but there are credentials");
		return 0;
	}
	auth->kind = AUTH_HEADER;
	auth->name = raw->name ? raw->name : "Authorization";
	auth->value = raw->value;
	if (!raw->value)
		return check_fail(c, "auth.value", "it is missing");
	rc = check_header_name(c, "auth.name", auth->name);
	if (rc == 0)
		rc = check_template(c, "auth.value", raw->value, 0);
	if (rc == 0 && !strchr(raw->value, '{'))
		rc = secrets_add_literal(c->secrets, raw->value);
	return rc;
}

static int init_headers(struct check *c, const struct raw_upstream *raw, struct upstream *u)
{
	char path[200], key[200];
	const char *name;
	int rc;

	snprintf(path, sizeof(path), "%s.headers", c->prefix);
	for (; yaml_index_child(c->index, path, u->header_count); u->header_count++)
		;
	u->headers = calloc(u->header_count + 1, sizeof(*u->headers));
	if (!u->headers)
		return ERR_NO_MEMORY;
	for (size_t i = 0; i < u->header_count; i++) {
		name = yaml_index_child(c->index, path, i);
		snprintf(key, sizeof(key), "headers.%s", name);
		u->headers[i] = (struct header_template){ .name = name, .value = raw->headers[i] };
		rc = check_header_name(c, key, name);
		if (rc == 0)
			rc = check_template(c, key, raw->headers[i], 0);
		if (rc < 0)
			return rc;
		if (!raw->headers[i])
			return check_fail(c, key, "it has no value");
		rc = check_plain(c, key, raw->headers[i]);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int init_timeouts(struct check *c, const struct raw_timeouts *raw, struct upstream_timeouts *t)
{
	int rc;

	*t = (struct upstream_timeouts){
		.connect_ms = 10 * SECOND,
		.attempt_ms = 10 * MINUTE,
		.stall_ms = 30 * SECOND,
	};
	rc = check_duration(c, "timeouts.connect", raw->connect, 1, &t->connect_ms);
	if (rc == 0)
		rc = check_duration(c, "timeouts.attempt", raw->attempt, 1, &t->attempt_ms);
	if (rc == 0)
		rc = check_duration(c, "timeouts.start", raw->start, 1, &t->start_ms);
	if (rc == 0)
		rc = check_duration(c, "timeouts.stall", raw->stall, 1, &t->stall_ms);
	return rc;
}

static int init_pauses(struct check *c, const struct raw_poll *raw, bool leads, struct upstream_poll *p)
{
	int rc;

	p->first_ms = -1;
	p->interval_ms = leads ? MINUTE : 5 * SECOND;
	p->max_ms = -1;
	p->factor = 1.5;
	p->jitter = 0.25;
	/* Of a spare way that has only a slowest pace, that is the pace. */
	if (leads && !raw->interval)
		rc = check_duration(c, "poll.max", raw->max, 1, &p->interval_ms);
	else
		rc = check_duration(c, "poll.interval", raw->interval, 1, &p->interval_ms);
	if (rc == 0)
		rc = check_duration(c, "poll.first", raw->first, 0, &p->first_ms);
	if (rc == 0)
		rc = check_duration(c, "poll.max", raw->max, 1, &p->max_ms);
	if (rc == 0)
		rc = check_range(c, "poll.factor", raw->factor, 1, 100, &p->factor);
	if (rc == 0)
		rc = check_range(c, "poll.jitter", raw->jitter, 0, 1, &p->jitter);
	if (p->first_ms < 0)
		p->first_ms = p->interval_ms;
	if (p->max_ms < 0)
		p->max_ms = p->interval_ms > 30 * SECOND ? p->interval_ms : 30 * SECOND;
	if (rc == 0 && p->max_ms < p->interval_ms)
		return check_fail(c, "poll.max", "it is shorter than poll.interval");
	return rc;
}

static int init_poll(struct check *c, const struct raw_poll *raw, struct upstream *u)
{
	struct upstream_poll *p = &u->poll;
	int rc;

	p->path = raw->path;
	p->pending = words_of(raw->pending, raw->pending_count);
	p->ok = words_of(raw->ok, raw->ok_count);
	p->failed = words_of(raw->failed, raw->failed_count);
	p->state = slice_str("/status");
	p->state_by_http = raw->state && strcmp(raw->state, "http") == 0;
	if (!raw->path && u->submit.status_url.size == 0 && !u->hook.leads)
		return check_fail(c, "poll.path", "it is missing, and there is no submit.urls.status either");
	if (!raw->path && u->submit.on_unknown == ON_UNKNOWN_LOOKUP)
		return check_fail(c, "poll.path", "it is missing: a call that was looked up has no URL of its own");
	if (raw->ok_count == 0)
		return check_fail(c, "poll.ok", "it is missing: the states that mean success");
	rc = check_path(c, "poll.path", raw->path, TEMPLATE_KNOWS_ID);
	if (rc == 0)
		rc = init_pauses(c, raw, u->hook.leads, p);
	if (rc == 0 && !p->state_by_http)
		rc = check_pointer(c, "poll.state", raw->state, &p->state, NULL);
	if (rc == 0)
		rc = check_pointer(c, "poll.error", raw->error, &p->error, NULL);
	if (rc == 0)
		rc = check_pointer(c, "poll.progress", raw->progress, &p->progress, NULL);
	if (rc == 0)
		rc = check_pointer(c, "poll.position", raw->position, &p->position, NULL);
	for (size_t i = 0; rc == 0 && i < p->ok.count; i++)
		if (words_have(&p->pending, p->ok.items[i]) || words_have(&p->failed, p->ok.items[i]))
			return check_fail(c, "poll.ok", "%s is in another list as well", p->ok.items[i]);
	return rc;
}

static int check_result(struct check *c, const struct raw_result *raw, const struct upstream *u)
{
	const struct upstream_result *r = &u->result;

	if (r->from == RESULT_POINTER && !r->has_media)
		return check_fail(c, "result.media", "it is missing: where the answer holds the URL of the result");
	if (r->from == RESULT_GET && u->mode == UPSTREAM_SYNC)
		return check_fail(c, "result.from", "get needs an id, which only mode poll has");
	if (r->from == RESULT_GET && !r->path && u->submit.result_url.size == 0)
		return check_fail(c, "result.path", "it is missing, and there is no submit.urls.result either");
	if (r->from == RESULT_BODY && u->mode == UPSTREAM_POLL && !u->poll.state_by_http)
		return check_fail(c, "result.from",
				  "body needs poll.state: http, or there is no telling which body it is");
	if (r->from != RESULT_GET && raw->path)
		return check_fail(c, "result.path", "it is used with from: get only");
	if (r->from == RESULT_BODY && (r->has_media || r->has_preview || r->output_count > 0))
		return check_fail(c,
				  r->has_media	   ? "result.media"
				  : r->has_preview ? "result.preview"
						   : "result.outputs",
				  "with from: body there is no JSON to point into");
	return 0;
}

/* The job's artifacts are sixteen at most; two names are taken. */
static int init_outputs(struct check *c, const struct raw_result *raw, struct upstream_result *r)
{
	char path[200], key[200];
	const char *name;
	int rc;

	snprintf(path, sizeof(path), "%s.result.outputs", c->prefix);
	r->outputs = calloc(OUTPUTS_MAX, sizeof(*r->outputs));
	if (!r->outputs)
		return ERR_NO_MEMORY;
	while ((name = yaml_index_child(c->index, path, r->output_count))) {
		struct upstream_output *o = &r->outputs[r->output_count];

		snprintf(key, sizeof(key), "result.outputs.%s", name);
		if (r->output_count == OUTPUTS_MAX)
			return check_fail(c, "result.outputs", "there are more than %d", OUTPUTS_MAX);
		if (!name_valid(slice_str(name)) || strcmp(name, "result") == 0 || strcmp(name, "preview") == 0)
			return check_fail(c, key,
					  "an output is called 1 to 128 of A-Z a-z 0-9 . _ : -, and neither "
					  "result nor preview");
		rc = check_pointer(c, key, raw->outputs[r->output_count] ? raw->outputs[r->output_count] : "-",
				   &o->pointer, NULL);
		if (rc < 0)
			return rc;
		o->name = name;
		r->output_count++;
	}
	return 0;
}

static int init_result(struct check *c, const struct raw_result *raw, struct upstream *u)
{
	struct upstream_result *r = &u->result;
	int rc;

	r->from = u->mode == UPSTREAM_SYNC ? RESULT_BODY : RESULT_POINTER;
	if (raw->from != 0)
		r->from = raw->from == RAW_FROM_BODY  ? RESULT_BODY
			  : raw->from == RAW_FROM_GET ? RESULT_GET
						      : RESULT_POINTER;
	r->path = raw->path;
	r->credentials = raw->auth == RAW_RESULT_AUTH_UPSTREAM;
	r->types = words_of(raw->types, raw->types_count);
	r->max_bytes = 512LL << 20;
	rc = check_path(c, "result.path", raw->path, TEMPLATE_KNOWS_ID | TEMPLATE_KNOWS_ANSWER);
	if (rc == 0)
		rc = check_pointer(c, "result.media", raw->media, &r->media, &r->has_media);
	if (rc == 0)
		rc = check_pointer(c, "result.preview", raw->preview, &r->preview, &r->has_preview);
	if (rc == 0)
		rc = init_outputs(c, raw, r);
	if (rc == 0)
		rc = check_size(c, "result.max_bytes", raw->max_bytes, &r->max_bytes);
	if (rc == 0)
		rc = check_result(c, raw, u);
	for (size_t i = 0; rc == 0 && i < r->types.count; i++)
		if (!strchr(r->types.items[i], '/'))
			return check_fail(c, "result.types", "\"%s\" is not a media type, such as video/mp4 or image/*",
					  r->types.items[i]);
	return rc;
}

static int init_error(struct check *c, const struct raw_error *raw, struct upstream_error *e)
{
	int rc;

	e->retry_http = raw->retry_http;
	e->retry_http_count = raw->retry_http_count;
	e->throttle_http = raw->throttle_http;
	e->throttle_http_count = raw->throttle_http_count;
	e->secrets = c->secrets;
	e->throttle_codes = words_of(raw->throttle_codes, raw->throttle_codes_count);
	e->retry_codes = words_of(raw->retry_codes, raw->retry_codes_count);
	e->fatal_codes = words_of(raw->fatal_codes, raw->fatal_codes_count);
	e->cap_ms = 120 * SECOND;
	if (raw->retry_after && strcmp(raw->retry_after, "ms") == 0)
		e->retry_after = RETRY_AFTER_MS;
	else if (raw->retry_after && strcmp(raw->retry_after, "none") == 0)
		e->retry_after = RETRY_AFTER_NONE;
	else if (raw->retry_after && strcmp(raw->retry_after, "seconds") != 0)
		return check_fail(c, "error.retry_after", "\"%s\" is none of seconds, ms and none", raw->retry_after);
	rc = check_pointer(c, "error.message", raw->message, &e->message, NULL);
	if (raw->code && strncmp(raw->code, "header:", 7) == 0) {
		e->code_header = raw->code + 7;
		if (rc == 0)
			rc = check_header_name(c, "error.code", e->code_header);
	} else if (rc == 0) {
		rc = check_pointer(c, "error.code", raw->code, &e->code, NULL);
	}
	if (rc == 0)
		rc = check_statuses(c, "error.retry_http", raw->retry_http, raw->retry_http_count);
	if (rc == 0)
		rc = check_statuses(c, "error.throttle_http", raw->throttle_http, raw->throttle_http_count);
	if (rc == 0)
		rc = check_duration(c, "error.cap", raw->cap, 0, &e->cap_ms);
	if (rc == 0 && e->retry_codes.count + e->fatal_codes.count + e->throttle_codes.count > 0 && !raw->code)
		return check_fail(c, "error.code", "it is missing: where an answer holds the code that is listed");
	return rc;
}

/* ---- beside the call ---- */

static int init_cancel(struct check *c, const struct raw_cancel *raw, struct upstream *u)
{
	static const char *const methods[] = { "DELETE", "POST", "PUT", "PATCH", "GET", NULL };
	struct upstream_cancel *cancel = &u->cancel;
	int rc;

	cancel->given = raw->method || raw->path || raw->body;
	if (!cancel->given) {
		if (raw->timeout || u->submit.cancel_url.size > 0)
			return check_fail(c, "cancel.method", "it is missing: how a call is ended at the API");
		return 0;
	}
	cancel->step.method = raw->body ? "POST" : "DELETE";
	cancel->step.path = raw->path;
	cancel->timeout_ms = 5 * SECOND;
	if (!raw->path && u->submit.cancel_url.size == 0)
		return check_fail(c, "cancel.path", "it is missing, and there is no submit.urls.cancel either");
	rc = check_method(c, "cancel.method", raw->method, methods, &cancel->step.method);
	if (rc == 0)
		rc = check_path(c, "cancel.path", raw->path, u->mode == UPSTREAM_SYNC ? 0 : TEMPLATE_KNOWS_ID);
	if (rc == 0)
		rc = check_body(c, "cancel.body", raw->body, u->mode == UPSTREAM_SYNC ? 0 : TEMPLATE_KNOWS_ID,
				&cancel->step.body);
	if (rc == 0)
		rc = check_duration(c, "cancel.timeout", raw->timeout, 1, &cancel->timeout_ms);
	if (rc == 0 && cancel->timeout_ms > CANCEL_MAX)
		return check_fail(c, "cancel.timeout", "it must be at most %d s", CANCEL_MAX / SECOND);
	if (rc == 0 && raw->body && strcmp(cancel->step.method, "GET") == 0)
		return check_fail(c, "cancel.body", "a GET has no body");
	cancel->by_id = u->mode != UPSTREAM_SYNC;
	return rc;
}

static int init(struct check *c, const struct raw_upstream *raw, struct upstream *u)
{
	const struct raw_way_out way_out = { raw->proxy, raw->interface, raw->ca_file };
	int rc;

	rc = init_base(c, raw, u);
	if (rc == 0)
		rc = way_out_init(c, &way_out, u);
	if (rc == 0)
		rc = init_auth(c, u->name, &raw->auth, &u->auth);
	if (rc == 0)
		rc = init_headers(c, raw, u);
	if (rc == 0)
		rc = init_timeouts(c, &raw->timeouts, &u->timeouts);
	if (rc == 0)
		rc = upstream__init_submit(c, &raw->submit, u);
	for (size_t i = 0; rc == 0 && u->submit.part_count > 0 && i < u->header_count; i++)
		if (strcasecmp(u->headers[i].name, "Content-Type") == 0)
			return check_fail(c, "headers", "submit.multipart sets it, with its boundary");
	if (rc == 0 && u->mode == UPSTREAM_POLL)
		rc = init_poll(c, &raw->poll, u);
	if (rc == 0)
		rc = init_result(c, &raw->result, u);
	if (rc == 0)
		rc = init_error(c, &raw->error, &u->error);
	if (rc == 0)
		rc = hook_config_init(c, &raw->webhook_in, u);
	if (rc == 0)
		rc = upstream_warm_init(c, raw, u);
	if (rc == 0)
		rc = init_cancel(c, &raw->cancel, u);
	return rc;
}

int upstream_init(const char *name, const struct raw_upstream *raw, const struct yaml_index *index,
		  struct secrets *secrets, struct upstream *ret, struct issue *issue)
{
	struct check c = { .index = index, .secrets = secrets, .issue = issue };
	struct upstream u = { .name = name, .secrets = secrets };
	int rc;

	snprintf(c.prefix, sizeof(c.prefix), "upstreams.%s", name);
	rc = init(&c, raw, &u);
	if (rc < 0) {
		upstream_done(&u);
		return rc;
	}
	*ret = u;
	return 0;
}

void upstream_done(struct upstream *u)
{
	if (!u)
		return;
	free(u->base_url);
	trust_free(u->trust);
	free(u->auth.user);
	free(u->auth.password);
	free(u->headers);
	jwt_free(u->auth.jwt);
	upstream__submit_done(&u->submit);
	hook_config_done(&u->hook);
	free(u->result.outputs);
	json_decref(u->cancel.step.body);
	free(u->proxy);
	free(u->interface);
	*u = (struct upstream){ 0 };
}

bool upstream_submits_once(const struct upstream *u)
{
	return u->submit.idempotency == IDEMPOTENCY_NONE || u->submit.on_unknown != ON_UNKNOWN_RETRY;
}

bool upstream_may_fetch(const struct upstream *u, const struct origin *origin)
{
	if (origin_equal(&u->origin, origin))
		return true;
	for (size_t i = 0; i < u->allow_hosts.count; i++)
		if (host_matches(origin->host, u->allow_hosts.items[i]))
			return true;
	return false;
}
