#include "worker/config/hook_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/buf.h"
#include "proto/base/clean.h"
#include "proto/error.h"
#include "worker/config/check.h"
#include "worker/config/config_schema.h"
#include "worker/config/secrets.h"
#include "worker/config/upstream.h"
#include "worker/config/yaml_index.h"
#include "worker/transport/url.h"

#define FAL_KEYS_URL "https://rest.alpha.fal.ai/.well-known/jwks.json"

static const char placeholder[] = "{hook_url}";

/* ---- where the submit names the URL ---- */

static bool body_mentions(const json_t *body)
{
	char *text = body ? json_dumps(body, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
	bool found = text && strstr(text, placeholder);

	free(text);
	return found;
}

static bool is_mentioned(const struct upstream *u)
{
	if (strstr(u->submit.path, placeholder) || body_mentions(u->submit.body))
		return true;
	for (size_t i = 0; i < u->header_count; i++)
		if (strstr(u->headers[i].value, placeholder))
			return true;
	for (size_t i = 0; i < u->submit.part_count; i++)
		if (u->submit.parts[i].value && strstr(u->submit.parts[i].value, placeholder))
			return true;
	return false;
}

static int init_inject(struct check *c, const char *word, const struct upstream *u, struct upstream_hook *h)
{
	static const char key[] = "webhook_in.inject";
	struct slice pointer;

	if (!word)
		return 0;
	h->inject_arg = strchr(word, ':') ? strchr(word, ':') + 1 : NULL;
	if (strncmp(word, "body:/", 6) == 0) {
		h->inject = HOOK_INJECT_BODY;
		if (!u->submit.body)
			return check_fail(c, key, "there is no submit.body to put the URL into");
		return check_pointer(c, key, h->inject_arg, &pointer, NULL);
	}
	if (strncmp(word, "header:", 7) == 0) {
		h->inject = HOOK_INJECT_HEADER;
		return check_header_name(c, key, h->inject_arg);
	}
	if (strncmp(word, "query:", 6) == 0 && word[6]) {
		h->inject = HOOK_INJECT_QUERY;
		return 0;
	}
	return check_fail(c, key, "\"%s\" is none of body:/POINTER, query:NAME and header:NAME", word);
}

static bool is_unreserved(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
	       c == '_' || c == '~';
}

static void append_encoded(struct buf *out, const char *text)
{
	for (; *text; text++) {
		if (is_unreserved(*text))
			buf_append(out, text, 1);
		else
			buf_printf(out, "%%%02X", (unsigned)(unsigned char)*text);
	}
}

int hook_append_query(struct buf *url, const char *name, const char *value)
{
	buf_append_str(url, memchr(url->data, '?', url->size) ? "&" : "?");
	append_encoded(url, name);
	buf_append_str(url, "=");
	append_encoded(url, value);
	return buf_error(url);
}

/* ---- what proves a hook ---- */

static int add_secret(struct check *c, const char *key, const char *word, struct upstream_hook *h)
{
	struct signature_key *into = &h->keys[h->key_count];
	char *text = NULL;
	int rc;

	rc = check_expand(c, key, word, true, &text);
	if (rc < 0)
		return rc;
	rc = h->verify == SIGNATURE_STANDARD ? signature_key_standard(text, into) : signature_key_plain(text, into);
	if (rc == 0)
		h->key_count++;
	explicit_bzero(text, strlen(text));
	free(text);
	return rc == ERR_BAD_REQUEST ? check_fail(c, key, "it is not whsec_ and base64") : rc;
}

static int init_secrets(struct check *c, const struct raw_hook *raw, struct upstream_hook *h)
{
	bool wanted = h->verify == SIGNATURE_STANDARD || h->verify == SIGNATURE_HMAC_T_V1;
	int rc = 0;

	if (!wanted && (raw->secret || raw->secrets_count > 0))
		return check_fail(c, raw->secret ? "webhook_in.secret" : "webhook_in.secrets",
				  "it is used with verify: standard and hmac_t_v1 only");
	if (!wanted)
		return 0;
	if (!raw->secret && raw->secrets_count == 0)
		return check_fail(c, "webhook_in.secret", "it is missing");
	h->keys = calloc(raw->secrets_count + 1, sizeof(*h->keys));
	if (!h->keys)
		return ERR_NO_MEMORY;
	if (raw->secret)
		rc = add_secret(c, "webhook_in.secret", raw->secret, h);
	for (uint32_t i = 0; rc == 0 && i < raw->secrets_count; i++)
		rc = add_secret(c, "webhook_in.secrets", raw->secrets[i], h);
	return rc;
}

/* The broker keeps no others. */
static bool is_kept(const char *name)
{
	static const char signature[] = "-signature";
	size_t length = strlen(name);

	return length > strlen(signature) && strcmp(name + length - strlen(signature), signature) == 0;
}

static int init_header(struct check *c, const char *word, struct upstream_hook *h)
{
	static const char key[] = "webhook_in.header";

	if (h->verify != SIGNATURE_HMAC_T_V1)
		return word ? check_fail(c, key, "it is used with verify: hmac_t_v1 only") : 0;
	h->header = strdup(word ? word : "webhook-signature");
	if (!h->header)
		return ERR_NO_MEMORY;
	for (char *p = h->header; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
	return is_kept(h->header) ? check_header_name(c, key, h->header)
				  : check_fail(c, key, "the broker keeps headers whose names end in -signature");
}

static int init_keys_url(struct check *c, const char *word, struct upstream_hook *h)
{
	static const char key[] = "webhook_in.keys_url";
	struct origin origin;
	int rc;

	if (h->verify != SIGNATURE_FAL_ED25519)
		return word ? check_fail(c, key, "it is used with verify: fal_ed25519 only") : 0;
	rc = check_expand(c, key, word ? word : FAL_KEYS_URL, false, &h->keys_url);
	if (rc == 0)
		rc = url_origin(h->keys_url, &origin);
	return rc == 0 || rc == ERR_NO_MEMORY || rc == ERR_CONFIG
		       ? rc
		       : check_fail(c, key, "it is not an http or https URL without user and fragment");
}

static int init_verify(struct check *c, const struct raw_hook *raw, struct upstream_hook *h)
{
	int rc;

	h->verify = raw->verify == RAW_VERIFY_STANDARD ? SIGNATURE_STANDARD
		    : raw->verify == RAW_VERIFY_FAL    ? SIGNATURE_FAL_ED25519
		    : raw->verify == RAW_VERIFY_T_V1   ? SIGNATURE_HMAC_T_V1
						       : SIGNATURE_NONE;
	rc = init_secrets(c, raw, h);
	if (rc == 0)
		rc = init_header(c, raw->header, h);
	if (rc == 0)
		rc = init_keys_url(c, raw->keys_url, h);
	return rc;
}

/* ---- what is made of one ---- */

static int init_confirm(struct check *c, const struct raw_hook *raw, const struct upstream *u, struct upstream_hook *h)
{
	h->is_report = raw->confirm == RAW_CONFIRM_NONE;
	h->id = u->submit.id;
	if (raw->id && !h->is_report)
		return check_fail(c, "webhook_in.id", "it is used with confirm: none only");
	if (h->is_report && h->verify == SIGNATURE_NONE)
		return check_fail(c, "webhook_in.confirm",
				  "none needs a verify: else whoever knows the URL could say what the API says");
	if (h->is_report && u->poll.state_by_http)
		return check_fail(c, "webhook_in.confirm", "none needs the state in the body, not poll.state: http");
	if (!h->is_report && !upstream_polls(u))
		return check_fail(c, "webhook_in.confirm",
				  "poll needs poll.path or submit.urls.status; without them say confirm: none");
	return check_pointer(c, "webhook_in.id", raw->id, &h->id, NULL);
}

int hook_config_init(struct check *c, const struct raw_hook *raw, struct upstream *u)
{
	struct upstream_hook *h = &u->hook;
	char path[200];
	bool given;
	int rc;

	snprintf(path, sizeof(path), "%s.webhook_in", c->prefix);
	given = yaml_index_has(c->index, path);
	if (given && u->mode == UPSTREAM_SYNC)
		return check_fail(c, "webhook_in", "a sync API answers at once and has nothing to report");
	if (!given && h->leads)
		return check_fail(c, "webhook_in", "it is missing: mode webhook waits for what the API reports");
	if (!given)
		return 0;
	rc = init_inject(c, raw->inject, u, h);
	if (rc == 0)
		rc = init_verify(c, raw, h);
	if (rc == 0)
		rc = init_confirm(c, raw, u, h);
	if (rc == 0 && h->inject == HOOK_INJECT_NONE && !is_mentioned(u))
		return check_fail(
			c, "webhook_in.inject",
			"it is missing, and no {hook_url} in submit or headers tells the API where to report");
	return rc;
}

void hook_config_done(struct upstream_hook *hook)
{
	for (size_t i = 0; i < hook->key_count; i++)
		signature_key_done(&hook->keys[i]);
	free(hook->keys);
	free(hook->header);
	free(hook->keys_url);
	*hook = (struct upstream_hook){ .leads = false };
}
