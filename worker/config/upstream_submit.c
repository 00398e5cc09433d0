/* What a file says of the submit: what is sent, what its answer holds, and what becomes of a call whose submit was not
 * answered. What is sent again is bought again unless the API knows the key; so without one, nothing is sent again that
 * the file does not say is to be.
 */
#include "worker/config/upstream_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/clean.h"
#include "proto/error.h"
#include "worker/config/check.h"
#include "worker/config/config_schema.h"
#include "worker/config/template.h"

#define SECOND	  1000
#define TRIES_MAX 100

/* ---- multipart ---- */

/* What is wrong with a part taken by itself; NULL: nothing. */
static const char *wrong_part(const struct raw_part *p)
{
	if (!p->name || !p->name[0])
		return "it needs a name";
	if (!p->value == !p->file)
		return "it needs either a value or a file";
	if (p->value && (p->filename || p->type))
		return "filename and type are a file's";
	return NULL;
}

static int check_part(struct check *c, const char *key, const struct raw_part *p)
{
	char one[80];
	const char *wrong = wrong_part(p);
	int rc;

	if (wrong)
		return check_fail(c, key, "%s", wrong);
	snprintf(one, sizeof(one), "%s.name", key);
	rc = check_plain(c, one, p->name);
	snprintf(one, sizeof(one), "%s.filename", key);
	if (rc == 0)
		rc = check_plain(c, one, p->filename);
	snprintf(one, sizeof(one), "%s.type", key);
	if (rc == 0)
		rc = check_plain(c, one, p->type);
	if (rc == 0 && p->type && !strchr(p->type, '/'))
		return check_fail(c, one, "\"%s\" is not a media type, such as image/png", p->type);
	snprintf(one, sizeof(one), "%s.%s", key, p->value ? "value" : "file");
	if (rc == 0 && !(p->file && strcmp(p->file, "{payload}") == 0))
		rc = check_template(c, one, p->value ? p->value : p->file, 0);
	return rc;
}

static int init_parts(struct check *c, const struct raw_submit *raw, struct upstream_submit *s)
{
	char key[64];

	if (raw->multipart_count == 0)
		return 0;
	if (s->body)
		return check_fail(c, "submit.multipart", "there is a submit.body as well");
	s->parts = calloc(raw->multipart_count, sizeof(*s->parts));
	if (!s->parts)
		return ERR_NO_MEMORY;
	for (size_t i = 0; i < raw->multipart_count; i++) {
		const struct raw_part *p = &raw->multipart[i];
		int rc;

		snprintf(key, sizeof(key), "submit.multipart.%zu", i);
		rc = check_part(c, key, p);
		if (rc < 0)
			return rc;
		s->parts[s->part_count++] = (struct upstream_part){
			.name = p->name,
			.value = p->value,
			.file = p->file,
			.filename = p->filename,
			.type = p->type,
			.optional = p->optional == RAW_TRUE,
		};
	}
	return 0;
}

/* ---- never twice ---- */

static int init_idempotency(struct check *c, const char *word, struct upstream_submit *s)
{
	static const char key[] = "submit.idempotency";
	struct slice pointer;

	if (!word || strcmp(word, "none") == 0)
		return 0;
	if (strcmp(word, "path") == 0) {
		s->idempotency = IDEMPOTENCY_PATH;
		if (strstr(s->path, "{job.id}") || strstr(s->path, "{key}"))
			return 0;
		return check_fail(c, key, "submit.path holds neither {key} nor {job.id}");
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

static int init_lookup(struct check *c, const struct raw_lookup *raw, struct upstream_lookup *l)
{
	static const char *const methods[] = { "GET", "POST", NULL };
	static const unsigned not_found = 404;
	int rc;

	l->step.method = raw->body ? "POST" : "GET";
	l->step.path = raw->path;
	l->absent = raw->absent_count > 0 ? raw->absent : &not_found;
	l->absent_count = raw->absent_count > 0 ? raw->absent_count : 1;
	l->tries = raw->tries ? *raw->tries : 3;
	l->interval_ms = 2 * SECOND;
	rc = check_method(c, "submit.lookup.method", raw->method, methods, &l->step.method);
	if (rc == 0)
		rc = check_path(c, "submit.lookup.path", raw->path, 0);
	if (rc == 0)
		rc = check_body(c, "submit.lookup.body", raw->body, 0, &l->step.body);
	if (rc == 0)
		rc = check_pointer(c, "submit.lookup.id", raw->id, &l->id, NULL);
	if (rc == 0)
		rc = check_statuses(c, "submit.lookup.absent", raw->absent, raw->absent_count);
	if (rc == 0)
		rc = check_duration(c, "submit.lookup.interval", raw->interval, 1, &l->interval_ms);
	if (rc == 0 && (l->tries < 1 || l->tries > TRIES_MAX))
		return check_fail(c, "submit.lookup.tries", "it must be from 1 to %d", TRIES_MAX);
	if (rc == 0 && l->step.body && strcmp(l->step.method, "GET") == 0)
		return check_fail(c, "submit.lookup.body", "a GET has no body");
	return rc;
}

static int init_on_unknown(struct check *c, const struct raw_submit *raw, const struct upstream *u,
			   struct upstream_submit *s)
{
	s->on_unknown = s->idempotency != IDEMPOTENCY_NONE ? ON_UNKNOWN_RETRY : ON_UNKNOWN_FAIL;
	if (raw->on_unknown == RAW_UNKNOWN_FAIL)
		s->on_unknown = ON_UNKNOWN_FAIL;
	else if (raw->on_unknown == RAW_UNKNOWN_RETRY)
		s->on_unknown = ON_UNKNOWN_RETRY;
	if (raw->on_unknown != RAW_UNKNOWN_LOOKUP) {
		if (raw->lookup.path || raw->lookup.id)
			return check_fail(c, "submit.lookup", "it is used with on_unknown: lookup only");
		return 0;
	}
	s->on_unknown = ON_UNKNOWN_LOOKUP;
	if (u->mode == UPSTREAM_SYNC)
		return check_fail(c, "submit.on_unknown", "lookup finds an id, which mode sync has no use for");
	if (!raw->lookup.path)
		return check_fail(c, "submit.lookup.path", "it is missing: where to look the call up");
	if (!raw->lookup.id)
		return check_fail(c, "submit.lookup.id", "it is missing: where the answer holds the id of the call");
	return init_lookup(c, &raw->lookup, &s->lookup);
}

/* ---- all of it ---- */

static int init_what_is_sent(struct check *c, const struct raw_submit *raw, struct upstream_submit *s)
{
	static const char *const methods[] = { "POST", "PUT", "PATCH", "GET", NULL };
	int rc;

	s->method = "POST";
	rc = check_method(c, "submit.method", raw->method, methods, &s->method);
	if (rc == 0)
		rc = check_path(c, "submit.path", raw->path, 0);
	if (rc == 0)
		rc = check_body(c, "submit.body", raw->body, 0, &s->body);
	if (rc == 0)
		rc = init_parts(c, raw, s);
	if (rc == 0 && strcmp(s->method, "GET") == 0 && (s->body || s->parts))
		return check_fail(c, s->body ? "submit.body" : "submit.multipart", "a GET has no body");
	return rc;
}

static int init_what_comes_back(struct check *c, const struct raw_submit *raw, struct upstream_submit *s)
{
	int rc = check_statuses(c, "submit.ok", raw->ok, raw->ok_count);

	if (rc == 0)
		rc = check_pointer(c, "submit.id", raw->id, &s->id, NULL);
	if (rc == 0)
		rc = check_pointer(c, "submit.urls.status", raw->urls.status, &s->status_url, NULL);
	if (rc == 0)
		rc = check_pointer(c, "submit.urls.result", raw->urls.result, &s->result_url, NULL);
	if (rc == 0)
		rc = check_pointer(c, "submit.urls.cancel", raw->urls.cancel, &s->cancel_url, NULL);
	return rc;
}

int upstream__init_submit(struct check *c, const struct raw_submit *raw, struct upstream *u)
{
	struct upstream_submit *s = &u->submit;
	int rc;

	s->path = raw->path;
	s->ok = raw->ok;
	s->ok_count = raw->ok_count;
	if (!raw->path)
		return check_fail(c, "submit.path", "it is missing");
	rc = init_what_is_sent(c, raw, s);
	if (rc == 0)
		rc = init_what_comes_back(c, raw, s);
	if (rc == 0)
		rc = init_idempotency(c, raw->idempotency, s);
	if (rc == 0)
		rc = init_on_unknown(c, raw, u, s);
	if (rc == 0 && u->mode == UPSTREAM_POLL && s->id.size == 0)
		return check_fail(c, "submit.id", "it is missing: where the answer holds the id of the call");
	return rc;
}

void upstream__submit_done(struct upstream_submit *s)
{
	json_decref(s->body);
	json_decref(s->lookup.step.body);
	free(s->parts);
}
