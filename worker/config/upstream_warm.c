#include "worker/config/upstream_warm.h"

#include <string.h>

#include "proto/base/clean.h"
#include "worker/config/check.h"
#include "worker/config/config_schema.h"
#include "worker/config/upstream.h"

#define AHEAD_MS     5000
#define AHEAD_MAX_MS 30000 /* the broker tells no earlier */

static bool is_given(const struct raw_upstream *raw)
{
	return raw->warm_word || raw->warm.method || raw->warm.path || raw->warm.ahead;
}

static int check_warm_path(struct check *c, const char *word)
{
	if (word && strchr(word, '{'))
		return check_fail(c, "warm.path", "it holds a placeholder, and there is no job to fill it");
	return check_path(c, "warm.path", word, 0);
}

int upstream_warm_init(struct check *c, const struct raw_upstream *raw, struct upstream *u)
{
	static const char *const methods[] = { "HEAD", "OPTIONS", "GET", NULL };
	struct upstream_warm *w = &u->warm;
	/* Such a submit takes a connection of its own, or libcurl might send it again: open ones are of no use to it.
	 */
	bool fresh = u->submit.idempotency == IDEMPOTENCY_NONE;
	int rc;

	if (raw->warm_word && strcmp(raw->warm_word, "none") != 0)
		return check_fail(c, "warm", "\"%s\" is neither none nor a method and a path", raw->warm_word);
	if (raw->warm_word || (fresh && !is_given(raw)))
		return 0;
	if (fresh)
		return check_fail(c, "warm",
				  "it is of no use without submit.idempotency: each submit takes a connection of its "
				  "own then, so that it is never sent twice");
	w->path = raw->warm.path ? raw->warm.path : "/";
	w->ahead_ms = AHEAD_MS;
	w->method = "HEAD";
	/* Only what asks for nothing to be done. */
	rc = check_method(c, "warm.method", raw->warm.method, methods, &w->method);
	if (rc == 0)
		rc = check_warm_path(c, raw->warm.path);
	if (rc == 0)
		rc = check_duration(c, "warm.ahead", raw->warm.ahead, 0, &w->ahead_ms);
	if (rc == 0 && w->ahead_ms > AHEAD_MAX_MS)
		return check_fail(c, "warm.ahead", "it is more than 30s, and nobody knows of a raise earlier");
	return rc;
}
