/* upstream.h: how to call one external API: what the file says of it, checked once and made into typed values.
 *
 * Made at start by config, read only afterwards. Words belong to the raw file and the upstream, which live as long as
 * the configuration. Main thread.
 */
#ifndef RAINCHECK_WORKER_CONFIG_UPSTREAM_H
#define RAINCHECK_WORKER_CONFIG_UPSTREAM_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/slice.h"
#include "worker/config/signature.h"
#include "worker/transport/url.h"

struct issue;
struct webhooks;
struct jwt;
struct raw_upstream;
struct secrets;
struct yaml_index;

enum upstream_mode { UPSTREAM_SYNC, UPSTREAM_POLL };
enum auth_kind { AUTH_NONE, AUTH_HEADER, AUTH_BASIC, AUTH_JWT };
enum on_unknown { ON_UNKNOWN_FAIL, ON_UNKNOWN_RETRY, ON_UNKNOWN_LOOKUP };
enum idempotency { IDEMPOTENCY_NONE, IDEMPOTENCY_HEADER, IDEMPOTENCY_PATH, IDEMPOTENCY_BODY };
enum result_from { RESULT_BODY, RESULT_POINTER, RESULT_GET };
enum hook_inject { HOOK_INJECT_NONE, HOOK_INJECT_BODY, HOOK_INJECT_QUERY, HOOK_INJECT_HEADER };
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
	struct jwt *jwt; /* jwt_hs256 */
};

/* A request beside submit and poll. */
struct upstream_step {
	const char *method;
	const char *path; /* a template; NULL: the provider's own URL is used */
	json_t *body;	  /* a template; NULL: none */
};

/* A part of a multipart body: a value, or a file. */
struct upstream_part {
	const char *name;
	const char *value;    /* a template; NULL for a file */
	const char *file;     /* a template of base64 or of a data: URL, or "{payload}"; NULL for a value */
	const char *filename; /* NULL: as the part is called */
	const char *type;     /* NULL: as the data: URL or the job says */
	bool optional;	      /* left out where a placeholder has no value */
};

/* How to find a call whose submit was not answered. */
struct upstream_lookup {
	struct upstream_step step;
	struct slice id;	/* a pointer; what is there is the call's id */
	const unsigned *absent; /* statuses that say that there is no such call */
	size_t absent_count;
	unsigned tries; /* so many answers that there is none are believed, … */
	int64_t interval_ms;
};

/* How to end a call at the API. */
struct upstream_cancel {
	bool given;
	struct upstream_step step;
	bool by_id; /* it takes the id, or the URL that came with it */
	int64_t timeout_ms;
};

struct upstream_output {
	const char *name; /* of the artifact */
	struct slice pointer;
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
	json_t *body;	  /* a template; NULL: the parts, or the payload itself, is sent */
	struct upstream_part *parts;
	size_t part_count;
	const unsigned *ok;
	size_t ok_count; /* 0: every 2xx */
	struct slice id; /* pointers; size 0 where they are not given */
	struct slice status_url;
	struct slice result_url;
	struct slice cancel_url;
	enum idempotency idempotency;
	const char *idempotency_arg; /* the header's name, or the pointer into the body */
	enum on_unknown on_unknown;
	struct upstream_lookup lookup;
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
	struct slice error; /* whatever the state: something there means that the call failed */
	struct slice progress;
	struct slice position; /* in the API's own line */
};

struct upstream_result {
	enum result_from from;
	const char *path; /* get: a template; NULL: the provider's own URL is used */
	bool has_media;
	struct slice media;
	bool has_preview;
	struct slice preview;
	struct upstream_output *outputs;
	size_t output_count;
	bool credentials; /* send them with fetches from base_url's own origin */
	struct words types;
	int64_t max_bytes;
};

struct upstream_error {
	struct slice message;
	struct slice code;
	const char *code_header; /* NULL: code is a pointer */
	const unsigned *retry_http;
	size_t retry_http_count; /* 0: the usual ones, see classify */
	const unsigned *throttle_http;
	size_t throttle_http_count; /* 0: 425 and 429 */
	struct words retry_codes;
	struct words throttle_codes;
	struct words fatal_codes;
	enum retry_after_unit retry_after;
	int64_t cap_ms;
	const struct secrets *secrets; /* masked in what is told of an answer */
};

/* Connections that are opened ahead of a crowd: see warm.h. */
struct upstream_warm {
	const char *method; /* NULL: none are */
	const char *path;
	int64_t ahead_ms;
};

/* What the API reports by itself, to the job's hook URL. Without a word in the file a hook is an alarm: it is not
 * believed, and the API is polled at once. */
struct upstream_hook {
	bool leads; /* mode webhook: the call waits for hooks, and polls now and then in case one is lost */
	enum hook_inject inject;
	const char *inject_arg; /* where the submit names the URL: the pointer, or the name */
	enum signature_kind verify;
	char *header; /* of hmac_t_v1, in lower case */
	struct signature_key *keys;
	size_t key_count;
	char *keys_url;	 /* of fal_ed25519: where the keys are published */
	bool is_report;	 /* confirm none: a hook that is proved is taken for the API's answer to a poll */
	struct slice id; /* in a hook's body, where it is a report */
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
	struct trust
		*trust; /* of ca_file: what base_url's server is judged by; NULL: as others are, curl_loop_trust() */
	struct upstream_timeouts timeouts;
	struct upstream_submit submit;
	struct upstream_poll poll;
	struct upstream_result result;
	struct upstream_error error;
	struct upstream_hook hook;
	struct upstream_warm warm;
	struct upstream_cancel cancel;
	char *proxy;	 /* a URL; NULL: none */
	char *interface; /* to go out by: a name or an address; NULL: as the system chooses */
	const struct secrets *secrets;
	const struct webhooks *deliver; /* the broker's queue of webhooks: its jobs are delivered, see webhook.h; NULL:
					 * an API */
};

/* Checks raw, which the file has under upstreams.NAME, and fills *ret; loads what secrets it names. raw, index, name
 * and secrets must outlive it. ERR_CONFIG with issue filled; ERR_NO_MEMORY. */
int upstream_init(const char *name, const struct raw_upstream *raw, const struct yaml_index *index,
		  struct secrets *secrets, struct upstream *ret, struct issue *issue);
/* Whether the file says how the API is asked; else only its hooks tell how a call fares. */
static inline bool upstream_polls(const struct upstream *u)
{
	return u->poll.path || u->submit.status_url.size > 0;
}

#define UPSTREAM_ASIDE_MAX_MS 10000
/* How long, beside connecting, a whole answer may take that no call waits for by its own limits: verification keys, a
 * connection opened ahead. */
static inline int64_t upstream_aside_ms(const struct upstream *u)
{
	return u->timeouts.stall_ms < UPSTREAM_ASIDE_MAX_MS ? u->timeouts.stall_ms : UPSTREAM_ASIDE_MAX_MS;
}

/* Frees the content; NULL and a zeroed one are taken. */
void upstream_done(struct upstream *u);

/* Whether a result may be fetched from there: base_url's own origin, or a host allowed. */
bool upstream_may_fetch(const struct upstream *u, const struct origin *origin);

/* Whether a submit must not go out a second time by itself, as on a connection that turns out to be dead. */
bool upstream_submits_once(const struct upstream *u);

bool words_have(const struct words *words, const char *word);

#endif
