#include "worker/call/keyset.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/clean.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/base/text.h"
#include "proto/error.h"
#include "worker/call/call_request.h"
#include "worker/config/json_text.h"
#include "worker/config/upstream.h"
#include "worker/config/worker_config.h"
#include "worker/transport/exchange.h"
#include "worker/transport/http_request.h"
#include "worker/transport/url.h"

#define FRESH_MS 86400000 /* that keys are good for */
#define AGAIN_MS 300000	  /* between two fetches that succeeded */
#define RETRY_MS 15000	  /* after one that failed */
#define BODY_MAX (256 << 10)

/* Of one URL. */
struct keyset_source {
	struct keysets *owner;
	char *url;
	struct keyset keys;
	bool has_keys;
	int64_t fetched_at_ms; /* clock_mono_ms(), as these */
	int64_t again_at_ms;   /* not before */
	struct exchange *exchange;
	struct worker_config *config; /* while there is an exchange, which goes the way of an upstream of it */
	TAILQ_HEAD(, keyset_wait) waiting;
	TAILQ_ENTRY(keyset_source) entry;
};

struct keysets {
	struct uv_loop_s *uv;
	struct curl_loop *curl;
	TAILQ_HEAD(, keyset_source) sources;
};

/* ---- reading ---- */

static bool read_key(json_t *jwk, struct ed25519_key *ret)
{
	const char *type = json_string_value(json_object_get(jwk, "kty"));
	const char *curve = json_string_value(json_object_get(jwk, "crv"));
	const char *x = json_string_value(json_object_get(jwk, "x"));

	return type && curve && x && strcmp(type, "OKP") == 0 && strcmp(curve, "Ed25519") == 0 &&
	       base64url_decode(slice_str(x), ret->bytes, sizeof(ret->bytes)) == 0;
}

int keyset_parse(struct slice text, struct keyset *ret)
{
	struct keyset keys = { .count = 0 };
	json_t *root = NULL, *jwk;
	size_t i;
	int rc = json_text_read(text, 0, &root);

	if (rc < 0)
		return rc;
	json_array_foreach(json_object_get(root, "keys"), i, jwk)
	{
		if (keys.count < KEYSET_KEYS)
			keys.count += read_key(jwk, &keys.keys[keys.count]);
	}
	json_decref(root);
	if (keys.count == 0)
		return ERR_BAD_REQUEST;
	*ret = keys;
	return 0;
}

/* ---- sources ---- */

static struct keyset_source *find(const struct keysets *ks, const struct upstream *u)
{
	struct keyset_source *s;

	TAILQ_FOREACH(s, &ks->sources, entry)
	if (strcmp(s->url, u->hook.keys_url) == 0)
		return s;
	return NULL;
}

static int source_new(struct keysets *ks, const struct upstream *u, struct keyset_source **ret)
{
	struct keyset_source *s = calloc(1, sizeof(*s));

	if (!s)
		return ERR_NO_MEMORY;
	s->owner = ks;
	s->url = strdup(u->hook.keys_url);
	if (!s->url) {
		free(s);
		return ERR_NO_MEMORY;
	}
	TAILQ_INIT(&s->waiting);
	TAILQ_INSERT_TAIL(&ks->sources, s, entry);
	*ret = s;
	return 0;
}

int keysets_new(struct uv_loop_s *uv, struct curl_loop *curl, struct keysets **ret)
{
	struct keysets *ks = calloc(1, sizeof(*ks));

	if (!ks)
		return ERR_NO_MEMORY;
	ks->uv = uv;
	ks->curl = curl;
	TAILQ_INIT(&ks->sources);
	*ret = ks;
	return 0;
}

void keysets_free(struct keysets *ks)
{
	struct keyset_source *s;

	if (!ks)
		return;
	while ((s = TAILQ_FIRST(&ks->sources))) {
		TAILQ_REMOVE(&ks->sources, s, entry);
		exchange_cancel(s->exchange);
		free(s->url);
		worker_config_free(s->config);
		free(s);
	}
	free(ks);
}

const struct keyset *keyset_find(const struct keysets *ks, const struct upstream *u)
{
	const struct keyset_source *s = find(ks, u);

	return s && s->has_keys && clock_mono_ms() - s->fetched_at_ms < FRESH_MS ? &s->keys : NULL;
}

bool keyset_may_want(const struct keysets *ks, const struct upstream *u)
{
	const struct keyset_source *s = find(ks, u);

	return !s || s->exchange || clock_mono_ms() >= s->again_at_ms;
}

/* ---- fetching ---- */

static void tell(struct keyset_source *s, const char *why)
{
	struct keyset_wait *w;

	while ((w = TAILQ_FIRST(&s->waiting))) {
		TAILQ_REMOVE(&s->waiting, w, entry);
		w->source = NULL;
		w->done_cb(w, why ? NULL : &s->keys, why);
	}
}

static void fetched_cb(struct exchange *x, const struct answer *a, void *user)
{
	struct keyset_source *s = user;
	char why[200] = "";
	int rc;

	(void)x;
	s->exchange = NULL;
	worker_config_free(TAKE_PTR(s->config));
	if (a->end != EXCHANGE_ANSWERED)
		snprintf(why, sizeof(why), "%.180s", a->detail ? a->detail : "no answer");
	else if (a->status != 200)
		snprintf(why, sizeof(why), "HTTP %ld", a->status);
	else if ((rc = keyset_parse(a->body, &s->keys)) < 0)
		snprintf(why, sizeof(why), "%s",
			 rc == ERR_NO_MEMORY ? error_text(rc) : "the answer is no set of Ed25519 keys");
	s->again_at_ms = clock_mono_ms() + (why[0] ? RETRY_MS : AGAIN_MS);
	if (why[0]) {
		log_warning("the keys at %s cannot be had: %s", s->url, why);
	} else {
		s->has_keys = true;
		s->fetched_at_ms = clock_mono_ms();
	}
	tell(s, why[0] ? why : NULL);
}

/* On base_url's own origin, whose server the upstream's ca_file vouches for. */
static bool is_at_home(const struct keyset_source *s, const struct upstream *u)
{
	struct origin origin;

	return url_origin(s->url, &origin) == 0 && origin_equal(&origin, &u->origin);
}

static int fetch(struct keyset_source *s, struct worker_config *config, const struct upstream *u)
{
	struct exchange_spec spec = {
		.loop = s->owner->curl,
		.uv = s->owner->uv,
		.connect_ms = u->timeouts.connect_ms,
		.first_byte_ms = upstream_aside_ms(u),
		.stall_ms = upstream_aside_ms(u),
		.total_ms = u->timeouts.connect_ms + upstream_aside_ms(u),
		.body_cap = BODY_MAX,
		.public_only = !u->allow_private,
		.trust = is_at_home(s, u) ? u->trust : NULL,
		.done_cb = fetched_cb,
		.user = s,
	};
	struct http_request *request;
	int rc;

	if (s->exchange)
		return 0;
	rc = call_request_plain(u, s->url, &request);
	if (rc < 0)
		return rc;
	rc = exchange_start(&spec, request, &s->exchange);
	if (rc < 0) {
		http_request_free(request);
		return rc;
	}
	s->config = worker_config_ref(config);
	return 0;
}

int keyset_want(struct keysets *ks, struct worker_config *config, const struct upstream *u, struct keyset_wait *w)
{
	struct keyset_source *s = find(ks, u);
	int rc = s ? 0 : source_new(ks, u, &s);

	if (rc == 0)
		rc = fetch(s, config, u);
	if (rc < 0)
		return rc;
	w->source = s;
	TAILQ_INSERT_TAIL(&s->waiting, w, entry);
	return 0;
}

void keyset_wait_cancel(struct keyset_wait *w)
{
	if (w->source)
		TAILQ_REMOVE(&w->source->waiting, w, entry);
	w->source = NULL;
}
