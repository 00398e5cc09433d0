#include "worker/config/webhook_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/clean.h"
#include "proto/error.h"
#include "worker/config/check.h"
#include "worker/config/config_schema.h"
#include "worker/config/upstream.h"
#include "worker/config/way_out.h"

#define TIMEOUT_MS  20000
#define TIMEOUT_MAX 600000
#define CONNECT_MS  10000

static int add_secret(struct check *c, const char *word, struct webhooks *w)
{
	static const char key[] = "webhooks.secrets";
	char *text = NULL;
	int rc = check_expand(c, key, word, true, &text);

	if (rc < 0)
		return rc;
	rc = signature_key_standard(text, &w->keys[w->key_count]);
	if (rc == 0)
		w->key_count++;
	explicit_bzero(text, strlen(text));
	free(text);
	return rc == ERR_BAD_REQUEST ? check_fail(c, key, "it is not whsec_ and base64") : rc;
}

static int init_secrets(struct check *c, const struct raw_webhooks *raw, struct webhooks *w)
{
	int rc = 0;

	w->keys = calloc(raw->secrets_count + 1, sizeof(*w->keys));
	if (!w->keys)
		return ERR_NO_MEMORY;
	for (uint32_t i = 0; rc == 0 && i < raw->secrets_count; i++)
		rc = add_secret(c, raw->secrets[i], w);
	return rc;
}

/* A delivery is a call that is over with its answer. It has an end in one attempt, and no credentials. */
static void init_way(const struct webhooks *w, const struct check *c, struct upstream *u)
{
	*u = (struct upstream){
		.name = WEBHOOK_QUEUE,
		.mode = UPSTREAM_SYNC,
		.allow_private = w->allow_private,
		.timeouts = { .connect_ms = w->timeout_ms < CONNECT_MS ? w->timeout_ms : CONNECT_MS,
			      .attempt_ms = w->timeout_ms,
			      .stall_ms = w->timeout_ms },
		.submit = { .on_unknown = ON_UNKNOWN_RETRY },
		.secrets = c->secrets,
		.deliver = w,
	};
}

static int init_way_out(const struct check *c, const struct raw_webhooks *raw, struct upstream *u)
{
	const struct raw_way_out way_out = { raw->proxy, raw->interface, raw->ca_file };
	struct check below = *c;

	snprintf(below.prefix, sizeof(below.prefix), "webhooks");
	return way_out_init(&below, &way_out, u);
}

int webhook_config_init(struct check *c, const struct raw_webhooks *raw, struct webhooks *w, struct upstream *u,
			bool *ret_serve)
{
	int rc;

	*w = (struct webhooks){ .allow_private = raw->allow_private == RAW_TRUE, .timeout_ms = TIMEOUT_MS };
	rc = init_secrets(c, raw, w);
	if (rc == 0)
		rc = check_duration(c, "webhooks.timeout", raw->timeout, 1, &w->timeout_ms);
	if (rc < 0)
		return rc;
	if (w->timeout_ms > TIMEOUT_MAX)
		return check_fail(c, "webhooks.timeout", "it must be at most 10m");
	if (raw->serve == RAW_TRUE && w->key_count == 0)
		return check_fail(c, "webhooks.secrets", "there are none: what is delivered has to be signed");
	*ret_serve = raw->serve != RAW_FALSE && w->key_count > 0;
	init_way(w, c, u);
	return init_way_out(c, raw, u);
}

void webhook_config_done(struct webhooks *w)
{
	for (size_t i = 0; i < w->key_count; i++)
		signature_key_done(&w->keys[i]);
	free(w->keys);
	*w = (struct webhooks){ .keys = NULL };
}
