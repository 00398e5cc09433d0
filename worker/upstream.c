/* One function a mapping of the file. Each sets its defaults, lets the checks overwrite them with what is given, and
 * then looks at what only makes sense together.
 */
#include "upstream.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "check.h"
#include "config_schema.h"
#include "issue.h"
#include "proto/base/clean.h"
#include "proto/base/text.h"
#include "proto/error.h"
#include "trust.h"
#include "secrets.h"
#include "template.h"
#include "yaml_index.h"

#define SECOND 1000
#define MINUTE (60 * SECOND)

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
		return check_fail(c, "mode", "it is missing: sync or poll");
	if (raw->mode == RAW_MODE_WEBHOOK)
		return check_unsupported(c, "mode");
	u->mode = raw->mode == RAW_MODE_SYNC ? UPSTREAM_SYNC : UPSTREAM_POLL;
	u->allow_private = raw->allow_private == RAW_TRUE;
	u->allow_hosts = words_of(raw->allow_hosts, raw->allow_hosts_count);
	return 0;
}

static int init_trust(struct check *c, const struct raw_upstream *raw, struct upstream *u)
{
	_cleanup_free_ char *path = NULL;
	int rc = check_expand(c, "ca_file", raw->ca_file, false, &path);

	if (rc < 0 || !path)
		return rc;
	rc = trust_new(path, &u->trust);
	if (rc == ERR_IO)
		return check_fail(c, "ca_file", "%s cannot be read: %s", path, strerror(errno));
	if (rc == ERR_BAD_REQUEST)
		return check_fail(c, "ca_file", "%s holds no certificate (PEM)", path);
	return rc;
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

static int init_auth(struct check *c, const struct raw_auth *raw, struct upstream_auth *auth)
{
	int rc;

	if (raw->kind == RAW_AUTH_JWT)
		return check_unsupported(c, "auth.kind");
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
		rc = check_template(c, "auth.value", raw->value, false);
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
			rc = check_template(c, key, raw->headers[i], false);
		if (rc < 0)
			return rc;
		if (!raw->headers[i])
			return check_fail(c, key, "it has no value");
		/* A line break would begin a header of its own. */
		for (const char *p = raw->headers[i]; *p; p++)
			if ((unsigned char)*p < ' ' || *p == 0x7f)
				return check_fail(c, key, "it holds a control character");
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

static int init_body(struct check *c, const char *text, struct upstream_submit *s)
{
	json_error_t error;
	char why[200];
	int rc;

	if (!text)
		return 0;
	s->body = json_loads(text, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
	if (!s->body)
		return check_fail(c, "submit.body", "it is not JSON: %s (its line %d)", error.text, error.line);
	rc = template_check_json(s->body, c->secrets, why, sizeof(why));
	if (rc < 0 && rc != ERR_NO_MEMORY)
		return check_fail(c, "submit.body", "%s", why);
	return rc;
}

static int init_idempotency(struct check *c, const char *word, struct upstream_submit *s)
{
	static const char key[] = "submit.idempotency";
	struct slice pointer;

	if (!word || strcmp(word, "none") == 0)
		return 0;
	if (strcmp(word, "path") == 0) {
		s->idempotency = IDEMPOTENCY_PATH;
		return strstr(s->path, "{job.id}") ? 0 : check_fail(c, key, "submit.path does not hold {job.id}");
	}
	if (strncmp(word, "header:", 7) == 0) {
		s->idempotency = IDEMPOTENCY_HEADER;
		s->idempotency_arg = word + 7;
		return check_header_name(c, key, s->idempotency_arg);
	}
	if (strncmp(word, "body:/", 6) == 0) {
		s->idempotency = IDEMPOTENCY_BODY;
		s->idempotency_arg = word + 5;
		if (!s->body)
			return check_fail(c, key, "there is no submit.body to put the key into");
		return check_pointer(c, key, s->idempotency_arg, &pointer, NULL);
	}
	return check_fail(c, key, "\"%s\" is none of none, header:NAME, path and body:/POINTER", word);
}

/* What is sent again is bought again, unless the API knows the key or, in sync mode, the first answer is lost anyway.
 */
static int init_on_unknown(struct check *c, int word, enum upstream_mode mode, struct upstream_submit *s)
{
	bool retry = mode == UPSTREAM_SYNC || s->idempotency != IDEMPOTENCY_NONE;

	if (word == RAW_UNKNOWN_LOOKUP)
		return check_unsupported(c, "submit.on_unknown");
	if (word != 0)
		retry = word == RAW_UNKNOWN_RETRY;
	s->on_unknown = retry ? ON_UNKNOWN_RETRY : ON_UNKNOWN_FAIL;
	return 0;
}

static int init_method(struct check *c, const char *word, struct upstream_submit *s)
{
	static const char *const methods[] = { "POST", "PUT", "PATCH", "GET" };

	s->method = "POST";
	if (!word)
		return 0;
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		if (strcmp(word, methods[i]) == 0) {
			s->method = methods[i];
			return 0;
		}
	}
	return check_fail(c, "submit.method", "\"%s\" is none of POST, PUT, PATCH and GET", word);
}

static int init_submit(struct check *c, const struct raw_submit *raw, struct upstream *u)
{
	struct upstream_submit *s = &u->submit;
	int rc;

	s->path = raw->path;
	s->ok = raw->ok;
	s->ok_count = raw->ok_count;
	if (!raw->path)
		return check_fail(c, "submit.path", "it is missing");
	rc = init_method(c, raw->method, s);
	if (rc == 0)
		rc = check_path(c, "submit.path", raw->path, false);
	if (rc == 0)
		rc = init_body(c, raw->body, s);
	if (rc == 0)
		rc = check_statuses(c, "submit.ok", raw->ok, raw->ok_count);
	if (rc == 0)
		rc = check_pointer(c, "submit.id", raw->id, &s->id, NULL);
	if (rc == 0)
		rc = check_pointer(c, "submit.urls.status", raw->urls.status, &s->status_url, NULL);
	if (rc == 0)
		rc = check_pointer(c, "submit.urls.result", raw->urls.result, &s->result_url, NULL);
	if (rc == 0)
		rc = init_idempotency(c, raw->idempotency, s);
	if (rc == 0)
		rc = init_on_unknown(c, raw->on_unknown, u->mode, s);
	if (rc == 0 && u->mode == UPSTREAM_POLL && s->id.size == 0)
		return check_fail(c, "submit.id", "it is missing: where the answer holds the id of the call");
	if (rc == 0 && s->body && strcmp(s->method, "GET") == 0)
		return check_fail(c, "submit.body", "a GET has no body");
	return rc;
}

static int init_pauses(struct check *c, const struct raw_poll *raw, struct upstream_poll *p)
{
	int rc;

	p->first_ms = -1;
	p->interval_ms = 5 * SECOND;
	p->max_ms = -1;
	p->factor = 1.5;
	p->jitter = 0.25;
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
	if (!raw->path && u->submit.status_url.size == 0)
		return check_fail(c, "poll.path", "it is missing, and there is no submit.urls.status either");
	if (raw->ok_count == 0)
		return check_fail(c, "poll.ok", "it is missing: the states that mean success");
	rc = check_path(c, "poll.path", raw->path, true);
	if (rc == 0)
		rc = init_pauses(c, raw, p);
	if (rc == 0 && !p->state_by_http)
		rc = check_pointer(c, "poll.state", raw->state, &p->state, NULL);
	if (rc == 0)
		rc = check_pointer(c, "poll.progress", raw->progress, &p->progress, NULL);
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
	if (r->from == RESULT_BODY && (r->has_media || r->has_preview))
		return check_fail(c, r->has_media ? "result.media" : "result.preview",
				  "with from: body there is no JSON to point into");
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
	rc = check_path(c, "result.path", raw->path, true);
	if (rc == 0)
		rc = check_pointer(c, "result.media", raw->media, &r->media, &r->has_media);
	if (rc == 0)
		rc = check_pointer(c, "result.preview", raw->preview, &r->preview, &r->has_preview);
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
	if (rc == 0)
		rc = check_pointer(c, "error.code", raw->code, &e->code, NULL);
	if (rc == 0)
		rc = check_statuses(c, "error.retry_http", raw->retry_http, raw->retry_http_count);
	if (rc == 0)
		rc = check_duration(c, "error.cap", raw->cap, 0, &e->cap_ms);
	if (rc == 0 && (e->retry_codes.count > 0 || e->fatal_codes.count > 0) && e->code.size == 0)
		return check_fail(c, "error.code", "it is missing: where an answer holds the code that is listed");
	return rc;
}

static int init(struct check *c, const struct raw_upstream *raw, struct upstream *u)
{
	int rc;

	rc = init_base(c, raw, u);
	if (rc == 0)
		rc = init_trust(c, raw, u);
	if (rc == 0)
		rc = init_auth(c, &raw->auth, &u->auth);
	if (rc == 0)
		rc = init_headers(c, raw, u);
	if (rc == 0)
		rc = init_timeouts(c, &raw->timeouts, &u->timeouts);
	if (rc == 0)
		rc = init_submit(c, &raw->submit, u);
	if (rc == 0 && u->mode == UPSTREAM_POLL)
		rc = init_poll(c, &raw->poll, u);
	if (rc == 0)
		rc = init_result(c, &raw->result, u);
	if (rc == 0)
		rc = init_error(c, &raw->error, &u->error);
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
	json_decref(u->submit.body);
	*u = (struct upstream){ 0 };
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
