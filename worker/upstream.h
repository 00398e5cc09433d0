/* upstream.h: how to call one external API: what the file says of it, checked once and made into typed values.
 *
 * Made at start by config, read only afterwards. Words belong to the raw file and the upstream, which live as long as
 * the configuration. Main thread.
 */
#ifndef RAINCHECK_WORKER_UPSTREAM_H
#define RAINCHECK_WORKER_UPSTREAM_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/slice.h"
#include "url.h"

struct issue;
struct raw_upstream;
struct secrets;
struct yaml_index;

enum upstream_mode { UPSTREAM_SYNC, UPSTREAM_POLL };
enum auth_kind { AUTH_NONE, AUTH_HEADER, AUTH_BASIC };
enum on_unknown { ON_UNKNOWN_FAIL, ON_UNKNOWN_RETRY };
enum idempotency { IDEMPOTENCY_NONE, IDEMPOTENCY_HEADER, IDEMPOTENCY_PATH, IDEMPOTENCY_BODY };
enum result_from { RESULT_BODY, RESULT_POINTER, RESULT_GET };
enum retry_after_unit { RETRY_AFTER_SECONDS, RETRY_AFTER_MS, RETRY_AFTER_NONE };

struct words {
	const char *const *items;
	size_t count;
};

struct header_template {
	const char *name;
	const char *value; /* a template */
};

struct upstream_auth {
	enum auth_kind kind;
	const char *name;  /* header: its name … */
	const char *value; /* … and its value, a template */
	char *user;	   /* basic; expanded */
	char *password;
};

/* Milliseconds. */
struct upstream_timeouts {
	int64_t connect_ms;
	int64_t attempt_ms; /* sync: the whole attempt; poll: from when the provider begins to work */
	int64_t start_ms;   /* sync: to the first byte of the answer; poll: until the provider begins; 0: in attempt */
	int64_t stall_ms;   /* without a byte, where bytes are due */
};

struct upstream_submit {
	const char *method;
	const char *path; /* a template */
	json_t *body;	  /* a template; NULL: the payload itself is sent */
	const unsigned *ok;
	size_t ok_count; /* 0: every 2xx */
	struct slice id; /* pointers; size 0 where they are not given */
	struct slice status_url;
	struct slice result_url;
	enum idempotency idempotency;
	const char *idempotency_arg; /* the header's name, or the pointer into the body */
	enum on_unknown on_unknown;
};

struct upstream_poll {
	const char *path; /* a template; NULL: the provider's own URL is used */
	int64_t first_ms;
	int64_t interval_ms;
	double factor; /* at least 1 */
	int64_t max_ms;
	double jitter;	    /* 0 to 1: a pause is drawn within that part of itself around it */
	bool state_by_http; /* the HTTP status is the state */
	struct slice state;
	struct words pending; /* in the order they come; the last one means that the provider works */
	struct words ok;
	struct words failed;
	struct slice progress;
};

struct upstream_result {
	enum result_from from;
	const char *path; /* get: a template; NULL: the provider's own URL is used */
	bool has_media;
	struct slice media;
	bool has_preview;
	struct slice preview;
	bool credentials; /* send them with fetches from base_url's own origin */
	struct words types;
	int64_t max_bytes;
};

struct upstream_error {
	struct slice message;
	struct slice code;
	const unsigned *retry_http;
	size_t retry_http_count; /* 0: the usual ones, see classify */
	struct words retry_codes;
	struct words fatal_codes;
	enum retry_after_unit retry_after;
	int64_t cap_ms;
};

struct upstream {
	const char *name;
	char *base_url; /* without a final slash */
	struct origin origin;
	enum upstream_mode mode;
	struct upstream_auth auth;
	struct header_template *headers;
	size_t header_count;
	struct words allow_hosts;
	bool allow_private;
	struct trust *trust; /* of ca_file: what base_url's server is judged by; NULL: by the system's certificates */
	struct upstream_timeouts timeouts;
	struct upstream_submit submit;
	struct upstream_poll poll;
	struct upstream_result result;
	struct upstream_error error;
	const struct secrets *secrets;
};

/* Checks raw, which the file has under upstreams.NAME, and fills *ret; loads what secrets it names. raw, index, name
 * and secrets must outlive it. ERR_CONFIG with issue filled; ERR_NO_MEMORY. */
int upstream_init(const char *name, const struct raw_upstream *raw, const struct yaml_index *index,
		  struct secrets *secrets, struct upstream *ret, struct issue *issue);
/* Frees the content; NULL and a zeroed one are taken. */
void upstream_done(struct upstream *u);

/* Whether a result may be fetched from there: base_url's own origin, or a host allowed. */
bool upstream_may_fetch(const struct upstream *u, const struct origin *origin);

bool words_have(const struct words *words, const char *word);

#endif
